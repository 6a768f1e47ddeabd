"""Figures of the experiments of the paper: our results beside the published numbers."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures_lib.draw.rollouts import plot_drift
from figures_lib.draw.study_figures import plot_seeds
from figures_lib.draw.style import TYPE_COLOURS, style
from figures_lib.runs.excerpt import Excerpt
from figures_lib.studies.results import Row

SCORES = {"r2": "R² of W", "slope": "slope of learned against true W"}
LEAST = 1e-7  # smaller shares of the variance of x' are drawn here


@style()
def against(rows: Sequence[Row], key: str, label: str) -> Figure:
    """R² and slope of W against a setting: ours over the seeds, and as published."""
    figure, axes = plt.subplots(1, len(SCORES), figsize=(8, 3.4))
    for ax, (score, name) in zip(axes, SCORES.items(), strict=True):
        plot_seeds(ax, rows, key, f"connectivity.{score}", "this book", TYPE_COLOURS[0])
        _plot_published(ax, rows, key, score)
        ax.axhline(1, color="0.7", lw=0.8, zorder=0)
        ax.set(xlabel=label, ylabel=name)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@style()
def losses(excerpts: Mapping[str, Excerpt]) -> Figure:
    """What is left to explain after every sweep of the inference; one line per recording."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4))
    for (name, excerpt), colour in zip(excerpts.items(), TYPE_COLOURS, strict=False):
        ax.plot(excerpt.loss.clamp_min(LEAST), "o-", ms=3, color=colour, label=name)
    ax.set(yscale="log", xlabel="sweep", ylabel="unexplained share of the variance of x'")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(excerpts) > 1:
        ax.legend()
    return figure


@style()
def drifts(excerpts: Mapping[str, Excerpt]) -> Figure:
    """R² of roll-outs of other networks with the learned functions; one panel each."""
    size = (4.2 * len(excerpts), 3.4)
    figure, axes = plt.subplots(1, len(excerpts), figsize=size, sharey=True, squeeze=False)
    for ax, (name, excerpt) in zip(axes.flat, excerpts.items(), strict=True):
        plot_drift(ax, excerpt.other_drift, float(excerpt.drift_step))
        ax.set(xlabel="time (frames)", title=name)
        ax.label_outer()
    axes[0, 0].legend(loc="lower left")
    return figure


def _plot_published(ax: Axes, rows: Sequence[Row], key: str, score: str) -> None:
    """The published numbers of the same settings."""
    printed = {row[key]: row[f"published_{score}"] for row in rows}
    known = sorted((x, y) for x, y in printed.items() if y is not None)
    if known:
        x, y = zip(*known, strict=True)
        ax.plot(x, y, "D--", color="0.45", mfc="none", ms=6, label="published")
