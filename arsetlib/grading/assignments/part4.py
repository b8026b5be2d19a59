"""Homework 4: find wrong labels, promise sets, measure distance, estimate hectares. Lab: part4_defend_the_map.

In the notebook random forests are trained on the sample. Some labels of it are made wrong, so it is known which.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arsetlib.grading.assignments import picked
from arsetlib.grading.assignments.part4_draws import AREA, AREA_REASONS, TRIAL, TRIAL_REASONS, draw
from arsetlib.grading.questions import Question, Wrong, array, close, equal, mapping, number, shown, table
from arsetlib.translation import N_, _

if TYPE_CHECKING:
    import pandas as pd

    from arsetlib.grading.homework import Homework

__all__ = ["QUESTIONS", "TITLE", "audited", "draw", "features", "held_out", "prepare"]

TITLE = N_("Homework 4: wrong labels, sets with a promise, distance, hectares, parcels, what to label next")
STARTS = (76, 106, 136)  # days of the year on which windows start
AUDITED = 106  # of these windows labels are judged and distances measured
YEAR, YEARS = 2020, (2019, 2020, 2021)
MONTHS = 4  # parts of a window, whose means are the features
FOLDS = 5
PIXEL_HA = 0.09
FOUND = ("found", "precision", "recall", "random_precision", "random_recall")
COVERED = ("year", "coverage", "mean_size", "worst_block")
FAR = ("threshold", "dissimilarity", "outside")
SURVEY = ("neyman", "area", "error")

# --- the learner's own runs -------------------------------------------------------------------------------------------


class _Windows(tuple):
    """Arrays of windows, told apart by identity so that a cache can hold them."""

    __hash__, __eq__ = object.__hash__, object.__eq__


@lru_cache(maxsize=2)
def prepare(data: Path) -> tuple:
    """Windows of the sample: features, class, start, year and block (from 0) of each."""
    from arsetlib import lab, samples

    place = lab.place("simulated", data, small=True)
    study, rows = place.study, place.table()
    rows = rows.filter(study.legend.classes_of(rows["label_code"].to_numpy()) >= 0)
    scaler = samples.Scaler.fit(samples.Rows.of(rows))
    year, block = rows["year"].to_numpy(), np.unique(rows["block"].to_numpy(), return_inverse=True)[1]
    parts = []
    for start in STARTS:
        loader = samples.Loader(rows, study, scaler, start=start, batch=len(rows), fill="linear", shuffle=False)
        x, y = loader.batch(0, 0)
        months = x.reshape(len(x), MONTHS, -1, x.shape[2]).mean(2).reshape(len(x), -1)
        parts.append((months.astype(float), y.argmax(1), np.full(len(y), start), year, block))
    return _Windows(map(np.concatenate, zip(*parts, strict=True)))


def audited(hw: Homework) -> dict[str, np.ndarray]:
    """Labels of the sample, some of them made wrong, and what a forest says that has not seen their blocks.

    Returns:
        ``label`` (N,) class numbers, ``probability`` (N, K), and ``wrong`` (N,) bool: which labels were made wrong. The
        last is known only because the data are simulated.
    """
    found = _audited(hw.draw["forest"], hw.draw["noise"], hw.prepared)
    return {name: values.copy() for name, values in found.items()}


def held_out(hw: Homework) -> dict:
    """Probabilities of a forest for rows of blocks that it has not seen: some to calibrate with, others to test.

    Returns:
        ``truth`` (N,) and ``probability`` (N, K) to calibrate with, of one year; ``test``, a DataFrame of ``year``,
        ``block`` and ``truth`` of M other rows, and ``test_probability`` (M, K).
    """
    return {name: values.copy() for name, values in _held_out(hw.draw["forest"], hw.prepared).items()}


def features(hw: Homework, year: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) features of one year's windows, the mean of each band in each month, and (N,) the blocks they lie in."""
    x, _y, start, years, block = hw.prepared
    mine = (start == AUDITED) & (years == year)
    return x[mine], block[mine]


