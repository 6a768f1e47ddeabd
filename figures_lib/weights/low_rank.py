"""Weights of low rank: a few patterns of senders drive a few patterns of receivers."""

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.weights.distribution import Distribution
from figures_lib.weights.gaussian import scale

RANK = 8  # or N, if that is smaller


def draw(
    neurons: int, truncation: float, generator: torch.Generator
) -> Float[Tensor, "neuron neuron"]:
    """The product of two Gaussian matrices, N × 8 and 8 × N, with entries of unit variance."""
    rank = min(RANK, neurons)
    left, right = torch.randn(2, neurons, rank, generator=generator)
    return left @ right.T / rank**0.5


LOW_RANK = Distribution(draw, scale)
