"""What a figure shows of predicted maps: classes, truth and margin, thinned to single pixels.

A large map is thinned by taking each so-many-th row and column, so that agreement with the labels stays that of single
pixels.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from arsetlib import copies, samples
from arsetlib.labels import Labels
from arsetlib.maps.products import NODATA, MapError, Prediction


@dataclass(frozen=True)
class Layers:
    """One date, thinned: class numbers (H, W), K where there is none; truth likewise, or None; margin 0-1, NaN."""

    prediction: Prediction
    predicted: np.ndarray
    truth: np.ndarray | None
    margin: np.ndarray
    extent: tuple[float, float, float, float]  # west, east, south, north, units of the CRS
    crs: str

    @property
    def wrong(self) -> np.ndarray:
        """(H, W) 0 agree, 1 disagree, 2 nothing to compare."""
        none = len(self.prediction.legend.classes)
        known = (self.predicted != none) & (self.truth != none)
        return np.where(known, (self.predicted != self.truth).astype(np.uint8), 2).astype(np.uint8)

    @classmethod
    def of(cls, prediction: Prediction, labels: Labels | str | Path | None, size: int) -> Layers:
        """Read one prediction, at most ``size`` pixels a side; without labels there is no truth."""
        legend = prediction.legend
        none = len(legend.classes)
        with rasterio.open(copies.fetched(prediction.path())) as src:
            rows, cols = (_thinned(n, max(src.width, src.height), size) for n in (src.height, src.width))
            predicted = _pixels(src, rows, cols)
            side, west, north = src.transform.a, src.bounds.left, src.bounds.top
            crs, truth = src.crs.to_wkt(), None
            if labels is not None:
                options = {"crs": src.crs, "transform": src.transform, "width": src.width, "height": src.height}
                with (
                    rasterio.open(copies.fetched(getattr(labels, "path", labels))) as codes,
                    WarpedVRT(codes, **options, resampling=Resampling.nearest, src_nodata=0, nodata=0) as warped,
                    rasterio.open(copies.fetched(prediction.path("vegetation"))) as green,
                ):
                    code = _pixels(warped, rows, cols)
                    shows = _pixels(green, rows, cols)
                truth = np.full(code.shape, -1, np.int8)
                truth[code != 0] = legend.classes_of(code[code != 0].astype(np.int64))  # 0 is no label
                truth = samples.apply_vegetation_rule(truth, shows == 1, legend).astype(np.int16)
                truth[(truth < 0) | (shows == NODATA["vegetation"])] = none
                truth = truth.astype(np.uint8)
        with rasterio.open(copies.fetched(prediction.path("margin"))) as src:
            raw = _pixels(src, rows, cols).astype(np.float32)
        margin = np.where(raw == NODATA["margin"], np.nan, raw / prediction.info["scale"])
        predicted = np.where(predicted == NODATA["class"], none, predicted).astype(np.uint8)
        thin = (rows[1] - rows[0] if len(rows) > 1 else 1) * side
        extent = (west, west + len(cols) * thin, north - len(rows) * thin, north)
        return cls(prediction, predicted, truth, margin, extent, crs)


def in_order(predictions: Prediction | Sequence[Prediction]) -> list[Prediction]:
    """Predictions of one area, year and legend, by date.

    Raises:
        MapError: They are of several, or there is none.
    """
    dates = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if not dates:
        raise MapError("Expected predictions, received none. Make some with maps.predict.")
    first = dates[0]
    for other in dates[1:]:
        if (other.area, other.year, other.info["legend"]) != (first.area, first.year, first.info["legend"]):
            raise MapError(
                f"Expected predictions of one area, year and legend, received {first.stem} and {other.stem}. "
                "Show each area and year in its own figure."
            )
    return sorted(dates, key=lambda p: p.start)


def _thinned(count: int, longest: int, size: int) -> np.ndarray:
    """Which rows (or columns) of so many are shown."""
    step = math.ceil(longest / size)
    return np.arange(step // 2, count, step)


def _pixels(src, rows, cols) -> np.ndarray:
    """Values of a raster at rows × columns, strip by strip."""
    out = np.empty((len(rows), len(cols)), src.dtypes[0])
    strip = max(1, 512 // max(1, int(rows[1] - rows[0]) if len(rows) > 1 else 1))
    for i in range(0, len(rows), strip):
        mine = rows[i : i + strip]
        part = src.read(1, window=Window(0, int(mine[0]), src.width, int(mine[-1] - mine[0]) + 1))
        out[i : i + strip] = part[mine - mine[0]][:, cols]
    return out
