"""Outlines from images, where no file has them.

Neighbouring pixels with like composites become one segment. A segment is no parcel of a farmer: two fields of one crop
with one calendar are one segment, and a field with two soils may be two. `score_outlines` says how well segments agree
with known outlines; ``benchmarks/parcels.py`` has measured it on the simulated delta.

Sources: watershed, F. Meyer, Topographic distance and watershed lines, Signal Processing 38, 1994; felzenszwalb,
P. Felzenszwalb & D. Huttenlocher, Efficient graph-based image segmentation, IJCV 59(2), 2004; slic, R. Achanta et al.,
SLIC superpixels, PAMI 34(11), 2012; all as scikit-image has them.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import shapely
from pyproj import CRS
from rasterio.features import shapes as polygons_of
from rasterio.windows import Window
from tqdm.auto import tqdm

from arsetlib import copies, folders, web
from arsetlib.maps import cogs
from arsetlib.parcels.outlines import ParcelError, Parcels

# Method → its level by default: the best on two simulated deltas at 10 m. On five others watershed agreed best with the
# true fields (benchmarks/parcels.py).
LEVELS = {"watershed": 0.15, "felzenszwalb": 4800.0, "slic": 900.0}
METHODS = tuple(LEVELS)
COMPONENTS = 6  # principal components of the composites that methods look at
TILE = 1024  # pixels a side, segmented at once
THINNED = 512  # pixels a side of the sample that gives the components


def segment(
    composite: str | Path,
    *,
    method: str = "watershed",
    level: float | None = None,
    smallest: int = 10,
    progress: bool = True,
) -> Parcels:
    """Cut an area into segments of like pixels.

    Args:
        composite: File of `composite`, or any raster whose bands show the season. Pixels without data are those that
            the raster says hold none, those with 0 in all bands, and those with a value that is no number.
        method: ``"watershed"``, ``"felzenszwalb"`` or ``"slic"``.
        level: Larger makes larger segments: the depth of a watershed's basins, felzenszwalb's scale, or the pixels of a
            segment of slic. A default each.
        smallest: Segments of fewer pixels are merged with a neighbour.
        progress: Show a bar.

    Returns:
        Parcels with numbers as ids. Pixels without an image are in none. A map larger than 1,024 pixels a side is cut
        tile by tile, and a segment ends where its tile ends.

    Raises:
        ParcelError: An unknown method, a level that is not above 0, no pixel with data, or a raster without a CRS.
        MissingPackage: scikit-image is not installed.

    Lab: part4_defend_the_map.
    """
    path = folders.place(composite)
    with web.gdal(**cogs.GDAL), rasterio.open(copies.fetched(path)) as source:
        if source.crs is None:
            raise ParcelError(f"{path} has no CRS that says where on Earth it lies. Give it one: gdal_edit.py -a_srs …")
        basis = _basis(source, path)
        shapes: list = []
        windows = list(cogs.blocks(source, TILE))
        for window in tqdm(windows, desc="segments", unit="tile", disable=not progress):
            image, known = basis.look(*_read(source, window=window))
            labels = segments(image, known, method=method, level=level, smallest=smallest)
            transform = source.window_transform(window)
            found = polygons_of(labels, mask=labels > 0, connectivity=4, transform=transform)
            shapes += [(shapely.geometry.shape(shape), number) for shape, number in found]
        crs = CRS(source.crs.to_wkt())
        simulated = any(k.lower() == "simulated" and v.lower() == "yes" for k, v in source.tags().items())
    made = np.array([shape for shape, _number in shapes], object)
    return Parcels(made, np.arange(len(made)), crs.to_wkt(), path.name, simulated=simulated)


def segments(
    image: np.ndarray,
    known: np.ndarray | None = None,
    *,
    method: str = "watershed",
    level: float | None = None,
    smallest: int = 10,
) -> np.ndarray:
    """Segments of an image.

    Args:
        image: (H, W, C) channels of like range, such as principal components over the standard deviation of the first.
        known: (H, W) bool, pixels to look at; all by default.
        method, level, smallest: As in `segment`.

    Returns:
        (H, W) int32, numbers from 1; 0 where a pixel is unknown, and only there.

    Raises:
        ParcelError: As `segment`; a channel of a known pixel is no finite number.

    Lab: part4_defend_the_map.
    """
    if method not in METHODS:
        raise ParcelError(f"Expected method = {', '.join(map(repr, METHODS))}, received {method!r}.")
    level = LEVELS[method] if level is None else level
    if not level > 0 or smallest < 1:
        raise ParcelError(f"Expected level above 0 and smallest of at least 1, received {level} and {smallest}.")
    known = np.ones(image.shape[:2], bool) if known is None else known
    if not known.any():
        return np.zeros(known.shape, np.int32)
    if not np.isfinite(image[known]).all():
        raise ParcelError("Expected finite channels, received others at known pixels. Mark these as unknown (known=…).")
    image = np.where(known[..., None], image, 0)
    found = {"watershed": _watershed, "felzenszwalb": _felzenszwalb, "slic": _slic}[method](
        image, known, level, smallest
    )
    # Pixels that a method leaves out, such as an island that is too small or without contrast, become segments too.
    return _numbered(np.where(known, found + 1, 0))


def _watershed(image: np.ndarray, known: np.ndarray, level: float, smallest: int) -> np.ndarray:
    from skimage.measure import label
    from skimage.morphology import h_minima
    from skimage.segmentation import watershed

    slope = _slope(image)
    markers = label(h_minima(np.where(known, slope, slope.max()), level) & known, connectivity=1)
    found = watershed(slope, markers, mask=known)
    size = np.bincount(found.ravel())
    kept = size >= smallest
    kept[0] = False
    if kept[1:].all() or not kept.any():
        return found
    return watershed(slope, np.where(kept[markers], markers, 0), mask=known)


def _slope(image: np.ndarray) -> np.ndarray:
    """(H, W) how much the channels change from pixel to pixel, by Sobel's filter."""
    from scipy.ndimage import sobel

    total = np.zeros(image.shape[:2])
    for channel in np.moveaxis(image, -1, 0):
        total += (sobel(channel, 0) / 8) ** 2 + (sobel(channel, 1) / 8) ** 2
    return np.sqrt(total)


