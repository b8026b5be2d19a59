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
# # Case study B · Farm images that do not fit in memory
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** How do you train an image classifier on more images than fit in memory, and how much do the file format and a second device help?
#
# **Product.** A classifier that names what is wrong in a field, and its score on new fields. A table compares the claims of a report with measurements on your machine.
#
# **You will be able to**
# - compute which set fits in memory, and train a model from disk if it does not fit;
# - write the same images as a directory, as TFRecord and as Parquet, and compare their speed fairly;
# - find what limits a pipeline, and when another file format cannot help;
# - describe how a larger batch, averaged and late gradients and a second device change training;
# - recognise a network that has memorised its training set;
# - check whether a published comparison supports its conclusions.
#
# **Time.** About 120 minutes in two halves, with a pause before section 12. **You need** to know what a batch is (Lab 2) and what training is (Lab 3). You need no graphics card.
# :::
#
# The lab follows a master's report of 2021 (EAFIT), which asked this question with the Agriculture-Vision images ([sources](../../book/en/bibliography.md)).
# Each step has four parts, as in the labs before. *Predict*: answer the question before you run the cell. *Run* the cell. *Read* the explanation. *Check*: an `assert` tests what the explanation claims.

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
# ## 1. Aerial images of fields
#
# In summer an aircraft flies over fields with a camera for red, green, blue and near infrared (NIR). Each field is cut into square *chips*, and annotators mark what is wrong: nine kinds of *anomaly*.
# That is Agriculture-Vision (Chiu and others, 2020), with the folders `field_images/rgb`, `field_images/nir`, `field_labels/<class>`, `field_bounds` and `field_masks`.
# Its licence forbids commercial use and redistribution. So the course contains none of it: use your own copy, or let a program make fields in the same folders.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, no aircraft took these images. A program made the fields, their crops and their anomalies, and each picture of them says *simulated*. A score here shows how the method works. It does not show how well it would work on real fields.
# :::

# %%
from arsetlib import fields, lab

source = "simulated"  # or the folder of your copy of Agriculture-Vision
here = lab.fields(source)
full = source == "simulated" and not here.small  # some asserts need it
chips = fields.agriculture_vision(here.folder)
EVERY = -(-len(chips) // 600)  # at most 600 chips; 1 if you have hours
chips = chips[::EVERY]
print(f"{len(chips)} chips of {len(set(chips.fields))} fields")
print(f"simulated: {chips.simulated}; {chips.licence}")
assert len(chips) <= 600

# %% tags=["hide-input"]
import keras
import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # no advice on speed within the lab
# Section 15 needs two devices: the processor is used as two.
processor = tf.config.list_physical_devices("CPU")[0]
twice = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, twice)

# %%
NAMES = list(fields.titles())
K = len(NAMES)
SIDE = chips.size[0]  # pixels of a side
pixels, valid = fields.read(chips, 0)
print(f"a chip: {pixels.shape} {pixels.dtype}, {valid.mean():.0%} valid")
assert chips.labels.shape == (len(chips), K)
if chips.simulated:  # to check a large set takes long
    assert fields.check(here.folder).ok

# %% [markdown]
# ## 2. Nine kinds of anomaly
#
# :::{admonition} Predict
# :class: predict
# Which of the nine can you see in true colour? Which are clearer in near infrared? Which do not differ in colour, so that you need their shape? Choose another view and look again.
# :::

# %%
import matplotlib
import numpy as np


def views(pixels):
    """A chip (H, W, 4) in three views."""
    red, green, _, nir = pixels.transpose(2, 0, 1)
    greenness = fields.ndvi(pixels) / 2 + 0.5  # 0..1
    return {
        "true colour": pixels[..., :3],
        "near infrared": np.stack([nir, red, green], -1),
        "NDVI": matplotlib.colormaps["RdYlGn"](greenness)[..., :3],
    }


# %%
from PIL import Image


def marked(i, k):
    """(H, W) bool: where annotators saw class k on chip i."""
    return np.asarray(Image.open(chips.paths(i).labels[k])) > 0


# %%
example = {}  # class → a chip that shows it, if possible it alone
for k in range(K):
    having = np.flatnonzero(chips.labels[:, k])
    alone = having[chips.labels[having].sum(1) == 1]
    if len(having):
        example[k] = alone[0] if len(alone) else having[0]
print(f"{len(example)} of {K} classes are on these chips")
assert all(marked(i, k).any() for k, i in example.items())

# %%
from arsetlib import figures

NOTES = {
    "true colour": "",
    "near infrared": "red is near infrared   ",
    "NDVI": "NDVI: red −1, yellow 0, green 1   ",
}


def gallery(view):
    photos = {}
    for k, i in example.items():
        picture = views(fields.read(chips, i)[0])[view]
        photos[NAMES[k]] = picture, marked(i, k)
    note = f"{NOTES[view]}line: outline of the anomaly"
    return figures.outlined(photos, study=chips, note=note)


# %%
figures.knob(
    gallery,
    "One chip of each class, with the anomaly outlined.",
    view=list(NOTES),
)

# %% [markdown]
# The pictures give one answer. The next table gives another for the same chips: how much the mean of each band inside the outline differs from the mean outside it.

# %%
import pandas as pd

differences = {}
for k, i in example.items():
    (pixels, valid), inside = fields.read(chips, i), marked(i, k)
    within = pixels[inside & valid].mean(0)
    differences[NAMES[k]] = within - pixels[~inside & valid].mean(0)
bands = ["red", "green", "blue", "NIR"]
differences = pd.DataFrame(differences, bands).T.rename_axis("class")
title = "Mean inside the outline minus mean outside, of 0 to 255"
figures.show(differences.round(1).reset_index(), title)

# %%
clearest = differences.abs().idxmax(axis=1)
print(f"clearest in NIR: {', '.join(clearest.index[clearest == 'NIR'])}")
print(f"least colour: {differences.abs().max(axis=1).idxmin()}")
several = (chips.labels.sum(1) > 1).mean()
none = (chips.labels.sum(1) == 0).mean()
print(f"several labels: {several:.0%} of the chips, none: {none:.0%}")
if full:
    assert len(example) == K
    assert several > 0
    assert none > 0

# %% [markdown]
# The answers are these. A class with a large number under red, green or blue can be seen in true colour. The first printed line names the classes that are clearer in near infrared. The second names the class with the smallest difference in colour. If all numbers of a class are small, only its shape is left. An end row, for example, is defined by the direction of the rows at the edge of a field.
# A chip can have several labels, or none, as the last line shows. So the model answers nine yes-or-no questions (*multi-label*: one sigmoid for each class). It does not choose one class of nine (*single-label*: one softmax). A directory with a folder for each class can store only one label per chip.
#
# ## 3. Count, and split by field
#
# :::{admonition} Predict
# :class: predict
# How many times more chips has the commonest class than the rarest? Chips of one field share its soil, its crop and the hour of the flight. Which chips must therefore stay in the same set?
# :::

# %%
sides = fields.split(chips, seed=0)
train, validation, test = (sides[s] for s in ("train", "validation", "test"))
counts = {side: part.labels.sum(0) for side, part in sides.items()}
counts = pd.DataFrame(counts, NAMES)
fig = figures.bars(counts, "Chips of each class, by set", "chips", study=chips)
figures.show(fig, "Chips of each class in training, validation and test")

# %%
total = counts.sum(axis=1)
print({side: f"{len(part)} chips" for side, part in sides.items()})
print(f"{total.idxmax()}: {total.max()}, {total.idxmin()}: {total.min()}")
print(f"{total.max() / max(total.min(), 1):.0f} times as many")
print(f"'no' to all nine: {1 - chips.labels.mean():.0%} of the answers right")

fields_of = {side: set(part.fields) for side, part in sides.items()}
assert not fields_of["train"] & (fields_of["validation"] | fields_of["test"])
assert not fields_of["validation"] & fields_of["test"]
assert sum(map(len, sides.values())) == len(chips)
if full:
    assert counts.min().min() > 0

# %% [markdown]
# The third printed line gives the ratio. All chips of one field must be in the same set, so the split assigns whole fields. It also tries to put each class into each set. The asserts test both for the simulated fields.
# A model that never predicts a class can have a high accuracy, as the last line shows. Therefore we use F1 for each class, and its mean, *macro-F1*.
#
# ## 4. Check the figures of the report
#
# The report trained NASNetLarge on the images as a directory and as TFRecord, and gave these times.
#
# :::{admonition} Predict
# :class: predict
# Five times as many epochs should take about five times as long. For which devices is this true? And which columns may be compared?
# :::

# %%
from arsetlib import evaluation, wording

times = evaluation.published.farm_times()
minutes = times.rename(
    columns={"directory": "directory, min", "tfrecord": "TFRecord, min"}
)
minutes["ratio"] = times["directory"] / times["tfrecord"]
figures.show(minutes, "Minutes of training as the report gives them, 2021")

# %%
both = times.groupby("device").filter(lambda rows: len(rows) == 2)
growth = both.groupby("device")["directory"].agg(lambda t: t.max() / t.min())
for device, factor in growth.items():
    print(
        f"{wording.word(device)}: 50 epochs took {factor:.1f} × as long as 10"
    )
