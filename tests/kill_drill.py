"""The kill drill: every command that works in pieces is killed at each point where it writes, then called again.

    python tests/kill_drill.py                       all commands, all points (up to --most of each)
    python tests/kill_drill.py --full ingest grove   the disk gets full in place of the kill
    python tests/kill_drill.py --also-full 2 ingest  kills, and at two points the disk gets full
    python tests/kill_drill.py --store               the results are on an S3 server of this machine

A command runs in a process of its own. The interpreter reports each file that is opened for writing, renamed or removed
and each folder that is made or removed (``sys.addaudithook``); the process is killed just before the n-th of them in
the folder of the results. (Mode --full: from the n-th on, nothing can be written there; the command must say so. Mode
--store: a point is each put of a file to the server, and each file that is deleted there.) What is there then must not
look complete if it is not. The same command must end with the same result as one that nobody disturbed, and leave no
other file.
"""

import argparse
import dataclasses
import functools
import hashlib
import io
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import objectstore

from arsetlib import stores

LONGEST = 600  # seconds that a command may take
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
TIMES = {"seconds", "resumed", "date_saved"}  # of JSON files: what the clock decides
SEALS = {"sha256", "files", "size"}  # of files that hold times


@dataclasses.dataclass
class Drill:
    """A command to be killed.

    Attributes:
        call: Makes the results in a folder.
        timed: Its files hold times: compare what else they hold.
        kept: Whether a file belongs to the results.
        seals: From the key of a file that says that results are complete to the start of the names of these; else None.
    """

    call: object
    timed: bool = False
    kept: object = lambda key: True
    seals: object = lambda key: key.removesuffix("_manifest.json") if key.endswith("_manifest.json") else None


def watch(folder: Path, act) -> None:
    """Call ``act`` before each write below a folder, in this process from now on."""
    here = str(folder)

    def hook(event, args):
        if event == "open":
            path, _, flags = args
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in EVENTS:
            path = args[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(here):
            act(event)

    sys.addaudithook(hook)


def watch_store(act) -> None:
    """Call ``act`` before each file that is put into a store or deleted there, in this process from now on."""
    import obstore

    from arsetlib import leases, stores

    class Watched:
        """``obstore``, with a stop before each write."""

        def __getattr__(self, name):
            return getattr(obstore, name)

        def put(self, *given, **options):
            act("put")
            return obstore.put(*given, **options)

        def delete(self, store, keys):
            for key in [keys] if isinstance(keys, str) else keys:  # a request for many may be cut in the middle
                act("delete")
                obstore.delete(store, key)

    stores._obstore = Watched
    leases.BEAT = 3600.0  # signs of life come when the clock says so


class Ended(NamedTuple):
    """How a process ended: write points it passed, what the call returned, what it raised and where."""

    points: int
    value: object = None
    problem: str | None = None
    trace: str = ""


def child(call, folder, act, told) -> None:
    """The body of a process: run the command, tell how it ended."""
    sys.stdout = sys.stderr = quiet = open(os.devnull, "w")  # noqa: SIM115 -- until the process ends
    os.dup2(quiet.fileno(), 2)  # what TensorFlow's own code writes
    count = [0]

    def step(event):
        count[0] += 1
        act(count[0], event)

    watch(folder, step) if isinstance(folder, Path) else watch_store(step)
    try:
        value = call(folder)
        told.send(Ended(count[0], value))
    except BaseException as problem:
        told.send(Ended(count[0], None, f"{type(problem).__name__}: {problem}", traceback.format_exc()))
    told.close()
    os._exit(0)


def run(call, folder, act=lambda n, event: None) -> Ended | None:
    """Call something with a folder in a process of its own; None where it was killed.

    Only such processes use a store: its connections have threads, which a fork would lose.
    """
    assert "tensorflow" not in sys.modules, "A process with TensorFlow cannot be forked: its threads would be missing."
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(call, folder, act, theirs))
    process.start()
    theirs.close()
    try:
        if not mine.poll(LONGEST):
            process.kill()
            raise TimeoutError(f"A command had not ended after {LONGEST} s.")
        answer = mine.recv()
    except EOFError:
        answer = None
    process.join()
    return answer


