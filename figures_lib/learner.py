"""The settings of an inference: the sections of a configuration that it may read."""

from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from figures_lib.section import (
    LARGE,
    Count,
    NonNegative,
    Positive,
    PositiveInt,
    Section,
    Seed,
)


class Inference(Section):
    """The method of inference, the phases of its sweeps and the search for types.

    In ``sweeps``, Gauss–Newton steps find one ψ for all neurons. Then sweeps of alternating
    least squares, or steps where these would creep, give each neuron its own functions; then
    they share φ and ψ within each type, in two rounds. In ``gradient``, the published
    training, all unknowns follow the gradient together (see :class:`Training`).

    Attributes:
        method: ``sweeps`` or ``gradient``.
        frames_per_neuron: frames that a sweep reads, divided by N; at least 8192 are read.
        knots: knots of the function tables before the types are known.
        type_knots: knots of the function tables of the types.
        shared_sweeps: steps with one ψ for all neurons, at most.
        neuron_sweeps: sweeps with one ψ per neuron, at most; if these are ten or more and still
            leave much, steps in all ψ go on from there.
        type_sweeps: sweeps or steps with one φ and one ψ per type in the first round, at most;
            the second has three times as many.
        window: time for which Ω is constant at first [frames].
        types: as many as the recording calls for (``found``), or ``one``: all neurons are taken
            to be alike, as without an embedding.
        max_types: more types than this are none: no neurons are alike then.
        derivative: what is regressed on: dx/dt as simulated (``exact``), or finite differences
            of the activity, which contain its noise (``differences``).
        errors: whether to find the standard error of every weight.
        seed: of the networks; by default that of the experiment.
    """

    method: Literal["sweeps", "gradient"] = "sweeps"
    frames_per_neuron: Annotated[float, Field(ge=1, le=LARGE, allow_inf_nan=False)] = 4.0
    knots: Annotated[int, Field(ge=4, le=LARGE)] = 24
    type_knots: Annotated[int, Field(ge=4, le=LARGE)] = 96
    shared_sweeps: PositiveInt = 30
    neuron_sweeps: Count = 12
    type_sweeps: PositiveInt = 6
    window: PositiveInt = 100
    types: Literal["found", "one"] = "found"
    max_types: PositiveInt = 40
    derivative: Literal["exact", "differences"] = "exact"
    errors: bool = False
    seed: Seed | None = None


class GraphNetwork(Section):
    """The GNN: φ*(a_i, x_i) and one of the three variants of ψ*, and how it is fitted.

    Attributes:
        transfer: ψ*(x_j) (``shared``), ψ*(a_j, x_j) (``sender``) or ψ*(a_i, a_j, x_j)
            (``pair``).
        embedding: dimension of a_i.
        width: hidden units per layer.
        phi_layers: linear layers of φ*.
        psi_layers: linear layers of ψ*.
        steps: steps of L-BFGS for the functions of the types, after a third as many of Adam;
            another third fits a_i before. If there are no types, as many of Adam fit a_i and
            the functions together.
        batch: neurons per step while a_i is fitted.
        learning_rate: of Adam at the start; it decays to zero.
    """

    transfer: Literal["shared", "sender", "pair"] = "sender"
    embedding: PositiveInt = 2
    width: PositiveInt = 64
    phi_layers: PositiveInt = 3
    psi_layers: PositiveInt = 5
    steps: PositiveInt = 3000
    batch: PositiveInt = 256
    learning_rate: Positive = 2e-3


class FieldNetwork(Section):
    """The SIREN that represents the field Ω*(x, y, t), and how it is fitted.

    Attributes:
        layers: sine layers.
        width: hidden units per layer.
        omega: ω₀, the factor inside the sines.
        time_scale: time runs over [−time_scale, time_scale] in the network.
        space_scale: x and y run over [−space_scale, space_scale] in the network.
        steps: steps of the optimiser.
        batch: points of the last step, not more than there are; the first has half as many.
        learning_rate: its largest value; it warms up and then decays.
    """

    layers: Annotated[int, Field(ge=2, le=LARGE)] = 4
    width: PositiveInt = 256
    omega: Positive = 30.0
    time_scale: Positive = 3.0
    space_scale: Positive = 1.0
    steps: PositiveInt = 1600
    batch: PositiveInt = 4096
    learning_rate: Positive = 1e-3


class Training(Section):
    """The training of all unknowns together, on frames, by stochastic gradients (Adam).

    The rates rise over the first tenth of the steps, then fall to a thousandth. The four
    penalties are those of the published training; each is relative to the loss, the unexplained
    fraction of the variance of x'.

    Attributes:
        steps: with an embedding for each neuron; a third as many follow with one per type.
        batch: frames per step.
        connectivity_rate: largest learning rate of W.
        embedding_rate: that of a_i.
        function_rate: that of φ* and ψ*.
        field_rate: that of the SIREN.
        sparsity: penalty on Σ|W| relative to its value for a W of unit size per neuron.
        transfer_falls: penalty where ψ* falls with activity.
        update_rises: penalty where φ* rises with activity.
        update_at_zero: penalty on φ*(a, 0).
        transfer_scale: penalty on a ψ* whose largest magnitude is not 1 or that falls on the
            whole: it fixes scale and sign of ψ* and W, at no cost to the loss.
        checks: how often held-out frames judge; the network that they find best is kept.
    """

    steps: PositiveInt = 12_000
    batch: PositiveInt = 32
    connectivity_rate: Positive = 2e-3
    embedding_rate: Positive = 5e-3
    function_rate: Positive = 1e-3
    field_rate: Positive = 5e-4
    sparsity: NonNegative = 0.0
    transfer_falls: NonNegative = 0.0
    update_rises: NonNegative = 0.0
    update_at_zero: NonNegative = 0.0
    transfer_scale: NonNegative = 1e-3
    checks: PositiveInt = 40


@runtime_checkable
class LearnerSections(Protocol):
    """Settings that hold those of an inference, among others."""

    @property
    def inference(self) -> Inference: ...  # noqa: D102
    @property
    def graph_network(self) -> GraphNetwork: ...  # noqa: D102
    @property
    def field_network(self) -> FieldNetwork: ...  # noqa: D102
    @property
    def training(self) -> Training: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


class Learner(Section):
    """How to infer: everything that inference receives besides the recording.

    Nothing in it describes the simulated network, so the truth cannot reach inference.

    Attributes:
        inference: sampling, sweeps and types.
        graph_network: φ*, ψ* and the embeddings, and how they are fitted.
        field_network: Ω*, and how it is fitted.
        training: of all of them together.
        seed: of the random numbers that initialise and train the networks.
    """

    inference: Inference = Inference()
    graph_network: GraphNetwork = GraphNetwork()
    field_network: FieldNetwork = FieldNetwork()
    training: Training = Training()
    seed: Seed = 0

    @classmethod
    def of(cls, settings: LearnerSections) -> "Learner":
        """The part of some settings that inference may read.

        ``seed`` falls back on that of the settings.
        """
        own = settings.inference.seed
        return cls(
            inference=settings.inference,
            graph_network=settings.graph_network,
            field_network=settings.field_network,
            training=settings.training,
            seed=settings.seed if own is None else own,
        )
