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
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib import fitting, gauge
from figures_lib.clusters import cluster_functions
from figures_lib.config import Experiment
from figures_lib.gnn import GNN
from figures_lib.model import History, Model, Sweep
from figures_lib.recording import Recording
from figures_lib.siren import Siren
from figures_lib.sweeps import Data, Estimate, Pools, pooled, prepare, start, sweep
from figures_lib.tables import evaluate, locate, resample, spanning

Progress = Callable[[Sweep], None]
LEAST_FRAMES = 8192  # even a small network is given this many frames a sweep


class InferenceError(RuntimeError):
    """Inference stopped because the estimate diverged; the message says where and why."""


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
    torch.manual_seed(experiment.seed)
    settings, history = experiment.inference, []
    neurons = recording.activity.shape[1]
    frames = max(LEAST_FRAMES, round(settings.frames_per_neuron * neurons))
    axis = spanning(recording.activity, settings.knots)
    everyone = torch.zeros(neurons, dtype=torch.long, device=device)
    each = torch.arange(neurons, device=device)
    shared_transfer = experiment.graph_network.transfer == "shared"

    coarse = prepare(recording, axis, frames, settings.window, device)
    estimate = start(coarse)
    for phase, count, pool in (
        ("shared", settings.shared_sweeps, everyone),
        ("neuron", settings.neuron_sweeps, everyone if shared_transfer else each),
    ):
        pools = Pools(each, pool)
        estimate = _run(coarse, estimate, pools, phase, count, history, progress)
    single = estimate
    types = find_types(coarse, estimate, settings.max_types)

    fine = prepare(recording, axis.refine(settings.type_knots), frames, settings.window, device)
    pools = Pools(types, everyone if shared_transfer else types)
    estimate = share_within_types(coarse, fine, estimate, pools)
    if experiment.graph_network.transfer == "pair":
        estimate = split_receivers(estimate, types)
    estimate = _run(fine, estimate, pools, "type", settings.type_sweeps, history, progress)
    return _finish(recording, experiment, coarse, single, fine, estimate, types, history)


def find_types(data: Data, estimate: Estimate, max_types: int) -> Int[Tensor, " neuron"]:
    """The types that the per-neuron functions fall into."""
    density = data.density.mean(0)
    types = cluster_functions(estimate.update, estimate.transfer[0], density, max_types)
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


def _run(
    data: Data,
    estimate: Estimate,
    pools: Pools,
    phase: str,
    count: int,
    history: list[Sweep],
    progress: Progress | None,
) -> Estimate:
    for _ in range(count):
        started = time.perf_counter()
        estimate = sweep(data, estimate, pools)
        if not math.isfinite(estimate.loss):
            raise InferenceError(
                f"sweep {len(history)} ({phase}) gave non-finite values: look for silent or "
                "runaway neurons in the recording, or raise inference.frames_per_neuron"
            )
        shown = estimate.transfer[0]
        report = Sweep(
            index=len(history),
            phase=phase,
            loss=estimate.loss,
            seconds=time.perf_counter() - started,
            knots=data.axis.values(),
            update=estimate.update.cpu(),
            transfer=(shown / gauge.transfer_scale(shown)[:, None]).cpu(),
        )
        history.append(report)
        if progress is not None:
            progress(report)
    return estimate


def _finish(
    recording: Recording,
    experiment: Experiment,
    coarse: Data,
    single: Estimate,
    fine: Data,
    estimate: Estimate,
    types: Int[Tensor, " neuron"],
    history: list[Sweep],
) -> Model:
    """Fix the gauge, then fit the networks to what the sweeps found."""
    device, config = types.device, experiment.graph_network
    estimate, members = _scale_transfer(recording, fine, estimate, types)
    connectivity, siren = _match_rows(recording, experiment, estimate)

    knots = coarse.axis.values(device)
    scale = fitting.network_scale(knots, coarse.density.mean(0))
    gnn = GNN(config, len(types), scale).to(device)
    embedding_steps = fitting.fit_embedding(
        config, gnn, knots, single.update, single.transfer[0], coarse.density
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
    gain = recording.gain.to(device)[:, None]
    with torch.no_grad():  # a row without gain receives nothing: its weights are unknowable
        gnn.connectivity.copy_(torch.where(gain == 0, 0.0, connectivity / gain))
    return Model(
        gnn=gnn.cpu(),
        siren=siren.cpu(),
        types=types.cpu(),
        positions=recording.positions,
        modulated=recording.modulated,
        frames=recording.activity.shape[0],
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
    recording: Recording, experiment: Experiment, estimate: Estimate
) -> tuple[Float[Tensor, "neuron neuron"], Siren]:
    """Convention (ii), and the field network.

    The scale of a row is known from its N weights to √(2/N) only. The field network is
    smooth in space, so it averages these independent errors over neighbours; each row then
    takes the scale at which its own Ω agrees best with the network.
    """
    rows = recording.modulated.to(estimate.field.device)
    scales = gauge.row_scales(estimate.connectivity, rows)
    if rows.all() and rows.numel():  # nothing to compare with: the mean of Ω is 1 instead
        scales = torch.ones_like(scales)
    field = (estimate.field * scales[:, None])[rows]
    windows = field.shape[1]
    window, frames = experiment.inference.window, recording.activity.shape[0]
    starts = torch.arange(windows, device=field.device) * window
    times = (starts + (starts + window).clamp(max=frames) - 1) / (2 * frames)
    positions = recording.positions.to(field.device)[rows]
    siren = fitting.fit_field(experiment.field_network, positions, field, times)
    if rows.any():
        with torch.no_grad():
            smooth = torch.stack(
                [siren(torch.cat([positions, t.expand(len(positions), 1)], 1)) for t in times],
                1,
            )
        scales[rows] *= (smooth * field).sum(1) / (field * field).sum(1)
    return estimate.connectivity / scales[:, None], siren
