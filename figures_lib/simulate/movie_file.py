"""Read the movie of a user from a file or from a folder of images."""

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

from figures_lib.errors import ConfigError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our error alone is shown

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LARGEST = 2**32  # movies must be smaller, by their file headers [bytes]
COMPLETE = 0.9  # of the announced images must decode, or the video counts as truncated


def read_movie(path: Path, where: str) -> np.ndarray:
    """The movie in a file or a folder, as finite numbers of shape (image, row, column).

    Args:
        path: .tif, .gif, .mp4, .npy, or a folder of images.
        where: the start of every error message.

    Raises:
        ConfigError: the file is missing, unreadable, or not a movie.
    """
    if not path.exists():
        raise ConfigError(f"{where}: no such file or folder; correct the path")
    try:
        with warnings.catch_warnings():  # of Pillow, about images that are refused here
            warnings.simplefilter("ignore")
            return _checked(_decode(path, where), where)
    except ConfigError:
        raise
    except Exception as error:  # decoders raise anything from KeyError to struct.error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{where}: cannot be read ({reason:.120}); export it again") from None


def _decode(path: Path, where: str) -> np.ndarray:
    """The movie as it is stored; its size is checked in the header before it is read."""
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
        _refuse_huge(_header_bytes([path], index=None), where)
        return iio.imread(path, index=None)
    if suffix == ".mp4":
        return _read_video(path, where)
    raise ConfigError(
        f"{where}: unknown format {suffix!r}; use .tif, .gif, .mp4, .npy or a folder"
    )


def movie_files(path: Path) -> list[Path]:
    """The files that :func:`read_movie` reads, in the order in which it reads them.

    Hidden files of a folder, such as those that macOS creates, are skipped.
    """
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in path.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    return sorted(files, key=_numbered)


def _read_folder(path: Path, where: str) -> np.ndarray:
    files = movie_files(path)
    if not files:
        known = ", ".join(IMAGE_SUFFIXES)
        raise ConfigError(f"{where}: no images; put files ending in {known} into the folder")
    _refuse_huge(_header_bytes(files), where)
    return np.stack([np.asarray(iio.imread(file)) for file in files])


def _header_bytes(files: Sequence[Path], **which: Any) -> int:
    """Size of some images according to their headers [bytes]."""
    properties = [iio.improps(file, **which) for file in files]
    return sum(math.prod(one.shape) * one.dtype.itemsize for one in properties)


def _read_video(path: Path, where: str) -> np.ndarray:
    """All images of a video; a truncated one is refused, which its decoder would accept."""
    about = iio.immeta(path, plugin="FFMPEG")
    announced, (columns, rows) = round(about["duration"] * about["fps"]), about["size"]
    _refuse_huge(announced * rows * columns * 3, where)
    movie = iio.imread(path, plugin="FFMPEG", index=None)
    if len(movie) < COMPLETE * announced:
        raise ConfigError(
            f"{where}: ends after {len(movie)} of {announced} images; export it again"
        )
    return movie


def _numbered(file: Path) -> list[str | int]:
    """Sort key by which image 2 comes before image 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _refuse_huge(size: int, where: str) -> None:
    if size >= LARGEST:
        raise ConfigError(
            f"{where}: its header claims {size / 1e9:.1f} GB, but a movie must be below "
            f"{LARGEST / 1e9:.1f} GB; shorten it or make its images smaller"
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
        raise ConfigError(
            f"{where}: shape {movie.shape}; store an array of shape (image, row, column)"
        )
    if movie.dtype.kind in "iu":
        return movie
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        movie = movie.astype(np.float32)
    if not np.isfinite(movie).all():
        raise ConfigError(f"{where}: contains NaN or infinite values; replace them")
    return movie
