"""Training of all unknowns together, by stochastic gradients."""

import copy
import math
import shutil
from dataclasses import replace
from typing import get_args

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from figures_lib.config import load_experiment
from figures_lib.errors import InferenceError
from figures_lib.infer import algorithm, gauge, gradient
from figures_lib.infer.algorithm import METHODS, infer
from figures_lib.infer.descent import Frames, judged, penalty, train
from figures_lib.infer.event_log import event_log
from figures_lib.infer.gradient import match_rows, sharing, start, tabulated
from figures_lib.infer.heldout import held_out
from figures_lib.infer.splines import spanning
from figures_lib.infer.unknowns import prepare, unexplained
from figures_lib.learner import Inference, Training
from figures_lib.model.joint import JointNetwork
from figures_lib.model.message_passing import MessagePassingGNN
from figures_lib.runs.run import open_run
from figures_lib.score.scoring import score
from figures_lib.simulate.integrate import simulate
from tests.conftest import TEST_CONFIG

NONE = {"transfer_scale": 0.0}
SMALL = {
    "simulation.neurons": 40,
    "simulation.input_neurons": 16,
    "simulation.frames": 3000,
    "simulation.warm_up": 20,
    "external_input.images": 5,
    "graph_network.width": 24,
    "field_network.width": 24,
    "field_network.layers": 2,
    "inference.method": "gradient",
    "training.steps": 1500,
    "training.checks": 10,
    "training.connectivity_rate": 1e-2,
    "training.function_rate": 2e-3,
}


@pytest.fixture(scope="module")
def planted():
    """A small network: experiment, recording and truth."""
    experiment = load_experiment(TEST_CONFIG, SMALL)
    return experiment, *simulate(experiment)


@pytest.fixture(scope="module")
def trained(planted, tmp_path_factory):
    """The model of the small network, the reports and the folder of its training."""
    experiment, recording, _ = planted
    folder, reports = tmp_path_factory.mktemp("training"), []
    model = infer(recording, experiment.learner, "cpu", reports.append, folder)
    return model, reports, folder


def of_network(planted, **settings):
    """An untrained network, frames and settings of a few steps."""
    experiment, recording, _ = planted
    torch.manual_seed(0)
    network = start(recording, experiment.learner)
    frames = Frames.of(recording, spanning(recording.activity, 24).values(), "cpu")
    return network, frames, Training(**{"steps": 30, "batch": 8, "checks": 5, **settings})


def test_recovers_weights_field_and_types(planted, trained):
    """All unknowns come out of the gradient alone, and the result is trusted."""
    model, *_ = trained
    metrics = score(*planted[1:], model).metrics
    assert metrics["connectivity.r2_gauge_free"] > 0.98
    assert metrics["external_input.r2_gauge_free"] > 0.9
    assert metrics["connectivity.slope"] > 0  # ψ rises by convention
    assert metrics["types.n_found"] == 2 and metrics["types.accuracy"] == 1.0
    assert metrics["inference.method"] == model.method == "gradient"
    assert metrics["diagnosis.heldout_r2"] > 0.98


def test_reports_what_a_reader_sees(trained):
    """Steps count on through both trainings; the loss falls; the time left is expected."""
    model, reports, _ = trained
    assert list(model.history.sweeps) == reports
    assert [one.index for one in reports] == sorted({one.index for one in reports})
    assert (reports[9].index, reports[-1].index) == (1500, 2000)
    assert reports[0].title == "step 150 of 1500"
    assert reports[9].loss < 0.1 * reports[0].loss
    assert reports[0].remaining > 0 == reports[9].remaining
    assert len(model.history.embedding_steps) == 9


def test_log_opens_in_tensorboard(trained):
    """Losses of batches and of held-out frames, and the rate of every group."""
    log = EventAccumulator(str(trained[2])).Reload()
    assert set(log.Tags()["scalars"]) == {
        *("loss/batch", "loss/held out"),
        *(f"rate/{name}" for name in ("connectivity", "embedding", "functions", "field")),
    }
    held = log.Scalars("loss/held out")
    assert [one.step for one in held] == [one.index for one in trained[1]]
    assert [one.value for one in held] == pytest.approx([one.loss for one in trained[1]])


def test_without_a_folder_nothing_is_logged(tmp_path, monkeypatch):
    """No folder, no files."""
    monkeypatch.chdir(tmp_path)
    with event_log(None) as log:
        log(1, {"loss": 1.0})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("transfer", ["shared", "sender", "pair"])
