"""Services that answer too much, too slowly, without end: each ends as one clear error, in bounded memory and time."""

import gzip
import json
import re
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from test_catalogue import SECRET, item, many, study_of
from test_items import api

from arsetlib import ingest, web
from arsetlib.catalogue import CatalogueError, find_scenes, selection, sources
from arsetlib.catalogue.item import Item
from arsetlib.ingest import reader
from arsetlib.study import SceneSource


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    quick = web.Patience(attempts=2, first=0.01, longest=1.0, connect=5.0, read=5.0)
    monkeypatch.setattr(web.answers, "PATIENCE", quick)


def shorten(monkeypatch, **seconds):
    monkeypatch.setattr(web.answers, "PATIENCE", replace(web.answers.PATIENCE, **seconds))


def bomb(megabytes: int, layers: int = 1) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


@pytest.mark.parametrize(
    ("content", "packed", "says"),
    [
        (bomb(40), "gzip", "answers with more than 1 MB"),
        (bomb(40, 2), "gzip, gzip", "packs its answer as 'gzip, gzip'"),
        (b"x", "br", "packs its answer as 'br'"),
        (b" " * (2 << 20), "", "answers with more than 1 MB"),
    ],
)
def test_an_answer_has_an_upper_bound_also_unpacked(server, monkeypatch, content, packed, says):
    monkeypatch.setattr(web.answers, "LARGEST", 1 << 20)
    server.put("/items.json", content, headers={"Content-Encoding": packed} if packed else {})
    with pytest.raises(CatalogueError, match=says):
        find_scenes(study_of(server.url + "/items.json"), progress=False)


def test_redirects_are_followed_and_their_bodies_left_alone(server, monkeypatch):
    monkeypatch.setattr(web.answers, "LARGEST", 1 << 20)
    there = {"type": "FeatureCollection", "features": many(3)}
    server.put("/new.json", there)
    large = bomb(40)
    for code in (301, 302, 307, 308):
        packed = {"Location": "new.json", "Content-Encoding": "gzip"}
        server.put("/items.json", lambda request, code=code: (code, large), headers=packed)
        assert len(find_scenes(study_of(server.url + "/items.json"), progress=False)) == 3
    server.put("/items.json", lambda request: (302, b""), headers={"Location": "items.json"})
    with pytest.raises(CatalogueError, match="more than 10 redirects"):
        find_scenes(study_of(server.url + "/items.json"), progress=False)
    server.put("/items.json", lambda request: (302, b""), headers={"Location": "file:///etc/passwd"})
    with pytest.raises(CatalogueError, match="cannot be asked"):
        find_scenes(study_of(server.url + "/items.json"), progress=False)


def test_a_packed_answer_is_read(server):
    there = json.dumps({"type": "FeatureCollection", "features": many(3)}).encode()
    server.put("/items.json", gzip.compress(there), headers={"Content-Encoding": "gzip"})
    assert len(find_scenes(study_of(server.url + "/items.json"), progress=False)) == 3


@pytest.mark.parametrize("how", ["drip", "drip headers"])
@pytest.mark.parametrize("path", ["/items.json", "/search"])
def test_an_answer_that_drips_for_ever_is_left(server, monkeypatch, how, path):
    shorten(monkeypatch, whole=1.0)
    api(server)
    server.put("/items.json", {"type": "FeatureCollection", "features": many(3)})
    server.fail(path, how)
    began = time.monotonic()
    url = server.url + ("/items.json" if path == "/items.json" else "")
    with pytest.raises(CatalogueError, match=rf"{path} did not finish its answer within 1 s"):
        find_scenes(study_of(url), progress=False)
    assert time.monotonic() - began < 20


def test_pages_without_end_are_left(server, monkeypatch):
    monkeypatch.setattr(web.stac, "MOST_PAGES", 20)
    api(server)

    def page(request, number=None):
        number = int(request.json().get("next", 0))
        body = {**request.json(), "next": str(number + 1)}
        link = {"rel": "next", "href": server.url + "/search", "method": "POST", "body": body}
        return {"type": "FeatureCollection", "features": [item(f"item {number}")], "links": [link]}

    server.put("/search", page)
    with pytest.raises(CatalogueError, match="gives pages without end: after 21 pages and 21 items"):
        find_scenes(study_of(server.url), progress=False)
    server.put("/search", lambda request: {**page(request), "features": [item()]})
    with pytest.raises(CatalogueError, match="gives pages without end: after 4 pages and 1 items"):
        find_scenes(study_of(server.url), progress=False)


