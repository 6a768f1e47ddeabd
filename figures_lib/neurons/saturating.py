"""The published neuron: leak, self-coupling and a saturating transfer function."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.neurons.neuron import NeuronModel, NeuronParameters, Parameters, no_known_cause
from figures_lib.section import Finite, Positive


class SaturatingNeuron(NeuronParameters):
    """Parameters of one neuron type in the published dynamics.

    Equation (1) with the names of the parameters::

        dx/dt = −decay·x + self_coupling·tanh(x) + offset
                + gain·Ω(t)·Σ_j W_ij·(tanh((x_j − threshold_j)/width_j) − slope_j·x_j)

    Symbols of the paper: decay = 1/τ [1/time unit], offset = b, gain = g,
    self_coupling = s, width = γ, threshold = h, slope = θ.
    """

    decay: Positive
    offset: Finite = 0.0
    self_coupling: Finite
    width: Positive
    threshold: Finite = 0.0
    slope: Finite = 0.0


def update(x: Float[Tensor, "*shape"], own: Parameters) -> Float[Tensor, "*shape"]:
    """φ(x) = s·tanh(x) − x/τ + b [1/time unit].

    Source: equation (1), the terms without the network.
    """
    return own["self_coupling"] * torch.tanh(x) - own["decay"] * x + own["offset"]


def transfer(
    x: Float[Tensor, "*shape"], sender: Parameters, receiver: Parameters
) -> Float[Tensor, "*shape"]:
    """ψ(x) = tanh((x − h)/γ) − θ·x, dimensionless; the receiver plays no part.

    Source: equation (1), the term in the sum.
    """
    inside = (x - sender["threshold"]) / sender["width"]
    return torch.tanh(inside) - sender["slope"] * x


def likely_cause(neuron_types: Sequence[SaturatingNeuron], time_step: float) -> str:
    """Why activity grew without bound, and what to change."""
    fastest = time_step * max(one.decay for one in neuron_types)
    if fastest >= 2:  # the limit of stability of Euler's method
        return f"simulation.time_step × decay is {fastest:.3g}, lower it below 2"
    if any(one.slope != 0 for one in neuron_types):
        return "ψ of a type with a slope is unbounded, bring its slope or its gain closer to 0"
    return no_known_cause(neuron_types, time_step)


SATURATING = NeuronModel(SaturatingNeuron, update, transfer, likely_cause)
