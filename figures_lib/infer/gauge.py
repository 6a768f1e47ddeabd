"""The gauge: what activity alone cannot determine, fixed by conventions that use no truth.

Equation (2) is invariant under

(i)   ψ*_k → c·ψ*_k with W*_ij → W*_ij / c for every sender j of type k, of either sign, and
(ii)  Ω*_i → r_i·Ω*_i with W*_ij → W*_ij / r_i for every modulated neuron i.

Convention (i): the largest magnitude of ψ* over the visited activity is 1, as in the figure,
and ψ* rises on the whole.
Convention (ii): the rows of W* come from one distribution, so the robust scale of every
modulated row is set to that of the rows without modulation, where Ω = 1 is known. N weights
determine it to √(2/N) only. The field improves on that (:mod:`figures_lib.infer.field_scales`).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib.infer.heldout import sampled_frames

VISITED = (0.005, 0.995)  # quantiles of the activity between which functions are compared
GRID = 201  # points of that range at which they are evaluated


def visited_grid(
    activity: Float[Tensor, "time neuron"], types: Int[Tensor, " neuron"]
) -> Float[Tensor, "type x"]:
    """Equidistant activities over the 0.5–99.5 % range that each type visits.

    Args:
        activity: recorded activity; at most about 2000 frames of it are read.
        types: type of each neuron, 0…K−1.
    """
    sample = activity[sampled_frames(len(activity), 2000)]
    unit = torch.linspace(0, 1, GRID)
    rows = []
    for k in range(int(types.max()) + 1):
        ordered = sample[:, types == k].flatten().sort().values
        low, high = (ordered[int(q * (ordered.numel() - 1))] for q in VISITED)
        rows.append(low + (high - low) * unit)
    return torch.stack(rows)


def transfer_scale(
    values: Float[Tensor, "*group x"], visits: Float[Tensor, "*group x"] | None = None
) -> Float[Tensor, "*group"]:
    """The c of convention (i): the largest magnitude of ψ*, negative if it falls on the whole.

    Args:
        values: ψ* at increasing activities.
        visits: how often each is visited; by default equally often.
    """
    weight = torch.ones_like(values) if visits is None else visits
    place = torch.arange(values.shape[-1], device=values.device).expand_as(values)
    centre = (weight * place).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
    largest = values.abs().amax(-1).clamp_min(1e-12)
    return torch.where((weight * (place - centre) * values).sum(-1) < 0, -largest, largest)


def of_neurons(
    scale: Float[Tensor, "*receiver type"], types: Int[Tensor, " neuron"]
) -> Float[Tensor, "*row neuron"]:
    """The scale of ψ of every sender; for every receiver, if it has that axis."""
    return scale[types] if scale.dim() == 1 else scale[types][:, types]


def row_scales(
    connectivity: Float[Tensor, "row neuron"], modulated: Bool[Tensor, " row"]
) -> Float[Tensor, " row"]:
    """The scale of each modulated row of W relative to the unmodulated rows (convention ii).

    The scale s_i solves mean_j ρ(w_ij/s_i) = c with ρ(u) = u²/(1 + u²); c is the value that
    the pooled unmodulated rows have at the median of their magnitudes. The estimate is
    consistent for any common distribution and is the maximum-likelihood one for Cauchy rows,
    for which no estimate from N entries has a relative error below √(2/N).

    Args:
        connectivity: rows of W before the convention.
        modulated: rows whose neuron receives the hidden field.

    Returns:
        s_i for modulated rows, 1 for the others; all 1 if either kind of row is missing.
    """
    scales = torch.ones(len(connectivity), device=connectivity.device)
    if not modulated.any() or modulated.all():
        return scales
    reference = connectivity[~modulated].abs()
    large = reference.flatten().kthvalue(max(1, int(0.99 * reference.numel()))).values
    clear = reference[reference > 1e-3 * large]  # a sparse W has a median of zero
    unit = clear.median().clamp_min(1e-12)
    target = _rho(reference / unit).mean()
    rows = connectivity[modulated].abs() / unit
    estimate = torch.ones(len(rows), device=rows.device)
    for _ in range(60):  # contraction: a tenth of the error remains after a few rounds
        estimate = estimate * (_rho(rows / estimate[:, None]).mean(1) / target)
    scales[modulated] = estimate
    return scales


def scale_error(connectivity: Float[Tensor, "row neuron"], modulated: Tensor) -> float:
    """Standard error of log s_i, from rows whose scale is known: those without modulation.

    Every other one of them is treated as if it were modulated. With fewer than eight rows the
    bound for Cauchy rows, √(2/N), is returned.
    """
    rows = (~modulated).nonzero()[:, 0]
    if len(rows) < 8:
        return math.sqrt(2 / connectivity.shape[1])
    pretended = torch.arange(len(rows), device=rows.device) % 2 == 0
    logarithms = row_scales(connectivity[rows], pretended)[pretended].log()
    spread = (logarithms - logarithms.median()).abs().median()
    return 1.4826 * float(spread)  # for a normal distribution; outliers do not count


def _rho(ratio: Tensor) -> Tensor:
    square = ratio * ratio
    return square / (1 + square)
