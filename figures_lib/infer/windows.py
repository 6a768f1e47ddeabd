"""How finely the hidden field is resolved in time: found from the recording.

Ω is taken constant in M equal windows. Windows that are too long blur a field that changes;
windows that are too short, or that do not begin where a movie shows its next image, estimate Ω
from fewer frames than possible. The residual on left-out frames decides between them. For a
movie it reveals the frame rate: it falls by an order of magnitude at the true M.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.infer.splines import evaluate
from figures_lib.infer.unknowns import Data, Estimate, network_input
from figures_lib.model.threads import one_thread

ROWS, FEWEST_ROWS = 48, 12  # modulated neurons that are used, about
SAMPLES = 400_000  # of their derivatives that suffice
LEAST_SAMPLES = 8  # sampled frames per window
FIRST = 3  # index of the smallest number of windows that may be the images of a movie
CANDIDATES = 5  # dips that are looked at
LEAST_DEPTH = 0.03  # of the logarithm of the residual, below the smallest around it
TOLERANCE = 2e-4  # share of the explained residual that may be lost for fewer windows


def choose_windows(data: Data, estimate: Estimate, most: int) -> int:
    """The fewest windows that explain left-out frames as well as any number does.

    The residuals of :func:`left_out_residuals` are compared between all M. If there is a dip
    where windows coincide with the images of a movie, that number is chosen. Else, where other
    unknowns are still wrong, the residual is alike from frame to frame, and ever more windows
    would take it up: that part of the best residual is allowed again. The truth is not used.

    Args:
        data: the sampled frames.
        estimate: the unknowns; its field is not used.
        most: windows that are tried.

    Returns:
        M, at most one window for every ``LEAST_SAMPLES`` sampled frames.
    """
    rows = _some_modulated(data)
    if rows is None:
        return data.windows
    residuals, rest, received = left_out_residuals(data, estimate, rows, most)
    rate = image_rate(residuals)
    if rate is not None:
        return rate
    best = int(residuals.argmin())
    frame = torch.cat([block.frame for block in data.blocks])
    alike = _alike(rest, received, frame * (best + 1) // data.total)
    allowed = TOLERANCE * (residuals[0] - residuals[best])
    allowed = allowed + data.shard.all_reduce(alike).clamp_min(0)
    return 1 + int((residuals <= residuals[best] + allowed).nonzero()[0, 0])


def likely_windows(data: Data, estimate: Estimate, most: int) -> list[int]:
    """Numbers of windows that may coincide with the images of a movie, and the present one.

    To choose among them, W has to be solved for again with each: it makes up for much of what
    wrong windows leave.
    """
    rows = _some_modulated(data)
    if rows is None:
        return [data.windows]
    residuals, *_ = left_out_residuals(data, estimate, rows, most)
    depth = _depths(residuals)
    deepest = depth.topk(min(CANDIDATES, len(depth)))
    likely = [
        int(at) + 1 for at, by in zip(deepest.indices, deepest.values, strict=True) if by > 0
    ]
    return sorted({data.windows, *likely})


def _some_modulated(data: Data) -> Int[Tensor, " row"] | None:
    """Some modulated neurons of this process, None if there are none in all processes."""
    rows = data.shard.all_gather(data.modulated).nonzero()[:, 0]
    if not len(rows):
        return None
    enough = max(FEWEST_ROWS, min(ROWS, SAMPLES // max(1, data.frames)))
    rows = rows[:: max(1, len(rows) // enough)] - data.shard.first
    return rows[(rows >= 0) & (rows < len(data.modulated))]


def left_out_residuals(
    data: Data, estimate: Estimate, rows: Int[Tensor, " row"], most: int
) -> tuple[Float[Tensor, " count"], Float[Tensor, "row time"], Float[Tensor, "row time"]]:
    """Residual of left-out frames with 1, 2, … windows.

    Every other sampled frame is left out in turn, Ω_i(window) = Σ m·y / Σ m² is estimated
    from the rest, and Σ (y − Ω·m)² of the left-out frames is the residual.

    Returns:
        The residuals; y = x' − φ; and the network input m of the given neurons.
    """
    rest, received = _modulation(data, estimate, rows)
    sums = _cumulative(rest, received)
    frame = torch.cat([block.frame for block in data.blocks])
    counts = range(1, max(1, min(most, data.frames // LEAST_SAMPLES)) + 1)
    with one_thread():
        falling = [
            _left_out_residual(sums, frame, data.total, count)
            for count in reversed(counts)  # each fits into the memory that the last one freed
        ]
    residuals = torch.stack(falling).flip(0) + (rest**2).sum()
    return data.shard.all_reduce(residuals), rest, received


def image_rate(residuals: Float[Tensor, " count"]) -> int | None:
    """The number of windows that coincide with the images of a movie, if one does.

    There the residual is smaller than at the numbers of windows around it, however wrong the
    other unknowns still are. So it is at multiples of it; the smallest is returned.
    """
    depth = _depths(residuals)
    deepest = int(depth.argmax())
    if depth[deepest] < LEAST_DEPTH:
        return None
    return next(
        at + 1
        for at in range(FIRST, deepest + 1)
        if (deepest + 1) % (at + 1) == 0 and depth[at] >= 0.5 * depth[deepest]
    )


def _depths(residuals: Float[Tensor, " count"]) -> Float[Tensor, " count"]:
    """How far the logarithm of each residual lies below the smallest around it."""
    values = residuals.clamp_min(1e-300).log()
    depth = torch.zeros_like(values)
    for at in range(FIRST, len(values) - 2):
        reach = max(2, at // 16)
        around = torch.cat([values[max(0, at - reach) : at], values[at + 1 : at + 1 + reach]])
        depth[at] = around.min() - values[at]
    return depth


def rewindow(data: Data, estimate: Estimate, windows: int) -> tuple[Data, Estimate]:
    """The same data and estimate with another number of windows."""
    centre = 2 * torch.arange(windows, device=estimate.field.device) + 1
    old = centre * data.windows // (2 * windows)
    return replace(data, windows=windows), replace(estimate, field=estimate.field[:, old])


def _modulation(
    data: Data, estimate: Estimate, rows: Tensor
) -> tuple[Float[Tensor, "neuron time"], Float[Tensor, "neuron time"]]:
    """What some neurons receive: y = x' − φ, and the network input m, in double precision."""
    rest, received = [], []
    for block, left, fraction in data.located():
        own = block.derivative - evaluate(estimate.update, left, fraction)
        rest.append(own[rows].double())
        received.append(network_input(data, estimate, left, fraction)[rows].double())
    return torch.cat(rest, 1), torch.cat(received, 1)


