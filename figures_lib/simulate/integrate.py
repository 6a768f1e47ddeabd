"""Simulation of equation (1) by the Euler–Maruyama scheme."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.config import Experiment
from figures_lib.errors import SimulationError
from figures_lib.model.cuda_graph import captured
from figures_lib.model.dynamics import Dynamics
from figures_lib.model.threads import one_thread
from figures_lib.recording import ACTIVITY, DERIVATIVE, Recording, array_file, mapped
from figures_lib.simulate.movie import image_index
from figures_lib.simulate.network import neuron_positions
from figures_lib.simulate.truth import Truth, draw_truth, random_stream

CHUNK = 100  # frames whose noise is drawn at once; divergence is checked after each chunk
Progress = Callable[[int, int], None]
RUNAWAY = 1e6  # activity beyond which the simulation counts as diverged


@dataclass(frozen=True)
class Chunk:
    """Buffers of a chunk of consecutive frames; their addresses in memory never change.

    Attributes:
        states: x at the first frame, which is the input, and after every step.
        slopes: dx/dt at every frame [1/time unit].
        noise: σ·ξ, added after every step.
        field: Ω of every frame.
    """

    states: Float[Tensor, "step_and_one neuron"]
    slopes: Float[Tensor, "step neuron"]
    noise: Float[Tensor, "step neuron"]
    field: Float[Tensor, "step neuron"]

    def shortened(self, steps: int) -> "Chunk":
        """The same buffers, limited to the first ``steps`` steps."""
        return Chunk(
            self.states[: steps + 1],
            self.slopes[:steps],
            self.noise[:steps],
            self.field[:steps],
        )


def advance(chunk: Chunk, dynamics: Dynamics, time_step: float) -> None:
    """Fill ``states`` and ``slopes`` of a chunk by x ← x + Δt·dx/dt + σ·ξ."""
    for step, slope in enumerate(chunk.slopes):
        x = chunk.states[step]
        slope.copy_(dynamics.derivative(x, chunk.field[step]))
        after = chunk.states[step + 1]
        torch.add(x, slope, alpha=time_step, out=after).add_(chunk.noise[step])


def simulate(
    experiment: Experiment,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[Recording, Truth]:
    """Simulate a recording and hold it in memory.

    x_i(t + Δt) = x_i(t) + Δt·dx_i/dt + σ·ξ_i with ξ ~ N(0, 1); σ is per step, as published.
    During the warm-up Ω = 0 for the input neurons, and nothing is recorded.

    Args:
        experiment: what to simulate.
        device: where to simulate; the results are on the CPU.
        progress: called after every chunk with (frames done, all frames), warm-up included.

    Returns:
        The recording, and the truth that it was simulated from.

    Raises:
        ConfigError: the movie or the connectivity file cannot be used.
        SimulationError: the activity became non-finite or exceeded ``RUNAWAY``.
    """
    truth, settings = draw_truth(experiment), experiment.simulation
    activity, change = torch.empty(2, settings.frames, settings.neurons)
    done = 0
    for states, slopes in stretches(experiment, truth, device, progress):
        activity[done : done + len(states)] = states
        change[done : done + len(slopes)] = slopes
        done += len(states)
    return _recording(experiment, truth, activity, change), truth


def simulate_to_disk(
    experiment: Experiment,
    folder: Path,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[Recording, Truth]:
    """As :func:`simulate`, but the recording is written to a folder chunk by chunk.

    At most one chunk of it is in memory; the arrays returned are mapped from the disk.

    Raises:
        ConfigError, SimulationError: as :func:`simulate`.
        OSError: the folder cannot be written, or the disk is full.
    """
    truth, settings = draw_truth(experiment), experiment.simulation
    shape = (settings.frames, settings.neurons)
    files = array_file(folder / ACTIVITY, shape), array_file(folder / DERIVATIVE, shape)
    with files[0] as add_states, files[1] as add_slopes:
        for states, slopes in stretches(experiment, truth, device, progress):
            add_states(states)
            add_slopes(slopes)
    arrays = (mapped(folder / ACTIVITY), mapped(folder / DERIVATIVE))
    recording = _recording(experiment, truth, *arrays)
    recording.save_description(folder)
    return recording, truth


@torch.no_grad()
def stretches(
    experiment: Experiment,
    truth: Truth,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Iterator[tuple[Float[Tensor, "step neuron"], Float[Tensor, "step neuron"]]]:
    """Yield the recorded x and dx/dt, chunk by chunk; the next chunk overwrites both."""
    settings, inputs = experiment.simulation, experiment.simulation.input_neurons
    total = settings.warm_up + settings.frames
    image = image_index(torch.arange(settings.frames), settings.frames, len(truth.field))
    image, movie = image.to(device), truth.field.to(device)
    chunk = Chunk(
        states=torch.empty(CHUNK + 1, settings.neurons, device=device),
        slopes=torch.empty(CHUNK, settings.neurons, device=device),
        noise=torch.empty(CHUNK, settings.neurons, device=device),
        field=torch.ones(CHUNK, settings.neurons, device=device),
    )
    step = partial(
        advance,
        dynamics=truth.dynamics.to(device),
        time_step=settings.time_step,
    )
    run: Callable[[], None] = partial(step, chunk)
    if chunk.noise.is_cuda:
        run = captured(run, lambda: step(chunk.shortened(3)))
    source = random_stream(experiment, "noise")
    chunk.states[-1] = torch.randn(settings.neurons, generator=source)  # equal on all devices
    if chunk.noise.device != source.device:
        source = random_stream(experiment, "noise", chunk.noise.device)
    for first in range(0, total, CHUNK):
        steps = min(CHUNK, total - first)
        skip = min(max(0, settings.warm_up - first), steps)
        start = first + skip - settings.warm_up
        with one_thread():  # idle ones would block the cores of the matrix product
            chunk.states[0] = chunk.states[-1]
            chunk.noise[:steps].normal_(0, settings.noise, generator=source)
            chunk.field[:skip, :inputs] = 0
            chunk.field[skip:steps, :inputs] = movie[image[start : start + steps - skip]]
            if steps == CHUNK:
                run()
            else:
                step(chunk.shortened(steps))
            _check(chunk.states[:steps], first, experiment)
        if skip < steps:
            yield chunk.states[skip:steps], chunk.slopes[skip:steps]
        if progress is not None:
            progress(first + steps, total)


def _recording(
    experiment: Experiment, truth: Truth, activity: Tensor, change: Tensor
) -> Recording:
    settings = experiment.simulation
    return Recording(
        activity=activity,
        derivative=change,
        positions=neuron_positions(settings.input_neurons, settings.neurons),
        modulated=torch.arange(settings.neurons) < settings.input_neurons,
        gain=truth.parameters()["gain"],
        time_step=settings.time_step,
    )


def _check(states: Tensor, first: int, experiment: Experiment) -> None:
    """Raise if the activity has diverged; negative frames belong to the warm-up."""
    sound = (states.abs() < RUNAWAY).all(1)
    if not sound.all():
        settings = experiment.simulation
        frame = first + int((~sound).nonzero()[0, 0]) - settings.warm_up
        raise SimulationError(
            f"the simulation diverged at frame {frame}: activity beyond {RUNAWAY:.0e}; "
            f"{experiment.neuron.likely_cause(experiment.neuron_types, settings.time_step)}"
        )
