"""What a folder of converted images holds: index.json for reading by eye, records.parquet for one row an image.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import folders
from arsetlib.fields.classes import CLASSES, ImageError

SCHEMA = "arsetlib.fields 1"
INDEX, TABLE, ASKED = "index.json", "records.parquet", "_conversion.json"  # the last: plan of earlier versions
FORMS = {"tfrecord": ".tfrecord", "parquet": ".parquet", "directory": ""}
PARTS = ("rgb", "nir", "valid")  # of an image, as they are stored
NO_CLASS = "no_anomaly"  # folder of the images without a class
SUFFIXES = (".rgb.jpg", ".nir.jpg", ".valid.png")


@dataclass(frozen=True)
class Shard:
    """One file, or one run of files of a directory: its name, images, bytes and SHA-256."""

    file: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Stored:
    """Images and where they lie.

    Attributes:
        folder: Where.
        form: ``tfrecord``, ``parquet``, ``directory``, or ``files`` for images as they were found.
        encoding: ``jpeg`` or ``raw``.
        side: Pixels of a side.
        names, fields: (N,) str.
        labels: (N, 9) uint8.
        shards: The files.
        shard: (N,) which file.
        start: (N,) byte at which a record starts in a TFRecord file, its row in a Parquet file.
        sizes: (N, 3) bytes of the two pictures and of the mask of valid pixels, 0 where all are.
        homes: (N,) str, class folder of an image in a directory.
        licence: Who may use the images for what.
        simulated: Whether they are.
        identity: SHA-256 of what the images are, whatever their form.
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

    def place(self, number: int) -> str:
        """Where an image lies, for a message."""
        name = str(self.names[number])
        if self.form == "directory":
            return f"{self.folder / str(self.homes[number]) / name}{SUFFIXES[0]}"
        shard = int(self.shard[number])
        first = int(np.searchsorted(self.shard, shard))
        return f"{self.folder / self.shards[shard].file}, record {number - first} ({name})"

    def files(self, number: int) -> list[Path]:
        """The files of an image in a directory."""
        home = self.folder / str(self.homes[number])
        return [
            home / f"{self.names[number]}{suffix}"
            for suffix, size in zip(SUFFIXES, self.sizes[number], strict=True)
            if size
        ]


def rarest(labels: np.ndarray) -> np.ndarray:
    """(N,) str: of each image the class that is rarest among all, or that it has none."""
    order = np.argsort(labels.sum(0), kind="stable")
    first = labels[:, order].argmax(1)
    return np.where(labels.any(1), np.array(CLASSES)[order[first]], NO_CLASS)


def save(stored: Stored, about: dict) -> None:
    """Write the table of images, then index.json."""
    table = pa.table(
        {
            "name": stored.names,
            "field": stored.fields,
            **{name: stored.labels[:, k] for k, name in enumerate(CLASSES)},
            "shard": stored.shard.astype(np.int32),
            "start": stored.start.astype(np.int64),
            **{f"{part}_bytes": stored.sizes[:, k].astype(np.int64) for k, part in enumerate(PARTS)},
            **({} if stored.homes is None else {"folder": stored.homes}),
        }
    )
    folders.put(stored.folder / TABLE, lambda half: pq.write_table(table, half))
    document = {
        "schema": SCHEMA,
        "form": stored.form,
        "encoding": stored.encoding,
        "images": len(stored),
        "side": stored.side,
        "classes": dict(zip(CLASSES, stored.labels.sum(0, dtype=int).tolist(), strict=True)),
        "without a class": int((~stored.labels.any(1)).sum()),
        "with several": int((stored.labels.sum(1) > 1).sum()),
        "simulated": stored.simulated,
        "licence": stored.licence,
        **about,
        "identity": stored.identity,
        "records": {"file": TABLE, "sha256": digest(stored.folder / TABLE)},
        "shards": [vars(shard) for shard in stored.shards],
    }
    folders.put_json(stored.folder / INDEX, document)


def is_conversion(folder: Path) -> bool:
    """Whether images were converted to a folder, or begun to be."""
    if (folder / INDEX).is_file() or (folder / ASKED).is_file():
        return True
    return "encoding" in (folders.Folder(folder).plan() or {})


