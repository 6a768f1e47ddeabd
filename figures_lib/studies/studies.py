"""The parameter studies of the book: their results, and the spread of a metric over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from figures_lib.errors import ConfigError
from figures_lib.paths import ROOT, SHIPPED
from figures_lib.runs.run import Run
from figures_lib.studies.points import Axes, load_study
from figures_lib.studies.results import NAME, STATUS, Row, Status, read_results

SWEEPS = ROOT / "config" / "sweeps"

STUDIES = (
    *("noise", "length", "neurons", "types", "inputs", "contrast", "speed", "theta"),
    "differences",
)
SMALL = 64  # a run of up to so many neurons is a test: its studies are reduced further
LARGE = 1024  # a run of so many neurons takes minutes: its studies may use several seeds
HARDLY_TRAINED = {
    "inference.shared_sweeps": 1,
    "inference.neuron_sweeps": 1,
    "inference.type_sweeps": 1,
    "graph_network.steps": 5,
    "field_network.steps": 5,
}
FEW = {"simulation.neurons": 32, "simulation.input_neurons": 16}


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds of one value of a parameter."""

    value: float
    median: float
    low: float
    high: float


def study_results(run: Run) -> dict[str, list[Row]]:
    """The rows of every study of the book.

    They are read from ``studies/NAME/results.csv`` in the folder of the run, as written by
    ``figures_lib sweep``, or else from the results that come with the book. A study without
    either is computed here, with the axes of its section ``quick``.

    Raises:
        ConfigError: a file holds no results of a sweep.
    """
    return {name: _study(run, name) for name in STUDIES}


def _study(run: Run, name: str) -> list[Row]:
    given = run.out / "studies" / name / "results.csv"
    if given.exists() or (SHIPPED / f"{name}.csv").exists():
        rows = shipped_results(run, name)
        if not rows or not {NAME, STATUS} <= rows[0].keys():
            raise ConfigError(
                f"{given}: holds no results of a sweep; delete it or repeat the sweep"
            )
        return rows
    # imported late: it loads dask and papermill, which would delay every notebook
    from figures_lib.studies.batch import run_here

    path = SWEEPS / f"{name}.yaml"
    neurons = run.experiment.simulation.neurons
    change = _thinned if neurons <= SMALL else _one_seed if neurons < LARGE else None
    sweep = load_study(path, quick=True, change=change)
    return run_here(sweep, run.out / "stages" / "studies" / name)


def _thinned(axes: Axes) -> Axes:
    """The first and the last option of every axis, one seed, few neurons, hardly any sweeps."""
    overrides, points = axes.overrides | FEW | HARDLY_TRAINED, _ends(axes.points)
    grid = {key: _ends(values) for key, values in axes.grid.items()}
    changes = {"overrides": overrides, "points": points, "grid": grid, "seeds": 1}
    return axes.model_copy(update=changes)


def _one_seed(axes: Axes) -> Axes:
    return axes.model_copy(update={"seeds": 1})


def _ends(values: list[Any]) -> list[Any]:
    return [values[0], values[-1]] if len(values) > 2 else values


def sweep_results(path: str) -> list[Row]:
    """The rows of the ``results.csv`` of any sweep.

    Raises:
        ConfigError: the file does not exist.
    """
    return read_results(Path(path))


def shipped_results(run: Run, name: str) -> list[Row]:
    """The rows of a sweep that takes too long for the book.

    They are read from ``studies/NAME/results.csv`` in the folder of the run, as written by
    ``figures_lib sweep``; without this file, those that come with the book are shown.

    Raises:
        ConfigError: there are no such results.
    """
    given = run.out / "studies" / name / "results.csv"
    return read_results(given if given.exists() else SHIPPED / f"{name}.csv")


def spreads(rows: Sequence[Row], key: str, metric: str) -> list[Spread]:
    """Median and range of a metric at every value of a key, failed runs left out.

    The value of ``neuron_types`` is their number. Text is represented by its position in
    alphabetical order.
    """
    names = sorted({row[key] for row in rows if isinstance(row[key], str)})
    found: dict[float, list[float]] = {}
    for row in rows:
        if row[STATUS] == Status.DONE and row.get(metric) is not None:
            value = row[key]
            if isinstance(value, list | str):
                value = len(value) if isinstance(value, list) else names.index(value)
            found.setdefault(float(value), []).append(row[metric])
    return [
        Spread(value, float(np.median(some)), float(min(some)), float(max(some)))
        for value, some in sorted(found.items())
    ]
