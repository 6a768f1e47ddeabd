"""Inference from end to end, at sizes where it takes seconds."""

import inspect

import grimp
import numpy as np
import pytest
import torch
from conftest import SMALL as TINY
from conftest import TEST_CONFIG
from jaxtyping import TypeCheckError

from figures_lib.config import load_experiment
from figures_lib.infer import gauge
from figures_lib.infer.algorithm import METHODS, infer
from figures_lib.infer.examine import STEADY
from figures_lib.learner import Learner
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.score.rollout import roll_out
from figures_lib.score.scoring import gauge_free_r2, main_scores, score
from figures_lib.simulate.integrate import simulate


def _parameters(model):
    tensors = {**model.gnn.state_dict(), "types": model.types, "loss": torch.tensor(model.loss)}
    return tensors | {f"siren.{k}": v for k, v in model.siren.state_dict().items()}


def test_scores_of_the_test_profile(simulated, model):
    metrics = score(*simulated, model).metrics
    assert metrics["connectivity.r2"] > 0.98
    assert metrics["connectivity.slope"] == pytest.approx(1, abs=0.05)
    assert metrics["connectivity.r2_gauge_free"] > 0.999
    assert metrics["types.accuracy"] == 1.0
    assert metrics["types.n_found"] == 2
    assert metrics["phi.max_error"] < 0.02
    assert metrics["psi.max_error"] < 0.04
    assert metrics["loss.final"] < 0.01
    assert metrics["external_input.r2_gauge_free"] > 0.7
    assert metrics["rollout.r2"] > 0.9


def test_the_truth_cannot_be_passed_to_inference(experiment, simulated):
    """Neither by type nor by import: a recording and a learner are its only arguments."""
    taken = inspect.get_annotations(infer, eval_str=True)
    assert taken["recording"] is Recording and taken["learner"] is Learner
    for section in (Recording, Learner):
        hidden = {"connectivity", "types", "field", "neuron_types", "external_input"}
        assert not hidden & set(inspect.get_annotations(section))
    with pytest.raises(TypeCheckError):
        infer(simulated[0], experiment)
    with pytest.raises(TypeCheckError):
        infer(simulated[1], experiment.learner)
    graph = grimp.build_graph("figures_lib", cache_dir=None)
    read = graph.find_upstream_modules("figures_lib.infer", as_package=True)
    for module in ("config", "simulate.truth", "neurons", "score.scoring"):
        assert f"figures_lib.{module}" not in read, module


def test_the_model_does_not_depend_on_how_the_truth_is_described(experiment, simulated, model):
    """Another experiment around the same learner gives a model that is equal to the bit."""
    lie = load_experiment(
        TEST_CONFIG,
        {
            "neuron_types": [dict(decay=9.0, gain=-3.0, self_coupling=5.0, width=0.1)] * 3,
            "connectivity.distribution": "gaussian",
            "external_input.images": 2,
            "simulation.noise": 5.0,
        },
    )
    assert lie.learner == experiment.learner
    again = infer(simulated[0], lie.learner)
    for name, value in _parameters(model).items():
        assert torch.equal(value, _parameters(again)[name]), name


def test_same_seed_gives_the_same_model_and_the_disk_keeps_it(tmp_path, model):
    model.save(tmp_path)
    back = Model.load(tmp_path)
    for name, value in _parameters(model).items():
        assert torch.allclose(value, _parameters(back)[name]), name
    assert torch.equal(back.history.embedding_steps, model.history.embedding_steps)
    assert [s.loss for s in back.history.sweeps] == [s.loss for s in model.history.sweeps]
    frames = torch.tensor([0, 1999])
    assert torch.equal(back.field(frames), model.field(frames))


def test_progress_sees_every_sweep_and_the_loss_falls(model):
    sweeps = model.history.sweeps
    assert [s.index for s in sweeps] == list(range(len(sweeps)))
    assert [s.phase for s in sweeps] == sorted(
        (s.phase for s in sweeps), key=["shared", "neuron", "type"].index
    )
    assert sweeps[-1].loss < 1e-2 * sweeps[0].loss


def test_gauge_conventions_hold(simulated, model):
    """ψ* has maximum 1 on the visited range, and modulated rows have the common scale."""
    recording, _ = simulated
    grid = gauge.visited_grid(recording.activity, model.types)
    assert model.transfer(grid).abs().amax(1).tolist() == pytest.approx([1, 1], abs=0.03)
    rows = model.gnn.connectivity.detach().abs().median(1).values
    ratio = rows[recording.modulated].log().mean() - rows[~recording.modulated].log().mean()
    assert abs(ratio) < 0.15
    assert (model.gnn.connectivity.diagonal() == 0).all()


