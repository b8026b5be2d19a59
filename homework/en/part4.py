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
# # Homework 4 · A map that you can defend
#
# You have done Lab 4. Here you find labels that were made wrong, and build sets that contain the label as often as promised. You measure how far new windows are from the training, and estimate hectares with their standard error. At the end you smooth a map by parcel and choose what to label next. No TensorFlow is needed.
#
# **Eight questions, 24 points, about 55 minutes.** Functions that you write are used again further down, so keep the order.
#
# Your name in the next cell determines *your* wrong labels, forests, survey, farm and pool, so they differ from those of other learners. Write your name in place of `your name`, and do not change it once you have begun.
#
# Below each question a cell checks your answer and says what is wrong; run it as often as you like. After you have handed in, more checks run with other data: absent classes, few rows, other windows, other parcels.
# So write functions that also work for other data.

# %%
import numpy as np
import pandas as pd

from arsetlib import grading
from arsetlib.grading.assignments import part4

hw = grading.start("part4", name="your name")


def offer(options, reasons):
    """Print what can be chosen."""
    for letter, text in options.items():
        print(f"{letter}) {text}.")
    print("\nbecause …")
    for digit, text in reasons.items():
        print(f"{digit}. {text}.")


# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · Labels that a model contradicts (3 points)
#
# Confident learning compares each label with the probabilities of a model that has not seen the row. A model is surer of some classes than of others, so each class has its own threshold. It is the mean probability of class k over the rows *whose label is k*.
#
# Write `suspects(label, probability)`. It returns a dict:
#
# - `"thresholds"`: (K,) the threshold of each class; `np.inf` for a class that no label has;
# - `"guess"`: (N,) the class that the model is confident of. Take the classes whose probability is *at least* their threshold; of these, the most probable one (of several, the lowest number). Where no class reaches its threshold, the row keeps its own label.
#
# `label` is an array of N class numbers, `probability` an array N × K. A label is suspicious where the guess is another class.

# %% [raw]
# # BEGIN SOLUTION


# %%
def suspects(label, probability):
    # BEGIN SOLUTION
    thresholds = np.full(probability.shape[1], np.inf)
    for k in np.unique(label):
        thresholds[k] = probability[label == k, k].mean()
    sure = np.where(probability >= thresholds, probability, -1)
    guess = np.where(sure.max(axis=1) >= 0, sure.argmax(axis=1), label)
    return {"thresholds": thresholds, "guess": guess}
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2

# %% [markdown]
# ## Question 2 · Is the list better than a random one? (3 points)
#
# Now your own sample. It is *simulated* and very small: a few fields in three years. Some of its labels were made wrong, and a random forest predicted each block without having seen it. Making the sample takes a minute, once.

# %%
mine = part4.audited(hw)
label, probability, wrong = mine["label"], mine["probability"], mine["wrong"]
print(f"{len(label)} labels, {wrong.mean():.0%} of them wrong")

# %% [markdown]
# Take the suspicious labels of your function as the list of what you would look at again. Assign to `audit` a dict with five numbers. The first is a count, the others are shares from 0 to 1:
#
# - `"found"`: how many labels are on the list;
# - `"precision"`: which share of the list is really wrong;
# - `"recall"`: which share of all wrong labels is on the list;
# - `"random_precision"`, `"random_recall"`: what to expect of the two if as many labels were drawn *at random*.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
listed = suspects(label, probability)["guess"] != label
found = {
    "found": listed.sum(),
    "precision": wrong[listed].mean(),
    "recall": listed[wrong].mean(),
    "random_precision": wrong.mean(),
    "random_recall": listed.mean(),
}
# END SOLUTION
audit = found  # SOLUTION
audit

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3

# %% [markdown]
# ## Question 3 · Sets with a promise (4 points)
#
# Split conformal prediction, for each class by itself: write `sets(truth, probability, new, alpha)`. The first two are rows to calibrate with, N class numbers and N × K probabilities; `new` has M × K probabilities. It returns an array M × K, True where the class is in the set of the row.
#
# For each class k:
#
# - the scores are 1 − p of class k, of the n rows whose *truth is k*;
# - the limit is one of them: the one at place ⌈(n + 1)(1 − alpha)⌉, counted from 1, in rising order. Where the place is greater than n, too few rows were there to promise anything, and the limit is infinite;
# - class k is in the set of a new row where 1 − p of class k is *at most* the limit.

# %% [raw]
# # BEGIN SOLUTION


