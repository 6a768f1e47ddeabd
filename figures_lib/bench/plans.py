"""How large a benchmark is, and the experiments that it runs."""

import math
from dataclasses import dataclass
from typing import Any

from figures_lib.config import Experiment, load_experiment
from figures_lib.paths import ROOT

CONFIG = ROOT / "config" / "fig3.yaml"


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark; those of the full one unless said otherwise.

    Attributes:
        name: how the result is labelled.
        repeats: rounds of every ratio.
        iteration: N of the training iterations.
        accuracy: N of the inferences that are scored sweep by sweep.
        accuracy_frames: frames of their recordings.
        seeds: number of such inferences.
        network_steps: steps of Adam that fit each network of the first of them.
        rates: N at which sweep and simulator are compared with the machine.
        rivals: N of the simulations.
        rival_steps: their steps per round.
        scaling: N of the scaling measurement.
        scaling_frames: frames at each N.
        lengths: frames that a sweep reads when their number is varied, at scaling[1].
        ablation: N of the ablations.
        adam_steps: their steps of AdamW.
        clustering: sweeps with one ψ per neuron before the types are found.
        shared: whether runs beside other work are measured, in processes of their own.
    """

    name: str
    repeats: int = 5
    iteration: tuple[int, ...] = (8, 32, 128, 512, 1024, 2048)
    accuracy: int = 512
    accuracy_frames: int = 20_000
    seeds: int = 5
    network_steps: int = 800
    rates: int = 2048
    rivals: tuple[int, ...] = (128, 512, 1024)
    rival_steps: int = 100
    scaling: tuple[int, ...] = (512, 1024, 2048, 4096, 8192)
    scaling_frames: int = 1024
    lengths: tuple[int, ...] = (1024, 2048, 4096, 8192)
    ablation: int = 256
    adam_steps: int = 4000
    clustering: tuple[int, ...] = (0, 1, 2, 4, 8, 18)
    shared: bool = True


FULL = Plan("full")
QUICK = Plan(
    name="quick",
    iteration=(8, 32, 128, 256),
    accuracy=128,
    accuracy_frames=9000,
    seeds=2,
    network_steps=150,
    rates=1024,
    rivals=(64, 256),
    scaling=(256, 512, 1024),
    lengths=(512, 1024, 2048),
    ablation=128,
    adam_steps=1000,
    clustering=(0, 2, 6, 18),
    shared=False,
)


def experiment_of(neurons: int, frames: int, **changes: Any) -> Experiment:
    """The types and the movie of Figure 3 with another number of neurons and frames."""
    side = math.isqrt(neurons // 2)
    sizes = {
        "simulation.neurons": neurons,
        "simulation.input_neurons": side * side,
        "simulation.frames": frames,
        "simulation.warm_up": min(500, frames),
    }
    return load_experiment(CONFIG, sizes | changes)
