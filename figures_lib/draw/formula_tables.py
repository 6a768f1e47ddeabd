"""Table of the formulas of the learned functions: parameters of every type, with errors."""

from collections.abc import Mapping
from typing import Any

from figures_lib.draw.benchmark_tables import Table

SHOWN = 12  # types, at most
DIGITS = 2  # of a standard error


def formulas(metrics: Mapping[str, Any]) -> Table:
    """Each parameter of each found type with its standard error, and the true one in brackets.

    Args:
        metrics: the scores of a run.
    """
    parameters = {
        key.removeprefix("formulas."): value
        for key, value in metrics.items()
        if key.startswith("formulas.") and isinstance(value, Mapping)
    }
    count = max((len(one["learned"]) for one in parameters.values()), default=0)
    rows = [
        (str(k + 1), *(_cell(*(one[part][k] for part in PARTS)) for one in parameters.values()))
        for k in range(min(count, SHOWN))
    ]
    if count > SHOWN:
        rows.append((f"and {count - SHOWN} more", *[""] * len(parameters)))
    return Table(("type", *parameters), tuple(rows))


PARTS = ("learned", "error", "true")


def _cell(learned: float | None, error: float | None, true: float | None) -> str:
    """E.g. ``1.0007 ± 0.0021 (1)``: as many digits as the error has."""
    if learned is None or error is None:
        return "–"
    digits = 0
    while digits < 6 and round(error, digits) * 10**digits < 10 ** (DIGITS - 1):
        digits += 1
    known = "" if true is None else f" ({true:g})"
    return f"{learned:.{digits}f} ± {error:.{digits}f}{known}"
