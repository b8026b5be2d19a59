"""Parcels: outlines are read or refused with a reason, pixels are summed exactly, and what it gains is measured."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from pyogrio.raw import read as read_layer
from pyogrio.raw import write
from rasterio.transform import Affine, from_origin
from shapely import MultiPolygon, Point, Polygon, box
from typer.testing import CliRunner

from arsetlib import catalogue, cli, maps, parcels, samples, simulate
from arsetlib.labels import Labels
from arsetlib.maps.products import NODATA, Prediction, legend_as_json
from arsetlib.parcels import sums
from arsetlib.parcels.coverage import coverage
from arsetlib.parcels.segmentation import LEVELS
from arsetlib.study import Class, Legend, Study

CRS, SIDE, WEST, NORTH, ROWS, COLS = "EPSG:32615", 10.0, 500_000.0, 3_700_000.0, 40, 50
LEGEND = Legend(
    "three",
    tuple(Class(n, {"en": n}, c, (i,)) for i, (n, c) in enumerate(
        (("corn", "#ffd400"), ("rice", "#00a9e6"), ("cotton", "#ff2626")), 1)),
)  # fmt: skip


def at(left, top, right, bottom):
    """A rectangle in pixels from the map's upper left corner."""
    return box(WEST + left * SIDE, NORTH - bottom * SIDE, WEST + right * SIDE, NORTH - top * SIDE)


