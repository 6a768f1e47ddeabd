"""Figures as files of a run."""

from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from figures_lib.draw.dark import darkened
from figures_lib.draw.style import style
from figures_lib.runs.files import part_of, writing
from figures_lib.runs.own import OwnRun
from figures_lib.runs.run import Run

UNDATED = {"png": None, "svg": {"Date": None}}  # the same result is the same file


def save_figure(run: Run | OwnRun, figure: Figure, name: str) -> Figure:
    """Write a figure as ``figures/NAME.png`` and ``.svg``; return it for display.

    ``figures/dark/NAME.png`` is for a dark page, of the size at which a notebook shows it.

    Raises:
        StorageError: the disk is full or not writable.
    """
    folder = run.out / "figures"
    with writing(folder), style(), plt.rc_context({"svg.hashsalt": name}):
        (folder / "dark").mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "svg"):
            _save(figure, folder / f"{name}.{suffix}", dpi=150)
        with darkened(figure):
            _save(figure, folder / "dark" / f"{name}.png", dpi="figure")
    plt.close(figure)  # or the notebook would show it twice
    return figure


def _save(figure: Figure, place: Path, dpi: int | Literal["figure"]) -> None:
    part = part_of(place)
    figure.savefig(part, dpi=dpi, bbox_inches="tight", metadata=UNDATED[place.suffix[1:]])
    part.replace(place)