@lru_cache(maxsize=8)
def _audited(seed: int, noise: float, windows: _Windows) -> dict[str, np.ndarray]:
    x, y, start, _year, block = windows
    x, truth, block = (values[start == AUDITED] for values in (x, y, block))
    rng, classes = np.random.default_rng(seed), int(y.max()) + 1
    wrong = np.zeros(len(truth), bool)
    wrong[rng.permutation(len(truth))[: round(noise * len(truth))]] = True
    there = np.unique(truth)
    place = np.searchsorted(there, truth)
    other = there[(place + rng.integers(1, len(there), len(truth))) % len(there)]
    label = np.where(wrong, other, truth)
    fold = rng.permutation(block.max() + 1)[block] % FOLDS
    probability = np.zeros((len(label), classes))
    for number_ in range(FOLDS):
        out = fold == number_
        probability[out] = _forest(seed, x[~out], label[~out], x[out], classes)
    return {"label": label, "probability": probability, "wrong": wrong}


@lru_cache(maxsize=8)
def _held_out(seed: int, windows: _Windows) -> dict:
    import pandas as pd

    x, y, _start, year, block = windows
    side = np.random.default_rng(seed + 1).permutation(block.max() + 1)[block] % 3
    train, known, asked = (side == 0) & (year == YEAR), (side == 1) & (year == YEAR), side == 2
    classes = int(y.max()) + 1
    probability = _forest(seed, x[train], y[train], x, classes)
    test = pd.DataFrame({"year": year[asked], "block": block[asked], "truth": y[asked]})
    return {
        "truth": y[known], "probability": probability[known], "test": test, "test_probability": probability[asked],
    }  # fmt: skip


def _forest(seed: int, x, y, asked, classes: int) -> np.ndarray:
    """(N, K) probabilities, whole multiples of 1/1024 that sum to 1: 1 − p is then exact, however it is computed."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=seed, n_jobs=1).fit(x, y)
    shares = np.zeros((len(asked), classes))
    shares[:, forest.classes_] = forest.predict_proba(asked)
    shares = np.round(shares * 1024)
    shares[np.arange(len(shares)), shares.argmax(1)] += 1024 - shares.sum(1)
    return shares / 1024


# --- what is true -----------------------------------------------------------------------------------------------------


def confident(label, probability) -> tuple[np.ndarray, np.ndarray]:
    """(K,) thresholds, NaN for a class without labels, and (N,) the class that the model is confident of."""
    label, probability = np.asarray(label, int), np.asarray(probability, float)
    counts = np.bincount(label, minlength=probability.shape[1])
    own = np.bincount(label, probability[np.arange(len(label)), label], probability.shape[1])
    limits = np.where(counts > 0, own / counts.clip(1), np.nan)
    reached = np.where(probability >= np.where(counts > 0, limits, np.inf), probability, -1)
    return limits, np.where(reached.max(1) >= 0, reached.argmax(1), label)


def class_sets(truth, probability, new, alpha: float) -> np.ndarray:
    """(M, K) sets of classes, calibrated for each class by itself."""
    truth, probability, new = np.asarray(truth, int), np.asarray(probability, float), np.asarray(new, float)
    limits = np.full(new.shape[1], np.inf)
    for k in np.unique(truth):
        scores = np.sort(1 - probability[truth == k, k])
        place = math.ceil(round((len(scores) + 1) * (1 - alpha), 9))
        if place <= len(scores):
            limits[k] = scores[place - 1]
    return 1 - new <= limits


def distances(train, fold, new) -> dict:
    """Threshold, dissimilarity of new windows, and the share of them outside (Meyer & Pebesma 2021)."""
    train, fold, new = np.asarray(train, float), np.asarray(fold), np.asarray(new, float)
    spread = train.std(0)
    train, new = (x[:, spread > 0] / spread[spread > 0] for x in (train, new))

    def between(one, other):
        return np.sqrt(((one[:, None] - other) ** 2).sum(2))

    apart = between(train, train)
    mean = apart.sum() / (len(train) * (len(train) - 1))
    bridged = np.where(fold[:, None] != fold, apart, np.inf).min(1) / mean
    low, high = np.quantile(bridged, [0.25, 0.75])
    threshold = bridged[bridged <= high + 1.5 * (high - low)].max()
    far = between(new, train).min(1) / mean
    return {"threshold": float(threshold), "dissimilarity": far, "outside": float((far > threshold).mean())}


def surveyed(own: dict) -> dict:
    """Neyman's allocation, and the area of the crop with its standard error (Cochran 1977; Stehman 2014)."""
    pixels, expected = np.array(own["pixels"], float), np.array(own["expected"])
    weight = pixels * np.sqrt(expected * (1 - expected))
    stratum, crop = np.array(own["stratum"]), np.array(own["crop"])
    visits = np.bincount(stratum)
    share = np.bincount(stratum, crop) / visits
    spread = pixels**2 * (1 - visits / pixels) * share * (1 - share) / (visits - 1)
    return {
        "neyman": own["size"] * weight / weight.sum(),
        "area": float((pixels * share).sum() * PIXEL_HA),
        "error": float(np.sqrt(spread.sum()) * PIXEL_HA),
    }


