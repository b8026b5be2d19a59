"""Servers, proxies and links as the internet has them: the values of the file, or an error; never something else."""

import contextlib
import datetime
import ipaddress
import logging
import ssl
import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest
import rasterio
from badserver import BadServer
from rasterio.transform import from_origin
from rasterio.windows import Window

from arsetlib.ingest import disk, remote
from arsetlib.ingest.remote import RemoteError
from arsetlib.ingest.tiff import Unsupported

SIDE = 300
GROUND = np.random.default_rng(2).integers(0, 90, (SIDE, SIDE)).cumsum(1).astype("uint16")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.05, 0.1))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", *remote.BUNDLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def tif(tmp_path_factory):
    path = tmp_path_factory.mktemp("web") / "a.tif"
    return write(path, GROUND).read_bytes()


@pytest.fixture
def server():
    with BadServer() as server:
        yield server


@pytest.fixture
def files():
    return remote.Files()


def write(path, values, **options):
    profile = {
        "driver": "GTiff", "height": values.shape[-2], "width": values.shape[-1], "count": 1, "dtype": values.dtype,
        "crs": "EPSG:32615", "transform": from_origin(600_000, 4_000_000, 10, 10), "compress": "DEFLATE",
        "tiled": True, "blockxsize": 64, "blockysize": 64,
    }  # fmt: skip
    with rasterio.open(path, "w", **(profile | options)) as out:
        out.write(values, 1)
    return path


def read(files, link):
    return files.open(link, lambda file: Window(0, 0, file.width, file.height)).result().values


# -- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_to_another_path_and_to_another_server(server, files, tif, status):
    with BadServer() as other:
        there = other.put("/there.tif", tif)
        link = server.put("/moved.tif", lambda request: (status, ""), {"Location": there})
        np.testing.assert_array_equal(read(files, link), GROUND)
    here = server.put("/here.tif", tif)
    link = server.put("/again.tif", lambda request: (status, ""), {"Location": "/here.tif"})
    np.testing.assert_array_equal(read(files, link), GROUND)
    assert server.count("/here.tif") == 2, here


def test_redirects_in_a_circle_are_an_error(server, files):
    link = server.put("/circle.tif", lambda request: (302, ""), {"Location": "/circle.tif"})
    with pytest.raises((RemoteError, Unsupported)):
        read(files, link)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("a%20b.tif", "/a b.tif"),
        ("S2%C3%BC.tif", "/S2ü.tif"),
        ("a+b.tif", "/a+b.tif"),
        ("a%2Bb.tif", "/a+b.tif"),
        ("100%25.tif", "/100%.tif"),
        ("100%2520.tif", "/100%20.tif"),
        ("~x/(1)/a@b,c;v=1/d:e=f!$&'*.tif", "/~x/(1)/a@b,c;v=1/d:e=f!$&'*.tif"),
        ("%23a%3Fb%5B1%5D.tif", "/#a?b[1].tif"),
    ],
)
def test_each_way_to_write_a_path_reaches_the_same_file(server, files, tif, written, path):
    server.put(path, tif)
    np.testing.assert_array_equal(read(files, f"{server.url}/{written}"), GROUND)
    assert {r.path for r in server.requests} == {path}


@pytest.mark.parametrize(
    "written", ["a%2Fb.tif", "/a.tif", "a//b.tif", "x/../a.tif", "./a.tif", "a%E9.tif", "", "a%5Cb.tif"]
)
def test_a_path_that_would_be_written_in_another_way_is_left_to_gdal(server, files, written):
    with pytest.raises(Unsupported):
        read(files, f"{server.url}/{written}")
    assert server.requests == []


def test_each_file_may_have_a_signature_of_its_own(server, files, tif):
    links = [f"{server.put(f'/{n}.tif', tif)}?se=2026&sig={n}%2F%3D" for n in range(20)]
    waits = [files.open(link, lambda file: Window(0, 0, 99, 99)) for link in links]
    assert all((w.result().values == GROUND[:99, :99]).all() for w in waits)
    assert {(r.path, r.query) for r in server.requests} == {(f"/{n}.tif", f"se=2026&sig={n}%2F%3D") for n in range(20)}


def test_an_address_with_a_user_is_left_to_gdal_which_sends_it(server, files, tif):
    link = server.put("/private.tif", tif).replace("http://", "http://me:SECRET@")
    with pytest.raises(Unsupported) as caught:
        read(files, link)
    assert server.requests == []
    assert "SECRET" not in str(caught.value)


