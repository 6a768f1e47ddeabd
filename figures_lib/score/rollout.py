"""Noise-free roll-outs: does the learned model move as the true one does?"""

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.infer.splines import Axis, evaluate, locate
from figures_lib.model.inferred import Model

KNOTS = 2048  # fine enough that the tables and the networks agree to 1e-3 of the range
FIELD_EVERY = 10  # frames for which one evaluation of Ω* is held


@torch.no_grad()
def roll_out(
    model: Model,
    gain: Float[Tensor, " neuron"],
    start: Float[Tensor, " neuron"],
    first_frame: int,
    frames: int,
    time_step: float,
) -> Float[Tensor, "time neuron"]:
    """Integrate the learned equation (2) without noise.

    φ* and ψ* are tabulated once, so that a step costs one matrix–vector product, also for
    the pair variant.

    Args:
        model: inferred model.
        gain: known gain of each neuron.
        start: activity at the first frame.
        first_frame: frame at which Ω* starts.
        frames: number of frames returned, the first being ``start``.
        time_step: Δt [time unit].

    Returns:
        The activity of every neuron at every frame.

    Source: equation (2).
    """
    reach = 1.5 * float(start.abs().max())
    axis = Axis(reach / 6, float(torch.asinh(torch.tensor(6.0))), KNOTS, KNOTS)
    knots = axis.values().expand(int(model.types.max()) + 1, -1)
    update = model.update(knots)[model.types]
    transfer = model.transfer(knots)
    pairs = transfer.dim() == 3
    everyone = torch.ones_like(model.types, dtype=torch.bool)
    receivers = [model.types == k for k in range(len(knots))] if pairs else [everyone]
    tables = [table[model.types] for table in (transfer if pairs else transfer[None])]
    weights = model.gnn.connectivity * gain[:, None]
    field = torch.ones_like(start)
    activity = [start]
    for step in range(frames - 1):
        if step % FIELD_EVERY == 0 and model.modulated.any():
            middle = min(first_frame + step + FIELD_EVERY // 2, model.frames - 1)
            field[model.modulated] = model.field(torch.tensor([middle]))[0]
        x = activity[-1]
        place = locate(axis.coordinate(x[:, None]))
        received = torch.empty_like(x)
        for rows, table in zip(receivers, tables, strict=True):
            received[rows] = weights[rows] @ evaluate(table, *place)[:, 0]
        change = evaluate(update, *place)[:, 0] + field * received
        activity.append(x + time_step * change)
    return torch.stack(activity)
