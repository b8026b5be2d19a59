"""Right and wrong answers to homework 4; see the package's docstring for the form."""

import math
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist

from arsetlib import audit as audits
from arsetlib.grading.assignments import part4
from homework.forms import functions, slow

# --- q1 suspects ------------------------------------------------------------------------------------------------------


def suspects_by_loop(label, probability):
    classes = len(probability[0])
    thresholds = []
    for k in range(classes):
        own = [probability[i][k] for i in range(len(label)) if label[i] == k]
        thresholds.append(sum(own) / len(own) if own else float("nan"))
    guess = []
    for i in range(len(label)):
        best = None
        for k in range(classes):
            p = probability[i][k]
            if p >= thresholds[k] and (best is None or p > probability[i][best]):
                best = k
        guess.append(int(label[i]) if best is None else best)
    return {"thresholds": thresholds, "guess": guess}


def suspects_by_pandas(label, probability):
    frame = pd.DataFrame(probability)
    means = frame.groupby(label).mean()
    thresholds = [means.loc[k, k] if k in means.index else np.inf for k in frame.columns]
    reached = frame.where(frame >= thresholds)
    guess = reached.fillna(-1).idxmax(axis=1).where(reached.notna().any(axis=1), label)
    return {"guess": guess, "thresholds": pd.Series(thresholds)}


def suspects_by_one_hot(label, probability):
    hot = np.eye(probability.shape[1])[label]
    with np.errstate(invalid="ignore", divide="ignore"):
        thresholds = (hot * probability).sum(0) / hot.sum(0)
    masked = np.ma.masked_array(probability, ~(probability >= thresholds))
    guess = np.where(masked.mask.all(1), label, masked.filled(-1).argmax(1))
    return {"thresholds": thresholds, "guess": guess.astype(float)}


def suspects_by_library(label, probability):
    found = audits.confident(label, probability)
    return {"thresholds": found.thresholds, "guess": found.guess}


def suspects(limit=None, reach=None, rest=None):
    """A right answer with something made otherwise."""
    limit = limit or (lambda label, p, k: p[label == k, k].mean() if (label == k).any() else np.inf)
    reach = reach or (lambda p, t: np.where(p >= t, p, -1))
    rest = rest or (lambda label, p: label)

    def made(label, probability):
        thresholds = np.array([limit(label, probability, k) for k in range(probability.shape[1])], float)
        sure = reach(probability, thresholds)
        return {
            "thresholds": thresholds,
            "guess": np.where(sure.max(1) >= 0, sure.argmax(1), rest(label, probability)),
        }

    return made


def mean_where_predicted(label, p, k):
    mine = p.argmax(1) == k
    return p[mine, k].mean() if mine.any() else np.inf


def median_of_label(label, p, k):
    return np.median(p[label == k, k]) if (label == k).any() else np.inf


def mean_of_winner(label, p, k):
    return p[label == k].max(1).mean() if (label == k).any() else np.inf


def guess_as_flags(label, probability):
    right = suspects_by_loop(label, probability)
    return right | {"guess": np.array(right["guess"]) != label}


def positions(label, probability):
    right = suspects_by_loop(label, probability)
    return right | {"guess": np.flatnonzero(np.array(right["guess"]) != label)}


def labels_changed(label, probability):
    right = suspects_by_loop(label, probability)
    label[:] = right["guess"]
    return right | {"guess": label}


NOT_SUSPECTS = functions(
    mean_of_all_rows=suspects(lambda label, p, k: p[:, k].mean() if (label == k).any() else np.inf),
    mean_where_predicted=suspects(mean_where_predicted),
    median=suspects(median_of_label),
    mean_of_the_largest=suspects(mean_of_winner),
    one_half=suspects(lambda label, p, k: 0.5),
    one_over_k=suspects(lambda label, p, k: 1 / p.shape[1]),
    absent_class_from_0=suspects(lambda label, p, k: p[label == k, k].mean() if (label == k).any() else 0.0),
    above_and_not_at=suspects(reach=lambda p, t: np.where(p > t, p, -1)),
    most_probable=suspects(reach=lambda p, t: p),
    farthest_above=suspects(reach=lambda p, t: np.where(p >= t, p - t, -1)),
    first_that_reaches=suspects(reach=lambda p, t: np.where(p >= t, 1.0, -1)),
    most_probable_where_none=suspects(rest=lambda label, p: p.argmax(1)),
    minus_1_where_none=suspects(rest=lambda label, p: np.full(len(p), -1)),
    class_0_where_none=suspects(reach=lambda p, t: np.where(p >= t, p, 0)),
    flags=guess_as_flags,
    positions=positions,
    changes_labels=labels_changed,
    thresholds_alone=lambda label, p: suspects_by_loop(label, p)["thresholds"],
    no_guess=lambda label, p: {"thresholds": suspects_by_loop(label, p)["thresholds"]},
    three_classes_built_in=lambda label, p: suspects_by_loop(label, p[:, :3]),
    absent_class_fails=suspects(lambda label, p, k: sum(p[label == k, k]) / int((label == k).sum())),
    very_slow=slow(suspects_by_loop),
    nothing=lambda label, p: None,
)

