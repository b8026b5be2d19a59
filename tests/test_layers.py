"""Who may import whom, read from the source and proven in a fresh interpreter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "arsetlib"
sys.path.append(str(PACKAGE.parent / "book"))

import house  # noqa: E402

MODULES = sorted(PACKAGE.rglob("*.py"))
LIGHT = ("study", "cdl", "sentinel2", "pixels", "evaluation")
HEAVY = ("pyspark", "tensorflow", "keras")


def roots(file: Path) -> set[str]:
    return {name.split(".")[0] for name in house.imported(file)}


def label(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_neither_spark_nor_tensorflow(module):
    code = f"import sys, arsetlib.{module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


def test_only_engine_imports_spark():
    assert [label(f) for f in MODULES if "pyspark" in roots(f)] == ["engine.py"]


def test_no_public_name_of_a_package_is_that_of_a_module_in_it():
    """Who imports the module first would get it in place of the function."""
    for file in PACKAGE.rglob("__init__.pyi"):
        names = set(re.findall(r"\bas (\w+)", file.read_text(encoding="utf-8")))
        modules = {path.stem for path in file.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
        assert not names & modules, (file, names & modules)


@pytest.mark.parametrize("file", MODULES, ids=label)
def test_no_module_imports_labs_tests_or_pickle(file):
    assert not {"labs", "tests", "benchmarks", "pickle"} & roots(file)


def test_study_imports_nothing_of_ours_but_how_files_are_found_and_read_and_checksums():
    names = {name for file in (PACKAGE / "study").glob("*.py") for name in house.imported(file)}
    ours = {name for name in names if name.startswith("arsetlib") and not name.startswith("arsetlib.study")}
    errors = {"arsetlib.errors", "arsetlib.errors.ArsetError"}
    below = {"arsetlib.textfiles", "arsetlib.checksums", "arsetlib.stores", "arsetlib.stores.place"}
    below |= {name for name in ours if name.startswith("arsetlib.translation")}
    assert ours == {"arsetlib"} | below | errors
    for file in ("textfiles.py", "checksums.py", "stores.py", "translation.py"):
        assert {name for name in house.imported(PACKAGE / file) if name.startswith("arsetlib")} <= errors


def test_no_module_is_called_utils():
    assert not [label(f) for f in MODULES if {"utils", "util", "helpers", "common"} & {f.stem, *f.parent.parts}]


def test_a_room_imports_only_rooms_below_it():
    arrows = house.arrows()
    assert sorted(arrows) == sorted(house.ORDER)
    upward = {
        f"{room} -> {other}": sorted(modules)
        for room, others in arrows.items()
        for other, modules in others.items()
        if house.ORDER.index(other) >= house.ORDER.index(room)
    }
    assert upward == {}  # so there is no circle either


def test_only_the_readers_of_models_and_old_names_are_imported_by_a_name_in_a_string():
    by_name = {"models/folder.py": {"groves", "fields"}, "oldnames.py": {"any"}}
    assert house.imported_by_name() == by_name
