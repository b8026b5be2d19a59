"""Training, validation and test by field: chips of one field share its soil, its light and its anomalies.

Fields are assigned greedily, the rarest class first, to the set that needs it most.

Source: Sechidis, Tsoumakas & Vlahavas (2011), "On the stratification of multi-label data", ECML PKDD.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arsetlib import seeds
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import CLASSES, ImageError

SIDES = ("train", "validation", "test")
SHARES = (0.7, 0.15, 0.15)
TRIES = 8


def split(chips: Chips, shares: Sequence[float] = SHARES, seed: int = 0) -> dict[str, Chips]:
    """Chips for training, validation and test; each field is in one set only, and each class is in every set.

    Args:
        chips: From ``fields.agriculture_vision``.
        shares: Of training, validation and test, by chips; 0 leaves a set out.
        seed: Same seed, same sets.

    Returns:
        Set → chips, in the order of their names; only sets with a share. The sets come as near to their shares of each
        class as whole fields allow.

    Raises:
        ImageError: Shares that do not add up to 1, fewer fields than sets, or a class that is on fewer fields than
            there are sets: it could not be both learnt and tested.

    >>> import tempfile; from arsetlib import fields, simulate
    >>> folder = simulate.fields(tempfile.mkdtemp(), fields=30, chips=1, size=32, progress=False)
    >>> sides = split(fields.agriculture_vision(folder), seed=0)
    >>> list(sides), sum(len(chips) for chips in sides.values())
    (['train', 'validation', 'test'], 30)

    Lab: case_fields.
    """
    shares = _shares(shares)
    fields, field_of = np.unique(chips.fields, return_inverse=True)
    wanted = shares[shares > 0]
    if len(fields) < len(wanted):
        raise ImageError(f"Expected at least {len(wanted)} fields for {len(wanted)} sides, received {len(fields)}.")
    counts = np.zeros((len(fields), len(CLASSES) + 1))  # chips of each class, then all chips
    np.add.at(counts, field_of, np.column_stack([chips.labels, np.ones(len(chips), np.uint8)]))
    spread = (counts[:, :-1] > 0).sum(0)
    rare = [f"{name} ({n})" for name, n in zip(CLASSES, spread, strict=True) if 0 < n < len(wanted)]
    if rare:
        raise ImageError(
            f"Expected each class on at least {len(wanted)} fields, one for each side, received {', '.join(rare)}. "
            "Take more fields (30 simulated ones have each class on three), or leave a side out "
            "(in Python: shares=(0.8, 0, 0.2))."
        )
    side = _best_of_tries(counts, wanted, seed)
    if side is None:
        side = _by_integer_program(counts, len(wanted), seed)
    names = [name for name, share in zip(SIDES, shares, strict=True) if share > 0]
    return {name: chips[side[field_of] == k] for k, name in enumerate(names)}


def _shares(shares) -> np.ndarray:
    shares = np.asarray(shares, float)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise ImageError(
            f"Expected three shares, of training, validation and test, with the sum 1, received {shares.tolist()}."
        )
    if shares[0] == 0:
        raise ImageError("Expected a share for training above 0, received 0.")
    return shares


def _best_of_tries(counts: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray | None:
    """(F,) set of each field: of the tries with all classes in all sets, the one nearest to the shares."""
    best, least, total = None, np.inf, counts.sum(0)
    for attempt in range(TRIES):
        side = _greedy(counts, shares, seeds.generator(seed, "split", attempt))
        sums = np.stack([counts[side == k].sum(0) for k in range(len(shares))])
        distance = float((np.abs(sums - shares[:, None] * total) / np.maximum(total, 1)).sum())
        if distance < least and ((sums > 0) | (total == 0)).all():
            best, least = side, distance
    return best


def _greedy(counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(F,) set of each field."""
    fields, classes = len(counts), counts.shape[1] - 1
    needed = shares[:, None] * counts.sum(0)  # (sets, classes + 1)
    side, has, order = np.full(fields, -1), counts > 0, rng.permutation(fields)
    while (free := side < 0).any():
        left = (has & free[:, None])[:, :classes].sum(0)
        rarest = int(np.argmin(np.where(left > 0, left, np.inf))) if left.any() else classes
        lacking = [k for k in range(len(shares)) if not (has[:, rarest] & (side == k)).any()]
        queue = order[(free & has[:, rarest])[order]]
        # Fields with most chips of the class first: the small ones then fill the gaps.
        queue = queue[np.argsort(-counts[queue, rarest], kind="stable")]
        for n, field in enumerate(queue):
            # When only as many fields are left as sets lack the class, only those sets may take one.
            allowed = lacking if lacking and len(queue) - n <= len(lacking) else range(len(shares))
            k = max((needed[k, rarest], needed[k, classes], rng.random(), k) for k in allowed)[3]
            side[field] = k
            needed[k] -= counts[field]
            lacking = [other for other in lacking if other != k]
    return side


def _by_integer_program(counts: np.ndarray, sides: int, seed: int) -> np.ndarray:
    """(F,) set of each field, where the tries failed: all classes in all sets, and training as large as possible."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    fields = len(counts)
    known = counts[:, counts.sum(0) > 0]
    worth = np.zeros((sides, fields))
    worth[0] = known[:, -1] * seeds.generator(seed, "split", "program").uniform(0.99, 1.01, fields)
    once = LinearConstraint(np.tile(np.eye(fields), sides), 1, 1)  # each field in one set
    each = LinearConstraint(np.kron(np.eye(sides), (known > 0).T), 1, np.inf)  # each class in each set
    solution = milp(-worth.ravel(), integrality=1, bounds=Bounds(0, 1), constraints=[once, each])
    if solution.x is None:
        raise ImageError(
            f"No split of these {fields} fields has each class on each of {sides} sides: their classes come together "
            "too often. Take more fields, or leave a side out (in Python: shares=(0.8, 0, 0.2))."
        )
    return solution.x.reshape(sides, fields).argmax(0)
