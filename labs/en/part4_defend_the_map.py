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
# **Product.** A list of labels that are probably wrong, a map that says *cannot say* where the model is not sure, areas with intervals, a map by parcel, and a list of places to visit.
#
# **You will be able to**
# - find labels that are probably wrong, and say how many of those that you found are right;
# - give each pixel a set of classes that contains the truth as often as you promise, and measure where the promise breaks;
# - say where a model was never trained to answer;
# - draw a sample to be labelled, and estimate hectares with an interval that holds;
# - make a map by parcel, and measure what that gains;
# - choose what to label next, and find out whether the choice was better than chance.
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
# The lab starts where Lab 3 ended: with a table, three sides, a model and a map. Here they are made in one go.
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
# The model is the default network of `arset train`: attention over the steps, with what was seen and the day of the year. One date of summer is enough for this lab. It is the date on which the single crops are found best in the *validation*: to choose it on the test would spoil the test.
#
# :::{admonition} Predict
# :class: predict
# The map of one summer date and the labels differ in some pixels of the box. In how many: 5 %, 20 % or 40 %? Is the map wrong in all of them?
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
# The printed share answers the first question. Neither side is always right: the labels come from a classifier, too. So a difference can be an error of the map, or of the label. The next sections look at the labels first.
#
# ## 2. Labels with errors
#
# A label is an answer, too: of a classifier, as in the CDL, of a farmer, or of a person who looked at an image. Some are wrong. In the delta the file of the truth says which.
#
# :::{admonition} Predict
# :class: predict
# Which share of the labels of the training side is wrong: 1 %, 5 % or 20 %? And are errors more common at the edges of fields, or inside?
# :::

# %%
import numpy as np
import rasterio

truth_files = {y: study.root / f"truth_{y}.tif" for y in study.years}
knows_truth = study.simulated and all(f.is_file() for f in truth_files.values())
print("The truth is", "known." if knows_truth else "not known here.")


def grown_at(x, y, years):
    """(N,) Class numbers of what really grew; -1 for two crops in one year."""
    codes = np.empty(len(x), int)
    for one in np.unique(years):
        mine = years == one
        with rasterio.open(truth_files[int(one)]) as f:
            row, col = rasterio.transform.rowcol(f.transform, x[mine], y[mine])
            codes[mine] = f.read(1)[row, col]
    return study.legend.classes_of(codes)


# %%
rows = samples.Rows.of(table)
place = [rows.column(name) for name in ("x", "y", "year")]
given = study.legend.classes_of(rows.column("label_code"))
grown = grown_at(*place) if knows_truth else given
wrong = (given >= 0) & (grown >= 0) & (given != grown)
for side, of_side in sides.items():
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
# The printed shares answer both questions. The three sides differ, because whole fields are wrong, and a side has few fields.
#
# Nobody knows this of a real place. But there is something that you can do everywhere: make labels wrong *on purpose*, and look whether a method finds them. The library knows three kinds of errors:
#
# | kind | what happens | as when |
# |---|---|---|
# | `random` | any label gets another class | someone enters a wrong number |
# | `edges` | a label gets the class of the field beside it | outlines are drawn beside the field |
# | `swap` | the commonest crop becomes the second | an expert confuses two crops |

# %%
from arsetlib import audit

RATE, KIND = 0.1, "random"
noisy = audit.spoiled(table, study, RATE, KIND, seed=1)
now = study.legend.classes_of(noisy["label_code"].to_numpy())
ours = now != given
wrong = (now >= 0) & (grown >= 0) & (now != grown)
print(f"{ours.mean():.1%} are made wrong; {wrong.mean():.1%} are wrong now")
assert abs(ours.mean() - RATE) < 0.01

# %%
noisy_sides = samples.split(noisy, study, by=by, held_out=held_out)
train = noisy_sides["train"]
print(f"{len(train):,} training rows, {wrong[train.index].mean():.1%} wrong")
for side, of_side in sides.items():
    assert np.array_equal(noisy_sides[side].index, of_side.index)

