"""The graph neural network of equation (2) edge by edge, as published: the reference."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.nn import MessagePassing

from figures_lib.model.gnn import GNN


class MessagePassingGNN(MessagePassing):
    """The published formulation: the MLP ψ* on every edge.

    The slow reference of :class:`figures_lib.model.gnn.GNN`. It shares the parameters of the
    network that it is built from.

    Args:
        gnn: the dense network.

    Source: equation (2), evaluated on all N(N − 1) edges.
    """

    def __init__(self, gnn: GNN) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.gnn = gnn

    def forward(
        self, activity: Float[Tensor, "batch neuron"], field: Float[Tensor, "batch neuron"]
    ) -> Float[Tensor, "batch neuron"]:
        """The same prediction as :meth:`GNN.forward`, edge by edge."""
        gnn, x = self.gnn, activity.T
        neurons = torch.arange(len(x), device=x.device)
        pairs = torch.cartesian_prod(neurons, neurons)
        edges = pairs[pairs[:, 0] != pairs[:, 1]].T
        received = self.propagate(
            edges, x=x, a=gnn.embedding, weight=gnn.connectivity[edges[1], edges[0]]
        )
        return (gnn.update_function(gnn.embedding, x) + field.T * received).T

    def message(
        self,
        x_j: Float[Tensor, "edge batch"],
        a_i: Float[Tensor, "edge embedding"],
        a_j: Float[Tensor, "edge embedding"],
        weight: Float[Tensor, " edge"],
    ) -> Float[Tensor, "edge batch"]:
        """W_ij·ψ* on each edge j → i, from both ends and the weight of the edge."""
        return weight[:, None] * self.gnn.transfer_function(a_j, x_j, receiver=a_i)
