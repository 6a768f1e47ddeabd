"""An excerpt of a run: what one figure shows of it, small enough to come with the book."""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.score.scoring import Scores
from figures_lib.simulate.truth import Truth

EXCERPT = "excerpt.safetensors"  # file in the folder of a run
NEURONS = 12  # whose activity is shown
FRAMES = 5000  # of it, at most
SAMPLES = 500  # of those frames
PAIRS = 4000  # of neurons whose weights are shown
CLOUD = 1000  # neurons whose embedding is shown
POINTS = 50  # of a function
DRIFT = 200  # of the R² of a roll-out


@dataclass(frozen=True)
class Excerpt:
    """Parts of a recording, of its model and of its scores.

    Attributes:
        activity: of some neurons.
        frames: at which it was recorded.
        neurons: which these are.
        types: their true types.
        weights_true: W of some pairs of neurons, in the convention of the model.
        weights_learned: W* of the same pairs.
        embedding: a_i of some neurons.
        embedding_types: their true types.
        x: activity over the range that each true type visits.
        update_true: φ of each true type over ``x`` [1/time unit].
        update_learned: φ* likewise.
        transfer_true: ψ of each true type over ``x``, maximum 1; for each type of receivers, if
            it depends on them.
        transfer_learned: ψ* likewise.
        loss: unexplained fraction of the variance of x' after each sweep.
        drift: R² of roll-outs from several states, at every ``drift_step``-th frame.
        other_drift: the same in another network with the learned functions; empty without one.
        drift_step: frames between those of a drift.
    """

    activity: Float[Tensor, "time shown"]
    frames: Int[Tensor, " time"]
    neurons: Int[Tensor, " shown"]
    types: Int[Tensor, " shown"]
    weights_true: Float[Tensor, " pair"]
    weights_learned: Float[Tensor, " pair"]
    embedding: Float[Tensor, "cloud embedding"]
    embedding_types: Int[Tensor, " cloud"]
    x: Float[Tensor, "type x"]
    update_true: Float[Tensor, "type x"]
    update_learned: Float[Tensor, "type x"]
    transfer_true: Float[Tensor, "... type x"]
    transfer_learned: Float[Tensor, "... type x"]
    loss: Float[Tensor, " sweep"]
    drift: Float[Tensor, "state step"]
    other_drift: Float[Tensor, "start later"]
    drift_step: Int[Tensor, ""]

    @classmethod
    def of(cls, recording: Recording, truth: Truth, model: Model, scores: Scores) -> "Excerpt":
        """Take an excerpt; the pairs and neurons are drawn at random, always the same ones."""
        generator = torch.Generator().manual_seed(0)
        total, count = recording.activity.shape
        length = min(FRAMES, total)
        frames = torch.arange(0, length, max(1, length // SAMPLES)) + (total - length) // 2
        shown = _evenly_by_type(truth.types, NEURONS)
        pairs = torch.randint(count**2, (min(PAIRS, count**2),), generator=generator)
        cloud = torch.randperm(count, generator=generator)[:CLOUD].sort().values
        points = torch.linspace(0, scores.x.shape[1] - 1, POINTS).round().long()
        step = max(1, scores.drift.shape[1] // DRIFT)
        return cls(
            activity=recording.activity[frames][:, shown],
            frames=frames,
            neurons=shown,
            types=truth.types[shown],
            weights_true=scores.connectivity_true.flatten()[pairs],
            weights_learned=scores.connectivity_learned.flatten()[pairs],
            embedding=model.gnn.embedding.detach()[cloud],
            embedding_types=truth.types[cloud],
            x=scores.x[:, points],
            update_true=scores.update_true[:, points],
            update_learned=scores.update_learned[:, points],
            transfer_true=scores.transfer_true[..., points],
            transfer_learned=scores.transfer_learned[..., points],
            loss=torch.tensor([sweep.loss for sweep in model.history.sweeps]),
            drift=scores.drift[:, ::step].contiguous(),
            other_drift=scores.other_drift[:, ::step],
            drift_step=torch.tensor(step),
        )

    def save(self, path: Path) -> None:
        """Write one file (safetensors)."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        save_file({name: array.contiguous() for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> "Excerpt":
        """Read what :meth:`save` wrote."""
        return cls(**load_file(path))


def excerpt_file(sweep: Path, name: str) -> Path:
    """The excerpt of a run of a sweep."""
    return sweep / "runs" / name / EXCERPT


def _evenly_by_type(types: Int[Tensor, " neuron"], count: int) -> Int[Tensor, " shown"]:
    """Neurons at equal steps through all of them, ordered by type."""
    ordered = types.argsort(stable=True)
    return ordered[torch.linspace(0, len(types) - 1, min(count, len(types))).round().long()]
