"""One sweep of exact least squares through the unknowns of the model.

The model is the graph neural network of the paper,

    x̂'_i(t) = φ*(a_i, x_i) + Ω*_i(t)·Σ_j W*_ij·ψ*(…),                        (2)

and instead of descending its loss in all unknowns at once, :func:`sweep` minimises it in one
group of unknowns after the other, because given the rest each group is linear:

* **W**: dividing (x'_i − φ_i)/Ω_i leaves one Gram matrix ΨΨᵀ for all N rows, so one Cholesky
  factorisation solves all N² weights;
* **φ_i**: least squares on the hat functions of x_i (:mod:`figures_lib.tables`);
* **Ω_i**: one scalar regression per modulated neuron and time window;
* **ψ_j**: the residual e projected back onto the sender, Σ_i W_ij·Ω_i·e_i, regressed on x_j.

Pools say which neurons share a table: all, none, or those of one type. Neurons are those of one
process's shard (:mod:`figures_lib.shards`); senders are all neurons.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib import health
from figures_lib.recording import Recording
from figures_lib.shards import Shard, product
from figures_lib.tables import Axis, evaluate, gram, locate, project

FIELD_BOUNDS = (0.05, 20.0)  # Ω relative to its mean; keeps the division by Ω well posed
CURVATURE = 1e-4  # penalty on the bending of table *increments*: it vanishes at convergence
RELAXATION = 1.2  # over-relaxation of ψ: the in-sample W shrinks the residual it is fitted to
BLOCK = 2048  # frames a block: its arrays stay in cache-friendly, reusable allocations


@dataclass(frozen=True)
class Block:
    """Consecutively sampled frames, ready for the sweeps."""

    position: Float[Tensor, "neuron time"]  # activity in units of knots
    derivative: Float[Tensor, "neuron time"]
    frame: Int[Tensor, " time"]


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
        return self.shard.sum(self.density.sum(0)) / self.shard.neurons

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
    """

    update: Float[Tensor, "neuron knot"]
    transfer: Float[Tensor, "group neuron knot"]
    field: Float[Tensor, "neuron window"]
    receivers: tuple[Int[Tensor, " _"], ...]
    connectivity: Float[Tensor, "neuron sender"]  # times the gain, until the gauge is fixed
    loss: float = float("inf")


