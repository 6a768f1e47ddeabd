"""The hidden movie Ω(x, y, t): the project's own walking animal, or any movie from a file."""

import logging
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import tifffile
import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.config import ConfigError, ExternalInput

logger = logging.getLogger(__name__)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a bad file gets one line: ours

SUPERSAMPLING = 4  # the silhouette is drawn at this multiple of the grid and averaged
STRIDES = 5  # steps that the animal takes over the movie
WALK = (0.1, 0.9)  # where its centre starts and ends, in widths of the picture
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LARGEST = 2**32  # bytes of a movie, as its file claims, from which on it is refused
COMPLETE = 0.9  # decoded share of the images that a video promises; less was cut short


def load_movie(
    external_input: ExternalInput, side: int, seed: int
) -> Float[Tensor, "image row column"]:
    """The movie as upright images, row 0 on top; values are Ω, dimensionless.

    Args:
        external_input: source file or None for the procedural movie, and the range.
        side: pixels a side of the grid of input neurons.
        seed: draws the background of the procedural movie.

    Raises:
        ConfigError: the file is missing, unreadable or no movie of finite positive values.

    Source: Figure 3 a, f. The published movie is a float32 file that is taken as it is.
    """
    if external_input.source is None:
        movie = walking_animal(external_input.images, side, seed)
        return torch.from_numpy(_rescale(movie, external_input))
    path = Path(external_input.source)
    where = f"external_input.source: {path}"
    raw = _checked(_read(path, where), where)
    movie = _resample(raw, side)
    if raw.shape[1:] != (side, side):
        logger.info(
            "%s: images of %d×%d pixels resampled to %d×%d", where, *raw.shape[1:], side, side
        )
    if np.issubdtype(raw.dtype, np.integer):
        movie = _rescale(movie, external_input)
    elif raw.min() <= 0:  # before resampling, which averages a lone bad pixel away
        raise ConfigError(
            f"{where}: smallest value {raw.min():.3g}, but Ω must be positive; "
            "store positive floats, or integers, which are scaled to the configured range"
        )
    return torch.from_numpy(movie.astype(np.float32))


def field_on_grid(movie: Float[Tensor, "image row column"]) -> Float[Tensor, "image neuron"]:
    """Ω of each grid neuron: images rotated by 270° counter-clockwise and flattened.

    With the grid of :mod:`figures_lib.positions`, x slow and y upwards, the picture is upright.

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
    """⌊(images − 1)·frame/frames⌋: the image shown at each frame."""
    return (images - 1) * frame // frames


def walking_animal(images: int, side: int, seed: int) -> Float[np.ndarray, "image row column"]:
    """A dark four-legged animal that walks across a drifting, smooth background.

    Args:
        images: number of images.
        side: pixels a side.
        seed: draws the background.

    Returns:
        Images in arbitrary units; the animal's coat is dark, the background bright.
    """
    fine = side * SUPERSAMPLING
    across = (np.arange(fine) + 0.5) / fine
    x, y = np.meshgrid(across, 1 - across)
    random = np.random.default_rng(seed)
    waves = random.integers(1, 4, (5, 2)) * random.choice([-1, 1], (5, 2))
    phases, drifts = random.uniform(0, 2 * np.pi, 5), random.choice([-1, 1], 5)
    pictures = np.empty((images, side, side), np.float32)
    for index in range(images):
        time = index / max(images - 1, 1)
        background = sum(
            np.cos(2 * np.pi * (kx * x + ky * y + drift * time) + phase)
            for (kx, ky), phase, drift in zip(waves, phases, drifts, strict=True)
        )
        coat = 0.25 + 0.15 * np.sin(2 * np.pi * (3 * x + 2 * y))  # markings that move along
        cover = _animal(x, y, time)
        picture = (1 - cover) * (0.75 + 0.06 * background) + cover * coat
        pictures[index] = picture.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING).mean((1, 3))
    return pictures


def _animal(x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
    """1 inside the silhouette at a fraction of the movie, 0 outside."""
    centre = WALK[0] + (WALK[1] - WALK[0]) * time
    gait = 2 * np.pi * STRIDES * time
    bob = 0.015 * np.cos(2 * gait)
    u, v = x - centre, y - bob
    inside = ((u / 0.23) ** 2 + ((v - 0.5) / 0.125) ** 2 < 1) | (
        ((u - 0.1) / 0.12) ** 2 + ((v - 0.58) / 0.12) ** 2 < 1
    )
    inside |= ((u - 0.29) / 0.085) ** 2 + ((v - 0.53) / 0.065) ** 2 < 1
    inside |= _limb(u, v, (0.12, 0.56), (0.29, 0.53), 0.055)
    inside |= _limb(u, v, (0.27, 0.58), (0.3, 0.66), 0.018)
    sway = 0.04 * np.sin(gait)
    inside |= _limb(u, v, (-0.21, 0.55), (-0.29 + sway, 0.4), 0.016)
    for hip, phase in ((-0.15, 0.0), (-0.12, np.pi), (0.12, 0.5 * np.pi), (0.15, 1.5 * np.pi)):
        swing, lift = 0.09 * np.sin(gait + phase), 0.05 * max(0.0, np.cos(gait + phase))
        knee = (hip + 0.6 * swing, 0.32 + lift)
        inside |= _limb(u, v, (hip, 0.45), knee, 0.035)
        inside |= _limb(u, v, knee, (hip + swing, 0.16 + lift), 0.026)
    return inside.astype(np.float32)


def _limb(x: np.ndarray, y: np.ndarray, start: tuple, end: tuple, radius: float) -> np.ndarray:
    """Points within ``radius`` of the segment from start to end."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    return (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2 < radius**2


