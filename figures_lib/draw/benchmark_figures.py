"""Figures of the benchmark: functions of rows of its JSON that draw, and do nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from figures_lib.draw.style import TYPE_COLOURS, style
from figures_lib.runs.cost import Cost

Row = dict[str, Any]
BLUE, ORANGE, GREEN, PINK = TYPE_COLOURS[:4]


def plot_quartiles(
    ax: Axes, sizes: Sequence[int], spreads: Sequence[Row], label: str, colour: str
) -> Axes:
    """Medians with quartiles over a size, on logarithmic axes."""
    middle = np.array([s["median"] for s in spreads])
    low = middle - [s["q1"] for s in spreads]
    high = np.array([s["q3"] for s in spreads]) - middle
    ax.errorbar(
        sizes, middle, [low, high], fmt="o-", ms=4, capsize=3, color=colour, label=label
    )
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    return ax


def iteration(rows: Sequence[Row]) -> Figure:
    """Time of a training iteration on one frame, and how many times ours is faster."""
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
        sender = _measured(rows, transfer="sender")
        sizes = [row["neurons"] for row in sender]
        names = (("edges", "MLP on every edge", ORANGE), ("dense", "dense network", BLUE))
        for key, name, colour in names:
            plot_quartiles(axes[0], sizes, [row[key] for row in sender], name, colour)
        a_frame = [_divided(row["sweep"], row["sweep_frames"]) for row in sender]
        plot_quartiles(axes[0], sizes, a_frame, "sweep, a frame", GREEN)
        axes[0].set(xlabel="neurons N", ylabel="time (s)")
        ratios = (
            ("edges_over_dense", "dense, ψ$^*$(a$_j$, x$_j$)", BLUE),
            ("edges_over_sweep_frame", "sweep, a frame", GREEN),
        )
        for key, name, colour in ratios:
            plot_quartiles(axes[1], sizes, [row[key] for row in sender], name, colour)
        pair = _measured(rows, transfer="pair")
        plot_quartiles(
            axes[1],
            [row["neurons"] for row in pair],
            [row["edges_over_dense"] for row in pair],
            "dense, ψ$^*$(a$_i$, a$_j$, x$_j$)",
            PINK,
        )
        axes[1].axhline(1, color="0.5", lw=0.8, ls="--")
        axes[1].set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes[1].set(xlabel="neurons N", ylabel="times faster than MLP on every edge")
        for ax in axes:
            ax.legend(fontsize=8)
    return figure


def accuracy(curves: Sequence[Sequence[Row]], targets: Sequence[Row]) -> Figure:
    """1 − R² of the weights against the time of the sweeps, one line a seed."""
    with style():
        figure, ax = plt.subplots(figsize=(6.4, 3.6))
        for curve in curves:
            seconds = [step["seconds"] for step in curve]
            ax.plot(seconds, [1 - s["r2"] for s in curve], "o-", ms=2.5, lw=1, color=BLUE)
        for target in targets:
            ax.axhline(1 - target["r2"], color="0.6", lw=0.8, ls="--")
            ax.text(
                1.0,
                1 - target["r2"],
                f" R² = {target['r2']}",
                transform=ax.get_yaxis_transform(),
                va="top" if target["r2"] == 0.993 else "bottom",
                fontsize=8,
            )
        ax.set(yscale="log", xlabel="time of the sweeps (s)", ylabel="1 − R² of W, gauge-free")
    return figure


def machine_rates(rates: Row) -> Figure:
    """Share of the machine's measured rates that sweep and simulator reach."""
    shares = (
        ("sweep: operations / GEMM rate", rates["sweep"]["flops_over_gemm"], BLUE),
        ("sweep: bytes / copy rate", rates["sweep"]["bytes_over_copy"], ORANGE),
        ("simulator: operations / GEMM rate", rates["simulator"]["flops_over_gemm"], BLUE),
        ("simulator: bytes / copy rate", rates["simulator"]["bytes_over_copy"], ORANGE),
        ("simulator: bare W·ψ / whole step", rates["simulator"]["mv_share"], GREEN),
    )
    return _bars(shares, "share", 1.0)


def simulators(rows: Sequence[Row]) -> Figure:
    """How many times longer a step takes in other simulators."""
    known = [row for row in rows if "skipped" not in row]
    with style():
        figure, ax = plt.subplots(figsize=(5.6, 3.4))
        for name, colour in zip(
            sorted({row["rival"] for row in known}), (ORANGE, BLUE), strict=False
        ):
            mine = [row for row in known if row["rival"] == name]
            sizes = [row["neurons"] for row in mine]
            plot_quartiles(ax, sizes, [row["ratio"] for row in mine], name, colour)
        ax.axhline(1, color="0.5", lw=0.8, ls="--")
        ax.set(xlabel="neurons N", ylabel="time of a step, times ours")
        ax.legend(fontsize=8)
    return figure


