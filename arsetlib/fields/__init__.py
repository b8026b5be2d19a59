"""Case study B: classify images of farm fields that do not fit in memory.

    chips = fields.agriculture_vision("data/fields")        # published or simulated, the same layout
    pixels, valid = fields.read(chips, 0)                   # (H, W, 4) red, green, blue, near infrared; (H, W) bool
    sides = fields.split(chips, seed=0)                     # by field: train, validation, test
    fields.convert(sides["train"], "data/train")            # few large files
    train = fields.batches("data/train", shuffle=True)      # ChipBatches; train.dataset feeds a model
    model = fields.fit("small", sides, folder="runs/small") # a Classifier
    fields.evaluate(model, sides["test"]).table()           # FieldScores

Axes: B chips, H rows, W columns, C channels, K = 9 classes. TensorFlow and Keras are imported only where needed.

Lab: case_fields.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
