"""Every public call and every command that takes a path takes the address of an object store, or says what to do.

Both are found by their signatures, so a new one is tried as well. What a call does with a file or folder of this disk
it must do with a copy in a store: give a result and write the same files, or refuse it in words that name the address.
The stores are in the memory of this process; ``test_places`` and ``test_objects`` use a server.
"""

import contextlib
import csv
import dataclasses
import functools
import inspect
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import few
import numpy as np
import pyarrow as pa
import pytest
import requests
import tiny
from obstore import exceptions
from obstore.store import MemoryStore
from PIL import Image
from test_predict import Linear
from test_public import public_objects
from typer.testing import CliRunner

from arsetlib import (
    cli,
    errors,
    evaluation,
    fields,
    folders,
    groves,
    maps,
    pixels,
    samples,
    simulate,
    stores,
    training,
)
from arsetlib.grading import certificate, gradebook, keys, notebooks
from arsetlib.ingest import ingest
from arsetlib.stores import place

ROOTS = ("s3://bucket", "gs://bucket", "az://container", "abfss://container@account.dfs.core.windows.net")


# -- what there is to read ------------------------------------------------------------------------------------------


def with_codes_of_the_cdl(table: pa.Table) -> pa.Table:
    meta = pixels.Meta.of(table)
    extra = {key: value for key, value in meta.extra.items() if key != "own_codes"}
    return table.replace_schema_metadata(dataclasses.replace(meta, extra=extra).to_kv())


def make_world(folder: Path) -> SimpleNamespace:
    """Each kind of file and folder that the library reads, on this disk; and the objects that calls ask for."""
    made = tiny.make(folder)
    labels = {y: dataclasses.replace(one, path=place(one.path)) for y, one in made.labels.items()}
    folders.put(folder / "study.toml", made.study.text)
    folders.put(folder / "few.toml", few.STUDY.text)
    study = type(made.study).load(folder / "study.toml")
    made.scenes.save(folder / "items.json")
    ingest(study, made.scenes, labels, folder / "table", progress=False)
    pixels.write(few.make_table(), folder / "few.parquet", few.META)
    pixels.write_arset(with_codes_of_the_cdl(pixels.read(folder / "table")), folder / "arset")
    model = Linear(study, samples.Scaler.fit(folder / "table", study))
    model.scaler.save(folder / "scaler.json")
    (prediction,) = maps.predict(
        model, folder / "table", [120], folder / "maps", area="west", year=2021, progress=False
    )
    sides = few.make_sides()
    trained = training.fit("majority", sides, few.STUDY, folder=folder / "run", progress=False)
    predictions = evaluation.ModelPredictions.of(trained, sides["test"], [60])
    predictions.save(folder / "test")
    predictions.predictions.save(folder / "one.npz")
    simulate.groves(folder / "grove", captures=2, size=(96, 128), jobs=1, progress=False)
    simulate.fields(folder / "fields", fields=20, chips=2, size=32, jobs=1, progress=False)
    chips = fields.agriculture_vision(folder / "fields", progress=False)
    fields.convert(chips, folder / "shards", jobs=1, progress=False)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "picture.png")
    made_key = keys.make(folder / "keys", date(2031, 12, 31), "Here", today=date(2026, 11, 21))
    with (folder / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["submission", "learner", "id", "assignment", "q1", "total", "of", "reason", "log"])
        rows.writerow(["a.ipynb", "Ada", "", "part1", "24", "24", "24", "", ""])
    folders.put(folder / "course.toml", "[assignments.part1]\n")
    pixels.export(folder / "table", folder / "lake", "delta")
    folders.put(folder / "places.csv", "lon,lat,label_code,label_name\n-90.2,35.1,1,Corn\n")
    square = [[-90.2, 35.1], [-90.1, 35.1], [-90.1, 35.2], [-90.2, 35.1]]
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square]}, "properties": {"crop": 1}}
    folders.put_json(folder / "outlines.geojson", {"type": "FeatureCollection", "features": [shape]})
    key = keys.load(folder / "keys")
    options = {"key": key, "assignments": ("part1",), "day": date(2026, 11, 21)}
    (page,) = certificate.issue(folder / "grades.csv", folder / "issued", **options)
    ((notebook, _),) = notebooks.write(["part1"], "Ada", folder / "submissions")
    folders.put(folder / "hidden" / "part1.py", "HIDDEN = {}\n")
    table, until = with_codes_of_the_cdl(pixels.read(folder / "table")), date(2031, 12, 31)
    course = gradebook.Course.load(folder / "course.toml")
    book = gradebook.gradebook([folder / "grades.csv"], course)
    count = groves.count(folder / "grove", flight=folder / "grove" / "flight.json")
    whole = predictions.predictions
    owners = {
        "Study": study, "Scenes": made.scenes, "Scaler": model.scaler, "Trained": trained, "TreeCount": count,
        "ModelPredictions": predictions, "Predictions": whole, "Gradebook": book, "Baseline": trained.model,
    }  # fmt: skip
    return SimpleNamespace(**locals())


