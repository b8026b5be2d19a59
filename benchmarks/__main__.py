"""Run every benchmark, each in a process of its own, and gather their figures.

    python benchmarks

writes ``benchmarks/results.json``: a list with one entry per benchmark, from which the book's performance page is
drawn. ``gpu`` runs where there is an NVIDIA card. Ends with code 1 if a benchmark failed; a goal that was missed is no
failure.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent


def main() -> int:
    options = measure.arguments(__doc__)
    results, failed = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for script in sorted(HERE.glob("[!_]*.py")):
            if script.stem == "measure" or (script.stem == "gpu" and not shutil.which("nvidia-smi")):
                continue
            print(f"== {script.stem}", flush=True)
            part = Path(scratch, f"{script.stem}.json")
            command = [sys.executable, str(script), "--json", str(part)]
            if subprocess.run(command).returncode == 0 and part.is_file():
                results.append(json.loads(part.read_text(encoding="utf-8")))
            else:
                failed.append(script.stem)
    if failed:
        print(f"Failed, so nothing was written: {', '.join(failed)}", file=sys.stderr)
        return 1
    target = options.json or HERE / "results.json"
    target.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Written: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
