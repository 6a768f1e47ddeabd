"""Every score against an independent computation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL, TEST_CONFIG

from figures_lib.config import load_experiment
from figures_lib.infer import gauge
from figures_lib.infer.algorithm import infer
from figures_lib.model.inferred import Diagnosis
from figures_lib.score import scoring
from figures_lib.score.edges import score_edges
from figures_lib.score.elsewhere import transplanted
from figures_lib.score.rollout import roll_out
from figures_lib.score.scoring import (
    Scores,
    fit_line,
    fit_scales,
    gauge_free_r2,
    match_types,
    score,
)
from figures_lib.score.spectrum import spectrum


@pytest.fixture
def scores(small):
    return score(small.recording, small.truth, small.model)


def _r2(true, learned):
    return np.corrcoef(np.ravel(true), np.ravel(learned))[0, 1] ** 2


def test_weights_are_compared_in_the_convention_of_the_model(small, scores):
    _, recording, truth, model = small
    x = gauge.visited_grid(recording.activity, truth.types)
    assert torch.equal(scores.x, x)
    widths = torch.tensor([one.width for one in truth.neuron_types])
    largest = torch.tanh(x / widths[:, None]).abs().amax(1)
    expected = truth.connectivity * largest[truth.types]
    assert torch.allclose(scores.connectivity_true, expected, rtol=1e-4)

    ours = scores.type_of_cluster.argsort()  # the found type of each true one
    values = torch.stack([model.transfer(x[[k, k]])[ours[k]] for k in (0, 1)])
    scale = values.abs().amax(1)
    learned = model.gnn.connectivity.detach() * scale[truth.types]
    assert torch.allclose(scores.connectivity_learned, learned, rtol=1e-4)
    assert torch.allclose(scores.transfer_learned, values / scale[:, None], atol=1e-5)

    metrics = scores.metrics
    true, learned = expected.numpy().ravel(), learned.numpy().ravel()
    assert metrics["connectivity.r2"] == pytest.approx(_r2(true, learned), abs=1e-6)
    slope = np.polyfit(true, learned, 1)[0]
    assert metrics["connectivity.slope"] == pytest.approx(slope, abs=1e-5)
    assert metrics["connectivity.r2"] < metrics["connectivity.r2_gauge_free"] < 1
    same = (scores.type_of_cluster[model.types] == truth.types).float().mean()
    assert metrics["types.accuracy"] == same
    assert metrics["types.n_found"] == len(model.types.unique())


def test_functions_are_those_of_the_types_over_visited_activity(small, scores):
    _, _, truth, model = small
    x = scores.x
    for k, one in enumerate(truth.neuron_types):
        update = -one.decay * x[k] + one.self_coupling * torch.tanh(x[k])
        assert torch.allclose(scores.update_true[k], update, atol=1e-4)
        transfer = torch.tanh(x[k] / one.width)
        transfer = transfer / transfer.abs().max()
        assert torch.allclose(scores.transfer_true[k], transfer, atol=1e-5)
    ours = scores.type_of_cluster.argsort()
    learned = torch.stack([model.update(x[[k, k]])[ours[k]] for k in (0, 1)])
    assert torch.allclose(scores.update_learned, learned, atol=1e-5)
    for key, name in (("phi.max_error", "update"), ("psi.max_error", "transfer")):
        true = getattr(scores, f"{name}_true").numpy()
        error = np.abs(getattr(scores, f"{name}_learned").numpy() - true).max(1)
        assert scores.metrics[key] == pytest.approx((error / np.ptp(true, 1)).max(), rel=1e-4)


def test_the_loss_is_that_of_the_networks_themselves(small, scores):
    _, recording, truth, model = small
    frames = np.linspace(0, 2999, 256).astype(int)
    field = torch.ones(256, 40)
    field[:, :16] = model.field(torch.tensor(frames))
    with torch.no_grad():
        predicted = model.gnn(recording.activity[frames], 10.0 * field)
    target = recording.derivative[frames].numpy()
    left = ((target - predicted.numpy()) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    assert scores.metrics["loss.final"] == pytest.approx(left, rel=1e-4)


def test_a_pair_network_is_evaluated_on_four_frames_and_averaged_over_receivers(small):
    pair = {"graph_network.transfer": "pair", "inference.neuron_sweeps": 2}
    experiment = load_experiment(TEST_CONFIG, SMALL | pair)
    recording, truth = small.recording, small.truth
    model = replace(infer(recording, experiment.learner), types=small.model.types)
    scores = score(recording, truth, model)
    frames = np.array([0, 999, 1999, 2999])
    field = torch.ones(4, 40)
    field[:, :16] = model.field(torch.tensor(frames))
    with torch.no_grad():
        predicted = model.gnn(recording.activity[frames], 10.0 * field)
    target = recording.derivative[frames]
    left = ((target - predicted) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    assert scores.metrics["loss.final"] == pytest.approx(float(left), rel=1e-4)
    ours = scores.type_of_cluster.argsort()
    for k, x in enumerate(scores.x):
        values = model.transfer(x.expand(2, -1)).mean(0)[ours[k]]
        expected = values / values.abs().max()
        assert torch.allclose(scores.transfer_learned[k], expected, atol=1e-5)


def test_the_field_is_scored_at_equidistant_frames(small, scores):
    _, _, truth, model = small
    frames = torch.linspace(0, 2999, 2000).long()
    true, learned = truth.field_at(frames).numpy(), model.field(frames).numpy()
    metrics = scores.metrics
    assert metrics["external_input.r2"] == pytest.approx(_r2(true, learned), abs=1e-5)
    factor = (true * learned).sum(0) / (learned**2).sum(0)
    free = _r2(true, learned * factor)
    assert metrics["external_input.r2_gauge_free"] == pytest.approx(free, abs=1e-5)
    assert metrics["external_input.windows"] == model.windows


def test_a_network_without_input_has_no_score_of_the_field(small):
    _, recording, truth, model = small
    nothing = torch.zeros(40).bool()
    blind = replace(model, modulated=nothing)
    metrics = score(replace(recording, modulated=nothing), truth, blind).metrics
    assert np.isnan(metrics["external_input.r2"])
    assert np.isnan(metrics["external_input.r2_gauge_free"])
    assert np.isfinite(metrics["loss.final"])


def test_roll_out_is_scored_from_a_state_outside_the_recording(small, scores):
    _, recording, truth, model = small
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(3000, (40,), generator=generator)
    start = recording.activity[chosen, torch.arange(40)]
    assert (recording.activity - start).abs().amax(1).min() > 1
    x, rows = start.double().numpy(), []
    weights = truth.connectivity.double().numpy()
    own = {name: value.double().numpy() for name, value in truth.parameters().items()}
    for frame in range(1400, 1600):  # 200 frames in the middle
        rows.append(x)
        omega = np.ones(40)
        omega[:16] = truth.field_at(torch.tensor([frame]))[0].numpy()
        received = 10 * omega * (weights @ np.tanh(x / own["width"]))
        x = x + 0.01 * (own["self_coupling"] * np.tanh(x) - own["decay"] * x + received)
    first = torch.tensor([1400])
    learned = roll_out(model, recording.gain, start[None], first, 200, 0.01)[:, 0]
    expected = _r2(np.array(rows), learned.numpy())
    assert scores.metrics["rollout.r2"] == pytest.approx(expected, abs=1e-4)
    assert scores.metrics["rollout.horizon_frames"] == 200


def test_drift_starts_at_recorded_states_and_follows_both_networks(small, scores):
    """Without noise both networks begin alike; the truth is stepped by hand."""
    _, recording, truth, model = small
    assert scores.drift.shape == (3, 1001)
    assert (scores.drift[:, 0] > 0.9999).all()
    assert (scores.drift[:, 1:].amin(1) < scores.drift[:, 0]).all()
    middle = scores.drift.median(0).values
    assert scores.metrics["rollout.r2_400"] == pytest.approx(float(middle[400]))
    assert scores.metrics["rollout.r2_800"] == pytest.approx(float(middle[800]))
    x, dynamics = recording.activity[0], truth.dynamics
    for frame in range(20):
        assert torch.allclose(scores.rolled_true[frame], x[scores.rolled_neurons], atol=1e-4)
        field = torch.ones(40)
        field[:16] = truth.field_at(torch.tensor([frame]))[0]
        x = x + 0.01 * dynamics.derivative(x, field)
    first = torch.tensor([0, 1000])
    both = roll_out(model, recording.gain, recording.activity[first], first, 30, 0.01)
    for state, frame in enumerate(first):
        start = recording.activity[[int(frame)]]
        alone = roll_out(model, recording.gain, start, frame[None], 30, 0.01)
        assert torch.allclose(both[:, state], alone[:, 0], atol=1e-3)  # products are rounded


def test_learned_functions_are_tried_in_another_network(small, scores):
    """In their own network they move it as before; elsewhere W and types are others."""
    _, recording, truth, model = small
    same = replace(truth, field=torch.ones(1, 0))
    moved = score(recording, truth, model, same)
    median = moved.other_drift.median(0).values
    assert float(median[100]) > 0.9  # later it is chaotic
    assert moved.metrics["other_network.r2_400"] == pytest.approx(float(median[400]))
    assert moved.metrics["other_network.r2_800"] == pytest.approx(float(median[800]))
    assert "other_network.r2_400" not in scores.metrics and scores.other_drift.numel() == 0
    ours = scores.type_of_cluster.argsort()
    ratio = torch.tensor([2.0, 0.5])
    other = replace(same, connectivity=truth.connectivity.T.clone(), types=1 - truth.types)
    planted = transplanted(model, other, ours, ratio)
    assert torch.equal(planted.gnn.connectivity, other.connectivity * ratio[other.types])
    x = torch.linspace(-3, 3, 7).expand(2, -1)
    for k in (0, 1):
        own = planted.types[(other.types == k).nonzero()[0, 0]]
        assert torch.allclose(planted.update(x)[own], model.update(x)[ours[k]])
        assert torch.allclose(planted.transfer(x)[own], model.transfer(x)[ours[k]])
    alone = transplanted(model, replace(other, types=torch.ones(40).long()), ours, ratio)
    assert alone.types.unique().tolist() == [0]  # a network without the first type
    assert torch.allclose(alone.update(x[:1]), model.update(x)[ours[1]])


def test_a_shorter_recording_limits_the_horizon(small):
    _, recording, truth, model = small
    short = replace(
        recording, activity=recording.activity[:50], derivative=recording.derivative[:50]
    )
    metrics = score(short, replace(truth, frames=50), replace(model, frames=50)).metrics
    assert metrics["rollout.horizon_frames"] == 50
    assert metrics["rollout.r2"] > 0.5
    assert np.isnan(metrics["rollout.r2_400"])


def test_scores_survive_the_disk(tmp_path, scores):
    scores.save(tmp_path)
    again = Scores.load(tmp_path)
    assert again.metrics == scores.metrics
    assert torch.equal(again.connectivity_learned, scores.connectivity_learned)
    assert torch.equal(again.type_of_cluster, scores.type_of_cluster)


def test_fitted_scales_undo_any_scale_of_rows_and_columns():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(40, 40, generator=generator)
    rows, columns = (torch.rand(n, generator=generator) + 0.5 for n in (40, 40))
    learned = true * rows[:, None] * columns
    assert torch.allclose(fit_scales(true, learned), true.double(), atol=1e-5)
    assert gauge_free_r2(true, learned) == pytest.approx(1, abs=1e-9)
    noisy = learned + 0.3 * torch.randn(40, 40, generator=generator)
    assert 0.8 < gauge_free_r2(true, noisy) < 0.99
    still = fit_scales(true, noisy) * scoring.best_scales(true, fit_scales(true, noisy), 0)
    assert torch.allclose(still, fit_scales(true, noisy), rtol=1e-3)  # the fit has converged


def test_best_scales_leave_an_orthogonal_residual():
    generator = torch.Generator().manual_seed(1)
    true, learned = torch.randn(2, 5, 7, generator=generator)
    learned[:, 2] = 0  # a column of zeros has no scale: 0, not a division by zero
    for dim in (0, 1):
        scale = scoring.best_scales(true, learned, dim)
        assert scale.shape[dim] == 1
        left = ((true - learned * scale) * learned).sum(dim)
        assert torch.allclose(left, torch.zeros_like(left), atol=1e-5)
    assert scoring.best_scales(true, learned, 0)[0, 2] == 0


def test_fit_line_is_numpy_polyfit():
    true, learned = torch.randn(200), torch.randn(200)
    learned = 0.7 * true + 0.2 * learned + 3
    r2, slope = fit_line(true, learned)
    x, y = true.numpy(), learned.numpy()
    assert slope == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-5)
    assert r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, abs=1e-5)
    assert fit_line(torch.zeros(5), torch.randn(5)) == (0.0, 0.0)
    assert fit_line(torch.randn(5), torch.zeros(5)) == (0.0, 0.0)
    small = 1e-3 * torch.tensor([-1.0, 0.0, 2.0])
    assert fit_line(small, -2 * small) == pytest.approx((1.0, -2.0))


def test_type_accuracy_is_that_of_the_best_matching():
    found = torch.tensor([1, 1, 1, 0, 0, 2])
    true = torch.tensor([0, 0, 1, 1, 1, 1])
    accuracy, type_of_cluster, cluster_of_type = match_types(found, true)
    assert accuracy == pytest.approx(4 / 6)
    assert type_of_cluster.tolist() == [1, 0, 1]
    assert cluster_of_type.tolist() == [1, 0]
    _, type_of_cluster, cluster_of_type = match_types(found, torch.tensor([1, 1, 1, 0, 0, 0]))
    assert type_of_cluster.tolist() == [0, 1, 0]
    assert cluster_of_type.tolist() == [0, 1]


def test_messages_that_depend_on_the_receiver_are_scored_pair_by_pair(small):
    """Each pair of types has its ψ and its scale."""
    _, recording, truth, model = small
    truth = replace(truth, neuron_model="receiving")
    scores = score(recording, truth, model)
    x = scores.x
    assert scores.transfer_true.shape == scores.transfer_learned.shape == (2, *x.shape)
    for i, mine in enumerate(truth.neuron_types):
        for j, other in enumerate(truth.neuron_types):
            values = torch.tanh((x[j] - other.threshold) / mine.width) - other.slope * x[j]
            largest = values.abs().max()
            assert torch.allclose(scores.transfer_true[i, j], values / largest, atol=1e-5)
            rows = (truth.types == i)[:, None] & (truth.types == j)
            expected = truth.connectivity[rows] * largest
            assert torch.allclose(scores.connectivity_true[rows], expected, rtol=1e-4)
    assert scores.metrics["formulas.width"]["true"] == [None, None]


def test_the_worst_error_is_of_the_range_of_each_function():
    true = torch.tensor([[0.0, 0.1, 0.2], [5.0, 9.0, 15.0]])
    learned = true + torch.tensor([[0.0, 0.05, 0.0], [-1.0, 0.0, 0.5]])
    assert scoring.worst_error(true, learned) == pytest.approx(0.25)
    assert scoring.worst_error(true, true + torch.tensor([[0.0], [4.0]])) == pytest.approx(0.4)


def test_a_spectrum_is_that_of_the_matrix():
    """A rotation by a turn keeps the eigenvalues and turns the eigenvectors."""
    turn, _ = torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(1)))
    eigenvalues = torch.linspace(-2, 1, 30)
    weights = torch.diag(eigenvalues)
    same, turned = spectrum(weights, weights), spectrum(weights, turn @ weights @ turn.T)
    assert torch.allclose(same.true[:, 0].sort().values, eigenvalues)
    assert same.metrics() == pytest.approx(
        {"radius_true": 2.0, "radius": 2.0, "alignment": 1.0}, abs=1e-5
    )
    assert turned.metrics()["radius"] == pytest.approx(2.0, abs=1e-5)
    first = turn[:, 0].abs()  # where the eigenvectors of the largest eigenvalues went
    assert float(turned.alignment[0]) == pytest.approx(float(first[0]), abs=1e-4)
    assert float(turned.alignment.max()) < 0.9


def test_of_a_conjugate_pair_one_is_compared():
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    found = spectrum(torch.block_diag(3 * quarter, quarter), torch.block_diag(quarter, quarter))
    assert len(found.alignment) == 2
    assert found.metrics()["radius_true"] == pytest.approx(3.0)
    assert found.metrics()["radius"] == pytest.approx(1.0)


def test_the_spectrum_of_a_large_network_is_left_out(monkeypatch):
    monkeypatch.setattr("figures_lib.score.spectrum.LARGEST", 3)
    found = spectrum(torch.eye(4), torch.eye(4))
    assert found.metrics() == {"radius_true": None, "radius": None, "alignment": None}


def test_connections_are_those_beyond_what_their_error_explains():
    generator = torch.Generator().manual_seed(2)
    true = torch.randn(200, 200, generator=generator)
    true[torch.rand(200, 200, generator=generator) > 0.1] = 0
    error = 0.01 * torch.randn(200, 200, generator=generator)
    learned = true + error
    missed = float(error.var() / learned.var())
    metrics = score_edges(
        true, learned, Diagnosis(halves_r2=1 - missed, structure=0.0, entanglement=1.0)
    )
    found = learned.abs() > 0.04
    assert metrics["edges.found"] == pytest.approx(int(found.sum()), rel=0.01)
    assert metrics["edges.precision"] > 0.995
    expected = float((found & (true != 0)).sum() / (true != 0).sum())
    assert metrics["edges.recall"] == pytest.approx(expected, abs=0.002)
    assert metrics["edges.signs"] == 1
    assert metrics["excitation.r2"] > 0.99 and metrics["inhibition.r2"] > 0.99
    turned = score_edges(
        true, -learned, Diagnosis(halves_r2=0.999, structure=0.0, entanglement=1.0)
    )
    assert turned["edges.signs"] == 0 and turned["excitation.r2"] < 0.2


def test_without_an_error_of_the_weights_no_connection_is_claimed():
    metrics = score_edges(torch.eye(3), torch.eye(3), Diagnosis())
    assert metrics["edges.found"] is None and metrics["edges.precision"] is None
    assert metrics["excitation.r2"] == pytest.approx(0.0)
