"""What the connectivity does as a whole: the spectra of W* and W, and their eigenvectors.

Activities that are proportional to an eigenvector of W drive themselves; the eigenvalue says
how strongly, and with which rotation. A single weight hardly changes the spectrum, but many
small errors together can.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Complex, Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

LEADING = 10  # eigenvectors that are compared
LARGEST = 4096  # neurons of a network whose spectrum is computed: the time grows as N³


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of the true and of the learned connectivity.

    Attributes:
        true: real and imaginary part of each; none for networks that are too large.
        learned: the same of W*.
        alignment: magnitude of ``⟨v, v*⟩`` of the leading true eigenvectors v, of length 1,
            with those of the learned matrix whose eigenvalues are nearest to theirs; the
            largest eigenvalue first. Of a conjugate pair only one is among them.
    """

    true: Float[Tensor, "eigenvalue 2"]
    learned: Float[Tensor, "eigenvalue 2"]
    alignment: Float[Tensor, " leading"]

    def metrics(self) -> dict[str, float | None]:
        """Both spectral radii, and the median of the alignment; None if not computed."""
        if not len(self.alignment):
            return dict.fromkeys(("radius_true", "radius", "alignment"))
        return {
            "radius_true": float(self.true.norm(dim=1).max()),
            "radius": float(self.learned.norm(dim=1).max()),
            "alignment": float(self.alignment.median()),
        }


def spectrum(
    true: Float[Tensor, "neuron neuron"], learned: Float[Tensor, "neuron neuron"]
) -> Spectrum:
    """Compare the spectra of W and W*, both in the same convention.

    Source: Figure 2 and its supplements, which give spectral radius and alignment.
    """
    if len(true) > LARGEST:
        return Spectrum(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0))
    (values, vectors), (values_learned, vectors_learned) = (
        scipy.linalg.eig(weights.double().numpy()) for weights in (true, learned)
    )
    upper = np.flatnonzero(values.imag >= 0)
    leading = upper[np.argsort(-np.abs(values[upper]), kind="stable")][:LEADING]
    apart = np.abs(values[leading, None] - values_learned)
    rows, matched = linear_sum_assignment(apart)
    products = vectors[:, leading[rows]].conj() * vectors_learned[:, matched]
    return Spectrum(
        _parts(values),
        _parts(values_learned),
        torch.from_numpy(np.abs(products.sum(0))).float(),
    )


def _parts(values: Complex[np.ndarray, " eigenvalue"]) -> Float[Tensor, "eigenvalue 2"]:
    return torch.from_numpy(np.stack([values.real, values.imag], 1)).float()
