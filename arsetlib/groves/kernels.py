"""Fill a batch with augmented tiles, in NumPy or compiled with Numba. Both give the same bits.

Lab: case_groves.
"""

from __future__ import annotations

import functools

import numpy as np

from arsetlib.groves.changes import Changes, light_table, moved


def fill(x: np.ndarray, y: np.ndarray, k: int, tile: np.ndarray, mask: np.ndarray, changes: Changes) -> None:
    """Write a changed tile and its one-hot mask to position ``k`` of a batch.

    Args:
        x: (B, S, S, 3) float32, filled in.
        y: (B, S, S, K) float32, filled in.
        k: Position in the batch and in ``changes``.
        tile: (S, S, 3) uint8, contiguous.
        mask: (S, S) uint8, contiguous.
        changes: Of each tile of the batch.
    """
    table = light_table(changes.brightness[k], changes.contrast[k])
    compiled = _compiled()
    if compiled is None:
        # Bytes are moved before they become float32, which takes four times the memory.
        np.take(table, np.ascontiguousarray(moved(tile, changes, k)), out=x[k], mode="clip")
        y[k] = 0
        mask = moved(mask, changes, k)
        for number in range(y.shape[-1]):
            np.equal(mask, number, out=y[k, ..., number], casting="unsafe")
        return
    at, down, across = _steps(len(mask), bool(changes.mirror[k]), bool(changes.flip[k]), int(changes.turn[k]) % 4)
    compiled(x[k], y[k], tile, mask, table, at, down, across)


def _steps(side: int, mirror: bool, flip: bool, turn: int):
    """The source of a moved tile's first pixel, and its steps in (row, column) for one down and for one across."""
    last = side - 1
    at, down, across = [((0, 0), (1, 0), (0, 1)), ((0, last), (0, -1), (1, 0)), ((last, last), (-1, 0), (0, -1)),
                        ((last, 0), (0, 1), (-1, 0))][turn]  # fmt: skip
    if flip:
        at, down, across = (last - at[0], at[1]), (-down[0], down[1]), (-across[0], across[1])
    if mirror:
        at, down, across = (at[0], last - at[1]), (down[0], -down[1]), (across[0], -across[1])
    return at, down, across


@functools.cache
def _compiled():
    """The loop, compiled, or None where Numba is not installed. Releases the GIL, so that threads help."""
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(nogil=True, cache=True, boundscheck=False)(_loop)


def _loop(x, y, tile, mask, table, at, down, across):
    """Pixel by pixel, in one pass over the new tile; flat rows halve the time."""
    side, kinds = mask.shape[0], y.shape[2]
    values, hot = x.reshape(side, side * 3), y.reshape(side, side * kinds)
    bytes_, numbers = tile.reshape(side * side * 3), mask.reshape(side * side)
    step = across[0] * side + across[1]
    for i in range(side):
        source = (at[0] + i * down[0]) * side + at[1] + i * down[1]
        row, hot_row = values[i], hot[i]
        hot_row[:] = 0
        for j in range(side):
            row[3 * j] = table[bytes_[3 * source]]
            row[3 * j + 1] = table[bytes_[3 * source + 1]]
            row[3 * j + 2] = table[bytes_[3 * source + 2]]
            number = numbers[source]
            if number < kinds:
                hot_row[j * kinds + number] = 1
            source += step
