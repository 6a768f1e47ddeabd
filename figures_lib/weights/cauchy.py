"""Cauchy ("Lorentz") weights, as published."""

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.weights.distribution import Distribution


def draw(
    neurons: int, truncation: float, generator: torch.Generator
) -> Float[Tensor, "neuron neuron"]:
    """Standard Cauchy entries; those beyond ±truncation are set to 0.

    Source: design of Figure 3, where the truncation is 25.
    """
    weights = torch.empty(neurons, neurons).cauchy_(generator=generator)
    weights[weights.abs() > truncation] = 0
    return weights


def exponent(neurons: int) -> float:
    """Exponent p of the published scaling N^−p of Cauchy weights."""
    if neurons == 8000:
        return 0.66
    for limit, power in ((2000, 0.7), (4000, 0.675), (8000, 0.67)):
        if neurons < limit:
            return power
    return 0.5


def scale(neurons: int) -> float:
    """N^−p with the published exponent p."""
    return neurons ** -exponent(neurons)


CAUCHY = Distribution(draw, scale)
