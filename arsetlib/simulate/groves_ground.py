"""The ground picture of the simulated grove: soil, tracks, grass and crowns in sunlight, with their exact classes.

Colours are mixed as reflectances (the square of the values of a picture), so that light is a factor.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from arsetlib import seeds
from arsetlib.simulate import groves_crowns as crowns
from arsetlib.simulate import groves_texture as texture
from arsetlib.simulate.groves_scene import Grove

GROUND, TREE, GRASS = 0, 1, 2
CHUNK = 128  # rows painted at a time
SKY = np.array([0.17, 0.21, 0.29], np.float32)  # light of the sky in a shadow, of what the sun gives


def _colour(*srgb):
    return np.array(srgb, np.float32) ** 2


PALE, BROWN, RED = _colour(0.71, 0.62, 0.50), _colour(0.53, 0.44, 0.34), _colour(0.63, 0.48, 0.36)
FILM = _colour(0.50, 0.49, 0.33)  # thin growth on soil that is still ground
GREEN, YELLOW, STRAW = _colour(0.37, 0.415, 0.255), _colour(0.53, 0.52, 0.34), _colour(0.67, 0.60, 0.45)
LEAF, YOUNG, SILVER = _colour(0.45, 0.47, 0.34), _colour(0.50, 0.51, 0.33), _colour(0.70, 0.68, 0.57)
PIPE = _colour(0.25, 0.24, 0.23)
EXPOSURE = 1.3


def paint(scene: Grove, textures: dict[str, np.ndarray], rows: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some rows of the ground picture.

    Args:
        scene: The plan.
        textures: From ``groves_texture.fine``.
        rows: Which.

    Returns:
        (H, W, 3) uint8 picture; (H, W) uint8 classes; (H, W) int32 numbers of trees, 0 where no crown is.
    """
    halo = crowns.margin(scene)
    shape = len(rows) + 2 * halo, scene.shape[1] + 2 * halo
    high, owner = crowns.heights(scene, textures["leaves"], rows.start - halo, -halo, shape)
    light = crowns.lit(scene, high, textures["tufts"], rows.start - halo, -halo)
    wide = max(3, round(0.35 / scene.metres) | 1)
    around = uniform_filter(high, wide) / np.maximum(uniform_filter((high > 0).astype(np.float32), wide), 1e-3)
    open_sky = np.clip(high - around, -0.7, 0.7)  # m above the crown around
    inner = slice(halo, -halo), slice(halo, -halo)
    shading = _crown_shading(scene, high)[inner]
    high, owner, light, open_sky = high[inner], np.ascontiguousarray(owner[inner]), light[inner], open_sky[inner]
    picture, classes = np.empty((*high.shape, 3), np.uint8), np.empty(high.shape, np.uint8)
    for low in range(0, len(rows), CHUNK):
        part = slice(low, min(low + CHUNK, len(rows)))
        at = range(rows.start + part.start, rows.start + part.stop)
        picture[part], classes[part] = _chunk(
            scene, textures, at, owner[part], light[part], shading[part], open_sky[part]
        )
    return picture, classes, owner


def _crown_shading(scene, high):
    """Light on the slopes of crowns: 1 on level ground."""
    azimuth, elevation = scene.draws["sun_azimuth"], scene.draws["sun_elevation"]
    rise = high.copy()
    gy, gx = np.empty_like(rise), np.empty_like(rise)
    k = max(1, round(0.03 / scene.metres))
    gx[:, k:-k] = (rise[:, 2 * k :] - rise[:, : -2 * k]) * np.float32(1 / (2 * k * scene.metres))
    gy[k:-k] = (rise[2 * k :] - rise[: -2 * k]) * np.float32(-1 / (2 * k * scene.metres))
    gx[:, :k] = gx[:, -k:] = gy[:k] = gy[-k:] = 0
    np.clip(gx, -2.2, 2.2, out=gx)
    np.clip(gy, -2.2, 2.2, out=gy)
    east, north, up = (
        np.float32(v)
        for v in (np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth), np.sin(elevation))
    )
    toward = (up - gx * east - gy * north) / np.sqrt(1 + gx * gx + gy * gy)
    return np.maximum(toward, 0) / up


