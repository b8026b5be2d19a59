"""Predictions made up for tests: of four classes, right more often than not, or exactly as asked."""

import numpy as np

from arsetlib import evaluation as ev
from arsetlib.study import Class, Legend

K = 4
LEGEND = Legend(
    "four",
    (
        Class("bare", {"en": "No Crops Growing", "es": "Sin cultivo"}, "#b79f74", (), crop=False),
        Class("other", {"en": "Cultivated"}, "#a05989", (4, 6)),
        Class("corn", {"en": "Corn", "es": "Maíz"}, "#ffd400", (1,)),
        Class("rice", {"en": "Rice"}, "#00a9e6", (3,)),
    ),
    excluded=(26, 254),
)
DAY = 18_000


def made(n=600, seed=0, *, legend=LEGEND, dates=3, skill=2.0, blocks=12, simulated=True):
    """Predictions that are right more often than not; pixels of a block share their truth."""
    random = np.random.default_rng(seed)
    classes = len(legend.classes)
    pixel = np.arange(n) // dates
    block = pixel % blocks
    truth = ((block + random.integers(0, classes, n) * (random.random(n) < 0.4)) % classes).astype(np.int8)
    logits = random.normal(0, 1, (n, classes))
    logits[np.arange(n), truth] += skill
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    start = DAY + 30 * (np.arange(n) % dates)
    return ev.Predictions(
        truth=truth, probability=probability.astype(np.float32), start=start, last=start + 119, pixel=pixel,
        year=np.full(n, 2019), x=pixel * 30.0, y=pixel * -30.0, block=block,
        area=np.array(["west", "east"])[block % 2], legend=legend, simulated=simulated,
    )  # fmt: skip


def sure(truth, predicted, legend=LEGEND, **columns):
    """Predictions of given classes with probability 1."""
    truth, predicted = np.asarray(truth, np.int8), np.asarray(predicted)
    n = len(truth)
    given = {"start": np.full(n, DAY), "last": np.full(n, DAY + 119), "pixel": np.arange(n), "year": np.full(n, 2019)}
    given |= {"x": np.zeros(n), "y": np.zeros(n), "block": np.arange(n) % 5, "area": np.full(n, "a")} | columns
    probability = np.eye(len(legend.classes), dtype=np.float32)[predicted]
    return ev.Predictions(truth=truth, probability=probability, legend=legend, simulated=True, **given)


def in_season(hits, n=40):
    """Corn found in so many of ``n`` pixels on each date, the rest called rice; rice is always found."""
    truth, predicted, last = [], [], []
    for i, found in enumerate(hits):
        truth += [2] * n + [3] * n
        predicted += [2] * found + [3] * (n - found) + [3] * n
        last += [DAY + 10 * i] * (2 * n)
    last = np.array(last)
    return sure(truth, predicted, last=last, start=last - 119)