def test_no_log_shows_a_signature(server, files, tif, caplog, monkeypatch):
    monkeypatch.setattr(remote, "SILENCE", 0.5)
    caplog.set_level(logging.DEBUG)
    for how in (429, 403, 500, "break", "stall"):
        server.fail("/a.tif", how, times=1)
        with contextlib.suppress(RemoteError):
            read(files, server.put("/a.tif", tif) + "?sig=SECRET")
    assert "SECRET" not in caplog.text


# -- proxies and certificates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_the_proxy_of_the_environment_is_used(server, tif, monkeypatch, variable):
    server.put("/a.tif", tif)
    monkeypatch.setenv(variable, server.url)
    np.testing.assert_array_equal(read(remote.Files(), "http://far.invalid/a.tif"), GROUND)
    assert {r.headers["host"] for r in server.requests} == {"far.invalid"}


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_hosts_that_need_no_proxy_get_none(server, tif, monkeypatch, variable):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, "localhost,127.0.0.1")
    np.testing.assert_array_equal(read(remote.Files(), server.put("/a.tif", tif)), GROUND)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate authority of our own, and a server's certificate: file of the first, file of the second."""
    pytest.importorskip("cryptography", reason="makes the certificates")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, now = tmp_path_factory.mktemp("tls"), datetime.datetime.now(datetime.UTC)

    def named(name):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def made(name, issuer, key, signer, *extensions):
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = made("root", "root", root_key, root_key, (x509.BasicConstraints(True, None), True))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = made("server", "root", key, root_key, (names, False), (x509.BasicConstraints(False, None), True))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(own.public_bytes(pem) + private)
    return folder / "root.pem", folder / "server.pem"


@pytest.fixture
def https(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1])
    with BadServer(tls=context) as server:
        yield server


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environment_are_trusted(https, certificate, tif, monkeypatch, variable):
    monkeypatch.setenv(variable, str(certificate[0]))
    np.testing.assert_array_equal(read(remote.Files(), https.put("/a.tif", tif)), GROUND)


def test_an_unknown_certificate_is_not_trusted(https, tif):
    with pytest.raises(Unsupported):
        read(remote.Files(), https.put("/a.tif", tif))
    assert https.requests == []


# -- answers --------------------------------------------------------------------------------------------------------


def test_a_server_without_ranges_gives_the_values_or_an_error(files, tif):
    with BadServer(ranges=False) as server, pytest.raises((RemoteError, Unsupported)):
        read(files, server.put("/a.tif", tif))


