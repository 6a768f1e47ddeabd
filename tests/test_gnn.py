"""The dense GNN against the edge-by-edge network and against loops in numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from figures_lib.infer.fit_networks import fit_functions, refine
from figures_lib.learner import GraphNetwork
from figures_lib.model import gnn as gnn_module
from figures_lib.model.gnn import GNN
from figures_lib.model.message_passing import MessagePassingGNN

VARIANTS = ("shared", "sender", "pair")
TOLERANCE = 1e-10


def network(transfer, neurons=7, scale=10.0, seed=0, **settings):
    """A float64 network away from its initialisation, with a silent receiver and a diagonal."""
    torch.manual_seed(seed)
    config = GraphNetwork(transfer=transfer, **{"width": 9, **settings})
    gnn = GNN(config, neurons, scale).double()
    with torch.no_grad():
        gnn.embedding.normal_()
        gnn.connectivity.normal_()
        gnn.connectivity[neurons // 2] = 0.0
        gnn.scale.fill_(scale)  # exactly, not rounded to float32
    return gnn


def inputs(neurons, batch, seed=1):
    """Activity with the spread of a recording (about 10) and a positive field."""
    generator = torch.Generator().manual_seed(seed)
    shape, kind = (batch, neurons), {"generator": generator, "dtype": torch.float64}
    activity, field = 10 * torch.randn(shape, **kind), 0.5 + torch.rand(shape, **kind)
    return activity.requires_grad_(), field.requires_grad_()


def gradients(model, gnn, activity, field):
    """Output, and the gradients of a fixed random function of it, by name."""
    output = model(activity, field)
    seed = torch.Generator().manual_seed(2)
    probe = torch.randn(output.shape, generator=seed, dtype=output.dtype)
    named = dict(gnn.named_parameters()) | {"activity": activity, "field": field}
    found = torch.autograd.grad((probe * output).sum(), list(named.values()))
    return output.detach(), dict(zip(named, found, strict=True))


def worst(a, b):
    """Largest difference relative to the size of what is compared."""
    return float(((a - b).abs().max() / b.abs().max().clamp(min=1.0)).detach())


def numpy_mlp(sequential, column):
    layers = [layer for layer in sequential if isinstance(layer, torch.nn.Linear)]
    for index, layer in enumerate(layers):
        column = layer.weight.detach().numpy() @ column + layer.bias.detach().numpy()
        if index < len(layers) - 1:
            column = np.maximum(column, 0)
    return column[0]


def numpy_gnn(gnn, activity, field, scale):
    """Equation (2), one frame, receiver and sender at a time."""
    a, w = gnn.embedding.detach().numpy(), gnn.connectivity.detach().numpy()
    x, omega = activity.detach().numpy(), field.detach().numpy()
    result = np.zeros_like(x)
    for t, i in np.ndindex(*x.shape):
        total = 0.0
        for j in set(range(len(a))) - {i}:
            seen = {"shared": [], "sender": [*a[j]], "pair": [*a[i], *a[j]]}
            message = np.array([x[t, j] / scale, *seen[gnn.config.transfer]])
            total += w[i, j] * numpy_mlp(gnn.psi, message)
        own = numpy_mlp(gnn.phi, np.array([x[t, i] / scale, *a[i]]))
        result[t, i] = own + omega[t, i] * total
    return torch.from_numpy(result)


@pytest.mark.parametrize("transfer", VARIANTS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    neurons=st.integers(2, 13),
    batch=st.integers(1, 5),
    embedding=st.integers(1, 3),
    psi_layers=st.integers(1, 5),
    phi_layers=st.integers(1, 3),
    scale=st.sampled_from([1.0, 10.0, 7.3]),
    seed=st.integers(0, 1000),
)
def test_dense_equals_message_passing(
    transfer, neurons, batch, embedding, psi_layers, phi_layers, scale, seed
):
    sizes = {"embedding": embedding, "psi_layers": psi_layers, "phi_layers": phi_layers}
    gnn = network(transfer, neurons, scale, seed, **sizes)
    activity, field = inputs(neurons, batch, seed)
    dense, dense_gradients = gradients(gnn, gnn, activity, field)
    edges, edge_gradients = gradients(MessagePassingGNN(gnn), gnn, activity, field)
    assert worst(dense, edges) < TOLERANCE
    assert {"embedding", "connectivity", "activity", "field"} < set(dense_gradients)
    for name, gradient in edge_gradients.items():
        assert worst(dense_gradients[name], gradient) < TOLERANCE, name


@pytest.mark.parametrize("transfer", VARIANTS)
@pytest.mark.parametrize("kind", [GNN, MessagePassingGNN])
@pytest.mark.parametrize("scale", [1.0, 12.5])
def test_both_equal_loops_over_neurons(transfer, kind, scale):
    gnn = network(transfer, 6, scale)
    activity, field = inputs(6, 3)
    model = gnn if kind is GNN else kind(gnn)
    expected = numpy_gnn(gnn, activity, field, scale)
    assert expected.std() > 0.1
    assert worst(model(activity, field).detach(), expected) < TOLERANCE


@pytest.mark.parametrize("transfer", VARIANTS)
def test_gradients_equal_finite_differences(transfer):
    gnn = network(transfer, 4, width=3, psi_layers=3)
    activity, field = inputs(4, 2)
    names = [name for name, _ in gnn.named_parameters()]

    def output(*values):
        named = dict(zip(names, values[2:], strict=True))
        return torch.func.functional_call(gnn, named, values[:2])

    assert torch.autograd.gradcheck(output, (activity, field, *gnn.parameters()))


@pytest.mark.parametrize("budget", [1, 7 * 3 * 9, 3 * 7 * 3 * 9, 4 * 7 * 3 * 9, 10**9])
def test_chunks_of_receivers_do_not_change_the_pair_variant(monkeypatch, budget):
    gnn = network("pair", 7)
    activity, field = inputs(7, 3)
    expected, expected_gradients = gradients(MessagePassingGNN(gnn), gnn, activity, field)
    monkeypatch.setattr(gnn_module, "PAIR_BUDGET", budget)
    output, found = gradients(gnn, gnn, activity, field)
    assert worst(output, expected) < TOLERANCE
    for name, gradient in expected_gradients.items():
        assert worst(found[name], gradient) < TOLERANCE, name


@pytest.mark.parametrize("gradient", [False, True])
def test_pair_memory_stays_within_its_budget(monkeypatch, gradient):
    gnn = network("pair", 24)
    activity, field = inputs(24, 4)
    one_receiver = 24 * 4 * 9
    monkeypatch.setattr(gnn_module, "PAIR_BUDGET", 3 * one_receiver)
    sizes, kept = [], []
    for layer in gnn.psi[1:]:
        layer.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
    with (
        torch.set_grad_enabled(gradient),
        torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t.numel()) or t, lambda t: t
        ),
    ):
        gnn(activity, field)
    assert sizes and max(sizes) <= 3 * one_receiver
    assert sum(kept) < 24 * one_receiver  # less than one hidden layer of all pairs


@pytest.mark.parametrize("transfer", VARIANTS)
@pytest.mark.parametrize("value", [0.0, 5.0, float("nan")])
def test_diagonal_has_no_influence_and_no_gradient(transfer, value):
    gnn = network(transfer)
    activity, field = inputs(7, 3)
    expected = gnn(activity, field)
    with torch.no_grad():
        gnn.connectivity.fill_diagonal_(value)
    output, found = gradients(gnn, gnn, activity, field)
    assert torch.equal(output, expected)
    off = ~torch.eye(7, dtype=torch.bool)
    assert (found["connectivity"].diagonal() == 0).all()
    assert (found["connectivity"][off] != 0).any()


@pytest.mark.parametrize("transfer", VARIANTS)
def test_silent_receiver_gets_its_own_function_only_but_can_still_learn(transfer):
    gnn = network(transfer)
    activity, field = inputs(7, 3)
    output, found = gradients(gnn, gnn, activity, field)
    own = gnn.update_function(gnn.embedding, activity.T).T
    assert torch.equal(output[:, 3], own[:, 3])
    assert (output[:, 4] != own[:, 4]).all()
    assert (found["connectivity"][3, :3] != 0).all()


@pytest.mark.parametrize("transfer", VARIANTS)
def test_embeddings_learn_through_both_functions(transfer):
    activity, field = inputs(7, 3)
    reached = {}
    for name, other in (("phi", "psi"), ("psi", "phi")):
        gnn = network(transfer)
        for parameter in getattr(gnn, other).parameters():
            parameter.data.zero_()
        found = gradients(gnn, gnn, activity, field)[1]["embedding"]
        reached[name] = (found != 0).any(1)
    assert reached["phi"].all()
    assert (~reached["psi"]).all() if transfer == "shared" else reached["psi"].all()


@pytest.mark.parametrize("transfer", VARIANTS)
def test_field_multiplies_the_received_sum_alone(transfer):
    gnn = network(transfer)
    activity, field = inputs(7, 2)
    at = [gnn(activity, factor * field) for factor in (0.0, 1.0, 3.0)]
    torch.testing.assert_close(at[0], gnn.update_function(gnn.embedding, activity.T).T)
    torch.testing.assert_close(at[2] - at[0], 3 * (at[1] - at[0]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("transfer", VARIANTS)
def test_empty_batch_gives_an_empty_answer(transfer):
    empty = torch.zeros(0, 7, dtype=torch.float64)
    assert network(transfer)(empty, empty).shape == (0, 7)


@pytest.mark.parametrize("transfer", VARIANTS)
def test_scale_only_divides_the_activity(transfer):
    one, ten = network(transfer, scale=1.0), network(transfer, scale=10.0)
    activity, field = inputs(7, 2)
    assert worst(ten(10 * activity, field), one(activity, field)) < TOLERANCE


def test_scale_is_one_by_default_and_travels_with_the_state():
    assert float(GNN(GraphNetwork(), 3).scale) == 1.0
    copy = GNN(GraphNetwork(), 3)
    copy.load_state_dict(GNN(GraphNetwork(), 3, 4.5).state_dict())
    assert float(copy.scale) == 4.5
    assert "scale" not in dict(copy.named_parameters())


@pytest.mark.parametrize(("transfer", "width_in"), [("shared", 1), ("sender", 3), ("pair", 5)])
def test_networks_have_the_published_shapes(transfer, width_in):
    gnn = GNN(GraphNetwork(transfer=transfer), 5)
    psi = [tuple(p.shape) for n, p in gnn.psi.named_parameters() if n.endswith("weight")]
    phi = [tuple(p.shape) for n, p in gnn.phi.named_parameters() if n.endswith("weight")]
    assert psi == [(64, width_in), (64, 64), (64, 64), (64, 64), (1, 64)]
    assert phi == [(64, 3), (64, 64), (1, 64)]
    assert gnn.embedding.shape == (5, 2) and gnn.connectivity.shape == (5, 5)


def test_pair_needs_the_receiver():
    gnn = network("pair")
    with pytest.raises(ValueError, match="receiver"):
        gnn.transfer_function(gnn.embedding, torch.zeros(7, 2).double())


def test_reference_shares_the_parameters():
    gnn = network("sender")
    mine = {id(p) for p in gnn.parameters()}
    assert {id(p) for p in MessagePassingGNN(gnn).parameters()} == mine


def test_the_networks_follow_the_curves_of_the_types_closely():
    """Adam alone leaves some per cent of curves as steep as these; L-BFGS a tenth of it."""
    torch.manual_seed(0)
    gnn = GNN(GraphNetwork(width=32, steps=600), 6, scale=3.0)
    x, types = torch.sinh(torch.linspace(-3, 3, 96)), torch.tensor([0, 0, 0, 1, 1, 1])
    update = torch.stack([torch.tanh(x) - x, 2 * torch.tanh(x) - x])
    transfer = torch.stack([torch.tanh(x), torch.tanh(x / 4)])
    density = torch.exp(-(x**2) / 18).expand(2, -1)
    density = density / density.sum(1, keepdim=True)
    fit_functions(gnn.config, gnn, types, x, update, transfer[None], density)
    both = gnn.embedding.detach()[[0, 3]]
    assert torch.equal(gnn.embedding[0], gnn.embedding[2])
    for found, true in (
        (gnn.update_function(both, x.expand(2, -1)), update),
        (gnn.transfer_function(both, x.expand(2, -1)), transfer),
    ):
        missed = (density * (found - true) ** 2).sum() / (density * true**2).sum()
        assert missed.sqrt() < 0.012


@pytest.mark.parametrize("after", [math.nan, 2.0])
def test_a_refinement_that_fails_leaves_what_was_there(after):
    parameter = torch.nn.Parameter(torch.tensor([1.0]))

    def misfit():
        return (parameter**2).sum() if parameter == 1 else after + 0 * parameter.sum()

    refine([parameter], misfit, 5)
    assert parameter == 1
