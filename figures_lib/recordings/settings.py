"""The settings of the analysis of a recording of one's own."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import ValidationError

from figures_lib.errors import ConfigError
from figures_lib.learner import FieldNetwork, GraphNetwork, Inference, Learner, Training
from figures_lib.section import Positive, Section, Seed, one_line
from figures_lib.yaml_file import read_yaml, set_key


class FileSettings(Section):
    """What a file of a recording does not say itself.

    Attributes:
        array: name of the activity in the file; by default ``activity``, or the only array.
        layout: whether rows are frames or neurons.
        sampling_rate: frames per time unit; by default that of the file.
        modulated: neurons that a hidden input may modulate, by their names, or ``all`` or
            ``none`` of them; by default those that the file names, if any.
    """

    array: str | None = None
    layout: Literal["time_by_neuron", "neuron_by_time"] = "time_by_neuron"
    sampling_rate: Positive | None = None
    modulated: Literal["all", "none"] | list[str | int] | None = None


class Analysis(Section):
    """How a recording is read and inferred; nothing of it is a truth.

    Attributes:
        seed: of all random numbers.
        device: where to compute.
        recording: what the file does not say.
        inference: sampling, sweeps and types; ``derivative`` has no effect, because the
            derivative is that of the file, or else finite differences.
        graph_network: φ*, ψ* and the embeddings.
        field_network: Ω*.
        training: of the method ``gradient``.
    """

    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    recording: FileSettings = FileSettings()
    inference: Inference = Inference()
    graph_network: GraphNetwork = GraphNetwork()
    field_network: FieldNetwork = FieldNetwork()
    training: Training = Training()

    @property
    def learner(self) -> Learner:
        """The part that inference reads."""
        return Learner.of(self)


def load_analysis(
    path: str | Path | None = None, overrides: Mapping[str, Any] = MappingProxyType({})
) -> Analysis:
    """Read and validate an analysis.

    Args:
        path: YAML file; the defaults hold for what it leaves out. Without one, they all do.
        overrides: dotted keys and their values, e.g. ``{"recording.sampling_rate": 30.0}``.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is unknown or impossible.
    """
    tree = {} if path is None else read_yaml(Path(path))
    for key, value in overrides.items():
        set_key(tree, key, value)
    try:
        return Analysis.model_validate(tree)
    except ValidationError as error:
        where = "" if path is None else f"{path}: "
        raise ConfigError(where + one_line(error, Analysis)) from None