def kill_at(number: int, n: int, event: str) -> None:
    if n == number:
        os.kill(os.getpid(), signal.SIGKILL)


def full_from(number: int, n: int, event: str) -> None:
    if n >= number and event in ("open", "os.mkdir"):
        raise OSError(28, "No space left on device")


def held(drill: Drill, folder) -> dict[str, str]:
    """Key → digest of each file of the results."""
    keys = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {key: content(folder / key, drill.timed) for key in keys if drill.kept(key)}


def content(file, timed: bool) -> str:
    if file.suffix in (".keras", ".skops"):  # zip files with times
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as packed:
            parts = {n: packed.read(n) for n in packed.namelist() if n not in ("metadata.json", "config.json")}
        return json.dumps(sorted((n, values(p) if n.endswith(".h5") else sha(p)) for n, p in parts.items()))
    if file.suffix == ".json":
        return json.dumps(without(json.loads(file.read_text(encoding="utf-8")), TIMES | (SEALS if timed else set())))
    return sha(file.read_bytes())


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def values(content: bytes) -> list:
    """All arrays of an HDF5 file, which itself holds times."""
    import h5py

    found = []

    def visit(name, part):
        if isinstance(part, h5py.Dataset):
            found.append((name, sha(np.ascontiguousarray(part[()]).tobytes())))

    with h5py.File(io.BytesIO(content)) as opened:
        opened.visititems(visit)
    return sorted(found)


def without(value, names):
    if isinstance(value, dict):
        return {k: without(v, names) for k, v in value.items() if k not in names}
    return [without(v, names) for v in value] if isinstance(value, list) else value


def undisturbed(drill: Drill, work) -> tuple[int, dict[str, str]]:
    """The write points of a command and its results, where nothing happens."""
    whole = run(functools.partial(command, drill), inside(work / "whole"))
    assert whole.problem is None, whole.trace
    return whole.points, run(functools.partial(held, drill), work / "whole").value


def command(drill: Drill, out) -> None:
    """The command, without what it gives back."""
    drill.call(out)


def drilled(drill: Drill, work, points: int, expected: dict[str, str], most: int, full: bool = False) -> dict:
    """Disturb a command at its write points, ``most`` of them spread evenly, the last included; what came of it."""
    look, call = functools.partial(held, drill), functools.partial(command, drill)
    numbers = sorted(set(np.linspace(0, points, min(points, most) + 1).round().astype(int).tolist()))[1:]
    wrong, litter = [], 0
    for number in numbers:
        place = work / f"{'full' if full else 'killed'}-at-{number}"
        ended = run(call, inside(place), functools.partial(full_from if full else kill_at, number))
        if full and ended is not None and ended.problem is not None and "full" not in ended.problem:
            wrong.append((number, f"says of a full disk: {ended.problem}"))
        if not full and ended is not None:
            wrong.append((number, f"was not killed: {ended.problem}"))
        if differ := too_early(drill, run(look, place).value, expected):
            wrong.append((number, f"looks complete without {differ[:4]}"))
        problem = run(call, place / "out").problem
        found = run(look, place).value
        if problem:
            wrong.append((number, problem))
        elif differ := sorted(k for k in expected if found.get(k) != expected[k]):
            wrong.append((number, f"differs in {differ[:4]}"))
        if more := sorted(set(found) - set(expected)):
            litter += len(more)
            wrong.append((number, f"left {more[:4]}"))
    same = len(numbers) - len({number for number, _ in wrong})
    return {"points": points, "tried": len(numbers), "same": same, "litter": litter, "wrong": wrong}


def inside(place):
    """The folder of the results, in a folder that is there."""
    place.mkdir(parents=True)
    return place / "out"


