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
# **Question.** Can a model name a crop while it still grows in the field, and how do you find out whether you can trust the answer?
#
# **Product.** A trained model with its scaler and legend, a map that it predicts, and scores that say where and when you can trust the map.
#
# **You will be able to**
# - build a small network in Keras, count its parameters, and say which images it cannot see;
# - say what a loss, a gradient and an optimiser do;
# - train with callbacks, read the curves, and tell underfitting from overfitting;
# - search hyper-parameters without using the test;
# - test by class, by date and by place, and notice a score that is too good to be true;
# - compare a network with a random forest and with a model that always gives the same answer.
#
# **Time.** About 120 minutes in two halves, with a pause before section 10. **You need** Lab 2, or to know what a batch of samples is. You need no graphics card.
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
# ## 1. Take the table, and keep an area for the test
#
# The lab uses the table of Labs 1 and 2. If there is no table yet, the cell makes it, which takes a few minutes once.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing in this lab was measured by a satellite: the data are the simulated delta of Lab 1. Pictures of it say *simulated*. A score on it shows how the method works. It does not show how well a model separates crops on Earth.
# :::

# %%
from arsetlib import lab

source = "simulated"  # or "real", or your study file, "mine.toml"
here = lab.place(source)
delta = source == "simulated" and not here.small  # some asserts need it
study, box = here.study, here.box
table = here.table()
print(here)
print(f"{table.num_rows:,} rows of {len(study.bands)} bands")

# %% [markdown]
# The table is split by year and block, as in Lab 2, or by block alone if the study has fewer than three years. We make a map of one area, the *box*. If the study has more areas, the whole box belongs to the test, and so does one of the others if there are at least five. Then the model sees no pixel of the box in training, in any year.

# %%
import numpy as np

from arsetlib import samples

others = [a.key for a in study.areas if a != box]
held_out = [box.key, *others[4:5]] if others else []
by = "year and block" if len(study.years) > 2 else "block"
sides = samples.split(table, study, by=by, held_out=held_out)

# %%
areas_in = {s: set(r.column("area").astype(str)) for s, r in sides.items()}
for side, rows in sides.items():
    years = np.unique(rows.column("year")).tolist()
    print(f"{side}: {len(rows):,} rows of {years}")

assert box.key in areas_in["test"]
assert not set(held_out) & (areas_in["train"] | areas_in["validation"])

# %%
T, C = study.season.steps, len(study.channels)
K, names = len(study.legend.classes), study.legend.names()
print(f"a sample: {T} steps × {C} bands → one of {K} classes")
assert study.season.window_days == T * study.season.step_days

# %% [markdown]
# ## 2. A small network, by hand
#
# Keras is a library for networks. This lab uses these modules:
#
# | module | what it holds | here |
# |---|---|---|
# | `keras.models` | how to connect layers, train and save | `Sequential`, `fit`, `save` |
# | `keras.layers` | the operations that a sample passes through | `Conv1D`, `MaxPooling1D`, `Flatten`, `Dense`, `Dropout` |
# | `keras.losses` | how wrong an answer is, as one number | categorical cross-entropy |
# | `keras.optimizers` | how parameters change to make the loss smaller | SGD, RMSprop, Adam |
# | `keras.metrics` | scores for people to read | `CategoricalAccuracy` |
# | `keras.callbacks` | what is done between batches and epochs | `ModelCheckpoint`, `BackupAndRestore`, `TensorBoard`, `EarlyStopping`, `LearningRateScheduler`, `LambdaCallback` |
#
# The slides of the original course build this network for 20 steps of 12 bands. A *kernel* is a small set of weights that moves along the series and combines five steps at a time. *Pooling* keeps the largest of each five results. Two *dense* layers turn the rest into classes.
#
# :::{admonition} Predict
# :class: predict
# The first layer has three kernels, each of 5 steps × 12 bands and a constant. How many parameters has this layer? And the whole network?
# :::

# %%
import keras
import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # no advice on speed within the lab
layers = keras.layers


def toy(padding="valid", steps=20):
    """The small network of the slides."""
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


# %%
from arsetlib import figures, maps, models, wording

summary = models.layer_table(toy())
figures.show(summary, "The small network: each layer's output and parameters")
print(f"{summary['parameters'].sum()} parameters")

# %%
by_hand = [3 * (5 * 12 + 1), 0, 0, 10 * (9 + 1), 6 * (10 + 1)]
print("by hand:", by_hand)
assert summary["parameters"].tolist() == by_hand
in_library = models.build("toy", steps=20, bands=12, classes=6)
assert in_library.count_params() == sum(by_hand)

# %% [markdown]
# The table answers the question: the first number is the layer's, the printed sum is the network's. A convolution uses the same few parameters along the whole series. The shapes leave out the batch, because a batch may have any number of samples.
# Some slides say six classes, others say seven. Seven is right: with six output units no unit would exist for one of the classes, and no error would tell you.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count before you run: how many parameters has the small network for windows of 24 steps and 7 classes? And for windows of 180 days in steps of 5?
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
# `padding="valid"` is Keras's default: a kernel stays inside the series, so a kernel of five steps fits into 20 steps at 16 places. Pooling by five then uses 15 of these 16 places and ignores the last one.
#
# :::{admonition} Predict
# :class: predict
# Replace the *newest* image of the window, step 20, with noise. How much does the answer of the small network change?
# :::

# %%
import pandas as pd


def reach(model):
    """(steps,) The largest change of an answer when one step is replaced."""
    rng = np.random.default_rng(0)
    steps, bands = model.input_shape[1:]
    x, other = rng.normal(size=(2, 500, steps, bands)).astype("f4")
    before, largest = model(x), []
    for step in range(steps):
        changed = x.copy()
        changed[:, step] = other[:, step]
        largest.append(float(np.abs(model(changed) - before).max()))
    return pd.Series(largest, range(1, steps + 1))


# %%
keras.utils.set_random_seed(1)
seen_by = {f"padding {p}": reach(toy(p)) for p in ("valid", "same")}
seen_by = pd.DataFrame(seen_by)
fig = figures.lines(
    seen_by,
    "Effect of each step on the answer",
    "step that is replaced (20 is the newest)",
    "largest change of a probability",
)
figures.show(fig, "Change of the answer by step replaced, for two paddings")

assert seen_by["padding valid"][20] == 0
assert (seen_by["padding same"] > 0).all()

# %% [markdown]
# The answer does not change at all. Only one output of the convolution uses the newest image, and pooling ignores this output. No message says so. A map in mid-season needs this image. `padding="same"` adds zeros at both ends; then each step has an effect, as the second line shows.
#
# The same network teaches something else. One kernel combines five steps of five days, so it uses 25 days. This is its *receptive field*. Deeper layers have larger receptive fields:


# %%
def receptive_field(stack):
    """Steps that one output uses, after layers of (kernel, stride)."""
    steps, apart = 1, 1
    for kernel, stride in stack:
        steps += (kernel - 1) * apart
        apart *= stride
    return steps


# %%
stacks = {
    "the small network's kernel": [(5, 1)],
    "the small network's pooling": [(5, 1), (5, 5)],
    "the original's two kernels": [(5, 1), (5, 1)],
    "the original's pooling": [(5, 1), (5, 1), (2, 2)],
}
days = {name: 5 * receptive_field(stack) for name, stack in stacks.items()}
print("\n".join(f"{name}: {value} days" for name, value in days.items()))
assert days["the small network's kernel"] == 25

# %% [markdown]
# Test the formula. Take a series of zeros, set one step after the other to 1, and see which steps change the first output of the original's two convolutions:

# %%
two = keras.Sequential([layers.Conv1D(1, 5), layers.Conv1D(1, 5)])
one_at_a_time = np.eye(25, dtype="f4")[:, :, None] * np.ones(12, "f4")
first_place = np.asarray(two(one_at_a_time))[:, 0, 0]  # (25,)
print("steps that change it:", np.flatnonzero(first_place) + 1)
assert 5 * np.count_nonzero(first_place) == days["the original's two kernels"]

# %%
unseen = {}
for steps in (25, 24):
    model = models.build("original", steps=steps, bands=12, classes=7)
    changes = reach(model)
    unseen[steps] = changes.index[changes == 0].tolist()
    print(f"{steps} steps: the original's network ignores {unseen[steps]}")
assert unseen == {25: [25], 24: []}

