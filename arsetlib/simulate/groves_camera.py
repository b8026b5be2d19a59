"""The camera of the simulated flight: it maps the ground to a capture and adds effects of lens and sensor.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter1d

from arsetlib import seeds
from arsetlib.simulate.groves_scene import CameraPose, Grove

BAND = 208  # rows worked on at a time


def place(scene: Grove, pose: CameraPose) -> tuple[range, tuple[float, ...]]:
    """Rows of the ground picture that a capture needs, and the affine map from its pixels to them."""
    height, width = scene.size
    column0, row0 = scene.pixel(pose.c, pose.f)
    scale = scene.metres
    a, b, d, e = pose.a / scale, pose.b / scale, -pose.d / scale, -pose.e / scale
    rows = [d * i + e * j + row0 for i in (0, width) for j in (0, height)]
    top, bottom = max(int(min(rows)) - 3, 0), min(int(max(rows)) + 4, scene.shape[0])
    return range(top, bottom), (a, b, column0, d, e, row0 - top)


def see(scene: Grove, pose: CameraPose, ground: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A capture and its mask.

    Args:
        scene: The plan.
        pose: Where the camera is.
        ground: (H, W, 3) uint8, the ground picture.
        classes: (H, W) uint8, its classes.

    Returns:
        (h, w, 3) uint8 and (h, w) uint8, of ``scene.size``.
    """
    rows, affine = place(scene, pose)
    size = scene.size[::-1]
    part = slice(rows.start, rows.stop)
    mask = Image.fromarray(np.ascontiguousarray(classes[part]))
    mask = np.asarray(mask.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.NEAREST))
    image = Image.fromarray(np.ascontiguousarray(ground[part]))
    image = np.asarray(image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))
    return _expose(scene, pose, image), mask


def _expose(scene, pose, image):
    number = round(pose.second / 2)
    drift = seeds.generator(scene.seed, "grove", "light")
    steps = drift.normal(0, [[0.030], [0.016], [0.020]], (3, 512))  # exposure, red, blue, from capture to capture
    start = drift.normal(0, [0.03, 0.012, 0.02])
    level, red, blue = np.clip((start[:, None] + np.cumsum(steps, axis=1))[:, number % 512], -0.16, 0.16)
    rng = seeds.generator(scene.seed, "grove", "sensor", number)
    smear = 1 + 2 * rng.random() * image.shape[0] / 2912
    gains = np.array([1 + level + red, 1 + level, 1 + level + blue], np.float32)
    height, width = image.shape[:2]
    centre = rng.normal(0, 0.02, 2)
    yy = ((np.arange(height, dtype=np.float32) / height - 0.5 - centre[0]) * 2) ** 2
    xx = ((np.arange(width, dtype=np.float32) / width - 0.5 - centre[1]) * 2 * width / height) ** 2
    corner = np.float32(1 + (width / height) ** 2)
    fall, slant = np.float32(rng.uniform(0.16, 0.24)), np.float32(rng.normal(0, 0.025))
    if smear > 1.3:
        image = uniform_filter1d(image, round(smear + 0.5), axis=0)
    out = np.empty_like(image)
    noise = np.float32(rng.uniform(1.6, 2.4))
    for low in range(0, height, BAND):
        part = slice(low, min(low + BAND, height))
        r2 = (yy[part, None] + xx) / corner
        lens = 1 - fall * r2 * (np.float32(0.6) + np.float32(0.4) * r2)
        lens += slant * (np.arange(width, dtype=np.float32) / width - np.float32(0.5))
        grey = noise * rng.standard_normal(lens.shape, dtype=np.float32)
        for c in range(3):
            plane = image[part, :, c] * (lens * gains[c])
            plane += grey if c == 1 else np.roll(grey, 17 * (c + 1), axis=1)
            out[part, :, c] = np.clip(plane + np.float32(0.5), 0, 255)
    return out
