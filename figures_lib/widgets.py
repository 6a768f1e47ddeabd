"""What moves in a notebook."""

import time

import matplotlib.pyplot as plt
import torch
from IPython.display import display

from figures_lib import figures
from figures_lib.model import Sweep

SHOWN = 60  # neurons whose functions are drawn while they form


class LiveProgress:
    """Redraws loss and learned functions in place while inference runs.

    Pass an instance as ``progress``; it is called after every sweep and draws at most every
    ``interval`` seconds. It sees nothing but the estimate: neither truth nor scores.

    Args:
        interval: least time between two redraws [s].
    """

    def __init__(self, interval: float = 3.0) -> None:
        self.interval = interval
        self.sweeps: list[Sweep] = []
        self._drawn = -float("inf")
        self._handle = None

    def __call__(self, sweep: Sweep) -> None:
        """Take note of a sweep and redraw if the last picture is old enough."""
        self.sweeps.append(sweep)
        if time.monotonic() - self._drawn >= self.interval:
            self.draw()

    def draw(self) -> None:
        """Show the state after the last sweep; call it once more at the end."""
        if not self.sweeps:
            return
        picture = self._picture()
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        plt.close(picture)
        self._drawn = time.monotonic()

    def _picture(self) -> plt.Figure:
        last = self.sweeps[-1]
        chosen = torch.linspace(0, len(last.update) - 1, min(SHOWN, len(last.update))).long()
        grey = ["0.3"] * len(chosen)
        with figures.style():
            picture, axes = plt.subplots(1, 3, figsize=(10, 3))
            figures.plot_loss(axes[0], self.sweeps)
            figures.plot_tables(axes[1], last, last.update[chosen], grey, "φ$_i$(x)")
            figures.plot_tables(axes[2], last, last.transfer[chosen], grey, "ψ$_i$(x)")
            axes[0].set_title(f"sweep {last.index}: {last.loss:.1e} unexplained")
        return picture
