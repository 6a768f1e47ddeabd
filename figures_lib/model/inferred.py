"""The inferred model and the history of its inference."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from figures_lib.learner import FieldNetwork, GraphNetwork
from figures_lib.model.gnn import GNN
from figures_lib.model.joint import JointNetwork
from figures_lib.model.siren import Siren, field_in_windows

PIECES = 32  # of the recording, whose scatter tells how far weights are determined


@dataclass(frozen=True)
class SweepReport:
    """The outcome of one sweep, or of a training up to one of its steps.

    Attributes:
        index: running number of the sweep or step.
        phase: "shared", "neuron" or "type": which neurons share a function; "alone": none do;
            "joint": all networks are trained together.
        loss: unexplained fraction of the variance of x'.
        seconds: duration of the sweep, or since the report before [s].
        knots: activity at the knots of the tables.
        update: φ_i at the knots [1/time unit].
        transfer: ψ_i at the knots, scaled to a largest magnitude of 1.
        planned: number of the last step of a training; 0 where it is open.
        remaining: time until that step, as expected from the last ones [s].
    """

    index: int
    phase: str
    loss: float
    seconds: float
    knots: Float[Tensor, " knot"]
    update: Float[Tensor, "neuron knot"]
    transfer: Float[Tensor, "neuron knot"]
    planned: int = 0
    remaining: float = float("nan")

    @property
    def title(self) -> str:
        """Which sweep or step it is."""
        if self.planned:
            return f"step {self.index} of {self.planned}"
        return f"sweep {self.index}"


@dataclass(frozen=True)
class History:
    """The course of an inference: every sweep, and the embeddings during their fit."""

    sweeps: tuple[SweepReport, ...]
    embedding_steps: Float[Tensor, "step neuron embedding"]


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against a result, measured without the truth.

    Attributes:
        heldout_r2: share of the variance of x' that the final networks explain on frames that
            inference has not read.
        heldout_r2_tables: the same for the functions, W and Ω to which they are fitted.
        structure: share of that variance which these miss although it is no noise: the part of
            the residual that is alike in successive frames.
        halves_r2: R² of W that the disagreement of W from two halves of the recording leads
            one to expect.
        connected: how certain it is that the connections explain anything in those frames that
            the activity of each neuron itself does not [standard errors].
        opposed: anticorrelation of what is left of x' from one frame to the next, as far as it
            is beyond chance.
        entanglement: median variance inflation factor of the messages.
        saturated: senders whose messages hardly vary: ψ is flat where they are.
    """

    heldout_r2: float = float("nan")
    heldout_r2_tables: float = float("nan")
    structure: float = float("nan")
    halves_r2: float = float("nan")
    connected: float = float("nan")
    opposed: float = float("nan")
    entanglement: float = float("nan")
    saturated: tuple[int, ...] = ()

    @property
    def magnified(self) -> float:
        """Share of the variance of W that the misfit may account for.

        W takes up what the model misses. The variance inflation factor says how many times the
        misfit, a share of the variance of x', comes back as a share of that of W.
        """
        return self.structure * self.entanglement

    @property
    def expected_r2(self) -> float:
        """R² of W to be expected: its scatter and the misfit both take their share from 1.

        NaN if either was not measured.
        """
        return max(self.halves_r2 - self.magnified, 0.0)  # in this order NaN stays NaN


