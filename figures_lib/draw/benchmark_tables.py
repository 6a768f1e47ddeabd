"""Tables of the benchmark: rows of its JSON as text for a notebook and for the site."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any

from tabulate import tabulate

from figures_lib.runs.cost import Cost

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Cells of text; HTML where it can be shown, aligned columns elsewhere."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        """Aligned columns."""
        return tabulate(self.rows, self.header, "plain", disable_numparse=True)

    def _repr_html_(self) -> str:
        shown = tabulate(self.rows, self.header, "html", disable_numparse=True, stralign=None)
        shown = shown.replace("<table>", '<table class="table" style="width: auto">')
        return f'<div style="overflow-x: auto">{shown}</div>'  # a phone scrolls the table only


def machine(report: Row) -> Table:
    """What the numbers were measured on, and what was skipped."""
    host = report["machine"]
    versions = ", ".join(f"{k} {v or 'absent'}" for k, v in host["packages"].items())
    lines = [
        ("plan", f"{report['plan']['name']}, {report['seconds']:.0f} s"),
        _origin(report),
        ("processor", f"{host['processor']}, {host['cores']} cores, {host['threads']} threads"),
        ("memory", f"{host['memory_bytes'] / 1e9:.0f} GB"),
        ("device", host["device"]),
        ("software", f"{host['system']}, Python {host['python']}, {versions}"),
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
            ours = f"sweep, per frame, N = {row['neurons']:,}"
            rows.append((ours, _ratio(row["edges_over_sweep_frame"])))
    return Table(("ours", "times faster than the MLP on every edge (quartiles)"), tuple(rows))


def simulators(rows: Sequence[Row]) -> Table:
    """A step in each simulator."""
    columns = {
        "simulator": "{rival}",
        "N": "{neurons:,}",
        "their step (µs)": "{theirs:.0f}",
        "our step (µs)": "{ours:.0f}",
        "ratio (quartiles)": "{ratio}",
    }
    shown = []
    for row in (row for row in rows if "skipped" not in row):
        steps = {whose: 1e6 * row[whose]["median"] for whose in ("theirs", "ours")}
        shown.append(row | steps | {"ratio": _ratio(row["ratio"])})
    return _table(shown, columns)


def targets(accuracy: Row) -> Table:
    """Time to each R², over the seeds."""
    columns = {
        "R² of W, gauge-free": "{r2}",
        "seeds that reach it": "{reached} of {seeds}",
        "time (s, quartiles)": "{time}",
    }
    rows = (target | {"time": _ratio(target["seconds"])} for target in accuracy["targets"])
    return _table(rows, columns)


def clustering(rows: Sequence[Row]) -> Table:
    """The result of finding the types early or late."""
    columns = {
        "sweeps before": "{neuron_sweeps}",
        "types found": "{types_found}",
        "right type": "{accuracy:.3f}",
        "R² of W, gauge-free": "{r2_gauge_free:.5f}",
        "time (s)": "{seconds:.2f}",
    }
    return _table(rows, columns)


def solvers(rows: Sequence[Row]) -> Table:
    """W by least squares and the best that AdamW reached on its way."""
    columns = {
        "data": "{data}, {frames:,} frames",
        "least squares": "{least_squares[r2]:.4f} in {least_squares[seconds]:.3g} s",
        "AdamW at its best": "{best[r2]:.4f} in {best[seconds]:.3g} s",
        "more accurate": "{first}",
    }
    shown = []
    for row in rows:
        best = max(row["adam"], key=lambda step: step["r2"])
        first = "least squares" if row["least_squares"]["r2"] >= best["r2"] else "AdamW"
        shown.append(row | {"best": best, "first": first})
    return _table(shown, columns)


def gauge(rows: Sequence[Row]) -> Table:
    """Weights and field with each choice of row scales."""
    names = {
        "off": "left as it is",
        "rows": "estimated",
        "smooth": "estimated and smoothed",
        "fitted": "fitted to the truth",
    }
    columns = {
        "row scales": "{name}",
        "W: R², slope": "{connectivity[r2]:.4f}, {connectivity[slope]:.3f}",
        "Ω: R², raw": "{field[r2]:.4f}",
        "mean of Ω": "{field[mean]:.3f}",
    }
    return _table((row | {"name": names[row["gauge"]]} for row in rows), columns)


def sharing(rows: Sequence[Row]) -> Table:
    """What each stage takes beside other work, relative to what it takes alone."""
    columns = {
        "stage": "{stage}",
        "N": "{neurons:,}",
        "alone (s)": "{seconds:.1f}",
        "beside a busy process": "{beside_busy:.1f} times",
        "two runs at once": "{two_at_once:.1f} times",
    }
    return _table(rows, columns)


def streaming(report: Row) -> Table:
    """Memory needed to sample a recording: held in memory, and mapped from disk."""
    lines = (
        (f"size of the recording, {report['frames']:,} frames", report["recording_bytes"]),
        (f"to hold it and sample {report['sampled_frames']:,}", report["held_bytes"]),
        ("to sample as many of it from disk", report["mapped_bytes"]),
    )
    return Table(("memory", "MB"), tuple((name, f"{size / 1e6:.1f}") for name, size in lines))


def shards(plans: Sequence[Cost]) -> Table:
    """What each process holds, exchanges and computes."""
    columns = (
        "processes",
        "memory (GB)",
        "exchanged per sweep (GB)",
        "operations per sweep (10¹²)",
    )
    rows = []
    for plan in plans:
        sizes = [sum(each.values()) / 1e9 for each in (plan.memory, plan.exchange)]
        rows.append((str(plan.ranks), *map(_short, (*sizes, plan.operations / 1e12))))
    return Table(columns, tuple(rows))


def card(report: Row) -> Table:
    """The GPU that was measured, how it compares with the CPU beside it, and what failed."""
    host, same, tests = (report[part] for part in ("machine", "equal", "tests"))
    versions = ", ".join(f"{k} {v}" for k, v in host["packages"].items() if v)
    lines = [
        ("device", host["device"]),
        ("host", f"{host['processor']}, {host['cores']} cores"),
        ("software", f"Python {host['python']}, {versions}"),
        _origin(report),
    ]
    if _complete(same):
        lines += [
            (
                f"largest difference of activities, CPU and GPU, N = {same['neurons']}",
                f"{same['simulation_error']:.0e} of the largest",
            ),
            ("R² of W of the GPU against W of the CPU", f"1 − {1 - same['weights_r2']:.0e}"),
        ]
    if _complete(tests):
        passed, failed = (tests.get(kind, 0) for kind in ("passed", "failed"))
        lines.append(("tests that need a GPU", f"{passed} passed, {failed} failed"))
    parts = {name: part for name, part in report.items() if isinstance(part, dict)}
    lines += [
        (f"failed: {name}", part["failed"])
        for name, part in parts.items()
        if not _complete(part)
    ]
    return Table(("what", "value"), tuple(lines))


def _complete(part: Row) -> bool:
    """Whether a part of the benchmark ended; else it holds the reason as ``failed``."""
    return not isinstance(part.get("failed"), str)


def _origin(report: Row) -> tuple[str, str]:
    """Where a benchmark comes from; outside a repository there is no commit."""
    return "commit, date", f"{(report.get('commit') or 'unknown')[:7]}, {report['date']}"


def on_gpu(report: Row) -> Table:
    """What a GPU takes for the large configurations, and what comes out; no failed parts."""
    parts = {name: report[name] for name in ("simulator", "sweeps", "gradient", "large")}
    parts = {name: part for name, part in parts.items() if _complete(part)}
    rows: list[Row] = []
    if part := parts.get("simulator"):
        rows.append(_measured("simulation", part | {"seconds": median(part["seconds"])}))
    if part := parts.get("sweeps"):
        rows.append(_measured("inference by sweeps", part))
    if part := parts.get("gradient"):
        rows.append(_measured("inference by gradient", part))
    if part := parts.get("large"):
        simulated = {**_size(part), "seconds": part["simulate_seconds"]}
        rows.append(_measured("simulation, to disk", simulated))
        rows.append(_measured("inference by sweeps, from disk", part))
    columns = {
        "": "{what}",
        "N": "{neurons:,}",
        "frames": "{frames:,}",
        "time (s)": "{seconds:.1f}",
        "R² of W (gauge-free)": "{weights}",
        "R² of Ω (gauge-free)": "{field}",
        "types": "{types}",
        "trusted": "{trusted}",
        "GPU memory (GB)": "{memory}",
    }
    return _table(rows, columns)


def _size(part: Row) -> Row:
    return {name: part[name] for name in ("neurons", "frames")}


def _measured(what: str, part: Row) -> Row:
    """A part of the benchmark of a GPU as a row; what it does not have is a dash."""
    found = part.get("scores", {})
    row = {"what": what, **_size(part), "seconds": part["seconds"], "memory": "–"}
    for name, key in (("weights", "connectivity"), ("field", "external_input")):
        raw, free = (found.get(f"{key}.{one}") for one in ("r2", "r2_gauge_free"))
        row[name] = "–" if raw is None else f"{raw:.4f} ({free:.4f})"
    row["types"] = part.get("types", "–")
    row["trusted"] = {"True": "yes", "False": "no"}.get(str(part.get("trusted")), "–")
    if "device_bytes" in part:
        row["memory"] = f"{part['device_bytes'] / 1e9:.1f}"
    return row


def _table(rows: Iterable[Row], columns: Mapping[str, str]) -> Table:
    """One line per row; columns are the formats of their cells, by their headings."""
    cells = columns.values()
    lines = tuple(tuple(cell.format_map(row) for cell in cells) for row in rows)
    return Table(tuple(columns), lines)


def _ratio(one: Row | None) -> str:
    if one is None:
        return "not reached"
    return f"{_short(one['median'])} ({_short(one['q1'])}–{_short(one['q3'])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rates(rates: Row) -> str:
    gemm, copy = rates["gemm_flops"]["median"] / 1e9, rates["copy_bytes"]["median"] / 1e9
    return f"{gemm:.0f} GFLOP/s, {copy:.0f} GB/s (float32)"


def _skipped(report: Row) -> list[tuple[str, str]]:
    sized = report["scaling"]
    parts = report["iteration"], report["simulators"], sized["by_neurons"], sized["by_frames"]
    return [
        (f"{row.get('rival', 'measurement')}, N = {row['neurons']:,}", row["skipped"])
        for row in chain(*parts)
        if "skipped" in row
    ]
