"""Case study A: olive groves from drone captures: find, check, cut, split, train, map, score, count.

    found = groves.captures("data/groves")
    sides = groves.split(found, seed=1)
    train = groves.batches(sides["train"], grid=(5, 7), size=224, batch=8, augment=True, seed=1)
    model = groves.fit("unet", sides, encoder="mobilenet", folder="runs/unet")         # a Segmenter
    groves.predict(model, "data/groves/images", "maps")                                # class PNG of each capture
    groves.evaluate(model, found).table()                                              # the thesis's table
    trees = groves.count("maps", flight="data/groves/flight.json")                     # each tree once
    trees.score("data/groves/trees.geojson") ; trees.geojson("trees.geojson")

Axes: B tiles, H rows, W columns, C channels, K classes. Neither Keras nor scikit-image is imported before it is
needed; reading pictures needs Pillow (``arsetlib[images]``).

Lab: case_groves.
"""

import lazy_loader

_HOMES = {
    "changes": ("Augment", "augment"),
    "classes": ("CLASSES", "IGNORE", "Classes", "GroveError"),
    "cutting": ("GRID", "Canvas", "Tiles", "cut", "places", "stitch"),
    "layouts": ("LAYOUTS", "Capture", "boxes", "captures", "read"),
    "loader": ("Loader", "arrays", "batches", "one_hot", "reduced", "reduced_mask"),
    "report": ("Report", "check"),
    "sides": ("Dealt", "LeakWarning", "ground_seen", "leaky_split", "split"),
    "segmenter": ("Segmenter",),
    "prediction": ("predict",),
    "scoring": ("Boundary", "Evaluation", "boundary", "cost", "evaluate", "treeless"),
    "counting": ("Count", "count"),
    "crowns": ("instances",),
    "flight": ("Pose", "poses"),
    "training": ("Network", "fit", "verdict"),
    "runs": ("train_folder",),
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOMES)
