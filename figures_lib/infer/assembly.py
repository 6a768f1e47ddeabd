"""From the sweeps to the model: fix the gauge, then fit the networks."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.infer import fit_networks, gauge
from figures_lib.infer.field_scales import smooth_scales
from figures_lib.infer.pooling import functions_of_neurons, mean
from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import evaluate, locate, resample
from figures_lib.infer.unknowns import State, means_of_types
from figures_lib.learner import Learner
from figures_lib.model.gnn import GNN
from figures_lib.model.inferred import History, Model, SweepReport
from figures_lib.model.siren import Siren, window_centres
from figures_lib.recording import Recording

REFERENCE = 1024  # unmodulated rows of W, at most, that set the scale of the modulated ones


def assemble(
    recording: Recording,
    learner: Learner,
    single: State,
    last: State,
    history: list[SweepReport],
) -> Model:
    """Fix the gauge, then fit the networks to the result of the sweeps.

    Args:
        recording: activity, positions, modulated neurons and gain are read.
        learner: the networks and their training.
        single: state after the last sweep with one φ and one ψ per neuron.
        last: state after the last sweep, with the types.
        history: reports of all sweeps.

    Raises:
        InferenceError: the training of a network diverged.
    """
    coarse, fine, shard = single.data, last.data, last.data.shard
    device, config = last.estimate.update.device, learner.graph_network
    each = torch.arange(shard.neurons, device=device)  # if no neurons are alike
    types = each if last.types is None else last.types
    functions, connectivity = scale_transfer(recording, last, types)
    connectivity, siren = match_rows(recording, learner, last, connectivity)

    knots = coarse.axis.values(device)
    scale = fit_networks.network_scale(knots, coarse.mean_density)
    gnn = GNN(config, shard.neurons, scale, connectivity).to(device)
    if last.types is None:
        update, transfer, density = functions
        tables, steps = (update, transfer[0], density), config.steps
    else:
        update, transfer, _ = functions
        common = (
            resample(table[types], fine.axis, coarse.axis) for table in (update, transfer[0])
        )
        alone = functions_of_neurons(coarse, single.estimate)
        tables, steps = like_common(*alone, *common), config.steps // 3
    every = coarse.axis.knots // coarse.axis.splines  # the networks need no more
    update, transfer, visits = (table[:, ::every] for table in tables)
    few = config.model_copy(update={"steps": max(1, steps)})
    embedding_steps = fit_networks.fit_embedding(
        few, gnn, knots[::every], update, transfer, visits, shard
    )
    if last.types is not None:
        fit_networks.fit_functions(config, gnn, types, fine.axis.values(device), *functions)
    gnn.connectivity = torch.nn.Parameter(shard.gather(connectivity))
    return Model(
        gnn=gnn.cpu(),
        siren=siren.cpu(),
        types=types.cpu(),
        positions=recording.positions,
        modulated=recording.modulated,
        frames=recording.activity.shape[0],
        windows=fine.windows,
        loss=last.estimate.loss,
        history=History(tuple(history), embedding_steps.cpu()),
        continuum=last.types is None,
    )


def scale_transfer(
    recording: Recording, state: State, types: Int[Tensor, " sender"]
) -> tuple[tuple[Tensor, Tensor, Tensor], Float[Tensor, "neuron sender"]]:
    """Convention (i): ψ of each type is scaled to a largest magnitude of 1 where it is visited.

    Returns:
        φ, ψ and the density of each type at the knots; and W, scaled inversely.
    """
    data, estimate, shard = state.data, state.estimate, state.data.shard
    count = int(types.max()) + 1
    members = [int((types == k).nonzero()[0, 0]) for k in range(count)]
    visited = gauge.visited_grid(recording.activity, types.cpu()).to(types.device)
    place = locate(data.axis.coordinate(visited))
    transfer = torch.stack([shard.all_gather(table)[members] for table in estimate.transfer])
    connectivity = estimate.connectivity.clone()
    for table, rows in zip(transfer, estimate.receivers, strict=True):
        scale = gauge.transfer_scale(evaluate(table, *place))
        table /= scale[:, None]
        connectivity[rows] *= scale[types]
    density = shard.all_gather(data.density)
    means = means_of_types(density, types)
    return (shard.all_gather(estimate.update)[members], transfer, means), connectivity


def match_rows(
    recording: Recording, learner: Learner, state: State, driven: Tensor
) -> tuple[Float[Tensor, "neuron sender"], Siren]:
    """Connectivity without the gain, and the field network, both in convention (ii)."""
    data, shard, rows = state.data, state.data.shard, state.data.modulated
    gain = recording.gain[shard.own].to(rows.device)[:, None]
    connectivity = driven / torch.where(gain == 0, 1.0, gain)
    reference = reference_rows(connectivity, rows, shard)
    known = rows.new_zeros(len(reference))
    scales = torch.ones_like(connectivity[:, 0])
    scales[rows] = gauge.row_scales(
        torch.cat([reference, connectivity[rows]]), torch.cat([known, rows[rows]])
    )[len(reference) :]
    field = state.estimate.field * scales[:, None]

    inputs = shard.all_gather(rows)
    positions = recording.positions.to(rows.device)[inputs]
    factors = torch.ones_like(inputs, dtype=field.dtype)
    error = gauge.scale_error(reference, known)
    factors[inputs] = smooth_scales(positions, shard.all_gather(field)[inputs], error)
    scales *= factors[shard.own]
    field = state.estimate.field[rows] * scales[rows, None]

    siren = fit_networks.fit_field(
        learner.field_network,
        positions,
        field,
        window_centres(torch.arange(data.windows, device=rows.device), data.windows),
        int(inputs[: shard.first].sum()),
    )
    # a neuron without gain receives nothing: its row of W cannot be inferred
    return torch.where(gain == 0, 0.0, connectivity / scales[:, None]), siren


def reference_rows(
    connectivity: Float[Tensor, "neuron sender"], modulated: Tensor, shard: Shard
) -> Float[Tensor, "reference sender"]:
    """Some rows of W without modulation, from all shards."""
    rows = (~shard.all_gather(modulated)).nonzero()[:, 0]
    rows = rows[:: math.ceil(max(1, len(rows)) / REFERENCE)]
    found = connectivity.new_zeros(len(rows), shard.neurons)
    own = (rows >= shard.own.start) & (rows < shard.own.stop)
    found[own] = connectivity[rows[own] - shard.first]
    return shard.all_reduce(found)


def like_common(
    update: Float[Tensor, "neuron knot"],
    transfer: Float[Tensor, "neuron knot"],
    visits: Float[Tensor, "neuron knot"],
    common_update: Float[Tensor, "neuron knot"],
    common_transfer: Float[Tensor, "neuron knot"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Functions of single neurons with the level and scale of those of their types.

    Alone, φ_i is known but for a constant, and ψ_i but for a constant and a factor.

    Returns:
        φ, ψ and how often each neuron visits each knot.
    """
    shape, wanted = (table - mean(table, visits) for table in (transfer, common_transfer))
    size, wanted_size = (
        mean(table**2, visits).sqrt().clamp_min(1e-30) for table in (shape, wanted)
    )
    sign = torch.where(mean(shape * wanted, visits) < 0, -1.0, 1.0)
    return (
        update + mean(common_update - update, visits),
        mean(common_transfer, visits) + sign * wanted_size / size * shape,
        visits,
    )
