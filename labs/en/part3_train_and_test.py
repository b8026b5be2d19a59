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
# # Lab 3 · From batches to a tested map
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** Can a crop be named while it still stands in the field, and how do you find out whether to believe the answer?
#
# **Product.** A trained model with its scaler and legend, the map it draws, and a report of where and when it can be trusted.
#
# **You will be able to**
# - build a small network in Keras, count its parameters, and say which images it cannot see;
# - say what a loss, a gradient and an optimiser do;
# - train with callbacks, read the curves, and tell under- from overfitting;
# - search hyper-parameters without touching the test;
# - test in classes, in time and in space, and read a score that flatters;
# - set a network beside a random forest, and beside knowing nothing.
#
# **Time.** About 50 minutes; a good place for a break is before section 10. **You need** Lab 2 or its idea of a batch. No graphics card.
# :::
#
# The beat is that of the labs before. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.

# %%
import os

# Leave TensorFlow's errors, and drop its reports on processors and libraries.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    course = "git+https://github.com/crop-maps-at-scale/crop-maps-at-scale"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[labs,train] @ {course}"'
    )

from arsetlib import check_env

check_env()

# %% [markdown]
# ## 1. Take the table, and hold a box back
#
# The table is that of Labs 1 and 2. If it is not there, the cell makes it, which takes a few minutes once.
# It is split by year and by block, as in Lab 2. Two boxes go to the test whole, one of them for a map: no part of it has been seen by the model in any year.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing you see here was measured by a satellite: it is the simulated delta of Lab 1. Pictures of it say *simulated*. A score on it says how the method works, not how well crops are told apart on Earth.
# :::

# %%
import shutil
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from arsetlib import (
    evaluation,
    maps,
    models,
    pixels,
    samples,
    simulate,
    training,
)
from arsetlib.catalogue import find_scenes
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.study import Study

source = "simulated"  # or the study file of a table that you have made
scale = os.environ.get("ARSET_SCALE") or "default"  # or "large": a night

tf.get_logger().setLevel("ERROR")  # no advice on speed amid the lab

SMALL = scale == "small"  # tests run a toy
BARS = os.environ.get("ARSET_BOOK") != "1"  # the book's pages do not move
CHECKOUT = Path("../../pyproject.toml").exists()
DATA = Path(
    os.environ.get("ARSET_DATA") or ("../../data" if CHECKOUT else "data")
)

if source == "simulated":
    delta = DATA / ("delta-toy" if SMALL else "delta")
    if not (delta / "_manifest.json").exists():
        print(f"Making the simulated delta in {delta} …")
        simulate.delta(delta, scale=0.05 if SMALL else 1.0, progress=BARS)
    study = Study.load(delta / "study.toml")
    if SMALL:  # two areas, but every pixel of them
        study = study.replace(areas=study.areas[-2:], block_m=120)
else:
    study = Study.load(source)

work = DATA / f"lab1-{study.key}-{study.fingerprint()}"
if not (work / "pixels").exists():
    print("Lab 1 has left no table here: making it …")
    scenes = find_scenes(study, cache=work / "items.json", progress=BARS)
    labels = {
        y: find_labels(study, y, cache=DATA / "labels", progress=BARS)
        for y in study.years
    }
    every = 1 if SMALL else None
    ingest(study, scenes, labels, work / "pixels", every=every, progress=BARS)

table = pixels.read(work / "pixels").combine_chunks()
box = next((a for a in study.areas if a.every == 1), study.areas[-1])
others = [a.key for a in study.areas if a != box]
held_out = [box.key, *others[4:5]]
sides = samples.split(table, study, held_out=held_out)
scaler = samples.Scaler.fit(sides["train"])

T, C = study.season.steps, len(study.channels)
K, names = len(study.legend.classes), study.legend.names()
for side, rows in sides.items():
    print(f"{side}: {len(rows):,} rows of {study.split[side]}")
print(f"a sample: {T} steps × {C} bands → one of {K} classes")

areas_in = {s: set(r.column("area").astype(str)) for s, r in sides.items()}
assert box.key in areas_in["test"]
assert box.key not in areas_in["train"] | areas_in["validation"]

# %% [markdown]
# ## 2. A small network, by hand
#
# Keras is a box of parts. These are the modules that this lab takes from it:
#
# | module | what it holds | here |
# |---|---|---|
# | `keras.models` | ways to join layers, to train, to save | `Sequential`, `fit`, `save` |
# | `keras.layers` | what a sample passes through | `Conv1D`, `MaxPooling1D`, `Flatten`, `Dense`, `Dropout` |
# | `keras.losses` | how wrong an answer is, as one number | categorical cross-entropy |
# | `keras.optimizers` | how parameters move to make it smaller | SGD, RMSprop, Adam |
# | `keras.metrics` | what people want to read | `CategoricalAccuracy` |
# | `keras.callbacks` | what happens between batches and epochs | `ModelCheckpoint`, `BackupAndRestore`, `TensorBoard`, `EarlyStopping`, `LearningRateScheduler`, `LambdaCallback` |
#
# The slides of the original course build this network for 20 steps of 12 bands. A *kernel* slides along the series and looks at five steps at a time; *pooling* keeps the largest of each five answers; two *dense* layers turn what is left into classes.
#
# :::{admonition} Predict
# :class: predict
# Three kernels, each 5 steps × 12 bands and a constant. How many parameters has this layer? And the network?
# :::

# %%
layers = keras.layers


def toy(padding="valid", steps=20):
    """The network of the slides, for so many steps."""
    return keras.Sequential(
        [
            layers.Input((steps, 12)),  # (B, 20, 12)
            layers.Conv1D(3, 5, padding=padding),  # (B, 16, 3)
            layers.MaxPooling1D(5),  # (B, 3, 3)
            layers.Flatten(),  # (B, 9)
            layers.Dense(10, activation="relu"),  # (B, 10)
            layers.Dense(6, activation="softmax"),  # (B, 6)
        ]
    )


def parts(model):
    """What each layer gives, and how many parameters it has."""
    rows = [
        (one.name, str(one.output.shape[1:]), one.count_params())
        for one in model.layers
    ]
    return pd.DataFrame(rows, columns=["layer", "gives", "parameters"])


summary = parts(toy())
maps.show(summary, "The toy network: what each layer gives, its parameters")

by_hand = [3 * (5 * 12 + 1), 0, 0, 10 * (9 + 1), 6 * (10 + 1)]
assert summary["parameters"].tolist() == by_hand
assert summary["parameters"].sum() == 349
in_library = models.build("toy", steps=20, bands=12, classes=6)
assert in_library.count_params() == 349

# %% [markdown]
# A convolution shares its few parameters along the whole series; the dense layers hold the rest. `None`, the batch, is left out of the table: any number of samples may come at once.
# Six classes, say these slides, and seven say others. Seven is right: the network would have no word for one of them, and no error would tell.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count before you run: how many parameters has the toy for windows of 24 steps and 7 classes? And for 180 days in steps of 5?
# :::

