"""Figure 3 of Allier et al. (arXiv 2602.13325), from nothing: simulate, infer, score, draw."""

from figures_lib import (
    benchmark_figures,
    benchmark_tables,
    figures,
    study_figures,
    viewers,
    widgets,
)
from figures_lib.capacity import shard_plan
from figures_lib.config import ConfigError, Experiment, load_experiment
from figures_lib.pipeline import Run, open_run
from figures_lib.studies import study_results, sweep_results
from figures_lib.training import LiveProgress

__all__ = [
    "ConfigError",
    "Experiment",
    "LiveProgress",
    "Run",
    "benchmark_figures",
    "benchmark_tables",
    "figures",
    "load_experiment",
    "open_run",
    "shard_plan",
    "study_figures",
    "study_results",
    "sweep_results",
    "viewers",
    "widgets",
]
