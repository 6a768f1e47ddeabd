import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, TEST_CONFIG
from hypothesis import given
from hypothesis import strategies as st

from figures_lib.__main__ import command_parser
from figures_lib.config import Experiment, change_experiment, load_experiment
from figures_lib.errors import ConfigError
from figures_lib.paths import find_input
from figures_lib.yaml_file import read_overrides, read_yaml, value_of


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=str)
def test_every_configuration_is_valid_and_has_a_profile_of_its_own(path):
    profiles = [load_experiment(one).profile for one in path.parent.glob("*.yaml")]
    assert profiles.count(load_experiment(path).profile) == 1


def test_a_file_is_based_on_another(tmp_path):
    """Sections are merged, lists replaced, and a base may have a base itself."""
    middle, top = tmp_path / "middle.yaml", tmp_path / "top.yaml"
    middle.write_text(f"base: {TEST_CONFIG}\nsimulation: {{noise: 0.5, frames: 99}}\n")
    types = "[{decay: 3, self_coupling: 1, width: 1}]"
    top.write_text(f"base: {middle}\nsimulation: {{noise: 0.2}}\nneuron_types: {types}\n")
    below, found = load_experiment(TEST_CONFIG), load_experiment(top, {"seed": 4})
    changed = {"noise": 0.2, "frames": 99}
    assert found.simulation == below.simulation.model_copy(update=changed)
    assert [one.decay for one in found.neuron_types] == [3]
    assert (found.field_network, found.seed) == (below.field_network, 4)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("[a.yaml]", "expected the name of a YAML file (found ['a.yaml'])"),
        ("nowhere.yaml", "top.yaml: base: no file nowhere.yaml; name an existing YAML file"),
        ("top.yaml", "top.yaml is based on this file; remove one of them"),
        ("other.yaml", "top.yaml is based on this file; remove one of them"),
    ],
)
def test_a_base_that_cannot_be_used(tmp_path, monkeypatch, base, expected):
    monkeypatch.chdir(tmp_path)
    Path("top.yaml").write_text(f"base: {base}\n")
    Path("other.yaml").write_text("base: top.yaml\n")
    with pytest.raises(ConfigError) as error:
        load_experiment("top.yaml")
    assert expected in str(error.value)


def test_overrides_reach_lists_and_sections():
    changed = load_experiment(TEST_CONFIG, {"neuron_types.1.width": 3, "simulation.noise": 0.5})
    assert changed.neuron_types[1].width == 3.0
    assert changed.simulation.noise == 0.5


def test_a_mapping_sets_its_own_keys_and_leaves_the_others():
    """A section used to be replaced, and the rest of it fell back to the published size."""
    given = {"simulation": {"noise": 0.5}, "neuron_types.1": {"width": 3}}
    dotted = {"simulation.noise": 0.5, "neuron_types.1.width": 3}
    assert load_experiment(TEST_CONFIG, given) == load_experiment(TEST_CONFIG, dotted)


def test_what_a_loop_over_an_array_gives_is_a_value():
    values = {"seed": np.arange(4)[3], "simulation.noise": np.float32(0.5)}
    values["external_input.source"] = Path("a") / "b.tif"
    changed = load_experiment(TEST_CONFIG, values)
    assert (changed.seed, changed.simulation.noise) == (3, 0.5)
    assert changed.external_input.source == "a/b.tif"
    with pytest.raises(ConfigError, match="valid number"):
        load_experiment(TEST_CONFIG, {"simulation.noise": np.bool_(True)})


def test_the_home_folder_is_found_where_the_shell_has_not_named_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_input("~/movie.tif") == tmp_path / "movie.tif"
    assert find_input("~nobody-of-this-name/m.tif") == Path("~nobody-of-this-name/m.tif")
    options = command_parser().parse_args(["build", "--run", "~/r", "--out", "~/site"])
    assert (options.run, options.out) == (tmp_path / "r", tmp_path / "site")


def test_a_change_leaves_the_experiment_as_it_was(experiment):
    changed = change_experiment(
        experiment, {"simulation.noise": 0.25, "neuron_types.0.gain": 3}
    )
    assert (changed.simulation.noise, changed.neuron_types[0].gain) == (0.25, 3.0)
    assert changed.inference == experiment.inference
    assert experiment.simulation.noise == 1.0
    with pytest.raises(
        ConfigError, match=r"^simulation\.nose: unknown key; the keys here are n"
    ):
        change_experiment(experiment, {"simulation.nose": 1})


def test_a_notebook_shows_an_error_as_its_line():
    assert ConfigError("seed: too large")._render_traceback_() == [
        "ConfigError: seed: too large"
    ]


def test_experiment_is_frozen(experiment):
    with pytest.raises(Exception, match="frozen"):
        experiment.seed = 3


@given(
    st.dictionaries(
        st.sampled_from([f"simulation.{k}" for k in ("neurons", "frames", "noise", "oops")]),
        st.one_of(st.integers(-5, 5000), st.floats(), st.text(max_size=5), st.none()),
        max_size=3,
    )
)
def test_any_override_is_refused_with_one_line_or_valid(overrides):
    try:
        found = load_experiment(TEST_CONFIG, overrides)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(found, Experiment)
        assert found.simulation.input_neurons <= found.simulation.neurons


