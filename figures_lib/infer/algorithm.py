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

import copy
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer import gauge, projection
from figures_lib.infer.anderson import accelerated_sweeps
from figures_lib.infer.assembly import assemble
from figures_lib.infer.descent import Frames, judged, train
from figures_lib.infer.diagnosis import LARGEST_LOSS, check_recording, diagnose, resolution
from figures_lib.infer.examine import examine
from figures_lib.infer.gradient import by_gradient
from figures_lib.infer.heldout import choice_frames, sampled_frames
from figures_lib.infer.neuron_types import find_types, without_strays, worse
from figures_lib.infer.pooling import functions_of, home_groups, share_functions
from figures_lib.infer.projection import (
    LARGEST_NETWORK,
    affordable,
    best_windows,
    entanglement,
    projected_steps,
    solve_receivers,
)
from figures_lib.infer.receiver_groups import receiver_groups
from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import Axis, resample, smooth, spanning
from figures_lib.infer.standard_errors import false_positives, standard_errors
from figures_lib.infer.sweep import network_inputs, solve_update, start
from figures_lib.infer.unknowns import (
    Data,
    Estimate,
    Pools,
    State,
    frames_per_sweep,
    prepare,
    residual_by_neuron,
    residual_by_run,
    unexplained,
)
from figures_lib.infer.windows import choose_windows, likely_windows, rewindow
from figures_lib.learner import Inference, Learner
from figures_lib.model.inferred import Errors, Model, SweepReport
from figures_lib.recording import Recording

logger = logging.getLogger(__name__)

Progress = Callable[[SweepReport], None]
Trial = Callable[[Int[Tensor, " sender"]], Iterator[State]]
ROUNDS = 2  # of sweeps by type; the windows are chosen again before the second, longer one
LONGER = 3  # times as many sweeps, at most, in the last round
CHECKS = 5  # by held-out frames while the networks are trained on frames
FAST, SLOW = 1e-3, 3e-4  # learning rates of that training
MISSED = 0.01  # share of the variance of x' that networks may miss beyond the tables
WINDOW_ROUNDS = 3  # times that windows are chosen before the types are known, at most
MORE = 4  # times as many windows may be chosen as there were
SWEEPS = 5  # with one ψ, where the network is too large for Gauss–Newton steps
PATIENCE = 10  # sweeps with one ψ per neuron; who asks for fewer wants no steps after them
CREEPING = (1e-3, 0.5)  # shares of the variance of x': sweeps that leave so much creep
FINE = 5e-7  # share of the variance of x': sweeps that leave less are the last ones
UNCHANGED = 1e-3  # share of the loss: sweeps that change it by less, twice, are the last ones
UPDATES = 3  # times that shared φ are solved for in turn with the receivers
ENTANGLED = 10.0  # median variance inflation factor from which sweeps would creep
NEGLIGIBLE = 2e-6  # share of the variance of x': tables are no better than that
HOPELESS = 100.0  # times the loss of neurons alone, after a first step: too few types
LEVEL = 0.05  # of the test of weights whose senders are shifted
CLEARLY = 0.5  # share of the residual: types that leave less are not tried any finer


def infer(
    recording: Recording,
    learner: Learner,
    device: torch.device | str = "cpu",
    progress: Progress = lambda report: None,
    folder: Path | None = None,
) -> Model:
    """Infer equation (2) from a recording.

    Args:
        recording: activity and derivative, Float["time neuron"], the positions, and which
            neurons the hidden field modulates; it carries no ground truth.
        learner: how to infer; like the recording, it carries no ground truth.
        device: where the linear algebra and the training run.
        progress: called after every sweep, and at regular steps of a training.
        folder: for checkpoints, from which a training goes on, and for its log; without one,
            nothing is written.

    Returns:
        The model, in the gauge of :mod:`figures_lib.infer.gauge`. With several processes, the
        first returns the complete W, the others only their own rows.

    Raises:
        InferenceError: a sweep or a training diverged; the error holds the last good estimate.

    Source: equation (2); Figure 3 d–g and the learned functions.
    """
    torch.manual_seed(learner.seed)
    recording = regressed_on(recording, learner)
    check_recording(recording)
    method = METHODS[learner.inference.method]
    model, last = method(recording, learner, device, progress, folder)
    evidence = examine(recording, model, last)
    model = replace(model, diagnosis=diagnose(recording, evidence))
    if learner.inference.errors:
        model = replace(model, errors=errors_of(recording, model, last))
    return model