# -- what is called -------------------------------------------------------------------------------------------------


# Modules that only ``grade`` and ``issue`` call, with files that they made on this disk.
INNER = tuple(f"arsetlib.grading.{name}." for name in ("marking", "sandbox", "certificate_pdf", "submission"))


# Calls that make or run a lot; ``test_places`` has them with little data.
LARGE = ("arsetlib.simulate.", "arsetlib.grading.grader.grade", "arsetlib.lab.")


def takes_a_path(annotation: object) -> bool:
    return bool(re.search(r"\b(Path|StorePath|Place)\b", str(annotation)))


def calls() -> Iterator[tuple[str, Callable, str]]:
    """Name, function and parameter of every public function, method and class that takes a path."""
    seen = set()
    for name, thing in public_objects():
        if name.startswith((*INNER, *LARGE)):
            continue
        owned = [(name, thing)] if callable(thing) else []
        if inspect.isclass(thing):
            owned = [] if dataclasses.is_dataclass(thing) or issubclass(thing, tuple) else owned
            owned += [(f"{name}.{n}", getattr(thing, n)) for n in vars(thing) if not n.startswith("_")]
        for dotted, function in owned:
            if not callable(function) or id(function) in seen:
                continue
            with contextlib.suppress(TypeError, ValueError):
                for parameter in inspect.signature(function).parameters.values():
                    if takes_a_path(parameter.annotation):
                        yield dotted.removeprefix("arsetlib."), function, parameter.name


CALLS = [(name, parameter, function) for name, function, parameter in calls()]


def arguments(world: SimpleNamespace, name: str, function: Callable, probed: str, new: Path) -> dict:
    """What a call is given besides the path: by the name of the parameter, which means the same everywhere."""
    at = world.folder
    known = {
        "study": world.study, "scenes": world.made.scenes, "labels": world.labels, "year": 2021, "years": (2021,),
        "scaler": None, "table": world.table, "meta": few.META, "batches": world.table, "start": 60, "starts": [60],
        "trained": world.model, "model": "majority", "name_or_model": "majority", "sides": world.sides,
        "area": "west", "prediction": world.prediction, "predictions": [world.prediction], "models": world.predictions,
        "chips": world.chips, "captures": at / "grove", "key": world.key, "alt": "a picture", "course": world.course,
        "source": at / "grove", "out": new, "path": at / "table", "folder": at / "fields", "grades": at / "grades.csv",
        "first": at / "table", "second": at / "arset-table", "data": at / "grove", "cache": new, "file": new,
        "toml": (at / "study.toml").read_text(), "plan": {}, "parts": [], "files": {}, "content": "corn", "value": 1,
        "problem": None, "to": "delta", "number": 0, "columns": ["year"], "rows": [[1]], "marks": [],
        "until": world.until,
        "name": "Ada", "assignment": "part1", "keys": ["part1"], "batch": 4, "size": 32, "kind": "numpy", "space": {},
        "answer": 1, "paths": [at / "grades.csv"], "segmenter": at / "run", "classifier": at / "run",
        "jobs": 1, "progress": False, "x": np.array([450_030.0]), "y": np.array([1_419_990.0]), "crs": "EPSG:5070",
        "season": world.study.season, "vectors": {2021: at / "picture.png"},
        # The tests of these rooms try an address.
        "sample": None, "views": None, "conformal": None, "applicability": None,
    }  # fmt: skip
    given = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", probed) or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is parameter.empty or parameter.name in ("jobs", "progress"):
            given[parameter.name] = known[parameter.name]
    return given


