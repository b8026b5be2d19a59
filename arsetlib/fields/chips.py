"""Read field images in the layout of Agriculture-Vision: four bands, nine anomalies, invalid pixels.

Source: Chiu et al. (2020), "Agriculture-Vision: A Large Aerial Image Database for Agricultural Pattern Analysis", CVPR.
The data are free for non-commercial use only; none of them are shipped or downloaded here.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm.auto import tqdm

from arsetlib import copies, folders, processes
from arsetlib.fields import layout
from arsetlib.fields.classes import CLASSES, ImageError, title
from arsetlib.translation import N_, _

INDEX = "_labels.npz"  # labels of all chips, stored next to the masks so that these are read only once
SCHEMA = 2  # 1 did not look at the tag by which a camera says how it was turned
NOTICE = N_(
    "Agriculture-Vision: for non-commercial use only, under its authors' terms; do not pass it on. "
    "The course ships none of it."
)
SPELLINGS = (
    "Field {other} of {folder} is field {one}, too, written in another way {raw}: upper and lower case differ, or how "
    "an accent is stored. Rename the files of one, so that the chips of a field stay in one set."
)
SIMULATED = N_("SIMULATED images, CC BY 4.0")


@dataclass(frozen=True, eq=False)
class Chips:
    """Field images on disk: names and labels are in memory, pixels are read when they are needed.

    Args:
        folder: Where they are.
        names: (N,) str, ``FIELD_x1-y1-x2-y2``.
        labels: (N, 9) uint8, 1 where a class has a valid pixel; columns as ``fields.CLASSES``.
        sources: (N,) which of ``parts`` a chip is from.
        parts: The folders with images, masks and labels.
        size: (H, W) of every chip, pixels.
        simulated: Whether the folder says that its images are.

    Lab: case_fields.
    """

    folder: Path
    names: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    parts: tuple[layout.Part, ...]
    size: tuple[int, int]
    simulated: bool = False

    form: ClassVar = "chips"  # as ``Stored``
    encoding: ClassVar = "jpeg"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: int | slice | list | np.ndarray) -> Chips:
        """Some of the chips: a number, a slice, numbers or a mask."""
        if isinstance(which, int | np.integer):
            which = [which]
        return replace(self, names=self.names[which], labels=self.labels[which], sources=self.sources[which])

    @property
    def fields(self) -> np.ndarray:
        """(N,) str: the field of each chip."""
        return np.array([layout.field_of(name) for name in self.names.tolist()], dtype=str)

    @property
    def published(self) -> np.ndarray:
        """(N,) str: train, val or test of the published data, or an empty text where there is no such folder."""
        return np.array([part.name for part in self.parts], dtype=str)[self.sources]

    @property
    def counts(self) -> dict[str, int]:
        """Class → number of chips that show it."""
        return {name: int(n) for name, n in zip(CLASSES, self.labels.sum(0, dtype=np.int64), strict=True)}

    @property
    def licence(self) -> str:
        """What the images may be used for."""
        return SIMULATED if self.simulated else NOTICE

    @property
    def side(self) -> int:
        """Pixels of a side of all chips.

        Raises:
            ImageError: They are not square.
        """
        rows, columns = self.size
        if rows != columns:
            raise ImageError(f"Expected square images, received {rows} × {columns} in {self.folder}. Cut them square.")
        return int(rows)

    @property
    def jpeg_bytes(self) -> np.ndarray:
        """(N, 2) bytes of the two pictures of each chip.

        Raises:
            ImageError: One is missing.
        """
        sizes = np.empty((len(self), 2), np.int64)
        for number in range(len(self)):
            paths = self.paths(number)
            try:
                sizes[number] = paths.rgb.stat().st_size, paths.nir.stat().st_size
            except FileNotFoundError as problem:
                raise ImageError(f"{problem.filename} is missing. Copy it again, or read the folder again.") from None
        return sizes

    @property
    def identity(self) -> str:
        """SHA-256 of names, labels and file sizes: the same for the same chips in another folder."""
        digest = hashlib.sha256("\n".join(self.names.tolist()).encode())
        digest.update(np.ascontiguousarray(self.labels, np.uint8).tobytes())
        digest.update(np.ascontiguousarray(self.jpeg_bytes, "<i8").tobytes())
        return digest.hexdigest()

    def paths(self, number: int) -> layout.Paths:
        """The files of a chip."""
        return self.parts[self.sources[number]].paths(str(self.names[number]))

    def place(self, number: int) -> str:
        """Where a chip is, for a message."""
        return str(self.paths(number).rgb)

    def __repr__(self) -> str:
        fields = len(np.unique(self.fields))
        none = int((self.labels.sum(1) == 0).sum())
        several = int((self.labels.sum(1) > 1).sum())
        unlabelled = sum(part.unlabelled for part in self.parts)
        lines = [
            _("{images} images of {fields} fields, {height} × {width} px, in {folder}").format(
                images=f"{len(self):,}",
                fields=f"{fields:,}",
                height=self.size[0],
                width=self.size[1],
                folder=self.folder,
            ),
            *(f"  {title(name)}: {n:,}" for name, n in self.counts.items()),
            "  " + _("no anomaly: {none}; several: {several}").format(none=f"{none:,}", several=f"{several:,}"),
        ]
        if unlabelled:
            lines.append("  " + _("left out, without labels: {n}").format(n=f"{unlabelled:,}"))
        return "\n".join([*lines, _(self.licence)])


def agriculture_vision(folder: str | Path, *, progress: bool = False) -> Chips:
    """Find the images of a folder and their classes.

    The masks are read once; a small file next to them keeps the labels for as long as no file changes.

    Args:
        folder: With ``field_images/rgb``, ``field_images/nir``, ``field_labels/<class>``, ``field_bounds`` and
            ``field_masks``, or the challenge's download: ``train``, ``val`` and ``test`` with ``images``, ``labels``,
            ``boundaries`` and ``masks``. Images of a part that has no labels are left out and counted. Where it lies in
            an object store (``s3://…``), its files are copied into the cache of this machine first.
        progress: Show a progress bar.

    Returns:
        The chips, in the order of their names. A label is 1 if the class has a pixel within the field and the mask.

    Raises:
        ImageError: No such images, an image without its mask or a mask without its image, an unknown or missing class
            folder, another size or number of channels, a file that cannot be read. ``fields.check`` lists them all.

    >>> import tempfile; from arsetlib import fields, simulate
    >>> folder = simulate.fields(tempfile.mkdtemp(), fields=2, chips=2, size=32, progress=False)
    >>> chips = agriculture_vision(folder)
    >>> len(chips), len(set(chips.fields)), chips.simulated
    (4, 2, True)

    Lab: case_fields.
    """
    folder = copies.fetched(folder)
    parts = layout.parts(folder)
    _refuse([problem for part in parts for problem in part.problems], folder)
    names = sorted((name, k) for k, part in enumerate(parts) for name in part.names)
    for (one, __), (other, part) in pairwise(names):
        if one == other:
            raise ImageError(f"{parts[part].paths(one).rgb} is in two parts of {folder}. Keep one of them.")
    for one, other in layout.spellings(name for name, __ in names):
        raise ImageError(SPELLINGS.format(one=one, other=other, raw=ascii((one, other)), folder=folder))
    if not names:
        raise ImageError(f"No image in {folder} has labels. Expected train or val with a folder {layout.LABELS[0]}.")
    stamp = hashlib.sha256("".join(part.name + part.stamp for part in parts).encode()).hexdigest()
    stored = _load_labels(folder / INDEX, stamp, len(names))
    if stored is None:
        labels, size, problems = scan(parts, names, progress)
        _refuse(problems, folder)
        _store_labels(folder / INDEX, stamp, labels, size)
    else:
        labels, size = stored
    sources = np.array([k for _, k in names], np.int8)
    texts = np.array([name for name, _ in names], dtype=str)
    return Chips(folder, texts, labels, sources, tuple(parts), size, is_simulated(folder))


def _refuse(problems: list[tuple[str, str]], folder: Path) -> None:
    """Raise the first problem, if there is one."""
    if problems:
        more = f" {len(problems) - 1:,} more: fields.check({str(folder)!r})." if len(problems) > 1 else ""
        raise ImageError(problems[0][1] + more)


def scan(
    parts: list[layout.Part], names: list[tuple[str, int]], progress: bool = False, whole: bool = False
) -> tuple[np.ndarray, tuple[int, int] | None, list[tuple[str, str]]]:
    """Read the masks of chips, and of their images the header, or with ``whole`` all pixels.

    Args:
        parts: Of the folder.
        names: (name, number of its part) of each chip.
        progress: Show a progress bar.
        whole: Decode the images too.

    Returns:
        (N, 9) uint8 labels; (H, W) of most chips; problems as (file, message).
    """
    labels = np.zeros((len(names), len(CLASSES)), np.uint8)
    problems, found = [], []
    paths = [parts[k].paths(name) for name, k in names]
    with ThreadPoolExecutor(min(processes.cores(), 16)) as pool:
        scans = pool.map(partial(_scan_chip, whole=whole), paths)
        for number, (row, sizes, wrong) in enumerate(tqdm(scans, "labels", len(names), disable=not progress)):
            problems += wrong
            labels[number] = row
            found.append(sizes)
    most = Counter(sizes[0][1] for sizes in found if sizes).most_common(1)
    usual = most[0][0] if most else None
    for sizes in found:
        odd = next(((file, size) for file, size in sizes if size != usual), None)
        if odd:
            file, size = odd
            text = f"{file} has {size[0]} × {size[1]} pixels, expected {usual[0]} × {usual[1]} as the others. "
            problems.append((str(file), text + "Cut or resize it with all files of this image."))
    return labels, usual, problems


def _scan_chip(paths: layout.Paths, whole: bool):
    """Labels of one chip, the sizes of its files, problems."""
    labels, sizes, problems, masks = np.zeros(len(CLASSES), np.uint8), [], [], []
    for path, bands in ((paths.rgb, 3), (paths.nir, 1)):
        try:
            sizes.append((path, _shape(path, bands, whole)))
        except ImageError as problem:
            problems.append((str(path), str(problem)))
    for path in (paths.bounds, paths.masks, *paths.labels):
        try:
            size, *mask = layout.mask(path)
            sizes.append((path, size))
            masks.append(mask)
        except ImageError as problem:
            problems.append((str(path), str(problem)))
    if not problems and len({size for _, size in sizes}) == 1:
        bounds, valid, *of_classes = masks
        labels[:] = [_overlap(bounds, valid, mask) for mask in of_classes]
    return labels, sizes, problems


def _overlap(*masks) -> bool:
    """Whether a pixel is set in all masks (count, pixels); pixels are None where none or all of them are set."""
    if any(count == 0 for count, _ in masks):
        return False
    pixels = [mask for _, mask in masks if mask is not None]
    return bool(np.logical_and.reduce(pixels).any()) if pixels else True


def _shape(path: Path, bands: int, whole: bool) -> tuple[int, int]:
    """(H, W) of an image, from its header or from all of it."""
    if whole:
        return layout.photo(path, bands).shape[:2]
    with layout.opened(path) as picture:
        layout.check_header(path, picture, bands)
        return picture.height, picture.width


def _load_labels(file: Path, stamp: str, count: int):
    """Labels and size that an earlier call stored, if no file has changed since."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if int(stored["schema"]) != SCHEMA or str(stored["stamp"]) != stamp or stored["labels"].shape != (count, 9):
                return None
            return stored["labels"].astype(np.uint8), tuple(int(n) for n in stored["size"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _store_labels(file: Path, stamp: str, labels: np.ndarray, size) -> None:
    content = io.BytesIO()
    np.savez(content, schema=SCHEMA, stamp=stamp, labels=labels, size=np.array(size))
    with suppress(OSError):  # in a folder that cannot be written the masks are read again next time
        folders.put(file, content.getvalue())


def is_simulated(folder: Path) -> bool:
    """Whether the folder says that its images are simulated."""
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

    >>> import tempfile; from arsetlib import fields, simulate
    >>> folder = simulate.fields(tempfile.mkdtemp(), fields=1, chips=1, size=32, progress=False)
    >>> pixels, valid = read(fields.agriculture_vision(folder), 0)
    >>> pixels.shape, pixels.dtype.name, valid.shape
    ((32, 32, 4), 'uint8', (32, 32))

    Lab: case_fields.
    """
    paths = chips.paths(number)
    rgb, nir = layout.photo(paths.rgb, 3), layout.photo(paths.nir, 1)
    for path, photo in ((paths.rgb, rgb), (paths.nir, nir)):
        layout.same_size(path, photo.shape, chips.size)
    valid = paths.valid(chips.size)
    return np.dstack([rgb, nir]), np.ones(chips.size, bool) if valid is None else valid


def ndvi(pixels: np.ndarray) -> np.ndarray:
    """Normalised difference vegetation index of camera values, (NIR − red) / (NIR + red).

    The values are brightened by the camera and are not reflectance: compare them only within one image.

    Args:
        pixels: (…, 4) red, green, blue, near infrared.

    Returns:
        (…) float32, −1 to 1; NaN where both are 0.

    Raises:
        ImageError: Another number of channels.

    >>> ndvi([[60, 80, 40, 180], [0, 0, 0, 0]])
    array([0.5, nan], dtype=float32)

    Lab: case_fields.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 0 or pixels.shape[-1] != 4:
        raise ImageError(f"Expected (…, 4) red, green, blue, near infrared, received {pixels.shape}.")
    red, nir = pixels[..., 0].astype(np.float32), pixels[..., 3].astype(np.float32)
    total = nir + red
    return np.divide(nir - red, total, out=np.full(total.shape, np.nan, np.float32), where=total != 0)
