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
# **Question.** Can an image classifier be trained on more data than memory holds, and what do the form of the files and several devices bring?
#
# **Product.** A classifier that names what is wrong in a field, an honest score for it, and a table of what each of a report's claims is worth, measured on your machine.
#
# **You will be able to**
# - say when memory ends, before it does, and feed a model without filling it;
# - write the same images as a directory, as TFRecord and as Parquet, and race them fairly;
# - find what limits a pipeline, and when a better form of file cannot help;
# - say what a larger batch, averaged and late gradients and a second device do to training;
# - tell a network that has learnt from one that remembers;
# - read a published comparison like a referee.
#
# **Time.** About 60 minutes; a good place for a break is before section 12. **You need** Lab 2's idea of a batch and Lab 3's idea of training. No graphics card.
# :::
#
# The lab follows a master's report of 2021 (EAFIT), which asked this question with the Agriculture-Vision images ([sources](../../book/en/bibliography.md)). The beat is that of the labs before. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.

# %%
import os

# Leave TensorFlow's errors, and drop its reports on processors and libraries.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    course = "git+https://github.com/crop-maps-at-scale/crop-maps-at-scale"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[labs,train,images] @ {course}"'
    )

from arsetlib import check_env

check_env()

# %% [markdown]
# ## 1. Fields from the air
#
# An aircraft flies over fields in summer, with a camera for red, green, blue and near infrared (NIR). Each field is cut into *chips* of 512 × 512 pixels, and an agronomist marks what is wrong: nine kinds of *anomaly*. That is Agriculture-Vision (Chiu and others, 2020): `field_images/rgb`, `field_images/nir`, `field_labels/<class>`, `field_bounds`, `field_masks`. Its licence forbids commercial use and passing it on, so you bring your own copy, or make fields by a program, in the same folders.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nobody flew over these fields: they, their crops and their anomalies are made by a program, and each picture of them says *simulated*. A score here says how the method works, not how well it would do over real fields.
# :::

# %%
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import requests
import tensorflow as tf
from PIL import Image

from arsetlib import evaluation, images, maps, simulate
from arsetlib.models import images as networks
from arsetlib.training import parallel_sgd

source = "simulated"  # or your copy of Agriculture-Vision

tf.get_logger().setLevel("ERROR")  # no advice on speed amid the lab
SMALL = os.environ.get("ARSET_SCALE") == "small"  # tests run a toy
BARS = os.environ.get("ARSET_BOOK") != "1"  # the book's pages do not move
CHECKOUT = Path("../../pyproject.toml").exists()
DATA = Path(
    os.environ.get("ARSET_DATA") or ("../../data" if CHECKOUT else "data")
)
# Section 15 wants two devices: let the processor play both.
processor = tf.config.list_physical_devices("CPU")[0]
twice = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, twice)

if source == "simulated":
    folder = DATA / ("fields-toy" if SMALL else "fields")
    if not (folder / "_manifest.json").exists():
        print(f"Making the simulated fields in {folder} …")
    toy = {"fields": 30, "chips": 3, "size": 128}
    full = {"fields": 100, "chips": 6, "size": 512}
    simulate.fields(folder, seed=1, progress=BARS, **(toy if SMALL else full))
else:
    folder = Path(source)

chips = images.agriculture_vision(folder)[:600]  # all, if you have hours
fields = SimpleNamespace(simulated=chips.simulated)
CLASSES, K = images.CLASSES, len(images.CLASSES)
NAMES = [name.replace("_", " ") for name in CLASSES]
SIDE = chips.size[0]  # pixels of a side
pixels, valid = images.read(chips, 0)
print(f"{len(chips)} chips of {len(set(chips.fields))} fields")
print(f"a chip: {pixels.shape} {pixels.dtype}, {valid.mean():.0%} valid")
print(f"simulated: {chips.simulated}; {chips.licence}")
assert chips.labels.shape == (len(chips), K)
if fields.simulated:  # a large set takes its time to be checked
    assert images.check(folder).ok

# %% [markdown]
# ## 2. Nine things that go wrong
#
# :::{admonition} Predict
# :class: predict
# Which of the nine can you tell at a glance, which only in near infrared, and which only if you know the field's edge? Change the view and look again.
# :::


# %%
def views(pixels):
    """What a chip (H, W, 4) looks like in three views."""
    red, green, _, nir = pixels.transpose(2, 0, 1)
    return {
        "true colour": pixels[..., :3],
        "near infrared": np.stack([nir, red, green], -1),
        "NDVI": plt.get_cmap("RdYlGn")(images.ndvi(pixels) / 2 + 0.5)[..., :3],
    }


def marked(i, k):
    """(H, W) bool: where the agronomist saw class k on chip i."""
    path = chips.paths(i).labels[k]
    return np.asarray(Image.open(path)) > 0


alone = chips.labels.sum(1) == 1
shown = {}
for k in range(K):
    having = np.flatnonzero(chips.labels[:, k] & alone)
    having = having if len(having) else np.flatnonzero(chips.labels[:, k])
    if len(having):
        shown[k] = having[0]


COLOURS = {
    "true colour": "",
    "near infrared": "red is near infrared   ",
    "NDVI": "NDVI: red −1, yellow 0, green 1   ",
}


