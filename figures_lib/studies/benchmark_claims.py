"""What the book says about its benchmark, and what makes each sentence true.

A claim is about the rows of one part of ``benchmark.json``.
"""

import math
from collections.abc import Mapping

from figures_lib.studies.claim import Claim, Rows, each, rising

BUSY, TWO = 2.2, 3.0  # times as long: a stage beside a busy process, and one of two at once


def _gains(rows: Rows, transfer: str) -> list[float]:
    """How many times faster the dense step is than one per edge, by the number of neurons."""
    measured = [r for r in rows if r["transfer"] == transfer and "skipped" not in r]
    measured.sort(key=lambda row: row["neurons"])
    return [float(row["edges_over_dense"]["median"]) for row in measured]


def _gain_grows(rows: Rows) -> bool:
    found = _gains(rows, "sender")
    return rising(found) and found[-1] > 1


def _pairs_cost(rows: Rows) -> bool:
    found = _gains(rows, "pair")
    return bool(found) and max(found) < 1


def _ours_is_faster(rows: Rows) -> bool:
    found = [row["ratio"]["median"] for row in rows if "skipped" not in row]
    return len(found) > 1 and min(found) > 1


def _least_squares_is_exact(rows: Rows) -> bool:
    (plenty,) = (row for row in rows if row["data"] == "plenty")
    return bool(plenty["least_squares"]["r2"] > 0.9999)


def _stopping_early_helps(rows: Rows) -> bool:
    (noisy,) = (row for row in rows if row["data"] == "noisy")
    return bool(max(one["r2"] for one in noisy["adam"]) > noisy["least_squares"]["r2"])


def _falls_with_the_square(rows: Rows) -> bool:
    """The exponent between the finest tables of every width."""
    exponents = []
    for width in {row["width"] for row in rows}:
        of_width = sorted((r["knots"], r["error"]) for r in rows if r["width"] == width)
        (few, worse), (many, better) = of_width[-2:]
        exponents.append(math.log(worse / better) / math.log(many / few))
    return bool(exponents) and all(1.7 < one < 2.3 for one in exponents)


def _smoothing_helps(rows: Rows) -> bool:
    r2 = {row["gauge"]: (row["connectivity"]["r2"], row["field"]["r2"]) for row in rows}
    pairs = zip(r2["smooth"], r2["rows"], strict=True)
    return all(smoothed > estimated for smoothed, estimated in pairs)


def _extrapolation_saves_sweeps(rows: Rows) -> bool:
    losses = {row["variant"]: row["loss"] for row in rows}
    plain, extrapolated = losses["plain"], losses["extrapolated"]
    last = min(len(plain), len(extrapolated)) - 1
    return bool(extrapolated[last] < plain[last])


def _early_is_wrong(rows: Rows) -> bool:
    by_count = sorted((row["neuron_sweeps"], row["accuracy"]) for row in rows)
    return by_count[0][1] < 1.0 and by_count[-1][1] == 1.0


OF_BENCHMARK: Mapping[str, tuple[Claim, ...]] = {
    "iteration": (
        Claim(
            "The larger the network, the more the dense step gains over one evaluation per "
            "edge.",
            _gain_grows,
        ),
        Claim(
            "For ψ*(a_i, a_j, x_j) the pairs cannot be factorised. The dense network computes "
            "them twice, which saves memory but costs time: the plain form is faster there.",
            _pairs_cost,
        ),
    ),
    "simulators": (
        Claim("Our step is faster than theirs at every size measured.", _ours_is_faster),
    ),
    "sharing": (
        Claim(
            "Beside a busy process no stage takes more than 2.2 times as long.",
            each(lambda row: row["beside_busy"] <= BUSY),
        ),
        Claim(
            "Of two runs at once, the slower takes no more than three times as long.",
            each(lambda row: row["two_at_once"] <= TWO),
        ),
    ),
    "weights": (
        Claim("Least squares is exact where the data are exact.", _least_squares_is_exact),
        Claim(
            "Where they are noisy, it fits the noise as well, whereas AdamW that is stopped "
            "early regularises.",
            _stopping_early_helps,
        ),
    ),
    "table_errors": (
        Claim(
            "The error of a table falls with the square of the spacing of its knots, so steep "
            "functions need many knots.",
            _falls_with_the_square,
        ),
    ),
    "gauge": (
        Claim(
            "Smoothing the estimated scales improves weights and field.",
            _smoothing_helps,
        ),
    ),
    "sweeps": (
        Claim(
            "Extrapolated sweeps leave a smaller loss than as many plain ones.",
            _extrapolation_saves_sweeps,
        ),
    ),
    "clustering": (
        Claim(
            "If the types are sought before any such sweep, they are wrong; after the most "
            "sweeps they are right.",
            _early_is_wrong,
        ),
    ),
}
