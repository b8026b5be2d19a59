"""Between ground and sensor: overpasses, clouds and their shadows, haze, and the scene classification.

Two satellites fly two overlapping orbits: where the swaths overlap, a place is seen every two or three days. The scene
classification (SCL) is made from the simulated reflectance, with the mistakes of real ones: thin cloud is missed, crops
with few leaves are classified as bare soil, bright roofs as cloud, bright cloud as snow, flooded rice as water, and on
some dates the shadows of clouds as what lies in them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from arsetlib import seeds
from arsetlib.simulate.landscape import Region
from arsetlib.simulate.noise import smooth

LATITUDE = np.deg2rad(33.6)
# Relative orbit: (day of the cycle of Sentinel-2A, UTC second of the overpass). Sentinel-2B passes five days later.
ORBITS = {26: (1, 60_590), 126: (8, 61_190)}
_CLOUD = np.array([72, 70, 68, 68, 69, 70, 71, 72, 73, 66, 44, 33], np.float32) / 100
_HAZE = np.array([1.25, 1.1, 0.95, 0.72, 0.64, 0.56, 0.5, 0.45, 0.43, 0.38, 0.16, 0.09], np.float32)
_SKYLIGHT = np.array([0.62, 0.58, 0.5, 0.43, 0.41, 0.38, 0.36, 0.34, 0.33, 0.33, 0.25, 0.22], np.float32)
# The correction takes the haze from dark vegetation, whose blue it sets to about 0.02: it never makes that much darker.
# Source: Main-Knorn et al. (2017), "Sen2Cor for Sentinel-2", Proc. SPIE 10427.
OVERCORRECTED = -0.006
# Standard deviation of the brightness error that neighbours share on a date, a factor on all bands. Measured on the
# real images of Romania (lab real_place) as in Vermote et al. (2009): from May to September a clear near infrared
# deviates from the line between its neighbours in time by 0.11 (share of all of 1 km, robust); the delta without this
# by 0.07, with it by 0.09.
BRIGHTNESS = 0.07
# Of the dark pixels there (near infrared < 0.6 of the pixel's median) from May to September, SCL calls three quarters
# vegetation, not shadow. Here it misses all shadows on half of the dates.
SHADOWS_MISSED = 0.5
# Of the bright pixels there from May to September (blue > 0.25), SCL calls 2.3 % snow: a normal variable is over 2.
SNOW_ABOVE = 2.0
_WAVELENGTH = np.array([443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1610, 2190], np.float32)

SATURATED, DARK, SHADOW, VEGETATION, BARE, WATER, UNCLASSIFIED, MEDIUM, HIGH, CIRRUS, SNOW = range(1, 12)


@dataclass(frozen=True)
class Overpass:
    """One satellite passing over the region.

    Attributes:
        when: UTC, to the second.
        satellite: ``"A"`` or ``"B"``.
        orbit: Relative orbit.
    """

    when: datetime
    satellite: str
    orbit: int

    @property
    def name(self) -> str:
        """Satellite, date and orbit."""
        return f"S2{self.satellite}-{self.when:%Y%m%d}-R{self.orbit:03d}"

    @property
    def day(self) -> int:
        """Day of the year, 1 = 1 January."""
        return self.when.timetuple().tm_yday

    def sun(self) -> tuple[float, float]:
        """Azimuth (from north, clockwise) and elevation of the sun, degrees."""
        tilt = np.deg2rad(-23.44) * np.cos(2 * np.pi * (self.day + 10) / 365.25)
        hour = np.deg2rad(15 * (self.when.hour + self.when.minute / 60 - 12) - 90.85)
        height = np.arcsin(np.sin(LATITUDE) * np.sin(tilt) + np.cos(LATITUDE) * np.cos(tilt) * np.cos(hour))
        east = -np.cos(tilt) * np.sin(hour)
        north = np.sin(tilt) * np.cos(LATITUDE) - np.cos(tilt) * np.sin(LATITUDE) * np.cos(hour)
        return float(np.rad2deg(np.arctan2(east, north)) % 360), float(np.rad2deg(height))

    def swath(self, region: Region) -> tuple[float, float]:
        """The edge of the swath: its position in the region's middle row, and how far it moves to the side.

        Both are shares of the region's width. Orbit 26 sees the part east of its edge, orbit 126 the part west of it.
        """
        drift = 0.02 * np.sin(2.4 * self.when.toordinal())
        return (0.10 if self.orbit == 26 else 0.92) + float(drift), 0.21 * region.height / region.width

    def seen(self, region: Region, step: int = 1) -> np.ndarray:
        """(H/step, W/step) bool: the pixels of the region that are in the swath."""
        height, width = (n // step for n in region.shape)
        x = ((np.arange(width) + 0.5) / width)[None, :]
        y = ((np.arange(height) + 0.5) / height)[:, None]
        edge, slant = self.swath(region)
        edge = edge + slant * (0.5 - y)
        return x >= edge if self.orbit == 26 else x < edge


def overpasses(seed: int, years: Collection[int]) -> list[Overpass]:
    """All overpasses of the years, in order of time; a few are missing, as in the archive."""
    rng = seeds.generator(seed, "passes")
    found = []
    first = date(2017, 1, 1)
    for orbit, (cycle_day, second) in ORBITS.items():
        for satellite, late in (("A", 0), ("B", 5)):
            day = first + timedelta(days=cycle_day + late)
            while day.year <= 2035:
                jitter = int(rng.integers(-9, 10))
                lost = rng.random() < 0.03
                if day.year in years and not lost:
                    when = datetime(day.year, day.month, day.day) + timedelta(seconds=second + jitter)
                    found.append(Overpass(when, satellite, orbit))
                day += timedelta(days=10)
    return sorted(found, key=lambda p: (p.when, p.satellite))


@dataclass(frozen=True)
class Sky:
    """Clouds and haze of one overpass.

    Attributes:
        cloud: (h, w) float32 at 20 m, 0-1, share of the ground's light that clouds hide.
        shade: (h, w) float32 at 20 m, 0-1, share of the sunlight that clouds block.
        whiteness: (h, w) float32 at 20 m, brightness of cloud tops.
        added: (12,) float32, reflectance that haze adds.
        gain: (12,) float32, factor of the view angle and of errors of the atmospheric correction.
        haze: (h, w) float32 at 20 m, thickness of haze relative to its mean.
        brightness: (h, w) float32 at 20 m, factor of the error that neighbours share.
    """

    cloud: np.ndarray
    shade: np.ndarray
    whiteness: np.ndarray
    added: np.ndarray
    gain: np.ndarray
    haze: np.ndarray
    brightness: np.ndarray

    def through(self, ground: np.ndarray, band: int, rows: slice) -> np.ndarray:
        """Reflectance of one band at 10 m after the atmospheric correction; ``rows`` are rows at 20 m."""
        cloud = _double(self.cloud[rows])
        light = self.gain[band] * self.brightness[rows] * (1 - self.shade[rows] * (1 - _SKYLIGHT[band]))
        out = ground * _double(light)
        out += _double(self.haze[rows]) * self.added[band]
        out += cloud * (_double(self.whiteness[rows]) * _CLOUD[band] - out)
        return out


def _double(field: np.ndarray) -> np.ndarray:
    return field.repeat(2, axis=0).repeat(2, axis=1)


def sky(seed: int, region: Region, overpass: Overpass) -> Sky:
    """Clouds, shadows and haze of an overpass."""
    rng = seeds.generator(seed, "sky", overpass.name)
    shape = tuple(n // 2 for n in region.shape)
    thick, low = _thickness(rng, shape, overpass.day)
    veil = _veil(rng, shape)
    cloud = np.minimum(1, 1.03 * (1 - np.exp(-(thick + veil))))
    shade = _shadow(1 - np.exp(-1.6 * thick), overpass, low)
    # Cloud tops in steps of a hundredth, because they need less space on disk.
    whiteness = np.rint(100 + 7 * smooth(rng, shape, 90, 1) + (12 if low else 0)) / 100
    gain, added, haze = _air(rng, shape, overpass)
    brightness = np.exp(np.float32(BRIGHTNESS) * smooth(rng, shape, 50, 3))
    return Sky(cloud, shade, np.clip(whiteness, 0.6, 1.35).astype(np.float32), added, gain, haze, brightness)


def _thickness(rng, shape, day):
    """Optical thickness of clouds, and whether they are low cumulus (sharp shadows) or a high layer."""
    # Winter is cloudy; late summer and autumn are clear.
    cloudy = 0.42 + 0.12 * np.cos(2 * np.pi * (day - 25) / 365)
    kind = rng.random()
    if kind < 0.62 * cloudy:
        cover = rng.uniform(0.93, 1.0)
    elif kind < 0.62 * cloudy + 0.36:
        cover = rng.beta(1.1, 1.4)
    else:
        cover = 0.02 * rng.random() * (rng.random() < 0.4)
    low = bool(rng.random() < 0.6)
    cell = rng.uniform(28, 55) if low else rng.uniform(80, 160)
    field = smooth(rng, shape, cell, 4 if low else 3) + 0.8 * smooth(rng, shape, 220, 1)
    if cover >= 0.999 or cover <= 1e-3:
        return np.full(shape, 9.0 * (cover > 0.5), np.float32), low
    sample = np.sort(field[::5, ::5], axis=None)
    edge = sample[int((1 - cover) * (len(sample) - 1))]
    steep = 4.5 if low else 2.5
    return np.clip((field - edge) * steep, 0, 9).astype(np.float32), low


def _veil(rng, shape):
    """Thin cirrus, which the classification often misses."""
    if rng.random() > 0.33:
        return np.float32(0)
    strength = rng.gamma(1.6, 0.055)
    return (np.clip(0.6 + 0.8 * smooth(rng, shape, 80, 2), 0, 3) * strength).astype(np.float32)


def _shadow(solid, overpass, low):
    """Clouds moved away from the sun, on the 20 m grid."""
    azimuth, elevation = overpass.sun()
    reach = (1100 if low else 2400) / np.tan(np.deg2rad(elevation)) / 20
    down = round(reach * np.cos(np.deg2rad(azimuth)))
    right = round(-reach * np.sin(np.deg2rad(azimuth)))
    # Outside the region the sky is as at its edge.
    rows, columns = ((np.arange(n) - by).clip(0, n - 1) for n, by in zip(solid.shape, (down, right), strict=True))
    return solid[rows[:, None], columns] * (1 - solid)


def _air(rng, shape, overpass):
    """Errors of the atmospheric correction (too little or too much haze removed), and the view angle."""
    left = max(rng.normal(0.006, 0.014), OVERCORRECTED)
    added = left * _HAZE + 0.0015 * rng.standard_normal(12)
    side = 1 if overpass.orbit == 26 else -1
    slant = side * np.interp(_WAVELENGTH, [443, 740, 2190], [0.045, 0.03, 0.04])
    gain = 1 + slant + 0.025 * rng.standard_normal() + 0.012 * rng.standard_normal(12)
    haze = 1 + 0.35 * smooth(rng, shape, 150, 1)
    return gain.astype(np.float32), added.astype(np.float32), haze.astype(np.float32)


def classify(seed: int, overpass: Overpass, above: Sky, seen: np.ndarray, bands: dict[str, np.ndarray]) -> np.ndarray:
    """The scene classification of an overpass.

    Args:
        seed: Seed of the simulation.
        overpass: The overpass.
        above: Its sky.
        seen: (h, w) bool, pixels in the swath.
        bands: Reflectance at 20 m after the correction: blue, green, red, nir, swir16, swir22.

    Returns:
        (h, w) uint8, classes 0-11.
    """
    rng = seeds.generator(seed, "scl", overpass.name)
    shape = seen.shape
    blue, green, red, nir, swir = (bands[k] for k in ("blue", "green", "red", "nir", "swir16"))
    ndvi = (nir - red) / np.maximum(nir + red, 1e-3)
    ndwi = (green - nir) / np.maximum(green + nir, 1e-3)
    wobble = smooth(rng, shape, 5, 2)
    scl = np.full(shape, BARE, np.uint8)
    scl[(ndvi < 0.27) & (ndvi > 0.20) & (wobble > 0.4)] = UNCLASSIFIED
    # Young and ripe crops are classified as bare soil.
    scl[(ndvi > 0.42 + 0.05 * wobble) & (nir > 0.12)] = VEGETATION
    scl[(nir < 0.10) & (swir < 0.14)] = DARK
    scl[((ndwi > 0.0) | ((ndvi < 0.12) & (nir < 0.09))) & (swir < 0.11 + 0.01 * wobble)] = WATER
    high_veil, missed = rng.random(2) < (0.5, SHADOWS_MISSED)
    if not missed:
        scl[(above.shade * (1 - above.cloud) > 0.38 + 0.16 * wobble) & (nir < 0.24)] = SHADOW
    # The detected cloud cover: less than an eighth is mostly missed.
    detected = above.cloud * np.exp(0.30 * wobble)
    scl[detected > 0.13] = UNCLASSIFIED
    scl[(detected > 0.09) & (detected < 0.32) & high_veil] = CIRRUS
    scl[detected > 0.32] = MEDIUM
    scl[detected > 0.62] = HIGH
    scl[(detected > 0.9) & (wobble > SNOW_ABOVE)] = SNOW
    # Bright roofs and sand bars are sometimes classified as cloud.
    scl[(blue > 0.19) & (ndvi < 0.25) & (wobble > 0.2) & (detected <= 0.13)] = MEDIUM
    scl[bands["swir22"] > 1.4] = SATURATED
    scl[~seen] = 0
    return scl
