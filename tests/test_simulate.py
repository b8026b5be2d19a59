"""The simulated delta: its files are in the real layouts, its numbers are plausible, its bytes are repeatable."""

import csv
import hashlib
import json
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.warp import transform_geom
from shapely.geometry import box, shape
from sharing import linked

from arsetlib import cdl, folders, seeds, simulate
from arsetlib.ingest.offset import Sample, decide
from arsetlib.sentinel2 import BANDS, DROPPED_SCL, offset_of, reflectance_dn
from arsetlib.simulate import items, noise, phenology, sky
from arsetlib.simulate import landscape as land
from arsetlib.simulate.delta import boxes, observe, study_text
from arsetlib.simulate.labels import year_labels
from arsetlib.study import Study, shipped

SEED, SCALE = 1, 1.0  # what learners get
TINY = 0.03
CORN, COTTON, RICE, SOYBEANS, WHEAT_SOY = 1, 2, 3, 5, 26

# Published for the real region's training set, DN (the course's own loader normalises with them).
MEAN = [608.8, 696.8, 960.0, 987.2, 1450.7, 2489.8, 2950.9, 3028.5, 3187.6, 3306.6, 2559.1, 1759.4]
SPREAD = [434.2, 462.7, 522.6, 708.0, 700.4, 959.6, 1269.4, 1238.0, 1319.5, 1398.4, 1125.6, 1127.1]


# -- a tiny delta on disk ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(delta, tmp_path_factory):
    """One year of a tiny delta, made by one process."""
    return linked(delta, tmp_path_factory.mktemp("tiny") / "delta", ignore=shutil.ignore_patterns("two_areas.toml"))


@pytest.fixture(scope="module")
def catalogue(tiny):
    return [json.loads(p.read_text()) for p in sorted((tiny / "items").glob("*.json"))]


def digest(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def href(tiny, item, asset):
    return (tiny / "items" / item["assets"][asset]["href"]).resolve()


@pytest.fixture
def brief(monkeypatch):
    """Every tenth pass only: enough to compare bytes."""
    every = sky.overpasses
    monkeypatch.setattr(sky, "overpasses", lambda seed, years: every(seed, years)[::10])


def test_same_seed_gives_same_bytes_whatever_the_number_of_processes(brief, tmp_path):
    made = [
        simulate.delta(tmp_path / str(jobs), scale=TINY, years=[2021], jobs=jobs, progress=False) for jobs in (1, 2)
    ]
    assert len(digest(made[0])) > 200
    assert digest(made[0]) == digest(made[1])


def test_other_seed_gives_another_delta():
    assert not np.array_equal(land.build(1, TINY).unit, land.build(2, TINY).unit)


def test_interrupted_run_resumes_and_gives_the_same_bytes(brief, tmp_path, monkeypatch):
    module = sys.modules["arsetlib.simulate.delta"]  # the attribute of that name is the function
    real, made = module.make_overpass, []

    def power_cut(out, seed, scale, one):
        if len(made) == 6:
            raise KeyboardInterrupt
        made.append(one.name)
        real(out, seed, scale, one)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    simulate.delta(whole, scale=TINY, years=[2021], jobs=1, progress=False)
    monkeypatch.setattr(module, "make_overpass", power_cut)
    with pytest.raises(KeyboardInterrupt):
        simulate.delta(cut, scale=TINY, years=[2021], jobs=1, progress=False)
    assert folders.state(cut) == "unfinished"
    first, made[:] = set(made), []
    monkeypatch.setattr(module, "make_overpass", lambda *a: (made.append(a[3].name), real(*a)))
    simulate.delta(cut, scale=TINY, years=[2021], jobs=1, progress=False)
    assert made
    assert not first & set(made)
    assert digest(cut) == digest(whole)


def test_complete_folder_is_left_as_it_is(tiny):
    before = {p: p.stat().st_mtime_ns for p in tiny.rglob("*")}
    simulate.delta(tiny, scale=TINY, years=[2021], jobs=1, progress=False)
    assert {p: p.stat().st_mtime_ns for p in tiny.rglob("*")} == before


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(FileExistsError, match="new or an empty folder"):
        simulate.delta(tmp_path, scale=TINY, progress=False)


def test_folder_of_other_parameters_is_refused(tiny):
    with pytest.raises(FileExistsError, match=r"simulated delta of another run.*seed \(was 1, now 2\)"):
        simulate.delta(tiny, seed=2, scale=TINY, years=[2021], progress=False)


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"scale": 1e6}, {"years": []}, {"years": [1999]}, {"jobs": 0}])
def test_parameters_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="got"):
        simulate.delta(tmp_path / "x", progress=False, **wrong)
    assert not (tmp_path / "x").exists()


