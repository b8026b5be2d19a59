"""A map of classes to sample: its legend, its pixels by class, and what it says at a point.

The map is read window by window, so memory does not grow with it. It may be one that ``predict`` made, or any raster of
codes with a study whose legend names them.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import ArrayLike
from pyproj import CRS, Transformer
from rasterio.windows import Window

from arsetlib import copies, filetypes, folders, ground, web
from arsetlib.evaluation import ProbabilitySums
from arsetlib.maps import cogs
from arsetlib.maps.products import NODATA, SCALE, MapError, open_prediction
from arsetlib.study import Area, Class, Legend, Study

NONE, UNKNOWN = -1, -2  # no data; a value that no class has
VALUES = 65_536  # of a raster of 16 bits; a value below 0 stands where its 16 bits do, -1 at 65535
MASKED = VALUES  # place of pixels that the file's own mask hides


@dataclass(frozen=True, eq=False)
class ClassMap:
    """A map of classes. ``ClassMap.open`` makes one.

    Attributes:
        path: Its raster.
        legend: Its K classes, in the order of class numbers.
        numbers: (65537,) int16, raster value (the last: masked) → class number, -1 no data, -2 no class.
        sizes: (K,) int64, pixels of each class.
        hectares: Of one pixel.
        crs: Of the raster, WKT.
        probability: Raster of the classes' probabilities, where there is one.
        simulated: Whether its images were simulated.
    """

    path: Path
    legend: Legend
    numbers: np.ndarray
    sizes: np.ndarray
    hectares: float
    crs: str
    probability: Path | None
    simulated: bool

    @classmethod
    def open(cls, path: str | Path, study: Study | None = None) -> ClassMap:
        """Read a map's legend and count its pixels.

        Args:
            path: A class map of ``predict``, as its ``.json`` or ``_class.tif``; or a raster of codes.
            study: Says what the codes of a raster mean; code 0 and excluded codes are no data. Not needed for a map
                of ``predict``.

        Raises:
            MapError: No such map, no legend, another legend than the study's, a value that is not in the legend, or
                not one band of whole numbers.
            GridError: A pixel has not the same size everywhere, so areas would be wrong.
        """
        path = folders.place(path)
        raster, legend, probability, simulated = _found(path)
        if legend and study and legend.keys != study.legend.keys:
            raise MapError(
                f"The map {path} has its own legend ({', '.join(legend.keys)}), and study {study.key!r} has another "
                f"({', '.join(study.legend.keys)}). Name no study: the numbers of this map mean its own classes."
            )
        with _opened(raster) as src:
            _check(src, raster)
            legend = legend or _tagged(src) or (study and study.legend)
            if not legend:
                raise MapError(
                    f"{raster} has no legend: nothing says what its numbers mean. Take a map of `arset predict`, or "
                    "name a study file whose legend has these codes, study=…"
                )
            coded = study is not None and legend is study.legend
            signed = np.dtype(src.dtypes[0]).kind == "i"
            numbers = _numbers(legend, coded, src.nodata, signed)
            t, crs = src.transform, src.crs.to_wkt()
            area = Area("map", {}, tuple(src.bounds), crs)
            ground.check(CRS(crs), [area], f"{ground.crs_name(CRS(crs))}, in which {raster.name} is,")
            counted = np.zeros(VALUES + 1, np.int64)
            for window in cogs.blocks(src):
                counted += np.bincount(_values(src, window), minlength=VALUES + 1)
            simulated = simulated or src.tags().get("simulated") == "yes" or bool(coded and study.simulated)
        unknown = np.flatnonzero((counted > 0) & (numbers == UNKNOWN))
        if unknown.size:
            listed = ", ".join(
                f"{v - VALUES if signed and v >= VALUES // 2 else v} ({counted[v]:,} pixels)" for v in unknown[:5]
            )
            raise MapError(
                f"{raster} has values that are in no class of its legend {legend.name!r}: {listed}. Add them to the "
                "legend, or state the file's no data."
            )
        known = numbers >= 0
        sizes = np.bincount(numbers[known], counted[known], len(legend.classes)).astype(np.int64)
        if not sizes.sum():
            raise MapError(f"{raster} has no pixel with a class: all of it is no data.")
        return cls(raster, legend, numbers, sizes, abs(t.a * t.e) / 10_000, crs, probability, simulated)

    def windows(self) -> Iterator[tuple[Window, np.ndarray]]:
        """Windows of the raster, always in the same order, with class numbers (h, w) int16, -1 where there is none."""
        with _opened(self.path) as src:
            for window in cogs.blocks(src):
                values = _values(src, window)
                yield window, self.numbers[values].reshape(int(window.height), int(window.width))

    def centres(self, row: ArrayLike, col: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """x and y of pixels' centres, (n,) each, in the map's CRS."""
        with _opened(self.path) as src:
            t = src.transform
        return t.c + t.a * (np.asarray(col) + 0.5), t.f + t.e * (np.asarray(row) + 0.5)

    def at(self, lon: ArrayLike, lat: ArrayLike) -> np.ndarray:
        """Class numbers at points, (n,) int16; -1 outside the map and where it has no data."""
        found = np.full(np.size(lon), NONE, np.int16)
        with _opened(self.path) as src:
            for i, window in self._pixels(src, lon, lat):
                found[i] = self.numbers[_values(src, window)[0]]
        return found

    def probability_at(self, lon: ArrayLike, lat: ArrayLike) -> np.ndarray:
        """Probabilities at points, (n, K) float64; NaN where there are none."""
        found = np.full((np.size(lon), len(self.legend.classes)), np.nan)
        with _opened(self._probabilities()) as src:
            for i, window in self._pixels(src, lon, lat):
                values = src.read(window=window)[:, 0, 0]
                if not (values == NODATA["probability"]).any():
                    found[i] = values / SCALE
        return found / found.sum(1, keepdims=True)

    def moments(self, by_class: bool = True) -> ProbabilitySums:
        """Sums of the probabilities of all pixels, by class of the map or in one stratum.

        Raises:
            MapError: There are no probabilities, or not for each pixel with a class.
        """
        strata = len(self.legend.classes) if by_class else 1
        made = []
        with _opened(self._probabilities()) as src:
            for window, number in self.windows():
                there = number >= 0
                values = src.read(window=window)[:, there].T
                if (values == NODATA["probability"]).any():
                    raise MapError(f"{self.probability} lacks pixels that {self.path} has. Predict the map again.")
                values = values / SCALE
                values /= values.sum(1, keepdims=True)  # they were rounded
                stratum = number[there] if by_class else np.zeros(len(values), np.int64)
                made.append(ProbabilitySums.of(values, stratum, strata))
                made = [sum(made)]
        return made[0]

    def _probabilities(self) -> Path:
        if self.probability is None:
            raise MapError(f"{self.path} has no raster of probabilities beside it. Take a map of `arset predict`.")
        return self.probability

    def _pixels(self, src, lon, lat) -> Iterator[tuple[int, Window]]:
        """Number and window of each point that lies on the raster, from north to south so that blocks are read once."""
        x, y = Transformer.from_crs("EPSG:4326", self.crs, always_xy=True).transform(np.asarray(lon), np.asarray(lat))
        t = src.transform
        with np.errstate(invalid="ignore"):
            col, row = np.floor((x - t.c) / t.a), np.floor((y - t.f) / t.e)
            inside = (col >= 0) & (col < src.width) & (row >= 0) & (row < src.height)
        order = np.lexsort((col, row // cogs.TILE))
        for i in order[inside[order]].tolist():
            yield i, Window(int(col[i]), int(row[i]), 1, 1)


@contextmanager
def _opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """A raster, also in an object store, with a small cache for its blocks."""
    with web.gdal(**cogs.GDAL):
        try:
            src = rasterio.open(copies.fetched(path))
        except rasterio.errors.RasterioIOError as error:
            why = filetypes.placeholder(path, "raster") or f"cannot be read as a raster: {str(error).rstrip('.')}."
            raise MapError(f"{path} {why}") from None
        with src:
            yield src


def _found(path: Path) -> tuple[Path, Legend | None, Path | None, bool]:
    """The class raster of a map; legend, probabilities and whether it is simulated, where ``predict`` made it."""
    if not path.exists():
        raise MapError(f"There is no map at {path}. Make one with `arset predict`, or check the name.")
    beside = path.with_name(re.sub(r"_class\.tif$", ".json", path.name))
    if path.suffix == ".json" or (beside != path and beside.is_file()):
        made = open_prediction(path if path.suffix == ".json" else beside)
        probability = made.path("probability") if "probability" in made.info["files"] else None
        return made.path(), made.legend, probability, made.simulated
    return path, None, None, False


def _check(src: rasterio.DatasetReader, path: Path) -> None:
    if src.count != 1 or np.dtype(src.dtypes[0]).kind not in "iu" or np.dtype(src.dtypes[0]).itemsize > 2:
        raise MapError(
            f"{path} is not a map of classes: expected one band of whole numbers of 8 or 16 bits, received {src.count} "
            f"of {src.dtypes[0]}."
        )
    if losses := filetypes.saved_with_losses(src):
        raise MapError(f"{path} was saved as {losses}, which changes class numbers. Export it with DEFLATE or LZW.")
    if src.crs is None:
        raise MapError(f"{path} has no CRS that says where on Earth it lies. Give it one: gdal_edit.py -a_srs …")
    if src.transform.b or src.transform.d:
        raise MapError(f"{path} is not north-up. Warp it: gdalwarp -r near in.tif out.tif")


def _tagged(src: rasterio.DatasetReader) -> Legend | None:
    """The legend in the tags that ``predict`` writes: class numbers and names."""
    names = {int(found[1]): text for key, text in src.tags().items() if (found := re.fullmatch(r"class_(\d+)", key))}
    if not names or sorted(names) != list(range(len(names))):
        return None
    try:
        table = src.colormap(1)
    except ValueError:
        table = {}
    classes = (
        Class(names[i], {}, "#{:02x}{:02x}{:02x}".format(*table.get(i, (136, 136, 136))[:3]), (i,))
        for i in sorted(names)
    )
    return Legend(src.tags().get("study", "map"), tuple(classes))


def _numbers(legend: Legend, coded: bool, nodata: float | None, signed: bool) -> np.ndarray:
    """Raster value → class number."""
    numbers = np.full(VALUES + 1, UNKNOWN, np.int16)
    if coded:
        for i, one in enumerate(legend.classes):
            numbers[1:] = np.where(numbers[1:] == UNKNOWN, i, numbers[1:]) if one.codes == "others" else numbers[1:]
        if signed:
            numbers[VALUES // 2 :] = UNKNOWN  # a value below 0 is no code, so it is not one of the others
        for i, one in enumerate(legend.classes):
            if one.codes != "others":
                numbers[list(one.codes)] = i
        numbers[[0, *legend.excluded]] = NONE
    else:
        numbers[: len(legend.classes)] = np.arange(len(legend.classes))
    if nodata is not None and -VALUES // 2 <= nodata < VALUES:
        numbers[int(nodata) % VALUES] = NONE
    numbers[MASKED] = NONE
    return numbers


def _values(src: rasterio.DatasetReader, window: Window) -> np.ndarray:
    """(n,) places in ``numbers`` of the values of a window, row after row."""
    values = src.read(1, window=window).astype(np.int64).ravel() % VALUES
    if src.nodata is None and any(flag.name == "per_dataset" for flag in src.mask_flag_enums[0]):
        values[src.read_masks(1, window=window).ravel() == 0] = MASKED
    return values
