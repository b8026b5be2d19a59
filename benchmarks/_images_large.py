"""Stream a set of images that is larger than the memory limit of the process; images.py runs it as a process.

    python benchmarks/_images_large.py FOLDER GIGABYTES

``FOLDER`` is a set of raw images that `fields.convert` wrote. Its files are linked several times until the set has the
size, so that it takes no disk space. After the first batch, when TensorFlow has allocated its own memory, the process
may allocate 0.3 GB more. Prints JSON: bytes of the set; whether all images fit at once; images and seconds of an epoch;
the limit, and the largest resident memory.
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

from arsetlib import fields, folders
from arsetlib.fields import stored

MORE = 300_000_000


def linked(folder: Path, size: float) -> Path:
    """A set of ``size`` bytes whose files are links to those of another."""
    images = stored.load(folder)
    times = int(-(-size // sum(shard.bytes for shard in images.shards)))
    out = folder.with_name(f"{folder.name}_{times}")
    if (out / stored.INDEX).is_file():
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    shards = []
    for turn in range(times):
        for number, shard in enumerate(images.shards):
            shards.append(replace(shard, file=f"shard-{turn:04}-{number:05}.tfrecord"))
            os.link(folder / shard.file, out / shards[-1].file)
    names = np.array([f"{turn}{name}" for turn in range(times) for name in images.names])
    per = len(images.shards)
    many = replace(
        images, folder=out, shards=tuple(shards), names=names, fields=np.tile(images.fields, times),
        labels=np.tile(images.labels, (times, 1)), start=np.tile(images.start, times),
        sizes=np.tile(images.sizes, (times, 1)),
        shard=np.concatenate([images.shard + per * turn for turn in range(times)]),
        identity=f"{images.identity} × {times}",
    )  # fmt: skip
    stored.save(many, {})
    files = {shard.file: {"size": shard.bytes, "sha256": shard.sha256} for shard in shards}
    folders.put_json(out / folders.MANIFEST, {"parts": {"all": {"files": files}}})
    return out


def memory(kind: str) -> int:
    """Bytes, as Linux counts them."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def main() -> None:
    source = linked(Path(sys.argv[1]), float(sys.argv[2]) * 1e9)
    batches = fields.batches(source, size=stored.load(source).side, shuffle=True, pool=32, batch=16)
    size = sum(shard.bytes for shard in batches.source.shards)
    next(batches.arrays())
    cap = memory("VmData") + MORE
    resource.setrlimit(resource.RLIMIT_DATA, (cap, -1))
    try:
        fits = bool(np.empty(size, np.uint8).size)
    except MemoryError:
        fits = False
    begin = time.perf_counter()
    count = sum(len(x) for x, _ in batches.arrays())
    found = {"bytes": size, "fits": fits, "images": count, "seconds": time.perf_counter() - begin}
    print(json.dumps(found | {"cap_bytes": cap, "peak_resident_bytes": memory("VmHWM")}))


if __name__ == "__main__":
    main()
