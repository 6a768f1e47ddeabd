"""The interface of a neuron model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from figures_lib.section import Finite, Section

Parameters = Mapping[str, Tensor]  # by name; their shapes broadcast against the activity
UpdateFunction = Callable[[Tensor, Parameters], Tensor]
TransferFunction = Callable[[Tensor, Parameters, Parameters], Tensor]


class NeuronParameters(Section):
    """Parameters of one neuron type.

    Attributes:
        gain: g of equation (1), the factor of the input that a neuron receives.
    """

    gain: Finite = 10.0


def no_known_cause(neuron_types: Sequence[Any], time_step: float) -> str:
    """The default advice if activity grew without bound: what to change."""
    return "lower simulation.noise, simulation.time_step, or the gain or self_coupling"


@dataclass(frozen=True)
class NeuronModel:
    """The two functions of equation (1), and the parameters of a neuron type.

    Attributes:
        parameters: class of an entry of ``neuron_types``; its fields are the parameters.
        update: φ(x; parameters), the dynamics of a neuron by itself [1/time unit].
        transfer: ψ(x; parameters of the sender, of the receiver), the message that a neuron
            sends, dimensionless.
        likely_cause: parameters of the types and Δt → why activity grew without bound, and
            what to change, for the message of an error.
        by_receiver: whether ψ depends on the receiver at all.
    """

    parameters: type[NeuronParameters]
    update: UpdateFunction
    transfer: TransferFunction
    likely_cause: Callable[[Sequence[Any], float], str] = no_known_cause
    by_receiver: bool = False


def of_each_neuron(
    neuron_types: tuple[NeuronParameters, ...], types: Int[Tensor, " neuron"]
) -> dict[str, Tensor]:
    """Every parameter as one value per neuron, looked up by the type of the neuron."""
    names = type(neuron_types[0]).model_fields
    return {
        name: torch.tensor([getattr(k, name) for k in neuron_types])[types] for name in names
    }


def types_in_blocks(neurons: int, shares: Sequence[float]) -> Int[Tensor, " neuron"]:
    """The type of each neuron, those of a type side by side.

    Args:
        neurons: their number.
        shares: how many neurons each type has, relative to the others.
    """
    upto = torch.tensor(shares, dtype=torch.double).cumsum(0)
    edges = upto[:-1] * neurons / upto[-1]
    return torch.searchsorted(edges, torch.arange(neurons, dtype=torch.double), right=True)
