"""Embeddings, update functions and transfer functions, learned over true."""

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.style import TRUE_COLOUR, TYPE_COLOURS, colours, style, type_legend


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
