"""What happens at the end of an epoch: show it, and keep all that the rest of the training depends on. Needs Keras.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from arsetlib import folders
from arsetlib.training.plan import TrainingError

SHOWN = ("loss", "accuracy", "macro_f1", "mean_iou")


class Progress(keras.callbacks.Callback):
    """A bar that moves with each step and shows the scores of the last epoch.

    Args:
        lines: Print one line for each epoch, too.
    """

    def __init__(self, lines: bool = False) -> None:
        super().__init__()
        self.lines = lines
        self.bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        epochs, steps = self.params["epochs"], self.params["steps"] or 0
        if self.bar is None:
            options = {"unit": "step", "desc": "train", "disable": None, "leave": False}
            self.bar = tqdm(total=epochs * steps, initial=epoch * steps, **options)
        self.bar.set_description(f"epoch {epoch + 1}/{epochs}")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        scores = {side + name: logs[side + name] for name in SHOWN for side in ("", "val_") if side + name in logs}
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in scores.items()})
        if self.lines:
            text = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            tqdm.write(f"epoch {epoch + 1}/{self.params['epochs']}: {text}")  # above the bar

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.bar is not None:
            self.bar.close()


class KeepLogs(keras.callbacks.Callback):
    """Puts the files of TensorBoard into the folder of a training after each epoch, see ``RunFolder.keep_logs``."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.run.keep_logs()


class Backup:
    """Saves everything needed to resume after each epoch: weights, optimiser, early stopping, random state, history.

    Keras's own BackupAndRestore saves weights and the number of the epoch. With those alone a training that was killed
    ends with other weights: how long EarlyStopping has waited, its best weights and the random state of dropout are
    lost. Here all of it is one file, which is put whole after each epoch.

    Args:
        file: Where; None keeps nothing.
        stopping: The EarlyStopping of this training.
        writes: Whether this process writes; of several workers only the first does.
    """

    def __init__(self, file: Path | None, stopping: Any, writes: bool = True) -> None:
        self.file, self.stopping, self.writes = file, stopping, writes

    @property
    def epochs(self) -> int:
        """Epochs that are finished, as far as the file knows."""
        return self._state()["epoch"] if self.file is not None and self.file.is_file() else 0

    def keep(self, model: Any, epoch: int, history: dict[str, list[float]]) -> None:
        """Save a training after its ``epoch``-th epoch."""
        if self.file is None or not self.writes:
            return
        stopping, best = self.stopping, self.stopping.best_weights or []
        state = {
            "epoch": epoch,
            "stopped": bool(model.stop_training),
            "wait": stopping.wait,
            "best": None if stopping.best is None else float(stopping.best),
            "best_epoch": stopping.best_epoch,
            "stopped_epoch": stopping.stopped_epoch,
            "history": history,
        }
        arrays = {f"now-{i:05}": value_of(v) for i, v in enumerate(_variables(model))}
        arrays |= {f"best-{i:05}": value for i, value in enumerate(best)}
        arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)

        def write(file: Path) -> None:
            with file.open("wb") as out:
                np.savez(out, **arrays)

        folders.put(self.file, write)

    def restore(self, model: Any) -> dict[str, list[float]]:
        """Put a model, its optimiser and EarlyStopping into the state of the last finished epoch.

        Returns:
            The history so far; empty where there is no backup.

        Raises:
            TrainingError: The backup is of another network.
        """
        if not self.epochs:
            return {}
        model.optimizer.build(model.trainable_variables)
        variables, state, stopping = _variables(model), self._state(), self.stopping
        with self.file.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            now, best = ([saved[n] for n in sorted(saved.files) if n.startswith(kind)] for kind in ("now-", "best-"))
        if [a.shape for a in now] != [tuple(v.shape) for v in variables]:
            raise TrainingError(
                f"{self.file} holds the state of another network, or of another version of this library. "
                f"Delete {self.file.parents[1]} and train again."
            )
        for variable, value in zip(variables, now, strict=True):
            variable.assign(value)
        stopping.wait, stopping.best, stopping.best_weights = state["wait"], state["best"], best or None
        stopping.best_epoch, stopping.stopped_epoch = state["best_epoch"], state["stopped_epoch"]
        model.stop_training = state["stopped"]  # killed between its last epoch and the saving of the model
        return state["history"]

    def _state(self) -> dict:
        with self.file.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return json.loads(saved["state"].tobytes())


def _variables(model) -> list:
    return [*model.variables, *model.optimizer.variables]


def value_of(variable: Any) -> np.ndarray:
    """The value of a variable, on one device or mirrored on several."""
    return ops.convert_to_numpy(ops.convert_to_tensor(variable))
