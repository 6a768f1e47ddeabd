"""How the benchmark measures: interleaved timing, work counted per operation, peak memory."""

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.benchmark.utils.timer import timer  # waits for the accelerator, if any

POLL = 0.002  # seconds between two looks at the memory of the process

Spread = dict[str, float | int]


def spread(samples: Sequence[float]) -> Spread:
    """Median, quartiles and number of repeats, in the unit of the samples.

    Raises:
        ValueError: there is no sample.
    """
    if not len(samples):
        raise ValueError("samples: expected at least one (got none)")
    first, median, third = np.quantile(np.asarray(samples, dtype=float), (0.25, 0.5, 0.75))
    return {
        "median": float(median),
        "q1": float(first),
        "q3": float(third),
        "repeats": len(samples),
    }


def interleave(repeats: int, *actions: Callable[[], object]) -> list[list[float]]:
    """Durations of each action [s]; a round runs every action once.

    Whatever else slows the machine for a while then hits all actions alike, and the ratio of
    one round is fair. The first round warms up and is not counted.
    """
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats + 1):
        for durations, action in zip(seconds, actions, strict=True):
            started = timer()
            action()
            durations.append(timer() - started)
    return [durations[1:] for durations in seconds]


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """Spread of slow/fast, round by round."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def exponent(sizes: Sequence[float | int], values: Sequence[float | int]) -> float:
    """The p of values ∝ sizesᵖ: slope of the least-squares line through the logarithms.

    Raises:
        ValueError: fewer than two different sizes, or a value that is not positive.
    """
    if len(set(sizes)) < 2 or min(values) <= 0:
        raise ValueError(f"expected two sizes and positive values (got {sizes}, {values})")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


class Work(TorchDispatchMode):
    """Counts what the operations inside do; a context manager.

    Attributes:
        flops: floating-point operations of products, factorisations and solves; the
            elementwise ones are not counted.
        bytes: what every operation reads and writes, as if nothing stayed in a cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0
        self.bytes = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
        """Run one operation and count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not func.is_view:
            tensors = [
                leaf for leaf in tree_leaves((args, kwargs, result)) if torch.is_tensor(leaf)
            ]
            self.bytes += sum(map(_bytes, tensors))
            count = _FLOPS.get(func.overloadpacket)
            self.flops += count(args) if count else 0.0
        return result


def _bytes(tensor: Tensor) -> int:
    """Bytes behind a tensor; an expanded one is read from its storage."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _product(args: Any) -> float:
    left, right = args[-2:]
    return 2.0 * left.numel() * (right.shape[-1] if right.dim() > 1 else 1)


def _factorisation(share: float) -> Callable[[Any], float]:
    """Share of n³ operations for each n×n matrix."""
    return lambda args: share * args[0].numel() * args[0].shape[-1]


_FLOPS: dict[Any, Callable[[Any], float]] = {
    torch.ops.aten.mm: _product,
    torch.ops.aten.bmm: _product,
    torch.ops.aten.mv: _product,
    torch.ops.aten.addmm: _product,
    torch.ops.aten.addmm_: _product,
    torch.ops.aten.linalg_cholesky_ex: _factorisation(1 / 3),
    torch.ops.aten.cholesky_inverse: _factorisation(2 / 3),
    torch.ops.aten._linalg_solve_ex: _factorisation(2 / 3),
}


class PeakMemory:
    """Largest resident memory above that at entry [bytes]; a context manager.

    Pages of mapped files are not counted: the system takes them back when it needs them.
    """

    def __enter__(self) -> "PeakMemory":
        """Start to watch."""
        gc.collect()
        with suppress(OSError, AttributeError):  # only glibc keeps freed memory, and has this
            ctypes.CDLL(None).malloc_trim(0)
        self.bytes = 0
        self._process = psutil.Process()
        self._start = self._resident()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to watch."""
        self._look()
        self._stop.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            time.sleep(POLL)

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._resident() - self._start)

    def _resident(self) -> int:
        memory = self._process.memory_info()
        return memory.rss - getattr(memory, "shared", 0)
