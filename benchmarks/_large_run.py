"""One ingestion of more than 5 GB of scenes, too long for `make bench`: run by hand, kept in benchmarks/recorded.json.

    python benchmarks/_large_run.py FOLDER

simulates the delta at fourteen times its size in FOLDER (once), ingests it on two Spark cores and on the small delta of
`make data` in the same way, and records time, memory of the largest worker, and what a pixel-year cost in both.
"""

import json
import sys
import threading
import time
from pathlib import Path

import measure

from arsetlib import catalogue, engine, pixels, simulate
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.study import Study

RECORD = Path(__file__).with_name("recorded.json")


def worker_memory() -> dict[str, int]:
    """Peak resident memory, MB, of each Python worker of Spark that runs now."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"pyspark.worker" in (process / "cmdline").read_bytes():
                status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
                found[process.name] = int(status["VmHWM"].split()[0]) // 1000
        except (OSError, KeyError):
            continue
    return found


def run(delta: Path, out: Path, spark) -> dict[str, float]:
    study = Study.load(delta / "study.toml")
    scenes = catalogue.find_scenes(study, progress=False)
    labels = {year: find_labels(study, year, out.parent / "labels") for year in study.years}
    bytes_of_scenes = sum(Path(href).stat().st_size for scene in scenes for href in scene.hrefs.values())
    peak, done = {}, threading.Event()

    def watch():
        while not done.wait(0.5):
            for worker, megabytes in worker_memory().items():
                peak[worker] = max(peak.get(worker, 0), megabytes)

    threading.Thread(target=watch, daemon=True).start()
    started = time.perf_counter()
    summary = ingest(study, scenes, labels, out, spark=spark)
    seconds = time.perf_counter() - started
    done.set()
    assert not summary.resumed, f"{out} was there already: give a new folder to time"
    assert pixels.check(out).ok
    return {
        "scenes, GB": bytes_of_scenes / 1e9,
        "pixel-years": summary.rows,
        "observations": summary.observations,
        "seconds": seconds,
        "milliseconds a pixel-year": 1000 * seconds / summary.rows,
        "table, MB": sum(f.stat().st_size for f in out.glob("*.parquet")) / 1e6,
        "largest worker, MB": max(peak.values()),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    large = simulate.delta(folder / "delta", scale=14)
    spark = engine.session("local[2]")
    runs = {"small": run(Path("data/delta"), folder / "small", spark), "large": run(large, folder / "large", spark)}
    figures = measure.Figures("large_run")
    size = {name: one["scenes, GB"] for name, one in runs.items()}
    figures.add("gigabytes_of_scenes", size["large"], 5, "GB", runs["large"])
    cost = {name: one["milliseconds a pixel-year"] for name, one in runs.items()}
    figures.add("time_per_pixel_year", cost["small"] / cost["large"], 0.9, "x", cost)
    memory = {name: one["largest worker, MB"] for name, one in runs.items()}
    figures.add("memory_under_1500_megabytes", 1500 / memory["large"], 1, "x", memory)
    record = [{"benchmark": figures.name, "machine": measure.machine(), "figures": figures.rows}]
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
