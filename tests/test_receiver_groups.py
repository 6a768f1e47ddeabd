"""Receivers that hear the same messages differently, as in Figure S14."""

import pytest
import torch
from conftest import ROOT

from figures_lib.config import load_experiment
from figures_lib.infer import algorithm
from figures_lib.infer.algorithm import converge
from figures_lib.infer.pooling import home_groups
from figures_lib.infer.receiver_groups import fewest, receiver_groups
from figures_lib.infer.shards import Shard
from figures_lib.score.scoring import gauge_free_r2
from figures_lib.simulate.integrate import simulate

SIZE = {
    "simulation.neurons": 80,
    "simulation.frames": 4000,
    "simulation.noise": 0.5,
    "inference.window": 4000,
    "inference.knots": 24,
    "inference.type_knots": 32,
    "inference.neuron_sweeps": 9,
    "inference.type_sweeps": 4,
}


def recorded(name):
    experiment = load_experiment(ROOT / "config" / f"{name}.yaml", SIZE)
    return experiment, *simulate(experiment)


def shared(recording, experiment):
    """The last state in which all neurons share one ψ."""
    states = converge(recording, experiment.learner)
    last = next(states)
    for state in states:
        if state.phase != "shared":
            break
        last = state
    return last


def test_the_groups_are_those_that_the_recording_was_made_with():
    experiment, recording, truth = recorded("s14")
    state = shared(recording, experiment)
    found = receiver_groups(state.data, state.estimate, 40)
    assert len(found.receivers) == 4
    assert all(len(truth.types[rows].unique()) == 1 for rows in found.receivers)
    knots = state.data.axis.values()
    inside = knots.abs() < 10
    for rows, tables in zip(found.receivers, found.transfer, strict=True):
        true = torch.tanh(knots / truth.neuron_types[int(truth.types[rows[0]])].width)
        both = torch.stack([true[inside], tables[0][inside]])
        assert torch.corrcoef(both)[0, 1] > 0.995
    assert receiver_groups(state.data, state.estimate, 3) is None  # more than are allowed


def test_one_group_suffices_where_psi_depends_on_the_sender_alone():
    experiment, recording, _ = recorded("fig2")
    state = shared(recording, experiment)
    assert receiver_groups(state.data, state.estimate, 40) is None


def test_weights_and_types_follow_from_the_groups(monkeypatch):
    experiment, recording, truth = recorded("s14")
    last = list(converge(recording, experiment.learner))[-1]
    assert last.types is not None and torch.equal(last.types, truth.types)
    assert gauge_free_r2(truth.connectivity, last.estimate.connectivity) > 0.99
    monkeypatch.setattr(algorithm, "receiver_groups", lambda *_: None)
    without = list(converge(recording, experiment.learner))[-1]
    assert gauge_free_r2(truth.connectivity, without.estimate.connectivity) < 0.97


def test_as_few_candidates_are_kept_as_help_everyone():
    best, half, bad = 1e-4, 9e-3, 0.9
    left = torch.tensor(
        [
            [best, half, bad, bad],
            [half, best, bad, bad],
            [bad, bad, best, bad],
            [bad] * 3 + [best],
        ]
    )
    before = torch.ones(4)
    assert sorted(fewest(left, before)) in ([0, 2, 3], [1, 2, 3])
    assert len(fewest(torch.full((4, 4), best), before)) == 1


def test_a_type_goes_home_to_the_group_of_most_of_its_receivers(small):
    state = list(converge(small.recording, small.experiment.learner))[-1]
    groups = torch.arange(0, 15), torch.arange(15, 40)
    types = torch.tensor([0] * 20 + [1] * 20)
    estimate = state.estimate
    changed = type(estimate)(
        estimate.update,
        estimate.transfer.expand(2, -1, -1),
        estimate.field,
        groups,
        estimate.connectivity,
    )
    assert home_groups(changed, types, Shard(40)).tolist() == [0, 1]
    split = algorithm.split_receivers(changed, types, Shard(40))
    assert [rows.tolist() for rows in split.receivers] == [[*range(20)], [*range(20, 40)]]


@pytest.mark.parametrize("count", [1, 2])
def test_of_few_candidates_one_is_kept_at_least(count):
    assert fewest(torch.ones(3, count), torch.ones(3)) == [0]
