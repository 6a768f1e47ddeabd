"""Formulas found for tables of known functions."""

import numpy as np
import pytest
import torch

from figures_lib.draw.formula_tables import SHOWN, formulas
from figures_lib.model.inferred import History, SweepReport
from figures_lib.score.formulas import SHAPES, formulas_of
from figures_lib.score.scoring import score

KNOTS = torch.sinh(torch.linspace(-3, 3, 96))
X = torch.linspace(-9, 9, 4000)
HATS = np.stack([np.interp(X, KNOTS, one) for one in np.eye(96)], 1)
TYPES = torch.arange(40) // 20
ACTIVITY = 2 * torch.randn(500, 40, generator=torch.Generator().manual_seed(0))


def report(update, transfer, noise=0.0, apart=0.0, phase="type", seed=1):
    """A sweep whose tables hold functions of (x, type), with errors of types and of neurons.

    Lines between the knots come as close to the function as they can, as those of sweeps do.
    """
    generator = torch.Generator().manual_seed(seed)
    tables = []
    for function in (update, transfer):
        values = torch.stack([function(X, k) for k in (0, 1)], 1).numpy()
        exact = torch.from_numpy(np.linalg.lstsq(HATS, values, rcond=1e-9)[0].T).float()
        exact = exact + noise * torch.randn(exact.shape, generator=generator)
        own = 1 + apart * torch.randn(40, 1, generator=generator)
        tables.append(own * exact[TYPES])
    return SweepReport(0, phase, 0.1, 1.0, KNOTS, *tables)


def described(*reports, activity=ACTIVITY):
    return formulas_of(History(reports, torch.zeros(1, 40, 2)), activity, TYPES)


def decaying(x, k):
    return -(1 + k) * x + (2 - k) * torch.tanh(x) + 0.3


def saturating(x, k):
    return 0.8 * (torch.tanh((x - 0.4 * k) / (2 + k)) - 0.03 * k * x) - 0.1


TRUE = {
    **{"decay": [1, 2], "self_coupling": [2, 1]},
    **{"width": [2, 3], "threshold": [0, 0.4], "slope": [0, 0.03]},
}


def test_the_published_functions_are_found_with_their_parameters():
    """Their errors are those that noise in the tables makes: 95 % are below two of them."""
    ratios = []
    for seed in range(8):
        found = described(report(decaying, saturating, noise=1e-3, seed=seed))
        assert found[0].text == "−decay·x + self_coupling·tanh(x)"
        assert found[1].text == "tanh((x − threshold)/width) − slope·x"
        assert max(one.missed for one in found) < 1e-3
        for formula in found:
            for name, values in formula.parameters.items():
                off = np.abs(values - np.array(TRUE[name]))
                assert off.max() < 0.05, (name, values)
                ratios.extend(off / formula.errors[name])
    assert 0.85 < np.mean(np.array(ratios) < 2) < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_other_functions_are_told_apart(shape):
    """The forms of the published neuron are not taken for granted."""

    def sending(x, k):
        return torch.from_numpy(SHAPES[shape](x.numpy() / (1.5 + k)))

    def updating(x, k):
        return -0.1 * (1 + k) * x**3 + torch.sin(x)

    update, transfer = described(report(updating, sending, noise=1e-4))
    assert update.text == "cube·x³ + sine·sin(x)"
    assert update.parameters["cube"] == pytest.approx([-0.1, -0.2], rel=1e-2)
    assert transfer.text == f"{shape}(x/width)"
    assert transfer.parameters["width"] == pytest.approx([1.5, 2.5], rel=1e-2)


def test_errors_grow_with_the_differences_between_neurons():
    shared = report(decaying, saturating)
    alone = report(decaying, saturating, apart=0.1, phase="neuron")
    sure, unsure = (described(*reports)[0] for reports in ((shared,), (alone, shared)))
    assert np.array_equal(sure.parameters["decay"], unsure.parameters["decay"])
    expected = 0.1 * np.array([1, 2]) / np.sqrt(20)  # of a mean of 20 neurons
    assert sure.errors["decay"].max() < 0.1 * expected.min()
    assert unsure.errors["decay"] == pytest.approx(expected, rel=0.8)


def test_flat_functions_leave_no_error_and_no_warning(recwarn):
    """Of a function that does not vary there is nothing to explain."""
    flat = report(lambda x, k: 0 * x, lambda x, k: (k == 0) * torch.tanh(x))
    for reports in ((flat,), (report(decaying, saturating, apart=0.1, phase="neuron"), flat)):
        for formula in described(*reports):
            assert formula is None or formula.missed <= 1
    assert not recwarn.list


def test_too_few_knots_have_no_formula():
    narrow = 1e-3 * ACTIVITY  # all between the same two knots
    assert described(report(decaying, saturating), activity=narrow) == (None, None)


def test_scores_name_the_parameters_and_the_true_ones(simulated, model):
    """The published equation comes out of an inference, in ``metrics.json``."""
    metrics = score(*simulated, model).metrics
    assert metrics["formulas.update"] == "−decay·x + self_coupling·tanh(x)"
    assert metrics["formulas.transfer"] == "tanh(x/width)"
    assert metrics["formulas.update_missed"] < 1e-4
    assert metrics["formulas.width"]["true"] == [1.0, 4.0]
    for name in ("decay", "self_coupling", "width"):
        found = {key: np.array(values) for key, values in metrics[f"formulas.{name}"].items()}
        off = np.abs(found["learned"] - found["true"])
        assert (off < 0.05 * np.abs(found["true"])).all(), (name, found)
        assert (off < 3 * found["error"]).all(), (name, found)


def test_the_table_has_as_many_digits_as_are_known():
    of_types = {"learned": [1.00073, 23.4, None], "error": [0.0021, 1.7, None]}
    metrics = {
        "formulas.update": "−decay·x",
        "formulas.decay": of_types | {"true": [1.0, None, 2.0]},
    }
    table = formulas(metrics)
    assert table.header == ("type", "decay")
    assert table.rows == (("1", "1.0007 ± 0.0021 (1)"), ("2", "23.4 ± 1.7"), ("3", "–"))
    many = {key: 20 * [1.0] for key in ("learned", "error", "true")}
    shortened = formulas({"formulas.decay": many}).rows
    assert len(shortened) == SHOWN + 1 and shortened[-1] == ("and 8 more", "")
