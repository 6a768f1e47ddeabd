import numpy as np
import pytest
import torch
from conftest import ROOT, TEST_CONFIG

from figures_lib.config import load_experiment
from figures_lib.errors import SimulationError
from figures_lib.neurons.neuron import types_in_blocks
from figures_lib.recording import Recording
from figures_lib.simulate import integrate
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.truth import draw_other, draw_truth, random_stream

RICH_TYPES = [
    dict(
        decay=1.3, offset=0.2, gain=3.0, self_coupling=0.7, width=1.5, threshold=0.4, slope=0.02
    ),
    dict(
        decay=0.6,
        offset=-0.5,
        gain=2.0,
        self_coupling=1.9,
        width=0.8,
        threshold=-0.3,
        slope=0.1,
    ),
    dict(
        decay=2.1, offset=0.0, gain=4.0, self_coupling=0.0, width=5.0, threshold=0.0, slope=0.0
    ),
]


def _experiment(**changes):
    base = {
        "simulation.neurons": 15,
        "simulation.input_neurons": 4,
        "simulation.frames": 60,
        "simulation.warm_up": 30,
        "simulation.noise": 0.0,
        "neuron_types": RICH_TYPES,
        "external_input.images": 7,
    }
    return load_experiment(TEST_CONFIG, base | changes)


def _reference(experiment, truth, start):
    """Equation (1), written out neuron by neuron in float64."""
    settings = experiment.simulation
    kinds = [experiment.neuron_types[k] for k in truth.types.tolist()]
    weights, movie = truth.connectivity.double().numpy(), truth.field.double().numpy()
    x, rows, slopes = start.astype(np.float64), [], []
    for t in range(-settings.warm_up, settings.frames):
        if t < 0:
            field = np.zeros(settings.input_neurons)
        else:
            field = movie[int((len(movie) - 1) * t / settings.frames)]
        slope = np.empty_like(x)
        for i, own in enumerate(kinds):
            total = 0.0
            for j, other in enumerate(kinds):
                message = np.tanh((x[j] - other.threshold) / other.width) - other.slope * x[j]
                total += weights[i, j] * message
            omega = field[i] if i < settings.input_neurons else 1.0
            slope[i] = (
                -x[i] * own.decay
                + own.self_coupling * np.tanh(x[i])
                + own.gain * omega * total
                + own.offset
            )
        if t >= 0:
            rows.append(x.copy())
            slopes.append(slope)
        x = x + settings.time_step * slope
    return np.array(rows), np.array(slopes)


def test_messages_can_depend_on_the_receiver():
    """Figure S14, neuron by neuron: the width is that of the receiver."""
    experiment = _experiment(
        **{"neuron_model": "receiving", "simulation.type_order": "shuffled"}
    )
    truth = draw_truth(experiment)
    own = [truth.neuron_types[int(k)] for k in truth.types]
    x = 2 * torch.randn(2, 15, generator=torch.Generator().manual_seed(0))
    found = truth.dynamics.derivative(x, torch.ones(2, 15))
    for i, mine in enumerate(own):
        received = sum(
            truth.connectivity[i, j]
            * (torch.tanh((x[:, j] - other.threshold) / mine.width) - other.slope * x[:, j])
            for j, other in enumerate(own)
        )
        alone = mine.self_coupling * torch.tanh(x[:, i]) - mine.decay * x[:, i] + mine.offset
        assert torch.allclose(found[:, i], alone + mine.gain * received, atol=1e-4)
    grid = torch.linspace(-1, 1, 5).expand(len(truth.neuron_types), -1)
    pairs = truth.transfer(grid)
    for i, mine in enumerate(truth.neuron_types):
        for j, other in enumerate(truth.neuron_types):
            expected = torch.tanh((grid[j] - other.threshold) / mine.width)
            assert torch.allclose(pairs[i, j], expected - other.slope * grid[j])


@pytest.mark.parametrize("order", ["blocks", "shuffled"])
def test_integrator_equals_float64_reference(order):
    experiment = _experiment(**{"simulation.type_order": order})
    recording, truth = simulate(experiment)
    start = torch.randn(15, generator=torch.Generator().manual_seed(3 * experiment.seed + 2))
    activity, slopes = _reference(experiment, truth, start.numpy())
    assert np.abs(recording.activity.numpy() - activity).max() < 1e-4
    assert np.abs(recording.derivative.numpy() - slopes).max() < 1e-3


