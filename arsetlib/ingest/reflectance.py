"""From the numbers of a file to reflectance × 10,000: scale, no data, valid range. Nothing is guessed.

A file of Sentinel-2 holds whole numbers, reflectance × 10,000, and 0 where there is no data. Other files are read
where they, or the item, state how: a scale, a value of no data, a mask. What states nothing and is something else
(reflectance 0-1, percent, a preview of 8 bits) is refused.

The processing offset is another matter: it is decided once per scene, see ``arsetlib.ingest.offset``.

Sources: GDAL's raster data model (scale, offset, no data, mask bands); STAC's raster extension 1.1 and 2.0.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from arsetlib import filetypes
from arsetlib.errors import ArsetError
from arsetlib.sentinel2 import SCALE

MAX_DN = 32_767  # ESA writes DN in 15 bits; snow and cloud reach about 20,000
MIN_DN = -1000  # reflectance -0.1: the lowest that the processing offset lets through
SATURATED = 65_535  # ESA's value of a saturated pixel in a file of unsigned 16 bits
MAX_SHARE = 0.01  # of the values of a scene that may lie outside the range: those pixels are dropped and counted
FEW = 5  # so many values outside the range do not make a scene bad
NO_LAND = -500  # reflectance -0.05: what two bands of a real pixel never share
LARGEST_REFLECTANCE = MAX_DN * SCALE


class ReflectanceError(ArsetError, ValueError):
    """The numbers of a file cannot be read as reflectance; the message says what was expected and what came."""


@dataclass(frozen=True)
class Encoding:
    """How the numbers of one file are to be read.

    Attributes:
        factor: What a number is multiplied with to give reflectance × 10,000; 1 for files of Sentinel-2.
        nodata: Values that mean "no data" besides 0, as stated by file and item.
        zero: Whether 0 means "no data".
        masked: Whether the file has a mask of its own.
        offset: Processing offset that the file itself states, reflectance × 10,000; None where it states none.
        dtype: Of the file.
        unstated: Whether neither file nor item states a scale.
        unit: Whether the item states scale 1, which many tools write without meaning it.
    """

    factor: float
    nodata: tuple[float, ...]
    zero: bool
    masked: bool
    offset: int | None
    dtype: str
    unstated: bool
    unit: bool

    @property
    def plain(self) -> bool:
        """Whether numbers are reflectance × 10,000 in 16 bits with 0 as no data: nothing to convert."""
        return self.dtype == "uint16" and self.factor == 1 and not self.nodata and self.zero and not self.masked


def encoding_of(src: rasterio.DatasetReader, scale: float | None = None, nodata: float | None = None) -> Encoding:
    """How the numbers of an open file are to be read.

    Args:
        src: A file of one band.
        scale: That the item states, reflectance per unit; None where it states none.
        nodata: That the item states.

    Raises:
        ReflectanceError: Several layers, colours in place of measurements, a type that cannot hold reflectance
            × 10,000 and no scale, or file and item that state different scales.
    """
    _one_layer(src)
    dtype = src.dtypes[0]
    kind = np.dtype(dtype).kind if dtype not in ("complex_int16", "complex_int32") else "c"
    if kind not in "iuf":
        raise ReflectanceError(f"the file is {dtype}; expected whole numbers, reflectance x 10,000")
    if src.colorinterp[0] == ColorInterp.palette:
        raise ReflectanceError(
            "the file holds colours of a palette, so it is a picture; expected reflectance x 10,000. "
            "Link the band itself"
        )
    file_scale, file_offset = float(src.scales[0]), float(src.offsets[0])
    unit = scale is not None and math.isclose(scale, 1)
    stated = None if scale is None or unit else scale
    own = None if math.isclose(file_scale, 1) else file_scale
    for found in (stated, own):
        if found is not None and not (math.isfinite(found) and 0 < found <= 1):
            raise ReflectanceError(f"scale {found:g} is stated; expected one above 0 and at most 1, such as 0.0001")
    if stated is not None and own is not None and not math.isclose(stated, own, rel_tol=1e-4):
        raise ReflectanceError(
            f"the item states scale {stated:g} and the file {own:g}. Correct the one that is wrong, "
            "or leave the scene out"
        )
    used = stated if stated is not None else own
    if used is None and dtype in ("uint8", "int8"):
        raise ReflectanceError(
            f"the file is {dtype} and no scale is stated: a preview of 8 bits? Expected reflectance x 10,000, "
            "which needs 16 bits. Link the band itself, or state raster:scale in the item"
        )
    offset = None
    if own is not None or file_offset:
        # In reflectance (-0.1), or in numbers of the file (-1000): no reflectance is so large.
        in_numbers = abs(file_offset) >= 1
        offset = round((file_offset * (own or SCALE) if in_numbers else file_offset) / SCALE)
        if offset not in (0, -1000):
            raise ReflectanceError(
                f"the file states offset {file_offset:g} and scale {file_scale:g}; "
                "expected offset 0 or -0.1 with the scale of reflectance"
            )
    factor = 1.0 if used is None or math.isclose(used, SCALE, rel_tol=1e-4) else used / SCALE
    values = tuple(float(v) for v in (src.nodata, nodata) if v is not None and v != 0)
    flags = src.mask_flag_enums[0]
    return Encoding(
        factor=factor,
        nodata=values,
        zero=True,
        masked=MaskFlags.per_dataset in flags,
        offset=offset,
        dtype=dtype,
        unstated=used is None and not unit,
        unit=used is None and unit,
    )


def _one_layer(src) -> None:
    if src.count == 2 and src.colorinterp[1] == ColorInterp.alpha:
        return
    if src.count != 1:
        raise ReflectanceError(
            f"the file has {src.count} layers; expected one. Which of them is the band is not said: "
            "link a file of one band"
        )


def to_dn(values: np.ndarray, encoding: Encoding, shown: np.ndarray | None = None) -> np.ndarray:
    """Numbers of a file as reflectance × 10,000, the processing offset not yet removed.

    Args:
        values: As stored, any shape.
        encoding: Of ``encoding_of``.
        shown: Same shape, the file's own mask: False where there is no data.

    Returns:
        The same shape: uint16, unchanged, where the file is plain, else int32. 0 is no data.

    Raises:
        ReflectanceError: Fractions where no scale is stated.
    """
    if encoding.plain:
        return values
    known = np.ones(values.shape, bool) if shown is None else shown.astype(bool)
    for nodata in encoding.nodata:
        known &= ~_is(values, nodata)
    if encoding.zero:
        known &= values != 0
    if values.dtype.kind == "f":
        known &= np.isfinite(values)
        factor = _factor_of_fractions(values[known], encoding)
        dn = np.rint(np.where(known, values, 0).astype(np.float64) * factor)
        dn = np.clip(dn, -(2**30), 2**30).astype(np.int32)
    elif encoding.factor == 1:
        dn = np.clip(values, -(2**30), 2**30).astype(np.int32) if values.dtype.itemsize > 2 else values.astype(np.int32)
    else:
        dn = np.rint(np.clip(values * encoding.factor, -(2**30), 2**30)).astype(np.int32)
    dn[known & (dn == 0)] = 1  # a very dark pixel, not a missing one
    dn[~known] = 0
    return dn


def _factor_of_fractions(values: np.ndarray, encoding: Encoding) -> float:
    """What numbers with a decimal point are multiplied with; refuses what they can't be."""
    if not values.size:
        return encoding.factor
    largest = float(np.abs(values).max())
    whole = bool((values == np.rint(values)).all())
    small = largest <= LARGEST_REFLECTANCE and not (whole and largest == 0)
    if encoding.unit and small:
        return 1 / SCALE  # the item says scale 1, and so do the values
    if encoding.unstated or encoding.unit:
        if whole and not small:
            return 1.0
        if (filler := _filler(values)) is not None:
            raise ReflectanceError(
                f"the file is {encoding.dtype} with values such as {_example(values[values != filler])}, and "
                f"{filler:g} on {np.count_nonzero(values == filler):,} pixels: a value of no data that nobody states? "
                "State it: nodata in the file or the item"
            )
        raise ReflectanceError(
            f"the file is {encoding.dtype} with values such as {_example(values)} (largest {largest:g}), and no scale "
            f"is stated; expected whole numbers, reflectance x 10,000. {_remedy(largest)}"
        )
    if small and encoding.factor <= 1:
        raise ReflectanceError(
            f"the file is {encoding.dtype} with values such as {_example(values)} (largest {largest:g}), which are "
            f"no multiples of the stated scale {encoding.factor * SCALE:g}: they seem to be scaled already. "
            f"{_remedy(largest)}"
        )
    return encoding.factor