def errors_of(recording: Recording, model: Model, last: State) -> Errors | None:
    """The errors of the weights of a model, in its gauge; None if they cannot be found.

    Those of senders that cannot be distinguished from others are 0: they are not known.

    Args:
        recording: what the model was inferred from.
        model: the result.
        last: the state that it was made of; its weights differ by the gauge alone.
    """
    try:
        errors = standard_errors(last)
        if errors is None:
            return None
        by_chance = false_positives(last, LEVEL)
    except (InferenceError, torch.linalg.LinAlgError) as error:
        logger.warning("the errors of the weights are not known: %s", error)
        return None
    gauged, weights = model.gnn.connectivity.detach().cpu(), last.estimate.connectivity.cpu()
    scale = torch.where(weights == 0, 0.0, (gauged / weights).abs())
    scale[:, resolution(recording).unresolved] = 0
    return Errors(scale * errors.cpu(), by_chance)


def by_sweeps(
    recording: Recording,
    learner: Learner,
    device: torch.device | str,
    progress: Progress,
    folder: Path | None,
) -> tuple[Model, State]:
    """Alternating least squares, then the networks: the method ``sweeps``."""
    history: list[SweepReport] = []
    last: dict[str, State] = {}
    for state, sweep in reported(recording, learner, device):
        history.append(sweep)
        progress(sweep)
        last["final"] = state
        if state.types is None:
            last["single"] = state
    try:
        model = assemble(recording, learner, last["single"], last["final"], history)
        model = trained_on_frames(recording, learner, model, device)
    except InferenceError as error:
        raise InferenceError(str(error), _arrays(last["final"])) from None
    return model, last["final"]


