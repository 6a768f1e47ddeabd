"""Scores: the only place where the inferred model meets the truth.

The true model is expressed in the convention of the inferred one before they are compared:
ψ of each type is scaled to maximum 1 over the visited activity and the true weights of its
senders by the inverse. The rows of W* and Ω* are not rescaled to fit the truth, except for the
scores named gauge-free, which are an upper limit of the raw ones.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from figures_lib.infer import gauge
from figures_lib.infer.diagnosis import identifiability
from figures_lib.model.inferred import Evidence, Model
from figures_lib.recording import Recording
from figures_lib.score.edges import score_edges
from figures_lib.score.elsewhere import elsewhere
from figures_lib.score.formulas import formulas_of
from figures_lib.score.regression import fit_line
from figures_lib.score.rollout import drift, roll_out, true_roll_out
from figures_lib.score.spectrum import spectrum
from figures_lib.simulate.truth import Truth

ROLLOUT_FRAMES = 200  # 2 time units: one to four relaxation times of the published neurons
FIELD_FRAMES = 2000  # at which Ω* and Ω are compared, at most
GAUGE_ROUNDS = 20  # alternating regressions that find the gauge-free scales
LOSS_FRAMES = 256  # frames on which the final networks are evaluated


@dataclass(frozen=True)
class Scores:
    """Metrics, and the arrays that the figures compare.

    Attributes:
        metrics: the keys that need the truth, e.g. ``connectivity.r2``.
        connectivity_true: W in the ψ convention of the model, Float["neuron neuron"].
        connectivity_learned: W*.
        x: activity over the range that each true type visits.
        update_true: φ of each true type over ``x`` [1/time unit].
        update_learned: φ* of the found type that is most common in each true type.
        transfer_true: ψ of each true type over ``x``, maximum 1; for each type of receivers,
            if it depends on them.
        transfer_learned: ψ* likewise; else its mean over the types of receivers.
        type_of_cluster: the true type that is most common in each found type.
        eigenvalues_true: real and imaginary part of those of W; none of large networks.
        eigenvalues_learned: those of W*.
        alignment: magnitude of ``⟨v, v*⟩`` of leading eigenvectors, see
            :class:`~figures_lib.score.spectrum.Spectrum`.
        drift: R² of a roll-out at every frame, see :class:`~figures_lib.score.rollout.Drift`.
        other_drift: the same of another network with the learned functions; empty without one.
        rolled_true: activity of some neurons of it, of the true network.
        rolled_learned: the same of the learned network.
        rolled_neurons: which neurons these are.
    """

    metrics: dict[str, Any]
    connectivity_true: Float[Tensor, "neuron neuron"]
    connectivity_learned: Float[Tensor, "neuron neuron"]
    x: Float[Tensor, "type x"]
    update_true: Float[Tensor, "type x"]
    update_learned: Float[Tensor, "type x"]
    transfer_true: Float[Tensor, "... type x"]
    transfer_learned: Float[Tensor, "... type x"]
    type_of_cluster: Int[Tensor, " cluster"]
    eigenvalues_true: Float[Tensor, "eigenvalue 2"]
    eigenvalues_learned: Float[Tensor, "eigenvalue 2"]
    alignment: Float[Tensor, " leading"]
    drift: Float[Tensor, "state time"]
    other_drift: Float[Tensor, "start later"]
    rolled_true: Float[Tensor, "time shown"]
    rolled_learned: Float[Tensor, "time shown"]
    rolled_neurons: Int[Tensor, " shown"]

    def save(self, folder: Path) -> None:
        """Write into an existing folder (JSON and safetensors)."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metrics"}
        save_file(
            {name: array.contiguous() for name, array in arrays.items()},
            folder / "scores.safetensors",
        )
        text = json.dumps(self.metrics, indent=1)
        (folder / "scores.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Scores":
        """Read what :meth:`save` wrote."""
        metrics = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        return cls(metrics=metrics, **load_file(folder / "scores.safetensors"))


@dataclass(frozen=True)
class Compared:
    """The unknowns of a model and the true ones, both in the convention of the model.

    Attributes:
        accuracy: share of neurons in matched types.
        type_of_cluster: the true type that is most common in each found type.
        cluster_of_type: the found type that is most common in each true type.
        x: activity over the range that each true type visits.
        update: true φ and φ*.
        transfer: true ψ and ψ*, the largest value 1.
        scale: what the true ψ, and ψ*, were divided by.
        connectivity: true W and W*.
    """

    accuracy: float
    type_of_cluster: Int[Tensor, " cluster"]
    cluster_of_type: Int[Tensor, " type"]
    x: Float[Tensor, "type x"]
    update: tuple[Float[Tensor, "type x"], Float[Tensor, "type x"]]
    transfer: tuple[Float[Tensor, "... type x"], Float[Tensor, "... type x"]]
    scale: tuple[Tensor, Tensor]
    connectivity: tuple[Float[Tensor, "neuron neuron"], Float[Tensor, "neuron neuron"]]

    def metrics(self) -> dict[str, float]:
        """How well W, the types and the functions agree."""
        r2, slope = fit_line(*self.connectivity)
        return {
            "connectivity.r2": r2,
            "connectivity.slope": slope,
            "connectivity.r2_gauge_free": gauge_free_r2(*self.connectivity),
            "types.accuracy": self.accuracy,
            "phi.max_error": worst_error(*self.update),
            "psi.max_error": worst_error(*self.transfer),
        }


def compare(recording: Recording, truth: Truth, model: Model) -> Compared:
    """Express the truth in the convention of the model; the arguments are those of `score`."""
    accuracy, type_of_cluster, cluster_of_type = match_types(model.types, truth.types)
    x = gauge.visited_grid(recording.activity, truth.types)
    update, transfer = _functions(model, x, cluster_of_type, truth.neuron.by_receiver)
    functions = truth.transfer(x), transfer
    scales = tuple(gauge.transfer_scale(one) for one in functions)
    weights = truth.connectivity, model.gnn.connectivity.detach()
    return Compared(
        accuracy,
        type_of_cluster,
        cluster_of_type,
        x,
        (truth.update(x), update),
        (functions[0] / scales[0][..., None], functions[1] / scales[1][..., None]),
        (scales[0], scales[1]),
        (
            weights[0] * gauge.of_neurons(scales[0], truth.types),
            weights[1] * gauge.of_neurons(scales[1], truth.types),
        ),
    )


def main_scores(recording: Recording, truth: Truth, model: Model) -> dict[str, float]:
    """The scores of W, the types, the functions and the field alone, within seconds."""
    return compare(recording, truth, model).metrics() | _score_field(truth, model)


def score(
    recording: Recording, truth: Truth, model: Model, other: Truth | None = None
) -> Scores:
    """Compare the inferred model with the truth.

    Args:
        recording: the recording that the model was inferred from.
        truth: connectivity, types, field and functions of the simulation.
        model: inferred model.
        other: another network, in which the learned functions are tried.

    Returns:
        Metrics and comparable arrays.

    Source: Figure 3 d (connectivity), e (field) and the learned functions.
    """
    compared = compare(recording, truth, model)
    metrics: dict[str, Any] = {**compared.metrics()}
    metrics |= score_edges(*compared.connectivity, model.diagnosis)
    spectra = spectrum(*compared.connectivity)
    metrics |= {f"spectrum.{key}": value for key, value in spectra.metrics().items()}
    metrics |= _score_field(truth, model)
    metrics |= _score_roll_out(recording, truth, model)
    drifted = drift(recording, truth, model)
    metrics |= drifted.metrics("rollout")
    other_drift = torch.empty(0, 0)
    if other is not None:
        scale, learned_scale = compared.scale
        clusters = compared.cluster_of_type
        moved = elsewhere(recording, model, other, clusters, scale / learned_scale)
        metrics |= moved.metrics("other_network")
        other_drift = moved.r2
    metrics |= _describe(recording, truth, model, compared.type_of_cluster)
    metrics |= without_truth(recording, model)
    return Scores(
        metrics,
        *compared.connectivity,
        compared.x,
        *compared.update,
        *compared.transfer,
        compared.type_of_cluster,
        spectra.true,
        spectra.learned,
        spectra.alignment,
        drifted.r2,
        other_drift,
        drifted.true,
        drifted.learned,
        drifted.neurons,
    )


def without_truth(recording: Recording, model: Model) -> dict[str, Any]:
    """The metrics that need no truth: what was found, and what speaks for and against it."""
    evidence = {one.name: getattr(model.diagnosis, one.name) for one in fields(Evidence)}
    return {
        "types.n_found": model.types_found,
        "loss.final": final_loss(recording, model),
        "external_input.windows": model.windows,
        **identifiability(recording),
        "inference.method": model.method,
        "diagnosis.trusted": model.diagnosis.trusted,
        "diagnosis.reasons": list(model.diagnosis.reasons),
        **{f"diagnosis.{name}": value for name, value in evidence.items()},
        "diagnosis.expected_r2": model.diagnosis.expected_r2,
        "diagnosis.saturated": list(model.diagnosis.saturated),
    }


def gauge_free_r2(
    true: Float[Tensor, "neuron neuron"], learned: Float[Tensor, "neuron neuron"]
) -> float:
    """R² after the row and column scales that fit the truth best."""
    return fit_line(true.double(), fit_scales(true, learned))[0]


def fit_scales(
    true: Float[Tensor, "neuron neuron"], learned: Float[Tensor, "neuron neuron"]
) -> Float[Tensor, "neuron neuron"]:
    """Learned weights with the row and column scales that fit the truth best.

    Activity alone cannot determine them. Found by alternating regressions.
    """
    true, scaled = true.double(), learned.double()
    for _ in range(GAUGE_ROUNDS):
        for dim in (1, 0):
            scaled = scaled * best_scales(true, scaled, dim)
    return scaled


def best_scales(true: Tensor, learned: Tensor, dim: int) -> Tensor:
    """The factors, constant along ``dim``, by which ``learned`` comes closest to the truth."""
    power = (learned**2).sum(dim, keepdim=True).clamp_min(1e-30)
    return (true * learned).sum(dim, keepdim=True) / power


def match_types(
    found: Int[Tensor, " neuron"], true: Int[Tensor, " neuron"]
) -> tuple[float, Int[Tensor, " cluster"], Int[Tensor, " type"]]:
    """Match found and true types; accuracy under the best one-to-one matching.

    Returns:
        The share of neurons in matched types; for each found type the true type most common
        in it; for each true type the found type most common in it.
    """
    counts = torch.zeros(int(found.max()) + 1, int(true.max()) + 1, dtype=torch.long)
    counts.index_put_((found, true), torch.ones_like(found), accumulate=True)
    rows, columns = linear_sum_assignment(-counts.numpy())
    accuracy = float(counts.numpy()[rows, columns].sum() / len(true))
    return accuracy, counts.argmax(1), counts.argmax(0)


def final_loss(recording: Recording, model: Model) -> float:
    """Unexplained fraction of the variance of x' with the final networks (no truth needed)."""
    count = 4 if model.gnn.config.transfer == "pair" else LOSS_FRAMES
    frames = torch.linspace(0, len(recording.activity) - 1, count).long()
    target = recording.derivative[frames]
    with torch.no_grad():
        error = target - model.joint(recording.gain)(recording.activity[frames], frames)
    return float((error**2).sum() / ((target - target.mean(0)) ** 2).sum())


def _functions(
    model: Model,
    x: Float[Tensor, "type x"],
    cluster_of_type: Int[Tensor, " type"],
    by_receiver: bool,
) -> tuple[Float[Tensor, "type x"], Float[Tensor, "*receiver type x"]]:
    """φ* and ψ* of the found type most common in each true type.

    ψ* of each type of receivers if the true one depends on them; else its mean over them.
    """
    update, transfer = [], []
    for grid, cluster in zip(x, cluster_of_type, strict=True):
        grids = grid.expand(int(model.types.max()) + 1, -1)
        update.append(model.update(grids)[cluster])
        values = model.transfer(grids)[..., cluster, :]
        if by_receiver and values.dim() == 2:
            values = values[cluster_of_type]
        elif by_receiver:
            values = values.expand(len(x), -1)
        elif values.dim() == 2:
            values = values.mean(0)
        transfer.append(values)
    return torch.stack(update), torch.stack(transfer, -2)


def worst_error(
    true: Float[Tensor, "*receiver type x"], learned: Float[Tensor, "*receiver type x"]
) -> float:
    """Largest deviation as a fraction of the range of the true function, worst type."""
    spread = (true.amax(-1) - true.amin(-1)).clamp_min(1e-12)
    return float(((true - learned).abs().amax(-1) / spread).max())


def _score_field(truth: Truth, model: Model) -> dict[str, float]:
    """R² of Ω* against Ω over modulated neurons and frames, raw and with row scales fitted."""
    if not model.modulated.any():
        return {"external_input.r2": np.nan, "external_input.r2_gauge_free": np.nan}
    frames = torch.linspace(0, model.frames - 1, min(FIELD_FRAMES, model.frames)).long()
    true, learned = truth.field_at(frames).double(), model.field(frames).double()
    ratio = best_scales(true, learned, 0)
    return {
        "external_input.r2": fit_line(true, learned)[0],
        "external_input.r2_gauge_free": fit_line(true, learned * ratio)[0],
    }


def _describe(
    recording: Recording, truth: Truth, model: Model, type_of_cluster: Int[Tensor, " cluster"]
) -> dict[str, Any]:
    """Formulas of the learned functions, with the learned and true parameters of found types.

    Of parameters that the neuron model does not have there is no true value, and of those of ψ
    none where it depends on the receiver.
    """
    own = [truth.neuron_types[int(k)] for k in type_of_cluster]
    metrics: dict[str, Any] = {}
    formulas = formulas_of(model.history, recording.activity, model.types)
    comparable = (True, not truth.neuron.by_receiver)
    for kind, formula, shown in zip(("update", "transfer"), formulas, comparable, strict=True):
        known = (None, None) if formula is None else (formula.text, formula.missed)
        metrics[f"formulas.{kind}"], metrics[f"formulas.{kind}_missed"] = known
        if formula is not None:
            for name, values in formula.parameters.items():
                metrics[f"formulas.{name}"] = {
                    "learned": _known(values),
                    "error": _known(formula.errors[name]),
                    "true": [getattr(one, name, None) if shown else None for one in own],
                }
    return metrics


def _known(values: Float[np.ndarray, " n"]) -> list[float | None]:
    """The values, None in place of those that are not known."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _score_roll_out(recording: Recording, truth: Truth, model: Model) -> dict[str, float | int]:
    """R² of a noise-free roll-out from a state that is not in the recording.

    The state takes the activity of each neuron from a frame of its own, so that it has the
    right marginal distributions but is not part of the recording. The horizon is two time
    units: a neuron forgets its own state, but trajectories do not diverge yet.
    """
    total = len(recording.activity)
    frames = min(ROLLOUT_FRAMES, total)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(total, (len(model.types),), generator=generator)
    start = recording.activity[chosen, torch.arange(len(model.types))][None].clone()
    first, step = torch.tensor([(total - frames) // 2]), recording.time_step
    learned = roll_out(model, recording.gain, start, first, frames, step)
    true = true_roll_out(truth, model.modulated, start, first, frames, step)
    return {
        "rollout.r2": fit_line(true, learned)[0],
        "rollout.horizon_frames": frames,
    }
