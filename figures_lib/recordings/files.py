"""Readers of the formats, in one table."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from figures_lib.errors import ConfigError
from figures_lib.recordings.containers import read_hdf5, read_nwb, read_zarr
from figures_lib.recordings.contents import ACTIVITY, SESSION, TIMES, Contents, contents_of
from figures_lib.recordings.settings import FileSettings

COUNTED = 1000  # frames by which a column is seen to count
EVEN = 1e-3  # of a step that its steps may differ
Reader = Callable[[Path, FileSettings, str], Contents]


def read_array(path: Path, settings: FileSettings, where: str) -> Contents:
    """A .npy file: the activity alone, which stays on disk."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return contents_of({ACTIVITY: array}, settings.model_copy(update={"array": None}), where)


def read_archive(path: Path, settings: FileSettings, where: str) -> Contents:
    """An .npz file of named arrays."""
    with np.load(path, allow_pickle=False) as archive:
        return contents_of({name: archive[name] for name in archive.files}, settings, where)


def read_csv(path: Path, settings: FileSettings, where: str) -> Contents:
    """A .csv file with one line per frame and a heading with the names of the neurons."""
    return _of_columns(pyarrow.csv.read_csv(path), where)


def read_parquet(path: Path, settings: FileSettings, where: str) -> Contents:
    """A .parquet file with one column per neuron."""
    return _of_columns(pyarrow.parquet.read_table(path), where)


READERS: dict[str, Reader] = {
    ".npy": read_array,
    ".npz": read_archive,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".nwb": read_nwb,
    ".zarr": read_zarr,
}


def read_contents(path: Path, settings: FileSettings) -> Contents:
    """Read a file by its suffix.

    Raises:
        ConfigError: it does not exist, or cannot be read.
    """
    where = f"--recording: {path.name}"
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{where}: unknown format; give a file of {', '.join(READERS)}")
    if not path.exists():
        raise ConfigError(f"{where}: no such file in {path.parent}; correct the path")
    try:
        return reader(path, settings, where)
    except ConfigError:
        raise
    except Exception as error:  # damaged files raise anything from BadZipFile to TypeError
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where}: cannot be read ({reason:.160}); write it again") from None


def _of_columns(table: pyarrow.Table, where: str) -> Contents:
    """Columns of numbers: times and sessions by their names, all others are neurons."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
            if not pyarrow.types.is_null(kind):
                example = next((one for one in column.to_pylist() if one is not None), None)
                raise ConfigError(
                    f"{where}: column {name!r} holds {kind} such as {example!r:.60}; give "
                    "numbers"
                )
            column = column.cast(pyarrow.float64())
        columns[name] = column.to_numpy(zero_copy_only=False)
    if len(set(table.column_names)) < len(table.column_names):
        raise ConfigError(f"{where}: two columns have the same name; rename one of them")
    heading = table.column_names
    if columns and all(map(_is_number, heading)) and not all(map(str.isdigit, heading)):
        raise ConfigError(
            f"{where}: the heading is numbers, such as {heading[0]!r:.40}: write the names of "
            "the neurons into the first line"
        )
    for name, values in columns.items():
        if name not in (*TIMES, SESSION) and _counts(values):
            raise ConfigError(
                f"{where}: column {name!r} rises by the same amount in every frame: call it "
                "`time`, or leave it out if it is the index of a table"
            )
    special = {key: columns.pop(key) for key in (*TIMES, SESSION) if key in columns}
    names = tuple(columns)
    rows = [np.asarray(column, dtype=np.float64) for column in columns.values()]
    activity = np.stack(rows, 1) if rows else np.zeros((table.num_rows, 0))
    return Contents(
        name="columns",
        activity=activity,
        times=next((special[key] for key in TIMES if key in special), None),
        session=special.get(SESSION),
        names=names,
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counts(values: np.ndarray) -> bool:
    """Whether a column rises evenly, as an index or a time does and no activity."""
    steps = np.diff(np.asarray(values, dtype=np.float64)[:COUNTED])
    return len(steps) > 2 and bool(steps[0] > 0) and bool(np.ptp(steps) < EVEN * steps[0])
