"""Rows a second of a loader that streams a table from an object store, against the same table on a local disk.

The store is a small server of this machine that speaks S3 and serves files of a folder (``_s3_server.py``), in a
process of its own. The table has 20 files. Each row comes from the same series as in
``loader.py``, so the table is made in seconds. The loader streams with reading ahead, shuffles and makes batches of
1,024 windows; the clock starts after its second batch and stops at the end of the second epoch.

Sides take turns in one process. The server and the loader share the cores of the machine, so the store's side also
pays for the server. Requests and bytes are those that the server counted for one epoch.
"""

import os
import shutil
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import loader
import measure
from _s3_server import s3_server

from arsetlib import pixels, samples
from arsetlib.pixels.costs import prices
from arsetlib.stores import place


def main() -> None:
    quick = measure.arguments(__doc__, quick=True).quick
    made = loader.make_large()
    folder = loader.PLACE.parent / "objects"
    shutil.rmtree(folder, ignore_errors=True)
    local = folder / "bucket" / "table"
    local.mkdir(parents=True)
    files = pixels.files(made)
    for file in files:
        os.link(file, local / file.name)
    size = sum(file.stat().st_size for file in local.iterdir())
    scaler = samples.Scaler.fit(files[0], loader.STUDY)
    figures = measure.Figures("objects")
    with s3_server(folder) as server:
        os.environ.update(server.variables)
        tables = {"store": place("s3://bucket/table"), "disk": local}
        epochs = {
            name: samples.Loader(table, loader.STUDY, scaler, batch=loader.BATCH, stream=True).arrays
            for name, table in tables.items()
        }
        sides = {name: loader.Side(epochs[name], count=2) for name in tables}
        rates = measure.rates(sides, repeats=1 if quick else 3)
        figures.add("streamed_from_store", rates["store"] / rates["disk"], goal=0.8, sides=rates)
        time.sleep(2)  # what was still read ahead is not of the epoch that is counted
        server.take()
        for _ in epochs["store"](0):
            pass
        asked = server.take()
    gigabytes = size / 1e9
    figures.add("requests_per_gb", asked["requests"] / gigabytes, unit="requests")
    figures.add("bytes_per_byte", asked["bytes"] / size, unit="x")
    cents = 100 * asked["requests"] / gigabytes / 1000 * prices()["storage"]["get_1000"]
    figures.add("cents_of_requests_per_gb", cents, unit="cents")
    figures.finish()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
