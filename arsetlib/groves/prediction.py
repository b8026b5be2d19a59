"""Map whole captures: tiles stream through the model, overlap, and are blended.

Lab: case_groves. Shell: ``arset groves predict``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arsetlib import folders, models
from arsetlib.checksums import sha256
from arsetlib.groves import captures as files
from arsetlib.groves.classes import GroveError
from arsetlib.groves.segmenter import Segmenter, fingerprint

STRIP = 256  # rows of a capture that get their class at once
BATCH = 4  # tiles; more are no faster on a few cores, and take memory


def predict(
    segmenter: Segmenter | str | Path, captures, out: str | Path, *, overlap=0.25, batch=BATCH, progress=True
) -> list[Path]:
    """Map captures into a folder, one class PNG each.

    A capture is shrunk by ``segmenter.shrink``, cut into overlapping tiles, and the shares of overlapping tiles are
    averaged, each weighing less towards its border, where it saw least around it. Then the shares are brought back to
    the size of the capture and the largest wins. Memory holds one capture, whatever the folder's size.

    A map says of which file it was made. Run again after a stop: finished maps are kept. A folder may get maps of more
    captures later; it is complete when all that were ever asked for are there.

    Args:
        segmenter: A Segmenter or its folder.
        captures: A folder of images, a file, or a list of either or of captures.
        out: Folder of the maps: ``NAME.png``, class numbers with a palette, size of the capture; 255 where the capture
            has no data (transparent, or GDAL's value of no data).
        overlap: Share of a tile that the next one repeats, 0 to 0.9.
        batch: Tiles a call.
        progress: Show a bar.

    Returns:
        Paths of the maps, in the order of the captures.

    Raises:
        GroveError: A file that cannot be read, is smaller than a tile or has other bands; ``out`` holds maps of
            another model or overlap, or of another image of that name; another process maps there; the disk is full.
    """
    from tqdm.auto import tqdm

    segmenter = segmenter if isinstance(segmenter, Segmenter) else models.load(segmenter, kind="segmentation")
    listed, out = files.listed(captures), Path(out)
    plan, names = _plan(segmenter, overlap), [name for name, *_ in listed]
    earlier = not (out / folders.PLAN).is_file() and _made_earlier(out, plan)
    about = "Predicted by arsetlib" + (" from SIMULATED captures" if segmenter.notes.get("simulated") else "")
    with folders.claim(out, plan, names, what="maps", error=GroveError, ours=earlier, grows=True) as folder:
        todo = [(name, image) for name, image, _ in listed if not _made(folder, name, image, earlier)]
        with tqdm(
            total=len(names), initial=len(names) - len(todo), desc="map", unit="capture", disable=not progress
        ) as bar:
            for name, image in todo:
                pixels, valid = files.read_valid(image, segmenter.channels)
                mask = mapped(segmenter, pixels, overlap, batch, str(image))
                if valid is not None:
                    mask[~valid] = files.IGNORE
                files.write_mask(mask, out / f"{name}.png", segmenter.colours, f"{about}. {_source(image)}")
                folder.finish(name, [f"{name}.png"])
                bar.update()
        if not folder.missing():  # of an earlier call, too
            folder.publish()
    return [out / f"{name}.png" for name in names]


def mapped(segmenter: Segmenter, image: np.ndarray, overlap=0.25, batch=BATCH, name="The image") -> np.ndarray:
    """The classes of one capture.

    Args:
        image: (H, W, C) uint8.

    Returns:
        (H, W) uint8 class numbers.
    """
    shares = blended(segmenter, image, overlap, batch, name)
    if shares.shape[1:] == image.shape[:2]:
        return shares.argmax(axis=0).astype(np.uint8)
    return _enlarged(shares, image.shape[:2])


def blended(segmenter: Segmenter, image: np.ndarray, overlap=0.25, batch=BATCH, name="The image") -> np.ndarray:
    """(K, h, w) float32 blended class shares of a capture at the scale of the model; h = H / shrink.

    Each pixel's shares sum to 1.
    """
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[2] != segmenter.channels:
        raise GroveError(f"{name}: expected (H, W, {segmenter.channels}) uint8, received {image.shape} {image.dtype}.")
    small = _shrunk(image, segmenter.shrink)
    height, width = segmenter.size
    if small.shape[0] < height or small.shape[1] < width:
        need = f"{round(height * segmenter.shrink)} × {round(width * segmenter.shrink)}"
        raise GroveError(
            f"{name} is {image.shape[0]} × {image.shape[1]} pixels, smaller than a tile ({need}). Nothing is enlarged "
            "silently: take larger captures, or a model of smaller tiles."
        )
    corners = [(i, j) for i in starts(small.shape[0], height, overlap) for j in starts(small.shape[1], width, overlap)]
    weight = np.outer(slope(height, overlap), slope(width, overlap))
    total = np.zeros((len(segmenter.classes), *small.shape[:2]), np.float32)
    norm = np.zeros(small.shape[:2], np.float32)
    tiles = np.zeros((batch, height, width, segmenter.channels), np.uint8)
    for at in range(0, len(corners), batch):
        part = corners[at : at + batch]
        for n, (i, j) in enumerate(part):
            tiles[n] = small[i : i + height, j : j + width]
        for (i, j), shares in zip(part, segmenter.shares(tiles), strict=False):
            total[:, i : i + height, j : j + width] += np.moveaxis(shares, -1, 0) * weight
            norm[i : i + height, j : j + width] += weight
    total /= norm
    return total


def starts(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of tiles that cover a side evenly and repeat at least ``overlap`` of each other."""
    if not 0 <= overlap <= 0.9:
        raise GroveError(f"Expected an overlap of 0 to 0.9 of a tile, received {overlap}.")
    count = 1 + int(np.ceil((length - tile) / max(1.0, tile * (1 - overlap))))
    return np.round(np.linspace(0, length - tile, count)).astype(int).tolist()


def slope(tile: int, overlap: float) -> np.ndarray:
    """(tile,) float32: a tile's weight along one side, 1 inside, falling towards both borders over the overlap."""
    ramp = max(1.0, tile * overlap)
    at = np.arange(tile) + 0.5
    return np.minimum(1, np.minimum(at, tile - at) / ramp).astype(np.float32)


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
    """(K, h, w) shares → (H, W) uint8 classes: bilinear between the shares, strip by strip, then the largest."""
    from PIL import Image

    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in shares]
    mask, scale = np.empty(size, np.uint8), shares.shape[1] / size[0]
    for low in range(0, size[0], STRIP):
        high = min(low + STRIP, size[0])
        box = (0, low * scale, shares.shape[2], high * scale)
        best = None
        for k, plane in enumerate(planes):
            part = np.asarray(plane.resize((size[1], high - low), Image.Resampling.BILINEAR, box=box))
            if best is None:
                best, mask[low:high] = part.copy(), 0
            else:
                wins = part > best
                mask[low:high][wins] = k
                np.maximum(best, part, out=best)
    return mask


def _source(image: Path) -> str:
    return f"Of {image.name}, sha256 {sha256(image)}"


def _made(folder: folders.Folder, name: str, image: Path, earlier: bool) -> bool:
    """Whether a map is there; it must be one of this very image, else an old map would pass for a new one."""
    path = folder.path / f"{name}.png"
    if not path.is_file():
        return False
    if not (about := files.described(path)).endswith(_source(image)) and about:
        raise GroveError(f"{path} is no map of {image}: another file of that name was mapped. Name another folder.")
    if earlier and about:  # of a version that did not note its maps, and gave them their name when they were complete
        folder.finish(name, [path.name])
    return folder.done(name) is not None


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


def _made_earlier(out: Path, plan: dict) -> bool:
    """Whether the folder holds maps of the same model that an earlier version of arsetlib made."""
    held = files.card(out)
    if held and held != plan:
        other = [key for key in plan if held.get(key) != plan[key]]
        raise GroveError(f"{out} holds maps made otherwise ({', '.join(other)} differ). Name another folder.")
    return bool(held)
