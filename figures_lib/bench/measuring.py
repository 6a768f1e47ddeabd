"""How the benchmark measures: interleaved timing, work counted per operation, peak memory."""

import ctypes
import gc
import math
import threading
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
from torch.utils.flop_counter import FlopCounterMode

POLL = 0.002  # seconds between two readings of the memory of the process

Spread = dict[str, float | int]


def spread(samples: Sequence[float]) -> Spread:
    """Median, quartiles and number of repeats, in the unit of the samples.

    Raises:
        ValueError: ``samples`` is empty.
    """
    if not len(samples):
        raise ValueError("samples: expected at least one (got none)")
    first, median, third = np.quantile(np.asarray(samples, dtype=float), (0.25, 0.5, 0.75))
    quartiles = {"median": float(median), "q1": float(first), "q3": float(third)}
    return quartiles | {"repeats": len(samples)}


def interleave(repeats: int, *actions: Callable[[], object]) -> list[list[float]]:
    """Durations of each action [s]; a round runs every action once.

    Other load on the machine then affects all actions of a round alike, so that their ratio
    is fair. The first round is a warm-up and is not counted.
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
    """Counts the operations and bytes of the code inside; a context manager.

    Operations are counted by torch's ``FlopCounterMode``, to which some products,
    factorisations and solves are added; elementwise operations are not counted.

    Attributes:
        bytes: read and written by all operations, as if nothing stayed in a cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self._counter = FlopCounterMode(display=False, custom_mapping=_FLOPS)

    @property
    def flops(self) -> int:
        """Floating-point operations of products, factorisations and solves."""
        return self._counter.get_total_flops()

    def __enter__(self) -> "Work":
        """Start counting."""
        self._counter.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        super().__exit__(*error)
        self._counter.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
        """Run one operation and count its bytes."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not func.is_view:
            leaves = tree_leaves((args, kwargs, result))
            self.bytes += sum(_bytes(leaf) for leaf in leaves if torch.is_tensor(leaf))
        return result


def _bytes(tensor: Tensor) -> int:
    """Bytes behind a tensor; an expanded one is read from its storage."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


_FLOPS: dict[Any, Callable[..., int]] = {  # of operations unknown to FlopCounterMode
    torch.ops.aten.mv: lambda a, vector, **_: 2 * math.prod(a),
    torch.ops.aten.addmm_: lambda added, a, b, **_: 2 * math.prod(a) * b[-1],
    torch.ops.aten.linalg_cholesky_ex: lambda a, *_, **__: math.prod(a) * a[-1] // 3,
    torch.ops.aten.cholesky_inverse: lambda a, *_, **__: 2 * math.prod(a) * a[-1] // 3,
    torch.ops.aten._linalg_solve_ex: lambda a, *_, **__: 2 * math.prod(a) * a[-1] // 3,
}


class PeakMemory:
    """Largest resident memory above that at entry [bytes]; a context manager.

    Pages of mapped files are not counted: the system frees them when it needs memory.
    """

    def __enter__(self) -> "PeakMemory":
        """Start watching."""
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
        """Stop watching."""
        self._update()
        self._stop.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(POLL):
            self._update()

    def _update(self) -> None:
        self.bytes = max(self.bytes, self._resident() - self._start)

    def _resident(self) -> int:
        memory = self._process.memory_info()
        return memory.rss - getattr(memory, "shared", 0)