def trained_on_frames(
    recording: Recording, learner: Learner, model: Model, device: torch.device | str
) -> Model:
    """The model after its networks have been trained on frames, with W and Ω as they are.

    The networks were fitted to tables. Here they follow the gradient of the residual in x'
    itself; the best ones by held-out frames are kept, so that these are explained no worse. It
    takes longer if there are no types, where the embeddings move with the networks, and where
    the networks still miss much: where activities hardly vary, x' does so even less than φ.
    """
    graph, shard = learner.graph_network, Shard.here(len(model.types))
    if graph.transfer == "pair" or shard.neurons > LARGEST_NETWORK:
        return model  # it would take too long: every pair, or hundreds of millions of weights
    network = copy.deepcopy(model.joint(recording.gain)).to(device)
    network.fix_field()
    frames = Frames.of(recording, model.history.sweeps[-1].knots, device)
    unknowns = ("functions", "embedding") if model.continuum else ("functions",)

    def train_on(steps: int, rate: float) -> None:
        rates = {"checks": CHECKS, "function_rate": rate, "embedding_rate": 5 * rate}
        settings = learner.training.model_copy(update=rates)
        before = copy.deepcopy(network.state_dict())
        try:
            train(network, frames, settings, steps, seed=learner.seed, unknowns=unknowns)
        except InferenceError as error:  # W is found: what was fitted before is kept
            logger.warning("the networks stay as they were fitted to tables: %s", error)
            network.load_state_dict(before)

    if shard.rank == 0:  # the only one with all of W
        if model.continuum:
            train_on(max(1, graph.steps // 2), FAST)
        else:
            train_on(max(1, graph.steps // 60), SLOW)
        if float(judged(network, frames).mean()) > model.loss + MISSED:
            train_on(graph.steps, FAST)
    gnn = network.gnn
    for parameter in (gnn.embedding, *gnn.phi.parameters(), *gnn.psi.parameters()):
        parameter.data = shard.broadcast(parameter.data, 0)
    return replace(model, gnn=gnn.cpu())


METHODS = {"sweeps": by_sweeps, "gradient": by_gradient}


def regressed_on(recording: Recording, learner: Learner) -> Recording:
    """The recording with the derivative that the learner asks for."""
    if learner.inference.derivative == "differences":
        return recording.with_differences()
    return recording


def reported(
    recording: Recording, learner: Learner, device: torch.device | str = "cpu"
) -> Iterator[tuple[State, SweepReport]]:
    """Yield the state after each sweep of :func:`converge`, with its report.

    A sweep is computed only when the next state is requested, so the caller may stop after any.
    The derivative is regressed on as it is; see :func:`regressed_on`.

    Raises:
        InferenceError: a sweep diverged; the error holds the last good estimate.
    """
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
    """All steps, coarse to fine: the algorithm.

    Minimises Σ_t Σ_i (x'_i − φ_i(x_i) − Ω_i(t) Σ_j W_ij ψ_j(x_j))² with φ and ψ as tables and Ω
    constant in windows. First all neurons share one ψ, found by variable projection. Then each
    neuron has its own φ and ψ, and the windows of Ω are chosen. If neurons are alike, each type
    has one φ and one ψ at last, provided that held-out frames are explained as well by them,
    and those of a few among many become a type of their own if that explains far more. If one
    type is assumed, all neurons share both from the start. Where ψ may depend on the
    receiver, groups of receivers are tried as well, and kept if they explain held-out frames
    better.

    Args:
        recording: activity, derivative, positions and modulated neurons.
        learner: ``inference`` and ``graph_network.transfer`` are read.
        device: where the linear algebra runs.
    """
    settings, (total, neurons) = learner.inference, recording.activity.shape
    sampled = sampled_frames(total, frames_per_sweep(settings, neurons))
    axis = spanning(recording.activity[sampled], settings.knots)
    windows = math.ceil(total / settings.window)
    data = prepare(recording, axis, sampled, windows, device)
    state = State("shared", data, start(data))
    state = yield from kept(_share_transfer(state, settings), state)
    joint = neurons <= LARGEST_NETWORK and (
        entanglement(state.data, state.estimate) > ENTANGLED
    )
    if joint:
        data = prepare(recording, smooth(axis, axis.knots, neurons), sampled, windows, device)
        state = replace(state, data=data, estimate=resampled(state.estimate, axis, data.axis))
    fine = axis.refine(settings.type_knots)
    if joint:
        fine = smooth(axis, settings.type_knots, neurons)
    if settings.types == "one":
        data = prepare(recording, fine, sampled, windows, device)
        yield from _by_type(state, data, _everyone(data), learner, joint)
        return
    single = yield from kept(_by_neuron(state, learner, joint), state)
    alone = residual_by_run(_judging(recording, single, device), single.estimate)
    if learner.graph_network.transfer == "pair":
        groups = receiver_groups(state.data, state.estimate, settings.max_types)
        if groups is not None:
            apart = replace(state, estimate=groups)
            apart = yield from kept(_by_neuron(apart, learner, joint), apart)
            left = residual_by_run(_judging(recording, apart, device), apart.estimate)
            if left.sum() < alone.sum():
                single, alone = apart, left
            else:
                yield single
    data = prepare(recording, fine, sampled, single.data.windows, device)
    trial = partial(_by_type, single, data, learner=learner, joint=joint)
    judging = partial(_judging, recording, device=device)
    pooled = yield from _likely_types(single, alone, trial, judging, settings.max_types)
    if pooled is None:
        yield replace(single, phase="alone")
    else:
        yield from _with_small_types(single, pooled, trial, judging, settings.max_types)


def _likely_types(
    single: State,
    alone: Float[Tensor, " run"],
    trial: Trial,
    judging: Callable[[State], Data],
    most: int,
) -> Generator[State, None, State | None]:
    """The likeliest types that explain held-out frames as well as every neuron by itself.

    Args:
        single: every neuron has its own functions.
        alone: what these leave of the frames that judge.
        trial: the states in which given types share their functions.
        judging: the frames that judge a state.
        most: types.

    Returns:
        The last state of these types; none if no types pass.
    """
    best: tuple[State, Tensor] | None = None
    for alternatives in find_types(single.data, single.estimate, most):
        started = [trial(types) for types in alternatives]
        begun = [(next(states), states) for states in started]
        for state, rest in sorted(begun, key=lambda one: one[0].estimate.loss):
            yield state
            if state.estimate.loss > HOPELESS * max(single.estimate.loss, NEGLIGIBLE):
                break
            state = yield from kept(rest, state)
            judge = judging(state)
            left = residual_by_run(judge, state.estimate)
            least = alone if best is None else best[1]
            if not worse(left, least, negligible=NEGLIGIBLE * judge.power):
                best = state, left
                break
        if best is not None and best[1].sum() < CLEARLY * alone.sum():
            break
    return None if best is None else best[0]


def _with_small_types(
    single: State,
    state: State,
    trial: Trial,
    judging: Callable[[State], Data],
    most: int,
) -> Iterator[State]:
    """Part types whose functions are wrong for a few of their neurons.

    Held-out frames of all neurons together hardly notice these; their own do. What is parted
    has to explain all frames better by more than chance. The last state is the best.

    Args:
        single: every neuron has its own functions.
        state: types share them.
        trial: the states in which given types share their functions.
        judging: the frames that judge a state.
        most: types.
    """
    shard = single.data.shard
    judge = judging(single)
    alone = shard.all_gather(residual_by_neuron(judge, single.estimate))
    alone = alone.clamp_min(NEGLIGIBLE * judge.power / shard.neurons)
    functions = functions_of(single.data, single.estimate)
    tried = state
    while True:
        assert state.types is not None
        judge = judging(state)
        left = shard.all_gather(residual_by_neuron(judge, state.estimate))
        types = without_strays(functions, state.types, left, alone, most)
        if types is None:
            break
        tried = yield from kept(trial(types), state)
        parted = residual_by_run(judging(tried), tried.estimate)
        if not worse(residual_by_run(judge, state.estimate), parted):
            break
        state = tried
    if tried is not state:
        yield state


def _judging(recording: Recording, state: State, device: torch.device | str) -> Data:
    """The frames that judge choices, on the knots and in the windows of a state."""
    frames = choice_frames(len(recording.activity))
    return prepare(recording, state.data.axis, frames, state.data.windows, device)


def kept(states: Iterator[State], state: State) -> Generator[State, None, State]:
    """Pass all states on; the value is the last one, or the one before if there are none."""
    for after in states:
        yield after
        state = after
    return state


def _share_transfer(state: State, settings: Inference) -> Iterator[State]:
    """One ψ for all neurons."""
    data, pools = state.data, Pools(None, _everyone(state.data))
    if data.shard.neurons > LARGEST_NETWORK:
        count = min(SWEEPS, settings.shared_sweeps)
        estimates = accelerated_sweeps(data, state.estimate, pools, count)
    else:
        most = settings.shared_sweeps
        estimates = projected_steps(data, state.estimate, pools, most, projection.SETTLED)
    for estimate in estimates:
        yield State("shared", data, estimate)


def _by_neuron(state: State, learner: Learner, joint: bool) -> Iterator[State]:
    """Each neuron its own φ and, unless all share it, ψ; then the windows of Ω."""
    settings, data = learner.inference, state.data
    shared = learner.graph_network.transfer == "shared"
    pools = Pools(None, _everyone(data) if shared else None)

    def states(estimates: Iterator[Estimate]) -> Iterator[State]:
        return (State("neuron", data, estimate) for estimate in estimates)

    if not joint:
        rest = _solve_rest(data, state.estimate, pools, settings.neuron_sweeps, joint)
        state = yield from kept(states(rest), state)
        joint = settings.neuron_sweeps >= PATIENCE and not shared and _creeping(state)
    if joint:
        if not shared and affordable(data.shard.neurons, data.axis.splines):
            steps = projected_steps(data, state.estimate, pools, settings.shared_sweeps)
            state = yield from kept(states(steps), state)
        rest = _solve_rest(data, state.estimate, pools, 1, joint)
        state = yield from kept(states(rest), state)
    for _ in range(1 + WINDOW_ROUNDS):
        windows = _windows(data, state.estimate, pools, joint)
        if windows == data.windows:
            break
        data, estimate = rewindow(data, state.estimate, windows)
        state = State("neuron", data, estimate)
        rest = _solve_rest(data, state.estimate, pools, settings.neuron_sweeps // 3, joint)
        state = yield from kept(states(rest), state)
    yield state


def _creeping(state: State) -> bool:
    """Whether sweeps with one ψ per neuron were cut off, and steps in all ψ go on from there.

    It takes sweeps very long where windows of Ω do not yet coincide with the images of a movie:
    the modulated neurons mislead them. The steps use the others as far as they suffice.
    """
    least, most = CREEPING
    neurons, knots = state.data.shard.neurons, state.data.axis.splines
    small = neurons <= LARGEST_NETWORK and affordable(neurons, knots)
    return small and least < state.estimate.loss < most


def _by_type(
    single: State, data: Data, types: Int[Tensor, " sender"], learner: Learner, joint: bool
) -> Iterator[State]:
    """One φ and one ψ per type, on finer knots; the windows are chosen again between rounds."""
    settings = learner.inference
    shared = learner.graph_network.transfer == "shared"
    pools = Pools(types, _everyone(data) if shared else types)
    estimate = share_functions(single.data, data, single.estimate, pools)
    if learner.graph_network.transfer == "pair":
        estimate = split_receivers(estimate, types, data.shard)
    state = State("type", data, estimate, types)

    def states(estimates: Iterator[Estimate]) -> Iterator[State]:
        return (replace(state, data=data, estimate=estimate) for estimate in estimates)

    for round_ in range(ROUNDS):
        if round_ > 0:
            windows = _windows(data, state.estimate, pools, joint)
            data, estimate = rewindow(data, state.estimate, windows)
            state = replace(state, data=data, estimate=estimate)
        if joint:
            most = settings.shared_sweeps if round_ == ROUNDS - 1 else settings.type_sweeps
            steps = projected_steps(data, state.estimate, pools, most)
            state = yield from kept(states(steps), state)
        count = settings.type_sweeps * (1 if round_ < ROUNDS - 1 else LONGER)
        rest = _solve_rest(data, state.estimate, pools, count, joint)
        state = yield from kept(states(rest), state)


def _solve_rest(
    data: Data, estimate: Estimate, pools: Pools, count: int, joint: bool
) -> Iterator[Estimate]:
    """All unknowns of all receivers: by sweeps or, where these would creep, at once.

    The latter is repeated for φ, which types share, as long as it changes the loss.
    """
    if not joint:
        yield from until_settled(accelerated_sweeps(data, estimate, pools, count))
        return
    for _ in range(1 if pools.update is None else UPDATES):
        estimate = solve_receivers(data, estimate, pools)
        if pools.update is not None:  # the receivers of the steps do not visit all activities
            drive = network_inputs(data, estimate)
            update = solve_update(data, estimate, drive, pools.update)
            estimate = replace(estimate, update=update)
        before, loss = estimate.loss, unexplained(data, estimate)
        estimate = replace(estimate, loss=loss)
        yield estimate
        if abs(before - loss) < UNCHANGED * before:
            return


def until_settled(estimates: Iterator[Estimate]) -> Iterator[Estimate]:
    """Sweeps until the loss is tiny, or two in succession hardly change it."""
    loss, settled = math.inf, False
    for estimate in estimates:
        yield estimate
        before, loss = loss, estimate.loss
        settled, already = abs(loss - before) < UNCHANGED * loss, settled
        if loss <= FINE or (settled and already):
            return


def _windows(data: Data, estimate: Estimate, pools: Pools, joint: bool) -> int:
    """The number of windows that the frames call for."""
    most = MORE * data.windows
    if not joint:
        return choose_windows(data, estimate, most)
    likely = likely_windows(data, estimate, most)
    return likely[0] if len(likely) == 1 else best_windows(data, estimate, pools, likely)


def _everyone(data: Data) -> Int[Tensor, " sender"]:
    return torch.zeros(data.shard.neurons, dtype=torch.long, device=data.normal.device)


def resampled(estimate: Estimate, old: Axis, new: Axis) -> Estimate:
    """The same functions on the knots of another axis."""
    transfer = torch.stack([resample(table, old, new) for table in estimate.transfer])
    return replace(estimate, update=resample(estimate.update, old, new), transfer=transfer)


def split_receivers(
    estimate: Estimate, types: Int[Tensor, " sender"], shard: Shard
) -> Estimate:
    """Give every receiver type its own ψ: the variant ψ*(a_i, a_j, x_j).

    It starts from the one that most receivers of the type have heard so far.
    """
    own, home = types[shard.own], home_groups(estimate, types, shard)
    groups = tuple((own == k).nonzero()[:, 0] for k in range(len(home)))
    return replace(estimate, transfer=estimate.transfer[home], receivers=groups)


def _report(state: State, index: int, seconds: float) -> SweepReport:
    shard, estimate = state.data.shard, state.estimate
    shown, visits = (shard.all_gather(x) for x in (estimate.transfer[0], state.data.density))
    return SweepReport(
        index=index,
        phase=state.phase,
        loss=estimate.loss,
        seconds=seconds,
        knots=state.data.axis.values(),
        update=shard.all_gather(estimate.update).cpu(),
        transfer=(shown / gauge.transfer_scale(shown, visits)[:, None]).cpu(),
    )