def _felzenszwalb(image: np.ndarray, known: np.ndarray, level: float, smallest: int) -> np.ndarray:
    from skimage.segmentation import felzenszwalb

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)  # of more than 3 channels
        return felzenszwalb(image, scale=level, sigma=0, min_size=smallest, channel_axis=-1) + 1


def _slic(image: np.ndarray, known: np.ndarray, level: float, smallest: int) -> np.ndarray:
    from skimage.segmentation import slic

    count = max(1, round(known.sum() / level))
    mask = None if known.all() else known
    return slic(image, n_segments=count, compactness=0.1, mask=mask, start_label=1, channel_axis=-1,
                min_size_factor=min(1.0, smallest / level))  # fmt: skip


def _numbered(found: np.ndarray) -> np.ndarray:
    """Connected parts, numbered from 1; 0 stays."""
    from skimage.measure import label

    return label(found, background=0, connectivity=1).astype(np.int32)


class _Basis:
    """Principal components of composites, alike in all tiles."""

    def __init__(self, values: np.ndarray):
        self.mean = values.mean(axis=0)
        deviation = values - self.mean
        size, vectors = np.linalg.eigh(deviation.T @ deviation / max(1, len(values) - 1))
        self.vectors = vectors[:, ::-1][:, :COMPONENTS] / max(np.sqrt(size[-1]), 1e-9)

    def look(self, raw: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(C, h, w) values → (h, w, components) float32, over the spread of the first, and (h, w) bool known."""
        flat = (raw.reshape(len(raw), -1).T - self.mean) @ self.vectors
        return np.where(known[..., None], flat.reshape(*known.shape, -1), 0).astype(np.float32), known


def _basis(source: rasterio.DatasetReader, path: Path) -> _Basis:
    shape = [min(THINNED, n) for n in (source.height, source.width)]
    raw, known = _read(source, shape=shape)
    values = raw[:, known].T.astype(np.float64)
    if not len(values):
        raise ParcelError(f"{path} has no pixel with data. Make the composite of days with images.")
    return _Basis(values)


def _read(
    source: rasterio.DatasetReader, window: Window | None = None, shape: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(C, h, w) float32 values, 0 where a pixel has no data, and (h, w) bool which have some."""
    out_shape = None if shape is None else (source.count, *shape)
    found = source.read(window=window, out_shape=out_shape, masked=True)
    raw, hidden = found.data.astype(np.float32), np.ma.getmaskarray(found)
    # Where 0 stands for no data it may also be a value of one band.
    hidden = hidden.all(axis=0) if source.nodata == 0 else hidden.any(axis=0)
    known = ~hidden & np.isfinite(raw).all(axis=0) & raw.any(axis=0)
    return np.where(known, raw, 0), known
