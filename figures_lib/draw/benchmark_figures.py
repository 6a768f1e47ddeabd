"""Figures of the benchmark: functions of rows of its JSON that only draw."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from figures_lib.draw.style import TYPE_COLOURS, style
from figures_lib.runs.cost import Cost

Row = dict[str, Any]
QUARTILES = ("median", "q1", "q3")
BLUE, ORANGE, GREEN, PINK = TYPE_COLOURS[:4]
EVEN: dict[str, Any] = {"color": "0.5", "lw": 0.8, "ls": "--"}  # line of equal speed


def plot_quartiles(
    ax: Axes, rows: Sequence[Row], size: str, key: str, label: str, colour: str
) -> None:
    """Medians with quartiles of a key against a size, on logarithmic axes."""
    sizes, spreads = _columns(rows, size, key)
    middle, low, high = map(np.array, _columns(spreads, *QUARTILES))
    reach = [middle - low, high - middle]
    ax.errorbar(sizes, middle, reach, fmt="o-", ms=4, capsize=3, color=colour, label=label)
    ax.set(xscale="log", yscale="log")
    _mark(ax, sizes)


@style()
def iteration(rows: Sequence[Row]) -> Figure:
    """Time of a training iteration on one frame, and how many times faster ours is."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    sender, pair = _measured(rows, transfer="sender"), _measured(rows, transfer="pair")
    per_frame = [
        row | {"sweep": {key: row["sweep"][key] / row["sweep_frames"] for key in QUARTILES}}
        for row in sender
    ]
    for ax, some, key, name, colour in (
        (axes[0], sender, "edges", "MLP on every edge", ORANGE),
        (axes[0], sender, "dense", "dense network", BLUE),
        (axes[0], per_frame, "sweep", "sweep, per frame", GREEN),
        (axes[1], sender, "edges_over_dense", "dense, ψ$^*$(a$_j$, x$_j$)", BLUE),
        (axes[1], sender, "edges_over_sweep_frame", "sweep, per frame", GREEN),
        (axes[1], pair, "edges_over_dense", "dense, ψ$^*$(a$_i$, a$_j$, x$_j$)", PINK),
    ):
        plot_quartiles(ax, some, "neurons", key, name, colour)
    axes[1].axhline(1, **EVEN)
    axes[0].set_ylabel("time (s)")
    axes[1].set_ylabel("times faster than MLP on every edge")
    for ax in axes:
        _mark(ax, [row["neurons"] for row in sender])
        ax.set_xlabel("neurons N")
        ax.legend(fontsize=8)
    return figure


@style()
def accuracy(curves: Sequence[Sequence[Row]], targets: Sequence[Row]) -> Figure:
    """1 − R² of the weights against the time of the sweeps, one line per seed."""
    figure, ax = plt.subplots(figsize=(6.4, 3.6))
    for curve in curves:
        seconds, r2 = _columns(curve, "seconds", "r2")
        ax.plot(seconds, 1 - np.array(r2), "o-", ms=2.5, lw=1, color=BLUE)
    beside = ax.get_yaxis_transform()
    for r2 in (target["r2"] for target in targets):
        ax.axhline(1 - r2, color="0.6", lw=0.8, ls="--")
        place = "top" if r2 == 0.993 else "bottom"
        ax.text(1.0, 1 - r2, f" R² = {r2}", transform=beside, va=place, fontsize=8)
    ax.set(yscale="log", xlabel="time of the sweeps (s)", ylabel="1 − R² of W, gauge-free")
    return figure


@style()
def machine_rates(rates: Row) -> Figure:
    """Share of the machine's measured rates that sweep and simulator reach."""
    shares = (
        ("sweep: operations / GEMM rate", rates["sweep"]["flops_over_gemm"], BLUE),
        ("sweep: bytes / copy rate", rates["sweep"]["bytes_over_copy"], ORANGE),
        ("simulator: operations / GEMM rate", rates["simulator"]["flops_over_gemm"], BLUE),
        ("simulator: bytes / copy rate", rates["simulator"]["bytes_over_copy"], ORANGE),
        ("simulator: bare W·ψ / whole step", rates["simulator"]["mv_share"], GREEN),
    )
    figure, ax = plt.subplots(figsize=(7, 2.6))
    for place, (_, one, colour) in enumerate(reversed(shares)):
        error = [[one["median"] - one["q1"]], [one["q3"] - one["median"]]]
        ax.barh(place, one["median"], xerr=error, color=colour, capsize=3)
    ax.set_yticks(range(len(shares)), [name for name, *_ in reversed(shares)])
    ax.axvline(1, **EVEN)
    ax.set(xlabel="share")
    return figure


