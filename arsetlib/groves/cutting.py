"""Cut an image into tiles and put tiles together again; ``predict`` uses the same places and the same canvas.

Lab: case_groves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from arsetlib.groves.classes import GroveError
from arsetlib.translation import _

GRID = (5, 7)  # of the thesis: 35 tiles an image


@dataclass(frozen=True, repr=False)
class Tiles:
    """Tiles of one image and where they lie in it.

    Args:
        values: (N, h, w, …).
        rows: (N,) first row of each tile.
        columns: (N,) first column of each tile.
        shape: (H, W) of the image.

    Lab: case_groves.
    """

    values: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.values)

    def __repr__(self) -> str:
        words = _("{n} tiles of {size} from {shape} pixels")
        return words.format(n=len(self), size=self.values.shape[1:], shape=self.shape)

    def with_values(self, values: np.ndarray) -> Tiles:
        """Other values at the same places, such as the predictions of a model: (N, h, w, …)."""
        values = np.asarray(values)
        if values.shape[:3] != self.values.shape[:3]:
            raise GroveError(
                f"Expected values of {self.values.shape[:3]} (tiles, rows, columns), received {values.shape[:3]}. "
                "A model must answer at the tile's own size."
            )
        return replace(self, values=values)


def places(
    shape: tuple[int, int],
    size: int | tuple[int, int] | None = None,
    grid: tuple[int, int] | None = None,
    overlap: int | tuple[int, int] = 0,
    name: str = "The image",
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Where tiles lie: spread evenly, the last at the far edge, together over the whole image.

        >>> rows, columns, size = places((100, 250), size=100, overlap=20)
        >>> columns.tolist()
        [0, 75, 150]

    Args:
        shape: (rows, columns) of the image.
        size: Side of a tile, or (rows, columns).
        grid: Instead of a size: (down, across) how many tiles. Where sides do not divide evenly, a pixel overlaps.
        overlap: Pixels that neighbours share at least; one number, or (down, across).
        name: What messages call the image.

    Returns:
        (N,) first rows, (N,) first columns, (rows, columns) of a tile. Neither size nor grid means 5 × 7.

    Raises:
        GroveError: The image is smaller than a tile, or the overlap is not smaller than the tile.

    Lab: case_groves.
    """
    overlaps = (overlap, overlap) if np.isscalar(overlap) else tuple(overlap)
    if size is not None and grid is not None:
        raise GroveError(f"Expected a size or a grid, received both: {size} and {grid}.")
    if size is None:
        grid = grid or GRID
        if min(overlaps) < 0 or min(grid) < 1:
            raise GroveError(f"Expected a grid from (1, 1) and an overlap from 0, received {grid} and {overlap}.")
        size = tuple(-(-(n + (k - 1) * o) // k) for n, k, o in zip(shape, grid, overlaps, strict=True))
    else:
        size = (size, size) if np.isscalar(size) else tuple(size)
        grid = None
    if not all(0 <= o < n for o, n in zip(overlaps, size, strict=True)):
        raise GroveError(f"Expected an overlap of 0 to {min(size) - 1} pixels for tiles of {size}, received {overlap}.")
    if min(size) < 1 or size[0] > shape[0] or size[1] > shape[1]:
        raise GroveError(
            f"{name} has {shape[1]} × {shape[0]} pixels, a tile {size[1]} × {size[0]}: it is smaller than a tile. "
            "Nothing is padded or resized: take smaller tiles or leave the image out."
        )
    starts = []
    for k, (n, side, shared) in enumerate(zip(shape, size, overlaps, strict=True)):
        count = grid[k] if grid else 1 + -(-(n - side) // (side - shared))
        starts.append(np.rint(np.linspace(0, n - side, count)).astype(np.intp))
    rows, columns = np.meshgrid(*starts, indexing="ij")
    return rows.ravel(), columns.ravel(), size


def cut(
    array: np.ndarray,
    size: int | tuple[int, int] | None = None,
    grid: tuple[int, int] | None = None,
    overlap: int | tuple[int, int] = 0,
) -> Tiles:
    """Cut an image or a mask into tiles.

        >>> cut(np.zeros((60, 80, 3), np.uint8), grid=(2, 4))
        8 tiles of (30, 20, 3) from (60, 80) pixels

    Args:
        array: (H, W) or (H, W, …).
        size, grid, overlap: See ``places``; without size and grid 35 tiles, 5 down and 7 across, as in the thesis.

    Returns:
        Tiles, row after row; together they cover every pixel.

    Raises:
        GroveError: See ``places``.

    Lab: case_groves.
    """
    array = np.asarray(array)
    if array.ndim < 2:
        raise GroveError(f"Expected an array of (H, W, …), received {array.shape}.")
    rows, columns, (high, wide) = places(array.shape[:2], size, grid, overlap)
    values = np.empty((len(rows), high, wide, *array.shape[2:]), array.dtype)
    for k, (row, column) in enumerate(zip(rows, columns, strict=True)):
        values[k] = array[row : row + high, column : column + wide]
    return Tiles(values, rows, columns, array.shape[:2])


class Canvas:
    """An image that is put together tile by tile; where tiles overlap, decimal numbers are averaged.

    Each tile weighs less towards its edge, where the model sees least of the surroundings. Whole numbers (classes) are
    not averaged: the later tile counts. A finite value on which all tiles agree is kept to the last bit.

    Args:
        shape: (H, W) of the image.
        size: (rows, columns) of a tile.
        dtype: Of the values.
        depth: Shape of one pixel's values.
    """

    def __init__(self, shape: tuple[int, int], size: tuple[int, int], dtype=np.float32, depth: tuple[int, ...] = ()):
        self.values = np.zeros((*shape, *depth), dtype)
        self.averages = self.values.dtype.kind == "f"
        self.weight = np.zeros(shape, np.float32)
        down, across = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)).astype(np.float32) for n in size)
        self.ramp = down[:, None] * across

    def add(self, tile: np.ndarray, row: int, column: int) -> None:
        """Lay a tile at its place."""
        part = np.s_[row : row + tile.shape[0], column : column + tile.shape[1]]
        total = self.weight[part]
        total += self.ramp
        if self.averages:
            share = (self.ramp / total).reshape(*total.shape, *[1] * (tile.ndim - 2))  # 1 where no tile was before
            self.values[part] += (tile - self.values[part]) * share.astype(self.values.dtype)
        else:
            self.values[part] = tile

    def finished(self) -> np.ndarray:
        """The image.

        Raises:
            GroveError: Tiles do not cover it.
        """
        bare = self.weight == 0
        if bare.any():
            row, column = np.argwhere(bare)[0]
            raise GroveError(f"Tiles leave {bare.sum():,} pixels uncovered, first at column {column}, row {row}.")
        return self.values


def stitch(tiles: Tiles) -> np.ndarray:
    """Put tiles together: ``stitch(cut(x))`` is x.

        >>> x = np.arange(24).reshape(4, 6)
        >>> bool((stitch(cut(x, size=3, overlap=1)) == x).all())
        True

    Where tiles overlap, decimal numbers (probabilities) are averaged, each tile with less weight towards its edge;
    whole numbers (classes) are taken from the later tile.

    Args:
        tiles: From ``cut``, or ``tiles.with_values(…)`` with other values.

    Returns:
        (H, W, …), of the tiles' dtype.

    Raises:
        GroveError: The tiles do not cover the image.

    Lab: case_groves.
    """
    values = tiles.values
    canvas = Canvas(tiles.shape, values.shape[1:3], values.dtype, values.shape[3:])
    for tile, row, column in zip(values, tiles.rows, tiles.columns, strict=True):
        canvas.add(tile, int(row), int(column))
    return canvas.finished()
