"""Irregular images on a regular calendar, by one function for training, evaluation and maps.

Lab: part2_load_data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from arsetlib.pixels import Ragged
from arsetlib.samples import kernels
from arsetlib.samples.channels import Channels, waves
from arsetlib.samples.draws import scrambled
from arsetlib.samples.rows import SampleError
from arsetlib.samples.scaler import Scaler
from arsetlib.study import Legend, Season

CHOICES = ("random", "first", "last", "clearest", "median")  # which image stands for a step that holds several
FILLS = ("zeros", "last", "linear")  # what stands in a step without an image
VEGETATION = 4  # scene class
NAMES = ("x", "seen", "start", "images", "vegetation")  # of the parts of Windows


@dataclass(frozen=True)
class Windows:
    """A batch of windows.

    Attributes:
        x: (B, T, C) float32. Reflectance × 10,000, or scaled; 0 where there is no data and nothing was filled in.
        seen: (B, T) bool, True where an image fell into the step; what a fill put in was not seen.
        start: (B,) int32, first day of each window, days since 1970-01-01.
        images: (B,) int32, images in the window, of each sensor; 0 for a sample of nothing.
        vegetation: (B,) bool, True where one of the last two images of the window (the last one, where there is only
            one) is of scene class 4, vegetation. Only images of the study's own sensor count: others have no class.
    """

    x: np.ndarray
    seen: np.ndarray
    start: np.ndarray
    images: np.ndarray
    vegetation: np.ndarray


def start_days(year: ArrayLike, day_of_year: ArrayLike) -> np.ndarray:
    """(B,) int32 days since 1970-01-01 of a day of the year (1 = 1 January); either may be one number for all.

    Lab: part2_load_data.

    >>> start_days([1970, 1971], 1).tolist()
    [0, 365]
    """
    year = np.atleast_1d(year)
    low, high = (int(year.min()), int(year.max())) if year.size else (1970, 1970)
    every = np.arange(low - 1970, high - 1969).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return (every.astype(np.int32)[year - low] + np.asarray(day_of_year, np.int32) - np.int32(1)).astype(
        np.int32, copy=False
    )


def window(
    series: Ragged,
    season: Season,
    start: ArrayLike,
    *,
    choose: str = "random",
    fill: str = "zeros",
    scaler: Scaler | None = None,
    seed: int = 0,
    epoch: int = 0,
    keys: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    channels: Channels | None = None,
) -> Windows:
    """Put the images of many rows on a regular calendar of T = ``season.steps`` steps.

    Steps count from the window's start, not from the first image: an image of day d falls into step
    ``(d - start) // step_days``. Days before the start and from ``start + window_days`` on are left out.

    Args:
        series: Flat series, from ``pixels.ragged``; days ascend within a row.
        season: Length of a window and of a step, days.
        start: (B,) first day of each window, days since 1970-01-01 (see ``start_days``), or one for all.
        choose: Which image stands for a step that holds several: ``"random"`` (uniformly, for training),
            ``"first"``, ``"last"``, ``"clearest"`` (by scene class: vegetation, bare soil or water before dark,
            unclassified, shadow, cirrus, snow and cloud; the latest among equals), or ``"median"`` of all of them,
            band by band.
        fill: What stands in a step without image: ``"zeros"``, ``"last"`` (the value before; zero before the first)
            or ``"linear"`` (between the neighbours in steps; the nearest at the ends).
        scaler: Scale the result, fills included; without it x is reflectance × 10,000.
        seed: Of the random choice.
        epoch: Another epoch, another draw.
        keys: (B,) uint64, what the draw of a row hangs on, from ``keys_of(pixel, year)``. The row's number by
            default.
        rows: (B,) rows of ``series`` to take, all by default.
        channels: What stands along the last axis, from ``Channels.of(study)``; by default the bands of ``series``.
            Each sensor chooses its own image in a step. Indices (× 10,000) are of what stands for the step, and are
            filled and scaled as bands are; waves of the calendar stand in every step and are not scaled.

    Returns:
        Windows, in the order of ``rows``.

    Raises:
        SampleError: An unknown choice or fill, starts that are not one per row, days that do not ascend, or a scaler
            of other channels.

    Lab: part2_load_data.

    >>> days, bands = np.array([2, 3, 11], "<u2"), np.array([[100], [200], [300]], "<u2")
    >>> series = Ragged(np.array([0, 3]), days, np.full(3, 4, "u1"), bands)
    >>> window(series, Season(15, 5), 0, choose="first").x[0, :, 0].tolist()
    [100.0, 0.0, 300.0]
    """
    _known("choose", choose, CHOICES)
    _known("fill", fill, FILLS)
    check_order(series)
    rows = np.arange(len(series.offsets) - 1) if rows is None else np.asarray(rows, np.int64)
    start = np.asarray(start)
    if start.ndim and start.shape != rows.shape:
        raise SampleError(f"Expected one start for all or one per row ({len(rows)}), received {start.shape}.")
    start = np.ascontiguousarray(np.broadcast_to(start, rows.shape), np.int32)
    keys = rows.astype(np.uint64) if keys is None else np.asarray(keys, np.uint64)
    if channels is not None:
        check_channels(channels, series.bands.shape[1], scaler)
    parts = (series,) if channels is None else channels.by_sensor(series)
    out = empty_windows(len(rows), season.steps, series.bands.shape[1] if channels is None else len(channels.names))
    seeds = [scrambled(seed, epoch, sensor) for sensor in range(len(parts))]
    fill_windows(out, 0, parts, rows, start, keys, season, choose, fill, scaler, seeds, channels)
    return out


def apply_vegetation_rule(classes: np.ndarray, vegetation: np.ndarray, legend: Legend) -> np.ndarray:
    """Give crops that are not visible in the window the legend's class without codes, 'No Crops Growing'.

    A crop keeps its class where one of the last two images of the window is vegetation (scene class 4): about ten days
    at a revisit of five. The rule needs no date of sowing or harvest, and it tolerates one image in which the scene
    classification misses thin vegetation. A window without any image shows no vegetation.

    Args:
        classes: (B,) class numbers, from ``Legend.classes_of``; -1 stays.
        vegetation: (B,) bool, from ``window``.
        legend: A legend without a class of no codes leaves all as it is.

    Returns:
        (B,) int8.

    Raises:
        SampleError: Two classes of the legend have no codes.

    Lab: part2_load_data.
    """
    classes = np.asarray(classes, np.int8)
    bare = [i for i, c in enumerate(legend.classes) if not c.codes]
    if len(bare) > 1:
        raise SampleError(
            f"Expected one class without codes, for crops that do not show; the legend has "
            f"{[legend.keys[i] for i in bare]}. Give the others codes."
        )
    if not bare:
        return classes
    crop = np.array([c.crop for c in legend.classes] + [False])  # the last stands for -1
    return np.where(crop[classes] & ~np.asarray(vegetation, bool), np.int8(bare[0]), classes)


def check_order(series: Ragged, where: str = "") -> None:
    """Refuse days that do not ascend within a row; two images of one day pass.

    Raises:
        SampleError: With the first such row; ``where`` names the file.
    """
    back = np.flatnonzero(series.day[1:] < series.day[:-1]) + 1
    starts = series.offsets[np.searchsorted(series.offsets, back)] == back if len(back) else back
    if len(back) and not starts.all():
        at = back[~starts][0]
        row = int(np.searchsorted(series.offsets, at, "right")) - 1
        raise SampleError(
            f"{where}row {row}: expected days that ascend, received {series.day[at]} after {series.day[at - 1]}. "
            f"Run `arset check` on the table for all such rows."
        )


def empty_windows(count: int, steps: int, bands: int) -> Windows:
    """Uninitialised windows, aligned so that TensorFlow can use them without a copy."""
    return Windows(
        aligned((count, steps, bands), np.float32),
        aligned((count, steps), bool),
        aligned((count,), np.int32),
        aligned((count,), np.int32),
        aligned((count,), bool),
    )


def aligned(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An uninitialised array on a 64-byte boundary."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + size].view(dtype).reshape(shape)


def fill_windows(
    out, at, parts, rows, start, keys, season, choose, fill, scaler, seeds, channels=None, wait=True
) -> None:
    """Compute windows into ``out`` from position ``at`` on; arguments as in ``window``, unchecked.

    ``parts`` and ``seeds`` are the series and the seed of each sensor. ``wait`` for the compiled kernel, or take the
    NumPy one while it is loading.
    """
    place = kernels.place(choose, wait)
    into = Windows(*(getattr(out, name)[at : at + len(rows)] for name in NAMES))
    into.start[:] = start
    if channels is None or channels.plain:
        mean, std = (None, None) if scaler is None else (np.float32(scaler.mean), np.float32(scaler.std))
        whole = fill == "zeros" and choose != "median"  # then the kernel scales, too
        filled = into.x, into.seen, into.images, into.vegetation
        place(parts[0], rows, start, keys, season, choose, seeds[0], mean if whole else None, std, *filled)
        _fill(into.x, fill)
        if not whole and scaler is not None:
            kernels.scale(into.x, mean, std)
        return
    measured = len(channels.measured)
    values = np.empty((*into.seen.shape, len(channels.bands)), np.float32)
    into.seen[:], into.images[:], end = False, 0, 0
    for part, seed in zip(parts, seeds, strict=True):
        one = empty_windows(len(rows), season.steps, part.bands.shape[1])
        place(part, rows, start, keys, season, choose, seed, None, None, one.x, one.seen, one.images, one.vegetation)
        begin, end = end, end + part.bands.shape[1]
        values[:, :, begin:end] = one.x
        into.seen[:] |= one.seen
        into.images[:] += one.images
        if begin == 0:
            into.vegetation[:] = one.vegetation
    values = channels.with_indices(values)
    _fill(values, fill)
    if scaler is not None:
        kernels.scale(values, np.float32(scaler.mean[:measured]), np.float32(scaler.std[:measured]))
    into.x[:, :, :measured] = values
    if channels.day_of_year:
        into.x[:, :, measured:] = waves(start, season.steps, season.step_days)


def check_channels(channels: Channels, bands: int, scaler: Scaler | None) -> None:
    """Refuse series or a scaler of other channels.

    Raises:
        SampleError: Bands differ in number, or the scaler has other names.
    """
    if bands != len(channels.bands):
        raise SampleError(f"Expected series of the bands {list(channels.bands)}, received {bands} bands.")
    if scaler is not None and tuple(scaler.bands) not in (channels.measured, channels.names):
        raise SampleError(
            f"Expected a scaler of the channels {list(channels.measured)}, received one of {list(scaler.bands)}. Fit "
            f"it with the study: Scaler.fit(rows, study)."
        )


def _fill(x: np.ndarray, fill: str) -> None:
    if fill == "last":
        x[:] = _filled_last(x)
    elif fill == "linear":
        x[:] = _filled_linear(x)


def _filled_last(x: np.ndarray) -> np.ndarray:
    """Each empty step as the one before it, band by band."""
    before, _ = _neighbours(x)
    return np.where(before >= 0, np.take_along_axis(x, np.maximum(before, 0), 1), np.float32(0))


def _filled_linear(x: np.ndarray) -> np.ndarray:
    """Each empty step on the line between its neighbours, band by band; the nearest at the ends."""
    before, after = _neighbours(x)
    steps = x.shape[1]
    before, after = np.where(before < 0, after, before), np.where(after == steps, before, after)
    low, high = (np.take_along_axis(x, np.clip(i, 0, steps - 1), 1) for i in (before, after))
    apart = np.maximum(after - before, 1).astype(np.float32)
    share = (np.arange(steps)[None, :, None] - before).astype(np.float32) / apart
    line = low + (high - low) * np.where(after > before, share, np.float32(0))
    return np.where((before < 0) | (before >= steps), np.float32(0), line)


def _neighbours(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, T, C) the nearest step with a value at or before each step (-1: none), and at or after it (T: none)."""
    steps = x.shape[1]
    step = np.arange(steps)[None, :, None]
    before = np.maximum.accumulate(np.where(x != 0, step, -1), axis=1)
    after = np.minimum.accumulate(np.where(x != 0, step, steps)[:, ::-1], axis=1)[:, ::-1]
    return before, after


def _known(noun: str, value, values: tuple[str, ...]) -> None:
    if value not in values:
        raise SampleError(f"Expected {noun} = {', '.join(map(repr, values))}, received {value!r}.")
