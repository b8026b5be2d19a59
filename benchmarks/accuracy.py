"""Macro-F1 and accuracy of every model and baseline on the simulated sample, as it would be used.

Trained on 2021, stopped on 2020, tested on 2019, and no spatial block is on two sides. Each model is trained with
seeds of its own on the same windows; a test predicts every row for windows that start from January to July. The
scores of all dates are those of one confusion. Macro-F1 is the mean over the seven classes; the commonest class stands
beside it. Nothing is timed, so the machine need not be quiet, but a full run takes some twenty minutes on two cores.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _sample
import measure
import numpy as np

from arsetlib import models, samples, training
from arsetlib.study import Study

STARTS = (1, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180, 195)
SEEDS = (0, 1, 2)
# The sample is small, 2,800 training rows: small batches and many epochs of new windows, alike for all networks.
BATCH, EPOCHS, PATIENCE = 256, 60, 20
RATE = 1e-3  # falls to 0 along a cosine: without that, scores swing from one epoch to the next
WINDOWS = 16  # epochs of windows that a baseline is fitted on: the forest still gained between 4 and 16


def score(name: str, sides: dict, study: Study, seed: int) -> dict[str, float]:
    """Train one model with one seed; its test scores."""
    options = {"seed": seed, "progress": False}
    if models.describe().loc[name, "kind"] == "baseline":
        options["epochs"] = WINDOWS
    else:
        import keras

        steps = EPOCHS * -(-len(sides["train"]) // BATCH)
        falling = keras.optimizers.schedules.CosineDecay(RATE, steps)
        options |= {"batch": BATCH, "epochs": EPOCHS, "patience": PATIENCE, "learning_rate": falling}
    trained = training.fit(name, sides, study, **options)
    predictions = trained.predictions(sides["test"], STARTS)
    confusion = predictions.confusion()
    crops = [i for i, c in enumerate(study.legend.classes) if c.crop and c.codes]
    return {
        "macro_f1": float(confusion.macro_f1),
        "accuracy": float(confusion.accuracy),
        "crops_f1": float(np.mean(confusion.f1[crops])),
        "validation_f1": float(np.nanmax(trained.history["val_macro_f1"])),
        "best_epoch": trained.notes["best_epoch"],
        "seconds": trained.notes["seconds"],
    }


def main() -> None:
    measure.arguments(__doc__)
    table, study = _sample.pixel_table()
    sides = samples.split(table, study)
    names = models.names()
    figures = measure.Figures("accuracy")
    mean, chosen_by = {}, {}
    for name in names:
        seeds = (0,) if name == "majority" else SEEDS
        runs = [score(name, sides, study, seed) for seed in seeds]
        of = {key: [run[key] for run in runs] for key in runs[0]}
        mean[name] = float(np.mean(of["macro_f1"]))
        chosen_by[name] = float(np.mean(of["validation_f1"]))
        sides_of = {f"seed {seed}": value for seed, value in zip(seeds, of["macro_f1"], strict=True)}
        sides_of |= {"spread": float(np.ptp(of["macro_f1"]))}
        sides_of |= {key: float(np.mean(of[key])) for key in runs[0] if key != "macro_f1"}
        figures.add(f"macro_f1_of_{name}", mean[name], None, "", sides_of)
    networks = [name for name in names if models.describe().loc[name, "kind"] == "keras"]
    best = max(networks, key=chosen_by.get)  # by the validation: choosing by the test would flatter
    for other, goal in (("original", 5), ("random_forest", 0)):
        pair = {name: mean[name] for name in dict.fromkeys((best, other))}
        figures.add(f"best_over_{other}", 100 * (mean[best] - mean[other]), goal, "points", pair)
    figures.finish()


if __name__ == "__main__":
    main()
