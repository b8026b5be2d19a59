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
# **Question.** How does a table of irregular series, one byte string a pixel, become batches that a network can eat, fast enough and without fooling yourself?
#
# **Product.** A *data loader*: it draws windows, puts images on a regular calendar, normalises, labels, and hands over batches. Lab 3 trains a model with it.
#
# **You will be able to**
# - name the steps of an input pipeline, and say why they stand in this order;
# - turn byte strings back into arrays, and irregular dates into regular steps;
# - say what the fill of an empty step means, and why the statistics come first;
# - derive 'No Crops Growing' from the scene classes, and change the legend to your own;
# - split by year and by block, and show how a random split lies;
# - measure which trick makes a loader faster, and whether training waits for it.
#
# **Time.** About 40 minutes. **You need** Lab 1 or its idea of a pixel table, and Python. TensorFlow is explained as it comes.
# :::
#
# The beat is that of Lab 1. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.

# %%
import os

# TensorFlow reports on processors and libraries at work. This leaves errors
# (and its very first line); take it out to see everything.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    course = "git+https://github.com/crop-maps-at-scale/crop-maps-at-scale"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[labs,train] @ {course}"'
    )

from arsetlib import check_env

check_env()

# %% [markdown]
# ## 1. Take the table of Lab 1
#
# If Lab 1 has run on this machine, its table is read where Lab 1 left it. If not, the cell makes the same table, without Spark: that takes a few minutes once.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing you see here was measured by a satellite: it is the simulated delta of Lab 1. Pictures of it say *simulated*. The times are real, and your machine's own.
# :::

# %%
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from arsetlib import cdl, maps, pixels, samples, sentinel2, simulate
from arsetlib.catalogue import find_scenes
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.study import Class, Season, Study

source = "simulated"  # or the study file of a table that you have made

SMALL = os.environ.get("ARSET_SCALE") == "small"  # tests run a toy
BARS = os.environ.get("ARSET_BOOK") != "1"  # the book's pages do not move
CHECKOUT = Path("../../pyproject.toml").exists()
DATA = Path(
    os.environ.get("ARSET_DATA") or ("../../data" if CHECKOUT else "data")
)

if source == "simulated":
    delta = DATA / ("delta-toy" if SMALL else "delta")
    if not (delta / "_manifest.json").exists():
        print(f"Making the simulated delta in {delta} …")
        simulate.delta(delta, scale=0.05 if SMALL else 1.0, progress=BARS)
    study = Study.load(delta / "study.toml")
    if SMALL:  # two areas, but every pixel of them
        study = study.replace(areas=study.areas[-2:], block_m=120)
else:
    study = Study.load(source)

work = DATA / f"lab1-{study.key}-{study.fingerprint()}"
if not (work / "pixels").exists():
    print("Lab 1 has left no table here: making it …")
    scenes = find_scenes(study, cache=work / "items.json", progress=BARS)
    labels = {
        y: find_labels(study, y, cache=DATA / "labels", progress=BARS)
        for y in study.years
    }
    every = 1 if SMALL else None
    ingest(study, scenes, labels, work / "pixels", every=every, progress=BARS)

table = pixels.read(work / "pixels").combine_chunks()
print(f"{study.title()}: {table.num_rows:,} rows, years {study.years}")
print(f"simulated: {study.simulated}")
assert set(study.years) == set(table["year"].to_pylist())

# %% [markdown]
# ## 2. The order of a pipeline
#
# A loader is a chain of small steps. `tf.data` writes each as one call, and runs them lazily: nothing happens until somebody asks for a batch.
#
# | step | what it does | why here |
# |---|---|---|
# | list files | find the table's parts | order of files can be shuffled cheaply |
# | read | rows, still as byte strings | lazily if the table is larger than memory |
# | `filter` | leave out rows without one right answer | before work is spent on them |
# | `shuffle` | mix rows in a buffer | rows in bytes are smaller than parsed ones, and batches must be mixed *before* they are batches |
# | `map(parse)` | bytes → window → numbers and label | the expensive step; random, so it stands after anything kept |
# | `batch` | stack samples | a model works on many at once |
# | `prefetch` | prepare the next batch during the current one | last, so that it covers all before it |
#
# First the rows, as TensorFlow strings. A row knows its label code, its year's first day, and three byte strings.

# %%
first_of_year = pd.to_datetime(table["year"].to_numpy(), format="%Y")
columns = {
    name: np.array(table[name].to_pylist(), object)
    for name in ("day", "scl", "bands", "area")
}
columns |= {
    "code": table["label_code"].to_numpy(),
    "new_year": first_of_year.to_numpy().astype("datetime64[D]").astype("i4"),
}
print(f"{len(pixels.files(work / 'pixels'))} files are listed and read")
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


def has_one_crop(row):
    return ~tf.reduce_any(row["code"] == np.array(cdl.DOUBLE_CROPS, "i2"))


calls = {}
orders = {
    "filter, then map": rows.filter(has_one_crop).map(costly),
    "map, then filter": rows.map(costly).filter(has_one_crop),
}
for order, dataset in orders.items():
    parsed.assign(0)
    kept = sum(1 for _ in dataset)
    calls[order] = int(parsed.numpy())
    print(f"{order}: {calls[order]:,} rows parsed for {kept:,} kept")

