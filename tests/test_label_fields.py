"""Own fields: what was read, drawn and lost is counted and said, and wrong values are refused."""

import json
import struct
import zipfile
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from pyogrio.raw import write
from pyproj import Transformer
from shapely import LineString, MultiPolygon, Point, Polygon

from arsetlib import maps
from arsetlib.labels import fields, find_labels
from arsetlib.study import Area, LabelSource, Study, StudyError
from arsetlib.web import CatalogueError

X, Y, UTM = 480_000, 250_000, "EPSG:32636"
HOME = Area("home", {"en": "Home"}, (X, Y, X + 1000, Y + 1000), UTM)


def rectangle(west, south, east, north):
    return Polygon([(X + west, Y + south), (X + east, Y + south), (X + east, Y + north), (X + west, Y + north)])


LEFT, RIGHT = rectangle(0, 0, 500, 1000), rectangle(500, 0, 1000, 1000)


def to_degrees(shape, order=(0, 1)):
    change = Transformer.from_crs(UTM, 4326, always_xy=True).transform
    return shapely.transform(shape, lambda p: np.column_stack(change(p[:, 0], p[:, 1]))[:, list(order)])


def save(path, shapes, codes, crs=UTM, column="crop", layer=None, append=False, kind="Unknown"):
    wkb = np.array([None if s is None else shapely.to_wkb(s) for s in shapes], object)
    write(str(path), wkb, [np.asarray(codes)], [column], crs=crs, geometry_type=kind, layer=layer, append=append)
    return path


def study_of(path, years=(2021,), areas=(HOME,), **labels):
    source = LabelSource(**{"kind": "vector", "path": str(path), "code_column": "crop", "resolution": 10.0} | labels)
    return Study.load("mississippi_delta").replace(areas=areas, years=years, labels=source)


def made(study, folder, year=2021):
    found = find_labels(study, year, folder, progress=False)
    with rasterio.open(found.path) as src:
        return src.read(1), found.about


def test_the_report_counts_what_was_read_drawn_and_lost_and_a_cached_rerun_says_it_again(tmp_path, capsys):
    bow_tie = Polygon([(X + 600, Y), (X + 700, Y + 100), (X + 700, Y), (X + 600, Y + 100)])
    shapes = [LEFT, bow_tie, rectangle(600, 500, 602, 900), rectangle(5000, 0, 5100, 100), None, Polygon(),
              LineString([(X, Y), (X + 900, Y + 900)]), Point(X + 805, Y + 805)]  # fmt: skip
    study = study_of(save(tmp_path / "f.gpkg", shapes, [1, 2, 3, 4, 5, 6, 7, 300]))
    said = []
    for _ in range(2):
        about = find_labels(study, 2021, tmp_path / "c").about
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert about["fields_read"] == 8
    assert about["fields_drawn"] == 3
    assert about["fields_lost"] == {
        "without geometry": 2,
        "lines, which have no area": 1,
        "outside the areas": 1,
        "too thin or small to hold the centre of a pixel of 10 m": 1,
    }
    assert about["fields_repaired"] == 1
    assert about["pixels_by_code"] == {"1": 5000, "2": about["pixels_by_code"]["2"], "300": 1}
    assert about["pixels_by_code"]["2"] == pytest.approx(50, abs=6)
    assert "8 fields read from layer 'f' of f.gpkg (EPSG:32636), 3 drawn" in said[0]
    assert "the UTM zone of the areas" in said[0]


