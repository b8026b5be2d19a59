"""Ingestion over http from a server that misbehaves: mended where it can be, one clear error where not."""

import os
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from badserver import BadServer

from arsetlib import pixels
from arsetlib.ingest import IngestError, ingest, reader, remote, tiff


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One year and the sparse area only: few requests."""
    place = tiny.make(tmp_path_factory.mktemp("tiny"))
    place.study = place.study.replace(years=(2021,), areas=(replace(place.study.areas[1], every=5),))
    return place


@pytest.fixture(scope="module")
def table(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "pixels"
    ingest(place.study, place.scenes, place.labels, out, progress=False)
    return pixels.read(out)


@pytest.fixture(params=["read ahead", "GDAL"])
def server(place, monkeypatch, request):
    """A server, and each of the two ways to read from it."""
    if request.param == "GDAL":
        monkeypatch.setattr(remote.Files, "open", lambda *_: refused())
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.02))
    monkeypatch.setattr(remote, "SILENCE", 1.0)
    quick = {"GDAL_HTTP_MAX_RETRY": "0", "GDAL_HTTP_TIMEOUT": "2", "GDAL_HTTP_LOW_SPEED_TIME": "1"}
    monkeypatch.setattr(reader, "GDAL", {**reader.GDAL, **quick})
    monkeypatch.setattr(reader, "WAITS", (0.01, 0.02))
    with BadServer(place.folder) as server:
        yield server


def refused():
    """What the reader gets of a file that only GDAL reads."""
    future = Future()
    future.set_exception(tiff.Unsupported("for this test"))
    return future


def served(place, server, query=""):
    """The scenes with links to the server."""
    items = tuple(
        replace(s, hrefs={k: f"{server.url}/{Path(v).name}{query}" for k, v in s.hrefs.items()}) for s in place.scenes
    )
    return replace(place.scenes, items=items)


def a_file(place, asset="red") -> str:
    scene = next(s for s in place.scenes if s.datetime.startswith("2021-07"))
    return Path(scene.hrefs[asset]).name


def run(place, scenes, out):
    return ingest(place.study, scenes, place.labels, out, progress=False)


def test_scenes_over_http_give_the_table_of_scenes_on_disk(place, table, server, tmp_path):
    run(place, served(place, server), tmp_path / "out")
    assert pixels.read(tmp_path / "out").equals(table)


@pytest.mark.parametrize(
    ("how", "more"), [(503, {}), (429, {"retry_after": 0}), (502, {}), ("break", {}), ("truncated", {}), ("stall", {})]
)
def test_a_passing_failure_is_tried_again_and_leaves_no_trace(place, table, server, tmp_path, how, more):
    server.fail(f"/{a_file(place)}", how, times=1, **more)
    run(place, served(place, server), tmp_path / "out")
    assert server.count(f"/{a_file(place)}") > 1
    assert pixels.read(tmp_path / "out").equals(table)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (503, "Could not read red"),
        ("truncated", "Could not read red"),
        ("garbage", "Could not read red"),
        (404, "The file is gone"),
        (403, "link may have expired"),
    ],
)
def test_a_lasting_failure_is_one_error_that_names_scene_and_band_and_mending_it_goes_on(
    place, table, server, tmp_path, how, says
):
    out = tmp_path / "out"
    server.fail(f"/{a_file(place)}", how)
    with pytest.raises(IngestError, match=says) as stop:
        run(place, served(place, server, "?sig=SECRET"), out)
    message = str(stop.value)
    assert "2021-200" in message
    assert "finished chunks are kept" in message
    assert "SECRET" not in message
    assert not out.exists()
    server.mend()
    run(place, served(place, server), out)
    assert pixels.read(out).equals(table)


def test_digits_of_an_address_are_not_taken_for_an_answer(place, table, server, tmp_path):
    """A scene of 4 April may well have 0404 in its name."""
    named = {}
    for scene in place.scenes:
        for asset, href in scene.hrefs.items():
            path = f"/404/{Path(href).name}"
            server.put(path, Path(href).read_bytes())
            named[scene.id, asset] = server.url + path
    items = tuple(replace(s, hrefs={k: named[s.id, k] for k in s.hrefs}) for s in place.scenes)
    server.fail(f"/404/{a_file(place)}", "break", times=1)
    run(place, replace(place.scenes, items=items), tmp_path / "out")
    assert pixels.read(tmp_path / "out").equals(table)


def test_no_secret_of_a_link_reaches_a_file(place, server, tmp_path):
    run(place, served(place, server, "?sig=SECRET"), tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert b"SECRET" not in file.read_bytes()


@pytest.fixture
def http(place, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.02))
    with BadServer(place.folder) as server:
        yield server


@pytest.mark.parametrize("phase", ["survey", "chunks"])
def test_ctrl_c_ends_at_once_and_the_same_call_continues(place, table, http, tmp_path, phase):
    """Two chunks wait in threads; they must not be waited for."""
    out, first = tmp_path / "out", "red" if phase == "survey" else "rededge2"  # which only the chunks read
    http.fail(f"/*-{first}.tif", "slow", seconds=8)
    pressed = []

    def press():
        while not http.count(f"/*-{first}.tif"):
            time.sleep(0.02)
        time.sleep(0.3)
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run(place, served(place, http), out)
    assert time.perf_counter() - pressed[0] < 4
    assert not (out / "_manifest.json").exists()
    http.mend()
    run(place, served(place, http), out)
    assert pixels.read(out).equals(table)


@pytest.mark.spark
def test_spark_reads_scenes_over_http_as_this_process_reads_them_on_disk(place, table, http, tmp_path, spark):
    ingest(place.study, served(place, http), place.labels, tmp_path / "out", spark=spark, progress=False)
    assert pixels.read(tmp_path / "out").equals(table)


def test_a_process_forked_after_reading_reads_the_same(place, http, tmp_path):
    """The threads of the http library are lost in it, so GDAL reads."""
    scenes = served(place, http)
    run(place, scenes, tmp_path / "here")
    pid = os.fork()
    if not pid:
        try:
            signal.alarm(60)
            run(place, scenes, tmp_path / "there")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert pixels.read(tmp_path / "there").equals(pixels.read(tmp_path / "here"))


def test_a_server_without_ranges_is_one_error_that_names_scene_and_band(place, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01,))
    monkeypatch.setattr(reader, "WAITS", (0.01,))
    monkeypatch.setattr(remote, "SILENCE", 1.0)
    with BadServer(place.folder, ranges=False) as server:
        try:
            run(place, served(place, server, "?sig=SECRET"), tmp_path / "out")
        except IngestError as error:
            message = str(error)
            assert "Could not read scl of scene" in message
            assert "SECRET" not in message
        else:
            assert pixels.read(tmp_path / "out").num_rows