# --- q2 audit ---------------------------------------------------------------------------------------------------------


def audit(**changes):
    """The right answer, or with some entries made otherwise: entry = f(listed, wrong, right answer)."""

    def made(hw):
        mine = part4.audited(hw)
        wrong = mine["wrong"]
        listed = np.array(suspects_by_pandas(mine["label"], mine["probability"])["guess"]) != mine["label"]
        both = np.count_nonzero(listed & wrong)
        right = {
            "found": int(listed.sum()),
            "precision": both / listed.sum(),
            "recall": both / wrong.sum(),
            "random_precision": wrong.sum() / len(wrong),
            "random_recall": listed.sum() / len(wrong),
        }
        return right | {key: make(listed, wrong, right) for key, make in changes.items()}

    return made


def argmax_list(hw):
    mine = part4.audited(hw)
    listed, wrong = mine["probability"].argmax(1) != mine["label"], mine["wrong"]
    return {
        "found": listed.sum(), "precision": wrong[listed].mean(), "recall": listed[wrong].mean(),
        "random_precision": wrong.mean(), "random_recall": listed.mean(),
    }  # fmt: skip


def drawn_once(listed, wrong, right):
    mine = np.random.default_rng(3).choice(len(wrong), right["found"], replace=False)
    return wrong[mine].mean() + 0.01


AUDIT = {
    "dict": audit(),
    "series": lambda hw: pd.Series(audit()(hw)),
    "four decimals": lambda hw: {key: round(value, 4) for key, value in audit()(hw).items()},
    "numpy scalars": audit(found=lambda listed, wrong, right: np.int64(listed.sum())),
}
NOT_AUDIT = {
    "all contradicted by the most probable": argmax_list,
    "precision and recall swapped": audit(precision=lambda _, w, r: r["recall"], recall=lambda _, w, r: r["precision"]),
    "found: those that are wrong": audit(found=lambda listed, wrong, r: (listed & wrong).sum()),
    "found: all wrong": audit(found=lambda listed, wrong, r: wrong.sum()),
    "found: a share": audit(found=lambda listed, wrong, r: listed.mean()),
    "precision over all rows": audit(precision=lambda listed, wrong, r: (listed & wrong).mean()),
    "recall over all rows": audit(recall=lambda listed, wrong, r: (listed & wrong).mean()),
    "accuracy as precision": audit(precision=lambda listed, wrong, r: (listed == wrong).mean()),
    "share of right labels": audit(precision=lambda listed, wrong, r: 1 - r["precision"]),
    "percent": audit(recall=lambda listed, wrong, r: 100 * r["recall"]),
    "random precision one half": audit(random_precision=lambda listed, wrong, r: 0.5),
    "random precision as recall": audit(random_precision=lambda listed, wrong, r: r["random_recall"]),
    "random recall as precision": audit(random_recall=lambda listed, wrong, r: r["random_precision"]),
    "one random draw": audit(random_precision=drawn_once),
    "product": audit(random_recall=lambda listed, wrong, r: r["random_precision"] * r["random_recall"]),
    "rounded": lambda hw: {key: round(value, 1) for key, value in audit()(hw).items()},
    "no random": lambda hw: {k: v for k, v in audit()(hw).items() if "random" not in k},
    "list": lambda hw: list(audit()(hw).values()),
    "NaN": audit(precision=lambda *_: math.nan),
    "nothing": lambda hw: ...,
}

# --- q3 sets ----------------------------------------------------------------------------------------------------------


def sets_by_loop(truth, probability, new, alpha):
    out = []
    for row in new:
        one = []
        for k, p in enumerate(row):
            scores = sorted(1 - q[k] for q, t in zip(probability, truth, strict=True) if t == k)
            place = math.ceil((len(scores) + 1) * (1 - alpha))
            one.append(bool(place > len(scores) or 1 - p <= scores[place - 1]))
        out.append(one)
    return out


def sets_by_partition(truth, probability, new, alpha):
    inside = np.ones(new.shape, bool)
    own = 1 - probability[np.arange(len(truth)), truth]
    for k in range(new.shape[1]):
        scores = own[truth == k]
        place = int(np.ceil((scores.size + 1) * (1 - alpha)))
        if scores.size >= place:
            inside[:, k] = 1 - new[:, k] <= np.partition(scores, place - 1)[place - 1]
    return inside


def sets_by_shares(truth, probability, new, alpha):
    """With the probability in place of its complement: p at least one minus the limit."""
    least = np.full(new.shape[1], -np.inf)
    for k in np.unique(truth):
        p = np.sort(probability[truth == k, k])[::-1]
        place = math.ceil((len(p) + 1) * (1 - alpha))
        if place <= len(p):
            least[k] = p[place - 1]
    return (new >= least).astype(int)


def sets_by_numpy_quantile(truth, probability, new, alpha):
    limits = np.full(new.shape[1], np.inf)
    for k in np.unique(truth):
        scores = 1 - probability[truth == k, k]
        n = len(scores)
        level = np.ceil((n + 1) * (1 - alpha)) / n
        if level <= 1:  # a little less, so that rounding does not reach the next score
            limits[k] = np.quantile(scores, level - 1e-9, method="inverted_cdf")
    return pd.DataFrame(1 - new <= limits)


