"""The least-squares solution for W in a sweep, all weights at once.

Dividing (x'_i − φ_i)/Ω_i leaves one Gram matrix ΨΨᵀ for all N rows of W, so that one Cholesky
factorisation solves for all N² weights. The data and the unknowns of a sweep are defined in
:mod:`figures_lib.infer.unknowns`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer import shards
from figures_lib.infer.shards import Shard, product
from figures_lib.infer.splines import evaluate
from figures_lib.infer.unknowns import Data, Estimate, Pools

FLAT = 1e-6  # relative range below which a message is a constant
RIDGE = 1e-6  # of the mean diagonal of the Gram matrix: float32 Cholesky needs no more
ATTEMPTS = 6  # ridges to try, each ten times the previous one


def solve_connectivity(
    data: Data, estimate: Estimate, pools: Pools
) -> Float[Tensor, "neuron sender"]:
    """All weights at once: W = argmin Σ_t ‖(x' − φ)/Ω − W ψ‖² with zero diagonal.

    The minimiser without the constraint is U = C G⁻¹, with G = ΨΨᵀ and C = ((x' − φ)/Ω) Ψᵀ.
    Where neurons share φ, the constraint is met exactly: the multiple of row i of G⁻¹ that
    cancels u_ii is subtracted. Where every neuron has its own φ_i, u_ii is simply dropped:
    ψ_i(x_i) then absorbs what φ_i does not explain yet, which halves the number of sweeps.

    Raises:
        InferenceError: the Gram matrix has no inverse.

    Source: equation (2), solved for W with φ, ψ and Ω given.
    """
    shard, weights = data.shard, torch.zeros_like(estimate.connectivity)
    for rows, table in zip(estimate.receivers, estimate.transfer, strict=True):
        gram_matrix = torch.zeros_like(weights)
        cross = torch.zeros_like(weights[rows])
        low = torch.full((len(weights),), torch.inf, device=weights.device)
        high = -low
        for block, left, fraction in data.located():
            messages = evaluate(table, left, fraction)
            low = torch.minimum(low, messages.amin(1))
            high = torch.maximum(high, messages.amax(1))
            target = block.derivative - evaluate(estimate.update, left, fraction)
            target /= estimate.field[:, data.window(block)]
            everyone = shard.all_gather(messages).T
            gram_matrix.addmm_(messages, everyone)
            cross.addmm_(target[rows], everyone)
        silent = shard.all_gather(flat(low, high))
        inverted = inverse(gram_matrix, silent, shard)
        weights[rows] = product(cross, inverted, shard)
        if pools.update is not None:
            own = weights[rows, rows + shard.first]
            excess = own / inverted.diagonal(shard.first)[rows].clamp_min(1e-30)
            weights[rows] -= excess[:, None] * inverted[rows]
    weights.diagonal(shard.first).zero_()
    return weights


def flat(low: Float[Tensor, " neuron"], high: Float[Tensor, " neuron"]) -> Bool[Tensor, " n"]:
    """Which messages are constant, given the range of each from ``low`` to ``high``."""
    return high - low <= FLAT * torch.maximum(high.abs(), low.abs())


def inverse(
    gram: Float[Tensor, "own neuron"],
    silent: Bool[Tensor, " neuron"],
    shard: Shard,
    ridge: float = RIDGE,
) -> Float[Tensor, "own neuron"]:
    """(G + ridge)⁻¹ without the silent neurons, whose rows and columns are 0.

    The message of a silent neuron is a constant, which the update function of the receiver
    already contains. If activities are linearly dependent, or there are fewer frames than
    neurons, the ridge is raised until the matrix has an inverse. The solution is then the one
    of least norm, and :func:`~figures_lib.infer.diagnosis.identifiability` reports it.

    Args:
        gram: the rows of ΨΨᵀ that belong to this process; the ridge is added in place, and
            what belongs to silent neurons is set to 0.
        silent: which of all neurons have a message that never changes.
        shard: the place of this process among others.
        ridge: the first to try, as a share of the mean diagonal.

    Raises:
        InferenceError: no ridge gives an inverse, because a value is not finite.
    """
    if silent.any():
        _clear(gram, silent, shard)
    diagonal = gram.diagonal(shard.first)
    added = ridge / shard.neurons * shard.all_reduce(diagonal.sum())
    for _ in range(ATTEMPTS):
        diagonal.add_(added)
        found = shards.inverse(gram, shard)
        if found is not None:
            return _clear(found, silent, shard) if silent.any() else found
        added = 10 * added
    raise InferenceError("the Gram matrix of the messages has no inverse")


def _clear(
    matrix: Float[Tensor, "own neuron"], silent: Bool[Tensor, " neuron"], shard: Shard
) -> Float[Tensor, "own neuron"]:
    matrix[silent[shard.own]] = 0
    matrix[:, silent] = 0
    return matrix
