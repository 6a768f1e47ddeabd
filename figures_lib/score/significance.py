"""Which weights are connections: a test of each, at a stated rate of false discoveries."""

import torch
from jaxtyping import Float
from scipy.stats import false_discovery_control
from torch import Tensor

from figures_lib.infer.standard_errors import p_values

RATE = 0.05  # of false discoveries, at which a connection counts as found


def q_values(
    weights: Float[Tensor, "neuron sender"], errors: Float[Tensor, "neuron sender"]
) -> Float[Tensor, "neuron sender"]:
    """The least rate of false discoveries at which each weight counts as a connection.

    All weights between different neurons are tested at once; the diagonal has a q of 1.

    Args:
        weights: W*.
        errors: the standard error of each.

    Source: Y. Benjamini and Y. Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
    """
    pairs = ~torch.eye(len(weights), dtype=torch.bool)
    chance = p_values(weights[pairs].double(), errors[pairs].double())
    found = torch.ones_like(weights, dtype=torch.double)
    found[pairs] = torch.from_numpy(false_discovery_control(chance.numpy()))
    return found
