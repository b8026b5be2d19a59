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
# **Question.** A drone has taken images of an olive grove. Which pixels show trees, which grass, and which bare ground? How many trees are there?
#
# **Product.** A small network that gives each pixel a class, its score on new ground, and a count of the trees.
#
# **You will be able to**
# - say what a mask is, and why a rule on colour alone does not make a good one;
# - cut captures into tiles, augment them, and keep related tiles in one set;
# - measure how much a data leak raises a score;
# - describe FCN-8 and U-Net: sizes, skip connections, parameters;
# - compute IoU by hand, and say when pixel accuracy misleads;
# - find trees in a map of pixels, and count each tree once.
#
# **Time.** About 90 minutes in two halves, with a pause before section 10. **You need** to know what a batch is (Lab 2) and what training is (Lab 3). You need no graphics card.
# :::
#
# The lab follows a bachelor thesis of 2020 (UPC). The thesis used ten images of a real grove, each of 3808 × 2912 pixels.
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
# ## 1. A flight over a grove
#
# The drone takes a picture, a *capture*, every two seconds. So most of the ground of a capture is also on the next one. One line decides where the captures come from. `"simulated"` makes them, which takes about a minute once.
# Or give the name of your own folder. It needs `images/`, `masks/` of ground, tree and grass, and `flight.json`, which gives the place of each capture on the ground. All cells after this one stay the same.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, these pictures are not photographs. A program makes the grove, its light and its masks, and all figures say *simulated*. The scores show how the method works. They do not show how well it works on a real grove.
# :::

# %%
from arsetlib import groves, lab

source = "simulated"  # or your folder: images/, masks/, flight.json
here = lab.groves(source)
full = source == "simulated" and not here.small  # some asserts need it

captures = groves.captures(here.folder)
report = groves.check(here.folder)
print(f"{len(captures)} captures, {len(report.problems)} problems")
assert report.ok
assert all(c.mask is not None for c in captures)

# %%
flight = here.folder / "flight.json"
poses = groves.poses(flight)
metres = poses[captures[0].name].metres  # side of a pixel on the ground
image, mask = groves.read(captures[0])
print(f"{image.shape[1]} × {image.shape[0]} pixels of {100 * metres:.1f} cm")
assert {c.name for c in captures} <= set(poses)

# %% [markdown]
# ## 2. What is a mask?
#
# :::{admonition} Predict
# :class: predict
# A capture is an array of height × width × 3. What shape does its mask have, and what are its values?
# :::

# %%
from arsetlib import figures

CLASSES = groves.Classes.of(here.folder)
KEYS, TITLES = CLASSES.keys, CLASSES.titles()
TREE = KEYS.index("tree")
assert set(KEYS) == {"ground", "tree", "grass"}
pair = {"capture": image, "mask": CLASSES.paint(mask)}
fig = figures.panels(pair, classes=CLASSES, metres=metres, study=here)
figures.show(fig, "A capture of the grove and its mask in the classes' colours")

# %%
import numpy as np

counts = np.bincount(mask.ravel(), minlength=256)
print(f"image {image.shape} {image.dtype}, mask {mask.shape} {mask.dtype}")
for number, key in enumerate(TITLES):
    print(f"{number} {key}: {counts[number] / mask.size:.1%} of the pixels")

assert mask.shape == image.shape[:2]
assert set(np.unique(mask)) <= {*range(len(KEYS)), groves.IGNORE}

# %% [markdown]
# A mask has the height and width of its image and holds one whole number for each pixel: the number of its class. The colours are only for display; a file may store them in its palette. A pixel that nobody could label has the number 255; it is left out of every score.
#
# Two rules follow. Never smooth a mask, and never resize it with averages: the mean of ground (0) and grass (2) is tree (1). Save it as PNG, never as JPEG:

# %%
import io

from PIL import Image

file = io.BytesIO()
Image.fromarray(mask).save(file, "jpeg")
changed = np.asarray(Image.open(file)) != mask
print(f"JPEG changes {changed.mean():.1%} of the mask's pixels")
assert changed.any()

# %% [markdown]
# ## 3. Labels by colour, and why they fail
#
# The masks of the thesis were made in an image editor: click on a colour, select all similar pixels, correct by hand. Can a rule replace this work? *Excess green*, (2 g − r − b) / (r + g + b), is high for plants, and trees are darker than grass. So we try two thresholds for three classes:

# %%
GROUND, GRASS = KEYS.index("ground"), KEYS.index("grass")


def by_colour(image, least_green, most_bright):
    """Ground where it is not green, else tree where dark, else grass."""
    total = image.sum(-1, dtype="f4") + 1
    red, green, blue = np.moveaxis(image.astype("f4"), -1, 0)
    plant = (2 * green - red - blue) / total > least_green
    dark = total / 3 < most_bright
    return np.where(plant, np.where(dark, TREE, GRASS), GROUND)


# %% [markdown]
# To score a predicted mask we compare it with the true mask, class by class. The *overlap* of a class is the number of pixels that have this class in both masks, divided by the number of pixels that have it in at least one.


# %%
def overlap(truth, guess, classes=3):
    """(K,) For each class: shared pixels / pixels that either has."""
    known = truth != groves.IGNORE
    truth, guess = truth[known], guess[known]
    both = [((truth == k) & (guess == k)).sum() for k in range(classes)]
    either = [((truth == k) | (guess == k)).sum() for k in range(classes)]
    return np.array(both) / np.array(either)


# %% [markdown]
# :::{admonition} Predict
# :class: predict
# We try about two hundred pairs of thresholds and take the pair that is best *on the true mask itself*. What is the mean overlap of the three classes?
# :::

# %%
thin = np.s_[::2, ::2] if here.small else np.s_[::7, ::7]  # to be fast
tried = {
    (green, bright): overlap(mask[thin], by_colour(image[thin], green, bright))
    for green in np.linspace(-0.05, 0.2, 16)
    for bright in range(50, 180, 10)
}
best = max(tried, key=lambda pair: tried[pair].mean())
print(f"best of {len(tried)} pairs: green {best[0]:.2f}, dark {best[1]}")

# %%
guess = by_colour(image, *best)
pair = {"truth": CLASSES.paint(mask), "by colour": CLASSES.paint(guess)}
fig = figures.panels(pair, classes=CLASSES, metres=metres, study=here)
figures.show(fig, "The true mask, and one made by two thresholds on colour")

