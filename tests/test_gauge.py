"""The gauge conventions, each against its exact result on known numbers."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from figures_lib.infer import field_scales, gauge
from figures_lib.infer.field_scales import smooth_scales


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _rows(count, size, generator):
    """Rows that all hold the same Cauchy values, each in its own order."""
    values = torch.empty(size).cauchy_(generator=generator)
    orders = torch.rand(count, size, generator=generator).argsort(1)
    return values[orders]


def test_visited_grid_spans_the_quantiles_of_each_type():
    frames = 4001  # of which every second is read: 2001
    ramp = torch.linspace(0, 2000, 2001)
    activity = torch.full((frames, 3), 1e6)  # the frames in between must not count
    for neuron, (low, slope) in enumerate(((0.0, 1.0), (5.0, -2.0), (0.0, 1.0))):
        order = torch.randperm(2001, generator=_generator(neuron))
        activity[::2, neuron] = low + slope * ramp[order]
    grid = gauge.visited_grid(activity, torch.tensor([0, 1, 0]))
    assert grid.shape == (2, gauge.GRID)
    ends = [[10, 1990], [5 - 2 * 1990, 5 - 2 * 10]]  # 0.5 % and 99.5 % of 0…2000
    assert torch.allclose(grid[:, [0, -1]], torch.tensor(ends).float(), atol=2)
    steps = grid.diff(dim=1)
    assert torch.allclose(steps, steps.mean(1, keepdim=True), rtol=1e-3)


def test_visited_grid_reads_every_frame_of_a_short_recording():
    activity = torch.zeros(1999, 1)
    activity[1::2] = 1
    low, high = gauge.visited_grid(activity, torch.tensor([0]))[0, [0, -1]]
    assert (low, high) == (0, 1)


def test_transfer_scale_is_the_largest_magnitude_and_never_zero():
    values = torch.tensor([[-3.0, 1.0], [0.5, 2.0], [0.0, 0.0]])
    assert gauge.transfer_scale(values).tolist() == pytest.approx([3, 2, 1e-12])
    assert gauge.transfer_scale(torch.tensor([[5.0]])) == 5


def test_a_transfer_function_that_falls_is_turned_over():
    """(ψ, W) and (−ψ, −W) predict the same: only a convention gives a weight its sign."""
    x = torch.linspace(-4, 2, 31)
    rising = torch.stack([torch.tanh(x), torch.tanh(x / 3) - 0.1 * x])
    scale = gauge.transfer_scale(torch.cat([rising, -rising]))
    assert (scale[:2] > 0).all() and torch.equal(scale[2:], -scale[:2])
    assert torch.equal(-rising / scale[2:, None], rising / scale[:2, None])


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_row_scales_are_exact_for_rows_that_differ_by_a_scale_only(density):
    generator = _generator()
    rows = _rows(20, 200, generator)
    rows *= torch.rand(20, 200, generator=generator).argsort(1) < density * 200
    if density == 1:
        rows[0, :3] = 0  # a few zeros must change little
    factors = torch.logspace(-1, 1, 10)
    modulated = torch.arange(20) % 2 == 1
    rows[modulated] *= factors[:, None]
    scales = gauge.row_scales(rows, modulated)
    assert (scales[~modulated] == 1).all()
    error = (scales[modulated] / factors).log()
    assert error.abs().max() < (0.02 if density == 1 else 0.6)
    assert abs(error.mean()) < (0.02 if density == 1 else 0.2)


def test_row_scales_solve_their_equation():
    """mean ρ(w_ij/s_i) of each modulated row is that of the rows it is compared with."""
    generator = _generator()
    rows = torch.empty(8, 300).cauchy_(generator=generator)
    modulated = torch.arange(8) >= 5
    rows[modulated] *= torch.tensor([[0.2], [1.0], [30.0]])
    scales = gauge.row_scales(rows, modulated).double()
    reference = rows[~modulated].abs().double()
    unit = reference[reference > 1e-3 * reference.quantile(0.99)].median()

    def rho(ratio):
        return (ratio**2 / (1 + ratio**2)).mean(-1)

    target = rho(reference / unit).mean()
    solved = rho(rows[modulated].double() / unit / scales[modulated, None])
    assert torch.allclose(solved, target.expand(3), rtol=1e-5)


def test_faint_weights_do_not_set_the_unit():
    """A third of the reference is noise around zero: the unit is the median of the others."""
    generator = _generator()
    rows = _rows(12, 300, generator)
    rows[:, :] = torch.where(rows.abs() < 0.4, 1e-5 * rows, rows)
    modulated = torch.arange(12) >= 6
    rows[modulated] *= 3
    assert torch.allclose(gauge.row_scales(rows, modulated)[6:], torch.tensor(3.0), rtol=1e-3)


@pytest.mark.parametrize("modulated", [torch.zeros(4).bool(), torch.ones(4).bool()])
def test_rows_without_rows_to_compare_keep_their_scale(modulated):
    rows = torch.randn(4, 30, generator=_generator())
    assert gauge.row_scales(rows, modulated).tolist() == [1] * 4


def test_scale_error_of_few_rows_is_the_bound_and_of_many_their_spread():
    generator = _generator()
    rows = _rows(41, 400, generator)
    strays = torch.zeros(41).bool()
    assert gauge.scale_error(rows[:7], strays[:7]) == pytest.approx(math.sqrt(2 / 400))
    logarithms = 0.3 * torch.randn(41, generator=generator)
    logarithms[4] = 9  # one row far away does not count
    rows *= logarithms.exp()[:, None]
    strays[[1, 7]] = True
    pretended = logarithms[~strays][::2]
    expected = 1.4826 * (pretended - pretended.median()).abs().median()
    assert gauge.scale_error(rows, strays) == pytest.approx(float(expected), rel=0.01)
    assert gauge.scale_error(rows[:8], strays[8:16]) > 0.08  # eight are enough


def _means(wave, seed=3):
    """Positions, fields and the deviations of their means, of 40 neurons."""
    generator = _generator(seed)
    positions = torch.rand(40, 2, generator=generator)
    field = (wave * torch.sin(4 * positions[:, :1]) + torch.zeros(40, 30)).exp()
    field = field * (0.2 * torch.randn(40, 30, generator=generator)).exp()
    logarithm = field.log().double()
    observed = logarithm.mean(1)
    return positions, field, logarithm, observed - observed.mean()


@pytest.mark.parametrize(("error", "wave"), [(0.1, 1.0), (0.4, 0.3), (0.05, 0.0)])
def test_smooth_scales_are_the_posterior_mean_of_the_likeliest_process(error, wave):
    """Other sizes of the parts are no likelier; with these, the mean is that of numpy."""
    positions, field, logarithm, deviation = _means(wave)
    parts = field_scales.covariances(
        positions.double(), field_scales.fluctuations(logarithm)
    ).numpy()
    noise = error**2 * np.eye(len(deviation))

    def density(sizes):
        total = np.einsum("p,pij->ij", sizes, parts) + noise
        return multivariate_normal.logpdf(deviation.numpy(), cov=total)

    sizes = field_scales.likeliest_sizes(torch.from_numpy(parts), deviation, error).numpy()
    for part in range(len(parts)):
        for factor in (0.5, 2.0):
            other = sizes.copy()
            other[part] *= factor
            assert density(other) < density(sizes) + 1e-3
    signal, seen = np.einsum("p,pij->ij", sizes, parts), deviation.numpy()
    expected = np.exp(signal @ np.linalg.solve(signal + noise, seen) - seen)
    found = smooth_scales(positions, field, error).numpy()
    assert found == pytest.approx(expected, rel=1e-3)


def test_what_describes_a_fluctuation_does_not_know_the_scale():
    """Principal components of unit size at most, width and skew; fewer of few neurons."""
    _, field, logarithm, _ = _means(1.0)
    scale = torch.linspace(0.5, 2, 40).double()[:, None]
    ours, theirs = (
        field_scales.fluctuations(one) for one in (logarithm, logarithm + scale.log())
    )
    assert torch.allclose(ours, theirs, atol=1e-9)
    first, second, *shape = ours.std(0).tolist()
    assert [first, *shape] == pytest.approx([1, 1, 1]) and 0 < second < 1
    assert field_scales.fluctuations(logarithm[:12]).shape == (12, 0)


def test_neurons_that_vary_alike_have_similar_means_wherever_they_are():
    """Where the mean follows from the course in time, the errors of the scales come out."""
    generator = _generator(1)
    share = torch.rand(300, generator=generator)  # of the time in which something is bright
    positions = torch.rand(300, 2, generator=generator)
    bright = torch.linspace(0, 1, 60) < share[:, None]
    error = 0.05 * torch.randn(300, generator=generator)
    field = torch.where(bright, 1.5, 0.5) * error.exp()[:, None]
    left = error + smooth_scales(positions, field, 0.05).log()
    assert (left - left.mean()).std() < 0.3 * error.std()


def test_smooth_scales_remove_most_of_the_error_of_a_smooth_field():
    side = torch.linspace(0, 1, 16)
    positions = torch.cartesian_prod(side, side)
    mean = 0.3 * torch.sin(5 * positions[:, 0]) * torch.cos(4 * positions[:, 1])
    error = 0.1 * torch.randn(256, generator=_generator())
    field = (mean + error).exp()[:, None] * torch.ones(1, 4)
    left = error + smooth_scales(positions, field, 0.1).log()
    assert (left - left.mean()).std() < 0.4 * error.std()
    field[0, 0] = -1  # an estimate may be negative where it is not known
    assert torch.isfinite(smooth_scales(positions, field, 0.1)).all()


def test_scales_stay_where_nothing_is_known_of_their_error():
    positions, field = torch.rand(5, 2), torch.rand(5, 3) + 0.5
    assert smooth_scales(positions, field, 0.0).tolist() == [1] * 5
    assert smooth_scales(positions[:2], field[:2], 0.1).tolist() == [1] * 2
    assert smooth_scales(positions[:3], field[:3], 5.0).tolist() != [1] * 3
