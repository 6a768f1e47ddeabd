"""The errors of this project: each is one line that says what, where and what to do."""

from collections.abc import Mapping
from typing import Any


class OneLineError(Exception):
    """An error that is shown as its message alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook, and papermill's report of it, show in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(OneLineError, ValueError):
    """A configuration or an input that cannot be used; the message names the remedy."""


class SimulationError(OneLineError, RuntimeError):
    """The simulation diverged; the message names the frame and the likely cause."""


class InferenceError(OneLineError, RuntimeError):
    """Inference stopped because the estimate diverged; the message says where and why.

    Args:
        message: one line.
        last_good: tensors of the last finite estimate, by name, if there is one.
    """

    def __init__(self, message: str, last_good: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.last_good = last_good


class StorageError(OneLineError, RuntimeError):
    """The disk is full or not writable; the message names the path and the remedy."""


class NotebookError(OneLineError, RuntimeError):
    """A notebook did not run to its end, for no fault of a cell; the message says why."""


class CellError(NotebookError):
    """A cell of a notebook failed.

    Args:
        ename: name of the class of its error.
        evalue: what that said.
    """

    def __init__(self, ename: str, evalue: str) -> None:
        super().__init__(f"{ename}: {evalue}")
        self.ename, self.evalue = ename, evalue


def shown(value: Any, width: int) -> str:
    """The beginning of a value, for an error message.

    Args:
        value: anything that has a representation.
        width: characters to keep.
    """
    try:
        return f"{value!r:.{width}}"
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"