def _chunk(scene, textures, rows, owner, light, shading, open_sky):
    shape = owner.shape
    columns = np.arange(shape[1], dtype=np.float32)
    down = np.arange(rows.start, rows.stop, dtype=np.float32)

    def tex(name, dy=0, dx=0):
        return texture.window(textures[name], rows.start + dy, dx, *shape)

    def field(name):
        return scene.field(name, down, columns)

    x = np.float32(scene.box[0]) + (columns + np.float32(0.5)) * np.float32(scene.metres)
    y = np.float32(scene.box[3]) - (down + np.float32(0.5)) * np.float32(scene.metres)
    u, v = (a.astype(np.float32) for a in scene.along_across(x[None, :], y[:, None]))
    between = np.float32(scene.draws["between_rows"])
    lane = np.floor(v / between)
    across = v - (lane + np.float32(0.5)) * between  # m from the middle between two rows of trees
    from_row = between / 2 - np.abs(across)
    wander = field("wander") * np.float32(0.22)
    tone, tufts, grain, clods = field("tone"), tex("tufts"), tex("grain"), tex("clods")

    wheel, worn = _wheels(scene, lane, across + wander, tex("tufts", 901, 377))
    height = _grass_field(
        scene, lane, across + wander, from_row, field("weeds"), tufts, tex("patches", 233, 1201), wheel
    )
    grass, tree = height > 0, owner > 0
    relief = clods + np.float32(0.35) * grain
    slope = _toward_sun(scene, relief)

    soil = _soil(scene, tone, field("hue"), clods, grain, tex("tilled"), tufts, wheel * worn)
    _film(soil, field("film"), tex("tufts", 71, 613), height)
    pipe = np.abs(across + between / 2 - np.float32(0.3) - np.float32(0.035) * np.sin(u * np.float32(0.9)) - wander)
    pipe += np.float32(9) * (scene.row_draw(lane, "pipe") < 0.45)
    tuned = np.float32(1) + slope * np.float32(0.13) * (1 - np.float32(0.55) * wheel * worn)
    leafy = _grass(field("dry"), field("tone"), tufts, tex("blades"), tex("clods", 517, 99), height)
    crown = _crowns(scene, owner, tex("leaves", 811, 405), tex("sprays", 5, 77), open_sky)
    sun = np.where(tree, shading * np.float32(0.92), tuned)
    hollow = np.where(tree, np.clip(np.float32(0.78) + np.float32(0.45) * open_sky, 0.30, 1.15), 1)
    sun *= light * np.where(tree, np.clip(np.float32(0.88) + np.float32(0.65) * open_sky, 0.25, 1.15), 1)
    sun_share = np.float32(1) - SKY

    picture = np.empty((*shape, 3), np.uint8)
    piped = (pipe < np.float32(max(0.011, 0.45 * scene.metres))) & ~tree & (height < 0.7)
    for c in range(3):
        plane = np.where(grass, leafy[c], soil[c])
        plane[piped] = PIPE[c]
        np.copyto(plane, crown[c], where=tree)
        plane *= (sun * sun_share[c] + hollow * SKY[c]) * np.float32(EXPOSURE)
        np.sqrt(np.clip(plane, 0, 1, out=plane), out=plane)
        picture[..., c] = plane * np.float32(255) + np.float32(0.5)
    classes = np.where(tree, np.uint8(TREE), np.where(grass, np.uint8(GRASS), np.uint8(GROUND)))
    return picture, classes


def _toward_sun(scene, relief):
    """Rise of a texture towards the sun from pixel to pixel, standard deviation near 1."""
    azimuth = scene.draws["sun_azimuth"]
    slope = np.zeros_like(relief)
    slope[:, 1:] -= np.diff(relief, axis=1) * np.float32(np.sin(azimuth))
    slope[1:] += np.diff(relief, axis=0) * np.float32(np.cos(azimuth))
    return slope * np.float32(2.2)


def _wheels(scene, lane, across, patches):
    """Where wheels run in the lanes between the rows, 0 to 1, and how worn the lane is."""
    worn = np.float32(0.25) + np.float32(0.75) * scene.row_draw(lane, "worn")
    off = np.abs(np.abs(across) - np.float32(0.82))
    wheel = np.clip(np.float32(1.5) - off * np.float32(4.5) + np.float32(0.22) * patches, 0, 1)
    return wheel, worn


