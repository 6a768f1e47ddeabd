"""Viewers: what moves in the built site, with no kernel behind it.

Each function here writes one data file of a run and returns what its notebook shows: a place
holder that names the viewer. In the site, the script of that name in ``book/_static/viewers``
fills it when the reader comes near. Arrays are quantised to 8 or 16 bits so that a page stays
below 5 MB, and a data file is itself a script that hands over base64 text, because a page
opened from disk may load scripts and nothing else.
"""

import base64
import html
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from figures_lib.figures import TYPE_COLOURS
from figures_lib.pipeline import Run

MOVIE_FRAMES = 256  # shown frames: as many as the published movie has images, less one


@dataclass(frozen=True)
class Viewer:
    """A place in a notebook that a viewer fills in the built site.

    Attributes:
        kind: name of its script and of its data file.
        label: what it shows, for a screen reader.
        onclick: label of a button that starts it; without one it starts when it is near.
    """

    kind: str
    label: str
    onclick: str = ""

    def _repr_html_(self) -> str:
        label, onclick = (html.escape(text) for text in (self.label, self.onclick))
        asks = f' data-onclick="{onclick}"' if onclick else ""
        return (
            f'<div class="viewer" id="viewer-{self.kind}" role="group" aria-label="{label}"'
            f' data-viewer="{self.kind}"{asks}>\n'
            f"<p>{label}: moves in the built site, where scripts may run.</p>\n</div>"
        )


@dataclass(frozen=True)
class Packed:
    """An array as it is stored: value = low + step·code, or the code itself without a step."""

    codes: np.ndarray
    low: float = 0.0
    step: float | None = None

    def values(self) -> np.ndarray:
        """What a page reads from it."""
        return self.codes if self.step is None else self.low + self.step * self.codes


def quantised(values: Tensor, kind: type = np.uint8) -> Packed:
    """Finite values as integers over their range; the error is at most half a step.

    Args:
        values: any shape.
        kind: integer type of the codes, ``np.uint8`` or ``np.uint16``.
    """
    array = values.double().numpy()
    low, high = float(array.min()), float(array.max())
    step = (high - low) / np.iinfo(kind).max or 1.0
    return Packed(np.rint((array - low) / step).astype(kind), low, step)


def exact(values: Any, kind: type) -> Packed:
    """Values that are stored as they are."""
    return Packed(np.asarray(values).astype(kind))


def encode(name: str, arrays: Mapping[str, Packed], about: Mapping[str, Any]) -> str:
    """The text of a data file: a call that hands over a manifest and base64 bytes."""
    layout, body = {}, bytearray()
    for key, packed in arrays.items():
        codes = packed.codes.astype(packed.codes.dtype.newbyteorder("<"))
        body += bytes(-len(body) % 4)  # a typed array starts at a multiple of its item's size
        layout[key] = {
            "type": codes.dtype.name,
            "shape": codes.shape,
            "offset": len(body),
            "low": packed.low,
            "step": packed.step,
        }
        body += codes.tobytes()
    manifest = json.dumps({**about, "arrays": layout}, allow_nan=False)
    return f'Viewers.receive("{name}", {manifest}, "{base64.b64encode(body).decode()}");\n'


def movie(run: Run) -> Viewer:
    """Ω, Ω*, their difference and the activity, over the frames (Figure 3 a, b, e, f, g)."""
    recording, truth = run.simulate()
    model = run.infer()
    total = len(recording.activity)
    frames = torch.linspace(0, total - 1, min(MOVIE_FRAMES, total)).long()
    true = truth.field_at(frames)
    difference = model.field(frames) - true
    activity = recording.activity[frames]
    arrays = {
        "frames": exact(frames, np.uint32),
        "positions": quantised(recording.positions, np.uint16),
        "grid": exact(recording.modulated.nonzero()[:, 0], np.uint16),
        "types": exact(truth.types, np.uint8),
        "truth": quantised(true),
        "difference": quantised(difference),
        "activity": quantised(activity),
        "grey": _colour_map("gray"),
        "diverging": _colour_map("RdBu_r"),
    }
    about = {
        "total": total,
        "timeStep": recording.time_step,
        "low": float(true.min()),
        "high": float(true.max()),
        "spread": _round_up(3 * float(difference.std())),
        "bound": _round_up(3 * float(activity.std())),
    }
    _write(run, "movie", arrays, about)
    return Viewer("movie", "The hidden movie, true and learned, and the activity")


def _colour_map(name: str) -> Packed:
    """256 colours of a matplotlib map as red, green, blue."""
    colours = mpl.colormaps[name](np.arange(256), bytes=True)
    return exact(colours[:, :3], np.uint8)


def _round_up(value: float) -> float:
    """The next number with one digit: a bound that a colour bar can show."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(f"{np.ceil(value / power) * power:.1g}")


def _write(run: Run, name: str, arrays: Mapping[str, Packed], about: Mapping[str, Any]) -> Path:
    """Write ``viewers/NAME.js`` into the folder of the run."""
    folder = run.out / "viewers"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.{os.getpid()}"
    described = {**about, "colours": TYPE_COLOURS}
    part.write_text(encode(name, arrays, described), encoding="utf-8")
    return part.replace(folder / f"{name}.js")
