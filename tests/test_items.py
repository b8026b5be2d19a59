"""Items of real services and bad ones: what is read of them, which show the same scene, what is refused."""

import gzip
import json
import re
from copy import deepcopy
from pathlib import Path

import pytest
import shapely
from badserver import BadServer
from shapely.geometry import box, mapping, shape
from test_catalogue import BANDS, TILE, UTM, collection, found, ids, item, study_of

from arsetlib import ingest
from arsetlib.catalogue import CatalogueError, Scenes, find_scenes, selection
from arsetlib.catalogue.item import Item
from arsetlib.ingest import reader
from arsetlib.study import Area, SceneSource, Study, StudyError, across_180

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "real" / "stac"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no recorded answers of services beside this checkout")


def real(pattern):
    return [json.loads(f.read_text()) for f in sorted(REAL.glob(pattern))]


# -- recorded items of real services, served as each service does it

# service, collection, root, items, and what one of the items says
SERVICES = {
    "Earth Search v1": ("sentinel-2-l2a", "root_es-v1.json", "earth-search-v1-l2a/*.json"),
    "Collection 1": ("sentinel-2-c1-l2a", "root_es-v1.json", "earth-search-v1-c1-l2a/*.json"),
    "Earth Search v0": ("sentinel-s2-l2a-cogs", "root_es-v0.json", "earth-search-v0/*.json"),
    "Planetary Computer": ("sentinel-2-l2a", "root_pc.json", "planetary-computer/*.json"),
}
# id → tile, platform, baseline, when, offset
TOLD = {
    "S2A_13TDE_20231008_0_L2A": ("13TDE", "sentinel-2a", "05.09", "2023-10-08T18:02:55.276000Z", 0),
    "S2B_20EPT_20250731_0_L2A": ("20EPT", "sentinel-2b", "05.11", "2025-07-31T13:19:22.930000Z", 0),
    "S2B_24MUA_20250731_0_L2A": ("24MUA", "sentinel-2b", "05.11", "2025-07-31T13:03:19.635000Z", 0),
    "S2B_24MUV_20250731_0_L2A": ("24MUV", "sentinel-2b", "05.11", "2025-07-31T13:03:27.058000Z", 0),
    "S2B_T20EPT_20250731T131905_L2A": ("20EPT", "sentinel-2b", "05.11", "2025-07-31T13:19:22.930000Z", -1000),
    "S2B_T24MUA_20250731T130245_L2A": ("24MUA", "sentinel-2b", "05.11", "2025-07-31T13:03:19.635000Z", -1000),
    "S2B_T24MUV_20250731T130245_L2A": ("24MUV", "sentinel-2b", "05.11", "2025-07-31T13:03:27.058000Z", -1000),
} | {
    f"S2A_MSIL2A_20190101T000001_R116_T{tile}_20201007T{made}": (
        tile, "sentinel-2a", "02.12", "2019-01-01T00:00:01.024000Z", 0,
    )
    for tile, made in (("58UFE", "214651"), ("58UFF", "214659"), ("58UFG", "214655"), ("58UGE", "214656"))
}  # fmt: skip


def serve(server, root, items):
    """The root of a service as it was recorded, its links turned to this server, and its search."""
    text = (REAL / "roots" / root).read_text()
    there = re.search(r'"(https://[^"]*?/(?:v[01]))/?"', text)[1]
    server.put("/", json.loads(text.replace(there, server.url)))
    asked = []

    def search(request):
        asked.append(request.json())
        year = request.json()["datetime"][:4]
        return {"type": "FeatureCollection", "links": [], "features": [
            i for i in items if i["properties"]["datetime"].startswith(year)]}  # fmt: skip

    server.put("/search", search)
    return asked


def areas_of(items):
    """A small area in the middle of each footprint."""
    middles = [shape(i["geometry"]).representative_point() for i in items]
    return tuple(
        Area(f"a{n}", {"en": "A"}, (p.x - 0.01, p.y - 0.01, p.x + 0.01, p.y + 0.01), "EPSG:4326")
        for n, p in enumerate(middles)
    )


@needs_real
@pytest.mark.parametrize("service", SERVICES)
def test_recorded_items_of_real_services_are_read_rightly(service, tmp_path):
    name, root, pattern = SERVICES[service]
    items = real(pattern)
    years = tuple(sorted({int(i["properties"]["datetime"][:4]) for i in items}))
    with BadServer() as server:
        asked = serve(server, root, items)
        source = SceneSource(url=server.url, collection=name, max_cloud=100.0)
        study = study_of(server.url, scenes=source, areas=areas_of(items), years=years, bands=("blue", "red", "nir08"))
        # Each area has scenes in each year here, but for the two passes of 2023 and 2025.
        scenes = [
            s
            for y in years
            for s in find_scenes(
                study.replace(
                    years=(y,), areas=areas_of(i for i in items if i["properties"]["datetime"][:4] == str(y))
                ),
                progress=False,
            )
        ]
    assert {a["collections"][0] for a in asked} == {name}
    assert sorted(s.id for s in scenes) == sorted(i["id"] for i in items)
    for scene in scenes:
        told = list(TOLD[scene.id])
        if service == "Earth Search v0":
            told[3] = "2025-07-31T13:19:22Z"
        assert [scene.tile, scene.platform, scene.baseline, scene.datetime, scene.offset] == told
        raw = next(i for i in items if i["id"] == scene.id)
        for band, esa in (("red", "B04"), ("blue", "B02"), ("nir08", "B8A"), ("scl", "SCL")):
            assert scene.hrefs[band] in (
                raw["assets"].get(band, {}).get("href"),
                raw["assets"].get(esa, {}).get("href"),
            )
        assert scene.shape == (10980, 10980)
    saved = Scenes(tuple(scenes)).save(tmp_path / "items.json")
    assert Scenes.load(saved).items == Scenes(tuple(scenes)).items


