"""Ingestion against the original course's way and against the bare reads it cannot avoid.

Figures:
    dense_against_original, sparse_against_original: time of the original's way (read each whole file, sample it point
        by point, group and convert the points in Python) over ours, on the same area and scenes, in one process; the
        grouping is done by pandas, which spares the original Spark's overhead.
    bare_reads_dense, bare_reads_sparse: time of the same windows read with rasterio, and nothing else, over ours.
    cores, chunks: time on one Spark core over that on two; time per chunk of a few chunks over that of many.
    memory, memory_flat: 1.5 GB over a worker's peak; the peak on a quarter of the region over that on all of it.
"""

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
from rasterio.transform import from_origin
from shapely import Polygon

from arsetlib import catalogue, engine, simulate
from arsetlib import ingest as module
from arsetlib.ingest import plan as planning
from arsetlib.ingest import reader
from arsetlib.labels import find_labels
from arsetlib.study import Study

DATA = Path("data/delta")
TILES = Path("data/bench/tiles")
YEAR = 2021
WIDTH = 109_800  # m, of a Sentinel-2 tile


def place(scenes: int | None = None, side: int | None = None, every: int = 1):
    """Study, scenes and labels: one area over the simulated delta, cut to a few scenes and a square of pixels."""
    study = Study.load(DATA / "study.toml").replace(years=(YEAR,))
    boxes = np.array([a.bounds for a in study.areas])
    west, south, east, north = *boxes[:, :2].min(0), *boxes[:, 2:].max(0)
    if side:
        south, east = north - side * 30, west + side * 30
    area = replace(study.areas[0], bounds=(west, south, east, north), every=every)
    study = study.replace(areas=(area,))
    found = catalogue.find_scenes(study, progress=False)
    if scenes:
        clear = sorted(found.items, key=lambda s: s.cloud)[:scenes]
        found = replace(found, items=tuple(sorted(clear, key=lambda s: (s.day, s.id))))
    return study, found, {YEAR: find_labels(study, YEAR, Path("data/bench/labels"))}


def full_size(side: int, every: int, width: int):
    """The same for one scene, on files as wide as real ones: simulated scene and labels repeated over a tile's width.

    In files of 5 km the original's whole-file reads would cost next to nothing, and with them goes what it is about.
    """
    study, found, labels = place(scenes=1)
    corner = found.items[0].transform
    west, north = corner[2], corner[5]
    tiles = tuple(_widen(s, west, north, width) for s in found)
    x, y = Transformer.from_crs(found.items[0].epsg, 5070, always_xy=True).transform(west + 15_000, north - 15_000)
    left, top = x // 30 * 30 + 15, y // 30 * 30 + 15
    wide = TILES / f"labels_{side}.tif"
    with rasterio.open(labels[YEAR].path) as src:
        codes = np.tile(src.read(1), (10, 10))[:side, :side]
        profile = {**src.profile, "width": side, "height": side, "transform": from_origin(left, top, 30, 30)}
    with rasterio.open(wide, "w", **profile) as dst:
        dst.write(codes, 1)
    area = replace(study.areas[0], bounds=(left, top - side * 30, left + side * 30, top), every=every)
    label = replace(labels[YEAR], path=wide, confidence=None, identity=wide.name)
    return study.replace(areas=(area,)), replace(found, items=tiles), {YEAR: label}


def _widen(scene, west: float, north: float, width: int):
    """A scene's files, repeated to full size and written as Earth Search writes its own: COGs, blocks of 1024."""
    hrefs = {}
    for asset, href in scene.hrefs.items():
        path = TILES / f"{scene.id}-{width}" / f"{asset}.tif"
        hrefs[asset] = str(path)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(href) as src:
            step, data = src.transform.a, src.read(1)
            crs = src.crs
        data = np.where(data == 0, np.median(data[data > 0]).astype(data.dtype), data)
        cells = int(width // step)
        data = np.tile(data, (-(-cells // data.shape[0]), -(-cells // data.shape[1])))[:cells, :cells]
        profile = {"width": cells, "height": cells, "count": 1, "dtype": data.dtype, "crs": crs, "nodata": 0}
        profile |= {"driver": "COG", "compress": "deflate", "predictor": 2, "blocksize": 1024, "num_threads": "2"}
        with rasterio.open(path, "w", transform=from_origin(west, north, step, step), **profile) as dst:
            dst.write(data, 1)
    to_degrees = Transformer.from_crs(scene.epsg, 4326, always_xy=True)
    corners = [(0, 0), (width, 0), (width, -width), (0, -width)]
    footprint = Polygon([to_degrees.transform(west + dx, north + dy) for dx, dy in corners])
    return replace(scene, hrefs=hrefs, footprint=footprint)


def ours(study, scenes, labels, **how):
    with tempfile.TemporaryDirectory() as folder:
        return module.ingest(study, scenes, labels, Path(folder) / "out", progress=False, **how)


def original(study, scenes, labels) -> int:
    """Whole files, one point after another, then a group per pixel converted by a Python function."""
    grid = module.Grid.of(labels[YEAR])
    chunks = planning.chunks_of(study, labels, planning.plan(study, scenes, labels, None, None))
    parts = [planning.label_pixels(c, study, labels[YEAR], {}, study.areas[0].every) for c in chunks]
    x, y = grid.centres(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
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
    plain = reader.SceneFile.values

    def spy(file, window, at, shape=None):
        if shape is None:  # not the coarse sample before the work
            seen.append((file.scene.hrefs[file.asset], window))
        return plain(file, window, at, shape)

    reader.SceneFile.values = spy
    try:
        ours(study, scenes, labels)
    finally:
        reader.SceneFile.values = plain
    return seen


def bare(windows) -> None:
    with rasterio.Env(**reader.GDAL):
        for path, window in windows:
            with rasterio.open(path) as src:
                src.read(1, window=window)


@contextmanager
def chunk_pixels(number: int):
    before, planning.CHUNK_PIXELS = planning.CHUNK_PIXELS, number
    try:
        yield
    finally:
        planning.CHUNK_PIXELS = before


def peak_memory(side: int) -> float:
    """Peak resident memory, MB, of a fresh process that ingests a square of the delta."""
    code = "import sys; sys.path.insert(0, 'benchmarks'); import ingest; ingest.one_process(int(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(side)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def one_process(side: int) -> None:
    with chunk_pixels(32 * 32):
        ours(*place(side=side))
    # Not getrusage: its peak of a child begins with the parent's.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1e3)


def main() -> None:
    measure.arguments(__doc__)
    simulate.delta(DATA)
    figures = measure.Figures("ingest")
    for kind, every, side, goal in (("dense", 1, 256, 30), ("sparse", 15, 900, 5)):
        few = full_size(side, every, WIDTH)
        ways = {"ours": lambda few=few: ours(*few), "original": lambda few=few: original(*few)}
        seconds = measure.sides(ways, 2)
        figures.add(f"{kind}_against_original", seconds["original"] / seconds["ours"], goal, "x", seconds)
    for kind, every in (("dense", 1), ("sparse", 15)):
        whole = place(every=every)
        windows = windows_of(*whole)
        ways = {"ours": lambda w=whole: ours(*w), "bare reads": lambda w=windows: bare(w)}
        seconds = measure.sides(ways, 3)
        figures.add(f"bare_reads_{kind}", seconds["bare reads"] / seconds["ours"], 0.6, "x", seconds)
    scaling(figures)
    small, large = peak_memory(64), peak_memory(128)
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
        for name, side in (("few", 64), ("many", 128)):
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
