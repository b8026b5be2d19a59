"""Spectral indices: one number from two or three bands, for plants, water, soil or fire.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SCALE = 10_000  # reflectance and indices are stored times this


@dataclass(frozen=True)
class Index:
    """One index.

    Attributes:
        title: What it is called.
        bands: Bands it needs, in the order in which ``formula`` takes them.
        formula: Of reflectance, 0-1.
        paper: Where it comes from.
    """

    title: str
    bands: tuple[str, ...]
    formula: Callable[..., np.ndarray]
    paper: str


def _contrast(a, b):
    return (a - b) / (a + b)


# Name → index.
INDICES: dict[str, Index] = {
    "ndvi": Index(
        "Normalised difference vegetation index", ("nir", "red"), _contrast,
        "Rouse et al. (1974), Monitoring vegetation systems in the Great Plains with ERTS, NASA SP-351",
    ),
    "gndvi": Index(
        "Green NDVI", ("nir", "green"), _contrast,
        "Gitelson, Kaufman & Merzlyak (1996), Remote Sensing of Environment 58, 289-298",
    ),
    "ndre": Index(
        "Normalised difference red edge", ("nir", "rededge1"), _contrast,
        "Gitelson & Merzlyak (1994), Journal of Plant Physiology 143, 286-292",
    ),
    "evi": Index(
        "Enhanced vegetation index", ("nir", "red", "blue"),
        lambda nir, red, blue: 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1),
        "Huete et al. (2002), Remote Sensing of Environment 83, 195-213",
    ),
    "evi2": Index(
        "Enhanced vegetation index of two bands", ("nir", "red"),
        lambda nir, red: 2.5 * (nir - red) / (nir + 2.4 * red + 1),
        "Jiang et al. (2008), Remote Sensing of Environment 112, 3833-3845",
    ),
    "savi": Index(
        "Soil-adjusted vegetation index", ("nir", "red"),
        lambda nir, red: 1.5 * (nir - red) / (nir + red + 0.5),
        "Huete (1988), Remote Sensing of Environment 25, 295-309",
    ),
    "ndmi": Index(
        "Normalised difference moisture index", ("nir", "swir16"), _contrast,
        "Gao (1996), Remote Sensing of Environment 58, 257-266",
    ),
    "ndwi": Index(
        "Normalised difference water index", ("green", "nir"), _contrast,
        "McFeeters (1996), International Journal of Remote Sensing 17, 1425-1432",
    ),
    "mndwi": Index(
        "Modified normalised difference water index", ("green", "swir16"), _contrast,
        "Xu (2006), International Journal of Remote Sensing 27, 3025-3033",
    ),
    "ndti": Index(
        "Normalised difference tillage index", ("swir16", "swir22"), _contrast,
        "van Deventer et al. (1997), Photogrammetric Engineering & Remote Sensing 63, 87-93",
    ),
    "nbr": Index(
        "Normalised burn ratio", ("nir", "swir22"), _contrast,
        "López García & Caselles (1991), Geocarto International 6, 31-37",
    ),
}  # fmt: skip


def index(name: str, values: np.ndarray, bands: tuple[str, ...]) -> np.ndarray:
    """One index of many observations.

    Args:
        name: A key of ``INDICES``.
        values: (..., C) reflectance × 10,000; 0 is no data.
        bands: C names.

    Returns:
        (...,) float32, the index × 10,000, rounded to a whole number, from -10,000 to 10,000 (only EVI of
        clouds and snow lies outside, and is clipped). 0 where a band has no data; an index that rounds to
        0 is 1, so that 0 always means no data.

    Raises:
        KeyError: An unknown name.
        ValueError: A band it needs is not among ``bands``.

    >>> index("ndvi", np.array([[500, 3000]]), ("red", "nir")).round().tolist()
    [7143.0]
    """
    one = INDICES[name]
    parts = [np.asarray(values[..., bands.index(b)], np.float64) / SCALE for b in one.bands]
    there = np.logical_and.reduce([part > 0 for part in parts])
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.rint(np.clip(one.formula(*parts), -1, 1) * SCALE)
    return np.where(there & np.isfinite(value), np.where(value == 0, 1, value), 0).astype(np.float32)
