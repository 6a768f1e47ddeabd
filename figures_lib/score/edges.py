"""Which connections there are, of which sign, and what each neuron receives in all.

A connection counts as found where its weight exceeds a threshold that needs no truth: a
multiple of the standard error that the diagnosis expects of all weights.
"""

import math

from jaxtyping import Float
from torch import Tensor

from figures_lib.model.inferred import Diagnosis
from figures_lib.score.regression import fit_line

ERRORS = 4.0  # standard errors from which a weight is a connection: six in 100,000 by chance


def threshold(learned: Float[Tensor, "neuron neuron"], diagnosis: Diagnosis) -> float:
    """The magnitude from which a weight is a connection; NaN if its error is not known."""
    return ERRORS * float(learned.std()) * math.sqrt(1 - diagnosis.expected_r2)


def score_edges(
    true: Float[Tensor, "neuron neuron"],
    learned: Float[Tensor, "neuron neuron"],
    diagnosis: Diagnosis,
) -> dict[str, float | int | None]:
    """Precision, recall and signs of the connections found, and the input of every neuron.

    Args:
        true: W, in the convention of the model; 0 where there is no connection.
        learned: W*.
        diagnosis: of the model; it knows nothing of the truth.

    Returns:
        ``edges.found``: their number; ``edges.precision``: the share of them that exist;
        ``edges.recall``: the share of those that exist; ``edges.signs``: the share of right
        signs among the found that exist; None without a threshold. ``excitation.r2`` and
        ``inhibition.r2``: of the sums of positive and of negative weights of every receiver.
    """
    keys, least = ("found", "precision", "recall", "signs"), threshold(learned, diagnosis)
    edges: dict[str, float | int | None] = {f"edges.{key}": None for key in keys}
    if least == least:
        found, exist = learned.abs() > least, true != 0
        right = found & exist
        edges = {
            "edges.found": int(found.sum()),
            "edges.precision": _share(right, found),
            "edges.recall": _share(right, exist),
            "edges.signs": _share(right & (true.sign() == learned.sign()), right),
        }
    for name, sign in (("excitation", 1), ("inhibition", -1)):
        edges[f"{name}.r2"] = fit_line(
            *((sign * weights).clamp_min(0).sum(1) for weights in (true, learned))
        )[0]
    return edges


def _share(some: Tensor, of: Tensor) -> float | None:
    total = int(of.sum())
    return int(some.sum()) / total if total else None