@style()
def simulators(rows: Sequence[Row]) -> Figure:
    """How many times longer a step takes in other simulators."""
    figure, ax = plt.subplots(figsize=(5.6, 3.4))
    names = sorted({row["rival"] for row in _measured(rows)})
    for name, colour in zip(names, (ORANGE, BLUE), strict=False):
        plot_quartiles(ax, _measured(rows, rival=name), "neurons", "ratio", name, colour)
    ax.axhline(1, **EVEN)
    ax.set(xlabel="neurons N", ylabel="time of a step, relative to ours")
    ax.legend(fontsize=8)
    return figure


@style()
def scaling(report: Row) -> Figure:
    """Time and memory against N and against the frames that a sweep reads."""
    sizes = {"neurons": "neurons N", "frames": "frames read T"}
    values = {
        "time (s)": {
            "sweep_seconds": ("sweep", BLUE, 1.0),
            "step_seconds": ("simulated step", ORANGE, 1.0),
        },
        "memory (GB)": {"memory_bytes": ("sweep", GREEN, 1e9)},
    }
    fits = report["exponents"]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4))
    for ax, (size, unit) in zip(axes.flat, product(sizes, values), strict=True):
        rows = _measured(report[f"by_{size}"])
        for key, (name, colour, scale) in values[unit].items():
            fit = f"{key.removesuffix('_bytes')}_{size}"
            if fit in fits:
                law = "" if fits[fit] is None else f" ∝ {sizes[size][-1]}$^{{{fits[fit]:.2f}}}$"
                look: dict[str, Any] = {"ms": 4, "color": colour, "label": name + law}
                measured = [row[size] for row in rows], [row[key] / scale for row in rows]
                ax.loglog(*measured, "o-", **look)
        _mark(ax, [row[size] for row in rows])
        ax.set(xlabel=sizes[size], ylabel=unit)
        ax.legend(fontsize=8)
    return figure


@style()
def memory_plan(rows: Sequence[Row]) -> Figure:
    """What a long recording needs, in memory and on disk."""
    figure, ax = plt.subplots(figsize=(7.4, 3))
    tint = {"disk": "#bbbbbb", "memory": BLUE}
    for place, row in enumerate(reversed(rows)):
        size = row["bytes"] / 1e9
        ax.barh(place, size, color=tint[row["where"]])
        ax.text(size, place, f" {size:.2f} GB, {row['where']}", va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), [row["what"] for row in reversed(rows)])
    ax.set(xlabel="size (GB)")
    ax.margins(x=0.2)
    return figure


@style()
def connectivity_solvers(rows: Sequence[Row]) -> Figure:
    """R² of W against time, one panel per kind of data: AdamW (line), least squares (star)."""
    figure, axes = plt.subplots(1, len(rows), figsize=(3 * len(rows), 3.2))
    for ax, row in zip(axes, rows, strict=True):
        steps, solved = row["adam"], [row["least_squares"]]
        curve, star = (_columns(some, "seconds", "r2") for some in (steps, solved))
        ax.semilogx(*curve, "o-", ms=3, color=ORANGE, label="AdamW")
        ax.plot(*star, "*", ms=13, color=BLUE, label="least squares")
        ax.set(title=f"{row['data']}: {row['frames']:,} frames", xlabel="time (s)")
        ax.set_ylim(-0.03, 1.05)
    axes[0].set_ylabel("R² of W")
    axes[0].legend(fontsize=8)
    return figure