mixed = rows.shuffle(len(rows), seed=1).batch(64)
lumpy = rows.batch(64).shuffle(10, seed=1)
areas_in = {
    "shuffle, then batch": len(set(next(iter(mixed))["area"].numpy())),
    "batch, then shuffle": len(set(next(iter(lumpy))["area"].numpy())),
}
print("areas in the first batch:", areas_in)
assert calls["filter, then map"] <= calls["map, then filter"]
assert areas_in["batch, then shuffle"] <= areas_in["shuffle, then batch"]

# %% [markdown]
# Filtered late, a row is parsed only to be thrown away. Shuffled late, a batch stays a lump of neighbours, since the table is sorted by place: the model would see one field after another, and forget each in turn.
# How large the buffer must be is a question for section 11.
#
# ## 3. Bytes to arrays
#
# `tf.io.decode_raw` reads a byte string as numbers of the type that you name. It returns one long row of them; the shape is yours to restore.
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


day, scl, bands = decode(one)
print(f"days {day.shape}, scene classes {scl.shape}, bands {bands.shape}")
print(f"bytes: {day.shape[0]} × {C} × 2 = {len(one['bands'].numpy())}")
for mine, theirs in zip(
    (day, scl, bands), pixels.series(table, 0), strict=True
):
    assert np.array_equal(mine, theirs)

# %% [markdown]
# Three lines, and the same arrays as the library's. `decode_raw` takes the low byte first unless told otherwise; the original course's files need `little_endian=False`.
# The number of images differs from row to row, so rows do not stack into a batch. That is what the window is for.
#
# ## 4. The window: a regular calendar
#
# A *window* is a stretch of days cut into equal *steps*. Each image falls into the step of its date. A step with several images takes one of them, a step with none stays empty.
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
        here = np.flatnonzero((day >= begin) & (day < end))
        if len(here):
            taken[step] = take(here)
            x[step] = bands[taken[step]]
    return x, taken


def first(here):
    return here[0]


toy = Season(window_days=45, step_days=5)
toy_day = np.array([2, 3, 11, 12, 14, 30, 44, 45])
toy_bands = 100 * np.arange(1, 9)[:, None]  # one band, to tell images apart
x, taken = window_by_hand(toy_day, toy_bands, 0, toy, first)
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
maps.show(steps, "A window of 45 days in steps of 5 days, first image taken")

assert toy.steps == 9
assert (taken < 0).sum() == 5
assert 45 not in toy_day[taken[taken >= 0]]  # day 44 is the last

# %% [markdown]
# Now a real case of the table: half a year, 180 days in steps of 5, of a pixel with 38 images in that time (in the toy table of the tests, with about as many).

# %%
long = Season(window_days=180, step_days=5)
flat = pixels.ragged(table)
since = flat.day - columns["new_year"][flat.rows]  # days since 1 January
summer = (since >= 75) & (since < 75 + long.window_days)
images = np.bincount(flat.rows[summer], minlength=table.num_rows)
row = int(np.abs(images - 38).argmin())

day, scl, bands = pixels.series(table, row)
start = columns["new_year"][row] + 75
x, taken = window_by_hand(day, bands, start, long, first)
ndvi = maps.ndvi(
    bands[:, study.bands.index("red")], bands[:, study.bands.index("nir")]
)
title = f"{images[row]} images, {long.window_days} days, {long.steps} steps"
maps.show(
    maps.calendar(day, ndvi, long, start, taken, study=study, title=title),
    "NDVI of a pixel's images, and below which steps of 5 days have one",
)

filled = (taken >= 0).sum()
print(f"{filled} steps with an image, {long.steps - filled} empty")
print(f"{images[row] - filled} images not taken")
assert long.steps == 36
assert filled < min(images[row], long.steps)

# %% [markdown]
# More images than steps, and yet empty steps: clouds are clustered in time, and two orbits can pass in one step. No choice of step avoids both.
# Short steps keep more dates and leave more gaps; long steps fill, and blur when something happened. Five days is the beat of the two satellites together.
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
maps.show(pd.DataFrame(tried, columns=names), "The step's width, tried")

# %% [markdown]
# ### The library's window
#
# Write it once, then let go: the library does the same for all rows at once.

# %%
years = table["year"].to_numpy()
starts = samples.start_days(years, 76)  # 16 or 17 March

samples.window(flat, long, starts[:1], rows=[0])  # compiles it, once
began = time.perf_counter()
windows = samples.window(flat, long, starts, choose="first")
library_ms = 1000 * (time.perf_counter() - began) / table.num_rows
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
# In training two things are drawn anew each time a row is read: the day on which the window starts, and the image that a crowded step takes.
# One row is then many samples. The model meets a field at all stages, and through many different gaps, as it will when it is used in mid-season.
#
# :::{admonition} Predict
# :class: predict
# A step holds three images. Over thousands of draws, how often is each taken?
# :::

# %%
rng = np.random.default_rng(study.seed)
step_of = (day.astype(int) - start) // long.step_days
crowded = Counter(step_of[step_of >= 0].tolist()).most_common(1)[0][0]
here = np.flatnonzero(step_of == crowded)
draws = Counter(int(rng.choice(here)) for _ in range(3000))
share = pd.DataFrame(
    {
        "date": [str(np.datetime64(int(day[i]), "D")) for i in here],
        "drawn at random, %": [draws[i] / 30 for i in here],
        "the original loader, %": [100.0 * (i == first(here)) for i in here],
    }
)
maps.show(share, "How often each image of the most crowded step is taken")

