"""What the book says about the figures of the paper, and what makes each sentence true."""

from collections.abc import Callable, Mapping

from figures_lib.studies.claim import RIGHT, WEIGHTS, Claim, Rows, each

RAW, SLOPE, FOUND, ACCURACY = (
    *("connectivity.r2", "connectivity.slope"),
    *("types.n_found", "types.accuracy"),
)


def _trusted_are_as_good(rows: Rows) -> bool:
    known = [row for row in rows if row["published_r2"] is not None and row["trusted"]]
    return bool(known) and all(row[RAW] > row["published_r2"] - 5e-4 for row in known)


def _farther_than_published(key: str) -> Callable[[Rows], bool]:
    return each(lambda row: row[key] > row[f"published_{key}"])


_RIGHT = Claim(
    "The weights are right: R² is above 0.999, and the slope within one per cent of 1.",
    each(lambda row: row[RAW] > 0.999 and abs(row[SLOPE] - 1) < 0.01),
)
_FOUR_TYPES = Claim(
    "Four types are found, and every neuron is of the right one.",
    each(lambda row: row[FOUND] == 4 and row[ACCURACY] == 1.0),
)
_TRUSTED = Claim("The diagnosis trusts the result.", each(lambda row: row["trusted"]))
_DOUBTED = Claim(
    "The diagnosis does not trust the result.", each(lambda row: not row["trusted"])
)
_ELSEWHERE = Claim(
    "After 800 frames the other network is closer to the true one than in the paper.",
    _farther_than_published("other_network.r2_800"),
)

OF_FIGURES: Mapping[str, tuple[Claim, ...]] = {
    "experiments": (
        Claim(
            "No result is trusted whose weights are wrong.",
            each(lambda row: not row["trusted"] or row[WEIGHTS] >= RIGHT),
        ),
        Claim(
            "Wherever a result is trusted, the R² of the weights is as high as in the paper or "
            "higher.",
            _trusted_are_as_good,
        ),
    ),
    "fig2": (
        _RIGHT,
        _FOUR_TYPES,
        Claim(
            "After 800 frames a roll-out is closer to the true network than in the paper.",
            _farther_than_published("rollout.r2_800"),
        ),
        _TRUSTED,
    ),
    "s3": (
        Claim(
            "The weights are mostly right, with an R² of about 0.9, as in the paper.",
            each(lambda row: abs(row[RAW] - 0.9) < 0.05),
        ),
        _DOUBTED,
    ),
    "s5": (_ELSEWHERE,),
    "s6": (_ELSEWHERE,),
    "s10": (_RIGHT, _FOUR_TYPES, _TRUSTED),
    "s13": (
        Claim(
            "The weights are not found; their R² is lower than in the paper.",
            each(lambda row: row[WEIGHTS] < RIGHT and row[RAW] < row["published_r2"]),
        ),
        _DOUBTED,
    ),
}
