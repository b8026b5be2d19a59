"""Fetch the scripts that the built site carries along, so that a reader's browser asks nobody else for them.

    python book/vendor.py

takes a few named files out of npm packages of fixed versions, checked against the hashes below, and writes them, with
their licences, into ``book/static/vendor``. Files that are there already, from the same versions, are left alone.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import certifi

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "book" / "static" / "vendor"
REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True)
class Package:
    """An npm package, the one file the site needs of it, and under which name."""

    name: str
    version: str
    sha512: str  # of the tarball, base64, as the registry states it
    member: str
    target: str
    licence: str = "package/LICENSE"

    @property
    def url(self) -> str:
        return f"{REGISTRY}/{self.name}/-/{self.name.split('/')[-1]}-{self.version}.tgz"


PACKAGES = (
    Package(
        name="mathjax",
        version="3.2.2",
        sha512="Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        member="package/es5/tex-svg-full.js",
        target="tex-svg-full.js",
    ),
    Package(
        name="requirejs",
        version="2.3.8",
        sha512="7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        member="package/require.js",
        target="require.js",
        licence="package/README.md",
    ),
    Package(
        name="@jupyter-widgets/html-manager",
        version="1.0.15",
        sha512="5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        member="package/dist/embed-amd.js",
        target="embed-amd.js",
        licence="package/dist/embed.js.LICENSE.txt",
    ),
    # The version that plotly.py bundles, without maps and 3D: a third of the weight.
    Package(
        name="plotly.js-cartesian-dist-min",
        version="4.1.1",
        sha512="o8GrFeusncwBIxbBynRJpY4pkgVB6caM+JLpwrLYbbsO7dZ8FJ+SVN2Fr+L7kiG/Z6w4P5O0Jus/Qr5EefHVeg==",
        member="package/plotly-cartesian.min.js",
        target="plotly.min.js",
    ),
    # The search of the book: stems words and ranks sections.
    Package(
        name="lunr",
        version="2.3.9",
        sha512="zTU3DaZaF3Rt9rhN3uBMGQD3dD2/vFQqnvZCDv4dl5iOzq2IZQqTxu90r4E5J+nP70J3ilqVCrbho2eWaeW8Ow==",
        member="package/lunr.min.js",
        target="lunr.min.js",
    ),
    # The slides of the labs.
    *(
        Package(
            name="reveal.js",
            version="6.0.2",
            sha512="JYIg5D9aoxoaLeb84O+OvAwsKWdIavVgEDScxtYEXFCT6t6TQrhNtSgogcjdCpdLsWglhJn3zyE3fUOwiH5KEg==",
            member=f"package/dist/{file}",
            target=file,
        )
        for file in ("reveal.js", "reveal.css")
    ),
    # What stems Spanish for it: the core of Snowball, and its Spanish rules and stop words.
    *(
        Package(
            name="lunr-languages",
            version="1.22.0",
            sha512="zNog8491aJ5Fl4WGe+aiMcc851d7d5s31nuDjfR0qv5zoVFSBB8/nq/WLMP9Xrtx+UeLX7jDvKFEmus4V5aKZA==",
            member=f"package/{part}",
            target=part,
        )
        for part in ("lunr.stemmer.support.js", "lunr.es.js")
    ),
)
# What the tests of the built book use; it is not part of the site.
TESTING = ROOT / "_build" / "testing"
TEST_PACKAGES = (
    Package(
        name="axe-core",
        version="4.14.1",
        sha512="FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        member="package/axe.min.js",
        target="axe.min.js",
    ),
    # The Spanish dictionary of Hunspell, as rules and words.
    *(
        Package(
            name="dictionary-es",
            version="4.0.0",
            sha512="8J3IYdaHYmkojxqhB+DneQpek6N/s3MwbVk3bPNGQSTBT5kxJtmbuiT0LSDP0Al6K9Vevo1sjspG8AGP9Yvxiw==",
            member=f"package/index.{part}",
            target=f"es.{part}",
            licence="package/license",
        )
        for part in ("aff", "dic")
    ),
)


class VendorError(RuntimeError):
    """A script could not be fetched, or is not what it should be."""


def main() -> int:
    try:
        fetch_all(OUT)
        fetch_all(TESTING, TEST_PACKAGES)
    except VendorError as problem:
        print(f"book/vendor.py: {problem}", file=sys.stderr)
        return 1
    return 0


def fetch_all(out: Path, packages: tuple[Package, ...] = PACKAGES) -> None:
    """Bring a folder up to date: each package's file and licence, and a list of what they are."""
    check_plotly(packages)
    versions = out / "versions.json"
    held = json.loads(versions.read_text(encoding="utf-8")) if versions.is_file() else {}
    for package in packages:
        if held.get(package.target) == package.sha512 and (out / package.target).is_file():
            continue
        print(f"{package.target}: fetching {package.name} {package.version}")
        tarball = fetch(package)
        write(out / package.target, member(tarball, package.member))
        write(out / f"{package.target}.LICENSE.txt", member(tarball, package.licence))
        held[package.target] = package.sha512
        write(versions, json.dumps(held, indent=1, sort_keys=True).encode())


