"""The public surface: what `dir(arsetlib)` shows, one base of all errors, one meaning for a name, examples that run."""

import ast
import collections
import dataclasses
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import arsetlib
from arsetlib.errors import ArsetError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "arsetlib"
sys.path.append(str(ROOT / "book"))

import house  # noqa: E402
import reference  # noqa: E402

ROOMS = reference.rooms()

# What a learner meets first: each of these shows an example in its docstring.
FIRST = (
    "cdl.code_of", "cdl.colormap", "cdl.name",
    "evaluation.Confusion", "evaluation.sample_size", "evaluation.single_crops", "evaluation.stratified_areas",
    "fields.batches", "fields.ndvi", "fields.read", "fields.split",
    "folders.put",
    "groves.count", "groves.cut", "groves.instances", "groves.places", "groves.stitch",
    "maps.ndvi",
    "models.build", "models.describe", "models.names",
    "pixels.block_id", "pixels.from_wide", "pixels.pixel_id", "pixels.ragged", "pixels.read",
    "samples.Loader", "samples.Scaler", "samples.Streaming", "samples.index", "samples.split", "samples.start_days",
    "samples.window",
    "seeds.generator",
    "sentinel2.reflectance_dn",
    "study.Legend", "study.Season", "study.Study",
    "training.Plan",
)  # fmt: skip


def public_objects():
    """Dotted public name → object, of every module that has a page in the reference."""
    for room in ROOMS:
        for module in reference.modules_of(room):
            for name in reference.public_names(module):
                yield f"{module.__name__}.{name}", getattr(module, name)


def classes_of_the_library():
    """Classes by the file that defines them, read from the source."""
    for file in house.files():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield file, node


# -- the front door ------------------------------------------------------------------------------------------------


def test_dir_shows_the_modules_and_importing_the_package_loads_none_of_them():
    code = (
        "import sys, arsetlib; print(*dir(arsetlib));"
        "print(*[m for m in sys.modules if m.startswith('arsetlib.') or m in ('numpy', 'rasterio', 'pyspark')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    shown, loaded = done.stdout.split("\n")[:2]
    assert set(ROOMS) | {"check_env", "language"} == set(shown.split())
    assert loaded.split() == ["arsetlib.oldnames", "arsetlib.quiet"]


def test_every_module_that_dir_shows_can_be_had_as_an_attribute():
    for name in arsetlib.__all__:
        assert getattr(arsetlib, name)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_module_says_what_is_public(room):
    for module in reference.modules_of(room):
        assert module.__all__, module.__name__
        assert list(module.__all__) == sorted(set(module.__all__), key=list(module.__all__).index)
        for name in module.__all__:
            assert hasattr(module, name), f"{module.__name__}.{name}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_object_has_a_docstring(room):
    bare = []
    for module in reference.modules_of(room):
        for name in reference.public_names(module):
            kind = reference.kind_of(getattr(module, name))
            if kind == "data" and not reference.constant_comment(module, name):
                bare.append(f"{module.__name__}.{name}: a comment beside or above it")
            elif kind in ("class", "function", "exception") and not own_doc(getattr(module, name)):
                bare.append(f"{module.__name__}.{name}")
    assert bare == []


def own_doc(found):
    return found.__dict__.get("__doc__") if inspect.isclass(found) else found.__doc__


# -- names ---------------------------------------------------------------------------------------------------------


def test_every_error_of_the_library_is_an_arset_error():
    strangers = []
    for file, node in classes_of_the_library():
        if not node.name.endswith("Error"):
            continue
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        if not issubclass(getattr(module, node.name), ArsetError):
            strangers.append(f"{file.relative_to(ROOT)}: {node.name}")
    assert strangers == []


def test_no_two_classes_of_the_library_share_a_name():
    files = collections.defaultdict(list)
    for file, node in classes_of_the_library():
        if not node.name.startswith("_"):
            files[node.name].append(file.relative_to(PACKAGE).as_posix())
    assert {name: where for name, where in files.items() if len(where) > 1} == {}


# -- types ---------------------------------------------------------------------------------------------------------


def test_the_package_says_that_it_has_types():
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_types(room):
    bare = []
    for module in reference.modules_of(room):
        for name in reference.public_names(module):
            for label, function in functions_of(f"{module.__name__}.{name}", getattr(module, name)):
                signature = inspect.signature(function)
                missing = [
                    p.name
                    for p in signature.parameters.values()
                    if p.annotation is p.empty and p.name not in ("self", "cls") and not p.name.startswith("_")
                ]
                if missing or signature.return_annotation is signature.empty:
                    bare.append(f"{label}({', '.join(missing)})")
    assert bare == []


def functions_of(name, found):
    """A function, or the public methods that a class of ours defines itself."""
    if inspect.isfunction(found):
        yield name, found
    elif inspect.isclass(found):
        for key, value in vars(found).items():
            value = getattr(value, "__func__", value)
            value = value.fget if isinstance(value, property) else value
            if not key.startswith("_") and inspect.isfunction(value) and value.__module__.startswith("arsetlib"):
                yield f"{name}.{key}", value


MOST = 12  # parameters of a call; dataclasses, which hold a record, may have more fields


def named_parameters(call) -> int:
    """Parameters of a call, but for ``**options``."""
    return sum(one.kind is not one.VAR_KEYWORD for one in inspect.signature(call).parameters.values())


@pytest.mark.parametrize("room", ROOMS)
def test_no_public_call_has_more_than_twelve_parameters(room):
    many = {}
    for module in reference.modules_of(room):
        for name in reference.public_names(module):
            found = getattr(module, name)
            calls = dict(functions_of(f"{module.__name__}.{name}", found))
            if inspect.isclass(found) and "__init__" in vars(found) and not dataclasses.is_dataclass(found):
                calls[f"{module.__name__}.{name}"] = found
            counts = {label: named_parameters(call) for label, call in calls.items()}
            many |= {label: count for label, count in counts.items() if count > MOST}
    assert many == {}


# -- examples ------------------------------------------------------------------------------------------------------


def examples():
    """Each public object whose docstring, or that of a method, shows an example: its doctests."""
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=True)
    seen = set()
    for name, found in public_objects():
        if reference.kind_of(found) not in ("class", "function", "exception"):
            continue
        home = vars(sys.modules[found.__module__])
        for test in finder.find(found, name, module=False, globs=dict(home)):
            if test.examples and test.name not in seen:
                seen.add(test.name)
                yield test
    for room in ROOMS:
        module = importlib.import_module(f"arsetlib.{room}")
        found = doctest.DocTestFinder(recurse=False).find(module, module=False, globs=dict(vars(module)))
        yield from (test for test in found if test.examples)


