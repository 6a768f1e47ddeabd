"""Where the neurons lie: the input neurons on a grid, the others in a sunflower disc."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

DISC = (1.75, 0.5, 0.5)  # centre x, centre y and radius of the sunflower, beside the grid


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
