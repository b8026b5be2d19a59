# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 2 · From the pixel table to batches
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** How do the irregular series of a table, stored as byte strings, become batches for a model, fast and without a score that is too good to be true?
#
# **Product.** A *data loader*: it draws windows, puts images on a regular calendar, normalises, labels, and delivers batches. Lab 3 trains a model with it.
#
# **You will be able to**
# - name the steps of an input pipeline, and say why they stand in this order;
# - turn byte strings back into arrays, and irregular dates into regular steps;
# - say what the fill of an empty step means, and why the statistics come first;
# - derive 'No Crops Growing' from the scene classes, and change the legend to your own;
# - split by year and by block, and show what is wrong with a random split;
# - measure which change makes a loader faster, and whether training waits for it.
#
# **Time.** About 110 minutes, with a pause after section 8. **You need** Lab 1 or its idea of a pixel table, and Python. TensorFlow is explained when it is used.
# :::
#
# The parts of a step are those of Lab 1. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.

# %%
import os

# Hide TensorFlow's messages on processors and libraries, not its errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    home = "https://github.com/--home-not-set--/crop-maps-at-scale"
    if "not-set" in home:
        raise RuntimeError(
            "No address yet: the owner of this copy runs make home URL=…"
        )
    own = find_spec("tensorflow")  # Colab has one, Databricks has none
    extras = "platform" if own else "platform,platform-tensorflow"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[{extras}] @ git+{home}"'
    )

from arsetlib import check_env

check_env(("labs", "train"))

# %% [markdown]
# ## 1. Take the table of Lab 1
#
# If Lab 1 has run on this machine, its table is read from where Lab 1 left it. If not, the cell makes the same table without Spark, which takes a few minutes once.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing you see here was measured by a satellite: it is the simulated delta of Lab 1. Pictures of it say *simulated*. The times are real, those of your machine.
# :::

# %%
import numpy as np
import pandas as pd
import tensorflow as tf

from arsetlib import lab

source = "simulated"  # or "real", or your study file, "mine.toml"
here = lab.place(source)
study, table = here.study, here.table()
print(here)
print(f"{table.num_rows:,} rows")
assert set(study.years) == set(table["year"].to_pylist())

# %% [markdown]
# ## 2. The order of a pipeline
#
# A loader is a chain of small steps. `tf.data` writes each as one call, and runs them lazily: nothing happens until a batch is asked for.
#
# | step | what it does | why here |
# |---|---|---|
# | list files | find the table's parts | the order of files can be shuffled at no cost |
# | read | rows, still as byte strings | lazily if the table is larger than memory |
# | `filter` | leave out rows without one right answer | before work is spent on them |
# | `shuffle` | mix rows in a buffer | rows in bytes are smaller than parsed ones, and rows must be mixed *before* they become batches |
# | `map(parse)` | bytes → window → numbers and label | the expensive step; random, so it comes after any cache |
# | `batch` | stack samples | a model works on many at once |
# | `prefetch` | prepare the next batch while the model works on this one | last, so that it covers all steps before it |
#
# First the rows, as TensorFlow strings. A row has its label code, the first day of its year, and three byte strings.

# %%
from arsetlib import pixels

years = table["year"].to_numpy()
strings = ("day", "scl", "bands", "area")
columns = {s: np.array(table[s].to_pylist(), object) for s in strings}
columns["code"] = table["label_code"].to_numpy()
first_of_year = (years - 1970).astype("M8[Y]").astype("M8[D]")
columns["new_year"] = first_of_year.astype("i4")  # days since 1970-01-01

# %%
print(f"{len(pixels.files(here.table_path))} files are listed and read")
rows = tf.data.Dataset.from_tensor_slices(columns)
one = next(iter(rows))
print({name: str(value.dtype.name) for name, value in one.items()})
print(f"the bands of the first row: {len(one['bands'].numpy())} bytes")
assert len(rows) == table.num_rows

# %% [markdown]
# :::{admonition} Predict
# :class: predict
# Two pairs of steps are easily swapped. What goes wrong if `filter` comes after `map`? And if `shuffle` comes after `batch`?
# :::

# %%
parsed = tf.Variable(0, dtype=tf.int64)


def costly(row):
    parsed.assign_add(1)  # count how often this step runs
    return row


def has_one_crop(row):  # a double crop has two right answers
    return ~tf.reduce_any(row["code"] == np.array(study.legend.excluded, "i2"))


# %%
orders = {
    "filter, then map": rows.filter(has_one_crop).map(costly),
    "map, then filter": rows.map(costly).filter(has_one_crop),
}
calls = {}
for order, dataset in orders.items():
    parsed.assign(0)
    kept = sum(1 for _ in dataset)
    calls[order] = int(parsed.numpy())
    print(f"{order}: {calls[order]:,} rows parsed for {kept:,} kept")

assert calls["filter, then map"] <= calls["map, then filter"]

# %%
mixed = rows.shuffle(len(rows), seed=1).batch(64)
neighbours = rows.batch(64).shuffle(10, seed=1)
areas_in = {
    "shuffle, then batch": len(set(next(iter(mixed))["area"].numpy())),
    "batch, then shuffle": len(set(next(iter(neighbours))["area"].numpy())),
}
print("areas in the first batch:", areas_in)
assert areas_in["batch, then shuffle"] <= areas_in["shuffle, then batch"]

# %% [markdown]
# With `filter` after `map`, rows are parsed and then thrown away: the first lines count them. With `shuffle` after `batch`, a batch contains only neighbouring pixels, because the table is sorted by place: the model would see one field after another.
# How large the buffer must be is a question for section 11.
#
# ## 3. Bytes to arrays
#
# `tf.io.decode_raw` reads a byte string as numbers of the type that you name. It returns one long row of numbers; you must restore the shape.
#
# :::{admonition} Predict
# :class: predict
# A row has 80 images of 12 bands, each value 2 bytes wide. How many bytes has the string `bands`?
# :::

# %%
C = len(study.bands)


