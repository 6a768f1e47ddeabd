"""How many threads compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread; also a decorator.

    For many operations of a few microseconds: a second thread hardly helps with them, and where
    another process keeps its core busy, each of them waits until that thread is scheduled.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
