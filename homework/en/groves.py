# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework A · From a mask to trees
#
# You have done case study A. Here you measure a mask, cut and augment tiles, measure how much a split leaks, score a map, choose a network that is fast enough for a drone, and count trees. No TensorFlow is needed.
#
# **Eight questions, 28 points, about 55 minutes.** Later questions use functions of earlier ones, so keep the order.
#
# Your name in the next cell decides *your* part of a capture, your samples, networks and trees, so they differ from those of others. Write your name in place of `your name`, and do not change it once you have begun.
#
# Below each question a cell checks your answer and says what is wrong, as often as you like. After you have submitted, further checks run with other data: one tile, absent classes, a grove without detections.
# So write functions that work for other data, too.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from arsetlib import grading, groves
from arsetlib.grading.assignments import groves as given

hw = grading.start("groves", name="your name")


def offer(options, reasons):
    """Print the choices and the reasons."""
    for letter, text in options.items():
        print(f"{letter}) {text}.")
    print("\nbecause …")
    for digit, text in reasons.items():
        print(f"{digit}. {text}.")


# %% [markdown]
# Your part of a capture. It is *simulated* and not a photograph. The columns at the left are 255 in the mask: they are not labelled.

# %%
image, mask = given.my_part(hw)
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].imshow(image)
axes[0].set_title("capture (simulated)")
axes[1].imshow(groves.CLASSES.paint(mask))
axes[1].set_title("mask: ground brown, trees dark, grass light green")
for ax in axes:
    ax.axis("off")
print(f"image {image.shape} {image.dtype}, mask {mask.shape} {mask.dtype}")
print("values of the mask:", np.unique(mask))

# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · What is in the mask? (3 points)
#
# How much of your part is ground (0), tree (1) and grass (2)? And: the network takes masks of 224 × 224. How would you make your mask smaller, and why in this way?

# %%
offer(hw.draw["resize"], hw.draw["resize_reasons"])

# %% [markdown]
# Assign to `shares` a dict with four entries: `"ground"`, `"tree"` and `"grass"`, the shares (0 to 1, not rounded) of the *labelled* pixels; and `"resize"`, your choice and its reason, in this form: `("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
counts = np.bincount(mask[mask != 255], minlength=3)
share = counts / counts.sum()
best, why = "Take the pixel of the old mask", "Class numbers are names"
letters, digits = hw.draw["resize"], hw.draw["resize_reasons"]
choice = (
    next(key for key, text in letters.items() if text.startswith(best)),
    next(key for key, text in digits.items() if text.startswith(why)),
)
found = {"ground": share[0], "tree": share[1], "grass": share[2]}
# END SOLUTION
shares = found | {"resize": choice}  # SOLUTION
shares

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2

# %% [markdown]
# ## Question 2 · Where to cut (4 points)
#
# A capture is cut into tiles of one size that together show every pixel. Consider one side of the capture, `length` pixels long.
#
# Write `tile_starts(length, tile, overlap)`. It returns a list of whole numbers in ascending order, the first pixel of each tile, such that
#
# - the first tile starts at 0, the last one ends exactly at the edge, and no tile extends beyond it;
# - neighbours share at least `overlap` pixels (0 or more, less than `tile`);
# - there are as few tiles as possible.
#
# Several answers may satisfy this; any of them is right. A side is at least as long as a tile; if both are equally long, there is one tile.

# %% [raw]
# # BEGIN SOLUTION


