"""Fixtures that several test modules share."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import objectstore
import pytest
from badserver import BadServer
from filelock import FileLock
from hypothesis import settings

from arsetlib.stores import StorePath, place

# What takes longest goes first, so that no process is left with a lab while the others are done.
LONGEST = (
    "test_labs", "test_ingest", "test_objects", "test_grading", "test_homework_answers", "test_folders", "test_predict",
    "test_ingest_http", "test_workers", "test_backends", "test_everywhere", "test_places", "test_simulate",
    "test_training", "test_search", "test_fields_training", "test_groves_training", "test_pretrain", "test_java",
    "test_teach", "test_samples", "test_fields", "test_cli", "test_transfer", "test_keras_segmentation",
    "test_translation", "test_quiet", "test_remote_servers", "test_other_stores", "test_commands", "test_checksums",
    "test_simulate_groves", "test_real_points", "test_handin", "test_homework", "test_pixels", "test_models",
    "test_extras", "test_evaluation",
)  # fmt: skip

STARTUP = Path(__file__).parent / "startup"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(STARTUP), os.environ.get("PYTHONPATH")]))
exec((STARTUP / "sitecustomize.py").read_text(encoding="utf-8"))  # in this process, which has started already
# What is imported is compiled once, and not by each of the hundreds of processes that tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("untimed", deadline=None)  # how long an example takes depends on the machine
settings.load_profile("untimed")

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


def pytest_collection_modifyitems(items):
    """Labs first, then the modules that take longest."""
    rank = {module: i for i, module in enumerate(LONGEST)}
    items.sort(key=lambda item: (rank.get(item.path.stem, len(rank)), item.get_closest_marker("labs") is None))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Processes share the work by module, for its fixtures' sake; each lab is a piece of its own.

    A scheduler of our own, for with pytest 9.2 the groups of pytest-xdist are lost without a word (its issue 1386).
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByModule(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return nodeid if "::test_a_lab_runs" in nodeid else super()._split_scope(nodeid)

    return ByModule(config, log)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real files; tests that need it are skipped where it is absent."""
    if not REAL.is_dir():
        pytest.skip(f"real data is not at {REAL}")
    return REAL


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; tests that need it are skipped where it is absent, but fail in CI."""
    path = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")
    if path is None:
        reason = f"no browser at {CHROMIUM}: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def server(tmp_path):
    """An http server on this machine that serves what a test puts, and fails as it asks."""
    folder = tmp_path / "served"
    folder.mkdir()
    with BadServer(folder) as server:
        yield server


@pytest.fixture(scope="session")
def spark():
    """One local Spark session for all tests of a process."""
    from arsetlib import engine

    # Workers import the functions that tests hand to Spark.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    session = engine.session("local[2]")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function that returns a folder, which the first process of a run that asks for it makes.

    All processes use it at once, so a test must not write into it: ``sharing`` has functions for a copy.
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        made = root / f"{name}.made"
        with FileLock(root / f"{name}.lock"):
            if not made.exists():
                make(root / name)
                made.touch()
        return root / name

    return folder


@pytest.fixture(scope="session")
def delta(once) -> Path:
    """One year of a tiny simulated delta; ``study.toml`` is its study, ``two_areas.toml`` a smaller one."""
    from arsetlib import simulate

    def make(out):
        simulate.delta(out, scale=0.03, years=(2021,), jobs=1, progress=False)
        text = (out / "study.toml").read_text(encoding="utf-8")
        fewer = re.sub(r"\[areas\.box_[2-7]\]\n(?:.+\n)+\n?", "", text)
        (out / "two_areas.toml").write_text(fewer, encoding="utf-8")

    return once("delta", make)


@pytest.fixture(scope="session")
def toy(once) -> Path:
    """The small simulated delta, its table, the grove and the fields, as labs and homework make them."""

    def make(folder):
        from arsetlib import lab

        lab.place(data=folder, small=True).table()
        lab.groves(data=folder, small=True)
        lab.fields(data=folder, small=True)

    return once("toy", make)


@pytest.fixture(scope="session")
def s3_url():
    """Address of an S3 server on this machine, one for all tests of a process."""
    with objectstore.s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3_url, tmp_path, monkeypatch) -> StorePath:
    """An empty bucket on that server; the environment leads the library, and what it starts, to it.

    Copies of its files go to a cache of the test.
    """
    for name, value in objectstore.variables(s3_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place(objectstore.new_bucket(s3_url))