def decode(row):
    """Days (N,), scene classes (N,) and reflectance × 10,000 (N, C)."""
    day = tf.io.decode_raw(row["day"], tf.uint16)
    scl = tf.io.decode_raw(row["scl"], tf.uint8)
    bands = tf.io.decode_raw(row["bands"], tf.uint16)
    return day, scl, tf.reshape(bands, [-1, C])


# %%
day, scl, bands = decode(one)
print(f"days {day.shape}, scene classes {scl.shape}, bands {bands.shape}")
print(f"bytes: {day.shape[0]} × {C} × 2 = {len(one['bands'].numpy())}")
library = pixels.series(table, 0)
assert all(map(np.array_equal, (day, scl, bands), library))
assert 80 * 12 * 2 == 1920

# %% [markdown]
# The answer is images × bands × 2, here 1,920 bytes, and the second printed line shows the same for our first row. Three lines of code give the same arrays as the library. `decode_raw` takes the low byte first unless told otherwise; the original course's files need `little_endian=False`.
# The number of images differs from row to row, so rows do not stack into a batch. The window solves this.
#
# ## 4. The window: a regular calendar
#
# A *window* is a number of days, cut into equal *steps*. Each image belongs to the step of its date. Where a step has several images, it takes one of them; where it has none, it stays empty.
# Steps count from the window's start, so that step 3 means the same days in every sample.
#
# :::{admonition} Predict
# :class: predict
# A window of 45 days has steps of 5 days. How many steps? With images on days 2, 3, 11, 12, 14, 30, 44 and 45, how many of the steps are empty?
# :::


# %%
def window_by_hand(day, bands, start, season, take):
    """x (T, C), 0 where nothing was seen; which image each step took."""
    x = np.zeros((season.steps, bands.shape[1]), np.float32)
    taken = np.full(season.steps, -1)
    for step in range(season.steps):
        begin = start + step * season.step_days
        end = begin + season.step_days
        images = np.flatnonzero((day >= begin) & (day < end))
        if len(images):
            taken[step] = take(images)
            x[step] = bands[taken[step]]
    return x, taken


def first(images):
    return images[0]


# %%
from arsetlib import figures, maps
from arsetlib.study import Season

toy = Season(window_days=45, step_days=5)
toy_day = np.array([2, 3, 11, 12, 14, 30, 44, 45])
toy_bands = 100 * np.arange(1, 9)[:, None]  # one band, to tell images apart
x, taken = window_by_hand(toy_day, toy_bands, 0, toy, first)

# %% tags=["hide-input"]
steps = pd.DataFrame(
    {
        "step": range(toy.steps),
        "days": [f"{5 * s} to {5 * s + 4}" for s in range(toy.steps)],
        "day of its image": [
            str(toy_day[i]) if i >= 0 else "none" for i in taken
        ],
        "x": x[:, 0],
    }
)
figures.show(steps, "A window of 45 days in steps of 5 days, first image taken")

# %%
print(f"{toy.steps} steps, {(taken < 0).sum()} of them empty")
assert toy.steps == 9
assert (taken < 0).sum() == 5
assert 45 not in toy_day[taken[taken >= 0]]  # day 44 is the last

# %% [markdown]
# The printed line is the answer. Day 45 is outside: the window holds days 0 to 44.
# Now a row of the table: half a year, 180 days in steps of 5, of a pixel with about 38 images in that time.

# %%
long = Season(window_days=180, step_days=5)
begin = study.season.first_day + 75  # day of the year
flat = pixels.ragged(table)
since = flat.day - columns["new_year"][flat.rows] - (begin - 1)
inside = (since >= 0) & (since < long.window_days)
images = np.bincount(flat.rows[inside], minlength=table.num_rows)
row = int(np.abs(images - 38).argmin())

# %%
day, scl, bands = pixels.series(table, row)
start = columns["new_year"][row] + begin - 1
x, taken = window_by_hand(day, bands, start, long, first)
red, nir = study.bands.index("red"), study.bands.index("nir")
ndvi = maps.ndvi(bands[:, red], bands[:, nir])
title = f"{images[row]} images, {long.window_days} days, {long.steps} steps"
fig = figures.calendar(day, ndvi, long, start, taken, study=study, title=title)
figures.show(fig, "NDVI of a pixel's images; below, which steps have an image")

# %%
filled = (taken >= 0).sum()
print(f"{filled} steps with an image, {long.steps - filled} empty")
print(f"{images[row] - filled} images not taken")
assert long.steps == 36
assert filled < min(images[row], long.steps)

# %% [markdown]
# There are more images than filled steps, and still there are empty steps: clouds come in groups of days, and two orbits can pass in one step. No width of the step avoids both.
# Short steps keep more dates and have more gaps; long steps have fewer gaps and mix what happened within them. Five days is the time in which the satellites see each place together at least once.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count empty steps and images not taken for steps of 2, 5, 10, 20 and 30 days in this window. Which step would you choose, and what would you lose?
# :::

# %% tags=["hide-cell"]
# Solution
tried = []
for width in (2, 5, 10, 20, 30):
    season = Season(window_days=180, step_days=width)
    _, t = window_by_hand(day, bands, start, season, first)
    empty, unused = (t < 0).mean(), 1 - (t >= 0).sum() / images[row]
    tried.append((width, season.steps, 100 * empty, 100 * unused))
names = ["step, days", "steps", "empty steps, %", "images not taken, %"]
figures.show(pd.DataFrame(tried, columns=names), "The step's width, tried")

# %% [markdown]
# ### The library's window
#
# You have written it yourself; from here on use the library, which does the same for all rows at once.

# %%
import time

from arsetlib import samples

starts = samples.start_days(years, begin)
samples.window(flat, long, starts[:1], rows=[0])  # compiles it, once
began = time.perf_counter()
windows = samples.window(flat, long, starts, choose="first")
library_ms = 1000 * (time.perf_counter() - began) / table.num_rows

# %%
began = time.perf_counter()
window_by_hand(day, bands, start, long, first)
by_hand_ms = 1000 * (time.perf_counter() - began)
print(f"x {windows.x.shape}, seen {windows.seen.shape}")
print(f"by hand {by_hand_ms:.3f} ms a row, library {library_ms:.4f} ms a row")

