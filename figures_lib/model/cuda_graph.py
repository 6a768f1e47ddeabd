"""Work that a GPU repeats without the CPU.

A step of a simulation or of a training is a row of kernels that take microseconds each, and
launching them one by one takes longer than running them. Recorded once as a CUDA graph, they
are launched together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Parameter

WARM_UP = 3  # gradients before the recording, in which libraries allocate what they need


def captured(work: Callable[[], Any], warm_up: Callable[[], object]) -> Callable[[], Any]:
    """Record the kernels of some work; the returned function repeats them.

    The graph reads and writes the very memory that the work did. So what goes in has to be
    copied to where it was, and what comes out is overwritten by the next repetition.

    Args:
        work: launches kernels and never waits for their results.
        warm_up: launches the same kernels, or some of them.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries allocate their workspace outside the graph
        warm_up()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def repeat() -> Any:
        graph.replay()
        return result

    return repeat


def gradients(
    loss: Callable[..., Float[Tensor, ""]],
    parameters: Sequence[Parameter],
    example: Sequence[Tensor] = (),
    capture: bool = True,
) -> Callable[..., Float[Tensor, ""]]:
    """A function that returns a loss and leaves its gradient in ``grad`` of the parameters.

    Args:
        loss: of some tensors, which keep their shapes.
        parameters: with respect to what; they are only ever changed in place.
        example: tensors that the loss can be called with.
        capture: whether the loss can be recorded: it does not wait for results of a GPU.

    Returns:
        The function of the same tensors. On a GPU the next call overwrites what it returned.
    """

    def evaluate(*inputs: Tensor) -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        value = loss(*inputs)
        value.backward()
        return value.detach()

    if not (capture and parameters[0].is_cuda):
        return evaluate
    places = [one.clone() for one in example]

    def warm_up() -> None:
        for _ in range(WARM_UP):
            evaluate(*places)

    repeat = captured(lambda: evaluate(*places), warm_up)

    def replayed(*inputs: Tensor) -> Tensor:
        for place, one in zip(places, inputs, strict=True):
            place.copy_(one)
        return repeat()

    return replayed