reported = evaluation.published.farm_accuracy()
print(wording.shown(reported).to_string())
assert growth["CPU"] < 2
assert growth.drop("CPU").between(4.5, 5.5).all()

# %% [markdown]
# It is true for the graphics cards only. On the processor an epoch of the long run took much less time than an epoch of the short run: something else was measured as well, or a figure is wrong.
# The two columns must not be compared. As the column `device` says, the directory ran on a P100 and TFRecord on a V100, another model of card. The ratio mixes two effects that cannot be separated. And `MirroredStrategy`, which shares work between devices, had one device to share it with.
# So the conclusions may be right, but these figures do not prove them. The rest of the lab measures the claims, and changes one thing at a time.
#
# ## 5. Which set fits in memory?
#
# :::{admonition} Predict
# :class: predict
# A chip is stored as two JPEG files, one for colour and one for NIR. How many bytes does it need when it is decoded, and how many as the 32-bit floats that a network needs? How many gigabytes do all published chips need?
# :::

# %%
files = [chips.paths(i) for i in range(len(chips))]
on_disk = sum(f.rgb.stat().st_size + f.nir.stat().st_size for f in files)
each = on_disk / len(chips)  # bytes of a chip as JPEG
decoded = SIDE * SIDE * 4  # bytes, one for each band of a pixel
print(f"JPEG {each:,.0f}, decoded {decoded:,}, floats {4 * decoded:,} bytes")
print(f"from disk to floats a chip grows {4 * decoded / each:.0f} times")
assert 4 * decoded / each > 16

# %%
ALL = 94_986  # chips of Agriculture-Vision
saved_run = int(reported["images"].sum())
sizes = {"these": len(chips), "the report's saved run": saved_run, "all": ALL}
gigabytes = np.array([each, decoded, 4 * decoded]) / 1e9
rows = [(name, f"{n:,}", *(n * gigabytes)) for name, n in sizes.items()]
columns = ["set", "chips", "JPEG, GB", "decoded, GB", "32-bit floats, GB"]
memory = pd.DataFrame(rows, columns=columns)
figures.show(memory, "What a set takes on disk and in memory, by arithmetic")

# %% [markdown]
# The first printed line answers for one chip, the last row of the table for all of them. JPEG compression hides the size: a folder that is small on disk is large in memory. The second row is the run whose outputs the report saved.
#
# This was arithmetic. Now measure. Two processes read chips as floats. One *keeps* what it has read, as `np.stack([...])` over a folder does. The other *releases* each chip after it was read. Both may use only a quarter of the memory that the whole set needs.

# %% tags=["hide-input"]
import os
import subprocess
import sys

READER = """
import resource, sys
from arsetlib import fields
folder, every, how, cap = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
chips = fields.agriculture_vision(folder)[::every]
fields.read(chips, 0)  # whatever is loaded at first use
page = resource.getpagesize()
def memory(column):  # bytes: 1 is resident memory, 5 is allocated memory
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(open("/proc/self/statm").read().split()[column]) * page
if sys.platform == "linux":
    most = memory(5) + int(cap)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
kept, before = [], memory(1)
try:
    for i in range(len(chips)):
        x = fields.read(chips, i)[0].astype("f4") / 255
        if how == "keep":
            kept.append(x)
        print(i + 1, (memory(1) - before) / 1e6)
    print("done")
except MemoryError:
    print("MemoryError")
"""


