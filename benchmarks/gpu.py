"""Training on a GPU: windows computed there, and fed by the processor, against batches that are ready on the device.

    KERAS_BACKEND=jax python benchmarks/gpu.py        # or tensorflow, torch: whichever is installed with the GPU's code

200,000 synthetic series of 40-75 images, in windows of 120 days; the original's CNN, TempCNN and L-TAE at batches of
1,024 and 8,192 samples.

- ``resident``: the same batches again and again, ready on the device: what the network could take.
- ``device``: each step computes its windows from row numbers and a seed (``Loader(place="device")``).
- ``host``: the compiled loader in threads, each batch copied to the device (TensorFlow: ``tf.data``).
- Windows alone: 65,536 in a call.
- The whole of ``training.fit``: samples a second in its best epoch, validation and scores included.

Sides take turns; rates are medians. It needs no TensorFlow. Without a GPU it only shows that it runs, with little work.
"""

import functools
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import loader as series
import measure
import numpy as np
from keras import ops

from arsetlib import models, samples, training
from arsetlib.samples.backends import backend, compiled, on_gpu
from arsetlib.samples.device import Block
from arsetlib.training.devices import optimizer_of
from arsetlib.training.fit import SeriesFeed
from arsetlib.training.loop import Loop
from arsetlib.training.tasks import classes_task

STUDY = series.STUDY
NETWORKS = ("original", "tempcnn", "ltae")


class Side:
    """A network and where its batches come from.

    Args:
        name: Of the network.
        loader: Of its batches.
        samples: Samples that one measurement trains on, at least.
        resident: Keep the first batches, as many as a call takes, on the device.
    """

    def __init__(self, name: str, loader: samples.Loader, samples: int, resident: bool = False):
        season = STUDY.season
        shape = {"steps": season.steps, "bands": len(STUDY.channels), "classes": len(STUDY.legend.classes)}
        self.loop = Loop(models.build(name, **shape, step_days=season.step_days), classes_task("crossentropy", None))
        self.loop.model.compile(optimizer=optimizer_of("adam", 1e-3), jit_compile=False)
        self.loop.model.optimizer.build(self.loop.model.trainable_variables)
        self.loop.steps.begin()
        self.loader, self.samples, self.epoch = loader, samples, 0
        self.feed = self.kept if resident else SeriesFeed(loader).batches

    @functools.cached_property
    def ready(self) -> Block:
        first = next(iter(self.loader.device.blocks(0)))
        batches = [compiled(first.make)(first.arguments, ops.convert_to_tensor(k)) for k in range(first.steps)]
        return Block(first.steps, keras.tree.map_structure(lambda *parts: ops.stack(parts), *batches), take)

    def kept(self, epoch: int):
        for _ in range(max(self.loader.steps // self.ready.steps, 1)):
            yield self.ready

    def rate(self) -> float:
        """Samples a second."""
        done, begin = 0, time.perf_counter()
        while done < self.samples:
            self.epoch += 1
            for batch in self.feed(self.epoch):
                sums = self.loop.steps.train(batch)
                done += self.loader.batch_size * (batch.steps if isinstance(batch, Block) else 1)
                if done >= self.samples:
                    break
        ops.convert_to_numpy(sums)  # wait for the device
        return done / (time.perf_counter() - begin)


def take(batches: tuple, k) -> tuple:
    return keras.tree.map_structure(lambda part: ops.take(part, k, axis=0), batches)


class Windows:
    """Windows alone, many batches in one call."""

    def __init__(self, loader: samples.Loader, calls: int):
        self.loader, self.calls, self.epoch = loader, calls, 0
        self.most = max(65_536 // loader.batch_size, 1) if on_gpu() else 1

    def rate(self) -> float:
        def whole(arguments):
            return sum(ops.sum(self.make(arguments, k)[0]) for k in range(self.most))

        self.epoch += 1
        block = self.loader.device.block(self.epoch, 0, min(self.most, len(self.loader.rows) // self.loader.batch_size))
        self.make, self.most = block.make, block.steps
        call = self.call = getattr(self, "call", None) or compiled(whole)
        ops.convert_to_numpy(call(block.arguments))
        begin = time.perf_counter()
        for _ in range(self.calls):
            total = call(block.arguments)
        ops.convert_to_numpy(total)
        return self.calls * block.steps * self.loader.batch_size / (time.perf_counter() - begin)


def main() -> None:
    measure.arguments(__doc__)
    small = not on_gpu()
    figures = measure.Figures("gpu")
    print(
        f"Keras {keras.__version__} on {backend()}, {'a GPU' if on_gpu() else 'no GPU: figures only show that it runs'}"
    )
    table = series.make_series(4_000 if small else 200_000, 0)
    scaler = samples.Scaler.fit(table)
    sizes, rounds = ((256,), 1) if small else ((1024, 8192), 3)
    networks = NETWORKS[:1] if small else NETWORKS
    loaded = functools.partial(samples.Loader, table, STUDY, scaler, seed=1)
    for batch in sizes:
        rate = measure.rates({"windows": Windows(loaded(batch=batch, place="device"), 3 if small else 50)}, rounds)
        goal = 25e6 if batch == 8192 and on_gpu() else None
        figures.add(f"windows_per_second_at_{batch}", rate["windows"], goal, "windows/s")
        for name in networks:
            extras, many = models.needs(name), 2_000 if small else 4_000_000
            device = loaded(batch=batch, extras=extras, place="device")
            host = loaded(batch=batch, extras=extras)
            sides = {
                "resident": Side(name, device, many, resident=True),
                "device": Side(name, device, many),
                "host": Side(name, host, many),
            }
            found = measure.rates(sides, rounds)
            goal = 0.9 if batch == 8192 and on_gpu() else None
            figures.add(
                f"device_over_resident_of_{name}_at_{batch}", found["device"] / found["resident"], goal, "x", found
            )
    rows = samples.Rows.of(table)
    every = np.arange(len(rows)) % 10
    for name in networks:
        done = training.fit(
            name, {"train": rows.pick(every > 0), "validation": rows.pick(every == 0)}, STUDY, scaler=scaler,
            batch=sizes[-1], epochs=3 if small else 8, missing="allow", place="device", progress=False,
        )  # fmt: skip
        figures.add(
            f"fit_samples_per_second_of_{name}", (every > 0).sum() / min(done.history["seconds"]), None, "samples/s"
        )
    figures.finish()


if __name__ == "__main__":
    main()
