"""Neuron types from the functions of single neurons.

Neurons of one type share φ* and ψ*. Two neurons are alike if exchanging their functions would
hardly change x'. The number of types is not given: types are likely where common functions
explain those of all their neurons, and far worse those of any fewer types.
"""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import cophenet, fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from figures_lib.infer.pooling import (
    Functions,
    functions_of,
    functions_of_neurons,
    members_of,
)
from figures_lib.infer.unknowns import Data, Estimate, residual_by_neuron
from figures_lib.model.threads import one_thread

LEAST = 4  # a group of fewer neurons is a stray, not a type
CANDIDATES = 4  # for the types, at most
STEEP = 3.0  # times the cost of the mergers before is much more
TRIALS = 8  # random partings of a group in two
MOVES = 10  # times that neurons may move to the type that is most like them
UNKNOWN = 1e12  # distance of functions that cannot be compared
FAR = 10.0  # times the residual that is usual in a type: its functions are not the neuron's
OVERLAP = 0.1  # of the activities that two neurons visit: with less they cannot
TOLERANCE = 0.02  # share of the residual by which types may explain held-out frames worse


def find_types(
    data: Data, estimate: Estimate, max_types: int, negligible: float = 0.0
) -> Iterator[list[Int[Tensor, " sender"]]]:
    """Candidates for the types of the neurons of all shards, the likeliest number first.

    Many small groups of alike neurons are merged, the two first whose functions are explained
    best by common ones. Where the next merger would cost much more than the ones before, types
    are likely.

    Args:
        data: the frames of the estimate.
        estimate: every neuron has its own functions.
        max_types: most types.
        negligible: share of the residual of the median neuron; mergers that cost less than
            that are no more than errors of the functions.

    Yields:
        The types as merged and, if these differ, after every neuron has moved to the type that
        is most like it.
    """
    shard, device = data.shard, estimate.update.device
    functions = functions_of(data, estimate).cpu()  # thousands of small matrices
    most = min(max_types, shard.neurons // LEAST)
    if most < 1:
        return
    residual = shard.all_gather(residual_by_neuron(data, estimate)).double() / data.frames
    tables = functions_of_neurons(data, estimate)
    distances = function_distances(*tables, functions.sent.to(device), residual)
    groups = parted(functions, many_groups(distances, most), most)
    groups = shard.broadcast(groups.to(device), 0).cpu()
    known: set[tuple[int, ...]] = set()
    path, costs = merged(functions, groups)
    for types in likely(path, costs, negligible * float(residual.median())):
        new = []
        for found in (types, settled(functions, types)):
            one = shard.broadcast(found.to(device), 0)
            if (labels := tuple(one.tolist())) not in known:
                known.add(labels)
                new.append(one)
        if new:
            yield new


def many_groups(distances: Float[Tensor, "neuron neuron"], most: int) -> Int[Tensor, " neuron"]:
    """As many groups of alike neurons as there are, at most ``most``; average linkage.

    Strays, in groups too small for a type, join the group that is nearest on average.

    Args:
        distances: see :func:`function_distances`.
        most: number of groups.
    """
    root = distances.sqrt().cpu().numpy()
    tree = linkage(squareform(root, checks=False), "average")
    sizes = np.concatenate([np.ones(len(root)), tree[:, 3]])
    first, second = (sizes[tree[:, side].astype(int)] >= LEAST for side in (0, 1))
    groups = np.cumsum((tree[:, 3] >= LEAST) - 1.0 * first - second)
    few = np.where(groups <= most, groups, 0)
    at = len(few) - 1 - int(few[::-1].argmax())  # the last of the mergers that leave so many
    labels = fcluster(tree, len(root) - 1 - at, "maxclust")
    names, counts = np.unique(labels, return_counts=True)
    large = names[counts >= LEAST]
    away = np.stack([root[:, labels == name].mean(1) for name in large], 1)
    own = {name: index for index, name in enumerate(large)}
    return in_order(
        torch.tensor(
            [own.get(name, stray) for name, stray in zip(labels, away.argmin(1), strict=True)]
        )
    )


@one_thread()
def parted(
    functions: Functions, groups: Int[Tensor, " neuron"], most: int
) -> Int[Tensor, " neuron"]:
    """Part groups in two as long as that leaves far less misfit, until there are ``most``.

    Neurons of different types that visit different activities are compared by way of others,
    and may end in one group. Random halves of it, between which neurons move, come apart.
    """
    groups, waiting = groups.clone(), list(range(int(groups.max()) + 1))
    while waiting and int(groups.max()) + 1 < most:
        members = groups == waiting.pop()
        own = functions.only(members)
        together = (
            own.misfit_of_types(torch.zeros_like(groups[members]))
            .clamp_min(1e-300)
            .log()
            .mean()
        )
        halves, apart = _halves(own)
        if float(together - apart) > math.log(STEEP):
            new = int(groups.max()) + 1
            groups[members.nonzero()[halves > 0, 0]] = new
            waiting += [int(groups[members][halves == 0][0]), new]
    return in_order(groups)


def _halves(functions: Functions) -> tuple[Int[Tensor, " neuron"], Float[Tensor, ""]]:
    """The best of some partings of neurons in two, and the mean logarithm of its misfit."""
    found = []
    for seed in range(TRIALS):
        generator = torch.Generator().manual_seed(seed)
        random = torch.randint(2, functions.sent.shape, generator=generator)
        halves = settled(functions, random.to(functions.sent.device))
        misfit = functions.misfit_of_types(halves).gather(1, halves[:, None])
        found.append((misfit.clamp_min(1e-300).log().mean(), halves))
    apart, halves = min(found, key=lambda one: float(one[0]))
    return halves, apart


@one_thread()
def settled(functions: Functions, types: Int[Tensor, " neuron"]) -> Int[Tensor, " neuron"]:
    """Types in which the functions of every neuron are most like those of its own type."""
    for _ in range(MOVES):
        misfit = functions.misfit_of_types(types)
        few = types.bincount() < LEAST
        misfit[:, few] = UNKNOWN
        moved = in_order(misfit.argmin(1))
        if torch.equal(moved, types):
            break
        types = moved
    return types


@one_thread()
def merged(
    functions: Functions, groups: Int[Tensor, " neuron"]
) -> tuple[list[Int[Tensor, " neuron"]], list[float]]:
    """Merge groups one by one, the two first whose functions common ones explain best.

    Returns:
        The groups before every merger; and first what those at the start cost, then every
        merger: the misfit of the median neuron of the group that suffers most. The last cost
        is that of doing without functions.
    """
    parts = dict(enumerate(members_of(groups)))
    costs: dict[tuple[int, int], float] = {}
    own = [_cost(functions, part, part) for part in parts.values()]
    path, steps = [groups], [sorted(own)[len(own) // 2]]
    while len(parts) > 1:
        for pair in combinations(parts, 2):
            if pair not in costs:
                costs[pair] = _cost(functions, *(parts[one] for one in pair))
        first, second = min(combinations(parts, 2), key=costs.__getitem__)
        steps.append(costs[first, second])
        parts[-len(steps)] = parts.pop(first) | parts.pop(second)
        labels = torch.zeros_like(groups)
        for label, part in enumerate(parts.values()):
            labels[part] = label
        path.append(in_order(labels))
    nothing = functions.update_power + functions.sent * functions.transfer_power
    return path, [*steps, float(nothing.median())]


def _cost(functions: Functions, first: Tensor, second: Tensor) -> float:
    both = first | second
    update, transfer = functions.update(both), functions.transfer(both)
    return max(
        float(functions.misfit(update, transfer, one).median()) for one in (first, second)
    )


def likely(
    path: list[Int[Tensor, " neuron"]], costs: list[float], negligible: float = 0.0
) -> list[Int[Tensor, " neuron"]]:
    """The groups from which a merger costs much more than those before, the steepest first.

    Args:
        path: the groups before every merger.
        costs: see :func:`merged`.
        negligible: a cost that is as good as none.
    """
    rise = np.diff(np.log(np.maximum.accumulate(np.maximum(costs, max(negligible, 1e-300)))))
    steepest = np.argsort(-rise, kind="stable")[:CANDIDATES]
    return [path[at] for at in steepest if at == steepest[0] or rise[at] >= math.log(STEEP)]


def without_strays(
    functions: Functions,
    types: Int[Tensor, " neuron"],
    left: Float[Tensor, " neuron"],
    alone: Float[Tensor, " neuron"],
    most: int,
) -> Int[Tensor, " neuron"] | None:
    """Types that the neurons have left whose own functions are far better than those shared.

    A type of a few among thousands is lost when groups are merged: tails of large types are
    hardly less unlike. That its functions are wrong shows in what they leave of its neurons.

    Args:
        functions: of every neuron.
        types: which share them.
        left: squared residual of every neuron with the functions of its type.
        alone: the same with its own.
        most: types.

    Returns:
        Those who leave a type form a new one, which others join that are more like it; none if
        no type has enough of them.
    """
    ratio, parted, new = left / alone, types.clone(), int(types.max()) + 1
    for members in members_of(types):
        usual = ratio[members].median().clamp_min(1)  # the strays spoil the others, too
        strays = members & (ratio > FAR * usual)
        if LEAST <= int(strays.sum()) <= int(members.sum()) - LEAST and new < most:
            parted[strays] = new
            new += 1
    if new == int(types.max()) + 1:
        return None
    return settled(functions, parted)


def in_order(types: Int[Tensor, " neuron"]) -> Int[Tensor, " neuron"]:
    """The same groups, numbered by their first neuron."""
    order = {name: rank for rank, name in enumerate(dict.fromkeys(types.tolist()))}
    return types.new_tensor([order[name] for name in types.tolist()])


def worse(
    residual: Float[Tensor, " run"],
    than: Float[Tensor, " run"],
    tolerance: float = TOLERANCE,
    negligible: float = 0.0,
) -> bool:
    """Whether a model explains held-out runs worse than another by more than chance.

    It does if it leaves more of all runs together, or of most of them: a run with activities
    that no other run has can outweigh all others.

    Args:
        residual: squared residual of the model in each run.
        than: that of the other.
        tolerance: share of the other's residual by which the model may be worse.
        negligible: residual of all runs below which one is as good as another.
    """
    if len(than) < 2:
        return bool(residual.sum() > (1 + tolerance) * than.sum() + negligible)
    least = max(negligible / len(than), 1e-300)
    residual, than = residual.clamp_min(least), than.clamp_min(least)
    together = (residual - than) / than.mean()
    each = (residual / than).log()
    return any(
        float(more.mean()) > max(2 * float(more.std()) / math.sqrt(len(more)), limit)
        for more, limit in ((together, tolerance), (each, math.log1p(tolerance)))
    )


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
    are ignored: W can move them from ψ to φ. Neurons that visit different activities are
    compared by way of others.

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
    total = total.nan_to_num(nan=UNKNOWN, posinf=UNKNOWN).fill_diagonal_(0)
    return by_way_of_others(torch.where(overlap < OVERLAP, UNKNOWN, total))


def by_way_of_others(
    distances: Float[Tensor, "neuron neuron"],
) -> Float[Tensor, "neuron neuron"]:
    """Distances in which those that are unknown are the largest step on the best way around."""
    known = distances.cpu().fill_diagonal_(0)
    chains = linkage(squareform(known.numpy(), checks=False), "single")
    around = torch.from_numpy(squareform(cophenet(chains)))
    return torch.where(known < UNKNOWN, known, around).to(distances.device)
