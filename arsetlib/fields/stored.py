"""A folder of converted images: index.json to read by eye, records.parquet with one row per image.

Lab: case_fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import copies, folders
from arsetlib.checksums import sha256
from arsetlib.fields.classes import CLASSES, ImageError

SCHEMA = "arsetlib.fields 1"
INDEX, TABLE = "index.json", "records.parquet"
FORMS = ("tfrecord", "parquet", "directory")
PARTS = ("rgb", "nir", "valid")  # of an image, as they are stored
SUFFIXES = (".rgb.jpg", ".nir.jpg", ".valid.png")  # of their files in a directory
SUFFIXES_IN_USE = (".tfrecord", ".parquet", ".jpg", ".png")
NO_CLASS = "no_anomaly"  # folder of the images without a class


@dataclass(frozen=True)
class Shard:
    """One file, or a run of image files in a directory: its name, images, bytes, and the SHA-256 of one file."""

    file: str
    records: int
    bytes: int
    sha256: str | None


@dataclass(frozen=True, repr=False)
class Stored:
    """Converted images, and where each is.

    Attributes:
        folder: Where.
        form: ``tfrecord``, ``parquet`` or ``directory``.
        encoding: ``jpeg`` or ``raw``.
        side: Pixels of a side.
        names, fields: (N,) str.
        labels: (N, 9) uint8.
        shards: The files.
        shard: (N,) which file.
        start: (N,) byte at which a record starts in a TFRecord file, its row in a Parquet file.
        sizes: (N, 3) bytes of the two pictures and of the mask of valid pixels, 0 where all are valid.
        homes: (N,) str, class folder of an image in a directory; None in other forms.
        licence: What the images may be used for.
        simulated: Whether they are.
        identity: SHA-256 of what the images are, the same for every form.
    """

    folder: Path
    form: str
    encoding: str
    side: int
    names: np.ndarray
    fields: np.ndarray
    labels: np.ndarray
    shards: tuple[Shard, ...]
    shard: np.ndarray
    start: np.ndarray
    sizes: np.ndarray
    homes: np.ndarray | None
    licence: str
    simulated: bool
    identity: str

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Stored({len(self):,} images, {self.form}, {self.side} px, {len(self.shards)} shards, {self.folder})"

    def place(self, number: int) -> str:
        """Where an image is, for a message."""
        if self.form == "directory":
            return str(self.paths(number)[0])
        shard = int(self.shard[number])
        first = int(np.searchsorted(self.shard, shard))
        return f"{self.folder / self.shards[shard].file}, record {number - first} ({self.names[number]})"

    def paths(self, number: int) -> tuple[Path, Path, Path]:
        """The files of an image in a directory; the last, of valid pixels, is not there where all are valid."""
        home, name = self.folder / str(self.homes[number]), str(self.names[number])
        return tuple(home / f"{name}{suffix}" for suffix in SUFFIXES)


def rarest(labels: np.ndarray) -> np.ndarray:
    """(N,) str: of each image the class that is rarest among all, or ``no_anomaly``."""
    order = np.argsort(labels.sum(0), kind="stable")
    first = labels[:, order].argmax(1)
    return np.where(labels.any(1), np.array(CLASSES)[order[first]], NO_CLASS)


def save(images: Stored, about: dict) -> None:
    """Write the table of images, then index.json with ``about`` in it."""
    columns = {
        "name": images.names,
        "field": images.fields,
        **dict(zip(CLASSES, images.labels.T, strict=True)),
        "shard": images.shard.astype(np.int32),
        "start": images.start.astype(np.int64),
        **{f"{part}_bytes": images.sizes[:, k].astype(np.int64) for k, part in enumerate(PARTS)},
        **({} if images.homes is None else {"folder": images.homes}),
    }
    table = pa.table({name: np.ascontiguousarray(column) for name, column in columns.items()})
    folders.put(images.folder / TABLE, lambda half: pq.write_table(table, half))
    document = {
        "schema": SCHEMA,
        "form": images.form,
        "encoding": images.encoding,
        "images": len(images),
        "side": images.side,
        "classes": dict(zip(CLASSES, images.labels.sum(0, dtype=int).tolist(), strict=True)),
        "without a class": int((~images.labels.any(1)).sum()),
        "with several": int((images.labels.sum(1) > 1).sum()),
        "simulated": images.simulated,
        "licence": images.licence,
        **about,
        "identity": images.identity,
        "records": {"file": TABLE, "sha256": sha256(images.folder / TABLE)},
        "shards": [vars(shard) for shard in images.shards],
    }
    folders.put_json(images.folder / INDEX, document)


def is_conversion(folder: Path) -> bool:
    """Whether a folder holds a conversion, finished or not."""
    return (folder / INDEX).is_file() or "encoding" in (folders.Folder(folder).plan() or {})


def load(folder: str | Path) -> Stored:
    """Read the index of a converted folder and compare it with the names and sizes of the files.

    ``verify`` reads the files too. Files of an object store are copied into the cache of this machine first, once.

    Raises:
        ImageError: No index or another one, a file that is missing, unknown, or of another size.
    """
    folder = folders.place(folder)
    file = folder / INDEX
    if not is_conversion(folder):
        raise ImageError(f"{folder} has no {INDEX}. Give a folder that fields.convert wrote, or chips.")
    if not file.is_file() or folders.state(folder) == "unfinished":
        raise ImageError(f"The conversion to {folder} has not finished. Call fields.convert again to go on with it.")
    folder = copies.fetched(folder)  # readers of images need files of this machine
    file = folder / INDEX
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ImageError(f"{file} has the schema {document['schema']!r}, expected {SCHEMA!r}. Convert again.")
        if sha256(folder / TABLE) != document["records"]["sha256"]:
            raise ImageError(
                f"{folder / TABLE} was changed since {INDEX} was written. Convert again to another folder."
            )
        table = pq.read_table(folder / TABLE)
        column = {name: table[name].to_numpy() for name in table.column_names}
        images = Stored(
            folder, document["form"], document["encoding"], document["side"],
            column["name"].astype(str), column["field"].astype(str),
            np.stack([column[name] for name in CLASSES], axis=1).astype(np.uint8),
            tuple(Shard(**shard) for shard in document["shards"]),
            column["shard"], column["start"], np.stack([column[f"{part}_bytes"] for part in PARTS], axis=1),
            column["folder"].astype(str) if "folder" in column else None,
            document["licence"], document["simulated"], document["identity"],
        )  # fmt: skip
    except FileNotFoundError as problem:
        raise ImageError(f"{problem.filename} is missing. Copy the folder again, or convert again.") from None
    except (KeyError, TypeError, ValueError, pa.ArrowException) as problem:
        if isinstance(problem, ImageError):
            raise
        raise ImageError(f"{file} is damaged ({problem!r}). Convert again to another folder.") from None
    _compare(images)
    return images


def verify(folder: str | Path) -> int:
    """Read all bytes of a converted folder and compare them with the checksums.

    Returns:
        How many images it holds, all of them unchanged.

    Raises:
        ImageError: As ``load``; and the first file that was changed.

    Lab: case_fields.
    """
    images = load(folder)
    _compare(images, deep=True)
    return len(images)


def _compare(images: Stored, deep: bool = False) -> None:
    """Compare the files of a folder with its manifest, with ``deep`` their bytes too, and look for unknown files."""
    folder, manifest = images.folder, folders.Folder(images.folder).manifest()
    if manifest is None:
        raise ImageError(f"{folder / folders.MANIFEST} is missing or damaged. Copy the folder again, or convert again.")
    seals = {key: seal for part in manifest["parts"].values() for key, seal in part["files"].items()}
    for problem in folders.differences(folder, seals, deep):
        raise ImageError(f"{problem}. Copy it again, or convert again to another folder.")
    homes = () if images.homes is None else set(images.homes.tolist())
    for path in sorted(folder.rglob("*")):
        key = path.relative_to(folder).as_posix()
        if path.suffix in SUFFIXES_IN_USE and key not in seals and key != TABLE:
            raise ImageError(f"{path} is not in {INDEX}. Move it elsewhere, or convert again.")
        if path.parent == folder and path.is_dir() and key not in homes and not key.startswith((".", "_")):
            raise ImageError(f"{path} is not a class folder of {INDEX}. Move it elsewhere.")
