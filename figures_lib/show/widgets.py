"""Widgets: the viewers of the site as a kernel shows them, of all frames and all weights.

Each function here writes the data of its viewer, as :mod:`figures_lib.show.viewers` does, and
returns a widget. A notebook with a kernel shows the widget, the built site the viewer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from torch import Tensor

from figures_lib.draw import figures
from figures_lib.runs.run import Run
from figures_lib.score.scoring import fit_scales
from figures_lib.show import viewers
from figures_lib.show.canvas import Canvas, Panel, player, slider, type_toggles
from figures_lib.show.playground import playground as playground
from figures_lib.show.training import training as training
from figures_lib.show.viewers import Viewer
from figures_lib.simulate.movie import images_from_grid

HINT = "moves in the built site, where scripts may run, and in JupyterLab once its cell is run"
FIELD_SAMPLE = 9  # frames from which the range of the field's error is told


class ViewerPanel(Panel):
    """A panel in whose place the built site shows a viewer."""

    def __init__(
        self,
        viewer: Viewer,
        canvas: Canvas,
        controls: Sequence[Sequence[ipywidgets.DOMWidget]],
    ) -> None:
        super().__init__(canvas, controls)
        self.viewer = viewer

    def still(self) -> Mapping[str, Any]:
        """The place holder of the viewer."""
        return {"text/html": replace(self.viewer, hint=HINT)._repr_html_()}


class Movie(ViewerPanel):
    """Ω, Ω*, their difference and the activity at any frame.

    Attributes:
        frame: slider over all frames.
    """

    def __init__(self, run: Run) -> None:
        self.recording, self.truth = run.simulate()
        self.model = run.infer()
        total = len(self.recording.activity)
        self.frame = slider("frame", total, max(1, total // viewers.MOVIE_FRAMES))
        viewer = viewers.movie(run)
        canvas = Canvas(9.6, 6.4, viewer.label)
        super().__init__(viewer, canvas, [[player(self.frame), self.frame]])
        self._draw_first()
        self.frame.observe(self.update, "value")
        self.update()

    def _draw_first(self) -> None:
        activity = self.recording.activity
        sample = figures.evenly(len(activity), FIELD_SAMPLE)
        bound = viewers.round_up(3 * float(activity[sample].std()))
        with self.canvas.redrawn(layout=True) as figure:
            modulated = bool(self.recording.modulated.any())
            axes = figure.subplot_mosaic("ABC;DDD" if modulated else "D")
            self._images = self._maps(axes, sample) if modulated else []
            figures.plot_layout(
                axes["D"],
                self.recording.positions,
                activity[0],
                "activity x$_i$",
                "RdBu_r",
                (-bound, bound),
            )
            (self._points,) = axes["D"].collections

    def _maps(self, axes: Mapping[str, Axes], sample: Int[Tensor, " frame"]) -> list[AxesImage]:
        """The field, true and learned, and its error, whose range is that of some frames."""
        limits = viewers.ends(self.truth.field)
        error = self.model.field(sample) - self.truth.field_at(sample)
        spread = viewers.round_up(3 * float(error.std()))
        name = "difference Ω* − Ω"
        return [
            figures.plot_field(axes["A"], error[0], "true Ω", limits),
            figures.plot_field(axes["B"], error[0], "learned Ω*", limits),
            figures.plot_field(axes["C"], error[0], name, (-spread, spread), "RdBu_r"),
        ]

    def update(self, *_: Any) -> None:
        """Show the chosen frame."""
        frame = self.frame.value
        chosen = torch.tensor([frame])
        true, learned = self.truth.field_at(chosen)[0], self.model.field(chosen)[0]
        with self.canvas.redrawn():
            if self._images:
                for image, values in zip(
                    self._images, (true, learned, learned - true), strict=True
                ):
                    image.set_data(images_from_grid(values))
            self._points.set_array(self.recording.activity[frame])
        error = float((learned - true).square().mean().sqrt())
        field = f"root mean square difference {error:.3f}" if self._images else figures.NO_FIELD
        self.tell(
            f"Frame {frame:,} of {len(self.recording.activity):,} "
            f"(t = {frame * self.recording.time_step:.2f}): {field}, standard deviation of the "
            f"activity {float(self.recording.activity[frame].std()):.2f}."
        )


class Connectivity(ViewerPanel):
    """Learned against true weights by types, with R² and slope of all that are chosen.

    Attributes:
        sender: type of the sending neuron j; the number of types stands for all.
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
        viewer = viewers.connectivity(run)
        rows = [[self.sender, self.receiver], [self.scales, self.zoom]]
        super().__init__(viewer, Canvas(6.4, 5.4, viewer.label), rows)
        for control in (self.sender, self.receiver, self.scales, self.zoom):
            control.observe(self.update, "value")
        self.update()

    def _type_choice(self, label: str) -> ipywidgets.Dropdown:
        count = int(self._types.max()) + 1
        names = [("all", count), *((f"type {k + 1}", k) for k in range(count))]
        style = {"description_width": "initial"}
        return ipywidgets.Dropdown(options=names, description=label, style=style)

    def update(self, *_: Any) -> None:
        """Show the chosen edges."""
        sender, receiver, scales = self.sender.value, self.receiver.value, self.scales.value
        count, learned = len(self._scores[scales]) - 1, self._learned[scales]
        chosen = (self._senders == sender) | torch.tensor(sender == count)
        chosen &= (self._receivers == receiver) | torch.tensor(receiver == count)
        bound = 1.05 * float(torch.stack([self._true, learned]).abs().max())
        bound /= self.zoom.value
        with self.canvas.redrawn(layout=True) as figure:
            figure.clear()
            ax = figure.subplots()
            ax.plot([-bound, bound], [-bound, bound], color="0.5", lw=0.8, ls="--")
            tint = figures.colours(self._senders[chosen])
            ax.scatter(self._true[chosen], learned[chosen], c=tint, s=5, alpha=0.5, lw=0)
            figures.type_legend(ax, torch.arange(count), "sender of ")
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
            f"Drawn are {int(chosen.sum()):,} of them, large weights and errors more often."
        )


