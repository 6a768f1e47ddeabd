"""A neuron whose messages are as wide as the receiver has it: Figure S14 of the paper."""

import torch
from jaxtyping import Float

from figures_lib.neurons.neuron import NeuronModel, Parameters
from figures_lib.neurons.saturating import SaturatingNeuron, likely_cause, update


def transfer(
    x: Float[torch.Tensor, "*shape"], sender: Parameters, receiver: Parameters
) -> Float[torch.Tensor, "*shape"]:
    """ψ(x_j) = tanh((x_j − h_j)/γ_i) − θ_j·x_j, dimensionless: γ is that of the receiver i.

    Source: Figure S14, after the authors' public code.
    """
    inside = (x - sender["threshold"]) / receiver["width"]
    return torch.tanh(inside) - sender["slope"] * x


RECEIVING = NeuronModel(SaturatingNeuron, update, transfer, likely_cause, by_receiver=True)
