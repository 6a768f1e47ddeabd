"""Panels a, b, f and g: neurons and fields at their positions."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from figures_lib.draw.style import say_no_field, style
from figures_lib.simulate.movie import images_from_grid

ACTIVITY = "activity x$_i$"


def plot_layout(
    ax: Axes,
    positions: Float[Tensor, "neuron 2"],
    values: Float[Tensor, " neuron"],
    label: str,
    bound: float | None = None,
) -> PathCollection:
    """Panels a, b: one value per neuron at its position, on grid and disc; returns the points.

    Values are grey, or between ±bound in red and blue.
    """
    size = 9000 / max(len(positions), 200)
    low, cmap = (None, "gray") if bound is None else (-bound, "RdBu_r")
    shown = ax.scatter(
        *positions.T, c=values, s=size, cmap=cmap, vmin=low, vmax=bound, marker="s"
    )
    shown.set_rasterized(True)
    ax.set(aspect="equal", xlabel="x (grid widths)", ylabel="y (grid widths)")
    ax.figure.colorbar(shown, ax=ax, label=label, shrink=0.8)
    return shown


def plot_field(
    ax: Axes,
    values: Float[Tensor, " input"],
    title: str,
    limits: tuple[float, float],
    cmap: str = "gray",
) -> AxesImage:
    """A field on the grid of modulated neurons, with a colour bar; returns the image."""
    low, high = limits
    shown = ax.imshow(images_from_grid(values), cmap=cmap, vmin=low, vmax=high)
    ax.set(xticks=[], yticks=[], title=title)
    ax.figure.colorbar(shown, ax=ax, shrink=0.8)
    return shown


@style()
def layout(
    positions: Float[Tensor, "neuron 2"],
    field: Float[Tensor, " neuron"],
    activity: Float[Tensor, " neuron"],
) -> Figure:
    """Figure 3 a and b: the external input Ω_i and the activity x_i at one time."""
    figure, axes = plt.subplots(2, 1, figsize=(7, 5.6), sharex=True)
    plot_layout(axes[0], positions, field, "external input Ω$_i$")
    plot_layout(axes[1], positions, activity, ACTIVITY, float(activity.abs().max()))
    axes[0].set_xlabel("")
    for ax, letter in zip(axes, "ab", strict=True):
        ax.set_title(letter, loc="left", fontweight="bold")
    return figure


@style()
def fields(
    frames: Sequence[int],
    true: Float[Tensor, "frame input"],
    learned: Float[Tensor, "frame input"],
) -> Figure:
    """Figure 3 f and g: true and learned field at some frames, on one grey scale."""
    if not true.numel():
        figure, ax = plt.subplots(figsize=(4, 1))
        say_no_field(ax)
        return figure
    limits = {"vmin": float(true.min()), "vmax": float(true.max())}
    size = (1.4 * len(frames) + 0.9, 3.2)
    figure, axes = plt.subplots(2, len(frames), figsize=size, squeeze=False)
    rows = zip(axes, (true, learned), ("true Ω", "learned Ω*"), "fg", strict=True)
    for row, values, name, letter in rows:
        for ax, frame, image in zip(row, frames, images_from_grid(values), strict=True):
            shown = ax.imshow(image, cmap="gray", **limits)
            ax.set(xticks=[], yticks=[])
            ax.set_title(f"frame {frame:,}", fontsize=9)
        row[0].set_ylabel(name)
        row[0].set_title(letter, loc="left", fontweight="bold")
    figure.colorbar(shown, ax=axes, label="external input Ω", shrink=0.8)
    return figure
