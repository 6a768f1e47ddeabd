"""The measurements of the benchmark: iterations, accuracy, rates, simulators, scaling."""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.utils.benchmark.utils.timer import timer  # waits for the accelerator, if any

from figures_lib.bench.ablation import timed
from figures_lib.bench.measuring import PeakMemory, Work, exponent, interleave, ratio, spread
from figures_lib.bench.plans import Plan, experiment_of
from figures_lib.bench.rivals import RIVALS, RollOut, Start, obstacle
from figures_lib.config import Experiment
from figures_lib.infer.algorithm import converge, infer
from figures_lib.infer.heldout import sampled_frames
from figures_lib.infer.splines import spanning
from figures_lib.infer.sweep import start, sweep
from figures_lib.infer.unknowns import LEAST_FRAMES, Pools, prepare
from figures_lib.learner import GraphNetwork
from figures_lib.model.dynamics import product
from figures_lib.model.gnn import GNN
from figures_lib.model.message_passing import MessagePassingGNN
from figures_lib.recording import Recording
from figures_lib.score.scoring import gauge_free_r2, score
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.truth import draw_truth

TARGETS = (0.95, 0.99, 0.993, 0.999)  # R² of W; 0.993 is the published one
WINDOW = 100  # frames in which the field is constant
STRETCH = 500  # frames that are timed together
ROOM = 0.7  # share of the available memory that a measurement may use
VISIBLE = 2**24  # bytes: smaller peaks are hidden by what the interpreter allocates
PRODUCTS = 50  # matrix–vector products timed together: the matrix stays in the cache
STORED = 32  # stored frames per sampled frame
NO_WARM_UP: dict[str, Any] = {"simulation.warm_up": 0}
COPY = 2**25  # float32 values of the array that is copied: beyond every cache

Report = dict[str, Any]


def iterations(plan: Plan, device: str) -> list[Report]:
    """One training iteration on one frame: MLP on every edge, dense, and the sweep.

    An iteration is forward, backward and a step of Adam; a sweep reads thousands of frames
    and its time is given per frame.
    """
    return [
        _iteration(plan, neurons, transfer, device)
        for transfer, largest in (("sender", plan.iteration[-1]), ("pair", 256))
        for neurons in plan.iteration
        if neurons <= largest
    ]


def _iteration(plan: Plan, neurons: int, transfer: str, device: str) -> Report:
    config = GraphNetwork.model_validate({"transfer": transfer})
    row: Report = {"neurons": neurons, "transfer": transfer}
    hidden = 2 * (config.psi_layers - 1)  # outputs of linear layers and of ReLUs
    needed = 4 * neurons**2 * (hidden * config.width + 12)
    if reason := no_room(needed):
        return row | {"skipped": reason}
    first, second = (GNN(config, neurons).to(device) for _ in range(2))
    activity, target = torch.randn(2, 1, neurons, device=device)
    actions: dict[str, Callable[[], object]] = {
        name: partial(train_step, model, torch.optim.Adam(model.parameters()), activity, target)
        for name, model in (("edges", MessagePassingGNN(first)), ("dense", second))
    }
    frames = max(LEAST_FRAMES, 4 * neurons)
    if transfer == "sender":  # else the sweeps have no equivalent before types are known
        actions["sweep"] = sweep_action(random_recording(neurons, frames), frames, device)
        row["sweep_frames"] = frames
    seconds = dict(zip(actions, interleave(plan.repeats, *actions.values()), strict=True))
    row |= {name: spread(some) for name, some in seconds.items()}
    row["edges_over_dense"] = ratio(seconds["edges"], seconds["dense"])
    per_frame = [whole / frames for whole in seconds.pop("sweep", [])]
    if per_frame:
        row |= {f"{k}_over_sweep_frame": ratio(seconds[k], per_frame) for k in seconds}
    return row


def train_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, activity: Tensor, target: Tensor
) -> None:
    """Forward, backward and one step of the optimiser, with Ω = 1."""
    optimiser.zero_grad(set_to_none=True)
    loss = ((model(activity, torch.ones_like(activity)) - target) ** 2).mean()
    loss.backward()
    optimiser.step()


def random_recording(neurons: int, frames: int) -> Recording:
    """White noise: the duration of a sweep does not depend on the values that it reads."""
    return Recording(
        activity=torch.randn(frames, neurons),
        derivative=torch.randn(frames, neurons),
        positions=torch.rand(neurons, 2),
        modulated=torch.arange(neurons) < neurons // 2,
        gain=torch.ones(neurons),
        time_step=0.01,
    )


def sweep_action(recording: Recording, frames: int, device: str) -> Any:
    """A function that makes one sweep with one ψ per neuron and can be called repeatedly."""
    axis, windows = spanning(recording.activity, 24), math.ceil(frames / WINDOW)
    data = prepare(
        recording, axis, sampled_frames(len(recording.activity), frames), windows, device
    )
    return partial(sweep, data, start(data), Pools(None, None))


