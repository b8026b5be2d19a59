"""Study files: what they promise an instructor who changes one."""

import contextlib
import re
from dataclasses import FrozenInstanceError
from datetime import date, datetime
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely import Point

from arsetlib import cdl, sentinel2, study
from arsetlib.study import Area, Class, Legend, Season, Study, StudyError, parsing

DELTA = (resources.files("arsetlib") / "studies" / "mississippi_delta.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", study.shipped())
def test_every_shipped_study_loads_and_names_every_class_in_english_and_spanish(name):
    loaded = Study.load(name)
    assert loaded.areas
    assert loaded.years
    for c in loaded.legend.classes:
        assert {"en", "es"} <= set(c.name)


def test_the_delta_has_the_originals_boxes_and_split():
    delta = Study.load("mississippi_delta")
    assert len(delta.areas) == 8
    assert [a.every for a in delta.areas] == [15] * 7 + [1]
    assert delta.split == {"train": (2021,), "validation": (2020,), "test": (2019,)}
    # The original took every 15th pixel along x and y: about 80,617 series a year.
    pixels = sum((a.bounds[2] - a.bounds[0]) * (a.bounds[3] - a.bounds[1]) / 30**2 / 15**2 for a in delta.areas[:7])
    assert abs(pixels / 80_617 - 1) < 0.01


def test_the_deltas_legend_places_every_code_of_the_cdl_and_no_other():
    legend = Study.load("mississippi_delta").legend
    placed = {code for c in legend.classes for code in c.codes} | set(legend.excluded)
    assert set(cdl.CODES) <= placed
    legend.classes_of(np.array(sorted(cdl.CODES)))


def test_no_crop_falls_silently_to_uncultivated():
    legend = Study.load("mississippi_delta").legend
    classes = legend.classes_of(np.array(sorted(set(cdl.CROPS) - set(cdl.DOUBLE_CROPS))))
    assert legend.keys.index("uncultivated") not in classes
    barley = cdl.code_of("Barley")
    assert legend.keys[legend.classes_of(np.array([barley]))[0]] == "cultivated"


def test_double_crops_are_excluded_and_lettuce_and_pumpkins_are_not():
    legend = Study.load("mississippi_delta").legend
    assert (legend.classes_of(np.array(cdl.DOUBLE_CROPS)) == -1).all()
    assert (legend.classes_of(np.array([227, 229])) == legend.keys.index("cultivated")).all()


def test_bands_are_those_of_the_satellite_in_its_order():
    assert tuple(sentinel2.BANDS) == study.ALL_BANDS


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=50))
def test_classes_of_equals_a_plain_loop(codes):
    legend = Legend(
        "test",
        (Class("a", {"en": "A"}, "#000000", (1, 2)), Class("rest", {"en": "R"}, "#000000", "others")),
        excluded=(5, 7),
    )
    expected = [-1 if c in (5, 7) else 0 if c in (1, 2) else 1 for c in codes]
    assert legend.classes_of(np.array(codes, int)).tolist() == expected


@pytest.mark.parametrize(
    ("one", "two", "name"),
    [
        ('"Millet"', '"millet"', r"'millet' \(en\)"),
        ('{ en = "Tef", es = "Mijo" }', '{ en = "Millet", es = "Mijo" }', r"'Mijo' \(es\)"),
        ('{ en = "Mijo" }', '{ en = "Millet", es = "Mijo" }', r"'Mijo' \(es\)"),
    ],
)
def test_two_classes_of_one_name_are_refused(one, two, name):
    more = f"[classes.a]\nname = {one}\ncodes = [900]\n[classes.b]\nname = {two}\ncodes = [901]\n"
    with pytest.raises(StudyError, match=rf"\[classes\.a\] and \[classes\.b\] have the same name {name}"):
        Study.parse(f"{DELTA}\n{more}")


@pytest.mark.parametrize(
    ("name", "says"),
    [('"<b>Millet</b>"', "'<b>', which figures take"), ('" "', "is empty"), (r'"Pearl\nmillet"', "control character")],
)
@pytest.mark.parametrize("where", ["[classes.a]\ncodes = [900]\nname", "[areas.a]\nbounds = [0, 0, 900, 900]\nname"])
def test_a_name_that_figures_would_not_show_is_refused(where, name, says):
    with pytest.raises(StudyError, match=f"name = .*{says}"):
        Study.parse(f"{DELTA}\n{where} = {name}\n")
    assert (
        Study.parse(f'{DELTA}\n[classes.a]\ncodes = [900]\nname = "Millet < 2 m"\n').legend.names()[-1]
        == "Millet < 2 m"
    )


