"""The known defects of the original course and of its case study B: for each a test that holds it off and a lesson."""

from pathlib import Path

import numpy as np
import predicted
import pytest
import rasterio
import tiny
from badserver import BadServer
from rasterio.transform import from_origin

from arsetlib import evaluation, figures, ingest, pixels, samples
from arsetlib.catalogue import Scene

HERE = Path(__file__).parent
LABS = HERE.parent / "labs" / "en"
BANDS = ("red", "nir")
# defect: (name of a test, lab, words of its lesson)
DEFECTS = {
    "'one at random' was the earliest image": (
        "test_window_takes_each_image_of_a_bucket_equally_often",
        "part2_load_data", "in fact always took the earliest",
    ),
    "one image in the window crashed the test parser": (
        "test_exactly_one_image_in_the_window_is_a_sample_like_any_other",
        "part2_load_data", "squeeze() removed the axis of images",
    ),
    "steps counted from the first image": (
        "test_steps_count_from_the_start_of_the_window_not_from_its_first_image",
        "part2_load_data", "Steps counted from the first image",
    ),
    "a step too many": (
        "test_a_window_of_45_days_in_steps_of_5_has_9_steps", "part2_load_data", "One step too many",
    ),
    "patience as long as the training": (
        "test_wrong_options_are_refused", "part3_train_and_test", "a patience as long as the training",
    ),
    "the last weights were kept": (
        "test_the_best_epoch_is_kept_not_the_last", "part3_train_and_test", "restore_best_weights=True",
    ),
    "randomness in the test": (
        "test_the_test_loader_draws_nothing", "part3_train_and_test", "## 11. Take the randomness out",
    ),
    "double crops in the test": (
        "test_original_defect_double_crops_must_not_be_in_the_test_set",
        "part3_train_and_test", "Two crops in one year have two right answers",
    ),
    "Barley became 'Uncultivated'": (
        "test_double_crops_give_no_sample_and_barley_is_cultivated",
        "part2_load_data", "So Barley can no longer be counted as Uncultivated",
    ),
    "normalised by prediction": (
        "test_original_defect_normalised_by_prediction_hides_recall",
        "part3_train_and_test", "Normalised by *prediction*, as in the original notebooks",
    ),
    "a late peak that is bare soil": (
        "test_original_defect_the_late_peak_is_an_artefact_of_the_fallow_class",
        "part3_train_and_test", "published the same rise and interpreted it as skill",
    ),
    "boxes by two corners": (
        "test_an_outline_keeps_land_that_two_corners_would_cut_off",
        "part1_build_dataset", "two corners cut off its sides",
    ),
    "whole files downloaded for a few points": (
        "test_points_of_a_large_file_are_read_without_downloading_it",
        "part1_build_dataset", "it downloaded each file whole",
    ),
    "swallowed exceptions": (
        "test_a_broken_file_stops_with_scene_band_and_chunk_and_mending_it_resumes",
        "part1_build_dataset", "The original caught every exception",
    ),
    "a failed CropScape answer was an IndexError": (
        "test_what_cropscape_says_is_looked_at_before_it_is_used",
        "part1_build_dataset", "CropScape gave no answer, an `IndexError`",
    ),
    "NDVI of no data was -100": (
        "test_ndvi_is_that_of_a_loop_and_nan_without_data", "part1_build_dataset", "the original wrote −100",
    ),
    "a suffix written twice": (
        "test_a_file_has_the_name_that_was_asked_for_and_its_suffix_once",
        "part1_build_dataset", "got its suffix twice",
    ),
    "two cards in one comparison of forms": (
        "test_every_form_gives_the_same_batches_for_a_seed",
        "case_fields", "the directory ran on a P100 and TFRecord on a V100",
    ),
    "a strategy for several devices on one": (
        "test_two_devices_give_the_losses_of_one",
        "case_fields", "had one device to share it with",
    ),
    "times of a processor that contradict each other": (
        "test_the_published_times_of_the_processor_contradict_each_other",
        "case_fields", "something else was measured as well, or a figure is wrong",
    ),
    "known by heart, and called 60 %": (
        "test_no_field_is_on_two_sides_and_each_class_is_on_all",
        "case_fields", "memorised nearly all training chips",
    ),
}  # fmt: skip


