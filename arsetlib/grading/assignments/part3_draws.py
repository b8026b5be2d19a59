"""What a learner draws for homework 3, and the choices of its reasoned questions."""

from __future__ import annotations

import numpy as np

from arsetlib.grading.assignments import shuffled
from arsetlib.translation import N_, _

# Choices and reasons → why they are wrong; for the right one this is empty.
VERDICTS = {
    "over": N_("It overfits"),
    "under": N_("It underfits"),
    "fits": N_("Both losses still fall: more epochs would improve it"),
    "asleep": N_("It has learnt nothing at all"),
}
SIGNS = {
    "over": N_("The training loss falls to the end, while the validation loss rises again"),
    "under": N_("Both losses stay high and close together to the end"),
    "fits": N_("The lowest validation loss of the whole record is not the one that was kept"),
    "asleep": N_("Its loss begins near log 7"),
}
LATE = {
    N_("The accuracy says little about crops: for a map of crops take a window of early summer"): "",
    N_("Wait: the later the window, the more of the season the model has seen"): (
        N_("All windows are equally long. Look at crops_accuracy in your own table")
    ),
    N_("The accuracy comes from a leak: late windows of the test were in the training"): (
        N_("The years differ, and a leak would raise the accuracy of all windows")
    ),
    N_("The accuracy is chance, of this forest's seed: take the mean over all starts"): (
        N_("Other seeds show the same rise, and a mean over dates hides the differences between dates")
    ),
}
LATE_REASONS = {
    N_(
        "By then most of the truth is 'No Crops Growing', which is easy, and few samples of the four crops are right"
    ): "",
    N_("The constant answer is at its weakest there, so the model's lead is largest"): (
        N_("Look at `constant` in your table: late in the season it is high")
    ),
    N_("Every window is equally long, so every start is equally hard"): N_(
        "Accuracy in your table says that they are not"
    ),
    N_("The test draws its windows at random, so any accuracy changes by that much"): (
        N_("Its starts and images are fixed: run it again, and you get the same numbers")
    ),
}
SEARCH = {
    N_("0.93 is too high: choose on the validation set, and use the test set once, at the end"): "",
    N_("0.93 can be promised, since no weight was ever trained on a row of the test"): (
        N_("The settings were chosen by their score on these rows")
    ),
    N_("0.93 can be promised if the forty were drawn at random and not taken from a grid"): (
        N_("How settings are proposed changes nothing: the best was picked by its score on the test")
    ),
    N_("0.93 is too low: train on the rows of the test as well, and score there again"): (
        N_("Then the model would have seen the test, and the score would say nothing about new fields")
    ),
}
SEARCH_REASONS = {
    N_("The best of forty is the best in part by chance, and this chance belongs to the rows of the test"): "",
    N_("Only weights are learnt from rows, settings are not, so settings cannot adapt to a set"): (
        N_("If you score forty settings on one set and keep the best, the choice adapts to that set")
    ),
    N_("In a random search each setting has the same chance, so the best is not the best by chance"): (
        N_("The more settings are tried, the larger the part of chance in the best")
    ),
    N_("More rows raise a score, whichever side they come from"): N_(
        "Rows of the test are for testing, not for training"
    ),
}


def draw(rng: np.random.Generator) -> dict:
    """A learner's own numbers."""
    network = {
        "steps": int(rng.integers(21, 39)),
        "bands": int(rng.choice([6, 10, 13])),
        "kernels": int(rng.integers(4, 10)),
        "width": int(rng.choice([3, 5, 7])),
        "pool": int(rng.integers(2, 5)),
        "dense": int(rng.integers(12, 30)),
        "classes": int(rng.integers(4, 10)),
    }
    stack = [(int(rng.choice([3, 5])), 1), (2, 2), (int(rng.choice([3, 5])), 1)]
    shares = (rng.dirichlet(np.full(7, 0.7)) * 0.93 + 0.01).round(3)
    slopes = [rng.uniform(0.8, 1.6), rng.uniform(0.4, 0.9), -rng.uniform(0.1, 0.3)]
    return {
        "network": network,
        "stack": stack,
        "step_days": int(rng.choice([6, 8, 10])),
        "shares": [float(share) for share in shares],
        "truth": int(rng.integers(7)),
        "slopes": [round(float(slope), 2) for slope in slopes],
        "rate": float(rng.choice([0.1, 0.2, 0.25, 0.4])),
        "run": record(rng),
        "verdicts": shuffled(rng, "abcd", VERDICTS.values()),
        "signs": shuffled(rng, "1234", SIGNS.values()),
        "forest": int(rng.integers(1, 10_000)),
        "late": shuffled(rng, "abcd", LATE),
        "late_reasons": shuffled(rng, "1234", LATE_REASONS),
        "search": shuffled(rng, "abcd", SEARCH),
        "search_reasons": shuffled(rng, "1234", SEARCH_REASONS),
        "visits": visits(rng),
    }


def record(rng) -> dict:
    """A run without early stopping: a rise shorter than the patience, the best epoch, a long rise, a late low value."""
    over = bool(rng.random() < 0.5)
    patience, best = int(rng.integers(4, 7)), int(rng.integers(10, 15))  # epochs, from 0
    epoch, left = np.arange(30), 29 - best
    low, floor, pace = (0.75, 0.15, 4) if over else (1.60, 1.57, 2.5)
    loss = floor + (1.9 - floor) * np.exp(-epoch / (7 if over else 3))
    valid = low + (1.93 - low) * np.exp(-epoch / pace) + rng.uniform(0.004, 0.012, 30)
    valid[best] = valid[:best].min() - 0.02
    valid[best - 3 : best] = valid[best] + 0.008 + np.r_[0, rng.uniform(0.01, 0.03, 2)]
    rise = (0.02 if over else 0.001) * np.arange(1, left + 1)
    valid[best + 1 :] = valid[best] + 0.012 + rise + rng.uniform(0, 0.01, left)
    valid[best + patience + 3] = valid[best] - 0.05  # after the epoch in which early stopping ends the run
    step_ms = {"input": rng.uniform(12, 30), "device": rng.uniform(1, 9), _("all else"): 2.5}
    return {
        "loss": loss.round(3).tolist(),
        "val_loss": valid.round(3).tolist(),
        "patience": patience,
        "step_ms": {part: round(float(ms), 1) for part, ms in step_ms.items()},
        "times_faster": int(rng.choice([4, 5, 8, 10])),
    }


def visits(rng) -> dict:
    """Hectares of a map, and visits: rows = truth, columns = mapped class."""
    mapped = rng.choice(np.arange(400, 900, 10), 4, replace=False) * np.array([12, 4, 2, 0.5])
    right = np.array([0.93, 0.85, 0.78, 0.7]) + rng.uniform(-0.05, 0.05, 4)
    counts = np.zeros((4, 4), int)
    for k in range(4):
        chances = np.full(4, (1 - right[k]) / 3)
        chances[k] = right[k]
        counts[:, k] = rng.multinomial(50, chances)
    return {"mapped_ha": mapped.tolist(), "counts": counts.tolist(), "class": int(rng.integers(1, 4))}
