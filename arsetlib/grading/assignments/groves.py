"""Homework of case study A: masks, tiles, a leak, IoU, a network for real time, trees. Lab: case_groves.

The sample is a tiny simulated grove of three captures; each learner gets a part of one of them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from arsetlib.grading.assignments import picked
from arsetlib.grading.assignments.groves_draws import (
    IGNORE,
    REMEDY,
    REMEDY_REASONS,
    RESIZE,
    RESIZE_REASONS,
    draw,
    finds,
    my_part,
    my_prediction,
    once,
    prepare,
    samples,
    true_trees,
)  # fmt: skip
from arsetlib.grading.questions import Question, Wrong, array, close, equal, mapping, number, shown
from arsetlib.translation import N_, _

__all__ = [
    "QUESTIONS",
    "TITLE",
    "draw",
    "finds",
    "my_part",
    "my_prediction",
    "once",
    "prepare",
    "samples",
    "true_trees",
]

TITLE = N_("Homework of case study A: masks, tiles, a leak, IoU, a network for real time, trees")
KEYS = "ground", "tree", "grass"

# --- what is true -----------------------------------------------------------------------------------------------------


def overlaps(truth, guess, classes: int) -> np.ndarray:
    """(K,) IoU where the truth is labelled; NaN where neither has the class."""
    labelled = truth != IGNORE
    truth, guess = truth[labelled], guess[labelled]
    both = np.array([((truth == k) & (guess == k)).sum() for k in range(classes)], float)
    either = np.array([((truth == k) | (guess == k)).sum() for k in range(classes)])
    return np.divide(both, either, out=np.full(classes, np.nan), where=either > 0)


def shares_of(mask) -> np.ndarray:
    """(3,) share of each class among the labelled pixels."""
    return np.bincount(mask[mask != IGNORE], minlength=3) / (mask != IGNORE).sum()


def count_of(length: int, tile: int, overlap: int) -> int:
    """Fewest tiles that cover a side."""
    return 1 + -(-(length - tile) // (tile - overlap))


def tree_score(found, true) -> dict:
    """Count error, precision and recall; pairs are taken nearest first."""
    apart = np.hypot(
        *(np.asarray(true, float)[:, None, :2] - np.asarray(found, float).reshape(-1, 1, 2).swapaxes(0, 1)).T
    )
    apart = np.where(apart <= np.asarray(true, float)[:, 2], apart, np.inf)  # (N, M)
    pairs = 0
    while np.isfinite(apart).any():
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        apart[i], apart[:, j] = np.inf, np.inf
        pairs += 1
    n, m = len(found), len(true)
    return {"count_error": (n - m) / m, "precision": pairs / n if n else math.nan, "recall": pairs / m}


# --- public checks ----------------------------------------------------------------------------------------------------


def shares(answer, hw) -> None:
    given = mapping(answer, (*KEYS, "resize"), hint=_("Case study A, section 2"))
    mask = my_part(hw)[1]
    judged, plain = shares_of(mask), np.bincount(mask.ravel(), minlength=3)[:3] / mask.size
    for key, expected, careless in zip(KEYS, judged, plain, strict=True):
        value = number(
            given[key], hint=_("This is the share of {key}, 0 to 1. Case study A, section 2").format(key=key)
        )
        more = _("The share, 0 to 1, of the labelled pixels")
        if abs(value - careless) < 1e-4:
            more = _("A pixel of 255 is not labelled: leave it out, of the total as well")
        close(value, expected, tol=2e-4, unit=key, hint=_("{more}. Case study A, section 2").format(more=more))
    own = hw.draw
    picked(given["resize"], own["resize"], RESIZE, own["resize_reasons"], RESIZE_REASONS, _("Case study A, section 2"))


def starts(ask, hw) -> None:
    for length, tile, overlap in ((100, 100, 0), (300, 100, 0), (250, 100, 0), (300, 100, 20), (101, 100, 50)):
        placed(ask, length, tile, overlap)
    own = hw.draw["flight"]
    placed(ask, own["wide"], own["tile"], own["overlap"])


def placed(ask, length: int, tile: int, overlap: int) -> None:
    """Check where tiles start; any places that satisfy the conditions are right."""
    call, hint = f"tile_starts({length}, {tile}, {overlap})", _("Case study A, section 4")
    value = array(ask(length, tile, overlap), shape=(None,), of=call, hint=hint)
    if value.size and not np.array_equal(value, np.round(value)):
        raise Wrong(
            _("Expected whole pixels from {call}, received {value}. {hint}.").format(
                call=call, value=value.tolist(), hint=hint
            )
        )
    found, wanted, last = [int(v) for v in value], count_of(length, tile, overlap), length - tile
    said = _("{call} gave {found}").format(call=call, found=found)
    if not found or found[0] != 0:
        raise Wrong(_("Expected the first tile to start at pixel 0: {said}. {hint}.").format(said=said, hint=hint))
    if max(found) > last:
        raise Wrong(
            _("Expected no tile to extend beyond the edge, so the last one to start at {last}: {said}. {hint}.").format(
                last=last, said=said, hint=hint
            )
        )
    if found[-1] != last:
        raise Wrong(
            _("Expected the last tile to end at the edge, so to start at {last}: {said}. {hint}.").format(
                last=last, said=said, hint=hint
            )
        )
    for one, other in itertools.pairwise(found):
        if other <= one:
            raise Wrong(_("Expected starts in ascending order: {said}. {hint}.").format(said=said, hint=hint))
        if one + tile - other < overlap:
            raise Wrong(
                _(
                    "Expected neighbours to share at least {overlap} pixels, {one} and {other} do not: {said}. {hint}."
                ).format(overlap=overlap, one=one, other=other, said=said, hint=hint)
            )
    if len(found) != wanted:
        raise Wrong(
            _("Expected {wanted} tiles, the smallest possible number: {said}. {hint}.").format(
                wanted=wanted, said=said, hint=hint
            )
        )


def vary(ask, hw) -> None:
    image, mask = example()
    for mirror, turns, light in ((False, 0, 1.0), (True, 0, 1.0), (False, 1, 1.0), (True, 3, 1.0), (False, 0, 1.5)):
        varied(ask, image, mask, mirror, turns, light)


def example() -> tuple[np.ndarray, np.ndarray]:
    """A tile of 2 × 3 pixels with its mask."""
    mask = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
    return (np.arange(18).reshape(2, 3, 3) * 14).astype(np.uint8), mask


def varied(ask, image, mask, mirror: bool, turns: int, light: float) -> None:
    """Compare an augmented tile with the true one."""
    hint = _("Case study A, section 5")
    call = f"vary(image, mask, mirror={mirror}, turns={turns}, light={light})"
    given = ask(image, mask, mirror, turns, light)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong(
            _("Expected {call} to return two arrays, (image, mask). Write `return image, mask`. {hint}.").format(
                call=call, hint=hint
            )
        )
    wanted, moved = (np.rot90(a[:, ::-1] if mirror else a, turns) for a in (image, mask))
    found = array(given[1], shape=moved.shape, of=_("the mask of {call}").format(call=call), hint=hint)
    if not np.array_equal(found, moved):
        more = _(
            "Apply what moves pixels to the mask as well, in the same order: first mirror, then turn anticlockwise"
        )
        if light != 1:
            more = _("Light changes only the image: a mask holds class numbers")
        elif np.array_equal(found, mask):
            more = _("The mask has to move with the image")
        elif not mirror and np.array_equal(found, np.rot90(mask, -turns)):
            more = _("Turn anticlockwise, as np.rot90 does")
        elif np.array_equal(found, np.rot90(mask[::-1] if mirror else mask, turns)):
            more = _("Mirror left and right, not up and down")
        raise Wrong(
            _("Expected the mask of {call} to be {moved}, received {found}. {more}. {hint}.").format(
                call=call, moved=moved.tolist(), found=found.tolist(), more=more, hint=hint
            )
        )
    found = array(given[0], shape=wanted.shape, of=_("the image of {call}").format(call=call), hint=hint).astype(float)
    lit = np.clip(wanted * float(light), 0, 255)
    if not np.abs(found - lit).max() <= 1:  # NaN is not right
        more = _("It has to move as the mask does")
        if light != 1:
            more = _("Values stay from 0 to 255: clip before you convert to uint8, where 256 becomes 0")
        raise Wrong(
            _("Expected another image from {call}: {max:g} is its largest value. {more}. {hint}.").format(
                call=call, max=found.max(), more=more, hint=hint
            )
        )


def leak(answer, hw) -> None:
    given = mapping(answer, ("twins", "captures", "remedy"), hint=_("Case study A, section 6"))
    frame = samples(hw)
    train, test = (frame[frame["side"] == side] for side in ("train", "test"))
    for key, columns, words in (
        ("twins", ["capture", "tile"], _("a copy of the same tile of the same capture")),
        ("captures", ["capture"], _("any tile of the same capture")),
    ):
        known = set(train[columns].itertuples(index=False, name=None))
        expected = np.mean([row in known for row in test[columns].itertuples(index=False, name=None)])
        value = number(given[key], hint=_("This is {key!r}, a share, 0 to 1. Case study A, section 6").format(key=key))
        more = _("The share, 0 to 1, of the *test* samples of which the training has {words}").format(words=words)
        close(value, expected, tol=2e-3, unit=f"({key})", hint=_("{more}. Case study A, section 6").format(more=more))
    own = hw.draw
    picked(
        given["remedy"],
        own["remedy"],
        REMEDY,
        own["remedy_reasons"],
        REMEDY_REASONS,
        _("Case study A, sections 6 and 7"),
    )


def iou(ask, hw) -> None:
    truth, guess = np.array([[0, 0, 1, 1], [2, 2, 1, 255]], np.uint8), np.array([[0, 1, 1, 1], [2, 0, 0, 1]], np.uint8)
    overlapped(ask, truth, guess, 3, _("eight pixels, one of them 255"))
    overlapped(ask, truth, guess, 5, _("the same with five classes, two of which do not occur"))


def overlapped(ask, truth, guess, classes: int, what: str) -> None:
    """Compare IoUs with the true ones, and name the mistake where it is a common one."""
    hint = _("Case study A, section 11")
    value = array(
        ask(truth, guess, classes), shape=(classes,), of=_("the IoU of {what}").format(what=what), hint=hint
    ).astype(float)
    expected = overlaps(truth, guess, classes)
    if np.allclose(value, expected, atol=1e-4, equal_nan=True):
        return
    more = _("Pixels with the class in both, divided by those with it in at least one, where the truth is not 255")
    absent = np.isnan(expected)
    if absent.any() and not np.isnan(value[absent]).all():
        more = _("The IoU of a class that occurs in neither is np.nan")
    elif np.allclose(np.nan_to_num(value), np.nan_to_num(overlaps(truth.astype(int) + 1000, guess, classes))):
        more = _("Compare class by class")
    elif truth.shape == guess.shape and np.allclose(
        np.nan_to_num(value), np.nan_to_num(_unlabelled(truth, guess, classes))
    ):
        more = _("Pixels of 255 are not labelled: leave them out, of the divisor as well")
    wanted, came = (np.round(v, 3).tolist() for v in (expected, value))
    raise Wrong(
        _("Expected the IoU of {what} to be {wanted}, received {came}. {more}. {hint}.").format(
            what=what, wanted=wanted, came=came, more=more, hint=hint
        )
    )


def _unlabelled(truth, guess, classes: int) -> np.ndarray:
    """IoU of someone who forgot that 255 is no class."""
    return overlaps(np.where(truth == IGNORE, 254, truth), guess, classes)


def map_scores(answer, hw) -> None:
    keys = ("mean_iou", "frequency_weighted", "accuracy", "lazy_accuracy")
    given = mapping(answer, keys, hint=_("Case study A, sections 11 and 12"))
    truth, guess = my_part(hw)[1], my_prediction(hw)
    judged, share, each = truth != IGNORE, shares_of(truth), overlaps(truth, guess, 3)
    for key, expected, words in zip(
        keys,
        (each.mean(), (share * each).sum(), (truth == guess)[judged].mean(), 1 - share[1]),
        (
            _("The mean of the three IoUs. Section 11"),
            _("Each IoU times its class's share of the labelled *truth*, added up. Section 11"),
            _("The share of labelled pixels that are right. Section 12"),
            _("Such a map is right wherever the truth is not tree. Section 12"),
        ),
        strict=True,
    ):
        value = number(given[key], hint=_("This is {key!r}, 0 to 1. {words}").format(key=key, words=words))
        close(value, expected, tol=2e-4, unit=f"({key})", hint=_("Case study A. {words}").format(words=words))


def real_time(answer, hw) -> None:
    given = mapping(
        answer, ("layer", "tiles", "network", "seconds", "megabytes"), hint=_("Case study A, sections 8 and 15")
    )
    own, layer = hw.draw["flight"], hw.draw["layer"]
    weights = layer["kernel"] ** 2 * layer["inputs"] * layer["outputs"]
    value = number(given["layer"], whole=True, hint=_("This is the number of parameters of the layer. Section 8"))
    if value != weights + layer["outputs"]:
        more = (
            _("Each of its outputs has a constant")
            if value == weights
            else _("kernel × kernel × inputs + 1, for each output")
        )
        raise Wrong(
            _("Expected another number of parameters than {value:,}. {more}. Case study A, section 8.").format(
                value=value, more=more
            )
        )
    tiles = count_of(own["high"], own["tile"], own["overlap"]) * count_of(own["wide"], own["tile"], own["overlap"])
    value = number(given["tiles"], whole=True, hint=_("This is the number of tiles of a capture"))
    close(
        value, tiles, unit=_("tiles"), hint=_("Tiles down times tiles across; use tile_starts. Case study A, section 4")
    )
    best = choose(own, tiles)
    if given["network"] != best["network"]:
        more = _("The name as in the table")
        for one in own["networks"]:
            if one["network"] == given["network"]:
                more = _("A better one is fast enough and fits, too")
                if megabytes(one) > own["largest_mb"]:
                    more = _("It takes {megabytes:,.0f} MB, at most {largest_mb} are there").format(
                        megabytes=megabytes(one), largest_mb=own["largest_mb"]
                    )
                elif tiles * one["s_a_tile"] + own["rest_s"] > own["every_s"]:
                    more = _("It is too slow: add the rest of the process to the time of the tiles")
        raise Wrong(
            _("Expected another network, received {network}. {more}. Case study A, section 15.").format(
                network=shown(given["network"]), more=more
            )
        )
    for key, expected, words in (
        (
            "seconds",
            tiles * best["s_a_tile"] + own["rest_s"],
            _("All tiles, and the rest of the process. Case study A, section 15"),
        ),
        (
            "megabytes",
            megabytes(best),
            _("Three numbers of four bytes a parameter; 1 MB is 2**20 bytes here. Case study A, section 8"),
        ),
    ):
        value = number(
            given[key], hint=_("This is {key!r} of the network that you chose. {words}").format(key=key, words=words)
        )
        close(value, expected, rel=0.01, unit=key, hint=f"{words}")


def megabytes(network: dict) -> float:
    """On disk, with the two numbers a parameter that adadelta keeps."""
    return 3 * 4 * network["parameters"] / 2**20


def choose(own: dict, tiles: int) -> dict:
    """The network with the best mean IoU of those that are fast enough and fit."""
    fits = [
        one
        for one in own["networks"]
        if tiles * one["s_a_tile"] + own["rest_s"] <= own["every_s"] and megabytes(one) <= own["largest_mb"]
    ]
    return max(fits, key=lambda one: one["mean_iou"])


def score_trees(ask, hw) -> None:
    true = np.array([[0.0, 0, 1], [5, 0, 1.5], [10, 0, 1]])
    for found, what in (
        ([[0.5, 0], [5, 1], [10, 0]], _("three detections, each under a crown")),
        ([[0.5, 0], [5, 2], [20, 0], [10, 0.3]], _("four detections, two of them under no crown")),
        ([[0.5, 0], [0.2, 0], [0, 0.1]], _("three detections under one crown: two of them are too many")),
    ):
        trees_scored(ask, np.array(found), true, what)
    trees_scored(ask, once(finds(hw)), true_trees(hw), _("your grove, each tree once,"))


def trees_scored(ask, found, true, what: str) -> None:
    """Compare a score of trees with the true one."""
    hint = _("Case study A, section 17")
    expected = tree_score(found, true)
    given = mapping(ask(found, true), tuple(expected), hint=hint)
    words = {
        "count_error": _("(found − true) / true, with its sign"),
        "precision": _("Pairs over detections. Each detection is in at most one pair; without detections it is np.nan"),
        "recall": _("Pairs over true trees. A tree that is detected twice counts once"),
    }
    for key, more in words.items():
        value = given[key]
        if not (isinstance(value, float) and math.isnan(value) and math.isnan(expected[key])):
            value = number(value, hint=_("This is {key} of {what}. {hint}").format(key=key, what=what, hint=hint))
        equal(
            value, expected[key], of=_("{key} of {what}").format(key=key, what=what), tol=1e-4, hint=f"{more}. {hint}"
        )


QUESTIONS = (
    Question("q1", "shares", "computed", 3, ("A.1",), "2. What is a mask?", shares),
    Question("q2", "tile_starts", "coded", 4, ("A.2",), "4. Cut into tiles", starts),
    Question("q3", "vary", "coded", 4, ("A.2",), "5. Augment", vary),
    Question("q4", "leak", "reasoned", 3, ("A.3", "S5"), "6. The leak", leak),
    Question("q5", "iou", "coded", 4, ("A.5",), "11. IoU, by hand and by library", iou),
    Question("q6", "map_scores", "computed", 3, ("A.5",), "12. Accuracy misleads", map_scores),
    Question("q7", "real_time", "computed", 4, ("A.4", "A.6"), "15. In real time?", real_time),
    Question("q8", "score_trees", "coded", 3, ("A.7",), "17. Count the grove, each tree once", score_trees),
)
