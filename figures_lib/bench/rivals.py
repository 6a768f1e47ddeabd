"""Equation (1) without noise and with a constant field, in other simulators.

The benchmark compares our simulator with them, and the tests compare the roll-outs. Brian2
is optional: a rival takes part only if its package can be imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.model.threads import one_thread
from figures_lib.simulate.truth import Truth

RollOut = Callable[[int], Tensor]  # steps → activity after them, Float["neuron"]


@dataclass(frozen=True)
class Start:
    """Where a roll-out begins.

    Attributes:
        truth: connectivity, types and functions.
        activity: x_i at the first frame, dimensionless.
        field: Ω_i, held constant, dimensionless.
        time_step: Δt [time unit].
    """

    truth: Truth
    activity: Float[Tensor, " neuron"]
    field: Float[Tensor, " neuron"]
    time_step: float


def brian2(start: Start) -> RollOut:
    """Brian2: one synapse per edge, summed at the receiver; float64, compiled by Cython.

    A roll-out continues from where the one before it stopped.
    """
    import brian2 as b2

    own = start.truth.parameters()
    clock = b2.Clock(dt=start.time_step * b2.second)
    neurons = b2.NeuronGroup(
        len(start.activity),
        "dx/dt = (self_coupling*tanh(x) - decay*x + gain*field*received + offset)/second : 1\n"
        "received : 1\nfield : 1 (constant)\n"
        + "\n".join(f"{name} : 1 (constant)" for name in own),
        method="euler",
        clock=clock,
    )
    synapses = b2.Synapses(
        neurons,
        neurons,
        "weight : 1 (constant)\n"
        "received_post = weight*(tanh((x_pre - threshold_pre)/width_pre)"
        " - slope_pre*x_pre) : 1 (summed)",
        clock=clock,
    )
    synapses.connect(condition="i != j")
    weights = start.truth.connectivity.numpy()
    synapses.weight = weights[synapses.j[:], synapses.i[:]]
    for name, values in (own | {"x": start.activity, "field": start.field}).items():
        setattr(neurons, name, values.numpy())
    network = b2.Network(neurons, synapses)

    def run(steps: int) -> Tensor:
        network.run(steps * start.time_step * b2.second)
        return torch.from_numpy(neurons.x[:].copy())

    return run


def torchdiffeq(start: Start) -> RollOut:
    """torchdiffeq: fixed-step Euler on our right-hand side, always from ``start``."""
    from torchdiffeq import odeint

    def slope(_: Tensor, x: Tensor) -> Tensor:
        return start.truth.dynamics.derivative(x, start.field)

    @torch.no_grad()
    def run(steps: int) -> Tensor:
        times = torch.arange(steps + 1) * start.time_step
        with one_thread():  # as for ours; it would be slower without
            return odeint(slope, start.activity, times, method="euler")[-1]

    return run


RIVALS: dict[str, Callable[[Start], RollOut]] = {"brian2": brian2, "torchdiffeq": torchdiffeq}


def obstacle(name: str) -> str | None:
    """Why a rival cannot run here, or None if it can."""
    try:
        import_module(name)
    except (ImportError, AttributeError) as error:  # absent, or too old for its dependencies
        return f"{type(error).__name__}: {error}; pip install '.[bench]' adds one that works"
    return None
