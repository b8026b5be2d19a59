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
# # Lab 4 · A map that you can defend
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** Somebody will use your map. Where is it wrong, how sure is it, how many hectares does it show, and what should be labelled next?
#
# **Product.** A list of labels that are probably wrong. A map that says *cannot say* where the model is not sure. Areas with intervals, a map by parcel, and a list of places to visit.
#
# **You will be able to**
# - find labels that are probably wrong, and say how many of those that you found are right;
# - give each pixel a set of classes that contains the label as often as you promise, and measure where the promise breaks;
# - say where a model was never trained to answer;
# - draw a sample to be labelled, estimate hectares with an interval, and test the interval;
# - make a map by parcel, and measure what that gains;
# - choose what to label next, and find out whether the choice was better than chance;
# - find out whether embeddings help when labels are few.
#
# **Time.** About 120 minutes in two halves, with a pause before section 8. **You need** Lab 3, or to know what a validation set is. You need no graphics card.
# :::
#
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
# ## 1. A model and its map
#
# The lab starts where Lab 3 ended: with a table, three sides (training, validation and test), a model and a map. Here they are made in one go.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing in this lab was measured by a satellite: the data are the simulated delta of Lab 1. That is an advantage here. On Earth nobody knows every label that is wrong. In the delta the truth is known, so each method of this lab can be checked.
# :::

# %%
from arsetlib import lab, samples

source = "simulated"  # or "real", or your study file, "mine.toml"
here = lab.place(source)
delta = source == "simulated" and not here.small  # some asserts need it
study, box = here.study, here.box
table = here.table()
print(here)

# %%
others = [a.key for a in study.areas if a != box]
held_out = [box.key, *others[4:5]] if others else []
by = "year and block" if len(study.years) > 2 else "block"
sides = samples.split(table, study, by=by, held_out=held_out)
print({side: len(rows) for side, rows in sides.items()})
assert len(sides["test"]) > 0

# %% [markdown]
# The model is the default network of `arset train`: attention over the steps, with what was seen and the day of the year. One date is enough for this lab: the one on which the single crops are found best in the *validation*. If it were chosen on the test, the score of the test would be too good.
#
# :::{admonition} Predict
# :class: predict
# The map of this date and the labels differ in some pixels of the box. In how many: 5 %, 20 % or 40 %? Is the map wrong in all of them?
# :::

# %%
import shutil

from arsetlib import training

runs = here.work / "lab4"
shutil.rmtree(runs, ignore_errors=True)  # else finished runs are used again
recipe = {
    "epochs": 3 if here.small else 40,
    "patience": 2 if here.small else 6,
    "seed": 1,
    "progress": here.bars,
    "missing": "allow" if here.small else "refuse",
}
K, names = len(study.legend.classes), study.legend.names()

# %%
model = training.fit("ltae", sides, study, folder=runs / "model", **recipe)
losses = model.history["val_loss"]
print(f"{len(losses)} epochs, best {model.notes['best_epoch']}")
assert model.notes["best_epoch"] <= len(losses)

# %%
from arsetlib import evaluation

first, last = study.season.first_day, study.season.last_day
STARTS = [*range(first, last, 20), last]  # days of the year
valid = model.predictions(sides["validation"], STARTS)
by_start = evaluation.score_table(valid, "day_of_year", repeats=0)
start = int(by_start["crops_accuracy"].idxmax())
print(f"windows from day {start} to day {start + study.season.window_days}")
assert start in STARTS

# %%
from arsetlib import figures, maps

year = int(sides["test"].column("year").max())
labels = here.labels()[year]
how = {"area": box.key, "year": year, "progress": here.bars}
made = maps.predict(model, table, start, runs / "maps", **how)
figures.show(
    figures.prediction_map(made, labels=labels, study=study),
    "Map of predicted classes, of labels, and of where the two differ",
)

# %%
on_map = maps.compare(made, labels)
print(f"{1 - on_map.accuracy:.1%} of {on_map.total:,.0f} pixels differ")
assert 0 < on_map.accuracy < 1

# %% [markdown]
# The printed share answers the first question. Neither the map nor the labels are always right: labels have errors, too. So a difference can be an error of the map, or of the label. The next sections look at the labels first.
#
# ## 2. Labels with errors
#
# A label is an answer, too. It comes from a classifier, as in the CDL, from a farmer, or from a person who looked at an image. Some are wrong. In the delta the file of the truth says which.
#
# :::{admonition} Predict
# :class: predict
# Which share of the labels of the training side is wrong: 1 %, 5 % or 20 %? And are errors more common at the edges of fields, or inside?
# :::

# %%
import numpy as np
import rasterio
from rasterio.transform import rowcol

from arsetlib import copies  # of a file in an object store

truth_files = {y: study.root / f"truth_{y}.tif" for y in study.years}
knows_truth = study.simulated and all(f.is_file() for f in truth_files.values())
print("The truth is", "known." if knows_truth else "not known here.")


def grown_at(x, y, years):
    """(N,) Label codes of what really grew."""
    codes = np.empty(len(x), int)
    for one in np.unique(years):
        mine = years == one
        with rasterio.open(copies.fetched(truth_files[int(one)])) as f:
            row, col = np.array(rowcol(f.transform, x[mine], y[mine]), int)
            codes[mine] = f.read(1)[row, col]
    return codes


# %%
rows = samples.Rows.of(table)
place = [rows.column(name) for name in ("x", "y", "year")]
codes = rows.column("label_code")
true_codes = grown_at(*place) if knows_truth else codes
given, grown = map(study.legend.classes_of, (codes, true_codes))
wrong = (given >= 0) & (grown >= 0) & (given != grown)

# %%
for side, of_side in sides.items() if knows_truth else ():
    print(f"{side}: {wrong[of_side.index].mean():.1%} of the labels are wrong")
if delta:
    assert 0.01 < wrong[sides["train"].index].mean() < 0.15

# %%
from scipy import ndimage

if knows_truth:
    said = maps.read(labels.path, box)[0]
    true = maps.read(truth_files[year], box)[0]
    highest = ndimage.maximum_filter(true, 3)
    edge = highest != ndimage.minimum_filter(true, 3)
    for where, mask in (("at edges of fields", edge), ("inside", ~edge)):
        print(f"{where}: {(said != true)[mask].mean():.1%} are wrong")
    if delta:
        assert (said != true)[edge].mean() > (said != true)[~edge].mean()

# %% [markdown]
# The printed shares answer both questions. In the delta some whole fields have a wrong label, and a side has few fields. This is one reason that the three sides differ.
#
# Nobody knows this of a real place. There the two cells above print nothing, and from here to section 4 the lab takes the labels of the table as the truth. But one thing you can do everywhere: make labels wrong *on purpose*, and see whether a method finds them. The library knows three kinds of errors:
#
# | kind | what happens | as when |
# |---|---|---|
# | `random` | any label gets another class | someone enters a wrong number |
# | `edges` | a label at an edge gets the class of the field beside it | outlines are drawn in the wrong place |
# | `swap` | a label of the commonest crop becomes the second commonest | an expert confuses two crops |

# %%
from arsetlib import audit

RATE, KIND = 0.1, "random"
noisy = audit.spoiled(table, study, RATE, KIND, seed=1)
now = study.legend.classes_of(noisy["label_code"].to_numpy())
ours = now != given
wrong_now = (now >= 0) & (grown >= 0) & (now != grown)
print(f"{ours.mean():.1%} are made wrong; {wrong_now.mean():.1%} are wrong now")
assert abs(ours[given >= 0].mean() - RATE) < 0.01

# %%
noisy_sides = samples.split(noisy, study, by=by, held_out=held_out)
train = noisy_sides["train"]
print(
    f"{len(train):,} training rows, {wrong_now[train.index].mean():.1%} wrong"
)
for side, of_side in sides.items():
    assert np.array_equal(noisy_sides[side].index, of_side.index)

# %% [markdown]
# The split does not look at labels, so the sides have the same rows as before; the assert tests it.
#
# ## 3. Three ways to find them
#
# All three ways ask whether a label fits what is known from *other* rows. A model that was trained with a wrong label may have memorised it. So in two of the ways each row is judged by a model that has not seen its block. For this, the blocks are divided into *folds*. Each fold is predicted by a forest that was trained on the others.
#
# **Confident learning** (Northcutt and others, 2021) needs only the probabilities of this forest. For each class, the threshold is the mean probability that rows with this label have for their class. A label is suspicious if another class reaches its threshold. If the label's own class reaches its threshold, too, the other one must also be more probable.
#
# :::{admonition} Predict
# :class: predict
# How many of the labels that the method calls wrong are wrong: nearly all, a half, or no more than in a random list?
# :::

# %%
folds = 3 if here.small else 4
judging = {"start": start, "folds": folds, "options": {"trees": 30}}
held = audit.out_of_fold(train, study, **judging)
said, label = held.predictions.probability, held.predictions.truth
print(f"{len(label):,} rows judged, {sum(held.lost.values()):,} not")
assert len(label) + sum(held.lost.values()) == len(train)

# %%
reach = np.full(K, np.inf)  # a class that no label has is never reached
for k in np.unique(label):
    reach[k] = said[label == k, k].mean()
reached = np.where(said >= reach - 1e-6, said, -1)
by_hand = (reached.max(1) >= 0) & (reached.argmax(1) != label)
found = audit.confident(label, said)
print(f"{by_hand.sum()} labels by hand, {found.wrong.sum()} by the library")
assert np.mean(by_hand != found.wrong) < 0.01

# %%
bad = wrong_now[held.index]
rng = np.random.default_rng(1)
at_random = rng.permutation(by_hand)  # a list of the same length
for name, mask in (("confident learning", by_hand), ("at random", at_random)):
    hit = audit.Found.of(mask, bad)
    print(f"{name}: {hit.precision:.0%} of the list are wrong,", end=" ")
    print(f"{hit.recall:.0%} of the wrong are in the list")
