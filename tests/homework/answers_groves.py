"""Right and wrong answers to the homework of case study A; see the package's docstring for the form."""

import math

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from arsetlib import evaluation, groves
from arsetlib.grading.assignments import groves as given
from homework.forms import functions, slow


def key_of(options, start):
    return next(key for key, text in options.items() if text.startswith(start))


def pick(hw, what, choice, reason):
    return key_of(hw.draw[what], choice), key_of(hw.draw[f"{what}_reasons"], reason)


# --- q1 shares --------------------------------------------------------------------------------------------------------

NEAREST = ("Take the pixel", "Class numbers")


def shares(**changes):
    """The right answer, or with entries made otherwise: entry=f(hw, mask, right answer)."""

    def made(hw):
        mask = given.my_part(hw)[1]
        judged = mask[mask != 255]
        right = {key: float((judged == k).mean()) for k, key in enumerate(given.KEYS)}
        right["resize"] = pick(hw, "resize", *NEAREST)
        return right | {key: make(hw, mask, right) for key, make in changes.items()}

    return made


def all_shares(make):
    """The three shares by another rule."""
    return lambda hw: shares()(hw) | dict(zip(given.KEYS, make(given.my_part(hw)[1]).tolist(), strict=True))


def other_resize(choice=NEAREST[0], reason=NEAREST[1]):
    return shares(resize=lambda hw, mask, right: pick(hw, "resize", choice, reason))


def bins(mask):
    return np.bincount(mask.ravel(), minlength=256)


NOT_SHARES = {
    "255 counted below the line": all_shares(lambda m: bins(m)[:3] / m.size),
    "255 as ground": all_shares(lambda m: np.add(bins(m)[:3], [bins(m)[255], 0, 0]) / m.size),
    "pixels": all_shares(lambda m: bins(m)[:3]),
    "percent": all_shares(lambda m: 100 * bins(m)[:3] / bins(m)[:3].sum()),
    "two decimals": all_shares(lambda m: (bins(m)[:3] / bins(m)[:3].sum()).round(2) + 0.001),
    "tree and grass swapped": all_shares(lambda m: (bins(m)[:3] / bins(m)[:3].sum())[[0, 2, 1]]),
    "four classes": all_shares(lambda m: bins(m)[:3] / (bins(m)[:3].sum() + 1000)),
    "even": all_shares(lambda m: np.full(3, 1 / 3)),
    "of rows": all_shares(lambda m: bins(m)[:3] / m.shape[0]),
    "whole capture": lambda hw: (
        shares()(hw)
        | dict(zip(given.KEYS, (bins(c := hw.prepared[hw.draw["capture"]][1])[:3] / c.size).tolist(), strict=True))
    ),
    "rounded average": other_resize("Average the old pixels of each new pixel, and round"),
    "average": other_resize("Average the old pixels of each new pixel, and keep"),
    "JPEG": other_resize("Save the mask"),
    "because fast": other_resize(reason="It is the fastest"),
    "because of detail": other_resize(reason="A mask has more"),
    "because of shares": other_resize(reason="It is the only"),
    "no reason": shares(resize=lambda hw, mask, right: right["resize"][0]),
    "no choice": lambda hw: {k: v for k, v in shares()(hw).items() if k != "resize"},
    "NaN": shares(tree=lambda hw, mask, right: math.nan),
    "nothing": lambda hw: ...,
}

# --- q2 tile_starts ---------------------------------------------------------------------------------------------------


def pushed_back(length, tile, overlap):
    starts = list(range(0, length - tile + 1, tile - overlap))
    if starts[-1] + tile < length:
        starts.append(length - tile)
    return starts


def even(length, tile, overlap):
    count = 1 + math.ceil((length - tile) / (tile - overlap))
    return np.floor(np.linspace(0, length - tile, count)).astype(int)


def walked(length, tile, overlap):
    starts = [0]
    while starts[-1] + tile < length:
        starts.append(min(starts[-1] + tile - overlap, length - tile))
    return tuple(starts)


def by_library(length, tile, overlap):
    return np.unique(groves.cut(np.zeros((tile, length), "u1"), size=tile, overlap=overlap).columns)


