"""Simulation of equation (1) by the Euler–Maruyama scheme."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from figures_lib.config import Experiment
from figures_lib.connectivity import draw_connectivity
from figures_lib.fields import field_on_grid, image_index, load_movie
from figures_lib.positions import neuron_positions
from figures_lib.recording import Recording, Truth

CHUNK = 500  # frames for which noise is drawn at once and after which divergence is checked
RUNAWAY = 1e6  # activity beyond which the dynamics has diverged


class SimulationError(RuntimeError):
    """The simulation diverged; the message names the frame and the likely cause."""


def derivative(
    x: Float[Tensor, " neuron"],
    field: Float[Tensor, " neuron"],
    connectivity: Float[Tensor, "neuron neuron"],
    parameters: Mapping[str, Float[Tensor, " neuron"]],
) -> Float[Tensor, " neuron"]:
    """Right-hand side of equation (1).

    dx_i/dt = −x_i/τ_i + s_i·tanh(x_i) + b_i
              + g_i·Ω_i·Σ_j W_ij·(tanh((x_j − h_j)/γ_j) − θ_j·x_j)

    Args:
        x: activity, dimensionless.
        field: Ω_i, dimensionless.
        connectivity: W.
        parameters: decay = 1/τ, self_coupling = s, gain = g, threshold = h, width = γ,
            slope = θ and offset = b of each neuron.

    Returns:
        dx/dt [1/time unit].

    Source: equation (1).
    """
    own = parameters
    messages = torch.tanh((x - own["threshold"]) / own["width"]) - own["slope"] * x
    received = own["gain"] * field * torch.mv(connectivity, messages)
    return own["self_coupling"] * torch.tanh(x) - own["decay"] * x + received + own["offset"]


@torch.no_grad()
def simulate(
    experiment: Experiment,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Recording, Truth]:
    """Simulate a recording.

    x_i(t + Δt) = x_i(t) + Δt·dx_i/dt + σ·ξ_i with ξ ~ N(0, 1); σ is per step, as published.
    During the warm-up Ω = 0 for the input neurons, and nothing is recorded.

    Args:
        experiment: what to simulate.
        device: where to simulate; the results are on the CPU.
        progress: called now and then with (frames done, frames in all), warm-up included.

    Returns:
        The recording, and the truth behind it.

    Raises:
        ConfigError: the movie or the connectivity file cannot be used.
        SimulationError: the activity became non-finite or ran away.
    """
    settings = experiment.simulation
    truth = draw_truth(experiment)
    parameters = {name: value.to(device) for name, value in truth.parameters().items()}
    weights = truth.connectivity.to(device)
    inputs = settings.input_neurons
    noise_source = _generator(experiment, "noise", device)
    total = settings.warm_up + settings.frames
    image = image_index(
        torch.arange(settings.frames), settings.frames, len(truth.field)
    ).tolist()
    movie = truth.field.to(device)

    activity = torch.empty(settings.frames, settings.neurons)
    change = torch.empty(settings.frames, settings.neurons)
    field = torch.ones(settings.neurons, device=device)
    field[:inputs] = 0
    x = torch.randn(settings.neurons, generator=noise_source, device=device)
    for first in range(0, total, CHUNK):
        steps = min(CHUNK, total - first)
        noise = torch.randn(steps, settings.neurons, generator=noise_source, device=device)
        noise *= settings.noise
        states, slopes = torch.empty_like(noise), torch.empty_like(noise)
        for step in range(steps):
            frame = first + step - settings.warm_up
            if frame >= 0 and inputs:
                field[:inputs] = movie[image[frame]]
            states[step] = x
            slope = derivative(x, field, weights, parameters)
            slopes[step] = slope
            x = torch.add(x, slope, alpha=settings.time_step).add_(noise[step])
        _check(states, first, settings.warm_up)
        skip = max(0, settings.warm_up - first)
        if skip < steps:
            start = first + skip - settings.warm_up
            activity[start : start + steps - skip] = states[skip:]
            change[start : start + steps - skip] = slopes[skip:]
        if progress is not None:
            progress(first + steps, total)
    recording = Recording(
        activity=activity,
        derivative=change,
        positions=neuron_positions(inputs, settings.neurons),
        modulated=torch.arange(settings.neurons) < inputs,
        gain=truth.parameters()["gain"],
        time_step=settings.time_step,
    )
    return recording, truth


def draw_truth(experiment: Experiment) -> Truth:
    """Connectivity, types and field of an experiment; each has its own random stream."""
    settings = experiment.simulation
    count = len(experiment.neuron_types)
    types = torch.arange(settings.neurons) * count // settings.neurons
    if settings.type_order == "shuffled":
        order = torch.randperm(settings.neurons, generator=_generator(experiment, "types"))
        types = types[order]
    side = round(settings.input_neurons**0.5)
    movie = load_movie(experiment.external_input, max(side, 1), experiment.seed)
    weights = draw_connectivity(
        experiment.connectivity, settings.neurons, _generator(experiment, "connectivity")
    )
    return Truth(
        connectivity=weights,
        types=types,
        field=field_on_grid(movie)[:, : settings.input_neurons],
        neuron_types=experiment.neuron_types,
        frames=settings.frames,
    )


def _generator(
    experiment: Experiment, purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Independent streams, so that changing one ingredient does not redraw the others."""
    offset = {"connectivity": 0, "types": 1, "noise": 2}[purpose]
    return torch.Generator(device=device).manual_seed(3 * experiment.seed + offset)


def _check(states: Tensor, first: int, warm_up: int) -> None:
    sound = (states.abs() < RUNAWAY).all(1)
    if not sound.all():
        frame = first + int((~sound).nonzero()[0, 0]) - warm_up
        raise SimulationError(
            f"the simulation diverged at frame {frame}: activity beyond {RUNAWAY:.0e}; lower "
            "simulation.time_step, simulation.noise or the gain, or use slope ≥ 0 and decay > 0"
        )