def prepare(
    recording: Recording,
    axis: Axis,
    frames: int,
    windows: int,
    device: torch.device | str = "cpu",
) -> Data:
    """Sample about ``frames`` frames at a constant stride and express them on the axis.

    Args:
        recording: activity and derivative, Float["time neuron"].
        axis: knots of the function tables.
        frames: number of frames to sample [frames].
        windows: number of equal parts of the recording in which Ω is constant.
        device: where the sweeps will run.
    """
    total, neurons = recording.activity.shape
    shard = Shard.here(neurons)
    activities, derivatives = (
        recording.activity[:, shard.own],
        recording.derivative[:, shard.own],
    )
    stride = max(1, total // frames)
    sampled = torch.arange(0, total, stride)
    blocks, power = [], torch.zeros((), dtype=torch.double, device=device)
    normal = torch.zeros(activities.shape[1], axis.knots, axis.knots, device=device)
    mean = derivatives[::stride].mean(0).to(device)[:, None]
    for index in sampled.split(BLOCK):
        activity = activities[index].to(device).T.contiguous()
        derivative = derivatives[index].to(device).T.contiguous()
        block = Block(axis.coordinate(activity), derivative, index.to(device))
        gram(normal, *locate(block.position))
        power += ((derivative - mean) ** 2).sum()
        blocks.append(block)
    modulated = recording.modulated[shard.own].to(device)
    whole = float(shard.sum(power))
    return Data(axis, tuple(blocks), total, windows, modulated, normal, whole, shard)


def start(data: Data) -> Estimate:
    """The first estimate: linear ψ, Ω = 1, φ_i the regression of x'_i on x_i alone."""
    neurons = data.normal.shape[0]
    device = data.normal.device
    moment = torch.zeros(neurons, data.axis.knots, device=device)
    for block, left, fraction in data.located():
        project(moment, block.derivative, left, fraction)
    identity = data.axis.values(device).expand(1, neurons, -1)
    return Estimate(
        update=_solve(_regularised(data), moment),
        transfer=identity / identity.abs().max(),
        field=torch.ones(neurons, data.windows, device=device),
        receivers=(torch.arange(neurons, device=device),),
        connectivity=torch.zeros(neurons, data.shard.neurons, device=device),
    )


def sweep(data: Data, estimate: Estimate, pools: Pools) -> Estimate:
    """Minimise the loss in W, φ, Ω and ψ in turn; see the module's docstring.

    Args:
        data: the sampled frames.
        estimate: the unknowns so far.
        pools: which neurons share a table of φ and of ψ.

    Returns:
        The improved estimate, ψ scaled to unit mean square over the visited activity and Ω to
        mean 1 per neuron; ``loss`` is the unexplained fraction of the variance of x', before
        the update of ψ.
    """
    estimate = replace(estimate, connectivity=solve_connectivity(data, estimate, pools))
    drive = [network_input(data, estimate, *place) for _, *place in data.located()]
    estimate = replace(estimate, update=_solve_update(data, estimate, drive, pools.update))
    estimate = replace(estimate, field=_solve_field(data, estimate, drive))
    transfer, loss = _solve_transfer(data, estimate, drive, pools.transfer)
    return replace(
        estimate,
        transfer=_unit_mean_square(transfer, data.mean_density),
        field=estimate.field / estimate.field.mean(1, keepdim=True),
        loss=loss,
    )


def network_input(
    data: Data, estimate: Estimate, left: Tensor, fraction: Tensor
) -> Float[Tensor, "neuron time"]:
    """Σ_j W_ij·ψ_j(x_j): what each neuron receives before the modulation by Ω."""
    drive = torch.empty_like(fraction)
    for rows, table in zip(estimate.receivers, estimate.transfer, strict=True):
        messages = data.shard.whole(evaluate(table, left, fraction))
        drive[rows] = estimate.connectivity[rows] @ messages
    return drive


def solve_connectivity(
    data: Data, estimate: Estimate, pools: Pools
) -> Float[Tensor, "neuron sender"]:
    """All weights at once: W = argmin Σ_t ‖(x' − φ)/Ω − W ψ‖² with zero diagonal.

    The minimiser without the constraint is U = C G⁻¹, with G = ΨΨᵀ and C = ((x' − φ)/Ω) Ψᵀ.
    Where neurons share φ, the constraint is met exactly: row i of G⁻¹ is added so often that
    it cancels u_ii. Where every neuron has its own φ_i, u_ii is simply dropped: in the solve
    ψ_i(x_i) stands in for what φ_i still misses, which halves the number of sweeps.
    """
    shard, weights = data.shard, torch.zeros_like(estimate.connectivity)
    for rows, table in zip(estimate.receivers, estimate.transfer, strict=True):
        gram_matrix = torch.zeros_like(weights)
        cross = torch.zeros_like(weights[rows])
        low = torch.full((len(weights),), torch.inf, device=weights.device)
        high = -low
        for block, left, fraction in data.located():
            messages = evaluate(table, left, fraction)
            low = torch.minimum(low, messages.amin(1))
            high = torch.maximum(high, messages.amax(1))
            target = block.derivative - evaluate(estimate.update, left, fraction)
            target /= estimate.field[:, data.window(block)]
            everyone = shard.whole(messages).T
            gram_matrix.addmm_(messages, everyone)
            cross.addmm_(target[rows], everyone)
        silent = shard.whole(health.flat(low, high))
        inverted = health.inverse(gram_matrix, silent, shard)
        weights[rows] = product(cross, inverted, shard)
        if pools.update is not None:
            own = weights[rows, rows + shard.first]
            excess = own / inverted.diagonal(shard.first)[rows].clamp_min(1e-30)
            weights[rows] -= excess[:, None] * inverted[rows]
    weights.diagonal(shard.first).zero_()
    return weights


def _solve_update(
    data: Data, estimate: Estimate, drive: list[Tensor], pool: Tensor | None
) -> Float[Tensor, "neuron knot"]:
    moment = torch.zeros_like(estimate.update)
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        rest = torch.addcmul(
            block.derivative, estimate.field[:, data.window(block)], received, value=-1
        )
        project(moment, rest - evaluate(estimate.update, left, fraction), left, fraction)
    normal = pooled(_regularised(data), pool, data.shard)
    return estimate.update + _solve(normal, pooled(moment, pool, data.shard))


def _solve_field(data: Data, estimate: Estimate, drive: list[Tensor]) -> Tensor:
    """Ω_i(window) = Σ_t m·(x' − φ) / Σ_t m² with m the network input; 1 elsewhere."""
    rows = data.modulated
    field = torch.ones_like(estimate.field)
    numerator, denominator = torch.zeros_like(field[rows]), torch.zeros_like(field[rows])
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        rest = block.derivative - evaluate(estimate.update, left, fraction)
        numerator.index_add_(1, data.window(block), (rest * received)[rows])
        denominator.index_add_(1, data.window(block), (received * received)[rows])
    known = denominator > 0  # a window that holds no sampled frame keeps its Ω
    ratio = torch.where(known, numerator / denominator, estimate.field[rows])
    field[rows] = ratio.clamp(*FIELD_BOUNDS)
    return field


def _solve_transfer(
    data: Data, estimate: Estimate, drive: list[Tensor], pool: Tensor | None
) -> tuple[Float[Tensor, "group neuron knot"], float]:
    """Regress the back-projected residual on x_j; block Jacobi over the senders j."""
    shard, moment = data.shard, torch.zeros_like(estimate.transfer)
    squared = torch.zeros((), dtype=torch.double, device=moment.device)
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        field = estimate.field[:, data.window(block)]
        error = block.derivative - evaluate(estimate.update, left, fraction)
        error.addcmul_(field, received, value=-1)
        squared += (error * error).sum()
        error *= field
        for out, rows in zip(moment, estimate.receivers, strict=True):
            back = shard.own_sum(estimate.connectivity[rows].T @ error[rows])
            project(out, back, left, fraction)
    weight = estimate.connectivity**2 * (estimate.field**2).mean(1, keepdim=True)
    mean = shard.sum(weight.sum()) / shard.neurons
    least = float(1e-12 * mean + 1e-30)  # who reaches nobody keeps its table
    normal = _regularised(data)
    transfer = estimate.transfer.clone()
    for table, out, rows in zip(transfer, moment, estimate.receivers, strict=True):
        power = shard.own_sum(weight[rows].sum(0)).clamp_min(least)[:, None, None]
        step = _solve(pooled(normal * power, pool, shard), pooled(out, pool, shard))
        table += RELAXATION * step
    return transfer, float(shard.sum(squared)) / data.power


def _unit_mean_square(
    transfer: Float[Tensor, "group neuron knot"], density: Float[Tensor, " knot"]
) -> Float[Tensor, "group neuron knot"]:
    return transfer / (transfer**2 @ density).sqrt().clamp_min(1e-12)[..., None]


def _regularised(data: Data) -> Float[Tensor, "neuron knot knot"]:
    """Normal matrix of a table fit, with curvature and ridge where nothing is visited."""
    knots = data.axis.knots
    bend = torch.diff(torch.eye(knots, device=data.normal.device), n=2, dim=0)
    penalty = CURVATURE * (knots / 24) ** 3 * (bend.T @ bend)
    penalty.diagonal().add_(1e-7)
    return data.normal + data.frames * penalty


def pooled(
    values: Float[Tensor, "neuron *rest"], pool: Tensor | None, shard: Shard
) -> Float[Tensor, "neuron *rest"]:
    """Sum over the neurons of each pool in all shards, handed back to every member."""
    if pool is None:
        return values
    total = torch.zeros(int(pool.max()) + 1, *values.shape[1:], device=values.device)
    own = pool[shard.own]
    return shard.sum(total.index_add_(0, own, values))[own]


def _solve(normal: Tensor, moment: Tensor) -> Float[Tensor, "neuron knot"]:
    return torch.linalg.solve(normal, moment[..., None])[..., 0]
