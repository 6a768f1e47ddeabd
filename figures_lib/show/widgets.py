"""Widgets: the viewers of the site in a notebook with a kernel, with all frames and weights.

Each class here writes the data of its viewer, as :mod:`figures_lib.show.viewers` does, and is a
widget. A notebook with a kernel shows the widget, the built site the viewer.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ipywidgets
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from torch import Tensor

from figures_lib.draw.functions import plot_embedding
from figures_lib.draw.layout import ACTIVITY, plot_field, plot_layout
from figures_lib.draw.style import CURVES, NO_FIELD, TRUE_COLOUR, colours, evenly, type_legend
from figures_lib.draw.traces import extremes, plot_traces
from figures_lib.draw.training import plot_loss, plot_tables
from figures_lib.runs.run import Run
from figures_lib.score.scoring import fit_scales
from figures_lib.show import viewers
from figures_lib.show.panel import Panel, Rows, labelled, player, slider
from figures_lib.show.playground import Playground
from figures_lib.show.training import Training
from figures_lib.show.viewers import Viewer
from figures_lib.simulate.movie import images_from_grid

HINT = "works in the built site, where scripts may run, and in JupyterLab once its cell is run"
FIELD_SAMPLE = 9  # frames from which the range of the field's error is estimated


class ViewerPanel(Panel):
    """A panel that the built site replaces by a viewer."""

    def __init__(self, viewer: Viewer, size: tuple[float, float], controls: Rows) -> None:
        super().__init__(size, viewer.label, controls)
        self.viewer = viewer

    def still(self) -> Mapping[str, Any]:
        """The placeholder of the viewer."""
        return {"text/html": replace(self.viewer, hint=HINT)._repr_html_()}


class Movie(ViewerPanel):
    """Ω, Ω*, their difference and the activity at any frame (Figure 3 a, b, e, f, g).

    Attributes:
        frame: slider over all frames.
    """

    def __init__(self, run: Run) -> None:
        self.recording, self.truth = run.simulate()
        self.model = run.infer()
        total = len(self.recording.activity)
        self.frame = slider("frame", total, max(1, total // viewers.MOVIE_FRAMES))
        super().__init__(viewers.movie(run), (9.6, 6.4), [[player(self.frame), self.frame]])
        self._draw_first()
        self.follow(self.update, self.frame)

    def _draw_first(self) -> None:
        activity = self.recording.activity
        sample = evenly(len(activity), FIELD_SAMPLE)
        bound = viewers.round_up(3 * float(activity[sample].std()))
        with self.redrawn(anew=True) as figure:
            modulated = bool(self.recording.modulated.any())
            axes = figure.subplot_mosaic("ABC;DDD" if modulated else "D")
            self._images: list[AxesImage] = []
            if modulated:
                limits = viewers.ends(self.truth.field)
                error = self.model.field(sample) - self.truth.field_at(sample)
                spread = viewers.round_up(3 * float(error.std()))
                self._images = [
                    plot_field(axes["A"], error[0], "true Ω", limits),
                    plot_field(axes["B"], error[0], "learned Ω*", limits),
                    plot_field(
                        axes["C"], error[0], "difference Ω* − Ω", (-spread, spread), "RdBu_r"
                    ),
                ]
            places = self.recording.positions
            self._points = plot_layout(axes["D"], places, activity[0], ACTIVITY, bound)

    def update(self, *_: Any) -> None:
        """Show the chosen frame."""
        frame = self.frame.value
        chosen = torch.tensor([frame])
        true, learned = self.truth.field_at(chosen)[0], self.model.field(chosen)[0]
        fields = true, learned, learned - true
        with self.redrawn():
            for image, values in zip(self._images, fields, strict=False):
                image.set_data(images_from_grid(values))
            self._points.set_array(self.recording.activity[frame])
        error = float((learned - true).square().mean().sqrt())
        field = f"root mean square difference {error:.3f}" if self._images else NO_FIELD
        self.tell(
            f"Frame {frame:,} of {len(self.recording.activity):,} "
            f"(t = {frame * self.recording.time_step:.2f}): {field}, standard deviation of the "
            f"activity {float(self.recording.activity[frame].std()):.2f}."
        )


class Connectivity(ViewerPanel):
    """Learned against true weights by types (panel d), with R² and slope of all chosen edges.

    Attributes:
        sender: type of the sending neuron j; the number of types means all.
        receiver: type of the receiving neuron i, likewise.
        scales: "raw" or "fitted": W* as it is, or with scales fitted to the truth.
        zoom: factor by which the picture is enlarged.
    """

    def __init__(self, run: Run) -> None:
        self._types = run.simulate()[1].types
        scores = run.score()
        true, learned = scores.connectivity_true, scores.connectivity_learned
        shown = {"raw": learned, "fitted": fit_scales(true, learned)}
        edges = viewers.sample_edges(true, learned, viewers.EDGES)
        self._true = true.flatten()[edges]
        self._learned = {name: matrix.flatten()[edges] for name, matrix in shown.items()}
        ends = edges // len(true), edges % len(true)
        self._receivers, self._senders = (self._types[end] for end in ends)
        self._scores = {
            name: viewers.pair_scores(true, matrix, self._types)
            for name, matrix in shown.items()
        }
        self.sender, self.receiver = (
            self._type_choice(label) for label in ("from (sender j)", "to (receiver i)")
        )
        self.scales = ipywidgets.ToggleButtons(
            options={"raw W*": "raw", "scales fitted to the truth": "fitted"},
            style={"button_width": "auto"},
        )
        self.zoom = ipywidgets.FloatLogSlider(
            value=1, base=2, min=0, max=6, step=0.5, description="zoom", readout_format=".3g"
        )
        rows = [[self.sender, self.receiver], [self.scales, self.zoom]]
        super().__init__(viewers.connectivity(run), (6.4, 5.4), rows)
        self.follow(self.update, *rows[0], *rows[1])

    def _type_choice(self, label: str) -> ipywidgets.Dropdown:
        count = int(self._types.max()) + 1
        names = [("all", count), *((f"type {k + 1}", k) for k in range(count))]
        return labelled(ipywidgets.Dropdown, label, options=names)

    def update(self, *_: Any) -> None:
        """Show the chosen edges."""
        sender, receiver, scales = self.sender.value, self.receiver.value, self.scales.value
        count, learned = len(self._scores[scales]) - 1, self._learned[scales]
        chosen = (self._senders == sender) | torch.tensor(sender == count)
        chosen &= (self._receivers == receiver) | torch.tensor(receiver == count)
        largest = float(torch.stack([self._true, learned]).abs().max())
        bound = 1.05 * largest / self.zoom.value
        with self.redrawn(anew=True) as figure:
            ax = figure.subplots()
            ax.plot([-bound, bound], [-bound, bound], color="0.5", lw=0.8, ls="--")
            tint = colours(self._senders[chosen])
            ax.scatter(self._true[chosen], learned[chosen], c=tint, s=5, alpha=0.5, lw=0)
            type_legend(ax, torch.arange(count), "sender of ")
            ax.set(
                xlim=(-bound, bound),
                ylim=(-bound, bound),
                aspect="equal",
                xlabel="true W$_{ij}$",
                ylabel="learned W*$_{ij}$" + (", scales fitted" if scales == "fitted" else ""),
            )
        found = self._scores[scales][receiver][sender]
        self.tell(
            f"All edges chosen: R² = {found['r2']:.6f}, slope = {found['slope']:.4f}. "
            f"Of these, {int(chosen.sum()):,} are drawn, preferably large weights and errors."
        )


class Functions(ViewerPanel):
    """φ and ψ after every sweep, and the embeddings during their fit.

    Attributes:
        sweep: slider over the sweeps; its last position shows the networks.
        stage: slider over the stages of the embedding.
        types: one button per true type.
        true: whether the true functions are drawn behind.
    """

    def __init__(self, run: Run) -> None:
        self._types = run.simulate()[1].types
        self._history, self._scores = run.infer().history, run.score()
        sweeps, stages = len(self._history.sweeps), len(self._history.embedding_steps)
        self._neurons = evenly(len(self._types), CURVES)
        self._bound = float(self._scores.x.abs().max())
        unit = self._history.sweeps[0].title.split()[0]
        self.sweep = slider(unit, sweeps + 1, value=sweeps)
        self.stage = slider("embedding stage", stages, value=stages - 1)
        self.types = [
            ipywidgets.ToggleButton(
                value=True,
                description=f"type {k + 1}",
                style={"text_color": colour, "font_weight": "bold"},
                layout={"width": "5.5em"},
            )
            for k, colour in enumerate(colours(torch.arange(len(self._scores.x))))
        ]
        self.true = ipywidgets.Checkbox(True, description="true functions", indent=False)
        rows = [[player(self.sweep), self.sweep, self.stage], [*self.types, self.true]]
        super().__init__(viewers.functions(run), (9.6, 6.6), rows)
        self.follow(self.update, self.sweep, self.stage, *rows[1])

    def update(self, *_: Any) -> None:
        """Show the chosen sweep, stage and types."""
        sweeps = self._history.sweeps
        with self.redrawn(anew=True) as figure:
            axes = figure.subplots(2, 2)
            self._curves(axes[0, 0], "update", "φ(x) (1/time unit)")
            self._curves(axes[0, 1], "transfer", "ψ(x), largest 1")
            chosen = self._chosen()[self._types]
            cloud = self._history.embedding_steps[self.stage.value]
            plot_embedding(axes[1, 0], cloud[chosen], self._types[chosen])
            plot_loss(axes[1, 1], sweeps)
            now = sweeps[min(self.sweep.value, len(sweeps) - 1)]
            axes[1, 1].plot(now.index, now.loss, "o", color="#d00000", ms=8)
        networks = self.sweep.value == len(sweeps)
        what = "The networks" if networks else now.title.capitalize()
        loss = self._scores.metrics["loss.final"] if networks else now.loss
        self.tell(f"{what}: {loss:.2e} of the variance of dx/dt unexplained.")

    def _chosen(self) -> Tensor:
        return torch.tensor([one.value for one in self.types])

    def _curves(self, ax: Axes, kind: str, label: str) -> None:
        """The functions of the networks, or of single neurons at a sweep."""
        true, learned = (getattr(self._scores, f"{kind}_{of}") for of in ("true", "learned"))
        chosen = self._chosen().nonzero()[:, 0]
        if self.true.value:
            ax.plot(self._scores.x[chosen].T, true[chosen].T, color=TRUE_COLOUR, lw=6)
        if self.sweep.value == len(self._history.sweeps):
            for k, colour in zip(chosen, colours(chosen), strict=True):
                ax.plot(self._scores.x[k], learned[k], color=colour, lw=1.5)
        else:
            sweep = self._history.sweeps[self.sweep.value]
            neurons = self._neurons[self._chosen()[self._types[self._neurons]]]
            inside = sweep.knots.abs() <= self._bound
            values: Tensor = getattr(sweep, kind)
            largest = values[:, inside].abs().amax(1, keepdim=True).clamp_min(1e-12)
            values = values / (largest if kind == "transfer" else 1.0)
            tint = colours(self._types[neurons])
            plot_tables(ax, sweep, values[neurons], tint, label)
        low, high = viewers.ends(true)
        margin = 0.2 * (high - low)
        ax.set(xlim=(-self._bound, self._bound), ylim=(low - margin, high + margin))
        ax.set(xlabel="activity x", ylabel=label)


class Traces(ViewerPanel):
    """The activity of chosen neurons over any stretch of the recording (panel c).

    Attributes:
        neurons: list from which several may be chosen.
        stretch: first and last frame shown.
    """

    def __init__(self, run: Run) -> None:
        self._recording, truth = run.simulate()
        self._types = truth.types
        total, count = self._recording.activity.shape
        offered = evenly(count, viewers.TRACES).tolist()
        names = [(f"{j} (type {int(self._types[j]) + 1})", j) for j in offered]
        first = [j for _, j in names[:: max(1, len(names) // 10)]]
        self.neurons = ipywidgets.SelectMultiple(
            options=names, value=first, rows=5, description="neurons"
        )
        self.stretch = ipywidgets.IntRangeSlider(
            value=(0, min(total, viewers.TRACE_FRAMES) - 1),
            max=total - 1,
            step=max(1, total // 1000),
            description="frames",
            layout=ipywidgets.Layout(width="36em"),
        )
        buttons = [self._button(kind) for kind in (None, *self._types.unique().tolist())]
        rows = [[self.neurons, *buttons], [self.stretch]]
        super().__init__(viewers.traces(run), (9.6, 5.4), rows)
        self.follow(self.update, self.neurons, self.stretch)

    def _button(self, kind: int | None) -> ipywidgets.Button:
        """A button that chooses all neurons of a type, or all neurons."""
        name = "all" if kind is None else f"type {kind + 1}"
        button = ipywidgets.Button(description=name, layout={"width": "5.5em"})

        def choose(_: ipywidgets.Button) -> None:
            offered = [j for _, j in self.neurons.options]
            self.neurons.value = [j for j in offered if kind in (None, int(self._types[j]))]

        button.on_click(choose)
        return button

    def update(self, *_: Any) -> None:
        """Show the chosen neurons and frames."""
        chosen = torch.tensor(self.neurons.value, dtype=torch.long)
        first, last = self.stretch.value
        shown = self._recording.activity[first : last + 1][:, chosen]
        with self.redrawn(anew=True) as figure:
            ax = figure.subplots()
            frames, series = extremes(shown)
            spacing = viewers.SPACING
            plot_traces(
                ax, first + frames, series, chosen, self._types[chosen], spacing, named=20
            )
            ax.set_xlim(first, max(last, first + 1))
        if not len(chosen):
            self.tell("Choose a neuron.")
            return
        self.tell(
            f"{len(chosen)} neurons, drawn {viewers.SPACING:.0f} apart, frames "
            f"{first:,} to {last:,}: standard deviation {float(shown.std()):.2f}."
        )


movie, connectivity, functions, traces = Movie, Connectivity, Functions, Traces
playground, training = Playground, Training
