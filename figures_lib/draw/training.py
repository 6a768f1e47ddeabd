"""Inference while it runs: loss, functions and embeddings sweep by sweep."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.functions import plot_embedding
from figures_lib.draw.style import CURVES, colours, evenly, style
from figures_lib.model.inferred import History, SweepReport

PHASE_COLOURS = {"shared": "#f2f2f2", "neuron": "#e3edf7", "type": "#e8f3ea"}


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