# %% [markdown]
# The split does not look at labels, so the sides have the same rows as before; the assert tests it.
#
# ## 3. Three ways to find them
#
# All three ways ask whether a label fits what is known from *other* rows. A model that was trained with a wrong label may have learnt it by heart. So each row is judged by a model that has not seen its block: the blocks are dealt to *folds*, and each fold is predicted by a forest that was trained on the others.
#
# **Confident learning** (Northcutt and others, 2021) needs only these probabilities. For each class, the threshold is the mean probability that rows with this label have for their class. A label is suspicious if another class reaches its threshold, and by more probability than the label's class.
#
# :::{admonition} Predict
# :class: predict
# Of the labels that the method calls wrong, how many are wrong: nearly all, a half, or no more than in a random list of the same length?
# :::

# %%
folds = 3 if here.small else 4
judging = {"start": start, "folds": folds, "options": {"trees": 30}}
held = audit.out_of_fold(train, study, **judging)
said, label = held.predictions.probability, held.predictions.truth
print(f"{len(label):,} rows judged; not judged: {held.lost}")
assert len(label) + sum(held.lost.values()) == len(train)

# %%
least = np.full(K, np.inf)  # a class that no label has is never reached
for k in np.unique(label):
    least[k] = said[label == k, k].mean()
reached = np.where(said >= least - 1e-6, said, -1)
by_hand = (reached.max(1) >= 0) & (reached.argmax(1) != label)
found = audit.confident(label, said)
print(f"{by_hand.sum()} labels by hand, {found.wrong.sum()} by the library")
assert np.mean(by_hand != found.wrong) < 0.01

# %%
bad = wrong[held.index]
rng = np.random.default_rng(1)
at_random = rng.permutation(by_hand)  # a list of the same length
for name, mask in (("confident learning", by_hand), ("at random", at_random)):
    score = audit.Found.of(mask, bad)
    print(f"{name}: {score.precision:.0%} of the list are wrong,", end=" ")
    print(f"{score.recall:.0%} of the wrong are in the list")
if delta:
    assert audit.Found.of(by_hand, bad).precision > 2 * bad.mean()

# %% [markdown]
# The first number of a line is the *precision* of the list, the second its *recall*. The list is far better than one at random, and far from perfect: many suspicious labels are right, because a model is wrong, too. So such a list is a list to look at, not one to delete.
#
# The other two ways:
# - A **self-organising map** brings similar series to the same *neuron*, without any label. A label is suspicious if it is rare in its neuron (Santos and others, 2021).
# - **Votes**: several models, each with its own deal of the folds, name the same other class (Brodley and Friedl, 1999).
#
# `audit.run` goes all three ways and writes tables and maps; in a shell it is `arset audit`. It never deletes a label.
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
bad = wrong[row_of[key(report)]]
print(f"{bad.sum()} of {len(bad):,} judged labels are wrong")
assert row_of.index.is_unique

# %%
lists = {
    "confident learning": report.confident,
    "self-organising map": report.som,
    "votes": report.votes,
    "two of three": report.suspicious(2),
    "all three": report.suspicious(3),
    "a random list": rng.permutation(report.suspicious(2)),
}
scores = {name: vars(audit.Found.of(m, bad)) for name, m in lists.items()}
ways = pd.DataFrame(scores).T[["suspected", "precision", "recall"]]
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
of_ours, of_theirs = ours[row_of[key(report)]], bad & ~ours[row_of[key(report)]]
for name, mask in (("made by us", of_ours), ("of the delta", of_theirs)):
    share = report.suspicious(2)[mask].mean() if mask.any() else np.nan
    print(f"errors {name}: {mask.sum()}, found: {share:.0%}")
worst = report.table(2).head(5)
columns = ["area", "year", "label", "guess", "margin", "found_by"]
figures.show(worst[columns].round(2), "The most suspicious labels")

