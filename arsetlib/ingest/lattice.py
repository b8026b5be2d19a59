"""The grid of label pixels, and the chunks into which it is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import rasterio
from pyproj import CRS, Transformer
from rasterio import Affine
from rasterio.transform import from_origin
from rasterio.windows import Window
from shapely import STRtree

from arsetlib import copies
from arsetlib.catalogue import Scene
from arsetlib.errors import ArsetError
from arsetlib.labels import Labels
from arsetlib.study import Area, Study, outlines


class IngestError(ArsetError, RuntimeError):
    """The table cannot be built; the message says where it stopped, why, and how to continue."""


@dataclass(frozen=True)
class Chunk:
    """One task: a rectangle of the label grid in one year.

    Attributes:
        area: Key of the area.
        year: Of the labels.
        row, col: First row and column, counted on the ``Grid``, so they do not depend on the extent of the label file.
        rows, cols: Size, label pixels.
        scenes: Positions in the item list of the scenes that touch it.
    """

    area: str
    year: int
    row: int
    col: int
    rows: int
    cols: int
    scenes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.area}-{self.year}-{self.row}-{self.col}"


@dataclass(frozen=True)
class Grid:
    """The grid of label pixels: pixel (row, col) has its upper left corner at (x0 + col·side, y0 - row·side).

    >>> Grid("EPSG:5070", 30.0, 0.0, 0.0).rows(north=300, south=240)
    (-10, -8)
    >>> Grid("EPSG:5070", 30.0, 0.0, 0.0).part(-10, -8, 0, 5)
    Grid(crs='EPSG:5070', side=30.0, x0=0.0, y0=300.0, height=2, width=5)

    Attributes:
        crs: WKT, or as ``EPSG:5070``.
        side: Of a pixel, in units of the CRS.
        x0, y0: Upper left corner of pixel (0, 0).
        height, width: Pixels; 0 where the grid has no end, such as that of labels.
    """

    crs: str
    side: float
    x0: float
    y0: float
    height: int = 0
    width: int = 0

    @classmethod
    def of(cls, labels: Labels) -> Grid:
        """The grid of a label raster.

        Raises:
            IngestError: Its pixels are not square, north is not up, or its corner is not on a multiple of half a pixel.
        """
        with rasterio.open(copies.fetched(labels.path)) as src:
            t, crs = src.transform, src.crs
        if t.b or t.d or not math.isclose(t.a, -t.e, rel_tol=1e-9):
            raise IngestError(f"{labels.path} is not a north-up raster of square pixels. Warp it to one first.")
        # The CDL's corners are odd multiples of half a pixel; grids made with gdalwarp -tap have whole ones.
        halves = 2 * t.c / t.a, 2 * t.f / t.a
        if max(abs(h - round(h)) for h in halves) > 1e-3:
            raise IngestError(
                f"{labels.path}: its corner ({t.c}, {t.f}) is not a multiple of half its pixel side ({t.a:g}). "
                "Warp it with gdalwarp -tap, so that every year has the same pixels."
            )
        return cls(crs.to_wkt(), t.a, round(halves[0]) % 2 * t.a / 2, round(halves[1]) % 2 * t.a / 2)

    def part(self, row0: int, row1: int, col0: int, col1: int) -> Grid:
        """Some rows and columns as a grid of their own; ``row1`` and ``col1`` are the ones after the last."""
        x0, y0 = self.x0 + col0 * self.side, self.y0 - row0 * self.side
        return replace(self, x0=x0, y0=y0, height=row1 - row0, width=col1 - col0)

    @property
    def transform(self) -> Affine:
        """Of a raster on this grid."""
        return from_origin(self.x0, self.y0, self.side, self.side)

    @property
    def hectares(self) -> float:
        """Of one pixel; right within 1 % where ``ground`` accepts the CRS."""
        return self.side**2 / 10_000

    def places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels in which points lie."""
        row = np.floor((self.y0 - np.asarray(y)) / self.side).astype(np.int32)
        return row, np.floor((np.asarray(x) - self.x0) / self.side).astype(np.int32)

    def rows(self, north: float, south: float) -> tuple[int, int]:
        """First row, and the row after the last, whose pixel centres lie between two y values."""
        return math.ceil((self.y0 - north) / self.side - 0.5), math.ceil((self.y0 - south) / self.side - 0.5)

    def cols(self, west: float, east: float) -> tuple[int, int]:
        """First column, and the column after the last, whose pixel centres lie between two x values."""
        return math.ceil((west - self.x0) / self.side - 0.5), math.ceil((east - self.x0) / self.side - 0.5)

    def extent(self, area: Area) -> tuple[int, int, int, int]:
        """First row, row after the last, first column, column after the last of an area's bounding box."""
        west, south, east, north = area.outline(self.crs).bounds
        return *self.rows(north, south), *self.cols(west, east)

    def centres(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and y of pixel centres."""
        return self.x0 + (cols + 0.5) * self.side, self.y0 - (rows + 0.5) * self.side

    def inside(self, area: Area, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Whether the centres of pixels of an area's bounding box lie in the area, whatever its CRS."""
        if CRS(area.crs) == CRS(self.crs):
            return np.ones(np.shape(rows), bool)
        x, y = Transformer.from_crs(self.crs, area.crs, always_xy=True).transform(*self.centres(rows, cols))
        west, south, east, north = area.bounds
        return (x >= west) & (x < east) & (y >= south) & (y < north)

    def outlines(self, chunks: Sequence[Chunk]) -> np.ndarray:
        """Chunks in longitude and latitude, (N,) polygons; many at once, since one call changes all coordinates."""
        if not len(chunks):
            return np.empty(0, object)
        row, col, rows, cols = np.array([(c.row, c.col, c.rows, c.cols) for c in chunks]).T
        left, top = self.x0 + col * self.side, self.y0 - row * self.side
        bounds = np.stack([left, top - rows * self.side, left + cols * self.side, top], 1)
        return outlines(bounds, self.crs)

    def window(self, src: rasterio.DatasetReader, chunk: Chunk) -> Window:
        """Where a chunk lies in a raster on this grid."""
        row = chunk.row + round((src.transform.f - self.y0) / self.side)
        col = chunk.col - round((src.transform.c - self.x0) / self.side)
        return Window(col, row, chunk.cols, chunk.rows)


@dataclass(frozen=True)
class Cut:
    """An area cut into chunks, still without scenes: squares of a fixed lattice, smaller at the area's edge.

    A chunk is computed from its number, so a task needs no list of all chunks.

    Attributes:
        area: Key of the area.
        year: Of the labels.
        side: Of a chunk, label pixels.
        extent: First row, row after the last, first column, column after the last of the area.
    """

    area: str
    year: int
    side: int
    extent: tuple[int, int, int, int]

    @classmethod
    def of(cls, grid: Grid, area: Area, year: int, side: int) -> Cut:
        return cls(area.key, year, side, grid.extent(area))

    @property
    def _across(self) -> int:
        _, _, first, end = self.extent
        return max(0, math.ceil((end - first + first % self.side) / self.side))

    def __len__(self) -> int:
        first, end = self.extent[:2]
        return self._across * max(0, math.ceil((end - first + first % self.side) / self.side))

    def __getitem__(self, number: int) -> Chunk:
        if not 0 <= number < len(self):
            raise IndexError(number)
        row0, row1, col0, col1 = self.extent
        down, right = divmod(number, self._across)
        row, col = row0 - row0 % self.side + down * self.side, col0 - col0 % self.side + right * self.side
        top, left = max(row, row0), max(col, col0)
        bottom, end = min(row + self.side, row1), min(col + self.side, col1)
        return Chunk(self.area, self.year, top, left, bottom - top, end - left)

    def __iter__(self) -> Iterator[Chunk]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True)
