"""The network: the positions of the neurons and the true connectivity W."""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.config import Connectivity
from figures_lib.simulate.weight_file import read_weights
from figures_lib.weights import DISTRIBUTIONS

DISC = (1.75, 0.5, 0.5)  # centre x, centre y and radius of the sunflower, beside the grid


def draw_connectivity(
    connectivity: Connectivity, neurons: int, generator: torch.Generator
) -> Float[Tensor, "neuron neuron"]:
    """W_ij, the weight of sender j (column) on receiver i (row), with zero diagonal.

    Args:
        connectivity: distribution, scale and density, or the source file.
        neurons: N.
        generator: of the random numbers.

    Raises:
        ConfigError: the source file cannot be used.

    Source: design of Figure 3: standard Cauchy, entries beyond ±25 set to 0, over N^0.675.
    """
    if connectivity.source is not None:
        weights = read_weights(Path(connectivity.source), neurons)
    else:
        distribution = DISTRIBUTIONS[connectivity.distribution]
        weights = distribution.draw(neurons, connectivity.truncation, generator)
        weights *= connectivity.scale or distribution.scale(neurons)
    if connectivity.density < 1:
        weights *= torch.rand(neurons, neurons, generator=generator) < connectivity.density
    return weights.fill_diagonal_(0)


def neuron_positions(input_neurons: int, neurons: int) -> Float[Tensor, "neuron 2"]:
    """Positions (x, y) of all neurons, in units of the side of the input grid.

    The first ``input_neurons`` (a square number) fill a grid in [0, 1]², y running fastest;
    the rest follow Vogel's spiral with the golden angle.

    Args:
        input_neurons: neurons that receive the field.
        neurons: all neurons.

    Source: Figure 3 a, b.
    """
    side = math.isqrt(input_neurons)
    centres = (torch.arange(side) + 0.5) / max(side, 1)
    grid = torch.cartesian_prod(centres, centres).reshape(-1, 2)
    rest = neurons - input_neurons
    index = torch.arange(rest)
    radius = DISC[2] * torch.sqrt((index + 0.5) / max(rest, 1))
    angle = index * math.pi * (3 - math.sqrt(5))
    disc = torch.stack(
        [DISC[0] + radius * torch.cos(angle), DISC[1] + radius * torch.sin(angle)], 1
    )
    return torch.cat([grid, disc]).float()
