"""From a file to a recording: what was understood, or one line on what is wrong."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from figures_lib.errors import ConfigError
from figures_lib.recording import Recording
from figures_lib.recordings.contents import Array, Contents
from figures_lib.recordings.files import read_contents
from figures_lib.recordings.settings import FileSettings

UNEVEN = 0.05  # of a step: time stamps that deviate by more are not those of a constant rate
DISAGREE = 0.01  # by which a stated rate and time stamps may differ
LEAST = 0.5  # of the frames must remain
FEWEST = 20  # frames of a recording, at least
NAMED = 5  # neurons that a line names, at most
SPREAD = (1e-3, 1e6)  # standard deviations of the activity, in its unit, that are accepted
OFFSET = 100.0  # times the largest standard deviation: a larger mean is a baseline


@dataclass(frozen=True)
class Opened:
    """A recording from a file.

    Attributes:
        recording: the frames that inference may read.
        names: of the neurons.
        frames: which frames of the file these are.
        description: what was understood, line by line.
    """

    recording: Recording
    names: tuple[str, ...]
    frames: Int[Array, " frame"]
    description: tuple[str, ...]


def open_file(path: Path, settings: FileSettings) -> Opened:
    """Read a file, check it, and turn it into a recording.

    A frame is left out if a sample is missing in it, or if its derivative is not known because
    it is the last before a gap. Without a derivative in the file, finite differences are taken.

    Args:
        path: of the file; its suffix names the reader.
        settings: what the file does not say.

    Raises:
        ConfigError: the file cannot be used; the message says where and what to do.
    """
    where = f"--recording: {path.name}"
    contents = read_contents(path, settings)
    turned = settings.layout == "neuron_by_time"
    activity = _table(contents.activity, turned, f"{where}: {contents.name}")
    total, count = activity.shape
    names = _names(contents, count, where)
    rate, breaks = _rate_and_breaks(contents, settings, total, where)
    missing = np.isnan(activity)
    valid = ~missing.any(1)
    if contents.derivative is None:
        breaks = breaks | ~valid[1:]
        derivative = np.zeros_like(activity)
        derivative[:-1] = np.diff(activity, axis=0) * rate
        known = valid & np.append(~breaks, False)
    else:
        derivative = _table(contents.derivative, turned, f"{where}: derivative")
        if derivative.shape != activity.shape:
            raise ConfigError(
                f"{where}: derivative has the shape {derivative.shape}, the activity "
                f"{activity.shape}; write one value for each"
            )
        known = valid & ~np.isnan(derivative).any(1)
    frames = known.nonzero()[0]
    if len(frames) < max(FEWEST, LEAST * total):
        remedy = "give longer sessions, or a derivative"
        if missing.any():
            remedy = "leave out neurons whose samples are missing"
        raise ConfigError(
            f"{where}: only {len(frames)} of {total} frames have all samples and a derivative; "
            f"at least {FEWEST} and half of them are needed: {remedy}"
        )
    spread = activity[frames].std(0)
    if not (spread > 0).any():
        raise ConfigError(f"{where}: no activity ever changes; nothing can be inferred from it")
    _check_scale(activity[frames], contents.name, where)
    modulated = _modulated(contents, settings, names, where)
    positions, gain = _of_neurons(contents, modulated, where)
    gaps = int((np.diff(frames) > 1).sum())
    if modulated.any() and gaps:
        raise ConfigError(
            f"{where}: modulated: the hidden field is not inferred across gaps, of which there "
            f"are {gaps}; give one session without gaps, or no modulated neurons"
        )
    recording = Recording(
        activity=torch.from_numpy(activity[frames]),
        derivative=torch.from_numpy(derivative[frames].astype(np.float32)),
        positions=torch.from_numpy(positions),
        modulated=torch.from_numpy(modulated),
        gain=torch.from_numpy(gain),
        time_step=1 / rate,
        differences=contents.derivative is None,
        names=names,
    )
    sessions = 1 if contents.session is None else len(np.unique(contents.session))
    description = (
        f"{path.name}: {contents.name}, {total:,} frames of {count} neurons",
        f"names: {', '.join(names[:NAMED])}{f', …, {names[-1]}' if count > NAMED else ''}",
        f"sampling rate: {rate:g} frames per time unit; {total / rate:,.6g} time units",
        f"sessions: {sessions}; gaps: {gaps}; frames used: {len(frames):,} of {total:,}",
        f"missing samples: {int(missing.sum()):,}{_listed(missing.any(0), names)}",
        f"neurons that never change: {int((spread == 0).sum())}{_listed(spread == 0, names)}",
        f"neurons with equal activity: {_duplicates(activity[frames], spread, names)}",
        f"derivative: {'finite differences' if contents.derivative is None else 'of the file'}",
        f"gain: {'of the file' if contents.gain is not None else 'unknown, a part of W'}",
        f"modulated neurons: {int(modulated.sum())}",
    )
    return Opened(recording, names, frames, description)


def _table(array: Array, turned: bool, where: str) -> Float[Array, "time neuron"]:
    """A table of finite numbers or NaN, one row per frame."""
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise ConfigError(f"{where}: holds {array.dtype}; give real numbers")
    if np.iscomplexobj(array):
        raise ConfigError(f"{where}: holds complex numbers; give real ones")
    if array.ndim != 2:
        raise ConfigError(f"{where}: has the shape {array.shape}; give time × neuron")
    array = array.T if turned else array
    if not array.shape[1]:
        raise ConfigError(f"{where}: has no neurons; the columns are neurons, the rows frames")
    if array.shape[1] > array.shape[0]:
        raise ConfigError(
            f"{where}: {array.shape[1]} neurons in {array.shape[0]} frames: fewer frames than "
            "neurons determine no weight; if the rows are neurons, set "
            "recording.layout=neuron_by_time"
        )
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        table = np.ascontiguousarray(array, dtype=np.float32)
    infinite = np.isinf(table)
    if infinite.any():
        frame, neuron = (int(one[0]) for one in infinite.nonzero())
        raise ConfigError(
            f"{where}: infinite, or too large, at frame {frame} of neuron {neuron}; replace "
            "it, by NaN if it is missing"
        )
    return table


def _rate_and_breaks(
    contents: Contents, settings: FileSettings, total: int, where: str
) -> tuple[float, Bool[Array, " step"]]:
    """Frames per time unit, and after which frames the next one does not follow."""
    breaks = np.zeros(total - 1, dtype=bool)
    if contents.session is not None:
        session = np.asarray(contents.session)
        _check_length(session, total, f"{where}: session", "frame")
        breaks |= session[1:] != session[:-1]
        parts = session[np.append(True, breaks)]
        if len(np.unique(parts)) < len(parts):
            raise ConfigError(
                f"{where}: session: the frames of a session are not consecutive; sort them"
            )
    rate = settings.sampling_rate or contents.sampling_rate
    if rate is not None:
        rate = _number(rate, f"{where}: sampling_rate")
    if contents.times is None:
        if rate is None:
            raise ConfigError(
                f"{where}: no sampling rate; write `sampling_rate` or `times` into the file, "
                "or set recording.sampling_rate"
            )
        return rate, breaks
    times = np.asarray(contents.times)
    _check_length(times, total, f"{where}: times", "frame")
    if not np.issubdtype(times.dtype, np.number) or not np.isfinite(times).all():
        raise ConfigError(f"{where}: times: not all are finite numbers; write one per frame")
    steps = np.diff(times.astype(np.float64))
    inside = steps[~breaks]
    if not len(inside) or (inside <= 0).any():
        raise ConfigError(f"{where}: times: they do not rise within a session; sort the frames")
    step = float(np.median(inside))
    multiple = inside / step
    uneven = np.abs(multiple - multiple.round()) > UNEVEN
    if uneven.any():
        raise ConfigError(
            f"{where}: times: {int(uneven.sum())} steps are no multiple of the usual one "
            f"({step:g}); resample the activity at a constant rate"
        )
    if rate is not None and abs(rate * step - 1) > DISAGREE:
        raise ConfigError(
            f"{where}: sampling_rate: {rate:g}, but the times are {step:g} apart, which is "
            f"{1 / step:g}; correct one of them"
        )
    breaks[~breaks] = multiple.round() > 1
    return rate or 1 / step, breaks


def _check_scale(activity: Float[Array, "time neuron"], name: str, where: str) -> None:
    """Refuse units in which single precision would lose the changes of the activity."""
    spread = float(activity.std(0, dtype=np.float64).max())
    level = float(np.abs(activity.mean(0, dtype=np.float64)).max())
    least, most = SPREAD
    if not least < spread < most:
        raise ConfigError(
            f"{where}: {name}: its largest standard deviation is {spread:.3g}; choose a unit "
            f"in which it is between {least:g} and {most:g}"
        )
    if level > OFFSET * spread:
        raise ConfigError(
            f"{where}: {name}: its mean of up to {level:.3g} is far larger than its changes, "
            f"of {spread:.3g}; subtract the baseline"
        )


def _modulated(
    contents: Contents, settings: FileSettings, names: tuple[str, ...], where: str
) -> Bool[Array, " neuron"]:
    """Which neurons a hidden input may modulate."""
    chosen = settings.modulated
    if isinstance(chosen, str):
        return np.full(len(names), chosen == "all")
    if chosen is not None:
        chosen = [str(name) for name in chosen]
        absent = [name for name in chosen if name not in names]
        if absent:
            raise ConfigError(
                f"{where}: recording.modulated: no neuron is called {absent[0]}; the names "
                f"begin {', '.join(names[:NAMED])}"
            )
        return np.isin(names, chosen)
    if contents.modulated is None:
        return np.zeros(len(names), dtype=bool)
    given = np.asarray(contents.modulated)
    _check_length(given, len(names), f"{where}: modulated", "neuron")
    if not np.isin(given, (0, 1)).all():
        raise ConfigError(f"{where}: modulated: neither true nor false; write 0 or 1")
    return given.astype(bool)


def _of_neurons(
    contents: Contents, modulated: Bool[Array, " neuron"], where: str
) -> tuple[Float[Array, "neuron 2"], Float[Array, " neuron"]]:
    """The positions of the neurons and their gains."""
    count = len(modulated)
    positions = np.zeros((count, 2), dtype=np.float32)
    if contents.positions is not None:
        given = np.asarray(contents.positions)
        real = np.issubdtype(given.dtype, np.number) and not np.iscomplexobj(given)
        if given.shape != (count, 2) or not real or not np.isfinite(given).all():
            raise ConfigError(
                f"{where}: positions: {given.dtype} of the shape {given.shape}; give finite "
                f"(x, y) for {count} neurons"
            )
        positions = given.astype(np.float32)
        here = positions[modulated]
        if here.size and not ((here >= 0) & (here <= 1)).all():
            extent = max(float(np.ptp(here, axis=0).max()), 1e-9)
            positions = (positions - here.min(0)) / extent  # the field lives on a unit square
    elif modulated.any():
        raise ConfigError(f"{where}: modulated: no positions of the neurons; add `positions`")
    gain = np.ones(count, dtype=np.float32)
    if contents.gain is not None:
        given = np.asarray(contents.gain)
        _check_length(given, count, f"{where}: gain", "neuron")
        if (
            not np.issubdtype(given.dtype, np.number)
            or not (np.isfinite(given) & (given != 0)).all()
        ):
            raise ConfigError(f"{where}: gain: not all are finite and different from 0")
        gain = given.astype(np.float32)
    return positions, gain


def _names(contents: Contents, count: int, where: str) -> tuple[str, ...]:
    if contents.names is None:
        return tuple(str(number) for number in range(count))
    if len(contents.names) != count or len({*contents.names}) < count:
        raise ConfigError(
            f"{where}: names: {len({*contents.names})} different ones for {count} neurons; "
            "give each its own"
        )
    for name in contents.names:
        if not name.strip():
            raise ConfigError(
                f"{where}: names: one is empty; name it, or leave the column out if it is the "
                "index of a table"
            )
        if not name.isprintable():
            raise ConfigError(
                f"{where}: names: {name!r:.40} holds characters that cannot be printed; "
                "rename it"
            )
    return contents.names


def _check_length(array: Array, count: int, where: str, what: str) -> None:
    if array.shape != (count,):
        raise ConfigError(
            f"{where}: has the shape {array.shape}; give one for each of {count} {what}s"
        )


def _number(value: object, where: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise ConfigError(f"{where}: {value!r:.40} is no positive number; correct it")
    return number


def _listed(which: Bool[Array, " neuron"], names: tuple[str, ...]) -> str:
    some = [names[place] for place in which.nonzero()[0]]
    if not some:
        return ""
    return f" ({', '.join(some[:NAMED])}{', …' if len(some) > NAMED else ''})"


def _duplicates(
    activity: Float[Array, "time neuron"],
    spread: Float[Array, " neuron"],
    names: tuple[str, ...],
) -> str:
    """Pairs of neurons with the same activity in every frame."""
    first: dict[bytes, int] = {}
    pairs = []
    for neuron in (spread > 0).nonzero()[0]:
        key = activity[:, neuron].tobytes()
        if key in first:
            pairs.append(f"{names[first[key]]} = {names[neuron]}")
        first.setdefault(key, int(neuron))
    if not pairs:
        return "none"
    return f"{', '.join(pairs[:NAMED])}{', …' if len(pairs) > NAMED else ''}"