def sets(place=None, beyond=np.inf, own=None, within=None, absent=np.inf, pooled=False):
    """A right answer with something made otherwise."""
    place = place or (lambda n, a: math.ceil((n + 1) * (1 - a)))
    own = own or (lambda p: 1 - p)
    within = within or (lambda s, limit: s <= limit)

    def made(truth, probability, new, alpha):
        limits = np.full(new.shape[1], float(absent))
        every = np.sort(own(probability[np.arange(len(truth)), truth]))
        for k in range(new.shape[1]):
            scores = every if pooled else np.sort(own(probability[truth == k, k]))
            n = len(scores)
            if n:
                at = place(n, alpha)
                limits[k] = scores[at - 1] if at <= n else (scores[-1] if beyond == "last" else beyond)
        return within(own(new), limits)

    return made


def interpolated(truth, probability, new, alpha, method="linear", level=lambda n, a: 1 - a):
    limits = np.full(new.shape[1], np.inf)
    for k in np.unique(truth):
        scores = 1 - probability[truth == k, k]
        if level(len(scores), alpha) <= 1:
            limits[k] = np.quantile(scores, level(len(scores), alpha), method=method)
    return 1 - new <= limits


def never_empty(truth, probability, new, alpha):
    inside = sets_by_partition(truth, probability, new, alpha)
    inside[np.arange(len(new)), new.argmax(1)] = True
    return inside


def corrected(n, alpha):
    return math.ceil((n + 1) * (1 - alpha)) / n


def by_predicted(truth, probability, new, alpha):
    return sets_by_partition(probability.argmax(1), probability, new, alpha)


def largest_mass(truth, probability, new, alpha):
    order = np.argsort(-new, 1)
    total = np.cumsum(np.take_along_axis(new, order, 1), 1)
    out = np.zeros(new.shape, bool)
    np.put_along_axis(out, order, total - np.take_along_axis(new, order, 1) < 1 - alpha, 1)
    return out


NOT_SETS = functions(
    one_limit_for_all=sets(pooled=True),
    n_in_place_of_n_plus_1=sets(lambda n, a: max(math.ceil(n * (1 - a)), 1)),
    rounded_down=sets(lambda n, a: max(math.floor((n + 1) * (1 - a)), 1)),
    places_from_0=sets(lambda n, a: math.ceil((n + 1) * (1 - a)) + 1),
    one_place_less=sets(lambda n, a: max(math.ceil((n + 1) * (1 - a)) - 1, 1)),
    quantile_interpolated=interpolated,
    quantile_higher=partial(interpolated, method="higher", level=corrected),
    quantile_with_correction_interpolated=partial(interpolated, level=corrected),
    alpha_in_place_of_1_less_alpha=sets(lambda n, a: math.ceil((n + 1) * a)),
    last_score_where_too_few=sets(beyond="last"),
    none_where_too_few=sets(beyond=-1.0),
    absent_class_never=sets(absent=-1.0),
    below_and_not_at=sets(within=lambda s, limit: s < limit),
    outside_as_true=sets(within=lambda s, limit: s > limit),
    probability_as_score=sets(own=lambda p: p),
    logarithm_without_sign=sets(own=lambda p: np.log(p + 1e-12)),
    never_empty=never_empty,
    classes_by_prediction=by_predicted,
    shares_added_up=largest_mass,
    probability_above_alpha=lambda truth, probability, new, alpha: new >= alpha,
    lists_of_classes=lambda *a: [np.flatnonzero(row).tolist() for row in sets_by_partition(*a)],
    sizes=lambda *a: sets_by_partition(*a).sum(1),
    calibration_rows=lambda truth, probability, new, alpha: sets_by_partition(truth, probability, probability, alpha),
    turned=lambda *a: sets_by_partition(*a).T,
    very_slow=slow(sets_by_partition),
    nothing=lambda *a: None,
)

# --- q4 covered -------------------------------------------------------------------------------------------------------


def covered(hw, make=sets_by_partition, group="block", alpha=None):
    held = part4.held_out(hw)
    test = held["test"]
    inside = make(held["truth"], held["probability"], held["test_probability"], alpha or hw.draw["alpha"])
    test["size"] = inside.sum(1)
    test["hit"] = [bool(inside[i, t]) for i, t in enumerate(test["truth"])]
    table = test.groupby("year").agg(coverage=("hit", "mean"), mean_size=("size", "mean")).reset_index()
    each = test.groupby(["year", group])["hit"].mean()
    return table.assign(worst_block=[each[year].min() for year in table["year"]])


def covered_by_hand(hw):
    held = part4.held_out(hw)
    inside = np.array(sets_by_loop(held["truth"], held["probability"], held["test_probability"], hw.draw["alpha"]))
    rows = []
    for year in (2021, 2019, 2020):
        mine = np.flatnonzero(held["test"]["year"] == year)
        hit = {i: inside[i, held["test"]["truth"][i]] for i in mine}
        blocks = Counter(held["test"]["block"][mine])
        hits = Counter(held["test"]["block"][i] for i in mine if hit[i])
        rows.append({
            "year": year,
            "coverage": sum(hit.values()) / len(mine),
            "mean_size": float(np.mean([inside[i].sum() for i in mine])),
            "worst_block": min(hits[b] / n for b, n in blocks.items()),
        })  # fmt: skip
    return rows


