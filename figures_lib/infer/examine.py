"""What speaks for and against a result, without the truth.

Three things are measured. Frames that inference has not read show how much of x' is explained,
and whether what is missed is noise: misfit is alike in successive frames, noise is not. W is
solved for from either half of the recording, with the functions and the field that were found:
where the halves disagree, W is not determined, by too few frames, too much noise, or a misfit
that the inverse of the Gram matrix magnifies. The variance inflation factor of the messages
says by how much.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer.heldout import judging_runs
from figures_lib.infer.projection import (
    LARGEST_NETWORK,
    Receivers,
    Senders,
    eliminate,
    entanglement,
    gathered,
)
from figures_lib.infer.splines import evaluate
from figures_lib.infer.unknowns import Block, Data, State, network_input, prepare, residuals
from figures_lib.model.inferred import PIECES, Evidence, Model
from figures_lib.recording import Recording

SAMPLED = 4096  # frames, about, that the spread of an activity is taken from
FIXED = 1e-7  # spread of an activity, relative to its size, below which it is rounding
STEADY = 0.01  # spread of messages below which they count as constant
CHANCE = 2.0  # standard errors that noise alone may leave
ROWS = 64  # of W, by which halves of the recording are compared


def examine(recording: Recording, model: Model, last: State) -> Evidence:
    """Collect the evidence.

    Args:
        recording: what the model was inferred from.
        model: the result.
        last: the state that it was made of.
    """
    small, first = last.data.shard.neurons <= LARGEST_NETWORK, last.data.shard.rank == 0
    judged = by_tables(recording, last)
    return Evidence(
        # only the first process has all of W
        heldout_r2=by_networks(recording, model) if first else float("nan"),
        heldout_r2_tables=judged.explained,
        structure=judged.structure,
        connected=judged.connected,
        opposed=judged.opposed,
        halves_r2=agreement_of_halves(last) if small else float("nan"),
        entanglement=entanglement(last.data, last.estimate) if small else float("nan"),
        saturated=tuple(
            (spread_of_messages(recording, last) < STEADY).nonzero()[:, 0].tolist()
        ),
    )


@torch.no_grad()
def by_networks(recording: Recording, model: Model) -> float:
    """Share of the variance of x' that the networks explain in runs that nothing has read."""
    runs = judging_runs(len(recording.activity))
    if model.gnn.config.transfer == "pair":
        runs = runs[:: max(1, len(runs) // 2), :2]  # every pair of neurons is evaluated
    frames = runs.flatten()
    target = recording.derivative[frames].double()
    power = float(((target - target.mean(0)) ** 2).sum()) if len(frames) else 0.0
    if not power:
        return float("nan")
    network = model.joint(recording.gain)
    return (
        1 - float(((target - network(recording.activity[frames], frames)) ** 2).sum()) / power
    )


@dataclass(frozen=True)
class Judged:
    """What the functions, W and Ω that were solved for leave of runs that nothing has read.

    Attributes:
        explained: share of the variance of x' that they explain.
        structure: share that they miss although it is no noise: the autocovariance of the
            residual from one frame to the next.
        connected: by how many standard errors the covariance of x' with the network input,
            both without what the neuron's own activity accounts for, is larger than zero.
        opposed: anticorrelation of the residual from one frame to the next, beyond chance.
    """

    explained: float = math.nan
    structure: float = math.nan
    connected: float = math.nan
    opposed: float = math.nan


def by_tables(recording: Recording, last: State) -> Judged:
    """Judge a state by frames that no part of inference has read."""
    runs, data = judging_runs(len(recording.activity)), last.data
    if not len(runs):
        return Judged()
    judge = prepare(recording, data.axis, runs.flatten(), data.windows, data.normal.device)
    if not judge.power:
        return Judged()
    error = torch.cat(list(residuals(judge, last.estimate)), 1).double()
    received = torch.cat(
        [
            last.estimate.field[:, judge.window(block)]
            * network_input(judge, last.estimate, left, fraction)
            for block, left, fraction in judge.located()
        ],
        1,
    ).double()
    own = recording.activity[runs.flatten()][:, data.shard.own].double().T.to(error.device)
    common = (_without_line(error + received, own) * _without_line(received, own)).sum(0)
    by_run = error.view(len(error), *runs.shape)
    successive = (by_run[..., 1:] * by_run[..., :-1]).sum((0, 2))
    sums = torch.cat([common.view(runs.shape).sum(1), successive, (error**2).sum()[None]])
    sums = data.shard.all_reduce(sums)
    common, successive, squared = sums[: len(runs)], sums[len(runs) : -1], float(sums[-1])
    share = runs.shape[1] / max(1, runs.shape[1] - 1)
    alike, by_chance = float(successive.sum()), CHANCE * _error(successive)
    return Judged(
        explained=1 - squared / judge.power,
        structure=max(0.0, alike * share / judge.power),
        connected=float(common.sum()) / max(_error(common), 1e-300),
        opposed=max(0.0, -alike - by_chance) * share / max(squared, 1e-300),
    )


def _without_line(
    values: Float[Tensor, "neuron time"], own: Float[Tensor, "neuron time"]
) -> Float[Tensor, "neuron time"]:
    """What a straight line in the neuron's own activity leaves of some values."""
    values, own = (part - part.mean(1, keepdim=True) for part in (values, own))
    power = (own * own).sum(1, keepdim=True).clamp_min(1e-300)
    return values - own * ((values * own).sum(1, keepdim=True) / power)


def _error(by_run: Float[Tensor, " run"]) -> float:
    """Standard error of a sum over independent runs."""
    return float(by_run.std()) * len(by_run) ** 0.5 if len(by_run) > 1 else math.inf


def spread_of_messages(recording: Recording, last: State) -> Float[Tensor, " sender"]:
    """How far the messages of every sender vary, relative to what their steepest ψ would give.

    The standard deviation of ψ_j(x_j) is divided by that of x_j and by the largest slope of
    ψ_j. The result is 1 for a straight ψ, about a tenth for a neuron that jumps between the two
    ends of ψ, and next to nothing for one that stays where ψ is flat.
    That of a neuron whose activity never changes counts as 1: it is no matter of ψ.
    """
    data, table = last.data, last.estimate.transfer[0].double()
    mean, power = table.new_zeros(2, len(table))
    for _, left, fraction in data.located():
        messages = evaluate(table, left, fraction.double())
        mean += messages.sum(1) / data.frames
        power += (messages**2).sum(1) / data.frames
    spread = (power - mean**2).clamp_min(0).sqrt()
    steepest = (table.diff(dim=1) / data.axis.values(table.device).diff()).abs().amax(1)
    stride = max(1, len(recording.activity) // SAMPLED)
    sample = recording.activity[::stride, data.shard.own].double()
    activity = sample.std(0, correction=0).to(table.device)
    fixed = activity <= FIXED * sample.abs().amax(0).to(table.device)
    relative = spread / (steepest * activity).clamp_min(1e-300)
    return data.shard.all_gather(torch.where(fixed, 1.0, relative))


def agreement_of_halves(last: State) -> float:
    """R² of W that its scatter between two halves of the recording leads one to expect.

    Some rows of W are solved for from either half, each with its own φ. With W₁ = W + e₁ and
    W₂ = W + e₂, the variance of W is their covariance V, and that of the errors is E, half the
    mean square of W₁ − W₂. More frames reduce E, the more so if there are hardly more of them
    than neurons: R² = V/(V + E·(F/2 − N)/(F − N)).
    """
    data, estimate, neurons = last.data, last.estimate, last.data.shard.neurons
    free = data.frames / 2 - neurons
    if free <= 0:
        return 0.0
    group = estimate.receivers[0]
    rows = group[torch.linspace(0, len(group) - 1, min(ROWS, len(group))).round().long()]
    table = data.shard.all_gather(estimate.transfer[0]).double()
    halves = []
    try:
        for half in _halves(data):
            here = gathered(half)
            receivers = Receivers.of(half, here, estimate, rows, True)
            fixed = replace(receivers, own_field=False)
            halves.append(eliminate(fixed, Senders.of(here, table)).weights)
    except (InferenceError, torch.linalg.LinAlgError):  # one half alone determines no W
        return 0.0
    first, second = halves
    parts = (first.sum(), second.sum(), (first * second).sum(), ((first - second) ** 2).sum())
    sums = data.shard.all_reduce(torch.stack([*parts, first.new_tensor(first.numel())]))
    one, two, both, apart, count = sums.tolist()
    signal = max(0.0, both / count - one * two / count**2)
    error = apart / 2 / count * free / (data.frames - neurons)
    return signal / (signal + error) if signal > 0 else 0.0


def _halves(data: Data) -> list[Data]:
    """Every other piece of the recording, and the pieces between them.

    The first and the second half would not do: where the activity comes to rest, all that can
    be learned is in the first.
    """
    even: list[Block] = []
    odd: list[Block] = []
    for block in data.blocks:
        first = block.frame * PIECES // data.total % 2 == 0
        for chosen, part in ((first, even), (~first, odd)):
            if chosen.any():
                part.append(block.only(chosen))
    return [replace(data, blocks=tuple(part)) for part in (even, odd)]