def read_all(how, cap):
    """A process that reads: chips so far, MB more than at the start, its end.

    Args:
        how: "keep" or "release".
        cap: Bytes that it may take.
    """
    asked = [str(here.folder), str(EVERY), how, str(cap)]
    run = subprocess.run(
        [sys.executable, "-c", READER, *asked],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, last = run.stdout.split("\n")[:-1]
    read, used = np.array([s.split() for s in lines], float).T
    return read, used, last


# %%
cap = 4 * decoded * len(chips) // 4  # a quarter of the floats
reached = {how: read_all(how, cap) for how in ("keep", "release")}
for how, (read, used, end) in reached.items():
    print(f"{how}: {len(read)} chips, {used.max():.0f} MB more, {end}")

# %%
lines = {how: (read, used) for how, (read, used, _) in reached.items()}
ends = {
    end: (read[-1:], used[-1:])
    for read, used, end in reached.values()
    if end == "MemoryError"
}
axes = ("chips read", "more than at the start, MB")
fig = figures.lines(
    lines, "Memory of two processes that read", *axes, study=chips, points=ends
)
fig.add_hline(cap / 1e6, line_dash="dot", annotation_text="the limit")
figures.show(
    fig, "Memory against chips read, by a process that keeps them or not"
)

# %%
(kept, kept_mb, end), (_, released_mb, other_end) = reached.values()
print(f"stopped after {len(kept)} of {len(chips)} chips")
assert other_end == "done"
assert released_mb.max() < kept_mb.max()
if sys.platform == "linux":  # others do not enforce such limits
    assert end == "MemoryError"
    assert abs(len(kept) - len(chips) / 4) < 0.1 * len(chips)

# %% [markdown]
# On Linux the process that keeps its chips ends at the limit, after about a quarter of them. The other reads all of them, and needs less memory. So if a set is larger than memory, keep only one batch in memory.
#
# :::{admonition} Exercise 1
# :class: exercise
# Bytes (`uint8`) need a quarter of the memory of floats. A side of 128 pixels needs a sixteenth of the memory of 512 pixels. How many of the published chips fit in *your* memory in each form? The memory of the machine is `os.sysconf("SC_PHYS_PAGES")` times the page size.
# :::

# %% tags=["hide-cell"]
# Solution: sometimes the reduced set fits, and no pipeline is needed. First
# measure how much score the reduction costs (section 18).
machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
for side in (512, 128):
    for kind, width in (("floats", 4), ("bytes", 1)):
        fits = machine // (side * side * 4 * width)
        print(f"{side} × {side} as {kind}: {fits:,} of {ALL:,} chips")

# %% [markdown]
# ## 6. A generator by hand
#
# A Python function with the word `yield` is a *generator*: it computes its next value only when that value is requested.
#
# :::{admonition} Predict
# :class: predict
# How long does the call `lazily(...)` take? After how long is its first batch ready? And how long would it take to load all chips first?
# :::


# %%
def lazily(chips, batch):
    """Batches of x (B, H, W, 4) in 0..1 and y (B, 9), made on request."""
    for start in range(0, len(chips), batch):
        some = range(start, min(start + batch, len(chips)))
        read = [fields.read(chips, i) for i in some]
        x = np.stack([pixels * valid[..., None] for pixels, valid in read])
        yield x.astype("f4") / 255, chips.labels[some].astype("f4")


# %%
import time

clock = time.perf_counter()
mine = lazily(train, 16)
called = time.perf_counter() - clock
next(mine)
first = time.perf_counter() - clock
print(f"called: {1e6 * called:.0f} µs, first batch after {1e3 * first:.0f} ms")
print(f"loading all first: about {first * len(train) / 16:.1f} s")
assert called < first

# %%
few = train[:48]
library = fields.batches(few, batch=16, size=SIDE)
pairs = zip(lazily(few, 16), library.arrays(), strict=True)
for (my_x, my_y), (x, y) in pairs:
    assert np.allclose(my_x, x, atol=1e-6)
    assert np.array_equal(my_y, y)
print(f"library: {library.steps} steps, x {x.shape} {x.dtype}, y {y.shape}")

# %% [markdown]
# The call takes microseconds, because it computes nothing: a generator runs from one `yield` to the next, each time a value is requested. The first batch needs 16 chips only; to load all chips first would take the time in the second line.
# `fields.batches` gives the same numbers; a pixel outside the field or outside the camera's view is 0. It can also read in parallel, reduce the images, shuffle and augment them with a seed, and read other formats.
#
# ## 7. Four forms of one set
#
# - The **published folders** as they are, read by the generator.
# - A **directory**: one folder for each class, with image files in it.
# - **TFRecord**: records one after the other in a few files called *shards*, read from the first to the last.
# - **Parquet**: the file format of Lab 1, with the encoded images as a binary column.
#
# :::{admonition} Predict
# :class: predict
# The JPEG files are copied, not encoded again. Which form is the largest on disk? What does the directory do with a chip that has two labels? What changes if the images of a TFRecord are reduced at conversion?
# :::

# %%
SEEN = SIDE // 4  # pixels of a side, as the network will see a chip
forms = here.work / "forms"
MB = 1 if here.small else 16  # of a shard, about
ways = {
    "directory": {"form": "directory"},
    "TFRecord": {"form": "tfrecord", "shard_mb": MB},
    "Parquet": {"form": "parquet", "shard_mb": MB},
    "TFRecord, reduced": {"form": "tfrecord", "shard_mb": MB, "size": SEEN},
}
print(f"reduced: from {SIDE} × {SIDE} to {SEEN} × {SEEN} pixels")

# %%
made, seconds = {}, {}
for name, how in ways.items():
    clock = time.perf_counter()
    out = forms / name.lower().replace(", ", "-")
    made[name] = fields.convert(train, out, **how, progress=False)
    seconds[name] = time.perf_counter() - clock
    print(f"{name}: {seconds[name]:.1f} s")

# %%
rows = []
for name, folder in made.items():
    files = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
    speed = len(train) / seconds[name]
    rows.append((name, len(files), sum(files) / 1e6, seconds[name], speed))
columns = ["form", "files", "MB", "seconds", "chips a second"]
written = pd.DataFrame(rows, columns=columns)
figures.show(
    written, "The training chips in four forms, and the time of writing"
)

# %%
by_form = written.set_index("form")
print(f"largest: {by_form['MB'].idxmax()}")
print(f"chips with several labels: {sum(train.labels.sum(1) > 1)}")
files = by_form["files"]
assert files["TFRecord"] < files["directory"] / 10
copies = by_form.loc[["directory", "TFRecord", "Parquet"], "MB"]
assert copies.max() < 1.1 * copies.min()
assert by_form.MB["TFRecord, reduced"] < by_form.MB["TFRecord"] / 4

# %% [markdown]
# The first line names the largest form; the sizes of the three copies of the JPEG files are close. A directory keeps one label of each chip that has several, so it loses the others. The reduced TFRecord needs less than a quarter of the space, and its images need less decoding in each epoch (section 10).
# If you run the cell again, the forms are already complete, so ignore its seconds. A conversion that was interrupted keeps its complete shards and continues.
#
# ## 8. Inside a TFRecord
#
# A shard is a simple file. Each record has four parts: its length (8 bytes), a checksum of the length (4), the record, a checksum of the record (4). The record is a *protobuf* `Example`: a dictionary of lists.
#
# :::{admonition} Predict
# :class: predict
# To read record 100 you must know where it begins. How can you find its position? What does this mean for shuffling?
# :::

# %%
import struct


def records(path):
    """Each record's bytes, one after the other."""
    with path.open("rb") as file:
        while head := file.read(12):
            (length,) = struct.unpack("<Q", head[:8])
            yield file.read(length)
            file.read(4)


# %%
shards = sorted(made["TFRecord"].glob("*.tfrecord"))
by_hand = list(records(shards[0]))
by_library = [r.numpy() for r in tf.data.TFRecordDataset(str(shards[0]))]
print(f"{len(by_hand)} records in {shards[0].name}")
assert by_hand == by_library

# %%
example = tf.train.Example.FromString(by_hand[0])
for key, feature in sorted(example.features.feature.items()):
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    what = f"{len(values[0]):,} bytes" if kind == "bytes_list" else list(values)
    print(f"{key:8} {what}")

# %% [markdown]
# You must read the lengths of the 99 records before it, one after the other. So records are usually shuffled in two steps: take the shards in random order, and draw from a *buffer* of records.
#
# What are the checksums for? Change one bit in a shard, and one in a JPEG file:


# %%
def one_bit_changed(path):
    """The bytes of a file, one bit in the middle changed."""
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


# %%
bad = forms / "one-bit-changed.tfrecord"
bad.write_bytes(one_bit_changed(shards[0]))
noticed = False
try:
    for _ in tf.data.TFRecordDataset(str(bad)):
        pass
except tf.errors.DataLossError as error:
    noticed = True
    print("TensorFlow:", error.message.split("}} ")[-1][:70])
assert noticed

# %%
import io

photo = chips.paths(0).rgb
before = np.asarray(Image.open(photo))
try:
    after = np.asarray(Image.open(io.BytesIO(one_bit_changed(photo))))
    differ = (before != after).any(-1).sum()
    print(
        f"JPEG: no error, {differ:,} of {before[..., 0].size:,} pixels differ"
    )
    assert differ > 0
except OSError as error:
    print("JPEG:", error)

# %% [markdown]
# TensorFlow finds the changed bit, because the checksum does not fit. A JPEG file has no checksum: if its printed line says 'no error', you would train on a wrong picture and not know it.
#
# ## 9. Reading speed, cold and warm
#
# *Warm* means that the files are still in the memory of the operating system, from the last reading. *Cold* means that it must read them from the disk, as in every epoch of a set that is larger than memory.
# The cell asks the system to drop the files from memory before each cold run. All forms are read in turns, twice, and the shorter time counts, because other programs can only make a run slower.
#
# :::{admonition} Predict
# :class: predict
# In the report's table TFRecord was about twice as fast as the directory. What do you expect here, cold and warm? What is the gain of a second reader? And which form is the fastest?
# :::


# %%
def forget(folder):
    """Ask the system to drop these files from its memory."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


# %%
def read_through(source, readers=2):
    """Images a second of one pass; nothing is trained."""
    batches = fields.batches(source, batch=32, size=SEEN, readers=readers)
    dataset, n = batches.dataset, 0
    clock = time.perf_counter()
    for x, _ in dataset:
        n += len(x)
    return n / (time.perf_counter() - clock)


# %%
import itertools

forms_of = {"generator": train} | made
turns, counts = (range(1), [2]) if here.small else (range(2), [1, 2])
laps = []
for _, n, state, form in itertools.product(
    turns, counts, ("cold", "warm"), forms_of
):
    if state == "cold":
        forget(made.get(form, here.folder))
    rate = read_through(forms_of[form], n)
    laps.append((form, f"{state}, {n} reader{'s' * (n > 1)}", rate))

# %%
laps = pd.DataFrame(laps, columns=["form", "state", "rate"])
race = laps.groupby(["form", "state"], sort=False)["rate"].max().unstack()
title = "Speed of reading each form"
unit = "images a second"
fig = figures.bars(race, title, unit, study=chips, mode="group")
figures.show(fig, "Images a second of each form, cold and warm, by readers")
alt = "Images a second, the better of two turns"
figures.show(race.reset_index().round(0), alt)
assert (race > 0).all().all()

# %%
versus = race.loc["TFRecord"] / race.loc["directory"]
for state, ratio in versus.items():
    print(f"{state}: TFRecord / directory {ratio:.2f}, ", end="")
    print(f"fastest: {race[state].idxmax()}")
if not here.small:
    second = race["warm, 2 readers"] / race["warm, 1 reader"]
    print(f"second reader, warm: × {second.min():.2f} to × {second.max():.2f}")

# %% [markdown]
# The printed lines are the answers for your machine: the ratio to compare with the report's, the fastest form in each state, and the gain of a second reader. Compare within one column only: the machine, the images and the batches are the same, and only the form differs. If the ratio is above 1 in one column and below 1 in another, the correct answer is 'no measurable difference'.
# The reduced form needs less work in each epoch, because a part of the work was done once, at conversion.
# A cold run is not completely cold: the system still remembers names and positions of files, and the disk of a rented machine may itself be cached in memory.
#
# ## 10. Where the time goes
#
# :::{admonition} Predict
# :class: predict
# For one image: reading its bytes from the disk, decoding two JPEG files, reducing the side to a quarter. Which takes longest? By what factor could a perfect file format make the whole faster?
# :::


# %%
def jpegs(folder):
    """[(rgb, nir)] The JPEG bytes of the first 32 records."""
    path = sorted(folder.glob("*.tfrecord"))[0]
    first = itertools.islice(records(path), 32)
    first = [tf.train.Example.FromString(r).features.feature for r in first]
    return [[f[b].bytes_list.value[0] for b in ("rgb", "nir")] for f in first]


def decode(pair, ratio=1):
    """(S / ratio, S / ratio, 4): JPEG can leave out fine detail."""
    return tf.concat([tf.io.decode_jpeg(one, ratio=ratio) for one in pair], -1)


def reduce(x):
    return tf.image.resize(x, (SEEN, SEEN), "area")


# %%
def per_image(work, items):
    """Milliseconds; the best of three passes."""
    passes = []
    for _ in range(3):
        clock = time.perf_counter()
        for item in items:
            work(item)
        passes.append(1e3 * (time.perf_counter() - clock) / len(items))
    return min(passes)


# %%
forget(made["TFRecord"])
clock = time.perf_counter()
total_bytes = sum(len(shard.read_bytes()) for shard in shards)
cold = time.perf_counter() - clock
print(f"disk, cold: {total_bytes / cold / 1e6:.0f} MB a second")

# %%
packed, small_packed = (
    jpegs(made[f]) for f in ("TFRecord", "TFRecord, reduced")
)
decoded_32 = [decode(pair) for pair in packed]
stages = {
    "read from the disk, cold": 1e3 * cold / len(train),
    "decode at full size": per_image(decode, packed),
    "then reduce": per_image(reduce, decoded_32),
    "decode at a quarter of the side": per_image(
        lambda pair: decode(pair, 4), packed
    ),
    "decode what was reduced before": per_image(decode, small_packed),
}  # fmt: skip

# %%
stages = pd.Series(stages)
fig = figures.bars(
    stages, "Time for one image, one thread", "ms", text=".2f", study=chips
)
figures.show(fig, "Milliseconds an image for reading, decoding and reducing it")

# %%
fetch, whole, reducing, work, _ = stages
print(f"longest: {stages.idxmax()}")
print(f"a form that reads in no time: × {(fetch + work) / work:.2f} at best")
print(f"decoding at a quarter: × {(whole + reducing) / work:.2f}")
near = abs(tf.cast(decode(packed[0], 4), tf.float32) - reduce(decoded_32[0]))
print(f"the two ways differ by {tf.reduce_mean(near):.1f} of 255 in the mean")
assert tf.reduce_mean(near) < 3
if full:
    assert work < whole

# %% [markdown]
# The first two printed lines answer the questions. The third gives the gain of decoding at a quarter of the side. JPEG stores an image as waves of different lengths. A decoder that needs only a quarter of the side can leave out the short waves. The library does this, and the pictures are almost equal, as the last line shows.
# If decoding takes most of the time, no file format can help much. Then a factor of two must have another cause, such as another card, or a disk that is far away. Notebooks in a cloud often read from a storage that answers each request after tens of milliseconds. There the number of requests is important:

# %%
WIRE = 50e6  # bytes a second of the connection
AT_ONCE = 8  # requests under way together
CORES = os.cpu_count()
requests_per_image = {
    "directory": 2,  # colour and NIR
    "TFRecord, 1 MB a shard": each / 1e6,
    "TFRecord, 32 MB a shard": each / 32e6,
}


def far(wait):
    """Images a second that each limit allows; wait in seconds a request."""
    n = pd.Series(requests_per_image, name="requests an image")
    limits = {"waiting": AT_ONCE / (wait * n), "connection": WIRE / each}
    limits = pd.DataFrame(limits | {"decoding": CORES * 1e3 / work})
    limits["images a second"] = limits.min(axis=1)
    limits["limited by"] = limits.iloc[:, :3].idxmin(axis=1)
    return limits.rename_axis("form")


# %%
WAIT = 0.03  # seconds until a request is answered; yours?
shown = far(WAIT)
figures.show(
    shown.round(0).reset_index(), "Limits on a far disk, by arithmetic"
)
assert shown["images a second"].is_monotonic_increasing
assert shown["waiting"].idxmin() == "directory"

# %%
near_disk = far(0.0001)  # as a disk in the machine
print(near_disk["images a second"].round(0).to_dict())
assert near_disk["images a second"].nunique() == 1

# %% [markdown]
# By this arithmetic the forms are equal on a near disk, and different on a far disk. So the answer to 'is TFRecord faster than a directory?' depends on which limit is the lowest. Measure on the machine on which you train.
#
# ## 11. How large a shard?
#
# The usual advice is shards of 10 to 100 MB. Small shards can be divided among more readers and workers; large shards need fewer requests.
#
# :::{admonition} Predict
# :class: predict
# On this disk, with two readers: is one large shard slower than ten? And than a hundred?
# :::

# %%
wanted = (0.05, 1) if here.small else (1, 12, 64)  # MB
cut = {}
for mb in wanted:
    out = forms / f"shards-{mb:g}"
    cut[mb] = fields.convert(train, out, shard_mb=mb, progress=False)
number = {mb: len(list(cut[mb].glob("*.tfrecord"))) for mb in wanted}
print({f"about {mb:g} MB": f"{n} shards" for mb, n in number.items()})
assert pd.Series(number).is_monotonic_decreasing

# %%
turns = 1 if here.small else 3
rates = {}
for mb, n in number.items():
    name = f"{n} shard{'s' * (n > 1)} of about {mb:g} MB"
    rates[name] = [read_through(cut[mb]) for _ in range(turns)]
shard = pd.DataFrame(rates).median()
title = "Speed by size of the shards (two readers, warm)"
fig = figures.bars(shard, title, "images a second", study=chips)
figures.show(
    fig, "Images a second for many small shards and for few large ones"
)

# %%
print(f"fastest / slowest size: {shard.max() / shard.min():.2f}")
spread = pd.DataFrame(rates).agg(lambda turn: turn.max() / turn.min())
print(f"fastest / slowest turn of one size: up to {spread.max():.2f}")
parts = []
for worker in range(3):
    share = {"batch": 8, "size": SEEN, "part": (worker, 3)}
    parts.append(fields.batches(cut[wanted[0]], **share).rows())
print("three workers get", [len(p) for p in parts], "chips")
assert sorted(np.concatenate(parts)) == list(range(len(train)))

# %% [markdown]
# The bars are the answer for this disk. If the first printed ratio is not much larger than the second, the size of a shard makes no measurable difference. At every size one thing must be true, and the assert tests it: three workers together get each chip once.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half was about files and reading; the second half is about training. After the pause, run the cells again from the top.
# :::
#
# ## 12. Batch size
#
# The same small network sees the same images for the same number of epochs, in batches of 8, 32 and 128. A fourth run has batches of 128 and a learning rate that is raised with the batch, 16-fold: the *linear scaling rule* (Goyal and others, 2017).
#
# :::{admonition} Predict
# :class: predict
# Which run ends with the lowest loss? Which trains the most images a second? How many steps does each make?
# :::

# %%
from arsetlib.models import images as networks

TINY = 32 if here.small else 64  # small enough to keep all in memory
every = fields.batches(chips, batch=64, size=TINY)
x_all, y_all = (np.concatenate(p) for p in zip(*every.arrays(), strict=True))
of_train = np.isin(chips.names, train.names)
x_train, y_train = x_all[of_train], y_all[of_train]
EPOCHS = 3 if here.small else 8
print(f"{len(x_train)} images of {x_train.nbytes / len(x_train):,.0f} bytes")


# %%
def train_with(batch, rate):
    """Loss of each epoch, and images a second."""
    network = networks.build("small", size=TINY, seed=1)
    network.compile(keras.optimizers.SGD(rate), "binary_crossentropy")
    network.train_on_batch(x_train[:batch], y_train[:batch])  # compiles
    clock = time.perf_counter()
    epochs = network.fit(x_train, y_train, batch, EPOCHS, verbose=0)
    seconds = time.perf_counter() - clock
    return epochs.history["loss"], EPOCHS * len(x_train) / seconds


# %%
runs = {
    "8": (8, 0.02),
    "32": (32, 0.02),
    "128": (128, 0.02),
    "128, rate × 16": (128, 0.32),
}
results = {name: train_with(*how) for name, how in runs.items()}
losses = {name: loss for name, (loss, _) in results.items()}
losses = pd.DataFrame(losses, range(1, EPOCHS + 1))
print(f"{len(runs)} runs of {EPOCHS} epochs")

# %%
title = "Training loss by batch size"
fig = figures.lines(losses, title, "epoch", "training loss", study=chips)
figures.show(fig, "Training loss by epoch for batches of 8, 32 and 128")

# %%
table = pd.DataFrame({"last loss": losses.iloc[-1]}).rename_axis("batch")
table["images a second"] = [rate for _, rate in results.values()]
table["steps"] = [EPOCHS * -(-len(x_train) // b) for b, _ in runs.values()]
figures.show(table.reset_index(), "The same images and epochs, other batches")

# %%
print(f"lowest loss: {table['last loss'].idxmin()}; ", end="")
print(f"most images a second: {table['images a second'].idxmax()}")
loss = table["last loss"]
lost = loss["128"] - loss["8"]
regained = (loss["128"] - loss["128, rate × 16"]) / lost
print(f"the higher rate recovers {regained:.0%} of the difference of 128 to 8")
assert table["steps"]["8"] > table["steps"]["128"]
if not here.small:
    assert loss["8"] < loss["128"]
if full:
    assert loss["128, rate × 16"] < loss["128"]

# %% [markdown]
# The printed lines and the column of steps are the answers. With the same learning rate, the batch of 128 ends with a higher loss than that of 8, because it makes fewer steps: here the report is right. How many more images a second it trains depends on the device.
# The last printed line says which part of this difference the higher rate recovers. You need this rule with several devices, because together they *are* one large batch (next section).
#
# ## 13. The gradients of two half batches
#
# *Data parallel* training: each device has a copy of the network and a part of the batch; the gradients are averaged, and all copies make the same step.
#
# :::{admonition} Predict
# :class: predict
# Is the average of the gradients of two halves equal to the gradient of the whole batch: exactly, nearly, or not at all? And with batch normalisation, which computes means over its batch?
# :::

# %%
network = networks.build("small", size=TINY, dropout=0, seed=1)
loss_of = keras.losses.BinaryCrossentropy()


def gradient(part, training):
    """Gradient of the loss of some images, one array for each weight."""
    with tf.GradientTape() as tape:
        answers = network(x_train[part], training=training)
        loss = loss_of(y_train[part], answers)
    return tape.gradient(loss, network.trainable_variables)


# %%
def difference(training):
    """The largest difference between the whole and the mean of halves."""
    all_32 = gradient(slice(0, 32), training)
    left = gradient(slice(0, 16), training)
    right = gradient(slice(16, 32), training)
    return max(
        float(tf.reduce_max(abs(w - (a + b) / 2)))
        for w, a, b in zip(all_32, left, right, strict=True)
    )


# %%
plain, normalised = difference(training=False), difference(training=True)
weights = gradient(slice(0, 32), False)
largest = max(float(tf.reduce_max(abs(w))) for w in weights)
print(f"largest gradient {largest:.4f}, largest difference {plain:.1e}")
print(f"with batch normalisation over each half: {normalised:.1e}")
sent = sum(4 * int(tf.size(w)) for w in weights)
print(f"each device sends {sent / 1e6:.2f} MB a step, whatever the batch")
assert plain < 1e-4 * max(largest, 1)
assert normalised > 10 * plain

# %% [markdown]
# The average is equal to the gradient of the whole batch, except for rounding. So two devices with batches of 16 are the same as one device with a batch of 32. With batch normalisation over each half they are not, as the second line shows. The library computes its means over the whole batch. The cost of several devices is one message in each step, as large as the network.
#
# ## 14. Averaged and late gradients
#
# In *averaged* SGD all devices compute with the same weights and make one step with the mean gradient, so they wait for the slowest one. In *delayed* SGD they do not wait. They take turns, and each applies a gradient that it computed with weights some steps old. The number of steps is its *staleness*.
#
# A small problem shows the difference: is there drydown on a chip? A logistic regression answers from the mean and the spread of each band. Its loss has one minimum, so the runs differ only in how they make steps.
#
# :::{admonition} Predict
# :class: predict
# There are eight workers. Each gradient comes from 16 chips, and 960 gradients are computed in all. Which loss is lower at the end: eight averaged, or eight in turns? And if each takes larger steps?
# :::

# %%
from scipy.special import expit

drydown = y_train[:, fields.CLASSES.index("drydown")]
stats = np.concatenate([x_train.mean((1, 2)), x_train.std((1, 2))], 1)
stats = (stats - stats.mean(0)) / stats.std(0)  # (N, 8)
stats = np.column_stack([stats, np.ones(len(stats))])  # (N, 9): the bias
print(f"{len(stats)} chips, {drydown.mean():.0%} with drydown")


# %%
def cross_entropy(weights):
    """Mean over all chips."""
    score = stats @ weights
    return np.mean(np.logaddexp(0, score) - drydown * score)


def slope(weights, rows):
    """Gradient of the cross-entropy of some chips."""
    error = expit(stats[rows] @ weights) - drydown[rows]
    return stats[rows].T @ error / len(rows)


def batches_of_16(seed):
    """Row numbers without end, in a new order each time round."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(stats))
        yield from order[: len(order) // 16 * 16].reshape(-1, 16)


# %%
def averaged(workers, rate, steps):
    """Loss after each step of workers that wait for each other."""
    rows = [batches_of_16(worker) for worker in range(workers)]
    weights, losses = np.zeros(9), []
    for _ in range(steps):
        each = [slope(weights, next(mine)) for mine in rows]
        weights = weights - rate * np.mean(each, axis=0)
        losses.append(cross_entropy(weights))
    return np.array(losses)


def delayed(staleness, rate, steps):
    """The same for workers in turns: gradients of older weights."""
    rows, losses = batches_of_16(0), []
    past = [np.zeros(9)] * (staleness + 1)  # the last are today's
    for _ in range(steps):
        past.append(past[-1] - rate * slope(past.pop(0), next(rows)))
        losses.append(cross_entropy(past[-1]))
    return np.array(losses)


assert np.allclose(averaged(1, 0.1, 50), delayed(0, 0.1, 50))

# %%
runs_of = {
    "one worker": averaged(1, rate=0.1, steps=960),
    "8 averaged": averaged(8, rate=0.1, steps=120),
    "8 averaged, rate × 8": averaged(8, rate=0.8, steps=120),
    "8 in turns, 7 steps late": delayed(7, rate=0.1, steps=960),
    "8 in turns, rate × 16": delayed(7, rate=1.6, steps=960),
}

# %% tags=["hide-input"]
curves = {  # all have computed 960 gradients at the end
    name: (np.arange(1, len(loss) + 1) * 960 / len(loss), loss)
    for name, loss in runs_of.items()
}
axes = ("gradients computed", "cross-entropy")
title = "Loss of one worker and of eight workers"
fig = figures.lines(curves, title, *axes, study=chips)
fig.data[-1].line.width = 1  # it changes much and would hide the others
fig.update_xaxes(type="log", range=[0.7, 3])
fig.update_yaxes(type="log", range=[-0.6, 1])
figures.show(
    fig,
    "Cross-entropy against gradients computed, for one worker, for eight that average and for eight that take turns",
)

# %%
for name, losses in runs_of.items():
    print(f"{name}: {len(losses)} steps, ends at {losses[-1]:.3f}")
ends = {name: v[-len(v) // 4 :].mean() for name, v in runs_of.items()}
assert ends["8 averaged"] > ends["8 in turns, 7 steps late"]
assert ends["8 averaged"] > ends["8 averaged, rate × 8"]
if full:
    assert abs(ends["8 in turns, 7 steps late"] - ends["one worker"]) < 0.02
assert ends["8 in turns, rate × 16"] > ends["8 in turns, 7 steps late"]

# %% [markdown]
# With the small rate, eight in turns end lower, because eight averaged make only an eighth of the steps. With the higher rate, eight averaged end lower than with the small rate. Late gradients lose little while steps are small: compare with the one worker. With a high rate, late gradients were computed for weights that are very different by now. The loss oscillates and ends high, and no error message tells the cause.
#
# :::{admonition} Exercise 2
# :class: exercise
# How late may a gradient be? Make a table of the last loss of `delayed` after 500 steps. Take staleness 0, 1, 3, 7, 15, 31 and rates from 0.05 to 3.2, each twice the one before. Where does training fail, and which rule do you find?
# :::

# %% tags=["hide-cell"]
# Solution: roughly, a gradient that is twice as late needs half the rate.
rates = 0.05 * 2.0 ** np.arange(7)
grid = {
    f"rate {rate:g}": {
        s: delayed(s, rate, 500)[-1] for s in (0, 1, 3, 7, 15, 31)
    }
    for rate in rates
}
grid = pd.DataFrame(grid).rename_axis("staleness")
begin = cross_entropy(np.zeros(9))
figures.show(grid.reset_index(), f"The last loss; the first was {begin:.3f}")

# %% [markdown]
# ## 15. Two devices
#
# `MirroredStrategy` averages the gradients for you. Here the processor is used as two devices. So you see what sharing costs, but not its gain.
#
# :::{admonition} Predict
# :class: predict
# Same network, same images, same batch of 32 in all. Is the loss the same? How many images a second do two devices train, compared with one?
# :::

# %%
devices = [d.name for d in tf.config.list_logical_devices("CPU")]
strategies = {
    "one": tf.distribute.OneDeviceStrategy(devices[0]),
    "two": tf.distribute.MirroredStrategy(devices),
}
n = len(x_train) // 32 * 32  # whole batches, which two can share
arrays = {
    "train": (x_train[:n], y_train[:n]),
    "validation": (x_train[:8], y_train[:8]),
}
print(devices)
assert len(devices) == 2


# %%
def train_on(strategy):
    """The history of a training under a strategy."""
    with strategy.scope():
        network = networks.build("small", size=TINY, dropout=0, seed=1)
    return fields.fit(
        network, arrays, strategy=strategy, batch=32, epochs=4, seed=1,
        optimizer="sgd", learning_rate=0.02, progress=False,
    ).history  # fmt: skip


# %%
shared = {}
for name, strategy in strategies.items():
    history = train_on(strategy)
    seconds = np.median(history["seconds"][1:])  # the first one compiles
    shared[name] = history["loss"], n / seconds
    print(f"{name}: last loss {history['loss'][-1]:.6f}, ", end="")
    print(f"{n / seconds:.0f} images a second")

# %%
gain = shared["two"][1] / shared["one"][1]
print(f"two devices on {CORES} cores: {gain:.2f} × as fast as one")
assert np.allclose(shared["one"][0], shared["two"][0], rtol=0.02)
if full:
    assert gain < 1.5

# %% [markdown]
# The losses are the same up to 2 %. The printed factor is the answer to the second question. It is below 2, because the two devices use the same cores and must exchange gradients. The report had one device under `MirroredStrategy`, which had nothing to share. Two *cards* would each have their own cores; measure their gain.
#
# Several machines work in the same way, over a network. `arset fields train DATA RUN --workers 2` starts two processes on this machine; on a cluster, Spark can start one on each machine ([how](../../book/en/faq.md)). If a worker dies, the run ends with an error, and continues from its last backup when you start it again.
#
# ## 16. Share the data, or the model?
#
# If a network does not fit into one device, its *layers* can be placed on several devices: *model parallel* training. Then devices send activations, not gradients. Which is better depends on the layer. Count both for AlexNet (Krizhevsky and others, 2012).
#
# :::{admonition} Predict
# :class: predict
# Which layers do most of the multiplications, convolutions or dense ones? Which have most of the parameters?
# :::

# %%
convolutions = [  # kernel, channels in, channels out, side of the output
    (11, 3, 96, 55),
    (5, 48, 256, 27),
    (3, 256, 384, 13),
    (3, 192, 384, 13),
    (3, 192, 256, 13),
]
dense = [(9216, 4096), (4096, 4096), (4096, 1000)]
parameters = {
    "convolutions": sum(k * k * i * o for k, i, o, _ in convolutions),
    "dense": sum(i * o for i, o in dense),
}
multiplications = {
    "convolutions": sum(k * k * i * o * s * s for k, i, o, s in convolutions),
    "dense": parameters["dense"],  # each used once an image
}

# %%
BATCH = 128
activations = {
    "convolutions": sum(o * s * s for *_, o, s in convolutions),
    "dense": 9216 + sum(o for _, o in dense),
}
counted = {"multiplications, %": multiplications, "parameters, %": parameters}
counted = pd.DataFrame(counted)
alex = 100 * counted / counted.sum()
alex["gradients a step, MB"] = 4e-6 * counted["parameters, %"]
alex["activations a step, MB"] = 4e-6 * BATCH * pd.Series(activations)
title = f"AlexNet with a batch of {BATCH}: its work, and the data to send"
figures.show(alex.rename_axis("layers").reset_index(), title)

# %%
mobile = networks.build("mobilenetv3", size=SEEN)
heads = [n for n in mobile.layers if isinstance(n, keras.layers.Dense)]
share = sum(n.count_params() for n in heads) / mobile.count_params()
print(f"MobileNetV3: {share:.1%} of the parameters are in dense layers")
assert alex["multiplications, %"]["convolutions"] > 90
assert alex["parameters, %"]["dense"] > 95
gradients, handed_on = alex.columns[2:]
assert alex.loc["dense", handed_on] < alex.loc["dense", gradients]
assert alex.loc["convolutions", gradients] < alex.loc["convolutions", handed_on]
assert share < 0.05

# %% [markdown]
# Convolutions do most of the multiplications and have few parameters: share the *data* and send their small gradients. Dense layers have nearly all parameters and do little work: share the *model* and send their few activations. Using both in one network is called *hybrid*.
# MobileNetV3 averages over the picture before its last layer and has few parameters in dense layers, as the printed line shows. For such networks data parallel training is usual, and the model is shared only where it does not fit. In Keras 3 both need a few lines on the JAX backend: `keras.distribution.DataParallel()` and `keras.distribution.ModelParallel(layout_map=…)`.
#
# ## 17. Memorised images
#
# In the report the training accuracy is nearly 1 and the validation accuracy much lower (the second table of section 4). We repeat this: few fields, no augmentation, many epochs, one label per chip. And we split the chips in two ways.
#
# :::{admonition} Predict
# :class: predict
# If you split by chip, chips of one field are in both sets. Is the gap between training and validation larger or smaller than with a split by field? Is the network better?
# :::

# %%
single = y_all.sum(1) == 1
x_one, answer = x_all[single], y_all[single].argmax(1)
field_of = chips.fields[single]
print(f"{len(x_one)} chips of one label, {len(set(field_of))} fields")


def split_by(unit, seed):
    """(N,) bool: three in ten chips for validation, by chip or by field."""
    units = field_of if unit == "field" else np.arange(len(field_of))
    names, number = np.unique(units, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return np.isin(number, order[: 3 * len(names) // 10])


away = split_by("field", seed=0)
assert not set(field_of[away]) & set(field_of[~away])


# %% [markdown]
# A second model shows the effect of the split alone. The *copyist* knows only the mean and the spread of each band. It gives a chip the label of the training chip with the nearest colours, so it learns nothing about anomalies.

# %%
look = np.concatenate([x_one.mean((1, 2)), x_one.std((1, 2))], 1)
look = (look - look.mean(0)) / look.std(0)


def copyist(away):
    """Accuracy of the copyist on the chips of validation."""
    apart = ((look[away, None] - look[None, ~away]) ** 2).sum(-1)
    nearest = apart.argmin(1)
    return (answer[~away][nearest] == answer[away]).mean()


# %%
SPLITS = ("chip", "field")
copied = {
    by: np.mean([copyist(split_by(by, seed)) for seed in range(20)])
    for by in SPLITS
}
print({by: f"{accuracy:.2f}" for by, accuracy in copied.items()})
if full:
    assert copied["chip"] > copied["field"]


# %%
def memorise(x, y, away, epochs):
    """Accuracies of each epoch of a network without dropout."""
    network = networks.build(
        "small", size=TINY, head="single", dropout=0, seed=1
    )
    network.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )  # fmt: skip
    unseen = (x_one[away], answer[away])
    return network.fit(
        x, y, 16, epochs, validation_data=unseen, verbose=0
    ).history


# %%
curves, knowing = {}, {}
for by in SPLITS:
    away = split_by(by, seed=0)
    epochs = 3 if here.small else 24
    history = memorise(x_one[~away], answer[~away], away, epochs)
    for side in ("accuracy", "val_accuracy"):
        name = "training" if side == "accuracy" else "validation"
        curves[f"by {by}, {name}"] = history[side]
        knowing[by, f"network, {name}"] = np.mean(history[side][-5:])
    knowing[by, "copyist, validation"] = copied[by]
    print(f"by {by}: {sum(~away)} chips to train, {sum(away)} to validate")

# %%
curves = pd.DataFrame(curves, range(1, epochs + 1))
fig = figures.lines(
    curves, "Accuracy by split and set", "epoch", "accuracy", study=chips
)
fig.update_yaxes(range=[0, 1.02])
figures.show(fig, "Accuracy by epoch on training and validation, by split")

# %%
knowing = pd.Series(knowing).unstack().rename_axis("split by")
title = "Accuracy: the network's last five epochs, the copyist's 20 splits"
figures.show(knowing.reset_index(), title)
gap = knowing["network, training"] - knowing["network, validation"]
print("gap:", gap.round(2).to_dict())
if full:
    assert knowing.loc["field", "network, training"] > 0.9
    assert knowing.loc["field", "network, validation"] < 0.8
    assert gap["field"] > 0.15

# %% [markdown] tags=["answer"]
# With the split by field, the network has memorised nearly all training chips of the simulated fields, and it is right for far fewer of the new ones. The printed gaps answer the first question for one split of each kind; with so few chips, another seed can change their order.
# The mean of the copyist over 20 splits answers both questions more clearly. With the split by chip it scores higher, although it is the same model, because it finds a chip of the same field. So a higher score by chip does not mean a better network: on a new field this gain is lost.
# Three remedies are worth a test: more fields, augmentation (exercise 3), and weights that were learnt elsewhere (section 19).
#
# :::{admonition} Exercise 3
# :class: exercise
# A mirrored image of a field could also be a field. Give the training set four copies of each chip (as it is, mirrored left to right, top to bottom, both) and a quarter of the epochs, split by field. What happens to the two accuracies?
# :::

# %% tags=["hide-cell"]
# Solution: the network sees as many images, and fewer of them twice. Compare
# the two lines with the row 'field' of the table.
away = split_by("field", seed=0)
x = x_one[~away]
x = np.concatenate([x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]])
y = np.tile(answer[~away], 4)
history = memorise(x, y, away, 1 if here.small else 6)
for side in ("accuracy", "val_accuracy"):
    print(f"{side}: {np.mean(history[side][-3:]):.2f}")

# %% [markdown]
# ## 18. Train on all, test on new fields
#
# Now the complete training: all labels, all training fields from shards, augmented images; the validation set chooses the best epoch, and the test set is used once, at the end. Two image sizes show what a reduction costs: a quarter of a chip's side, and half of that.
#
# :::{admonition} Predict
# :class: predict
# A planter skip is as narrow as a row; drydown can cover half a field. Which classes need small pixels? Which can a random forest find, which uses the colours but not their places?
# :::

# %%
learn = {"train": made["TFRecord, reduced"], "validation": validation}
LONG = 3 if here.small else 36
how = {
    "batch": 16,
    "learning_rate": 2e-3,
    "epochs": LONG,
    "patience": LONG - 1,
    "monitor": "val_macro_f1",
    "cache": True,
    "seed": 1,
    "progress": False,
}
print(f"at most {LONG} epochs of {len(train)} chips")

# %%
fitted, scores = {}, {}
for size in (SEEN,) if here.small else (TINY, SEEN):
    fitted[size] = fields.fit("small", learn, size=size, **how)
    known = learn["train"] if size == SEEN else None  # for the baselines
    scores[size] = fields.evaluate(fitted[size], test, train=known)
best = scores[SEEN]
forest, majority = (best.baselines[b] for b in ("random forest", "majority"))
kept, history = fitted[SEEN].notes["best_epoch"], fitted[SEEN].history
trained_rate = len(train) / np.median(history["seconds"])
print(f"kept: epoch {kept} of {len(history['loss'])}")
print(f"training: {trained_rate:.0f} images a second, validation included")

# %%
columns = {f"network, {size} px": s.model.f1 for size, s in scores.items()}
columns["random forest"] = forest.f1
by_class = pd.DataFrame(columns, NAMES)
fig = figures.score_bars(
    by_class, study=chips, title="F1 of each class on new fields"
)
figures.show(fig, "F1 of each class: a network at two sizes, a random forest")

# %%
title = f"The test: {len(test)} chips of new fields, at {SEEN} pixels"
figures.show(best.table().reset_index(), title)
assert majority.accuracy > 0.75
if full:
    assert majority.accuracy > best.model.accuracy
    assert best.model.macro_f1 > majority.macro_f1 == 0
    assert best.model.mean_average_precision > 0.35

# %%
network = by_class[f"network, {SEEN} px"]
if not here.small:
    lost = network - by_class[f"network, {TINY} px"]
    print("lost most by the smaller size:", lost.nlargest(3).index.tolist())
ahead = (network - by_class["random forest"]).sort_values()
print("the forest is ahead:", ahead.index[ahead < 0].tolist())
print("the network is most ahead:", ahead.nlargest(3).index.tolist())
print("test chips of the rarest class:", int(test.labels.sum(0).min()))

# %% [markdown]
# The printed lines answer for this run: the classes that lose most by the smaller size, and those for which the random forest is enough. The rare classes have few test chips, so one chip changes their F1 much; do not explain small differences.
# If a class is lost by the reduction, it is lost at *conversion*, before a network sees it. Choose the size by the smallest anomaly that you must find.
# The *majority* baseline answers 'no' to everything, so its F1 is 0. Yet for the simulated fields its accuracy is higher than that of the network: accuracy is not a useful measure here. mAP, the mean average precision, measures whether the chips of a class are ranked before the others, for any threshold.
#
# ## 19. Transfer
#
# Take another farm in another year. Ten of its fields are labelled. The report used NASNetLarge with weights from ImageNet, photographs of animals and everyday things. If there is an internet connection, the cell downloads such weights for the smaller MobileNetV3. If not, it uses random weights and says so. The other candidate is the network that you have just trained.
#
# *Frozen*: the backbone keeps its weights, and only a new last layer learns. *Fine-tuned*: all layers learn, with a small learning rate. A new last layer begins with random weights. But our network already knows the same nine classes, so it can also keep its last layer.
#
# :::{admonition} Predict
# :class: predict
# Put these in order of their score: a network from scratch; ours with a new last layer, frozen or fine-tuned; ours with its own last layer, fine-tuned; ours as it is; MobileNetV3, frozen.
# :::

# %% tags=["hide-input"]
import requests

from arsetlib import simulate

weights_at = f"{networks.HOME}/{networks.BACKBONES['mobilenetv3'].weights}"
try:
    photographs = (
        "imagenet" if requests.head(weights_at, timeout=3).ok else None
    )
except requests.RequestException:
    photographs = None
if photographs is None:
    print("No connection: MobileNetV3 gets random weights.")

other = here.data / ("farm-toy" if here.small else "farm")
of_field = 3 if here.small else 6
simulate.fields(
    other, seed=2, fields=30, chips=of_field, size=SIDE, progress=here.bars
)

# %%
farm = fields.agriculture_vision(other)
number = np.unique(farm.fields, return_inverse=True)[1]
ten = {
    "train": farm[number < 7],
    "validation": farm[np.isin(number, (7, 8, 9))],
}
elsewhere = farm[number >= 10]
print({side: f"{len(part)} chips" for side, part in ten.items()})
print(f"test: {len(elsewhere)} chips; simulated: {farm.simulated}")
assert not {*elsewhere.fields} & {*farm.fields[number < 10]}
seen_in = ten["train"].labels.sum(0)
print(
    "on no training chip:",
    [n for n, c in zip(NAMES, seen_in, strict=True) if c == 0],
)

# %%
saved = fitted[SEEN].save(here.work / "classifier")
ours = saved / "model.keras"
EPOCHS = 3 if here.small else 24


def adapted(network, epochs=EPOCHS, **how):
    """A network trained on seven of the ten fields."""
    return fields.fit(
        network, ten, size=SEEN, batch=16, epochs=epochs, patience=epochs - 1,
        cache=True, seed=2, progress=False, **how,
    )  # fmt: skip


# %% [markdown]
# The training below takes another seed than section 18, for a reason. A seed decides the random weights with which a last layer begins. Compare these with the trained last layer of our network:

# %%
learnt = networks.load(ours).get_layer("head").kernel.numpy().ravel()
for seed in (1, 2):
    fresh = networks.build("small", size=SEEN, seed=seed).get_layer("head")
    likeness = np.corrcoef(learnt, fresh.kernel.numpy().ravel())[0, 1]
    print(f"seed {seed}: correlation {likeness:.2f} with the trained layer")
    assert (likeness > 0.3) == (seed == how["seed"])

# %% [markdown]
# Training changed the first weights of the last layer only a little. So with the seed of section 18 a 'new' last layer would be nearly the old one, and the comparison would be unfair.

# %%
new_layer = {"weights": ours, "learning_rate": 1e-2}
short = max(EPOCHS // 3, 2)  # epochs
frozen = new_layer | {"freeze": short, "epochs": short}
tuned = new_layer | {"freeze": short}
gently = {"learning_rate": 2e-4, "epochs": short}
features = {"weights": photographs, "learning_rate": 1e-2, "freeze": EPOCHS}
ways = {
    "from scratch": ("small", {"learning_rate": 3e-3}),
    "new last layer, frozen": ("small", frozen),
    "new last layer, fine-tuned": ("small", tuned),
    "all of ours, fine-tuned": (networks.load(ours), gently),
    f"MobileNetV3, {photographs or 'random'}": ("mobilenetv3", features),
}
if here.small:
    ways = {name: ways[name] for name in list(ways)[:4:3]}

# %%
moved = {"ours, as it is": fitted[SEEN]}
for name, (network, how) in ways.items():
    moved[name] = adapted(network, **how)
tested = {n: fields.evaluate(m, elsewhere).model for n, m in moved.items()}
transfer = {n: s.mean_average_precision for n, s in tested.items()}
transfer = pd.Series(transfer).sort_values(ascending=False)

# %%
unit = "mean average precision"
title = "Score on the other fields of the new farm"
fig = figures.bars(transfer, title, unit, text=".3f", study=farm)
figures.show(fig, "Mean average precision on the new farm for several starts")

# %%
begin, bent = transfer[["from scratch", "all of ours, fine-tuned"]]
as_it_is = transfer["ours, as it is"]
print(f"fine-tuning all of ours changes it by {bent - as_it_is:+.3f}")
assert ((transfer > 0) & (transfer <= 1)).all()
if full:
    fresh = transfer[[name for name in ways if name.startswith("new last")]]
    assert as_it_is > fresh.max()
    assert fresh["new last layer, fine-tuned"] > begin
    assert bent > fresh.max()
    assert abs(bent - as_it_is) < 0.05

# %% [markdown] tags=["answer"]
# The bars give the order. For the simulated farms, our network *as it is*, without any training on the new farm, scores higher than both networks with a new last layer. The reason is the number of labels. A new last layer must learn nine classes from the few chips of seven fields; an earlier cell printed the classes that are on none of them. The old last layer has learnt from all training chips of section 18.
# So if the classes are the same, keep the last layer. Then fine-tuning with so few chips changes little, as the printed line shows. If the classes differ, you need a new last layer. Fine-tuned, it still scores higher than the network from scratch, because its other layers have learnt from fields.
# A program made both farms, and two real farms may differ more. MobileNetV3 with random weights shows the score of a last layer on features that were not trained. Test the weights from photographs in the same way before you pay for a large network.
#
# ## 20. What does it cost?
#
# The cost is hours times price, plus storage. The names in capitals are *inputs*: enter the prices of your provider, in your currency, and how many images a second your device trains.
#
# :::{admonition} Predict
# :class: predict
# A card that can train on 4,000 images a second is in a machine with 4 cores. How many minutes of each paid hour does the card compute?
# :::

# %%
TIMES = 10  # epochs
CARD = 4_000  # images a second that a card could train on
STORE = 0.02  # a GB and month
core_rate = trained_rate / CORES  # images a second that a core trains
PRICES = {  # machine: cores, price an hour, images a second of the network
    "2 cores": (2, 0.10, core_rate * 2),
    "16 cores": (16, 0.80, core_rate * 16),
    "card, 4 cores": (4, 0.60, CARD),
    "card, 16 cores": (16, 1.20, CARD),
}
READ = {  # images a second that a core reads, decodes and reduces
    "JPEG as taken": race.loc["TFRecord"].max() / CORES,
    "reduced once": race.loc["TFRecord, reduced"].max() / CORES,
}
print(f"a core trains {core_rate:.0f} images a second", end=", reads ")
print({form: round(rate) for form, rate in READ.items()})


# %%
def bill(machine, form):
    """What all epochs cost on a machine, and how long the network waits."""
    cores, price, network = PRICES[machine]
    rate = min(cores * READ[form], network)
    hours = ALL * TIMES / rate / 3600
    waits = 100 * (1 - rate / network)
    return {
        "machine": machine, "form": form, "images/s": rate,
        "waits, %": waits, "hours": hours, "price": hours * price,
    }  # fmt: skip


# %%
bills = pd.DataFrame([bill(m, f) for f in READ for m in PRICES])
title = f"{TIMES} epochs of {ALL:,} images; waits: the network, for its input"
figures.show(bills, title)
kept_gb = ALL * each / 1e9
print(f"storing {kept_gb:.0f} GB of JPEG: {STORE * kept_gb:.2f} a month")
assert np.allclose(
    bills["price"] / bills["hours"], [p for _, p, _ in PRICES.values()] * 2
)

# %%
of_card = bills[bills["machine"] == "card, 4 cores"].set_index("form")
worked = 60 * (1 - of_card["waits, %"] / 100)
print("minutes of an hour that the card computes:", worked.round(1).to_dict())
print(
    f"cheapest: {bills.loc[bills['price'].idxmin(), ['machine', 'form']].tolist()}"
)
assert (bills["waits, %"] >= 0).all()
if full:
    assert of_card["price"].is_monotonic_decreasing

# %% [markdown]
# The printed minutes are the answer: in the other minutes the card waits for its input, and you pay for them. If the images are reduced once, or with more cores, the card waits less. The last line names the cheapest pair at these prices.
# A *spot* machine costs less, because the provider may take it away at any moment. Only a run that resumes can use it.
#
# :::{admonition} Exercise 4
# :class: exercise
# Conversion reads all images once. After how many epochs has the reduced TFRecord saved this time on this machine? Take the measured rates.
# :::

# %% tags=["hide-cell"]
# Solution: the time spent, divided by what each epoch saves. If the forms were
# complete already, ignore the seconds of the conversion.
spent = 1 / by_form.loc["TFRecord, reduced", "chips a second"]
fast = race.loc["TFRecord, reduced"].max()
for name in ("generator", "directory"):
    saved = 1 / race.loc[name].max() - 1 / fast
    print(
        f"{name}: {1e3 * spent:.1f} ms a chip spent, {1e3 * saved:.1f} ms saved"
    )
    print(f"   repaid after {max(spent / saved, 0):.1f} epochs")

# %% [markdown]
# ## 21. Where each part runs
#
# :::{admonition} Predict
# :class: predict
# Which parts cost by the hour, and which by the month? Which data must never be lost? Which machines may stop at any time?
# :::

# %% tags=["hide-input"]
BOXES = {  # column, row, what it is, what it costs
    "camera": (0, 1, "aircraft, drone\nRGB + NIR", "a flight"),
    "store": (1, 1, "object store\nimages as taken", "GB · month"),
    "convert": (2, 1, "many cores, spot\nconvert once", "core · hour"),
    "shards": (3, 1, "object store\nshards and index", "GB · month"),
    "train": (3, 0, "cards, spot\ntrain, back up", "card · hour"),
    "model": (2, 0, "registry\nmodel and scores", "little"),
    "predict": (1, 0, "cores, in batches\nmark new images", "core · hour"),
    "people": (0, 0, "agronomist\nlooks, corrects", "working time"),
}
ARROWS = [
    ("camera", "store"), ("store", "convert"), ("convert", "shards"),
    ("shards", "train"), ("train", "model"), ("model", "predict"),
    ("store", "predict"), ("predict", "people"), ("people", "store"),
]  # fmt: skip
figures.show(
    figures.flow(BOXES, ARROWS),
    "From the camera to an object store, converted once to shards, trained on "
    "cards; the model marks new images, which an agronomist corrects",
)

# %%
for unit in ("month", "hour"):
    paid = [name for name, (*_, price) in BOXES.items() if unit in price]
    print(f"by the {unit}:", ", ".join(paid))
spot = [name for name, (_, _, text, _) in BOXES.items() if "spot" in text]
print("may stop at any time:", ", ".join(spot))
assert {end for _, end in ARROWS} == set(BOXES) - {"camera"}

# %% [markdown]
# The printed lines are the answers. The images as taken must never be lost, because you cannot repeat the flight. The shards can be made again from them, and the model can be trained again. A spot machine may be taken away; the work continues from the complete shards or the last backup.
# Keep all parts in one region, because providers usually charge for data that leave it. The arrow from the agronomist back to the store brings corrected labels for the next training.
#
# ## 22. Who benefits, and who does not?
#
# - **Licence.** Agriculture-Vision may not be used commercially or passed on. Ask its authors before you use a model that was trained on it in a product. The library says so when it reads the folder, and ships none of it.
# - **Dependence.** People who always follow a model may lose the skill to decide without it. What happens in the year in which the service ends, or in which the weather is new?
# - **Monoculture.** A model knows the crops and the farms that it was trained on. If it scores worse on small and mixed fields, their owners get worse advice. Does this push everybody towards the same crops?
# - **Digital divide.** Can a farm of ten hectares pay for flights, cards and connections as a farm of a thousand can?
# - **Concentration of data.** Each field that is photographed improves the model of those who own the pictures. Who owns them? Who can see a neighbour's bad year? Who sets a price with this knowledge?
#
# No F1 answers these questions. When you publish a score, state on whose fields it was measured, and who may use the model for what.
#
# ## 23. Published and measured
#
# :::{admonition} Predict
# :class: predict
# Which of the report's conclusions are confirmed on your machine, which are not, and which cannot be tested on it?
# :::

# %% tags=["hide-input"]
took = times.set_index(["device", "epochs"])
card = took.xs(50, level="epochs").filter(like="GPU:", axis=0).iloc[0]
one_card = took.xs(50, level="epochs").loc["one GPU, mirrored"]
processor = took.loc[("CPU", 50)]
between = reported[["lowest", "highest"]].round(2).astype(str)
between = between.agg("-".join, axis=1)
warm, cold = (versus[f"{state}, 2 readers"] for state in ("warm", "cold"))
fastest = race.max(axis=1)
worth = fastest["TFRecord, reduced"] / fastest["directory"]
floats = 4 * decoded * len(chips) / 1e6
by = {
    unit: f"{row['network, training']:.2f} and {row['network, validation']:.2f}"
    for unit, row in knowing.iterrows()
}
on_data = {
    "more than memory can be trained on": (
        f"{saved_run:,} images in its saved run",
        "yes, the method: one batch is in memory",
        f"{released_mb.max():.0f} MB in memory for {floats:,.0f} MB of floats",
    ),
    "TFRecord beats a directory": (
        f"× {card.directory / card.tfrecord:.1f} on cards",
        "no: a P100 against a V100",
        f"two readers: × {warm:.2f} warm, × {cold:.2f} cold",
    ),
    "shards help by parallel reading": (
        "no figure",
        "for far disks",
        f"slowest to fastest size: × {shard.max() / shard.min():.2f}",
    ),
    "converting costs, and pays": (
        "no figure",
        "where training is long",
        f"reduced once: × {worth:.1f} the directory",
    ),
}
on_training = {
    "a graphics card is faster": (
        f"× {processor.tfrecord / card.tfrecord:.0f} the processor",
        "not the factor: the processor's rows contradict each other",
        "not measured: no card",
    ),
    "strategies help beyond one device": (
        f"with one: {one_card.tfrecord} min, not {card.tfrecord}",
        "that one alone gains nothing",
        f"two on the same cores: × {gain:.2f}",
    ),
    "larger batches learn worse": (
        "no figure",
        "yes, at the same rate",
        f"loss {loss['8']:.2f} at 8, {loss['128']:.2f} at 128, "
        f"{loss['128, rate × 16']:.2f} with a higher rate",
    ),
    "about 60 % accuracy": (
        f"training {between['train']}, validation {between['validation']}",
        "as a picture of overfitting",
        f"split by field {by['field']}, by chip {by['chip']}",
    ),
    "weights from elsewhere help": (
        "NASNetLarge did best",
        "plausible; no test set",
        f"mAP {begin:.2f} from scratch, {bent:.2f} from other fields",
    ),
}

# %%
columns = ["claim", "published", "can be trusted?", "measured here"]
for what, rows in (("data", on_data), ("training", on_training)):
    table = [(claim, *row) for claim, row in rows.items()]
    table = pd.DataFrame(table, columns=columns)
    figures.show(table, f"The report's claims on {what}, and this run")
assert begin == tested["from scratch"].mean_average_precision
at_two = race["warm, 2 readers"]
assert np.isclose(warm, at_two["TFRecord"] / at_two["directory"])

# %% [markdown]
# The last column is the answer for your machine; compare it with the column 'published'. The figures of the report cannot show *how much* a change helps, because more than one thing changed at a time. To know that, change one thing at a time.
#
# ## What you have learnt
#
# - Simple arithmetic tells whether a set fits in memory. A generator keeps one batch in memory, however large the set is.
# - A file format helps if reading is the limit. If decoding is the limit, decode less, or once.
# - TFRecord is a list of records with checksums: few large files, read in order, good for far disks.
# - With the same learning rate larger batches learn less in an epoch; several devices are one large batch. Late gradients need small steps.
# - Two devices on the same cores are not twice as fast. Measure the gain of two cards.
# - Training accuracy says how much a network can memorise; only new *fields* say what it has learnt.
# - If the classes are the same, keep a network's last layer: a new one must learn again from few labels.
# - Before you compare two figures, list all that differs between them.
#
# ## What if …
#
# - **… I have Agriculture-Vision?** Set `source` to its folder; the reader knows the download's `train` and `val`. Convert it once: `arset fields convert FOLDER OUT --size 256`.
# - **… my images are of something else?** Put them into the same folders, with your masks; an image needs a colour and a near-infrared file.
# - **… I have several cards?** `strategy="mirrored"`; raise batch and rate together (`training.workers.linear_rate`). Measure one against two first.
# - **… I have several machines?** `strategy="workers"`, started by `arset fields train DATA RUN --workers N` on one machine or by Spark's barrier mode on a cluster; see the [questions](../../book/en/faq.md).
# - **… decoding is still the limit?** Use smaller images, more cores, `cache=True`, or `encoding="raw"` at conversion: no decoding in later epochs, but more bytes in memory or on disk.
# - **… I have a hundred chips?** Then memory is no problem. Use weights from elsewhere, augment, and split by field.