def test_several_layers_with_geometry_need_a_name_and_a_table_of_styles_does_not(tmp_path):
    path = save(tmp_path / "f.gpkg", [rectangle(0, 0, 1000, 1000)], [9], layer="farm", kind="Polygon")
    one = study_of(path)
    assert (made(one, tmp_path / "one")[0] == 9).all()
    save(path, [LEFT, RIGHT], [1, 2], layer="fields", append=True, kind="Polygon")
    with pytest.raises(CatalogueError, match=r"2 layers with geometry: farm \(Polygon\), fields \(Polygon\)"):
        made(one, tmp_path / "two")
    codes, about = made(study_of(path, layer="fields"), tmp_path / "named")
    assert (codes[:, :50] == 1).all()
    assert about["layer"] == "fields"
    with pytest.raises(CatalogueError, match="layer 'field' is not in it. Set .* farm, fields"):
        made(study_of(path, layer="field"), tmp_path / "wrong")


def test_fields_in_degrees_without_a_crs_are_drawn_in_the_utm_zone_of_the_areas(tmp_path):
    path = save(tmp_path / "f.geojson", [to_degrees(LEFT), to_degrees(RIGHT)], [1, 2], "EPSG:4326")
    for crs in (None, "EPSG:4326", UTM):
        codes, about = made(study_of(path, crs=crs), tmp_path / f"c{crs}")
        assert (codes[:, :50] == 1).all()
        assert (codes[:, 50:] == 2).all()
        assert "EPSG:32636" in about["text"]


def test_a_projected_crs_that_is_no_metres_on_the_ground_is_refused_for_the_grid(tmp_path):
    path = save(tmp_path / "f.gpkg", [LEFT], [1])
    with pytest.raises(CatalogueError, match=r"'EPSG:5070' cannot be the CRS of a label grid.*'EPSG:32636'"):
        made(study_of(path, crs="EPSG:5070"), tmp_path / "c")


def test_every_common_format_gives_the_same_labels(tmp_path):
    shapes = [to_degrees(LEFT), to_degrees(RIGHT)]
    for name in ("f.gpkg", "f.shp", "f.geojson", "f.fgb"):
        save(tmp_path / name, shapes, [1, 2], "EPSG:4326", kind="Polygon")
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for part in tmp_path.glob("f.*"):
            if part.suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg"):
                archive.write(part, part.name)
    rings = [" ".join(f"{x},{y}" for x, y in s.exterior.coords) for s in shapes]
    marks = "".join(
        f'<Placemark><ExtendedData><SchemaData schemaUrl="#s"><SimpleData name="crop">{i}</SimpleData></SchemaData>'
        f"</ExtendedData><Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing>"
        "</outerBoundaryIs></Polygon></Placemark>"
        for i, ring in enumerate(rings, 1)
    )
    schema = '<Schema name="s" id="s"><SimpleField type="int" name="crop"></SimpleField></Schema>'
    kml = f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{schema}<Folder><name>f</name>{marks}</Folder></Document></kml>'
    (tmp_path / "f.kml").write_text(kml)
    for name in ("f.gpkg", "f.shp", "f.geojson", "f.fgb", "zipped.zip", "f.kml"):
        codes, _ = made(study_of(tmp_path / name), tmp_path / f"c_{name}")
        assert (codes[:, :50] == 1).all(), name
        assert (codes[:, 50:] == 2).all(), name


def test_a_zip_may_hold_its_files_in_a_folder_and_only_one_data_set(tmp_path):
    save(tmp_path / "f.shp", [LEFT], [1], kind="Polygon")
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for part in tmp_path.glob("f.*"):
            archive.write(part, f"export/{part.name}")
            archive.writestr(f"__MACOSX/export/._{part.name}", b"")
    assert (made(study_of(tmp_path / "zipped.zip"), tmp_path / "c")[0][:, :50] == 1).all()
    with zipfile.ZipFile(tmp_path / "zipped.zip", "a") as archive:
        archive.write(tmp_path / "f.shp", "export/other.shp")
    with pytest.raises(CatalogueError, match="holds 2 vector files: export/f.*export/other.shp.*Unpack"):
        made(study_of(tmp_path / "zipped.zip"), tmp_path / "d")