@dataclass(frozen=True)
class Diagnosis(Evidence):
    """Whether a result can be trusted, judged without the truth.

    Attributes:
        reasons: why it cannot be trusted, as sentences; none if it can.
    """

    reasons: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the result."""
        return not self.reasons


@dataclass(frozen=True)
class Errors:
    """How far the weights are determined, measured without the truth.

    Attributes:
        standard: standard error of every entry of W*, with ``PIECES`` − 1 degrees of freedom; 0
            where it is not known.
        false_positives: share of weights that are none, because their senders were shifted in
            time, but that a test at a level of 0.05 takes for connections.
    """

    standard: Float[Tensor, "neuron sender"]
    false_positives: float


@dataclass(frozen=True)
class Model:
    """Equation (2) as inferred: GNN, field network and types, in the gauge of the paper.

    Attributes:
        gnn: W* (divided by the known gain), embeddings a_i, networks φ* and ψ*.
        siren: Ω*(x, y, t).
        types: the type found for each neuron; if no neurons are alike, each is its own.
        positions: (x, y) of each neuron.
        modulated: neurons that receive the field.
        frames: length of the recording that time t = 0…1 spans [frames].
        windows: equal parts of the recording in which Ω* is constant.
        loss: unexplained fraction of the variance of x' with the final networks.
        history: the sweeps and the fit of the embeddings.
        continuum: whether no types were found.
        method: how it was inferred.
        diagnosis: whether it can be trusted.
        errors: of the weights; None where they were not asked for, or could not be found.
    """

    gnn: GNN
    siren: Siren
    types: Int[Tensor, " neuron"]
    positions: Float[Tensor, "neuron 2"]
    modulated: Bool[Tensor, " neuron"]
    frames: int
    windows: int
    loss: float
    history: History
    continuum: bool = False
    method: str = "sweeps"
    diagnosis: Diagnosis = Diagnosis()
    errors: Errors | None = None

    @property
    def types_found(self) -> int:
        """Number of types; 0 if no neurons are alike."""
        return 0 if self.continuum else int(self.types.max()) + 1

    @torch.no_grad()
    def update(self, x: Float[Tensor, "type x"]) -> Float[Tensor, "type x"]:
        """φ*(a_k, x) of each found type k at the given activities [1/time unit]."""
        return self.gnn.update_function(self.type_embedding(), x)

    @torch.no_grad()
    def transfer(self, x: Float[Tensor, "type x"]) -> Float[Tensor, "*receiver type x"]:
        """ψ* of each found type of sender; for ψ*(a_i, a_j, x) of each pair of types."""
        embedding = self.type_embedding()
        if self.gnn.config.transfer != "pair":
            return self.gnn.transfer_function(embedding, x)
        return torch.stack(
            [
                self.gnn.transfer_function(embedding, x, receiver=one.expand_as(embedding))
                for one in embedding
            ]
        )

    @torch.no_grad()
    def field(self, frames: Int[Tensor, " frame"]) -> Float[Tensor, "frame input"]:
        """Ω* of the modulated neurons at the given frames: the SIREN at the window's centre."""
        here = self.positions[self.modulated]
        return field_in_windows(self.siren, here, frames, self.frames, self.windows)

    def joint(self, gain: Float[Tensor, " neuron"]) -> JointNetwork:
        """The networks as one module that predicts dx/dt.

        Args:
            gain: known constant g_i of each neuron.
        """
        return JointNetwork(
            gnn=self.gnn,
            siren=self.siren,
            positions=self.positions,
            modulated=self.modulated,
            gain=gain,
            frames=self.frames,
            windows=self.windows,
        )

    def save(self, folder: Path) -> None:
        """Write the model into an existing folder (safetensors and JSON)."""
        save_file(_contiguous(self.gnn.state_dict()), folder / "gnn.safetensors")
        save_file(_contiguous(self.siren.state_dict()), folder / "siren.safetensors")
        sweeps = self.history.sweeps
        arrays = {
            "types": self.types,
            "positions": self.positions,
            "modulated": self.modulated,
            "embedding_steps": self.history.embedding_steps,
        }
        for sweep in sweeps:
            for name in ("knots", "update", "transfer"):
                arrays[f"sweep{sweep.index}.{name}"] = getattr(sweep, name)
        if self.errors is not None:
            arrays["errors"] = self.errors.standard
        save_file(_contiguous(arrays), folder / "model.safetensors")
        about = {
            "graph_network": self.gnn.config.model_dump(),
            "field_network": self.siren.config.model_dump(),
            "frames": self.frames,
            "windows": self.windows,
            "loss": self.loss,
            "continuum": self.continuum,
            "method": self.method,
            "diagnosis": asdict(self.diagnosis),
            "false_positives": None if self.errors is None else self.errors.false_positives,
            "sweeps": [
                {
                    key: value
                    for key, value in asdict(sweep).items()
                    if not torch.is_tensor(value)
                }
                for sweep in sweeps
            ],
        }
        (folder / "model.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Read what :meth:`save` wrote."""
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "model.safetensors")
        gnn = GNN(GraphNetwork(**about["graph_network"]), len(arrays["types"]))
        gnn.load_state_dict(load_file(folder / "gnn.safetensors"))
        siren = Siren(FieldNetwork(**about["field_network"]))
        siren.load_state_dict(load_file(folder / "siren.safetensors"))
        names = ("knots", "update", "transfer")
        sweeps = tuple(
            SweepReport(
                **entry | {name: arrays[f"sweep{entry['index']}.{name}"] for name in names}
            )
            for entry in about["sweeps"]
        )
        history = History(sweeps, arrays["embedding_steps"])
        lists = {name: tuple(about["diagnosis"][name]) for name in ("saturated", "reasons")}
        diagnosis = about["diagnosis"] | lists
        errors = None
        if "errors" in arrays:
            errors = Errors(arrays["errors"], about["false_positives"])
        kept = {name: arrays[name] for name in ("types", "positions", "modulated")}
        return cls(
            gnn=gnn,
            siren=siren,
            frames=about["frames"],
            windows=about["windows"],
            loss=about["loss"],
            history=history,
            continuum=about["continuum"],
            method=about["method"],
            diagnosis=Diagnosis(**diagnosis),
            errors=errors,
            **kept,
        )

    def type_embedding(self) -> Float[Tensor, "type embedding"]:
        """The embedding that the neurons of each type share."""
        count = int(self.types.max()) + 1
        first = [int((self.types == k).nonzero()[0, 0]) for k in range(count)]
        return self.gnn.embedding[first]


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()
    }
