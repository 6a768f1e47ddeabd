"""The look that all figures share: colours of types, fonts, legends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import torch
from jaxtyping import Int
from matplotlib.axes import Axes
from torch import Tensor

TYPE_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#8C6D31", "#5254A3", "#637939", "#7B4173"),
)
TRUE_COLOUR = "#c9c9c9"
CURVES = 60  # neurons whose functions are drawn during inference
NO_FIELD = "no neuron is modulated"  # shown in place of a field
STYLE: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "path",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, as a context or a decorator.

    It starts from the defaults of matplotlib, not from a matplotlibrc of the user.
    """
    with plt.rc_context():
        matplotlib.rcdefaults()
        plt.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def colours(types: Int[Tensor, " neuron"]) -> list[str]:
    """The colour of each neuron's type."""
    return [TYPE_COLOURS[int(k) % len(TYPE_COLOURS)] for k in types]


def evenly(total: int, count: int) -> Int[Tensor, " chosen"]:
    """Up to ``count`` of the indices 0 … total − 1, evenly spaced, the last among them."""
    count = min(total, count)
    return torch.arange(count) * (total - 1) // max(1, count - 1)


def type_legend(ax: Axes, types: Int[Tensor, " neuron"], prefix: str = "") -> None:
    """A legend of the types that occur, with their colours."""
    for k in types.unique().tolist():
        colour, label = TYPE_COLOURS[k % len(TYPE_COLOURS)], f"{prefix}type {k + 1}"
        ax.plot([], [], "-", lw=3, color=colour, label=label)
    ax.legend(fontsize=8)


def say_no_field(ax: Axes) -> None:
    """Write, in place of a field, that no neuron is modulated."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, NO_FIELD, transform=ax.transAxes, ha="center")
