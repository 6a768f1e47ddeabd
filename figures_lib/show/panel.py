"""A picture with its controls in a notebook, redrawn in place by the kernel."""

import base64
import html
import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets
import traitlets
from matplotlib.figure import Figure

from figures_lib.draw.style import style
from figures_lib.runs.notebooks import VIEW

RESOLUTION = 100  # pixels per inch
Rows = Sequence[Sequence[ipywidgets.DOMWidget]]
_drawing = threading.RLock()  # matplotlib's settings belong to the process, not to a thread


class Panel:
    """Controls above a matplotlib figure, a line of text below it.

    In a notebook with a kernel it is a widget. An executed notebook keeps ``still``, which the
    built site shows.

    Args:
        size: width and height of the figure [inches].
        label: what it shows, in words above it.
        controls: rows of controls.

    Attributes:
        image: the figure as PNG.
        status: the line of text.
    """

    def __init__(self, size: tuple[float, float], label: str, controls: Rows) -> None:
        self._figure = Figure(size, dpi=RESOLUTION)
        fit = ipywidgets.Layout(width=f"{size[0] * RESOLUTION:.0f}px", max_width="100%")
        # without a tooltip, on which Image fails in the browser
        self.image = ipywidgets.Image(format="png", layout=fit)
        self.status = ipywidgets.HTML()
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        rows = [ipywidgets.HBox(list(row), layout=wrap) for row in controls]
        self.box = ipywidgets.VBox([*rows, ipywidgets.Label(label), self.image, self.status])

    @contextmanager
    def redrawn(self, anew: bool = False) -> Iterator[Figure]:
        """Yield the figure to be changed, then show the result.

        Args:
            anew: clear the figure, and arrange its new axes; otherwise the axes keep their
                places, which is faster and prevents jumps in a moving picture.
        """
        with _drawing, style():
            if anew:  # before colour bars are made, whose place depends on it
                self._figure.clear()
                self._figure.set_layout_engine("constrained")
            yield self._figure
            png = io.BytesIO()
            self._figure.savefig(png, format="png", pil_kwargs={"compress_level": 1})
            self._figure.set_layout_engine("none")
            self.image.value = png.getvalue()

    def follow(self, update: Callable[..., None], *controls: ipywidgets.DOMWidget) -> None:
        """Call ``update`` now, and whenever the value of a control changes."""
        for control in controls:
            control.observe(update, "value")
        update()

    def tell(self, text: str) -> None:
        """Show a text in the line below the picture."""
        self.status.value = f'<span role="status">{html.escape(text)}</span>'

    def still(self) -> Mapping[str, Any]:
        """The output without a kernel: the picture as it is now, by MIME type."""
        return {"image/png": base64.b64encode(self.image.value).decode()}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        view = self.box._repr_mimebundle_()[VIEW]
        return {"text/plain": f"<{type(self).__name__}>", **self.still(), VIEW: view}


def labelled(
    kind: type[ipywidgets.DOMWidget], label: str, width: str | None = None, **options: Any
) -> ipywidgets.DOMWidget:
    """A control beside a label that is as wide as its text."""
    look = {"layout": {"width": width}, "style": {"description_width": "initial"}}
    return kind(description=label, **look, **options)


def slider(label: str, count: int, step: int = 1, value: int = 0) -> ipywidgets.IntSlider:
    """A slider over 0 … count − 1, which the arrow keys move by ``step``."""
    options = {"value": value, "max": count - 1, "step": step, "readout_format": ",d"}
    return labelled(ipywidgets.IntSlider, label, "26em", **options)


def player(moved: ipywidgets.IntSlider) -> ipywidgets.Play:
    """Buttons that play a slider, in the browser."""
    play = ipywidgets.Play(interval=200)
    for name in ("max", "step"):
        traitlets.dlink((moved, name), (play, name))
    ipywidgets.jslink((play, "value"), (moved, "value"))
    return play