def test_gradient_reaches_every_unknown(planted, transfer):
    """The module equals the edge-by-edge reference, and its gradients reach all parameters."""
    experiment, recording, _ = planted
    graph = experiment.graph_network.model_copy(update={"transfer": transfer})
    learner = experiment.learner.model_copy(update={"graph_network": graph})
    network, numbers = start(recording, learner), torch.tensor([0, 1000, 2999])
    torch.nn.init.normal_(network.gnn.connectivity)
    activity = recording.activity[numbers]
    found = network(activity, numbers)
    field = network.field(numbers) * recording.gain
    expected = MessagePassingGNN(network.gnn)(activity, field)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (field[:, ~recording.modulated] == recording.gain[~recording.modulated]).all()
    found.square().sum().backward()
    assert all(float(one.grad.abs().sum()) > 0 for one in network.parameters())


@pytest.mark.parametrize("transfer", ["shared", "pair"])
def test_other_variants_of_the_transfer_function(planted, transfer):
    """ψ*(x_j) and ψ*(a_i, a_j, x_j) train as well; their tables predict what they predict."""
    experiment, recording, _ = planted
    graph = experiment.graph_network.model_copy(update={"transfer": transfer, "width": 8})
    steps = 400 if transfer == "pair" else 600
    training = experiment.training.model_copy(update={"steps": steps})
    changes = {"graph_network": graph, "training": training}
    learner = experiment.learner.model_copy(update=changes)
    model = infer(recording, learner)
    losses = [one.loss for one in model.history.sweeps]
    assert min(losses) < 0.8 and math.isfinite(model.diagnosis.halves_r2)


def test_tables_predict_what_the_networks_predict(planted, trained):
    """The unknowns as tables, which find types and halves, leave the loss of the networks."""
    model, recording = trained[0], planted[1]
    network = model.joint(recording.gain)
    axis = spanning(recording.activity, 96)
    data = prepare(recording, axis, torch.arange(0, 3000, 7), 300)
    own = Frames.of(recording, axis.values(), "cpu")
    found = unexplained(data, tabulated(network, data, recording))
    assert found == pytest.approx(float(judged(network, own).mean()), rel=0.5)


class Killed(Exception):
    """Stands for a signal in the middle of a training."""


def test_a_killed_training_goes_on_in_the_middle(planted, tmp_path):
    """It ends with the same network and the same reports as one that was not killed."""
    network, frames, settings = of_network(planted)
    whole, halved, file = network, copy.deepcopy(network), tmp_path / "training.safetensors"
    expected = train(whole, frames, settings, 30, seed=3)

    def kill(report):
        if report.index == 18:
            raise Killed

    with pytest.raises(Killed):
        train(halved, frames, settings, 30, seed=3, progress=kill, checkpoint=file)
    seen = []
    again = of_network(planted)[0]
    course = train(again, frames, settings, 30, seed=3, progress=seen.append, checkpoint=file)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    numbers = [(one.index, one.loss) for one in expected.reports]
    assert numbers == [(one.index, one.loss) for one in course.reports]
    assert seen == list(course.reports) and [one.index for one in seen] == [6, 12, 18, 24, 30]
    assert len(course.embeddings) == len(expected.embeddings)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_starts_anew(planted, tmp_path, caplog, damage):
    """It is reported, and the result is that of a training without it."""
    network, frames, settings = of_network(planted)
    other, file = copy.deepcopy(network), tmp_path / "training.safetensors"
    train(network, frames, settings, 30, seed=3, checkpoint=file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    train(other, frames, settings, 30, seed=3, checkpoint=file)
    assert "training.safetensors: damaged" in caplog.text
    assert torch.equal(network.gnn.connectivity, other.gnn.connectivity)


def test_the_best_network_is_kept(planted, trained):
    """A training that makes things worse returns what it started from."""
    network, (_, frames, settings) = (
        trained[0].joint(planted[1].gain),
        of_network(planted, connectivity_rate=0.05, function_rate=0.05),
    )
    network = copy.deepcopy(network)
    before, loss = copy.deepcopy(network.state_dict()), float(judged(network, frames).mean())
    course = train(network, frames, settings, 20, seed=3)
    assert min(one.loss for one in course.reports) > loss
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())