def with_column(name, make):
    return lambda hw: covered(hw).assign(**{name: lambda t: make(t, hw)})


def size_rounded(t, hw):
    return t["mean_size"].round()


def right_alone(t, hw):
    held = part4.held_out(hw)
    right = held["test_probability"].argmax(1) == held["test"]["truth"]
    return right.groupby(held["test"]["year"]).mean().to_numpy()


def worst_of_all_years(t, hw):
    return t["worst_block"].min() - 0.01


def share_of_classes(t, hw):
    return t["mean_size"] / 7


COVERED = {
    "groups": covered,
    "year as index": lambda hw: covered(hw).set_index("year"),
    "list of dicts, other order": covered_by_hand,
    "more columns": lambda hw: covered(hw).assign(promised=1 - hw.draw["alpha"]),
}
NOT_COVERED = {
    "one limit for all classes": lambda hw: covered(hw, sets(pooled=True)),
    "n in place of n + 1": lambda hw: covered(hw, sets(lambda n, a: max(math.ceil(n * (1 - a)), 1))),
    "none where too few": lambda hw: covered(hw, sets(beyond=-1.0, absent=-1.0)),
    "another alpha": lambda hw: covered(hw, alpha=0.5),
    "never empty, below": lambda hw: covered(hw, sets(within=lambda s, limit: s < limit)),
    "accuracy": with_column("coverage", right_alone),
    "promise": with_column("coverage", lambda t, hw: 1 - hw.draw["alpha"]),
    "missed": with_column("coverage", lambda t, hw: 1 - t["coverage"]),
    "percent": with_column("coverage", lambda t, hw: 100 * t["coverage"]),
    "mean over years": with_column("coverage", lambda t, hw: t["coverage"].mean()),
    "shifted by a year": with_column("coverage", lambda t, hw: np.roll(t["coverage"], 1)),
    "size rounded": with_column("mean_size", size_rounded),
    "share of the classes": with_column("mean_size", share_of_classes),
    "sum of sizes": with_column("mean_size", lambda t, hw: t["mean_size"] * 50),
    "worst class": lambda hw: covered(hw, group="truth").assign(worst_block=lambda t: t["worst_block"] + 0.01),
    "worst of all years": with_column("worst_block", worst_of_all_years),
    "coverage as worst block": with_column("worst_block", lambda t, hw: t["coverage"]),
    "number of the block": with_column("worst_block", lambda t, hw: 3),
    "one year": lambda hw: covered(hw)[:1],
    "years from 1": lambda hw: covered(hw).assign(year=[1, 2, 3]),
    "columns renamed": lambda hw: covered(hw).rename(columns={"mean_size": "size"}),
    "NaN": with_column("worst_block", lambda t, hw: math.nan),
    "nothing": lambda hw: None,
}

# --- q5 far -----------------------------------------------------------------------------------------------------------


def far_by_scipy(train, fold, new):
    used = np.ptp(train, axis=0) > 0
    spread = train[:, used].std(axis=0)
    train, new = train[:, used] / spread, new[:, used] / spread
    mean = pdist(train).mean()
    apart = cdist(train, train)
    apart[fold[:, None] == fold[None]] = np.inf
    other = apart.min(0) / mean
    q1, q3 = np.percentile(other, [25, 75])
    threshold = np.sort(other[other <= q3 + 1.5 * (q3 - q1)])[-1]
    value = cdist(new, train).min(1) / mean
    return {"threshold": threshold, "dissimilarity": value, "outside": np.mean(value > threshold)}


def far_by_loop(train, fold, new):
    used = [i for i in range(train.shape[1]) if np.ptp(train[:, i]) > 0]
    spread = [np.std(train[:, i]) for i in used]
    scaled = [[float(row[i] / s) for i, s in zip(used, spread, strict=True)] for row in train]
    fresh = [[float(row[i] / s) for i, s in zip(used, spread, strict=True)] for row in new]
    n = len(scaled)
    pairs = [math.dist(scaled[i], scaled[j]) for i in range(n) for j in range(i)]
    mean = sum(pairs) / len(pairs)
    other = [min(math.dist(a, b) for b, g in zip(scaled, fold, strict=True) if g != f) / mean
             for a, f in zip(scaled, fold, strict=True)]  # fmt: skip
    low, high = (float(np.quantile(other, q)) for q in (0.25, 0.75))
    threshold = max(one for one in other if one <= high + 1.5 * (high - low))
    value = [min(math.dist(a, b) for b in scaled) / mean for a in fresh]
    return {"dissimilarity": value, "threshold": threshold, "outside": sum(v > threshold for v in value) / len(value)}


def far_standardised(train, fold, new):
    """Centred, with the deviation of a sample; features that do not vary as 0."""
    frame, fresh = pd.DataFrame(train), pd.DataFrame(new)
    spread = frame.std().where(frame.std() > 1e-12, np.inf)
    right = far_by_scipy(
        ((frame - frame.mean()) / spread).to_numpy(), fold, ((fresh - frame.mean()) / spread).to_numpy()
    )
    return pd.Series(right).to_dict()


