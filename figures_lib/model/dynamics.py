"""Equation (1): how the activity of a network changes."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.neurons.neuron import NeuronModel, Parameters


@dataclass(frozen=True)
class Dynamics:
    """The right-hand side of equation (1) for a network of N neurons.

    dx_i/dt = φ(x_i) + g_i·Ω_i(t)·Σ_j W_ij·ψ(x_j), with φ and ψ of the neuron model. Where ψ
    depends on the receiver, it is evaluated once for all receivers with equal parameters.

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
        return self.neuron.update(x, own) + own["gain"] * field * self._received(x)

    def _received(self, x: Float[Tensor, "*state neuron"]) -> Float[Tensor, "*state neuron"]:
        """Σ_j W_ij·ψ(x_j)."""
        own = self.parameters
        if not self.neuron.by_receiver:
            return product(self.connectivity, self.neuron.transfer(x, own, own))
        received = torch.empty_like(x)
        for rows, weights, receiver in self._alike:
            received[..., rows] = product(weights, self.neuron.transfer(x, own, receiver))
        return received

    @cached_property
    def _alike(self) -> list[tuple[Tensor, Tensor, Parameters]]:
        """Receivers with equal parameters: which they are, their rows of W, the parameters."""
        table = torch.stack(list(self.parameters.values()), 1)
        kinds, kind = table.unique(dim=0, return_inverse=True)
        every = [(kind == k).nonzero()[:, 0] for k in range(len(kinds))]
        return [
            (rows, self.connectivity[rows], dict(zip(self.parameters, values, strict=True)))
            for rows, values in zip(every, kinds, strict=True)
        ]

    def to(self, device: torch.device | str) -> "Dynamics":
        """The same network on another device."""
        parameters = {name: value.to(device) for name, value in self.parameters.items()}
        return Dynamics(self.neuron, parameters, self.connectivity.to(device))


def product(
    matrix: Float[Tensor, "row neuron"], vector: Float[Tensor, "*state neuron"]
) -> Float[Tensor, "*state row"]:
    """Matrix times vector, or times each of some, which takes nearly all the time of a step.

    On the CPU, NumPy computes it: its BLAS divides the rows among the cores, whereas torch's
    (Intel's MKL) uses a single core on processors of other makers.
    """
    if matrix.is_cuda:
        return (matrix @ vector.t()).t()
    return torch.from_numpy((matrix.numpy() @ vector.numpy().T).T)
