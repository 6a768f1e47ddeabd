"""On a GPU the same comes out as on the CPU; without one, these tests are skipped."""

import copy

import pytest
import torch

from figures_lib.bench.gpu import EARLY
from figures_lib.config import load_experiment
from figures_lib.infer import fit_networks
from figures_lib.infer.algorithm import infer
from figures_lib.infer.descent import Frames, train
from figures_lib.infer.gradient import start
from figures_lib.infer.heldout import sampled_frames
from figures_lib.infer.splines import spanning
from figures_lib.infer.sweep import start as first_estimate
from figures_lib.infer.sweep import sweep
from figures_lib.infer.unknowns import Pools, prepare
from figures_lib.learner import FieldNetwork, GraphNetwork, Training
from figures_lib.model.gnn import GNN
from figures_lib.model.message_passing import MessagePassingGNN
from figures_lib.recording import Recording
from figures_lib.runs.run import open_run
from figures_lib.score.scoring import score
from figures_lib.simulate.integrate import simulate, simulate_to_disk
from tests.conftest import SMALL, TEST_CONFIG

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHORT = {"simulation.frames": 2050, "simulation.warm_up": 730}  # neither is a whole chunk


def test_simulates_the_same_without_noise_and_alike_with_it():
    still = {"simulation.noise": 0.0, "simulation.warm_up": 0}
    quiet = load_experiment(TEST_CONFIG, SMALL | SHORT | still)
    (ours, _), (theirs, _) = simulate(quiet), simulate(quiet, "cuda")
    for name in ("activity", "derivative"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert other.device.type == "cpu"
        assert (one - other)[:EARLY].abs().max() < 1e-3 * one.abs().max(), name
    loud = load_experiment(TEST_CONFIG, SMALL | SHORT | {"simulation.noise": 0.5})
    recording, _ = simulate(loud, "cuda")
    step = recording.time_step * recording.derivative[:-1]
    noise = recording.activity.diff(dim=0) - step
    assert noise.std() == pytest.approx(0.5, rel=0.02) and abs(float(noise.mean())) < 0.01


def test_writes_to_disk_what_it_holds_in_memory(tmp_path):
    loud = load_experiment(TEST_CONFIG, SMALL | SHORT)
    held, _ = simulate(loud, "cuda")
    kept, _ = simulate_to_disk(loud, tmp_path, "cuda")
    assert torch.equal(held.activity, kept.activity)
    assert torch.equal(held.derivative, Recording.load(tmp_path).derivative)


@pytest.mark.parametrize("transfer", ["shared", "sender", "pair"])
def test_dense_network_equals_message_passing(transfer):
    torch.manual_seed(0)
    gnn = GNN(GraphNetwork(transfer=transfer, width=16), 12, 3.0).double().cuda()
    with torch.no_grad():
        gnn.connectivity.normal_()
    activity, field = torch.randn(2, 5, 12, dtype=torch.double, device="cuda")
    dense, edges = (model(activity, field) for model in (gnn, MessagePassingGNN(gnn)))
    assert (dense - edges).abs().max() < 1e-10
    moved = copy.deepcopy(gnn).cpu()(activity.cpu(), field.cpu())
    assert (dense.cpu() - moved).abs().max() < 1e-10


def test_sweeps_equally(small):
    recording, settings = small.recording, small.experiment.learner.inference
    chosen = sampled_frames(len(recording.activity), 3000)
    axis = spanning(recording.activity[chosen], settings.knots)
    estimates = []
    for device in ("cpu", "cuda"):
        data = prepare(recording, axis, chosen, 30, device)
        estimates.append(sweep(data, first_estimate(data), Pools(None, None)))
    for name in ("connectivity", "update", "transfer", "field"):
        one, other = (getattr(estimate, name).cpu() for estimate in estimates)
        assert (one - other).abs().max() < 1e-2 * one.abs().max(), name


def test_infers_what_the_cpu_infers(small):
    found = infer(small.recording, small.experiment.learner, "cuda")
    ours, theirs = (
        score(small.recording, small.truth, one).metrics for one in (small.model, found)
    )
    for key in ("connectivity.r2_gauge_free", "types.accuracy", "diagnosis.heldout_r2_tables"):
        assert theirs[key] == pytest.approx(ours[key], abs=0.01), key
    # the networks are trained for a moment, with other random numbers
    assert theirs["external_input.r2_gauge_free"] > ours["external_input.r2_gauge_free"] - 0.1


@pytest.mark.parametrize(
    "changes", [{"graph_network.transfer": "pair"}, {"inference.types": "one"}]
)
def test_every_kind_of_model_is_inferred(changes):
    """Neither variant leaves a tensor on the wrong device."""
    sizes = {"simulation.neurons": 20, "simulation.frames": 2000}
    experiment = load_experiment(TEST_CONFIG, SMALL | sizes | changes)
    recording, _ = simulate(experiment)
    learner = experiment.learner
    model = infer(recording, learner, "cuda")
    assert {one.device.type for one in model.gnn.parameters()} == {"cpu"}
    assert model.diagnosis.heldout_r2 > 0.5


def test_field_network_learns_in_half_precision():
    """The steps of Muon are products of bfloat16 there."""
    torch.manual_seed(0)
    x, t = torch.rand(64, 2, device="cuda"), torch.linspace(0, 1, 40, device="cuda")
    field = 1 + 0.5 * torch.sin(6 * (x[:, :1] + t))
    settings = FieldNetwork(width=32, layers=3, steps=400, batch=1024)
    siren = fit_networks.fit_field(settings, x, field, t)
    points = torch.cat([x.repeat_interleave(40, 0), t.repeat(64)[:, None]], 1)
    error = siren(points).view(64, 40) - field
    assert error.square().mean() < 0.02 * field.var()


def test_training_goes_on_from_its_checkpoint(small, tmp_path):
    """A killed training on a GPU ends as one that was not killed."""

    def trained(stop, file):
        torch.manual_seed(0)
        network = start(small.recording, small.experiment.learner).cuda()
        knots = spanning(small.recording.activity, 24).values()
        frames = Frames.of(small.recording, knots, "cuda")

        def progress(report):
            if report.index == stop:
                raise KeyboardInterrupt

        settings = Training(batch=8, checks=5)
        train(network, frames, settings, 50, seed=0, progress=progress, checkpoint=file)
        return network

    whole = trained(None, tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        trained(30, tmp_path / "killed.safetensors")
    rest = trained(None, tmp_path / "killed.safetensors")
    for name, value in whole.state_dict().items():
        assert torch.allclose(rest.state_dict()[name], value, rtol=1e-3, atol=1e-4), name


def test_gradient_infers(small):
    changes = SMALL | {"inference.method": "gradient", "training.steps": 300}
    learner = load_experiment(TEST_CONFIG, changes).learner
    model = infer(small.recording, learner, "cuda")
    assert model.diagnosis.heldout_r2 > 0.3


def test_a_run_on_the_gpu_is_scored(tmp_path):
    """By default a GPU is used where there is one, and the results say so."""
    metrics = open_run(TEST_CONFIG, tmp_path, SMALL).metrics()
    assert metrics["device"] == "cuda"
    assert metrics["connectivity.r2_gauge_free"] > 0.9
