"""What was found in a recording of one's own, without a truth beside it."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures_lib.draw.style import CURVES, TYPE_COLOURS, evenly, style
from figures_lib.infer.gauge import visited_grid
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.score.prediction import ALONE, LINEAR, MODEL, PERSISTENCE, Predictions

ALONG = {MODEL: "#0072B2", PERSISTENCE: "#8c8c8c", ALONE: "#E69F00", LINEAR: "#D55E00"}
LOWEST = -1.0  # R² at the lower end of the axis: what is worse is wrong
EVIDENT = 0.99  # quantile of |W*| at the ends of the colours


@style()
def own_result(recording: Recording, model: Model, predicted: Predictions | None) -> Figure:
    """W*, the predictions, φ* and ψ*.

    Args:
        recording: what the model was inferred from.
        model: the result.
        predicted: how well it predicts; None leaves the panel to say so.
    """
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.2))
    plot_weights(axes[0, 0], model)
    plot_predictions(axes[0, 1], predicted, recording.time_step)
    types = torch.arange(len(model.types)) if model.continuum else model.types
    x = visited_grid(recording.activity, types)
    drawn = evenly(len(x), CURVES)
    transfer = model.transfer(x)
    transfer = transfer.mean(0) if transfer.dim() == 3 else transfer
    labels = "update function φ* (1/time unit)", "transfer function ψ* (largest value 1)"
    for ax, values, label in zip(axes[1], (model.update(x), transfer), labels, strict=True):
        for k in drawn.tolist():
            colour = "#555555" if model.continuum else TYPE_COLOURS[k % len(TYPE_COLOURS)]
            members = int((types == k).sum())
            name = None if model.continuum else f"type {k + 1} ({members} neurons)"
            ax.plot(x[k], values[k], color=colour, lw=1 if model.continuum else 2, label=name)
        ax.set(xlabel="activity x", ylabel=label)
        if not model.continuum:
            ax.legend(fontsize=8)
    return figure


def plot_weights(ax: Axes, model: Model) -> None:
    """W*, between red and blue."""
    weights = model.gnn.connectivity.detach()
    bound = float(np.quantile(weights.abs().numpy(), EVIDENT)) or 1.0
    shown = ax.imshow(weights, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    ax.set(xlabel="from neuron j", ylabel="to neuron i")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.figure.colorbar(shown, ax=ax, label="weight W*$_{ij}$", extend="both", shrink=0.9)


def plot_predictions(ax: Axes, predicted: Predictions | None, time_step: float) -> None:
    """R² of the activity against the time since the start."""
    if predicted is None:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no held-out frames to predict", ha="center")
        return
    for name, r2 in predicted.activity.items():
        time = time_step * torch.arange(len(r2))
        ax.plot(time, r2.clamp_min(2 * LOWEST), color=ALONG[name], lw=2, label=name)
    ax.set(xlabel="time since the start (time units)", ylabel="R² of the predicted activity")
    worst = min(float(r2.min()) for r2 in predicted.activity.values())
    ax.set_ylim(max(LOWEST, min(worst, 0)) - 0.05, 1.05)
    ax.legend(fontsize=8)
