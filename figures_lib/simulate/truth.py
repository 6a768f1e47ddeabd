"""The truth behind a simulated recording, which only scores and figures may read."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from figures_lib.config import Experiment
from figures_lib.model.dynamics import Dynamics
from figures_lib.neurons import NEURON_MODELS
from figures_lib.neurons.neuron import (
    NeuronModel,
    NeuronParameters,
    of_each_neuron,
    types_in_blocks,
)
from figures_lib.simulate.movie import field_on_grid, image_index, load_movie
from figures_lib.simulate.network import draw_connectivity

ELSEWHERE = 1_000_000  # added to the seed for the other network
STREAMS = ("connectivity", "types", "noise")  # purposes with random numbers of their own


@dataclass(frozen=True)
class Truth:
    """The simulated network and its hidden movie.

    Attributes:
        connectivity: W; row i receives from column j.
        types: type of each neuron.
        field: Ω of the modulated neurons, one row per image of the movie.
        neuron_model: name of the model of all neurons.
        neuron_types: its parameters for each type.
        frames: recorded frames that the movie spans.
    """

    connectivity: Float[Tensor, "neuron neuron"]
    types: Int[Tensor, " neuron"]
    field: Float[Tensor, "image input"]
    neuron_model: str
    neuron_types: tuple[NeuronParameters, ...]
    frames: int

    @property
    def neuron(self) -> NeuronModel:
        """φ and ψ."""
        return NEURON_MODELS[self.neuron_model]

    @property
    def dynamics(self) -> Dynamics:
        """Equation (1) for this network."""
        return Dynamics(self.neuron, self.parameters(), self.connectivity)

    def field_at(self, frames: Int[Tensor, " frame"]) -> Float[Tensor, "frame input"]:
        """Ω of the modulated neurons at the given frames."""
        return self.field[image_index(frames, self.frames, len(self.field))]

    def parameters(self) -> dict[str, Float[Tensor, " neuron"]]:
        """Each parameter of the neuron model as one value per neuron."""
        return of_each_neuron(self.neuron_types, self.types)

    def update(self, x: Float[Tensor, "type x"]) -> Float[Tensor, "type x"]:
        """φ of each type, one per row [1/time unit]."""
        return self.neuron.update(x, self._of_each_type())

    def transfer(self, x: Float[Tensor, "type x"]) -> Float[Tensor, "*receiver type x"]:
        """ψ of each type of senders, one per row, dimensionless.

        For each type of receivers, if it depends on that.
        """
        own = self._of_each_type()
        if not self.neuron.by_receiver:
            return self.neuron.transfer(x, own, own)
        receivers = {name: values[:, None] for name, values in own.items()}
        return self.neuron.transfer(x.expand(len(x), -1, -1), own, receivers)

    def save(self, folder: Path) -> None:
        """Write into an existing folder."""
        tensors = {
            "connectivity": self.connectivity,
            "types": self.types,
            "field": self.field,
        }
        save_file(tensors, folder / "truth.safetensors")
        about = {
            "frames": self.frames,
            "neuron_model": self.neuron_model,
            "neuron_types": [one.model_dump() for one in self.neuron_types],
        }
        (folder / "truth.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        """Read what :meth:`save` wrote."""
        about = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        kind = NEURON_MODELS[about["neuron_model"]].parameters
        return cls(
            neuron_model=about["neuron_model"],
            neuron_types=tuple(kind(**one) for one in about["neuron_types"]),
            frames=about["frames"],
            **load_file(folder / "truth.safetensors"),
        )

    def _of_each_type(self) -> dict[str, Float[Tensor, "type 1"]]:
        every = torch.arange(len(self.neuron_types))
        parameters = of_each_neuron(self.neuron_types, every)
        return {name: values[:, None] for name, values in parameters.items()}


def draw_truth(experiment: Experiment) -> Truth:
    """Connectivity, types and field of an experiment; each has its own random stream.

    Raises:
        ConfigError: the movie or the connectivity file cannot be used.
    """
    settings = experiment.simulation
    types = types_in_blocks(settings.neurons, experiment.type_shares)
    if settings.type_order == "shuffled":
        order = torch.randperm(settings.neurons, generator=random_stream(experiment, "types"))
        types = types[order]
    side = round(settings.input_neurons**0.5)
    movie = load_movie(experiment.external_input, max(side, 1), experiment.seed)
    weights = draw_connectivity(
        experiment.connectivity, settings.neurons, random_stream(experiment, "connectivity")
    )
    return Truth(
        connectivity=weights,
        types=types,
        field=field_on_grid(movie)[:, : settings.input_neurons],
        neuron_model=experiment.neuron_model,
        neuron_types=experiment.neuron_types,
        frames=settings.frames,
    )


def draw_other(experiment: Experiment) -> Truth | None:
    """The other network in which the learned functions are tried; None if none is wanted.

    Raises:
        ConfigError: the connectivity file cannot be used.

    Source: Figures S5 and S6.
    """
    settings = experiment.other_network
    if settings is None:
        return None
    elsewhere = experiment.model_copy(update={"seed": experiment.seed + ELSEWHERE})
    weights = experiment.connectivity.model_copy(update={"density": settings.density})
    neurons, generator = experiment.simulation.neurons, random_stream(elsewhere, "connectivity")
    return Truth(
        connectivity=draw_connectivity(weights, neurons, generator),
        types=types_in_blocks(neurons, experiment.shares(settings.type_shares)),
        field=torch.ones(1, 0),
        neuron_model=experiment.neuron_model,
        neuron_types=experiment.neuron_types,
        frames=experiment.simulation.frames,
    )


def random_stream(
    experiment: Experiment, purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The random numbers for one purpose, so that changing it does not redraw the others.

    Args:
        experiment: supplies the seed.
        purpose: one of ``STREAMS``.
        device: where the numbers are drawn.
    """
    seed = len(STREAMS) * experiment.seed + STREAMS.index(purpose)
    return torch.Generator(device=device).manual_seed(seed)
