"""What a file says of a recording, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from figures_lib.errors import ConfigError
from figures_lib.recordings.settings import FileSettings

ACTIVITY, SESSION = "activity", "session"
TIMES = ("times", "timestamps", "time")
NUMBERS = ("derivative", "positions", "modulated", "gain", SESSION)
Array = np.ndarray


@dataclass(frozen=True)
class Contents:
    """The arrays of a file, unchecked.

    Attributes:
        name: of the activity in the file.
        activity: x_i(t), rows as in the file.
        derivative: dx_i/dt [1/time unit].
        sampling_rate: frames per time unit.
        times: of every frame [time unit].
        positions: (x, y) of each neuron.
        modulated: neurons on which a hidden field acts.
        gain: known constant g_i of each neuron.
        names: of the neurons.
        session: number of the session of every frame.
    """

    name: str
    activity: Shaped[Array, "..."]
    derivative: Shaped[Array, "..."] | None = None
    sampling_rate: Any = None
    times: Shaped[Array, "..."] | None = None
    positions: Shaped[Array, "..."] | None = None
    modulated: Shaped[Array, "..."] | None = None
    gain: Shaped[Array, "..."] | None = None
    names: tuple[str, ...] | None = None
    session: Shaped[Array, "..."] | None = None


def contents_of(arrays: Mapping[str, Any], settings: FileSettings, where: str) -> Contents:
    """The contents of a file of named arrays.

    Args:
        arrays: by their names; of those that lie on disk only what is needed is read.
        settings: what the file does not say.
        where: begins every message.

    Raises:
        ConfigError: no array, or more than one, can be the activity.
    """
    name = settings.array or (ACTIVITY if ACTIVITY in arrays else _only_table(arrays, where))
    if name not in arrays:
        raise ConfigError(
            f"{where}: recording.array: no array {name!r}; it holds {_listed(arrays)}"
        )
    wanted = ("sampling_rate", "names", *TIMES, *NUMBERS)
    read = {key: np.asarray(arrays[key]) for key in wanted if key in arrays}
    rate, names = read.get("sampling_rate"), read.get("names")
    return Contents(
        name=name,
        activity=np.asanyarray(arrays[name]),
        sampling_rate=None if rate is None else rate.reshape(-1)[0] if rate.size else rate,
        times=next((read[key] for key in TIMES if key in read), None),
        names=None if names is None else tuple(_text(one) for one in names.reshape(-1)),
        **{key: read.get(key) for key in NUMBERS},
    )


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _only_table(arrays: Mapping[str, Any], where: str) -> str:
    tables = [name for name, array in arrays.items() if array.ndim == 2]
    if len(tables) != 1:
        raise ConfigError(
            f"{where}: {len(tables)} tables could be the activity (it holds "
            f"{_listed(arrays)}); name one {ACTIVITY!r}, or set recording.array"
        )
    return tables[0]


def _listed(arrays: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{name} {array.shape}" for name, array in arrays.items())[:200] or "nothing"
    )