assert np.array_equal(windows.x[row], x)
assert np.array_equal(windows.seen[row], taken >= 0)

# %% [markdown]
# ## 5. Random draws
#
# In training, two things are drawn anew each time a row is read: the day on which the window starts, and the image that a step with several images takes.
# So one row gives many samples. The model sees a field at all stages and with many different gaps, as it will when it is used in mid season.
#
# :::{admonition} Predict
# :class: predict
# A step holds three images. Over thousands of draws, how often is each taken?
# :::

# %%
from collections import Counter

rng = np.random.default_rng(study.seed)
step_of = (day.astype(int) - start) // long.step_days
crowded = Counter(step_of[step_of >= 0].tolist()).most_common(1)[0][0]
candidates = np.flatnonzero(step_of == crowded)
draws = Counter(int(rng.choice(candidates)) for _ in range(3000))

# %%
share = pd.DataFrame(
    {
        "date": [str(np.datetime64(int(day[i]), "D")) for i in candidates],
        "drawn at random, %": [draws[i] / 30 for i in candidates],
        "the original, %": [
            100.0 * (i == first(candidates)) for i in candidates
        ],
    }
)
figures.show(
    share, "How often each image of the step with most images is taken"
)
assert np.allclose(share["drawn at random, %"], 100 / len(candidates), atol=5)

# %% [markdown]
# Each image is taken equally often, if you draw. The original notebooks said 'one at random', and in fact always took the earliest: nobody had counted. A random step in a program needs a test that counts.
#
# The same row, drawn four times by the library, each time with another start and other images:

# %%
season = study.season
keys = samples.keys_of(table["pixel"].to_numpy(), years)


def draw(epoch):
    """The row's window in an epoch: its start, and what it holds."""
    key, year = keys[[row]], years[row]
    day = samples.draw_starts(key, season, study.seed, epoch)
    begin = samples.start_days(year, day)
    how = {"seed": study.seed, "epoch": epoch, "keys": key, "rows": [row]}
    return samples.window(flat, season, begin, **how)


# %%
lines = {}
for epoch in range(4):
    w = draw(epoch)
    dates = w.start[0] + season.step_days * np.flatnonzero(w.seen[0])
    values = maps.ndvi(w.x[0, :, red], w.x[0, :, nir])[w.seen[0]]
    name = f"epoch {epoch}: {w.seen.sum()} steps seen"
    lines[name] = dates.astype("M8[D]"), values + epoch
title, y = "One row, drawn four times", "NDVI, each draw 1 higher"
fig = figures.lines(lines, title, "date", y, study=study)
figures.show(fig, "NDVI of four windows drawn from one row")

# %%
print(
    "starts, days of the year:",
    [int(draw(e).start[0] - columns["new_year"][row] + 1) for e in range(4)],
)
assert np.array_equal(draw(3).x, draw(3).x), "a seed must repeat its draw"
assert not np.array_equal(draw(2).x, draw(3).x)

# %% [markdown]
# ## 6. Zeros and the mean
#
# A model needs input bands of about the same range, so each band is *normalised*: `(x − mean) / standard deviation`. And empty steps must hold some number. The order of the two steps matters.
#
# :::{admonition} Predict
# :class: predict
# Empty steps hold 0. You compute the mean per band over all windows, zeros included. Is it too high or too low? And if you leave them out, what does a 0 mean after normalising?
# :::

# %%
sides = samples.split(table, study)  # section 9 says how, and why
train = sides["train"]
values = pixels.ragged(train.read()).bands.astype(float)  # (N, C)
values[values == 0] = np.nan  # no data is not a value
mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)

scaler = samples.Scaler.fit(train)
print(f"fitted on {len(train):,} rows of training")
assert np.allclose(scaler.mean, mean)
assert np.allclose(scaler.std, std)

# %%
which = {"rows": train.index}
raw = samples.window(flat, season, starts[train.index], **which)
drawn = samples.window(
    flat, season, starts[train.index], scaler=scaler, **which
)
with_zeros = raw.x.mean((0, 1))

# %% tags=["hide-input"]
compared = pd.DataFrame(
    {
        "band": study.bands,
        "mean of what was seen": mean,
        "mean with empty steps as 0": with_zeros,
        "standard deviation": std,
    }
)
figures.show(compared, "Statistics of the training rows, reflectance × 10,000")

# %%
print(f"{1 - drawn.seen.mean():.0%} of the steps are empty")
assert (with_zeros < mean).all()
assert (drawn.x[~drawn.seen] == 0).all()

# %% [markdown]
# With the empty steps counted, every mean is too low. So compute the statistics first, of seen values only; then scale; and leave empty steps at 0.
# After scaling, 0 equals the mean, so it adds no bias. This answers a frequent question: the zeros do not shift the mean, because they come after it.
# Statistics come from *training* rows only. Those of the test would be a leak, if a small one.
#
# Here is every band before and after. A box holds the middle half of the values; its whiskers reach from the 5th to the 95th percentile.

# %%
scaled = scaler.transform(np.nan_to_num(values))
panels = {
    "before: reflectance × 10,000": values,
    "after: no unit": scaled,
}
fig = figures.spreads(panels, study.bands, study=study)
figures.show(fig, "Spread of each band's values before and after normalising")

# %%
valid = ~np.isnan(values).any(axis=1)
print("means after:", scaled[valid].mean(axis=0, dtype=float).round(2))
assert np.allclose(scaled[valid].mean(axis=0, dtype=float), 0, atol=1e-2)
assert np.allclose(scaled[valid].std(axis=0, dtype=float), 1, atol=1e-2)

scaler.save(here.work / "scaler.json")  # Lab 3 must scale new scenes alike
assert samples.Scaler.load(here.work / "scaler.json") == scaler