if delta:
    assert audit.Found.of(by_hand, bad).precision > 2 * bad.mean()

# %% [markdown]
# The first number of a line is the *precision* of the list, the second its *recall*. The precision of the first line answers the question. In the delta the list is far better than one at random, but not perfect. Some suspicious labels are right, because a model makes errors, too. So look at the labels of such a list, and do not delete them.
#
# The other two ways:
# - A **self-organising map** is a grid of *neurons*, each with a series of its own. Training puts similar series into the same neuron, without using labels. A label is suspicious if it is rare in its neuron (Santos and others, 2021).
# - **Votes**: several models, each with its own division into folds, name the same other class (Brodley and Friedl, 1999).
#
# `audit.run` does all three and writes tables and maps; in a shell it is `arset audit`. It never deletes a label.
#
# :::{admonition} Predict
# :class: predict
# Take the labels that at least two of the ways call wrong, or those of all three. Which list has the higher precision, and which the higher recall?
# :::

# %%
report = audit.run(train, study, runs / "audit", progress=here.bars, **judging)
print(report)
assert len(report) <= len(train)


# %%
def key(rows):
    """One number for each pixel and year."""
    pixel, years = rows.pixel, rows.year
    return np.asarray(pixel, np.int64) * 4096 + years


import pandas as pd

row_of = pd.Series(
    np.arange(len(rows)),
    rows.column("pixel").astype(np.int64) * 4096 + rows.column("year"),
)
of_report = row_of[key(report)].to_numpy()
wrong_judged = wrong_now[of_report]
print(f"{wrong_judged.sum()} of {len(wrong_judged):,} judged labels are wrong")
assert row_of.index.is_unique

# %%
lists = {
    "confident learning": report.confident,
    "self-organising map": report.som,
    "votes": report.votes,
    "two of three": report.suspicious(2),
    "all three": report.suspicious(3),
    "a random list": np.random.default_rng(2).permutation(report.suspicious(2)),
}

# %%
scores = {
    name: vars(audit.Found.of(m, wrong_judged)) for name, m in lists.items()
}
ways = pd.DataFrame(scores).T[["suspected", "precision", "recall"]]
ways.insert(0, "suspicious", ways.pop("suspected").astype(int))
figures.show(
    ways.round(2).reset_index(names="list"),
    "Suspicious labels by way, with precision and recall",
)
assert ways.loc["all three", "recall"] <= ways.loc["two of three", "recall"]
if delta:
    precision = ways["precision"]
    assert precision["all three"] > precision["two of three"]
    assert precision["two of three"] > 2 * precision["a random list"]

# %%
of_ours = ours[of_report]
of_theirs = wrong_judged & ~of_ours
for name, mask in (("made by us", of_ours), ("of the delta", of_theirs)):
    part = report.suspicious(2)[mask].mean() if mask.any() else np.nan
    print(f"errors {name}: {mask.sum()}, found: {part:.0%}")

# %%
of_key = dict(zip(study.legend.keys, names, strict=True))
worst = report.table(2).head(5).replace(of_key)
columns = ["area", "year", "label", "guess", "margin", "found_by"]
shown = worst[columns].rename(columns={"label": "label in the table"})
figures.show(shown.round(2), "The most suspicious labels")

# %% [markdown]
# In the delta all three together have the higher precision, and two of three the higher recall. A stricter list is shorter, and its labels are wrong more often. Which one you want depends on what you do with it. If a person looks at each label, take the longer one.
# Compare the two printed lines about our errors and the delta's own. We chose the labels for our errors at random. The delta's own errors include whole fields with one wrong class, so the neighbours of such a pixel have it, too. An error that is common in a region looks right to a model that learns from it. No way finds an error that *all* labels of a class share.
#
# :::{admonition} Exercise 1
# :class: exercise
# Make errors of the kind `edges`, and as many random ones, and let confident learning find both. Is it easier or harder than for random errors? Think of what a pixel at an edge looks like.
# :::

# %% tags=["hide-cell"]
# Solution
for kind in ("random", "edges"):
    other = audit.spoiled(table, study, 0.05, kind, seed=2)
    changed = study.legend.classes_of(other["label_code"].to_numpy()) != given
    judged = samples.split(other, study, by=by, held_out=held_out)["train"]
    tried = audit.out_of_fold(judged, study, **judging)
    q = tried.predictions
    suspected = audit.confident(q.truth, q.probability).wrong
    hit = audit.Found.of(suspected, changed[tried.index])
    print(f"{kind}: {hit.recall:.0%} of our errors are found")
# A pixel at an edge holds some of the field beside it, so the model is unsure
# there, and the wrong class is not far from what the satellite sees.

# %% [markdown]
# ## 4. Train again without them
#
# Is a model better if the suspicious labels are left out of its training? We train forests on four sets of rows, each with three seeds:
#
# - all rows, with their errors;
# - without the suspicious rows;
# - without as many rows drawn at random;
# - without exactly the wrong rows, which only a simulation allows.
#
# Each forest is tested three times:
#
# - against labels with errors, as in the training;
# - against these labels without those that an audit of the *test* suspects;
# - against the truth.
#
# All three use the rows whose truth is a single class.
#
# :::{admonition} Predict
# :class: predict
# If suspicious labels are left out of the training, what changes on the true test: 10 points, a few, or nothing clear? And what changes if suspicious labels are left out of the *test*?
# :::

# %%
cleaned = report.rows(train, least=2)
dropped = len(train) - len(cleaned)
by_chance = np.random.default_rng(3).permutation(len(train)) >= dropped

# %%
trainings = {
    "with errors": train,
    "without suspicious": cleaned,
    "without random": train.pick(by_chance),
    "without wrong": train.pick(~wrong_now[train.index]),
}
print({name: len(of) for name, of in trainings.items()})
assert len(trainings["without random"]) == len(cleaned)

# %%
import pyarrow as pa

of = table.schema.get_field_index("label_code")
as_grown = pa.array(true_codes, pa.int16())
as_grown = table.set_column(of, table.schema.field(of), as_grown)
true_test = samples.split(as_grown, study, by=by, held_out=held_out)["test"]
assert np.array_equal(true_test.index, noisy_sides["test"].index)

# %%
test = noisy_sides["test"]
checked = audit.out_of_fold(test, study, **judging)
on_test = checked.predictions
suspected = checked.index[
    audit.confident(on_test.truth, on_test.probability).wrong
]
print(f"{len(suspected)} of {len(test):,} labels of the test are suspicious")
assert np.isin(suspected, test.index).all()


# %%
def three_scores(rows, seed):
    """Accuracy on the test as it is, without suspicious labels, and true."""
    own = {"epochs": 1, "starts": start, "options": {"trees": 50}}
    both = {"train": rows, "validation": noisy_sides["validation"]}
    how = {"seed": seed, "missing": "allow", "progress": False}
    forest = training.fit("random_forest", both, study, **own, **how)
    on_test = forest.predictions(test, start)
    t = forest.predictions(true_test, start)  # the same windows
    true = pd.Series(t.truth, key(t)).reindex(key(on_test)).to_numpy()
    one = ~np.isnan(true)  # rows with two crops have no single truth
    right = on_test.predicted == on_test.truth
    kept = one & ~np.isin(row_of[key(on_test)], suspected)
    true_score = (on_test.predicted == true)[one].mean()
    return right[one].mean(), right[kept].mean(), true_score


# %%
forest_seeds = (1,) if here.small else (1, 2, 3)
tests = ["noisy test", "noisy test, cleaned", "true test"]
each = {
    name: np.array([three_scores(of, seed) for seed in forest_seeds])
    for name, of in trainings.items()
}  # (seeds, 3) of each

# %%
mean = pd.DataFrame({n: v.mean(0) for n, v in each.items()}, tests).T
figures.show(
    mean.round(3).reset_index(names="training rows"),
    "Accuracy of forests by training rows, on three tests",
)
if delta:
    assert (mean["noisy test, cleaned"] > mean["noisy test"]).all()
    assert (mean["true test"] > mean["noisy test"]).all()

# %%
gain = 100 * (mean - mean.loc["with errors"])["true test"]
spread = 100 * max(np.ptp(v[:, 2]) for v in each.values())
seems = 100 * (mean["noisy test, cleaned"] - mean["noisy test"]).iloc[0]
print(gain.drop("with errors").round(1).to_string())

# %%
print(f"between seeds: up to {spread:.1f} points")
print(f"a cleaned test seems to give {seems:.1f} points, for the same model")
if delta:
    assert abs(gain["without suspicious"]) < seems

# %% [markdown]
# The first lines are the real gain in points; below 0 it is a loss. Compare the gain without suspicious labels with two numbers: the gain without random ones, and the difference between seeds. If it is not clearly larger than both, nothing was gained. How much is gained depends on the errors: `benchmarks/audit.py` of the repository measures it with five seeds, for several kinds and shares. The line 'without wrong' shows what leaving out exactly the wrong labels would give. Even this can be below 0: a forest of fewer rows is another forest, and seeds differ, too.
#
# The last line is the important one. If suspicious labels are left out of the *test*, the score of the **same** model rises. The test has lost rows on which model and label disagree. No map became better. So never clean a test with a model. In the delta the first column is lower than the third for each training. A test whose labels have errors gives the model a lower score than it deserves.
#
# What an audit is good for: it shows a person where to look. If the labels can be *corrected* there, both training and test gain.
#
# ## 5. Sets with a promise
#
# "Soybeans, 55 %" is not much of an answer. *Conformal prediction* gives each pixel a **set** of classes instead, with a promise: about 90 % of the sets contain the label. It needs rows that the model was not trained on: the validation. On them it measures how small the probability of the right class can be. (Here the validation also chose the best epoch and the date, so the promise holds only nearly. With more data, keep some blocks for the calibration alone.)
#
# From here on the labels are those of the table again, without our errors, and the model is that of section 1.

# %%
ALPHA = 0.1  # so many sets may miss the label
v = model.predictions(sides["validation"], start)
misfit = 1 - v.probability[np.arange(len(v)), v.truth]  # of the right class