SMALL = {
    "simulation.frames": 6000,
    "graph_network.steps": 100,
    "field_network.steps": 20,
}
CASES = {
    "ψ shared by all": {
        "graph_network.transfer": "shared",
        "neuron_types.0.width": 2.0,
        "neuron_types.1.width": 2.0,
    },
    "ψ of pairs": {"graph_network.transfer": "pair"},
    "sparse": {"connectivity.density": 0.3},
    "gaussian": {"connectivity.distribution": "gaussian"},
    "not twice a square": {"simulation.neurons": 75, "simulation.input_neurons": 25},
    "no inputs": {"simulation.input_neurons": 0},
    "inputs only, types alike": {  # sweeps with one ψ per neuron creep
        "simulation.input_neurons": 64,
        "simulation.frames": 4000,
        "external_input.images": 16,
        "neuron_types.1": {"decay": 1.0, "self_coupling": 2.0, "width": 2.0},
        "seed": 3,
    },
    "shuffled types": {"simulation.type_order": "shuffled"},
    "slope θ": {"neuron_types.1.slope": 0.03},
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_network_is_recovered(case):
    experiment = load_experiment(TEST_CONFIG, SMALL | CASES[case])
    recording, truth = simulate(experiment)
    metrics = main_scores(recording, truth, infer(recording, experiment.learner))
    assert metrics["connectivity.r2_gauge_free"] > 0.98, metrics
    assert metrics["types.accuracy"] > 0.95, metrics
    if "inputs only" not in case:  # there is no unmodulated row to set the scale
        assert metrics["connectivity.r2"] > 0.93, metrics


def test_gains_that_differ_by_type_do_not_scale_the_rows():
    gains = {"neuron_types.0.gain": 5.0, "neuron_types.1.gain": 20.0}
    experiment = load_experiment(TEST_CONFIG, gains)
    recording, truth = simulate(experiment)
    metrics = main_scores(recording, truth, infer(recording, experiment.learner))
    assert metrics["connectivity.r2"] > 0.97
    assert metrics["connectivity.slope"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_one_type_can_be_assumed_and_its_misfit_is_said(method):
    """Without an embedding, the network describes all neurons as one kind, as in Figure S3."""
    changes = {"inference.types": "one", "inference.method": method, "training.steps": 300}
    experiment = load_experiment(TEST_CONFIG, SMALL | changes)
    recording, truth = simulate(experiment)
    model = infer(recording, experiment.learner)
    metrics = score(recording, truth, model).metrics
    assert metrics["types.n_found"] == 1 and not model.continuum
    assert (model.gnn.embedding == model.gnn.embedding[0]).all()
    assert 0.1 < metrics["connectivity.r2_gauge_free"] < 0.97
    assert not model.diagnosis.trusted


def test_roll_out_is_euler_integration_of_the_learned_equation(simulated, model):
    """Tabulated roll-out against stepping the network itself."""
    recording, _ = simulated
    start = recording.activity[100]
    rolled = roll_out(model, recording.gain, start[None], torch.tensor([0]), 30, 0.01)[:, 0]
    x, field = start[None], torch.ones(1, 64)
    for step in range(29):
        if step % 10 == 0:
            field[0, recording.modulated] = model.field(torch.tensor([step + 5]))[0]
        with torch.no_grad():
            x = x + 0.01 * model.gnn(x, field * recording.gain)
    assert (rolled[-1] - x[0]).abs().max() < 0.02 * (x - start).abs().max()


def test_saturated_senders_are_named_and_no_method_could_do_better(tmp_path):
    """All weights positive: activities run away, and psi is flat there.

    Solved for with the true functions and field, in double precision, the weights are wrong
    as well: the recording does not determine them.
    """
    weights = torch.empty(40, 40).cauchy_(generator=torch.Generator().manual_seed(1))
    weights = 0.1 * weights.abs().clamp_max(25.0)
    np.save(tmp_path / "positive.npy", weights.numpy())
    source = {"connectivity.source": str(tmp_path / "positive.npy")}
    experiment = load_experiment(TEST_CONFIG, TINY | source | {"neuron_types.1.width": 4.0})
    recording, truth = simulate(experiment)
    verdict = infer(recording, experiment.learner).diagnosis
    assert not verdict.trusted
    assert any(
        "hardly vary, because psi* is flat there" in reason for reason in verdict.reasons
    )
    activity, parameters = recording.activity.double(), truth.dynamics.parameters
    parameters = {name: value.double() for name, value in parameters.items()}
    messages = experiment.neuron.transfer(activity, parameters, parameters)
    field = torch.ones_like(activity)
    field[:, recording.modulated] = truth.field_at(torch.arange(len(field))).double()
    rest = recording.derivative - experiment.neuron.update(activity, parameters)
    rest = rest / (field * parameters["gain"])
    solved = torch.linalg.lstsq(messages, rest, driver="gelsd").solution.T.float()
    assert gauge_free_r2(truth.connectivity, solved) < 0.9
    steep = messages.std(0) * parameters["width"] / activity.std(0)  # 1 if straight
    flat = set((steep < STEADY).nonzero()[:, 0].tolist())
    assert len(flat & set(verdict.saturated)) > len(verdict.saturated) / 2