def test_says_simulated_wherever_it_shows(tiny, catalogue):
    assert "SIMULATED" in (tiny / "README.txt").read_text()
    assert "SIMULATED" in json.loads((tiny / "collection.json").read_text())["description"]
    study = Study.load(tiny / "study.toml")
    assert study.simulated
    assert "SIMULATED" in study.description
    assert "SIMULATED" in catalogue[0]["properties"]["description"]
    assert catalogue[0]["id"].endswith("_SIM")
    for path in (href(tiny, catalogue[0], "nir"), tiny / "cdl_2021.tif", tiny / "truth_2021.tif"):
        with rasterio.open(path) as file:
            assert file.tags()["SIMULATED"] == "YES"


# -- files in the real layouts -----------------------------------------------------------------------------------


def test_rasters_are_valid_cogs(tiny, catalogue, tmp_path):
    cog_validate = pytest.importorskip("rio_cogeo").cog_validate
    from arsetlib.simulate import files

    paths = [href(tiny, i, a) for i in catalogue[::40] for a in i["assets"]] + list(tiny.glob("*.tif"))
    big = tmp_path / "big.tif"  # a region as large as a real tile's part needs blocks and overviews
    image = np.arange(1100 * 900, dtype=np.uint32).reshape(1100, 900).astype(np.uint16)
    files.write_raster(big, image, rasterio.Affine(10, 0, 699960, 0, -10, 3720000), land.UTM)
    for path in [*paths, big]:
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (path, errors, warnings)
    with rasterio.open(big) as file:
        assert file.overviews(1)
        np.testing.assert_array_equal(file.read(1), image)


def test_items_state_grids_that_the_files_have(tiny, catalogue):
    for item in catalogue[::25]:
        assert set(item["assets"]) == {*BANDS, "scl"}
        for name, asset in item["assets"].items():
            with rasterio.open(href(tiny, item, name)) as file:
                assert list(file.shape) == asset["proj:shape"]
                assert list(file.transform)[:6] == asset["proj:transform"]
                assert file.crs.to_epsg() == item["properties"]["proj:epsg"] == 32615
                assert file.nodata == 0
                step = 20 if name == "scl" else BANDS[name].resolution_m
                assert file.res == (step, step)


def test_items_are_valid_stac_and_the_collection_lists_them(tiny, catalogue):
    pystac = pytest.importorskip("pystac")
    collection = pystac.Collection.from_file(str(tiny / "collection.json"))
    found = list(collection.get_items())
    assert {i.id for i in found} == {i["id"] for i in catalogue}
    assert all(i.datetime.year == 2021 for i in found)
    assert all(not a.href.startswith(("/", "http")) for i in found for a in i.assets.values())


def test_footprint_holds_the_valid_pixels_and_nothing_else(tiny, catalogue):
    for item in catalogue[::15]:
        with rasterio.open(href(tiny, item, "scl")) as file:
            scl, grid = file.read(1), file.transform
        outline = shape(transform_geom("EPSG:4326", land.UTM, item["geometry"]))
        rows, columns = np.indices(scl.shape)
        x, y = grid * (columns + 0.5, rows + 0.5)
        inside = np.array([outline.buffer(0).covers(box(a, b, a, b)) for a, b in zip(x.flat, y.flat, strict=True)])
        assert np.mean(inside.reshape(scl.shape) == (scl > 0)) > 0.97
        empty = item["properties"]["s2:nodata_pixel_percentage"]
        assert abs(empty - 100 * np.mean(scl == 0)) < 0.01


def test_some_scenes_have_nodata_edges_and_some_have_none(catalogue):
    empty = [i["properties"]["s2:nodata_pixel_percentage"] for i in catalogue]
    assert min(empty) == 0
    assert max(empty) > 5


