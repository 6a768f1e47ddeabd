"""The folder of a stage: complete or absent, and checked before it is used again.

A stage is written to a temporary folder, which is renamed when it is complete, so that a killed
run leaves nothing that could be mistaken for a result. ``done.json``, written last, contains
the name of the stage, the checksum of every file and one of itself; a folder that does not
match it is deleted and computed again.
"""

import hashlib
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from figures_lib.errors import ConfigError
from figures_lib.runs.files import abandoned, file_digest, owner, read_json, write_json, writing

try:
    import resource
except ImportError:
    raise ImportError("figures_lib needs Linux or macOS; on Windows, use WSL") from None

RECORD = "done.json"
logger = logging.getLogger(__name__)
Signature = tuple[tuple[str, int, int], ...]  # name, size and time of change of every file
_checked: dict[Path, Signature] = {}  # folders that this process has hashed already


def keep(folder: Path, compute: Callable[[Path], None]) -> Path:
    """The complete folder of a stage, computed if it does not exist or is damaged.

    Args:
        folder: final folder of the stage, named after its key.
        compute: writes the files of the stage into the temporary folder that it receives.

    Raises:
        StorageError: the disk is full or not writable; no partial result remains.
    """
    if folder.exists():
        problem = damage(folder)
        if problem is None:
            return folder
        logger.warning("%s: %s; computed again", folder.name, problem)
        shutil.rmtree(folder, ignore_errors=True)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for leftover in folder.parent.glob(f".{folder.name}.*"):
            if abandoned(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
        prefix = f".{folder.name}.{owner()}."
        part = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        with writing(folder):
            _compute(folder, part, compute)
    except Exception:
        shutil.rmtree(part, ignore_errors=True)
        raise
    try:
        part.replace(folder)
    except OSError:
        if damage(folder) is not None:
            raise
        shutil.rmtree(part)  # another process has finished the same result first
    return folder


def damage(folder: Path) -> str | None:
    """What is wrong with the folder of a stage, or None if it is complete and unchanged.

    A process hashes every file once, and again when its size or its time of change differs.
    """
    try:
        done = read_json(folder / RECORD)
        known, name, seal = done["sha256"], done["stage"], done.pop("seal")
        signature = tuple(_facts(folder, file) for file in known)
    except (ConfigError, OSError, KeyError, TypeError, AttributeError):
        return "incomplete"
    if seal != _seal(done):
        return f"{RECORD} differs from its checksum"
    if name != folder.name:
        return f"the result of {name}"
    if _checked.get(folder) == signature:
        return None
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter lock
        found = pool.map(file_digest, [folder / file for file in known])
    for file, digest in zip(known, found, strict=True):
        if digest != known[file]:
            return f"{file} differs from its checksum"
    _checked[folder] = signature
    return None


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a complete stage: ``seconds``, ``peak_bytes`` and ``sha256`` per file."""
    return read_json(folder / RECORD)


def _compute(folder: Path, part: Path, compute: Callable[[Path], None]) -> None:
    _reset_peak()
    started = time.perf_counter()
    compute(part)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = sorted(file for file in part.rglob("*") if file.is_file())
    done: dict[str, Any] = {
        "stage": folder.name,
        "seconds": seconds,
        "peak_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        "sha256": {str(file.relative_to(part)): file_digest(file) for file in files},
    }
    write_json(part / RECORD, done | {"seal": _seal(done)})
    _checked[folder] = tuple(_facts(part, str(file.relative_to(part))) for file in files)


def _seal(done: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(done, sort_keys=True).encode()).hexdigest()


def _facts(folder: Path, file: str) -> tuple[str, int, int]:
    about = (folder / file).stat()
    return file, about.st_size, about.st_mtime_ns


def _reset_peak() -> None:
    """Reset the peak memory of this process: a worker of a sweep computes many runs."""
    with suppress(OSError):  # only Linux can reset it
        Path("/proc/self/clear_refs").write_text("5")
