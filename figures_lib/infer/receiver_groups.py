"""Groups of receivers that hear the same messages differently: the start of ψ*(a_i, a_j, x_j).

Where ψ depends on the receiver, no ψ that all receivers share explains the recording, and that
of each sender does not either. But a single receiver has few unknowns: its ψ_i, the same for
all senders, comes out of a few Gauss–Newton steps (:mod:`figures_lib.infer.projection`). Some
receivers are treated so. Of their ψ as few are kept as serve each of them about as well as its
own, and every receiver joins the one that explains it best.

Source: equation (2) with ψ*(a_i, a_j, x_j); Figure S14.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib.infer.projection import (
    ENOUGH,
    LARGEST_NETWORK,
    left_by,
    projected_steps,
    solve_receivers,
)
from figures_lib.infer.shards import Shard
from figures_lib.infer.unknowns import Data, Estimate, Pools, thinned

SAMPLE = 24  # receivers whose own ψ is found
STEPS = 30  # of them, at most
STEEP = 2.0  # times less is left of the median receiver by a ψ of its own, if it needs one


def receiver_groups(data: Data, estimate: Estimate, most: int) -> Estimate | None:
    """The estimate with one ψ for each group of receivers, the largest group first.

    None if one ψ suffices for all.

    Args:
        data: the sampled frames.
        estimate: all receivers and senders share one ψ.
        most: number of groups; with more there are none.
    """
    shard, device = data.shard, data.normal.device
    if shard.neurons > LARGEST_NETWORK:
        return None
    few = thinned(data, ENOUGH * shard.neurons)
    some = torch.linspace(0, shard.neurons - 1, min(SAMPLE, shard.neurons)).round().long()
    chosen = torch.zeros(shard.neurons, dtype=torch.bool, device=device)
    chosen[some.to(device)] = True
    alone = replace(
        estimate,
        receivers=tuple(_own(one[None].to(device), shard) for one in some),
        transfer=estimate.transfer.expand(len(some), -1, -1).clone(),
    )
    everyone = Pools(None, torch.zeros_like(chosen, dtype=torch.long))
    for after in projected_steps(data, alone, everyone, STEPS):
        alone = after
    tables = [shard.all_gather(table).double() for table in alone.transfer]
    shared = shard.all_gather(estimate.transfer[0]).double()
    before = _left_by_all(few, estimate, shared, chosen)[chosen]
    left = torch.stack([_left_by_all(few, estimate, table, chosen) for table in tables], 1)
    if float((before / left[chosen].amin(1).clamp_min(1e-300)).median()) < STEEP:
        return None
    kept = fewest(left[chosen], before)
    if not 1 < len(kept) <= most:
        return None
    tables = [tables[place] for place in kept]
    left = torch.stack(
        [_left_by_all(few, estimate, table, torch.ones_like(chosen)) for table in tables], 1
    )
    group = left.argmin(1)
    order = group.bincount(minlength=len(tables)).argsort(descending=True, stable=True).tolist()
    group = group[shard.own]
    found = replace(
        estimate,
        receivers=tuple((group == k).nonzero()[:, 0] for k in order),
        transfer=torch.stack([tables[k][shard.own].float() for k in order]),
    )
    return solve_receivers(data, found, everyone)


def fewest(
    left: Float[Tensor, "receiver candidate"], before: Float[Tensor, " receiver"]
) -> list[int]:
    """As few candidates as bring every receiver at least half of what the best brings it.

    Each in turn is the one that helps most the receivers that still lack one. Gains are
    counted by the logarithm.

    Args:
        left: squared residual of every receiver with every candidate.
        before: with the ψ that all receivers share.
    """
    left, before = left.clamp_min(1e-300).log(), before.clamp_min(1e-300).log()
    enough, kept = (left.amin(1) + before) / 2, [int(left.mean(0).argmin())]
    while (lacking := (now := left[:, kept].amin(1)) > enough).any():
        helped = (now[:, None] - left).clamp_min(0)[lacking].sum(0)
        kept.append(int(helped.argmax()))
    return kept


def _left_by_all(
    data: Data,
    estimate: Estimate,
    table: Float[Tensor, "sender knot"],
    chosen: Bool[Tensor, " neuron"],
) -> Float[Tensor, " neuron"]:
    """What ψ leaves of the chosen receivers of all shards; 0 for the others."""
    rows = chosen[data.shard.own].nonzero()[:, 0]
    left = table.new_zeros(len(estimate.update))
    left[rows] = left_by(data, estimate, table, rows)
    return data.shard.all_gather(left)


def _own(neurons: Int[Tensor, " neuron"], shard: Shard) -> Int[Tensor, " own"]:
    """Those of this process, by their numbers among its neurons."""
    own = shard.own
    return neurons[(neurons >= own.start) & (neurons < own.stop)] - own.start