def test_offset_metadata_is_honest(tiny, catalogue):
    kinds, samples = set(), []
    names = [b for b in BANDS if BANDS[b].resolution_m <= 20]
    for item in catalogue:
        bands = [item["assets"][b]["raster:bands"][0] for b in BANDS]
        offset = offset_of(item["properties"], bands)
        late = item["properties"]["s2:processing_baseline"] >= "04.00"
        kinds.add((late, item["properties"]["earthsearch:boa_offset_applied"], offset))
        with rasterio.open(href(tiny, item, "scl")) as file:
            scl = file.read(1)
        dn = np.stack([_read_20m(href(tiny, item, b)).ravel() for b in names], 1)
        samples.append(Sample(item["id"], 0, item["id"], dn, scl.ravel(), offset))
    assert {d.answer for d in decide(samples, names)} <= {"confirmed", "cannot tell"}
    assert kinds == {(False, False, 0), (True, True, 0), (True, False, -1000)}


def _read_20m(path):
    with rasterio.open(path) as file:
        step = int(20 // file.res[0])
        return file.read(1)[::step, ::step]


def test_some_scenes_have_a_superseded_processing(catalogue):
    by_scene = {}
    for item in catalogue:
        p = item["properties"]
        by_scene.setdefault((p["platform"], p["s2:mgrs_tile"], p["datetime"]), []).append(p)
    pairs = [sorted(v, key=lambda p: p["s2:sequence"]) for v in by_scene.values() if len(v) > 1]
    assert 1 <= len(pairs) <= 0.1 * len(by_scene)
    for older, newer in pairs:
        assert older["s2:processing_baseline"] < newer["s2:processing_baseline"]
        assert older["updated"] < newer["updated"]


def test_tiles_overlap_and_agree_there_on_the_same_day(tiny, catalogue):
    region = land.Region.of(TINY)
    west, east = items.tiles(region)
    shared = slice(east.columns.start, west.columns.stop)
    assert 0 < shared.stop - shared.start < 0.2 * region.shape[1]
    pairs = {}
    for item in catalogue:
        pairs.setdefault(item["properties"]["datetime"], {})[item["properties"]["s2:mgrs_tile"]] = item
    both = [p for p in pairs.values() if len(p) == 2]
    assert len(both) > 50
    for pair in both[::20]:
        parts = []
        for tile in (west, east):
            item = pair[tile.name]
            offset = offset_of(item["properties"], item["assets"]["red"]["raster:bands"])
            with rasterio.open(href(tiny, item, "red")) as file:
                start = shared.start - tile.columns.start
                parts.append(reflectance_dn(file.read(1)[:, start : start + shared.stop - shared.start], offset))
        np.testing.assert_array_equal(*parts)


def test_labels_lie_on_the_grid_of_the_cropland_data_layer(tiny):
    with rasterio.open(tiny / "cdl_2021.tif") as file, rasterio.open(tiny / "cdl_2021_confidence.tif") as sure:
        assert file.crs.to_epsg() == 5070
        assert file.res == (30, 30)
        assert (file.transform.c - -2_356_095) % 30 == 0
        assert (3_172_605 - file.transform.f) % 30 == 0
        assert file.colormap(1)[CORN] == cdl.colormap()[CORN]
        assert sure.transform == file.transform
        assert sure.shape == file.shape
        confidence = sure.read(1)
    assert confidence.max() <= 100


def test_study_of_the_folder_loads_and_its_areas_lie_in_the_scenes(tiny, catalogue):
    study = Study.load(tiny / "study.toml")
    assert study.resolve(study.labels.path.format(year=2021)) == str((tiny / "cdl_2021.tif").resolve())
    whole = box(*land.Region.of(TINY).bounds)
    assert len(study.areas) == 8
    for area in study.areas:
        assert whole.contains(area.outline(land.UTM))
    with rasterio.open(tiny / "cdl_2021.tif") as file:
        study.legend.classes_of(np.unique(file.read(1)))  # raises on a code in no class


def test_shipped_sample_study_is_what_the_default_simulation_writes():
    assert "sample" in shipped()
    assert Study.load("sample").text == study_text(seed=1, scale=1.0, years=(2019, 2020, 2021))


@pytest.mark.parametrize("scale", [0.01, 0.03, 0.3, 1.0, 20.0])
def test_boxes_lie_apart_from_each_other_on_the_label_grid(scale):
    found = [box(*b) for b in boxes(scale).values()]
    for k, one in enumerate(found):
        assert one.area >= 9 * 900
        assert all(one.disjoint(other) for other in found[k + 1 :])
    assert all((v - 15) % 30 == 0 for b in boxes(scale).values() for v in b)


def test_area_grows_with_scale():
    areas = [np.prod(land.Region.of(s).shape) for s in (0.1, 1, 4, 20)]
    np.testing.assert_allclose(np.array(areas) / areas[1], [0.1, 1, 4, 20], rtol=0.05)


# -- chance ------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 40), st.floats(1, 60), st.integers(1, 4))
def test_smooth_fields_are_repeatable_and_finite(seed, rows, columns, cell, octaves):
    one = noise.smooth(seeds.generator(seed, "a"), (rows, columns), cell, octaves)
    assert one.shape == (rows, columns)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, noise.smooth(seeds.generator(seed, "a"), (rows, columns), cell, octaves))


