"""Train with several processes, on one machine or on many: each takes a share of every batch.

    workers.run(["arset", "fields", "train", "data/shards", "runs/two"], 2)      # two processes here

**Data parallel.** Every worker holds the whole network. It takes a share of each batch and computes the gradient; an
all-reduce (a ring in which each worker passes sums to the next) gives all of them the sum. All make the same step, so
their weights stay the same: two workers with 32 images each do what one does with 64. The cost is sending as many
numbers as the network has weights in each step; convolutions have few weights for much computing, dense layers the
opposite (Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997).

It uses TensorFlow's ``MultiWorkerMirroredStrategy`` with the library's own training loop: Keras's ``fit`` fails with
it (Keras 3.15); Keras's optimisers work and sum the gradients over all workers.

**The addresses of the workers** are in the environment variable ``TF_CONFIG``, as ``config`` writes it, with the number
of the process itself. ``run`` starts processes on one machine. On a Spark cluster, a stage in barrier mode starts one
task for each worker, all at once or none, and starts all again if one fails; the training then continues from its
backup, which must be in a folder that all machines see::

    def train(batches):
        import os
        import socket
        from pyspark import BarrierTaskContext
        from arsetlib import fields
        from arsetlib.training import workers

        task = BarrierTaskContext.get()
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        hosts = task.allGather(f"{socket.gethostname()}:{port}")
        os.environ["TF_CONFIG"] = workers.config(hosts, task.partitionId())
        fields.fit("resnet50", sides, folder="/Volumes/course/runs/resnet50", strategy="workers")
        yield from batches

    tasks = spark.range(0, 4, 1, numPartitions=4)
    tasks.mapInArrow(train, tasks.schema, barrier=True).collect()

It needs a classic cluster with as many free slots as workers: serverless offers no barrier mode.

**Model parallel** divides the network instead of the batch: each device holds part of the weights of a layer. It is for
networks that do not fit on one device, and for wide dense layers; hybrid uses both. Keras 3 has an interface for it,
``keras.distribution``: a ``LayoutMap`` says along which axis the weights whose path matches a pattern are divided, and
``ModelParallel`` divides them::

    devices = keras.distribution.DeviceMesh((2, 4), ["batch", "model"], keras.distribution.list_devices())
    layout = keras.distribution.LayoutMap(devices)
    layout["head/kernel"] = (None, "model")               # each column of devices holds a quarter of the classes
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))

With Keras 3.15 that works only with the JAX backend (``KERAS_BACKEND=jax`` before Keras is imported). For TensorFlow,
which this library trains with, there is only a prototype that its own source says not to use; for PyTorch there is
none. No network of this course is so large that it needs it.

Lab: case_fields.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arsetlib import folders
from arsetlib.training.plan import TrainingError

GRACE = 60.0  # s that the others have to end by themselves after one has failed
SILENCE = 600  # s after which a worker that hangs counts as lost; one that ended is noticed within about 10 s


class WorkerError(TrainingError):
    """A worker ended, hangs, or was set up differently from the others; the message says which and how to continue."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, and the number of this process among them.

    Attributes:
        addresses: "host:port" of each.
        rank: Number of this process. Number 0, the chief, writes the folder; the others only train.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def size(self) -> int:
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        return self.rank == 0


def config(addresses: Iterable[str], rank: int) -> str:
    """The value of ``TF_CONFIG`` for the worker number ``rank``.

    Args:
        addresses: "host:port" of every worker, in the same order everywhere.
        rank: Number of the worker, from 0.
    """
    addresses = list(addresses)
    if not 0 <= rank < len(addresses):
        raise WorkerError(f"Expected a rank from 0 to {len(addresses) - 1}, received {rank}.")
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}})


def cluster() -> Cluster:
    """The workers that ``TF_CONFIG`` names.

    Raises:
        WorkerError: It is not set, or holds something else.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise WorkerError(
            "strategy='workers' is for a process that is one of several, which the variable TF_CONFIG lists, but it is "
            "not set. On this machine start them with `arset fields train --workers 2`, or with "
            "arsetlib.training.workers.run."
        )
    try:
        config = json.loads(text)
        workers = Cluster(tuple(config["cluster"]["worker"]), int(config["task"]["index"]))
        fits = config["task"]["type"] == "worker" and 0 <= workers.rank < workers.size
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise WorkerError(f"Expected TF_CONFIG as arsetlib.training.workers.config writes it, received {text[:200]!r}.")
    return workers


def strategy(silence: float = SILENCE) -> Any:
    """TensorFlow's strategy for the workers of ``TF_CONFIG``. Call it before anything else of TensorFlow's.

    It waits until all workers are there.

    Args:
        silence: Seconds after which a worker that sends nothing counts as lost.
    """
    import tensorflow as tf

    cluster()
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=float(silence))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except RuntimeError as problem:
        raise WorkerError(
            f"The workers must be set up before TensorFlow computes anything in this process: {problem}. Call "
            "fields.fit first, or in a process of its own."
        ) from problem


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn TensorFlow's errors about a lost worker into one clear error.

    Args:
        where: When it happened, such as "epoch 3".
    """
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError, tf.errors.CancelledError,
        tf.errors.InternalError, tf.errors.FailedPreconditionError,
    )  # fmt: skip
    try:
        yield
    except lost as problem:
        text = re.sub(r"(?<!\S)(?!/job:)[^\s/]*/\S+", "", str(problem))  # without names of files: /data/worker/a.txt
        if "ollective" not in text and "worker" not in text and "ocket" not in text:
            raise
        here = cluster()
        raise WorkerError(
            f"Worker {here.rank} of {here.size} lost another one in {where}: it ended or hangs; its own message says "
            f"why. Start all again with the same command; they continue after the last finished epoch."
        ) from problem


