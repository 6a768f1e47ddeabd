"""Equation (1): how the activity of a network changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.neurons.neuron import NeuronModel


@dataclass(frozen=True)
class Dynamics:
    """The right-hand side of equation (1) for a network of N neurons.

    dx_i/dt = φ(x_i) + g_i·Ω_i(t)·Σ_j W_ij·ψ(x_j), with φ and ψ of the neuron model.

    Attributes:
        neuron: φ and ψ.
        parameters: each parameter of the neuron model as one value per neuron.
        connectivity: W; row i receives from column j.
    """

    neuron: NeuronModel
    parameters: dict[str, Float[Tensor, " neuron"]]
    connectivity: Float[Tensor, "neuron neuron"]

    def derivative(
        self, x: Float[Tensor, "*state neuron"], field: Float[Tensor, "*state neuron"]
    ) -> Float[Tensor, "*state neuron"]:
        """dx/dt without the noise [1/time unit].

        Args:
            x: activity, dimensionless; of one state, or of several.
            field: Ω_i, dimensionless.

        Source: equation (1).
        """
        own = self.parameters
        received = product(self.connectivity, self.neuron.transfer(x, own))
        return self.neuron.update(x, own) + own["gain"] * field * received

    def to(self, device: torch.device | str) -> "Dynamics":
        """The same network on another device."""
        parameters = {name: value.to(device) for name, value in self.parameters.items()}
        return Dynamics(self.neuron, parameters, self.connectivity.to(device))


def product(
    matrix: Float[Tensor, "neuron neuron"], vector: Float[Tensor, "*state neuron"]
) -> Float[Tensor, "*state neuron"]:
    """Matrix times vector, or times each of some, which takes nearly all the time of a step.

    On the CPU, NumPy computes it: its BLAS divides the rows among the cores, whereas torch's
    (Intel's MKL) uses a single core on processors of other makers.
    """
    if matrix.is_cuda:
        return (matrix @ vector.t()).t()
    return torch.from_numpy((matrix.numpy() @ vector.numpy().T).T)


@contextmanager
def cores_left_to_product() -> Iterator[None]:
    """Limit torch to one thread: its idle threads would block the cores of the product."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
