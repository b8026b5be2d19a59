"""TIFF files read without GDAL, on disk and over http: the same values as GDAL, few requests, never zeros."""

import os
import time

import numpy as np
import pytest
import rasterio
from badserver import BadServer
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.windows import Window

from arsetlib.ingest import disk, remote
from arsetlib.ingest.remote import RemoteError
from arsetlib.ingest.tiff import Unsupported

SIDE = 700


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.05, 0.1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("web")


@pytest.fixture
def server(folder):
    with BadServer(folder) as server:
        yield server


@pytest.fixture
def files():
    return remote.Files()


def write(path, values, driver="COG", **options):
    profile = {
        "height": values.shape[-2], "width": values.shape[-1], "count": 1, "dtype": values.dtype, "crs": "EPSG:32615",
        "transform": from_origin(600_000, 4_000_000, 10, 10),
    }  # fmt: skip
    more = {"compress": "DEFLATE", "blocksize": 256} if driver == "COG" else {}
    with rasterio.open(path, "w", driver=driver, **(profile | more | options)) as out:
        out.write(values, 1)
    return path


def ground(dtype="uint16", seed=1):
    return np.random.default_rng(seed).integers(0, 120, (SIDE, SIDE - 60)).cumsum(1).astype(dtype)


def whole(file):
    return Window(0, 0, file.width, file.height)


def read(files, link):
    """All values of a file."""
    return files.open(link, whole).result().values


def href(server, path):
    return f"{server.url}/{path.name}"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize(
    ("compress", "predictor"), [("DEFLATE", "NO"), ("DEFLATE", "STANDARD"), ("ZSTD", "NO"), ("ZSTD", "STANDARD"),
                                ("NONE", "NO")]
)  # fmt: skip
def test_values_are_those_of_gdal_for_each_type_and_compression(folder, server, files, dtype, compress, predictor):
    if dtype == "float32" and predictor != "NO":
        pytest.skip("differences of fractions are left to GDAL")
    path = write(folder / "a.tif", ground(dtype), compress=compress, predictor=predictor)
    with rasterio.open(path) as src:
        expected = src.read(1)
    values = read(files, href(server, path))
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, expected)
    here = disk.open_file(str(path))
    np.testing.assert_array_equal(here.read(1, whole(here)), expected)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_window_of_any_level_is_gdals(data, folder):
    path = folder / "levels.tif"
    if not path.exists():
        write(path, ground())
    level = data.draw(st.integers(0, 2))
    with rasterio.open(path, **({"overview_level": level - 1} if level else {})) as src:
        top, left = data.draw(st.integers(0, src.height - 1)), data.draw(st.integers(0, src.width - 1))
        rows, cols = data.draw(st.integers(1, src.height - top)), data.draw(st.integers(1, src.width - left))
        window = Window(left, top, cols, rows)
        expected = src.read(1, window=window)
    with BadServer(folder) as server:
        file = remote.files().open(href(server, path)).result()
        values = file.source.values(file, window, level)
    np.testing.assert_array_equal(values, expected)
    here = disk.open_file(str(path))
    np.testing.assert_array_equal(here.source.values(here, window, level), expected)


def test_the_header_says_what_rasterio_says(folder, server, files):
    path = write(folder / "h.tif", ground("int16"), nodata=-9999)
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as out:
        out.scales, out.offsets = (0.0001,), (-0.1,)
    copy(path, folder / "header.tif", driver="COG", blocksize=256, compress="ZSTD")
    file = files.open(f"{server.url}/header.tif").result()
    assert server.count() == 1
    with rasterio.open(folder / "header.tif") as src:
        for name in ("crs", "transform", "width", "height", "dtypes", "nodata", "scales", "offsets", "bounds", "count"):
            assert getattr(file, name) == getattr(src, name), name
        assert file.mask_flag_enums == src.mask_flag_enums


