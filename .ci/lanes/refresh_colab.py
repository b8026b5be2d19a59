"""Write colab.txt anew from Colab's public list: `python .ci/lanes/refresh_colab.py [LIST DAY]`.

Without arguments it downloads the list. Kept are the packages of Colab that this library or its extras ask for, and
what those need, all in Colab's versions. Then run `make lane-colab`, and state the day in book/en/setup.md.
"""

import datetime
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = "https://raw.githubusercontent.com/googlecolab/backend-info/main/pip-freeze.txt"
PYTHON = "3.13"  # Colab's; the lane `colab` uses the same
UV = os.environ.get("UV", "uv")  # a full path, where uv is not on the PATH
EXTRAS = ("spark", "vector", "labs", "train", "images")
KERNEL = ("ipython", "jupyter-client", "pip", "pyspark[connect]", "setuptools", "tornado")  # what must keep its version


def main(text: str, day: str) -> None:
    pins = {normal(found[1]): found[2] for found in re.finditer(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *KERNEL]
    asked += [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    names = {re.match(r"[\w.-]+(\[\w+\])?", line)[0] for line in asked}
    names = {name for name in names if normal(name.split("[")[0]) in pins}
    with tempfile.TemporaryDirectory() as folder:
        wanted, fixed, made = Path(folder, "wanted.in"), Path(folder, "fixed.txt"), Path(folder, "made.txt")
        wanted.write_text("\n".join(sorted(names)))
        fixed.write_text("\n".join(f"{name}=={version}" for name, version in pins.items()))
        quiet = ["--quiet", "--no-annotate", "--no-header", "--python-version", PYTHON]
        command = [UV, "pip", "compile", *quiet, wanted, "--constraints", fixed, "-o", made]
        subprocess.run(command, cwd=folder, check=True)  # outside the project: its [tool.uv] changes what is asked for
        lines = [line for line in made.read_text().splitlines() if normal(line.split("==")[0]) in pins]
    head = (
        f"# Colab's versions of what this library can touch, for Python {PYTHON}; refresh_colab.py writes this file.\n"
    )
    head += f"# {SOURCE}, read on {day}\n"
    (HERE / "colab.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} of Colab's {len(pins)} packages are in colab.txt")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2])
    else:
        with urllib.request.urlopen(SOURCE, timeout=60) as answer:
            main(answer.read().decode(), datetime.datetime.now(datetime.UTC).date().isoformat())
