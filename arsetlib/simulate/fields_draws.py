"""The random properties of simulated fields: look, anomalies and the places of the chips.

A field has its own crop, soil, sun, camera, rows and anomalies: as in real data, its chips are more similar to each
other than to those of other fields. Each field draws from a random stream of its own number, so any field can be made
alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arsetlib import seeds
from arsetlib.fields.classes import CLASSES

DECK = 10  # of so many fields, each anomaly is on a fixed number

# Class → (fields of ten that have it, share of such a field's chips that show it).
PRONE = {
    "storm_damage": (1, 0.35),
    "drydown": (4, 0.55),
    "endrow": (2, 0.60),
    "water": (2, 0.40),
    "nutrient_deficiency": (4, 0.60),
    "double_plant": (2, 0.60),
    "waterway": (2, 0.60),
    "weed_cluster": (3, 0.65),
    "planter_skip": (2, 0.45),
}

# Reflectance in red, green, blue, near infrared.
CROPS = {
    "corn": (0.045, 0.095, 0.035, 0.47),
    "soybeans": (0.050, 0.115, 0.040, 0.54),
    "wheat": (0.060, 0.105, 0.045, 0.42),
}
SOILS = {
    "dark": (0.105, 0.085, 0.068, 0.165),
    "brown": (0.190, 0.145, 0.105, 0.260),
    "red": (0.235, 0.145, 0.095, 0.285),
    "pale": (0.300, 0.255, 0.200, 0.360),
}


@dataclass(frozen=True)
class Field:
    """One field: the properties that its chips share.

    Args:
        name: In file names: nine letters and digits, as in the published data.
        seed, number: Which field of which set.
        size: Side of a chip, pixels.
        crop, soil: (4,) reflectance of a healthy canopy and of dry soil.
        cover: Share of the ground under the canopy, 0 to 1.
        contrast: How strongly rows show in the canopy.
        angle: Direction across the rows, radians.
        row: From row to row, pixels.
        light: (4,) gain of the camera.
        gamma: Of the camera.
        shade: Difference between the two sides of a row, sunny and shaded.
        tracks: Rows from one pair of wheel tracks to the next, 0 without.
        vigour: How much growth varies over the field.
        prone: Anomalies of the field.
    """

    name: str
    seed: int
    number: int
    size: int
    crop: np.ndarray
    soil: np.ndarray
    cover: float
    contrast: float
    angle: float
    row: float
    light: np.ndarray
    gamma: float
    shade: float
    tracks: int
    vigour: float
    prone: tuple[str, ...]


def field(seed: int, number: int, size: int) -> Field:
    """A field of a set; its random numbers do not depend on the size of its chips."""
    rng = seeds.generator(seed, "fields", number)
    letters = np.array(list("ABCDEFGHIJKLMNPQRTUVWXYZ0123456789"))
    name = "".join(letters[rng.integers(0, len(letters), 4)]) + f"{number:05d}"
    crop = np.array(CROPS[str(rng.choice(list(CROPS)))]) * rng.uniform(0.85, 1.15, 4)
    soil = np.array(SOILS[str(rng.choice(list(SOILS)))]) * rng.uniform(0.9, 1.1, 4) * rng.uniform(0.85, 1.15)
    cover = rng.choice([rng.uniform(0.40, 0.6), rng.uniform(0.60, 0.80), rng.uniform(0.80, 0.92)], p=[0.25, 0.4, 0.35])
    return Field(
        name=name,
        seed=seed,
        number=number,
        size=size,
        crop=crop.astype(np.float32),
        soil=soil.astype(np.float32),
        cover=float(cover),
        contrast=float(rng.uniform(0.16, 0.30)),
        angle=float(rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.12) + (rng.random() < 0.25) * rng.uniform(0, np.pi)),
        row=float(rng.uniform(6.0, 9.0) * (size / 512) ** 0.35),
        light=(rng.uniform(0.72, 1.35) * rng.uniform(0.84, 1.18, 4)).astype(np.float32),
        gamma=float(rng.uniform(0.46, 0.68)),
        shade=float(rng.uniform(0.04, 0.14) * rng.choice([-1, 1])),
        tracks=int(rng.choice([0, 24, 32])),
        vigour=float(rng.uniform(0.03, 0.10)),
        prone=_prone(seed, number),
    )


def _prone(seed: int, number: int) -> tuple[str, ...]:
    """Anomalies of a field: of each ten fields a fixed number has each anomaly."""
    rng = seeds.generator(seed, "fields", "deck", number // DECK)
    names = []
    for name in CLASSES:
        if number % DECK in rng.permutation(DECK)[: PRONE[name][0]]:
            names.append(name)
    return tuple(names)


def shown(one: Field, chips: int) -> list[tuple[str, ...]]:
    """Anomalies of each chip of a field; every anomaly of the field is on at least one of its chips."""
    rng = seeds.generator(one.seed, "fields", one.number, "shown")
    names: list[list[str]] = [[] for _ in range(chips)]
    for name in one.prone:
        sure = rng.integers(chips)
        seen = rng.random(chips) < PRONE[name][1]
        seen[sure] = True
        for k in np.flatnonzero(seen):
            names[k].append(name)
    return [tuple(of_chip) for of_chip in names]


def windows(one: Field, chips: int) -> list[tuple[int, int]]:
    """(x1, y1) of each chip in its field's picture, pixels; no two overlap."""
    side = int(np.ceil(np.sqrt(2 * chips)))
    places = seeds.generator(one.seed, "fields", one.number, "windows").permutation(side * side)[:chips]
    return [(int(p % side) * one.size, int(p // side) * one.size) for p in places]


def chip_name(one: Field, corner: tuple[int, int]) -> str:
    """``FIELD_x1-y1-x2-y2``, in the field's picture."""
    x, y = corner
    return f"{one.name}_{x}-{y}-{x + one.size}-{y + one.size}"
