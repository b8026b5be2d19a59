"""Sentinel-2 Level-2A: bands, scene classification, and the offset that is easily forgotten.

Sources: ESA SentiWiki, S2 Products (bands, scene classification, ``BOA_ADD_OFFSET``); Earth Search's
item properties as its maintainers explain them (Element84/earth-search issues 9, 66 and 71).

Lab: part1_build_dataset.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "BANDS",
    "DROPPED_SCL",
    "SCALE",
    "SCL",
    "VEGETATION",
    "Band",
    "OffsetError",
    "SclClass",
    "check_offset",
    "offset_of",
    "reflectance_dn",
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
    """One class of the scene classification layer (SCL)."""

    value: int
    name: str
    colour: str


class OffsetError(ValueError):
    """Values and metadata disagree on the processing offset."""


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

SCL: dict[int, SclClass] = {
    value: SclClass(value, name, colour)
    for value, (name, colour) in enumerate(
        (
            ("No data", "#000000"),
            ("Saturated or defective", "#ff0000"),
            ("Dark area or cast shadow", "#2f2f2f"),
            ("Cloud shadow", "#643200"),
            ("Vegetation", "#00a000"),
            ("Not vegetated", "#ffe65a"),
            ("Water", "#0000ff"),
            ("Unclassified", "#808080"),
            ("Cloud, medium probability", "#c0c0c0"),
            ("Cloud, high probability", "#ffffff"),
            ("Thin cirrus", "#64c8ff"),
            ("Snow or ice", "#ff96ff"),
        )
    )
}

VEGETATION = 4
NOT_VEGETATED = 5
# Dropped by the original course. Cloud shadow (3), water (6) and cirrus (10) stay.
DROPPED_SCL = (0, 1, 7, 8, 9, 11)
SCALE = 1e-4  # reflectance per DN

FIRST_BASELINE_WITH_OFFSET = 4.0
MAX_BELOW_OFFSET = 0.05  # share of land values that may be negative reflectances
MIN_SAMPLE = 50  # fewer land pixels prove nothing
MIN_VEGETATION = 200  # nor do fewer of vegetation, which a missed cloud may cover
HAZE = 300  # DN of swir22 above blue over vegetation; less under thin cloud
VISIBLE = frozenset(("coastal", "blue", "green", "red"))


def reflectance_dn(dn: np.ndarray, offset: int) -> np.ndarray:
    """Remove the processing offset, keeping 0 for "no data" and nothing else.

    Args:
        dn: Digital numbers as stored, uint16, any shape; 0 is no data.
        offset: What to add: 0, or -1000 from processing baseline 04.00 on.

    Returns:
        uint16 of the same shape: reflectance × 10,000. A valid value is at least 1, so a very dark
        pixel (a small negative reflectance) is never mistaken for a missing one.

    Lab: part1_build_dataset.
    """
    if offset == 0:
        return dn.astype(np.uint16, copy=False)
    shifted = np.clip(dn.astype(np.int32) + int(offset), 1, 65535)
    return np.where(dn > 0, shifted, 0).astype(np.uint16)


def offset_of(properties: dict, raster_bands: Sequence[dict] | None) -> int:
    """Read from an item's metadata what must be added to its DN.

    The rule, first match wins:

    1. ``earthsearch:boa_offset_applied`` (or its older name ``sentinel:boa_offset_applied``) is true: 0.
       Earth Search then removed the offset from the pixels, while ``raster:bands`` of the same item still
       advertises -0.1: reading that offset alone subtracts it twice.
    2. The processing baseline is older than 04.00: 0, because such products have no offset.
    3. ``raster:bands`` states an offset: that one (``offset / scale``, so -0.1 / 0.0001 = -1000).
    4. The baseline is 04.00 or newer: -1000.
    5. Neither is stated: 0.

    The date says nothing: older scenes are reprocessed with the offset. Metadata is at times wrong (the flag
    says false over pixels already corrected), so try the values with ``check_offset``.

    Args:
        properties: ``properties`` of a STAC item.
        raster_bands: ``raster:bands`` of the item's reflectance assets (or of one), or None.

    Returns:
        0 or -1000.

    Raises:
        OffsetError: The bands state different offsets, or one that is neither 0 nor -1000.

    Lab: part1_build_dataset.
    """
    if _flag(properties):
        return 0
    baseline = _baseline(properties)
    if baseline is not None and baseline < FIRST_BASELINE_WITH_OFFSET:
        return 0
    stated = {_dn_offset(band) for band in raster_bands or () if band.get("offset") is not None}
    if len(stated) > 1:
        raise OffsetError(
            f"Expected one processing offset for all bands of an item, received {sorted(stated)} DN. "
            f"Leave the item out, or fetch it from another catalogue."
        )
    if stated:
        return _known(stated.pop())
    return -1000 if baseline is not None else 0


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
    scale = float(band.get("scale") or SCALE)
    return round(float(band["offset"]) / scale)


def _known(offset: int) -> int:
    if offset not in (0, -1000):
        raise OffsetError(
            f"Expected a processing offset of 0 or -1000 DN, received {offset}. "
            f"See the item's raster:bands: its scale should be 0.0001 and its offset 0 or -0.1."
        )
    return offset


def check_offset(dn: np.ndarray, scl: np.ndarray, bands: Sequence[str], offset: int) -> None:
    """Refuse values that contradict the offset which the metadata states.

    Two facts of physics are tried, on land only (dark water may truly come out negative). Once the offset is
    removed, reflectance over land is hardly ever negative. And vegetation is dark in some visible band, well under
    10 %, so where 1000 was not added, the darkest band of the darkest vegetation is well under 1000 DN. Thin
    cloud that the scene classification misses brightens it, too, but blue more than shortwave infrared, while an
    offset leaves their difference as it is.

    Args:
        dn: (N, C) DN as stored, offset not yet removed; 0 is no data.
        scl: (N,) SCL classes of the same pixels.
        bands: The C band names, keys of ``BANDS``.
        offset: The stated offset, 0 or -1000.

    Returns:
        None, also where too few pixels could be judged: 50 of land, or 200 of vegetation with a visible band.

    Raises:
        OffsetError: More than 5 % of the values lie under 1000 DN though 1000 was to be subtracted, or no
            band of vegetation falls under 1000 DN though nothing was to be.

    Lab: part1_build_dataset.
    """
    dn, scl = np.asarray(dn), np.asarray(scl)
    if offset < 0:
        _check_not_yet_removed(dn[np.isin(scl, (VEGETATION, NOT_VEGETATED))], offset)
    elif not VISIBLE.isdisjoint(bands):
        _check_removed(dn[scl == VEGETATION], list(bands))


def _check_not_yet_removed(land: np.ndarray, offset: int) -> None:
    valid = land[land > 0]
    if len(land) < MIN_SAMPLE or valid.size == 0:
        return
    share = float(np.mean(valid < -offset))
    if share > MAX_BELOW_OFFSET:
        raise OffsetError(
            f"The metadata states an offset of {offset}, yet {share:.0%} of the values over land are "
            f"below {-offset} (expected at most {MAX_BELOW_OFFSET:.0%}): the offset seems to be removed already. "
            f"Leave the scene out, or correct its metadata (earthsearch:boa_offset_applied = true)."
        )


def _check_removed(vegetation: np.ndarray, bands: list[str]) -> None:
    vegetation = vegetation[vegetation.all(axis=1)].astype(np.int32)
    if len(vegetation) < MIN_VEGETATION:
        return
    if {"blue", "swir22"} <= set(bands):
        infrared, blue = (vegetation[:, bands.index(name)] for name in ("swir22", "blue"))
        if np.median(infrared - blue) < HAZE:
            return
    low = float(np.percentile(vegetation.min(axis=1), 1))
    if low >= 1000:
        raise OffsetError(
            f"The metadata states no offset, yet no band of vegetation falls below {low:.0f} DN (1st percentile; "
            f"expected below 1000): 1000 seems to be still in the values. "
            f"Leave the scene out, or correct its metadata (raster:bands offset = -0.1)."
        )
