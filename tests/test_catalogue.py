"""Scenes: what is found, what is dropped, and what happens when the service or the catalogue is bad."""

import functools
import json
import logging
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import shapely
from badserver import BadServer
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import box, mapping

from arsetlib import web
from arsetlib.catalogue import CatalogueError, Scenes, find_scenes, selection
from arsetlib.catalogue.item import Item
from arsetlib.ground import GridError
from arsetlib.labels import find_labels
from arsetlib.study import Area, LabelSource, SceneSource, Study

UTM = 32615
TILE = (690_000, 3_650_000, 799_800, 3_759_800)  # m, EPSG:32615
HOME = Area("home", {"en": "Home"}, (700_000, 3_700_000, 720_000, 3_710_000), f"EPSG:{UTM}")
BANDS = ("blue", "red")
SECRET = "TopSecret123"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    quick = web.Patience(attempts=4, first=0.01, longest=2.0, connect=2.0, read=0.4)
    monkeypatch.setattr(web.answers, "PATIENCE", quick)


def lonlat(polygon):
    change = Transformer.from_crs(UTM, 4326, always_xy=True)
    return shapely.transform(polygon, lambda p: np.column_stack(change.transform(p[:, 0], p[:, 1])))


def item(name="S2A_15SYT_20210703_0_L2A", when="2021-07-03T16:58:49Z", ground=TILE, links=None, **properties):
    """An item such as Earth Search gives; ``ground`` is where it has data, m in UTM."""
    grid = {"proj:shape": [10980, 10980], "proj:transform": [10, 0, TILE[0], 0, -10, TILE[3]]}
    bands = [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]
    assets = {b: {"href": f"../tif/{name}/{b}.tif", "raster:bands": bands, **grid} for b in BANDS}
    assets["scl"] = {"href": f"../tif/{name}/scl.tif"}
    own = {
        "datetime": when,
        "platform": "sentinel-2a",
        "grid:code": "MGRS-15SYT",
        "proj:epsg": UTM,
        "eo:cloud_cover": 10.0,
        "s2:processing_baseline": "03.00",
        "earthsearch:boa_offset_applied": False,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "s2",
        "geometry": mapping(lonlat(box(*ground) if isinstance(ground, tuple) else ground)),
        "properties": {k: v for k, v in {**own, **properties}.items() if v is not None},
        "assets": {k: v for k, v in {**assets, **(links or {})}.items() if v},
        "links": [],
    }


def study_of(url, **changes):
    source = SceneSource(url=str(url), collection="s2", max_cloud=80.0, min_valid=0.3)
    changes = {"areas": (HOME,), "years": (2021,), "bands": BANDS, "scenes": source, **changes}
    return Study.load("mississippi_delta").replace(**changes)


def collection(tmp_path, items, name="collection.json"):
    """A static collection on disk; returns its path."""
    (tmp_path / "items").mkdir(exist_ok=True)
    links = []
    for i in items:
        (tmp_path / "items" / f"{i['id']}.json").write_text(json.dumps(i))
        links.append({"rel": "item", "href": f"./items/{i['id']}.json"})
    (tmp_path / name).write_text(json.dumps({"type": "Collection", "id": "s2", "links": links}))
    return tmp_path / name


def found(tmp_path, items, **changes):
    return find_scenes(study_of(collection(tmp_path, items), **changes), progress=False)


def ids(scenes):
    return [s.id for s in scenes]


class Api:
    """A STAC API of a few items: POST search, ``next`` links that carry a body, as Earth Search has them."""

    def __init__(self, server, items, matched=None):
        self.server, self.items, self.matched = server, items, matched
        conforms = ["core", "item-search", "item-search#fields"]
        server.put("/", {
            "type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{c}" for c in conforms],
            "links": [{"rel": "search", "href": server.url + "/search", "method": "POST",
                       "type": "application/geo+json"},
                      {"rel": "self", "href": server.url + "/"}, {"rel": "root", "href": server.url + "/"}],
        })  # fmt: skip
        server.put("/search", self.search)

    def search(self, request):
        asked = request.json()
        start, limit = int(asked.get("next", 0)), asked["limit"]
        year = asked["datetime"][:4]
        here = [i for i in self.items if i["properties"]["datetime"].startswith(year)]
        page = {"type": "FeatureCollection", "features": here[start : start + limit], "links": []}
        page["numberMatched"] = len(here) if self.matched is None else self.matched
        if start + limit < len(here):
            body = {**asked, "next": str(start + limit)}
            link = {"rel": "next", "href": self.server.url + "/search", "method": "POST", "body": body}
            page["links"] = [link]
        return page


