"""Tables, sweeps, clusters and gauge against independent constructions."""

import dataclasses

import numpy as np
import pytest
import torch

from figures_lib.infer import gauge
from figures_lib.infer.anderson import extrapolate
from figures_lib.infer.connectivity import solve_connectivity
from figures_lib.infer.field_scales import smooth_scales
from figures_lib.infer.heldout import sampled_frames
from figures_lib.infer.splines import Axis, evaluate, gram, locate, project, resample, spanning
from figures_lib.infer.sweep import start, sweep
from figures_lib.infer.unknowns import Pools, prepare
from figures_lib.infer.windows import choose_windows, rewindow
from figures_lib.recording import Recording


def planted(neurons=20, frames=3000, inputs=9, windows=30, driven=True):
    """A recording constructed from equation (2), with known W, Ω and tanh functions.

    The activity is random, or that of the network itself if it is not ``driven``.
    """
    generator = torch.Generator().manual_seed(0)
    activity = 2 * torch.randn(frames, neurons, generator=generator)
    weights = torch.randn(neurons, neurons, generator=generator).fill_diagonal_(0)
    for frame in range(0 if driven else frames - 1):
        x = activity[frame]
        activity[frame + 1] = x + 0.02 * (-1.5 * x + weights @ torch.tanh(x))
    field = torch.ones(frames, neurons)
    level = 0.5 + torch.rand(windows, inputs, generator=generator)
    field[:, :inputs] = level[torch.arange(frames) * windows // frames]
    derivative = -1.5 * activity + field * (torch.tanh(activity) @ weights.T)
    recording = Recording(
        activity=activity,
        derivative=derivative,
        positions=torch.rand(neurons, 2, generator=generator),
        modulated=torch.arange(neurons) < inputs,
        gain=torch.ones(neurons),
        time_step=0.01,
    )
    return recording, weights, level


def prepared(recording, knots, windows):
    """All frames of a recording that are not held out."""
    total = len(recording.activity)
    frames = sampled_frames(total, total)
    return prepare(recording, spanning(recording.activity, knots), frames, windows)


def test_tables_interpolate_linearly_between_knots():
    axis = Axis(scale=2.0, reach=2.0, knots=9, splines=9)
    knots = axis.values().numpy()
    table = torch.linspace(-1, 1, 27).sin().view(3, 9)
    x = torch.linspace(float(knots[0]), float(knots[-1]) - 1e-3, 50).expand(3, -1)
    values = evaluate(table, *locate(axis.coordinate(x)))
    position = np.arcsinh(x.numpy() / 2.0)
    for row in range(3):
        expected = np.interp(position[row], np.arcsinh(knots / 2.0), table[row].numpy())
        assert np.abs(values[row].numpy() - expected).max() < 1e-3


def test_table_fit_recovers_a_table():
    """The normal equations of the hat functions give back the table that made the signal."""
    axis = Axis(scale=1.0, reach=2.0, knots=8, splines=8)
    place = locate(axis.coordinate(3 * torch.randn(2, 4000)))
    table = torch.randn(2, 8)
    normal, moment = torch.zeros(2, 8, 8), torch.zeros(2, 8)
    gram(normal, *place)
    project(moment, evaluate(table, *place), *place)
    fitted = torch.linalg.solve(normal, moment[..., None])[..., 0]
    assert torch.allclose(fitted, table, atol=1e-2)
    finer = resample(table, axis, axis.refine(15))
    assert torch.allclose(finer[:, ::2], table, atol=0.02)


def test_connectivity_is_exact_given_the_rest():
    recording, weights, level = planted()
    data = prepared(recording, 64, 30)
    knots = data.axis.values()
    field = torch.ones(20, data.windows)
    field[:9] = level.T
    exact = dataclasses.replace(
        start(data),
        update=(-1.5 * knots).expand(20, -1).clone(),
        transfer=torch.tanh(knots).expand(1, 20, -1).clone(),
        field=field,
    )
    everyone = torch.zeros(20, dtype=torch.long)
    for pool in (None, everyone):
        found = solve_connectivity(data, exact, Pools(pool, pool))
        assert (found - weights).abs().max() < 0.02
        assert (found.diagonal() == 0).all()


def test_sweeps_recover_planted_connectivity_functions_and_field():
    recording, weights, level = planted(frames=6000, windows=60)
    data = prepared(recording, 32, 60)
    everyone = torch.zeros(20, dtype=torch.long)
    estimate, losses = start(data), []
    for _ in range(40):
        estimate = sweep(data, estimate, Pools(None, everyone))
        losses.append(estimate.loss)
    assert losses[-1] < 1e-5 < losses[0]
    knots = data.axis.values()
    inside = knots.abs() < 4
    ratio = estimate.transfer[0, 0, inside] / torch.tanh(knots[inside])
    scale = ratio.median()
    assert (ratio / scale - 1).abs().max() < 0.03
    found = estimate.connectivity * scale
    assert (
        torch.corrcoef(torch.stack([found[9:].flatten(), weights[9:].flatten()]))[0, 1] > 0.999
    )
    assert (found[9:] - weights[9:]).abs().max() < 0.01
    relative = level.T / level.T.mean(1, keepdim=True)
    assert (estimate.field[:9] - relative).abs().max() < 0.01
    assert (estimate.field[9:] == 1).all()


def test_ten_extrapolated_sweeps_get_further_than_fifteen_plain_ones():
    recording, _, _ = planted(frames=6000, windows=60)
    data = prepared(recording, 32, 60)
    pools = Pools(None, torch.zeros(20, dtype=torch.long))
    plain = quick = start(data)
    for _ in range(15):
        plain = sweep(data, plain, pools)
    steps = []
    for _ in range(10):
        before = extrapolate(data, steps) if steps else quick
        quick = sweep(data, before, pools)
        steps.append((before, quick))
    assert quick.loss < plain.loss


def test_extrapolation_of_a_linear_contraction_finds_its_fixed_point():
    """One step more than there are slow directions determines the fixed point exactly."""
    recording, _, _ = planted()
    data = prepared(recording, 16, 30)
    fixed = start(data)
    directions = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(1))

    def at(*share):
        moved = torch.einsum("k,kij->ij", torch.tensor(share), directions)
        return dataclasses.replace(fixed, field=fixed.field + 0.05 * moved)

    path = [at(0.9**k, (-0.5) ** k) for k in range(4)]
    found = extrapolate(data, list(zip(path, path[1:], strict=False)))
    assert (found.field - fixed.field).abs().max() < 1e-4
    assert (path[-1].field - fixed.field).abs().max() > 0.02


