"""Label rasters from every source, and what happens when a source is bad."""

import gzip
import hashlib
import io
import json
import re
import resource
import stat
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from badserver import BadServer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import from_origin

from arsetlib import folders, web
from arsetlib.ingest import Grid
from arsetlib.labels import CDL_CORNER, find_labels, majority, services
from arsetlib.maps import sources
from arsetlib.study import Area, LabelSource, Study
from arsetlib.web import CatalogueError

LEFT, TOP = 450_015.0, 1_400_025.0  # m, EPSG:5070: a corner of the CDL's 30 m grid
HOME = Area("home", {"en": "Home"}, (LEFT + 300, TOP - 2400, LEFT + 1500, TOP - 600), "EPSG:5070")
CODES = np.random.default_rng(1).choice(np.array([1, 2, 3, 5, 26, 121], np.uint8), (100, 100))


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    quick = web.Patience(attempts=3, first=0.01, longest=1.0, connect=2.0, read=0.4)
    monkeypatch.setattr(web.answers, "PATIENCE", quick)
    monkeypatch.setitem(web.GDAL_HTTP, "GDAL_HTTP_RETRY_DELAY", "0.01")


@pytest.fixture
def server(server, monkeypatch):
    """The bad server in place of all services of labels."""
    monkeypatch.setattr(services, "NASS", server.url + "/nass")
    monkeypatch.setattr(services, "NASS_MD5", {})
    monkeypatch.setattr(services, "PLANETARY_COMPUTER", server.url + "/")
    monkeypatch.setattr(services, "CROPSCAPE", server.url + "/axis2/services/CDLService")
    return server


def geotiff(codes=CODES, left=LEFT, top=TOP, side=30.0, crs="EPSG:5070", **more):
    """The bytes of a GeoTIFF."""
    codes = codes if codes.ndim == 3 else codes[None]
    profile = {"driver": "GTiff", "height": codes.shape[1], "width": codes.shape[2], "count": len(codes)}
    profile |= {"dtype": codes.dtype, "crs": crs, "transform": from_origin(left, top, side, side), **more}
    with rasterio.MemoryFile() as file:
        with file.open(**profile) as out:
            out.write(codes)
            if len(codes) == 1 and codes.dtype == np.uint8:
                out.write_colormap(1, {1: (255, 211, 0, 255)})
        return file.read()


def zipped(*members):
    """The bytes of a zip of (name, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def study_of(areas=(HOME,), **source):
    study = Study.load("mississippi_delta")
    return study.replace(areas=areas, years=(2021,), labels=LabelSource(**source))


def read(path, area=HOME):
    """The area's codes, by a plain loop over pixel centres."""
    with rasterio.open(path) as src:
        band, t = src.read(1), src.transform
    west, south, east, north = area.bounds
    rows = [r for r in range(band.shape[0]) if south < t.f + (r + 0.5) * t.e < north]
    cols = [c for c in range(band.shape[1]) if west < t.c + (c + 0.5) * t.a < east]
    return band[np.ix_(rows, cols)]


TRUTH = CODES[20:80, 10:50]  # HOME's pixels


# -- local rasters


def test_a_local_raster_is_used_where_it_lies(tmp_path):
    (tmp_path / "mine_2021.tif").write_bytes(geotiff())
    (tmp_path / "sure_2021.tif").write_bytes(geotiff(np.full((100, 100), 90, np.uint8)))
    study = study_of(kind="raster", path="mine_{year}.tif", confidence="sure_{year}.tif").at(tmp_path)
    found = find_labels(study, 2021, tmp_path / "cache")
    assert found.path == tmp_path / "mine_2021.tif"
    assert found.confidence == tmp_path / "sure_2021.tif"
    assert not (tmp_path / "cache").exists()
    assert np.array_equal(read(found.path), TRUTH)
    assert not found.simulated
    assert find_labels(study.replace(labels=replace(study.labels, kind="simulated")), 2021).simulated


def test_the_identity_changes_with_the_labels(tmp_path):
    file = tmp_path / "mine.tif"
    file.write_bytes(geotiff())
    study = study_of(kind="raster", path=str(file))
    first = find_labels(study, 2021).identity
    assert find_labels(study, 2021).identity == first
    changed = CODES.copy()
    changed[50, 50] += 1
    file.write_bytes(geotiff(changed))
    assert find_labels(study, 2021).identity != first


def test_the_real_cdl_and_its_confidence_go_through(real):
    area = Area("kansas", {"en": "Kansas"}, (-106_095, 1_792_605, -76_095, 1_822_605), "EPSG:5070")
    names = {"path": "cdl_2021_30m_kansas.tif", "confidence": "cdl_2021_30m_kansas_confidence.tif"}
    found = find_labels(study_of((area,), kind="raster", **names).at(real), 2021)
    with rasterio.open(found.path) as src:
        assert src.read(1).max() <= 254


