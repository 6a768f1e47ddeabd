"""Embeddings, update functions and transfer functions, learned over true."""

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.style import TRUE_COLOUR, colours, style, type_legend


@style()
def embedding(
    embedding: Float[Tensor, "neuron embedding"], types: Int[Tensor, " neuron"]
) -> Figure:
    """Learned latent vectors a_i, coloured by true type."""
    figure, ax = plt.subplots(figsize=(4.6, 4.2))
    plot_embedding(ax, embedding, types)
    type_legend(ax, types)
    return figure


def plot_embedding(
    ax: Axes, embedding: Float[Tensor, "neuron embedding"], types: Int[Tensor, " neuron"]
) -> None:
    """The cloud of a_i."""
    tint = colours(types)
    points = ax.scatter(*plane(embedding).T, c=tint, s=8, alpha=0.6, linewidths=0)
    points.set_rasterized(True)
    other = "a$_{i,2}$" if embedding.shape[1] > 1 else "neuron index"
    ax.set(xlabel="a$_{i,1}$", ylabel=other)


def plane(
    embedding: Float[Tensor, "*stage neuron embedding"],
) -> Float[Tensor, "*stage neuron 2"]:
    """The first two components of a_i; a single one is drawn against the neuron index."""
    if embedding.shape[-1] > 1:
        return embedding[..., :2]
    index = torch.arange(embedding.shape[-2]).to(embedding)
    return torch.stack([embedding[..., 0], index.expand(embedding.shape[:-1])], -1)


@style()
def functions(
    x: Float[Tensor, "type x"],
    true: Float[Tensor, "*receiver type x"],
    learned: Float[Tensor, "*receiver type x"],
    label: str,
) -> Figure:
    """Update functions φ* or transfer functions ψ* of every type, over the true ones.

    Those that depend on the receiver have a line for every type of receivers.
    """
    figure, ax = plt.subplots(figsize=(5.2, 4))
    plot_functions(ax, x, true, learned)
    ax.set(xlabel="activity x (dimensionless)", ylabel=label)
    ax.plot([], [], color=TRUE_COLOUR, lw=6, label="true")
    type_legend(ax, torch.arange(len(x)))
    return figure


def plot_functions(
    ax: Axes,
    x: Float[Tensor, "type x"],
    true: Float[Tensor, "*receiver type x"],
    learned: Float[Tensor, "*receiver type x"],
) -> None:
    """The functions of every type over the true ones."""
    for of_type, grid in zip(true.movedim(-2, 0), x, strict=True):
        ax.plot(grid, of_type.t(), color=TRUE_COLOUR, lw=6, solid_capstyle="round")
    tint = colours(torch.arange(len(x)))
    for of_type, grid, colour in zip(learned.movedim(-2, 0), x, tint, strict=True):
        ax.plot(grid, of_type.t(), color=colour, lw=1.5)
