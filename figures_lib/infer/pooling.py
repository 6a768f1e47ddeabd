"""One function for several neurons, from the function of each.

What a recording says of ψ_j ends where the activity of neuron j does, and it leaves the level
and the scale open: a constant goes to φ of the receivers, a factor to W. So the mean of the ψ_j
of a type is none of them. Their common function is found in two steps. Its shape is the one of
which every ψ_j is a multiple, but for a constant, wherever its neuron has been. Its level
follows from all receivers together, because those of one type have the same φ.

Source: equation (2), in which the neurons of a type share φ* and ψ*.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import bending, resample
from figures_lib.infer.unknowns import Data, Estimate, Pools

BENDING = 1e-6  # penalty on the bending of a common function, of the mean diagonal
LEVEL = 1e-9  # penalty on the levels, of the mean diagonal: some can replace each other


@dataclass(frozen=True)
class Functions:
    """The functions of single neurons: what they say of those that several have in common.

    All moments are over the activity that the neuron visits, about their mean.

    Attributes:
        basis: splines that common functions are made of, at the knots.
        moments: of the splines with one another.
        by_update: of the splines with φ_i [1/time unit].
        by_transfer: of the splines with ψ_i.
        update_power: variance of φ_i [1/time unit²].
        transfer_power: variance of ψ_i.
        sent: Σ_i W_ij²·⟨Ω_i²⟩ of each sender j [1/time unit²].
    """

    basis: Float[Tensor, "knot spline"]
    moments: Float[Tensor, "neuron spline spline"]
    by_update: Float[Tensor, "neuron spline"]
    by_transfer: Float[Tensor, "neuron spline"]
    update_power: Float[Tensor, " neuron"]
    transfer_power: Float[Tensor, " neuron"]
    sent: Float[Tensor, " neuron"]

    @classmethod
    def of(
        cls,
        update: Float[Tensor, "neuron knot"],
        transfer: Float[Tensor, "neuron knot"],
        visits: Float[Tensor, "neuron knot"],
        sent: Float[Tensor, " neuron"],
        basis: Float[Tensor, "knot spline"],
    ) -> "Functions":
        """Take the moments.

        Args:
            update: φ_i at the knots [1/time unit].
            transfer: ψ_i at the knots.
            visits: how often each neuron visits each knot; every row sums to 1.
            sent: Σ_i W_ij²·⟨Ω_i²⟩ of each sender j [1/time unit²].
            basis: splines that common functions are made of, at the knots.
        """
        root = visits.sqrt()
        splines = root[..., None] * (basis - (visits @ basis)[:, None])
        own_update, own_transfer = (
            root * (table - mean(table, visits)) for table in (update, transfer)
        )
        return cls(
            basis,
            splines.mT @ splines,
            (own_update[:, None] @ splines)[:, 0],
            (own_transfer[:, None] @ splines)[:, 0],
            (own_update**2).sum(1),
            (own_transfer**2).sum(1).clamp_min(1e-300),
            sent,
        )

    def only(self, members: Bool[Tensor, " neuron"]) -> "Functions":
        """Those of some neurons."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        basis = own.pop("basis")
        return Functions(basis, **{name: values[members] for name, values in own.items()})

    def cpu(self) -> "Functions":
        """The same in the memory of the CPU."""
        return Functions(*(getattr(self, one.name).cpu() for one in fields(self)))

    def update(self, members: Tensor) -> Float[Tensor, " spline"]:
        """The φ from which those of the members differ least, but for a constant each."""
        normal, moment = self.moments[members].sum(0), self.by_update[members].sum(0)
        return torch.linalg.solve(normal + _penalty(normal), moment)

    def transfer(self, members: Tensor) -> Float[Tensor, " spline"]:
        """The ψ of which those of the members are multiples, but for a constant each.

        Of all functions it is the one with the largest variance that the ψ_j explain, as a
        multiple of what they do not. Its scale is about theirs.
        """
        own, power, sent = (
            values[members] for values in (self.by_transfer, self.transfer_power, self.sent)
        )
        explained = (own * (sent / power)[:, None]).T @ own
        total = torch.einsum("n,nqr->qr", sent, self.moments[members])
        if not total.any():  # their activity never changes, or they reach no other
            return total.new_zeros(len(total))
        factor = torch.linalg.cholesky(total - explained + _penalty(total))
        half = torch.linalg.solve_triangular(factor, explained, upper=False)
        ratio = torch.linalg.solve_triangular(factor, half.T, upper=False)
        best = torch.linalg.eigh(ratio)[1][:, -1:]
        found = torch.linalg.solve_triangular(factor.T, best, upper=True)[:, 0]
        along = own @ found  # power times the multiple that the common function is of ψ_j
        sign = 1.0 if float(sent @ along) >= 0 else -1.0
        size = (sent @ (along**2 / power) / (sent @ power).clamp_min(1e-300)).sqrt()
        return found * (sign / size.clamp_min(1e-300))

    def misfit(
        self,
        update: Float[Tensor, " spline"],
        transfer: Float[Tensor, " spline"],
        neurons: Bool[Tensor, " neuron"],
    ) -> Float[Tensor, " one"]:
        """What some neurons would add to the variance of x' if these were their functions."""
        moments = self.moments[neurons]
        change = self.update_power[neurons] - 2 * self.by_update[neurons] @ update
        change = change + moments @ update @ update
        along = (self.by_transfer[neurons] @ transfer) ** 2
        along = along / (moments @ transfer @ transfer).clamp_min(1e-300)
        unlike = (self.transfer_power[neurons] - along).clamp_min(0)
        return change.clamp_min(0) + self.sent[neurons] * unlike

    def misfit_of_types(self, types: Int[Tensor, " neuron"]) -> Float[Tensor, "neuron type"]:
        """The misfit of all neurons with the common functions of every type."""
        everyone = torch.ones_like(types, dtype=torch.bool)
        return torch.stack(
            [
                self.misfit(self.update(k), self.transfer(k), everyone)
                for k in members_of(types)
            ],
            1,
        )


