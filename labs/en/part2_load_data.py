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
# **Question.** How do you make batches for a model from irregular series, stored as byte strings, so that loading is fast and the score is honest?
#
# **Product.** A *data loader*: it draws windows, puts images on a regular calendar, normalises, labels, and makes batches. Lab 3 trains a model with it.
#
# **You will be able to**
# - name the steps of an input pipeline, and explain their order;
# - turn byte strings back into arrays, and irregular dates into regular steps;
# - say what the number in an empty step means, and why the statistics are computed first;
# - derive 'No Crops Growing' from the scene classes, and change the legend to your own;
# - split by year and by block, and show what is wrong with a random split;
# - measure which change makes a loader faster, and whether training waits for the loader.
#
# **Time.** About 110 minutes, with a pause after section 8. **You need** Python, and Lab 1 or to know what its pixel table holds. TensorFlow is explained where it is used.
# :::
#
# Each step has four parts, as in Lab 1. *Predict*: answer the question before you run the cell. *Run* the cell. *Read* the explanation. *Check*: an `assert` tests what the explanation claims.

# %%
from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    home = "https://github.com/--home-not-set--/crop-maps-at-scale"
    if "not-set" in home:
        raise RuntimeError("No address yet: the owner runs make home URL=…")
    own = "" if find_spec("tensorflow") else ",platform-tensorflow"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[platform{own}] @ git+{home}"'
    )

from arsetlib import check_env, language

language("en")
check_env(("labs", "train", "images", "spark"))

# %% [markdown]
# ## 1. Take the table of Lab 1
#
# If Lab 1 has run on this machine, the cell reads its table. If not, the cell makes the same table without Spark, which takes a few minutes once.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing in this lab was measured by a satellite: the data are the simulated delta of Lab 1. Pictures of it say *simulated*. The times are real: they are those of your machine.
# :::

# %%
import numpy as np
import pandas as pd

from arsetlib import lab

source = "simulated"  # or "real", or your study file, "mine.toml"
here = lab.place(source)
sample = source == "simulated"  # some asserts hold for the sample only
study, table = here.study, here.table()
print(here)
print(f"{table.num_rows:,} rows")
assert set(study.years) == set(table["year"].to_pylist())

# %% [markdown]
# ## 2. The order of a pipeline
#
# A loader is a chain of small steps. In `tf.data` each step is one call. The steps are *lazy*: nothing is computed until a batch is requested.
#
# | step | what it does | why here |
# |---|---|---|
# | list files | find the files of the table | the order of files can be shuffled at no cost |
# | read | rows, still as byte strings | one after the other if the table is larger than memory |
# | `filter` | leave out rows without one right answer | so that no work is done for them |
# | `shuffle` | mix rows in a buffer | rows as bytes are smaller than parsed rows, and rows must be mixed *before* they become batches |
# | `map(parse)` | bytes → window → numbers and label | the step with most work; it draws at random, so it comes after any cache |
# | `batch` | stack samples | a model computes many samples together |
# | `prefetch` | prepare the next batch while the model computes | last, so that it includes all steps before it |
#
# First the rows, as TensorFlow strings. A row has its label code, the first day of its year, three byte strings, and its area.

# %%
import tensorflow as tf

from arsetlib import pixels

years = table["year"].to_numpy()
strings = ("day", "scl", "bands", "area")
columns = {s: np.array(table[s].to_pylist(), object) for s in strings}
columns["code"] = table["label_code"].to_numpy()
first_of_year = (years - 1970).astype("M8[Y]").astype("M8[D]")
columns["new_year"] = first_of_year.astype("i4")  # days since 1970-01-01

# %%
print(f"{len(pixels.files(here.table_path))} files are read")
rows = tf.data.Dataset.from_tensor_slices(columns)
one = next(iter(rows))
print({name: str(value.dtype.name) for name, value in one.items()})
print(f"the bands of the first row: {len(one['bands'].numpy())} bytes")
assert len(rows) == table.num_rows

