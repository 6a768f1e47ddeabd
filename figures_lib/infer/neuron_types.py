"""Neuron types from the shapes of the learned functions.

Neurons of one type share φ* and ψ*. Once the per-neuron functions have converged, their
shapes fall into tight groups; the number of groups is inferred, not given.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

LEAST_SPREAD = 1e-4  # functions that differ by a smaller share of their size are one function
GAP = 1.5  # ratio of successive merge distances that separates types from noise
SIMILAR = 0.6  # of gaps this close to the widest, the one with more types is taken
LEAST_SHARE, LEAST = 0.02, 4  # a group of fewer neurons is a stray, not a type


def cluster_functions(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, "neuron knot"],
    max_types: int,
) -> Int[Tensor, " neuron"]:
    """Group neurons by the shape of φ_i and ψ_i.

    Average-linkage clustering of the distances between the functions. Only merges of two large
    groups can separate types; the widest relative gap between the distances of such merges
    separates types from noise. Strays, in groups too small for a type, join the nearest one.

    Args:
        update: φ_i at the knots; an additive constant is ignored.
        transfer: ψ_i at the knots; a factor is ignored.
        density: how often each neuron visits each knot; every row sums to 1.
        max_types: upper bound on the number of types.

    Returns:
        The type of each neuron, 0…K−1, numbered by first appearance.

    Source: the clusters of Figure 3's learned embedding.
    """
    distances = shape_distances(update, transfer, density).cpu().numpy()
    merges = linkage(squareform(distances, checks=False), "average")
    least = max(LEAST, int(LEAST_SHARE * len(distances)))
    labels = fcluster(merges, _cut(merges, least, max_types), "distance")
    names, counts = np.unique(labels, return_counts=True)
    large = names[counts >= least] if (counts >= least).any() else names[[counts.argmax()]]
    away = np.stack([distances[:, labels == name].mean(1) for name in large], 1)
    own = {name: index for index, name in enumerate(large)}
    found = [own.get(name, stray) for name, stray in zip(labels, away.argmin(1), strict=True)]
    order = {name: rank for rank, name in enumerate(dict.fromkeys(found))}
    return torch.tensor([order[name] for name in found])


def _cut(merges: np.ndarray, least: int, max_types: int) -> float:
    """The distance below which merges are within a type."""
    sizes = np.concatenate([np.ones(len(merges) + 1), merges[:, 3]])
    smaller = sizes[merges[:, :2].astype(int)].min(1)
    between = merges[smaller >= least, 2][::-1]  # largest first
    within = merges[smaller < least, 2]
    if len(between) == 0:
        return np.inf
    if len(between) == 1:  # no large groups merge within the two: use small ones
        between = np.append(between, np.quantile(within, 0.9) if len(within) else 0.0)
    ratios = (between[:-1] / between[1:].clip(min=1e-12))[: max_types - 1]
    wide = np.flatnonzero(ratios >= max(GAP, SIMILAR * ratios.max(initial=0)))
    return float(between[wide[-1]]) * (1 - 1e-9) if len(wide) else np.inf


def shape_distances(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, "neuron knot"],
) -> Float[Tensor, "neuron neuron"]:
    """Distances of all pairs of neurons, each compared over the activity that both visit.

    With the weight r_ik·r_jk, r = √density, at knot k: the variance of φ_i − φ_j, plus
    2 − 2|cos(ψ_i, ψ_j)|, each divided by its mean over all pairs. At activities that a neuron
    rarely visits its functions are poorly known and have little weight.

    Args:
        update: φ_i at the knots.
        transfer: ψ_i at the knots.
        density: how often each neuron visits each knot; every row sums to 1.
    """
    update, transfer, root = update.double(), transfer.double(), density.double().sqrt()
    overlap = (root @ root.T).clamp_min(1e-12)

    def inner(values: Tensor) -> Tensor:
        return (values * root) @ (values * root).T / overlap

    def mean(values: Tensor) -> Tensor:  # of neuron i, over what i and j visit
        return (values * root) @ root.T / overlap

    shift = mean(update) - mean(update).T
    square = mean(update**2) + mean(update**2).T - 2 * inner(update) - shift**2
    norms = (mean(transfer**2) * mean(transfer**2).T).sqrt().clamp_min(1e-300)
    parts = (
        (square, float(mean(update**2).mean())),
        (2 - 2 * (inner(transfer) / norms).abs(), 1.0),
    )
    total = torch.zeros_like(square)
    for part, size in parts:
        part = part.clamp_min(0).fill_diagonal_(0)
        total += part / part.mean().clamp_min(LEAST_SPREAD**2 * size + 1e-300)
    return total.sqrt()
