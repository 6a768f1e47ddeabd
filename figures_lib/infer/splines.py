"""Functions of one scalar as tables: values on knots, linear in between.

φ*(a_i, ·) and ψ*(a_j, ·) are smooth functions of the activity x alone, so a table of a few
dozen values per neuron replaces the network inside the sweeps: evaluating it costs two reads
however large the recording is, and fitting it is a small linear least-squares problem. The
knots are equidistant in asinh(x/scale), dense where transfer functions bend and sparse in
the tails.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """The knots of a table.

    Attributes:
        scale: activity at which the spacing turns from linear to logarithmic.
        reach: asinh(x_max/scale); the outermost knots lie at ±x_max.
        knots: number of knots.
    """

    scale: float
    reach: float
    knots: int

    def coordinate(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Position of activity x in units of knots, within [0, knots − 1)."""
        position = (torch.asinh(x / self.scale) / self.reach + 1) * (0.5 * (self.knots - 1))
        return position.clamp_(0, self.knots - 1.001)

    def values(self, device: torch.device | str = "cpu") -> Float[Tensor, " knot"]:
        """Activity at every knot."""
        position = torch.linspace(-1, 1, self.knots, device=device)
        return self.scale * torch.sinh(position * self.reach)

    def refine(self, knots: int) -> "Axis":
        """The same range with another number of knots."""
        return replace(self, knots=knots)


def spanning(activity: Float[Tensor, "time neuron"], knots: int) -> Axis:
    """The axis that spans a recording; a third of its standard deviation sets the scale."""
    scale = max(float(activity.std()) / 3, 1e-6)
    largest = torch.tensor(max(float(activity.max()), -float(activity.min()), scale))
    return Axis(scale, float(torch.asinh(largest / scale)), knots)


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


def hats(
    left: Int[Tensor, "neuron time"], fraction: Float[Tensor, "neuron time"], knots: int
) -> Float[Tensor, "neuron knot time"]:
    """B_q(x_i(t)) for all knots q: what :func:`evaluate` multiplies a table by."""
    values = fraction.new_zeros(len(left), knots, left.shape[1])
    values.scatter_(1, left[:, None], 1 - fraction[:, None])
    return values.scatter_(1, left[:, None] + 1, fraction[:, None])


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
    """The same functions on the knots of another axis."""
    left, fraction = locate(old.coordinate(new.values(table.device)))
    shape = (table.shape[0], new.knots)
    return evaluate(table, left.expand(shape), fraction.expand(shape))