# %% [markdown]
# :::{admonition} Predict
# :class: predict
# The order of two pairs of steps is easily confused. What goes wrong if `filter` comes after `map`? And if `shuffle` comes after `batch`?
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
# With `filter` after `map`, rows are parsed and then left out: the two printed lines count them. With `shuffle` after `batch`, a batch contains only neighbouring pixels, because the table is sorted by place. The model would see one field after another.
# Section 11 asks how large the buffer must be.
#
# ## 3. Bytes to arrays
#
# `tf.io.decode_raw` reads a byte string as numbers of the type that you give. It returns all numbers in one row, so you must restore the shape.
#
# :::{admonition} Predict
# :class: predict
# A row has 80 images of 12 bands, and each value has 2 bytes. How many bytes has the string `bands`?
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
# The answer is images × bands × 2: for 80 images of 12 bands 1,920 bytes. The second printed line shows the same for our first row. Three lines of code give the same arrays as the library. `decode_raw` takes the low byte first; the files of the original course need `little_endian=False`.
# The number of images differs between rows, so rows cannot be stacked to a batch. The window solves this problem.
#
# ## 4. The window: a regular calendar
#
# A *window* is a number of days, divided into equal *steps*. Each image belongs to the step of its date. If a step has several images, one of them is taken; if it has none, it stays empty.
# Steps are counted from the start of the window, so step 3 means the same days in each sample.
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
toy_bands = 100 * np.arange(1, 9)[:, None]  # one band, other in each image
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
# Now take a row of the table, and a window of half a year: 180 days in steps of 5. We choose a pixel whose number of images is closest to 38.

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
title = f"{images[row]} images in {long.steps} steps of {long.step_days} days"
fig = figures.calendar(day, ndvi, long, start, taken, study=study, title=title)
figures.show(fig, "NDVI of a pixel's images; below, which steps have an image")

# %%
filled = (taken >= 0).sum()
print(f"{filled} steps with an image, {long.steps - filled} empty")
print(f"{images[row] - filled} images not taken")
assert long.steps == 36
assert filled <= min(images[row], long.steps)
if sample:
    assert filled < min(images[row], long.steps)

# %% [markdown]
# In the delta there are more images than filled steps, and still some steps are empty: clouds can hide several dates in a row, and two images can fall into one step. Exercise 1 shows that no width of the step avoids both.
# Short steps keep more dates and have more gaps. Long steps have fewer gaps and mix the dates within them. In five days two of the satellites together pass each place at least once.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count empty steps and images not taken for steps of 2, 5, 10, 20 and 30 days in this window. Which width would you choose, and what would you lose?
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
figures.show(pd.DataFrame(tried, columns=names), "Five widths of the step")

# %% [markdown]
# ### The library's window
#
# You have written it yourself; from here on use the library. It gives the same result for all rows in one call.

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
# In training, two things are drawn at random each time a row is read: the first day of the window, and which image is taken where a step has several.
# So one row gives many samples. The model sees a field at all stages and with many different gaps. It will meet the same when it is used in mid season.
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
# Each image is taken equally often if the image is drawn at random. The original notebooks said 'one at random', and in fact always took the earliest: nobody had counted. A random step in a program needs a test that counts.
#
# The library draws the same row four times, each time with another start and other images:

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
title, y = "Four windows of one row", "NDVI + number of the epoch"
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
# A model needs input bands of about the same range, so each band is *normalised*: `(x − mean) / standard deviation`. In addition, empty steps must hold some number. The order of the two operations matters.
#
# :::{admonition} Predict
# :class: predict
# Empty steps hold 0. You compute the mean per band over all windows, zeros included. Is it too high or too low? And if you leave them out, what does a 0 mean after normalising?
# :::

# %%
several = len(study.years) > 2  # a year for each of the three sets
by = "year and block" if several else "block"
sides = samples.split(table, study, by=by)  # section 9 explains it
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
# If the empty steps are counted, each mean is too low. So compute the statistics first, from seen values only. Then scale, and leave empty steps at 0.
# After scaling, 0 equals the mean, so it adds no bias. This answers a frequent question: the zeros do not change the mean, because they are set after it was computed.
# Use *training* rows only for the statistics. With test rows they would be a data leak, though a small one.
#
# The next figure shows each band before and after. A box holds the middle half of the values; its whiskers show the 5th and the 95th percentile.

