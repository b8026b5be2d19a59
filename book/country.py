"""All cropland of the United States for three years, on paper: what it takes, computed from our measurements.

`ASSUMED` holds what we did not measure, with its source; everything else is read from `benchmarks/results.json`,
`benchmarks/recorded.json`, the library and its price list. The architecture page shows `steps` and this code.
"""

from __future__ import annotations

import json

from arsetlib import pixels, sentinel2
from arsetlib.ingest.plan import CHUNK_PIXELS
from arsetlib.pixels.costs import PUTS_OF_A_PART, measured, priced

ASSUMED = {
    "cropland, km²": (382e6 * 0.0040469, "assumed: 382 million acres, about what the USDA's census counts"),
    "years": (3, "chosen"),
    "share of cropland in a chunk that has some": (0.3, "assumed; the plan of a study counts it"),
    "days between two passes": (5, "assumed: two satellites at the equator; farther north there are more"),
    "land of the 48 states, km²": (7.66e6, "assumed"),
    "ground that a tile adds, km²": (100**2, "tiles of 109.8 km every 100 km"),
    "side of a block of a scene's file, pixels": (1024, "Earth Search's files"),
    "cores": (1000, "chosen"),
    "label pixel, m": (30, "the CDL until 2023"),
}
NAME = "area-2021-50176-100096"  # of a task
NOTE = {  # that a task puts when it has finished
    "files": {f"{NAME}.parquet": {"size": 25_000_000, "sha256": "0" * 64}},
    "rows": CHUNK_PIXELS,
    "counts": dict.fromkeys(("observations", "observations_dropped_by_scl", "scenes_read"), 1_000_000),
}
DENSE_PIXELS = 256**2  # that benchmarks/ingest.py samples of one scene in its figure `dense_against_original`


def rates() -> dict[str, float | None]:
    """What we measured; None where a benchmark has not been run."""
    dense = measured("ingest", "dense_against_original", "ours")
    rows = measured("large_run", "gigabytes_of_scenes", "pixel-years", "recorded.json")
    seen = measured("large_run", "gigabytes_of_scenes", "observations", "recorded.json")
    return {
        "observations a second and core": dense and DENSE_PIXELS / dense,
        "observations a pixel-year": rows and seen / rows,
        "bytes an observation in the table": measured("storage", "bytes_of_arset_over_table", "table"),
        "rows a second that an epoch reads": measured("loader", "streamed_against_memory", "streamed_dataset"),
    }


def estimate() -> dict[str, float]:
    """Name of a quantity → value."""
    a, r = {name: value for name, (value, _) in ASSUMED.items()}, rates()
    pixel = a["label pixel, m"] ** 2 / 1e6  # km²
    rows = a["cropland, km²"] / pixel * a["years"]
    chunk = CHUNK_PIXELS * pixel  # km²
    chunks = a["cropland, km²"] / (chunk * a["share of cropland in a chunk that has some"]) * a["years"]
    tiles = a["land of the 48 states, km²"] / a["ground that a tile adds, km²"]
    scenes = tiles * 365 / a["days between two passes"] * a["years"]
    observations = rows * r["observations a pixel-year"]
    # Files of a scene: 12 bands of 2 bytes and SCL of 1, each at its own resolution.
    files = [(band.resolution_m, 2) for band in sentinel2.BANDS.values()] + [(20, 1)]
    per_pixel = sum(size * (a["label pixel, m"] / step) ** 2 for step, size in files)  # bytes, before compression
    side = CHUNK_PIXELS**0.5 * a["label pixel, m"]
    blocks = sum((side / step / a["side of a block of a scene's file, pixels"] + 1) ** 2 for step, _ in files)
    images = chunks * 365 / a["days between two passes"]
    hours = observations / r["observations a second and core"] / 3600
    written = observations * r["bytes an observation in the table"]
    compute = pixels.prices()["compute"]
    epoch = rows / r["rows a second that an epoch reads"] / 3600
    money = priced(written, chunks * PUTS_OF_A_PART, images * (blocks + len(files)), hours / compute["cores"])
    return {
        "scenes": scenes,
        "chunks, which are tasks": chunks,
        "pixel-years (rows)": rows,
        "observations": observations,
        "read from scenes before compression, TB": images * CHUNK_PIXELS * per_pixel / 1e12,
        "requests for scenes": money["gets"],
        "written, TB": written / 1e12,
        "megabytes a part": written / chunks / 1e6,
        "core hours": hours,
        f"hours on {a['cores']:,} cores": hours / a["cores"],
        "dollars, compute": money["dollars"]["compute"],
        "dollars, to write": money["dollars"]["write"],
        "dollars, to keep it a month": money["dollars"]["keep"],
        "dollars, requests for scenes, where you pay for them": money["dollars"]["read"],
        "hours of an epoch on one machine of two cores": epoch,
        "names of tasks in the plan, MB": chunks * len(json.dumps(NAME)) / 1e6,
        "notes of tasks, which become the manifest, MB": chunks * len(json.dumps(NOTE, indent=1)) / 1e6,
    }


def shown(value: float) -> str:
    """Three figures are more than such an estimate has."""
    return f"{float(f'{value:.2g}'):,.10g}"


if __name__ == "__main__":
    for name, value in estimate().items():
        print(f"{name:55} {shown(value):>16}")