def scaling(report: Row) -> Figure:
    """Time and memory against N and against the frames that a sweep reads."""
    fits = report["exponents"]
    panels: tuple[tuple[str, str, str, tuple[tuple[str, str, str], ...]], ...] = (
        (
            "by_neurons",
            "neurons",
            "time (s)",
            (("sweep_seconds", "a sweep", BLUE), ("step_seconds", "a simulated step", ORANGE)),
        ),
        ("by_neurons", "neurons", "memory (GB)", (("memory_bytes", "a sweep", GREEN),)),
        ("by_frames", "frames", "time (s)", (("sweep_seconds", "a sweep", BLUE),)),
        ("by_frames", "frames", "memory (GB)", (("memory_bytes", "a sweep", GREEN),)),
    )
    with style():
        figure, axes = plt.subplots(2, 2, figsize=(9, 6.4))
        for ax, (group, size, unit, lines) in zip(axes.flat, panels, strict=True):
            rows = [row for row in report[group] if "skipped" not in row]
            sizes = [row[size] for row in rows]
            letter = "N" if size == "neurons" else "T"
            for key, name, colour in lines:
                values = [row[key] / (1e9 if key == "memory_bytes" else 1) for row in rows]
                fitted = fits[f"{key.removesuffix('_bytes')}_{size}"]
                label = name if fitted is None else f"{name} ∝ {letter}$^{{{fitted:.2f}}}$"
                ax.loglog(sizes, values, "o-", ms=4, color=colour, label=label)
            ax.set_xticks(sizes, [f"{value:,}" for value in sizes])
            ax.minorticks_off()
            ax.set(xlabel="neurons N" if size == "neurons" else "frames read T", ylabel=unit)
            ax.legend(fontsize=8)
    return figure


def memory_plan(rows: Sequence[Row]) -> Figure:
    """What a long recording needs, and where it is."""
    with style():
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


def connectivity_solvers(rows: Sequence[Row]) -> Figure:
    """R² of W against time, one panel a kind of data: AdamW a line, least squares a star."""
    with style():
        figure, axes = plt.subplots(1, len(rows), figsize=(3 * len(rows), 3.2))
        for ax, row in zip(axes, rows, strict=True):
            steps, solved = row["adam"], row["least_squares"]
            ax.semilogx(
                [s["seconds"] for s in steps],
                [s["r2"] for s in steps],
                "o-",
                ms=3,
                color=ORANGE,
                label="AdamW",
            )
            ax.plot(
                solved["seconds"], solved["r2"], "*", ms=13, color=BLUE, label="least squares"
            )
            ax.set(title=f"{row['data']}: {row['frames']:,} frames", xlabel="time (s)")
            ax.set_ylim(-0.03, 1.05)
        axes[0].set_ylabel("R² of W")
        axes[0].legend(fontsize=8)
    return figure


def tables(times: Sequence[Row], errors: Sequence[Row]) -> Figure:
    """Speed of a table against the MLP, and the error of a table against its size."""
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.3))
        plot_quartiles(
            axes[0], [row["frames"] for row in times], [row["ratio"] for row in times], "", BLUE
        )
        axes[0].axhline(1, color="0.5", lw=0.8, ls="--")
        axes[0].set(xlabel="frames at once", ylabel="times faster than the MLP")
        for width, colour in ((1.0, ORANGE), (8.0, BLUE)):
            rows = [row for row in errors if row["width"] == width]
            knots = [row["knots"] for row in rows]
            axes[1].loglog(
                knots,
                [row["error"] for row in rows],
                "o-",
                ms=4,
                color=colour,
                label=f"tanh(x/{width:.0f})",
            )
            axes[1].set_xticks(knots, knots)
        axes[1].minorticks_off()
        axes[1].set(xlabel="knots", ylabel="largest error (fraction of range)")
        axes[1].legend(fontsize=8)
    return figure


def gauge(rows: Sequence[Row]) -> Figure:
    """R² of weights and field for each choice of row scales."""
    names = {
        "off": "left as it is",
        "rows": "row scales estimated",
        "smooth": "… and smoothed",
        "fitted": "fitted to the truth",
    }
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8, 2.4), sharey=True)
        parts = (("connectivity", "1 − R² of W", BLUE), ("field", "1 − R² of Ω, raw", ORANGE))
        for ax, (part, label, colour) in zip(axes, parts, strict=True):
            places = range(len(rows) - 1, -1, -1)
            ax.barh(places, [1 - row[part]["r2"] for row in rows], color=colour)
            ax.set_yticks(places, [names[row["gauge"]] for row in rows])
            ax.set(xscale="log", xlabel=label)
            ax.xaxis.set_minor_formatter(NullFormatter())
    return figure


