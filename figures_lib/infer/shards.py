"""One inference on several processes: each holds the neurons of its shard.

A shard is a range of consecutive neurons: their activity, φ_i, ψ_i, Ω_i and rows of W. The
rest is exchanged when it is needed. The messages ψ_j(x_j) are collected by all_gather, one
block of frames at a time; the moments of shared functions are summed by all_reduce; the Gram
matrix stays divided by rows while it is inverted. In a single process every exchange is the
identity, so there is one algorithm, not two.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

from figures_lib.errors import ConfigError

TIMEOUT = timedelta(minutes=30)  # the first process simulates while the others wait


@dataclass(frozen=True)
class Shard:
    """The neurons of one process of an inference.

    Attributes:
        neurons: N, of all processes together.
        rank: number of the process, from 0.
        ranks: number of processes.
    """

    neurons: int
    rank: int = 0
    ranks: int = 1

    @classmethod
    def here(cls, neurons: int) -> "Shard":
        """The shard of this process: all neurons, unless it has joined other processes."""
        if dist.is_available() and dist.is_initialized():
            return cls(neurons, dist.get_rank(), dist.get_world_size())
        return cls(neurons)

    def part(self, rank: int) -> slice:
        """The neurons of the process of a given rank."""
        return slice(self.neurons * rank // self.ranks, self.neurons * (rank + 1) // self.ranks)

    @property
    def own(self) -> slice:
        """The neurons of this process."""
        return self.part(self.rank)

    @property
    def first(self) -> int:
        """Index of the first neuron of this process."""
        return self.own.start

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place and on each of them."""
        if self.ranks > 1:
            dist.all_reduce(values)
        return values

    def any(self, condition: bool, device: str) -> bool:
        """Whether the condition holds in any process; waits for all of them."""
        return bool(self.all_reduce(torch.tensor(float(condition), device=device)))

    def slabs(
        self, own: Shaped[Tensor, "own *rest"]
    ) -> Iterator[tuple[slice, Shaped[Tensor, "part *rest"]]]:
        """Broadcast the rows of one process after the other; yield its neurons and its rows."""
        for rank in range(self.ranks):
            part = self.part(rank)
            mine = rank == self.rank
            slab = own if mine else own.new_empty(part.stop - part.start, *own.shape[1:])
            yield part, self.broadcast(slab, rank)

    def broadcast(self, values: Tensor, source: int) -> Tensor:
        """The values of process ``source``, on all; the others pass a tensor of that shape."""
        if self.ranks > 1:
            values = values.contiguous()
            dist.broadcast(values, source)
        return values

    def all_gather(self, own: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "neuron *rest"]:
        """The rows of all neurons, on every process."""
        return own if self.ranks == 1 else torch.cat([slab for _, slab in self.slabs(own)])

    def gather(self, own: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "_ *rest"]:
        """The rows of all neurons, in main memory, on the first process; elsewhere its own."""
        slabs = [slab.cpu() if self.rank == 0 else slab[:0] for _, slab in self.slabs(own)]
        return torch.cat(slabs) if self.rank == 0 else own.cpu()

    def reduce_scatter(
        self, values: Float[Tensor, "neuron *rest"]
    ) -> Float[Tensor, "own *rest"]:
        """Sum over the processes; each receives the rows of its own neurons."""
        if self.ranks > 1:
            for rank in range(self.ranks):
                dist.reduce(values[self.part(rank)], rank)
        return values[self.own]


def inverse(
    matrix: Float[Tensor, "own neuron"], shard: Shard
) -> Float[Tensor, "own neuron"] | None:
    """The inverse of a positive definite matrix whose rows are divided among the processes.

    Gauss–Jordan elimination with the diagonal block of one process after the other as pivot.
    With a single process it is one Cholesky factorisation.

    Returns:
        The rows of this process; None on all processes if a pivot is not positive definite.
    """
    sound = True
    matrix = matrix.clone() if shard.ranks > 1 else matrix
    for rank in range(shard.ranks):
        pivot = shard.part(rank)
        if rank == shard.rank:
            factor, failed = torch.linalg.cholesky_ex(matrix[:, pivot])
            sound &= not int(failed)
            block = torch.cholesky_inverse(factor)
            left, right = matrix[:, : pivot.start], matrix[:, pivot.stop :]
            matrix = torch.cat([block @ left, block, block @ right], 1)
            shard.broadcast(matrix, rank)
        else:
            panel = shard.broadcast(
                matrix.new_empty(pivot.stop - pivot.start, shard.neurons), rank
            )
            factor = matrix[:, pivot].clone()
            matrix[:, pivot] = 0
            matrix.addmm_(factor, panel, alpha=-1)
    unsound = shard.all_reduce(torch.tensor(float(not sound), device=matrix.device))
    return None if float(unsound) else matrix


def product(
    left: Float[Tensor, "row neuron"], right: Float[Tensor, "own column"], shard: Shard
) -> Float[Tensor, "row column"]:
    """The matrix product whose right factor is divided by rows among the processes."""
    total = left.new_zeros(len(left), right.shape[1])
    for part, slab in shard.slabs(right):
        total.addmm_(left[:, part], slab)
    return total


@contextmanager
def joined(device: str) -> Iterator[Shard]:
    """Join the processes that torchrun started, if any; each uses its share of the cores.

    Args:
        device: ``cpu`` or ``cuda``; with the latter every process has a GPU of its own.

    Yields:
        The place of this process among the others.

    Raises:
        ConfigError: there are more processes than GPUs.
    """
    if not dist.is_torchelastic_launched():
        yield Shard(0)
        return
    place, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if device == "cuda":
        if here > torch.cuda.device_count():
            raise ConfigError(
                f"--nproc-per-node: {here} processes for {torch.cuda.device_count()} GPUs; "
                "start one per GPU, or set device=cpu"
            )
        torch.cuda.set_device(place)
    # torchrun allows one thread each, whatever the machine has
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Shard.here(0)
    finally:
        dist.destroy_process_group()