def accuracies(plan: Plan, device: str) -> Report:
    """Time until the weights reach each R², gauge-free, and the score of the final model.

    The time is that of the sweeps alone: it does not include scoring them.
    """
    curves = []
    steps = {f"{part}_network.steps": plan.network_steps for part in ("field", "graph")}
    for seed in range(plan.seeds):
        experiment = experiment_of(plan.accuracy, plan.accuracy_frames, seed=seed, **steps)
        recording, truth = simulate(experiment, device)
        curve = []
        for state, seconds in timed(converge(recording, experiment.learner, device)):
            r2 = gauge_free_r2(truth.connectivity, state.estimate.connectivity.cpu())
            curve.append({"phase": state.phase, "seconds": seconds, "r2": r2})
        curves.append(curve)
        if seed == 0:
            began = timer()
            model = infer(recording, experiment.learner, device)
            final = {"seconds": timer() - began, **score(recording, truth, model).metrics}
    return {
        "neurons": plan.accuracy,
        "frames": plan.accuracy_frames,
        "scored": "gauge-free",
        "curves": curves,
        "targets": [_reached(target, curves) for target in TARGETS],
        "final": final,
    }


def _reached(target: float, curves: list[list[Report]]) -> Report:
    times = [next((s["seconds"] for s in c if s["r2"] >= target), None) for c in curves]
    known = [seconds for seconds in times if seconds is not None]
    counts = {"seeds": len(times), "reached": len(known)}
    return {"r2": target, **counts, "seconds": spread(known) if known else None}


def rates(plan: Plan, device: str) -> Report:
    """Operations and bytes per second of sweep and simulator, against GEMM and copy."""
    neurons, frames = plan.rates, 2 * plan.rates
    action = sweep_action(random_recording(neurons, frames), frames, device)
    with Work() as sweep_work:
        action()
    square = torch.randn(neurons, neurons, device=device)
    block = torch.randn(neurons, 2048, device=device)
    vector, source = block[:, 0].contiguous(), torch.randn(COPY, device=device)
    copy = torch.empty_like(source)
    swept, multiplied, matrix_vector, copied = interleave(
        plan.repeats,
        action,
        partial(torch.mm, square, block),
        partial(_multiply, square, vector),
        partial(copy.copy_, source),
    )
    experiment = experiment_of(neurons, STRETCH * (plan.repeats + 1), **NO_WARM_UP)
    truth = draw_truth(experiment)
    with Work() as step_work:
        truth.dynamics.derivative(torch.zeros(neurons), torch.ones(neurons))
        torch.mv(truth.connectivity, torch.zeros(neurons))  # counted for NumPy's
    steps = step_seconds(experiment, device)
    matrix_vector = [seconds / PRODUCTS for seconds in matrix_vector]
    gemm = [2.0 * neurons**2 * 2048 / seconds for seconds in multiplied]
    stream = [2.0 * 4 * COPY / seconds for seconds in copied]
    return {
        "neurons": neurons,
        "frames": frames,
        "gemm_flops": spread(gemm),
        "copy_bytes": spread(stream),
        "mv_seconds": spread(matrix_vector),
        "sweep": _achieved(sweep_work, swept, gemm, stream),
        "simulator": _achieved(step_work, steps, gemm, stream)
        | {"mv_share": ratio(matrix_vector, steps)},
    }


def _multiply(matrix: Tensor, vector: Tensor) -> None:
    for _ in range(PRODUCTS):
        product(matrix, vector)


def _achieved(
    work: Work, seconds: list[float], gemm: list[float], stream: list[float]
) -> Report:
    """Rates of a piece of work, in absolute terms and relative to GEMM and copy."""
    flops, traffic = ([amount / s for s in seconds] for amount in (work.flops, work.bytes))
    return {
        "flop": work.flops,
        "bytes": work.bytes,
        "seconds": spread(seconds),
        "flops": spread(flops),
        "bytes_per_second": spread(traffic),
        "flops_over_gemm": ratio(flops, gemm),
        "bytes_over_copy": ratio(traffic, stream),
    }


def step_seconds(experiment: Experiment, device: str) -> list[float]:
    """Duration of a step of the simulator, once per stretch except the first [s]."""
    marks: list[tuple[int, float]] = []

    def mark(done: int, total: int) -> None:
        if done % STRETCH == 0:
            marks.append((done, timer()))

    simulate(experiment, device, mark)
    steps, seconds = torch.tensor(marks, dtype=torch.double).diff(dim=0).T
    return (seconds / steps).tolist()


