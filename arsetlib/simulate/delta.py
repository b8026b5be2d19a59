"""The simulated delta: an invented part of the lower Mississippi plain, in files like those of the real services.

Lab: part1_build_dataset. Shell: ``arset simulate data/delta``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
from rasterio.transform import Affine
from tqdm.auto import tqdm

from arsetlib import cdl, checksums, folders, processes, seeds, textfiles
from arsetlib.errors import ArsetError
from arsetlib.sentinel2 import BANDS
from arsetlib.simulate import files, items, phenology, sky
from arsetlib.simulate import landscape as land
from arsetlib.simulate.labels import year_labels

VERSION = 3  # changes when a seed gives other files; a folder of another version is refused
CATALOGUE = "catalogue"  # the part with the collection, the study and the checksums
STRIP = 120  # rows of 10 m pixels processed at a time, so that larger regions need little more memory
BOXES = ("box_1", "box_2", "box_3", "box_4", "dense", "box_5", "box_6", "box_7")
COUNT = np.uint16(4)  # reflectance × 10,000 of one step of the 12-bit sensor
NOISE = np.float32(0.003)  # of the sensor, relative to the light from the ground
_STEPS = np.array([int(b.resolution_m) for b in BANDS.values()])


class SimulationError(ArsetError, ValueError):
    """A parameter of the simulated delta is invalid; the message says what is valid."""


def delta(
    out: str | Path,
    seed: int = 1,
    scale: float = 1.0,
    years: Iterable[int] = (2019, 2020, 2021),
    jobs: int | None = None,
    progress: bool = True,
) -> Path:
    """Make the simulated delta: scenes with a STAC catalogue, labels with confidence, a study file.

    The same seed, scale and years give the same bytes, whatever ``jobs``. The same call after an interrupted run
    continues it; a complete folder is left as it is.

    Args:
        out: Folder to make: new, empty, or left by an interrupted run; also in an object store (``s3://…``).
        seed: Seed of all random numbers.
        scale: Area, in units of 5.3 km × 4.2 km. 1 makes about 0.3 GB, 20 more than 5 GB, 0.05 a toy for tests.
        years: Label years, 2018-2035.
        jobs: Processes; None takes one per core.
        progress: Show a progress bar.

    Returns:
        ``out`` as a path.

    Raises:
        SimulationError: A parameter is invalid.
        FileExistsError: The folder has other files, or a delta of other parameters.
        FolderError: Another process uses the folder, or its disk is full: the same call continues later.

    Lab: part1_build_dataset.
    """
    out, years = folders.place(out), tuple(sorted({int(y) for y in years}))
    _check(seed, scale, years, jobs)
    parameters = {"version": VERSION, "seed": int(seed), "scale": float(scale), "years": list(years)}
    region = land.Region.of(scale)
    overpasses = sky.overpasses(seed, years)
    products = [product for overpass in overpasses for product in items.products(seed, region, overpass)]
    parts = [*(product.id for product in products), *map(_labels_of, years), CATALOGUE]
    with folders.claim(out, parameters, parts, what="simulated delta") as folder:
        if folder.manifest() is None:
            _make_overpasses(folder, seed, scale, overpasses, jobs or processes.cores(), progress)
            _write_labels(out, seed, scale, years)
            written = folders.at_once(out, textfiles.read_json, [_item_path(out, product) for product in products])
            folder.put(checksums.LIST, checksums.listed(out.glob("*.tif")))
            folders.put_json(out / "collection.json", items.collection(written, years))
            folder.put("study.toml", study_text(seed, scale, years))
            folder.put("README.txt", _readme(parameters, len(written)))
            folder.finish(CATALOGUE, [checksums.LIST, "collection.json", "study.toml", "README.txt"])
            folder.publish()
    return out


def _check(seed, scale, years, jobs):
    if seed < 0:
        raise SimulationError(f"seed must be a whole number from 0, got {seed}.")
    if not 0.005 <= scale <= 400:
        raise SimulationError(
            f"scale must lie between 0.005 and 400, got {scale}. It is an area: 1 is 5.3 km × 4.2 km."
        )
    if not years or years[0] < 2018 or years[-1] > 2035:
        raise SimulationError(
            f"years must name one or more of 2018-2035, got {list(years)}. Try years=(2019, 2020, 2021)."
        )
    if jobs is not None and jobs < 1:
        raise SimulationError(f"jobs must be at least 1, got {jobs}. None takes one process per core.")


def _make_overpasses(folder, seed, scale, overpasses, jobs, progress):
    region, out, count, missing = land.Region.of(scale), folder.path, len(overpasses), set(folder.missing())
    todo = [o for o in overpasses if any(p.id in missing for p in items.products(seed, region, o))]
    bar = tqdm(total=count, initial=count - len(todo), unit="overpass", desc="simulate", disable=not progress)
    with bar, processes.workers(min(jobs, len(todo))) as results:
        for _ in results([partial(make_overpass, out, seed, scale, overpass) for overpass in todo]):
            bar.update()


def _item_path(out: Path, product: items.Product) -> Path:
    return out / "items" / f"{product.id}.json"


def make_overpass(out: Path, seed: int, scale: float, overpass: sky.Overpass) -> None:
    """Write the products of one overpass that are not written yet."""
    region = land.Region.of(scale)
    images, scl = observe(seed, scale, overpass)
    for product in items.products(seed, region, overpass):
        if folders.Folder(out).done(product.id) is not None:
            continue
        _write_product(out, region, product, dict(zip(BANDS, images, strict=True)), scl)


def _write_product(out: Path, region: land.Region, product: items.Product, images: dict, scl: np.ndarray) -> None:
    folder, (west, _, _, north) = out / product.folder, product.tile.bounds(region)
    steps = {name: int(band.resolution_m) for name, band in BANDS.items()} | {"scl": 20}
    parts = {name: _processed(_cut(image, product.tile, steps[name]), product) for name, image in images.items()}
    parts["scl"] = np.ascontiguousarray(_cut(scl, product.tile, 20))

    def write(name):
        place = Affine(steps[name], 0, west, 0, -steps[name], north)
        files.write_raster(folder / f"{name}.tif", parts[name], place, land.UTM)

    folders.at_once(out, write, parts)
    folders.put_json(_item_path(out, product), items.item(product, region, parts["scl"], folder))
    keys = [f"{product.folder}/{name}.tif" for name in parts]
    folders.Folder(out).finish(product.id, [*keys, f"items/{product.id}.json"])


def _cut(image, tile, step):
    return image[:, tile.columns.start * 10 // step : tile.columns.stop * 10 // step]


def _processed(dn, product):
    """DN as this processing stores them: newer ones may add 1000."""
    if product.shifted:
        return np.where(dn > 0, dn + np.uint16(1000), dn).astype(np.uint16)
    return np.ascontiguousarray(dn)


def observe(seed: int, scale: float, overpass: sky.Overpass) -> tuple[list[np.ndarray], np.ndarray]:
    """The images of the whole region on one overpass.

    Returns:
        The 12 bands, each (H, W) uint16 at its own resolution, reflectance × 10,000, 0 outside the swath; and the
        scene classification, (h, w) uint8 at 20 m.
    """
    ground = phenology.ground(seed, scale, overpass.when.year)
    region = land.Region.of(scale)
    height, width = region.shape
    above = sky.sky(seed, region, overpass)
    rng = seeds.generator(seed, "sensor", overpass.name)
    images = [np.zeros((height * 10 // s, width * 10 // s), np.uint16) for s in _STEPS]
    for top in range(0, height, STRIP):
        rows = slice(top, min(top + STRIP, height))
        surface = ground.reflectance(overpass.day, rows)
        for band, step in enumerate(_STEPS):
            light = surface[band]
            light *= 1 + NOISE * rng.standard_normal(light.shape, dtype=np.float32)
            light = above.through(light, band, slice(rows.start // 2, rows.stop // 2))
            light = _coarser(light, step // 10)
            dn = np.clip(np.rint(light * (10_000 / COUNT)), 1, 16_000 // COUNT).astype(np.uint16) * COUNT
            images[band][rows.start * 10 // step : rows.stop * 10 // step] = dn
    for image, step in zip(images, _STEPS, strict=True):
        image[~overpass.seen(region, step // 10)] = 0
    names = list(BANDS)
    bands = {
        name: _coarser(images[names.index(name)].astype(np.float32), 20 // _STEPS[names.index(name)]) / 10_000
        for name in ("blue", "green", "red", "nir", "swir16", "swir22")
    }
    return images, sky.classify(seed, overpass, above, overpass.seen(region, 2), bands)


def _coarser(image, factor):
    """Mean of blocks of ``factor`` × ``factor`` pixels."""
    if factor == 1:
        return image
    rows = sum(image[k::factor] for k in range(factor))
    return sum(rows[:, k::factor] for k in range(factor)) / np.float32(factor * factor)


def _write_labels(out, seed, scale, years):
    region = land.Region.of(scale)
    west, north, _, _ = region.label_grid()
    transform = Affine(30, 0, west, 0, -30, north)
    colours = cdl.colormap()
    folder = folders.Folder(out)
    for year in years:
        if folder.done(_labels_of(year)) is not None:
            continue
        labels = year_labels(seed, scale, year)
        files.write_raster(out / f"cdl_{year}.tif", labels.label, transform, land.ALBERS, colours=colours)
        files.write_raster(out / f"truth_{year}.tif", labels.truth, transform, land.ALBERS, colours=colours)
        files.write_raster(out / f"cdl_{year}_confidence.tif", labels.confidence, transform, land.ALBERS, nodata=None)
        folder.finish(_labels_of(year), [f"cdl_{year}.tif", f"truth_{year}.tif", f"cdl_{year}_confidence.tif"])


def _labels_of(year: int) -> str:
    return f"labels-{year}"


def boxes(scale: float) -> dict[str, tuple[float, float, float, float]]:
    """Seven boxes and the dense test box: in EPSG:5070, on the label grid, without overlap.

    Returns:
        Key → west, south, east, north, m.
    """
    west, south, east, north = land.Region.of(scale).inner_box()
    wide, high = (east - west) / 4, (north - south) / 2
    x0, y0 = land.CDL_ORIGIN
    bounds = {}
    for k, key in enumerate(BOXES):
        column, row = k % 4, k // 4
        # Gaps of about a tenth; the boxes differ in size.
        left, right = 0.05 + 0.02 * (k % 3), 0.95 - 0.02 * ((k + 1) % 3)
        foot, top = 0.05 + 0.03 * (k % 2), 0.95 - 0.02 * (k % 4)
        if key == "dense":
            left, right, foot, top = 0.08, 0.95, 0.25, 0.95
        box = (
            x0 + 30 * np.ceil((west + wide * (column + left) - x0) / 30),
            y0 - 30 * np.floor((y0 - (south + high * (1 - row + foot))) / 30),
            x0 + 30 * np.floor((west + wide * (column + right) - x0) / 30),
            y0 - 30 * np.ceil((y0 - (south + high * (1 - row + top))) / 30),
        )
        bounds[key] = tuple(float(v) for v in box)
    return bounds


def study_text(seed: int = 1, scale: float = 1.0, years: Iterable[int] = (2019, 2020, 2021)) -> str:
    """The study file of a simulated delta: own areas, years and split; season and legend of the real study."""
    years = sorted(years)
    sides = {"train": years[-1:], "validation": years[-2:-1], "test": years[-3:-2]}
    real = (resources.files("arsetlib") / "studies" / "mississippi_delta.toml").read_text(encoding="utf-8")
    areas = []
    for key, bounds in boxes(scale).items():
        number = key.removeprefix("box_")
        name = f'en = "Box {number}", es = "Recuadro {number}"'
        if key == "dense":
            name = 'en = "Dense test box", es = "Recuadro denso de prueba"'
        numbers = ", ".join(f"{v:.0f}" for v in bounds)
        every = 1 if key == "dense" else 2
        areas.append(f'[areas.{key}]\nname = {{ {name} }}\nbounds = [{numbers}]\ncrs = "EPSG:5070"\nevery = {every}\n')
    return f"""\
# The simulated delta. Nothing in it was measured. Written by arsetlib.simulate; paths are relative to its folder.

[study]
key = "sample"
name = {{ en = "Simulated delta", es = "Delta simulado" }}
description = "SIMULATED: a made-up delta of a few kilometres, in the files of the real services."
simulated = true
years = {years}
seed = {seed}

[split]
{chr(10).join(f"{side} = {named}" for side, named in sides.items())}
block_m = 600                # about the size of a field: blocks are small because the region is

{_section(real, "season")}
[scenes]
url = "collection.json"
collection = "{items.COLLECTION}"
max_cloud = 95               # percent of the scene
min_valid = 0.3              # share of the area, of what the scene's tile could show
drop_scl = [0, 1, 7, 8, 9, 11]

[labels]
kind = "simulated"
path = "cdl_{{year}}.tif"
confidence = "cdl_{{year}}_confidence.tif"
min_confidence = 0

# Bounds: west, south, east, north, m.
{chr(10).join(areas)}
{real[real.index("[legend]") :]}"""


def _section(toml: str, name: str) -> str:
    start = toml.index(f"[{name}]")
    return toml[start : toml.index("\n[", start) + 1]


def _readme(parameters, count):
    return f"""\
SIMULATED data. Nothing here was measured; no conclusion about the real world can be drawn from it.

A made-up delta: {count} scenes in the form of Sentinel-2 Level-2A (STAC items and cloud-optimised GeoTIFFs as
Earth Search serves them) and yearly labels in the form of the Cropland Data Layer, with their confidence.

collection.json, items/   the static STAC catalogue
scenes/                   one folder per scene, one file per band; scl.tif is the scene classification
cdl_<year>.tif            labels, with mistakes; cdl_<year>_confidence.tif says how sure they are (0-100)
truth_<year>.tif          labels before the mistakes
study.toml                the study: Study.load("study.toml")

Made by arsetlib.simulate.delta with {json.dumps(parameters)}
Licence: CC BY 4.0
"""