# %% [markdown]
# Before, the near-infrared values are larger and would dominate; after scaling all bands have similar ranges, and no information is lost: `scaler.inverse` goes back.
# A scaler belongs to its model, so it is saved with it.
#
# ### Other fills
#
# Zero is the simplest fill, but not the only one. The library offers the last value seen, a line between neighbours, and the median of all images of a step in place of one.
#
# :::{admonition} Predict
# :class: predict
# You predict in the middle of the season. Which fill needs images of the future?
# :::

# %%
ways = {
    "zeros": {"choose": "first"},
    "last": {"choose": "first", "fill": "last"},
    "linear": {"choose": "first", "fill": "linear"},
    "median of a step": {"choose": "median"},
}
more = {"rows": [row], "scaler": scaler}
w = {
    name: samples.window(flat, season, starts[row], **more, **how)
    for name, how in ways.items()
}

# %%
step = np.arange(season.steps)
seen = w["zeros"].seen[0]
curves = {name: (step, one.x[0, :, nir]) for name, one in w.items()}
points = {"seen": (step[seen], w["zeros"].x[0, seen, nir])}
x, y = f"step of {season.step_days} days", "near infrared, scaled"
fig = figures.lines(
    curves, "Four fills of one window", x, y, study=study, points=points
)
figures.show(fig, "Scaled near infrared of one window under four fills")

# %%
print(f"{seen.sum()} steps seen, whatever the fill")
for one in w.values():
    assert np.array_equal(one.seen[0], seen), "a fill is never 'seen'"
for name in ("last", "linear"):
    assert np.array_equal(w[name].x[0, seen], w["zeros"].x[0, seen])

# %% [markdown]
# The linear fill is the answer: it needs the *next* image. Inside a window that is allowed, because all of the window lies in the past. The first three fills agree where something was seen; the median mixes all images of a step, so it may differ. In empty steps, the first fill holds the mean, 'last' the value before, and the line a value between.
# Whatever you choose, `seen` says which steps had an image: a model can be told which ones were filled, and zero is never read back as 'missing'.
#
# :::{admonition} Exercise 2
# :class: exercise
# Fit a scaler to the *test* rows as well and compare. By how many standard deviations does the mean of each band differ between the year of training and that of the test? What would it mean if it were a whole one?
# :::

# %% tags=["hide-cell"]
# Solution
other = samples.Scaler.fit(sides["test"])
moved = (np.array(other.mean) - mean) / std
print(pd.Series(moved.round(2), study.bands).to_string())
# A whole one: the sensor, the processing or the season has changed, and the
# model meets values that it never saw. Look at the data before the score.

# %% [markdown]
# ## 7. When nothing grows
#
# A label says what was harvested on a pixel in a year. In January that field is bare, and a model should not have to guess then. So the class depends on the *window*:
# a crop keeps its class if vegetation (SCL 4) was seen in at least one of the last two images of the window; otherwise the sample is 'No Crops Growing'.
# The rule is for crops only: a forest or a town stays 'Uncultivated' all year.
#
# :::{admonition} Predict
# :class: predict
# Why two images and not only the last one? And what will the rule say while seedlings are still small?
# :::


# %%
from arsetlib import sentinel2


def grows(day, scl, start, season):
    """Is one of the last two images of the window vegetation?"""
    inside = (day >= start) & (day < start + season.window_days)
    return bool((scl[inside][-2:] == sentinel2.VEGETATION).any())


# %%
legend = study.legend
classes = legend.classes_of(table["label_code"].to_numpy())
grown = np.array([c.crop for c in legend.classes])[classes] & (classes >= 0)
count = np.where(grown, np.diff(flat.offsets), 0)
field = int(count.argmax())  # the crop pixel with most images
print(f"a pixel of {legend.names()[classes[field]]}, {count[field]} images")
assert grown[field]

# %%
day, scl, bands = pixels.series(table, field)
ends = columns["new_year"][field] + np.arange(40, 340, 5)
starts_of = ends - season.window_days + 1  # a window's last day is its end
many = np.full(len(ends), field)
w = samples.window(flat, season, starts_of, rows=many, choose="first")
by_hand = [grows(day, scl, s, season) for s in starts_of]
print(f"{sum(by_hand)} of {len(ends)} windows end with vegetation")
assert np.array_equal(by_hand, w.vegetation)

# %%
named = samples.apply_vegetation_rule(classes[many], w.vegetation, legend)
fig = figures.verdicts(day, scl, bands, ends, named, study=study)
figures.show(
    fig, "NDVI by scene class, and the class of a window by its last day"
)
assert classes[field] in named

# %% [markdown]
# The strip shows the class by the window's *last* day. In the season it is the label. Before and after it is mostly 'No Crops Growing', with exceptions: SCL also calls weeds vegetation, and it does not call a shaded crop vegetation.
# Two images are a tolerance: one image that SCL classified wrongly does not end a season. While seedlings are small the rule says 'No Crops Growing', because SCL does not see them, and it says so again when leaves turn yellow. It is a convention, and a score depends on it: say which one you used.
#
# ## 8. Classes
#
# The label is still a code. Now the *legend* groups codes into classes, and *one-hot* turns a class into a vector with a single 1, so that it can be compared with a model's output.
#
# :::{admonition} Predict
# :class: predict
# The slides of the original course say 'six classes' in some places. Count those of the table below. Which one holds no code at all, and how can it then have samples?
# :::

# %%
K = len(legend.classes)
one_hot = np.eye(K, dtype=np.float32)  # row k is the vector of class k
print(f"class {K - 1}, {legend.names()[-1]}, as a vector: {one_hot[K - 1]}")

# %% tags=["hide-input"]
listed = pd.DataFrame(
    {
        "class": legend.names(),
        "codes": [
            "others" if c.codes == "others" else str(len(c.codes))
            for c in legend.classes
        ],
        "rows by label": [int((classes == k).sum()) for k in range(K)],
        "one-hot": [" ".join(f"{v:.0f}" for v in r) for r in one_hot],
    }
)
figures.show(listed, "The legend: classes, how many codes each has, one-hot")

