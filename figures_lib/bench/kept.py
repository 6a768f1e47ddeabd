"""The benchmarks that the book shows."""

import os
from pathlib import Path
from typing import Any

from figures_lib.bench.plans import QUICK, TINY
from figures_lib.paths import SHIPPED
from figures_lib.runs.files import read_json, write_json
from figures_lib.runs.keys import code_version, digest
from figures_lib.runs.provenance import processor
from figures_lib.runs.run import Run
from figures_lib.runs.stages import keep


def benchmark_results(run: Run) -> dict[str, Any]:
    """The benchmark that belongs to a run.

    It is read from ``benchmark.json`` in the folder of the run, as written by
    ``figures_lib bench``. Without this file, the quick plan is measured here, once; for a run
    of the size of a test, a smaller one.
    """
    given = run.out / "benchmark.json"
    if given.exists():
        return read_json(given)
    # imported late: it loads torch_geometric, which would delay every notebook
    from figures_lib.bench.benchmark import benchmark

    plan = TINY if run.experiment.simulation.neurons <= max(TINY.scaling) else QUICK

    def compute(folder: Path) -> None:
        write_json(folder / "benchmark.json", benchmark(plan))

    code = code_version("benchmark")
    key = digest(plan.name, run.device, processor(), os.cpu_count(), code)
    folder = keep(run.out / "stages" / f"benchmark-{key}", compute)
    return read_json(folder / "benchmark.json")


def gpu_results(run: Run) -> dict[str, Any]:
    """The benchmark of a GPU: ``gpu.json`` in the folder of a run, else the shipped one."""
    given = run.out / "gpu.json"
    return read_json(given if given.exists() else SHIPPED / "gpu.json")
