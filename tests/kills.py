"""Kill a run at random moments and continue it: ``python tests/kills.py [COUNT]``.

The same command is given again and again, and killed with SIGKILL, its children included, at
a moment drawn from the time that an undisturbed run takes; at last it is left alone. Its
metrics must be those of the undisturbed run, to the digit, and nothing half may remain.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config" / "fig3_test.yaml"
VARIES = ("time.", "memory.")  # keys of metrics that no two runs have in common
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
STAGES_ONLY = f"""
import sys
from figures_lib.pipeline import open_run
print("ready", flush=True)
run = open_run({str(CONFIG)!r}, sys.argv[1], {TINY!r})
scores = run.score()
import figures_lib
run.save_figure(figures_lib.figures.training(run.infer().history.sweeps), "training")
"""


@dataclass(frozen=True)
class Outcome:
    """How many kills there were, by the number of stages then complete, and the metrics."""

    kills: int
    by_progress: dict[int, int]
    metrics: dict[str, object]


def stages_command(out: Path) -> list[str]:
    """Simulate, infer, score and draw, without notebooks."""
    return [sys.executable, "-c", STAGES_ONLY, str(out)]


def book_command(out: Path) -> list[str]:
    """The whole book: all notebooks, then the site."""
    parts = [part for key, value in TINY.items() for part in ("-p", f"{key}={value}")]
    here = [sys.executable, "-m", "figures_lib"]
    run = [*here, "run", "--config", str(CONFIG), "--out", str(out), *parts]
    build = [*here, "build", "--run", str(out), "--out", str(out.with_name("html"))]
    script = (
        "import subprocess, sys\nfor command in {!r}:\n    subprocess.run(command, check=True)"
    )
    return [sys.executable, "-c", script.format([run, build])]


def undisturbed(command: Sequence[str], out: Path) -> tuple[float, dict[str, object]]:
    """Seconds that the command works, and its metrics."""
    process = started(command)
    begun = time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - begun, metrics_of(out)


def survive(
    command: Sequence[str], out: Path, count: int, seconds: float, seed: int
) -> Outcome:
    """Kill the command ``count`` times, then let it end."""
    moments, by_progress = random.Random(seed), {}
    for _ in range(count):
        process = started(command)
        time.sleep(moments.uniform(0, seconds))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = len([f for f in out.glob("stages/*") if f.name[0] != "." and f.is_dir()])
        by_progress[done] = by_progress.get(done, 0) + 1
        if moments.random() < 0.3:  # or all later kills would find the stages complete
            shutil.rmtree(out, ignore_errors=True)
    process = started(command)
    assert process.wait() == 0
    return Outcome(count, by_progress, metrics_of(out))


def started(command: Sequence[str]) -> subprocess.Popen:
    """The command in a group of its own, once it has said its first line."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def metrics_of(out: Path) -> dict[str, object]:
    """The metrics that two runs must have in common."""
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return {key: value for key, value in metrics.items() if not key.startswith(VARIES)}


def leftovers(out: Path) -> list[str]:
    """Unfinished files and folders in the results."""
    return sorted(str(path.relative_to(out)) for path in out.rglob(".*"))


def main(count: int) -> int:
    """Most kills in the stages, a fifth of them while notebooks run and the site is built."""
    alike = 0
    whole = count // 5
    for name, command, kills in (
        ("stages", stages_command, count - whole),
        ("book", book_command, whole),
    ):
        with tempfile.TemporaryDirectory() as folder:
            calm, killed = Path(folder, "calm", "out"), Path(folder, "killed", "out")
            for place in (calm, killed):
                place.parent.mkdir()
            seconds, expected = undisturbed(command(calm), calm)
            outcome = survive(command(killed), killed, kills, seconds, seed=1)
            same = outcome.metrics == expected
            alike += outcome.kills * same
            progress = dict(sorted(outcome.by_progress.items()))
            print(
                f"{name}: {outcome.kills} kills within {seconds:.1f} s, by complete stages "
                f"{progress}; metrics "
                f"{'the same' if same else 'DIFFER'}; "
                f"left over: {leftovers(killed) or 'nothing'}",
                flush=True,
            )
    print(f"survived {alike} of {count} kills")
    return 0 if alike == count else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