# %% tags=["hide-cell"]
# Solution: only the dense layers change. 24 steps → 20 → 4 pooled × 3 = 12.
for steps in (24, 180 // 5):
    flat = (steps - 4) // 5 * 3
    mine = 183 + 10 * (flat + 1) + 7 * (10 + 1)
    print(f"{steps} steps: {mine} parameters")
    built = models.build("toy", steps=steps, bands=12, classes=7)
    assert built.count_params() == mine

# %% [markdown]
# ## 3. The padding trap
#
# `padding="valid"` is Keras's default: a kernel stays inside the series, so five steps wide it fits into 20 steps at 16 places. Pooling by five then takes 15 of those 16, and drops the rest.
#
# :::{admonition} Predict
# :class: predict
# Replace the *newest* image of the window, step 20, with noise. How much does the answer of the toy change?
# :::


# %%
def reach(model):
    """(steps,) The most that answers change when one step is replaced."""
    rng = np.random.default_rng(0)
    steps, bands = model.input_shape[1:]
    x, other = rng.normal(size=(2, 500, steps, bands)).astype("f4")
    before, most = model(x), []
    for step in range(steps):
        changed = x.copy()
        changed[:, step] = other[:, step]
        most.append(float(np.abs(model(changed) - before).max()))
    return pd.Series(most, range(1, steps + 1))


keras.utils.set_random_seed(1)
seen_by = pd.DataFrame(
    {"valid": reach(toy("valid")), "same": reach(toy("same"))}
)
fig = maps.figure(
    "Which steps can change the answer?", "step, 20 is the newest",
    "most change of a probability",
)  # fmt: skip
for padding, values in seen_by.items():
    fig.add_bar(x=values.index, y=values, name=f"padding {padding}")
maps.show(fig, "Change of the answer by step replaced, for two paddings")

assert seen_by["valid"][20] == 0, "the newest image is seen after all"
assert (seen_by["same"] > 0).all()

# %% [markdown]
# Nothing changes. The one place that held the newest image was the one that pooling dropped, and no message says so. For a map in mid-season it is the image that matters most. `padding="same"` adds zeros at both ends, so every step is in reach.
# The other lesson is in the picture of one kernel: five steps of five days, so it knows 25 days and nothing more. That is its *receptive field*. Deeper layers see wider:

# %%


def receptive_field(stack):
    """Steps that one place sees after layers of (kernel, stride)."""
    steps, apart = 1, 1
    for kernel, stride in stack:
        steps += (kernel - 1) * apart
        apart *= stride
    return steps


stacks = {
    "the toy's kernel": [(5, 1)],
    "the toy's pooling": [(5, 1), (5, 5)],
    "the original's two kernels": [(5, 1), (5, 1)],
    "the original's pooling": [(5, 1), (5, 1), (2, 2)],
}
days = {n: 5 * receptive_field(stack) for n, stack in stacks.items()}
for name, value in days.items():
    print(f"{name}: {value} days")

# Is it so? The original's two kernels, and the steps that move place 0.
x = np.zeros((1, 25, 12), "f4")
two = keras.Sequential([layers.Conv1D(1, 5), layers.Conv1D(1, 5)])
moved = []
for step in range(25):
    x[:] = 0
    x[0, step] = 1
    moved.append(float(two(x)[0, 0, 0]) != 0)
missed = {
    steps: np.flatnonzero(
        reach(models.build("original", steps=steps, bands=12, classes=7)) == 0
    )
    + 1
    for steps in (25, 24)
}
print(f"steps that move the first place: {np.flatnonzero(moved) + 1}")
for steps, gone in missed.items():
    print(f"the original's network on {steps} steps misses: {gone.tolist()}")
assert 5 * sum(moved) == days["the original's two kernels"] == 45
assert days["the toy's kernel"] == 25
assert missed[25].tolist() == [25]
assert missed[24].size == 0

# %% [markdown]
# The network of the original course has the same hole: on its 25 steps it never sees the last. There it does no harm, because its loader made one step too many (Lab 2, section 13), and two errors cancelled. Mend only one of them, and the newest image is lost.
#
# ## 4. How wrong is an answer?
#
# The last layer gives seven numbers of any size, *logits*. `softmax` makes them positive with the sum 1. The *cross-entropy* then looks only at the share p that went to the true class: the loss is −log p.
#
# :::{admonition} Predict
# :class: predict
# A network that has learnt nothing gives every class the same share. What is its loss with seven classes? What is the loss of an answer that is sure, and wrong?
# :::


# %%
def softmax(logits):
    shares = np.exp(logits - logits.max(-1, keepdims=True))  # no overflow
    return shares / shares.sum(-1, keepdims=True)


def cross_entropy(truth, shares):
    return -np.log((truth * shares).sum(-1))


logits = np.array([[0] * 7, [0, 0, 0, 6, 0, 0, 0], [0, 6, 0, 0, 0, 0, 0]], "f4")
truth = np.tile(np.eye(7, dtype="f4")[3], (3, 1))  # corn, all three
answers = pd.DataFrame(
    {
        "answer": ["knows nothing", "sure and right", "sure and wrong"],
        "share of the truth": softmax(logits)[:, 3],
        "loss": cross_entropy(truth, softmax(logits)),
    }
)
maps.show(answers, "Three answers about a corn pixel, and their loss")

# Which way should the logits move? Minus the slope of the loss.
with tf.GradientTape() as tape:
    z = tf.Variable(logits)
    loss = tf.nn.softmax_cross_entropy_with_logits(truth, z)
slope = tape.gradient(loss, z)
print("slope of the sure and wrong answer:", slope[2].numpy().round(2))

theirs = keras.losses.categorical_crossentropy(truth, softmax(logits))
assert np.allclose(answers["loss"], theirs, atol=1e-5)
assert np.allclose(answers["loss"], loss, atol=1e-5)
assert np.isclose(answers["loss"][0], np.log(7))
assert np.allclose(slope, softmax(logits) - truth, atol=1e-6)

# %% [markdown]
# Knowing nothing costs log 7. Every training of this lab begins near there, and one that stays there has learnt nothing. Being sure and wrong costs most.
# The slope turns out to be *answer minus truth*: the wrong class is pushed down, the right one up, each by how wrong it was. `fit` does no more than this, layer by layer, batch by batch.
#
# ## 5. Marbles on a hill
#
# An *optimiser* turns slopes into steps. Think of two parameters as a place on a map and of the loss as its height: training lets a marble run. Five rules, each one line; `m` is what a marble remembers.
#
# :::{admonition} Predict
# :class: predict
# The valley is long and narrow, with a dip in its side before the bottom. Which marbles end in the dip?
# :::


# %%
def height(x, y):  # a valley, and a dip on the way
    dip = np.exp(-((x + 4) ** 2 + (y - 0.3) ** 2) / 0.5)
    return x**2 / 20 + y**2 - 0.7 * dip


def slope(x, y):
    dip = 2.8 * np.exp(-((x + 4) ** 2 + (y - 0.3) ** 2) / 0.5)
    return np.array([x / 10 + dip * (x + 4), 2 * y + dip * (y - 0.3)])


def sgd(g, m, t, rate):
    return -rate * g


def momentum(g, m, t, rate):
    m[0] = 0.9 * m[0] - rate * g
    return m[0]


def adagrad(g, m, t, rate):
    m[1] += g**2
    return -rate * g / np.sqrt(m[1] + 1e-7)


def rmsprop(g, m, t, rate):
    m[1] = 0.9 * m[1] + 0.1 * g**2
    return -rate * g / np.sqrt(m[1] + 1e-7)


def adam(g, m, t, rate):
    m[0] = 0.9 * m[0] + 0.1 * g
    m[1] = 0.999 * m[1] + 0.001 * g**2
    unbias = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return -rate * unbias * m[0] / (np.sqrt(m[1]) + 1e-7)


def roll(rule, rate, steps=80):
    """(steps + 1, 2) Where a marble is after each step."""
    path, m = [np.array([-7.0, 2.0])], np.zeros((2, 2))
    for t in range(1, steps + 1):
        path.append(path[-1] + rule(slope(*path[-1]), m, t, rate))
    return np.array(path)


marbles = {
    "SGD": (sgd, 0.3),
    "momentum": (momentum, 0.1),
    "Adagrad": (adagrad, 0.5),
    "RMSprop": (rmsprop, 0.1),
    "Adam": (adam, 0.4),
}
paths = {name: roll(*how) for name, how in marbles.items()}

x, y = np.linspace(-8, 4, 97).round(3), np.linspace(-2.6, 2.6, 53).round(3)
fig = maps.figure("Five marbles", "one parameter", "another parameter")
fig.add_contour(
    x=x, y=y, z=height(*np.meshgrid(x, y)).round(2), colorscale="Greys",
    contours={"start": 0, "end": 5, "size": 0.2}, showscale=False,
    reversescale=True, opacity=0.35, hoverinfo="z", name="loss",
)  # fmt: skip


def trails(t):
    """What the picture shows of the marbles after t steps."""
    past = [path[: t + 1].round(3) for path in paths.values()]
    sizes = [[3] * t + [13]] * len(past)
    return {
        "x": [p[:, 0] for p in past], "y": [p[:, 1] for p in past],
        "marker.size": sizes,
    }  # fmt: skip


ends = trails(80)
for i, name in enumerate(paths):
    fig.add_scatter(
        x=ends["x"][i], y=ends["y"][i], name=name, mode="lines+markers",
        line={"color": maps.LINES[i]}, marker={"size": ends["marker.size"][i],
        "symbol": i, "color": maps.LINES[i], "opacity": 1},
    )  # fmt: skip
steps = [
    {"label": str(t), "method": "restyle", "args": [trails(t), [1, 2, 3, 4, 5]]}
    for t in (0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40, 60, 80)
]
fig.update_layout(
    sliders=[{"steps": steps, "active": 15, "pad": {"t": 55},
              "currentvalue": {"prefix": "steps: "}}],
    legend={"yref": "paper", "y": 1.02, "yanchor": "bottom"}, height=520,
)  # fmt: skip
maps.show(fig, "Five optimisers' marbles on a valley with a dip in its side")

caught = {name: bool(path[-1, 0] < -3) for name, path in paths.items()}
print("in the dip:", [name for name, stuck in caught.items() if stuck])
stay = {"SGD": True, "momentum": False, "Adagrad": True}
assert caught == stay | {"RMSprop": True, "Adam": False}

optimizers = keras.optimizers
theirs = {
    "SGD": optimizers.SGD(0.3),
    "momentum": optimizers.SGD(0.1, momentum=0.9),
    "Adagrad": optimizers.Adagrad(0.5, initial_accumulator_value=0.0),
    "RMSprop": optimizers.RMSprop(0.1),
    "Adam": optimizers.Adam(0.4),
}
for name, optimizer in theirs.items():
    marble = keras.Variable([-7.0, 2.0])
    for _ in range(20):
        g = slope(*marble.numpy().astype(float)).astype("f4")
        optimizer.apply([tf.constant(g)], [marble])
    assert np.allclose(marble.numpy(), paths[name][20], atol=5e-3), name

# %% [markdown]
# Plain SGD, Adagrad and RMSprop stay in the dip. *Momentum* keeps part of its last step, so the marble rolls through; Adam does so too, and gives each parameter a step of its own size. Keras's optimisers, fed with the same slopes, are where our marbles are.
# A network has thousands of parameters and its slopes come from one batch at a time. They jitter, which by itself shakes a marble out of small dips. Long narrow valleys remain, and there the memory pays.
#
# :::{admonition} Exercise 2
# :class: exercise
# The rate decides as much as the rule. Let SGD roll with rates of 0.05, 0.9 and 1.1, and say what each does. Why 1?
# :::

# %% tags=["hide-cell"]
# Solution
for rate in (0.05, 0.9, 1.1):
    x, y = roll(sgd, rate)[-1]
    print(f"rate {rate}: ends at ({x:.3g}, {y:.3g})")
# 0.05 is caught by the dip. 0.9 jumps over it and swings across the valley
# until it rests. Above 1 each swing ends higher than it began, as y becomes
# (1 − 2 × rate) × y: the loss runs away. A loss that grows asks for a lower rate.

# %% [markdown]
# ## 6. A choice of models
#
# The library keeps one list of models, all with the same way in and out: windows of steps and bands in, a share for each class out. Some also take which steps were *seen*, and the day of the year.
#
# :::{admonition} Predict
# :class: predict
# Which has most parameters: two convolutions, three convolutions before a wide dense layer, a recurrent network, or one that attends?
# :::

# %%
known = models.describe().reset_index()
maps.show(
    known.drop(columns="what"),
    "The library's models, their parameters for this season, what they take",
)

shape = {"steps": T, "bands": C, "classes": K}
count = {n: models.build(n, **shape).count_params() for n in ("toy", "tempcnn")}
original = [64 * (5 * C + 1), 64 * (5 * 64 + 1), 50 * (8 * 64 + 1), K * 51]
assert sum(original) == models.build("original", **shape).count_params()
assert count["toy"] < sum(original) < count["tempcnn"]

# %% [markdown]
# Most of TempCNN's parameters sit in one dense layer, not in its convolutions. More parameters are not more knowledge: they are more ways to fit whatever the rows hold, noise included.
# A recurrent network reads step after step and keeps a memory; one that attends lets every step look at every other, and can leave out steps that nobody saw. Papers stand in the table, and in the [bibliography](../../book/en/bibliography.md).
#
# ## 7. Train, and stop in time
#
# `training.fit` compiles the model with Adam and cross-entropy, feeds it with Lab 2's batches, and hangs *callbacks* around the epochs. After each epoch it asks the **validation** side, whose windows stay the same so that epochs can be compared.
# The loader knows two things that the original's network is never told: which steps were *seen*, and the *day of the year*. TempCNN takes both if asked. Section 17 sets it beside the others.
#
# :::{admonition} Predict
# :class: predict
# With `patience=8`, training ends when eight epochs in a row have not improved the validation loss. Which weights should be kept: the last or the best? And can that ever happen with a patience of 40 in 40 epochs, as the original had it?
# :::

# %%
runs = work / "lab3"
shutil.rmtree(runs, ignore_errors=True)  # begin anew, to see it train
epochs = {"small": 3, "default": 60, "large": 300}[scale]
recipe = {
    "epochs": epochs, "patience": 2 if SMALL else 8, "batch": 256, "seed": 1,
    "progress": BARS, "missing": "allow" if SMALL else "refuse",
}  # fmt: skip
told = {"seen": True, "calendar": True}
cnn = training.fit(
    "tempcnn", sides, study, folder=runs / "cnn", options=told, **recipe
)


def stop(losses, patience):
    """(last epoch, best epoch), counted from 1."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return epoch + 1, best + 1


losses = cnn.history["val_loss"]
maps.show(
    maps.learning_curves(cnn.history, study=study),
    "Loss and score by epoch, on training and validation windows",
)
print("stopped after, best epoch:", stop(losses, recipe["patience"]))

assert stop(losses, recipe["patience"]) == (
    len(losses), cnn.notes["best_epoch"]
)  # fmt: skip
assert SMALL or losses[0] > min(losses)
ever_worse = np.arange(40.0)  # as bad as can be: no epoch improves
assert stop(ever_worse, 40)[0] == 40, "a patience of 40 fired"
said = ""
try:
    training.fit("original", sides, study, epochs=40, patience=40)
except training.TrainingError as error:
    said = str(error)
print(textwrap.fill(said, 78))
assert "never fire" in said

# %% [markdown]
# The loss began near log 7, as section 4 said, and fell. The best epoch is marked; its weights were kept, not the last ones. That is `EarlyStopping(monitor="val_loss", mode="min", patience=…, restore_best_weights=True)`.
# The original course used the callback with a patience as long as the training: even a loss that only grows never makes it fire, and the last weights were kept. Here the library refuses.
#
# | callback | what it does here |
# |---|---|
# | `EarlyStopping` | ends a training that no longer improves, puts the best weights back |
# | `ModelCheckpoint` | writes the best network so far to disk |
# | `BackupAndRestore` | lets a run that was killed go on, and end with the same weights: run the cell's call again |
# | `TensorBoard` | writes curves, graph, histograms and pictures for the next section |
# | `LearningRateScheduler` | lowers the rate as training goes on; a schedule as `learning_rate` does so too |
# | `LambdaCallback` | runs a line of your own at the end of an epoch |
#
# ## 8. Read TensorBoard
#
# TensorBoard is a page that shows what a run has written. In Colab, Databricks or Jupyter open it in a cell; anywhere else in a terminal (then visit the address that it prints):
#
# ```
# %load_ext tensorboard
# %tensorboard --logdir data/lab1-…/lab3            # in a notebook
#
# tensorboard --logdir data/lab1-…/lab3             # in a terminal
# ```
#
# *Scalars* and *Time series* show losses and scores by epoch, *Graphs* the computation, *Distributions* and *Histograms* how weights move, *Images* a confusion matrix each epoch, *Text* and *HParams* what the run was asked for. There are also *Projector*, for embeddings, and *Audio*, for other trades.
# A static page has no server to run it. But its files are plain records that any program can read, so here are the pictures that it would show.
#
# :::{admonition} Predict
# :class: predict
# Which class will the network find first, and which last?
# :::

# %%
from matplotlib.figure import Figure
from tensorboard.backend.event_processing import event_accumulator

board = {}
for folder in sorted((runs / "cnn" / "logs").glob("*/")):
    everything = {"tensors": 0}  # 0: thin nothing out
    reader = event_accumulator.EventAccumulator(str(folder), everything)
    board[folder.name] = reader.Reload()
    tags = reader.Tags()["tensors"]
    plain = sorted(tag for tag in tags if "/" not in tag)
    print(f"{folder.name}: {', '.join(plain)}")
    print(f"    and {len(tags) - len(plain)} histograms of weights")


def logged(run, tag):
    """What TensorBoard would plot: one value an epoch."""
    events = board[run].Tensors(tag)
    return [tf.make_ndarray(e.tensor_proto).item() for e in events]


pictures = [
    tf.io.decode_png(e.tensor_proto.string_val[2])
    for e in board["validation"].Tensors("confusion")
]


def picture(epoch):
    fig = Figure(figsize=(5.6, 5.6))
    axes = fig.add_axes((0, 0, 1, 1))
    axes.imshow(pictures[epoch - 1])
    axes.axis("off")
    return fig


last = len(pictures)
maps.knob(
    picture, "TensorBoard's picture of the confusion matrix, simulated data.",
    epoch=[e for e in (1, 2, 4, 8, 16) if e < last] + [last],
)  # fmt: skip

assert np.allclose(logged("validation", "epoch_loss"), losses, atol=1e-5)
assert len(pictures) == len(losses)

# %% [markdown]
# Rows are the truth. In the first epochs a few columns swallow everything, as if the network knew only the large classes; then the diagonal fills. The rarest class is the last to show, if it shows.
#
# ### The profiler
#
# The slides also show the *Profile* page of a run, with a verdict on who waits for whom. In the next cell are its figures, and beside them those of this run: a stopwatch as in Lab 2, section 12.
# To see the page itself, train with `profile=(10, 20)`; it needs the plug-in `xprof`, and may not run on Databricks.
#
# :::{admonition} Predict
# :class: predict
# In the slide's run a step takes 30.1 ms, 25.2 of them input. A graphics card ten times as fast would save how much of the step?
# :::

# %%
slide = {
    "input": 25.2, "compile": 0, "output": 0, "kernel launch": 1.1,
    "host compute": 0.2, "device compute": 0.4,
}  # fmt: skip
slide["all else"] = 30.1 - sum(slide.values())

timed = models.build("original", **shape)
timed.compile("adam", "categorical_crossentropy")
batches = samples.batches(sides["train"], study, cnn.scaler, batch=256)
took = []
while len(took) < 40:
    source_of = iter(batches)
    for _ in range(len(batches)):
        began = time.perf_counter()
        x, y = next(source_of)
        got = time.perf_counter()
        timed.train_on_batch(x, y)
        took.append((got - began, time.perf_counter() - got))
wait, work_ms = 1000 * np.median(took[5:], axis=0)

profiles = pd.DataFrame(
    {
        "the slide's run": slide,
        "here": {"input": wait, "all else": work_ms},
    }
)
maps.show(
    maps.bars(profiles.T.fillna(0), "Where a step goes", "ms", text=".1f"),
    "Milliseconds of a training step by part, in the slide and on this machine",
)
share = profiles.loc["input"] / profiles.sum()
print("share of the step that waits for input:")
print((100 * share).round(1).to_string())
assert abs(share["the slide's run"] - 0.839) < 0.005
if not SMALL:
    assert share["here"] < share["the slide's run"]

# %% [markdown]
# Next to nothing: the device worked for 0.4 ms. That run was *highly input-bound*, so money for a faster device would have been lost, and an hour with Lab 2 was worth more. (The slide's parts are rounded, so its share differs in the last digit.)
#
# ## 9. Too small, too large
#
# A model can fail in two ways. *Underfitting*: too little room for what there is to learn, and both losses stay high. *Overfitting*: so much room that it learns the rows by heart; the training loss falls on, while that of the validation turns and rises.
#
# :::{admonition} Predict
# :class: predict
# Three runs: the toy on all rows; the original's network on all rows; TempCNN, the largest, on one row in forty. Which one does what?
# :::

# %%
rng = np.random.default_rng(1)
few = rng.random(len(sides["train"])) < (0.5 if SMALL else 1 / 40)
tiny = sides | {"train": sides["train"].pick(few, "train")}
longer = 4 if SMALL else 40
to_the_end = recipe | {
    "epochs": longer,
    "patience": longer - 1,
    "missing": "allow",
    "learning_rate": 3e-3,
}
narrow = {"filters": 1, "units": 2}
tried = {
    "too small": training.fit(
        "toy", sides, study, options=narrow, **to_the_end
    ),
    "the original's": training.fit("original", sides, study, **to_the_end),
    "too large": training.fit(
        "tempcnn", tiny, study, options={"dropout": 0.0},
        **to_the_end | {"batch": 32},
    ),
}  # fmt: skip
maps.knob(
    lambda run: maps.learning_curves(
        tried[run].history, study=study, title=run
    ),
    "Loss and accuracy by epoch, on training and validation windows.",
    run=list(tried),
)
ends = {
    name: {
        side: np.mean(run.history[key + "categorical_accuracy"][-5:])
        for side, key in (("training", ""), ("validation", "val_"))
    }
    for name, run in tried.items()
}
ends = pd.DataFrame(ends).T
ends["apart"] = ends["training"] - ends["validation"]
maps.show(ends.reset_index(names="run"), "Accuracy of the last five epochs")

if not SMALL:
    assert ends["training"].idxmin() == "too small"
    assert ends["apart"].idxmax() == "too large"

# %% [markdown]
# The small one learns little and learns it everywhere: it underfits. The large one soon knows its few rows by heart, and each epoch after makes it worse elsewhere: it overfits. The middle one is between them; part of its gap is no fault of the network, as the validation is another year on other fields.
# Random windows help against learning by heart, since no epoch shows the same sample twice. They do not invent fields: the few rows come from a handful of them.
#
# :::{admonition} Exercise 3
# :class: exercise
# Name three remedies for overfitting and try one on the last run: stopping in time, dropout, fewer filters, more rows. `models.options_of("tempcnn")` lists what can be set; `training.fit(…, options={…})` sets it.
# :::

# %% tags=["hide-cell"]
# Solution: stopping in time costs nothing; more fields help most; what dropout
# does to so few rows one must try.
more = rng.random(len(sides["train"])) < 1 / 4
remedies = {
    "dropout": (tiny, {"dropout": 0.5}),
    "more rows": (
        sides | {"train": sides["train"].pick(more, "train")}, {"dropout": 0.0}
    ),
}  # fmt: skip
at_end = {"none": tried["too large"].history["val_loss"]}
print(f"stopping in time: validation loss {min(at_end['none']):.2f}")
for name, (rows, options) in remedies.items():
    how = to_the_end | {"batch": 32, "options": options}
    at_end[name] = training.fit("tempcnn", rows, study, **how).history[
        "val_loss"
    ]
for name, curve in at_end.items():
    print(f"{name}: {curve[-1]:.2f} after the last epoch")

# %% [markdown]
# ## 10. Hyper-parameters
#
# What training does not learn must be chosen: filters, dropout, rate. *Optuna* tries settings, learns which regions are good (TPE, a Bayesian way), and *prunes* trials that fall behind the median of those before.
# Each look at a side fits the choice to it a little. So settings are chosen on the **validation**, and the test is asked once, at the end.
#
# :::{admonition} Predict
# :class: predict
# The rate is drawn between 0.0001 and 0.01. Evenly, or evenly in its logarithm?
# :::

# %%
space = {
    "options.filters": [8, 32, 64],
    "options.dropout": {"low": 0.1, "high": 0.7},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
brief = recipe | {
    "epochs": {"small": 3, "default": 10, "large": 60}[scale],
    "patience": 2 if SMALL else 5,
    "tensorboard": False,
}
search = training.search(
    space, sides, study, model="original", pruner="median",
    trials={"small": 2, "default": 8, "large": 100}[scale], **brief,
)  # fmt: skip
fig = maps.figure(
    "Trials", "epoch", "macro-F1, validation", study=study, height=420
)
for trial in search.study.trials:
    values = trial.intermediate_values
    pruned = trial.state.name == "PRUNED"
    rate = trial.params["learning_rate"]
    fig.add_scatter(
        x=[epoch + 1 for epoch in values], y=list(values.values()),
        name=f"{trial.number}: rate {rate:.1g}" + ", pruned" * pruned,
        line={"dash": "dot" if pruned else "solid"},
    )  # fmt: skip
maps.show(fig, "Macro-F1 on the validation by epoch, for each trial")
tried_out = search.table.rename(columns=lambda c: c.removeprefix("options."))
maps.show(
    tried_out.drop(columns=["error", "seconds", "epochs"]).round(4).astype(str),
    "Trials of the search, the best first",
)

assert search.study.best_value == search.table["val_macro_f1"].max()
assert 1e-4 <= search.best["learning_rate"] <= 1e-2


# %% [markdown]
# A rate of 0.0001 differs from 0.001 as 0.001 from 0.01, so rates are drawn evenly in their logarithm. Dotted trials were pruned: they fell below the median of those before, and their time went to others. Where good trials share a value the setting matters; where they are scattered it does not.
# A few trials show the way, and no more. The same setting with another seed moves too, so a small lead is luck. With `storage="search.db"` a search is kept and goes on where it stopped; `optuna.visualization` draws `search.study` in more ways.
#
# ---
#
# Training ends here. **What follows is the test**: other year, other ground.
#
# ## 11. Take the randomness out
#
# A training loader draws starts and images anew in each epoch. That is right in training, and wrong in a test: a score that changes when you ask again cannot be compared with another.
#
# :::{admonition} Predict
# :class: predict
# The same model, the same rows, two passes with random windows. How far apart are the two accuracies? And two passes with fixed starts?
# :::

# %%
test = sides["test"]
unsure = samples.Loader(
    test, study, cnn.scaler, start="random", extras=cnn.needs, batch=len(test)
)
drawn = []
for epoch in (0, 1):
    x, y = unsure.batch(epoch, 0)
    drawn.append(float((cnn.predict(x).argmax(1) == y.argmax(1)).mean()))
print("random windows:", np.round(drawn, 4))

STARTS = [*range(1, 200, 15), 200]  # days of the year
p = cnn.predictions(test, STARTS)
again = cnn.predictions(test, STARTS)
print("fixed windows: ", [round(q.confusion().accuracy, 4) for q in (p, again)])
print(p)

assert drawn[0] != drawn[1]
assert np.array_equal(p.truth, again.truth)
assert np.array_equal(p.probability, again.probability)
assert len(p) == unsure.counts["samples"] * len(STARTS)

# %% [markdown]
# With fixed starts, and the clearest image of each step in place of a random one, the numbers are the same to the last bit. The starts are those of the original's test, every 15 days, so each row is predicted at each stage of the season.
#
# ## 12. Which score?
#
# A *confusion matrix* counts how often each class was taken for each other: rows are the truth, columns the answer. All scores are made of it.
#
# :::{admonition} Predict
# :class: predict
# A class is called once in a hundred times, and rightly so. Which looks good, its share of the *answers* that are right or its share of the *truth* that was found?
# :::

# %%
whole = p.confusion()
counts = np.zeros((K, K), int)
np.add.at(counts, (p.truth, p.predicted), 1)
by_truth = counts / counts.sum(1, keepdims=True).clip(1)  # rows sum to 1
by_answer = counts / counts.sum(0, keepdims=True).clip(1)  # columns do

maps.knob(
    lambda shares: maps.confusion(whole, shares, study=study, title="Test"),
    "Confusion matrix of the test, all dates.",
    shares={"of the truth": "truth", "of the answers": "prediction"},
)
each = whole.table()
constant = evaluation.majority(whole)
maps.show(
    each.reset_index().drop(columns="iou"),
    "Each class: samples, precision (of the answers), recall (of the truth), F1",
)
for name, c in (("network", whole), ("always the same", constant)):
    print(
        f"{name}: accuracy {c.accuracy:.2f}, macro-F1 {c.macro_f1:.2f}, "
        f"balanced accuracy {c.balanced_accuracy:.2f}"
    )

assert np.array_equal(counts, whole.counts)
assert np.allclose(np.diag(by_truth), np.nan_to_num(whole.recall))
assert np.allclose(np.diag(by_answer), np.nan_to_num(whole.precision))
assert np.isclose(constant.balanced_accuracy, 1 / (each["truth"] > 0).sum())

# %% [markdown]
# Turn the knob. Normalised by *truth*, a row tells where a class went, and the diagonal is its recall. Normalised by *prediction*, as in the original notebooks, a column tells what hides behind an answer, and the diagonal is precision; how much of the class was *missed* is nowhere to be seen. A matrix should say what it sums to.
# Answering with the commonest class alone already gets an accuracy that sounds like work. It finds one class of seven, though, and balanced accuracy and macro-F1, which weigh classes alike, say so.
#
# ## 13. When: accuracy by date
#
# :::{admonition} Predict
# :class: predict
# Windows that end in May, in July, in November: when is accuracy highest? Think of what is *true* in November.
# :::

# %%
dates = evaluation.by_date(p)
maps.show(
    maps.by_date(dates, study=study),
    "Accuracy by date of prediction, for all classes and for the four crops",
)

four = evaluation.single_crops(study.legend)
late = dates.loc[[dates["accuracy"].idxmax()]].T.squeeze()
print(f"best accuracy, on {late.name}: {late['accuracy']:.2f}")
print(f"of {', '.join(four)} alone, that day: {late['crops_accuracy']:.2f}")
print(f"share of the truth that is one of them: {late['crops_share']:.2f}")
if not SMALL:
    assert late.name > dates["crops_accuracy"].idxmax()
    assert late["accuracy"] > late["crops_accuracy"] + 0.1

# %% [markdown]
# The line for all classes climbs to the very end. That is no triumph: in autumn fields are bare, the truth is 'No Crops Growing' by the rule of Lab 2, and bare soil is easy. Of the *crops* alone the score peaks in summer and then falls.
# The original course published the same rise and took it for skill. Say for which classes a score stands, and put the constant answer beside it; its line is in the picture.
#
# ### From which day on?
#
# A user asks it the other way round: from which date on can I rely on a class? Here 'rely' means an F1 of at least 0.7.

# %%
earliest = evaluation.earliest_dates(p, 0.7, least=5 if SMALL else 30)
shown = earliest.copy()
for column in ("date", "until", "best_date"):
    shown[column] = shown[column].dt.strftime("%-d %B").fillna("never")
maps.show(
    shown[["date", "until", "best_date", "best_f1"]].reset_index(),
    "First date with an F1 of 0.7, until when it lasts, and the best date",
)
f1 = evaluation.f1_by_date(p)[[names[study.legend.keys.index(k)] for k in four]]
fig = maps.figure("F1 by date of prediction", "", "F1", study=study)
for i, (name, values) in enumerate(f1.items()):
    fig.add_scatter(
        x=f1.index, y=values.round(3), name=name, mode="lines+markers",
        line={"dash": maps.DASHES[i], "color": maps.LINES[i]},
    )  # fmt: skip
maps.show(fig, "F1 of the four crops by the last day of the window")

assert earliest["best_f1"].between(0, 1).sum() <= len(four)
reached = earliest["date"].notna()
assert (earliest.loc[reached, "f1"] >= 0.7).all()

# %% [markdown]
# Each crop has its own date, since each has its own calendar. 'Never' is an answer as well: then say so to the user, and do not lower the bar after the fact.
#
# :::{admonition} Exercise 4
# :class: exercise
# Where does it go wrong: pick the predictions of the best date and print accuracy by block (`evaluation.by_block`). Are a few blocks bad, or all a little? `p.pick(mask)` takes some of the predictions.
# :::

# %% tags=["hide-cell"]
# Solution
best = dates["accuracy"].iloc[: len(dates) // 2 + 1].idxmax()
summer = p.pick(p.last == np.datetime64(best, "D").astype(int))
blocks = evaluation.by_block(summer)
print(blocks[["samples", "accuracy", "majority_accuracy"]].round(2).to_string())
# A block is a field or two: it is mostly right or mostly wrong as a whole. So
# thousands of pixels are a few dozen independent answers, and the intervals in
# the picture above, which draw whole blocks, are as wide as that.

# %% [markdown]
# ## 14. Where: the map
#
# Now every pixel of the box, for a window that ends in summer. Beside it stand the labels, and the places where the two disagree.
#
# :::{admonition} Predict
# :class: predict
# Where will the errors lie: scattered over fields, along their edges, or whole fields at once?
# :::

# %%
year = study.split["test"][0]
labels = find_labels(study, year, cache=DATA / "labels", progress=BARS)
out = runs / "maps"
made = maps.predict(
    cnn, table, STARTS, out, area=box.key, year=year, progress=BARS
)
july = STARTS.index(91)
maps.show(
    maps.prediction_map(made[july], labels=labels),
    "Map of predicted classes, of labels, and of where the two disagree",
)
on_map = maps.compare(made[july], labels)
print(f"{on_map.accuracy:.2f} of {on_map.total:,} pixels agree")

day = np.unique(p.last)[july]
same = p.pick((p.area == box.key) & (p.last == day)).confusion()
assert np.array_equal(on_map.counts, same.counts)

# %% [markdown]
# The map is made by the same windows, scaler and model as the test, so its counts are the test's counts. Each map is written as COGs (class, probability, entropy, margin) with a legend inside, and opens in QGIS.
# Whole fields are wrong together, and edges are wrong in lines: there a pixel sees two fields at once. The labels are a model's output too, so a disagreement is not always the network's error.
#
# ### The season
#
# :::{admonition} Predict
# :class: predict
# Run through the dates. Which class covers the box in spring, and which crop comes out first?
# :::

# %%
maps.show(
    maps.prediction_map(made, labels=labels, title="Move the slider"),
    "Maps of predicted classes, labels and disagreement through the season",
)
film = maps.season(made, out / "season.gif", labels=labels)
maps.show(film, "The same season as an animated picture")

named = np.ma.stack([m.read() for m in made])  # (dates, H, W)
changes = (np.ma.diff(named, axis=0) != 0).sum(axis=0)  # no image: no say
print(f"{(changes > 0).mean():.0%} of the pixels change their class")
print(f"picture for slides: {film.stat().st_size / 1e6:.1f} MB")
assert len(named) == len(STARTS)

# %% [markdown]
# One field changes its name through the season: first nothing grows, then *something* grows, then it is corn. A map of one date hides this, which is why results belong in space **and** in time.
#
# ## 15. How sure is it?
#
# The seven shares look like probabilities. Are they? Of all answers given with 80 %, are 80 % right? A model that keeps such promises is *calibrated*.
#
# :::{admonition} Predict
# :class: predict
# This network was trained on few fields and tested on others. Is it too sure of itself, or too modest?
# :::

# %%
kept = evaluation.reliability(p, 10)
said = evaluation.calibration(p)
maps.show(
    maps.reliability(kept, study=study),
    "Share of right answers by how sure the network was",
)
print({name: round(value, 3) for name, value in said.items()})

valid = cnn.predictions(sides["validation"], STARTS)
heat = evaluation.Temperature.fit(valid)
cooled = heat.apply(p)
print(f"temperature {heat.value:.2f}, fitted on the validation")
print(
    f"calibration error {evaluation.calibration_error(cooled, 15):.3f} with it"
)

share = p.probability
entropy = -(share * np.log(share.clip(1e-9))).sum(1) / np.log(K)
unsure = entropy > np.quantile(entropy, 0.8)
right = p.predicted == p.truth
print(f"right among the surest four fifths {right[~unsure].mean():.2f}")
print(f"right among the other fifth {right[unsure].mean():.2f}")

assert np.array_equal(cooled.predicted, p.predicted)
assert np.isclose(said["calibration_error"], evaluation.calibration_error(p))
assert SMALL or right[~unsure].mean() > right[unsure].mean()

# %% [markdown]
# Where the curve lies under the diagonal, the network promises more than it keeps; above it, less. Training longer makes it too sure, dropout and random windows too modest, so look before you believe. One number, a *temperature* found on the validation, makes shares softer (above 1) or sharper (below 1) without changing any answer. It can only mend what the validation shows: if the error grew with it, the two years are not alike.
# *Entropy* puts how spread the shares are into one number: 0 is sure, 1 knows nothing. Most errors sit among the unsure answers, so a map may leave those out, and say how many.
#
# ## 16. The sparse class
#
# 'Cultivated' holds everything that is no crop of its own: few rows, and unlike each other. The original's test found not one of them.
#
# :::{admonition} Predict
# :class: predict
# `balance=True` weighs samples so that all classes count alike in the loss. What happens to the recall of 'Cultivated', to its precision, and to accuracy?
# :::

# %%
fair = training.fit(
    "tempcnn", sides, study, options=told, balance=True, **recipe
)
weighed = fair.predictions(test, STARTS).confusion()
both = {"as they come": whole, "balanced": weighed}
sparse = study.legend.keys.index("cultivated")
traded = pd.DataFrame(
    {
        name: {
            "rows called so": c.counts[:, sparse].sum(),
            "precision": c.precision[sparse],
            "recall": c.recall[sparse],
            "accuracy, all classes": c.accuracy,
            "macro-F1": c.macro_f1,
        }
        for name, c in both.items()
    }
)
maps.show(
    traded.T.reset_index(names="training"),
    f"'{names[sparse]}' without and with balanced weights, test",
)
seen = cnn.notes["samples_of_class"]
print(f"training samples: {seen}")
loader = samples.Loader(sides["train"], study, None, extras=("weight",))
there = loader.class_counts > 0
evened = loader.class_counts * loader.class_weights
assert np.allclose(evened[there], evened[there][0])
if not SMALL:
    assert weighed.recall[sparse] > whole.recall[sparse]

# %% [markdown]
# Weights make the network name the class more often, so more of it is found; the common classes pay, and accuracy falls. Whether precision gains or loses stands in the table. Weights cannot invent variety: a few fields of hay, peanuts and wheat are still a few fields.
# What helps is more fields of them, a narrower class, or the honest 'other'. How a label is *defined* matters more than the network: a class that is a leftover tests like a leftover.
#
# ## 17. Rivals
#
# A score needs company. Learners ask most for a *random forest*: hundreds of decision trees that vote, on the window laid flat. It knows no neighbouring steps, needs no epochs, and is hard to beat on small tables.
#
# :::{admonition} Predict
# :class: predict
# Which wins on this test: the forest, the original's network, or TempCNN, which is told what was seen and what day it is? By more than the intervals?
# :::

# %%
from arsetlib.evaluation import scores

rivals = {"majority": {}, "random_forest": {"options": {"trees": 100}}}
rivals["original"] = recipe
found = {"tempcnn, told more": p}
for name, how in rivals.items():
    extra = {"progress": BARS, "missing": recipe["missing"]}
    rival = training.fit(name, sides, study, **extra | how)
    found[name] = rival.predictions(test, STARTS)

rows = {}
for name, q in found.items():
    c, crops = q.confusion(), q.confusion().only(four)
    per_block = np.array([b.counts for b in q.by("block").values()])
    low, high = evaluation.score_interval(per_block, scores.macro_f1)
    rows[name] = (c.accuracy, c.macro_f1, low, high, crops.macro_f1)
columns = ["accuracy", "macro-F1", "low", "high", "macro-F1, four crops"]
table_of = pd.DataFrame(rows, index=columns).T
maps.show(
    table_of.reset_index(names="model"),
    "Models on the test, all dates; low to high holds macro-F1 in 95 of 100",
)
assert table_of["macro-F1"].idxmin() == "majority"
assert (table_of["low"] <= table_of["high"]).all()

# %% [markdown]
# The intervals come from drawing whole blocks again and again, because pixels of one field are one answer. On so small a place they are wide, and overlap: a table that ranks models by the second decimal without them tells of luck.
# The [performance page](../../book/en/performance.md) has the comparison over several seeds. If the forest keeps up, take the forest, unless you need what a network brings: it can be tuned further on a few labels elsewhere, and it has more to gain from more years and fields.
#
# :::{admonition} Exercise 5
# :class: exercise
# Which bands does the network use? `evaluation.permutation_importance` gives each sample another sample's band, and sees what that costs. Try it for the window of the July map. Why may each of two neighbouring bands look useless?
# :::

# %% tags=["hide-cell"]
# Solution
costs = evaluation.permutation_importance(
    cnn.predict, cnn.loader(test, STARTS[july]), study.channels, repeats=3
)
maps.show(
    maps.bars(
        costs["drop"], "A band spoilt", "macro-F1 lost", study=study, text=".3f"
    ),
    "Macro-F1 lost when one band comes from other samples",
)
# Neighbouring bands say nearly the same, so each can stand in for the other:
# spoil them together, with groups={"red edge": […], …}.

# %% [markdown]
# ## 18. What the original published
#
# Its table of predictions was handed out with the course, so its scores can be recomputed. They are of **real data**, the lower Mississippi delta in 2019. Ours are of a **simulated** delta. They may stand side by side to see *patterns*, not to see who wins.

# %%
theirs_all = evaluation.published.arset_overall()
theirs_f1 = evaluation.published.arset_f1()
ours_f1 = pd.Series(whole.f1, study.legend.keys)
beside = pd.DataFrame(
    {"published 2024, real": theirs_f1, "this run": ours_f1[theirs_f1.index]}
)
label = "this run, simulated" if study.simulated else "this run"
beside = beside.rename(columns={"this run": label})
maps.show(
    maps.score_bars(beside, study=study, title="F1 by class: two data sets"),
    "F1 by class, published on real data and here on simulated",
)

by_start = evaluation.published.arset_by_start()
mine = evaluation.score_table(p, "day_of_year", repeats=0)
# Theirs counts days from 0, ours from 1.
mine = mine.loc[by_start.index + 1, ["accuracy", "crops_accuracy"]]
by_start[["ours", "ours, four crops"]] = mine.to_numpy()
by_start = by_start.round(2).astype(str).replace("nan", "not known")
by_start = by_start.rename(
    columns={"accuracy": "published", "four_crops": "published, four crops"}
)
maps.show(
    by_start.reset_index(names="first day, from 0"),
    f"Accuracy by first day of the window: published on real data; {label}",
)
print(theirs_all.to_string())
bare_then = evaluation.published.arset_fallow_share()
print(f"truth '{names[0]}' for day 180: {bare_then:.0%}")
assert theirs_f1["cultivated"] == 0
real = evaluation.published.arset_by_start()
assert real["accuracy"].idxmax() > real["four_crops"].idxmax()

# %% [markdown]
# The patterns agree: accuracy of all classes peaks at the end, that of the four crops in summer; the leftover class is lost; a few crops carry the mean. Its claim holds as well: in mid-season most of a crop can be told, months before the official map.
#
# ## 19. Hectares
#
# The last question is always "how much?". Counting a map's pixels is biased: when one per cent of a large class is called rice, rice grows by far more than one per cent. A sample of known truth tells how often each mapped class is right, and so corrects the area and says how sure it is (Olofsson and others, 2014).
#
# :::{admonition} Predict
# :class: predict
# Will the estimates for rare classes lie above or below what the map counts?
# :::

# %%
summer = p.pick((p.area == box.key) & (p.last == day))
rng = np.random.default_rng(study.seed)
counted = np.bincount(summer.predicted, minlength=K)
strata = np.flatnonzero(counted >= 2)  # of one pixel no spread can be told
visited = np.concatenate(
    [
        rng.permutation(np.flatnonzero(summer.predicted == k))[:50]
        for k in strata
    ]
)  # as if somebody had gone to see
hectare = 0.09  # a pixel of 30 m × 30 m
mapped_ha = np.where(counted >= 2, counted, 0) * hectare
areas = evaluation.stratified_areas(summer.pick(visited).confusion(), mapped_ha)

shown = areas.table[["mapped", "area", "area_low", "area_high"]].copy()
shown["truth"] = np.bincount(summer.truth, minlength=K) * hectare
print(f"{len(visited)} of {len(summer):,} pixels visited")
maps.show(
    shown.round(1).reset_index(),
    "Hectares: counted on the map, estimated with a 95 % interval, true",
)
inside = shown["truth"].between(shown["area_low"], shown["area_high"])
print(f"the interval holds the truth for {inside.sum()} of {K} classes")
assert np.isclose(areas.table["area"].sum(), mapped_ha.sum())
if not SMALL:
    off = {
        c: (shown[c] - shown["truth"]).abs().sum() for c in ("mapped", "area")
    }
    assert off["area"] < off["mapped"]

# %% [markdown]
# Here the truth is known for every pixel, so one can see that the estimate lies nearer to it than the count, and that intervals do what they say: most hold the truth, and one in twenty may not. On real ground you have the sample alone, and these few visits are worth more than a sharper model.
#
# ## 20. What the original test teaches
#
# Two crops in one year have two right answers. The original left such rows in its test, and as their names stood in no list, their 'truth' became 'Uncultivated'. What does a model say of them?

# %%
codes, when = (table[c].to_numpy() for c in ("label_code", "year"))
double = np.flatnonzero(study.legend.classes_of(codes) < 0)
flat, said = pixels.ragged(table), {}
for start in STARTS if len(double) else []:
    w = samples.window(
        flat, study.season, samples.start_days(when[double], start),
        rows=double, choose="clearest", scaler=cnn.scaler,
    )  # fmt: skip
    x = {"series": w.x, "seen": w.seen}
    x["day_of_year"] = np.full(len(double), start, np.int32)
    called = cnn.predict(x).argmax(1)
    last = np.datetime64("2019-01-01") + start + study.season.window_days - 2
    said[f"{pd.Timestamp(last):%-d %B}"] = (
        100 * np.bincount(called, minlength=K) / len(double)
    )
print(f"{len(double)} rows of the table are double crops")
if said:
    said = pd.DataFrame(said, names).T.iloc[::2]
    fig = maps.bars(
        said, "What fields with two crops are called", "percent of them",
        study=study, colours=study.legend.colours, text=".0f",
    )  # fmt: skip
    maps.show(fig, "Classes given to double crops, by the window's last day")
    assert np.allclose(said.sum(axis=1), 100)
    assert SMALL or said.idxmax(axis=1).nunique() > 1
assert (p.truth >= 0).all(), "a row without one right answer is in the test"

# %% [markdown]
# The answer moves with the season, as it should: one crop, bare soil, another crop. Scored against 'Uncultivated' every right answer counts as wrong. A row without one right answer has no place in a test; and a class list that lets a name fall through silently is no list.
#
# | defect of the original | what it did | what holds it off here |
# |---|---|---|
# | patience as long as the training | early stopping never fired, the last weights were kept | `training.fit` refuses, and keeps the best epoch (section 7) |
# | randomness in the test | a score that changes when asked again | fixed starts, the clearest image; an assert on equality (section 11) |
# | normalised by prediction | recall was hidden | the matrix says what it sums to (section 12) |
# | accuracy of all classes by date | a late peak that is bare soil | the crops' own line, and the constant answer's (section 13) |
# | double crops in the test | right answers counted as wrong | excluded by code, on all sides |
# | Barley and others missing in the lists | crops became 'Uncultivated' | an unknown code is an error (Lab 2) |
# | one step too many, and valid padding | two errors that cancelled | shapes are stated and tested (section 3) |
#
# ## What you have learnt
#
# - A convolution sees a stretch of days; padding and pooling decide which images count, and no error tells.
# - Loss is −log of the share given to the truth; its slope is answer minus truth; optimisers differ in what they remember.
# - Validation decides when to stop and which settings to take; the test is asked once.
# - Curves tell under- from overfitting; more fields beat more parameters.
# - A test has no randomness, says what its scores sum to, and has the constant answer beside it.
# - Results belong in time *and* in space, with intervals that count blocks and not pixels.
# - Probabilities, areas and maps each need their own check.
#
# ## What if …
#
# - **… I have labels of my own elsewhere?** Train here, or on the CDL where farming is alike, then adjust: `arset train --from MODEL`. A few labels a class go further than none; how far, a learning curve tells.
# - **… I want PyTorch, or JAX?** Scaler, windows and scores need no TensorFlow: `samples.arrays` and `samples.sequence` give the batches, `evaluation.Predictions` takes any model's shares.
# - **… I have a graphics card, or four?** `training.fit(…, strategy="mirrored")`. Look at the share of waiting first (section 8).
# - **… which bands matter?** `evaluation.permutation_importance` shuffles one band at a time, `evaluation.leave_one_out` trains without it.
# - **… my score is too good?** Look for a leak: Lab 2, section 9.
# - **… I want it all in one page?** `evaluation.report(p, "report.html")`, or `arset evaluate` and `arset report`.
# - **… I want more?** Set `scale = "large"` in section 1: more epochs, more trials; or take the real study.
