"""Map whole captures: overlapping tiles go through the model, and their class shares are averaged.

Lab: case_groves. Shell: ``arset groves predict``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from arsetlib import copies, folders, models
from arsetlib.checksums import sha256
from arsetlib.groves import masks, pictures
from arsetlib.groves.capture import Capture
from arsetlib.groves.classes import IGNORE, GroveError
from arsetlib.groves.cutting import Canvas, places
from arsetlib.groves.layouts import as_captures
from arsetlib.groves.segmenter import Segmenter, fingerprint

STRIP = 256  # rows of a capture whose classes are found at once
BATCH = 4  # tiles; more are no faster on a few cores, and take memory


def predict(
    segmenter: Segmenter | str | Path,
    captures: str | Path | Iterable[str | Path | Capture],
    out: str | Path,
    *,
    overlap: float = 0.25,
    batch: int = BATCH,
    progress: bool = True,
) -> list[Path]:
    """Map captures into a folder, one class PNG each.

    A capture is shrunk by ``segmenter.shrink`` and cut into overlapping tiles; the class shares of the tiles are put
    together as ``groves.stitch`` does. Then the shares are enlarged to the size of the capture, and each pixel gets the
    class with the largest share. Memory holds one capture, whatever the folder's size.

    Each map states the file that it was made of. After a stop the same call goes on: finished maps are kept. A folder
    may get maps of more captures later; it is complete when all that were ever asked for are there.

    Args:
        segmenter: A Segmenter or its folder.
        captures: A folder of images, a file, or a list of either or of captures.
        out: Folder of the maps, also in an object store (``s3://…``): ``NAME.png``, class numbers with a palette, size
            of the capture; 255 where the capture has no data (transparent, or GDAL's value of no data).
        overlap: Share of a tile that the next one repeats, 0 to 0.9.
        batch: Tiles a call of the model.
        progress: Show a bar.

    Returns:
        Paths of the maps, in the order of the captures.

    Raises:
        GroveError: A file that cannot be read, is smaller than a tile or has other bands; ``out`` holds maps of
            another model or overlap, or of another image of that name; another process maps there; the disk is full.

    Lab: case_groves.
    """
    from tqdm.auto import tqdm

    segmenter = segmenter if isinstance(segmenter, Segmenter) else models.load(segmenter, kind="segmentation")
    listed, out = as_captures(captures), folders.place(out)
    about = "Predicted by arsetlib" + (" from SIMULATED captures" if segmenter.notes.get("simulated") else "")
    names = [capture.name for capture in listed]
    with folders.claim(out, _plan(segmenter, overlap), names, what="maps", error=GroveError, grows=True) as folder:
        todo = [capture for capture in listed if not _is_mapped(folder, capture)]
        done = len(listed) - len(todo)
        with tqdm(total=len(listed), initial=done, desc="map", unit="capture", disable=not progress) as bar:
            for name, image in ((capture.name, capture.image) for capture in todo):
                pixels, valid = pictures.read_valid(image, segmenter.channels)
                mask = mapped(segmenter, pixels, overlap, batch, str(image))
                if valid is not None:
                    mask[~valid] = IGNORE
                masks.write_mask(mask, out / f"{name}.png", segmenter.colours, f"{about}. {_source(image)}")
                folder.finish(name, [f"{name}.png"])
                bar.update()
        if not folder.missing():  # of an earlier call, too
            folder.publish()
    return [out / f"{name}.png" for name in names]


def mapped(
    segmenter: Segmenter, image: np.ndarray, overlap: float = 0.25, batch: int = BATCH, name: str = "The image"
) -> np.ndarray:
    """The classes of one capture.

    Args:
        segmenter: The model.
        image: (H, W, C) uint8.
        overlap, batch: As in ``predict``.
        name: What messages call the image.

    Returns:
        (H, W) uint8 class numbers.
    """
    shares = class_shares(segmenter, image, overlap, batch, name)
    if shares.shape[:2] == image.shape[:2]:
        return shares.argmax(axis=-1).astype(np.uint8)
    return _enlarged(shares, image.shape[:2])


def class_shares(
    segmenter: Segmenter, image: np.ndarray, overlap: float = 0.25, batch: int = BATCH, name: str = "The image"
) -> np.ndarray:
    """(h, w, K) float32 class shares of a capture at the scale of the model, h = H / shrink; each pixel's sum to 1."""
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[2] != segmenter.channels:
        raise GroveError(f"{name}: expected (H, W, {segmenter.channels}) uint8, received {image.shape} {image.dtype}.")
    if not 0 <= overlap <= 0.9:
        raise GroveError(f"Expected an overlap of 0 to 0.9 of a tile, received {overlap}.")
    small, size = _shrunk(image, segmenter.shrink), segmenter.size
    if small.shape[0] < size[0] or small.shape[1] < size[1]:
        need = " × ".join(str(round(side * segmenter.shrink)) for side in size)
        raise GroveError(
            f"{name} is {image.shape[0]} × {image.shape[1]} pixels, smaller than a tile ({need}). Nothing is enlarged "
            "silently: take larger captures, or a model of smaller tiles."
        )
    rows, columns, size = places(small.shape[:2], size, overlap=tuple(round(overlap * side) for side in size))
    canvas = Canvas(small.shape[:2], size, depth=(len(segmenter.classes),))
    tiles = np.zeros((batch, *size, segmenter.channels), np.uint8)
    for at in range(0, len(rows), batch):
        corners = list(zip(rows[at : at + batch], columns[at : at + batch], strict=True))
        for n, (i, j) in enumerate(corners):
            tiles[n] = small[i : i + size[0], j : j + size[1]]
        for (i, j), shares in zip(corners, segmenter.shares(tiles), strict=False):
            canvas.add(shares, i, j)
    return canvas.finished()


def _shrunk(image: np.ndarray, shrink: float) -> np.ndarray:
    """The capture at the scale of the model; each pixel is the mean of those it stands for."""
    if shrink == 1:
        return image
    from PIL import Image

    height, width = (max(1, round(side / shrink)) for side in image.shape[:2])
    planes = [image] if image.shape[2] == 3 else [image[:, :, c] for c in range(image.shape[2])]
    small = [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BOX)) for p in planes]
    return small[0] if image.shape[2] == 3 else np.stack(small, axis=2)