def test_noise_is_per_step():
    """x(t+Δt) − x(t) − Δt·x' is the noise: standard deviation σ, not σ√Δt."""
    recording, _ = simulate(_experiment(**{"simulation.noise": 0.7, "simulation.frames": 4000}))
    step = recording.activity[1:] - recording.activity[:-1] - 0.01 * recording.derivative[:-1]
    assert step.std() == pytest.approx(0.7, rel=0.02)
    assert abs(step.mean()) < 0.01


def test_changing_one_ingredient_does_not_redraw_the_others():
    quiet, loud = _experiment(), _experiment(**{"simulation.noise": 1.0})
    assert torch.equal(draw_truth(quiet).connectivity, draw_truth(loud).connectivity)
    shuffled = draw_truth(_experiment(**{"simulation.type_order": "shuffled"}))
    assert torch.equal(shuffled.connectivity, draw_truth(quiet).connectivity)
    assert torch.equal(shuffled.types.sort().values, draw_truth(quiet).types)
    other = draw_truth(_experiment(seed=1))
    assert not torch.equal(other.connectivity, draw_truth(quiet).connectivity)


def test_types_have_their_shares_of_the_neurons():
    experiment = _experiment(**{"simulation.type_shares": [1, 3, 1]})
    assert draw_truth(experiment).types.tolist() == 3 * [0] + 9 * [1] + 3 * [2]
    rare = types_in_blocks(2000, [8.0, 664.0, 664.0, 664.0])
    assert rare.bincount().tolist() == [8, *3 * [664]]
    for count in range(1, 40):  # by default as many of each, as near as can be
        equal = torch.arange(131) * count // 131
        assert torch.equal(types_in_blocks(131, count * [1.0]), equal)


def test_the_other_network_has_weights_and_types_of_its_own():
    settings = {"other_network": {"density": 0.5, "type_shares": [0, 1, 2]}}
    experiment = _experiment(**settings)
    truth, other = draw_truth(experiment), draw_other(experiment)
    assert draw_other(_experiment()) is None
    assert other.types.tolist() == 5 * [1] + 10 * [2]
    assert 0.3 < (other.connectivity != 0).float().mean() < 0.6
    kept = other.connectivity != 0
    assert (other.connectivity[kept] != truth.connectivity[kept]).all()
    again = draw_other(experiment)
    assert torch.equal(again.connectivity, other.connectivity)


def test_every_purpose_and_seed_has_its_own_random_numbers():
    numbers = {
        float(torch.rand(1, generator=random_stream(_experiment(seed=seed), purpose)))
        for seed in range(4)
        for purpose in ("connectivity", "types", "noise")
    }
    assert len(numbers) == 12
    shuffled = [
        draw_truth(_experiment(seed=seed, **{"simulation.type_order": "shuffled"})).types
        for seed in (1, 1, 2)
    ]
    assert torch.equal(shuffled[0], shuffled[1])
    assert not torch.equal(shuffled[0], shuffled[2])
    assert not torch.equal(shuffled[0], shuffled[0].sort().values)


def test_same_seed_is_bit_identical():
    first, second = (simulate(_experiment(**{"simulation.noise": 1.0}))[0] for _ in range(2))
    assert torch.equal(first.activity, second.activity)
    assert torch.equal(first.derivative, second.derivative)


@pytest.mark.parametrize("inputs", [0, 9])
def test_no_input_neurons_and_only_input_neurons(inputs):
    changes = {"simulation.neurons": 9, "simulation.input_neurons": inputs}
    recording, truth = simulate(_experiment(**changes))
    assert int(recording.modulated.sum()) == inputs == truth.field.shape[1]
    assert torch.isfinite(recording.activity).all()


def test_runaway_names_frame_and_remedy():
    with pytest.raises(SimulationError, match=r"diverged at frame .* simulation\.time_step"):
        simulate(_experiment(**{"simulation.time_step": 5.0}))


