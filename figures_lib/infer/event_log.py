"""A log of a training that TensorBoard reads (``tensorboard --logdir FOLDER``)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

Scalars = Callable[[int, dict[str, float]], None]


@contextmanager
def event_log(folder: Path | None) -> Iterator[Scalars]:
    """Yield a function that logs some scalars of a step, as TensorBoard event files.

    A training that goes on from a checkpoint starts another file; TensorBoard then drops what
    was logged after that checkpoint.

    Args:
        folder: for the files, made when the first scalar comes; without one, none are written.
    """
    writer: Any = None
    with ExitStack() as stack:

        def log(step: int, values: dict[str, float]) -> None:
            nonlocal writer
            if folder is None:
                return
            if writer is None:
                # imported late: it takes a second, which other methods need not wait for
                from torch.utils.tensorboard import SummaryWriter

                writer = stack.enter_context(SummaryWriter(str(folder), purge_step=step))
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield log
