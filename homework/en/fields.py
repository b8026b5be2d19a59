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
# You have done case study B. Here you compute when memory ends, split by field, fill shards and share them out, read a race, let gradients be late, pay a bill, and judge three published sentences. There are no images, and no TensorFlow: numbers are enough.
#
# **Eight questions, 28 points, about 55 minutes.** Functions that you write are used again further down, so keep the order.
#
# Your name in the next cell draws *your* set, records, race and machines, so they differ from your neighbour's. They are made up, of the size that real ones have. Keep the name as it is once you have begun.
#
# Below each question a cell checks your answer and says what is wrong, as often as you like. After you have handed in, further checks run with other data: other fields, records that are too large, nothing to store.
# So write functions that work for somebody else's data, too.

# %%
import math

import numpy as np
import pandas as pd

from arsetlib import grading

hw = grading.start("fields", name="your name")


def offer(key):
    """Print what can be chosen."""
    for letter, text in hw.draw[key].items():
        print(f"{letter}) {text}.")
    print("\nbecause …")
    for digit, text in hw.draw[f"{key}_reasons"].items():
        print(f"{digit}. {text}.")


# %% [raw]
# # BEGIN QUESTION
# name: q1

# %% [markdown]
# ## Question 1 · When memory ends (3 points)

# %%
own = hw.draw["set"]
print(f"{own['chips']:,} chips of {own['side']} × {own['side']} pixels")
print("channels: red, green, blue, near infrared")
print(f"memory of the machine: {own['memory_gb']} GB")
print(f"at a smaller size: {own['small_side']} × {own['small_side']} pixels\n")
print("How would you feed a network with the set?")
offer("feed")

# %% [markdown]
# A GB has 10⁹ bytes here. Assign to `memory` a dict with four entries:
#
# - `"chip_bytes"`: how many bytes is one chip at its full size as 32-bit floats, all four channels?
# - `"set_gb"`: how many GB is the whole set in that form?
# - `"fit"`: how many whole chips of the *smaller* size, as bytes (`uint8`) and not as floats, fit into the machine's memory, if nothing else were in it?
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


found = {
    "chip_bytes": chip,
    "set_gb": chip * own["chips"] / 1e9,
    "fit": own["memory_gb"] * 10**9 // small,
    "feed": choose("feed", "Read a batch", "What is held"),
}
# END SOLUTION
memory = found  # SOLUTION
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
# A chip's name begins with the name of its field; an underscore and the chip's place in the field follow:

# %%
names = hw.draw["names"]
print(f"{len(names)} chips, for instance {names[:3]}")

# %% [markdown]
# Write `split_by_field(names, shares, seed)`. It returns a dict with the keys `"train"`, `"validation"` and `"test"`, and a list of names for each.
#
# - Every name is on exactly one side, and *all chips of a field are on the same side*.
# - `shares` are three numbers that add up to 1: the shares of the *fields* on each side, in this order. One field more or less is all right; with three fields or more no side is empty.
# - Fields are dealt at random by `seed`: the same seed gives the same sides, another seed gives others.
# - The order in which names are listed changes nothing. No two machines list a folder in the same order.

# %% [raw]
# # BEGIN SOLUTION