def test_examples_in_docstrings_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran, failures = 0, []
    for test in examples():
        said = []
        runner = doctest.DocTestRunner(
            verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
        )
        runner.run(test, out=said.append)
        ran += 1
        if runner.failures and not any("ModuleNotFoundError" in text for text in said):
            failures.append("".join(said))
    assert failures == []
    assert ran >= 30


@pytest.mark.parametrize("name", FIRST)
def test_what_a_learner_meets_first_has_an_example(name):
    module, _, rest = name.partition(".")
    found = importlib.import_module(f"arsetlib.{module}")
    found = getattr(found, rest)
    texts = [own_doc(found), *(own_doc(method) for _, method in functions_of(name, found))]
    assert any(">>> " in (text or "") for text in texts)


# -- the reference -------------------------------------------------------------------------------------------------


def test_every_module_has_a_page_in_the_english_reference():
    pages = sorted((ROOT / "book" / "en" / "reference").glob("*.rst"))
    assert [page.stem for page in pages] == sorted(ROOMS)
    assert all(page.read_text(encoding="utf-8") == f".. room:: {page.stem}\n" for page in pages)
    toc = (ROOT / "book" / "en" / "_toc.yml").read_text(encoding="utf-8")
    assert [room for room in ROOMS if f"book/en/reference/{room}\n" not in toc] == []


WRITTEN = [
    *sorted((ROOT / "book" / "en").glob("*.md")),
    *sorted((ROOT / "labs" / "en").glob("*.py")),
    *sorted((ROOT / "homework" / "en").glob("*.py")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
]
VARIABLES = {"study", "labels"}  # in labs also a Study and its part; `labels.kind` is a key of a study file


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.stem)
def test_every_name_of_the_library_that_a_page_or_lab_writes_exists(file):
    names = re.findall(rf"`(?:arsetlib\.)?((?:{'|'.join(ROOMS)})\.[A-Za-z_][\w.]*)", file.read_text(encoding="utf-8"))
    assert [name for name in sorted(set(names)) if not exists(name) and name.split(".")[0] not in VARIABLES] == []


def exists(name):
    found = arsetlib
    for part in name.rstrip(".").split("."):
        if not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
        found = getattr(found, part)
    return True
