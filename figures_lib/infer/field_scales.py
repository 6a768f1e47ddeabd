"""Convention (ii), finer: what the field says about the scale of its own rows.

A row of W determines the scale s_i of its field to a few percent, and these errors are
independent. They show in nothing but the time mean of log Ω_i. What else is known of Ω_i says
what that mean should be: neurons that are neighbours have similar means, and so have neurons
whose fields vary alike in time about their means, wherever they are. An error of the scale does
not change how a field varies.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

from figures_lib.infer.fit_networks import refine

LENGTHS = (0.05, 0.1, 0.3, 1.0)  # correlation lengths in space [grid widths]
UNLIKE = 6.0  # distance over which means of fields that vary differently are correlated
COMPONENTS = 8  # principal components in time, by which fields are compared, at most
ENOUGH = 16  # neurons per component, at least
FEW = 512  # neurons from which the sizes of the parts are found, at most
STEPS = 20  # of L-BFGS in these sizes
LEAST = 1e-6  # smallest Ω: an estimate may be negative where it is not known
ROUNDING = 1e-9  # of the variance, that keeps matrices positive definite
BOUNDS = (-40.0, 5.0)  # of the log of a size


def smooth_scales(
    positions: Float[Tensor, "input 2"], field: Float[Tensor, "input window"], error: float
) -> Float[Tensor, " input"]:
    """Corrections of the row scales by which the time mean of the field becomes predictable.

    The time mean of log Ω_i is taken as a Gaussian process, observed with the independent
    errors of the row scales. It is a sum of parts: one for each length of ``LENGTHS`` in space,
    one over what :func:`fluctuations` describes, and texture, which nothing predicts. The sizes
    of the parts maximise the likelihood; the posterior mean replaces the observation. A field
    of texture alone stays as it is, up to a common shrinkage.

    Args:
        positions: (x, y) of the modulated neurons [grid widths].
        field: Ω_i in each window, with the scales of
            :func:`~figures_lib.infer.gauge.row_scales` applied.
        error: standard deviation of the log of these
            (:func:`~figures_lib.infer.gauge.scale_error`).

    Returns:
        The factor by which each row of the field is to be multiplied.
    """
    logarithm = field.clamp_min(LEAST).log().double().cpu()  # its small matrices stay there
    observed = logarithm.mean(1)
    if len(observed) < 3 or not error > 0:
        return torch.ones_like(field[:, 0])
    deviation = observed - observed.mean()
    parts = covariances(positions.double().cpu(), fluctuations(logarithm))
    some = slice(None, None, math.ceil(len(observed) / FEW))
    sizes = likeliest_sizes(parts[:, some, some], deviation[some], error)
    return (posterior_mean(parts, sizes, deviation, error) - deviation).exp().to(field)


def fluctuations(logarithm: Float[Tensor, "input window"]) -> Float[Tensor, "input feature"]:
    """How each field varies about its mean in time: its principal components, width and skew.

    Args:
        logarithm: log Ω_i in each window.

    Returns:
        Numbers of unit size, unchanged if Ω_i is multiplied by a factor.
    """
    change = logarithm - logarithm.mean(1, keepdim=True)
    most = min(COMPONENTS, len(change) // ENOUGH)
    if not most:
        return change[:, :0]
    _, modes = torch.linalg.eigh(change.T @ change)
    scores = change @ modes.flip(1)[:, :most]
    width = change.square().mean(1).sqrt()
    skew = (change**3).mean(1) / width.clamp_min(1e-12) ** 3
    shape = torch.stack([width, skew], 1)
    shape = (shape - shape.mean(0)) / shape.std(0).clamp_min(1e-12)
    return torch.cat([scores / scores[:, 0].std().clamp_min(1e-12), shape], 1)


def covariances(
    positions: Float[Tensor, "input 2"], character: Float[Tensor, "input feature"]
) -> Float[Tensor, "part input input"]:
    """Covariance of each part of the time means, of size 1; the last one is texture."""
    parts = [_matern(positions, length) for length in LENGTHS]
    if character.shape[1]:
        parts.append(_matern(character, UNLIKE))
    return torch.stack([*parts, torch.eye(len(positions), dtype=torch.double)])


def likeliest_sizes(
    parts: Float[Tensor, "part input input"], deviation: Float[Tensor, " input"], error: float
) -> Float[Tensor, " part"]:
    """The variance of each part that makes the deviations likeliest.

    Args:
        parts: see :func:`covariances`.
        deviation: time mean of log Ω_i, about the mean of all.
        error: standard deviation of its error.
    """
    start = deviation.square().mean().clamp_min(error**2) / len(parts)
    logarithms = Parameter(torch.full((len(parts),), float(start.log())).double())

    def misfit() -> Tensor:
        _, total = _signal_and_total(parts, logarithms.clamp(*BOUNDS).exp(), error)
        factor = torch.linalg.cholesky(total)
        solved = torch.cholesky_solve(deviation[:, None], factor)[:, 0]
        return 0.5 * (deviation @ solved) + factor.diagonal().log().sum()

    refine([logarithms], misfit, STEPS)
    return logarithms.detach().clamp(*BOUNDS).exp()


def posterior_mean(
    parts: Float[Tensor, "part input input"],
    sizes: Float[Tensor, " part"],
    deviation: Float[Tensor, " input"],
    error: float,
) -> Float[Tensor, " input"]:
    """The deviations to be expected without the errors; the arguments are as above."""
    signal, total = _signal_and_total(parts, sizes, error)
    return signal @ torch.linalg.solve(total, deviation)


def _signal_and_total(
    parts: Float[Tensor, "part input input"], sizes: Float[Tensor, " part"], error: float
) -> tuple[Float[Tensor, "input input"], Float[Tensor, "input input"]]:
    """Covariance of the means, and of what is observed of them."""
    signal = torch.einsum("p,pij->ij", sizes, parts)
    noise = error**2 + ROUNDING * sizes.sum()
    return signal, signal + noise * torch.eye(len(signal), dtype=torch.double)


def _matern(places: Float[Tensor, "input axis"], length: float) -> Float[Tensor, "input input"]:
    """The Matérn-3/2 covariance of size 1."""
    scaled = math.sqrt(3) * torch.cdist(places, places) / length
    return (1 + scaled) * torch.exp(-scaled)