NOT_STARTS = functions(
    rest_dropped=lambda n, t, o: list(range(0, n - t + 1, t - o)),
    reaches_over=lambda n, t, o: list(range(0, n, t - o)),
    reaches_over_once=lambda n, t, o: list(range(0, max(n - o, 1), t - o)),
    overlap_ignored=lambda n, t, o: pushed_back(n, t, 0),
    overlap_as_step=lambda n, t, o: pushed_back(n, t, t - max(o, 1)) if o < t else [0],
    one_tile_too_many=lambda n, t, o: (
        np.linspace(0, n - t, len(walked(n, t, o)) + 1).astype(int).tolist() if n > t else [0]
    ),
    last_tile_twice=lambda n, t, o: [*range(0, n - t + 1, t - o), n - t],
    last_pixel_missing=lambda n, t, o: [*walked(n, t, o)[:-1], max(n - t - 1, 0)],
    from_1=lambda n, t, o: [s + 1 for s in walked(n, t, o)],
    ends_in_place_of_starts=lambda n, t, o: [s + t for s in walked(n, t, o)],
    half_pixels=lambda n, t, o: np.linspace(0, n - t, len(walked(n, t, o)) + 0) + 0.25,
    decimals_not_rounded=lambda n, t, o: np.linspace(0, n - t, len(walked(n, t, o))),
    count_alone=lambda n, t, o: len(walked(n, t, o)),
    pairs_of_start_and_end=lambda n, t, o: [(s, s + t) for s in walked(n, t, o)],
    descending=lambda n, t, o: list(walked(n, t, o))[::-1],
    seven_across=lambda n, t, o: np.linspace(0, n - t, 7).astype(int),
    count_rounded_down=lambda n, t, o: np.linspace(0, n - t, 1 + (n - t) // (t - o)).astype(int),
    nothing_for_one_tile=lambda n, t, o: list(walked(n, t, o)) if n > t else [],
    endless_for_large_overlap=slow(walked),
    error_without_overlap=lambda n, t, o: list(walked(n, t, o)) if n // (o or 0) else [],
    text=lambda n, t, o: str(list(walked(n, t, o))),
    tile_of_100_built_in=lambda n, t, o: pushed_back(n, 100, o) if n >= 100 > o else [0],
)

# --- q3 vary ----------------------------------------------------------------------------------------------------------


def by_slices(image, mask, mirror, turns, light):
    image, mask = image.copy(), mask.copy()
    if mirror:
        image, mask = np.fliplr(image), np.fliplr(mask)
    for _ in range(turns):
        image, mask = image.swapaxes(0, 1)[::-1], mask.T[::-1]
    return [np.minimum(image.astype("f4") * light, 255).astype("u1"), mask]


def by_numpy(image, mask, mirror, turns, light):
    moved = [np.rot90(np.flip(a, 1) if mirror else a, k=turns) for a in (image, mask)]
    moved[0] = np.clip(moved[0] * np.float64(light), 0, 255).round()
    return tuple(moved)


def by_table(image, mask, mirror, turns, light):
    lit = np.array([min(255, round(value * light)) for value in range(256)], "u1")
    rows, columns = np.indices(mask.shape)
    if mirror:
        columns = columns[:, ::-1]
    rows, columns = np.rot90(rows, turns), np.rot90(columns, turns)
    return lit[image[rows, columns]].tolist(), mask[rows, columns].tolist()


def varies(move=None, light_of=None, mask_of=None):
    """A right answer with something done otherwise."""
    move = move or (lambda a, mirror, turns: np.rot90(a[:, ::-1] if mirror else a, turns))
    light_of = light_of or (lambda image, light: np.clip(np.rint(image * float(light)), 0, 255).astype("u1"))
    mask_of = mask_of or (lambda mask, mirror, turns, light: move(mask, mirror, turns))

    def made(image, mask, mirror, turns, light):
        return light_of(move(image, mirror, turns), light), mask_of(mask, mirror, turns, light).copy()

    return made


def in_place(image, mask, mirror, turns, light):
    image[:] = np.clip(image * float(light), 0, 255).astype("u1")
    return by_numpy(image, mask, mirror, turns, 1.0)


def lit_mask(mask, mirror, turns, light):
    return np.clip(np.rot90(mask[:, ::-1] if mirror else mask, turns) * light, 0, 255).astype("u1")


def blurred(mask, mirror, turns, light):
    mask = np.rot90(mask[:, ::-1] if mirror else mask, turns).astype(float)
    return (mask + np.roll(mask, 1, 0)) / 2


NOT_VARY = functions(
    image_of_nan=varies(light_of=lambda image, light: np.full(image.shape, np.nan)),
    mask_stays=varies(mask_of=lambda m, *_: m),
    mask_lit=varies(mask_of=lit_mask),
    mask_blurred=varies(mask_of=blurred),
    mask_mirrored_only=varies(mask_of=lambda m, mirror, turns, light: m[:, ::-1] if mirror else m),
    mask_turned_only=varies(mask_of=lambda m, mirror, turns, light: np.rot90(m, turns)),
    clockwise=varies(lambda a, mirror, turns: np.rot90(a[:, ::-1] if mirror else a, -turns)),
    up_and_down=varies(lambda a, mirror, turns: np.rot90(a[::-1] if mirror else a, turns)),
    turned_first=varies(lambda a, mirror, turns: np.rot90(a, turns)[:, ::-1] if mirror else np.rot90(a, turns)),
    always_mirrored=varies(lambda a, mirror, turns: np.rot90(a[:, ::-1], turns)),
    mirror_forgotten=varies(lambda a, mirror, turns: np.rot90(a, turns)),
    turns_forgotten=varies(lambda a, mirror, turns: a[:, ::-1] if mirror else a),
    one_turn_whatever=varies(lambda a, mirror, turns: np.rot90(a[:, ::-1] if mirror else a, bool(turns))),
    halves_only=varies(lambda a, mirror, turns: np.rot90(a[:, ::-1] if mirror else a, 2 * (turns // 2))),
    colours_mirrored=varies(
        lambda a, mirror, turns: np.rot90((a[..., ::-1] if a.ndim == 3 else a[:, ::-1]) if mirror else a, turns)
    ),
    shape_kept=varies(lambda a, mirror, turns: np.rot90(a[:, ::-1] if mirror else a, turns).reshape(a.shape)),
    light_forgotten=varies(light_of=lambda image, light: image),
    light_added=varies(light_of=lambda image, light: np.clip(image + 255 * (light - 1), 0, 255).astype("u1")),
    uint8_overflows=varies(light_of=lambda image, light: (image * light).astype("i4").astype("u1")),
    not_clipped=varies(light_of=lambda image, light: image * float(light)),
    from_0_to_1=varies(light_of=lambda image, light: np.clip(image / 255 * light, 0, 1)),
    clipped_at_0_to_1=varies(light_of=lambda image, light: np.clip(image * float(light), 0, 1)),
    changes_the_image=in_place,
    image_alone=lambda image, mask, mirror, turns, light: by_numpy(image, mask, mirror, turns, light)[0],
    mask_first=lambda image, mask, mirror, turns, light: by_numpy(image, mask, mirror, turns, light)[::-1],
    very_slow=slow(by_numpy),
    nothing=lambda image, mask, mirror, turns, light: None,
    square_tiles_alone=varies(lambda a, mirror, turns: a.reshape(math.isqrt(a.shape[0]) ** 2, -1) if turns else a),
    unjudged_set_to_0=varies(mask_of=lambda m, mirror, turns, light: np.rot90(np.where(m == 255, 0, m), turns)),
)

# --- q4 leak ----------------------------------------------------------------------------------------------------------

WHOLE = ("Divide whole captures", "A capture shows")


def sides(hw):
    frame = given.samples(hw)
    return frame[frame["side"] == "train"], frame[frame["side"] == "test"]


def leak(**changes):
    def made(hw):
        train, test = sides(hw)
        known = set(zip(train["capture"], train["tile"], strict=True))
        right = {
            "twins": sum(one in known for one in zip(test["capture"], test["tile"], strict=True)) / len(test),
            "captures": float(test["capture"].isin(train["capture"]).mean()),
            "remedy": pick(hw, "remedy", *WHOLE),
        }
        return right | {key: make(hw, train, test) for key, make in changes.items()}

    return made


def merged_twins(hw, train, test):
    both = test.merge(train[["capture", "tile"]].drop_duplicates(), "left", indicator=True)
    return np.float32((both["_merge"] == "both").mean())


def tiles_of_test(hw, train, test):
    known = set(zip(train["capture"], train["tile"], strict=True))
    asked = set(zip(test["capture"], test["tile"], strict=True))
    return len(asked & known) / len(asked)


def of_training(hw, train, test):
    known = set(zip(test["capture"], test["tile"], strict=True))
    return np.mean([one in known for one in zip(train["capture"], train["tile"], strict=True)])


def other_remedy(choice=WHOLE[0], reason=WHOLE[1]):
    return leak(remedy=lambda hw, train, test: pick(hw, "remedy", choice, reason))


NOT_LEAK = {
    "tile numbers alone": leak(twins=lambda hw, train, test: test["tile"].isin(train["tile"]).mean()),
    "same copy as well": leak(
        twins=lambda hw, train, test: len(test.merge(train, on=["capture", "tile", "copy"])) / len(test)
    ),
    "tiles in place of samples": leak(twins=tiles_of_test),
    "of the training": leak(twins=of_training),
    "of all samples": leak(twins=lambda hw, train, test: leak()(hw)["twins"] * len(test) / len(given.samples(hw))),
    "pairs counted": leak(twins=lambda hw, train, test: len(test.merge(train, on=["capture", "tile"])) / len(test)),
    "without a twin": leak(twins=lambda hw, train, test: 1 - leak()(hw)["twins"]),
    "percent": leak(twins=lambda hw, train, test: 100 * leak()(hw)["twins"]),
    "one decimal": leak(twins=lambda hw, train, test: round(leak()(hw)["twins"], 1) + 0.003),
    "by chance": leak(twins=lambda hw, train, test: 1 - 0.5 ** (hw.draw["copies"] - 1) + 0.004),
    "no capture is shared": leak(captures=lambda hw, train, test: 0.0),
    "percent of captures": leak(captures=lambda hw, train, test: 100.0),
    "twins for captures": leak(captures=lambda hw, train, test: leak()(hw)["twins"]),
    "number of captures": leak(captures=lambda hw, train, test: test["capture"].nunique()),
    "remedy: tiles": other_remedy("Divide tiles"),
    "remedy: seed": other_remedy("Divide samples as before, with another"),
    "remedy: vary more": other_remedy("Divide samples as before, and augment"),
    "because copies are new": other_remedy(reason="A turned"),
    "because no pixel is shared": other_remedy(reason="Tiles of one"),
    "because of the loss": other_remedy(reason="A leak shows"),
    "letter alone": leak(remedy=lambda hw, train, test: "a"),
    "no remedy": lambda hw: {k: v for k, v in leak()(hw).items() if k != "remedy"},
    "nothing": lambda hw: None,
}

# --- q5 iou -----------------------------------------------------------------------------------------------------------


def iou_sets(truth, predicted, classes):
    truth, predicted = np.ravel(truth).tolist(), np.ravel(predicted).tolist()
    judged = [i for i, t in enumerate(truth) if t != 255]
    found = []
    for k in range(classes):
        one, other = {i for i in judged if truth[i] == k}, {i for i in judged if predicted[i] == k}
        found.append(len(one & other) / len(one | other) if one | other else float("nan"))
    return found


def iou_counts(truth, predicted, classes):
    judged = truth != 255
    counts = np.bincount(truth[judged].astype(int) * classes + predicted[judged], minlength=classes**2)
    counts = counts.reshape(classes, classes)
    tp = counts.diagonal()
    with np.errstate(invalid="ignore"):
        return tp / (counts.sum(0) + counts.sum(1) - tp)


def iou_library(truth, predicted, classes):
    return evaluation.Confusion.of(truth, predicted, classes, ignore=255).iou


def iou_series(truth, predicted, classes):
    return pd.Series(iou_sets(truth, predicted, classes), [f"class {k}" for k in range(classes)])


def iou_by(of=lambda both, t, p: both / (t + p - both), judged=lambda truth: truth != 255, absent=np.nan):
    """IoU from pixels of both, of the truth and of the prediction."""

    def made(truth, predicted, classes):
        where = judged(truth)
        found = []
        for k in range(classes):
            t, p = (truth == k) & where, (predicted == k) & where
            found.append(of((t & p).sum(), t.sum(), p.sum()) if t.any() or p.any() else absent)
        return np.array(found, float)

    return made


def over(a, b):
    return a / b if b else 0.0


def fills_in(truth, predicted, classes):
    truth[truth == 255] = predicted[truth == 255]
    return iou_counts(truth, predicted, classes)


def guess_dropped(truth, predicted, classes):
    return iou_by(judged=lambda t: (t != 255) & (predicted != 0))(truth, predicted, classes)


NOT_IOU = functions(
    unjudged_counted=iou_by(judged=lambda truth: truth >= 0),
    unjudged_as_right=fills_in,
    absent_as_0=iou_by(absent=0.0),
    absent_as_1=iou_by(absent=1.0),
    absent_left_out=lambda t, p, k: [v for v in iou_sets(t, p, k) if not math.isnan(v)],
    dice=iou_by(lambda both, t, p: 2 * both / (t + p)),
    recall=iou_by(lambda both, t, p: over(both, t)),
    precision=iou_by(lambda both, t, p: over(both, p)),
    over_sum_of_both=iou_by(lambda both, t, p: both / (t + p)),
    over_larger=iou_by(lambda both, t, p: both / max(t, p)),
    over_smaller=iou_by(lambda both, t, p: over(both, min(t, p))),
    pixels_shared=iou_by(lambda both, t, p: both),
    mean=lambda t, p, k: np.nanmean(iou_sets(t, p, k)),
    pooled=lambda t, p, k: [((t == p) & (t != 255)).sum() / (t != 255).sum()] * k,
    three_classes_built_in=lambda t, p, k: iou_sets(t, p, 3),
    classes_from_1=lambda t, p, k: iou_sets(t, p, k + 1)[1:],
    classes_that_occur=lambda t, p, k: [iou_sets(t, p, 255)[c] for c in np.unique(t) if c < 255],
    background_ignored=lambda t, p, k: iou_sets(np.where(t == 0, 255, t), p, k),
    predicted_ground_ignored=guess_dropped,
    percent=lambda t, p, k: 100 * np.array(iou_sets(t, p, k)),
    one_decimal=lambda t, p, k: np.round(iou_sets(t, p, k), 1),
    flat_masks_alone=lambda t, p, k: [iou_sets(t[:1], p[:1], k)[c] for c in range(k)],
    changes_the_truth=lambda t, p, k: (t.fill(0), iou_sets(t, p, k))[1],
    very_slow=slow(iou_sets),
    error_for_an_absent_class=lambda t, p, k: [1 / int(((t == c) | (p == c)).any()) for c in range(k)],
    dict_of_classes=lambda t, p, k: dict(enumerate(iou_sets(t, p, k))),
    swapped_where_255=lambda t, p, k: iou_sets(p, t, k),
)

# --- q6 map_scores ----------------------------------------------------------------------------------------------------


def map_scores(**changes):
    def made(hw):
        truth, guess = given.my_part(hw)[1], given.my_prediction(hw)
        judged = truth != 255
        each = iou_counts(truth, guess, 3)
        share = np.bincount(truth[judged], minlength=3) / judged.sum()
        right = {
            "mean_iou": each.mean(),
            "frequency_weighted": share @ each,
            "accuracy": (truth[judged] == guess[judged]).mean(),
            "lazy_accuracy": 1 - share[1],
        }
        return right | {key: make(truth, guess, each, share) for key, make in changes.items()}

    return made


def lazy_guess(truth, guess, each, share):
    judged = truth != 255
    return (np.where(guess == 1, 0, guess) == truth)[judged].mean()


def tile_mean(truth, guess, each, share):
    halves = [iou_sets(t, g, 3) for t, g in ((truth[:90], guess[:90]), (truth[90:], guess[90:]))]
    return np.nanmean(halves)


def all_pixels(truth, guess, each, share):
    return (truth == guess).mean()


NOT_MAP_SCORES = {
    "mean over four classes": map_scores(mean_iou=lambda t, g, e, s: e.sum() / 4),
    "median IoU": map_scores(mean_iou=lambda t, g, e, s: np.median(e) + 1e-3),
    "mean of halves": map_scores(mean_iou=tile_mean),
    "255 in the IoU": map_scores(mean_iou=lambda t, g, e, s: iou_by(judged=lambda x: x >= 0)(t, g, 3).mean()),
    "tree alone": map_scores(mean_iou=lambda t, g, e, s: e[1]),
    "dice": map_scores(mean_iou=lambda t, g, e, s: (2 * e / (1 + e)).mean()),
    "weighted by the prediction": map_scores(
        frequency_weighted=lambda t, g, e, s: (np.bincount(g[t != 255], minlength=3) / (t != 255).sum()) @ e
    ),
    "weighted by all pixels": map_scores(
        frequency_weighted=lambda t, g, e, s: (np.bincount(t.ravel(), minlength=3)[:3] / t.size) @ e
    ),
    "weighted by rarity": map_scores(frequency_weighted=lambda t, g, e, s: ((1 - s) / 2) @ e),
    "sum of IoUs": map_scores(frequency_weighted=lambda t, g, e, s: e.sum()),
    "mean for weighted": map_scores(frequency_weighted=lambda t, g, e, s: e.mean()),
    "accuracy of all pixels": map_scores(accuracy=all_pixels),
    "errors": map_scores(accuracy=lambda t, g, e, s: 1 - (t == g)[t != 255].mean()),
    "mean recall": map_scores(accuracy=lambda t, g, e, s: np.mean([(g[t == k] == k).mean() for k in range(3)])),
    "percent": map_scores(accuracy=lambda t, g, e, s: 100 * (t == g)[t != 255].mean()),
    "one decimal": map_scores(accuracy=lambda t, g, e, s: round((t == g)[t != 255].mean(), 1) + 0.004),
    "lazy: own errors stay": map_scores(lazy_accuracy=lazy_guess),
    "lazy: trees alone": map_scores(lazy_accuracy=lambda t, g, e, s: s[1]),
    "lazy: ground everywhere": map_scores(lazy_accuracy=lambda t, g, e, s: s[0]),
    "lazy: 255 counted": map_scores(lazy_accuracy=lambda t, g, e, s: (t != 1).mean()),
    "lazy: 0.95 of the lab": map_scores(lazy_accuracy=lambda t, g, e, s: 0.95),
    "lazy: 0": map_scores(lazy_accuracy=lambda t, g, e, s: 0.0),
    "weighted missing": lambda hw: {k: v for k, v in map_scores()(hw).items() if k != "frequency_weighted"},
    "NaN": map_scores(mean_iou=lambda t, g, e, s: math.nan),
    "list": lambda hw: list(map_scores()(hw).values()),
}

# --- q7 real_time -----------------------------------------------------------------------------------------------------


def real_time(**changes):
    """The right answer, or with entries made otherwise: entry=f(flight, layer, right answer, table)."""

    def made(hw):
        own, layer = hw.draw["flight"], hw.draw["layer"]
        count = len(walked(own["high"], own["tile"], own["overlap"])) * len(
            walked(own["wide"], own["tile"], own["overlap"])
        )
        table = pd.DataFrame(own["networks"]).set_index("network")
        table["seconds"] = count * table["s_a_tile"] + own["rest_s"]
        table["megabytes"] = table["parameters"] * 12 / 2**20
        fits = table[(table["seconds"] <= own["every_s"]) & (table["megabytes"] <= own["largest_mb"])]
        best = fits["mean_iou"].idxmax()
        right = {
            "layer": (layer["kernel"] ** 2 * layer["inputs"] + 1) * layer["outputs"],
            "tiles": count,
            "network": best,
            "seconds": fits.loc[best, "seconds"],
            "megabytes": fits.loc[best, "megabytes"],
        }
        return right | {key: make(own, layer, right, table) for key, make in changes.items()}

    return made


def fitting(own, table, late=False, large=False):
    table = table if large else table[table["megabytes"] <= own["largest_mb"]]
    return table if late else table[table["seconds"] <= own["every_s"]]


def weights(own, layer, right, table):
    return layer["kernel"] ** 2 * layer["inputs"] * layer["outputs"]


def floor_tiles(own, layer, right, table):
    return (own["high"] // own["tile"]) * (own["wide"] // own["tile"])


NOT_REAL_TIME = {
    "constants missing": real_time(layer=weights),
    "one constant": real_time(layer=lambda o, y, r, t: weights(o, y, r, t) + 1),
    "kernel not squared": real_time(layer=lambda o, y, r, t: (y["kernel"] * y["inputs"] + 1) * y["outputs"]),
    "constants of inputs": real_time(layer=lambda o, y, r, t: weights(o, y, r, t) + y["inputs"]),
    "one output": real_time(layer=lambda o, y, r, t: y["kernel"] ** 2 * y["inputs"] + 1),
    "millions": real_time(layer=lambda o, y, r, t: r["layer"] / 1e6),
    "tiles without overlap": real_time(
        tiles=lambda o, y, r, t: -(-o["high"] // o["tile"]) * -(-o["wide"] // o["tile"]) - 1
    ),
    "rest dropped": real_time(tiles=floor_tiles),
    "by area": real_time(tiles=lambda o, y, r, t: round(o["high"] * o["wide"] / o["tile"] ** 2)),
    "across alone": real_time(tiles=lambda o, y, r, t: len(walked(o["wide"], o["tile"], o["overlap"]))),
    "down and across added": real_time(tiles=lambda o, y, r, t: 12),
    "thirty-six": real_time(tiles=lambda o, y, r, t: 36),
    "best of all": real_time(network=lambda o, y, r, t: t["mean_iou"].idxmax()),
    "the link, not the chain": real_time(network=lambda o, y, r, t: fitting(o, t, late=True)["mean_iou"].idxmax()),
    "size forgotten": real_time(network=lambda o, y, r, t: fitting(o, t, large=True)["mean_iou"].idxmax()),
    "fastest": real_time(network=lambda o, y, r, t: t["seconds"].idxmin()),
    "smallest": real_time(network=lambda o, y, r, t: t["megabytes"].idxmin()),
    "a number": real_time(network=lambda o, y, r, t: 0),
    "seconds of tiles": real_time(seconds=lambda o, y, r, t: r["seconds"] - o["rest_s"]),
    "seconds of one tile": real_time(seconds=lambda o, y, r, t: t.loc[r["network"], "s_a_tile"]),
    "rest for each tile": real_time(seconds=lambda o, y, r, t: r["seconds"] + (r["tiles"] - 1) * o["rest_s"]),
    "milliseconds": real_time(seconds=lambda o, y, r, t: 1000 * r["seconds"]),
    "one number a parameter": real_time(megabytes=lambda o, y, r, t: r["megabytes"] / 3),
    "bytes": real_time(megabytes=lambda o, y, r, t: r["megabytes"] * 2**20),
    "a million bytes": real_time(megabytes=lambda o, y, r, t: r["megabytes"] * 2**20 / 1e6),
    "of another": real_time(megabytes=lambda o, y, r, t: t["megabytes"].max()),
    "nothing": lambda hw: ...,
}

# --- q8 score_trees ---------------------------------------------------------------------------------------------------


def result(n, m, pairs):
    return {"count_error": (n - m) / m, "precision": pairs / n if n else math.nan, "recall": pairs / m}


def hungarian(found, true):
    apart = cdist(np.reshape(found, (-1, 2)), true[:, :2])
    near = apart <= true[:, 2]
    ours, theirs = linear_sum_assignment(np.where(near, apart, 1e6))
    return result(len(found), len(true), int(near[ours, theirs].sum()))


def greedy(found, true):
    free, pairs = [tuple(place) for place in found], 0
    for x, y, radius in true:
        near = [place for place in free if math.dist(place, (x, y)) <= radius]
        if near:
            free.remove(near[0])
            pairs += 1
    return result(len(found), len(true), pairs)


def broadcast(found, true):
    found = np.asarray(found).reshape(-1, 2)
    hit = (np.hypot(*(found[:, None] - true[None, :, :2]).transpose(2, 0, 1)) <= true[:, 2]).any(0)
    return pd.Series(result(len(found), len(true), hit.sum()))


def scored(**changes):
    def made(found, true):
        right = hungarian(found, true)
        return right | {key: make(found, true, right) for key, make in changes.items()}

    return made


def hits(found, true):
    """Finds under any crown."""
    return sum(any(math.dist(f, t[:2]) <= t[2] for t in true) for f in found)


def within(reach):
    def made(found, true):
        return hungarian(found, np.column_stack([true[:, :2], reach(true)]))

    return made


def empties(found, true):
    found.fill(0)
    return hungarian(found, true)


NOT_SCORE = functions(
    precision_of_all_finds_under_crowns=scored(precision=lambda f, t, r: hits(f, t) / max(len(f), 1)),
    recall_of_all_finds=scored(recall=lambda f, t, r: hits(f, t) / len(t)),
    swapped=scored(precision=lambda f, t, r: r["recall"], recall=lambda f, t, r: r["precision"]),
    one_metre=within(lambda t: np.ones(len(t))),
    twice_the_radius=within(lambda t: 2 * t[:, 2]),
    half_the_radius=within(lambda t: t[:, 2] / 2),
    any_distance=within(lambda t: np.full(len(t), 1e5)),
    square_of_the_distance=lambda f, t: hungarian(f, np.column_stack([t[:, :2], np.sqrt(t[:, 2])])),
    a_box_for_a_disc=lambda f, t: result(
        len(f), len(t), sum(bool(len(f)) and (np.abs(f - x[:2]) <= x[2]).all(1).any() for x in t)
    ),
    along_x_alone=lambda f, t: result(len(f), len(t), sum(bool((np.abs(f[:, 0] - x[0]) <= x[2]).any()) for x in t)),
    error_without_sign=scored(count_error=lambda f, t, r: abs(r["count_error"])),
    error_turned_round=scored(count_error=lambda f, t, r: -r["count_error"]),
    error_over_finds=scored(count_error=lambda f, t, r: (len(f) - len(t)) / max(len(f), 1)),
    number_of_trees_wrong=scored(count_error=lambda f, t, r: len(f) - len(t)),
    percent=scored(count_error=lambda f, t, r: 100 * r["count_error"]),
    error_of_pairs=scored(count_error=lambda f, t, r: r["recall"] - 1),
    no_finds_precision_0=scored(precision=lambda f, t, r: r["precision"] if len(f) else 0.0),
    no_finds_precision_1=scored(precision=lambda f, t, r: r["precision"] if len(f) else 1.0),
    error_without_finds=scored(precision=lambda f, t, r: round(r["recall"] * len(t)) / len(f)),
    f1_for_precision=scored(precision=lambda f, t, r: 2 * r["recall"] * len(t) / (len(f) + len(t))),
    changes_finds=empties,
    very_slow=slow(hungarian),
    pairs_alone=lambda f, t: round(hungarian(f, t)["recall"] * len(t)),
    text=lambda f, t: str(hungarian(f, t)),
    in_order=lambda f, t: result(len(f), len(t), sum(math.dist(a, b[:2]) <= b[2] for a, b in zip(f, t, strict=False))),
)

RIGHT = {
    "q1": {
        "dict": shares(),
        "numpy scalars": shares(tree=lambda hw, mask, right: np.float64(right["tree"])),
        "pair as text": shares(resize=lambda hw, mask, right: ", ".join(right["resize"])),
        "four decimals": lambda hw: {k: round(v, 4) if k != "resize" else list(v) for k, v in shares()(hw).items()},
    },
    "q2": functions(pushed_back=pushed_back, even=even, walked=walked, library=by_library),
    "q3": functions(slices=by_slices, numpy=by_numpy, lists_by_table=by_table, parts=varies()),
    "q4": {
        "loop": leak(),
        "merged": leak(twins=merged_twins),
        "one as a whole number": leak(captures=lambda hw, train, test: 1),
    },
    "q5": functions(sets=iou_sets, counts=iou_counts, library=iou_library, series=iou_series, masks=iou_by()),
    "q6": {
        "dict": map_scores(),
        "series": lambda hw: pd.Series(map_scores()(hw)),
        "four decimals": lambda hw: {key: round(float(value), 4) for key, value in map_scores()(hw).items()},
    },
    "q7": {
        "dict": real_time(),
        "rounded": real_time(
            seconds=lambda o, y, r, t: round(r["seconds"], 2), megabytes=lambda o, y, r, t: round(r["megabytes"])
        ),
        "series": lambda hw: pd.Series(real_time()(hw)),
    },
    "q8": functions(hungarian=hungarian, greedy=greedy, broadcast=broadcast),
}
WRONG = {
    "q1": NOT_SHARES,
    "q2": NOT_STARTS,
    "q3": NOT_VARY,
    "q4": NOT_LEAK,
    "q5": NOT_IOU,
    "q6": NOT_MAP_SCORES,
    "q7": NOT_REAL_TIME,
    "q8": NOT_SCORE,
}
