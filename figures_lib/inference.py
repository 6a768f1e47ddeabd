"""Inference of W*, φ*, ψ*, Ω* and the neuron types from activity alone.

Coarse to fine: sweeps of exact least squares (:mod:`figures_lib.sweeps`) first share one ψ
among all neurons, then give each neuron its own; the function shapes have by then fallen
into clusters (:mod:`figures_lib.clusters`), and the last sweeps share one φ and one ψ within
each cluster, the neuron type. The gauge is fixed (:mod:`figures_lib.gauge`) and the networks
of the model are fitted to the result (:mod:`figures_lib.fitting`). Nothing here can read the
truth: it is not an argument.
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
from figures_lib.model import History, Model, Sweep, window_centres
from figures_lib.recording import Recording
from figures_lib.siren import Siren
from figures_lib.sweeps import Data, Estimate, Pools, pooled, prepare, start
from figures_lib.tables import evaluate, locate, resample, spanning
from figures_lib.windows import choose_windows, rewindow

Progress = Callable[[Sweep], None]
LEAST_FRAMES = 8192  # even a small network is given this many frames a sweep
ROUNDS = 3  # of sweeps by type; before each but the first the windows are chosen anew


class InferenceError(RuntimeError):
    """Inference stopped because the estimate diverged; the message says where and why."""


@dataclass(frozen=True)
class Stage:
    """Where inference stands after a sweep.

    Attributes:
        phase: "shared", "neuron" or "type": how many neurons share a function.
        data: the sampled frames that the sweep read.
        estimate: the unknowns after it.
        types: the type of each neuron, once they are found.
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
        The model, in the gauge of :mod:`figures_lib.gauge`.

    Raises:
        InferenceError: a sweep produced non-finite values.

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
    return _finish(recording, experiment, last["single"], last["type"], history)


def reported(
    recording: Recording, experiment: Experiment, device: torch.device | str = "cpu"
) -> Iterator[tuple[Stage, Sweep]]:
    """The sweeps of :func:`converge`, each with what it has to report.

    They are computed one by one as they are asked for, so whoever asks may stop at any time.

    Raises:
        InferenceError: a sweep produced non-finite values.
    """
    if experiment.inference.derivative == "differences":
        recording = recording.with_differences()
    started = time.perf_counter()
    for index, stage in enumerate(converge(recording, experiment, device)):
        if not math.isfinite(stage.estimate.loss):
            raise InferenceError(
                f"sweep {index} ({stage.phase}) gave non-finite values: look for silent "
                "or runaway neurons in the recording, or raise inference.frames_per_neuron"
            )
        yield stage, _report(stage, index, time.perf_counter() - started)
        started = time.perf_counter()


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
    each = torch.arange(neurons, device=device)
    shared_transfer = experiment.graph_network.transfer == "shared"

    coarse = prepare(recording, axis, frames, windows, device)
    estimate = start(coarse)
    for phase, count, pool in (
        ("shared", settings.shared_sweeps, everyone),
        ("neuron", settings.neuron_sweeps, everyone if shared_transfer else each),
    ):
        begin = estimate
        for estimate in accelerated_sweeps(coarse, begin, Pools(each, pool), count):
            yield Stage(phase, coarse, estimate)

    types = find_types(coarse, estimate, settings.max_types)
    fine = prepare(recording, axis.refine(settings.type_knots), frames, windows, device)
    pools = Pools(types, everyone if shared_transfer else types)
    estimate = share_within_types(coarse, fine, estimate, pools)
    if experiment.graph_network.transfer == "pair":
        estimate = split_receivers(estimate, types)
    for round_ in range(ROUNDS):
        if round_ > 0:
            fine, estimate = rewindow(fine, estimate, choose_windows(fine, estimate))
        begin = estimate
        for estimate in accelerated_sweeps(fine, begin, pools, settings.type_sweeps):
            yield Stage("type", fine, estimate, types)


def find_types(data: Data, estimate: Estimate, max_types: int) -> Int[Tensor, " neuron"]:
    """The types that the per-neuron functions fall into."""
    shapes = (estimate.update, estimate.transfer[0], data.density)
    types = cluster_functions(*shapes, max_types)
    return types.to(estimate.update.device)


