"""Inference from end to end, at sizes where it takes seconds."""

import inspect

import pytest
import torch
from conftest import TEST_CONFIG

from figures_lib import inference
from figures_lib.config import load_experiment
from figures_lib.inference import infer
from figures_lib.model import Model
from figures_lib.recording import Truth
from figures_lib.rollout import roll_out
from figures_lib.scoring import score
from figures_lib.simulator import simulate


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


def test_gains_that_differ_by_type_do_not_scale_the_rows():
    gains = {"neuron_types.0.gain": 5.0, "neuron_types.1.gain": 20.0}
    experiment = load_experiment(TEST_CONFIG, gains)
    recording, truth = simulate(experiment)
    metrics = score(recording, truth, infer(recording, experiment)).metrics
    assert metrics["connectivity.r2"] > 0.97
    assert metrics["connectivity.slope"] == pytest.approx(1, abs=0.05)


def test_inference_cannot_read_the_truth(experiment, simulated, model):
    """The model is bit-identical when the truth is absent, shuffled or a lie.

    Everything of the experiment that describes the truth is replaced: types, connectivity,
    movie. Inference gets the recording alone, and none of its modules imports the truth.
    """
    recording, _ = simulated
    lie = load_experiment(
        TEST_CONFIG,
        {
            "neuron_types": [dict(decay=9.0, gain=-3.0, self_coupling=5.0, width=0.1)] * 3,
            "connectivity.distribution": "gaussian",
            "connectivity.density": 0.1,
            "external_input.images": 2,
            "simulation.noise": 5.0,
            "simulation.type_order": "shuffled",
            "simulation.warm_up": 7,
        },
    )
    again = infer(recording, lie)
    for name, value in _parameters(model).items():
        assert torch.equal(value, _parameters(again)[name]), name
    assert not any(isinstance(value, Truth) for value in vars(recording).values())
    for name in (
        "acceleration",
        "clusters",
        "fitting",
        "gauge",
        "gnn",
        "inference",
        "model",
        "shards",
        "siren",
        "sweeps",
        "windows",
    ):
        module = __import__(f"figures_lib.{name}", fromlist=["_"])
        assert "Truth" not in vars(module), name
        source = inspect.getsource(module)
        assert "scoring" not in source.replace("scoring`", ""), name


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
    grid = inference.gauge.visited_grid(recording.activity, model.types)
    assert model.transfer(grid).abs().amax(1).tolist() == pytest.approx([1, 1], abs=0.03)
    rows = model.gnn.connectivity.detach().abs().median(1).values
    ratio = rows[recording.modulated].log().mean() - rows[~recording.modulated].log().mean()
    assert abs(ratio) < 0.15
    assert (model.gnn.connectivity.diagonal() == 0).all()


SMALL = {
    "simulation.frames": 6000,
    "graph_network.steps": 500,
    "field_network.steps": 50,
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
    "inputs only": {"simulation.input_neurons": 64, "inference.neuron_sweeps": 40},
    "shuffled types": {"simulation.type_order": "shuffled"},
    "slope θ": {"neuron_types.1.slope": 0.03},
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_network_is_recovered(case):
    experiment = load_experiment(TEST_CONFIG, SMALL | CASES[case])
    recording, truth = simulate(experiment)
    metrics = score(recording, truth, infer(recording, experiment)).metrics
    assert metrics["connectivity.r2_gauge_free"] > 0.98, metrics
    assert metrics["types.accuracy"] > 0.95, metrics
    if case != "inputs only":  # there the scale of a row has nothing to be compared with
        assert metrics["connectivity.r2"] > 0.93, metrics


def test_roll_out_is_euler_integration_of_the_learned_equation(simulated, model):
    """Tabulated roll-out against stepping the network itself."""
    recording, _ = simulated
    start = recording.activity[100]
    rolled = roll_out(model, recording.gain, start, 0, 30, 0.01)
    x, field = start[None], torch.ones(1, 64)
    for step in range(29):
        if step % 10 == 0:
            field[0, recording.modulated] = model.field(torch.tensor([step + 5]))[0]
        with torch.no_grad():
            x = x + 0.01 * model.gnn(x, field * recording.gain)
    assert (rolled[-1] - x[0]).abs().max() < 0.02 * (x - start).abs().max()