def write_raster(path, data, **change):
    data = data if data.ndim == 3 else data[None]
    profile = {"driver": "GTiff", "width": data.shape[2], "height": data.shape[1], "count": len(data), "crs": CRS,
               "dtype": data.dtype, "transform": from_origin(WEST, NORTH, SIDE, SIDE)} | change  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(data)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A map of three classes, made up, with a hole."""
    folder, rng = tmp_path_factory.mktemp("map"), np.random.default_rng(1)
    chance = rng.dirichlet([1, 1, 1], (ROWS, COLS)).transpose(2, 0, 1)
    counts = np.rint(chance * 10_000).astype(np.uint16)
    classes = counts.argmax(0).astype(np.uint8)
    classes[5:9, 5:9], counts[:, 5:9, 5:9] = 255, NODATA["probability"]
    files = {name: f"toy_{name}.tif" for name in ("class", "probability", "vegetation")}
    for name, data in (("class", classes), ("probability", counts), ("vegetation", np.ones_like(classes))):
        write_raster(folder / files[name], data)
    info = {"legend": legend_as_json(LEGEND), "files": files, "simulated": True, "area": "toy", "year": 2021}
    return Prediction(folder, "toy", info)


def outlines(*shapes, crs=CRS, **more):
    return parcels.Parcels(np.array(shapes, object), np.arange(len(shapes)), crs, "made up", **more)


def save(path, shapes, crs=CRS, **columns):
    wkb = np.array([None if s is None else shapely.to_wkb(s) for s in shapes], object)
    columns = columns or {"n": np.arange(len(shapes))}
    write(str(path), wkb, [np.asarray(v) for v in columns.values()], list(columns), crs=crs, geometry_type="Unknown")
    return path


def by_parcel(made, *shapes, **options):
    return parcels.by_parcel(made, outlines(*shapes), progress=False, **options)


# -- sums -----------------------------------------------------------------------------------------------------------

POLYGON = st.tuples(*[st.floats(-5, 55)] * 2, st.floats(0.2, 30), st.integers(3, 9), st.floats(0, 6))


@given(st.lists(POLYGON, min_size=1, max_size=3))
@example([(0.0, 1.0, 2.0, 4, 0.0)])
@example([(-5.0, 20.0, 5.0, 4, 0.0)])
def test_coverage_is_what_cutting_every_pixel_gives(drawn):
    shapes = np.array([
        Polygon([(x + r * np.cos(turn + 2 * np.pi * k / n), y + r * np.sin(turn + 2 * np.pi * k / n))
                 for k in range(n)]) for x, y, r, n, turn in drawn
    ])  # fmt: skip
    found = coverage(shapes, 0, 40, 1, 40, 50)
    pixel = [box(c, 39 - r, c + 1, 40 - r) for r in range(40) for c in range(50)]
    for i, shape in enumerate(shapes):
        mine = slice(found.first[i], found.first[i + 1])
        dense = np.zeros(2000)
        dense[found.cell[mine]] = found.share[mine]
        assert np.allclose(dense, shapely.area(shapely.intersection(shape, pixel)), atol=1e-6)


def test_votes_and_probabilities_are_those_of_a_plain_loop(made, monkeypatch):
    monkeypatch.setattr(sums, "TILE", 16)
    shapes = [at(2.3, 1.1, 12.6, 14.2), at(20, 20, 30, 30), Point(WEST + 300, NORTH - 150).buffer(95)]
    found = by_parcel(made, *shapes)
    classes, chance = (rasterio.open(made.path(n)).read() for n in ("class", "probability"))
    for i, shape in enumerate(shapes):
        votes, chances, area = np.zeros(3), np.zeros(3), 0.0
        for row in range(ROWS):
            for col in range(COLS):
                share = shape.intersection(at(col, row, col + 1, row + 1)).area / SIDE**2
                area += share
                if classes[0, row, col] != 255:
                    votes[classes[0, row, col]] += share
                    chances += share * chance[:, row, col] / 10_000
        assert np.allclose(found.votes[i], votes, atol=1e-6)
        assert np.allclose(found.chances[i], chances, atol=1e-6)
        assert found.area[i] == pytest.approx(area)
        assert found.table["unknown"][i] == pytest.approx(area - votes.sum(), abs=1e-6)
    assert found.table["unknown"][0] > 10


def test_tiles_change_nothing(made, monkeypatch):
    shapes = [at(1, 1, 49, 39), at(7.5, 3.5, 33.3, 30.1)]
    whole = by_parcel(made, *shapes)
    monkeypatch.setattr(sums, "TILE", 7)
    tiled = by_parcel(made, *shapes)
    assert np.allclose(whole.votes, tiled.votes)
    assert np.allclose(whole.chances, tiled.chances)


def test_outlines_in_another_crs_give_the_same_sums(made):
    one = by_parcel(made, at(10, 10, 30, 30))
    moved = outlines(at(10, 10, 30, 30)).to("EPSG:4326")
    assert "4326" in moved.crs or "WGS 84" in moved.crs
    assert np.allclose(parcels.by_parcel(made, moved, progress=False).votes, one.votes, atol=1e-3)


def test_a_parcel_has_the_class_of_the_highest_mean_probability_or_of_most_pixels(made):
    shapes = [at(c, r, c + 3, r + 3) for r in range(10, 37, 3) for c in range(0, 48, 3)]
    by_mean, by_most = (by_parcel(made, *shapes, rule=rule) for rule in ("probability", "majority"))
    table = by_mean.table
    assert (by_mean.classes == by_mean.chances.argmax(1)).all()
    assert (by_most.classes == by_most.votes.argmax(1)).all()
    assert (table["majority"] == by_most.table["class"]).all()
    assert by_mean.summary()["rules_differ"] == (by_mean.classes != by_most.classes).sum() > 0
    assert table["probability"].to_numpy() == pytest.approx(by_mean.probability.max(1))
    ordered = np.sort(by_most.shares, axis=1)
    assert table["margin"].to_numpy() == pytest.approx(ordered[:, -1] - ordered[:, -2])
    assert table[["p_corn", "p_rice", "p_cotton"]].to_numpy().sum(1) == pytest.approx(1)


def test_parcels_without_a_class_are_kept_and_counted(made):
    shapes = [at(1, 1, 4, 4), at(20.1, 20.1, 20.7, 20.9), at(5.5, 5.5, 8.5, 8.5), at(80, 80, 90, 90)]
    found = by_parcel(made, *shapes)
    assert list(found.table["state"]) == ["mapped", "too small", "no prediction", "outside the map"]
    assert found.classes.mask.tolist() == [False, True, True, True]
    assert found.table["class_number"].isna().tolist() == [False, True, True, True]
    assert found.summary()["states"] == {"mapped": 1, "too small": 1, "no prediction": 1, "outside the map": 1}
    assert "1 mapped, 1 too small, 1 no prediction, 1 outside the map" in str(found)


def test_parcels_beside_the_map_are_refused_with_both_places(made):
    with pytest.raises(
        parcels.ParcelError, match=r"None of the 1 parcels of made up lies on the map toy.*check the CRS"
    ):
        by_parcel(made, at(200, 200, 210, 210))
    with pytest.raises(parcels.ParcelError, match="Expected rule = 'probability' or 'majority', received 'mean'"):
        by_parcel(made, at(0, 0, 9, 9), rule="mean")


@pytest.mark.parametrize(
    ("product", "change", "says"),
    [
        ("probability", lambda c: (np.concatenate([c, c]), {}), "expected 3 bands of 40 × 50 .* received 6 bands"),
        ("probability", lambda c: (c, {"transform": from_origin(WEST + 9, NORTH, SIDE, SIDE)}), "does not belong to"),
        ("probability", lambda c: (c[:, 1:], {}), "does not belong to"),
        ("probability", lambda c: (np.full_like(c, 65_535), {}), "lacks pixels that"),
        ("class", lambda c: (np.full((ROWS, COLS), 7, np.uint8), {}), "has class 7; the legend has 3 classes"),
        ("class", lambda c: (c[0], {"transform": Affine(10, 3, WEST, -3, -10, NORTH)}), "north-up .* in metres"),
        ("class", lambda c: (c[0], {"transform": Affine(10, 0, WEST, 0, -20, NORTH)}), "square pixels in metres"),
        ("class", lambda c: (c[0], {"crs": "EPSG:2225"}), "in metres"),
    ],
)  # fmt: skip
def test_rasters_that_are_not_one_map_are_refused(made, tmp_path, product, change, says):
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    data, options = change(rasterio.open(made.path("probability")).read())
    write_raster(tmp_path / made.info["files"][product], data, **options)
    with pytest.raises(maps.MapError, match=says):
        by_parcel(replace(made, folder=tmp_path), at(10, 10, 20, 20))


def test_of_equal_classes_the_first_of_the_legend_is_taken():
    shares = np.array([[0.1 + 0.2, 0.3, 0.0], [0.3, 0.1 + 0.2, 0.0], [0.2, 0.4, 0.4]])
    best, share, margin = sums._best(shares)
    assert best.tolist() == [0, 0, 1]
    assert share.tolist() == [0.3, 0.3, 0.4]
    assert margin.tolist() == [0, 0, 0]


def test_holes_and_parts_count_as_they_are(made):
    ring = at(10, 10, 20, 20).difference(at(12, 12, 18, 18))
    found = by_parcel(made, MultiPolygon([ring, at(30, 30, 32, 32), at(48, 30, 60, 32)]))
    assert (found.area[0], found.covered[0]) == pytest.approx((64 + 4 + 24, 64 + 4 + 4))


def test_outlines_with_latitude_first_are_named_as_such(made):
    turned = shapely.transform(outlines(at(10, 10, 30, 30)).to("EPSG:4326").shapes, lambda p: p[:, ::-1])
    with pytest.raises(parcels.ParcelError, match="seems to hold latitude first"):
        parcels.by_parcel(made, outlines(*turned, crs="EPSG:4326"), progress=False)


# -- outlines from files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp", "parquet"])
def test_outlines_are_read_from_files_with_their_crs_and_ids(tmp_path, ending):
    shapes, names = [at(0, 0, 9, 9), at(9, 0, 20, 9)], np.array(["north", "south"], object)
    path = tmp_path / f"farm.{ending}"
    if ending == "parquet":
        parcels.Parcels(np.array(shapes), names, CRS, "x").save(path)
    else:
        save(path, outlines(*shapes).to("EPSG:4326").shapes if ending == "geojson" else shapes,
             "EPSG:4326" if ending == "geojson" else CRS, parcel=names)  # fmt: skip
    found = parcels.read(path, id_column="parcel")
    assert found.ids.tolist() == ["north", "south"]
    assert shapely.area(shapely.symmetric_difference(found.to(CRS).shapes, shapes)).max() < 1
    assert parcels.read(path).ids.tolist() == [0, 1]
    assert found.hectares[0] == pytest.approx(0.81, rel=2e-3)


def test_what_is_no_outline_is_left_out_and_named_and_a_crossed_one_is_repaired(tmp_path):
    crossed = Polygon([(WEST, NORTH), (WEST + 90, NORTH - 90), (WEST + 90, NORTH), (WEST, NORTH - 90)])
    path = save(tmp_path / "f.gpkg", [at(10, 0, 20, 9), None, Point(WEST, NORTH), crossed,
                                      shapely.LineString([(WEST, NORTH), (WEST + 9, NORTH)])])  # fmt: skip
    found = parcels.read(path)
    assert found.ids.tolist() == [0, 3]
    assert found.repaired == [3]
    assert found.lost == {
        "without geometry": [1], "lines, which have no area": [4], "points, which have no area": [2],
    }  # fmt: skip
    assert shapely.is_valid(found.shapes).all()


def test_a_report_names_what_was_left_out_repaired_and_overlaps(made, tmp_path):
    path = save(tmp_path / "f.gpkg", [at(10, 0, 20, 9), None, at(19.9, 0, 30, 9)])
    said = str(parcels.by_parcel(made, parcels.read(path), progress=False))
    assert "left out: 1 rows without geometry (1)" in said
    assert "1 pairs of parcels overlap; their 0.01 ha in common count in both" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"crs": None}, "has no CRS that says where on Earth it lies"),
        ({"shapes": [Point(WEST, NORTH)]}, "has no outline of a parcel among 1 rows: 1 points, which have no area"),
        ({"shapes": [at(0, 0, 9, 9), at(0, 0, 9, 9)]}, "50% of the ground of the 2 parcels.*0 and 1"),
        ({"crs": "EPSG:4326"}, "which are not longitude and latitude"),
    ],
)
def test_files_that_cannot_be_parcels_are_refused_with_the_reason(tmp_path, change, says):
    options = {"shapes": [at(0, 0, 9, 9), at(9, 0, 18, 9)], "crs": CRS} | change
    with pytest.warns(UserWarning, match="crs") if options["crs"] is None else nothing():
        path = save(tmp_path / "f.gpkg", options["shapes"], options["crs"])
    with pytest.raises(parcels.ParcelError, match=says):
        parcels.read(path)


def nothing():
    import contextlib

    return contextlib.nullcontext()


def test_ids_must_differ_and_a_missing_column_or_file_is_named(tmp_path):
    path = save(tmp_path / "f.gpkg", [at(0, 0, 9, 9), at(9, 0, 18, 9)], farm=["a", "a"])
    with pytest.raises(parcels.ParcelError, match=r"1 values of column 'farm' .* name more than one parcel: a"):
        parcels.read(path, id_column="farm")
    with pytest.raises(parcels.ParcelError, match=r"has no column 'name'; it has farm. Set id_column=…"):
        parcels.read(path, id_column="name")
    with pytest.raises(parcels.ParcelError, match="cannot be read as a vector file"):
        parcels.read(tmp_path / "gone.gpkg")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(parcels.ParcelError, match="cannot be read as GeoParquet"):
        parcels.read(tmp_path / "cut.parquet")


def test_hectares_are_those_on_the_ground_in_any_crs():
    field = outlines(at(0, 0, 90, 90))
    for crs in ("EPSG:4326", "EPSG:3857", "EPSG:2225", "EPSG:5070"):  # degrees, Web Mercator, feet, equal area
        assert field.to(crs).hectares == pytest.approx(field.hectares, rel=1e-5)
    assert field.hectares[0] == pytest.approx(81, rel=1e-3)
    assert np.isnan(outlines(box(1e30, 1e30, 1.1e30, 1.1e30)).hectares).all()
    with pytest.raises(parcels.ParcelError, match="'EPSG:999999' is no CRS that pyproj knows"):
        field.to("EPSG:999999")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array(["a", None], object), "'farm' of f.gpkg is empty in 1 rows: 1. Fill it"),
        (np.array([" ", "b"], object), "empty in 1 rows: 0"),
        (np.array([1.0, np.nan]), "empty in 1 rows: 1"),
        (np.array([np.inf, 1.0]), "empty in 1 rows: 0"),
        (np.array([2.0**60, 1.0]), "more digits than its type holds exactly"),
    ],
)
def test_ids_that_name_no_parcel_are_refused(tmp_path, values, says):
    path = save(tmp_path / "f.gpkg", [at(0, 0, 9, 9), at(9, 0, 18, 9)], farm=values)
    with pytest.raises(parcels.ParcelError, match=says):
        parcels.read(path, id_column="farm")


def test_whole_numbers_stay_so_where_a_row_without_an_outline_has_none(tmp_path):
    path = save(tmp_path / "f.gpkg", [at(0, 0, 9, 9), None], farm=np.array([7.0, np.nan]))
    assert [str(i) for i in parcels.read(path, id_column="farm").ids] == ["7"]


def test_heights_and_points_beside_an_outline_are_left_out(tmp_path):
    both = shapely.GeometryCollection([at(0, 0, 9, 9), Point(WEST + 900, NORTH)])
    found = parcels.read(save(tmp_path / "f.gpkg", [both, at(9, 0, 18, 9)]))
    assert shapely.equals(found.shapes, [at(0, 0, 9, 9), at(9, 0, 18, 9)]).all()
    high = save(tmp_path / "high.gpkg", [shapely.force_3d(at(0, 0, 9, 9), 50.0)])
    assert not shapely.has_z(parcels.read(high).shapes).any()
    for ending in ("parquet", "gpkg"):
        path = outlines(shapely.force_3d(at(0, 0, 9, 9), 50.0)).save(tmp_path / f"made.{ending}")
        stored = pq.read_table(path)["geometry"].to_pylist() if ending == "parquet" else read_layer(str(path))[2]
        assert not shapely.has_z(shapely.from_wkb(stored)).any()


def test_a_file_without_a_crs_is_in_degrees_only_where_its_standard_says_so(tmp_path):
    shape = outlines(at(0, 0, 9, 9)).to("EPSG:4326").shapes[0]
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert parcels.read(tmp_path / "f.geojson").hectares == pytest.approx(0.81, rel=2e-3)
    for crs, known in (({}, True), ({"crs": None}, False)):
        about = {"encoding": "WKB", "geometry_types": ["Polygon"]} | crs
        geo = {"version": "1.1.0", "primary_column": "outline", "columns": {"outline": about}}
        table = pa.table({"outline": pa.array([shapely.to_wkb(shape)], pa.binary())})
        pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), tmp_path / "f.parquet")
        if known:
            assert parcels.read(tmp_path / "f.parquet").hectares == pytest.approx(0.81, rel=2e-3)
        else:
            with pytest.raises(parcels.ParcelError, match="has no CRS that says where on Earth it lies"):
                parcels.read(tmp_path / "f.parquet")


# -- files out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "gpkg"])
def test_the_saved_file_holds_the_table_the_outlines_and_the_summary(made, tmp_path, ending):
    multi = MultiPolygon([at(20, 20, 25, 25), at(30, 20, 35, 25)])
    found = by_parcel(made, at(1, 1, 4, 4), multi, at(80, 80, 90, 90))
    path = found.save(tmp_path / f"p.{ending}")
    back = parcels.read(path, id_column="parcel")
    assert shapely.equals(back.shapes, found.parcels.shapes).all()
    table = found.table
    if ending == "parquet":
        file = pq.read_table(path)
        assert json.loads(file.schema.metadata[b"geo"])["columns"]["geometry"]["geometry_types"] == [
            "MultiPolygon", "Polygon",
        ]  # fmt: skip
        assert json.loads(file.schema.metadata[b"arset.parcels"]) == found.summary()
        stored = file.to_pandas()
    else:
        meta, _, _, values = read_layer(str(path))
        stored = dict(zip(meta["fields"], values, strict=True))
    assert list(stored["class"]) == list(table["class"])
    assert np.allclose(np.array(stored["p_rice"], float), table["p_rice"], equal_nan=True)
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(parcels.ParcelError, match=r"ending in .parquet or .gpkg, received 'p.shp'"):
        found.save(tmp_path / "p.shp")


def test_files_in_a_store_are_read_and_written(made, bucket):
    found = by_parcel(made, at(1, 1, 4, 4))
    for ending in ("parquet", "gpkg"):
        found.save(bucket / f"maps/p.{ending}")
        assert len(parcels.read(bucket / f"maps/p.{ending}")) == 1


def test_the_raster_has_the_parcels_classes_and_elsewhere_those_of_the_pixels(made, tmp_path):
    found = by_parcel(made, at(10, 10, 20, 20), at(30, 5, 44, 33))
    with rasterio.open(found.raster(tmp_path / "c.tif")) as src:
        classes, tags = src.read(1), src.tags()
    own = rasterio.open(made.path()).read(1)
    assert (classes[10:20, 10:20] == found.classes[0]).all()
    assert (classes[5:33, 30:44] == found.classes[1]).all()
    own[10:20, 10:20], own[5:33, 30:44] = found.classes
    assert np.array_equal(classes, own)
    assert (tags["rule"], tags["simulated"]) == ("majority", "yes")
    with pytest.raises(parcels.ParcelError, match=r"ending in .tif, received 'c.png'"):
        found.raster(tmp_path / "c.png")


def test_ground_in_two_parcels_counts_in_both_and_the_raster_takes_the_last(made, tmp_path):
    shapes = [at(10, 10, 20, 20), at(19, 10, 30, 20)]
    found, alone = by_parcel(made, *shapes), [by_parcel(made, shape) for shape in shapes]
    assert np.allclose(found.votes, np.concatenate([one.votes for one in alone]))
    found = replace(found, votes=np.array([[100.0, 0, 0], [0, 110.0, 0]]))
    with rasterio.open(found.raster(tmp_path / "c.tif")) as src:
        assert (src.read(1)[10:20, 10:30] == np.repeat([0, 1], [9, 11])).all()


def test_the_gain_is_that_of_both_maps_on_the_same_pixels(made, tmp_path):
    own = rasterio.open(made.path()).read(1)
    truth = np.where(own == 255, 0, own + 1).astype(np.uint8)
    truth[10:20, 10:20] = 3
    write_raster(tmp_path / "truth.tif", truth)
    found = by_parcel(made, at(10, 10, 20, 20))
    gain = found.gain(tmp_path / "truth.tif")
    right = found.classes[0] == 2
    assert gain.parcels.accuracy == float(right)
    assert gain.pixels.accuracy == (own[10:20, 10:20] == 2).mean()
    assert gain.accuracy == pytest.approx(gain.parcels.accuracy - gain.pixels.accuracy)
    assert gain.outside == (truth > 0).sum() - 100
    assert maps.compare(found.raster(tmp_path / "c.tif"), tmp_path / "truth.tif", LEGEND).total == (truth > 0).sum()
    assert list(gain.table().index) == ["pixels", "parcels"]
    later = Labels(2022, tmp_path / "truth.tif", None, "", True)
    with pytest.raises(parcels.ParcelError, match="Expected labels of 2021, .* received those of 2022"):
        found.gain(later)
    assert found.gain(replace(later, year=2021)).accuracy == gain.accuracy
    write_raster(tmp_path / "none.tif", np.zeros_like(truth))
    with pytest.raises(parcels.ParcelError, match="No pixel of a mapped parcel"):
        found.gain(tmp_path / "none.tif")


# -- segments -------------------------------------------------------------------------------------------------------


def squares(noise, channels=4):
    """Twelve fields of different colours in a grid, and what they look like."""
    truth = (np.arange(60)[:, None] // 20 * 4 + np.arange(80)[None] // 20 + 1).astype(np.int32)
    rng = np.random.default_rng(3)
    colours = rng.normal(0, 1, (13, channels))
    return truth, (colours[truth] + rng.normal(0, noise, (*truth.shape, channels))).astype(np.float32)


@pytest.mark.parametrize("method", parcels.METHODS)
def test_fields_of_different_colours_become_segments(method):
    truth, image = squares(0.02)
    level = {"watershed": 0.1, "felzenszwalb": 300, "slic": 400}[method]  # 400: the size of a field
    score = parcels.score_outlines(parcels.segments(image, method=method, level=level), truth)
    assert score.boundary_f1 > 0.9
    assert score.under < 0.1


@pytest.mark.parametrize("method", parcels.METHODS)
def test_unknown_pixels_are_in_no_segment_and_segments_are_connected(method):
    truth, image = squares(0.1)
    known = np.ones(truth.shape, bool)
    known[10:15, 30:50] = False
    found = parcels.segments(image, known, method=method)
    assert ((found == 0) == ~known).all()
    for number in range(1, found.max() + 1):
        from scipy.ndimage import label

        assert label(found == number)[1] == 1
    assert (parcels.segments(image, np.zeros_like(known), method=method) == 0).all()


@pytest.mark.parametrize("method", parcels.METHODS)
def test_every_known_pixel_is_in_a_segment(method):
    image = np.zeros((40, 40, 2), np.float32)
    assert (parcels.segments(image, method=method) > 0).all()  # no contrast at all
    image[:, 20:] = 3
    known = np.ones((40, 40), bool)
    known[5:12, 5:12], known[30:34] = False, False
    known[8, 8] = known[31:33, 3:6] = True  # islands, smaller than the smallest segment
    assert np.array_equal(parcels.segments(image, known, method=method) > 0, known)
    image[8, 8] = np.nan
    with pytest.raises(parcels.ParcelError, match="Expected finite channels"):
        parcels.segments(image, known, method=method)


@pytest.mark.parametrize("nodata", [-9999.0, np.nan, 0.0, None])
def test_pixels_that_a_raster_says_are_unknown_are_in_no_segment(tmp_path, nodata):
    image = np.moveaxis(squares(0.02)[1], -1, 0) + 20
    image[:, :, :10] = np.nan if nodata is None else nodata
    path = write_raster(tmp_path / "c.tif", image, nodata=nodata)
    found = parcels.segment(path, level=0.1, progress=False)
    assert shapely.area(found.shapes).sum() == pytest.approx(60 * 70 * SIDE**2)
    assert len(found) == 12
    assert not found.simulated
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(SIMULATED="YES")
    assert parcels.segment(path, level=0.1, progress=False).simulated


def test_a_raster_without_crs_or_data_is_not_segmented(tmp_path):
    with pytest.raises(parcels.ParcelError, match="no CRS that says where on Earth"):
        parcels.segment(write_raster(tmp_path / "a.tif", np.ones((2, 9, 9), np.float32), crs=None), progress=False)
    with pytest.raises(parcels.ParcelError, match="no pixel with data"):
        parcels.segment(write_raster(tmp_path / "b.tif", np.full((2, 9, 9), np.nan, np.float32)), progress=False)


def test_a_higher_level_gives_fewer_segments():
    _, image = squares(0.3)
    for method, level in LEVELS.items():
        few, many = (parcels.segments(image, method=method, level=level * f, smallest=1).max() for f in (9, 1 / 9))
        assert few < many


def test_pixels_without_a_true_parcel_are_not_compared():
    truth = np.repeat([1, 2, 0], 4)[None].repeat(4, axis=0)
    noise = np.arange(48).reshape(4, 12) + 9
    score = parcels.score_outlines(np.where(truth > 0, truth, noise), truth)
    assert (score.precision, score.recall, score.over, score.under, score.segments) == (1, 1, 0, 0, 2)


def test_scores_of_outlines_by_hand():
    truth = np.repeat([1, 2], 4)[None].repeat(4, axis=0)
    merged, halves = np.ones_like(truth), np.arange(4).repeat(2)[None].repeat(4, axis=0) + 1
    assert parcels.score_outlines(merged, truth).under == 0.5
    assert parcels.score_outlines(merged, truth).over == 0
    assert parcels.score_outlines(merged, truth).recall == 0
    assert parcels.score_outlines(halves, truth).over == 0.5
    assert parcels.score_outlines(halves, truth).under == 0
    assert parcels.score_outlines(halves, truth).recall == 1
    edge = np.ones_like(truth)
    edge[:, 0] = 2  # where there is no true boundary, none is near, not even at the border of the image
    assert parcels.score_outlines(edge, np.ones_like(truth)).precision == 0
    assert parcels.score_outlines(np.ones_like(truth), edge).recall == 0
    with pytest.raises(parcels.ParcelError, match="of one shape"):
        parcels.score_outlines(truth[:2], truth)


@pytest.mark.parametrize(
    ("options", "says"), [({"method": "kmeans"}, "Expected method = 'watershed'"), ({"level": 0}, "level above 0")]
)
def test_unknown_methods_and_levels_are_refused(options, says):
    with pytest.raises(parcels.ParcelError, match=says):
        parcels.segments(np.zeros((4, 4, 1)), **options)


@pytest.fixture(scope="module")
def scenes(delta):
    study = Study.load(delta / "two_areas.toml")
    return study, catalogue.find_scenes(study, progress=False)


@pytest.fixture(scope="module")
def composite(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("composite") / "c.tif"
    return parcels.composite(
        scenes[1], out, study=scenes[0], area="dense", start=90, bands=("red", "nir"), progress=False
    )


def test_a_composite_holds_the_medians_that_a_window_gives(scenes, composite):
    from arsetlib.maps import sources

    study, found = scenes
    season = replace(study.season, step_days=30)
    piece = sources.of_scenes(found, study.replace(season=season), "dense", 2021, [90], None).read(0, {})
    first = int(samples.start_days(2021, 90)[0])
    window = samples.window(piece.series, season, first, choose="median", fill="linear")
    columns = [study.bands.index(b) for b in ("red", "nir")]
    with rasterio.open(composite) as src:
        values = src.read()
        assert src.descriptions[:3] == ("2021-03-31 red", "2021-03-31 nir", "2021-04-30 red")
        assert src.tags()["simulated"] == "yes"
    assert np.array_equal(
        values[:, piece.row, piece.col].T, np.rint(window.x[..., columns]).reshape(len(piece.row), -1)
    )
    assert not list(composite.parent.glob(".*"))


def test_segments_of_a_composite_are_parcels_on_its_pixels(composite):
    found = parcels.segment(composite, progress=False)
    assert found.simulated
    assert len(found.overlaps[0]) == 0
    with rasterio.open(composite) as src:
        known = src.read().any(axis=0)
        assert shapely.area(found.shapes).sum() == pytest.approx(known.sum() * src.transform.a**2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"step_days": 50}, "step_days to divide the window of 120 days, received 50"),
        ({"bands": ["red", "radar"]}, "received radar"),
        ({"out": "c.png"}, r"ending in .tif, received 'c.png'"),
    ],
)
def test_composites_that_cannot_be_are_refused(scenes, tmp_path, change, says):
    options = {"out": tmp_path / "c.tif", "study": scenes[0], "area": "dense", "start": 90} | change
    with pytest.raises(parcels.ParcelError, match=says):
        parcels.composite(scenes[1], **options)


# -- the simulated delta, and the command ---------------------------------------------------------------------------


def test_the_outlines_of_the_simulated_delta_are_those_of_its_truth(delta):
    found = simulate.outlines(delta)
    assert found.simulated
    assert len(found.overlaps[0]) == 0
    assert shapely.is_valid(found.shapes).all()
    moved = found.to("EPSG:5070")
    with rasterio.open(delta / "truth_2021.tif") as src:
        truth = src.read(1)
        inside = rasterio.features.rasterize(moved.shapes, truth.shape, transform=src.transform)
    crops = np.isin(truth, [1, 2, 3, 4, 5, 10, 24, 26, 37, 46, 61, 74])
    assert (crops == inside.astype(bool)).mean() > 0.99
    with pytest.raises(simulate.delta.__globals__["SimulationError"], match="Make one: arset simulate"):
        simulate.outlines(delta / "scenes")


def test_the_command_writes_the_parcels_and_says_what_it_did(made, tmp_path):
    (made.folder / "toy.json").write_text(json.dumps(made.info | {
        "kind": "arset.prediction", "version": 1, "year": 2021, "start": 120}))  # fmt: skip
    farm = save(tmp_path / "farm.gpkg", [at(0, 0, 9, 9), at(9, 0, 20, 9)])
    arguments = ["parcels", made.folder / "toy.json", farm, "--out", tmp_path / "p.parquet"]
    arguments += ["--raster", tmp_path / "c.tif"]
    done = CliRunner().invoke(cli.app, list(map(str, [*arguments, "--json"])))
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["states"]["mapped"] == 2
    assert len(parcels.read(report["saved"])) == 2
    said = CliRunner().invoke(cli.app, list(map(str, arguments))).stdout
    assert said.startswith("SIMULATED: farm.gpkg: 2 parcels, 2 mapped")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "Expected either a file of outlines, or --segment"),
        (["f.gpkg", "--out", "p.shp"], "with the ending .parquet"),
        (["f.gpkg", "--raster", "c.png"], "--raster with the ending .tif, received 'c.png'"),
        (["--segment", "study.toml", "--layer", "farm"], "--layer and --id-column with a file of outlines only"),
    ],
)
def test_invalid_use_of_the_command_is_explained(made, more, says):
    done = CliRunner().invoke(cli.app, ["parcels", str(made.folder / "toy.json"), *more])
    assert says in str(done.exception)


def test_a_stopped_composite_continues_and_is_the_same(scenes, composite, tmp_path, monkeypatch):
    from arsetlib.maps import sources

    monkeypatch.setattr(sources, "CHUNK_SIDE", 4)
    real, read = sources.SceneChunks.read, []

    def stops(self, task, counts):
        read.append(task)
        if len(read) == 3:
            raise KeyboardInterrupt
        return real(self, task, counts)

    monkeypatch.setattr(sources.SceneChunks, "read", stops)
    out = tmp_path / "c.tif"
    options = {"study": scenes[0], "area": "dense", "start": 90, "bands": ("red", "nir"), "progress": False}
    with pytest.raises(KeyboardInterrupt):
        parcels.composite(scenes[1], out, **options)
    assert not out.exists()
    parcels.composite(scenes[1], out, **options)
    assert read[3] == read[2]  # the two before it are kept
    assert len(read) == len(set(read)) + 1
    with rasterio.open(out) as one, rasterio.open(composite) as other:
        assert np.array_equal(one.read(), other.read())
    assert not list(tmp_path.glob(".*"))
