"""Random numbers that depend on the pixel, not on the order in which rows are read.

A draw is a hash of (seed, epoch, pixel and year, number of the draw). So a row gets the same start and the same images
in any order of rows, any batch, any thread and on any machine.

Source: Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA (SplitMix64).

Lab: part2_load_data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from arsetlib.seeds import GOLDEN, mix
from arsetlib.study import Season

START = 1 << 16  # number of the draw of a start; those of images are steps, which are fewer
_32 = np.uint64(32)


def scrambled(seed: int, epoch: int = 0, sensor: int = 0) -> np.ndarray:
    """() uint64, the seed of one epoch; each sensor draws for itself."""
    start = mix(np.atleast_1d(np.uint64((seed + (sensor << 48)) % 2**64)))
    return mix(start + np.atleast_1d(np.uint64(epoch % 2**64)) * GOLDEN)[0]


def keys_of(pixel: ArrayLike, year: ArrayLike) -> np.ndarray:
    """(B,) uint64, a hash of the pixel and year of each row, from which its draws follow."""
    return mix(np.asarray(pixel).astype(np.uint64)) + np.asarray(year).astype(np.uint64) * GOLDEN


def draw(seed: np.uint64, keys: np.ndarray, number: ArrayLike) -> np.ndarray:
    """Uniform 32-bit numbers.

    Args:
        seed: From ``scrambled``.
        keys: (B,) uint64.
        number: Which draw of each key, broadcast against ``keys``.

    Returns:
        uint64 below 2**32.
    """
    base = mix(np.asarray(keys, np.uint64) + np.atleast_1d(seed))
    return mix(base + (np.atleast_1d(number).astype(np.uint64) + np.uint64(1)) * GOLDEN) >> _32


def draw_images(keys: np.ndarray, steps: int, seed: int = 0, epoch: int = 0, sensor: int = 0) -> np.ndarray:
    """The draw that picks an image in each step of each row: image ``draw * count >> 32`` of ``count``.

    ``sensor`` is 0 for the study's own bands, 1 for the first of its other sensors and so on.

    Returns:
        (B, T) uint64 below 2**32.
    """
    return draw(scrambled(seed, epoch, sensor), np.asarray(keys)[:, None], np.arange(steps)[None, :])


def draw_starts(keys: np.ndarray, season: Season, seed: int = 0, epoch: int = 0) -> np.ndarray:
    """A random first day of the window for each row, uniform over the season's starts.

    Returns:
        (B,) int64, days of the year (1 = 1 January), ``first_day`` to ``last_day``.
    """
    choices = np.uint64(season.last_day - season.first_day + 1)
    number = draw(scrambled(seed, epoch), keys, START)
    return season.first_day + (number * choices >> _32).astype(np.int64)