# %%
some = classes[classes >= 0][:50]
print(f"{K} classes; left out as double crops: {(classes < 0).sum()} rows")
assert np.array_equal(tf.one_hot(some, K), one_hot[some])
assert (legend.classes_of(list(legend.excluded) or [1]) < K).all()

# %% [markdown]
# The course's legend has seven classes, and 'No Crops Growing' has no code: its samples come from the rule of section 7. The *order* is a convention, too: the slides and the code of the original have two different ones. A model's output number 3 means nothing without its legend, so keep both together.
# Codes are compared as numbers, and each must be in a class or be left out on purpose; an unknown code is an error. So Barley can no longer be counted as Uncultivated by mistake, as in the original, whose last class took every code that was forgotten.
#
# :::{admonition} Exercise 3
# :class: exercise
# Your client asks one question: is it the last class of the legend or not? Make a legend of three classes, 'No Crops Growing', that class, 'All else', and count its rows. `codes="others"` takes every code named nowhere else.
# :::

# %% tags=["hide-cell"]
# Solution
from dataclasses import replace

from arsetlib.study import Class

bare, wanted = legend.classes[0], legend.classes[-1]
rest = Class("rest", {"en": "All else"}, "#93cc93", "others", crop=False)
mine = replace(legend, name="one or not", classes=(bare, wanted, rest))
counts = Counter(mine.classes_of(table["label_code"].to_numpy()).tolist())
print({[*mine.names(), "left out"][k]: n for k, n in sorted(counts.items())})
# The vegetation rule leaves a class with crop=False as it is. Should bare
# soil before planting be 'All else'? For this question it may be.

# %% [markdown]
# ### Balance
#
# :::{admonition} Predict
# :class: predict
# When window starts are drawn over the whole range of the study, which class becomes the largest in training?
# :::


# %%
def shares(rows, rule):
    """Percent of each class, windows drawn at random."""
    day = samples.draw_starts(keys[rows.index], season, study.seed)
    begin = samples.start_days(years[rows.index], day)
    w = samples.window(flat, season, begin, rows=rows.index)
    k = classes[rows.index]
    if rule:
        k = samples.apply_vegetation_rule(k, w.vegetation, legend)
    return 100 * np.bincount(k[k >= 0], minlength=K) / (k >= 0).sum()


# %%
balance = {"train, labels alone": shares(train, rule=False)}
balance |= {side: shares(rows, rule=True) for side, rows in sides.items()}
balance = pd.DataFrame(balance, index=legend.names()).T
look = {"colours": legend.colours, "text": ".0f", "study": study}
fig = figures.bars(balance, "Class balance", "percent of samples", **look)
figures.show(fig, "Share of each class in training, validation and test")

# %%
print(f"the largest in training: {balance.loc['train'].idxmax()}")
assert np.allclose(balance.sum(axis=1), 100)
grows_less = balance.loc["train"] <= balance.loc["train, labels alone"] + 1e-9
assert grows_less[[c.crop and bool(c.codes) for c in legend.classes]].all()

# %% [markdown]
# The printed line is the answer. The rule moves samples of every crop into one class. A model that always answers with the largest class already gets its share right, so accuracy alone says little.
# One remedy is to weight samples, so that each class counts the same in the loss; `samples.batches` can deliver such weights. Another is a score that looks at each class, as Lab 3 does.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. After a pause, run the cells again from the top; it takes about a minute.
# :::
#
# ## 9. Split, and what is wrong with a random one
#
# A model is judged on rows that it has not seen. But two pixels of one field are nearly the same row, and so is one pixel in two years. If rows are divided at random, nearly every test row has a neighbour in training.
# `samples.split` divides by year (the study file says which year is on which side) *and* by block: squares of ground that stay together.

# %%
fig = figures.split_map(sides, study=study)
figures.show(
    fig, "Where rows of training, validation and test lie; north is up"
)

# %%
for pair, common in samples.shared(sides).items():
    print(pair, {noun: len(found) for noun, found in common.items()})
    assert len(common["block"]) == len(common["year"]) == 0

# %% [markdown]
# Nothing is shared: no year, no block, no pixel. A block is used only in the year of its side. Its rows of the other years are on no side; that is the cost of a test without leaks.
#
# In use, a model predicts a year that it has never seen. The split imitates this, and it takes years to be exchangeable. So the other way round should work as well: Exercise 4 tries it.
#
# :::{admonition} Predict
# :class: predict
# Train one small network three times, on equally many rows: divided at random, by year, by year and block. Which gets the best score on its own test? Which score would you promise a client?
# :::

# %%
import keras


def network():
    keras.utils.set_random_seed(study.seed)
    layers = [
        keras.layers.Conv1D(32, 5, activation="relu"),  # (B, 20, 32)
        keras.layers.Conv1D(32, 5, activation="relu"),  # (B, 16, 32)
        keras.layers.MaxPooling1D(2),  # (B, 8, 32)
        keras.layers.Flatten(),  # (B, 256)
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(K, activation="softmax"),  # (B, 7)
    ]
    model = keras.Sequential(layers)
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"])
    return model


# %%
middle = samples.start_days(years, season.first_day + 120)  # same for all


def windows_of(rows, scaler, most=None):
    """Windows x and classes y of at most so many rows."""
    i = rows.index[classes[rows.index] >= 0]
    i = np.random.default_rng(study.seed).permutation(i)[:most]
    how = {"rows": i, "scaler": scaler, "choose": "first"}
    return samples.window(flat, season, middle[i], **how).x, classes[i].astype(
        int
    )


def score(sides, rows):
    """Train on so many rows, return the accuracy on the test side."""
    scaler = samples.Scaler.fit(sides["train"])
    model, epochs = network(), 3 if here.small else 15
    x, y = windows_of(sides["train"], scaler, rows)
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return model.evaluate(*windows_of(sides["test"], scaler), verbose=0)[1]


# %%
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    divided = {
        "at random": samples.random_split(table, seed=study.seed),
        "by year": samples.split(table, study, by="year"),
        "by year and block": sides,
    }
print(next(w.message for w in caught if w.category is samples.LeakWarning))

