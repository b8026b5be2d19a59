"""Hidden checks of homework 4: other labels, absent classes, few rows, other windows, ties, other draws' answers.

The truth is computed here in another way than in the public checks and in the solutions.
"""

import math
from collections import Counter
from fractions import Fraction

import numpy as np

from arsetlib.grading.assignments import part4
from arsetlib.grading.questions import Wrong, array, choice, mapping, number, table
from arsetlib.translation import _


def suspects(ask, hw):
    rng = hw.rng("hidden labels")
    for rows, classes in ((40, 3), (200, 6), (9, 2)):
        there = rng.choice(classes, max(2, classes - 2), replace=False)  # of many classes two have no label
        label = np.r_[there, rng.choice(there, rows - len(there))]
        # Whole multiples of 1/64: a mean over rows of one class may be reached exactly.
        probability = rng.multinomial(64, rng.dirichlet(np.ones(classes)), rows) / 64
        given = mapping(ask(label, probability), ("thresholds", "guess"))
        what = _("{rows} rows of {present} classes among {classes}").format(
            rows=rows, present=len(there), classes=classes
        )
        limits = array(given["thresholds"], shape=(classes,), of=_("the thresholds of {what}").format(what=what))
        exact = {}
        for k in set(label.tolist()):
            own = [Fraction(float(p[k])) for p, one in zip(probability, label, strict=True) if one == k]
            exact[k] = sum(own) / len(own)
        for k in range(classes):
            if k not in exact and math.isfinite(limits[k]):
                raise Wrong(_("Other data, {what}: class {k} has no label and no threshold.").format(what=what, k=k))
            if k in exact and not abs(limits[k] - exact[k]) < 1e-6:
                raise Wrong(
                    _(
                        "Other data, {what}: expected the threshold {expected:.5f} for class {k}, received {given}."
                    ).format(what=what, expected=float(exact[k]), k=k, given=limits[k])
                )
        guess = array(given["guess"], shape=(rows,), of=_("the guess of {what}").format(what=what))
        for row, (p, one, said) in enumerate(zip(probability.tolist(), label.tolist(), guess.tolist(), strict=True)):
            sure = sorted((-p[k], k) for k in exact if p[k] >= exact[k])
            expected = sure[0][1] if sure else one
            if said != expected:
                raise Wrong(
                    _("Other data, {what}: expected the guess {expected} in row {row}, received {said}.").format(
                        what=what, expected=expected, row=row, said=said
                    )
                )


def audit(answer, hw):
    given, mine = mapping(answer, part4.FOUND), part4.audited(hw)
    label, wrong = mine["label"].tolist(), mine["wrong"].tolist()
    limits = {k: np.mean([p[k] for p, one in zip(mine["probability"], label, strict=True) if one == k])
              for k in set(label)}  # fmt: skip
    found = []
    for p, one in zip(mine["probability"], label, strict=True):
        sure = [k for k in limits if p[k] >= limits[k]]
        found.append(bool(sure) and max(sure, key=lambda k: p[k]) != one)
    hits = sum(f and w for f, w in zip(found, wrong, strict=True))
    expected = {
        "found": sum(found), "precision": hits / sum(found), "recall": hits / sum(wrong),
        "random_precision": sum(wrong) / len(wrong), "random_recall": sum(found) / len(found),
    }  # fmt: skip
    for key, right in expected.items():
        if abs(number(given[key]) - right) > 1e-3:
            raise Wrong(
                _("Expected {key} to be {right:.4g}, received {given}.").format(key=key, right=right, given=given[key])
            )


def sets(ask, hw):
    rng = hw.rng("hidden sets")
    cases = []
    for rows, classes, alpha in ((60, 3, 0.1), (25, 4, 0.2), (8, 2, 0.25), (9, 1, 0.1), (200, 5, 0.05), (4, 3, 0.5)):
        shares = rng.multinomial(256, np.ones(classes) / classes, rows + 30) / 256
        truth = rng.integers(0, max(classes - 1, 1), rows)  # the last of several classes has no row
        cases.append((truth, shares[:rows], np.r_[shares[rows:], shares[:3]], alpha))
    mine = part4.held_out(hw)
    cases.append((mine["truth"], mine["probability"], mine["test_probability"], hw.draw["alpha"]))
    for truth, probability, new, alpha in cases:
        what = _("{rows} rows, {classes} classes, alpha = {alpha}").format(
            rows=len(truth), classes=new.shape[1], alpha=alpha
        )
        value = array(
            ask(truth, probability, new, alpha), shape=new.shape, of=_("the sets of {what}").format(what=what)
        )
        for k in range(new.shape[1]):
            own = sorted(float(1 - p[k]) for p, one in zip(probability, truth, strict=True) if one == k)
            kept = Fraction(str(alpha))
            place = math.ceil((len(own) + 1) * (1 - kept))
            limit = own[place - 1] if place <= len(own) else math.inf
            for row, p in enumerate(new):
                if bool(value[row, k]) != (1 - p[k] <= limit):
                    said = _(
                        "Other data, {what}: expected {state} for class {k} of a row with p = {p:g}. {n} rows of this "
                        "class were there to calibrate."
                    )
                    raise Wrong(said.format(what=what, k=k, state=bool(1 - p[k] <= limit), p=p[k], n=len(own)))


