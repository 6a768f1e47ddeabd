"""Equation (2) in all its unknowns: GNN and field network as one differentiable module."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from figures_lib.model.gnn import GNN
from figures_lib.model.siren import Siren, field_in_windows


class JointNetwork(nn.Module):
    """dx_i/dt = φ*(a_i, x_i) + g_i·Ω*_i(t)·Σ_j W*_ij·ψ*(…), with Ω* from the SIREN.

    Ω* = SIREN(x_i, y_i, t) for the modulated neurons and 1 for the others. A gradient of its
    output reaches all unknowns: W*, a_i, φ*, ψ* and Ω*.

    Args:
        gnn: W*, a_i, φ* and ψ*.
        siren: Ω*(x, y, t).
        positions: (x, y) of each neuron [grid widths].
        modulated: neurons that receive the field.
        gain: known constant g_i of each neuron.
        frames: length of the recording that t = 0…1 spans [frames].
        windows: equal parts of the recording in which Ω* is constant; ``frames`` for a field
            that changes from frame to frame.

    Source: equation (2).
    """

    positions: Tensor
    modulated: Tensor
    inputs: Tensor  # indices of the modulated neurons
    gain: Tensor
    fixed_field: Tensor

    def __init__(
        self,
        gnn: GNN,
        siren: Siren,
        positions: Float[Tensor, "neuron 2"],
        modulated: Bool[Tensor, " neuron"],
        gain: Float[Tensor, " neuron"],
        frames: int,
        windows: int,
    ) -> None:
        super().__init__()
        self.gnn, self.siren = gnn, siren
        self.frames, self.windows = frames, windows
        for name, value in (("positions", positions), ("modulated", modulated), ("gain", gain)):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("inputs", modulated.nonzero()[:, 0], persistent=False)
        self.register_buffer("fixed_field", gain.new_empty(0, 0), persistent=False)

    @torch.no_grad()
    def fix_field(self) -> None:
        """Evaluate the SIREN in every window once, for as long as it stays as it is."""
        windows = torch.arange(self.windows, device=self.gain.device)
        first = -(-windows * self.frames // self.windows)  # frame of each window
        self.fixed_field = self.field(first)

    def forward(
        self, activity: Float[Tensor, "batch neuron"], frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch neuron"]:
        """Predicted dx/dt [1/time unit].

        Args:
            activity: x at some frames, dimensionless.
            frames: which frames of the recording these are; they set the time of Ω*.
        """
        return self.gnn(activity, self.field(frames) * self.gain)

    def field(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch neuron"]:
        """Ω* of all neurons at some frames, dimensionless; 1 where there is no modulation."""
        if len(self.fixed_field):
            return self.fixed_field[frames * self.windows // self.frames]
        field = self.gain.new_ones(len(frames), len(self.gain))
        if not len(self.inputs):
            return field
        here = self.positions[self.inputs]
        values = field_in_windows(self.siren, here, frames, self.frames, self.windows)
        return field.index_copy(1, self.inputs, values)
