"""The table of figures: every figure and panel of the book by its name.

Each is a function of arrays that draws and does nothing else: it computes no result, trains
nothing and saves no file. Types have the same colour-blind-safe colours everywhere; what is
true is light grey, Ω is on a grey scale.
"""

from figures_lib.draw.comparison import comparison, plot_comparison
from figures_lib.draw.functions import (
    embedding,
    functions,
    plane,
    plot_embedding,
    plot_functions,
)
from figures_lib.draw.layout import fields, layout, plot_field, plot_layout
from figures_lib.draw.style import (
    CURVES,
    NO_FIELD,
    TRUE_COLOUR,
    TYPE_COLOURS,
    colours,
    evenly,
    style,
    type_legend,
)
from figures_lib.draw.traces import POINTS, extremes, plot_traces, traces
from figures_lib.draw.training import (
    PHASE_COLOURS,
    embedding_evolution,
    evolution,
    plot_loss,
    plot_progress,
    plot_tables,
    training,
)

__all__ = [
    "CURVES",
    "NO_FIELD",
    "PHASE_COLOURS",
    "POINTS",
    "TRUE_COLOUR",
    "TYPE_COLOURS",
    "colours",
    "comparison",
    "embedding",
    "embedding_evolution",
    "evenly",
    "evolution",
    "extremes",
    "fields",
    "functions",
    "layout",
    "plane",
    "plot_comparison",
    "plot_embedding",
    "plot_field",
    "plot_functions",
    "plot_layout",
    "plot_loss",
    "plot_progress",
    "plot_tables",
    "plot_traces",
    "style",
    "traces",
    "training",
    "type_legend",
]
