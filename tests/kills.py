"""Kill a run at random moments and continue it: ``python tests/kills.py [COUNT]``.

The same command is started again and again, and killed with SIGKILL, its children included, at
a random moment of the time that an undisturbed run takes; finally it is left to end. Its
metrics must be exactly those of the undisturbed run, and no unfinished file may remain.
"""

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from checks import ROOT, keep

CONFIG = ROOT / "config" / "fig3_test.yaml"
Metrics = dict[str, object]
VARIES = ("time.", "memory.")  # metrics that differ between any two runs
PRELOADED = ["figures_lib.runs.run", "figures_lib.draw.figures", "torch._dynamo"]
TINY = {
    "simulation.neurons": 24,
    "simulation.input_neurons": 4,
    "simulation.frames": 1500,
    "simulation.warm_up": 10,
    "inference.shared_sweeps": 1,
    "inference.neuron_sweeps": 2,
    "inference.type_sweeps": 1,
    "graph_network.steps": 9,
    "field_network.steps": 5,
}


@dataclass(frozen=True)
class Running:
    """A started command: how to kill it with its children, and how to wait for it.

    One waits for some seconds, or until it ends; its exit code is None if it has not ended.
    """

    kill: Callable[[], None]
    wait: Callable[[float | None], int | None]


@dataclass(frozen=True)
class Outcome:
    """How many kills hit a running command, and what came of them.

    Attributes:
        kills: those after which the same command gave the expected metrics.
        by_progress: all kills, by the number of stages complete at that moment.
        left: unfinished files that remained at the end.
    """

    kills: int
    by_progress: dict[int, int]
    left: list[str]


def work(out: str) -> None:
    """Simulate, infer, score and draw, without notebooks."""
    import torch

    import figures_lib

    torch.set_num_threads(1)
    run = figures_lib.open_run(CONFIG, out, TINY)
    run.score()
    figure = figures_lib.figures.training(run.infer().history.sweeps)
    figures_lib.save_figure(run, figure, "training")


def stages(out: Path) -> Running:
    """:func:`work` in a process that need not import anything first."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    process = server.Process(target=work, args=(str(out),))
    process.start()

    def wait(seconds: float | None) -> int | None:
        process.join(seconds)
        return process.exitcode

    return Running(process.kill, wait)


def book(out: Path) -> Running:
    """The commands of the README: all notebooks, then the site."""
    parts = [part for key, value in TINY.items() for part in ("-p", f"{key}={value}")]
    here = [sys.executable, "-m", "figures_lib"]
    run = [*here, "run", "--config", str(CONFIG), "--out", str(out), *parts]
    build = [*here, "build", "--run", str(out), "--out", str(out.with_name("html"))]
    script = f"import subprocess\nfor one in {[run, build]}: subprocess.run(one, check=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first notebook begins

    def kill() -> None:
        with suppress(psutil.NoSuchProcess):  # kernels have sessions of their own
            children = psutil.Process(process.pid).children(recursive=True)
            for one in [process, *children]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()

    def wait(seconds: float | None) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=seconds)
        return process.returncode

    return Running(kill, wait)


def undisturbed(start: Callable[[Path], Running], out: Path) -> tuple[float, Metrics]:
    """Duration of the command [s], and its metrics."""
    running = start(out)
    begun = time.monotonic()
    assert running.wait(None) == 0
    return time.monotonic() - begun, metrics_of(out)


def survive(
    start: Callable[[Path], Running],
    out: Path,
    count: int,
    seconds: float,
    expected: Metrics,
    seed: int,
) -> Outcome:
    """Kill the command ``count`` times while it runs, and let it end now and then, and at last.

    When it ends with the metrics of the undisturbed run, the kills since the last end count as
    survived.
    """
    moments, by_progress, survived, since = random.Random(seed), Counter[int](), 0, 0

    def settle() -> int:
        assert start(out).wait(None) == 0
        return since if metrics_of(out) == expected else 0

    while by_progress.total() < count:
        running = start(out)
        running.wait(moments.uniform(0, seconds))
        running.kill()
        if running.wait(None) == 0:  # it had ended before: that is not a kill
            survived, since = survived + settle(), 0
            shutil.rmtree(out)
            continue
        done = [folder for folder in out.glob("stages/*-*") if folder.name[0] != "."]
        by_progress[len(done)], since = by_progress[len(done)] + 1, since + 1
        if (
            len(done) == 3 and moments.random() < 0.5
        ):  # otherwise most kills would hit the drawing
            survived, since = survived + settle(), 0
            shutil.rmtree(out)
    survived += settle()
    return Outcome(survived, dict(sorted(by_progress.items())), leftovers(out))


def metrics_of(out: Path) -> Metrics:
    """The metrics that two runs must have in common."""
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return {key: value for key, value in metrics.items() if not key.startswith(VARIES)}


def leftovers(out: Path) -> list[str]:
    """Unfinished files and folders in the results."""
    return sorted(str(path.relative_to(out)) for path in out.rglob(".*"))


def main(count: int) -> int:
    """Four fifths of the kills hit the stages, one fifth the notebooks and the site."""
    alike = 0
    whole = count // 5
    for start, kills in ((stages, count - whole), (book, whole)):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            calm, killed = Path(folder, "calm", "out"), Path(folder, "killed", "out")
            seconds, expected = undisturbed(start, calm)
            outcome = survive(start, killed, kills, seconds, expected, seed=1)
            alike += outcome.kills * (not outcome.left)
            print(
                f"{start.__name__}: {outcome.kills} of {kills} kills within {seconds:.1f} s, "
                f"by complete stages {outcome.by_progress}; "
                f"left over: {outcome.left or 'nothing'}",
                flush=True,
            )
    print(f"survived {alike} of {count} kills")
    keep("kills", tried=count, survived=alike)
    return 0 if alike == count else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
