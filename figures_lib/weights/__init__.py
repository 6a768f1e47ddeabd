"""Distributions of the true connectivity W: one file each, named in ``DISTRIBUTIONS``.

``connectivity.distribution`` chooses one of them by its name.
"""

from figures_lib.weights.cauchy import CAUCHY
from figures_lib.weights.dale import DALE
from figures_lib.weights.distribution import Distribution
from figures_lib.weights.gaussian import GAUSSIAN
from figures_lib.weights.low_rank import LOW_RANK

DISTRIBUTIONS: dict[str, Distribution] = {
    "cauchy": CAUCHY,
    "gaussian": GAUSSIAN,
    "dale": DALE,
    "low_rank": LOW_RANK,
}
