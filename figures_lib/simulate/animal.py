"""The project's own movie: an animal that walks across a drifting background."""

import numpy as np
from jaxtyping import Float

SUPERSAMPLING = 4  # the silhouette is drawn at this multiple of the grid and averaged
STRIDES = 5  # steps that the animal takes over the movie
WALK = (0.1, 0.9)  # where its centre starts and ends, in widths of the picture


def walking_animal(images: int, side: int, seed: int) -> Float[np.ndarray, "image row column"]:
    """A dark four-legged animal that walks across a drifting, smooth background.

    Args:
        images: number of images.
        side: pixels per side.
        seed: of the random background.

    Returns:
        Float["image row column"] in arbitrary units, the animal darker than the background.
    """
    fine = side * SUPERSAMPLING
    across = (np.arange(fine) + 0.5) / fine
    x, y = np.meshgrid(across, 1 - across)
    random = np.random.default_rng(seed)
    waves = random.integers(1, 4, (5, 2)) * random.choice([-1, 1], (5, 2))
    phases, drifts = random.uniform(0, 2 * np.pi, 5), random.choice([-1, 1], 5)
    pictures = np.empty((images, side, side), np.float32)
    for index in range(images):
        time = index / max(images - 1, 1)
        background = sum(
            np.cos(2 * np.pi * (kx * x + ky * y + drift * time) + phase)
            for (kx, ky), phase, drift in zip(waves, phases, drifts, strict=True)
        )
        coat = 0.25 + 0.15 * np.sin(2 * np.pi * (3 * x + 2 * y))  # markings
        cover = _animal(x, y, time)
        picture = (1 - cover) * (0.75 + 0.06 * background) + cover * coat
        pictures[index] = picture.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING).mean((1, 3))
    return pictures


def _animal(x: np.ndarray, y: np.ndarray, time: float) -> np.ndarray:
    """1 inside the silhouette at a fraction of the movie, 0 outside."""
    centre = WALK[0] + (WALK[1] - WALK[0]) * time
    gait = 2 * np.pi * STRIDES * time
    bob = 0.015 * np.cos(2 * gait)
    u, v = x - centre, y - bob
    inside = ((u / 0.23) ** 2 + ((v - 0.5) / 0.125) ** 2 < 1) | (
        ((u - 0.1) / 0.12) ** 2 + ((v - 0.58) / 0.12) ** 2 < 1
    )
    inside |= ((u - 0.29) / 0.085) ** 2 + ((v - 0.53) / 0.065) ** 2 < 1
    inside |= _limb(u, v, (0.12, 0.56), (0.29, 0.53), 0.055)
    inside |= _limb(u, v, (0.27, 0.58), (0.3, 0.66), 0.018)
    sway = 0.04 * np.sin(gait)
    inside |= _limb(u, v, (-0.21, 0.55), (-0.29 + sway, 0.4), 0.016)
    for hip, phase in ((-0.15, 0.0), (-0.12, np.pi), (0.12, 0.5 * np.pi), (0.15, 1.5 * np.pi)):
        swing, lift = 0.09 * np.sin(gait + phase), 0.05 * max(0.0, np.cos(gait + phase))
        knee = (hip + 0.6 * swing, 0.32 + lift)
        inside |= _limb(u, v, (hip, 0.45), knee, 0.035)
        inside |= _limb(u, v, knee, (hip + swing, 0.16 + lift), 0.026)
    return inside.astype(np.float32)


def _limb(x: np.ndarray, y: np.ndarray, start: tuple, end: tuple, radius: float) -> np.ndarray:
    """Points within ``radius`` of the segment from start to end."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    return (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2 < radius**2