# %%
def tile_starts(length, tile, overlap):
    # BEGIN SOLUTION
    last, step = length - tile, tile - overlap
    count = 1 + -(-last // step)
    return [min(k * step, last) for k in range(count)]
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %%
flight = hw.draw["flight"]
print(f"Your drone's capture is {flight['wide']} pixels wide; tiles start at")
print(tile_starts(flight["wide"], flight["tile"], flight["overlap"]))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3

# %% [markdown]
# ## Question 3 · Augment a tile (4 points)
#
# Write `vary(image, mask, mirror, turns, light)`. It returns two new arrays, `(image, mask)`, changed in this order:
#
# 1. if `mirror` is true, left and right are exchanged;
# 2. both are turned by `turns` quarter turns (0 to 3) anticlockwise, as `np.rot90` does;
# 3. the values of the image are multiplied by `light`. They stay from 0 to 255.
#
# `image` is (H, W, 3) uint8, `mask` (H, W) uint8; tiles need not be square. Decide which of the steps apply to the mask. Do not change the arrays that the function receives.

# %% [raw]
# # BEGIN SOLUTION


# %%
def vary(image, mask, mirror, turns, light):
    # BEGIN SOLUTION
    if mirror:
        image, mask = image[:, ::-1], mask[:, ::-1]
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    lit = np.clip(np.rint(image * float(light)), 0, 255)
    return lit.astype(np.uint8), mask.copy()
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q4

# %% [markdown]
# ## Question 4 · Measure a leak (3 points)
#
# Somebody has cut captures of a flight into tiles, made three or four copies of each by augmentation, shuffled the samples, and assigned them one by one: half to training, half to test. (The thesis made four, and divided them 80, 10 and 10 %.) This is the result.

# %%
samples = given.samples(hw)
print(f"{len(samples)} samples:", dict(samples["side"].value_counts()))
print(samples.sample(5, random_state=1).to_string(index=False))
print()
offer(hw.draw["remedy"], hw.draw["remedy_reasons"])

# %% [markdown]
# Assign to `leak` a dict with three entries:
#
# - `"twins"`: the share (0 to 1) of the test samples of which the training has a copy of the *same tile of the same capture*;
# - `"captures"`: the share of the test samples for whose capture the training has *any* tile;
# - `"remedy"`: how would you divide the samples, and why? In the form `("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
train = samples[samples["side"] == "train"]
test = samples[samples["side"] == "test"]
twin = test.merge(train[["capture", "tile"]].drop_duplicates(), how="left", indicator=True)["_merge"]
twins = (twin == "both").mean()
same = test["capture"].isin(train["capture"]).mean()
best, why = "Divide whole captures", "A capture shows most of the ground"
letters, digits = hw.draw["remedy"], hw.draw["remedy_reasons"]
choice = (
    next(key for key, text in letters.items() if text.startswith(best)),
    next(key for key, text in digits.items() if text.startswith(why)),
)
# END SOLUTION
leak = {"twins": twins, "captures": same, "remedy": choice}  # SOLUTION
leak

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · Intersection over union (4 points)
#
# Write `iou(truth, predicted, classes)`. The first two are arrays of class numbers of the same shape, of any number of dimensions. It returns the IoU of each class 0 to `classes` − 1, in this order, as an array or a list: the number of pixels that have the class in both, divided by the number that have it in at least one.
#
# - Where the truth is 255 a pixel is not labelled: leave it out everywhere.
# - The IoU of a class that occurs in neither of the two is `np.nan`.

# %% [raw]
# # BEGIN SOLUTION


# %%
def iou(truth, predicted, classes):
    # BEGIN SOLUTION
    judged = truth != 255
    truth, predicted = truth[judged], predicted[judged]
    found = []
    for k in range(classes):
        both = np.sum((truth == k) & (predicted == k))
        either = np.sum((truth == k) | (predicted == k))
        found.append(both / either if either else np.nan)
    return np.array(found)
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q6

# %% [markdown]
# ## Question 6 · Score a map (3 points)
#
# A simulated network has mapped your part:

# %%
predicted = given.my_prediction(hw)
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].imshow(groves.CLASSES.paint(mask))
axes[0].set_title("truth (simulated)")
axes[1].imshow(groves.CLASSES.paint(predicted))
axes[1].set_title("prediction")
for ax in axes:
    ax.axis("off")

# %% [markdown]
# Assign to `map_scores` a dict with four numbers, 0 to 1, not rounded:
#
# - `"mean_iou"`: the mean IoU of the three classes;
# - `"frequency_weighted"`: the IoUs, each weighted by its class's share of the labelled truth;
# - `"accuracy"`: the share of the labelled pixels that are right;
# - `"lazy_accuracy"`: the accuracy of a map without any tree that is right everywhere else.
#
# Use `shares` and `iou`. Which of the four numbers would mislead a farmer who pays for each tree?

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
each, judged = iou(mask, predicted, 3), mask != 255
weights = np.array([shares[key] for key in ("ground", "tree", "grass")])
scores = {
    "mean_iou": each.mean(),
    "frequency_weighted": (weights * each).sum(),
    "accuracy": (mask == predicted)[judged].mean(),
    "lazy_accuracy": 1 - shares["tree"],
}
# END SOLUTION
map_scores = scores  # SOLUTION
map_scores

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · A network for the drone (4 points)
#
# Your drone takes a capture every two seconds, and a small computer on board has to map each before the next one is taken. Four networks were measured on it. The rest of the process, reading, shrinking, averaging and writing, takes time, too.

