"""Reflectance of soils, water, buildings and plants, and how canopy and ground mix in a pixel.

Through a canopy of leaf area index L a share exp(-k L) of the ground is visible; the rest of the light comes from the
canopy itself, with a reflectance between that of green and of withered leaves. k is smaller in the near infrared, where
leaves transmit light: there a canopy still gets brighter when the red no longer changes. (Beer's law of canopies;
Goudriaan 1977.) The spectra are rounded typical values of spectral libraries and field campaigns, copied from none.
"""

from __future__ import annotations

import numpy as np

from arsetlib.simulate import landscape as land

# Columns: coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16 swir22; reflectance, percent.
_GROUND = {
    "silt": (7.6, 10.4, 14.5, 19.3, 23.0, 24.2, 26.4, 28.4, 30.0, 31.6, 43.0, 41.5),
    "clay": (4.2, 5.5, 7.6, 10.0, 11.8, 13.6, 15.0, 16.4, 17.4, 18.6, 28.0, 26.0),
    "residue": (7.0, 9.6, 14.3, 20.6, 25.5, 28.5, 31.5, 34.0, 36.0, 37.5, 46.0, 37.5),
    "flood": (5.0, 6.2, 8.6, 8.6, 8.0, 7.0, 6.6, 6.2, 5.9, 5.5, 3.2, 2.2),
    "river": (6.2, 7.8, 11.0, 12.0, 11.4, 8.0, 7.6, 6.2, 5.4, 4.6, 2.0, 1.4),
    "pond": (3.8, 4.6, 7.0, 4.6, 5.4, 3.6, 3.6, 3.0, 2.6, 2.2, 1.2, 0.9),
    "built": (10.5, 12.2, 14.2, 15.6, 16.6, 18.0, 19.4, 20.6, 21.4, 22.4, 25.5, 23.5),
    "sand": (14.0, 17.5, 23.0, 28.0, 30.0, 31.5, 33.0, 34.5, 35.5, 36.5, 44.0, 41.0),
    "litter": (3.4, 4.4, 6.4, 8.0, 10.4, 13.0, 14.6, 16.2, 17.2, 18.2, 21.0, 13.5),
}
_GREEN = {
    land.CORN: (2.2, 2.9, 5.5, 2.9, 9.1, 31.4, 41.2, 43.5, 45.7, 46.8, 20.3, 9.5),
    land.SOYBEANS: (2.2, 3.0, 6.4, 3.1, 10.4, 36.9, 49.5, 51.7, 53.9, 54.5, 21.4, 9.5),
    land.COTTON: (2.4, 3.3, 6.6, 3.5, 10.8, 34.1, 44.0, 46.2, 48.4, 49.5, 21.9, 10.5),
    land.RICE: (2.2, 3.1, 6.1, 3.3, 10.0, 30.8, 40.2, 42.9, 45.1, 46.2, 17.7, 7.9),
    land.WHEAT: (2.1, 2.8, 5.2, 3.1, 8.9, 31.9, 41.8, 44.0, 46.2, 47.3, 16.6, 8.4),
    land.SORGHUM: (2.4, 3.2, 6.0, 3.7, 10.0, 31.4, 40.2, 42.4, 44.6, 45.7, 21.9, 11.0),
    land.PEANUTS: (2.4, 3.2, 6.8, 3.3, 11.0, 36.3, 47.3, 49.5, 51.7, 52.8, 22.5, 10.5),
    land.WOODY_WETLAND: (1.7, 2.2, 4.3, 2.5, 7.6, 27.5, 35.2, 37.4, 39.6, 40.7, 16.6, 7.6),
    land.GRASS: (2.9, 4.0, 7.4, 5.4, 12.3, 29.7, 36.9, 39.1, 41.8, 42.9, 25.1, 13.7),
}
_GREEN |= {land.HAY: _GREEN[land.GRASS], land.FALLOW: _GREEN[land.GRASS], land.WHEAT_SOY: _GREEN[land.SOYBEANS]}
_GREEN |= {land.SWEET_POTATOES: _GREEN[land.PEANUTS], land.PECANS: _GREEN[land.WOODY_WETLAND]}
_WITHERED = {
    land.CORN: (5.0, 7.0, 10.9, 14.0, 19.1, 24.8, 28.1, 30.3, 31.9, 33.6, 34.8, 25.2),
    land.SOYBEANS: (5.6, 8.0, 13.4, 16.5, 22.8, 28.6, 31.9, 34.1, 35.8, 37.4, 36.4, 26.2),
    land.COTTON: (8.0, 10.0, 13.6, 15.7, 19.7, 25.3, 28.6, 30.8, 32.5, 34.1, 33.7, 25.2),
    land.RICE: (4.6, 7.0, 12.4, 14.4, 20.1, 29.2, 33.0, 35.8, 37.4, 38.5, 31.6, 20.5),
    land.WHEAT: (6.2, 8.6, 13.6, 17.9, 22.8, 28.6, 31.9, 34.7, 36.3, 38.0, 38.5, 27.8),
    land.WOODY_WETLAND: (3.2, 4.2, 6.4, 7.2, 10.6, 16.0, 18.7, 20.9, 22.6, 23.7, 23.5, 14.2),
    land.GRASS: (4.8, 6.6, 9.9, 12.2, 16.4, 22.6, 25.9, 28.1, 29.7, 31.4, 34.8, 24.2),
}
# How much darker wet soil is, for each band: water absorbs most in the shortwave infrared.
_WETTING = np.array([0.38, 0.40, 0.41, 0.42, 0.42, 0.42, 0.42, 0.42, 0.42, 0.44, 0.52, 0.58], np.float32)