@pytest.mark.parametrize(
    ("move", "says"),
    [
        ((-1200, 0), r"75% of the area has no label; it extends beyond them by 0\.9 km to the west"),
        ((0, 2000), r"78% of the area has no label; it extends beyond them by 1\.4 km to the north"),
        ((1e6, 0), r"100% of the area has no label; it extends beyond them by 998\.5 km to the east"),
    ],
)
def test_a_raster_that_leaves_part_of_an_area_out_says_which_and_how_much(tmp_path, move, says):
    (tmp_path / "mine.tif").write_bytes(geotiff())
    w, s, e, n = HOME.bounds
    area = replace(HOME, bounds=(w + move[0], s + move[1], e + move[0], n + move[1]))
    with pytest.raises(CatalogueError, match=rf"mine\.tif does not cover area 'home': {says}"):
        find_labels(study_of((area,), kind="raster", path=str(tmp_path / "mine.tif")), 2021)


def test_half_a_pixel_may_stick_out_since_no_centre_is_lost(tmp_path):
    (tmp_path / "mine.tif").write_bytes(geotiff())
    for beyond, fits in ((14, True), (16, False)):
        area = replace(HOME, bounds=(LEFT - beyond, TOP - 900, LEFT + 900, TOP))
        study = study_of((area,), kind="raster", path=str(tmp_path / "mine.tif"))
        if fits:
            find_labels(study, 2021)
        else:
            with pytest.raises(CatalogueError, match="does not cover"):
                find_labels(study, 2021)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (geotiff(CODES.astype(np.float32)), "expected one band of uint8 or uint16 codes, received 1 of float32"),
        (geotiff(np.stack([CODES] * 3)), "received 3 of uint8.*colours, not codes"),
        (geotiff(crs="EPSG:4326", side=0.0003, left=-91, top=34), "does not cover area 'home'.* 1.5° to the north"),
        (geotiff(crs=None), "has no CRS that says where on Earth it lies.*gdal_edit"),
        (geotiff(transform=rasterio.Affine(30, 5, LEFT, 5, -30, TOP)), "not north-up with square pixels"),
        (geotiff(np.zeros((100, 100), np.uint8)), "no label anywhere in area 'home'"),
        (geotiff(np.full((100, 100), 40_000, np.uint16)), "the code 40000 in area 'home'; codes go up to 32767"),
        (geotiff(np.where(CODES == 1, 255, CODES)), "the code 255 on .* pixels of area 'home'.*-a_nodata 255 mine.tif"),
        (geotiff(CODES, compress="JPEG"), "saved as JPEG: its numbers are no longer"),
        (b"<html>Not found</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        (b"", "is empty"),
        (zipped(("mine.tif", geotiff())), "is a zip archive, not the raster itself. Unpack it"),
        (gzip.compress(geotiff(), mtime=0), "is a gzip archive, not the raster itself. Unpack it"),
        (geotiff()[:400], "cannot be read as a raster|failed|TIFF"),
    ],
)
def test_what_is_no_label_raster_is_refused_with_the_way_to_mend_it(tmp_path, content, says):
    (tmp_path / "mine.tif").write_bytes(content)
    with pytest.raises(CatalogueError, match=rf"mine\.tif.*({says})"):
        find_labels(study_of(kind="raster", path=str(tmp_path / "mine.tif")), 2021)


def test_a_folder_and_a_raster_of_scaled_numbers_are_no_labels(tmp_path):
    (tmp_path / "mine.tif").mkdir()
    study = study_of(kind="raster", path=str(tmp_path / "mine.tif"))
    with pytest.raises(CatalogueError, match=r"mine\.tif is a folder; expected one raster"):
        find_labels(study, 2021)
    (tmp_path / "mine.tif").rmdir()
    (tmp_path / "mine.tif").write_bytes(geotiff())
    with rasterio.open(tmp_path / "mine.tif", "r+") as src:
        src.scales, src.offsets = (2.0,), (1.0,)
    with pytest.raises(CatalogueError, match=r"mine\.tif states scale 2 and offset 1, so its numbers are no codes"):
        find_labels(study, 2021)


def test_0_is_no_class_of_a_label_raster(tmp_path):
    (tmp_path / "mine.tif").write_bytes(geotiff(np.where(CODES == 1, 0, CODES)))
    study = study_of(kind="raster", path=str(tmp_path / "mine.tif"))
    first, *others = study.legend.classes
    legend = replace(study.legend, classes=(replace(first, codes=(0,)), *others), excluded=())
    with pytest.raises(CatalogueError, match=f"class '{first.key}' has the code 0, and in a label raster"):
        find_labels(study.replace(legend=legend), 2021)