def test_a_file_takes_two_requests_and_each_further_window_one(folder, server, files):
    path = write(folder / "two.tif", ground())
    file = files.open(href(server, path), lambda file: Window(0, 0, 300, 300)).result()
    assert server.count("/two.tif") == 2
    file.read(1, window=Window(20, 30, 270, 250))
    assert server.count("/two.tif") == 2
    files.open(href(server, path), lambda file: Window(300, 300, 90, 90)).result()
    assert server.count("/two.tif") == 3


def test_blocks_that_the_file_leaves_out_have_no_data(folder, server, files):
    values = ground()
    values[:256, :512] = 7
    path = write(folder / "s.tif", values, driver="GTiff", tiled=True, blockxsize=256, blockysize=256, nodata=7,
                 compress="DEFLATE", SPARSE_OK="TRUE")  # fmt: skip
    np.testing.assert_array_equal(read(files, href(server, path)), values)


def masked(path, values):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, values, driver="GTiff", tiled=True, blockxsize=256, blockysize=256)
        with rasterio.open(path, "r+") as out:
            out.write_mask(values > 5)
    return path


def centred(path, values):
    write(path, values, driver="GTiff", tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(path, "r+") as out:
        out.update_tags(AREA_OR_POINT="Point")


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("strips", lambda p, v: write(p, v, driver="GTiff")),
        ("jpeg", lambda p, v: write(p, v.astype("uint8"), compress="JPEG")),
        ("lzw", lambda p, v: write(p, v, compress="LZW")),
        ("differences of fractions", lambda p, v: write(p, v.astype("float32"), predictor="YES")),
        ("a mask", masked),
        ("pixel centres", centred),
        ("no projection", lambda p, v: write(p, v, driver="GTiff", tiled=True, blockxsize=256, blockysize=256,
                                             crs=None)),
        ("jpeg 2000", lambda p, v: write(p, v, driver="JP2OpenJPEG")),
        ("text", lambda p, v: p.write_text("<html>not here</html>" * 100)),
    ],
)  # fmt: skip
def test_files_that_gdal_must_read_are_refused(folder, server, files, kind, make):
    path = folder / f"refused {kind}.tif"
    make(path, ground())
    with pytest.raises(Unsupported):
        read(files, href(server, path).replace(" ", "%20"))
    with pytest.raises(Unsupported):
        disk.open_file(str(path))


def test_links_of_other_schemes_are_refused_at_once(files):
    for link in ("s3://eodata/a.tif", "/data/a.tif", "data/a.tif", "/vsizip/a.zip/a.tif"):
        with pytest.raises(Unsupported):
            files.open(link).result()


def test_a_missing_file_is_an_error_after_one_request(server, files):
    with pytest.raises(RemoteError, match="404") as caught:
        read(files, f"{server.url}/nothing.tif")
    assert caught.value.status == 404
    assert server.count() == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_that_pass_are_tried_again(folder, server, files, status):
    path = write(folder / "again.tif", ground())
    server.fail("/again.tif", status, times=2)
    np.testing.assert_array_equal(read(files, href(server, path)), ground())


