"""Whether the learned functions hold in another network: Figures S5 and S6."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from figures_lib.infer.gauge import of_neurons
from figures_lib.model.gnn import GNN
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.score.rollout import LONGEST, STATES, Drift, compared, true_roll_out
from figures_lib.simulate.truth import Truth

SETTLING = 1001  # frames after which the other network has forgotten where it started


def elsewhere(
    recording: Recording,
    model: Model,
    other: Truth,
    cluster_of_type: Int[Tensor, " type"],
    scale: Float[Tensor, "*receiver type"],
) -> Drift:
    """Roll-outs of another network with the learned functions, beside the true ones.

    Args:
        recording: states of it are where the other network starts to settle.
        model: whose φ* and ψ* are used.
        other: the other network; its weights and types are given.
        cluster_of_type: the found type that stands for each true one.
        scale: the size of ψ of each true type, of receivers too if it depends on them, over
            that of ψ*.

    Source: Figures S5 and S6, where trained networks are moved alike.
    """
    planted = transplanted(model, other, cluster_of_type, scale)
    first = torch.linspace(0, len(recording.activity) - 1, STATES).long()
    start, step = recording.activity[first].clone(), recording.time_step
    start = true_roll_out(other, planted.modulated, start, first, SETTLING, step)[-1]
    gain = other.parameters()["gain"]
    return compared(other, planted, gain, start, first, LONGEST, step)


def transplanted(
    model: Model,
    other: Truth,
    cluster_of_type: Int[Tensor, " type"],
    scale: Float[Tensor, "*receiver type"],
) -> Model:
    """The model with the weights and types of another network; see :func:`elsewhere`."""
    present, types = other.types.unique(return_inverse=True)
    weights = other.connectivity * of_neurons(scale, other.types)
    gnn = GNN(model.gnn.config, len(types), float(model.gnn.scale), weights)
    gnn.phi, gnn.psi = model.gnn.phi, model.gnn.psi
    shared = model.type_embedding().detach()[cluster_of_type[present]]
    gnn.embedding = torch.nn.Parameter(shared[types])
    return replace(model, gnn=gnn, types=types, modulated=torch.zeros_like(model.modulated))
