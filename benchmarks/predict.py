"""Pixels a second of a predicted map, against the original course's way; memory against area; where the time goes.

A made-up dense area of one year, 40-75 images a pixel, is predicted for several dates by the original's CNN, untrained:
what it says does not change how long it takes. The original's way reads the table for each date, parses it row by row
in ``tf.data``, calls ``model.predict`` on each batch, and concatenates the results; it writes no map. Ours reads once
and writes all maps: classes, probabilities, entropy and margin, as Cloud Optimized GeoTIFFs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np

from arsetlib import pixels, samples
from arsetlib.study import Study

PLACE = Path("data/bench/predict")
STUDY = Study.load("sample")
SCALER = samples.Scaler(STUDY.bands, (2000.0,) * len(STUDY.bands), (900.0,) * len(STUDY.bands))
YEAR = 2019
WIDTH = 256  # pixels
STARTS = (1, 60, 120, 180)  # the original predicts 15 dates
BATCH = 1028  # the original's


def make_area(rows: int, seed: int):
    """One strip of an area: ``rows`` × ``WIDTH`` pixels; a strip lies below the one with the seed before."""
    random = np.random.default_rng(seed)
    number = rows * WIDTH
    count = random.integers(40, 76, number)
    row = np.repeat(np.arange(number), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    spread = np.where(np.arange(75) < count[:, None], random.random((number, 75)), 9)
    spread.sort(axis=1)
    of_year = (spread[row, within] * 285).astype(int) + within  # strictly ascending
    level = random.integers(400, 2500, (number, len(STUDY.bands)))
    bands = level[row] * (1.3 + np.sin(of_year / 58)[:, None]) + random.normal(0, 40, (len(row), len(STUDY.bands)))
    x = 400_020 + 30.0 * (np.arange(number) % WIDTH)
    y = 1_400_010 - 30.0 * (np.arange(number) // WIDTH + seed * rows)
    return pixels.make_batch(
        day=samples.start_days(YEAR, 1)[0] + of_year, scl=random.choice([4, 4, 5], len(row)),
        bands=bands.clip(1, 20_000).astype("<u2"), offsets=np.cumsum([0, *count]),
        pixel=pixels.pixel_id(x, y, 30), year=YEAR, area="bench", block=pixels.block_id(x, y, 600), x=x, y=y,
        lon=-90.0, lat=34.0, label_code=random.choice([1, 2, 3, 5, 24, 141], number),
    )  # fmt: skip


def make_table(strips: int, rows: int = 128) -> Path:
    """A dense area of so many strips, made at the first call."""
    folder = PLACE / f"{strips}x{rows}x{WIDTH}"
    meta = pixels.Meta(STUDY.bands, "EPSG:5070", 30.0, "bench", True, extra={"block_m": 600.0})
    for strip in range(strips):
        file = folder / f"strip-{strip:03d}.parquet"
        if not file.exists():
            pixels.write([make_area(rows, strip)], file, meta)
    return folder


def untrained():
    """The original's CNN with the weights it begins with."""
    from arsetlib import models

    sizes = {"steps": STUDY.season.steps, "bands": len(STUDY.channels), "classes": len(STUDY.legend.classes)}
    return models.Trained(models.build("original", **sizes), "original", SCALER, STUDY)


def ours(trained, table: Path) -> None:
    from arsetlib import maps

    with tempfile.TemporaryDirectory() as out:
        maps.predict(trained, table, STARTS, out, progress=False)


def original(trained, table: Path) -> np.ndarray:
    """For each date the table from disk, row by row, batch by batch."""
    found = []
    for start in STARTS:
        data = samples.row_by_row(table, STUDY, SCALER, batch=BATCH, start=start)
        answers = [trained.model.predict(x, verbose=0) for x, _ in data]
        found.append(np.concatenate(answers))
    return np.stack(found)


def parts(trained, table: Path) -> dict[str, float]:
    """Seconds of each part of our way, one after the other; together they take less, as batches are made ahead."""
    from arsetlib.maps import pieces, sources

    seconds = dict.fromkeys(("places", "reading", "windows", "model", "encoding"), 0.0)

    def timed(name, function):
        began = time.perf_counter()
        result = function()
        seconds[name] += time.perf_counter() - began
        return result

    data = timed("places", lambda: sources.of_table(table, None, None, STUDY))
    for task in range(len(data)):
        piece = timed("reading", lambda t=task: data.read(t, {}))
        windows = pieces.windows_of(trained, data, piece, list(STARTS), pieces.BATCH)
        while (one := timed("windows", lambda w=windows: next(w, None))) is not None:
            answers = timed("model", lambda o=one: trained.predict(o[3].x))
            timed("encoding", lambda a=answers: pieces.encoded(a))
    return seconds


# Memory, in a process of its own


def in_a_process(task: str, *arguments) -> dict:
    command = [sys.executable, __file__, "--task", task, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def task_memory(table: str) -> dict:
    """Largest resident size while an area is predicted, MiB."""
    ours(untrained(), Path(table))
    lines = Path("/proc/self/status").read_text().splitlines()
    return {"peak": int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024}


def main() -> None:
    repeats = 1 if measure.arguments(__doc__, quick=True).quick else 3
    strips, rows = 16, 64
    table, quarter = make_table(strips), make_table(strips // 4)
    small, few = make_table(1, rows), rows * WIDTH  # the slow side takes fewer pixels; its rate is what counts
    trained = untrained()
    figures = measure.Figures("predict")
    total = strips * 128 * WIDTH

    seconds = measure.sides(
        {"ours": lambda: ours(trained, table), "original": lambda: original(trained, small)}, repeats
    )
    rates = {"ours": total * len(STARTS) / seconds["ours"], "original": few * len(STARTS) / seconds["original"]}
    figures.add("map_pixels_against_the_original", rates["ours"] / rates["original"], 8, "x", rates)
    figures.add("map_pixels_per_second", rates["ours"], unit="1/s")

    spent = parts(trained, table)
    whole = seconds["ours"]
    figures.add("model_share_of_prediction", spent["model"] / whole, unit="share", sides=spent | {"whole": whole})
    for name, value in spent.items():
        figures.add(f"microseconds_per_pixel_of_{name}", 1e6 * value / total / len(STARTS), unit="µs")

    if sys.platform.startswith("linux"):
        peaks = {name: in_a_process("memory", path)["peak"] for name, path in (("quarter", quarter), ("area", table))}
        figures.add("memory_of_a_quarter_over_the_area", peaks["quarter"] / peaks["area"], 0.9, "x", peaks)
    else:
        print("Memory is left out: only Linux tells the peak of a process.")
    figures.finish()


if __name__ == "__main__":
    if "--task" in sys.argv:
        at = sys.argv.index("--task")
        print(json.dumps(globals()[f"task_{sys.argv[at + 1]}"](*sys.argv[at + 2 :])))
    else:
        main()