@needs_real
def test_of_two_recorded_items_of_one_pass_the_honest_collection_is_kept_whatever_the_order():
    old, new = real("earth-search-v1-l2a/S2B_*.json"), real("earth-search-v1-c1-l2a/*.json")
    v0 = real("earth-search-v0/*.json")
    for order in (1, -1):
        kept = selection._newest([Item(raw, "") for raw in (old + new + v0)[::order]])
        assert sorted(i.id for i in kept) == sorted(i["id"] for i in new)


def cdse():
    """An item as the Copernicus Data Space gives it: STAC 1.1, pixel sizes in asset keys, CRS on the assets."""
    one = item("S2A_MSIL2A_20210703T165851_N0500_R069_T15SYT_20230209T123456",
               **{"proj:epsg": None, "grid:code": "MGRS-15SYT", "s2:processing_baseline": None,
                  "processing:version": "05.00", "earthsearch:boa_offset_applied": None,
                  "processing:datetime": "2023-02-09T12:34:56.000000Z"})  # fmt: skip
    one["stac_version"] = "1.1.0"
    one["assets"] = {}
    for size, names in (
        (10, ("B02", "B03", "B04", "B08")),
        (20, ("B02", "B04", "B8A", "SCL")),
        (60, ("B02", "B04", "SCL")),
    ):
        for esa in names:
            n = 109_800 // size
            one["assets"][f"{esa}_{size}m"] = {
                "href": f"s3://eodata/Sentinel-2/MSI/L2A/2021/07/03/x.SAFE/IMG_DATA/R{size}m/T15SYT_{esa}_{size}m.jp2",
                "proj:code": f"EPSG:{UTM}", "proj:shape": [n, n],
                "proj:transform": [size, 0, TILE[0], 0, -size, TILE[3]],
                "bands": [{"name": esa}], "raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0,
            }  # fmt: skip
    return one


def test_copernicus_data_space_gives_native_pixels_and_says_that_keys_are_needed(tmp_path, monkeypatch, capsys):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    path = collection(tmp_path, [cdse()])
    scenes = find_scenes(study_of(path, bands=("blue", "red", "nir08")))
    scene = scenes.items[0]
    assert [h.rsplit("/")[-1] for h in scene.hrefs.values()] == [
        "T15SYT_B02_10m.jp2", "T15SYT_B04_10m.jp2", "T15SYT_B8A_20m.jp2", "T15SYT_SCL_20m.jp2"]  # fmt: skip
    assert (scene.epsg, scene.tile, scene.baseline, scene.shape) == (UTM, "15SYT", "05.00", (10980, 10980))
    assert "Reading may need keys" in capsys.readouterr().out
    points = ingest.Reader([700_010.0], [3_700_010.0], f"EPSG:{UTM}", "home-2021-0-0")
    with pytest.raises(ingest.SceneError, match=r"Copernicus Data Space.*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        points.values(scene, "red")


# -- names of the same thing


@pytest.mark.parametrize(
    "said", ["S2A", "s2a", "Sentinel-2A", "SENTINEL-2A", "sentinel-2a", "Sentinel 2A", "sentinel_2a"]
)
def test_a_platform_has_one_name_however_it_is_spelt(said):
    assert Item(item(platform=said), "").platform == "sentinel-2a"


def test_a_platform_unknown_to_the_properties_is_in_the_id():
    assert Item(item("S2C_15SYT_20250703_0_L2A", platform=None), "").platform == "sentinel-2c"
    assert Item(item("S2C_15SYT_20250703_0_L2A", platform="sentinel-2"), "").platform == "sentinel-2c"
    assert Item(item("scene 4", platform=None), "").platform is None


@pytest.mark.parametrize(
    ("ident", "properties", "tile"),
    [
        ("x", {"grid:code": "MGRS-5QKB"}, "05QKB"),
        ("x", {"grid:code": "MGRS-05QKB"}, "05QKB"),
        ("x", {"s2:mgrs_tile": "15SYT"}, "15SYT"),
        ("x", {"mgrs:utm_zone": 5, "mgrs:latitude_band": "Q", "mgrs:grid_square": "KB"}, "05QKB"),
        ("x", {"sentinel:utm_zone": 15, "sentinel:latitude_band": "S", "sentinel:grid_square": "YT"}, "15SYT"),
        ("x", {"s2:tile_id": "S2C_OPER_MSI_L2A_TL_2CPS_20250731T143919_A043879_T20EPT_N05.11"}, "20EPT"),
        ("x", {"s2:product_uri": "S2A_MSIL2A_20190101T000001_N0212_R116_T58UFE_20201007T214651.SAFE"}, "58UFE"),
        ("x", {"sentinel:product_id": "S2B_MSIL2A_20250731T131909_N0511_R095_T20EPT_20250731T143919"}, "20EPT"),
        ("S2A_MSIL2A_20190101T000001_R116_T58UFG_20201007T214655", {}, "58UFG"),
        ("S2B_T20EPT_20250731T131905_L2A", {}, "20EPT"),
        ("S2B_5QKB_20250731_0_L2A", {}, "05QKB"),
        ("x", {"s2:tile_id": "S2C_OPER_MSI_L2A_TL_2CPS_20250731T143919_A043879"}, None),
    ],
)
def test_a_tile_is_read_wherever_it_stands(ident, properties, tile):
    assert Item(item(ident, **{"grid:code": None, **properties}), "").tile == tile


@pytest.mark.parametrize(
    ("properties", "baseline"),
    [
        ({"s2:processing_baseline": "05.11"}, "05.11"),
        ({"s2:processing_baseline": 5.1}, "05.10"),
        ({"sentinel:processing_baseline": "02.14"}, "02.14"),
        ({"processing:version": "N0500"}, "05.00"),
        ({"s2:product_uri": "S2A_MSIL2A_20190101T000001_N0212_R116_T58UFE_20201007T214651.SAFE"}, "02.12"),
        ({}, None),
    ],
)
def test_a_baseline_is_read_wherever_it_stands(properties, baseline):
    assert Item(item(**{"s2:processing_baseline": None, **properties}), "").baseline == baseline


def test_a_baseline_known_only_by_the_products_name_decides_the_offset(tmp_path):
    name = "S2A_MSIL2A_20210703T165851_N0500_R069_T15SYT_20230209T123456"
    assert found(tmp_path, [item(name, **{"s2:processing_baseline": None})]).items[0].offset == -1000


# -- which items show the same scene


def twin(name="S2A_15SYT_20210703_1_L2A", **properties):
    return item(name, **{"s2:processing_baseline": "03.00", **properties})


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"grid:code": None, "s2:generation_time": "2021-07-03T20:00:00Z"},
         {"grid:code": None, "s2:generation_time": "2023-02-01T00:00:00Z"}),
        ({"platform": "S2A", "s2:generation_time": "2021-07-03T20:00:00Z"},
         {"platform": "Sentinel-2A", "s2:generation_time": "2023-02-01T00:00:00Z"}),
        ({"platform": None, "s2:processing_baseline": "02.14"}, {"s2:processing_baseline": "05.00"}),
        ({"grid:code": "MGRS-15SYT"}, {"grid:code": None, "s2:processing_baseline": "05.00"}),
        ({"s2:processing_baseline": None, "s2:generation_time": "2021-07-03T20:00:00Z"},
         {"s2:processing_baseline": "05.00", "s2:generation_time": "2023-02-01T00:00:00Z"}),
        ({"s2:processing_baseline": "05.00", "s2:generation_time": "2021-07-03T20:00:00Z"},
         {"s2:processing_baseline": None, "s2:generation_time": "2023-02-01T00:00:00Z"}),
        ({"updated": "2021-07-04T00:00:00Z"}, {"updated": "2021-07-04T00:00:00.500Z"}),
        ({"datetime": "2021-07-03T16:58:49Z", "s2:generation_time": "2021-07-03T20:00:00+00:00"},
         {"datetime": "2021-07-03T16:58:41.024Z", "s2:generation_time": "2021-07-03T20:00:01.5Z"}),
    ],
)  # fmt: skip
def test_of_twins_the_newer_processing_is_kept(tmp_path, old, new, order):
    pair = [twin("scene B", **old), twin("scene A", **new)]
    scenes = found(tmp_path, pair[::order])
    assert ids(scenes) == ["scene A"]
    assert scenes.dropped["older_processing"] == 1