def _enlarged(shares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, K) shares → (H, W) uint8 classes: shares are interpolated strip by strip, then the largest is taken."""
    from PIL import Image

    planes = [Image.fromarray(np.ascontiguousarray(shares[..., k])) for k in range(shares.shape[-1])]
    mask, scale = np.empty(size, np.uint8), shares.shape[0] / size[0]
    for low in range(0, size[0], STRIP):
        high = min(low + STRIP, size[0])
        box = (0, low * scale, shares.shape[1], high * scale)
        largest = None
        for k, plane in enumerate(planes):
            part = np.asarray(plane.resize((size[1], high - low), Image.Resampling.BILINEAR, box=box))
            if largest is None:
                largest, mask[low:high] = part.copy(), 0
            else:
                mask[low:high][part > largest] = k
                np.maximum(largest, part, out=largest)
    return mask


# -- a folder of maps --------------------------------------------------------------------------------------------------


def settings(folder: Path) -> dict:
    """How ``predict`` made a folder of maps: model, classes, colours, …; empty where it made none.

    Raises:
        GroveError: Some of the maps that were planned are not there.
    """
    plan = folders.Folder(folder).plan()
    if plan is not None and "weights_sha256" not in plan:
        return {}  # of something else, such as simulated captures
    if folders.state(folder) == "unfinished":
        raise GroveError(
            f"The maps in {folder} are unfinished: not all captures that were to be mapped have a map. Run the same "
            "`arset groves predict` again: finished maps are kept."
        )
    return {key: value for key, value in (plan or {}).items() if key != "parts"}


def _plan(segmenter: Segmenter, overlap: float) -> dict:
    """What decides the maps, so that maps of two models never mix."""
    return {
        "model": segmenter.model.name,
        "weights_sha256": fingerprint(segmenter.model),
        "classes": list(segmenter.classes),
        "colours": list(segmenter.colours),
        "shrink": segmenter.shrink,
        "overlap": overlap,
        "simulated": bool(segmenter.notes.get("simulated")),
    }


def _source(image: Path) -> str:
    return f"Of {image.name}, sha256 {sha256(image)}"


def _is_mapped(folder: folders.Folder, capture: Capture) -> bool:
    """Whether a finished map is there; it must be one of this very image, not of an older one of the same name."""
    path = folder.path / f"{capture.name}.png"
    if not path.is_file():
        return False
    about = masks.description(copies.fetched(path))
    if about and not about.endswith(_source(capture.image)):
        raise GroveError(
            f"{path} is no map of {capture.image}: another file of that name was mapped. Name another folder."
        )
    return folder.done(capture.name) is not None