even = 100 / len(here)
assert np.allclose(share["drawn at random, %"], even, atol=5)

# %% [markdown]
# Equally often, if you draw. The original notebooks said 'one at random', and in fact always took the earliest: nobody had counted. A random step in a program needs a test that counts.
#
# The same row, drawn four times by the library, each time with another start and other images:

# %%
season = study.season
keys = samples.keys_of(table["pixel"].to_numpy(), years)
red, nir = study.bands.index("red"), study.bands.index("nir")


def draw(epoch):
    """The row's window in an epoch: its start, and what it holds."""
    begin = samples.start_days(
        years[row],
        samples.draw_starts(keys[[row]], season, study.seed, epoch),
    )
    return samples.window(
        flat, season, begin, seed=study.seed, epoch=epoch,
        keys=keys[[row]], rows=[row],
    )  # fmt: skip


fig = maps.figure("One row, drawn four times", "date", "NDVI", study=study)
for epoch in range(4):
    w = draw(epoch)
    dates = (w.start[0] + 5 * np.flatnonzero(w.seen[0])).astype("M8[D]")
    values = maps.ndvi(w.x[0, :, red], w.x[0, :, nir])[w.seen[0]]
    fig.add_scatter(
        x=dates, y=values.round(3) + epoch, mode="lines+markers",
        name=f"epoch {epoch}: {w.seen.sum()} steps seen",
        line={"dash": maps.DASHES[epoch]},
    )  # fmt: skip
fig.update_yaxes(title="NDVI, each draw 1 higher")
maps.show(fig, "NDVI of four windows drawn from one row")

assert np.array_equal(draw(3).x, draw(3).x), "a seed must repeat its draw"
assert not np.array_equal(draw(2).x, draw(3).x)

# %% [markdown]
# ## 6. Zeros and the mean
#
# A network wants numbers of about the same size, so each band is *normalised*: `(x − mean) / standard deviation`. And empty steps must hold some number. Both meet in one question of order.
#
# :::{admonition} Predict
# :class: predict
# Empty steps hold 0. You compute the mean per band over all windows, zeros included. Is it too high or too low? And if you leave them out, what does a 0 mean after normalising?
# :::

# %%
sides = samples.split(table, study)  # section 9 says how, and why
train = sides["train"]
values = pixels.ragged(train.read()).bands.astype(float)  # (N, C)
values[values == 0] = np.nan  # no data is no value
mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)

scaler = samples.Scaler.fit(train)
assert np.allclose(scaler.mean, mean)
assert np.allclose(scaler.std, std)

drawn = samples.window(
    flat, season, starts[train.index], rows=train.index, scaler=scaler
)
raw = samples.window(flat, season, starts[train.index], rows=train.index)
compared = pd.DataFrame(
    {
        "band": study.bands,
        "mean of what was seen": mean,
        "mean with empty steps as 0": raw.x.mean((0, 1)),
        "standard deviation": std,
    }
)
maps.show(compared, "Statistics of the training rows, reflectance × 10,000")
print(f"{1 - drawn.seen.mean():.0%} of the steps are empty")

assert (raw.x.mean((0, 1)) < mean).all()
assert (drawn.x[~drawn.seen] == 0).all()

# %% [markdown]
# With the empty steps counted, every mean is too low. So: first the statistics, of seen values alone; then scale; and leave empty steps at 0.
# A 0 now says 'the mean', which pulls to neither side. That answers a question learners ask often: the zeros do not shift the mean, because they come after it.
# Statistics come from *training* rows only. Those of the test would be a leak, if a small one.
#
# Here is every band before and after. A box holds the middle half of the values; its whiskers reach from the 5th to the 95th percentile.
# %%
scaled = scaler.transform(np.nan_to_num(values))
panels = {
    "before: reflectance × 10,000": values,
    "after: no unit": scaled,
}
maps.show(
    maps.spreads(panels, study.bands, study=study),
    "Spread of each band's values before and after normalising",
)

there = ~np.isnan(values).any(axis=1)
assert np.allclose(scaled[there].mean(axis=0, dtype=float), 0, atol=1e-2)
assert np.allclose(scaled[there].std(axis=0, dtype=float), 1, atol=1e-2)
scaler.save(work / "scaler.json")  # Lab 3 must scale new scenes alike
assert samples.Scaler.load(work / "scaler.json") == scaler

# %% [markdown]
# Before, a network would hear the near infrared several times louder than the blue. After, all bands speak alike, and no information is lost: `scaler.inverse` goes back.
# A scaler belongs to its model, so it is saved beside it.
#
# ### Other fills
#
# Zero is the simplest fill, not the only one. The library offers the last value seen, a line between neighbours, and the median of all images of a step in place of one.
#
# :::{admonition} Predict
# :class: predict
# You predict in the middle of the season. Which fill looks into the future?
# :::