def test_the_fewest_types_that_explain_as_much_are_kept(
    planted, trained, tmp_path, monkeypatch
):
    """Parted types explain everything as well, and are offered first."""
    experiment, recording, truth = planted
    shutil.copy(trained[2] / "alone.safetensors", tmp_path)
    parted = 2 * truth.types + torch.arange(len(truth.types)) % 2
    offered = [[parted], [truth.types], [torch.zeros_like(truth.types)]]
    monkeypatch.setattr(gradient, "find_types", lambda *about: iter(offered))
    monkeypatch.setattr(gradient, "TYPED", 8)
    learner, phases = experiment.learner, []
    _, state = gradient.by_gradient(
        recording, learner, "cpu", lambda report: phases.append(report.phase), tmp_path
    )
    assert torch.equal(state.types, truth.types)
    assert len(phases) == 2 * learner.training.checks  # nothing else was trained


def test_a_diverging_training_says_so(planted):
    """One clear error with the rates to lower; the best network is not lost."""
    network, frames, settings = of_network(planted, connectivity_rate=1e8, function_rate=1e6)
    with pytest.raises(InferenceError, match=r"it diverged.*training\.connectivity_rate") as e:
        train(network, frames, settings, 30, seed=3)
    assert "gnn.connectivity" in e.value.last_good


def test_batches_never_read_held_out_frames(planted):
    """Their targets can hold anything: the parameters after some steps are the same."""
    experiment, recording, _ = planted
    spoilt = recording.derivative.clone()
    spoilt[held_out(len(spoilt)).flatten()] = 1e9
    networks = []
    for one in (recording, replace(recording, derivative=spoilt)):
        network, frames, settings = of_network((experiment, recording, None))
        there = Frames.of(one, frames.knots, "cpu")
        there = replace(frames, derivative=there.derivative, training=there.training)
        train(network, replace(there, judging=frames.training[:9]), settings, 10, seed=1)
        networks.append(network.gnn.connectivity)
    assert torch.equal(*networks)


@pytest.mark.parametrize(
    ("name", "harmless", "harmful"),
    [
        ("transfer_falls", lambda a, x: x, lambda a, x: -x),
        ("update_rises", lambda a, x: -x, lambda a, x: x),
        ("update_at_zero", lambda a, x: x, lambda a, x: x + 1),
    ],
)
def test_penalties_of_functions(planted, monkeypatch, name, harmless, harmful):
    """Each is zero for a function that obeys, and grows with its coefficient for others."""
    network, frames, settings = of_network(planted, **NONE)
    neurons = torch.arange(5)

    def paid(function, coefficient):
        for kind in ("transfer_function", "update_function"):
            monkeypatch.setattr(network.gnn, kind, lambda a, x, receiver=None: function(a, x))
        changed = settings.model_copy(update={name: coefficient})
        return float(penalty(network, changed, frames, neurons))

    assert paid(harmless, 1.0) == 0 < paid(harmful, 1.0)
    assert paid(harmful, 3.0) == pytest.approx(3 * paid(harmful, 1.0))


def test_penalties_of_scale_sign_and_weights(planted, monkeypatch):
    """ψ* rises to a largest magnitude of 1; weights are few where they cost."""
    network, frames, settings = of_network(planted)
    neurons = torch.arange(5)

    def paid(factor):
        def transfer(embedding, x, receiver=None):
            return factor * x / x.abs().amax(1, keepdim=True)

        monkeypatch.setattr(network.gnn, "transfer_function", transfer)
        return float(penalty(network, settings, frames, neurons))

    assert paid(1.0) == pytest.approx(0, abs=1e-10)
    assert paid(1.1) == pytest.approx(1e-3 * 0.01, rel=1e-3)
    assert paid(-1.0) > 1e-4  # the largest magnitude is right, the sign is not
    costly = settings.model_copy(update={"sparsity": 1.0, **NONE})
    torch.nn.init.constant_(network.gnn.connectivity, -0.5)
    expected = 0.5 * math.sqrt(len(neurons) * 8)
    found = penalty(network, costly, frames, neurons).item()
    assert found == pytest.approx(expected)


def test_a_constant_neuron_is_penalised_like_any_other(planted):
    """Its ψ has no slope to be rewarded: the penalty is a number all the same."""
    network, frames, settings = of_network(planted)
    still = replace(frames, visited=torch.full_like(frames.visited, 2.0))
    assert penalty(network, settings, still, torch.arange(5)).isfinite()


