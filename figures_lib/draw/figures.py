"""Panels of Figure 3: functions of arrays and axes that draw, and do nothing else.

No function here computes a result, trains, or saves a file. Types have the same
colour-blind-safe colours everywhere; what is true is light grey, Ω is on a grey scale.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from figures_lib.model.inferred import History, SweepReport
from figures_lib.simulate.movie import images_from_grid

TYPE_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#8C6D31", "#5254A3", "#637939", "#7B4173"),
)
TRUE_COLOUR = "#c9c9c9"
CURVES = 60  # neurons whose functions are drawn while they form
NO_FIELD = "no neuron is modulated"  # in the place of a field
PHASE_COLOURS = {"shared": "#f2f2f2", "neuron": "#e3edf7", "type": "#e8f3ea"}
POINTS = 1500  # pixels across a trace that is looked at in a notebook
STYLE: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "path",
}


def style() -> AbstractContextManager[None]:
    """The look of every figure, as a context."""
    return plt.rc_context(STYLE)  # type: ignore[arg-type]


def colours(types: Int[Tensor, " neuron"]) -> list[str]:
    """The colour of each neuron's type."""
    return [TYPE_COLOURS[int(k) % len(TYPE_COLOURS)] for k in types]


def evenly(total: int, count: int) -> Int[Tensor, " chosen"]:
    """Up to ``count`` of the indices 0 … total − 1, evenly spaced, the last among them."""
    count = min(total, count)
    return torch.arange(count) * (total - 1) // max(1, count - 1)


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


def traces(
    activity: Float[Tensor, "time neuron"],
    neurons: Int[Tensor, " shown"],
    types: Int[Tensor, " neuron"],
    time_step: float,
    spacing: float = 25.0,
) -> Figure:
    """Figure 3 c: time series of some neurons, offset by rank and coloured by type."""
    with style():
        figure, ax = plt.subplots(figsize=(8, 7))
        frames = torch.arange(len(activity))
        plot_traces(ax, frames, activity[:, neurons], neurons, types, spacing)
        ax.set(xlim=(0, len(activity)))
        ax.margins(y=0.01)
        top = ax.secondary_xaxis(
            "top",
            functions=(partial(np.multiply, time_step), partial(np.multiply, 1 / time_step)),
        )
        top.set_xlabel("time (time units)")
        ax.set_title("c", loc="left", fontweight="bold")
        ax.plot(
            [1.01, 1.01],
            [0, 2 * spacing],
            color="k",
            transform=ax.get_yaxis_transform(),
            clip_on=False,
        )
        ax.text(
            1.02,
            spacing,
            f"{2 * spacing:.0f}",
            transform=ax.get_yaxis_transform(),
            va="center",
            rotation=90,
        )
    return figure


def plot_traces(
    ax: Axes,
    frames: Int[Tensor, " time"],
    series: Float[Tensor, "time shown"],
    neurons: Int[Tensor, " shown"],
    types: Int[Tensor, " neuron"],
    spacing: float,
    named: int = 6,
) -> Axes:
    """Time series above each other, in the colour of their type; ``named`` of them numbered."""
    for rank, colour in enumerate(colours(types[neurons])):
        ax.plot(frames, series[:, rank] + spacing * rank, color=colour, lw=0.4, rasterized=True)
    ticks = np.linspace(0, len(neurons) - 1, min(named, len(neurons))).round().astype(int)
    ax.set_yticks(ticks * spacing, [str(int(neurons[k])) for k in ticks])
    ax.set(xlabel="time (frames)", ylabel="neuron index")
    return ax


