"""What an inference on several processes needs: memory, exchanges and operations of each.

The numbers are counted, not measured: sizes of the arrays of :mod:`figures_lib.sweeps` and of
what :mod:`figures_lib.shards` exchanges, in float32. The tests hold them against a real sweep.
"""

from dataclasses import dataclass

from figures_lib.acceleration import DEPTH
from figures_lib.sweeps import BLOCK

FLOAT = 4  # bytes
KNOTS, TYPE_KNOTS, WINDOW = 24, 96, 100  # as in the configuration of the paper
FRAMES_PER_NEURON = 4
RATE = 4e13  # float32 operations a second of a data-centre GPU: assumed
LINK = 4e10  # bytes a second between two of them in different machines: assumed


@dataclass(frozen=True)
class ShardPlan:
    """Needs of one of ``ranks`` processes that share an inference.

    Attributes:
        neurons: N.
        ranks: processes.
        memory: bytes of each kind of array.
        exchange: bytes a sweep that are received or sent, by purpose.
        operations: floating-point operations a sweep.
        rate: operations a second, assumed.
        link: bytes a second between two processes, assumed.
    """

    neurons: int
    ranks: int
    memory: dict[str, int]
    exchange: dict[str, int]
    operations: int
    rate: float = RATE
    link: float = LINK

    @property
    def compute_seconds(self) -> float:
        """Time of the operations of a sweep [s]."""
        return self.operations / self.rate

    @property
    def exchange_seconds(self) -> float:
        """Time of the exchanges of a sweep [s]."""
        return sum(self.exchange.values()) / self.link


def shard_plan(neurons: int, ranks: int, frames: int | None = None) -> ShardPlan:
    """The needs of the largest shard.

    Args:
        neurons: N.
        ranks: processes, at most N.
        frames: sampled frames; default four a neuron.
    """
    frames = FRAMES_PER_NEURON * neurons if frames is None else frames
    own = -(-neurons // ranks)
    others = neurons - own
    series, slab, block = own * frames, own * neurons, neurons * min(BLOCK, frames)
    unknowns = own * (2 * TYPE_KNOTS + frames // WINDOW)
    memory = {
        "activity and derivative, on both sets of knots": 4 * series,
        "network input": series,
        "W: by neuron, old and new": 3 * slab,
        "Gram matrix, inverse, right-hand sides": 5 * slab,
        "messages of all senders, a block": (3 if ranks > 1 else 1) * block,
        "normal matrices of the tables": own * (KNOTS**2 + 3 * TYPE_KNOTS**2),
        "steps to extrapolate from": 4 * (DEPTH + 1) * unknowns,
    }
    exchange = {
        "messages, twice": 2 * others * frames,
        "back-projection": others * frames,
        "Gram matrix, to invert it": others * neurons,
        "inverse, to multiply with it": others * neurons,
    }
    return ShardPlan(
        neurons,
        ranks,
        {name: FLOAT * count for name, count in memory.items()},
        {name: FLOAT * count for name, count in exchange.items()},
        8 * slab * frames + 4 * slab * neurons,
    )