def made_table(path):
    ones = np.ones(1)
    batch = pixels.make_batch(
        day=[17_900], scl=[4], bands=[[500, 3000]], offsets=[0, 1], pixel=[1], year=2019, area="a", block=[1],
        x=ones, y=ones, lon=ones, lat=ones, label_code=[1],
    )  # fmt: skip
    pixels.write([batch], path, pixels.Meta(BANDS, "EPSG:5070", 30.0, "named", True))


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_known_defect_has_a_test_and_a_lesson(defect):
    test, lab, words = DEFECTS[defect]
    assert [f.name for f in HERE.glob("test_*.py") if f"def {test}(" in f.read_text(encoding="utf-8")], test
    assert words in (LABS / f"{lab}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("table.parquet", made_table),
        ("scaler.json", lambda path: samples.Scaler(BANDS, (1.0, 1.0), (1.0, 1.0)).save(path)),
        ("test.parquet", lambda path: predicted.made(30).save(path)),
        ("page.html", lambda path: figures.report(predicted.made(60), path, repeats=5)),
        ("of.2019.parquet", lambda path: predicted.made(30).save(path)),
    ],
)
def test_a_file_has_the_name_that_was_asked_for_and_its_suffix_once(tmp_path, name, save):
    save(tmp_path / name)
    beside = {"page.json"} if name == "page.html" else set()
    assert {f.name for f in tmp_path.iterdir()} == {name} | beside


def test_points_of_a_large_file_are_read_without_downloading_it(tmp_path):
    rng, side = np.random.default_rng(0), 2048
    values = rng.integers(1, 10_000, (side, side)).astype("u2")
    tiny.write(tmp_path / "red.tif", values, from_origin(300_000, 3_900_000, 10, 10), tiny.UTM)
    size = (tmp_path / "red.tif").stat().st_size
    x, y = 305_005.0 + 10 * np.arange(8), 3_889_995.0 - 10 * np.arange(8)
    with BadServer(tmp_path) as server:
        scene = Scene(
            id="large", datetime="2021-07-01T00:00:00Z", day=18_809, platform="sentinel-2a", tile="15AAA", cloud=0.0,
            baseline="03.01", offset=0, epsg=tiny.UTM, footprint=None, hrefs={"red": f"{server.url}/red.tif"},
        )  # fmt: skip
        read = ingest.Reader(x, y, rasterio.crs.CRS.from_epsg(tiny.UTM).to_wkt(), "here").values(scene, "red")
        # Without a range GDAL asks for the size, and hangs up when it has the headers.
        headers = [{k.lower(): v for k, v in r.headers.items()} for r in server.requests]
        ranges = [h["range"] for h in headers if "range" in h]
    assert read.tolist() == [values[1000 + i, 500 + i] for i in range(8)]
    spans = [tuple(map(int, r.removeprefix("bytes=").split("-"))) for r in ranges]
    assert 0 < sum(last - first + 1 for first, last in spans) < size / 20


def test_the_published_times_of_the_processor_contradict_each_other():
    times = evaluation.published.farm_times().set_index(["device", "epochs"])
    growth = {d: times.loc[(d, 50)] / times.loc[(d, 10)] for d in times.index.levels[0] if (d, 10) in times.index}
    assert (growth.pop("CPU") < 2).all()  # five times the epochs
    assert [(g > 4.5).all() for g in growth.values()] == [True]
    assert "EAFIT" in times.attrs["source"]
    assert "EAFIT" in evaluation.published.farm_accuracy().attrs["source"]
