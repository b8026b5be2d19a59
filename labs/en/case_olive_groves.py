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
# # Case study A · Counting olive trees from a drone
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** A drone has flown over an olive grove. Which pixels are tree, which are grass, which are bare ground; and how many trees are there?
#
# **Product.** A small network that gives each pixel a class, an honest score for it, and a map of the trees, each counted once.
#
# **You will be able to**
# - say what a mask is, and why colour alone does not make one;
# - cut captures into tiles, augment them, and keep relatives on one side;
# - measure what a leak is worth;
# - read FCN-8 and U-Net: sizes, skips, parameters;
# - compute IoU by hand, and say when pixel accuracy misleads;
# - turn pixels into trees, and not count a tree twice.
#
# **Time.** About 45 minutes. **You need** Lab 2's idea of a batch and Lab 3's idea of training. No graphics card.
# :::
#
# The lab follows a bachelor thesis of 2020 (UPC), which had ten images of a real grove, each of 3808 × 2912 pixels. The beat is that of the labs before. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.

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
# ## 1. A flight over a grove
#
# The drone takes a picture, a *capture*, every two seconds, so each shows much of what the one before showed. The first run makes the captures, in about a minute.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nobody took these pictures: the grove, its light and its masks are made by a program, and each picture of it says *simulated*. A score here says how the method works, not how well it would do over a real grove.
# :::

# %%
import base64
import html
import io
import json
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from IPython.display import HTML, display
from PIL import Image

from arsetlib import evaluation, maps, segment, simulate, tiles
from arsetlib.models import segmentation

source = "simulated"  # or a folder of yours with images/, masks/, flight.json

tf.get_logger().setLevel("ERROR")  # no advice on speed amid the lab
SMALL = os.environ.get("ARSET_SCALE") == "small"  # tests run a toy
BARS = os.environ.get("ARSET_BOOK") != "1"  # the book's pages do not move
CHECKOUT = Path("../../pyproject.toml").exists()
DATA = Path(
    os.environ.get("ARSET_DATA") or ("../../data" if CHECKOUT else "data")
)
SIDE = 64 if SMALL else 224  # pixels of a tile as the network sees it

if source == "simulated":
    folder = DATA / ("grove-toy" if SMALL else "grove")
    if not (folder / "_manifest.json").exists():
        print(f"Making the simulated grove in {folder} …")
    toy = {"captures": 7, "size": (400, 560)} if SMALL else {}
    simulate.grove(folder, progress=BARS, **toy)
else:
    folder = Path(source)

found = tiles.captures(folder)
report = tiles.check(folder)
flight = json.loads((folder / "flight.json").read_text())
grove = SimpleNamespace(simulated=flight.get("simulated", False))
metres = flight["captures"][0]["metres_per_pixel"]
image, mask = tiles.read(found[0])

print(f"{len(found)} captures of {image.shape[1]} × {image.shape[0]} pixels")
print(f"a pixel is {100 * metres:.1f} cm wide, simulated: {grove.simulated}")
print(f"problems found by tiles.check: {len(report.problems)}")
assert report.ok
assert all(c.mask is not None for c in found)

# %% [markdown]
# ## 2. What is a mask?
#
# :::{admonition} Predict
# :class: predict
# A capture is an array of height × width × 3. What shape has its mask, and what stands in it?
# :::

# %%
KEYS, NAMES, COLOURS = tiles.CLASSES.keys, tiles.CLASSES.titles(), (
    tiles.CLASSES.colours
)  # fmt: skip
SHRINK = 2 if SMALL else 6  # for pictures: more is not seen on a page


