"""From drone images to batches of tiles: find, check, read, cut, augment, split, hand over, put together again.

    found = tiles.captures("data/grove")
    sides = tiles.split(found, seed=1)
    train = tiles.batches(sides["train"], grid=(5, 7), size=224, batch=8, augment=True, seed=1)
    test = tiles.batches(sides["test"], grid=(5, 7), size=224, batch=8)

Only ``batches`` needs TensorFlow, and imports it when called; reading pictures needs Pillow (``arsetlib[images]``).

Lab: case_olive_groves.
"""

from arsetlib.tiles.changes import Augment, augment
from arsetlib.tiles.classes import CLASSES, IGNORE, Classes, TileError
from arsetlib.tiles.cutting import GRID, Canvas, Tiles, cut, places, stitch
from arsetlib.tiles.layouts import LAYOUTS, Capture, boxes, captures, read
from arsetlib.tiles.loader import Loader, arrays, batches, one_hot, reduced, reduced_mask
from arsetlib.tiles.report import Report, check
from arsetlib.tiles.sides import Dealt, LeakWarning, ground_seen, leaky_split, split

__all__ = [
    "CLASSES",
    "GRID",
    "IGNORE",
    "LAYOUTS",
    "Augment",
    "Canvas",
    "Capture",
    "Classes",
    "Dealt",
    "LeakWarning",
    "Loader",
    "Report",
    "TileError",
    "Tiles",
    "arrays",
    "augment",
    "batches",
    "boxes",
    "captures",
    "check",
    "cut",
    "ground_seen",
    "leaky_split",
    "one_hot",
    "places",
    "read",
    "reduced",
    "reduced_mask",
    "split",
    "stitch",
]
