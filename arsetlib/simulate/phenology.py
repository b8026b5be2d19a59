"""How each unit looks on each day of a year: leaf area, greenness, soil, water.

The leaf area of a crop rises and falls, counted from its planting date. Dates, vigour and the speed of ripening
differ by field and by year, which makes the classes overlap. Days are days of the year, 1 = 1 January.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from arsetlib import seeds
from arsetlib.simulate import landscape as land
from arsetlib.simulate import spectra

SHIFTS = np.arange(-9, 10)  # days by which parts of a field are late
NEVER = 999.0


@dataclass(frozen=True)
class Crop:
    """Calendar of a crop, days from planting; spreads are standard deviations between fields.

    Attributes:
        planted, spread: Day of the year of planting, and its spread.
        rise, pace: Day with half of the leaf area, and the time constant of the rise.
        ripe, ripe_spread, fade: Day with half of the green, its spread, and the time constant of ripening.
        harvest: Day of the harvest.
        leaf: Largest leaf area index.
    """

    planted: float
    spread: float
    rise: float
    pace: float
    ripe: float
    ripe_spread: float
    fade: float
    harvest: float
    leaf: float


CROPS = {
    land.CORN: Crop(96, 9, 47, 7.5, 115, 5, 6.0, 144, 4.6),
    land.SOYBEANS: Crop(124, 14, 46, 8.5, 118, 6, 5.5, 139, 5.0),
    land.COTTON: Crop(129, 8, 61, 10.0, 141, 6, 4.5, 161, 4.0),
    land.RICE: Crop(110, 11, 58, 8.5, 116, 5, 6.5, 138, 4.7),
    land.WHEAT_SOY: Crop(161, 6, 42, 8.0, 107, 5, 5.0, 126, 4.3),
    land.SORGHUM: Crop(116, 11, 46, 8.0, 104, 6, 7.0, 128, 3.7),
    land.PEANUTS: Crop(134, 9, 50, 10.0, 138, 6, 9.0, 147, 3.9),
    land.SWEET_POTATOES: Crop(152, 12, 46, 9.0, 122, 7, 8.0, 128, 3.6),
    land.FALLOW: Crop(135, 20, 45, 16.0, 150, 15, 15.0, 260, 1.3),
    land.WHEAT: Crop(160, 12, 55, 18.0, 130, 15, 15.0, 260, 1.1),
}
# Perennial plants: leaf area in winter and at its peak, days of half rise and half fall, time constant.
STANDING = {
    land.HAY: (0.8, 3.0, 78, 312, 12),
    land.GRASS: (0.9, 2.6, 76, 310, 14),
    land.PECANS: (0.7, 2.6, 104, 305, 7),
    land.DECIDUOUS: (0.6, 4.4, 92, 308, 7),
    land.WOODY_WETLAND: (0.6, 4.0, 96, 306, 8),
    land.MARSH: (0.7, 2.6, 96, 290, 12),
    land.OPEN_SPACE: (0.7, 2.0, 80, 310, 14),
    land.LOW: (0.4, 1.1, 84, 308, 12),
    land.MEDIUM: (0.2, 0.55, 84, 308, 12),
    land.HIGH: (0.08, 0.2, 84, 308, 12),
}
UNDER = {  # the ground below the plants, where it is not the soil of a field
    land.WATER: "river",
    land.STILL: "pond",
    land.PONDS: "pond",
    land.SAND: "sand",
    land.OPEN_SPACE: "litter",
    land.LOW: "built",
    land.MEDIUM: "built",
    land.HIGH: "built",
    land.WOODY_WETLAND: "litter",
    land.DECIDUOUS: "litter",
    land.MARSH: "litter",
}


@dataclass(frozen=True)
class CanopyState:
    """Plants and ground of all units on one day.

    Attributes:
        leaf: (U, S) float32, leaf area index, for each shift in ``SHIFTS``.
        greenness: (U, S) float32, 1 green to 0 withered.
        below, fresh, dry: (U, 12) float32, reflectance of the ground, of green and of withered canopy.
    """

    leaf: np.ndarray
    greenness: np.ndarray
    below: np.ndarray
    fresh: np.ndarray
    dry: np.ndarray


class Phenology:
    """The calendar of every unit in one year; ``canopy(day)`` gives plants and ground on a day.

    The last unit is not in the landscape: it is the grass of turn rows and ditches.
    """

    def __init__(self, landscape: land.Landscape, seed: int, year: int):
        self.code = np.append(landscape.codes(seed, year), land.GRASS)
        self.clay = np.append(landscape.clay, np.float32(0.5))
        rng = seeds.generator(seed, "season", year)
        self._weather(rng, year)
        self._calendar(rng)
        self._winter(rng)
        self._colours(rng)

    def _weather(self, rng, year):
        """Daily soil moisture of the region, 0-1, and how late and how good for growth the year is."""
        self.late = rng.uniform(-3.5, 3.5) + (3.0 if year == 2019 else 0.0)  # 2019 had a wet spring
        self.good = rng.uniform(0.95, 1.05)
        days = np.arange(368)
        wet = rng.random(368) < 0.27 + 0.10 * np.cos(2 * np.pi * (days - 40) / 365)
        rain = np.where(wet, rng.gamma(1.0, 0.5, 368), 0)
        self.moisture = np.zeros(368, np.float32)
        for day in range(1, 368):
            warmth = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 15) / 365)
            kept = self.moisture[day - 1] * (0.88 - 0.18 * warmth)
            self.moisture[day] = min(1.0, kept + rain[day])

    def _calendar(self, rng):
        n = len(self.code)
        p = {k: np.full(n, NEVER, np.float32) for k in ("planted", "rise", "ripe", "harvest")}
        p |= {k: np.ones(n, np.float32) for k in ("pace", "fade")}
        p["leaf"] = np.zeros(n, np.float32)
        chance = rng.standard_normal((n, 5)).clip(-2.2, 2.2)
        for code, c in CROPS.items():
            u = np.flatnonzero(self.code == code)
            z = chance[u]
            planted = c.planted + self.late * 0.8 + c.spread * z[:, 0]
            # Late fields ripen faster: they catch up a third of the delay.
            ripe = planted + c.ripe - 0.3 * c.spread * z[:, 0] + c.ripe_spread * z[:, 1]
            p["planted"][u] = planted
            p["rise"][u] = planted + c.rise - 0.15 * c.spread * z[:, 0] + 3.5 * z[:, 2]
            p["pace"][u] = c.pace * np.exp(0.18 * z[:, 3])
            p["ripe"][u], p["fade"][u] = ripe, c.fade * np.exp(0.2 * z[:, 2])
            p["harvest"][u] = ripe + (c.harvest - c.ripe) + np.abs(5 * z[:, 3])
            p["leaf"][u] = c.leaf * self.good * np.exp(0.15 * z[:, 4])
        self.p = p

    def _winter(self, rng):
        """Weeds or winter wheat before the crop, straw, tillage, and fields that are flooded for ducks."""
        n, p = len(self.code), self.p
        wheat = np.isin(self.code, (land.WHEAT, land.WHEAT_SOY))
        field = np.isin(self.code, list(CROPS))
        z = rng.standard_normal((n, 4)).clip(-2.2, 2.2)
        self.cool_leaf = np.where(wheat, 3.9 * np.exp(0.15 * z[:, 0]), rng.gamma(1.3, 0.55, n) * field)
        self.cool_rise = np.where(wheat, 58 + 6 * z[:, 1], 42 + 14 * z[:, 1])
        burnt = np.minimum(p["planted"] - 16 + 8 * z[:, 2], 140)
        self.cool_ripe = np.where(wheat, 131 + self.late * 0.5 + 4 * z[:, 2], NEVER)
        self.cool_end = np.where(wheat, 154 + self.late * 0.5 + 4 * z[:, 3], burnt)
        self.straw = np.where(rng.random(n) < 0.45, rng.uniform(0.2, 0.55, n), 0.08)  # left by last year's crop
        self.tilled = p["harvest"] + np.where(rng.random(n) < 0.5, rng.uniform(8, 50, n), NEVER)
        ducks = (rng.random(n) < 0.22) & np.isin(self.code, (land.RICE, land.SOYBEANS)) & (self.clay > 0.45)
        self.duck_end = np.where(ducks, rng.uniform(35, 70, n), -NEVER)
        self.duck_start = np.where(ducks, rng.uniform(312, 345, n), NEVER)
        rice = self.code == land.RICE
        self.flooded = np.where(rice, p["planted"] + 34 + 5 * z[:, 3], NEVER)
        self.drained = np.where(rice, p["ripe"] - 4 + 4 * z[:, 0], NEVER)
        # Some rice is sown into water: it is flooded earlier.
        early = rice & (rng.random(n) < 0.25)
        self.flooded = np.where(early, p["planted"] + 8, self.flooded)

    def _colours(self, rng):
        """Leaf colour and soil of each unit: that of its class, with small differences."""
        n = len(self.code)
        z = rng.standard_normal((n, 5)).clip(-2.2, 2.2)
        chlorophyll = np.array([0.7, 0.8, 1.0, 0.9, 0.9, 0.25, 0.05, 0, 0, 0, 0, 0])
        infrared = np.array([0, 0, 0, 0, 0.2, 0.7, 1, 1, 1, 1, 0.3, 0.1])
        dryness = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.9, 1])
        shape = np.exp(-0.10 * z[:, :1] * chlorophyll + 0.055 * z[:, 1:2] * infrared + 0.09 * z[:, 2:3] * dryness)
        fade = np.exp(0.12 * z[:, 3:4])
        wheat = np.isin(self.code, (land.WHEAT, land.WHEAT_SOY))
        field = np.isin(self.code, list(CROPS))
        before = np.where(wheat, land.WHEAT, np.where(field, land.GRASS, self.code))  # outside the season
        self.fresh, self.fresh_before = (
            (np.stack([spectra.green(int(c)) for c in codes]) * shape).astype(np.float32)
            for codes in (self.code, before)
        )
        self.dry, self.dry_before = (
            (np.stack([spectra.withered(int(c)) for c in codes]) * fade).astype(np.float32)
            for codes in (self.code, before)
        )
        self.tone = np.exp(0.18 * z[:, 4]).astype(np.float32)

    def canopy(self, day: int) -> CanopyState:
        """Plants and ground of all units on a day of the year."""
        leaf, greenness = self._leaves(day)
        grown = ((day > self.p["planted"] + 6) & (day < self.p["harvest"]))[:, None]
        fresh = np.where(grown, self.fresh, self.fresh_before)
        dry = np.where(grown, self.dry, self.dry_before)
        return CanopyState(leaf, greenness, self._below(day), fresh, dry)

    def _leaves(self, day):
        p = self.p
        t = (day - SHIFTS)[None, :].astype(np.float32)  # (1, S)
        col = {k: v[:, None] for k, v in p.items()}
        stands = day < p["harvest"][:, None]
        warm = col["leaf"] * _rise(t, col["rise"], col["pace"]) * (t > col["planted"])
        ripe = 1 - _rise(t, col["ripe"], col["fade"])
        warm = warm * (0.35 + 0.65 * (1 - _rise(t, col["ripe"] + 9, col["fade"]))) * stands
        # Weeds until they are removed before planting; wheat until it is harvested; weeds again in autumn.
        cool = self.cool_leaf[:, None] * _rise(t, self.cool_rise[:, None], np.float32(11))
        cool = cool * (1 - _rise(t, self.cool_end[:, None], np.float32(2.2)))
        cool_ripe = 1 - _rise(t, self.cool_ripe[:, None], np.float32(5))
        later = 0.5 * self.cool_leaf[:, None] * _rise(t, col["harvest"] + 45, np.float32(11))
        cool_green = cool * cool_ripe + later
        leaf = warm + cool + later
        greenness = (warm * ripe + cool_green) / np.maximum(leaf, 1e-6)
        for code, (winter, peak, up, down, pace) in STANDING.items():
            u = self.code == code
            year = _rise(t, np.float32(up), np.float32(pace)) - _rise(t, np.float32(down), np.float32(pace))
            mown = 0.62 + 0.38 * ((day + 13 * np.arange(u.sum())) % 46 / 46)[:, None] if code == land.HAY else 1.0
            leaf[u] = (winter + (peak - winter) * year) * mown
            greenness[u] = 0.35 + 0.65 * year
        return leaf.astype(np.float32), np.clip(greenness, 0, 1).astype(np.float32)

    def _below(self, day):
        wet = np.clip(self.moisture[day] * (0.75 + 0.5 * self.clay), 0, 1)
        after = day >= self.p["harvest"]
        straw = np.where(day < self.p["planted"] - 12, self.straw, 0.4 * self.straw)
        straw = np.where(after, 0.75 * np.exp(-(day - np.minimum(self.p["harvest"], day)) / 110), straw)
        straw = np.where(day >= self.tilled, 0.10, straw)
        straw = np.where((self.cool_ripe < NEVER) & (day > self.cool_end) & ~after, 0.6, straw)
        below = spectra.soil(self.clay, wet, straw) * self.tone[:, None]
        water = ((day >= self.flooded) & (day < self.drained)) * 0.93
        water = np.where((day < self.duck_end) | (day > self.duck_start), 0.85, water).astype(np.float32)[:, None]
        below = below + water * (spectra.ground("flood") * self.tone[:, None] ** 2 - below)
        for code, name in UNDER.items():
            u = self.code == code
            below[u] = spectra.ground(name) * self.tone[u, None] ** (0.5 if "built" in name else 0.3)
        return below.astype(np.float32)


def _rise(t, middle, pace):
    return 1 / (1 + np.exp(np.clip(-(t - middle) / pace, -30, 30)))


class Ground:
    """Reflectance of the landscape without the atmosphere, one day at a time."""

    def __init__(self, landscape: land.Landscape, seed: int, year: int):
        self.phenology = Phenology(landscape, seed, year)
        unit = np.where(landscape.strip, len(landscape.code), landscape.unit)
        shift = np.rint(landscape.lateness).astype(np.int32) - SHIFTS[0]
        self.unit = unit.astype(np.int32)
        self.entry = self.unit * len(SHIFTS) + shift
        self.vigour = landscape.vigour
        rice = (self.phenology.code == land.RICE)[unit]
        self.brightness = landscape.brightness * (1 + 0.35 * landscape.contour * rice)

    def reflectance(self, day: int, rows: slice = slice(None)) -> np.ndarray:
        """(12, rows, columns) float32 reflectance 0-1 at 10 m on a day of the year."""
        canopy = self.phenology.canopy(day)
        unit, entry = self.unit[rows], self.entry[rows]
        leaf = canopy.leaf.ravel()[entry] * self.vigour[rows]
        greenness = canopy.greenness.ravel()[entry]
        shows = np.exp(np.float32(-spectra.EXTINCTION) * leaf), np.exp(np.float32(-spectra.EXTINCTION_INFRARED) * leaf)
        out = np.empty((12, *unit.shape), np.float32)
        for band in range(12):
            below = np.ascontiguousarray(canopy.below[:, band])[unit] * self.brightness[rows]
            fresh = np.ascontiguousarray(canopy.fresh[:, band])[unit]
            dry = np.ascontiguousarray(canopy.dry[:, band])[unit]
            out[band] = spectra.mix(band, shows, below, fresh, dry, greenness)
        return out


@lru_cache(maxsize=3)
def ground(seed: int, scale: float, year: int) -> Ground:
    """The ground of a year, cached for the next overpass."""
    return Ground(land.build(seed, scale), seed, year)
