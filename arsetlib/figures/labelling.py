"""A page on which a person labels the points of a sample: one HTML file that makes no requests.

Each point shows small images of its surroundings on several dates and the series of its pixel. Labels are kept in the
browser as one goes and saved as the CSV that ``arset areas`` reads. What the map says of a point is not shown, so that
nobody labels the map.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import csv
import json
from importlib import resources
from pathlib import Path

import numpy as np

from arsetlib import checksums, folders
from arsetlib.figures.style import data_uri, date_of
from arsetlib.maps import MapError, MapSample, PixelViews
from arsetlib.translation import _, language
from arsetlib.wording import day

SHOWN = 96  # pixels a side in which an image is kept at least; smaller ones are enlarged by the browser
QUALITY = 80  # of the images
KEYS = "123456789bdefghijklmopqrtuvwxyz"  # of the classes; a, c, n and s have a meaning of their own


def labelling_page(sample: MapSample, views: PixelViews, out: str | Path, *, title: str | None = None) -> Path:
    """Write the page.

    Args:
        sample: Drawn by ``maps.draw_sample``; labels that it has are shown and may be changed.
        views: Of its points, from ``maps.views_of_scenes`` or ``maps.views_of_table``.
        out: The page, ending in ``.html``; also in an object store.
        title: Of the page.

    Returns:
        Where it is. It holds all images: about 2 kB a point and date.

    Raises:
        MapError: The page exists; views of other points; more classes than keys.

    Lab: part4_defend_the_map.
    """
    import jinja2

    out = new_page(out)
    legend, rows = sample.legend, sample.csv().splitlines()
    if len(views.days) != len(sample.table):
        raise MapError(f"Expected views of the {len(sample.table)} points of the sample, received {len(views.days)}.")
    if len(legend.classes) > len(KEYS):
        raise MapError(f"Expected at most {len(KEYS)} classes, so that each has a key, received {len(legend.classes)}.")
    classes = [
        {"key": c.key, "name": name, "colour": c.colour, "press": press}
        for c, name, press in zip(legend.classes, legend.names(), KEYS, strict=False)
    ]
    table = sample.table
    points = [
        {
            "id": int(table["id"].iloc[i]),
            "lon": round(float(table["lon"].iloc[i]), 6),
            "lat": round(float(table["lat"].iloc[i]), 6),
            "label": str(table["label"].iloc[i]),
            "confidence": str(table["confidence"].iloc[i]),
            "remarks": str(table["remarks"].iloc[i]),
            "images": _images(views, i),
            "series": _series(views, i),
        }
        for i in range(len(table))
    ]
    data = {
        "store": f"arset-sample-{checksums.digest_json([rows[0], table['id'].tolist(), table['lon'].tolist()])[:16]}",
        "header": list(table.columns),
        "rows": [list(row) for row in _cells(sample)],
        "classes": classes,
        "kinds": list(views.kinds),
        "box": views.pixel / views.side,
        "points": points,
        "words": _words(),
    }
    files = resources.files("arsetlib.figures")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files / "labelling.html.jinja").read_text(encoding="utf-8"))
    page = template.render(
        _=_,
        lang=language(),
        title=title or _("What grows here?"),
        simulated=bool(sample.design.get("simulated")),
        classes=classes,
        kinds={"true": _("True colour"), "false": _("False colour")},
        shown=views.kinds,
        count=len(points),
        side=f"{views.side:,.0f}",
        style=(files / "labelling.css").read_text(encoding="utf-8"),
        script=(files / "labelling.js").read_text(encoding="utf-8"),
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )
    folders.put(out, page)
    return out


def new_page(out: str | Path) -> Path:
    """Where a page may be written.

    Raises:
        MapError: It exists, or its name does not end in ``.html``.
    """
    out = folders.place(out)
    if out.suffix != ".html":
        raise MapError(f"Expected a page whose name ends in .html, received {out.name!r}.")
    if out.exists():
        raise MapError(f"{out} exists. Name another file, or delete it first.")
    return out


def _cells(sample: MapSample) -> list[list[str]]:
    """The rows of the CSV, cell by cell."""
    return list(csv.reader(sample.csv().splitlines()))[1:]


def _images(views: PixelViews, i: int) -> list[dict]:
    """Date by date the pictures of a point."""
    from PIL import Image

    found = []
    for when, pictures in zip(views.days[i], views.images[i], strict=True):
        if not pictures.any():
            continue
        one = {"date": date_of(when).isoformat(), "day": day(date_of(when))}
        for kind, picture in zip(views.kinds, pictures, strict=True):
            times = max(1, SHOWN // picture.shape[0])
            large = np.where((picture == 0).all(-1, keepdims=True), 128, picture).astype(np.uint8)
            large = large.repeat(times, 0).repeat(times, 1)
            one[kind] = data_uri(Image.fromarray(large), "webp", quality=QUALITY)
        found.append(one)
    return found


def _series(views: PixelViews, i: int) -> list[list]:
    """Date, its name, and NDVI of each observation with a value."""
    rows = views.series[i].dropna(subset="ndvi")
    return [
        [date_of(d).isoformat(), day(date_of(d)), round(float(v), 3)]
        for d, v in zip(rows["day"], rows["ndvi"], strict=True)
    ]


def _words() -> dict[str, str]:
    """What the script says, in the reader's language."""
    return {
        "point": _("Point {i} of {n}"),
        "done": _("{n} of {all} labelled"),
        "saved": _("Saved in this browser. Download the CSV to keep it."),
        "unsaved": _("This browser keeps nothing for this page. Download the CSV before you close it."),
        "labelled": _("{name}, point {id}"),
        "cleared": _("Label of point {id} removed"),
        "none": _("no label"),
        "all": _("All points are labelled. Download the CSV."),
        "image": _("{kind}, {day}"),
        "axis": _("NDVI of the pixel"),
        "chart": _("NDVI of the pixel from {first} to {last}: {low} to {high}"),
        "noimages": _("There is no image of this point."),
        "noseries": _("There is no series of this point."),
        "true": _("True colour"),
        "false": _("False colour"),
    }
