"""Intervals for samples that are not independent: whole blocks are drawn, not pixels.

The pixels of a field have the same crop, soil and farmer. If 100,000 of them are treated as independent, the interval
of a score is far too narrow; drawing whole blocks gives its real width.

Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap; for blocks in space Lahiri 2003, Resampling Methods
for Dependent Data.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from arsetlib import seeds

FEW = 10  # blocks under which an interval is too narrow to be trusted
PER_PASS = 16_000_000  # draws held at once


def resampled(counts: np.ndarray, repeats: int = 1000, seed: int = 0) -> np.ndarray:
    """Counts of samples made of as many blocks, drawn with replacement.

    Args:
        counts: (G, K, K), one confusion matrix a block.
        repeats: How many such samples, R.
        seed: Same seed, same draws; the same blocks get the same draws whatever is counted in them.

    Returns:
        (R, K, K) float64.
    """
    blocks, classes = counts.shape[0], counts.shape[-1]
    flat = counts.reshape(blocks, -1).astype(np.float64)
    random = seeds.generator(seed, "blocks")
    out = np.empty((repeats, flat.shape[1]))
    step = max(1, PER_PASS // max(blocks, 1))
    for at in range(0, repeats, step):
        size = min(step, repeats - at)
        out[at : at + size] = random.multinomial(blocks, np.full(blocks, 1 / blocks), size) @ flat
    return out.reshape(repeats, classes, classes)


def interval(values: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """(2, …): low and high quantile over the first axis, of what is not NaN; NaN where nothing is known."""
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    out = np.full((2, *values.shape[1:]), np.nan)
    known = ~np.isnan(values).all(0)
    if known.any():
        out[:, known] = np.nanquantile(values[:, known], tails, axis=0)
    return out


def score_interval(
    counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], *, repeats: int = 1000, seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:  # fmt: skip
    """Low and high of one score, from blocks' counts (G, K, K); NaN where there are fewer than two blocks.

    Args:
        score: A function of counts (…, K, K), such as ``scores.macro_f1``.
    """
    if len(counts) < 2:
        return np.nan, np.nan
    low, high = interval(score(resampled(counts, repeats, seed)), confidence)
    return float(low), float(high)
