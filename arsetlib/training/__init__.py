"""Training: fit with callbacks, search hyper-parameters, fine-tune elsewhere, learn from few labels.

    sides = samples.split("data/pixels", study)
    trained = training.fit("tempcnn", sides, study, folder="runs/tempcnn", seed=1)

Keras and TensorFlow load when a network is trained, Optuna when a search begins.

Lab: part3_train_and_test.
"""

from arsetlib.training.fit import fit
from arsetlib.training.run import TrainingError

__all__ = ["TrainingError", "fit"]