# %%
print(pd.DataFrame(flight["networks"]).to_string(index=False))
print(f"\na capture: {flight['high']} × {flight['wide']} pixels")
print(f"tiles: {flight['tile']} × {flight['tile']}, which share")
print(f"    at least {flight['overlap']} pixels with their neighbours")
print(f"the rest of the process: {flight['rest_s']} s a capture")
print(f"largest network that fits: {flight['largest_mb']} MB")
print(f"\na layer: {hw.draw['layer']}")

# %% [markdown]
# Assign to `real_time` a dict with five entries:
#
# - `"layer"`: how many parameters does the convolution that is printed last have? For each of its `outputs` it has a kernel of `kernel` × `kernel` places with `inputs` values each, and a constant. (In FCN-8 one such layer has most of the parameters.)
# - `"tiles"`: how many tiles does a capture have, cut as in question 2 down and across?
# - `"network"`: the letter of the network with the best mean IoU of those that are fast enough (tiles one after the other *and the rest of the process*) and that fit on the disk;
# - `"seconds"`: how long it takes for a capture, the rest of the process included;
# - `"megabytes"`: how large its file is: adadelta keeps three numbers of four bytes for each parameter, and a megabyte has 2²⁰ bytes here, as in the lab.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
layer = hw.draw["layer"]
weights = (layer["kernel"] ** 2 * layer["inputs"] + 1) * layer["outputs"]
down, across = (len(tile_starts(flight[side], flight["tile"], flight["overlap"])) for side in ("high", "wide"))
table = pd.DataFrame(flight["networks"])
table["seconds"] = down * across * table["s_a_tile"] + flight["rest_s"]
table["megabytes"] = 12 * table["parameters"] / 2**20
fits = (table["seconds"] <= 2) & (table["megabytes"] <= flight["largest_mb"])
best = table[fits].sort_values("mean_iou").iloc[-1]
found = {"layer": weights, "tiles": down * across} | {key: best[key] for key in ("network", "seconds", "megabytes")}
# END SOLUTION
real_time = found  # SOLUTION
real_time

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · Count each tree once (3 points)
#
# Three captures of a small grove were mapped, and the crowns were placed on the ground. The captures overlap, so most trees were detected more than once.

# %%
finds = given.finds(hw)  # capture, x, y in m
true = given.true_trees(hw)  # x, y, radius in m
print(f"{len(true)} true trees, {len(finds)} detections in three captures")
print(f"{len(given.once(finds))} after detections less than 1.5 m apart were merged")

# %% [markdown]
# Write `score_trees(found, true)`. `found` is an array (N, 2) of x and y, `true` an array (M, 3) of x, y and radius, both in metres; N may be 0, M is at least 1. It returns a dict:
#
# - `"count_error"`: (N − M) / M, with its sign;
# - `"precision"`: pairs / N, or `np.nan` where nothing was detected;
# - `"recall"`: pairs / M.
#
# A detection and a true tree can be a pair if the detection is no further from the tree's centre than the tree's radius. Each detection and each tree is in *at most one pair*, and the number of pairs is as large as possible. Crowns do not touch here, so a detection lies under at most one crown.

# %% [raw]
# # BEGIN SOLUTION


# %%
def score_trees(found, true):
    # BEGIN SOLUTION
    pairs = 0
    for x, y, radius in true:
        apart = np.hypot(found[:, 0] - x, found[:, 1] - y)
        pairs += bool((apart <= radius).any())
    n, m = len(found), len(true)
    return {
        "count_error": (n - m) / m,
        "precision": pairs / n if n else np.nan,
        "recall": pairs / m,
    }
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %%
every = finds[["x", "y"]].to_numpy()
print("all captures added up:", score_trees(every, true))
print("each tree once:       ", score_trees(given.once(finds), true))

# %% [raw]
# # END QUESTION

# %% [markdown]
# The sum over the captures contains every tree that was detected, but counts far too many. After merging, few errors remain: bushes, and trees that no capture shows well.
