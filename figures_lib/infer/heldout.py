"""Frames that inference does not fit: some judge its choices, the others judge its result.

Held-out frames come in short runs of consecutive frames that are spread over the recording:
in runs, because neighbouring frames are alike and would give each other away; spread, because
the hidden field at a time is known only from frames near by. Every second run judges choices,
such as that of the types; no part of inference reads the others.
"""

import torch
from jaxtyping import Int
from torch import Tensor

SHARE = 0.04  # of all frames are held out
FEWEST = 20  # frames of a recording from which some are held out
LONGEST = 20  # frames of a run, at most: short beside the images of a movie
MOST_RUNS = 100  # enough to judge by; more would cost frames


def held_out(total: int) -> Int[Tensor, "run time"]:
    """The held-out runs of a recording of ``total`` frames, in the order of time.

    None of a few frames are held out: there is nothing to judge then.
    """
    if total < FEWEST:
        return torch.zeros(0, 1, dtype=torch.long)
    length = max(1, min(LONGEST, total // 200))
    count = max(2, min(MOST_RUNS, round(SHARE * total / length)))
    first = (torch.arange(count) + 0.5) * total / count - length / 2
    return (first.long()[:, None] + torch.arange(length)).clamp(0, total - 1)


def choice_frames(total: int) -> Int[Tensor, " frame"]:
    """Frames that judge the choices of an inference; all frames if none are held out."""
    held = held_out(total)
    return held[::2].flatten() if len(held) else torch.arange(total)


def judging_runs(total: int) -> Int[Tensor, "run time"]:
    """Runs of frames that judge its result."""
    return held_out(total)[1::2]


def sampled_frames(total: int, frames: int) -> Int[Tensor, " frame"]:
    """About ``frames`` of ``total`` frames at a constant stride, less those held out."""
    sampled = torch.arange(0, total, sampling_stride(total, frames))
    return sampled[~torch.isin(sampled, held_out(total))]


def sampling_stride(total: int, frames: int) -> int:
    """The stride at which about ``frames`` of the recorded frames are sampled."""
    return max(1, total // frames)
