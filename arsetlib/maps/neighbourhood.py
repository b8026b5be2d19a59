"""Smooth a map among neighbouring pixels.

Fields are larger than pixels, so a single pixel of another class is usually an error. Smoothing also removes small
objects that are real: compare ``maps.compare`` before and after.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy.ndimage import correlate1d

from arsetlib.maps import cogs
from arsetlib.maps.products import NODATA, SCALE, MapError

BLOCK = 256  # pixels; Bayes sorts size² values for each pixel and class of a block


@dataclass(frozen=True)
class Majority:
    """The class that most pixels of a square have; the pixel's own where it is among the most, else the first.

    Attributes:
        size: Side of the square, pixels, odd.
    """

    size: int = 3

    def __call__(self, classes: np.ndarray) -> np.ndarray:
        """(H, W) uint8, 255 nodata → the same, smoothed; nodata does not vote and stays."""
        valid = classes != NODATA["class"]
        if not valid.any():
            return classes.copy()
        ones = np.ones(self.size, np.int32)
        best, most = np.zeros(classes.shape, np.uint8), np.zeros(classes.shape, np.int32)
        own = np.zeros(classes.shape, np.int32)
        for k in np.unique(classes[valid]).tolist():
            votes = (classes == k).astype(np.int32)
            for axis in (0, 1):
                votes = correlate1d(votes, ones, axis, mode="constant")
            own[classes == k] = votes[classes == k]
            more = votes > most
            best[more], most[more] = k, votes[more]
        return np.where(valid, np.where(own == most, classes, best), NODATA["class"]).astype(np.uint8)


@dataclass(frozen=True)
class Bayes:
    """Bayesian smoothing of probabilities, class by class, on their log-odds.

    A pixel's log-odds are an observation with variance ``smoothness``; its neighbours give the prior, with the mean m
    and the variance s² of the highest ``fraction`` of their log-odds. The result is
    (s² · own + smoothness · m) / (s² + smoothness): where the neighbours agree (s² small) they have most weight, at
    borders the pixel itself has.

    As in the package sits (Camara et al., Simoes et al. 2021, Remote Sensing 13(13), 2428).

    Attributes:
        size: Side of the neighbourhood, pixels, odd.
        smoothness: Variance of a pixel's own log-odds; larger smooths more.
        fraction: Of the neighbours that form the prior, those with the highest log-odds of the class.
    """

    size: int = 5
    smoothness: float = 20.0
    fraction: float = 0.5

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """(K, H, W) float, NaN nodata → (H, W) uint8 classes, 255 nodata."""
        believed = self.log_odds(probability)
        empty = ~np.isfinite(believed).all(axis=0)
        classes = np.argmax(np.where(empty, 0, believed), axis=0).astype(np.uint8)
        return np.where(empty, NODATA["class"], classes).astype(np.uint8)

    def log_odds(self, probability: np.ndarray) -> np.ndarray:
        """(K, H, W) log-odds after smoothing, NaN where there is nothing."""
        half = self.size // 2
        out = np.empty(probability.shape, np.float32)
        for k, layer in enumerate(probability):
            odds = np.clip(layer, 1 / SCALE, 1 - 1 / SCALE)
            odds = np.log(odds / (1 - odds)).astype(np.float32)
            padded = np.pad(odds, half, constant_values=np.nan)
            near = np.lib.stride_tricks.sliding_window_view(padded, (self.size, self.size))
            near = near.reshape(*odds.shape, -1)
            there = np.isfinite(near).sum(axis=2)
            near = -np.sort(-near, axis=2)  # highest first, NaN last
            take = np.maximum(np.ceil(there * self.fraction), 1).astype(np.int64)
            used = np.where(np.arange(near.shape[2]) < take[..., None], near, 0)
            total = used.sum(axis=2, dtype=np.float64)
            mean = total / take
            spread = np.where(np.arange(near.shape[2]) < take[..., None], near - mean[..., None], 0)
            variance = np.square(spread).sum(axis=2, dtype=np.float64) / np.maximum(take - 1, 1)
            out[k] = (variance * odds + self.smoothness * mean) / (variance + self.smoothness)
        return out


def named(smooth: str | Majority | Bayes | None) -> Majority | Bayes | None:
    """A smoother from its name, or as it is.

    Raises:
        MapError: No such name, or a size that is not odd.
    """
    if smooth is None or smooth == "none":
        return None
    known = {"majority": Majority, "bayes": Bayes}
    if isinstance(smooth, str) and smooth in known:
        smooth = known[smooth]()
    if not isinstance(smooth, Majority | Bayes):
        raise MapError(
            f"Expected smooth = 'none', 'majority' or 'bayes' (in Python also Majority(…) or Bayes(…)), "
            f"received {smooth!r}."
        )
    if smooth.size < 3 or smooth.size % 2 == 0:
        raise MapError(f"Expected an odd size of at least 3 pixels, received {smooth.size}.")
    if isinstance(smooth, Bayes) and not (smooth.smoothness > 0 and 0 < smooth.fraction <= 1):
        raise MapError(f"Expected smoothness above 0 and fraction in (0, 1], received {smooth}.")
    return smooth


def smooth_raster(smoother: Majority | Bayes, source: Path, target: Path) -> None:
    """Smooth a raster of classes (Majority) or probabilities (Bayes) into a raster of classes, block by block.

    A block is read with a border of half the neighbourhood, so the result does not depend on blocks.
    """
    half = smoother.size // 2
    with rasterio.open(source) as src, rasterio.open(target, "r+") as out:
        for block in cogs.blocks(out, BLOCK):
            top, left = max(block.row_off - half, 0), max(block.col_off - half, 0)
            bottom = min(block.row_off + block.height + half, src.height)
            right = min(block.col_off + block.width + half, src.width)
            window = Window(left, top, right - left, bottom - top)
            if isinstance(smoother, Majority):
                smooth = smoother(src.read(1, window=window))
            else:
                raw = src.read(window=window)
                smooth = smoother(np.where(raw == NODATA["probability"], np.nan, raw / np.float32(SCALE)))
            inner = (slice(block.row_off - top, None), slice(block.col_off - left, None))
            out.write(smooth[inner][: block.height, : block.width], 1, window=block)
