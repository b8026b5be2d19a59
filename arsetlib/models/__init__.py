"""Models of a pixel's season, and baselines to compare them with; built by name, saved in one folder.

    model = models.build("tempcnn", steps=24, bands=12, classes=7)
    models.describe()                                   # all models with their sizes and papers
    models.load("runs/tempcnn")                         # a trained model of any kind, from its folder

Axes: B samples, T steps of the window, C channels, K classes. Neither Keras nor scikit-learn is imported before a
model needs it.

Lab: part3_train_and_test.
"""

from arsetlib.models.baselines import Baseline
from arsetlib.models.folder import load
from arsetlib.models.registry import ModelError, build, describe, layer_table, names, needs, options_of
from arsetlib.models.trained import Trained

__all__ = [
    "Baseline",
    "ModelError",
    "Trained",
    "build",
    "describe",
    "layer_table",
    "load",
    "names",
    "needs",
    "options_of",
]
