"""The field network against its formula in numpy and its published initialisation."""

import math

import numpy as np
import pytest
import torch

from figures_lib.infer.muon import Muon, orthogonalised
from figures_lib.learner import FieldNetwork
from figures_lib.model.siren import Siren


def siren(seed=0, **settings):
    torch.manual_seed(seed)
    return Siren(FieldNetwork(**{"layers": 5, "width": 128, **settings}))  # as published


def unit_cube(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, generator=generator, dtype=torch.float64)


def numpy_siren(network, points, omega, space_scale, time_scale):
    """s(x, y, t)² with every weight written out."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    x, y, t = points.T
    hidden = np.stack(
        [space_scale * (2 * x - 1), space_scale * (2 * y - 1), time_scale * (2 * t - 1)]
    )
    layers = sum(name.startswith("hidden") and name.endswith("weight") for name in state)
    for index in range(layers):
        weight, bias = state[f"hidden.{index}.weight"], state[f"hidden.{index}.bias"]
        hidden = np.sin(omega * (weight @ hidden + bias[:, None]))
    return (state["output.weight"] @ hidden + state["output.bias"][:, None])[0] ** 2


@pytest.mark.parametrize("layers", [2, 3, 5])
@pytest.mark.parametrize("omega", [5.0, 30.0])
@pytest.mark.parametrize(("space_scale", "time_scale"), [(1.0, 4.0), (2.5, 0.5)])
def test_output_is_the_published_formula(layers, omega, space_scale, time_scale):
    scales = {"space_scale": space_scale, "time_scale": time_scale}
    network = siren(layers=layers, width=17, omega=omega, **scales).double()
    with torch.no_grad():  # away from the initial Ω* ≈ 1, to test every term
        network.output.weight.normal_()
    points = unit_cube(50)
    expected = numpy_siren(network, points.numpy(), omega, space_scale, time_scale)
    assert expected.std() > 0.5
    np.testing.assert_allclose(network(points).detach().numpy(), expected, rtol=0, atol=1e-10)


def test_layers_count_the_sine_layers():
    shapes = [tuple(p.shape) for n, p in siren().named_parameters() if n.endswith("weight")]
    assert shapes == [(128, 3), *[(128, 128)] * 4, (1, 128)]


@pytest.mark.parametrize("omega", [10.0, 30.0])
def test_weights_start_as_published(omega):
    """U(−1/n, 1/n) first, U(−√(6/n)/ω₀, √(6/n)/ω₀) then: bound b, variance b²/3."""
    drawn = [siren(seed, omega=omega) for seed in range(20)]
    for index in range(6):
        layers = [[*network.hidden, network.output][index] for network in drawn]
        weight = torch.cat([layer.weight.detach().flatten() for layer in layers]).double()
        fan_in = 3 if index == 0 else 128
        bound = 1 / 3 if index == 0 else math.sqrt(6 / fan_in) / omega
        spread = 5 * math.sqrt(0.8 / weight.numel())  # of the variance, 5 standard errors
        assert weight.abs().max() <= bound * (1 + 1e-6)
        assert weight.abs().max() > bound * (1 - 20 / weight.numel())
        assert float(weight.var()) == pytest.approx(bound**2 / 3, rel=spread)
        assert abs(float(weight.mean())) < 5 * bound / math.sqrt(3 * weight.numel())


def test_biases_start_as_published():
    """U(−1/√n, 1/√n) in the sine layers, as in the authors' code; exactly 1 at the output."""
    drawn = [siren(seed) for seed in range(20)]
    for index in range(5):
        bias = torch.cat([network.hidden[index].bias.detach() for network in drawn]).double()
        bound = 1 / math.sqrt(3 if index == 0 else 128)
        assert bound * (1 - 20 / bias.numel()) < bias.abs().max() <= bound * (1 + 1e-6)
        spread = 5 * math.sqrt(0.8 / bias.numel())
        assert float(bias.var()) == pytest.approx(bound**2 / 3, rel=spread)
    assert all(network.output.bias.item() == 1 for network in drawn)


def test_activations_start_with_the_published_distribution():
    """Sines of ω₀ times a near-normal preactivation of variance 1: arcsine, variance 1/2."""
    network = siren(width=256).double()
    hidden = (2 * unit_cube(2000) - 1) * network.scale
    for layer in network.hidden:
        before = 30.0 * layer(hidden).detach()
        hidden = torch.sin(before)
        assert float(hidden.var()) == pytest.approx(0.5, abs=0.05)
        if layer is not network.hidden[0]:
            free = before - 30.0 * layer.bias.detach()
            assert float(free.var()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_field_starts_near_one(seed):
    field = siren(seed)(unit_cube(2000).float()).detach()
    assert float(field.mean()) == pytest.approx(1.0, abs=0.1)
    assert 0 < float(field.std()) < 0.15


def test_field_is_never_negative():
    network = siren(width=16)
    with torch.no_grad():
        network.output.weight.normal_(0, 3)
        network.output.bias.zero_()
    field = network(unit_cube(5000).float())
    assert (field >= 0).all() and field.max() > 1


@pytest.mark.parametrize("count", [0, 1, 7, 75])
def test_any_number_of_points(count):
    """Neurons need not fill a grid: points are taken one by one, in their order."""
    network, points = siren(width=16).double(), unit_cube(count)
    field = network(points)
    assert field.shape == (count,)
    torch.testing.assert_close(
        field, torch.cat([network(point[None]) for point in points] or [field])
    )


def test_gradients_reach_every_layer_and_the_coordinates():
    network, points = siren(width=8, layers=2).double(), unit_cube(5).requires_grad_()
    assert torch.autograd.gradcheck(network, (points,))
    network(points).sum().backward()
    assert all((p.grad != 0).any() for p in network.parameters())


def test_same_seed_gives_the_same_network():
    points = unit_cube(9).float()
    assert torch.equal(siren(3)(points), siren(3)(points))
    assert not torch.equal(siren(3)(points), siren(4)(points))


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_muon_takes_the_steps_of_the_library(shape):
    """Which multiplies in half precision; ours are nearly orthogonal in all directions."""
    start = torch.randn(shape)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimisers = Muon([ours], 0.1), torch.optim.Muon([theirs], 0.1, weight_decay=0.0)
    for seed in range(4):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        for parameter, optimiser in zip((ours, theirs), optimisers, strict=True):
            parameter.grad = gradient.clone()
            optimiser.step()
    moved = (theirs - start).detach()
    assert torch.linalg.norm(ours - theirs) < 0.02 * torch.linalg.norm(moved)
    values = torch.linalg.svdvals(orthogonalised(gradient))
    assert float(values.median()) > 0.6 and float(values.max()) < 1.3
    ours.grad = None
    optimisers[0].step()  # what has no gradient stays
