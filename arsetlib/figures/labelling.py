"""A page on which a person labels the points of a sample: one HTML file that makes no requests.

Each point shows small images of its surroundings on several dates and the series of its pixel. Labels are kept in the
browser as one goes and saved as the CSV that ``arset areas`` reads. What the map says of a point is not shown, so that
nobody labels the map.

A map shows where the points lie, over pictures of the ground where the views have them. A click on a point opens it; a
click elsewhere on the ground adds a place of the person's own choice. Such a place is for training: it has no
inclusion probability, and ``arset areas`` leaves it out.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import csv
import json
from importlib import resources
from pathlib import Path

import numpy as np
from pyproj import CRS, Transformer

from arsetlib import checksums, folders
from arsetlib.figures.style import data_uri, date_of
from arsetlib.maps import MapError, MapSample, PixelViews
from arsetlib.maps.sampling import CHOSEN
from arsetlib.maps.views import VIEWS, painted
from arsetlib.translation import _, language
from arsetlib.wording import day

SHOWN = 96  # pixels a side in which an image is kept at least; smaller ones are enlarged by the browser
QUALITY = 80  # of the images
NODES = 17  # along each side of the map: places whose coordinates the page knows
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
    surroundings, places = _surroundings(sample, views)
    points = [
        {
            "id": int(table["id"].iloc[i]),
            "lon": round(float(table["lon"].iloc[i]), 6),
            "lat": round(float(table["lat"].iloc[i]), 6),
            "label": str(table["label"].iloc[i]),
            "confidence": str(table["confidence"].iloc[i]),
            "remarks": str(table["remarks"].iloc[i]),
            "at": places[i],
            "images": _images(views, i),
            "series": _series(views, i),
        }
        for i in range(len(table))
    ]
    data = {
        "store": f"arset-sample-{checksums.digest_json([rows[0], table['id'].tolist(), table['lon'].tolist()])[:16]}",
        "header": list(table.columns),
        "rows": _cells(sample),
        "own": ["" if name != "stratum" else CHOSEN for name in table.columns],
        "map": surroundings,
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
        ground=bool(surroundings["ground"]),
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


def _surroundings(sample: MapSample, views: PixelViews) -> tuple[dict, list[list[float]]]:
    """The map for the script, and where on it each point lies: shares of its width and height, from the north-west.

    The script cannot change coordinates to another system. So it gets longitude, latitude, x and y on a grid of
    NODES × NODES places and takes means between four of them; over 100 km this is right to 1 m.
    """
    table, ground = sample.table, views.ground
    crs = CRS(ground.crs if ground else sample.design.get("crs", "EPSG:4326"))
    degrees = table["lon"].to_numpy(), table["lat"].to_numpy()
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*degrees)
    if ground is not None:
        west, south, east, north = ground.bounds
    else:
        around = max(0.1 * max(np.ptp(x), np.ptp(y)), 1e-3 if crs.is_geographic else 10 * views.pixel)
        west, south, east, north = x.min() - around, y.min() - around, x.max() + around, y.max() + around
    across, down = np.meshgrid(np.linspace(west, east, NODES), np.linspace(north, south, NODES))
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(across, down)
    own = Transformer.from_crs(crs, CRS(sample.design.get("crs", crs)), always_xy=True).transform(across, down)
    pictures = []
    for when, bands in zip(ground.days, ground.bands, strict=True) if ground else ():
        one = {"date": date_of(when).isoformat(), "day": day(date_of(when))}
        for kind in views.kinds:
            one[kind] = _picture(painted(bands[..., [ground.names.index(b) for b in VIEWS[kind]]]))
        pictures.append(one)
    places = np.stack([(x - west) / (east - west), (north - y) / (north - south)], 1).round(6)
    found = {
        "wide": east - west,
        "high": north - south,
        "pixel": ground.pixel if ground else views.pixel,
        "side": views.side,
        "ground": pictures if views.kinds else [],
        "nodes": NODES,
        "grid": [
            part.ravel().round(digits).tolist() for part, digits in ((lon, 8), (lat, 8), (own[0], 3), (own[1], 3))
        ],
    }
    return found, places.tolist()


def _picture(picture: np.ndarray) -> str:
    """A picture (H, W, 3), enlarged where it is small; grey where there is no data."""
    from PIL import Image

    times = max(1, SHOWN // picture.shape[0])
    large = np.where((picture == 0).all(-1, keepdims=True), 128, picture).astype(np.uint8)
    return data_uri(Image.fromarray(large.repeat(times, 0).repeat(times, 1)), "webp", quality=QUALITY)


def _images(views: PixelViews, i: int) -> list[dict]:
    """Date by date the pictures of a point."""
    found = []
    for when, pictures in zip(views.days[i], views.images[i], strict=True):
        if not pictures.any():
            continue
        one = {"date": date_of(when).isoformat(), "day": day(date_of(when))}
        for kind, picture in zip(views.kinds, pictures, strict=True):
            one[kind] = _picture(picture)
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
        "cleared": _("You cannot tell what point {id} is: it has no label"),
        "all": _("No point is left. Download the CSV."),
        "image": _("{kind}, {day}"),
        "axis": _("NDVI of the pixel"),
        "chart": _("NDVI of the pixel from {first} to {last}: {low} to {high}"),
        "own": _("your own place"),
        "added": _("Place {id} added. Give it a class, or remove it."),
        "removed": _("Place {id} removed"),
        "map": _("Map of the ground with {n} points, {day}"),
        "plain": _("Map with {n} points"),
        "noimages": _("There is no image of this point."),
        "noseries": _("There is no series of this point."),
        "true": _("True colour"),
        "false": _("False colour"),
    }