def test_published_parameters():
    tree = yaml.safe_load((ROOT / "config" / "fig3.yaml").read_text())
    rows = [(t["decay"], t["self_coupling"], t["width"]) for t in tree["neuron_types"]]
    assert rows == [(1, 1, 1), (1, 2, 2), (2, 1, 4), (2, 2, 8)]
    assert tree["simulation"] == {
        "neurons": 2048,
        "input_neurons": 1024,
        "frames": 50000,
        "warm_up": 10000,
        "time_step": 0.01,
        "noise": 1.0,
    }


VALUES = {  # texts of the command line or of a file, and what they stand for
    **dict.fromkeys(["5e-1", "5E-1", "0.5", "+5e-1", ".5"], 0.5),
    **{"010": 10, "-3": -3, "50_000": 50_000, "true": True, "null": None, "~": None},
    # what YAML 1.1 takes for a number, a date or a truth value is text
    **{text: text for text in ("1:30", "0x1F", "0o7", "2026-11-26", "no", "on", "=", "<<")},
}
FILES = (
    "movie #2.npy",
    "clip #2",
    "mouse: day 3.npy",
    "- a.npy",
    "a, b.npy",
    "*.npy",
    "&x",
    "!x",
)


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_values_are_read_alike_by_every_route(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    routes = (
        value_of(text, "a"),
        read_yaml(tmp_path / "a.yaml")["a"],
        read_overrides("{a: " + text + "}")["a"],
    )
    for found in routes:
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("name", FILES)
def test_text_stays_what_it_is(tmp_path, name):
    """On the command line, quoted in a file, in overrides, and written by a run."""
    (tmp_path / "a.yaml").write_text(
        TEST_CONFIG.read_text() + f"connectivity:\n  source: {json.dumps(name)}\n"
    )
    key = "connectivity.source"
    read = (
        load_experiment(TEST_CONFIG, {key: value_of(name, key)}),
        load_experiment(TEST_CONFIG, {key: name}),
        load_experiment(tmp_path / "a.yaml"),
        change_experiment(load_experiment(tmp_path / "a.yaml"), {"seed": 1}),
        load_experiment(TEST_CONFIG, read_overrides(json.dumps({key: name}))),
    )
    for experiment in read:
        assert experiment.connectivity.source == name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"simulation.nose": 1},
            "simulation.nose: unknown key; the keys here are neurons, input_neurons, frames, "
            "warm_up, time_step, noise, type_order, type_shares",
        ),
        (
            {"simulation.nose": 1, "simulation.noise": -1, "seed": -2},
            "seed: Input should be greater than or equal to 0 (found -2) (and 2 more)",
        ),
        ({"connectivity.density": "x" * 90}, f"(found '{'x' * 79})"),
        ({"seed": 10**5000}, "(found a number of thousands of digits)"),
        (
            {"simulation.input_neurons": 15},
            "not a square; the input neurons form a grid, use 9 or 16",
        ),
        (
            {"simulation.type_shares": [1, 2, 3]},
            "simulation.type_shares: 3 shares for 2 neuron_types; give one for each",
        ),
        (
            {"simulation.type_shares": [1, 1e-6]},
            "leaves none of 64 neurons to type 1; raise it, or simulation.neurons",
        ),
        (
            {"other_network": {"type_shares": [0, 0]}},
            "other_network.type_shares: [0.0, 0.0] for 2 neuron_types; give one share for "
            "each, at least one of them above 0",
        ),
        (
            {"neuron_types": [{"width": 1}]},
            "neuron_types.0.decay: required key is missing; add it (and 2 more)",
        ),
    ],
)
def test_what_is_wrong_is_reported_in_full(changes, expected):
    with pytest.raises(ConfigError) as error:
        load_experiment(TEST_CONFIG, changes)
    assert str(error.value).startswith(f"{TEST_CONFIG}: ")
    assert str(error.value).endswith(expected)


@pytest.mark.parametrize(
    ("text", "place"),
    [("seed: 1\nseed: 2", "line 2, column 1"), ("a: &b 1\nc: *b", "line 2, column 4")],
)
def test_a_key_given_twice_and_an_alias_are_found(tmp_path, text, place):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=place):
        load_experiment(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("{simulation.noise: 5e-1}", {"simulation.noise": 0.5}),
        ({"seed": 3}, {"seed": 3}),
        (None, {}),
    ],
)
def test_overrides_are_a_mapping_or_its_text(given, found):
    assert read_overrides(given) == found


@pytest.mark.parametrize(
    ("given", "shown"),
    [([1], "[1]"), ({1: 2}, "{1: 2}"), ("{a: [", "'{a: ['"), ("x" * 90, "'" + "x" * 79)],
)
def test_other_overrides_are_refused(given, shown):
    with pytest.raises(ConfigError) as error:
        read_overrides(given)
    assert str(error.value) == (
        "overrides: expected a mapping of dotted keys such as {simulation.noise: 0.5} "
        f"(found {shown})"
    )
