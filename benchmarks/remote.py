"""Reading scenes over the network: a pixel table from files that are far away.

    python benchmarks/remote.py [--json FILE]

A server on this machine answers after a delay. Two chunks of a year are ingested from files as large as those of
Sentinel-2, in blocks of 1,024 pixels: by the ingest, by the ingest without reading ahead, by `odc.stac.load` with the
number of threads that is best for it (the same windows, each band at its own resolution), and by plain requests for
the same bytes, which is the limit: as they are, and with their blocks unpacked. All sides read the same files through
the same server, in processes of their own.
"""

import asyncio
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import _far_scenes as far
import measure
import numpy as np
from _far_server import far_server
from isal import isal_zlib

from arsetlib import catalogue
from arsetlib.ingest import disk, ingest, remote, tiff
from arsetlib.labels import find_labels
from arsetlib.study import Study

PLACE = Path("data/bench/far")
BANDS = tuple(k for k in far.STEP if k != "scl")
PEER_THREADS = (16, 32, 64)
TEXT = """
[study]
key = "far"
name = {{ en = "Far away" }}
years = [2021]
simulated = true
[split]
train = [2021]
block_m = 2000
[season]
window_days = 120
step_days = 5
first_day = 1
last_day = 200
[scenes]
url = "items.json"
collection = "sentinel-2-l2a"
max_cloud = 95
drop_scl = [0, 1, 7, 8, 9, 11]
[labels]
kind = "raster"
path = "{labels}"
crs = "EPSG:32615"
[classes.crop]
name = {{ en = "Crop" }}
codes = [1]
colour = "#ffd400"
"""
AREA = '[areas.{key}]\nname = {{ en = "{key}" }}\nbounds = {bounds}\ncrs = "EPSG:32615"\nevery = 1\n'


def ours(folder: Path, url: str, ahead: bool) -> None:
    """Ingest the two chunks."""
    if not ahead:
        remote.Files.open = lambda *_: refused()
    study = Study.load(folder / "study.toml")
    scenes = catalogue.find_scenes(study, progress=False)
    labels = {2021: find_labels(study, 2021, folder / "labels", progress=False)}
    with tempfile.TemporaryDirectory() as out:
        made = ingest(study, scenes, labels, Path(out) / "table", progress=False)
    assert made.rows == 2 * 256 * 256, made


def refused() -> Future:
    """What the reader gets of a file that only GDAL reads."""
    future: Future = Future()
    future.set_exception(tiff.Unsupported("for this measurement"))
    return future


def peer(folder: Path, url: str, threads: int) -> None:
    """odc.stac.load of the same windows, each band at its own resolution."""
    import odc.stac
    from odc.geo.geobox import GeoBox
    from pystac import ItemCollection

    items = ItemCollection.from_file(folder / "items.json")
    odc.stac.configure_rio(cloud_defaults=True)
    for box in far.BOXES:
        for step in sorted(set(far.STEP.values())):
            bands = [b for b, s in far.STEP.items() if s == step]
            geobox = GeoBox.from_bbox(far.bounds(box), "EPSG:32615", resolution=step)
            odc.stac.load(items, bands, geobox=geobox, pool=threads, groupby="id")


def limit(folder: Path, url: str) -> None:
    """The first bytes of each file, then the bytes of its blocks, as fast as the server gives them."""
    fetch(folder, url, lambda packed, name: None)


def unpacked(folder: Path, url: str) -> None:
    """``limit``, and the blocks unpacked by all cores: what also a perfect reader needs."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        sizes = {name: far.BLOCK**2 * np.dtype(disk.open_file(str(PLACE / f"{name}.tif")).dtypes[0]).itemsize
                 for name in far.STEP}  # fmt: skip
        fetch(folder, url, lambda packed, name: pool.submit(isal_zlib.decompress, packed, bufsize=sizes[name]))


def fetch(folder: Path, url: str, use: Callable[[bytes, str], object]) -> None:
    """Request all bytes that the areas need; ``use`` gets each block and the band's name."""
    from obstore import get_range_async, get_ranges_async
    from obstore.store import HTTPStore

    items = json.loads((folder / "items.json").read_text())["features"]
    store = HTTPStore.from_url(url, client_options={"allow_http": True})
    wanted = {(name, box): parts(name, box) for name in far.STEP for box in far.BOXES}

    async def run() -> None:
        free = asyncio.Semaphore(256)

        async def one(href: str, name: str) -> None:
            path = href.removeprefix(f"{url}/")
            async with free:
                await get_range_async(store, path, start=0, length=tiff.PREFETCH)
            for box in far.BOXES:
                starts, sizes = zip(*wanted[name, box], strict=True)
                async with free:
                    found = await get_ranges_async(store, path, starts=starts, lengths=sizes, coalesce=remote.CLOSE)
                for packed in found:
                    use(packed, name)

        await asyncio.gather(*(one(i["assets"][n]["href"], n) for i in items for n in far.STEP))

    asyncio.run(run())