def test_smooth_field_is_the_cubic_spline_through_its_knots():
    """In a plain loop over pixels and their 4 × 4 knots."""
    shape, cell = (9, 7), 4.5
    fast = noise.smooth(np.random.default_rng(5), shape, cell)
    rng, step = np.random.default_rng(5), cell / noise.KNOTS
    start = rng.random(2)
    knots = rng.standard_normal([int((n - 1) / step + o) + 4 for n, o in zip(shape, start, strict=True)], np.float32)
    for r, c in np.ndindex(shape):
        y, x = r / step + start[0], c / step + start[1]
        total = 0.0
        for a, b in np.ndindex(4, 4):
            total += spline(y - int(y), a) * spline(x - int(x), b) * knots[int(y) + a, int(x) + b]
        assert fast[r, c] == pytest.approx(total / noise.VARIANCE, abs=1e-5)


def spline(t, tap):
    """Weight of one of four neighbours in a uniform cubic B-spline."""
    return [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3][tap] / 6


def test_smooth_fields_have_deviation_1_and_the_same_on_and_between_the_knots():
    """So that the grid of the knots cannot be seen."""
    fields = [noise.smooth(seeds.generator(k, "deviation"), (64, 64), 16, 1 + k % 3) for k in range(60)]
    assert 0.95 < np.std(fields) < 1.05
    shares = (noise._weights(200, 7.3, 0.4).toarray() ** 2).sum(1)
    np.testing.assert_allclose(shares, noise.VARIANCE, atol=0.021)


# -- plausibility ------------------------------------------------------------------------------------------------


class Observations:
    """All scenes of some years seen at every ``every``-th label pixel, straight from the simulator."""

    def __init__(self, years, every):
        region = land.Region.of(SCALE)
        west, north, rows, columns = region.label_grid()
        self.row, self.column = (a.ravel() for a in np.mgrid[0:rows:every, 0:columns:every])
        to_utm = Transformer.from_crs(land.ALBERS, land.UTM, always_xy=True)
        x, y = to_utm.transform(west + 30 * self.column + 15, north - 30 * self.row - 15)
        at = np.floor((region.north - y) / 10).astype(int), np.floor((x - region.west) / 10).astype(int)
        inside = (at[0] >= 0) & (at[0] < region.shape[0]) & (at[1] >= 0) & (at[1] < region.shape[1])
        self.row, self.column = self.row[inside], self.column[inside]
        at = at[0][inside], at[1][inside]
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            self.years = {y: self._year(y, at, pool) for y in years}

    def _year(self, year, at, pool):
        passes = sky.overpasses(SEED, [year])
        seen = list(pool.map(see, passes, [at] * len(passes), chunksize=8))
        labels = year_labels(SEED, SCALE, year)
        return {
            "day": np.array([p.day for p in passes]),
            "dn": np.stack([s[0] for s in seen], 1),
            "scl": np.stack([s[1] for s in seen], 1),
            "label": labels.label[self.row, self.column],
            "truth": labels.truth[self.row, self.column],
        }


