"""Inference of W*, φ*, ψ*, Ω* and the neuron types from activity alone.

Coarse to fine: sweeps of alternating least squares (:mod:`figures_lib.infer.sweep`) first share
one ψ among all neurons, then give each neuron its own. By then the shapes of the functions fall
into clusters (:mod:`figures_lib.infer.neuron_types`), the neuron types, and the last sweeps
share one φ and one ψ within each type. At the end the gauge is fixed and the networks of the
model are fitted (:mod:`figures_lib.infer.assembly`). Nothing here can read the truth: a
:class:`~figures_lib.recording.Recording` and a :class:`~figures_lib.learner.Learner` are all
that inference receives. Several processes can share the neurons
(:mod:`figures_lib.infer.shards`).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer import gauge
from figures_lib.infer.anderson import accelerated_sweeps
from figures_lib.infer.assembly import assemble, functions_of_neurons
from figures_lib.infer.diagnosis import LARGEST_LOSS, check_recording
from figures_lib.infer.neuron_types import cluster_functions
from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import resample, spanning
from figures_lib.infer.sweep import start
from figures_lib.infer.unknowns import Data, Estimate, Pools, State, pooled, prepare
from figures_lib.infer.windows import choose_windows, rewindow
from figures_lib.learner import Inference, Learner
from figures_lib.model.inferred import Model, SweepReport
from figures_lib.recording import Recording

Progress = Callable[[SweepReport], None]
LEAST_FRAMES = 8192  # frames per sweep even for a small network
ROUNDS = 3  # of sweeps by type; the windows are chosen again before the 2nd and the 3rd


def infer(
    recording: Recording,
    learner: Learner,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Model:
    """Infer equation (2) from a recording.

    Args:
        recording: activity and derivative, Float["time neuron"], the positions, and which
            neurons the hidden field modulates; it carries no ground truth.
        learner: how to infer; like the recording, it carries no ground truth.
        device: where the linear algebra and the training run.
        progress: called after every sweep.

    Returns:
        The model, in the gauge of :mod:`figures_lib.infer.gauge`. With several processes, the
        first returns the complete W, the others only their own rows.

    Raises:
        InferenceError: a sweep or a training diverged; the error holds the last good estimate.

    Source: equation (2); Figure 3 d–g and the learned functions.
    """
    torch.manual_seed(learner.seed)
    history: list[SweepReport] = []
    last: dict[str, State] = {}
    for state, sweep in reported(recording, learner, device):
        history.append(sweep)
        if progress is not None:
            progress(sweep)
        last["single" if state.types is None else "type"] = state
    try:
        return assemble(recording, learner, last["single"], last["type"], history)
    except InferenceError as error:
        raise InferenceError(str(error), _arrays(last["type"])) from None


def reported(
    recording: Recording, learner: Learner, device: torch.device | str = "cpu"
) -> Iterator[tuple[State, SweepReport]]:
    """Yield the state after each sweep of :func:`converge`, with its report.

    A sweep is computed only when the next state is requested, so the caller may stop after any.

    Raises:
        InferenceError: a sweep diverged; the error holds the last good estimate.
    """
    if learner.inference.derivative == "differences":
        recording = recording.with_differences()
    check_recording(recording)
    index, last = 0, None
    try:
        started = time.perf_counter()
        for state in converge(recording, learner, device):
            if not state.estimate.loss <= LARGEST_LOSS:
                raise InferenceError(f"phase {state.phase}, loss {state.estimate.loss:.3g}")
            yield state, _report(state, index, time.perf_counter() - started)
            index, last = index + 1, state
            started = time.perf_counter()
    except (InferenceError, torch.linalg.LinAlgError) as error:
        raise InferenceError(
            f"sweep {index} diverged ({error}); check the recording for silent or diverging "
            "neurons, or raise inference.frames_per_neuron or simulation.noise",
            None if last is None else _arrays(last),
        ) from None


def _arrays(state: State) -> dict[str, Tensor]:
    """The unknowns after a sweep, to be kept if the next one fails."""
    names = ("connectivity", "update", "transfer", "field")
    found = {name: getattr(state.estimate, name).cpu().contiguous() for name in names}
    return found | {"knots": state.data.axis.values()}


def converge(
    recording: Recording, learner: Learner, device: torch.device | str = "cpu"
) -> Iterator[State]:
    """All sweeps, coarse to fine: the algorithm.

    Minimises Σ_t Σ_i (x'_i − φ_i(x_i) − Ω_i(t) Σ_j W_ij ψ_j(x_j))² with φ and ψ as tables and Ω
    constant in windows, by alternating least squares: W, φ, Ω and ψ are solved for in turn, the
    others held fixed. At first all neurons share one ψ. Then each neuron has its own φ and ψ,
    whose shapes reveal the types. Finally each type has one φ and one ψ, and the windows of Ω
    are chosen again between rounds.

    Args:
        recording: activity, derivative, positions and modulated neurons.
        learner: ``inference`` and ``graph_network.transfer`` are read.
        device: where the linear algebra runs.
    """
    settings, neurons = learner.inference, recording.activity.shape[1]
    frames = frames_per_sweep(settings, neurons)
    windows = math.ceil(len(recording.activity) / settings.window)
    axis = spanning(recording.activity, settings.knots)
    everyone = torch.zeros(neurons, dtype=torch.long, device=device)
    shared_transfer = learner.graph_network.transfer == "shared"

    coarse = prepare(recording, axis, frames, windows, device)
    estimate = start(coarse)
    for phase, count, pool in (
        ("shared", settings.shared_sweeps, everyone),
        ("neuron", settings.neuron_sweeps, everyone if shared_transfer else None),
    ):
        begin = estimate
        for estimate in accelerated_sweeps(coarse, begin, Pools(None, pool), count):
            yield State(phase, coarse, estimate)

    types = find_types(coarse, estimate, settings.max_types)
    fine = prepare(recording, axis.refine(settings.type_knots), frames, windows, device)
    pools = Pools(types, everyone if shared_transfer else types)
    estimate = share_within_types(coarse, fine, estimate, pools)
    if learner.graph_network.transfer == "pair":
        estimate = split_receivers(estimate, types, fine.shard)
    for round_ in range(ROUNDS):
        if round_ > 0:
            fine, estimate = rewindow(fine, estimate, choose_windows(fine, estimate))
        begin = estimate
        for estimate in accelerated_sweeps(fine, begin, pools, settings.type_sweeps):
            yield State("type", fine, estimate, types)


def frames_per_sweep(settings: Inference, neurons: int) -> int:
    """About how many frames a sweep reads; all of them if the recording has fewer."""
    return max(LEAST_FRAMES, round(settings.frames_per_neuron * neurons))


def find_types(data: Data, estimate: Estimate, max_types: int) -> Int[Tensor, " sender"]:
    """Cluster the functions of the neurons of all shards into types."""
    types = cluster_functions(*functions_of_neurons(data, estimate), max_types)
    return data.shard.broadcast(types.to(estimate.update.device), 0)


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


def _report(state: State, index: int, seconds: float) -> SweepReport:
    shard, estimate = state.data.shard, state.estimate
    shown = shard.all_gather(estimate.transfer[0])
    return SweepReport(
        index=index,
        phase=state.phase,
        loss=estimate.loss,
        seconds=seconds,
        knots=state.data.axis.values(),
        update=shard.all_gather(estimate.update).cpu(),
        transfer=(shown / gauge.transfer_scale(shown)[:, None]).cpu(),
    )
