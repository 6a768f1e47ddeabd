"""Figures of parameter studies: functions of rows of ``results.csv`` that only draw."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from operator import itemgetter

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from figures_lib.draw.style import TYPE_COLOURS, style
from figures_lib.studies.claim import RIGHT
from figures_lib.studies.results import REASON, STATUS, Row, Status, done, varied_keys
from figures_lib.studies.studies import spreads

PANELS = (
    ("R² of W", {"connectivity.r2": "raw", "connectivity.r2_gauge_free": "gauge-free"}),
    ("R² of Ω", {"external_input.r2": "raw", "external_input.r2_gauge_free": "gauge-free"}),
    ("neurons of the right type", {"types.accuracy": ""}),
)
FORMS = ("o-", "o--")  # of the metrics of a panel, in their order
ACROSS = 4  # panels of the overview side by side
SEEDS = ("seed", "inference.seed")
METHOD_NAMES = {"sweeps": "alternating least squares", "gradient": "stochastic gradients"}
METHODS = (("sweeps", "s", TYPE_COLOURS[0]), ("gradient", "o-", TYPE_COLOURS[1]))
LEAST_MISS = 1e-6  # smaller values of 1 − R² are drawn here
FLOOR = -0.05  # lower values of R² are drawn here: they carry no more information
WIDE = 20  # ratio of the values of a parameter from which its axis is logarithmic


@style()
def study(rows: Sequence[Row], key: str, label: str, by: str | None = None) -> Figure:
    """Weights, field and types against a parameter; one colour per value of ``by``."""
    groups = [None] if by is None else list(dict.fromkeys(row[by] for row in rows))
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.5))
    for ax, (title, metrics) in zip(axes, PANELS, strict=True):
        lines = list(zip(FORMS, metrics.items(), strict=False))
        for (place, group), (form, (metric, name)) in product(enumerate(groups), lines):
            some = [row for row in rows if by is None or row[by] == group]
            entry = ", ".join(filter(None, (group, name)))
            plot_seeds(ax, some, key, metric, entry, TYPE_COLOURS[place], form)
        ax.set(xlabel=label, ylabel=title, ylim=(FLOOR, 1.05))
        if ax.get_xscale() == "log":
            _label_decades(ax)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    lost = [row for row in rows if row[STATUS] != Status.DONE]
    if lost:
        figure.suptitle(f"of {len(rows)} runs {_ends(lost)}", fontsize=9)
    return figure


@style()
def overview(rows: Sequence[Row]) -> Figure:
    """Every metric against every key that a sweep varies but its seeds.

    A line is one setting of the other keys, if they are few; otherwise all runs with the same
    value are taken together.
    """
    keys = [key for key in varied_keys(rows) if key not in SEEDS] or varied_keys(rows)
    columns = dict.fromkeys(column for row in rows for column in row)
    metrics = [column for column in columns if _drawn(rows, column)]
    across = -(-len(metrics) // ACROSS)  # rows of panels per key
    high = max(1, across * len(keys))
    size = (11, 0.5 + 2.1 * high)
    figure, axes = plt.subplots(high, ACROSS, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for number, key in enumerate(keys):
        panels = axes[number * across : (number + 1) * across].flat
        others = [other for other in keys if other != key]
        for ax, metric in zip(panels, metrics, strict=False):
            ax.set_axis_on()
            ax.set(xlabel=key, title=metric)
            _plot_settings(ax, rows, key, others, metric)
            if metric == metrics[0] and ax.get_legend_handles_labels()[1]:
                ax.legend(fontsize=6, title=", ".join(others), title_fontsize=6)
    figure.suptitle(_ends(rows), fontsize=9)
    return figure


@style()
def methods(recordings: Mapping[str, Sequence[Row]]) -> Figure:
    """How much of W each method misses, against the time that it takes; one panel each."""
    size = (3.6 * len(recordings), 3.4)
    figure, axes = plt.subplots(1, len(recordings), figsize=size, sharey=True, squeeze=False)
    for ax, (name, rows) in zip(axes.flat, recordings.items(), strict=True):
        for method, form, colour in METHODS:
            found = [row for row in done(rows) if row["inference.method"] == method]
            found.sort(key=itemgetter("time.infer_s"))
            x = [row["time.infer_s"] / 60 for row in found]
            y = [1 - row["connectivity.r2_gauge_free"] for row in found]
            ax.plot(x, y, form, color=colour, label=METHOD_NAMES[method])
        ax.set(xscale="log", yscale="log", xlabel="time of inference (min)", title=name)
        ax.margins(0.15)
        _label_decades(ax)
    axes[0, 0].set_ylabel("1 − R² of W, scales fitted")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@style()
def calibration(rows: Sequence[Row]) -> Figure:
    """What the verdict expects of the weights, without the truth, against what they are."""
    figure, ax = plt.subplots(figsize=(5.6, 4.6))
    for trusted, form, colour in ((True, "o", TYPE_COLOURS[0]), (False, "x", TYPE_COLOURS[3])):
        some = [row for row in done(rows) if row["diagnosis.trusted"] == trusted]
        missed = [1 - row["connectivity.r2_gauge_free"] for row in some]
        expected = [1 - (row["diagnosis.expected_r2"] or 0.0) for row in some]
        label = f"{'trusted' if trusted else 'not trusted'}: {len(some)} results"
        ax.plot(
            *(np.clip(one, LEAST_MISS, 1) for one in (missed, expected)),
            form,
            color=colour,
            label=label,
            ms=5,
        )
    ax.axvline(1 - RIGHT, color="0.5", lw=1)
    ax.text(1 - RIGHT, LEAST_MISS, f" R² = {RIGHT}", color="0.4", fontsize=8, va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="1 − R² of W, scales fitted to the truth")
    ax.set_ylabel("1 − R² of W expected without the truth")
    ax.legend(loc="upper left")
    return figure


def _label_decades(ax: Axes) -> None:
    """Ticks at 1 and 3 of every power of ten, as plain numbers."""
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter("{x:,.6g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _ends(rows: Sequence[Row]) -> str:
    """How many runs ended in which way."""
    counts = Counter(row[STATUS] for row in rows)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _drawn(rows: Sequence[Row], name: str) -> bool:
    """Whether a column is a metric that is a number."""
    columns = list(rows[0])
    settings = (*columns[: columns.index(REASON) + 1], *SEEDS)
    values = [row[name] for row in rows if row.get(name) is not None]
    numbers = all(isinstance(value, int | float) for value in values)
    return name not in settings and bool(values) and numbers


def _plot_settings(
    ax: Axes, rows: Sequence[Row], key: str, others: Sequence[str], metric: str
) -> None:
    """One panel of the overview."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        values = (row[other] for other in others)
        setting = ", ".join(f"{len(v) if isinstance(v, list) else v}" for v in values)
        groups.setdefault(setting, []).append(row)
    if len(groups) > len(TYPE_COLOURS):
        groups = {"": list(rows)}
    for (setting, some), colour in zip(groups.items(), TYPE_COLOURS, strict=False):
        plot_seeds(ax, some, key, metric, setting, colour)
    names = sorted({row[key] for row in rows if isinstance(row[key], str)})
    if names:
        ax.set_xticks(range(len(names)), names)


def plot_seeds(
    ax: Axes,
    rows: Sequence[Row],
    key: str,
    metric: str,
    label: str,
    colour: str,
    form: str = "o-",
) -> None:
    """Medians over the seeds, with bars from the worst to the best."""
    found = spreads(rows, key, metric)
    if not found:
        return
    x = [one.value for one in found]
    middle, low, high = (
        np.clip([getattr(one, name) for one in found], FLOOR, None)
        for name in ("median", "low", "high")
    )
    reach = [middle - low, high - middle]
    ax.errorbar(x, middle, reach, fmt=form, ms=4, capsize=3, color=colour, label=label or None)
    if x[0] > 0 and x[-1] / x[0] > WIDE:
        ax.set_xscale("log")
