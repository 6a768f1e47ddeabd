"""Neuron types from the shapes of the learned functions.

Neurons of one type share φ* and ψ*. Once the per-neuron functions have converged, their
shapes fall into tight groups; the number of groups is read off, not given.
"""

import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

VISITED = 0.005  # share of the activity below which a knot is too rare to compare
GAP = 1.5  # ratio of successive merge distances that separates types from noise


def cluster_functions(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, " knot"],
    max_types: int,
) -> Int[Tensor, " neuron"]:
    """Group neurons by the shape of φ_i and ψ_i.

    Average-linkage clustering of the two functions, each weighted by the visited density and
    scaled to equal total variance. The number of types is the largest K for which the last
    merge that leaves K groups is at least ``GAP`` times as far as the next one.

    Args:
        update: φ_i at the knots; its free constant is removed here.
        transfer: ψ_i at the knots; its free scale is removed here.
        density: how often all neurons together visit each knot.
        max_types: upper bound on the number of types.

    Returns:
        The type of each neuron, 0…K−1, numbered by first appearance.

    Source: the clusters of Figure 3's learned embedding.
    """
    features = function_shapes(update, transfer, density)
    merges = linkage(features.double().cpu().numpy(), "average")
    heights = merges[::-1, 2][: max_types + 1]
    ratios = heights[:-1] / heights[1:].clip(min=1e-12)
    wide = [k for k, ratio in enumerate(ratios, start=2) if ratio >= GAP and k <= max_types]
    labels = torch.from_numpy(fcluster(merges, max(wide, default=1), "maxclust")).long()
    _, first = torch.unique(labels, return_inverse=True)
    order = torch.stack([(first == k).nonzero()[0, 0] for k in range(int(first.max()) + 1)])
    return torch.argsort(torch.argsort(order))[first]


def function_shapes(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, " knot"],
) -> Float[Tensor, "neuron feature"]:
    """φ_i without its constant and ψ_i at unit norm, weighted by the visited density."""
    weight = torch.where(density > VISITED * density.sum(), density, 0.0)
    weight = weight / weight.sum()
    update = update - (update @ weight)[:, None]
    transfer = transfer / (transfer**2 @ weight).sqrt().clamp_min(1e-12)[:, None]
    parts = []
    for values in (update, transfer):
        centred = (values - values.mean(0)) * weight.sqrt()
        parts.append(centred / (centred.norm() / len(values) ** 0.5).clamp_min(1e-12))
    return torch.cat(parts, 1)