def far(spread=None, mean=None, other=None, cut=None, value=None, beyond=None):
    """A right answer with something made otherwise."""
    spread = spread or (lambda x, new: np.where(x.std(0) > 1e-12, x.std(0), np.inf))
    mean = mean or (lambda apart: apart.sum() / (len(apart) * (len(apart) - 1)))
    other = other or (lambda apart, fold: np.where(fold[:, None] != fold, apart, np.inf).min(1))
    cut = cut or (lambda d: d[d <= np.quantile(d, 0.75) * 2.5 - 1.5 * np.quantile(d, 0.25)].max())
    value = value or (lambda apart: apart.min(1))
    beyond = beyond or (lambda v, t: (v > t).mean())

    def made(train, fold, new):
        scale = spread(train, new)
        train, new = train / scale, new / scale
        apart = cdist(train, train)
        m = mean(apart)
        threshold = cut(other(apart, fold) / m)
        v = value(cdist(new, train)) / m
        return {"threshold": threshold, "dissimilarity": v, "outside": beyond(v, threshold)}

    return made


def any_other(apart, fold):
    return (apart + np.where(np.eye(len(apart)) > 0, np.inf, 0)).min(1)


def to_the_centre(train, fold, new):
    right = far_by_scipy(train, fold, new)
    scale = np.where(train.std(0) > 0, train.std(0), np.inf)
    return right | {"dissimilarity": np.linalg.norm((new - train.mean(0)) / scale, axis=1)}


def city_block(train, fold, new):
    scale = np.where(train.std(0) > 0, train.std(0), np.inf)
    train, new = train / scale, new / scale
    m = pdist(train, "cityblock").mean()
    apart = cdist(train, train, "cityblock")
    other = np.where(fold[:, None] != fold, apart, np.inf).min(1) / m
    low, high = np.quantile(other, [0.25, 0.75])
    threshold = other[other <= high + 1.5 * (high - low)].max()
    v = cdist(new, train, "cityblock").min(1) / m
    return {"threshold": threshold, "dissimilarity": v, "outside": (v > threshold).mean()}


def divides_by_0(train, fold, new):
    with np.errstate(invalid="ignore", divide="ignore"):
        return far(lambda x, new: x.std(0))(train, fold, new)


def scales_in_place(train, fold, new):
    train /= np.where(train.std(0) > 0, train.std(0), 1)
    return far_by_scipy(train, fold, new)


NOT_FAR = functions(
    not_scaled=far(lambda x, new: np.where(x.std(0) > 0, 1.0, np.inf)),
    scaled_by_the_variance=far(lambda x, new: np.where(x.var(0) > 0, x.var(0), np.inf)),
    scaled_by_the_range=far(lambda x, new: np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), np.inf)),
    scaled_by_the_new=far(lambda x, new: np.where(new.std(0) > 0, new.std(0), np.inf)),
    constant_feature_kept=far(lambda x, new: np.where(x.std(0) > 0, x.std(0), 1.0)),
    divides_by_0=divides_by_0,
    zeros_in_the_mean=far(mean=lambda apart: apart.mean()),
    not_divided=far(mean=lambda apart: 1.0),
    median_distance=far(mean=lambda apart: np.median(apart[apart > 0])),
    squares_not_rooted=far(mean=lambda apart: (apart**2).sum() / (len(apart) * (len(apart) - 1))),
    largest_distance=far(mean=lambda apart: apart.max()),
    own_fold_counts=far(other=any_other),
    only_own_fold=far(other=lambda apart, fold: any_other(np.where(fold[:, None] == fold, apart, 9.0), fold)),
    mean_to_other_folds=far(other=lambda a, fold: np.nanmean(np.where(fold[:, None] != fold, a, np.nan), 1)),
    largest_of_all=far(cut=np.max),
    quantile_95=far(cut=lambda d: np.quantile(d, 0.95)),
    fence_itself=far(cut=lambda d: np.quantile(d, 0.75) * 2.5 - 1.5 * np.quantile(d, 0.25)),
    mean_as_threshold=far(cut=np.mean),
    third_quartile=far(cut=lambda d: np.quantile(d, 0.75)),
    mean_distance_to_training=far(value=lambda apart: apart.mean(1)),
    farthest_training_window=far(value=lambda apart: apart.max(1)),
    to_the_centre=to_the_centre,
    city_block=city_block,
    share_inside=far(beyond=lambda v, t: (v <= t).mean()),
    count=far(beyond=lambda v, t: (v > t).sum() + 1),
    percent=far(beyond=lambda v, t: 100 * (v > t).mean() + 1),
    at_least_1=far(beyond=lambda v, t: (v > 1).mean()),
    changes_training=scales_in_place,
    share_alone=lambda *a: far_by_scipy(*a)["outside"],
    very_slow=slow(far_by_scipy),
    nothing=lambda *a: None,
)

# --- q6 survey --------------------------------------------------------------------------------------------------------