# %%
scaled = scaler.transform(np.nan_to_num(values))
panels = {
    "before: reflectance × 10,000": values,
    "after: no unit": scaled,
}
title = "Values of each band before and after normalising"
fig = figures.spreads(panels, study.bands, study=study, title=title)
figures.show(fig, title)
if sample:
    assert mean[nir] > 1.5 * mean[red]

# %%
valid = ~np.isnan(values).any(axis=1)
print("means after:", scaled[valid].mean(axis=0, dtype=float).round(2))
assert np.allclose(scaled[valid].mean(axis=0, dtype=float), 0, atol=1e-2)
assert np.allclose(scaled[valid].std(axis=0, dtype=float), 1, atol=1e-2)

assert np.allclose(scaler.inverse(scaled[valid]), values[valid], atol=1)

scaler.save(here.work / "scaler.json")
assert samples.Scaler.load(here.work / "scaler.json") == scaler

# %% [markdown]
# Before scaling, the near-infrared values of the delta are larger than those of the visible bands and would dominate. After scaling all bands have the mean 0 and the standard deviation 1. No information is lost: `scaler.inverse` gives the old values back.
# Save the scaler together with the model, because new scenes must be scaled with the same numbers.
#
# ### Other fills
#
# Zero is the simplest number for an empty step. The library can also take the last value seen, or a line between the values before and after. Where a step has several images, it can take their median instead of one image.
#
# :::{admonition} Predict
# :class: predict
# For which of these fills do you need an image that was taken *after* the empty step?
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
title = "One window with four ways to fill"
fig = figures.lines(curves, title, x, y, study=study, points=points)
figures.show(fig, "Scaled near infrared of one window under four fills")

# %%
print(f"{seen.sum()} steps seen, with each fill")
for one in w.values():
    assert np.array_equal(one.seen[0], seen), "a filled step is not 'seen'"
for name in ("last", "linear"):
    assert np.array_equal(w[name].x[0, seen], w["zeros"].x[0, seen])
assert (w["zeros"].x[0, ~seen] == 0).all()

# %% [markdown]
# The linear fill is the answer: it needs the *next* image. Within a window this is allowed, because at the time of prediction the whole window is in the past. The first three ways agree where something was seen. The median combines all images of a step, so it may differ. In empty steps 'zeros' means the mean, 'last' is the value before, and 'linear' is a value between two images.
# For each fill, `seen` says which steps had an image. You can give `seen` to the model, so that it knows which steps were filled.
#
# :::{admonition} Exercise 2
# :class: exercise
# Fit a scaler to the *test* rows as well and compare. By how many standard deviations does the mean of each band differ between training and test? What would a difference of a whole standard deviation mean?
# :::

# %% tags=["hide-cell"]
# Solution
other = samples.Scaler.fit(sides["test"])
moved = (np.array(other.mean) - mean) / std
print(pd.Series(moved.round(2), study.bands).to_string())
# A whole one: the sensor, the processing or the season has changed, and the
# model gets values that training did not have. Check the data first.

# %% [markdown]
# ## 7. When nothing grows
#
# A label says which crop grew on a pixel in a year. Before sowing the field is bare, and no model can see what will grow there. So the class depends on the *window*.
# A crop keeps its class if at least one of the last two images of the window shows vegetation (SCL 4). Otherwise the class of the sample is 'No Crops Growing'.
# The rule is for crops only: a forest or a town has the same class all year.
#
# :::{admonition} Predict
# :class: predict
# Why does the rule use two images and not only the last one? And what does it say while seedlings are still small?
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
# The bar below the points shows the class of a window by its *last* day. In the season the class is the label; before and after the season it is mostly 'No Crops Growing'. There are exceptions: weeds are vegetation in SCL, too, and a crop in a shadow is not.
# Two images make the rule robust: one image with a wrong SCL class does not end the season. While seedlings are small the rule says 'No Crops Growing', because SCL does not show them as vegetation. It says so again when leaves become yellow. The rule is a convention, and the score depends on it, so state it.
#
# ## 8. Classes
#
# The label is still a code. The *legend* groups codes into classes. *One-hot* makes a vector from a class, with a single 1, so that it can be compared with the output of a model.
#
# :::{admonition} Predict
# :class: predict
# Some slides of the original course say 'six classes'. Count the classes in the table below. Which class has no code, and how can it have samples?
# :::