# %%
equal = min(len(s["train"]) for s in divided.values())
scores = pd.Series({name: score(s, equal) for name, s in divided.items()})
fig = figures.bars(
    100 * scores, "One network, three splits", "test accuracy, %", study=study
)
figures.show(fig, "Test accuracy of the same network for three ways to split")

if not here.small and study.simulated:  # a toy's test has too few rows
    assert scores["at random"] > scores["by year and block"] + 0.03

# %% [markdown]
# The random split gets the best score, and it is the one that you must not promise: it cannot be repeated on new data. Promise the score by year and block: its test rows are of another year and another place, as new data will be. The network is the same and the number of rows is the same. Nothing in the training run warns you, because the error is in the choice of rows.
# The difference is what the model learned of these fields and of this year's weather. Compare the two other bars: which of the two mattered more here?
#
# :::{admonition} Exercise 4
# :class: exercise
# Swap the years: train on the year of the test, and test on that of the training, by year and block. `study.replace(split=…)` gives a study with other years. Are years exchangeable?
# :::

# %% tags=["hide-cell"]
# Solution
split = study.split
swapped = study.replace(
    split=split | {"train": split["test"], "test": split["train"]}
)
back = score(samples.split(table, swapped), equal)
print(f"{split['train']} → {split['test']}: {scores['by year and block']:.3f}")
print(f"{split['test']} → {split['train']}: {back:.3f}")
# Two years are two samples: say 'similar' or 'not similar', and get more.

# %% [markdown]
# ## 10. The whole pipeline
#
# Now put the pieces together, first by hand: one row in, one sample out, in TensorFlow's own operations. First the label:

# %%
T = season.steps
codes = np.unique(columns["code"])
class_of = np.full(codes.max() + 1, -1, "i4")  # code → class
class_of[codes] = legend.classes_of(codes)
crop = tf.constant([c.crop for c in legend.classes])


def label(row, scl, inside):
    """Class, one-hot, after the vegetation rule."""
    k = tf.gather(class_of, tf.cast(row["code"], tf.int32))
    last_two = tf.boolean_mask(scl, inside)[-2:]
    bare = tf.gather(crop, k) & ~tf.reduce_any(last_two == sentinel2.VEGETATION)
    return tf.one_hot(tf.where(bare, 0, k), K)


# %% [markdown]
# Then the window. `step` is the step of each image, -1 outside the window; `order` is an order of the images, random in training; a step takes the image that comes first in this order.


