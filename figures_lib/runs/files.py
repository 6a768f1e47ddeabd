"""Result files: complete or absent, written by one process at a time, checked when read."""

import errno
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from figures_lib.errors import ConfigError, StorageError

LOCK = ".lock"  # file in a folder of results while a process writes there
PATIENCE = 0.3  # seconds to wait for a lock whose holder is just ending
REFUSALS = {  # errors of the file system, which the user can remedy
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.ENOTDIR, errno.EEXIST),
}


def refusal(error: BaseException) -> str | None:
    """The file-system error behind an exception, in words; None if there is none."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return os.strerror(error.errno)
    # safetensors, and shutil for several files, report the number in the text
    found = re.search(r"(?:\(os error |\[Errno )(\d+)[)\]]", str(error))
    if found and int(found.group(1)) in REFUSALS:
        return os.strerror(int(found.group(1)))
    return None


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that names the path.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        yield
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        raise StorageError(
            f"{_refused(error, place)}: cannot be written ({reason}); free some space or name "
            "another folder, then run the same command again"
        ) from None


def _refused(error: Exception, place: Path) -> Path:
    """What could not be written: the place, unless the error names a file elsewhere."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str):
        return place
    file, folder = Path(named).absolute(), place.absolute()
    return place if file.is_relative_to(folder) or folder.is_relative_to(file) else file


@contextmanager
def exclusive(folder: Path, option: str = "--out", lock: str = LOCK) -> Iterator[None]:
    """Lock a folder of results for this process; if it is killed, the lock is released.

    Args:
        folder: created if it does not exist.
        option: of the command line, which an error message names.
        lock: name of the lock file in the folder.

    Raises:
        ConfigError: the folder cannot be written, or another process holds it.
    """
    held, note = FileLock(folder / lock), folder / f"{lock}.owner"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=PATIENCE)
    except Timeout:
        raise ConfigError(
            f"{option}: {folder} is in use by process {_holder(note)}; wait until it ends "
            "or name another folder"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{option}: {folder} cannot be written ({error.strerror}); name another folder"
        ) from None
    try:
        with suppress(OSError):  # the note is optional: the disk may be full
            note.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        for file in (note, folder / lock):
            with suppress(OSError):
                file.unlink(missing_ok=True)
        held.release()


def _holder(note: Path) -> str:
    """The number of the process that holds a folder, from its note there."""
    try:
        return note.read_text(encoding="utf-8") or "unknown"
    except OSError:
        return "unknown"


def part_of(path: Path) -> Path:
    """The path of a file while it is written; removes those of processes that have ended."""
    for leftover in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        if abandoned(leftover):
            leftover.unlink(missing_ok=True)
    return path.with_name(f".{path.stem}.{owner()}{path.suffix}")


def owner() -> str:
    """This process, among those of all machines that share a folder."""
    return f"{os.getpid()}@{re.sub('[^A-Za-z0-9-]', '-', platform.node())}"


def abandoned(part: Path) -> bool:
    """Whether the unfinished file ``.NAME.OWNER.*`` belongs to no other running process.

    The processes of other machines count as running.
    """
    process, _, machine = part.name.split(".")[2].partition("@")
    if machine and machine != owner().partition("@")[2]:
        return False
    if not process.isdigit() or int(process) == os.getpid():
        return True
    return not psutil.pid_exists(int(process))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, so that an interrupted process leaves no partial file.

    Raises:
        StorageError: the disk is full or not writable.
    """
    part = part_of(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            part.replace(path)
    except StorageError:
        part.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read what :func:`write_json` wrote.

    Raises:
        ConfigError: the file cannot be read, or holds no JSON mapping.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read ({reason:.120}); write it again") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping (found {content!r:.60}); write it again")
    return content


def file_digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of its files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = (f"{file.relative_to(path).as_posix()} {file_digest(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