def test_runaway_names_the_first_frame_beyond_the_bound(monkeypatch):
    monkeypatch.setattr(integrate, "CHUNK", 7)
    experiment = _experiment(**{"simulation.noise": 1.0})
    largest = simulate(experiment)[0].activity.abs().amax(1)
    frame = int(largest.argmax())
    assert frame > 7
    monkeypatch.setattr(integrate, "RUNAWAY", float(largest[frame]))
    with pytest.raises(SimulationError, match=rf"diverged at frame {frame}:"):
        simulate(experiment)


def test_progress_counts_warm_up(tmp_path):
    seen = []
    simulate(_experiment(), progress=lambda *done: seen.append(done))
    assert seen == [(90, 90)]
    integrate.simulate_to_disk(
        _experiment(), tmp_path, progress=lambda *done: seen.append(done)
    )
    assert seen == [(90, 90)] * 2


@pytest.mark.parametrize(
    ("second_half", "overall", "first_types", "last_types"),
    [(1.0, 8.7, 10.4, 6.4), (0.0, 8.1, 10.1, 5.35)],
)
def test_published_activity_statistics(second_half, overall, first_types, last_types):
    """Standard deviations at the published size, with Ω on the unmodulated half 1 or 0.

    The published panel c (about 8 overall, 10 for types 1–2, 5.4 for types 3–4) agrees with the
    second row: with a recording in which the second half receives no network input. With
    Ω = 1 there, as the published text says, the same equation gives the first row.
    """
    experiment = load_experiment(ROOT / "config" / "fig3.yaml")
    truth = draw_truth(experiment)
    field = torch.full((2048,), second_half)
    field[:1024] = 1.08  # the mean of the published movie
    generator = torch.Generator().manual_seed(0)
    x, kept = torch.randn(2048, generator=generator), []
    for step in range(2600):
        x = x + 0.01 * truth.dynamics.derivative(x, field)
        x = x + torch.randn(2048, generator=generator)
        if step >= 1000 and step % 4 == 0:
            kept.append(x)
    activity = torch.stack(kept)
    assert activity.std() == pytest.approx(overall, abs=0.4)
    assert activity[:, truth.types < 2].std() == pytest.approx(first_types, abs=0.6)
    assert activity[:, truth.types >= 2].std() == pytest.approx(last_types, abs=0.4)


@pytest.mark.parametrize("chunk", [1, 7, 30, 64])
def test_the_length_of_the_chunks_changes_nothing(monkeypatch, chunk):
    """Chunks that end before, at and after the warm-up (30 steps) and the recording (60)."""
    whole, _ = simulate(_experiment())
    monkeypatch.setattr(integrate, "CHUNK", chunk)
    parts, _ = simulate(_experiment())
    assert torch.equal(parts.activity, whole.activity)
    assert torch.equal(parts.derivative, whole.derivative)


def test_a_recording_written_to_disk_equals_the_one_in_memory(tmp_path):
    experiment = _experiment(**{"simulation.noise": 1.0, "simulation.frames": 1234})
    held, _ = simulate(experiment)
    written, truth = integrate.simulate_to_disk(experiment, tmp_path)
    again = Recording.load(tmp_path)
    for recording in (written, again):
        assert torch.equal(recording.activity, held.activity)
        assert torch.equal(recording.derivative, held.derivative)
        assert torch.equal(recording.positions, held.positions)
    assert torch.equal(truth.connectivity, simulate(experiment)[1].connectivity)


def test_a_chunk_is_advanced_in_its_own_buffers():
    """As a CUDA graph requires: buffers keep their addresses; a replay repeats the steps."""
    truth = draw_truth(_experiment())
    generator = torch.Generator().manual_seed(0)
    states, slopes, noise = (torch.randn(n, 15, generator=generator) for n in (9, 8, 8))
    chunk = integrate.Chunk(states, slopes, noise, torch.ones(8, 15))
    places = [tensor.data_ptr() for tensor in (states, slopes, noise)]
    results = []
    for _ in range(2):
        integrate.advance(chunk, truth.dynamics, 0.01)
        results.append(states.clone())
    assert torch.equal(*results)
    assert [tensor.data_ptr() for tensor in (states, slopes, noise)] == places
    step = 0.01 * truth.dynamics.derivative(states[3], torch.ones(15))
    assert torch.allclose(states[4], states[3] + step + noise[3], atol=1e-5)