def test_two_satellites_two_tiles_and_two_days_are_no_twins(tmp_path):
    east = (TILE[0] + 99_960, TILE[1], TILE[2] + 99_960, TILE[3])
    other = item("other tile", ground=east, **{"grid:code": "MGRS-15SZT"})
    for asset in other["assets"].values():
        if "proj:transform" in asset:
            asset["proj:transform"] = [10, 0, east[0], 0, -10, east[3]]
    items = [
        item("a", platform="S2A"),
        item("b", platform="S2B"),
        item("c", "2021-07-13T16:58:49Z"),
        item("d", "2021-07-03T18:39:00Z", **{"grid:code": None}),  # an orbit later
        other,
    ]
    wide = Area("home", {"en": "Home"}, (TILE[0], 3_700_000, TILE[2] + 50_000, 3_710_000), f"EPSG:{UTM}")
    assert sorted(ids(found(tmp_path, items, areas=(wide,)))) == ["a", "b", "c", "d", "other tile"]


def test_an_item_that_comes_twice_counts_once_and_one_id_for_two_scenes_is_refused(tmp_path):
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item(), item()]}))
    assert len(find_scenes(study_of(path), progress=False)) == 1
    newer = item(**{"s2:processing_baseline": "05.00"})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item(), newer]}))
    assert [s.baseline for s in find_scenes(study_of(path), progress=False)] == ["05.00"]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item(), item(when="2021-08-03T16:58:49Z")]}))
    with pytest.raises(CatalogueError, match="S2A_15SYT_20210703_0_L2A is the id of several scenes"):
        find_scenes(study_of(path), progress=False)


def astride(day, platform="sentinel-2a", **more):
    """Two tiles of one pass, seconds before and after midnight."""
    before, after = f"2021-07-{day:02d}", f"2021-07-{day + 1:02d}"
    return [
        item(f"{platform} {before} north", f"{before}T23:59:52Z", platform=platform, **more),
        item(
            f"{platform} {after} south", f"{after}T00:00:02Z", platform=platform, **{"grid:code": "MGRS-15SYS"}, **more
        ),
    ]


