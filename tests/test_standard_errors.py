"""Errors of the weights: as large as the weights are wrong, and as rare as they claim."""

from dataclasses import replace

import pytest
import torch
from conftest import TEST_CONFIG
from scipy.stats import t as student

from figures_lib.config import load_experiment
from figures_lib.infer.algorithm import errors_of, regressed_on, reported
from figures_lib.infer.assembly import scale_transfer
from figures_lib.infer.gauge import transfer_scale, visited_grid
from figures_lib.infer.projection import Senders, gathered
from figures_lib.infer.standard_errors import false_positives, p_values, standard_errors
from figures_lib.model.inferred import PIECES
from figures_lib.score.significance import RATE, q_values
from figures_lib.simulate.integrate import simulate

NOISY = {  # the derivative contains the noise, as in a recording of one's own
    "simulation.neurons": 32,
    "simulation.input_neurons": 0,
    "simulation.frames": 16_000,
    "inference.derivative": "differences",
    "inference.frames_per_neuron": 1e6,
    "neuron_types": [{"decay": 1.0, "gain": 10.0, "self_coupling": 1.0, "width": 1.0}],
}


def last_state(overrides):
    experiment = load_experiment(TEST_CONFIG, overrides)
    recording, truth = simulate(experiment)
    recording = regressed_on(recording, experiment.learner)
    torch.manual_seed(0)
    *_, (state, _) = reported(recording, experiment.learner)
    return recording, truth, state


@pytest.fixture(scope="module")
def noisy():
    return last_state(NOISY)


def deviations(recording, truth, state):
    """(W* − W) and its error, in the gauge of the model; without the diagonal."""
    errors = standard_errors(state)
    _, learned = scale_transfer(recording, state, state.types)
    scale = learned / state.estimate.connectivity
    pairs = ~torch.eye(len(errors), dtype=torch.bool)
    x = visited_grid(recording.activity, truth.types)
    true = truth.connectivity * transfer_scale(truth.transfer(x))[truth.types]
    true = true * recording.gain[:, None]
    return (learned - true)[pairs], (scale.abs() * errors)[pairs]


def test_intervals_hold_the_truth_as_often_as_they_claim(noisy):
    deviation, error = deviations(*noisy)
    inside = deviation.abs() < error * float(student.ppf(0.975, PIECES - 1))
    assert 0.93 < float(inside.double().mean()) < 0.97


def test_neurons_that_cannot_act_pass_the_test_as_often_as_it_claims(noisy):
    assert 0.02 < false_positives(noisy[-1], 0.05) < 0.08


def test_few_of_the_connections_found_are_none():
    """One connection in four exists; the rest are zero."""
    sparse = {**NOISY, "connectivity.density": 0.25}
    _, truth, state = last_state(sparse)
    found = q_values(state.estimate.connectivity, standard_errors(state)) <= RATE
    exist = truth.connectivity != 0

    assert int(found.sum()) > 15
    assert int((found & ~exist).sum()) <= 0.15 * int(found.sum())
    assert not found.diagonal().any()


def test_errors_are_those_of_a_regression_where_its_assumptions_hold(noisy):
    """White noise: the variance of the residual times the inverse of the Gram matrix."""
    state = noisy[-1]
    sigma = 1 / 0.01  # σ/Δt
    errors = standard_errors(state)
    table = state.estimate.transfer[0].double()
    inverse = Senders.of(gathered(state.data), table).inverse
    expected = sigma * inverse.diagonal().sqrt()
    ratio = errors / expected
    pairs = ~torch.eye(len(errors), dtype=torch.bool)
    # the network remembers its noise for a time, so that there are fewer frames than it seems
    assert 0.95 < float(ratio[pairs].median()) < 1.25


def test_too_few_frames_have_no_errors(noisy, small):
    state = noisy[-1]
    few = tuple(
        replace(
            block,
            position=block.position[:, :40],
            derivative=block.derivative[:, :40],
            frame=block.frame[:40],
        )
        for block in state.data.blocks[:1]
    )
    short = replace(state, data=replace(state.data, blocks=few))
    assert standard_errors(short) is None
    assert errors_of(small.recording, small.model, short) is None


def test_a_weight_without_an_error_is_no_connection():
    chance = p_values(torch.tensor([3.0, 3.0, 0.0]), torch.tensor([0.0, 1.0, 1.0]))
    assert chance[0] == 1 and chance[2] == 1
    assert float(chance[1]) == pytest.approx(2 * student.sf(3, PIECES - 1))


def test_the_errors_of_modulated_neurons_have_the_scale_of_their_weights(small):
    """Rows and columns are rescaled by the gauge, and their errors with them."""
    experiment = small.experiment
    torch.manual_seed(experiment.learner.seed)
    *_, (state, _) = reported(small.recording, experiment.learner)
    errors = errors_of(small.recording, small.model, state)
    relative = errors.standard / small.model.gnn.connectivity.detach().abs()
    before = standard_errors(state) / state.estimate.connectivity.abs()
    pairs = ~torch.eye(len(before), dtype=torch.bool)
    assert torch.allclose(relative[pairs], before[pairs], rtol=1e-3)