# %%
def sets(truth, probability, new, alpha):
    # BEGIN SOLUTION
    limits = np.full(new.shape[1], np.inf)
    for k in np.unique(truth):
        scores = np.sort(1 - probability[truth == k, k])
        place = int(np.ceil((len(scores) + 1) * (1 - alpha)))
        if place <= len(scores):
            limits[k] = scores[place - 1]
    return 1 - new <= limits
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q4

# %% [markdown]
# ## Question 4 · Where the promise breaks (3 points)
#
# A forest was trained on some blocks in 2020. Other blocks, also of 2020, are there to calibrate with. The rest is the test, in all three years.

# %%
held = part4.held_out(hw)
test, alpha = held["test"], hw.draw["alpha"]
print(f"{len(held['truth'])} rows to calibrate with, alpha = {alpha}")
print(test.sample(4, random_state=1).to_string(index=False))
print("probabilities of the test:", held["test_probability"].shape)

# %% [markdown]
# Make the sets of the test by your function. Then make a table `covered`, a DataFrame with one row for each `year` and the columns
#
# - `year`;
# - `coverage`: share of the rows whose set contains the true class;
# - `mean_size`: mean number of classes in a set;
# - `worst_block`: the coverage of the block where it is lowest *in that year*.
#
# Do not round. Then read the table: in which year is the promise kept? And is it kept in each block of that year?

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
inside = sets(held["truth"], held["probability"], held["test_probability"], alpha)
hit = inside[np.arange(len(test)), test["truth"]]
test = test.assign(hit=hit, size=inside.sum(axis=1))
rows = []
for year, part in test.groupby("year"):
    worst = part.groupby("block")["hit"].mean().min()
    rows.append((year, part["hit"].mean(), part["size"].mean(), worst))
columns = ["year", "coverage", "mean_size", "worst_block"]
# END SOLUTION
covered = pd.DataFrame(rows, columns=columns)  # SOLUTION
covered

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · Far from the training (3 points)
#
# Write `far(train, fold, new)`, the area of applicability of Meyer and Pebesma (2021). `train` has N × F features of training windows, `fold` the fold of each, `new` M × F features of new windows. First divide each feature by its standard deviation in the training; a feature that never varies there is left out. A distance is the root of the summed squares of the differences (Euclidean). The function returns a dict:
#
# - `"dissimilarity"`: (M,) of each new window, its distance to the *nearest* training window, divided by the mean distance of two different training windows;
# - `"threshold"`: for each training window take the distance to the nearest training window *of another fold*, divided by the same mean. The threshold is the largest of these N numbers that is no outlier. A number is no outlier if it is at most Q3 + 1.5 (Q3 − Q1), with the quartiles of `np.quantile`;
# - `"outside"`: the share of the new windows whose dissimilarity is above the threshold.

# %% [raw]
# # BEGIN SOLUTION


# %%
def far(train, fold, new):
    # BEGIN SOLUTION
    spread = train.std(axis=0)
    used = spread > 0
    train, new = train[:, used] / spread[used], new[:, used] / spread[used]
    apart = np.sqrt(((train[:, None] - train) ** 2).sum(axis=2))
    mean = apart.sum() / (len(train) * (len(train) - 1))
    other = np.where(fold[:, None] != fold, apart, np.inf).min(axis=1) / mean
    low, high = np.quantile(other, [0.25, 0.75])
    threshold = other[other <= high + 1.5 * (high - low)].max()
    nearest = np.sqrt(((new[:, None] - train) ** 2).sum(axis=2)).min(axis=1) / mean
    outside = (nearest > threshold).mean()
    return {"threshold": threshold, "dissimilarity": nearest, "outside": outside}
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your own sample: blocks are the folds, and a model is trained on one year. Which share of the other years' windows lies outside? (In its own year it is 0: each window is its own nearest one.)

# %%
for year in part4.YEARS:
    train, fold = part4.features(hw, hw.draw["trained_on"])
    new, _blocks = part4.features(hw, year)
    print(f"trained on {hw.draw['trained_on']}, applied to {year}:", end=" ")
    print(far(train, fold, new)["outside"])

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q6

# %% [markdown]
# ## Question 6 · Visits, and hectares (3 points)
#
# A small map was divided into four strata: the crop is rare in stratum 0 and common in stratum 2. You are to plan one survey and to evaluate another one of the same map.

# %%
own = hw.draw["survey"]
print("pixels of each stratum:", own["pixels"], "of 0.09 ha")
print("expected share of the crop:", own["expected"])
print("samples to plan:", own["size"])
visits = pd.DataFrame({"stratum": own["stratum"], "crop": own["crop"]})
print(visits.head(3).to_string(index=False), "\n", len(visits), "visits")