def too_early(drill: Drill, found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Keys that are not there as they will be, although a file says that they are."""
    starts = [start for key in found if key in expected and (start := drill.seals(key)) is not None]
    return sorted(k for k in expected if k.startswith(tuple(starts)) and found.get(k) != expected[k])


# -- the commands ----------------------------------------------------------------------------------------------------


def ingest(work: Path) -> Drill:
    import tiny

    from arsetlib.ingest import ingest

    place = tiny.make(work)
    return Drill(lambda out: ingest(place.study, place.scenes, place.labels, out, progress=False))


def predict(work: Path) -> Drill:
    import test_predict
    import tiny

    from arsetlib import maps, samples
    from arsetlib.ingest import ingest

    place = tiny.make(work)
    ingest(place.study, place.scenes, place.labels, work / "table", progress=False)
    scaler = samples.Scaler.fit(samples.Rows.of(work / "table"), place.study)
    model = test_predict.Linear(place.study, scaler)
    options = {"area": "west", "year": 2021, "progress": False, "smooth": "majority"}
    return Drill(
        lambda out: maps.predict(model, work / "table", [120, 150], out, **options),
        seals=lambda key: key.removesuffix("json") if key.endswith(".json") and ".partial/" not in key else None,
    )


def delta(work: Path) -> Drill:
    import importlib

    from arsetlib import simulate

    module = importlib.import_module("arsetlib.simulate.delta")
    real = module.sky.overpasses

    def run(out):
        with mock.patch.object(module.sky, "overpasses", lambda *a: real(*a)[:2]):  # each overpass is like the others
            simulate.delta(out, scale=0.03, years=[2021], jobs=1, progress=False)

    return Drill(run)


def grove(work: Path) -> Drill:
    from arsetlib import simulate

    return Drill(lambda out: simulate.groves(out, captures=2, size=(96, 128), jobs=1, progress=False))


def fields(work: Path) -> Drill:
    from arsetlib import simulate

    return Drill(lambda out: simulate.fields(out, fields=2, chips=2, size=32, jobs=1, progress=False))


def convert(work: Path, form: str = "parquet") -> Drill:
    from arsetlib import fields, simulate

    simulate.fields(work / "fields", fields=20, chips=2, size=32, jobs=1, progress=False)
    chips = fields.agriculture_vision(work / "fields", progress=False)
    options = {"shard_mb": 0.02, "jobs": 1, "progress": False}
    return Drill(lambda out: fields.convert(chips, out, form, **options))


def train_baseline(work: Path) -> Drill:
    import few

    from arsetlib import training

    sides = few.make_sides()
    return Drill(lambda out: training.fit("majority", sides, few.STUDY, folder=out, progress=False), timed=True)


def train_keras(work: Path) -> Drill:
    import few

    from arsetlib import training

    sides = few.make_sides()
    options = {"epochs": 3, "patience": 2, "batch": 64, "seed": 2, "tensorboard": False, "progress": False}
    return Drill(lambda out: training.fit(few.network(), sides, few.STUDY, folder=out, **options), timed=True)


def pretrain(work: Path) -> Drill:
    import few

    from arsetlib import training

    sides = few.make_sides()
    options = {"epochs": 3, "patience": 2, "batch": 64, "seed": 2, "tensorboard": False, "progress": False}
    return Drill(lambda out: training.pretrain(few.network(), sides, few.STUDY, folder=out, **options), timed=True)


def audit(work: Path) -> Drill:
    import labelled

    from arsetlib import audit, pixels
    from arsetlib.audit import runs

    table = labelled.table(side=18)
    pixels.write(table, work / "pixels.parquet", pixels.Meta.of(table))
    options = {"start": 105, "folds": 2, "progress": False}

    def quick(parts, number, study, model, *rest, whole=runs.fold_of):
        return whole(parts, number, study, "majority", *rest)

    def call(out: Path) -> None:
        with mock.patch.object(runs, "fold_of", quick):
            audit.run(work / "pixels.parquet", labelled.study(), out, **options)

    return Drill(call)


def segment_predict(work: Path) -> Drill:
    from PIL import Image

    for name in "abc":
        image = np.random.default_rng(ord(name)).integers(0, 255, (80, 100, 3), dtype=np.uint8)
        (work / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(work / "images" / f"{name}.png")

    def call(out):
        import keras

        from arsetlib import groves

        keras.utils.set_random_seed(1)
        image = keras.Input((32, 32, 3))
        model = keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax", name="c")(image), name="tiny")
        groves.predict(groves.Segmenter(model), work / "images", out, progress=False)

    return Drill(call)


def grade(work: Path) -> Drill:
    from arsetlib.grading import grader
    from arsetlib.grading.limits import Limits
    from homework import hostile

    folder = work / "submissions"
    folder.mkdir()
    (folder / "ada.ipynb").write_bytes(hostile.notebook("Ada"))
    (folder / "cy.ipynb").write_bytes(b"{}")
    data = Path(os.environ.get("ARSET_DRILL_DATA") or work / "data")
    limits = Limits()

    def call(out):
        grader.grade(folder, out=out / "grades.csv", data=data, jobs=1, limits=limits, trust=True, progress=False)

    return Drill(call, kept=lambda key: not key.endswith(".log"))


DRILLS = {
    "ingest": ingest,
    "predict": predict,
    "simulate delta": delta,
    "simulate grove": grove,
    "simulate fields": fields,
    "convert parquet": convert,
    "convert directory": functools.partial(convert, form="directory"),
    "convert tfrecord": functools.partial(convert, form="tfrecord"),
    "train baseline": train_baseline,
    "train keras": train_keras,
    "pretrain": pretrain,
    "audit": audit,
    "segment predict": segment_predict,
    "grade": grade,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", default=list(DRILLS), help=f"some of: {', '.join(DRILLS)}")
    parser.add_argument("--most", type=int, default=100_000, help="points of a command, spread evenly")
    parser.add_argument("--full", action="store_true", help="the disk gets full in place of a kill")
    parser.add_argument("--also-full", type=int, default=0, help="after the kills, points where the disk gets full")
    parser.add_argument("--store", action="store_true", help="results in an object store")
    options = parser.parse_args()
    chosen = [name for name in DRILLS if name in options.commands]
    chosen = chosen or [name for name in DRILLS if any(part in name for part in options.commands)]
    print(f"{'command':18} {'points':>6} {'tried':>6} {'same result':>12} {'litter':>7} {'seconds':>8}", flush=True)
    bad = False
    for name in chosen:  # each in a process of its own, which ends with all that it has imported
        process = multiprocessing.get_context("fork").Process(
            target=show, args=(name, options.most, options.full, options.also_full, options.store)
        )
        process.start()
        process.join()
        bad |= process.exitcode != 0
    return 1 if bad else 0


def show(name: str, most: int, full: bool, also_full: int, store: bool) -> None:
    """Drill one command and print what came of it; exit code 1 where something is wrong."""
    ways, bad = [(most, full)] + [(also_full, True)] * bool(also_full), False
    with tempfile.TemporaryDirectory() as folder, objectstore.s3_server() if store else nullcontext() as url:
        began, work = time.perf_counter(), Path(folder).resolve()
        (work / "given").mkdir()
        drill = DRILLS[name](work / "given")
        if store:  # copies and files in work of killed processes go with this folder, too
            os.environ |= {**objectstore.variables(url), "XDG_CACHE_HOME": str(work / "cache")}
            tempfile.tempdir = str(work)
        results = stores.place(objectstore.new_bucket(url)) if store else work
        points, expected = undisturbed(drill, results)
        for most, full in ways:
            made = drilled(drill, results, points, expected, most, full)
            print(
                f"{name:18} {made['points']:6} {made['tried']:6} {made['same']:12} {made['litter']:7} "
                f"{time.perf_counter() - began:8.1f}{'  (full disk)' if full else ''}",
                flush=True,
            )
            for number, words in made["wrong"]:
                print(f"    point {number}: {words}", flush=True)
            bad |= bool(made["wrong"] or made["litter"])
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    sys.exit(main())
