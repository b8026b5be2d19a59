"""Case study A: olive groves from drone captures: find, check, cut, split, train, map, score, count.

    captures = groves.captures("data/groves")
    sides = groves.split(captures, seed=1)
    train = groves.batches(sides["train"], grid=(5, 7), size=224, batch=8, augment=True, seed=1)
    model = groves.fit("unet", sides, encoder="mobilenet", folder="runs/unet")         # a Segmenter
    groves.predict(model, "data/groves/images", "maps")                                # class PNG of each capture
    groves.evaluate(model, captures).table()                                           # IoU as in the thesis
    trees = groves.count("maps", flight="data/groves/flight.json")                     # each tree once
    trees.score("data/groves/trees.geojson") ; trees.geojson("trees.geojson")

Axes: B tiles, H rows, W columns, C channels, K classes. Neither Keras nor scikit-image is imported before it is
needed; reading pictures needs Pillow (``arsetlib[images]``).

Lab: case_groves.
"""

import lazy_loader

_HOMES = {
    "classes": ("CLASSES", "IGNORE", "Classes", "GroveError"),
    "capture": ("Capture", "boxes", "read"),
    "layouts": ("LAYOUTS", "captures"),
    "report": ("CaptureCheck", "check"),
    "cutting": ("GRID", "Canvas", "Tiles", "cut", "places", "stitch"),
    "changes": ("Augment", "augment"),
    "sides": ("LeakWarning", "TileSplit", "ground_seen", "leaky_split", "split"),
    "tile_batches": ("TileBatches", "arrays", "batches"),
    "segmenter": ("Segmenter",),
    "training": ("Network", "fit", "verdict"),
    "runs": ("train_folder",),
    "prediction": ("predict",),
    "scoring": ("CaptureScores", "cost", "evaluate"),
    "crowns": ("instances",),
    "flight": ("Pose", "poses"),
    "counting": ("TreeCount", "count"),
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOMES)