def fetch(package: Package) -> bytes:
    """The package's tarball, checked: from the registry itself, else by npm, which may know a way round."""
    reasons = []
    for way in (download, npm_pack):
        try:
            tarball = way(package)
        except (OSError, http.client.HTTPException, subprocess.SubprocessError) as problem:
            reasons.append(f"{way.__name__}: {problem}")
            continue
        found = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        if found == package.sha512:
            return tarball
        reasons.append(f"{way.__name__}: sha512 is {found}, expected {package.sha512}")
    raise VendorError(
        f"{package.name} {package.version} could not be fetched. " + "; ".join(reasons) + ". "
        f"Check that {REGISTRY} can be reached (HTTPS_PROXY and SSL_CERT_FILE are honoured) and run make book again."
    )


def download(package: Package, attempts: int = 3) -> bytes:
    """From the registry, with the proxy of the environment, trusting the system's certificates and the common ones."""
    trusted = ssl.create_default_context()
    trusted.load_verify_locations(certifi.where())  # a small machine may have none of its own
    for attempt in range(attempts):
        try:
            with urllib.request.urlopen(package.url, timeout=60, context=trusted) as answer:  # noqa: S310 - fixed https
                return answer.read()
        except (OSError, http.client.HTTPException):
            if attempt == attempts - 1:
                raise
            time.sleep(2**attempt)
    raise AssertionError("unreachable")


def npm_pack(package: Package) -> bytes:
    """By the npm client, where there is one, with whatever registry it is set up for."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("no npm on this machine")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"{package.name}@{package.version}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=180)
        return next(Path(folder).glob("*.tgz")).read_bytes()


def member(tarball: bytes, name: str) -> bytes:
    """One regular file of a tarball, by its exact name; nothing is unpacked, so no name in it can lead elsewhere."""
    with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive:
        try:
            found = archive.getmember(name)
        except KeyError:
            raise VendorError(f"The package has no file {name}; its layout has changed.") from None
        if not found.isfile():
            raise VendorError(f"{name} is not a regular file in its package.")
        return archive.extractfile(found).read()


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)


def check_plotly(packages: tuple[Package, ...]) -> None:
    """Figures are written by plotly.py for the plotly.js it bundles: ours must be the same version."""
    for package in packages:
        if package.target == "plotly.min.js" and (bundled := bundled_plotly()) != package.version:
            raise VendorError(
                f"plotly.py bundles plotly.js {bundled}, book/vendor.py fetches {package.version}. "
                f"Set its version to {bundled} there, and sha512 to what "
                f"`npm view {package.name}@{bundled} dist.integrity` prints."
            )


def bundled_plotly() -> str:
    """The version of plotly.js inside the installed plotly.py."""
    import plotly

    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    with script.open(encoding="utf-8") as text:
        return re.search(r"plotly\.js v(\d+\.\d+\.\d+)", text.read(500))[1]


if __name__ == "__main__":
    sys.exit(main())
