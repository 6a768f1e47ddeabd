"""How well the model predicts activity, beside models that know of no network.

No truth is needed: frames that inference has not read judge all of them alike. Persistence says
that nothing changes. The autoregression lets every neuron follow its own activity, the vector
autoregression all activities; both are linear. A model of the network is worth something where
it is ahead of these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.infer.heldout import choice_frames, judging_runs, sampled_frames
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.score.rollout import roll_out

HORIZON = 100  # frames of a prediction, at most
FITTED = 20_000  # frames that the linear models are fitted to, at most
STRENGTHS = tuple(10.0**k for k in range(-6, 7, 2))  # of the ridge, in mean squares of x
MODEL, PERSISTENCE = "model", "persistence"
ALONE, LINEAR = "autoregression", "vector autoregression"


@dataclass(frozen=True)
class Linear:
    """dx/dt = A·x + b.

    Attributes:
        matrix: A [1/time unit]; row i receives from column j.
        offset: b [1/time unit].
    """

    matrix: Float[Tensor, "neuron neuron"]
    offset: Float[Tensor, " neuron"]

    def derivative(self, x: Float[Tensor, "time neuron"]) -> Float[Tensor, "time neuron"]:
        """dx/dt at some activities [1/time unit]."""
        return x @ self.matrix.T + self.offset

    def roll_out(
        self, start: Float[Tensor, "state neuron"], frames: int, time_step: float
    ) -> Float[Tensor, "time state neuron"]:
        """The activity from some states on, the first frame being these."""
        activity = [start]
        for _ in range(frames - 1):
            activity.append(activity[-1] + time_step * self.derivative(activity[-1]))
        return torch.stack(activity)


@dataclass(frozen=True)
class Predictions:
    """Predictions of every method, judged by frames that inference has not read.

    Attributes:
        derivative: R² of dx/dt: the share of its variance that is explained.
        activity: R² of the activity some frames later; the frame of the start comes first.
    """

    derivative: Mapping[str, float]
    activity: Mapping[str, Float[Tensor, " later"]]

    @property
    def horizon(self) -> int:
        """Frames between a start and the last prediction."""
        return len(self.activity[MODEL]) - 1

    def metrics(self) -> dict[str, Any]:
        """``prediction.*``: R² of dx/dt, and that of the activity at the horizon."""
        keys = {name: name.replace(" ", "_") for name in self.activity}
        return {
            "prediction.horizon_frames": self.horizon,
            **{f"prediction.{keys[k]}.derivative_r2": v for k, v in self.derivative.items()},
            **{f"prediction.{keys[k]}.r2": float(v[-1]) for k, v in self.activity.items()},
        }


@torch.no_grad()
def predictions(
    recording: Recording, model: Model, frames: Int[Tensor, " frame"]
) -> Predictions | None:
    """Predict held-out frames by the model, by persistence and by two linear models.

    Every prediction starts at the first frame of a held-out run. What follows the run, which is
    short, was read by inference and fitted by the linear models alike.

    Args:
        recording: what the model was inferred from.
        model: the result.
        frames: when each frame of it was recorded, counted in frames: no prediction crosses a
            gap.

    Returns:
        None if no frames are held out, or none is followed by others.
    """
    runs = judging_runs(len(recording.activity))
    first, horizon = _starts(runs, frames)
    if not len(first) or not horizon:
        return None
    linear = {ALONE: alone(recording), LINEAR: together(recording)}
    judges = runs.flatten()
    x, slope = recording.activity[judges].double(), recording.derivative[judges].double()
    explained = {name: r2(slope, one.derivative(x)) for name, one in linear.items()}
    start, step = recording.activity[first].clone(), recording.time_step
    later = first + torch.arange(horizon + 1)[:, None]
    seen = recording.activity[later].double()
    rolled = {
        MODEL: roll_out(model, recording.gain, start, first, horizon + 1, step),
        PERSISTENCE: start.expand_as(seen),
        **{k: v.roll_out(start.double(), horizon + 1, step) for k, v in linear.items()},
    }
    return Predictions(
        {MODEL: model.diagnosis.heldout_r2, PERSISTENCE: r2(slope, 0 * slope), **explained},
        {
            name: torch.tensor(
                [r2(one, two) for one, two in zip(seen, found.double(), strict=True)]
            )
            for name, found in rolled.items()
        },
    )


def alone(recording: Recording) -> Linear:
    """Every neuron follows its own activity: a straight line for each."""
    x, slope = _fitted(recording)
    mean, mean_slope = x.mean(0), slope.mean(0)
    power = ((x - mean) ** 2).sum(0).clamp_min(1e-300)
    own = ((x - mean) * (slope - mean_slope)).sum(0) / power
    return Linear(torch.diag(own), mean_slope - own * mean)


def together(recording: Recording) -> Linear:
    """Vector autoregression, by ridge regression.

    The strength of the ridge is the one with which held-out frames are predicted best.
    """
    x, slope = _fitted(recording)
    mean, mean_slope = x.mean(0), slope.mean(0)
    gram, cross = (x - mean).T @ (x - mean), (slope - mean_slope).T @ (x - mean)
    size = gram.diagonal().mean().clamp_min(1e-300)
    frames = choice_frames(len(recording.activity))
    judging = recording.activity[frames].double(), recording.derivative[frames].double()
    found = []
    for strength in STRENGTHS:
        ridge = strength * size * torch.eye(len(gram), dtype=gram.dtype)
        matrix = torch.linalg.solve(gram + ridge, cross.T).T
        found.append(Linear(matrix, mean_slope - matrix @ mean))
    return max(found, key=lambda one: r2(judging[1], one.derivative(judging[0])))


def r2(true: Float[Tensor, "time neuron"], predicted: Float[Tensor, "time neuron"]) -> float:
    """1 − Σ(x − x*)²/Σ(x − mean)², with the mean of every neuron; NaN where nothing varies."""
    power = ((true - true.mean(0)) ** 2).sum()
    return float(1 - ((true - predicted) ** 2).sum() / power) if power > 0 else math.nan


def _fitted(recording: Recording) -> tuple[Tensor, Tensor]:
    """Activity and its derivative in the frames that the linear models are fitted to."""
    total = len(recording.activity)
    frames = sampled_frames(total, min(total, FITTED))
    return recording.activity[frames].double(), recording.derivative[frames].double()


def _starts(
    runs: Int[Tensor, "run time"], frames: Int[Tensor, " frame"]
) -> tuple[Int[Tensor, " start"], int]:
    """First frames of held-out runs, and the frames that follow each of them without a gap."""
    first, total = runs[:, 0] if runs.numel() else runs.flatten(), len(frames)
    horizon = min(HORIZON, total // 10)
    first = first[first + horizon < total]
    return first[frames[first + horizon] - frames[first] == horizon], horizon
