"""Make the book's cover from the course's own data: a scene of the simulated delta, and its labels on the same ground.

    python book/cover.py data/delta

writes ``cover_scene.webp``, ``cover_labels.webp`` and ``cover.json`` (captions, texts for who cannot see, legend) into
``book/en/images``. Window and date are chosen by rule: the most varied piece of land, on its clearest summer day.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import languages
import numpy as np
from PIL import Image

from arsetlib import cdl, figures, maps, sentinel2, translation
from arsetlib.catalogue import find_scenes
from arsetlib.labels import find_labels
from arsetlib.study import Study
from arsetlib.translation import day_text

HERE = Path(__file__).resolve().parent
OUT = HERE / "en" / "images"
WIDTH, HEIGHT = 4_200, 2_600  # m of ground
LOOK = 240  # pixels a side while choosing
LIGHT = (0.005, 0.21)  # reflectance shown as black and as white
SIZE = 960  # pixels wide
SUMMER = ((6, 15), (9, 5))
WEIGHT = 95_000  # bytes a picture, at most


def main(folder):
    folder = Path(folder)
    facts = OUT / "cover.json"
    made_of = [folder / "study.toml", *HERE.glob("locale/*/LC_MESSAGES/*.mo")]
    if facts.exists() and facts.stat().st_mtime >= max(file.stat().st_mtime for file in made_of):
        return
    study = Study.load(folder / "study.toml")
    year = max(study.years)
    labels = find_labels(study, year)
    ground, scenes = choose(study, year, labels)
    codes = maps.read(labels.path, ground, SIZE, "nearest")[0]
    OUT.mkdir(parents=True, exist_ok=True)
    size = (SIZE, round(SIZE * codes.shape[0] / codes.shape[1]))
    save(true_colour(scenes, ground).resize(size, Image.Resampling.BICUBIC), OUT / "cover_scene.webp")
    save(in_colours(codes).resize(size, Image.Resampling.NEAREST), OUT / "cover_labels.webp")
    said = {language: words(study, scenes, ground, codes, year, language) for language in translation.languages()}
    facts.write_text(json.dumps(said, indent=1, ensure_ascii=False), "utf-8")


def choose(study, year, labels):
    """A piece of ground and the scenes of one summer day: varied in its labels, and seen without cloud."""
    region = replace(
        study.areas[0],
        bounds=(
            *np.min([a.bounds[:2] for a in study.areas], axis=0).tolist(),
            *np.max([a.bounds[2:] for a in study.areas], axis=0).tolist(),
        ),
    )
    days = summer_days(study, year, region)
    clear = [
        np.isin(mosaic([maps.read(s.hrefs["scl"], region, LOOK)[0] for s in scenes]), (2, 4, 5, 6)) for scenes in days
    ]
    codes = maps.read(labels.path, region, LOOK)[0]
    best = None
    for piece in pieces(region):
        window = slices(piece, region, codes.shape)
        views = [float(c[slices(piece, region, c.shape)].mean()) for c in clear]
        seen = max(views)
        score = entropy(codes[window]) - 20 * (1 - seen)
        if best is None or score > best[0]:
            best = (score, piece, days[views.index(seen)])
    return best[1:]


def summer_days(study, year, region):
    start, end = (date(year, *day) for day in SUMMER)
    days = {}
    for scene in find_scenes(study, years=(year,), progress=False):
        if start <= day_of(scene) <= end and scene.footprint.intersects(region.outline()):
            days.setdefault(scene.day, []).append(scene)
    return list(days.values())


def pieces(region):
    west, south, east, north = region.bounds
    wide, tall = min(WIDTH, east - west), min(HEIGHT, north - south)
    for x in np.linspace(west, east - wide, 6):
        for y in np.linspace(south, north - tall, 6):
            yield replace(region, bounds=(float(x), float(y), float(x + wide), float(y + tall)))


def slices(piece, region, shape):
    """Rows and columns of a piece in an array that covers the region."""
    west, south, east, north = region.bounds
    down, along = shape[0] / (north - south), shape[1] / (east - west)
    w, s, e, n = piece.bounds
    return (
        slice(round((north - n) * down), round((north - s) * down)),
        slice(round((w - west) * along), round((e - west) * along)),
    )


def entropy(codes):
    share = np.bincount(codes.ravel()) / codes.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def mosaic(layers):
    """Of layers on one grid, the first value that is not 0."""
    whole = layers[0].copy()
    for layer in layers[1:]:
        np.copyto(whole, layer, where=whole == 0)
    return whole


def day_of(scene):
    return date(1970, 1, 1) + timedelta(days=scene.day)


def true_colour(scenes, ground):
    def band(name, scene):
        dn = maps.read(scene.hrefs[name], ground, SIZE, "bilinear")[0]
        return sentinel2.reflectance_dn(dn.astype(np.uint16), scene.offset)

    bands = [mosaic([band(name, scene) for scene in scenes]) for name in figures.TRUE_COLOUR]
    picture = np.dstack(bands) / 10_000
    low, high = LIGHT
    return Image.fromarray((np.clip((picture - low) / (high - low), 0, 1) ** 0.7 * 255).astype(np.uint8))


def in_colours(codes):
    table = np.zeros((256, 3), np.uint8)
    for code, entry in cdl.CODES.items():
        table[code] = [int(entry.colour[i : i + 2], 16) for i in (1, 3, 5)]
    return Image.fromarray(table[codes])


def save(picture, path):
    """As WebP, at the best quality that is light enough."""
    for quality in (86, 78, 68, 58, 46, 34):
        buffer = io.BytesIO()
        picture.save(buffer, "webp", quality=quality, method=6)
        if buffer.tell() <= WEIGHT:
            break
    path.write_bytes(buffer.getvalue())


def words(study, scenes, ground, codes, year, language):
    """Captions, texts for who cannot see, and the legend, in one language."""
    _, of_library = languages.words_in(language), translation.words_of(language)
    found, counts = np.unique(codes[codes > 0], return_counts=True)
    largest = found[np.argsort(-counts)][:8]
    km = " × ".join(f"{side / 1000:.1f}" for side in np.subtract(ground.bounds[2:], ground.bounds[:2]))
    values = {
        "day": day_text(day_of(scenes[0]), _("d MMMM y"), language),
        "km": km,
        "what": _("simulated") if study.simulated else _("real"),
        "year": year,
        "names": ", ".join(of_library(cdl.entry(int(c)).name) for c in largest[:4]),
    }
    scene = _("A {what} satellite scene in true colour, {day}: a patchwork of fields, {km} km.")
    labels = _(
        "The same ground with the {what} labels of {year}, each field in the colour of its crop: mostly {names}."
    )
    caption = _(
        "{km} km of the {what} delta. Left, the scene of {day}; right, the labels of {year} in the colours of the "
        "Cropland Data Layer."
    )
    return {
        "scene": {"file": "cover_scene.webp", "alt": scene.format(**values)},
        "labels": {"file": "cover_labels.webp", "alt": labels.format(**values)},
        "caption": caption.format(**values),
        "legend": [{"name": of_library(cdl.entry(int(c)).name), "colour": cdl.entry(int(c)).colour} for c in largest],
    }


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["data/delta"]))