def test_0_beside_another_value_of_no_data_is_counted(tmp_path, capsys):
    codes = np.where(CODES == 1, 0, np.where(CODES == 2, 255, CODES))
    (tmp_path / "mine.tif").write_bytes(geotiff(codes, nodata=255))
    labels = find_labels(study_of(kind="raster", path=str(tmp_path / "mine.tif")), 2021, tmp_path / "cache")
    with rasterio.open(tmp_path / "mine.tif") as src:
        inside = rasterio.windows.from_bounds(*HOME.bounds, src.transform)
        expected = int((src.read(1, window=inside) == 0).sum())
    assert labels.about["zeros"] == expected > 0
    assert f"(255), on {expected:,} pixels: they have no label" in capsys.readouterr().out


def test_confidence_that_is_not_percent_is_refused(tmp_path):
    (tmp_path / "mine.tif").write_bytes(geotiff())
    (tmp_path / "sure.tif").write_bytes(geotiff(np.full((100, 100), 240, np.uint8)))
    study = study_of(kind="raster", path=str(tmp_path / "mine.tif"), confidence=str(tmp_path / "sure.tif"))
    with pytest.raises(CatalogueError, match=r"sure\.tif has the value 240.*percent, 0 to 100"):
        find_labels(study, 2021, tmp_path / "cache")


def test_missing_labels_and_a_confidence_of_another_grid_are_named(tmp_path):
    study = study_of(kind="raster", path="mine_{year}.tif", confidence="sure.tif").at(tmp_path)
    with pytest.raises(CatalogueError, match=r"no labels of 2021 at .*mine_2021\.tif"):
        find_labels(study, 2021)
    (tmp_path / "mine_2021.tif").write_bytes(geotiff())
    with pytest.raises(CatalogueError, match=r"no confidence layer at .*sure\.tif"):
        find_labels(study, 2021)
    (tmp_path / "sure.tif").write_bytes(geotiff(left=LEFT + 30))
    with pytest.raises(CatalogueError, match=r"sure\.tif must be uint8 on the grid of"):
        find_labels(study, 2021)


def test_a_confidence_asked_for_is_not_left_out_where_there_is_none(tmp_path):
    (tmp_path / "mine.tif").write_bytes(geotiff())
    study = study_of(kind="raster", path=str(tmp_path / "mine.tif")).replace(min_confidence=60)
    with pytest.raises(CatalogueError, match="confidence of at least 60, and the labels of 2021 .* have none"):
        find_labels(study, 2021)


def test_no_data_of_another_number_than_0_becomes_0(tmp_path):
    codes = np.where(CODES == 2, 255, CODES).astype(np.uint8)
    (tmp_path / "mine.tif").write_bytes(geotiff(codes, nodata=255))
    (tmp_path / "sure.tif").write_bytes(geotiff(np.minimum(CODES, 100)))
    study = study_of(kind="raster", path="mine.tif", confidence="sure.tif").at(tmp_path)
    found = find_labels(study, 2021, tmp_path / "cache")
    assert found.path.parent == tmp_path / "cache"
    assert np.array_equal(read(found.path), np.where(TRUTH == 2, 0, TRUTH))
    assert np.array_equal(read(found.confidence), np.minimum(TRUTH, 100))


def test_no_data_of_the_confidence_alone_becomes_0(tmp_path):
    (tmp_path / "mine.tif").write_bytes(geotiff())
    (tmp_path / "sure.tif").write_bytes(geotiff(np.where(CODES == 2, 255, 50).astype(np.uint8), nodata=255))
    study = study_of(kind="raster", path="mine.tif", confidence="sure.tif").at(tmp_path)
    found = find_labels(study, 2021, tmp_path / "cache")
    assert np.array_equal(read(found.path), TRUTH)
    assert np.array_equal(read(found.confidence), np.where(TRUTH == 2, 0, 50))


def test_what_a_mask_of_the_file_hides_is_no_label(tmp_path):
    (tmp_path / "mine.tif").write_bytes(geotiff(CODES))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / "mine.tif", "r+") as out:
        out.write_mask(CODES != 2)
    found = find_labels(study_of(kind="raster", path="mine.tif").at(tmp_path), 2021, tmp_path / "cache")
    assert np.array_equal(read(found.path), np.where(TRUTH == 2, 0, TRUTH))


def test_a_raster_on_the_net_is_cut_to_the_areas(tmp_path, server):
    server.put("/mine.tif", geotiff())
    study = study_of(kind="raster", path=server.url + "/mine.tif")
    found = find_labels(study, 2021, tmp_path / "cache")
    assert np.array_equal(read(found.path), TRUTH)
    with rasterio.open(found.path) as src:
        assert src.shape == TRUTH.shape
        assert src.colormap(1)[1] == (255, 211, 0, 255)
    asked = len(server.requests)
    assert find_labels(study, 2021, tmp_path / "cache") == found
    assert len(server.requests) == asked


# -- majority


