"""The benchmark of a GPU: whether it computes what the CPU computes, and how fast.

It takes some minutes. Each part is measured alone, and one that fails is reported among the
others. Durations are in seconds, sizes in bytes.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark.utils.timer import timer  # waits for the accelerator, if any

from figures_lib.bench.benchmark import begun, machine
from figures_lib.bench.measuring import PeakMemory
from figures_lib.config import Experiment, load_experiment
from figures_lib.infer.algorithm import infer
from figures_lib.paths import ROOT
from figures_lib.recording import Recording
from figures_lib.runs.run import without_nan
from figures_lib.score.regression import fit_line
from figures_lib.score.scoring import main_scores
from figures_lib.simulate.integrate import simulate, simulate_to_disk
from figures_lib.simulate.truth import Truth

ROUNDS = 3  # of the simulation
OUTPUT = 6000  # characters of failed tests that are kept
EARLY = 100  # frames in which rounding has not yet grown: the network is chaotic

Report = dict[str, Any]


@dataclass(frozen=True)
class GpuPlan:
    """What is measured.

    Attributes:
        equal: configuration that CPU and GPU both infer.
        paper: configuration of Figure 3 for the simulator and the sweeps.
        gradient: the same for the published training.
        large: configuration of a long recording of a large network, streamed from disk.
        changes: of the first three, by dotted key.
        large_changes: of the last one.
        tests: the file of tests that is run.
    """

    equal: str = "config/fig3_test.yaml"
    paper: str = "config/fig3.yaml"
    gradient: str = "config/fig3_gradient.yaml"
    large: str = "config/s11.yaml"
    changes: dict[str, Any] = field(default_factory=dict)
    large_changes: dict[str, Any] = field(default_factory=dict)
    tests: str = "tests/test_gpu.py"

    def experiment(self, config: str) -> Experiment:
        """One of the configurations with its changes."""
        changes = self.large_changes if config == self.large else self.changes
        return load_experiment(ROOT / config, changes)


def gpu_benchmark(
    plan: GpuPlan,
    report: Callable[[str], None] = lambda line: None,
    keep: Callable[[Report], None] = lambda result: None,
    device: str = "cuda",
) -> Report:
    """Measure a GPU.

    Args:
        plan: what is measured.
        report: called with one line before every part.
        keep: called with all that is known so far, after every part.
        device: ``cuda``; with ``cpu``, the benchmark itself can be tried.

    Returns:
        What is written as JSON: ``plan``, ``commit``, ``date``, ``machine``, ``equal``,
        ``simulator``, ``sweeps``, ``gradient``, ``tests`` and ``large``; a part that failed has
        the key ``failed``.
    """
    parts: dict[str, Callable[[], Report]] = {
        "machine": partial(machine, device),
        "equal": partial(equal, plan.experiment(plan.equal), device),
        "simulator": partial(simulator, plan.experiment(plan.paper), device),
        "sweeps": partial(inference, plan.experiment(plan.paper), device),
        "gradient": partial(inference, plan.experiment(plan.gradient), device),
        "tests": partial(tests, plan.tests),
        "large": partial(large, plan.experiment(plan.large), device),
    }
    result = begun(plan)
    began = timer()
    for name, measure in parts.items():
        report(f"{timer() - began:6.0f} s  {name} …")
        try:
            result[name] = measure()
        except Exception as error:  # the other parts are measured all the same
            result[name] = {"failed": f"{type(error).__name__}: {error}"}
        result["seconds"] = timer() - began
        keep(result)
    return result


def failures(result: Report) -> list[str]:
    """The parts that failed."""
    return [
        name for name, part in result.items() if isinstance(part, dict) and "failed" in part
    ]


def equal(experiment: Experiment, device: str) -> Report:
    """The same on both: a simulation without noise, and an inference of one recording."""
    settings = experiment.simulation.model_copy(update={"noise": 0.0, "warm_up": 0})
    quiet = experiment.model_copy(update={"simulation": settings})
    ours, theirs = (simulate(quiet, one)[0].activity[:EARLY] for one in ("cpu", device))
    recording, truth = simulate(experiment)
    models = [infer(recording, experiment.learner, one) for one in ("cpu", device)]
    weights = [model.gnn.connectivity.detach() for model in models]
    return {
        "neurons": settings.neurons,
        "simulation_error": float((ours - theirs).abs().max() / ours.abs().max()),
        "weights_r2": fit_line(*weights)[0],
        "scores": [main_scores(recording, truth, model) for model in models],
        "trusted": [model.diagnosis.trusted for model in models],
    }


def simulator(experiment: Experiment, device: str) -> Report:
    """The whole recording, several times."""
    seconds = []
    for _ in range(ROUNDS):
        began = timer()
        simulate(experiment, device)
        seconds.append(timer() - began)
    return {**_size(experiment), "seconds": seconds}


def inference(experiment: Experiment, device: str) -> Report:
    """The inference of a recording from memory, and its scores."""
    recording, truth = simulate(experiment, device)
    return {**_size(experiment), **_inferred(experiment, recording, truth, device)}


def large(experiment: Experiment, device: str) -> Report:
    """Simulate to the disk, and infer from there."""
    with tempfile.TemporaryDirectory() as name, PeakMemory() as peak:
        began = timer()
        recording, truth = simulate_to_disk(experiment, Path(name), device)
        simulated = timer() - began
        found = _inferred(experiment, recording, truth, device)
    about = {"simulate_seconds": simulated, "memory_bytes": peak.bytes}
    return {**_size(experiment), **about, **found}


def _size(experiment: Experiment) -> Report:
    settings = experiment.simulation
    return {"neurons": settings.neurons, "frames": settings.frames + settings.warm_up}


def _inferred(
    experiment: Experiment, recording: Recording, truth: Truth, device: str
) -> Report:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    reports: list[list[float]] = []
    began = timer()
    model = infer(
        recording,
        experiment.learner,
        device,
        lambda sweep: reports.append([timer() - began, sweep.loss]),
    )
    seconds = timer() - began
    return {
        "seconds": seconds,
        "device_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else 0,
        "course": reports,
        "scores": without_nan(main_scores(recording, truth, model)),
        "types": model.types_found,
        "trusted": model.diagnosis.trusted,
        "reasons": list(model.diagnosis.reasons),
    }


def tests(file: str) -> Report:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfE", file]
    began = timer()
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    counts = {
        kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", answer.stdout)
    }
    report: Report = {"seconds": timer() - began, **counts}
    if answer.returncode:
        report |= {"failed": counts.get("failed", 0) + counts.get("error", 0)}
        report |= {"output": (answer.stdout + answer.stderr)[-OUTPUT:]}
    return report
