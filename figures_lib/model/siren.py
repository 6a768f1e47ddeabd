"""The field network: a SIREN that represents Ω*(x, y, t) as a square."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from figures_lib.learner import FieldNetwork

POINTS = 2**16  # at which the network is evaluated at once


class Siren(nn.Module):
    """Ω*(x, y, t) = s(x, y, t)², s a multilayer perceptron with sine activations.

    h_0 = (x, y, t) scaled to [−space_scale, space_scale]² × [−time_scale, time_scale],
    h_l = sin(ω₀·(A_l h_{l−1} + c_l)), s = A h_L + c.
    Weights start in U(−1/n, 1/n) in the first layer and U(−√(6/n)/ω₀, √(6/n)/ω₀) in the others,
    n inputs per layer; biases of the sine layers in U(−1/√n, 1/√n), that of the output at 1.

    Args:
        config: number and width of the sine layers, ω₀, and the scales of the coordinates.

    Source: equation (2); initialisation of Sitzmann et al. 2020 (arXiv 2006.09661).
    """

    scale: Tensor

    def __init__(self, config: FieldNetwork) -> None:
        super().__init__()
        self.config = config
        sizes = [3, *[config.width] * config.layers]
        self.hidden = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.output = nn.Linear(config.width, 1)
        for index, layer in enumerate([*self.hidden, self.output]):
            fan_in = layer.in_features
            bound = 1 / fan_in if index == 0 else math.sqrt(6 / fan_in) / config.omega
            nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.ones_(self.output.bias)  # Ω* starts near 1, its value without modulation
        scale = [config.space_scale, config.space_scale, config.time_scale]
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, points: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Ω* at points of the unit cube.

        Args:
            points: (x, y, t), Float["point 3"]: place on the input grid and time as a fraction
                of the recording, each in [0, 1].

        Returns:
            Ω*, Float["point"], dimensionless and never negative.
        """
        hidden = (2 * points - 1) * self.scale
        for layer in self.hidden:
            hidden = torch.sin(self.config.omega * layer(hidden))
        return self.output(hidden)[:, 0] ** 2


def window_centres(chosen: Int[Tensor, " chosen"], windows: int) -> Float[Tensor, " chosen"]:
    """Time of the centre of some windows as a fraction of the recording."""
    return (chosen + 0.5) / windows


def field_in_windows(
    siren: Siren,
    positions: Float[Tensor, "input 2"],
    frames: Int[Tensor, " frame"],
    total: int,
    windows: int,
) -> Float[Tensor, "frame input"]:
    """Ω* at the given frames, constant within each window: that at the window's centre.

    Args:
        siren: Ω*(x, y, t).
        positions: (x, y) of the modulated neurons.
        frames: 0…``total`` − 1.
        total: frames of the recording.
        windows: equal parts of the recording.
    """
    window = frames * windows // total
    if windows == total:  # each frame has a window of its own
        return _at_times(siren, positions, window_centres(window, windows))
    found, place = window.unique(return_inverse=True)
    return _at_times(siren, positions, window_centres(found, windows))[place]


def _at_times(
    siren: Siren, positions: Float[Tensor, "input 2"], times: Float[Tensor, " time"]
) -> Float[Tensor, "time input"]:
    values = [
        siren(torch.cat([positions.repeat(len(some), 1), _each(some, len(positions))], 1))
        for some in times.split(max(1, POINTS // max(1, len(positions))))
    ]
    return torch.cat(values).view(len(times), len(positions))


def _each(times: Float[Tensor, " time"], count: int) -> Float[Tensor, "point 1"]:
    return times.repeat_interleave(count)[:, None]
