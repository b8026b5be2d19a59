"""What happens at the end of a step or an epoch: back up, stop at NaN, count. Needs Keras.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from arsetlib.training.run import TrainingError, write_json

SHOWN = 5  # rows that a message names


@keras.saving.register_keras_serializable("arsetlib")
class MacroF1(keras.metrics.Metric):
    """F1 of each class, then their plain mean: a rare class counts as much as a common one.

    F1 = 2 TP / (2 TP + FP + FN); a class that neither the truth nor the prediction holds does not count.

    Attributes:
        counts: (K, K) int32, rows = truth, columns = prediction, of all batches since the last reset. After an
            epoch of ``fit`` they are those of the validation windows.
    """

    def __init__(self, classes: int, name: str = "macro_f1", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.classes = classes
        self.counts = self.add_variable((classes, classes), initializer="zeros", name="counts", dtype="int32")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch: y_true (B, K) one-hot, y_pred (B, K) probabilities. Weights are not used."""
        truth = ops.cast(y_true, "float32")
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), self.classes, dtype="float32")
        # A batch's counts are exact in float32: it holds far fewer than 2**24 samples.
        self.counts.assign(self.counts + ops.cast(ops.matmul(ops.transpose(truth), predicted), "int32"))

    def result(self):
        counts = ops.cast(self.counts, "float32")
        hits, both = ops.diagonal(counts), ops.sum(counts, axis=0) + ops.sum(counts, axis=1)
        f1 = 2 * hits / ops.maximum(both, 1.0)
        there = ops.cast(both > 0, "float32")
        return ops.sum(f1 * there) / ops.maximum(ops.sum(there), 1.0)

    def get_config(self):
        return {"classes": self.classes, "name": self.name}


