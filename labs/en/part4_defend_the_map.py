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
