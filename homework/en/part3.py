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
# # Homework 3 · From a network to hectares
#
# You have done Lab 3. Here you count what a network holds and how far it sees, read the record of a run, test a model of your own by classes and by date, and estimate areas with their confidence intervals. No TensorFlow is needed.
#
# **Eight questions, 28 points, about 55 minutes.** Functions that you write are used again further down, so keep the order.
#
# Your name in the next cell determines *your* network, run, forest and map, so they differ from those of other learners. Write your name in place of `your name`, and do not change it once you have begun.
#
# Below each question a cell checks your answer and says what is wrong; run it as often as you like. After you have handed in, more checks run with other data: other layers, absent classes, another map.
# So write functions that also work for other data.

# %%
import numpy as np
import pandas as pd

from arsetlib import grading
from arsetlib.evaluation import single_crops
from arsetlib.grading.assignments import part3

hw = grading.start("part3", name="your name")


def offer(options, reasons=None):
    """Print what can be chosen."""
    for letter, text in options.items():
        print(f"{letter}) {text}.")
    if reasons:
        print("\nbecause …")
        for digit, text in reasons.items():
            print(f"{digit}. {text}.")


# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · Count parameters (3 points)
#
# The toy network of the lab has these layers: a convolution with `kernels` kernels, each `width` steps wide, over a series of `steps` steps × `bands` bands (padding `"valid"`, stride 1); a pooling that keeps the largest of every `pool` results; a flatten layer; a dense layer with `dense` outputs; and one with `classes` outputs. Each kernel and each output has a constant.
#
# Write `toy_parameters(steps, bands, kernels, width, pool, dense, classes)`. It returns the number of parameters of the whole network, a whole number. For the slides' network (20, 12, 3, 5, 5, 10, 6) that is 349. Count without Keras.

# %% [raw]
# # BEGIN SOLUTION


# %%
def toy_parameters(steps, bands, kernels, width, pool, dense, classes):
    # BEGIN SOLUTION
    convolution = kernels * (width * bands + 1)
    flat = (steps - width + 1) // pool * kernels
    return convolution + dense * (flat + 1) + classes * (dense + 1)
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your own network:

# %%
print(hw.draw["network"])
print("parameters:", toy_parameters(**hw.draw["network"]))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2

# %% [markdown]
# ## Question 2 · The receptive field (3 points)
#
# One kernel of five steps, of five days each, uses 25 days and no more. Deeper layers use more days, and after a layer with a stride, neighbouring places are further apart.
#
# Write `days_seen(stack, step_days)`. It returns how many days of the series one place of the last layer depends on.
#
# - `stack`: a list of `(kernel, stride)`, the first layer first; a pooling by 2 is `(2, 2)`. It may be empty: then a place depends on its own step only.
# - `step_days`: how many days one step is wide.

# %% [raw]
# # BEGIN SOLUTION


# %%
def days_seen(stack, step_days):
    # BEGIN SOLUTION
    steps, apart = 1, 1
    for kernel, stride in stack:
        steps += (kernel - 1) * apart
        apart *= stride
    return steps * step_days
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your own layers:

# %%
stack, step_days = hw.draw["stack"], hw.draw["step_days"]
print(f"{stack} at {step_days} days a step use {days_seen(stack, step_days)} days")

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3

# %% [markdown]
# ## Question 3 · A loss, and three steps of an optimiser (3 points)
#
# A network gives these probabilities for one pixel, whose true class is known. Then one of its parameters, which is 0, gets the slopes of the loss for three batches, one after the other.

# %%
print("probabilities:", hw.draw["shares"])
print(f"the true class has number {hw.draw['truth']}, counted from 0")
print(f"slopes: {hw.draw['slopes']}, rate: {hw.draw['rate']}")

# %% [markdown]
# Assign to `first_step` a dict with three numbers:
#
# - `"loss"`: the cross-entropy of this answer (natural logarithm);
# - `"sgd"`: the parameter after the three steps of plain SGD;
# - `"momentum"`: the parameter after three steps of SGD with a momentum of 0.9, as in the lab: `m = 0.9 * m - rate * slope`, and the parameter moves by `m`, which begins at 0.
#
# Give at least three decimals. The last slope has another sign: which of the two optimisers still moves in the old direction?

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
sgd = momentum = m = 0.0
for slope in hw.draw["slopes"]:
    sgd -= hw.draw["rate"] * slope
    m = 0.9 * m - hw.draw["rate"] * slope
    momentum += m
