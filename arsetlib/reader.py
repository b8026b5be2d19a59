"""Reads scene values at points, file by file. What a file says of itself is honoured; failed reads are tried again.

A label pixel takes the value of the scene pixel in which its centre lies, in each band's own resolution.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import re
import time

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.windows import Window

from arsetlib import checksums, links, reflectance, web
from arsetlib.catalogue import CatalogueError, Scene
from arsetlib.errors import ArsetError

WAITS = (2.0, 8.0)  # s, before each further try of a read; GDAL itself has asked several times before
GDAL = {**web.GDAL_HTTP, "GDAL_CACHEMAX": 128 * 2**20, "CPL_VSIL_CURL_USE_HEAD": "NO"}
FINAL = ("401", "403", "404", "410")  # answers that asking again does not change


class SceneError(ArsetError, RuntimeError):
    """One scene cannot be used; the message names it, its file and what is wrong.

    Attributes:
        scene: Its id.
    """

    def __init__(self, scene: str, message: str):
        super().__init__(message)
        self.scene = scene


class Reader:
    """Reads scene values at fixed points; points are projected once per grid, not once per file."""

    def __init__(self, x, y, crs, chunk: str):
        self.x, self.y, self.crs, self.chunk = x, y, crs, chunk
        self.projected: dict[int, tuple] = {}
        self.cells: dict[tuple, tuple] = {}

    def cells_of(self, src, epsg: int):
        """(P,) row and column of each point in the file's own grid."""
        key = (epsg, src.transform, src.width, src.height)
        if key not in self.cells:
            if epsg not in self.projected:
                self.projected[epsg] = Transformer.from_crs(self.crs, epsg, always_xy=True).transform(self.x, self.y)
            x, y = self.projected[epsg]
            t = src.transform
            if t.b or t.d:
                back = ~t
                row = np.floor(back.d * x + back.e * y + back.f).astype(np.int32)
                col = np.floor(back.a * x + back.b * y + back.c).astype(np.int32)
            else:
                row = np.floor((y - t.f) / t.e).astype(np.int32)
                col = np.floor((x - t.c) / t.a).astype(np.int32)
            inside = (row >= 0) & (row < src.height) & (col >= 0) & (col < src.width)
            self.cells[key] = row, col, inside
        return self.cells[key]

    def values(self, scene: Scene, asset: str, points=None) -> np.ndarray:
        """Values of one asset at the points, 0 where there is no data; network failures are tried again.

        Args:
            scene: Whose file is read.
            asset: A band, or ``scl``.
            points: Which of the points; all by default.

        Returns:
            (P,) uint8 classes of ``scl``; of a band reflectance × 10,000 before the scene's offset is removed, uint16
            or int32.

        Raises:
            SceneError: The file cannot be read, or holds something else.
        """

        def read(src):
            row, col, inside = self.cells_of(src, scene.epsg)
            if points is not None:
                row, col, inside = row[points], col[points], inside[points]
            how = encoding(src, scene, asset)
            if not inside.any():
                return np.zeros(row.size, np.uint8 if asset == "scl" else np.uint16)
            r, c = row[inside], col[inside]
            top, left = int(r.min()), int(c.min())
            window = Window(left, top, int(c.max()) - left + 1, int(r.max()) - top + 1)
            data = src.read(1, window=window)
            at = (r - top) * data.shape[1] + (c - left)
            shown = src.read_masks(1, window=window).ravel()[at] > 0 if how.masked else None
            taken = decoded(data.ravel()[at], how, asset, shown)
            if inside.all():
                return taken
            found = np.zeros(row.size, taken.dtype)
            found[inside] = taken
            return found

        return with_file(scene, asset, read, f" for chunk {self.chunk}")


