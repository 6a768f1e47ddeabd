"""The standard error of every weight: a jackknife over pieces of the recording.

A row of W is a regression of (x' − φ)/Ω on the messages. It is solved for once more without
each of some pieces of the recording in turn; what this changes tells how far the row is
determined. Residuals within a piece may be correlated in time and of any size. Ω_i and,
where each neuron has its own, φ_i are solved for with the row. The functions that neurons share
are taken as known; that matters for the largest weights only. The conventions that fix the
scale of ψ and of Ω have no error here.

Source: B. Efron and C. Stein, Ann. Stat. 9 (1981) 586, with pieces as groups.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student
from torch import Tensor

from figures_lib.infer.projection import (
    LARGEST_NETWORK,
    Receivers,
    Senders,
    gathered,
    gram_of_messages,
    in_short_blocks,
    moments,
    solved_from,
)
from figures_lib.infer.unknowns import Block, Data, State
from figures_lib.model.inferred import PIECES

SHIFTED = 16  # receivers, at most, whose senders are shifted
MOST_WINDOWS = 512  # in which Ω_i is solved for with the row
LARGEST = 2**26  # numbers that are held at once, about


def standard_errors(last: State) -> Float[Tensor, "neuron sender"] | None:
    """The standard error of every weight, in the units of the weights of a state.

    Args:
        last: the state of which the model was made.

    Returns:
        Errors with ``PIECES`` − 1 degrees of freedom. None for
        a network that is too large, for one that several processes share, and where the frames
        without a piece are fewer than the unknowns of a row.

    Raises:
        InferenceError: a value is not finite.
    """
    if not _determined(last.data):
        return None
    every = torch.arange(last.data.shard.neurons, device=last.data.normal.device)
    return _weights_and_errors(last, every)[1]


def false_positives(last: State, level: float) -> float:
    """Share of the weights that a test takes for connections where there are none.

    The activities of all senders are shifted in time by an amount of their own, around the end
    of the recording, so that none of them can act on a receiver any more. Their messages keep
    their own course in time. A test that is right at a level of 0.05 finds 5 % of them.

    Args:
        last: the state of which the model was made.
        level: of the test.

    Returns:
        The share among some receivers; NaN where there are no errors.
    """
    data, neurons = last.data, last.data.shard.neurons
    if not _determined(data):
        return math.nan
    rows = torch.linspace(0, neurons - 1, min(SHIFTED, neurons // 2)).round().long()
    rows = rows.to(data.normal.device)
    others = torch.ones(neurons, dtype=torch.bool, device=rows.device)
    others[rows] = False
    shifted = replace(last, data=_shifted(data, others))
    weights, errors = _weights_and_errors(shifted, rows)
    weights, errors = weights[rows][:, others], errors[rows][:, others]
    known = errors > 0
    return float((p_values(weights[known], errors[known]) < level).double().mean())


def p_values(weights: Float[Tensor, "*n"], errors: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """How likely a weight of at least this size is where there is no connection.

    Two-sided, by Student's distribution with ``PIECES`` − 1
    degrees of freedom; 1 where the error is not known.
    """
    known = errors > 0
    ratio = torch.where(known, weights.abs() / errors, 0.0)
    return torch.from_numpy(2 * student.sf(ratio.cpu().numpy(), PIECES - 1))


def _determined(data: Data) -> bool:
    """Whether the frames outside of any piece determine the rows of this process."""
    if data.shard.ranks > 1 or data.shard.neurons > LARGEST_NETWORK:
        return False
    unknowns = data.shard.neurons + data.axis.splines + data.windows
    return data.frames - max(piece.frames for piece in _pieces(data)) > unknowns


def _weights_and_errors(
    last: State, chosen: Int[Tensor, " row"]
) -> tuple[Float[Tensor, "neuron sender"], Float[Tensor, "neuron sender"]]:
    """The weights of some rows, and their errors; 0 in the other rows."""
    data, estimate, own_update = last.data, last.estimate, last.types is None
    pieces = _pieces(in_short_blocks(data, data.windows))
    weights, errors = (torch.zeros_like(estimate.connectivity) for _ in range(2))
    for table, group in zip(estimate.transfer, estimate.receivers, strict=True):
        senders = _without_each(pieces, table.double())
        group = group[torch.isin(group, chosen)]
        modulated = data.modulated[group]
        for kind in (group[modulated], group[~modulated]):
            own_field = bool(data.modulated[kind].any()) and data.windows <= MOST_WINDOWS
            for rows in kind.split(_together(data, own_update, own_field)):
                if not len(rows):
                    continue
                seen = [
                    replace(
                        Receivers.of(one, gathered(one), estimate, rows, own_update),
                        own_field=own_field,
                    )
                    for one in pieces
                ]
                without = _rows_without_each(seen, senders)
                weights[rows] = without.mean(0).float()
                scatter = (PIECES - 1) * without.var(0, correction=0)
                errors[rows] = scatter.sqrt().float()
    return weights, errors


def _together(data: Data, own_update: bool, own_field: bool) -> int:
    """Rows that are solved for at once: as many as memory allows."""
    unknowns = 1 + own_update * data.axis.splines + own_field * data.windows
    return max(1, LARGEST // (PIECES * unknowns * (unknowns + data.shard.neurons)))


def _shifted(data: Data, moved: Bool[Tensor, " neuron"]) -> Data:
    """The frames with the activity of some neurons shifted around the end of the recording."""
    position = torch.cat([block.position for block in data.blocks], 1)
    generator = torch.Generator().manual_seed(0)
    for neuron in moved.nonzero()[:, 0].tolist():
        share = 0.1 + 0.8 * float(torch.rand(1, generator=generator))
        position[neuron] = position[neuron].roll(round(share * data.frames))
    parts = position.split([block.frame.numel() for block in data.blocks], 1)
    pairs = zip(data.blocks, parts, strict=True)
    return replace(data, blocks=tuple(replace(one, position=part) for one, part in pairs))


def _pieces(data: Data) -> list[Data]:
    """The sampled frames of each of some equal parts of the recording."""
    parts: list[list[Block]] = [[] for _ in range(PIECES)]
    for block in data.blocks:
        piece = block.frame * PIECES // data.total
        for one in piece.unique().tolist():
            parts[one].append(block.only(piece == one))
    return [replace(data, blocks=tuple(part)) for part in parts]


def _without_each(pieces: Sequence[Data], table: Float[Tensor, "sender knot"]) -> list[Senders]:
    """The messages of the frames outside of each piece."""
    grams, still = zip(*(gram_of_messages(gathered(one), table) for one in pieces), strict=True)
    total, silent = torch.stack(grams).sum(0), torch.stack(still).all(0)
    return [Senders.from_gram(table, total - gram, silent) for gram in grams]


def _rows_without_each(
    seen: Sequence[Receivers], without: Sequence[Senders]
) -> Float[Tensor, "piece row sender"]:
    """Rows of W without each piece, from what their receivers see of the pieces."""
    responses, normals = zip(*_moments(seen, without), strict=True)
    response, normal = torch.stack(responses).sum(0), torch.stack(normals).sum(0)
    rows = [
        solved_from(response - responses[k], normal - normals[k], seen[k], senders).weights
        for k, senders in enumerate(without)
    ]
    return torch.stack(rows)


def _moments(
    seen: Sequence[Receivers], without: Sequence[Senders]
) -> Iterator[tuple[Tensor, Tensor]]:
    return (moments(one, senders.table) for one, senders in zip(seen, without, strict=True))