def panels(pictures, *, step=SHRINK, bar=None, columns=2):
    """Pictures side by side; `bar` is the length of the scale bar in m."""
    rows = -(-len(pictures) // columns)
    first = next(iter(pictures.values()))
    high = rows * (7.4 / columns * first.shape[0] / first.shape[1] + 0.3) + 0.5
    with plt.rc_context(maps.STYLE):
        fig, axes = plt.subplots(rows, columns, figsize=(7.6, high))
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        ax.imshow(picture[::step, ::step], interpolation="nearest")
        ax.set_title(title, fontsize=9)
    if bar:
        long, y = bar / metres / step, 0.94 * first.shape[0] / step
        axes.flat[0].plot([10, 10 + long], [y, y], color="white", lw=3)
        axes.flat[0].text(10, y - 8, f"{bar} m", color="white", fontsize=9)
    if bar:  # there is a mask among the pictures
        marks = [plt.Rectangle((0, 0), 1, 1, color=c) for c in COLOURS]
        fig.legend(marks, NAMES, ncol=3, loc="lower left", frameon=False)
    note = "simulated" if grove.simulated else ""
    fig.text(0.98, 0.02, note, ha="right", style="italic", color="#5a6872")
    fig.subplots_adjust(0.01, 0.4 / high, 0.99, 1 - 0.3 / high, 0.03, 0.15)
    plt.close(fig)
    return fig


maps.show(
    panels({"capture": image, "mask": tiles.CLASSES.paint(mask)}, bar=5),
    "A capture of the grove and its mask: ground brown, trees dark green, "
    "grass light green",
)
shares = np.bincount(mask.ravel(), minlength=3) / mask.size
print(f"image {image.shape} {image.dtype}, mask {mask.shape} {mask.dtype}")
for key, share in zip(KEYS, shares, strict=True):
    print(f"{KEYS.index(key)} {key}: {share:.1%} of the pixels")

assert mask.shape == image.shape[:2]
assert set(np.unique(mask)) <= {0, 1, 2, tiles.IGNORE}

# %% [markdown]
# One whole number a pixel: the number of its class. The colours are for us, and a file may keep them in its palette. Two rules follow. A mask is never smoothed or resized with averages, since between ground (0) and grass (2) lies no tree (1). And it is saved as PNG, since JPEG invents numbers. A pixel nobody wants to judge is 255, and counts for nothing.
#
# ## 3. Label by colour, and see it fail
#
# The thesis made its masks in an image editor: click on a colour, take all that is like it, mend by hand. Can the clicking be left to a rule? *Excess green*, (2 g − r − b) / (r + g + b), is high where plants are. Trees are darker than grass.
#
# :::{admonition} Predict
# :class: predict
# Two thresholds, chosen *on the answers themselves*, the best of some two hundred pairs. How much of a true class and its guess will overlap, on average?
# :::


# %%
def by_colour(image, least_green, most_bright):
    """Ground where it is not green, else tree where dark, else grass."""
    total = image.sum(-1, dtype="f4") + 1
    rgb = image.astype("f4")
    green = (2 * rgb[..., 1] - rgb[..., 0] - rgb[..., 2]) / total
    plant, dark = green > least_green, total / 3 < most_bright
    return np.where(plant, np.where(dark, 1, 2), 0).astype("u1")


def overlap(truth, guess, classes=3):
    """(K,) shared pixels of a class, over pixels that either has."""
    iou = []
    for k in range(classes):
        both = np.sum((truth == k) & (guess == k))
        either = np.sum((truth == k) | (guess == k))
        iou.append(both / either)
    return np.array(iou)


thin = np.s_[::7, ::7] if not SMALL else np.s_[::2, ::2]
tried = {
    (green, bright): overlap(mask[thin], by_colour(image[thin], green, bright))
    for green in np.linspace(-0.05, 0.2, 16)
    for bright in range(50, 180, 10)
}
best = max(tried, key=lambda pair: tried[pair].mean())
guess = by_colour(image, *best)
maps.show(
    panels({
        "truth": tiles.CLASSES.paint(mask),
        "by colour": tiles.CLASSES.paint(guess),
    }, bar=5),
    "The true mask, and one made by two thresholds on colour",
)  # fmt: skip
colour_iou = overlap(mask, guess)
print(f"tried: {len(tried)} pairs, best: green {best[0]:.2f}, dark {best[1]}")
for key, value in zip(KEYS, colour_iou, strict=True):
    print(f"{key}: overlap {value:.2f}")
print(f"mean: {colour_iou.mean():.3f}")
if not SMALL:
    assert colour_iou.mean() < 0.55

# %% [markdown]
# Shadow is as dark as a crown, dry grass is as brown as soil, and olive leaves are more silver than green. A pixel's colour does not hold the answer: its *surroundings* do. You told trees at a glance by texture, by outline, by the shadow beside them. That is what a network has to learn.
#
# :::{admonition} Exercise 1
# :class: exercise
# Look at more than one pixel: blur the capture (`Image.fromarray(image).resize` to a quarter and back will do) before the same rule. Does the best pair get better? What gets worse?
# :::

# %% tags=["hide-cell"]
# Solution: noise inside crowns goes, and so do fine edges and small tufts.
size = image.shape[1::-1]
small = Image.fromarray(image).resize((size[0] // 16, size[1] // 16))
blurred = np.asarray(small.resize(size))
pairs = {pair: by_colour(blurred[thin], *pair) for pair in tried}
scores = {pair: overlap(mask[thin], g).mean() for pair, g in pairs.items()}
print(f"sharp {tried[best].mean():.3f}, blurred {max(scores.values()):.3f}")

# %% [markdown]
# ## 4. Cut into tiles
#
# A network takes pictures of one size, and a capture fills the memory many times over once it has passed a few layers. So it is cut. The thesis cut each into 35 tiles, 5 down and 7 across, and gave each to the network at 224 × 224.
#
# :::{admonition} Predict
# :class: predict
# How wide and high is one of the 35 tiles? What is lost when it becomes a square of 224? And what of a tree on the cut?
# :::


# %%
def cut_by_hand(array, down=5, across=7):
    """(35, h, w, …); takes sides that divide evenly, or nearly so."""
    high, wide = array.shape[0] // down, array.shape[1] // across
    return np.stack([
        array[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
        for i in range(down)
        for j in range(across)
    ])  # fmt: skip


cut = tiles.cut(image, grid=(5, 7))
mine = cut_by_hand(image)
print(f"by hand {mine.shape}, library {cut.values.shape}")
print(f"tiles in the flight: {len(found) * len(cut)}")
picked = {
    f"tile {k + 1}": np.asarray(Image.fromarray(cut.values[k]).resize((SIDE,) * 2))
    for k in (0, 9, 17, 25, 30, 34)
}  # fmt: skip
maps.show(
    panels(picked, step=1, columns=3),
    "Six of the 35 tiles of a capture, as the network will see them",
)

assert len(cut) == len(mine) == 35
assert np.array_equal(tiles.stitch(cut), image)  # nothing lost by cutting
halves = tiles.cut(mask, size=SIDE, overlap=SIDE // 4)
assert np.array_equal(tiles.stitch(halves), mask)  # nor with an overlap

# %% [markdown]
# Where sides do not divide evenly, the slice by hand drops the rest; the library lets neighbours share a pixel instead, so that `stitch(cut(x))` is x. Shrinking to the network's size keeps each crown, and loses leaves. It also squeezes a little, since a tile is not quite square.
# A crown on a cut is seen in halves by two tiles. In *training* that costs little. In *prediction* it shows as a seam, so there tiles overlap, and their answers blend.
#
# ## 5. Augment
#
# Ten captures are few. Turned, mirrored or in other light, a tile is still a grove, but the network has not seen it that way.
#
# :::{admonition} Predict
# :class: predict
# Which of these must be done to the mask as well: mirroring, a quarter turn, more light, more contrast?
# :::

# %%
tile = np.asarray(Image.fromarray(cut.values[17]).resize((SIDE, SIDE)))
truth = tiles.cut(mask, grid=(5, 7)).values[17]
truth = np.asarray(Image.fromarray(truth).resize((SIDE, SIDE), 0))  # nearest
changed = {"as it is": tile}
before = np.bincount(truth.ravel(), minlength=3)
for key in range(5):
    other, moved = tiles.augment(tile, truth, seed=1, key=key)
    changed[f"augmented {key + 1}"] = other
    after = np.bincount(moved.ravel(), minlength=3)
    assert np.array_equal(before, after)  # pixels move, none is invented
maps.show(
    panels(changed, step=1, columns=3),
    "One tile as it is and five times mirrored, turned and relit at random",
)
again, _ = tiles.augment(tile, truth, seed=1, key=4)
print("the same draw twice:", np.array_equal(again, other))
print("pixels of each class, before and after:", before, after)
assert np.array_equal(again, other)

# %% [markdown]
# What moves pixels moves the mask with them; what changes light leaves it alone. Bounds matter: the thesis's published code drew brightness from 0.3 to 2, and at the ends a tile is nearly black, or burnt out to white. Here the factors stay between 0.8 and 1.25.
#
# :::{admonition} Exercise 2
# :class: exercise
# How much of the tile is burnt out (255 in some band) at brightness 2? `tiles.Augment(brightness=(2, 2), contrast=(1, 1))` sets it. Which augmentations would be wrong for satellite scenes whose light always comes from the south?
# :::

# %% tags=["hide-cell"]
# Solution. Shadows tell where the light comes from: a turned tile shows the sun
# in the north. If that never happens, a turn teaches what need not be learnt.
for factor in (0.3, 1.25, 2.0):
    how = tiles.Augment(False, False, (factor, factor), (1, 1))
    lit, _ = tiles.augment(tile, truth, how=how)
    burnt, black = (lit == 255).any(-1).mean(), (lit < 40).all(-1).mean()
    print(f"brightness {factor}: {burnt:.0%} burnt out, {black:.0%} near black")

# %% [markdown]
# ## 6. The leak
#
# The thesis cut 350 tiles, made four of each by augmenting, mixed the 1,400, and then dealt them: 80 % training, 10 % validation, 10 % test, 'each sample in one set only'. Is that fair?
#
# Ask a model that *only remembers*. It learns nothing: for a test tile it looks up the training tile most like it, mirrored if need be, and copies that tile's mask.
#
# :::{admonition} Predict
# :class: predict
# What mean overlap does this copyist reach if samples are dealt as in the thesis? If whole captures are dealt? If, besides, no ground is on two sides?
# :::


# %%
def flips(x):
    return np.concatenate([x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]])


def look(x, n=14):
    """What it remembers of tiles: n × n greys, without their light."""
    part = x.shape[1] // n
    grey = x.mean(-1).reshape(len(x), n, part, n, part).mean((2, 4))
    grey = grey.reshape(len(x), -1)
    grey = grey - grey.mean(1, keepdims=True)
    return grey / np.linalg.norm(grey, axis=1, keepdims=True)


def copyist(train, test):
    """Copy the mask of the training tile that looks most alike."""
    how = {"size": 56, "batch": 2000}
    if not isinstance(train, tiles.Dealt):
        how["grid"] = (5, 7)
    (x, y), (asked, truth) = (
        next(tiles.arrays(side, **how)) for side in (train, test)
    )
    alike = look(asked) @ look(flips(x)).T
    copied = flips(y.argmax(-1))[alike.argmax(1)]
    return overlap(truth.argmax(-1), copied).mean(), np.median(alike.max(1))


with warnings.catch_warnings(record=True) as warned:  # the library warns
    warnings.simplefilter("always")
    splits = {
        "samples (thesis)": tiles.leaky_split(found, seed=1, grid=(5, 7)),
        "captures": tiles.split(found, seed=1),
        "flight": tiles.split(found, (0.8, 0, 0.2), by="flight"),
    }
for warning in {str(w.message) for w in warned}:
    print("LeakWarning:", warning)

leak = []
for name, sides in splits.items():
    iou, alike = copyist(sides["train"], sides["test"])
    leak.append((name, iou, alike))
leak = pd.DataFrame(leak, columns=["dealt by", "mean IoU", "likeness"])
maps.show(leak, "A copyist that learns nothing, under three splits")

copied = leak.set_index("dealt by")["mean IoU"]
assert copied["samples (thesis)"] > 0.95
assert copied["captures"] < copied["samples (thesis)"]
assert copied["flight"] < copied["samples (thesis)"]
if not SMALL:
    assert copied["flight"] < copied["captures"]

# %% [markdown]
# A model that cannot segment anything gets a perfect score: nearly every test sample has a twin in the training. This is no proof that the thesis's networks cheated, since a network does not remember as well as a list; it is proof that its test *could not have noticed*.
# Dealing whole captures helps, and is not enough here: neighbours along the flight show the same trees. Only a gap in the flight does away with it. It costs captures, and that is the price of a number you can believe.
#
# ## 7. An honest split
#
# The flight is cut into stretches; captures between them that see both sides are left out. Ten captures at this overlap do not give three clean sides. So the *test* is clean, and the last training capture serves as validation. The validation then flatters, but it only chooses the epoch.
#
# :::{admonition} Predict
# :class: predict
# Each capture shows 80 % of the ground of the one before. How many captures must lie between two that share nothing?
# :::

# %%
train, test = splits["flight"]["train"], splits["flight"]["test"]
train, validation = train[:-1], train[-1:]
sides = {"train": train, "validation": validation, "test": test}
used = {c.name: side for side, several in sides.items() for c in several}
where = segment.poses(folder / "flight.json")
seen_share = {c.name: tiles.ground_seen(train, [c]) for c in found}

fig = maps.figure(
    "The flight", "ground seen by the training, %", "capture",
    study=grove, height=420,
)  # fmt: skip
for colour, side in zip(maps.LINES, (*sides, "left out"), strict=False):
    mine = [c.name for c in found if used.get(c.name, "left out") == side]
    fig.add_bar(
        x=[100 * seen_share[n] for n in mine], y=mine, orientation="h",
        name=side, marker_color=colour,
        text=[f"{seen_share[n]:.0%}" for n in mine],
    )  # fmt: skip
fig.update_yaxes(categoryorder="array", categoryarray=sorted(seen_share)[::-1])
maps.show(fig, "Share of each capture's ground that the training shows too")

how = {"grid": (5, 7), "size": SIDE, "batch": 8}
batches = {
    "train": tiles.batches(train, augment=True, seed=1, **how),
    "validation": tiles.batches(validation, **how),
}
x, y = next(iter(batches["validation"]))
print(f"images {x.shape} {x.dtype.name}, masks {y.shape} {y.dtype.name}")
print({side: 35 * len(several) for side, several in sides.items()}, "tiles")
assert seen_share[test[0].name] == 0
assert float(tf.reduce_max(x)) <= 1
assert np.allclose(y.numpy().sum(-1), 1)  # one-hot

# %% [markdown]
# ## 8. FCN-8 and U-Net
#
# Both begin with an *encoder* made for naming whole pictures: five stages, each half as wide and high as the one before. At the end it knows *what* is there, and hardly *where*. The two differ in the way back ([sources](../../book/en/bibliography.md)).
#
# - **FCN-8** (Long and others, 2015) slides a classifier over the last stage, enlarges its scores, adds the scores of two finer stages, and enlarges the sum eight times.
# - **U-Net** (Ronneberger and others, 2015) goes back step by step, and at each step lays what the encoder saw at that size beside what comes from below: the *skips*.
#
# :::{admonition} Predict
# :class: predict
# On VGG-16, which one has more parameters, and where do most of them sit?
# :::


# %%
def parts(model, words):
    """Layers whose name begins with a word: what each gives, parameters."""
    rows = [
        (one.name, " × ".join(map(str, one.output.shape[1:])), one.count_params())
        for one in model.layers
        if one.name.startswith(words)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["layer", "gives", "parameters"])


ways = {
    "FCN-8": ("fcn8", ("dense1", "dense2", "scores", "up", "sum")),
    "U-Net": ("unet", ("decoder", "scores", "full")),
}
sizes = {}
for title, (name, words) in ways.items():
    network = segmentation.build(name, encoder="vgg16", size=224)
    table = parts(network, words)
    plain = ~table["layer"].str.contains("bn|relu|dropout|_pad|_crop")
    maps.show(table[plain], f"The way back of {title} on VGG-16, at 224 × 224")
    sizes[title] = network.count_params()
    on_disk = 3 * 4 * sizes[title] / 2**20  # adadelta keeps three of each
    print(f"{title}: {sizes[title]:,} parameters in all, {on_disk:,.0f} MB")
    if name == "fcn8":
        dense1 = network.get_layer("dense1").count_params()
    else:
        skips = [n.name for n in network.layers if n.name.endswith("_skip")]
    del network

assert dense1 == (7 * 7 * 512 + 1) * 4096  # one layer, by hand
assert dense1 > 0.7 * sizes["FCN-8"]
assert len(skips) == 3
assert sizes["FCN-8"] > 5 * sizes["U-Net"]
assert round(on_disk) == 141  # what the thesis found on its disk

# %% [markdown]
# One layer of FCN-8 holds most of it: each of 4,096 outputs looks at 7 × 7 places of 512 values. Adadelta, the thesis's optimiser, keeps two more numbers a parameter. Three times four bytes for each parameter is what the thesis found on its disk: 1.5 GB for FCN-8, 141 MB for U-Net.
# The skips of U-Net cost little, and bring back the *where*: an edge that the encoder saw at half size goes straight to the end.
#
# ## 9. Train a small one
#
# On two cores, and with random weights, the network must be small: MobileNet at a quarter of its width as encoder, and a slim way back. (With a network connection `weights="imagenet"` starts a full-width encoder from a million photographs, as the thesis did; it learns faster.)
#
# :::{admonition} Predict
# :class: predict
# The validation is not augmented, the training is. Which of the two curves will be higher at the end? And in the first epochs?
# :::

# %%
slim = {"alpha": 0.25, "filters": (64, 48, 32, 16)}


def small(name, **options):
    """A network that learns in a minute: MobileNet, thin, random weights."""
    return segmentation.build(
        name, encoder="mobilenet", size=SIDE, seed=1, **options
    )


recipe = {
    "shrink": np.sqrt(np.prod(image.shape[:2]) / 35) / SIDE, "seed": 1,
    "epochs": 10 if SMALL else 18, "patience": 24, "learning_rate": 3e-3,
    "progress": False, "notes": {"simulated": grove.simulated},
}  # fmt: skip
began = time.perf_counter()
unet = segment.fit(small("unet", **slim), batches, **recipe)
minutes = (time.perf_counter() - began) / 60

history = {
    k: unet.history[k] for k in ("loss", "val_loss", "mean_iou", "val_mean_iou")
}
maps.show(
    maps.learning_curves(history, study=grove, title="A small U-Net"),
    "Loss and mean IoU by epoch, on training and validation tiles",
)
print(f"{unet.model.count_params():,} parameters, {minutes:.1f} minutes")
print(f"kept: epoch {unet.notes['best_epoch']}, {unet.notes['verdict']}")
assert unet.model.count_params() < sizes["U-Net"] / 50
if not SMALL:
    assert max(unet.history["val_mean_iou"]) > colour_iou.mean()

# %% [markdown]
# The validation may jump in the first epochs, and the reason is not overfitting. *Batch normalisation* uses each batch's own mean while it trains, and a running mean while it predicts. Keras lets that one settle over several hundred steps (`momentum=0.99`), and this training has hardly more; left so, the training loss falls and the validation calls everything 'ground'. `segmentation.build` takes 0.9, which mends it. Set `layer.momentum = 0.99` on the batch normalisations of `small`, and see.
# The word at the end is the thesis's own rule: a run is *valid* if the best accuracies of training and validation differ by at most 15 points; where a class's validation IoU stays below 0.1 we call it *underfit*, whatever the accuracy.
#
# ## 10. Look
#
# A whole capture goes through the network as overlapping tiles, whose shares are blended. All captures are mapped: the test to be scored, the others for counting.
#
# :::{admonition} Predict
# :class: predict
# Where will the errors lie: inside crowns, at their edges, in the shadows, between grass and ground?
# :::


# %%
def wipe(image, over, alt, wide=800):
    """A picture with others over it, uncovered by moving a line."""
    size = wide, round(wide * image.shape[0] / image.shape[1])
    pictures = []
    for pixels in (image, *over.values()):
        file = io.BytesIO()
        Image.fromarray(pixels).resize(size).save(file, "webp", quality=78)
        code = base64.b64encode(file.getvalue()).decode()
        pictures.append(f"data:image/webp;base64,{code}")
    choices = "".join(f"<option>{name}</option>" for name in over)
    upper = "".join(
        f'<img class="over" src="{p}" alt="{html.escape(alt)} {name}" '
        f'style="position:absolute;inset:0;width:100%;height:100%;'
        f"display:{'none' if i else 'block'};"
        f'clip-path:inset(0 0 0 var(--at))">'
        for i, (p, name) in enumerate(zip(pictures[1:], over, strict=True))
    )
    key = " ".join(
        f'<span style="background:{c}">&emsp;</span> {n}&ensp;'
        for c, n in zip(COLOURS, NAMES, strict=True)
    )
    pick = (
        "const all=this.closest('figure').querySelectorAll('.over');"
        "all.forEach((x,i)=>x.style.display="
        "i===this.selectedIndex?'block':'none')"
    )
    move = "this.closest('figure').style.setProperty('--at',this.value+'%')"
    note = "<em>simulated</em>" if grove.simulated else ""
    display(HTML(
        f'<figure style="--at:50%;max-width:{maps.WIDTH}px;margin:0">'
        f'<label>Right of the line <select onchange="{pick}">{choices}'
        f'</select></label> <input type="range" aria-label="Move the line" '
        f'min="0" max="100" value="50" oninput="{move}" '
        f'style="display:block;width:100%;margin:.4em 0">'
        f'<div style="position:relative">'
        f'<img src="{pictures[0]}" alt="{html.escape(alt)}" '
        f'style="display:block;width:100%">{upper}</div>'
        f"<figcaption>{key} {note}</figcaption></figure>"
    ))  # fmt: skip


began = time.perf_counter()
out = DATA / "maps" / ("toy" if SMALL else "grove") / f"{time.time():.0f}"
mapped = segment.predict(unet, found, out, progress=BARS)
chain = (time.perf_counter() - began) / len(found)

last = test[-1]
image, mask = tiles.read(last)
predicted = np.asarray(Image.open(out / f"{last.name}.png"))
wrong = image // 2
wrong[predicted != mask] = (255, 90, 200)
wipe(
    image,
    {
        "the prediction": tiles.CLASSES.paint(predicted),
        "the truth": tiles.CLASSES.paint(mask),
        "what is wrong (pink)": wrong,
    },
    f"{last.name} of the test, and over it",
)
print(f"{last.name}: {(predicted == mask).mean():.1%} of the pixels are right")
assert predicted.shape == mask.shape
assert len(mapped) == len(found)

# %% [markdown]
# Move the line, and change what lies right of it. Crowns come out as crowns, shadows as ground. What is wrong lies along edges, and in the grass, whose edge even you would be hard put to draw: a tuft has no outline.
#
# ## 11. IoU, by hand and by library
#
# *Intersection over union* of a class: the pixels that truth and prediction share, over those that either has. In counts: right / (right + missed + false). The mean over classes is the mean IoU; weighted by how common each class is, it is the frequency-weighted IoU.
#
# :::{admonition} Predict
# :class: predict
# A crown is a disc of 100 pixels. The prediction has the same disc, shifted so that they share 80 pixels. What is its IoU? What would its accuracy be in an image of 10,000 pixels?
# :::

# %%
print(f"the shifted disc: IoU {80 / (100 + 100 - 80):.2f}, ", end="")
print(f"accuracy {1 - 2 * 20 / 10_000:.3f}")

by_hand = overlap(mask, predicted)
share = np.bincount(mask.ravel(), minlength=3) / mask.size
confusion = evaluation.Confusion.of(mask, predicted, KEYS, ignore=tiles.IGNORE)
maps.show(
    maps.confusion(confusion, study=grove, title="The test, pixel by pixel"),
    "Confusion matrix of the test capture",
)
for key, one, two in zip(KEYS, by_hand, confusion.iou, strict=True):
    print(f"IoU of {key}: by hand {one:.4f}, by library {two:.4f}")
print(f"mean {confusion.mean_iou:.3f}, ", end="")
print(f"frequency-weighted {confusion.frequency_weighted_iou:.3f}")

assert np.allclose(by_hand, confusion.iou)
assert np.isclose((share * by_hand).sum(), confusion.frequency_weighted_iou)

# %% [markdown]
# IoU is stricter than accuracy: it does not credit the ground that nobody doubted. It also adds up: the library adds *counts* of several captures and divides once. The mean of the IoUs of 35 tiles is another number, in which a tile with a single twig weighs as much as a full one; ask which of the two a paper reports.
#
# ## 12. Accuracy misleads
#
# :::{admonition} Predict
# :class: predict
# A lazy map says 'no tree' everywhere, and has all else right. How accurate is it on this capture? And in a young grove, where crowns cover a twentieth?
# :::

# %%
lazy = segment.treeless(confusion)
young = evaluation.Confusion.from_counts(
    np.diag([60, 5, 35]) * 1000, KEYS
)  # 5 % trees
table = pd.DataFrame(
    [
        (name, c.accuracy, c.mean_iou, c.iou[1])
        for name, c in {
            "our network": confusion,
            "no tree, this capture": lazy,
            "no tree, young grove": segment.treeless(young),
        }.items()
    ],
    columns=["map", "pixel accuracy", "mean IoU", "tree IoU"],
)
maps.show(table, "What a map without a single tree scores")

assert segment.treeless(young).accuracy == 0.95
assert table["tree IoU"].tolist()[1:] == [0, 0]
if not SMALL:
    assert table["tree IoU"][0] > 0.3

# %% [markdown]
# Where trees are few, a map without a single tree is nearly always right, and useless. Its tree IoU is zero, and says so. In the thesis the same happens more quietly: its validation accuracies look high beside its IoUs.
#
# ## 13. The leak again, now with the network
#
# The copyist was an extreme. How much did *our* network profit from ground it had seen?
#
# :::{admonition} Predict
# :class: predict
# Score all captures, and lay IoU beside the share of the ground that training showed. Is there a slope?
# :::

# %%
scored = segment.evaluate(out, found, progress=False).by_capture()
scored["seen"] = 100 * pd.Series(seen_share)
fig = maps.figure(
    "Each capture", "ground seen by the training, %", "IoU", study=grove
)
for i, (key, symbol) in enumerate(
    {"mean_iou": "circle", "tree": "diamond", "grass": "x"}.items()
):
    fig.add_scatter(
        x=scored["seen"], y=scored[key], mode="markers", name=key,
        text=scored.index,
        marker={"symbol": symbol, "size": 10, "color": maps.LINES[i]},
    )  # fmt: skip
maps.show(fig, "IoU of each capture by the share of its ground seen before")

known = scored["seen"] > 50
flattered = scored[known]["mean_iou"].mean() - scored[~known]["mean_iou"].mean()
print(f"mean IoU, ground seen: {scored[known]['mean_iou'].mean():.3f}")
print(f"mean IoU, new ground:  {scored[~known]['mean_iou'].mean():.3f}")
print(f"the difference: {flattered:+.3f}")
assert np.isclose(scored.loc[last.name, "mean_iou"], confusion.mean_iou)
assert abs(flattered) < 1 - copied["flight"]  # far less than the copyist's

# %% [markdown]
# Look at trees and grass apart: trees are nearly as good on new ground, grass is not. A network this small, trained this briefly on augmented tiles, has little room to learn tiles by heart, so its difference is small beside the copyist's; and part of it may be no leak, since each capture has its own light. A network of 134 million parameters after a hundred epochs has all the room it wants. You cannot tell from the score of a leaky test which of the two you have: that is why the split comes first.
#
# ## 14. Compare
#
# Two rivals get the same tiles, the same epochs and the same encoder. *SegNet* is U-Net without its skips; it shows what they are worth. FCN-8 gets narrow dense layers.
#
# :::{admonition} Predict
# :class: predict
# Which of the three draws the sharpest edges, and which the bluntest? Will tree or grass suffer more?
# :::

# %%
rivals = {
    "SegNet (no skips)": ("segnet", slim),
    "FCN-8": ("fcn8", {"alpha": 0.25, "dense": 128}),
}
if SMALL:
    del rivals["SegNet (no skips)"]
networks = {"U-Net": unet} | {
    title: segment.fit(small(name, **options), batches, **recipe)
    for title, (name, options) in rivals.items()
}
tested = {
    title: segment.evaluate(network, test, progress=False)
    for title, network in networks.items()
}
ours = pd.concat([e.table(title) for title, e in tested.items()])
maps.show(
    ours.reset_index(),
    f"Ours: MobileNet × 0.25 at {SIDE}, simulated grove, test on new ground",
)
theirs = evaluation.published.olive_iou().reset_index()
maps.show(
    theirs,
    "The thesis: ten real drone images, 2020; 100 epochs; test tiles of "
    "images that the training saw too",
)
bars = pd.concat([e.confusion.table()["iou"] for e in tested.values()], axis=1)
bars.columns = list(tested)
maps.show(
    maps.score_bars(bars, "iou", study=grove, title="IoU on the test"),
    "IoU of ground, tree and grass for the three small networks",
)
best_theirs = theirs.loc[theirs["mean_iou"].idxmax()]
print(f"best of theirs: {best_theirs['architecture']} {best_theirs['side']}")
assert set(KEYS) <= set(ours.columns) & set(theirs.columns)
assert np.isclose(ours.loc["U-Net", "mean_iou"], confusion.mean_iou, atol=0.2)

# %% [markdown]
# Do not subtract one table from the other. Theirs are real olives, ours are made by a program; theirs were tested on tiles of images known from training, ours on new ground; theirs trained for hours, ours for a minute.
# *Within* a table comparing is fair. Theirs says: the side of the tile matters more than the architecture, above all for trees, and hardly anything is gained from 384 to 512. Ours says what skips do for edges; look at boundary F1, the share of border pixels that are where they should be. A small lead may be luck: another seed moves it.
#
# :::{admonition} Exercise 3
# :class: exercise
# Is a lead of one point luck? Trees are few dozen a capture, so draw *tiles* instead: score the test tile by tile, draw 35 of 35 with replacement a thousand times, and give an interval for the difference of two networks.
# :::

# %% tags=["hide-cell"]
# Solution: the same tiles are drawn for both networks, so their common
# difficulty cancels.
pair = {}
for title in ("U-Net", "FCN-8"):
    told = segment.predict(
        networks[title], test[-1:], out.parent / f"{out.name}-{title}",
        progress=False,
    )  # fmt: skip
    found_tiles = tiles.cut(np.asarray(Image.open(told[0])), grid=(5, 7))
    true_tiles = tiles.cut(mask, grid=(5, 7))
    pair[title] = np.stack([
        evaluation.Confusion.of(t, p, KEYS, ignore=tiles.IGNORE).counts
        for t, p in zip(true_tiles, found_tiles, strict=True)
    ])  # fmt: skip
rng = np.random.default_rng(1)
leads = []
for _ in range(1000):
    drawn = rng.integers(0, 35, 35)
    one, two = (
        evaluation.Confusion.from_counts(c[drawn].sum(0), KEYS).mean_iou
        for c in pair.values()
    )
    leads.append(one - two)
low, high = np.quantile(leads, [0.025, 0.975])
print(f"U-Net leads FCN-8 by {low:+.3f} to {high:+.3f} (95 %)")

# %% [markdown]
# ## 15. In real time?
#
# The drone takes a capture every two seconds. The thesis found 0.0571 s a tile for its fastest network, and 35 tiles in about two seconds: just in time, on a graphics card.
#
# :::{admonition} Predict
# :class: predict
# A network a fiftieth of the size, on your processor: faster or slower than two seconds a capture? And with reading, shrinking, blending and writing?
# :::

# %%
costs = {
    title: segment.cost(network, repeats=2)
    for title, network in networks.items()
}
speed = pd.DataFrame(
    [
        (
            title,
            c["parameters"],
            c["bytes"] / 1e6,
            c["seconds_per_tile"],
            c["seconds_per_capture"],
        )
        for title, c in costs.items()
    ],
    columns=["network", "parameters", "MB on disk", "s a tile", "s a capture"],
)
maps.show(speed, "Cost on this machine; a capture is 35 tiles, in batches")
print(f"the whole chain, file to map: {chain:.2f} s a capture")
print(f"room: {flight['seconds_between_captures'] / chain:.1f} × real time")
assert speed["parameters"].is_unique
assert chain > 0

# %% [markdown]
# Tiles in batches cost less than one at a time. And the network is not all: opening a JPEG of 11 million pixels, shrinking it, blending overlapping tiles and bringing the classes back to full size take their share, which no table of seconds *a tile* shows. Time the chain, not the link.
#
# ## 16. From pixels to trees
#
# Nobody pays for pixels. How many trees are in the capture? Neighbouring crowns touch, so connected patches are not trees. The library computes each tree pixel's distance to the crown's edge: the middle of a crown is a hill of it. Water that flows down from each hilltop meets at the necks between crowns: a *watershed*.
#
# :::{admonition} Predict
# :class: predict
# Count connected patches, then watershed basins. Which is more? What does a speck of three wrong pixels count as in each?
# :::

# %%
from scipy import ndimage

patches = ndimage.label(predicted == 1)[1]
radius = 0.5 / metres  # pixels: the smallest crown that counts
crowns = segment.instances(predicted == 1, radius)
true_crowns = segment.instances(mask == 1, radius)
print(f"connected patches {patches}, crowns {crowns.max()}")
print(f"crowns in the true mask {true_crowns.max()}")

wheel = plt.get_cmap("tab20")(np.arange(1, crowns.max() + 1) * 7 % 20)
paint = np.concatenate([[[0, 0, 0]], wheel[:, :3]]) * 255
shown = image.copy()
shown[crowns > 0] = paint[crowns[crowns > 0]]
maps.show(
    panels({"predicted": tiles.CLASSES.paint(predicted), "crowns": shown}, bar=5),
    "The predicted mask, and the crowns that the watershed told apart",
)  # fmt: skip
assert SMALL or abs(crowns.max() / true_crowns.max() - 1) < 0.25
assert not (crowns[predicted != 1]).any()

# %% [markdown]
# Specks are patches too, but a crown of less than half a metre's radius is left out. What is left splits where crowns touch.
#
# ## 17. Count the grove, each tree once
#
# :::{admonition} Predict
# :class: predict
# With 80 % overlap, in how many captures does a tree stand? What would adding up the counts of all captures give?
# :::

# %%
single = [len(segment.count(path, metres_per_pixel=metres)) for path in mapped]
trees = segment.count(out, flight=folder / "flight.json")
truth = json.loads((folder / "trees.geojson").read_text())["features"]
score = trees.score(folder / "trees.geojson")
print(f"added up over captures: {sum(single)}, each once: {len(trees)}")
print(f"true: {score['truth']}, count error {score['count_error']:+.1%}")
print(f"precision {score['precision']:.2f}, recall {score['recall']:.2f}")

# By hand: a true tree is found if a crown's middle lies within its radius.
places = np.array([t["geometry"]["coordinates"] for t in truth])
reach = np.array([t["properties"]["radius"] for t in truth])
xy = trees.trees[["x", "y"]].to_numpy()
apart = np.hypot(*(places[:, None] - xy[None]).transpose(2, 0, 1))
hit = (apart < reach[:, None]).any(1)
false = ~(apart < reach[:, None]).any(0)

fig = maps.figure("The grove from above", "m", "m", study=grove, height=620)
for name, x, colour, symbol in (
    ("found", places[hit], "#006633", "circle"),
    ("missed", places[~hit], maps.LINES[1], "x"),
    ("no tree there", xy[false], maps.LINES[0], "diamond-open"),
):
    fig.add_scatter(
        x=x[:, 0].round(2), y=x[:, 1].round(2), mode="markers", name=name,
        marker={"color": colour, "symbol": symbol, "size": 8},
    )  # fmt: skip
fig.update_yaxes(scaleanchor="x")
maps.show(fig, "Trees on the ground: found, missed, and found where none is")

assert sum(single) >= len(trees)
assert abs(hit.mean() - score["recall"]) < 0.15
if not SMALL:
    assert abs(score["count_error"]) < 0.25

# %% [markdown]
# The drone's position and heading, in `flight.json`, lay every find on the ground; finds that cannot be two trees, because one's middle lies under the other's crown, are one. Count error alone would hide much: ten missed and ten invented give an error of zero. Hence precision (of the finds, how many are trees) and recall (of the trees, how many were found).
# Most of these trees stand on ground that the training saw. The honest figure is that of the test's ground:

# %%
clean = segment.count(
    [out / f"{c.name}.png" for c in test], flight=folder / "flight.json"
)
clean_score = clean.score(folder / "trees.geojson")
summary = pd.DataFrame(
    [
        (
            name, s["truth"], s["trees"], 100 * s["count_error"],
            s["precision"], s["recall"], c.area_ha,
            100 * c.cover, c.canopy_m2_per_ha,
        )
        for name, c, s in (
            ("whole flight", trees, score),
            ("test, new ground", clean, clean_score),
        )
    ],
    columns=[
        "ground", "true trees", "found", "error, %", "precision", "recall",
        "ha", "canopy, %", "canopy, m² a ha",
    ],
)  # fmt: skip
maps.show(summary, "Trees and canopy, over the flight and on the test's ground")
files = trees.geojson(out / "trees.geojson"), trees.csv(out / "trees.csv")
print("written:", ", ".join(f"{f.name} {f.stat().st_size / 1e3:.0f} kB" for f in files))  # fmt: skip
assert clean.area_ha < trees.area_ha
assert np.isclose(trees.canopy_m2_per_ha, 1e4 * trees.cover)

# %% [markdown]
# *Canopy cover*, the share of the ground under crowns, is what an agronomist asks for next: it goes with water use and with yield. It needs no instances, only pixels, and each place counted once.
# The files open in a GIS; coordinates are metres on the flight's own ground.
#
# :::{admonition} Exercise 4
# :class: exercise
# A tree in the middle of the flight is seen by several captures. `segment.count(…, agree=0.5)` keeps trees that at least half of those captures found. What happens to precision, and what to recall? Try 0.25, 0.5 and 0.8.
# :::

# %% tags=["hide-cell"]
# Solution: captures vote. Asking for more agreement costs true trees at the
# edge of what the network can see. It pays where false trees are seen in one
# capture only; those that all captures agree on, no vote removes.
for agree in (0, 0.25, 0.5, 0.8):
    s = segment.count(
        out, flight=folder / "flight.json", agree=agree
    ).score(folder / "trees.geojson")  # fmt: skip
    print(
        f"agree {agree}: {s['trees']} trees, precision {s['precision']:.2f}, "
        f"recall {s['recall']:.2f}"
    )

# %% [markdown]
# ## What you have learnt
#
# - A mask is one class number a pixel: no averages, no JPEG. Colour alone does not make one, because shadow looks like leaf and dry grass like soil.
# - Tiles make a capture fit a network; `stitch(cut(x))` is x; overlapping answers blend. Augmentation moves image and mask together, within bounds.
# - Relatives belong on one side. A copyist that learns nothing shows how much a split gives away: copies of a tile, tiles of a capture, captures of the same ground.
# - U-Net's skips bring back the *where* for few parameters; FCN-8 keeps most of its in one layer.
# - IoU credits nothing that nobody doubted; accuracy rewards a map without trees.
# - Time the chain from file to map. Count each tree once, and report precision and recall beside the error.
#
# ## What if …
#
# - **… I have my own images?** Put them in `images/` and their masks in `masks/`, as class numbers, as colours from GIMP, as LabelMe or COCO; `arset tiles check FOLDER` names each pair that does not match and each class that never occurs. Then set `source`.
# - **… I have no `flight.json`?** Leave out captures so that none overlap, split by capture, and count with `metres_per_pixel=…`. Or take poses from the mosaic that a photogrammetry program makes.
# - **… I have a graphics card?** Raise `alpha` to 1, take `size=384`, and train for the thesis's 100 epochs: `arset segment train` does so, and goes on after a stop. At 384 the thesis's trees gained most.
# - **… I want the thesis's very models?** The extra `arsetlib[keras-segmentation]` installs its library, and `arsetlib.models.keras_segmentation` makes it run under Keras 3.
# - **… I want to transfer?** `weights=unet` starts a network of another size from this one's encoder; a few labelled captures of your grove then go a long way.
# - **… the camera has a near-infrared band?** `channels=4`. Colour rules get better too: NDVI parts plants from soil where excess green fails.
# - **… it should be olives, not trees?** The same, with boxes of fruits in close-ups; there occlusion, not touching crowns, is the hard part.
