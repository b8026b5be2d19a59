"""Training with one device, with two that are the same cores under two names, and with two processes on them.

Where the devices are the same cores, no work gets faster: what is lost is what dividing a batch and adding up gradients
costs. With two GPUs, or two machines, the same code divides the time as well. The images are in memory, so that nothing
waits for a disk. Needs arsetlib[train,images].
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np

from arsetlib.training import workers

SIDE = """
import json, os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf
side, model, size, images, epochs, out = {side!r}, {model!r}, {size}, {images}, {epochs}, {out!r}
if side == "two devices":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from arsetlib import fields as package
random = np.random.default_rng(0)
x = random.integers(0, 256, (images, size, size, 4), dtype=np.uint8)
y = (random.random((images, 9)) < 0.2).astype("f4")
strategy = "workers" if side == "two processes" else None
if side == "two devices":
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
made = package.fit(model, {{"train": (x, y), "validation": (x[:32], y[:32])}}, size=size, epochs=epochs, batch=32,
                   patience=epochs, strategy=strategy, progress=False)
if made.notes["processes"] == 1 or json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0:
    open(out, "w").write(json.dumps(made.history["seconds"]))
"""
SIDES = {"one device": 1, "two devices": 1, "two processes": 2}


def seconds(side: str, model: str, size: int, images: int, epochs: int) -> float:
    """Median time of an epoch after the first, which compiles, s."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "seconds.json")
        code = SIDE.format(side=side, model=model, size=size, images=images, epochs=epochs, out=str(out))
        workers.run([sys.executable, "-c", code], SIDES[side])
        return statistics.median(json.loads(out.read_text())[1:])


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("parallel")
    cases = [("small", 128, 256), ("mobilenetv3", 96, 128)][: 1 if options.quick else 2]
    for model, size, images in cases:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(1 if options.quick else 3):
            for side in np.roll(list(SIDES), turn):
                found[side].append(seconds(str(side), model, size, images, epochs=4))
        rates = {side: images / statistics.median(times) for side, times in found.items()}
        for side in ("two devices", "two processes"):
            name = f"{model}_{side.replace(' ', '_')}_to_one"
            figures.add(name, rates[side] / rates["one device"], sides=rates)
    figures.finish()


if __name__ == "__main__":
    main()
