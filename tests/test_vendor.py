"""Promises of book/vendor.py: what the site carries along is exactly what was asked for."""

import base64
import dataclasses
import hashlib
import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "book" / "vendor.py"


@pytest.fixture(scope="module")
def vendor():
    spec = importlib.util.spec_from_file_location("vendor", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["vendor"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["vendor"]


def tarball(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return out.getvalue()


CONTENT = tarball({"package/a.js": b"alert()", "package/LICENSE": b"free", "../evil": b"x", "package/b.js": b"no"})


@pytest.fixture
def package(vendor):
    digest = base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()
    return vendor.Package("a", "1.0.0", digest, member="package/a.js", target="a.js")


def refuse(*_):
    raise OSError("no way")


def test_only_the_named_file_and_its_licence_are_written(vendor, package, monkeypatch, tmp_path):
    monkeypatch.setattr(vendor, "download", lambda p: CONTENT)
    vendor.fetch_all(tmp_path / "out", (package,))
    assert {p.name for p in tmp_path.rglob("*")} == {"out", "a.js", "a.js.LICENSE.txt", "versions.json"}
    assert (tmp_path / "out" / "a.js").read_bytes() == b"alert()"


def test_a_second_run_fetches_nothing_and_a_new_version_is_fetched(vendor, package, monkeypatch, tmp_path):
    monkeypatch.setattr(vendor, "download", lambda p: CONTENT)
    vendor.fetch_all(tmp_path, (package,))
    monkeypatch.setattr(vendor, "download", refuse)
    monkeypatch.setattr(vendor, "npm_pack", refuse)
    vendor.fetch_all(tmp_path, (package,))
    with pytest.raises(vendor.VendorError):
        vendor.fetch_all(tmp_path, (dataclasses.replace(package, sha512="other"),))


def test_npm_is_asked_when_the_registry_cannot_be_reached(vendor, package, monkeypatch):
    monkeypatch.setattr(vendor, "download", refuse)
    monkeypatch.setattr(vendor, "npm_pack", lambda p: CONTENT)
    assert vendor.fetch(package) == CONTENT


def test_content_with_another_hash_is_refused(vendor, package, monkeypatch):
    monkeypatch.setattr(vendor, "download", lambda p: CONTENT + b"more")
    monkeypatch.setattr(vendor, "npm_pack", refuse)
    with pytest.raises(vendor.VendorError, match="sha512 is .*, expected"):
        vendor.fetch(package)


def test_a_link_in_a_package_is_not_followed(vendor):
    with pytest.raises(vendor.VendorError, match="not a regular file"):
        vendor.member(tarball({}, links={"package/a.js": "/etc/passwd"}), "package/a.js")


def test_the_plotly_script_is_the_version_that_plotly_writes_for(vendor):
    vendor.check_plotly(vendor.PACKAGES)
    with pytest.raises(vendor.VendorError, match="plotly.py bundles"):
        vendor.check_plotly(tuple(dataclasses.replace(package, version="0.0.1") for package in vendor.PACKAGES))