# %%
begin = starts[row]
w = {
    name: samples.window(flat, season, begin, rows=[row], scaler=scaler, **how)
    for name, how in {
        "zeros": {"choose": "first"},
        "last": {"choose": "first", "fill": "last"},
        "linear": {"choose": "first", "fill": "linear"},
        "median of a step": {"choose": "median"},
    }.items()
}
fig = maps.figure(
    "Four fills of one window", "step of 5 days", "near infrared, scaled",
    study=study,
)  # fmt: skip
for i, (name, one) in enumerate(w.items()):
    fig.add_scatter(
        x=np.arange(season.steps), y=one.x[0, :, nir].round(3), name=name,
        mode="lines", line={"dash": maps.DASHES[i]},
    )  # fmt: skip
seen = w["zeros"].seen[0]
fig.add_scatter(
    x=np.flatnonzero(seen), y=w["zeros"].x[0, seen, nir], name="seen",
    mode="markers", marker={"size": 9, "color": "black"},
)  # fmt: skip
maps.show(fig, "Scaled near infrared of one window under four fills")

for one in w.values():
    assert np.array_equal(one.seen[0], seen), "a fill is never 'seen'"
for name in ("last", "linear"):
    assert np.array_equal(w[name].x[0, seen], w["zeros"].x[0, seen])

# %% [markdown]
# The first three agree where something was seen; the median blends all images of a step, so it may differ. Between, zeros jump to the mean, 'last' holds on, the line glides, and by that needs the *next* image: inside a window that is allowed, since all of it lies in the past.
# Whatever you choose, `seen` keeps the truth: a model can be told which steps were filled, and zero is never read back as 'missing'.
#
# :::{admonition} Exercise 2
# :class: exercise
# Fit a scaler to the *test* rows as well and compare. By how many standard deviations does the mean of each band move from 2021 to 2019? What would it mean if it moved by a whole one?
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
# A label says what was harvested on a pixel in a year. In January that field is bare, and a model asked then should not have to guess. So the class depends on the *window*:
# a crop counts as such if vegetation (SCL 4) was seen in at least one of the last two images of the window; otherwise the row is 'No Crops Growing'.
# The rule is for crops only: a forest or a town stays 'Uncultivated' all year.
#
# :::{admonition} Predict
# :class: predict
# Why two images and not just the last one? And what will the rule say while seedlings are still small?
# :::


# %%
def grows(day, scl, start, season):
    """Is one of the last two images of the window vegetation?"""
    inside = (day >= start) & (day < start + season.window_days)
    return bool((scl[inside][-2:] == sentinel2.VEGETATION).any())


classes = study.legend.classes_of(table["label_code"].to_numpy())
is_crop = np.array([c.crop for c in study.legend.classes])[classes]
candidates = np.flatnonzero(is_crop & (classes >= 3))
field = int(candidates[np.diff(flat.offsets)[candidates].argmax()])
day, scl, bands = pixels.series(table, field)

ends = columns["new_year"][field] + np.arange(40, 340, 5)
starts_of = ends - season.window_days + 1  # a window's last day is its end
w = samples.window(
    flat, season, starts_of, rows=np.full(len(ends), field), choose="first"
)
named = samples.apply_vegetation_rule(
    np.full(len(ends), classes[field]), w.vegetation, study.legend
)
maps.show(
    maps.verdicts(day, scl, bands, ends, named, study=study),
    "NDVI by scene class, and the class of a window by its last day",
)

by_hand = [grows(day, scl, s, season) for s in starts_of]
assert np.array_equal(by_hand, w.vegetation)
assert {0, int(classes[field])} == set(named.tolist())

# %% [markdown]
# The strip shows the class by the window's *last* day. In the season it carries the label. Before and after it is mostly 'No Crops Growing', with exceptions: weeds are vegetation to SCL, too, and a cloud's shadow is not.
# Two images are a tolerance, so that one miss does not end a season. The rule still starts late, since SCL does not see seedlings, and ends early, when leaves turn. It is a convention, and a score depends on it: say which one you used.
#
# ## 8. Classes
#
# The label is still a code of the Cropland Data Layer. Now the *legend* folds codes into classes, and *one-hot* turns a class into a vector with a single 1, which a network's output can be compared with.
#
# :::{admonition} Predict
# :class: predict
# The slides of the original course say 'six classes' in some places. Count those of the table below. Which one holds no code at all, and how can it then have samples?
# :::

# %%
K = len(study.legend.classes)
one_hot = np.eye(K, dtype=np.float32)  # row k is the vector of class k
legend = pd.DataFrame(
    {
        "class": study.legend.names(),
        "codes": [len(c.codes) for c in study.legend.classes],
        "rows by label": [int((classes == k).sum()) for k in range(K)],
        "one-hot": [" ".join(f"{v:.0f}" for v in r) for r in one_hot],
    }
)
maps.show(legend, "The legend: classes, how many codes each has, one-hot")
print(f"left out as double crops: {(classes < 0).sum()} rows")

some = classes[classes >= 0][:50]
assert K == 7
assert np.array_equal(tf.one_hot(some, K), one_hot[some])
assert study.legend.classes[0].codes == ()  # made by the vegetation rule
assert study.legend.classes_of(cdl.DOUBLE_CROPS).max() == -1

# %% [markdown]
# Seven, and 'No Crops Growing' comes from the rule of section 7. The *order* is a convention, too: the slides and the code of the original have two different ones. A model's output number 3 means nothing without its legend, so keep both together.
# Codes are compared as numbers, and each must be in a class or be left out on purpose; an unknown code is an error. So Barley cannot slip into 'Uncultivated', as it did in the original, whose last class took all that was forgotten.
#
# :::{admonition} Exercise 3
# :class: exercise
# Your client asks one question: rice or not? Make a legend of three classes, 'No Crops Growing', 'Rice', 'All else', and count its rows. `codes="others"` takes every code named nowhere else.
# :::