# %% [markdown]
# All three together have the higher precision, two of three the higher recall: a stricter list is shorter, and what it names is more often wrong. Which one you want depends on what you do with it. If a person looks at each label, take the longer one.
# Compare the last two printed lines. What we made wrong, we chose at random. In the delta's own errors, whole fields have one wrong class, so their neighbours in the table have it, too. An error that is common in a region looks right to a model that learns from it. No way finds an error that *all* labels of a class share.
#
# :::{admonition} Exercise 1
# :class: exercise
# Make errors of the kind `edges` instead, with the same rate, and let confident learning find them. Is it easier or harder than for random errors? Think of what a pixel at an edge looks like.
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
    score = audit.Found.of(suspected, changed[tried.index])
    print(f"{kind}: {score.recall:.0%} of our errors are found")
# A pixel at an edge holds some of the field beside it, so the model is unsure
# there, and the wrong class is not far from what the satellite sees.

# %% [markdown]
# ## 4. Train again without them
#
# Is a model better if the suspicious labels are left out of its training? We train forests on four sets of rows, each with three seeds: all rows with their errors; without the suspicious ones; without as many rows drawn at random; and, what only a simulation allows, without exactly the wrong ones.
#
# Each forest is tested three times: against labels with errors as in the training; against these labels without those that an audit of the *test* suspects; and against the truth.
#
# :::{admonition} Predict
# :class: predict
# What does leaving out suspicious labels change: the score on the true test? By how much: 10 points, a few, or nothing clear? And what does leaving out suspicious labels of the *test* change?
# :::

# %%
cleaned = report.rows(train, least=2)
dropped = len(train) - len(cleaned)
by_chance = rng.permutation(len(train)) >= dropped
trainings = {
    "with errors": train,
    "without suspicious": cleaned,
    "without random": train.pick(by_chance),
    "without wrong": train.pick(~wrong[train.index]),
}
print({name: len(of) for name, of in trainings.items()})
assert len(trainings["without random"]) == len(cleaned)

# %%
test = noisy_sides["test"]
checked = audit.out_of_fold(test, study, **judging)
q = checked.predictions
suspected = checked.index[audit.confident(q.truth, q.probability).wrong]
print(f"{len(suspected)} of {len(test):,} labels of the test are suspicious")
assert np.isin(suspected, test.index).all()


# %%
def three_scores(rows, seed):
    """Accuracy on the test as it is, without suspicious labels, and true."""
    own = {"epochs": 1, "starts": start, "options": {"trees": 50}}
    both = {"train": rows, "validation": noisy_sides["validation"]}
    how = {"seed": seed, "missing": "allow", "progress": False}
    forest = training.fit("random_forest", both, study, **own, **how)
    q = forest.predictions(test, start)
    at = row_of[key(q)].to_numpy()
    shows = q.truth == now[at]  # else the window shows no plants
    true = np.where(shows, grown[at], q.truth)
    right, kept = q.predicted == q.truth, ~np.isin(at, suspected)
    one = true >= 0
    return right.mean(), right[kept].mean(), (q.predicted == true)[one].mean()


# %%
seeds = (1,) if here.small else (1, 2, 3)
tests = ["noisy test", "noisy test, cleaned", "true test"]
each = {
    name: np.array([three_scores(of, seed) for seed in seeds])
    for name, of in trainings.items()
}  # (seeds, 3) of each
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
print(f"between seeds: up to {spread:.1f} points")
print(f"a cleaned test seems to give {seems:.1f} points, for the same model")
if delta:
    assert abs(gain["without suspicious"]) < seems

# %% [markdown]
# The first lines are the real gain in points. Compare the gain without suspicious labels with that of rows left out at random, and with the difference between seeds: if it is not clearly larger, nothing was gained. Forests average many trees, so random errors cost them little, as the line 'without wrong' shows: that is the most that any cleaning could give.
#
# The last line is the important one. If suspicious labels are left out of the *test*, the score of the **same** model rises, because the test lost the rows on which model and label disagree. No map became better. So never clean a test with a model. And the first column is lower than the third for each training: errors in the labels of a test hide what the model really does.
#
# What an audit is good for: it shows a person where to look. If the labels can be *corrected* there, both training and test gain.
#
# ## 5. Sets with a promise
#
# "Soybeans, 55 %" is not much of an answer. *Conformal prediction* gives each pixel a **set** of classes instead, with a promise: 90 % of the sets contain the label. It needs rows that the model was not trained on: the validation. There it looks how improbable the right class can be in the eyes of the model.
#
# From here on the labels are those of the table again, without our errors, and the model is that of section 1.

