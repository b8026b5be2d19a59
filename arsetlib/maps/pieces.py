"""One task of a prediction: from series to the values of the rasters.

A piece is one ``.npz`` file with the places of its pixels and, for each start, the counts of each product.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from arsetlib import engine, folders, ingest, samples
from arsetlib.checksums import sha256
from arsetlib.ingest.chunk import BadScenes
from arsetlib.maps import sources
from arsetlib.maps.products import NODATA, SCALE, MapError
from arsetlib.models.card import CARD

BATCH = 8192  # pixels to the model at once
PRODUCTS = ("class", "probability", "entropy", "margin", "vegetation")
AHEAD = 2  # batches made while the model works
BAD = "bad-"  # file of the scenes that failed in a task, id → why
OUTCOME = pa.schema([("task", pa.int64())])  # what came of it is looked up in the folder


@dataclass(frozen=True)
class Sent:
    """A model for workers: a folder that all of them see, and a checksum so that each process loads it once."""

    folder: str
    checksum: str

    @classmethod
    def of(cls, trained: Any, folder: Path) -> Sent:
        """Save a model in a folder of its own; an earlier one there is replaced."""
        trained.save(folder)
        return cls(str(folder.resolve()), sha256(folder / CARD))  # the card states the checksums of all parts


@lru_cache(maxsize=1)
def _loaded(sent: Sent):
    """The model of a run, loaded once in each worker process."""
    from arsetlib import models

    return models.load(sent.folder)


def name_of(number: int) -> str:
    """Of a task, in the folder of the run."""
    return f"piece-{number:06d}"


def make_piece(
    folder: folders.Folder, trained: Any, data: sources.Source, starts: list[int], batch: int, number: int
) -> Iterator[pa.RecordBatch]:
    """Predict one task into a file of its own; what is there already is not made again."""
    name = name_of(number)
    if folder.done(name) is None and not folder.failed:
        counts: dict[str, int] = {}
        try:
            with folders.full_disk(folder.path, MapError):
                model = _loaded(trained) if isinstance(trained, Sent) else trained
                parts = _answers(model, data, data.read(number, counts), starts, batch)
                predicted = parts.pop("predicted").tolist()
                folder.put(f"{name}.npz", partial(_save, parts))
                folder.finish(name, [f"{name}.npz"], predicted=predicted, counts=counts)
        except BadScenes as problem:
            folder.put(f"{folders.WORK}/{BAD}{name}.json", json.dumps(problem.reasons))
            if not data.study.scenes.max_bad_share:  # else the others continue, so that all bad scenes are known
                folder.fail(name, f"{data.name(number)}: {problem}")
        except (ingest.IngestError, MapError, ValueError) as problem:  # those of tables and models are ValueErrors
            folder.fail(name, f"{data.name(number)}: {problem}")
    yield pa.record_batch([pa.array([number])], schema=OUTCOME)


def _save(parts: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **parts)


def _answers(trained, data, piece: sources.Piece, starts: list[int], batch: int) -> dict[str, np.ndarray]:
    """Predictions for a piece, encoded as they are stored, for each start."""
    count, classes = len(piece.row), len(trained.study.legend.classes)
    parts = {"row": piece.row, "col": piece.col, "predicted": np.zeros(len(starts), np.int64)}
    for start in starts:
        for product in PRODUCTS:
            shape = (count, classes) if product == "probability" else (count,)
            kind = np.uint8 if NODATA[product] == 255 else np.uint16
            parts[f"{product}_{start}"] = np.full(shape, NODATA[product], kind)
    for i, start, at, windows in made_ahead(windows_of(trained, data, piece, starts, batch)):
        shown = windows.images > 0
        answers = _asked(trained, windows, start)[shown]
        if not np.isfinite(answers).all():
            raise MapError(
                f"The model {trained.name!r} answers with NaN for {int((~np.isfinite(answers)).any(1).sum())} pixels. "
                "Its training went wrong, or its scaler belongs to other data; train it again."
            )
        where = at + np.flatnonzero(shown)
        parts["predicted"][i] += len(where)
        for product, values in encoded(answers).items():
            parts[f"{product}_{start}"][where] = values
        parts[f"vegetation_{start}"][where] = windows.vegetation[shown]
    return parts


def encoded(probability: np.ndarray) -> dict[str, np.ndarray]:
    """(n, K) probabilities as class, probability, entropy and margin in the counts of the rasters.

    Lab: part3_train_and_test.
    """
    classes = probability.shape[1]
    two = np.partition(probability, classes - 2, axis=1)[:, -2:] if classes > 1 else np.c_[0 * probability, probability]
    surprise = -np.sum(probability * np.log(np.maximum(probability, np.float32(1e-12))), axis=1)

    def counts(values: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(values * SCALE), 0, SCALE).astype(np.uint16)

    return {
        "class": probability.argmax(axis=1).astype(np.uint8),
        "probability": counts(probability),
        "entropy": counts(surprise / np.log(max(classes, 2))),
        "margin": counts(two[:, 1] - two[:, 0]),
    }


def windows_of(
    trained: Any, data: sources.Source, piece: sources.Piece, starts: list[int], batch: int
) -> Iterator[tuple[int, int, int, samples.Windows]]:
    """Batches of windows: (number of the start, start, position in the piece, Windows)."""
    study, season, choose = trained.study, trained.study.season, choice_of(trained)
    more = {} if study.channels == study.bands else {"channels": samples.Channels.of(study)}
    firsts = samples.start_days(np.full(len(starts), data.year), np.asarray(starts))
    for at in range(0, len(piece.rows), batch):
        rows = piece.rows[at : at + batch]
        for i, (start, first) in enumerate(zip(starts, firsts.tolist(), strict=True)):
            options = {"choose": choose, "fill": trained.fill, "scaler": trained.scaler, "rows": rows, **more}
            yield i, start, at, samples.window(piece.series, season, first, **options)


def _asked(trained, windows, start: int) -> np.ndarray:
    count = len(windows.images)
    parts = {"series": windows.x, "seen": windows.seen}
    if "day_of_year" in trained.needs:
        parts["day_of_year"] = np.full(count, start, np.int32)
    return np.asarray(trained.predict(inputs_of(trained, parts)))


def made_ahead(items: Iterable) -> Iterator:
    """The same items, made in a thread while the caller works on those before."""
    items = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, None) for _ in range(AHEAD))
        while (item := engine.result(waiting.popleft())) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item


def choice_of(trained: Any) -> str:
    """Choice of one image of a step: no randomness in a map, so random choice in training becomes the clearest."""
    return "clearest" if trained.choose in (None, "random") else trained.choose


def inputs_of(trained: Any, parts: dict) -> Any:
    """What a model takes: the series alone, or a dict where it needs more."""
    return parts["series"] if not trained.needs else {n: parts[n] for n in ("series", *trained.needs)}