def used(result: object) -> None:
    """Take something from what only works when it is used."""
    if hasattr(result, "__enter__") and hasattr(result, "__exit__"):
        with result:
            return
    if inspect.isgenerator(result) or hasattr(result, "__getitem__") or hasattr(result, "__next__"):
        with contextlib.suppress(StopIteration, TypeError):
            next(iter(result))


def called(function: Callable, owner: object, given: dict) -> Exception | None:
    """What a call raised; None where it worked."""
    try:
        used(function(**given) if owner is None else function(owner, **given))
    except Exception as error:
        return error
    return None


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    made = make_world(folder)
    made.files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    tops = {key.partition("/")[0] for key in made.files if not key.startswith("T15")}
    inner = ("public.json", "120.json", "flight.json", "part1.ipynb", ".pdf", "classes.toml")
    made.items = sorted(tops) + sorted(key for key in made.files if "/" in key and key.endswith(inner))
    return made


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch, request):
    """No network, no waiting, stores in memory; a working folder in which nothing may be left."""

    def refuse(*_, **__):
        raise requests.ConnectionError("no network")

    wait = time.sleep
    monkeypatch.setattr(requests.Session, "send", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: wait(min(seconds, 0.01)))
    memory = functools.cache(lambda root: MemoryStore())
    monkeypatch.setattr(stores, "_connected", lambda root, *_: memory(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert os.listdir(here) == []


def copied(world, there):
    """A copy of the world, without its scenes: what a call changes there, no other call sees."""
    for key, content in world.files.items():
        if not key.startswith("T15"):
            if isinstance(there, Path):
                (there / key).parent.mkdir(parents=True, exist_ok=True)
            (there / key).write_bytes(content)
    return there


def of_disk_or_store(world, call: int, root, item: str, new: Path) -> Exception | None:
    name, probed, function = CALLS[call]
    class_name = name.split(".")[-2]
    parameters = inspect.signature(function).parameters
    owner = world.owners.get(class_name) if "self" in parameters else None
    if "self" in parameters and owner is None:
        pytest.skip(f"{class_name} has a test of its own")
    given = arguments(world, name, function, probed, new)
    annotation = str(parameters[probed].annotation)
    value = str(root / item) if "str" in annotation else root / item
    given[probed] = [value] if annotation.lower().startswith(("list", "sequence")) else value
    return called(function, owner, given)


def names_the_address(problem: Exception, root: object) -> bool:
    """Whether an error is one of the library, or one of a missing file, and shows no address that lost a slash."""
    text = str(problem)
    whole = not re.search(r"\b(s3|gs|az|abfss|file):/(?!/)", text)
    return whole and isinstance(problem, errors.ArsetError | FileNotFoundError | NotADirectoryError)


@pytest.mark.parametrize("call", range(len(CALLS)), ids=[f"{name}-{parameter}" for name, parameter, _ in CALLS])
def test_a_call_does_with_an_address_what_it_does_with_a_path(world, tmp_path, call):
    root = ROOTS[call % len(ROOTS)]
    disk, there = copied(world, tmp_path / "disk"), copied(world, place(root))
    outs = (tmp_path / "outs" / str(n) for n in range(1000))
    here = disk / "new"
    own, theirs = (of_disk_or_store(world, call, at, f"new/{call}", next(outs)) for at in (disk, there))
    if own is None and theirs is None:
        written = {f.relative_to(here).as_posix() for f in here.rglob("*") if f.is_file()}
        assert {same(key) for key in (there / "new").files()} == {same(key) for key in written}
        return
    tried = [(own, theirs)]
    for item in world.items:
        if (own := of_disk_or_store(world, call, disk, item, next(outs))) is None:
            tried.append((own, of_disk_or_store(world, call, there, item, next(outs))))
            break
    for own, theirs in tried:
        if theirs is not None:
            refused = names_the_address(theirs, there) or type(own) is type(theirs)
            on_purpose = own is not None or "on a disk of this machine" in str(theirs)
            assert (refused, on_purpose) == (True, True), f"disk: {own!r}, store: {theirs!r}"


class BusyStore:
    """The functions of obstore, of which all fail after the first ``good`` calls."""

    def __init__(self, good: int):
        self.real, self.good, self.asked = stores._obstore(), good, 0

    def __getattr__(self, name: str):
        function = getattr(self.real, name)

        def failing(*words, **options):
            self.asked += 1
            if self.asked > self.good:
                raise exceptions.GenericError("503 <Code>SlowDown</Code>")
            return function(*words, **options)

        async def failing_later(*words, **options):
            return await failing(*words, **options)

        return failing_later if name.endswith("_async") else failing


@pytest.mark.parametrize("call", range(len(CALLS)), ids=[f"{name}-{parameter}" for name, parameter, _ in CALLS])
def test_a_call_on_a_store_that_is_busy_says_so_and_calls_no_file_damaged(world, tmp_path, monkeypatch, call):
    root = ROOTS[call % len(ROOTS)]
    there = copied(world, place(root))
    outs = (tmp_path / "outs" / str(n) for n in range(1000))
    items = (i for i in ("new/item", *world.items) if of_disk_or_store(world, call, there, i, next(outs)) is None)
    item = next(items, None)
    for good in (0, 1, 2, 3, 5, 8) if item else ():
        copied(world, there)
        busy = BusyStore(good)
        with monkeypatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{good}"))
            patched.setattr(stores, "_obstore", lambda busy=busy: busy)
            problem = of_disk_or_store(world, call, there, item.replace("item", f"{good}"), next(outs))
        if busy.asked <= good:
            return
        released = "lock" in CALLS[call][0] and problem is None  # where only the end of a lease fails, it ends by time
        assert released or "is busy" in str(problem), repr(problem)


def same(key: str) -> str:
    """A key without what differs from call to call."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|events.out.*", "*", key)


# -- commands -------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, ...]]:
    """Words of every command that takes a path, with an address of nothing in place of each."""
    words = {"to": "delta", "start": "120", "until": "2031-12-31", "seed": "Ada", "assignment": "part1"}

    def walk(app, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for group in app.registered_groups:
            name = group.name or group.typer_instance.info.name
            yield from walk(group.typer_instance, (*before, name) if isinstance(name, str) else before)
        for command in app.registered_commands:
            name = command.name if isinstance(command.name, str) else command.callback.__name__.replace("_", "-")
            parameters = inspect.signature(command.callback, eval_str=True).parameters.values()
            given, paths = [], 0
            for parameter in parameters:
                if not hasattr(parameter.annotation, "__metadata__"):  # typer's own context
                    continue
                info = parameter.annotation.__metadata__[0]
                is_path = "Path" in str(parameter.annotation) or parameter.name in ("study", "source", "font")
                paths += is_path
                if not is_path and parameter.default is not parameter.empty:
                    continue
                value = f"s3://bucket/none/{parameter.name}" if is_path else words.get(parameter.name, "1")
                option = type(info).__name__ == "OptionInfo"
                stated = (info.default, *(info.param_decls or ()))
                named = [one for one in stated if str(one).startswith("--")]
                flag = named[0] if named else f"--{parameter.name.replace('_', '-')}"
                given += [flag, value] if option else [value]
            if paths and not name.startswith("simulate"):  # they would make all of it, see `LARGE`
                yield (*before, name, *given)

    return walk(cli.app, ())


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: " ".join(w for w in words if "/" not in w))
def test_a_command_takes_addresses_or_says_what_to_do(words):
    done = CliRunner().invoke(cli.app, list(words))
    problem = done.exception
    if problem is None or isinstance(problem, SystemExit):
        assert done.exit_code in (0, 1), done.output
        assert not re.search(r"s3:/(?!/)", done.output), done.output
    else:
        assert names_the_address(problem, "s3://bucket"), repr(problem)