def with_file(scene: Scene, asset: str, read, why: str = ""):
    """What ``read(src)`` makes of an open file of a scene; a failure of the network is tried again.

    Raises:
        SceneError: It cannot be read, is in another CRS than the item says, or ``read`` refuses it.
    """
    href = web.sign(scene.hrefs[asset])
    remote = is_remote(href)
    try:
        options = GDAL | web.s3_options(href)
    except CatalogueError as error:
        raise SceneError(scene.id, f"Could not read {asset} of scene {scene.id}: {error}") from None
    if remote:  # GDAL remembers a failed answer; a further try must ask the server again
        options["CPL_VSIL_CURL_NON_CACHED"] = _vsi(href)
    if asset in scene.checksums and not remote and "://" not in href and not href.startswith("/vsi"):
        try:
            checksums.check(href, *scene.checksums[asset])
        except (checksums.ChecksumError, OSError) as error:
            raise SceneError(scene.id, _explain(scene, asset, href, error, why)) from None
    for wait in (*WAITS, None) if remote else (None,):
        try:
            with rasterio.Env(**options), rasterio.open(href) as src:
                if src.crs is None or src.crs.to_epsg() != scene.epsg:
                    raise SceneError(
                        scene.id,
                        f"{scene.id} {asset}: the item says EPSG:{scene.epsg}, the file is in {src.crs}. "
                        "Leave this scene out, or report it to the catalogue's owner.",
                    )
                return read(src)
        except reflectance.ReflectanceError as error:
            raise SceneError(scene.id, f"Scene {scene.id}, {asset} ({web.public(href)}): {error}.") from None
        except rasterio.errors.RasterioError as error:
            if wait is None or _answered(error) in FINAL:
                raise SceneError(scene.id, _explain(scene, asset, href, error, why)) from None
            time.sleep(wait)
    raise AssertionError("unreachable")


def encoding(src, scene: Scene, asset: str) -> reflectance.Encoding:
    """How the numbers of a file are to be read, from the file and from what the item states of it."""
    stated = scene.stated.get(asset, {})
    if asset == "scl":
        return reflectance.classes_of(src, stated.get("nodata"))
    return reflectance.encoding_of(src, stated.get("scale"), stated.get("nodata"))


def decoded(values: np.ndarray, how: reflectance.Encoding, asset: str, shown=None) -> np.ndarray:
    """Numbers of a file as scene classes, or as reflectance × 10,000 with the offset; 0 is no data."""
    if asset == "scl":
        return reflectance.scene_classes(values, how, shown)
    return reflectance.to_dn(values, how, shown)


def _explain(scene: Scene, asset: str, href: str, error: Exception, why: str) -> str:
    reason = web.redact(error)
    hint = "The disk or the server must mend this file"
    if href.startswith("s3://") and _answered(error) in ("401", "403"):
        hint = (
            "The bucket wants keys: set the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "(where the requester pays, as in sentinel-s2-l2a, you pay), or take a catalogue with http links"
        )
    elif _answered(error) in ("401", "403"):
        hint = "The link may have expired: find the scenes again, which renews it"
    elif _answered(error) in ("404", "410") or "No such file" in reason:
        hint = "The file is gone: find the scenes again, or leave this one out"
    return (
        f"Could not read {asset} of scene {scene.id}{why} ({web.public(href)}): {reason}. "
        f"{hint}; then run the same command: finished chunks are kept."
    )


def _answered(error: Exception) -> str | None:
    """The status with which a server refused, if it did; never digits of the address."""
    said = f"{error} {error.__cause__}"
    found = re.search(r"HTTP response code: (\d{3})", said)
    if not found and re.search(r"Access ?Denied|InvalidAccessKeyId|SignatureDoesNotMatch|AWS_SECRET_ACCESS_KEY", said):
        return "403"  # as s3 says it
    return found[1] if found else None


def _vsi(href: str) -> str:
    """The name under which GDAL keeps what it has read of a link."""
    scheme, _, rest = href.partition("://")
    return f"/vsicurl/{href}" if scheme in ("http", "https") else f"/vsi{scheme}/{rest}" if rest else href


def is_remote(href: str) -> bool:
    """Whether reading means to wait for the network."""
    return links.remote(href)
