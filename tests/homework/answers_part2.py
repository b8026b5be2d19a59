"""Right and wrong answers to homework 2; see the package's docstring for the form."""

import itertools
import math
import random
import struct
import time
from collections import Counter

import numpy as np
import pandas as pd

from arsetlib import pixels
from arsetlib.grading.assignments import part2
from homework.answers_part1 import choices
from homework.forms import function

CROPS = ("cultivated", "corn", "soybeans", "cotton", "rice")

# --- q1 shapes --------------------------------------------------------------------------------------------------------


def sizes(hw, **changes):
    d = hw.draw | changes
    kept, passes = d["rows"] - d["double_crops"], d["window_days"] / 10 * d["satellites"] * d["orbits"]
    full, rest = divmod(kept, d["batch"])
    return {
        "x": (d["batch"], d["window_days"] // d["step_days"], d["bands"]),
        "y": (d["batch"], d["classes"]),
        "batches": full + (rest > 0),
        "last": rest or d["batch"],
        "passes": passes,
        "clear": passes * (1 - d["cloudy"] / 100),
    }


def size(key, value):
    return lambda hw: sizes(hw) | {key: value(sizes(hw)[key], hw.draw)}


# --- q2 decode --------------------------------------------------------------------------------------------------------


def numpy_decode(text, bands, little_endian):
    return np.frombuffer(text, "<u2" if little_endian else ">u2").reshape(-1, bands)


def loop_decode(text, bands, little_endian):
    order = "little" if little_endian else "big"
    values = [int.from_bytes(text[i : i + 2], order) for i in range(0, len(text), 2)]
    rows = [values[i : i + bands] for i in range(0, len(values), bands)]
    return rows or np.zeros((0, bands))


def struct_decode(text, bands, little_endian):
    count = len(text) // 2
    values = struct.unpack(f"{'<' if little_endian else '>'}{count}H", text)
    return np.array(values, float).reshape(count // bands, bands)


def swapped_decode(text, bands, little_endian):
    values = np.frombuffer(text, np.uint16)  # of this machine: low byte first
    return (values if little_endian else values.byteswap()).astype(int).reshape(-1, bands)


def decoded(dtype="<u2", shape=lambda v, bands: v.reshape(-1, bands), change=lambda v: v):
    def decode(text, bands, little_endian):
        kind = dtype if little_endian else dtype.replace("<", ">")
        return change(shape(np.frombuffer(text, kind), bands))

    return decode


# --- q3 step_of -------------------------------------------------------------------------------------------------------


def floor_step(day, start, window_days, step_days):
    since = day - start
    return since // step_days if 0 <= since < window_days else -1


def range_step(day, start, window_days, step_days):
    for step in range(window_days // step_days):
        if day in range(start + step * step_days, start + (step + 1) * step_days):
            return step
    return -1


def searched_step(day, start, window_days, step_days):
    edges = np.arange(start, start + window_days + 1, step_days)
    step = np.searchsorted(edges, day, side="right") - 1
    return step if step < len(edges) - 1 else np.int64(-1)


def float_step(day, start, window_days, step_days):
    step = np.floor((day - start) / step_days)
    return float(step) if 0 <= step < window_days / step_days else -1.0


# --- q4 window --------------------------------------------------------------------------------------------------------


def plain_window(day, bands, start, window_days, step_days, seed=None, take=None, step=floor_step):
    rng = np.random.default_rng(seed)
    take = take or (lambda here: here[0] if seed is None else rng.choice(here))
    steps = window_days // step_days
    x, seen = np.zeros((steps, bands.shape[1])), np.zeros(steps, bool)
    steps_of = np.array([step(int(d), start, window_days, step_days) for d in day])
    for s in range(steps):
        here = np.flatnonzero(steps_of == s)
        if len(here):
            x[s], seen[s] = bands[take(here)], True
    return x, seen


def listed_window(day, bands, start, window_days, step_days, seed):
    draw = random.Random(seed)
    held = [[] for _ in range(window_days // step_days)]
    for d, values in zip(day, bands, strict=True):
        step = floor_step(int(d), start, window_days, step_days)
        if step >= 0:
            held[step].append([int(v) for v in values])
    x = [(h[0] if seed is None else draw.choice(h)) if h else [0] * bands.shape[1] for h in held]
    return [x, [bool(h) for h in held]]


def shuffled_window(day, bands, start, window_days, step_days, seed=None):
    order = np.arange(len(day)) if seed is None else np.random.default_rng(seed).permutation(len(day))
    x = np.zeros((window_days // step_days, bands.shape[1]), np.float32)
    seen = np.zeros(len(x), int)
    for i in order[::-1]:  # the first of the order is written last
        step = (int(day[i]) - start) // step_days
        if 0 <= step < len(x):
            x[step], seen[step] = bands[i], 1
    return x, seen


def frame_window(day, bands, start, window_days, step_days, seed=None):
    frame = pd.DataFrame({"step": (np.asarray(day, "int64") - start) // step_days}).query(
        f"0 <= step < {window_days // step_days}"
    )
    if seed is not None:
        frame = frame.sample(frac=1, random_state=seed)
    frame = frame.reset_index().drop_duplicates("step")
    x, seen = np.zeros((window_days // step_days, bands.shape[1])), np.zeros(window_days // step_days, bool)
    x[frame["step"]], seen[frame["step"]] = bands[frame["index"]], True
    return x, seen


def from_first_image(day, bands, start, window_days, step_days, seed=None):
    inside = day[(day >= start) & (day < start + window_days)]
    return plain_window(day, bands, int(inside[0]) if len(inside) else start, window_days, step_days, seed)


def one_step_more(day, bands, start, window_days, step_days, seed=None):
    return plain_window(day, bands, start, window_days + step_days, step_days, seed)


def last_image(day, bands, start, window_days, step_days, seed=None):
    return plain_window(
        day, bands, start, window_days, step_days, seed, take=None if seed is not None else lambda h: h[-1]
    )


def no_seed_kept(day, bands, start, window_days, step_days, seed=None):
    take = None if seed is None else (lambda here: np.random.default_rng().choice(here))
    return plain_window(day, bands, start, window_days, step_days, seed, take)


def seeded_each_step(day, bands, start, window_days, step_days, seed=None):
    take = None if seed is None else (lambda here: np.random.default_rng(seed).choice(here))
    return plain_window(day, bands, start, window_days, step_days, seed, take)


def never_the_last(day, bands, start, window_days, step_days, seed=None):
    rng = np.random.default_rng(seed)
    take = None if seed is None else (lambda here: here[rng.integers(0, max(1, len(here) - 1))])
    return plain_window(day, bands, start, window_days, step_days, seed, take)


def mean_of_step(day, bands, start, window_days, step_days, seed=None):
    x, seen = plain_window(day, bands, start, window_days, step_days, seed)
    steps = np.array([floor_step(int(d), start, window_days, step_days) for d in day])
    for s in np.flatnonzero(seen):
        x[s] = bands[steps == s].mean(0)
    return x, seen


def filled_with_last(day, bands, start, window_days, step_days, seed=None):
    x, seen = plain_window(day, bands, start, window_days, step_days, seed)
    for s in range(1, len(x)):
        x[s] = x[s] if seen[s] else x[s - 1]
    return x, seen


def squeezed(day, bands, start, window_days, step_days, seed=None):
    inside = np.squeeze(bands[(day >= start) & (day < start + window_days)])
    x, seen = plain_window(day, bands, start, window_days, step_days, seed)
    return x[:, : inside.shape[1]], seen


def empty_is_nan(day, bands, start, window_days, step_days, seed=None):
    x, seen = plain_window(day, bands, start, window_days, step_days, seed)
    x[~seen] = np.nan
    return x, seen


def end_included(day, start, window_days, step_days):
    since = day - start
    return min(since // step_days, window_days // step_days - 1) if 0 <= since <= window_days else -1


def to_the_end(day, bands, start, window_days, step_days, seed=None):
    return plain_window(day, bands, start, window_days, step_days, seed, step=end_included)


def all_empty(day, bands, start, window_days, step_days, seed=None):
    steps = window_days // step_days
    return np.zeros((steps, bands.shape[1])), np.zeros(steps, bool)


def changes_bands(day, bands, start, window_days, step_days, seed=None):
    bands[day < start] = 0
    return plain_window(day, bands, start, window_days, step_days, seed)


def slow_window(day, bands, start, window_days, step_days, seed=None):
    time.sleep(60)
    return plain_window(day, bands, start, window_days, step_days, seed)


# --- q5 scaled --------------------------------------------------------------------------------------------------------


def numpy_scaled(train, train_seen, x, seen):
    values = train[train_seen]
    return np.where(seen[..., None], (x - values.mean(0)) / values.std(0), 0)


def masked_scaled(train, train_seen, x, seen):
    held = np.where(train_seen[..., None], train, np.nan)
    out = (x - np.nanmean(held, axis=(0, 1))) / np.nanstd(held, axis=(0, 1))
    out[~seen] = 0
    return out


def loop_scaled(train, train_seen, x, seen):
    out = np.zeros(x.shape, np.float32)
    for band in range(x.shape[2]):
        values = [v for v, s in zip(train[:, :, band].flat, train_seen.flat, strict=True) if s]
        mean = sum(values) / len(values)
        std = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        out[:, :, band] = (x[:, :, band] - mean) / std * seen
    return out


def frame_scaled(train, train_seen, x, seen):
    frame = pd.DataFrame(train[train_seen])
    flat = (x.reshape(-1, x.shape[-1]) - frame.mean().to_numpy()) / frame.std(ddof=0).to_numpy()
    return (flat * seen.reshape(-1, 1)).reshape(x.shape).tolist() if len(x) else np.zeros(x.shape)


def scaling(values=lambda t, ts, x, s: t[ts], mean=lambda v: v.mean(0), std=lambda v: v.std(0), keep=True):
    def scaled(train, train_seen, x, seen):
        held = values(train, train_seen, x, seen)
        out = (x - mean(held)) / std(held)
        return np.where(seen[..., None], out, 0) if keep else out

    return scaled


def scaled_in_place(train, train_seen, x, seen):
    x -= train[train_seen].mean(0)
    x /= train[train_seen].std(0)
    x[~seen] = 0
    return x


def min_max(train, train_seen, x, seen):
    values = train[train_seen]
    low, high = values.min(0), values.max(0)
    return np.where(seen[..., None], (x - low) / (high - low), 0)


# --- q6 class_in_window -----------------------------------------------------------------------------------------------


def numpy_class(name, day, scl, start, window_days, crops):
    inside = (day >= start) & (day < start + window_days)
    grows = (scl[inside][-2:] == 4).any()
    return part2.BARE if name in crops and not grows else name


def loop_class(name, day, scl, start, window_days, crops):
    if name not in crops:
        return name
    last = []
    for d, s in zip(day, scl, strict=True):
        if start <= d < start + window_days:
            last = [*last[-1:], int(s)]
    return name if 4 in last else "no_crops_growing"


def frame_class(name, day, scl, start, window_days, crops):
    frame = pd.DataFrame({"day": day, "scl": scl})
    last = frame[frame["day"].between(start, start + window_days - 1)].tail(2)
    return name if (4 in last["scl"].tolist()) or (name not in set(crops)) else part2.BARE


def ruled(
    inside=lambda d, s, w: (d >= s) & (d < s + w), last=lambda v: v[-2:], grows=lambda v: (v == 4).any(), crops=None
):
    def class_of_window(name, day, scl, start, window_days, given):
        kept = scl[inside(day.astype(int), start, window_days)]
        return part2.BARE if name in (given if crops is None else crops) and not grows(last(kept)) else name

    return class_of_window


def every_class(name, day, scl, start, window_days, crops):
    return numpy_class(name, day, scl, start, window_days, [name])


def by_index(name, day, scl, start, window_days, crops):
    kept = scl[(day >= start) & (day < start + window_days)]
    return part2.BARE if name in crops and 4 not in (kept[-1], kept[-2]) else name


def last_ten_days(name, day, scl, start, window_days, crops):
    end = start + window_days
    return part2.BARE if name in crops and not (scl[(day >= end - 10) & (day < end)] == 4).any() else name


def only_a_bool(name, day, scl, start, window_days, crops):
    return numpy_class(name, day, scl, start, window_days, crops) == name


def changes_scl(name, day, scl, start, window_days, crops):
    scl[day >= start + window_days] = 0
    scl[day < start] = 0
    kept = scl[scl > 0][-2:]
    return part2.BARE if name in crops and 4 not in kept else name


# --- q7 counts --------------------------------------------------------------------------------------------------------


def side(hw, year=None, held=True, start=0, window=None, left_out=False, rule=numpy_class, only_held=False):
    legend, table = hw.study.legend, hw.table
    block = table["block"].to_numpy()
    blocks = set(np.unique(block)[hw.draw["held_out"]].tolist()) if held else set()
    year = hw.draw["year"] if year is None else year
    found = Counter()
    for row in np.flatnonzero(table["year"].to_numpy() == year):
        if (int(block[row]) in blocks) != only_held:
            continue
        number = int(legend.classes_of(table["label_code"].to_numpy()[row : row + 1])[0])
        if number < 0 and not left_out:
            continue
        day, scl, _ = pixels.series(table, int(row))
        name = "left out" if number < 0 else legend.keys[number]
        found[rule(name, day, scl, part2.own_start(hw, year) + start, window or 120, CROPS)] += 1
    return dict(found)


def by_library(hw):
    return part2.true_counts(hw)


def swapped_counts(hw):
    made = side(hw)
    one, two = itertools.islice(made, 2)
    return made | {one: made[two] + 1, two: made[one] - 1}


def mean_count(hw):
    made = side(hw)
    return {key: sum(made.values()) / len(made) for key in made}


# --- q8 ---------------------------------------------------------------------------------------------------------------


def bottlenecks():
    options, why = list(part2.CHANGES), ("A step waits", "A step works", "Random draws", "The profiler")
    return choices("changes", "change_reasons", options[0], why[0], options[1:], why[1:])


BOTTLENECK = bottlenecks()

RIGHT = {
    "q1": {
        "dict": sizes,
        "series": lambda hw: pd.Series(sizes(hw)),
        "lists, arrays, floats": lambda hw: {
            key: np.array(v) if isinstance(v, tuple) else float(v) for key, v in sizes(hw).items()
        },
    },
    "q2": {
        "numpy": function(numpy_decode),
        "loop, lists": function(loop_decode),
        "struct, float": function(struct_decode),
        "byteswap": function(swapped_decode),
    },
    "q3": {
        "floor": function(floor_step),
        "ranges": function(range_step),
        "searchsorted, np.int64": function(searched_step),
        "floats": function(float_step),
    },
    "q4": {
        "numpy": function(plain_window),
        "lists, random": function(listed_window),
        "shuffled, written over": function(shuffled_window),
        "pandas": function(frame_window),
    },
    "q5": {
        "numpy": function(numpy_scaled),
        "NaN": function(masked_scaled),
        "loop, float32": function(loop_scaled),
        "pandas, lists": function(frame_scaled),
    },
    "q6": {"numpy": function(numpy_class), "loop": function(loop_class), "pandas": function(frame_class)},
    "q7": {
        "loop": side,
        "library": by_library,
        "series": lambda hw: pd.Series(side(hw)),
        "value_counts as a frame": lambda hw: pd.Series(side(hw)).to_frame("rows"),
        "classes of no rows too": lambda hw: dict.fromkeys(hw.study.legend.keys, 0) | side(hw),
    },
    "q8": BOTTLENECK[0],
}

WRONG = {
    "q1": {
        "a step too many": size("x", lambda v, d: (v[0], v[1] + 1, v[2])),
        "days in place of steps": size("x", lambda v, d: (v[0], d["window_days"], v[2])),
        "bands before steps": size("x", lambda v, d: (v[0], v[2], v[1])),
        "no axis of the batch": size("x", lambda v, d: v[1:]),
        "y is not one-hot": size("y", lambda v, d: (v[0],)),
        "a class too few": size("y", lambda v, d: (v[0], v[1] - 1)),
        "last batch forgotten": size("batches", lambda v, d: v - 1),
        "batches with a fraction": size("batches", lambda v, d: (d["rows"] - d["double_crops"]) / d["batch"]),
        "double crops kept": lambda hw: sizes(hw, double_crops=0),
        "last batch full": size("last", lambda v, d: d["batch"]),
        "what lacks in the last batch": size("last", lambda v, d: d["batch"] - v),
        "passes of one satellite and one orbit": lambda hw: sizes(hw, satellites=1, orbits=1)
        if hw.draw["satellites"] * hw.draw["orbits"] > 1
        else sizes(hw, satellites=2),
        "revisit of five days": size("passes", lambda v, d: v * 2),
        "cloudy, not clear": size("clear", lambda v, d: v * d["cloudy"] / (100 - d["cloudy"]) + (d["cloudy"] == 50)),
        "clear rounded up": size("clear", lambda v, d: math.ceil(v + 0.01)),
        "percent forgotten": size("clear", lambda v, d: 100 * v),
        "a key missing": lambda hw: {k: v for k, v in sizes(hw).items() if k != "clear"},
        "batch of 1,028": lambda hw: sizes(hw, batch=1028),
    },
    "q2": {
        "little_endian not used": function(lambda t, b, e: np.frombuffer(t, "<u2").reshape(-1, b)),
        "always high byte first": function(lambda t, b, e: np.frombuffer(t, ">u2").reshape(-1, b)),
        "the wrong way round": function(lambda t, b, e: numpy_decode(t, b, not e)),
        "signed": function(decoded("<i2")),
        "bytes": function(lambda t, b, e: np.frombuffer(t, "u1").reshape(-1, b)),
        "32 bits": function(decoded("<u4")),
        "half floats": function(decoded("<f2")),
        "flat": function(decoded(shape=lambda v, b: v)),
        "bands before images": function(decoded(shape=lambda v, b: v.reshape(b, -1))),
        "turned over": function(decoded(shape=lambda v, b: v.reshape(-1, b).T)),
        "stored band by band": function(decoded(shape=lambda v, b: v.reshape(b, -1).T)),
        "twelve bands built in": function(decoded(shape=lambda v, b: v.reshape(-1, 12))),
        "scaled to reflectance": function(decoded(change=lambda v: v / 10_000)),
        "error where there is no image": function(decoded(change=lambda v: v[0].size and v)),
        "squeezed": function(decoded(change=np.squeeze)),
        "last image lost": function(decoded(change=lambda v: v[:-1])),
        "returns text": function(lambda t, b, e: str(t)),
        "two images built in": function(decoded(shape=lambda v, b: v[: 2 * b].reshape(2, b))),
    },
    "q3": {
        "one-based": function(lambda d, s, w, p: floor_step(d, s, w, p) + 1 if floor_step(d, s, w, p) >= 0 else -1),
        "a step too many": function(lambda d, s, w, p: floor_step(d, s, w + p, p)),
        "window's end included": function(lambda d, s, w, p: (d - s) // p if 0 <= d - s <= w else -1),
        "never outside": function(lambda d, s, w, p: (d - s) // p),
        "cut towards zero": function(lambda d, s, w, p: int((d - s) / p) if -p < d - s < w else -1),
        "rounded": function(lambda d, s, w, p: round((d - s) / p) if 0 <= d - s < w else -1),
        "rounded up": function(lambda d, s, w, p: math.ceil((d - s) / p) if 0 <= d - s < w else -1),
        "fraction kept": function(lambda d, s, w, p: (d - s) / p if 0 <= d - s < w else -1),
        "day within the step": function(lambda d, s, w, p: (d - s) % p if 0 <= d - s < w else -1),
        "first day of the step": function(lambda d, s, w, p: d - (d - s) % p if 0 <= d - s < w else -1),
        "five days built in": function(lambda d, s, w, p: floor_step(d, s, w, 5)),
        "120 days built in": function(lambda d, s, w, p: floor_step(d, s, 120, p)),
        "start not subtracted": function(lambda d, s, w, p: floor_step(d, 0, w, p)),
        "0 for outside": function(lambda d, s, w, p: max(0, floor_step(d, s, w, p))),
        "nothing for outside": function(lambda d, s, w, p: (d - s) // p if 0 <= d - s < w else None),
        "last step for outside": function(lambda d, s, w, p: min(max(0, (d - s) // p), w // p - 1)),
        "error for outside": function(lambda d, s, w, p: list(range(w // p))[(d - s) // p]),
        "start excluded": function(lambda d, s, w, p: floor_step(d - 1, s, w, p)),
    },
    "q4": {
        "always the first": function(lambda d, b, s, w, p, seed=None: plain_window(d, b, s, w, p, None)),
        "always the last": function(last_image),
        "always at random": function(lambda d, b, s, w, p, seed=None: plain_window(d, b, s, w, p, seed or 0)),
        "steps from the first image": function(from_first_image),
        "a step too many": function(one_step_more),
        "window's end included": function(to_the_end),
        "seed not used": function(no_seed_kept),
        "each step draws with the same seed": function(seeded_each_step),
        "last image never drawn": function(never_the_last),
        "mean of the step": function(mean_of_step),
        "empty steps hold the last": function(filled_with_last),
        "empty steps hold NaN": function(empty_is_nan),
        "one image squeezed": function(squeezed),
        "x alone": function(lambda *a: plain_window(*a)[0]),
        "seen before x": function(lambda *a: plain_window(*a)[::-1]),
        "seen turned over": function(lambda *a: (plain_window(*a)[0], ~plain_window(*a)[1])),
        "bands before steps": function(lambda *a: (plain_window(*a)[0].T, plain_window(*a)[1])),
        "seen for each band": function(lambda *a: (plain_window(*a)[0], plain_window(*a)[0] > 0)),
        "bands swapped": function(lambda *a: (plain_window(*a)[0][:, ::-1], plain_window(*a)[1])),
        "all empty": function(all_empty),
        "changes the bands": function(changes_bands),
        "very slow": function(slow_window),
    },
    "q5": {
        "empty steps in the mean": function(scaling(lambda t, ts, x, s: t.reshape(-1, t.shape[-1]))),
        "statistics of x": function(scaling(lambda t, ts, x, s: x[s])),
        "statistics of both": function(scaling(lambda t, ts, x, s: np.concatenate([t[ts], x[s]]))),
        "empty steps scaled too": function(scaling(keep=False)),
        "one mean for all bands": function(scaling(mean=lambda v: v.mean(), std=lambda v: v.std())),
        "mean alone": function(scaling(std=lambda v: 1)),
        "divided by the variance": function(scaling(std=lambda v: v.var(0))),
        "divided by N - 1": function(scaling(std=lambda v: v.std(0, ddof=1))),
        "mean and spread swapped": function(scaling(mean=lambda v: v.std(0), std=lambda v: v.mean(0))),
        "median in place of mean": function(scaling(mean=lambda v: np.median(v, 0))),
        "from smallest to largest": function(min_max),
        "divided by 10,000": function(lambda t, ts, x, s: x / 10_000),
        "in place": function(scaled_in_place),
        "seen of training used for x": function(lambda t, ts, x, s: numpy_scaled(t, ts, x, ts[: len(x)])),
        "each sample on its own": function(lambda t, ts, x, s: numpy_scaled(x, s, x, s)),
        "gives back training": function(lambda t, ts, x, s: numpy_scaled(t, ts, t, ts)),
        "as if not seen": function(lambda t, ts, x, s: numpy_scaled(t, ts, x, ~s)),
        "only what was seen": function(lambda t, ts, x, s: numpy_scaled(t, ts, x, s)[s]),
        "numbers of the check built in": function(
            lambda t, ts, x, s: np.where(s[..., None], (x - [4, 300]) / [1.63299, 163.299], 0)
        ),
    },
    "q6": {
        "any image of the window": function(ruled(last=lambda v: v)),
        "the last image alone": function(ruled(last=lambda v: v[-1:])),
        "the last three": function(ruled(last=lambda v: v[-3:])),
        "the first two": function(ruled(last=lambda v: v[:2])),
        "both must be vegetation": function(ruled(grows=lambda v: len(v) > 0 and bool((v == 4).all()))),
        "window not used": function(ruled(inside=lambda d, s, w: d >= 0)),
        "window's end included": function(ruled(inside=lambda d, s, w: (d >= s) & (d <= s + w))),
        "start excluded": function(ruled(inside=lambda d, s, w: (d > s) & (d < s + w))),
        "start not used": function(ruled(inside=lambda d, s, w: d < s + w)),
        "120 days built in": function(ruled(inside=lambda d, s, w: (d >= s) & (d < s + 120))),
        "the last ten days": function(last_ten_days),
        "rule for every class": function(every_class),
        "crops built in": function(ruled(crops=CROPS)),
        "the wrong way round": function(ruled(grows=lambda v: not (v == 4).any())),
        "bare soil in place of vegetation": function(ruled(grows=lambda v: (v == 5).any())),
        "error where there is one image": function(by_index),
        "true or false": function(only_a_bool),
        "changes scl": function(changes_scl),
        "always the label": function(lambda name, *a: name),
        "the class's shown name": function(
            lambda name, *a: "No Crops Growing" if numpy_class(name, *a) == part2.BARE else name
        ),
    },
    "q7": {
        "another year": lambda hw: side(hw, year=2019 + (hw.draw["year"] - 2018) % 3),
        "nothing held out": lambda hw: side(hw, held=False),
        "the held out alone": lambda hw: side(hw, only_held=True),
        "labels alone, no rule": lambda hw: side(hw, rule=lambda name, *a: name),
        "any image of the window": lambda hw: side(hw, rule=ruled(last=lambda v: v)),
        "rule for every class": lambda hw: side(hw, rule=every_class),
        "windows from 1 January": lambda hw: side(hw, start=1 - hw.draw["start_day"]),
        "window of the whole year": lambda hw: side(hw, window=365),
        "double crops counted": lambda hw: side(hw, left_out=True) | {"left out": 1},
        "two classes swapped": swapped_counts,
        "even": mean_count,
        "share, not rows": lambda hw: {k: v / sum(side(hw).values()) for k, v in side(hw).items()},
        "number of rows": lambda hw: sum(side(hw).values()),
        "numbers of classes": lambda hw: {hw.study.legend.keys.index(k): v for k, v in side(hw).items()},
        "one short": lambda hw: {k: v - 1 for k, v in side(hw).items()},
        "nothing": lambda hw: ...,
    },
    "q8": BOTTLENECK[1],
}  # fmt: skip
