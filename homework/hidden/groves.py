"""Hidden checks of the homework of case study A: other sizes, one tile, unlabelled pixels, absent classes, no trees.

The truth is computed here in another way than in the public checks and in the solutions.
"""

import math
from collections import Counter

import numpy as np

from arsetlib.grading.assignments import groves
from arsetlib.grading.questions import Wrong, array, choice, mapping, number
from arsetlib.translation import _


def shares(answer, hw):
    given = mapping(answer, (*groves.KEYS, "resize"))
    counts = Counter(groves.my_part(hw)[1].ravel().tolist())
    judged = sum(n for value, n in counts.items() if value != 255)
    for number_of, key in enumerate(groves.KEYS):
        if abs(number(given[key]) - counts[number_of] / judged) > 2e-4:
            raise Wrong(
                _("Expected the share of {key} to be {share:.4f}.").format(key=key, share=counts[number_of] / judged)
            )
    letter, digit = choice(given["resize"], "abcd", "1234")
    if "nearest" not in hw.drawn("en")["resize"][letter] or "names" not in hw.drawn("en")["resize_reasons"][digit]:
        raise Wrong(_("Expected another way to make a mask smaller, or another reason."))


def starts(ask, hw):
    rng = hw.rng("hidden tiles")
    cases = [(1, 1, 0), (7, 7, 6), (8, 7, 6), (500, 64, 0), (512, 64, 0), (513, 64, 0), (2912, 583, 0), (90, 10, 9)]
    for _turn in range(12):
        tile = int(rng.integers(5, 90))
        cases.append((tile + int(rng.integers(0, 400)), tile, int(rng.integers(0, tile))))
    for length, tile, overlap in cases:
        found = array(ask(length, tile, overlap), shape=(None,), of=f"tile_starts({length}, {tile}, {overlap})")
        found = [float(v) for v in found]
        said = _("Other sizes, tile_starts({length}, {tile}, {overlap}) gave {starts}").format(
            length=length, tile=tile, overlap=overlap, starts=[int(v) for v in found][:12]
        )
        if not found or any(v != int(v) for v in found) or found != sorted(set(found)):
            raise Wrong(_("{said}: expected whole pixels that ascend.").format(said=said))
        ends = [v + tile for v in found]
        if found[0] != 0 or ends[-1] != length:
            raise Wrong(
                _("{said}: expected the first tile to start at 0 and the last one to end at {length}.").format(
                    said=said, length=length
                )
            )
        if any(end - start < overlap for end, start in zip(ends, found[1:], strict=False)):
            raise Wrong(
                _("{said}: expected neighbours to share at least {overlap} pixels.").format(said=said, overlap=overlap)
            )
        if len(found) > 1 and tile + (len(found) - 2) * (tile - overlap) >= length:
            raise Wrong(
                _("{said}: expected the smallest possible number of tiles, {count} are too many.").format(
                    said=said, count=len(found)
                )
            )


def vary(ask, hw):
    image, mask = groves.my_part(hw)
    image, mask = image[:24, 20:50], mask[:24, 20:50]  # not square, with 255 in it
    cases = [(mirror, turns, light) for mirror in (False, True) for turns in range(4) for light in (1.0, 0.5)]
    cases += [(True, 1, 1.9), (False, 2, 3.0)]
    for mirror, turns, light in cases:
        given = ask(image, mask, mirror, turns, light)
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise Wrong(_("Expected two arrays, (image, mask)."))
        high, wide = mask.shape
        what = _("a tile of {high} × {wide}, mirror={mirror}, turns={turns}, light={light}").format(
            high=high, wide=wide, mirror=mirror, turns=turns, light=light
        )
        shape = (wide, high) if turns % 2 else (high, wide)
        lit = array(given[0], shape=(*shape, 3), of=_("the image of {what}").format(what=what)).astype(float)
        moved = array(given[1], shape=shape, of=_("the mask of {what}").format(what=what))
        for i in range(0, high, 5):
            for j in range(0, wide, 7):  # where a pixel goes
                r, c = i, wide - 1 - j if mirror else j
                for turn in range(turns):
                    r, c = (wide if turn % 2 == 0 else high) - 1 - c, r
                if moved[r, c] != mask[i, j]:
                    raise Wrong(
                        _("Another tile, {what}: the mask of pixel ({i}, {j}) is not where it belongs.").format(
                            what=what, i=i, j=j
                        )
                    )
                if not np.abs(lit[r, c] - np.minimum(image[i, j] * light, 255)).max() <= 1:
                    raise Wrong(
                        _("Another tile, {what}: the image of pixel ({i}, {j}) is not right.").format(
                            what=what, i=i, j=j
                        )
                    )


def leak(answer, hw):
    given = mapping(answer, ("twins", "captures", "remedy"))
    rows = groves.samples(hw).values.tolist()
    train = {(c, t) for c, t, _, side in rows if side == "train"}
    test = [(c, t) for c, t, _, side in rows if side == "test"]
    twins = sum(one in train for one in test) / len(test)
    captures = sum(c in {other for other, _ in train} for c, _ in test) / len(test)
    if abs(number(given["twins"]) - twins) > 2e-3 or abs(number(given["captures"]) - captures) > 2e-3:
        raise Wrong(_("Expected shares of {twins:.3f} and {captures:.3f}.").format(twins=twins, captures=captures))
    letter, digit = choice(given["remedy"], "abcd", "1234")
    if (
        "whole captures" not in hw.drawn("en")["remedy"][letter]
        or "related tiles" not in hw.drawn("en")["remedy_reasons"][digit]
    ):
        raise Wrong(_("Expected another remedy, or another reason."))


