"""What TensorBoard shows of a training: curves, graph, histograms, a confusion matrix each epoch, settings, a profile.

    tensorboard --logdir runs          then open the address it prints

Scalars are the losses and metrics of each epoch; Graphs the computation; Histograms how weights move; Images the
confusion matrix of the validation windows; Text and HParams the settings; Profile, where asked for, the time of each
operation of some steps and how long a step waited for input.

Graphs and Profile need TensorFlow, by Keras's own callback. All else is written by TensorBoard's writer of event files,
which needs none: on JAX and PyTorch scalars and histograms, too.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import importlib.util
import io
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from arsetlib.extras import install
from arsetlib.samples.backends import backend
from arsetlib.translation import _


def boards(logs: Path, plan: dict, legend: Any, loop: Any, profile: tuple[int, int] | int | None) -> list:
    """The callbacks that write for TensorBoard.

    Args:
        logs: Folder of the event files.
        plan: What the training was asked for, JSON values.
        legend: Names and order of the classes; None where nothing is classified.
        loop: The ``training.loop.Loop``, whose ``counts`` are the confusion matrix of the validation.
        profile: Steps to profile, first and last; None for none.
    """
    if importlib.util.find_spec("tensorboard") is None:
        print(
            _("TensorBoard is not installed, so no curves are written. To have them: {command}").format(
                command=install("train")
            )
        )
        return []
    shown: list = [Settings(logs / "settings", plan)]
    if legend is not None:
        shown.append(ConfusionImage(logs / "validation", legend, loop))
    if backend() != "tensorflow":
        if profile:
            print(
                _("A profile is written with TensorFlow only; this training runs on {backend}.").format(
                    backend=backend()
                )
            )
        return [Curves(logs), *shown]
    curves = keras.callbacks.TensorBoard(
        log_dir=str(logs), histogram_freq=1, write_graph=True, update_freq="epoch", profile_batch=profile or 0
    )
    return [curves, *([StepTrace()] if profile else []), *shown]


class Events:
    """A folder of event files, written by TensorBoard itself."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.writer = EventFileWriter(str(folder))

    def add(self, summary: Any, step: int) -> None:
        """One summary of a plugin."""
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        self.writer.close()


class Curves(keras.callbacks.Callback):
    """Writes scalars and histograms of weights, each epoch, under the names that Keras's own callback gives them."""

    def __init__(self, logs: Path) -> None:
        super().__init__()
        self.logs = logs

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.sides = {side: Events(self.logs / side) for side in ("train", "validation")}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in (logs or {}).items():
            side = "validation" if name.startswith("val_") else "train"
            self.sides[side].add(scalar_pb(f"epoch_{name.removeprefix('val_')}", value), epoch)
        rate = ops.convert_to_numpy(self.model.optimizer.learning_rate)
        self.sides["train"].add(scalar_pb("epoch_learning_rate", float(rate)), epoch)
        for layer in self.model.layers:
            for weight in layer.weights:
                values = np.asarray(ops.convert_to_numpy(weight), np.float64)
                self.sides["train"].add(histogram_pb(f"{weight.path}/histogram", values), epoch)
        for side in self.sides.values():
            side.writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        for side in self.sides.values():
            side.close()


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
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb

        lines = [f"| {name} | `{json.dumps(value)}` |" for name, value in self.plan.items()]
        events = Events(self.logs)
        events.add(text_pb("run", "\n".join(["| setting | value |", "|---|---|", *lines])), 0)
        plain = {name: value for name, value in self.plan.items() if isinstance(value, int | float | str)}
        events.add(hparams_pb(plain), 0)
        events.close()


class ConfusionImage(keras.callbacks.Callback):
    """Writes the confusion matrix of the validation windows as a picture, each epoch."""

    def __init__(self, logs: Path, legend: Any, loop: Any) -> None:
        super().__init__()
        self.logs, self.names, self.loop = logs, legend.names(), loop

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.events = Events(self.logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        png = picture(self.loop.counts.reshape(len(self.names), -1), self.names)
        self.events.add(image_pb("confusion", png), epoch)
        self.events.writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self.events.close()


def image_pb(tag: str, png: bytes) -> Any:
    """A summary of one picture, as TensorBoard's page *Images* reads it: width, height, PNG."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.image.metadata import create_summary_metadata

    size = [str(int.from_bytes(png[at : at + 4], "big")).encode() for at in (16, 20)]  # of its header
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=3)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[*size, png], tensor_shape=shape)
    metadata = create_summary_metadata(display_name=None, description=None)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


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
