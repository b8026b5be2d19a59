"""Run benchmarks, each in a process of its own, and gather their figures.

    python benchmarks             # all
    python benchmarks remote …    # these; the figures of the others stay as they are

writes ``benchmarks/results.json``: a list with one entry per benchmark, each with the machine and the day on which it
ran, from which the book's performance page is drawn. ``gpu`` runs where there is an NVIDIA card. Figures are written as
soon as their benchmark has ended, so a stopped run keeps what it has measured. Ends with code 1 if a benchmark failed;
a goal that was missed is no failure.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"


def main() -> int:
    known = sorted(script.stem for script in HERE.glob("[!_]*.py") if script.stem != "measure")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to run; all by default: {', '.join(known)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(known):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = names or [n for n in known if n != "gpu" or shutil.which("nvidia-smi")]
    failed = [name for name in names if not run(name)]
    if failed:
        print(f"Failed, and without new figures: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(name: str) -> bool:
    """Run one benchmark, and put its figures in the place of its earlier ones; whether it went well."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch, "figures.json")
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(part)]
        if subprocess.run(command).returncode or not part.is_file():
            return False
        found = json.loads(part.read_text(encoding="utf-8"))
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    results = sorted([r for r in results if r["benchmark"] != name] + [found], key=lambda r: r["benchmark"])
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Written: {RESULTS}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
