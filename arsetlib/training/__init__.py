"""Training: fit with early stopping, search hyper-parameters, pre-train without labels, fine-tune on few labels.

    sides = samples.split("data/pixels", study)
    trained = training.fit("tempcnn", sides, study, folder="runs/tempcnn", seed=1)

Keras and TensorFlow load when a network is trained, Optuna when a search begins.

Lab: part3_train_and_test.
"""

from arsetlib.training.events import pictures, scalars
from arsetlib.training.fit import Sampling, fit
from arsetlib.training.plan import Devices, Log, Plan, TrainingError
from arsetlib.training.pretrain import pretrain
from arsetlib.training.search import Search, search
from arsetlib.training.transfer import fine_tune, learning_curve, mean_and_spread

__all__ = [
    "Devices",
    "Log",
    "Plan",
    "Sampling",
    "Search",
    "TrainingError",
    "fine_tune",
    "fit",
    "learning_curve",
    "mean_and_spread",
    "pictures",
    "pretrain",
    "scalars",
    "search",
]
