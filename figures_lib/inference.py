"""Inference of W*, φ*, ψ*, Ω* and the neuron types from activity alone.

Coarse to fine: sweeps of exact least squares (:mod:`figures_lib.sweeps`) first share one ψ
among all neurons, then give each neuron its own; the function shapes have by then fallen
into clusters (:mod:`figures_lib.clusters`), and the last sweeps share one φ and one ψ within
each cluster, the neuron type. The gauge is fixed (:mod:`figures_lib.gauge`) and the networks
of the model are fitted to the result (:mod:`figures_lib.fitting`). Nothing here can read the
truth: it is not an argument. Several processes share the neurons (:mod:`figures_lib.shards`).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib import fitting, gauge
from figures_lib.acceleration import accelerated_sweeps
from figures_lib.clusters import cluster_functions
from figures_lib.config import Experiment
from figures_lib.gnn import GNN
from figures_lib.health import LARGEST_LOSS, InferenceError, check_recording
from figures_lib.model import History, Model, Sweep, window_centres
from figures_lib.recording import Recording
from figures_lib.shards import Shard
from figures_lib.siren import Siren
from figures_lib.sweeps import Data, Estimate, Pools, pooled, prepare, start
from figures_lib.tables import evaluate, locate, resample, spanning
from figures_lib.windows import choose_windows, rewindow

Progress = Callable[[Sweep], None]
LEAST_FRAMES = 8192  # even a small network is given this many frames a sweep
ROUNDS = 3  # of sweeps by type; before each but the first the windows are chosen anew
REFERENCE = 1024  # unmodulated rows of W that the modulated ones are compared with


@dataclass(frozen=True)
class Stage:
    """Where inference stands after a sweep.

    Attributes:
        phase: "shared", "neuron" or "type": how many neurons share a function.
        data: the sampled frames that the sweep read.
        estimate: the unknowns after it.
        types: the type of each neuron of all shards, once they are found.
    """

    phase: str
    data: Data
    estimate: Estimate
    types: Int[Tensor, " neuron"] | None = None


def infer(
    recording: Recording,
    experiment: Experiment,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Model:
    """Infer equation (2) from a recording.

    Args:
        recording: activity and derivative, Float["time neuron"], the positions, and which
            neurons the hidden field modulates; it carries no ground truth.
        experiment: only the sections ``inference``, ``graph_network`` and ``field_network``
            and the seed are read.
        device: where the linear algebra and the training run.
        progress: called after every sweep.

    Returns:
        The model, in the gauge of :mod:`figures_lib.gauge`. Of several processes the first
        returns the whole W, the others only their own rows of it.

    Raises:
        InferenceError: a sweep or a training diverged; it holds the last good estimate.

    Source: equation (2); Figure 3 d–g and the learned functions.
    """
    settings = experiment.inference
    torch.manual_seed(experiment.seed if settings.seed is None else settings.seed)
    history: list[Sweep] = []
    last: dict[str, Stage] = {}
    for stage, sweep in reported(recording, experiment, device):
        history.append(sweep)
        if progress is not None:
            progress(sweep)
        last["single" if stage.types is None else "type"] = stage
    try:
        return _finish(recording, experiment, last["single"], last["type"], history)
    except InferenceError as error:
        raise InferenceError(str(error), _arrays(last["type"])) from None


def reported(
    recording: Recording, experiment: Experiment, device: torch.device | str = "cpu"
) -> Iterator[tuple[Stage, Sweep]]:
    """The sweeps of :func:`converge`, each with what it has to report.

    They are computed one by one as they are asked for, so whoever asks may stop at any time.

    Raises:
        InferenceError: a sweep diverged; it holds the last good estimate.
    """
    if experiment.inference.derivative == "differences":
        recording = recording.with_differences()
    check_recording(recording)
    index, last = 0, None
    try:
        started = time.perf_counter()
        for stage in converge(recording, experiment, device):
            if not stage.estimate.loss <= LARGEST_LOSS:
                raise InferenceError(f"phase {stage.phase}, loss {stage.estimate.loss:.3g}")
            yield stage, _report(stage, index, time.perf_counter() - started)
            index, last = index + 1, stage
            started = time.perf_counter()
    except (InferenceError, torch.linalg.LinAlgError) as error:
        raise InferenceError(
            f"sweep {index} diverged ({error}); look for silent or runaway neurons in the "
            "recording, or raise inference.frames_per_neuron or simulation.noise",
            None if last is None else _arrays(last),
        ) from None


def _arrays(stage: Stage) -> dict[str, Tensor]:
    """The unknowns after a sweep, to be kept if the next one fails."""
    names = ("connectivity", "update", "transfer", "field")
    found = {name: getattr(stage.estimate, name).cpu().contiguous() for name in names}
    return found | {"knots": stage.data.axis.values()}


def converge(
    recording: Recording, experiment: Experiment, device: torch.device | str = "cpu"
) -> Iterator[Stage]:
    """All sweeps, coarse to fine: the algorithm.

    Minimises Σ_t Σ_i (x'_i − φ_i(x_i) − Ω_i(t) Σ_j W_ij ψ_j(x_j))² with φ and ψ as tables and Ω
    constant in windows, by going round W, φ, Ω, ψ, each solved exactly given the others. What
    neurons share grows less, then more: one ψ for all; one φ and ψ a neuron, whose shapes
    tell the types; one φ and ψ a type, with the windows of Ω chosen anew between rounds.

    Args:
        recording: activity, derivative, positions and modulated neurons.
        experiment: ``inference`` and ``graph_network.transfer`` are read.
        device: where the linear algebra runs.
    """
    settings, neurons = experiment.inference, recording.activity.shape[1]
    frames = max(LEAST_FRAMES, round(settings.frames_per_neuron * neurons))
    windows = math.ceil(len(recording.activity) / settings.window)
    axis = spanning(recording.activity, settings.knots)
    everyone = torch.zeros(neurons, dtype=torch.long, device=device)
    shared_transfer = experiment.graph_network.transfer == "shared"

    coarse = prepare(recording, axis, frames, windows, device)
    estimate = start(coarse)
    for phase, count, pool in (
        ("shared", settings.shared_sweeps, everyone),
        ("neuron", settings.neuron_sweeps, everyone if shared_transfer else None),
    ):
        begin = estimate
        for estimate in accelerated_sweeps(coarse, begin, Pools(None, pool), count):
            yield Stage(phase, coarse, estimate)

    types = find_types(coarse, estimate, settings.max_types)
    fine = prepare(recording, axis.refine(settings.type_knots), frames, windows, device)
    pools = Pools(types, everyone if shared_transfer else types)
    estimate = share_within_types(coarse, fine, estimate, pools)
    if experiment.graph_network.transfer == "pair":
        estimate = split_receivers(estimate, types, fine.shard)
    for round_ in range(ROUNDS):
        if round_ > 0:
            fine, estimate = rewindow(fine, estimate, choose_windows(fine, estimate))
        begin = estimate
        for estimate in accelerated_sweeps(fine, begin, pools, settings.type_sweeps):
            yield Stage("type", fine, estimate, types)


def find_types(data: Data, estimate: Estimate, max_types: int) -> Int[Tensor, " sender"]:
    """The types that the per-neuron functions of all shards fall into."""
    types = cluster_functions(*_functions(data, estimate), max_types)
    return data.shard.sent(types.to(estimate.update.device), 0)


def _functions(data: Data, estimate: Estimate) -> tuple[Tensor, Tensor, Tensor]:
    """φ_i and ψ_i of the neurons of all shards at the knots, and how often each is visited."""
    whole = data.shard.whole
    return whole(estimate.update), whole(estimate.transfer[0]), whole(data.density)


def share_within_types(coarse: Data, fine: Data, estimate: Estimate, pools: Pools) -> Estimate:
    """Replace each neuron's functions by the mean of its pool, on the finer knots."""
    weight = coarse.density + 1e-4 / coarse.axis.knots

    def share(table: Tensor, pool: Tensor | None) -> Tensor:
        mean = pooled(table * weight, pool, fine.shard) / pooled(weight, pool, fine.shard)
        return resample(mean, coarse.axis, fine.axis)

    transfer = torch.stack([share(table, pools.transfer) for table in estimate.transfer])
    return replace(estimate, update=share(estimate.update, pools.update), transfer=transfer)


def split_receivers(
    estimate: Estimate, types: Int[Tensor, " sender"], shard: Shard
) -> Estimate:
    """Give every receiver type its own ψ: the variant ψ*(a_i, a_j, x_j)."""
    own = types[shard.own]
    groups = tuple((own == k).nonzero()[:, 0] for k in range(int(types.max()) + 1))
    transfer = estimate.transfer.expand(len(groups), -1, -1).clone()
    return replace(estimate, transfer=transfer, receivers=groups)


def _report(stage: Stage, index: int, seconds: float) -> Sweep:
    shard, estimate = stage.data.shard, stage.estimate
    shown = shard.whole(estimate.transfer[0])
    return Sweep(
        index=index,
        phase=stage.phase,
        loss=estimate.loss,
        seconds=seconds,
        knots=stage.data.axis.values(),
        update=shard.whole(estimate.update).cpu(),
        transfer=(shown / gauge.transfer_scale(shown)[:, None]).cpu(),
    )


def _finish(
    recording: Recording,
    experiment: Experiment,
    single: Stage,
    last: Stage,
    history: list[Sweep],
) -> Model:
    """Fix the gauge, then fit the networks to what the sweeps found."""
    assert last.types is not None
    coarse, fine, types, shard = single.data, last.data, last.types, last.data.shard
    device, config = types.device, experiment.graph_network
    functions, connectivity = _scale_transfer(recording, last, types)
    connectivity, siren = _match_rows(recording, experiment, last, connectivity)

    knots = coarse.axis.values(device)
    scale = fitting.network_scale(knots, coarse.mean_density)
    gnn = GNN(config, shard.neurons, scale, connectivity).to(device)
    embedding_steps = fitting.fit_embedding(
        config, gnn, knots, *_functions(coarse, single.estimate), shard
    )
    fitting.fit_functions(config, gnn, types, fine.axis.values(device), *functions)
    gnn.connectivity = torch.nn.Parameter(shard.collected(connectivity))
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
    )


