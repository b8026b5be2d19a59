"""Reflectance of what the delta is made of, and how canopy and ground mix in a pixel.

A canopy of leaf area index L lets exp(-k L) of the ground show through; the rest is the reflectance of a canopy so
deep that no ground shows, between green and withered. k is smaller in the near infrared, where leaves pass light on:
there a canopy goes on brightening when the red has long been dark. (Beer's law of canopies; Goudriaan 1977.)
The curves are rounded from what spectral libraries and field campaigns commonly show, not copied from any one.
"""

from __future__ import annotations

import numpy as np

from arsetlib.simulate import landscape as land

# Columns: coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16 swir22; reflectance, percent.
_GROUND = {
    "silt": (8.2, 10.4, 14.0, 18.6, 20.8, 22.6, 24.4, 26.2, 27.6, 29.0, 39.0, 37.0),
    "clay": (4.6, 5.8, 7.8, 10.2, 11.6, 12.9, 14.2, 15.4, 16.4, 17.4, 25.0, 23.5),
    "residue": (7.5, 10.0, 14.5, 20.0, 23.5, 27.0, 29.5, 32.0, 33.5, 35.0, 43.0, 34.0),
    "flood": (5.0, 6.2, 8.6, 8.6, 8.0, 7.0, 6.6, 6.2, 5.9, 5.5, 3.2, 2.2),
    "river": (6.2, 7.8, 11.0, 12.0, 11.4, 8.0, 7.6, 6.2, 5.4, 4.6, 2.0, 1.4),
    "pond": (3.8, 4.6, 7.0, 4.6, 5.4, 3.6, 3.6, 3.0, 2.6, 2.2, 1.2, 0.9),
    "built": (10.5, 12.2, 14.2, 15.6, 16.6, 18.0, 19.4, 20.6, 21.4, 22.4, 25.5, 23.5),
    "sand": (14.0, 17.5, 23.0, 28.0, 30.0, 31.5, 33.0, 34.5, 35.5, 36.5, 44.0, 41.0),
    "litter": (3.4, 4.4, 6.4, 8.0, 10.4, 13.0, 14.6, 16.2, 17.2, 18.2, 21.0, 13.5),
}
_GREEN = {
    land.CORN: (2.2, 2.9, 5.3, 2.8, 8.6, 28.5, 37.5, 39.5, 41.5, 42.5, 19.0, 9.0),
    land.SOYBEANS: (2.2, 3.0, 6.2, 3.0, 9.8, 33.5, 45.0, 47.0, 49.0, 49.5, 20.0, 9.0),
    land.COTTON: (2.4, 3.3, 6.4, 3.4, 10.2, 31.0, 40.0, 42.0, 44.0, 45.0, 20.5, 10.0),
    land.RICE: (2.2, 3.1, 5.9, 3.2, 9.4, 28.0, 36.5, 39.0, 41.0, 42.0, 16.5, 7.5),
    land.WHEAT: (2.1, 2.8, 5.0, 3.0, 8.4, 29.0, 38.0, 40.0, 42.0, 43.0, 15.5, 8.0),
    land.SORGHUM: (2.4, 3.2, 5.8, 3.6, 9.4, 28.5, 36.5, 38.5, 40.5, 41.5, 20.5, 10.5),
    land.PEANUTS: (2.4, 3.2, 6.6, 3.2, 10.4, 33.0, 43.0, 45.0, 47.0, 48.0, 21.0, 10.0),
    land.WOODY_WETLAND: (1.7, 2.2, 4.2, 2.4, 7.2, 25.0, 32.0, 34.0, 36.0, 37.0, 15.5, 7.2),
    land.GRASS: (2.9, 4.0, 7.2, 5.2, 11.6, 27.0, 33.5, 35.5, 38.0, 39.0, 23.5, 13.0),
}
_GREEN |= {land.HAY: _GREEN[land.GRASS], land.FALLOW: _GREEN[land.GRASS], land.WHEAT_SOY: _GREEN[land.SOYBEANS]}
_GREEN |= {land.SWEET_POTATOES: _GREEN[land.PEANUTS], land.PECANS: _GREEN[land.WOODY_WETLAND]}
_WITHERED = {
    land.CORN: (5.0, 7.0, 10.6, 13.6, 18.0, 22.5, 25.5, 27.5, 29.0, 30.5, 32.5, 24.0),
    land.SOYBEANS: (5.6, 8.0, 13.0, 16.0, 21.5, 26.0, 29.0, 31.0, 32.5, 34.0, 34.0, 25.0),
    land.COTTON: (8.0, 10.0, 13.2, 15.2, 18.6, 23.0, 26.0, 28.0, 29.5, 31.0, 31.5, 24.0),
    land.RICE: (4.6, 7.0, 12.0, 14.0, 19.0, 26.5, 30.0, 32.5, 34.0, 35.0, 29.5, 19.5),
    land.WHEAT: (6.2, 8.6, 13.2, 17.4, 21.5, 26.0, 29.0, 31.5, 33.0, 34.5, 36.0, 26.5),
    land.WOODY_WETLAND: (3.2, 4.2, 6.2, 7.0, 10.0, 14.5, 17.0, 19.0, 20.5, 21.5, 22.0, 13.5),
    land.GRASS: (4.8, 6.6, 9.6, 11.8, 15.5, 20.5, 23.5, 25.5, 27.0, 28.5, 32.5, 23.0),
}
# How much wet soil darkens, by band: water absorbs most in the shortwave infrared.
_WETTING = np.array([0.38, 0.40, 0.41, 0.42, 0.42, 0.42, 0.42, 0.42, 0.42, 0.44, 0.52, 0.58], np.float32)

