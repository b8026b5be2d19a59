"""The offset of a doubtful scene is compared with another processing of the same image, where that can be had."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from test_catalogue import Api, item
from test_offset import BANDS, CHOICES, SAND, SOIL, samples, scenes, wrong

from arsetlib import web
from arsetlib.catalogue import find_scenes
from arsetlib.catalogue.processings import other_processings
from arsetlib.ingest.offset import decide, doubtful
from arsetlib.ingest.survey import survey
from arsetlib.study import Area, SceneSource, Study

HERE = (700_000, 3_700_000, 700_640, 3_700_640)
OLD, NEW = "S2A_15SYT_20220703_0_L2A", "S2A_T15SYT_20220703T165849_L2A"
COLOURS = {"blue": 1900, "red": 3500, "nir": 4300, "swir22": 5000}  # bright sand: no value is dark


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    quick = web.Patience(attempts=2, first=0.01, longest=1.0, connect=2.0, read=2.0)
    monkeypatch.setattr(web.answers, "PATIENCE", quick)


def served(server, name, collection, in_values, flag, processing=1.0):
    """An item with its files on the server, of bright sand whose values have the offset or not."""
    rng = np.random.default_rng(3)
    links = {}
    for number, (band, value) in enumerate({**COLOURS, "scl": 5}.items()):
        data = np.full((64, 64), value) if band == "scl" else value * rng.normal(1, 0.1, (64, 64)) * processing
        data = data + 1000 * (in_values and band != "scl")
        path = server.folder / f"{name}-{band}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8" if band == "scl" else "uint16",
            crs="EPSG:32615", transform=from_origin(HERE[0], HERE[3], 10, 10), nodata=0,
        ) as out:  # fmt: skip
            out.write(data.astype(out.dtypes[0]), 1)
        links[band] = {"href": f"{server.url}/{path.name}", "title": str(number)}
    facts = {"earthsearch:boa_offset_applied": flag, "s2:processing_baseline": "04.00" if collection else "05.00"}
    raw = item(name, "2022-07-03T16:58:49Z", links=links, **facts)
    return raw | {"collection": collection}


class Collections(Api):
    """An API of several collections."""

    def search(self, request):
        everything, asked = self.items, request.json()["collections"]
        self.items = [i for i in everything if i["collection"] in asked]
        try:
            return super().search(request)
        finally:
            self.items = everything


def study_of(url):
    area = Area("home", {"en": "Home"}, HERE, "EPSG:32615")
    source = SceneSource(url=url, collection="sentinel-2-l2a", min_valid=0.0)
    return Study.load("mississippi_delta").replace(
        areas=(area,), years=(2022,), bands=tuple(COLOURS), scenes=source, labels=replace(Study.load("sample").labels)
    )


@pytest.mark.parametrize(
    ("in_values", "flag", "decided"), [(True, True, -1000), (False, False, 0), (True, False, -1000), (False, True, 0)]
)
def test_a_flag_over_bright_sand_is_corrected_by_the_other_collection(server, in_values, flag, decided):
    old = served(server, OLD, "sentinel-2-l2a", in_values, flag)
    new = served(server, NEW, "sentinel-2-c1-l2a", True, False, 1.01)
    study = study_of(server.url)
    Collections(server, [old])
    found = find_scenes(study, progress=False)
    alone = survey(found.items, study)
    stated = 0 if flag else -1000
    assert alone.bad == {}
    assert alone.decisions[OLD]["answer"] == "cannot tell"
    assert alone.decisions[OLD]["decided"] == stated
    assert "compared_with" not in alone.decisions[OLD]
    Collections(server, [old, new])
    both = survey(found.items, study).decisions
    assert list(both) == [OLD]
    assert both[OLD]["decided"] == decided
    assert both[OLD]["answer"] == ("confirmed" if decided == stated else "corrected")
    assert both[OLD]["compared_with"] == NEW
    assert f"against {NEW}, another processing of this image" in both[OLD]["evidence"]


@pytest.mark.parametrize("how", [503, 404, "garbage", "no such files"])
def test_where_the_other_collection_cannot_be_had_nothing_is_an_error(server, how):
    old = served(server, OLD, "sentinel-2-l2a", False, False)
    new = served(server, NEW, "sentinel-2-c1-l2a", True, False)
    study = study_of(server.url)
    Collections(server, [old, new])
    found = find_scenes(study, progress=False)
    if how == "no such files":
        server.fail(f"/{NEW}-*.tif", 404)
    else:
        server.fail("/search", how)
    before = server.count("/search")
    result = survey(found.items, study)
    assert (result.bad, result.decisions[OLD]["answer"]) == ({}, "cannot tell")
    assert server.count("/search") == before + 1  # asked once, not again


def test_scenes_of_lists_on_disk_and_of_other_collections_are_not_looked_for(server, tmp_path):
    Collections(server, [served(server, OLD, "sentinel-2-l2a", False, False)])
    study = study_of(server.url)
    found = find_scenes(study, progress=False)
    for source in (
        replace(study.scenes, url=str(tmp_path / "items.json")),
        replace(study.scenes, collection="sentinel-2-c1-l2a"),
    ):
        other = study.replace(scenes=source)
        assert other_processings(found.items, other, study.areas, study.bands) == {}


@pytest.mark.parametrize("bands", CHOICES, ids=len)
@pytest.mark.parametrize("ground", [SOIL, SAND], ids=["soil", "sand"])
@pytest.mark.parametrize("truth", [0, 1])
def test_other_processings_decide_where_all_flags_are_wrong(ground, truth, bands):
    """No value of sand is dark, and all scenes are alike: nothing else would show it."""
    for stated in (0, 1):
        made = samples(scenes(ground, 6), [truth] * 6, [stated] * 6, 5, bands)
        others = [
            replace(
                one, id=f"other {one.id}", dn=np.rint((one.dn - 1000 * truth) * 1.02 + 1030).astype(int),
                stated=-1000, wrong=0.001, processing_of=one.id,
            )
            for one in made
        ]  # fmt: skip
        assert wrong(decide([*made, *others], bands)[:6], [truth] * 6) == []


def test_only_clear_scenes_that_are_not_confirmed_are_doubtful():
    sand = samples(scenes(SAND, 3), [0] * 3, [0] * 3, 5)
    cloudy = replace(sand[1], scl=np.full(len(sand[1].scl), 9))
    made = [sand[0], cloudy, sand[2]]
    assert doubtful(made, decide(made, BANDS)) == [0, 2]
