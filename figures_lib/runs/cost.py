"""What an experiment needs: memory, disk, exchanges and operations, counted from its sizes.

One model serves the refusal of experiments that cannot fit, the plan for many processes and the
benchmark. It counts the arrays that :mod:`figures_lib.simulate` and :mod:`figures_lib.infer`
hold at the same time, in float32; a test compares it with the memory that an inference takes.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import psutil

from figures_lib.config import Experiment
from figures_lib.errors import ConfigError
from figures_lib.infer.algorithm import LONGER, ROUNDS
from figures_lib.infer.anderson import DEPTH
from figures_lib.infer.heldout import sampled_frames
from figures_lib.infer.projection import FEW, LARGEST_NETWORK
from figures_lib.infer.splines import knots_of_splines
from figures_lib.infer.unknowns import BLOCK, frames_per_sweep
from figures_lib.learner import Learner
from figures_lib.simulate.integrate import CHUNK

FLOAT = 4  # bytes of a float32
SIZE = "simulation.neurons"  # keys that set the sizes of arrays
SAMPLE = "simulation.neurons, inference.frames_per_neuron"
KNOTS = "inference.knots, inference.type_knots"
UNKNOWNS = "inference.type_knots, simulation.frames, inference.window"
CURVES = "inference.knots, inference sweeps"
RATE = 4e13  # float32 operations per second of a data-centre GPU: assumed
LINK = 4e10  # bytes per second between two of them in different machines: assumed


@dataclass(frozen=True)
class Need:
    """Memory that some arrays take.

    Attributes:
        what: the arrays, in words.
        keys: of the configuration, by which their size is set.
        bytes: their size.
    """

    what: str
    keys: str
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What an inference needs in one of its processes.

    Attributes:
        neurons: N.
        ranks: processes.
        needs: memory, by kind of array.
        exchange: bytes per sweep that are received or sent, by purpose.
        operations: floating-point operations per sweep of this process.
        rate: floating-point operations per second, assumed.
        link: bytes per second between two processes, assumed.
    """

    neurons: int
    ranks: int
    needs: tuple[Need, ...]
    exchange: dict[str, int]
    operations: int
    rate: float = RATE
    link: float = LINK

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of each kind of array."""
        return {need.what: need.bytes for need in self.needs}

    @property
    def compute_seconds(self) -> float:
        """Time of the operations of a sweep [s]."""
        return self.operations / self.rate

    @property
    def exchange_seconds(self) -> float:
        """Time of the exchanges of a sweep [s]."""
        return sum(self.exchange.values()) / self.link


def inference_cost(neurons: int, frames: int, learner: Learner, ranks: int = 1) -> Cost:
    """The needs of the largest of ``ranks`` shards.

    Args:
        neurons: N.
        frames: of the recording.
        learner: its numbers of frames, knots and sweeps, and its networks.
        ranks: processes, at most N.
    """
    settings = learner.inference
    sampled = len(sampled_frames(frames, frames_per_sweep(settings, neurons)))
    own = -(-neurons // ranks)
    others = neurons - own
    block = min(BLOCK, sampled) * (8 * own + (3 * others if ranks > 1 else 0))
    # of normal matrices: those of the visits, regularised and weighted ones, two of the solver
    lines = settings.knots**2 + 5 * settings.type_knots**2
    coarse, fine = (
        knots_of_splines(splines, neurons) for splines in (settings.knots, settings.type_knots)
    )
    # where activities are alike: those of the knots, and their products with the splines
    splines = coarse**2 + fine * (2 * fine + settings.type_knots)
    squares = max(lines, splines if neurons <= LARGEST_NETWORK else 0)
    windows = math.ceil(frames / settings.window)
    groups = settings.max_types if learner.graph_network.transfer == "pair" else 1
    unknowns = own * ((1 + groups) * settings.type_knots + windows)
    curves = (settings.shared_sweeps + settings.neuron_sweeps) * settings.knots
    curves += (ROUNDS - 1 + LONGER) * settings.type_sweeps * settings.type_knots
    counts = (
        ("activity and derivative, on both sets of knots", SAMPLE, 4 * own * sampled),
        ("network input", SAMPLE, own * sampled),
        ("W: by neuron, old and new", SIZE, 3 * own * neurons),
        ("Gram matrix, inverse, right-hand sides", SIZE, _gram(neurons, own, settings.knots)),
        ("one block of frames: positions, messages, residuals", SIZE, block),
        ("normal matrices of the tables", KNOTS, own * squares),
        ("steps to extrapolate from", UNKNOWNS, 4 * (DEPTH + 1) * unknowns),
        ("functions after every sweep", CURVES, 2 * neurons * curves),
        *_training(learner, neurons),
    )
    exchange = {
        "messages, twice": 2 * others * sampled,
        "back-projection": others * sampled,
        "Gram matrix, to invert it": others * neurons,
        "inverse, to multiply with it": others * neurons,
    }
    return Cost(
        neurons,
        ranks,
        tuple(Need(what, keys, FLOAT * count) for what, keys, count in counts),
        {name: FLOAT * count for name, count in exchange.items()},
        own * neurons * (8 * sampled + 4 * neurons),
    )


def _gram(neurons: int, own: int, knots: int) -> int:
    """Numbers of float32 that a sweep holds around the Gram matrix, or a step with one ψ.

    Steps hold it in double precision, and each process all of it.
    """
    steps = 2 * (3 * neurons**2 + FEW * (knots + 1) * neurons)
    return max(5 * own * neurons, steps if neurons <= LARGEST_NETWORK else 0)


def _training(learner: Learner, neurons: int) -> Iterator[tuple[str, str, int]]:
    """Weights, moments of Adam and activations of the networks: what, keys and count."""
    graph, field = learner.graph_network, learner.field_network
    layers = max(graph.phi_layers, graph.psi_layers)
    points = min(graph.batch, neurons) * learner.inference.knots
    for what, keys, count in (
        (
            "field",
            "field_network.layers, width and batch",
            (field.layers, field.width, field.batch),
        ),
        ("graph", "graph_network layers, width and batch", (layers, graph.width, points)),
    ):
        depth, width, batch = count
        yield f"training of the {what} network", keys, depth * width * (4 * width + 3 * batch)
    size = 4 * graph.embedding * (neurons + graph.width)
    yield "embeddings", "graph_network.embedding", size
    if learner.inference.method == "gradient":
        batch = learner.training.batch * neurons
        values = (graph.phi_layers + graph.psi_layers) * graph.width
        values += 3 * field.layers * field.width
        keys = "simulation.neurons, training.batch"
        # W, its gradient, two moments, the best and two copies for a checkpoint
        yield "training of all unknowns", keys, 7 * neurons**2 + batch * values


def shard_plan(neurons: int, ranks: int, frames: int | None = None) -> Cost:
    """The needs of an inference on many processes, with the learner of the paper.

    Args:
        neurons: N.
        ranks: processes, at most N.
        frames: of the recording; by default as many as a sweep reads.
    """
    learner = Learner()
    frames = frames_per_sweep(learner.inference, neurons) if frames is None else frames
    return inference_cost(neurons, frames, learner, ranks)


def simulation_needs(experiment: Experiment) -> tuple[Need, ...]:
    """Memory of the simulation, whose recording is written to disk chunk by chunk."""
    settings = experiment.simulation
    pixels = experiment.external_input.images * max(1, settings.input_neurons)
    return (
        Need("W", "simulation.neurons", 2 * FLOAT * settings.neurons**2),
        Need("frames of a chunk", "simulation.neurons", 4 * FLOAT * CHUNK * settings.neurons),
        Need("movie", "external_input.images, simulation.input_neurons", 2 * FLOAT * pixels),
    )


def recording_bytes(neurons: int, frames: int) -> int:
    """Size of a recording on disk, activity and derivative [bytes]."""
    return 2 * FLOAT * neurons * frames


def check_memory(experiment: Experiment) -> None:
    """Refuse an experiment whose arrays cannot fit.

    Raises:
        ConfigError: names the keys of the largest arrays, the memory needed and that present.
    """
    settings, have = experiment.simulation, psutil.virtual_memory().total
    inferring = inference_cost(settings.neurons, settings.frames, experiment.learner)
    for needs in (simulation_needs(experiment), inferring.needs):
        need = sum(one.bytes for one in needs)
        if need > have:
            largest = max(needs, key=attrgetter("bytes"))
            raise ConfigError(
                f"{largest.keys}: need at least {need / 1e9:.3g} GB of memory, but this "
                f"machine has {have / 1e9:.3g} GB; lower them"
            )


def check_disk(experiment: Experiment, folder: Path) -> None:
    """Refuse an experiment whose recording cannot fit.

    Args:
        experiment: not yet simulated.
        folder: of its results; it need not exist.

    Raises:
        ConfigError: names the keys, the space needed and the space available.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    need = recording_bytes(experiment.simulation.neurons, experiment.simulation.frames)
    have = shutil.disk_usage(folder).free
    if need > have > 0:  # where no size is known, writing decides
        raise ConfigError(
            f"simulation.frames, simulation.neurons: the recording takes {need / 1e9:.3g} GB, "
            f"but --out has {have / 1e9:.3g} GB free; lower them or name another folder"
        )