# %% tags=["hide-cell"]
# Solution
bare, rice = study.legend.classes[0], study.legend.classes[6]
rest = Class("rest", {"en": "All else"}, "#93cc93", "others", crop=False)
mine = replace(study.legend, name="rice or not", classes=(bare, rice, rest))
counts = Counter(mine.classes_of(table["label_code"].to_numpy()).tolist())
print({[*mine.names(), "left out"][k]: n for k, n in sorted(counts.items())})
# A class with crop=False is left alone by the vegetation rule. Should bare
# soil before cotton be 'All else'? For this question it may be.

# %% [markdown]
# ### Balance
#
# :::{admonition} Predict
# :class: predict
# With starts drawn from January to July, which class becomes the largest in training?
# :::


# %%
def shares(rows, rule):
    """Percent of each class, windows drawn at random."""
    begin = samples.start_days(
        years[rows.index],
        samples.draw_starts(keys[rows.index], season, study.seed),
    )
    w = samples.window(flat, season, begin, rows=rows.index)
    k = classes[rows.index]
    if rule:
        k = samples.apply_vegetation_rule(k, w.vegetation, study.legend)
    return 100 * np.bincount(k[k >= 0], minlength=K) / (k >= 0).sum()


balance = pd.DataFrame(
    {"train, labels alone": shares(train, rule=False)}
    | {side: shares(rows, rule=True) for side, rows in sides.items()},
    index=study.legend.names(),
).T
maps.show(
    maps.bars(
        balance, "Class balance", "percent of samples", study=study,
        colours=study.legend.colours, text=".0f",
    ),
    "Share of each class in training, validation and test",
)  # fmt: skip

assert balance.loc["train, labels alone"].iloc[0] == 0
assert balance.loc["train"].iloc[0] > 0
assert np.allclose(balance.sum(axis=1), 100)

# %% [markdown]
# The rule moves many samples into one class, and leaves few to 'Cultivated'. A model that always answers with the largest class already scores its share, so accuracy alone tells little.
# One remedy is to weight samples, so that each class counts alike in the loss; `samples.batches` can hand out such weights. Another is a score that looks at each class, as Lab 3 does.

# %% [markdown]
# ## 9. Split, and how a random one lies
#
# A model is judged on rows that it has not seen. But two pixels of one field are nearly the same row, and so is one pixel in two years. Deal rows at random and each test row finds its neighbour in training.
# `samples.split` cuts by year (train 2021, validation 2020, test 2019) *and* by block, squares of ground that stay together.

# %%
here = {side: rows.index for side, rows in sides.items()}
fig = maps.figure(
    "Blocks by side", "east, km", "north, km", study=study, height=520
)
x, y = table["x"].to_numpy() / 1000, table["y"].to_numpy() / 1000
for side, colour, symbol in zip(
    here, maps.LINES, ("square", "diamond", "circle"), strict=False
):
    fig.add_scatter(
        x=x[here[side]].round(2), y=y[here[side]].round(2), mode="markers",
        name=f"{side}, {study.split[side][0]}: {len(here[side]):,} rows",
        marker={"color": colour, "symbol": symbol, "size": 4},
    )  # fmt: skip
fig.update_yaxes(scaleanchor="x", showgrid=False, tickformat=".1~f")
fig.update_layout(legend_itemsizing="constant")
maps.show(fig, "Where rows of training, validation and test lie; north is up")

for pair, common in samples.shared(sides).items():
    print(pair, {noun: len(found) for noun, found in common.items()})
    assert len(common["block"]) == len(common["year"]) == 0

# %% [markdown]
# Nothing is shared: no year, no block, no pixel. A block shows up only in the year of its side. Its rows of the other years are in no side, and that is the price of an honest test.
#
# Why 2021 for training and 2019 for the test? In use, a model predicts a year that it has never seen, and years are taken to be exchangeable. So the other way round must work as well: try it.
#
# :::{admonition} Predict
# :class: predict
# Train one small network three times, on equally many rows: dealt at random, dealt by year, dealt by year and block. Which gets the best score on its own test? Which score would you promise a client?
# :::

# %%
import warnings

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
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def score(sides, rows):
    """Train on so many rows, return the accuracy on the test side."""
    rng = np.random.default_rng(study.seed)
    scaler = samples.Scaler.fit(sides["train"])
    may = samples.start_days(years, 121)  # the summer, the same for all
    xy = {}
    for side in ("train", "test"):
        i = sides[side].index[classes[sides[side].index] >= 0]
        i = rng.permutation(i)[:rows] if side == "train" else i
        w = samples.window(
            flat, season, may[i], rows=i, scaler=scaler, choose="first"
        )
        xy[side] = w.x, classes[i].astype(int)
    model = network()
    epochs = 3 if SMALL else 15
    model.fit(*xy["train"], epochs=epochs, batch_size=64, verbose=0)
    return model.evaluate(*xy["test"], verbose=0)[1]


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    dealt = {
        "at random": samples.random_split(table, seed=study.seed),
        "by year": samples.split(table, study, by="year"),
        "by year and block": sides,
    }
