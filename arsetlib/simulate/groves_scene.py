"""The plan of the simulated grove: the flight's poses, the ground it sees, rows of trees on it.

Positions are in metres, x to the right and y up; the ground picture's row 0 is its upper edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from arsetlib import seeds
from arsetlib.groves.flight import Numbers, Pose
from arsetlib.simulate import groves_texture as texture

FULL_WIDTH = 3808
FINEST = 0.016  # m per pixel of a capture of the full width
OVERLAP = 0.8  # of a capture with the next
PAD = 1.0  # m of ground beyond the outermost capture


@dataclass(frozen=True)
class CameraPose(Pose):
    """Where a capture lies on the ground, and when and in which direction it is taken.

    Attributes:
        heading: Degrees clockwise from the y axis to the picture's upward direction.
        second: Since the first capture.
    """

    heading: float = 0.0
    second: float = 0.0

    @classmethod
    def turned(cls, x: float, y: float, metres: float, heading: float, second: float) -> CameraPose:
        """A capture with its upper left corner at (x, y), m, and ``metres`` per pixel."""
        turn = np.deg2rad(heading)
        a, b = float(metres * np.cos(turn)), float(-metres * np.sin(turn))
        return cls(a, b, x, b, -a, y, heading, second)


@dataclass(frozen=True)
class Tree:
    """A tree: where it stands, how large its crown is, m."""

    number: int
    x: float
    y: float
    radius: float
    height: float


def poses(seed: int, captures: int, size: tuple[int, int], metres: float) -> list[CameraPose]:
    """A flight upwards, one capture every two seconds, a little off course each time."""
    high, wide = size[0] * metres, size[1] * metres
    rng = seeds.generator(seed, "grove", "flight")
    side, turn = np.cumsum(rng.normal(0, [[0.010 * wide], [0.7]], (2, captures)), axis=1)
    side, turn = np.clip(side, -0.04 * wide, 0.04 * wide), np.clip(turn, -3, 3)
    step = (1 - OVERLAP) * high * (1 + np.clip(rng.normal(0, 0.03, captures), -0.06, 0.06))
    ahead = np.cumsum(step) - step[0]
    scale = metres * (1 + np.clip(rng.normal(0, 0.006, captures), -0.012, 0.012))
    flight = []
    for k in range(captures):
        place = round(float(scale[k]), 7), round(float(turn[k]), 4), 2.0 * k
        dx, dy = CameraPose.turned(0.0, 0.0, *place).ground(size[1] / 2, size[0] / 2)
        flight.append(CameraPose.turned(round(float(side[k] - dx), 4), round(float(ahead[k] - dy), 4), *place))
    return flight


@dataclass(frozen=True)
class Grove:
    """The ground that a flight sees."""

    seed: int
    captures: int
    size: tuple[int, int]  # of a capture, pixels
    metres: float  # per pixel of the ground picture

    @cached_property
    def poses(self) -> list[CameraPose]:
        """One for each capture."""
        return poses(self.seed, self.captures, self.size, self.metres)

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        x, y = zip(*(corner for pose in self.poses for corner in pose.outline(self.size)), strict=True)
        return min(x) - PAD, min(y) - PAD, max(x) + PAD, max(y) + PAD

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the ground picture."""
        west, south, east, north = self.box
        return int(np.ceil((north - south) / self.metres)), int(np.ceil((east - west) / self.metres))

    def pixel(self, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
        """(column, row) of ground positions, from the upper left corner of the ground picture."""
        return (x - self.box[0]) / self.metres, (self.box[3] - y) / self.metres

    # -- what grows where --------------------------------------------------------------------------------------------

    @cached_property
    def draws(self) -> dict[str, float]:
        """What is the same all over the grove."""
        rng = seeds.generator(self.seed, "grove", "plan")
        return {
            "angle": float(np.deg2rad(90 + rng.uniform(-16, 16))),  # of the rows, from the x axis
            "between_rows": float(rng.uniform(6.2, 7.0)),
            "in_row": float(rng.uniform(4.9, 5.5)),
            "sun_azimuth": float(np.deg2rad(rng.uniform(105, 160) if rng.random() < 0.5 else rng.uniform(200, 255))),
            "sun_elevation": float(np.deg2rad(rng.uniform(46, 58))),
            "phase": float(rng.uniform(0, 6)),
        }

    @cached_property
    def side(self) -> int:
        """Pixels of a fine texture's side."""
        return int(np.clip(2 ** np.ceil(np.log2(max(self.shape))), 256, 2048))

    @cached_property
    def fields(self) -> dict[str, np.ndarray]:
        """The coarse fields of the scene, see ``groves_texture.coarse``."""
        shape = tuple(int(n * self.metres / texture.COARSE) + 3 for n in self.shape)
        return texture.coarse(self.seed, shape)

    def field(self, name: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """A coarse field at pixels of the ground picture."""
        scale = self.metres / texture.COARSE
        return texture.enlarge(self.fields[name], rows * scale, columns * scale)

    def field_at(self, name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A coarse field at ground positions; beyond the scene, its edge."""
        column, row = self.pixel(np.asarray(x), np.asarray(y))
        field, scale = self.fields[name], self.metres / texture.COARSE
        i = np.clip(row * scale, 0, field.shape[0] - 1).astype(int)
        j = np.clip(column * scale, 0, field.shape[1] - 1).astype(int)
        return field[i, j]

    def along_across(self, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
        """Metres along the rows and across them; rows bend a little."""
        angle = self.draws["angle"]
        u = np.cos(angle) * x + np.sin(angle) * y
        v = np.sin(angle) * x - np.cos(angle) * y
        return u, v - np.float32(0.7) * np.sin(u * np.float32(2 * np.pi / 95) + np.float32(self.draws["phase"]))

    def row_draw(self, number: np.ndarray, name: str) -> np.ndarray:
        """A uniform draw for each row between trees, by its number."""
        values = seeds.generator(self.seed, "grove", "rows", name).random(4096).astype(np.float32)
        return values[(number.astype(np.intp) + 2048) % 4096]

    @cached_property
    def trees(self) -> list[Tree]:
        """Trees in rows, with gaps, young ones and natural spread; also those just outside that cast a shadow in."""
        draws, angle = self.draws, self.draws["angle"]
        west, south, east, north = self.box
        x, y = np.array([west, east, west, east]), np.array([south, south, north, north])
        u, v = self.along_across(x, y)
        rows = np.arange(np.floor(v.min() / draws["between_rows"]) - 1, np.ceil(v.max() / draws["between_rows"]) + 2)
        places = np.arange(np.floor(u.min() / draws["in_row"]) - 2, np.ceil(u.max() / draws["in_row"]) + 3)
        places_of_trees = []
        for row in rows.astype(int):
            rng = seeds.generator(self.seed, "grove", "row", row)
            phase, wobble = rng.uniform(0, 0.5), rng.normal(0, 0.12)
            missing = rng.random(len(places)) < 0.035
            if rng.random() < 0.35:  # a longer gap
                start = rng.integers(len(places))
                missing[start : start + rng.integers(2, 4)] = True
            young = rng.random(len(places)) < 0.07
            shift = rng.normal(0, [[0.30], [0.20]], (2, len(places)))
            size = np.exp(rng.normal(np.log(1.72), 0.17, len(places)))
            small, tall = rng.uniform(0.45, 0.85, len(places)), rng.uniform(0.85, 1.15, len(places))
            along = (places + phase) * draws["in_row"] + shift[0]
            bend = 0.7 * np.sin(along * 2 * np.pi / 95 + draws["phase"])
            across = row * draws["between_rows"] + wobble + shift[1] + bend
            tx = np.cos(angle) * along + np.sin(angle) * across
            ty = np.sin(angle) * along - np.cos(angle) * across
            near = (tx > west - 6) & (tx < east + 6) & (ty > south - 6) & (ty < north + 6)
            size = size * (1 + 0.14 * self.field_at("vigour", tx, ty))
            size = np.clip(np.where(young, small, size), 0.4, 2.7)
            for k in np.flatnonzero(near & ~missing):
                height = (1.1 + 1.35 * size[k]) * tall[k]
                places_of_trees.append((float(tx[k]), float(ty[k]), float(size[k]), float(height)))
        return [Tree(number, *place) for number, place in enumerate(places_of_trees, 1)]
