"""The recording: all the data that inference may read, simulated or supplied by a user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor

ACTIVITY, DERIVATIVE = "activity.npy", "derivative.npy"


@dataclass(frozen=True)
class Recording:
    """What an experimenter records and knows.

    Attributes:
        activity: x_i(t), dimensionless.
        derivative: dx_i/dt of equation (1) without its noise [1/time unit].
        positions: (x, y) of each neuron [grid widths]; the modulated ones lie in [0, 1]².
        modulated: neurons on which the hidden field acts.
        gain: known constant g_i of each neuron.
        time_step: time between frames Δt [time unit].
        differences: whether the derivative was taken from differences of the activity.
        names: of the neurons, for messages; by default they are numbered.
    """

    activity: Float[Tensor, "time neuron"]
    derivative: Float[Tensor, "time neuron"]
    positions: Float[Tensor, "neuron 2"]
    modulated: Bool[Tensor, " neuron"]
    gain: Float[Tensor, " neuron"]
    time_step: float
    differences: bool = False
    names: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write into an existing folder: two .npy arrays and one safetensors file."""
        np.save(folder / ACTIVITY, self.activity.numpy(), allow_pickle=False)
        np.save(folder / DERIVATIVE, self.derivative.numpy(), allow_pickle=False)
        self.save_description(folder)

    def save_description(self, folder: Path) -> None:
        """Write all but the two large arrays."""
        small = {
            "positions": self.positions,
            "modulated": self.modulated,
            "gain": self.gain,
            "time_step": torch.tensor(self.time_step, dtype=torch.float64),
        }
        save_file(small, folder / "recording.safetensors")

    def with_differences(self) -> "Recording":
        """The recording with finite differences, (x(t + Δt) − x(t))/Δt, in place of dx/dt.

        Their noise has the standard deviation σ/Δt per sample. They are held in memory. The
        last frame has no successor, so the difference before it is repeated.
        """
        change = torch.diff(self.activity, dim=0) / self.time_step
        derivative = torch.cat([change, change[-1:]])
        return replace(self, derivative=derivative, differences=True)

    @classmethod
    def load(cls, folder: Path) -> "Recording":
        """Read a recording; activity and derivative stay on disk and are mapped."""
        small = load_file(folder / "recording.safetensors")
        return cls(
            activity=mapped(folder / ACTIVITY),
            derivative=mapped(folder / DERIVATIVE),
            positions=small["positions"],
            modulated=small["modulated"],
            gain=small["gain"],
            time_step=float(small["time_step"]),
        )


@contextmanager
def array_file(path: Path, shape: tuple[int, int]) -> Iterator[Callable[[Tensor], None]]:
    """A float32 .npy file of the given (rows, columns), to which rows are appended.

    Raises:
        OSError: the file cannot be written, or the disk is full.
    """
    with path.open("wb") as file:
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        yield lambda rows: file.write(rows.cpu().numpy().astype("<f4", copy=False).tobytes())


def mapped(path: Path) -> Float[Tensor, "row column"]:
    """An array that stays on disk until it is read; changes are not written back."""
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array)
