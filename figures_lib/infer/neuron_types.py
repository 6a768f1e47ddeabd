"""Neuron types from the functions of single neurons.

Neurons of one type share φ* and ψ*. Two neurons are alike if exchanging their functions would
change x' by less than the residual that the functions leave anyway; the number of types follows
from that, it is not given.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from figures_lib.infer.assembly import functions_of_neurons
from figures_lib.infer.unknowns import Data, Estimate, residual_by_neuron

LEAST = 4  # a group of fewer neurons is a stray, not a type
ALIKE = 8.0  # variances of the residual: functions that differ by less may be one function
NEIGHBOUR = 3  # the nearest but two: in a type it is as far as estimates of one function are
UNKNOWN = 1e12  # distance of functions that cannot be compared
SPREAD = 30.0  # times that distance, estimates of one function are apart at most
TOLERANCE = 0.02  # share of the residual by which types may explain held-out frames worse


def find_types(
    data: Data, estimate: Estimate, max_types: int
) -> Iterator[Int[Tensor, " sender"]]:
    """Candidates for the types of the neurons of all shards, the fewest types first."""
    shard = data.shard
    power = (estimate.field**2).mean(1, keepdim=True)
    sent = shard.all_reduce((estimate.connectivity**2 * power).sum(0))
    residual = shard.all_gather(residual_by_neuron(data, estimate)) / data.frames
    functions = functions_of_neurons(data, estimate)
    distances = function_distances(*functions, sent, residual)
    labels: set[tuple[int, ...]] = set()
    for cut in cuts(distances):
        types = cluster_functions(distances, cut)
        types = shard.broadcast(types.to(estimate.update.device), 0)
        known = tuple(types.tolist())
        few = max(known) < min(max_types, shard.neurons // LEAST)
        if known not in labels and few:
            labels.add(known)
            yield types


def worse(
    residual: Float[Tensor, " run"], than: Float[Tensor, " run"], tolerance: float = TOLERANCE
) -> bool:
    """Whether a model explains held-out runs worse than another by more than chance.

    Args:
        residual: squared residual of the model in each run.
        than: that of the other.
        tolerance: share of the other's residual by which the model may be worse.
    """
    more = residual - than
    error = float(more.std()) * math.sqrt(len(more))
    return float(more.sum()) > max(2 * error, tolerance * float(than.sum()))


def cuts(distances: Float[Tensor, "neuron neuron"]) -> tuple[float, ...]:
    """Distances at which types may part, the coarser first.

    The coarser one is the residual. Where the residual is noise, functions are known better
    than that: as well as those of the nearest neighbours agree.
    """
    nearest = distances.sort(1).values[:, min(NEIGHBOUR, len(distances) - 1)]
    fine = SPREAD * float(nearest.median())
    return (ALIKE, fine) if 0 < fine < ALIKE else (ALIKE,)


def cluster_functions(
    distances: Float[Tensor, "neuron neuron"], cut: float
) -> Int[Tensor, " neuron"]:
    """Group neurons whose functions are alike; average linkage.

    Strays, in groups too small for a type, join the group that is nearest on average. If all
    groups are too small, every neuron is its own.

    Args:
        distances: see :func:`function_distances`.
        cut: largest mean distance within a type.

    Returns:
        The type of each neuron, 0…K−1, numbered by first appearance.

    Source: the clusters of Figure 3's learned embedding.
    """
    root = distances.sqrt().cpu().numpy()
    labels = fcluster(linkage(squareform(root, checks=False), "average"), cut**0.5, "distance")
    names, counts = np.unique(labels, return_counts=True)
    large = names[counts >= LEAST]
    if not len(large):
        return torch.arange(len(root))
    away = np.stack([root[:, labels == name].mean(1) for name in large], 1)
    own = {name: index for index, name in enumerate(large)}
    found = [own.get(name, stray) for name, stray in zip(labels, away.argmin(1), strict=True)]
    order = {name: rank for rank, name in enumerate(dict.fromkeys(found))}
    return torch.tensor([order[name] for name in found])


def function_distances(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, "neuron knot"],
    sent: Float[Tensor, " neuron"],
    residual: Float[Tensor, " neuron"],
) -> Float[Tensor, "neuron neuron"]:
    """What exchanging the functions of two neurons would add to the residual, relative to it.

    Each pair is compared over the activity that both visit, with the weight r_ik·r_jk,
    r = √density, at knot k: the variance of φ_i − φ_j, plus the part of ψ_i that no multiple
    of ψ_j explains, times the power that the median neuron sends. Additive constants of both
    are ignored: W can move them from ψ to φ.

    Args:
        update: φ_i at the knots [1/time unit].
        transfer: ψ_i at the knots.
        density: how often each neuron visits each knot; every row sums to 1.
        sent: Σ_i W_ij²·⟨Ω_i²⟩ of each sender j.
        residual: variance of the residual of each neuron [1/time unit²].
    """
    update, transfer, root = update.double(), transfer.double(), density.double().sqrt()
    overlap = (root @ root.T).clamp_min(1e-12)

    def inner(values: Tensor) -> Tensor:
        return (values * root) @ (values * root).T / overlap

    def mean(values: Tensor) -> Tensor:  # of neuron i, over what i and j visit
        return (values * root) @ root.T / overlap

    shift = mean(update) - mean(update).T
    own = mean(update**2) + mean(update**2).T - 2 * inner(update) - shift**2
    level = mean(transfer)
    common = inner(transfer) - level * level.T
    power = (mean(transfer**2) - level**2).clamp_min(1e-300)
    unlike = 1 - common**2 / (power * power.T)
    visits = density.double()
    variance = (transfer**2 * visits).sum(1) - (transfer * visits).sum(1) ** 2
    driven = float((sent.double() * variance).median())
    residual = residual.double().clamp_min(1e-300)
    left = (residual[:, None] + residual) / 2
    total = own.clamp_min(0) / left + driven / residual.median() * unlike.clamp_min(0)
    return total.nan_to_num(nan=UNKNOWN, posinf=UNKNOWN).fill_diagonal_(0)
