"""The hidden movie Ω(x, y, t): the project's own walking animal, or any movie from a file."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.config import ExternalInput
from figures_lib.errors import ConfigError
from figures_lib.simulate.animal import walking_animal
from figures_lib.simulate.movie_file import read_movie

logger = logging.getLogger(__name__)


def load_movie(
    external_input: ExternalInput, side: int, seed: int
) -> Float[Tensor, "image row column"]:
    """The movie as upright images, row 0 on top; values are Ω, dimensionless.

    Args:
        external_input: source file or None for the procedural movie, and the range.
        side: pixels per side of the grid of input neurons.
        seed: draws the background of the procedural movie.

    Raises:
        ConfigError: the file is missing, unreadable, or not a movie of finite positive values.

    Source: Figure 3 a, f. The published movie is a float32 file, which is used unchanged.
    """
    if external_input.source is None:
        movie = walking_animal(external_input.images, side, seed)
        return torch.from_numpy(_rescale(movie, external_input))
    path = Path(external_input.source)
    where = f"external_input.source: {path}"
    raw = read_movie(path, where)
    movie = _resample(raw, side)
    if raw.shape[1:] != (side, side):
        logger.info(
            "%s: images of %d×%d pixels resampled to %d×%d", where, *raw.shape[1:], side, side
        )
    if np.issubdtype(raw.dtype, np.integer):
        movie = _rescale(movie, external_input)
    elif raw.min() <= 0:  # before resampling, which would hide a single bad pixel
        raise ConfigError(
            f"{where}: smallest value {raw.min():.3g}, but Ω must be positive; "
            "store positive floats, or integers, which are scaled to the configured range"
        )
    return torch.from_numpy(movie.astype(np.float32))


def field_on_grid(movie: Float[Tensor, "image row column"]) -> Float[Tensor, "image neuron"]:
    """Ω of each grid neuron: images rotated by 270° counter-clockwise and flattened.

    With the grid of :mod:`figures_lib.simulate.network`, x slow and y upwards, the picture is
    upright.

    Source: the published preprocessing, np.rot90(image, 3).
    """
    return torch.rot90(movie, 3, (1, 2)).flatten(1).contiguous()


def images_from_grid(
    values: Float[Tensor, "*batch neuron"],
) -> Float[Tensor, "*batch row column"]:
    """The inverse of :func:`field_on_grid`, for display."""
    side = round(values.shape[-1] ** 0.5)
    return torch.rot90(values.unflatten(-1, (side, side)), 1, (-2, -1))


def image_index(
    frame: Int[Tensor, "*frame"], frames: int, images: int
) -> Int[Tensor, "*frame"]:
    """The image shown at each frame: ⌊(images − 1)·frame/frames⌋."""
    return (images - 1) * frame // frames


def _rescale(movie: np.ndarray, external_input: ExternalInput) -> np.ndarray:
    """Map the range of the movie to [minimum, maximum]; a constant movie maps to the middle."""
    low, high = float(movie.min()), float(movie.max())
    unit = (movie - low) / (high - low) if high > low else np.full(movie.shape, 0.5)
    span = external_input.maximum - external_input.minimum
    return (external_input.minimum + span * unit).astype(np.float32)


def _resample(movie: np.ndarray, side: int) -> np.ndarray:
    """Area-average (or interpolate) each image to side × side."""
    if movie.shape[1:] == (side, side):
        return movie.astype(np.float32)
    images = torch.from_numpy(movie.astype(np.float32))[:, None]
    resized = torch.nn.functional.interpolate(
        images, (side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[:, 0].numpy()
