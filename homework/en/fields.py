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
# # Homework B · More images than memory
#
# This homework belongs to case study B. You compute which set fits in memory, split by field, fill shards and share them among workers, compare reading speeds, simulate late gradients, compute the cost of a training, and review three published statements. It needs neither images nor TensorFlow.
#
# **Eight questions, 28 points, about 55 minutes.** Later questions use functions of earlier ones, so keep the order.
#
# From your name, the next cell draws *your* set, records, measurements and machines, so they differ from those of other learners. They are simulated, with realistic sizes. Write your name in place of `your name`, and do not change it after you have begun.
#
# Below each question a cell checks your answer and says what is wrong, as often as you like. After you have handed in, further checks use other data: other fields, records that are too large, no records at all.
# So write functions that work for other data too.

# %%
import math

import numpy as np
import pandas as pd

from arsetlib import grading

hw = grading.start("fields", name="your name")


def offer(key):
    """Print the choices and the reasons."""
    for letter, text in hw.draw[key].items():
        print(f"{letter}) {text}.")
    print("\nbecause …")
    for digit, text in hw.draw[f"{key}_reasons"].items():
        print(f"{digit}. {text}.")


# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · Which set fits in memory? (3 points)

# %%
own = hw.draw["set"]
print(f"{own['chips']:,} chips of {own['side']} × {own['side']} pixels")
print("channels: red, green, blue, near infrared")
print(f"memory of the machine: {own['memory_gb']} GB")
print(f"reduced size: {own['small_side']} × {own['small_side']} pixels\n")
print("How would you feed a network with this set?")
offer("feed")

# %% [markdown]
# A GB has 10⁹ bytes here. Assign to `memory` a dict with four entries:
#
# - `"chip_bytes"`: how many bytes is one chip at its full size as 32-bit floats, all four channels?
# - `"set_gb"`: how many GB is the whole set as such floats?
# - `"fit"`: how many whole chips of the *reduced* size, as bytes (`uint8`) and not as floats, fit into the machine's memory if nothing else is in it?
# - `"feed"`: your choice and its reason from above, in this form: `("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
chip = own["side"] ** 2 * 4 * 4
small = own["small_side"] ** 2 * 4


def choose(key, choice, reason):
    letters, digits = hw.draw[key], hw.draw[f"{key}_reasons"]
    return (
        next(k for k, text in letters.items() if text.startswith(choice)),
        next(k for k, text in digits.items() if text.startswith(reason)),
    )


answer = {
    "chip_bytes": chip,
    "set_gb": chip * own["chips"] / 1e9,
    "fit": own["memory_gb"] * 10**9 // small,
    "feed": choose("feed", "Read a batch", "Memory holds"),
}
# END SOLUTION
memory = answer  # SOLUTION
memory

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q2

# %% [markdown]
# ## Question 2 · Split by field (4 points)
#
# A chip's name begins with the name of its field; then come an underscore and the chip's place in the field:

# %%
names = hw.draw["names"]
print(f"{len(names)} chips, for instance {names[:3]}")

# %% [markdown]
# Write `split_by_field(names, shares, seed)`. It returns a dict with the keys `"train"`, `"validation"` and `"test"`, and a list of names for each.
#
# - Every name is in exactly one set, and *all chips of a field are in the same set*.
# - `shares` are three numbers that add up to 1: the shares of the *fields* in each set, in this order. One field more or less is allowed; with three fields or more, no set is empty.
# - The fields are drawn at random by `seed`: the same seed gives the same sets, another seed gives others.
# - The order of the names changes nothing, because machines list a folder in different orders.

# %% [raw]
# # BEGIN SOLUTION


# %%
def split_by_field(names, shares, seed):
    # BEGIN SOLUTION
    fields = sorted({name.split("_")[0] for name in names})
    fields = np.random.default_rng(seed).permutation(fields).tolist()
    test, validation = (max(1, round(share * len(fields))) for share in (shares[2], shares[1]))
    sets = {
        "test": set(fields[:test]),
        "validation": set(fields[test : test + validation]),
        "train": set(fields[test + validation :]),
    }
    return {
        side: [name for name in names if name.split("_")[0] in sets[side]] for side in ("train", "validation", "test")
    }
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %%
print(pd.Series(split_by_field(names, (0.7, 0.15, 0.15), hw.draw["seed"])))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q3

