"""Functions of one scalar as tables: values on knots, linear in between.

φ*(a_i, ·) and ψ*(a_j, ·) are smooth functions of the activity x alone, so a table of a few
dozen values per neuron replaces the network inside the sweeps: evaluating it costs two reads
however large the recording is, and fitting it is a small linear least-squares problem. The
knots are equidistant in asinh(x/scale), dense where transfer functions bend and sparse in
the tails. Where the corners of a table would be the largest error, its values follow cubic
splines: there are then more knots than unknowns.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.interpolate import BSpline, CubicSpline
from torch import Tensor

FINER = 4  # knots per spline: straight lines between them are as good as the splines
LARGEST = 2**25  # numbers in the normal matrices of all tables, at most: 134 MB


@dataclass(frozen=True)
class Axis:
    """The knots of a table.

    Attributes:
        scale: activity at which the spacing turns from linear to logarithmic.
        reach: asinh(x_max/scale); the outermost knots lie at ±x_max.
        knots: number of knots.
        splines: number of cubic splines that the tables are made of; as many as knots if the
            values at the knots are free.
    """

    scale: float
    reach: float
    knots: int
    splines: int

    def coordinate(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Position of activity x in units of knots, within [0, knots − 1)."""
        position = (torch.asinh(x / self.scale) / self.reach + 1) * (0.5 * (self.knots - 1))
        return position.clamp_(0, self.knots - 1.001)

    def values(self, device: torch.device | str = "cpu") -> Float[Tensor, " knot"]:
        """Activity at every knot."""
        position = torch.linspace(-1, 1, self.knots, device=device)
        return self.scale * torch.sinh(position * self.reach)

    def refine(self, knots: int, splines: int | None = None) -> "Axis":
        """The same range with another number of knots, and of splines if there are fewer."""
        return Axis(self.scale, self.reach, knots, knots if splines is None else splines)

    def basis(self, device: torch.device | str = "cpu") -> Float[Tensor, "knot spline"]:
        """The splines at the knots, in double precision; the identity if there are as many."""
        return spline_basis(self.knots, self.splines).to(device)


def spanning(activity: Float[Tensor, "time neuron"], knots: int) -> Axis:
    """The axis that spans a recording; a third of its standard deviation sets the scale."""
    scale = max(float(activity.std()) / 3, 1e-6)
    largest = torch.tensor(max(float(activity.max()), -float(activity.min()), scale))
    return Axis(scale, float(torch.asinh(largest / scale)), knots, knots)


def smooth(axis: Axis, splines: int, neurons: int) -> Axis:
    """The same range with tables of cubic splines, one for each of some neurons."""
    return axis.refine(knots_of_splines(splines, neurons), splines)


def knots_of_splines(splines: int, neurons: int) -> int:
    """Number of knots of tables of cubic splines: as many as the memory allows.

    Args:
        splines: number of splines of a table.
        neurons: number of tables; each has a normal matrix of all its knots.
    """
    return max(splines, min(FINER * splines, math.isqrt(LARGEST // neurons)))


@cache
def spline_basis(knots: int, splines: int) -> Float[Tensor, "knot spline"]:
    """Cubic B-splines on equal intervals at some knots; the identity if there are as many."""
    if splines >= knots:
        return torch.eye(knots, dtype=torch.double)
    ends = np.linspace(0, knots - 1, splines - 2)
    ends = np.concatenate([[0.0] * 3, ends, [knots - 1.0] * 3])
    return torch.from_numpy(BSpline.design_matrix(np.arange(knots), ends, 3).toarray())


def bending(identity: Float[Tensor, "spline spline"]) -> Float[Tensor, "spline spline"]:
    """The quadratic form of the second differences of as many values as the identity has."""
    bend = torch.diff(identity, n=2, dim=0)
    return bend.T @ bend


def locate(
    position: Float[Tensor, "*shape"],
) -> tuple[Int[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Split a coordinate into the knot on its left and the fraction of the way to the next."""
    left = position.long()
    return left, position - left


def evaluate(
    table: Float[Tensor, "neuron knot"],
    left: Int[Tensor, "neuron time"],
    fraction: Float[Tensor, "neuron time"],
) -> Float[Tensor, "neuron time"]:
    """Linear interpolation, each neuron in its own row of the table."""
    low = table.gather(1, left)
    return torch.addcmul(low, fraction, table.gather(1, left + 1) - low)


def features(
    left: Int[Tensor, "neuron time"],
    fraction: Float[Tensor, "neuron time"],
    basis: Float[Tensor, "knot spline"],
) -> Float[Tensor, "neuron spline time"]:
    """B_q(x_i(t)) for all columns q of a basis, each a table like those of :func:`evaluate`."""
    return torch.lerp(basis[left], basis[left + 1], fraction[..., None]).mT


def project(
    out: Float[Tensor, "neuron knot"],
    signal: Float[Tensor, "neuron time"],
    left: Int[Tensor, "neuron time"],
    fraction: Float[Tensor, "neuron time"],
) -> None:
    """Add Σ_t signal_i(t)·B_q(x_i(t)) to ``out``; B_q is the hat function of knot q."""
    upper = signal * fraction
    out.scatter_add_(1, left, signal - upper)
    out.scatter_add_(1, left + 1, upper)


def gram(
    out: Float[Tensor, "neuron knot knot"],
    left: Int[Tensor, "neuron time"],
    fraction: Float[Tensor, "neuron time"],
) -> None:
    """Add Σ_t B_p(x_i(t))·B_q(x_i(t)) to ``out``: the normal matrix of a table fit."""
    knots = out.shape[1]
    flat, cell = out.view(out.shape[0], -1), left * (knots + 1)
    mixed = fraction * (1 - fraction)
    flat.scatter_add_(1, cell, (1 - fraction) ** 2)
    flat.scatter_add_(1, cell + 1, mixed)
    flat.scatter_add_(1, cell + knots, mixed)
    flat.scatter_add_(1, cell + knots + 1, fraction**2)


def resample(
    table: Float[Tensor, "neuron knot"], old: Axis, new: Axis
) -> Float[Tensor, "neuron new_knot"]:
    """The same functions on the knots of another axis, smooth if that has fewer splines."""
    at = old.coordinate(new.values(table.device))
    if new.splines == new.knots:
        left, fraction = locate(at)
        shape = (table.shape[0], new.knots)
        return evaluate(table, left.expand(shape), fraction.expand(shape))
    curves = CubicSpline(np.arange(old.knots), table.T.double().cpu().numpy())
    values = torch.from_numpy(curves(at.double().cpu().numpy())).to(table.device)
    basis = new.basis(table.device)
    return (basis @ torch.linalg.lstsq(basis, values).solution).T.to(table.dtype)
