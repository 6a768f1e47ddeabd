"""The experiment: every number that determines a run, validated and frozen.

A YAML file names an experiment; :func:`load_experiment` reads it, applies dotted
overrides (``simulation.frames=2000``) and returns an immutable :class:`Experiment`.
Anything unknown, mistyped or impossible raises one :class:`~figures_lib.errors.ConfigError`
that names the key, what was found and what is allowed.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from figures_lib.errors import ConfigError, shown
from figures_lib.learner import FieldNetwork, GraphNetwork, Inference, Learner, Training
from figures_lib.neurons import NEURON_MODELS
from figures_lib.neurons.neuron import NeuronModel, NeuronParameters, types_in_blocks
from figures_lib.paths import find_input
from figures_lib.section import (
    LARGE,
    Count,
    FilePath,
    NonNegative,
    Positive,
    PositiveInt,
    Section,
    Seed,
    name_in,
    one_line,
)
from figures_lib.weights import DISTRIBUTIONS
from figures_lib.yaml_file import read_yaml, set_key

BASE = "base"  # key of a file that names another one
NeuronType = TypeVar("NeuronType", bound=NeuronParameters)


class Simulation(Section):
    """Size, duration and noise of the simulated recording.

    Attributes:
        neurons: N.
        input_neurons: neurons that the hidden movie modulates; a square number.
        frames: recorded frames.
        warm_up: frames simulated before them, with Ω = 0 for the input neurons.
        time_step: Δt [time unit].
        noise: σ, standard deviation of the noise added per step.
        type_order: whether the neurons of a type are consecutive or shuffled.
        type_shares: how many neurons each type has, relative to the others; by default as many.
    """

    neurons: Annotated[int, Field(ge=2, le=LARGE)] = 2048
    input_neurons: Count = 1024
    frames: Annotated[int, Field(ge=2, le=LARGE)] = 50_000
    warm_up: Count = 10_000
    time_step: Positive = 0.01
    noise: NonNegative = 1.0
    type_order: Literal["blocks", "shuffled"] = "blocks"
    type_shares: Annotated[tuple[Positive, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _input_neurons_form_a_grid(self) -> Simulation:
        if self.input_neurons > self.neurons:
            raise ValueError(
                f"simulation.input_neurons: {self.input_neurons} exceeds "
                f"simulation.neurons = {self.neurons}; lower it or raise simulation.neurons"
            )
        side = math.isqrt(self.input_neurons)
        if side * side != self.input_neurons:
            raise ValueError(
                f"simulation.input_neurons: {self.input_neurons} is not a square; the input "
                f"neurons form a grid, use {side * side} or {(side + 1) ** 2}"
            )
        return self


class Connectivity(Section):
    """How the true connectivity W is drawn, or the file it is read from.

    Attributes:
        distribution: a name in the table of :mod:`figures_lib.weights`.
        truncation: entries beyond ±truncation are set to 0 before scaling (heavy tails only).
        scale: factor of the drawn entries; by default that of the distribution for N.
        density: probability that an entry is kept.
        source: file of W (.npy, .npz or .safetensors).
    """

    distribution: Annotated[str, name_in(DISTRIBUTIONS)] = "cauchy"
    truncation: Positive = 25.0
    scale: Positive | None = None
    density: Annotated[float, Field(gt=0, le=1)] = 1.0
    source: FilePath | None = None


class ExternalInput(Section):
    """The hidden movie Ω(x, y, t): a file, or the project's own walking animal.

    Attributes:
        source: file or folder of the movie.
        images: images of the walking animal.
        minimum: smallest Ω, to which the animal and movies of integers are scaled.
        maximum: largest Ω, likewise.
    """

    source: FilePath | None = None
    images: PositiveInt = 257
    minimum: Positive = 0.5
    maximum: Positive = 1.5

    @model_validator(mode="after")
    def _range_is_ordered(self) -> ExternalInput:
        if self.minimum >= self.maximum:
            raise ValueError(
                f"external_input.minimum: {self.minimum} is not below "
                f"external_input.maximum = {self.maximum}; lower it"
            )
        return self


class OtherNetwork(Section):
    """Another network in which the learned φ* and ψ* are tried, by roll-outs.

    Its weights are drawn anew and, like its types, given; no field modulates it.

    Attributes:
        density: probability that a weight is kept.
        type_shares: how many neurons each type has, relative to the others, 0 for none; by
            default as many.
    """

    density: Annotated[float, Field(gt=0, le=1)] = 1.0
    type_shares: Annotated[tuple[NonNegative, ...], Field(strict=False)] | None = None


class Experiment(Section, Generic[NeuronType]):
    """One experiment: simulation, hidden movie, connectivity, inference.

    ``neuron_model`` names a model of :mod:`figures_lib.neurons`, and ``neuron_types`` holds
    its parameters for each type. ``profile`` labels the run and names its default folder.
    """

    profile: str = "paper"
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    simulation: Simulation = Simulation()
    neuron_model: Annotated[str, name_in(NEURON_MODELS)] = "saturating"
    neuron_types: Annotated[tuple[NeuronType, ...], Field(min_length=1, strict=False)]
    connectivity: Connectivity = Connectivity()
    external_input: ExternalInput = ExternalInput()
    inference: Inference = Inference()
    graph_network: GraphNetwork = GraphNetwork()
    field_network: FieldNetwork = FieldNetwork()
    training: Training = Training()
    other_network: OtherNetwork | None = None

    @field_validator("profile")
    @classmethod
    def _profile_names_a_folder(cls, profile: str) -> str:
        if not re.fullmatch(r"\w[\w.+-]{0,63}", profile):
            raise ValueError(
                f"profile: {profile!r:.80} cannot name the folder of the results; use up to 64 "
                "letters, digits, '_', '-', '+' and '.'"
            )
        return profile

    @model_validator(mode="after")
    def _every_type_has_a_neuron(self) -> Experiment:
        if len(self.neuron_types) > self.simulation.neurons:
            raise ValueError(
                f"neuron_types: {len(self.neuron_types)} types for simulation.neurons = "
                f"{self.simulation.neurons} neurons; remove types or raise simulation.neurons"
            )
        return self

    @model_validator(mode="after")
    def _every_type_has_a_share(self) -> Experiment:
        count, neurons = len(self.neuron_types), self.simulation.neurons
        if len(self.type_shares) != count:
            raise ValueError(
                f"simulation.type_shares: {len(self.type_shares)} shares for {count} "
                "neuron_types; give one for each"
            )
        members = types_in_blocks(neurons, self.type_shares).bincount(minlength=count)
        if not members.all():
            least = int(members.argmin())
            raise ValueError(
                f"simulation.type_shares: {self.type_shares[least]} leaves none of {neurons} "
                f"neurons to type {least}; raise it, or simulation.neurons"
            )
        return self

    @model_validator(mode="after")
    def _other_network_has_a_share_for_every_type(self) -> Experiment:
        shares = None if self.other_network is None else self.other_network.type_shares
        if shares is not None and (len(shares) != len(self.neuron_types) or not any(shares)):
            raise ValueError(
                f"other_network.type_shares: {list(shares)} for {len(self.neuron_types)} "
                "neuron_types; give one share for each, at least one of them above 0"
            )
        return self

    @property
    def type_shares(self) -> tuple[float, ...]:
        """How many neurons each type has, relative to the others."""
        return self.shares(self.simulation.type_shares)

    def shares(self, given: tuple[float, ...] | None) -> tuple[float, ...]:
        """The given shares of the types; equal ones if none are given."""
        return given or (1.0,) * len(self.neuron_types)

    @property
    def neuron(self) -> NeuronModel:
        """The neuron model that all neurons share."""
        return NEURON_MODELS[self.neuron_model]

    @property
    def learner(self) -> Learner:
        """The part that inference may read; ``seed`` falls back on that of the experiment."""
        return Learner.of(self)


def input_files(experiment: Experiment) -> dict[str, str]:
    """The files that an experiment reads, by the dotted keys that name them."""
    external, weights = experiment.external_input, experiment.connectivity
    sources = {"external_input.source": external.source, "connectivity.source": weights.source}
    return {key: path for key, path in sources.items() if path}


def load_experiment(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read and validate an experiment.

    Args:
        path: YAML file of an experiment (see ``config/fig3.yaml``). Its key ``base`` may name
            another one, whose settings hold where the file itself has none.
        overrides: dotted keys and their values, e.g. ``{"simulation.frames": 2000}`` or
            ``{"neuron_types.0.width": 3.0}``. Values are taken as they are.

    Returns:
        The frozen experiment.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is unknown, mistyped or
            impossible. The message is one line: key, value found, what is allowed.
    """
    path = Path(path)
    return validated(_with_base(path), overrides or {}, f"{path}: ")


