"""Readers of files that hold many arrays: HDF5, NWB and Zarr.

Only the arrays that belong to a recording are read; the others, such as the images that an
activity was taken from, stay on disk. The packages are loaded late: they take seconds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from figures_lib.errors import ConfigError
from figures_lib.recordings.contents import ACTIVITY, Contents, contents_of
from figures_lib.recordings.settings import FileSettings

if TYPE_CHECKING:
    from pynwb.base import TimeSeries
    from pynwb.ophys import PlaneSegmentation

RATES = ("sampling_rate", "rate")  # attributes that may hold it


def read_hdf5(path: Path, settings: FileSettings, where: str) -> Contents:
    """An HDF5 file: datasets of any group, and the sampling rate as one or as an attribute."""
    import h5py

    with h5py.File(path) as file:
        if "nwb_version" in file.attrs:
            return read_nwb(path, settings, where)
        found: dict[str, Any] = {}

        def take(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item

        file.visititems(take)
        return contents_of(_by_name(found, file.attrs), settings, where)


def read_zarr(path: Path, settings: FileSettings, where: str) -> Contents:
    """A Zarr array, or a group of them; the package refuses those stored as pickles."""
    import zarr

    root = zarr.open(path, mode="r")
    if isinstance(root, zarr.Array):
        found: Mapping[str, Any] = {ACTIVITY: root}
    else:
        members = root.members(max_depth=None)
        found = {name: item for name, item in members if isinstance(item, zarr.Array)}
    return contents_of(_by_name(found, root.attrs), settings, where)


def read_nwb(path: Path, settings: FileSettings, where: str) -> Contents:
    """An NWB file: one of its time series, with the names and positions of its regions.

    ``recording.array`` names the series; without it there must be only one, or only one of
    optical responses.
    """
    from pynwb import NWBHDF5IO
    from pynwb.base import TimeSeries
    from pynwb.ophys import RoiResponseSeries

    with NWBHDF5IO(path, "r") as io:
        objects = io.read().objects.values()
        tables = [s for s in objects if isinstance(s, TimeSeries) and np.ndim(s.data) == 2]
        if settings.array is not None:
            chosen = [series for series in tables if series.name == settings.array]
        else:
            chosen = [s for s in tables if isinstance(s, RoiResponseSeries)] or tables
        if len(chosen) != 1:
            held = ", ".join(f"{s.name} {np.shape(s.data)}" for s in tables)[:200] or "none"
            raise ConfigError(
                f"{where}: {len(chosen)} time series could be the activity (it holds {held}); "
                "name one with recording.array"
            )
        return _contents_of_series(chosen[0])


def _contents_of_series(series: "TimeSeries") -> Contents:
    regions = getattr(series, "rois", None)
    names = positions = None
    if regions is not None:
        rows = [int(row) for row in regions.data[:]]
        names = tuple(str(regions.table.id[row]) for row in rows)
        positions = _centres(regions.table, rows)
    return Contents(
        name=series.name,
        activity=np.asarray(series.data) * series.conversion + series.offset,
        sampling_rate=series.rate,
        times=None if series.timestamps is None else np.asarray(series.timestamps),
        names=names,
        positions=positions,
    )


def _centres(table: "PlaneSegmentation", rows: list[int]) -> np.ndarray | None:
    """The centre of the mask of each region [pixels]; None if there are no masks."""
    if "pixel_mask" in table.colnames:
        masks = [table["pixel_mask"][row] for row in rows]
        return np.array(
            [[np.mean([pixel[k] for pixel in mask]) for k in (0, 1)] for mask in masks]
        )
    if "image_mask" in table.colnames:
        masks = [np.argwhere(np.asarray(table["image_mask"][row])) for row in rows]
        return np.array([mask.mean(0) for mask in masks])
    return None


def _by_name(found: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by the last part of their path, or by all of it where two end alike."""
    ends = [path.rpartition("/")[2] for path in found]
    named = {
        end if ends.count(end) == 1 else path: item
        for end, (path, item) in zip(ends, found.items(), strict=True)
    }
    rate = next((attributes[key] for key in RATES if key in attributes), None)
    return named if rate is None else {"sampling_rate": np.asarray(rate), **named}
