"""Figure 3 of Allier et al. (arXiv 2602.13325): simulate, infer, score and draw."""

from figures_lib.bench.kept import benchmark_results
from figures_lib.config import Experiment, load_experiment
from figures_lib.draw import (
    benchmark_figures,
    benchmark_tables,
    experiment_tables,
    figures,
    formula_tables,
    study_figures,
    study_tables,
)
from figures_lib.draw.saving import save_figure
from figures_lib.errors import ConfigError
from figures_lib.runs.cost import shard_plan
from figures_lib.runs.run import Run, open_run
from figures_lib.show import viewers, widgets
from figures_lib.show.training import LiveProgress
from figures_lib.studies.claims import findings
from figures_lib.studies.experiments import excerpts, experiments
from figures_lib.studies.studies import shipped_results, study_results, sweep_results

__all__ = [
    "ConfigError",
    "Experiment",
    "LiveProgress",
    "Run",
    "benchmark_figures",
    "benchmark_results",
    "benchmark_tables",
    "excerpts",
    "experiment_tables",
    "experiments",
    "figures",
    "findings",
    "formula_tables",
    "load_experiment",
    "open_run",
    "save_figure",
    "shard_plan",
    "shipped_results",
    "study_figures",
    "study_results",
    "study_tables",
    "sweep_results",
    "viewers",
    "widgets",
]
