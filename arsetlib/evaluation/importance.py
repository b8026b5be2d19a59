"""Which bands a model needs: exchange one and measure the loss of score, or train without it.

The two answer different questions. Permutation measures what this model uses; leave-one-out measures what other bands
cannot replace. Neighbouring bands hold similar information, so each alone may look useless: try groups.

Source: Breiman 2001, Random Forests, Machine Learning 45 (permutation); Fisher, Rudin & Dominici 2019, All Models are
Wrong, but Many are Useful, Journal of Machine Learning Research 20.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from arsetlib import seeds
from arsetlib.evaluation.confusion import Confusion, EvaluationError

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "mean_iou")


def permutation_importance(
    predict: Callable, batches: Iterable | Callable, bands: Sequence[str], *,
    groups: Mapping[str, Sequence[str]] | None = None,
    score: str | Callable[[Confusion], float] = "macro_f1", repeats: int = 5, seed: int = 0, pool: int = 8192,
) -> pd.DataFrame:  # fmt: skip
    """Loss of a score when the values of a band, all its steps together, come from other samples.

    Donors are drawn from samples of the whole data and not of the batch, whose rows are often neighbours and alike.
    Memory holds one batch and the pool. Steps without image move with the donor's band while ``seen`` stays.

    Args:
        predict: x → (B, K) probabilities or (B,) class numbers; x as ``batches`` gives it.
        batches: Can be read several times: a ``samples.Loader`` with a fixed start, a list of batches, or a
            function that returns them anew. A batch is ``(x, y[, weight])``: x (B, T, C), or a dict with ``series``;
            y (B, K) one-hot or (B,) class numbers. Weights are not used.
        bands: (C,) names along the last axis of x.
        groups: Name → bands that are exchanged together; None takes each band alone.
        score: Name of a property of ``Confusion``, or a function of one.
        repeats: How often other donors are drawn.
        seed: Of the donors.
        pool: Samples that donors are drawn from, at random over all of them.

    Returns:
        One row a band or group, most important first: ``drop`` (mean loss of the score), ``std`` (over repeats),
        ``score`` (mean, with the band exchanged).
        ``attrs["score"]`` is the score without exchange. A drop near 0, or below, is chance.

    Raises:
        EvaluationError: Bands do not fit x; an unknown band or score; no batches.
    """
    if repeats < 1 or pool < 2:
        raise EvaluationError(f"Expected one repeat or more and a pool of at least 2, received {repeats} and {pool}.")
    groups = {b: [b] for b in bands} if groups is None else groups
    channels = {name: _channels(name, members, bands) for name, members in groups.items()}
    measure = _measure(score)
    donors, rows = _donors(batches, len(bands), pool, seeds.generator(seed, "donors"))
    classes, whole = None, None
    exchanged = {(name, r): None for name in channels for r in range(repeats)}
    whose = _donor_of_row(rows, len(donors), repeats, len(channels), seed)
    at = 0
    for x, y in _read(batches):
        truth = y.argmax(1) if y.ndim == 2 else y
        series = x["series"] if isinstance(x, Mapping) else x
        original = np.array(series)
        asked = predict(x)
        classes = classes or (y.shape[1] if y.ndim == 2 else np.asarray(asked).shape[-1])
        whole = _plus(whole, Confusion.of(truth, _classes(asked), classes))
        for g, (name, index) in enumerate(channels.items()):
            for r in range(repeats):
                mixed = original.copy()
                mixed[:, :, index] = donors[whose(r, g, at, at + len(truth))][:, :, index]
                asked = predict({**x, "series": mixed} if isinstance(x, Mapping) else mixed)
                exchanged[name, r] = _plus(exchanged[name, r], Confusion.of(truth, _classes(asked), classes))
        at += len(truth)
    base = measure(whole)
    values = np.array([[measure(exchanged[name, r]) for r in range(repeats)] for name in channels])
    table = pd.DataFrame(
        {"drop": base - values.mean(1), "std": values.std(1), "score": values.mean(1)},
        index=pd.Index(list(channels), name="band"),
    )
    table = table.sort_values("drop", ascending=False, kind="stable")
    table.attrs |= {"score": base, "samples": rows, "repeats": repeats}
    return table


def leave_one_out(
    fit: Callable[[tuple[str, ...]], float], bands: Sequence[str], *, groups: Mapping[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """Loss of a score when a model is trained without a band.

    Args:
        fit: Names of the bands to use → score. Train with one seed; differences between seeds can be
            larger than the effect of a band.
        bands: (C,) names of all bands.
        groups: Name → bands that are left out together; None leaves out each alone.

    Returns:
        One row a band or group, most important first: ``drop`` and ``score`` without it. ``attrs["score"]`` is the
        score with all bands.
    """
    groups = {b: [b] for b in bands} if groups is None else groups
    rest = {}
    for name, members in groups.items():
        out = {bands[i] for i in _channels(name, members, bands)}
        rest[name] = tuple(b for b in bands if b not in out)
        if not rest[name]:
            raise EvaluationError(f"Expected bands to remain without {name!r}, received none: it names all of them.")
    base = float(fit(tuple(bands)))
    without = np.array([float(fit(kept)) for kept in rest.values()])
    table = pd.DataFrame({"drop": base - without, "score": without}, index=pd.Index(list(rest), name="band"))
    table = table.sort_values("drop", ascending=False, kind="stable")
    table.attrs["score"] = base
    return table


def _channels(name: str, members: Sequence[str], bands: Sequence[str]) -> list[int]:
    members = [members] if isinstance(members, str) else list(members)
    strangers = [m for m in members if m not in bands]
    if strangers or not members:
        raise EvaluationError(f"Expected {name!r} to name some of {', '.join(bands)}, received {strangers or 'none'}.")
    return [list(bands).index(m) for m in members]


def _measure(score) -> Callable[[Confusion], float]:
    if callable(score):
        return score
    if score not in SCORES:
        raise EvaluationError(f"Expected a score among {', '.join(SCORES)} or a function, received {score!r}.")
    return lambda confusion: getattr(confusion, score)


def _read(batches) -> Iterable[tuple]:
    """(x, y) of each batch, anew each time."""
    if hasattr(batches, "arrays"):
        batches = batches.arrays()
    elif callable(batches):
        batches = batches()
    for x, y, *_ in batches:
        yield x, np.asarray(y)


def _donors(batches, channels: int, pool: int, random) -> tuple[np.ndarray, int]:
    """(P, T, C) samples drawn evenly from all batches (reservoir sampling), and how many there are in all."""
    kept, rows = None, 0
    for x, _ in _read(batches):
        series = np.asarray(x["series"] if isinstance(x, Mapping) else x)
        if series.ndim != 3 or series.shape[2] != channels:
            raise EvaluationError(
                f"Expected x of shape (B, T, {channels}), received {series.shape}. Name all channels."
            )
        if kept is None:
            kept = np.empty((pool, *series.shape[1:]), series.dtype)
        number = rows + np.arange(len(series))
        place = np.where(number < pool, number, random.integers(0, number + 1))
        for i in np.flatnonzero(place < pool):
            kept[place[i]] = series[i]
        rows += len(series)
    if rows < 2:
        raise EvaluationError(
            f"Expected samples to score, received {rows}. Pass a list or a function, not an iterator."
        )
    return kept[: min(rows, pool)], rows


def _donor_of_row(rows: int, donors: int, repeats: int, groups: int, seed: int) -> Callable:
    """Which donor stands in for rows ``low`` to ``high`` in a repeat: a permutation where the pool holds all rows."""
    if donors == rows:
        orders = np.array([seeds.generator(seed, "order", r).permutation(rows) for r in range(repeats)])
        return lambda r, g, low, high: orders[r, low:high]
    return lambda r, g, low, high: seeds.generator(seed, "rows", r, g, low).integers(0, donors, high - low)


def _classes(asked) -> np.ndarray:
    asked = np.asarray(asked)
    return asked.argmax(-1) if asked.ndim == 2 else asked


def _plus(one: Confusion | None, other: Confusion) -> Confusion:
    return other if one is None else one + other
