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
# # Homework 2 · From the pixel table to batches
#
# You have done Lab 2. Here you write the small functions that a data loader is made of, in plain NumPy, and use them on rows of your own.
#
# **Eight questions, 28 points, about an hour.** What you write in one question is used in later ones, so keep the order.
#
# Your numbers are drawn from your name in the next cell, so they differ from those of others. Write your name in place of `your name`, and do not change it once you have begun.
#
# Below each question a cell checks your answer and says what is wrong, as often as you like. After you have handed in, further checks run with other data: another season, another number of bands, a row with one image, a row with none.
# So write functions that work for somebody else's data, too.

# %%
import numpy as np
import pandas as pd

from arsetlib import cdl, grading, pixels

hw = grading.start("part2", name="your name")

# %% [markdown]
# Your pixel table is part of the *simulated* delta: nothing in it was measured. The first run makes it, which takes a minute.

# %%
table, row = hw.table, hw.draw["row"]
label = cdl.name(table["label_code"][row].as_py())
print(f"{table.num_rows} rows; yours is row {row}, {label}")

# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · Count before you compute (3 points)
#
# A colleague plans a loader. These are its sizes:

# %%
d = hw.draw
print(
    f"training rows {d['rows']}, of which {d['double_crops']} double crops, "
    f"filtered out before anything else\n"
    f"window {d['window_days']} days, steps of {d['step_days']} days\n"
    f"{d['bands']} bands, {d['classes']} classes (one-hot), "
    f"batches of {d['batch']}\n"
    f"seen by {d['satellites']} satellite(s) from {d['orbits']} orbit(s); "
    f"one satellite passes one orbit every 10 days\n"
    f"{d['cloudy']} % of the passes are cloudy"
)

# %% [markdown]
# Assign to `shapes` a dict with six entries:
#
# - `"x"`: the shape of a full batch of windows, three numbers;
# - `"y"`: the shape of its labels;
# - `"batches"`: how many batches an epoch has, including the last one, which is not full;
# - `"last"`: how many rows the last batch holds;
# - `"passes"`: how often a pixel is passed in one window, on average;
# - `"clear"`: how many clear images a window has, on average. Keep the fraction.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
kept, steps = d["rows"] - d["double_crops"], d["window_days"] // d["step_days"]
passes = d["window_days"] / 10 * d["satellites"] * d["orbits"]
full, rest = divmod(kept, d["batch"])
# END SOLUTION
# BEGIN SOLUTION NO PROMPT
shapes = {
    "x": (d["batch"], steps, d["bands"]),
    "y": (d["batch"], d["classes"]),
    "batches": full + 1,
    "last": rest,
    "passes": passes,
    "clear": passes * (1 - d["cloudy"] / 100),
}
# END SOLUTION
""" # BEGIN PROMPT
shapes = {
    "x": None,
    "y": None,
    "batches": None,
    "last": None,
    "passes": None,
    "clear": None,
}
""" # END PROMPT

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2

# %% [markdown]
# ## Question 2 · Bytes to arrays (3 points)
#
# Write `decode(text, bands, little_endian)`. It turns the byte string `bands` of a row back into an array of shape (images, bands).
#
# - `text`: the byte string: unsigned 16-bit numbers, all bands of the first image, then all of the second, and so on;
# - `bands`: how many bands an image has;
# - `little_endian`: `True` where the low byte comes first, as in our table; `False` for the high byte, as in the original course's files.
#
# Return the numbers as they are, not scaled. A row without images gives an array of shape (0, bands).

# %% [raw]
# # BEGIN SOLUTION


# %%
def decode(text, bands, little_endian):
    # BEGIN SOLUTION
    order = "<u2" if little_endian else ">u2"
    return np.frombuffer(text, order).reshape(-1, bands)
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your row, decoded; from here on `bands` is this array and `day` has its dates, days since 1970-01-01:

# %%
bands = decode(table["bands"][row].as_py(), 12, little_endian=True)
day, scl, _ = pixels.series(table, row)
day = day.astype(int)  # unsigned integers cannot be negative
print("your row:", None if bands is None else np.shape(bands))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3

# %% [markdown]
# ## Question 3 · Which step? (3 points)
#
# Write `step_of(day, start, window_days, step_days)`. It returns the number of the step into which one day falls, counted from 0.
#
# Steps count from `start`, the first day of the window. A window of 120 days from day 100 has the days 100 to 219, and no others. Return -1 for a day outside, before or after.

# %% [raw]
# # BEGIN SOLUTION


# %%
def step_of(day, start, window_days, step_days):
    # BEGIN SOLUTION
    since = day - start
    return since // step_days if 0 <= since < window_days else -1
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q4

# %% [markdown]
# ## Question 4 · The window (5 points)
#
# Write `window(day, bands, start, window_days, step_days, seed=None)`. It puts the images of one row on a regular calendar and returns a pair `x, seen`:
#
# - `x`: an array (steps, bands): of each step one image, and 0 where a step has none;
# - `seen`: an array (steps,): `True` where a step has an image.
#
# Where several images fall into a step, take
#
# - the *first*, if `seed` is `None`: a test must repeat itself;
# - otherwise *one at random*, each equally often over many seeds, and independently of the other steps. The same seed must give the same window.
#
# `day` (images,) is in ascending order and may hold days outside the window; `bands` is (images, bands). A row may have one image, or none. Use `step_of`.

# %% [raw]
# # BEGIN SOLUTION


