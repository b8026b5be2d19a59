"""The simulated delta: a made-up piece of the lower Mississippi plain, in the files of the real services.

Lab: part1_build_dataset. Shell: ``arset simulate data/delta``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import resources
from pathlib import Path

import numpy as np
from rasterio.transform import Affine
from tqdm import tqdm

from arsetlib import cdl, checksums, folders, orphans, seeds
from arsetlib.errors import ArsetError
from arsetlib.sentinel2 import BANDS
from arsetlib.simulate import files, items, phenology, sky
from arsetlib.simulate import landscape as land
from arsetlib.simulate.labels import year_labels

VERSION = 1  # of what a seed gives; a folder made by another version is refused
CATALOGUE = "catalogue"  # name of the part with what is said about the others
STRIP = 120  # rows of 10 m pixels worked on at a time, so that memory stays flat as the region grows
BOXES = ("box_1", "box_2", "box_3", "box_4", "dense", "box_5", "box_6", "box_7")
COUNT = np.uint16(4)  # reflectance × 10,000 of one count: the sensor has 12 bits
NOISE = np.float32(0.003)  # of the sensor, as a share of the light from the ground
_STEPS = np.array([int(b.resolution_m) for b in BANDS.values()])


class SimulationError(ArsetError, ValueError):
    """The simulated delta cannot be made as asked; the message says what can."""


def delta(
    out: str | Path,
    seed: int = 1,
    scale: float = 1.0,
    years=(2019, 2020, 2021),
    jobs: int | None = None,
    progress: bool = True,
) -> Path:
    """Make the simulated delta: scenes with a STAC catalogue, labels with confidence, a study file.

    The same seed, scale and years give the same bytes, whatever ``jobs``. An interrupted run goes on where it
    stopped; a complete one is left as it is.

    Args:
        out: Folder to make: new, empty, or one that an interrupted run left.
        seed: Of everything random.
        scale: Area, in units of 5.3 km × 4.2 km. 1 makes about 0.3 GB, 20 more than 5 GB, 0.05 a toy for tests.
        years: Label years, 2018-2035.
        jobs: Processes; None takes one per core. In a script of your own keep the call under
            ``if __name__ == "__main__":``, as always with processes, or say ``jobs=1``.
        progress: Show a progress bar.

    Returns:
        ``out`` as a path.

    Raises:
        SimulationError: A parameter that cannot be meant.
        FileExistsError: The folder holds something else, or a delta of other parameters.
        FolderError: Another process works in the folder, or its disk is full: the same call goes on later.

    Lab: part1_build_dataset.
    """
    out, years = Path(out), tuple(sorted({int(y) for y in years}))
    _check(seed, scale, years, jobs)
    parameters = {"version": VERSION, "seed": int(seed), "scale": float(scale), "years": list(years)}
    if files.made_earlier(out, parameters):
        return out
    region = land.Region.of(scale)
    passes = sky.passes(seed, years)
    scenes = [scene for one in passes for scene in items.scenes(seed, region, one)]
    parts = [*(scene.id for scene in scenes), *map(_labels_of, years), CATALOGUE]
    with folders.claim(out, parameters, parts, what="simulated delta") as folder:
        if folder.manifest() is None:
            _run_all(out, seed, scale, passes, jobs or os.cpu_count() or 1, progress)
            _write_labels(out, seed, scale, years)
            found = [json.loads(_item_path(out, scene).read_text(encoding="utf-8")) for scene in scenes]
            folder.put(checksums.LIST, checksums.listed(out.glob("*.tif")))
            files.write_json(out / "collection.json", items.collection(found, years))
            folder.put("study.toml", study_text(seed, scale, years))
            folder.put("README.txt", _readme(parameters, len(found)))
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


def _run_all(out, seed, scale, passes, jobs, progress):
    region = land.Region.of(scale)
    folder = folders.Folder(out)
    todo = [p for p in passes if any(folder.done(s.id) is None for s in items.scenes(seed, region, p))]
    bar = tqdm(total=len(passes), initial=len(passes) - len(todo), unit="pass", desc="simulate", disable=not progress)
    with bar:
        if jobs == 1 or len(todo) < 2:
            for one in todo:
                make_pass(out, seed, scale, one)
                bar.update()
            return
        # Fresh processes: forking one that has threads (Spark, TensorFlow, a notebook) can hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(todo)), context, orphans.end_with, (os.getpid(),)) as pool:
            running = [pool.submit(make_pass, out, seed, scale, one) for one in todo]
            try:
                for done in as_completed(running):
                    done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _item_path(out: Path, scene: items.Scene) -> Path:
    return out / "items" / f"{scene.id}.json"


def make_pass(out: Path, seed: int, scale: float, one: sky.Pass) -> None:
    """Write the scenes of one pass that are not there yet."""
    region = land.Region.of(scale)
    images, scl = observe(seed, scale, one)
    for scene in items.scenes(seed, region, one):
        if folders.Folder(out).done(scene.id) is not None:
            continue
        folder = out / scene.folder
        west, _, _, north = scene.tile.bounds(region)
        for (name, band), image in zip(BANDS.items(), images, strict=True):
            step = int(band.resolution_m)
            part = _processed(_cut(image, scene.tile, step), scene)
            files.write_raster(folder / f"{name}.tif", part, Affine(step, 0, west, 0, -step, north), land.UTM)
        part = np.ascontiguousarray(_cut(scl, scene.tile, 20))
        files.write_raster(folder / "scl.tif", part, Affine(20, 0, west, 0, -20, north), land.UTM)
        files.write_json(_item_path(out, scene), items.item(scene, region, part, folder))
        keys = [f"{scene.folder}/{name}.tif" for name in (*BANDS, "scl")]
        folders.Folder(out).finish(scene.id, [*keys, f"items/{scene.id}.json"])


def _cut(image, tile, step):
    return image[:, tile.columns.start * 10 // step : tile.columns.stop * 10 // step]


def _processed(dn, scene):
    """DN as this processing stores them: older ones differ a little, newer ones may carry +1000."""
    if scene.shifted:
        return np.where(dn > 0, dn + np.uint16(1000), dn).astype(np.uint16)
    return np.ascontiguousarray(dn)


def observe(seed: int, scale: float, one: sky.Pass) -> tuple[list[np.ndarray], np.ndarray]:
    """What a pass sees of the whole region.

    Returns:
        The 12 bands, each (H, W) uint16 at its own resolution, reflectance × 10,000, 0 outside the swath; and the
        scene classification, (h, w) uint8 at 20 m.
    """
    ground = phenology.ground(seed, scale, one.when.year)
    region = land.Region.of(scale)
    height, width = region.shape
    above = sky.sky(seed, region, one)
    rng = seeds.generator(seed, "sensor", one.name)
    images = [np.zeros((height * 10 // s, width * 10 // s), np.uint16) for s in _STEPS]
    for top in range(0, height, STRIP):
        rows = slice(top, min(top + STRIP, height))
        surface = ground.reflectance(one.day, rows)
        for band, step in enumerate(_STEPS):
            light = surface[band]
            light *= 1 + NOISE * rng.standard_normal(light.shape, dtype=np.float32)
            light = above.through(light, band, slice(rows.start // 2, rows.stop // 2))
            light = _coarser(light, step // 10)
            dn = np.clip(np.rint(light * (10_000 / COUNT)), 1, 16_000 // COUNT).astype(np.uint16) * COUNT
            images[band][rows.start * 10 // step : rows.stop * 10 // step] = dn
    for image, step in zip(images, _STEPS, strict=True):
        image[~one.seen(region, step // 10)] = 0
    names = list(BANDS)
    felt = {
        name: _coarser(images[names.index(name)].astype(np.float32), 20 // _STEPS[names.index(name)]) / 10_000
        for name in ("blue", "green", "red", "nir", "swir16", "swir22")
    }
    return images, sky.classify(seed, one, above, one.seen(region, 2), felt)


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
        made = year_labels(seed, scale, year)
        files.write_raster(out / f"cdl_{year}.tif", made.label, transform, land.ALBERS, colours=colours)
        files.write_raster(out / f"truth_{year}.tif", made.truth, transform, land.ALBERS, colours=colours)
        files.write_raster(out / f"cdl_{year}_confidence.tif", made.confidence, transform, land.ALBERS, nodata=None)
        folder.finish(_labels_of(year), [f"cdl_{year}.tif", f"truth_{year}.tif", f"cdl_{year}_confidence.tif"])


def _labels_of(year: int) -> str:
    return f"labels-{year}"


def boxes(scale: float) -> dict[str, tuple[float, float, float, float]]:
    """Seven boxes and the dense test box, in EPSG:5070, on the label grid, apart from each other.

    Returns:
        Key → west, south, east, north, m.
    """
    west, south, east, north = land.Region.of(scale).inner_box()
    wide, high = (east - west) / 4, (north - south) / 2
    x0, y0 = land.CDL_ORIGIN
    found = {}
    for k, key in enumerate(BOXES):
        column, row = k % 4, k // 4
        # Gaps of a tenth, and each box of its own size.
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
        found[key] = tuple(float(v) for v in box)
    return found


def study_text(seed: int = 1, scale: float = 1.0, years=(2019, 2020, 2021)) -> str:
    """The study file of a simulated delta: its areas, years and split; season and legend as in the real study."""
    years = sorted(years)
    sides = {"train": years[-1:], "validation": years[-2:-1], "test": years[-3:-2]}
    real = (resources.files("arsetlib") / "studies" / "mississippi_delta.toml").read_text(encoding="utf-8")
    areas = []
    for key, bounds in boxes(scale).items():
        number = key.removeprefix("box_")
        name = f'en = "Box {number}", es = "Caja {number}"'
        if key == "dense":
            name = 'en = "Dense test box", es = "Caja densa de prueba"'
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