def parts(name: str, box: str) -> list[tuple[int, int]]:
    """Position and size of the blocks of a file that an area touches, bytes."""
    level = disk.open_file(str(PLACE / f"{name}.tif")).levels[0]
    numbers = [level.number(x, y) for x, y in blocks(box, far.STEP[name])]
    return [(int(level.offsets[n]), int(level.sizes[n])) for n in numbers]


def blocks(box: str, step: int) -> list[tuple[int, int]]:
    """Blocks that an area touches: column and row."""
    west, south, east, north = far.bounds(box)
    size = far.BLOCK * step
    columns = range((west - far.WEST) // size, (east - 1 - far.WEST) // size + 1)
    rows = range((far.NORTH - north) // size, (far.NORTH - south - 1) // size + 1)
    return [(x, y) for y in rows for x in columns]


def timed(queue, side, folder: Path, url: str) -> None:
    import obstore  # noqa: F401 -- neither side pays for its imports
    import odc.stac  # noqa: F401

    started, used = time.perf_counter(), os.times()
    side(folder, url)
    now = os.times()
    queue.put((time.perf_counter() - started, now.user + now.system - used.user - used.system))


def run(side, folder: Path, server) -> dict[str, float]:
    """Seconds, processor seconds, requests, megabytes and most requests in flight of one side."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    server.take()
    process = context.Process(target=timed, args=(queue, side, folder, server.url))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{side} failed")
    seconds, processor = queue.get()
    counts = server.take()
    megabytes = counts["bytes"] / 1e6
    return {
        "seconds": seconds, "processor": processor, "requests": counts["requests"], "megabytes": megabytes,
        "in flight": counts["peak"],
    }  # fmt: skip


def prepare(folder: Path, url: str, dates: int) -> None:
    """Items whose links lead to the server, and a study of them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    items = [item.to_dict(include_self_link=False) for item in far.items(url, BANDS, dates)]
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    areas = "".join(AREA.format(key=box, bounds=list(far.bounds(box))) for box in far.BOXES)
    (folder / "study.toml").write_text(TEXT.format(labels=(PLACE / "labels.tif").resolve()) + areas)


def main() -> None:
    measure.arguments(__doc__)
    figures = measure.Figures("remote")
    far.make(PLACE, BANDS)
    # A date has 104 MB, so the slow line gets fewer of them.
    cases = [
        ("20 ms", 0.02, None, 20), ("60 ms", 0.06, None, 20), ("150 ms", 0.15, None, 20), ("20 MB/s", 0.06, 20e6, 6),
    ]  # fmt: skip
    for name, wait, rate, dates in cases:
        with far_server(PLACE, wait, rate) as server, tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "far"
            prepare(folder, server.url, dates)
            sides = {"ingest": partial(ours, ahead=True), "limit": limit, "limit and unpacking": unpacked}
            if name == "60 ms":
                sides["without reading ahead"] = partial(ours, ahead=False)
                sides |= {f"odc.stac {n}": partial(peer, threads=n) for n in PEER_THREADS}
            found = {label: run(side, folder, server) for label, side in sides.items()}
        for label, facts in found.items():
            print(f"{name}, {label}: " + ", ".join(f"{v:.4g} {k}" for k, v in facts.items()), flush=True)
        key = name.replace(" ", "_").replace("/", "_").lower()
        seconds = {label: facts["seconds"] for label, facts in found.items()}
        figures.add(f"share_of_the_limit_{key}", seconds["limit"] / seconds["ingest"], goal=0.8, sides=seconds)
        figures.add(f"share_with_unpacking_{key}", seconds["limit and unpacking"] / seconds["ingest"],
                    goal=0.8, sides=seconds)  # fmt: skip
        if name == "60 ms":
            figures.add("against_no_reading_ahead", seconds["without reading ahead"] / seconds["ingest"], goal=15,
                        sides=seconds)  # fmt: skip
            best = min(v for k, v in seconds.items() if k.startswith("odc"))
            figures.add("against_odc_stac", best / seconds["ingest"], goal=2, sides=seconds)
            windows = dates * len(far.STEP) * len(far.BOXES)  # one of each file for each chunk
            figures.add("windows_per_request", windows / found["ingest"]["requests"], goal=1 / 2.2,
                        sides={"requests": found["ingest"]["requests"], "windows": windows})  # fmt: skip
    figures.finish()


if __name__ == "__main__":
    main()
