"""The map by parcel, and what to label next. `arset fields` is case study B, images of farm fields."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, Cache, Place, find, load, place, place_argument, place_option, show
from arsetlib.translation import _

app = typer.Typer()


@app.command("parcels", epilog="Example: arset parcels maps/dense_2021_120.json farm.gpkg --out maps/parcels.parquet")
def parcels_(
    prediction: Annotated[Place, place_argument(help="The .json file of a map of `arset predict`.")],
    outlines: Annotated[
        str | None, typer.Argument(help="Vector file of outlines. Without one, --segment makes them.")
    ] = None,
    out: Annotated[Place, place_option(help="File to write: .parquet (GeoParquet) or .gpkg.")] = Path(
        "parcels.parquet"
    ),
    layer: Annotated[str | None, typer.Option(help="Layer of the file, where several have geometry.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column that names each parcel; else its row.")] = None,
    rule: Annotated[str, typer.Option(help="Class of a parcel: majority or probability (its mean).")] = "majority",
    segment: Annotated[str | None, typer.Option(help="Make outlines from the scenes of this study.")] = None,
    method: Annotated[str, typer.Option(help="With --segment: watershed, felzenszwalb or slic.")] = "watershed",
    labels: Annotated[Place | None, place_option(help="Label raster to score the map by parcel against.")] = None,
    raster: Annotated[Place | None, place_option(help="Write the classes as a GeoTIFF too.")] = None,
    cache: Cache = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Sum up a map by parcel: class, mean probability and margin of each; outlines from a file or from images."""
    from arsetlib import maps, parcels

    if (outlines is None) == (segment is None):
        raise parcels.ParcelError(
            "Expected either a file of outlines, or --segment with the study whose scenes show the parcels."
        )
    if out.suffix not in (".parquet", ".gpkg"):
        raise parcels.ParcelError(f"Expected --out with the ending .parquet or .gpkg, received {out.name!r}.")
    if segment is not None and (layer, id_column) != (None, None):
        raise parcels.ParcelError("Expected --layer and --id-column with a file of outlines only, not with --segment.")
    if raster is not None and raster.suffix != ".tif":
        raise parcels.ParcelError(f"Expected --raster with the ending .tif, received {raster.name!r}.")
    made = maps.open_prediction(prediction)
    if outlines is not None:
        shapes = parcels.read(outlines, layer=layer, id_column=id_column)
    else:
        composite = _composite(segment, made, out.with_name(f"{out.stem}_composite.tif"), cache, not as_json)
        shapes = parcels.segment(composite, method=method, progress=not as_json)
    found = parcels.by_parcel(made, shapes, rule=rule, progress=not as_json)
    report = found.summary() | {"saved": str(found.save(out))}
    lines = [(_("SIMULATED") + ": " if found.simulated else "") + str(found)]
    if raster is not None:
        report["raster"] = str(found.raster(raster))
    if labels is not None:
        gain = found.gain(labels)
        report["gain"] = {"accuracy": gain.accuracy, "macro_f1": gain.macro_f1, "outside": gain.outside}
        report["gain"] |= {"pixels": gain.pixels.accuracy, "parcels": gain.parcels.accuracy}
        lines.append(str(gain))
    lines.append(_("Saved in {out}.").format(out=out))
    show(report, as_json, "\n".join(lines))


@app.command("next", epilog="Example: arset next maps/dense_2021_120.json --count 30 --apart 300 --out next.gpkg")
def next_(
    prediction: Annotated[Place, place_argument(help="The .json file of a map of `arset predict`.")],
    count: Annotated[int, typer.Option(help="So many places.")] = 50,
    method: Annotated[str, typer.Option(help="margin, entropy, cluster or random.")] = "margin",
    apart: Annotated[float, typer.Option(help="Smallest distance between two places, m.")] = 0.0,
    out: Annotated[
        Place, place_option(help="File to write: .csv, .gpkg or .geojson; or a new folder for `arset label`.")
    ] = Path("next.csv"),
    known: Annotated[
        list[str] | None, typer.Option(help="Labels of an earlier round, not to be chosen again; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Choose places of a map to label next, those of which the model is least sure; a file to fill in."""
    import pandas as pd

    from arsetlib import active, maps

    if out.suffix not in ("", ".csv", ".gpkg", ".geojson"):
        raise active.ActiveError(
            f"Expected --out with the ending .csv, .gpkg or .geojson, or a folder, received {out.name!r}."
        )
    made = maps.open_prediction(prediction)
    before = [active.known_places(place(name)) for name in known or []]
    how = {"apart": apart, "seed": seed, "known": pd.concat(before) if before else None}
    found = active.next_places(made, count, method=method, progress=not as_json, **how)
    if out.suffix:
        found.save(out)
    else:
        found.sample().save(out)
    report = {"saved": str(out), "places": len(found), "method": method, "simulated": made.simulated}
    report["left_out"] = sum(map(len, before))
    words = _(
        "{n} places in {out}. Fill in label_code, then train again. These places are not a random sample: never "
        "estimate accuracy or areas from them."
    )
    if not out.suffix:
        words = _(
            "{n} places in {out}. Label them on the page of `arset label`, then train again. These places are not a "
            "random sample: never estimate accuracy or areas from them."
        )
    lines = [(_("SIMULATED") + ": " if made.simulated else "") + words.format(n=len(found), out=out)]
    if before:
        lines.append(_("{n} places of earlier rounds were left out.").format(n=f"{report['left_out']:,}"))
    show(report, as_json, "\n".join(lines))


def _composite(name: str, made, out: Place, cache: Place, progress: bool) -> Place:
    """Composites of the map's own area and window, from the scenes of a study."""
    from arsetlib import parcels

    study = load(name, [made.year])
    study = study.replace(season=replace(study.season, window_days=made.info["window"]["days"]))
    scenes = find(study, cache, progress=progress)[0]
    options = {"start": made.start, "area": made.area, "year": made.year, "progress": progress}
    return parcels.composite(scenes, out, study=study, **options)