def test_a_static_catalogue_without_end_is_left_and_one_in_a_circle_is_read(server, monkeypatch):
    def deeper(request):
        n = int(request.query or 0)
        return {"type": "Catalog", "id": "c", "links": [{"rel": "child", "href": f"catalog.json?{n + 1}"}]}

    server.put("/catalog.json", deeper)
    with pytest.raises(CatalogueError, match=r"has links without end: 34 documents"):
        find_scenes(study_of(server.url + "/catalog.json"), progress=False)
    monkeypatch.setattr(sources, "MOST_PAGES", 20)

    def further(request):
        n = int(request.query or 0)
        link = {"rel": "next", "href": f"items.json?{n + 1}"}
        return {"type": "FeatureCollection", "features": [item(f"item {n}")], "links": [link]}

    server.put("/items.json", further)
    with pytest.raises(CatalogueError, match=r"has links without end: 22 documents"):
        find_scenes(study_of(server.url + "/items.json"), progress=False)
    circle = [{"rel": "child", "href": "./other.json"}, {"rel": "child", "href": "circle.json"}]
    server.put("/circle.json", {"type": "Catalog", "id": "c", "links": circle})
    server.put("/other.json", {"type": "Catalog", "id": "o", "links": [*circle, {"rel": "item", "href": "one.json"}]})
    server.put("/one.json", item())
    assert len(find_scenes(study_of(server.url + "/circle.json"), progress=False)) == 1
    monkeypatch.setattr(sources, "MOST_DOCUMENTS", 10)
    wide = [{"rel": "item", "href": f"{n}.json"} for n in range(20)]
    server.put("/wide.json", {"type": "Catalog", "id": "w", "links": wide})
    with pytest.raises(CatalogueError, match="has links without end: 21 documents"):
        find_scenes(study_of(server.url + "/wide.json"), progress=False)


@pytest.mark.parametrize(
    "answer",
    [{}, {"token": ""}, {"token": 5, "msft:expiry": "2999-01-01T00:00:00Z"}, {"token": f"sig={SECRET}"},
     {"token": f"sig={SECRET}", "msft:expiry": "soon"}, {"token": "a b\nc", "msft:expiry": "2999-01-01T00:00:00Z"}],
    ids=str,
)  # fmt: skip
def test_a_token_that_is_none_is_one_clear_error(server, monkeypatch, answer):
    monkeypatch.setattr(web.storage, "BLOB_HOST", "127.0.0.1")
    monkeypatch.setattr(web.storage, "SAS_URL", server.url + "/sas")
    monkeypatch.setattr(web.storage, "_tokens", {})
    server.put("/sas/127/store", answer)
    with pytest.raises(CatalogueError, match="should answer with a token and the time at which it ends") as error:
        web.sign(f"{server.url}/store/red.tif")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("value", ["²", "-5", "soon", "nan", "9" * 50, "Wed, 99 Foo 2021"])
def test_an_odd_wish_to_wait_is_ignored(server, value):
    server.put("/items.json", {"type": "FeatureCollection", "features": many(1)})
    server.fail("/items.json", 503, times=1, retry_after=value.encode().decode("latin-1"))
    assert len(find_scenes(study_of(server.url + "/items.json"), progress=False)) == 1


# -- downloads


def test_a_download_that_drips_is_tried_again_and_then_left(server, tmp_path, monkeypatch):
    shorten(monkeypatch, connect=0.5, read=0.5)
    content = bytes(range(256)) * 1000
    server.put("/big.zip", content)
    server.fail("/big.zip", "drip", times=1)
    assert web.download(server.url + "/big.zip", tmp_path / "big.zip", progress=False).read_bytes() == content
    server.fail("/big.zip", "drip")
    with pytest.raises(CatalogueError, match="failed 2 times, last: less than 1000 bytes a second"):
        web.download(server.url + "/big.zip", tmp_path / "other.zip", progress=False)