def simulators(plan: Plan) -> list[Report]:
    """A step of ours against a step of each rival, on the CPU, noise-free, constant field."""
    rows = []
    for neurons in plan.rivals:
        experiment, start_state = common_start(neurons, 3 * STRETCH)
        for name, build in RIVALS.items():
            row: Report = {"neurons": neurons, "rival": name}
            if reason := obstacle(name):
                row["skipped"] = reason
            else:
                ours, theirs = _race(plan, experiment, build(start_state))
                row |= {"ours": spread(ours), "theirs": spread(theirs)}
                row["ratio"] = ratio(theirs, ours)
            rows.append(row)
    return rows


def common_start(neurons: int, frames: int, **changes: Any) -> tuple[Experiment, Start]:
    """An experiment that every simulator can run, and the state from which it starts."""
    common = NO_WARM_UP | {"simulation.noise": 0.0, "external_input.images": 1}
    experiment = experiment_of(neurons, frames, **common, **changes)
    short = experiment.simulation.model_copy(update={"frames": 2})
    recording, truth = simulate(experiment.model_copy(update={"simulation": short}))
    field = torch.ones(neurons)
    field[recording.modulated] = truth.field[0]
    return experiment, Start(truth, recording.activity[0], field, recording.time_step)


def _race(
    plan: Plan, experiment: Experiment, roll_out: RollOut
) -> tuple[list[float], list[float]]:
    """Seconds per step of ours and of a rival, by turns; the first round is a warm-up."""
    ours, theirs = [], []
    for _ in range(plan.repeats + 1):
        steps = step_seconds(experiment, "cpu")
        ours.append(sum(steps) / len(steps))
        began = timer()
        roll_out(plan.rival_steps)
        theirs.append((timer() - began) / plan.rival_steps)
    return ours[1:], theirs[1:]


def scaling(plan: Plan, device: str) -> Report:
    """Time and memory of a sweep and time of a simulated step against N, and against T."""
    frames, middle = plan.scaling_frames, plan.scaling[1]
    by_neurons = [_sized(neurons, frames, device, simulated=True) for neurons in plan.scaling]
    by_frames = [_sized(middle, length, device, simulated=False) for length in plan.lengths]
    return {
        "by_neurons": by_neurons,
        "by_frames": by_frames,
        "exponents": {
            "sweep_seconds_neurons": _fit(by_neurons, "neurons", "sweep_seconds"),
            "step_seconds_neurons": _fit(by_neurons, "neurons", "step_seconds"),
            "memory_neurons": _fit(by_neurons, "neurons", "memory_bytes", VISIBLE),
            "sweep_seconds_frames": _fit(by_frames, "frames", "sweep_seconds"),
            "memory_frames": _fit(by_frames, "frames", "memory_bytes", VISIBLE),
        },
    }


def _sized(neurons: int, frames: int, device: str, simulated: bool) -> Report:
    row: Report = {"neurons": neurons, "frames": frames}
    if reason := no_room(4 * (12 * neurons**2 + 40 * neurons * frames)):
        return row | {"skipped": reason}
    with PeakMemory() as peak:
        action = sweep_action(random_recording(neurons, frames), frames, device)
        (seconds,) = interleave(2, action)
    row |= {"sweep_seconds": min(seconds), "memory_bytes": peak.bytes}
    if simulated:
        experiment = experiment_of(neurons, 3 * STRETCH, **NO_WARM_UP)
        row["step_seconds"] = min(step_seconds(experiment, device))
    return row


def _fit(rows: list[Report], size: str, value: str, least: int = 0) -> float | None:
    """Fitted exponent over the rows measured above a least value; None for too few rows."""
    known = [row for row in rows if row.get(value, 0) > least]
    if len(known) < 2:
        return None
    return exponent([row[size] for row in known], [row[value] for row in known])


def streaming(plan: Plan, device: str) -> Report:
    """Memory needed to sample a recording: held in memory, and mapped from disk."""
    neurons, sampled = plan.rates, plan.scaling_frames
    frames, windows = STORED * sampled, math.ceil(STORED * sampled / WINDOW)
    chosen = sampled_frames(frames, sampled)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with PeakMemory() as held:
            recording = random_recording(neurons, frames)
            axis = spanning(recording.activity[:sampled], 24)
            prepare(recording, axis, chosen, windows, device)
        recording.save(folder)
        del recording
        with PeakMemory() as mapped:
            prepare(Recording.load(folder), axis, chosen, windows, device)
    return {
        "neurons": neurons,
        "frames": frames,
        "sampled_frames": sampled,
        "recording_bytes": 2 * 4 * neurons * frames,
        "held_bytes": held.bytes,
        "mapped_bytes": mapped.bytes,
    }


def no_room(needed: int) -> str | None:
    """Why something that needs so many bytes is skipped, or None."""
    available = psutil.virtual_memory().available
    if needed <= ROOM * available:
        return None
    return f"needs {needed / 1e9:.1f} GB of {available / 1e9:.1f} GB available"
