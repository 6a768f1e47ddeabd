"""Numerical health: divergence is found early; weights that cannot be inferred are named."""

from dataclasses import replace

import pytest
import torch
from conftest import TEST_CONFIG
from safetensors.torch import load_file
from test_pipeline import FAST

from figures_lib.config import load_experiment
from figures_lib.errors import InferenceError, SimulationError
from figures_lib.infer import algorithm, fit_networks
from figures_lib.infer.algorithm import infer
from figures_lib.infer.connectivity import inverse
from figures_lib.infer.diagnosis import identifiability
from figures_lib.infer.shards import Shard
from figures_lib.recording import Recording
from figures_lib.runs.run import LAST_GOOD, open_run
from figures_lib.simulate.integrate import simulate, stretches

SILENT, TWINS = [5, 9], [6, 7]


@pytest.fixture(scope="module")
def tiny():
    experiment = load_experiment(TEST_CONFIG, FAST)
    return experiment, simulate(experiment)[0]


def altered(recording: Recording, silent=(), twins=()) -> Recording:
    """The same recording with neurons that never change, or that repeat another."""
    activity, change = recording.activity.clone(), recording.derivative.clone()
    for number in silent:
        activity[:, number], change[:, number] = 0.7, 0.0
    if twins:
        activity[:, twins[1]], change[:, twins[1]] = activity[:, twins[0]], change[:, twins[0]]
    return replace(recording, activity=activity, derivative=change)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            {"simulation.time_step": 5.0},
            "simulation.time_step × decay is 10, lower it below 2",
        ),
        (
            {"simulation.time_step": 1.0, "simulation.noise": 1e5},
            "simulation.time_step × decay is 2, lower it below 2",
        ),
        (
            {"neuron_types.0.slope": 1.0},
            "ψ of a type with a slope is unbounded, bring its slope or its gain closer to 0",
        ),
        (
            {"simulation.noise": 1e5},
            "lower simulation.noise, simulation.time_step, or the gain or self_coupling",
        ),
    ],
)
def test_a_runaway_simulation_names_the_frame_and_the_cause(changes, cause):
    with pytest.raises(SimulationError, match=rf"diverged at frame -?\d+: .*; {cause}$"):
        simulate(load_experiment(TEST_CONFIG, FAST | changes))


def test_a_runaway_simulation_is_stopped_within_100_frames(monkeypatch):
    """The frame at which it is found is less than 100 after the one that it names."""
    experiment = load_experiment(TEST_CONFIG, FAST | {"neuron_types.0.slope": 0.5})
    from figures_lib.simulate.truth import draw_truth

    done, named = 0, None
    try:
        for states, _ in stretches(experiment, draw_truth(experiment)):
            assert states.abs().max() < 1e6
            done += len(states)
    except SimulationError as error:
        named = int(str(error).split("frame ")[1].split(":")[0])
    assert named is not None
    assert done <= named < done + 100


@pytest.mark.parametrize("network", ["graph_network", "field_network"])
def test_a_runaway_training_is_stopped_within_100_steps(tiny, monkeypatch, network):
    """Its loss is NaN from the second step on."""
    steps = []
    real = fit_networks.check_training

    def spoilt(name, step, total, loss):
        if name == network:
            steps.append(step)
            loss = loss * float("nan") if step >= 1 else loss
        real(name, step, total, loss)

    monkeypatch.setattr(fit_networks, "check_training", spoilt)
    experiment = load_experiment(TEST_CONFIG, FAST | {f"{network}.steps": 400})
    with pytest.raises(InferenceError, match=rf"lower {network}\.learning_rate") as error:
        infer(tiny[1], experiment.learner)
    assert steps[-1] <= 1 + 100
    assert error.value.last_good["connectivity"].isfinite().all()


@pytest.mark.parametrize("network", ["graph_network", "field_network"])
def test_a_learning_rate_that_is_too_large_is_named(tiny, network):
    changes = {f"{network}.steps": 400, f"{network}.learning_rate": 1e6}
    with pytest.raises(InferenceError, match=rf"lower {network}\.learning_rate"):
        infer(tiny[1], load_experiment(TEST_CONFIG, FAST | changes).learner)


