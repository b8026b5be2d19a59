"""Ingestion against the original course's way and against the bare reads it cannot avoid.

Figures:
    dense_against_original, sparse_against_original: time of the original's way (read each whole file, sample it point
        by point, group and convert the points in Python) over ours, on the same area and scenes, in one process; the
        grouping is done by pandas, which spares the original Spark's overhead.
    bare_reads_dense, bare_reads_sparse: time of the same windows read with rasterio, and nothing else, over ours.
    cores, chunks: time on one Spark core over that on two; time per chunk of a few chunks over that of many.
    memory, memory_flat: 1.5 GB over a worker's peak; the peak on a quarter of the region over that on all of it.
"""

import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import rasterio
from pyproj import Transformer

from arsetlib import catalogue, engine, simulate
from arsetlib import ingest as module
from arsetlib.study import Study

DATA = Path("data/bench/delta")
YEAR = 2021


def place(scenes: int | None = None, side: int | None = None, every: int = 1):
    """Study, scenes and labels: the dense box of the simulated delta, cut to a few scenes and pixels."""
    study = Study.load(DATA / "study.toml").replace(years=(YEAR,))
    area = study.areas[-1]
    west, _, _, north = area.bounds
    if side:
        area = replace(area, bounds=(west, north - side * 30, west + side * 30, north), every=every)
    study = study.replace(areas=(replace(area, every=every),))
    found = catalogue.find_scenes(study, progress=False)
    if scenes:
        step = max(1, len(found) // scenes)
        found = replace(found, items=found.items[::step][:scenes])
    return study, found, {YEAR: catalogue.find_labels(study, YEAR, DATA / "labels")}


def ours(study, scenes, labels, **how):
    with tempfile.TemporaryDirectory() as folder:
        return module.ingest(study, scenes, labels, Path(folder) / "out", progress=False, **how)


def original(study, scenes, labels) -> int:
    """Whole files, one point after another, then a group per pixel converted by a Python function."""
    grid = module._Grid.of(labels[YEAR])
    chunks, _ = module._plan(study, scenes, labels, None, None)
    parts = [module._candidates(c, study, labels[YEAR], {}, study.areas[0].every) for c in chunks]
    x, y = grid.centres(np.concatenate([p[0] for p in parts])[:], np.concatenate([p[1] for p in parts]))
    rows = []
    for scene in scenes:
        points = list(zip(*Transformer.from_crs(grid.crs, scene.epsg, always_xy=True).transform(x, y), strict=True))
        columns = {}
        for asset in ("scl", *study.bands):
            with rasterio.open(scene.hrefs[asset]) as src:
                src.read(1)  # the original downloaded the whole file before it sampled
                columns[asset] = [int(value[0]) for value in src.sample(points)]
        for i in range(len(points)):
            scl = columns["scl"][i]
            if scl not in study.drop_scl:
                rows.append((i, scene.day, scl, [columns[b][i] for b in study.bands]))
    table = pd.DataFrame(rows, columns=["pixel", "day", "scl", "bands"])

    def convert(group):
        group = group.sort_values("day")
        bands = b"".join(np.array(v, ">u2").tobytes() for v in group["bands"])
        return group["day"].to_numpy(">u2").tobytes(), group["scl"].to_numpy("u1").tobytes(), bands

    return len([convert(group) for _, group in table.groupby("pixel")])


def windows_of(study, scenes, labels) -> list:
    """The (file, window) pairs that ours reads."""
    seen = []
    plain_open = rasterio.open

    def spy(path, *args, **kwargs):
        source = plain_open(path, *args, **kwargs)
        if ".tif" in str(path) and "scenes" in str(path):
            read = source.read
            return _Spy(source, lambda band, window: seen.append((str(path), window)) or read(band, window=window))
        return source

    module.rasterio.open = spy
    try:
        ours(study, scenes, labels)
    finally:
        module.rasterio.open = plain_open
    return seen


class _Spy:
    """A dataset whose reads are noted."""

    def __init__(self, source, read):
        self.source, self.read = source, read

    def __getattr__(self, name):
        return getattr(self.source, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.source.close()


def bare(windows) -> None:
    with rasterio.Env(**module.GDAL):
        for path, window in windows:
            with rasterio.open(path) as src:
                src.read(1, window=window)


@contextmanager
def chunk_pixels(number: int):
    before, module.CHUNK_PIXELS = module.CHUNK_PIXELS, number
    try:
        yield
    finally:
        module.CHUNK_PIXELS = before


def peak_memory(side: int) -> float:
    """Peak resident memory, MB, of a fresh process that ingests a square of the delta."""
    code = "import sys; sys.path.insert(0, 'benchmarks'); import ingest; ingest.one_process(int(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(side)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def one_process(side: int) -> None:
    with chunk_pixels(32 * 32):
        ours(*place(side=side))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def main() -> None:
    options = measure.arguments(__doc__)
    simulate.delta(DATA, years=(YEAR,))
    figures = measure.Figures("ingest")
    repeats = 1 if options.quick else 3
    for kind, every, goal in (("dense", 1, 30), ("sparse", 15, 5)):
        few = place(scenes=4 if options.quick else 12, side=32 if kind == "dense" else None, every=every)
        windows = windows_of(*few)
        seconds = measure.sides(
            {
                "ours": lambda few=few: ours(*few),
                "bare reads": lambda windows=windows: bare(windows),
                "original": lambda few=few: original(*few),
            },
            repeats,
        )
        figures.add(f"{kind}_against_original", seconds["original"] / seconds["ours"], goal, "x", seconds)
    for kind, every in (("dense", 1), ("sparse", 15)):
        whole = place(every=every, scenes=12 if options.quick else None)
        windows = windows_of(*whole)
        seconds = measure.sides({"ours": lambda w=whole: ours(*w), "bare reads": lambda w=windows: bare(w)}, repeats)
        figures.add(f"bare_reads_{kind}", seconds["bare reads"] / seconds["ours"], 0.6, "x", seconds)
    if not options.quick:
        scaling(figures)
        small, large = peak_memory(32), peak_memory(64)
        sides = {"quarter, MB": small, "whole, MB": large}
        figures.add("memory", 1500 / large, 1, "x", sides)
        figures.add("memory_flat", small / large, 0.9, "x", sides)
    figures.finish()


def scaling(figures) -> None:
    """Each core count in a process of its own, since a process holds one Spark."""
    times = {cores: spark_seconds(cores, 64) for cores in (1, 2)}
    figures.add("cores", times[1] / times[2], 1.7, "x", {f"{c} core, s": t for c, t in times.items()})
    with chunk_pixels(16 * 16):
        timed = {}
        for name, side in (("few", 32), ("many", 64)):
            study, scenes, labels = place(side=side)
            started = time.perf_counter()
            timed[name] = ours(study, scenes, labels).chunks, time.perf_counter() - started
    per_chunk = {name: seconds / chunks for name, (chunks, seconds) in timed.items()}
    figures.add("chunks", per_chunk["few"] / per_chunk["many"], 0.9, "x", per_chunk)


def spark_seconds(cores: int, side: int) -> float:
    code = "import sys; sys.path.insert(0, 'benchmarks'); import ingest; ingest.one_spark(*map(int, sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(cores), str(side)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def one_spark(cores: int, side: int) -> None:
    spark = engine.session(f"local[{cores}]")
    with chunk_pixels(16 * 16):
        work = place(side=side)
        ours(*place(side=16), spark=spark)  # starts the workers
        started = time.perf_counter()
        ours(*work, spark=spark)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
