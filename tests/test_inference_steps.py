"""The steps of inference one by one, on a network that takes a second."""

from dataclasses import replace

import pytest
import torch
from conftest import SMALL, TEST_CONFIG

from figures_lib.config import load_experiment
from figures_lib.errors import InferenceError
from figures_lib.infer import algorithm, assembly, gauge, unknowns
from figures_lib.infer.algorithm import converge, infer
from figures_lib.infer.field_scales import smooth_scales
from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import evaluate, locate
from figures_lib.infer.unknowns import State
from figures_lib.infer.windows import choose_windows
from figures_lib.model.siren import window_centres
from figures_lib.score.scoring import fit_line, gauge_free_r2, match_types
from figures_lib.simulate.integrate import simulate


@pytest.fixture
def passed(small) -> list[State]:
    return list(converge(small.recording, small.experiment.learner))


def _changed(**changes):
    return load_experiment(TEST_CONFIG, SMALL | changes)


def test_weights_types_and_functions_are_found(small):
    model, truth = small.model, small.truth
    learned = model.gnn.connectivity.detach()
    assert gauge_free_r2(truth.connectivity, learned) > 0.999
    assert fit_line(truth.connectivity, learned)[0] > 0.97
    assert match_types(model.types, truth.types)[0] == 1
    assert (learned.diagonal() == 0).all()
    last = model.history.sweeps[-1]
    visited = gauge.visited_grid(small.recording.activity, truth.types)
    widths = torch.tensor([one.width for one in truth.neuron_types])
    for k, (x, width) in enumerate(zip(visited, widths, strict=True)):
        inside = (last.knots > x[0]) & (last.knots < x[-1])
        one = int((truth.types == k).nonzero()[0])
        true = torch.tanh(last.knots / width)[inside]
        learned = last.transfer[one][inside]
        learned = learned * (true @ learned) / (learned @ learned)
        assert (learned - true).abs().max() < 0.05


def phases(states) -> list[str]:
    return [state.phase for state in states]


def test_every_sweep_is_reported_in_order(small, passed):
    reports = []
    model = infer(small.recording, small.experiment.learner, progress=reports.append)
    sweeps = model.history.sweeps
    assert [sweep.index for sweep in reports] == list(range(len(passed)))
    assert phases(sweeps) == phases(passed)
    assert sorted(set(phases(sweeps)), key=phases(sweeps).index) == ["shared", "neuron", "type"]
    assert phases(sweeps) == sorted(phases(sweeps), key=["shared", "neuron", "type"].index)
    assert phases(sweeps).count("shared") <= 3
    assert 3 < phases(sweeps).count("type") <= 3 + 3 * 3
    assert all(a is b for a, b in zip(reports, sweeps, strict=True))
    for sweep, stage in zip(sweeps, passed, strict=True):
        assert 0 < sweep.seconds < 30
        assert sweep.loss == stage.estimate.loss
        assert torch.equal(sweep.knots, stage.data.axis.values())
        assert torch.equal(sweep.update, stage.estimate.update)
        table = stage.estimate.transfer[0]
        expected = table / table.abs().amax(1, keepdim=True)
        assert torch.allclose(sweep.transfer, expected)
    assert sweeps[-1].loss < 1e-3 < sweeps[0].loss
    assert model.loss == sweeps[-1].loss
    assert (model.windows, model.frames) == (passed[-1].data.windows, 3000)
    assert torch.equal(model.types, passed[-1].types)
    assert torch.equal(model.positions, small.recording.positions)
    assert torch.equal(model.modulated, small.recording.modulated)


def last_of(passed: list[State], phase: str) -> State:
    return [state for state in passed if state.phase == phase][-1]


def test_the_unknowns_are_shared_as_in_their_phase(passed):
    shared, neuron, last = (last_of(passed, name) for name in ("shared", "neuron", "type"))
    first = shared.estimate.transfer[0]
    assert torch.allclose(first, first[:1].expand_as(first))
    assert not torch.allclose(neuron.estimate.transfer[0][0], neuron.estimate.transfer[0][1])
    for state in passed:
        assert state.data.axis.knots == (32 if state.phase == "type" else 24)
        assert (state.types is None) == (state.phase != "type")
    for k in (0, 1):
        members = last.types == k
        for table in (last.estimate.transfer[0], last.estimate.update):
            rows = table[members]
            assert torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-4)