# %% [markdown]
# ## Question 3 · Fill shards (4 points)
#
# Records are written into shards one after the other, in their order. A shard may have up to `limit` bytes. If the next record would exceed the limit, the shard is closed and the record begins the next one. A record that is larger than the limit gets a shard of its own.
#
# Write `shard_for(sizes, limit)`. From a list with the bytes of each record it returns a list of the same length with the number of each record's shard, counted from 0. Without records it returns an empty list.

# %% [raw]
# # BEGIN SOLUTION


# %%
def shard_for(sizes, limit):
    # BEGIN SOLUTION
    numbers, shard, filled = [], 0, 0
    for size in sizes:
        if filled and filled + size > limit:
            shard, filled = shard + 1, 0
        filled += size
        numbers.append(shard)
    return numbers
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %%
print(shard_for([40, 50, 30, 120, 10], 100))

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q4

# %% [markdown]
# ## Question 4 · An epoch on several workers (3 points)

# %%
sizes, limit = hw.draw["sizes"], hw.draw["limit"]
workers, batch, rate = (hw.draw[key] for key in ("workers", "batch", "rate"))
print(f"{len(sizes)} records of {min(sizes):,} to {max(sizes):,} bytes")
print(f"shards of up to {limit:,} bytes")
print(f"{workers} workers, {batch} images of each in a step")
print(f"a good learning rate for one worker alone: {rate}")

# %% [markdown]
# The workers get the shards in turns: shard s goes to worker `s % workers`. Each worker makes full batches of its records. A step averages the gradients of *all* workers, so all make as many steps as the worker with the fewest records. Assign to `epoch` a dict with five entries:
#
# - `"shards"`: how many shards your records fill (use `shard_for`);
# - `"records"`: a list with the number of records of each worker, worker 0 first;
# - `"steps"`: how many steps the epoch has;
# - `"left_out"`: how many records of all workers together are used in no step;
# - `"rate"`: the learning rate for all workers together, by the linear scaling rule.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
shard = np.array(shard_for(sizes, limit))
records = np.bincount(shard % workers, minlength=workers)
steps = int(records.min()) // batch
answer = {
    "shards": int(shard.max()) + 1,
    "records": records.tolist(),
    "steps": steps,
    "left_out": len(sizes) - steps * batch * workers,
    "rate": rate * workers,
}
# END SOLUTION
epoch = answer  # SOLUTION
epoch

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · Compare reading speeds (4 points)
#
# Two formats were read three times each, cold and warm, 400 images in each run, on one machine. Sometimes another program was running too, and it is not known when. The cell also prints the time of each step for one image, and what you could do next.

# %%
runs = hw.draw["race"]
print(pd.DataFrame(runs["rows"]).to_string(index=False))
print(f"\none image, ms: {runs['parts_ms']}\n")
print("What would you change first, to read faster from the warm directory?")
offer("next")

# %% [markdown]
# Assign to `race` a dict with four entries:
#
# - `"cold"`, `"warm"`: images a second of TFRecord divided by images a second of the directory. Take the statistic of the three runs that a single disturbed run does not change much.
# - `"ceiling"`: by what factor the whole could be faster at most, if `fetch` took no time at all.
# - `"next"`: your choice and its reason, `("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
middle = {(row["form"], row["state"]): np.median(row["seconds"]) for row in runs["rows"]}
parts = runs["parts_ms"]
total = sum(parts.values())
answer = {state: middle["directory", state] / middle["tfrecord", state] for state in ("cold", "warm")}
answer["ceiling"] = total / (total - parts["fetch"])
answer["next"] = choose("next", "Reduce the images once", "Decoding takes most")
# END SOLUTION
race = answer  # SOLUTION
race

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q6

# %% [markdown]
# ## Question 6 · Late gradients (4 points)
#
# Gradient descent minimises a loss with one parameter, w. The gradient at w is `curve` × w. Each step subtracts `rate` × gradient, but the gradient is late: it was computed at the value of w `staleness` steps before. In the first steps, when there are not so many values yet, it is the gradient at the start.
#
# Write `late_sgd(start, curve, rate, steps, staleness)`. It returns the list of the values of w: the start and the value after each step, `steps` + 1 numbers. With a staleness of 0 this is ordinary gradient descent.

# %% [raw]
# # BEGIN SOLUTION


