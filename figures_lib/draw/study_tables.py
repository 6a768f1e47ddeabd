"""Tables of parameter studies: rows of ``results.csv`` as text for a notebook and the site."""

from collections.abc import Mapping, Sequence

from figures_lib.draw.benchmark_tables import Table
from figures_lib.draw.study_figures import METHOD_NAMES
from figures_lib.infer.diagnosis import NETWORKS
from figures_lib.studies.claim import RIGHT
from figures_lib.studies.results import REASON, STATUS, Row, Status, done


def methods(recordings: Mapping[str, Sequence[Row]]) -> Table:
    """What each method finds in each recording, and how long it takes."""
    header = (
        *("recording", "method", "steps", "time", "R² of W", "gauge-free"),
        *("R² of Ω, gauge-free", "types", "φ, ψ error", "trusted"),
    )
    rows = []
    for name, found in recordings.items():
        for row in done(found):
            steps = row.get("training.steps")
            rows.append(
                (
                    *(
                        name,
                        METHOD_NAMES[row["inference.method"]],
                        f"{steps:,}" if steps else "–",
                    ),
                    f"{row['time.infer_s']:.0f} s",
                    *(_r2(row[f"connectivity.{key}"]) for key in ("r2", "r2_gauge_free")),
                    _r2(row["external_input.r2_gauge_free"]),
                    str(row["types.n_found"] or "none"),
                    f"{row['phi.max_error']:.3f}, {row['psi.max_error']:.3f}",
                    "yes" if row["diagnosis.trusted"] else "no",
                )
            )
    return Table(header, tuple(rows))


def verdicts(rows: Sequence[Row]) -> Table:
    """How often the verdict was right: experiments by verdict and by what is true of W."""
    finished, lines = done(rows), []
    for name, some in (
        ("trusted", [row for row in finished if row["diagnosis.trusted"]]),
        (
            "not trusted, for its networks alone",
            [row for row in finished if networks_only(row)],
        ),
        (
            "not trusted, for other reasons",
            [row for row in finished if not (row["diagnosis.trusted"] or networks_only(row))],
        ),
    ):
        right = sum(row["connectivity.r2_gauge_free"] >= RIGHT for row in some)
        lines.append((name, str(right), str(len(some) - right)))
    failed = len(rows) - len(finished)
    lines.append(("ended with an error", str(failed), ""))
    return Table(("verdict", f"R² of W ≥ {RIGHT}", f"R² of W < {RIGHT}"), tuple(lines))


def networks_only(row: Row) -> bool:
    """Whether the only reason not to trust a result is that its networks fit badly."""
    missed = row["diagnosis.heldout_r2_tables"] - row["diagnosis.heldout_r2"]
    return len(row["diagnosis.reasons"]) == 1 and missed > NETWORKS


def experiments(rows: Sequence[Row]) -> Table:
    """Every experiment: what was drawn, what came out, and the verdict with its reasons."""
    header = (
        *("neurons", "frames", "noise", "modulated", "types", "weights", "filled", "x'"),
        *("R² of W", "expected", "verdict"),
    )
    lines = []
    for row in rows:
        drawn = (
            str(row["simulation.neurons"]),
            f"{row['simulation.frames']:,}",
            f"{row['simulation.noise']:.2g}",
            str(row["simulation.input_neurons"]),
            str(len(row["neuron_types"])),
            row["connectivity.distribution"].replace("_", " "),
            f"{row['connectivity.density']:.0%}",
            row["inference.derivative"],
        )
        if row[STATUS] == Status.DONE:
            reasons = "; ".join(row["diagnosis.reasons"])
            found = (
                _r2(row["connectivity.r2_gauge_free"]),
                _r2(row["diagnosis.expected_r2"]),
                "trusted" if row["diagnosis.trusted"] else f"not trusted: {reasons}",
            )
        else:
            found = ("–", "–", f"error: {row[REASON]}")
        lines.append((*drawn, *found))
    return Table(header, tuple(lines))


def _r2(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