def sweeps(rows: Sequence[Row]) -> Figure:
    """Loss and error of the weights after every sweep by type, for each kind of sweep."""
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(8, 3))
        for row, colour in zip(rows, (ORANGE, GREEN, BLUE), strict=True):
            label = f"{row['variant']}, M = {row['windows']}"
            axes[0].semilogy(row["loss"], color=colour, label=label)
            error = [1 - r2 for r2 in row["r2_gauge_free"]]
            axes[1].semilogy(error, color=colour)
        axes[0].set(xlabel="sweeps by type", ylabel="unexplained variance of x′")
        axes[1].set(xlabel="sweeps by type", ylabel="1 − R² of W, gauge-free")
        axes[0].legend(fontsize=8)
    return figure


def clustering(rows: Sequence[Row]) -> Figure:
    """Accuracy of types and weights against the sweep at which the types are found."""
    panels: tuple[tuple[str, str, str, Callable[[Row], float]], ...] = (
        ("share of neurons in the right type", BLUE, "linear", lambda row: row["accuracy"]),
        ("1 − R² of W, gauge-free", ORANGE, "log", lambda row: 1 - row["r2_gauge_free"]),
        ("time of all sweeps (s)", GREEN, "linear", lambda row: row["seconds"]),
    )
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(10, 3))
        for ax, (label, colour, scale, value) in zip(axes, panels, strict=True):
            ax.plot(
                [row["neuron_sweeps"] for row in rows],
                [value(row) for row in rows],
                "o-",
                ms=4,
                color=colour,
            )
            ax.set(xlabel="sweeps before clustering", ylabel=label, yscale=scale)
            if scale == "linear":
                ax.set_ylim(bottom=0)
            else:
                ax.yaxis.set_minor_formatter(NullFormatter())
    return figure


def shards(plans: Sequence[Cost]) -> Figure:
    """Memory of a process, and its time for a sweep, against the number of processes."""
    ranks = [plan.ranks for plan in plans]
    names = sorted(plans[0].memory, key=lambda name: -plans[0].memory[name])
    colours = [*TYPE_COLOURS, "0.45"]
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        total = [sum(plan.memory.values()) / 1e9 for plan in plans]
        axes[0].plot(ranks, total, "o-", ms=4, color="black", label="all")
        for name, colour in zip(names, colours, strict=False):
            sizes = [plan.memory[name] / 1e9 for plan in plans]
            axes[0].plot(ranks, sizes, color=colour, label=name)
        for name, colour, seconds in (
            ("operations", BLUE, [plan.compute_seconds for plan in plans]),
            ("exchanges", ORANGE, [plan.exchange_seconds for plan in plans]),
        ):
            axes[1].plot(ranks, seconds, "o-", ms=4, color=colour, label=name)
        axes[0].set(ylabel="memory of a process (GB)", ylim=(1e-3, None))  # room for names
        axes[1].set(ylabel="time of a sweep at the assumed rates (s)")
        for ax in axes:
            ax.set(xscale="log", yscale="log", xlabel="processes")
            ax.set_xticks(ranks, [str(count) for count in ranks])
            ax.minorticks_off()
            ax.legend(fontsize=7)
    return figure


def _measured(rows: Sequence[Row], transfer: str) -> list[Row]:
    return [row for row in rows if row["transfer"] == transfer and "skipped" not in row]


def _divided(spread: Row, by: int) -> Row:
    return {key: spread[key] / by for key in ("median", "q1", "q3")}


def _bars(shares: Sequence[tuple[str, Row, str]], label: str, limit: float) -> Figure:
    """Horizontal bars of medians with quartiles, and a line at the limit."""
    with style():
        figure, ax = plt.subplots(figsize=(7, 2.6))
        for place, (_, one, colour) in enumerate(reversed(shares)):
            error = [[one["median"] - one["q1"]], [one["q3"] - one["median"]]]
            ax.barh(place, one["median"], xerr=error, color=colour, capsize=3)
        ax.set_yticks(range(len(shares)), [name for name, *_ in reversed(shares)])
        ax.axvline(limit, color="0.5", lw=0.8, ls="--")
        ax.set(xlabel=label)
    return figure
