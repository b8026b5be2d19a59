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
# TODO
#
# ## 3. Three ways to find them
#
# TODO
#
# ## 4. Train again without them
#
# TODO
#
# ## 5. Sets with a promise
#
# TODO
#
# ## 6. Where the promise breaks
#
# TODO
#
# ## 7. Where the model was never trained to answer
#
# TODO
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
    area = Area(
        "whole", {"en": "Whole delta", "es": "Todo el delta"}, bounds, box.crs
    )
    how = {"area": area, "year": year, "study": study, "progress": here.bars}
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
# `expert` is what a visit to each pixel would find. Pixels with two crops in the year have no single class. Where nobody knows the truth, the lab takes the labels instead; then all that follows is about the labels, with their errors.
#
# :::{admonition} Predict
# :class: predict
# You count the pixels of each class on the map. Are the areas of the rare classes too large or too small?
# :::

# %%
hectare = mapped.hectares  # of one pixel
known = np.bincount(expert[expert >= 0], minlength=K)
true_ha = known / known.sum() * mapped.sizes.sum() * hectare
counted = pd.DataFrame(
    {"counted": mapped.sizes * hectare, "true": true_ha}, names
)
counted["too much"] = counted["counted"] - counted["true"]
figures.show(
    counted.round(1).rename_axis("class").reset_index(),
    "Hectares of each class: counted on the map, and true",
)

# %%
rare = counted[counted["true"] > 0].nsmallest(2, "true")
print(
    "the two rarest:", ", ".join(rare.index), rare["too much"].round(1).tolist()
)
if delta:
    assert (rare["too much"] < 0).all()

# %% [markdown]
# In the delta the areas of the two rarest classes are too small. A model that is unsure takes the class that is common, so counting favours large classes. The count has no interval, and no better picture of the map shows this error. A sample does.
#
# ### Plan
#
# How many pixels must be labelled? It depends on the interval that you want. `plan_sample` answers before anybody has labelled anything; it needs a guess of how often the map is right.
#
# :::{admonition} Predict
# :class: predict
# A sample of some size gives an interval of ± 10 % of a crop's area. How many times as many pixels does ± 5 % need: 1.4 times, twice, or four times?
# :::

# %%
sizes = pd.Series(mapped.sizes, study.legend.keys)
crops = set(evaluation.single_crops(study.legend)) & set(sizes[sizes > 0].index)
target = sizes[sorted(crops)].idxmax() if crops else sizes.idxmax()
print(f"{target}: {sizes[target] * hectare:,.0f} ha on the map")
assert sizes[target] > 0

