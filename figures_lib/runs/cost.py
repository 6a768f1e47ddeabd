"""What an experiment needs: memory, disk, exchanges and operations, counted from its sizes.

There is one model, for the refusal of what cannot fit, for the plan of many processes and for
the benchmark. It counts the arrays that :mod:`figures_lib.simulate` and
:mod:`figures_lib.infer` hold at the same time, in float32; a test holds it against the memory
that an inference really takes.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from figures_lib.config import Experiment
from figures_lib.errors import ConfigError
from figures_lib.infer.algorithm import ROUNDS, frames_per_sweep
from figures_lib.infer.anderson import DEPTH
from figures_lib.infer.unknowns import BLOCK, sampling_stride
from figures_lib.learner import Learner
from figures_lib.simulate.integrate import CHUNK

FLOAT = 4  # bytes of a float32
RATE = 4e13  # float32 operations per second of a data-centre GPU: assumed
LINK = 4e10  # bytes per second between two of them in different machines: assumed


@dataclass(frozen=True)
class Need:
    """Memory that some arrays take.

    Attributes:
        what: the arrays, in words.
        keys: of the configuration, which set their size.
        bytes: their size.
    """

    what: str
    keys: str
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What an inference needs of one of the processes that share it.

    Attributes:
        neurons: N.
        ranks: processes.
        needs: memory, by kind of array.
        exchange: bytes per sweep that are received or sent, by purpose.
        operations: floating-point operations per sweep.
        rate: operations per second, assumed.
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
        learner: how many frames, knots and sweeps.
        ranks: processes, at most N.
    """
    settings, graph, field = learner.inference, learner.graph_network, learner.field_network
    wanted = frames_per_sweep(settings, neurons)
    sampled = math.ceil(frames / sampling_stride(frames, wanted))
    own = -(-neurons // ranks)
    others = neurons - own
    series, slab, block = own * sampled, own * neurons, min(BLOCK, sampled)
    windows = math.ceil(frames / settings.window)
    groups = settings.max_types if graph.transfer == "pair" else 1
    single = (settings.shared_sweeps + settings.neuron_sweeps) * settings.knots
    curves = single + ROUNDS * settings.type_sweeps * settings.type_knots
    layers = max(graph.phi_layers, graph.psi_layers)
    batch = min(graph.batch, neurons) * settings.knots
    counts = (
        (
            "activity and derivative, on both sets of knots",
            "simulation.neurons, inference.frames_per_neuron",
            4 * series,
        ),
        ("network input", "simulation.neurons, inference.frames_per_neuron", series),
        ("W: by neuron, old and new", "simulation.neurons", 3 * slab),
        ("Gram matrix, inverse, right-hand sides", "simulation.neurons", 5 * slab),
        (
            "one block of frames: positions, messages, residuals",
            "simulation.neurons",
            (8 * own + (3 * others if ranks > 1 else 0)) * block,
        ),
        (
            "normal matrices of the tables",
            "inference.knots, inference.type_knots",
            # those of the visits, their regularised and weighted copies, and two of the solver
            own * (settings.knots**2 + 5 * settings.type_knots**2),
        ),
        (
            "steps to extrapolate from",
            "inference.type_knots, simulation.frames, inference.window",
            4 * (DEPTH + 1) * own * ((1 + groups) * settings.type_knots + windows),
        ),
        (
            "functions after every sweep",
            "inference.knots, inference sweeps",
            2 * neurons * curves,
        ),
        (
            "training of the field network",
            "field_network.layers, width and batch",
            field.layers * field.width * (4 * field.width + 3 * field.batch),
        ),
        (
            "training of the graph network",
            "graph_network layers, width and batch",
            layers * graph.width * (4 * graph.width + 3 * batch),
        ),
        (
            "embeddings",
            "graph_network.embedding",
            4 * graph.embedding * (neurons + graph.width),
        ),
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
        8 * slab * sampled + 4 * slab * neurons,
    )


def shard_plan(neurons: int, ranks: int, frames: int | None = None) -> Cost:
    """The needs of an inference on many processes, with the learner of the paper.

    Args:
        neurons: N.
        ranks: processes, at most N.
        frames: of the recording; default as many as a sweep reads.
    """
    learner = Learner()
    frames = frames_per_sweep(learner.inference, neurons) if frames is None else frames
    return inference_cost(neurons, frames, learner, ranks)


def simulation_needs(experiment: Experiment) -> tuple[Need, ...]:
    """Memory of the simulation; the recording goes to disk as it arises."""
    settings = experiment.simulation
    pixels = experiment.external_input.images * max(1, settings.input_neurons)
    return (
        Need("W", "simulation.neurons", 2 * FLOAT * settings.neurons**2),
        Need("frames in the making", "simulation.neurons", 4 * FLOAT * CHUNK * settings.neurons),
        Need("movie", "external_input.images, simulation.input_neurons", 2 * FLOAT * pixels),
    )


def recording_bytes(neurons: int, frames: int) -> int:
    """Disk that a recording takes: activity and derivative."""
    return 2 * FLOAT * neurons * frames


def check_memory(experiment: Experiment) -> None:
    """Refuse an experiment whose arrays cannot fit.

    Raises:
        ConfigError: the keys that ask for most, what is needed and what there is.
    """
    settings, have = experiment.simulation, psutil.virtual_memory().total
    inferring = inference_cost(settings.neurons, settings.frames, experiment.learner)
    for needs in (simulation_needs(experiment), inferring.needs):
        need = sum(one.bytes for one in needs)
        if need > have:
            largest = max(needs, key=_bytes)
            raise ConfigError(
                f"{largest.keys}: need at least {need / 1e9:.3g} GB of memory, this machine has "
                f"{have / 1e9:.3g} GB; lower them"
            )


def check_disk(experiment: Experiment, folder: Path) -> None:
    """Refuse an experiment whose recording cannot fit.

    Args:
        experiment: not yet simulated.
        folder: of its results; need not exist.

    Raises:
        ConfigError: the keys that ask for too much, what they ask for and what there is.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    need = recording_bytes(experiment.simulation.neurons, experiment.simulation.frames)
    have = shutil.disk_usage(folder).free
    if need > have > 0:  # a file system that has no size at all says so when it is written
        raise ConfigError(
            f"simulation.frames, simulation.neurons: the recording takes {need / 1e9:.3g} GB, "
            f"but --out has {have / 1e9:.3g} GB free; lower them or name another folder"
        )


def _bytes(need: Need) -> int:
    return need.bytes