@style()
def tables(times: Sequence[Row], errors: Sequence[Row]) -> Figure:
    """Speed of a table against the MLP, and the error of a table against its size."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.3))
    plot_quartiles(axes[0], times, "frames", "ratio", "", BLUE)
    axes[0].axhline(1, **EVEN)
    axes[0].set(xlabel="frames at once", ylabel="times faster than the MLP")
    for width, colour in ((1.0, ORANGE), (8.0, BLUE)):
        knots, error = _columns(_measured(errors, width=width), "knots", "error")
        axes[1].loglog(knots, error, "o-", ms=4, color=colour, label=f"tanh(x/{width:.0f})")
        _mark(axes[1], knots)
    axes[1].set(xlabel="knots", ylabel="largest error (fraction of range)")
    axes[1].legend(fontsize=8)
    return figure


@style()
def gauge(rows: Sequence[Row]) -> Figure:
    """R² of weights and field for each choice of row scales."""
    names = {
        "off": "left as it is",
        "rows": "row scales estimated",
        "smooth": "… and smoothed",
        "fitted": "fitted to the truth",
    }
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.4), sharey=True)
    parts = (("connectivity", "1 − R² of W", BLUE), ("field", "1 − R² of Ω, raw", ORANGE))
    for ax, (part, label, colour) in zip(axes, parts, strict=True):
        places = range(len(rows) - 1, -1, -1)
        ax.barh(places, [1 - row[part]["r2"] for row in rows], color=colour)
        ax.set_yticks(places, [names[row["gauge"]] for row in rows])
        ax.set(xscale="log", xlabel=label)
        ax.xaxis.set_minor_formatter(NullFormatter())
    return figure


@style()
def sweeps(rows: Sequence[Row]) -> Figure:
    """Loss and error of the weights after every sweep by type, for each variant."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    for row, colour in zip(rows, (ORANGE, GREEN, BLUE), strict=True):
        label = f"{row['variant']}, M = {row['windows']}"
        axes[0].semilogy(row["loss"], color=colour, label=label)
        axes[1].semilogy([1 - r2 for r2 in row["r2_gauge_free"]], color=colour)
    axes[0].set(xlabel="sweeps by type", ylabel="unexplained variance of x′")
    axes[1].set(xlabel="sweeps by type", ylabel="1 − R² of W, gauge-free")
    axes[0].legend(fontsize=8)
    return figure


@style()
def clustering(rows: Sequence[Row]) -> Figure:
    """Accuracy of types and weights against the sweeps before the types are found."""
    before, right, r2, seconds = _columns(
        rows, "neuron_sweeps", "accuracy", "r2_gauge_free", "seconds"
    )
    figure, axes = plt.subplots(1, 3, figsize=(10, 3))
    for ax, values, label, colour in (
        (axes[0], right, "share of neurons in the right type", BLUE),
        (axes[1], 1 - np.array(r2), "1 − R² of W, gauge-free", ORANGE),
        (axes[2], seconds, "time of all sweeps (s)", GREEN),
    ):
        ax.plot(before, values, "o-", ms=4, color=colour)
        ax.set(xlabel="sweeps before clustering", ylabel=label)
    for ax in axes[::2]:
        ax.set_ylim(bottom=0)
    axes[1].set_yscale("log")
    axes[1].yaxis.set_minor_formatter(NullFormatter())
    return figure


@style()
def shards(plans: Sequence[Cost]) -> Figure:
    """Memory per process and time per sweep against the number of processes."""
    ranks = [plan.ranks for plan in plans]
    names = sorted(plans[0].memory, key=lambda name: -plans[0].memory[name])
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    total = [sum(plan.memory.values()) / 1e9 for plan in plans]
    axes[0].plot(ranks, total, "o-", ms=4, color="black", label="all")
    for name, colour in zip(names, (*TYPE_COLOURS, "0.45"), strict=False):
        sizes = [plan.memory[name] / 1e9 for plan in plans]
        axes[0].plot(ranks, sizes, color=colour, label=name)
    for name, colour, seconds in (
        ("operations", BLUE, [plan.compute_seconds for plan in plans]),
        ("exchanges", ORANGE, [plan.exchange_seconds for plan in plans]),
    ):
        axes[1].plot(ranks, seconds, "o-", ms=4, color=colour, label=name)
    axes[0].set(ylabel="memory per process (GB)", ylim=(1e-3, None))  # room for the legend
    axes[1].set(ylabel="time per sweep at the assumed rates (s)")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="processes")
        _mark(ax, ranks)
        ax.legend(fontsize=7)
    return figure


def _measured(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows that were not skipped and have the wanted values."""
    return [r for r in rows if "skipped" not in r and wanted.items() <= r.items()]


def _columns(rows: Sequence[Row], *keys: str) -> list[list[Any]]:
    """The values of each key."""
    return [[row[key] for row in rows] for key in keys]


def _mark(ax: Axes, sizes: Sequence[int]) -> None:
    """A tick at each size and nowhere else."""
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
