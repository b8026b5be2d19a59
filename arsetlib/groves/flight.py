"""Where the captures of a flight lie on the ground: what ``flight.json`` states.

Lab: case_groves.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from arsetlib import copies, textfiles
from arsetlib.groves.classes import GroveError

Numbers = float | np.ndarray
SMALLEST, LONGEST = 1e-4, 10.0  # side of a pixel, m; how much longer it may be than wide
FILE = "flight.json"  # in the folder of the captures, or in the one above


@dataclass(frozen=True)
class Pose:
    """Where a capture lies on the ground: x = a·column + b·row + c, y = d·column + e·row + f, in m.

    (0, 0) is the upper left corner of the image, so the centre of its first pixel is at (0.5, 0.5).

        >>> Pose.upright(0.5, x=100, y=50).ground(10, 4)
        (105.0, 48.0)

    Lab: case_groves.
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

    def ground(self, column: Numbers, row: Numbers) -> tuple[Numbers, Numbers]:
        """(x, y), m, of places in the image."""
        return self.a * column + self.b * row + self.c, self.d * column + self.e * row + self.f

    def image(self, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
        """(column, row) of places on the ground."""
        x, y, det = np.asarray(x) - self.c, np.asarray(y) - self.f, self.a * self.e - self.b * self.d
        return (self.e * x - self.b * y) / det, (self.a * y - self.d * x) / det

    def shows(self, size: tuple[int, int], x: Numbers, y: Numbers) -> np.ndarray:
        """Whether a capture of ``size`` (rows, columns) shows places on the ground."""
        column, row = self.image(x, y)
        return (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])

    def outline(self, size: tuple[int, int]) -> list[tuple[float, float]]:
        """The corners of a capture of ``size`` (rows, columns) on the ground."""
        height, width = size
        return [self.ground(*corner) for corner in ((0, 0), (width, 0), (width, height), (0, height))]


class Flight(NamedTuple):
    """What a ``flight.json`` states: capture name → pose, and whether the captures are simulated."""

    poses: dict[str, Pose]
    simulated: bool = False


def poses(flight: str | Path) -> dict[str, Pose]:
    """Capture name → pose, from a ``flight.json``.

    Raises:
        GroveError: There is no such file, or it lacks captures with a name and a transform.

    Lab: case_groves.
    """
    return read(copies.fetched(flight)).poses


def read(path: Path) -> Flight:
    """A ``flight.json``; it is read again only where it has changed."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise GroveError(f"There is no flight file {path}.") from None


def of_folder(folder: Path) -> Flight | None:
    """The flight of the captures in a folder; None where neither it nor the folder above has a ``flight.json``."""
    folder = folder.resolve()
    return next((read(place / FILE) for place in (folder, folder.parent) if (place / FILE).is_file()), None)


@functools.lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> Flight:
    try:
        content = textfiles.read_json(path)
        named = {c["name"]: Pose(*map(float, c["transform"])) for c in content["captures"]}
        if len(named) < len(content["captures"]):
            names = [c["name"] for c in content["captures"]]
            twice = next(name for name in names if names.count(name) > 1)
            raise GroveError(f"{path} lists the capture {twice} more than once. Keep one of them.")
        if not named:
            raise ValueError("no capture")
    except GroveError:
        raise
    except (ValueError, KeyError, TypeError) as problem:
        raise GroveError(f"{path} is no flight file: expected captures with name and transform of six.") from problem
    for name, pose in named.items():
        if not pose.metres > 0 or not np.isfinite([pose.c, pose.f, pose.metres]).all():
            raise GroveError(f"{path}: the transform of {name} leads to no ground. Expected six finite numbers.")
        check_pixel(pose, f"{path}: the transform of {name}")
    return Flight(named, bool(content.get("simulated")))


def check_pixel(pose: Pose, where: str) -> None:
    """Refuse pixels that no camera has; ``where`` starts the message.

    Raises:
        GroveError: They are far longer than wide, as where the six numbers are in GDAL's order, or too small, as where
            they are in degrees.
    """
    wide, high = np.hypot(pose.a, pose.d), np.hypot(pose.b, pose.e)
    if min(wide, high) < SMALLEST or not 1 / LONGEST < wide / high < LONGEST:
        raise GroveError(
            f"{where} gives pixels of {wide:g} × {high:g} m. Expected a, b, c, d, e, f of x = a·column + b·row + c and "
            "y = d·column + e·row + f, in metres, not degrees. GDAL lists them as c, a, b, f, d, e."
        )