def covered(answer, hw):
    found = table(answer, part4.COVERED).astype(float).set_index("year")
    mine = part4.held_out(hw)
    own = {}
    for p, one in zip(mine["probability"], mine["truth"].tolist(), strict=True):
        own.setdefault(one, []).append(float(1 - p[one]))
    limits = []
    for k in range(mine["probability"].shape[1]):
        scores = sorted(own.get(k, []))
        place = math.ceil((len(scores) + 1) * (1 - Fraction(str(hw.draw["alpha"]))))
        limits.append(scores[place - 1] if place <= len(scores) else math.inf)
    rows = {}
    for (year, block, truth), p in zip(
        mine["test"].itertuples(index=False, name=None), mine["test_probability"], strict=True
    ):
        one = [k for k, limit in enumerate(limits) if 1 - p[k] <= limit]
        rows.setdefault(year, []).append((block, truth in one, len(one)))
    for year, parts in rows.items():
        blocks = {}
        for block, hit, _size in parts:
            blocks.setdefault(block, []).append(hit)
        expected = (
            sum(hit for _block, hit, _size in parts) / len(parts), sum(size for *_rest, size in parts) / len(parts),
            min(sum(hits) / len(hits) for hits in blocks.values()),
        )  # fmt: skip
        if not np.allclose(found.loc[year].to_numpy(), expected, atol=2e-3):
            raise Wrong(_("Expected {expected} for {year}.").format(expected=np.round(expected, 3), year=year))


def far(ask, hw):
    rng = hw.rng("hidden windows")
    cases = []
    for rows, wide, folds in ((30, 4, 5), (12, 1, 2), (50, 9, 10)):
        train = rng.normal(size=(rows, wide)) * rng.uniform(0.1, 30, wide) + rng.normal(size=wide)
        train[0] *= 5
        fold = np.r_[np.arange(folds), rng.integers(0, folds, rows - folds)] * 11
        cases.append((train, fold, np.r_[train[:2], train.mean(0) + rng.normal(size=(9, wide)) * train.std(0) * 2]))
    same = np.c_[rng.normal(size=(20, 2)), np.full(20, 3.0)]  # the third feature never varies
    cases.append((same, np.arange(20) % 4, np.c_[rng.normal(size=(5, 2)) * 3, [3.0, 3, 4, 0, 90]]))
    for own in part4.YEARS:
        cases.append((*part4.features(hw, own), part4.features(hw, 2021 if own < 2021 else 2019)[0]))
    for train, fold, new in cases:
        what = _("{rows} windows, {wide} features").format(rows=len(train), wide=train.shape[1])
        given = mapping(ask(train, fold, new), part4.FAR)
        scale = [float(np.sqrt(np.mean((c - c.mean()) ** 2))) for c in train.T]
        used = [i for i, s in enumerate(scale) if s > 1e-12]

        def apart(one, other, used=used, scale=scale):
            return math.dist([one[i] / scale[i] for i in used], [other[i] / scale[i] for i in used])

        between = [[apart(a, b) for b in train] for a in train]
        mean = sum(map(sum, between)) / (len(train) ** 2 - len(train))
        bridged = sorted(
            min(d for d, f in zip(row, fold, strict=True) if f != own) / mean
            for row, own in zip(between, fold, strict=True)
        )
        quarter = [np.interp(q * (len(bridged) - 1), np.arange(len(bridged)), bridged) for q in (0.25, 0.75)]
        threshold = max(d for d in bridged if d <= quarter[1] + 1.5 * (quarter[1] - quarter[0]) + 1e-12)
        expected = np.array([min(apart(a, b) for b in train) / mean for a in new])
        value = array(
            given["dissimilarity"], shape=(len(new),), of=_("the dissimilarity of {what}").format(what=what)
        ).astype(float)
        if not np.allclose(value, expected, rtol=2e-3, atol=1e-6):
            raise Wrong(_("Other data, {what}: expected another dissimilarity.").format(what=what))
        if abs(number(given["threshold"]) - threshold) > 2e-3 * threshold:
            raise Wrong(
                _("Other data, {what}: expected the threshold {threshold:.4g}, received {given}.").format(
                    what=what, threshold=threshold, given=given["threshold"]
                )
            )
        if abs(number(given["outside"]) - np.mean(expected > threshold)) > 1e-6:
            raise Wrong(_("Other data, {what}: expected another share outside.").format(what=what))


