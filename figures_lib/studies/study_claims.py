"""What the book says about its parameter studies, and what makes each sentence true."""

from collections.abc import Mapping
from functools import partial

from figures_lib.studies.claim import (
    RIGHT,
    TRUSTED,
    WEIGHTS,
    Claim,
    Rows,
    medians,
    rising,
)
from figures_lib.studies.results import Row, done
from figures_lib.studies.studies import spreads

FIELD, FIELD_FREE = "external_input.r2", "external_input.r2_gauge_free"
TYPES = "types.accuracy"
INPUTS = "simulation.input_neurons"
KINDS, CONTRAST, IMAGES = "neuron_types", "external_input.maximum", "external_input.images"
THETA = "neuron_types.1.slope"
FRAMES, DERIVATIVE = "simulation.frames", "inference.derivative"


def _all_types_are_found(rows: Rows) -> bool:
    found = [one.low for one in spreads(rows, KINDS, TYPES)]
    return bool(found) and min(found) == 1.0


def _weights_are_right(key: str, rows: Rows) -> bool:
    return min(medians(rows, key, WEIGHTS)) > 0.99


def _more_pixels_are_better(rows: Rows) -> bool:
    *some, everyone = medians(rows, INPUTS, FIELD)
    return rising(some) and everyone < some[-1]


def _contrast_helps(rows: Rows) -> bool:
    return rising(medians(rows, CONTRAST, FIELD)) and _weights_are_right(CONTRAST, rows)


def _speed_hardly_matters(rows: Rows) -> bool:
    return _weights_are_right(IMAGES, rows) and min(medians(rows, IMAGES, FIELD_FREE)) > 0.95


def _theta_does_no_harm(rows: Rows) -> bool:
    return _weights_are_right(THETA, rows) and medians(rows, THETA, TYPES)[-1] == 1.0


def _by(derivative: str, rows: Rows) -> list[Row]:
    return [row for row in done(rows) if row[DERIVATIVE] == derivative]


def _exact_is_right_at_once(rows: Rows) -> bool:
    found = [one.low for one in spreads(_by("exact", rows), FRAMES, WEIGHTS)]
    return bool(found) and min(found) > 0.999


def _differences_improve(rows: Rows) -> bool:
    found = medians(_by("differences", rows), FRAMES, WEIGHTS)
    return rising(found) and found[-1] < RIGHT


def _differences_are_doubted(rows: Rows) -> bool:
    some = _by("differences", rows)
    return bool(some) and not any(row[TRUSTED] for row in some)


OF_STUDIES: Mapping[str, tuple[Claim, ...]] = {
    "types": (
        Claim("One to four types are found, for every seed.", _all_types_are_found),
        Claim(
            "The weights are right for any number of types.", partial(_weights_are_right, KINDS)
        ),
    ),
    "inputs": (
        Claim(
            "The raw R² of the field rises with the number of modulated neurons, but falls if "
            "all are modulated.",
            _more_pixels_are_better,
        ),
        Claim("The weights are right for any of them.", partial(_weights_are_right, INPUTS)),
    ),
    "contrast": (
        Claim(
            "The raw R² of the field rises with the contrast of the movie; the weights are "
            "right for any contrast.",
            _contrast_helps,
        ),
    ),
    "speed": (Claim("The speed of the movie hardly matters yet.", _speed_hardly_matters),),
    "differences": (
        Claim(
            "With the exact derivative the weights are right from the shortest recording on, "
            "for every seed.",
            _exact_is_right_at_once,
        ),
        Claim(
            "With finite differences they get better with every frame, but are not right yet "
            "from the longest, although all its frames are used.",
            _differences_improve,
        ),
        Claim("None of these results is trusted.", _differences_are_doubted),
    ),
    "theta": (
        Claim(
            "The weights are right for any θ, and the types at the largest.",
            _theta_does_no_harm,
        ),
    ),
}
