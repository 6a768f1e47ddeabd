"""A picture with its controls in a notebook, redrawn in place by the kernel."""

import base64
import html
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets
import torch
import traitlets
from matplotlib.figure import Figure

from figures_lib.draw import figures
from figures_lib.runs.notebooks import VIEW

RESOLUTION = 100  # pixels an inch
_drawing = threading.RLock()  # matplotlib's settings belong to the process, not to a thread


class Canvas:
    """A matplotlib figure as a PNG image in the page of a notebook.

    Args:
        width: of the figure [inches].
        height: of the figure [inches].
        label: what it shows, in words above it.
    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self.figure = Figure((width, height), dpi=RESOLUTION)
        fit = ipywidgets.Layout(width=f"{width * RESOLUTION:.0f}px", max_width="100%")
        self.label = label  # no tooltip: the browser's part of an Image fails on one
        self.image = ipywidgets.Image(format="png", layout=fit)

    @contextmanager
    def redrawn(self, layout: bool = False) -> Iterator[Figure]:
        """Hands out the figure to be changed, and shows the result.

        Args:
            layout: arrange the axes anew; otherwise they stay where they were, which is
                faster and keeps a moving picture still.
        """
        with _drawing, figures.style():
            if layout:  # before colour bars are made, whose place depends on it
                self.figure.set_layout_engine("constrained")
            yield self.figure
            png = io.BytesIO()
            self.figure.savefig(png, format="png", pil_kwargs={"compress_level": 1})
            self.figure.set_layout_engine("none")
            self.image.value = png.getvalue()


class Panel:
    """Controls above a picture, a line of text below it.

    In a notebook with a kernel it is a widget; what is kept in an executed notebook, and shown
    by the built site, is ``still``.

    Args:
        canvas: the picture.
        controls: rows of controls.
    """

    def __init__(
        self, canvas: Canvas, controls: Sequence[Sequence[ipywidgets.DOMWidget]]
    ) -> None:
        self.canvas = canvas
        self.told = ipywidgets.HTML()
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        rows = [ipywidgets.HBox(list(row), layout=wrap) for row in controls]
        self.box = ipywidgets.VBox(
            [*rows, ipywidgets.Label(canvas.label), canvas.image, self.told]
        )

    def tell(self, text: str) -> None:
        """Say something in the line below the picture."""
        self.told.value = f'<span role="status">{html.escape(text)}</span>'

    def still(self) -> Mapping[str, Any]:
        """What stands for the panel where there is no kernel: its picture, as it is now."""
        return {"image/png": base64.b64encode(self.canvas.image.value).decode()}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        view = self.box._repr_mimebundle_()[VIEW]
        return {"text/plain": f"<{type(self).__name__}>", **self.still(), VIEW: view}


def slider(label: str, count: int, step: int = 1, value: int = 0) -> ipywidgets.IntSlider:
    """A slider over 0 … count − 1, which the arrow keys move by ``step``."""
    return ipywidgets.IntSlider(
        value=value,
        max=count - 1,
        step=step,
        description=label,
        style={"description_width": "initial"},
        layout=ipywidgets.Layout(width="26em"),
        readout_format=",d",
    )


def player(moved: ipywidgets.IntSlider) -> ipywidgets.Play:
    """Buttons that play a slider, in the browser."""
    play = ipywidgets.Play(interval=200)
    for name in ("max", "step"):
        traitlets.dlink((moved, name), (play, name))
    ipywidgets.jslink((play, "value"), (moved, "value"))
    return play


def type_toggles(count: int) -> list[ipywidgets.ToggleButton]:
    """A button a neuron type, in its colour, pressed at first."""
    return [
        ipywidgets.ToggleButton(
            value=True,
            description=f"type {k + 1}",
            style={"text_color": colour, "font_weight": "bold"},
            layout=ipywidgets.Layout(width="5.5em"),
        )
        for k, colour in enumerate(figures.colours(torch.arange(count)))
    ]
