"""What the sweeps read, and the unknowns that they solve for.

Pools say which neurons share a function: all, none, or those of one type. The neurons here are
those of one process's shard (:mod:`figures_lib.infer.shards`); the senders are all neurons.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import Axis, evaluate, gram, locate
from figures_lib.learner import Inference
from figures_lib.recording import Recording

FIELD_BOUNDS = (0.05, 20.0)  # Ω relative to its mean; keeps the division by Ω well posed
LEAST_FRAMES = 8192  # frames per sweep even for a small network
BLOCK = 2048  # frames per block: its arrays stay in cache-friendly, reusable allocations


def frames_per_sweep(settings: Inference, neurons: int) -> int:
    """About how many frames a sweep reads; all of them if the recording has fewer."""
    return max(LEAST_FRAMES, round(settings.frames_per_neuron * neurons))


@dataclass(frozen=True)
class Block:
    """Consecutively sampled frames, ready for the sweeps.

    Attributes:
        position: activity as a position on the axis [knots].
        derivative: dx/dt, the regression target [1/time unit].
        frame: index of each frame in the recording.
    """

    position: Float[Tensor, "neuron time"]
    derivative: Float[Tensor, "neuron time"]
    frame: Int[Tensor, " time"]

    def only(self, chosen: Bool[Tensor, " time"]) -> "Block":
        """Some of its frames."""
        position, derivative = self.position[:, chosen], self.derivative[:, chosen]
        return Block(position, derivative, self.frame[chosen])


@dataclass(frozen=True)
class Data:
    """What the sweeps read: the sampled frames on one axis of knots."""

    axis: Axis
    blocks: tuple[Block, ...]
    total: int  # frames of the recording
    windows: int  # equal parts of the recording in which Ω is constant
    modulated: Bool[Tensor, " neuron"]
    normal: Float[Tensor, "neuron knot knot"]  # Σ_t B_p(x_i)·B_q(x_i)
    power: float  # Σ_{i,t} (x'_i)² about the mean of each neuron, over all shards
    shard: Shard

    @property
    def frames(self) -> int:
        """Number of sampled frames."""
        return sum(block.frame.numel() for block in self.blocks)

    @property
    def density(self) -> Float[Tensor, "neuron knot"]:
        """How often each neuron visits each knot; every row sums to 1."""
        visits = self.normal.diagonal(dim1=1, dim2=2)
        return visits / visits.sum(1, keepdim=True)

    @property
    def mean_density(self) -> Float[Tensor, " knot"]:
        """How often the neurons of all shards visit each knot, on average."""
        return self.shard.all_reduce(self.density.sum(0)) / self.shard.neurons

    def window(self, block: Block) -> Int[Tensor, " time"]:
        """The window of every frame of a block: ⌊windows·frame/total⌋."""
        return block.frame * self.windows // self.total

    def located(self) -> Iterator[tuple[Block, Tensor, Tensor]]:
        """Each block with the left knot and the fraction of every activity."""
        for block in self.blocks:
            yield block, *locate(block.position)


@dataclass(frozen=True)
class Pools:
    """Which neurons share a table: equal labels share. One label vector each for φ and ψ.

    The labels are those of the neurons of all shards; without labels every neuron has its own.
    Sweeps add one increment to all tables of a pool, which must therefore be equal on entry.
    """

    update: Int[Tensor, " sender"] | None
    transfer: Int[Tensor, " sender"] | None


@dataclass(frozen=True)
class Estimate:
    """The unknowns of equation (2) during the sweeps.

    ψ has one table per receiver group: a single group of all neurons, unless the variant is
    ψ*(a_i, a_j, x_j), whose receiver groups are the types.

    Attributes:
        update: φ_i at the knots [1/time unit].
        transfer: ψ_j at the knots, for each receiver group.
        field: Ω_i in each window, scaled by every sweep to mean 1 per neuron.
        receivers: indices of the neurons in each receiver group.
        connectivity: W times the gain, until the gauge is fixed.
        loss: unexplained fraction of the variance of x'.
    """

    update: Float[Tensor, "neuron knot"]
    transfer: Float[Tensor, "group neuron knot"]
    field: Float[Tensor, "neuron window"]
    receivers: tuple[Int[Tensor, " _"], ...]
    connectivity: Float[Tensor, "neuron sender"]
    loss: float = float("inf")


@dataclass(frozen=True)
class State:
    """Where inference stands after a sweep.

    Attributes:
        phase: "shared", "neuron" or "type": how many neurons share a function; "alone" after
            all others, if no neurons are alike.
        data: the sampled frames that the sweep read.
        estimate: the unknowns after it.
        types: the type of each neuron of all shards, once they are found.
    """

    phase: str
    data: Data
    estimate: Estimate
    types: Int[Tensor, " neuron"] | None = None


def prepare(
    recording: Recording,
    axis: Axis,
    frames: Int[Tensor, " frame"],
    windows: int,
    device: torch.device | str = "cpu",
) -> Data:
    """Express some frames of a recording on the axis.

    Args:
        recording: activity and derivative, Float["time neuron"].
        axis: knots of the function tables.
        frames: which frames, in the order of time.
        windows: number of equal parts of the recording in which Ω is constant.
        device: where the sweeps will run.
    """
    total, neurons = recording.activity.shape
    shard = Shard.here(neurons)
    activities, derivatives = (
        recording.activity[:, shard.own],
        recording.derivative[:, shard.own],
    )
    blocks, power = [], torch.zeros((), dtype=torch.double, device=device)
    normal = torch.zeros(activities.shape[1], axis.knots, axis.knots, device=device)
    mean = derivatives[frames].mean(0).to(device)[:, None]
    for index in frames.split(BLOCK):
        activity = activities[index].to(device).T.contiguous()
        derivative = derivatives[index].to(device).T.contiguous()
        block = Block(axis.coordinate(activity), derivative, index.to(device))
        gram(normal, *locate(block.position))
        power += ((derivative - mean) ** 2).sum()
        blocks.append(block)
    modulated = recording.modulated[shard.own].to(device)
    all_power = float(shard.all_reduce(power))
    return Data(axis, tuple(blocks), total, windows, modulated, normal, all_power, shard)


def thinned(data: Data, frames: int) -> Data:
    """Every n-th of the sampled frames, so that at least ``frames`` remain."""
    stride = max(1, data.frames // frames)
    if stride == 1:
        return data
    blocks = tuple(
        Block(one.position[:, ::stride], one.derivative[:, ::stride], one.frame[::stride])
        for one in data.blocks
    )
    share = sum(block.frame.numel() for block in blocks) / data.frames
    return replace(data, blocks=blocks, power=data.power * share)


def divided(data: Data, length: int) -> Data:
    """The same frames in blocks of at most so many."""
    blocks = tuple(
        Block(*parts)
        for one in data.blocks
        for parts in zip(
            one.position.split(length, 1),
            one.derivative.split(length, 1),
            one.frame.split(length),
            strict=True,
        )
    )
    return replace(data, blocks=blocks)


def unexplained(data: Data, estimate: Estimate) -> float:
    """Unexplained fraction of the variance of x' in the frames of ``data``."""
    return float(residual_by_run(data, estimate).sum()) / data.power


