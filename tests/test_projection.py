"""Variable projection, held-out frames and the verdict, against independent constructions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_sweeps import planted, prepared

from figures_lib.infer import heldout, projection
from figures_lib.infer.diagnosis import diagnose
from figures_lib.infer.examine import STEADY, agreement_of_halves, spread_of_messages
from figures_lib.infer.projection import (
    CREEPING,
    ENOUGH,
    FEW_FRAMES,
    SETTLED,
    Projection,
    Receivers,
    Senders,
    curvature_of_neurons,
    curvature_of_pools,
    eliminate,
    entanglement,
    field_step,
    gathered,
    lift,
    projected_steps,
    size_of_step,
    solve_receivers,
)
from figures_lib.infer.splines import features, locate
from figures_lib.infer.sweep import start, sweep
from figures_lib.infer.unknowns import Pools, State, unexplained
from figures_lib.infer.windows import image_rate
from figures_lib.model.inferred import Evidence

NEURONS, KNOTS = 20, 8
EVERYONE = torch.zeros(NEURONS, dtype=torch.long)


@pytest.fixture(scope="module")
def problem():
    """Data, an estimate with random ψ and Ω, and three receivers, two of them modulated."""
    recording, _, _ = planted(frames=900, windows=6)
    data = prepared(recording, KNOTS, 6)
    generator = torch.Generator().manual_seed(1)
    estimate = start(data)
    table = torch.randn(1, NEURONS, KNOTS, generator=generator)
    field = torch.ones(NEURONS, 6)
    field[:9] = 0.5 + torch.rand(9, 6, generator=generator)
    estimate = replace(estimate, transfer=table, field=field / field.mean(1, keepdim=True))
    return data, estimate, torch.tensor([2, 7, 14])


def columns(problem, receivers):
    """For each receiver: what W, φ and Ω change, what ψ changes by knot, and the target."""
    data, estimate, rows = problem
    position = torch.cat([block.position for block in data.blocks], 1).double()
    left, fraction = locate(position)
    identity = torch.eye(KNOTS, dtype=torch.double)
    everything = features(left, fraction, identity).numpy()
    table = estimate.transfer[0].double().numpy()
    messages = np.einsum("jk,jkt->jt", table, everything)
    frame = torch.cat([block.frame for block in data.blocks])
    window = (frame * data.windows // data.total).numpy()
    target = torch.cat([block.derivative for block in data.blocks], 1).double().numpy()
    for row in rows.tolist():
        field = estimate.field[row].double().numpy()[window]
        own = everything[row] / field
        left_over = target[row] / field - estimate.update[row].double().numpy() @ own
        senders = np.delete(messages, row, 0)
        parts = [senders, own]
        if receivers.own_field and bool(data.modulated[row]):
            here = np.eye(data.windows)[window].T * left_over / field
            parts.append(here - here.mean(0))  # the mean of Ω stays
        yield row, senders, np.concatenate(parts), everything, left_over


def residual_of(matrix, target):
    return target - matrix.T @ np.linalg.lstsq(matrix.T, target, rcond=1e-10)[0]


def test_elimination_is_least_squares_in_weights_and_update(problem):
    data, estimate, rows = problem
    receivers = replace(
        Receivers.of(data, gathered(data), estimate, rows, True), own_field=False
    )
    table = estimate.transfer[0].double()
    found = eliminate(receivers, Senders.of(gathered(data), table))
    for k, (row, senders, free, _, target) in enumerate(columns(problem, receivers)):
        solution = np.linalg.lstsq(free.T, target, rcond=1e-10)[0]
        loss = ((target - free.T @ solution) ** 2).sum()
        assert float(found.loss[k]) == pytest.approx(loss, rel=1e-6)
        assert found.weights[k, row].abs() < 1e-9
        others = np.delete(found.weights[k].numpy(), row)
        assert np.allclose(others @ senders, solution[: len(senders)] @ senders, atol=1e-3)


@pytest.mark.parametrize("own_update", [True, False])
def test_the_order_of_elimination_does_not_matter(problem, own_update):
    data, estimate, rows = problem
    receivers = Receivers.of(data, gathered(data), estimate, rows, own_update)
    senders = Senders.of(gathered(data), estimate.transfer[0].double())
    found, expected = field_step(receivers, senders), eliminate(receivers, senders).own
    modulated = found[data.modulated[rows]]
    assert modulated[:, receivers.own_splines :].abs().max() > 1e-2
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_field_step_never_raises_the_residual(problem):
    data, estimate, _ = problem
    before = replace(estimate, field=torch.ones_like(estimate.field))
    plain = solve_receivers(data, before, Pools(None, EVERYONE))
    assert unexplained(data, plain) < unexplained(data, before)
    assert torch.allclose(plain.field.mean(1), torch.ones(NEURONS), atol=1e-4)
    assert (plain.field[9:] == 1).all()
    assert (plain.connectivity.diagonal() == 0).all()


@pytest.mark.parametrize("pooled", [True, False])
def test_curvature_is_that_of_the_projected_messages(problem, pooled):
    """JᵀJ with the J of Kaufman, column by column by least squares."""
    data, estimate, _ = problem
    problem = data, estimate, torch.tensor([11, 14, 17])  # Ω = 1: nothing is approximate
    receivers = replace(
        Receivers.of(data, gathered(data), estimate, problem[2], True), own_field=False
    )
    table = estimate.transfer[0].double()
    reduced = eliminate(receivers, Senders.of(gathered(data), table))
    modes = torch.eye(KNOTS, dtype=torch.double)
    pool = torch.arange(NEURONS) % 2
    if pooled:
        matrix, gradient = curvature_of_pools(receivers, reduced, Pools(None, pool), modes)
    else:
        lifted = lift(receivers, modes)
        matrix, gradient = curvature_of_neurons(receivers, reduced, lifted, modes)
    expected, slope = 0.0, 0.0
    for k, (_, _, free, everything, target) in enumerate(columns(problem, receivers)):
        received = reduced.weights[k].numpy()[:, None, None] * everything
        if pooled:
            received = np.stack([received[pool.numpy() == p].sum(0) for p in (0, 1)])
        received = received.reshape(-1, received.shape[-1])
        left = residual_of(free, received.T).T
        expected = expected + left @ left.T
        slope = slope + received @ residual_of(free, target)
    scale = np.abs(expected).max()
    assert np.allclose(matrix.numpy(), expected, atol=1e-5 * scale)
    assert np.allclose(gradient.flatten().numpy(), slope, atol=1e-5 * np.abs(slope).max())


def entangled(frames=4000):
    """A noise-free chaotic network: activities so much alike that sweeps creep."""
    recording, weights, _ = planted(frames=frames, inputs=0, driven=False)
    return recording, weights


def test_steps_find_what_sweeps_creep_towards():
    recording, weights = entangled()
    data = prepared(recording, 24, 1)
    pools = Pools(None, EVERYONE)
    crept = start(data)
    for _ in range(12):
        crept = sweep(data, crept, pools)
    *_, found = projected_steps(data, start(data), pools, 30)
    found = solve_receivers(data, found, pools)
    assert entanglement(data, found) > 20
    assert unexplained(data, found) < 0.02 * crept.loss
    one, other = found.connectivity.flatten(), weights.flatten()
    assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.99


def test_the_size_of_a_step_is_bounded(problem, monkeypatch):
    """A step with many types reads fewer frames, then its functions are coarser."""
    data, estimate, _ = problem
    pools = Pools(*(torch.arange(NEURONS) % 3,) * 2)
    splines = data.axis.splines
    assert size_of_step(data, pools, 24)[0] == ENOUGH * NEURONS
    work = 24 * FEW_FRAMES * NEURONS * (4 * splines) ** 2
    monkeypatch.setattr(projection, "WORK", 1.01 * work)
    assert size_of_step(data, pools, 24)[0] == FEW_FRAMES * NEURONS
    monkeypatch.setattr(projection, "WORK", 0.0)
    frames, modes = size_of_step(data, pools, 24)
    assert (frames, modes) == (FEW_FRAMES * NEURONS, projection.LEAST_MODES) and modes < splines
    losses = [one.loss for one in projected_steps(data, estimate, pools, 3)]
    assert losses and losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(("enough", "steps"), [(SETTLED, 7), (CREEPING, 2)])
def test_steps_that_begin_slowly_are_not_taken_for_the_last(
    problem, monkeypatch, enough, steps
):
    """The course on Figure 2: a straight line is nearly stationary."""
    data, estimate, _ = problem
    course = iter([0.98, 0.96, 0.92, 0.4, 0.1, 0.995, 0.999, 1.0])
    monkeypatch.setattr(Projection, "step", lambda _: next(course))
    taken = projected_steps(data, estimate, Pools(None, EVERYONE), 30, enough)
    assert len(list(taken)) == steps


def test_a_step_is_damped_until_it_succeeds(problem, monkeypatch):
    """After many good steps the damping is tiny, and the next may need a large one."""
    data, estimate, _ = problem
    one = Projection(data, estimate, 0, Pools(None, EVERYONE))
    monkeypatch.setattr(one, "_damping", projection.LEAST_DAMPING)
    solve, tried = projection._solve, []

    def wild(matrix, gradient, damping):
        tried.append(damping)
        if damping < 1e-9:
            return None  # no direction is known
        step = solve(matrix, gradient, damping)
        return step if damping > 1e-2 else 0 * step  # no help

    monkeypatch.setattr(projection, "_solve", wild)
    assert one.step() < 1
    assert len(tried) > 5 and tried[-1] > 1e-2


def test_every_group_of_receivers_changes_its_own_functions(problem):
    """The variant ψ*(a_i, a_j, x_j): each type of receivers has its φ and its ψ."""
    data, estimate, _ = problem
    types = torch.arange(NEURONS) % 2
    groups = tuple((types == k).nonzero()[:, 0] for k in (0, 1))
    common = estimate.update.mean(0).expand(NEURONS, -1).clone()
    table = start(data).transfer.expand(2, -1, -1).clone()
    split = replace(estimate, update=common, transfer=table, receivers=groups)
    after = next(projected_steps(data, split, Pools(types, types), 1))
    for k, group in enumerate(groups):
        assert not torch.allclose(after.update[group], common[group])
        assert torch.allclose(after.update[group], after.update[group[:1]])
        assert not torch.allclose(after.transfer[k], table[k])


def test_images_of_a_movie_are_a_dip_however_flat_the_rest_is():
    count = torch.arange(1, 200).double()
    smooth = 1 / count + 0.3
    assert image_rate(smooth) is None
    dipped = smooth.clone()
    dipped[[39, 79, 119]] *= 0.9
    assert image_rate(dipped) == 40


def test_a_few_frames_are_all_fitted():
    assert heldout.judging_runs(3).numel() == 0
    assert (
        heldout.sampled_frames(3, 3).tolist() == heldout.choice_frames(3).tolist() == [0, 1, 2]
    )


@pytest.mark.parametrize("total", [20, 300, 4000, 50_000])
def test_held_out_frames_are_never_fitted(total):
    choice, judging = heldout.choice_frames(total), heldout.judging_runs(total)
    fitted = heldout.sampled_frames(total, total)
    frames = torch.cat([choice, judging.flatten(), fitted])
    assert frames.min() >= 0 and frames.max() < total
    assert not set(choice.tolist()) & set(judging.flatten().tolist())
    assert not set(fitted.tolist()) & set(frames[: -len(fitted)].tolist())
    assert len(fitted) >= 0.85 * total
    assert (judging.diff(dim=1) == 1).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({"structure": 0.2}, ("misses 20 %",)),
        ({"structure": 1e-3, "entanglement": 500.0}, ("0.1 %", "magnify this 500 times")),
        ({"halves_r2": 0.5}, ("expected R² 0.50", "too short")),
        # neither is much, but both together are
        ({"halves_r2": 0.97, "entanglement": 240.0}, ("expected R² 0.95", "too much alike")),
        ({"halves_r2": 0.98, "entanglement": 400.0}, ("expected R² 0.94", "400 times")),
        ({"halves_r2": 0.97, "entanglement": 190.0}, ()),
        (
            {"halves_r2": 0.5, "entanglement": 900.0, "structure": 1e-6},
            ("too much alike",),
        ),
        ({"halves_r2": float("nan")}, ("not compared",)),
        ({"heldout_r2_tables": 0.999, "heldout_r2": 0.9}, ("networks phi* and psi*",)),
        ({"saturated": (3, 7)}, ()),  # they send next to nothing, but the halves agree
        (
            {"saturated": (3, 7), "halves_r2": 0.5},
            ("messages of neurons 3, 7 hardly vary", "flat"),
        ),
    ],
)
def test_the_verdict_names_its_reason(changes, said):
    recording, _, _ = planted()
    evidence = Evidence(heldout_r2=0.99, structure=1e-4, halves_r2=0.999, entanglement=3.0)
    diagnosis = diagnose(recording, replace(evidence, **changes))
    assert diagnosis.trusted == (not said)
    assert len(diagnosis.reasons) == bool(said)
    for words in said:
        assert words in diagnosis.reasons[0]


def test_senders_where_the_transfer_function_is_flat_are_found():
    """A neuron that stays far from zero sends a constant; one at rest is another matter."""
    recording, *_ = planted(frames=500)
    activity = recording.activity.clone()
    activity[:, 3] += 30
    activity[:, 7] = 2.0
    data = prepared(replace(recording, activity=activity), 64, 1)
    knots = data.axis.values()
    tanh = replace(start(data), transfer=torch.tanh(knots).expand(1, NEURONS, -1).clone())
    moved = replace(recording, activity=activity)
    spread = spread_of_messages(moved, State("neuron", data, tanh))
    shifted = replace(tanh, transfer=tanh.transfer + 5)  # a constant is a matter of the gauge
    again = spread_of_messages(moved, State("neuron", data, shifted))
    torch.testing.assert_close(spread, again, rtol=1e-3, atol=1e-5)
    assert (spread < STEADY).nonzero()[:, 0].tolist() == [3]
    assert 0.2 < float(spread.median()) < 1.0 == float(spread[7])


@pytest.mark.parametrize(
    ("noise", "moving"), [(0.5, 2000), (4.0, 2000), (30.0, 2000), (2.0, 900)]
)
def test_halves_predict_the_score_of_noisy_data(noise, moving):
    """Also if the network comes to rest, and its second half tells nothing."""
    recording, weights, _ = planted(frames=2000, inputs=0)
    generator = torch.Generator().manual_seed(3)
    frames = torch.arange(2000).clamp(max=moving)
    disturbance = noise * torch.randn(2000, NEURONS, generator=generator)
    recording = replace(
        recording,
        activity=recording.activity[frames],
        derivative=recording.derivative[frames] + disturbance,
    )
    data = prepared(recording, 32, 1)
    knots = data.axis.values()
    known = replace(start(data), transfer=torch.tanh(knots).expand(1, NEURONS, -1).clone())
    found = solve_receivers(data, known, Pools(None, EVERYONE))
    off = ~torch.eye(NEURONS, dtype=torch.bool)
    both = torch.stack([found.connectivity[off], weights[off]])
    expected = agreement_of_halves(State("neuron", data, found))
    assert expected == pytest.approx(float(torch.corrcoef(both)[0, 1]) ** 2, abs=0.08)
