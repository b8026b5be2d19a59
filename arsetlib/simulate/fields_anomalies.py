"""The nine anomalies of simulated fields: each has its own shape, size and colour.

Each function paints its anomaly into a ``ChipCanvas`` and returns where it is, (S, S) bool. Sizes are shares of the
chip's side, or rows of the crop.

Source of the looks: the class descriptions of Chiu et al. (2020), "Agriculture-Vision: A Large Aerial Image Database
for Agricultural Pattern Analysis", CVPR.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from arsetlib.simulate.fields_draws import Field
from arsetlib.simulate.fields_noise import axes, blob, clumps, ramp, waves

# Reflectance in red, green, blue, near infrared.
YELLOW = (0.170, 0.182, 0.076, 0.40)
STRAW = (0.330, 0.265, 0.165, 0.37)
GRASS = (0.085, 0.140, 0.055, 0.60)
WEED = (0.055, 0.150, 0.040, 0.66)
LODGED = (0.120, 0.155, 0.080, 0.52)
MURKY = (0.085, 0.080, 0.062, 0.045)
TAU = np.float32(2 * np.pi)


@dataclass
class ChipCanvas:
    """A chip while it is painted.

    Args:
        field: Whose chip.
        rng: Random generator.
        across, along: (S, S) position across and along the rows, pixels of the field's picture.
        cover: (S, S) share of the ground under leaves.
        ripple: (S, S) −1 to 1: between the rows to on the rows.
        tone: (S, S) brightness of the leaves.
        yellow, dry: (S, S) 0 to 1: how yellow or dry the leaves are; None if no pixel is.
        layers: (alpha, (4,) reflectance, tone) of what covers the crop, from bottom to top.
        edge: The field's border on this chip: (normal x, normal y, offset) or None.
    """

    field: Field
    rng: np.random.Generator
    across: np.ndarray
    along: np.ndarray
    cover: np.ndarray
    ripple: np.ndarray
    tone: np.ndarray
    yellow: np.ndarray | None = None
    dry: np.ndarray | None = None
    layers: list = field(default_factory=list)
    edge: tuple[float, float, float] | None = None

    @property
    def size(self) -> int:
        """Side of the chip, pixels."""
        return self.field.size

    def rows(self, angle: float, row: float, phase: float = 0.0) -> np.ndarray:
        """Another set of rows: −1 between them, 1 on them."""
        x, y = axes(self.size)
        c, s = np.float32(np.cos(angle) * self.size / row), np.float32(np.sin(angle) * self.size / row)
        return np.cos((x * c + y * s + np.float32(phase)) * TAU)

    def place(self, low: float = 0.15, high: float = 0.85) -> tuple[float, float]:
        """A random place, (x, y) as shares of the side."""
        return tuple(self.rng.uniform(low, high, 2))


def planter_skip(canvas: ChipCanvas) -> np.ndarray:
    """Rows that were not planted: straight strips of bare soil, one to three rows wide, with clean ends."""
    rng, one, size = canvas.rng, canvas.field, canvas.size
    row = one.row
    number = canvas.across * np.float32(1 / row)
    where = np.zeros((size, size), bool)
    middle = float(number[size // 2, size // 2])
    reach = 0.36 * size / row
    low, high = float(canvas.along.min()), float(canvas.along.max())
    for _ in range(int(rng.integers(1, 4))):
        wide = int(rng.integers(1, 4)) if row > 5 else int(rng.integers(2, 5))
        first = np.floor(middle + rng.uniform(-reach, reach)) + 0.5
        length, start = rng.uniform(0.35, 1.2), rng.uniform(0, 0.6)
        begin = low + start * (high - low)
        strip = (number >= first) & (number < first + wide)
        strip &= (canvas.along >= begin) & (canvas.along < begin + length * (high - low))
        where |= strip
    sparse = (canvas.cover + np.float32(0.12) * clumps(rng, size, 3)) * np.float32(rng.uniform(0.03, 0.25))
    canvas.cover[where] = sparse[where]
    canvas.ripple[where] = -1
    canvas.layers.append((where * np.float32(0.8), tuple(one.soil), 1 + np.float32(0.10) * clumps(rng, size, 3)))
    return where


def double_plant(canvas: ChipCanvas) -> np.ndarray:
    """An area planted twice: a wedge or strip with straight sides where a second set of rows crosses the first."""
    rng, size, one = canvas.rng, canvas.size, canvas.field
    x, y = axes(size)
    turn = one.angle + rng.choice([-1, 1]) * rng.uniform(0.45, 1.25)
    cx, cy = canvas.place(0.3, 0.7)

    def side(angle, offset):
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return (x - np.float32(cx)) * c + (y - np.float32(cy)) * s + np.float32(offset)

    if rng.random() < 0.5:  # a strip, where one pass ran over the ends of others
        half = rng.uniform(0.07, 0.17)
        where = np.abs(side(turn, 0)) < half
    else:  # point rows: a wedge between the two directions
        where = (side(turn, rng.uniform(0.0, 0.15)) > 0) & (side(one.angle + np.pi / 2, rng.uniform(0.05, 0.2)) > 0)
        where &= side(turn + np.pi, rng.uniform(0.25, 0.5)) > 0
    second = canvas.rows(turn, one.row * rng.uniform(0.95, 1.1), rng.random())
    crossed = np.maximum(canvas.ripple, second)
    canvas.ripple[where] = (np.float32(1.25) * (canvas.ripple + second) * np.float32(0.6) + crossed * 0.3)[where]
    canvas.cover[where] = np.minimum(canvas.cover[where] + np.float32(0.12), 1)
    canvas.tone[where] *= np.float32(rng.uniform(0.66, 0.84))
    return where


def endrow(canvas: ChipCanvas) -> np.ndarray:
    """The headland: a band along the border whose rows run along it, thinner, with the tracks of turning wheels."""
    rng, size, one = canvas.rng, canvas.size, canvas.field
    x, y = axes(size)
    if canvas.edge is not None:
        nx, ny, offset = canvas.edge
    else:
        turn = one.angle + np.pi / 2 + (np.pi if rng.random() < 0.5 else 0)
        nx, ny = np.cos(turn), np.sin(turn)
        offset = 0.5 * (nx + ny) - rng.uniform(0.25, 0.45)
    depth = x * np.float32(nx) + y * np.float32(ny) - np.float32(offset)  # from the border inward
    wide = rng.uniform(0.14, 0.28)
    where = (depth > 0) & (depth < wide)
    where &= depth < np.float32(wide) + np.float32(0.004) * waves(rng, size, 30)
    angle = float(np.arctan2(ny, nx))
    turned = canvas.rows(angle, one.row, rng.random())
    canvas.ripple[where] = np.float32(1.2) * turned[where]
    canvas.cover[where] *= np.float32(rng.uniform(0.55, 0.78))
    tracks = np.abs(np.mod(depth * np.float32(size / one.row) + np.float32(rng.random() * 8), 8) - 4) < 0.7
    canvas.cover[where & tracks] *= np.float32(0.55)
    return where


def storm_damage(canvas: ChipCanvas) -> np.ndarray:
    """Lodged crop: no rows in broad patches where the stems lie flat in swirls, bright where they face the sun."""
    rng, size = canvas.rng, canvas.size
    depth = blob(rng, size, canvas.place(0.25, 0.75), rng.uniform(0.22, 0.45, 2), 0.40, 5)
    if rng.random() < 0.5:
        depth = np.maximum(depth, blob(rng, size, canvas.place(), rng.uniform(0.12, 0.25, 2), 0.40, 6))
    where = depth > 0
    alpha = ramp(depth, 0.12)
    turn, fine = rng.uniform(0, TAU), rng.uniform(9, 16) * (size / 512) ** 0.4
    x, y = axes(size)
    swirl = x * np.float32(np.cos(turn) * fine) + y * np.float32(np.sin(turn) * fine)
    swirl = swirl + np.float32(1.1) * waves(rng, size, 4, 2)
    lay = np.float32(0.55) * np.sin(swirl * TAU) + np.float32(0.5) * waves(rng, size, 14, 3)
    canvas.ripple *= 1 - alpha * np.float32(0.9)
    canvas.tone *= 1 + alpha * (np.float32(0.05) + np.float32(0.20) * lay)
    canvas.cover += alpha * (np.float32(0.12) * lay + np.float32(0.04))
    canvas.layers.append((alpha * np.float32(rng.uniform(0.25, 0.5)), LODGED, 1 + np.float32(0.20) * lay))
    return where


def drydown(canvas: ChipCanvas) -> np.ndarray:
    """Crop that ripens too early: tan in broad patches with soft edges; the rows can still be seen."""
    rng, size = canvas.rng, canvas.size
    depth = blob(rng, size, canvas.place(0.1, 0.9), rng.uniform(0.3, 0.65, 2), 0.35, 3)
    where = depth > 0.05
    dry = ramp(depth, 0.45) * np.float32(rng.uniform(0.35, 0.95))
    dry *= np.clip(1 + np.float32(0.18) * waves(rng, size, 24, 2), 0.3, 1.2)
    canvas.dry = dry if canvas.dry is None else np.maximum(canvas.dry, dry)
    return where


def nutrient_deficiency(canvas: ChipCanvas) -> np.ndarray:
    """Too little nitrogen: pale yellow bands along the rows without fertiliser, or a gradient."""
    rng, size = canvas.rng, canvas.size
    x, y = axes(size)
    if rng.random() < 0.65:
        wide = rng.uniform(0.10, 0.22) * size
        at = canvas.across * np.float32(1 / wide) + np.float32(0.12) * waves(rng, size, 4) + np.float32(rng.random())
        strength = np.cos(at * TAU) * np.float32(1.2) + np.float32(0.1)
        fade = blob(rng, size, canvas.place(0.2, 0.8), rng.uniform(0.45, 0.9, 2), 0.25, 3)
        strength = np.minimum(strength, fade * np.float32(2))
    else:
        turn = rng.uniform(0, TAU)
        strength = (x - np.float32(0.5)) * np.float32(2 * np.cos(turn)) + (y - np.float32(0.5)) * np.float32(
            2 * np.sin(turn)
        )
        strength = strength + np.float32(0.35) * waves(rng, size, 3, 2) + np.float32(rng.uniform(-0.35, 0.15))
    where = strength > 0.25
    yellow = ramp(strength, 0.7) * np.float32(rng.uniform(0.55, 0.95))
    canvas.yellow = yellow if canvas.yellow is None else np.maximum(canvas.yellow, yellow)
    canvas.cover -= np.float32(0.10) * yellow
    return where


def weed_cluster(canvas: ChipCanvas) -> np.ndarray:
    """Weeds: groups of round tufts, bright green and very bright in the near infrared, across the rows."""
    rng, size = canvas.rng, canvas.size
    depth = blob(rng, size, canvas.place(), rng.uniform(0.12, 0.32, 2), 0.45, 6)
    for _ in range(int(rng.integers(0, 3))):
        depth = np.maximum(depth, blob(rng, size, canvas.place(), rng.uniform(0.07, 0.18, 2), 0.45, 8))
    where = depth > 0
    tufts = clumps(rng, size, max(9 * (size / 512) ** 0.5, 3.5)) + np.float32(0.5) * clumps(rng, size, 3)
    alpha = ramp(tufts + np.float32(2.2) * depth - np.float32(0.25), 0.5) * ramp(depth, 0.08)
    alpha *= np.float32(rng.uniform(0.7, 1.0))
    rank = rng.uniform(0.2, 1.0)  # from nearly the colour of the crop to that of weeds
    colour = tuple((1 - rank) * crop + rank * weed for crop, weed in zip(canvas.field.crop, WEED, strict=True))
    canvas.layers.append((alpha, colour, 1 + np.float32(0.22) * tufts))
    return where


def waterway(canvas: ChipCanvas) -> np.ndarray:
    """A winding channel with grass across the field, smooth and without rows, darker in the middle."""
    rng, size = canvas.rng, canvas.size
    x, y = axes(size)
    turn = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    cx, cy = canvas.place(0.3, 0.7)
    along = (x - np.float32(cx)) * c + (y - np.float32(cy)) * s
    across = (y - np.float32(cy)) * c - (x - np.float32(cx)) * s
    bend, phase = rng.uniform(0.03, 0.10), rng.uniform(0, TAU)
    across = across + np.float32(bend) * np.sin(along * np.float32(rng.uniform(5, 9)) + np.float32(phase))
    across += np.float32(0.012) * waves(rng, size, 8, 2)
    half = np.float32(rng.uniform(0.035, 0.075)) * (1 + np.float32(0.5) * along)
    if rng.random() < 0.35:  # a branch joins
        turn2 = turn + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
        c2, s2 = np.float32(np.cos(turn2)), np.float32(np.sin(turn2))
        other = (y - np.float32(cy)) * c2 - (x - np.float32(cx)) * s2 + np.float32(0.015) * waves(rng, size, 6, 2)
        ahead = (x - np.float32(cx)) * c2 + (y - np.float32(cy)) * s2
        other = np.where(ahead < 0, np.abs(other) * np.float32(1.5), 9)
        across = np.minimum(np.abs(across), other)
    depth = 1 - np.abs(across) / np.maximum(half, np.float32(0.012))
    where = depth > 0
    alpha = ramp(depth, 0.25)
    lush = rng.uniform(0.5, 1)
    colour = tuple((1 - lush) * a + lush * b for a, b in zip(YELLOW, GRASS, strict=True))
    tone = np.float32(0.92) + np.float32(0.08) * waves(rng, size, 40) - np.float32(0.38) * ramp(depth - 0.65, 0.3)
    canvas.layers.append((alpha, colour, tone))
    return where


def water(canvas: ChipCanvas) -> np.ndarray:
    """Standing water: a smooth, dark pond with a rim of wet mud, nearly black in the near infrared."""
    rng, size = canvas.rng, canvas.size
    depth = blob(rng, size, canvas.place(), rng.uniform(0.09, 0.26, 2), 0.30, 6)
    if rng.random() < 0.4:
        depth = np.maximum(depth, blob(rng, size, canvas.place(), rng.uniform(0.05, 0.12, 2), 0.3, 8))
    where = depth > 0
    mud = ramp(depth + np.float32(0.22), 0.22)
    canvas.layers.append((mud, tuple(canvas.field.soil * np.float32(0.55)), np.float32(1)))
    sky = rng.uniform(0, 0.09)
    murk = rng.uniform(0.7, 2.2)
    colour = tuple(murk * m + sky * w for m, w in zip(MURKY, (0.55, 0.8, 1.0, 0.25), strict=True))
    canvas.layers.append((ramp(depth, 0.05), colour, 1 + np.float32(0.05) * waves(rng, size, 5)))
    return where


# In the order of painting: the top layer comes last.
PAINTERS = {
    "nutrient_deficiency": nutrient_deficiency,
    "drydown": drydown,
    "double_plant": double_plant,
    "endrow": endrow,
    "storm_damage": storm_damage,
    "planter_skip": planter_skip,
    "weed_cluster": weed_cluster,
    "waterway": waterway,
    "water": water,
}
HIDE = ("waterway", "water")  # anomalies below them cannot be seen, so they are not labelled