print(next(w.message for w in said if w.category is samples.LeakWarning))
equal = min(len(s["train"]) for s in dealt.values())
scores = pd.Series({name: score(s, equal) for name, s in dealt.items()})
maps.show(
    maps.bars(
        100 * scores,
        "One network, three splits",
        "test accuracy, %",
        study=study,
    ),
    "Test accuracy of the same network for three ways to split",
)

if not SMALL:  # a toy's test has too few rows for such a claim
    assert scores["at random"] > scores["by year and block"] + 0.03

# %% [markdown]
# The same network, as many rows, and the random split promises much more than the honest ones keep. Nothing in the training run warns you: the lie sits in the choice of rows.
# The difference is what the model knew by heart, of these fields and of this year's weather. See which of the two mattered more here.
#
# :::{admonition} Exercise 4
# :class: exercise
# Swap the years: train on 2019, test on 2021, by year and block. `study.replace(split=…)` gives a study with other years. Are years exchangeable?
# :::

# %% tags=["hide-cell"]
# Solution
swapped = study.replace(
    split={"train": (2019,), "validation": (2020,), "test": (2021,)}
)
back = score(samples.split(table, swapped), equal)
print(f"2021 → 2019: {scores['by year and block']:.3f}")
print(f"2019 → 2021: {back:.3f}")
# Two years are two samples. Say 'about alike' or 'not alike', and get more.

# %% [markdown]
# ## 10. The whole pipeline
#
# Now put the pieces together, first by hand: one row in, one sample out, in TensorFlow's own operations. With `start=None` it draws a start and images at random; with a start it takes the first image, for comparing.

# %%
T = season.steps
known = np.unique(columns["code"])
class_of = np.full(known.max() + 1, -1, "i4")  # code → class
class_of[known] = study.legend.classes_of(known)
crop = tf.constant([c.crop for c in study.legend.classes])


def label(row, scl, inside):
    """Class, one-hot, after the vegetation rule."""
    k = tf.gather(class_of, tf.cast(row["code"], tf.int32))
    last_two = tf.boolean_mask(scl, inside)[-2:]
    bare = tf.gather(crop, k) & ~tf.reduce_any(last_two == sentinel2.VEGETATION)
    return tf.one_hot(tf.where(bare, 0, k), K)


