"""How sure: sets of classes that contain the truth as often as promised, and where a model does not apply.

    rule = certainty.Conformal.fit(trained.predictions(sides["validation"], 120), alpha=0.1)
    certainty.coverage(rule, trained.predictions(sides["test"], 120), by="class")
    certainty.set_layer(prediction, rule)                    # a map with "cannot say"

    x, names = certainty.features(sides["train"], study, trained.scaler, 120)
    near = certainty.Applicability.fit(x, blocks)
    certainty.applicability_layer(near, "data/pixels", study, trained.scaler, 120, "far.tif", area="dense", year=2019)

Lab: part4_defend_the_map.
"""

from arsetlib.certainty.applicability import (
    Applicability,
    accuracy_by_dissimilarity,
    drift,
    features,
    weights_of,
)
from arsetlib.certainty.coverage import across, coverage
from arsetlib.certainty.layers import applicability_layer, legend_with_doubt, set_layer
from arsetlib.certainty.sets import CertaintyError, Conformal, certain

__all__ = [
    "Applicability",
    "CertaintyError",
    "Conformal",
    "accuracy_by_dissimilarity",
    "across",
    "applicability_layer",
    "certain",
    "coverage",
    "drift",
    "features",
    "legend_with_doubt",
    "set_layer",
    "weights_of",
]