@settings(max_examples=60, deadline=None)
@given(
    codes=st.tuples(st.integers(1, 7), st.integers(1, 7), st.sampled_from([2, 3])).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.uint8, (n[0] * n[2], n[1] * n[2]), elements=st.sampled_from([0, 1, 5, 26, 255])),
            st.just(n[2]),
        )
    )
)
def test_majority_is_the_most_frequent_code_and_the_lowest_of_a_tie(codes):
    fine, factor = codes
    coarse = majority(fine, factor)
    for r, c in np.ndindex(coarse.shape):
        part = fine[r * factor : (r + 1) * factor, c * factor : (c + 1) * factor].ravel().tolist()
        votes = Counter(part)
        assert coarse[r, c] == min(code for code in votes if votes[code] == max(votes.values()))


def test_majority_bounds_memory_by_working_in_strips(monkeypatch):
    fine = np.random.default_rng(1).integers(0, 4, (3 * 9, 3 * (1 << 18)), np.uint8)
    assert np.array_equal(majority(fine, 3)[:, :50], majority(np.ascontiguousarray(fine[:, :150]), 3))


# -- NASS


def test_only_the_windows_of_a_national_file_are_kept(tmp_path, server):
    national = zipped(("2021_30m_cdls/2021_30m_cdls.tif", geotiff()), ("readme.htm", b"x"))
    server.put("/nass/2021_30m_cdls.zip", national)
    found = find_labels(study_of(kind="cdl"), 2021, tmp_path / "c", progress=False)
    assert np.array_equal(read(found.path), TRUTH)
    assert found.confidence is None
    kept = {p.name for p in (tmp_path / "c").iterdir() if p.suffix != ".lock"}
    assert kept == {found.path.name, f"{found.path.name}.sha256", "2021_30m_cdls.zip.md5"}
    assert (tmp_path / "c" / "2021_30m_cdls.zip.md5").read_text().strip() == hashlib.md5(national).hexdigest()


def test_a_zip_fetched_by_hand_is_used_and_stays(tmp_path, server):
    (tmp_path / "2021_30m_cdls.zip").write_bytes(zipped(("2021_30m_cdls.tif", geotiff())))
    found = find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False)
    assert np.array_equal(read(found.path), TRUTH)
    assert (tmp_path / "2021_30m_cdls.zip").exists()
    assert not server.requests


