"""What the stages take on a machine that others use, too.

One run alone is compared with a run beside a process that keeps one core busy, and with two
runs at once. Every run is a process of its own, with all threads, as if it were alone.
"""

import json
import subprocess
import sys
import time
from typing import Any

from figures_lib.bench.plans import Plan, experiment_of
from figures_lib.infer.algorithm import infer
from figures_lib.paths import ROOT
from figures_lib.simulate.integrate import simulate

STAGES = ("simulation", "sweeps", "networks")
BUSY = "while True: pass"
LONGEST = 3600  # seconds that a run may take

Report = dict[str, Any]
Seconds = dict[str, float]


def sharing(plan: Plan) -> list[Report]:
    """Seconds of each stage alone, beside a busy process, and in two runs at once.

    Nothing if the plan does without.
    """
    if not plan.shared:
        return []
    (alone,) = _processes(plan, 1)
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        (beside,) = _processes(plan, 1)
    finally:
        busy.kill()
        busy.wait()
    twice = _processes(plan, 2)
    return [
        {
            "stage": stage,
            "neurons": plan.accuracy,
            "seconds": alone[stage],
            "beside_busy": beside[stage] / alone[stage],
            "two_at_once": max(one[stage] for one in twice) / alone[stage],
        }
        for stage in STAGES
    ]


def staged(neurons: int, frames: int, steps: int) -> Seconds:
    """Run an experiment; how long each stage took [s].

    Args:
        neurons: of the simulation.
        frames: of its recording.
        steps: of the training of either network.
    """
    few = {f"{one}_network.steps": steps for one in ("graph", "field")}
    experiment = experiment_of(neurons, frames, **few)
    marks = [time.perf_counter()]
    recording, _ = simulate(experiment)
    marks.append(time.perf_counter())
    swept = marks[-1]

    def note(_: object) -> None:
        nonlocal swept
        swept = time.perf_counter()

    infer(recording, experiment.learner, progress=note)
    marks += [swept, time.perf_counter()]
    lengths = [after - before for before, after in zip(marks, marks[1:], strict=False)]
    return dict(zip(STAGES, lengths, strict=True))


def _processes(plan: Plan, count: int) -> list[Seconds]:
    """The same run in some processes at once."""
    sizes = plan.accuracy, plan.accuracy_frames, plan.network_steps
    command = [sys.executable, "-m", "figures_lib.bench.sharing", *map(str, sizes)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        answers = [one.communicate(timeout=LONGEST)[0] for one in running]
    finally:
        for one in running:
            one.kill()
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


if __name__ == "__main__":
    staged(32, 1000, 10)  # what is loaded at the first step of everything is not measured
    print(json.dumps(staged(*map(int, sys.argv[1:]))))
