"""The graph neural network of equation (2), dense."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from figures_lib.learner import GraphNetwork

PAIR_BUDGET = 2**24  # hidden values of the pair variant that are in memory at once


class GNN(nn.Module):
    """dx_i/dt = φ*(a_i, x_i) + Ω_i·Σ_j W_ij·ψ*(…), with ψ* in one of three variants.

    ``shared``: ψ*(x_j); ``sender``: ψ*(a_j, x_j); ``pair``: ψ*(a_i, a_j, x_j). The first two
    do not depend on the receiver, so ψ* is evaluated N times, not N², and the sum over
    senders is a matrix product. The third is evaluated for a few receivers at a time: a hidden
    layer holds at most ``PAIR_BUDGET`` values (or those of one receiver), also for gradients.

    Args:
        config: variant of ψ*, sizes of the MLPs and of the embedding.
        neurons: N.
        scale: typical magnitude of x; the MLPs are given x divided by it.
        connectivity: initial W, or the rows of it that this process holds; zeros by default.

    Attributes:
        embedding: a_i, Float["neuron embedding"], dimensionless.
        connectivity: W, Float["neuron neuron"], row = receiver, column = sender, dimensionless;
            its diagonal is ignored.
        phi, psi: the MLPs φ* and ψ*.
        scale: as above.

    Source: equation (2); Figure 3 uses ``sender``, its text writes ``pair``.
    """

    scale: Tensor
    phi: nn.Sequential
    psi: nn.Sequential

    def __init__(
        self,
        config: GraphNetwork,
        neurons: int,
        scale: float = 1.0,
        connectivity: Float[Tensor, "row neuron"] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        size = config.embedding
        self.embedding = nn.Parameter(0.1 * torch.randn(neurons, size))
        weights = torch.zeros(neurons, neurons) if connectivity is None else connectivity
        self.connectivity = nn.Parameter(weights)
        inputs = {"shared": 1, "sender": 1 + size, "pair": 1 + 2 * size}[config.transfer]
        self.phi = _mlp(1 + size, config.width, config.phi_layers)
        self.psi = _mlp(inputs, config.width, config.psi_layers)
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(
        self, activity: Float[Tensor, "batch neuron"], field: Float[Tensor, "batch neuron"]
    ) -> Float[Tensor, "batch neuron"]:
        """dx/dt of every neuron.

        Args:
            activity: x_i, Float["batch neuron"], dimensionless.
            field: Ω_i times the gain g_i, Float["batch neuron"] [1/time unit].

        Returns:
            dx_i/dt, Float["batch neuron"] [1/time unit].

        Source: equation (2).
        """
        x = activity.T
        diagonal = torch.eye(len(x), dtype=torch.bool, device=x.device)
        weights = self.connectivity.masked_fill(diagonal, 0.0)
        if self.config.transfer == "pair":
            received = self._receive_pairs(weights, x)
        else:
            received = weights @ self.transfer_function(self.embedding, x)
        return (self.update_function(self.embedding, x) + field.T * received).T

    def update_function(
        self, embedding: Float[Tensor, "n embedding"], x: Float[Tensor, "n x"]
    ) -> Float[Tensor, "n x"]:
        """φ*(a, x), the dynamics of a neuron by itself.

        Args:
            embedding: a of each row, Float["n embedding"], dimensionless.
            x: activities at which to evaluate each row, Float["n x"], dimensionless.

        Returns:
            φ*, Float["n x"] [1/time unit].
        """
        return _apply(self.phi, x / self.scale, embedding)

    def transfer_function(
        self,
        embedding: Float[Tensor, "n embedding"],
        x: Float[Tensor, "n x"],
        receiver: Float[Tensor, "n embedding"] | None = None,
    ) -> Float[Tensor, "n x"]:
        """ψ*, the message that a neuron sends.

        Args:
            embedding: a_j of the sender in each row, Float["n embedding"], dimensionless.
            x: activities of the sender, Float["n x"], dimensionless.
            receiver: a_i of the receiver in each row; the pair variant needs it, the others
                ignore it.

        Returns:
            ψ*, Float["n x"], dimensionless.

        Raises:
            ValueError: the pair variant was given no receiver.
        """
        if self.config.transfer == "pair":
            if receiver is None:
                raise ValueError("receiver: ψ*(a_i, a_j, x_j) needs the embedding a_i; pass it")
            return _apply(self.psi, x / self.scale, receiver, embedding)
        if self.config.transfer == "sender":
            return _apply(self.psi, x / self.scale, embedding)
        return _apply(self.psi, x / self.scale)

    def _receive_pairs(
        self, weights: Float[Tensor, "neuron neuron"], x: Float[Tensor, "neuron batch"]
    ) -> Float[Tensor, "neuron batch"]:
        """Σ_j W_ij ψ*(a_i, a_j, x_j): the first layer splits into receiver + sender terms."""
        first, rest = self.psi[0], self.psi[1:]
        assert isinstance(first, nn.Linear)
        size = self.config.embedding
        own = self.embedding @ first.weight[:, 1 : 1 + size].T
        other = self.embedding @ first.weight[:, 1 + size :].T
        sent = (x / self.scale)[..., None] * first.weight[:, 0] + other[:, None] + first.bias
        chunk = max(1, PAIR_BUDGET // max(1, sent.numel()))

        def receive(mine: Tensor, sent: Tensor, weight: Tensor) -> Tensor:
            messages = rest(mine[:, None, None] + sent)[..., 0]
            return torch.einsum("ij,ijb->ib", weight, messages)

        # Recomputed in the backward pass: the gradient must not keep the messages of all pairs.
        rows = [
            checkpoint(receive, mine, sent, weight, use_reentrant=False)
            for mine, weight in zip(own.split(chunk), weights.split(chunk), strict=True)
        ]
        return torch.cat(rows)


def _mlp(inputs: int, width: int, layers: int) -> nn.Sequential:
    sizes = [inputs, *[width] * (layers - 1), 1]
    parts: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def _apply(network: nn.Sequential, x: Tensor, *embeddings: Tensor) -> Float[Tensor, "n x"]:
    """Evaluate an MLP on every activity with the embeddings of its row."""
    parts = [x[..., None], *(a[:, None].expand(*x.shape, -1) for a in embeddings)]
    return network(torch.cat(parts, -1))[..., 0]
