"""What to record next, or to give, so that a result may be trusted: from the evidence alone."""

import math

from figures_lib.infer.diagnosis import ALIKE, EXPECTED, STRUCTURE
from figures_lib.model.inferred import Diagnosis

FAR = 1000.0  # times as many frames: more is no advice
SLOWER = 1.2  # times as many frames as the rule says, because it is a rule of thumb


def advice(diagnosis: Diagnosis, differences: bool) -> list[str]:
    """Sentences that say what would help; none if the result is trusted.

    Args:
        diagnosis: of the result.
        differences: whether dx/dt was taken from differences of the activity.
    """
    if diagnosis.trusted:
        return []
    found = []
    if diagnosis.structure > STRUCTURE:
        found.append(
            "The model misses what is no noise: name the neurons that a hidden input may "
            "modulate, and look for neurons that act on these but were not recorded."
        )
    if (times := more_frames(diagnosis.expected_r2)) > 1:
        found.append(
            f"Record about {times:.2g} times as long at the same rate: the error of the "
            "weights falls with the square root of the number of frames."
            if times < FAR
            else "The weights are hardly determined at all: recording longer alone will not do."
        )
    if diagnosis.entanglement > ALIKE:
        found.append(
            "The activities of different neurons are much alike: drive the neurons "
            "independently of each other, or leave out those that repeat others."
        )
    if diagnosis.saturated:
        found.append(
            "Some neurons hardly change what they send: stimulate them so that their activity "
            "visits a wider range."
        )
    if differences:
        found.append(
            "The rate of change was taken from differences of frames, which hold all the noise "
            "of a time step: give a better one as “derivative” if there is one."
        )
    return found


def more_frames(expected_r2: float) -> float:
    """How many times as many frames would lead one to expect weights that are trusted.

    The squared error of W falls as one over the number of frames, so that (1 − R²)/R² does.
    NaN if nothing is expected yet.
    """
    if not 0 <= expected_r2 <= 1:
        return math.nan
    if expected_r2 == 0:
        return math.inf
    ratio = (1 - expected_r2) / expected_r2 * EXPECTED / (1 - EXPECTED)
    return SLOWER * ratio if ratio > 1 else 1.0
