"""The ground of the simulated delta: the map of its units, and the crop of each field in each year.

A river with its levee and flooded woods, an oxbow lake, a bayou, square miles cut into fields by roads and ditches,
centre pivots, catfish ponds, a town, farmsteads. Every pixel belongs to one *unit* (a field, a wood, a street block).
Units do not move; the crops of a field follow a rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pyproj import Transformer
from scipy import ndimage

from arsetlib import seeds
from arsetlib.simulate.noise import smooth

UTM = "EPSG:32615"
ALBERS = "EPSG:5070"
SEAM = 699_960.0  # easting at which the eastern tile begins, as MGRS tile 15SYT does
MIDDLE = 3_720_000.0  # northing of the region's middle: Bolivar County, Mississippi
CDL_ORIGIN = (-2_356_095.0, 3_172_605.0)  # upper left corner of the national Cropland Data Layer
MILE = 1609.344
TILT = np.deg2rad(-1.2)  # true north against the UTM grid's north

# Units that do not rotate: CDL codes.
WATER, OPEN_SPACE, LOW, MEDIUM, HIGH = 111, 121, 122, 123, 124
SAND, DECIDUOUS, GRASS, WOODY_WETLAND, MARSH, PONDS = 131, 141, 176, 190, 195, 92
STILL = -WATER  # lakes and creeks: clearer than the river, but with the same label

# Crops: CDL codes.
CORN, COTTON, RICE, SORGHUM, SOYBEANS, PEANUTS, WHEAT, WHEAT_SOY = 1, 2, 3, 4, 5, 10, 24, 26
HAY, SWEET_POTATOES, FALLOW, PECANS = 37, 46, 61, 74

# Rotations: share of the cropland, and the crops of successive years. The first row grows on the heaviest clay.
ROTATIONS = (
    (0.20, (RICE, SOYBEANS)),
    (0.05, (RICE, RICE, SOYBEANS)),
    (0.05, (SOYBEANS, FALLOW, SOYBEANS, SOYBEANS)),
    (0.14, (SOYBEANS,)),
    (0.05, (WHEAT_SOY, SOYBEANS, CORN)),
    (0.015, (SORGHUM, SOYBEANS)),
    (0.02, (HAY,)),
    (0.19, (CORN, SOYBEANS)),
    (0.01, (WHEAT, SOYBEANS, WHEAT)),
    (0.06, (CORN, COTTON)),
    (0.15, (COTTON,)),
    (0.015, (PECANS,)),
    (0.02, (PEANUTS, COTTON, PEANUTS)),
    (0.015, (SWEET_POTATOES, COTTON)),
)


@dataclass(frozen=True)
class Region:
    """The rectangle of ground, on the grid of the scenes: 10 m pixels in UTM zone 15 north.

    Attributes:
        west, north: Upper left corner, m.
        width, height: Size, m; multiples of 120.
        feature: Size of fields, roads and rivers relative to reality; below 1 only in small regions, which would
            otherwise have only one or two fields.
    """

    west: float
    north: float
    width: float
    height: float
    feature: float

    @classmethod
    def of(cls, scale: float) -> Region:
        """The region whose area is ``scale`` × 5.3 km × 4.2 km."""
        side = np.sqrt(scale)
        width = max(8, round(5280 * side / 120)) * 120.0
        height = max(8, round(4200 * side / 120)) * 120.0
        west = SEAM - 60 * round(width / 120)
        north = MIDDLE + 60 * round(height / 120)
        return cls(west, north, width, height, float(min(1.0, max(0.4, scale**0.25))))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of 10 m pixels."""
        return int(self.height // 10), int(self.width // 10)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        return self.west, self.north - self.height, self.west + self.width, self.north

    def label_grid(self) -> tuple[float, float, int, int]:
        """West, north, rows and columns of the 30 m label grid around the region, aligned with the CDL."""
        x, y = _outline(self.bounds)
        x0, y0 = CDL_ORIGIN
        west = x0 + 30 * np.floor((x.min() - x0) / 30)
        north = y0 - 30 * np.floor((y0 - y.max()) / 30)
        columns = int(np.ceil((x.max() - west) / 30))
        rows = int(np.ceil((north - y.min()) / 30))
        return float(west), float(north), rows, columns

    def inner_box(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the largest box of the label grid that is inside the region."""
        x, y = _outline(self.bounds)
        n = len(x) // 4
        south, east, north, west = y[:n].max(), x[n : 2 * n].min(), y[2 * n : 3 * n].min(), x[3 * n :].max()
        return float(west + 45), float(south + 45), float(east - 45), float(north - 45)


def _outline(bounds):
    west, south, east, north = bounds
    t = np.linspace(0, 1, 50)
    x = np.concatenate([west + (east - west) * t, 0 * t + east, east + (west - east) * t, 0 * t + west])
    y = np.concatenate([0 * t + south, south + (north - south) * t, 0 * t + north, north + (south - north) * t])
    return Transformer.from_crs(UTM, ALBERS, always_xy=True).transform(x, y)


@dataclass(frozen=True)
class Landscape:
    """The map of the units, on the region's 10 m grid.

    Attributes:
        region: Its rectangle.
        unit: (H, W) int32, unit of each pixel.
        code: (U,) int16, CDL code of units that never change; 0 for fields, which rotate.
        clay: (U,) float32, 0 sandy levee to 1 backswamp clay.
        strip: (H, W) bool, turn rows and ditches between fields: grass, too narrow for the label grid.
        vigour: (H, W) float32, growth relative to the mean of the unit.
        lateness: (H, W) float32, delay against the mean of the unit, days.
        brightness: (H, W) float32, brightness of soil or roof relative to the mean of the unit.
        contour: (H, W) float32, 0-1: earth levees along the contours of a rice field.
    """

    region: Region
    unit: np.ndarray
    code: np.ndarray
    clay: np.ndarray
    strip: np.ndarray
    vigour: np.ndarray
    lateness: np.ndarray
    brightness: np.ndarray
    contour: np.ndarray

    def codes(self, seed: int, year: int) -> np.ndarray:
        """(U,) int16: the CDL code of each unit in a year."""
        return _rotate(self, seed, year)


class _Map:
    """A map of units; later ones cover earlier ones."""

    def __init__(self, shape):
        self.unit = np.zeros(shape, np.int32)
        self.code = [0]

    def lay(self, where: np.ndarray, code: int) -> None:
        """Add one unit where ``where`` is True."""
        self.unit[where] = len(self.code)
        self.code.append(code)

    def lay_many(self, key: np.ndarray, where: np.ndarray, codes) -> None:
        """Add one unit for each value of ``key`` where ``where`` is True; ``codes`` gets the sorted values."""
        values, index = np.unique(key[where], return_inverse=True)
        self.unit[where] = len(self.code) + index
        self.code.extend(codes(values))


@lru_cache(maxsize=2)
def build(seed: int, scale: float) -> Landscape:
    """The landscape of a seed: the same for every year and every process."""
    region = Region.of(scale)
    rng = seeds.generator(seed, "landscape")
    shape = region.shape
    f = region.feature
    # Distance from the region's centre, m; and along the axes of the land survey, which are tilted, miles.
    x = (np.arange(shape[1]) * 10 + 5 - region.width / 2)[None, :]
    y = (region.height / 2 - np.arange(shape[0]) * 10 - 5)[:, None]
    a = (x * np.cos(TILT) + y * np.sin(TILT)) / (MILE * f)
    b = (-x * np.sin(TILT) + y * np.cos(TILT)) / (MILE * f)
    low = smooth(rng, shape, 120 * f, 3)  # the higher, the lower and more clayey the ground
    ground = _Map(shape)
    edge = _fields(ground, rng, a, b, low, f)
    _ponds(ground, rng, a, b, f)
    _town(ground, rng, a, b, region)
    _farmsteads(ground, rng, a, b, f)
    _waters(ground, rng, x, y, low, region)
    unit, code = _renumber(ground)
    clay = ndimage.mean(low, unit, np.arange(len(code))).astype(np.float32)
    clay = 1 / (1 + np.exp(-2 * clay))
    fields = code[unit] == 0
    strip = fields & edge
    vigour, lateness, brightness = _within(rng, shape, low, code[unit], unit, f)
    contour = _contours(low, fields)
    return Landscape(region, unit, code, clay, strip, vigour, lateness, brightness, contour)


def _renumber(ground: _Map):
    values, unit = np.unique(ground.unit, return_inverse=True)
    return unit.reshape(ground.unit.shape).astype(np.int32), np.array(ground.code, np.int16)[values]


def _fields(ground, rng, a, b, low, f):
    """Square miles (sections) in four quarters, each cut into fields; returns the turn rows and ditches."""
    i, j = np.floor(a).astype(int), np.floor(b).astype(int)
    i0, j0 = i.min(), j.min()
    n = (int(i.max() - i0) + 1, int(j.max() - j0) + 1, 4)
    fa, fb = a - i, b - j
    # Quarter of the section, and the position in it (0-1).
    right, upper = fa > 0.5, fb > 0.5
    quarter = right + 2 * upper
    qa, qb = fa * 2 - right, fb * 2 - upper
    cut = rng.choice(7, n, p=[0.06, 0.13, 0.13, 0.34, 0.14, 0.10, 0.10])
    place = rng.uniform(0.42, 0.58, (*n, 2)).astype(np.float32)
    pivot = (cut == 0) & (rng.random(n) < 0.6)
    at = (i - i0, j - j0, quarter)
    kind = cut[at]
    pa, pb = place[at][..., 0], place[at][..., 1]
    columns = np.select([kind == 1, kind == 3, kind == 4, kind == 6], [qa > pa, qa > pa, qa * 3 // 1, qa * 4 // 1], 0)
    rows = np.select([kind == 2, kind == 3, kind == 5], [qb > pb, qb > pb, qb * 3 // 1], 0)
    half = np.select([kind == 4, kind == 6], [qb > pb, qb > pb], 0) * (rng.random(n) < 0.5)[at]
    part = (columns + 4 * rows + 16 * half).astype(np.int64)
    circle = pivot[at] & ((qa - 0.5) ** 2 + (qb - 0.5) ** 2 < 0.475**2)
    part = np.where(circle, 40, part)
    key = ((i - i0) * n[1] + (j - j0)) * 256 + quarter * 64 + part
    ground.lay_many(key, np.ones_like(key, bool), lambda values: [0] * len(values))
    edge = np.zeros(key.shape, bool)
    for axis in (0, 1):
        step = np.diff(key, axis=axis) != 0
        edge |= np.pad(step, [(0, 1) if k == axis else (0, 0) for k in (0, 1)])
    # The lowest quarters are woods.
    quarters = key // 64
    values, index = np.unique(quarters, return_inverse=True)
    index = index.reshape(key.shape)
    wetness = ndimage.mean(low, index, np.arange(len(values))) + 0.5 * rng.standard_normal(len(values))
    wooded = (wetness > np.quantile(wetness, 0.93))[index]
    ground.lay_many(quarters, wooded, lambda v: [WOODY_WETLAND] * len(v))
    # Roads between sections: every second one is wide enough for a label.
    near_a, near_b = np.abs(a - np.round(a)), np.abs(b - np.round(b))
    width = 11.0 / (MILE * f)
    ground.lay(np.broadcast_to((near_a < width) & (np.round(a) % 2 == 0), key.shape), LOW)
    ground.lay(np.broadcast_to((near_b < width) & (np.round(b) % 2 == 1), key.shape), OPEN_SPACE)
    return edge | (near_a < 0.8 * width) | (near_b < 0.8 * width)


def _ponds(ground, rng, a, b, f):
    """Catfish ponds: four by four in a quarter section."""
    for _ in range(max(1, round(np.ptp(a) * np.ptp(b) / 10))):
        ca, cb = np.floor(rng.uniform(a.min(), a.max()) * 2) / 2, np.floor(rng.uniform(b.min(), b.max()) * 2) / 2
        pa, pb = (a - ca) * 2, (b - cb) * 2
        inside = (pa > 0.03) & (pa < 0.97) & (pb > 0.03) & (pb < 0.97)
        dike = np.minimum(pa * 4 % 1, pb * 4 % 1) < 0.09
        ground.lay(inside & dike, GRASS)
        ground.lay_many((pa * 4 // 1 + 10 * (pb * 4 // 1)).astype(int), inside & ~dike, lambda v: [PONDS] * len(v))


def _town(ground, rng, a, b, region):
    """Towns at crossroads: streets and blocks, with gardens at the edge."""
    for k in range(max(1, round(region.width * region.height / 60e6))):
        ca, cb = (0, 1) if k == 0 else (rng.integers(a.min(), a.max()), rng.integers(b.min(), b.max()))
        if k == 0 and b.max() < 1.1:
            cb = 0
        da, db = (a - ca) * MILE * region.feature, (b - cb) * MILE * region.feature
        reach = 480 * region.feature * np.clip(1 + 0.2 * smooth(rng, region.shape, 25, 2), 0.4, 2)
        r = np.hypot(da / 1.25, db) / reach
        street = (np.minimum(np.abs(da) % 110, np.abs(db) % 110) < 11) & (r < 1)
        block = (da // 110 + 1000 * (db // 110)).astype(np.int64)
        dense = np.exp(-2.2 * r) + 0.12 * smooth(rng, region.shape, 11, 2)
        for code, low, high in ((OPEN_SPACE, -9, 0.22), (LOW, 0.22, 0.42), (MEDIUM, 0.42, 0.68), (HIGH, 0.68, 9)):
            where = (r < 1) & (dense >= low) & (dense < high)
            ground.lay_many(block, where, lambda v, code=code: [code] * len(v))
        ground.lay(street, MEDIUM)


def _farmsteads(ground, rng, a, b, f):
    """A house, sheds and trees beside a road."""
    for _ in range(round(np.ptp(a) * np.ptp(b) * 1.3)):
        ca, cb = rng.uniform(a.min(), a.max()), np.round(rng.uniform(b.min(), b.max())) + 0.035 / f**0.5
        if rng.random() < 0.5:
            ca, cb = np.round(ca) + 0.035 / f**0.5, rng.uniform(b.min(), b.max())
        da, db = np.abs(a - ca) * MILE * f, np.abs(b - cb) * MILE * f
        ground.lay((da < 55 * f**0.5) & (db < 45 * f**0.5), OPEN_SPACE)
        ground.lay((da < 18) & (db < 22), LOW)


def _waters(ground, rng, x, y, low, region):
    """The river with sand bars, flooded woods and levee in the west, an oxbow lake, bayous."""
    f, (height, width) = region.feature, (region.height, region.width)
    phase = rng.uniform(0, 2 * np.pi, 8)
    # A bayou: a winding creek from north to south, with woods along it.
    for k in range(max(1, round(width / 7000))):
        middle = width * ((k + 0.66) / max(1, round(width / 7000)) - 0.5)
        bend = 260 * f * np.sin(y / (520 * f) + phase[k % 8]) + 150 * f * np.sin(y / (190 * f) + phase[(k + 1) % 8])
        gap = np.abs(x - middle - bend - 0.12 * y) / np.sqrt(1 + 0.45 * np.cos(y / (520 * f) + phase[k % 8]) ** 2)
        wood = gap < f * (58 + 34 * smooth(rng, region.shape, 22, 2))
        ground.lay_many((y // (1200 * f) + 0 * x).astype(int), wood, lambda v: [WOODY_WETLAND] * len(v))
        ground.lay(gap < 13 * max(f, 0.6), STILL)
    # An oxbow lake: part of an old bend of the river.
    for k in range(max(1, round(width * height / 40e6))):
        if k == 0:
            cx, cy = -0.19 * width, -0.2 * height
        else:
            cx, cy = rng.uniform(-0.3, 0.45) * width, rng.uniform(-0.45, 0.45) * height
        turn = np.arctan2(y - cy, x - cx)
        ring = np.hypot(x - cx, (y - cy) * 1.15) - 470 * f * (1 + 0.04 * np.sin(3 * turn))
        open_side = np.cos(turn - 0.5) < 0.72
        ground.lay(open_side & (np.abs(ring) < f * (125 + 22 * smooth(rng, region.shape, 18, 2))), WOODY_WETLAND)
        ground.lay(open_side & (np.abs(ring + 5) < 62 * f), STILL)
    # The river, and the woods between its bank and the levee.
    wide = 1600 * f
    bank = -width / 2 + f * (330 + 190 * np.sin(2 * np.pi * y / (2.9 * wide) + phase[6]))
    bank = bank + 40 * f * np.sin(2 * np.pi * y / (0.8 * wide) + phase[7])
    levee = bank + f * (470 + 130 * np.sin(2 * np.pi * y / (3.7 * wide) + phase[5]))
    rough = smooth(rng, region.shape, 20, 3)
    ground.lay((x < levee) & (x >= bank), WOODY_WETLAND)
    ground.lay((x < levee) & (x >= bank) & (rough > 1.1), DECIDUOUS)
    ground.lay((x < levee - 60 * f) & (x >= bank) & (rough < -1.25), MARSH)
    ground.lay((x >= levee - 10) & (x < levee + 42 * max(f, 0.7)), GRASS)
    ground.lay(x < bank, WATER)
    ground.lay(
        (x < bank) & (x > bank - f * (70 + 110 * rough)) & (np.sin(2 * np.pi * y / (2.9 * wide) + phase[6]) < -0.3),
        SAND,
    )


def _within(rng, shape, low, code, unit, f):
    """How growth, timing and soil differ within a unit: old channels, wet spots, uneven planting."""
    channels = np.abs(smooth(rng, shape, 42 * f, 2))
    spots = smooth(rng, shape, 15)
    grain = rng.standard_normal(shape, dtype=np.float32)
    vigour = 1 + 0.10 * (1.1 - channels) + 0.09 * spots + 0.006 * grain - 0.10 * (spots < -1.5)
    town = np.isin(code, (OPEN_SPACE, LOW, MEDIUM, HIGH))
    vigour = np.where(town, np.abs(0.9 * spots + 0.55 * grain), vigour)
    wood = np.isin(code, (WOODY_WETLAND, DECIDUOUS, PECANS))
    vigour = np.where(wood, 1 + 0.12 * spots + 0.06 * grain, vigour)
    lateness = 2.6 * smooth(rng, shape, 30 * f, 2) + 1.4 * spots
    brightness = 1 + 0.13 * (0.9 - channels) - 0.07 * low + 0.05 * spots + 0.004 * grain
    brightness = np.where(town, 1 + 0.16 * spots + 0.20 * grain, brightness)
    water = np.isin(code, (WATER, STILL, PONDS))
    brightness = np.where(water, 1 + 0.05 * smooth(rng, shape, 30, 2), brightness)
    return (
        np.clip(vigour, 0.1, 2.5).astype(np.float32),
        np.clip(lateness, -9, 9).astype(np.float32),
        np.clip(brightness, 0.4, 1.8).astype(np.float32),
    )


def _contours(low, fields):
    """Thin lines of equal height: the earth levees of rice fields."""
    height = ndimage.gaussian_filter(low, 6) * 5.5
    line = np.abs(height - np.round(height))
    slope = np.hypot(*np.gradient(height)) + 1e-6
    return (np.clip(1.1 - line / slope, 0, 1) * fields).astype(np.float32)


@lru_cache(maxsize=8)
def _assign_rotations(seed: int, code: bytes, clay: bytes, area: bytes):
    """Give each field a rotation, so that the shares of the cropland are met and each crop is on its soil."""
    rng = seeds.generator(seed, "rotations")
    code, clay, area = np.frombuffer(code, np.int16), np.frombuffer(clay, np.float32), np.frombuffer(area)
    fields = np.flatnonzero(code == 0)
    order = fields[np.argsort(-(clay[fields] + 0.22 * rng.standard_normal(len(fields))), kind="stable")]
    shares = np.array([share for share, _ in ROTATIONS])
    kind = np.zeros(len(code), np.int64)
    assigned = np.zeros(len(shares))
    edges = np.cumsum(shares) / shares.sum()
    done, total = 0.0, area[order].sum()
    for unit in order:
        middle = (done + area[unit] / 2) / total
        # Of the rotations that fit this soil, the one whose share lacks most.
        fits = np.exp(-(((edges - shares / 2 - middle) / 0.16) ** 2))
        lack = shares / shares.sum() - (assigned + 0.5 * area[unit]) / total
        kind[unit] = np.argmax(np.where(lack > 0, lack * fits, lack * 1e-3))
        assigned[kind[unit]] += area[unit]
        done += area[unit]
    phase = np.zeros(len(code), np.int64)
    for k, (_, years) in enumerate(ROTATIONS):
        mine = rng.permutation(fields[kind[fields] == k])
        mine = mine[np.argsort(-area[mine], kind="stable")]
        phase[mine] = (np.arange(len(mine)) + rng.integers(len(years))) % len(years)
    return kind, phase


def _rotate(landscape: Landscape, seed: int, year: int) -> np.ndarray:
    area = np.bincount(landscape.unit.ravel(), minlength=len(landscape.code)).astype(np.float64)
    kind, phase = _assign_rotations(seed, landscape.code.tobytes(), landscape.clay.tobytes(), area.tobytes())
    codes = landscape.code.copy()
    for unit in np.flatnonzero(codes == 0):
        crops = ROTATIONS[kind[unit]][1]
        codes[unit] = crops[(year + phase[unit]) % len(crops)]
    return codes