class Chunks:
    """All chunks of a table, by number: year by year of the first area, then of the second.

    Attributes:
        grid: Of the labels.
        cuts: Of each area and year.
    """

    grid: Grid
    cuts: tuple[Cut, ...]

    def __len__(self) -> int:
        return sum(map(len, self.cuts))

    def __getitem__(self, number: int) -> Chunk:
        for cut in self.cuts:
            if number < len(cut):
                return cut[number]
            number -= len(cut)
        raise IndexError(number)

    def __iter__(self) -> Iterator[Chunk]:
        return chain.from_iterable(self.cuts)

    def touching(self, scenes: Sequence[Scene], study: Study) -> list[str]:
        """Names of the chunks that one of these scenes touches, in a season of theirs."""
        found = []
        for cut in self.cuts:
            if tree := _tree(scenes, study, cut.year):
                chunks = list(cut)
                touched = np.unique(tree[0].query(self.grid.outlines(chunks), predicate="intersects")[0])
                found += [chunks[i].name for i in touched]
        return found

    def scenes_of(self, chunk: Chunk, scenes: Sequence[Scene], study: Study) -> list[Scene]:
        """The scenes that touch a chunk, in the order given."""
        if not (tree := _tree(scenes, study, chunk.year)):
            return []
        (near,) = tree[0].query(self.grid.outlines([chunk]), predicate="intersects")[1:]
        return [scenes[tree[1][i]] for i in np.sort(near)]


def _tree(scenes: Sequence[Scene], study: Study, year: int) -> tuple[STRtree, list[int]] | None:
    """Footprints of the scenes in the season of a year, and the positions of these scenes."""
    first, last = study.season.days(year)
    numbers = [i for i, s in enumerate(scenes) if first <= s.day <= last]
    return (STRtree([scenes[i].footprint for i in numbers]), numbers) if numbers else None
