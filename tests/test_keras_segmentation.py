"""The thesis's library under Keras 3: it builds, trains, predicts, evaluates; ours is held against it."""

import numpy as np
import pytest
from PIL import Image

from arsetlib.models import ModelError, keras_segmentation, segmentation

if keras_segmentation.installed() is None:
    pytest.skip("the extra keras-segmentation is not installed", allow_module_level=True)

# The library of 2020 uses what is deprecated since, and leaves a file open when it reads a checkpoint.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# VGG-16 U-Net at 224, layer by layer: ours → (its shape, theirs). Its encoder stops at 1/16, as theirs.
LAYERS = {
    "block1_conv1": ((224, 224, 64), "block1_conv1"),
    "block1_conv2": ((224, 224, 64), "block1_conv2"),
    "block1_pool": ((112, 112, 64), "block1_pool"),
    "block2_conv1": ((112, 112, 128), "block2_conv1"),
    "block2_conv2": ((112, 112, 128), "block2_conv2"),
    "block2_pool": ((56, 56, 128), "block2_pool"),
    "block3_conv1": ((56, 56, 256), "block3_conv1"),
    "block3_conv2": ((56, 56, 256), "block3_conv2"),
    "block3_conv3": ((56, 56, 256), "block3_conv3"),
    "block3_pool": ((28, 28, 256), "block3_pool"),
    "block4_conv1": ((28, 28, 512), "block4_conv1"),
    "block4_conv2": ((28, 28, 512), "block4_conv2"),
    "block4_conv3": ((28, 28, 512), "block4_conv3"),
    "block4_pool": ((14, 14, 512), "block4_pool"),
    "decoder1_conv": ((14, 14, 512), "conv2d"),
    "decoder1_bn": ((14, 14, 512), "batch_normalization"),
    "decoder2_up": ((28, 28, 512), "up_sampling2d"),
    "decoder2_skip": ((28, 28, 768), "concatenate"),
    "decoder2_conv": ((28, 28, 256), "conv2d_1"),
    "decoder2_bn": ((28, 28, 256), "batch_normalization_1"),
    "decoder3_up": ((56, 56, 256), "up_sampling2d_1"),
    "decoder3_skip": ((56, 56, 384), "concatenate_1"),
    "decoder3_conv": ((56, 56, 128), "conv2d_2"),
    "decoder3_bn": ((56, 56, 128), "batch_normalization_2"),
    "decoder4_up": ((112, 112, 128), "up_sampling2d_2"),
    "decoder4_skip": ((112, 112, 192), "concatenate_2"),
    "decoder4_conv": ((112, 112, 64), "conv2d_3"),
    "decoder4_bn": ((112, 112, 64), "batch_normalization_3"),
    "scores": ((112, 112, 3), "conv2d_4"),
    "full_size": ((224, 224, 3), None),
}


@pytest.fixture(scope="module")
def library():
    return keras_segmentation.load()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Four tiles and masks of class numbers, in the library's two folders."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for folder in ("images", "annotations"):
        (root / folder).mkdir()
    for k in range(4):
        mask = rng.integers(0, 3, (8, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        image = (mask[:, :, None] * 80 + rng.integers(0, 60, (64, 64, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{k}.png")
        Image.fromarray(mask.repeat(3).reshape(64, 64, 3)).save(root / "annotations" / f"{k}.png")
    return root


@pytest.fixture(scope="module")
def trained(library, pairs):
    """Its smallest U-Net, trained a step, with a checkpoint."""
    import keras

    keras.backend.clear_session()
    model = library.models.unet.unet_mini(3, input_height=64, input_width=64)
    folders = {"train_images": str(pairs / "images"), "train_annotations": str(pairs / "annotations")}
    model.train(**folders, epochs=2, batch_size=2, steps_per_epoch=2, checkpoints_path=str(pairs / "mini"))
    return model


def test_loading_it_leaves_keras_and_pythons_numbers_as_they_were():
    import random
    import sys

    import keras

    random.seed(5)
    keras_segmentation.load()
    assert random.random() == random.Random(5).random()
    assert not hasattr(keras.Model, "fit_generator")
    assert "keras.layers.merge" not in sys.modules


def test_it_trains_and_finds_its_last_checkpoint(library, trained, pairs):
    assert (pairs / "mini.1.weights.h5").is_file()
    back = library.predict.model_from_checkpoint_path(str(pairs / "mini"))
    for ours, theirs in zip(back.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("family", "name", "size", "shape"),
    [
        ("segnet", "vgg_segnet", 64, (32, 32)),
        ("pspnet", "pspnet", 192, (48, 48)),
        ("unet", "mobilenet_unet", 224, (112, 112)),
    ],
)
def test_its_models_predict(library, pairs, family, name, size, shape):
    model = getattr(getattr(library.models, family), name)(3, input_height=size, input_width=size)
    assert model.predict_segmentation(inp=str(pairs / "images" / "0.png")).shape == shape


def test_its_other_models_build(library):
    from functools import partial

    names = library.models.all_models.model_from_name
    small = partial(names["fcn_32"], input_height=64, input_width=64)
    assert {"fcn_8_vgg", "fcn_8_mobilenet", "fcn_8_resnet50", "resnet50_unet", "vgg_pspnet"} <= set(names)
    assert small(3).n_classes == 3


def test_its_augmentation_says_what_to_do(trained, pairs):
    folders = {"train_images": str(pairs / "images"), "train_annotations": str(pairs / "annotations")}
    with pytest.raises(ModelError, match=r"groves\.augment"):
        trained.train(**folders, epochs=1, steps_per_epoch=1, do_augment=True)


def test_our_vgg_unet_has_its_shapes_layer_by_layer(library):
    import keras

    keras.backend.clear_session()
    theirs = library.models.unet.vgg_unet(3, input_height=224, input_width=224)
    ours = segmentation.build("unet", encoder="vgg16", size=224, classes=3)
    for name, (shape, other) in LAYERS.items():
        assert tuple(ours.get_layer(name).output.shape[1:]) == shape, name
        if other:
            assert tuple(theirs.get_layer(other).output.shape[1:]) == shape, other
    ours_with_weights = [layer.name for layer in ours.layers if layer.weights]
    assert ours_with_weights == [name for name in LAYERS if ours.get_layer(name).weights]
    # Theirs has biases before batch normalisation, where they do nothing: 512 + 256 + 128 + 64.
    assert theirs.count_params() - ours.count_params() == 960


def test_our_iou_is_its_evaluation_to_a_millionth(library, trained, pairs):
    from arsetlib.evaluation import Confusion

    told = trained.evaluate_segmentation(
        inp_images_dir=str(pairs / "images"), annotations_dir=str(pairs / "annotations")
    )
    found = []
    for k in range(4):
        predicted = trained.predict_segmentation(inp=str(pairs / "images" / f"{k}.png"))
        truth = np.asarray(Image.open(pairs / "annotations" / f"{k}.png"))[:, :, 0]
        found.append(Confusion.of(truth, predicted.astype(np.uint8), 3))
    ours = sum(found)
    np.testing.assert_allclose(ours.iou, told["class_wise_IU"], atol=1e-6)
    assert ours.mean_iou == pytest.approx(told["mean_IU"], abs=1e-6)
    assert ours.frequency_weighted_iou == pytest.approx(told["frequency_weighted_IU"], abs=1e-6)


def test_without_the_library_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(keras_segmentation, "installed", lambda: None)
    with pytest.raises(ModelError, match="uv sync --extra keras-segmentation"):
        keras_segmentation.load()