def many(n):
    start = np.datetime64("2021-01-01")
    days = [str(start + np.timedelta64(i, "D")) for i in range(n)]
    http = {b: {"href": f"https://cogs.example.org/{b}.tif"} for b in (*BANDS, "scl")}
    return [item(f"S2A_15SYT_{d.replace('-', '')}_0_L2A", f"{d}T16:58:49Z", links=http) for d in days]


# -- where scenes come from


def test_scenes_of_a_static_collection_on_disk_are_sorted_and_complete(tmp_path):
    late = item("S2A_15SYT_20210713_0_L2A", "2021-07-13T16:58:49Z")
    scenes = found(tmp_path, [late, item()])
    assert ids(scenes) == ["S2A_15SYT_20210703_0_L2A", "S2A_15SYT_20210713_0_L2A"]
    scene = scenes.items[0]
    assert (scene.day, scene.tile, scene.epsg, scene.platform) == (18811, "15SYT", UTM, "sentinel-2a")
    assert scene.shape == (10980, 10980)
    assert scene.transform == (10, 0, TILE[0], 0, -10, TILE[3])
    assert scene.hrefs["red"] == str(tmp_path / "tif" / scene.id / "red.tif")
    assert set(scene.hrefs) == {*BANDS, "scl"}


@pytest.mark.parametrize("kind", ["collection", "catalogue", "item collection"])
def test_a_static_source_gives_the_same_scenes_on_disk_and_over_http(tmp_path, server, kind):
    path = collection(server.folder, [item(), item("S2B_15SYT_20210705_0_L2A", "2021-07-05T17:00:00Z")])
    if kind == "catalogue":
        path = server.folder / "catalog.json"
        content = {"type": "Catalog", "id": "c", "links": [{"rel": "child", "href": "collection.json"}]}
        path.write_text(json.dumps({**content, "links": [*content["links"], {"rel": "self", "href": "x.json"}]}))
    if kind == "item collection":
        features = [json.loads(f.read_text()) for f in (server.folder / "items").iterdir()]
        path = server.folder / "items" / "all.json"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    here = find_scenes(study_of(path), progress=False)
    there = find_scenes(study_of(f"{server.url}/{path.relative_to(server.folder)}"), progress=False)
    assert ids(here) == ids(there) != []
    assert there.items[0].hrefs["red"].startswith(server.url + "/tif/")


def test_an_api_is_read_to_its_last_page(server):
    Api(server, many(230))
    scenes = find_scenes(study_of(server.url), progress=False)
    assert len(scenes) == 230
    assert server.count("/search") == 3
    asked = server.requests[-1].json()
    assert "assets.thumbnail" in asked["fields"]["exclude"]


def test_pages_get_smaller_where_large_ones_fail(server):
    api = Api(server, many(60))

    def picky(request):
        return (502, "Bad gateway") if request.json()["limit"] > 30 else api.search(request)

    server.put("/search", picky)
    assert len(find_scenes(study_of(server.url), progress=False)) == 60
    limits = [r.json()["limit"] for r in server.requests if r.path == "/search"]
    assert limits == [100, 50, 25, 25, 25]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(server, status):
    Api(server, many(5))
    server.fail("/search", status, times=2)
    assert len(find_scenes(study_of(server.url), progress=False)) == 5


def test_retry_after_is_honoured(server, monkeypatch):
    waits = []
    # A clock for this module alone: threads of other libraries sleep, too.
    monkeypatch.setattr(web.answers, "time", SimpleNamespace(**vars(time) | {"sleep": waits.append}))
    Api(server, many(5))
    server.fail("/search", 503, times=1, retry_after=2)
    server.fail("/search", 429, times=1, retry_after=1)
    find_scenes(study_of(server.url), progress=False)
    assert waits == [2.0, 1.0]