def test_confidence_is_fetched_where_the_study_asks_for_it(tmp_path, server):
    server.put("/nass/2021_30m_cdls.zip", zipped(("2021_30m_cdls.tif", geotiff())))
    server.put("/nass/2021_30m_Confidence_Layer.zip", zipped(("c.tif", geotiff(CODES // 2))))
    found = find_labels(study_of(kind="cdl").replace(min_confidence=50), 2021, tmp_path, progress=False)
    assert np.array_equal(read(found.confidence), TRUTH // 2)


@pytest.mark.parametrize("phase", [0, 10, -10])
def test_ten_metre_labels_come_to_the_thirty_metre_grid_by_majority(tmp_path, server, phase):
    fine = np.random.default_rng(2).choice(np.array([1, 2, 3, 5], np.uint8), (320, 320))
    ten = geotiff(fine, left=LEFT - 100 + phase, top=TOP + 100 - phase, side=10.0)
    server.put("/nass/2024_10m_cdls.zip", zipped(("2024_10m_cdls.tif", ten)))
    found = find_labels(study_of(kind="cdl"), 2024, tmp_path, progress=False)
    with rasterio.open(found.path) as src:
        assert (src.transform.c - CDL_CORNER[0]) % 30 == 0
        assert src.res == (30, 30)
    got = read(found.path)
    assert got.shape == TRUTH.shape
    start = (100 - phase) // 10  # the fine pixel at LEFT, TOP
    for r, c in np.ndindex(got.shape):
        top, left = start + 3 * (r + 20), start + 3 * (c + 10)
        votes = Counter(fine[top : top + 3, left : left + 3].ravel().tolist())
        assert got[r, c] == min(code for code in votes if votes[code] == max(votes.values()))


def test_resolution_10_takes_the_native_file_on_its_own_grid(tmp_path, server):
    fine = np.random.default_rng(2).choice(np.array([1, 2, 3, 5], np.uint8), (320, 320))
    ten = geotiff(fine, left=LEFT - 100, top=TOP + 100, side=10.0)
    server.put("/nass/2024_10m_cdls.zip", zipped(("2024_10m_cdls.tif", ten)))
    study = study_of(kind="cdl", resolution=10.0).replace(years=(2024,))
    found = find_labels(study, 2024, tmp_path, progress=False)
    with rasterio.open(found.path) as src:
        assert src.res == (10, 10)
        assert ((src.transform.c + 2_356_085) % 10, src.transform.f % 10) == (0, 5)
    assert np.array_equal(read(found.path), fine[70:250, 40:160])
    grid = sources.grid_of(study, HOME)
    made = Grid.of(found)
    assert (grid.side, grid.x0, grid.y0) == (made.side, made.x0, made.y0)


def test_resolution_10_is_refused_before_2024_and_where_the_file_is_coarser(tmp_path, server):
    study = study_of(kind="cdl", resolution=10.0)
    with pytest.raises(CatalogueError, match="of 2021 has pixels of 30 m; 10 m begins with 2024"):
        find_labels(study, 2021, tmp_path, progress=False)
    server.put("/nass/2025_10m_cdls.zip", zipped(("2025_10m_cdls.tif", geotiff())))
    with pytest.raises(CatalogueError, match="has pixels of 30 m, which do not fit into the 10 m grid"):
        find_labels(study, 2025, tmp_path, progress=False)
    assert not list(tmp_path.glob("*.tif*"))


@pytest.mark.parametrize(
    ("year", "known", "says"),
    [
        (2019, True, "its checksum is the known one"),
        (2025, False, "no checksum of this file is known, so only its size and content were checked"),
        (2020, False, "no checksum of this file is known"),
        (2020, True, "first release of 2020, which lies one pixel .30 m. too far west and north in 17 western states"),
    ],
)
def test_the_labels_say_which_file_of_nass_they_are_from(tmp_path, server, monkeypatch, capsys, year, known, says):
    national = zipped((f"{year}_30m_cdls.tif", geotiff()))
    md5 = hashlib.md5(national).hexdigest()
    if known and year == 2020:
        monkeypatch.setattr(services, "FIRST_2020", md5)
    elif known:
        monkeypatch.setitem(services.NASS_MD5, year, md5)
    server.put(f"/nass/{year}_30m_cdls.zip", national)
    for _ in range(2):  # a cached rerun says it again
        found = find_labels(study_of(kind="cdl"), year, tmp_path)
        assert re.search(f"NASS's {year}_30m_cdls.zip, .* MB, md5 {md5}: .*{says}", capsys.readouterr().out)
    assert found.about["bytes"] == len(national)
    assert found.about["md5"] == md5


@pytest.mark.parametrize("how", ["break", "stall", 503])
def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server, how):
    content = np.random.default_rng(1).bytes(3_000_000)
    url = server.put("/big.zip", content)
    server.fail("/big.zip", how, times=1)
    path = web.download(url, tmp_path / "big.zip", hashlib.md5(content).hexdigest(), progress=False)
    assert path.read_bytes() == content
    asked = [r.headers.get("Range") for r in server.requests]
    assert asked[0] is None
    assert (asked[1] is None) == (how == 503)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.zip", "served"]


def test_a_rerun_goes_on_where_a_failed_download_stopped(tmp_path, server):
    content = np.random.default_rng(1).bytes(1_000_000)
    url = server.put("/big.zip", content)
    server.fail("/big.zip", "break", times=1)
    server.fail("/big.zip", 503)
    with pytest.raises(CatalogueError, match=r"/big\.zip failed 3 times, last: HTTP 503.*nothing is lost"):
        web.download(url, tmp_path / "big.zip", progress=False)
    assert not (tmp_path / "big.zip").exists()
    have = (tmp_path / "big.zip.part").stat().st_size
    assert have > 0
    server.mend()
    assert web.download(url, tmp_path / "big.zip", progress=False).read_bytes() == content
    assert server.requests[-1].headers["Range"] == f"bytes={have}-"


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path, server):
    old, new = np.random.default_rng(1).bytes(500_000), np.random.default_rng(2).bytes(600_000)
    url = server.put("/big.zip", old)
    server.fail("/big.zip", "break", times=1)
    server.fail("/big.zip", 503)
    with pytest.raises(CatalogueError):
        web.download(url, tmp_path / "big.zip", progress=False)
    server.mend()
    server.put("/big.zip", new)
    assert web.download(url, tmp_path / "big.zip", progress=False).read_bytes() == new


def test_a_server_without_ranges_sends_all_again(tmp_path):
    content = np.random.default_rng(1).bytes(500_000)
    with BadServer(ranges=False) as server:
        url = server.put("/big.zip", content)
        server.fail("/big.zip", "break", times=1)
        assert web.download(url, tmp_path / "big.zip", progress=False).read_bytes() == content


def test_a_wrong_checksum_is_named_and_the_file_deleted(tmp_path, server, monkeypatch):
    good = zipped(("2021_30m_cdls.tif", geotiff()))
    server.put("/nass/2021_30m_cdls.zip", good)
    monkeypatch.setattr(services, "NASS_MD5", {2021: hashlib.md5(good).hexdigest()})
    server.fail("/nass/*", "truncated", times=1)
    with pytest.raises(CatalogueError, match=r"cdls\.zip should have md5 .*; received .*run it again"):
        find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False)
    assert [p.name for p in tmp_path.glob("*.zip*") if p.suffix != ".lock"] == []
    assert np.array_equal(read(find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False).path), TRUTH)


def test_a_sum_recorded_at_the_first_download_is_checked_afterwards(tmp_path, server):
    server.put("/nass/2021_30m_cdls.zip", zipped(("2021_30m_cdls.tif", geotiff())))
    find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False)
    server.put("/nass/2021_30m_cdls.zip", zipped(("2021_30m_cdls.tif", geotiff(CODES[::-1].copy()))))
    wider = replace(HOME, bounds=(LEFT, TOP - 2400, LEFT + 1500, TOP))
    with pytest.raises(CatalogueError, match=r"put its md5 into 2021_30m_cdls\.zip\.md5"):
        find_labels(study_of((wider,), kind="cdl"), 2021, tmp_path, progress=False)


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


