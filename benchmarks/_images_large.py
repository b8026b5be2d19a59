"""Stream images larger than the memory that a process may have: images.py runs it in a process of its own.

    python benchmarks/_images_large.py FOLDER GIGABYTES

``FOLDER`` is a set of raw images that `fields.convert` made. Its files are linked until the set has the size asked for,
so that it takes no room. After the first batch, by which TensorFlow has what it takes for itself, the process may ask
for 0.3 GB more and no further. Prints JSON: bytes of the set; whether all images fit at once; images and seconds of an
epoch; the limit, and the largest memory that was resident.
"""

import json
import os
import resource
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from arsetlib import fields
from arsetlib.fields import stored

MORE = 300_000_000


def linked(folder: Path, size: float) -> Path:
    """A set of so many bytes whose files are links to those of another."""
    held = stored.load(folder)
    times = int(-(-size // sum(shard.bytes for shard in held.shards)))
    out = folder.with_name(f"{folder.name}_{times}")
    if (out / stored.INDEX).is_file():
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    shards = []
    for turn in range(times):
        for number, shard in enumerate(held.shards):
            shards.append(replace(shard, file=f"shard-{turn:04}-{number:05}.tfrecord"))
            os.link(folder / shard.file, out / shards[-1].file)
    names = np.array([f"{turn}{name}" for turn in range(times) for name in held.names])
    per = len(held.shards)
    many = replace(
        held, folder=out, shards=tuple(shards), names=names, fields=np.tile(held.fields, times),
        labels=np.tile(held.labels, (times, 1)), start=np.tile(held.start, times),
        sizes=np.tile(held.sizes, (times, 1)),
        shard=np.concatenate([held.shard + per * turn for turn in range(times)]), identity=f"{held.identity} × {times}",
    )  # fmt: skip
    stored.save(many, {})
    return out


def memory(kind: str) -> int:
    """Bytes, as Linux counts them."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def main() -> None:
    source = linked(Path(sys.argv[1]), float(sys.argv[2]) * 1e9)
    loader = fields.images(source, size=stored.load(source).side, shuffle=True, pool=32, batch=16)
    size = sum(shard.bytes for shard in loader.source.shards)
    next(loader.arrays())
    cap = memory("VmData") + MORE
    resource.setrlimit(resource.RLIMIT_DATA, (cap, -1))
    try:
        fits = bool(np.empty(size, np.uint8).size)
    except MemoryError:
        fits = False
    begin = time.perf_counter()
    count = sum(len(x) for x, _ in loader.arrays())
    found = {"bytes": size, "fits": fits, "images": count, "seconds": time.perf_counter() - begin}
    print(json.dumps(found | {"cap_bytes": cap, "peak_resident_bytes": memory("VmHWM")}))


if __name__ == "__main__":
    main()