def test_fields_on_the_other_side_of_the_earth_do_no_harm_and_an_outline_of_the_world_covers_the_area(tmp_path):
    far = [shapely.box(-100, 40, -99, 41), shapely.box(100, -40, 101, -39), Polygon([(0, 89.9), (90, 89.9), (180, 90)])]
    path = save(tmp_path / "f.gpkg", [*far, to_degrees(LEFT)], [5, 6, 7, 1], "EPSG:4326")
    codes, about = made(study_of(path), tmp_path / "c")
    assert (codes[:, :50] == 1).all()
    assert about["fields_lost"] == {"outside the areas": 3}
    save(path, [shapely.box(-180, -90, 180, 90)], [2], "EPSG:4326")
    assert (made(study_of(path), tmp_path / "c")[0] == 2).all()


def test_a_geojson_that_states_its_crs_is_read_in_it(tmp_path):
    feature = {"type": "Feature", "properties": {"crop": 4}, "geometry": shapely.geometry.mapping(LEFT)}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32636"}}
    content = {"type": "FeatureCollection", "features": [feature]}
    (tmp_path / "f.geojson").write_text(json.dumps(content | {"crs": crs}))
    assert (made(study_of(tmp_path / "f.geojson"), tmp_path / "c")[0][:, :50] == 4).all()
    (tmp_path / "f.geojson").write_text(json.dumps(content))
    with pytest.raises(CatalogueError, match="look like metres: export the file with the right CRS"):
        made(study_of(tmp_path / "f.geojson"), tmp_path / "c")


@pytest.mark.parametrize(("lon", "lat"), [(32.8, 2.2), (-120.0, 38.0)])
def test_latitude_first_is_named(tmp_path, lon, lat):
    home = Area("home", {"en": "Home"}, (lon, lat, lon + 0.01, lat + 0.01), "EPSG:4326")
    swapped = Polygon([(lat, lon), (lat + 0.01, lon), (lat + 0.01, lon + 0.01), (lat, lon + 0.01)])
    path = save(tmp_path / "f.gpkg", [swapped], [1], "EPSG:4326")
    with pytest.raises(CatalogueError, match="seems to hold latitude first"):
        made(study_of(path, areas=(home,)), tmp_path / "c")


def test_pixels_of_fields_with_different_codes_have_no_label_and_many_of_them_are_refused(tmp_path):
    path = save(tmp_path / "f.gpkg", [LEFT, rectangle(480, 0, 1000, 1000), LEFT], [1, 2, 1])
    codes, about = made(study_of(path), tmp_path / "c")
    assert (codes[:, 48:50] == 0).all()
    assert (codes[:, :48] == 1).all()
    assert (codes[:, 50:] == 2).all()
    assert about["pixels_without_label_since_codes_differ"] == 200
    assert "200 pixels lie in fields of different codes and have no label" in about["text"]
    save(path, [LEFT, rectangle(300, 0, 1000, 1000)], [1, 2])
    with pytest.raises(CatalogueError, match=r"on 2,000 of 10,000 labelled pixels \(20%.*row 1 \(code 2\) and row 0"):
        made(study_of(path), tmp_path / "d")


def test_every_pixel_equals_a_plain_loop_over_fields(tmp_path):
    rng = np.random.default_rng(3)
    shapes = [Point(X + x, Y + y).buffer(r) for x, y, r in rng.uniform((50, 50, 3), (950, 950, 40), (25, 3))]
    number = rng.integers(1, 4, 25)
    study = study_of(save(tmp_path / "f.gpkg", shapes, number))
    codes, _ = made(study, tmp_path / "c")
    for r, c in np.ndindex(100, 100):
        centre = Point(X + 10 * c + 5, Y + 1000 - 10 * r - 5)
        there = {int(n) for s, n in zip(shapes, number, strict=True) if s.contains(centre)}
        edge = any(s.boundary.distance(centre) < 1e-6 for s in shapes)
        if not edge:
            assert codes[r, c] == (there.pop() if len(there) == 1 else 0)


