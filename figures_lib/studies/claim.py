"""A sentence about results, and what makes it true."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from figures_lib.studies.results import Row
from figures_lib.studies.studies import spreads

RIGHT = 0.95  # gauge-free R² of W from which a result counts as right
WEIGHTS = "connectivity.r2_gauge_free"
TRUSTED = "diagnosis.trusted"

Rows = Sequence[Row]


@dataclass(frozen=True)
class Claim:
    """A sentence about the results of a study.

    Attributes:
        text: the sentence.
        holds: whether the rows of the study bear it out.
    """

    text: str
    holds: Callable[[Rows], bool]


def each(holds: Callable[[Row], bool]) -> Callable[[Rows], bool]:
    """Whether something is true of every row, and there are rows."""
    return lambda rows: bool(rows) and all(holds(row) for row in rows)


def medians(rows: Rows, key: str, metric: str) -> list[float]:
    """The median over the seeds at every value of a key, the smallest value first."""
    return [one.median for one in spreads(rows, key, metric)]


def rising(values: Sequence[float]) -> bool:
    """Whether there are several values, and none is below the one before."""
    return len(values) > 1 and list(values) == sorted(values)