def _grass_field(scene, lane, across, from_row, weeds, tufts, more, wheel):
    """Density of grass; grass grows where it is above 0."""
    kept = scene.row_draw(lane, "grass") * np.float32(1.5) - np.float32(0.85)  # how the lane is managed
    middle = np.clip(np.float32(1.2) - np.abs(across) / np.float32(1.9), -0.6, 0.7)
    under = np.clip((np.float32(0.95) - from_row) * np.float32(1.3), 0, 0.9)  # weeded under the trees
    height = kept + middle + np.float32(0.62) * weeds - under - np.float32(0.50) * wheel - np.float32(0.42)
    return height + np.float32(0.13) * tufts + np.float32(0.36) * more


def _soil(scene, tone, hue, clods, grain, tilled, tufts, wheel):
    pale = np.clip(np.float32(0.42) + np.float32(0.27) * tone + np.float32(0.06) * tufts, 0, 1)
    red = np.clip(np.float32(0.32) + np.float32(0.26) * hue, 0, 0.85)
    pale = np.minimum(pale + np.float32(0.5) * wheel, np.float32(1.1))
    rough = (np.float32(0.105) * tilled + np.float32(0.05) * clods) * (1 - np.float32(0.8) * wheel)
    level = np.exp(rough + np.float32(0.05) * grain + np.float32(0.04) * tufts)
    stones = np.clip((grain + np.float32(0.5) * clods - np.float32(3.0)) * np.float32(1.4), 0, 0.9)
    planes = []
    for c in range(3):
        plane = PALE[c] * pale + (1 - pale) * (BROWN[c] + (RED[c] - BROWN[c]) * red)
        plane *= level
        plane += stones * (np.float32(0.56) - plane)
        planes.append(plane)
    return planes


def _film(soil, film, patches, height):
    """Thin growth and litter change the colour of bare soil, more near grass."""
    share = np.float32(0.26) + np.float32(0.22) * film + np.float32(0.16) * patches
    share += np.float32(0.30) * np.clip(np.float32(1) + height * np.float32(1.6), 0, 1)
    np.clip(share, 0, 0.85, out=share)
    for c in range(3):
        soil[c] += share * (FILM[c] - soil[c])


def _grass(dry, tone, tufts, blades, clods, height):
    """Green where it is dense, straw where it is dry; blades are fine and of strong contrast."""
    straw = np.clip(np.float32(0.50) + np.float32(0.42) * dry + np.float32(0.12) * tufts, 0, 1)
    yellow = np.clip(np.float32(0.55) + np.float32(0.25) * tone - np.float32(0.22) * clods, 0, 1)
    yellow *= 1 - np.float32(0.35) * np.clip(height, 0, 1)
    level = np.exp(np.float32(0.21) * blades + np.float32(0.11) * tufts + np.float32(0.07) * clods - np.float32(0.06))
    planes = []
    for c in range(3):
        plane = GREEN[c] + yellow * (YELLOW[c] - GREEN[c])
        plane += straw * (STRAW[c] - plane)
        planes.append(plane * level)
    return planes


def _crowns(scene, owner, leaves, sprays, open_sky):
    """Colour of leaves: green, or silver where their undersides are visible; each tree differs a little."""
    draws = seeds.generator(scene.seed, "grove", "crowns").normal(0, 1, (2, 1 + len(scene.trees))).astype(np.float32)
    hue, level = draws[0][owner], draws[1][owner]
    silver = np.clip(np.float32(0.34) + np.float32(0.2) * sprays + np.float32(0.15) * hue + open_sky * 0.5, 0, 1)
    bright = np.exp(np.float32(0.23) * leaves + np.float32(0.22) * sprays + np.float32(0.19) * level)
    young = np.clip(np.float32(0.5) - np.float32(0.5) * hue, 0, 1)
    planes = []
    for c in range(3):
        plane = LEAF[c] + young * (YOUNG[c] - LEAF[c])
        plane += silver * (SILVER[c] - plane)
        planes.append(plane * bright)
    return planes
