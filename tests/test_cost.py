"""The cost model against the memory and the disk that a run takes."""

import json
import subprocess
import sys

from conftest import ROOT

from figures_lib.bench.plans import experiment_of
from figures_lib.runs.cost import inference_cost, recording_bytes
from figures_lib.simulate.integrate import simulate_to_disk

NEURONS, FRAMES = 512, 8192
FAST = {"inference.shared_sweeps": 1, "inference.neuron_sweeps": 1, "inference.type_sweeps": 1}
LIBRARIES = 1.5e8  # bytes of libraries that are loaded on first use, at most
SWEEPS = """
import json, sys
from pathlib import Path
from figures_lib.bench.measurements import random_recording
from figures_lib.bench.measuring import PeakMemory
from figures_lib.bench.plans import experiment_of
from figures_lib.infer.algorithm import converge
neurons, frames, fast = json.loads(sys.argv[1])
learner = experiment_of(neurons, frames, **fast).learner
recording = random_recording(neurons, frames)
with PeakMemory() as peak:
    for state in converge(recording, learner):
        if state.types is not None:
            break
print(peak.bytes)
"""


def test_memory_of_the_sweeps_is_as_counted():
    """In a separate process, so that memory freed by other tests does not count."""
    command = [sys.executable, "-c", SWEEPS, json.dumps([NEURONS, FRAMES, FAST])]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    cost = inference_cost(NEURONS, FRAMES, experiment_of(NEURONS, FRAMES, **FAST).learner)
    counted = sum(
        need.bytes
        for need in cost.needs
        if not need.what.startswith(("training", "embeddings"))
    )
    # the tables of splines are counted, but needed only where activities are much alike
    assert 0.4 * counted < int(answer.stdout) < 1.2 * counted + LIBRARIES


def test_a_recording_takes_the_disk_that_is_counted(tmp_path):
    simulate_to_disk(experiment_of(16, 300, **{"simulation.warm_up": 0}), tmp_path)
    files = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert recording_bytes(16, 300) < files < recording_bytes(16, 300) + 4096