def limit_of(misfit):
    """The score that 1 − ALPHA of the rows do not exceed."""
    place = int(np.ceil((len(misfit) + 1) * (1 - ALPHA)))
    return np.sort(misfit)[place - 1] if place <= len(misfit) else np.inf


# %%
limit = limit_of(misfit)
sets = 1 - v.probability <= limit  # (rows, K)
print(f"a class is in the set from a probability of {1 - limit:.3f} on")
for many in (1, 2, 3):
    for i in np.flatnonzero(sets.sum(1) == many)[:1]:
        inside = [names[k] for k in np.flatnonzero(sets[i])]
        print(f"    label {names[v.truth[i]]}: {', '.join(inside)}")

from arsetlib import certainty

rule = certainty.Conformal.fit(v, ALPHA)
assert np.isclose(rule.limits[0], limit, atol=1e-6)

# %% [markdown]
# That is all: one limit. The promise holds if new rows come from the same source as those of the calibration. Then you could exchange the two, and nobody would notice (*exchangeability*). Test it: one half of the validation gives the limit. On the other half we count how many sets contain the label. This share is called *coverage*.
#
# :::{admonition} Predict
# :class: predict
# Divide the validation into halves 200 times: once pixel by pixel, once in whole blocks. In which case is the share of sets that contain the label closer to 90 %?
# :::


# %%
def covered(calibrate):
    """Share of the other rows whose set contains the label."""
    return (misfit[~calibrate] <= limit_of(misfit[calibrate])).mean()


