"""The inference from a recording of one's own: no simulation, no truth.

The model is kept under the hash of the file, the settings and the code, as the stages of
:mod:`figures_lib.runs.run` are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
import torch

from figures_lib.config import load_experiment
from figures_lib.errors import InferenceError
from figures_lib.infer.algorithm import infer
from figures_lib.infer.diagnosis import CERTAIN
from figures_lib.learner import Learner
from figures_lib.model.inferred import Model, SweepReport
from figures_lib.paths import ROOT, find_input, user_path
from figures_lib.recordings.reading import Opened, open_file
from figures_lib.recordings.settings import Analysis, load_analysis
from figures_lib.runs.files import file_digest, part_of, write_json
from figures_lib.runs.keys import code_version, digest
from figures_lib.runs.learned import LearnedNetwork
from figures_lib.runs.provenance import machine
from figures_lib.runs.run import LAST_GOOD, checked_device, keep_last_good, without_nan
from figures_lib.runs.stages import keep, read_record
from figures_lib.score.prediction import Predictions, predictions
from figures_lib.score.scoring import without_truth
from figures_lib.score.significance import RATE, q_values
from figures_lib.simulate.integrate import simulate
from figures_lib.yaml_file import read_overrides

EXAMPLE = ROOT / "config" / "fig3_test.yaml"
MOST = 100_000_000  # activities, of all neurons, that a sweep reads: 2 GB with all copies


@dataclass(frozen=True)
class OwnRun:
    """A recording, how it is analysed, and the folder of the results.

    Attributes:
        analysis: the settings.
        file: of the recording.
        out: folder of the results.
    """

    analysis: Analysis
    file: Path
    out: Path

    @cached_property
    def opened(self) -> Opened:
        """The recording and what was understood of the file.

        Raises:
            ConfigError: the file cannot be used.
        """
        return open_file(self.file, self.analysis.recording)

    @cached_property
    def learner(self) -> Learner:
        """How to infer.

        Unless the settings say otherwise, the weights get standard errors. And where the
        derivative had to be taken from differences, which are mostly noise, every frame is
        read, as far as memory allows.
        """
        chosen, opened = self.analysis.inference.model_fields_set, self.opened
        defaults: dict[str, Any] = {"errors": True}
        if opened.recording.differences:
            total, neurons = opened.recording.activity.shape
            defaults["frames_per_neuron"] = max(1.0, min(total, MOST / neurons) / neurons)
        own = {key: value for key, value in defaults.items() if key not in chosen}
        learner = self.analysis.learner
        return learner.model_copy(
            update={"inference": learner.inference.model_copy(update=own)}
        )

    @property
    def device(self) -> str:
        """Where to compute: ``cpu`` or ``cuda``.

        Raises:
            ConfigError: the settings name a GPU, but there is none.
        """
        return checked_device(self.analysis.device)

    @cached_property
    def folder(self) -> Path:
        """The folder of the model."""
        key = digest(
            file_digest(self.file),
            self.analysis.recording.model_dump(),
            self.learner.model_dump(),
            self.device,
            code_version("read"),
            code_version("infer"),
        )
        return self.out / "stages" / f"infer-{key}"

    def infer(self, progress: Callable[[SweepReport], None] = lambda report: None) -> Model:
        """The inferred model, computed unless it exists.

        If inference diverges, the last good estimate is kept in ``last_good.safetensors``.
        """
        recording = self.opened.recording

        def compute(folder: Path) -> None:
            training = self.out / "training" / self.folder.name
            try:
                model = infer(recording, self.learner, self.device, progress, training)
            except InferenceError as error:
                keep_last_good(error, self.out / LAST_GOOD)
                raise
            model.save(folder)

        return Model.load(keep(self.folder, compute))

    def predictions(self, model: Model) -> Predictions | None:
        """How well the model predicts frames that inference has not read.

        None if there are none.
        """
        return predictions(self.opened.recording, model, torch.from_numpy(self.opened.frames))

    def results(self, progress: Callable[[SweepReport], None] = lambda report: None) -> Model:
        """Infer, and write the connections, the metrics and their origin.

        The connections go to ``connectivity.csv`` and ``connectivity.parquet``, those that are
        found at a rate of false discoveries of 0.05 to ``connections.graphml``; the metrics to
        ``metrics.json``, their origin to ``provenance.json``, and the model to the folder
        ``model``, from which :func:`~figures_lib.runs.learned.load_model` reads it.
        """
        model, opened = self.infer(progress), self.opened
        table = connections(model, opened.names)
        LearnedNetwork.of(model, opened.recording, opened.names).save(self.out)
        write_connections(self.out, table, opened.names, model.diagnosis.trusted)
        record = read_record(self.folder)
        predicted = self.predictions(model)
        metrics = {
            **without_truth(opened.recording, model),
            **({} if predicted is None else predicted.metrics()),
            "errors.false_positives": None
            if model.errors is None
            else model.errors.false_positives,
            "edges.found": found_at(table, RATE).num_rows,
            "time.infer_s": record["seconds"],
            "memory.peak_bytes": record["peak_bytes"],
            "device": self.device,
            "profile": "own",
            "seed": self.analysis.seed,
            "config_hash": digest(self.analysis.model_dump()),
        }
        write_json(self.out / "metrics.json", without_nan(metrics))
        about = {
            "recording": self.file.name,
            "sha256": file_digest(self.file),
            "understood": list(opened.description),
            "config": self.analysis.model_dump(mode="json"),
            **machine(),
        }
        write_json(self.out / "provenance.json", about)
        return model


def connections(model: Model, names: tuple[str, ...]) -> pyarrow.Table:
    """All weights as a table with the columns from, to, weight, error and q.

    The weight is W*_ij, ψ* having the largest magnitude 1; it holds the gain, unless that is
    known. The error is its standard error, q the least rate of false discoveries at which it
    counts as a connection; both are missing where they are not known, and q where the
    connections explain nothing.
    """
    weights = model.gnn.connectivity.detach()
    to, sender = (~torch.eye(len(weights), dtype=torch.bool)).nonzero(as_tuple=True)
    labels = pyarrow.array(names)
    columns = {
        "from": labels.take(pyarrow.array(sender.numpy())),
        "to": labels.take(pyarrow.array(to.numpy())),
        "weight": weights[to, sender].numpy(),
    }
    if model.errors is None:
        columns["error"] = columns["q"] = pyarrow.nulls(len(to), pyarrow.float32())
    else:
        errors = model.errors.standard
        unknown = (errors[to, sender] == 0).numpy()
        found = q_values(weights, errors)[to, sender].float().numpy()
        columns["error"] = pyarrow.array(errors[to, sender].numpy(), mask=unknown)
        # where nothing is explained, the functions were fitted to noise, and so is the test
        untested = unknown | (not model.diagnosis.connected >= CERTAIN)
        columns["q"] = pyarrow.array(found, mask=untested)
    return pyarrow.table(columns)


def found_at(table: pyarrow.Table, rate: float) -> pyarrow.Table:
    """The connections of a table that are found at a rate of false discoveries."""
    return table.filter(pyarrow.compute.less_equal(table["q"], rate))


def write_connections(
    folder: Path, table: pyarrow.Table, names: tuple[str, ...], trusted: bool
) -> None:
    """Write all connections as CSV and Parquet, and those that are found as GraphML.

    The graph says whether the result is trusted.
    """
    graph = networkx.DiGraph(trusted=trusted)
    graph.add_nodes_from(names)
    columns = found_at(table, RATE).to_pydict()
    for sender, to, *values in zip(*columns.values(), strict=True):
        graph.add_edge(sender, to, **dict(zip(("weight", "error", "q"), values, strict=True)))
    writers: dict[str, Callable[[Path], None]] = {
        "connectivity.csv": lambda part: pyarrow.csv.write_csv(table, part),
        "connectivity.parquet": lambda part: pyarrow.parquet.write_table(table, part),
        "connections.graphml": lambda part: networkx.write_graphml(graph, part),
    }
    for name, write in writers.items():
        part = part_of(folder / name)
        write(part)
        part.replace(folder / name)


@dataclass(frozen=True)
class Connection:
    """A connection between two named neurons.

    Attributes:
        sender: name of the neuron that sends.
        receiver: name of the one that receives.
        weight: W*_ij, see :func:`connections`.
        error: its standard error; None where that is not known.
        q: the least rate of false discoveries at which it counts as a connection.
    """

    sender: str
    receiver: str
    weight: float
    error: float | None
    q: float | None


def strongest_connections(
    model: Model, names: tuple[str, ...], count: int = 10
) -> list[Connection]:
    """The connections of largest magnitude."""
    return strongest(connections(model, names), count)


def strongest(table: pyarrow.Table, count: int) -> list[Connection]:
    """Those of largest magnitude in a table of :func:`connections`."""
    size = pyarrow.compute.abs(table["weight"])
    order = pyarrow.compute.sort_indices(size, sort_keys=[("", "descending")])
    return [Connection(*row.values()) for row in table.take(order[:count]).to_pylist()]


def write_example(folder: Path, derivative: bool) -> Path:
    """Write a small simulated recording as a file, with which to try how one is analysed.

    Args:
        folder: where ``with_derivative.npz`` or ``activity_alone.npz`` goes.
        derivative: whether the file holds dx/dt without its noise, or the activity alone.

    Returns:
        The file. It holds the rate, names, positions, gains and the modulated neurons, too.
    """
    experiment = load_experiment(EXAMPLE)
    recording, _ = simulate(experiment)
    arrays: dict[str, Any] = {
        "activity": recording.activity.numpy(),
        "sampling_rate": 1 / recording.time_step,
        "names": [f"neuron {k}" for k in range(len(recording.modulated))],
        "positions": recording.positions.numpy(),
        "modulated": recording.modulated.numpy(),
        "gain": recording.gain.numpy(),
    }
    if derivative:
        arrays["derivative"] = recording.derivative.numpy()
    path = folder / ("with_derivative.npz" if derivative else "activity_alone.npz")
    folder.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    np.savez(part, **arrays)
    part.replace(path)
    return path


def open_recording(
    file: str | Path,
    out: str | Path | None = None,
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | str | None = None,
) -> OwnRun:
    """Open a recording of one's own.

    Args:
        file: .npz, .npy, .csv or .parquet; see :mod:`figures_lib.recordings.files`.
        out: folder of the results; by default ``runs/NAME`` in the working directory.
        config: YAML file with settings of the analysis.
        overrides: dotted keys and values that replace those of the file; text is read as YAML.

    Raises:
        ConfigError: a setting cannot be used.
    """
    path = find_input(file)
    settings = load_analysis(
        None if config is None else find_input(config), read_overrides(overrides)
    )
    folder = Path("runs") / path.stem if out is None else user_path(out)
    return OwnRun(settings, path, folder.absolute())