def test_a_server_that_wants_a_long_rest_gets_it(server):
    Api(server, many(5))
    server.fail("/search", 429, retry_after=3600)
    with pytest.raises(CatalogueError, match=r"/search answered HTTP 429.*asks to wait 3600 s\. Nothing is lost"):
        find_scenes(study_of(server.url), progress=False)
    assert server.count("/search") == 1


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (503, "HTTP 503"),
        ("stall", "nothing more received for 0.4 s"),
        ("break", "ended too early"),
    ],
)
def test_a_lasting_failure_is_one_clear_error(server, how, says):
    Api(server, many(5))
    server.fail("/search", how)
    with pytest.raises(CatalogueError, match=rf"/search failed 4 times, last: .*{says}.*run it again"):
        find_scenes(study_of(server.url), progress=False)
    server.mend()
    assert len(find_scenes(study_of(server.url), progress=False)) == 5


def test_a_stalled_page_is_asked_for_again(server):
    Api(server, many(5))
    server.fail("/search", "stall", times=1)
    assert len(find_scenes(study_of(server.url), progress=False)) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 400])
def test_a_refusal_is_not_tried_again(server, status):
    Api(server, many(5))
    server.fail("/search", status)
    with pytest.raises(CatalogueError, match=rf"/search answered HTTP {status}"):
        find_scenes(study_of(server.url), progress=False)
    assert server.count("/search") == 1


def test_an_api_that_gives_fewer_items_than_it_has_is_refused(server):
    Api(server, many(5), matched=7)
    with pytest.raises(CatalogueError, match="said it has 7 items and gave 5"):
        find_scenes(study_of(server.url), progress=False)


def test_next_links_in_a_circle_are_refused(server):
    api = Api(server, many(250))

    def circle(request):
        page = api.search(request)
        if page["links"]:
            page["links"][0]["body"]["next"] = "100"
        return page

    server.put("/search", circle)
    with pytest.raises(CatalogueError, match="already read"):
        find_scenes(study_of(server.url), progress=False)


def test_a_page_that_is_no_api_is_named(server):
    server.put("/", "<html>Please log in</html>")
    with pytest.raises(CatalogueError, match="does not answer as a STAC API should"):
        find_scenes(study_of(server.url), progress=False)
    server.put("/items.json", "<html>Please log in</html>")
    with pytest.raises(CatalogueError, match="should answer with a JSON object; received '<html>Please log in"):
        find_scenes(study_of(server.url + "/items.json"), progress=False)


def test_a_missing_static_catalogue_says_how_to_make_one(tmp_path):
    with pytest.raises(CatalogueError, match=r"There is no .*collection\.json.*arset simulate"):
        find_scenes(study_of(tmp_path / "collection.json"), progress=False)


def test_a_label_grid_not_in_metres_on_the_ground_is_refused_before_the_search(server):
    with pytest.raises(GridError, match=r"\[labels\] crs = 'EPSG:3857' cannot be"):
        find_scenes(study_of(server.url, labels=LabelSource(kind="vector", crs="EPSG:3857")), progress=False)
    assert server.requests == []


# -- filters


def test_every_drop_is_counted_by_its_reason(tmp_path):
    far = (TILE[0], 3_650_000, TILE[0] + 5_000, 3_655_000)
    items = [
        item(),
        item("S2A_15SYT_20200703_0_L2A", "2020-07-03T16:58:49Z"),
        item("S2A_15SYT_20210713_0_L2A", "2021-07-13T16:58:49Z", ground=far),
        item("S2A_15SYT_20210723_0_L2A", "2021-07-23T16:58:49Z", **{"eo:cloud_cover": 80.5}),
        item("S2A_15SYT_20210802_0_L2A", "2021-08-02T16:58:49Z", ground=(690_000, 3_650_000, 705_000, 3_759_800)),
        item("S2A_15SYT_20210703_1_L2A", **{"s2:processing_baseline": "05.00"}),
        item("S2A_15SYT_20210812_0_L2A", "2021-08-12T16:58:49Z"),
    ]
    scenes = find_scenes(study_of(collection(tmp_path, items)), leave_out=["S2A_15SYT_20210812_0_L2A"], progress=False)
    assert ids(scenes) == ["S2A_15SYT_20210703_1_L2A"]
    assert scenes.dropped == {
        "left_out": 1,
        "other_years": 1,
        "outside_areas": 1,
        "older_processing": 1,
        "too_cloudy": 1,
        "too_little_valid": 1,
    }
    assert "1 older processing; 1 too cloudy" in str(scenes)


