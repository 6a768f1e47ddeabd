"""Inference while it runs: watched, stopped and continued at will."""

import threading
import time
from collections.abc import Iterator

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import display

from figures_lib.draw import figures
from figures_lib.infer.algorithm import reported
from figures_lib.infer.unknowns import State
from figures_lib.model.inferred import SweepReport
from figures_lib.score.scoring import gauge_free_r2, match_types
from figures_lib.show.canvas import Canvas, Panel
from figures_lib.show.playground import Playground

BEGIN, STOP, GO_ON = "train", "stop", "go on"


class LiveProgress:
    """Redraws loss and learned functions in place while inference runs.

    Pass an instance as ``progress``; it is called after every sweep and draws at most every
    ``interval`` seconds. It sees nothing but the estimate: neither truth nor scores.

    Args:
        interval: least time between two redraws [s].
    """

    def __init__(self, interval: float = 3.0) -> None:
        self.interval = interval
        self.sweeps: list[SweepReport] = []
        self._drawn = -float("inf")
        self._handle = None

    def __call__(self, sweep: SweepReport) -> None:
        """Take note of a sweep and redraw if the last picture is old enough."""
        self.sweeps.append(sweep)
        if time.monotonic() - self._drawn >= self.interval:
            self.draw()

    def draw(self) -> None:
        """Show the state after the last sweep; call it once more at the end."""
        if not self.sweeps:
            return
        with figures.style():
            picture, axes = plt.subplots(1, 3, figsize=(10, 3))
            figures.plot_progress(axes, self.sweeps)
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        plt.close(picture)
        self._drawn = time.monotonic()


class Training(Panel):
    """Inference on the network of a playground, sweep by sweep.

    A thread computes the sweeps, so that everything else stays responsive. It can be stopped
    after any sweep; the estimate reached is kept, and training goes on from it, unless the
    playground has another network by then, with which it begins anew. Training is given the
    recording; the truth is asked for once it has stopped, to score.

    Args:
        play: whose recording is learned from.

    Attributes:
        button: starts, stops and continues.
        state: the estimate reached, with the data that it was found from.
        sweeps: what the sweeps reported so far.
        over: whether there is nothing to continue.
    """

    def __init__(self, play: Playground) -> None:
        self.play = play
        self.button = ipywidgets.Button(description=BEGIN, icon="play", button_style="primary")
        self.button.on_click(self._clicked)
        label = "Loss and functions of single neurons while inference runs"
        super().__init__(Canvas(9.6, 3.2, label), [[self.button]])
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin()
        self._take(*next(self._coming))
        self.tell("The first sweep is done.")

    @property
    def running(self) -> bool:
        """Whether sweeps are being computed."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, or go on from where training was stopped."""
        if self.running:
            return
        if self.play.recording is not self._recording or self.over:
            self._begin()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._label(STOP, "stop")
        self._thread.start()

    def stop(self) -> None:
        """Stop after the sweep under way."""
        self._stopping.set()

    def wait(self) -> None:
        """Return once training has stopped."""
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        self.sweeps: list[SweepReport] = []
        self.state: State | None = None
        self.over = False
        self._recording, self._truth = self.play.recording, self.play.truth
        self._coming: Iterator[tuple[State, SweepReport]] = reported(
            self._recording, self.play.experiment.learner
        )

    def _clicked(self, _: ipywidgets.Button) -> None:
        self.stop() if self.running else self.start()

    def _work(self) -> None:
        """What the thread does."""
        problem = ""
        try:
            for state, sweep in self._coming:
                self._take(state, sweep)
                if self._stopping.is_set():
                    break
            else:
                self.over = True
        except RuntimeError as error:  # an InferenceError, or no memory is left
            problem, self.over = f"{error}. ", True
        self._label(BEGIN if self.over else GO_ON, "play")
        self.tell(problem + self._scored())

    def _take(self, state: State, sweep: SweepReport) -> None:
        """Keep the estimate of a sweep, and show it."""
        self.state = state
        self.sweeps.append(sweep)
        with self.canvas.redrawn(layout=True) as figure:
            figure.clear()
            figures.plot_progress(figure.subplots(1, 3), self.sweeps)
        self.tell(f"SweepReport {sweep.index}: {sweep.loss:.2e} of the variance unexplained.")

    def _scored(self) -> str:
        """How far it came; the only line that uses the truth."""
        if self.state is None:
            return "No sweep was completed."
        r2 = gauge_free_r2(self._truth.connectivity, self.state.estimate.connectivity)
        text = (
            f"Stopped after sweep {self.sweeps[-1].index}{', the last' if self.over else ''}. "
            f"Scored with the truth: R² of the weights {r2:.4f}, row and column scales fitted"
        )
        if self.state.types is None:
            return f"{text}; types are not yet looked for."
        accuracy, *_ = match_types(self.state.types, self._truth.types)
        found = int(self.state.types.max()) + 1
        return f"{text}; {found} types found, {accuracy:.0%} of the neurons in the right one."

    def _label(self, text: str, icon: str) -> None:
        self.button.description, self.button.icon = text, icon


def training(play: Playground) -> Training:
    """Inference on the network of a playground, to be started and stopped at will."""
    return Training(play)
