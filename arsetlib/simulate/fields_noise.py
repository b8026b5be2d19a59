"""Random shapes of simulated fields: smooth noise and blobs.

The noise is a cubic spline like ``noise.smooth``, but its octaves refine one grid, which is faster for whole pictures.
Another generator would give other images for the same seed, so case_fields must be run at full size with it first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def waves(rng: np.random.Generator, size: int, cells: float, octaves: int = 1) -> np.ndarray:
    """A smooth random field of a chip: cubic splines through random values.

    Args:
        rng: Random generator.
        size: Side of the chip, pixels.
        cells: Waves across the chip, about; each further octave has twice as many with half the amplitude.
        octaves: How many.

    Returns:
        (size, size) float32, mean about 0, standard deviation about 1.
    """
    cells = max(round(cells), 1)
    fine = [min(cells * 2**octave, size) for octave in range(octaves)]
    sides = [fine[-1] + 3]
    for _ in range(octaves - 1):
        sides.insert(0, -(-sides[0] // 2) + 3)
    knots = rng.standard_normal((sides[0], sides[0]), dtype=np.float32)
    weight, power = 1.0, 1.0
    for side in sides[1:]:
        weight /= 2
        power += weight**2
        knots = _spread(knots, side, 2)
        knots += np.float32(weight) * rng.standard_normal((side, side), dtype=np.float32)
    cells = fine[-1]
    field = _spread(knots, size, -(-size // cells))
    field *= np.float32(1.65 / np.sqrt(power))  # a spline smooths: 1.65 brings the standard deviation back to about 1
    return field


def _spread(knots: np.ndarray, size: int, factor: int) -> np.ndarray:
    """Cubic B-spline through a grid of knots at ``factor`` points a cell, cut to (size, size)."""
    t = ((np.arange(factor) + 0.5) / factor).astype(np.float32)
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / np.float32(6)
    n = len(knots) - 3
    down = sum(knots[k : k + n, None, :] * taps[k][None, :, None] for k in range(4))  # (n, factor, knots)
    down = down.reshape(n * factor, -1)[:size]
    out = down[:, :n, None] * taps[0]
    for k in range(1, 4):
        out += down[:, k : k + n, None] * taps[k]
    return np.ascontiguousarray(out.reshape(len(down), -1)[:, :size])


def grain(rng: np.random.Generator, size: int) -> np.ndarray:
    """White noise of a chip, (size, size) float32 between −1 and 1."""
    field = rng.integers(0, 256, (size, size), dtype=np.uint8).astype(np.float32)
    field -= np.float32(127.5)
    field *= np.float32(1 / 127.5)
    return field


def clumps(rng: np.random.Generator, size: int, pixels: float) -> np.ndarray:
    """Noise with grains of about ``pixels``, (size, size) float32, standard deviation about 1."""
    return waves(rng, size, max(size / pixels, 1))


def axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (1, size) and rows (size, 1) of a chip's pixel centres, as shares of its side."""
    at = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size))[None, :]
    return at, at.T


def blob(
    rng: np.random.Generator,
    size: int,
    centre: Sequence[float],
    radii: Sequence[float],
    rough: float,
    cells: float = 5,
) -> np.ndarray:
    """Depth of each pixel in an irregular patch: above 0 inside, about 1 in the middle.

    Args:
        rng: Random generator.
        size: Side of the chip, pixels.
        centre: (x, y) as shares of the side.
        radii: Along and across, as shares of the side; the direction is random.
        rough: Deviation of the outline, as a share of the radius.
        cells: Waves of the outline across the chip.
    """
    x, y = axes(size)
    turn = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = (x - np.float32(centre[0])) * c + (y - np.float32(centre[1])) * s
    across = (y - np.float32(centre[1])) * c - (x - np.float32(centre[0])) * s
    along *= np.float32(1 / radii[0])
    across *= np.float32(1 / radii[1])
    depth = np.float32(1) - np.sqrt(along * along + across * across)
    depth += np.float32(rough) * waves(rng, size, cells, 3)
    return depth


def ramp(depth: np.ndarray, width: float) -> np.ndarray:
    """0 outside, 1 where the depth exceeds ``width``, linear between; float32."""
    part = depth * np.float32(1 / width)
    return np.clip(part, 0, 1, out=part)


def shares_within(mask: np.ndarray, where: np.ndarray) -> float:
    """Share of the pixels ``where`` that a mask covers."""
    total = int(np.count_nonzero(where))
    return float(np.count_nonzero(mask & where) / total) if total else 0.0
