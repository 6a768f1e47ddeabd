"""A small network to play with: change the dynamics, and it is simulated again at once."""

import html
import math
from functools import partial
from typing import Any

import ipywidgets
import torch
from matplotlib.figure import Figure

from figures_lib.config import Experiment, change_experiment
from figures_lib.draw.benchmark_tables import Table
from figures_lib.draw.layout import ACTIVITY, plot_field, plot_layout
from figures_lib.draw.style import colours, evenly
from figures_lib.draw.traces import extremes, plot_traces
from figures_lib.errors import ConfigError, SimulationError
from figures_lib.paths import find_input
from figures_lib.runs.run import Run
from figures_lib.show.panel import Panel, labelled, player, slider
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.movie import images_from_grid

NEURONS, FRAMES, WARM_UP = 256, 4000, 500
FRAME_CHOICES = (1000, 2000, 4000, 8000, 16_000)
STEPS = 100  # of the slider over the frames
SHOWN = 16  # neurons whose traces are drawn
SYMBOLS = {"decay": "decay 1/τ", "width": "width γ", "gain": "gain g"}


def small(experiment: Experiment) -> Experiment:
    """The experiment with at most 256 neurons, the same share of which is modulated.

    Weights from a file are replaced by drawn ones unless they fit this number of neurons.
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


class Playground(Panel):
    """A network of up to 256 neurons with the settings of a run, to experiment with.

    It is simulated again whenever a control changes.

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
        truth: the network and its hidden movie.
    """

    def __init__(self, run: Run) -> None:
        self._base = small(run.experiment)
        self._make_controls(self._base)
        self.problem, self.table = ipywidgets.HTML(), ipywidgets.HTML()
        settings = [self.noise, self.contrast, self.frames, self.seed, self.source]
        boxes = [box for named in self.types for box in named.values()]
        label = "Field, activity and traces of the simulated network"
        moved = [player(self.frame), self.frame]
        rows = [settings, [self._type_table()], [self.problem], moved]
        super().__init__((9.6, 5.6), label, rows)
        self.box.children = (*self.box.children, self.table)
        self._before: list[float] = []
        self.frame.observe(self.update, "value")
        self.follow(self.simulate, *settings, *boxes)

    def _make_controls(self, base: Experiment) -> None:
        noise = base.simulation.noise
        late: dict[str, Any] = {"width": "24em", "continuous_update": False}
        self.noise = labelled(
            ipywidgets.FloatSlider, "noise σ", value=noise, max=max(5, noise), step=0.1, **late
        )
        contrast = min(0.95, (base.external_input.maximum - base.external_input.minimum) / 2)
        bounds: dict[str, Any] = {"value": contrast, "min": 0.05, "max": 0.95, "step": 0.05}
        self.contrast = labelled(ipywidgets.FloatSlider, "contrast", **bounds, **late)
        counts = {"options": FRAME_CHOICES, "value": FRAMES}
        self.frames = labelled(ipywidgets.Dropdown, "frames", "14em", **counts)
        self.seed = labelled(ipywidgets.IntText, "seed", "14em", value=base.seed)
        source, hint = base.external_input.source, "walking animal; or the path of a movie"
        self.source = labelled(
            ipywidgets.Text, "movie", value=source or "", placeholder=hint, **late
        )
        box = partial(ipywidgets.FloatText, step=0.1, layout={"width": "6em"})
        self.types = [
            {name: box(getattr(kind, name)) for name in SYMBOLS} for kind in base.neuron_types
        ]
        self.frame = slider("frame", FRAMES, FRAMES // STEPS)

    def _type_table(self) -> ipywidgets.GridBox:
        """One row per type, one column per parameter."""
        cells = [ipywidgets.Label(text) for text in ("", *SYMBOLS.values())]
        tints = colours(torch.arange(len(self.types)))
        for k, (boxes, colour) in enumerate(zip(self.types, tints, strict=True)):
            name = f'<b style="color:{colour}">type {k + 1}</b>'
            cells += [ipywidgets.HTML(name), *boxes.values()]
        columns = f"4em repeat({len(SYMBOLS)}, 7em)"
        return ipywidgets.GridBox(cells, layout={"grid_template_columns": columns})

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
        """Simulate with the values of the controls and show the result, or the problem."""
        self.problem.value = "simulating …"
        try:
            experiment = change_experiment(self._base, self.overrides())
            recording, truth = simulate(experiment)
        except (ConfigError, SimulationError) as error:
            self.problem.value = (
                f'<span role="alert" style="color:#c00000">{html.escape(str(error))} '
                "(the picture shows the previous network)</span>"
            )
            return
        self.experiment, self.recording, self.truth = experiment, recording, truth
        self.problem.value = ""
        self._compare()
        self.frame.max = len(recording.activity) - 1
        self.frame.step = len(recording.activity) // STEPS
        with self.redrawn(anew=True) as figure:
            self._draw(figure)
        self.update()

    def _draw(self, figure: Figure) -> None:
        recording, types = self.recording, self.truth.types
        axes = figure.subplot_mosaic("AB;CC", width_ratios=(1, 2.2), height_ratios=(1, 1.2))
        first = self.truth.field[0]
        self._image = None
        if first.numel():
            limits = 1 - self.contrast.value, 1 + self.contrast.value
            self._image = plot_field(axes["A"], first, "hidden movie Ω", limits)
        bound = 3 * float(recording.activity.std())
        self._points = plot_layout(
            axes["B"], recording.positions, recording.activity[0], ACTIVITY, bound
        )
        chosen = evenly(len(types), SHOWN)
        frames, series = extremes(recording.activity[:, chosen])
        plot_traces(axes["C"], frames, series, chosen, types[chosen], bound)
        axes["C"].set_xlim(0, len(recording.activity))
        self._cursor = axes["C"].axvline(0, color="#d00000", lw=1)

    def update(self, *_: Any) -> None:
        """Show the chosen frame."""
        frame = self.frame.value
        with self.redrawn():
            if self._image is not None:
                field = self.truth.field_at(torch.tensor([frame]))[0]
                self._image.set_data(images_from_grid(field))
            self._points.set_array(self.recording.activity[frame])
            self._cursor.set_xdata([frame, frame])
        self.tell(f"Frame {frame:,}, t = {frame * self.recording.time_step:.2f}.")

    def _compare(self) -> None:
        """Standard deviations, of all and by type, of this simulation and of the one before."""
        activity, types = self.recording.activity, self.truth.types
        parts = [activity, *(activity[:, types == kind] for kind in types.unique())]
        now = [float(part.std()) for part in parts]
        heads = ("standard deviation of x", "all", *(f"type {k}" for k in range(1, len(now))))
        rows = {"now": now, "before": self._before}
        cells = (
            (name, *(f"{x:.2f}" for x in values)) for name, values in rows.items() if values
        )
        self.table.value = Table(heads, tuple(cells))._repr_html_()
        self._before = now
