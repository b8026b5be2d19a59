"""The folder of one training: what was asked for, the last finished epoch while it runs, the model when it is done.

    _plan.json       what was asked for
    _work/backup.npz the last finished epoch, from which a killed training continues
    logs/            TensorBoard; for an object store it writes on this machine, and its files are put after each epoch
    model/           the trained model, see ``models.load``
    _manifest.json   put last: only a finished training has it

Lab: part3_train_and_test.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import folders
from arsetlib.checksums import digest_arrays
from arsetlib.samples import Rows
from arsetlib.study import Study
from arsetlib.training.plan import TrainingError

MODEL, LOGS, BACKUP = "model", "logs", f"{folders.WORK}/backup.npz"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training that this process has claimed; ``path`` is None where nothing is kept."""

    path: Path | None = None
    folder: folders.Folder | None = None
    logs: Path | None = None  # where TensorBoard writes, on this machine
    sizes: dict[str, int] = field(default_factory=dict)  # of its files that were put

    @property
    def finished(self) -> bool:
        """Whether the training was done before."""
        return self.folder is not None and self.folder.manifest() is not None

    @property
    def backup(self) -> Path | None:
        """File of the last finished epoch."""
        return None if self.path is None else self.path / BACKUP

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.path / MODEL

    def keep_logs(self) -> None:
        """Put what TensorBoard wrote since the last call, where it does not write into the folder itself."""
        if self.path is None or self.logs == self.path / LOGS:
            return
        for file in sorted(self.logs.rglob("*")):
            key = file.relative_to(self.logs).as_posix()
            if file.is_file() and self.sizes.get(key) != (size := file.stat().st_size):
                self.folder.put(f"{LOGS}/{key}", file.read_bytes())
                self.sizes[key] = size

    def finish(self, trained: Any) -> None:
        """Save the trained model and publish the folder, in this order."""
        if self.folder is None:
            return
        self.keep_logs()
        trained.save(self.model)
        self.folder.finish(MODEL, [f"{MODEL}/{file.name}" for file in sorted(self.model.iterdir())])
        self.folder.publish(best_epoch=trained.notes.get("best_epoch"))


@contextmanager
def claimed(path: str | Path | None, plan: dict) -> Iterator[RunFolder]:
    """The folder of one training: new, begun by the same call, or finished by it. Other processes are kept out.

    Args:
        path: Where, also in an object store (``s3://…``); None keeps nothing.
        plan: All that decides the outcome.

    Raises:
        TrainingError: The folder holds another training or other files; another process trains there; the disk is
            full.
    """
    if path is None:
        yield RunFolder()
        return
    path = folders.place(path)
    if (path / "plan.json").is_file() and not (path / folders.PLAN).exists():
        raise TrainingError(
            f"{path} holds a training of an earlier version of this library, which this one cannot continue. "
            f"If it was finished, models.load({str(path)!r}) reads its model. Name another folder, or delete this one."
        )

    def adapt(earlier: dict) -> list | None:
        """A call that ended before its first epoch leaves the folder to the next."""
        return None if (path / BACKUP).exists() else []

    claim = folders.claim(path, json_values(plan), [MODEL], what="training", error=TrainingError, adapt=adapt)
    with claim as folder, ExitStack() as stack:
        logs = path / LOGS if folders.on_disk(path) else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = RunFolder(path, folder, logs)
        if not run.finished and not run.backup.exists():
            for key in folder.keys(LOGS):  # of a call that ended before its first epoch
                folder.delete(key)
        yield run


def json_values(plan: dict) -> dict:
    """A plan as JSON values."""
    return json.loads(json.dumps(plan, default=_json_value))


def digest(rows: Rows, columns: Sequence[str] = ("pixel", "year", "label_code")) -> str:
    """Short SHA-256 of which rows these are and of their labels."""
    return digest_arrays(rows.column(name) for name in columns)[:16]


def identity_of(model: Any) -> dict:
    """What tells one given model from another: its name and its weights."""
    if hasattr(model, "get_weights"):
        trainable = [bool(layer.trainable) for layer in model.layers]
        return {"name": model.name, "weights": digest_arrays(model.get_weights())[:16], "trainable": trainable}
    return {"name": model.name, "options": model.options}


def facts(study: Study) -> dict:
    """What of a study decides a training: season, channels and legend, not names and colours."""
    legend = [[c.key, c.codes, c.crop] for c in study.legend.classes]
    season = asdict(study.season)
    return {"key": study.key, "season": season, "channels": study.channels, "legend": legend} | {
        "excluded": study.legend.excluded
    }


def _json_value(value):
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if folders.is_place(value):
        return str(value)
    if hasattr(value, "get_config"):
        return {type(value).__name__: {k: getattr(v, "item", lambda v=v: v)() for k, v in value.get_config().items()}}
    return repr(value)