def majority(parcel, predicted) -> np.ndarray:
    """(N,) the commonest class of each pixel's parcel, of several the lowest number; outside parcels its own."""
    parcel, predicted = np.asarray(parcel), np.asarray(predicted)
    out = predicted.copy()
    for one in np.unique(parcel[parcel >= 0]):
        out[parcel == one] = np.bincount(predicted[parcel == one]).argmax()
    return out


def smallest_margins(own: dict) -> list[int]:
    """Positions of the pixels of the pool whose two largest probabilities are nearest."""
    two = np.sort(np.array(own["pool"]), 1)[:, -2:]
    return sorted(np.argsort(np.round(two[:, 1] - two[:, 0], 9))[: own["count"]].tolist())


# --- public checks ----------------------------------------------------------------------------------------------------


def suspects(ask, hw) -> None:
    probability = [[28, 4, 0], [24, 8, 0], [8, 16, 8], [8, 24, 0], [16, 8, 8], [12, 16, 4]]
    judged(ask, [0, 0, 0, 1, 1, 1], np.array(probability) / 32, _("six rows, no label of class 2"))


def judged(ask, label, probability, what: str) -> None:
    """Compare thresholds and guesses with the true ones; a known mistake is named."""
    hint = _("Lab 4, section 3")
    label, probability = np.array(label), np.array(probability, float)
    given = mapping(ask(label, probability), ("thresholds", "guess"), hint=hint)
    limits, guess = confident(label, probability)
    of = _("the thresholds of {what}").format(what=what)
    value = array(given["thresholds"], shape=limits.shape, of=of, hint=hint).astype(float)
    known = np.isfinite(limits)
    if np.isfinite(value[~known]).any():
        raise Wrong(
            _(
                "Expected a threshold that is infinite or NaN for a class without labels, received {value}. {hint}."
            ).format(value=value.tolist(), hint=hint)
        )
    means = probability.mean(0)
    more = _("The mean probability of class k, over the rows with the label k alone")
    if np.allclose(value[known], means[known], atol=1e-6):
        more = _("That is the mean over all rows. Take, for class k, the rows with the label k alone")
    equal(value[known], limits[known], of=of, tol=1e-6, hint=f"{more}. {hint}")
    of = _("the guess of {what}").format(what=what)
    value = array(given["guess"], shape=guess.shape, of=of, hint=hint)
    more = _("Of the classes whose probability is at least their threshold, the most probable")
    if np.array_equal(value, probability.argmax(1)):
        more = _("That is the most probable class. One below its threshold does not count")
    elif not np.isin(value, np.arange(len(limits))).all() or np.array_equal(value, guess != label):
        more = _("Class numbers: the row keeps its own label where no class reaches its threshold")
    equal(value.astype(float), guess.astype(float), of=of, hint=f"{more}. {hint}")


def audit(answer, hw) -> None:
    hint = _("Lab 4, section 3")
    given, mine = mapping(answer, FOUND, hint=hint), audited(hw)
    found = confident(mine["label"], mine["probability"])[1] != mine["label"]
    hits, wrong = int((found & mine["wrong"]).sum()), mine["wrong"]
    for key, expected, words in (
        ("found", int(found.sum()), _("So many rows have a guess that is not their label")),
        ("precision", hits / found.sum(), _("The share of the found labels that are wrong")),
        ("recall", hits / wrong.sum(), _("The share of the wrong labels that were found")),
        ("random_precision", wrong.mean(), _("A list drawn at random holds wrong labels as often as the whole sample")),
        ("random_recall", found.mean(), _("A list drawn at random holds the same share of the wrong labels as of all")),
    ):
        value = number(given[key], hint=_("This is {key}. {hint}").format(key=key, hint=hint))
        if key == "precision" and abs(value - hits / wrong.sum()) < 1e-4:
            words = _("That is the recall: divide by the number of found labels")
        close(value, expected, tol=1e-3, unit=f"({key})", hint=f"{words}. {hint}")


