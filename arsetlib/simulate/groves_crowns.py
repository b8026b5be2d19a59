"""Crowns and their shadows: the height above ground of each pixel, and how much sunlight reaches it.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from arsetlib import seeds
from arsetlib.simulate import groves_texture as texture
from arsetlib.simulate.groves_scene import Grove, Tree

REACH = 1.35  # a crown's farthest leaf, in radii
TALLEST = 5.6  # m
LEAVES = 2.4  # share of the light that a metre of leaves takes, as an exponent
BARE_STEM = 0.7  # m under the crown where light passes


def lobes(seed: int, tree: Tree) -> np.ndarray:
    """The clumps of leaves that make a crown.

    Returns:
        (N, 6) float32: x, y from the stem, radius, height of the centre, m; stretch, and its direction, radians.
    """
    rng = seeds.generator(seed, "grove", "tree", tree.number)
    radius = tree.radius
    branches = int(np.clip(rng.integers(4, 7) + 2.2 * radius, 4, 12))
    angle = (np.arange(branches) + rng.normal(0, 0.28, branches)) * 2 * np.pi / branches
    far = np.clip(rng.normal(0.52, 0.16, branches), 0.1, 0.82) * radius
    middle = np.stack([far * np.cos(angle), far * np.sin(angle)])
    count = int(np.clip(46 * radius**1.4, 16, 190))
    mine = rng.integers(-1, branches, count)  # -1: around the stem
    spread = radius * np.where(mine < 0, 0.30, 0.185)
    x, y = np.where(mine < 0, 0, middle[:, mine]) + rng.normal(0, 1, (2, count)) * spread
    squeeze, turned = rng.uniform(0.84, 1.0), rng.uniform(0, np.pi)
    x, y = x * np.cos(turned) - y * squeeze * np.sin(turned), x * np.sin(turned) + y * squeeze * np.cos(turned)
    away = np.hypot(x, y) / radius
    inside = np.minimum(1, 1.02 / np.maximum(away, 1e-6))
    x, y, away = x * inside, y * inside, np.minimum(away, 1.02)
    size = np.clip(rng.lognormal(np.log(0.23), 0.36, count), 0.09, 0.52) * (0.7 + 0.3 * min(radius / 1.6, 1.3))
    size *= 1.12 - 0.35 * away
    dome = np.sqrt(np.clip(1 - (away / 1.2) ** 2, 0, 1))
    height = 0.9 + (tree.height - 1.3) * (0.2 + 0.8 * dome) + rng.normal(0, 0.2, count)
    long = np.exp(rng.normal(0, 0.22, count))
    turned = rng.uniform(0, np.pi, count)
    return np.stack([x, y, size, np.maximum(height, 0.8), long, turned], axis=1).astype(np.float32)


def heights(
    scene: Grove, leaves: np.ndarray, top: int, left: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Height of the crowns above ground, and the tree that each pixel belongs to.

    Args:
        scene: The plan.
        leaves: The periodic texture that makes the edges of clumps irregular.
        top, left: First row and column of the part, pixels of the ground picture; may be negative.
        shape: Of the part.

    Returns:
        (H, W) float32, m, 0 where no crown is; (H, W) int32, number of the tree or 0.
    """
    high, owner = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    step = np.float32(scene.metres)
    for tree in scene.trees:
        column, row = scene.pixel(tree.x, tree.y)
        reach = (tree.radius * REACH + 0.6) / step
        if not (-reach < row - top < shape[0] + reach and -reach < column - left < shape[1] + reach):
            continue
        for x, y, size, centre, long, turned in lobes(scene.seed, tree):
            c, r = column + x / step - left, row - y / step - top
            half = 1.35 * size * max(long, 1 / long) / step + 1
            i0, i1 = max(int(r - half), 0), min(int(r + half) + 2, shape[0])
            j0, j1 = max(int(c - half), 0), min(int(c + half) + 2, shape[1])
            if i0 >= i1 or j0 >= j1:
                continue
            dy = (np.arange(i0, i1, dtype=np.float32) + np.float32(0.5 - r)) * step
            dx = (np.arange(j0, j1, dtype=np.float32) + np.float32(0.5 - c)) * step
            frayed = texture.window(leaves, top + i0, left + j0, i1 - i0, j1 - j0)
            edge = size * (1 + np.float32(0.16) * frayed)
            one, other = np.cos(turned), np.sin(turned)
            p, q = (dx * one + (dy * other)[:, None]) / long, (dx * other - (dy * one)[:, None]) * long
            room = edge * edge - p * p - q * q
            z = np.sqrt(np.maximum(room, 0)) + centre
            part = high[i0:i1, j0:j1]
            above = (room > 0) & (z > part)
            part[above] = z[above]
            owner[i0:i1, j0:j1][above] = tree.number
    return high, owner


def margin(scene: Grove) -> int:
    """Pixels around a part from which a shadow can fall into it."""
    return int(np.ceil(TALLEST / np.tan(scene.draws["sun_elevation"]) / scene.metres)) + 4


def lit(scene: Grove, high: np.ndarray, gaps: np.ndarray, top: int, left: int) -> np.ndarray:
    """How much sunlight each pixel gets, 0 to 1, computed along the direction of the sun at half the resolution.

    Leaves let some light through, in spots: ``gaps`` is the periodic texture of these spots. In the part's margin (see
    ``margin``) the result is not valid.
    """
    azimuth, slope = scene.draws["sun_azimuth"], np.tan(scene.draws["sun_elevation"])
    half = np.ascontiguousarray(high[::2, ::2])
    through = np.zeros(half.shape, np.float32)  # m of leaves on the way to the sun
    pixel = 2 * scene.metres
    step = max(0.09, 1.01 * pixel)
    reach = (half.max() if half.size else 0) / slope
    base = half + np.float32(0.10)
    for k in range(1, int(reach / step) + 2):
        dj, di = round(k * step * np.sin(azimuth) / pixel), round(-k * step * np.cos(azimuth) / pixel)
        rise = np.float32(k * step * slope)
        here, there = _shifted(half.shape, di, dj)
        ray = base[here] + rise
        through[here] += (half[there] > ray) & (ray > BARE_STEM)
    spots = texture.window(gaps, top // 2, left // 2, *half.shape)
    light = np.exp(-through * np.float32(LEAVES * step) * np.exp(np.float32(0.42) * spots))
    light = uniform_filter(light, 3)
    full = np.repeat(np.repeat(light, 2, axis=0), 2, axis=1)[: high.shape[0], : high.shape[1]]
    return uniform_filter(full, 3)


def _shifted(shape, di, dj):
    """Slices of an array and of its neighbours (di, dj) away."""
    rows, columns = shape
    a = slice(max(0, -di), min(rows, rows - di)), slice(max(0, -dj), min(columns, columns - dj))
    b = slice(max(0, di), min(rows, rows + di)), slice(max(0, dj), min(columns, columns + dj))
    return a, b
