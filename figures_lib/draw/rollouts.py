"""Roll-outs of the learned network beside those of the true one."""

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.style import TRUE_COLOUR, TYPE_COLOURS, colours, style
from figures_lib.score.scoring import Scores


@style()
def roll_out(scores: Scores, types: Int[Tensor, " neuron"], time_step: float) -> Figure:
    """Some neurons as both networks move them from one state, and R² over all from several.

    Args:
        scores: of the run.
        types: true type of every neuron, for the colours.
        time_step: Δt [time unit].
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), width_ratios=(3, 2))
    time = time_step * torch.arange(len(scores.rolled_true))
    neurons = scores.rolled_neurons
    apart = _spacing(scores.rolled_true)
    for rank, colour in enumerate(colours(types[neurons])):
        for series, look in (
            (scores.rolled_true, {"color": TRUE_COLOUR, "lw": 4}),
            (scores.rolled_learned, {"color": colour, "lw": 1.2}),
        ):
            left.plot(time, series[:, rank] + apart * rank, solid_capstyle="round", **look)
    left.set_yticks([apart * rank for rank in range(len(neurons))], neurons.tolist())
    left.set(xlabel="time (time units)", ylabel="neuron index")
    left.plot([], [], color=TRUE_COLOUR, lw=4, label="true")
    left.plot([], [], color=TYPE_COLOURS[0], lw=1.2, label="learned (colour: type)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    plot_drift(right, scores.drift, time_step)
    right.set(xlabel="time (time units)")
    right.legend(loc="lower left", fontsize=8)
    return figure


def plot_drift(ax: Axes, r2: Float[Tensor, "state time"], step: float) -> None:
    """R² between two networks after they started alike, from each state and their median."""
    time = step * torch.arange(r2.shape[1])
    for state in r2:
        ax.plot(time, state, color=TYPE_COLOURS[0], lw=0.8, alpha=0.5)
    label = f"median of {len(r2)} states"
    ax.plot(time, r2.median(0).values, color=TYPE_COLOURS[0], lw=2, label=label)
    ax.set(ylabel="R² over all neurons", ylim=(-0.03, 1.03))


def _spacing(series: Float[Tensor, "time shown"]) -> float:
    """A distance at which the traces hardly cross."""
    return max(1e-3, 1.2 * float((series.amax(0) - series.amin(0)).max()))
