"""The library of the thesis behind case study A, keras-segmentation 0.3.0 of 2020, made to run under Keras 3.

    library = keras_segmentation.load()
    model = library.models.unet.vgg_unet(n_classes=3, input_height=224, input_width=224)
    model.train(train_images="…/images", train_annotations="…/annotations", epochs=5)
    model.predict_segmentation(inp="tile.png") ; model.evaluate_segmentation(inp_images_dir=…, annotations_dir=…)

So a reader of the thesis can run its original models. What has changed since is fixed here by replacing the few names
that break, in that library only, never in Keras:

- ``Model.fit_generator`` is gone: ``fit`` takes generators.
- MobileNet's ``relu6`` and PSPNet's ``int_shape`` were in ``keras.backend``: now in ``keras.ops``, and ``.shape``.
- PSPNet imported ``keras.layers.merge`` and resized by a Lambda of a lost function: a layer of Keras does it.
- Weights are saved in files that must end in ``.weights.h5``; they are found again by that name.
- ``predict`` printed a progress bar for each tile.
- Augmentation needs imgaug, which NumPy 2 breaks: it says so. Use ``groves.augment``.

Install it: ``uv sync --extra keras-segmentation`` (pyproject.toml leaves out what it wrongly asks for), or with pip
``pip install six opencv-python-headless``, then ``pip install --no-deps "keras-segmentation>=0.3,<0.4"``.

Lab: case_groves.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import random
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

from arsetlib.models.registry import ModelError

ARCHITECTURES = ("fcn", "unet", "segnet", "pspnet")  # its modules of models


def load(pretrained: str | None = None) -> Any:
    """The library with these fixes.

    Args:
        pretrained: Weights of the encoders: None, random; ``"imagenet"`` downloads them as the library does.

    Returns:
        The module ``keras_segmentation``; ``.models.all_models.model_from_name`` has its models by name. May be called
        again with other weights.

    Raises:
        ModelError: It is not installed, or is another version.
    """
    version = installed()
    if version is None:
        raise ModelError(
            "keras-segmentation is not installed. With uv: uv sync --extra keras-segmentation. With pip: "
            "pip install six opencv-python-headless, then pip install --no-deps 'keras-segmentation>=0.3,<0.4'."
        )
    if not version.startswith("0.3."):
        raise ModelError(f"Expected keras-segmentation 0.3, the thesis's, received {version}.")
    library = imported()
    fix_training(library)
    fix_layers(library)
    for name in ARCHITECTURES:
        module = getattr(library.models, name)
        for kind in ("vgg", "resnet50", "mobilenet"):
            source = getattr(library.models, {"vgg": "vgg16"}.get(kind, kind))
            maker = f"get_{kind}_encoder"
            if hasattr(module, maker):
                setattr(module, maker, functools.partial(getattr(source, maker), pretrained=pretrained))
    return library


def installed() -> str | None:
    """Version of the library that is installed, or None."""
    try:
        return metadata.version("keras-segmentation")
    except metadata.PackageNotFoundError:
        return None


def imported() -> Any:
    """The library's modules, loaded without its prints, without touching the caller's random numbers."""
    import keras

    state = random.getstate()
    lost = "keras.layers.merge"
    sys.modules.setdefault(lost, types.ModuleType(lost)).__dict__.update(
        Concatenate=keras.layers.Concatenate, Add=keras.layers.Add
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            library = importlib.import_module("keras_segmentation")
            for name in ("train", "predict", "metrics", "data_utils.data_loader", "models.all_models"):
                importlib.import_module(f"keras_segmentation.{name}")
            importlib.import_module("keras_segmentation.models._pspnet_2")
    finally:
        random.setstate(state)
        del sys.modules[lost]
    return library


def fix_training(library: Any) -> None:
    """Checkpoints by the names that Keras 3 allows; a clear error about augmentation."""
    import keras

    class Checkpoints(keras.callbacks.Callback):
        def __init__(self, path):
            super().__init__()
            self.path = path

        def on_epoch_end(self, epoch, logs=None):
            if self.path is not None:
                self.model.save_weights(f"{self.path}.{epoch}.weights.h5")

    def latest(path, fail_safe=True):
        checkpoints = {}
        for file in Path(path).parent.glob(f"{Path(path).name}.*.weights.h5"):
            epoch = file.name.removeprefix(f"{Path(path).name}.").removesuffix(".weights.h5")
            if epoch.isdigit():
                checkpoints[int(epoch)] = str(file)
        if not checkpoints and not fail_safe:
            raise ValueError(f"Checkpoint path {path} invalid")
        return checkpoints[max(checkpoints)] if checkpoints else None

    def no_augmentation(*_):
        raise ModelError(
            "Augmentation of keras-segmentation needs imgaug, which NumPy 2 breaks. Augment beforehand: groves.augment."
        )

    library.train.CheckpointsCallback = Checkpoints
    library.train.find_latest_checkpoint = library.predict.find_latest_checkpoint = latest
    library.data_utils.data_loader.augment_seg = no_augmentation


def fix_layers(library: Any) -> None:
    """Layers that Keras 3 has elsewhere, and models whose ``fit_generator`` is ``fit``."""
    import keras

    def resize(x, factors, data_format):
        return keras.layers.UpSampling2D(tuple(factors), data_format=data_format, interpolation="bilinear")(x)

    def finished(image, scores):
        model = original(image, scores)
        model.fit_generator = functools.partial(fit_generator, model)
        model.predict = functools.partial(type(model).predict, model, verbose=0)
        return model

    utils = library.models.model_utils
    original = getattr(utils.get_segmentation_model, "original", utils.get_segmentation_model)
    finished.original = original  # type: ignore[attr-defined]
    utils.get_segmentation_model, utils.resize_image = finished, resize
    library.models.mobilenet.relu6 = keras.ops.relu6
    library.models.pspnet.resize_image = resize
    library.models.pspnet.K = types.SimpleNamespace(int_shape=lambda x: tuple(x.shape))
    for name in (*ARCHITECTURES, "_pspnet_2"):
        getattr(library.models, name).get_segmentation_model = finished


def fit_generator(
    model: Any, generator: Any, steps_per_epoch: Any, use_multiprocessing: Any = False, **options: object
) -> Any:
    """``Model.fit_generator`` as it was called then; several processes are no longer offered."""
    return model.fit(generator, steps_per_epoch=steps_per_epoch, shuffle=False, **options)