# %%
def take_images(day, first_day, order):
    """The image of each step (T,), and whether there is one (T,)."""
    since = tf.cast(day, tf.int32) - first_day
    inside = (since >= 0) & (since < season.window_days)
    step = tf.gather(tf.where(inside, since // season.step_days, -1), order)
    place = tf.math.unsorted_segment_min(tf.range(tf.size(day)), step, T)
    seen = place < tf.size(day)  # an empty step has the largest integer
    return tf.gather(order, tf.where(seen, place, 0)), seen, inside


def parse(row, start=None):
    """One row → x (T, C), scaled, and y (K,); no start: drawn at random."""
    day, scl, bands = decode(row)
    order = tf.range(tf.size(day))
    if start is None:
        order = tf.random.shuffle(order)
        days = season.first_day, season.last_day + 1
        start = tf.random.uniform([], *days, tf.int32)
    image, seen, inside = take_images(day, row["new_year"] + start - 1, order)
    x = tf.cast(tf.gather(bands, image), tf.float32)
    x = tf.where(seen[:, None], (x - scaler.mean) / scaler.std, 0.0)
    return x, label(row, scl, inside)


# %%
x, y = parse(next(iter(rows)), start=121)
print(f"x {x.shape}, {x.dtype.name}; y {y.numpy().astype(int)}")
assert x.shape == (T, C)
assert tf.reduce_sum(y) == 1

# %% [markdown]
# Is it what the library's one call gives? For a test nothing is random: a fixed start, the first image of each step.

# %%
BATCH = 256
test = sides["test"]
some = {name: column[test.index] for name, column in columns.items()}
mine = tf.data.Dataset.from_tensor_slices(some).filter(has_one_crop)
mine = mine.map(lambda row: parse(row, start=121)).batch(BATCH)
fixed = {"batch": BATCH, "start": 121, "choose": "first"}
theirs = samples.batches(test, study, scaler, **fixed)

# %%
for (x, y), (lib_x, lib_y) in zip(mine, theirs, strict=True):
    assert np.allclose(x, lib_x, atol=1e-4)
    assert np.array_equal(y, lib_y)
print(f"{len(theirs)} batches agree; the first: x {x.shape}, y {y.shape}")

for (x, _), (same, _) in zip(theirs, theirs, strict=True):
    assert np.array_equal(x, same), "a test loader must repeat itself"

# %%
options = {"batch": BATCH, "seed": 1, "shuffle": False}  # random draws
one_by_one = samples.row_by_row(train, study, scaler, **options)
at_once = samples.arrays(train, study, scaler, **options)
agree = [
    np.allclose(x, lib_x, atol=1e-4)
    for (x, _), (lib_x, _) in zip(one_by_one, at_once, strict=True)
]
print(f"random draws: {sum(agree)} of {len(agree)} batches agree")
assert all(agree), "the same draws, another x"

# %% [markdown]
# By hand or by the library's one call, the test batches are the same, and they are the same each time. In training the library draws start and images from a hash of seed, epoch and pixel, so that a seed gives the same samples on any number of threads; `samples.row_by_row`, the library's own copy of this pipeline, makes exactly the same ones.
#
# ## 11. What makes it faster?
#
# :::{admonition} Predict
# :class: predict
# Rank these by what you expect of them: a parallel `map`; `prefetch`; `cache` after `map`; treating a whole batch at once instead of row by row.
# :::

# %%
AUTO = tf.data.AUTOTUNE
some = {name: column[train.index] for name, column in columns.items()}
base = tf.data.Dataset.from_tensor_slices(some).filter(has_one_crop)
base = base.shuffle(10 * BATCH, seed=1)
parallel = base.map(parse, num_parallel_calls=AUTO)
pipelines = {
    "row by row": base.map(parse).batch(BATCH),
    "+ parallel map": parallel.batch(BATCH),
    "+ prefetch": parallel.batch(BATCH).prefetch(AUTO),
    "cached after map": parallel.cache().batch(BATCH),
    "whole batches (library)": samples.batches(
        train, study, scaler, batch=BATCH, seed=1
    ),
}


# %%
def rate(dataset):
    """Samples a second over one pass."""
    began = time.perf_counter()
    count = sum(len(y) for _, y in dataset)
    return count / (time.perf_counter() - began)


for dataset in pipelines.values():
    rate(dataset)  # the first pass also builds the graph
# Each is measured in turn, so that a busy machine slows all alike.
passes = [{n: rate(d) for n, d in pipelines.items()} for _ in range(3)]
rates = pd.DataFrame(passes).median()

# %%
fig = figures.bars(rates, "Loading without a model", "samples/s")
figures.show(fig, "Samples a second of five pipelines without a model")
print((rates / rates["row by row"]).round(1).to_string())
if not here.small:  # a toy is too small to time
    assert rates["whole batches (library)"] > 3 * rates["row by row"]

# %% [markdown]
# The printed ratios are the answer for your machine. Treating whole batches brings most: row by row, most of the time is spent calling small operations, not computing numbers. Compare the bar of the parallel map with the first: one row is little work, and giving rows to threads is work, too. Prefetch cannot gain much here, because no model works meanwhile. `cache` after `map` skips the work of all later epochs, but it is wrong:
#
# Look at eight rows in two epochs:

# %%
few = tf.data.Dataset.from_tensor_slices(some).take(8)
tf.random.set_seed(None)
ways = {"as is": few.map(parse), "cached": few.map(parse).cache()}
tf.random.set_seed(1)
ways["seeded"] = few.map(parse)
repeats = {}
for name, dataset in ways.items():
    epoch_1, epoch_2 = (np.stack([x for x, _ in dataset]) for _ in range(2))
    repeats[name] = np.array_equal(epoch_1, epoch_2)
print("second epoch like the first?", repeats)
assert repeats == {"as is": False, "cached": True, "seeded": True}

# %% [markdown]
# A cache after `map` keeps the first draws, so each epoch repeats the first. Random steps belong *after* a cache. A cache of the byte strings, before `map`, is right, and saves only the reading.
# The same line shows an error that few know: once a global seed is set, TensorFlow's random operations inside `map` *also* start again in each epoch. The library's draws depend on seed *and* epoch, so they can be repeated and still differ.
#
# ### How large a shuffle?
#
# `shuffle` fills a buffer and draws from it. Rows are sorted by area, so a small buffer mixes neighbours with neighbours.
#
# :::{admonition} Predict
# :class: predict
# The original takes a buffer of ten batches. Is that enough here, and what does a larger buffer cost?
# :::

# %%
ids = tf.data.Dataset.from_tensor_slices(train.column("block"))
sizes = {"none": 1, "one batch": BATCH, "ten batches": 10 * BATCH}
sizes["all rows"] = len(train)
mixed = {}
for name, size in sizes.items():
    drawn = ids.shuffle(size, seed=study.seed).batch(BATCH)
    mixed[name] = len(np.unique(next(iter(drawn))))

# %%
mixed = pd.Series(mixed, name="blocks")
title = "How mixed is the first batch?"
fig = figures.bars(mixed, title, "blocks in it", study=study, text="d")
figures.show(fig, "Blocks in the first batch for four sizes of the buffer")

# %%
row_mb = len(next(iter(rows))["bands"].numpy()) / 1e6
megabytes = {name: round(n * row_mb, 1) for name, n in sizes.items()}
print("megabytes in the buffer, about:", megabytes)
print(f"ten batches are {10 * BATCH / len(train):.0%} of the training rows")
assert mixed["none"] <= mixed["one batch"] <= mixed["all rows"]

# %% [markdown]
# The last printed line answers the first question: ten batches are a large part of this side, so here they suffice; of a table a hundred times as long they would hold a few fields. A larger buffer costs memory: one as large as the table mixes perfectly, and holds the whole table. Where it does not fit, shuffle twice: the *files* (or row groups), at no cost, and then the rows of a few of them in a buffer. `samples.batches` does so when it streams.
# `interleave` serves the same purpose: it reads from several files in turn. `flat_map` reads one after the other.
#
# ## 12. Does the model wait for the loader?
#
# A loader is fast enough when the model never waits for it. TensorFlow's profiler answers that in TensorBoard. The slides of the original show its page: an average step of 30.1 ms, of which 25.2 ms input (83.9 %), and the verdict 'your program is HIGHLY input-bound' ([source](../../book/en/bibliography.md)).
#
# The page needs the plug-in `xprof` and a browser, which not every platform has. To answer the question a stopwatch is enough: how long does a step wait for its batch, and how long does it work? The limits of the verdict are the profiler's own: from 5 % *moderately*, from 20 % *highly* input-bound.
#
# :::{admonition} Predict
# :class: predict
# On a GPU the model needs a tenth of the time. What happens to the share of waiting?
# :::


# %%
def step_times(dataset, steps=12 if here.small else 40):
    """Median ms a training step waits for its batch, and works on it."""
    model, times = network(), []
    batches = iter(dataset.repeat())
    for _ in range(steps):
        began = time.perf_counter()
        x, y = next(batches)
        got = time.perf_counter()
        model.train_on_batch(x, tf.argmax(y, 1))
        times.append((got - began, time.perf_counter() - got))
    return 1000 * np.median(times[5:], axis=0)  # the first steps build graphs


def verdict(wait, work):
    share = wait / (wait + work)
    words = "highly" if share >= 0.20 else "moderately"
    return f"{words if share >= 0.05 else 'not'} input-bound ({share:.0%})"


# %%
timed = {n: d for n, d in pipelines.items() if n != "cached after map"}
ms = pd.DataFrame(
    {name: step_times(dataset) for name, dataset in timed.items()},
    index=["waits for input", "works"],
).T
fig = figures.bars(ms, "One training step", "ms", text=".1f")
figures.show(fig, "Milliseconds a step waits and works, for four pipelines")

# %%
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(*row_ms)}")
waits = ms["waits for input"] / ms.sum(axis=1)
assert verdict(25.2, 30.1 - 25.2).startswith("highly")
if not here.small:  # a toy is too short to be timed
    assert waits["whole batches (library)"] < waits["row by row"]

# %%
on_gpu = ms["waits for input"] / (ms["waits for input"] + ms["works"] / 10)
print(
    (100 * on_gpu).round(0).rename("% waiting if work took a tenth").to_string()
)
assert (on_gpu >= waits).all()

# %% [markdown]
# The last lines answer the question: with a faster device only the 'works' part shrinks, so the share of waiting grows, and a loader that is just fast enough today limits training tomorrow.
# Prefetch loads while the model works, which needs a free core: on few cores both compete for the same ones; beside a GPU it helps. It cannot help where loading takes longer than working. Improve the longer part first, and measure again.
#
# A loader that is many times as fast does not make training many times as fast. With the CNN of the original on a processor, the model takes far longer than either loader, so training from whole batches takes about as long as training row by row ([measured](../../book/en/performance.md)). The fast loader saves time with a small model, or on a GPU.
#
# :::{admonition} Exercise 5
# :class: exercise
# Suppose a GPU works ten times as fast and loading stays the same. Recompute the verdicts. How many samples a second must a loader give for a step of 1 ms on a batch of 1,024?
# :::

# %% tags=["hide-cell"]
# Solution: with prefetch, loading and working overlap; what is left to wait is
# the longer one less the work. Without it they add up, as here.
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(row_ms.iloc[0], row_ms.iloc[1] / 10)}")
print(f"needed: {1024 / 0.001:,.0f} samples a second")

