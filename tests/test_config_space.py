"""Every configuration is either refused with one line or runs."""

import tempfile
from typing import Any, get_args

import pytest
from conftest import TEST_CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from figures_lib.config import Experiment, NeuronType
from figures_lib.errors import ConfigError, OneLineError
from figures_lib.runs.run import open_run
from figures_lib.weights import DISTRIBUTIONS

ODD = [0, -1, 1, 2, 7, 1e-9, 0.5, 1e9, 10**12, "", "many", None, True, [], {}, float("nan")]
SIZES = {  # a run of these takes less than a second
    "simulation.neurons": st.integers(4, 14),
    "simulation.input_neurons": st.sampled_from([0, 1, 2, 4, 9]),
    "simulation.frames": st.integers(2, 300),
    "simulation.warm_up": st.integers(0, 30),
    "external_input.images": st.integers(1, 5),
    "inference.shared_sweeps": st.integers(1, 2),
    "inference.neuron_sweeps": st.integers(0, 2),
    "inference.type_sweeps": st.integers(1, 1),
    "graph_network.steps": st.integers(1, 3),
    "field_network.steps": st.integers(1, 3),
    "graph_network.batch": st.integers(1, 20),
    "field_network.batch": st.integers(1, 20),
    "graph_network.width": st.integers(1, 9),
    "field_network.width": st.integers(1, 9),
    "graph_network.phi_layers": st.integers(1, 4),
    "graph_network.psi_layers": st.integers(1, 4),
    "field_network.layers": st.integers(1, 4),
    "inference.knots": st.integers(4, 12),
    "inference.type_knots": st.integers(4, 12),
}
FREE = {
    "simulation.noise": st.floats(0, 10),
    "simulation.time_step": st.floats(1e-4, 3),
    "simulation.type_order": st.sampled_from(["blocks", "shuffled"]),
    "simulation.type_shares": st.one_of(
        st.none(), st.lists(st.floats(1e-3, 10), min_size=2, max_size=2)
    ),
    "connectivity.distribution": st.sampled_from([*DISTRIBUTIONS]),
    "connectivity.density": st.floats(0.01, 1),
    "connectivity.scale": st.one_of(st.none(), st.floats(1e-6, 10)),
    "graph_network.transfer": st.sampled_from(["shared", "sender", "pair"]),
    "graph_network.embedding": st.integers(1, 4),
    "graph_network.learning_rate": st.floats(1e-9, 10),
    "field_network.learning_rate": st.floats(1e-9, 10),
    "inference.frames_per_neuron": st.floats(0.01, 100),
    "inference.window": st.integers(1, 1000),
    "inference.types": st.sampled_from(["found", "one"]),
    "inference.max_types": st.integers(1, 20),
    "inference.derivative": st.sampled_from(["exact", "differences"]),
    "neuron_types.0.gain": st.floats(-20, 20),
    "neuron_types.0.decay": st.floats(1e-3, 100),
    "neuron_types.1.width": st.floats(1e-3, 100),
    "neuron_types.1.offset": st.floats(-100, 100),
    "neuron_types.1.slope": st.floats(-1, 1),
    "seed": st.integers(0, 2**31 - 1),
}


def every_key(model: type[BaseModel] = Experiment, prefix: str = "") -> list[str]:
    """All dotted keys of a configuration."""
    keys = []
    for name, field in model.model_fields.items():
        parts = (field.annotation, *get_args(field.annotation))
        inner = [p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)]
        if not inner:
            keys.append(prefix + name)
        elif inner[0] is NeuronType:
            keys += every_key(NeuronType, f"{prefix}{name}.0.")
        else:
            keys += every_key(inner[0], f"{prefix}{name}.")
    return keys


def outcome(overrides: dict[str, Any]) -> str:
    """``ran``, or the name of the error whose message is one line."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = open_run(TEST_CONFIG, folder, overrides)
            run.check()
            run.score()
        except OneLineError as error:
            assert len(str(error).splitlines()) == 1
            assert len(str(error)) < 600
            return type(error).__name__
    return "ran"


SEEN: list[str] = []


@settings(max_examples=30, derandomize=True)
@given(
    st.fixed_dictionaries(SIZES),
    st.lists(st.sampled_from(sorted(FREE)), max_size=5, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: FREE[key] for key in keys})
    ),
)
def test_every_small_configuration_runs_or_is_refused(sizes, free):
    SEEN.append(outcome(sizes | free))


def test_both_outcomes_were_seen():
    assert SEEN.count("ran") >= 5
    assert len(set(SEEN)) >= 2


@settings(max_examples=150, derandomize=True)
@given(st.sampled_from(every_key()), st.sampled_from(ODD))
def test_odd_values_are_refused_before_anything_is_written(key, value):
    """A value passes the check, or is refused in one line that names the key."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            open_run(TEST_CONFIG, folder, {key: value}).check()
        except ConfigError as error:
            assert len(str(error).splitlines()) == 1
            assert key.split(".")[0] in str(error)


@pytest.mark.parametrize("key", every_key())
def test_no_key_takes_a_section(key):
    with pytest.raises(ConfigError, match=key.split(".")[0]):
        open_run(TEST_CONFIG, "out", {key: {"odd": 1}})