class Functions(ViewerPanel):
    """φ and ψ after every sweep, and the embedding cloud while it forms.

    Attributes:
        sweep: slider over the sweeps; after the last, the networks.
        stage: slider over the stages of the embedding.
        types: a button a true type.
        true: whether the true functions are drawn below.
    """

    def __init__(self, run: Run) -> None:
        self._types = run.simulate()[1].types
        self._history, self._scores = run.infer().history, run.score()
        sweeps, stages = len(self._history.sweeps), len(self._history.embedding_steps)
        self._neurons = figures.evenly(len(self._types), figures.CURVES)
        self._bound = float(self._scores.x.abs().max())
        self.sweep = slider("sweep", sweeps + 1, value=sweeps)
        self.stage = slider("embedding stage", stages, value=stages - 1)
        self.types = type_toggles(len(self._scores.x))
        self.true = ipywidgets.Checkbox(True, description="true functions", indent=False)
        viewer = viewers.functions(run)
        rows = [[player(self.sweep), self.sweep, self.stage], [*self.types, self.true]]
        super().__init__(viewer, Canvas(9.6, 6.6, viewer.label), rows)
        for control in (self.sweep, self.stage, *self.types, self.true):
            control.observe(self.update, "value")
        self.update()

    def update(self, *_: Any) -> None:
        """Show the chosen sweep, stage and types."""
        sweeps, scores = self._history.sweeps, self._scores
        with self.canvas.redrawn(layout=True) as figure:
            figure.clear()
            axes = figure.subplots(2, 2)
            name = "φ(x) (1/time unit)"
            self._curves(axes[0, 0], "update", scores.update_true, scores.update_learned, name)
            name = "ψ(x), largest 1"
            curves = scores.transfer_true, scores.transfer_learned
            self._curves(axes[0, 1], "transfer", *curves, name)
            chosen = self._chosen()[self._types]
            cloud = self._history.embedding_steps[self.stage.value]
            figures.plot_embedding(axes[1, 0], cloud[chosen], self._types[chosen])
            figures.plot_loss(axes[1, 1], sweeps)
            now = sweeps[min(self.sweep.value, len(sweeps) - 1)]
            axes[1, 1].plot(now.index, now.loss, "o", color="#d00000", ms=8)
        networks = self.sweep.value == len(sweeps)
        what = "The networks" if networks else f"SweepReport {now.index}"
        loss = scores.metrics["loss.final"] if networks else now.loss
        self.tell(f"{what}: {loss:.2e} of the variance of dx/dt unexplained.")

    def _chosen(self) -> Tensor:
        return torch.tensor([one.value for one in self.types])

    def _curves(
        self,
        ax: Axes,
        kind: str,
        true: Float[Tensor, "type x"],
        learned: Float[Tensor, "type x"],
        label: str,
    ) -> None:
        """The functions of the networks, or of single neurons at a sweep."""
        chosen = self._chosen().nonzero()[:, 0]
        if self.true.value:
            for k in chosen:
                ax.plot(self._scores.x[k], true[k], color=figures.TRUE_COLOUR, lw=6)
        if self.sweep.value == len(self._history.sweeps):
            for k, colour in zip(chosen, figures.colours(chosen), strict=True):
                ax.plot(self._scores.x[k], learned[k], color=colour, lw=1.5)
        else:
            sweep = self._history.sweeps[self.sweep.value]
            neurons = self._neurons[self._chosen()[self._types[self._neurons]]]
            inside = sweep.knots.abs() <= self._bound
            values: Tensor = getattr(sweep, kind)
            largest = values[:, inside].abs().amax(1, keepdim=True).clamp_min(1e-12)
            values = values / (largest if kind == "transfer" else 1.0)
            tint = figures.colours(self._types[neurons])
            figures.plot_tables(ax, sweep, values[neurons], tint, label)
        low, high = viewers.ends(true)
        margin = 0.2 * (high - low)
        ax.set(xlim=(-self._bound, self._bound), ylim=(low - margin, high + margin))
        ax.set(xlabel="activity x", ylabel=label)


