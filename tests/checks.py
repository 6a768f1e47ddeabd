"""The results of the checks on demand, recorded in ``book/checks.json`` for the testing page.

``python tests/checks.py REPORT`` records the report of ``coverage json``.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "book" / "checks.json"
LEAST_COVERAGE = 95  # per cent of the lines of figures_lib


def keep(check: str, **found: int | str) -> None:
    """Replace the record of a check, and note the commit on which it ran."""
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    found["commit"] = answer.stdout.strip() or "unknown"
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    record |= {f"{check}.{key}": value for key, value in found.items()}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def coverage(report: Path) -> int:
    """Record the share of lines that the tests run; the exit code says whether it suffices."""
    totals = json.loads(report.read_text(encoding="utf-8"))["totals"]
    percent = totals["percent_covered"]
    print(f"{totals['covered_lines']} of {totals['num_statements']} lines: {percent:.1f} %")
    keep("coverage", percent=f"{percent:.1f}", lines=totals["num_statements"])
    return 0 if percent >= LEAST_COVERAGE else 1


if __name__ == "__main__":
    sys.exit(coverage(Path(sys.argv[1])))
