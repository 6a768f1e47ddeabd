"""The network of a recording as a model to experiment with: predict, cut, silence."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.errors import ConfigError
from figures_lib.model.inferred import Model
from figures_lib.paths import user_path
from figures_lib.recording import Recording
from figures_lib.runs.files import read_json, write_json
from figures_lib.score.rollout import roll_out

FOLDER = "model"  # in the folder of the results
ABOUT = "recording.json"


@dataclass(frozen=True)
class LearnedNetwork:
    """An inferred model with what a roll-out needs to know of its recording.

    Attributes:
        model: equation (2) as inferred.
        gain: known constant g_i of each neuron.
        time_step: Δt of the recording [time unit].
        names: of the neurons.
    """

    model: Model
    gain: Float[Tensor, " neuron"]
    time_step: float
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: Model, recording: Recording, names: tuple[str, ...]) -> LearnedNetwork:
        """The network that was inferred from a recording."""
        return cls(model, recording.gain, recording.time_step, names)

    def roll_out(
        self, start: Sequence[float] | Float[Tensor, " neuron"], frames: int, first: int = 0
    ) -> Float[Tensor, "time neuron"]:
        """The activity from a state on, without noise.

        Args:
            start: activity of every neuron at the first frame.
            frames: their number, with that of the start.
            first: frame of the recording at which the hidden field, if there is one, begins.

        Raises:
            ConfigError: the state has not one number per neuron.

        Source: equation (2).
        """
        state = torch.as_tensor(start, dtype=torch.float32)
        if state.shape != (len(self.names),):
            raise ConfigError(
                f"start: has the shape {tuple(state.shape)}; give the activity of "
                f"{len(self.names)} neurons"
            )
        begin = torch.tensor([first])
        return roll_out(self.model, self.gain, state[None], begin, frames, self.time_step)[:, 0]

    def cut(self, connections: Iterable[tuple[str, str]]) -> LearnedNetwork:
        """The network without some connections, given as (from, to).

        Raises:
            ConfigError: a neuron is unknown.
        """
        weights = self.model.gnn.connectivity.detach().clone()
        for sender, to in connections:
            weights[self._place(to), self._place(sender)] = 0
        return self._with(weights)

    def silence(self, neurons: Iterable[str]) -> LearnedNetwork:
        """The network in which some neurons send nothing; they still receive.

        Raises:
            ConfigError: a neuron is unknown.
        """
        weights = self.model.gnn.connectivity.detach().clone()
        weights[:, [self._place(name) for name in neurons]] = 0
        return self._with(weights)

    def save(self, folder: Path) -> None:
        """Write into the folder ``model`` of a folder of results."""
        place = folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        self.model.save(place)
        about = {"names": self.names, "gain": self.gain.tolist(), "time_step": self.time_step}
        write_json(place / ABOUT, about)

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise ConfigError(f"no neuron is called {name}; the names begin {self.names[:5]}")
        return self.names.index(name)

    def _with(self, weights: Float[Tensor, "neuron sender"]) -> LearnedNetwork:
        gnn = copy.deepcopy(self.model.gnn)
        gnn.connectivity = torch.nn.Parameter(weights)
        return replace(self, model=replace(self.model, gnn=gnn, errors=None))


def load_model(folder: str | Path) -> LearnedNetwork:
    """Read the network that ``infer --recording`` has written into a folder of results.

    Raises:
        ConfigError: there is none.
    """
    place = user_path(folder) / FOLDER
    if not (place / ABOUT).is_file():
        raise ConfigError(
            f"{place}: no model; write one with figures_lib infer --recording FILE --out "
            f"{folder}"
        )
    about = read_json(place / ABOUT)
    names, gain = tuple(about["names"]), torch.tensor(about["gain"])
    return LearnedNetwork(Model.load(place), gain, about["time_step"], names)