# %%
blocks, rng = np.unique(v.block), np.random.default_rng(4)
deals = {"pixels": [], "blocks": []}
for _ in range(200):
    half = rng.permutation(len(v)) < len(v) // 2
    deals["pixels"].append(covered(half))
    half = np.isin(v.block, rng.permutation(blocks)[: len(blocks) // 2])
    deals["blocks"].append(covered(half) if half.any() else np.nan)
if len(blocks) < 2:
    print("One block only: it cannot be divided, so the column is empty.")

# %%
deals = pd.DataFrame(deals)
shown = deals.describe().loc[["mean", "std", "min", "max"]]
figures.show(
    shown.round(3).reset_index(names="coverage"),
    "Coverage in 200 divisions of the validation, by pixels and by blocks",
)
if delta:
    assert abs(deals["pixels"].mean() - (1 - ALPHA)) < 0.02
    assert deals["blocks"].std() > 2 * deals["pixels"].std()

# %% [markdown]
# Pixel by pixel it is closer to 90 %, because both halves have pixels of the same fields, and these are alike. This is not what you need. You want to know about *other* fields. With whole blocks coverage can be far from 90 %, as `min` and `max` show. What counts is the number of blocks, not that of pixels. So if someone shows you coverage, ask how the rows were divided.
#
# A promise on the average can hide something, too. The next table gives the coverage of each class of the label. Its last column is the mean number of classes in a set:

# %%
t = model.predictions(sides["test"], start)
total = certainty.coverage(rule, t)
by_class = certainty.coverage(rule, t, by="class")
columns = ["samples", "coverage", "coverage_low", "coverage_high", "mean_size"]
figures.show(
    by_class[columns].round(2).reset_index(),
    "Coverage on the test by class of the label, with 95 % intervals",
)

# %%
print(f"all classes: {total['coverage'].iloc[0]:.1%}")
enough = by_class[by_class["samples"] >= 50]["coverage"]
if delta:
    assert enough.max() - enough.min() > 0.1

# %%
each_class = certainty.Conformal.fit(v, ALPHA, by_class=True)
strict = certainty.coverage(each_class, t, by="class")
both = pd.DataFrame({
    "calibrated on": each_class.counts,
    "one limit": by_class["coverage"].reindex(names),
    "a limit a class": strict["coverage"].reindex(names),
    "size, one limit": by_class["mean_size"].reindex(names),
    "size, a limit a class": strict["mean_size"].reindex(names),
}, names)  # fmt: skip
figures.show(
    both.round(2).reset_index(names="class"),
    "Coverage and size of sets with one limit, and with a limit for each class",
)
assert sum(each_class.counts) == len(v)

# %% [markdown]
# The promise is one for *all* rows. A class that is rare and difficult may be missed much more often than the others, and the total does not show it. A limit for each class promises more. It needs enough rows of each class. With few rows, or rows of few fields, the limit is uncertain. Coverage on other fields can then be too low or too high. The last two columns show the mean sizes of the sets. A limit of its own can make the sets of a class larger or smaller.
#
# ## 6. Where the promise breaks
#
# The limit was found for one date, one year, and the blocks of the validation. What if one of them changes?
#
# :::{admonition} Predict
# :class: predict
# The limit of one date is used for all windows of the season, in the test's year. Does coverage stay near 90 %? And where does it differ most: between dates, years or blocks?
# :::

# %%
season = model.predictions(sides["test"], STARTS)
dates = certainty.coverage(rule, season, by="last")
shown = dates[["coverage", "coverage_low", "coverage_high"]]
titles = ["coverage", "interval, low", "interval, high"]
shown = shown.set_axis(titles, axis=1)
shown["promised"] = 1 - ALPHA
fig = figures.lines(
    shown, "Coverage through the season", "last day of the window",
    "share of sets", study=study,
)  # fmt: skip
figures.show(fig, "Share of sets that contain the label, by date, and promised")

# %%
lowest, highest = dates["coverage"].min(), dates["coverage"].max()
print(f"from {lowest:.2f} to {highest:.2f}")
assert 0 <= lowest <= highest <= 1

# %%
area_of, year_of = rows.column("area").astype(str), rows.column("year")
in_test = np.isin(rows.column("block"), np.unique(test.column("block")))
in_test &= np.isin(area_of, np.unique(test.column("area").astype(str)))
same_place = {
    str(y): model.predictions(rows.pick(in_test & (year_of == y)), start)
    for y in study.years
}
by_year = certainty.across(rule, same_place)
figures.show(
    by_year.drop(columns="holds").round(2).reset_index(names="year"),
    "Coverage in the blocks of the test, in each year of the study",
)
assert len(by_year) == len(study.years)

# %%
by_block = certainty.coverage(rule, t, by="block")["coverage"]
differences = {
    "dates": highest - lowest,
    "years": np.ptp(by_year["coverage"]),
    "blocks": np.ptp(by_block),
}
print("largest difference between", {k: round(float(x), 2) for k, x in differences.items()})  # fmt: skip

# %%
print(f"{(by_block < 1 - ALPHA).sum()} of {len(by_block)} blocks are below")
if delta:
    assert max(differences, key=differences.get) == "blocks"

# %% [markdown]
# The figure and the range below it answer the first question. Where the line and its interval lie below the promise, the limit of the one date does not hold. A limit for each date can repair that, if each date has its own calibration.
# The printed line answers the second: in the delta the blocks differ most. In some nearly each set contains the label, in others far fewer do. Each block has few fields, and a field that differs from all fields of the training can be missed as a whole. There are also more blocks than dates or years, with fewer pixels in each, and both make the largest difference larger. A promise for a region is not one for your field.
#
# On a map, a set with one class is an answer. A set with several, or with none, means *cannot say*:

# %%
set_file, set_counts = certainty.set_layer(made, rule)
several, none = set_counts["several"], set_counts["none"]
unsaid = set_counts["cannot_say"] / sum(set_counts[k] for k in [*study.legend.keys, "cannot_say"])  # fmt: skip
print(f"cannot say: {unsaid:.0%} of the pixels")
print(f"    {several:,} have several classes, {none:,} have none")
assert several + none == set_counts["cannot_say"]

# %% tags=["hide-input"]
from types import SimpleNamespace

from matplotlib.colors import to_rgb

doubt = certainty.legend_with_doubt(study.legend)
colours = np.array([to_rgb(c.colour) for c in doubt.classes] + [(1, 1, 1)])
with rasterio.open(copies.fetched(set_file)) as f:
    sure_class, metres = f.read(1, masked=True), f.transform.a
pictures = {
    "each pixel a class": made.read(),
    "only where the set has one": sure_class,
}
fig = figures.panels(
    {n: colours[m.astype(int).filled(K + 1)] for n, m in pictures.items()},
    classes=SimpleNamespace(
        colours=[c.colour for c in doubt.classes], titles=doubt.names
    ),
    metres=metres, study=study,
)  # fmt: skip
figures.show(fig, "Map of classes, and the same map with 'cannot say' in grey")

# %%
q = same_place[str(year)]
q = q.pick(q.area == box.key)
one_class = rule.sets(q.probability).sum(1) == 1
right = q.predicted == q.truth
for where, mask in (("a class", one_class), ("cannot say", ~one_class)):
    if mask.any():
        print(f"right where the map says '{where}': {right[mask].mean():.2f}")
if delta:
    assert right[one_class].mean() > right[~one_class].mean()

# %% [markdown]
# In the delta the map is right more often where it names a class. A user can plan a visit to the grey pixels, or leave them out, if the map states how many there are.
#
# :::{admonition} Exercise 2
# :class: exercise
# How many pixels of the box remain without an answer if you promise 80 %, 90 % or 95 %? Before you run it: in which direction does the share of 'cannot say' go?
# :::

# %% tags=["hide-cell"]
# Solution
for alpha in (0.2, 0.1, 0.05):
    tried = certainty.Conformal.fit(v, alpha)
    held_by = certainty.coverage(tried, q).iloc[0]
    print(
        f"promised {1 - alpha:.0%}: coverage {held_by['coverage']:.0%},",
        end=" ",
    )
    print(f"cannot say {held_by['cannot_say']:.0%}")
# A higher promise needs larger sets, so fewer of them have exactly one class.
# With a low promise sets can become empty: no class is probable enough.

# %% [markdown]
# ## 7. Where the model was never trained to answer
#
# A network answers every question, also about things that it has never seen. The *area of applicability* (Meyer and Pebesma, 2021) asks before: how far is a new window from the nearest window of the training? The distance is divided by the mean distance between training windows: this is the *dissimilarity*. The threshold comes from the training, too. For each of its windows, the dissimilarity to the nearest window of *another* block is measured. The threshold is the largest of these values that is no outlier. (The authors give a feature more weight if the model uses it more. Here all have the same weight.)
#
# :::{admonition} Predict
# :class: predict
# Order the windows of the test by their dissimilarity and divide them into five equal parts. How does accuracy change from the nearest to the farthest part? And what happens to the share inside the threshold if somebody forgets to subtract an offset from the image values?
# :::


# %%
def windows_of(rows):
    """Rows with a class, and their windows as means of band and month."""
    known = study.legend.classes_of(rows.column("label_code")) >= 0
    rows = rows.pick(known)
    x, pairs = certainty.features(rows, study, model.scaler, start)
    return rows, x, pairs


learnt, x_train, pairs = windows_of(sides["train"])
near = certainty.Applicability.fit(x_train, learnt.column("block"))
print(f"{len(x_train):,} windows; inside up to {near.threshold:.2f}")
assert x_train.shape == (len(learnt), len(pairs))

# %%
new, x_new, _ = windows_of(sides["test"])
far = near.dissimilarity(x_new)
t_new = model.predictions(new, start)

# %%
parts = certainty.accuracy_by_dissimilarity(far, t_new, near.threshold)
figures.show(
    parts.round(2).reset_index(names="part"),
    "Accuracy inside and outside, and in fifths from near to far",
)
print(f"{(far <= near.threshold).mean():.1%} of the windows are inside")
if delta:
    assert parts.loc["1", "accuracy"] > parts.loc["5", "accuracy"]

# %%
counts_of = np.bincount(t_new.truth, minlength=K)
within = {}
for k in np.flatnonzero(counts_of >= min(50, counts_of.max())):
    of_k = t_new.truth == k
    own = certainty.accuracy_by_dissimilarity(far[of_k], t_new.pick(of_k), 1.0)
    within[names[k]] = own["accuracy"].reindex(["1", "5"])
within = pd.DataFrame(within).T.set_axis(
    ["nearest fifth", "farthest fifth"], axis=1
)
figures.show(
    within.round(2).reset_index(names="class"),
    "Share found in the nearest and the farthest fifth of one class",
)
falls = within["farthest fifth"] < within["nearest fifth"]
print(f"lower in the farthest fifth: {falls.sum()} of {len(within)} classes")
assert len(within) > 0

# %% [markdown]
# In the delta accuracy is higher in the nearest fifth than in the farthest, but it need not fall at each step between them. The first table mixes distance and class: a class with few training windows is far away, and it is difficult as well. The second table compares fifths *within* one class of the label. Its last line says in how many classes accuracy is lower far away; in the others, distance alone explains nothing. Now compare the first two rows of the first table: windows outside need not be wrong more often. Outside means only that no training window is near, so a score that was measured inside says nothing about them. And inside is no guarantee: two crops can look alike, and then it does not help that a window is near.
#
# Which bands have moved, and when? *Drift* is the difference of the means of test and training, in standard deviations of the training. Below 0, the band is darker in the test. Fields and weather differ, so no value is exactly 0. A value of 1 is a shift as large as the spread of the training:

# %%
moved = certainty.drift(x_train, x_new, pairs)
figures.show(
    moved.round(2).reset_index(),
    "Drift of each band in each month of the window, standard deviations",
)
band, month = moved.abs().stack().idxmax()
print(f"largest: {band}, month {month}: {moved.loc[band, month]:.2f}")
assert moved.shape == (len(study.channels), len(pairs) // len(study.channels))

# %%
far_file, inside_share = certainty.applicability_layer(
    near, table, study, model.scaler, start, runs / "far.tif",
    area=box.key, year=year,
)  # fmt: skip
print(f"one number for the map: {inside_share:.1%} of the box is inside")
assert 0 <= inside_share <= 1

# %% tags=["hide-input"]
with rasterio.open(copies.fetched(far_file)) as f:
    distance = f.read(1, masked=True) / float(f.tags()["scale"])
    metres = f.transform.a
from matplotlib import colormaps

scaled = (distance / (2 * near.threshold)).clip(0, 1)
known = maps.labels_on(made, labels)  # -1: no class
differs = (made.read() != known) & (known >= 0)
pictures = {
    "dissimilarity, darker is farther; blue: no data": scaled,
    "dark: differs from the label; blue: no label": np.ma.masked_where(
        known < 0, differs.filled(False).astype(float)
    ),
}
greys = colormaps["Greys"].with_extremes(bad="#9cc3e6")
pictures = {n: greys(m)[..., :3] for n, m in pictures.items()}
fig = figures.panels(pictures, metres=metres, study=study)
figures.show(fig, "Map of the dissimilarity of the box, and of the differences")

# %% [markdown]
# Compare the two pictures. A pixel can be near the training and still differ from its label, for example at the edge of two fields. So the dissimilarity does not replace a test.
#
# Now a mistake that has happened to many. Since January 2022 the values of Sentinel-2 have an offset of 1,000. Suppose that a program forgets it: every value is 1,000 too high, and nothing else changes.


# %%
def with_offset(rows, offset):
    """Accuracy, mean probability and share inside if values are too high."""
    is_band = np.isin(study.channels, study.bands)  # indices stay as they are
    shift = np.where(is_band, offset, 0) / np.asarray(model.scaler.std, "f4")
    loader = model.loader(rows, start)
    right, sure = [], []
    for inputs, truth in loader.arrays():
        moved = inputs["series"] + shift * inputs["seen"][..., None]
        said = model.predict(inputs | {"series": moved.astype("f4")})
        right.append(said.argmax(1) == truth.argmax(1))
        sure.append(said.max(1))
    months = len(pairs) // len(shift)
    far = near.dissimilarity(x_new + np.tile(shift, months))
    inside = (far <= near.threshold).mean()
    return np.concatenate(right).mean(), np.concatenate(sure).mean(), inside


# %%
forgotten = pd.DataFrame(
    {offset: with_offset(new, offset) for offset in (0, 200, 1000)},
    ["accuracy", "mean probability", "share inside"],
).T
figures.show(
    forgotten.round(3).reset_index(names="offset"),
    "Accuracy, mean probability and share inside, by a forgotten offset",
)
if delta:
    assert forgotten.loc[1000, "accuracy"] < forgotten.loc[0, "accuracy"]
    assert forgotten.loc[1000, "share inside"] < 0.1

# %% [markdown]
# In the delta accuracy is lower in the farthest fifth than in the nearest, as the first table of this section shows. With the forgotten offset accuracy falls, and the share inside falls, too. This share needs **no label**: on new data nobody has labels, so accuracy cannot be measured, but this one number can. Compare the mean probability in the table with the accuracy. It is no safe sign: a model can be sure of what it has never seen. So compute the share inside for each new year and place before you look at its map.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. Leave the notebook open during the pause. If you closed it, run section 1 and go on with section 8: the second half needs nothing else.
# :::

# %% [markdown]
# ## 8. How many hectares
#
# At its end Lab 3 estimated areas from a sample that it took by itself. Here you do what a team does: plan the sample, draw it, let a person label it, and estimate. You need only section 1 for this.
#
# The box holds few fields. So in the delta we first predict a larger map, from the scenes: all areas and the ground between them. A part of this ground was in training, in another year. That does no harm here: a random sample corrects any map.

# %%
import numpy as np
import pandas as pd

from arsetlib import wording
from arsetlib.study import Area

wide = made
if delta:
    corners = np.array([a.bounds for a in study.areas])
    bounds = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())
    whole = Area(
        "whole", {"en": "Whole delta", "es": "Todo el delta"}, bounds, box.crs
    )
    how = {"area": whole, "year": year, "study": study, "progress": here.bars}
    wide = maps.predict(model, here.scenes(), start, runs / "whole", **how)
print(wide)

# %%
truth_file = study.root / f"truth_{year}.tif"
knows_truth = study.simulated and truth_file.is_file()
expert = maps.labels_on(wide, truth_file if knows_truth else labels)
mapped = maps.ClassMap.open(wide.path())

# %%
print(
    "the expert knows the truth" if knows_truth else "the labels are the truth"
)
print(
    f"{(expert >= 0).sum():,} of {mapped.sizes.sum():,} pixels have one class"
)
assert expert.shape == wide.read().shape

# %% [markdown]
# `expert` has the class that a visit to each pixel would find. Pixels with two crops in the year have no single class. Where nobody knows the truth, the lab takes the labels instead; then all that follows is about the labels, with their errors.
#
# :::{admonition} Predict
# :class: predict
# You count the pixels of each class on the map. Is the area of the rarest class too large or too small?
# :::

# %%
hectare = mapped.hectares  # of one pixel
known = np.bincount(expert[expert >= 0], minlength=K)
true_ha = known / known.sum() * mapped.sizes.sum() * hectare
counted = pd.DataFrame(
    {"counted": mapped.sizes * hectare, "true": true_ha}, names
)
counted["counted minus true"] = counted["counted"] - counted["true"]
figures.show(
    counted.round(1).rename_axis("class").reset_index(),
    "Hectares of each class: counted on the map, and true",
)

# %%
rare = counted[counted["true"] > 0].nsmallest(1, "true")
off = rare["counted minus true"]
print("the rarest, counted minus true, ha:", off.round(1).to_dict())
if delta:
    assert (off < 0).all()

# %% [markdown]
# In the delta the area of the rarest class is too small. One reason: the model seldom chooses a class of which it has seen few fields. The table shows which of the other areas are too large and which too small. A count has no interval, and looking at the map does not show this error. A sample does.
#
# ### Plan
#
# How many pixels must be labelled? It depends on the interval that you want. `plan_sample` answers before anybody has labelled anything. It needs a guess (`users`) of how often the map is right where it shows a class. `half_width` is half the width of the interval, in hectares.
#
# :::{admonition} Predict
# :class: predict
# A sample of some size gives an interval of ± 10 % of a crop's area. How many times as many pixels does ± 5 % need: 1.4 times, twice, or four times?
# :::

# %%
sizes = pd.Series(mapped.sizes, study.legend.keys)
crops = set(evaluation.single_crops(study.legend)) & set(sizes[sizes > 0].index)
target = sizes[sorted(crops)].idxmax() if crops else sizes.idxmax()
name = names[study.legend.keys.index(target)]
print(f"{name}: {sizes[target] * hectare:,.0f} ha on the map")
assert sizes[target] > 0

# %%
size = min(400, max(20, int(sizes.sum()) // 10))
least = min(30, size // K, int(sizes[sizes > 0].min()))  # of each class
goal = {"target": target, "users": 0.8, "least": least}
needed = {}
for percent in (10, 5):
    wanted = percent / 100 * sizes[target] * hectare
    for kind in ("random", "proportional"):
        tried_plan = maps.plan_sample(
            mapped, allocation=kind, half_width=wanted, **goal
        )
        needed.setdefault(kind, {})[f"± {percent} %"] = tried_plan.size
needed = pd.DataFrame(needed)
print("pixels to label:")
print(wording.shown(needed).to_string())

# %%
times = needed.iloc[1] / needed.iloc[0]
print("half the interval, times as many:", times.round(1).to_dict())
assert (times >= 1).all()
if delta:
    assert times.between(3, 4).all()

# %% [markdown]
# The last line answers the question. On a very large map it is four times: the error falls with the square root of the sample. On a small map it is less, because the sample becomes a large part of the map. A *proportional* sample takes a fixed share of each class of the map. If the map is good, it needs fewer pixels than a simple random sample. The classes of the map are then the *strata* of the sample.
#
# ### Draw and label
#
# `draw_sample` draws pixels at random, and writes beside each how probable it was to draw it (its *inclusion probability*). `save` writes them for a spreadsheet and for a GIS such as QGIS, with a protocol for the person who labels.

# %%
plan = maps.plan_sample(mapped, size, least=least)
sample = maps.draw_sample(mapped, plan, seed=1)
shutil.rmtree(runs / "visit", ignore_errors=True)  # else labels are protected
print(plan)
print(", ".join(file.name for file in sample.save(runs / "visit")))
stands_for = (1 / sample.table["inclusion_probability"]).sum()
assert np.isclose(stands_for, sizes.sum())

# %%
readme = (runs / "visit" / "README.txt").read_text(encoding="utf-8")
print(*readme.split("\n\n")[:4], sep="\n\n")  # after it, the classes
columns = ["id", "lon", "lat", "inclusion_probability", "label"]
print(sample.table[columns].head(4).round(4).to_string(index=False))
assert (sample.table["label"] == "").all()

# %% [markdown]
# The README has one rule that matters most: *label the ground, not the map*. Therefore the labelling page hides what the map says. It shows each pixel's images and its series, needs no network, and keeps the labels while you work. The next cell makes a page of a few points of the box; `arset label` makes one of a whole sample. Open the file in a browser; on Colab or Databricks, download it first.

# %%
on_box = maps.ClassMap.open(made.path())
few = maps.plan_sample(on_box, 8, allocation="random")
few = maps.draw_sample(on_box, few, seed=2)
page = runs / "label.html"
page.unlink(missing_ok=True)
views = maps.views_of_table(table, few.table, year=year, dates=8)
figures.labelling_page(few, views, page)
print(f"{page}: {page.stat().st_size / 1e3:.0f} kB")
assert len(views.days) == len(few.table) == 8

# %% [markdown]
# In the lab the expert labels the sample in a moment:


# %%
def pixels_at(file, points):
    """(N,) rows and columns of a raster at points with x and y."""
    with rasterio.open(copies.fetched(file)) as raster:
        return np.array(rowcol(raster.transform, points["x"], points["y"]), int)


row, column = pixels_at(wide.path(), sample.table)
keys = np.array([*study.legend.keys, ""])  # the last, -1: no single class
filled = sample.table.assign(label=keys[expert[row, column]])
filled.to_csv(runs / "visit" / "sample.csv", index=False)
visited = maps.MapSample.load(runs / "visit")
found = visited.table["label"].replace("", "no single class").value_counts()
print(wording.shown(found).to_string())
assert np.array_equal(visited.table["label"], filled["label"])

# %%
result = maps.sample_areas(visited, mapped)
estimated, powered = result.areas.table, result.powered
print(
    f"{result.labelled} labels; accuracy of the map {result.areas.accuracy:.3f}",
    end="",
)
print(f" ({result.areas.accuracy_low:.3f} to {result.areas.accuracy_high:.3f})")

# %%
figures.show(
    figures.areas(result.areas, study=study),
    "Share of each class: counted on the map, and estimated from the sample",
)
assert result.labelled + len(result.unlabelled) == plan.size

# %%
compared = counted[["counted", "true"]].copy()
for name, found in {"sample": estimated, "with probabilities": powered}.items():
    compared[name] = found["area"]
    low, high = found["area_low"], found["area_high"]
    compared[f"{name}, 95 %"] = [
        f"{a:.1f} to {b:.1f}" for a, b in zip(low, high, strict=True)
    ]
    inside = compared["true"].between(low, high)
    print(f"{name}: {inside.sum()} of {K} intervals hold the true area")

# %%
figures.show(
    compared.round(1).rename_axis("class").reset_index(),
    "Hectares: counted, true, and estimated with 95 % intervals",
)
off = compared[["counted", "sample"]].sub(compared["true"], axis=0).abs().sum()
print("hectares away from the truth:", wording.shown(off.round(1)).to_dict())

# %% tags=["hide-input"]
width = pd.DataFrame(
    {
        name: found["area_high"] - found["area_low"]
        for name, found in {
            "labels alone": estimated,
            "with probabilities": powered,
        }.items()
    }
)
print(wording.shown(width.round(1)).to_string())

# %%
ratio = width["with probabilities"].sum() / width["labels alone"].sum()
print(f"with probabilities: {ratio:.2f} times the width")
assert (width >= 0).all(axis=None)
if delta:
    assert off["sample"] < off["counted"]
    assert ratio < 1

# %% [markdown]
# In the delta this sample is closer to the truth than the count of all pixels, although it has few of them. One sample can still be unlucky, and then several intervals miss at once, because the shares sum to one. Exercise 3 draws others. The column *with probabilities* is *prediction-powered inference* (Angelopoulos and others, 2023). It adds the model's probabilities of all pixels, and corrects their bias with the same labels. The printed ratio compares the widths: below 1 its intervals are narrower. The better the probabilities, the narrower they are. If the probabilities are bad, the method gives them little weight. Section 9 tests whether these intervals hold the truth.
#
# :::{admonition} Exercise 3
# :class: exercise
# Draw the sample again with the seeds 2, 3 and 4. How often do the intervals hold the true area? Is the estimate always closer to the truth than the count?
# :::

# %% tags=["hide-cell"]
# Solution
for seed in (2, 3, 4):
    again = maps.draw_sample(mapped, plan, seed=seed)
    row, column = pixels_at(wide.path(), again.table)
    again.table["label"] = keys[expert[row, column]]
    found = maps.sample_areas(again, mapped).areas.table
    hold = compared["true"].between(found["area_low"], found["area_high"])
    away = (found["area"] - compared["true"]).abs().sum()
    print(f"seed {seed}: {hold.sum()} of {K} hold it, {away:.1f} ha away")
# One sample can be unlucky, so one sample cannot show whether 95 % means 95 %.

# %% [markdown]
# ## 9. Does 95 % mean 95 %?
#
# An interval of 95 % makes a promise: if you draw the sample again and again, about 95 of 100 intervals hold the true area. On Earth nobody can test that, because nobody knows the true area. In the delta you can: draw 500 samples and count.
#
# Three intervals are compared. The *normal* one is the estimate ± 1.96 standard errors, as in many papers. (The standard error is how much the estimate varies from sample to sample.) `evaluation.limits` adds one pixel that was not drawn, because a rare class may be where no pixel was drawn. The third is the one *with probabilities* of section 8.
#
# :::{admonition} Predict
# :class: predict
# Samples of 100 pixels. For which classes does the normal interval hold the truth less often than it says: for the common or for the rare ones?
# :::

# %%
there = (expert >= 0) & ~np.ma.getmaskarray(wide.read())
truth = expert[there].astype(int)  # (N,)
predicted = wide.read().data[there].astype(int)  # (N,)
strata = np.bincount(predicted, minlength=K)
weight = strata / strata.sum()
true_share = np.bincount(truth, minlength=K) / len(truth)
members = [np.flatnonzero(predicted == k) for k in range(K)]
print(
    f"{len(truth):,} pixels; right on the map: {(truth == predicted).mean():.1%}"
)
assert np.isclose(weight.sum(), 1)


# %%
def draw(size, least=8, repeats=500):
    """(repeats, n) pixels: so many at random in each class of the map."""
    rng = np.random.default_rng(study.seed)
    least = min(least, size // K)
    n = evaluation.allocation("proportional", size, strata, least=least)
    n = np.minimum(n, strata)
    parts = [
        rng.permuted(np.tile(m, (repeats, 1)), axis=1)[:, :k]
        for m, k in zip(members, n, strict=True)
    ]
    return np.concatenate(parts, axis=1)


# %%
def estimate(rows, labelled):
    """Shares of the classes and their standard errors, (repeats, K) each."""
    share, variance = np.zeros((2, len(rows), K))
    for k in np.unique(predicted[rows[0]]):  # the same in each repetition
        hit = np.eye(K)[labelled[:, predicted[rows[0]] == k]]  # (repeats, n, K)
        n, p = hit.shape[1], hit.mean(1)
        share += weight[k] * p
        left = 1 - n / strata[k]  # of the class was not drawn
        variance += weight[k] ** 2 * left * p * (1 - p) / max(n - 1, 1)
    return share, np.sqrt(variance)


# %%
per_sample = 100 if delta else min(100, len(truth) // 2)
drawn = draw(per_sample)
share, error = estimate(drawn, truth[drawn])
first = np.zeros((K, K, K), int)
np.add.at(first, (predicted[drawn[0]], truth[drawn[0]], predicted[drawn[0]]), 1)
library = evaluation.survey_areas(first, strata, strata, names).table
print(f"{len(drawn)} samples of {drawn.shape[1]} pixels")
assert np.allclose(share[0], library["share"])
assert np.allclose(error[0], library["share_error"])


# %% [markdown]
# The function by hand agrees with the library's. Now the intervals, and how often each holds the true share:


# %%
def unseen(rows):
    """The largest share of the map that one more pixel would stand for."""
    n = np.bincount(predicted[rows[0]], minlength=K)
    return np.divide(
        weight * (1 - n / strata.clip(1)), n, where=n > 0, out=0 * weight
    ).max()


# %%
def held(low, high):
    """(K,) how often the intervals hold the true share, of 1."""
    return ((low <= true_share) & (true_share <= high)).mean(0)


# %%
probability = np.ma.getdata(wide.read("probability"))[:, there].T
probability = probability / probability.sum(1, keepdims=True)
everywhere = evaluation.ProbabilitySums.of(probability, predicted, K)
print(f"{probability.shape[0]:,} pixels, {K} probabilities each")

# %%
ends = {
    "normal": (share - 1.96 * error, share + 1.96 * error),
    "one unseen": evaluation.limits(share, error, unseen(drawn)),
}
found = [
    evaluation.powered_areas(
        truth[r], probability[r], predicted[r], everywhere, names
    )
    for r in drawn
]
ends["with probabilities"] = tuple(
    np.stack([f[f"share_{end}"] for f in found]) for end in ("low", "high")
)

# %%
coverage = pd.DataFrame({name: held(*e) for name, e in ends.items()}, names)
coverage.insert(0, "true share", true_share)
coverage = coverage[coverage["true share"] > 0].sort_values("true share")
fig = figures.bars(
    100 * coverage.drop(columns="true share"), f"{per_sample} labels: intervals that hold the truth",
    "percent of 500 samples", study=study, mode="group", text=".0f",
)  # fmt: skip
figures.show(fig, "How often intervals of 95 % hold the true area, by class")

# %%
overall = coverage.drop(columns="true share").agg(["mean", "min"])
print(wording.shown((100 * overall).round(1)).to_string())

# %%
widths = {name: 100 * (e[1] - e[0]).mean() for name, e in ends.items()}
print(
    "mean width, % of the map:",
    wording.shown(pd.Series(widths).round(1)).to_dict(),
)
assert (coverage["one unseen"] >= coverage["normal"] - 0.02).all()
if delta:
    assert widths["one unseen"] > widths["normal"]
    assert coverage["normal"].idxmin() in coverage.index[:3]
    assert coverage["one unseen"].mean() > 0.93

# %% [markdown]
# In the delta the normal interval is worst for one of the rarest classes. Many samples find no pixel of it in the strata of the other classes. Their interval is then too narrow. With one unseen pixel the mean over the classes is about 95 % or more, and the intervals are wider. Look at the row `min`, too: a mean does not promise it for each class. The figure also shows the intervals with probabilities, and the last line all widths. Use the narrower ones only if they hold the truth as often.
#
# ### If the expert makes errors
#
# So far the expert was never wrong. Now let a share of the labels name a random other class.
#
# :::{admonition} Predict
# :class: predict
# 10 % of the labels are wrong. Which intervals hold the truth more often: those of 100 labels, or those of 400?
# :::


# %%
def with_noise(size, percent):
    """Mean coverage of intervals if some labels name another class."""
    rows = draw(size)
    rng = np.random.default_rng([study.seed, percent])
    other = (truth[rows] + rng.integers(1, K, rows.shape)) % K
    wrong = rng.random(rows.shape) < percent / 100
    share, error = estimate(rows, np.where(wrong, other, truth[rows]))
    low, high = evaluation.limits(share, error, unseen(rows))
    return 100 * held(low, high)[true_share > 0].mean()


# %%
percents = [0, 2, 5, 10, 20]
sizes_tried = [per_sample, min(4 * per_sample, len(truth))]
noise = pd.DataFrame(
    {f"{n} labels": [with_noise(n, p) for p in percents] for n in sizes_tried},
    pd.Index(percents, name="percent of the labels that are wrong"),
)

# %%
fig = figures.lines(
    noise, "Intervals of 95 % from labels with errors", noise.index.name,
    "percent that hold the truth", study=study,
)  # fmt: skip
figures.show(fig, "Coverage of 95 % intervals by share of wrong labels")
print(noise.round(1).to_string())
if delta:
    assert noise.loc[10].iloc[1] < noise.loc[10].iloc[0] < noise.loc[0].iloc[0]

# %% [markdown]
# In the delta those of 100 labels hold the truth more often. On average both samples are wrong by the same amount. But the larger one has the narrower interval, so it misses the truth more often. An interval covers the chance of the draw. It does not know of wrong labels. So a second person should label a part of the sample, and the report should state how often the two agree.
#
# :::{admonition} Exercise 4
# :class: exercise
# Real errors are not random: a person may take one crop for another. Let one in five pixels of the commonest crop be labelled as the second commonest. For which classes does the coverage fall?
# :::

# %% tags=["hide-cell"]
# Solution
of_crops = [study.legend.keys.index(k) for k in sorted(crops)] or [0]
order = sorted(of_crops, key=lambda k: -true_share[k])
one, two = order[0], (order * 2)[1]
drawn = draw(per_sample)
mixed = np.random.default_rng(1).random(drawn.shape) < 0.2
labelled = np.where((truth[drawn] == one) & mixed, two, truth[drawn])
low, high = evaluation.limits(*estimate(drawn, labelled), unseen(drawn))
change = pd.Series(held(low, high) - held(*ends["one unseen"]), names)
print(f"{names[one]} labelled as {names[two]}:")
print((100 * change).round(1).to_string())
# For these two only. Which pixels were drawn stays the same, and so do the other
# classes' labels. The mean over all classes would hide it.

# %% [markdown]
# ## 10. By parcel
#
# A farmer grows one crop in a field, but the map decides for each pixel. If you know the outlines, all pixels of a field can vote. If you do not, you can divide the image into *segments*: neighbouring pixels with similar series.
#
# The outlines of the delta are known. Segments come from a *composite*: one median image for each 30 days of the window. A composite needs every pixel of an area. So in another place there may be outlines, segments, both or neither.
#
# :::{admonition} Predict
# :class: predict
# Each parcel gets the class of most of its pixels. What gains more accuracy: true outlines or segments? Can a map by parcel be worse than the map of pixels?
# :::

# %%
from arsetlib import parcels, simulate

outlines = {}
if knows_truth:
    outlines["true outlines"] = simulate.outlines(study.root)
how = {"study": study, "start": start, "year": year, "progress": here.bars}
if delta:
    scenes = here.scenes()
    image = parcels.composite(scenes, runs / "composite.tif", area=whole, **how)
elif box.every == 1:
    image = parcels.composite(
        table, runs / "composite.tif", area=box.key, **how
    )

# %%
if delta or box.every == 1:
    outlines["segments"] = parcels.segment(image, progress=here.bars)
found = {name: len(shapes) for name, shapes in outlines.items()}
print(found or "neither outlines nor a dense area")

# %%
by_parcel, gains = {}, {}
for name, shapes in outlines.items():
    by_parcel[name] = parcels.by_parcel(wide, shapes, progress=here.bars)
    gains[name] = by_parcel[name].gain(truth_file if knows_truth else labels)
    print(f"{name}: {gains[name]}")
    assert gains[name].pixels.total == gains[name].parcels.total

# %% tags=["hide-input"]
if gains:
    parcel_scores = pd.DataFrame(
        {
            name: {
                "parcels": len(outlines[name]),
                "by pixel": g.pixels.accuracy,
                "by parcel": g.parcels.accuracy,
                "gain": g.accuracy,
                "gain of macro-F1": g.macro_f1,
            }
            for name, g in gains.items()
        }
    ).T
    figures.show(
        parcel_scores.astype({"parcels": int})
        .round(3)
        .rename_axis("outlines")
        .reset_index(),
        "Accuracy by pixel and by parcel, with two kinds of outlines",
    )
if delta:
    assert gains["true outlines"].accuracy > gains["segments"].accuracy

# %% tags=["hide-input"]
from types import SimpleNamespace

ground = {"by pixel": wide.read().filled(K).astype(int)}
for name, one in by_parcel.items():
    raster = one.raster(runs / f"{name.replace(' ', '_')}.tif")
    with rasterio.open(copies.fetched(raster)) as src:
        ground[name] = src.read(1).clip(0, K).astype(int)
ground["truth" if knows_truth else "labels"] = expert
shown_as = SimpleNamespace(
    colours=study.legend.colours, titles=study.legend.names
)
colours = [*study.legend.colours, "#ffffff"]
colours = np.array(
    [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]
)
pictures = {
    t: colours[classes].astype(np.uint8) for t, classes in ground.items()
}
metres = 100 * mapped.hectares**0.5  # side of a pixel
fig = figures.panels(pictures, study=study, classes=shown_as, metres=metres)
figures.show(
    fig,
    "Classes by pixel, by parcel with each kind of outlines, and "
    + ("true" if knows_truth else "as labelled"),
)
assert all(p.shape == (*expert.shape, 3) for p in pictures.values())

# %% [markdown]
# In the delta true outlines gain more. Compare the gains and not the accuracies: outlines of fields leave out the land between them, so the two rows count other pixels. The printed gain of the segments answers the second question. Below 0, the map by segments is worse than that of pixels. A gain is not certain, because a segment is not a field. Two fields of one crop can be one segment, and roads and narrow woods disappear in it if they are only few pixels wide. The macro-F1 can fall while accuracy rises, if a vote removes a rare class. White pixels of the last picture have no single class. Measure the gain before you give such a map to somebody, on labels that did not train the model.
#
# The map by parcel is a table of outlines. `save` writes GeoParquet, which QGIS, DuckDB and Spark read:

# %%
if by_parcel:
    chosen = by_parcel[max(gains, key=lambda name: gains[name].accuracy)]
    file = chosen.save(runs / "parcels.parquet")
    columns = ["parcel", "class", "share", "margin", "hectares"]
    unsure = chosen.table.sort_values("margin")[columns].head(5).round(2)
    of_key = dict(zip(study.legend.keys, names, strict=True))
    unsure["class"] = unsure["class"].replace(of_key)
    print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB")
    figures.show(
        unsure.astype(str),
        "The five parcels whose vote was closest",
    )
    assert len(chosen.table) == len(chosen)

# %% [markdown]
# The table also says how sure each vote was. `share` is the share of the parcel's pixels that voted for its class. `margin` is this share minus that of the second class. A parcel with a small `margin` is a good place to visit: it may hold two crops.
#
# ## 11. What to label next
#
# You can pay for 200 labels. Which ones? *Active learning* asks for those of which the model is least sure. A simple measure is the *margin*: the probability of the most probable class minus that of the second. By hand it takes two lines. (`uncertainty` of the library is 1 minus the margin.)


# %%
from arsetlib import active


def by_margin(probability, count):
    """Positions of the samples with the smallest margin."""
    two = np.sort(probability, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0])[:count]


count = min(50, len(probability))
mine = by_margin(probability, count)
theirs = active.choose(probability, count, method="margin")
for name, chosen in (("by hand", mine), ("library", theirs)):
    margins = np.sort(active.uncertainty(probability[chosen]))
    print(f"{name}: uncertainty from {margins[0]:.3f} to {margins[-1]:.3f}")
assert np.allclose(active.uncertainty(probability[mine]).min(), margins[0])

# %% [markdown]
# Does it help? In the delta we can answer this, with the truth as the expert. Train on 20 random labels, ask for 30 more, train again, up to 200. The *pool* from which labels are chosen is the training side; the test gives the score. All methods begin with the same labels, and a small forest learns.
#
# - `margin`: the smallest margins.
# - `k_centre`: samples far from each other and from all that is labelled.
# - `cluster`: of many with a small margin, one from each of several groups.
#
# :::{admonition} Predict
# :class: predict
# Which way to choose is better than random labels: all three, some, or none? What may go wrong if you ask only for what the model is least sure of?
# :::


# %%
from arsetlib import pixels


def codes_of(rows):
    """Label codes of rows; true ones where they are known."""
    codes, when = rows.column("label_code").copy(), rows.column("year")
    points = {n: rows.column(n) for n in ("x", "y")}
    for y in np.unique(when) if knows_truth else []:
        file = study.root / f"truth_{y}.tif"
        row, column = pixels_at(file, points)
        with rasterio.open(copies.fetched(file)) as raster:
            grown = raster.read(1)[row, column]
        codes = np.where(when == y, grown, codes)
    return codes.astype(int)


# %% tags=["hide-input"]
def known_samples(rows, codes=None):
    """Windows of rows from day `start`, with what grew; and the rows."""
    codes = codes_of(rows) if codes is None else codes
    days = samples.start_days(rows.column("year"), start)
    how = {"choose": "median", "fill": "linear"}
    w = samples.window(pixels.ragged(rows.read()), study.season, days, **how)
    classes = study.legend.classes_of(codes)
    classes = samples.apply_vegetation_rule(classes, w.vegetation, study.legend)
    use = (classes >= 0) & (w.images > 0)
    x = w.x[use].reshape(use.sum(), -1) / 10_000
    return active.KnownSamples(x, classes[use].astype(int)), rows.pick(use)


# %%
pool, pool_rows = known_samples(sides["train"])
exam, exam_rows = known_samples(sides["test"])
counts = pd.DataFrame(
    {
        n: np.bincount(one.truth, minlength=K)
        for n, one in {"pool": pool, "test": exam}.items()
    },
    names,
)
print(f"{len(pool):,} samples in the pool, {len(exam):,} in the test")
print(f"{pool.features.shape[1]} values a sample\n{counts.to_string()}")
assert len(exam)
assert np.isfinite(pool.features).all()

# %%
from sklearn.ensemble import RandomForestClassifier


def forest(x, y, seed):
    return RandomForestClassifier(40, random_state=seed, n_jobs=1).fit(x, y)


methods = ["random", "margin", "k_centre", "cluster"]
budget = min(200, len(pool))

# %%
curves = active.learning_curve(
    pool, exam, forest, classes=K, methods=methods, draws=(0, 1, 2, 3),
    start=min(20, budget), step=30, budget=budget, progress=here.bars,
)  # fmt: skip
assert set(curves["method"]) == set(methods)

# %%
curve_mean = curves.pivot_table(
    index="labels", columns="method", values="macro_f1"
)
fig = figures.lines(
    curve_mean[methods], "What a label is worth", "labels", "macro-F1, test",
    study=study,
)  # fmt: skip
figures.show(fig, "Macro-F1 on the test by number of labels, for four methods")

# %%
by_seed = curves[curves["labels"] > curves["labels"].min()]
by_seed = by_seed.pivot_table(index="seed", columns="method", values="macro_f1")
over = 100 * by_seed[methods[1:]].sub(by_seed["random"], axis=0)
print("points of macro-F1 over random, each row a seed:")
print(wording.shown(over.round(1)).to_string())

# %%
better = [m for m in methods[1:] if over[m].mean() > 0]
clear = [m for m in methods[1:] if (over[m] > 0).all()]
print("better than random on average:", ", ".join(better) or "none")
print("better with each seed:", ", ".join(clear) or "none")
assert set(clear) <= set(better)
assert len(over) == curves["seed"].nunique()

# %% [markdown] tags=["answer"]
# The last two lines answer the question for this pool. A method that only the first of them names was better on average and not better with some seed, so one run proves nothing. Those of the second one are better supported. But the seeds are few: with luck a method is better with each of them and still no better than chance. What may go wrong: the model is also unsure where an image is bad or two fields meet. Then the smallest margins teach little about a class, or lie side by side in one field. `cluster` and `k_centre` ask for different samples. On five other simulated deltas `cluster` was the best in four, and `margin` little better than chance (see `help(active.choose)`). So which one is best depends on the place; keep random labels as the comparison.
#
# ### Places on the map
#
# `next_places` chooses pixels of a map. With a smallest distance (`apart`, in metres) they do not all lie in one field. Point at a ring to see what the map says there. `save` writes a file for a phone or a GIS, with an empty column for the label.

# %%
apart = 150 if delta else 0
nearby = active.next_places(
    wide, 12 if delta else 3, method="margin", apart=apart, progress=False
)
of_key = dict(zip(study.legend.keys, names, strict=True))
listed = nearby.table.round(3).replace({"predicted": of_key})
print(nearby.save(runs / "next.csv").name)
figures.show(
    listed[["place", "predicted", "probability", "margin", "label_code"]].head(
        6
    ),
    "Places to visit, the most wanted first",
)
distance = np.hypot(*(np.subtract.outer(v, v) for v in (nearby.x, nearby.y)))
assert (distance[~np.eye(len(nearby), dtype=bool)] >= apart).all()

# %% tags=["hide-input"]
fig = figures.prediction_map(wide, study=study, title="Places to visit")
words = [
    f"{p}: {k}, margin {m}"
    for p, k, m in listed[["place", "predicted", "margin"]].to_numpy()
]
for panel, ring in ((1, figures.INK), (2, figures.ACCENT)):
    fig.add_scatter(
        x=nearby.x / 1000, y=nearby.y / 1000, mode="markers", text=words,
        hovertemplate="%{text}<extra></extra>", showlegend=False, row=1,
        col=panel, marker={"size": 12, "symbol": "circle-open",
                           "color": ring, "line": {"width": 3}},
    )  # fmt: skip
figures.show(fig, "Map of classes and of margins with the places to visit")
assert len(fig.data) >= 2

# %% [markdown]
# ### Label them by clicking
#
# Now the labels come back into the training. For that, places are proposed on the map of a *training* area. The labelling page shows them on a map of the ground. Click a point to open it and give it a class. Click elsewhere to add a place of your own. Then download the CSV, put it where the last line says, and run the next cell. Without a file, as when this book was built, an expert answers: the truth, or the labels where it is not known.

# %%
area_of_train = sides["train"].column("area").astype(str)
home = next((a.key for a in study.areas if a.key in area_of_train), box.key)
then = int(sides["train"].column("year")[area_of_train == home].max())
how = {"area": home, "year": then, "progress": here.bars}
of_home = maps.predict(model, table, start, runs / "home", **how)
asked = active.next_places(
    of_home, 40 if delta else 12, apart=60 if delta else 0, progress=False
).sample()

# %%
click = here.work / "lab4_click.html"
click.unlink(missing_ok=True)
views = maps.views_of_table(table, asked.table, year=then, dates=8)
figures.labelling_page(asked, views, click)
saved = click.with_name("lab4_click.csv")
print(f"open {click}\nthe CSV goes to {saved}")
assert asked.table["inclusion_probability"].isna().all()

# %%
if saved.is_file():
    answered, who = maps.MapSample.load(saved), "a person has labelled"
    answered = maps.MapSample(answered.table, asked.design)
else:  # nobody has clicked
    file = study.root / f"truth_{then}.tif"
    visit = maps.labels_on(
        of_home, file if knows_truth else here.labels()[then]
    )
    row, column = pixels_at(of_home.path(), asked.table)
    visited_as = asked.table.assign(label=keys[visit[row, column]])
    answered, who = (
        maps.MapSample(visited_as, asked.design),
        "the expert has labelled",
    )
print(f"{who} {(answered.table['label'] != '').sum()} places")

# %%
taught = active.labelled_rows(sides["train"], study, answered, then)
codes_taught = taught.rows.column("label_code").astype(int)
learned, _ = known_samples(taught.rows, codes_taught)
print(
    f"{len(taught)} labels come back; {len(taught.missing)} places are not in the training side"
)
print(f"{len(taught.without_code)} have a class without a label code")
assert len(learned) <= len(taught) <= len(answered.table)

# %%
order = np.random.default_rng(1).permutation(len(pool))
base, more = order[:20], order[20 : 20 + len(learned)]
added = {
    "20 random labels": (pool.features[:0], pool.truth[:0]),
    "and the labelled places": (learned.features, learned.truth),
    "and as many random ones": (pool.features[more], pool.truth[more]),
}  # the three have 20 labels in common
for name, (x_more, y_more) in added.items():
    x_all = np.concatenate([pool.features[base], x_more])
    y_all = np.concatenate([pool.truth[base], y_more])
    answers = forest(x_all, y_all, 1).predict(exam.features)
    f1 = evaluation.Confusion.of(exam.truth, answers, K).macro_f1
    print(f"{name}: {f1:.3f}")

# %%
second = active.next_places(of_home, 3, known=answered.table, progress=False)
try:
    maps.sample_areas(answered, maps.ClassMap.open(of_home.path()))
except maps.MapError as error:
    print("areas are refused:", error)
pairs_of = [np.column_stack([p.x, p.y]) for p in (second, asked.table)]
assert not (pairs_of[0][:, None] == pairs_of[1]).all(2).any()

# %% [markdown]
# Bare ground has no label code: the vegetation rule of the legend decides it, so such an answer cannot come back. The places outside the training side are left out, too. They lie in blocks of the validation or the test, and rows that trained a model cannot test it. Compare the three scores, but remember the curves above: one round with one seed proves nothing. The last line shows that areas are refused. A place that was proposed or chosen has no inclusion probability, so it can train a model but not estimate hectares. If you add such places to a random sample, `arset areas` leaves them out and names them. The next round does not propose the same places again (`known`; in a shell the option `--known` of `arset next`).
#
# :::{admonition} Predict
# :class: predict
# You have labelled the 400 pixels with the smallest margins. May you use them for the accuracy of the map, or for hectares?
# :::

# %%
unsure = by_margin(probability, min(400, len(truth) // 2))
right = truth == predicted
print(f"right on the whole map: {right.mean():.1%}")
print(f"right among the chosen: {right[unsure].mean():.1%}")

# %%
chosen_share = np.bincount(truth[unsure], minlength=K) / len(unsure)
bias = pd.DataFrame({"chosen": chosen_share, "map": true_share}, names)
print(wording.shown((100 * bias).round(1)).to_string())
if delta:
    assert right[unsure].mean() < right.mean() - 0.1

# %% [markdown]
# No. The model is wrong more often where it is unsure, and the classes have other shares there. No weight corrects that, since a sure pixel had no chance to be drawn. Labels for training may be chosen; labels for accuracy and areas must be drawn at random. Keep them in two files.
#
# ## 12. Few labels
#
# What if there are only five labels a class? Other people's networks have read all images of a year and give a short list of numbers for each pixel, a *vector* (an *embedding*): AlphaEarth and Tessera publish such vectors for large parts of the Earth. A small model can learn from them. They are made from the images of a whole year, so before the harvest there are none of this year.
#
# :::{admonition} Simulated data
# :class: simulated
# The vectors of the delta do not come from a network. They are a random mixture of the ground's true reflectance of twelve months, without clouds, with a little noise. The curves show how to compare vectors with bands. They do not show what real vectors give.
# :::
#
# :::{admonition} Predict
# :class: predict
# A forest learns from the bands of one window, from the vectors, or from both. For which number of labels does the vector help most: 5, 20 or 100 a class? Is 'both' always the best?
# :::

# %%
from arsetlib import embeddings, seeds

rasters = {}  # your own: {2021: "A_2021.tif", …}, from AlphaEarth or Tessera
needs = sorted(
    {int(y) for r in (pool_rows, exam_rows) for y in r.column("year")}
)
for y in needs if knows_truth else []:
    rasters[y] = runs / f"vectors_{y}.tif"
    simulate.embeddings(study.root, rasters[y], y)
vectors_known = set(needs) <= set(rasters)
print({y: f.name for y, f in rasters.items()} or "no vectors of this place")


# %% tags=["hide-input"]
def vectors_of(rows):
    """(N, 64) the vectors of rows; 0 where there is none."""
    when, found, none = rows.column("year"), None, 0
    for y in np.unique(when):
        x, z = (rows.column(n)[when == y] for n in ("x", "y"))
        meta = rows.meta
        v = embeddings.read(
            rasters[y], x, z, crs=meta.crs, side=meta.resolution
        )
        found = (
            np.zeros((len(when), v.shape[1]), "f4") if found is None else found
        )
        none += int(np.isnan(v).any(1).sum())
        found[when == y] = np.nan_to_num(v)
    if none:
        print(f"{none:,} of {len(when):,} rows have no vector: 0 is used")
    return found


# %%
inputs = {"bands": (pool.features, exam.features)}
if vectors_known:
    vectors = [vectors_of(rows) for rows in (pool_rows, exam_rows)]
    inputs["vectors"] = tuple(vectors)
    inputs["both"] = tuple(
        np.concatenate([side.features, w], 1)
        for side, w in zip((pool, exam), vectors, strict=True)
    )
for name, (x, z) in inputs.items():
    print(f"{name}: {x.shape[1]} values a sample")
    assert (len(x), len(z)) == (len(pool), len(exam))


# %%
def score_few(name, count, seed):
    """Macro-F1 on the test of a forest from so many labels a class, or all."""
    order = seeds.generator(seed, "few", count).permutation(len(pool))
    mine = [order[pool.truth[order] == k][:count] for k in range(K)]
    mine = np.concatenate(mine)
    x, z = inputs[name]
    answers = forest(x[mine], pool.truth[mine], seed).predict(z)
    return evaluation.Confusion.of(exam.truth, answers, K).macro_f1


# %%
counts = [5, 20, 100]
made_with = {
    name: [[score_few(name, n, s) for s in range(4)] for n in counts]
    for name in inputs
}

# %%
few_mean = pd.DataFrame(
    {name: np.mean(v, 1) for name, v in made_with.items()},
    pd.Index(counts, name="labels a class"),
)
few_spread = pd.DataFrame(
    {name: np.ptp(v, 1) for name, v in made_with.items()}, few_mean.index
)
for what, values in {
    "mean": few_mean,
    "highest minus lowest seed": few_spread,
}.items():
    print(f"{what}:\n{values.round(3).to_string()}")

# %%
fig = figures.lines(
    few_mean, "A forest from few labels", "labels a class", "macro-F1, test",
    study=study,
)  # fmt: skip
figures.show(fig, "Macro-F1 by labels a class, for bands, vectors and both")

# %%
few_gain = few_mean.drop(columns="bands").sub(few_mean["bands"], axis=0)
for name in few_gain:
    print(
        f"{name}: most points gained with {few_gain[name].idxmax()} labels a class"
    )
    print((100 * few_gain[name]).round(1).to_dict())
if vectors_known:
    print("best of the three:", few_mean.idxmax(axis=1).to_dict())
if delta:
    assert (few_gain.loc[5] > few_gain.loc[100]).all()

# %% [markdown]
# The printed lines answer both questions: how much each gains, and which of the three is best. In the delta vectors and 'both' gain more with five labels a class than with 100. Compare the gain with the spread of the seeds before you believe it. With so few labels the draw can decide more than the vectors do. The vectors know all months and have no clouds. The gain can be small all the same. One reason: a vector of the year does not say whether a crop can be seen on the date of the map.
#
# With real vectors, use these calls: `embeddings.as_sensor` makes a table of them, and `pixels.join` puts it beside the bands. `[channels]` in the study file then gives it to any model of Lab 3. Then ask the question again, on labels of your place.
#
# ## What you have learnt
#
# - Labels have errors. Some can be found, and those who find them must say how many of the findings are right.
# - A set of classes with a promise holds its promise only on data like those on which it was calibrated.
# - A model answers everywhere, also where it was never trained to. The share inside the area of applicability needs no label: compute it for each new year and place.
# - Counting pixels gives a biased area without an interval. A random sample corrects any map.
# - An interval of 95 % comes close to its 95 % if it counts what was not seen, and if the labels are right. A larger sample does not correct wrong labels.
# - A map by parcel can be better or worse than one by pixel. Measure it.
# - Labels for training may be chosen. Labels for accuracy and hectares must be drawn.
# - With few labels the draw can decide more than the method. Repeat with several seeds.
# - Compare each method with a simple one: the count, the single pixel, the random choice, the bands alone.
#
# ## What if …
#
# - **… nobody can visit the fields?** `arset sample` and `arset label`: a person interprets images on a page that needs no network. A second person labels a part again.
# - **… the interval is too wide?** Plan a larger sample for this class (`target`, `half_width`), or make a better map. Then the intervals of areas with probabilities are narrower.
# - **… I have outlines of fields?** `arset parcels`, or `parcels.read("farm.gpkg")` in section 10.
# - **… two fields of one crop are one segment?** Try a smaller `level`, scenes of 10 m, or another `method`; `parcels.score_outlines` compares with outlines that you know.
# - **… I have a budget for labels?** Draw a random sample for the areas first. Spend the rest on places that `active.next_places` names.
# - **… I want the vectors of another network, such as Presto?** Fetch its weights yourself, and compute a vector for each row of the table. `embeddings.as_sensor(table, vectors, study.season)` takes them like those of a raster. The course does not contain these weights, so we have not measured what they gain.
# - **… I want to go on?** Take your own place: section 1, `source = "mine.toml"`. What needs a known truth is then left out, or done with the labels, and says so.
