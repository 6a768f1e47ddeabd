"""What the learned connectivity does as a whole, beside the true one."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures_lib.draw.style import TRUE_COLOUR, TYPE_COLOURS, style
from figures_lib.score.scoring import Scores
from figures_lib.score.spectrum import LARGEST


@style()
def spectra(scores: Scores) -> Figure:
    """Eigenvalues, alignment of leading eigenvectors, and what every neuron receives."""
    figure, (plane, alignment, received) = plt.subplots(1, 3, figsize=(10.5, 3.5))
    if len(scores.alignment):
        _plot_eigenvalues(plane, scores)
        ranks = np.arange(1, len(scores.alignment) + 1)
        alignment.plot(ranks, scores.alignment, "o-", color=TYPE_COLOURS[0])
        alignment.set(ylim=(0, 1.05), xlabel="rank of the eigenvalue", ylabel="|⟨v, v*⟩|")
        alignment.set_xticks(ranks)
    else:
        for ax in (plane, alignment):
            ax.set_axis_off()
        plane.text(0, 0.5, f"not computed for more than {LARGEST:,} neurons", va="center")
    plane.set_title("eigenvalues")
    alignment.set_title("leading eigenvectors")
    _plot_received(received, scores)
    received.set_title("sums of the weights of a receiver")
    return figure


def _plot_eigenvalues(ax: Axes, scores: Scores) -> None:
    ax.plot(*scores.eigenvalues_true.T, "o", color=TRUE_COLOUR, ms=5, label="of W")
    ax.plot(*scores.eigenvalues_learned.T, ".", color=TYPE_COLOURS[0], ms=3, label="of W*")
    ax.set(xlabel="real part", ylabel="imaginary part")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(fontsize=8, loc="upper right", frameon=True, framealpha=0.9)
    for line in ax.lines:
        line.set_rasterized(True)


def _plot_received(ax: Axes, scores: Scores) -> None:
    ax.axline((0, 0), slope=1, color="0.5", lw=0.8, ls="--")
    for sign, name, colour in (
        (1, "excitation", TYPE_COLOURS[1]),
        (-1, "inhibition", TYPE_COLOURS[0]),
    ):
        true, learned = (
            (sign * weights).clamp_min(0).sum(1)
            for weights in (scores.connectivity_true, scores.connectivity_learned)
        )
        ax.plot(true, learned, ".", color=colour, ms=4, alpha=0.6, label=name, rasterized=True)
    ax.set(xlabel="true", ylabel="learned")
    ax.legend(fontsize=8, loc="upper left")