def see(one, at):
    """A pass at some 10 m pixels: DN (P, 12) and SCL (P,)."""
    images, scl = observe(SEED, SCALE, one)
    steps = [int(b.resolution_m) // 10 for b in BANDS.values()]
    dn = np.stack([i[at[0] // s, at[1] // s] for i, s in zip(images, steps, strict=True)], 1)
    return dn, scl[at[0] // 2, at[1] // 2]


@pytest.fixture(scope="module")
def observed():
    """The training and the test year of the delta that learners get, at every third label pixel."""
    return Observations((2021, 2019), every=3)


def kept(year):
    return ~np.isin(year["scl"], DROPPED_SCL)


def test_band_means_and_spreads_are_like_the_published_ones(observed):
    year = observed.years[2021]
    values = year["dn"][kept(year)].astype(float)
    np.testing.assert_allclose(values.mean(0), MEAN, rtol=0.3)
    np.testing.assert_allclose(values.std(0), SPREAD, rtol=0.3)


def test_a_pixel_keeps_as_many_images_a_year_as_a_real_one(observed):
    for year in observed.years.values():
        days = [kept(year)[:, year["day"] == d].any(1) for d in np.unique(year["day"])]
        count = np.sum(days, axis=0)
        assert 60 <= count.mean() <= 145
        assert count.min() < 0.7 * count.mean()  # some pixels lie in one orbit only


def test_dates_are_irregular(observed):
    day = observed.years[2021]["day"]
    assert len(set(np.diff(np.unique(day)))) >= 3
    clear = day[kept(observed.years[2021])[100]]
    assert np.diff(clear).max() >= 10


def test_scl_has_all_that_real_ones_have(observed):
    found = set(np.unique(observed.years[2021]["scl"]))
    assert {0, 2, 3, 4, 5, 6, 7, 8, 9, 10} <= found


def test_scl_misses_thin_cloud_and_calls_young_and_ripe_crops_bare(observed):
    year = observed.years[2021]
    clear = kept(year)
    blue = np.where(clear & (year["scl"] == 4), year["dn"][..., 1], 0)
    assert 0.001 < np.mean(blue[blue > 0] > 1200) < 0.2  # vegetation that is too bright in the blue: missed cloud
    soy = year["truth"] == SOYBEANS
    for start, end in ((142, 160), (255, 275)):
        days = (year["day"] >= start) & (year["day"] < end)
        scl = year["scl"][soy][:, days]
        assert 0.1 < np.mean(scl[np.isin(scl, (4, 5))] == 5) < 0.97


def test_neighbours_share_a_brightness_error_that_differs_from_date_to_date():
    region, error = land.Region.of(1.0), []
    for overpass in sky.overpasses(SEED, [2021])[:60]:
        brightness = np.log(sky.sky(SEED, region, overpass).brightness)
        error.append((brightness[100, 100], brightness[100, 103], brightness[:, ::7].std()))
    here, beside, inside = np.transpose(error)
    assert 0.05 < here.std() < 0.1
    assert np.corrcoef(here, beside)[0, 1] > 0.95
    assert 0.05 < inside.mean() < 0.09


def test_scl_calls_bright_cloud_snow_in_summer_and_misses_all_shadows_on_some_dates(observed):
    year = observed.years[2021]
    summer = (year["day"] > 120) & (year["day"] < 270)
    blue, scl = year["dn"][:, summer, 1], year["scl"][:, summer]
    assert 0.005 < np.mean(scl[blue > 2500] == 11) < 0.05  # 2.3 % in the real images of Romania
    broken = np.mean(np.isin(scl, (8, 9)), axis=0)
    without = ~(scl == 3).any(0)[(broken > 0.2) & (broken < 0.8)]
    assert 0.2 < without.mean() < 0.8


def window(year, start=105, steps=24):
    """(P, steps × 12): the first clear image of each five days, 0 where there is none."""
    x = np.zeros((len(year["dn"]), steps, 12), np.float32)
    clear = kept(year)
    for k in range(steps):
        done = np.zeros(len(x), bool)
        for s in np.flatnonzero((year["day"] >= start + 5 * k) & (year["day"] < start + 5 * k + 5)):
            new = clear[:, s] & ~done
            x[new, k] = year["dn"][new, s]
            done |= new
    return x.reshape(len(x), -1)


def test_four_crops_are_as_hard_to_tell_apart_as_real_ones(observed):
    from sklearn.ensemble import RandomForestClassifier

    sides = {}
    for name, year in observed.years.items():
        crop = np.isin(year["label"], (CORN, COTTON, RICE, SOYBEANS))
        sides[name] = window(year)[crop], year["label"][crop]
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(*sides[2021])
    assert 0.75 <= forest.score(*sides[2019]) <= 0.93


def test_labels_have_mistakes_and_confidence_knows():
    labels = year_labels(SEED, SCALE, 2021)
    inside = labels.truth > 0
    wrong = inside & (labels.label != labels.truth)
    assert 0.02 < wrong.sum() / inside.sum() < 0.10
    assert labels.confidence[wrong].mean() < labels.confidence[inside & ~wrong].mean() - 15
    here = labels.truth
    middle = np.zeros(here.shape, bool)
    middle[1:-1, 1:-1] = np.all(
        [here[1:-1, 1:-1] == here[1 + a : here.shape[0] - 1 + a, 1 + b : here.shape[1] - 1 + b]
         for a in (-1, 0, 1) for b in (-1, 0, 1)], 0,
    )  # fmt: skip
    assert labels.confidence[inside & ~middle].mean() < labels.confidence[inside & middle].mean() - 5


def test_crops_rotate_and_every_year_has_all_four():
    truth = [year_labels(SEED, SCALE, y).truth for y in (2019, 2020, 2021)]
    for year in truth:
        share = {c: np.mean(year == c) for c in (CORN, COTTON, RICE, SOYBEANS)}
        assert min(share.values()) > 0.04
        assert max(share, key=share.get) == SOYBEANS
        others = np.isin(year, cdl.CULTIVATED).mean()
        assert 0.01 < others < 0.1  # 'Cultivated' exists, and is sparse
    crops = np.isin(truth[0], (CORN, SOYBEANS, RICE))
    assert np.mean(truth[0][crops] != truth[1][crops]) > 0.3


def test_ground_is_water_town_wood_and_fields_of_real_size():
    ground = land.build(SEED, SCALE)
    code = np.abs(ground.codes(SEED, 2021))
    share = {c: np.mean(code[ground.unit] == c) for c in np.unique(code)}
    assert 0.02 < share[land.WATER] < 0.15
    assert 0.05 < share[land.WOODY_WETLAND] < 0.25
    assert sum(share.get(c, 0) for c in (121, 122, 123, 124)) > 0.01
    fields = np.bincount(ground.unit.ravel())[ground.code == 0] / 100  # hectares
    assert 5 < np.median(fields) < 40
    assert 30 < fields.max() < 70  # up to a quarter section


# -- through the season ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seasons():
    """Class → (24, 12) mean reflectance without air, every 15 days from 8 January, over three years."""
    found = {}
    for year in (2019, 2020, 2021):
        ground = phenology.ground(SEED, 0.3, year)
        code = ground.phenology.code[ground.unit]
        for k in range(24):
            image = ground.reflectance(8 + 15 * k)
            for crop in (CORN, COTTON, RICE, SOYBEANS, WHEAT_SOY, land.GRASS, land.WATER):
                if (code == crop).any():
                    found.setdefault(crop, [[] for _ in range(24)])[k].append(image[:, code == crop].mean(1))
    return {c: np.array([np.mean(v, 0) for v in rows]) for c, rows in found.items()}


def ndvi(spectra):
    red, nir = spectra[:, 3], spectra[:, 7]
    return (nir - red) / (nir + red)


DAYS = 8 + 15 * np.arange(24)


@pytest.mark.parametrize("crop", [CORN, COTTON, RICE, SOYBEANS])
def test_summer_crops_peak_in_june_to_august_and_are_bare_in_spring_and_autumn(seasons, crop):
    index = ndvi(seasons[crop])
    top = date.fromordinal(date(2021, 1, 1).toordinal() + int(DAYS[index.argmax()]) - 1)
    assert (6, 20) <= (top.month, top.day) <= (8, 31)
    assert index.max() > 0.75
    assert index[(DAYS > 290) & (DAYS < 320)].max() < 0.5
    assert index[(DAYS > 110) & (DAYS < 130)].min() < 0.45


def test_crops_peak_in_the_order_of_their_calendar(seasons):
    middle = {}
    for crop in (CORN, RICE, SOYBEANS, COTTON):
        late = DAYS > 130
        weight = np.clip(ndvi(seasons[crop])[late] - 0.5, 0, None)
        middle[crop] = np.average(DAYS[late], weights=weight)
    assert middle[CORN] < middle[RICE] < middle[SOYBEANS] < middle[COTTON]


def test_wheat_before_soybeans_peaks_in_spring_and_again_in_late_summer(seasons):
    index = ndvi(seasons[WHEAT_SOY])
    spring, gap, summer = (index[(a <= DAYS) & (b > DAYS)] for a, b in ((80, 130), (150, 185), (215, 260)))
    assert spring.max() > 0.7
    assert gap.min() < 0.45
    assert summer.max() > 0.7


def test_flooded_rice_dips_in_the_shortwave_infrared_in_late_spring(seasons):
    days = (DAYS > 140) & (DAYS < 175)
    rice, others = seasons[RICE][days], np.mean([seasons[c][days] for c in (SOYBEANS, COTTON)], 0)
    assert (rice[:, 10] < 0.75 * others[:, 10]).all()
    assert rice[:, 7].min() < 0.2


def test_cotton_is_defoliated_late(seasons):
    cotton, corn = ndvi(seasons[COTTON]), ndvi(seasons[CORN])
    assert cotton[(DAYS > 240) & (DAYS < 260)].mean() > 0.6
    assert cotton[(DAYS > 285) & (DAYS < 300)].mean() < 0.4
    assert corn[(DAYS > 240) & (DAYS < 260)].mean() < 0.45


def test_seasons_are_like_those_measured_in_flanders(seasons, real):
    """Maize there is planted in May, here in early April; winter wheat is some six weeks later there."""
    with open(real / "crop_reflectance_flanders_2020-21.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["ndvi"]]
    bands = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12"]
    columns = [1, 2, 3, 4, 5, 6, 7, 10, 11]

    def real_at(crop, month):
        row = next(r for r in rows if r["class"] == crop and r["month"] == month)
        return np.array([float(row[b]) for b in bands]) / 10_000, float(row["ndvi"])

    # Full canopy: all bands; bare soil before planting: soils differ, so only the index.
    for crop, month, ours, days in (
        ("maize", "2021-08", CORN, (165, 200)),
        ("winter_cereal", "2021-05", WHEAT_SOY, (95, 120)),
        ("grassland", "2021-06", land.GRASS, (120, 200)),
    ):
        spectrum, index = real_at(crop, month)
        chosen = (days[0] <= DAYS) & (days[1] >= DAYS)
        mine = seasons[ours][chosen].mean(0)[columns]
        np.testing.assert_allclose(ndvi(seasons[ours][chosen]).mean(), index, atol=0.1)
        np.testing.assert_allclose(mine[[4, 5, 6]], spectrum[[4, 5, 6]], rtol=0.3)
        np.testing.assert_allclose(mine, spectrum, rtol=0.35, atol=0.025)
    spectrum, index = real_at("maize", "2021-05")
    bare = (DAYS > 95) & (DAYS < 125)
    np.testing.assert_allclose(ndvi(seasons[CORN][bare]).min(), index, atol=0.12)
    # From bare soil to full canopy, six weeks earlier. What follows differs: heat ripens it sooner in the delta.
    for month in (5, 6, 7, 8):
        there, day = real_at("maize", f"2021-{month:02d}")[1], 15 + 30.4 * (month - 1) - 42
        assert abs(np.interp(day, DAYS, ndvi(seasons[CORN])) - there) < 0.2


def test_mixing_is_ground_where_nothing_grows_and_canopy_where_it_is_deep():
    from arsetlib.simulate import spectra

    for band in range(12):
        for leaf, greenness, expected in ((0.0, 1.0, 0.3), (40.0, 1.0, 0.5), (40.0, 0.0, 0.1)):
            shows = np.exp(-spectra.EXTINCTION * leaf), np.exp(-spectra.EXTINCTION_INFRARED * leaf)
            got = spectra.mix(band, shows, np.array(0.3), np.array(0.5), np.array(0.1), np.array(greenness))
            assert got == pytest.approx(expected, abs=1e-6)
