"""Panel c: time series of the activity."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.style import colours, style

POINTS = 1500  # pixels across a trace in a notebook


@style()
def traces(
    activity: Float[Tensor, "time neuron"],
    neurons: Int[Tensor, " shown"],
    types: Int[Tensor, " neuron"],
    time_step: float,
    spacing: float = 25.0,
) -> Figure:
    """Figure 3 c: time series of some neurons, offset by rank and coloured by type."""
    figure, ax = plt.subplots(figsize=(8, 7))
    frames = torch.arange(len(activity))
    plot_traces(ax, frames, activity[:, neurons], neurons, types[neurons], spacing)
    ax.set(xlim=(0, len(activity)))
    ax.margins(y=0.01)
    scale = partial(np.multiply, time_step), partial(np.multiply, 1 / time_step)
    ax.secondary_xaxis("top", functions=scale).set_xlabel("time (time units)")
    ax.set_title("c", loc="left", fontweight="bold")
    beside = ax.get_yaxis_transform()
    ax.plot([1.01, 1.01], [0, 2 * spacing], color="k", transform=beside, clip_on=False)
    length = f"{2 * spacing:.0f}"
    ax.text(1.02, spacing, length, transform=beside, va="center", rotation=90)
    return figure


def plot_traces(
    ax: Axes,
    frames: Int[Tensor, " time"],
    series: Float[Tensor, "time shown"],
    neurons: Int[Tensor, " shown"],
    types: Int[Tensor, " shown"],
    spacing: float,
    named: int = 6,
) -> None:
    """Time series above each other, in the colour of their type; ``named`` of them numbered."""
    for rank, colour in enumerate(colours(types)):
        ax.plot(frames, series[:, rank] + spacing * rank, color=colour, lw=0.4, rasterized=True)
    ticks = np.linspace(0, len(neurons) - 1, min(named, len(neurons))).round().astype(int)
    ax.set_yticks(ticks * spacing, [str(int(neurons[k])) for k in ticks])
    ax.set(xlabel="time (frames)", ylabel="neuron index")


def extremes(
    series: Float[Tensor, "time neuron"], points: int = POINTS
) -> tuple[Int[Tensor, " point"], Float[Tensor, "point neuron"]]:
    """The least and the largest value of every pixel, where pixels cover several frames.

    Args:
        series: one column per neuron.
        points: number of pixels.

    Returns:
        Frames and values; the series itself if no pixel covers several frames.
    """
    step = max(1, len(series) // points)
    if step == 1:
        return torch.arange(len(series)), series
    blocks = series[: len(series) // step * step].unflatten(0, (-1, step))
    frames = torch.arange(len(blocks)).repeat_interleave(2) * step
    return frames, torch.stack([blocks.amin(1), blocks.amax(1)], 1).flatten(0, 1)
