"""Simulated field images in the layout of Agriculture-Vision: chips in four bands with masks of nine anomalies.

Lab: case_fields. Shell: ``arset simulate-fields data/fields``.
"""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from arsetlib import extras, folders, processes
from arsetlib.fields.classes import CLASSES, ImageError
from arsetlib.simulate import files

VERSION = 1  # of the images that a seed gives; a folder of another version is refused
SAYS = "SIMULATED image of the course library arsetlib: not photographed"
ABOUT = "about"  # name of the part with simulated.json and README.txt
TASK = 8  # fields of one task
QUALITY = 90  # of the JPEG files
ALONE = 30_000_000  # up to so many pixels one process is faster than starting several


def fields(
    out: str | Path,
    *,
    seed: int = 1,
    fields: int = 60,
    chips: int = 4,
    size: int = 512,
    jobs: int | None = None,
    progress: bool = True,
) -> Path:
    """Make simulated field images: ``fields`` × ``chips`` chips in the layout of Agriculture-Vision.

    Each field draws its crop, soil, light and anomalies from a random stream of its own number: the first fields of a
    larger set are those of a smaller one, byte for byte, for any ``jobs``. A rare anomaly is on one field of ten: with
    30 fields, each is on at least three. An interrupted run continues where it stopped; a complete one is left as it
    is. Memory does not grow with the number of chips.

    Args:
        out: Folder to write: new, empty, or of an interrupted run; also in an object store (``s3://…``).
        seed: Of all random numbers.
        fields: How many fields.
        chips: Chips of each field; no two show the same ground.
        size: Side of a chip, pixels. Smaller chips show less ground, a little coarser.
        jobs: Processes; None uses one per core, or only one for a small set.
        progress: Show a progress bar.

    Returns:
        ``out`` as a path. ``field_images/rgb/NAME.jpg``, ``field_images/nir/NAME.jpg``,
        ``field_labels/<class>/NAME.png`` (255 where the anomaly is, else 0; one for each of the nine classes),
        ``field_bounds/NAME.png`` (255 in the field), ``field_masks/NAME.png`` (255 where the camera has a pixel),
        ``simulated.json``, ``README.txt``. NAME is ``FIELD_x1-y1-x2-y2``.

    Raises:
        ImageError: Invalid parameters.
        FileExistsError: The folder holds something else, or fields of other parameters.
        FolderError: Another process writes to the folder, or its disk is full: the same call continues later.

    Lab: case_fields.
    """
    out = folders.place(out)
    asked = {"seed": seed, "fields": fields, "chips": chips, "size": size}
    _check(asked, jobs)
    parameters = {"version": VERSION} | {name: int(value) for name, value in asked.items()}
    if files.made_earlier(out, parameters):
        return out
    tasks = [range(low, min(low + TASK, fields)) for low in range(0, fields, TASK)]
    if jobs is None:
        jobs = 1 if fields * chips * size * size <= ALONE else processes.cores()
    with folders.claim(out, parameters, [*map(_name, range(fields)), ABOUT], what="simulated set of fields") as folder:
        if folder.manifest() is None:
            bar = tqdm(total=fields * chips, desc="simulate", unit="chip", disable=not progress)
            with bar, processes.workers(min(jobs, len(tasks))) as results:
                for made in results([partial(_make, out, seed, numbers, chips, size) for numbers in tasks]):
                    bar.update(made)
            folders.put_json(out / "simulated.json", _about(parameters))
            folder.put("README.txt", _readme(parameters))
            folder.finish(ABOUT, ["simulated.json", "README.txt"])
            folder.publish()
    return out


def _check(asked: dict, jobs) -> None:
    if importlib.util.find_spec("PIL") is None:
        raise extras.missing("PIL")
    bounds = {"seed": (0, 2**32 - 1), "fields": (1, 100_000), "chips": (1, 400), "size": (32, 2048)}
    for name, value in asked.items():
        low, high = bounds[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise ImageError(f"Expected {name} as a whole number from {low:,} to {high:,}, received {value!r}.")
    if jobs is not None and jobs < 1:
        raise ImageError(f"Expected jobs of at least 1, received {jobs}. None takes one process per core.")


def _make(out: Path, seed: int, numbers: range, chips: int, size: int) -> int:
    """Write the missing chips of some fields; returns how many chips these fields have."""
    from arsetlib.simulate import fields_draws, fields_scene

    folder = folders.Folder(out)
    for number in numbers:
        if folder.done(_name(number)) is not None:
            continue
        one, keys = fields_draws.field(seed, number, size), []
        shown = fields_draws.shown(one, chips)
        for k, corner in enumerate(fields_draws.windows(one, chips)):
            name = fields_draws.chip_name(one, corner)
            keys += _write(out, name, fields_scene.paint(one, k, corner, shown[k]))
        folder.finish(_name(number), keys)
    return len(numbers) * chips


def _name(number: int) -> str:
    return f"field-{number:05}"


def _write(out: Path, name: str, chip) -> list[str]:
    """Write the files of a chip; returns their keys."""
    from PIL import Image

    empty = np.zeros(chip.valid.shape, bool)
    masks = {f"field_labels/{label}": chip.labels.get(label, empty) for label in CLASSES}
    masks |= {"field_bounds": chip.bounds, "field_masks": chip.valid}
    photos = {"nir": chip.pixels[3], "rgb": np.ascontiguousarray(np.moveaxis(chip.pixels[:3], 0, -1))}
    pictures = {f"{place}/{name}.png": mask.astype(np.uint8) * 255 for place, mask in masks.items()}
    pictures |= {f"field_images/{place}/{name}.jpg": pixels for place, pixels in photos.items()}
    png = {"form": "PNG", "compress_level": 1}
    jpeg = {"form": "JPEG", "quality": QUALITY, "comment": SAYS.encode()}

    def write(key: str) -> None:
        files.write_picture(out / key, Image.fromarray(pictures[key]), **(png if key.endswith(".png") else jpeg))

    folders.at_once(out, write, pictures)
    return list(pictures)


def _about(parameters: dict) -> dict:
    return {
        "simulated": True,
        "about": "SIMULATED images of arsetlib.simulate.fields in the layout of Agriculture-Vision.",
        "made_with": parameters,
        "classes": list(CLASSES),
        "bands": ["red", "green", "blue", "nir"],
        "images": parameters["fields"] * parameters["chips"],
        "licence": "CC BY 4.0",
    }


def _readme(parameters: dict) -> str:
    return f"""\
SIMULATED data. Nothing here was photographed; no conclusion about the real world can be drawn from it.

{parameters["fields"] * parameters["chips"]:,} made-up aerial images of {parameters["fields"]:,} farm fields, \
{parameters["size"]} × {parameters["size"]} pixels, in the layout of Agriculture-Vision.
No image, mask or number of Agriculture-Vision is in them.

field_images/rgb/NAME.jpg          red, green, blue
field_images/nir/NAME.jpg          near infrared
field_labels/<class>/NAME.png      255 where the anomaly is, 0 elsewhere; several may be on one image, or none
field_bounds/NAME.png              255 inside the field
field_masks/NAME.png               255 where the camera has a pixel
NAME is FIELD_x1-y1-x2-y2: the field and the place of the image in the picture of the whole field.

Classes: {", ".join(CLASSES)}
Made by arsetlib.simulate.fields with {json.dumps(parameters)}
Licence: CC BY 4.0
"""