@pytest.mark.parametrize(
    ("shapes", "codes", "says"),
    [
        ([None, None], [1, 2], "2 fields .* contain nothing to draw: 2 without geometry"),
        ([LineString([(X, Y), (X + 9, Y + 9)])], [1], "1 lines, which have no area"),
        ([rectangle(600, 500, 602, 900)], [1], "No field .* could be drawn: 1 too thin .* smaller .* resolution"),
        ([rectangle(9000, 0, 9100, 100)], [1], "None of the 1 fields .* touches an area"),
        ([LEFT], ["maize"], "row 0 has 'maize', and so 1 of the 1 rows in the areas .*Add a column with the number"),
        ([LEFT, RIGHT], [1.0, np.nan], "row 1 has 'nan'"),
        ([LEFT], [1.5], r"row 0 has '1\.5'"),
        ([LEFT], [70_000], "row 0 has '70000'"),
        ([LEFT], [-1], "row 0 has '-1'"),
        ([LEFT], np.array([True]), "row 0 has 'True'"),
    ],
)
def test_a_file_without_labels_in_the_areas_is_refused_with_the_reason(tmp_path, shapes, codes, says):
    path = save(tmp_path / "f.gpkg", shapes, codes)
    with pytest.raises(CatalogueError, match=says):
        made(study_of(path), tmp_path / "c")
    assert not list((tmp_path / "c").glob("*.tif*"))


