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

Pools say which neurons share a table: all, none, or those of one type.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib import health
from figures_lib.recording import Recording
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
    power: float  # Σ_{i,t} (x'_i)² about the mean of each neuron

    @property
    def frames(self) -> int:
        """Number of sampled frames."""
        return sum(block.frame.numel() for block in self.blocks)

    @property
    def density(self) -> Float[Tensor, "neuron knot"]:
        """How often each neuron visits each knot; every row sums to 1."""
        visits = self.normal.diagonal(dim1=1, dim2=2)
        return visits / visits.sum(1, keepdim=True)

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

    Sweeps add one increment to all tables of a pool, which must therefore be equal on entry.
    """

    update: Int[Tensor, " neuron"]
    transfer: Int[Tensor, " neuron"]


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
    connectivity: Float[Tensor, "neuron neuron"]  # times the gain, until the gauge is fixed
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
    stride = max(1, total // frames)
    sampled = torch.arange(0, total, stride)
    blocks, power = [], 0.0
    normal = torch.zeros(neurons, axis.knots, axis.knots, device=device)
    mean = recording.derivative[::stride].mean(0).to(device)[:, None]
    for index in sampled.split(BLOCK):
        activity = recording.activity[index].to(device).T.contiguous()
        derivative = recording.derivative[index].to(device).T.contiguous()
        block = Block(axis.coordinate(activity), derivative, index.to(device))
        gram(normal, *locate(block.position))
        power += float(((derivative - mean) ** 2).sum())
        blocks.append(block)
    modulated = recording.modulated.to(device)
    return Data(axis, tuple(blocks), total, windows, modulated, normal, power)


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
        connectivity=torch.zeros(neurons, neurons, device=device),
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
    drive = [network_input(estimate, left, fraction) for _, left, fraction in data.located()]
    estimate = replace(estimate, update=_solve_update(data, estimate, drive, pools.update))
    estimate = replace(estimate, field=_solve_field(data, estimate, drive))
    transfer, loss = _solve_transfer(data, estimate, drive, pools.transfer)
    return replace(
        estimate,
        transfer=_unit_mean_square(transfer, data.density.mean(0)),
        field=estimate.field / estimate.field.mean(1, keepdim=True),
        loss=loss,
    )


def network_input(
    estimate: Estimate, left: Tensor, fraction: Tensor
) -> Float[Tensor, "neuron time"]:
    """Σ_j W_ij·ψ_j(x_j): what each neuron receives before the modulation by Ω."""
    drive = torch.empty_like(fraction)
    for rows, table in zip(estimate.receivers, estimate.transfer, strict=True):
        drive[rows] = estimate.connectivity[rows] @ evaluate(table, left, fraction)
    return drive


def solve_connectivity(
    data: Data, estimate: Estimate, pools: Pools
) -> Float[Tensor, "neuron neuron"]:
    """All weights at once: W = argmin Σ_t ‖(x' − φ)/Ω − W ψ‖² with zero diagonal.

    The minimiser without the constraint is U = C G⁻¹, with G = ΨΨᵀ and C = ((x' − φ)/Ω) Ψᵀ.
    Where neurons share φ, the constraint is met exactly: row i of G⁻¹ is added so often that
    it cancels u_ii. Where every neuron has its own φ_i, u_ii is simply dropped: in the solve
    ψ_i(x_i) stands in for what φ_i still misses, which halves the number of sweeps.
    """
    neurons = data.normal.shape[0]
    weights = torch.zeros(neurons, neurons, device=data.normal.device)
    shared = len(pools.update.unique()) < neurons
    for rows, table in zip(estimate.receivers, estimate.transfer, strict=True):
        gram_matrix = torch.zeros_like(weights)
        cross = torch.zeros(neurons, rows.numel(), device=weights.device)
        low = torch.full((neurons,), torch.inf, device=weights.device)
        high = -low
        for block, left, fraction in data.located():
            messages = evaluate(table, left, fraction)
            low = torch.minimum(low, messages.amin(1))
            high = torch.maximum(high, messages.amax(1))
            target = block.derivative - evaluate(estimate.update, left, fraction)
            target /= estimate.field[:, data.window(block)]
            gram_matrix.addmm_(messages, messages.T)
            cross.addmm_(messages, target[rows].T)
        inverse = health.inverse(gram_matrix, health.flat(low, high))
        weights[rows] = (inverse @ cross).T
        if shared:
            excess = weights[rows, rows] / inverse.diagonal()[rows].clamp_min(1e-30)
            weights[rows] -= excess[:, None] * inverse[rows]
    return weights.fill_diagonal_(0)


def _solve_update(
    data: Data, estimate: Estimate, drive: list[Tensor], pool: Tensor
) -> Float[Tensor, "neuron knot"]:
    moment = torch.zeros_like(estimate.update)
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        rest = torch.addcmul(
            block.derivative, estimate.field[:, data.window(block)], received, value=-1
        )
        project(moment, rest - evaluate(estimate.update, left, fraction), left, fraction)
    return estimate.update + _solve(pooled(_regularised(data), pool), pooled(moment, pool))


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
    data: Data, estimate: Estimate, drive: list[Tensor], pool: Tensor
) -> tuple[Float[Tensor, "group neuron knot"], float]:
    """Regress the back-projected residual on x_j; block Jacobi over the senders j."""
    moment, squared = torch.zeros_like(estimate.transfer), 0.0
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        field = estimate.field[:, data.window(block)]
        error = block.derivative - evaluate(estimate.update, left, fraction)
        error.addcmul_(field, received, value=-1)
        squared += float((error * error).sum())
        error *= field
        for out, rows in zip(moment, estimate.receivers, strict=True):
            project(out, estimate.connectivity[rows].T @ error[rows], left, fraction)
    weight = estimate.connectivity**2 * (estimate.field**2).mean(1, keepdim=True)
    least = 1e-12 * weight.sum(0).mean() + 1e-30  # who reaches nobody keeps its table
    normal = _regularised(data)
    transfer = estimate.transfer.clone()
    for table, out, rows in zip(transfer, moment, estimate.receivers, strict=True):
        power = weight[rows].sum(0).clamp_min(least)[:, None, None]
        table += RELAXATION * _solve(pooled(normal * power, pool), pooled(out, pool))
    return transfer, squared / data.power


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


def pooled(values: Float[Tensor, "neuron *rest"], pool: Tensor) -> Tensor:
    """Sum over the neurons of each pool, handed back to every member."""
    total = torch.zeros(int(pool.max()) + 1, *values.shape[1:], device=values.device)
    return total.index_add_(0, pool, values)[pool]


def _solve(normal: Tensor, moment: Tensor) -> Float[Tensor, "neuron knot"]:
    return torch.linalg.solve(normal, moment[..., None])[..., 0]
