"""Augment tiles: turn and mirror image and mask together, change the light of the image.

The random numbers of a tile are a hash of (seed, epoch, tile), so the order of tiles and threads has no effect.

Lab: case_groves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arsetlib.groves.classes import GroveError
from arsetlib.samples.draws import draw, keys_of, scrambled


@dataclass(frozen=True)
class Augment:
    """How tiles may be changed.

    Args:
        flips: Mirror left-right and up-down, each in half of the cases.
        turns: Turn by 0, 90, 180 or 270 degrees; tiles that are not square by 0 or 180.
        brightness: Smallest and largest factor of the light.
        contrast: Smallest and largest factor of the distance from mid-grey.

    Lab: case_groves.
    """

    flips: bool = True
    turns: bool = True
    brightness: tuple[float, float] = (0.8, 1.25)
    contrast: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self):
        for noun, (low, high) in (("brightness", self.brightness), ("contrast", self.contrast)):
            if not 0 < low <= high <= 10:
                raise GroveError(f"Expected {noun} as (low, high) factors above 0, up to 10, received {(low, high)}.")


@dataclass(frozen=True)
class Changes:
    """The changes of N tiles: booleans and numbers, (N,) each; ``turn`` in quarter turns, anticlockwise."""

    mirror: np.ndarray
    flip: np.ndarray
    turn: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray

    @classmethod
    def none(cls, count: int) -> Changes:
        """No change of any tile."""
        no, one = np.zeros(count, bool), np.ones(count, np.float32)
        return cls(no, no, np.zeros(count, np.intp), one, one)


def draw_changes(how: Augment, keys: np.ndarray, seed: int, epoch: int = 0, square: bool = True) -> Changes:
    """The changes of some tiles.

    Args:
        how: Which changes are allowed.
        keys: (N,) whole numbers, one per tile.
        seed, epoch: Same seed, epoch and key, same changes.
        square: Whether quarter turns keep a tile's shape.
    """
    keys = np.asarray(keys)
    numbers = draw(scrambled(seed, epoch), keys_of(keys, np.zeros_like(keys))[:, None], np.arange(5)[None, :])
    part = (numbers >> np.uint64(8)).astype(np.float64) / 2**24  # 0 to 1
    turn = (part[:, 2] * 4).astype(np.intp) if how.turns else np.zeros(len(keys), np.intp)
    between = [
        (low + (high - low) * part[:, k]).astype(np.float32)
        for k, (low, high) in ((3, how.brightness), (4, how.contrast))
    ]
    mirror, flip = ((part[:, k] < 0.5) & how.flips for k in (0, 1))
    return Changes(mirror, flip, turn if square else turn // 2 * 2, *between)


def moved(tile: np.ndarray, changes: Changes, k: int) -> np.ndarray:
    """A view of a tile or mask, (H, W, …), mirrored and turned by change ``k``."""
    if changes.mirror[k]:
        tile = tile[:, ::-1]
    if changes.flip[k]:
        tile = tile[::-1]
    return np.rot90(tile, changes.turn[k]) if changes.turn[k] else tile


def light_table(brightness: float, contrast: float) -> np.ndarray:
    """(256,) float32: the new value of each byte, 0 to 1."""
    x = np.arange(256, dtype=np.float32) / np.float32(255)
    if brightness == 1 and contrast == 1:
        return x
    half = np.float32(0.5)
    return np.clip((x * np.float32(brightness) - half) * np.float32(contrast) + half, 0, 1)


def augment(
    image: np.ndarray,
    mask: np.ndarray | None = None,
    seed: int = 0,
    how: Augment | None = None,
    key: int = 0,
    epoch: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mirror, turn and change the light of one tile and its mask, or of a batch of them.

    Args:
        image: (H, W, 3) or (N, H, W, 3), uint8 or float32 of 0 to 1.
        mask: (H, W) or (N, H, W), or None. Moved like the image; its values do not change.
        seed: Same seed, same changes.
        how: Which changes are allowed; None means ``Augment()``.
        key: A number for the tile: another number gives other changes. In a batch that of the first tile, and
            the next tiles have the next numbers.
        epoch: Another epoch gives other changes.

    Returns:
        (image, mask), new arrays of the same dtypes.

    Raises:
        GroveError: Image and mask of different size, or another dtype.

    Lab: case_groves.
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.float32) or image.ndim not in (3, 4):
        raise GroveError(f"Expected (H, W, C) or (N, H, W, C), uint8 or float32, received {image.shape} {image.dtype}.")
    if mask is not None and np.shape(mask) != image.shape[:-1]:
        raise GroveError(f"Expected a mask of the image's size {image.shape[:-1]}, received {np.shape(mask)}.")
    one = image.ndim == 3
    images = image[None] if one else image
    masks = None if mask is None else np.asarray(mask)[None] if one else np.asarray(mask)
    keys = np.arange(len(images)) + key
    changes = draw_changes(how or Augment(), keys, seed, epoch, images.shape[1] == images.shape[2])
    new = np.empty_like(images)
    for k, tile in enumerate(images):
        new[k] = _relit(moved(tile, changes, k), changes.brightness[k], changes.contrast[k])
    moved_masks = None if masks is None else np.stack([moved(m, changes, k) for k, m in enumerate(masks)])
    return (new[0], None if masks is None else moved_masks[0]) if one else (new, moved_masks)


def _relit(tile, brightness, contrast):
    if tile.dtype == np.uint8:
        return np.rint(light_table(brightness, contrast) * 255).astype(np.uint8)[tile]
    half = np.float32(0.5)
    return np.clip((tile * brightness - half) * contrast + half, 0, 1)