def iou(ask, hw):
    rng = hw.rng("hidden iou")
    cases = [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), 3),
        (np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8), 2),
        (np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8), 2),
        (groves.my_part(hw)[1], groves.my_prediction(hw), 3),
    ]
    for shape, classes in (((30, 20), 4), ((6, 9, 5), 7), ((400,), 3)):
        truth = rng.choice([*range(classes - 1), 255], shape).astype(np.uint8)
        cases.append(
            (truth, np.where(rng.random(shape) < 0.5, truth, rng.integers(0, classes, shape)) % 128 % classes, classes)
        )
    for truth, guess, classes in cases:
        value = array(ask(truth, guess, classes), shape=(classes,), of=_("the IoU")).astype(float)
        counts = Counter(zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True))
        for k in range(classes):
            hits = counts[k, k]
            either = sum(n for (t, g), n in counts.items() if t != 255 and k in (t, g))
            expected = hits / either if either else math.nan
            if not (math.isnan(expected) and math.isnan(value[k])) and not abs(value[k] - expected) <= 1e-4:
                raise Wrong(_(
"Other masks of shape {shape}, {classes} classes: expected an IoU of {expected:.4f} for class "
"{k}, received {value:.4f}."
).format(shape=truth.shape, classes=classes, expected=expected, k=k, value=value[k]))  # fmt: skip


def map_scores(answer, hw):
    given = mapping(answer, ("mean_iou", "frequency_weighted", "accuracy", "lazy_accuracy"))
    pairs = Counter(zip(groves.my_part(hw)[1].ravel().tolist(), groves.my_prediction(hw).ravel().tolist(), strict=True))
    pairs = {pair: n for pair, n in pairs.items() if pair[0] != 255}
    total = sum(pairs.values())
    each = [pairs.get((k, k), 0) / sum(n for pair, n in pairs.items() if k in pair) for k in range(3)]
    share = [sum(n for (t, _), n in pairs.items() if t == k) / total for k in range(3)]
    expected = {
        "mean_iou": sum(each) / 3,
        "frequency_weighted": sum(s * e for s, e in zip(share, each, strict=True)),
        "accuracy": sum(n for (t, g), n in pairs.items() if t == g) / total,
        "lazy_accuracy": share[0] + share[2],
    }
    for key, right in expected.items():
        if abs(number(given[key]) - right) > 2e-4:
            raise Wrong(
                _("Expected {key} to be {right:.4f}, received {given}.").format(key=key, right=right, given=given[key])
            )


def real_time(answer, hw):
    groves.real_time(answer, hw)


def score_trees(ask, hw):
    rng = hw.rng("hidden trees")
    lone = np.array([[3.0, 4.0, 2.0]])
    cases = [(np.zeros((0, 2)), lone, 0), (np.array([[3.0, 4.1]]), lone, 1), (np.array([[9.0, 9.0]]), lone, 0)]
    cases += [
        (np.array([[3.0, 5.9]]), lone, 1),
        (np.array([[4.7, 5.7]]), lone, 0),
    ]  # at the rim; in the corner of a box
    cases.append((np.array([[3.0, 4.6]]), np.array([[3.0, 4.0, 0.5]]), 0))  # a small crown
    for trees in (6, 25):
        places = 8.0 * np.stack([np.arange(trees) % 5, np.arange(trees) // 5], 1) + rng.uniform(-1, 1, (trees, 2))
        true = np.column_stack([places, rng.uniform(0.8, 2.2, trees)])
        found, seen = [], 0
        for x, y, radius in true:
            times = int(rng.integers(0, 4))
            seen += times > 0
            for _turn in range(times):
                angle, far = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.05, 0.95)
                found.append((x + far * math.cos(angle), y + far * math.sin(angle)))
            if rng.random() < 0.5:  # just outside
                found.append((x + 1.1 * radius, y) if rng.random() < 0.5 else (x + 0.8 * radius, y - 0.8 * radius))
        cases.append((rng.permutation(np.array(found)), true, seen))
    for found, true, pairs in cases:
        given = mapping(ask(found, true), ("count_error", "precision", "recall"))
        expected = {
            "count_error": len(found) / len(true) - 1,
            "precision": pairs / len(found) if len(found) else math.nan,
            "recall": pairs / len(true),
        }
        for key, right in expected.items():
            value = given[key]
            if isinstance(value, float) and math.isnan(value) and math.isnan(right):
                continue
            if abs(number(value) - right) > 1e-4 or math.isnan(right):
                what = _("Other trees, {found} detections of {true}").format(found=len(found), true=len(true))
                raise Wrong(
                    _("{what}: expected {key} to be {right:.4g}, received {value:.4g}.").format(
                        what=what, key=key, right=right, value=value
                    )
                )


HIDDEN = {
    "q1": shares, "q2": starts, "q3": vary, "q4": leak, "q5": iou, "q6": map_scores, "q7": real_time, "q8": score_trees,
}  # fmt: skip
