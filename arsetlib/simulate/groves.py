"""The simulated grove: drone images of one flight over rows of olive trees, with exact masks.

Lab: case_groves. Shell: ``arset simulate-groves data/groves``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm.auto import tqdm

from arsetlib import extras, folders, processes
from arsetlib.groves.classes import CLASSES, GroveError
from arsetlib.groves.flight import FILE as FLIGHT
from arsetlib.groves.masks import write_mask
from arsetlib.simulate import files
from arsetlib.simulate import groves_texture as texture
from arsetlib.simulate.groves_scene import FINEST, FULL_WIDTH, OVERLAP, Grove

VERSION = 2  # of what a seed gives; a folder made by another version is refused
ABOUT, TEXTURES = "about", "textures"  # names of parts
STRIP = 768  # rows of the ground picture painted by one task
SIZE = (2912, 3808)
SECONDS = 2.0  # from capture to capture
DESCRIPTION = "SIMULATED image of the course library arsetlib: not photographed"


def groves(
    out: str | Path,
    *,
    seed: int = 1,
    captures: int = 10,
    size: tuple[int, int] = SIZE,
    resolution: float | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Path:
    """Make the simulated grove: captures of one flight with masks, the flight's poses, the crowns' true places.

    One piece of ground is made and each capture is a view of it, so the same tree is in several captures, at places
    that ``flight.json`` states. The same arguments give the same bytes, whatever ``jobs``. An interrupted run goes on
    where it stopped; a complete one is left as it is.

    Args:
        out: Folder to make: new, empty, or one that an interrupted run left; also in an object store (``s3://…``).
        seed: Of everything random.
        captures: How many, 1 to 100; each overlaps the next by about 80 %.
        size: (rows, columns) of a capture, pixels.
        resolution: Metres per pixel. None takes 0.016 for captures of full size and coarser ones for smaller, so that
            these still show whole trees.
        jobs: Processes; None takes one per core.
        progress: Show a progress bar.

    Returns:
        ``out`` as a path. ``images/capture_01.jpg`` … and ``masks/capture_01.png`` … (0 ground, 1 tree, 2 grass),
        ``flight.json``, ``trees.geojson``, ``README.txt``.

    Raises:
        GroveError: An invalid parameter.
        FileExistsError: The folder holds something else, or a grove made with other parameters.
        FolderError: Another process works in the folder, or its disk is full: the same call goes on later.

    Lab: case_groves.
    """
    out, size = folders.place(out), tuple(int(n) for n in size)
    resolution = float(resolution or FINEST * np.sqrt(FULL_WIDTH / max(size[1], 1)))
    _check(seed, captures, size, resolution, jobs)
    parameters = {
        "version": VERSION,
        "seed": int(seed),
        "captures": int(captures),
        "size": list(size),
        "resolution": resolution,
    }
    with folders.claim(out, parameters, [*map(_name, range(captures)), ABOUT], what="simulated grove") as folder:
        if folder.manifest() is None:
            _make(folder, Grove(int(seed), int(captures), size, resolution), parameters, jobs, progress)
    return out


def _make(folder: folders.Folder, scene: Grove, parameters: dict, jobs, progress) -> None:
    out, captures = folder.path, len(scene.poses)
    strips = [range(low, min(low + STRIP, scene.shape[0])) for low in range(0, scene.shape[0], STRIP)]
    names = [TEXTURES, *(_strip(k) for k in range(len(strips)))]
    with ExitStack() as stack:
        # The ground is painted through memory maps, which only a disk has.
        place = out / folders.WORK if folders.on_disk(out) else Path(stack.enter_context(TemporaryDirectory()))
        work = stack.enter_context(folders.claim(place, parameters, names, what="ground of a simulated grove"))
        _prepare(work, scene)
        todo = [partial(_paint, work, scene, k, rows) for k, rows in enumerate(strips) if not _painted(work, k, rows)]
        views = [partial(_capture, out, work.path, scene, k) for k in range(captures) if folder.done(_name(k)) is None]
        done = len(strips) - len(todo) + captures - len(views)
        with tqdm(total=len(strips) + captures, initial=done, desc="simulate", disable=not progress) as bar:
            most = min(jobs or processes.cores(), max(len(todo), len(views)))
            with processes.workers(most) as results:
                for tasks in (todo, views):  # the captures show the ground, so it is painted first
                    for _ in results(tasks):
                        bar.update()
        tallies = np.sum([np.array(work.settle()[_strip(k)]["tally"]) for k in range(len(strips))], axis=0)
    folders.put_json(out / "trees.geojson", _trees(scene, tallies))
    folders.put_json(out / FLIGHT, _flight(scene, parameters))
    folder.put("README.txt", _readme(scene, parameters))
    folder.finish(ABOUT, ["trees.geojson", FLIGHT, "README.txt"])
    folder.publish()


def _check(seed, captures, size, resolution, jobs):
    if importlib.util.find_spec("PIL") is None:
        raise extras.missing("PIL")
    if seed < 0:
        raise GroveError(f"seed must be a whole number from 0, got {seed}.")
    if not 1 <= captures <= 100:
        raise GroveError(f"captures must lie between 1 and 100, got {captures}.")
    if len(size) != 2 or not all(64 <= n <= 10_000 for n in size):
        raise GroveError(f"size must be (rows, columns), 64 to 10,000 each, got {size}. The thesis's is {SIZE}.")
    if not 0.004 <= resolution <= 0.2:
        raise GroveError(f"resolution must lie between 0.004 and 0.2 m per pixel, got {resolution}.")
    if max(size) * resolution > 400:
        raise GroveError(f"A capture of {size} at {resolution} m per pixel is wider than 400 m. Ask for a finer one.")
    if jobs is not None and jobs < 1:
        raise GroveError(f"jobs must be at least 1, got {jobs}. None takes one process per core.")


# -- the ground picture, in files that processes share -----------------------------------------------------------------


def _prepare(work: folders.Folder, scene: Grove) -> None:
    """Make textures and an empty ground picture, unless an earlier run has made them."""
    if work.done(TEXTURES) is None:
        fields = texture.fine(scene.seed, scene.metres, scene.side, scene.draws["angle"])
        for name, field in fields.items():
            work.put(f"{name}.npy", partial(_save, field))
        work.finish(TEXTURES, [f"{name}.npy" for name in fields])
    for name, depth in (("ground", (3,)), ("classes", ())):
        if not (work.path / f"{name}.npy").is_file():
            work.put(f"{name}.npy", partial(_reserve, (*scene.shape, *depth)))


def _save(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _reserve(shape: tuple[int, ...], path: Path) -> None:
    """An empty picture with its disk space reserved: a full disk under a memory map would end the process."""
    np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _open(work: Path, name: str, mode: str = "r") -> np.memmap:
    return np.load(work / f"{name}.npy", mmap_mode=mode)


def _strip(number: int) -> str:
    return f"strip_{number:03d}"


def _painted(work: folders.Folder, number: int, rows: range) -> bool:
    """Whether a strip is unchanged since it was painted."""
    note = work.done(_strip(number))
    return note is not None and note["sha256"] == _digest(work.path, rows)


def _digest(work: Path, rows: range) -> str:
    digest = hashlib.sha256()
    for name in ("ground", "classes"):
        digest.update(np.ascontiguousarray(_open(work, name)[rows.start : rows.stop]))
    return digest.hexdigest()


def _paint(work: folders.Folder, scene: Grove, number: int, rows: range) -> None:
    """Paint a strip of the ground and note its tally of crowns."""
    from arsetlib.simulate import groves_ground

    textures = {name: _open(work.path, name) for name in (*texture.FINE, "tilled")}
    picture, classes, owner = groves_ground.paint(scene, textures, rows)
    for name, part in (("ground", picture), ("classes", classes)):
        whole = _open(work.path, name, "r+")
        whole[rows.start : rows.stop] = part
        whole.flush()
    i, j = np.nonzero(owner)
    mine, count = owner[i, j], len(scene.trees) + 1
    sums = [np.bincount(mine, weights, count) for weights in (None, j + 0.5, i + (rows.start + 0.5))]
    work.finish(_strip(number), [], tally=np.stack(sums).tolist(), sha256=_digest(work.path, rows))


def _name(number: int) -> str:
    return f"capture_{number + 1:02d}"


def _capture(out: Path, work: Path, scene: Grove, number: int) -> None:
    """Write a mask and its image."""
    from PIL import Image

    from arsetlib.simulate import groves_camera

    name = _name(number)
    image, mask = groves_camera.see(scene, scene.poses[number], _open(work, "ground"), _open(work, "classes"))
    keys = f"masks/{name}.png", f"images/{name}.jpg"
    write_mask(mask, out / keys[0], CLASSES.colours, DESCRIPTION)
    files.write_picture(out / keys[1], Image.fromarray(image), "JPEG", quality=95, comment=DESCRIPTION.encode())
    folders.Folder(out).finish(name, keys)


# -- texts about it ---------------------------------------------------------------------------------------------


def _flight(scene: Grove, parameters: dict) -> dict:
    return {
        "simulated": True,
        "about": "SIMULATED flight of arsetlib.simulate.groves. Ground positions: metres, x to the right, y up.",
        "made_with": parameters,
        "classes": list(CLASSES.keys),
        "size": list(scene.size),
        "overlap": OVERLAP,
        "seconds_between_captures": SECONDS,
        "sun": {k: round(float(np.rad2deg(scene.draws[f"sun_{k}"])), 2) for k in ("azimuth", "elevation")},
        "transform": "x = a·column + b·row + c, y = d·column + e·row + f; (0, 0) is the upper left corner of the image",
        "captures": [
            {
                "name": _name(k),
                "image": f"images/{_name(k)}.jpg",
                "mask": f"masks/{_name(k)}.png",
                "second": pose.second,
                "x": pose.c,
                "y": pose.f,
                "metres_per_pixel": round(pose.metres, 7),
                "heading": pose.heading,
                "transform": [pose.a, pose.b, pose.c, pose.d, pose.e, pose.f],
                "footprint": np.round(pose.outline(scene.size), 3).tolist(),
            }
            for k, pose in enumerate(scene.poses)
        ],
    }


def _trees(scene: Grove, tallies: np.ndarray) -> dict:
    """Crowns that a capture shows the centre of; places and areas are counted from the exact mask."""
    pixels, columns, rows = tallies
    west, south, east, north = scene.box
    features = []
    for tree in scene.trees:
        count = pixels[tree.number]
        if not count:
            continue
        x = west + columns[tree.number] / count * scene.metres
        y = north - rows[tree.number] / count * scene.metres
        seen = [_name(k) for k, pose in enumerate(scene.poses) if pose.shows(scene.size, x, y)]
        if not seen:
            continue
        reach = 1.35 * tree.radius + 0.6
        area = count * scene.metres**2
        whole = west + reach < tree.x < east - reach and south + reach < tree.y < north - reach
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [round(x, 3), round(y, 3)]},
                "properties": {
                    "tree": tree.number,
                    "radius": round(float(np.sqrt(area / np.pi)), 3),
                    "area": round(float(area), 3),
                    "height": round(tree.height, 2),
                    "whole": whole,
                    "captures": seen,
                },
            }
        )
    about = "SIMULATED crowns; coordinates are metres on the ground of flight.json, not degrees; radius: of a disc"
    about += " of the crown's area; whole: no part of the crown lies beyond the simulated ground"
    return {"type": "FeatureCollection", "simulated": True, "about": about, "features": features}


def _readme(scene, parameters):
    height, width = scene.size
    return f"""\
SIMULATED data. Nothing here was photographed; no conclusion about the real world can be drawn from it.

A made-up olive grove as a drone would see it: {scene.captures} images of {width} × {height} pixels of about
{scene.metres * 100:.1f} cm, taken every {SECONDS:.0f} s along one track; each overlaps the next by about {OVERLAP:.0%}.
The camera looks straight down everywhere: trees do not lean outwards at the edges, as they would in a photograph.

images/         the captures
masks/          their exact classes as palette PNG: {", ".join(f"{k} {name}" for k, name in enumerate(CLASSES.keys))}
flight.json     where each capture lies on the ground
trees.geojson   the crowns' true centres and areas, metres on the same ground

Made by arsetlib.simulate.groves with {json.dumps(parameters)}
Licence: CC BY 4.0
"""