def sets(ask, hw) -> None:
    truth = np.repeat([0, 1], [7, 2])
    first = np.array([1, 3, 4, 6, 8, 11, 13]) / 16
    probability = np.stack([np.r_[first, 0.25, 0.5], 1 - np.r_[first, 0.25, 0.5], np.zeros(9)], 1)
    new = np.array([[12, 52, 0], [8, 36, 20], [11, 16, 37], [64, 0, 0], [20, 4, 40]]) / 64
    promised(ask, truth, probability, new, 0.25, _("seven rows of class 0, two of class 1, none of class 2"))


def promised(ask, truth, probability, new, alpha: float, what: str) -> None:
    """Compare sets with the true ones; a known mistake is named."""
    hint = _("Lab 4, section 5")
    of = _("the sets of {what}, alpha = {alpha}").format(what=what, alpha=alpha)
    value = array(ask(truth, probability, new, alpha), shape=new.shape, of=of, hint=hint)
    expected = class_sets(truth, probability, new, alpha)
    if np.array_equal(value.astype(float), expected.astype(float)):
        return
    own = 1 - probability[np.arange(len(truth)), truth]

    def by(limit):
        scores = [np.sort(own[truth == k]) for k in range(new.shape[1])]
        return 1 - new <= np.array([limit(one) if len(one) else np.inf for one in scores])

    def at(scores, place):
        return scores[place - 1] if 1 <= place <= len(scores) else np.inf

    more = _("A class is in the set where 1 − p is at most the limit of that class")
    for slip, words in (
        (1 - new <= at(np.sort(own), math.ceil(round((len(own) + 1) * (1 - alpha), 9))),
         _("That is one limit for all classes: give each class its own")),
        (by(lambda s: at(s, math.ceil(round(len(s) * (1 - alpha), 9)))),
         _("The place is ⌈(n + 1)(1 − alpha)⌉, with n + 1")),
        (by(lambda s: np.quantile(s, 1 - alpha)), _("np.quantile interpolates: take one of the n scores, in order")),
        (by(lambda s: at(s, min(math.ceil(round((len(s) + 1) * (1 - alpha), 9)), len(s)))),
         _("Where the place is beyond the last score, the limit is infinite: the class is in every set")),
        (by(lambda s: at(s, math.ceil(round((len(s) + 1) * (1 - alpha), 9)) + 1)),
         _("That is one place too far. Count places from 1; np.quantile with method='higher' goes one too far, too")),
        (~expected, _("True stands for a class that is in the set")),
    ):  # fmt: skip
        if np.array_equal(value.astype(float), slip.astype(float)):
            more = words
            break
    wanted, came = shown(expected.astype(int).tolist()), shown(value.astype(float).tolist())
    said = _("Expected {of} to be {wanted}, received {came}. {more}. {hint}.")
    raise Wrong(said.format(of=of, wanted=wanted, came=came, more=more, hint=hint))


def coverage(hw) -> pd.DataFrame:
    """The table of question 4."""
    import pandas as pd

    mine = held_out(hw)
    inside = class_sets(mine["truth"], mine["probability"], mine["test_probability"], hw.draw["alpha"])
    test = mine["test"].assign(size=inside.sum(1))
    test["hit"] = inside[np.arange(len(test)), test["truth"]]
    rows = [
        (year, part["hit"].mean(), part["size"].mean(), part.groupby("block")["hit"].mean().min())
        for year, part in test.groupby("year")
    ]
    return pd.DataFrame(rows, columns=COVERED)


def covered(answer, hw) -> None:
    hint = _("Lab 4, section 6")
    found = table(answer, COVERED, rows=len(YEARS), hint=_("One row for each year. {hint}").format(hint=hint))
    years = [int(number(year, hint=_("This is a year. {hint}").format(hint=hint))) for year in found["year"]]
    if sorted(years) != list(YEARS):
        raise Wrong(
            _("Expected the years {expected}, received {years}. {hint}.").format(
                expected=list(YEARS), years=years, hint=hint
            )
        )
    expected = coverage(hw).set_index("year")
    for year, row in zip(years, found.itertuples(index=False), strict=True):
        for key, words in (
            ("coverage", _("The share of this year's rows whose set holds the true class")),
            ("mean_size", _("The mean number of classes in a set of this year")),
            ("worst_block", _("The coverage of each block of this year, and of these the lowest")),
        ):
            of = _("This is {key} of {year}").format(key=key, year=year)
            close(number(getattr(row, key), hint=of), expected.loc[year, key], tol=2e-3, hint=f"{of}. {words}. {hint}")


