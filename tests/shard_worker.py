"""What tests/test_shards.py runs on two processes: ``torchrun shard_worker.py FOLDER``."""

import sys
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist
from test_sweeps import planted, prepared

from figures_lib.config import load_experiment
from figures_lib.infer.algorithm import converge
from figures_lib.infer.shards import Shard, inverse, joined, product
from figures_lib.infer.sweep import start, sweep
from figures_lib.infer.unknowns import Pools

CONFIG = Path(__file__).resolve().parent.parent / "config" / "fig3_test.yaml"
NEURONS, FRAMES = 21, 2000  # shards of unequal size
EARLY = 3  # the sweep whose estimate is also compared


def recorded():
    return planted(neurons=NEURONS, frames=FRAMES, windows=20)[0]


def experiment():
    small = {"inference.neuron_sweeps": 6, "inference.type_sweeps": 3}
    return load_experiment(CONFIG, small)


def unknowns(stage):
    estimate = stage.estimate
    return {
        "connectivity": estimate.connectivity,
        "update": estimate.update,
        "transfer": estimate.transfer[0],
        "field": estimate.field,
    }


def factors():
    """A positive definite matrix of condition 1000, and some rows to multiply with it."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(NEURONS, NEURONS, generator=generator)
    modes, _ = torch.linalg.qr(random)
    return (modes * torch.logspace(-3, 0, NEURONS)) @ modes.T, random[:4]


def exchanged_by_a_sweep():
    """Bytes that this process receives by broadcast and sends to a sum in another process."""
    recording, counted = recorded(), Counter()
    data = prepared(recording, 24, 20)
    estimate = start(data)
    broadcast, reduce = dist.broadcast, dist.reduce

    def counting(name, exchange):
        def count(values, rank):
            if rank != dist.get_rank():
                counted[name] += values.numel() * values.element_size()
            exchange(values, rank)

        return count

    dist.broadcast = counting("broadcast", broadcast)
    dist.reduce = counting("reduce", reduce)
    sweep(data, estimate, Pools(None, None))
    dist.broadcast, dist.reduce = broadcast, reduce
    return dict(counted)


def main(folder: Path) -> None:
    with joined("cpu"):
        shard = Shard.here(NEURONS)
        torch.manual_seed(0)
        stages = list(converge(recorded(), experiment().learner))
        matrix, left = factors()
        inverted = inverse(matrix[shard.own].clone(), shard)
        found = {
            "rows": shard.own.stop - shard.own.start,
            "held": {len(one.position) for one in stages[-1].data.blocks},
            "threads": torch.get_num_threads(),
            "early": unknowns(stages[EARLY]),
            "last": unknowns(stages[-1]),
            "types": stages[-1].types,
            "losses": [stage.estimate.loss for stage in stages],
            "inverse": shard.all_gather(inverted),
            "product": product(left, inverted, shard),
            "collected": len(shard.gather(inverted)),
            "exchanged": exchanged_by_a_sweep(),
        }
        torch.save(found, folder / f"{shard.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
