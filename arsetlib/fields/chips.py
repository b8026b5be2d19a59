"""Read field images in the layout of Agriculture-Vision: four bands, nine anomalies, invalid pixels.

Source: Chiu et al. (2020), "Agriculture-Vision: A Large Aerial Image Database for Agricultural Pattern Analysis", CVPR.
The data are free for non-commercial use only; none of them are shipped or downloaded here.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from arsetlib.fields import layout
from arsetlib.fields.classes import CLASSES, ImageError

INDEX = "_labels.npz"  # what the masks say, kept beside them so that they are read once
SCHEMA = 1
NOTICE = (
    "Agriculture-Vision: for non-commercial use only, under its authors' terms; do not pass it on. "
    "The course ships none of it."
)
OURS = "SIMULATED images, CC BY 4.0"


@dataclass(frozen=True, eq=False)
class Chips:
    """Field images on disk: names and labels in memory, pixels where they are.

    Args:
        folder: Where they are.
        names: (N,) str, ``FIELD_x1-y1-x2-y2``.
        labels: (N, 9) uint8, 1 where a class has a valid pixel; columns as ``fields.CLASSES``.
        sources: (N,) which of ``parts`` a chip is from.
        parts: The folders that were found.
        size: (H, W) of every chip, pixels.
        simulated: True where the folder says so of itself.
    """

    folder: Path
    names: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    parts: tuple[layout.Part, ...]
    size: tuple[int, int]
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which) -> Chips:
        """Some of the chips: by number, slice, numbers or a mask."""
        if isinstance(which, int | np.integer):
            which = [which]
        return replace(self, names=self.names[which], labels=self.labels[which], sources=self.sources[which])

    @property
    def fields(self) -> np.ndarray:
        """(N,) str: the field of each chip."""
        return np.array([name.split("_")[0] for name in self.names.tolist()], dtype=str)

    @property
    def published(self) -> np.ndarray:
        """(N,) str: train, val or test of the published data, empty where there is no such folder."""
        return np.array([part.name for part in self.parts], dtype=str)[self.sources]

    @property
    def counts(self) -> dict[str, int]:
        """Class → on how many chips."""
        return {name: int(n) for name, n in zip(CLASSES, self.labels.sum(0, dtype=np.int64), strict=True)}

    @property
    def licence(self) -> str:
        return OURS if self.simulated else NOTICE

    def paths(self, number: int) -> layout.Paths:
        """The files of a chip."""
        return self.parts[self.sources[number]].paths(str(self.names[number]))

    def __repr__(self) -> str:
        fields = len(np.unique(self.fields))
        none = int((self.labels.sum(1) == 0).sum())
        several = int((self.labels.sum(1) > 1).sum())
        unlabelled = sum(part.unlabelled for part in self.parts)
        lines = [
            f"{len(self):,} images of {fields:,} fields, {self.size[0]} × {self.size[1]} px, in {self.folder}",
            *(f"  {name.replace('_', ' ')}: {n:,}" for name, n in self.counts.items()),
            f"  no anomaly: {none:,}; several: {several:,}",
        ]
        if unlabelled:
            lines.append(f"  left out, without labels: {unlabelled:,}")
        return "\n".join([*lines, self.licence])


def agriculture_vision(folder: str | Path, *, progress: bool = False) -> Chips:
    """Find the images of a folder and what is on them.

    The masks are read once; a small file beside them keeps the answer for as long as no file changes.

    Args:
        folder: With ``field_images/rgb``, ``field_images/nir``, ``field_labels/<class>``, ``field_bounds`` and
            ``field_masks``, or the challenge's download: ``train``, ``val`` and ``test`` with ``images``, ``labels``,
            ``boundaries`` and ``masks``. Images of a part that has no labels are left out and counted.
        progress: Show a progress bar.

    Returns:
        The chips, in the order of their names. A label is 1 where the class has a pixel within the field and the mask.

    Raises:
        ImageError: No such images, an image without its mask or a mask without its image, an unknown or missing class
            folder, another size or number of channels, a file that cannot be read. ``fields.check`` lists them all.

    Lab: case_fields.
    """
    folder = Path(folder)
    found = layout.parts(folder)
    complain([problem for part in found for problem in part.problems], folder)
    names = [(name, k) for k, part in enumerate(found) for name in part.names]
    names.sort()
    for (one, _), (other, part) in pairwise(names):
        if one == other:
            raise ImageError(f"{found[part].paths(one).rgb} is in two parts of {folder}. Keep one of them.")
    if not names:
        raise ImageError(f"No image in {folder} has labels. Expected train or val with a folder {layout.LABELS[0]}.")
    stamp = hashlib.sha256("".join(part.name + part.stamp for part in found).encode()).hexdigest()
    kept = _kept(folder / INDEX, stamp, len(names))
    if kept is None:
        labels, size, problems = scan(found, names, progress)
        complain(problems, folder)
        _keep(folder / INDEX, stamp, labels, size)
    else:
        labels, size = kept
    sources = np.array([k for _, k in names], np.int8)
    chips = np.array([name for name, _ in names], dtype=str)
    return Chips(folder, chips, labels, sources, tuple(found), size, is_simulated(folder))


def complain(problems: list[tuple[str, str]], folder: Path) -> None:
    """Raise the first problem, if there is one."""
    if problems:
        more = f" {len(problems) - 1:,} more: fields.check({str(folder)!r})." if len(problems) > 1 else ""
        raise ImageError(problems[0][1] + more)


def scan(parts, names, progress: bool = False, whole: bool = False):
    """Read the masks of chips, and of their images the header or all.

    Returns:
        (N, 9) uint8 labels; (H, W) of the first chip; problems as (file, what is wrong).
    """
    labels = np.zeros((len(names), len(CLASSES)), np.uint8)
    first, problems = None, []
    look = partial(_look, whole=whole)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        found = pool.map(look, [parts[k].paths(name) for name, k in names])
        for number, (row, sizes, wrong) in enumerate(tqdm(found, "labels", len(names), disable=not progress)):
            problems += wrong
            labels[number] = row
            for file, size in sizes:
                first = first or size
                if size != first:
                    what = f"{file} has {size[0]} × {size[1]} pixels, expected {first[0]} × {first[1]} as the others. "
                    problems.append((str(file), what + "Cut or resize it with all files of this image."))
                    break
    return labels, first, problems


def _look(paths: layout.Paths, whole: bool):
    """Labels of one chip, the sizes of its files, problems."""
    row, sizes, problems = np.zeros(len(CLASSES), np.uint8), [], []

    def tried(path: Path, what):
        try:
            return what()
        except ImageError as problem:
            problems.append((str(path), str(problem)))
            return None

    for path, bands in ((paths.rgb, 3), (paths.nir, 1)):
        shape = tried(path, partial(_header, path, bands, whole))
        if shape:
            sizes.append((path, shape))
    read = [tried(path, partial(layout.mask, path)) for path in (paths.bounds, paths.masks, *paths.labels)]
    sizes += [(path, r[0]) for path, r in zip((paths.bounds, paths.masks, *paths.labels), read, strict=True) if r]
    if not problems and len({size for _, size in sizes}) == 1:
        for k, (_, count, mask) in enumerate(read[2:]):
            row[k] = count > 0 and bool(_all(read[0], read[1], (None, count, mask)))
    return row, sizes, problems


def _all(*masks) -> bool:
    """Whether a pixel is set in all masks; a mask without pixels is none or all."""
    if any(count == 0 for _, count, _ in masks):
        return False
    partly = [mask for _, _, mask in masks if mask is not None]
    return bool(np.logical_and.reduce(partly).any()) if partly else True


def _header(path: Path, bands: int, whole: bool) -> tuple[int, int]:
    if whole:
        return layout.photo(path, bands).shape[:2]
    with layout.opened(path) as picture:
        if len(picture.getbands()) != bands:
            raise ImageError(f"{path} has {len(picture.getbands())} channel(s), expected {bands}. Export it again.")
        return picture.height, picture.width


def _kept(file: Path, stamp: str, count: int):
    """Labels and size as an earlier call found them, if nothing has changed since."""
    try:
        with np.load(file, allow_pickle=False) as held:
            if int(held["schema"]) != SCHEMA or str(held["stamp"]) != stamp or held["labels"].shape != (count, 9):
                return None
            return held["labels"].astype(np.uint8), tuple(int(n) for n in held["size"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _keep(file: Path, stamp: str, labels: np.ndarray, size) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            np.savez(out, schema=SCHEMA, stamp=stamp, labels=labels, size=np.array(size))
        os.replace(part, file)
    except OSError:  # a folder that is not ours to write in: the masks are read again next time
        part.unlink(missing_ok=True)


def is_simulated(folder: Path) -> bool:
    file = folder / "simulated.json"
    try:
        return file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("simulated") is True
    except (OSError, ValueError, AttributeError) as problem:
        raise ImageError(f"{file} cannot be read ({problem}). Make the simulated fields again.") from None


def read(chips: Chips, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a chip.

    Returns:
        (H, W, 4) uint8: red, green, blue, near infrared, as stored. (H, W) bool: True within the field and the mask.

    Raises:
        ImageError: A file cannot be read, is damaged, or has another size or number of channels.

    Lab: case_fields.
    """
    paths = chips.paths(number)
    rgb, nir = layout.photo(paths.rgb, 3), layout.photo(paths.nir, 1)
    valid = np.ones(chips.size, bool)
    for path, shape in ((paths.rgb, rgb.shape[:2]), (paths.nir, nir.shape)):
        _same(path, shape, chips.size)
    for path in (paths.bounds, paths.masks):
        shape, count, mask = layout.mask(path)
        _same(path, shape, chips.size)
        if mask is not None:
            valid &= mask
        elif not count:
            valid[:] = False
    return np.dstack([rgb, nir]), valid


def _same(path: Path, shape, size) -> None:
    if tuple(shape) != tuple(size):
        raise ImageError(f"{path} has {shape[0]} × {shape[1]} pixels, expected {size[0]} × {size[1]} as the others.")


def ndvi(pixels: np.ndarray) -> np.ndarray:
    """Normalised difference vegetation index of camera values, (NIR − red) / (NIR + red).

    The values are a camera's, stretched for looking at, and not reflectance: compare them within an image.

    Args:
        pixels: (…, 4) red, green, blue, near infrared.

    Returns:
        (…) float32, −1 to 1; NaN where both are 0.

    Raises:
        ImageError: Another number of channels.

    Lab: case_fields.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 0 or pixels.shape[-1] != 4:
        raise ImageError(f"Expected (…, 4) red, green, blue, near infrared, received {pixels.shape}.")
    red, nir = pixels[..., 0].astype(np.float32), pixels[..., 3].astype(np.float32)
    total = nir + red
    return np.divide(nir - red, total, out=np.full(total.shape, np.nan, np.float32), where=total != 0)
