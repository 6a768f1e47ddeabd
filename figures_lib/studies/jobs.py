"""A run of a parameter sweep as a worker executes it, in two tasks: simulate, and the rest.

All state is in files of the run, each complete or absent. Its stages are linked to those of the
sweep, so that a stage that two runs have in common is computed once.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from distributed import get_worker

from figures_lib.errors import CellError, ConfigError, InferenceError, SimulationError
from figures_lib.runs.excerpt import EXCERPT, Excerpt
from figures_lib.runs.files import part_of, read_json, write_json
from figures_lib.runs.notebooks import FIGURE_3, execute_notebooks
from figures_lib.runs.run import Run, open_run

REPEATABLE = (ConfigError, SimulationError, InferenceError)  # a second try fails as well
STAGES = Path("..", "..", "stages")  # of the sweep, relative to the folder of a run
_ONE_RUN = threading.Lock()  # per process, torch has one random state and one peak of memory


@dataclass(frozen=True)
class Job:
    """A run, described for a worker whose working directory may differ.

    Attributes:
        config: experiment file.
        overrides: dotted keys and values.
        out: folder of the run, ``SWEEP/runs/NAME``.
        notebooks: whether the notebooks of Figure 3 are executed too.
    """

    config: str
    overrides: Mapping[str, Any]
    out: str
    notebooks: bool

    def open(self) -> Run:
        """The run, its folder made and its stages linked to those of the sweep."""
        run = open_run(self.config, self.out, self.overrides)
        run.out.mkdir(parents=True, exist_ok=True)
        (run.out / STAGES).resolve().mkdir(exist_ok=True)
        with suppress(FileExistsError):
            (run.out / "stages").symlink_to(STAGES, target_is_directory=True)
        return run

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        names = FIGURE_3 if self.notebooks else ()
        files = [EXCERPT, *(f"notebooks/{name}.ipynb" for name in names)]
        return self.open().finished and all(self._file(file).exists() for file in files)

    def metrics(self) -> dict[str, Any]:
        """The metrics of a finished run."""
        return read_json(self._file("metrics.json"))

    def known_failure(self) -> str | None:
        """Why exactly this configuration and code failed before, if it would fail again."""
        with suppress(FileNotFoundError):
            failure = json.loads(self._file("failure.json").read_text(encoding="utf-8"))
            return failure["reason"] if failure["key"] == self.open().key("score") else None
        return None

    def simulate(self) -> str | None:
        """The first task; returns why it failed, if it did."""
        return self._attempt(lambda: self.open().simulate())

    def complete(self, problem: str | None) -> tuple[float, str | None]:
        """The second task, given the answer of the first: seconds, and why it failed."""
        started = time.perf_counter()
        if problem is None:
            problem = self._attempt(self._finish)
        return time.perf_counter() - started, problem

    def _finish(self) -> None:
        run = self.open()
        if self.notebooks:
            config = Path(self.config)
            execute_notebooks(run, config, self.overrides, lambda _: None, FIGURE_3)
        scores = run.score()
        excerpt = Excerpt.of(*run.simulate(), run.infer(), scores)
        part = part_of(self._file(EXCERPT))
        excerpt.save(part)
        part.replace(self._file(EXCERPT))
        self._file("failure.json").unlink(missing_ok=True)

    def _attempt(self, work: Callable[[], Any]) -> str | None:
        """Run a task and return why it failed, if it did: one failure must not end a sweep."""
        try:
            with _ONE_RUN:
                _take_gpu()
                work()
        except REPEATABLE as error:
            reason = one_line_of(error)
            key = self.open().key("score")
            write_json(self._file("failure.json"), {"key": key, "reason": reason})
            return reason
        except Exception as error:
            return one_line_of(error)
        return None

    def _file(self, name: str) -> Path:
        return Path(self.out, name)


def one_line_of(error: BaseException) -> str:
    """An exception as the reason that ``results.csv`` gives."""
    if isinstance(error, (*REPEATABLE, CellError)):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def _take_gpu() -> None:
    """Choose the GPU of this worker by its number in a local cluster."""
    with suppress(ValueError):  # otherwise the first GPU is used
        if torch.cuda.device_count() > 1:
            torch.cuda.set_device(int(get_worker().name) % torch.cuda.device_count())