def test_what_was_dropped_is_said_when_progress_is_shown(tmp_path, capsys):
    find_scenes(study_of(collection(tmp_path, [item()])))
    assert "1 scenes. Dropped: none." in capsys.readouterr().out


@settings(max_examples=30, deadline=None)
@given(edge=st.integers(690_010, 799_790), west=st.integers(660_000, 770_000), width=st.integers(5_000, 60_000))
def test_valid_share_is_of_what_the_tile_could_show(edge, west, width):
    area = replace(HOME, bounds=(west, 3_700_000, west + width, 3_710_000))
    thing = Item(item(ground=(TILE[0], TILE[1], edge, TILE[3])), "/x/items/i.json")
    share = selection._valid_share(thing, area, BANDS)
    # The plain way: 1 m columns of the area that lie in the tile, and those that lie in the footprint.
    x = np.arange(west, west + width) + 0.5
    could = (x > TILE[0]) & (x < TILE[2])
    expected = (could & (x < edge)).sum() / could.sum() if could.any() else 0
    assert share == pytest.approx(expected, abs=1e-3)


def test_a_scene_stays_if_one_area_of_several_is_shown_well(tmp_path):
    other = replace(HOME, key="other", bounds=(760_000, 3_700_000, 780_000, 3_710_000))
    west_half = item(ground=(690_000, 3_650_000, 765_000, 3_759_800))
    assert len(found(tmp_path, [west_half], areas=(HOME, other))) == 1


def test_without_a_grid_the_share_of_no_data_in_the_tile_stands_in(tmp_path):
    bare = {b: {"href": f"{b}.tif"} for b in BANDS}
    poor = item(links=bare, **{"s2:nodata_pixel_percentage": 71.0})
    good = item("S2A_15SYT_20210713_0_L2A", "2021-07-13T16:58:49Z", links=bare, **{"s2:nodata_pixel_percentage": 69.0})
    scenes = found(tmp_path, [poor, good])
    assert ids(scenes) == [good["id"]]
    assert scenes.items[0].shape is None


def test_overlap_is_with_the_true_footprint_and_the_whole_outline(tmp_path):
    # A slanted swath whose box holds the area, though no data do.
    swath = shapely.Polygon([(690_000, 3_650_000), (799_800, 3_650_000), (799_800, 3_759_800)])
    corner = replace(HOME, bounds=(690_000, 3_745_000, 700_000, 3_755_000))
    with pytest.raises(CatalogueError, match=r"Area 'home' .* has no scene in \[2021\].*1 outside the areas"):
        found(tmp_path, [item(ground=swath)], areas=(corner,))
    # A long box in Albers bulges: its edge, not its corners, reaches this scene.
    wide = Area("wide", {"en": "Wide"}, (-2_000_000, 1_000_000, 2_000_000, 1_300_000), "EPSG:5070")
    corners = Transformer.from_crs(5070, 4326, always_xy=True).transform(
        [-2_000_000, 2_000_000, -2_000_000, 2_000_000], [1_000_000, 1_000_000, 1_300_000, 1_300_000]
    )
    assert box(*wide.outline().bounds).bounds[3] > max(corners[1]) + 1
    assert len(found(tmp_path, [item()], areas=(wide,))) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_processing_of_a_scene_is_kept(tmp_path, order):
    items = [
        item("S2A_15SYT_20210703_0_L2A", **{"s2:processing_baseline": "03.00"}),
        item("S2A_15SYT_20210703_1_L2A", **{"s2:processing_baseline": "05.00", "s2:sequence": "1"}),
        item("S2A_15SYT_20210703_2_L2A", **{"s2:processing_baseline": "05.00", "s2:sequence": "2"}),
        item("S2A_15SYT_20210703_10_L2A", **{"s2:processing_baseline": "05.00", "s2:sequence": "10"}),
        item("S2B_15SYT_20210703_0_L2A", platform="sentinel-2b"),
    ]
    scenes = found(tmp_path, items[::order])
    assert ids(scenes) == ["S2A_15SYT_20210703_10_L2A", "S2B_15SYT_20210703_0_L2A"]
    assert scenes.dropped["older_processing"] == 3