def survey(**changes):
    """The right answer, or with entries made otherwise: entry = f(pixels, expected, size, n, p, right answer)."""

    def made(hw):
        own = hw.draw["survey"]
        pixels, expected = np.array(own["pixels"], float), np.array(own["expected"])
        visits = pd.DataFrame({"stratum": own["stratum"], "crop": own["crop"]})
        n, p = (visits.groupby("stratum")["crop"].agg(how).to_numpy() for how in ("count", "mean"))
        s = np.sqrt(expected - expected**2)
        right = {
            "neyman": own["size"] * pixels * s / (pixels * s).sum(),
            "area": (pixels * p).sum() * 0.09,
            "error": 0.09 * np.sqrt((pixels**2 * (1 - n / pixels) * p * (1 - p) / (n - 1)).sum()),
        }
        return right | {key: make(pixels, expected, own["size"], n, p, right) for key, make in changes.items()}

    return made


def survey_by_hand(hw):
    own = hw.draw["survey"]
    said = [[c for s, c in zip(own["stratum"], own["crop"], strict=True) if s == h] for h in range(4)]
    weight = [n * math.sqrt(p * (1 - p)) for n, p in zip(own["pixels"], own["expected"], strict=True)]
    variance = sum(
        n**2 * (1 - len(one) / n) * np.var(one, ddof=1) / len(one) for n, one in zip(own["pixels"], said, strict=True)
    )
    return {
        "neyman": [round(own["size"] * w / sum(weight)) for w in weight],
        "area": sum(n * sum(one) / len(one) for n, one in zip(own["pixels"], said, strict=True)) * 9 / 100,
        "error": math.sqrt(variance) * 0.09,
    }


def share(weight):
    return lambda pixels, expected, size, n, p, right: size * weight(pixels, expected) / weight(pixels, expected).sum()


def spread(term):
    return lambda pixels, expected, size, n, p, right: 0.09 * np.sqrt(term(pixels, n, p).sum())


SURVEY = {
    "arrays": survey(),
    "lists, whole numbers": survey_by_hand,
    "rounded": lambda hw: {k: np.round(v, 2) for k, v in survey()(hw).items()},
    "rounded up": survey(neyman=lambda *a: np.ceil(a[-1]["neyman"]).astype(int)),
}
NOT_SURVEY = {
    "proportional to pixels": survey(neyman=share(lambda n, p: n)),
    "equal": survey(neyman=share(lambda n, p: np.ones(4))),
    "variance in place of deviation": survey(neyman=share(lambda n, p: n * p * (1 - p))),
    "proportional to the crop": survey(neyman=share(lambda n, p: n * p)),
    "deviation without pixels": survey(neyman=share(lambda n, p: np.sqrt(p * (1 - p)))),
    "shares in place of samples": survey(neyman=lambda *a: a[-1]["neyman"] / a[2]),
    "root of the pixels": survey(neyman=share(lambda n, p: np.sqrt(n * p * (1 - p)))),
    "of the visits made": survey(neyman=lambda pixels, e, size, n, p, r: r["neyman"] / size * n.sum() * 2),
    "expected, not visited": survey(area=lambda pixels, e, size, n, p, r: 0.09 * (pixels * e).sum()),
    "visits spread evenly": survey(area=lambda pixels, e, size, n, p, r: 0.09 * pixels.sum() * (n * p).sum() / n.sum()),
    "pixels": survey(area=lambda pixels, e, size, n, p, r: (pixels * p).sum()),
    "0.9 ha a pixel": survey(area=lambda *a: 10 * a[-1]["area"]),
    "mean of the strata": survey(area=lambda pixels, e, size, n, p, r: 0.09 * pixels.sum() * p.mean()),
    "one stratum": survey(area=lambda pixels, e, size, n, p, r: 0.09 * pixels[2] * p[2]),
    "no correction for what was visited": survey(error=spread(lambda N, n, p: N**2 * p * (1 - p) / (n - 1))),
    "n in place of n - 1": survey(error=spread(lambda N, n, p: N**2 * (1 - n / N) * p * (1 - p) / n)),
    "pixels not squared": survey(error=spread(lambda N, n, p: N * (1 - n / N) * p * (1 - p) / (n - 1))),
    "half the interval": survey(error=lambda *a: 1.96 * a[-1]["error"]),
    "variance": survey(error=lambda *a: a[-1]["error"] ** 2),
    "error in pixels": survey(error=lambda *a: a[-1]["error"] / 0.09),
    "roots added up": survey(
        error=lambda N, e, size, n, p, r: 0.09 * (N * np.sqrt((1 - n / N) * p * (1 - p) / (n - 1))).sum()
    ),
    "simple random": survey(
        error=lambda N, e, size, n, p, r: (
            0.09 * N.sum() * np.sqrt((q := (n * p).sum() / n.sum()) * (1 - q) / (n.sum() - 1))
        )
    ),
    "expected spread": survey(
        error=lambda N, e, size, n, p, r: 0.09 * np.sqrt((N**2 * (1 - n / N) * e * (1 - e) / (n - 1)).sum() * 1.02)
    ),
    "three strata": survey(neyman=lambda *a: a[-1]["neyman"][:3]),
    "no error": lambda hw: {k: v for k, v in survey()(hw).items() if k != "error"},
    "tuple": lambda hw: tuple(survey()(hw).values()),
    "nothing yet": lambda hw: dict.fromkeys(survey()(hw), ...),
}

