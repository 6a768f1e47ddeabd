"""Inference while it runs: loss, functions and embeddings, sweep by sweep or step by step."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.functions import plot_embedding
from figures_lib.draw.style import CURVES, colours, evenly, style
from figures_lib.model.inferred import History, SweepReport

PHASES = {  # name and colour of each
    "shared": ("one ψ for all", "#f2f2f2"),
    "neuron": ("one ψ per neuron", "#e3edf7"),
    "type": ("one ψ per type", "#e8f3ea"),
    "joint": ("all unknowns together", "#f7f0e3"),
}


@style()
def training(sweeps: Sequence[SweepReport]) -> Figure:
    """Unexplained variance after every sweep, the phases shaded."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4))
    plot_loss(ax, sweeps)
    return figure


def plot_loss(ax: Axes, sweeps: Sequence[SweepReport]) -> None:
    """The loss curve."""
    for phase, (name, colour) in PHASES.items():
        index = [sweep.index for sweep in sweeps if sweep.phase == phase]
        if index:
            ax.axvspan(min(index) - 0.5, max(index) + 0.5, color=colour, zorder=0)
            middle, top = (min(index) + max(index)) / 2, ax.get_xaxis_transform()
            ax.text(middle, 0.97, name, transform=top, ha="center", va="top", fontsize=8)
    curve = [s.index for s in sweeps], [s.loss for s in sweeps]
    ax.semilogy(*curve, "o-", color="k", ms=3, lw=1)
    ax.set(
        xlabel=sweeps[-1].title.split()[0],
        ylabel="unexplained fraction\nof the variance of dx/dt",
    )


def plot_tables(
    ax: Axes,
    sweep: SweepReport,
    values: Float[Tensor, "neuron knot"],
    colour: Sequence[str],
    label: str,
) -> None:
    """The functions of single neurons during the sweeps."""
    for series, tint in zip(values.numpy(), colour, strict=True):
        ax.plot(sweep.knots, series, color=tint, lw=0.5, alpha=0.6)
    ax.set(xlabel="activity x", ylabel=label)


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
    loss.set_title(f"{last.title}: {last.loss:.1e} unexplained")
    if last.remaining > 0:
        others[0].set_title(f"about {last.remaining / 60:.1f} min left")


@style()
def evolution(
    sweeps: Sequence[SweepReport],
    neurons: Int[Tensor, " shown"],
    types: Int[Tensor, " neuron"],
    bound: float,
) -> Figure:
    """φ_i and ψ_i of some neurons at several sweeps, coloured by type; shown between ±bound."""
    size, tint = (2.3 * len(sweeps), 4.6), colours(types[neurons])
    figure, axes = plt.subplots(2, len(sweeps), figsize=size, sharex=True, sharey="row")
    for column, sweep in zip(axes.T, sweeps, strict=True):
        inside = sweep.knots.abs() <= bound
        scale = sweep.transfer[:, inside].abs().amax(1, keepdim=True)
        plot_tables(column[0], sweep, sweep.update[neurons], tint, "φ$_i$(x) (1/time unit)")
        plot_tables(column[1], sweep, (sweep.transfer / scale)[neurons], tint, "ψ$_i$(x)")
        column[0].set(title=f"{sweep.title} ({sweep.phase})", xlabel="")
        column[1].set(xlim=(-bound, bound), ylim=(-1.3, 1.3))
    low, high = sweep.update[:, inside].aminmax()  # of the last sweep, for all
    axes[0, 0].set_ylim(1.1 * float(low), 1.1 * float(high))
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    return figure


@style()
def embedding_evolution(history: History, types: Int[Tensor, " neuron"]) -> Figure:
    """The embeddings at several stages of the fit of the networks."""
    clouds = history.embedding_steps
    clouds = clouds[[0, 4, 6, 8]] if len(clouds) > 8 else clouds
    size = (2.4 * len(clouds), 2.6)
    figure, axes = plt.subplots(1, len(clouds), figsize=size, squeeze=False)
    names = ["start", *(f"stage {k}" for k in range(1, len(clouds) - 1)), "end"]
    for ax, cloud, name in zip(axes.flat, clouds, names, strict=False):
        plot_embedding(ax, cloud, types)
        ax.set_title(name)
    return figure
