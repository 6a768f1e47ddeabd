"""Viewers: interactive figures of the built site, which need no kernel.

Each function here writes one data file of a run and returns what its notebook shows: a
placeholder that names the viewer. In the site, the script of that name in
``book/_static/viewers`` fills it when the reader scrolls near. Arrays are quantised to 8 or 16
bits so that a page stays below 5 MB. A data file is a script that contains base64 text, because
a page opened from disk may load scripts and nothing else.
"""

import base64
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.config import load_experiment
from figures_lib.draw.functions import plane
from figures_lib.draw.style import CURVES, TYPE_COLOURS, evenly
from figures_lib.neurons.saturating import SATURATING
from figures_lib.paths import find_input
from figures_lib.runs.files import part_of, writing
from figures_lib.runs.run import Run
from figures_lib.score.scoring import fit_scales
from figures_lib.simulate.movie import images_from_grid

MOVIE_FRAMES = 256  # shown frames: one less than the published movie has images
LABORATORY = (16, 8)  # images of the movie in the laboratory, and pixels per side
PUBLISHED = "config/fig3.yaml"  # whose neuron types the laboratory has if those of a run differ
EDGES = 20_000  # edges of the connectivity that are drawn
TRACES, TRACE_FRAMES, SPACING = 100, 10_000, 25.0  # panel c: neurons, frames, distance in x


@dataclass(frozen=True)
class Viewer:
    """A placeholder in a notebook, which a viewer fills in the built site.

    Attributes:
        kind: name of its script and of its data file.
        label: what it shows, for a screen reader.
        onclick: label of a button that starts it; without one it starts by itself.
        hint: where it works, for readers who see only the placeholder.
    """

    kind: str
    label: str
    onclick: str = ""
    hint: str = "works in the built site, where scripts may run"

    def _repr_html_(self) -> str:
        label, onclick = (html.escape(text) for text in (self.label, self.onclick))
        button = f' data-onclick="{onclick}"' if onclick else ""
        return (
            f'<div class="viewer" id="viewer-{self.kind}" role="group" aria-label="{label}"'
            f' data-viewer="{self.kind}"{button}>\n'
            f"<p>{label}: {html.escape(self.hint)}.</p>\n</div>"
        )


@dataclass(frozen=True)
class Packed:
    """An array as it is stored: value = low + step·code, or the code itself without a step."""

    codes: np.ndarray
    low: float = 0.0
    step: float | None = None

    def values(self) -> np.ndarray:
        """The values that a page decodes."""
        return self.codes if self.step is None else self.low + self.step * self.codes


def quantised(values: Tensor, kind: type = np.uint8) -> Packed:
    """Finite values as integers over their range; the error is at most half a step.

    Args:
        values: any shape.
        kind: integer type of the codes, ``np.uint8`` or ``np.uint16``.
    """
    array = values.double().numpy()
    low, high = ends(values)
    step = (high - low) / np.iinfo(kind).max or 1.0
    return Packed(np.rint((array - low) / step).astype(kind), low, step)


def ends(values: Tensor) -> tuple[float, float]:
    """The smallest and the largest value; 0 and 1 where there are no values."""
    low, high = values.aminmax() if values.numel() else (0.0, 1.0)
    return float(low), float(high)


def exact(values: Any, kind: type) -> Packed:
    """Values that are stored as they are."""
    return Packed(np.asarray(values).astype(kind))


def encode(name: str, arrays: Mapping[str, Packed], about: Mapping[str, Any]) -> str:
    """The text of a data file: a call with a manifest and base64 bytes."""
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
    frames = evenly(total, MOVIE_FRAMES)
    true = truth.field_at(frames)
    low, high = ends(true)
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
        "low": low,
        "high": high,
        "spread": round_up(3 * _deviation(difference)),
        "bound": round_up(3 * _deviation(activity)),
    }
    write_data(run, "movie", arrays, about)
    return Viewer("movie", "The hidden movie, true and learned, and the activity")