# %%
K = len(legend.classes)
BARE = next((k for k, c in enumerate(legend.classes) if not c.codes), None)
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
assert (legend.classes_of(list(legend.excluded)) == -1).all()
if sample:
    assert (K, legend.keys[BARE]) == (7, "no_crops_growing")

# %% [markdown]
# The legend of the course has seven classes. 'No Crops Growing' has no code: its samples come from the rule of section 7. The *order* of the classes is a convention, too: the slides and the code of the original use two different orders. Output number 3 of a model means nothing without its legend, so keep both together.
# Codes are compared as numbers. Each code must be in a class or be left out on purpose; an unknown code is an error. So Barley can no longer be counted as Uncultivated by mistake. In the original, the last class contained all codes that no list named.
#
# :::{admonition} Exercise 3
# :class: exercise
# A client asks one question: is it this class or not? Take the last class of the legend that lists its codes. Make a legend of three classes: 'No Crops Growing', this class, and 'All else'. Count its rows. `codes="others"` takes all codes that no other class has.
# :::

# %% tags=["hide-cell"]
# Solution
from dataclasses import replace

from arsetlib.study import Class

bare = [c for c in legend.classes if not c.codes]
wanted = [c for c in legend.classes if c.codes and c.codes != "others"][-1]
rest = Class("rest", {"en": "All else"}, "#93cc93", "others", crop=False)
mine = replace(legend, name="one or not", classes=(*bare, wanted, rest))
counts = Counter(mine.classes_of(table["label_code"].to_numpy()).tolist())
print({[*mine.names(), "left out"][k]: n for k, n in sorted(counts.items())})
# The vegetation rule leaves a class with crop=False as it is. Should bare
# soil before planting be 'All else'? For this question it may be.

# %% [markdown]
# ### Balance
#
# :::{admonition} Predict
# :class: predict
# The first days of windows are drawn from the whole range of the study. Which class becomes the largest in training?
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
title = "Share of each class in each set"
fig = figures.bars(balance, title, "percent of samples", **look)
figures.show(fig, "Share of each class in training, validation and test")

# %%
print(f"the largest in training: {balance.loc['train'].idxmax()}")
assert np.allclose(balance.sum(axis=1), 100)
grows_less = balance.loc["train"] <= balance.loc["train, labels alone"] + 1e-9
assert grows_less[[c.crop and bool(c.codes) for c in legend.classes]].all()

# %% [markdown]
# The printed line is the answer. The rule moves samples of the crops into the class 'No Crops Growing'. A model that always predicts the largest class is right for all samples of this class, so accuracy alone says little.
# You can weight samples, so that each class counts the same in the loss; `samples.batches` can give such weights. Or you use a score for each class, as Lab 3 does.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. After the pause, run the cells again from the top; the table is kept.
# :::
#
# ## 9. Split, and what is wrong with a random split
#
# A model is tested on rows that it has not seen. But two pixels of one field are almost the same, and one pixel can be similar in two years. If rows are divided at random, most test rows have a neighbour in training.
# `samples.split` divides by year (the study file gives the years of each set) *and* by block: squares of ground that stay together. For a study of one or two years, this lab divides by block only.

# %%
fig = figures.split_map(sides, study=study)
figures.show(
    fig, "Where rows of training, validation and test lie; north is up"
)

# %%
for pair, common in samples.shared(sides).items():
    print(pair, {noun: len(found) for noun, found in common.items()})
    assert len(common["block"]) == len(common["pixel"]) == 0
    assert len(common["year"]) == 0 or not several