def functions_of_neurons(
    data: Data, estimate: Estimate, group: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """φ_i and ψ_i of the neurons of all shards at the knots, and how often each is visited.

    ψ_i is the one that a group of receivers hears; the first group is the largest.
    """
    gather = data.shard.all_gather
    return gather(estimate.update), gather(estimate.transfer[group]), gather(data.density)


def functions_of(data: Data, estimate: Estimate, group: int = 0) -> Functions:
    """The functions of the neurons of all shards; ψ_j is the one that a group hears."""
    update, transfer, visits = (
        table.double() for table in functions_of_neurons(data, estimate, group)
    )
    own = estimate.connectivity.double()
    power = (estimate.field.double() ** 2).mean(1, keepdim=True)
    return Functions.of(
        update,
        transfer,
        visits,
        data.shard.all_reduce((own**2 * power).sum(0)),
        data.axis.basis(own.device),
    )


def share_functions(coarse: Data, fine: Data, estimate: Estimate, pools: Pools) -> Estimate:
    """Replace the functions of every neuron by those of its pool, on the knots of ``fine``.

    Args:
        coarse: the frames, on the knots of the estimate.
        fine: the same frames on other knots.
        estimate: each neuron has its own φ, and its own ψ for each group of receivers.
        pools: which neurons share φ, and which share ψ.
    """
    assert pools.update is not None
    shard, groups = coarse.shard, len(estimate.receivers)
    common = [_common_functions(coarse, estimate, pools, group) for group in range(groups)]
    home = home_groups(estimate, pools.update, shard)[pools.update]
    everyone = torch.arange(len(home), device=home.device)
    update = torch.stack([one for one, _ in common])[home, everyone]
    transfer = torch.stack([other for _, other in common])

    def renewed(table: Tensor) -> Tensor:
        own = table[..., shard.own, :]
        return resample(own, coarse.axis, fine.axis).to(estimate.update.dtype)

    tables = torch.stack([renewed(table) for table in transfer])
    return replace(estimate, update=renewed(update), transfer=tables)


def home_groups(
    estimate: Estimate, types: Int[Tensor, " neuron"], shard: Shard
) -> Int[Tensor, " type"]:
    """The group that most receivers of each type belong to."""
    group = torch.zeros(len(estimate.update), dtype=torch.long, device=types.device)
    for number, rows in enumerate(estimate.receivers):
        group[rows] = number
    group = shard.all_gather(group)
    return torch.stack([group[members].mode().values for members in members_of(types)])


def _common_functions(
    data: Data, estimate: Estimate, pools: Pools, group: int
) -> tuple[Float[Tensor, "neuron knot"], Float[Tensor, "neuron knot"]]:
    """φ and ψ of the pool of every neuron, the levels being those for a group of receivers."""
    assert pools.update is not None and pools.transfer is not None
    shard, functions = data.shard, functions_of(data, estimate, group)
    update, transfer, visits = (
        table.double() for table in functions_of_neurons(data, estimate, group)
    )
    heard = torch.zeros(len(estimate.update), 1, dtype=torch.double, device=update.device)
    heard[estimate.receivers[group]] = 1
    own = estimate.connectivity.double() * heard
    one, other = torch.empty_like(update), torch.empty_like(transfer)
    for members in members_of(pools.update):
        one[members] = functions.basis @ functions.update(members)
    for members in members_of(pools.transfer):
        other[members] = functions.basis @ functions.transfer(members)

    multiple, constant = _line(transfer, other, visits)
    above = mean(update - one, visits)[shard.own, 0] + own @ constant
    levels = common_levels(
        above * heard[:, 0],
        torch.stack([own[:, k] @ multiple[k] for k in members_of(pools.transfer)], 1),
        pools.update[shard.own],
        heard,
        shard,
    )
    types = len(members_of(pools.update))
    one += levels[:types][pools.update][:, None]
    other += levels[types:][pools.transfer][:, None]
    return one, other


def common_levels(
    above: Float[Tensor, " receiver"],
    reached: Float[Tensor, "receiver transfer"],
    update: Int[Tensor, " receiver"],
    heard: Float[Tensor, "receiver 1"],
    shard: Shard,
) -> Float[Tensor, " level"]:
    """The constants to add to each common φ, then to each common ψ, by least squares.

    Args:
        above: constant that every receiver needs beyond the common shapes [1/time unit].
        reached: sum of its weights from the senders that share a ψ.
        update: which φ is its own.
        heard: 1 for the receivers that are to be reached, 0 for others.
        shard: whose receivers these are; the functions are those of all shards.
    """
    types = int(shard.all_gather(update).max()) + 1
    own = torch.nn.functional.one_hot(update, types) * heard
    columns = torch.cat([own, reached], 1)
    normal = shard.all_reduce(columns.T @ columns)
    moment = shard.all_reduce(columns.T @ above)
    scale = normal.diagonal().clamp_min(1e-300).rsqrt()
    scaled = scale[:, None] * normal * scale
    scaled.diagonal().add_(LEVEL)
    return scale * torch.linalg.solve(scaled, scale * moment)


def members_of(pool: Int[Tensor, " neuron"]) -> list[Bool[Tensor, " neuron"]]:
    """Which neurons are in each pool."""
    return [pool == k for k in range(int(pool.max()) + 1)]


def mean(
    values: Float[Tensor, "neuron knot"], visits: Float[Tensor, "neuron knot"]
) -> Float[Tensor, "neuron 1"]:
    """The mean of a table over the activity that its neuron visits."""
    return (visits * values).sum(1, keepdim=True)


def _line(values: Tensor, of: Tensor, visits: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and constant by which a table is a multiple of another, for every neuron."""
    level = mean(of, visits)
    power = mean((of - level) ** 2, visits).clamp_min(1e-300)
    slope = mean(values * (of - level), visits) / power
    return slope[:, 0], (mean(values, visits) - slope * level)[:, 0]


def _penalty(normal: Float[Tensor, "spline spline"]) -> Float[Tensor, "spline spline"]:
    identity = torch.eye(len(normal), dtype=normal.dtype, device=normal.device)
    scale = normal.diagonal().mean().clamp_min(1e-30)  # of neurons that never change it is 0
    return BENDING * scale * (bending(identity) + 1e-3 * identity)
