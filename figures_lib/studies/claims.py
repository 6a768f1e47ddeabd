"""What the book says about its studies: sentences, and what makes each of them true.

A page shows those that its results bear out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from figures_lib.studies.benchmark_claims import OF_BENCHMARK
from figures_lib.studies.claim import RIGHT, TRUSTED, WEIGHTS, Claim, Rows
from figures_lib.studies.figure_claims import OF_FIGURES
from figures_lib.studies.results import Row, done
from figures_lib.studies.study_claims import OF_STUDIES

NO_REGRESSIONS = ("correlation", "CURBD")  # they do not solve for what each sender adds


@dataclass(frozen=True)
class Findings:
    """The sentences that the rows of a study bear out, shown as a paragraph.

    Attributes:
        sentences: those that hold.
        left_out: how many do not.
    """

    sentences: tuple[str, ...]
    left_out: int

    def __repr__(self) -> str:
        """The paragraph, with a note on what it lacks."""
        few = {1: "One sentence of the book is"}
        some = few.get(self.left_out, f"{self.left_out} sentences of the book are")
        note = f"({some} left out here: these results do not bear out what is said.)"
        return " ".join([*self.sentences, *([note] if self.left_out else [])])

    def _repr_markdown_(self) -> str:
        return repr(self)


def findings(name: str, rows: Rows) -> Findings:
    """What the rows of a study bear out of the sentences that the book has about it.

    Args:
        name: of the study.
        rows: its results, of the book or of a reader's own run.
    """
    true = [_true(claim, rows) for claim in CLAIMS[name]]
    sentences = [claim.text for claim, holds in zip(CLAIMS[name], true, strict=True) if holds]
    return Findings(tuple(sentences), true.count(False))


def _true(claim: Claim, rows: Rows) -> bool:
    """Whether a sentence holds; not if the rows lack a value that it is about."""
    try:
        return claim.holds(rows)
    except (KeyError, IndexError, ValueError, TypeError):
        return False


def _never_wrong(rows: Rows) -> bool:
    return all(row[WEIGHTS] >= RIGHT for row in done(rows) if row[TRUSTED])


def _seldom_refused(rows: Rows) -> bool:
    some = done(rows)
    refused = [r for r in some if r[WEIGHTS] >= RIGHT and not r[TRUSTED]]
    return len(refused) <= len(some) / 20


def _by(method: str, rows: Rows) -> list[Row]:
    """The results of a method; of the gradient the shortest training first."""
    found = [row for row in done(rows) if row["inference.method"] == method]
    return sorted(found, key=lambda row: row["training.steps"] or 0)


def _better_with_time(rows: Rows) -> bool:
    found = [row[WEIGHTS] for row in _by("gradient", rows)]
    return len(found) > 1 and found == sorted(found)


def _sweeps_win(rows: Rows) -> bool:
    least, gradient = _by("sweeps", rows)[-1], _by("gradient", rows)[-1]
    quicker = least["time.infer_s"] < gradient["time.infer_s"]
    return bool(quicker and least[WEIGHTS] > gradient[WEIGHTS])


def _others(rows: Rows) -> list[Row]:
    """What other methods find; our own result is the last row."""
    return list(rows[:-1])


def _none_is_right(rows: Rows) -> bool:
    return all(row[WEIGHTS] < 0.9 for row in _others(rows)) and rows[-1][WEIGHTS] > 0.999


def _good_predictions(rows: Rows) -> bool:
    found = [row["heldout_r2"] for row in _others(rows) if row["heldout_r2"] is not None]
    return len(found) > 1 and all(0.8 < explained < 0.99 for explained in found)


def _correlation_is_no_connection(rows: Rows) -> bool:
    few = [row["connectivity.strongest"] for row in rows if row["method"] in NO_REGRESSIONS]
    return len(few) == len(NO_REGRESSIONS) and max(few) < 0.1


CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "calibration": (
        Claim("No result is trusted whose weights are wrong.", _never_wrong),
        Claim(
            "At most one experiment in twenty has right weights that are not trusted.",
            _seldom_refused,
        ),
    ),
    "methods": (
        Claim("The longer the gradient trains, the better its weights are.", _better_with_time),
        Claim("Those of least squares are better still, and there sooner.", _sweeps_win),
    ),
    "methods_continuum": (
        Claim("Here, too, the gradient gets better with time.", _better_with_time),
        Claim("Least squares is ahead of the longest training, in less time.", _sweeps_win),
    ),
    "methods_figure2": (
        Claim("The gradient gets better with time.", _better_with_time),
        Claim("Least squares is ahead of the longest training, in less time.", _sweeps_win),
    ),
    "baselines_fig3_quick": (
        Claim(
            "None of the other methods finds weights with a gauge-free R² of 0.9.",
            _none_is_right,
        ),
        Claim(
            "Those that predict the derivative explain most of it, yet are wrong about the "
            "weights: a good prediction is no evidence of a right connectivity.",
            _good_predictions,
        ),
        Claim(
            "Correlation and CURBD find less than a tenth of the strongest connections.",
            _correlation_is_no_connection,
        ),
    ),
    **OF_BENCHMARK,
    **OF_STUDIES,
    **OF_FIGURES,
}
