"""The same figure for a dark page: light ink on a dark ground, and all hues as they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

GROUND, INK = (0x12, 0x12, 0x12), (0xCE, 0xD6, 0xDD)  # of the theme, for white and black
GREY = 0.08  # range of red, green and blue up to which a colour has no hue
COLOURS: tuple[tuple[type[Artist], tuple[str, ...]], ...] = (
    (Text, ("color",)),
    (Line2D, ("color", "markerfacecolor", "markeredgecolor")),
    (Patch, ("facecolor", "edgecolor")),
    (Collection, ("facecolor", "edgecolor")),
)


@contextmanager
def darkened(figure: Figure) -> Iterator[None]:
    """Draw a figure on a dark ground as long as the context lasts.

    Colours that stand for numbers, those of images and of mapped points, stay as they are.
    """
    figure.canvas.draw()  # ticks and labels come into being
    undo: list[Callable[[], Any]] = []
    for artist in figure.findobj():
        for name in _coloured(artist):
            before = getattr(artist, f"get_{name}")()
            if isinstance(before, str) and before in ("auto", "none"):
                continue
            change = getattr(artist, f"set_{name}")
            undo.append(lambda change=change, before=before: change(before))
            change(_swapped(before))
    try:
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _coloured(artist: Artist) -> tuple[str, ...]:
    if isinstance(artist, Collection) and artist.get_array() is not None:
        return ()
    return next((names for kind, names in COLOURS if isinstance(artist, kind)), ())


def _swapped(colour: Any) -> Any:
    """Grey values between ground and ink instead of white and black; others as they are."""
    rgba = to_rgba_array(colour)
    grey = np.ptp(rgba[:, :3], axis=1) < GREY
    white = rgba[grey, :3].mean(1, keepdims=True)
    ground, ink = (np.array(one) / 255 for one in (GROUND, INK))
    rgba[grey, :3] = white * ground + (1 - white) * ink
    return rgba if len(rgba) != 1 else rgba[0]