def _filler(values: np.ndarray) -> float | None:
    """A value that occurs often and lies far beyond all others, as one for no data does; None where there is none."""
    farthest = values[np.argmax(np.abs(values))]
    others = values[values != farthest]
    often = values.size - others.size > FEW
    return float(farthest) if often and others.size and np.abs(others).max() < abs(farthest) / 20 else None


def _example(values: np.ndarray) -> str:
    return f"{float(values[values.size // 2]):.4g}"


def _remedy(largest: float) -> str:
    if largest <= LARGEST_REFLECTANCE:
        return "If they are reflectance from 0 to 1, state raster:scale = 1 in the item, or write x 10,000 as uint16"
    if largest <= 100 * LARGEST_REFLECTANCE:
        return "If they are percent, state raster:scale = 0.01 in the item, or write x 100 as uint16"
    return "State raster:scale = 0.0001 in the item, or round them and write uint16"


def _is(values: np.ndarray, nodata: float) -> np.ndarray:
    """Where a value is that of no data, as far as the type can hold it."""
    if math.isnan(nodata):
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if values.dtype.kind != "f" and not np.iinfo(values.dtype).min <= nodata <= np.iinfo(values.dtype).max:
        return np.zeros(values.shape, bool)
    return values == values.dtype.type(nodata)


