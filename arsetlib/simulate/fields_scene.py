"""Paint one chip of a simulated field: crop rows on soil, the anomalies, the border, the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arsetlib import seeds
from arsetlib.fields.classes import CLASSES
from arsetlib.simulate.fields_anomalies import GRASS, HIDE, PAINTERS, STRAW, TAU, YELLOW, ChipCanvas
from arsetlib.simulate.fields_draws import Field
from arsetlib.simulate.fields_noise import axes, blob, grain, ramp, shares_within, waves

LEAST = 0.006  # share of the valid pixels below which an anomaly is too small to label
# Shares of the chips with other features: a cloud shadow, a border, missing pixels, a thin crop, damp soil.
SHADOW, BORDER, CUT, THIN, DAMP = 0.12, 0.22, 0.14, 0.18, 0.14
ATTEMPTS = 6  # to show all anomalies of a chip
STEPS = 4096  # of the table that turns reflectance into pixel values
BRIGHTEST = 0.9  # reflectance at the table's end


@dataclass(frozen=True)
class Chip:
    """A painted chip.

    Args:
        pixels: (4, S, S) uint8: red, green, blue, near infrared.
        labels: Class → (S, S) bool, its pixels; only classes that can be seen.
        bounds: (S, S) bool, the field.
        valid: (S, S) bool, pixels that the camera has.
    """

    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    bounds: np.ndarray
    valid: np.ndarray


def paint(one: Field, number: int, corner: tuple[int, int], names: tuple[str, ...]) -> Chip:
    """Paint a chip.

    Args:
        one: Its field.
        number: Which chip of the field.
        corner: (x1, y1) in the field's picture, pixels.
        names: Anomalies to paint. If a border, a missing corner or a pond leaves too little of one, the chip is
            drawn again, a few times.
    """
    for attempt in range(ATTEMPTS):
        chip = _paint(one, seeds.generator(one.seed, "fields", one.number, "chip", number, attempt), corner, names)
        if len(chip.labels) == len(names):
            break
    return chip


def _paint(one: Field, rng: np.random.Generator, corner, names) -> Chip:
    canvas = _crop(one, rng, corner)
    bounds = _border(canvas, names)
    _decoys(canvas)
    masks = {name: PAINTERS[name](canvas) for name in PAINTERS if name in names}
    reflectance = _reflectance(canvas)
    if bounds is not None:
        _beyond(canvas, reflectance, bounds)
    if rng.random() < SHADOW:
        _shadow(canvas, reflectance)
    everywhere = np.ones((one.size, one.size), bool)
    inside = everywhere if bounds is None else bounds
    valid = _cut(rng, one.size) if rng.random() < CUT else everywhere
    pixels = _camera(one, rng, reflectance)
    pixels[:, ~valid] = 0
    return Chip(pixels, _seen(masks, inside & valid), inside, valid)


def _crop(one: Field, rng: np.random.Generator, corner) -> ChipCanvas:
    """Rows on soil, each row a little different, with growth that varies over tens of metres."""
    x, y = axes(one.size)
    x, y = x * one.size + np.float32(corner[0] % 100_000), y * one.size + np.float32(corner[1] % 100_000)
    c, s = np.float32(np.cos(one.angle)), np.float32(np.sin(one.angle))
    across, along = x * c + y * s, y * c - x * s
    drift = waves(rng, one.size, 2)
    number = across * np.float32(1 / one.row) + np.float32(0.05) * drift
    ripple = np.cos(number * TAU)
    each = seeds.generator(one.seed, "fields", one.number, "rows").standard_normal(1024, dtype=np.float32)
    which = np.floor(number + np.float32(0.5)).astype(np.int32)
    which &= 1023
    growth = np.take(each, which) * np.float32(0.03) + waves(rng, one.size, 4, 3) * np.float32(one.vigour)
    cover = np.float32(one.cover) + growth
    if one.tracks:
        wheel = np.mod(which, one.tracks)
        cover[(wheel == 3) | (wheel == 6)] -= np.float32(0.13)
    tone = np.float32(1) + np.float32(0.10) * waves(rng, one.size, one.size / max(one.row * 0.8, 2.5))
    tone += np.float32(0.5) * growth
    return ChipCanvas(one, rng, across, along, cover, ripple, tone)


def _decoys(canvas: ChipCanvas) -> None:
    """Differences that are not anomalies: a thin crop through which pale soil can be seen; damp, dark soil."""
    rng, size = canvas.rng, canvas.size
    if rng.random() < THIN:
        depth = blob(rng, size, canvas.place(), rng.uniform(0.15, 0.4, 2), 0.5, 4)
        canvas.cover *= 1 - ramp(depth, 0.3) * np.float32(rng.uniform(0.15, 0.45))
    if rng.random() < DAMP:
        depth = blob(rng, size, canvas.place(), rng.uniform(0.10, 0.3, 2), 0.5, 5)
        alpha = ramp(depth, 0.5)
        canvas.cover *= 1 - np.float32(0.6) * alpha
        damp = tuple(canvas.field.soil * np.float32(rng.uniform(0.35, 0.6)))
        canvas.layers.append((alpha * np.float32(rng.uniform(0.4, 0.75)), damp, np.float32(1)))


def _border(canvas: ChipCanvas, names) -> np.ndarray | None:
    """The pixels within the field, if it ends on this chip: on half of those with a headland, on some others."""
    rng, one = canvas.rng, canvas.field
    if rng.random() >= (0.45 if "endrow" in names else BORDER):
        return None
    turn = one.angle + np.pi / 2 + (np.pi if rng.random() < 0.5 else 0) + rng.normal(0, 0.04)
    if "endrow" not in names and rng.random() < 0.5:
        turn += np.pi / 2
    nx, ny = float(np.cos(turn)), float(np.sin(turn))
    offset = 0.5 * (nx + ny) - rng.uniform(0.22, 0.42)
    canvas.edge = nx, ny, offset
    x, y = axes(one.size)
    return x * np.float32(nx) + y * np.float32(ny) > np.float32(offset)


def _reflectance(canvas: ChipCanvas) -> np.ndarray:
    """(4, S, S) reflectance of crop, soil and anomalies."""
    one, rng, size = canvas.field, canvas.rng, canvas.size
    cover = canvas.cover + canvas.ripple * np.float32(one.contrast)
    np.clip(cover, 0, 1, out=cover)
    leaves = canvas.tone * (1 + np.float32(one.shade) * canvas.ripple)
    moist = np.float32(1) - np.float32(0.10) * waves(rng, size, 3, 2) + np.float32(0.10) * grain(rng, size)
    out = np.empty((4, size, size), np.float32)
    for k in range(4):
        leaf = np.float32(one.crop[k])
        if canvas.yellow is not None:
            leaf = leaf + (np.float32(YELLOW[k]) - leaf) * canvas.yellow
        if canvas.dry is not None:
            leaf = leaf + (np.float32(STRAW[k]) - leaf) * canvas.dry
        ground = np.float32(one.soil[k]) * moist
        out[k] = ground + (leaf * leaves - ground) * cover
        for alpha, colour, tone in canvas.layers:
            out[k] += alpha * (np.float32(colour[k]) * tone - out[k])
    return out


def _beyond(canvas: ChipCanvas, reflectance: np.ndarray, bounds: np.ndarray) -> None:
    """Outside the border: a dirt road, then grass or another crop."""
    rng, size, one = canvas.rng, canvas.size, canvas.field
    nx, ny, offset = canvas.edge
    x, y = axes(size)
    depth = np.float32(offset) - (x * np.float32(nx) + y * np.float32(ny))  # from the border outward
    road = rng.uniform(0.02, 0.06) if rng.random() < 0.6 else 0.0
    tuft = 1 + np.float32(0.12) * waves(rng, size, size / 6) + np.float32(0.10) * waves(rng, size, 5, 2)
    other = np.array(GRASS) * rng.uniform(0.7, 1.2, 4)
    if rng.random() < 0.4:
        tuft = tuft + np.float32(0.15) * canvas.rows(one.angle + np.pi / 2, one.row)
        other = one.crop * rng.uniform(0.8, 1.3, 4)
    dirt = one.soil * 1.15
    outside = ~bounds
    way = outside & (depth < road)
    for k in range(4):
        plane = reflectance[k]
        np.copyto(plane, np.float32(other[k]) * tuft, where=outside)
        np.copyto(plane, np.float32(dirt[k]) * (tuft * np.float32(0.3) + np.float32(0.7)), where=way)


def _shadow(canvas: ChipCanvas, reflectance: np.ndarray) -> None:
    """A cloud shadow: dark and bluish; it is not an anomaly."""
    rng = canvas.rng
    deep = ramp(waves(rng, canvas.size, 2, 2) - np.float32(0.3), 0.5)
    for k, strength in enumerate((0.5, 0.46, 0.38, 0.52)):
        reflectance[k] *= 1 - np.float32(strength) * deep


def _cut(rng: np.random.Generator, size: int) -> np.ndarray:
    """Valid pixels: a straight edge cuts off a corner or a strip."""
    x, y = axes(size)
    turn = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
    nx, ny = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return (x - np.float32(0.5)) * nx + (y - np.float32(0.5)) * ny > np.float32(-rng.uniform(0.2, 0.45))


def _camera(one: Field, rng: np.random.Generator, reflectance: np.ndarray) -> np.ndarray:
    """(4, S, S) uint8 as the camera stores it: gain, haze, gamma, noise."""
    gain = one.light * np.float32(rng.uniform(0.93, 1.07))
    haze = float(rng.uniform(0.0, 0.03))
    value = np.linspace(0, BRIGHTEST, STEPS)
    noise = grain(rng, one.size) * np.float32(0.012)
    out = np.empty(reflectance.shape, np.uint8)
    for k in range(4):
        scale = 0.62 if k == 3 else 1.0  # the near infrared is bright: the camera takes less of it
        lit = np.clip(value * gain[k] * scale * 2.0 + (haze if k < 3 else 0.2 * haze), 0, 1)
        table = np.round(255 * lit**one.gamma).astype(np.uint8)
        plane = reflectance[k]
        plane *= 1 + noise
        plane *= np.float32((STEPS - 1) / BRIGHTEST)
        np.clip(plane, 0, STEPS - 1, out=plane)
        np.take(table, plane.astype(np.int16), out=out[k], mode="clip")
    return out


def _seen(masks: dict[str, np.ndarray], where: np.ndarray) -> dict[str, np.ndarray]:
    """The visible pixels of each anomaly, in the order of the classes."""
    labels, hidden = {}, np.zeros(where.shape, bool)
    for name in reversed(PAINTERS):  # from the top down
        if name not in masks:
            continue
        mask = masks[name] & where & ~hidden
        if shares_within(mask, where) >= LEAST:
            labels[name] = mask
        if name in HIDE:
            hidden |= masks[name]
    return {name: labels[name] for name in CLASSES if name in labels}
