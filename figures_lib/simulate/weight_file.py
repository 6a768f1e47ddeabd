"""Read the connectivity matrix of a user from a file."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from figures_lib.errors import ConfigError

HEADERS = {  # readers of .npy headers, by format version
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_weights(path: Path, neurons: int) -> Float[Tensor, "neuron neuron"]:
    """Read W from a .npy, .npz or .safetensors file.

    Of several arrays in a file, one alone may be N×N. An .npz file may hold a sparse matrix of
    SciPy.

    Args:
        path: of the file.
        neurons: N.

    Raises:
        ConfigError: the file cannot be read, or is not a finite real N×N matrix.
    """
    where = f"connectivity.source: {path}"
    try:
        array = _decode(path, neurons, where)
    except ConfigError:
        raise
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such file; correct the path") from None
    except Exception as error:  # damaged files raise anything from BadZipFile to TypeError
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where}: cannot be read ({reason:.120}); write it again") from None
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise ConfigError(f"{where}: entries of type {array.dtype}; write real numbers")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        weights = array.astype(np.float32, order="C")
    if not np.isfinite(weights).all():
        raise ConfigError(f"{where}: contains NaN or infinite entries; replace them")
    return torch.from_numpy(weights)


def _decode(path: Path, neurons: int, where: str) -> np.ndarray:
    """The matrix as it is stored; its shape is checked in the header before it is read."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        _check_shape(array.shape, neurons, where)
        return array
    if suffix == ".npz":
        return _read_archive(path, neurons, where)
    if suffix == ".safetensors":
        with safe_open(path, framework="numpy") as tensors:
            keys = tensors.keys()
            shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in keys}
            return tensors.get_tensor(_square(shapes, neurons, where))
    raise ConfigError(f"{where}: unknown format; give a .npy, .npz or .safetensors file")


def _read_archive(path: Path, neurons: int, where: str) -> np.ndarray:
    """The array, or the sparse matrix of SciPy, in an .npz file."""
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        shapes = {name.removesuffix(".npy"): _stored_shape(archive, name) for name in members}
    if "format" not in shapes:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[_square(shapes, neurons, where)]
    with np.load(path, allow_pickle=False) as arrays:
        _check_shape(tuple(map(int, arrays["shape"])), neurons, where)
    if max(map(math.prod, shapes.values())) > neurons**2 + 1:
        raise ConfigError(f"{where}: more entries than a matrix of this shape; write it again")
    return scipy.sparse.load_npz(path).toarray()


def _stored_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as member:
        return HEADERS[np.lib.format.read_magic(member)](member)[0]


def _square(shapes: Mapping[str, tuple[int, ...]], neurons: int, where: str) -> str:
    """The name of the array that is the matrix: the only one, or the only one of its shape."""
    fitting = [name for name, shape in shapes.items() if shape == (neurons, neurons)]
    if len(shapes) == 1:
        _check_shape(next(iter(shapes.values())), neurons, where)
    elif len(fitting) != 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
        raise ConfigError(
            f"{where}: {len(fitting)} of its arrays are {neurons}×{neurons} (it holds "
            f"{found:.200}); keep one that is"
        )
    return fitting[0]


def _check_shape(shape: tuple[int, ...], neurons: int, where: str) -> None:
    if shape != (neurons, neurons):
        raise ConfigError(
            f"{where}: shape {shape}, but simulation.neurons = {neurons} needs "
            f"({neurons}, {neurons}); change one of the two"
        )