# %% [markdown]
# The network of the original course has the same fault: it ignores the last of its 25 steps. This did no harm, because the loader made one step too many (Lab 2, section 13), so the ignored step was outside the window. One error removed the effect of the other. With 24 steps the same network ignores none, as the last line shows: the number of steps decides whether an image is lost.
#
# ## 4. How wrong is an answer?
#
# The last layer gives one number for each class, a *logit*. It can have any value. `softmax` makes all of them positive with the sum 1. The *cross-entropy* then uses only the probability p of the true class: the loss is −log p.
#
# :::{admonition} Predict
# :class: predict
# A network that has learnt nothing gives each class the same probability. What is its loss with seven classes? Which answer has the larger loss: this one, or one that is sure and wrong?
# :::


# %%
def softmax(logits):
    shares = np.exp(logits - logits.max(-1, keepdims=True))  # no overflow
    return shares / shares.sum(-1, keepdims=True)


def cross_entropy(truth, shares):
    return -np.log((truth * shares).sum(-1))


# %%
logits = np.array([[0] * 7, [0, 0, 0, 6, 0, 0, 0], [0, 6, 0, 0, 0, 0, 0]], "f4")
truth = np.tile(np.eye(7, dtype="f4")[3], (3, 1))  # class 3, all three
answers = pd.DataFrame(
    {
        "answer": ["all classes equal", "sure and right", "sure and wrong"],
        "probability of the truth": softmax(logits)[:, 3],
        "loss": cross_entropy(truth, softmax(logits)),
    }
)
figures.show(answers, "Three answers about one pixel, and their loss")

# %%
theirs = keras.losses.categorical_crossentropy(truth, softmax(logits))
print("Keras:", np.round(theirs, 3))
assert np.allclose(answers["loss"], theirs, atol=1e-5)
assert np.isclose(answers["loss"][0], np.log(7))
assert answers["loss"].idxmax() == 2

# %% [markdown]
# Equal probabilities give a loss of log 7, as in the first row. The answer that is sure and wrong has the largest loss of the three.
#
# In which direction should the logits change? The *gradient* of the loss says it: the loss decreases fastest in the opposite direction.

# %%
with tf.GradientTape() as tape:
    z = tf.Variable(logits)
    loss = tf.nn.softmax_cross_entropy_with_logits(truth, z)
gradient = tape.gradient(loss, z).numpy()
print("sure and wrong:", gradient[2].round(2))
assert np.allclose(gradient, softmax(logits) - truth, atol=1e-6)

# %% [markdown]
# The gradient is *answer minus truth*. So training lowers the logit of the wrong class and raises that of the right class, each in proportion to its error. `fit` computes such gradients for all layers, batch by batch.
#
# ## 5. Optimisers
#
# An *optimiser* turns gradients into changes of the parameters. To see how, take a model of two parameters, whose loss we can draw: each pair of parameters is a point, and contour lines show the loss there. The optimiser moves the point, step by step, to where the loss is lower. We compare five optimisers; `m` holds what an optimiser keeps from its earlier steps.
#
# :::{admonition} Predict
# :class: predict
# The loss has one global minimum, at the end of a long and narrow valley, and a small local minimum on the way. Which optimisers end in the local minimum?
# :::


# %% tags=["hide-input"]
def loss_at(x, y):
    """The loss: a valley with a local minimum."""
    dip = np.exp(-((x + 4) ** 2 + (y - 0.3) ** 2) / 0.5)
    return x**2 / 20 + y**2 - 0.7 * dip


def slope(x, y):
    """(2,) Gradient of the loss."""
    dip = 2.8 * np.exp(-((x + 4) ** 2 + (y - 0.3) ** 2) / 0.5)
    return np.array([x / 10 + dip * (x + 4), 2 * y + dip * (y - 0.3)])


before, after = loss_at(-7.0, 2.0 - 1e-5), loss_at(-7.0, 2.0 + 1e-5)
assert np.isclose(slope(-7.0, 2.0)[1], (after - before) / 2e-5)


# %%
def sgd(g, m, t, rate):
    return -rate * g


def momentum(g, m, t, rate):
    m[0] = 0.9 * m[0] - rate * g
    return m[0]


def adagrad(g, m, t, rate):
    m[1] += g**2
    return -rate * g / np.sqrt(m[1] + 1e-7)


# %%
def rmsprop(g, m, t, rate):
    m[1] = 0.9 * m[1] + 0.1 * g**2
    return -rate * g / np.sqrt(m[1] + 1e-7)


def adam(g, m, t, rate):
    m[0] = 0.9 * m[0] + 0.1 * g
    m[1] = 0.999 * m[1] + 0.001 * g**2
    unbias = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return -rate * unbias * m[0] / (np.sqrt(m[1]) + 1e-7)


# %%
def descend(rule, rate, steps=80):
    """(steps + 1, 2) The parameters after each step."""
    path, m = [np.array([-7.0, 2.0])], np.zeros((2, 2))
    for t in range(1, steps + 1):
        path.append(path[-1] + rule(slope(*path[-1]), m, t, rate))
    return np.array(path)


settings = {
    "SGD": (sgd, 0.3),
    "momentum": (momentum, 0.1),
    "Adagrad": (adagrad, 0.5),
    "RMSprop": (rmsprop, 0.1),
    "Adam": (adam, 0.4),
}
paths = {name: descend(*how) for name, how in settings.items()}

# %% tags=["hide-input"]
x, y = np.linspace(-8, 4, 97).round(3), np.linspace(-2.6, 2.6, 53).round(3)
fig = figures.empty_figure(
    "The paths of five optimisers", "first parameter", "second parameter"
)
fig.add_contour(
    x=x, y=y, z=loss_at(*np.meshgrid(x, y)).round(2), colorscale="Greys",
    contours={"start": 0, "end": 5, "size": 0.2}, showscale=False,
    reversescale=True, opacity=0.35, hoverinfo="z", name="loss",
)  # fmt: skip


def shown_after(t):
    """What the figure shows after t steps."""
    past = [path[: t + 1].round(3) for path in paths.values()]
    sizes = [[3] * t + [13]] * len(past)
    return {
        "x": [p[:, 0] for p in past], "y": [p[:, 1] for p in past],
        "marker.size": sizes,
    }  # fmt: skip


ends = shown_after(80)
for i, name in enumerate(paths):
    fig.add_scatter(
        x=ends["x"][i], y=ends["y"][i], name=name, mode="lines+markers",
        line={"color": figures.LINES[i]}, marker={"size": ends["marker.size"][i],
        "symbol": i, "color": figures.LINES[i], "opacity": 1},
    )  # fmt: skip
steps = [
    {
        "label": str(t),
        "method": "restyle",
        "args": [shown_after(t), list(range(1, 6))],
    }
    for t in (0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40, 60, 80)
]
fig.update_layout(
    sliders=[{"steps": steps, "active": 15, "pad": {"t": 55},
              "currentvalue": {"prefix": "steps: "}}],
    legend={"yref": "paper", "y": 1.02, "yanchor": "bottom"}, height=520,
)  # fmt: skip
figures.show(fig, "Paths of five optimisers over a loss with a local minimum")

# %%
local = [name for name, path in paths.items() if path[-1, 0] < -3]
print("in the local minimum:", local)
assert local == ["SGD", "Adagrad", "RMSprop"]

# %% [markdown]
# Move the slider. SGD, Adagrad and RMSprop end in the local minimum, as the printed line says. *Momentum* adds a part of its last step to the next one, so it passes the local minimum. Adam does the same, and it scales the step of each parameter separately.
#
# Do Keras's optimisers make the same steps if they receive the same gradients?

# %%
optimizers = keras.optimizers
theirs = {
    "SGD": optimizers.SGD(0.3),
    "momentum": optimizers.SGD(0.1, momentum=0.9),
    "Adagrad": optimizers.Adagrad(0.5, initial_accumulator_value=0.0),
    "RMSprop": optimizers.RMSprop(0.1),
    "Adam": optimizers.Adam(0.4),
}

# %%
for name, optimizer in theirs.items():
    place = keras.Variable([-7.0, 2.0])
    for _ in range(20):
        g = slope(*place.numpy().astype(float)).astype("f4")
        optimizer.apply([tf.constant(g)], [place])
    apart = np.abs(place.numpy() - paths[name][20]).max()
    print(f"{name}: {apart:.0e} apart after 20 steps")
    assert apart < 5e-3

# %% [markdown]
# They do, up to rounding. A real network differs in two ways: it has thousands of parameters, and each gradient comes from one batch only, so it is noisy.
#
# :::{admonition} Exercise 2
# :class: exercise
# The learning rate also decides the path. Run SGD with rates of 0.05, 0.9 and 1.1, and describe each path. Why does the behaviour change at 1?
# :::

