"""Right and wrong answers to homework 3; see the package's docstring for the form."""

import itertools
import math
import warnings
from collections import Counter

import numpy as np
import pandas as pd
from sklearn import metrics

from arsetlib.grading.assignments import part3
from homework.forms import functions, slow

# --- q1 toy_parameters ------------------------------------------------------------------------------------------------


def by_layers(steps, bands, kernels, width, pool, dense, classes):
    sizes, total = [], 0
    sizes.append((width * bands, kernels))
    flat = (steps - (width - 1)) // pool * kernels
    sizes += [(flat, dense), (dense, classes)]
    for inputs, outputs in sizes:
        total += inputs * outputs
        total += outputs
    return total


def by_walking(steps, bands, kernels, width, pool, dense, classes):
    places = [first for first in range(steps) if first + width <= steps]
    pooled = [places[i : i + pool] for i in range(0, len(places), pool)]
    flat = sum(len(part) == pool for part in pooled) * kernels
    return np.sum([kernels * (width * bands + 1), dense * (flat + 1), classes * (dense + 1)])


def by_arrays(steps, bands, kernels, width, pool, dense, classes):
    flat = np.zeros((int((steps - width + 1) / pool), kernels)).size
    shapes = [(width, bands, kernels), (kernels,), (flat, dense), (dense,), (dense, classes), (classes,)]
    return float(sum(np.prod(shape) for shape in shapes))


