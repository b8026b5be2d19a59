"""Smooth random fields: cubic splines, which do not show the grid of their random values."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

KNOTS = 1.5  # in a cell: with so many, values half a cell apart have a correlation of about 0.6
VARIANCE = 151 / 315  # of a cubic B-spline through values of variance 1, along one axis


def smooth(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 1) -> np.ndarray:
    """A smooth random field, mean 0 and standard deviation near 1.

    Cubic B-splines through random values on a coarse grid. Each further octave has half the cell size and half the
    weight.

    Args:
        rng: Source of the random numbers.
        shape: (rows, columns).
        cell: Pixels; values half a cell apart have a correlation of about 0.6.
        octaves: Number of fields that are added, each finer than the one before.

    Returns:
        (rows, columns) float32.
    """
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = 0.5**octave
        step = max(cell / 2**octave / KNOTS, 1.0)
        down, across = (_weights(n, step, start) for n, start in zip(shape, rng.random(2), strict=True))
        knots = rng.standard_normal((down.shape[1], across.shape[1]), dtype=np.float32)
        total += np.float32(weight / VARIANCE) * (across @ (down @ knots).T).T
        power += weight**2
    return total / np.float32(np.sqrt(power))


def _weights(count: int, step: float, start: float) -> csr_array:
    """(count, knots) weights of the four knots next to each pixel; pixel 0 lies ``start`` steps behind its knot."""
    at = np.arange(count) / step + start
    low = at.astype(np.intp)
    t = (at - low).astype(np.float32)
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1)
    taps /= np.float32(6)
    columns = low[:, None] + np.arange(4)
    return csr_array((taps.ravel(), columns.ravel(), np.arange(0, 4 * count + 1, 4)), shape=(count, low[-1] + 4))