def test_a_code_in_no_class_is_an_error_that_names_it():
    legend = Legend("test", (Class("a", {"en": "A"}, "#000000", (1,)),))
    with pytest.raises(ValueError, match=r"\[9, 200\].*'test'.*others"):
        legend.classes_of(np.array([1, 9, 200]))


def test_an_outline_keeps_land_that_two_corners_would_cut_off():
    box = Area("b", {"en": "b"}, (465073, 1479393, 583994, 1504168), "EPSG:5070")
    west, south, east, north = box.bounds
    to_degrees = Transformer.from_crs("EPSG:5070", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform([west, east], [south, north])
    outline = box.outline()
    outside = []
    for x in np.linspace(west, east, 60):
        for y in np.linspace(south, north, 60):
            point = Point(*to_degrees.transform(x, y))
            assert outline.distance(point) < 1e-6
            outside.append(not (lon[0] <= point.x <= lon[1] and lat[0] <= point.y <= lat[1]))
    assert np.mean(outside) > 0.05  # of the box, lost by reprojecting two corners


def test_relative_paths_are_read_against_the_root_and_urls_are_left_alone(tmp_path):
    sample = Study.load("mississippi_delta").at(tmp_path)
    assert sample.resolve("cdl_{year}.tif") == str(tmp_path / "cdl_{year}.tif")
    assert sample.resolve("https://example.org/x") == "https://example.org/x"


def test_a_study_file_knows_its_folder(tmp_path):
    (tmp_path / "mine.toml").write_text(DELTA, encoding="utf-8")
    assert Study.load(tmp_path / "mine.toml").root == tmp_path


def test_the_fingerprint_changes_with_what_changes_the_table_only():
    delta = Study.load("mississippi_delta")
    assert delta.replace(name={"en": "x"}, season=Season(60, 10)).fingerprint() == delta.fingerprint()
    for change in ({"years": (2021,)}, {"seed": 2}, {"drop_scl": (0,)}, {"min_confidence": 50}, {"block_m": 1.0}):
        assert delta.replace(**change).fingerprint() != delta.fingerprint()


def test_a_study_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        Study.load("mississippi_delta").years = ()


def test_120_days_in_steps_of_5_are_24_steps():
    assert Season(120, 5).steps == 24


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("window_days = 120", "windw_days = 120", r"windw_days.*did you mean 'window_days'"),
        ("step_days = 5", "step_days = 7", "no multiple"),
        ("train = [2021]", "train = [2020]", r"\[2020\] on two sides"),
        ("test = [2019]", "test = [2018]", r"2018.*does not have"),
        ("[areas.dense]", "[area.dense]", r"'area'.*did you mean 'areas'"),
        ("bounds = [484932, 1401912, 489035, 1405125]", "bounds = [489035, 1401912, 484932, 1405125]", "west < east"),
        ('crs = "EPSG:5070"', 'crs = "EPSG:507000"', "no CRS"),
        ('kind = "cdl"', 'kind = "cdll"', "did you mean 'cdl'"),
        ('kind = "cdl"', 'kind = "raster"', "needs path"),
        ('kind = "cdl"', 'kind = "cdl"\nconfidence = "c.tif"', "has no use for it"),
        ('kind = "cdl"', 'kind = "cdl"\nresolution = 20', "pixels of 30 m or of 10 m"),
        ('kind = "cdl"', 'kind = "cdl"\nresolution = 10', r"10 m from 2024 on, and .* has \[2019, 2020, 2021\]"),
        ('kind = "cdl"', 'kind = "cropscape"\nresolution = 10', "has pixels of 30 m; kind = 'cdl' has 10 m"),
        ('kind = "cdl"', 'kind = "cdl"\nlayer = "fields"', "layer belongs to a vector file"),
        ('kind = "cdl"', 'kind = "cdl"\ncrs = "EPSG:99999"', r"\[labels\] crs = 'EPSG:99999' is no CRS"),
        ("codes = [2]", "codes = [1]", "code 1 is both"),
        ('colour = "#ff2626"', 'colour = "red"', "#rrggbb"),
        ("years = [2019, 2020, 2021]", "years = [2019, 2020, 20210]", "whole number from 1984"),
        ("years = [2019, 2020, 2021]", "years = 2019", "must be a list"),
        ("simulated = false", 'simulated = "no"', "true or false"),
        ("seed = 1", 'seed = 1\nbands = ["blu"]', "did you mean 'blue'"),
        ("max_cloud = 95", "max_cloud = 950", "from 0 to 100"),
        ("every = 15", "every = 0", "whole number from 1"),
        ("[classes.cotton]", "[classes.cotton-2]", "cannot be a key"),
        ('"230-241"', '"241-230"', "no range"),
        ("[season]", "[season", "not valid TOML"),
        ('kind = "cdl"', 'kind = "raster"\npath = "data\\new_{year}.tif"', r"path .*control character.*single quotes"),
        ('kind = "cdl"', 'kind = "raster"\npath = "C:\\Users\\me.tif"', "not valid TOML.*single quotes"),
        ('kind = "cdl"', 'kind = "raster"\npath = "a\\Data\\me.tif"', "not valid TOML.*single quotes"),
    ],
)
def test_a_mistake_in_a_study_file_is_one_clear_error(old, new, says):
    assert old in DELTA
    with pytest.raises(StudyError, match=re.compile(says, re.DOTALL)):
        Study.parse(DELTA.replace(old, new, 1), "mine.toml")


