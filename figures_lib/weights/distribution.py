"""The interface of a distribution of weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Distribution:
    """A distribution of W_ij, independent and identical for all edges.

    Attributes:
        draw: N, the truncation and a generator → Float["neuron neuron"] of unit scale;
            distributions with heavy tails set entries beyond ±truncation to 0.
        scale: N → the factor that keeps the activity of N neurons bounded.
    """

    draw: Callable[[int, float, torch.Generator], Tensor]
    scale: Callable[[int], float]