def test_windows_are_chosen_after_the_functions_fit(passed):
    single = [state for state in passed if state.phase == "neuron"]
    assert [state.data.windows for state in single[:8]] == [30] * 8  # 3000 frames by 100
    assert single[8].data.windows == choose_windows(single[7].data, single[7].estimate, 120)
    first, *_, last = (state for state in passed if state.phase == "type")
    assert first.data.windows == single[-1].data.windows
    assert last.data.windows != 30


def test_frames_are_sampled_by_neuron_but_not_too_few(small, monkeypatch):
    def sampled(**changes):
        return next(converge(small.recording, _changed(**changes).learner)).data.frames

    assert sampled() == 2880  # a few are held out
    monkeypatch.setattr(unknowns, "LEAST_FRAMES", 500)
    assert 470 <= sampled() <= 490
    assert sampled(**{"inference.frames_per_neuron": 25.0}) == 960
    assert sampled(**{"inference.frames_per_neuron": 2.0}) == sampled()
    windows = next(
        converge(small.recording, _changed(**{"inference.window": 900}).learner)
    ).data.windows
    assert windows == 4


def test_every_receiver_type_begins_with_the_same_functions(passed):
    types = torch.arange(40) % 3
    split = algorithm.split_receivers(last_of(passed, "neuron").estimate, types, Shard(40))
    assert split.transfer.shape == (3, 40, 24)
    for k, (table, rows) in enumerate(zip(split.transfer, split.receivers, strict=True)):
        assert torch.equal(table, last_of(passed, "neuron").estimate.transfer[0])
        assert torch.equal(rows, torch.arange(k, 40, 3))
    split.transfer[0] = 7  # each group has its own memory
    assert not (split.transfer[1] == 7).any()