def test_the_last_good_estimate_is_kept(tmp_path, monkeypatch):
    """The third sweep of a run gives NaN: the estimate after the second is on the disk."""
    real, good = algorithm.converge, []

    def diverges(*arguments):
        for number, stage in enumerate(real(*arguments)):
            if number == 2:
                yield replace(stage, estimate=replace(stage.estimate, loss=float("nan")))
            good.append(stage.estimate)
            yield stage

    monkeypatch.setattr(algorithm, "converge", diverges)
    with pytest.raises(InferenceError, match="sweep 2 diverged"):
        open_run(TEST_CONFIG, tmp_path, FAST).infer()
    kept = load_file(tmp_path / LAST_GOOD)
    assert torch.equal(kept["connectivity"], good[1].connectivity)
    assert not list((tmp_path / "stages").glob("*infer-*"))
    monkeypatch.setattr(algorithm, "converge", real)
    open_run(TEST_CONFIG, tmp_path, FAST).infer()
    assert not (tmp_path / LAST_GOOD).exists()  # the second run has no error


def test_a_recording_without_change_is_refused(tiny):
    experiment, recording = tiny
    still = replace(recording, derivative=torch.zeros_like(recording.derivative))
    with pytest.raises(InferenceError, match="does not change"):
        infer(still, experiment.learner)


def test_a_healthy_recording_is_identifiable(tiny):
    found = identifiability(tiny[1])
    assert found == {
        "identifiability.rank": 24,
        "identifiability.unresolved_neurons": 0,
        "identifiability.reasons": [],
    }


@pytest.mark.parametrize(
    ("silent", "twins", "rank", "unresolved", "reasons"),
    [
        (SILENT, (), 22, 2, ["the activity of neurons 5, 9 never changes"]),
        ((), TWINS, 23, 2, ["the activities of neurons 6, 7 are not independent"]),
        (SILENT, TWINS, 21, 4, ["neurons 5, 9 never", "neurons 6, 7 are not"]),
    ],
    ids=["silent", "identical", "both"],
)
def test_what_cannot_be_inferred_is_named(tiny, silent, twins, rank, unresolved, reasons):
    found = identifiability(altered(tiny[1], silent, twins))
    assert found["identifiability.rank"] == rank
    assert found["identifiability.unresolved_neurons"] == unresolved
    for reason, expected in zip(found["identifiability.reasons"], reasons, strict=True):
        assert expected in reason


def test_what_cannot_be_inferred_is_in_the_metrics(tmp_path):
    """Neurons without gain receive nothing, so their rows of W cannot be inferred."""
    mute = {"neuron_types.0.gain": 0.0}
    metrics = open_run(TEST_CONFIG, tmp_path, FAST | mute).metrics()
    (reason,) = metrics["identifiability.reasons"]
    assert reason.startswith("neurons 0, 1, 2, ") and "receive nothing (gain 0)" in reason
    assert (
        load_experiment(TEST_CONFIG, FAST).neuron_types[1].gain > 0
    )  # the others can be inferred


def test_fewer_frames_than_neurons_are_named(tiny):
    recording = tiny[1]
    short = replace(
        recording, activity=recording.activity[:20], derivative=recording.derivative[:20]
    )
    found = identifiability(short)
    assert found["identifiability.rank"] == 19  # the mean removes one
    assert found["identifiability.unresolved_neurons"] == 24
    assert found["identifiability.reasons"] == ["20 frames are too few for 24 neurons"]
    assert infer(short, tiny[0].learner).gnn.connectivity.isfinite().all()


def test_silent_neurons_get_no_weights(tiny):
    experiment, recording = tiny
    weights = infer(
        altered(recording, SILENT, TWINS), experiment.learner
    ).gnn.connectivity.detach()
    assert weights.isfinite().all()
    assert (weights[:, SILENT] == 0).all()
    others = [column for column in range(24) if column not in SILENT]
    assert (weights[:, others] != 0).any(0).all()


def test_the_inverse_without_trouble_is_the_plain_one():
    messages = torch.randn(30, 400, generator=torch.Generator().manual_seed(0))
    gram = messages @ messages.T
    silent = torch.zeros(30, dtype=torch.bool)
    exact = torch.linalg.inv(gram.double())
    assert torch.allclose(
        inverse(gram.clone(), silent, Shard(len(gram))).double(), exact, atol=1e-7
    )
    silent[3] = True
    found = inverse(gram.clone(), silent, Shard(len(gram)))
    rest = ~silent
    exact = torch.linalg.inv(gram[rest][:, rest].double())
    assert torch.allclose(found[rest][:, rest].double(), exact, atol=1e-7)
    assert (found[3] == 0).all() and (found[:, 3] == 0).all()
    with pytest.raises(InferenceError, match="no inverse"):
        inverse(torch.full((4, 4), torch.nan), torch.zeros(4, dtype=torch.bool), Shard(4))