def far(ask, hw) -> None:
    train = np.array([[0.0, 1], [1, 1], [4, 1], [7, 1], [9, 1], [30, 1]])
    measured(ask, train, np.array([0, 0, 0, 1, 1, 2]), np.array([[2.0, 1], [9, 5], [55, 1]]), _("six training windows"))
    own, new = hw.draw["trained_on"], next(year for year in YEARS if year != hw.draw["trained_on"])
    windows = *features(hw, own), features(hw, new)[0]
    measured(ask, *windows, _("the sample, trained on {own}, new year {new}").format(own=own, new=new))


def measured(ask, train, fold, new, what: str) -> None:
    """Compare threshold and dissimilarities with the true ones; a known mistake is named."""
    hint = _("Lab 4, section 7")
    given = mapping(ask(train, fold, new), FAR, hint=hint)
    expected = distances(train, fold, new)
    of = _("the dissimilarity of {what}").format(what=what)
    value = array(given["dissimilarity"], shape=(len(new),), of=of, hint=hint).astype(float)
    if not np.allclose(value, expected["dissimilarity"], rtol=2e-3, atol=1e-9):
        more = _("The distance to the nearest training window, over the mean distance of two training windows")
        ratio = value / np.where(expected["dissimilarity"] > 0, expected["dissimilarity"], np.nan)
        if not np.isfinite(value).all():
            more = _("A feature that is the same in all training windows has a deviation of 0: leave it out")
        elif np.ptp(ratio[~np.isnan(ratio)]) < 1e-3 * np.nanmax(ratio) and not value[np.isnan(ratio)].any():
            more = _(
                "All are too large or too small by one factor: divide by the mean distance of two different windows"
            )
        came, wanted = (np.round(v[:6], 4).tolist() for v in (value, expected["dissimilarity"]))
        raise Wrong(
            _("Expected {of} to begin with {wanted}, received {came}. {more}. {hint}.").format(
                of=of, wanted=wanted, came=came, more=more, hint=hint
            )
        )
    value = number(given["threshold"], hint=_("This is the threshold of {what}. {hint}").format(what=what, hint=hint))
    more = _("From each training window to the nearest of another fold; the largest up to Q3 + 1.5 (Q3 − Q1) of these")
    close(value, expected["threshold"], rel=2e-3, hint=f"{more}. {hint}")
    value = number(given["outside"], low=0, high=1, hint=_("This is the share outside. {hint}").format(hint=hint))
    more = _("The share of the new windows that lie farther away than the threshold")
    close(value, expected["outside"], tol=1e-6, hint=f"{more}. {hint}")


def survey(answer, hw) -> None:
    hint = _("Lab 4, section 8")
    given, own = mapping(answer, SURVEY, hint=hint), hw.draw["survey"]
    expected = surveyed(own)
    value = array(given["neyman"], shape=(4,), of="neyman", hint=hint).astype(float)
    if not (np.abs(value - expected["neyman"]) <= 1.01).all():
        pixels, shares = np.array(own["pixels"], float), np.array(own["expected"])
        more = _("Samples in proportion to pixels × √(p (1 − p)), {size} in all").format(size=own["size"])
        for weight, words in (
            (pixels, _("That is in proportion to the pixels alone")),
            (pixels * shares * (1 - shares), _("That lacks the square root: the deviation is √(p (1 − p))")),
            (pixels * shares, _("That is in proportion to the crop. What counts is how much a stratum varies")),
        ):
            if np.allclose(value, own["size"] * weight / weight.sum(), atol=1.01):
                more = words
        raise Wrong(
            _("Expected another allocation, received {value}. {more}. {hint}.").format(
                value=np.round(value, 1).tolist(), more=more, hint=hint
            )
        )
    value = number(given["area"], hint=_("This is the area. {hint}").format(hint=hint))
    more = _("For each stratum its pixels × the share of its visits that are the crop × 0.09 ha, added up")
    if abs(value - np.mean(own["crop"]) * sum(own["pixels"]) * PIXEL_HA) < 0.05:
        more = _("That treats the visits as if they were spread evenly over the map. Take each stratum by itself")
    close(value, expected["area"], rel=1e-3, unit="ha", hint=f"{more}. {hint}")
    value = number(given["error"], hint=_("This is the standard error. {hint}").format(hint=hint))
    more = _("√ Σ pixels² × (1 − n / pixels) × p (1 − p) / (n − 1), times 0.09 ha: one standard error, not 1.96")
    close(value, expected["error"], rel=2e-3, unit="ha", hint=f"{more}. {hint}")


