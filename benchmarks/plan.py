"""Planning the ingestion of a country: 400,000 chunks of three years, and 100,000 scenes. No image is read.

Figures:
    plan: 60 s over the time from an item list in memory to the first task: plan, names of all chunks, folder, scenes.
    plan_memory: 2 GB over the peak of a process that reads the saved item list and does all this.
    task: time to read the whole item list, as each worker did before, over the time in which a task finds its scenes.
    notes: thousand notes of finished chunks that are read in a second, as by a run that continues.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _country
import measure

from arsetlib import folders
from arsetlib.catalogue import Scenes
from arsetlib.ingest import IngestError, inputs
from arsetlib.ingest.plan import chunks_of
from arsetlib.ingest.plan import plan as make_plan
from arsetlib.ingest.survey import Survey

CHUNKS, SCENES = 400_000, 100_000
SECONDS, MEGABYTES = 60, 2000
NOTES = 4000  # chunks whose notes are read


def save(folder: str, chunks: int, scenes: int) -> dict:
    """In a process of its own: make the item list, so that the memory of making it is not measured."""
    study, _ = _country.study_and_labels(Path(folder), chunks)
    _country.scenes(study, scenes).save(Path(folder) / "items.json")
    return {}


def plan(folder: str, chunks: int, scenes: int) -> dict:
    """In a process of its own: what a run does before its first task, and what the first tasks do before they read."""
    study, labels = _country.study_and_labels(Path(folder), chunks)
    started = time.perf_counter()
    items = Scenes.load(Path(folder) / "items.json")
    loaded = time.perf_counter()
    known = Survey({s.id: {"answer": "confirmed", "decided": 0, "stated": 0, "evidence": "-" * 60} for s in items})
    out = Path(folder) / "table"
    begun, worked = time.perf_counter(), time.process_time()
    plan = make_plan(study, items, labels, None, None)
    cut = chunks_of(study, labels, plan)
    names = [chunk.name for chunk in cut]
    with folders.claim(out, plan, names, what="pixel table", error=IngestError) as table:
        missing = table.missing()
        inputs.put(table, items, known)
        planned, worked = time.perf_counter(), time.process_time() - worked
        near = [len(inputs.of(table, 1, cut, cut[len(names) * i // 7], study)[0]) for i in range(1, 7)]
        found = time.perf_counter()
        for name in names[:NOTES]:
            table.put(f"{name}.parquet", b"")
            table.finish(name, [f"{name}.parquet"], rows=0, counts={})
        written = time.perf_counter()
        if len(table.missing()) != len(names) - NOTES:
            raise RuntimeError("finished chunks were not found")
        noted = time.perf_counter() - written
    # Not getrusage: its peak of a child begins with the parent's.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "chunks": len(missing), "scenes": len(items), "scenes of a task": max(near), "load, s": loaded - started,
        "plan, s": planned - begun,
        "plan, s of processor": worked, "task, s": (found - planned) / len(near), "notes, s": noted,
        "plan, MB": (out / "_plan.json").stat().st_size / 1e6, "peak, MB": int(status["VmHWM"].split()[0]) / 1e3,
    }  # fmt: skip


def own_process(function: str, *arguments: object) -> dict:
    """What a function of this file returns, called in a process of its own."""
    code = "import sys, json; sys.path.insert(0, 'benchmarks'); import plan; "
    code += f"print(json.dumps(plan.{function}{arguments}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    measure.arguments(__doc__)
    figures = measure.Figures("plan")
    with tempfile.TemporaryDirectory() as folder:
        size = CHUNKS, SCENES
        own_process("save", folder, *size)
        took = own_process("plan", folder, *size)
    figures.add("plan", SECONDS / took["plan, s"], 1, "x", took)
    figures.add("plan_memory", MEGABYTES / took["peak, MB"], 1, "x", {"peak, MB": took["peak, MB"]})
    figures.add("task", took["load, s"] / took["task, s"], 10, "x", {k: took[k] for k in ("load, s", "task, s")})
    figures.add("notes", NOTES / 1000 / took["notes, s"], None, "thousand/s", {"notes": NOTES, "s": took["notes, s"]})
    figures.finish()


if __name__ == "__main__":
    main()
