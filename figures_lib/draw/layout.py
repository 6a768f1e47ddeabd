"""Panels a, b, f and g: neurons and fields in their places."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from figures_lib.draw.style import say_no_field, style
from figures_lib.simulate.movie import images_from_grid


def plot_layout(
    ax: Axes,
    positions: Float[Tensor, "neuron 2"],
    values: Float[Tensor, " neuron"],
    label: str,
    cmap: str = "gray",
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Panels a, b: one value a neuron at its position, on grid and sunflower."""
    low, high = limits or (None, None)
    size = 9000 / max(len(positions), 200)
    shown = ax.scatter(
        *positions.T, c=values, s=size, cmap=cmap, vmin=low, vmax=high, marker="s"
    )
    shown.set_rasterized(True)
    ax.set(aspect="equal", xlabel="x (grid widths)", ylabel="y (grid widths)")
    ax.figure.colorbar(shown, ax=ax, label=label, shrink=0.8)
    return ax


def plot_field(
    ax: Axes,
    values: Float[Tensor, " input"],
    title: str,
    limits: tuple[float, float],
    cmap: str = "gray",
) -> AxesImage:
    """A field on the grid of modulated neurons, with a colour bar; hands out the image."""
    low, high = limits
    shown = ax.imshow(images_from_grid(values), cmap=cmap, vmin=low, vmax=high)
    ax.set(xticks=[], yticks=[], title=title)
    ax.figure.colorbar(shown, ax=ax, shrink=0.8)
    return shown


def layout(
    positions: Float[Tensor, "neuron 2"],
    field: Float[Tensor, " neuron"],
    activity: Float[Tensor, " neuron"],
) -> Figure:
    """Figure 3 a and b: the external input Ω_i and the activity x_i at one time."""
    with style():
        figure, axes = plt.subplots(2, 1, figsize=(7, 5.6), sharex=True)
        plot_layout(axes[0], positions, field, "external input Ω$_i$")
        bound = float(activity.abs().max())
        plot_layout(axes[1], positions, activity, "activity x$_i$", "RdBu_r", (-bound, bound))
        axes[0].set_xlabel("")
        for ax, letter in zip(axes, "ab", strict=True):
            ax.set_title(letter, loc="left", fontweight="bold")
    return figure


def fields(
    frames: Sequence[int],
    true: Float[Tensor, "frame input"],
    learned: Float[Tensor, "frame input"],
) -> Figure:
    """Figure 3 f and g: true and learned field at some frames, on one grey scale."""
    if not true.numel():
        with style():
            figure, ax = plt.subplots(figsize=(4, 1))
            say_no_field(ax)
        return figure
    low, high = float(true.min()), float(true.max())
    with style():
        size = (1.4 * len(frames) + 0.9, 3.2)
        figure, axes = plt.subplots(2, len(frames), figsize=size, squeeze=False)
        for row, values in zip(axes, (true, learned), strict=True):
            for ax, frame, image in zip(row, frames, images_from_grid(values), strict=True):
                shown = ax.imshow(image, cmap="gray", vmin=low, vmax=high)
                ax.set(xticks=[], yticks=[])
                ax.set_title(f"frame {frame:,}", fontsize=9)
        for row, name, letter in zip(axes, ("true Ω", "learned Ω*"), "fg", strict=True):
            row[0].set_ylabel(name)
            row[0].set_title(letter, loc="left", fontweight="bold")
        figure.colorbar(shown, ax=axes, label="external input Ω", shrink=0.8)
    return figure
