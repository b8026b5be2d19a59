"""Real crop points outside the US through 'bring your own table': cross-validated by place, honestly."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from arsetlib import pixels, samples

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import _points

MODELS = {
    "majority": ("majority", {}),
    "random forest": ("random_forest", {"trees": 100}),
    "small CNN": ("tempcnn", {"filters": 16, "units": 32}),
}


@pytest.fixture(scope="module")
def points(real):
    return _points.points()


def test_the_points_are_a_pixel_table(points, tmp_path):
    rows, study = points
    assert len(rows) == 450  # of 500; the others lie in the same pixel as one of these
    pixels.write(rows.source, tmp_path / "points.parquet", rows.meta)
    report = pixels.check(tmp_path / "points.parquet")
    assert report.ok, str(report)
    assert rows.meta.bands == study.bands
    assert not rows.meta.simulated


def test_folds_share_no_place(points):
    rows, study = points
    for fold in samples.kfold(rows, 5):
        place = {side: pixels.block_id(r.column("x"), r.column("y"), study.block_m) for side, r in fold.items()}
        assert not set(place["train"]) & set(place["test"])


def test_a_forest_is_not_below_the_majority_by_more_than_noise(points):
    """The scores are printed, not promised: 500 points of few places, most of them sorghum. The CNN only has to run."""
    rows, study = points
    found = _points.cross_validate(rows, study, MODELS, k=3, epochs=3, patience=2, batch=64)
    for name, predictions in found.items():
        score = predictions.confusion()
        print(f"{name}: accuracy {score.accuracy:.3f}, macro-F1 {score.macro_f1:.3f}")
        assert sorted(predictions.pixel) == sorted(rows.column("pixel"))  # each point is predicted once
    least = found["majority"].confusion().accuracy
    noise = 2 * np.sqrt(least * (1 - least) / len(rows))
    assert found["random forest"].confusion().accuracy > least - noise
    assert found["random forest"].confusion().macro_f1 > found["majority"].confusion().macro_f1
