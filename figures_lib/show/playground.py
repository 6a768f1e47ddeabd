"""A small network to play with: change the dynamics, and it is simulated again at once."""

import html
import math
from collections.abc import Iterator
from typing import Any

import ipywidgets
import torch
from matplotlib.figure import Figure

from figures_lib.config import Experiment, change_experiment
from figures_lib.draw import figures
from figures_lib.errors import ConfigError, SimulationError
from figures_lib.paths import find_input
from figures_lib.recording import Recording
from figures_lib.runs.run import Run
from figures_lib.show.canvas import Canvas, Panel, player, slider
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.movie import images_from_grid
from figures_lib.simulate.truth import Truth

NEURONS, FRAMES, WARM_UP = 256, 4000, 500
FRAME_CHOICES = (1000, 2000, 4000, 8000, 16_000)
STEPS = 100  # of the slider over the frames
SHOWN = 16  # neurons whose traces are drawn
SYMBOLS = {"decay": "decay 1/τ", "width": "width γ", "gain": "gain g"}
LABELS = {"description_width": "initial"}


def small(experiment: Experiment) -> Experiment:
    """The experiment with at most 256 neurons, the same share of which is modulated.

    Weights from a file fit no other number of neurons than its own; they are drawn instead.
    """
    settings, source = experiment.simulation, experiment.connectivity.source
    neurons = min(NEURONS, settings.neurons)
    side = math.isqrt(settings.input_neurons * neurons // settings.neurons)
    return change_experiment(
        experiment,
        {
            "simulation.neurons": neurons,
            "simulation.input_neurons": side**2,
            "simulation.frames": FRAMES,
            "simulation.warm_up": WARM_UP,
            "connectivity.source": source if neurons == settings.neurons else None,
        },
    )


def deviations(recording: Recording, truth: Truth) -> list[float]:
    """Standard deviation of the activity: of all neurons, then of those of each type."""
    kinds = truth.types.unique()
    return [
        float(part.std())
        for part in (
            recording.activity,
            *(recording.activity[:, truth.types == kind] for kind in kinds),
        )
    ]


class Playground(Panel):
    """A network that is simulated again whenever a control changes.

    Attributes:
        noise: σ per step.
        contrast: of the movie, whose Ω lies within 1 ± contrast.
        frames: how many are recorded; the movie lasts as long.
        seed: of connectivity, noise and the movie's background.
        source: path of another movie; empty for the walking animal.
        types: for each neuron type its parameters, by their name in the configuration.
        frame: what is shown of the recording.
        problem: what is wrong with the values, if they cannot be simulated.
        table: standard deviations of the activity, now and before.
        experiment: what was simulated last.
        recording: its activity.
        truth: the network behind it.
    """

    def __init__(self, run: Run) -> None:
        self._base = small(run.experiment)
        self._make_controls(self._base)
        self.problem, self.table = ipywidgets.HTML(), ipywidgets.HTML()
        label = "Field, activity and traces of the simulated network"
        rows = [
            [self.noise, self.contrast, self.frames, self.seed, self.source],
            [self._type_table()],
            [self.problem],
            [player(self.frame), self.frame],
        ]
        super().__init__(Canvas(9.6, 5.6, label), rows)
        self.box.children = (*self.box.children, self.table)
        self._before: list[float] | None = None
        for control in self._inputs():
            control.observe(self.simulate, "value")
        self.frame.observe(self.update, "value")
        self.simulate()

    def _make_controls(self, base: Experiment) -> None:
        wide = ipywidgets.Layout(width="24em")
        late = {"continuous_update": False, "style": LABELS, "layout": wide}
        noise = base.simulation.noise
        self.noise = ipywidgets.FloatSlider(
            value=noise, max=max(5, noise), step=0.1, description="noise σ", **late
        )
        contrast = min(0.95, (base.external_input.maximum - base.external_input.minimum) / 2)
        self.contrast = ipywidgets.FloatSlider(
            value=contrast, min=0.05, max=0.95, step=0.05, description="contrast", **late
        )
        short = ipywidgets.Layout(width="14em")
        self.frames = ipywidgets.Dropdown(
            options=FRAME_CHOICES,
            value=FRAMES,
            description="frames",
            style=LABELS,
            layout=short,
        )
        self.seed = ipywidgets.IntText(
            base.seed, description="seed", style=LABELS, layout=short
        )
        self.source = ipywidgets.Text(
            base.external_input.source or "",
            placeholder="walking animal; or the path of a movie",
            description="movie",
            **late,
        )
        width = ipywidgets.Layout(width="6em")
        self.types = [
            {
                name: ipywidgets.FloatText(getattr(kind, name), step=0.1, layout=width)
                for name in SYMBOLS
            }
            for kind in base.neuron_types
        ]
        self.frame = slider("frame", FRAMES, FRAMES // STEPS)

    def _type_table(self) -> ipywidgets.GridBox:
        """One row a type, one column a parameter."""
        cells: list[ipywidgets.DOMWidget] = [
            ipywidgets.Label(text) for text in ("", *SYMBOLS.values())
        ]
        tints = figures.colours(torch.arange(len(self.types)))
        for k, (boxes, colour) in enumerate(zip(self.types, tints, strict=True)):
            name = f'<b style="color:{colour}">type {k + 1}</b>'
            cells += [ipywidgets.HTML(name), *boxes.values()]
        columns = f"4em repeat({len(SYMBOLS)}, 7em)"
        return ipywidgets.GridBox(cells, layout={"grid_template_columns": columns})

    def _inputs(self) -> Iterator[ipywidgets.DOMWidget]:
        yield from (self.noise, self.contrast, self.frames, self.seed, self.source)
        for boxes in self.types:
            yield from boxes.values()

    def overrides(self) -> dict[str, Any]:
        """The values of the controls as keys of the configuration."""
        source = self.source.value.strip()
        return {
            "simulation.noise": self.noise.value,
            "simulation.frames": self.frames.value,
            "external_input.minimum": round(1 - self.contrast.value, 6),
            "external_input.maximum": round(1 + self.contrast.value, 6),
            "external_input.source": str(find_input(source)) if source else None,
            "seed": self.seed.value,
            **{
                f"neuron_types.{k}.{name}": box.value
                for k, boxes in enumerate(self.types)
                for name, box in boxes.items()
            },
        }

    def simulate(self, *_: Any) -> None:
        """Simulate what the controls say and show it; or say why that is impossible."""
        self.problem.value = "simulating …"
        try:
            experiment = change_experiment(self._base, self.overrides())
            recording, truth = simulate(experiment)
        except (ConfigError, SimulationError) as error:
            self.problem.value = (
                f'<span role="alert" style="color:#c00000">{html.escape(str(error))} '
                "(below is still the network before)</span>"
            )
            return
        self.experiment, self.recording, self.truth = experiment, recording, truth
        self.problem.value = ""
        self._compare(deviations(recording, truth))
        self.frame.max = len(recording.activity) - 1
        self.frame.step = len(recording.activity) // STEPS
        with self.canvas.redrawn(layout=True) as figure:
            figure.clear()
            self._draw(figure)
        self.update()

    def _draw(self, figure: Figure) -> None:
        recording, types = self.recording, self.truth.types
        axes = figure.subplot_mosaic("AB;CC", width_ratios=(1, 2.2), height_ratios=(1, 1.2))
        first = self.truth.field[0]
        self._image = None
        if first.numel():
            limits = 1 - self.contrast.value, 1 + self.contrast.value
            self._image = figures.plot_field(axes["A"], first, "hidden movie Ω", limits)
        bound = 3 * float(recording.activity.std())
        figures.plot_layout(
            axes["B"],
            recording.positions,
            recording.activity[0],
            "activity x$_i$",
            "RdBu_r",
            (-bound, bound),
        )
        (self._points,) = axes["B"].collections
        chosen = figures.evenly(len(types), SHOWN)
        frames, series = figures.extremes(recording.activity[:, chosen])
        figures.plot_traces(axes["C"], frames, series, chosen, types, bound)
        axes["C"].set_xlim(0, len(recording.activity))
        self._cursor = axes["C"].axvline(0, color="#d00000", lw=1)

    def update(self, *_: Any) -> None:
        """Show the chosen frame."""
        frame = self.frame.value
        with self.canvas.redrawn():
            if self._image is not None:
                field = self.truth.field_at(torch.tensor([frame]))[0]
                self._image.set_data(images_from_grid(field))
            self._points.set_array(self.recording.activity[frame])
            self._cursor.set_xdata([frame, frame])
        self.tell(f"Frame {frame:,}, t = {frame * self.recording.time_step:.2f}.")

    def _compare(self, now: list[float]) -> None:
        """Standard deviations of this simulation and of the one before it."""
        heads = ("standard deviation of x", "all", *(f"type {k}" for k in range(1, len(now))))
        rows = [("now", now)] + ([("before", self._before)] if self._before else [])
        cells = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
        for name, values in rows:
            numbers = "".join(f"<td>{value:.2f}</td>" for value in values)
            cells.append(f"<tr><th>{name}</th>{numbers}</tr>")
        self.table.value = f"<table>{''.join(cells)}</table>"
        self._before = now


def playground(run: Run) -> Playground:
    """A network of up to 256 neurons with the settings of a run, to be changed at will."""
    return Playground(run)
