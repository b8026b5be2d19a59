"""Build the wheel and the sdist, and check what a stranger gets: `python .ci/dist.py [v1.2.3]` (`make dist`).

Both hold every file of the package that git knows, and nothing else of this repository. The wheel is built from the
sdist. Installed in an empty environment and folder, without extras, it makes simulated data and finds the learners'
notebooks. With a tag the version must be that of the tag, and the address of the copy must be set.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "_build" / "dist"
UV = os.environ.get("UV", "uv")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = PROJECT["version"]
BESIDE = {
    "README.md",
    "LICENSE",
    "LICENSE-TEXT",
    "pyproject.toml",
    "hatch_build.py",
    "PKG-INFO",
    ".gitignore",
}  # in the sdist
NEEDED = ("arsetlib/py.typed", "arsetlib/studies/sample.toml", "arsetlib/grading/student/part1/part1.ipynb")


def main(tag: str = "") -> None:
    if tag and tag != f"v{VERSION}":
        sys.exit(f"The tag is {tag}, the version in pyproject.toml is {VERSION}. Expected v{VERSION}.")
    if tag and "not-set" in PROJECT["urls"]["Homepage"]:
        sys.exit("The address of this copy is not set, so there is nothing to release: make home URL=…")
    shutil.rmtree(DIST, ignore_errors=True)
    run(UV, "build", "--quiet", "--out-dir", str(DIST))
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    (DIST / ".gitignore").unlink(missing_ok=True)  # uv puts it there; a publisher takes every file
    contents(wheel, sdist)
    run(UV, "tool", "run", "twine", "check", "--strict", str(wheel), str(sdist))
    with tempfile.TemporaryDirectory() as folder:
        try_out(wheel, Path(folder))
    print(f"{wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB) and {sdist.name} are complete and work.")


def contents(wheel: Path, sdist: Path) -> None:
    """Compare both with what git knows; ends with a message where they differ."""
    listed = run("git", "ls-files", "-z", "arsetlib", capture=True)
    expected = {name for name in listed.split("\0") if name}
    missing = set(NEEDED) - expected
    with zipfile.ZipFile(wheel) as file:
        in_wheel = {name for name in file.namelist() if ".dist-info/" not in name}
        info = f"arsetlib-{VERSION}.dist-info"
        metadata = file.read(f"{info}/METADATA").decode()
        missing |= {f"{info}/{name}" for name in ("entry_points.txt", "licenses/LICENSE")} - set(file.namelist())
    with tarfile.open(sdist) as file:
        in_sdist = {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()} - BESIDE
    compiled = {name.removesuffix(".po") + ".mo" for name in expected if name.endswith(".po")}  # by hatch_build.py
    for name, found, wanted in ((wheel.name, in_wheel, expected | compiled), (sdist.name, in_sdist, expected)):
        if found != wanted or missing:
            sys.exit(
                f"{name}: missing {sorted(wanted - found | missing)}, "
                f"too many {sorted(found - wanted)}. Is a new file not yet known to git?"
            )
    if f"\nVersion: {VERSION}\n" not in metadata:
        sys.exit(f"{wheel.name}: its metadata states another version than {VERSION}.")


def try_out(wheel: Path, folder: Path) -> None:
    """Use the wheel as a stranger would, in an environment that has nothing else."""
    run(UV, "venv", "--quiet", "--python", sys.executable, str(folder / "env"))
    python, arset = folder / "env" / "bin" / "python", folder / "env" / "bin" / "arset"
    run(UV, "pip", "install", "--quiet", "--python", str(python), str(wheel))
    empty = folder / "empty"
    empty.mkdir()
    said = run(str(arset), "--version", cwd=empty, capture=True)
    if said.strip() != f"arset {VERSION}":
        sys.exit(f"Expected arset --version to print 'arset {VERSION}', received {said!r}.")
    run(str(arset), "simulate", "data", "--scale", "0.03", "--year", "2021", cwd=empty, capture=True)
    run(str(arset), "homework", "start", "part1", "--seed", "anyone", cwd=empty, capture=True)
    if not list(empty.glob("**/part1.ipynb")):
        sys.exit("arset homework start part1 left no notebook.")


def run(*command: str, cwd: Path = ROOT, capture: bool = False) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, cwd=cwd, env=clean, text=True, stdout=subprocess.PIPE if capture else None)
    if done.returncode:
        sys.exit(f"This fails with {done.returncode}: {' '.join(command)}")
    return done.stdout or ""


if __name__ == "__main__":
    main(*filter(None, sys.argv[1:]))