# %%
size = min(400, max(20, int(sizes.sum()) // 10))
least = min(30, size // K, int(sizes[sizes > 0].min()))  # of each class
goal = {"target": target, "users": 0.8, "least": least}
needed = {}
for percent in (10, 5):
    wanted = percent / 100 * sizes[target] * hectare
    for kind in ("random", "proportional"):
        plan = maps.plan_sample(
            mapped, allocation=kind, half_width=wanted, **goal
        )
        needed.setdefault(kind, {})[f"± {percent} %"] = plan.size
needed = pd.DataFrame(needed)
print(wording.shown(needed).to_string())

# %%
times = needed.iloc[1] / needed.iloc[0]
print("half the interval, times as many:", times.round(1).to_dict())
assert (times >= 1).all()
if delta:
    assert times.between(3, 4).all()

# %% [markdown]
# The last lines answer the question. On a very large map it is four times: the error falls with the square root of the sample. On a small map it is less, because the sample becomes a large part of the map. A *proportional* sample, with a fixed share of each mapped class, needs fewer pixels than a simple random one if the map is good.
#
# ### Draw and label
#
# `draw_sample` draws pixels at random, and notes how probable it was to draw each. `save` writes them for a spreadsheet and for a GIS, with a protocol for the person who labels.

# %%
plan = maps.plan_sample(mapped, size, least=least)
sample = maps.draw_sample(mapped, plan, seed=1)
shutil.rmtree(runs / "visit", ignore_errors=True)  # else labels are protected
print(plan)
print(", ".join(file.name for file in sample.save(runs / "visit")))
stands_for = (1 / sample.table["inclusion_probability"]).sum()
assert np.isclose(stands_for, sizes.sum())

# %%
print((runs / "visit" / "README.txt").read_text(encoding="utf-8")[:830])
columns = ["id", "lon", "lat", "inclusion_probability", "label"]
figures.show(
    sample.table[columns].head(4).round(4).astype(str),
    "The first points of the sample, not labelled yet",
)
assert (sample.table["label"] == "").all()

# %% [markdown]
# The README has one rule that matters most: *label the ground, not the map*. Therefore the labelling page hides what the map says. It shows each pixel's images and its series, needs no network, and keeps the labels while you work. The next cell makes a page of a few points of the box; `arset label` makes one of a whole sample. Open the file in a browser.

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
import rasterio
from rasterio.transform import rowcol


def pixels_at(file, points):
    """(N,) rows and columns of a raster at points with x and y."""
    with rasterio.open(file) as raster:
        return np.array(rowcol(raster.transform, points["x"], points["y"]), int)


row, column = pixels_at(wide.path(), sample.table)
keys = np.array([*study.legend.keys, ""])  # the last, -1: no single class
filled = sample.table.assign(label=keys[expert[row, column]])
filled.to_csv(runs / "visit" / "sample.csv", index=False)
visited = maps.MapSample.load(runs / "visit")
print(wording.shown(visited.table["label"].value_counts()).to_string())
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
shown = counted[["counted", "true"]].copy()
for name, found in {"sample": estimated, "with probabilities": powered}.items():
    shown[name] = found["area"]
    low, high = found["area_low"], found["area_high"]
    shown[f"{name}, 95 %"] = [
        f"{a:.1f} to {b:.1f}" for a, b in zip(low, high, strict=True)
    ]
    inside = shown["true"].between(low, high)
    print(f"{name}: {inside.sum()} of {K} intervals hold the true area")

# %%
figures.show(
    shown.round(1).rename_axis("class").reset_index(),
    "Hectares: counted, true, and estimated with 95 % intervals",
)
off = shown[["counted", "sample"]].sub(shown["true"], axis=0).abs().sum()
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
# In the delta the sample is closer to the truth than the count of all pixels, although it has few of them. The column *with probabilities* is prediction-powered inference (Angelopoulos and others, 2023): it adds the model's probabilities of all pixels, and corrects their bias with the same labels. The printed ratio says how much narrower its intervals are: the better the probabilities, the narrower. If the model were bad, the labels alone would decide.
#
# :::{admonition} Exercise 1
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
    hold = shown["true"].between(found["area_low"], found["area_high"])
    away = (found["area"] - shown["true"]).abs().sum()
    print(f"seed {seed}: {hold.sum()} of {K} hold it, {away:.1f} ha away")
# One sample can be unlucky, so one sample cannot show whether 95 % means 95 %.

# %% [markdown]
# ## 9. Does 95 % mean 95 %?
#
# An interval of 95 % makes a promise: if you draw the sample again and again, 95 of 100 intervals hold the true area. On Earth nobody can test that, because nobody knows the true area. In the delta you can: draw 500 samples and count.
#
# Two intervals are compared. The *normal* one is the estimate ± 1.96 standard errors, as in many papers. `evaluation.limits` adds one sample that was not seen, because a rare class may hide where no pixel was drawn.
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
size = 100 if delta else min(100, len(truth) // 2)
rows = draw(size)
share, error = estimate(rows, truth[rows])
first = np.zeros((K, K, K), int)
np.add.at(first, (predicted[rows[0]], truth[rows[0]], predicted[rows[0]]), 1)
library = evaluation.survey_areas(first, strata, strata, names).table
print(f"{len(rows)} samples of {rows.shape[1]} pixels")
assert np.allclose(share[0], library["share"])
assert np.allclose(error[0], library["share_error"])


# %% [markdown]
# The function by hand agrees with the library's. Now the intervals, and how often each holds the true share:


# %%
def unseen(rows):
    """The largest share of the map that one more sample would stand for."""
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
    "one unseen": evaluation.limits(share, error, unseen(rows)),
}
found = [
    evaluation.powered_areas(
        truth[r], probability[r], predicted[r], everywhere, names
    )
    for r in rows
]
ends["with probabilities"] = tuple(
    np.stack([f[f"share_{end}"] for f in found]) for end in ("low", "high")
)

# %%
coverage = pd.DataFrame({name: held(*e) for name, e in ends.items()}, names)
coverage.insert(0, "true share", true_share)
coverage = coverage[coverage["true share"] > 0].sort_values("true share")
fig = figures.bars(
    100 * coverage.drop(columns="true share"), f"{size} labels: intervals that hold the truth",
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
# In the delta the normal interval fails for a rare class: many samples find none of it outside its own stratum, and then report an interval that is too narrow. With one unseen sample the promise is kept, and the price is a wider interval. The intervals with probabilities stand beside them in the figure, and the last line has all widths.
#
# ### Labels with errors
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
sizes_tried = [size, min(4 * size, len(truth))]
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
# In the delta those of 100 labels hold the truth more often. Both samples are wrong by the same amount on average, but the larger one has the narrower interval, so it misses the truth more often. An interval covers the chance of the draw. It does not know of wrong labels. So a second person should label a part of the sample, and the report should state how often the two agree.
#
# :::{admonition} Exercise 2
# :class: exercise
# Real errors are not random: a person may take one crop for another. Let one in five pixels of the commonest crop be labelled as the second commonest. For which classes does the coverage fall?
# :::

# %% tags=["hide-cell"]
# Solution
of_crops = [study.legend.keys.index(k) for k in sorted(crops)] or [0]
order = sorted(of_crops, key=lambda k: -true_share[k])
one, two = order[0], (order * 2)[1]
rows = draw(size)
mixed = np.random.default_rng(1).random(rows.shape) < 0.2
labelled = np.where((truth[rows] == one) & mixed, two, truth[rows])
low, high = evaluation.limits(*estimate(rows, labelled), unseen(rows))
change = pd.Series(held(low, high) - held(*ends["one unseen"]), names)
print(f"{names[one]} labelled as {names[two]}:")
print((100 * change).round(1).to_string())
# For these two only. Which pixels were drawn stays the same, and so do the other
# classes' labels. The mean over all classes would hide it.

# %% [markdown]
# ## 10. By parcel
#
# A farmer grows one crop in a field, but the map decides for each pixel. If you know the outlines, all pixels of a field can vote. If you do not, you can cut the image into *segments*: neighbouring pixels with a like season.
#
# The delta knows its outlines. Segments come from a *composite*: one median image for each 30 days of the window. They need every pixel of an area, so another place may have one, both or none of the two.
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
    image = parcels.composite(scenes, runs / "composite.tif", area=area, **how)
elif box.every == 1:
    image = parcels.composite(
        table, runs / "composite.tif", area=box.key, **how
    )

# %%
if delta or box.every == 1:
    outlines["segments"] = parcels.segment(image, progress=here.bars)
print(outlines or "neither outlines nor a dense area")

# %%
by_parcel, gains = {}, {}
for name, shapes in outlines.items():
    by_parcel[name] = parcels.by_parcel(wide, shapes, progress=here.bars)
    gains[name] = by_parcel[name].gain(truth_file if knows_truth else labels)
    print(f"{name}: {gains[name]}")
    assert gains[name].pixels.total == gains[name].parcels.total

# %% tags=["hide-input"]
if gains:
    scores = pd.DataFrame(
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
        scores.round(3).rename_axis("outlines").reset_index(),
        "Accuracy by pixel and by parcel, with two kinds of outlines",
    )
if delta:
    assert gains["true outlines"].accuracy > gains["segments"].accuracy

# %% tags=["hide-input"]
from types import SimpleNamespace

ground = {"by pixel": wide.read().filled(K).astype(int)}
for name, one in by_parcel.items():
    raster = one.raster(runs / f"{name.replace(' ', '_')}.tif")
    with rasterio.open(raster) as src:
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
fig = figures.panels(pictures, study=study, classes=shown_as)
figures.show(
    fig, "Classes by pixel, by parcel with each kind of outlines, and true"
)
assert all(p.shape == (*expert.shape, 3) for p in pictures.values())

# %% [markdown]
# In the delta true outlines gain more. The printed gain of the segments says whether the map by segments is better or worse than that of pixels: below 0 it is worse, so yes, it can be. A segment is not a field. Two fields of one crop can be one segment, and roads and narrow woods disappear in it; at 30 m few pixels are left for them. The macro-F1 can fall while accuracy rises, if a vote removes a rare class. So measure the gain before you give such a map to somebody, on labels that did not train the model.
#
# The map by parcel is a table of outlines. `save` writes GeoParquet, which QGIS, DuckDB and Spark read:

# %%
if by_parcel:
    chosen = by_parcel[max(gains, key=lambda name: gains[name].accuracy)]
    file = chosen.save(runs / "parcels.parquet")
    columns = ["parcel", "state", "class", "share", "margin", "hectares"]
    unsure = chosen.table.sort_values("margin")[columns]
    print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB")
    figures.show(
        unsure.head(5).round(2).astype(str),
        "The five parcels whose vote was closest",
    )
    assert len(chosen.table) == len(chosen)

# %% [markdown]
# The table also says how sure each vote was. A parcel with a small `margin` is a good place to visit, or it holds two crops.
#
# ## 11. What to label next
#
# You may pay for 200 labels. Which ones? *Active learning* asks for those of which the model is least sure. A simple measure is the *margin*: the probability of the first class minus that of the second. By hand it takes two lines:


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
# Does it help? In the delta the question can be answered, with the truth as the expert: train on 20 random labels, ask for 30 more, train again. All methods begin with the same labels, and a small forest learns.
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
        with rasterio.open(file) as raster:
            grown = raster.read(1)[row, column]
        codes = np.where(when == y, grown, codes)
    return codes.astype(int)


# %% tags=["hide-input"]
def known_samples(side):
    """Windows of a side from day `start`, with what grew; and the rows."""
    rows = sides[side]
    days = samples.start_days(rows.column("year"), start)
    how = {"choose": "median", "fill": "linear"}
    w = samples.window(pixels.ragged(rows.read()), study.season, days, **how)
    classes = study.legend.classes_of(codes_of(rows))
    classes = samples.apply_vegetation_rule(classes, w.vegetation, study.legend)
    use = (classes >= 0) & (w.images > 0)
    x = w.x[use].reshape(use.sum(), -1) / 10_000
    return active.KnownSamples(x, classes[use].astype(int)), rows.pick(use)


# %%
(pool, pool_rows), (exam, exam_rows) = map(known_samples, ("train", "test"))
for name, one in {"pool": pool, "test": exam}.items():
    print(f"{name}: {len(one):,} samples of {one.features.shape[1]} values")
    print("   ", np.bincount(one.truth, minlength=K).tolist())
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
mean = curves.pivot_table(index="labels", columns="method", values="macro_f1")
fig = figures.lines(
    mean[methods], "What a label is worth", "labels", "macro-F1, test",
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
assert len(over) == curves["seed"].nunique()
if delta:
    assert (over < 0).any(axis=None)
    assert better

# %% [markdown] tags=["answer"]
# The last two lines answer the question for this pool: some. A method can be better on average and worse with some seed, as the rows show, so one run proves nothing. What may go wrong: the model is also unsure where an image is bad or two fields meet, and then the smallest margins show nothing that a class could be learnt from, or lie side by side in one field. `cluster` and `k_centre` ask for different samples. On five other simulated deltas `cluster` was the best and `margin` hardly better than chance (`active.choose` cites it). So which one is best depends on the place; keep random labels as the comparison.
#
# ### Places on the map
#
# `next_places` chooses pixels of a map, one per field if you ask for a distance. Point at a ring to see what the map says there. `save` writes a file for a phone or a GIS, with an empty column for the label.

# %%
apart = 150 if delta else 0
nearby = active.next_places(
    wide, 12 if delta else 3, method="margin", apart=apart, progress=False
)
said = nearby.table.round(3)
print(nearby.save(runs / "next.csv").name)
figures.show(
    said[["place", "predicted", "probability", "margin", "label_code"]].head(6),
    "Places to visit, the most wanted first",
)
distance = np.hypot(*(np.subtract.outer(v, v) for v in (nearby.x, nearby.y)))
assert (distance[~np.eye(len(nearby), dtype=bool)] >= apart).all()

# %% tags=["hide-input"]
fig = figures.prediction_map(wide, study=study, title="Places to visit")
words = [
    f"{p}: {study.legend.names()[study.legend.keys.index(k)]}, margin {m}"
    for p, k, m in said[["place", "predicted", "margin"]].to_numpy()
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
# What if there are only five labels a class? Other people's networks have read all images of a year and give a short list of numbers for each pixel, a *vector* (an *embedding*): AlphaEarth and Tessera publish such vectors for the whole Earth. A small model can learn from them. They know the whole year, so they cannot help before the harvest.
#
# :::{admonition} Simulated data
# :class: simulated
# The vectors of the delta are no network's. They are a random mixture of the ground's true reflectance of twelve months, without clouds, with a little noise. So they are better than any real ones. The curves show that the way works, and what vectors could give at best.
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
    when, found = rows.column("year"), None
    for y in np.unique(when):
        x, z = (rows.column(n)[when == y] for n in ("x", "y"))
        meta = rows.meta
        v = embeddings.read(
            rasters[y], x, z, crs=meta.crs, side=meta.resolution
        )
        found = (
            np.zeros((len(when), v.shape[1]), "f4") if found is None else found
        )
        found[when == y] = np.nan_to_num(v)
    return found


# %%
sets = {"bands": (pool.features, exam.features)}
if vectors_known:
    v = [vectors_of(rows) for rows in (pool_rows, exam_rows)]
    sets["vectors"] = tuple(v)
    sets["both"] = tuple(
        np.concatenate([side.features, w], 1)
        for side, w in zip((pool, exam), v, strict=True)
    )
for name, (x, z) in sets.items():
    print(f"{name}: {x.shape[1]} values a sample")
    assert (len(x), len(z)) == (len(pool), len(exam))


# %%
def score(name, count, seed):
    """Macro-F1 on the test of a forest from a few labels of each class."""
    order = seeds.generator(seed, "few", count).permutation(len(pool))
    mine = [order[pool.truth[order] == k][:count] for k in range(K)]
    mine = np.concatenate(mine)
    x, z = sets[name]
    answers = forest(x[mine], pool.truth[mine], seed).predict(z)
    return evaluation.Confusion.of(exam.truth, answers, K).macro_f1


# %%
counts = [5, 20, 100]
made_with = {
    name: [[score(name, n, s) for s in range(4)] for n in counts]
    for name in sets
}

# %%
mean = pd.DataFrame(
    {name: np.mean(v, 1) for name, v in made_with.items()},
    pd.Index(counts, name="labels a class"),
)
spread = pd.DataFrame(
    {name: np.ptp(v, 1) for name, v in made_with.items()}, mean.index
)
for what, values in {"mean": mean, "highest minus lowest seed": spread}.items():
    print(f"{what}:\n{values.round(3).to_string()}")

# %%
fig = figures.lines(
    mean, "A forest from few labels", "labels a class", "macro-F1, test",
    study=study,
)  # fmt: skip
figures.show(fig, "Macro-F1 by labels a class, for bands, vectors and both")

# %%
gain = mean.drop(columns="bands").sub(mean["bands"], axis=0)
for name in gain:
    print(
        f"{name}: most points gained with {gain[name].idxmax()} labels a class"
    )
    print((100 * gain[name]).round(1).to_dict())
if vectors_known:
    print("best of the three:", mean.idxmax(axis=1).to_dict())
if delta:
    assert gain.loc[5, "both"] > gain.loc[100, "both"]

# %% [markdown]
# The printed lines answer both questions. In the delta 'both' gains more with five labels a class than with 100, and it is not always the best. Compare the gain with the spread of the seeds before you believe it: with so few labels the draw decides more than the vectors do. This is little, for vectors that know the months after the window and no clouds. They say what grew in the year. Whether it shows on the date of the map, which decides 'No Crops Growing', is in the window only.
#
# With real vectors use the same calls: `embeddings.as_sensor` makes a table of them, `pixels.join` puts it beside the bands, and `[channels]` in the study file gives it to any model of Lab 3. Then ask the question again, on labels of your place.
#
# ## What you have learnt
#
# - Labels have errors. Some can be found, and those who find them must say how many of the findings are right.
# - A set of classes with a promise holds its promise only on data like those on which it was calibrated.
# - A model answers everywhere, also where it was never trained to.
# - Counting pixels gives a biased area without an interval. A random sample corrects any map.
# - 95 % means 95 % if the interval counts what was not seen, and if the labels are right. A larger sample does not correct wrong labels.
# - A map by parcel can be better or worse than one by pixel. Measure it.
# - Labels for training may be chosen. Labels for accuracy and hectares must be drawn.
# - Each method of this lab was compared with a simple one: the count, the single pixel, the random choice, the bands alone.
#
# ## What if …
#
# - **… nobody can visit the fields?** `arset sample` and `arset label`: a person interprets images on a page that needs no network. A second person labels a part again.
# - **… the interval is too wide?** Plan a larger sample for this class (`target`, `half_width`), or a better map: areas with probabilities reward it.
# - **… I have outlines of fields?** `arset parcels`, or `parcels.read("farm.gpkg")` in section 10.
# - **… two fields of one crop are one segment?** Try a smaller `level`, scenes of 10 m, or another `method`; `parcels.score_outlines` compares with outlines that you know.
# - **… I have a budget for labels?** Draw a random sample for the areas first. Spend the rest on places that `active.next_places` names.
# - **… I want to go on?** Take your own place: section 1, `source = "mine.toml"`. What needs a known truth is then left out, or done with the labels, and says so.
