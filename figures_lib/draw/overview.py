"""The panels of one experiment side by side, from its excerpt."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures_lib.draw.functions import plot_embedding, plot_functions
from figures_lib.draw.rollouts import plot_drift
from figures_lib.draw.style import TRUE_COLOUR, TYPE_COLOURS, style
from figures_lib.draw.traces import plot_traces
from figures_lib.runs.excerpt import Excerpt
from figures_lib.score.regression import fit_line


@style()
def overview(excerpt: Excerpt) -> Figure:
    """Activity, weights, embedding, both functions, and roll-outs of one experiment."""
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.4))
    activity, weights, cloud, update, transfer, drift = axes.flat
    series = excerpt.activity
    apart = max(1e-3, float((series.amax(0) - series.amin(0)).median()))
    shown = excerpt.frames, series, excerpt.neurons, excerpt.types
    plot_traces(activity, *shown, apart)
    activity.set_title("activity")
    _plot_weights(weights, excerpt)
    plot_embedding(cloud, excerpt.embedding, excerpt.embedding_types)
    cloud.set_title("embedding, coloured by true type")
    plot_functions(update, excerpt.x, excerpt.update_true, excerpt.update_learned)
    update.set(xlabel="activity x", ylabel="φ*(x) (1/time unit)", title="update functions")
    update.plot([], [], color=TRUE_COLOUR, lw=6, label="true")
    update.plot([], [], color=TYPE_COLOURS[0], lw=1.5, label="learned")
    update.legend(loc="upper right", fontsize=8)
    plot_functions(transfer, excerpt.x, excerpt.transfer_true, excerpt.transfer_learned)
    transfer.set(xlabel="activity x", ylabel="ψ*(x)", title="transfer functions")
    plot_drift(drift, excerpt.drift, float(excerpt.drift_step))
    drift.set(xlabel="time (frames)", title="roll-out against the true network")
    for ax, letter in zip(axes.flat, "abcdef", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    return figure


def _plot_weights(ax: Axes, excerpt: Excerpt) -> None:
    """Learned against true weights, of some pairs of neurons."""
    true, learned = excerpt.weights_true, excerpt.weights_learned
    ax.axline((0, 0), slope=1, color="0.5", lw=0.8, ls="--")
    ax.scatter(true, learned, s=4, color="k", alpha=0.4, linewidths=0, rasterized=True)
    r2, slope = fit_line(true, learned)
    text = f"{len(true):,} pairs\nR² = {r2:.4f}\nslope = {slope:.3f}"
    ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top", fontsize=8)
    ax.set(xlabel="true W$_{ij}$", ylabel="learned W$_{ij}$", title="connectivity")