def parameters(places=lambda t, w, p: (t - w + 1) // p, constants=(1, 1, 1), wide=lambda w: w):
    def count(steps, bands, kernels, width, pool, dense, classes):
        flat = places(steps, width, pool) * kernels
        c, d, e = constants
        return kernels * (wide(width) * bands + c) + dense * (flat + d) + classes * (dense + e)

    return count


def no_bands(steps, bands, kernels, width, pool, dense, classes):
    return parameters()(steps, 1, kernels, width, pool, dense, classes)


def twelve_bands(steps, bands, kernels, width, pool, dense, classes):
    return parameters()(steps, 12, kernels, width, pool, dense, classes)


def slides_only(steps, bands, kernels, width, pool, dense, classes):
    return {20: 349, 24: 390}.get(steps, 349)


def from_24(steps, bands, kernels, width, pool, dense, classes):
    return 183 + 10 * ((steps - 4) // 5 * 3 + 1) + classes * 11


def not_flat(steps, bands, kernels, width, pool, dense, classes):
    return kernels * (width * bands + 1) + dense * (kernels + 1) + classes * (dense + 1)


def for_each_place(steps, bands, kernels, width, pool, dense, classes):
    places = steps - width + 1
    return places * kernels * (width * bands + 1) + dense * (places // pool * kernels + 1) + classes * (dense + 1)


def no_output(steps, bands, kernels, width, pool, dense, classes):
    return kernels * (width * bands + 1) + dense * ((steps - width + 1) // pool * kernels + 1)


NOT_PARAMETERS = functions(
    without_constants=parameters(constants=(0, 0, 0)),
    constants_of_kernels_missing=parameters(constants=(0, 1, 1)),
    constants_of_dense_layers_missing=parameters(constants=(1, 0, 0)),
    padding_same=parameters(lambda t, w, p: t // p),
    off_by_one_place=parameters(lambda t, w, p: (t - w) // p),
    last_part_pool_kept=parameters(lambda t, w, p: -(-(t - w + 1) // p)),
    exact_division=parameters(lambda t, w, p: (t - w + 1) / p),
    pool_forgotten=parameters(lambda t, w, p: t - w + 1),
    pool_with_stride_1=parameters(lambda t, w, p: t - w + 1 - p + 1),
    pooled_first=parameters(lambda t, w, p: t // p - w + 1),
    bands_forgotten=no_bands,
    twelve_bands_built_in=twelve_bands,
    numbers_of_the_check=slides_only,
    toy_built_in=from_24,
    one_place_after_flatten=not_flat,
    own_kernel_for_each_place=for_each_place,
    last_layer_forgotten=no_output,
    very_slow=slow(by_layers),
    list_of_layers=lambda steps, bands, kernels, width, pool, dense, classes: [183, 0, 0, 100, 66],
    text=lambda **s: f"{by_layers(**s)} parameters",
    nothing=lambda **s: None,
    raises=lambda **s: s["stride"],
)

# --- q2 days_seen -----------------------------------------------------------------------------------------------------


def back_to_front(stack, step_days):
    steps = 1
    for kernel, stride in reversed(stack):
        steps = (steps - 1) * stride + kernel
    return steps * step_days


def recursive(stack, step_days):
    if not stack:
        return step_days
    (kernel, stride), *rest = stack
    inner = recursive(rest, 1)
    return ((inner - 1) * stride + kernel) * step_days


def with_arrays(stack, step_days):
    stack = np.array(stack).reshape(-1, 2)
    apart = np.concatenate([[1], np.cumprod(stack[:, 1])[:-1]])[: len(stack)]
    return step_days * (1 + np.sum((stack[:, 0] - 1) * apart))


def as_float(stack, step_days):
    strides = [1, *itertools.accumulate((s for _, s in stack), lambda a, b: a * b)]
    return float(step_days) * (1 + sum((k - 1) * a for (k, _), a in zip(stack, strides, strict=False)))


def days(first=1, add=lambda k, a: (k - 1) * a, move=lambda a, s: a * s, end=lambda steps, d: steps * d):
    def seen(stack, step_days):
        steps, apart = first, 1
        for kernel, stride in stack:
            steps += add(kernel, apart)
            apart = move(apart, stride)
        return end(steps, step_days)

    return seen


def stride_first(stack, step_days):
    steps, apart = 1, 1
    for kernel, stride in stack:
        apart *= stride
        steps += (kernel - 1) * apart
    return steps * step_days


def pops(stack, step_days):
    steps, apart = 1, 1
    while stack:
        kernel, stride = stack.pop(0)
        steps, apart = steps + (kernel - 1) * apart, apart * stride
    return steps * step_days


def first_layer(stack, step_days):
    return stack[0][0] * step_days if stack else step_days


NOT_DAYS = functions(
    stride_ignored=days(move=lambda a, s: a),
    stride_before_its_own_kernel=stride_first,
    strides_added=days(move=lambda a, s: a + s - 1),
    only_last_stride=days(move=lambda a, s: s),
    kernels_added=days(0, add=lambda k, a: k),
    kernel_not_less_one=days(add=lambda k, a: k * a),
    from_0=days(0),
    steps_in_place_of_days=days(end=lambda steps, d: steps),
    five_days_built_in=days(end=lambda steps, d: steps * 5),
    days_between_ends=days(end=lambda steps, d: (steps - 1) * d),
    first_layer_alone=first_layer,
    largest_kernel=lambda stack, step_days: max([k for k, _ in stack], default=1) * step_days,
    product_of_kernels=lambda stack, step_days: math.prod(k for k, _ in stack) * step_days,
    front_to_back=lambda stack, step_days: back_to_front(stack[::-1], step_days),
    error_on_no_layer=lambda stack, step_days: with_arrays(stack, step_days) if stack[0] else 0,
    no_layer_no_days=lambda stack, step_days: back_to_front(stack, step_days) if stack else 0,
    stack_emptied=pops,
    very_slow=slow(back_to_front),
    text=lambda stack, step_days: f"{back_to_front(stack, step_days)} days",
    window_of_120_days=lambda stack, step_days: min(120, 25 * len(stack)),
)

# --- q3 first_step ----------------------------------------------------------------------------------------------------


def step(**changes):
    """The right answer, or with some entries made otherwise."""

    def made(hw):
        rate, slopes = hw.draw["rate"], hw.draw["slopes"]
        right = {
            "loss": -math.log(hw.draw["shares"][hw.draw["truth"]]),
            "sgd": -rate * sum(slopes),
            "momentum": -rate * (2.71 * slopes[0] + 1.9 * slopes[1] + slopes[2]),
        }
        return right | {key: make(hw.draw, right) for key, make in changes.items()}

    return made


def last_move(own, right):
    m = 0.0
    for slope in own["slopes"]:
        m = 0.9 * m - own["rate"] * slope
    return m


def averaged(own, right):
    m = place = 0.0
    for slope in own["slopes"]:
        m = 0.9 * m + 0.1 * slope
        place -= own["rate"] * m
    return place


STEP = {
    "dict": step(),
    "series": lambda hw: pd.Series(step()(hw)),
    "three decimals": lambda hw: {key: round(value, 3) for key, value in step()(hw).items()},
    "numpy scalars, an array": step(
        loss=lambda own, right: np.float32(right["loss"]), sgd=lambda own, right: np.array([right["sgd"]])
    ),
}
NOT_STEP = {
    "logarithm to the base of 10": step(loss=lambda own, right: -math.log10(own["shares"][own["truth"]])),
    "logarithm to the base of 2": step(loss=lambda own, right: -math.log2(own["shares"][own["truth"]])),
    "sign of the loss": step(loss=lambda own, right: -right["loss"]),
    "classes from 1": step(loss=lambda own, right: -math.log(own["shares"][own["truth"] - 1])),
    "entropy of all shares": step(loss=lambda own, right: -sum(s * math.log(s) for s in own["shares"])),
    "one minus the share": step(loss=lambda own, right: 1 - own["shares"][own["truth"]]),
    "largest share": step(loss=lambda own, right: -math.log(max(own["shares"])) + 0.01),
    "loss over seven": step(loss=lambda own, right: right["loss"] / 7),
    "uphill": step(sgd=lambda own, right: -right["sgd"]),
    "mean slope": step(sgd=lambda own, right: right["sgd"] / 3),
    "no rate": step(sgd=lambda own, right: -sum(own["slopes"])),
    "first step alone": step(sgd=lambda own, right: -own["rate"] * own["slopes"][0]),
    "two steps": step(sgd=lambda own, right: -own["rate"] * sum(own["slopes"][:2])),
    "sizes of slopes": step(sgd=lambda own, right: -own["rate"] * sum(map(abs, own["slopes"]))),
    "momentum: last move": step(momentum=last_move),
    "momentum: average of slopes": step(momentum=averaged),
    "momentum as sgd": step(momentum=lambda own, right: right["sgd"]),
    "sgd and momentum swapped": step(sgd=lambda o, r: r["momentum"], momentum=lambda o, r: r["sgd"]),
    "rounded to whole numbers": lambda hw: {k: round(v) + 0.1 for k, v in step()(hw).items()},
    "no momentum": lambda hw: {k: v for k, v in step()(hw).items() if k != "momentum"},
    "not a number": step(loss=lambda own, right: math.nan),
    "list": lambda hw: list(step()(hw).values()),
    "nothing": lambda hw: ...,
}

# --- q4 run -----------------------------------------------------------------------------------------------------------


def key_of(options, start):
    return next(key for key, text in options.items() if text.startswith(start))


def reading(hw, verdict=None, sign=None):
    record = hw.draw["run"]
    over = record["val_loss"][-1] - record["loss"][-1] > 0.5
    verdict = verdict or ("It overfits" if over else "It underfits")
    sign = sign or ("The training" if over else "Both losses")
    return key_of(hw.draw["verdicts"], verdict), key_of(hw.draw["signs"], sign)


def other(hw):
    """The reading of the other kind of run."""
    over = "overfits" in hw.draw["verdicts"][reading(hw)[0]]
    return ("It underfits", "Both losses") if over else ("It overfits", "The training")


def read(**changes):
    def made(hw):
        record = hw.draw["run"]
        valid, patience, best = record["val_loss"], record["patience"], 0
        for epoch, loss in enumerate(valid):
            if loss < valid[best]:
                best = epoch
            if epoch - best == patience:
                break
        step_ms, times = record["step_ms"], record["times_faster"]
        right = {
            "best_epoch": best + 1,
            "last_epoch": epoch + 1,
            "saved_ms": step_ms["device"] * (1 - 1 / times),
            "reading": reading(hw),
        }
        return right | {key: make(hw, right, record) for key, make in changes.items()}

    return made


def at(place):
    return lambda hw, right, record: place(record)


RUN = {
    "dict": read(),
    "numpy whole numbers": read(best_epoch=lambda hw, right, record: np.int64(right["best_epoch"])),
    "list as a pair, capital letter": read(reading=lambda hw, r, _: [r["reading"][0].upper(), int(r["reading"][1])]),
    "saved rounded": read(saved_ms=lambda hw, right, _: round(right["saved_ms"], 2)),
}
NOT_RUN = {
    "best of the whole record": read(best_epoch=at(lambda r: int(np.argmin(r["val_loss"])) + 1)),
    "best training loss": read(best_epoch=at(lambda r: int(np.argmin(r["loss"])) + 1)),
    "best from 0": read(best_epoch=lambda hw, right, _: right["best_epoch"] - 1),
    "the last is kept": read(best_epoch=lambda hw, right, _: right["last_epoch"]),
    "before the first rise": read(best_epoch=lambda hw, right, _: right["best_epoch"] - 3),
    "last from 0": read(last_epoch=lambda hw, right, _: right["last_epoch"] - 1),
    "one epoch too many": read(last_epoch=lambda hw, right, _: right["last_epoch"] + 1),
    "never stopped": read(last_epoch=lambda hw, right, _: 30),
    "patience alone": read(last_epoch=lambda hw, right, record: record["patience"]),
    "stopped at the best": read(last_epoch=lambda hw, right, _: right["best_epoch"]),
    "whole device time": read(saved_ms=at(lambda r: r["step_ms"]["device"])),
    "time left": read(saved_ms=at(lambda r: r["step_ms"]["device"] / r["times_faster"])),
    "whole step faster": read(saved_ms=at(lambda r: sum(r["step_ms"].values()) * (1 - 1 / r["times_faster"]))),
    "input faster": read(saved_ms=at(lambda r: r["step_ms"]["input"] * (1 - 1 / r["times_faster"]))),
    "a share": read(saved_ms=lambda hw, right, r: right["saved_ms"] / sum(r["step_ms"].values())),
    "the other reading": read(reading=lambda hw, *_: reading(hw, *other(hw))),
    "the other verdict": read(reading=lambda hw, *_: reading(hw, verdict=other(hw)[0])),
    "the other sign": read(reading=lambda hw, *_: reading(hw, sign=other(hw)[1])),
    "sound": read(reading=lambda hw, *_: reading(hw, "Both losses still fall")),
    "late dip as the sign": read(reading=lambda hw, *_: reading(hw, sign="The lowest")),
    "log 7": read(reading=lambda hw, *_: reading(hw, "It has learnt nothing", "Its loss begins")),
    "letter alone": read(reading=lambda hw, right, _: right["reading"][0]),
    "reading missing": lambda hw: {k: v for k, v in read()(hw).items() if k != "reading"},
    "half an epoch": read(last_epoch=lambda hw, right, _: right["last_epoch"] + 0.5),
    "nothing yet": lambda hw: dict.fromkeys(read()(hw), ...),
}

# --- q5 scores --------------------------------------------------------------------------------------------------------


def score_dict(counts, accuracy, micro, macro):
    return dict(zip(("counts", "accuracy", "micro_f1", "macro_f1"), (counts, accuracy, micro, macro), strict=True))


def by_loops(truth, predicted, classes):
    counts = [[0] * classes for _ in range(classes)]
    for t, p in zip(truth, predicted, strict=True):
        counts[t][p] += 1
    f1 = []
    for k in range(classes):
        tp = counts[k][k]
        fn = sum(counts[k]) - tp
        fp = sum(row[k] for row in counts) - tp
        if tp + fp + fn:
            f1.append(2 * tp / (2 * tp + fp + fn))
    right = sum(counts[k][k] for k in range(classes)) / len(truth)
    return score_dict(counts, right, right, sum(f1) / len(f1))


def by_sklearn(truth, predicted, classes):
    with warnings.catch_warnings():  # it warns where a single class occurs
        warnings.simplefilter("ignore")
        f1 = [metrics.f1_score(truth, predicted, average=average) for average in ("micro", "macro")]
        counts = metrics.confusion_matrix(truth, predicted, labels=range(classes))
    return score_dict(counts, metrics.accuracy_score(truth, predicted), *f1)


def by_bincount(truth, predicted, classes):
    counts = np.bincount(truth.astype(int) * classes + predicted, minlength=classes**2).reshape(classes, classes)
    tp, both = counts.diagonal(), counts.sum(0) + counts.sum(1)
    f1 = np.divide(2 * tp, both, out=np.full(classes, np.nan), where=both > 0)
    return score_dict(counts, np.mean(truth == predicted), 2 * tp.sum() / both.sum(), np.nanmean(f1))


def by_pandas(truth, predicted, classes):
    counts = pd.crosstab(pd.Series(truth), pd.Series(predicted)).reindex(
        index=range(classes), columns=range(classes), fill_value=0
    )
    held = by_loops(truth, predicted, classes)
    return pd.Series(held | {"counts": counts}).to_dict()


def scores(**changes):
    """A right answer with an entry made otherwise: entry=f(counts, right answer)."""

    def made(truth, predicted, classes):
        right = by_bincount(truth, predicted, classes)
        return right | {key: make(right["counts"], right) for key, make in changes.items()}

    return made


def each_f1(counts):
    tp, both = counts.diagonal(), counts.sum(0) + counts.sum(1)
    return np.divide(2 * tp, both, out=np.zeros(len(tp)), where=both > 0)


def mean_precision(counts, right):
    return np.mean(np.divide(counts.diagonal(), counts.sum(0).clip(1)))


def sorted_in_place(truth, predicted, classes):
    right = by_bincount(truth, predicted, classes)
    truth.sort()
    return right


def weighted_f1(counts, right):
    return np.average(each_f1(counts), weights=counts.sum(1))


def of_truth_only(counts, right):
    return each_f1(counts)[counts.sum(1) > 0].mean()


def present_only(truth, predicted, classes):
    there = np.union1d(truth, predicted)
    return by_bincount(np.searchsorted(there, truth), np.searchsorted(there, predicted), len(there))


def fancy(truth, predicted, classes):
    counts = np.zeros((classes, classes), int)
    counts[truth, predicted] += 1
    return by_bincount(truth, predicted, classes) | {"counts": counts}


NOT_SCORES = functions(
    rows_are_predictions=scores(counts=lambda c, r: c.T),
    normalised_by_truth=scores(counts=lambda c, r: c / c.sum(1, keepdims=True).clip(1)),
    shares_of_all=scores(counts=lambda c, r: c / c.sum()),
    absent_classes_dropped=present_only,
    plus_equals_counts_once=fancy,
    absent_classes_as_0=scores(macro_f1=lambda c, r: each_f1(c).mean()),
    absent_in_truth_left_out=scores(macro_f1=of_truth_only),
    weighted_by_truth=scores(macro_f1=weighted_f1),
    mean_precision_for_macro=scores(macro_f1=mean_precision),
    mean_recall_for_macro=scores(macro_f1=lambda c, r: mean_precision(c.T, r)),
    F1_of_means=scores(
        macro_f1=lambda c, r: 2 / (1 / max(mean_precision(c, r), 1e-9) + 1 / max(mean_precision(c.T, r), 1e-9))
    ),
    micro_and_macro_swapped=scores(micro_f1=lambda c, r: r["macro_f1"], macro_f1=lambda c, r: r["micro_f1"]),
    micro_without_the_2=scores(
        micro_f1=lambda c, r: c.trace() / (2 * c.sum() - c.trace()),
    ),
    accuracy_in_percent=scores(accuracy=lambda c, r: 100 * r["accuracy"]),
    mean_recall_as_accuracy=scores(accuracy=lambda c, r: mean_precision(c.T, r)),
    error_in_place_of_accuracy=scores(accuracy=lambda c, r: 1 - r["accuracy"]),
    NaN_for_macro=scores(
        macro_f1=lambda c, r: np.mean(2 * c.diagonal() / np.where(r["counts"].sum() < 0, 1, math.nan))
    ),
    IoU_in_place_of_F1=scores(macro_f1=lambda c, r: (each_f1(c) / (2 - each_f1(c)))[c.sum(0) + c.sum(1) > 0].mean()),
    two_decimals=scores(macro_f1=lambda c, r: round(r["macro_f1"], 2)),
    classes_built_in=lambda truth, predicted, classes: by_bincount(truth, predicted, 7),
    changes_the_truth=sorted_in_place,
    very_slow=slow(by_loops),
    counts_alone=lambda truth, predicted, classes: by_bincount(truth, predicted, classes)["counts"],
    raises=lambda truth, predicted, classes: truth.confusion(predicted),
)

# --- q6 by_start ------------------------------------------------------------------------------------------------------


def season(hw, frame=None, crop_of="truth", commonest=None):
    frame = part3.predictions(hw) if frame is None else frame
    four, rows = part3.crops(hw.study), []
    for start in sorted(set(frame["start"])):
        part = frame[frame["start"] == start]
        right = (part["truth"] == part["predicted"]).to_numpy()
        crop = np.isin(part[crop_of], four)
        constant = (part["truth"] == (part["truth"].mode()[0] if commonest is None else commonest)).mean()
        rows.append((start, right.mean(), right[crop].mean() if crop.any() else 0.0, constant))
    return pd.DataFrame(rows, columns=part3.SEASON)


def season_by_groups(hw):
    frame = part3.predictions(hw).assign(accuracy=lambda f: f["truth"] == f["predicted"])
    crop = frame[frame["truth"].isin(part3.crops(hw.study))]
    found = frame.groupby("start")[["accuracy"]].mean()
    found["crops_accuracy"] = crop.groupby("start")["accuracy"].mean()
    found["constant"] = frame.groupby("start")["truth"].agg(lambda t: t.value_counts(normalize=True).max())
    return found


def season_counted(hw):
    frame, rows = part3.predictions(hw), []
    for start in part3.STARTS:
        pairs = [(t, p) for s, t, p in frame.itertuples(index=False) if s == start]
        crop = [(t, p) for t, p in pairs if t in part3.crops(hw.study)]
        rows.append({
            "start": start,
            "accuracy": sum(t == p for t, p in pairs) / len(pairs),
            "crops_accuracy": sum(t == p for t, p in crop) / len(crop),
            "constant": max(Counter(t for t, _ in pairs).values()) / len(pairs),
        })  # fmt: skip
    return rows


def with_column(name, make):
    return lambda hw: season(hw).assign(**{name: lambda t: make(t, hw)})


def called_crop(hw):
    return season(hw, crop_of="predicted")


def one_class(hw):
    return season(hw, commonest=part3.predictions(hw)["truth"].mode()[0])


def first_crop(hw):
    return season(hw, commonest=part3.crops(hw.study)[0])


def of_predicted(hw):
    frame = part3.predictions(hw)
    return frame.groupby("start")["predicted"].agg(lambda t: t.value_counts(normalize=True).max()).to_numpy()


def crops_of_all(hw):
    frame = part3.predictions(hw)
    hits = (frame["truth"] == frame["predicted"]) & frame["truth"].isin(part3.crops(hw.study))
    return hits.groupby(frame["start"]).mean().to_numpy()


def right_without_bare(hw):
    frame = part3.predictions(hw)
    frame = frame[frame["truth"] > 0]
    return (frame["truth"] == frame["predicted"]).groupby(frame["start"]).mean().to_numpy()


def other_forest(hw):
    seed = hw.draw["forest"] + 1
    return season(hw, part3._forest(seed, hw.prepared))


BY_START = {
    "loop": season,
    "groups, start as index": season_by_groups,
    "list of dicts": season_counted,
    "dict of lists, other order": lambda hw: season(hw)[::-1].to_dict("list"),
    "more columns": lambda hw: season(hw).assign(note="x"),
}
NOT_BY_START = {
    "crops by prediction": called_crop,
    "one commonest class for all starts": one_class,
    "commonest of the predictions": with_column("constant", lambda t, hw: of_predicted(hw)),
    "the constant answer corn": first_crop,
    "even classes": with_column("constant", lambda t, hw: 1 / 7),
    "crops over all samples": with_column("crops_accuracy", lambda t, hw: crops_of_all(hw)),
    "all but bare as crops": with_column("crops_accuracy", lambda t, hw: right_without_bare(hw)),
    "accuracy for crops": with_column("crops_accuracy", lambda t, hw: t["accuracy"]),
    "percent": with_column("accuracy", lambda t, hw: 100 * t["accuracy"]),
    "rounded to a decimal": with_column("accuracy", lambda t, hw: t["accuracy"].round(1)),
    "counts": with_column("accuracy", lambda t, hw: t["accuracy"] * 124),
    "errors": with_column("accuracy", lambda t, hw: 1 - t["accuracy"]),
    "mean over starts": with_column("accuracy", lambda t, hw: t["accuracy"].mean()),
    "shifted by a start": with_column("accuracy", lambda t, hw: np.roll(t["accuracy"], 1)),
    "another forest": other_forest,
    "starts from 0": lambda hw: season(hw).assign(start=lambda t: t["start"] - 1),
    "last start missing": lambda hw: season(hw)[:-1],
    "one date": lambda hw: season(hw)[7:8],
    "columns renamed": lambda hw: season(hw).rename(columns={"constant": "majority"}),
    "NaN": with_column("constant", lambda t, hw: math.nan),
    "sorted accuracies": with_column("accuracy", lambda t, hw: np.sort(t["accuracy"])),
    "nothing": lambda hw: None,
}

# --- q7 claims --------------------------------------------------------------------------------------------------------

RIGHT_CLAIMS = {"late": ("The accuracy says", "By then most"), "search": ("0.93 is too high", "The best of forty")}


def claims(**changes):
    def made(hw):
        said = RIGHT_CLAIMS | changes
        return {k: (key_of(hw.draw[k], c), key_of(hw.draw[f"{k}_reasons"], why)) for k, (c, why) in said.items()}

    return made


NOT_CLAIMS = {}
for key, options, reasons in (
    ("late", ("Wait", "The accuracy comes", "The accuracy is"), ("The constant", "Every window", "The test draws")),
    ("search", ("0.93 can be promised, s", "0.93 can be promised if", "0.93 is too low"),
     ("Only weights", "In a random", "More rows")),
):  # fmt: skip
    good = RIGHT_CLAIMS[key]
    NOT_CLAIMS |= {f"{key}: {o}": claims(**{key: (o, good[1])}) for o in options}
    NOT_CLAIMS |= {f"{key} because {r}": claims(**{key: (good[0], r)}) for r in reasons}
    NOT_CLAIMS |= {f"{key}: {o}, {r}": claims(**{key: (o, r)}) for o, r in zip(options, reasons, strict=True)}
NOT_CLAIMS |= {
    "one claim": lambda hw: {"late": claims()(hw)["late"]},
    "letters alone": lambda hw: {k: v[0] for k, v in claims()(hw).items()},
    "swapped": lambda hw: dict(zip(("search", "late"), (v[::-1] for v in claims()(hw).values()), strict=True)),
    "a pair": lambda hw: claims()(hw)["late"],
    "nothing yet": lambda hw: {"late": ..., "search": ...},
}

# --- q8 area_with_interval --------------------------------------------------------------------------------------------


def area_by_loop(counts, mapped_ha, k):
    estimate = variance = 0
    for j in range(len(mapped_ha)):
        n = sum(row[j] for row in counts)
        if n == 0:
            continue
        p = counts[k][j] / n
        estimate += mapped_ha[j] * p
        variance += mapped_ha[j] ** 2 * p * (1 - p) / (n - 1)
    return [estimate, max(0, estimate - 1.96 * variance**0.5), estimate + 1.96 * variance**0.5]


def area_by_arrays(counts, mapped_ha, k):
    n = counts.sum(0)
    p = np.nan_to_num(counts[k] / np.maximum(n, 1))
    middle = mapped_ha @ p
    half = 1.959964 * np.sqrt(np.sum(mapped_ha**2 * p * (1 - p) / np.maximum(n - 1, 1)))
    return np.clip(np.array([middle, middle - half, middle + half]), 0, None)


def area_by_frame(counts, mapped_ha, k):
    table = pd.DataFrame({"ha": mapped_ha, "n": counts.sum(0), "hit": counts[k]}).query("n > 0")
    table["p"] = table["hit"] / table["n"]
    half = 1.96 * math.sqrt((table["ha"] ** 2 * table["p"] * (1 - table["p"]) / (table["n"] - 1)).sum())
    middle = (table["ha"] * table["p"]).sum()
    return middle, max(middle - half, 0.0), middle + half


def area_by_library(counts, mapped_ha, k):
    from arsetlib import evaluation

    there = counts.sum(0) > 0
    ha = np.where(there, mapped_ha, 0)
    found = evaluation.stratified_areas(evaluation.Confusion.from_counts(counts), ha).table.iloc[k]
    return tuple(found[["area", "area_low", "area_high"]])


def estimates(share=None, term=None, z=1.96, floor=0.0, middle=None):
    """An area with something made otherwise."""
    share = share or (lambda c, m, k, n: c[k] / n)
    term = term or (lambda m, p, n: m**2 * p * (1 - p) / np.maximum(n - 1, 1))

    def made(counts, mapped_ha, k):
        n = np.maximum(counts.sum(0), 1)
        p = share(counts, mapped_ha, k, n)
        estimate = (mapped_ha * p).sum() if middle is None else middle(counts, mapped_ha, k)
        half = z * np.sqrt(np.abs(term(mapped_ha, p, n)).sum())
        return estimate, max(estimate - half, floor), estimate + half

    return made


def spoils_counts(counts, mapped_ha, k):
    counts[:, counts.sum(0) == 0] = 1
    counts //= 1
    counts[0, 0] += 1
    return area_by_loop(counts, mapped_ha, k)


AREA_WRONG = functions(
    counted_on_the_map=estimates(middle=lambda c, m, k: m[k]),
    rows_as_the_map=estimates(lambda c, m, k, n: c[:, k] / np.maximum(c.sum(1), 1)),
    columns_by_rows=estimates(lambda c, m, k, n: c[k] / np.maximum(c.sum(1), 1)),
    share_of_all_visits=estimates(middle=lambda c, m, k: c[k].sum() / c.sum() * m.sum()),
    own_class_alone=estimates(middle=lambda c, m, k: m[k] * c[k, k] / max(c[:, k].sum(), 1)),
    transposed=lambda counts, mapped_ha, k: area_by_arrays(counts.T, mapped_ha, k),
    weight_not_squared=estimates(term=lambda m, p, n: m * p * (1 - p) / np.maximum(n - 1, 1)),
    n_for_n_less_1_not_at_all=estimates(term=lambda m, p, n: m**2 * p * (1 - p)),
    roots_added_up=estimates(term=lambda m, p, n: np.array([(m * np.sqrt(p * (1 - p) / (n - 1).clip(1))).sum() ** 2])),
    no_root=estimates(term=lambda m, p, n: np.array([(m**2 * p * (1 - p) / (n - 1).clip(1)).sum() ** 2])),
    one_standard_error=estimates(z=1.0),
    z_of_90_percent=estimates(z=1.645),
    z_of_99_percent=estimates(z=2.576),
    whole_width_on_each_side=estimates(z=3.92),
    below_0=estimates(floor=-1e9),
    standard_error_in_place_of_ends=lambda c, m, k: (area_by_loop(c, m, k)[0], 0, area_by_loop(c, m, k)[2] / 2),
    first_class=lambda c, m, k: area_by_loop(c, m, 0),
    shares_in_place_of_hectares=lambda c, m, k: [v / sum(m) for v in area_by_loop(c, m, k)],
    estimate_alone=lambda c, m, k: area_by_loop(c, m, k)[0],
    order_low_estimate_high=lambda c, m, k: sorted(area_by_loop(c, m, k)),
    NaN_without_visits=lambda c, m, k: [float(x) for x in area_by_loop(c, m, k)] if c.sum(0).all() else [math.nan] * 3,
    error_without_visits=lambda c, m, k: area_by_loop(c, m, k) if c.sum(0).all() else 1 / 0,
    two_classes_built_in=lambda c, m, k: area_by_loop(c[:2, :2], m[:2], min(k, 1)),
    changes_counts=spoils_counts,
    very_slow=slow(area_by_loop),
    text=lambda c, m, k: "{:.0f} ({:.0f} to {:.0f}) ha".format(*area_by_loop(c, m, k)),
)

RIGHT = {
    "q1": functions(layers=by_layers, walking=by_walking, shapes_of_arrays=by_arrays, formula=parameters()),
    "q2": functions(loop=days(), back_to_front=back_to_front, recursive=recursive, arrays=with_arrays, floats=as_float),
    "q3": STEP,
    "q4": RUN,
    "q5": functions(loops=by_loops, scikit_learn=by_sklearn, bincount=by_bincount, pandas=by_pandas),
    "q6": BY_START,
    "q7": {
        "pairs": claims(),
        "lists, whole numbers": lambda hw: {k: [v[0].upper(), int(v[1])] for k, v in claims()(hw).items()},
        "texts": lambda hw: {k: f"{a}, {b}" for k, (a, b) in claims()(hw).items()},
    },
    "q8": functions(loop=area_by_loop, arrays=area_by_arrays, frame=area_by_frame, library=area_by_library),
}
WRONG = {
    "q1": NOT_PARAMETERS,
    "q2": NOT_DAYS | {"a number": lambda hw: 25},
    "q3": NOT_STEP,
    "q4": NOT_RUN,
    "q5": NOT_SCORES,
    "q6": NOT_BY_START,
    "q7": NOT_CLAIMS,
    "q8": AREA_WRONG,
}