def _with_base(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a file and of those that it is based on."""
    tree, here = read_yaml(path), (*above, path.resolve())
    if BASE not in tree:
        return tree
    base = tree.pop(BASE)
    if not isinstance(base, str):
        raise ConfigError(
            f"{path}: {BASE}: expected the name of a YAML file (found {shown(base, 60)})"
        )
    found = find_input(base)
    if not found.is_file():
        raise ConfigError(f"{path}: {BASE}: no file {base}; name an existing YAML file")
    if found.resolve() in here:
        raise ConfigError(f"{path}: {BASE}: {base} is based on this file; remove one of them")
    return _merged(_with_base(found, here), tree)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The tree ``base`` with the settings of ``own``; a list replaces the whole list."""
    both = dict(base)
    for key, value in own.items():
        inner = both.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            both[key] = _merged(inner, value)
        else:
            both[key] = value
    return both


def change_experiment(experiment: Experiment, overrides: Mapping[str, Any]) -> Experiment:
    """The same experiment with the values of some dotted keys replaced.

    Raises:
        ConfigError: as :func:`load_experiment`.
    """
    return validated(experiment.model_dump(mode="json"), overrides)


def validated(
    tree: dict[str, Any], overrides: Mapping[str, Any] = MappingProxyType({}), where: str = ""
) -> Experiment:
    """The experiment that a tree of settings describes.

    Args:
        tree: sections and their keys, as in a file; overrides are written into it.
        overrides: as for :func:`load_experiment`.
        where: begins every message.

    Raises:
        ConfigError: as :func:`load_experiment`.
    """
    for key, value in overrides.items():
        set_key(tree, key, copy.deepcopy(value))  # a later key may change a part of it
    kind = _kind(tree)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(where + one_line(error, kind)) from None


def _kind(tree: Mapping[str, Any]) -> type[Experiment]:
    """The experiment class for the neuron model that a file names.

    The validation that follows reports an unknown name, with all other problems.
    """
    default = Experiment.model_fields["neuron_model"].default
    name = tree.get("neuron_model", default)
    known = isinstance(name, str) and name in NEURON_MODELS
    return Experiment[NEURON_MODELS[name if known else default].parameters]  # type: ignore[return-value]
