"""How large a benchmark is, and the experiments that it runs."""

import math
from dataclasses import dataclass
from typing import Any

from figures_lib.config import Experiment, load_experiment
from figures_lib.paths import ROOT

CONFIG = ROOT / "config" / "fig3.yaml"


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark.

    Attributes:
        name: how the result is labelled.
        repeats: rounds of every ratio.
        iteration: N of the training iterations.
        accuracy: N of the inferences that are scored sweep by sweep.
        accuracy_frames: frames of their recordings.
        seeds: number of such inferences.
        network_steps: steps of Adam that fit each network of the first of them.
        rates: N at which sweep and simulator are held against the machine.
        rivals: N of the simulations, and steps a round.
        scaling: N of the scaling measurement.
        scaling_frames: frames at each N.
        lengths: frames a sweep reads when the length is varied, at the second N of scaling.
        ablation: N of the ablations, and steps of AdamW.
        clustering: sweeps with a ψ a neuron before the types are found.
    """

    name: str
    repeats: int
    iteration: tuple[int, ...]
    accuracy: int
    accuracy_frames: int
    seeds: int
    network_steps: int
    rates: int
    rivals: tuple[int, ...]
    rival_steps: int
    scaling: tuple[int, ...]
    scaling_frames: int
    lengths: tuple[int, ...]
    ablation: int
    adam_steps: int
    clustering: tuple[int, ...]


FULL = Plan(
    name="full",
    repeats=5,
    iteration=(8, 32, 128, 512, 1024, 2048),
    accuracy=512,
    accuracy_frames=20_000,
    seeds=5,
    network_steps=800,
    rates=2048,
    rivals=(128, 512, 1024),
    rival_steps=100,
    scaling=(512, 1024, 2048, 4096, 8192),
    scaling_frames=1024,
    lengths=(1024, 2048, 4096, 8192),
    ablation=256,
    adam_steps=4000,
    clustering=(0, 1, 2, 4, 8, 18),
)
QUICK = Plan(
    name="quick",
    repeats=5,
    iteration=(8, 32, 128, 256),
    accuracy=128,
    accuracy_frames=9000,
    seeds=2,
    network_steps=150,
    rates=1024,
    rivals=(64, 256),
    rival_steps=100,
    scaling=(256, 512, 1024),
    scaling_frames=1024,
    lengths=(512, 1024, 2048),
    ablation=128,
    adam_steps=1000,
    clustering=(0, 2, 6, 18),
)
TINY = Plan(
    name="tiny",
    repeats=5,
    iteration=(8, 16),
    accuracy=32,
    accuracy_frames=1000,
    seeds=1,
    network_steps=20,
    rates=32,
    rivals=(16,),
    rival_steps=10,
    scaling=(32, 64),
    scaling_frames=256,
    lengths=(128, 256),
    ablation=32,
    adam_steps=30,
    clustering=(0, 4),
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
