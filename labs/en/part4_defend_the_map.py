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
# TODO first half fills: train here (training.fit, default network "ltae"), predict the map of the box in the test year.
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
