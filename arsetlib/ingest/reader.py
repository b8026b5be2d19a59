"""Opens files of scenes and reads values of them: the only place of the library that does.

``read_file`` opens one file and hands a ``SceneFile`` to a function. ``Reader`` reads files at fixed points; ``survey``
reads a coarse sample. Tiled TIFF files are read by ``disk``, and ahead by ``remote`` where they are on the internet;
GDAL reads all others.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.windows import Window

from arsetlib import checksums, copies, engine, filetypes, web
from arsetlib.catalogue import CatalogueError, Scene
from arsetlib.errors import ArsetError
from arsetlib.ingest import disk, reflectance, remote
from arsetlib.ingest.remote import RemoteError
from arsetlib.ingest.tiff import TiffFile, Unsupported

WAITS = (2.0, 8.0)  # s, before each further try of a read; GDAL itself has tried several times before
GDAL = {**web.GDAL_HTTP, "GDAL_CACHEMAX": 128 * 2**20, "CPL_VSIL_CURL_USE_HEAD": "NO"}
FINEST = 10  # m, the smallest pixels of a scene
FINAL = ("401", "403", "404", "410")  # answers after which another try is useless

Result = TypeVar("Result")


class SceneError(ArsetError, RuntimeError):
    """One scene cannot be used; the message names it, its file and what is wrong.

    Attributes:
        scene: Its id.
    """

    def __init__(self, scene: str, message: str):
        super().__init__(message)
        self.scene = scene


@dataclass(frozen=True)
class SceneFile:
    """An open file of a scene.

    Attributes:
        src: Opened by rasterio, ``disk`` or ``remote``.
        scene: Whose file it is.
        asset: A band, or ``scl``.
    """

    src: rasterio.DatasetReader | TiffFile
    scene: Scene
    asset: str

    @cached_property
    def encoding(self) -> reflectance.Encoding:
        """How its numbers are to be read, from the file and from what the item states."""
        stated = self.scene.stated.get(self.asset, {})
        if self.asset == "scl":
            return reflectance.classes_of(self.src, stated.get("nodata"))
        return reflectance.encoding_of(self.src, stated.get("scale"), stated.get("nodata"))

    def values(self, window: Window, at: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Values at some pixels of a window.

        Args:
            window: What is read, in one go.
            at: Positions in the window's pixels, row after row; integers of any shape.
            shape: Read the window as so many rows and columns, from overviews where the file has them.

        Returns:
            The shape of ``at``; 0 is no data. Of ``scl`` uint8 classes, of a band reflectance × 10,000 before the
            scene's offset is removed, uint16 or int32.

        Raises:
            ReflectanceError: The numbers are neither.
        """
        encoding = self.encoding
        numbers = self.src.read(1, window=window, out_shape=shape).ravel()[at]
        valid = self.src.read_masks(1, window=window, out_shape=shape).ravel()[at] > 0 if encoding.masked else None
        decode = reflectance.scene_classes if self.asset == "scl" else reflectance.to_dn
        return decode(numbers, encoding, valid)


@dataclass(frozen=True)
class Wanted:
    """Files of one scene that will be read.

    Attributes:
        scene: Whose.
        assets: Bands, or ``scl``.
        points: Which of a reader's points; None is all.
    """

    scene: Scene
    assets: Sequence[str]
    points: np.ndarray | None = None