# %%
def window(day, bands, start, window_days, step_days, seed=None):
    # BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    steps = [step_of(int(d), start, window_days, step_days) for d in day]
    x = np.zeros((window_days // step_days, bands.shape[1]))
    seen = np.zeros(len(x), bool)
    for step in range(len(x)):
        here = np.flatnonzero(np.equal(steps, step))
        if len(here):
            x[step] = bands[here[0] if seed is None else rng.choice(here)]
            seen[step] = True
    return x, seen
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your row in a window of 120 days, from your day of the year on:

# %%
row_year = table["year"][row].as_py()
first_of_year = int(np.datetime64(f"{row_year}-01-01").astype(int))
start = first_of_year + d["start_day"] - 1
print("your window:", window(day, bands, start, 120, 5))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · Statistics first (4 points)
#
# Write `scaled(train, train_seen, x, seen)`. It returns `x`, normalised band by band: minus the mean, divided by the standard deviation (as `np.std` gives it).
#
# - `train` (rows, steps, bands) and `train_seen` (rows, steps): the training windows, from which mean and standard deviation are taken;
# - `x` (samples, steps, bands) and `seen` (samples, steps): the windows to be scaled, of any set.
#
# Steps that were not seen hold 0 in both. They must not count in the statistics, and they must still hold 0 in the result.

# %% [raw]
# # BEGIN SOLUTION


# %%
def scaled(train, train_seen, x, seen):
    # BEGIN SOLUTION
    values = train[train_seen]  # (all steps seen, bands)
    out = (x - values.mean(axis=0)) / values.std(axis=0)
    return np.where(seen[..., None], out, 0.0)
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q6

# %% [markdown]
# ## Question 6 · When nothing grows (4 points)
#
# Write `class_in_window(name, day, scl, start, window_days, crops)`: the class of a row in one window.
#
# - `name`: the class that its label has in the legend, such as `"corn"`;
# - `day`, `scl`: the dates and scene classes of its images, in ascending order;
# - `start`, `window_days`: the window, as in question 3;
# - `crops`: the names of the classes that are crops.
#
# A crop keeps its name where at least one of the *last two images of the window* is vegetation (scene class 4). Otherwise, and also where the window has no image, it is `"no_crops_growing"`. Where the window has one image, that one decides. A class that is no crop always keeps its name.

# %% [raw]
# # BEGIN SOLUTION


# %%
def class_in_window(name, day, scl, start, window_days, crops):
    # BEGIN SOLUTION
    inside = (day >= start) & (day < start + window_days)
    grows = (scl[inside][-2:] == 4).any()
    return name if grows or name not in crops else "no_crops_growing"
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · Label counts of a training set (3 points)
#
# Split your table so that nothing leaks: your training set has the rows of one year whose block is *not* held out.

# %%
all_blocks = np.unique(table["block"].to_numpy())
held_out = all_blocks[d["held_out"]]
keys = hw.study.legend.keys  # class number → name
crops = [c.key for c in hw.study.legend.classes if c.crop]
class_numbers = hw.study.legend.classes_of(table["label_code"].to_numpy())
print(f"Train on {d['year']}, without the blocks {held_out.tolist()}")
print(f"Every window: 120 days from day {d['start_day']} of the year")
print(f"names: {keys}, -1 is a double crop")
print(f"crops: {crops}")

# %% [markdown]
# How many rows of the training set has each class, when every window starts on your day of the year? Double crops are filtered out. Assign a dict, name of the class → number of rows, to `counts`. Use `class_in_window`; `pixels.series(table, i)` gives day, scl and bands of row `i`, and day 1 of the year is 1 January.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
year, block = table["year"].to_numpy(), table["block"].to_numpy()
mine = (year == d["year"]) & ~np.isin(block, held_out) & (class_numbers >= 0)
new_year = int(np.datetime64(f"{d['year']}-01-01").astype(int))
names = []
for i in np.flatnonzero(mine):
    day_i, scl_i, _ = pixels.series(table, i)
    window_i = day_i.astype(int), scl_i, new_year + d["start_day"] - 1, 120
    names.append(class_in_window(keys[class_numbers[i]], *window_i, crops))
# END SOLUTION
counts = pd.Series(names).value_counts().to_dict()  # SOLUTION
print(counts)

# %% [raw]
# # END SOLUTION

# %% [markdown]
# Late in the season many fields are bare. A model that always answered with the largest class would already score its share of these rows.

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · Does the model wait for the loader? (3 points)

# %%
print(
    "A loader: rows → filter → shuffle → map(parse), row by row → batch → "
    f"model. On average a training step waits {d['wait_ms']} ms for its "
    f"batch and works {d['work_ms']} ms. Parsing draws start and images at "
    "random. Which one change makes training fastest, and leaves it as good?\n"
)
for letter, text in d["changes"].items():
    print(f"{letter}) {text}")
print("\nbecause …")
for digit, text in d["change_reasons"].items():
    print(f"{digit}. {text}")

# %% [markdown]
# Assign the letter of your choice and the number of the one reason for it to `bottleneck`, in this form: `bottleneck = ("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
right, why = "Parse whole batches", "A step waits for its input"
letters, digits = d["changes"], d["change_reasons"]
letter = next(key for key, text in letters.items() if text.startswith(right))
digit = next(key for key, text in digits.items() if text.startswith(why))
# END SOLUTION
bottleneck = (letter, digit)  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