# %%
colour_iou = overlap(mask, guess)
for key, value in zip(TITLES, colour_iou, strict=True):
    print(f"{key}: overlap {value:.2f}")
print(f"mean: {colour_iou.mean():.3f}")
false_trees = (mask[guess == TREE] != TREE).mean()
brown_grass = (guess[mask == GRASS] == GROUND).mean()
print(f"{false_trees:.0%} of the pixels called tree are no trees")
print(f"{brown_grass:.0%} of the grass is called ground")
assert not full or (colour_iou.mean() < 0.55 and false_trees > 0.1)
assert not full or brown_grass > 0.1

# %% [markdown]
# The printed mean answers the question. In the simulated grove it is low, although the thresholds were chosen on the true mask. Compare the two pictures: shadow on the ground becomes tree, because it is as dark as a crown, and dry grass becomes ground. The last two lines show how many pixels are wrong in these two ways. The colour of one pixel is not enough. You recognise a tree by the pixels around it: its texture, its outline and its shadow. A network must learn this, too.
#
# :::{admonition} Exercise 1
# :class: exercise
# Use more than one pixel: blur the capture before you apply the same rule. To blur it, reduce it to a sixteenth of its size and enlarge it again, with `Image.fromarray(image).resize`. Does the best pair now have a higher mean overlap? Which class improves most?
# :::

