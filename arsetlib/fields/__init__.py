"""Case study B: classify images of farm fields that do not fit in memory.

    chips = fields.agriculture_vision("data/fields")        # published or simulated, the same layout
    pixels, valid = fields.read(chips, 0)                   # (H, W, 4) red, green, blue, near infrared; (H, W) bool
    sides = fields.split(chips, seed=0)                     # by field: train, validation, test
    fields.convert(sides["train"], "data/train")            # few large files
    train = fields.images("data/train", shuffle=True)       # a Loader; train.dataset feeds a model

Axes: B chips, H rows, W columns, C channels, K = 9 classes. TensorFlow and Keras are imported only where needed.

Lab: case_fields.
"""

import lazy_loader

_HOMES = {
    "classes": ("CLASSES", "ImageError"),
    "chips": ("Chips", "agriculture_vision", "ndvi", "read"),
    "sides": ("split",),
    "report": ("Report", "check"),
    "conversion": ("convert",),
    "stored": ("verify",),
    "loading": ("Loader", "images"),
    "classifier": ("Classifier",),
    "training": ("ImageInput", "Transfer", "fit"),
    "runs": ("convert_sides", "sides_of"),
    "scoring": ("Evaluation", "Scores", "evaluate", "score"),
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOMES)
