"""What people use today to find a connectivity, on the same recordings.

Each baseline receives the recording and returns an estimate of W, up to a scale, and where it
has one its prediction of dx/dt. None was made for equation (1): correlation and vector
autoregression assume a linear network, a generalised linear model assumes that all inputs add
up, SINDy that every term is in its library, and CURBD asks for a network that reproduces the
activity, not for the one that made it. Their packages are optional.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.infer.heldout import judging_runs, sampled_frames
from figures_lib.recording import Recording
from figures_lib.runs.run import Run
from figures_lib.score.prediction import r2, together
from figures_lib.score.regression import fit_line
from figures_lib.score.scoring import gauge_free_r2

Array = np.ndarray
Row = dict[str, Any]
Predict = Callable[[Float[Array, "time neuron"]], Float[Array, "time neuron"]]
FRAMES = 20_000  # that a baseline reads, at most
SPLINES = 6  # per sender of the generalised linear model
REACH = 4.0  # standard deviations that they span
THRESHOLD = 0.02  # of SINDy: smaller coefficients, of scaled terms, are dropped
EPOCHS = 10  # of CURBD through its frames
STRONGEST = 0.01  # of all pairs: as many of the largest weights are looked for
OURS = "this book"
CHAOS = 1.5  # gain of the random network with which CURBD begins
SLOW = 10.0  # time steps of the recording per time constant of its neurons


@dataclass(frozen=True)
class Estimate:
    """The answer of a baseline.

    Attributes:
        connectivity: W up to a scale; row i receives from column j.
        predict: dx/dt [1/time unit] from activity; None if it predicts nothing of the kind.
    """

    connectivity: Float[Tensor, "neuron neuron"]
    predict: Predict | None = None


@dataclass(frozen=True)
class Frames:
    """The frames that a baseline reads, those held out left aside.

    Attributes:
        x: activity.
        slope: dx/dt [1/time unit].
    """

    x: Float[Array, "time neuron"]
    slope: Float[Array, "time neuron"]

    @classmethod
    def fitted(cls, recording: Recording) -> "Frames":
        """Those that are fitted."""
        total = len(recording.activity)
        return cls._at(recording, sampled_frames(total, min(total, FRAMES)))

    @classmethod
    def judging(cls, recording: Recording) -> "Frames":
        """Those that judge the result."""
        return cls._at(recording, judging_runs(len(recording.activity)).flatten())

    @classmethod
    def _at(cls, recording: Recording, frames: Tensor) -> "Frames":
        taken = recording.activity[frames], recording.derivative[frames]
        return cls(*(part.double().numpy() for part in taken))


def correlation(recording: Recording) -> Estimate:
    """Correlation of the activities at the same time; it is the same in both directions."""
    return Estimate(torch.from_numpy(np.corrcoef(Frames.fitted(recording).x.T)))


def ridge(recording: Recording) -> Estimate:
    """Vector autoregression: dx/dt linear in all activities, by ridge regression.

    The strength of the ridge is the one with which held-out frames are predicted best.
    """
    linear = together(recording)

    def predict(x: Array) -> Array:
        return linear.derivative(torch.from_numpy(x)).numpy()

    return Estimate(linear.matrix, predict)


def additive(recording: Recording) -> Estimate:
    """A generalised linear model (NeMoS): dx/dt as a sum of smooth functions of all activities.

    The weight of a sender is the slope of its function over the activity that it visits.
    """
    import nemos

    fitted = Frames.fitted(recording)
    mean, scale = fitted.x.mean(0), fitted.x.std(0) + 1e-12
    basis = nemos.basis.BSplineEval(SPLINES, bounds=(-REACH, REACH))

    def features(x: Array) -> Array:
        scaled = np.clip((x - mean) / scale, -REACH, REACH)
        each = [np.asarray(basis.compute_features(column)) for column in scaled.T]
        return np.concatenate(each, 1)

    terms, spread = features(fitted.x), fitted.slope.std(0) + 1e-12
    # orthonormal combinations of the features: the solver would hardly converge otherwise
    combined, factor = np.linalg.qr(terms)
    model = nemos.glm.PopulationGLM(
        observation_model="Gaussian",
        regularizer="Ridge",
        regularizer_strength=1e-6,
        solver_name="LBFGS",
    )
    size = len(terms) ** 0.5  # makes the mean square of every feature 1
    model.fit(combined * size, fitted.slope / spread)
    solution = np.linalg.lstsq(factor, np.asarray(model.coef_, float) * size, rcond=1e-9)[0]
    coefficients, offset = solution * spread, np.asarray(model.intercept_) * spread
    weights = [
        slopes(fitted.x[:, j], terms[:, own]) @ coefficients[own]
        for j in range(len(mean))
        for own in [slice(j * SPLINES, (j + 1) * SPLINES)]
    ]
    return Estimate(
        torch.from_numpy(np.stack(weights, 1)).double(),
        lambda x: features(x) @ coefficients + offset,
    )


def sindy(recording: Recording) -> Estimate:
    """PySINDy: dx/dt sparse in the activities and their hyperbolic tangents.

    The library holds the very terms of Figure 2, and not those of Figure 3. The weight of a
    sender is the slope of its terms over the activity that it visits. The least-squares problem
    is reduced to its triangular factor, which has the same solution.
    """
    from pysindy.optimizers import STLSQ

    fitted = Frames.fitted(recording)

    def library(x: Array) -> Array:
        return np.concatenate([np.ones((len(x), 1)), x, np.tanh(x)], 1)

    terms = library(fitted.x)
    scale = np.sqrt((terms**2).mean(0))
    spread = fitted.slope.std(0) + 1e-12
    turn, factor = np.linalg.qr(terms / scale)
    optimizer = STLSQ(threshold=THRESHOLD, alpha=1e-9)
    optimizer.fit(factor, turn.T @ (fitted.slope / spread))
    coefficients = optimizer.coef_ * spread[:, None] / scale
    linear, bent = coefficients[:, 1:].reshape(len(coefficients), 2, -1).swapaxes(0, 1)
    rise = [float(slopes(x, np.tanh(x)[:, None])[0]) for x in fitted.x.T]
    return Estimate(
        torch.from_numpy(linear + bent * rise), lambda x: library(x) @ coefficients.T
    )


def curbd(recording: Recording) -> Estimate:
    """CURBD: a recurrent network that is trained online to reproduce the activity.

    Its currents follow dh/dt = (−h + J·tanh h)/τ, and recursive least squares changes J at
    every frame so that tanh h is the activity, scaled to between −1 and 1.

    Source: Perich et al., bioRxiv 2020.12.18.423348 (2020).
    """
    total, count = recording.activity.shape
    length = min(FRAMES, total)
    target = recording.activity[:length].float()
    target = target / target.abs().amax(0).clamp_min(1e-12) * 0.99
    generator = torch.Generator().manual_seed(0)
    weights = CHAOS / count**0.5 * torch.randn(count, count, generator=generator)
    inverse = torch.eye(count)
    for _ in range(EPOCHS):
        current = torch.atanh(target[0])
        rate = torch.tanh(current)
        for wanted in target[1:]:
            current = current + (weights @ rate - current) / SLOW
            rate = torch.tanh(current)
            gain = inverse @ rate
            step = 1 / (1 + rate @ gain)
            weights -= torch.outer(step * (rate - wanted), gain)
            inverse -= step * torch.outer(gain, gain)
    return Estimate(weights)


BASELINES: dict[str, Callable[[Recording], Estimate]] = {
    "correlation": correlation,
    "ridge autoregression": ridge,
    "generalised linear model": additive,
    "SINDy": sindy,
    "CURBD": curbd,
}


def compare(run: Run, report: Callable[[str], None] = print) -> list[Row]:
    """Score every baseline whose packages are here, and our own inference.

    Args:
        run: whose recording is used.
        report: called with a line after each.

    Returns:
        For each method ``connectivity.r2``, ``connectivity.r2_gauge_free``,
        ``connectivity.strongest`` (the share of the largest true weights that are among as many
        of the largest estimated ones), ``heldout_r2`` (share of the variance of x' on frames
        that were not read) and ``seconds``; or the ``reason`` why there is no result.
    """
    recording, truth = run.simulate()
    rows = []
    for name, method in BASELINES.items():
        row: Row = {"method": name}
        started = time.perf_counter()
        try:
            found = method(recording)
        except ImportError as error:
            row["reason"] = f"{error}; pip install '.[bench]' adds it"
        else:
            row["seconds"] = time.perf_counter() - started
            row |= _scores(truth.connectivity, found.connectivity.float())
            if found.predict is not None:
                judging = Frames.judging(recording)
                predicted = torch.from_numpy(found.predict(judging.x))
                row["heldout_r2"] = r2(torch.from_numpy(judging.slope), predicted)
        rows.append(row)
        report(_line(row))
    metrics, ours = run.metrics(), run.score()
    own: Row = {"method": OURS, "seconds": metrics["time.infer_s"]}
    own |= _scores(ours.connectivity_true, ours.connectivity_learned)
    own["heldout_r2"] = metrics["diagnosis.heldout_r2"]
    report(_line(own))
    return [*rows, own]


def _scores(
    true: Float[Tensor, "neuron neuron"], found: Float[Tensor, "neuron neuron"]
) -> dict[str, float]:
    """How like the truth an estimate is; the diagonal, where no connection is, is left out."""
    others = ~torch.eye(len(true), dtype=torch.bool)
    count = max(1, round(STRONGEST * int(others.sum())))
    strongest = [set(w[others].abs().topk(count).indices.tolist()) for w in (true, found)]
    return {
        "connectivity.r2": fit_line(true[others], found[others])[0],
        "connectivity.r2_gauge_free": gauge_free_r2(true, found * others),
        "connectivity.strongest": len(strongest[0] & strongest[1]) / count,
    }


def _line(row: Row) -> str:
    if "reason" in row:
        return f"{row['method']}: {row['reason']}"
    return f"{row['method']}: R² of W {row['connectivity.r2']:.4f}, {row['seconds']:.1f} s"


def slopes(x: Float[Array, " time"], terms: Float[Array, "time term"]) -> Float[Array, " term"]:
    """By how much functions of an activity rise with it, over the activity that is visited."""
    centred = x - x.mean()
    return centred @ terms / max(float(centred @ centred), 1e-12)
