"""A season over New Year: a place in the southern hemisphere, from the list of scenes to a map."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import tiny
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.transform import from_origin

from arsetlib import catalogue, maps, pixels, samples
from arsetlib.ingest import IngestError, ingest
from arsetlib.labels import find_labels
from arsetlib.study import Season, Study, StudyError

UTM, LEFT, TOP = 32720, 500_000, 6_200_000  # Argentina, 63° W 34° S; rows count from 10,000,000 m at the equator
STUDY = """
[study]
key = "pampa"
name = "Pampa"
simulated = true
years = [2020, 2021]
bands = ["red", "nir"]
[split]
train = [2020]
test = [2021]
block_m = 1000
[season]
window_days = 120
step_days = 30
first_day = 305
last_day = 335
[labels]
kind = "raster"
path = "labels_{{year}}.tif"
[scenes]
url = "items.json"
[areas.home]
bounds = [500100, 6199700, 500400, 6199900]
crs = "EPSG:32720"
[classes.no_crops_growing]
codes = []
crop = false
[classes.soy]
codes = [1, 5]
[classes.rest]
codes = "others"
crop = false
"""
DATES = [
    date(2020, 6, 1), date(2020, 11, 10), date(2020, 12, 20), date(2021, 1, 5), date(2021, 2, 20), date(2021, 3, 29),
    date(2021, 6, 1), date(2021, 12, 1), date(2022, 1, 15), date(2022, 3, 31),
]  # fmt: skip
SEASONS = {2020: DATES[1:6], 2021: DATES[7:9]}  # 31 March 2022 is the first day after the last window


def days_since_1970(when):
    return (when - date(1970, 1, 1)).days


@dataclass
class Threshold:
    """A model that says soy where the third step (30 December to 28 January) was seen."""

    study: Study
    scaler: samples.Scaler
    fill: str = "zeros"
    choose: str = "clearest"
    needs: tuple = ("seen",)
    name: str = "threshold"

    def predict(self, x):
        seen = x["seen"][:, 2]
        return np.stack([np.zeros(len(seen)), seen, ~seen], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pampa")
    rng = np.random.default_rng(1)
    for year in SEASONS:
        codes = rng.choice([1, 5, 9], (80, 80)).astype(np.uint8)
        tiny.write(folder / f"labels_{year}.tif", codes, from_origin(LEFT, TOP, 10, 10), UTM)
    scenes = [
        tiny.write_scene(folder, f"S2A_20HNG_{d:%Y%m%d}", days_since_1970(d), "20HNG", LEFT - 600, TOP + 600, 0, rng,
                         epsg=UTM)
        for d in DATES
    ]  # fmt: skip
    for scene in scenes:
        with rasterio.open(scene.hrefs["scl"], "r+") as scl:
            scl.write(np.full(scl.shape, 4, np.uint8), 1)
        for band, low in (("red", 300), ("nir", 3000)):
            with rasterio.open(scene.hrefs[band], "r+") as values:
                values.write(rng.integers(low, low + 300, values.shape).astype(np.uint16), 1)
    catalogue.Scenes(tuple(scenes), {}, {}).save(folder / "items.json")
    study = Study.parse(STUDY.format(), root=folder)
    found = catalogue.find_scenes(study, cache=folder / "found", progress=False)
    labels = {y: find_labels(study, y, folder, False) for y in study.years}
    ingest(study, found, labels, folder / "pixels", progress=False)
    return study, found, labels, folder


def test_scenes_of_the_next_year_are_found_and_those_outside_the_season_are_not(place):
    study, found, _, folder = place
    wanted = sorted(d for season in SEASONS.values() for d in season)
    assert [date(1970, 1, 1) + timedelta(days=s.day) for s in found] == wanted
    assert found.dropped["other_years"] == len(DATES) - len(wanted)
    only = catalogue.find_scenes(study, years=[2021], progress=False)
    assert [s.datetime[:10] for s in only] == ["2021-12-01", "2022-01-15"]
    with pytest.raises(catalogue.CatalogueError, match="is of another search: days was"):
        catalogue.find_scenes(study.replace(season=Season(120, 30, 1, 200)), cache=folder / "found", progress=False)


def test_a_row_holds_the_images_of_the_season_that_starts_in_its_year(place):
    table = pixels.read(place[3] / "pixels")
    assert set(table["year"].to_pylist()) == set(SEASONS)
    for i, year in enumerate(table["year"].to_pylist()):
        day, _, _ = pixels.series(table, i)
        assert day.tolist() == [days_since_1970(d) for d in SEASONS[year]]
    assert (np.asarray(table["lat"]) < -34).all()
    report = pixels.check(place[3] / "pixels")
    assert report.ok, str(report)


def test_windows_run_on_over_new_year(place):
    study, _, _, folder = place
    sides = samples.split(folder / "pixels", study, by="year")
    loader = samples.Loader(sides["train"], study, None, start=320, extras=("seen",), shuffle=False)
    for x, y in loader.arrays():
        # From 15 November 2020: 15 Nov-14 Dec, 15 Dec-13 Jan, 14 Jan-12 Feb, 13 Feb-14 Mar.
        assert x["seen"].tolist() == [[False, True, False, True]] * len(y)
        assert not y[:, 0].any()  # vegetation in January and February: the crop is there
    random = samples.Loader(sides["train"], study, None, extras=("seen", "day_of_year"))
    for x, _ in random.arrays():
        assert ((x["day_of_year"] >= 305) & (x["day_of_year"] <= 335)).all()
        assert x["seen"][:, 1:].any(axis=1).all()


@pytest.mark.parametrize("source", ["scenes", "table"])
def test_a_map_of_the_season_uses_images_of_both_years(place, tmp_path, source):
    study, found, labels, folder = place
    model = Threshold(study, samples.Scaler.fit(folder / "pixels"))
    if source == "scenes":
        made = maps.predict(model, found, 310, tmp_path, year=2020, labels=labels[2020], study=study, progress=False)
    else:
        made = maps.predict(model, folder / "pixels", 310, tmp_path, year=2020, progress=False)
    with rasterio.open(made.path()) as src:
        classes = src.read(1)
        assert src.crs.to_epsg() == UTM
    assert (classes[classes < 3] == 1).all()  # 30 December and later: 5 January was seen
    assert (classes == 1).any()


def test_images_of_the_same_day_are_on_one_side_of_a_split_by_year(place):
    study, _, _, folder = place
    sides = samples.split(folder / "pixels", study, by="year")
    seen = {
        side: {int(d) for part in rows.read()["day"].to_pylist() for d in np.frombuffer(part, "<u2")}
        for side, rows in sides.items()
    }
    assert not seen["train"] & seen["test"]
    long = study.replace(season=Season(120, 30, 1, 300))
    with pytest.raises(samples.SampleError, match=r"2020 \(train\) and 2021 \(test\) share images of 53 days"):
        samples.split(folder / "pixels", long, by="year")


def test_a_table_of_another_season_is_refused_and_says_what_to_do(place):
    study, _, _, folder = place
    for season in (Season(120, 30, 305, 340), Season(120, 30, 60, 90)):
        with pytest.raises(samples.SampleError, match="Ingest the table again with this season"):
            samples.Loader(folder / "pixels", study.replace(season=season), None)
    samples.Loader(folder / "pixels", study.replace(season=Season(60, 30, 305, 340)), None)
    samples.Loader(folder / "pixels", study.replace(season=Season(120, 30, 305, 340)), None, start=330)


def test_a_year_without_scenes_of_its_season_is_named(place, tmp_path):
    study, found, labels, _ = place
    early = catalogue.Scenes(tuple(s for s in found if s.day < days_since_1970(date(2021, 6, 1))), {}, found.query)
    with pytest.raises(IngestError, match=r"No scene of 2021 touches .* \(0 scenes of that season in the list\)"):
        ingest(study, early, labels, tmp_path / "t", progress=False)


def test_a_season_whose_scenes_end_at_new_year_is_told(place):
    study, found, _, _ = place
    assert not found.notes
    late = [s.id for s in found if s.day >= days_since_1970(date(2022, 1, 1))]
    notes = catalogue.find_scenes(study, leave_out=late, progress=False).notes
    assert len(notes) == 1
    assert "season that starts in 2021 runs to 2022-03-" in notes[0]
    assert "last scene is of 2021-12-01: scenes of 2022 are missing" in notes[0]


def test_a_season_within_a_year_leaves_table_and_fingerprint_as_they_were(tmp_path):
    here = tiny.make(tmp_path)
    ingest(here.study, here.scenes, here.labels, tmp_path / "pixels", progress=False)
    meta = pixels.Meta.of(tmp_path / "pixels")
    assert set(meta.extra) == {"chunk", "counts", "block_m", "offsets", "bad_scenes", "own_codes"}
    days = {d for f in (tmp_path / "pixels").glob("*.parquet") for d in _days(f)}
    assert {date(1970, 1, 1) + timedelta(days=d) for d in days} >= {date(2020, 1, 20)}
    season = here.study.season
    changed = here.study.replace(season=replace(season, last_day=season.last_day - 10))
    assert changed.fingerprint() == here.study.fingerprint()


def _days(file):
    return {int(d) for part in pq.read_table(file)["day"].to_pylist() for d in np.frombuffer(part, "<u2")}


@given(st.integers(1, 366), st.integers(0, 365), st.integers(1, 366), st.integers(1984, 2099))
def test_the_days_of_a_season_hold_every_window_and_no_year_twice(first, length, window, year):
    season = Season(window, 1, first, first + length)
    low, high = season.days(year)
    new_year = days_since_1970(date(year, 1, 1))
    assert low <= new_year + season.first_day - 1
    assert high >= new_year + season.last_day - 1 + window - 1
    if not season.over_new_year:
        assert (low, high) == (new_year, days_since_1970(date(year, 12, 31)))
    elif season.end_day - season.first_day < 365:
        assert season.days(year + 1)[0] > high


def test_a_last_day_before_the_first_says_how_a_season_over_new_year_is_written():
    text = STUDY.format()
    with pytest.raises(StudyError, match="day 60 of the next year is last_day = 425"):
        Study.parse(text.replace("last_day = 335", "last_day = 60"))
    assert Study.parse(text.replace("last_day = 335", "last_day = 425")).season.last_day == 425
    with pytest.raises(StudyError, match="more than a year"):
        Study.parse(text.replace("last_day = 335", "last_day = 700"))


def test_the_place_lies_where_it_says(place):
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(LEFT, TOP)
    assert (round(lon), round(lat)) == (-63, -34)