def parcels(ask, hw) -> None:
    smoothed(
        ask, np.array([7, 7, 7, -1, 2, 2, -1, 7]), np.array([1, 3, 3, 2, 5, 0, 4, 1]),
        np.array([3, 3, 3, 2, 0, 0, 1, 3]), _("two parcels and two pixels outside"),
    )  # fmt: skip
    own = hw.draw["farm"]
    parcel, predicted, truth = (np.array(own[key]) for key in ("parcel", "predicted", "truth"))
    smoothed(ask, parcel, predicted, truth, _("your farm"))


def smoothed(ask, parcel, predicted, truth, what: str) -> None:
    """Compare the map by parcel and its gain with the true ones; a known mistake is named."""
    hint = _("Lab 4, section 10")
    given = mapping(ask(parcel, predicted, truth), ("map", "gain"), hint=hint)
    of = _("the map of {what}").format(what=what)
    value = array(given["map"], shape=predicted.shape, of=of, hint=hint).astype(float)
    expected = majority(parcel, predicted)
    outside = parcel < 0
    more = _("The class that most pixels of the parcel have, for each pixel of the parcel")
    if not np.array_equal(value[outside], predicted[outside]):
        more = _("Pixels with parcel -1 are outside all parcels: they keep their class")
    elif np.isclose(value, expected).mean() > 0.7:
        more = _("Where two classes are equally common in a parcel, take the lower number")
    equal(value, expected.astype(float), of=of, hint=f"{more}. {hint}")
    gain = float((expected == truth).mean() - (predicted == truth).mean())
    value = number(given["gain"], hint=_("This is the gain of {what}. {hint}").format(what=what, hint=hint))
    more = _("Accuracy of the map by parcel minus that of the map by pixel, over all pixels")
    close(value, gain, tol=1e-6, hint=f"{more}. {hint}")


def next_labels(answer, hw) -> None:
    own, hint = hw.draw, _("Lab 4, section 11")
    given = mapping(answer, ("rows", "area", "trial"), hint=_('Such as {"rows": [3, 8], "area": ("a", 1), …}'))
    rows = array(given["rows"], shape=(None,), of=_("the rows"), hint=hint).astype(float)
    if sorted(rows.tolist()) != smallest_margins(own):
        shares = np.sort(np.array(own["pool"]), 1)
        entropy = (shares * np.log(shares.clip(1e-12))).sum(1)
        more = _("The margin is the largest minus the second probability of a row; take the rows where it is smallest")
        for by, words in (
            (shares[:, -1], _("Those have the smallest largest probability. The margin needs the second as well")),
            (entropy, _("Those have the largest entropy. The margin looks at the two largest probabilities alone")),
            (shares[:, -2] - shares[:, -1], _("Those have the largest margins: there the model is sure")),
        ):
            if sorted(rows.tolist()) == sorted(np.argsort(by, kind="stable")[: own["count"]].tolist()):
                more = words
        if len(rows) != own["count"]:
            more = _("So many rows are asked: {count}").format(count=own["count"])
        raise Wrong(
            _("Expected other rows, counted from 0, received {rows}. {more}. {hint}.").format(
                rows=rows[:9].tolist(), more=more, hint=hint
            )
        )
    picked(given["area"], own["area"], AREA, own["area_reasons"], AREA_REASONS, hint)
    picked(given["trial"], own["trial"], TRIAL, own["trial_reasons"], TRIAL_REASONS, _("Lab 4, section 12"))


# The questions, in the order of the notebook.
QUESTIONS = (
    Question("q1", "suspects", "coded", 3, ("4.1",), "3. Three ways to find them", suspects),
    Question("q2", "audit", "computed", 3, ("4.1",), "3. Three ways to find them", audit),
    Question("q3", "sets", "coded", 4, ("4.2",), "5. Sets with a promise", sets),
    Question("q4", "covered", "computed", 3, ("4.2",), "6. Where the promise breaks", covered),
    Question("q5", "far", "coded", 3, ("4.3",), "7. Where the model was never trained to answer", far),
    Question("q6", "survey", "computed", 3, ("4.4",), "8. How many hectares", survey),
    Question("q7", "by_parcel", "coded", 2, ("4.5",), "10. By parcel", parcels),
    Question("q8", "next_labels", "reasoned", 3, ("4.6",), "11. What to label next", next_labels),
)