def test_both_halves_of_a_divided_pass_are_kept(tmp_path):
    north = item("S2A_15SYT_20210703_0_L2A", ground=(690_000, 3_704_000, 799_800, 3_759_800))
    south = item("S2A_15SYT_20210703_1_L2A", "2021-07-03T16:58:35Z", ground=(690_000, 3_650_000, 799_800, 3_706_000))
    assert len(found(tmp_path, [north, south])) == 2


def test_an_area_without_scenes_is_named_with_its_year(tmp_path):
    with pytest.raises(CatalogueError, match=r"Area 'home' \(longitude .* has no scene in \[2020\]"):
        found(tmp_path, [item()], years=(2020, 2021))


# -- items that are wrong


def test_a_missing_band_names_the_item_and_the_band(tmp_path):
    with pytest.raises(
        CatalogueError, match=r"1 of the scenes.*S2A_15SYT_20210703_0_L2A lacks the band 'red'.*leave_out"
    ):
        found(tmp_path, [item(links={"red": None})])


def test_bands_are_known_by_the_name_of_esa_too(tmp_path):
    grid = item()["assets"]["red"]
    links = {"red": None, "blue": None, "scl": None, "SCL": {"href": "c.tif"}}
    links |= {"B04": {**grid, "href": "a.tif"}, "B02": {**grid, "href": "b.tif"}}
    scene = found(tmp_path, [item(links=links)]).items[0]
    assert [h.rsplit("/")[-1] for h in (scene.hrefs[b] for b in ("red", "blue", "scl"))] == ["a.tif", "b.tif", "c.tif"]


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"proj:epsg": 32655}, "elsewhere than its footprint"),
        ({"proj:epsg": 999_999}, "CRS that does not exist"),
        ({"proj:epsg": None}, "states no CRS"),
        ({"s2:processing_baseline": "05.00", "links": {"red": {"href": "r.tif", "raster:bands": [{"offset": 0}]}}},
         "different processing offsets|one processing offset"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_names_the_item(tmp_path, properties, says):
    with pytest.raises(CatalogueError, match=rf"S2A_15SYT_20210703_0_L2A .*({says})"):
        found(tmp_path, [item(**properties)])


def test_a_wrong_item_far_off_does_no_harm(tmp_path):
    cloudy = item("S2A_15SYT_20210713_0_L2A", "2021-07-13T16:58:49Z", links={"red": None}, **{"eo:cloud_cover": 99.0})
    assert len(found(tmp_path, [item(), cloudy])) == 1


def test_offsets_follow_the_rule_of_sentinel2(tmp_path):
    applied = item("S2A_15SYT_20210713_0_L2A", "2021-07-13T16:58:49Z",
                   **{"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True})  # fmt: skip
    raw = item("S2A_15SYT_20210723_0_L2A", "2021-07-23T16:58:49Z", **{"s2:processing_baseline": "05.00"})
    assert [s.offset for s in found(tmp_path, [item(), applied, raw])] == [0, 0, -1000]


# -- the saved list


def test_a_saved_list_is_read_back_unchanged_and_moves_with_its_folder(tmp_path):
    (tmp_path / "a").mkdir()
    scenes = found(tmp_path / "a", [item(), item("S2A_15SYT_20210713_0_L2A", "2021-07-13T16:58:49Z", ground=TILE)])
    scenes.save(tmp_path / "a" / "items.json")
    assert Scenes.load(tmp_path / "a" / "items.json") == scenes
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = Scenes.load(tmp_path / "b" / "items.json")
    assert moved.items[0].hrefs["red"] == str(tmp_path / "b" / "tif" / moved.items[0].id / "red.tif")
    assert str(tmp_path) not in (tmp_path / "b" / "items.json").read_text().replace(str(moved.query["url"]), "")


def test_a_saved_list_is_a_stac_item_collection(tmp_path):
    import pystac

    path = found(tmp_path, [item()]).save(tmp_path / "items.json")
    items = pystac.ItemCollection.from_file(str(path))
    assert [i.id for i in items] == ["S2A_15SYT_20210703_0_L2A"]


def test_a_rerun_sees_the_same_scenes_without_asking_again(tmp_path, server):
    Api(server, many(5))
    first = find_scenes(study_of(server.url), cache=tmp_path / "cache", progress=False)
    asked = len(server.requests)
    Api(server, many(9))
    assert find_scenes(study_of(server.url), cache=tmp_path / "cache", progress=False) == first
    assert len(server.requests) == asked


def test_a_saved_list_does_not_answer_another_question(tmp_path):
    study = study_of(collection(tmp_path, [item()]))
    find_scenes(study, cache=tmp_path / "cache", progress=False)
    stricter = study.replace(scenes=replace(study.scenes, max_cloud=50.0))
    with pytest.raises(CatalogueError, match=r"items\.json is of another search: max_cloud was 80\.0, now 50\.0"):
        find_scenes(stricter, cache=tmp_path / "cache", progress=False)


def test_a_damaged_list_is_named(tmp_path):
    path = found(tmp_path, [item()]).save(tmp_path / "items.json")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CatalogueError, match=r"items\.json is not a complete item list.*Delete it"):
        Scenes.load(path)


def test_a_list_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    scenes = found(tmp_path, [item()])
    path = scenes.save(tmp_path / "items.json")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CatalogueError, match=r"Cannot write .*items\.json: No space left on device"):
        scenes.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("unknown", [False, True])
def test_the_newest_of_many_tiles_is_that_of_a_plain_loop(unknown):
    """Ours compares within a tile where all items state theirs; the loop compares each item with all others."""
    rng = np.random.default_rng(5)
    items = []
    for number in range(120):
        minute, tile = int(rng.integers(0, 50)), rng.choice(["15SYT", "15SYU", "15SXT"])
        ground = (TILE[0], TILE[1], TILE[2] - int(rng.integers(0, 9)) * 10_000, TILE[3])
        raw = item(
            f"scene-{number}", f"2021-07-0{rng.integers(1, 4)}T16:{minute:02d}:49Z", ground,
            **{
                "grid:code": None if unknown and number % 7 == 0 else f"MGRS-{tile}",
                "platform": f"sentinel-2{rng.choice(['a', 'b'])}",
                "s2:processing_baseline": f"0{rng.integers(2, 6)}.00",
            },
        )  # fmt: skip
        items.append(Item(raw, ""))
    expected = set()
    for one in items:
        near = [o for group in selection._passes(items) if one in group for o in group]
        kept = []
        for o in sorted(near, key=functools.cmp_to_key(selection._newer_first)):
            again = shapely.union_all([k.footprint for k in kept if selection._same_tile(k, o)])
            if again.intersection(o.footprint).area < selection.SAME_GROUND * o.footprint.area:
                kept.append(o)
        expected |= {one} & set(kept)
    assert set(selection._newest(items)) == expected
    assert 0 < len(expected) < len(items)


# -- secrets and paths

SIGNED = [
    f"https://cogs.example.org/a.tif?X-Amz-Signature={SECRET}&X-Amz-Date=20210101",
    f"https://cogs.example.org/a.tif?se=2030&sig={SECRET}",
    f"https://me:{SECRET}@cogs.example.org/a.tif",
    f"https://cogs.example.org/a.tif?api_key={SECRET}",
    f"https://cogs.example.org/a.tif#access_token={SECRET}",
    f"https://cogs.example.org/a.tif?%73ig={SECRET}",
]


@pytest.mark.parametrize("link", SIGNED)
def test_a_link_with_credentials_is_refused_without_showing_them(tmp_path, link):
    with pytest.raises(CatalogueError, match="has credentials in its link to 'red'") as error:
        found(tmp_path, [item(links={"red": {"href": link}})])
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("link", SIGNED)
def test_no_credentials_pass_redaction(link):
    assert SECRET not in web.public(link)
    assert SECRET not in web.redact(f"Max retries exceeded with url: {link.split('.org')[-1]} and {link} (x)")


@pytest.mark.parametrize(
    "link", ["https://a.org/b.tif?year=2021&bbox=1,2", "/data/a.tif", "s3://b/a.tif", "data/a?b.tif"]
)
def test_plain_links_pass_redaction_unchanged(link):
    assert web.public(link) == link == web.redact(link)


def test_credentials_of_the_service_reach_no_file_message_or_log(tmp_path, server, caplog):
    host = server.url.removeprefix("http://")
    Api(server, many(3))
    url = f"http://me:{SECRET}@{host}"
    with caplog.at_level(logging.DEBUG):
        scenes = find_scenes(study_of(url), cache=tmp_path, progress=False)
        server.fail("/*.json", 503)
        with pytest.raises(CatalogueError) as error:
            find_scenes(study_of(f"{url}/items.json?token={SECRET}"), progress=False)
    assert len(scenes) == 3
    assert SECRET not in (tmp_path / "items.json").read_text() + str(error.value) + repr(scenes)
    assert SECRET not in caplog.text
    assert "/items.json" in caplog.text


def test_links_of_planetary_computer_are_signed_on_use_and_saved_unsigned(tmp_path, server, monkeypatch):
    monkeypatch.setattr(web.storage, "BLOB_HOST", "127.0.0.1")
    monkeypatch.setattr(web.storage, "SAS_URL", server.url + "/sas")
    monkeypatch.setattr(web.storage, "_tokens", {})
    server.put("/sas/127/store", {"token": f"se=1&sig={SECRET}", "msft:expiry": "2999-01-01T00:00:00Z"})
    link = f"{server.url}/store/red.tif"
    scenes = found(tmp_path, [item(links={"red": {"href": f"{link}?sig=Old{SECRET}"}})])
    assert scenes.items[0].hrefs["red"] == link
    assert web.sign(link) == web.sign(link) == f"{link}?se=1&sig={SECRET}"
    assert server.count("/sas/*") == 1
    assert web.sign("https://example.org/a.tif") == "https://example.org/a.tif"
    assert SECRET not in scenes.save(tmp_path / "items.json").read_text()


@pytest.mark.parametrize(
    "link", ["file:///etc/passwd", "/vsizip//etc/x.zip", "ftp://a.org/b.tif", "zip+https://a/b.zip"]
)
def test_a_catalogue_on_the_net_cannot_point_at_files_here(server, link):
    there = {"type": "FeatureCollection", "features": [item(links={"red": {"href": link}})]}
    server.put("/items.json", there)
    study = study_of(server.url + "/items.json")
    if link.startswith("/"):  # a path on that server, not on this machine
        assert find_scenes(study, progress=False).items[0].hrefs["red"] == server.url + link
    else:
        with pytest.raises(CatalogueError, match="links 'red' to .* which is neither"):
            find_scenes(study, progress=False)
    server.put("/catalog.json", {"type": "Catalog", "links": [{"rel": "item", "href": "file:///etc/passwd"}]})
    with pytest.raises(CatalogueError, match="only http"):
        find_scenes(study_of(server.url + "/catalog.json"), progress=False)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../evil", "..\\evil"])
def test_names_in_a_catalogue_decide_no_path(tmp_path, server, name):
    cache = tmp_path / "cache" / "deep"
    server.put("/items.json", {"type": "FeatureCollection", "features": [item(name)]})
    before = {p for p in tmp_path.rglob("*")}
    find_scenes(study_of(server.url + "/items.json"), cache=cache, progress=False)
    assert {p for p in tmp_path.rglob("*")} - before == {cache.parent, cache, cache / "items.json"}


# -- the simulated delta, as a catalogue like any other


def test_the_simulated_delta_is_found_on_disk_and_over_http_alike(delta):
    study = Study.load(delta / "study.toml").replace(years=(2021,))
    here = find_scenes(study, progress=False)
    assert here.dropped["older_processing"] > 0
    assert {s.offset for s in here} == {0, -1000}
    assert all("SIM" in s.id for s in here)
    with BadServer(delta) as server:
        source = replace(study.scenes, url=server.url + "/collection.json")
        server.fail("/items/*", 503, times=3)
        server.fail("/items/*", "stall", times=1, after=50)
        there = find_scenes(study.replace(scenes=source), progress=False)
        assert ids(there) == ids(here)
        assert there.dropped == here.dropped
        scene, same = there.items[5], here.items[5]
        with (
            rasterio.Env(**web.GDAL_HTTP),
            rasterio.open(scene.hrefs["red"]) as a,
            rasterio.open(same.hrefs["red"]) as b,
        ):
            assert np.array_equal(a.read(), b.read())
            assert (a.crs.to_epsg(), a.shape, tuple(a.transform)[:6]) == (scene.epsg, scene.shape, scene.transform)


def test_the_labels_of_the_simulated_delta_are_found_and_said_to_be_simulated(delta):
    found = find_labels(Study.load(delta / "study.toml"), 2021)
    assert found.simulated
    assert found.confidence is not None
