"""Published results as data, so that no page repeats them by hand: shown beside a run, with their source.

The ARSET results are of real data (the lower Mississippi delta, 2019) and are not a target for the simulated sample.

Labs: part3_train_and_test, case_groves, case_fields.
"""

from __future__ import annotations

import pandas as pd

ARSET = (
    "NASA ARSET 2024, Large scale applications of machine learning using remote sensing for building agriculture "
    "solutions (J. Just, E. Sorensen): recomputed from the table of predictions handed out with part 3"
)
OLIVES = "Bachelor thesis, UPC, 2020: segmentation of olive groves from a drone, test table"
FARMS = "Master's report, EAFIT, 2021: classification of farm images larger than memory (Agriculture-Vision)"


def arset_overall() -> pd.Series:
    """Accuracy, macro-F1 and number of predictions of the original course, all dates together."""
    return _sourced(pd.Series({"predictions": 223_560, "accuracy": 0.756, "macro_f1": 0.60}, name="published"))


def arset_by_start() -> pd.DataFrame:
    """Accuracy by the day on which windows start, where known; ``four_crops``: of truth among the four crops alone."""
    table = pd.DataFrame(
        {"start": [45, 105, 180], "accuracy": [0.586, None, 0.859], "four_crops": [None, 0.88, 0.63]}, dtype=float
    ).astype({"start": int})
    return _sourced(table.set_index("start"))


def arset_f1() -> pd.Series:
    """F1 by class key, where known."""
    f1 = {"rice": 0.90, "corn": 0.84, "cotton": 0.69, "soybeans": 0.37, "cultivated": 0.00}
    return _sourced(pd.Series(f1, name="published").rename_axis("class"))


def arset_fallow_share() -> float:
    """Share of the truth that is 'No Crops Growing' for windows starting on day 180: why accuracy peaks there."""
    return 0.73


def olive_iou() -> pd.DataFrame:
    """Intersection over union on the test tiles, by encoder, architecture and tile side in px."""
    rows = [
        ("VGG-16", "FCN-8", 224, 0.5611, 0.5635, 0.5989, 0.4331, 0.6586),
        ("VGG-16", "FCN-8", 384, 0.6822, 0.7076, 0.6990, 0.8027, 0.6212),
        ("VGG-16", "FCN-8", 512, 0.6846, 0.7081, 0.6934, 0.7952, 0.6356),
        ("VGG-16", "U-Net", 224, 0.5859, 0.5890, 0.6222, 0.4373, 0.7075),
        ("VGG-16", "U-Net", 384, 0.6819, 0.7091, 0.6967, 0.8104, 0.6202),
        ("VGG-16", "U-Net", 512, 0.6761, 0.7063, 0.6761, 0.8179, 0.6248),
        ("ResNet-50", "U-Net", 224, 0.5667, 0.5687, 0.6173, 0.4466, 0.6423),
        ("ResNet-50", "U-Net", 384, 0.6724, 0.6949, 0.6881, 0.7789, 0.6177),
        ("MobileNet", "FCN-8", 224, 0.5624, 0.5649, 0.6057, 0.4264, 0.6626),
        ("MobileNet", "U-Net", 224, 0.5537, 0.5560, 0.6078, 0.4172, 0.6431),
    ]
    columns = ["encoder", "architecture", "side", "frequency_weighted_iou", "mean_iou", "ground", "tree", "grass"]
    table = pd.DataFrame(rows, columns=columns).set_index(["encoder", "architecture", "side"])
    return _sourced(table, OLIVES)


def farm_times() -> pd.DataFrame:
    """Minutes of training, by device, epochs and form of the data.

    Not to be compared directly: the two forms ran on different graphics cards (``device`` names them for the GPU
    rows), and "mirrored" had one device.
    """
    hour = 60
    rows = [
        ("CPU", 10, 12 * hour, 7 * hour),
        ("CPU", 50, 20 * hour, 12 * hour),
        ("GPU: P100 directory, V100 TFRecord", 10, 12, 5.23),
        ("GPU: P100 directory, V100 TFRecord", 50, 57.29, 26.36),
        ("one GPU, mirrored", 50, 62.5, 55),
    ]
    return _sourced(pd.DataFrame(rows, columns=["device", "epochs", "directory", "tfrecord"]), FARMS)


def farm_accuracy() -> pd.DataFrame:
    """Lowest and highest accuracy of its runs with NASNetLarge, and images, by side (train, validation)."""
    table = pd.DataFrame(
        {"lowest": [0.98, 0.57], "highest": [1.0, 0.61], "images": [1080, 450]}, index=["train", "validation"]
    )
    return _sourced(table, FARMS)


def _sourced(data, source: str = ARSET):
    data.attrs["source"] = source
    return data
