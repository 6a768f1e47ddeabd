"""What each idea of the inference buys: the same problem solved with and without it.

Every function returns plain rows for the benchmark's JSON. The truth is read here, because
each comparison holds fixed what it does not compare, and for scoring.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib import gauge
from figures_lib.config import Experiment, GraphNetwork
from figures_lib.gnn import GNN
from figures_lib.inference import LEAST_FRAMES, find_types, share_within_types
from figures_lib.measuring import interleave, ratio, spread
from figures_lib.recording import Recording, Truth
from figures_lib.scoring import fit_line, match_types
from figures_lib.sweeps import Data, Estimate, Pools, prepare, start, sweep
from figures_lib.tables import Axis, evaluate, locate, spanning

ADAM_BATCH = 256  # frames a step
ADAM_LOOKS = 12  # scores along a descent, at geometrically spaced steps
ROUNDS = 10  # alternating regressions that find the gauge-free scales

Row = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """The estimate after one sweep.

    Attributes:
        phase: "shared", "neuron" or "type", as in :mod:`figures_lib.inference`.
        data: what the sweep read.
        estimate: its result.
        types: the types found, once they are.
        seconds: time spent since the start of the inference, without that of the caller [s].
    """

    phase: str
    data: Data
    estimate: Estimate
    types: Int[Tensor, " neuron"] | None
    seconds: float


def staged(
    recording: Recording, experiment: Experiment, device: str = "cpu"
) -> Iterator[Stage]:
    """The sweeps of :func:`figures_lib.inference.infer`, one at a time.

    The schedule is that of the sender variant ψ*(a_j, x_j); the gauge and the networks, which
    come after the last sweep, are left out.
    """
    settings, neurons = experiment.inference, recording.activity.shape[1]
    frames = max(LEAST_FRAMES, round(settings.frames_per_neuron * neurons))
    each = torch.arange(neurons, device=device)
    spent, started = 0.0, time.perf_counter()
    axis = spanning(recording.activity, settings.knots)
    coarse = prepare(recording, axis, frames, settings.window, device)
    data, estimate, types = coarse, start(coarse), None
    phases = (
        ("shared", settings.shared_sweeps, Pools(each, torch.zeros_like(each))),
        ("neuron", settings.neuron_sweeps, Pools(each, each)),
        ("type", settings.type_sweeps, None),
    )
    for phase, count, pools in phases:
        if pools is None:
            types = find_types(coarse, estimate, settings.max_types)
            pools = Pools(types, types)
            data = prepare(
                recording, axis.refine(settings.type_knots), frames, settings.window, device
            )
            estimate = share_within_types(coarse, data, estimate, pools)
        for _ in range(count):
            estimate = sweep(data, estimate, pools)
            spent += time.perf_counter() - started
            yield Stage(phase, data, estimate, types, spent)
            started = time.perf_counter()


def gauge_free_r2(
    true: Float[Tensor, "neuron neuron"], learned: Float[Tensor, "neuron neuron"]
) -> float:
    """R² of the weights after the row and column scales that fit the truth best."""
    true, scaled = true.double(), learned.double()
    for _ in range(ROUNDS):
        for dim in (0, 1):
            scaled = scaled * _scales(true, scaled, dim)
    return fit_line(true, scaled)[0]


def _scales(true: Tensor, learned: Tensor, dim: int) -> Tensor:
    power = (learned**2).sum(dim, keepdim=True).clamp_min(1e-30)
    return (true * learned).sum(dim, keepdim=True) / power


def connectivity_solvers(recording: Recording, truth: Truth, steps: int) -> list[Row]:
    """W by least squares and by AdamW, with ψ, φ and Ω given; three kinds of data.

    "plenty": four frames a neuron. "scarce": half a frame a neuron, fewer equations than
    unknowns. "noisy": four frames a neuron, but the rate of change from finite differences,
    whose error is that of the noise, σ/Δt a sample.
    """
    neurons = recording.activity.shape[1]
    total = len(recording.activity) - 1
    differences = recording.activity.diff(dim=0) / recording.time_step
    rows = []
    for data, share, slopes in (
        ("plenty", 4.0, recording.derivative[:-1]),
        ("scarce", 0.5, recording.derivative[:-1]),
        ("noisy", 4.0, differences),
    ):
        frames = torch.linspace(0, total - 1, min(total, round(share * neurons))).long()
        messages, target = _linear_problem(recording, truth, frames, slopes)
        started = time.perf_counter()
        solved = _least_squares(messages, target)
        seconds = time.perf_counter() - started
        rows.append(
            {
                "data": data,
                "frames": len(frames),
                "least_squares": {"seconds": seconds, "r2": _r2(truth, solved)},
                "adam": _descend(messages, target, truth, steps),
            }
        )
    return rows


def _r2(truth: Truth, weights: Tensor) -> float:
    return fit_line(truth.connectivity, weights)[0]


def _linear_problem(
    recording: Recording, truth: Truth, frames: Int[Tensor, " frame"], slopes: Tensor
) -> tuple[Float[Tensor, "neuron frame"], Float[Tensor, "neuron frame"]]:
    """ψ_j(x_j) and (x'_i − φ_i)/(g_i·Ω_i) of the true model."""
    x = recording.activity[frames].T
    transfer, update = torch.empty_like(x), torch.empty_like(x)
    for k in range(len(truth.neuron_types)):
        rows = truth.types == k
        grid = x[rows].reshape(1, -1).expand(len(truth.neuron_types), -1)
        transfer[rows] = truth.transfer(grid)[k].reshape(x[rows].shape)
        update[rows] = truth.update(grid)[k].reshape(x[rows].shape)
    field = torch.ones_like(x)
    field[recording.modulated] = truth.field_at(frames).T
    target = (slopes[frames].T - update) / (field * recording.gain[:, None])
    return transfer, target


def _least_squares(messages: Tensor, target: Tensor) -> Float[Tensor, "neuron neuron"]:
    gram = messages @ messages.T
    gram.diagonal().add_(1e-6 * gram.diagonal().mean())
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(messages @ target.T, factor).T.fill_diagonal_(0)


def _descend(messages: Tensor, target: Tensor, truth: Truth, steps: int) -> list[Row]:
    """AdamW on the mean square error, a batch of frames a step; the rate falls to zero."""
    weights = torch.zeros(len(messages), len(messages), requires_grad=True)
    rate = 0.1 * float(truth.connectivity.abs().median())  # a tenth of a typical weight
    optimiser = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    looks = {round(steps ** (k / (ADAM_LOOKS - 1))) for k in range(ADAM_LOOKS)}
    rows, spent, started = [], 0.0, time.perf_counter()
    for step in range(1, steps + 1):
        chosen = torch.randint(messages.shape[1], (ADAM_BATCH,))
        loss = ((weights @ messages[:, chosen] - target[:, chosen]) ** 2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step in looks:
            spent += time.perf_counter() - started
            learned = weights.detach().clone().fill_diagonal_(0)
            rows.append({"step": step, "seconds": spent, "r2": _r2(truth, learned)})
            started = time.perf_counter()
    return rows


def table_against_network(neurons: int, repeats: int, device: str) -> list[Row]:
    """One evaluation of ψ on all neurons by table and by MLP, for several numbers of frames."""
    config = GraphNetwork()
    gnn, axis = GNN(config, neurons).to(device), Axis(1.0, 3.0, 24)
    table = axis.values(device).tanh().expand(neurons, -1).contiguous()
    rows = []
    for frames in (1, 16, 256):
        x = torch.randn(neurons, frames, device=device)
        with torch.no_grad():
            network, tabulated = interleave(
                repeats,
                partial(gnn.transfer_function, gnn.embedding, x),
                partial(_tabulated, axis, table, x),
            )
        rows.append(
            {
                "frames": frames,
                "network": spread(network),
                "table": spread(tabulated),
                "ratio": ratio(network, tabulated),
            }
        )
    return rows


def _tabulated(axis: Axis, table: Tensor, x: Tensor) -> Tensor:
    return evaluate(table, *locate(axis.coordinate(x)))


def table_errors(knots: tuple[int, ...] = (8, 16, 24, 32, 64, 128)) -> list[Row]:
    """Largest error of a table of tanh(x/γ), γ = 1 and 8, as a fraction of its range."""
    x = torch.linspace(-30, 30, 20_001)[None]
    rows = []
    for count in knots:
        axis = Axis(10 / 3, float(torch.asinh(torch.tensor(9.0))), count)
        for width in (1.0, 8.0):
            table = torch.tanh(axis.values() / width)[None]
            true = torch.tanh(x / width)
            error = (_tabulated(axis, table, x) - true).abs().max() / (true.max() - true.min())
            rows.append({"knots": count, "width": width, "error": float(error)})
    return rows


def gauge_choices(last: Stage, recording: Recording, truth: Truth) -> list[Row]:
    """The estimate after the last sweep with row scales left, estimated, and fitted.

    The column scales are fitted to the truth in all three, so that only the rows differ.
    """
    estimate, true = last.estimate, truth.connectivity.double()
    weights, field = estimate.connectivity.cpu().double(), estimate.field.cpu()
    gain = recording.gain.double()[:, None]
    modulated = recording.modulated
    window = len(recording.activity) / field.shape[1]
    centres = ((torch.arange(field.shape[1]) + 0.5) * window).long()
    true_field = truth.field_at(centres.clamp(max=len(recording.activity) - 1)).T
    ones = torch.ones(len(weights), dtype=torch.double)
    estimated = gauge.row_scales(estimate.connectivity, modulated.to(field.device)).cpu()
    fitted = 1 / _scales(true, weights * _scales(true, weights / gain, 0) / gain, 1)[:, 0]
    rows = []
    for name, scale in (("off", ones), ("on", estimated.double()), ("fitted", fitted)):
        scaled = weights / (gain * scale[:, None])
        r2, slope = fit_line(true, scaled * _scales(true, scaled, 0))
        omega = field[modulated] * scale[modulated, None]
        field_r2, field_slope = fit_line(true_field, omega)
        rows.append(
            {
                "gauge": name,
                "connectivity": {"r2": r2, "slope": slope},
                "field": {"r2": field_r2, "slope": field_slope, "mean": float(omega.mean())},
            }
        )
    return rows


def clustering_times(
    recording: Recording, truth: Truth, experiment: Experiment, sweeps: tuple[int, ...]
) -> list[Row]:
    """The result when the types are found after more or fewer sweeps with a ψ a neuron."""
    rows = []
    for count in sweeps:
        changed = experiment.inference.model_copy(update={"neuron_sweeps": count})
        *_, last = staged(recording, experiment.model_copy(update={"inference": changed}))
        assert last.types is not None
        rows.append(
            {
                "neuron_sweeps": count,
                "types_found": int(last.types.max()) + 1,
                "accuracy": match_types(last.types, truth.types)[0],
                "r2_gauge_free": gauge_free_r2(truth.connectivity, last.estimate.connectivity),
                "loss": last.estimate.loss,
                "seconds": last.seconds,
            }
        )
    return rows
