"""What determines an inference besides the recording: the sections that it may read."""

from typing import Annotated, Literal

from pydantic import Field

from figures_lib.section import LARGE, Count, Positive, PositiveInt, Section, Seed


class Inference(Section):
    """The sweeps of exact least squares: shared, per neuron, then three rounds per type.

    ``derivative`` is what is regressed on: dx/dt as simulated, or finite differences of the
    activity, with their noise. ``seed`` starts the networks; without it, the experiment's does.
    """

    frames_per_neuron: Annotated[float, Field(ge=1, le=LARGE, allow_inf_nan=False)] = 4.0
    knots: Annotated[int, Field(ge=4, le=LARGE)] = 24
    type_knots: Annotated[int, Field(ge=4, le=LARGE)] = 96
    shared_sweeps: PositiveInt = 5
    neuron_sweeps: Count = 12
    type_sweeps: PositiveInt = 6
    window: PositiveInt = 100
    max_types: PositiveInt = 20
    derivative: Literal["exact", "differences"] = "exact"
    seed: Seed | None = None


class GraphNetwork(Section):
    """The GNN: φ*(a_i, x_i) and one of the three variants of ψ*, and how it is fitted."""

    transfer: Literal["shared", "sender", "pair"] = "sender"
    embedding: PositiveInt = 2
    width: PositiveInt = 64
    phi_layers: PositiveInt = 3
    psi_layers: PositiveInt = 5
    steps: PositiveInt = 3000
    batch: PositiveInt = 256
    learning_rate: Positive = 2e-3


class FieldNetwork(Section):
    """The SIREN that represents the field Ω*(x, y, t), and how it is fitted."""

    layers: Annotated[int, Field(ge=2, le=LARGE)] = 4
    width: PositiveInt = 256
    omega: Positive = 30.0
    time_scale: Positive = 3.0
    space_scale: Positive = 1.0
    steps: PositiveInt = 1800
    batch: PositiveInt = 4096
    learning_rate: Positive = 1.5e-3


class Learner(Section):
    """How to infer: everything that inference is given besides the recording.

    Nothing in it describes the simulated network, so the truth cannot reach inference.

    Attributes:
        inference: sampling, sweeps and types.
        graph_network: φ*, ψ* and the embeddings, and how they are fitted.
        field_network: Ω*, and how it is fitted.
        seed: starts the random numbers of the networks.
    """

    inference: Inference = Inference()
    graph_network: GraphNetwork = GraphNetwork()
    field_network: FieldNetwork = FieldNetwork()
    seed: Seed = 0