def test_rings_that_are_not_closed_are_closed_or_counted(tmp_path, monkeypatch):
    rings = [[list(p) for p in to_degrees(s).exterior.coords][:-1] for s in (LEFT, RIGHT)]
    features = [
        {"type": "Feature", "properties": {"crop": i + 1}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for i, ring in enumerate([rings[0], [*rings[1], rings[1][0]]])
    ]
    path = tmp_path / "f.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    codes, about = made(study_of(path), tmp_path / "c")
    assert about["fields_drawn"] == 2
    assert (codes[:, :49] == 1).all()
    monkeypatch.setattr(fields, "shapes_of", lambda wkb: shapely.from_wkb(wkb, on_invalid="ignore"))
    codes, about = made(study_of(path), tmp_path / "old")
    assert about["fields_lost"] == {"whose outline cannot be read": 1}
    assert about["fields_drawn"] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("make", [lambda v: Point(v, Y), lambda v: shapely.from_wkb(ring_with(v))])
def test_coordinates_that_are_no_numbers_are_counted(tmp_path, bad, make):
    with np.errstate(invalid="ignore"):
        path = save(tmp_path / "f.gpkg", [LEFT, RIGHT, make(bad)], [1, 2, 1])
    codes, about = made(study_of(path), tmp_path / "c")
    assert set(np.unique(codes)) == {1, 2}
    assert about["fields_lost"] == {"with coordinates that are not numbers": 1}


def ring_with(value):
    points = [(X, Y), (X + 10, value), (X + 20, Y), (X, Y)]
    return struct.pack("<BIII", 1, 3, 1, 4) + b"".join(struct.pack("<dd", *p) for p in points)


def test_rows_without_geometry_or_far_away_need_no_code(tmp_path):
    far = rectangle(90_000, 0, 91_000, 1000)
    path = save(tmp_path / "f.gpkg", [None, LEFT, far, RIGHT], [np.nan, 1, np.nan, 2])
    codes, about = made(study_of(path), tmp_path / "c")
    assert set(np.unique(codes)) == {1, 2}
    assert about["fields_lost"] == {"without geometry": 1, "outside the areas": 1}
    save(path, [None, far, LEFT, RIGHT], [np.nan, np.nan, np.nan, 2])
    with pytest.raises(CatalogueError, match="row 2 has 'nan', and so 1 of the 2 rows in the areas"):
        made(study_of(path), tmp_path / "c")


@pytest.mark.parametrize("codes", [[1.0, 2.0], ["1", "2"], ["1.0", " 2"], np.array([1, 2], "uint8")])
def test_whole_numbers_are_codes_whatever_their_type(tmp_path, codes):
    assert (made(study_of(save(tmp_path / "f.gpkg", [LEFT, RIGHT], codes)), tmp_path / "c")[0][:, :50] == 1).all()


def test_a_file_without_a_crs_or_without_geometry_is_refused_with_the_way_to_give_it_one(tmp_path):
    save(tmp_path / "f.shp", [LEFT], [1], kind="Polygon")
    (tmp_path / "f.prj").unlink()
    with pytest.raises(CatalogueError, match=r"no CRS .*\.prj file beside it"):
        made(study_of(tmp_path / "f.shp"), tmp_path / "c")
    (tmp_path / "w.csv").write_text(f'WKT,crop\n"{to_degrees(LEFT).wkt}",1\n')
    with pytest.raises(CatalogueError, match="no CRS .*ogr2ogr -a_srs EPSG:4326 with_crs.gpkg w.csv"):
        made(study_of(tmp_path / "w.csv"), tmp_path / "c")
    (tmp_path / "f.parquet").write_bytes(b"PAR1")
    with pytest.raises(CatalogueError, match=r"f\.parquet cannot be read as GeoParquet: .*Check \[labels\] path"):
        made(study_of(tmp_path / "f.parquet"), tmp_path / "c")
    (tmp_path / "f.csv").write_text("lon,lat,crop\n32.82,2.262,1\n")
    with pytest.raises(CatalogueError, match="no geometry.*ogr2ogr .*X_POSSIBLE_NAMES=lon.* f.gpkg f.csv"):
        made(study_of(tmp_path / "f.csv"), tmp_path / "c")

    (tmp_path / "u.csv").write_text("WKT,crop\n", encoding="utf-16")
    with pytest.raises(CatalogueError, match="u.csv is text in UTF-16"):
        made(study_of(tmp_path / "u.csv"), tmp_path / "c")


def test_text_in_another_encoding_than_stated_is_named(tmp_path):
    save(tmp_path / "f.shp", [LEFT], [1], column="año", kind="Polygon")
    (tmp_path / "f.dbf").write_bytes(
        (tmp_path / "f.dbf").read_bytes().replace("año".encode(), "año\0".encode("latin-1"))
    )
    with pytest.raises(CatalogueError, match=r"f.shp holds text that is not UTF-8, .*'año' as Latin-1.*\.cpg"):
        made(study_of(tmp_path / "f.shp", code_column="año"), tmp_path / "c")


def test_decimal_numbers_of_a_database_are_codes(tmp_path):
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    table = pa.table({"crop": [Decimal("7.0")], "geometry": [shapely.to_wkb(to_degrees(LEFT))]})
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), tmp_path / "f.parquet")
    assert set(np.unique(made(study_of(tmp_path / "f.parquet"), tmp_path / "c")[0])) == {0, 7}


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "f.csv").write_text(f'WKT,crop,crop\n"{to_degrees(LEFT).wkt}",1,9\n')
    with pytest.raises(CatalogueError, match="f.csv has 2 columns called 'crop'"):
        made(study_of(tmp_path / "f.csv"), tmp_path / "c")


