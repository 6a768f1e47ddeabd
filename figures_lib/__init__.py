"""Figure 3 of Allier et al. (arXiv 2602.13325): simulate, infer, score and draw.

Every name is loaded when it is first used: torch, matplotlib and others take seconds, which a
command that needs none of them does not wait for.
"""

import os
from importlib import import_module
from typing import Any

# Threads that wait leave their core to others. By default they keep it busy, and on a shared
# machine a step of a millisecond takes ten. It counts only where torch is loaded later.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_MODULES = (
    *("draw.benchmark_figures", "draw.benchmark_tables", "draw.experiment_figures"),
    *("draw.experiment_tables", "draw.figures", "draw.formula_tables"),
    *("draw.study_figures", "draw.study_tables"),
    *("show.viewers", "show.widgets"),
)
_NAMES = {
    "bench.kept": ("benchmark_results", "gpu_results"),
    "config": ("Experiment", "load_experiment"),
    "draw.own_figures": ("own_result",),
    "draw.report": ("write_report",),
    "draw.saving": ("save_figure",),
    "errors": ("ConfigError",),
    "runs.cost": ("shard_plan",),
    "runs.learned": ("load_model",),
    "runs.own": ("open_recording", "strongest_connections", "write_example"),
    "runs.run": ("Run", "open_run"),
    "show.training": ("LiveProgress",),
    "studies.claims": ("findings",),
    "studies.experiments": ("excerpts", "experiments"),
    "studies.studies": ("shipped_results", "study_results", "sweep_results"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
_HOME |= {module.rpartition(".")[2]: module for module in _MODULES}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'figures_lib' has no attribute {name!r}")
    module = import_module(f"figures_lib.{_HOME[name]}")
    return module if _HOME[name] in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