def survey(answer, hw):
    given, own = mapping(answer, part4.SURVEY), hw.draw["survey"]
    weights = [n * math.sqrt(p - p * p) for n, p in zip(own["pixels"], own["expected"], strict=True)]
    drawn = array(given["neyman"], shape=(4,), of="neyman")
    if any(abs(n - own["size"] * w / sum(weights)) > 1.01 for n, w in zip(drawn.tolist(), weights, strict=True)):
        raise Wrong(_("Expected another allocation, received {value}.").format(value=drawn.tolist()))
    area = variance = 0.0
    for stratum, pixels in enumerate(own["pixels"]):
        said = [crop for one, crop in zip(own["stratum"], own["crop"], strict=True) if one == stratum]
        mean = sum(said) / len(said)
        area += 0.09 * pixels * mean
        spread = sum((crop - mean) ** 2 for crop in said) / (len(said) - 1)
        variance += (0.09 * pixels) ** 2 * (1 - len(said) / pixels) * spread / len(said)
    for key, right in (("area", area), ("error", math.sqrt(variance))):
        if abs(number(given[key]) - right) > 2e-3 * right:
            raise Wrong(
                _("Expected {key} to be {right:.4g}, received {given}.").format(key=key, right=right, given=given[key])
            )


def parcels(ask, hw):
    rng = hw.rng("hidden parcels")
    cases = [
        (np.array([4, 4]), np.array([5, 2]), np.array([5, 5])),  # equally common
        (np.array([-1, -1, -1]), np.array([1, 1, 2]), np.array([2, 2, 2])),  # none inside
        (np.array([0, 0, 0, 9_000_000]), np.array([1, 1, 0, 3]), np.array([0, 0, 0, 3])),  # it may lose
    ]
    for size, count in ((60, 5), (300, 40)):
        parcel = rng.choice(rng.choice(10_000, count, replace=False), size)
        cases.append((np.where(rng.random(size) < 0.1, -1, parcel), *rng.integers(0, 4, (2, size))))
    for parcel, predicted, truth in cases:
        what = _("{pixels} pixels in {count} parcels").format(
            pixels=len(parcel), count=len({one for one in parcel.tolist() if one >= 0})
        )
        given = mapping(ask(parcel, predicted, truth), ("map", "gain"))
        counts = {}
        for one, k in zip(parcel.tolist(), predicted.tolist(), strict=True):
            counts.setdefault(one, Counter())[k] += 1
        expected = [
            k if one < 0 else min(counts[one], key=lambda c, own=counts[one]: (-own[c], c))
            for one, k in zip(parcel.tolist(), predicted.tolist(), strict=True)
        ]
        value = array(given["map"], shape=(len(parcel),), of=_("the map of {what}").format(what=what))
        if value.astype(float).tolist() != expected:
            raise Wrong(_("Other data, {what}: expected another map.").format(what=what))
        right = [
            sum(k == t for k, t in zip(one, truth.tolist(), strict=True)) for one in (predicted.tolist(), expected)
        ]
        if abs(number(given["gain"]) - (right[1] - right[0]) / len(parcel)) > 1e-6:
            raise Wrong(_("Other data, {what}: expected another gain.").format(what=what))


def next_labels(answer, hw):
    given, own = mapping(answer, ("rows", "area", "trial")), hw.draw
    margins = []
    for row, shares in enumerate(own["pool"]):
        rest = sorted(shares)
        margins.append((round(rest[-1] - rest[-2], 9), row))
    expected = sorted(row for _margin, row in sorted(margins)[: own["count"]])
    if sorted(array(given["rows"], shape=(None,), of=_("the rows")).tolist()) != expected:
        raise Wrong(_("Expected other rows."))
    for key, letter, digit in (
        ("area", "Neither the area", "classes look alike"),
        ("trial", "with several seeds", "as much as they differ"),
    ):
        option, reason = choice(given[key], "abcd", "1234")
        if letter not in hw.drawn("en")[key][option] or digit not in hw.drawn("en")[f"{key}_reasons"][reason]:
            raise Wrong(_("Expected another choice or reason for {key!r}.").format(key=key))


HIDDEN = {
    "q1": suspects, "q2": audit, "q3": sets, "q4": covered, "q5": far, "q6": survey, "q7": parcels, "q8": next_labels,
}  # fmt: skip
