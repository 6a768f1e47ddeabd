"""The experiment: every number that determines a run, validated and frozen.

A YAML file names an experiment; :func:`load_experiment` reads it, applies dotted
overrides (``simulation.frames=2000``) and returns an immutable :class:`Experiment`.
Anything unknown, mistyped or impossible raises one :class:`ConfigError` that names the
key, what was found and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

LARGEST_FILE = 2**20  # bytes of a YAML file; ours have a few hundred
LARGE = 10**9  # no number may be beyond: float32 and int64 hold its products with others
SMALL = 1e-9  # nor a positive one below: float32 would make 0 of it

PositiveInt = Annotated[int, Field(gt=0, le=LARGE)]
Count = Annotated[int, Field(ge=0, le=LARGE)]
Positive = Annotated[float, Field(ge=SMALL, le=LARGE, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=LARGE, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-LARGE, le=LARGE, allow_inf_nan=False)]
FilePath = Annotated[str, Field(min_length=1)]


class OneLineError(Exception):
    """An error whose message tells the user all there is to know."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook, and in what papermill reports of it, the message is all."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(OneLineError, ValueError):
    """A configuration that cannot be run; the message names the key and the remedy."""


class Section(BaseModel):
    """A part of a configuration: frozen, and strict about keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NeuronType(Section):
    """Parameters of one neuron type in the simulated dynamics.

    dx/dt = −decay·x + self_coupling·tanh(x) + offset
            + gain·Ω(t)·Σ_j W_ij·(tanh((x_j − threshold_j)/width_j) − slope_j·x_j)

    Symbols of the paper: decay = 1/τ [1/time unit], offset = b, gain = g,
    self_coupling = s, width = γ, threshold = h, slope = θ.
    """

    decay: Positive
    offset: Finite = 0.0
    gain: Finite = 10.0
    self_coupling: Finite
    width: Positive
    threshold: Finite = 0.0
    slope: Finite = 0.0


class Simulation(Section):
    """Size, duration and noise of the simulated recording."""

    neurons: Annotated[int, Field(ge=2, le=LARGE)] = 2048
    input_neurons: Count = 1024
    frames: Annotated[int, Field(ge=2, le=LARGE)] = 50_000
    warm_up: Count = 10_000
    time_step: Positive = 0.01
    noise: NonNegative = 1.0
    type_order: Literal["blocks", "shuffled"] = "blocks"

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
    """How the true connectivity W is drawn, or the file it is read from."""

    distribution: Literal["cauchy", "gaussian"] = "cauchy"
    truncation: Positive = 25.0
    scale: Positive | None = None
    density: Annotated[float, Field(gt=0, le=1)] = 1.0
    source: FilePath | None = None


class ExternalInput(Section):
    """The hidden movie Ω(x, y, t): a file, or the project's own walking animal."""

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


class FieldNetwork(Section):
    """The SIREN that represents the field Ω*(x, y, t), and how it is fitted."""

    layers: Annotated[int, Field(ge=2, le=LARGE)] = 4
    width: PositiveInt = 256
    omega: Positive = 30.0
    time_scale: Positive = 3.0
    space_scale: Positive = 1.0
    steps: PositiveInt = 1800
    batch: PositiveInt = 4096
    learning_rate: Positive = 1.5e-3


class GraphNetwork(Section):
    """The GNN: φ*(a_i, x_i) and one of the three variants of ψ*, and how it is fitted."""

    transfer: Literal["shared", "sender", "pair"] = "sender"
    embedding: PositiveInt = 2
    width: PositiveInt = 64
    phi_layers: PositiveInt = 3
    psi_layers: PositiveInt = 5
    steps: PositiveInt = 3000
    batch: PositiveInt = 256
    learning_rate: Positive = 2e-3