# %% [markdown]
# No block and no pixel is shared, and with three years no year either. A block is used only in the year of its set. Its rows of the other years are in no set; this is the cost of a test without leaks.
#
# In use, a model predicts a year that it has not seen, and the split imitates this. It assumes that training and test could exchange their years. Exercise 4 tests this.
#
# :::{admonition} Predict
# :class: predict
# Train one small network on equally many rows, once for each split: at random, by year, by year and block. Which gets the best score on its own test? Which score would you promise a client?
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
    divided = {"at random": samples.random_split(table, seed=study.seed)}
    if several:
        divided["by year"] = samples.split(table, study, by="year")
    divided[f"by {by}"] = sides
print(next(w.message for w in caught if w.category is samples.LeakWarning))

# %%
equal = min(len(s["train"]) for s in divided.values())
scores = pd.Series({name: score(s, equal) for name, s in divided.items()})
title = "The same network, tested on different splits"
fig = figures.bars(100 * scores, title, "test accuracy, %", study=study)
figures.show(fig, "Test accuracy of the same network for three ways to split")

if sample and not here.small:  # the small sample has too few test rows
    assert scores["at random"] > scores["by year and block"] + 0.03

# %% [markdown]
# In the delta the random split gets the best score. You must not promise it, because it cannot be repeated on new data. Promise the score by year and block: its test rows are of another year and another place, as new data will be. The network and the number of rows are the same, so the split is the cause. Training gives no warning of this mistake.
# A model can learn what is special in these fields and in the weather of this year, and the random test rewards it. From the first bar to the bar by year you see the effect of the weather; from there to the last bar you see that of the fields.
#
# :::{admonition} Exercise 4
# :class: exercise
# Exchange the years: train on the year of the test, and test on the year of the training, by year and block. `study.replace(split=…)` gives a study with other years. Are the two scores similar?
# :::

# %% tags=["hide-cell"]
# Solution
if several:
    old, new = study.split["train"], study.split["test"]
    exchanged = study.replace(split=study.split | {"train": new, "test": old})
    back = score(samples.split(table, exchanged), equal)
    print(f"{old} → {new}: {scores['by year and block']:.3f}")
    print(f"{new} → {old}: {back:.3f}")
# Two years are only two examples: you can say 'similar' or 'not similar'.
# To know more, you need more years.

# %% [markdown]
# ## 10. The whole pipeline
#
# Now combine the steps, first by hand: a function makes one sample from one row, with operations of TensorFlow. First the label:

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
    return tf.one_hot(k if BARE is None else tf.where(bare, BARE, k), K)


# %% [markdown]
# Then the window. `step` is the step of each image, −1 outside the window. `order` is an order of the images, random in training. Each step takes the image that is first in this order.


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
# Does one call of the library give the same? For a test nothing is random: the start is fixed, and each step takes its first image.

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
assert all(agree), "the draws are the same, but x is not"

# %% [markdown]
# The test batches by hand and those of the library are the same, and they are the same in each pass. In training the library draws start and images from a hash of seed, epoch and pixel. So a seed gives the same samples on any number of threads. `samples.row_by_row` is this pipeline within the library; it gives the same batches, as the last assert tests.
#
# ## 11. What makes it faster?
#
# :::{admonition} Predict
# :class: predict
# Put these changes in order of their gain: a parallel `map`; `prefetch`; `cache` after `map`; computing a whole batch in one call instead of row by row.
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
# They are measured in turns, so that other programs slow all of them alike.
passes = [{n: rate(d) for n, d in pipelines.items()} for _ in range(3)]
rates = pd.DataFrame(passes).median()

# %%
fig = figures.bars(rates, "Loading, without a model", "samples a second")
figures.show(fig, "Samples a second of five pipelines without a model")
print((rates / rates["row by row"]).round(1).to_string())
if not here.small:  # the small sample is too fast to time
    assert rates["whole batches (library)"] > 3 * rates["row by row"]