def share_within_types(coarse: Data, fine: Data, estimate: Estimate, pools: Pools) -> Estimate:
    """Replace each neuron's functions by the mean of its pool, on the finer knots."""
    weight = coarse.density + 1e-4 / coarse.axis.knots

    def share(table: Tensor, pool: Tensor) -> Tensor:
        mean = pooled(table * weight, pool) / pooled(weight, pool)
        return resample(mean, coarse.axis, fine.axis)

    transfer = torch.stack([share(table, pools.transfer) for table in estimate.transfer])
    return replace(estimate, update=share(estimate.update, pools.update), transfer=transfer)


def split_receivers(estimate: Estimate, types: Int[Tensor, " neuron"]) -> Estimate:
    """Give every receiver type its own ψ: the variant ψ*(a_i, a_j, x_j)."""
    groups = tuple((types == k).nonzero()[:, 0] for k in range(int(types.max()) + 1))
    transfer = estimate.transfer.expand(len(groups), -1, -1).clone()
    return replace(estimate, transfer=transfer, receivers=groups)


def _report(stage: Stage, index: int, seconds: float) -> Sweep:
    shown = stage.estimate.transfer[0]
    return Sweep(
        index=index,
        phase=stage.phase,
        loss=stage.estimate.loss,
        seconds=seconds,
        knots=stage.data.axis.values(),
        update=stage.estimate.update.cpu(),
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
    coarse, fine, types = single.data, last.data, last.types
    device, config = types.device, experiment.graph_network
    estimate, members = _scale_transfer(recording, fine, last.estimate, types)
    connectivity, siren = _match_rows(recording, experiment, fine, estimate)

    knots = coarse.axis.values(device)
    scale = fitting.network_scale(knots, coarse.density.mean(0))
    gnn = GNN(config, len(types), scale).to(device)
    embedding_steps = fitting.fit_embedding(
        config, gnn, knots, single.estimate.update, single.estimate.transfer[0], coarse.density
    )
    fitting.fit_functions(
        config,
        gnn,
        types,
        fine.axis.values(device),
        estimate.update[members],
        estimate.transfer[:, members],
        torch.stack([fine.density[types == types[j]].mean(0) for j in members]),
    )
    with torch.no_grad():
        gnn.connectivity.copy_(connectivity)
    return Model(
        gnn=gnn.cpu(),
        siren=siren.cpu(),
        types=types.cpu(),
        positions=recording.positions,
        modulated=recording.modulated,
        frames=recording.activity.shape[0],
        windows=fine.windows,
        loss=estimate.loss,
        history=History(tuple(history), embedding_steps.cpu()),
    )


def _scale_transfer(
    recording: Recording, data: Data, estimate: Estimate, types: Int[Tensor, " neuron"]
) -> tuple[Estimate, list[int]]:
    """Convention (i): the largest |ψ| of each type over its visited activity becomes 1.

    Returns the scaled estimate and one member of each type.
    """
    members = [int((types == k).nonzero()[0, 0]) for k in range(int(types.max()) + 1)]
    visited = gauge.visited_grid(recording.activity, types.cpu()).to(types.device)
    place = locate(data.axis.coordinate(visited))
    transfer, connectivity = estimate.transfer.clone(), estimate.connectivity.clone()
    for table, rows in zip(transfer, estimate.receivers, strict=True):
        scale = gauge.transfer_scale(evaluate(table[members], *place))[types]
        table /= scale[:, None]
        connectivity[rows] *= scale
    return replace(estimate, transfer=transfer, connectivity=connectivity), members


def _match_rows(
    recording: Recording, experiment: Experiment, data: Data, estimate: Estimate
) -> tuple[Float[Tensor, "neuron neuron"], Siren]:
    """Connectivity without the gain, and the field network, both in convention (ii)."""
    rows = data.modulated
    gain = recording.gain.to(rows.device)[:, None]
    connectivity = estimate.connectivity / torch.where(gain == 0, 1.0, gain)
    scales = gauge.row_scales(connectivity, rows)
    if rows.all() and rows.numel():  # nothing to compare with: the mean of Ω is 1 instead
        scales = torch.ones_like(scales)
    positions = recording.positions.to(rows.device)[rows]
    field = (estimate.field * scales[:, None])[rows]
    error = gauge.scale_error(connectivity, rows)
    scales[rows] *= gauge.smooth_scales(positions, field, error)
    field = (estimate.field * scales[:, None])[rows]
    times = window_centres(data.windows).to(rows.device)
    siren = fitting.fit_field(experiment.field_network, positions, field, times)
    # a row without gain receives nothing: its weights are unknowable
    return torch.where(gain == 0, 0.0, connectivity / scales[:, None]), siren
