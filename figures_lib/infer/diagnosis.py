"""Checks without the truth: does inference diverge, and which weights are identifiable?"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer.connectivity import FLAT
from figures_lib.model.inferred import Diagnosis, Evidence
from figures_lib.recording import Recording

CHECK_EVERY = 100  # steps between checks of a loss: each makes a GPU wait
LARGEST_LOSS = 1e6  # relative to the variance; a larger loss counts as diverged
SAMPLED = 8192  # frames, or four per neuron, from which the rank of the activity is computed
DEPENDENT = 1e-6  # eigenvalues of the correlation matrix up to this one count as zero
TWINS = 0.9999  # correlation from which two activities are nearly the same
NETWORKS = 0.05  # share of that variance which networks may miss more than their tables
STRUCTURE = 3e-3  # share of the variance of x' that a right model may miss
SENSOR = 0.05  # anticorrelation of successive residuals from which a sensor adds noise
COARSE = 0.15  # of its activity that a neuron may lose between frames, by itself
CERTAIN = 3.0  # standard errors by which the connections have to explain something
EXPECTED = 0.95  # R² of W to be expected, from which weights are trusted
ALIKE = 30.0  # variance inflation factor from which the activities are to blame
SHOWN = 8  # neurons that a reason lists


def check_recording(recording: Recording) -> None:
    """Refuse a recording from which nothing can be inferred.

    Raises:
        InferenceError: dx/dt of no neuron ever changes, or a value is not finite.
    """
    sample = recording.derivative[:: max(1, len(recording.derivative) // 1000)]
    if not sample.isfinite().all():
        raise InferenceError("the recording holds NaN or infinite values; simulate it again")
    if (sample == sample[0]).all():
        raise InferenceError(
            "the recording does not change; raise simulation.noise or the gain of a type"
        )


def check_training(name: str, step: int, steps: int, loss: Tensor) -> None:
    """Stop a training that has diverged, at most ``CHECK_EVERY`` steps later.

    Raises:
        InferenceError: the loss is not finite or exceeds ``LARGEST_LOSS``.
    """
    if step % CHECK_EVERY and step < steps - 1:
        return
    value = float(loss.detach())
    if not value <= LARGEST_LOSS:
        raise InferenceError(
            f"{name}: its training diverged, loss {value:.3g} at step {step}; lower "
            f"{name}.learning_rate"
        )


def diagnose(recording: Recording, evidence: Evidence) -> Diagnosis:
    """The verdict on a result, and its reasons in plain words."""
    reasons = list(identifiability(recording)["identifiability.reasons"])
    if math.isnan(evidence.heldout_r2):
        reasons.append("the recording is too short to hold frames out that could judge")
    elif evidence.structure > STRUCTURE:
        reasons.append(
            f"the model misses {100 * evidence.structure:.2g} % of the variance of x' that is "
            "no noise: the functions, the types or the field are wrong, or the recording is "
            "too short for them"
        )
    reasons.extend(_of_differences(recording, evidence))
    if evidence.connected < CERTAIN:
        reasons.append(
            "on frames that inference has not read, the connections explain nothing that the "
            "activity of each neuron itself does not"
        )
    if evidence.heldout_r2_tables - evidence.heldout_r2 > NETWORKS:
        reasons.append(
            "the networks phi* and psi* do not reproduce the functions that W was solved with: "
            "the weights may be better than these curves"
        )
    if math.isnan(evidence.halves_r2):
        reasons.append("the weights of halves of the recording were not compared")
    elif not evidence.expected_r2 >= EXPECTED:
        reasons.extend(_doubts(recording, evidence))
    return Diagnosis(reasons=tuple(reasons), **vars(evidence))


def _of_differences(recording: Recording, evidence: Evidence) -> list[str]:
    """What spoils differences of the activity, but no exact derivative."""
    reasons: list[str] = []
    if not recording.differences:
        return reasons
    if evidence.opposed > SENSOR:
        reasons.append(
            "what is left of successive differences is anticorrelated "
            f"(−{evidence.opposed:.2f}): the sensor adds noise to the activity, which biases "
            "the weights"
        )
    if (lost := lost_between_frames(recording)) > COARSE:
        reasons.append(
            f"between two frames neurons lose {100 * lost:.0f} % of their activity by "
            "themselves: differences of so distant frames are no rate of change"
        )
    return reasons


def lost_between_frames(recording: Recording) -> float:
    """Share of the activity that a neuron loses from one frame to the next, the median of all.

    Taken from a vector autoregression, so that what others send does not count.
    """
    x, slope = _sampled(recording.activity), _sampled(recording.derivative)
    x, slope = x - x.mean(0), slope - slope.mean(0)
    gram = x.T @ x
    ridge = DEPENDENT * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    own = torch.linalg.solve(gram + ridge, x.T @ slope).diagonal()
    return float((-own * recording.time_step).median())


def _doubts(recording: Recording, evidence: Evidence) -> list[str]:
    """What makes the R² of W to be expected low: misfit, scatter or both."""
    reasons = []
    both = evidence.expected_r2
    expected = f"(expected R² {evidence.halves_r2 if math.isnan(both) else both:.2f})"
    least = (1 - EXPECTED) / 2  # the larger of two shares is at least half of their sum
    if least < evidence.magnified and evidence.structure <= STRUCTURE:
        reasons.append(
            f"the model misses {100 * evidence.structure:.2g} % of the variance of x' that is "
            "no noise, and activities are so much alike that the weights magnify this "
            f"{evidence.entanglement:.0f} times {expected}"
        )
    if evidence.halves_r2 < 1 - least:
        causes = []
        if evidence.entanglement > ALIKE:
            causes.append("the activities of different neurons are too much alike")
        if evidence.saturated:
            steady = torch.zeros(recording.activity.shape[1], dtype=torch.bool)
            steady[list(evidence.saturated)] = True
            names = _listed(steady, recording)
            causes.append(f"the messages of {names} hardly vary, because psi* is flat there")
        if (twins := resolution(recording).twins).any():
            causes.append(f"the activities of {_listed(twins, recording)} are nearly the same")
        why = "; ".join(causes) or "the recording is too short for its noise"
        reasons.append(
            f"the weights inferred from the two halves of the recording disagree {expected}: "
            f"{why}"
        )
    return reasons


@dataclass(frozen=True)
class Resolution:
    """Which senders can be distinguished from others by their activity.

    Attributes:
        rank: number of independent activities.
        silent: senders whose activity never changes.
        unresolved: senders that cannot be distinguished from others; the silent ones are among
            them.
        twins: senders whose activity is nearly that of another, or its opposite.
    """

    rank: int
    silent: Bool[Tensor, " neuron"]
    unresolved: Bool[Tensor, " neuron"]
    twins: Bool[Tensor, " neuron"]


def resolution(recording: Recording) -> Resolution:
    """The independent activities of a recording.

    A sender is resolved if its activity is no combination of those of others: it has no share
    in the null space of the correlation matrix of all activities.
    """
    sample = _sampled(recording.activity)
    spread = sample.std(0, correction=0)
    silent = spread <= FLAT * sample.abs().amax(0)
    sample = (sample - sample.mean(0)) / torch.where(silent, 1.0, spread)
    sample[:, silent] = 0
    correlation = sample.T @ sample / len(sample)
    unresolved, rank = _null(correlation)
    twins = (correlation.abs().fill_diagonal_(0) > TWINS).any(1)
    return Resolution(rank, silent, unresolved, twins)


def identifiability(recording: Recording) -> dict[str, Any]:
    """Which neurons have weights that no method can infer from the activity.

    Args:
        recording: its activity and its gain are read.

    Returns:
        ``identifiability.rank``, the number of independent activities;
        ``identifiability.unresolved_neurons``, the number of senders that cannot be
        distinguished from others; and ``identifiability.reasons``, a list of sentences.
    """
    total, neurons = recording.activity.shape
    found = resolution(recording)
    rank, silent, unresolved = found.rank, found.silent, found.unresolved
    reasons = []
    if silent.any():
        reasons.append(f"the activity of {_listed(silent, recording)} never changes")
    if total <= neurons:
        reasons.append(f"{total} frames are too few for {neurons} neurons")
    elif (unresolved & ~silent).any():
        which = _listed(unresolved & ~silent, recording)
        reasons.append(f"the activities of {which} are not independent")
    if (isolated := recording.gain == 0).any():
        reasons.append(
            f"{_listed(isolated, recording)} receive nothing (gain 0), so their rows cannot be "
            "inferred"
        )
    return {
        "identifiability.rank": rank,
        "identifiability.unresolved_neurons": int(unresolved.sum()),
        "identifiability.reasons": reasons,
    }


def _sampled(values: Float[Tensor, "time neuron"]) -> Float[Tensor, "frame neuron"]:
    """Frames enough for moments of all neurons, in double precision."""
    total, neurons = values.shape
    return values[:: max(1, total // max(SAMPLED, 4 * neurons))].double()


def _null(
    correlation: Float[Tensor, "neuron neuron"],
) -> tuple[Bool[Tensor, " neuron"], int]:
    """Neurons with a share in the null space, and the rank; one Cholesky at full rank."""
    neurons = len(correlation)
    shifted = correlation - DEPENDENT * torch.eye(neurons, dtype=correlation.dtype)
    if not int(torch.linalg.cholesky_ex(shifted)[1]):
        return torch.zeros(neurons, dtype=torch.bool), neurons
    variances, modes = torch.linalg.eigh(correlation)
    null = variances <= DEPENDENT
    return (modes[:, null] ** 2).sum(1) > 1e-3, int((~null).sum())


def _listed(chosen: Bool[Tensor, " neuron"], recording: Recording) -> str:
    numbers = chosen.nonzero()[:, 0].tolist()
    shown = [recording.names[k] if recording.names else str(k) for k in numbers[:SHOWN]]
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"neuron{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{more}"
