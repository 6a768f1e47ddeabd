"""Weights by Dale's law: all weights of a sender have the same sign."""

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.weights.distribution import Distribution
from figures_lib.weights.gaussian import scale

EXCITATORY = 0.8  # share of the senders
BALANCE = 2.0  # = √(0.8/0.2), by which inhibitory weights are larger: equal variance of both


def draw(
    neurons: int, truncation: float, generator: torch.Generator
) -> Float[Tensor, "neuron neuron"]:
    """Magnitudes of normal entries; four of five senders excite, the others inhibit."""
    weights = torch.randn(neurons, neurons, generator=generator).abs()
    inhibits = torch.rand(neurons, generator=generator) >= EXCITATORY
    return weights * torch.where(inhibits, -BALANCE, 1.0)


DALE = Distribution(draw, scale)
