"""Sentinel-2 Level-2A: bands, scene classification, and the offset that is easily forgotten.

Sources: ESA SentiWiki, S2 Products (bands, scene classification, ``BOA_ADD_OFFSET``); Earth Search's
item properties as its maintainers explain them (Element84/earth-search issues 9, 66 and 71).

>>> BANDS["nir"].esa, BANDS["nir"].resolution_m
('B08', 10)

Lab: part1_build_dataset.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arsetlib.errors import ArsetError
from arsetlib.translation import N_, _

__all__ = [
    "BANDS",
    "DROPPED_SCL",
    "SCALE",
    "SCL",
    "VEGETATION",
    "Band",
    "OffsetError",
    "SclClass",
    "offset_and_source",
    "offset_of",
    "reflectance_dn",
    "stated_of",
]


@dataclass(frozen=True)
class Band:
    """One spectral band of the multispectral instrument (central wavelength of Sentinel-2A).

    Attributes:
        name: Short name, the asset key of Earth Search.
        esa: ESA's name, such as ``B8A``.
        wavelength_nm: Central wavelength, nm.
        width_nm: Bandwidth, nm.
        resolution_m: Pixel side, m: 10, 20 or 60.
    """

    name: str
    esa: str
    wavelength_nm: float
    width_nm: float
    resolution_m: int


@dataclass(frozen=True)
class SclClass:
    """One class of the scene classification layer (SCL); ``name`` is English, ``title()`` in the reader's language."""

    value: int
    name: str
    colour: str

    def title(self) -> str:
        """The name in the reader's language.

        >>> SCL[4].title()
        'Vegetation'

        Lab: part1_build_dataset.
        """
        return _(self.name)


class OffsetError(ArsetError, ValueError):
    """Metadata states no usable processing offset."""


# B10 (cirrus, 1374 nm) is absent at Level-2A: it sees the upper atmosphere, not the ground.
BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        Band("coastal", "B01", 442.7, 20, 60),
        Band("blue", "B02", 492.7, 65, 10),
        Band("green", "B03", 559.8, 35, 10),
        Band("red", "B04", 664.6, 30, 10),
        Band("rededge1", "B05", 704.1, 14, 20),
        Band("rededge2", "B06", 740.5, 14, 20),
        Band("rededge3", "B07", 782.8, 19, 20),
        Band("nir", "B08", 832.8, 105, 10),
        Band("nir08", "B8A", 864.7, 21, 20),
        Band("nir09", "B09", 945.1, 19, 60),
        Band("swir16", "B11", 1613.7, 90, 20),
        Band("swir22", "B12", 2202.4, 174, 20),
    )
}

# Scene classes by value.
SCL: dict[int, SclClass] = {
    value: SclClass(value, name, colour)
    for value, (name, colour) in enumerate(
        (
            (N_("No data"), "#000000"),
            (N_("Saturated or defective"), "#ff0000"),
            (N_("Dark area or cast shadow"), "#2f2f2f"),
            (N_("Cloud shadow"), "#643200"),
            (N_("Vegetation"), "#00a000"),
            (N_("Not vegetated"), "#ffe65a"),
            (N_("Water"), "#0000ff"),
            (N_("Unclassified"), "#808080"),
            (N_("Cloud, medium probability"), "#c0c0c0"),
            (N_("Cloud, high probability"), "#ffffff"),
            (N_("Thin cirrus"), "#64c8ff"),
            (N_("Snow or ice"), "#ff96ff"),
        )
    )
}

NEAR_INFRARED = ("rededge3", "nir", "nir08", "nir09")  # bands in which plants are bright
VEGETATION, NOT_VEGETATED, WATER = 4, 5, 6  # scene classes
# Dropped by the original course. Cloud shadow (3), water (6) and cirrus (10) stay.
DROPPED_SCL = (0, 1, 7, 8, 9, 11)
SCALE = 1e-4  # reflectance per DN

FIRST_BASELINE_WITH_OFFSET = 4.0


def reflectance_dn(dn: np.ndarray, offset: int) -> np.ndarray:
    """Remove the processing offset, keeping 0 for "no data" and nothing else.

    >>> reflectance_dn(np.array([0, 900, 1500], np.uint16), -1000)
    array([  0,   1, 500], dtype=uint16)

    Args:
        dn: Digital numbers as stored, integers, any shape; 0 is no data.
        offset: What to add: 0, or -1000 from processing baseline 04.00 on.

    Returns:
        uint16 of the same shape: reflectance × 10,000. A valid value is at least 1, so a very dark
        pixel (a small negative reflectance) is never mistaken for a missing one.

    Lab: part1_build_dataset.
    """
    if offset == 0 and dn.dtype == np.uint16:
        return dn
    shifted = np.clip(dn.astype(np.int32) + int(offset), 1, 65535)
    return np.where(dn != 0, shifted, 0).astype(np.uint16)