loss = -np.log(hw.draw["shares"][hw.draw["truth"]])
# END SOLUTION
first_step = {"loss": loss, "sgd": sgd, "momentum": momentum}  # SOLUTION
first_step

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q4

# %% [markdown]
# ## Question 4 · A colleague's run (4 points)
#
# A colleague trained for thirty epochs on seven classes, without any callback, and sends you the record. The table has one row an epoch, counted from 1; a profiler measured the milliseconds of each part of one training step.

# %%
record = hw.draw["run"]
curves = pd.DataFrame({"loss": record["loss"], "val_loss": record["val_loss"]}, range(1, 31))
print(curves.T.to_string(float_format="%.3f"))
print(f"\na step, ms: {record['step_ms']}\n")
offer(hw.draw["verdicts"], hw.draw["signs"])

# %% [markdown]
# Assign to `run` a dict with four entries:
#
# - `"last_epoch"`, `"best_epoch"`: suppose that early stopping had monitored `val_loss` with the patience printed below. After which epoch would training have ended, and the weights of which epoch would have been kept?
# - `"saved_ms"`: how many milliseconds of a step would another device save? It is faster by the factor printed below, and changes only the time of the `device`.
# - `"reading"`: what do the curves show, and which sign tells you so? A letter and a number from above, in this form: `("a", 1)`.

# %%
print(f"patience: {record['patience']}")
print(f"the other device: {record['times_faster']} times as fast")

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
best = 0
for epoch, value in enumerate(record["val_loss"]):
    if value < record["val_loss"][best]:
        best = epoch
    if epoch - best == record["patience"]:
        break
overfits = record["val_loss"][-1] - record["loss"][-1] > 0.5
verdict = "It overfits" if overfits else "It underfits"
sign = "The training loss falls" if overfits else "Both losses stay high"
reading = (
    next(k for k, t in hw.draw["verdicts"].items() if t == verdict),
    next(k for k, t in hw.draw["signs"].items() if t.startswith(sign)),
)
saved = record["step_ms"]["device"] * (1 - 1 / record["times_faster"])
found = epoch + 1, best + 1, saved, reading
keys = "last_epoch", "best_epoch", "saved_ms", "reading"
# END SOLUTION
run = dict(zip(keys, found, strict=True))  # SOLUTION
run

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · Counts and scores (4 points)
#
# Write `scores(truth, predicted, classes)`. The first two are arrays of class numbers, 0 to `classes` − 1, of the same length. It returns a dict:
#
# - `"counts"`: `classes` × `classes`, how often each class was taken for each other, *rows = truth*, columns = prediction;
# - `"accuracy"`: the share of samples that are right;
# - `"micro_f1"`: F1 from the TP, FP and FN of all classes *added up*;
# - `"macro_f1"`: the mean of the classes' own F1, 2 TP / (2 TP + FP + FN). A class that neither truth nor prediction has is left out of the mean; one that only one of them has counts with 0.
#
# Use NumPy or plain loops; scikit-learn is allowed if you give it all classes. Which two of the four values are equal?

# %% [raw]
# # BEGIN SOLUTION


# %%
def scores(truth, predicted, classes):
    # BEGIN SOLUTION
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth, predicted), 1)
    tp = np.diag(counts)
    fp, fn = counts.sum(0) - tp, counts.sum(1) - tp
    below = 2 * tp + fp + fn
    there = below > 0
    return {
        "counts": counts,
        "accuracy": tp.sum() / counts.sum(),
        "micro_f1": 2 * tp.sum() / below.sum(),
        "macro_f1": np.mean(2 * tp[there] / below[there]),
    }
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q6

# %% [markdown]
# ## Question 6 · Scores by date (4 points)
#
# Now your own model: a random forest with your seed is trained on the sample's years 2020 and 2021 and tested on 2019, for windows of 120 days that start on fifteen days of the year. The sample is *simulated* and very small: 124 pixels of a few fields. Making it takes a minute, once.

# %%
mine = part3.predictions(hw)
names = hw.study.legend.names()
crops = [hw.study.legend.keys.index(c) for c in single_crops(hw.study.legend)]
print(mine.sample(4, random_state=1).to_string(index=False))
print("classes:", dict(enumerate(names)))
print("the four crops have the numbers", crops)