def _cumulative(
    rest: Float[Tensor, "neuron time"], received: Float[Tensor, "neuron time"]
) -> Float[Tensor, "edge fold moment neuron"]:
    """Running sums of m·y and m² over the sampled frames, for the even and the odd ones.

    All sums up to a frame lie together in memory, because they are read together.
    """
    both = torch.stack([received * rest, received * received])
    even = (torch.arange(both.shape[-1], device=both.device) % 2 == 0).double()
    sums = torch.stack([both * even, both * (1 - even)]).cumsum(-1)
    return torch.nn.functional.pad(sums, (1, 0)).movedim(-1, 0).contiguous()


def _alike(
    rest: Float[Tensor, "neuron time"], received: Float[Tensor, "neuron time"], window: Tensor
) -> Float[Tensor, ""]:
    """Σ of the products of the residuals y − Ω·m of successive frames."""
    shape = (len(rest), int(window.max()) + 1)
    cross, power = (
        rest.new_zeros(shape).index_add_(1, window, received * other)
        for other in (rest, received)
    )
    field = torch.where(power > 0, cross / power, 1.0)
    residual = rest - field[:, window] * received
    return (residual[:, 1:] * residual[:, :-1]).sum()


def _left_out_residual(
    sums: Float[Tensor, "edge fold moment neuron"],
    frame: Int[Tensor, " time"],
    total: int,
    count: int,
) -> Float[Tensor, ""]:
    """Σ (y − Ω·m)² − Σ y² over frames that did not enter Ω, both folds."""
    # a window begins with the first frame of which ⌊count·frame/total⌋ is its number
    first = (torch.arange(count + 1, device=frame.device) * total + count - 1) // count
    parts = sums[torch.searchsorted(frame, first)].diff(dim=0)
    (cross, power), (other_cross, other_power) = (fold.unbind(1) for fold in parts.unbind(1))
    residual = sums.new_zeros(())
    for known, square, left_cross, left_square in (
        (cross, power, other_cross, other_power),
        (other_cross, other_power, cross, power),
    ):
        field = torch.where(square > 0, known / square, 1.0)
        residual += (field * field * left_square - 2 * field * left_cross).sum()
    return residual