def _scale_transfer(
    recording: Recording, stage: Stage, types: Int[Tensor, " sender"]
) -> tuple[tuple[Tensor, Tensor, Tensor], Float[Tensor, "neuron sender"]]:
    """Convention (i): the largest |ψ| of each type over its visited activity becomes 1.

    Returns φ, ψ and the density of each type at the knots, and W to go with them.
    """
    data, estimate, shard = stage.data, stage.estimate, stage.data.shard
    count = int(types.max()) + 1
    members = [int((types == k).nonzero()[0, 0]) for k in range(count)]
    visited = gauge.visited_grid(recording.activity, types.cpu()).to(types.device)
    place = locate(data.axis.coordinate(visited))
    transfer = torch.stack([shard.whole(table)[members] for table in estimate.transfer])
    connectivity = estimate.connectivity.clone()
    for table, rows in zip(transfer, estimate.receivers, strict=True):
        scale = gauge.transfer_scale(evaluate(table, *place))
        table /= scale[:, None]
        connectivity[rows] *= scale[types]
    density = shard.whole(data.density)
    means = torch.stack([density[types == k].mean(0) for k in range(count)])
    return (shard.whole(estimate.update)[members], transfer, means), connectivity


def _match_rows(
    recording: Recording, experiment: Experiment, stage: Stage, driven: Tensor
) -> tuple[Float[Tensor, "neuron sender"], Siren]:
    """Connectivity without the gain, and the field network, both in convention (ii)."""
    data, shard, rows = stage.data, stage.data.shard, stage.data.modulated
    gain = recording.gain[shard.own].to(rows.device)[:, None]
    connectivity = driven / torch.where(gain == 0, 1.0, gain)
    reference = _reference_rows(connectivity, rows, shard)
    known = rows.new_zeros(len(reference))
    scales = torch.ones_like(connectivity[:, 0])
    scales[rows] = gauge.row_scales(
        torch.cat([reference, connectivity[rows]]), torch.cat([known, rows[rows]])
    )[len(reference) :]
    field = stage.estimate.field * scales[:, None]

    inputs = shard.whole(rows)
    positions = recording.positions.to(rows.device)[inputs]
    level = shard.whole(field.clamp_min(1e-6).log().mean(1).exp())  # what tells of the scale
    factors = torch.ones_like(level)
    error = gauge.scale_error(reference, known)
    factors[inputs] = gauge.smooth_scales(positions, level[inputs, None], error)
    scales *= factors[shard.own]
    field = stage.estimate.field[rows] * scales[rows, None]

    siren = fitting.fit_field(
        experiment.field_network,
        positions,
        field,
        window_centres(data.windows).to(rows.device),
        int(inputs[: shard.first].sum()),
    )
    # a row without gain receives nothing: its weights are unknowable
    return torch.where(gain == 0, 0.0, connectivity / scales[:, None]), siren


def _reference_rows(
    connectivity: Float[Tensor, "neuron sender"], modulated: Tensor, shard: Shard
) -> Float[Tensor, "reference sender"]:
    """Some rows of W without modulation, from all shards."""
    rows = (~shard.whole(modulated)).nonzero()[:, 0]
    rows = rows[:: math.ceil(max(1, len(rows)) / REFERENCE)]
    found = connectivity.new_zeros(len(rows), shard.neurons)
    own = (rows >= shard.own.start) & (rows < shard.own.stop)
    found[own] = connectivity[rows[own] - shard.first]
    return shard.sum(found)