# %% [markdown]
# Make a table `by_start`, a DataFrame with one row for each `start` and the columns
#
# - `start`: first day of the window;
# - `accuracy`: share of the samples that are right, 0 to 1;
# - `crops_accuracy`: the same, of the samples whose *truth* is one of the four crops;
# - `constant`: the accuracy of always predicting the class that is commonest in the truth *of that start*.
#
# Do not round.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
rows = []
for start, part in mine.groupby("start"):
    right = part["truth"] == part["predicted"]
    crop = part["truth"].isin(crops)
    commonest = part["truth"].value_counts(normalize=True).max()
    rows.append((start, right.mean(), right[crop].mean(), commonest))
columns = ["start", "accuracy", "crops_accuracy", "constant"]
# END SOLUTION
by_start = pd.DataFrame(rows, columns=columns)  # SOLUTION
by_start

# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your scores for the window from day 106, by your function of question 5:

# %%
summer = mine[mine["start"] == 106][["truth", "predicted"]].to_numpy()
print(scores(*summer.T, len(names)))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · Two claims (3 points)
#
# Two sentences from a report. For each, choose the right answer, and the one reason that supports it.
#
# **“The window that starts on day 196 has one of the best accuracies of all, so wait until its end, in November, with the map of crops.”** Your table of question 6 helps.

# %%
offer(hw.draw["late"], hw.draw["late_reasons"])

# %% [markdown]
# **“We tried forty settings of filters, dropout and rate, and kept the one with the best accuracy on the test. It was 0.93, and that is what users can expect.”**

# %%
offer(hw.draw["search"], hw.draw["search_reasons"])

# %% [markdown]
# Assign both to `claims`, in this form: `claims = {"late": ("a", 1), "search": ("b", 2)}`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
answers = {}
for claim, choice, why in (
    ("late", "The accuracy says little", "By then most of the truth"),
    ("search", "0.93 is too high", "The best of forty"),
):
    options, reasons = hw.draw[claim], hw.draw[f"{claim}_reasons"]
    answers[claim] = (
        next(key for key, text in options.items() if text.startswith(choice)),
        next(key for key, text in reasons.items() if text.startswith(why)),
    )
# END SOLUTION
claims = answers  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · Hectares with an interval (4 points)
#
# 50 random places of each class of your map were visited. Counting the pixels of the map is biased; the visits correct the bias (Olofsson and others, 2014).
#
# Write `area_with_interval(counts, mapped_ha, k)`. It returns three numbers, `(estimate, low, high)`: the hectares of class `k`, and the ends of the 95 % interval.
#
# - `counts`: K × K array of visits, *rows = truth*, columns = mapped class;
# - `mapped_ha`: hectares of each of the K classes, counted on the map.
#
# With n the visits to mapped class j, and p the share of them whose truth is `k`: the estimate is the sum over j of `mapped_ha[j]` × p, its variance the sum of `mapped_ha[j]`² × p (1 − p) / (n − 1), and the interval extends 1.96 standard errors (square roots of the variance) to both sides. No area is below 0. A class without visits has no mapped hectares either, and adds nothing.

# %% [raw]
# # BEGIN SOLUTION


# %%
def area_with_interval(counts, mapped_ha, k):
    # BEGIN SOLUTION
    visits = counts.sum(axis=0)
    there = visits > 0
    p = counts[k, there] / visits[there]
    ha = np.asarray(mapped_ha)[there]
    estimate = (ha * p).sum()
    half = 1.96 * np.sqrt((ha**2 * p * (1 - p) / (visits[there] - 1)).sum())
    ends = estimate, max(estimate - half, 0), estimate + half
    return tuple(round(float(end), 2) for end in ends)
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your map: how far is the counted area from the estimate? Is it inside the interval?

# %%
visits = hw.draw["visits"]
counts, mapped_ha = np.array(visits["counts"]), np.array(visits["mapped_ha"])
print(pd.DataFrame(counts).rename_axis("truth", axis=0).to_string())
for k, mapped in enumerate(mapped_ha):
    print(f"class {k}, {mapped:,.0f} ha on the map:", end=" ")
    print(area_with_interval(counts, mapped_ha, k))

# %% [raw]
# # END QUESTION
