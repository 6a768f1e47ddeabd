"""What activity alone cannot tell, fixed by conventions that use no truth.

Equation (2) keeps its value under

(i)   ψ*_k → c·ψ*_k with W*_ij → W*_ij / c for every sender j of type k, and
(ii)  Ω*_i → r_i·Ω*_i with W*_ij → W*_ij / r_i for every modulated neuron i.

Convention (i): the largest |ψ*| over the visited activity is 1, as in the paper's figure.
Convention (ii): the rows of W* come from one distribution, so the robust scale of every
modulated row is made that of the rows without modulation, where Ω = 1 is known.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

VISITED = (0.005, 0.995)  # quantiles of the activity between which functions are compared
GRID = 201  # points of that range at which they are evaluated


def visited_grid(
    activity: Float[Tensor, "time neuron"], types: Int[Tensor, " neuron"]
) -> Float[Tensor, "type x"]:
    """Equidistant activities over the 0.5–99.5 % range that each type visits.

    Args:
        activity: recorded activity; at most about 2000 frames of it are looked at.
        types: type of each neuron, 0…K−1.
    """
    sample = activity[:: max(1, len(activity) // 2000)]
    unit = torch.linspace(0, 1, GRID)
    rows = []
    for k in range(int(types.max()) + 1):
        ordered = sample[:, types == k].flatten().sort().values
        low, high = (ordered[int(q * (ordered.numel() - 1))] for q in VISITED)
        rows.append(low + (high - low) * unit)
    return torch.stack(rows)


def transfer_scale(values: Float[Tensor, "*group x"]) -> Float[Tensor, "*group"]:
    """The c of convention (i): the largest |ψ*| over the visited activity."""
    return values.abs().amax(-1).clamp_min(1e-12)


def row_scales(
    connectivity: Float[Tensor, "neuron neuron"], modulated: Bool[Tensor, " neuron"]
) -> Float[Tensor, " neuron"]:
    """The scale of each modulated row of W relative to the unmodulated rows (convention ii).

    The scale s_i solves mean_j ρ(w_ij/s_i) = c with ρ(u) = u²/(1 + u²); c is the value that
    the pooled unmodulated rows have at the median of their magnitudes. The estimate is
    consistent for any common distribution and is the maximum-likelihood one for Cauchy rows,
    whose scale N entries cannot tell better than √(2/N).

    Args:
        connectivity: W before the convention.
        modulated: neurons that receive the hidden field.

    Returns:
        s_i for modulated rows, 1 for the others; all 1 if there is nothing to compare with.
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


def _rho(ratio: Tensor) -> Tensor:
    square = ratio * ratio
    return square / (1 + square)
