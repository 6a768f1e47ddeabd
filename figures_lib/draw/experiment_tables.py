"""The table of all experiments of the paper: published and our numbers side by side."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median
from typing import Any

from figures_lib.draw.benchmark_tables import Table
from figures_lib.draw.study_figures import METHOD_NAMES
from figures_lib.studies.experiments import FIGURE, SETTINGS, sweep_of
from figures_lib.studies.results import Row

UNITS = {"simulation.frames": "{:,} frames", "connectivity.density": "{:.0%} of the weights"}


def experiments(rows: Sequence[Row]) -> Table:
    """Every experiment and setting: medians over seeds, in brackets the worst of several."""
    header = (
        *("figure", "experiment", "method", "published R²", "R² of W", "published slope"),
        *("slope", "types", "published roll-out", "roll-out", "trusted", "time"),
    )
    lines = []
    for (figure, method, *settings), some in groupby(rows, _experiment):
        same = list(some)
        varied = [
            UNITS[key].format(value)
            for key, value in zip(SETTINGS, settings, strict=True)
            if value is not None
        ]
        one, where = same[0], "other_network" if _elsewhere(same[0]) else "rollout"
        lines.append(
            (
                figure.removeprefix("fig").upper(),
                ", ".join([sweep_of(figure).about, *varied]),
                METHOD_NAMES[method],
                _number(one["published_r2"], 3),
                _over_seeds([row["connectivity.r2"] for row in same], 4),
                _number(one["published_slope"], 2),
                _over_seeds([row["connectivity.slope"] for row in same], 3),
                ", ".join(sorted({str(row["types.n_found"] or "none") for row in same})),
                _pair([one[f"published_{where}.r2_{frame}"] for frame in (400, 800)]),
                _pair([_median(same, f"{where}.r2_{frame}") for frame in (400, 800)]),
                f"{sum(bool(row['trusted']) for row in same)} of {len(same)}",
                f"{median(row['seconds'] for row in same) / 60:.1f} min",
            )
        )
    return Table(header, tuple(lines))


def baselines(rows: Sequence[Row]) -> Table:
    """What people use today and our own inference, on one recording."""
    scores = ("connectivity.r2", "connectivity.r2_gauge_free", "connectivity.strongest")
    lines = [
        (
            row["method"],
            *(_number(row[key], 3) for key in (*scores, "heldout_r2")),
            "–" if row["seconds"] is None else f"{row['seconds']:.0f} s",
        )
        for row in rows
    ]
    header = ("method", "R² of W", "gauge-free", "strongest 1 %", "R² of x', held out", "time")
    return Table(header, tuple(lines))


def _experiment(row: Row) -> tuple[Any, ...]:
    return row[FIGURE], row["method"], *(row[key] for key in SETTINGS)


def _elsewhere(row: Row) -> bool:
    """Whether the learned functions are tried in another network."""
    return row["other_network.r2_400"] is not None


def _median(rows: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return median(values) if values else None


def _over_seeds(values: Sequence[float], digits: int) -> str:
    """The median, and in brackets the value that is farthest from 1, what it should be."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    worst = max(values, key=lambda value: abs(value - 1))
    return f"{median(values):.{digits}f} ({worst:.{digits}f})"


def _pair(values: Sequence[float | None]) -> str:
    return "–" if set(values) == {None} else ", ".join(_number(v, 3) for v in values)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
