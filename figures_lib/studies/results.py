"""``results.csv`` and ``results.parquet``: one row per run: what it varied, how it ended."""

import csv
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from figures_lib.errors import ConfigError

Row = dict[str, Any]
NAME, STATUS, REASON = "run", "status", "reason"


class Status(StrEnum):
    """How a run of a parameter study ended."""

    DONE = "done"
    FAILED = "failed"
    MISSING = "missing"


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows as CSV, and the same as a Parquet file beside it.

    A column there whose values have no common type is JSON throughout.
    """
    write_csv(path, rows)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    cells = {key: _column([row.get(key) for row in rows]) for key in _columns(rows)}
    parquet.write_table(pyarrow.table(cells), part)
    part.replace(path.with_suffix(".parquet"))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows atomically; columns are in the order in which rows first name them.

    Lists and mappings are written as JSON, None as an empty cell.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, _columns(rows), restval="")
        table.writeheader()
        table.writerows({key: _text(value) for key, value in row.items()} for row in rows)
    part.replace(path)


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def read_results(path: Path) -> list[Row]:
    """Read what :func:`write_results` wrote; empty cells become None.

    Raises:
        ConfigError: the file does not exist.
    """
    if not path.is_file():
        raise ConfigError(f"results: {path} is not a file; name the results.csv of a sweep")
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [{key: _value(text) for key, text in row.items()} for row in rows]


def done(rows: Sequence[Row]) -> list[Row]:
    """The rows of the runs that ended with a result."""
    return [row for row in rows if row[STATUS] == Status.DONE]


def varied_keys(rows: Sequence[Row]) -> list[str]:
    """The keys that a sweep varies: the columns between the name of a run and its status."""
    columns = list(rows[0])
    return columns[columns.index(NAME) + 1 : columns.index(STATUS)]


def _column(values: Sequence[Any]) -> pyarrow.Array:
    plain = [_text(one) if isinstance(one, list | dict) else one for one in values]
    try:
        return pyarrow.array(plain)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.array([None if one is None else json.dumps(one) for one in values])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _value(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text or None