def test_a_download_takes_no_other_piece_than_the_one_asked_for(server, tmp_path, monkeypatch):
    content = bytes(range(256)) * 1000
    server.put("/big.zip", content)
    server.fail("/big.zip", "break", times=1)
    wrong = {"Content-Range": "bytes 5-9/256000"}

    def second(request):
        return (206, content[5:10]) if "Range" in request.headers and server.count() == 2 else content

    server.put("/big.zip", second, headers=wrong)
    shorten(monkeypatch, attempts=4)
    assert web.download(server.url + "/big.zip", tmp_path / "big.zip", progress=False).read_bytes() == content


def test_a_download_has_a_sensible_size(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web.downloads, "LARGEST_FILE", 1000)
    server.put("/big.zip", bytes(2000))
    with pytest.raises(CatalogueError, match=r"big\.zip would have 0 GB"):
        web.download(server.url + "/big.zip", tmp_path / "big.zip", progress=False)


# -- s3, from a server that speaks it


@pytest.fixture
def bucket(server, monkeypatch):
    """A public bucket with one file."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_NO_SIGN_REQUEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    (server.folder / "bucket").mkdir()
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint16", "crs": "EPSG:32615"}
    with rasterio.open(
        server.folder / "bucket" / "red.tif", "w", transform=from_origin(700_000, 3_700_000, 10, 10), **profile
    ) as out:
        out.write(np.arange(16, dtype=np.uint16).reshape(1, 4, 4))
    for key, value in {
        "AWS_S3_ENDPOINT": server.url.removeprefix("http://"), "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(reader, "WAITS", (0.01, 0.02))
    monkeypatch.setattr(reader, "GDAL", {**reader.GDAL, "GDAL_HTTP_MAX_RETRY": "0"})
    return server


def read(href="s3://bucket/red.tif"):
    links = {b: {"href": href} for b in ("blue", "red", "scl")}
    scene = selection.scene_of(Item(item(links=links), "/x/items.json"), 0, ("red",))
    at = ingest.Reader(np.array([700_015.0]), np.array([3_699_985.0]), "EPSG:32615", "home-2021-0-0")
    return at.values(scene, "red").tolist()


def test_a_file_in_s3_is_read_and_a_passing_failure_tried_again(bucket):
    assert read() == [5]
    assert "Authorization" not in bucket.requests[-1].headers
    bucket.fail("/bucket/red.tif", 503, times=1)
    assert read() == [5]


def test_with_keys_the_requester_pays(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert read() == [5]
    headers = {k.lower(): v for k, v in bucket.requests[-1].headers.items()}
    assert headers["x-amz-request-payer"] == "requester"
    assert "me/" in headers["authorization"]


@pytest.mark.parametrize("said", [None, "NO", "false", "YES", "on", "perhaps"])
def test_a_machine_with_a_role_alone_may_sign_and_then_pays(bucket, monkeypatch, said):
    if said:
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", said)
    signs = said in ("NO", "false")
    options = web.storage.s3_options("s3://sentinel-s2-l2a/x.jp2")
    assert (options["AWS_NO_SIGN_REQUEST"] == "NO") == ("AWS_REQUEST_PAYER" in options) == signs


def test_keys_are_those_of_the_moment_and_no_read_makes_a_session_of_boto3(bucket, monkeypatch, tmp_path):
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setattr(boto3, "Session", lambda **_: pytest.fail("a session of boto3"))

    def signed_by():
        assert read() == [5]
        return re.search(r"Credential=(\w+)/", bucket.requests[-1].headers["Authorization"])[1]

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for name in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        assert signed_by() == name
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = third\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert signed_by() == "third"


def test_a_bucket_that_refuses_says_which_keys_it_wants(bucket):
    denied = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    for path in ("/bucket/red.tif", "/bucket", "/bucket/"):  # GDAL also asks what the bucket holds
        bucket.put(path, lambda request: (403, denied))
    with pytest.raises(ingest.SceneError, match=r"s3://bucket/red\.tif.*AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        read()


def test_an_s3_link_in_an_api_is_kept_and_noted(server, capsys):
    api(server)
    links = {b: {"href": f"s3://sentinel-s2-l2a/{b}.jp2"} for b in ("blue", "red", "scl")}
    server.put("/search", {"type": "FeatureCollection", "features": [item(links=links)], "links": []})
    scenes = find_scenes(study_of(server.url, scenes=SceneSource(url=server.url, collection="s2")))
    assert scenes.items[0].hrefs["red"] == "s3://sentinel-s2-l2a/red.jp2"
    assert "sentinel-s2-l2a. Reading may need keys" in capsys.readouterr().out
