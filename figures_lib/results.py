"""``results.csv``: one row a run of a sweep, its varied keys, how it ended, its metrics."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NAME, STATUS, REASON = "run", "status", "reason"
DONE, FAILED, MISSING = "done", "failed", "missing"


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows in one move; columns in the order in which rows first name them.

    Lists and mappings are written as JSON, None as an empty cell.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        table.writerows({key: _text(value) for key, value in row.items()} for row in rows)
    part.replace(path)


def read_results(path: Path) -> list[Row]:
    """Read what :func:`write_results` wrote; empty cells become None."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)
        ]


def varied_keys(rows: Sequence[Row]) -> list[str]:
    """The keys that a sweep varies: the columns between the name of a run and its status."""
    columns = list(rows[0])
    return columns[columns.index(NAME) + 1 : columns.index(STATUS)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