def residual_by_run(data: Data, estimate: Estimate, runs: int = 50) -> Float[Tensor, " run"]:
    """Σ of the squared residual of all neurons in each of some equal runs of frames."""
    squared = [(error**2).sum(0, dtype=torch.double) for error in residuals(data, estimate)]
    by_frame = data.shard.all_reduce(torch.cat(squared))
    return torch.stack([run.sum() for run in by_frame.tensor_split(min(runs, len(by_frame)))])


def residual_by_neuron(data: Data, estimate: Estimate) -> Float[Tensor, " neuron"]:
    """Σ of the squared residual of each neuron."""
    squared = [(error**2).sum(1, dtype=torch.double) for error in residuals(data, estimate)]
    return torch.stack(squared).sum(0)


def residuals(data: Data, estimate: Estimate) -> Iterator[Float[Tensor, "neuron time"]]:
    """The difference x' − φ − Ω·Wψ in each block of frames [1/time unit]."""
    for block, left, fraction in data.located():
        error = block.derivative - evaluate(estimate.update, left, fraction)
        received = network_input(data, estimate, left, fraction)
        yield error.addcmul_(estimate.field[:, data.window(block)], received, value=-1)


def network_input(
    data: Data, estimate: Estimate, left: Tensor, fraction: Tensor
) -> Float[Tensor, "neuron time"]:
    """Σ_j W_ij·ψ_j(x_j): what each neuron receives before the modulation by Ω."""
    drive = torch.empty_like(fraction)
    for rows, table in zip(estimate.receivers, estimate.transfer, strict=True):
        messages = data.shard.all_gather(evaluate(table, left, fraction))
        drive[rows] = estimate.connectivity[rows] @ messages
    return drive


def means_of_types(
    values: Float[Tensor, "sender *rest"], types: Int[Tensor, " sender"]
) -> Float[Tensor, "type *rest"]:
    """The mean over the neurons of each type."""
    return torch.stack([values[types == k].mean(0) for k in range(int(types.max()) + 1)])


def pooled(
    values: Float[Tensor, "neuron *rest"], pool: Tensor | None, shard: Shard
) -> Float[Tensor, "neuron *rest"]:
    """Sum over the neurons of each pool in all shards, returned for every member."""
    if pool is None:
        return values
    total = values.new_zeros(int(pool.max()) + 1, *values.shape[1:])
    own = pool[shard.own]
    return shard.all_reduce(total.index_add_(0, own, values))[own]