def stated_of(asset: dict) -> dict[str, float]:
    """What an item states about the numbers of one asset: ``scale``, ``offset``, ``nodata``, where it does.

    Read are ``raster:scale``, ``raster:offset`` and ``nodata`` in the first of ``bands`` and on the asset (STAC 1.1),
    and ``scale``, ``offset`` and ``nodata`` in the first of ``raster:bands`` (STAC 1.0).

    Args:
        asset: Of a STAC item.

    Raises:
        OffsetError: A value is not a number, or two places state different ones.

    Lab: part1_build_dataset.
    """
    places = [(asset, "raster:"), *((band, "raster:") for band in _first(asset, "bands"))]
    places += [(band, "") for band in _first(asset, "raster:bands")]
    stated: dict[str, float] = {}
    for name in ("scale", "offset", "nodata"):
        values = set()
        for place, prefix in places:
            keys = {f"{prefix}{name}"} if name != "nodata" else {"nodata", "raster:nodata"}
            values |= {_number(place[key], key) for key in keys if place.get(key) is not None}
        if name == "nodata" and len(values) > 1:
            values.discard(0.0)  # 0 means no data, whatever else does
        if len({str(v) for v in values}) > 1:
            raise OffsetError(
                f"states different values of {name} for one band, {sorted(values)}, on the asset, in bands and in "
                "raster:bands. Correct the item, or leave it out."
            )
        if values:
            stated[name] = next(iter(values))
    return stated


def _first(asset: dict, key: str) -> list[dict]:
    bands = asset.get(key)
    return [bands[0]] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else []


def _number(value, key: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)  # "nan" is how STAC writes it
    except (TypeError, ValueError):
        raise OffsetError(f"states {key} = {value!r}; expected a number. Correct the item, or leave it out.") from None


def offset_of(properties: dict, raster_bands: Sequence[dict] | None) -> int:
    """Read from an item's metadata what must be added to its DN.

    >>> offset_of({"s2:processing_baseline": "05.09"}, [{"scale": 0.0001, "offset": -0.1}])
    -1000
    >>> offset_of({"earthsearch:boa_offset_applied": True}, [{"scale": 0.0001, "offset": -0.1}])
    0

    The rule, first match wins:

    1. ``earthsearch:boa_offset_applied`` (or its older name ``sentinel:boa_offset_applied``) is true: 0.
       Earth Search then removed the offset from the pixels, while ``raster:bands`` of the same item still
       advertises -0.1: reading that offset alone subtracts it twice.
    2. The processing baseline is older than 04.00: 0, because such products have no offset.
    3. The bands state an offset: that one (-0.1 with scale 0.0001 is -1000).
    4. The baseline is 04.00 or newer: -1000.
    5. Neither is stated: 0.

    The date does not matter: older scenes are reprocessed with the offset. Metadata is sometimes wrong (the flag
    is false although the pixels are already corrected): ``arsetlib.ingest.offset`` measures the values.

    Args:
        properties: ``properties`` of a STAC item.
        raster_bands: For each reflectance asset of the item (or for one) what ``stated_of`` gives, or None.

    Returns:
        0 or -1000.

    Raises:
        OffsetError: The bands state different offsets, or one that is neither 0 nor -1000.

    Lab: part1_build_dataset.
    """
    return offset_and_source(properties, raster_bands)[0]


def offset_and_source(properties: dict, raster_bands: Sequence[dict] | None) -> tuple[int, str]:
    """``offset_of``, and what states it: ``flag``, ``old baseline``, ``bands``, ``baseline`` or ``nothing``."""
    stated = {_known(_dn_offset(band)) for band in raster_bands or () if band.get("offset") is not None}
    if _flag(properties):
        return 0, "flag"
    baseline = _baseline(properties)
    if baseline is not None and baseline < FIRST_BASELINE_WITH_OFFSET:
        return 0, "old baseline"
    if len(stated) > 1:
        raise OffsetError(
            f"states different processing offsets for its bands, {sorted(stated)} DN; expected one. "
            f"Leave the item out, or fetch it from another catalogue."
        )
    if stated:
        return stated.pop(), "bands"
    return (-1000, "baseline") if baseline is not None else (0, "nothing")


def _flag(properties: dict) -> bool:
    for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        value = properties.get(key)
        if value is not None:
            return value is True or str(value).lower() == "true"
    return False


def _baseline(properties: dict) -> float | None:
    """Processing baseline as a number: "05.09" and "N0509" are 5.09."""
    keys = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
    text = next((str(properties[key]) for key in keys if properties.get(key)), "")
    match = re.fullmatch(r"N?(\d\d?)\.?(\d\d)", text)
    return float(f"{match[1]}.{match[2]}") if match else None


def _dn_offset(band: dict) -> int:
    """The offset in reflectance × 10,000; -1000 is in numbers of the file, because no reflectance is so large."""
    offset, scale = float(band["offset"]), float(band.get("scale") or SCALE)
    if not math.isfinite(offset / scale):
        raise OffsetError(f"states the processing offset {offset} and the scale {scale}; expected -0.1 and 0.0001.")
    if abs(offset) >= 1:
        offset *= SCALE if scale == 1 else scale
    return round(offset / SCALE)


def _known(offset: int) -> int:
    if offset not in (0, -1000):
        raise OffsetError(
            f"states a processing offset of {offset} DN; expected 0 or -1000. "
            f"See the item's raster:bands: its scale should be 0.0001 and its offset 0 or -0.1."
        )
    return offset