def test_rows_are_matched_without_changing_the_prediction(planted):
    """Rows with modulation get the scale of the others; the field takes up the inverse."""
    recording, numbers = planted[1], torch.tensor([5, 2000])
    network = start(recording, planted[0].learner)
    torch.manual_seed(1)
    rows = recording.modulated
    with torch.no_grad():
        network.gnn.connectivity.normal_()
        network.gnn.connectivity[rows] *= 7
    before = network(recording.activity[numbers], numbers)
    match_rows(network)
    scales = gauge.row_scales(network.gnn.connectivity.detach(), rows)[rows]
    assert float(scales.median()) == pytest.approx(1, abs=0.02)
    after = network(recording.activity[numbers], numbers)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_training_starts_with_a_rising_transfer_function(planted):
    """A straight line, which fixes the sign of W."""
    network, frames, _ = of_network(planted)
    x = torch.linspace(-1, 1, 9) * float(planted[1].activity.abs().max())
    with torch.no_grad():
        found = network.gnn.transfer_function(network.gnn.embedding, x.expand(40, -1))
    assert (found - torch.linspace(-1, 1, 9)).abs().max() < 0.15
    assert (found.diff(dim=1) > 0).all()


def test_types_share_the_embedding_of_a_central_neuron(planted):
    """A copy: the network with free embeddings stays as it is."""
    network = start(planted[1], planted[0].learner)
    types = torch.arange(40) % 3
    embedding = 0.01 * torch.randn(40, 2) + types[:, None]
    embedding[types == 2] += 5.0 * (torch.arange(13) < 5)[:, None]  # in two clusters
    network.gnn.embedding.data = embedding.clone()
    typed = sharing(network, types)
    assert isinstance(typed, JointNetwork)
    for k in range(3):
        shared = typed.gnn.embedding[types == k]
        assert (shared == shared[0]).all() and (shared[0] - k).abs().max() < 0.1
        assert (embedding[types == k] == shared[0]).all(1).sum() == 1
    assert torch.equal(network.gnn.embedding, embedding)


def test_methods_are_those_of_the_configuration():
    """The table that chooses a method, and the names that a file may write, agree."""
    assert set(METHODS) == set(get_args(Inference.model_fields["method"].annotation))


def test_a_killed_run_goes_on_and_leaves_only_its_log(tmp_path):
    """The same command continues the training; a complete run has no checkpoint any more."""
    changes = SMALL | {"training.steps": 60, "training.checks": 4}
    run = open_run(TEST_CONFIG, tmp_path, changes)
    before, after = [], []

    def kill(report):
        before.append(report)
        if len(before) == 3:
            raise Killed

    with pytest.raises(Killed):
        run.infer(kill)
    assert [*tmp_path.glob("training/*/alone.safetensors")]
    model = open_run(TEST_CONFIG, tmp_path, changes).infer(after.append)
    assert [one.index for one in after][:4] == [15, 30, 45, 60]
    assert [one.seconds for one in after[:2]] == [one.seconds for one in before[:2]]
    assert model.method == "gradient"
    assert not [*tmp_path.glob("training/*/*.safetensors")]
    assert [*tmp_path.glob("training/*/events*")]


def test_the_networks_of_the_sweeps_are_trained_on_frames(small, monkeypatch):
    """They explain held-out frames no worse than those fitted to tables; W and Ω stay."""
    fitted = []
    real = algorithm.trained_on_frames

    def spy(recording, learner, model, device):
        fitted.append(model)
        return real(recording, learner, model, device)

    monkeypatch.setattr(algorithm, "trained_on_frames", spy)
    after = infer(small.recording, small.experiment.learner)
    axis = spanning(small.recording.activity, 24)
    frames = Frames.of(small.recording, axis.values(), "cpu")
    losses = [
        float(judged(one.joint(small.recording.gain), frames).mean())
        for one in (*fitted, after)
    ]
    assert losses[1] < losses[0]
    assert torch.equal(fitted[0].gnn.connectivity, after.gnn.connectivity)
    assert torch.equal(fitted[0].gnn.embedding, after.gnn.embedding)
    field = torch.arange(0, 3000, 500)
    assert torch.equal(fitted[0].field(field), after.field(field))
