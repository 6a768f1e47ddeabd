"""The table of figures: every figure of the book by its name.

Each is a function of arrays that only draws: it computes no result, trains nothing and saves no
file. Types have the same colour-blind-safe colours everywhere; true functions are light grey,
and Ω has a grey scale.
"""

from figures_lib.draw.comparison import comparison as comparison
from figures_lib.draw.functions import embedding as embedding
from figures_lib.draw.functions import functions as functions
from figures_lib.draw.layout import fields as fields
from figures_lib.draw.layout import layout as layout
from figures_lib.draw.overview import overview as overview
from figures_lib.draw.rollouts import roll_out as roll_out
from figures_lib.draw.spectra import spectra as spectra
from figures_lib.draw.style import TYPE_COLOURS as TYPE_COLOURS
from figures_lib.draw.style import evenly as evenly
from figures_lib.draw.traces import traces as traces
from figures_lib.draw.training import embedding_evolution as embedding_evolution
from figures_lib.draw.training import evolution as evolution
from figures_lib.draw.training import training as training