def run(
    command: Iterable[str | Path], workers: int = 2, *, logs: str | Path | None = None, grace: float = GRACE
) -> None:
    """Run a command once for each worker, all on this machine, and wait for them.

    Each process gets its number in ``TF_CONFIG``. The output of the first one is shown, that of the others is not.

    Args:
        command: A command and its arguments; it must train with ``strategy="workers"``.
        workers: How many. More than the machine has cores or GPUs slows them down.
        logs: Folder for ``worker-0.log`` …, the standard error of each; None keeps none.
        grace: Seconds that the others have to end by themselves after one has failed; then they are ended.

    Raises:
        WorkerError: A worker failed. The message says which failed first, and its own error.

    Lab: case_fields.
    """
    if isinstance(workers, bool) or not hasattr(workers, "__index__") or workers < 1:
        raise WorkerError(f"Expected 1 worker or more, received {workers!r}.")
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(workers)]
    with contextlib.ExitStack() as after:
        folder = logs if logs is not None else after.enter_context(tempfile.TemporaryDirectory())
        folder = folders.on_this_disk(folder, "the folder of logs", WorkerError)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"worker-{rank}.log" for rank in range(workers)]
        processes: list[subprocess.Popen] = []
        after.callback(_end, processes)
        for rank, file in enumerate(files):
            environment = {**os.environ, "TF_CONFIG": config(addresses, rank)}
            processes.append(
                subprocess.Popen(
                    [str(word) for word in command],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=None if rank == 0 else subprocess.DEVNULL,
                    stderr=after.enter_context(file.open("wb")),
                )
            )
        first = _wait(processes, grace)
        if first is not None:
            raise WorkerError(_error_text(first, processes[first].returncode, files[first], workers))


def linear_rate(rate: float, batch: int, base: int, warm_up: int = 0) -> Any:
    """The learning rate for a larger batch: it grows with the batch and is reached in small steps.

    A batch k times as large gives an epoch with k times fewer steps, so each step must be k times as long; at the
    beginning, where the slope changes quickly, such a step is too long, hence the warm-up (Goyal et al. 2017, Accurate,
    large minibatch SGD: training ImageNet in 1 hour, arXiv:1706.02677; it was valid up to batches of 8,192).

    Args:
        rate: A good rate for a batch of ``base``.
        batch: Images a step, over all workers.
        base: The batch that ``rate`` is for.
        warm_up: Steps in which the rate rises from ``rate`` to the scaled one; the paper takes five epochs.

    Returns:
        A number without warm-up, else a ``keras.optimizers.schedules.LearningRateSchedule``.
    """
    if not rate > 0 or batch < 1 or base < 1 or warm_up < 0:
        raise TrainingError(
            f"Expected a rate above 0, batches of 1 or more and warm_up of 0 or more, received {rate}, {batch}, {base} "
            f"and {warm_up}."
        )
    scaled = rate * batch / base
    if not warm_up:
        return scaled
    import keras

    return keras.optimizers.schedules.PolynomialDecay(rate, warm_up, scaled)  # a straight line from one to the other


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on; all stay bound until the last one is, so that no two are the same."""
    with contextlib.ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait(processes, grace: float) -> int | None:
    """Wait until all are done; returns the number of the one that failed first, or None."""
    first, until = None, None
    while None in (codes := [process.poll() for process in processes]):
        if first is None and any(codes):
            # A killed process fails before the others, which notice it seconds later.
            first, until = next(i for i, code in enumerate(codes) if code), time.monotonic() + grace
        elif first is not None and time.monotonic() > until:
            _end(processes)
        time.sleep(0.1)
    return next((i for i, code in enumerate(codes) if code), None) if first is None else first


def _end(processes) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()
    for process in processes:
        process.wait()


def _error_text(rank: int, code: int, log: Path, workers: int) -> str:
    """The message about a worker that failed."""
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
        why = " It may have run out of memory." if -code == signal.SIGKILL else ""
    else:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        own = [line for line in lines if line.startswith("arset: ")] or lines[-1:]
        how, why = f"ended with code {code}", f" It said: {own[-1].removeprefix('arset: ')[:1000]}" if own else ""
        return f"Worker {rank} of {workers} {how}, so all have stopped.{why}"
    again = "The same command continues after the last finished epoch."
    return f"Worker {rank} of {workers} {how}, so all have stopped.{why} {again}"
