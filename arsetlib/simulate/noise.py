"""Smooth random fields."""

from __future__ import annotations

import numpy as np


def smooth(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 1) -> np.ndarray:
    """A smooth random field, mean 0 and standard deviation near 1.

    Random values on a coarse grid are interpolated with a smoothstep. Each further octave has half the cell size and
    half the weight.

    Args:
        rng: Source of the random numbers.
        shape: (rows, columns).
        cell: Side of the coarse grid's cells, pixels.
        octaves: Number of fields that are added, each finer than the one before.

    Returns:
        (rows, columns) float32.
    """
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        side = max(cell / 2**octave, 1.0)
        weight = 0.5**octave
        total += np.float32(weight / 0.743) * _value_noise(rng, shape, side)
        power += weight**2
    return total / np.float32(np.sqrt(power))


def _value_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    origin = rng.random(2)
    axes = []
    for n, start in zip(shape, origin, strict=True):
        at = np.arange(n) / cell + start
        low = at.astype(np.intp)
        part = at - low
        axes.append((low, (part * part * (3 - 2 * part)).astype(np.float32)))
    (i, u), (j, v) = axes
    knots = rng.standard_normal((i[-1] + 2, j[-1] + 2), dtype=np.float32)
    across = knots[:, j] + (knots[:, j + 1] - knots[:, j]) * v
    down = across[i]
    down += (across[i + 1] - down) * u[:, None]
    return down
