"""Inference while it runs, to be watched, stopped and continued."""

import threading
import time
from collections.abc import Iterator

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import display

from figures_lib.draw.style import style
from figures_lib.draw.training import plot_progress
from figures_lib.infer.algorithm import regressed_on, reported
from figures_lib.infer.unknowns import State
from figures_lib.model.inferred import SweepReport
from figures_lib.score.scoring import gauge_free_r2, match_types
from figures_lib.show.panel import Panel
from figures_lib.show.playground import Playground

BEGIN, STOP, GO_ON = "train", "stop", "continue"


class LiveProgress:
    """Redraws loss and learned functions in place while inference runs.

    Pass an instance as ``progress``; it is called after every sweep and draws at most every
    ``interval`` seconds. It receives only the estimate: neither truth nor scores.

    Args:
        interval: least time between two redraws [s].
    """

    def __init__(self, interval: float = 3.0) -> None:
        self.interval = interval
        self.sweeps: list[SweepReport] = []
        self._drawn = -float("inf")
        self._handle = None

    def __call__(self, sweep: SweepReport) -> None:
        """Store a sweep and redraw if the last picture is old enough."""
        self.sweeps.append(sweep)
        if time.monotonic() - self._drawn >= self.interval:
            self.draw()

    def draw(self) -> None:
        """Show the state after the last sweep; call it once more at the end."""
        if not self.sweeps:
            return
        with style():
            picture, axes = plt.subplots(1, 3, figsize=(10, 3))
            plot_progress(axes, self.sweeps)
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        plt.close(picture)
        self._drawn = time.monotonic()


class Training(Panel):
    """Inference on the network of a playground, sweep by sweep.

    A thread computes the sweeps, so that everything else stays responsive. It can be stopped
    after any sweep. The estimate is kept, and training continues from it; if the playground
    has another network by then, training starts from the beginning. It reads the recording
    only; the truth is used after training has stopped, for the score.

    Args:
        play: the playground whose recording is learned from.

    Attributes:
        button: starts, stops and continues.
        state: the last estimate, with the data that it was computed from.
        sweeps: reports of the sweeps so far.
        over: whether training has ended and cannot be continued.
    """

    def __init__(self, play: Playground) -> None:
        self.play = play
        self.button = ipywidgets.Button(description=BEGIN, icon="play", button_style="primary")
        self.button.on_click(self._clicked)
        label = "Loss and functions of single neurons while inference runs"
        super().__init__((9.6, 3.2), label, [[self.button]])
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin()
        self._take(*next(self._remaining))
        self.tell("The first sweep is done.")

    @property
    def running(self) -> bool:
        """Whether sweeps are being computed."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start training, or continue where it was stopped."""
        if self.running:
            return
        if self.play.recording is not self._recording or self.over:
            self._begin()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.button.description, self.button.icon = STOP, "stop"
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current sweep."""
        self._stopping.set()

    def wait(self) -> None:
        """Wait until training has stopped."""
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        self.sweeps: list[SweepReport] = []
        self.state: State | None = None
        self.over = False
        self._recording, self._truth = self.play.recording, self.play.truth
        learner = self.play.experiment.learner
        self._remaining: Iterator[tuple[State, SweepReport]] = reported(
            regressed_on(self._recording, learner), learner
        )

    def _clicked(self, _: ipywidgets.Button) -> None:
        self.stop() if self.running else self.start()

    def _work(self) -> None:
        """The work of the thread: sweeps until the last one, or until it is stopped."""
        problem = ""
        try:
            for state, sweep in self._remaining:
                self._take(state, sweep)
                if self._stopping.is_set():
                    break
            else:
                self.over = True
        except RuntimeError as error:  # an InferenceError, or no memory is left
            problem, self.over = f"{error}. ", True
        self.button.description, self.button.icon = BEGIN if self.over else GO_ON, "play"
        self.tell(problem + self._scored())

    def _take(self, state: State, sweep: SweepReport) -> None:
        """Keep the estimate of a sweep, and show it."""
        self.state = state
        self.sweeps.append(sweep)
        with self.redrawn(anew=True) as figure:
            plot_progress(figure.subplots(1, 3), self.sweeps)
        self.tell(f"Sweep {sweep.index}: {sweep.loss:.2e} of the variance unexplained.")

    def _scored(self) -> str:
        """The outcome in words, with the score: the only use of the truth."""
        if self.state is None:
            return "No sweep was completed."
        r2 = gauge_free_r2(self._truth.connectivity, self.state.estimate.connectivity)
        text = (
            f"Stopped after sweep {self.sweeps[-1].index}{', the last' if self.over else ''}. "
            f"Scored with the truth: R² of the weights {r2:.4f}, row and column scales fitted"
        )
        if self.state.phase == "alone":
            return f"{text}; no neurons are alike, so there are no types."
        if self.state.types is None:
            return f"{text}; types are not inferred yet."
        accuracy, *_ = match_types(self.state.types, self._truth.types)
        found = int(self.state.types.max()) + 1
        return f"{text}; {found} types found, {accuracy:.0%} of the neurons in the right one."
