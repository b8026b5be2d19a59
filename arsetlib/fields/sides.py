"""Training, validation and test by field: chips of one field share its soil, its light and its anomalies.

Fields are dealt greedily, the rarest class first, to the side that lacks it most.

Source: Sechidis, Tsoumakas & Vlahavas (2011), "On the stratification of multi-label data", ECML PKDD.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import CLASSES, ImageError

SIDES = ("train", "validation", "test")
SHARES = (0.7, 0.15, 0.15)
TRIES = 8


def split(chips: Chips, shares: Sequence[float] = SHARES, seed: int = 0) -> dict[str, Chips]:
    """Chips for training, validation and test; no field is on two sides, each class is on every side.

    Args:
        chips: From ``fields.agriculture_vision``.
        shares: Of training, validation and test, by chips; 0 leaves a side out.
        seed: Same seed, same sides.

    Returns:
        Side → chips, in the order of their names; only sides with a share. Sides come as near to their shares of each
        class as whole fields allow.

    Raises:
        ImageError: Shares that do not add up to 1, fewer fields than sides, or a class that is on fewer fields than
            there are sides: nothing could then be learnt or tested of it.

    Lab: case_fields.
    """
    shares = _shares(shares)
    fields, of = np.unique(chips.fields, return_inverse=True)
    wanted = shares[shares > 0]
    if len(fields) < len(wanted):
        raise ImageError(f"Expected at least {len(wanted)} fields for {len(wanted)} sides, received {len(fields)}.")
    counts = np.zeros((len(fields), len(CLASSES) + 1))  # chips of each class, then all chips
    np.add.at(counts, of, np.column_stack([chips.labels, np.ones(len(chips), np.uint8)]))
    spread = (counts[:, :-1] > 0).sum(0)
    rare = [f"{name} ({n})" for name, n in zip(CLASSES, spread, strict=True) if 0 < n < len(wanted)]
    if rare:
        raise ImageError(
            f"Expected each class on at least {len(wanted)} fields, one for each side, received {', '.join(rare)}. "
            "Take more fields (30 simulated ones have each class on three), or leave a side out: "
            "shares=(0.8, 0, 0.2)."
        )
    side = _dealt(counts, wanted, seed)
    names = [name for name, share in zip(SIDES, shares, strict=True) if share > 0]
    return {name: chips[side[of] == k] for k, name in enumerate(names)}


def _shares(shares) -> np.ndarray:
    shares = np.asarray(shares, float)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise ImageError(
            f"Expected three shares, of training, validation and test, with the sum 1, received {shares.tolist()}."
        )
    if shares[0] == 0:
        raise ImageError("Expected a share for training above 0, received 0.")
    return shares


def _dealt(counts: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """(F,) side of each field: of some tries the one whose sides all have all classes and are nearest their shares."""
    best, least, total = None, np.inf, counts.sum(0)
    for attempt in range(TRIES):
        side = _try(counts, shares, np.random.default_rng([seed, attempt]))
        got = np.stack([counts[side == k].sum(0) for k in range(len(shares))])
        off = float((np.abs(got - shares[:, None] * total) / np.maximum(total, 1)).sum())
        if off < least and ((got > 0) | (total == 0)).all():
            best, least = side, off
    return best if best is not None else _covered(counts, shares, seed)


def _covered(counts: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The last resort: an integer program for sides that all have all classes, with training as large as it can be."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    fields, sides = len(counts), len(shares)
    there = counts[:, counts.sum(0) > 0]
    worth = np.zeros((sides, fields))
    worth[0] = there[:, -1] * np.random.default_rng(seed).uniform(0.99, 1.01, fields)
    once = LinearConstraint(np.tile(np.eye(fields), sides), 1, 1)  # each field on one side
    each = LinearConstraint(np.kron(np.eye(sides), (there > 0).T), 1, np.inf)  # each class on each side
    found = milp(-worth.ravel(), integrality=1, bounds=Bounds(0, 1), constraints=[once, each])
    if found.x is None:
        raise ImageError(
            f"No split of these {fields} fields has each class on each of {sides} sides: their classes come together "
            "too often. Take more fields, or leave a side out: shares=(0.8, 0, 0.2)."
        )
    return found.x.reshape(sides, fields).argmax(0)


def _try(counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    total = counts.sum(0)
    want = shares[:, None] * total  # (sides, classes + 1) still wanted
    side = np.full(len(counts), -1)
    have = counts > 0
    order = rng.permutation(len(counts))
    classes = counts.shape[1] - 1
    while (free := side < 0).any():
        left = (have & free[:, None])[:, :classes].sum(0)
        rarest = int(np.argmin(np.where(left > 0, left, np.inf))) if left.any() else classes
        lacking = [k for k in range(len(shares)) if not (have[:, rarest] & (side == k)).any()]
        todo = order[(free & have[:, rarest])[order]]
        # Fields with most of the class first: the small ones then fill the gaps.
        todo = todo[np.argsort(-counts[todo, rarest], kind="stable")]
        for n, one in enumerate(todo):
            open_to = lacking if lacking and len(todo) - n <= len(lacking) else range(len(shares))
            need = [(want[k, rarest], want[k, classes], rng.random(), k) for k in open_to]
            k = max(need)[3]
            side[one] = k
            want[k] -= counts[one]
            lacking = [j for j in lacking if j != k]
    return side