# %% tags=["hide-cell"]
# Solution
for rate in (0.05, 0.9, 1.1):
    x, y = descend(sgd, rate)[-1]
    print(f"rate {rate}: ends at ({x:.3g}, {y:.3g})")
# 0.05 ends in the local minimum. 0.9 passes it and changes from one side of the
# valley to the other, each time closer to the middle. Away from the local
# minimum, a step replaces y by (1 − 2 × rate) × y. Above a rate of 1 this
# factor is below −1, so y and the loss grow. If your loss grows, lower the rate.

# %% [markdown]
# ## 6. A choice of models
#
# The library has several models with the same input and output. The input is a window of steps and bands; the output is a probability for each class. Some models also use which steps were *seen*, and the day of the year.
#
# :::{admonition} Predict
# :class: predict
# Which has most parameters: two convolutions (`original`), three convolutions before a wide dense layer (`tempcnn`), a recurrent network (`lstm`), or attention (`transformer`)?
# :::

# %%
known = models.describe()
figures.show(
    known.reset_index().drop(columns="what"),
    "The models, their parameters for 24 steps, 12 bands and 7 classes",
)
asked = known.loc[["original", "tempcnn", "lstm", "transformer"], "parameters"]
print("most parameters:", asked.astype(int).idxmax())
assert asked.astype(int).idxmax() == "tempcnn"

# %%
shape = {"steps": T, "bands": C, "classes": K}
padding = {"padding": "valid" if T >= 10 else "same"}  # it needs 10 steps
network = models.build("original", **shape, **padding)
flat = network.layers[-2].kernel.shape[0]  # inputs of the first dense layer
original = [64 * (5 * C + 1), 64 * (5 * 64 + 1), 50 * (flat + 1), K * 51]
print("the original's parameters, layer by layer:", original)
assert sum(original) == network.count_params()

# %%
tempcnn = models.build("tempcnn", steps=24, bands=12, classes=7)
in_layers = models.layer_table(tempcnn)
three = in_layers.sort_values("parameters").tail(3)
print(wording.shown(three).to_string(index=False))
largest = in_layers.loc[in_layers["parameters"].idxmax(), "layer"]
assert largest.startswith("dense")
assert in_layers["parameters"].max() > in_layers["parameters"].sum() / 2

# %% [markdown]
# TempCNN has most, and the last line shows why: more than half of its parameters are in one dense layer, not in its convolutions. With more parameters a network can fit more, noise included.
# A recurrent network reads one step after the other and keeps a state. With attention each step can use all other steps, and steps without an image can be ignored. The table names the papers; the [bibliography](../../book/en/bibliography.md) has them all.
#
# ## 7. Train, and stop in time
#
# `training.fit` compiles the model with Adam and cross-entropy, and trains it on the batches of Lab 2. *Callbacks* are called between epochs. After each epoch the model is evaluated on the **validation** set. Its windows are the same in every epoch, so that epochs can be compared. **Early stopping** ends a training when the validation loss no longer improves.
# The loader knows two things that the original's network does not use: which steps were *seen*, and the *day of the year*. TempCNN can use both.
#
# :::{admonition} Predict
# :class: predict
# With `patience=8`, training ends when eight epochs in a row have not improved the validation loss. Which weights should be kept: the last or the best? And can this ever happen with a patience of 40 in 40 epochs, as the original had it?
# :::

# %%
import shutil

from arsetlib import training

runs = here.work / "lab3"
shutil.rmtree(runs, ignore_errors=True)  # else finished runs are used again
recipe = {
    "epochs": 3 if here.small else 60,
    "patience": 2 if here.small else 8,
    "batch": 256,
    "seed": 1,
    "progress": here.bars,
    "missing": "allow" if here.small else "refuse",
}

# %%
extras = {"seen": True, "calendar": True}
cnn = training.fit(
    "tempcnn", sides, study, folder=runs / "cnn", options=extras, **recipe
)
losses = cnn.history["val_loss"]
figures.show(
    figures.learning_curves(cnn.history, study=study),
    "Loss and score by epoch, on training and validation windows",
)


# %% [markdown]
# Now the rule of early stopping by hand. Does it find the same epochs as Keras?


