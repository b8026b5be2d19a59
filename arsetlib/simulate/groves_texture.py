"""Textures of the simulated grove: random fields with a chosen range of wavelengths, made by filtering white noise.

A fine texture is a periodic square that repeats over the ground; it has only short wavelengths, so that the repetition
is not visible. Slow changes over metres are fields that cover the whole scene on a coarse grid.

``noise.smooth`` cannot serve here: its splines contain all waves longer than their cell, and their edges do not fit
together. A texture that repeats must have no long waves, must be periodic, and must be able to stretch along the rows.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from arsetlib import seeds

COARSE = 0.25  # m, grid of the fields that cover the whole scene

# Name → (shortest, longest wavelength in m, how much stronger long waves are).
FINE = {
    "grain": (0.02, 0.07, 0.0),
    "clods": (0.05, 0.60, 1.3),
    "tufts": (0.14, 0.90, 1.0),
    "patches": (0.40, 2.5, 0.9),
    "blades": (0.03, 0.16, 0.6),
    "leaves": (0.035, 0.16, 0.5),
    "sprays": (0.10, 0.45, 0.8),
}
COARSE_FIELDS = {
    "tone": (5.0, 40.0, 1.0),
    "hue": (3.0, 30.0, 1.0),
    "weeds": (2.0, 14.0, 0.9),
    "dry": (1.5, 22.0, 1.0),
    "film": (1.2, 12.0, 0.8),
    "vigour": (6.0, 40.0, 1.0),
    "wander": (8.0, 40.0, 1.5),
}


def waves(
    rng: np.random.Generator,
    shape: tuple[int, int],
    step: float,
    short: float,
    long: float,
    slope: float,
    stretch: tuple[float, float] | None = None,
) -> np.ndarray:
    """A periodic random field of wavelengths ``short`` to ``long``.

    Args:
        rng: Generator of random numbers.
        shape: (rows, columns).
        step: Side of a pixel, m.
        short, long: Wavelengths, m.
        slope: Amplitude falls as frequency to this power.
        stretch: (angle, factor): waves are so many times longer along the direction ``angle`` (radians from the
            columns' axis, upward).

    Returns:
        (rows, columns) float32, mean 0, standard deviation 1.
    """
    long = max(long, 5 * step)
    fy = fft.fftfreq(shape[0], step).astype(np.float32)[:, None]
    fx = fft.rfftfreq(shape[1], step).astype(np.float32)[None, :]
    if stretch:
        angle, factor = stretch
        along = fx * np.cos(angle) - fy * np.sin(angle)
        across = fx * np.sin(angle) + fy * np.cos(angle)
        f = np.hypot(along * factor, across)
    else:
        f = np.hypot(fx, fy)
    f[0, 0] = 1e-6
    near = (f * long) ** 8
    amplitude = f ** np.float32(-slope) / (1 + (f * short) ** 8) * (near / (1 + near))
    amplitude[0, 0] = 0
    field = fft.irfft2(fft.rfft2(rng.standard_normal(shape, dtype=np.float32)) * amplitude, s=shape)
    return (field / field.std()).astype(np.float32)


def fine(seed: int, step: float, side: int, along: float) -> dict[str, np.ndarray]:
    """The periodic textures, (side, side) each; ``along`` is the direction of the rows, in which soil is tilled."""
    fields = {name: waves(seeds.generator(seed, "grove", name), (side, side), step, *how) for name, how in FINE.items()}
    fields["tilled"] = waves(seeds.generator(seed, "grove", "tilled"), (side, side), step, 0.12, 0.5, 0.4, (along, 9.0))
    return fields


def coarse(seed: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The fields of the whole scene on a grid of ``COARSE`` metres."""
    sides = tuple(fft.next_fast_len(n + int(20 / COARSE)) for n in shape)
    return {
        name: waves(seeds.generator(seed, "grove", name), sides, COARSE, *how)[: shape[0], : shape[1]].copy()
        for name, how in COARSE_FIELDS.items()
    }


def window(texture: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A part of a periodic texture, from any row and column on."""
    rows = texture[np.arange(top, top + height) % len(texture)]
    side = texture.shape[1]
    left %= side
    parts, at = [], left
    while width > 0:
        parts.append(rows[:, at : at + width])
        width -= parts[-1].shape[1]
        at = 0
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def enlarge(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Linear interpolation of a coarse field at ``rows`` × ``columns`` (grid positions, ascending or not)."""
    i = np.clip(rows.astype(np.intp), 0, field.shape[0] - 2)
    j = np.clip(columns.astype(np.intp), 0, field.shape[1] - 2)
    u, v = (rows - i).astype(np.float32)[:, None], (columns - j).astype(np.float32)
    down = field[i] + (field[i + 1] - field[i]) * u  # (rows, coarse columns)
    low = down[:, j]
    low += (down[:, j + 1] - low) * v
    return low
