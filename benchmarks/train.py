"""Steps a second of each network with the loader, and how much of a step is spent waiting for input.

Synthetic series of 40-75 images a year, in windows of 120 days and batches of 1,024. A step waits for input while the
call for the next batch blocks; its share is that of the whole step, as the profiler of TensorBoard defines it. It is
measured around the iterator, and read from a profile of the same steps where xprof is installed (pip install xprof).
The original's row-by-row pipeline feeds the same network beside it. Several devices and a GPU are measured where they
exist.
"""

import glob
import json
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import loader as series
import measure
import tensorflow as tf

from arsetlib import models, samples
from arsetlib.study import Study

STUDY = Study.load("sample")
BATCH = 1024


class Side:
    """One network, its loader, and the time its steps took."""

    def __init__(self, name: str, table, scaler, by_row: bool = False, strategy=None):
        classes, season = len(STUDY.legend.classes), STUDY.season
        shape = {"steps": season.steps, "bands": len(STUDY.channels), "classes": classes, "step_days": season.step_days}
        self.model = models.build(name, **shape)
        self.model.compile("adam", "categorical_crossentropy", jit_compile=False)
        self.model.make_train_function()
        if by_row:
            data = samples.row_by_row(table, STUDY, scaler, batch=BATCH, start="random", shuffle=True, seed=1)
        else:
            data = samples.Loader(table, STUDY, scaler, batch=BATCH, seed=1, extras=models.needs(self.model)).dataset()
        self.batches = iter(data.repeat())
        self.waits: list[float] = []
        self.steps: list[float] = []
        self.run(3)
        self.waits.clear()
        self.steps.clear()

    def run(self, steps: int) -> None:
        """So many steps, each: wait for a batch, then compute."""
        for _ in range(steps):
            began = time.perf_counter()
            batch = next(self.batches)
            came = time.perf_counter()
            self.model.train_function(iter([batch]))
            self.waits.append(came - began)
            self.steps.append(time.perf_counter() - began)

    @property
    def rate(self) -> float:
        return 1 / statistics.median(self.steps)

    @property
    def busy(self) -> float:
        """Share of the time of all steps that was not spent waiting."""
        return 1 - sum(self.waits) / sum(self.steps)


def profiled(side: Side, steps: int) -> dict | None:
    """The step as xprof reads it from a profile: milliseconds in all and waiting, or None without xprof."""
    try:
        from xprof.convert import raw_to_tool_data as xprof
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for number in range(steps):
            with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
                side.model.train_function(side.batches)
        tf.profiler.experimental.stop()
        traces = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        found = json.loads(xprof.xspace_to_tool_data(traces, "input_pipeline_analyzer", {})[0])
    facts = {k: v for part in found for k, v in (part.get("p") or {}).items()}
    return {"step_ms": float(facts["steptime_ms_average"]), "waiting_ms": float(facts["infeed_time_ms_avg"])}


def on_devices(figures: measure.Figures, table, scaler, steps: int) -> None:
    """The original's CNN on one and on all GPUs, where there are any."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        print("No GPU here: steps on one and scaling over several are not measured.")
        return
    with tf.device("/CPU:0"):
        slow = Side("original", table, scaler)
        slow.run(steps)
    fast = Side("original", table, scaler)
    fast.run(steps)
    figures.add(
        "steps_of_original_gpu_over_cpu", fast.rate / slow.rate, None, "x", {"gpu": fast.rate, "cpu": slow.rate}
    )
    if len(gpus) == 1:
        print("One GPU: scaling over several is not measured.")
        return
    from arsetlib import training

    seconds = {}
    for name, strategy in (("one", None), ("all", "mirrored")):
        sides = {"train": samples.Rows.of(table), "validation": samples.Rows.of(table.slice(0, 4096))}
        done = training.fit(
            "tempcnn", sides, STUDY, epochs=3, batch=BATCH * len(gpus), strategy=strategy, missing="allow"
        )
        seconds[name] = min(done.history["seconds"])
    figures.add("epochs_on_all_gpus_over_one", seconds["one"] / seconds["all"], None, "x", seconds)


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("train")
    table = series.make_series(40_000, 1)
    scaler = samples.Scaler.fit(table)
    names = models.describe().query("kind == 'keras'").index.tolist()
    if options.quick:
        names = ["original", "tempcnn", "ltae"]
    steps, rounds = 15, 2 if options.quick else 4
    sides = {name: Side(name, table, scaler) for name in names}
    sides["original, row by row"] = Side("original", table, scaler, by_row=True)
    for _ in range(rounds):
        for side in sides.values():
            side.run(steps)
    for name in names:
        side = sides[name]
        parts = {"step_ms": 1000 * statistics.median(side.steps), "waiting_ms": 1000 * statistics.median(side.waits)}
        figures.add(f"steps_per_second_of_{name}", side.rate, None, "steps/s", parts)
    for name in names:
        goal = 0.9 if name == "original" else None
        shares = {"waiting": 1 - sides[name].busy, "busy": sides[name].busy}
        figures.add(f"share_of_step_not_waiting_of_{name}", sides[name].busy, goal, "share", shares)
    by_row = sides["original, row by row"]
    parts = {"loader": sides["original"].rate, "row_by_row": by_row.rate}
    figures.add("steps_of_original_over_row_by_row", parts["loader"] / parts["row_by_row"], None, "x", parts)
    figures.add("share_of_step_not_waiting_row_by_row", by_row.busy, None, "share", {"waiting": 1 - by_row.busy})
    found = profiled(sides["original"], 3 * steps)
    if found is None:
        print("xprof is not installed: the share is measured around the iterator only.")
    else:
        share = 1 - found["waiting_ms"] / found["step_ms"]
        figures.add("share_of_step_not_waiting_by_the_profiler", share, 0.9, "share", found)
    on_devices(figures, table, scaler, steps)
    figures.finish()


if __name__ == "__main__":
    main()
