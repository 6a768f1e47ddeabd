"""How finely the hidden field is resolved in time: found from the recording.

Ω is taken constant in M equal windows. Windows that are too long blur a field that changes;
windows that are too short, or that do not begin where a movie shows its next image, estimate Ω
from fewer frames than possible. The residual on left-out frames decides between them. For a
movie it reveals the frame rate: it falls by an order of magnitude at the true M.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.infer.splines import evaluate
from figures_lib.infer.unknowns import Data, Estimate, network_input

ROWS = 128  # modulated neurons that are used, about
LEAST_SAMPLES = 8  # sampled frames per window
TOLERANCE = 2e-4  # share of the explained residual that may be lost for fewer windows


def choose_windows(data: Data, estimate: Estimate) -> int:
    """The fewest windows that explain left-out frames as well as any number does.

    Every other sampled frame is left out in turn, Ω_i(window) = Σ m·y / Σ m² is estimated
    from the rest with y = x' − φ and m the network input, and the residual Σ (y − Ω·m)² of the
    left-out frames is compared between all M. The truth is not used.

    Args:
        data: the sampled frames.
        estimate: the unknowns; its field is not used.

    Returns:
        M, between 1 and one window for every ``LEAST_SAMPLES`` sampled frames.
    """
    rows = data.shard.all_gather(data.modulated).nonzero()[:, 0]
    if not len(rows):
        return data.windows
    rows = rows[:: max(1, len(rows) // ROWS)] - data.shard.first
    rows = rows[(rows >= 0) & (rows < len(data.modulated))]
    sums = _cumulative(data, estimate, rows)
    frame = torch.cat([block.frame for block in data.blocks])
    counts = range(1, max(1, data.frames // LEAST_SAMPLES) + 1)
    falling = [
        _left_out_residual(sums, frame * count // data.total, count)
        for count in reversed(counts)  # each fits into the memory that the previous one freed
    ]
    residuals = data.shard.all_reduce(torch.stack(falling).flip(0))
    best = residuals.min()
    enough = residuals <= best + TOLERANCE * (residuals[0] - best)
    return counts[int(enough.nonzero()[0, 0])]


def rewindow(data: Data, estimate: Estimate, windows: int) -> tuple[Data, Estimate]:
    """The same data and estimate with another number of windows."""
    centre = 2 * torch.arange(windows, device=estimate.field.device) + 1
    old = centre * data.windows // (2 * windows)
    return replace(data, windows=windows), replace(estimate, field=estimate.field[:, old])


def _cumulative(
    data: Data, estimate: Estimate, rows: Tensor
) -> Float[Tensor, "fold moment neuron time"]:
    """Running sums of m·y and m² over the sampled frames, for the even and the odd ones."""
    moments = []
    for block, left, fraction in data.located():
        received = network_input(data, estimate, left, fraction)[rows].double()
        rest = (block.derivative - evaluate(estimate.update, left, fraction))[rows].double()
        moments.append(torch.stack([received * rest, received * received]))
    both = torch.cat(moments, dim=-1)
    even = (torch.arange(both.shape[-1], device=both.device) % 2 == 0).double()
    sums = torch.stack([both * even, both * (1 - even)]).cumsum(-1)
    return torch.nn.functional.pad(sums, (1, 0))


def _left_out_residual(
    sums: Float[Tensor, "fold moment neuron time"], window: Tensor, count: int
) -> Float[Tensor, ""]:
    """Σ (y − Ω·m)² − Σ y² over frames that did not enter Ω, both folds."""
    edges = torch.searchsorted(window, torch.arange(count + 1, device=window.device))
    (cross, power), (other_cross, other_power) = sums[..., edges].diff(dim=-1)
    total = sums.new_zeros(())
    for known, square, left_cross, left_square in (
        (cross, power, other_cross, other_power),
        (other_cross, other_power, cross, power),
    ):
        field = torch.where(square > 0, known / square, 1.0)
        total += (field * field * left_square - 2 * field * left_cross).sum()
    return total