@pytest.mark.parametrize(
    "geo", [[1], {"primary_column": "gone", "columns": {"gone": {"encoding": "WKB"}}}, {"columns": {}},
            {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": {"type": "x"}}}}]
)  # fmt: skip
def test_damaged_metadata_of_a_geoparquet_file_are_named(tmp_path, geo):
    table = pa.table({"crop": [1], "geometry": [shapely.to_wkb(LEFT)]})
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), tmp_path / "f.parquet")
    with pytest.raises(CatalogueError, match="cannot be read as GeoParquet: its metadata 'geo' are wrong"):
        made(study_of(tmp_path / "f.parquet"), tmp_path / "c")


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ({"exceededTransferLimit": True}, "exceededTransferLimit"),
        ({"properties": {"exceededTransferLimit": True}}, "exceededTransferLimit"),
        ({"numberMatched": 5000, "numberReturned": 1}, "1 of 5,000"),
        ({"numberMatched": 1, "numberReturned": 1}, None),
    ],
)
def test_a_part_of_what_a_server_has_is_refused_as_labels(tmp_path, states, says):
    feature = {
        "type": "Feature",
        "properties": {"crop": 1},
        "geometry": json.loads(shapely.to_geojson(to_degrees(LEFT))),
    }
    path = tmp_path / "f.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature], **states}))
    if says is None:
        assert made(study_of(path), tmp_path / "c")[1]["fields_drawn"] == 1
    else:
        with pytest.raises(CatalogueError, match=f"only a part of the features .{says}"):
            made(study_of(path), tmp_path / "c")


def test_an_outline_across_180_degrees_does_not_cover_the_rest_of_the_earth(tmp_path):
    south, north = to_degrees(LEFT).bounds[1::2]
    east, west = (
        Polygon([(179.9, south), (180, south), (180, north)]),
        Polygon([(-179.9, south), (-180, south), (-180, north)]),
    )
    wrong = Polygon([(179.9, south), (-179.9, south), (-179.9, north), (179.9, north)])
    path = save(tmp_path / "f.gpkg", [to_degrees(LEFT), wrong, MultiPolygon([east, west])], [1, 2, 3], crs="EPSG:4326")
    codes, about = made(study_of(path), tmp_path / "c")
    assert set(np.unique(codes)) == {0, 1}
    lost = {"across 180° of longitude, not cut there in two parts": 1, "outside the areas": 1}
    assert about["fields_lost"] == lost


def test_a_curved_outline_is_drawn_as_the_curve(tmp_path):
    import struct

    ring = [(X + 100, Y + 500), (X + 500, Y + 900), (X + 900, Y + 500), (X + 500, Y + 100), (X + 100, Y + 500)]
    arc = b"\x01" + struct.pack("<II", 8, len(ring)) + b"".join(struct.pack("<dd", *p) for p in ring)
    wkb = np.array([b"\x01" + struct.pack("<II", 10, 1) + arc], object)
    write(str(tmp_path / "f.gpkg"), wkb, [np.array([1])], ["crop"], crs=UTM, geometry_type="Unknown")
    codes, _ = made(study_of(tmp_path / "f.gpkg"), tmp_path / "c")
    assert (codes == 1).sum() == pytest.approx(np.pi * 40**2, rel=0.002)


def test_labels_are_drawn_anew_when_the_codes_of_a_shapefile_change(tmp_path):
    path = save(tmp_path / "f.shp", [LEFT], [1], kind="Polygon")
    first = made(study_of(path), tmp_path / "c")[0]
    save(path, [LEFT], [2], kind="Polygon")
    assert (first[:, :50] == 1).all()
    assert (made(study_of(path), tmp_path / "c")[0][:, :50] == 2).all()


@pytest.mark.parametrize(("ending", "given"), [("tab", "tab"), ("mif", "mif"), ("shp", "dbf"), ("shp", "shx")])
def test_labels_are_drawn_anew_when_any_file_of_a_data_set_changes(tmp_path, ending, given):
    study = study_of(tmp_path / f"f.{given}")
    save(tmp_path / f"f.{ending}", [LEFT], [1], kind="Polygon")
    before, _ = made(study, tmp_path / "c")
    one = (tmp_path / f"f.{given}").read_bytes()
    for file in tmp_path.glob("f.*"):
        file.unlink()
    save(tmp_path / f"f.{ending}", [RIGHT], [2], kind="Polygon")
    (tmp_path / f"f.{given}").write_bytes(one if given == "tab" else (tmp_path / f"f.{given}").read_bytes())
    after, _ = made(study, tmp_path / "c")
    assert (before != after).any()