# %%
def split_by_field(names, shares, seed):
    # BEGIN SOLUTION
    fields = sorted({name.split("_")[0] for name in names})
    fields = np.random.default_rng(seed).permutation(fields).tolist()
    test, validation = (max(1, round(share * len(fields))) for share in (shares[2], shares[1]))
    held = {
        "test": set(fields[:test]),
        "validation": set(fields[test : test + validation]),
        "train": set(fields[test + validation :]),
    }
    return {
        side: [name for name in names if name.split("_")[0] in held[side]] for side in ("train", "validation", "test")
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
# Records are written into shards one after the other, in their order. A shard may hold up to `limit` bytes. Where the next record would take it over the limit, the shard is closed for good and the record begins the next one. A record that is over the limit by itself gets a shard of its own.
#
# Write `shard_for(sizes, limit)`. From a list with the bytes of each record it returns a list as long, with the number of each record's shard, counted from 0. No records, no shards: an empty list.

# %% [raw]
# # BEGIN SOLUTION


# %%
def shard_for(sizes, limit):
    # BEGIN SOLUTION
    found, shard, held = [], 0, 0
    for size in sizes:
        if held and held + size > limit:
            shard, held = shard + 1, 0
        held += size
        found.append(shard)
    return found
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
print(f"{workers} workers, each takes {batch} images a step")
print(f"a learning rate that suits one worker alone: {rate}")

# %% [markdown]
# Shards are dealt in turns: shard s goes to worker `s % workers`. Each worker makes full batches of what it has. A step averages the gradients of *all* workers, so all make as many steps as the one with the fewest records can. Assign to `epoch` a dict with five entries:
#
# - `"shards"`: how many shards your records fill (use `shard_for`);
# - `"records"`: a list, how many records each worker has, worker 0 first;
# - `"steps"`: how many steps the epoch has;
# - `"left_out"`: how many records, of all workers together, no step has used;
# - `"rate"`: the learning rate for all workers together, by the linear scaling rule.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
shard = np.array(shard_for(sizes, limit))
records = np.bincount(shard % workers, minlength=workers)
steps = int(records.min()) // batch
found = {
    "shards": int(shard.max()) + 1,
    "records": records.tolist(),
    "steps": steps,
    "left_out": len(sizes) - steps * batch * workers,
    "rate": rate * workers,
}
# END SOLUTION
epoch = found  # SOLUTION
epoch

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q5

# %% [markdown]
# ## Question 5 · Judge a race (4 points)
#
# Two forms were read three times each, cold and warm, 400 images a run, on one machine. Now and then another program kept the machine busy; nobody wrote down when. Below stands where an image's time goes, and what you could do next.

# %%
runs = hw.draw["race"]
print(pd.DataFrame(runs["rows"]).to_string(index=False))
print(f"\nan image, ms: {runs['parts_ms']}\n")
print("What would you change first, to read faster from the warm directory?")
offer("next")

# %% [markdown]
# Assign to `race` a dict with four entries:
#
# - `"cold"`, `"warm"`: images a second of TFRecord over images a second of the directory. Take of three runs what a single disturbed one does not move, as the lab did.
# - `"ceiling"`: how many times as fast the whole could be at the very most, if `fetch` took no time at all, whatever the form.
# - `"next"`: your choice and its reason, `("a", 1)`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
middle = {(row["form"], row["state"]): np.median(row["seconds"]) for row in runs["rows"]}
parts = runs["parts_ms"]
total = sum(parts.values())
found = {state: middle["directory", state] / middle["tfrecord", state] for state in ("cold", "warm")}
found["ceiling"] = total / (total - parts["fetch"])
found["next"] = choose("next", "Shrink the images once", "Decoding takes most")
# END SOLUTION
race = found  # SOLUTION
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
# One parameter w runs down a valley. At the place w the slope is `curve` × w. Each step subtracts `rate` × slope, but the slope comes late: it was computed at the place where w stood `staleness` steps before. As long as there were not so many steps, it is the slope at the start.
#
# Write `late_sgd(start, curve, rate, steps, staleness)`. It returns the list of places: the start, and where w is after each step, `steps` + 1 numbers. With a staleness of 0 that is plain SGD.

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
# Your valley. For each rate: where is w after 60 steps in time, and where if the gradients are late? What rule do you see?

# %%
valley = hw.draw["valley"]
start, curve, late = (valley[k] for k in ("start", "curve", "staleness"))
print(f"start {start}, curve {curve}, staleness {late}")
for trial in (0.05, 0.1, 0.2, 0.4, 0.8):
    ends = [late_sgd(start, curve, trial, 60, n) for n in (0, late)]
    ends = [f"{path[-1]:10.3g}" if path else "?" for path in ends]
    print(f"rate {trial}: in time {ends[0]}, late {ends[1]}")

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q7

# %% [markdown]
# ## Question 7 · The bill (3 points)
#
# Four machines are for hire. Each of a machine's cores decodes so many images a second, and its card trains no faster than images come.

# %%
costs = hw.draw["costs"]
print(pd.DataFrame(costs["machines"]).to_string(index=False))
print(f"\na core decodes {costs['core_images_s']} images a second")
print(f"{costs['images']:,} images, {costs['epochs']} epochs\n")
print(f"measured elsewhere: 1 device {costs['one_device_images_s']} images a")
print(f"    second, {costs['devices']} devices {costs['all_devices_images_s']}")
print(f"    shrinking at conversion: {costs['conversion_s']} s, once")
print(f"    an epoch before: {costs['epoch_before_s']} s", end=", ")
print(f"after: {costs['epoch_after_s']} s\n")
print("May a seed company sell advice by a model trained on Agriculture-Vision?")
offer("licence")

# %% [markdown]
# Assign to `bill` a dict with five entries:
#
# - `"cheapest"`: the letter of the machine on which the whole training costs least;
# - `"cost"`: what it costs there. A part of an hour costs its part;
# - `"efficiency"`: the speed-up of several devices over one, divided by how many they are;
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
found = {
    "cheapest": prices.idxmin(),
    "cost": float(prices.min()),
    "efficiency": speed_up / costs["devices"],
    "break_even": math.ceil(costs["conversion_s"] / saved),
    "licence": choose("licence", "No: train", "The licence excludes"),
}
# END SOLUTION
bill = found  # SOLUTION
bill

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION

# %% [raw]
# # BEGIN QUESTION
# name: q8

# %% [markdown]
# ## Question 8 · Referee (3 points)
#
# Three sentences that somebody might write about the report's figures. For each, choose what you would answer as a referee, and the one reason that carries it.
#
# **“Fifty epochs took 57 minutes from the directory, on a P100, and 26 minutes from TFRecord, on a V100. So TFRecord is more than twice as fast as a directory.”**

# %%
offer("cards")

# %% [markdown]
# **“Under `MirroredStrategy` on one card, fifty epochs from the directory took 62.5 minutes, and 57 without it. So distributing a training does not pay.”**

# %%
offer("mirrored")

# %% [markdown]
# **“The network was right in 0.98 to 1.0 of its training images and in 0.57 to 0.61 of the validation. So it is nearly perfect; the rest can be mended.”** What is the matter with it, and how do you know?

# %%
offer("gap")

# %% [markdown]
# Assign all three to `referee`: `referee = {"cards": ("a", 1), "mirrored": ("b", 2), "gap": ("c", 3)}`.

# %% [raw]
# # BEGIN SOLUTION

# %%
# BEGIN SOLUTION
found = {
    "cards": choose("cards", "It cannot be told", "Two things changed"),
    "mirrored": choose("mirrored", "It shows the price", "A gain comes"),
    "gap": choose("gap", "It knows its images", "Only new fields"),
}
# END SOLUTION
referee = found  # SOLUTION

# %% [raw]
# # END SOLUTION

# %% [raw]
# # END QUESTION
