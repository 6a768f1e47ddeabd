"""A movie that a user brings as a file, or as a folder of images."""

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

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a bad file gets one line: ours

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LARGEST = 2**32  # bytes of a movie, as its file claims, from which on it is refused
COMPLETE = 0.9  # decoded share of the images that a video promises; less was cut short


def read_movie(path: Path, where: str) -> np.ndarray:
    """The movie in a file or a folder, as finite numbers of shape (image, row, column).

    Args:
        path: .tif, .gif, .mp4, .npy, or a folder of images.
        where: begins the message of an error.

    Raises:
        ConfigError: it is missing, unreadable or no movie.
    """
    if not path.exists():
        raise ConfigError(f"{where}: no such file or folder; correct the path")
    try:
        with warnings.catch_warnings():  # Pillow warns of images that are refused here anyway
            warnings.simplefilter("ignore")
            return _checked(_decode(path, where), where)
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


def movie_files(path: Path) -> list[Path]:
    """The files that :func:`read_movie` reads, in the order in which it reads them.

    Hidden files of a folder, such as those that macOS leaves, are no images.
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
