"""Read the movie of a user from a file or from a folder of images."""

import logging
import math
import re
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import tifffile
from PIL import ExifTags, Image

from figures_lib.errors import ConfigError

logger = logging.getLogger(__name__)
for _name in ("tifffile", "imageio_ffmpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # our error alone is shown

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")
FORMATS = ", ".join((".tif", ".gif", *VIDEO_SUFFIXES, ".npy"))
MOST_SHOWN = 4  # times that an image of a GIF counts, on average
LARGEST = 2**32  # movies must be smaller, by their file headers [bytes]
TIFF_SUFFIXES = (".tif", ".tiff")
COMPLETE = 0.9  # of the announced images; a video with fewer may be truncated
DEEP = 65535 // 255  # by which integers of 8 bits are multiplied beside such of 16 bits
STRIP = 8  # rows from which an array of two to four columns is an image in colour
COLOURS = (1, 2, 3, 4)  # components of a pixel: grey or colours, each perhaps with an alpha
# How an image is stored: whether transposed, and then with its last row, or column, first.
ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def read_movie(path: Path, where: str) -> np.ndarray:
    """The movie in a file or a folder, as finite numbers of shape (image, row, column).

    Args:
        path: a TIFF, GIF or .npy file, a video, or a folder of images.
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
    if suffix in TIFF_SUFFIXES:
        movie, single = _read_tiff(path, where)
        return _refuse_single(movie, where) if single else movie
    if suffix == ".npy":
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        _refuse_huge(mapped.nbytes, where)
        if mapped.ndim == 3 and mapped.shape[-1] in COLOURS[1:] and mapped.shape[1] >= STRIP:
            return _refuse_single(mapped, where)
        return np.array(mapped)
    if suffix == ".gif":
        _refuse_huge(_header_bytes([path], index=None), where)
        movie = _opaque(iio.imread(path, index=None, mode="RGBA"))
        if len(movie) == 1:
            return _refuse_single(movie[0], where)
        return movie.repeat(_times_shown(path, len(movie), where), 0)
    if suffix in VIDEO_SUFFIXES:
        return _read_video(path, where)
    if suffix in IMAGE_SUFFIXES:
        return _refuse_single(iio.imread(path), where)
    raise ConfigError(f"{where}: unknown format {suffix!r}; use {FORMATS} or a folder")


def _refuse_single(image: np.ndarray, where: str) -> np.ndarray:
    raise ConfigError(
        f"{where}: one image of shape {image.shape}; put several into a folder, or store an "
        "array of shape (image, row, column) or (image, row, column, colour)"
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
    """All images of a folder, in grey and on one scale."""
    files = movie_files(path)
    if not files:
        known = ", ".join(IMAGE_SUFFIXES)
        raise ConfigError(f"{where}: no images; put files ending in {known} into the folder")
    _refuse_huge(_header_bytes(files), where)
    images = [_read_image(file, where) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise ConfigError(
                f"{where}: {file.name} has the shape {image.shape}, but {files[0].name} "
                f"{images[0].shape}; give all images one size"
            )
    depths = {image.dtype for image in images}
    if depths == {np.dtype(np.uint8), np.dtype(np.uint16)}:
        images = [i * np.uint16(DEEP) if i.dtype == np.uint8 else i for i in images]
    elif len(depths) > 1:
        found = ", ".join(sorted(map(str, depths)))
        raise ConfigError(f"{where}: images of the types {found}; store them as one type")
    return np.stack(images)


def _read_image(file: Path, where: str) -> np.ndarray:
    """One image in grey, of shape (row, column)."""
    if file.suffix.lower() in TIFF_SUFFIXES:
        movie, _ = _read_tiff(file, f"{where}: {file.name}")
        movie = _grey(movie)
        if movie.ndim != 3 or len(movie) != 1:
            raise ConfigError(
                f"{where}: {file.name} holds more than one image; name it alone, or split it"
            )
        return movie[0]
    if iio.improps(file).dtype.itemsize > 1:
        image = iio.imread(file, index=0)
    else:
        image = _opaque(iio.imread(file, index=0, mode="RGBA"))
    with Image.open(file) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return _upright(_grey(image[None]), turned)[0]


def _upright(movie: np.ndarray, turned: int) -> np.ndarray:
    """Images as they are meant to be seen, of which a camera noted how it was held."""
    transposed, rows, columns = ORIENTATIONS.get(turned, ORIENTATIONS[1])
    movie = movie.swapaxes(1, 2) if transposed else movie
    return movie[:, :: -1 if rows else 1, :: -1 if columns else 1]


def _times_shown(path: Path, images: int, where: str) -> np.ndarray:
    """How often each image of a GIF counts: writers store equal ones once, for longer."""
    once = np.ones(images, int)
    with iio.imopen(path, "r", plugin="pillow") as file:  # opened once, read in its order
        durations = [int(file.metadata(index=k).get("duration", 0)) for k in range(images)]
    if min(durations) <= 0:
        return once
    shown = np.array(durations) // math.gcd(*durations)
    if shown.sum() <= MOST_SHOWN * images:
        return shown
    logger.warning("%s: images are shown for unlike times; each counts once", where)
    return once


def _opaque(pixels: np.ndarray) -> np.ndarray:
    """RGBA images of 8 bits on a black ground, without their transparency."""
    share = pixels[..., 3:] / 255
    return (pixels[..., :3] * share).round().astype(np.uint8)


def _read_tiff(path: Path, where: str) -> tuple[np.ndarray, bool]:
    """The images of a TIFF file, and whether it holds just one.

    Its axes are read, not guessed: their names say which of them are rows and columns, which
    are colours, and which is that of the images. So are the meaning of its values, unless it
    was written by ImageJ, which stores the measured values whatever it shows, and its
    orientation.

    Returns:
        An array of shape (image, row, column) or (image, row, column, colour).
    """
    with tifffile.TiffFile(path) as file:
        _refuse_huge(sum(one.size * one.dtype.itemsize for one in file.series), where)
        series = [
            (one.asarray(), one.axes) if file.is_imagej else _shown(one) for one in file.series
        ]
        turned = file.pages.first.tags.valueof("Orientation", 1)
    parts = [_arranged(array, axes, where) for array, axes in series]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ConfigError(f"{where}: images of several sizes; give all of them one size")
    movie = parts[0] if len(parts) == 1 else np.concatenate(parts)
    single = len(parts) == 1 and series[0][0].size == movie[0].size
    return _upright(movie, turned), single


def _shown(series: tifffile.TiffPageSeries) -> tuple[np.ndarray, str]:
    """The values of a series as they are meant to be seen, large ones bright; and its axes."""
    array, page = series.asarray(), series.keyframe
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return np.moveaxis(page.colormap[:, array], 0, -1), f"{series.axes}S"
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu":
        largest = 2**page.bitspersample - 1
        return array ^ array.dtype.type(largest), series.axes
    return array, series.axes


def _arranged(array: np.ndarray, axes: str, where: str) -> np.ndarray:
    """An array with named axes as (image, row, column), perhaps with colours at the end."""
    if "Q" in axes and array.ndim == 4 and array.shape[-1] in COLOURS:
        return array  # axes without a name: an array (image, row, column, colour) as stored
    # tifffile writes three or four images as colours; photographs are integers
    if axes == "SYX" and array.dtype.kind == "f":
        return array
    colour = [k for k, name in enumerate(axes) if name == "S"]
    if not colour and "C" in axes and array.shape[axes.index("C")] in COLOURS[2:]:
        colour = [axes.index("C")]  # two channels are two recordings, not colours
    rows, columns = axes.index("Y"), axes.index("X")
    others = [k for k in range(array.ndim) if k not in (rows, columns, *colour)]
    long = [k for k in others if array.shape[k] > 1]
    if len(long) > 1:
        names = ", ".join(f"{axes[k]} of length {array.shape[k]}" for k in long)
        raise ConfigError(
            f"{where}: besides rows and columns it has the axes {names}; keep one, that of the "
            "images"
        )
    array = array.transpose(*others, rows, columns, *colour)
    return array.reshape(-1, *array.shape[len(others) :])


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
    # the duration is that of the longest stream, which may be sound
    if len(movie) < COMPLETE * announced and _damaged(path):
        raise ConfigError(
            f"{where}: ends after {len(movie)} of {announced} images; export it again"
        )
    return movie


def _damaged(path: Path) -> bool:
    """Whether the decoder complains about the images of a video."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path.absolute())]
    command += ["-map", "0:v:0", "-f", "null", "-"]
    answer = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return bool(answer.returncode or answer.stderr.strip())


def _numbered(file: Path) -> list[str | int]:
    """Sort key by which image 2 comes before image 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _refuse_huge(size: int, where: str) -> None:
    if size >= LARGEST:
        raise ConfigError(
            f"{where}: its header claims {size / 1e9:.1f} GB, but a movie must be below "
            f"{LARGEST / 1e9:.1f} GB; shorten it or make its images smaller"
        )


def _grey(movie: np.ndarray) -> np.ndarray:
    """Colours averaged, a last axis of which holds the components of each pixel."""
    if movie.ndim != 4 or movie.shape[-1] not in COLOURS:
        return movie
    colours = movie[..., :3] if movie.shape[-1] > 2 else movie[..., :1]
    grey = colours.mean(-1)
    return grey.round().astype(movie.dtype) if movie.dtype.kind in "iu" else grey


def _checked(movie: np.ndarray, where: str) -> np.ndarray:
    """A finite numeric movie of shape (image, row, column), stored in this order."""
    if movie.dtype.kind == "b":
        movie = movie.astype(np.uint8)
    if movie.dtype.kind not in "iuf":
        raise ConfigError(f"{where}: values of type {movie.dtype}; store real numbers")
    movie = _grey(movie)
    if movie.ndim != 3 or 0 in movie.shape:
        raise ConfigError(
            f"{where}: shape {movie.shape}; store an array of shape (image, row, column)"
        )
    if movie.dtype.kind in "iu":
        return movie.astype(movie.dtype.newbyteorder("="), order="C", copy=False)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        movie = movie.astype(np.float32, order="C")
    if not np.isfinite(movie).all():
        raise ConfigError(f"{where}: contains NaN or infinite values; replace them")
    return movie
