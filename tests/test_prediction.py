"""Predictions of held-out frames, by the model and by models that know of no network."""

import math
from dataclasses import replace

import pytest
import torch

from figures_lib.infer.heldout import judging_runs
from figures_lib.model.inferred import Diagnosis
from figures_lib.score.advice import advice, more_frames
from figures_lib.score.prediction import (
    ALONE,
    HORIZON,
    LINEAR,
    MODEL,
    PERSISTENCE,
    alone,
    predictions,
    r2,
)


@pytest.fixture
def linear(small):
    """dx/dt = A·x + b, integrated without noise from a random state of each neuron."""
    generator = torch.Generator().manual_seed(1)
    count, total, step = 40, 3000, 0.01
    spin = torch.randn(count, count, generator=generator, dtype=torch.double)
    matrix, offset = (spin - spin.T) / count**0.5, torch.arange(count) / 40.0
    activity = [torch.randn(count, generator=generator, dtype=torch.double)]
    for _ in range(total - 1):
        activity.append(activity[-1] + step * (matrix @ activity[-1] + offset))
    x = torch.stack(activity)
    slope = x @ matrix.T + offset
    return replace(
        small.recording, activity=x.float(), derivative=slope.float(), time_step=step
    )


def test_a_linear_network_is_predicted_by_the_vector_autoregression(linear, small):
    own = alone(linear)
    assert torch.equal(own.matrix, torch.diag(own.matrix.diagonal()))
    predicted = predictions(linear, small.model, torch.arange(3000))
    assert predicted.horizon == HORIZON
    later = {name: float(values[-1]) for name, values in predicted.activity.items()}
    assert later[LINEAR] > 0.99 > later[ALONE] and later[PERSISTENCE] < 0.9
    assert predicted.derivative[LINEAR] > 0.9999
    assert all(float(values[0]) == 1 for values in predicted.activity.values())
    metrics = predicted.metrics()
    assert metrics["prediction.vector_autoregression.r2"] == later[LINEAR]
    assert metrics["prediction.horizon_frames"] == HORIZON


def test_the_right_model_is_ahead_of_all_others(small):
    predicted = predictions(small.recording, small.model, torch.arange(3000))
    others = [value for name, value in predicted.derivative.items() if name != MODEL]
    assert predicted.derivative[MODEL] > max(others)


def test_no_prediction_crosses_a_gap(small):
    """Runs that are followed by one are left out; if all are, there are no predictions."""
    frames, first = torch.arange(3000), judging_runs(3000)[:, 0]
    whole = predictions(small.recording, small.model, frames)
    last = int(first[first + HORIZON < 3000][-1])
    frames[last + 1 :] += 1
    fewer = predictions(small.recording, small.model, frames)
    assert not torch.equal(whole.activity[PERSISTENCE], fewer.activity[PERSISTENCE])
    assert predictions(small.recording, small.model, 2 * torch.arange(3000)) is None


def test_r2_counts_a_wrong_mean():
    x = torch.tensor([[0.0], [2.0]])
    assert r2(x, x) == 1 and r2(x, x + 1) == 0 and math.isnan(r2(x * 0, x))


@pytest.mark.parametrize(
    ("expected", "times"), [(0.95, 1), (0.5, 22.8), (1.0, 1), (0.0, math.inf)]
)
def test_the_error_falls_with_the_number_of_frames(expected, times):
    assert more_frames(expected) == pytest.approx(times)
    assert math.isnan(more_frames(math.nan))


def test_advice_follows_from_the_evidence():
    poor = Diagnosis(structure=0.0, halves_r2=0.5, entanglement=2.0, reasons=("poor",))
    assert advice(Diagnosis(), True) == []
    (longer,) = advice(poor, False)
    assert longer.startswith("Record about 23 times as long")
    assert "differences" in advice(poor, True)[-1]
    (misfit, *_) = advice(replace(poor, structure=0.1), False)
    assert misfit.startswith("The model misses what is no noise")
    (_, alike, still) = advice(replace(poor, entanglement=99.0, saturated=(1,)), False)
    assert "alike" in alike and "stimulate" in still
    (hopeless,) = advice(replace(poor, halves_r2=0.0), False)
    assert "longer alone will not do" in hopeless
