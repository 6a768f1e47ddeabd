"""The published training: all unknowns follow the gradient together.

First every neuron has an embedding a_i of its own. The functions that belong to these fall
into clusters, the neuron types, as those of the sweeps do; then each type shares one embedding
while the training goes on, provided that held-out frames are explained as well. A penalty makes
ψ* rise and keeps its largest magnitude at 1 (convention i of :mod:`figures_lib.infer.gauge`);
the scale between W* and Ω* is moved from one to the other at the end (convention ii).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer import gauge
from figures_lib.infer.descent import (
    UNKNOWNS,
    Course,
    Frames,
    functions,
    judged,
    train,
    visited,
)
from figures_lib.infer.event_log import event_log
from figures_lib.infer.heldout import sampled_frames
from figures_lib.infer.neuron_types import find_types, worse
from figures_lib.infer.pooling import members_of
from figures_lib.infer.shards import Shard
from figures_lib.infer.splines import spanning
from figures_lib.infer.unknowns import (
    Data,
    Estimate,
    State,
    frames_per_sweep,
    prepare,
)
from figures_lib.learner import Learner, Training
from figures_lib.model.gnn import GNN
from figures_lib.model.inferred import History, Model, SweepReport
from figures_lib.model.joint import JointNetwork
from figures_lib.model.siren import Siren
from figures_lib.recording import Recording

LINE_STEPS, LINE_RATE = 100, 5e-3  # of the training of ψ* before that of all unknowns
TYPED = 3  # a training with one embedding per type has a third of the steps
SLOWER = 0.2  # and this share of the rates
OF_TYPES = ("connectivity", "functions", "field")  # what moves while types share an embedding
ALIKE = 1.0  # share of the residual below which functions are alike to such a training
TOO_FEW = 10.0  # times the residual of all neurons by themselves, before any training of types
UNSETTLED = 0.5  # share of the residual by which types may be worse: no training has converged


def by_gradient(
    recording: Recording,
    learner: Learner,
    device: torch.device | str,
    progress: Callable[[SweepReport], None],
    folder: Path | None,
) -> tuple[Model, State]:
    """Stochastic gradients in all unknowns: the method ``gradient``.

    Args:
        recording: what is learned from; it carries no ground truth.
        learner: the networks and their training.
        device: of the training.
        progress: called at every judgement by held-out frames.
        folder: for checkpoints, from which a killed training goes on, and for its log.

    Returns:
        The model without its diagnosis, and its functions as tables.

    Raises:
        InferenceError: the training diverged, or several processes share the neurons.

    Source: equation (2) and the training of the paper.
    """
    total, neurons = recording.activity.shape
    if Shard.here(neurons).ranks > 1:
        raise InferenceError("inference.method: 'gradient' runs in one process, not in several")
    settings, inference = learner.training, learner.inference
    sampled = sampled_frames(total, frames_per_sweep(inference, neurons))
    axis = spanning(recording.activity[sampled], inference.knots)
    fine = axis.refine(inference.type_knots)
    windows = math.ceil(total / inference.window)
    data = prepare(recording, fine, sampled, windows, device)
    frames = Frames.of(recording, axis.values(), device)
    network, alike = start(recording, learner), inference.types == "one"
    types = torch.zeros(neurons, dtype=torch.long) if alike else None
    if types is not None:
        network = sharing(network, types)
        frames = replace(frames, visited=visited(recording, types).to(device))
    network = network.to(device)

    with event_log(folder) as log:
        keep = (lambda name: None) if folder is None else (lambda name: folder / name)
        course = train(
            *(network, frames, settings, settings.steps),
            seed=learner.seed,
            progress=progress,
            scalars=log,
            unknowns=UNKNOWNS if types is None else OF_TYPES,
            checkpoint=keep("alone.safetensors"),
        )
        phase = "alone" if types is None else "type"
        state = State(phase, data, tabulated(network, data, recording, types), types)
        best = judged(network, frames)
        found = () if alike else find_types(data, state.estimate, inference.max_types, ALIKE)
        fewest_first = sorted((types for *_, types in found), key=lambda one: int(one.max()))
        for number, types in enumerate(fewest_first):
            typed = sharing(network, types)
            if float(judged(typed, frames).mean()) > TOO_FEW * float(best.mean()):
                continue
            after = train(
                *(typed, replace(frames, visited=visited(recording, types.cpu()).to(device))),
                *(_slower(settings), max(1, settings.steps // TYPED)),
                seed=learner.seed,
                unknowns=OF_TYPES,
                progress=progress,
                scalars=log,
                checkpoint=keep(f"types-{number}.safetensors"),
                earlier=course,
            )
            residual = judged(typed, frames)
            if not worse(residual, best, UNSETTLED):
                network, course, best = typed, after, residual
                state = State("type", data, tabulated(typed, data, recording, types), types)
                break
    match_rows(network)
    return _model(network, recording, learner, state, course, float(best.mean())), state


def start(recording: Recording, learner: Learner) -> JointNetwork:
    """Equation (2) before the training: random φ, W = 0, Ω near 1, and ψ a rising line.

    The line chooses between (ψ, W) and (−ψ, −W), which no recording can tell apart.
    """
    total, neurons = recording.activity.shape
    sample = recording.activity[:: max(1, total // 2000)]
    gnn = GNN(learner.graph_network, neurons, float(sample.square().mean().sqrt()))
    fit_line(gnn, float(sample.abs().max()))
    return JointNetwork(
        gnn=gnn,
        siren=Siren(learner.field_network),
        positions=recording.positions,
        modulated=recording.modulated,
        gain=recording.gain,
        frames=total,
        windows=total,
    )


def fit_line(gnn: GNN, largest: float) -> None:
    """Train ψ* to be x/largest between ±largest, for any embedding."""
    optimiser = torch.optim.Adam(gnn.psi.parameters(), lr=LINE_RATE)
    x = largest * torch.linspace(-1, 1, 65).expand(len(gnn.embedding), -1)
    for _ in range(LINE_STEPS):
        rows = torch.randint(len(x), (32,))
        embedding = gnn.embedding[rows].detach()
        error = (
            gnn.transfer_function(embedding, x[rows], receiver=embedding) - x[rows] / largest
        )
        optimiser.zero_grad()
        (error**2).mean().backward()
        optimiser.step()


def sharing(network: JointNetwork, types: Int[Tensor, " neuron"]) -> JointNetwork:
    """A copy in which the neurons of a type share the embedding of the most central of them.

    Not their mean: alike neurons may have embeddings in several clusters, and between these
    the networks have learned nothing.
    """
    typed = copy.deepcopy(network)
    embedding = typed.gnn.embedding.detach().clone()
    for members in members_of(types):
        own = embedding[members]
        embedding[members] = own[torch.cdist(own, own).sum(1).argmin()]
    typed.gnn.embedding = torch.nn.Parameter(embedding)
    return typed


@torch.no_grad()
def tabulated(
    network: JointNetwork,
    data: Data,
    recording: Recording,
    types: Int[Tensor, " neuron"] | None = None,
) -> Estimate:
    """The unknowns of the sweeps as the networks have them.

    Args:
        network: trained.
        data: the knots, windows and frames.
        recording: its gain belongs to W in the sweeps.
        types: of the neurons; with ψ*(a_i, a_j, x_j), every type of receivers has a table.
    """
    gnn, neurons = network.gnn, data.shard.neurons
    device = gnn.embedding.device
    knots = data.axis.values(device)
    update, transfer = functions(network, knots)
    tables = transfer[None]
    receivers: tuple[Tensor, ...] = (torch.arange(neurons, device=device),)
    if types is not None and gnn.config.transfer == "pair":
        receivers = tuple((types == k).nonzero()[:, 0] for k in range(int(types.max()) + 1))
        own = [gnn.embedding[rows[0]].expand_as(gnn.embedding) for rows in receivers]
        x = knots.expand(neurons, -1)
        tables = torch.stack([gnn.transfer_function(gnn.embedding, x, one) for one in own])
    centre = (torch.arange(data.windows, device=device) + 0.5) * data.total / data.windows
    connectivity = gnn.connectivity * network.gain[:, None]
    return Estimate(
        update=update,
        transfer=tables,
        field=network.field(centre.long()).T.contiguous(),
        receivers=receivers,
        connectivity=connectivity.fill_diagonal_(0.0),
    )


@torch.no_grad()
def match_rows(network: JointNetwork) -> None:
    """Convention (ii), for all modulated rows together: the SIREN is smooth in space.

    The rows of W* with modulation are given the robust scale of the others, and Ω* the inverse.
    """
    rows = network.modulated
    if not rows.any() or rows.all():
        return
    weights = network.gnn.connectivity
    scale = gauge.row_scales(weights, rows)[rows].log().median().exp()
    weights[rows] /= scale
    for parameter in network.siren.output.parameters():  # Ω* is its square
        parameter *= scale.sqrt()


def _slower(settings: Training) -> Training:
    """Settings with lower rates, for networks that have been trained before."""
    names = ("connectivity_rate", "embedding_rate", "function_rate", "field_rate")
    rates = {name: SLOWER * getattr(settings, name) for name in names}
    return settings.model_copy(update=rates)


def _model(
    network: JointNetwork,
    recording: Recording,
    learner: Learner,
    state: State,
    course: Course,
    loss: float,
) -> Model:
    gnn = network.gnn.cpu()
    with torch.no_grad():
        gnn.connectivity.fill_diagonal_(0.0)
    types = torch.arange(len(gnn.embedding)) if state.types is None else state.types.cpu()
    return Model(
        gnn=gnn,
        siren=network.siren.cpu(),
        types=types,
        positions=recording.positions,
        modulated=recording.modulated,
        frames=network.frames,
        windows=network.windows,
        loss=loss,
        history=History(course.reports, torch.stack(course.embeddings).cpu()),
        continuum=state.types is None,
        method=learner.inference.method,
    )