def test_a_pass_across_midnight_has_one_day_also_after_saving(tmp_path):
    scenes = found(tmp_path, [*astride(3), *astride(8, "S2B"), *astride(13)])
    assert sorted(s.day - scenes.items[0].day for s in scenes) == [0, 0, 5, 5, 10, 10]
    assert str(scenes.items[0].datetime).startswith("2021-07-03")
    assert Scenes.load(scenes.save(tmp_path / "list.json")) == scenes


def test_the_start_of_the_datatake_decides_the_day_where_it_is_stated(tmp_path):
    late = item("late", "2021-07-04T00:00:20Z", **{"s2:datatake_id": "GS2A_20210703T235941_031506_N03.00"})
    odd = item("odd", "2021-07-09T16:58:49Z", **{"s2:datatake_id": "GS2A_20210703T235941_031506_N03.00"})
    scenes = found(tmp_path, [late, odd])
    days = {s.id: s.day - 18811 for s in scenes}  # after 3 July 2021
    assert days == {"late": 0, "odd": 6}  # a datatake of another week is not believed


def test_a_pass_across_new_year_belongs_to_the_year_in_which_it_began(tmp_path):
    eve = item("eve", "2020-12-31T23:59:55Z")
    after = item("after", "2021-01-01T00:00:05Z", **{"grid:code": "MGRS-15SYS"})
    mid = item("mid", "2021-07-03T16:58:49Z")
    both = found(tmp_path, [eve, after, mid], years=(2020, 2021))
    assert {s.id: s.year for s in both} == {"eve": 2020, "after": 2020, "mid": 2021}


# -- items that cannot be used


def broken(**changes):
    one = deepcopy(item("bad one"))
    for key, value in changes.items():
        one[key] = value
    return one


METRES = mapping(box(*TILE))
SWAPPED = mapping(shapely.transform(shape(item()["geometry"]), lambda p: p[:, ::-1]))
RING = mapping(box(-89, 33, -88, 34))["coordinates"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (item("bad one", when=5), "has no date that can be read: datetime is 5"),
        (item("bad one", when="yesterday"), "has no date that can be read: datetime is 'yesterday'"),
        (item("bad one", when="2021-13-45T00:00:00Z"), "has no date that can be read"),
        (item("bad one", when=""), "has no date that can be read: datetime is ''"),
        (item("bad one", when=None), "has no date that can be read: datetime is None"),
        (item("bad one", **{"eo:cloud_cover": "NaN"}), "cloud cover .* of 'NaN', expected a number from 0 to 100"),
        (item("bad one", **{"eo:cloud_cover": float("nan")}), "cloud cover .* of nan"),
        (item("bad one", **{"eo:cloud_cover": "cloudy"}), "cloud cover .* of 'cloudy'"),
        (item("bad one", **{"eo:cloud_cover": -1}), "cloud cover .* of -1"),
        (item("bad one", **{"eo:cloud_cover": 101}), "cloud cover .* of 101"),
        (item("bad one", **{"eo:cloud_cover": [5]}), r"cloud cover .* of \[5\]"),
        (broken(geometry=None), "lacks geometry .*found nothing"),
        (broken(geometry={}), "lacks geometry"),
        (broken(geometry="POLYGON ((0 0))"), "lacks geometry .*found 'POLYGON"),
        (broken(geometry={"type": "Polygon"}), "geometry .*cannot be read"),
        (broken(geometry={"type": "Polygon", "coordinates": []}), "geometry .*without any area"),
        (broken(geometry={"type": "Polygon", "coordinates": "text"}), "geometry .*(cannot be read|without any area)"),
        (broken(geometry={"type": "Polygon", "coordinates": [[["a", "b"]] * 4]}), "geometry .*cannot be read"),
        (broken(geometry={"type": "Polygon", "coordinates": [[[None, 1], [2, 2], [3, 3], [None, 1]]]}), "geometry"),
        (broken(geometry={"type": "Polygon", "coordinates": 7}), "geometry .*cannot be read"),
        (broken(geometry={"type": "Point", "coordinates": [-89, 33]}), "without any area"),
        (broken(geometry={"type": "Nonsense", "coordinates": RING}), "geometry .*cannot be read"),
        (broken(geometry={"type": 5, "coordinates": RING}), "geometry .*cannot be read"),
        (broken(geometry=METRES),
         "geometry with the point .*longitude, then latitude, in degrees|geometry .*cannot be read"),
        (broken(geometry=SWAPPED), "the point .*expected longitude, then latitude"),
        (broken(properties=None), "lacks properties"),
        (broken(properties=[]), "lacks properties"),
        (broken(assets=None), "lacks assets"),
        (broken(assets=[]), "lacks assets"),
        (broken(assets={**item()["assets"], "red": None}), "lacks the band 'red'"),
        (broken(assets={**item()["assets"], "red": "a.tif"}), "lacks the band 'red'"),
        (broken(assets={**item()["assets"], "red": {"href": None}}), "no link to its band 'red': href is None"),
        (broken(assets={**item()["assets"], "red": {"href": 5}}), "no link to its band 'red': href is 5"),
        (broken(assets={**item()["assets"], "red": {"href": " "}}), "no link to its band 'red'"),
        (broken(assets={**item()["assets"], "scl": {"href": ["a"]}}), "no link to its band 'scl'"),
        (item("bad one", **{"proj:epsg": "nonsense"}), "states no CRS .*found 'nonsense'"),
        (item("bad one", **{"proj:epsg": [32615]}), "states no CRS"),
        (item("bad one", **{"proj:shape": "big", "proj:transform": [1]}), "has proj:shape 'big'; expected 2 numbers"),
        (item("bad one", **{"proj:shape": [5, 5], "proj:transform": [0] * 6}), "expected rows, columns and a grid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "item",
)  # fmt: skip
def test_an_item_that_cannot_be_used_is_named_and_can_be_left_out(tmp_path, bad, says):
    if bad["properties"] and bad["properties"].get("datetime") is None:
        bad["properties"]["datetime"] = None
    path = tmp_path / "all.json"
    good = item("good one", "2021-08-02T16:58:49Z")
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [good, bad]}))
    with pytest.raises(CatalogueError, match=rf"Item bad one .*({says}).*leave_out"):
        find_scenes(study_of(path), progress=False)
    assert ids(find_scenes(study_of(path), leave_out=["bad one"], progress=False)) == ["good one"]


