"""Variable projection: ψ by Gauss–Newton steps, with W and φ eliminated.

Where ψ is wrong, the W that is solved for makes up for most of its error. That ψ is then almost
optimal for that W, and alternating least squares hardly moves either of them. Without noise,
when the activities of different neurons are much alike, it stands still. What counts is the
loss that is left *after* W and φ are solved for. A Gauss–Newton step on this reduced loss needs
the residual of a receiver, and the part of its derivative with respect to ψ for which neither W
nor φ can make up. The derivative of W itself is left out (Kaufman's step).

A few receivers determine ψ, because all of them receive the same messages; those without
modulation, whose Ω = 1 is known, come first. The residual is that of (x' − φ)/Ω, so that all
receivers share one Gram matrix G = ΨΨᵀ, as in :mod:`figures_lib.infer.connectivity`. It is
inverted in double precision, because its small eigenvalues are what counts here.

Source: equation (2); G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413;
L. Kaufman, BIT 15 (1975) 49.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer.connectivity import flat
from figures_lib.infer.connectivity import inverse as regularised_inverse
from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import Axis, bending, evaluate, features, locate, spline_basis
from figures_lib.infer.unknowns import (
    FIELD_BOUNDS,
    Data,
    Estimate,
    Pools,
    divided,
    pooled,
    thinned,
)
from figures_lib.infer.windows import rewindow

FEW, MANY = 24, 64  # receivers that determine shared functions, and those of single neurons
JUDGES = 6  # receivers that judge the windows
ABOUT = 2.0  # times the best cross-validated residual is as good: windows take up other misfit
FEWEST = 4  # receivers that suffice for one function
TOGETHER = 16  # receivers that are solved for at once
LARGEST = 6144  # unknowns of a step, at most: a matrix of them takes 300 MB
LARGEST_NETWORK = 10_000  # neurons: each process holds a whole Gram matrix
LEAST_MODES = 6  # unknowns per function, at least
RIDGE = 1e-11  # of the mean diagonal of a matrix that is inverted in double precision
ENOUGH, FEW_FRAMES = 24, 6  # frames per neuron that a step reads, about, and at least
WORK = 3e12  # products of a step, about: a minute of one core
CURVED = 24  # unknowns per function that suffice: fewer frames are read first
ROUNDS = 8  # Gauss–Newton steps in Ω, at most
FEW_WINDOWS = 16  # that a block of frames may touch, about: a column for each takes time
SHORTEST = 128  # frames in such a block, at least
STILL = 1e-5  # of the mean Ω: steps that move it by less are the last ones
ATTEMPTS = 12  # ridges to try, each ten times the previous one
DAMPING, LEAST_DAMPING = 1e-8, 1e-14  # of the diagonal of the Gauss–Newton matrix
SETTLED = 0.99  # share of the loss: steps that leave more have arrived
CREEPING = 0.95  # steps that leave more are not worth their time where they are long
NOTHING = 1e-10  # of the variance of x': a smaller residual is none
TRIALS = 11  # dampings of one step to try, each thirty times the previous one
SILENT = 1e-6  # of the mean power: functions that matter less are held back as if they did
BENDING = 1e-9  # penalty on a step and its bending, of the mean diagonal
CLEAR = 1e-9  # share of the power of a column that is left where others explain it
FAINT = 1e-7  # of the mean power: a column with less of it is held back


@dataclass(frozen=True)
class Frames:
    """A block of frames as the chosen receivers see it, in double precision.

    Attributes:
        left: knot to the left of every activity.
        fraction: of the way to the next knot.
        own: the receivers among all neurons.
        field: Ω of the receivers.
        columns: how the residual falls with the unknowns of the receiver alone that matter
            in these frames: the splines of φ, then Ω in their windows.
        place: which of all such unknowns these are.
        target: (x' − φ)/Ω [1/time unit].
    """

    left: Int[Tensor, "sender time"]
    fraction: Float[Tensor, "sender time"]
    own: Int[Tensor, " row"]
    field: Float[Tensor, "row time"]
    columns: Float[Tensor, "row active time"]
    place: Int[Tensor, " active"]
    target: Float[Tensor, "row time"]

    def messages(self, table: Float[Tensor, "sender knot"]) -> Float[Tensor, "sender time"]:
        """ψ_j(x_j) of all senders."""
        return evaluate(table, self.left, self.fraction)

    def own_features(
        self, row: int, modes: Float[Tensor, "knot mode"]
    ) -> Float[Tensor, "mode time"]:
        """The modes at the activity of a receiver itself, divided by its Ω."""
        own = self.own[row : row + 1]
        return features(self.left[own], self.fraction[own], modes)[0] / self.field[row]

    def features(self, modes: Float[Tensor, "knot mode"]) -> Float[Tensor, "unknown time"]:
        """The modes of all senders at their activities."""
        return features(self.left, self.fraction, modes).flatten(0, 1)


@dataclass(frozen=True)
class Receivers:
    """Some receivers, and what they see.

    Attributes:
        data: the sampled frames.
        positions: activity of all senders in each block, as a position on the axis.
        rows: indices of these receivers among the neurons of this process.
        update: φ of each at the knots, so far.
        field: Ω of each in every window, so far.
        own_update: whether φ is an unknown of each receiver alone.
        own_field: whether Ω is an unknown; else it stays what it is.
    """

    data: Data
    positions: tuple[Float[Tensor, "sender _"], ...]
    rows: Int[Tensor, " row"]
    update: Float[Tensor, "row knot"]
    field: Float[Tensor, "row window"]
    own_update: bool
    own_field: bool

    @classmethod
    def of(
        cls,
        data: Data,
        positions: tuple[Float[Tensor, "sender _"], ...],
        estimate: Estimate,
        rows: Int[Tensor, " row"],
        own_update: bool,
    ) -> "Receivers":
        """Receivers as they stand in an estimate; Ω is known where there is no modulation."""
        update, field = estimate.update[rows].double(), estimate.field[rows].double()
        own_field = bool(data.modulated[rows].any())
        return cls(data, positions, rows, update, field, own_update, own_field)

    def frames(self) -> Iterator[Frames]:
        """Every block of frames."""
        own, basis = self.rows + self.data.shard.first, self.basis
        for block, position in zip(self.data.blocks, self.positions, strict=True):
            left, fraction = locate(position.double())
            window = self.data.window(block)
            field = self.field[:, window]
            splines = field.new_zeros(len(own), 0, field.shape[1])
            if self.own_update:
                splines = features(left[own], fraction[own], basis) / field[:, None]
            target = block.derivative[self.rows].double()
            target = (target - evaluate(self.update, left[own], fraction[own])) / field
            columns, place = self._own(splines, target / field, window)
            yield Frames(left, fraction, own, field, columns, place, target)

    @property
    def basis(self) -> Float[Tensor, "knot spline"]:
        """The splines of φ at the knots."""
        return self.data.axis.basis(self.update.device)

    @property
    def own_splines(self) -> int:
        """Number of unknowns of φ that each receiver has alone; those of Ω come after them."""
        return self.data.axis.splines if self.own_update else 0

    @property
    def unknowns(self) -> int:
        """Number of unknowns of each receiver alone."""
        return self.own_splines + (self.data.windows if self.own_field else 0)

    def _own(self, splines: Tensor, effect: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of the receivers' own unknowns, and which of them they are."""
        count = self.own_splines
        place = torch.arange(count, device=window.device)
        if not self.own_field:
            return splines, place
        active, index = window.unique(return_inverse=True)
        here = torch.nn.functional.one_hot(index, len(active)).T
        effect = effect * self.data.modulated[self.rows][:, None]
        columns = torch.cat([splines, effect[:, None] * here], 1)
        return columns, torch.cat([place, count + active])

    def moved(self, own: Float[Tensor, "row own"]) -> "Receivers":
        """These receivers with their own unknowns changed, Ω by a factor of two at most."""
        count, update, field = self.own_splines, self.update, self.field
        if self.own_field:
            largest = (own[:, count:] / field).abs().amax(1, keepdim=True)
            own = own * (0.5 / largest.clamp_min(0.5))
            field = (field + own[:, count:]).clamp(*FIELD_BOUNDS)
            field = field / field.mean(1, keepdim=True)
        if self.own_update:
            update = update + own[:, :count] @ self.basis.T
        return replace(self, update=update, field=field)


@dataclass(frozen=True)
class Senders:
    """ψ of all senders, and how much their messages are alike.

    Attributes:
        table: ψ at the knots.
        gram: ΨΨᵀ with the ridge that its inverse needs, Ψ being the messages.
        inverse: of ``gram``, 0 for messages that never change.
    """

    table: Float[Tensor, "sender knot"]
    gram: Float[Tensor, "sender sender"]
    inverse: Float[Tensor, "sender sender"]

    @classmethod
    def of(
        cls,
        positions: Sequence[Float[Tensor, "sender _"]],
        table: Float[Tensor, "sender knot"],
    ) -> "Senders":
        """All senders with these ψ at these activities.

        Raises:
            InferenceError: the Gram matrix has no inverse, because a value is not finite.
        """
        gram, silent = gram_of_messages(positions, table)
        return cls.from_gram(table, gram, silent)

    @classmethod
    def from_gram(
        cls,
        table: Float[Tensor, "sender knot"],
        gram: Float[Tensor, "sender sender"],
        silent: Bool[Tensor, " sender"],
    ) -> "Senders":
        """Senders whose messages have this Gram matrix, which is changed in place."""
        inverse = regularised_inverse(gram, silent, Shard(len(table)), RIDGE)
        return cls(table, gram, inverse)


@dataclass(frozen=True)
class Reduced:
    """What is left of some receivers when W and their own unknowns are solved for.

    Attributes:
        senders: with the ψ for which it was solved.
        weights: the receivers' rows of W, times the gain.
        own: change of the receivers' own unknowns, see :attr:`Frames.columns`.
        response: moments of the columns with all messages.
        clear: combinations of columns, orthonormal in what no message explains.
        loss: squared residual of (x' − φ)/Ω of each receiver [1/time unit²].
    """

    senders: Senders
    weights: Float[Tensor, "row sender"]
    own: Float[Tensor, "row own"]
    response: Float[Tensor, "row own sender"]
    clear: Float[Tensor, "row own own"]
    loss: Float[Tensor, " row"]

    def residual(
        self, frames: Frames, messages: Float[Tensor, "sender time"]
    ) -> Float[Tensor, "row time"]:
        """(x' − φ)/Ω − WΨ of every receiver, Ψ being the messages [1/time unit]."""
        left = frames.target - (self.own[:, None, frames.place] @ frames.columns)[:, 0]
        return left.addmm_(self.weights, messages, alpha=-1)


def gram_of_messages(
    positions: Sequence[Float[Tensor, "sender _"]], table: Float[Tensor, "sender knot"]
) -> tuple[Float[Tensor, "sender sender"], Bool[Tensor, " sender"]]:
    """ΨΨᵀ of the messages Ψ at some activities, and whose messages never change there."""
    gram = table.new_zeros(len(table), len(table))
    low = table.new_full((len(table),), torch.inf)
    high = -low
    for position in positions:
        messages = evaluate(table, *locate(position.double()))
        gram.addmm_(messages, messages.T)
        low = torch.minimum(low, messages.amin(1))
        high = torch.maximum(high, messages.amax(1))
    return gram, flat(low, high)


def gathered(data: Data) -> tuple[Float[Tensor, "sender _"], ...]:
    """Activity of all senders in each block, as a position on the axis."""
    return tuple(data.shard.all_gather(block.position) for block in data.blocks)


def eliminate(receivers: Receivers, senders: Senders) -> Reduced:
    """Solve for W and for the receivers' own unknowns at once, given ψ of all senders.

    In φ the problem is linear, in Ω this is a Gauss–Newton step.
    """
    return solved_from(*moments(receivers, senders.table), receivers, senders)


def solved_from(
    response: Float[Tensor, "row column sender"],
    normal: Float[Tensor, "row column column"],
    receivers: Receivers,
    senders: Senders,
) -> Reduced:
    """What :func:`eliminate` returns, from the moments of the receivers."""
    own, inverse = receivers.rows + receivers.data.shard.first, senders.inverse
    solved = response @ inverse
    # W has no diagonal: the multiple of a row of G⁻¹ that cancels it is taken off
    excess = solved.gather(2, own[:, None, None].expand(-1, solved.shape[1], 1))
    solved -= excess * (inverse[own] / inverse[own, own].clamp_min(1e-300)[:, None])[:, None]
    rest = normal - solved @ response.mT
    clear = _clear(rest[:, :-1, :-1], normal[:, :-1, :-1], receivers)
    target = rest[:, :-1, -1:]
    change = (clear @ (clear.mT @ target))[..., 0]
    return Reduced(
        senders=senders,
        weights=solved[:, -1] - (change[:, None] @ solved[:, :-1])[:, 0],
        own=change,
        response=response[:, :-1],
        clear=clear,
        loss=rest[:, -1, -1] - (change * target[..., 0]).sum(1),
    )


def field_step(receivers: Receivers, senders: Senders) -> Float[Tensor, "row own"]:
    """The change of the receivers' own unknowns, as :func:`eliminate` finds it, Ω first.

    No two windows share a frame, so that Ω is eliminated at next to no cost. What is left has
    the size of the network: less work where there are more windows than neurons.
    """
    own, count = receivers.rows + receivers.data.shard.first, receivers.own_splines
    response, normal = moments(receivers, senders.table)
    response[:, :, senders.inverse.diagonal() == 0] = 0  # a message that never changes
    response.scatter_(2, own[:, None, None].expand(-1, response.shape[1], 1), 0)
    gram = senders.gram.repeat(len(own), 1, 1)
    each = torch.arange(len(own), device=own.device)
    gram[each, own] = 0
    gram[each, :, own] = 0
    gram[each, own, own] = 1
    # unknowns: W and the splines of φ; the last column is the target
    rest = torch.tensor([*range(count), -1], device=own.device)
    known, among = response[:, rest], normal[:, rest][:, :, rest]
    joint = torch.cat([torch.cat([gram, known.mT], 2), torch.cat([known, among], 2)], 1)
    power = normal.diagonal(dim1=1, dim2=2)[:, :-1]
    ridge = _ridge(power)
    unit = _reciprocal_root((power * (1 + CLEAR * ridge))[:, count:])
    windows = torch.cat([response[:, count:-1], normal[:, count:-1][:, :, rest]], 2)
    windows *= unit[:, :, None]
    level = torch.nn.functional.normalize(_reciprocal_root(power[:, count:]), dim=1)[:, :, None]
    # the mean of Ω stays: (1 + llᵀ)⁻¹ is the square of 1 − (1 − √½)·llᵀ
    part = 1 - 0.5**0.5
    windows -= part * level @ (level.mT @ windows)
    left = joint - windows.mT @ windows
    scale = _reciprocal_root(joint.diagonal(dim1=1, dim2=2)[:, :-1])
    scaled = left[:, :-1, :-1] * scale[:, :, None] * scale[:, None]
    # the Gram matrix has its ridge already
    ridge = torch.cat([torch.full_like(response[:, 0], RIDGE / CLEAR), ridge[:, :count]], 1)
    weights_and_update = scale[:, :, None] * torch.cholesky_solve(
        scale[:, :, None] * left[:, :-1, -1:], _root(scaled, ridge)
    )
    field = windows[:, :, -1:] - windows[:, :, :-1] @ weights_and_update
    field = (field - part * level @ (level.mT @ field))[..., 0] * unit
    return torch.cat([weights_and_update[:, len(gram[0]) :, 0], field], 1)


def moments(
    receivers: Receivers, table: Float[Tensor, "sender knot"]
) -> tuple[Float[Tensor, "row column sender"], Float[Tensor, "row column column"]]:
    """Moments of the columns and, last, of the target: with the messages, and among them."""
    count, last = len(receivers.rows), receivers.unknowns
    response = table.new_zeros(count, last + 1, len(table))
    normal = table.new_zeros(count, last + 1, last + 1)
    for frames in receivers.frames():
        known = torch.cat([frames.columns, frames.target[:, None]], 1)
        place = torch.nn.functional.pad(frames.place, (0, 1), value=last)
        response.index_add_(1, place, known @ frames.messages(table).T)
        normal[:, place[:, None], place] += known @ known.mT
    return response, normal


def _clear(
    rest: Float[Tensor, "row own own"], normal: Float[Tensor, "row own own"], at: Receivers
) -> Float[Tensor, "row own own"]:
    """Combinations of the columns that are orthonormal in what no message explains.

    Args:
        rest: moments of the columns less what messages explain.
        normal: moments of the columns.
        at: the receivers that they belong to.
    """
    power = normal.diagonal(dim1=1, dim2=2)
    scale = _reciprocal_root(power)
    scaled = rest * scale[:, :, None] * scale[:, None]
    if at.own_field:  # the mean of Ω is a convention, and stays what it is
        level = scale.clone()
        level[:, : at.own_splines] = 0
        level = torch.nn.functional.normalize(level, dim=1)
        scaled = scaled + level[:, :, None] * level[:, None]
    identity = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    factor = _root(scaled, _ridge(power))
    roots = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    return scale[:, :, None] * roots.mT


def _reciprocal_root(power: Float[Tensor, "row n"]) -> Float[Tensor, "row n"]:
    """1/√power, 0 where there is none."""
    return torch.where(power > 0, power.clamp_min(1e-300).rsqrt(), 0.0)


def _ridge(power: Float[Tensor, "row own"]) -> Float[Tensor, "row own"]:
    """How much columns are held back, in their own units.

    In those of the mean column: where hardly anything is visited, nothing changes.
    """
    mean = power.sum(1, keepdim=True) / (power > 0).sum(1, keepdim=True).clamp_min(1)
    return 1 + FAINT * mean * _reciprocal_root(power) ** 2


def _root(
    matrix: Float[Tensor, "row n n"], ridge: Float[Tensor, "row n"]
) -> Float[Tensor, "row n n"]:
    """Cholesky factor of each matrix with the least multiple of the ridge that it needs.

    Raises:
        InferenceError: none makes it positive definite.
    """
    share = torch.full_like(matrix[:, :1, :1], CLEAR)
    for _ in range(ATTEMPTS):
        factor, failed = torch.linalg.cholesky_ex(matrix + share * torch.diag_embed(ridge))
        if not failed.any():
            return factor
        share = torch.where(failed[:, None, None] > 0, 10 * share, share)
    raise InferenceError("the functions of a neuron cannot be solved for")


@dataclass(frozen=True)
class Lifted:
    """Moments of the modes of all senders: they do not depend on ψ.

    Attributes:
        field: the Ω of the receivers that they belong to.
        moments: of the modes of all senders with one another.
        by_column: of the receivers' columns with the modes.
    """

    field: Float[Tensor, "row window"]
    moments: Float[Tensor, "unknown unknown"]
    by_column: Float[Tensor, "row own unknown"]


class Projection:
    """Gauss–Newton steps in ψ of one group of receivers, and in φ where neurons share it.

    Args:
        data: the sampled frames.
        estimate: the unknowns before the first step.
        group: which receivers' ψ is changed.
        pools: which neurons share φ and ψ.
    """

    def __init__(self, data: Data, estimate: Estimate, group: int, pools: Pools) -> None:
        rows = choose_receivers(data, estimate, group, pools)
        table = data.shard.all_gather(estimate.transfer[group]).double()
        receivers = int(data.shard.all_reduce(rows.new_tensor(len(rows))))
        frames, modes = size_of_step(data, pools, receivers)
        data = thinned(data, frames)
        self._pools, self._damping = pools, DAMPING
        self._modes = modes_of(data.axis, table, modes)
        here = gathered(data)
        self._receivers = Receivers.of(data, here, estimate, rows, pools.update is None)
        self._reduced = eliminate(self._receivers, Senders.of(here, table))
        self._lifted: Lifted | None = None

    @property
    def rows(self) -> Int[Tensor, " row"]:
        """The receivers that determine ψ."""
        return self._receivers.rows

    @property
    def weights(self) -> Float[Tensor, "row sender"]:
        """Their rows of W, times the gain."""
        return self._reduced.weights.float()

    @property
    def field(self) -> Float[Tensor, "row window"]:
        """Their Ω."""
        return self._receivers.field.float()

    @property
    def loss(self) -> float:
        """Their residual as a share of the mean variance of x'."""
        data = self._receivers.data
        sums = torch.stack(
            [self._reduced.loss.sum(), self._reduced.loss.new_tensor(len(self.rows))]
        )
        squared, count = data.shard.all_reduce(sums).tolist()
        return max(0.0, squared) / (data.power * count / data.shard.neurons)

    @property
    def transfer(self) -> Float[Tensor, "neuron knot"]:
        """ψ of this process's neurons."""
        return self._reduced.senders.table[self._receivers.data.shard.own].float()

    def update(self, before: Float[Tensor, "neuron knot"]) -> Float[Tensor, "neuron knot"]:
        """φ of this process's neurons: the one before where no receiver has changed it."""
        pool, receivers = self._pools.update, self._receivers
        if pool is None:
            return before
        found = torch.zeros_like(before, dtype=torch.double)
        found[receivers.rows] = receivers.update
        known = torch.zeros_like(found[:, :1])
        known[receivers.rows] = 1
        total, members = (pooled(part, pool, receivers.data.shard) for part in (found, known))
        return torch.where(members > 0, (total / members.clamp_min(1)).float(), before)

    def step(self) -> float:
        """One step; the share of the loss that it leaves, 1 if none lowers the loss.

        Raises:
            InferenceError: a value is not finite.
        """
        shard = self._receivers.data.shard
        before = float(shard.all_reduce(self._reduced.loss.sum()))
        if before <= NOTHING * self._receivers.data.power:
            return 1.0
        matrix, gradient = (shard.all_reduce(part) for part in self._curvature())
        for attempt in range(TRIALS):
            damping = self._damping * 30**attempt
            change = _solve(matrix, gradient, damping)
            if change is None:
                continue  # no direction is known yet
            receivers, table = self._changed(change)
            trial = eliminate(receivers, Senders.of(receivers.positions, table))
            loss = float(shard.all_reduce(trial.loss.sum()))
            if loss < before:
                if receivers.own_field:
                    receivers = receivers.moved(trial.own)
                    trial = eliminate(receivers, trial.senders)
                self._receivers, self._reduced = receivers, trial
                self._damping = max(LEAST_DAMPING, damping / 10)
                return loss / before
        return 1.0

    def _changed(self, change: Float[Tensor, "function mode"]) -> tuple[Receivers, Tensor]:
        """The receivers and ψ after a step."""
        receivers, pools, table = self._receivers, self._pools, self._reduced.senders.table
        if pools.update is not None:
            change, own = change.split(
                [len(change) - _count(pools.update), _count(pools.update)]
            )
            rows = pools.update[receivers.rows + receivers.data.shard.first]
            receivers = replace(receivers, update=receivers.update + own[rows] @ self._modes.T)
        change = change @ self._modes.T
        return receivers, table + (change if pools.transfer is None else change[pools.transfer])

    def _curvature(self) -> tuple[Tensor, Tensor]:
        receivers, modes = self._receivers, self._modes
        if self._pools.transfer is not None:
            return curvature_of_pools(receivers, self._reduced, self._pools, modes)
        if self._lifted is None or not torch.equal(self._lifted.field, receivers.field):
            self._lifted = lift(receivers, modes)
        return curvature_of_neurons(receivers, self._reduced, self._lifted, modes)


def projected_steps(
    data: Data, estimate: Estimate, pools: Pools, count: int, enough: float = CREEPING
) -> Iterator[Estimate]:
    """Yield the estimates after Gauss–Newton steps, until these gain next to nothing.

    Only ψ, shared φ, and W of the receivers that determine them change; the loss is that of
    these receivers. :func:`solve_receivers` solves for the rest.

    Args:
        data: the sampled frames.
        estimate: where the first step starts.
        pools: which neurons share φ and ψ.
        count: number of steps, at most.
        enough: share of the loss: the second of two steps that leave more is the last one. From
            a straight line the first steps gain little, so that :data:`SETTLED` is due there.
    """
    projections = [
        Projection(data, estimate, group, pools) for group in range(len(estimate.receivers))
    ]
    before = 0.0
    for _ in range(count):
        left = min(projection.step() for projection in projections)
        connectivity, field = estimate.connectivity.clone(), estimate.field.clone()
        update = estimate.update
        for projection in projections:
            update = projection.update(update)
            connectivity[projection.rows] = projection.weights
            field[projection.rows] = projection.field
        estimate = replace(
            estimate,
            update=update,
            transfer=torch.stack([projection.transfer for projection in projections]),
            connectivity=connectivity,
            field=field,
            loss=max(projection.loss for projection in projections),
        )
        yield estimate
        if left >= 1 or min(left, before) > enough:
            return
        before = left


def entanglement(data: Data, estimate: Estimate) -> float:
    """Median variance inflation factor of the messages.

    G_jj·(G⁻¹)_jj tells how much less is known of the weights of sender j because its messages
    resemble combinations of those of the others. It is a few where noise drives the neurons.
    """
    table, positions = data.shard.all_gather(estimate.transfer[0]).double(), gathered(data)
    power = table.new_zeros(len(table))
    for position in positions:
        power += (evaluate(table, *locate(position.double())) ** 2).sum(1)
    return float((power * Senders.of(positions, table).inverse.diagonal()).median())


def size_of_step(data: Data, pools: Pools, receivers: int) -> tuple[int, int]:
    """How many frames a step reads, and how many unknowns each function has.

    The matrix of the unknowns of shared functions takes receivers × frames × unknowns²
    products. Where these are too many, because there are many types, fewer frames are read,
    then functions have fewer unknowns.
    """
    neurons, splines = data.shard.neurons, data.axis.splines
    if pools.transfer is None:
        return ENOUGH * neurons, LARGEST // neurons
    functions = _count(pools.transfer) + (pools.update is not None)
    for each in (ENOUGH, ENOUGH // 2, FEW_FRAMES):
        unknowns = math.sqrt(WORK / max(1, receivers * each * neurons))
        modes = min(LARGEST // _count(pools.transfer), int(unknowns) // functions)
        if modes >= min(CURVED, splines):
            break
    return each * neurons, max(LEAST_MODES, modes)


def affordable(neurons: int, knots: int) -> bool:
    """Whether a step in the functions of single neurons is small enough."""
    return LARGEST // neurons >= min(LEAST_MODES, knots)


def choose_receivers(
    data: Data, estimate: Estimate, group: int, pools: Pools
) -> Int[Tensor, " row"]:
    """Receivers of this process that determine ψ of their group, and φ of each pool of them.

    They are chosen from all shards. Those without modulation are taken if they suffice, and
    first those that visit the widest range: elsewhere a shared φ would stay unknown.
    """
    shard = data.shard
    member = torch.zeros_like(data.modulated)
    member[estimate.receivers[group]] = True
    visited = (data.normal.diagonal(dim1=1, dim2=2) > 0).sum(1)
    members, modulated, reach = (shard.all_gather(x) for x in (member, data.modulated, visited))
    enough = MANY if pools.transfer is None else FEW
    labels = torch.zeros_like(reach) if pools.update is None else pools.update
    each = max(FEWEST, enough // _count(labels))
    chosen = [
        _some((members & (labels == k)).nonzero()[:, 0], modulated, reach, each)
        for k in range(_count(labels))
    ]
    rows = torch.cat(chosen).sort().values - shard.first
    return rows[(rows >= 0) & (rows < len(member))]


def _some(rows: Tensor, modulated: Tensor, reach: Tensor, count: int) -> Tensor:
    """Some of the rows: half of them those of the widest reach, the others evenly spaced."""
    plain = rows[~modulated[rows]]
    rows = plain if len(plain) >= FEWEST else rows
    wide = rows[reach[rows].argsort(descending=True, stable=True)][: count // 2]
    rest = rows[~torch.isin(rows, wide)]
    count = min(len(rest), count - len(wide))
    even = torch.linspace(0, len(rest) - 1, count).round().long().to(rows.device)
    return torch.cat([wide, rest[even]])


def modes_of(
    axis: Axis, table: Float[Tensor, "sender knot"], count: int
) -> Float[Tensor, "knot mode"]:
    """The splines of an axis; if there are more than ``count``, fewer and the mean ψ."""
    if axis.splines <= count:
        return axis.basis(table.device)
    fewer = spline_basis(axis.knots, max(4, count - 1)).to(table.device)
    return torch.cat([fewer, table.mean(0)[:, None]], 1)


def best_windows(
    data: Data, estimate: Estimate, pools: Pools, candidates: Sequence[int]
) -> int:
    """The number of windows that leaves the least of some receivers, W being solved for anew.

    Residuals are compared by generalised cross-validation, which counts the unknowns; of those
    that leave about as little as the best, the fewest windows are chosen.
    """
    groups = [group[data.modulated[group]] for group in estimate.receivers]
    counts = torch.tensor([len(group) for group in groups], device=data.normal.device)
    group = int(data.shard.all_reduce(counts).argmax())  # its ψ is that of all judges
    rows = groups[group]
    rows = rows[torch.linspace(0, len(rows) - 1, min(JUDGES, len(rows))).round().long()]
    data = in_short_blocks(data, max(candidates))
    table = data.shard.all_gather(estimate.transfer[group]).double()
    positions = gathered(data)
    senders, left = Senders.of(positions, table), []
    for windows in candidates:
        changed, renewed = rewindow(data, estimate, windows)
        receivers = Receivers.of(changed, positions, renewed, rows, pools.update is None)
        found = _settled(receivers, senders)[1]
        free = data.frames - data.shard.neurons - receivers.unknowns
        left.append(float(data.shard.all_reduce(found.loss.sum())) / max(1, free) ** 2)
    return next(
        windows
        for windows, loss in zip(candidates, left, strict=True)
        if loss <= ABOUT * min(left)
    )


def in_short_blocks(data: Data, windows: int) -> Data:
    """The same frames in blocks of which each touches few of so many windows."""
    return divided(data, max(SHORTEST, FEW_WINDOWS * data.frames // windows))


def solve_receivers(data: Data, estimate: Estimate, pools: Pools) -> Estimate:
    """W, Ω and, where each neuron has its own, φ of all receivers at once, given ψ."""
    data = in_short_blocks(data, data.windows)
    weights, update = torch.zeros_like(estimate.connectivity), estimate.update.clone()
    field, positions = estimate.field.clone(), gathered(data)
    for table, group in zip(estimate.transfer, estimate.receivers, strict=True):
        senders = Senders.of(positions, data.shard.all_gather(table).double())
        modulated = data.modulated[group]
        for rows in (*group[modulated].split(TOGETHER), *group[~modulated].split(TOGETHER)):
            receivers = Receivers.of(data, positions, estimate, rows, pools.update is None)
            receivers, reduced = _settled(receivers, senders)
            weights[rows], field[rows] = reduced.weights.float(), receivers.field.float()
            update[rows] = receivers.moved(reduced.own).update.float()
    return replace(estimate, connectivity=weights, update=update, field=field)


def left_by(
    data: Data,
    estimate: Estimate,
    table: Float[Tensor, "sender knot"],
    rows: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """Squared residual of receivers if this were ψ: W, φ and Ω of each are solved for anew."""
    data = in_short_blocks(data, data.windows)
    positions, left = gathered(data), table.new_empty(len(rows))
    senders, modulated = Senders.of(positions, table), data.modulated[rows]
    for kind in (modulated, ~modulated):
        for place in kind.nonzero()[:, 0].split(TOGETHER):
            receivers = Receivers.of(data, positions, estimate, rows[place], True)
            left[place] = _settled(receivers, senders)[1].loss
    return left


def _settled(receivers: Receivers, senders: Senders) -> tuple[Receivers, Reduced]:
    """Receivers whose Ω is found, with what is left of them; no loss is larger than before."""
    fixed = replace(receivers, own_field=False)
    before = eliminate(fixed, senders)
    if not receivers.own_field:
        return fixed, before
    many = receivers.data.windows > len(senders.table)
    for _ in range(ROUNDS):
        own = field_step(receivers, senders) if many else eliminate(receivers, senders).own
        field, receivers = receivers.field, receivers.moved(own)
        if (receivers.field - field).abs().max() < STILL:
            break
    # φ is solved for once more, on top of what it was before
    found = replace(fixed, field=receivers.field)
    after = eliminate(found, senders)
    lower = after.loss < before.loss

    def better(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(lower.view(-1, *[1] * (new.dim() - 1)), new, old)

    kept: dict[str, Any] = {
        name: better(getattr(after, name), getattr(before, name))
        for name in ("weights", "own", "response", "clear", "loss")
    }
    return replace(fixed, field=better(found.field, fixed.field)), replace(after, **kept)


def curvature_of_pools(
    receivers: Receivers, reduced: Reduced, pools: Pools, modes: Float[Tensor, "knot mode"]
) -> tuple[Float[Tensor, "unknown unknown"], Float[Tensor, "function mode"]]:
    """The Gauss–Newton matrix of the reduced loss, and minus half its gradient.

    The matrix is Σ_i M_i·P_i·M_iᵀ over the receivers i, with M_i what a change of each mode of
    each pool adds to x' − φ, and P_i the projection that takes off what W and the unknowns of
    the receiver alone can add.
    """
    assert pools.transfer is not None
    senders, rows = len(pools.transfer), receivers.rows + receivers.data.shard.first
    modes_each, shared = modes.shape[1], _count(pools.transfer)
    functions = shared + (0 if pools.update is None else _count(pools.update))
    unknowns = functions * modes_each
    # a receiver knows ψ of all pools, and of the shared φ only its own
    every = torch.arange(shared * modes_each, device=modes.device)
    known = every.expand(len(rows), -1)
    if pools.update is not None:
        first = (shared + pools.update[rows]) * modes_each
        known = torch.cat([known, first[:, None] + every[:modes_each]], 1)
    matrix, gradient = modes.new_zeros(unknowns, unknowns), modes.new_zeros(unknowns)
    by_message = modes.new_zeros(*known.shape, senders)
    by_column = modes.new_zeros(*known.shape, reduced.own.shape[1])
    for frames in receivers.frames():
        messages = frames.messages(reduced.senders.table)
        residual = reduced.residual(frames, messages)
        place = pools.transfer[:, None] * len(modes) + frames.left
        for row, weights in enumerate(reduced.weights):
            received = _received(weights, place, frames.fraction, modes, shared)
            if pools.update is not None:
                received = torch.cat([received, frames.own_features(row, modes)])
            matrix[known[row, :, None], known[row]] += received @ received.T
            gradient.index_add_(0, known[row], received @ residual[row])
            by_message[row].addmm_(received, messages.T)
            by_column[row].index_add_(1, frames.place, received @ frames.columns[row].T)
    for row, clear in enumerate(reduced.clear):
        explained = by_message[row] @ reduced.senders.inverse
        taken = explained @ by_message[row].T
        by_own = (by_column[row] - explained @ reduced.response[row].T) @ clear
        matrix[known[row, :, None], known[row]] -= taken.addmm_(by_own, by_own.T)
    return matrix, gradient.view(functions, -1)


def _received(
    weights: Float[Tensor, " sender"],
    place: Int[Tensor, "sender time"],
    fraction: Float[Tensor, "sender time"],
    modes: Float[Tensor, "knot mode"],
    pools: int,
) -> Float[Tensor, "unknown time"]:
    """Σ_j W_ij·B(x_j) over the senders j of each pool, for every mode B.

    Args:
        weights: W_ij of one receiver i.
        place: the knot on the left of x_j, counted over the knots of all pools.
        fraction: the way from there to the next knot.
        modes: B at the knots.
        pools: their number.
    """
    # a knot receives (1 − fraction) of what is on its right and fraction of what is on its left
    shape = (pools, len(modes), place.shape[1])
    whole, upper = weights.new_zeros(2, pools * len(modes), place.shape[1])
    whole.scatter_add_(0, place, weights[:, None].expand_as(place))
    upper.scatter_add_(0, place, weights[:, None] * fraction)
    received, upper = whole.sub_(upper).view(shape), upper.view(shape)
    received[:, 1:] += upper[:, :-1]
    return (modes.T @ received).flatten(0, 1)


def lift(receivers: Receivers, modes: Float[Tensor, "knot mode"]) -> Lifted:
    """The moments that every step in the functions of single neurons needs."""
    unknowns = receivers.data.shard.neurons * modes.shape[1]
    moments = modes.new_zeros(unknowns, unknowns)
    by_column = modes.new_zeros(len(receivers.rows), receivers.unknowns, unknowns)
    for frames in receivers.frames():
        features = frames.features(modes)
        moments.addmm_(features, features.T)
        by_column.index_add_(1, frames.place, frames.columns @ features.T)
    return Lifted(receivers.field, moments, by_column)


def curvature_of_neurons(
    receivers: Receivers, reduced: Reduced, lifted: Lifted, modes: Float[Tensor, "knot mode"]
) -> tuple[Float[Tensor, "unknown unknown"], Float[Tensor, "function mode"]]:
    """As :func:`curvature_of_pools`, each neuron having its own functions.

    Then M_i is a diagonal matrix of weights times the modes B of all senders, which all
    receivers share: Σ_i M_i·P·M_iᵀ = (WᵀW) ∘ B·P·Bᵀ, less what the φ_i and Ω_i explain.
    """
    weights, unknowns = reduced.weights, len(lifted.moments)
    by_message = modes.new_zeros(len(reduced.senders.table), unknowns)
    by_residual = modes.new_zeros(len(weights), unknowns)
    for frames in receivers.frames():
        features = frames.features(modes).T
        messages = frames.messages(reduced.senders.table)
        by_message.addmm_(messages, features)
        by_residual.addmm_(reduced.residual(frames, messages), features)
    explained = reduced.senders.inverse @ by_message
    each = weights.repeat_interleave(modes.shape[1], 1)  # the weight of every unknown
    matrix = torch.addmm(lifted.moments, by_message.T, explained, alpha=-1)
    products = weights.T @ weights
    for block, product in zip(matrix.view(len(products), -1, unknowns), products, strict=True):
        block *= product.repeat_interleave(modes.shape[1])
    for row, clear in enumerate(reduced.clear):
        by_column = lifted.by_column[row] - reduced.response[row] @ explained
        by_own = (clear.T @ by_column) * each[row]
        matrix.addmm_(by_own.T, by_own, alpha=-1)
    return matrix, (each * by_residual).sum(0).view(len(products), -1)


def _solve(
    matrix: Float[Tensor, "unknown unknown"],
    gradient: Float[Tensor, "function mode"],
    damping: float,
) -> Float[Tensor, "function mode"] | None:
    """The damped step; where nothing is known of a function it is smooth and small.

    None if the matrix is so far from positive definite that no small ridge helps.
    """
    functions, modes = gradient.shape
    diagonal = matrix.diagonal()
    mean = diagonal.view(functions, modes).mean(1)
    mean = mean.clamp_min(SILENT * mean.mean())
    identity = torch.eye(modes, dtype=matrix.dtype, device=matrix.device)
    penalty = BENDING * (bending(identity) + identity)
    damped = matrix + torch.diag(damping * diagonal)
    blocks = damped.view(functions, modes, functions, modes)
    every = torch.arange(functions, device=matrix.device)
    blocks[every, :, every] += mean.clamp_min(1e-300)[:, None, None] * penalty
    factor = _factor(damped, damping)
    if factor is None:
        return None
    return torch.cholesky_solve(gradient.reshape(-1, 1), factor).view_as(gradient)


def _factor(matrix: Float[Tensor, "n n"], ridge: float) -> Float[Tensor, "n n"] | None:
    """Cholesky factor of a matrix with the first ridge that makes it positive definite."""
    ridge = ridge * float(matrix.diagonal().mean())
    for _ in range(ATTEMPTS):
        matrix.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not int(failed):
            return factor
        ridge = 10 * ridge
    return None


def _count(pool: Int[Tensor, " neuron"]) -> int:
    return int(pool.max()) + 1