class Inference(Section):
    """The sweeps of exact least squares: shared, per neuron, then three rounds per type.

    ``derivative`` is what is regressed on: dx/dt as simulated, or finite differences of the
    activity, with their noise. ``seed`` starts the networks; without it, the experiment's does.
    """

    frames_per_neuron: Annotated[float, Field(ge=1, le=LARGE, allow_inf_nan=False)] = 4.0
    knots: Annotated[int, Field(ge=4, le=LARGE)] = 24
    type_knots: Annotated[int, Field(ge=4, le=LARGE)] = 96
    shared_sweeps: PositiveInt = 5
    neuron_sweeps: Count = 12
    type_sweeps: PositiveInt = 6
    window: PositiveInt = 100
    max_types: PositiveInt = 20
    derivative: Literal["exact", "differences"] = "exact"
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class Experiment(Section):
    """One experiment: simulation, hidden movie, connectivity, inference."""

    profile: str = "paper"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    simulation: Simulation = Simulation()
    neuron_types: Annotated[tuple[NeuronType, ...], Field(min_length=1, strict=False)]
    connectivity: Connectivity = Connectivity()
    external_input: ExternalInput = ExternalInput()
    inference: Inference = Inference()
    graph_network: GraphNetwork = GraphNetwork()
    field_network: FieldNetwork = FieldNetwork()

    @field_validator("profile")
    @classmethod
    def _profile_names_a_folder(cls, profile: str) -> str:
        if not re.fullmatch(r"\w[\w.+-]{0,63}", profile):
            raise ValueError(
                f"profile: {profile!r:.80} names the folder of the results; use up to 64 "
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


def load_experiment(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read and validate an experiment.

    Args:
        path: YAML file of an experiment (see ``config/fig3.yaml``).
        overrides: dotted keys and their values, e.g. ``{"simulation.frames": 2000}`` or
            ``{"neuron_types.0.width": 3.0}``. String values are read as YAML scalars.

    Returns:
        The frozen experiment.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is unknown, mistyped or
            impossible. The message is one line: key, value found, what is allowed.
    """
    path = Path(path)
    return _experiment(read_yaml(path), overrides or {}, f"{path}: ")


def change_experiment(experiment: Experiment, overrides: Mapping[str, Any]) -> Experiment:
    """The same experiment with the values of some dotted keys replaced.

    Raises:
        ConfigError: as :func:`load_experiment`.
    """
    return _experiment(experiment.model_dump(mode="json"), overrides)


def _experiment(
    tree: dict[str, Any], overrides: Mapping[str, Any], where: str = ""
) -> Experiment:
    for key, value in overrides.items():
        _override(tree, key, value)
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(where + one_line(error, Experiment)) from None


def read_overrides(overrides: Any) -> dict[str, Any]:
    """Dotted keys and values, as a mapping or, as papermill hands over ``-p``, as YAML text.

    Raises:
        ConfigError: it is something else.
    """
    try:
        given = _parse(overrides) if isinstance(overrides, str) else overrides or {}
    except yaml.YAMLError:
        given = overrides
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigError(
            "overrides: expected a mapping of dotted keys such as {simulation.noise: 0.5} "
            f"(found {shown(overrides, 80)})"
        )
    return dict(given)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; a ConfigError says why it holds none."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(
                f"{path}: more than {LARGEST_FILE} bytes; name a YAML file such as "
                "config/fig3.yaml"
            )
        tree = _parse(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; name an existing YAML file such as "
            "config/fig3.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML ({reason}); mend the file") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, found {shown(tree, 60)}")
    return tree


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, a key is given once, and nothing is repeated by name.

    YAML 1.1, as PyYAML reads it, demands 1.0e-3, takes the last of several equal keys, and
    lets a few lines of aliases stand for gigabytes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node; an alias is none."""
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            problem = f"*{alias.anchor}: aliases are not accepted, write the value out"
            raise yaml.composer.ComposerError(None, None, problem, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{key.value}: this key is given twice, keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _parse(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # a month 13, a number of 5000 digits, a thousand brackets
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from None


def _override(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one dotted key in the raw tree; list items are named by their index."""
    if isinstance(value, str):
        try:
            value = _parse(value)
        except yaml.YAMLError:
            raise ConfigError(f"{dotted}: {value!r} is not a YAML value; quote it") from None
    *parents, last = dotted.split(".")
    node: Any = tree
    for part in parents:
        node = (
            node.setdefault(part, {}) if isinstance(node, dict) else _item(node, part, dotted)
        )
        if not isinstance(node, dict | list):
            raise ConfigError(f"{dotted}: {part!r} has no sub-keys; check the dotted name")
    if isinstance(node, list):
        _item(node, last, dotted)
        node[int(last)] = value
    else:
        node[last] = value


def _item(node: list[Any], part: str, dotted: str) -> Any:
    if not part.isdecimal() or int(part) >= len(node):
        raise ConfigError(f"{dotted}: index {part!r} is not in 0…{len(node) - 1}")
    return node[int(part)]


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a pydantic report as ``key: what is wrong (found …)``."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, first["loc"][:-1]))
        return f"{key}: unknown key; the keys here are {known}{more}"
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}{more}"
    if first["type"] == "missing":
        return f"{key}: required key is missing; add it{more}"
    return f"{key}: {first['msg']} (found {shown(first['input'], 80)}){more}"


def shown(value: Any, width: int) -> str:
    """The beginning of a value as an error shows it."""
    try:
        return f"{value!r:.{width}}"
    except ValueError:  # Python refuses to write out integers of thousands of digits
        return "a number of thousands of digits"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if part in model.model_fields:  # others are indices of lists and keys of mappings
            (model,) = _sections(model.model_fields[str(part)].annotation)
    return list(model.model_fields)


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections in an annotation such as ``tuple[NeuronType, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections(part)]