# %% [markdown]
# ## 13. What the original loader teaches
#
# A public copy of the 2024 scripts has defects for which there was no error message. Run the cells: each shows one of them.

# %%
# One image in the window: squeeze() removed the axis of images as well.
single = np.zeros((1, C))
print("squeezed:", np.squeeze(single).shape, "expected:", single.shape)
lonely = int(np.diff(flat.offsets).argmin())  # the row with fewest images
day, _, _ = pixels.series(table, lonely)
w = samples.window(flat, Season(5, 5), int(day[0]), rows=[lonely])
assert np.squeeze(single).shape != single.shape
assert w.x.shape == (1, 1, C)

# %%
# Steps counted from the first image: a gap at the start is lost.
early, late = np.array([0, 5, 10]), np.array([60, 65, 70])
print("from the first image:", (early - early[0]) // 5, (late - late[0]) // 5)
print("from the window's start:", early // 5, late // 5)
# One step too many: day 120 belongs to the next window.
print(f"steps of 120 days: {120 // 5 + 1} in the original, {120 // 5} here")
assert np.array_equal((early - early[0]) // 5, (late - late[0]) // 5)
assert (early // 5 != late // 5).all()
assert Season(120, 5).steps == 24

# %%
# Double crops in the test, Barley among forests: names, not codes.
from arsetlib import cdl
from arsetlib.study import Study

delta = Study.load("mississippi_delta").legend  # the course's own legend
for code in (26, 227, 229, 21):
    k = int(delta.classes_of(np.array([code]))[0])
    print(f"{code} {cdl.name(code)}: {[*delta.keys, 'left out'][k]}")
assert delta.classes_of(np.array([26]))[0] == -1
assert delta.keys[delta.classes_of(np.array([21]))[0]] == "cultivated"

# %% [markdown]
# | defect | what it did | what prevents it here |
# |---|---|---|
# | 'random' image was always the earliest | fewer different samples than expected, and a bias to early dates | a test counts the draws |
# | `squeeze` on one image | the test parser crashed on some pixels | shapes are stated and tested |
# | steps from the first image | a late season looked like an early one | steps count from the window's start |
# | 120 // 5 + 1 steps | a step more than the window has days for | `season.steps` |
# | double crops in the test | rows with two right answers were scored as if they had one | left out by code, on all sides |
# | a rest class | Barley became 'Uncultivated' | an unknown code is an error |
# | a batch of 1,028 where 1,024 was meant | nothing: it works, and nobody noticed | none needed |
#
# In nearly all cases the program ran without an error. Only a check of what *should* hold finds such mistakes; that is why this lab has so many checks.
#
# ## What you have learnt
#
# - The order is list → read → filter → shuffle → map → batch → prefetch: filter early, mix rows before they are batches, random steps after any cache, prefetch last.
# - A window puts irregular images on regular steps that count from its start; random starts and images make many samples of one row; a test loader draws nothing at random.
# - Statistics first, from seen values of training rows; then a zero equals the mean, and `seen` says what was there.
# - The class of a sample depends on its window: the vegetation rule makes 'No Crops Growing'.
# - Split by year and block, or the score cannot be trusted.
# - Whole batches are faster than rows, and a stopwatch on waiting and working tells when the loader is fast enough.
#
# ## What if …
#
# - **… the table is larger than memory?** Give `samples.batches` the path instead of the table: it streams, with a bounded shuffle.
# - **… I use PyTorch or scikit-learn?** `samples.arrays` gives the same batches as NumPy, `samples.sequence` as a Keras `PyDataset`.
# - **… I want steps of 10 days, or 60 days in all?** Change `[season]` in the study file; the calendar in section 4 shows what you gain and lose.
# - **… I do not want zeros?** Try `fill="linear"` or `choose="median"`, and compare the score on *validation*; the test stays for the end. Pass `extras=("seen",)` as well.
# - **… my classes differ?** Change the legend. The table stays, since it holds codes.
# - **… I have only one year?** Split by block alone (`by="block"`), and say with the score that the weather was the same.
# - **… a class is rare?** `extras=("weight",)` makes each class count the same. It cannot add variety: more fields can.