def test_an_unknown_study_lists_the_shipped_ones():
    with pytest.raises(StudyError, match="did you mean 'mississippi_delta'"):
        Study.load("misissippi_delta")
    with pytest.raises(StudyError, match=r"no study file .*nowhere\.toml"):
        Study.load("nowhere.toml")


def test_a_study_file_that_is_not_text_is_one_clear_error(tmp_path):
    (tmp_path / "mine.toml").write_bytes(DELTA.replace("delta", "d\u00e9lta").encode("latin-1"))
    with pytest.raises(StudyError, match="not UTF-8"):
        Study.load(tmp_path / "mine.toml")


def test_an_unknown_area_names_those_there_are():
    with pytest.raises(StudyError, match="did you mean 'dense'"):
        Study.load("mississippi_delta").area("dens")


# Every key that a study file may have, and the TOML types that it takes.
EVERY_KEY = {
    ("study", "key"): (str,), ("study", "name"): (str, dict), ("study", "description"): (str,),
    ("study", "simulated"): (bool,), ("study", "years"): (list,), ("study", "bands"): (list,),
    ("study", "seed"): (int,),
    ("areas",): (dict,), ("areas", "home"): (dict,), ("areas", "home", "name"): (str, dict),
    ("areas", "home", "bounds"): (list,), ("areas", "home", "crs"): (str,), ("areas", "home", "every"): (int,),
    ("split",): (dict,), ("split", "train"): (list,), ("split", "validation"): (list,), ("split", "test"): (list,),
    ("split", "block_m"): (int, float), ("season",): (dict,), ("season", "window_days"): (int,),
    ("season", "step_days"): (int,), ("season", "first_day"): (int,), ("season", "last_day"): (int,),
    ("scenes",): (dict,), ("scenes", "url"): (str,), ("scenes", "collection"): (str,),
    ("scenes", "max_cloud"): (int, float), ("scenes", "min_valid"): (int, float), ("scenes", "drop_scl"): (list,),
    ("labels",): (dict,), ("labels", "kind"): (str,), ("labels", "path"): (str,), ("labels", "confidence"): (str,),
    ("labels", "code_column"): (str,), ("labels", "crs"): (str,), ("labels", "resolution"): (int, float),
    ("labels", "same_every_year"): (bool,), ("labels", "min_confidence"): (int,), ("legend",): (dict,),
    ("legend", "name"): (str,),
    ("legend", "excluded"): (list,), ("classes",): (dict,), ("classes", "corn"): (dict,),
    ("classes", "corn", "name"): (str, dict), ("classes", "corn", "codes"): (list,),
    ("classes", "corn", "colour"): (str,), ("classes", "corn", "crop"): (bool,), ("channels",): (dict,),
    ("channels", "sensors"): (dict,), ("channels", "indices"): (list,), ("channels", "day_of_year"): (bool,),
}  # fmt: skip
EVERY_TYPE = ("words", 7, 0.5, True, [[1]], [{}], [None], {"odd": 1}, {}, [], date(2021, 5, 1), datetime(2021, 5, 1, 7))


def whole_study() -> dict:
    found = {
        "study": {"key": "k", "name": "N", "description": "", "simulated": False, "years": [2020, 2021], "seed": 1},
        "areas": {"home": {"name": "Home", "bounds": [0, 0, 9000, 9000], "crs": "EPSG:5070", "every": 2}},
        "split": {"train": [2021], "validation": [2020], "test": [], "block_m": 600},
        "season": {"window_days": 120, "step_days": 5, "first_day": 1, "last_day": 200},
        "scenes": {"url": "items.json", "collection": "c", "max_cloud": 95, "min_valid": 0.3, "drop_scl": [0, 1]},
        "labels": {"kind": "raster", "path": "l.tif", "confidence": "c.tif", "code_column": "code", "crs": "EPSG:5070"},
        "legend": {"name": "mine", "excluded": [9]},
        "classes": {"corn": {"name": {"en": "Corn"}, "codes": [1], "colour": "#ffd400", "crop": True}},
        "channels": {"sensors": {"radar": ["vv"]}, "indices": ["ndvi"], "day_of_year": False},
    }
    more = {"resolution": 30, "min_confidence": 0, "same_every_year": True}
    found["study"]["bands"], found["labels"] = ["red", "nir"], found["labels"] | more
    return found