@pytest.mark.parametrize(
    "member",
    [("../evil.tif", b"x"), ("/tmp/evil.tif", b"x"), ("..\\..\\evil.tif", b"x"), ("C:\\evil.tif", b"x"),
     link("evil.tif", "/etc/passwd")],
)  # fmt: skip
def test_no_name_in_a_zip_leads_out_of_the_cache(tmp_path, server, member):
    server.put("/nass/2021_30m_cdls.zip", zipped(("2021_30m_cdls.tif", geotiff()), member))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(CatalogueError, match="a link|leads out of the folder"):
        find_labels(study_of(kind="cdl"), 2021, tmp_path / "c" / "d", progress=False)
    made = {p.name for p in set(tmp_path.rglob("*")) - before}
    assert not any("evil" in name for name in made)
    assert {n for n in made if n.endswith(".tif") or n.endswith(".part")} == set()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(("a.txt", b"x")), "should hold one GeoTIFF"),
        (zipped(("a.tif", geotiff()), ("b.tif", geotiff())), "should hold one GeoTIFF"),
        (b"<html>Down for maintenance</html>", "damaged zip"),
        (zipped(("a.tif", geotiff()))[:-200], "damaged zip"),
        (zipped(("a.tif", b"no raster")), "Reading the labels of 2021 failed"),
        (zipped(("a.tif", geotiff(left=0.0))), "does not cover area 'home'"),
    ],
)
def test_a_bad_zip_is_one_clear_error(tmp_path, server, content, says):
    server.put("/nass/2021_30m_cdls.zip", content)
    with pytest.raises(CatalogueError, match=says):
        find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False)
    assert not list(tmp_path.glob("*.tif*"))
    (tmp_path / "2021_30m_cdls.zip").unlink()
    server.put("/nass/2021_30m_cdls.zip", zipped(("a.tif", geotiff())))
    assert np.array_equal(read(find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False).path), TRUTH)


def test_a_zip_fetched_by_hand_is_checked_too(tmp_path, server, monkeypatch):
    monkeypatch.setattr(services, "NASS_MD5", {2021: "0" * 32})
    (tmp_path / "2021_30m_cdls.zip").write_bytes(zipped(("2021_30m_cdls.tif", geotiff())))
    with pytest.raises(CatalogueError, match=r"cdls\.zip should have md5 0{32}; it has .*Delete it"):
        find_labels(study_of(kind="cdl"), 2021, tmp_path, progress=False)


def test_a_year_that_nass_lacks_is_named(tmp_path, server):
    with pytest.raises(CatalogueError, match=r"nass/2031_10m_cdls\.zip answered HTTP 404"):
        find_labels(study_of(kind="cdl"), 2031, tmp_path, progress=False)


