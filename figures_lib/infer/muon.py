"""Muon: gradient descent whose steps are nearly orthogonal matrices.

``torch.optim.Muon`` multiplies in half precision. Where a processor has no instructions
for it, that takes thirty times as long as single precision, and longer than all the rest
of an inference at paper scale. Here only a GPU uses half precision.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

MOMENTUM = 0.95
ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # steep at 0: small singular values grow fast
LEAST = 1e-7  # norm of a matrix


class Muon(Optimizer):
    """Momentum, of which every step has singular values near 1.

    Args:
        parameters: matrices.
        lr: learning rate.

    Source: Jordan et al. 2024.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["average"] = torch.zeros_like(matrix)
                average = state["average"]
                average.lerp_(matrix.grad, 1 - MOMENTUM)
                ahead = matrix.grad.lerp(average, MOMENTUM)  # as Nesterov does
                rows, columns = matrix.shape
                longer = max(1.0, rows / columns) ** 0.5
                matrix.sub_(orthogonalised(ahead), alpha=group["lr"] * longer)


def orthogonalised(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """A matrix with the same singular vectors, and singular values near 1 unless they are tiny.

    A polynomial of the matrix, odd and of fifth degree, moves all singular values towards 1.
    """
    tall = len(matrix) > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide.bfloat16() if wide.is_cuda else wide
    wide = wide / wide.norm().clamp_min(LEAST)
    first, third, fifth = QUINTIC
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = first * wide + (third * gram + fifth * gram @ gram) @ wide
    return (wide.T if tall else wide).to(matrix.dtype)
