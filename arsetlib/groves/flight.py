"""Where the captures of a flight lie on the ground.

Lab: case_groves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib import textfiles
from arsetlib.groves.classes import GroveError


@dataclass(frozen=True)
class Pose:
    """Where a capture lies on the ground: x = a·column + b·row + c, y = d·column + e·row + f, in m.

    (0, 0) is the upper left corner of the image, so a pixel's centre is half a pixel further on.
    """

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def upright(cls, metres_per_pixel: float = 1.0, x: float = 0.0, y: float = 0.0) -> Pose:
        """A capture whose columns run east and rows south; (x, y) is its upper left corner."""
        return cls(metres_per_pixel, 0.0, x, 0.0, -metres_per_pixel, y)

    @property
    def metres(self) -> float:
        """Metres per pixel: the side of a square of a pixel's area."""
        return float(np.sqrt(abs(self.a * self.e - self.b * self.d)))

    def ground(self, column, row):
        """(x, y) of image places."""
        return self.a * column + self.b * row + self.c, self.d * column + self.e * row + self.f

    def image(self, x, y):
        """(column, row) of ground places."""
        x, y, det = np.asarray(x) - self.c, np.asarray(y) - self.f, self.a * self.e - self.b * self.d
        return (self.e * x - self.b * y) / det, (self.a * y - self.d * x) / det


def poses(flight: str | Path) -> dict[str, Pose]:
    """Capture name → pose, from a ``flight.json``."""
    try:
        held = textfiles.read_json(flight)
        found = {c["name"]: Pose(*map(float, c["transform"])) for c in held["captures"]}
        if not found:
            raise ValueError("no capture")
    except FileNotFoundError as problem:
        raise GroveError(f"There is no flight file {flight}.") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise GroveError(f"{flight} is no flight file: expected captures with name and transform of six.") from problem
    for name, pose in found.items():
        if not pose.metres > 0 or not np.isfinite([pose.c, pose.f, pose.metres]).all():
            raise GroveError(f"{flight}: the transform of {name} leads to no ground. Expected six finite numbers.")
    return found


def inside(pose: Pose, size: tuple[int, int], x, y) -> np.ndarray:
    column, row = pose.image(x, y)
    return (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