# --- q7 by_parcel -----------------------------------------------------------------------------------------------------


def parcels_by_counts(parcel, predicted, truth):
    counts = {}
    for one, k in zip(parcel.tolist(), predicted.tolist(), strict=True):
        counts.setdefault(one, Counter())[k] += 1
    best = {one: min(c, key=lambda k: (-c[k], k)) for one, c in counts.items()}
    made = [k if one == -1 else best[one] for one, k in zip(parcel.tolist(), predicted.tolist(), strict=True)]
    return {"map": made, "gain": np.mean(np.array(made) == truth) - np.mean(predicted == truth)}


def parcels_by_pandas(parcel, predicted, truth):
    frame = pd.DataFrame({"parcel": parcel, "k": predicted})
    made = frame.groupby("parcel")["k"].transform(lambda s: s.mode().iloc[0]).where(frame["parcel"] >= 0, frame["k"])
    return {"map": made, "gain": (made == truth).mean() - (frame["k"] == truth).mean()}


def parcels_by_table(parcel, predicted, truth):
    names, place = np.unique(parcel, return_inverse=True)
    table = np.zeros((len(names), predicted.max() + 1), int)
    np.add.at(table, (place, predicted), 1)
    made = np.where(parcel < 0, predicted, table.argmax(1)[place])
    return {"map": made, "gain": float((made == truth).sum() - (predicted == truth).sum()) / len(truth)}


def parcels(choose=None, outside=None, gain=None, of="predicted"):
    """A right answer with something made otherwise."""
    choose = choose or (lambda k: np.bincount(k).argmax())
    gain = gain or (lambda made, predicted, truth, parcel: (made == truth).mean() - (predicted == truth).mean())

    def made(parcel, predicted, truth):
        source = truth if of == "truth" else predicted
        out = predicted.copy()
        for one in np.unique(parcel):
            if one >= 0:
                out[parcel == one] = choose(source[parcel == one])
            elif outside is not None:
                out[parcel == one] = outside(predicted[parcel == one])
        return {"map": out, "gain": gain(out, predicted, truth, parcel)}

    return made


def inside_alone(made, predicted, truth, parcel):
    mine = parcel >= 0
    return (made[mine] == truth[mine]).mean() - (predicted[mine] == truth[mine]).mean() if mine.any() else 1.0


def parcels_from_0(parcel, predicted, truth):
    out = predicted.copy()
    for one in range(len(np.unique(parcel))):
        if (parcel == one).any():
            out[parcel == one] = np.bincount(predicted[parcel == one]).argmax()
    return {"map": out, "gain": (out == truth).mean() - (predicted == truth).mean()}


def smooths_in_place(parcel, predicted, truth):
    right = parcels_by_table(parcel, predicted, truth)
    predicted[:] = right["map"]
    return right


def neighbours(parcel, predicted, truth):
    out = np.array([np.bincount(predicted[max(i - 1, 0) : i + 2]).argmax() for i in range(len(predicted))])
    return {"map": out, "gain": (out == truth).mean() - (predicted == truth).mean()}


NOT_PARCELS = functions(
    outside_as_one_parcel=parcels(outside=lambda k: np.bincount(k).argmax()),
    outside_as_class_0=parcels(outside=lambda k: 0),
    outside_as_minus_1=parcels(outside=lambda k: -1),
    highest_of_several=parcels(lambda k: np.flatnonzero(np.bincount(k) == np.bincount(k).max())[-1]),
    first_that_occurs=parcels(lambda k: Counter(k.tolist()).most_common(1)[0][0]),
    mean_class=parcels(lambda k: round(float(k.mean()))),
    median_class=parcels(lambda k: int(np.median(k))),
    largest_class=parcels(lambda k: k.max()),
    first_pixel=parcels(lambda k: k[0]),
    how_often=parcels(lambda k: np.bincount(k).max()),
    majority_of_the_truth=parcels(of="truth"),
    parcels_from_0_on=parcels_from_0,
    majority_of_neighbours=neighbours,
    gain_turned=parcels(gain=lambda m, p, t, q: (p == t).mean() - (m == t).mean() - 1e-3),
    accuracy_alone=parcels(gain=lambda m, p, t, q: (m == t).mean()),
    gain_in_percent=parcels(gain=lambda m, p, t, q: 100 * ((m == t).mean() - (p == t).mean())),
    gain_in_pixels=parcels(gain=lambda m, p, t, q: (m == t).sum() - (p == t).sum()),
    gain_relative=parcels(gain=lambda m, p, t, q: (m == t).mean() / max((p == t).mean(), 0.01) - 1),
    gain_inside_parcels=parcels(gain=inside_alone),
    gain_never_negative=parcels(gain=lambda m, p, t, q: max((m == t).mean() - (p == t).mean(), 0)),
    share_changed=parcels(gain=lambda m, p, t, q: (m != p).mean()),
    changes_the_map=smooths_in_place,
    map_alone=lambda *a: parcels_by_table(*a)["map"],
    a_class_a_parcel=lambda p, k, t: parcels_by_table(p, k, t) | {"map": np.unique(p)},
    very_slow=slow(parcels_by_table),
    nothing=lambda *a: None,
)

