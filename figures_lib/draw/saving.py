"""Figures as files of a run."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from figures_lib.draw.style import style
from figures_lib.runs.files import part_of, writing
from figures_lib.runs.run import Run

UNDATED = {"png": None, "svg": {"Date": None}}  # the same result is the same file


def save_figure(run: Run, figure: Figure, name: str) -> Figure:
    """Write a figure as ``figures/NAME.png`` and ``.svg``; return it for display.

    Raises:
        StorageError: the disk is full or not writable.
    """
    folder = run.out / "figures"
    with writing(folder), style(), plt.rc_context({"svg.hashsalt": name}):
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "svg"):
            place = folder / f"{name}.{suffix}"
            part = part_of(place)
            figure.savefig(part, dpi=150, bbox_inches="tight", metadata=UNDATED[suffix])
            part.replace(place)
    plt.close(figure)  # or the notebook would show it twice
    return figure