# %%
def late_sgd(start, curve, rate, steps, staleness):
    # BEGIN SOLUTION
    path = [start]
    for step in range(steps):
        late = path[max(step - staleness, 0)]
        path.append(path[-1] - rate * curve * late)
    return path
    # END SOLUTION


# %% [raw]
# # END SOLUTION

# %% [markdown]
# Your loss. For each rate: what is w after 60 steps without delay, and what is it if the gradients are late? What rule do you see?

# %%
valley = hw.draw["valley"]
start, curve, late = (valley[k] for k in ("start", "curve", "staleness"))
print(f"start {start}, curve {curve}, staleness {late}")
for trial in (0.05, 0.1, 0.2, 0.4, 0.8):
    ends = [late_sgd(start, curve, trial, 60, n) for n in (0, late)]
    ends = [f"{path[-1]:10.3g}" if path else "?" for path in ends]
    print(f"rate {trial}: without delay {ends[0]}, late {ends[1]}")

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · The cost of a training (3 points)
#
# You can hire four machines. The cores of a machine decode the images, and its card trains at most as fast as the cores decode.

# %%
costs = hw.draw["costs"]
print(pd.DataFrame(costs["machines"]).to_string(index=False))
print(f"\na core decodes {costs['core_images_s']} images a second")
print(f"{costs['images']:,} images, {costs['epochs']} epochs\n")
print(f"measured elsewhere: 1 device {costs['one_device_images_s']} images a")
print(f"    second, {costs['devices']} devices {costs['all_devices_images_s']}")
print(f"    reducing at conversion: {costs['conversion_s']} s, once")
print(f"    an epoch before: {costs['epoch_before_s']} s", end=", ")
print(f"after: {costs['epoch_after_s']} s\n")
print("May a seed company sell advice from a model trained on Agriculture-Vision?")
offer("licence")

# %% [markdown]
# Assign to `bill` a dict with five entries:
#
# - `"cheapest"`: the letter of the machine on which the whole training costs least;
# - `"cost"`: its cost there. A part of an hour costs the same part of the price;
# - `"efficiency"`: the speed-up of several devices over one, divided by the number of devices;
# - `"break_even"`: after how many whole epochs has the conversion saved at least as many seconds as it took?
# - `"licence"`: your choice and its reason, `("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
machines = pd.DataFrame(costs["machines"]).set_index("machine")
decoded = machines["cores"] * costs["core_images_s"]
a_second = np.minimum(machines["card_images_s"], decoded)
hours = costs["images"] * costs["epochs"] / a_second / 3600
prices = hours * machines["price_h"]
speed_up = costs["all_devices_images_s"] / costs["one_device_images_s"]
saved = costs["epoch_before_s"] - costs["epoch_after_s"]
answer = {
    "cheapest": prices.idxmin(),
    "cost": float(prices.min()),
    "efficiency": speed_up / costs["devices"],
    "break_even": math.ceil(costs["conversion_s"] / saved),
    "licence": choose("licence", "No: use", "The licence excludes"),
}
# END SOLUTION
bill = answer  # SOLUTION
bill

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · Review three statements (3 points)
#
# Three statements that somebody might make about the report's figures. For each, choose what you would answer as a reviewer, and the one reason that supports it.
#
# **“Fifty epochs took 57 minutes from the directory, on a P100, and 26 minutes from TFRecord, on a V100. So TFRecord is more than twice as fast as a directory.”**

# %%
offer("cards")

# %% [markdown]
# **“Under `MirroredStrategy` on one card, fifty epochs from the directory took 62.5 minutes, and 57 without it. So it is not worth distributing a training.”**

# %%
offer("mirrored")

# %% [markdown]
# **“The accuracy of the network was 0.98 to 1.0 on the training images and 0.57 to 0.61 on the validation images. So it is nearly perfect; the rest is easy to fix.”** What is wrong with the network, and how do you know?

# %%
offer("gap")

# %% [markdown]
# Assign all three to `referee`: `referee = {"cards": ("a", 1), "mirrored": ("b", 2), "gap": ("c", 3)}`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
answer = {
    "cards": choose("cards", "The figures cannot show it", "Two things changed"),
    "mirrored": choose("mirrored", "It shows only the cost", "A gain comes"),
    "gap": choose("gap", "It has memorised", "Only new fields"),
}
# END SOLUTION
referee = answer  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