class Traces(ViewerPanel):
    """The activity of chosen neurons over any stretch of the whole recording.

    Attributes:
        neurons: list from which several may be chosen.
        stretch: first and last frame shown.
    """

    def __init__(self, run: Run) -> None:
        self._recording, truth = run.simulate()
        self._types = truth.types
        total, count = self._recording.activity.shape
        offered = figures.evenly(count, viewers.TRACES).tolist()
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
        buttons = [self._button(name, kind) for name, kind in self._choices()]
        viewer = viewers.traces(run)
        rows = [[self.neurons, *buttons], [self.stretch]]
        super().__init__(viewer, Canvas(9.6, 5.4, viewer.label), rows)
        for control in (self.neurons, self.stretch):
            control.observe(self.update, "value")
        self.update()

    def _choices(self) -> list[tuple[str, int | None]]:
        kinds = self._types.unique().tolist()
        return [("all", None), *((f"type {kind + 1}", kind) for kind in kinds)]

    def _button(self, name: str, kind: int | None) -> ipywidgets.Button:
        """A button that chooses all neurons of a type, or all there are."""
        layout = ipywidgets.Layout(width="5.5em")
        button = ipywidgets.Button(description=name, layout=layout)

        def choose(_: ipywidgets.Button) -> None:
            offered = [j for _, j in self.neurons.options]
            wanted = [j for j in offered if kind is None or int(self._types[j]) == kind]
            self.neurons.value = wanted

        button.on_click(choose)
        return button

    def update(self, *_: Any) -> None:
        """Show the chosen neurons and frames."""
        chosen = torch.tensor(self.neurons.value, dtype=torch.long)
        first, last = self.stretch.value
        shown = self._recording.activity[first : last + 1][:, chosen]
        with self.canvas.redrawn(layout=True) as figure:
            figure.clear()
            ax = figure.subplots()
            frames, series = figures.extremes(shown)
            figures.plot_traces(
                ax, first + frames, series, chosen, self._types, viewers.SPACING, named=20
            )
            ax.set_xlim(first, max(last, first + 1))
        if not len(chosen):
            self.tell("Choose a neuron.")
            return
        self.tell(
            f"{len(chosen)} neurons, {viewers.SPACING:.0f} between their lines of rest, frames "
            f"{first:,} to {last:,}: standard deviation {float(shown.std()):.2f}."
        )


def movie(run: Run) -> Movie:
    """The hidden movie, true and learned, and the activity (Figure 3 a, b, e, f, g)."""
    return Movie(run)


def connectivity(run: Run) -> Connectivity:
    """Learned against true weights, edge by edge (panel d)."""
    return Connectivity(run)


def functions(run: Run) -> Functions:
    """Update and transfer functions and embeddings while they form."""
    return Functions(run)


def traces(run: Run) -> Traces:
    """The activity of chosen neurons (panel c)."""
    return Traces(run)
