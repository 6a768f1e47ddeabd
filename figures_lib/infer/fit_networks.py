"""Fitting the networks of the model to what the sweeps found.

The sweeps leave tables: φ_i and ψ_j on knots of activity and Ω_i on windows of time. The
networks of equation (2) are regressed on them: the MLPs φ*(a_i, x) and ψ*(a_j, x)
with an embedding a_i for each neuron, and the SIREN Ω*(x, y, t). The recording is not read
again, so a step takes milliseconds. Several processes draw the same batches; each computes its
share of a batch, and the gradients are summed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from figures_lib.infer.diagnosis import check_training
from figures_lib.infer.muon import Muon
from figures_lib.infer.shards import Shard
from figures_lib.infer.unknowns import means_of_types
from figures_lib.learner import FieldNetwork, GraphNetwork
from figures_lib.model.cuda_graph import gradients
from figures_lib.model.gnn import GNN
from figures_lib.model.siren import Siren
from figures_lib.model.threads import one_thread

SNAPSHOTS = 9  # of the embeddings, kept for the figure
FIRST_BATCH = 0.5  # points of the first steps of the SIREN, relative to the last ones
STAGES = 8  # in which their number grows
MEMORY = 20  # steps from which L-BFGS learns the curvature
EMBEDDING_RATE = 10.0  # learning rate of a_i relative to that of the MLPs


def fit_embedding(
    config: GraphNetwork,
    gnn: GNN,
    knots: Float[Tensor, " knot"],
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    density: Float[Tensor, "neuron knot"],
    shard: Shard,
) -> Float[Tensor, "step neuron embedding"]:
    """Learn a_i, φ* and ψ* from the functions of every single neuron.

    Args:
        config: steps, neurons per step and learning rate.
        gnn: trained in place.
        knots: activity at the knots.
        update: φ_i at the knots.
        transfer: ψ_i at the knots.
        density: weight of each knot for each neuron.
        shard: determines the share of a batch that this process computes.

    Returns:
        Snapshots of all embeddings, from the initial to the final one.

    Raises:
        InferenceError: the training diverged.
    """
    networks = [*gnn.phi.parameters(), *gnn.psi.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": networks},
        {"params": [gnn.embedding], "lr": EMBEDDING_RATE * config.learning_rate},
    ]
    optimiser = torch.optim.Adam(groups, lr=config.learning_rate)
    steps = config.steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    kept = snapshot_steps(steps)
    snapshots = []
    neurons = len(update)
    spread = [
        (density * f**2).sum(1).mean().sqrt().clamp_min(1e-12) for f in (update, transfer)
    ]
    size = min(config.batch, neurons)

    def misfit(chosen: Tensor) -> Tensor:
        x = knots.expand(len(chosen), -1)
        embedding = gnn.embedding[chosen]
        errors = [
            (gnn.update_function(embedding, x) - update[chosen]) / spread[0],
            (_transfer(gnn, embedding, x) - transfer[chosen]) / spread[1],
        ]
        squares = [(density[chosen] * error**2).sum() for error in errors]
        return torch.stack(squares).sum() / size

    example = torch.arange(size, device=knots.device)[shard.rank :: shard.ranks]
    descend = gradients(misfit, [*networks, gnn.embedding], [example])
    for step in range(steps + 1):
        if step in kept:
            snapshots.append(gnn.embedding.detach().clone())
        batch = torch.randint(neurons, (size,), device=knots.device)
        loss = descend(batch[shard.rank :: shard.ranks])
        _step([optimiser], [schedule], shard)
        check_training("graph_network", step, steps + 1, loss)
    return torch.stack(snapshots)


def snapshot_steps(steps: int) -> set[int]:
    """Steps after which the embeddings are kept: evenly spread in their logarithm."""
    return {round((steps + 1) ** (k / (SNAPSHOTS - 1))) - 1 for k in range(SNAPSHOTS)}


@one_thread()
def fit_functions(
    config: GraphNetwork,
    gnn: GNN,
    types: Int[Tensor, " neuron"],
    knots: Float[Tensor, " knot"],
    update: Float[Tensor, "type knot"],
    transfer: Float[Tensor, "group type knot"],
    density: Float[Tensor, "type knot"],
) -> None:
    """Refit φ* and ψ* to the functions of the types, a_i being shared within each type.

    The targets are a few exact curves. Adam comes near them; from there L-BFGS, which learns
    how the loss is curved, is ten times as accurate in the same time.

    Args:
        config: steps and learning rate.
        gnn: trained in place; every a_i is replaced by the mean of its type first.
        types: type found for each neuron.
        knots: activity at the knots.
        update: φ_k at the knots.
        transfer: ψ_k at the knots; one group, or one per receiver type.
        density: weight of each knot for each type.

    Raises:
        InferenceError: the training diverged.
    """
    with torch.no_grad():
        centres = means_of_types(gnn.embedding, types)
        gnn.embedding.copy_(centres[types])
    networks = [*gnn.phi.parameters(), *gnn.psi.parameters()]
    x = knots.expand(len(update), -1)
    weight = density + 0.02 / len(knots)  # a floor: rare activities are fitted too
    spread = [
        (density * f**2).sum(-1).mean().sqrt().clamp_min(1e-12) for f in (update, transfer)
    ]
    pairs = len(transfer) > 1

    def misfit() -> Tensor:
        error = (gnn.update_function(centres, x) - update) / spread[0]
        total = (weight * error**2).sum(1).mean()
        for group, target in enumerate(transfer):
            receiver = centres[group].expand_as(centres) if pairs else None
            error = (_transfer(gnn, centres, x, receiver) - target) / spread[1]
            total = total + (weight * error**2).sum(1).mean() / len(transfer)
        return total

    steps = max(1, config.steps // 3)
    optimiser = torch.optim.Adam(networks, lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    alone = Shard(len(types))  # few tables: all processes fit them, with equal results
    descend = gradients(misfit, networks)
    for step in range(steps):
        loss = descend()
        _step([optimiser], [schedule], alone)
        check_training("graph_network", step, steps, loss)
    refine(networks, misfit, config.steps)


def refine(
    parameters: Sequence[torch.nn.Parameter], misfit: Callable[[], Tensor], steps: int
) -> None:
    """Follow L-BFGS, with all data in every step; keep the start if that is no better.

    Args:
        parameters: changed in place.
        misfit: the loss as a function of them, without noise.
        steps: iterations, at most.
    """
    start = parameters_to_vector(parameters).detach()
    sizes = [parameter.numel() for parameter in parameters]
    descend = gradients(misfit, parameters)

    @torch.no_grad()
    def move(vector: Tensor) -> None:
        for parameter, part in zip(parameters, vector.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))

    def evaluated(values: ndarray) -> tuple[float, ndarray]:
        move(torch.from_numpy(values).to(start))
        loss = descend()
        gradient = parameters_to_vector([parameter.grad for parameter in parameters])
        return float(loss), gradient.double().cpu().numpy()

    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY, "ftol": 0, "gtol": 0}
    first = start.double().cpu().numpy()
    # its vectors are short: on a busy machine a second thread takes ten times as long to answer
    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        found = minimize(evaluated, first, jac=True, method="L-BFGS-B", options=options)
    before, _ = evaluated(first)
    best = torch.from_numpy(found.x).to(start) if found.fun <= before else start
    move(best)


def fit_field(
    config: FieldNetwork,
    positions: Float[Tensor, "input 2"],
    field: Float[Tensor, "own window"],
    times: Float[Tensor, " window"],
    first: int = 0,
) -> Siren:
    """Train the field network on Ω of every modulated neuron and window.

    Args:
        config: the network, steps, points per step and learning rate.
        positions: (x, y) of the modulated neurons of all shards.
        field: Ω_i in each window for the neurons of this process, dimensionless.
        times: centre of each window as a fraction of the recording.
        first: index among all modulated neurons of the first one of this process.

    Returns:
        The trained SIREN.

    Raises:
        InferenceError: the training diverged.

    Source: equation (2); Sitzmann et al. 2020 for the network.
    """
    siren = Siren(config).to(field.device)
    entry, *later = siren.hidden
    inner = [parameter for layer in later for parameter in layer.parameters()]
    matrices = [parameter for parameter in inner if parameter.ndim == 2]
    others = [parameter for parameter in inner if parameter.ndim == 1]
    others += [*entry.parameters(), *siren.output.parameters()]
    # Muon orthogonalises the step of a square matrix, so that all its directions learn at the
    # same speed: the fine detail of the movie arrives in half the steps that Adam takes.
    optimisers = [
        Muon(matrices, config.learning_rate),
        torch.optim.Adam(others, lr=config.learning_rate),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            config.learning_rate,
            total_steps=config.steps + 1,
            pct_start=0.05,
            cycle_momentum=False,
        )
        for optimiser in optimisers
    ]
    shard = Shard.here(len(positions))
    alone = shard.ranks == 1

    def misfit(size: int, points: Tensor, target: Tensor) -> Tensor:
        return ((siren(points) - target) ** 2).sum() / size

    steps = config.steps if len(positions) else 0
    every = len(positions) * len(times)
    for size, own in _growing(min(config.batch, every), steps):
        example = field.new_zeros(size, 3), field.new_zeros(size)
        sized = partial(misfit, size)
        descend = gradients(sized, list(siren.parameters()), example, capture=alone)
        for step in own:
            row = torch.randint(len(positions), (size,), device=field.device)
            window = torch.randint(len(times), (size,), device=field.device)
            if not alone:
                here = (row >= first) & (row < first + len(field))
                row, window = row[here], window[here]
            points = torch.cat([positions[row], times[window, None]], 1)
            loss = descend(points, field[row - first, window])
            _step(optimisers, schedules, shard)
            check_training("field_network", step, steps, loss)
    return siren


def _growing(largest: int, steps: int) -> Iterator[tuple[int, range]]:
    """Points per step and the steps that have so many: coarse steps need fewer."""
    for stage in range(STAGES):
        share = FIRST_BATCH ** (1 - (stage + 1) / STAGES)
        own = range(steps * stage // STAGES, steps * (stage + 1) // STAGES)
        if own:
            yield math.ceil(largest * share), own


def _transfer(gnn: GNN, sender: Tensor, x: Tensor, receiver: Tensor | None = None) -> Tensor:
    """ψ* of a sender; without a receiver, the pair variant takes the sender as both."""
    if gnn.config.transfer != "pair":
        return gnn.transfer_function(sender, x)
    return gnn.transfer_function(sender, x, receiver=sender if receiver is None else receiver)


def _step(
    optimisers: Sequence[torch.optim.Optimizer],
    schedules: Sequence[torch.optim.lr_scheduler.LRScheduler],
    shard: Shard,
) -> None:
    """One step of the optimisers along the summed gradient of all processes."""
    if shard.ranks > 1:
        _sum_gradients(optimisers, shard)
    for optimiser, schedule in zip(optimisers, schedules, strict=True):
        optimiser.step()
        schedule.step()


def _sum_gradients(optimisers: Sequence[torch.optim.Optimizer], shard: Shard) -> None:
    """Sum the gradients over the processes, in one all_reduce for all parameters."""
    gradients = [
        parameter.grad
        for optimiser in optimisers
        for group in optimiser.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    joint = shard.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, total in zip(gradients, joint.split(sizes), strict=True):
        gradient.copy_(total.view_as(gradient))


def network_scale(knots: Float[Tensor, " knot"], density: Float[Tensor, " knot"]) -> float:
    """Root mean square activity: the unit in which the MLPs see x."""
    return math.sqrt(float((knots**2 * density).sum() / density.sum()))
