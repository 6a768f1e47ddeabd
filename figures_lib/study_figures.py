"""Figures of parameter studies: functions of rows of ``results.csv`` that only draw."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures_lib.figures import TYPE_COLOURS, style
from figures_lib.results import DONE, STATUS, Row
from figures_lib.studies import spreads

PANELS = (
    ("R² of W", {"connectivity.r2": "raw", "connectivity.r2_gauge_free": "gauge-free"}),
    ("R² of Ω", {"external_input.r2": "raw", "external_input.r2_gauge_free": "gauge-free"}),
    ("neurons of the right type", {"types.accuracy": ""}),
)
FLOOR = -0.05  # an R² may fall without bound; below 0 it says no more
WIDE = 20  # ratio of the values of a parameter from which its axis is logarithmic


def study(rows: Sequence[Row], key: str, label: str, by: str | None = None) -> Figure:
    """Weights, field and types against a parameter; one set of lines a value of ``by``."""
    groups = [None] if by is None else list(dict.fromkeys(row[by] for row in rows))
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
        for ax, (title, metrics) in zip(axes, PANELS, strict=True):
            lines = [(group, *one) for group in groups for one in metrics.items()]
            for number, (group, metric, name) in enumerate(lines):
                some = [row for row in rows if by is None or row[by] == group]
                told = ", ".join(filter(None, (group, name)))
                plot_spread(ax, some, key, metric, told, TYPE_COLOURS[number])
            ax.set(xlabel=label, ylabel=title, ylim=(FLOOR, 1.05))
            if ax.get_legend_handles_labels()[1]:
                ax.legend(fontsize=8)
        failed = sum(row[STATUS] != DONE for row in rows)
        if failed:
            figure.suptitle(f"{failed} of {len(rows)} runs failed", fontsize=9)
    return figure


def plot_spread(
    ax: Axes, rows: Sequence[Row], key: str, metric: str, label: str, colour: str
) -> Axes:
    """Medians over the seeds, with bars from the worst to the best."""
    found = spreads(rows, key, metric)
    if not found:
        return ax
    x = [one.value for one in found]
    middle, low, high = (
        np.clip([getattr(one, name) for one in found], FLOOR, None)
        for name in ("median", "low", "high")
    )
    reach = [middle - low, high - middle]
    ax.errorbar(x, middle, reach, fmt="o-", ms=4, capsize=3, color=colour, label=label or None)
    if x[0] > 0 and x[-1] / x[0] > WIDE:
        ax.set_xscale("log")
    return ax
