"""One page on a recording of one's own: what was read, what was found, what may be believed."""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pyarrow
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from figures_lib.draw.own_figures import own_result
from figures_lib.draw.style import style
from figures_lib.infer.diagnosis import CERTAIN
from figures_lib.model.inferred import Model
from figures_lib.runs.files import part_of
from figures_lib.runs.own import (
    Connection,
    OwnRun,
    connections,
    found_at,
    strongest,
)
from figures_lib.runs.provenance import machine
from figures_lib.score.advice import advice
from figures_lib.score.prediction import Predictions
from figures_lib.score.significance import RATE

STRONGEST = 20  # connections that the page lists
PLAIN = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # no metadata in an SVG
NOTHING = 1e-9  # a smaller q is written as such


def write_report(own: OwnRun, model: Model) -> Path:
    """Write ``report.html``, which needs no other file and no network, into the run's folder.

    Args:
        own: the recording, and where its results are.
        model: what was inferred from it.

    Returns:
        The file.
    """
    opened, diagnosis = own.opened, model.diagnosis
    predicted, table = own.predictions(model), connections(model, opened.names)
    about = machine()
    page = Environment(loader=PackageLoader("figures_lib", "draw"), autoescape=True)
    text = page.get_template("report.html.jinja").render(
        recording=own.file.name,
        trusted=diagnosis.trusted,
        reasons=diagnosis.reasons,
        expected=_number(diagnosis.expected_r2),
        advice=advice(diagnosis, opened.recording.differences),
        understood=opened.description,
        kinds=_kinds(model),
        edges=_edges(model, table),
        figure=_inline(own_result(opened.recording, model, predicted)),
        strongest=[_written(one) for one in strongest(table, STRONGEST)],
        predictions=[] if predicted is None else list(_rows(predicted)),
        horizon=0 if predicted is None else predicted.horizon,
        origin=f"Inferred on {about['date']}, commit {about['commit'] or 'unknown'}.",
    )
    place = own.out / "report.html"
    part = part_of(place)
    part.write_text(text, encoding="utf-8")
    part.replace(place)
    return place


def _written(one: Connection) -> dict[str, str]:
    numbers = {"weight": _number(one.weight, "+.3g"), "error": _number(one.error, ".2g")}
    none = one.q is not None and one.q < NOTHING
    q = f"< {NOTHING:g}" if none else _number(one.q, ".2g")
    return {"from": one.sender, "to": one.receiver, **numbers, "q": q}


def _number(value: float | None, form: str = ".4f") -> str:
    return "not known" if value is None or math.isnan(value) else format(value, form)


def _kinds(model: Model) -> str:
    if len(model.types) == 1:
        return "There is one neuron."
    if model.continuum:
        return f"The {len(model.types)} neurons fall into no types: no two are alike."
    count = model.types_found
    return f"The {len(model.types)} neurons are of {count} type{'s' if count > 1 else ''}."


def _edges(model: Model, table: pyarrow.Table) -> str:
    if model.errors is None:
        return "The errors of the weights are not known."
    if not model.diagnosis.connected >= CERTAIN:
        return "No single connection was tested, because all together they explain nothing."
    found = found_at(table, RATE).num_rows
    text = (
        f"{found:,} of {table.num_rows:,} possible connections are found at a rate of false "
        f"discoveries of {RATE:g}"
    )
    if not model.diagnosis.trusted:
        text += ", provided that the model is right, of which the verdict is not convinced"
    share = 100 * model.errors.false_positives
    if math.isnan(share):
        return text + "."
    return (
        f"{text}. The test behind it was tried on neurons whose activity was shifted in time, "
        f"which cannot act on others: it takes {share:.1f} % of them for connections at a "
        "level of 5 %."
    )


def _rows(predicted: Predictions) -> Iterator[dict[str, Any]]:
    for name, later in predicted.activity.items():
        derivative = predicted.derivative[name]
        yield {
            "name": "this model" if name == "model" else name,
            "derivative": _number(derivative),
            "later": _number(float(later[-1])),
        }


def _inline(figure: Figure) -> Markup:
    """A figure as an SVG element."""
    text = io.StringIO()
    with style(), plt.rc_context({"svg.hashsalt": "own"}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata=PLAIN)
    plt.close(figure)
    whole = text.getvalue()
    return Markup(whole[whole.index("<svg") :])
