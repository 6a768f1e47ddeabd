"""Panels d and e: learned against true values."""

import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from figures_lib.draw.style import say_no_field, style


@style()
def comparison(
    true: Tensor, learned: Tensor, r2: float, slope: float | None, name: str, letter: str
) -> Figure:
    """Figure 3 d or e: density of learned against true values, with R² and slope."""
    figure, ax = plt.subplots(figsize=(4.8, 4.2))
    ax.set_title(letter, loc="left", fontweight="bold")
    if not true.numel():
        say_no_field(ax)
        return figure
    x, y = true.flatten().numpy(), learned.flatten().numpy()
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    shown = ax.hist2d(
        x, y, bins=200, range=[[low, high]] * 2, norm=LogNorm(), cmap="viridis", rasterized=True
    )[3]
    ax.plot([low, high], [low, high], color="0.5", lw=0.8, ls="--")
    figure.colorbar(shown, ax=ax, label="count", shrink=0.8)
    ax.set(aspect="equal", xlabel=f"true {name}", ylabel=f"learned {name}")
    text = f"R² = {r2:.4f}" + ("" if slope is None else f"\nslope = {slope:.3f}")
    ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top")
    return figure