@pytest.mark.parametrize(
    ("changes", "cloud", "when"),
    [
        ({"eo:cloud_cover": None}, None, "2021-07-03T16:58:49Z"),
        ({"eo:cloud_cover": "12.5"}, 12.5, "2021-07-03T16:58:49Z"),
        ({"eo:cloud_cover": 0}, 0.0, "2021-07-03T16:58:49Z"),
        ({"datetime": None, "start_datetime": "2021-07-03T16:58:49Z", "end_datetime": "2021-07-03T17:00:00Z"},
         10.0, "2021-07-03T16:58:49Z"),
        ({"datetime": "2021-07-03T16:58:49.024123456Z"}, 10.0, "2021-07-03T16:58:49.024123Z"),
        ({"datetime": "2021-07-04T01:58:49+09:00"}, 10.0, "2021-07-03T16:58:49Z"),
        ({"datetime": "2021-07-03 16:58:49"}, 10.0, "2021-07-03T16:58:49Z"),
        ({"proj:epsg": 32615.0}, 10.0, "2021-07-03T16:58:49Z"),
        ({"proj:epsg": None, "proj:code": "EPSG:32615"}, 10.0, "2021-07-03T16:58:49Z"),
        ({"proj:epsg": None, "eo:epsg": 32615}, 10.0, "2021-07-03T16:58:49Z"),  # until STAC 0.9
    ],
)  # fmt: skip
def test_good_items_of_unusual_spelling_are_not_refused(tmp_path, changes, cloud, when):
    scene = found(tmp_path, [item(**changes)]).items[0]
    assert (scene.cloud, scene.datetime, scene.epsg, scene.day) == (cloud, when, UTM, 18811)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "contains not a JSON object but a list"),
        (json.dumps([item()]), '"FeatureCollection", "features"'),
        ("null", "contains not a JSON object but a NoneType"),
        ('{"type": "FeatureCollection", "features": [null, null]}', "Item 1 of .* is 'None'"),
        ('{"type": "FeatureCollection", "features": ["a"]}', "Item 1 of .* is 'a'|Item 1 of .* is a"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature"}]}', "has the id None"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "id": " "}]}', "has the id ' '"),
        ('{"type": "FeatureCollection", "features": null}', "should have a list of features; received 'None'"),
        ('{"type": "FeatureCollection"}', "should have a list of features"),
        ('{"type": "FeatureCollection", "features": {}}', "should have a list of features"),
        ('{"type": "Catalog", "links": null}', "should have a list of links"),
        ('{"type": "Catalog", "links": [{"rel": "item"}]}', "link 'item' whose href is None"),
        ('{"type": "Catalog", "links": [{"rel": "item", "href": 5}]}', "link 'item' whose href is 5"),
        (
            '{"type": "FeatureCollection", "features": [], "links": [{"rel": "next", "href": "http://127.0.0.1/", '
            '"method": "POST", "body": {"token": "next:1"}}]}',
            "one page of a search, .* by POST",
        ),
        ("[" * 200_000, "cannot be read as JSON"),
        ('{"a":' * 100_000, "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("", "is empty"),
    ],
    ids=lambda text: text[:60],
)
def test_a_list_that_is_none_is_named(tmp_path, content, says):
    path = tmp_path / "all.json"
    path.write_text(content)
    with pytest.raises(CatalogueError, match=says):
        find_scenes(study_of(path), progress=False)
    with BadServer(tmp_path) as server, pytest.raises(CatalogueError, match=r"all\.json"):
        find_scenes(study_of(server.url + "/all.json"), progress=False)


