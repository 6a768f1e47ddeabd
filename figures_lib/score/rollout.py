"""Noise-free roll-outs: does the learned network move as the true one does, and how long?"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from figures_lib.infer.splines import Axis, evaluate, locate
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.score.regression import fit_line
from figures_lib.simulate.truth import Truth

KNOTS = 2048  # fine enough that the tables and the networks agree to 1e-3 of the range
FIELD_EVERY = 10  # frames for which one evaluation of Ω* is held
HORIZONS = (400, 800)  # frames at which the paper compares roll-outs
LONGEST = 1001  # frames of a roll-out from recorded states
STATES = 3  # from which it starts
TRACES = 6  # neurons whose roll-outs are kept


@torch.no_grad()
def roll_out(
    model: Model,
    gain: Float[Tensor, " neuron"],
    start: Float[Tensor, "state neuron"],
    first: Int[Tensor, " state"],
    frames: int,
    time_step: float,
) -> Float[Tensor, "time state neuron"]:
    """Integrate the learned equation (2) without noise, from several states at once.

    φ* and ψ* are tabulated once, so that a step costs one matrix product, also for the pair
    variant.

    Args:
        model: inferred model.
        gain: known gain of each neuron.
        start: activity at the first frame.
        first: frame at which Ω* starts for each state.
        frames: number of frames returned, the first being ``start``.
        time_step: Δt [time unit].

    Returns:
        The activity of every neuron at every frame.

    Source: equation (2).
    """
    reach = 1.5 * float(start.abs().max())
    axis = Axis(reach / 6, float(torch.asinh(torch.tensor(6.0))), KNOTS, KNOTS)
    knots = axis.values().expand(int(model.types.max()) + 1, -1)
    update = model.update(knots)[model.types]
    transfer = model.transfer(knots)
    pairs = transfer.dim() == 3
    everyone = torch.ones_like(model.types, dtype=torch.bool)
    receivers = [model.types == k for k in range(len(knots))] if pairs else [everyone]
    tables = [table[model.types] for table in (transfer if pairs else transfer[None])]
    weights = model.gnn.connectivity * gain[:, None]
    field = torch.ones_like(start)
    activity = [start]
    for step in range(frames - 1):
        if step % FIELD_EVERY == 0 and model.modulated.any():
            middle = (first + step + FIELD_EVERY // 2).clamp_max(model.frames - 1)
            field[:, model.modulated] = model.field(middle)
        x = activity[-1]
        place = locate(axis.coordinate(x.T))
        received = torch.empty_like(x.T)
        for rows, table in zip(receivers, tables, strict=True):
            received[rows] = weights[rows] @ evaluate(table, *place)
        change = evaluate(update, *place) + field.T * received
        activity.append(x + time_step * change.T)
    return torch.stack(activity)


@torch.no_grad()
def true_roll_out(
    truth: Truth,
    modulated: Bool[Tensor, " neuron"],
    start: Float[Tensor, "state neuron"],
    first: Int[Tensor, " state"],
    frames: int,
    time_step: float,
) -> Float[Tensor, "time state neuron"]:
    """Integrate the true equation (1) without noise; the arguments are as in :func:`roll_out`.

    Source: equation (1).
    """
    activity, dynamics = [start], truth.dynamics
    field = torch.ones_like(start)
    for step in range(frames - 1):
        if modulated.any():
            field[:, modulated] = truth.field_at(first + step)
        change = dynamics.derivative(activity[-1], field)
        activity.append(activity[-1] + time_step * change)
    return torch.stack(activity)


@dataclass(frozen=True)
class Drift:
    """How the learned network moves away from the true one, without noise.

    Attributes:
        r2: R² over all neurons, at every frame, from each state.
        true: activity of some neurons from the first of the states.
        learned: the same of the learned network.
        neurons: which these are.
    """

    r2: Float[Tensor, "state time"]
    true: Float[Tensor, "time shown"]
    learned: Float[Tensor, "time shown"]
    neurons: Int[Tensor, " shown"]

    def metrics(self, section: str) -> dict[str, float]:
        """R² at the published horizons, the median of the states; NaN beyond the recording."""
        found = self.r2.median(0).values
        return {
            f"{section}.r2_{frame}": float(found[frame]) if frame < len(found) else np.nan
            for frame in HORIZONS
        }


def drift(recording: Recording, truth: Truth, model: Model) -> Drift:
    """Roll out both networks from the same recorded states.

    Source: Figures 2 and S1.
    """
    total = len(recording.activity)
    frames = min(LONGEST, total)
    first = torch.linspace(0, total - frames, STATES).long()
    start = recording.activity[first].clone()
    return compared(truth, model, recording.gain, start, first, frames, recording.time_step)


def compared(
    truth: Truth,
    model: Model,
    gain: Float[Tensor, " neuron"],
    start: Float[Tensor, "state neuron"],
    first: Int[Tensor, " state"],
    frames: int,
    time_step: float,
) -> Drift:
    """Roll out both networks from the same states; the arguments are as in :func:`roll_out`."""
    learned = roll_out(model, gain, start, first, frames, time_step)
    true = true_roll_out(truth, model.modulated, start, first, frames, time_step)
    r2 = torch.tensor(
        [
            [fit_line(true[frame, state], learned[frame, state])[0] for frame in range(frames)]
            for state in range(len(start))
        ]
    )
    shown = torch.linspace(0, len(gain) - 1, min(TRACES, len(gain))).long()
    return Drift(r2, true[:, 0, shown], learned[:, 0, shown], shown)
