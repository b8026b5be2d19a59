"""Metres on the ground: a label grid in which 100 ha are 100 ha, or an error that names the right one."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer

from arsetlib import ground, ingest, maps
from arsetlib.labels import Labels, find_labels
from arsetlib.maps import sources
from arsetlib.study import Area, LabelSource, Study, StudyError
from arsetlib.web import CatalogueError


def area(lon, lat, size=0.05):
    return Area("home", {"en": "Home"}, (lon, lat, lon + size, lat + size), "EPSG:4326")


def study_of(*areas, **labels):
    return Study.load("mississippi_delta").replace(areas=areas, years=(2021,), labels=LabelSource(**labels))


def write(path, codes, crs, left, top, dx, dy=None):
    transform = rasterio.Affine(dx, 0, left, 0, -(dy or dx), top)
    profile = {"driver": "GTiff", "height": codes.shape[0], "width": codes.shape[1], "count": 1, "dtype": codes.dtype}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as out:
        out.write(codes, 1)


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "says"),
    [
        ("EPSG:3857", 10, 60, "100 ha on its grid are 2.* ha on the ground in area 'home'"),
        ("EPSG:3857", 10, 45, "100 ha on its grid are"),
        ("EPSG:6933", 10, 60, "100 m on its grid are up to 173 m on the ground"),
        ("EPSG:2263", -74, 40.7, "its unit is the US survey foot"),
        ("EPSG:2222", -111, 33, "its unit is the foot"),
        ("EPSG:32636", -80, 30, "ha on the ground"),
        ("EPSG:4326", 10, 60, "its unit is degrees"),
        ("EPSG:4978", 10, 60, "not a projected CRS"),
    ],
)
def test_a_crs_whose_metres_are_not_metres_on_the_ground_is_named_with_the_reason(crs, lon, lat, says):
    home = area(lon, lat)
    with pytest.raises(ground.GridError, match=f"{says}.*Take the UTM zone of the areas, 'EPSG:32"):
        ground.check(CRS(crs), [home], "This")


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:5070", -81, 25), ("EPSG:5070", -97, 49), ("EPSG:3035", -16, 28), ("EPSG:3035", 25, 60),
        ("ESRI:102022", 32, 2), ("EPSG:2154", 8, 42), ("EPSG:27700", -2, 52), ("EPSG:32735", 32, -2),
        ("EPSG:32636", 33, -5), ("EPSG:3577", 140, -15), ("EPSG:3857", 32, 0.5), ("EPSG:2193", 172, -43),
    ],
)  # fmt: skip
def test_national_grids_utm_and_equal_area_grids_are_taken(crs, lon, lat):
    assert ground.fault(CRS(crs), [area(lon, lat)]) == ""


@pytest.mark.parametrize(
    ("lon", "lat", "zone"), [(33, 2, 32636), (-61, -34, 32720), (179.9, 10, 32660), (-180, 10, 32601), (0, -0.1, 32731)]
)
def test_the_utm_zone_is_that_of_the_middle_of_the_areas(lon, lat, zone):
    assert ground.utm_zone([area(lon, lat, 0.01)]).to_epsg() == zone


def test_areas_too_far_apart_for_one_zone_are_refused():
    with pytest.raises(ground.GridError, match="too far apart for one UTM zone.*EPSG:3035"):
        ground.grid_crs(None, [area(-8, 40), area(28, 45)])


def test_a_field_of_100_ha_is_100_ha_or_an_error_on_every_grid(tmp_path):
    """At 60° N: a square of 1 km on the ground, in rasters of several CRS."""
    home = area(10, 60, 0.08)
    for crs in ("EPSG:3857", "EPSG:4326", "EPSG:32632", "EPSG:3035"):
        back = Transformer.from_crs(crs, 32632, always_xy=True).transform
        middle = Transformer.from_crs(4326, 32632, always_xy=True).transform(10.04, 60.04)
        west, south, east, north = home.outline(crs).bounds
        side = {"EPSG:4326": 0.0001, "EPSG:3857": 20}.get(crs, 10)
        cols, rows = (int(np.ceil(d / side)) + 40 for d in (east - west, north - south))
        left, top = np.floor(west / side) * side - 20 * side, np.ceil(north / side) * side + 20 * side
        x, y = np.meshgrid(left + (np.arange(cols) + 0.5) * side, top - (np.arange(rows) + 0.5) * side)
        e, n = back(x, y)
        codes = np.where((abs(e - middle[0]) < 500) & (abs(n - middle[1]) < 500), 2, 1).astype(np.uint8)
        write(tmp_path / "mine.tif", codes, crs, left, top, side)
        study = study_of(home, kind="raster", path=str(tmp_path / "mine.tif"))
        found = find_labels(study, 2021, tmp_path / f"cache_{crs[5:]}", progress=False)
        counted = maps.class_areas(found, [home], study).set_index("code")["hectares"]
        assert counted[2] == pytest.approx(100, rel=0.01), crs
        grid = sources.grid_of(study, home)
        made = ingest.Grid.of(found)
        assert CRS(grid.crs) == CRS(made.crs)
        assert (grid.side, grid.x0, grid.y0) == (made.side, made.x0, made.y0)


def test_a_raster_in_degrees_is_brought_to_the_utm_zone_by_nearest_neighbour_and_says_so(tmp_path, capsys):
    home = area(-61, -34, 0.02)  # Argentina: rows count from 10,000,000 m
    codes = np.random.default_rng(1).integers(1, 5, (320, 320)).astype(np.uint8)
    left, top, side = -61.005, -33.975, 0.0001
    write(tmp_path / "mine.tif", codes, "EPSG:4326", left, top, side)
    study = study_of(home, kind="raster", path=str(tmp_path / "mine.tif"))
    for _ in range(2):  # a rerun from the cache says it again
        found = find_labels(study, 2021, tmp_path / "cache")
        said = capsys.readouterr().out
        assert "mine.tif is in EPSG:4326, and its unit is degrees; brought to pixels of 10 m in EPSG:32720" in said
    with rasterio.open(found.path) as src:
        got, t = src.read(1), src.transform
        assert (src.crs.to_epsg(), t.a, t.c % 10, t.f % 10) == (32720, 10, 0, 0)
    to_degrees = Transformer.from_crs(32720, 4326, always_xy=True).transform
    for r, c in np.ndindex(40, 40):
        lon, lat = to_degrees(*(t * (c + 0.5, r + 0.5)))
        assert got[r, c] == codes[int((top - lat) / side), int((lon - left) / side)]


def test_feet_are_brought_to_metres(tmp_path):
    home = area(-74, 40.7, 0.02)
    west, _, _, north = home.outline("EPSG:2263").bounds
    codes = np.ones((260, 260), np.uint8)
    write(tmp_path / "mine.tif", codes, "EPSG:2263", west // 1 - 200, north // 1 + 200, 32.8)
    study = study_of(home, kind="raster", path=str(tmp_path / "mine.tif"))
    found = find_labels(study, 2021, tmp_path / "cache", progress=False)
    with rasterio.open(found.path) as src:
        assert (src.crs.to_epsg(), src.res) == (32618, (10, 10))


def test_a_raster_of_another_part_of_the_earth_does_not_cover_the_area(tmp_path):
    home = area(-61, -34)
    write(tmp_path / "mine.tif", np.ones((50, 50), np.uint8), "EPSG:32655", 500_000, 4_000_000, 10)
    study = study_of(home, kind="raster", path=str(tmp_path / "mine.tif"))
    with pytest.raises(CatalogueError, match=r"mine\.tif does not cover area 'home': 100% of the area"):
        find_labels(study, 2021, tmp_path / "cache", progress=False)


def test_labels_put_together_by_hand_on_a_distorted_grid_are_refused(tmp_path):
    home = area(10, 60)
    west, _, _, north = home.outline("EPSG:3857").bounds
    left, top = west // 20 * 20 - 100, north // 20 * 20 + 100
    write(tmp_path / "mine.tif", np.ones((800, 800), np.uint8), "EPSG:3857", left, top, 20)
    by_hand = Labels(2021, tmp_path / "mine.tif", None, "", False)
    with pytest.raises(ground.GridError, match="ha on the ground"):
        maps.class_areas(by_hand, [home], study_of(home))
    with pytest.raises(maps.MapError, match="ha on the ground.*labels=…"):
        sources.grid_of(study_of(home), home, by_hand)


def test_a_grid_that_the_study_states_and_the_raster_does_not_have_is_refused(tmp_path):
    home = area(33, 2)
    west, _, _, north = home.outline("EPSG:32636").bounds
    left, top = west // 10 * 10 - 20, north // 10 * 10 + 20
    write(tmp_path / "mine.tif", np.ones((700, 700), np.uint8), "EPSG:32636", left, top, 10)
    study = study_of(home, kind="raster", path=str(tmp_path / "mine.tif"))
    for wrong, says in (({"crs": "EPSG:32635"}, "labels] crs says"), ({"resolution": 30.0}, "resolution says 30")):
        with pytest.raises(CatalogueError, match=says):
            find_labels(study.replace(labels=replace(study.labels, **wrong)), 2021, tmp_path)
    for same in ({"crs": "EPSG:32636"}, {"resolution": 10.0}):
        find_labels(study.replace(labels=replace(study.labels, **same)), 2021, tmp_path)


# -- bounds of a study file

DELTA = """
[study]
key = "k"
name = "n"
years = [2021]
[labels]
kind = "raster"
path = "labels.tif"
[areas.a]
bounds = {bounds}
{crs}
[classes.rest]
codes = "others"
"""


@pytest.mark.parametrize(
    ("bounds", "crs", "says"),
    [
        ([32.8, 2.1, 33.0, 2.3], "", "look like degrees.*its crs is 'EPSG:5070' \\(the default"),
        ([32.8, 2.1, 33.0, 2.3], "EPSG:32636", "look like degrees.*EPSG:4326"),
        ([33.0, -91.0, 33.2, -90.8], "EPSG:5070", "look like degrees.*EPSG:4326.*latitude stands first"),
        ([479000, 250000, 480000, 251000], "EPSG:4326", "are no degrees.*If they are metres, write the crs"),
        ([-34, -161, -33, -160], "EPSG:4326", "have latitude first"),
        ([5_400_000, 500_000, 5_401_000, 501_000], "EPSG:32633", "x and y seem swapped"),
        ([6_000_000, 400_000, 6_001_000, 401_000], "EPSG:32720", "x and y seem swapped"),
        ([479_000, 9e8, 480_000, 9e8 + 1], "EPSG:32636", "lie far from where this crs is used"),
        ([500_000, 9_000_000, 501_000, 9_001_000], "EPSG:5070", "lie far from where this crs is used"),
    ],
)
def test_wrong_bounds_are_refused_when_the_study_is_read(bounds, crs, says):
    text = DELTA.format(bounds=bounds, crs=f'crs = "{crs}"' if crs else "")
    with pytest.raises(StudyError, match=rf"\[areas\.a\] bounds.*{says}"):
        Study.parse(text)


@pytest.mark.parametrize(
    ("bounds", "crs"),
    [
        ([32.8, 2.1, 33.0, 2.3], "EPSG:4326"),
        ([479_000, -551_000, 480_000, -550_000], "EPSG:32636"),  # south of the equator in a northern zone
        ([479_000, 9_449_000, 480_000, 9_450_000], "EPSG:32736"),
        ([900_000, 250_000, 910_000, 251_000], "EPSG:32636"),  # beyond the zone's edge
        ([3_600_000, 200_000, 3_700_000, 260_000], "EPSG:3857"),
        ([178.2, -38.5, 178.4, -38.3], "EPSG:4326"),
        ([2_030_000, 5_700_000, 2_040_000, 5_710_000], "EPSG:2193"),
    ],
)
def test_bounds_that_can_be_meant_are_taken(bounds, crs):
    assert Study.parse(DELTA.format(bounds=bounds, crs=f'crs = "{crs}"')).areas[0].bounds == tuple(bounds)


def test_a_scale_bar_measures_the_ground():
    home = area(10, 60)
    assert ground.metres_per_unit(home) == pytest.approx(55_700, rel=0.01)
    mercator = Area("m", {"en": "m"}, home.outline("EPSG:3857").bounds, "EPSG:3857")
    assert ground.metres_per_unit(mercator) == pytest.approx(0.5, rel=0.01)