# %% [markdown]
# Assign to `survey` a dict:
#
# - `"neyman"`: how many of the planned samples each of the four strata gets, so that the standard error of the crop's area is smallest. Divide them in proportion to N √(p (1 − p)), with N the pixels and p the expected share. You may round to whole numbers;
# - `"area"`: hectares of the crop, estimated from the `visits` (`crop` is 1 where the crop was found);
# - `"error"`: its standard error, ha. Let n be the visits to a stratum, and p the share of them with the crop. Then the variance of the number of pixels is the sum over the strata of N² (1 − n / N) p (1 − p) / (n − 1). The factor 1 − n / N is there because a visited pixel is known (Stehman, 2014).

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
pixels, expected = np.array(own["pixels"]), np.array(own["expected"])
weight = pixels * np.sqrt(expected * (1 - expected))
n = visits.groupby("stratum")["crop"].size().to_numpy()
p = visits.groupby("stratum")["crop"].mean().to_numpy()
variance = (pixels**2 * (1 - n / pixels) * p * (1 - p) / (n - 1)).sum()
planned = own["size"] * weight / weight.sum()
found = planned, 0.09 * (pixels * p).sum(), 0.09 * np.sqrt(variance)
keys = "neyman", "area", "error"
# END SOLUTION
survey = dict(zip(keys, found, strict=True))  # SOLUTION
survey

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · One class for each parcel (2 points)
#
# Write `by_parcel(parcel, predicted, truth)`. The three are arrays of N pixels. `parcel` is the number of the pixel's parcel, −1 where it lies in none; `predicted` is its class on the map, and `truth` its true class. The function returns a dict:
#
# - `"map"`: (N,) the class that most pixels of the parcel have; of several equally common, the lowest number. A pixel outside all parcels keeps its class;
# - `"gain"`: the accuracy of this map minus that of the map before, over all N pixels. It may be negative.

# %% [raw]
# # BEGIN SOLUTION


# %%
def by_parcel(parcel, predicted, truth):
    # BEGIN SOLUTION
    smooth = predicted.copy()
    for one in np.unique(parcel[parcel >= 0]):
        smooth[parcel == one] = np.bincount(predicted[parcel == one]).argmax()
    gain = (smooth == truth).mean() - (predicted == truth).mean()
    return {"map": smooth, "gain": gain}
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your own farm, 12 × 12 pixels:

# %%
farm = [np.array(hw.draw["farm"][key]) for key in ("parcel", "predicted", "truth")]
smooth = by_parcel(*farm)
print(farm[1].reshape(12, 12), np.reshape(smooth["map"], (12, 12)), sep="\n\n")
print("gain:", smooth["gain"])

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · What to label next (3 points)
#
# Your model gives these probabilities of four classes for forty pixels without labels. You may have as many labelled as the number printed below.

# %%
pool = pd.DataFrame(hw.draw["pool"])
print(pool.head().to_string(), "\n…")
print("labels that you may have:", hw.draw["count"])

# %% [markdown]
# Two sentences from a report. For each, choose the right answer, and the one reason that supports it.
#
# **“We had the 300 pixels with the smallest margin labelled. 61 % of them are corn, so 61 % of the map's area is corn, ± 5.5 % at 95 %.”**

# %%
offer(hw.draw["area"], hw.draw["area_reasons"])

# %% [markdown]
# **“One run each on the same test: 50 labels drawn at random gave an accuracy of 0.69, 50 chosen by margin 0.71, and 50 at random with embeddings beside the bands 0.72. So both margin and embeddings help.”**

# %%
offer(hw.draw["trial"], hw.draw["trial_reasons"])

# %% [markdown]
# Assign to `next_labels` a dict with three entries:
#
# - `"rows"`: the rows of the pool, counted from 0, in which the margin is smallest: the largest probability minus the second. As many as you may have, in any order. Use code;
# - `"area"`, `"trial"`: your answers on the two sentences.
#
# In this form: `next_labels = {"rows": [3, 8], "area": ("a", 1), "trial": ("b", 2)}`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
two = np.sort(pool.to_numpy(), axis=1)[:, -2:]
chosen = {"rows": np.argsort(two[:, 1] - two[:, 0])[: hw.draw["count"]].tolist()}
for claim, choice, why in (
    ("area", "Neither the area", "The unsure pixels lie"),
    ("trial", "Neither is shown: repeat", "With another random draw"),
):
    options, reasons = hw.draw[claim], hw.draw[f"{claim}_reasons"]
    chosen[claim] = (
        next(key for key, text in options.items() if text.startswith(choice)),
        next(key for key, text in reasons.items() if text.startswith(why)),
    )
# END SOLUTION
next_labels = chosen  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
