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
# # Homework 1 · From scenes and labels to the pixel table
#
# You have done Lab 1. Here you use it: group label codes into classes, measure the land of a box, choose scenes, look for gaps, and count what a table holds.
#
# **Eight questions, 24 points, about 50 minutes.** What you write in one question is used in later ones, so keep the order.
#
# Your name in the next cell decides *your* box, year and numbers, so they differ from those of other learners. Write your name in place of `your name`, and do not change it after you have begun.
#
# Below each question a cell checks your answer and says what is wrong, as often as you like. After you have handed in, further checks use other data: another legend, another pixel size, an empty list.
# So write functions that also work for other data.

# %%
import numpy as np
import pandas as pd

from arsetlib import cdl, grading, maps, pixels
from arsetlib.study import Area

hw = grading.start("part1", name="your name")

# %% [markdown]
# The box is cut from the label raster of the *simulated* delta: nothing in it was measured. The first time, the sample is made, which takes a minute.

# %%
year = hw.draw["year"]
my_box = Area("mine", {"en": "My box"}, hw.draw["bounds"], crs="EPSG:5070")
codes, _ = maps.read(hw.study.resolve(f"cdl_{year}.tif"), my_box)
print(f"Your year is {year}, your box {my_box.bounds}")
print(f"codes: {codes.shape} label codes, {codes.dtype}")

# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · Hectares (2 points)
#
# Write `hectares(codes, code, side_m)`. It returns how many hectares of a label raster have one code, as a number.
#
# - `codes`: a 2-D array of label codes;
# - `code`: the one to measure;
# - `side_m`: how wide a label pixel is, m. The Cropland Data Layer has pixels of 30 m; from 2024 on it is made with pixels of 10 m and offered at both sizes, so do not write 30 into the function.
#
# A code that is not in the raster has 0 hectares.

# %% [raw]
# # BEGIN SOLUTION


# %%
def hectares(codes, code, side_m):
    # BEGIN SOLUTION
    pixels = np.count_nonzero(np.asarray(codes) == code)
    return pixels * side_m**2 / 10_000
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2

# %% [markdown]
# ## Question 2 · From codes to classes (4 points)
#
# The legend of your study groups more than a hundred codes into a few classes. Here it is as two plain Python values:

# %%
classes = {c.key: list(c.codes) for c in hw.study.legend.classes}
excluded = list(hw.study.legend.excluded)  # codes without one right answer
for name, members in classes.items():
    print(f"{name:<16} {len(members):>3} codes, e.g. {members[:5]}")
print("excluded:", excluded)

# %% [markdown]
# Write `class_of(code, classes, excluded)`. For one label code it returns
#
# - the name of the class that holds the code, as text;
# - the text `"left out"` where the code is excluded;
# - and where it is neither in a class nor excluded, no answer: it *raises a `ValueError`* with the code in its message. The original course put such codes into 'Uncultivated', and so Barley was counted with the forests.
#
# Take classes and exclusions from the arguments alone: another study has others.

# %% [raw]
# # BEGIN SOLUTION


# %%
def class_of(code, classes, excluded):
    # BEGIN SOLUTION
    if code in excluded:
        return "left out"
    for name, members in classes.items():
        if code in members:
            return name
    raise ValueError(f"Label code {code} is in no class and is not excluded.")
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3

# %% [markdown]
# ## Question 3 · The land of your box (3 points)
#
# Make a table `land` of `codes`, your box in your year: a pandas DataFrame with one row for each class that occurs and the columns
#
# - `class`: its name;
# - `pixels`: how many label pixels it has;
# - `hectares`: its area (your label pixels are 30 m wide);
# - `percent`: its share, 0 to 100, of all pixels *that have a class*. Pixels with an excluded code are not counted and have no row.
#
# Do not round. The order of the rows is yours. Use your two functions.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
found, numbers = np.unique(codes, return_counts=True)
rows = [
    (class_of(code, classes, excluded), count, hectares(codes, code, 30))
    for code, count in zip(found.tolist(), numbers.tolist(), strict=True)
]
rows = pd.DataFrame(rows, columns=["class", "pixels", "hectares"])
rows = rows[rows["class"] != "left out"]
rows = rows.groupby("class", as_index=False).sum()
# END SOLUTION
land = rows.assign(percent=100 * rows["pixels"] / rows["pixels"].sum())  # SOLUTION
print(land)

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q4

# %% [markdown]
# ## Question 4 · Which scenes to read (4 points)
#
# A catalogue answered with the list below. Each scene states its `day` (of the year), its `tile`, its `satellite`, the `cloud` cover in percent, and the number of its `processing`: where ESA has processed an image again, both versions are listed, and the higher number is the newer one.

# %%
scenes = hw.draw["scenes"]
print(pd.DataFrame(scenes).to_string(index=False))
print(f"Your limit of cloud cover: {hw.draw['max_cloud']} %")