def classes_of(src: rasterio.DatasetReader, nodata: float | None = None) -> Encoding:
    """How the numbers of a scene classification are to be read.

    Raises:
        ReflectanceError: Several layers, or a compression with losses.
    """
    _one_layer(src)
    if losses := filetypes.saved_with_losses(src):
        raise ReflectanceError(
            f"the scene classification was saved as {losses}, which changes classes. Link Sentinel-2's own SCL file"
        )
    values = tuple(float(v) for v in (src.nodata, nodata) if v is not None and v != 0)
    masked = MaskFlags.per_dataset in src.mask_flag_enums[0]
    return Encoding(1.0, values, True, masked, None, src.dtypes[0], True, False)


def scene_classes(values: np.ndarray, how: Encoding, shown: np.ndarray | None = None) -> np.ndarray:
    """The scene classification as uint8, 0 for no data.

    Raises:
        ReflectanceError: Fractions, or values over 11: no classes.
    """
    known = np.ones(values.shape, bool) if shown is None else shown.astype(bool)
    if values.dtype.kind == "f":
        known &= np.isfinite(values)
    for nodata in how.nodata:
        known &= ~_is(values, nodata)
    found = values if known.all() else np.where(known, values, 0).astype(values.dtype)
    if values.dtype.kind not in "iuf":
        raise ReflectanceError(f"the scene classification is {values.dtype}; expected whole numbers from 0 to 11")
    if values.dtype.kind == "f" and (found != np.rint(found)).any():
        example = float(found[found != np.rint(found)][0])
        raise ReflectanceError(
            f"the scene classification has fractions such as {example:g}; expected whole numbers from 0 to 11. "
            "It was resampled by averaging, which mixes classes: resample it with 'nearest'"
        )
    if found.size and (found.max() > 11 or found.min() < 0):
        odd = found[(found > 11) | (found < 0)]
        raise ReflectanceError(
            f"the scene classification has {odd.size:,} values outside 0 to 11, such as {float(odd.flat[0]):g}; "
            "expected Sentinel-2's classes. Link the SCL file, or state its value of no data"
        )
    return found.astype(np.uint8, copy=False)


def in_range(dn: np.ndarray, offset: int) -> np.ndarray:
    """Whether values lie in the valid range once the offset is removed, -1,000 to 32,767; true for no data (0)."""
    if dn.dtype == np.uint16:
        return dn <= MAX_DN - offset
    low, high = MIN_DN - offset, MAX_DN - offset
    return ((dn >= low) & (dn <= high)) | (dn == 0)


def _filled(dn: np.ndarray) -> np.ndarray:
    """(N,) whether a pixel holds one and the same value in all bands that no ground has: -999, say, or 32,767."""
    first = dn[0]
    below = first < (0 if len(dn) > 2 else NO_LAND)
    return (dn == first).all(0) & (below | (first == MAX_DN))


def refuse_many_outside(dn: np.ndarray, offset: int, bands) -> np.ndarray:
    """Which pixels have every value in the valid range, where the others are few.

    A few wrapped or undefined values occur in real scenes: their pixels are dropped and counted. Many mean that the
    file is something else.

    Args:
        dn: (C, N) reflectance × 10,000 with the offset; 0 is no data.
        offset: The scene's offset.
        bands: The C band names.

    Returns:
        (N,) bool.

    Raises:
        ReflectanceError: Over 1 % of a band's values (and over 5) lie outside, or so many pixels hold one value in all
            bands that can only stand for no data.
    """
    good = in_range(dn, offset)
    filled = _filled(dn) & good.all(0)
    if filled.any():
        values, counts = np.unique(dn[0, filled], return_counts=True)
        most, known = int(counts.max()), int(np.count_nonzero(dn[0]))
        if most > FEW and most > MAX_SHARE * known:
            raise ReflectanceError(
                f"{most:,} of {known:,} pixels hold {int(values[counts.argmax()]):,} in every band "
                f"({', '.join(bands)}): a value of no data that nobody states? "
                "State it: nodata in the file or the item"
            )
    good &= ~filled
    if good.all():
        return good.all(0)
    for name, row, ok in zip(bands, dn, good, strict=True):
        saturated = (row == SATURATED) if dn.dtype == np.uint16 else np.zeros(ok.shape, bool)
        odd = row[~ok & ~saturated]
        known = int(np.count_nonzero(row))
        if odd.size > FEW and odd.size > MAX_SHARE * known:
            hint = ""
            if dn.dtype == np.uint16 and np.median(odd) > 2**16 + MIN_DN - 1:
                hint = " They look like negative values that wrapped around 65,536."
            elif (odd == odd[0]).all():
                hint = " If that value means no data, state it: nodata in the file or the item."
            raise ReflectanceError(
                f"{name}: {odd.size:,} of {known:,} values lie outside {MIN_DN:,} to {MAX_DN:,}, such as "
                f"{int(odd[0]):,}; expected reflectance x 10,000.{hint}"
            )
    return good.all(0)