def _rescale(movie: np.ndarray, external_input: ExternalInput) -> np.ndarray:
    """Map the range of the movie to [minimum, maximum]; a constant movie maps to the middle."""
    low, high = float(movie.min()), float(movie.max())
    unit = (movie - low) / (high - low) if high > low else np.full(movie.shape, 0.5)
    span = external_input.maximum - external_input.minimum
    return (external_input.minimum + span * unit).astype(np.float32)


def _read(path: Path, where: str) -> np.ndarray:
    if not path.exists():
        raise ConfigError(f"{where}: no such file or folder; correct the path")
    try:
        with warnings.catch_warnings():  # Pillow warns of images that are refused here anyway
            warnings.simplefilter("ignore")
            return _decode(path, where)
    except ConfigError:
        raise
    except Exception as error:  # decoders raise anything from KeyError to struct.error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{where}: cannot be read ({reason:.120}); export it again") from None


def _decode(path: Path, where: str) -> np.ndarray:
    """The movie as it is stored; what it claims to take is looked at before it is read."""
    if path.is_dir():
        return _read_folder(path, where)
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as file:
            _refuse_huge(sum(one.size * one.dtype.itemsize for one in file.series), where)
            parts = [series.asarray() for series in file.series]
            return parts[0] if len(parts) == 1 else np.stack(parts)
    if suffix == ".npy":
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        _refuse_huge(mapped.nbytes, where)
        return np.array(mapped)
    if suffix == ".gif":
        _refuse_huge(_claimed([path], index=None), where)
        return iio.imread(path, index=None)
    if suffix == ".mp4":
        return _read_video(path, where)
    raise ConfigError(
        f"{where}: unknown format {suffix!r}; use .tif, .gif, .mp4, .npy or a folder"
    )


def _read_folder(path: Path, where: str) -> np.ndarray:
    files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
    files.sort(key=_numbered)
    if not files:
        raise ConfigError(f"{where}: no images; the folder needs {IMAGE_SUFFIXES}")
    _refuse_huge(_claimed(files), where)
    return np.stack([np.asarray(iio.imread(file)) for file in files])


def _claimed(files: Sequence[Path], **which: Any) -> int:
    """Bytes that the headers of some images claim."""
    claims = [iio.improps(file, **which) for file in files]
    return sum(math.prod(claim.shape) * claim.dtype.itemsize for claim in claims)


def _read_video(path: Path, where: str) -> np.ndarray:
    """All images of a video; one cut short is refused, though its decoder would not mind."""
    about = iio.immeta(path, plugin="FFMPEG")
    promised, (columns, rows) = round(about["duration"] * about["fps"]), about["size"]
    _refuse_huge(promised * rows * columns * 3, where)
    movie = iio.imread(path, plugin="FFMPEG", index=None)
    if len(movie) < COMPLETE * promised:
        raise ConfigError(
            f"{where}: ends after {len(movie)} of {promised} images; export it again"
        )
    return movie


def _numbered(file: Path) -> list[str | int]:
    """Sorts names as people count: image 2 comes before image 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _refuse_huge(size: int, where: str) -> None:
    if size >= LARGEST:
        raise ConfigError(
            f"{where}: claims {size / 1e9:.1f} GB, less than {LARGEST / 1e9:.1f} GB are "
            "accepted; shorten it or make its images smaller"
        )


def _checked(movie: np.ndarray, where: str) -> np.ndarray:
    """A finite numeric movie of shape (image, row, column), colours averaged."""
    if movie.dtype.kind not in "iuf":
        raise ConfigError(f"{where}: values of type {movie.dtype}; store real numbers")
    if movie.ndim == 4 and movie.shape[-1] in (2, 3, 4):
        colours = movie[..., :3] if movie.shape[-1] > 2 else movie[..., :1]
        grey = colours.mean(-1)
        movie = grey.round().astype(np.int64) if movie.dtype.kind in "iu" else grey
    if movie.ndim != 3 or 0 in movie.shape:
        raise ConfigError(f"{where}: shape {movie.shape}; a movie is (image, row, column)")
    if movie.dtype.kind in "iu":
        return movie
    with np.errstate(over="ignore"):  # what float32 cannot hold turns infinite
        movie = movie.astype(np.float32)
    if not np.isfinite(movie).all():
        raise ConfigError(f"{where}: contains NaN or infinite values; replace them")
    return movie


def _resample(movie: np.ndarray, side: int) -> np.ndarray:
    """Area-average (or interpolate) each image to side × side."""
    if movie.shape[1:] == (side, side):
        return movie.astype(np.float32)
    images = torch.from_numpy(movie.astype(np.float32))[:, None]
    resized = torch.nn.functional.interpolate(
        images, (side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[:, 0].numpy()
