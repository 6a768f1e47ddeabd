"""The benchmark: our code, the published formulation, the machine and other simulators.

Everything is measured in one run on one machine. Durations are in seconds, sizes in bytes,
and every ratio is taken round by round, so that its spread is known.
"""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import metadata
from typing import Any

import psutil
import torch

from figures_lib.bench import ablation, measurements
from figures_lib.bench.measuring import timer
from figures_lib.bench.plans import Plan, experiment_of
from figures_lib.bench.sharing import sharing
from figures_lib.infer.algorithm import converge
from figures_lib.learner import Learner
from figures_lib.runs import provenance
from figures_lib.runs.cost import inference_cost, recording_bytes
from figures_lib.simulate.integrate import simulate

PACKAGES = ("torch", "torch_geometric", "numpy", "torchdiffeq", "brian2")

Report = dict[str, Any]


def benchmark(plan: Plan, report: Callable[[str], None] = lambda line: None) -> Report:
    """Measure everything.

    Args:
        plan: the sizes.
        report: called with one line before every part.

    Returns:
        What is written as JSON: ``plan``, ``commit``, ``date``, ``machine``, ``iteration``,
        ``accuracy``, ``rates``, ``simulators``, ``scaling``, ``memory_plan``, ``streaming``,
        ``ablation`` and ``sharing``.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts: dict[str, Callable[[], Any]] = {
        "machine": partial(machine, device),
        "iteration": partial(measurements.iterations, plan, device),
        "accuracy": partial(measurements.accuracies, plan, device),
        "rates": partial(measurements.rates, plan, device),
        "simulators": partial(measurements.simulators, plan),
        "scaling": partial(measurements.scaling, plan, device),
        "memory_plan": partial(memory_plan, 8000, 100_000),
        "streaming": partial(measurements.streaming, plan, device),
        "ablation": partial(_ablations, plan, device),
        "sharing": partial(sharing, plan),
    }
    result = begun(plan)
    began = timer()
    for name, measure in parts.items():
        report(f"{timer() - began:6.0f} s  {name} …")
        result[name] = measure()
    result["seconds"] = timer() - began
    return json.loads(json.dumps(result))  # tuples become lists, as when read from the file


def begun(plan: Any) -> Report:
    """The beginning of a report: the plan, a dataclass of sizes, the commit and the date."""
    about = provenance.machine()
    return {"plan": asdict(plan), "commit": about["commit"], "date": about["date"]}


def machine(device: str) -> Report:
    """What the numbers were measured on."""
    return {
        "system": platform.system(),
        "processor": provenance.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "load": psutil.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def memory_plan(neurons: int, frames: int) -> list[Report]:
    """What an inference of a long recording holds in memory and on disk [bytes].

    The recording stays on disk; only the sampled frames are ever in memory.
    """
    cost = inference_cost(neurons, frames, Learner())
    disk = ("recording: activity and derivative", recording_bytes(neurons, frames), "disk")
    rows = [disk, *((need.what, need.bytes, "memory") for need in cost.needs)]
    return [{"what": what, "bytes": size, "where": where} for what, size, where in rows]


def _ablations(plan: Plan, device: str) -> Report:
    """Every comparison of :mod:`figures_lib.bench.ablation`, on one recording."""
    experiment = experiment_of(plan.ablation, plan.accuracy_frames)
    recording, truth = simulate(experiment, device)
    torch.manual_seed(experiment.seed)
    learner = experiment.learner
    states = list(converge(recording, learner, device))
    return {
        "neurons": plan.ablation,
        "weights": ablation.connectivity_solvers(recording, truth, plan.adam_steps),
        "tables": ablation.table_against_network(plan.ablation, plan.repeats, device),
        "table_errors": ablation.table_errors(),
        "gauge": ablation.gauge_choices(states[-1], recording, truth),
        "sweeps": ablation.sweep_variants(recording, truth, states),
        "clustering": ablation.clustering_times(recording, truth, learner, plan.clustering),
    }