class Reader:
    """Reads scene values at fixed points; points are projected once per CRS, not once per file.

    Args:
        x, y: (P,) the points.
        crs: Theirs.
        chunk: What they belong to, for messages.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, crs: str, chunk: str):
        self.x, self.y, self.crs, self.chunk = x, y, crs, chunk
        self._projected: dict[int, tuple] = {}
        self._cells: dict[tuple, tuple] = {}
        self._asked: dict[tuple[str, str], Future[TiffFile]] = {}

    def ahead(self, wanted: Iterable[Wanted]) -> Iterator[Wanted]:
        """Give what is wanted, in order; files on the internet of the next ones are requested meanwhile.

        Args:
            wanted: For each scene its files, and which of the points.
        """

        def request(one: Wanted) -> None:
            for asset in one.assets:
                href = one.scene.hrefs[asset]
                if is_remote(href):
                    where = partial(self._window, scene=one.scene, points=one.points)
                    self._asked[one.scene.id, asset] = remote.files().open(web.sign(href), where)

        area = float(np.ptp(self.x)) * float(np.ptp(self.y)) if self.x.size else 0.0
        yield from remote.in_order(wanted, request, lambda one: int(area / FINEST**2 * 2 * len(one.assets)))

    def values(self, scene: Scene, asset: str, points: np.ndarray | None = None) -> np.ndarray:
        """Values of one file at the points; failures of the internet are tried again.

        Args:
            scene: Whose file is read.
            asset: A band, or ``scl``.
            points: Which of the points; all by default.

        Returns:
            (P,) as ``SceneFile.values``; 0 outside the file, too.

        Raises:
            SceneError: The file cannot be read, or contains something else.
        """

        def read(file: SceneFile) -> np.ndarray:
            row, col, inside = self._cells_at(file.src, scene.epsg, points)
            if not inside.any():
                _ = file.encoding  # refuses a file that is no band
                return np.zeros(row.size, np.uint8 if asset == "scl" else np.uint16)
            r, c = row[inside], col[inside]
            window = _around(r, c)
            values = file.values(window, (r - window.row_off) * window.width + (c - window.col_off))
            if inside.all():
                return values
            filled = np.zeros(row.size, values.dtype)
            filled[inside] = values
            return filled

        asked = self._asked.pop((scene.id, asset), None)
        return read_file(scene, asset, read, f" for chunk {self.chunk}", asked)

    def _window(self, src: TiffFile, scene: Scene, points: np.ndarray | None) -> Window | None:
        """What ``values`` reads of a file; None where the points lie outside or the file is not the item's."""
        if src.crs.to_epsg() != scene.epsg:
            return None
        row, col, inside = self._cells_at(src, scene.epsg, points)
        return _around(row[inside], col[inside]) if inside.any() else None

    def _cells_at(self, src, epsg: int, points: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cells = self._cells_of(src, epsg)
        return cells if points is None else tuple(values[points] for values in cells)

    def _cells_of(self, src: rasterio.DatasetReader | TiffFile, epsg: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(P,) row and column of each point in a file's own grid, and whether it lies in the file."""
        key = (epsg, src.transform, src.width, src.height)
        if key not in self._cells:
            if epsg not in self._projected:
                self._projected[epsg] = Transformer.from_crs(self.crs, epsg, always_xy=True).transform(self.x, self.y)
            x, y = self._projected[epsg]
            t = src.transform
            if t.b or t.d:
                back = ~t
                row = np.floor(back.d * x + back.e * y + back.f).astype(np.int32)
                col = np.floor(back.a * x + back.b * y + back.c).astype(np.int32)
            else:
                row = np.floor((y - t.f) / t.e).astype(np.int32)
                col = np.floor((x - t.c) / t.a).astype(np.int32)
            inside = (row >= 0) & (row < src.height) & (col >= 0) & (col < src.width)
            self._cells[key] = row, col, inside
        return self._cells[key]


def _around(row: np.ndarray, col: np.ndarray) -> Window:
    """The smallest window with all these pixels."""
    return Window(int(col.min()), int(row.min()), int(np.ptp(col)) + 1, int(np.ptp(row)) + 1)


def read_file(
    scene: Scene,
    asset: str,
    read: Callable[[SceneFile], Result],
    context: str = "",
    asked: Future[TiffFile] | None = None,
) -> Result:
    """Open one file of a scene and return what ``read`` makes of it; failures of the internet are tried again.

    Args:
        scene: Whose file.
        asset: A band, or ``scl``.
        read: Called with the open file.
        context: What it is read for, for messages.
        asked: The same file, requested before.

    Raises:
        SceneError: It cannot be read, is in another CRS than the item says, or ``read`` refuses it.
    """
    engine.check()
    href = web.sign(scene.hrefs[asset])
    on_internet = is_remote(href)
    on_disk = not on_internet and "://" not in href and not href.startswith("/vsi")
    if on_disk and asset in scene.checksums:
        try:
            checksums.check(href, *scene.checksums[asset])
        except (checksums.ChecksumError, OSError) as error:
            raise SceneError(scene.id, _explain(scene, asset, href, error, context)) from None
    if on_internet or on_disk:
        try:
            src = engine.result(asked or remote.files().open(href)) if on_internet else disk.open_file(href)
            return _checked(scene, asset, src, read)
        except Unsupported:
            pass
        except RemoteError as error:
            raise SceneError(scene.id, _explain(scene, asset, href, error, context)) from None
    if remote.in_store(href):  # a file that `remote` does not read: GDAL would need keys of its own
        href = str(copies.fetched(href))
        on_internet = False
    try:
        options = GDAL | web.s3_options(href)
    except CatalogueError as error:
        raise SceneError(scene.id, f"Could not read {asset} of scene {scene.id}: {error}") from None
    if on_internet:  # GDAL remembers a failed answer; a further try must ask the server again
        options["CPL_VSIL_CURL_NON_CACHED"] = _gdal_name(href)
    for wait in (*WAITS, None) if on_internet else (None,):
        try:
            with web.gdal(**options), rasterio.open(href) as src:
                return _checked(scene, asset, src, read)
        except rasterio.errors.RasterioError as error:
            if wait is None or _status(error, href) in FINAL:
                raise SceneError(scene.id, _explain(scene, asset, href, error, context)) from None
            time.sleep(wait)
    raise AssertionError("unreachable")


def prepare(scene: Scene, assets: Sequence[str]) -> None:
    """Request the headers of files on the internet that will soon be read, all at once.

    Args:
        scene: Whose files.
        assets: Bands, or ``scl``.
    """
    for asset in assets:
        if is_remote(scene.hrefs[asset]):
            remote.files().open(web.sign(scene.hrefs[asset]))  # whoever reads the file gets the error, if there is one


def _checked(scene: Scene, asset: str, src, read: Callable[[SceneFile], Result]) -> Result:
    """What ``read`` makes of an open file, if it is the one that the item describes."""
    if src.crs is None or src.crs.to_epsg() != scene.epsg:
        raise SceneError(
            scene.id,
            f"{scene.id} {asset}: the item says EPSG:{scene.epsg}, the file is in {src.crs}. "
            "Leave this scene out, or report it to the owner of the catalogue.",
        )
    try:
        return read(SceneFile(src, scene, asset))
    except reflectance.ReflectanceError as error:
        where = web.public(scene.hrefs[asset])
        raise SceneError(scene.id, f"Scene {scene.id}, {asset} ({where}): {error}.") from None


def _explain(scene: Scene, asset: str, href: str, error: Exception, context: str) -> str:
    reason = web.redact(error).rstrip(".")
    hint = "The file on the disk or the server must be repaired"
    status = _status(error, href)
    if href.startswith("s3://") and status in ("401", "403"):
        hint = (
            "The bucket needs keys: set the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "(where the requester pays, as in sentinel-s2-l2a, you pay), or AWS_NO_SIGN_REQUEST=NO on a machine that "
            "has a role, or take a catalogue with http links"
        )
    elif status in ("401", "403"):
        hint = "The link may have expired: find the scenes again, which renews it"
    elif status in ("404", "410") or "No such file" in _said(error, href):
        hint = "The file is gone: find the scenes again, or leave this one out"
    elif found := filetypes.placeholder(href, "raster"):
        reason = f"the file {found.rstrip('.')}"
    return (
        f"Could not read {asset} of scene {scene.id}{context} ({web.public(href)}): {reason}. "
        f"{hint}; then run the same command: finished chunks are kept."
    )


def _said(error: Exception, href: str) -> str:
    """What an error says besides the file's name, which may hold any word and number."""
    text = f"{error} {error.__cause__}"
    for name in filter(None, (href, href.partition("://")[2], href.rpartition("/")[2])):
        text = text.replace(name, "")
    return text


def _status(error: Exception, href: str) -> str | None:
    """The HTTP status with which a server refused, if it did."""
    text = _said(error, href)
    code = re.search(r"HTTP response code: (\d{3})", text)
    if not code and re.search(r"Access ?Denied|InvalidAccessKeyId|SignatureDoesNotMatch|AWS_SECRET_ACCESS_KEY", text):
        return "403"  # in the words of s3
    if not code and re.search(r"specified (key|bucket) does not exist|NoSuchKey|NoSuchBucket", text):
        return "404"
    return code[1] if code else None


def _gdal_name(href: str) -> str:
    """The name under which GDAL caches a link."""
    scheme, _, rest = href.partition("://")
    return f"/vsicurl/{href}" if scheme in ("http", "https") else f"/vsi{scheme}/{rest}" if rest else href


def is_remote(href: str) -> bool:
    """Whether reading a link waits for the internet."""
    return web.remote(href)