def connectivity(run: Run) -> Viewer:
    """Learned against true weights, raw and with row and column scales fitted (panel d)."""
    types = run.simulate()[1].types
    scores = run.score()
    true, learned = scores.connectivity_true, scores.connectivity_learned
    fitted = fit_scales(true, learned)
    edges = sample_edges(true, learned, EDGES)
    drawn = [matrix.flatten()[edges] for matrix in (true, learned, fitted)]
    arrays = {
        "receiver": exact(edges // len(types), np.uint16),
        "sender": exact(edges % len(types), np.uint16),
        "types": exact(types, np.uint8),
        "truth": quantised(drawn[0], np.uint16),
        "learned": quantised(drawn[1], np.uint16),
        "fitted": quantised(drawn[2], np.uint16),
    }
    about = {
        "typeCount": int(types.max()) + 1,
        "bound": 1.05 * max(float(values.abs().max()) for values in drawn),
        "scores": {
            "raw": pair_scores(true, learned, types),
            "fitted": pair_scores(true, fitted, types),
        },
    }
    write_data(run, "connectivity", arrays, about)
    return Viewer("connectivity", "Learned against true weights, edge by edge")


def sample_edges(
    true: Float[Tensor, "neuron neuron"], learned: Float[Tensor, "neuron neuron"], count: int
) -> Int[Tensor, " edge"]:
    """A sample of edges to draw, as indices into the flattened matrix; no self-connections.

    Drawn without replacement, with a probability that grows with weight and error, each
    relative to its root mean square. A tenth of the sample are the edges of largest error.
    """
    weight = torch.full_like(true, 0.1)
    for size in (true.abs(), (learned - true).abs()):
        weight += size / size.square().mean().sqrt().clamp_min(1e-12)
    error = (learned - true).abs().fill_diagonal_(-1.0)
    weight.view(-1)[error.flatten().topk(min(count // 10, error.numel())).indices] = torch.inf
    weight.fill_diagonal_(0.0)
    # The largest ratios of weight to an exponential number are a sample without replacement
    # (Efraimidis & Spirakis 2006). NumPy draws these: torch, with the same seed, would repeat
    # the random numbers from which the weights were drawn.
    random = torch.from_numpy(np.random.default_rng(0).exponential(size=tuple(true.shape)))
    neurons = len(true)
    chosen = (weight / random).flatten().topk(min(count, neurons * (neurons - 1)))
    return chosen.indices.sort().values


def pair_scores(
    true: Float[Tensor, "neuron neuron"],
    learned: Float[Tensor, "neuron neuron"],
    types: Int[Tensor, " neuron"],
) -> list[list[dict[str, float]]]:
    """R² and slope of all edges by type of receiver (row) and sender; the last is all types."""
    belongs = torch.nn.functional.one_hot(types).double()
    belongs = torch.cat([belongs, torch.ones(len(types), 1, dtype=torch.double)], 1)
    x, y = true.double(), learned.double()

    def total(values: Tensor) -> Tensor:
        return belongs.T @ values @ belongs

    count = total(torch.ones_like(x))
    spread_x = total(x * x) - total(x) ** 2 / count
    spread_y = total(y * y) - total(y) ** 2 / count
    common = total(x * y) - total(x) * total(y) / count
    r2 = common**2 / (spread_x * spread_y).clamp_min(1e-300)
    slope = common / spread_x.clamp_min(1e-300)
    return [
        [{"r2": float(a), "slope": float(b)} for a, b in zip(*rows, strict=True)]
        for rows in zip(r2, slope, strict=True)
    ]


def functions(run: Run) -> Viewer:
    """φ and ψ after every sweep, and the embeddings during their fit."""
    recording, truth = run.simulate()
    model, scores = run.infer(), run.score()
    shown = evenly(len(truth.types), CURVES)
    bound = 3 * float(recording.activity[::50].std())
    transfer_true, transfer_learned = (  # where ψ depends on the receiver: of the first type
        one.flatten(0, -2)[: len(scores.x)]
        for one in (scores.transfer_true, scores.transfer_learned)
    )
    arrays = {
        "neurons": exact(shown, np.uint16),
        "types": exact(truth.types, np.uint8),
        "cloud": quantised(plane(model.history.embedding_steps), np.uint16),
        "x": exact(scores.x, np.float32),
        "updateTrue": quantised(scores.update_true, np.uint16),
        "updateLearned": quantised(scores.update_learned, np.uint16),
        "transferTrue": quantised(transfer_true, np.uint16),
        "transferLearned": quantised(transfer_learned, np.uint16),
    }
    sweeps = model.history.sweeps
    for number, sweep in enumerate(sweeps):
        inside = sweep.knots.abs() <= bound
        transfer = sweep.transfer[:, inside]
        largest = transfer.abs().amax(1, keepdim=True).clamp_min(1e-12)
        arrays |= {
            f"knots{number}": exact(sweep.knots[inside], np.float32),
            f"update{number}": quantised(sweep.update[shown][:, inside], np.uint16),
            f"transfer{number}": quantised((transfer / largest)[shown], np.uint16),
        }
    low, high = ends(scores.update_true)
    margin = 0.2 * (high - low)
    about = {
        "typeCount": len(scores.x),
        "bound": bound,
        "updateRange": [low - margin, high + margin],
        "components": model.history.embedding_steps.shape[-1],
        "loss": scores.metrics["loss.final"],
        "sweeps": [
            {"index": one.index, "title": one.title, "phase": one.phase, "loss": one.loss}
            for one in sweeps
        ],
    }
    write_data(run, "functions", arrays, about)
    return Viewer("functions", "Update and transfer functions while they form")


def traces(run: Run) -> Viewer:
    """The activity of the neurons of panel c, with a choice of neurons and frames."""
    recording, truth = run.simulate()
    shown = evenly(len(truth.types), TRACES)
    arrays = {
        "neurons": exact(shown, np.uint16),
        "types": exact(truth.types[shown], np.uint8),
        "activity": quantised(recording.activity[:TRACE_FRAMES][:, shown].T),
    }
    write_data(run, "traces", arrays, {"spacing": SPACING, "timeStep": recording.time_step})
    return Viewer("traces", "Activity of chosen neurons")


def siren(run: Run) -> Viewer:
    """The field network itself, evaluated in the page; its weights are loaded on request."""
    label, model = "The learned field at any place and time", run.infer()
    side = round(float(model.modulated.sum()) ** 0.5)
    if not side:
        write_data(run, "siren", {}, {"side": 0})
        return Viewer("siren", label)
    network = model.siren
    layers = [*network.hidden, network.output]
    arrays = {"grey": _colour_map("gray")}
    for depth, layer in enumerate(layers):
        arrays[f"weight{depth}"] = exact(layer.weight.detach(), np.float32)
        arrays[f"bias{depth}"] = exact(layer.bias.detach(), np.float32)
    low, high = ends(model.field(evenly(model.frames, MOVIE_FRAMES)))
    about = {
        "layers": len(layers),
        "omega": network.config.omega,
        "scale": network.scale.tolist(),
        "side": side,
        "total": model.frames,
        "low": float(f"{low:.2f}"),
        "high": float(f"{high:.2f}"),
    }
    size = write_data(run, "siren", arrays, about).stat().st_size
    button = f"Load the field network ({size / 1e6:.1f} MB) and run it here"
    return Viewer("siren", label, button)


def laboratory(run: Run) -> Viewer:
    """A small network to simulate and infer in the page, with the types and movie of a run."""
    label, (images, side) = "A network to simulate and to infer", LABORATORY
    experiment = run.experiment
    if experiment.neuron is not SATURATING:
        experiment = load_experiment(find_input(PUBLISHED))
    truth = run.simulate()[1]
    movie = torch.full((images, side, side), 0.5)
    if truth.field.numel():
        upright = images_from_grid(truth.field[evenly(len(truth.field), images)])
        small = torch.nn.functional.interpolate(
            upright[:, None], (side, side), mode="bilinear", antialias=True
        )[:, 0]
        low, high = ends(small)
        if high > low:
            movie[: len(small)] = (small - low) / (high - low)
    arrays = {
        "movie": quantised(movie),
        "grey": _colour_map("gray"),
        "diverging": _colour_map("RdBu_r"),
    }
    about = {"types": [one.model_dump() for one in experiment.neuron_types]}
    write_data(run, "laboratory", arrays, about)
    return Viewer("laboratory", label)


def _colour_map(name: str) -> Packed:
    """256 colours of a matplotlib colour map as red, green and blue."""
    colours = mpl.colormaps[name](np.arange(256), bytes=True)
    return exact(colours[:, :3], np.uint8)


def _deviation(values: Tensor) -> float:
    return float(values.std()) if values.numel() else 0.0


def round_up(value: float) -> float:
    """The next number with one digit: a bound that a colour bar can show."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(f"{np.ceil(value / power) * power:.1g}")


def write_data(
    run: Run, name: str, arrays: Mapping[str, Packed], about: Mapping[str, Any]
) -> Path:
    """Write ``viewers/NAME.js`` into the folder of the run."""
    place = run.out / "viewers" / f"{name}.js"
    described = {**about, "colours": TYPE_COLOURS}
    with writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(place)
        part.write_text(encode(name, arrays, described), encoding="utf-8")
        return part.replace(place)
