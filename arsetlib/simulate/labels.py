"""Labels like those of the Cropland Data Layer: 30 m, with mistakes, more of them at edges, and a confidence layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

from arsetlib import seeds
from arsetlib.simulate import landscape as land
from arsetlib.simulate.noise import smooth

# Classes that a class is confused with.
_CONFUSED = {
    land.CORN: (land.SORGHUM, land.SOYBEANS),
    land.SOYBEANS: (land.COTTON, land.WHEAT_SOY, land.RICE, land.PEANUTS),
    land.COTTON: (land.SOYBEANS, land.PEANUTS),
    land.RICE: (land.SOYBEANS, land.PONDS),
    land.WHEAT_SOY: (land.SOYBEANS, land.WHEAT),
    land.FALLOW: (land.GRASS, land.SOYBEANS),
    land.HAY: (land.GRASS,),
    land.PECANS: (land.DECIDUOUS,),
    land.PEANUTS: (land.SOYBEANS,),
}
_CONFIDENCE = {
    land.RICE: 95,
    land.CORN: 92,
    land.SOYBEANS: 90,
    land.COTTON: 89,
    land.WATER: 97,
    land.WOODY_WETLAND: 90,
}


@dataclass(frozen=True)
class YearLabels:
    """Labels of one year on the region's label grid; 0 outside the region.

    Attributes:
        truth: (H, W) uint8, true CDL codes.
        label: (H, W) uint8, CDL codes with mistakes, as published.
        confidence: (H, W) uint8, 0-100.
    """

    truth: np.ndarray
    label: np.ndarray
    confidence: np.ndarray


def year_labels(seed: int, scale: float, year: int) -> YearLabels:
    """Truth, label and confidence of a year."""
    ground = land.build(seed, scale)
    unit = _units(ground)
    inside = (unit >= 0).astype(np.uint8)
    codes = np.abs(ground.codes(seed, year)).astype(np.uint8)
    rng = seeds.generator(seed, "labels", year)
    truth = codes[unit] * inside
    edge = _edges(unit)
    label = _mislabel_pixels(rng, _mislabel_fields(rng, codes)[unit] * inside, edge) * inside
    return YearLabels(truth, label, _confidence(rng, truth, label, edge) * inside)


def _units(ground: land.Landscape) -> np.ndarray:
    """(H, W) the unit at the centre of each label pixel; -1 outside the region."""
    region = ground.region
    west, north, rows, columns = region.label_grid()
    x, y = np.meshgrid(west + 30 * np.arange(columns) + 15, north - 30 * np.arange(rows) - 15)
    east, up = Transformer.from_crs(land.ALBERS, land.UTM, always_xy=True).transform(x, y)
    column = np.floor((east - region.west) / 10).astype(int)
    row = np.floor((region.north - up) / 10).astype(int)
    height, width = region.shape
    inside = (row == row.clip(0, height - 1)) & (column == column.clip(0, width - 1))
    return np.where(inside, ground.unit[row.clip(0, height - 1), column.clip(0, width - 1)], -1)


def _edges(unit):
    """(H, W) bool: pixels with a neighbour in another unit."""
    edge = np.zeros(unit.shape, bool)
    for axis in (0, 1):
        step = np.diff(unit, axis=axis) != 0
        for before in (0, 1):
            edge |= np.pad(step, [(before, 1 - before) if k == axis else (0, 0) for k in (0, 1)])
    return edge


def _mislabel_fields(rng, codes):
    """Codes of the units, some fields with a confused class."""
    wrong = codes.copy()
    for unit in np.flatnonzero(rng.random(len(codes)) < 0.025):
        choices = _CONFUSED.get(int(codes[unit]))
        if choices:
            wrong[unit] = choices[rng.integers(len(choices))]
    return wrong


def _mislabel_pixels(rng, label, edge):
    """Some pixels get the label of a neighbour (at edges), of a confused class, or grass."""
    out = label.copy()
    swap = edge & (rng.random(label.shape) < 0.16)
    down, right = rng.integers(-1, 2, (2, *label.shape))
    rows, columns = np.indices(label.shape)
    height, width = label.shape
    out[swap] = label[(rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)][swap]
    lost = (rng.random(label.shape) < np.where(edge, 0.05, 0.012)) & (smooth(rng, label.shape, 4, 1) > -0.4)
    draw = rng.random(label.shape)
    for code, choices in _CONFUSED.items():
        mine = lost & (label == code)
        pick = np.array((*choices, land.GRASS), np.uint8)
        out[mine] = pick[(draw[mine] * len(pick)).astype(int)]
    return out


def _confidence(rng, truth, label, edge):
    mean = np.full(256, 76.0, np.float32)
    for code, value in _CONFIDENCE.items():
        mean[code] = value
    out = mean[label] + 5 * smooth(rng, label.shape, 7, 2)
    out -= edge * rng.gamma(2.5, 7, label.shape)
    out -= (label != truth) * rng.gamma(4.0, 7, label.shape)
    return np.clip(np.rint(out), 3, 100).astype(np.uint8)