def test_a_list_in_an_archive_is_named_as_one(tmp_path):
    (tmp_path / "all.json").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(CatalogueError, match=r"all\.json is a gzip archive, not the JSON file itself\. Unpack it"):
        find_scenes(study_of(tmp_path / "all.json"), progress=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_list_in_any_unicode_encoding_is_read(tmp_path, encoding):
    path = tmp_path / "all.json"
    path.write_bytes(json.dumps({"type": "FeatureCollection", "features": [item()]}).encode(encoding))
    assert len(find_scenes(study_of(path), progress=False)) == 1
    with BadServer(tmp_path) as server:
        assert len(find_scenes(study_of(server.url + "/all.json"), progress=False)) == 1


@pytest.mark.parametrize("damage", ["[]", "null", '{"arset": [], "features": []}', '{"arset": {}, "features": [null]}'])
def test_a_saved_list_of_another_kind_is_named(tmp_path, damage):
    (tmp_path / "items.json").write_text(damage)
    with pytest.raises(CatalogueError, match=r"items\.json is not a complete item list of arsetlib.*Delete it"):
        Scenes.load(tmp_path / "items.json")


def test_links_to_files_are_followed_from_a_list_on_disk_only(tmp_path):
    links = {b: {"href": f"file://{tmp_path}/a%20b/{b}.tif"} for b in (*BANDS, "scl")}
    assert found(tmp_path, [item(links=links)]).items[0].hrefs["red"] == f"{tmp_path}/a b/red.tif"


def test_latitude_before_longitude_is_noticed_where_both_could_be_either(tmp_path):
    """In Africa no point is out of range: only the pixel grid tells."""
    area = Area("home", {"en": "Home"}, (450_000, 250_000, 460_000, 260_000), "EPSG:32636")
    grid = {"proj:epsg": 32636, "grid:code": "MGRS-36NVH", "proj:shape": [10980, 10980],
            "proj:transform": [10, 0, 399_960, 0, -10, 300_000]}  # fmt: skip
    one = item("kenya", **grid)
    for asset in one["assets"].values():
        asset.pop("proj:shape", None), asset.pop("proj:transform", None)
    right = Item(one, "").tile_outline
    assert len(found(tmp_path, [{**one, "geometry": mapping(right)}], areas=(area,))) == 1
    swapped = mapping(shapely.transform(right, lambda p: p[:, ::-1]))
    with pytest.raises(CatalogueError, match=r"Item kenya .*its geometry gives latitude before longitude"):
        found(tmp_path, [{**one, "geometry": swapped}], areas=(area,))


# -- footprints and areas across 180°

FIJI = 32701  # UTM zone 1 south


def fiji(geometry, **more):
    west, north = 199_980, 8_100_040
    grid = {"proj:epsg": FIJI, "proj:shape": [10980, 10980], "proj:transform": [10, 0, west, 0, -10, north]}
    one = item("S2A_01KAB_20210703_0_L2A", "2021-07-03T22:20:00Z", **grid, **{"grid:code": "MGRS-01KAB"}, **more)
    for asset in one["assets"].values():
        asset.pop("proj:shape", None), asset.pop("proj:transform", None)
    return {**one, "geometry": geometry}


RIGHT = [[[179.8, -18.2], [180, -18.2], [180, -17.2], [179.8, -17.2], [179.8, -18.2]]]
LEFT = [[[-180, -18.2], [-178.8, -18.2], [-178.8, -17.2], [-180, -17.2], [-180, -18.2]]]
JUMPS = [[[179.8, -18.2], [-178.8, -18.2], [-178.8, -17.2], [179.8, -17.2], [179.8, -18.2]]]
BEYOND = [[[179.8, -18.2], [181.2, -18.2], [181.2, -17.2], [179.8, -17.2], [179.8, -18.2]]]
BEFORE = [[[-180.2, -18.2], [-178.8, -18.2], [-178.8, -17.2], [-180.2, -17.2], [-180.2, -18.2]]]
ROUND = [[[-180, -90], [180, -90], [180, -17.2], [-180, -17.2], [-180, -90]]]
WORLD = [[[-178.8, -18.2], [179.8, -18.2], [179.8, -90], [-178.8, -90], [-178.8, -18.2]]]


@pytest.mark.parametrize(
    "ring", [JUMPS, BEYOND, BEFORE, [JUMPS[0][::-1]]], ids=["jumps", "beyond", "before", "clockwise"]
)
def test_a_polygon_across_180_is_cut_there(ring):
    expected = shape({"type": "MultiPolygon", "coordinates": [RIGHT, LEFT]})
    assert across_180(shape({"type": "Polygon", "coordinates": ring})).symmetric_difference(expected).area < 1e-9


def test_other_polygons_stay_as_they_are():
    for polygon in (box(-90, 30, -89, 31), box(-180, -60, -20, 80), box(0, 0, 180, 1)):
        assert across_180(polygon).equals(polygon)


EDGE = Area("edge", {"en": "Edge"}, (205_000, 8_030_000, 225_000, 8_040_000), f"EPSG:{FIJI}")
FAR = Area("far", {"en": "Far"}, (-0.1, -18.0, 0.1, -17.5), "EPSG:4326")


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": JUMPS},
        {"type": "Polygon", "coordinates": BEYOND},
        {"type": "Polygon", "coordinates": ROUND},
        {"type": "Polygon", "coordinates": WORLD},
        {"type": "MultiPolygon", "coordinates": [RIGHT, LEFT]},
    ],
    ids=["jumps", "beyond", "round the earth", "the wrong way", "right"],
)
def test_scenes_across_180_are_found_there_and_nowhere_else(tmp_path, geometry):
    scenes = found(tmp_path, [fiji(geometry)], areas=(EDGE,))
    assert len(scenes) == 1
    assert scenes.items[0].footprint.area < 3
    right = geometry["coordinates"] == [RIGHT, LEFT]
    assert any("180°" in note for note in scenes.notes) is not right
    with pytest.raises(CatalogueError, match="'far' .* has no scene"):
        found(tmp_path, [fiji(geometry)], areas=(FAR,))


def test_an_area_across_180_is_asked_for_in_two_parts():
    area = Area("fiji", {"en": "Fiji"}, (179.5, -18.0, 180.5, -17.5), "EPSG:4326")
    assert area.outline().bounds == (-180, -18.0, 180, -17.5)
    assert area.outline().area == pytest.approx(0.5)
    utm = Area("fiji", {"en": "Fiji"}, (150_000, 8_000_000, 250_000, 8_050_000), f"EPSG:{FIJI}")
    assert utm.outline().area < 1