def load(folder: str | Path) -> Stored:
    """Read the index of a converted folder and see that its files are there, whole and no others.

    File sizes are compared; ``verify`` reads the files too.

    Raises:
        ImageError: No or another index, a file that is missing, unknown, or of another size.
    """
    folder = Path(folder)
    file = folder / INDEX
    if (begun := is_conversion(folder)) and not (file.is_file() and folders.state(folder) != "unfinished"):
        raise ImageError(f"The conversion to {folder} has not finished. Call fields.convert again to go on with it.")
    if not begun:
        raise ImageError(f"{folder} has no {INDEX}. Give a folder that fields.convert made, or chips.")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ImageError(f"{file} has the schema {document['schema']!r}, expected {SCHEMA!r}. Convert again.")
        if digest(folder / TABLE) != document["records"]["sha256"]:
            raise ImageError(
                f"{folder / TABLE} was changed since {INDEX} was written. Convert again to another folder."
            )
        table = pq.read_table(folder / TABLE)
        column = {name: table[name].to_numpy() for name in table.column_names}
        stored = Stored(
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
    if stored.form == "directory":
        _compare_directory(stored)
    else:
        _compare_shards(stored)
    return stored


def _compare_shards(stored: Stored) -> None:
    for shard in stored.shards:
        file = stored.folder / shard.file
        if not file.is_file():
            raise ImageError(f"{file} is missing: {INDEX} names it with {shard.records} images. Copy it again.")
        size = file.stat().st_size
        if size != shard.bytes:
            what = "cut short" if size < shard.bytes else "too long"
            raise ImageError(f"{file} is {what}: {size:,} bytes, expected {shard.bytes:,}. Copy it again.")
    known = {shard.file for shard in stored.shards}
    strange = sorted(f.name for f in stored.folder.glob(f"*{FORMS[stored.form]}") if f.name not in known | {TABLE})
    if strange:
        raise ImageError(f"{stored.folder / strange[0]} is missing from {INDEX}. Move it elsewhere, or convert again.")


def _compare_directory(stored: Stored) -> None:
    for home in np.unique(stored.homes).tolist():
        place = stored.folder / home
        rows = np.flatnonzero(stored.homes == home)
        there = set(os.listdir(place)) if place.is_dir() else set()
        if not there:
            raise ImageError(f"{place} is a class folder without images, expected {len(rows)}. Copy it again.")
        expected = {file.name for row in rows for file in stored.files(row)}
        if expected - there:
            raise ImageError(f"{place / min(expected - there)} is missing: {INDEX} counts it. Copy it again.")
        if there - expected:
            raise ImageError(f"{place / min(there - expected)} is missing from {INDEX}. Move it elsewhere.")
    folders = {entry.name for entry in os.scandir(stored.folder) if entry.is_dir() and not entry.name.startswith(".")}
    if folders - set(stored.homes.tolist()):
        strange = stored.folder / min(folders - set(stored.homes.tolist()))
        raise ImageError(f"{strange} is no class folder of {INDEX}. Move it elsewhere.")


def verify(folder: str | Path) -> int:
    """Read all bytes of a converted folder and compare them with the checksums of its index.

    Returns:
        How many images it holds, all of them whole.

    Raises:
        ImageError: As ``load``; and the first file that was changed.

    Lab: case_fields.
    """
    stored = load(folder)
    for number, shard in enumerate(stored.shards):
        files = [stored.folder / shard.file]
        if stored.form == "directory":
            files = [file for row in np.flatnonzero(stored.shard == number) for file in stored.files(row)]
        if digest(*files) != shard.sha256:
            where = str(files[0]) if len(files) == 1 else f"One of {files[0]} … {files[-1]}"
            raise ImageError(f"{where} was changed since it was written. Copy it again, or convert again.")
    return len(stored)


def digest(*files: Path) -> str:
    """SHA-256 of files, one after the other."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as source:
            while piece := source.read(1 << 20):
                found.update(piece)
    return found.hexdigest()