# %% [markdown]
# Write `keep_scenes(scenes, max_cloud)`. It takes such a list and returns the list of `id`s to read:
#
# 1. of every image (one day, tile and satellite) only the newest processing;
# 2. of these, the ones with at most `max_cloud` percent of cloud.
#
# Keep this order of the two steps: an old version must not come back because its cloud mask shows less cloud.

# %% [raw]
# # BEGIN SOLUTION


# %%
def keep_scenes(scenes, max_cloud):
    # BEGIN SOLUTION
    newest = {}
    for scene in scenes:
        image = scene["day"], scene["tile"], scene["satellite"]
        held = newest.get(image)
        if held is None or scene["processing"] > held["processing"]:
            newest[image] = scene
    return [s["id"] for s in newest.values() if s["cloud"] <= max_cloud]
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · The longest gap (3 points)
#
# Together the satellites pass about every five days, but clouds can hide a pixel for weeks. This is one pixel of your pixel table:

# %%
day, scl, _ = pixels.series(hw.table, hw.draw["row"])
label = cdl.name(hw.table["label_code"][hw.draw["row"]].as_py())
print(f"{label}: {len(day)} images, scene classes {scl[:12]} …")

# %% [markdown]
# Write `longest_gap(day, scl, drop)`. It drops the observations whose scene class is in `drop`. It returns the largest number of days between two successive observations of the rest. From day 8 to day 13 are 5 days.
#
# - `day`: days since 1970-01-01 in ascending order, an array;
# - `scl`: the scene class of each, an array of the same length;
# - `drop`: a list of scene classes, which may be empty.
#
# If fewer than two observations are left, there is no gap: return 0.

# %% [raw]
# # BEGIN SOLUTION


# %%
def longest_gap(day, scl, drop):
    # BEGIN SOLUTION
    left = np.asarray(day).astype(int)[~np.isin(scl, drop)]
    return int(np.diff(left).max(initial=0))
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your pixel before and after shadow (3) and thin cirrus (10) are dropped as well:

# %%
print("all images:", longest_gap(day, scl, []), "days")
print("strict filter:", longest_gap(day, scl, [3, 10]), "days")

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q6

# %% [markdown]
# ## Question 6 · Ask the table (3 points)
#
# `hw.table` is a pixel table as Lab 1 makes it: one row per pixel and year, the scene classes of its images in the byte string `scl`, one byte each. You need one area and one year of it:

# %%
print(f"Your area is {hw.draw['area']}, your year {hw.draw['table_year']}")
hw.table.drop(["day", "scl", "bands"]).slice(0, 3).to_pandas()

# %% [markdown]
# How many *observations* (a pixel on a date) of each scene class are in the rows of your area and year? Assign a dict, scene class → number of observations, to `scl_counts`. Use pandas, DuckDB or PyArrow, as you like.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
frame = hw.table.to_pandas().query(
    f"area == '{hw.draw['area']}' and year == {hw.draw['table_year']}"
)
seen = np.frombuffer(b"".join(frame["scl"]), "u1")
found, numbers = np.unique(seen, return_counts=True)
# END SOLUTION
scl_counts = dict(zip(found.tolist(), numbers.tolist(), strict=True))  # SOLUTION
print(scl_counts)

# %% [raw]
# # END SOLUTION

# %% [markdown]
# Look at which classes are missing. The filter of observations dropped them when the table was made.

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · How to store it (2 points)
#
# In which form would you keep a table that a training job reads again and again? Choose one form, and the main reason for it.

# %%
for letter, text in hw.draw["layouts"].items():
    print(f"{letter}) {text}")
print("\nbecause …")
for digit, text in hw.draw["layout_reasons"].items():
    print(f"{digit}. {text}")

# %% [markdown]
# Assign the letter and the number to `layout`, in this form: `layout = ("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
right = "one row per pixel and year, its series as byte strings"
why = "A model asks for a pixel's season"
letters, digits = hw.draw["layouts"], hw.draw["layout_reasons"]
letter = next(key for key, text in letters.items() if text == right)
digit = next(key for key, text in digits.items() if text.startswith(why))
# END SOLUTION
layout = (letter, digit)  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · The job stopped (3 points)

# %%
chunks, done = hw.draw["chunks"], hw.draw["done"]
print(
    f"Your table has {chunks} chunks. {done} are finished when the near "
    "infrared of one scene cannot be read, and the job stops with an error. "
    "You repair the link and make the same call again. What does it do?\n"
)
for letter, text in hw.draw["reruns"].items():
    print(f"{letter}) {text}")
print("\nbecause …")
for digit, text in hw.draw["rerun_reasons"].items():
    print(f"{digit}. {text}")

# %% [markdown]
# Assign your choice and its reason to `rerun`, as in question 7.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
right, why = f"It makes the {chunks - done} chunks", "Finished chunks are kept on disk"
letters, digits = hw.draw["reruns"], hw.draw["rerun_reasons"]
letter = next(key for key, text in letters.items() if text.startswith(right))
digit = next(key for key, text in digits.items() if text.startswith(why))
# END SOLUTION
rerun = (letter, digit)  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
