"""Matrix products, which take most of the time of a simulation and of an inference.

On a CPU NumPy computes them. Its BLAS (OpenBLAS) uses the widest instructions of every
processor, divides a product with a vector among the cores, and computes only half of a Gram
matrix. Torch's (Intel's MKL) does none of this on processors of other makers. They are an
operator of torch, so that what counts operations counts these.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def _by_numpy(left: Tensor, right: Tensor) -> Tensor:
    return torch.from_numpy(left.numpy() @ right.numpy())


LIBRARY = torch.library.Library("figures_lib", "DEF")
LIBRARY.define("product(Tensor left, Tensor right) -> Tensor")
LIBRARY.impl("product", _by_numpy, "CPU")
LIBRARY.impl("product", torch.matmul, "CUDA")
OPERATOR = torch.ops.figures_lib.product


def product(
    left: Float[Tensor, "row inner"], right: Float[Tensor, "inner *column"]
) -> Float[Tensor, "row *column"]:
    """left·right, of a matrix and a matrix or a vector; it has no gradient."""
    return OPERATOR(left, right)


def add_product_(
    total: Float[Tensor, "row column"],
    left: Float[Tensor, "row inner"],
    right: Float[Tensor, "inner column"],
) -> None:
    """Add left·right to a matrix, in place."""
    if total.is_cuda:
        total.addmm_(left, right)
    else:
        total += product(left, right)


def add_gram_(total: Float[Tensor, "row row"], rows: Float[Tensor, "row inner"]) -> None:
    """Add the Gram matrix rows·rowsᵀ to a matrix, in place."""
    add_product_(total, rows, rows.T)