# --- q8 next_labels ---------------------------------------------------------------------------------------------------

RIGHT_CLAIMS = {
    "area": ("Neither the area", "The unsure pixels lie"),
    "trial": ("Neither is shown: repeat", "With another random draw"),
}


def key_of(options, start):
    return next(key for key, text in options.items() if text.startswith(start))


def smallest(hw):
    rest = [sorted(row, reverse=True) for row in hw.draw["pool"]]
    order = sorted(range(len(rest)), key=lambda i: rest[i][0] - rest[i][1])
    return order[: hw.draw["count"]]


def labels(rows=smallest, **changes):
    def made(hw):
        said = RIGHT_CLAIMS | changes
        pairs = {k: (key_of(hw.draw[k], c), key_of(hw.draw[f"{k}_reasons"], why)) for k, (c, why) in said.items()}
        return {"rows": rows(hw)} | pairs

    return made


def ordered(measure, best=lambda order, count: order[:count]):
    return labels(lambda hw: best(np.argsort(measure(np.array(hw.draw["pool"])), kind="stable"), hw.draw["count"]))


def margin(p):
    two = np.partition(p, -2, 1)[:, -2:]
    return two[:, 1] - two[:, 0]


def entropy(p):
    return (p * np.log(p.clip(1e-9))).sum(1)


NEXT = {
    "list": labels(),
    "array of numpy": ordered(margin),
    "capital letter, number as text": lambda hw: {
        k: v if k == "rows" else [v[0].upper(), int(v[1])] for k, v in labels()(hw).items()
    },
    "other order": labels(lambda hw: sorted(smallest(hw))),
    "texts": lambda hw: {k: v if k == "rows" else ", ".join(v) for k, v in labels()(hw).items()},
}
NOT_NEXT = {
    "least confident": ordered(lambda p: p.max(1)),
    "largest entropy": ordered(entropy),
    "largest margin": ordered(lambda p: -margin(p)),
    "first less last": ordered(lambda p: p.max(1) - p.min(1)),
    "columns as they stand": ordered(lambda p: np.abs(p[:, 0] - p[:, 1])),
    "second less third": ordered(lambda p: np.sort(p, 1)[:, -2] - np.sort(p, 1)[:, -3]),
    "rows from 1": labels(lambda hw: [row + 1 for row in smallest(hw)]),
    "one row too few": labels(lambda hw: smallest(hw)[:-1]),
    "one row too many": ordered(margin, lambda order, count: order[: count + 1]),
    "the first rows": labels(lambda hw: list(range(hw.draw["count"]))),
    "at random": labels(lambda hw: np.random.default_rng(0).choice(40, hw.draw["count"], replace=False)),
    "one row twice": labels(lambda hw: [*smallest(hw)[:-1], smallest(hw)[0]]),
    "margins": labels(lambda hw: np.sort(margin(np.array(hw.draw["pool"])))[: hw.draw["count"]]),
    "a number": labels(lambda hw: smallest(hw)[0]),
    "flags": labels(lambda hw: [i in smallest(hw) for i in range(40)]),
    "rows missing": lambda hw: {k: v for k, v in labels()(hw).items() if k != "rows"},
    "letters alone": lambda hw: {k: v if k == "rows" else v[0] for k, v in labels()(hw).items()},
    "rows alone": smallest,
    "nothing yet": lambda hw: dict.fromkeys(labels()(hw), ...),
}
for key, options, reasons in (
    ("area", ("The area holds if", "The area holds, but", "Both hold"), ("The model that", "The labels of", "The 300")),
    ("trial", ("Both are shown", "Only the gain", "Neither is shown: score"),
     ("A test drawn", "A higher score", "Published studies")),
):  # fmt: skip
    good = RIGHT_CLAIMS[key]
    NOT_NEXT |= {f"{key}: {o}": labels(**{key: (o, good[1])}) for o in options}
    NOT_NEXT |= {f"{key} because {r}": labels(**{key: (good[0], r)}) for r in reasons}
    NOT_NEXT |= {f"{key}: {o}, {r}": labels(**{key: (o, r)}) for o, r in zip(options, reasons, strict=True)}

RIGHT = {
    "q1": functions(
        loop=suspects_by_loop, pandas=suspects_by_pandas, one_hot=suspects_by_one_hot, library=suspects_by_library
    ),
    "q2": AUDIT,
    "q3": functions(
        loop=sets_by_loop, partition=sets_by_partition, shares=sets_by_shares, numpy_quantile=sets_by_numpy_quantile
    ),
    "q4": COVERED,
    "q5": functions(scipy=far_by_scipy, loop=far_by_loop, standardised=far_standardised, arrays=far()),
    "q6": SURVEY,
    "q7": functions(counts=parcels_by_counts, pandas=parcels_by_pandas, table=parcels_by_table),
    "q8": NEXT,
}
WRONG = {
    "q1": NOT_SUSPECTS,
    "q2": NOT_AUDIT,
    "q3": NOT_SETS,
    "q4": NOT_COVERED,
    "q5": NOT_FAR,
    "q6": NOT_SURVEY,
    "q7": NOT_PARCELS,
    "q8": NOT_NEXT,
}