def test_scaling_the_transfer_functions_keeps_every_weighted_message(small, passed):
    stage = passed[-1]
    functions, connectivity = assembly.scale_transfer(small.recording, stage, stage.types)
    update, transfer, density = functions
    estimate, types = stage.estimate, stage.types
    assert update.shape == density.shape == (2, 32)
    assert transfer.shape == (1, 2, 32)
    messages = connectivity[:, :, None] * transfer[0][types]
    before = estimate.connectivity[:, :, None] * estimate.transfer[0]
    assert torch.allclose(messages, before, atol=1e-3 * float(before.abs().max()))
    visited = gauge.visited_grid(small.recording.activity, types)
    values = evaluate(transfer[0], *locate(stage.data.axis.coordinate(visited)))
    assert values.abs().amax(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    for k in (0, 1):
        assert torch.allclose(update[k], estimate.update[types == k][0])
        assert torch.allclose(density[k], stage.data.density[types == k].mean(0))


def test_a_transfer_function_found_upside_down_gives_the_same_weights(small, passed):
    """A type whose ψ and W have the opposite signs, as a Gauss–Newton step may leave them."""
    last, types = passed[-1], passed[-1].types
    sign = torch.where(types == 1, -1.0, 1.0)
    turned = replace(
        last.estimate,
        transfer=last.estimate.transfer * sign[:, None],
        connectivity=last.estimate.connectivity * sign,
    )
    upside_down = replace(last, estimate=turned)
    (_, found, _), weights = assembly.scale_transfer(small.recording, last, types)
    (_, same, _), equal = assembly.scale_transfer(small.recording, upside_down, types)
    assert torch.equal(found, same) and torch.equal(weights, equal)


def test_each_group_of_receivers_has_its_own_scale(small, passed):
    stage = passed[-1]
    own = replace(stage.estimate, connectivity=stage.estimate.connectivity.clone())
    split = algorithm.split_receivers(own, stage.types, Shard(40))
    split.transfer[1] *= 3
    split.connectivity[split.receivers[1]] /= 3
    parts = assembly.scale_transfer(
        small.recording, replace(stage, estimate=split), stage.types
    )
    whole = assembly.scale_transfer(small.recording, stage, stage.types)
    assert torch.allclose(parts[0][1], whole[0][1].expand(2, -1, -1), atol=1e-5)
    assert torch.allclose(parts[1], whole[1], rtol=1e-4, atol=1e-5)


def test_rows_are_rescaled_and_the_field_inversely(small, passed, monkeypatch):
    stage, recording, experiment = passed[-1], small.recording, small.experiment
    _, driven = assembly.scale_transfer(recording, stage, stage.types)
    fitted, real = [], assembly.fit_networks.fit_field
    monkeypatch.setattr(
        assembly.fit_networks,
        "fit_field",
        lambda *given: (fitted.append(given), real(*given))[1],
    )
    found, _ = assembly.match_rows(recording, experiment.learner, stage, driven)
    rows = recording.modulated
    weights = driven / 10  # the known gain
    assert torch.allclose(found[~rows], weights[~rows])
    scales = gauge.row_scales(torch.cat([weights[~rows], weights[rows]]), rows.flip(0))[24:]
    rough = stage.estimate.field[rows] * scales[:, None]
    known = torch.zeros(24).bool()
    error = gauge.scale_error(weights[~rows], known)
    positions = recording.positions[rows]
    scales = scales * smooth_scales(positions, rough, error)
    assert torch.allclose(found[rows], weights[rows] / scales[:, None], rtol=1e-3)
    ((_, where, field, times, first),) = fitted
    assert torch.equal(where, positions)
    assert torch.allclose(field, stage.estimate.field[rows] * scales[:, None], rtol=1e-3)
    assert torch.equal(
        times, window_centres(torch.arange(stage.data.windows), stage.data.windows)
    )
    assert first == 0


def test_rows_without_gain_have_no_weights(small, passed):
    gain = small.recording.gain.clone()
    gain[[3, 30]], gain[5] = 0, 40
    recording = replace(small.recording, gain=gain)
    _, driven = assembly.scale_transfer(recording, passed[-1], passed[-1].types)
    found, _ = assembly.match_rows(recording, small.experiment.learner, passed[-1], driven)
    assert (found[[3, 30]] == 0).all()
    assert torch.allclose(found[31], driven[31] / 10)
    assert found.isfinite().all()


def test_reference_rows_are_unmodulated_and_not_too_many(monkeypatch):
    connectivity = torch.arange(40.0)[:, None] * torch.ones(1, 40)
    modulated = torch.arange(40) % 4 == 0
    rows = assembly.reference_rows(connectivity, modulated, Shard(40))[:, 0]
    assert rows.tolist() == [n for n in range(40) if n % 4]
    monkeypatch.setattr(assembly, "REFERENCE", 16)
    rows = assembly.reference_rows(connectivity, modulated, Shard(40))[:, 0]
    assert rows.tolist() == [n for n in range(40) if n % 4][::2]
    assert len(assembly.reference_rows(connectivity, modulated | True, Shard(40))) == 0


def test_reference_rows_of_other_shards_are_zero_before_the_sum(monkeypatch):
    """The second of two processes fills in its own rows; the sum over both is complete."""
    monkeypatch.setattr(Shard, "all_reduce", lambda _, values: values)
    monkeypatch.setattr(Shard, "all_gather", lambda _, values: torch.cat([values, values]))
    connectivity = torch.arange(20, 40.0)[:, None] * torch.ones(1, 40)
    modulated = torch.arange(20) % 2 == 0
    rows = assembly.reference_rows(connectivity, modulated, Shard(40, 1, 2))[:, 0]
    assert rows.tolist() == [0] * 10 + list(range(21, 40, 2))


@pytest.mark.parametrize("transfer", ["shared", "pair"])
def test_the_other_variants_share_as_specified(small, transfer):
    experiment = _changed(**{"graph_network.transfer": transfer})
    *_, before, last = converge(small.recording, experiment.learner)
    assert before.phase == last.phase == "type"
    tables = last.estimate.transfer
    if transfer == "shared":
        assert tables.shape[0] == 1
        assert torch.allclose(tables[0], tables[0][:1].expand(40, -1), atol=1e-4)
    else:
        assert tables.shape[0] == len(last.estimate.receivers) == int(last.types.max()) + 1
        for k, rows in enumerate(last.estimate.receivers):
            assert torch.equal(rows, (last.types == k).nonzero()[:, 0])


def test_the_seed_of_inference_affects_the_networks_only(small):
    def networks(**changes):
        gnn = infer(small.recording, _changed(**changes).learner).gnn
        return gnn.connectivity.detach(), gnn.embedding.detach()

    first, other = small.model.gnn, networks(**{"inference.seed": 5})
    assert torch.equal(first.connectivity, other[0])
    assert not torch.equal(first.embedding, other[1])
    assert torch.equal(other[1], networks(seed=5)[1])


def test_differences_replace_the_derivative(small):
    learner = _changed(**{"inference.derivative": "differences"}).learner
    losses = [one.loss for one in infer(small.recording, learner).history.sweeps]
    replaced = algorithm.reported(small.recording.with_differences(), small.experiment.learner)
    assert losses == [one.loss for _, one in replaced]
    assert min(losses) > 0.5  # the noise of the differences is not explained


def test_a_failed_fit_keeps_what_the_sweeps_found(small, passed):
    experiment = _changed(**{"field_network.learning_rate": 1e6})
    with pytest.raises(InferenceError, match=r"field_network\.learning_rate") as error:
        infer(small.recording, experiment.learner)
    kept, estimate = error.value.last_good, passed[-1].estimate
    assert set(kept) == {"connectivity", "update", "transfer", "field", "knots"}
    for name in ("connectivity", "update", "transfer", "field"):
        assert torch.equal(kept[name], getattr(estimate, name)), name
    assert torch.equal(kept["knots"], passed[-1].data.axis.values())


@pytest.mark.parametrize("failure", ["loss", "algebra"])
def test_a_sweep_that_diverges_is_named(small, monkeypatch, failure):
    real = algorithm.converge

    def diverges(*arguments):
        for number, stage in enumerate(real(*arguments)):
            if number == 2 and failure == "algebra":
                raise torch.linalg.LinAlgError("not positive-definite")
            loss = stage.estimate.loss if number < 2 else 1e9
            yield replace(stage, estimate=replace(stage.estimate, loss=loss))

    monkeypatch.setattr(algorithm, "converge", diverges)
    remedy = r"raise inference\.frames_per_neuron or simulation\.noise"
    with pytest.raises(InferenceError, match=rf"^sweep 2 diverged \(.*\); .*{remedy}") as error:
        infer(small.recording, small.experiment.learner)
    cause = "phase shared, loss 1e+09" if failure == "loss" else "not positive-definite"
    assert cause in str(error.value)
    assert error.value.last_good["connectivity"].isfinite().all()


def test_a_first_sweep_that_diverges_leaves_nothing(small, monkeypatch):
    def diverges(*_):
        raise torch.linalg.LinAlgError("singular")
        yield

    monkeypatch.setattr(algorithm, "converge", diverges)
    with pytest.raises(InferenceError, match=r"^sweep 0 diverged \(singular\)") as error:
        infer(small.recording, small.experiment.learner)
    assert not error.value.last_good


def test_networks_whose_training_on_frames_diverges_stay_as_they_were(
    small, monkeypatch, caplog
):
    def diverge(network, *_, **__):
        with torch.no_grad():
            network.gnn.phi[0].weight.fill_(float("nan"))
        raise InferenceError("training: it diverged")

    monkeypatch.setattr(algorithm, "train", diverge)
    learner = small.experiment.learner
    kept = algorithm.trained_on_frames(small.recording, learner, small.model, "cpu")
    for name, value in small.model.gnn.state_dict().items():
        assert torch.equal(kept.gnn.state_dict()[name], value), name
    assert "stay as they were" in caplog.text


def test_the_other_parting_is_tried_where_the_likelier_one_is_refused(small, monkeypatch):
    """One neuron of the wrong type: the first sweep hardly shows it, held-out frames do."""
    right = small.truth.types
    wrong = right.clone()
    wrong[0] = 1 - wrong[0]
    by_type = algorithm._by_type

    def deceptive(single, data, types, learner, joint):
        states = by_type(single, data, types, learner, joint)
        first = next(states)
        if torch.equal(types, wrong):
            first = replace(first, estimate=replace(first.estimate, loss=0.0))
        yield first
        yield from states

    monkeypatch.setattr(algorithm, "_by_type", deceptive)
    monkeypatch.setattr(algorithm, "find_types", lambda *_: iter([[wrong, right]]))
    last = list(converge(small.recording, small.experiment.learner))[-1]
    assert last.types is not None and torch.equal(last.types, right)


def test_a_few_neurons_that_no_candidate_has_apart_become_a_type(monkeypatch):
    """All neurons together pass as one type; what it leaves of six of them gives these away."""
    experiment = load_experiment(TEST_CONFIG, {"simulation.type_shares": [6, 58]})
    recording, truth = simulate(experiment)
    judgements, judged = [], algorithm.worse

    def lenient(*residuals, **limits):
        judgements.append(judged(*residuals, **limits))
        return len(judgements) > 1 and judgements[-1]

    one = torch.zeros_like(truth.types)
    monkeypatch.setattr(algorithm, "worse", lenient)
    monkeypatch.setattr(algorithm, "HOPELESS", float("inf"))
    monkeypatch.setattr(algorithm, "find_types", lambda *_: iter([[one]]))
    last = list(converge(recording, experiment.learner))[-1]
    assert judgements[1:] == [True]  # as one type they are explained worse than as two
    assert torch.equal(last.types, truth.types)