def test_too_little_room_is_said_before_the_download(tmp_path, server, monkeypatch):
    url = server.put("/big.zip", bytes(1_000_000))
    monkeypatch.setattr(web.downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(CatalogueError, match=r"big\.zip needs 0\.00 GB more.*Free some space"):
        web.download(url, tmp_path / "big.zip", progress=False)


@pytest.fixture
def small_disk():
    """Files of this process cannot grow past 150 kB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_during_a_download_loses_nothing(tmp_path, server, small_disk):
    content = np.random.default_rng(1).bytes(1_000_000)
    url = server.put("/big.zip", content)
    with pytest.raises(CatalogueError, match=r"Cannot write .*big\.zip\.part: .*Free some space"):
        web.download(url, tmp_path / "big.zip", progress=False)
    small_disk()
    assert web.download(url, tmp_path / "big.zip", progress=False).read_bytes() == content
    assert server.requests[-1].headers["Range"] == "bytes=150000-"


def test_a_disk_that_fills_up_while_labels_are_written_leaves_no_half_file(tmp_path, server, small_disk):
    big = np.random.default_rng(1).integers(1, 250, (1000, 1000), np.uint8)
    server.put("/mine.tif", geotiff(big))
    area = replace(HOME, bounds=(LEFT, TOP - 30_000, LEFT + 30_000, TOP))
    study = study_of((area,), kind="raster", path=server.url + "/mine.tif")
    with pytest.raises(CatalogueError, match=r"(Cannot write|was not written completely).*Free some space"):
        find_labels(study, 2021, tmp_path / "c", progress=False)
    assert not list((tmp_path / "c").glob("*.tif*"))
    small_disk()
    assert np.array_equal(read(find_labels(study, 2021, tmp_path / "c").path, area), big)


def test_two_runs_do_not_make_the_same_labels_at_once(tmp_path, server):
    server.put("/mine.tif", geotiff())
    study = study_of(kind="raster", path=server.url + "/mine.tif")
    path = find_labels(study, 2021, tmp_path).path
    path.unlink()
    with folders.lock(path.parent, name=f"{path.stem}.lock"), pytest.raises(CatalogueError, match="Another job is"):
        find_labels(study, 2021, tmp_path)


# -- Planetary Computer and CropScape


def planetary(server, tiles):
    """An API of CDL tiles; ``tiles`` are (id, assets)."""
    conforms = [f"https://api.stacspec.org/v1.0.0/{c}" for c in ("core", "item-search")]
    root = {"type": "Catalog", "id": "pc", "stac_version": "1.0.0", "description": "", "conformsTo": conforms}
    root["links"] = [
        {"rel": "search", "href": server.url + "/search", "method": "POST", "type": "application/geo+json"}
    ]
    server.put("/", {**root, "links": [*root["links"], {"rel": "self", "href": server.url + "/"}]})
    about = {"datetime": None, "start_datetime": "2021-01-01T00:00:00Z", "end_datetime": "2021-12-31T23:59:59Z"}
    items = [
        {"type": "Feature", "id": i, "properties": about, "assets": {k: {"href": h} for k, h in a.items()}}
        for i, a in tiles
    ]
    server.put("/search", {"type": "FeatureCollection", "features": items, "links": []})


def test_tiles_of_planetary_computer_are_put_together_with_their_confidence(tmp_path, server):
    halves = {"west": (CODES[:, :30], LEFT), "east": (CODES[:, 30:], LEFT + 900)}
    tiles = []
    for name, (codes, left) in halves.items():
        server.put(f"/{name}.tif", geotiff(codes, left=left))
        server.put(f"/{name}_c.tif", geotiff(codes // 2, left=left))
        tiles.append((name, {"cropland": f"{server.url}/{name}.tif", "confidence": f"{server.url}/{name}_c.tif"}))
    tiles.append(("other", {"cultivated": f"{server.url}/none.tif"}))
    planetary(server, tiles)
    found = find_labels(study_of(kind="planetary-computer"), 2021, tmp_path, progress=False)
    assert np.array_equal(read(found.path), TRUTH)
    assert np.array_equal(read(found.confidence), TRUTH // 2)


def test_years_that_planetary_computer_lacks_are_named(tmp_path, server):
    planetary(server, [])
    with pytest.raises(CatalogueError, match=r"has no usda-cdl of 2023 .*kind = 'cdl'"):
        find_labels(study_of(kind="planetary-computer"), 2023, tmp_path, progress=False)


@pytest.mark.parametrize("how", [403, 404, 503, "truncated", "garbage"])
def test_a_label_file_that_cannot_be_read_is_never_zeros(tmp_path, server, how):
    server.put("/a.tif", geotiff())
    planetary(server, [("a", {"cropland": server.url + "/a.tif?sig=TopSecret"})])
    server.fail("/a.tif", how)
    with pytest.raises(CatalogueError, match="Reading the labels of 2021 failed|no label raster") as error:
        find_labels(study_of(kind="planetary-computer"), 2021, tmp_path, progress=False)
    assert "TopSecret" not in str(error.value)
    assert not list(tmp_path.glob("*.tif*"))
    server.mend()
    found = find_labels(study_of(kind="planetary-computer"), 2021, tmp_path, progress=False)
    assert np.array_equal(read(found.path), TRUTH)


def cropscape(server, said=None, link="/files/cdl.tif", content=None):
    answer = f'<ns1:GetCDLFileResponse xmlns:ns1="x"><returnURL>{server.url}{link}</returnURL></ns1:GetCDLFileResponse>'
    server.put("/axis2/services/CDLService/GetCDLFile", answer if said is None else said)
    server.put(link, geotiff() if content is None else content)


def test_cropscape_gives_labels_where_it_works(tmp_path, server):
    cropscape(server)
    found = find_labels(study_of(kind="cropscape"), 2021, tmp_path, progress=False)
    assert np.array_equal(read(found.path), TRUTH)
    assert server.requests[0].query.startswith("year=2021&bbox=450270,")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"said": ""}, "gave no file for area 'home' in 2021"),
        ({"said": "<faultstring>Cannot run program 'x'</faultstring>"}, r"it answered: \"Cannot run program 'x'\""),
        ({"said": "<returnURL>https://elsewhere.org/a.tif</returnURL>"}, "sends to another place, https://elsewhere"),
        ({"said": "<returnURL>file:///etc/passwd</returnURL>"}, "sends to another place"),
        ({"content": b"<html>Sorry</html>"}, "is not a GeoTIFF"),
        ({"content": geotiff(crs="EPSG:32615")}, "expected EPSG:5070"),
        ({"content": geotiff(left=LEFT + 600)}, "does not cover area 'home'"),
    ],
)
def test_what_cropscape_says_is_looked_at_before_it_is_used(tmp_path, server, bad, says):
    cropscape(server, **bad)
    with pytest.raises(CatalogueError, match=says):
        find_labels(study_of(kind="cropscape"), 2021, tmp_path, progress=False)
    assert not list(tmp_path.glob("*.tif*"))


def test_a_hanging_cropscape_is_given_up(tmp_path, server):
    cropscape(server)
    server.fail("/axis2/*", "stall")
    with pytest.raises(CatalogueError, match=r"GetCDLFile.* failed 3 times, last: nothing more received"):
        find_labels(study_of(kind="cropscape"), 2021, tmp_path, progress=False)


# -- fields


def fields(tmp_path, shapes, column="crop", name="fields.geojson"):
    """A GeoJSON of (ring in EPSG:5070, code)."""
    from pyproj import Transformer

    change = Transformer.from_crs(5070, 4326, always_xy=True).transform
    features = [
        {"type": "Feature", "properties": {column: code},
         "geometry": {"type": "Polygon", "coordinates": [[list(change(x, y)) for x, y in ring]]}}
        for ring, code in shapes
    ]  # fmt: skip
    (tmp_path / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return study_of(kind="vector", path=name, code_column="crop", crs="EPSG:5070", resolution=30.0).at(tmp_path)


def ring(west, south, east, north):
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def test_a_pixel_takes_the_code_of_the_field_in_which_its_centre_lies(tmp_path):
    w, s, e, n = HOME.bounds
    slanted = [(w, s), (e, s), (e, n), (w, s)]
    study = fields(tmp_path, [(slanted, 7), (ring(w + 40, s + 1507, w + 203, s + 1652), 300)])
    found = find_labels(study, 2021, tmp_path / "c")
    with rasterio.open(found.path) as src:
        got, t = src.read(1), src.transform
        assert src.crs.to_epsg() == 5070
        assert (t.c % 30, t.f % 30, src.res) == (0, 0, (30, 30))
    assert got.dtype == np.uint16
    for r, c in np.ndindex(got.shape):
        x, y = t.c + 30 * (c + 0.5), t.f - 30 * (r + 0.5)
        inner = w + 40 < x < w + 203 and s + 1507 < y < s + 1652
        under = s < y < s + (x - w) * (n - s) / (e - w) and w < x < e
        edge = min(abs(y - (s + (x - w) * (n - s) / (e - w))), abs(x - e), abs(y - s)) < 0.5
        if not edge:
            assert got[r, c] == (300 if inner else 7 if under else 0)


def test_labels_are_drawn_anew_when_the_fields_change(tmp_path):
    study = fields(tmp_path, [(ring(*HOME.bounds), 7)])
    first = find_labels(study, 2021, tmp_path / "c")
    study = fields(tmp_path, [(ring(*HOME.bounds), 8)])
    second = find_labels(study, 2021, tmp_path / "c")
    assert (read(first.path) == 7).all()
    assert (read(second.path) == 8).all()


@pytest.mark.parametrize(
    ("shapes", "column", "says"),
    [
        ([(ring(*HOME.bounds), 7)], "other", "has no column 'crop'; it has other"),
        ([(ring(*HOME.bounds), "maize")], "crop", "must hold whole numbers from 1 to 32767.*row 0 has 'maize'"),
        ([(ring(*HOME.bounds), 1), (ring(*HOME.bounds), 1.5)], "crop", "row 1 has '1.5'"),
        ([(ring(*HOME.bounds), None), (ring(*HOME.bounds), 4)], "crop", "row 0 has 'nan'"),
        ([(ring(*HOME.bounds), 0)], "crop", "row 0 has '0'"),
        ([(ring(0, 0, 900, 900), 4)], "crop", "None of the 1 fields .* touches an area.*latitude 23.000 to 23.008"),
    ],
)
def test_fields_that_cannot_be_labels_are_named(tmp_path, shapes, column, says):
    with pytest.raises(CatalogueError, match=says):
        find_labels(fields(tmp_path, shapes, column), 2021, tmp_path / "c")


def test_a_vector_file_that_is_none_is_named(tmp_path):
    study = fields(tmp_path, [(ring(*HOME.bounds), 7)])
    with pytest.raises(CatalogueError, match=r"gone\.gpkg cannot be read as a vector file"):
        find_labels(study.replace(labels=replace(study.labels, path="gone.gpkg")), 2021, tmp_path / "c")
    (tmp_path / "fields.geojson").write_text("nothing")
    with pytest.raises(CatalogueError, match=r"fields\.geojson cannot be read as a vector file"):
        find_labels(study, 2021, tmp_path / "c")