# %%
def stop(losses, patience):
    """(last epoch, best epoch), counted from 1."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return epoch + 1, best + 1


# %%
last, best = stop(losses, recipe["patience"])
print(f"stopped after epoch {last}, best epoch {best}")
assert (last, best) == (len(losses), cnn.notes["best_epoch"])
if delta:
    assert losses[0] > min(losses)

ever_worse = np.arange(40.0)  # no epoch improves
assert stop(ever_worse, 40)[0] == 40, "a patience of 40 stopped early"

# %% [markdown] tags=["answer"]
# The best weights should be kept, and they were: the star in the figure marks their epoch. With a patience of 40, a training of 40 epochs never stops early, not even if every epoch is worse than the one before.
#
# Which weights does the network have after the training? This depends on `restore_best_weights`. Measure it on a network that becomes worse with every epoch:


# %%
def worse_and_worse(restore):
    """Validation loss of each epoch, and that after the training."""
    dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([layers.Input((1,)), dense])
    model.compile(keras.optimizers.SGD(-0.1), "mse")  # in the wrong direction
    x, y = np.ones((32, 1)), np.zeros((32, 1))
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=6, restore_best_weights=restore
    )
    how = {"epochs": 6, "callbacks": [stopping], "verbose": 0}
    done = model.fit(x, y, validation_data=(x, y), **how)
    return done.history["val_loss"], model.evaluate(x, y, verbose=0)


# %%
for restore in (False, True):
    by_epoch, left = worse_and_worse(restore)
    print(f"restore_best_weights={restore}: {len(by_epoch)} epochs")
    print(f"    best {min(by_epoch):.2f}, last {by_epoch[-1]:.2f}, ", end="")
    print(f"after training {left:.2f}")
    expected = min(by_epoch) if restore else by_epoch[-1]
    assert np.isclose(left, expected)

# %% [markdown]
# Both trainings ran to the last epoch. Without `restore_best_weights=True` the network has the last weights. With it, this version of Keras restores the best weights, even though the callback did not stop the training. `training.fit` sets it.
# The original course had a patience as long as the training and did not set it. So it trained to the end, and the last weights were kept. `training.fit` refuses such a patience:

# %%
import textwrap

message = ""
try:
    training.fit("original", sides, study, epochs=40, patience=40)
except training.TrainingError as error:
    message = str(error)
print(textwrap.fill(message, 78))
assert "never fire" in message

# %% [markdown]
# | callback | what it does here |
# |---|---|
# | `EarlyStopping` | ends a training that no longer improves, restores the best weights |
# | `ModelCheckpoint` | writes the best network so far to disk |
# | `BackupAndRestore` | if a run was killed, the same call continues it and ends with the same weights |
# | `TensorBoard` | writes curves, graph, histograms and pictures for the next section |
# | `LearningRateScheduler` | lowers the rate during training; so does a schedule as `learning_rate` |
# | `LambdaCallback` | calls your own function at the end of an epoch |
#
# ## 8. Read TensorBoard
#
# TensorBoard is a web page that shows what a run has written. In Colab, Databricks or Jupyter open it in a cell. Elsewhere start it in a terminal and open the address that it prints:
#
# ```
# %load_ext tensorboard
# %tensorboard --logdir data/lab1-…/lab3            # in a notebook
#
# tensorboard --logdir data/lab1-…/lab3             # in a terminal
# ```
#
# *Scalars* and *Time series* show losses and scores by epoch. *Graphs* shows the computation, *Distributions* and *Histograms* the weights. *Images* shows a confusion matrix of each epoch. *Text* and *HParams* show the settings of the run. *Projector* (embeddings) and *Audio* are not used here.
# A page of this book cannot run TensorBoard's server. But any program can read its files, so the next cells show the same numbers and pictures.
#
# :::{admonition} Predict
# :class: predict
# After the first epoch, which is higher: accuracy, to which large classes contribute most, or macro-F1, to which all classes contribute equally?
# :::

# %%
logged = training.scalars(runs / "cnn" / "logs")
print(", ".join(logged.columns))
assert np.allclose(logged["validation/epoch_loss"], losses, atol=1e-5)

# %%
found_by = logged[
    ["validation/epoch_categorical_accuracy", "validation/epoch_macro_f1"]
]
found_by = found_by.set_axis(["accuracy", "macro-F1"], axis=1)
fig = figures.lines(
    found_by, "Validation scores by epoch", "epoch", "score", study=study
)
figures.show(fig, "Accuracy and macro-F1 on the validation, from TensorBoard")
print(found_by.loc[[1, best]].round(2).to_string())
if delta:
    assert found_by.loc[1].iloc[0] > found_by.loc[1].iloc[1]

# %% tags=["hide-input"]
from matplotlib.figure import Figure

pictures = training.pictures(runs / "cnn" / "logs")


def picture(epoch):
    fig = Figure(figsize=(5.6, 5.6))
    axes = fig.add_axes((0, 0, 1, 1))
    axes.imshow(pictures[epoch - 1])
    axes.axis("off")
    return fig


epochs = [e for e in (1, 2, 4, 8, 16) if e < len(pictures)] + [len(pictures)]
alt = "TensorBoard's picture of the confusion matrix, simulated data."
figures.knob(picture, alt, epoch=epochs)
assert len(pictures) == len(losses)

# %% [markdown]
# In the delta accuracy is higher: macro-F1 is low as long as the model does not find small classes. In the pictures the rows are the true classes, and the diagonal shows which share of each class was found. Compare the first epoch with the last.
#
# ### The profiler
#
# The slides also show the *Profile* page of a run. It says how long a training step waits for its input. The next cells measure the same for this run with a stopwatch, as in Lab 2, section 12.
# To see the page itself, train with `profile=(10, 20)`; it needs the plug-in `xprof`, and may not run on Databricks.
#
# :::{admonition} Predict
# :class: predict
# In the slide's run a step takes 30.1 ms, 25.2 of them input. The device computes for 0.4 ms. How much of the step would a device ten times as fast save?
# :::

# %%
slide = {
    "input": 25.2,
    "compile": 0,
    "output": 0,
    "kernel launch": 1.1,
    "host compute": 0.2,
    "device compute": 0.4,
}
slide["all else"] = 30.1 - sum(slide.values())
saved = 0.9 * slide["device compute"] / 30.1
print(f"ten times as fast a device saves {saved:.1%} of the step")
assert saved < 0.02

# %%
timed = models.build("original", **shape, **padding)
timed.compile("adam", "categorical_crossentropy")
batches = samples.batches(sides["train"], study, cnn.scaler, batch=256)

# %%
import time

took = []
while len(took) < 40:
    inputs = iter(batches)
    for _ in range(len(batches)):
        began = time.perf_counter()
        x, y = next(inputs)
        received = time.perf_counter()
        timed.train_on_batch(x, y)
        took.append((received - began, time.perf_counter() - received))
waited, worked = 1000 * np.median(took[5:], axis=0)

# %%
steps_ms = pd.DataFrame(
    {"the slide's run": slide, "here": {"input": waited, "all else": worked}}
)
fig = figures.bars(
    steps_ms.T.fillna(0), "Time of a training step", "ms", text=".1f"
)
figures.show(fig, "Milliseconds of a step by part, in the slide and here")
input_share = steps_ms.loc["input"] / steps_ms.sum()
print("share of the step that waits for input:")
print((100 * input_share).round(1).to_string())
assert abs(input_share["the slide's run"] - 0.839) < 0.005
if delta:
    assert input_share["here"] < input_share["the slide's run"]

# %% [markdown]
# A device ten times as fast would save less than 2 % of the step, because the step waits for its input most of the time. TensorBoard calls this *highly input-bound*. Then improve the loading first (Lab 2). (The slide gives rounded parts, so its own share differs in the last digit.)
#
# ## 9. Too small, too large
#
# A model can fail in two ways. *Underfitting*: it has too few parameters for the task, and both losses stay high. *Overfitting*: it has so many parameters that it memorises the training rows. The training loss continues to fall, while the validation loss rises.
#
# :::{admonition} Predict
# :class: predict
# Three runs: the small network with one kernel, on all rows; the original's network, on all rows; TempCNN, the largest, on one row in forty. Which one underfits, and which one overfits?
# :::

# %%
rng = np.random.default_rng(1)
few = rng.random(len(sides["train"])) < (0.5 if here.small else 1 / 40)
few_sides = sides | {"train": sides["train"].pick(few, "train")}
print(f"{few.sum()} of {few.size} training rows")

# %%
longer = 4 if here.small else 40
to_the_end = recipe | {
    "epochs": longer,
    "patience": longer - 1,
    "missing": "allow",
    "learning_rate": 3e-3,
}
most = 4 if here.small else 100
on_few = to_the_end | {"batch": 16, "epochs": most, "patience": most - 1}

# %%
narrow = {"filters": 1, "units": 2} | padding
no_dropout = {"dropout": 0.0}
tried = {
    "too small": training.fit(
        "toy", sides, study, options=narrow, **to_the_end
    ),
    "the original's": training.fit(
        "original", sides, study, options=padding, **to_the_end
    ),
    "too large": training.fit(
        "tempcnn", few_sides, study, options=no_dropout, **on_few
    ),
}

# %%
figures.knob(
    lambda run: figures.learning_curves(
        tried[run].history, study=study, title=run
    ),
    "Loss and accuracy by epoch, on training and validation windows.",
    run=list(tried),
)

# %%
curves = {
    name: pd.DataFrame(run.history).tail(5).mean()
    for name, run in tried.items()
}
ends = pd.DataFrame(curves).T[
    ["categorical_accuracy", "val_categorical_accuracy"]
]
ends.columns = ["training", "validation"]
ends["difference"] = ends["training"] - ends["validation"]
figures.show(ends.reset_index(names="run"), "Accuracy of the last five epochs")

# %%
over = tried["too large"].history["val_loss"]
print(f"validation loss of 'too large': best {min(over):.2f}, ", end="")
print(f"last {over[-1]:.2f}")
if delta:
    assert ends["training"].idxmin() == "too small"
    assert ends["difference"].idxmax() == "too large"
    assert over[-1] > min(over)

# %% [markdown]
# In the delta the run 'too small' underfits: its training accuracy is the lowest of the three. The run 'too large' overfits: its difference between training and validation is the largest, and its validation loss rises after its best epoch. A part of each difference can have another cause: the validation set has other fields, and in the delta another year.
# Random windows give another window of a row in each epoch. But they add no fields: the few rows come from few fields.
#
# :::{admonition} Exercise 3
# :class: exercise
# Name three remedies for overfitting and try one on the last run: early stopping, dropout, fewer filters, more rows. `models.options_of("tempcnn")` lists the options; `training.fit(…, options={…})` sets them.
# :::

# %% tags=["hide-cell"]
# Solution: early stopping costs nothing. Compare the others with no remedy.
more = rng.random(len(sides["train"])) < 1 / 4
more_sides = sides | {"train": sides["train"].pick(more, "train")}
remedies = {
    "dropout": (few_sides, {"dropout": 0.5}),
    "more rows": (more_sides, no_dropout),
}
print(f"early stopping: validation loss {min(over):.2f}")
print(f"no remedy: {over[-1]:.2f} after the last epoch")
for name, (rows, options) in remedies.items():
    done = training.fit("tempcnn", rows, study, options=options, **on_few)
    print(f"{name}: {done.history['val_loss'][-1]:.2f} after the last epoch")

# %% [markdown]
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. Leave the notebook open during the pause. If you closed it, run the cells again from the top.
# :::
#
# ## 10. Hyper-parameters
#
# You must choose the settings that training does not learn, such as filters, dropout and learning rate. *Optuna* tries settings, learns which regions are good (TPE, a Bayesian method), and *prunes* trials: it stops those that are worse than the median of the trials before.
# Each time you look at a set, your choices adapt to it. So settings are chosen on the **validation**, and the test set is used once, at the end.
#
# :::{admonition} Predict
# :class: predict
# The learning rate is drawn between 0.0001 and 0.01. Should it be drawn evenly, or evenly in its logarithm?
# :::

# %%
space = {
    "options.filters": [8, 32, 64],
    "options.dropout": {"low": 0.1, "high": 0.7},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
brief = recipe | {
    "epochs": 3 if here.small else 10,
    "patience": 2 if here.small else 5,
    "tensorboard": False,
    "options": padding,
}

# %%
search = training.search(
    space, sides, study, model="original", pruner="median",
    trials=2 if here.small else 8, **brief,
)  # fmt: skip
result = search.table.rename(columns=lambda c: c.removeprefix("options."))
hidden = ["error", "seconds", "epochs", "parameters"]
figures.show(
    result.drop(columns=hidden).round(4).astype(str),
    "Trials of the search, the best first",
)
assert search.study.best_value == search.table["val_macro_f1"].max()
assert 1e-4 <= search.best["learning_rate"] <= 1e-2

# %% tags=["hide-input"]
by_epoch, dashes = {}, []
for trial in search.study.trials:
    pruned = trial.state.name == "PRUNED"
    name = f"{trial.number}: rate {trial.params['learning_rate']:.1g}"
    by_epoch[name + ", pruned" * pruned] = pd.Series(trial.intermediate_values)
    dashes.append("dot" if pruned else "solid")
by_epoch = pd.DataFrame(by_epoch)
by_epoch.index += 1
fig = figures.lines(
    by_epoch, "The trials of the search", "epoch", "macro-F1, validation",
    study=study, dashes=dashes, height=420,
)  # fmt: skip
figures.show(fig, "Macro-F1 on the validation by epoch, for each trial")

# %%
rng = np.random.default_rng(0)
evenly = rng.uniform(1e-4, 1e-2, 1000)
in_logarithm = np.exp(rng.uniform(np.log(1e-4), np.log(1e-2), 1000))
for name, rates in (("evenly", evenly), ("in logarithm", in_logarithm)):
    print(f"{name}: {(rates < 1e-3).mean():.0%} of the rates below 0.001")
assert (evenly < 1e-3).mean() < 0.15 < 0.45 < (in_logarithm < 1e-3).mean()

# %% [markdown]
# Evenly in its logarithm: what counts is the factor between two rates, and half of the range in factors is below 0.001. If rates are drawn evenly, few are that small, as the printed lines show. Dotted trials, if there are any, were pruned, which saved their time.
# So few trials give a first hint only. The same setting with another seed gives another score, so a small difference can be chance. With `storage="search.db"` a search is kept and can be continued; `optuna.visualization` has more figures of `search.study`.
#
# ---
#
# **The rest of the lab is about the test**: rows that were used neither for training nor for a choice.
#
# ## 11. Take the randomness out
#
# A training loader draws other windows and images in each epoch. This is right in training and wrong in a test: if a score changes when you compute it again, you cannot compare it with another score.
#
# :::{admonition} Predict
# :class: predict
# Test the same model on the same rows twice, with random windows. Are the two accuracies equal? And with fixed starts?
# :::

# %%
test = sides["test"]
random_windows = samples.Loader(
    test, study, cnn.scaler, start="random", extras=cnn.needs, batch=len(test)
)
drawn = []
for epoch in (0, 1):
    x, y = random_windows.batch(epoch, 0)
    drawn.append(float((cnn.predict(x).argmax(1) == y.argmax(1)).mean()))
print("random windows:", np.round(drawn, 4))
assert drawn[0] != drawn[1]

# %%
first, last = study.season.first_day, study.season.last_day
STARTS = [*range(first, last, 15), last]  # days of the year
p = cnn.predictions(test, STARTS)
again = cnn.predictions(test, STARTS)
print("fixed windows: ", [round(q.confusion().accuracy, 4) for q in (p, again)])
print(p)

assert np.array_equal(p.truth, again.truth)
assert np.array_equal(p.probability, again.probability)
assert len(p) == random_windows.counts["samples"] * len(STARTS)

# %% [markdown]
# With random windows the accuracies differ. With fixed starts, and the clearest image of each step instead of a random one, all probabilities are exactly equal. As in the original's test the starts are 15 days apart, so each row is predicted at each stage of the season.
#
# ## 12. Which score?
#
# A *confusion matrix* counts how often each class was taken for each other one: rows are the truth, columns the predictions. All scores are made from it. *Recall* is the share of a true class that was found; *precision* is the share of the predictions of a class that are right.
#
# :::{admonition} Predict
# :class: predict
# A model predicts a class rarely, but correctly. Which is high, its precision or its recall?
# :::

# %%
from arsetlib import evaluation

whole = p.confusion()
counts = np.zeros((K, K), int)
np.add.at(counts, (p.truth, p.predicted), 1)
recall = np.diag(counts) / counts.sum(1).clip(1)  # of the truth: rows
precision = np.diag(counts) / counts.sum(0).clip(1)  # of the predictions

assert np.array_equal(counts, whole.counts)
assert np.allclose(recall, np.nan_to_num(whole.recall))
assert np.allclose(precision, np.nan_to_num(whole.precision))

# %%
figures.knob(
    lambda shares: figures.confusion(
        whole, shares, study=study, title="All dates of the test"
    ),
    "Confusion matrix of the test, all dates.",
    shares={"of the truth": "truth", "of the predictions": "prediction"},
)

# %%
each = whole.table()
figures.show(
    each.reset_index().drop(columns="iou"),
    "Each class: samples, precision, recall, F1",
)
rarely = evaluation.Confusion.from_counts([[90, 0], [9, 1]])
print(f"1 of 10 found: precision {rarely.precision[1]:.1f}, ", end="")
print(f"recall {rarely.recall[1]:.1f}")
assert (rarely.precision[1], rarely.recall[1]) == (1.0, 0.1)

# %% [markdown]
# Its precision is high and its recall is low, as the small example shows. Now choose in the menu of the matrix. Normalised by *truth*, each row sums to 100 % and the diagonal is recall. Normalised by *prediction*, as in the original notebooks, each column sums to 100 % and the diagonal is precision. Then you cannot see which share of a class was *missed*. So state whether rows or columns sum to 100 %.
#
# How good is the model compared with one that always gives the same answer?

# %%
constant = evaluation.majority(whole)
for name, c in (("network", whole), ("always the same", constant)):
    print(f"{name}: accuracy {c.accuracy:.2f}, ", end="")
    print(f"balanced accuracy {c.balanced_accuracy:.2f}, ", end="")
    print(f"macro-F1 {c.macro_f1:.2f}")
assert np.isclose(constant.balanced_accuracy, 1 / (each["truth"] > 0).sum())
assert max(constant.macro_f1, constant.balanced_accuracy) < constant.accuracy

# %% [markdown]
# For the constant answer, the commonest class, accuracy is higher than balanced accuracy and macro-F1. These two give each class the same weight, and the constant answer finds one class only. So report them together with every accuracy.
#
# ## 13. When: accuracy by date
#
# :::{admonition} Predict
# :class: predict
# Windows can end early, in the middle or late in the season. When is accuracy highest? Think of which class is *true* after harvest.
# :::

# %%
dates = evaluation.by_date(p)
figures.show(
    figures.by_date(dates, study=study),
    "Accuracy by date of prediction, for all classes and for single crops",
)

# %%
crops = evaluation.single_crops(study.legend)
late = dates.loc[[dates["accuracy"].idxmax()]].T.squeeze()
print(f"best accuracy, on {late.name}: {late['accuracy']:.2f}")
print(f"of {', '.join(crops)} alone, that day: {late['crops_accuracy']:.2f}")
print(f"share of the truth that is one of them: {late['crops_share']:.2f}")
print(f"best for these alone: {dates['crops_accuracy'].idxmax()}")
if delta:
    assert late.name > dates["crops_accuracy"].idxmax()
    assert late["accuracy"] > late["crops_accuracy"] + 0.1

# %% [markdown]
# The first printed line answers the question. In the delta accuracy of all classes is highest late in the season. This does not show skill. In autumn most fields are bare. Their true class is then 'No Crops Growing' by the rule of Lab 2, and bare soil is easy to recognise. For the *crops* alone the score is highest earlier, on the date of the last line.
# The original course published the same rise and interpreted it as skill. State which classes a score is about, and show the constant answer with it: the figure has its line.
#
# ### From which day on?
#
# A user asks in another way: from which date on can I rely on a class? Let 'rely' mean an F1 of at least 0.7. But on how many dates: once, three times in a row, or on all later dates? Compare the three:

# %%
earliest = evaluation.earliest_dates(p, 0.7, least=5 if here.small else 30)
f1 = evaluation.f1_by_date(p)[earliest.index]
fig = figures.lines(
    f1, "F1 of each crop by date", "last day of the window", "F1", study=study
)
figures.show(fig, "F1 of the single crops by the last day of the window")

# %%
three = (f1 >= 0.7)[::-1].rolling(3).min()[::-1] == 1  # this and the next two
since = three.idxmax().where(three.any())
shown = pd.DataFrame(
    {
        "once": earliest["date"],
        "three in a row": pd.to_datetime(since),
        "all later dates": earliest["stays"],
    }
)

# %%
as_text = shown.map(lambda d: "never" if pd.isna(d) else wording.day(d))
as_text["best F1"] = earliest["best_f1"].round(2)
figures.show(
    as_text.rename_axis("crop").reset_index(),
    "From when on the F1 of a crop is at least 0.7",
)
late_f1 = f1.iloc[-1].round(2).to_dict()
print("F1 on the last date:", late_f1)
for name, date in pd.to_datetime(since).dropna().items():
    assert (f1.loc[f1.index >= date.date(), name].head(3) >= 0.7).all()

# %% [markdown]
# The dates differ between crops, because their calendars differ. If 'once' is earlier than 'three in a row', the line rose above 0.7 and fell below it again. One date can be chance, so use 'three in a row'. 'All later dates' is stricter: after harvest few pixels still have the crop as their true class, and its line can fall. 'Never' is an answer, too: tell the user, and do not lower the limit afterwards.
#
# :::{admonition} Exercise 4
# :class: exercise
# Where are the errors? Take the predictions of one date in summer and print accuracy by block (`evaluation.by_block`). Are a few blocks bad, or all of them a little? `p.pick(mask)` selects predictions.
# :::

# %% tags=["hide-cell"]
# Solution
chosen = dates["crops_accuracy"].idxmax()
summer = p.pick(p.last == np.datetime64(chosen, "D").astype(int))
blocks = evaluation.by_block(summer)
listed = blocks[["samples", "accuracy", "majority_accuracy"]].round(2)
print(wording.shown(listed).to_string())
print(
    "quarters:", blocks["accuracy"].quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
)
# A block has few fields, and pixels of one field are often right or wrong
# together. So thousands of pixels are only as many independent answers as there
# are fields. Therefore the intervals in the figure by date draw whole blocks.

# %% [markdown]
# ## 14. Where: the map
#
# Now predict each pixel of the box, for the date on which the crops alone had the best score. Beside the map the figure shows the labels, and where the two differ.
#
# :::{admonition} Predict
# :class: predict
# Are errors spread over the map like noise, or in groups? If a pixel is wrong, how often is its neighbour wrong?
# :::

# %%
year = int(test.column("year").max())
labels = here.labels()[year]
out = runs / "maps"
how = {"area": box.key, "year": year, "progress": here.bars}
season = maps.predict(cnn, table, STARTS, out, **how)
print(season[0])
assert len(season) == len(STARTS)

# %%
by_start = evaluation.score_table(p, "day_of_year", repeats=0)
best_start = int(by_start["crops_accuracy"].idxmax())
summer_map = season[STARTS.index(best_start)]
figures.show(
    figures.prediction_map(summer_map, labels=labels, study=study),
    "Map of predicted classes, of labels, and of where the two differ",
)

# %%
on_map = maps.compare(summer_map, labels)
print(f"{on_map.accuracy:.2f} of {on_map.total:,.0f} pixels agree")

rows = samples.Rows.of(table)
in_box = (rows.column("area") == box.key) & (rows.column("year") == year)
q = cnn.predictions(rows.pick(in_box), best_start)
assert np.array_equal(on_map.counts, q.confusion().counts)

# %% [markdown]
# The map is made with the same windows, scaler and model as the test, so both give the same counts, as the assert tests. Each map is written as COGs (class, probability, entropy, margin) that contain the legend; QGIS opens them.
#
# Are errors in groups? Put the pixels on a grid, and look at the right-hand neighbour of each wrong pixel:

# %%
column = np.unique(q.x, return_inverse=True)[1]
row = np.unique(-q.y, return_inverse=True)[1]
wrong = np.full((row.max() + 1, column.max() + 1), np.nan)
wrong[row, column] = q.predicted != q.truth
left, right = wrong[:, :-1], wrong[:, 1:]
beside = np.nanmean(right[left == 1])
print(f"{np.nanmean(wrong):.0%} of all pixels are wrong,")
print(f"{beside:.0%} of the pixels beside a wrong one")
if delta:
    assert beside > 1.5 * np.nanmean(wrong)

# %%
from scipy import ndimage

labelled = np.full(wrong.shape, -1)
labelled[row, column] = q.truth
highest = ndimage.maximum_filter(labelled, 3)
at_edge = highest != ndimage.minimum_filter(labelled, 3)
for where, mask in (("at an edge of labels", at_edge), ("elsewhere", ~at_edge)):
    print(f"{where}: {np.nanmean(wrong[mask]):.0%} are wrong")
assert at_edge.any()

# %% [markdown] tags=["answer"]
# In the delta errors are in groups: a pixel beside a wrong one is wrong much more often than any pixel. The last two lines compare pixels at edges, where two labels meet, with all others. The labels are the output of a classifier, too, so a difference is not always an error of the network.
#
# ### The season
#
# :::{admonition} Predict
# :class: predict
# Move the slider through the dates. Which class covers most of the box on the first date? Which crop is the first on more than 2 % of the box?
# :::

# %%
figures.show(
    figures.prediction_map(
        season, labels=labels, study=study, title="Maps of the season"
    ),
    "Maps of predicted classes, labels and difference through the season",
)

# %%
gif = out / "season.gif"
animation = figures.season_gif(season, gif, labels=labels, study=study)
figures.show(animation, "The maps of the season as an animated picture")
print(f"picture for slides: {animation.stat().st_size / 1e6:.1f} MB")

# %%
mapped = np.ma.stack([m.read() for m in season])  # (dates, H, W)
shares = pd.DataFrame(
    [np.bincount(m.compressed(), minlength=K) for m in mapped],
    index=[m.last for m in season],
    columns=names,
)
shares = shares.div(shares.sum(axis=1).clip(1), axis=0)
fig = figures.lines(
    shares, "Area of each class", "last day of the window", "share of the box",
    study=study, height=430,
)  # fmt: skip
figures.show(fig, "Share of the box that is mapped as each class, by date")

# %%
of_crops = shares[[names[study.legend.keys.index(k)] for k in crops]]
print(f"most of the box, {shares.index[0]}: {shares.iloc[0].idxmax()}")
early = of_crops[(of_crops > 0.02).any(axis=1)].head(1)
for date, values in early.iterrows():
    print(f"first crop above 2 %, {date}: {values.idxmax()}")
changed = (np.ma.diff(mapped, axis=0) != 0).sum(axis=0)  # without no-data
print(f"{(changed > 0).mean():.0%} of the pixels change their class")
assert np.allclose(shares.sum(axis=1), 1)

# %% [markdown]
# The printed lines answer the questions. The last one says how many pixels change their class during the season. A map of one date does not show this. So results need both space **and** time.
#
# ## 15. How sure is it?
#
# We use the outputs of the softmax as probabilities. Are they probabilities? Of all predictions with 80 %, 80 % should be right. A model for which this is true is *calibrated*.
#
# :::{admonition} Predict
# :class: predict
# The network was trained on few fields and tested on others. Is its mean probability above the share of right answers (overconfident) or below it (underconfident)?
# :::

# %%
figures.show(
    figures.reliability(evaluation.reliability(p, 10), study=study),
    "Share of right predictions by their probability",
)
confidence, accuracy = p.probability.max(1).mean(), whole.accuracy
word = "overconfident" if confidence > accuracy else "underconfident"
print(f"mean probability {confidence:.3f}, right {accuracy:.3f}: {word}")

# %%
scores = evaluation.calibration(p)
print(wording.shown(pd.Series(scores)).round(3).to_string())
assert np.isclose(
    scores["calibration_error"], evaluation.calibration_error(p, 15)
)

# %% [markdown]
# The printed word answers the question for all predictions together; the curve shows it for each probability. Below the diagonal the model is overconfident, above it underconfident.
#
# A *temperature* is one number, found on the validation, that makes all probabilities softer (above 1) or sharper (below 1) without changing any predicted class:

# %%
valid = cnn.predictions(sides["validation"], STARTS)
temperature = evaluation.Temperature.fit(valid)
scaled = temperature.apply(p)
print(f"temperature {temperature.value:.2f}, fitted on the validation")
for name, r in (("before", p), ("after", scaled)):
    print(f"calibration error {name}: {evaluation.calibration_error(r):.3f}")
assert np.array_equal(scaled.predicted, p.predicted)

# %% [markdown]
# The temperature corrects only what the validation set shows. If the calibration error of the test is larger after it, validation and test differ.
#
# *Entropy* measures how evenly the probability is spread over the classes. 0 means sure, 1 means that all classes are equally probable.

# %%
share = p.probability
entropy = -(share * np.log(share.clip(1e-9))).sum(1) / np.log(K)
unsure = entropy > np.quantile(entropy, 0.8)
right = p.predicted == p.truth
print(f"right among the surest four fifths: {right[~unsure].mean():.2f}")
print(f"right among the other fifth: {right[unsure].mean():.2f}")
if delta:
    assert right[~unsure].mean() > right[unsure].mean()

# %% [markdown]
# In the delta unsure predictions are wrong more often. So a map may leave them out, if it states how many.
#
# ## 16. The sparse class
#
# Some classes have few samples. In the delta and in the original this is 'Cultivated', which contains all crops without a class of their own: few rows, and very different ones. The model of the original found none of them in its test. We take the class with the fewest training samples; the cell prints its name.
#
# :::{admonition} Predict
# :class: predict
# `balance=True` gives samples of rare classes a larger weight in the loss, so that all classes count equally. What happens to the recall of the rarest class, and to the accuracy of all classes?
# :::

# %%
loader = samples.Loader(sides["train"], study, None, extras=("weight",))
class_counts, class_weights = loader.class_counts, loader.class_weights
there = class_counts > 0
sparse = int(np.where(there, class_counts, np.inf).argmin())
print(
    f"{names[sparse]}: {class_counts[sparse]:.0f} of {class_counts.sum():.0f}"
)

weighted = (class_counts * class_weights)[there]
assert np.allclose(weighted, weighted[0])
if delta:
    assert study.legend.keys[sparse] == "cultivated"

# %%
balanced = training.fit(
    "tempcnn", sides, study, options=extras, balance=True, **recipe
)
balanced_whole = balanced.predictions(test, STARTS).confusion()

# %%
both = {"as they come": whole, "balanced": balanced_whole}
compared = pd.DataFrame(
    {
        name: {
            "predicted": c.counts[:, sparse].sum(),
            "precision": c.precision[sparse],
            "recall": c.recall[sparse],
            "accuracy, all classes": c.accuracy,
            "macro-F1, all classes": c.macro_f1,
        }
        for name, c in both.items()
    }
).T
alt = f"'{names[sparse]}' without and with balanced weights, test"
figures.show(compared.reset_index(names="training"), alt)

# %%
gain = compared.loc["balanced"] - compared.loc["as they come"]
print(gain.round(3).to_string())
if delta:
    assert gain["predicted"] > 0
    assert gain["recall"] > 0
    assert gain["accuracy, all classes"] < 0

# %% [markdown]
# In the delta the network with weights predicts the rare class more often. Its recall rises, and the accuracy of all classes falls. The lines above say by how much, and what happens to precision. Weights add no new fields: the model still knows the class from few fields only.
# More fields of this class can help, or a narrower class, or no class of its own. The *definition* of a class matters: a class of unrelated crops may have no common pattern that a model could learn.
#
# ## 17. Compare models
#
# Compare the score with those of other models. Learners often ask for a *random forest*: many decision trees that vote. Its input is the window as one list of numbers. It does not know which steps are neighbours, and it needs no epochs.
#
# :::{admonition} Predict
# :class: predict
# Which model is best on this test: the forest, the original's network, or TempCNN, which also uses what was seen and the day of the year? Is the difference clear, or may it be chance?
# :::

# %%
common = {"progress": here.bars, "missing": recipe["missing"]}
forest = training.fit(
    "random_forest", sides, study, options={"trees": 100}, **common
)
original = training.fit("original", sides, study, options=padding, **recipe)

# %%
candidates = {
    "TempCNN with extras": p,
    "random forest": forest.predictions(test, STARTS),
    "original": original.predictions(test, STARTS),
}
ranking = evaluation.compare(candidates)

# %%
columns = ["accuracy", "macro_f1", "macro_f1_low", "macro_f1_high"]
columns += ["behind", "behind_low", "behind_high"]
figures.show(
    ranking[columns].round(3).reset_index(names="model"),
    "Models on the test; low and high are the ends of 95 % intervals",
)
winner, *others = [n for n in ranking.index if n in candidates]
for name in others:
    clear = ranking.loc[name, "behind_low"] > 0
    print(f"{winner} before {name}:", "clear" if clear else "may be chance")
if delta:
    assert ranking["macro_f1"].idxmin() == "majority baseline"

# %% [markdown]
# The first row is the best model on this test, and the printed lines say whether it is clearly better. `behind` is how much lower the macro-F1 of another model is. If its interval contains 0, this test cannot say which of the two models is better. The intervals come from drawing whole blocks many times, because pixels of one field are not independent.
# The [performance page](../../book/en/performance.md) compares models over several seeds. If the random forest is as good, use it, unless you need what only a network can do, such as further training on a few labels from another place.
#
# :::{admonition} Exercise 5
# :class: exercise
# Which bands does the network use? `evaluation.permutation_importance` gives each sample the band of another sample and measures how much the score falls. Try it for the window of the map. Why may each of two neighbouring bands look useless?
# :::

# %% tags=["hide-cell"]
# Solution
costs = evaluation.permutation_importance(
    cnn.predict, cnn.loader(test, best_start), study.channels, repeats=3
)
title = "Loss of macro-F1 if a band is exchanged"
fig = figures.bars(costs["drop"], title, "macro-F1", study=study, text=".3f")
figures.show(fig, "Macro-F1 lost when one band comes from other samples")
# Neighbouring bands hold similar information, so each can replace the other:
# exchange them together, with groups={"red edge": […], …}.

# %% [markdown]
# ## 18. What the original published
#
# The original course handed out its table of predictions, so its scores can be computed again. They are of **real data**, the lower Mississippi delta in 2019. Yours are of a **simulated** delta, unless you changed the source. Compare *patterns*, not which is better.

# %%
published = evaluation.published.arset_f1()
label = "this run, simulated" if study.simulated else "this run"
ours = pd.Series(whole.f1, study.legend.keys).reindex(published.index)
f1s = pd.DataFrame({"published 2024, real": published, label: ours})
f1s = f1s.rename(dict(zip(study.legend.keys, names, strict=True)))
fig = figures.score_bars(f1s, study=study, title="F1 by class: two data sets")
figures.show(fig, "F1 by class, published on real data and here")

# %% tags=["hide-input"]
theirs = evaluation.published.arset_by_start()
mine = by_start.reindex(theirs.index + 1)  # theirs count from 0
beside = theirs.rename(
    columns={
        "accuracy": "published",
        "four_crops": "published, four crops",
    }
)
beside["ours"] = mine["accuracy"].to_numpy()
beside["ours, single crops"] = mine["crops_accuracy"].to_numpy()
beside = beside.round(2).astype(str).replace("nan", "not known")
figures.show(
    beside.reset_index(names="first day, from 0"),
    f"Accuracy by first day of the window: published on real data; {label}",
)

# %%
print(wording.shown(evaluation.published.arset_overall()).to_string())
bare = evaluation.published.arset_fallow_share()
print(f"share of 'No Crops Growing' in its truth, day 180: {bare:.0%}")
assert published["cultivated"] == 0
assert bare > 0.5
assert theirs["accuracy"].idxmax() > theirs["four_crops"].idxmax()
if delta:
    assert by_start["accuracy"].idxmax() > by_start["crops_accuracy"].idxmax()

# %% [markdown]
# One pattern is the same in the published table and in the delta: accuracy of all classes is highest for late windows, accuracy of the single crops for earlier ones. In the published table no 'Cultivated' was found. For its latest start, 'No Crops Growing' is most of the truth.
#
# ## 19. Hectares
#
# The last question is often "how much?". Counting the pixels of a map is biased: if 1 % of a large class is mapped as rice, the area of rice is greatly overestimated. A random sample with known truth measures how often each mapped class is right. From this you can correct the area and give an interval (Olofsson and others, 2014).
# Here the labels are the truth of the sample. They have errors, too; the end of this section shows the consequence.
#
# :::{admonition} Predict
# :class: predict
# Suppose that you check *every* pixel against the labels. Which area does the estimate then give: that of the map, that of the labels, or that of the fields?
# :::

# %%
starts, which = p.groups("day_of_year")
in_summer = (p.area == box.key) & (p.year == year)
summer = p.pick(in_summer & (which == starts.index(best_start)))
land = maps.class_areas(labels, [box], study)
hectare = (land["hectares"] / land["pixels"]).iloc[0]  # of one pixel
print(f"{len(summer):,} pixels of {hectare:.3g} ha")

# %%
counted = np.bincount(summer.predicted, minlength=K)
mapped_ha = np.where(counted >= 2, counted, 0) * hectare
strata = np.flatnonzero(counted >= 2)  # one pixel has no spread
rng = np.random.default_rng(study.seed)
visited = [
    rng.permutation(np.flatnonzero(summer.predicted == k))[:50] for k in strata
]
visited = summer.pick(np.concatenate(visited))
areas = evaluation.stratified_areas(visited.confusion(), mapped_ha)
print(f"{len(visited)} of {len(summer):,} pixels checked")
assert np.isclose(areas.table["area"].sum(), mapped_ha.sum())

# %%
shown = areas.table[["mapped", "area", "area_low", "area_high"]].copy()
shown["labels"] = np.bincount(summer.truth, minlength=K) * hectare
figures.show(
    figures.areas(areas, study=study),
    "Share of each class: counted on the map, and estimated with its interval",
)
figures.show(
    shown.round(1).reset_index(),
    "Hectares: counted on the map, estimated with a 95 % interval, of labels",
)
inside = shown["labels"].between(shown["area_low"], shown["area_high"])
print(f"the interval holds the labels' area for {inside.sum()} of {K} classes")

# %%
off = shown[["mapped", "area"]].sub(shown["labels"], axis=0).abs().sum()
print("hectares away from the labels:", wording.shown(off.round(1)).to_dict())
if delta:
    assert off["area"] < off["mapped"]

kept = summer.pick(np.isin(summer.predicted, strata))
all_checked = evaluation.stratified_areas(kept.confusion(), mapped_ha)
of_labels = np.bincount(kept.truth, minlength=K) * hectare
assert np.allclose(all_checked.table["area"], of_labels)

# %% [markdown]
# If every pixel is checked, the estimate *is* the area of the labels: the last assert tests it. In the delta the small sample is already closer to the labels than the count of the map.
#
# But labels have errors, too. The simulation knows what really grew, before errors were put into the labels. So the same sample can be checked twice: against the labels, and by a visit to the field.


# %%
def truth_at(file, q):
    """Class numbers that a raster of codes gives to predictions."""
    codes, (west, east, _, north) = maps.read(file, box)
    side = (east - west) / codes.shape[1]
    row = ((north - q.y) / side).astype(int)
    column = ((q.x - west) / side).astype(int)
    classes = study.legend.classes_of(codes[row, column].astype(int))
    shows = green[row, column]  # the rule of the window, as for labels
    return samples.apply_vegetation_rule(classes, shows, study.legend)


green = summer_map.read("vegetation").filled(0) == 1
assert np.array_equal(truth_at(labels.path, summer), summer.truth)

# %%
truth_file = study.root / f"truth_{year}.tif"
knows_truth = study.simulated and truth_file.is_file()
if knows_truth:
    grown, at_visit = (
        truth_at(truth_file, summer),
        truth_at(truth_file, visited),
    )
    print(f"{(grown != summer.truth).mean():.1%} of the labels are wrong")
    one = at_visit >= 0  # two crops in one year are no class
    in_field = evaluation.Confusion.of(
        at_visit[one], visited.predicted[one], study.legend
    )
    by_visit = evaluation.stratified_areas(in_field, mapped_ha)
    shown["estimate by visits"] = by_visit.table["area"]
    shown["grown"] = np.bincount(grown[grown >= 0], minlength=K) * hectare
    assert (shown["grown"] - shown["labels"]).abs().sum() > 0
else:
    print("Nobody knows the truth of this place.")

# %%
if knows_truth:
    columns = ["area", "labels", "estimate by visits", "grown"]
    figures.show(
        shown[columns].round(1).reset_index(),
        "Hectares: estimated from labels and from visits, and their true values",
    )

# %% [markdown]
# The first estimate is one of the column 'labels', the second of the column 'grown'. Where these two columns differ, the first estimate inherits the error of the labels. A larger sample of labels cannot remove it: with every pixel checked, the result is exactly the area of the labels. The interval does not include this error.
# So a real estimate needs a better source for its sample than the labels that trained the model: visits to the fields, or a person who interprets images.
#
# ## 20. What the original test teaches
#
# Two crops in one year have two right answers. The original left such rows in its test. Their names were in no list of classes, so their 'truth' became 'Uncultivated'. What does a model predict for them?

# %%
from arsetlib import pixels

codes, when = (table[c].to_numpy() for c in ("label_code", "year"))
double = np.flatnonzero(study.legend.classes_of(codes) < 0)
print(f"{len(double)} rows of the table have a code that the legend excludes")
series = pixels.ragged(table)
channels = samples.Channels.of(study)


def predict_excluded(start):
    """(rows,) Class numbers of the excluded rows for one start."""
    days = samples.start_days(when[double], start)
    how = {"rows": double, "choose": "clearest", "channels": channels}
    w = samples.window(series, study.season, days, scaler=cnn.scaler, **how)
    x = {"series": w.x, "seen": w.seen}
    x["day_of_year"] = np.full(len(double), start, np.int32)
    return cnn.predict(x).argmax(1)


# %%
if len(double):
    predicted = {}
    for start, made in zip(STARTS[::2], season[::2], strict=True):
        counts = np.bincount(predict_excluded(start), minlength=K)
        predicted[wording.day(made.last)] = 100 * counts / len(double)
    predicted = pd.DataFrame(predicted, names).T
    fig = figures.bars(
        predicted, "Predictions for fields with two crops", "percent of them",
        study=study, colours=study.legend.colours, text=".0f",
    )  # fmt: skip
    figures.show(fig, "Classes predicted for double crops, by the last day")
    assert np.allclose(predicted.sum(axis=1), 100)
    if delta:
        assert predicted.idxmax(axis=1).nunique() > 1

# %%
excluded = np.isin(p.truth, np.arange(K), invert=True).sum()
print(f"{excluded} samples of the test have no single right answer")
assert excluded == 0

# %% [markdown]
# In the delta the commonest prediction changes during the season, because the crop on the field changes. If the true class is 'Uncultivated', each right answer counts as wrong. So a row without one right answer does not belong in a test, and a class list must not ignore an unknown name silently.
#
# | defect of the original | its effect | what prevents it here |
# |---|---|---|
# | a patience as long as the training, best weights not restored | training never stopped early, and the last weights were kept | `training.fit` refuses such a patience, and keeps the best epoch (section 7) |
# | randomness in the test | the score changes when it is computed again | fixed starts, the clearest image; an assert on equality (section 11) |
# | normalised by prediction | recall could not be seen | the title of the matrix states what sums to 100 % (section 12) |
# | accuracy of all classes by date | a late peak that is bare soil | a line for the crops alone, and one for the constant answer (section 13) |
# | double crops in the test | right answers counted as wrong | excluded by code, in all sets (section 20) |
# | Barley and others missing in the lists | crops became 'Uncultivated' | an unknown code is an error (Lab 2) |
# | one step too many, and valid padding | one error hid the other | shapes are stated and tested (section 3) |
#
# ## What you have learnt
#
# - A convolution uses a limited number of days. Padding and pooling decide which images have an effect, and no error message says it.
# - The loss is −log of the probability of the true class; its gradient is answer minus truth. Optimisers differ in what they keep from earlier steps.
# - The validation set decides when to stop and which settings to take; the test set is used once.
# - Curves distinguish underfitting from overfitting.
# - A test has no randomness, states what its shares sum to, and is compared with the constant answer.
# - Results need time *and* space, with intervals from drawn blocks, not pixels.
# - Probabilities, areas and maps each need their own check. Estimates inherit the errors of their labels.
#
# ## What if …
#
# - **… I have labels of my own elsewhere?** Train here, or on the CDL where farming is similar, then train further on yours: `arset train --from MODEL`. `training.learning_curve` shows how much a few labels help.
# - **… I want PyTorch, or JAX?** Scaler, windows and scores need no TensorFlow: `samples.arrays` and `samples.sequence` give the batches, `evaluation.Predictions` takes the probabilities of any model.
# - **… I have one or more graphics cards?** `training.fit(…, strategy="mirrored")`. Measure first how long a step waits for input (section 8).
# - **… which bands matter?** `evaluation.permutation_importance` exchanges one band at a time, `evaluation.leave_one_out` trains without it.
# - **… my score is too good?** Look for a leak: Lab 2, section 9.
# - **… I want all results on one page?** `figures.report(p, "report.html")`, or `arset evaluate` and `arset report`.
# - **… I want to go on?** Raise `epochs` in section 7 and `trials` in section 10, or take the real study in section 1.
