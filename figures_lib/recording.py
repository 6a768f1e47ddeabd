"""The recording that inference may see, and the truth that it may not.

The two are separate objects in separate folders: :class:`Recording` goes to inference,
:class:`Truth` only to scoring and figures.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from figures_lib.config import NeuronType
from figures_lib.fields import image_index

ACTIVITY, DERIVATIVE = "activity.npy", "derivative.npy"


@dataclass(frozen=True)
class Recording:
    """What an experimenter has.

    Attributes:
        activity: x_i(t), dimensionless.
        derivative: dx_i/dt of equation (1) without its noise [1/time unit].
        positions: (x, y) of each neuron; the modulated ones lie in the unit square.
        modulated: neurons on which the hidden field acts.
        gain: known constant g_i of each neuron.
        time_step: time between frames Δt [time unit].
    """

    activity: Float[Tensor, "time neuron"]
    derivative: Float[Tensor, "time neuron"]
    positions: Float[Tensor, "neuron 2"]
    modulated: Bool[Tensor, " neuron"]
    gain: Float[Tensor, " neuron"]
    time_step: float

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
        """Without access to dx/dt: (x(t+Δt) − x(t))/Δt, whose noise is σ/Δt a sample.

        It is held in memory. After the last frame nothing is known: its difference is repeated.
        """
        change = torch.diff(self.activity, dim=0) / self.time_step
        return replace(self, derivative=torch.cat([change, change[-1:]]))

    @classmethod
    def load(cls, folder: Path) -> "Recording":
        """Read a recording; activity and derivative stay on disk and are mapped."""
        small = load_file(folder / "recording.safetensors")
        time_step = float(small.pop("time_step"))
        return cls(
            activity=mapped(folder / ACTIVITY),
            derivative=mapped(folder / DERIVATIVE),
            time_step=time_step,
            **small,
        )


@dataclass(frozen=True)
class Truth:
    """What only scoring and figures may read.

    Attributes:
        connectivity: W; row i receives from column j.
        types: type of each neuron.
        field: Ω of the modulated neurons, one row an image of the movie.
        neuron_types: parameters of each type.
        frames: recorded frames that the movie spans.
    """

    connectivity: Float[Tensor, "neuron neuron"]
    types: Int[Tensor, " neuron"]
    field: Float[Tensor, "image input"]
    neuron_types: tuple[NeuronType, ...]
    frames: int

    def field_at(self, frames: Int[Tensor, " frame"]) -> Float[Tensor, "frame input"]:
        """Ω of the modulated neurons at the given frames."""
        return self.field[image_index(frames, self.frames, len(self.field))]

    def parameters(self) -> dict[str, Float[Tensor, " neuron"]]:
        """Each parameter of equation (1) as one value a neuron."""
        return parameters_of(self.neuron_types, self.types)

    def update(self, x: Float[Tensor, "type x"]) -> Float[Tensor, "type x"]:
        """φ of each type: −x/τ + s·tanh(x) + b [1/time unit]."""
        own = {name: value[:, None] for name, value in self._per_type().items()}
        return -own["decay"] * x + own["self_coupling"] * torch.tanh(x) + own["offset"]

    def transfer(self, x: Float[Tensor, "type x"]) -> Float[Tensor, "type x"]:
        """ψ of each type: tanh((x − h)/γ) − θ·x."""
        own = {name: value[:, None] for name, value in self._per_type().items()}
        return torch.tanh((x - own["threshold"]) / own["width"]) - own["slope"] * x

    def save(self, folder: Path) -> None:
        """Write into an existing folder."""
        tensors = {
            "connectivity": self.connectivity,
            "types": self.types,
            "field": self.field,
        }
        save_file(tensors, folder / "truth.safetensors")
        about = {
            "frames": self.frames,
            "neuron_types": [one.model_dump() for one in self.neuron_types],
        }
        (folder / "truth.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        """Read what :meth:`save` wrote."""
        about = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        return cls(
            neuron_types=tuple(NeuronType(**one) for one in about["neuron_types"]),
            frames=about["frames"],
            **load_file(folder / "truth.safetensors"),
        )

    def _per_type(self) -> dict[str, Float[Tensor, " type"]]:
        return parameters_of(self.neuron_types, torch.arange(len(self.neuron_types)))


def parameters_of(
    neuron_types: tuple[NeuronType, ...], types: Int[Tensor, " neuron"]
) -> dict[str, Float[Tensor, " neuron"]]:
    """Parameters of equation (1), looked up by the type of each neuron."""
    names = NeuronType.model_fields
    return {
        name: torch.tensor([getattr(k, name) for k in neuron_types])[types] for name in names
    }


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
    """An array that stays on disk until it is read; changes to it are not written back."""
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array)