# %% [markdown]
# The printed ratios are the answer for your machine. Whole batches are more than three times as fast as row by row, as the assert tests. Row by row, each small operation must be called for each row. Compare the bar of the parallel `map` with the first bar: one row is little work, and giving rows to threads takes time, too. Prefetch can gain little here, because no model computes meanwhile. `cache` after `map` avoids the work in later epochs, but its result is wrong.
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
# A cache after `map` keeps the first draws, so each epoch repeats the first. Random steps must come *after* a cache. A cache of the byte strings, before `map`, is correct, but it avoids only the reading.
# The same line shows a mistake that few people know. If you set a global seed, TensorFlow's random operations inside `map` start again in each epoch, *too*. The draws of the library depend on the seed *and* the epoch: they can be repeated, and they differ between epochs.
#
# ### How large a shuffle?
#
# `shuffle` fills a buffer and draws rows from it. Rows are sorted by area, so a small buffer mixes only neighbours.
#
# :::{admonition} Predict
# :class: predict
# The original used a buffer of ten batches. Is this enough here, and what does a larger buffer cost?
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
title = "Blocks in the first batch, by size of the buffer"
fig = figures.bars(mixed, title, "blocks", study=study, text="d")
figures.show(fig, "Blocks in the first batch for four sizes of the buffer")

# %%
row_mb = len(next(iter(rows))["bands"].numpy()) / 1e6
megabytes = {name: round(n * row_mb, 1) for name, n in sizes.items()}
print("megabytes in the buffer, about:", megabytes)
print(f"ten batches are {10 * BATCH / len(train):.0%} of the training rows")
assert mixed["none"] <= mixed["one batch"] <= mixed["all rows"]

# %% [markdown]
# Compare the bar of ten batches with that of all rows: if they are close, the buffer is large enough. The last line prints which share of the training rows the ten batches are. In a table a hundred times as long they would be a hundredth of this share, and hold only a few fields. A larger buffer needs more memory: a buffer for all rows mixes them completely and holds the whole table. If that does not fit, shuffle twice: first the order of the *files* (or row groups), at no cost, then the rows of a few of them in a buffer. `samples.batches` does so when it streams.
# `interleave` has the same purpose: it reads from several files in turn. `flat_map` reads one file after the other.
#
# ## 12. Does the model wait for the loader?
#
# A loader is fast enough if the model does not wait for it. TensorFlow's profiler measures this in TensorBoard. The slides of the original show its page: an average step of 30.1 ms, of which 25.2 ms (83.9 %) are input, and the verdict 'your program is HIGHLY input-bound' ([source](../../book/en/bibliography.md)).
#
# The page needs the plug-in `xprof` and a browser, which not every platform has. A stopwatch also answers the question: how long does a step wait for its batch, and how long does it compute? We use the limits of the profiler: from 5 % *moderately*, from 20 % *highly* input-bound.
#
# :::{admonition} Predict
# :class: predict
# Suppose that a GPU needs a tenth of the time for the model. What happens to the share of waiting?
# :::


# %%
def step_times(dataset, steps=12 if here.small else 40):
    """Median ms that a training step waits for its batch, and computes."""
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
    index=["waits for input", "computes"],
).T
fig = figures.bars(ms, "Time of one training step", "ms", text=".1f")
figures.show(fig, "Milliseconds of waiting and computing, for four pipelines")

# %%
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(*row_ms)}")
waits = ms["waits for input"] / ms.sum(axis=1)
assert verdict(25.2, 30.1 - 25.2).startswith("highly")
if not here.small:  # the small sample is too fast to time
    assert waits["whole batches (library)"] < waits["row by row"]

# %%
on_gpu = ms["waits for input"] / (ms["waits for input"] + ms["computes"] / 10)
print("percent waiting, with a model ten times as fast:")
print((100 * on_gpu).round(0).to_string())
assert (on_gpu >= waits).all()

# %%
step_ms = ms.sum(axis=1)
whole = "whole batches (library)"
loading = rates[whole] / rates["row by row"]
training = step_ms["row by row"] / step_ms[whole]
print(f"whole batches, loading alone: {loading:.1f} × as fast as row by row")
print(f"whole batches, training: {training:.1f} × as fast as row by row")
if not here.small:
    assert training < loading