def test_a_footprint_round_the_earth_without_a_grid_is_refused(tmp_path):
    one = fiji({"type": "Polygon", "coordinates": ROUND})
    del one["properties"]["proj:shape"]
    with pytest.raises(CatalogueError, match="goes around the Earth"):
        found(tmp_path, [one], areas=(EDGE,))


# -- the address of the service


def api(server, kind="root"):
    conforms = [f"https://api.stacspec.org/v1.0.0/{c}" for c in ("core", "item-search", "collections")]
    links = [{"rel": "search", "href": server.url + "/search", "method": "POST", "type": "application/geo+json"},
             {"rel": "root", "href": server.url + "/"}, {"rel": "self", "href": server.url + "/"}]  # fmt: skip
    base = {"id": "api", "stac_version": "1.0.0", "description": "x", "links": links}
    server.put("/", {**base, "type": "Catalog", "conformsTo": conforms})
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    server.put("/collections/s2", {**base, "id": "s2", "type": "Collection", "license": "x", "extent": extent})
    server.put("/collections", {"collections": [], "links": links})
    server.put("/collections/s2/items", {"type": "FeatureCollection", "features": [item()], "links": []})
    server.put("/search", {"type": "FeatureCollection", "features": [], "links": []})
    server.put("/catalog", {**base, "type": "Catalog", "links": []})


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/collections/s2", r'it is a collection.*write url = "{url}", and collection = "s2"'),
        ("/collections/s2/items", r'it is a page of items.*write url = "{url}"'),
        ("/search", r'it is a page of items.*write url = "{url}"'),
        ("/search?collections=s2&limit=1", r'write url = "{url}"'),
        ("/collections", "root of a STAC API"),
        ("/catalog", r"static catalogue .*ends in \.json"),
    ],
)
def test_an_address_that_is_not_the_root_is_told_from_it(path, says):
    with BadServer() as server:
        api(server)
        with pytest.raises(CatalogueError, match=says.format(url=server.url)) as error:
            find_scenes(study_of(server.url + path), progress=False)
        assert "does not answer as a STAC API should" in str(error.value)


@pytest.mark.parametrize(
    "page", [[], [item()], None, {"features": None}, {"features": [None]}, {"features": "x"}, {"type": "x"},
             {"features": [item()], "links": [{"rel": "next"}]}, {"features": [item()], "links": "x"},
             {"features": [item()], "links": [{"rel": "next", "href": "file:///etc/passwd"}]},
             {"features": [item()], "numberMatched": "many"}],
    ids=lambda page: str(page)[:50],
)  # fmt: skip
def test_a_page_that_is_none_is_one_clear_error(page):
    with BadServer() as server:
        api(server)
        server.put("/search", json.dumps(page))
        with pytest.raises(CatalogueError, match=r"STAC API|cannot be asked|no scene in"):
            find_scenes(study_of(server.url), progress=False)


@pytest.mark.parametrize("last", [{}, {"token": 3}, {"token": 4}])
def test_an_empty_page_does_not_end_a_search(last):
    """Its next link does; where a service never ends them, empty pages in a row do."""

    def search(request):
        token = request.json().get("token", 0)
        follows = {"token": token + 1} if token < 3 else last
        link = {"rel": "next", "method": "POST", "href": server.url + "/search", "merge": True, "body": follows}
        features = [item(f"s{token}", f"2021-07-0{token + 1}T17:00:00Z")] if token in (0, 2) else []
        return {"type": "FeatureCollection", "features": features, "links": [link] if follows else []}

    with BadServer() as server:
        api(server)
        server.put("/search", search)
        assert ids(find_scenes(study_of(server.url), progress=False)) == ["s0", "s2"]


@pytest.mark.parametrize("url", ["https://[x", "https://u:p@[::1/x.json", "http://", "http://a..b/", "ftp://b/x.json"])
def test_an_address_that_is_none_is_named(url):
    with pytest.raises(CatalogueError, match=r"is not an address of scenes|cannot be asked"):
        find_scenes(study_of(url), progress=False)


def test_links_that_lead_nowhere_are_named(tmp_path):
    with pytest.raises(CatalogueError, match=r"links 'red' to 'http://\[bad', which is not an address"):
        found(tmp_path, [item(links={"red": {"href": "http://[bad"}})])
    (tmp_path / "c.json").write_text(json.dumps({"type": "Catalog", "links": [{"rel": "item", "href": "https://[x"}]}))
    with pytest.raises(CatalogueError, match=r"links to 'https://\[x', which is not an address"):
        find_scenes(study_of(tmp_path / "c.json"), progress=False)


def test_a_link_to_a_file_may_write_a_space_as_an_address_does(tmp_path):
    there = tmp_path / "items" / "my scenes" / "red.tif"
    there.parent.mkdir(parents=True)
    there.touch()
    scene = found(tmp_path, [item(links={"red": {"href": "./my%20scenes/red.tif"}})]).items[0]
    assert scene.hrefs["red"] == str(there)


@pytest.mark.parametrize("link", ["my%20items/a.json", "./my items/a.json", "my items\\a.json"])
def test_a_link_to_an_item_may_be_written_as_an_address_or_as_in_windows(tmp_path, link):
    (tmp_path / "my items").mkdir()
    (tmp_path / "my items" / "a.json").write_text(json.dumps(item()))
    (tmp_path / "c.json").write_text(json.dumps({"type": "Catalog", "links": [{"rel": "item", "href": link}]}))
    assert len(find_scenes(study_of(tmp_path / "c.json"), progress=False)) == 1


