"""The engine: one function over numbers, here or on Spark, with the same answer."""

import ast
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from arsetlib import engine

SCHEMA = pa.schema([("number", pa.int64()), ("square", pa.float64()), ("name", pa.string())])


def squares(times: int, number: int):
    for _ in range(times):
        yield pa.record_batch([[number], [float(number**2)], [f"task {number}"]], schema=SCHEMA)


def test_tasks_come_back_in_order():
    table = engine.run(partial(squares, 2), 4, SCHEMA)
    assert table["number"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_no_tasks_give_an_empty_table():
    assert engine.run(squares, 0, SCHEMA).num_rows == 0


@pytest.mark.spark
def test_spark_gives_what_this_process_gives(spark):
    here = engine.run(partial(squares, 2), 5, SCHEMA)
    assert engine.run(partial(squares, 2), 5, SCHEMA, spark).equals(here)


@pytest.mark.spark
def test_each_task_is_a_partition_of_its_own(spark):
    def where(number: int):
        from pyspark import TaskContext

        yield pa.record_batch([[TaskContext.get().partitionId()]], schema=pa.schema([("partition", pa.int64())]))

    table = engine.run(where, 6, pa.schema([("partition", pa.int64())]), spark)
    assert table["partition"].to_pylist() == list(range(6))


def test_missing_java_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("arsetlib.java.java_home", lambda: None)
    with pytest.raises(engine.EngineError, match=r"Java 17.*none was found|Java 17.*Java \d+ .* was found"):
        engine.session()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("An error occurred.\n: org.apache.spark.SparkException: Asked to run locally with 0 threads\n\tat org.x",
         r"with master 'local\[0\]': org.apache.spark.SparkException: Asked to run locally with 0 threads\. These"),
        ("[JAVA_GATEWAY_EXITED] Java gateway process exited", "Java ended at once, and its own lines above"),
    ],
)  # fmt: skip
def test_a_spark_that_does_not_start_is_one_clear_error(monkeypatch, words, says):
    from py4j.protocol import Py4JError
    from pyspark.sql import SparkSession

    class Builder:
        def appName(self, *_):
            return self

        master = config = appName

        def getOrCreate(self):
            raise Py4JError(words)

    monkeypatch.setattr(engine, "_prepare_java", lambda: None)
    monkeypatch.setattr(SparkSession, "builder", Builder())
    monkeypatch.setenv("_JAVA_OPTIONS", "-Dpassword=secret")
    with pytest.raises(engine.EngineError, match=says) as refused:
        engine.session("local[0]")
    assert "_JAVA_OPTIONS" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_on_databricks_the_session_that_is_there_is_used(monkeypatch):
    from pyspark.sql import SparkSession

    class Builder:
        def getOrCreate(self):
            return "theirs"

    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    monkeypatch.setattr(SparkSession, "builder", Builder())
    assert engine.session() == "theirs"


def test_the_engine_uses_nothing_that_spark_connect_lacks():
    tree = ast.parse(Path(engine.__file__).read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"rdd", "_jvm", "_jsc", "cache", "persist", "parallelize", "broadcast"}