def gallery(view):
    """One chip of each class, its anomaly outlined."""
    with plt.rc_context(maps.STYLE):
        fig, axes = plt.subplots(3, 3, figsize=(7.6, 8.1))
    for ax in axes.flat:
        ax.axis("off")
    for ax, (k, i) in zip(axes.flat, shown.items(), strict=False):
        thin = max(1, SIDE // 256)
        ax.imshow(views(images.read(chips, i)[0])[view][::thin, ::thin])
        where = marked(i, k)[::thin, ::thin]
        ax.contour(where, [0.5], colors="white", linewidths=2.6)
        ax.contour(where, [0.5], colors="black", linewidths=1)
        ax.set_title(NAMES[k], fontsize=9)
    note = "simulated" if fields.simulated else ""
    note = f"{COLOURS[view]}line: marked as the class above it   {note}"
    fig.text(0.98, 0.01, note, ha="right", style="italic", color="#5a6872")
    fig.subplots_adjust(0.01, 0.035, 0.99, 0.97, 0.03, 0.1)
    plt.close(fig)
    return fig


maps.knob(
    gallery,
    "One chip of each of the nine classes, with the anomaly outlined.",
    view=["true colour", "near infrared", "NDVI"],
)
several = (chips.labels.sum(1) > 1).mean()
none = (chips.labels.sum(1) == 0).mean()
print(f"several labels: {several:.0%} of the chips, none: {none:.0%}")
assert len(shown) == K
assert all(marked(i, k).any() for k, i in shown.items())

# %% [markdown]
# A chip can have several labels, or none: so the answer is nine yes-or-no questions (*multi-label*, a sigmoid each), not one choice of nine (*single-label*, a softmax). A directory with a folder for each class can only say the second. Some need their surroundings: an end row is a change of direction at the field's edge, and a planter skip is a gap no wider than a row.
#
# ## 3. Count, and split by field
#
# :::{admonition} Predict
# :class: predict
# The commonest class is in how many times more chips than the rarest? Chips of a field share its soil, its crop and the hour of the flight. What must stay on one side?
# :::

# %%
sides = images.split(chips, seed=0)
counts = pd.DataFrame(
    {side: part.labels.sum(0) for side, part in sides.items()}, index=NAMES
)
fig = maps.bars(counts, "Chips of each class, by side", "chips", study=fields)
maps.show(fig, "Chips of each class in training, validation and test")
dealt = {side: set(part.fields) for side, part in sides.items()}
print({side: f"{len(part)} chips" for side, part in sides.items()})
total = chips.labels.sum(0)
print(f"{NAMES[total.argmax()]}: {total.max()} chips, ", end="")
print(f"{NAMES[total.argmin()]}: {total.min()}")

train, validation, test = (sides[s] for s in ("train", "validation", "test"))
assert not dealt["train"] & (dealt["validation"] | dealt["test"])
assert not dealt["validation"] & dealt["test"]
assert sum(map(len, sides.values())) == len(chips)

# %% [markdown]
# Fields are dealt, not chips, and so that each class reaches each side. The imbalance is as in the real set: weeds and nutrient stripes are everywhere, storm damage is rare. Accuracy would reward never naming the rare ones; hence F1 for each class, and its mean, *macro-F1*.
#
# ## 4. The report, read like a referee
#
# The report trained NASNetLarge on the images as a directory tree and as TFRecord, and gave these times.
#
# :::{admonition} Predict
# :class: predict
# Five times the epochs should take five times as long. Which rows keep that? Which columns may be compared?
# :::

# %%
times = evaluation.published.farm_times()
said = times.rename(
    columns={"directory": "directory, min", "tfrecord": "TFRecord, min"}
)
said["ratio"] = times["directory"] / times["tfrecord"]
maps.show(said, "Minutes of training as the report gives them, 2021")

per_device = times.groupby("device", sort=False)["directory"]
growth = (per_device.last() / per_device.first())[per_device.size() == 2]
for device, factor in growth.items():
    print(f"{device}: 50 epochs took {factor:.1f} × as long as 10")
said_accuracy = evaluation.published.farm_accuracy()
print(said_accuracy.to_string())
assert growth["CPU"] < 2
assert growth.drop("CPU").between(4.5, 5.5).all()

# %% [markdown]
# On the processor an epoch of the long run took a third of the time of one of the short run: something else was measured as well, or a figure is wrong. (In the notebooks that the report saved, the processor's figure for TFRecord repeats one of a graphics card.) On the graphics card, the directory ran on a P100 and TFRecord on a V100, which is the faster of the two: the ratio holds both, and cannot be taken apart. And `MirroredStrategy`, which shares work between devices, had one device to share it with.
# None of this says that the conclusions are wrong. It says that these figures cannot show them. The rest of the lab measures each of them with one thing changed at a time.
#
# ## 5. Why memory ends
#
# :::{admonition} Predict
# :class: predict
# A chip is a JPEG of some tens of kilobytes for colour, and another for NIR. How many bytes is it when decoded, and as the 32-bit floats that a network wants? How many gigabytes are the published 94,986 chips?
# :::

# %%
files = [
    f
    for i in range(len(chips))
    for f in (chips.paths(i).rgb, chips.paths(i).nir)
]
on_disk = sum(f.stat().st_size for f in files)
chip = SIDE * SIDE * 4  # bytes, decoded
sizes = {
    "these chips": len(chips),
    "the report's saved run": int(said_accuracy["images"].sum()),
    "all of Agriculture-Vision": 94_986,
}
gigabytes = np.array([on_disk / len(chips), chip, 4 * chip]) / 1e9
memory = pd.DataFrame(
    [(name, f"{n:,}", *(n * gigabytes)) for name, n in sizes.items()],
    columns=["set", "chips", "JPEG, GB", "decoded, GB", "32-bit floats, GB"],
)
maps.show(memory, "What a set takes on disk and in memory, by arithmetic")
growth = 4 * chip / (on_disk / len(chips))
print(f"from disk to floats a chip grows {growth:.0f} times")
assert growth > 16

# %% [markdown]
# Compression hides the size: a folder that looks small on disk is not small in memory. (The run whose outputs the report saved would have fitted into a laptop, at the network's 331 × 331 pixels more easily still. Its question is asked of the whole set.)
#
# Arithmetic is a promise; now measure. Two processes read chips as floats. One keeps what it has read, as `np.stack([...])` over a folder does. The other looks at a chip and lets it go. Both may use a quarter of what the set needs: a small machine, made by a limit.

# %%
READER = """
import resource, sys
from arsetlib import images
folder, how, cap = sys.argv[1], sys.argv[2], int(sys.argv[3])
chips = images.agriculture_vision(folder)[:600]
images.read(chips, 0)  # whatever is loaded at first use
page = resource.getpagesize()
def held(column):  # bytes: 1 is what is in memory, 5 what was asked for
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(open("/proc/self/statm").read().split()[column]) * page
if sys.platform == "linux":
    most = held(5) + cap
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
kept, before = [], held(1)
try:
    for i in range(len(chips)):
        x = images.read(chips, i)[0].astype("f4") / 255
        if how == "keep":
            kept.append(x)
        print(i + 1, (held(1) - before) / 1e6)
    print("done")
except MemoryError:
    print("MemoryError")
"""

cap = 4 * chip * len(chips) // 4
fig = maps.figure(
    "Memory while reading", "chips read", "more than at the start, MB",
    study=fields,
)  # fmt: skip
reached = {}
for how, dash in (("keep", "solid"), ("let go", "dash")):
    run = subprocess.run(
        [sys.executable, "-c", READER, str(folder), how, str(cap)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, last = run.stdout.split("\n")[:-1]
    ended = last == "MemoryError"
    n, used = np.array([s.split() for s in lines], float).T
    reached[how] = (int(n[-1]), used.max(), ended)
    fig.add_scatter(x=n, y=used, name=how, line={"dash": dash})
    if ended:
        fig.add_scatter(
            x=n[-1:], y=used[-1:], mode="markers", name="MemoryError",
            marker={"symbol": "x", "size": 12, "color": "black"},
        )  # fmt: skip
fig.add_hline(cap / 1e6, line_dash="dot", annotation_text="the limit")
maps.show(
    fig,
    "Memory against chips read, by a process that keeps what it has read and "
    "by one that does not",
)
for how, (n, used, ended) in reached.items():
    print(f"{how}: {n} chips, {used:.0f} MB, out of memory: {ended}")
assert not reached["let go"][2]
assert reached["let go"][1] < reached["keep"][1]
if sys.platform == "linux":  # others do not keep such limits
    assert reached["keep"][2]
    assert abs(reached["keep"][0] - len(chips) / 4) < 0.1 * len(chips)

# %% [markdown]
# One line climbs to the limit and ends there; the other hardly moves, and would not for a million chips. That is all there is to 'larger than memory': hold a batch, not a set.
#
# :::{admonition} Exercise 1
# :class: exercise
# Keeping bytes (`uint8`) instead of floats is four times less, shrinking to 128 × 128 another sixteen. How many of the 94,986 chips does *your* memory hold in each form? `os.sysconf("SC_PHYS_PAGES")` times the page size is what the machine has.
# :::

# %% tags=["hide-cell"]
# Solution: sometimes the honest answer is that the shrunken set fits, and that
# no pipeline is needed. Ask what the shrinking costs in score before.
machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
for side in (512, 128):
    for kind, width in (("floats", 4), ("bytes", 1)):
        fits = machine // (side * side * 4 * width)
        print(f"{side} × {side} as {kind}: {fits:,} chips")

# %% [markdown]
# ## 6. A generator by hand
#
# Python has a word for work that waits until it is asked for: `yield`.
#
# :::{admonition} Predict
# :class: predict
# How long until `lazily(...)` returns? How long until its first batch is there? And how long would the first batch take if all were loaded first?
# :::

# %%
SEEN = SIDE // 4  # pixels a side, as the network will see a chip


def lazily(chips, batch):
    """Batches (B, H, W, 4) of 0..1 and (B, 9), made when asked for."""
    for start in range(0, len(chips), batch):
        some = range(start, min(start + batch, len(chips)))
        read = [images.read(chips, i) for i in some]
        x = np.stack([p * valid[..., None] for p, valid in read])
        yield x.astype("f4") / 255, chips.labels[some].astype("f4")


clock = time.perf_counter()
mine = lazily(train, 16)
called = time.perf_counter() - clock
next(mine)
first = time.perf_counter() - clock
print(f"called: {1e6 * called:.0f} µs, first batch after {1e3 * first:.0f} ms")
print(f"loading all first: about {first * len(train) / 16:.1f} s")

whole = images.images(train[:48], batch=16, size=SIDE)
for (my_x, my_y), (x, y) in zip(
    lazily(train[:48], 16), whole.arrays(), strict=True
):
    assert np.allclose(my_x, x, atol=1e-6)
    assert np.array_equal(my_y, y)
print(f"library: {whole.steps} steps, x {x.shape} {x.dtype}, y {y.shape}")
assert called < first

# %% [markdown]
# Calling it did nothing at all: a generator runs from one `yield` to the next, each time somebody asks. The library's loader yields the same numbers (a pixel outside the field or the camera's view is 0); it also reads ahead, in parallel, shrinks, shuffles and augments by a seed, and takes other forms than a folder of files.
#
# ## 7. Four forms of one set
#
# - A **directory**: one folder for each class, files in them. Everybody can look at it.
# - **TFRecord**: records one after the other in a few *shards*, to be read from front to end.
# - **Parquet**: the table of Lab 1, with the encoded images as a binary column.
# - And the **generator**: the published folders as they are.
#
# :::{admonition} Predict
# :class: predict
# The JPEGs are copied, not encoded anew. Which form is the largest on disk? What does the directory do with a chip that has two labels? What is gained by a TFRecord whose images were shrunk at conversion?
# :::

# %%
forms = DATA / f"forms-{folder.name}"
MB = 1 if SMALL else 16  # a shard, about
ways = {
    "directory": {"form": "directory"},
    "TFRecord": {"form": "tfrecord", "shard_mb": MB},
    "Parquet": {"form": "parquet", "shard_mb": MB},
    "TFRecord, shrunk": {"form": "tfrecord", "shard_mb": MB, "size": SEEN},
}
made, rows = {}, []
for name, how in ways.items():
    clock = time.perf_counter()
    out = forms / name.lower().replace(", ", "-")
    made[name] = images.convert(train, out, **how, progress=False)
    seconds = time.perf_counter() - clock
    files = [f for f in made[name].rglob("*") if f.is_file()]
    megabytes = sum(f.stat().st_size for f in files) / 1e6
    rows.append((name, len(files), megabytes, seconds, len(train) / seconds))
written = pd.DataFrame(
    rows, columns=["form", "files", "MB", "seconds", "chips a second"]
)
maps.show(
    written, "The training chips in four forms, and what writing them took"
)

several = sum(train.labels.sum(1) > 1)
print(f"chips with several labels, of which a folder says one: {several}")
by_form = written.set_index("form")
assert by_form.loc["TFRecord", "files"] < by_form.loc["directory", "files"] / 10
assert by_form.loc["TFRecord, shrunk", "MB"] < by_form.loc["TFRecord", "MB"] / 4

# %% [markdown]
# (A second run of the cell finds the forms finished, so its seconds say nothing.) A conversion that is stopped keeps its finished shards and goes on from there; each shard's sum is kept in `index.json`.
#
# ## 8. Inside a TFRecord
#
# A shard is as plain as a file can be. Each record: its length (8 bytes), a checksum of the length (4), the record, a checksum of the record (4). The record is a *protobuf* `Example`, a dictionary of lists.
#
# :::{admonition} Predict
# :class: predict
# To read record 100 you must know where it begins. How would you find out? What follows for shuffling?
# :::


# %%
def records(path):
    """Each record's bytes, one after the other."""
    with path.open("rb") as file:
        while head := file.read(12):
            (length,) = struct.unpack("<Q", head[:8])
            yield file.read(length)
            file.read(4)


shards = sorted(made["TFRecord"].glob("*.tfrecord"))
by_hand = list(records(shards[0]))
by_library = [r.numpy() for r in tf.data.TFRecordDataset(str(shards[0]))]
assert by_hand == by_library

example = tf.train.Example.FromString(by_hand[0])
for key, feature in sorted(example.features.feature.items()):
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    what = f"{len(values[0]):,} bytes" if kind == "bytes_list" else list(values)
    print(f"{key:8} {what}")

broken = bytearray(shards[0].read_bytes())
broken[len(broken) // 2] ^= 1  # one bit
bad = forms / "one-bit-flipped.tfrecord"
bad.write_bytes(broken)
try:
    for _ in tf.data.TFRecordDataset(str(bad)):
        pass
    noticed = False
except tf.errors.DataLossError as error:
    noticed = True
    print("TensorFlow:", error.message.split("}} ")[-1][:70])
assert noticed

# %% [markdown]
# Only by walking through all before it. So records are shuffled by drawing shards in random order and keeping a *buffer* of records to draw from; the library's index also keeps each record's place, so that any order can be had. The checksums cost little and notice a single bit, which a JPEG in a folder passes off as a slightly other picture.
#
# ## 9. A race, cold and warm
#
# *Warm*: the system still holds the files in memory from the last reading. *Cold*: it must fetch them from the disk, as it must in every epoch of a set larger than memory. The cell tells the system to forget the files before each cold run. All forms run in turns, twice; the better counts, since whatever else the machine does can only slow them.
#
# :::{admonition} Predict
# :class: predict
# The report found TFRecord about twice as fast as the directory. What do you expect here, cold and warm? What will a second reader bring? And which entrant wins?
# :::


# %%
def forget(folder):
    """Ask the system to drop what it holds of these files in memory."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def run_through(source, readers=2, **how):
    """Images a second of one pass; nothing is trained."""
    loader = images.images(source, batch=32, size=SEEN, readers=readers, **how)
    dataset, n = loader.dataset, 0
    clock = time.perf_counter()
    for x, _ in dataset:
        n += len(x)
    return n / (time.perf_counter() - clock)


raced = {"generator": train} | made
laps = []
for _ in range(1 if SMALL else 2):
    for readers in (2,) if SMALL else (1, 2):
        for state in ("cold", "warm"):
            for name, entrant in raced.items():
                if state == "cold":
                    forget(folder if name == "generator" else entrant)
                rate = run_through(entrant, readers)
                laps.append((name, state, readers, rate))
laps = pd.DataFrame(laps, columns=["form", "cache", "readers", "rate"])
race = laps.groupby(["form", "cache", "readers"], sort=False)["rate"].max()
race = race.unstack(["cache", "readers"])
race.columns = [f"{c}, {r} reader{'s' * (r > 1)}" for c, r in race.columns]
fig = maps.figure(
    "Reading, decoding, shrinking",
    "images a second",
    "",
    study=fields,
    height=470,
)
for i, column in enumerate(race):
    fig.add_bar(
        y=race.index, x=race[column], name=column, orientation="h",
        marker={"color": maps.LINES[i], "pattern": {"shape": ["", "/"][i % 2]}},
    )  # fmt: skip
fig.update_yaxes(autorange="reversed")
maps.show(
    fig,
    "Images a second of each form, cold and warm, with one reader and with two",
)
maps.show(
    race.reset_index().round(0), "Images a second, the better of two turns"
)
versus = race.loc["TFRecord"] / race.loc["directory"]
for column, ratio in versus.items():
    print(f"TFRecord / directory, {column}: {ratio:.2f}")
assert (race > 0).all().all()

# %% [markdown]
# Compare within a column: same machine, same images, same batches, and only the form differs. Then compare the ratios with the report's. Where they wander from column to column, other programs are at work, and the answer is 'no difference to be seen'. The shrunk entrant has less to do each epoch, because part of the work was done once, at conversion.
# How cold is cold? The system remembers names and places of files, and a rented machine's disk may lie in its host's memory. On a disk that turns, the generator's four files a chip are four journeys of the arm.
#
# ## 10. Where the time goes
#
# :::{admonition} Predict
# :class: predict
# For one image: fetching its bytes from the disk, decoding two JPEGs, shrinking. Which takes longest? By how much could a perfect form of file speed up the whole?
# :::


# %%
def packed_in(folder):
    """(rgb, nir) JPEG bytes of the first 32 records."""
    path = sorted(folder.glob("*.tfrecord"))[0]
    read = [tf.train.Example.FromString(r) for r in records(path)][:32]
    return [
        [
            e.features.feature[band].bytes_list.value[0]
            for band in ("rgb", "nir")
        ]
        for e in read
    ]


def decode(pair, ratio):
    """(S / ratio, S / ratio, 4): JPEG can leave out fine detail."""
    return tf.concat([tf.io.decode_jpeg(one, ratio=ratio) for one in pair], -1)


def per_image(work, items):
    """Milliseconds; the best of three passes."""
    passes = []
    for _ in range(3):
        clock = time.perf_counter()
        for item in items:
            work(item)
        passes.append(1e3 * (time.perf_counter() - clock) / len(items))
    return min(passes)


forget(made["TFRecord"])
clock = time.perf_counter()
total_bytes = sum(len(shard.read_bytes()) for shard in shards)
cold = time.perf_counter() - clock
packed = packed_in(made["TFRecord"])
shrunk_before = packed_in(made["TFRecord, shrunk"])
full_size = [decode(pair, 1) for pair in packed]
stages = {
    "fetch from the disk, cold": 1e3 * cold / len(train),
    "decode at full size": per_image(lambda pair: decode(pair, 1), packed),
    "and shrink": per_image(
        lambda x: tf.image.resize(x, (SEEN, SEEN), "area"), full_size
    ),
    "decode a quarter of the side": per_image(
        lambda pair: decode(pair, 4), packed
    ),
    "decode what was shrunk before": per_image(
        lambda pair: decode(pair, 1), shrunk_before
    ),
}
fig = maps.bars(
    pd.Series(stages), "One image, one thread", "ms", study=fields, text=".2f"
)
maps.show(
    fig,
    "Milliseconds an image for fetching it cold, decoding it, shrinking it, and "
    "for decoding it small at once",
)
work = stages["decode a quarter of the side"]
whole_way = stages["fetch from the disk, cold"] + work
print(f"disk, cold: {total_bytes / cold / 1e6:.0f} MB a second")
print(f"if fetching took no time: {whole_way / work:.2f} × as fast, at best")
near = abs(
    tf.cast(decode(packed[0], 4), tf.float32)
    - tf.image.resize(full_size[0], (SEEN, SEEN), "area")
)
print(f"small at once, or shrunk: {tf.reduce_mean(near):.1f} of 255 apart")
assert tf.reduce_mean(near) < 3
if not SMALL:
    assert (
        stages["decode a quarter of the side"] < stages["decode at full size"]
    )

# %% [markdown]
# A JPEG holds an image as waves; who wants a quarter of the side reads only the long ones. The library does that by itself, and it is worth more than any form of file.
# Where decoding takes most of the time, no form can help much, and a twofold gain must have come from elsewhere: another card, or a disk that was slow and far. Notebooks in a cloud often read from a drive that answers each request after tens of milliseconds. There the number of requests counts:

# %%
WAIT = 0.03  # seconds until a request is answered; yours?
WIRE = 50e6  # bytes a second of the connection
AT_ONCE = 8  # requests under way together
CORES = os.cpu_count()

limit = CORES * 1e3 / work  # images a second that the cores can decode
each = on_disk / len(chips)  # bytes
asked = {
    "directory": 2,  # two requests an image: colour and NIR
    "TFRecord, 1 MB a shard": each / 1e6,
    "TFRecord, 32 MB a shard": each / 32e6,
}
far = pd.DataFrame(
    [
        (name, n, AT_ONCE / (WAIT * n), WIRE / each, limit)
        for name, n in asked.items()
    ],
    columns=["form", "requests an image", "waiting", "wire", "decoding"],
)
limits = far[["waiting", "wire", "decoding"]]
far["images a second"] = limits.min(axis=1)
far["limited by"] = limits.idxmin(axis=1)
maps.show(
    far,
    "A far disk, by arithmetic: images a second that each limit allows",
)
assert far["images a second"].is_monotonic_increasing
assert far["waiting"].idxmin() == 0

# %% [markdown]
# Set `WAIT` to 0.0001, as for a disk in the machine, and the forms are equal. That is the honest answer to 'does TFRecord beat a directory?': it depends on what waits for what. Measure where you train.
#
# ## 11. How large a shard?
#
# Shards of 10 to 100 MB are the usual advice. Small ones can be spread over more readers and workers; large ones need fewer requests.
#
# :::{admonition} Predict
# :class: predict
# On this disk, with two readers: will one shard for everything be slower than ten? Than a hundred?
# :::

# %%
wanted = (0.05, 1) if SMALL else (1, 12, 64)  # MB
cut = {
    mb: images.convert(
        train, forms / f"shards-{mb:g}", shard_mb=mb, progress=False
    )
    for mb in wanted
}
rows = []
for _ in range(1 if SMALL else 3):
    for mb, entrant in cut.items():
        number = len(list(entrant.glob("*.tfrecord")))
        rows.append((mb, number, run_through(entrant)))
shard = pd.DataFrame(rows, columns=["MB", "shards", "rate"])
shard = shard.groupby(["MB", "shards"])["rate"].median().reset_index()
shard.index = [
    f"{n} shard{'s' * (n > 1)} of about {mb:g} MB"
    for mb, n in zip(shard["MB"], shard["shards"], strict=True)
]
fig = maps.bars(
    shard["rate"],
    "Shard size, two readers, warm",
    "images a second",
    study=fields,
)
maps.show(fig, "Images a second for many small shards and for few large ones")

parts = [
    images.images(cut[wanted[0]], batch=8, size=SEEN, part=(k, 3)).rows()
    for k in range(3)
]
print("three workers get", [len(p) for p in parts], "chips")
assert sorted(np.concatenate(parts)) == list(range(len(train)))
assert shard["shards"].is_monotonic_decreasing

# %% [markdown]
# On a near disk the size hardly matters, as long as there are shards enough to be read side by side. What must hold at any size is the last assert: three workers get every chip, and none twice.
#
# ## 12. Batch size
#
# A device likes large batches: the work of starting a step is shared by more images. Does learning like them, too? The same small network sees the same images for as many epochs, in batches of 8, 32 and 128, and once more 128 with the learning rate raised with the batch, 16-fold: the *linear scaling rule* (Goyal and others, 2017).
#
# :::{admonition} Predict
# :class: predict
# Which run ends with the lowest loss? Which shows the most images a second? How many steps has each made?
# :::

# %%
TINY = 32 if SMALL else 64  # small enough to keep all in memory
loader = images.images(chips, batch=64, size=TINY)
x_all, y_all = (np.concatenate(p) for p in zip(*loader.arrays(), strict=True))
of_train = np.isin(chips.names, train.names)
x_train, y_train = x_all[of_train], y_all[of_train]
EPOCHS = 3 if SMALL else 8
runs = {}
for name, batch, rate in (
    ("8", 8, 0.02), ("32", 32, 0.02), ("128", 128, 0.02),
    ("128, rate × 16", 128, 0.32),
):  # fmt: skip
    network = networks.build("small", size=TINY, seed=1)
    network.compile(keras.optimizers.SGD(rate), "binary_crossentropy")
    network.train_on_batch(x_train[:batch], y_train[:batch])  # compiles
    clock = time.perf_counter()
    history = network.fit(x_train, y_train, batch, EPOCHS, verbose=0).history
    seconds = time.perf_counter() - clock
    steps = -(-len(x_train) // batch)
    runs[name] = (
        history["loss"],
        EPOCHS * len(x_train) / seconds,
        EPOCHS * steps,
    )

fig = maps.figure("Batch size", "epoch", "training loss", study=fields)
for (name, (loss, *_)), dash in zip(
    runs.items(), ("solid", "dash", "dot", "dashdot"), strict=True
):
    fig.add_scatter(
        x=np.arange(1, EPOCHS + 1), y=loss, name=name, line={"dash": dash}
    )
maps.show(
    fig,
    "Training loss by epoch for batches of 8, 32 and 128, and for 128 with a "
    "higher rate",
)
table = pd.DataFrame(
    [(name, steps, rate, loss[-1]) for name, (loss, rate, steps) in runs.items()],
    columns=["batch", "steps", "images a second", "last loss"],
)  # fmt: skip
maps.show(table, "The same images for as many epochs, in other batches")
assert table["steps"][0] > table["steps"][2]
if not SMALL:
    assert runs["8"][0][-1] < runs["128"][0][-1]

# %% [markdown]
# The report's sentence holds in its second half: with the same rate larger batches get less far, since they take fewer steps. How many more images a second they do depends on the device: a card gains much, two cores little. A higher rate wins back most of what was lost, as long as the steps do not overshoot; several devices need that, because together they *are* a large batch.
#
# ## 13. Two halves make a whole
#
# *Data parallel*: each device has a copy of the network and a part of the batch; the gradients are averaged, and all copies take the same step.
#
# :::{admonition} Predict
# :class: predict
# Is the average of the gradients of two halves the gradient of the whole, exactly, nearly, or not at all? What of a layer such as batch normalisation, which looks at its whole batch?
# :::

# %%
loss_of = keras.losses.BinaryCrossentropy()


def gradient(network, x, y):
    with tf.GradientTape() as tape:
        loss = loss_of(y, network(x, training=False))
    return tape.gradient(loss, network.trainable_variables)


whole = gradient(network, x_train[:32], y_train[:32])
left = gradient(network, x_train[:16], y_train[:16])
right = gradient(network, x_train[16:32], y_train[16:32])
apart = max(
    float(tf.reduce_max(abs(w - (a + b) / 2)))
    for w, a, b in zip(whole, left, right, strict=True)
)
largest = max(float(tf.reduce_max(abs(w))) for w in whole)
print(f"largest gradient {largest:.4f}, largest difference {apart:.1e}")
sent = sum(4 * int(tf.size(w)) for w in whole)
print(f"each device sends {sent / 1e6:.2f} MB a step, whatever the batch")
assert apart < 1e-4 * max(largest, 1)

# %% [markdown]
# The same, but for rounding. So two devices with batches of 16 *are* one with 32. (Batch normalisation breaks this a little: it averages over its own device's part.) The price is one message of the size of the network each step.
#
# ## 14. Averaged or late
#
# Waiting for the slowest device each step is a pity. *Averaged* SGD waits: all compute at the same weights, one step of the mean. *Delayed* SGD does not: devices take turns, and each applies a gradient that was computed at weights some steps old. The number of steps is its *staleness*.
#
# To see it, one small question: is there drydown on a chip, told from the mean and the spread of its bands by a logistic regression? It has one valley, so that nothing but the way of stepping differs.
#
# :::{admonition} Predict
# :class: predict
# Eight workers, each gradient from 16 chips, 960 gradients in all. Which is lower in the end: eight averaged, or eight in turns? And what if each steps further?
# :::

# %%
stats = np.concatenate([x_train.mean((1, 2)), x_train.std((1, 2))], 1)
stats = (stats - stats.mean(0)) / stats.std(0)  # (N, 8)
valley = parallel_sgd.Problem(stats, y_train[:, 1], 0, np.zeros(9))


def late_by_hand(staleness, rate, steps):
    """Loss after steps whose gradient is that of older weights."""
    everything = np.arange(len(stats))
    past = [valley.start] * (staleness + 1)  # the last is today's
    for _ in range(steps):
        new = past[-1] - rate * valley.gradient(past[0], everything)
        past = [*past[1:], new]
    return valley.loss(past[-1])


for staleness in (0, 7):
    same = parallel_sgd.delayed(
        valley, staleness=staleness, batch=len(stats), rate=0.3, steps=50
    )
    assert np.isclose(late_by_hand(staleness, 0.3, 50), same.loss[-1])

runs_of = {
    "one worker": parallel_sgd.averaged(valley, rate=0.1, steps=960),
    "8 averaged": parallel_sgd.averaged(valley, workers=8, rate=0.1, steps=120),
    "8 averaged, rate × 8": parallel_sgd.averaged(
        valley, workers=8, rate=0.8, steps=120
    ),
    "8 in turns, 7 steps late": parallel_sgd.delayed(
        valley, staleness=7, rate=0.1, steps=960
    ),
    "8 in turns, rate × 16": parallel_sgd.delayed(
        valley, staleness=7, rate=1.6, steps=960
    ),
}
fig = maps.figure(
    "One question, eight workers", "gradients computed", "cross-entropy",
    study=fields,
)  # fmt: skip
for (name, run), dash in zip(runs_of.items(), maps.DASHES, strict=False):
    swings = name.endswith("16")  # thin, or it would hide the others
    line = {"width": 1} if swings else {"dash": dash, "width": 2.5}
    fig.add_scatter(x=run.points / 16, y=run.loss, name=name, line=line)
fig.update_xaxes(type="log", range=[0.7, 3])
fig.update_yaxes(type="log", range=[-0.6, 1])
maps.show(
    fig,
    "Cross-entropy against gradients computed, for one worker, for eight that "
    "average and for eight that take turns",
)
for name, run in runs_of.items():
    print(f"{name}: {run.steps[-1]} steps, ends at {run.loss[-1]:.3f}")
ends = {name: run.loss[-60:].mean() for name, run in runs_of.items()}
assert ends["8 averaged"] > ends["8 averaged, rate × 8"]
assert ends["8 in turns, rate × 16"] > ends["8 in turns, 7 steps late"]

# %% [markdown]
# Averaging eight gradients makes an eighth of the steps; with the rate raised it catches up. Late gradients lose little while steps are small. Raise the rate, and they answer to a place long left: the curve swings, or leaves for good. Nothing in a program's output would say why.
#
# :::{admonition} Exercise 2
# :class: exercise
# How late may a gradient be? `parallel_sgd.by_staleness(valley, staleness, rates)` gives the last loss for each pair. Take staleness 0, 1, 3, 7, 15, 31 and rates from 0.05 to 3.2, each twice the one before. Where does it stop to work, and what rule do you see?
# :::

# %% tags=["hide-cell"]
# Solution: twice as late, half the rate, roughly, once it is late at all.
rates = 0.05 * 2.0 ** np.arange(7)
grid = parallel_sgd.by_staleness(valley, (0, 1, 3, 7, 15, 31), rates)
maps.show(grid.reset_index(), "The last loss; it began at 0.693")

# %% [markdown]
# ## 15. Two devices
#
# `MirroredStrategy` does the averaging for you. Here the processor plays two devices, so what you see is the price of sharing, without its gain.
#
# :::{admonition} Predict
# :class: predict
# Same network, same images, same batch of 32 in all. Is the loss the same? How many images a second, against one device?
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
shared = {}
for name, strategy in strategies.items():
    with strategy.scope():
        network = networks.build("small", size=TINY, dropout=0, seed=1)
    epochs = images.fit(
        network, arrays, strategy=strategy, batch=32, epochs=4, seed=1,
        optimizer="sgd", learning_rate=0.02, progress=False,
    ).history  # fmt: skip
    seconds = np.median(epochs["seconds"][1:])  # the first one compiles
    shared[name] = epochs["loss"], n / seconds
    print(f"{name}: last loss {epochs['loss'][-1]:.6f}, ", end="")
    print(f"{shared[name][1]:.0f} images a second")
gain = shared["two"][1] / shared["one"][1]
print(f"two devices on {os.cpu_count()} cores: {gain:.2f} × as fast as one")
assert len(devices) == 2
assert np.allclose(shared["one"][0], shared["two"][0], rtol=0.02)

# %% [markdown]
# The same losses: the arithmetic holds. And no gain worth the name: one device uses all cores already, two must share them, and talk. This is also what the report saw with one device under `MirroredStrategy`: the price, and nothing to share. Two *cards* would each bring cores of their own; how much of that is left after talking is what you measure.
#
# Several machines are the same idea with a network between them. `arset images train DATA RUN --workers 2` starts two processes on this machine; on a cluster, Spark can start one a node ([how](../../book/en/faq.md)). A worker that dies ends the run with an error, and the run goes on from its last backup.
#
# ## 16. Share the data, or the model?
#
# If a network does not fit into one device, its *layers* can be shared out: *model parallel*. Then not gradients are sent, but what layers hand on. Which is better depends on the layer. These are the layers of AlexNet (Krizhevsky and others, 2012), for which the rule was found.
#
# :::{admonition} Predict
# :class: predict
# Which layers do most of the multiplying, convolutions or dense ones? Which hold most of the parameters?
# :::

# %%
convolutions = [  # kernel, channels in, channels out, side of the output
    (11, 3, 96, 55), (5, 48, 256, 27), (3, 256, 384, 13), (3, 192, 384, 13),
    (3, 192, 256, 13),
]  # fmt: skip
dense = [(9216, 4096), (4096, 4096), (4096, 1000)]
weights = {
    "convolutions": sum(k * k * i * o for k, i, o, _ in convolutions),
    "dense": sum(i * o for i, o in dense),
}
products = {
    "convolutions": sum(k * k * i * o * s * s for k, i, o, s in convolutions),
    "dense": weights["dense"],  # each used once an image
}
BATCH = 128
mobile = networks.build("mobilenetv3", size=SEEN)
head = sum(
    n.count_params() for n in mobile.layers if isinstance(n, keras.layers.Dense)
)
handed_on = {
    "convolutions": sum(o * s * s for *_, o, s in convolutions),
    "dense": 9216 + sum(o for _, o in dense),
}
counted = pd.DataFrame(
    {"multiplications, %": products, "parameters, %": weights}
)
alex = 100 * counted / counted.sum()
alex["gradients a step, MB"] = 4e-6 * pd.Series(weights)
alex["activations a step, MB"] = 4e-6 * BATCH * pd.Series(handed_on)
maps.show(
    alex.reset_index(names="layers"),
    f"AlexNet at a batch of {BATCH}: where work and parameters are, and what "
    "would be sent",
)
print(f"MobileNetV3: {100 * head / mobile.count_params():.1f} % are dense")
assert alex["multiplications, %"]["convolutions"] > 90
assert alex["parameters, %"]["dense"] > 95

# %% [markdown]
# Convolutions: much work, few parameters, so share the *data* and send small gradients. Dense layers: little work, nearly all parameters, so share the *model* and send the few activations. Doing both in one network is called *hybrid*. Networks of today average over the picture before the end and have hardly any dense layer left, so for them data parallel is the rule, and the model is shared only where it does not fit. In Keras 3 both are a few lines, on the JAX backend: `keras.distribution.DataParallel()` and `keras.distribution.ModelParallel(layout_map=…)`.
#
# ## 17. Known by heart
#
# The report's training accuracy was 0.98 to 1.0, its validation 0.57 to 0.61. Let us have that, too: few fields, no augmentation, many epochs, one label each. And let us deal the chips in two ways.
#
# :::{admonition} Predict
# :class: predict
# Dealt by chip, neighbours from one field stand on both sides. Does the gap between training and validation become larger or smaller? Does the network become better?
# :::

# %%
single = y_all.sum(1) == 1
some, answer = x_all[single], y_all[single].argmax(1)
owner = chips.fields[single]
look = np.concatenate([some.mean((1, 2)), some.std((1, 2))], 1)
look = (look - look.mean(0)) / look.std(0)  # all that the copyist remembers


def deal(by, seed):
    """(N,) bool: three in ten chips for validation, by chip or by field."""
    rng = np.random.default_rng(seed)
    names, of = np.unique(
        owner if by == "field" else np.arange(len(owner)), return_inverse=True
    )
    return np.isin(of, rng.permutation(len(names))[: 3 * len(names) // 10])


def copyist(away):
    """Copies the answer of the known chip whose colours are nearest."""
    apart = ((look[away, None] - look[None, ~away]) ** 2).sum(-1)
    return (answer[~away][apart.argmin(1)] == answer[away]).mean()


copied = {
    by: [copyist(deal(by, seed)) for seed in range(20)]
    for by in ("chip", "field")
}
knowing = {}
curves = maps.figure("Known by heart", "epoch", "accuracy", study=fields)
for by, colour in zip(("chip", "field"), maps.LINES, strict=False):
    away = deal(by, seed=0)
    network = networks.build(
        "small", size=TINY, head="single", dropout=0, seed=1
    )
    network.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    network.optimizer.learning_rate = 2e-3
    told = network.fit(
        some[~away], answer[~away], 16, 3 if SMALL else 24, verbose=0,
        validation_data=(some[away], answer[away]),
    ).history  # fmt: skip
    for side, dash in (("accuracy", "solid"), ("val_accuracy", "dot")):
        name = f"dealt by {by}, {'validation' if 'val' in side else 'training'}"
        curves.add_scatter(
            x=np.arange(1, 1 + len(told[side])), y=told[side], name=name,
            line={"dash": dash, "color": colour},
        )  # fmt: skip
    last = {
        side: np.mean(told[side][-5:]) for side in ("accuracy", "val_accuracy")
    }
    knowing[by] = last["accuracy"], last["val_accuracy"], np.mean(copied[by])
curves.update_yaxes(range=[0, 1.02])
maps.show(
    curves,
    "Accuracy by epoch on training and validation, dealt by chip and by field",
)
columns = ["network, training", "network, validation", "copyist, validation"]
knowing = pd.DataFrame(knowing, columns).T.rename_axis("dealt by")
maps.show(
    knowing.reset_index(),
    f"Accuracy on {len(some)} chips of one label: the network's last five "
    "epochs, the copyist's mean of 20 deals",
)
assert np.mean(copied["chip"]) > np.mean(copied["field"])
if not SMALL:
    assert knowing.loc["field", "network, training"] > 0.9
    assert knowing.loc["field", "network, validation"] < 0.8
    gap = knowing["network, training"] - knowing["network, validation"]
    assert gap["field"] > 0.15

# %% [markdown]
# There it is: nearly all of the training known by heart, and far less of what is new. The *copyist*, who sees nothing but mean colours, gains much from being dealt by chip: it recognises the field. What the network gains by it depends on the deal; see the table. None of that gain would be there in a field nobody has flown over.
# The cure is not a larger network. It is more fields, augmentation, and weights that were learnt elsewhere.
#
# :::{admonition} Exercise 3
# :class: exercise
# A mirrored field is a field. Give the training side four copies of each chip (as it is, mirrored left to right, top to bottom, both) and a quarter of the epochs, dealt by field. What happens to the two accuracies?
# :::

# %% tags=["hide-cell"]
# Solution: as many images seen, fewer of them twice. The training accuracy
# falls, and the validation is as good or better.
away = deal("field", seed=0)
x = some[~away]
x = np.concatenate([x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]])
network = networks.build("small", size=TINY, head="single", dropout=0, seed=1)
network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
network.optimizer.learning_rate = 2e-3
told = network.fit(
    x, np.tile(answer[~away], 4), 16, 1 if SMALL else 6, verbose=0,
    validation_data=(some[away], answer[away]),
).history  # fmt: skip
for side in ("accuracy", "val_accuracy"):
    print(f"{side}: {np.mean(told[side][-3:]):.2f}")

# %% [markdown]
# ## 18. Train on all, test on new fields
#
# Now as it should be: all labels, all training fields from shards, augmented, the best epoch chosen on the validation, and the test left for the end. Two sizes, to see what shrinking costs: a quarter of a chip's side, and half of that.
#
# :::{admonition} Predict
# :class: predict
# A planter skip is as narrow as a row, drydown covers half a field. Which classes need the pixels? Which will a random forest find, which sees colours but not where they are?
# :::

# %%
fitted, scores = {}, {}
for size in (SEEN,) if SMALL else (TINY, SEEN):
    learn = {"train": made["TFRecord, shrunk"], "validation": validation}
    fitted[size] = images.fit(
        "small", learn, size=size, batch=16, learning_rate=2e-3,
        epochs=3 if SMALL else 36, patience=2 if SMALL else 35,
        monitor="val_macro_f1", cache="memory", seed=1, progress=False,
    )  # fmt: skip
    known = learn["train"] if size == SEEN else None  # for the baselines
    scores[size] = images.evaluate(fitted[size], test, train=known)
best = scores[SEEN]
columns = {f"network, {size} px": scores[size].model.f1 for size in scores}
columns["random forest"] = best.baselines["random forest"].f1
fig = maps.figure("F1 on new fields", "", "F1", study=fields, height=440)
for i, (name, f1) in enumerate(columns.items()):
    fig.add_bar(
        x=NAMES,
        y=f1,
        name=name,
        marker={
            "color": maps.LINES[i],
            "pattern": {"shape": ["", "/", "."][i]},
        },
    )
fig.update_yaxes(range=[0, 1])
maps.show(
    fig,
    "F1 of each class on the test fields: a network at two sizes, a forest",
)
maps.show(
    best.table().reset_index(),
    f"The test, {len(test)} chips of fields nobody has seen, at {SEEN} pixels",
)
history = fitted[SEEN].history
trained_rate = len(train) / np.median(history["seconds"])
print(
    f"kept: epoch {fitted[SEEN].notes['best_epoch']} of {len(history['loss'])}"
)
print(f"training: {trained_rate:.0f} images a second, validation included")
assert best.table().loc["majority", "accuracy"] > 0.75
if not SMALL:
    assert best.model.macro_f1 > best.baselines["majority"].macro_f1
    assert best.model.mean_average_precision > 0.35

# %% [markdown]
# The *majority* says no to everything and is right in most of its answers: that is what accuracy is worth here. mAP asks how well a class's chips are ranked before others, whatever the threshold. Look where network and forest part: water and drydown have a colour, an end row or a double planting has the crop's own, and only a shape. With so few test chips of the rare classes, one chip moves an F1 by tenths; and a class that the smaller pictures lose was lost at *conversion*, before any network saw it. Choose the size by the smallest thing you must see.
#
# ## 19. Transfer
#
# Another farm, another year: ten of its fields are labelled. The report's cure was NASNetLarge with weights from ImageNet, a million photographs of dogs, cups and cars. Where there is a connection the cell fetches such weights, for the smaller MobileNetV3; where there is none it takes random ones, and says so. The other candidate is the network that you have just trained.
#
# *Frozen*, a backbone stays as it came, and only the last layer learns. *Fine-tuned*, all of it goes on learning, ten times more gently.
#
# :::{admonition} Predict
# :class: predict
# Put them in order: from scratch; our network, frozen; our network, fine-tuned; MobileNetV3, frozen. And if its weights are random?
# :::

# %%
home = f"{networks.HOME}/{networks.BACKBONES['mobilenetv3'].weights}"
try:
    photographs = "imagenet" if requests.head(home, timeout=3).ok else None
except requests.RequestException:
    photographs = None
if photographs is None:
    print("No connection: MobileNetV3 gets random weights.")

other = DATA / ("farm-toy" if SMALL else "farm")
simulate.fields(
    other, seed=2, fields=30, chips=3 if SMALL else 6, size=SIDE, progress=BARS
)
farm = images.agriculture_vision(other)
number = np.unique(farm.fields, return_inverse=True)[1]
ten = {
    "train": farm[number < 7],
    "validation": farm[np.isin(number, (7, 8, 9))],
}
elsewhere = farm[number >= 10]
ours = fitted[SEEN].save(DATA / f"classifier-{folder.name}") / "model.keras"
LONG = 3 if SMALL else 24
ways = {
    "from scratch": ("small", {"learning_rate": 3e-3}),
    "ours, frozen": ("small", {"weights": ours, "freeze": LONG}),
    "ours, fine-tuned": ("small", {"weights": ours, "freeze": LONG // 3}),
    f"MobileNetV3, {photographs or 'random'}, frozen": (
        "mobilenetv3", {"weights": photographs, "freeze": LONG},
    ),
}  # fmt: skip
if SMALL:
    ways = dict(list(ways.items())[:3:2])
moved = {}
for name, (network, how) in ways.items():
    model = images.fit(
        network, ten, size=SEEN, batch=16, epochs=LONG, patience=LONG - 1,
        cache="memory", seed=1, progress=False, **{"learning_rate": 1e-2} | how,
    )  # fmt: skip
    moved[name] = images.evaluate(model, elsewhere).model
moved["ours, as it is"] = images.evaluate(fitted[SEEN], elsewhere).model
transfer = pd.Series({n: s.mean_average_precision for n, s in moved.items()})
fig = maps.bars(
    transfer, "The new farm's other fields", "mean average precision",
    study=fields,
)  # fmt: skip
maps.show(fig, "Mean average precision on the new farm for five ways to begin")
print({side: f"{len(part)} chips" for side, part in ten.items()})
assert ((transfer > 0) & (transfer <= 1)).all()
if not SMALL:
    assert transfer["ours, fine-tuned"] > transfer["from scratch"]

# %% [markdown]
# Weights that were learnt on *fields* help at once, even with nothing trained at all: two simulated farms are more alike than real ones. A frozen network with random weights is the lower bound, what a last layer makes of features that nobody chose; weights from photographs lie somewhere above it. Try both before you pay for the large network.
#
# ## 20. What does it cost?
#
# Hours times price, and the price of what waits. What stands in capitals is an *input*: write in it what your provider asks today, in your money, and what your device trains a second.
#
# :::{admonition} Predict
# :class: predict
# A card that could train on 4,000 images a second stands in a machine with 4 cores. What does an hour of it buy?
# :::

# %%
IMAGES, TIMES = 94_986, 10  # all of Agriculture-Vision, epochs
CARD = 4_000  # images a second that a card could train on
STORE = 0.02  # a GB and month
PRICES = {  # machine: cores, an hour, images a second of the network
    "2 cores": (2, 0.10, trained_rate * 2 / CORES),
    "16 cores": (16, 0.80, trained_rate * 16 / CORES),
    "card, 4 cores": (4, 0.60, CARD),
    "card, 16 cores": (16, 1.20, CARD),
}
a_core = {
    "JPEG of 512": race.loc["TFRecord"].max() / CORES,
    "shrunk once": race.loc["TFRecord, shrunk"].max() / CORES,
}
bills = []
for form, fed in a_core.items():
    for machine, (cores, price, network) in PRICES.items():
        rate = min(cores * fed, network)
        hours = IMAGES * TIMES / rate / 3600
        waits = 100 * (1 - rate / network)
        bills.append((machine, form, rate, waits, hours, hours * price))
bills = pd.DataFrame(
    bills,
    columns=["machine", "form", "images/s", "waits, %", "hours", "price"],
)
maps.show(
    bills,
    f"{TIMES} epochs of {IMAGES:,} images: images a second, share of the time "
    "in which the network waits for its input, hours, price",
)
kept = IMAGES * each / 1e9  # GB
print(f"keeping {kept:.0f} GB of JPEG: {STORE * kept:.2f} a month")
assert np.isclose(bills["price"][0] / bills["hours"][0], PRICES["2 cores"][1])
assert (bills["waits, %"] >= 0).all()

# %% [markdown]
# A card beside few cores is paid for waiting; shrinking once, or more cores, is cheaper than a faster card. And a machine that may be taken away at any moment (*spot*) costs a fraction of one that may not: that is what a run that resumes is worth.
#
# :::{admonition} Exercise 4
# :class: exercise
# Converting costs a pass over the images. After how many epochs has the shrunken TFRecord paid for itself on this machine? Take the measured rates.
# :::

# %% tags=["hide-cell"]
# Solution: what was spent, over what each epoch saves. Where the forms are
# finished already, the seconds of the conversion mean nothing.
spent = 1 / by_form.loc["TFRecord, shrunk", "chips a second"]
fast = race.loc["TFRecord, shrunk"].max()
for name in ("generator", "directory"):
    saved = 1 / race.loc[name].max() - 1 / fast
    print(
        f"{name}: {1e3 * spent:.1f} ms a chip spent, {1e3 * saved:.1f} ms saved"
    )
    print(f"   paid after {max(spent / saved, 0):.1f} epochs")

# %% [markdown]
# ## 21. Where it would run
#
# :::{admonition} Predict
# :class: predict
# Which of these cost by the hour, which by the month? Which must never be lost, and which may die at any time?
# :::

# %%
BOXES = {  # column, row, what it is, what it costs
    "camera": (0, 1, "aircraft, drone\nRGB + NIR", "a flight"),
    "store": (1, 1, "object store\nimages as taken", "GB · month"),
    "convert": (2, 1, "many cores, spot\nconvert once", "core · hour"),
    "shards": (3, 1, "object store\nshards and index", "GB · month"),
    "train": (3, 0, "cards, spot\ntrain, back up", "card · hour"),
    "model": (2, 0, "registry\nmodel and scores", "next to nothing"),
    "predict": (1, 0, "cores, in batches\nmark new images", "core · hour"),
    "people": (0, 0, "agronomist\nlooks, corrects", "people's time"),
}
ARROWS = [
    ("camera", "store"), ("store", "convert"), ("convert", "shards"),
    ("shards", "train"), ("train", "model"), ("model", "predict"),
    ("store", "predict"), ("predict", "people"), ("people", "store"),
]  # fmt: skip
with plt.rc_context(maps.STYLE):
    fig, ax = plt.subplots(figsize=(7.6, 3.4))
drawn = {}
for name, (x, y, what, price) in BOXES.items():
    box = {"boxstyle": "round,pad=0.5", "fc": "white", "ec": maps.LINES[2]}
    drawn[name] = ax.text(
        x, y, what, ha="center", va="center", fontsize=9, bbox=box
    ).get_bbox_patch()
    below = {"ha": "left", "fontsize": 8.5, "style": "italic"}
    ax.text(x + 0.04, y - 0.33, price, color="#5a6872", **below)
fig.canvas.draw()  # boxes get their size
for a, b in ARROWS:
    line = {"arrowstyle": "-|>", "color": maps.LINES[0], "shrinkA": 0}
    ends = {"patchA": drawn[a], "patchB": drawn[b], "shrinkB": 2}
    ax.annotate("", BOXES[b][:2], BOXES[a][:2], arrowprops=line | ends)
ax.set(xlim=(-0.5, 3.5), ylim=(-0.5, 1.35))
ax.axis("off")
fig.subplots_adjust(0, 0, 1, 1)
plt.close(fig)
maps.show(
    fig,
    "From the camera to an object store, converted once to shards, trained on "
    "cards; the model marks new images, which an agronomist corrects",
)
by_the_month = [name for name, (*_, price) in BOXES.items() if "month" in price]
print("must not be lost:", ", ".join(by_the_month), "and the model")
assert {b for _, b in ARROWS} == set(BOXES) - {"camera"}

# %% [markdown]
# All in one region, since bytes that leave it are charged by the gigabyte. Storage is cheap and must last; computing is dear and need not: whatever has *spot* in it can be taken away and goes on later from its finished shards or its backup. The arrow back from the agronomist is the one that makes next year's model better.
#
# ## 22. Who gains?
#
# - **Licence.** Agriculture-Vision may not be used commercially, nor passed on. A model trained on it is no product, whatever its score. The library says so when it reads the folder, and ships none of it.
# - **Dependence.** Who decides by a model forgets how to decide without it. What happens in the year in which the service ends, or in which the weather is new?
# - **Monoculture.** A model knows the crops that it was shown: maize and soybeans of large farms. Small and mixed fields score worse, so they are advised worse, so they pay less: the model nudges all towards what it knows.
# - **Digital divide.** Flights, cards and connections cost the same for ten hectares as for a thousand.
# - **Concentration of data.** Each field that is photographed makes the owner of the pictures better at all fields. Who owns them? Who sees a neighbour's bad year? Who sets a price knowing it?
#
# No F1 answers these. Write beside the score whose fields it was measured on, and who may use it for what.
#
# ## 23. Published, trusted, measured
#
# :::{admonition} Predict
# :class: predict
# Which of the report's conclusions have held on your machine, which have not, and which could not be tested on it?
# :::

# %%
took = times.set_index(["device", "epochs"])
card = took.xs(50, level="epochs").filter(like="GPU:", axis=0).iloc[0]
alone_on_card = took.xs(50, level="epochs").loc["one GPU, mirrored"]
processor = took.loc[("CPU", 50)]
reported = (
    said_accuracy[["lowest", "highest"]]
    .round(2)
    .astype(str)
    .agg("-".join, axis=1)
)
warm, cold = (versus[f"{state}, 2 readers"] for state in ("warm", "cold"))
best_of, of_shards = race.max(axis=1), shard["rate"]
worth = best_of["TFRecord, shrunk"] / best_of["directory"]
by = {
    k: "{:.2f} and {:.2f}".format(*knowing.loc[k].iloc[:2])
    for k in knowing.index
}
loss_at = table.set_index("batch")["last loss"]
floats = 4 * chip * len(chips) / 1e6
beginning, bent = transfer["from scratch"], transfer["ours, fine-tuned"]

of_files = {
    "more than memory can be trained on": (
        f"{said_accuracy['images'].sum():,} images in its saved run",
        "the method, yes: it holds a batch",
        f"{reached['let go'][1]:.0f} MB held for {floats:,.0f} MB of floats",
    ),
    "TFRecord beats a directory": (
        f"× {card.directory / card.tfrecord:.1f} on cards",
        "no: a P100 against a V100",
        f"two readers: × {warm:.2f} warm, × {cold:.2f} cold",
    ),
    "shards help by parallel reading": (
        "no figure",
        "on far disks",
        f"worst to best size: × {of_shards.max() / of_shards.min():.2f}",
    ),
    "converting costs, and pays": (
        "no figure",
        "where training is long",
        f"shrunk once: × {worth:.1f} the directory",
    ),
}
of_training = {
    "the graphics card is the place": (
        f"× {processor.tfrecord / card.tfrecord:.0f} the processor",
        "that it is faster; the rows of the processor contradict each other",
        "not measured: no card",
    ),
    "strategies help beyond one device": (
        f"with one: {alone_on_card.tfrecord} min, not {card.tfrecord}",
        "that one alone gains nothing",
        f"two on the same cores: × {gain:.2f}",
    ),
    "larger batches learn worse": (
        "no figure",
        "yes, at the same rate",
        f"loss {loss_at['8']:.2f} at 8, {loss_at['128']:.2f} at 128, "
        f"{loss_at['128, rate × 16']:.2f} with a higher rate",
    ),
    "about 60 % accuracy": (
        f"training {reported['train']}, validation {reported['validation']}",
        "as a picture of overfitting",
        f"dealt by field {by['field']}, by chip {by['chip']}",
    ),
    "weights from elsewhere help": (
        "NASNetLarge did best",
        "plausible; no test set",
        f"mAP {beginning:.2f} from scratch, {bent:.2f} from other fields",
    ),
}
for what, rows in (("data", of_files), ("training", of_training)):
    verdicts = pd.DataFrame(rows).T.reset_index()
    verdicts.columns = [
        "claim",
        "published",
        "can be trusted?",
        "measured here",
    ]
    maps.show(
        verdicts, f"The report's claims on {what}, and this run's measurements"
    )
assert beginning == moved["from scratch"].mean_average_precision
assert np.isclose(
    warm, race.loc["TFRecord"].iloc[-1] / race.loc["directory"].iloc[-1]
)

# %% [markdown]
# The report asked good questions, and most of its answers point the right way. What its figures could not carry is *how much*, because more than one thing changed at a time. Changing one thing at a time is slow and dull, and the only way to know.
#
# ## What you have learnt
#
# - Memory ends where arithmetic says. A generator holds a batch, however large the set.
# - A form of file helps where reading is the limit. Where decoding is, decode less, or once.
# - TFRecord is a row of records with checksums: few large files, read in order, good from far away.
# - Larger batches are faster an image and learn less an epoch; several devices are one large batch. Late gradients want small steps.
# - A second device pays only if it brings something of its own.
# - Training accuracy says how much fits into a network; only new *fields* say what it has learnt.
# - Before you compare two figures, list all that differs between them.
#
# ## What if …
#
# - **… I have Agriculture-Vision?** Set `source` to its folder; the reader knows the download's `train` and `val`. Convert it once: `arset images convert FOLDER OUT --size 256`.
# - **… my images are of something else?** Lay them out in the same folders, with your masks; an image needs a colour and a near-infrared file.
# - **… I have several cards?** `strategy="mirrored"`; raise batch and rate together (`training.workers.linear_rate`). Measure one against two first.
# - **… I have several machines?** `strategy="workers"`, started by `arset images train DATA RUN --workers N` on one machine or by Spark's barrier mode on a cluster; see the [questions](../../book/en/faq.md).
# - **… decoding is still the limit?** Smaller images, more cores, `cache="memory"` or a folder, or `encoding="raw"`: no decoding, for more bytes.
# - **… I have a hundred chips?** Then nothing here is about memory. Take weights from elsewhere, augment, and split by field.