@pytest.mark.parametrize("windows", [2, 7, 25])
def test_number_of_windows_is_found(windows):
    """The field that the frames show changes ``windows`` − 1 times, not at multiples of 100."""
    recording, weights, _ = planted(frames=6000, windows=windows)
    recording.derivative.add_(
        0.1 * torch.randn(6000, 20, generator=torch.Generator().manual_seed(1))
    )
    data = prepared(recording, 64, 60)
    knots = data.axis.values()
    exact = dataclasses.replace(
        start(data),
        update=(-1.5 * knots).expand(20, -1).clone(),
        transfer=torch.tanh(knots).expand(1, 20, -1).clone(),
        connectivity=weights,
    )
    assert choose_windows(data, exact, 750) == windows
    other, kept = rewindow(data, exact, 9)
    assert other.windows == 9 and kept.field.shape == (20, 9)
    assert [int(other.window(block)[-1]) for block in other.blocks][-1] == 8


@pytest.mark.parametrize(("length", "gain"), [(0.3, 2.5), (None, 0.9)])
def test_smooth_fields_correct_the_row_scales_and_rough_ones_are_left(length, gain):
    """Errors of 5 % fall by ``gain`` if the field is smooth, and hardly grow otherwise."""
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(400, 2, generator=generator)
    if length is None:
        truth = 0.3 * torch.randn(400, generator=generator)
    else:
        truth = 0.3 * torch.sin(positions[:, 0] / length) * torch.cos(positions[:, 1] / length)
    error = 0.05 * torch.randn(400, generator=generator)
    field = (truth + error).exp()[:, None].expand(-1, 3)
    factor = smooth_scales(positions, field, 0.05)
    left = (field[:, 0] * factor).log() - truth
    assert left.std() < error.std() / gain


def test_error_of_row_scales_is_measured_on_rows_of_known_scale():
    weights = torch.empty(500, 500).cauchy_(generator=torch.Generator().manual_seed(0))
    error = gauge.scale_error(weights, torch.arange(500) < 100)
    assert error == pytest.approx((2 / 500) ** 0.5, rel=0.2)
    assert gauge.scale_error(weights, torch.arange(500) < 495) == pytest.approx(0.063, abs=1e-3)


def test_row_scales_find_the_planted_scales():
    generator = torch.Generator().manual_seed(0)
    weights = torch.empty(2000, 2000).cauchy_(generator=generator)
    planted = torch.ones(2000)
    planted[:200] = torch.linspace(0.3, 3, 200)
    modulated = torch.arange(2000) < 200
    found = gauge.row_scales(weights * planted[:, None], modulated)
    error = (found / planted)[:200].log()
    assert error.std() == pytest.approx((2 / 2000) ** 0.5, rel=0.2)  # the Cramér–Rao bound
    assert abs(error.mean()) < 0.01
    assert (found[200:] == 1).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_row_scales_without_reference_rows_are_one(share):
    modulated = torch.full((5,), bool(share))
    assert (gauge.row_scales(torch.randn(5, 5), modulated) == 1).all()


def test_visited_grid_and_scale():
    activity = torch.randn(5000, 4) * torch.tensor([1.0, 1.0, 5.0, 5.0])
    grid = gauge.visited_grid(activity, torch.tensor([0, 0, 1, 1]))
    assert grid[0, -1] == pytest.approx(2.576, abs=0.2)
    assert grid[1, 0] == pytest.approx(-12.88, abs=1.0)
    assert gauge.transfer_scale(torch.tensor([[-0.5, 2.0], [0.1, 1.0]])).tolist() == [2.0, 1.0]
