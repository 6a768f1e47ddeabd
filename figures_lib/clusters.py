"""Neuron types from the shapes of the learned functions.

Neurons of one type share φ* and ψ*. Once the per-neuron functions have converged, their
shapes fall into tight groups; the number of groups is read off, not given.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist
from torch import Tensor

VISITED = 0.005  # share of the activity below which a knot is too rare to compare
GAP = 1.5  # ratio of successive merge distances that separates types from noise
SIMILAR = 0.6  # of gaps this close to the widest, the one with more types is taken
LEAST_SHARE, LEAST = 0.02, 4  # a group of fewer neurons is a stray, not a type


def cluster_functions(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, " knot"],
    max_types: int,
) -> Int[Tensor, " neuron"]:
    """Group neurons by the shape of φ_i and ψ_i.

    Average-linkage clustering of the two functions, each weighted by the visited density and
    scaled to equal total variance. Only merges of two groups of some size can separate types;
    the widest relative gap between the distances of such merges tells where types end and
    noise begins. Strays join the nearest type.

    Args:
        update: φ_i at the knots; its free constant is removed here.
        transfer: ψ_i at the knots; its free scale is removed here.
        density: how often all neurons together visit each knot.
        max_types: upper bound on the number of types.

    Returns:
        The type of each neuron, 0…K−1, numbered by first appearance.

    Source: the clusters of Figure 3's learned embedding.
    """
    features = function_shapes(update, transfer, density).double().cpu().numpy()
    merges = linkage(features, "average")
    least = max(LEAST, int(LEAST_SHARE * len(features)))
    labels = fcluster(merges, _cut(merges, least, max_types), "distance")
    names, counts = np.unique(labels, return_counts=True)
    large = names[counts >= least] if (counts >= least).any() else names[[counts.argmax()]]
    centres = np.stack([features[labels == name].mean(0) for name in large])
    nearest = cdist(features, centres).argmin(1)
    own = {name: index for index, name in enumerate(large)}
    found = [own.get(name, stray) for name, stray in zip(labels, nearest, strict=True)]
    order = {name: rank for rank, name in enumerate(dict.fromkeys(found))}
    return torch.tensor([order[name] for name in found])


def _cut(merges: np.ndarray, least: int, max_types: int) -> float:
    """The distance below which merges stay within a type."""
    sizes = np.concatenate([np.ones(len(merges) + 1), merges[:, 3]])
    smaller = sizes[merges[:, :2].astype(int)].min(1)
    between = merges[smaller >= least, 2][::-1]  # largest first
    within = merges[smaller < least, 2]
    if len(between) == 0:
        return np.inf
    if len(between) == 1:  # nothing of some size merges within the two: compare with the rest
        between = np.append(between, np.quantile(within, 0.9) if len(within) else 0.0)
    ratios = (between[:-1] / between[1:].clip(min=1e-12))[: max_types - 1]
    wide = np.flatnonzero(ratios >= max(GAP, SIMILAR * ratios.max(initial=0)))
    return float(between[wide[-1]]) * (1 - 1e-9) if len(wide) else np.inf


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
