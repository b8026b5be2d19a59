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

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
