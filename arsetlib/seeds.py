"""Random numbers: a seed and the names of what is drawn give the same numbers, in any order and on any thread.

``generator`` is for what is drawn once, ``mix`` for draws that belong to a pixel and are made for whole columns.

Source of ``mix``: Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA (SplitMix64).

Lab: part2_load_data.
"""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["generator", "mix"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio: the step between two states
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = (np.uint64(n) for n in (30, 27, 31))


def generator(seed: int, *names: object) -> np.random.Generator:
    """A random generator for one purpose.

    Args:
        seed: Of the whole run.
        names: What is drawn, and for whom, as in ``generator(seed, "split", epoch)``. Other names, other numbers.

    Returns:
        The same seed and names give a generator of the same numbers.

    >>> generator(1, "split").integers(0, 10, 3).tolist()
    [4, 9, 1]
    """
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, names)).encode())])


def mix(z: np.ndarray) -> np.ndarray:
    """Turn each number into one that looks random: the last step of SplitMix64.

    Args:
        z: uint64 of any shape.

    Returns:
        uint64 of the same shape; different numbers stay different.
    """
    z = (z ^ (z >> _30)) * _A
    z = (z ^ (z >> _27)) * _B
    return z ^ (z >> _31)
