"""A run's folder: what it was asked for, what it has reached, and whether it is done.

    plan.json   what was asked for; written first, so that nothing else is mixed in later
    backup/     the last finished epoch, from which a killed run goes on
    best.keras  the best network so far
    logs/       TensorBoard
    model/      the trained model, see ``models.Trained.save``
    run.json    plan, history and notes; written last, so only a finished run has it

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from arsetlib import folders
from arsetlib.errors import ArsetError
from arsetlib.samples import Rows
from arsetlib.study import Study

LOCK = folders.LOCK


class TrainingError(ArsetError, RuntimeError):
    """A training cannot begin, go on, or end well; the message tells why and what to do."""


class Folder:
    """The folder of one run.

    Args:
        path: Where; None keeps nothing.
        plan: All that decides the outcome, as JSON values.

    Raises:
        TrainingError: The folder holds another run, or files that are none of ours.
    """

    def __init__(self, path: str | Path | None, plan: dict):
        self.path = None if path is None else Path(path)
        self.plan = json.loads(json.dumps(plan, default=_plain))
        if self.path is None:
            return
        held = self._held()
        if self.finished:
            (self.path / LOCK).unlink(missing_ok=True)  # of a run that was killed just after its end
        else:
            self._hold()
        if held is None:
            if any(not folders.is_litter(f.name) for f in self.path.iterdir()):
                self.close()
                raise TrainingError(
                    f"Expected an empty folder or a run, but {self.path} holds other files. Name another."
                )
            write_json(self.path / "plan.json", self.plan)
        elif (changes := _changes(held, self.plan)) and not self._begun():
            shutil.rmtree(self.path / "logs", ignore_errors=True)
            write_json(self.path / "plan.json", self.plan)  # the call before was refused, or ended at once
        elif changes:
            raise TrainingError(
                f"{self.path} holds another run: {'; '.join(changes)}. Name another folder, ask for the same as it "
                f"did, or delete the folder to begin anew."
            )

    def _hold(self) -> None:
        """Keep other processes out until the run is finished or this process ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(str(self.path / LOCK), timeout=0, is_singleton=True)  # this process may try again
        try:
            self._lock.acquire()
        except Timeout:
            raise TrainingError(
                f"Another process trains in {self.path}. Wait until it ends, or name another."
            ) from None
        folders.clear(self.path)
        for left in (self.path / "model.partial", *self.path.glob(".model*.partial*")):  # of a run killed at its end
            shutil.rmtree(left, ignore_errors=True)

    def _held(self) -> dict | None:
        file = self.path / "plan.json"
        if self.path.is_file() or (file.exists() and not file.is_file()):
            raise TrainingError(f"Expected a folder for the run, but {self.path} is a file.")
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise TrainingError(f"{file} cannot be read ({error}). Delete {self.path} and train again.") from error

    def _begun(self) -> bool:
        """Whether an epoch was finished, or a model kept."""
        return any((self.path / name).exists() for name in ("backup", "best.keras", "model", "run.json"))

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def finished(self) -> bool:
        return self.path is not None and (self.path / "run.json").is_file()

    def finish(self, trained) -> None:
        """Keep the trained model and say that the run is done, in this order."""
        if self.path is None:
            return
        if (self.path / "model").exists():
            shutil.rmtree(self.path / "model")
        trained.save(self.path / "model")
        shutil.rmtree(self.path / "backup", ignore_errors=True)
        report = {"status": "finished", "plan": self.plan, "history": trained.history, "notes": trained.notes}
        write_json(self.path / "run.json", report)
        self.close()

    def close(self) -> None:
        """Let other processes in."""
        if self.path is not None and hasattr(self, "_lock"):
            (self.path / LOCK).unlink(missing_ok=True)
            self._lock.release(force=True)


def says_full(fit):
    """A ``fit`` that says of a full disk which one it is and how to go on."""

    @functools.wraps(fit)
    def wrapped(*args, folder=None, **options):
        if folder is None:
            return fit(*args, **options)
        with folders.room(folder, TrainingError):
            return fit(*args, folder=folder, **options)

    return wrapped


def write_json(file: Path, value) -> None:
    """All of it or nothing: a kill leaves no half file."""
    folders.put(file, json.dumps(value, indent=1, default=_plain) + "\n")


def digest(rows: Rows) -> str:
    """Hex digest of which rows these are and what they are labelled."""
    parts = hashlib.sha256()
    for name in ("pixel", "year", "label_code"):
        parts.update(np.ascontiguousarray(rows.column(name)).tobytes())
    return parts.hexdigest()[:16]


def digest_arrays(arrays) -> str:
    """Hex digest of a model's weights."""
    parts = hashlib.sha256()
    for array in arrays:
        parts.update(np.ascontiguousarray(array).tobytes())
    return parts.hexdigest()[:16]


def facts(study: Study) -> dict:
    """What of a study decides a training: season, channels and legend, not names and colours."""
    legend = [[c.key, c.codes, c.crop] for c in study.legend.classes]
    season = asdict(study.season)
    return {"key": study.key, "season": season, "channels": study.channels, "legend": legend} | {
        "excluded": study.legend.excluded
    }


def _changes(held: dict, asked: dict) -> list[str]:
    names = [name for name in {**held, **asked} if held.get(name) != asked.get(name)]
    return [f"{name} was {_short(held.get(name))}, now {_short(asked.get(name))}" for name in names]


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "get_config"):
        return {type(value).__name__: {k: _plain_config(v) for k, v in value.get_config().items()}}
    return repr(value)


def _plain_config(value):
    return value.item() if hasattr(value, "item") else value
