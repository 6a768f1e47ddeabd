"""Tables of the benchmark: rows of its JSON as text that a notebook and the site render."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from figures_lib.runs.cost import Cost

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Cells of text; HTML where it can be shown, aligned columns elsewhere."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        """Aligned columns."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )

    def _repr_html_(self) -> str:
        head, *body = (
            "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line)
            for line, tag in zip(
                (self.header, *self.rows), ("th", *["td"] * len(self.rows)), strict=True
            )
        )
        rows = "".join(f"<tr>{cells}</tr>" for cells in body)
        table = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
        table = f'<table class="table" style="width: auto">{table}</table>'
        return f'<div style="overflow-x: auto">{table}</div>'  # a phone scrolls the table only


def machine(report: Row) -> Table:
    """What the numbers were measured on, and what was left out."""
    told = report["machine"]
    versions = ", ".join(f"{k} {v or 'absent'}" for k, v in told["packages"].items())
    lines = [
        ("plan", f"{report['plan']['name']}, {report['seconds']:.0f} s"),
        ("processor", f"{told['processor']}, {told['cores']} cores, {told['threads']} threads"),
        ("memory", f"{told['memory_bytes'] / 1e9:.0f} GB"),
        ("device", told["device"]),
        ("software", f"{told['system']}, Python {told['python']}, {versions}"),
        ("GEMM, copy", _rates(report["rates"])),
        *((f"skipped: {what}", reason) for what, reason in _skipped(report)),
    ]
    return Table(("what", "value"), tuple(lines))


def summary(report: Row) -> Table:
    """Every ratio, with its quartiles."""
    rows = []
    for row in report["iteration"]:
        if "skipped" not in row:
            what = f"N = {row['neurons']:,}, {row['transfer']}"
            rows.append((f"dense step, {what}", _ratio(row["edges_over_dense"])))
        if "edges_over_sweep_frame" in row:
            ours = f"a frame of a sweep, N = {row['neurons']:,}"
            rows.append((ours, _ratio(row["edges_over_sweep_frame"])))
    return Table(("ours", "times faster than the MLP on every edge (quartiles)"), tuple(rows))


def simulators(rows: Sequence[Row]) -> Table:
    """A step in each simulator."""
    return Table(
        ("simulator", "N", "a step of theirs (µs)", "of ours (µs)", "ratio (quartiles)"),
        tuple(
            (
                row["rival"],
                f"{row['neurons']:,}",
                f"{1e6 * row['theirs']['median']:.0f}",
                f"{1e6 * row['ours']['median']:.0f}",
                _ratio(row["ratio"]),
            )
            for row in rows
            if "skipped" not in row
        ),
    )


def targets(accuracy: Row) -> Table:
    """Time to each R², over the seeds."""
    rows = []
    for target in accuracy["targets"]:
        time = target["seconds"]
        shown = "not reached" if time is None else _ratio(time)
        rows.append((f"{target['r2']}", f"{target['reached']} of {target['seeds']}", shown))
    return Table(
        ("R² of W, gauge-free", "seeds that reach it", "time (s, quartiles)"), tuple(rows)
    )


def clustering(rows: Sequence[Row]) -> Table:
    """The result of finding the types early or late."""
    header = ("sweeps before", "types found", "right type", "R² of W, gauge-free", "time (s)")
    return Table(
        header,
        tuple(
            (
                f"{row['neuron_sweeps']}",
                f"{row['types_found']}",
                f"{row['accuracy']:.3f}",
                f"{row['r2_gauge_free']:.5f}",
                f"{row['seconds']:.2f}",
            )
            for row in rows
        ),
    )


def solvers(rows: Sequence[Row]) -> Table:
    """W by least squares and the best that AdamW reached on its way."""
    lines = []
    for row in rows:
        solved, best = row["least_squares"], max(row["adam"], key=_r2)
        lines.append(
            (
                f"{row['data']}, {row['frames']:,} frames",
                f"{solved['r2']:.4f} in {solved['seconds']:.3g} s",
                f"{best['r2']:.4f} in {best['seconds']:.3g} s",
                "least squares" if solved["r2"] >= best["r2"] else "AdamW",
            )
        )
    return Table(("data", "least squares", "AdamW at its best", "more accurate"), tuple(lines))


def gauge(rows: Sequence[Row]) -> Table:
    """Weights and field with each choice of row scales."""
    names = {
        "off": "left as it is",
        "rows": "estimated",
        "smooth": "estimated and smoothed",
        "fitted": "fitted to the truth",
    }
    lines = tuple(
        (
            names[row["gauge"]],
            f"{row['connectivity']['r2']:.4f}, {row['connectivity']['slope']:.3f}",
            f"{row['field']['r2']:.4f}",
            f"{row['field']['mean']:.3f}",
        )
        for row in rows
    )
    return Table(("row scales", "W: R², slope", "Ω: R², raw", "mean of Ω"), lines)


def streaming(report: Row) -> Table:
    """Memory to sample a recording that is held and one that is read from disk."""
    lines = (
        (f"size of the recording, {report['frames']:,} frames", report["recording_bytes"]),
        (f"to hold it and sample {report['sampled_frames']:,}", report["held_bytes"]),
        ("to sample as many of it from disk", report["mapped_bytes"]),
    )
    return Table(("memory", "MB"), tuple((name, f"{size / 1e6:.1f}") for name, size in lines))


def shards(plans: Sequence[Cost]) -> Table:
    """What each process holds, exchanges and computes."""
    return Table(
        ("processes", "memory (GB)", "exchanged a sweep (GB)", "operations a sweep (10¹²)"),
        tuple(
            (
                str(plan.ranks),
                _short(sum(plan.memory.values()) / 1e9),
                _short(sum(plan.exchange.values()) / 1e9),
                _short(plan.operations / 1e12),
            )
            for plan in plans
        ),
    )


def _r2(row: Row) -> float:
    return row["r2"]


def _ratio(one: Row) -> str:
    return f"{_short(one['median'])} ({_short(one['q1'])}–{_short(one['q3'])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rates(rates: Row) -> str:
    gemm, copy = rates["gemm_flops"]["median"] / 1e9, rates["copy_bytes"]["median"] / 1e9
    return f"{gemm:.0f} GFLOP/s, {copy:.0f} GB/s (float32)"


def _skipped(report: Row) -> list[tuple[str, str]]:
    rows = (
        *report["iteration"],
        *report["simulators"],
        *report["scaling"]["by_neurons"],
        *report["scaling"]["by_frames"],
    )
    return [
        (f"{row.get('rival', 'measurement')}, N = {row['neurons']:,}", row["skipped"])
        for row in rows
        if "skipped" in row
    ]
