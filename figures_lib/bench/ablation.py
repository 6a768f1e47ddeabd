"""The gain from each idea of the inference: the same problem solved with and without it.

Every function returns plain rows for the benchmark's JSON. The truth is read here, for scoring
and to fix everything that a comparison does not vary.
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.bench.measuring import interleave, ratio, spread
from figures_lib.infer import gauge
from figures_lib.infer.algorithm import converge
from figures_lib.infer.anderson import accelerated_sweeps
from figures_lib.infer.field_scales import smooth_scales
from figures_lib.infer.splines import Axis, evaluate, locate
from figures_lib.infer.sweep import sweep
from figures_lib.infer.unknowns import Pools, State
from figures_lib.learner import GraphNetwork, Learner
from figures_lib.model.gnn import GNN
from figures_lib.recording import Recording
from figures_lib.score.scoring import best_scales, fit_line, gauge_free_r2, match_types
from figures_lib.simulate.truth import Truth

ADAM_BATCH = 256  # frames per step
ADAM_SCORES = 12  # scores during a descent, at geometrically spaced steps

Row = dict[str, Any]


def timed(states: Iterator[State]) -> Iterator[tuple[State, float]]:
    """Each state with the seconds that the sweeps took so far, without those of the caller."""
    spent, started = 0.0, time.perf_counter()
    for state in states:
        spent += time.perf_counter() - started
        yield state, spent
        started = time.perf_counter()


def sweep_variants(recording: Recording, truth: Truth, states: Sequence[State]) -> list[Row]:
    """The sweeps by type: plain, extrapolated, and with the windows of the field chosen.

    Args:
        recording: for the gain.
        truth: scores every sweep.
        states: all states of one inference; the variants start where its first sweep by type
            ended.
    """
    by_type = [state for state in states if state.types is not None]
    first, count = by_type[0], len(by_type) - 1
    types = torch.as_tensor(first.types)
    pools = Pools(types, types)
    plain = [first.estimate]
    for _ in range(count):
        plain.append(sweep(first.data, plain[-1], pools))
    extrapolated = accelerated_sweeps(first.data, first.estimate, pools, count)
    variants = {
        "plain": plain,
        "extrapolated": [first.estimate, *extrapolated],
        "windows chosen": [state.estimate for state in by_type],
    }
    true, rows = truth.connectivity, []
    for name, some in variants.items():
        losses = [estimate.loss for estimate in some]
        r2 = [gauge_free_r2(true, estimate.connectivity.cpu()) for estimate in some]
        row = {"variant": name, "windows": some[-1].field.shape[1]}
        rows.append(row | {"loss": losses, "r2_gauge_free": r2})
    return rows


def connectivity_solvers(recording: Recording, truth: Truth, steps: int) -> list[Row]:
    """W by least squares and by AdamW, with ψ, φ and Ω given; three kinds of data.

    "plenty": four frames per neuron. "scarce": half a frame per neuron, so fewer equations than
    unknowns. "noisy": four frames per neuron, but dx/dt from finite differences, whose noise
    has the standard deviation σ/Δt per sample.
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
        row = {"data": data, "frames": len(frames)}
        row["least_squares"] = {"seconds": seconds, "r2": _r2(truth, solved)}
        rows.append(row | {"adam": _descend(messages, target, truth, steps)})
    return rows


def _r2(truth: Truth, weights: Tensor) -> float:
    return fit_line(truth.connectivity, weights)[0]


def _linear_problem(
    recording: Recording, truth: Truth, frames: Int[Tensor, " frame"], slopes: Tensor
) -> tuple[Float[Tensor, "neuron frame"], Float[Tensor, "neuron frame"]]:
    """ψ_j(x_j) and (x'_i − φ_i)/(g_i·Ω_i) of the true model."""
    x = recording.activity[frames].T
    own = {name: values[:, None] for name, values in truth.parameters().items()}
    field = torch.ones_like(x)
    field[recording.modulated] = truth.field_at(frames).T
    rest = slopes[frames].T - truth.neuron.update(x, own)
    return truth.neuron.transfer(x, own, own), rest / (field * recording.gain[:, None])


def _least_squares(messages: Tensor, target: Tensor) -> Float[Tensor, "neuron neuron"]:
    gram = messages @ messages.T
    gram.diagonal().add_(1e-6 * gram.diagonal().mean())
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(messages @ target.T, factor).T.fill_diagonal_(0)


def _descend(messages: Tensor, target: Tensor, truth: Truth, steps: int) -> list[Row]:
    """AdamW on the mean square error, one batch per step; the learning rate falls to zero."""
    weights = torch.zeros(len(messages), len(messages), requires_grad=True)
    rate = 0.1 * float(truth.connectivity.abs().median())  # a tenth of a typical weight
    optimiser = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    scored = {round(steps ** (k / (ADAM_SCORES - 1))) for k in range(ADAM_SCORES)}
    rows, spent, started = [], 0.0, time.perf_counter()
    for step in range(1, steps + 1):
        chosen = torch.randint(messages.shape[1], (ADAM_BATCH,))
        loss = ((weights @ messages[:, chosen] - target[:, chosen]) ** 2).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step in scored:
            spent += time.perf_counter() - started
            learned = weights.detach().clone().fill_diagonal_(0)
            rows.append({"step": step, "seconds": spent, "r2": _r2(truth, learned)})
            started = time.perf_counter()
    return rows