@pytest.mark.parametrize("how", ["wrong range", "short range", "gzip", "empty", "page"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_wrong_answer_is_an_error_and_never_other_values(server, files, tif, how, after):
    link = server.put("/a.tif", tif)
    server.fail("/a.tif", how, after=after)
    with pytest.raises((RemoteError, Unsupported)):
        read(files, link)


@pytest.mark.parametrize("how", ["wrong range", "short range", "gzip", "empty", "page"])
def test_a_wrong_answer_that_passes_leaves_no_trace(server, files, tif, how):
    link = server.put("/a.tif", tif)
    server.fail("/a.tif", how, times=1)
    try:
        values = read(files, link)
    except (RemoteError, Unsupported):
        return
    np.testing.assert_array_equal(values, GROUND)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_how_long_it_needs_a_pause_gets_no_request_until_then(server, files, tif, status):
    links = [server.put(f"/{n}.tif", tif) for n in range(4)]
    for link in links[1:]:
        read(files, link)
    server.fail("*", status, times=2, retry_after=1)  # the second is the question for how long
    first = files.open(links[0])
    while server.count("/0.tif") < 2:
        time.sleep(0.01)
    time.sleep(0.1)
    seen = server.count()
    others = [files.open(link, lambda file: Window(0, 0, 9, 9)) for link in links[1:]]
    time.sleep(0.5)
    assert server.count() == seen
    assert not wait([first, *others]).not_done
    assert all((o.result().values == GROUND[:9, :9]).all() for o in others)


def test_a_pause_that_is_too_long_is_an_error_that_says_so(server, files, tif):
    server.fail("*", 503, retry_after=3600)
    with pytest.raises(RemoteError, match="3600 s"):
        read(files, server.put("/a.tif", tif))


@pytest.mark.parametrize("how", ["drip", "drip headers", "stall", "silence"])
def test_a_server_that_hardly_answers_ends_as_an_error_in_time(server, tif, monkeypatch, how):
    monkeypatch.setattr(remote, "SILENCE", 0.4)
    monkeypatch.setattr(remote, "TIMEOUT", 1.0)
    files = remote.Files()
    read(files, server.put("/well.tif", tif))
    server.fail("/a.tif", how)
    started = time.perf_counter()
    with pytest.raises((RemoteError, Unsupported)):
        read(files, server.put("/a.tif", tif))
    assert time.perf_counter() - started < 20
    monkeypatch.setattr(remote, "WAITS", (30.0,))  # the next files are not waited for as long
    started = time.perf_counter()
    if how in ("stall", "silence"):
        with pytest.raises(RemoteError):
            read(files, server.put("/a.tif", tif) + "?again=1")
        assert time.perf_counter() - started < 20
    np.testing.assert_array_equal(read(files, server.url + "/well.tif"), GROUND)


# -- files ----------------------------------------------------------------------------------------------------------

ODD = {
    "big tiff": {"BIGTIFF": "YES"},
    "lzma": {"compress": "LZMA"},
    "lerc": {"compress": "LERC"},
    "packbits": {"compress": "PACKBITS"},
    "12 bits": {"NBITS": 12},
    "high byte first": {"ENDIANNESS": "BIG"},
    "one strip": {"tiled": False, "blockysize": SIDE},
    "strips": {"tiled": False, "blockysize": 7},
    "wide blocks": {"blockxsize": 256, "blockysize": 16},
    "a block over the edge": {"blockxsize": 512, "blockysize": 512},
    "differences": {"predictor": 2},
    "lzw differences": {"predictor": 2, "compress": "LZW"},
    "zstd differences": {"predictor": 2, "compress": "ZSTD"},
    "no compression": {"compress": "NONE"},
    "no compression, big": {"compress": "NONE", "BIGTIFF": "YES"},
    "no data": {"nodata": 17},
    "white is zero": {"photometric": "MINISWHITE"},
    "sparse": {"SPARSE_OK": "TRUE", "nodata": 9},
    "south up": {"transform": rasterio.Affine(10, 0, 6e5, 0, 10, 4e6)},
    "turned": {"transform": rasterio.Affine(10, 1, 6e5, 1, -10, 4e6)},
    "long pixels": {"transform": rasterio.Affine(10, 0, 6e5, 0, -20, 4e6)},
    "degrees": {"crs": "EPSG:4326", "transform": from_origin(30, 40, 0.001, 0.001)},
    "own projection": {"crs": "+proj=utm +zone=15 +ellps=GRS80 +units=us-ft"},
    "polar": {"crs": "EPSG:3031"},
    "albers": {"crs": "EPSG:5070"},
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_an_odd_file_is_read_as_gdal_reads_it_or_left_to_gdal(tmp_path, server, files, kind, dtype):
    values = GROUND.astype(dtype)
    values[:80] = ODD[kind].get("nodata", 0)
    try:
        path = write(tmp_path / "odd.tif", values, **ODD[kind])
    except rasterio.errors.RasterioError as error:
        pytest.skip(f"GDAL does not write it: {error}")
    link = server.put("/odd.tif", path.read_bytes())
    window = Window(30, 50, 201, 222)
    with rasterio.open(path) as src:
        expected = src.read(1, window=window)
        for opened in (lambda: files.open(link, lambda file: window).result(), lambda: disk.open_file(str(path))):
            try:
                file = opened()
            except Unsupported:
                continue
            for name in ("crs", "transform", "width", "height", "dtypes", "nodata", "scales", "offsets", "count"):
                assert getattr(file, name) == getattr(src, name), name
            np.testing.assert_array_equal(file.read(1, window), expected)


@pytest.mark.parametrize("tag", ["-9999", "70000", "nan", "1e40", "-1e-300", "text"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_any_value_of_no_data_is_understood_as_gdal_does_or_left_to_gdal(tmp_path, server, files, tag, dtype):
    path = write(tmp_path / "n.tif", np.zeros((SIDE, SIDE), dtype), nodata=200, SPARSE_OK="TRUE")
    written = path.read_bytes()
    assert written.count(b"200\0") == 1
    server.put("/n.tif", longer(written, tag))
    path.write_bytes(longer(written, tag))
    with rasterio.open(path) as src:
        expected, nodata = src.read(1), src.nodata
    for opened in (lambda: files.open(server.url + "/n.tif").result(), lambda: disk.open_file(str(path))):
        try:
            file = opened()
            values = file.read(1, Window(0, 0, SIDE, SIDE))
        except Unsupported:
            continue
        np.testing.assert_array_equal(values, expected)
        assert file.nodata == nodata or (np.isnan(file.nodata) and np.isnan(nodata))


def longer(tif: bytes, tag: str) -> bytes:
    """The file with another value of no data (tag 42113), which stands in its entry or at its end."""
    at = tif.index((42113).to_bytes(2, "little") + (2).to_bytes(2, "little"))
    text = tag.encode() + b"\0"
    place = text.ljust(4, b"\0") if len(text) <= 4 else len(tif).to_bytes(4, "little")
    entry = tif[at : at + 4] + len(text).to_bytes(4, "little") + place
    return tif[:at] + entry + tif[at + 12 :] + (text if len(text) > 4 else b"")


@pytest.mark.parametrize("compress", ["DEFLATE", "ZSTD", "NONE"])
@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_header_is_an_error_or_the_same_values(tmp_path, server, files, compress, seed):
    """Bytes of the header are changed at random; nothing may crash, hang or take much memory."""
    path = write(tmp_path / "d.tif", GROUND, compress=compress)
    random, good = np.random.default_rng(seed), path.read_bytes()
    for turn in range(15):
        bad = bytearray(good)
        for at in random.integers(4, 400, 2):
            bad[at] = random.integers(256)
        link = server.put(f"/{turn}.tif", bytes(bad))
        (tmp_path / f"{turn}.tif").write_bytes(bytes(bad))
        here = str(tmp_path / f"{turn}.tif")
        for opened in (lambda link=link: files.open(link).result(), lambda here=here: disk.open_file(here)):
            try:
                file = opened()
                if file.width * file.height < 10**7:
                    file.read(1, Window(0, 0, min(50, file.width), min(50, file.height)))
            except (RemoteError, Unsupported):
                continue


def test_a_changed_file_on_disk_is_read_anew(tmp_path):
    path = write(tmp_path / "c.tif", GROUND)
    first = disk.open_file(str(path))
    write(path, GROUND[:128, :128] // 2, compress="ZSTD")
    second = disk.open_file(str(path))
    assert (first.width, second.width) == (SIDE, 128)
    np.testing.assert_array_equal(second.read(1, Window(0, 0, 128, 128)), GROUND[:128, :128] // 2)


def test_damaged_blocks_on_disk_are_left_to_gdal(tmp_path):
    path = write(tmp_path / "cut.tif", GROUND)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Unsupported):
        disk.open_file(str(path)).read(1, Window(0, 0, SIDE, SIDE))


def test_a_flipped_bit_in_a_block_is_an_error(tmp_path, server, files):
    """DEFLATE holds a checksum. GDAL does not compare it."""
    path = write(tmp_path / "f.tif", GROUND)
    good, start = path.read_bytes(), disk.open_file(str(path)).levels[0].offsets.min()
    random, found = np.random.default_rng(0), 0
    for turn in range(30):
        bad = bytearray(good)
        bad[random.integers(start, len(bad))] ^= 1 << int(random.integers(8))
        try:
            values = read(files, server.put(f"/{turn}.tif", bytes(bad)))
        except Unsupported:
            found += 1
        else:
            np.testing.assert_array_equal(values, GROUND)
    assert found > 25


def test_sides_that_say_more_about_a_file_on_disk_leave_it_to_gdal(tmp_path):
    path = write(tmp_path / "s.tif", GROUND)
    disk.open_file(str(path))
    (tmp_path / "s.tif.aux.xml").write_text("<PAMDataset/>")
    path.touch()
    with pytest.raises(Unsupported):
        disk.open_file(str(path))


# -- many at once ---------------------------------------------------------------------------------------------------


def test_packed_blocks_in_flight_stay_within_their_bound(server, tif, monkeypatch):
    monkeypatch.setattr(remote, "HELD", len(tif))
    files = remote.Files()
    most, held, lock = 0, 0, threading.Lock()
    plain = files._host(server.url).__class__.ask

    async def counted(self, href, request):
        nonlocal most, held
        with lock:
            held += 1
            most = max(most, held)
        try:
            return await plain(self, href, request)
        finally:
            held -= 1

    link = server.put("/a.tif", tif)
    read(files, link)
    monkeypatch.setattr(remote._Host, "ask", counted)
    server.fail("/a.tif", "slow", seconds=0.02)
    waits = [files.open(link, lambda file: Window(0, 0, SIDE, SIDE)) for _ in range(12)]
    assert all((w.result().values == GROUND).all() for w in waits)
    assert most == 1
    assert files._room.free == files._room.size


def test_a_window_over_the_bound_is_read_alone(server, tif, monkeypatch):
    monkeypatch.setattr(remote, "HELD", 1000)
    files = remote.Files()
    waits = [files.open(server.put("/a.tif", tif), lambda file: Window(0, 0, SIDE, SIDE)) for _ in range(3)]
    assert all((w.result(20).values == GROUND).all() for w in waits)


def test_a_window_that_fails_gives_its_bytes_back(server, tif):
    files = remote.Files()
    link = server.put("/a.tif", tif)
    read(files, link)
    server.fail("/a.tif", 404)
    for _ in range(3):
        with pytest.raises(RemoteError):
            read(files, link)
    assert files._room.free == files._room.size
