"""Gaussian weights."""

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.weights.distribution import Distribution


def draw(
    neurons: int, truncation: float, generator: torch.Generator
) -> Float[Tensor, "neuron neuron"]:
    """Standard normal entries, which need no truncation."""
    return torch.randn(neurons, neurons, generator=generator)


def scale(neurons: int) -> float:
    """1/√N: the summed input of a neuron then has the variance of a single message."""
    return neurons**-0.5


GAUSSIAN = Distribution(draw, scale)
