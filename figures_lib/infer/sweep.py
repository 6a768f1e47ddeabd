"""One sweep of exact least squares through the unknowns of the model.

The model is the graph neural network of the paper,

    x̂'_i(t) = φ*(a_i, x_i) + Ω*_i(t)·Σ_j W*_ij·ψ*(…),                        (2)

Instead of descending its loss in all unknowns at once, :func:`sweep` minimises it in one group
of unknowns after the other (alternating least squares, a block coordinate descent), because
each group is linear given the others:

* **W**: one Gram matrix for all rows (:mod:`figures_lib.infer.connectivity`);
* **φ_i**: least squares on the hat functions of x_i (:mod:`figures_lib.infer.splines`);
* **Ω_i**: one scalar regression per modulated neuron and time window;
* **ψ_j**: the residual e projected back onto the sender, Σ_i W_ij·Ω_i·e_i, regressed on x_j.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.infer.connectivity import solve_connectivity
from figures_lib.infer.splines import bending, evaluate, project
from figures_lib.infer.unknowns import (
    FIELD_BOUNDS,
    Data,
    Estimate,
    Pools,
    network_input,
    pooled,
)

CURVATURE = 1e-4  # penalty on the bending of table *increments*: it vanishes at convergence
RELAXATION = 1.2  # over-relaxation of ψ: the in-sample W shrinks the residual it is fitted to


def start(data: Data) -> Estimate:
    """The first estimate: linear ψ, Ω = 1, φ_i the regression of x'_i on x_i alone."""
    neurons = data.normal.shape[0]
    device = data.normal.device
    moment = torch.zeros(neurons, data.axis.knots, device=device)
    for block, left, fraction in data.located():
        project(moment, block.derivative, left, fraction)
    identity = data.axis.values(device).expand(1, neurons, -1)
    return Estimate(
        update=_solve(data, _regularised(data), moment),
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
    drive = network_inputs(data, estimate)
    estimate = replace(estimate, update=solve_update(data, estimate, drive, pools.update))
    estimate = replace(estimate, field=_solve_field(data, estimate, drive))
    transfer, loss = _solve_transfer(data, estimate, drive, pools.transfer)
    return replace(
        estimate,
        transfer=_unit_mean_square(transfer, data.mean_density),
        field=estimate.field / estimate.field.mean(1, keepdim=True),
        loss=loss,
    )


def network_inputs(data: Data, estimate: Estimate) -> list[Float[Tensor, "neuron time"]]:
    """What each neuron receives in each block of frames, before the modulation by Ω."""
    return [network_input(data, estimate, *place) for _, *place in data.located()]


def solve_update(
    data: Data, estimate: Estimate, drive: list[Tensor], pool: Tensor | None
) -> Float[Tensor, "neuron knot"]:
    """φ of each pool of neurons, given all else and the network inputs."""
    moment = torch.zeros_like(estimate.update)
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        rest = torch.addcmul(
            block.derivative, estimate.field[:, data.window(block)], received, value=-1
        )
        project(moment, rest - evaluate(estimate.update, left, fraction), left, fraction)
    normal = pooled(_regularised(data), pool, data.shard)
    return estimate.update + _solve(data, normal, pooled(moment, pool, data.shard))


def _solve_field(data: Data, estimate: Estimate, drive: list[Tensor]) -> Tensor:
    """Ω_i(window) = Σ_t m·(x' − φ) / Σ_t m² with m the network input; 1 elsewhere."""
    rows = data.modulated
    field = torch.ones_like(estimate.field)
    numerator, denominator = torch.zeros_like(field[rows]), torch.zeros_like(field[rows])
    for (block, left, fraction), received in zip(data.located(), drive, strict=True):
        rest = block.derivative - evaluate(estimate.update, left, fraction)
        numerator.index_add_(1, data.window(block), (rest * received)[rows])
        denominator.index_add_(1, data.window(block), (received * received)[rows])
    known = denominator > 0  # a window without sampled frames keeps its Ω
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
            back = shard.reduce_scatter(estimate.connectivity[rows].T @ error[rows])
            project(out, back, left, fraction)
    weight = estimate.connectivity**2 * (estimate.field**2).mean(1, keepdim=True)
    mean = shard.all_reduce(weight.sum()) / shard.neurons
    least = float(1e-12 * mean + 1e-30)  # a neuron that reaches no other keeps its table
    normal = _regularised(data)
    transfer = estimate.transfer.clone()
    for table, out, rows in zip(transfer, moment, estimate.receivers, strict=True):
        power = shard.reduce_scatter(weight[rows].sum(0)).clamp_min(least)[:, None, None]
        step = _solve(data, pooled(normal * power, pool, shard), pooled(out, pool, shard))
        table += RELAXATION * step
    return transfer, float(shard.all_reduce(squared)) / data.power


def _unit_mean_square(
    transfer: Float[Tensor, "group neuron knot"], density: Float[Tensor, " knot"]
) -> Float[Tensor, "group neuron knot"]:
    return transfer / (transfer**2 @ density).sqrt().clamp_min(1e-12)[..., None]


def _regularised(data: Data) -> Float[Tensor, "neuron spline spline"]:
    """Normal matrix of a table fit, with curvature and ridge where nothing is visited."""
    axis, normal = data.axis, data.normal
    if axis.splines < axis.knots:
        basis = axis.basis(normal.device).to(normal.dtype)
        normal = basis.T @ (normal @ basis)
    identity = torch.eye(axis.splines, device=normal.device)
    penalty = CURVATURE * (axis.splines / 24) ** 3 * bending(identity)
    penalty.diagonal().add_(1e-7)
    return normal + data.frames * penalty


def _solve(
    data: Data,
    normal: Float[Tensor, "neuron spline spline"],
    moment: Float[Tensor, "neuron knot"],
) -> Float[Tensor, "neuron knot"]:
    """The tables with these normal matrices."""
    if data.axis.splines == data.axis.knots:
        return torch.linalg.solve(normal, moment[..., None])[..., 0]
    basis = data.axis.basis(normal.device)
    solved = torch.linalg.solve(normal.double(), (moment.double() @ basis)[..., None])[..., 0]
    return (solved @ basis.T).to(moment.dtype)
