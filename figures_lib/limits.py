"""What an experiment needs of the machine; one that cannot fit is refused before it starts."""

import math
import shutil
from pathlib import Path

import psutil

from figures_lib.config import ConfigError, Experiment
from figures_lib.inference import LEAST_FRAMES, ROUNDS

FLOAT = 4  # bytes of a float32
MATRICES = 6  # of N×N weights that a sweep holds at once


def check_memory(experiment: Experiment) -> None:
    """Refuse an experiment whose arrays cannot fit.

    Raises:
        ConfigError: the keys that ask for too much, what they ask for and what there is.
    """
    have = psutil.virtual_memory().total
    for keys, need in least_memory(experiment).items():
        if need > have:
            raise ConfigError(
                f"{keys}: need at least {need / 1e9:.3g} GB of memory, this machine has "
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
    need = 2 * FLOAT * experiment.simulation.frames * experiment.simulation.neurons
    have = shutil.disk_usage(folder).free
    if need > have > 0:  # a file system that has no size at all says so when it is written
        raise ConfigError(
            f"simulation.frames, simulation.neurons: the recording takes {need / 1e9:.3g} GB, "
            f"but --out has {have / 1e9:.3g} GB free; lower them or name another folder"
        )


def least_memory(experiment: Experiment) -> dict[str, float]:
    """Bytes that the largest arrays take at least, under the keys that set their size."""
    simulation, inference = experiment.simulation, experiment.inference
    graph, field = experiment.graph_network, experiment.field_network
    neurons = simulation.neurons
    sampled = min(simulation.frames, max(LEAST_FRAMES, inference.frames_per_neuron * neurons))
    single = inference.shared_sweeps + inference.neuron_sweeps
    knots = single * inference.knots + ROUNDS * inference.type_sweeps * inference.type_knots
    squares = inference.knots**2 + inference.type_knots**2
    windows = math.ceil(simulation.frames / inference.window)
    layers = max(graph.phi_layers, graph.psi_layers)
    needs = {
        "simulation.neurons": MATRICES * neurons**2,
        "simulation.neurons, inference.frames_per_neuron": 2 * sampled * neurons,
        "inference.knots, inference.type_knots": 3 * neurons * squares,
        "inference.knots, inference sweeps": 2 * neurons * knots,
        "simulation.frames, inference.window": neurons * windows,
        "external_input.images, simulation.input_neurons": (
            2 * experiment.external_input.images * max(1, simulation.input_neurons)
        ),
        "field_network.layers, width and batch": (
            field.layers * field.width * (4 * field.width + field.batch)
        ),
        "graph_network layers, width and batch": (
            layers * graph.width * (4 * graph.width + graph.batch * inference.knots)
        ),
        "graph_network.embedding": neurons * graph.embedding + graph.embedding * graph.width,
    }
    return {keys: float(FLOAT * values) for keys, values in needs.items()}
