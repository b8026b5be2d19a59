"""Case study A: train a segmentation model, map whole captures of a flight, score them, count the trees.

    found = segment.fit("unet", sides, encoder="mobilenet", folder="runs/unet")       # a Segmenter
    segment.predict(found, "data/grove/images", "maps")                               # class PNG of each capture
    segment.evaluate(found, captures).table()                                         # the thesis's table
    trees = segment.count("maps", flight="data/grove/flight.json")                    # each tree once
    trees.score("data/grove/trees.geojson") ; trees.geojson("trees.geojson")

Axes: B tiles, H rows, W columns, C channels, K classes. Neither Keras nor scikit-image is imported before it is needed.

Lab: case_olive_groves.
"""

import lazy_loader

_HOMES = {
    "segmenter": ("Segmenter", "SegmentError", "load"),
    "prediction": ("predict",),
    "scoring": ("Boundary", "Evaluation", "boundary", "cost", "evaluate", "treeless"),
    "counting": ("Count", "count"),
    "crowns": ("instances",),
    "flight": ("Pose", "poses"),
    "training": ("fit", "verdict"),
    "runs": ("Run", "train_folder"),
    "tuning": ("Bandit", "search"),
    "losses": ("make_loss",),
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOMES)
