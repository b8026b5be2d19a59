"""What TensorBoard shows of a training: curves, graph, histograms, a confusion matrix each epoch, settings, a profile.

    tensorboard --logdir runs          then open the address it prints

Scalars are the losses and metrics of each epoch; Graphs the computation; Histograms how weights move; Images the
confusion matrix of the validation windows; Text and HParams the settings; Profile, where asked for, the time of each
operation of some steps and how long a step waited for input.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np


def boards(logs: Path, plan: dict, legend: Any, loop: Any, profile: tuple[int, int] | int | None) -> list:
    """The callbacks that write for TensorBoard.

    Args:
        logs: Folder of the event files.
        plan: What the training was asked for, JSON values.
        legend: Names and order of the classes.
        loop: The ``training.loop.Loop``, whose ``counts`` are the confusion matrix of the validation.
        profile: Steps to profile, first and last; None for none.
    """
    shown = keras.callbacks.TensorBoard(
        log_dir=str(logs), histogram_freq=1, write_graph=True, update_freq="epoch", profile_batch=profile or 0
    )
    steps = [StepTrace()] if profile else []
    return [shown, *steps, Settings(logs / "settings", plan), ConfusionImage(logs / "validation", legend, loop)]


class StepTrace(keras.callbacks.Callback):
    """Marks where a step begins and ends, so that the profiler can tell how long it waited for input.

    Keras's TensorBoard callback starts and stops the profiler but marks no steps: 'no step time measured'.
    """

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        import tensorflow as tf

        self.trace = tf.profiler.experimental.Trace("train", step_num=batch, _r=1)
        self.trace.__enter__()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.trace.__exit__(None, None, None)


class Settings(keras.callbacks.Callback):
    """Writes the settings as text and as hyper-parameters, so that trainings can be sorted by them."""

    def __init__(self, logs: Path, plan: dict) -> None:
        super().__init__()
        self.logs, self.plan = logs, plan

    def on_train_begin(self, logs: dict | None = None) -> None:
        import tensorflow as tf
        from tensorboard.plugins.hparams import api as hparams

        lines = [f"| {name} | `{json.dumps(value)}` |" for name, value in self.plan.items()]
        writer = tf.summary.create_file_writer(str(self.logs))
        with writer.as_default():
            tf.summary.text("run", "\n".join(["| setting | value |", "|---|---|", *lines]), step=0)
            hparams.hparams({n: v for n, v in self.plan.items() if isinstance(v, int | float | str)})
        writer.close()


class ConfusionImage(keras.callbacks.Callback):
    """Writes the confusion matrix of the validation windows as a picture, each epoch."""

    def __init__(self, logs: Path, legend: Any, loop: Any) -> None:
        super().__init__()
        self.logs, self.names, self.loop = logs, legend.names(), loop

    def on_train_begin(self, logs: dict | None = None) -> None:
        import tensorflow as tf

        self.writer = tf.summary.create_file_writer(str(self.logs))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        import tensorflow as tf

        png = picture(self.loop.counts.reshape(len(self.names), -1), self.names)
        with self.writer.as_default():
            tf.summary.image("confusion", tf.image.decode_png(png, channels=3)[None], step=epoch)
        self.writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()


def picture(counts: np.ndarray, names: list[str]) -> bytes:
    """PNG of a confusion matrix whose rows are shares of the truth: the diagonal is recall.

    Args:
        counts: (K, K) integers, rows = truth.
        names: K names.
    """
    from matplotlib.figure import Figure

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.55 * len(names)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*share.shape):
        colour = "white" if share[i, j] > 0.5 else "black"
        axes.text(j, i, f"{share[i, j]:.0%}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="truth", title="Share of the truth")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    return out.getvalue()