def test_parts_holes_and_points_count_as_they_should(tmp_path):
    hole = Polygon(LEFT.exterior.coords, [rectangle(100, 100, 200, 200).exterior.coords])
    parts = MultiPolygon([rectangle(600, 0, 700, 100), rectangle(800, 0, 900, 100)])
    codes, about = made(
        study_of(save(tmp_path / "f.gpkg", [hole, parts, Point(X + 955, Y + 955)], [1, 2, 3])), tmp_path
    )
    assert about["pixels_by_code"] == {"1": 4900, "2": 200, "3": 1}
    assert codes[4, 95] == 3


# -- one file for several years

STUDY = """
[study]
key = "k"
name = "n"
years = [2020, 2021]
[areas.home]
bounds = [480000, 250000, 481000, 251000]
crs = "EPSG:32636"
[labels]
kind = "{kind}"
path = "{path}"
{more}
[classes.rest]
codes = "others"
"""


@pytest.mark.parametrize("kind", ["raster", "vector"])
def test_one_file_for_several_years_must_be_meant(kind):
    column = 'code_column = "crop"\n' if kind == "vector" else ""
    with pytest.raises(StudyError, match=r"one file for the years \[2020, 2021\].*same_every_year = true"):
        Study.parse(STUDY.format(kind=kind, path="f.x", more=column))
    Study.parse(STUDY.format(kind=kind, path="f_{year}.x", more=column))
    Study.parse(STUDY.format(kind=kind, path="f.x", more=column + "same_every_year = true"))


def test_one_confidence_for_several_years_must_be_meant():
    with pytest.raises(StudyError, match=r"confidence = 'c.tif' names one file"):
        Study.parse(STUDY.format(kind="raster", path="f_{year}.tif", more='confidence = "c.tif"'))


def test_each_year_may_have_a_column(tmp_path):
    path = tmp_path / "f.gpkg"
    wkb = shapely.to_wkb(np.array([LEFT], object))
    write(str(path), wkb, [np.array([5]), np.array([6])], ["crop_2020", "crop_2021"], crs=UTM, geometry_type="Polygon")
    study = study_of(path, years=(2020, 2021), code_column="crop_{year}")
    for year, code in ((2020, 5), (2021, 6)):
        assert (made(study, tmp_path / "c", year)[0][:, :50] == code).all()
    with pytest.raises(CatalogueError, match="same_every_year"):
        made(study.replace(labels=replace(study.labels, code_column="crop_2020")), tmp_path / "c", 2020)


def test_the_map_and_its_hectares_lie_on_the_same_grid_as_the_drawn_labels(tmp_path):
    home = Area("home", {"en": "Home"}, (32.82, 2.26, 32.83, 2.27), "EPSG:4326")
    path = save(tmp_path / "f.gpkg", [shapely.box(*home.bounds)], [1], "EPSG:4326")
    study = study_of(path, areas=(home,))
    found = find_labels(study, 2021, tmp_path / "c", progress=False)
    hectares = maps.class_areas(found, [home], study)["hectares"].sum()
    assert hectares == pytest.approx(1113.2 * 1105.7 / 10_000, rel=0.01)  # a hundredth of a degree at 2° N


def test_fields_of_a_geoparquet_file_are_drawn_as_those_of_a_geopackage(tmp_path):
    from arsetlib import parcels

    shapes = np.array([LEFT, rectangle(600, 0, 700, 100)])
    parcels.Parcels(shapes, np.array([1, 2]), "EPSG:32636", "x").save(tmp_path / "f.parquet")
    save(tmp_path / "f.gpkg", shapes, [1, 2], column="parcel")
    (codes, about), (other, _) = (
        made(study_of(tmp_path / f"f.{ending}", code_column="parcel"), tmp_path / ending)
        for ending in ("parquet", "gpkg")
    )
    assert about["fields_drawn"] == 2
    assert np.array_equal(codes, other)