# %% [markdown]
# The list of percentages answers the question: with a faster device only the time of computing becomes shorter, so the share of waiting grows. A loader that is just fast enough today limits the training on a faster device.
# Prefetch loads while the model computes. This needs a free core; if there is none, both use the same cores. Improve the longer part first, and measure again.
#
# The last two lines show a limit: training gains much less than loading, because the model needs its time with each loader. On two cores the model is soon the limit. We measured it with the CNN of the original: training from whole batches was between one and two times as fast as row by row, although the loader alone was more than fifty times as fast ([measured](../../book/en/performance.md)). A fast loader saves most time with a small model, or on a GPU.
#
# Beside a GPU even eight cores are too slow for a small network. There the windows can be computed on the GPU itself: `samples.Loader(…, place="device")` sends the columns of the table to it once, and makes the same batches from row numbers and the seed. `training.fit` does that where it finds a GPU.
#
# :::{admonition} Exercise 5
# :class: exercise
# Suppose that a GPU computes ten times as fast and loading does not change. Compute the verdicts again. How many samples a second must a loader give for a step of 1 ms with a batch of 1,024?
# :::

# %% tags=["hide-cell"]
# Solution. This is without prefetch: waiting and computing add up. With
# prefetch they overlap, and a step takes as long as the longer of the two.
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(row_ms.iloc[0], row_ms.iloc[1] / 10)}")
print(f"needed: {1024 / 0.001:,.0f} samples a second")

# %% [markdown]
# ## 13. What the original loader teaches
#
# A public copy of the scripts of 2024 has defects that gave no error message. Each cell shows some of them.

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
# Steps counted from the first image: a gap at the start disappears.
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
    print(f"{code} {cdl.name(code)}: {[*delta.names(), 'left out'][k]}")
assert delta.classes_of(np.array([26]))[0] == -1
assert delta.keys[delta.classes_of(np.array([21]))[0]] == "cultivated"

# %% [markdown]
# | defect | what it did | what prevents it here |
# |---|---|---|
# | the 'random' image was always the earliest | fewer different samples than expected, and a bias to early dates | a test counts the draws |
# | `squeeze` on one image | the test parser crashed on some pixels | shapes are stated and tested |
# | steps from the first image | a late season looked like an early one | steps count from the window's start |
# | 120 // 5 + 1 steps | one step lies outside the window | `season.steps` |
# | double crops in the test | rows with two right answers were scored as if they had one | left out by code, in all sets |
# | a class for all other names | Barley became 'Uncultivated' | an unknown code is an error |
# | a batch of 1,028 where 1,024 was meant | no harm: it works, and nobody noticed | nothing needed |
#
# In nearly all cases the program ran without an error. Only a check of what *should* be true finds such mistakes. Therefore this lab has so many asserts.
#
# ## What you have learnt
#
# - The order is list → read → filter → shuffle → map → batch → prefetch. Filter early, mix rows before they become batches, put random steps after any cache, and prefetch last.
# - A window puts irregular images on regular steps that count from its start; random starts and images make many samples of one row; a test loader draws nothing at random.
# - Compute the statistics first, from seen values of training rows. Then a zero equals the mean, and `seen` says which steps had an image.
# - The class of a sample depends on its window: the vegetation rule makes 'No Crops Growing'.
# - Split by year and block, or you cannot trust the score.
# - Whole batches load faster than rows. A stopwatch shows whether the loader or the model is the limit.
#
# ## What if …
#
# - **… the table is larger than memory?** Give `samples.batches` the path instead of the table: it then reads parts of the table, and shuffles within a buffer.
# - **… I use PyTorch or scikit-learn?** `samples.arrays` gives the same batches as NumPy, `samples.sequence` as a Keras `PyDataset`.
# - **… I want steps of 10 days, or 60 days in all?** Change `[season]` in the study file; the figure in section 4 shows what you gain and lose.
# - **… I do not want zeros?** Try `fill="linear"` or `choose="median"`, and compare the scores on the *validation* set; use the test set once, at the end. Pass `extras=("seen",)` as well.
# - **… my classes differ?** Change the legend. The table does not change, since it holds codes.
# - **… I have only one year?** Split by block alone (`by="block"`), and state with the score that training and test had the same weather.
# - **… a class is rare?** With `extras=("weight",)` each class counts the same in the loss. But weights add no new fields.
