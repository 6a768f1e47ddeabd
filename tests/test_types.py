"""Types from the functions of single neurons, and one function from those of several."""

from dataclasses import replace

import pytest
import torch
from conftest import TEST_CONFIG

from figures_lib.config import load_experiment
from figures_lib.infer.algorithm import infer
from figures_lib.infer.neuron_types import (
    function_distances,
    likely,
    many_groups,
    merged,
    parted,
    settled,
    without_strays,
    worse,
)
from figures_lib.infer.pooling import Functions, share_functions
from figures_lib.infer.projection import solve_receivers
from figures_lib.infer.splines import Axis, resample, smooth, spanning, spline_basis
from figures_lib.infer.sweep import start
from figures_lib.infer.unknowns import Pools, prepare, unexplained
from figures_lib.recording import Recording
from figures_lib.score.scoring import gauge_free_r2
from figures_lib.simulate.integrate import simulate

KNOTS = 24
X = torch.linspace(-3, 3, KNOTS, dtype=torch.double)


def candidates(update, transfer, visits=None, residual=1e-3):
    """Likely types of neurons that visit all knots alike unless it is said otherwise."""
    every = torch.ones(len(update), dtype=torch.double)
    visits = torch.ones_like(update) / KNOTS if visits is None else visits
    distances = function_distances(update, transfer, visits, every, residual * every)
    identity = torch.eye(KNOTS, dtype=torch.double)
    functions = Functions.of(update, transfer, visits, every, identity)
    most = min(40, len(update) // 4)
    groups = parted(functions, many_groups(distances, most), most)
    return [settled(functions, types) for types in likely(*merged(functions, groups))]


def noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_likeliest_number_of_types_is_right(count):
    types = torch.arange(60) * count // 60
    transfer = torch.tanh(X / 2.0 ** (types[:, None] - 2))
    update = -X * (1 + 0.5 * (types % 2)[:, None])
    constant, scale = noise(count, 60, 1), 0.5 + noise(count + 10, 60, 1).abs()
    errors = 0.003 * noise(count + 20, 2, 60, KNOTS)
    found = candidates(update + constant + errors[0], scale * (transfer + errors[1]))
    assert torch.equal(found[0], types)


def test_a_small_type_is_found_among_many_neurons():
    types = (torch.arange(300) >= 294).long()
    transfer = torch.tanh(X / (1.0 + types[:, None])) + 0.003 * noise(0, 300, KNOTS)
    found = candidates(-X.expand(300, -1) + 0.003 * noise(1, 300, KNOTS), transfer)
    assert any(torch.equal(one, types) for one in found)


def test_strays_are_not_types():
    types = torch.arange(80) // 40
    transfer = torch.tanh(X / (1.0 + 2 * types[:, None])) + 0.003 * noise(0, 80, KNOTS)
    transfer[5] += 0.3 * torch.cos(3 * X)  # a neuron whose function could not be learned
    assert torch.equal(candidates(-X.expand(80, -1), transfer)[0], types)


def test_mergers_that_cost_less_than_the_errors_of_functions_tell_nothing():
    """Costs of a training: the halves of four types differ, by less than its residual."""
    path = [torch.arange(10) % count for count in range(10, 0, -1)]
    costs = [8e-5, 9e-5, 1e-4, 6e-3, 7e-3, 8e-3, 9e-3, 0.5, 0.7, 17.0, 200.0]

    def counts(negligible):
        return [int(types.max()) + 1 for types in likely(path, costs, negligible)]

    assert counts(0.0)[0] == 8 and 8 not in counts(0.01)
    assert 4 in counts(0.01)


def test_neurons_leave_a_type_that_explains_them_far_worse_than_they_do_themselves():
    types = torch.arange(60) // 30
    transfer = torch.tanh(X).expand(60, -1).clone()
    transfer[:6] = torch.tanh(4 * X)
    update, every = -X * (1.0 + types[:, None]), torch.ones(60, dtype=torch.double)
    identity, visits = torch.eye(KNOTS, dtype=torch.double), torch.ones_like(transfer) / KNOTS
    functions = Functions.of(update, transfer, visits, every, identity)

    def apart(far, most=10):
        left = every.clone()
        left[far] = 100.0
        return without_strays(functions, types, left, every, most)

    parted = torch.where(torch.arange(60) < 6, 0, 1 + types)
    assert torch.equal(apart(slice(0, 6)), parted)
    assert torch.equal(apart(slice(0, 5)), parted)  # the sixth is like them
    for few in (slice(0, 0), slice(0, 3), slice(0, 30)):  # none, strays, all of a type
        assert apart(few) is None
    assert apart(slice(0, 6), most=2) is None


def test_functions_may_differ_by_less_than_the_residual():
    """Where the residual is noise, functions are known better than that."""
    types = torch.arange(60) * 2 // 60
    update = -X * (1 + 0.2 * types[:, None]) + 0.01 * noise(0, 60, KNOTS)
    found = candidates(update, X.tanh().expand(60, -1), residual=10.0)
    assert any(torch.equal(one, types) for one in found)


def in_pieces(types, seed=0):
    """Functions of neurons each of which visits a fifth of the range, and their visits."""
    count = len(types)
    centre = torch.linspace(-2.4, 2.4, count // 2, dtype=torch.double).repeat(2)[:count, None]
    visits = torch.exp(-(((X - centre) / 0.5) ** 2))
    visits = torch.where(visits < 0.01, 0.0, visits)
    visits = visits / visits.sum(1, keepdim=True)
    transfer = torch.tanh(X / (1.0 + types[:, None]))
    sign = torch.where(noise(seed, count, 1) > 0, 1.0, -1.0)
    transfer = sign * (0.5 + noise(seed + 1, count, 1).abs()) * transfer
    wild = 5 * noise(seed + 3, count, KNOTS) * (visits == 0)  # nothing is known there
    levels = noise(seed + 2, 2, count, 1)
    return -X * (1 + types[:, None]) + levels[0] + wild, transfer + levels[1] + wild, visits


def test_a_function_is_put_together_from_pieces():
    """Each of them has a level, a scale and a sign of its own."""
    update, transfer, visits = in_pieces(torch.zeros(40))
    every = torch.ones(40, dtype=torch.double)
    functions = Functions.of(update, transfer, visits, every, spline_basis(KNOTS, 12))
    everyone = every > 0
    for found, true in (
        (functions.basis @ functions.update(everyone), -X),
        (functions.basis @ functions.transfer(everyone), torch.tanh(X)),
    ):
        design = torch.stack([true, torch.ones_like(true)], 1)
        rest = found - design @ torch.linalg.lstsq(design, found[:, None]).solution[:, 0]
        assert rest.abs().max() < 0.02 * (found.max() - found.min())


def test_types_are_found_of_neurons_that_visit_different_activities():
    types = torch.arange(80) // 40
    assert torch.equal(candidates(*in_pieces(types))[0], types)


def test_levels_of_common_functions_come_from_all_receivers():
    """Tables in arbitrary gauges leave nothing of x' once their neurons share them."""
    generator = torch.Generator().manual_seed(0)
    neurons, frames = 20, 4000
    activity = 2 * torch.randn(frames, neurons, generator=generator)
    weights = torch.randn(neurons, neurons, generator=generator).fill_diagonal_(0)
    types = torch.arange(neurons) % 2
    widths, rates = 1.0 + 2 * types, 1.0 + types
    messages = torch.tanh(activity / widths) - 0.3
    recording = Recording(
        activity=activity,
        derivative=0.7 - rates * activity + messages @ weights.T,
        positions=torch.rand(neurons, 2, generator=generator),
        modulated=torch.zeros(neurons, dtype=torch.bool),
        gain=torch.ones(neurons),
        time_step=0.02,
    )
    axis = spanning(activity, 48)
    every = torch.arange(frames)
    coarse = prepare(recording, axis, every, 1)
    fine = prepare(recording, smooth(axis, 48, neurons), every, 1)
    x = axis.values()
    scale = (0.5 + torch.rand(neurons, 1, generator=generator)) * (1 - 2 * (types[:, None]))
    level = torch.randn(neurons, 1, generator=generator)
    single = replace(
        start(coarse),
        update=0.7 - rates[:, None] * x - (weights @ (0.3 + level)),
        transfer=(scale * (torch.tanh(x / widths[:, None]) + level))[None],
        connectivity=weights / scale[:, 0],
    )
    pools = Pools(types, types)
    shared = share_functions(coarse, fine, single, pools)
    for k in (0, 1):
        tables = shared.transfer[0, types == k]
        assert torch.equal(tables, tables[:1].expand_as(tables))
    solved = solve_receivers(fine, shared, pools)
    assert unexplained(fine, solved) < 1e-3
    assert gauge_free_r2(weights, solved.connectivity) > 0.999


def test_splines_are_smooth_and_between_them_lines_are_drawn():
    basis = spline_basis(96, 24)
    assert torch.allclose(basis.sum(1), torch.ones(96, dtype=torch.double))
    assert torch.equal(spline_basis(24, 24), torch.eye(24, dtype=torch.double))
    axis = Axis(scale=2.0, reach=2.0, knots=24, splines=24)
    fine = smooth(axis, 24, 10)
    assert (fine.knots, fine.splines) == (96, 24)
    assert smooth(axis, 24, 10_000).knots < 96  # memory is limited
    table = torch.tanh(axis.values() / 2)[None]
    error = resample(table, axis, fine)[0] - torch.tanh(fine.values() / 2)
    assert error.abs().max() < 2e-3


def test_types_are_accepted_unless_held_out_runs_get_worse():
    generator = torch.Generator().manual_seed(0)
    alone = 1 + 0.1 * torch.rand(50, generator=generator)
    assert not worse(0.9 * alone, alone)
    assert not worse(1.01 * alone, alone)
    assert worse(1.5 * alone, alone)
    noisy = alone * torch.exp(0.5 * torch.randn(50, generator=generator))
    assert not worse(noisy - noisy.mean() + alone.mean(), alone)
    rare = alone.clone()
    rare[3] = 1e4  # an activity that no other run has
    assert worse(30 * alone, rare)
    assert not worse(1.5 * alone, alone, negligible=200.0)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "neuron_types.0.gain": 14.2,
            "neuron_types.0.width": 5.0,
            "neuron_types.0.threshold": 2.46,
            "neuron_types.0.slope": 0.036,
            "simulation.noise": 0.0624,
        },
        {
            "neuron_types.0.gain": 3.88,
            "neuron_types.0.width": 1.72,
            "neuron_types.0.threshold": 0.83,
            "neuron_types.0.slope": 0.011,
            "simulation.noise": 0.153,
            "connectivity.distribution": "low_rank",
        },
    ],
)
def test_a_type_is_found_of_neurons_near_different_fixed_points(changes):
    """With hardly any noise every neuron stays in a narrow range of its own."""
    quiet = {
        "neuron_types": [{"decay": 1.0, "gain": 10.0, "self_coupling": 1.0, "width": 1.0}],
        "simulation.neurons": 43,
        "simulation.frames": 2500,
        "simulation.input_neurons": 0,
        "connectivity.density": 1.0,
        "graph_network.steps": 200,
        "seed": 716672,
    }
    experiment = load_experiment(TEST_CONFIG, quiet | changes)
    recording, truth = simulate(experiment)
    model = infer(recording, experiment.learner)
    assert model.types_found == 1
    driven = truth.connectivity * truth.dynamics.parameters["gain"][:, None]
    assert gauge_free_r2(driven, model.gnn.connectivity.detach()) > 0.999