INFRARED = np.array([False] * 5 + [True] * 5 + [False] * 2)  # bands in which leaves transmit light
EXTINCTION, EXTINCTION_INFRARED = 0.82, 0.54


def ground(name: str) -> np.ndarray:
    """(12,) reflectance 0-1 of bare ground or water."""
    return np.array(_GROUND[name], np.float32) / 100


def green(code: int) -> np.ndarray:
    """(12,) reflectance 0-1 of a dense green canopy of a CDL class."""
    return np.array(_GREEN.get(code, _GREEN[land.GRASS]), np.float32) / 100


def withered(code: int) -> np.ndarray:
    """(12,) reflectance 0-1 of a dense ripe or withered canopy of a CDL class."""
    fallback = {land.WHEAT_SOY: land.SOYBEANS, land.PEANUTS: land.SOYBEANS, land.SORGHUM: land.CORN}
    fallback |= {land.PECANS: land.WOODY_WETLAND, land.DECIDUOUS: land.WOODY_WETLAND}
    return np.array(_WITHERED.get(fallback.get(code, code), _WITHERED[land.GRASS]), np.float32) / 100


def soil(clay: np.ndarray, moisture: np.ndarray, residue: np.ndarray) -> np.ndarray:
    """Reflectance of soils between silt and clay, dry and wet, bare and covered with straw.

    Args:
        clay, moisture, residue: (U,) 0-1.

    Returns:
        (U, 12) float32 reflectance.
    """
    bare = ground("silt") + clay[:, None] * (ground("clay") - ground("silt"))
    bare = bare * (1 - moisture[:, None] * _WETTING)
    straw = ground("residue") * (1 - 0.6 * moisture[:, None] * _WETTING)
    return (bare + residue[:, None] * (straw - bare)).astype(np.float32)


def mix(
    band: int, shows: np.ndarray, below: np.ndarray, fresh: np.ndarray, dry: np.ndarray, greenness: np.ndarray
) -> np.ndarray:
    """Reflectance of a pixel in one band.

    Args:
        band: Column of the spectra.
        shows: (2, …) share of the ground that is visible through the canopy: in other bands, in the near infrared.
        below, fresh, dry: (…) reflectance of ground, green canopy, withered canopy.
        greenness: (…) 1 green to 0 withered.

    Returns:
        (…) float32 reflectance.
    """
    canopy = dry + greenness * (fresh - dry)
    return canopy + shows[int(INFRARED[band])] * (below - canopy)
