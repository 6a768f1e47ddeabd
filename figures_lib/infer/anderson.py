"""Anderson acceleration of the sweeps.

Sweeps converge linearly: each leaves a fixed share of the error in its slowest directions,
along which two groups of unknowns can only move together. The steps of a few sweeps reveal
these directions, and the next sweep starts where the extrapolated step vanishes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.infer.sweep import sweep
from figures_lib.infer.unknowns import FIELD_BOUNDS, Data, Estimate, Pools

DEPTH = 6  # earlier sweeps that are combined with the last one
Step = tuple[Estimate, Estimate]  # the estimates before and after a sweep


def accelerated_sweeps(
    data: Data, estimate: Estimate, pools: Pools, count: int
) -> Iterator[Estimate]:
    """Yield the estimates after ``count`` sweeps, each started from an extrapolation.

    Args:
        data: the sampled frames.
        estimate: where the first sweep starts.
        pools: which neurons share a table of φ and of ψ.
        count: number of sweeps.
    """
    steps: list[Step] = []
    for _ in range(count):
        before = extrapolate(data, steps) if steps else estimate
        estimate = sweep(data, before, pools)
        steps = [_with_connectivity(s, estimate) for s in [*steps[-DEPTH:], (before, estimate)]]
        yield estimate


def _with_connectivity(step: Step, last: Estimate) -> Step:
    """The step with the W of the last sweep, so that no other W is kept in memory."""
    before, after = (replace(one, connectivity=last.connectivity) for one in step)
    return before, after


def extrapolate(data: Data, steps: Sequence[Step]) -> Estimate:
    """Σ_k α_k·after_k with Σ_k α_k = 1, so that Σ_k α_k·(after_k − before_k) is smallest.

    Args:
        data: the sampled frames, which determine the weight of each unknown in the norm.
        steps: the last sweeps of one phase, oldest first; at most ``DEPTH + 1`` are used.

    Returns:
        The start of the next sweep. W is that of the last sweep: it is solved for first.

    Source: D. G. Anderson, Iterative procedures for nonlinear integral equations, 1965.
    """
    steps = steps[-DEPTH - 1 :]
    moves = torch.stack([_flat(data, after) - _flat(data, before) for before, after in steps])
    products = data.shard.all_reduce(moves @ moves.T)
    products.diagonal().add_(1e-10 * products.diagonal().mean() + 1e-300)
    share = torch.linalg.solve(products, torch.ones_like(products[0]))
    share = (share / share.sum()).float()

    def combine(values: Sequence[Tensor]) -> Tensor:
        return torch.einsum("k,k...->...", share, torch.stack(list(values)))

    return replace(
        steps[-1][1],
        update=combine([after.update for _, after in steps]),
        transfer=combine([after.transfer for _, after in steps]),
        field=combine([after.field for _, after in steps]).clamp(*FIELD_BOUNDS),
    )


def _flat(data: Data, estimate: Estimate) -> Float[Tensor, " unknown"]:
    """All unknowns but W, each weighted by its root mean square effect on x'."""
    neurons, power = data.shard.neurons, data.power / data.frames
    density = (data.density + 1e-4 / data.axis.knots) / neurons
    parts = [
        estimate.update * density.sqrt(),
        estimate.transfer * (power / neurons * density / len(estimate.transfer)).sqrt(),
        estimate.field * math.sqrt(power / neurons / (neurons * data.windows)),
    ]
    return torch.cat([part.flatten() for part in parts]).double()