def read(raw: dict) -> Study:
    return Study(**parsing.Parser("study.toml").values(raw))


def test_the_study_of_every_key_loads_and_no_key_is_left_out():
    read(whole_study())
    placed = {(t, *rest) for t, *rest in EVERY_KEY}
    given = {(t, k) for t, table in whole_study().items() if t not in ("areas", "classes") for k in table} | {
        (t, n, k) for t in ("areas", "classes") for n, table in whole_study()[t].items() for k in table
    }
    assert given <= placed


@pytest.mark.parametrize("where", EVERY_KEY, ids=".".join)
def test_a_value_of_another_type_is_an_error_that_names_its_key(where):
    for value in EVERY_TYPE:
        raw = whole_study()
        table = raw
        for step in where[:-1]:
            table = table[step]
        table[where[-1]] = value
        if type(value) in EVERY_KEY[where]:
            with contextlib.suppress(StudyError):
                read(raw)
        else:
            with pytest.raises(StudyError, match=where[-1]):
                read(raw)


@pytest.mark.parametrize("table", ["study", "areas", "split", "season", "scenes", "labels", "legend", "classes"])
@pytest.mark.parametrize("value", [1, "words", [1], True], ids=repr)
def test_a_value_where_a_table_belongs_is_one_clear_error(table, value):
    with pytest.raises(StudyError, match=table):
        read(whole_study() | {table: value})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_study_file_is_read_as_editors_save_it(tmp_path, encoding, newline):
    (tmp_path / "a.toml").write_bytes(DELTA.replace("\n", newline).encode(encoding))
    assert Study.load(tmp_path / "a.toml").text == DELTA


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (DELTA.encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        ("ñ".encode("latin-1"), "not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "cannot be read as TOML"),
        (b"a = " + b"1" * 10_000, "cannot be read as TOML"),
    ],
)
def test_a_study_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path, data, says):
    (tmp_path / "a.toml").write_bytes(data)
    with pytest.raises(StudyError, match=f"a.toml.*{says}"):
        Study.load(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("bounds", "labels", "says"),
    [
        ("[2.15, 32.80, 2.35, 33.00]", 'kind = "vector"\npath = "a_{year}.gpkg"\ncode_column = "c"\ncrs = "EPSG:32636"',
         r"far from where \[labels\] crs = 'EPSG:32636' is used.* seem swapped"),
        ("[32.80, 2.15, 33.00, 2.35]", 'kind = "vector"\npath = "a_{year}.gpkg"\ncode_column = "c"\ncrs = "EPSG:32615"',
         r"far from where \[labels\] crs = 'EPSG:32615' is used"),
        ("[2.0, 41.0, 2.1, 41.1]", 'kind = "cdl"', "covers only the contiguous United States"),
        ("[33.5, -90.1, 33.6, -90.0]", 'kind = "cdl"', "have latitude first"),
        ("[34.0, -79.0, 34.1, -78.9]", 'kind = "cdl"', "seem swapped"),
        ("[90.0, 33.0, 90.1, 33.1]", 'kind = "cdl"', "Longitudes in the United States are negative"),
        ("[20.0, 85.0, 20.1, 85.1]", 'kind = "vector"\npath = "a_{year}.gpkg"\ncode_column = "c"', "end at latitude"),
    ],
)  # fmt: skip
def test_an_area_without_scenes_or_labels_is_refused_before_anything_is_fetched(tmp_path, bounds, labels, says):
    text = (resources.files("arsetlib") / "studies" / "own_labels.toml").read_text(encoding="utf-8")
    text = re.sub(r"\[labels\]\n(.+\n)+", lambda _: f"[labels]\n{labels}\n", text)
    text = re.sub(r"(?m)^bounds = .*$", f"bounds = {bounds}", text)
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=says):
        Study.load(tmp_path / "s.toml")


@pytest.mark.parametrize("crs", ["EPSG:6933", "EPSG:3857"])
def test_a_crs_of_the_whole_world_is_near_every_area(crs):
    text = (resources.files("arsetlib") / "studies" / "own_labels.toml").read_text(encoding="utf-8")
    assert Study.parse(text.replace('crs = "EPSG:32636" ', f'crs = "{crs}" ')).labels.crs == crs
