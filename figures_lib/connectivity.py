"""The true connectivity W: drawn as published, or read from a file."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import load_file
from torch import Tensor

from figures_lib.config import ConfigError, Connectivity


def draw_connectivity(
    connectivity: Connectivity, neurons: int, generator: torch.Generator
) -> Float[Tensor, "neuron neuron"]:
    """W_ij, the weight of sender j (column) on receiver i (row), with zero diagonal.

    Args:
        connectivity: distribution, scale and density, or the source file.
        neurons: N.
        generator: source of randomness.

    Raises:
        ConfigError: the source file cannot be used.

    Source: design of Figure 3: standard Cauchy, entries beyond ±25 set to 0, over N^0.675.
    """
    if connectivity.source is not None:
        weights = _read(Path(connectivity.source), neurons)
    elif connectivity.distribution == "cauchy":
        weights = torch.empty(neurons, neurons).cauchy_(generator=generator)
        weights[weights.abs() > connectivity.truncation] = 0
        weights *= connectivity.scale or neurons ** -cauchy_exponent(neurons)
    else:
        weights = torch.randn(neurons, neurons, generator=generator)
        weights *= connectivity.scale or neurons**-0.5
    if connectivity.density < 1:
        weights *= torch.rand(neurons, neurons, generator=generator) < connectivity.density
    return weights.fill_diagonal_(0)


def cauchy_exponent(neurons: int) -> float:
    """Exponent p of the published scaling N^−p of Cauchy weights."""
    if neurons == 8000:
        return 0.66
    for limit, exponent in ((2000, 0.7), (4000, 0.675), (8000, 0.67)):
        if neurons < limit:
            return exponent
    return 0.5


def _read(path: Path, neurons: int) -> Float[Tensor, "neuron neuron"]:
    where = f"connectivity.source: {path}"
    try:
        if path.suffix == ".npy":
            arrays = {"": np.load(path, mmap_mode="r", allow_pickle=False)}
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
        elif path.suffix == ".safetensors":
            arrays = load_file(path)
        else:
            raise ConfigError(
                f"{where}: unknown format; give a .npy, .npz or .safetensors file"
            )
    except ConfigError:
        raise
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such file; correct the path") from None
    except Exception as error:  # damaged files raise anything from BadZipFile to TypeError
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where}: cannot be read ({reason:.120}); write it again") from None
    if len(arrays) != 1:
        raise ConfigError(
            f"{where}: holds {len(arrays)} arrays; keep one {neurons}×{neurons} matrix"
        )
    (array,) = arrays.values()
    if array.shape != (neurons, neurons):
        raise ConfigError(
            f"{where}: shape {array.shape}, but simulation.neurons = {neurons} needs "
            f"({neurons}, {neurons}); change one of the two"
        )
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise ConfigError(f"{where}: entries of type {array.dtype}; write real numbers")
    with np.errstate(over="ignore"):  # what float32 cannot hold turns infinite
        weights = array.astype(np.float32)
    if not np.isfinite(weights).all():
        raise ConfigError(f"{where}: contains NaN or infinite entries; replace them")
    return torch.from_numpy(weights)