# %%
ALPHA = 0.1  # so many sets may miss the label
v = model.predictions(sides["validation"], start)
score = 1 - v.probability[np.arange(len(v)), v.truth]  # of the right class


def limit_of(score):
    """The score that 1 − ALPHA of the rows do not exceed."""
    place = int(np.ceil((len(score) + 1) * (1 - ALPHA)))
    return np.sort(score)[place - 1] if place <= len(score) else np.inf


# %%
limit = limit_of(score)
sets = 1 - v.probability <= limit  # (rows, K)
print(f"a class is in the set from a probability of {1 - limit:.3f} on")
for i in range(3):
    print(f"    label {names[v.truth[i]]}:", [names[k] for k in np.flatnonzero(sets[i])])  # fmt: skip

from arsetlib import certainty

rule = certainty.Conformal.fit(v, ALPHA)
assert np.isclose(rule.limits[0], limit, atol=1e-6)

# %% [markdown]
# That is all: one limit. The promise holds if new rows come from the same source as those of the calibration: if you could exchange the two without anybody noticing (*exchangeability*). Test it: one half of the validation gives the limit, and on the other half we count.
#
# :::{admonition} Predict
# :class: predict
# Deal the validation into halves 200 times: once pixel by pixel, once in whole blocks. In which deal is the share of sets that contain the label closer to 90 %?
# :::


# %%
def covered(calibrate):
    """Share of the other rows whose set contains the label."""
    return (score[~calibrate] <= limit_of(score[calibrate])).mean()