def table_against_network(neurons: int, repeats: int, device: str) -> list[Row]:
    """One evaluation of ψ on all neurons by table and by MLP, for several numbers of frames."""
    config = GraphNetwork()
    gnn, axis = GNN(config, neurons).to(device), Axis(1.0, 3.0, 24, 24)
    table = axis.values(device).tanh().expand(neurons, -1).contiguous()
    rows = []
    for frames in (1, 16, 256):
        x = torch.randn(neurons, frames, device=device)
        actions = (
            partial(gnn.transfer_function, gnn.embedding, x),
            partial(_tabulated, axis, table, x),
        )
        with torch.no_grad():
            network, tabulated = interleave(repeats, *actions)
        row = {"network": spread(network), "table": spread(tabulated)}
        rows.append({"frames": frames, **row, "ratio": ratio(network, tabulated)})
    return rows


def _tabulated(axis: Axis, table: Tensor, x: Tensor) -> Tensor:
    return evaluate(table, *locate(axis.coordinate(x)))


def table_errors(knots: tuple[int, ...] = (8, 16, 24, 32, 64, 128)) -> list[Row]:
    """Largest error of a table of tanh(x/γ), γ = 1 and 8, as a fraction of its range."""
    x = torch.linspace(-30, 30, 20_001)[None]
    rows = []
    for count in knots:
        axis = Axis(10 / 3, float(torch.asinh(torch.tensor(9.0))), count, count)
        for width in (1.0, 8.0):
            table = torch.tanh(axis.values() / width)[None]
            true = torch.tanh(x / width)
            error = (_tabulated(axis, table, x) - true).abs().max() / (true.max() - true.min())
            rows.append({"knots": count, "width": width, "error": float(error)})
    return rows


def gauge_choices(last: State, recording: Recording, truth: Truth) -> list[Row]:
    """The estimate after the last sweep with row scales left, estimated, smoothed, and fitted.

    The column scales are fitted to the truth in each, so that only the rows differ.
    """
    estimate, true = last.estimate, truth.connectivity.double()
    weights, field = estimate.connectivity.cpu().double(), estimate.field.cpu()
    gain = recording.gain.double()[:, None]
    modulated = recording.modulated
    window = len(recording.activity) / field.shape[1]
    centres = ((torch.arange(field.shape[1]) + 0.5) * window).long()
    true_field = truth.field_at(centres.clamp(max=len(recording.activity) - 1)).T
    ones = torch.ones(len(weights), dtype=torch.double)
    estimated = gauge.row_scales(estimate.connectivity, last.data.modulated).cpu().double()
    smoothed = estimated.clone()
    smoothed[modulated] *= smooth_scales(
        recording.positions[modulated],
        field[modulated] * estimated[modulated, None].float(),
        gauge.scale_error(estimate.connectivity, last.data.modulated),
    )
    columns = best_scales(true, weights / gain, 0)
    fitted = 1 / best_scales(true, weights * columns / gain, 1)[:, 0]
    rows = []
    choices = {"off": ones, "rows": estimated, "smooth": smoothed, "fitted": fitted}
    for name, scale in choices.items():
        scaled = weights / (gain * scale[:, None])
        omega = field[modulated] * scale[modulated, None]
        lines = (
            fit_line(true, scaled * best_scales(true, scaled, 0)),
            fit_line(true_field, omega),
        )
        of_weights, of_field = ({"r2": r2, "slope": slope} for r2, slope in lines)
        of_field["mean"] = float(omega.mean())
        rows.append({"gauge": name, "connectivity": of_weights, "field": of_field})
    return rows


def clustering_times(
    recording: Recording, truth: Truth, learner: Learner, sweeps: tuple[int, ...]
) -> list[Row]:
    """The result when the types are found after more or fewer sweeps with one ψ per neuron."""
    rows = []
    for count in sweeps:
        changed = learner.inference.model_copy(update={"neuron_sweeps": count})
        varied = learner.model_copy(update={"inference": changed})
        *_, (last, seconds) = timed(converge(recording, varied))
        types = torch.zeros_like(truth.types) if last.types is None else last.types
        rows.append(
            {
                "neuron_sweeps": count,
                "types_found": 0 if last.types is None else int(types.max()) + 1,
                "accuracy": match_types(types, truth.types)[0],
                "r2_gauge_free": gauge_free_r2(truth.connectivity, last.estimate.connectivity),
                "loss": last.estimate.loss,
                "seconds": seconds,
            }
        )
    return rows