# %% tags=["hide-cell"]
# Solution: blurring removes noise within crowns, but also fine edges and tufts.
size = image.shape[1::-1]
coarse = Image.fromarray(image).resize((size[0] // 16, size[1] // 16))
blurred = np.asarray(coarse.resize(size))[thin]
scores = {p: overlap(mask[thin], by_colour(blurred, *p)) for p in tried}
winner = max(scores.values(), key=np.mean)
print(f"mean: sharp {tried[best].mean():.3f}, blurred {winner.mean():.3f}")
for key, sharp, soft in zip(TITLES, tried[best], winner, strict=True):
    print(f"{key}: sharp {sharp:.2f}, blurred {soft:.2f}")

# %% [markdown]
# ## 4. Cut into tiles
#
# A network takes images of one size, and its layers need many times the memory of the image. So each capture is cut into tiles. The thesis cut a capture into 35 tiles, 5 down and 7 across, and resized each to 224 × 224 pixels for the network.
#
# :::{admonition} Predict
# :class: predict
# How wide and how high is one of the 35 tiles? What is lost when it is resized to 224 × 224? What happens to a tree that lies on a cut?
# :::


# %%
def cut_by_hand(array, down, across):
    """(down · across, h, w, …); rows and columns left over are dropped."""
    high, wide = array.shape[0] // down, array.shape[1] // across
    return np.stack([
        array[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
        for i in range(down)
        for j in range(across)
    ])  # fmt: skip


# %%
GRID = groves.GRID
cut = groves.cut(image, grid=GRID)
mine = cut_by_hand(image, *GRID)
print(f"by hand {mine.shape}, library {cut.values.shape}")
print(f"tiles in the flight: {len(captures) * len(cut)}")
assert len(cut) == len(mine) == 35
assert np.array_equal(groves.stitch(cut), image)  # cutting loses nothing

# %%
SIDE = 64 if here.small else 224  # pixels of a tile as the network sees it
x, y = next(groves.arrays(captures[:1], grid=GRID, size=SIDE, batch=35))
picked = {f"tile {k + 1}": x[k] for k in (0, 9, 17, 25, 30, 34)}
fig = figures.panels(picked, columns=3, study=here)
figures.show(fig, "Six tiles of a capture, as the network will see them")
assert x.shape == (35, SIDE, SIDE, 3)

# %%
overlapping = groves.cut(mask, size=SIDE, overlap=SIDE // 4)
print(f"{len(overlapping)} tiles that overlap by at least {SIDE // 4} pixels")
assert np.array_equal(groves.stitch(overlapping), mask)

# %% [markdown]
# The printed shapes give the height and width of a tile. Where a side cannot be divided evenly, the cut by hand drops the rest. In the library neighbouring tiles share a pixel instead. So `stitch(cut(x))` equals x, also with overlapping tiles.
# Each pixel of a resized tile is the mean of several pixels, so single leaves are lost, while crowns remain visible. The proportions change if a tile is not square.
# A tree on a cut is in two tiles, a part in each. A model may classify the two parts differently. So in *prediction* the tiles overlap, and `stitch` averages the predicted probabilities (section 10).
#
# ## 5. Augment
#
# Ten captures are few. *Augmentation* makes new training tiles from old ones. A tile that is turned, mirrored or brighter is still an image of a grove, but the network has not seen it before.
#
# :::{admonition} Predict
# :class: predict
# Which of these changes must be made to the mask as well: mirroring, a quarter turn, more light, more contrast?
# :::

# %%
tile = (255 * x[17]).round().astype("u1")
truth = y[17].argmax(-1).astype("u1")  # class numbers
drawn = [groves.augment(tile, truth, seed=1, key=k) for k in range(5)]
shown = {"as it is": tile}
shown |= {f"augmented {k + 1}": drawn[k][0] for k in range(5)}
fig = figures.panels(shown, columns=3, study=here)
figures.show(fig, "One tile without changes, and five random changes of it")

# %%
before = np.bincount(truth.ravel(), minlength=len(KEYS))
for _, moved in drawn:  # pixels move, and none is added
    assert np.array_equal(before, np.bincount(moved.ravel(), minlength=3))

again, _ = groves.augment(tile, truth, seed=1, key=4)
print("pixels of each class, before and after:", before)
print("the same draw twice:", np.array_equal(again, drawn[4][0]))
print("factors of brightness:", groves.Augment().brightness)
assert np.array_equal(again, drawn[4][0])

# %% [markdown]
# Mirroring and turning move pixels, so the mask must be changed as well. More light and more contrast move nothing, so the mask stays as it is.
# The factors need limits. The published code of the thesis drew the brightness from 0.3 to 2; the last printed line shows the limits of the library. Exercise 2 measures the difference.
#
# :::{admonition} Exercise 2
# :class: exercise
# Which share of the tile is overexposed (255 in some band) at brightness 2, and which share is nearly black at 0.3? `groves.Augment(brightness=(2, 2), contrast=(1, 1))` sets the factor. In northern satellite scenes the light always comes from the south. Which augmentations would be wrong for them?
# :::

# %% tags=["hide-cell"]
# Solution. Shadows show where the light comes from: a turned scene has the sun
# in the north. No real scene has that, so the network learns it for nothing.
for factor in (0.3, 1.25, 2.0):
    how = groves.Augment(False, False, (factor, factor), (1, 1))
    lit, _ = groves.augment(tile, truth, how=how)
    over, black = (lit == 255).any(-1).mean(), (lit < 40).all(-1).mean()
    print(
        f"brightness {factor}: {over:.0%} overexposed, {black:.0%} near black"
    )

# %% [markdown]
# ## 6. The leak
#
# The thesis cut 350 tiles and made four samples of each by augmentation. It shuffled the 1,400 samples and divided them at random: 80 % training, 10 % validation, 10 % test, 'each sample in one set only'. Is this a fair test? A *data leak* is information about the test that is in the training data.
#
# To find out we use a model that *only copies*. It learns nothing. For a test tile it looks for the most similar training tile, mirrored if needed, and returns the mask of that tile.
#
# :::{admonition} Predict
# :class: predict
# What mean overlap does the copying model reach if samples are divided as in the thesis? If whole captures are divided? And if, in addition, training and test share no ground?
# :::


# %%
def flips(x):
    """(4 N, …) Tiles, and the same mirrored left-right, up-down and both."""
    return np.concatenate([x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]])


def look(x, n=14):
    """(N, n²) Coarse grey values of tiles, scaled to length 1."""
    part = x.shape[1] // n
    grey = x.mean(-1).reshape(len(x), n, part, n, part).mean((2, 4))
    grey = grey.reshape(len(x), -1)
    grey = grey - grey.mean(1, keepdims=True)  # without the tile's light
    return grey / np.linalg.norm(grey, axis=1, keepdims=True)


# %%
def copy_masks(train, test, **how):
    """Mean IoU of copied masks, and the median similarity of the tiles."""
    x, y = next(groves.arrays(train, size=56, batch=2000, **how))
    tiles, truth = next(groves.arrays(test, size=56, batch=2000, **how))
    alike = look(tiles) @ look(flips(x)).T  # (test, 4 · train)
    copied = flips(y)[alike.argmax(1)].argmax(-1)
    return overlap(truth.argmax(-1), copied).mean(), np.median(alike.max(1))


# %%
import textwrap
import warnings

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    leaky = groves.leaky_split(captures, seed=1, grid=GRID)
    random = groves.split(captures, seed=1)
    clean = groves.split(captures, (0.8, 0, 0.2), by="flight")
for message in {str(w.message): None for w in warned}:
    print(textwrap.fill(message, 79), "\n")
assert any(w.category is groves.LeakWarning for w in warned)

# %% [markdown]
# The library warns of the first split, and of the second if captures overlap. Now test the copying model on all three splits:

# %%
import pandas as pd

leak = pd.DataFrame(
    [
        ("samples (thesis)", *copy_masks(leaky["train"], leaky["test"])),
        *[
            (name, *copy_masks(split["train"], split["test"], grid=GRID))
            for name, split in {"captures": random, "flight": clean}.items()
        ],
    ],
    columns=["divided by", "mean IoU", "similarity"],
)
figures.show(leak, "A model that only copies, on three splits")

# %%
by_copy = leak.set_index("divided by")["mean IoU"]
print(by_copy.round(3).to_string())
assert by_copy["samples (thesis)"] > 0.95
assert by_copy[["captures", "flight"]].max() < by_copy["samples (thesis)"]
assert not full or by_copy["flight"] < by_copy["captures"]

# %% [markdown] tags=["answer"]
# The three rows of the table answer the three questions. If samples are divided, a model that has learnt nothing gets a nearly perfect score, because nearly every test sample has a copy of itself in the training set. This does not prove that the thesis's networks memorised tiles. It proves that its test *could not have detected it*.
# If whole captures are divided, the score is lower. But it is still too high in the simulated grove, because neighbouring captures show the same trees. The third split leaves out the captures between training and test. It has fewer captures, but its score is valid for new ground.
#
# ## 7. A split without shared ground
#
# The flight is divided into two parts, training and test. Captures between them that show ground of both are left out. Ten captures with this overlap are too few for three sets without shared ground. So only the *test* shares no ground with the others, and the last training capture becomes the validation set. The validation scores are too high, but we use them only to choose the epoch.
#
# :::{admonition} Predict
# :class: predict
# Each capture shows 80 % of the ground of the one before. How many captures must lie between two that share nothing?
# :::

# %%
train, test = clean["train"][:-1], clean["test"]
validation = clean["train"][-1:]
sides = {"train": train, "validation": validation, "test": test}
side_of = {c.name: side for side, part in sides.items() for c in part}
left_out = [c.name for c in captures if c.name not in side_of]
seen = {c.name: groves.ground_seen(train, [c]) for c in captures}
print(f"{len(left_out)} captures between training and test are left out")
assert max(seen[c.name] for c in test) == 0

# %%
colour_of = dict(zip((*sides, "left out"), figures.LINES, strict=False))
shares = pd.Series(
    {f"{n}, {side_of.get(n, 'left out')}": 100 * s for n, s in seen.items()}
)
colours = [colour_of[label.split(", ")[1]] for label in shares.index]
title, unit = "Ground that the training set shows", "% of a capture"
fig = figures.bars(shares, title, unit, study=here, colours=colours, text=".0f")
figures.show(fig, "Share of each capture's ground that the training set shows")

# %% [markdown]
# Each capture shows one fifth of new ground, so after five steps nothing should be shared: the answer is four captures. Do the outlines in `flight.json` confirm this?

# %%
pairs = zip(captures, captures[5:], strict=False)  # four captures between
shared = [groves.ground_seen([a], [b]) for a, b in pairs]
print(f"captures with four between share up to {max(shared, default=0):.2%}")
assert max(shared, default=0) < 0.1

# %% [markdown]
# Nearly: the printed share is small, but it need not be zero, because the drone turns and drifts a little. The split allows no shared ground at all, so it may leave out more than four captures. The number is printed above.
#
# Now the batches, as in Lab 2: images of 0 to 1, and masks with one channel for each class.

# %%
import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # no messages about speed
how = {"grid": GRID, "size": SIDE, "batch": 8}
batches = {
    "train": groves.batches(train, augment=True, seed=1, **how),
    "validation": groves.batches(validation, **how),
}
print({side: 35 * len(part) for side, part in sides.items()}, "tiles")

# %%
x, y = (v.numpy() for v in next(iter(batches["validation"])))
print(f"images {x.shape} {x.dtype}, masks {y.shape} {y.dtype}")
assert x.min() >= 0
assert x.max() <= 1
assert set(np.unique(y.sum(-1))) <= {0, 1}  # one class each, or ignored

# %% [markdown]
# ## 8. FCN-8 and U-Net
#
# Both begin with an *encoder* that was made to classify whole images: five stages, each half as wide and high as the one before. The last stage tells *what* is in the image, but hardly *where*. The two networks differ in the *decoder*, which computes a result of full size ([sources](../../book/en/bibliography.md)).
#
# - **FCN-8** (Long and others, 2015) applies a classifier at each place of the last stage and enlarges its scores. It adds the scores of two finer stages, and enlarges the sum eight times.
# - **U-Net** (Ronneberger and others, 2015) enlarges stage by stage. At each stage it combines the encoder's values of that size with the values of the stage before. These connections are called *skip connections*.
#
# :::{admonition} Predict
# :class: predict
# With VGG-16 as encoder, which of the two has more parameters, and in which layers are most of them?
# :::

# %%
from arsetlib import models
from arsetlib.models import segmentation


def decoder_of(name, layers):
    """Layers after the encoder, and the number of all parameters."""
    network = segmentation.build(name, encoder="vgg16", size=224)
    table = models.layer_table(network)
    decoder = table[table["layer"].str.fullmatch(layers)]
    return decoder.set_index("layer"), network.count_params()


# %%
fcn8, fcn8_size = decoder_of("fcn8", r"dense\d|scores\d+|up\d+|sum\d+")
figures.show(fcn8.reset_index(), "The decoder of FCN-8 on VGG-16")
dense1 = fcn8.loc["dense1", "parameters"]
print(f"FCN-8: {fcn8_size:,} parameters, {dense1 / fcn8_size:.0%} in dense1")
assert dense1 == (7 * 7 * 512 + 1) * 4096  # by hand
assert dense1 > 0.7 * fcn8_size

# %%
unet_layers, unet_size = decoder_of("unet", r"decoder\d_(up|skip|conv)|scores")
figures.show(unet_layers.reset_index(), "The decoder of U-Net on VGG-16")
skips = 9 * (256 * 256 + 128 * 128 + 64 * 64)  # 3 × 3 × values × outputs
print(f"U-Net: {unet_size:,} parameters, {skips / unet_size:.0%} for skips")
assert unet_layers.index.str.endswith("_skip").sum() == 3
assert fcn8_size > 5 * unet_size

# %%
# Adadelta, the thesis's optimiser, stores two more numbers per parameter.
gib, mib = 3 * 4 * fcn8_size / 2**30, 3 * 4 * unet_size / 2**20
print(f"on disk, 3 × 4 bytes each: FCN-8 {gib:.1f} GB, U-Net {mib:.0f} MB")
assert (round(gib, 1), round(mib)) == (1.5, 141)  # as in the thesis

# %% [markdown]
# FCN-8 has more parameters, and one layer, `dense1`, has most of them: each of its 4,096 outputs uses 7 × 7 places of 512 values. With the optimiser's numbers, three numbers are stored for each parameter. This gives the file sizes that the thesis reports.
# The skip connections of U-Net need few parameters, and they add the *where*: the encoder's values at half size go directly to the last stage of the decoder.
#
# ## 9. Train a small network
#
# The lab should run on two cores, so the network is small: its encoder is a MobileNet of a quarter of the usual width, and its decoder is narrow. Its weights start at random. (With an internet connection `weights="imagenet"` gives a full-width encoder that was trained on a million photographs, as in the thesis.)
#
# :::{admonition} Predict
# :class: predict
# The training tiles are augmented, the validation tiles are not. Which of the two has the higher mean IoU in the first epoch, and which at the end?
# :::


# %%
def small(name, **options):
    """A small network with random weights."""
    return segmentation.build(
        name, encoder="mobilenet", size=SIDE, seed=1, **options
    )


recipe = {
    "shrink": np.sqrt(image[..., 0].size / 35) / SIDE,  # capture px / tile px
    "epochs": 10 if here.small else 18,
    "patience": 24,  # more than the epochs: never stops early
    "learning_rate": 3e-3,
    "seed": 1,
    "progress": False,
    "classes": KEYS,
    "colours": CLASSES.colours,
    "notes": {"simulated": here.simulated},
}

# %%
import time

began = time.perf_counter()
thin_unet = small("unet", **segmentation.SLIM)
unet = groves.fit(thin_unet, batches, **recipe)
minutes = (time.perf_counter() - began) / 60
print(f"{thin_unet.count_params():,} parameters, {minutes:.1f} minutes")
assert thin_unet.count_params() < unet_size / 50

# %%
shown = ("loss", "val_loss", "mean_iou", "val_mean_iou")
history = {name: unet.history[name] for name in shown}
fig = figures.learning_curves(history, study=here, title="A small U-Net")
figures.show(fig, "Loss and mean IoU by epoch, of training and validation")

# %%
for name in ("mean_iou", "val_mean_iou"):
    first, *_, end = history[name]
    print(f"{name}: {first:.3f} in the first epoch, {end:.3f} in the last")
print(f"kept: epoch {unet.notes['best_epoch']}, {unet.notes['verdict']}")
if full:
    assert max(history["val_mean_iou"]) > colour_iou.mean()
    assert history["mean_iou"][0] > history["val_mean_iou"][0]
    assert abs(history["mean_iou"][-1] - history["val_mean_iou"][-1]) < 0.1

# %% [markdown]
# In the simulated grove training has the higher mean IoU in the first epoch, and at the end the two are nearly equal. The training tiles are harder, because they are augmented. But the validation set is one capture that shows much of the same ground, so it is no test.
#
# The last printed word is the result of the thesis's own rule: a run is *valid* if the best accuracies of training and validation differ by at most 15 points. If the validation IoU of a class stays below 0.1, we call the run *underfit*, whatever the accuracy.
#
# A low validation score in the first epochs need not be overfitting. *Batch normalisation* uses the mean of each batch in training, and a running mean in prediction. The running mean starts at 0 and changes a little at each step; Keras's default momentum is 0.99. How much of the initial value is left in a training as short as this one?

# %%
steps = len(batches["train"])
for momentum in (0.99, 0.9):
    left = [momentum ** (steps * n) for n in (1, recipe["epochs"])]
    print(
        f"momentum {momentum}: {left[0]:.0%} of the initial value is left ",
        end="",
    )
    print(f"after one epoch, {left[1]:.1%} after all")
norms = [n for n in thin_unet.layers if "Normalization" in type(n).__name__]
assert {layer.momentum for layer in norms} == {0.9}

# %% [markdown]
# With 0.99 a large part of the initial value is left after the first epoch, and the validation uses this mean. `segmentation.build` uses 0.9, as the assert tests.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. After the pause, run the cells again from the top. They train the network again, which takes a few minutes.
# :::
#
# ## 10. Map whole captures, and look at the errors
#
# A whole capture goes through the network as overlapping tiles, and their predicted probabilities are averaged. We map all captures: those of the test for the scores, the others for the count of trees.
#
# :::{admonition} Predict
# :class: predict
# Where will the errors lie: inside crowns, at edges, on ground or in grass?
# :::

# %%
import shutil

out = here.work / "maps"
shutil.rmtree(out, ignore_errors=True)  # maps of an earlier network
began = time.perf_counter()
mapped = groves.predict(unet, captures, out, progress=here.bars)
chain = (time.perf_counter() - began) / len(captures)
print(f"{len(mapped)} maps, {chain:.2f} s each")
assert len(mapped) == len(captures)

# %%
last = test[-1]
image, mask = groves.read(last)
predicted = np.asarray(Image.open(out / f"{last.name}.png"))
wrong = (predicted != mask) & (mask != groves.IGNORE)
errors = image // 2  # darker, so that errors are visible
errors[wrong] = (255, 90, 200)  # pink
print(f"{last.name}: {1 - wrong.mean():.1%} of the pixels are right")
assert predicted.shape == mask.shape

# %%
over = {
    "the prediction": CLASSES.paint(predicted),
    "the truth": CLASSES.paint(mask),
    "the errors (pink)": errors,
}
alt = f"{last.name} of the test, and over it"
figures.wipe(image, over, alt, classes=CLASSES, study=here)

# %%
from scipy import ndimage

window = 2 * round(0.1 / metres) + 1  # pixels: 10 cm to both sides
at_edge = ndimage.maximum_filter(mask, window) != ndimage.minimum_filter(
    mask, window
)
parts = {"within 10 cm of an edge": at_edge, "elsewhere": ~at_edge}
parts |= {f"on {key}": mask == number for number, key in enumerate(TITLES)}
for part, where in parts.items():
    print(f"{part}: {wrong[where].mean():.1%} of the pixels are wrong")
assert wrong[at_edge].mean() > wrong[~at_edge].mean()

# %%
wrong_ground = np.bincount(predicted[wrong & (mask == GROUND)], minlength=3)
print(
    "wrong ground became:",
    dict(zip(TITLES, wrong_ground.tolist(), strict=True)),
)
if full:
    assert wrong[mask == GROUND].mean() > wrong[mask == TREE].mean()
    assert wrong_ground.argmax() == GRASS

# %% [markdown]
# Move the line, and choose the picture on its right side. The printed shares answer the question: errors are more frequent at edges than elsewhere. In the simulated grove they are more frequent on ground than in crowns, and ground that is wrong was mostly predicted as grass. Grass has no sharp outline: even a person cannot draw it exactly.
#
# ## 11. IoU, by hand and by library
#
# The overlap of section 3 has a name: *intersection over union* (IoU) of a class. It is the number of pixels that have the class in truth and prediction, divided by the number that have it in at least one. In counts: right / (right + missed + false). The mean over the classes is the mean IoU. If the classes are weighted by their share of the pixels, it is the frequency-weighted IoU.
#
# :::{admonition} Predict
# :class: predict
# A crown is a disc of 100 pixels. The prediction has the same disc, shifted so that they share 80 pixels. What is its IoU? What is the accuracy in an image of 10,000 pixels?
# :::

# %%
pixel = np.arange(10_000)
disc, shifted = pixel < 100, (pixel >= 20) & (pixel < 120)
disc_iou = overlap(disc, shifted, classes=2)[1]
accuracy = (disc == shifted).mean()
print(f"the shifted disc: IoU {disc_iou:.2f}, accuracy {accuracy:.3f}")
assert np.isclose(disc_iou, 80 / (100 + 100 - 80))

# %%
from arsetlib import evaluation, wording

confusion = evaluation.Confusion.of(
    mask, predicted, TITLES, ignore=groves.IGNORE
)
fig = figures.confusion(confusion, study=here, title="Pixels of a test capture")
figures.show(fig, "Confusion matrix of the test capture")

# %%
by_hand = overlap(mask, predicted)
share = confusion.counts.sum(axis=1) / confusion.total
for key, one, two in zip(TITLES, by_hand, confusion.iou, strict=True):
    print(f"IoU of {key}: by hand {one:.4f}, by library {two:.4f}")
print(f"mean {confusion.mean_iou:.3f}, ", end="")
print(f"frequency-weighted {confusion.frequency_weighted_iou:.3f}")
assert np.allclose(by_hand, confusion.iou)
assert np.isclose((share * by_hand).sum(), confusion.frequency_weighted_iou)

# %% [markdown]
# The line 'the shifted disc' answers the questions. IoU is stricter than accuracy, because the many pixels that are correctly not crown do not count.
# For several captures the library adds the *counts* and divides once. The mean of the IoUs of 35 tiles is a different number: a tile with one branch counts as much as a tile full of trees. Check which of the two a paper reports.
#
# ## 12. Accuracy misleads
#
# :::{admonition} Predict
# :class: predict
# A useless map has ground in place of every tree, and is right everywhere else. What is its pixel accuracy on this capture? And in a young grove, where crowns cover a twentieth of the ground?
# :::


# %%
def matrix(truth, predicted):
    """The confusion matrix of a map."""
    return evaluation.Confusion.of(truth, predicted, KEYS, ignore=groves.IGNORE)


young = np.repeat([GROUND, TREE, GRASS], [60, 5, 35])  # 100 pixels
compared = {
    "our network": confusion,
    "no tree, this capture": matrix(mask, np.where(mask == TREE, GROUND, mask)),
    "no tree, young grove": matrix(
        young, np.where(young == TREE, GROUND, young)
    ),
}

# %%
table = pd.DataFrame(
    [(n, c.accuracy, c.mean_iou, c.iou[TREE]) for n, c in compared.items()],
    columns=["map", "pixel accuracy", "mean IoU", "tree IoU"],
)
figures.show(table, "Scores of a map without a single tree")
assert table["pixel accuracy"][2] == 0.95
assert table["tree IoU"].tolist()[1:] == [0, 0]
assert not full or table["tree IoU"][0] > 0.3

# %% [markdown]
# The second and third rows answer the two questions. If there are few trees, a map without any tree has a high accuracy, and it is useless. Its tree IoU is zero.
#
# ## 13. The leak again, now with the network
#
# The copying model was an extreme case. How much higher are the scores of *our* network on ground that it has seen in training?
#
# :::{admonition} Predict
# :class: predict
# We score all captures and compare the IoU with the share of the ground that the training set shows. Does the IoU increase with this share? For which class most?
# :::

# %%
scored = groves.evaluate(out, captures, progress=False).by_capture()
measures = ["mean_iou", *KEYS]
share_seen = [100 * seen[name] for name in scored.index]
points = {m: (share_seen, scored[m].to_numpy()) for m in measures}
title, unit = "IoU of each capture", "ground that the training set shows, %"
fig = figures.scatter(
    points, title, unit, "IoU", study=here, text=scored.index.tolist()
)
figures.show(fig, "IoU of each capture by the share of its ground seen before")
assert np.isclose(scored.loc[last.name, "mean_iou"], confusion.mean_iou)

# %%
known = np.array(share_seen) > 50
means = pd.DataFrame(
    {
        "mostly seen": scored[known][measures].mean(),
        "mostly new": scored[~known][measures].mean(),
    }
)
gap = means["mostly seen"] - means["mostly new"]
print(wording.shown(means.assign(difference=gap).round(3)).to_string())
assert abs(gap["mean_iou"]) < 1 - by_copy["flight"]  # the copying model's
assert not full or gap["mean_iou"] > 0
assert not full or gap["tree"] < gap["grass"] < gap["ground"]

# %% [markdown]
# The last column answers the question. In the simulated grove the IoU is higher on ground that was seen, and the difference increases from trees to grass to ground. It is much smaller than that of the copying model. The reason may be that the network is small, was trained for few epochs and saw augmented tiles. A part of the difference may have another cause than the leak: each capture has its own light.
# FCN-8 on VGG-16 has many times as many parameters and could memorise more; we have not measured it. The score of a test with a leak does not show how much a network has memorised. So choose the split first.
#
# ## 14. Compare
#
# Two other networks get the same tiles, the same epochs and the same encoder. *SegNet* is here a U-Net without skip connections; it shows what these connections contribute. FCN-8 gets narrow dense layers.
#
# :::{admonition} Predict
# :class: predict
# Which of the three has the most exact edges, and which the least exact? Does the IoU of tree or of grass fall more?
# :::

# %%
others = {
    "SegNet (no skips)": ("segnet", segmentation.SLIM),
    "FCN-8": ("fcn8", {"alpha": 0.25, "dense": 128}),
}
if here.small:
    del others["SegNet (no skips)"]
networks = {"U-Net": unet}
for title, (name, options) in others.items():
    networks[title] = groves.fit(small(name, **options), batches, **recipe)
print(f"{len(networks)} networks: {', '.join(networks)}")
assert all(n.classes == KEYS for n in networks.values())

# %%
tested = {
    title: groves.evaluate(network, test, progress=False)
    for title, network in networks.items()
}
ours = pd.concat([e.table(title) for title, e in tested.items()])
figures.show(ours.reset_index(), "Our three networks, tested on new ground")
print(f"most exact edges: {ours['boundary_f1'].idxmax()}, ", end="")
print(f"least exact: {ours['boundary_f1'].idxmin()}")
if full:
    assert ours["boundary_f1"].idxmax() == "U-Net"
    assert ours["boundary_f1"].idxmin() == "SegNet (no skips)"
assert np.isclose(ours.loc["U-Net", "mean_iou"], confusion.mean_iou, atol=0.2)

# %%
fig = figures.score_bars(
    {title: e.confusion for title, e in tested.items()},
    "iou",
    study=here,
    title="IoU of each class on the test",
)
figures.show(fig, "IoU of ground, tree and grass for the small networks")
worst = ours.loc["U-Net", list(KEYS)] - ours[list(KEYS)].min()
print("largest loss against U-Net:", wording.shown(worst.round(3)).to_dict())
assert not full or worst["grass"] > worst["tree"]

# %%
theirs = evaluation.published.olive_iou().reset_index()
figures.show(
    theirs,
    "The thesis: ten real images, 2020; 100 epochs; test tiles of images "
    "that the training saw too",
)
assert set(KEYS) <= set(ours.columns) & set(theirs.columns)

# %%
by_side = theirs.groupby("side")["tree"]
print(wording.shown(by_side.agg(["min", "max"])).to_string())
least, most = by_side.min(), by_side.max()
assert least[384] - most[224] > 0.3  # a larger tile: all gain
assert (most - least).max() < 0.05  # another architecture: little changes
assert most[512] - most[384] < 0.01

# %% [markdown]
# The printed lines answer the questions. In the simulated grove U-Net has the most exact edges. *Boundary F1* measures them: the share of predicted border pixels within three pixels of a true border, and the reverse. Without skip connections the edges are the least exact, and the IoU of grass decreases more than that of trees. Look at the masks again: crowns are few and large, patches of grass are many and small.
# Do not compare the two tables with each other. The thesis has real olive trees, and it tested on tiles of images that were in the training. We test on new ground, and our training was far shorter.
# *Within* a table you may compare. In the thesis, the tile size changes the IoU of trees much more than the architecture does, and 512 gives hardly more than 384: the last cell tests it. In our table a small difference may be chance; exercise 3 gives an interval.
#
# :::{admonition} Exercise 3
# :class: exercise
# Is a difference of 0.01 chance? A capture has few trees, so draw *tiles*. Score the test tile by tile, draw 35 of 35 tiles with replacement a thousand times, and give an interval for the difference of two networks.
# :::

# %% tags=["hide-cell"]
# Solution: each draw takes the same tiles for both networks, so that a
# difficult tile lowers both scores.
cells = {}
true_tiles = groves.cut(mask, grid=GRID)
for title in ("U-Net", "FCN-8"):
    shutil.rmtree(here.work / title, ignore_errors=True)
    (path,) = groves.predict(
        networks[title], test[-1:], here.work / title, progress=False
    )
    tested_tiles = groves.cut(np.asarray(Image.open(path)), grid=GRID)
    cells[title] = np.stack(
        [
            evaluation.Confusion.of(t, p, KEYS, ignore=groves.IGNORE).counts
            for t, p in zip(true_tiles, tested_tiles, strict=True)
        ]
    )
rng = np.random.default_rng(1)
differences = []
for _ in range(1000):
    drawn = rng.integers(0, 35, 35)
    one, two = (
        evaluation.Confusion.from_counts(c[drawn].sum(0), KEYS).mean_iou
        for c in cells.values()
    )
    differences.append(one - two)
low, high = np.quantile(differences, [0.025, 0.975])
print(f"U-Net minus FCN-8: {low:+.3f} to {high:+.3f} (95 %)")

# %% [markdown]
# ## 15. In real time?
#
# The drone takes a capture every two seconds. The thesis measured 0.0571 s a tile for its fastest network on a graphics card. So 35 tiles take about two seconds, which is just fast enough.
#
# :::{admonition} Predict
# :class: predict
# Our network has less than a fiftieth of the parameters. Does it take more or less than two seconds a capture on your processor? And if reading, shrinking, averaging and writing are included?
# :::

# %%
costs = {
    title: groves.cost(network, repeats=2)
    for title, network in networks.items()
}
speed = pd.DataFrame.from_dict(costs, orient="index")
speed = speed.rename_axis("network").reset_index()
figures.show(speed, "Cost on this machine; a capture is 35 tiles, in batches")
assert speed["parameters"].is_unique

# %%
import json

between = json.loads(flight.read_text()).get("seconds_between_captures", 2)
alone = costs["U-Net"]["seconds_per_capture"]
one_by_one = 35 * costs["U-Net"]["seconds_per_tile"]
print(f"35 tiles, one at a time: {one_by_one:.2f} s, in batches {alone:.2f} s")
print(f"from file to map: {chain:.2f} s a capture")
print(f"time between captures / time to map: {between / chain:.1f}")
assert alone < chain

# %% [markdown]
# The printed lines answer both questions for your machine. If the last number is above 1, a map is ready before the next capture is taken. The network is only one part of the work. It takes time, too, to open a JPEG of several million pixels, to shrink it, to average overlapping tiles and to enlarge the result. The seconds *per tile* do not include this. Measure the whole process from file to map.
#
# ## 16. From pixels to trees
#
# How many trees are in the capture? Neighbouring crowns touch, so a connected patch may be several trees. The library computes the distance of each tree pixel to the edge of the crown: it is largest in the middle of a crown and small where two crowns touch. A *watershed* starts from these maxima and puts the border of two crowns where the distance is smallest between them.
#
# :::{admonition} Predict
# :class: predict
# Are there more connected patches or more crowns? How much does a patch of three wrong pixels add to each number?
# :::

# %%
patches = ndimage.label(predicted == TREE)[1]
radius = 0.5 / metres  # pixels: the smallest crown that counts
crowns = groves.instances(predicted == TREE, radius)
true_crowns = groves.instances(mask == TREE, radius)
print(f"connected patches {patches}, crowns {crowns.max()}")
print(f"crowns in the true mask {true_crowns.max()}")
assert not (crowns[predicted != TREE]).any()
assert not full or abs(crowns.max() / true_crowns.max() - 1) < 0.25

# %%
pair = {
    "predicted": CLASSES.paint(predicted),
    "crowns": figures.paint_instances(image, crowns),
}
fig = figures.panels(pair, classes=CLASSES, metres=metres, study=here)
figures.show(fig, "The predicted mask, and each crown in a colour of its own")

# %%
speck = np.zeros((400, 400), bool)
speck[200, 200:203] = True
print("three pixels:", ndimage.label(speck)[1], "patch,", end=" ")
print(groves.instances(speck, radius).max(), "crowns")
assert groves.instances(speck, radius).max() == 0

# %% [markdown]
# Two effects change the number of patches: touching crowns make one patch of several trees, and a few wrong pixels make a patch without a tree. So it can be lower or higher than the number of crowns; the printed numbers show which effect is larger here. Three wrong pixels add one patch and no crown, because the library leaves out crowns with a radius of less than half a metre.
#
# ## 17. Count the grove, each tree once
#
# :::{admonition} Predict
# :class: predict
# With 80 % overlap, how many captures show the same tree? How much larger than the number of trees is the sum of the counts of all captures?
# :::

# %%
masks = {p.stem: np.asarray(Image.open(p)) for p in mapped}
single = [
    len(groves.count({name: mask}, flight=flight, tree=TREE))
    for name, mask in masks.items()
]
trees = groves.count(out, flight=flight, tree=TREE)
most_views = trees.trees["views"].max()
print(f"sum over captures: {sum(single)}, each tree once: {len(trees)}")
print(f"captures that show a tree: up to {most_views}")
assert sum(single) >= len(trees)

# %% [markdown]
# The two printed lines answer the questions: the sum counts a tree once for each capture that shows it. The library computes the place of each detection on the ground, from the position and heading of the drone in `flight.json`. Detections of several captures that are closer than a crown's radius are merged.
# Is the count right? The true places are in `trees.geojson`; without that file we use the crowns of your masks.

# %%
true_trees = here.folder / "trees.geojson"
if not true_trees.exists():
    true_trees = groves.count(captures, flight=flight, tree=TREE).trees
score = trees.score(true_trees)
print(f"true: {score['truth']}, count error {score['count_error']:+.1%}")
print(f"precision {score['precision']:.2f}, recall {score['recall']:.2f}")
if full:
    assert abs(score["count_error"]) < 0.25

# %% [markdown]
# By hand: a true tree is found if the middle of a detected crown lies within its radius. The library is stricter: it pairs each true tree with one detection only, so a second one in the same crown is false.


# %% tags=["hide-input"]
def places_of(truth):
    """(N, 3) x, y and radius of true trees, m."""
    if isinstance(truth, pd.DataFrame):
        return truth[["x", "y", "radius"]].to_numpy()
    rows = json.loads(truth.read_text())["features"]
    return np.array(
        [
            (*r["geometry"]["coordinates"][:2], r["properties"]["radius"])
            for r in rows
        ]
    )


# %%
places = places_of(true_trees)
xy = trees.trees[["x", "y"]].to_numpy()
apart = np.hypot(*(places[:, None, :2] - xy).transpose(2, 0, 1))
within = apart < places[:, 2:]  # (true, detected)
hit, false = within.any(1), ~within.any(0)
print(f"by hand: {hit.sum()} found, {(~hit).sum()} missed, ", end="")
print(f"{false.sum()} where no tree is")
assert abs(hit.mean() - score["recall"]) < 0.15
assert (~false).mean() >= score["precision"]

# %%
groups = {
    "found": places[hit, :2].T,
    "missed": places[~hit, :2].T,
    "no tree there": xy[false].T,
}
fig = figures.scatter(
    groups,
    "Trees on the ground",
    "x, m",
    "y, m",
    study=here,
    equal=True,
    height=620,
)
figures.show(fig, "Trees on the ground: found, missed, and found where none is")

# %% [markdown]
# A count error alone is not enough: ten missed trees and ten false ones give an error of zero. So we also report precision (which share of the detections are trees) and recall (which share of the trees was found).
# The training set shows a part of this ground. It shows no ground of the test:

# %%
new_ground = {c.name: masks[c.name] for c in test}
clean_trees = groves.count(new_ground, flight=flight, tree=TREE)
counts = {"whole flight": trees, "test, new ground": clean_trees}
summary = pd.DataFrame.from_dict(
    {n: c.summary() | c.score(true_trees) for n, c in counts.items()},
    orient="index",
).rename_axis("ground")
print(f"on new ground: {len(clean_trees)} trees, ", end="")
print(f"count error {summary['count_error'].iloc[1]:+.1%}")

# %%
columns = ["truth", "trees", "count_error", "precision", "recall"]
columns += ["area_ha", "canopy_cover", "canopy_m2_per_ha"]
figures.show(
    summary[columns].reset_index(), "Trees and canopy, all and on new ground"
)
assert clean_trees.area_ha < trees.area_ha
assert np.isclose(trees.canopy_m2_per_ha, 1e4 * trees.cover)

# %%
for file in (
    trees.geojson(here.work / "trees.geojson"),
    trees.csv(here.work / "trees.csv"),
):
    print(f"written: {file.name}, {file.stat().st_size / 1e3:.0f} kB")
assert len(pd.read_csv(here.work / "trees.csv")) == len(trees)

# %% [markdown]
# *Canopy cover* is the share of the ground under crowns. It needs no single crowns, only tree pixels, and each place on the ground is counted once.
# A GIS can open the files; their coordinates are metres in the flight's own system.
#
# :::{admonition} Exercise 4
# :class: exercise
# A tree in the middle of the flight is seen by several captures. `groves.count(…, agree=0.5)` keeps trees that at least half of those captures found. What happens to precision, and what to recall? Try 0.25, 0.5 and 0.8.
# :::

# %% tags=["hide-cell"]
# Solution: a higher share also removes true trees that the network detects in
# few captures. It removes false trees that appear in one capture only; false
# trees that appear in all captures remain.
for agree in (0, 0.25, 0.5, 0.8):
    agreed = groves.count(out, flight=flight, tree=TREE, agree=agree)
    agreed = agreed.score(true_trees)
    print(
        f"agree {agree}: {agreed['trees']} trees, "
        f"precision {agreed['precision']:.2f}, recall {agreed['recall']:.2f}"
    )

# %% [markdown]
# ## What you have learnt
#
# - A mask holds one class number for each pixel: do not average it, do not save it as JPEG. Colour alone does not make a mask: shadow is as dark as leaves, and dry grass looks like soil.
# - A capture is cut into tiles that fit the network; `stitch(cut(x))` is x. In prediction, the probabilities of overlapping tiles are averaged. Augmentation moves image and mask together; its factors need limits.
# - Related tiles belong in the same set: copies of a tile, tiles of a capture, captures of the same ground. A model that only copies shows how much a split leaks.
# - U-Net's skip connections add the *where* with few parameters; one layer of FCN-8 has most of its parameters.
# - The IoU of a class ignores pixels that neither truth nor prediction gives to the class. Accuracy counts all pixels, so a map without trees can have a high accuracy.
# - Measure the time of the whole process from file to map. Count each tree once, and report precision and recall next to the count error.
#
# ## What if …
#
# - **… I have my own images?** Put them in `images/` and their masks in `masks/`, as class numbers, as colours from GIMP, as LabelMe or COCO. `arset groves check FOLDER` names each pair that does not match and each class that never occurs. Then set `source` in section 1.
# - **… I have no `flight.json`?** This lab needs it; the library does not. Leave out captures so that none overlap, split by capture, and count with `metres_per_pixel=…`. Or take the positions from the mosaic that a photogrammetry program makes.
# - **… I have a graphics card?** Raise `alpha` to 1, take `size=384`, and train for the thesis's 100 epochs: `arset groves train` does so, and resumes after a stop. With 384 the IoU of trees improved most in the thesis.
# - **… I want exactly the models of the thesis?** The extra `arsetlib[keras-segmentation]` installs its library, and `arsetlib.models.keras_segmentation` makes it run under Keras 3.
# - **… I have another grove with few labels?** `weights=unet` starts a network of another size with the encoder of this one. Then train it further on a few labelled captures.
# - **… the camera has a near-infrared band?** `channels=4` builds a network for four bands; give it batches of your own, since `groves.batches` reads three. A colour rule can then use NDVI, too.
# - **… I want to count olives, not trees?** The method is the same, with marked fruits in close-ups. There the difficulty is that leaves hide fruits.