def parse(row, start=None):
    """One row → x (T, C), scaled, and y (K,)."""
    day, scl, bands = decode(row)
    order = tf.range(tf.size(day))
    if start is None:
        order = tf.random.shuffle(order)
        days = season.first_day, season.last_day + 1
        start = tf.random.uniform([], *days, tf.int32)
    since = tf.cast(day, tf.int32) - (row["new_year"] + start - 1)
    inside = (since >= 0) & (since < season.window_days)
    step = tf.where(inside, since // season.step_days, -1)
    step = tf.gather(step, order)
    place = tf.math.unsorted_segment_min(tf.range(tf.size(day)), step, T)
    seen = place < tf.size(day)  # an empty step has the largest integer
    image = tf.gather(order, tf.where(seen, place, 0))
    x = (
        tf.cast(tf.gather(bands, image), tf.float32) - scaler.mean
    ) / scaler.std
    return tf.where(seen[:, None], x, 0.0), label(row, scl, inside)


x, y = parse(next(iter(rows)), start=121)
print(f"x {x.shape}, {x.dtype.name}; y {y.numpy().astype(int)}")
assert x.shape == (T, C)
assert tf.reduce_sum(y) == 1


# %%
BATCH = 256
test = sides["test"]
some = {name: values[test.index] for name, values in columns.items()}
mine = (
    tf.data.Dataset.from_tensor_slices(some)
    .filter(has_one_crop)
    .map(lambda row: parse(row, start=121))
    .batch(BATCH)
)
theirs = samples.batches(
    test, study, scaler, batch=BATCH, start=121, choose="first"
)
for (x, y), (lib_x, lib_y) in zip(mine, theirs, strict=True):
    assert np.allclose(x, lib_x, atol=1e-4)
    assert np.array_equal(y, lib_y)
print(f"{len(theirs)} batches agree; the first: x {x.shape}, y {y.shape}")

for (x, _), (same, _) in zip(theirs, theirs, strict=True):
    assert np.array_equal(x, same), "a test loader must repeat itself"

options = {"batch": BATCH, "seed": 1, "shuffle": False}  # random draws
one_by_one = samples.row_by_row(train, study, scaler, **options)
at_once = samples.arrays(train, study, scaler, **options)
for (x, _), (lib_x, _) in zip(one_by_one, at_once, strict=True):
    assert np.allclose(x, lib_x, atol=1e-4), "the same draws, another x"

# %% [markdown]
# By hand or by the library's one call, the test batches are the same, and they are the same each time. In training the library draws start and images from a hash of seed, epoch and pixel, so that a seed gives the same samples on any number of threads; `samples.row_by_row`, the library's own copy of this pipeline, makes the very same ones.
#
# ## 11. What makes it faster?
#
# :::{admonition} Predict
# :class: predict
# Rank these by what you think they bring: a parallel `map`; `prefetch`; `cache` after `map`; treating a whole batch at once in place of row by row.
# :::

# %%
some = {name: values[train.index] for name, values in columns.items()}
base = tf.data.Dataset.from_tensor_slices(some).filter(has_one_crop)
base = base.shuffle(10 * BATCH, seed=1)
AUTO = tf.data.AUTOTUNE
cached = base.map(parse, num_parallel_calls=AUTO).cache()
whole = samples.batches(train, study, scaler, batch=BATCH, seed=1)
pipelines = {
    "row by row": base.map(parse).batch(BATCH),
    "+ parallel map": base.map(parse, num_parallel_calls=AUTO).batch(BATCH),
    "+ prefetch": base.map(parse, num_parallel_calls=AUTO)
    .batch(BATCH)
    .prefetch(AUTO),
    "cached after map": cached.batch(BATCH),
    "whole batches (library)": whole,
}


def rate(dataset):
    """Samples a second over one pass."""
    began = time.perf_counter()
    count = sum(len(y) for _, y in dataset)
    return count / (time.perf_counter() - began)


def median_rates(pipelines, passes=3):
    """Each measured in turn, so that a busy machine is fair to all."""
    for dataset in pipelines.values():
        rate(dataset)  # the first pass also builds the graph
    measured = [
        {n: rate(d) for n, d in pipelines.items()} for _ in range(passes)
    ]
    return pd.DataFrame(measured).median()


rates = median_rates(pipelines)
maps.show(
    maps.bars(rates, "Nothing but loading", "samples/s"),
    "Samples a second of five pipelines without a model",
)

if not SMALL:  # a toy is too small to time
    assert rates["whole batches (library)"] > 3 * rates["row by row"]


# Are the draws new in each epoch? Eight rows, three ways.
few = tf.data.Dataset.from_tensor_slices(some).take(8)
three_ways = {}
for name, seed in (("as is", None), ("cached", None), ("seeded", 1)):
    tf.random.set_seed(seed)
    three_ways[name] = few.map(parse)
three_ways["cached"] = three_ways["cached"].cache()
frozen = {}
for name, dataset in three_ways.items():
    one, two = (np.stack([x for x, _ in dataset]) for _ in range(2))
    frozen[name] = np.array_equal(one, two)
print("second epoch like the first?", frozen)
assert frozen == {"as is": False, "cached": True, "seeded": True}

# %% [markdown]
# A parallel map helps up to the number of free cores. Prefetch has little to overlap with, as no model works meanwhile. Handling whole batches wins, because row by row most of the time goes into calling small operations, not into the numbers.
#
# And `cache`? After `map` it is fast and wrong: it keeps the first draws, and each epoch is the first again, as the last line shows. Random steps belong *after* a cache. Caching the byte strings, before `map`, is right, and saves only the reading.
# The same line shows a trap that few know: once a global seed is set, TensorFlow's random operations inside `map` *also* start again in each epoch. The library's draws hang on seed *and* epoch, so they can be repeated and still differ.
#
# ### How large a shuffle?
#
# `shuffle` fills a buffer and draws from it. Rows come sorted by area, so a small buffer mixes neighbours with neighbours.
#
# :::{admonition} Predict
# :class: predict
# The original takes ten batches' worth. Is that enough here, and what does a larger buffer cost?
# :::

# %%
ids = tf.data.Dataset.from_tensor_slices(train.column("block"))
sizes = {
    "none": 1,
    "one batch": BATCH,
    "ten batches": 10 * BATCH,
    "all rows": len(train),
}
mixed = {}
for name, size in sizes.items():
    drawn = ids.shuffle(size, seed=study.seed).batch(BATCH)
    mixed[name] = len(np.unique(next(iter(drawn))))
mixed = pd.Series(mixed, name="blocks")
maps.show(
    maps.bars(
        mixed,
        "How mixed is the first batch?",
        "blocks in it",
        study=study,
        text="d",
    ),
    "Number of blocks in the first batch for four sizes of the shuffle buffer",
)
row_mb = len(next(iter(rows))["bands"].numpy()) / 1e6
held = {name: round(size * row_mb, 1) for name, size in sizes.items()}
print("megabytes in the buffer, about:", held)

assert mixed["none"] <= mixed["one batch"] <= mixed["all rows"]

# %% [markdown]
# Ten batches are nearly this whole side, so here they suffice; of a table a hundred times as long they would hold a few fields. A buffer as large as the table mixes perfectly, and holds it all in memory. Where it does not fit, shuffle twice: the *files* (or row groups), which costs nothing, and then the rows of a few of them in a buffer. `samples.batches` does so when it streams.
# That is also what `interleave` is for: it reads from several files in turn. `flat_map` reads one after the other.
#
# ## 12. Who waits for whom?
#
# A loader is fast enough when the model never waits for it. TensorFlow's profiler answers that in TensorBoard. The slides of the original show its page: an average step of 30.1 ms, of which 25.2 ms input (83.9 %), and the verdict 'your program is HIGHLY input-bound' ([source](../../book/en/bibliography.md)).
#
# The page needs the plug-in `xprof` and a browser, which not every platform has. The question needs only a stopwatch: how long does a step wait for its batch, and how long does it work? The verdict's limits are the profiler's own: from 5 % *moderately*, from 20 % *highly* input-bound.
#
# :::{admonition} Predict
# :class: predict
# On a graphics card the model's part shrinks to a tenth. What happens to the share of waiting?
# :::


# %%
def step_times(dataset, steps=12 if SMALL else 40):
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


timed = {
    "row by row": pipelines["row by row"],
    "+ parallel map": pipelines["+ parallel map"],
    "+ prefetch": pipelines["+ prefetch"],
    "whole batches (library)": whole,
}
ms = pd.DataFrame(
    {name: step_times(dataset) for name, dataset in timed.items()},
    index=["waits for input", "works"],
).T
maps.show(
    maps.bars(ms, "One training step", "ms", text=".1f"),
    "Milliseconds a step waits and works, for four pipelines",
)
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(*row_ms)}")