@pytest.mark.parametrize("links", [[], [{"rel": "items", "href": "./items"}]])
def test_a_catalogue_without_items_is_named(tmp_path, links):
    (tmp_path / "c.json").write_text(json.dumps({"type": "Collection", "links": links}))
    with pytest.raises(CatalogueError, match=r"c\.json lists no item.*address of the service itself"):
        find_scenes(study_of(tmp_path / "c.json"), progress=False)


def test_an_item_that_is_not_there_is_named_with_the_list_that_links_to_it(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"type": "Catalog", "links": [{"rel": "item", "href": "gone.json"}]}))
    with pytest.raises(CatalogueError, match=r"There is no .*gone\.json, to which .*c\.json leads"):
        find_scenes(study_of(tmp_path / "c.json"), progress=False)


def test_a_band_is_found_by_its_common_name_where_one_file_alone_has_it():
    def named(common, key="common_name"):
        return {"href": f"{common}.tif", "eo:bands" if key == "common_name" else "bands": [{"name": "b", key: common}]}

    one = Item({"id": "x", "assets": {"a": named("red"), "b": named("nir", "eo:common_name")}}, "")
    assert (one.find("red")["href"], one.find("nir")["href"]) == ("red.tif", "nir.tif")
    assert Item({"id": "x", "assets": {"a": named("red"), "b": named("red")}}, "").find("red") is None


def test_bands_named_as_earth_engine_does_are_found():
    assets = {"B4": {"href": "r.tif"}, "B8A": {"href": "n.tif"}, "B11": {"href": "s.tif"}, "red": None}
    one = Item({"id": "x", "assets": assets}, "")
    assert [one.asset(band)["href"] for band in ("red", "nir08", "swir16")] == ["r.tif", "n.tif", "s.tif"]


def test_an_id_of_leave_out_that_no_scene_has_is_told(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item()]}))
    notes = find_scenes(study_of(tmp_path / "all.json"), leave_out=["S2A_TYPO"], progress=False).notes
    assert notes == ("No scene found has these ids of leave_out: S2A_TYPO. Check their spelling.",)


# -- collections by year

TOML = Path(__file__).resolve().parents[1] / "arsetlib" / "studies" / "mississippi_delta.toml"


def test_each_year_is_searched_in_its_own_collection(capsys):
    years = {2019: "sentinel-2-l2a", 2023: "sentinel-2-c1-l2a"}
    text = TOML.read_text().replace("years = [2019, 2020, 2021]", "years = [2019, 2023]").split("[split]")
    text = text[0] + "[split]\ntrain = [2019]\n" + text[1][text[1].index("\nblock_m") :]
    text += "[scenes.collections]\n" + "\n".join(f'{y} = "{c}"' for y, c in years.items())
    study = Study.parse(text)
    assert study.scenes.collections == years
    with BadServer() as server:
        api(server)
        asked = []

        def search(request):
            asked.append(request.json())
            year = request.json()["datetime"][:4]
            one = item(f"of {year}", f"{year}-07-03T16:58:49Z", links={
                b: {"href": f"https://cogs.example.org/{b}.tif"} for b in (*BANDS, "scl")})  # fmt: skip
            return {"type": "FeatureCollection", "links": [], "features": [one]}

        server.put("/search", search)
        source = SceneSource(url=server.url, collection="sentinel-2-l2a", collections=study.scenes.collections)
        find_scenes(study_of(server.url, scenes=source, years=(2019, 2023)))
        assert {a["datetime"][:4]: a["collections"] for a in asked} == {
            "2019": ["sentinel-2-l2a"],
            "2023": ["sentinel-2-c1-l2a"],
        }
        assert "known to lack" not in capsys.readouterr().out
        poor = SceneSource(url=server.url, collection="sentinel-2-c1-l2a")
        scenes = find_scenes(study_of(server.url, scenes=poor, years=(2019, 2023)))
        assert "sentinel-2-c1-l2a is known to lack many scenes of 2019 (1 found)" in capsys.readouterr().out
        assert len(scenes.notes) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('2031 = "x"', r"names '2031', which \[study\] years does not have"),
        ("2019 = 5", "2019 must be the id of a collection, got 5"),
        ('nineteen = "x"', "names 'nineteen'"),
    ],
)
def test_a_wrong_table_of_collections_is_named(line, says):
    with pytest.raises(StudyError, match=says):
        Study.parse(TOML.read_text() + "[scenes.collections]\n" + line)


def test_a_study_without_the_table_keeps_its_fingerprint():
    study = Study.load("mississippi_delta")
    assert study.scenes.collection_of(2019) == "sentinel-2-l2a"
    other = study.replace(scenes=SceneSource(collections={2019: "x"}))
    assert study.replace(scenes=SceneSource()).fingerprint() != other.fingerprint()


# -- remote files


@pytest.mark.parametrize(
    ("href", "is_remote"),
    [
        ("https://a.org/b.tif", True), ("HTTP://a.org/b.tif", True), ("s3://b/k.tif", True), ("gs://b/k.tif", True),
        ("/vsis3/b/k.tif", True), ("/vsicurl/https://a.org/b.tif", True), ("/data/b.tif", False),
        ("file:///data/b.tif", False), ("/vsizip/a.zip/b.tif", False), ("C:/data/b.tif", False),
    ],
)  # fmt: skip
def test_remote_links_are_known(href, is_remote):
    assert reader.is_remote(href) is is_remote


def test_a_cloud_cover_that_rounding_put_beyond_100_is_100():
    assert Item(item("one", **{"eo:cloud_cover": 100.000001}), "").cloud == 100