def extremes(
    series: Float[Tensor, "time neuron"], points: int = POINTS
) -> tuple[Int[Tensor, " point"], Float[Tensor, "point neuron"]]:
    """The least and the largest value of every pixel, where pixels cover several frames.

    Args:
        series: one column a neuron.
        points: number of pixels.

    Returns:
        Frames and values; the series itself where there are pixels for all of it.
    """
    step = max(1, len(series) // points)
    if step == 1:
        return torch.arange(len(series)), series
    blocks = series[: len(series) // step * step].unflatten(0, (-1, step))
    frames = torch.arange(len(blocks)).repeat_interleave(2) * step
    return frames, torch.stack([blocks.amin(1), blocks.amax(1)], 1).flatten(0, 1)


def plot_comparison(
    ax: Axes, true: Tensor, learned: Tensor, r2: float, slope: float | None, name: str
) -> Axes:
    """Panels d, e: density of learned against true values with R² and slope."""
    if not true.numel():
        return _nothing(ax)
    x, y = true.flatten().numpy(), learned.flatten().numpy()
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    shown = ax.hist2d(
        x, y, bins=200, range=[[low, high]] * 2, norm=LogNorm(), cmap="viridis", rasterized=True
    )[3]
    ax.plot([low, high], [low, high], color="0.5", lw=0.8, ls="--")
    ax.figure.colorbar(shown, ax=ax, label="count", shrink=0.8)
    ax.set(aspect="equal", xlabel=f"true {name}", ylabel=f"learned {name}")
    text = f"R² = {r2:.4f}" + ("" if slope is None else f"\nslope = {slope:.3f}")
    ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top")
    return ax


def _nothing(ax: Axes) -> Axes:
    ax.set_axis_off()
    ax.text(0.5, 0.5, NO_FIELD, transform=ax.transAxes, ha="center")
    return ax


def comparison(
    true: Tensor, learned: Tensor, r2: float, slope: float | None, name: str, letter: str
) -> Figure:
    """Figure 3 d or e: one density plot of learned against true values."""
    with style():
        figure, ax = plt.subplots(figsize=(4.8, 4.2))
        plot_comparison(ax, true, learned, r2, slope, name)
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
            _nothing(ax)
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


def embedding(
    embedding: Float[Tensor, "neuron embedding"], types: Int[Tensor, " neuron"]
) -> Figure:
    """Learned latent vectors a_i, coloured by true type."""
    with style():
        figure, ax = plt.subplots(figsize=(4.6, 4.2))
        plot_embedding(ax, embedding, types)
        type_legend(ax, types)
    return figure


def plot_embedding(
    ax: Axes, embedding: Float[Tensor, "neuron embedding"], types: Int[Tensor, " neuron"]
) -> Axes:
    """The cloud of a_i."""
    tint = colours(types)
    points = ax.scatter(*plane(embedding).T, c=tint, s=8, alpha=0.6, linewidths=0)
    points.set_rasterized(True)
    other = "a$_{i,2}$" if embedding.shape[1] > 1 else "neuron index"
    ax.set(xlabel="a$_{i,1}$", ylabel=other)
    return ax


def plane(
    embedding: Float[Tensor, "*stage neuron embedding"],
) -> Float[Tensor, "*stage neuron 2"]:
    """The first two components of a_i; of a single one, it and the index of the neuron."""
    if embedding.shape[-1] > 1:
        return embedding[..., :2]
    index = torch.arange(embedding.shape[-2]).to(embedding)
    return torch.stack([embedding[..., 0], index.expand(embedding.shape[:-1])], -1)


def plot_functions(
    ax: Axes,
    x: Float[Tensor, "type x"],
    true: Float[Tensor, "type x"],
    learned: Float[Tensor, "type x"],
    label: str,
) -> Axes:
    """Learned functions in the colour of their type over the true ones in light grey."""
    for grid, values in zip(x, true, strict=True):
        ax.plot(grid, values, color=TRUE_COLOUR, lw=6, solid_capstyle="round")
    for k, (grid, values) in enumerate(zip(x, learned, strict=True)):
        ax.plot(grid, values, color=TYPE_COLOURS[k % len(TYPE_COLOURS)], lw=1.5)
    ax.set(xlabel="activity x (dimensionless)", ylabel=label)
    return ax


def functions(
    x: Float[Tensor, "type x"],
    true: Float[Tensor, "type x"],
    learned: Float[Tensor, "type x"],
    label: str,
) -> Figure:
    """Update functions φ* or transfer functions ψ* of every type."""
    with style():
        figure, ax = plt.subplots(figsize=(5.2, 4))
        plot_functions(ax, x, true, learned, label)
        ax.plot([], [], color=TRUE_COLOUR, lw=6, label="true")
        type_legend(ax, torch.arange(len(x)))
    return figure


def training(sweeps: Sequence[SweepReport]) -> Figure:
    """Unexplained variance after every sweep, the phases shaded."""
    with style():
        figure, ax = plt.subplots(figsize=(6.4, 3.4))
        plot_loss(ax, sweeps)
    return figure


def plot_loss(ax: Axes, sweeps: Sequence[SweepReport]) -> Axes:
    """The loss curve."""
    for phase, colour in PHASE_COLOURS.items():
        index = [sweep.index for sweep in sweeps if sweep.phase == phase]
        if index:
            ax.axvspan(min(index) - 0.5, max(index) + 0.5, color=colour, zorder=0)
            ax.text(
                (min(index) + max(index)) / 2,
                0.97,
                f"one ψ {'for all' if phase == 'shared' else 'a ' + phase}",
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=8,
            )
    ax.semilogy(
        [s.index for s in sweeps], [s.loss for s in sweeps], "o-", color="k", ms=3, lw=1
    )
    ax.set(xlabel="sweep", ylabel="unexplained fraction\nof the variance of dx/dt")
    return ax


def plot_tables(
    ax: Axes,
    sweep: SweepReport,
    values: Float[Tensor, "neuron knot"],
    colour: Sequence[str],
    label: str,
) -> Axes:
    """The functions of single neurons during the sweeps."""
    for series, tint in zip(values.numpy(), colour, strict=True):
        ax.plot(sweep.knots, series, color=tint, lw=0.5, alpha=0.6)
    ax.set(xlabel="activity x", ylabel=label)
    return ax


def plot_progress(axes: Iterable[Axes], sweeps: Sequence[SweepReport]) -> None:
    """Loss so far, and φ_i and ψ_i of some neurons after the last sweep, on three axes."""
    last = sweeps[-1]
    chosen = evenly(len(last.update), CURVES)
    loss, *others = axes
    grey = ["0.3"] * len(chosen)
    plot_loss(loss, sweeps)
    plot_tables(others[0], last, last.update[chosen], grey, "φ$_i$(x)")
    plot_tables(others[1], last, last.transfer[chosen], grey, "ψ$_i$(x)")
    losses = [sweep.loss for sweep in sweeps]
    loss.set_xlim(-0.5, max(4.5, last.index + 0.5))
    loss.set_ylim(min(1e-2, 0.5 * min(losses)), max(1.0, *losses))
    loss.set_title(f"sweep {last.index}: {last.loss:.1e} unexplained")


def evolution(
    sweeps: Sequence[SweepReport],
    neurons: Int[Tensor, " shown"],
    types: Int[Tensor, " neuron"],
    bound: float,
) -> Figure:
    """φ_i and ψ_i of some neurons at several sweeps, coloured by type; shown between ±bound."""
    tint = colours(types[neurons])
    with style():
        figure, axes = plt.subplots(
            2, len(sweeps), figsize=(2.3 * len(sweeps), 4.6), sharex=True, sharey="row"
        )
        for column, sweep in zip(axes.T, sweeps, strict=True):
            inside = sweep.knots.abs() <= bound
            scale = sweep.transfer[:, inside].abs().amax(1, keepdim=True)
            plot_tables(column[0], sweep, sweep.update[neurons], tint, "φ$_i$(x) (1/time unit)")
            plot_tables(column[1], sweep, (sweep.transfer / scale)[neurons], tint, "ψ$_i$(x)")
            column[0].set(title=f"sweep {sweep.index} ({sweep.phase})", xlabel="")
            column[1].set(xlim=(-bound, bound), ylim=(-1.3, 1.3))
            low, high = sweeps[-1].update[:, sweeps[-1].knots.abs() <= bound].aminmax()
            column[0].set_ylim(1.1 * float(low), 1.1 * float(high))
        for ax in axes[:, 1:].flat:
            ax.set_ylabel("")
    return figure


def embedding_evolution(history: History, types: Int[Tensor, " neuron"]) -> Figure:
    """The embedding cloud at several stages of the fit of the networks."""
    steps = (
        history.embedding_steps[[0, 4, 6, 8]]
        if len(history.embedding_steps) > 8
        else (history.embedding_steps)
    )
    with style():
        figure, axes = plt.subplots(1, len(steps), figsize=(2.4 * len(steps), 2.6))
        for ax, cloud, name in zip(
            np.atleast_1d(axes), steps, _stages(len(steps)), strict=True
        ):
            plot_embedding(ax, cloud, types)
            ax.set_title(name)
    return figure


def _stages(count: int) -> list[str]:
    return ["start", *(f"stage {k}" for k in range(1, count - 1)), "end"][:count]


def type_legend(ax: Axes, types: Int[Tensor, " neuron"], prefix: str = "") -> None:
    """The colours of the types that there are."""
    for k in types.unique().tolist():
        colour, label = TYPE_COLOURS[k % len(TYPE_COLOURS)], f"{prefix}type {k + 1}"
        ax.plot([], [], "-", lw=3, color=colour, label=label)
    ax.legend(fontsize=8)