INFRARED = np.array([False] * 5 + [True] * 5 + [False] * 2)  # bands in which leaves pass light on
EXTINCTION, EXTINCTION_INFRARED = 0.82, 0.54


def ground(name: str) -> np.ndarray:
    """(12,) reflectance 0-1 of bare ground or water."""
    return np.array(_GROUND[name], np.float32) / 100


def green(code: int) -> np.ndarray:
    """(12,) reflectance 0-1 of a deep green canopy of a CDL class."""
    return np.array(_GREEN.get(code, _GREEN[land.GRASS]), np.float32) / 100


def withered(code: int) -> np.ndarray:
    """(12,) reflectance 0-1 of a deep ripe or withered canopy of a CDL class."""
    fallback = {land.WHEAT_SOY: land.SOYBEANS, land.PEANUTS: land.SOYBEANS, land.SORGHUM: land.CORN}
    fallback |= {land.PECANS: land.WOODY_WETLAND, land.DECIDUOUS: land.WOODY_WETLAND}
    return np.array(_WITHERED.get(fallback.get(code, code), _WITHERED[land.GRASS]), np.float32) / 100


def soil(clay: np.ndarray, moisture: np.ndarray, residue: np.ndarray) -> np.ndarray:
    """Soil between silt and clay, dry and wet, bare and covered with straw.

    Args:
        clay, moisture, residue: (U,) 0-1.

    Returns:
        (U, 12) float32 reflectance.
    """
    bare = ground("silt") + clay[:, None] * (ground("clay") - ground("silt"))
    bare = bare * (1 - moisture[:, None] * _WETTING)
    straw = ground("residue") * (1 - 0.6 * moisture[:, None] * _WETTING)
    return (bare + residue[:, None] * (straw - bare)).astype(np.float32)


def mix(band: int, shows: np.ndarray, below: np.ndarray, fresh: np.ndarray, dry: np.ndarray, greenness: np.ndarray):
    """Reflectance of a pixel in one band.

    Args:
        band: Column of the spectra; says which of ``shows`` applies.
        shows: (2, …) share of the ground that shows through the canopy: elsewhere, in the near infrared.
        below, fresh, dry: (…) reflectance of ground, green canopy, withered canopy.
        greenness: (…) 1 green to 0 withered.

    Returns:
        (…) float32 reflectance.
    """
    canopy = dry + greenness * (fresh - dry)
    return canopy + shows[int(INFRARED[band])] * (below - canopy)