waits = ms["waits for input"] / ms.sum(axis=1)
assert verdict(25.2, 30.1 - 25.2).startswith("highly")
if not SMALL:  # a toy is over before it can be timed
    assert waits["whole batches (library)"] < waits["row by row"]

# %% [markdown]
# Row by row, the model starves even on a processor. Prefetch overlaps loading with working, but only if something is idle: on few cores both compete for the same ones, beside a graphics card it earns its place. Nor can it help where loading takes longer than working.
# With a faster device only the 'works' part shrinks, so a loader that just suffices today is the bottleneck tomorrow. Mend the longer part first, and measure again.
#
# :::{admonition} Exercise 5
# :class: exercise
# Suppose a graphics card works ten times as fast and loading stays. Recompute the verdicts. How many samples a second must a loader give for a step of 1 ms on a batch of 1,024?
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
# A public copy of the 2024 scripts shows defects that no error message gave away. Each is a lesson. Run them.

# %%
# 1. One image in the window: squeeze() took away the axis of images as well.
single = np.zeros((1, C))
print("squeezed:", np.squeeze(single).shape, "expected:", single.shape)

# 2. Steps counted from the first image: a gap at the start is lost.
early, late = np.array([0, 5, 10]), np.array([60, 65, 70])
print("from the first image:", (early - early[0]) // 5, (late - late[0]) // 5)
print("from the window's start:", early // 5, late // 5)

# 3. One step too many: day 120 belongs to the next window.
print(f"steps: {120 // 5 + 1} in the original, {season.steps} here")

# 4. A batch of 1,028 where 1,024 was meant: it works, and nobody notices.
# 5. Double crops in the test, Barley among forests: names, not codes.
for code in (26, 227, 229, 21):
    k = int(study.legend.classes_of(np.array([code]))[0])
    name = study.legend.names()[k] if k >= 0 else "left out"
    print(f"{code} {cdl.name(code)}: {name}")

lonely = int((np.diff(flat.offsets)).argmin())  # the row with fewest images
day, _, _ = pixels.series(table, lonely)
w = samples.window(flat, Season(5, 5), int(day[0]), rows=[lonely])
assert w.images[0] == 1
assert w.x.shape == (1, 1, C)
assert np.squeeze(single).shape != single.shape
assert np.array_equal((early - early[0]) // 5, (late - late[0]) // 5)
assert (early // 5 != late // 5).all()
assert study.legend.classes_of(np.array([26]))[0] == -1
assert (
    study.legend.keys[study.legend.classes_of(np.array([21]))[0]]
    == "cultivated"
)

# %% [markdown]
# | defect | what it did | what holds it off here |
# |---|---|---|
# | 'random' image was always the earliest | fewer samples than thought, and a bias to early dates | a test counts the draws |
# | `squeeze` on one image | the test parser crashed on some pixels | shapes are stated and tested |
# | steps from the first image | a late season looked like an early one | steps count from the window's start |
# | 120 // 5 + 1 steps | a step more than the window has days for | `season.steps` |
# | double crops in the test | rows with two right answers were scored as if they had one | left out by code, on all sides |
# | a rest class | Barley became 'Uncultivated' | an unknown code is an error |
#
# All but one have this in common: the program ran. Only a check of what *should* hold finds such things, which is why every cell here ends with one.
#
# ## What you have learnt
#
# - The order is list → read → filter → shuffle → map → batch → prefetch: drop early, mix rows before they are batches, randomness after any cache, prefetch last.
# - A window puts irregular images on regular steps that count from its start; random starts and images make many samples of one row; a test loader draws nothing.
# - Statistics first, from seen values of training rows; then zeros mean 'the mean', and `seen` tells what was there.
# - The class of a sample depends on its window: the vegetation rule makes 'No Crops Growing'.
# - Split by year and block, or the score lies.
# - Whole batches beat rows, and a stopwatch on waiting and working tells when to stop tuning.
#
# ## What if …
#
# - **… the table is larger than memory?** Give `samples.batches` the path in place of the table: it streams, with a bounded shuffle.
# - **… I use PyTorch or scikit-learn?** `samples.arrays` gives the same batches as NumPy, `samples.sequence` as a Keras `PyDataset`.
# - **… I want steps of 10 days, or 60 days in all?** Change `[season]` in the study file; the calendar in section 4 shows what you gain and lose.
# - **… zeros feel wrong?** Try `fill="linear"` or `choose="median"`, and compare the score on *validation*; the test stays for the end. Hand over `extras=("seen",)` as well.
# - **… my classes differ?** Change the legend. The table stays, since it holds codes.
# - **… I have only one year?** Split by block alone (`by="block"`), and say beside the score that the weather was the same.
# - **… a class is rare?** `extras=("weight",)` lets each class count alike. It cannot invent variety: more fields can.