@pytest.mark.parametrize("how", [503, "break", "truncated", "garbage"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_lasting_failure_is_an_error_and_never_zeros(folder, server, files, how, after):
    path = write(folder / "lasting.tif", ground())
    server.fail("/lasting.tif", how, after=after)
    with pytest.raises((RemoteError, Unsupported)):
        read(files, href(server, path))


def test_a_failed_header_is_asked_for_again(folder, server, files):
    path = write(folder / "later.tif", ground())
    server.fail("/later.tif", 404)
    with pytest.raises(RemoteError):
        read(files, href(server, path))
    server.mend()
    np.testing.assert_array_equal(read(files, href(server, path)), ground())


def test_a_server_that_asks_for_a_pause_gets_no_request_meanwhile(folder, server, files, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.6,))
    path = write(folder / "pause.tif", ground())
    read(files, href(server, path))
    server.fail("/pause.tif", 429, times=1)
    first = files.open(href(server, path), whole)
    while server.count("/pause.tif") < 4:  # the fourth asks how long the pause is
        time.sleep(0.01)
    time.sleep(0.1)
    others = [files.open(href(server, path), whole) for _ in range(5)]
    time.sleep(0.25)
    assert server.count("/pause.tif") == 4
    assert all(o.result().values.shape == first.result().values.shape for o in others)


def test_no_error_shows_a_signature(server, files):
    for link in (f"{server.url}/nothing.tif?sig=SECRET", "http://127.0.0.1:9/a.tif?sig=SECRET"):
        with pytest.raises((RemoteError, Unsupported)) as caught:
            files.open(link).result()
        assert "SECRET" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_server_that_never_answers_is_left_to_gdal(files):
    """It may know a proxy or certificates that this reader does not."""
    for _ in range(2):
        with pytest.raises(Unsupported):
            files.open("http://127.0.0.1:9/a.tif").result()


def test_a_server_that_answered_once_and_then_is_silent_is_an_error(folder, server, files, monkeypatch):
    path = write(folder / "gone.tif", ground())
    read(files, href(server, path))
    server.fail("/gone.tif", "break")
    with pytest.raises(RemoteError):
        read(files, href(server, path))


def test_a_signature_in_the_query_reaches_the_server(folder, server, files):
    path = write(folder / "signed.tif", ground())
    files.open(href(server, path) + "?st=2026-01-01T00%3A00%3A00Z&sig=a%2Bb%3D", whole).result()
    assert {r.query for r in server.requests} == {"st=2026-01-01T00%3A00%3A00Z&sig=a%2Bb%3D"}


def test_no_more_requests_are_on_their_way_than_allowed(folder, server):
    path = write(folder / "many.tif", ground())
    files = remote.Files(in_flight=3)
    read(files, href(server, path))
    server.fail("/many.tif", "slow", seconds=0.2)
    started = time.perf_counter()
    waits = [files.open(href(server, path), lambda file: Window(0, 0, 10, 10)) for _ in range(9)]
    assert [w.result().values.shape for w in waits] == [(10, 10)] * 9
    assert time.perf_counter() - started > 3 * 0.2


def test_a_forked_process_has_files_of_its_own(folder):
    here = remote.files()
    assert remote.files() is here
    pid = os.fork()
    if not pid:
        os._exit(0 if remote.files() is not here else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_jobs_start_ahead_as_far_as_memory_allows_and_come_in_order():
    started, used, most = [], [], 0

    def start(number):
        nonlocal most
        started.append(number)
        most = max(most, len(started) - len(used))

    for number in remote.in_order(range(20), start, size=lambda n: 10, limit=35):
        used.append(number)
    assert used == started == list(range(20))
    assert most == 3  # thirty bytes of results; one more would be over the limit


def test_a_job_over_the_limit_is_started_alone():
    started = []
    for job in remote.in_order([5, 50, 5], started.append, size=lambda n: n, limit=10):
        assert started[-1] == job


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_coarse_read_takes_the_values_in_the_middle_of_each_cell(data, folder):
    path = folder / "coarse.tif"
    rows, cols = np.mgrid[:SIDE, : SIDE - 60]
    if not path.exists():
        write(path, (rows // 8 * 100 + cols // 8).astype("uint16"), overview_resampling="nearest")
    top, left = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 200))
    height, width = data.draw(st.integers(80, 400)), data.draw(st.integers(80, 400))
    step = data.draw(st.integers(1, 8))
    shape = height // step, width // step
    with BadServer(folder) as server:
        file = remote.files().open(href(server, path)).result()
        values = file.read(1, window=Window(left, top, width, height), out_shape=shape)
    row = top + (np.arange(shape[0]) + 0.5) * height / shape[0]
    col = left + (np.arange(shape[1]) + 0.5) * width / shape[1]
    assert values.shape == shape
    assert np.abs(values // 100 - row[:, None] / 8).max() <= 1.5  # an overview's pixel is up to 4 pixels wide
    assert np.abs(values % 100 - col[None, :] / 8).max() <= 1.5
