"""The benchmarks that the book shows."""

from typing import Any

from figures_lib.paths import SHIPPED
from figures_lib.runs.files import read_json
from figures_lib.runs.run import Run


def benchmark_results(run: Run) -> dict[str, Any]:
    """The benchmark: ``benchmark.json`` in the folder of a run, else the shipped one."""
    return _results(run, "benchmark.json")


def gpu_results(run: Run) -> dict[str, Any]:
    """The benchmark of a GPU: ``gpu.json`` in the folder of a run, else the shipped one."""
    return _results(run, "gpu.json")


def _results(run: Run, name: str) -> dict[str, Any]:
    given = run.out / name
    return read_json(given if given.exists() else SHIPPED / name)
