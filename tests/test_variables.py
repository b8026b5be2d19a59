"""Variables of another installation: PROJ's are ignored, Spark's are one sentence each."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from arsetlib import doctor, engine, variables

CODE = """
import json, sys
{first}
import arsetlib.variables, rasterio.crs, pyproj
codes = [rasterio.crs.CRS.from_epsg(32636).to_epsg(), pyproj.CRS(32636).to_epsg()]
print(json.dumps([*codes, arsetlib.variables.ignored]))
"""


def database(folder: Path, major: int, minor: int) -> Path:
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / "proj.db")) as db:
        db.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
        rows = [("DATABASE.LAYOUT.VERSION.MAJOR", str(major)), ("DATABASE.LAYOUT.VERSION.MINOR", str(minor))]
        db.executemany("INSERT INTO metadata VALUES (?, ?)", rows)
        db.commit()
    return folder


@pytest.mark.parametrize("first", ["import arsetlib", "import rasterio"])
@pytest.mark.parametrize("name", variables.PROJ)
@pytest.mark.parametrize("kind", ["empty folder", "no folder", "old layout", "no database"])
def test_the_database_of_another_proj_changes_no_crs(tmp_path, first, name, kind):
    folder = tmp_path / "proj"
    if kind == "old layout":
        database(folder, 1, 0)
    elif kind != "no folder":
        folder.mkdir()
    if kind == "no database":
        (folder / "proj.db").write_text("this is no database")
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(first=first)], capture_output=True, text=True, check=True,
        env={**os.environ, name: str(folder)},
    )  # fmt: skip
    assert json.loads(done.stdout) == [32636, 32636, {name: str(folder)}]


def test_a_database_that_fits_is_left_alone(tmp_path, monkeypatch):
    own = variables._layout(variables._own_proj())
    for folder in (str(variables._own_proj()), str(database(tmp_path / "newer", own[0], own[1] + 1))):
        monkeypatch.setenv("PROJ_DATA", folder)
        variables.use_own_proj()
        assert os.environ["PROJ_DATA"] == folder
        assert variables.ignored == {}


def test_the_doctor_names_a_variable_that_is_ignored(monkeypatch):
    monkeypatch.setitem(variables.ignored, "PROJ_LIB", "/opt/qgis/share/proj")
    report = doctor.check_env(())
    assert report.ok
    assert "Ready, but mind: PROJ_LIB" in str(report)
    assert "unset PROJ_LIB" in str(report)


@pytest.fixture
def spark_home(tmp_path, monkeypatch):
    """Makes a folder that looks like a Spark of some version, and SPARK_HOME point to it."""

    def make(number: str) -> Path:
        (tmp_path / "bin").mkdir()
        (tmp_path / "jars").mkdir()
        (tmp_path / "bin" / "spark-submit").touch()
        (tmp_path / "jars" / f"spark-core_2.13-{number}.jar").touch()
        monkeypatch.setenv("SPARK_HOME", str(tmp_path))
        return tmp_path

    return make


@pytest.fixture
def no_session(monkeypatch):
    from pyspark.sql import SparkSession

    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)


@pytest.mark.usefixtures("no_session")
def test_a_spark_home_that_is_gone_is_one_sentence_that_names_it(monkeypatch):
    monkeypatch.setenv("SPARK_HOME", "/opt/spark-2.4.8")
    with pytest.raises(engine.EngineError, match="SPARK_HOME is /opt/spark-2.4.8, which contains no Spark. Remove it"):
        engine.session("local[1]")


def test_a_spark_home_of_another_version_is_named_and_one_of_ours_is_not(spark_home):
    made = spark_home("3.5.1")
    assert "which is Spark 3.5, but" in variables.wrong_for_spark()["SPARK_HOME"]
    (made / "jars" / "spark-core_2.13-3.5.1.jar").rename(made / "jars" / f"spark-core_2.13-{version('pyspark')}.jar")
    assert "SPARK_HOME" not in variables.wrong_for_spark()


@pytest.mark.usefixtures("no_session")
def test_a_python_of_workers_that_is_gone_is_one_sentence_that_names_it(monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", "/opt/conda/envs/old/bin/python3.8")
    with pytest.raises(engine.EngineError, match="PYSPARK_PYTHON is /opt/conda/envs/old/bin/python3.8, which do"):
        engine.session("local[1]")


def test_a_python_of_workers_of_another_version_is_named(tmp_path, monkeypatch):
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\necho 3.8\n")
    other.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(other))
    assert "which is Python 3.8" in variables.wrong_for_spark()["PYSPARK_PYTHON"]
    assert variables.wrong_for_spark(local=False).get("PYSPARK_PYTHON") is None  # it is for the cluster's machines
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    assert "PYSPARK_PYTHON" not in variables.wrong_for_spark()


def test_the_doctor_says_which_variable_to_remove(monkeypatch):
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    monkeypatch.setenv("SPARK_HOME", "/opt/spark-2.4.8")
    report = doctor.check_env(("spark",))
    assert not report.ok
    assert "SPARK_HOME" in report.verdict
    assert "unset SPARK_HOME" in report.commands