class Epoch(keras.callbacks.Callback):
    """Tells the loader which epoch it is, so that a run which goes on draws what it would have drawn."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.number = epoch


class StopAtNaN(keras.callbacks.Callback):
    """Stops where the loss is no number, and says in which batch.

    ``keras.callbacks.TerminateOnNaN`` ends the training as if it were done; this raises.
    """

    def __init__(self, loader, epoch: Epoch):
        super().__init__()
        self.loader, self.epoch = loader, epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise TrainingError(self._message(float(loss), self.epoch.number, batch))

    def on_epoch_end(self, epoch, logs=None):
        loss = (logs or {}).get("val_loss", 0.0)
        if not math.isfinite(float(loss)):
            raise TrainingError(
                f"The loss of the validation is {loss} after epoch {epoch + 1}: the weights have run away. Use a lower "
                f"learning_rate."
            )

    def _message(self, loss: float, epoch: int, batch: int) -> str:
        parts = [pool.columns for pool in self.loader._rows(epoch, batch)]
        pixel, year = (np.concatenate([np.asarray(p[name]) for p in parts]) for name in ("pixel", "year"))
        x = self.loader.batch(epoch, batch)[0]
        x = x["series"] if isinstance(x, dict) else x
        broken = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
        shown = broken if len(broken) else np.arange(len(pixel))
        named = ", ".join(f"({pixel[i]}, {year[i]})" for i in shown[:SHOWN])
        more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        where = f"The loss is {loss} in epoch {epoch + 1}, step {batch + 1} of {self.loader.steps}"
        if len(broken):
            return (
                f"{where}: {len(broken)} of its {len(pixel)} samples hold values that are no numbers; "
                f"(pixel, year) = {named}{more}. Look at them with `arset check`, and at the scaler."
            )
        return (
            f"{where}. Its {len(pixel)} samples are finite, so the weights ran away before: use a lower learning_rate. "
            f"Rows of the batch (pixel, year): {named}{more}."
        )


class Bar(keras.callbacks.Callback):
    """One line that moves with each step and tells the last epoch."""

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs, self.bar = epochs, None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            steps = self.params["steps"] or 0
            total, done = self.epochs * steps, epoch * steps
            self.bar = tqdm(total=total, initial=done, unit="step", desc="train", disable=None, leave=False)
        self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        shown = ("loss", "val_loss", "val_macro_f1")
        self.bar.set_postfix({n: f"{logs[n]:.3f}" for n in shown if n in (logs or {})})

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()


class Backup(keras.callbacks.BackupAndRestore):
    """Keeps all that the rest of a training hangs on, after each epoch; a killed run goes on and ends the same.

    Keras's own keeps weights and the epoch's number. That is not enough to end the same: how long EarlyStopping has
    waited, its best weights, the random state of dropout and the history count, too. And a kill while it writes
    leaves files of two epochs. Here an epoch is a folder that gets its name when it is complete.

    Must come last in the list of callbacks, so that it sees what the others have made of the epoch.

    Args:
        folder: Where; it is emptied by the caller when the run is finished.
        stopping: The EarlyStopping of this run.
        best: The ModelCheckpoint of this run, or None.
        history: Name → one value an epoch, filled here.
    """

    def __init__(self, folder: Path | None, stopping, best, history: dict[str, list[float]]):
        super().__init__(str(folder or "."), delete_checkpoint=False)
        self.folder, self.stopping, self.best, self.history = folder, stopping, best, history
        self.began = time.perf_counter()

    def on_train_begin(self, logs=None):
        self.began = time.perf_counter()
        kept = sorted(self.folder.glob("epoch-*[0-9]")) if self.folder and self.folder.is_dir() else []
        if kept:
            self._restore(kept[-1])

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        rate = float(value_of(self.model.optimizer.learning_rate))
        values = {**(logs or {}), "learning_rate": rate, "seconds": now - self.began}
        self.began = now
        for name, value in values.items():
            self.history.setdefault(name, []).append(float(value))
        if self.folder:
            self._keep(epoch)

    def _variables(self) -> list:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _keep(self, epoch: int) -> None:
        part, final = self.folder / f"epoch-{epoch + 1:05}.partial", self.folder / f"epoch-{epoch + 1:05}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save(part / "state.npz", [value_of(v) for v in self._variables()])
        stopping = self.stopping
        save(part / "best.npz", stopping.best_weights or [])
        state = {
            "epoch": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "wait": stopping.wait,
            "best": None if stopping.best is None else float(stopping.best),
            "best_epoch": stopping.best_epoch,
            "stopped_epoch": stopping.stopped_epoch,
            "history": self.history,
        }
        write_json(part / "state.json", state)
        shutil.rmtree(final, ignore_errors=True)
        part.replace(final)
        for old in self.folder.glob("epoch-*"):
            if old != final:
                shutil.rmtree(old)

    def _restore(self, folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        self.model.optimizer.build(self.model.trainable_variables)
        kept, variables = load(folder / "state.npz"), self._variables()
        if [a.shape for a in kept] != [tuple(v.shape) for v in variables]:
            raise TrainingError(f"{folder} holds the state of another network. Delete {self.folder.parent}.")
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
        stopping = self.stopping
        stopping.wait, stopping.best = state["wait"], state["best"]
        stopping.best_epoch, stopping.stopped_epoch = state["best_epoch"], state["stopped_epoch"]
        stopping.best_weights = load(folder / "best.npz") or None
        if self.best is not None:
            self.best.best = state["best"]
        self.history.update(state["history"])
        # A run that was killed between stopping and saving has no epoch left to do.
        self.model._initial_epoch = self.params["epochs"] if state["stopped"] else state["epoch"]


def value_of(variable) -> np.ndarray:
    """Its value, on one device or mirrored on several."""
    return ops.convert_to_tensor(variable).numpy()


def save(file: Path, arrays: list[np.ndarray]) -> None:
    with file.open("wb") as out:
        np.savez(out, **{f"{i:05}": a for i, a in enumerate(arrays)})
        out.flush()
        os.fsync(out.fileno())


def load(file: Path) -> list[np.ndarray]:
    with np.load(file, allow_pickle=False) as held:
        return [held[name] for name in sorted(held.files)]