blocks = np.unique(v.block)
deals = {"pixels": [], "blocks": []}
for _ in range(200):
    half = rng.permutation(len(v)) < len(v) // 2
    deals["pixels"].append(covered(half))
    half = np.isin(v.block, rng.permutation(blocks)[: len(blocks) // 2])
    deals["blocks"].append(covered(half))

# %%
deals = pd.DataFrame(deals)
shown = deals.describe().loc[["mean", "std", "min", "max"]]
figures.show(
    shown.round(3).reset_index(names="coverage"),
    "Coverage of 200 deals of the validation, by pixels and by blocks",
)
if delta:
    assert abs(deals["pixels"].mean() - (1 - ALPHA)) < 0.02
    assert deals["blocks"].std() > 2 * deals["pixels"].std()

# %% [markdown]
# Pixel by pixel it is close to 90 % in each deal, because neighbours are on both sides: pixels of one field are exchangeable. This is not what you need. You want to know about *other* fields. With whole blocks single deals are far from 90 %: what counts is the number of blocks, not that of pixels. So if someone shows you coverage, ask how the rows were dealt.
#
# A promise on the average can hide something, too:

# %%
t = model.predictions(sides["test"], start)
total = certainty.coverage(rule, t)
by_class = certainty.coverage(rule, t, by="class")
columns = ["samples", "coverage", "coverage_low", "coverage_high", "mean_size"]
figures.show(
    by_class[columns].round(2).reset_index(),
    "Coverage on the test by class of the label, with 95 % intervals",
)
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
# The promise is one for *all* rows. A class that is rare and difficult may be missed nearly always, and the total does not show it. A limit for each class promises more. It costs larger sets, and it needs enough rows of each class: with few of them the limit is uncertain, and coverage on other fields can be off in both directions.
#
# ## 6. Where the promise breaks
#
# The limit was found for one date, one year, and the blocks of the validation. What if one of them changes?
#
# :::{admonition} Predict
# :class: predict
# The limit of one summer date is used for all windows of the season, in the test's year. Does coverage stay near 90 %? And in which of the blocks is it lowest: is that a question of the year, or of the place?
# :::

# %%
season = model.predictions(sides["test"], STARTS)
dates = certainty.coverage(rule, season, by="last")
shown = dates[["coverage", "coverage_low", "coverage_high"]]
shown = shown.set_axis(["coverage", "low", "high"], axis=1)
shown["promised"] = 1 - ALPHA
fig = figures.lines(
    shown, "Coverage through the season", "last day of the window",
    "share of sets", study=study,
)  # fmt: skip
figures.show(fig, "Share of sets that contain the label, by date, and promised")
low, high = dates["coverage"].min(), dates["coverage"].max()
print(f"from {low:.2f} to {high:.2f}")
assert 0 <= low <= high <= 1

# %%
area, years = rows.column("area").astype(str), rows.column("year")
in_test = np.isin(rows.column("block"), np.unique(test.column("block")))
in_test &= np.isin(area, np.unique(test.column("area").astype(str)))
same_place = {
    str(y): model.predictions(rows.pick(in_test & (years == y)), start)
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
apart = {
    "dates": high - low,
    "years": np.ptp(by_year["coverage"]),
    "blocks": np.ptp(by_block),
}
print("largest difference between", {k: round(float(x), 2) for k, x in apart.items()})  # fmt: skip
print(f"{(by_block < 1 - ALPHA).sum()} of {len(by_block)} blocks are below")
if delta:
    assert max(apart, key=apart.get) == "blocks"

# %% [markdown]
# The figure answers the first question: where the line, with its interval, lies below what was promised, the limit of the summer does not hold. A limit for each date repairs that, if each date has its own calibration.
# The printed line answers the second: in the delta the blocks differ most. In some nearly each set contains the label, in others far fewer do; a single year or date differs less. Each block has few fields, and a field that differs from all fields of the training is missed as a whole. A promise for a region is not one for your field.
#
# On a map, a set with one class is an answer. A set with several, or with none, means *cannot say*:

# %%
path, counts = certainty.set_layer(made, rule)
several, none = counts["several"], counts["none"]
unsaid = counts["cannot_say"] / sum(counts[k] for k in [*study.legend.keys, "cannot_say"])  # fmt: skip
print(f"cannot say: {unsaid:.0%} of the pixels")
print(f"    {several:,} have several classes, {none:,} have none")
assert several + none == counts["cannot_say"]

# %% tags=["hide-input"]
from types import SimpleNamespace

from matplotlib.colors import to_rgb

doubt = certainty.legend_with_doubt(study.legend)
colours = np.array([to_rgb(c.colour) for c in doubt.classes] + [(1, 1, 1)])
with rasterio.open(path) as f:
    said = f.read(1, masked=True)
pictures = {
    "each pixel a class": made.read(),
    "only where the set has one": said,
}
fig = figures.panels(
    {n: colours[m.astype(int).filled(K + 1)] for n, m in pictures.items()},
    classes=SimpleNamespace(
        colours=[c.colour for c in doubt.classes], titles=doubt.names
    ),
    metres=30, study=study,
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
# Where the map names a class, it is right more often. A user can plan a visit to the grey pixels, or leave them out, if the map states how many there are.
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
# A network answers every question, also about things that it has never seen. The *area of applicability* (Meyer and Pebesma, 2021) asks before: how far is a new window from the nearest window of the training? The distance is divided by the mean distance between training windows: this is the *dissimilarity*. What is still near, the training says itself: the threshold is what its own blocks are apart from each other, outliers left out.
#
# :::{admonition} Predict
# :class: predict
# Order the windows of the test by their dissimilarity and divide them into five equal parts. How does accuracy change from the nearest to the farthest part? And what happens to the share inside the threshold if somebody forgets an offset of the image values?
# :::


# %%
def windows_of(rows):
    """Rows with a class, and their windows as means of band and month."""
    known = study.legend.classes_of(rows.column("label_code")) >= 0
    rows = rows.pick(known)
    x, columns = certainty.features(rows, study, model.scaler, start)
    return rows, x, columns


learnt, x, columns = windows_of(sides["train"])
near = certainty.Applicability.fit(x, learnt.column("block"))
print(near)
assert x.shape == (len(learnt), len(columns))

# %%
new, x_new, _ = windows_of(sides["test"])
far = near.dissimilarity(x_new)
t = model.predictions(new, start)
parts = certainty.accuracy_by_dissimilarity(far, t, near.threshold)
figures.show(
    parts.round(2).reset_index(),
    "Accuracy inside and outside, and in fifths from near to far",
)
print(f"{(far <= near.threshold).mean():.1%} of the windows are inside")
if delta:
    assert parts.loc["1", "accuracy"] > parts.loc["5", "accuracy"]

# %% [markdown]
# In the delta accuracy is higher in the nearest fifth than in the farthest. The threshold itself is less sharp: nearly all windows are inside, and many of these are wrong, too. To be near to the training is necessary for a good answer, not sufficient: two crops can look alike, and then nearness does not help.
#
# Which bands have moved, and when? *Drift* is the difference of the means of test and training, in standard deviations of the training:

# %%
moved = certainty.drift(x, x_new, columns)
figures.show(
    moved.round(2).reset_index(),
    "Drift of each band in each month of the window, standard deviations",
)
largest = moved.abs().stack().idxmax()
print("largest:", largest, f"{moved.loc[largest]:.2f}")
assert moved.shape == (len(study.channels), len(columns) // len(study.channels))

# %%
where, share = certainty.applicability_layer(
    near, table, study, model.scaler, start, runs / "far.tif",
    area=box.key, year=year,
)  # fmt: skip
print(f"one number for the map: {share:.1%} of the box is inside")
assert 0 <= share <= 1

# %% tags=["hide-input"]
with rasterio.open(where) as f:
    distance = f.read(1, masked=True) / float(f.tags()["scale"])
from matplotlib import colormaps

scaled = (distance / max(2 * near.threshold, 1e-9)).filled(0).clip(0, 1)
fig = figures.panels(
    {"dissimilarity, darker is farther": colormaps["Greys"](scaled)[..., :3]},
    columns=1, metres=30, study=study,
)  # fmt: skip
figures.show(fig, "Map of the dissimilarity of the box")

# %% [markdown]
# Now a mistake that has happened to many. Since January 2022 the values of Sentinel-2 have an offset of 1,000. Suppose that a program forgets it: every value is 1,000 too high, and nothing else changes.


# %%
def with_offset(rows, offset):
    """Accuracy, mean probability and share inside if values are too high."""
    shift = offset / np.asarray(model.scaler.std, "f4")
    loader = model.loader(rows, start)
    right, sure = [], []
    for inputs, truth in loader.arrays():
        moved = inputs["series"] + shift * inputs["seen"][..., None]
        said = model.predict(inputs | {"series": moved.astype("f4")})
        right.append(said.argmax(1) == truth.argmax(1))
        sure.append(said.max(1))
    months = len(columns) // len(shift)
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
# Accuracy falls from the nearest to the farthest fifth, as the first table of this section shows. With the forgotten offset accuracy collapses, and the share inside does, too, **without a single label**: on new data nobody has labels, so accuracy cannot be measured, but this one number can. The mean probability is no such sign: a model can be sure of what it has never seen. So compute the share inside for each new year and place before you look at its map.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. Leave the notebook open during the pause. If you closed it, run section 1 and go on with section 8: the second half needs nothing else.
# :::
#
# ## 8. How many hectares
#
# TODO second half
#
# ## 9. Does 95 % mean 95 %?
#
# TODO
#
# ## 10. By parcel
#
# TODO
#
# ## 11. What to label next
#
# TODO
#
# ## 12. Few labels
#
# TODO
#
# ## What you have learnt
#
# TODO
#
# ## What if …
#
# TODO
