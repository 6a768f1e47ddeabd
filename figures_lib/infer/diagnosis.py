"""What activity cannot tell, and what runs away: found without the truth."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer.connectivity import FLAT
from figures_lib.recording import Recording

CHECK_EVERY = 100  # steps between looks at a loss: each makes a GPU wait
LARGEST_LOSS = 1e6  # of the variance that is to be explained; more has run away
SAMPLED = 8192  # frames, or four per neuron, from which the rank of the activity is computed
DEPENDENT = 1e-6  # share of its variance that a neuron must not have in common with others
SHOWN = 8  # neurons that a reason lists


def check_recording(recording: Recording) -> None:
    """Refuse a recording of which nothing can be learnt.

    Raises:
        InferenceError: dx/dt of no neuron ever changes, or something is not finite.
    """
    sample = recording.derivative[:: max(1, len(recording.derivative) // 1000)]
    if not sample.isfinite().all():
        raise InferenceError("the recording holds NaN or infinite values; simulate it again")
    if (sample == sample[0]).all():
        raise InferenceError(
            "the recording does not change; raise simulation.noise or the gain of a type"
        )


def check_training(name: str, step: int, steps: int, loss: Tensor) -> None:
    """Stop a training that has run away, at most ``CHECK_EVERY`` steps later.

    Raises:
        InferenceError: the loss is not finite, or far beyond its beginning.
    """
    if step % CHECK_EVERY and step < steps - 1:
        return
    value = float(loss.detach())
    if not value <= LARGEST_LOSS:
        raise InferenceError(
            f"{name}: its training diverged, loss {value:.3g} at step {step}; lower "
            f"{name}.learning_rate"
        )


def identifiability(recording: Recording) -> dict[str, Any]:
    """Whose weights the activity cannot tell, whatever the method.

    A sender is resolved if its activity is no combination of those of others: it has no share
    in the null space of the correlation matrix of all activities.

    Args:
        recording: its activity is looked at.

    Returns:
        ``identifiability.rank``, the number of independent activities;
        ``identifiability.unresolved_neurons``, how many senders cannot be told apart from
        others; and ``identifiability.reasons``, a list of sentences, empty if there are none.
    """
    total, neurons = recording.activity.shape
    stride = max(1, total // max(SAMPLED, 4 * neurons))
    sample = recording.activity[::stride].double()
    spread = sample.std(0, correction=0)
    silent = spread <= FLAT * sample.abs().amax(0)
    sample = (sample - sample.mean(0)) / torch.where(silent, 1.0, spread)
    sample[:, silent] = 0
    correlation = sample.T @ sample / len(sample)
    unresolved, rank = _null(correlation)
    reasons = []
    if silent.any():
        reasons.append(f"the activity of {_listed(silent)} never changes")
    if total <= neurons:
        reasons.append(f"{total} frames are too few for {neurons} neurons")
    elif (unresolved & ~silent).any():
        reasons.append(f"the activities of {_listed(unresolved & ~silent)} are not independent")
    if (deaf := recording.gain == 0).any():
        reasons.append(f"{_listed(deaf)} receive nothing (gain 0), so nothing tells their rows")
    return {
        "identifiability.rank": rank,
        "identifiability.unresolved_neurons": int(unresolved.sum()),
        "identifiability.reasons": reasons,
    }


def _null(
    correlation: Float[Tensor, "neuron neuron"],
) -> tuple[Bool[Tensor, " neuron"], int]:
    """Neurons with a share in the null space, and the rank; one Cholesky if all is well."""
    neurons = len(correlation)
    shifted = correlation - DEPENDENT * torch.eye(neurons, dtype=correlation.dtype)
    if not int(torch.linalg.cholesky_ex(shifted)[1]):
        return torch.zeros(neurons, dtype=torch.bool), neurons
    variances, modes = torch.linalg.eigh(correlation)
    null = variances <= DEPENDENT
    return (modes[:, null] ** 2).sum(1) > 1e-3, int((~null).sum())


def _listed(chosen: Bool[Tensor, " neuron"]) -> str:
    numbers = chosen.nonzero()[:, 0].tolist()
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"neurons {', '.join(map(str, numbers[:SHOWN]))}{more}"
