"""Prepare, once, the data that all learners of a class need: `make class-data OUT=FOLDER`.

    python book/class_data.py FOLDER

makes the simulated delta, its list of scenes and pixel table, the grove and the fields, and writes ``SHA256SUMS``. With
``ARSET_SCALE=small`` all are small. The page *Run a class of 40* says how learners share the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from arsetlib import checksums, lab


def main(out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    here = lab.place(data=out)
    here.scenes()
    here.labels()
    here.table()
    lab.groves(data=out)
    lab.fields(data=out)
    files = sorted(file for file in out.rglob("*") if file.is_file() and file.name != checksums.LIST)
    lines = [f"{checksums.sha256(file)}  {file.relative_to(out).as_posix()}\n" for file in files]
    (out / checksums.LIST).write_text("".join(lines), encoding="utf-8")
    size = sum(file.stat().st_size for file in files)
    print(f"{out}: {len(files)} files, {size / 1e6:,.0f} MB")
    print(f"Check a copy with: sha256sum --check --quiet {checksums.LIST}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("Expected one folder: make class-data OUT=/srv/class")
    sys.exit(main(Path(sys.argv[1])))
