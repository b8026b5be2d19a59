"""Find the label raster of a study for one year, and make it where needed."""

from __future__ import annotations

import glob
import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import rasterio
from pyproj import CRS

from arsetlib import checksums, copies, folders, ground, variables, web
from arsetlib.labels import rasters, services
from arsetlib.labels.drawing import Drawing, summary_text
from arsetlib.labels.fields import read_fields
from arsetlib.study import Study
from arsetlib.translation import _
from arsetlib.web import CatalogueError, public, redact

FRESH = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"}  # GDAL remembers failed answers; a rerun must ask again
TOGETHER = (  # endings of the files that make up one data set
    (".shp", ".dbf", ".prj", ".shx", ".cpg"),
    (".tab", ".dat", ".map", ".id"),
    (".mif", ".mid"),
    (".csv", ".csvt", ".prj"),
)


@dataclass(frozen=True)
class Labels:
    """The label raster of one year.

    Attributes:
        year: Of the labels.
        path: One-band uint8 or uint16 GeoTIFF of label codes, on a disk or in an object store (``copies.fetched``).
        confidence: One-band uint8 GeoTIFF, 0-100, on the same grid; None where there is none.
        identity: Hex digest of both files, so that a table knows which labels it was made from.
        simulated: Whether the labels are.
        about: What a made file was made from: ``text`` for people, and the same as JSON values, such as the fields
            read, drawn and lost. Empty for a raster that is used where it lies.
    """

    year: int
    path: Path
    confidence: Path | None
    identity: str
    simulated: bool
    about: dict = field(default_factory=dict, compare=False)


def find_labels(study: Study, year: int, cache: str | Path = "data/labels", progress: bool = True) -> Labels:
    """The label raster of a study for one year, fetched or made where needed.

    A ``raster`` or ``simulated`` file on disk is used where it lies, unless its value for no data is another than 0, it
    has a mask, or its CRS is not in metres on the ground (degrees, feet, Web Mercator far from the equator). Then a
    raster is made of it, in the last case in the UTM zone of the areas by nearest neighbour. Fields are drawn in that
    zone, too, if the study names no CRS. Whatever is made is a GeoTIFF in ``cache`` with the areas' windows, and 0
    elsewhere; a second call uses it. From what it was made is printed each time.

    Args:
        study: States which labels, and which areas they must cover.
        year: Of the labels.
        cache: Folder for what is fetched or made; also in an object store (``s3://…``), so that tasks on other
            machines read the same file.
        progress: Show bars, and print from what the labels were made.

    Raises:
        CatalogueError: Not there, not a label raster, does not cover an area, no confidence where the study asks
            for it, service failed, or disk full.

    Lab: part1_build_dataset.
    """
    source, cache = study.labels.of(year), folders.place(cache)
    if key := study.labels.not_yearly(study.years):
        raise CatalogueError(
            f"[labels] {key} = {getattr(study.labels, key)!r} names one file for the years {list(study.years)}. "
            "Write {year} where the year is in the name, or same_every_year = true."
        )
    place = study.resolve(source.path) if source.path else ""
    try:
        sure = study.resolve(source.confidence) if source.confidence else None
        own = source.kind in ("raster", "simulated") and "://" not in f"{place} {sure}"
        if own:
            rasters.check_undamaged(Path(place), year)
        if own and not any(_must_be_made(Path(file), study) for file in (place, sure) if file):
            path = Path(place)
            confidence = Path(sure) if sure else None
        else:
            stem = f"{source.kind}_{year}_{_key(study, place)}"
            path, confidence = cache / f"{stem}.tif", cache / f"{stem}_confidence.tif"
            if not path.exists():
                _make(study, year, place, path, confidence, progress)
            confidence = confidence if confidence.exists() else None
        for file in filter(None, (path, confidence)):
            rasters.check_undamaged(file, year)
        with rasters.readable(path):
            rasters.check(path, study, year)
    except ground.GridError as error:
        raise CatalogueError(str(error)) from None
    if confidence:
        with rasters.readable(confidence):
            rasters.check_confidence(confidence, path, study.areas)
    elif study.min_confidence:
        raise CatalogueError(
            f"The study asks for a confidence of at least {study.min_confidence}, and the labels of {year} "
            f"({path}) have none. Give [labels] confidence a file on their grid, or set min_confidence = 0."
        )
    digests = "".join(checksums.sha256(file) for file in (path, confidence) if file)
    with rasterio.open(copies.fetched(path)) as src:
        about = json.loads(src.tags().get(rasters.TAG, "{}"))
    if progress and about:
        print(_("Labels of {year}: {text}.").format(year=year, text=about["text"]))
    identity = hashlib.sha256(digests.encode()).hexdigest()[:16]
    return Labels(year, path, confidence, identity, study.simulated or source.kind == "simulated", about)


def _must_be_made(path: Path, study: Study) -> bool:
    """Whether a raster of labels or confidence cannot be used where it lies; what is no raster is refused later."""
    try:
        with rasters.readable(path), rasterio.open(path) as src:
            return (
                src.nodata not in (None, 0)
                or rasters.is_masked(src)
                or (src.crs is not None and bool(ground.fault(CRS(src.crs), study.areas)) and src.count == 1)
            )
    except CatalogueError:
        return False


def _make(study: Study, year: int, place: str, path: Path, confidence: Path, progress: bool) -> None:
    """Fetch or draw the labels; confidence first, so that a label file in the cache means that both are there."""
    # What is fetched grows in pieces and is unpacked there: that needs a disk.
    here = path.parent if folders.on_disk(path) else variables.cache_folder() / "labels"
    lock = folders.lock(here, CatalogueError, name=f"{path.stem}.lock")
    made = here / path.name, here / confidence.name
    settings = {**web.GDAL_HTTP, **FRESH, **web.s3_options(place)}
    try:
        with folders.full_disk(here, CatalogueError), lock, web.gdal(**settings):
            _make_on_disk(study, year, place, *made, progress)
            for file in filter(Path.exists, made):
                folders.put(checksums.of(file), checksums.listed([file]))
            if here != path.parent:
                _put_away(made, path, confidence)
    except rasterio.errors.RasterioError as error:
        raise CatalogueError(
            f"Reading the labels of {year} failed: {redact(error)}. Run it again; if it fails again, take another kind "
            "of [labels]: cdl, planetary-computer or a raster of your own."
        ) from None


def _put_away(made: tuple[Path, Path], path, confidence) -> None:
    """Put what was made into an object store or a volume: the labels last, so that they mean that all is there."""
    for file, target in zip(made[::-1], (confidence, path), strict=True):
        if file.exists():
            folders.put(checksums.of(target), checksums.of(file).read_bytes())
            folders.put(target, file)
            checksums.of(file).unlink()
            file.unlink(missing_ok=True)


def _make_on_disk(study: Study, year: int, place: str, path: Path, confidence: Path, progress: bool) -> None:
    match study.labels.kind:
        case "raster" | "simulated":
            _from_files(study, year, place, path, confidence)
        case "vector":
            _from_fields(study, year, place, path)
        case "cdl":
            services.from_nass(study, year, path, confidence, progress)
        case "planetary-computer":
            services.from_planetary_computer(study, year, path, confidence)
        case "cropscape":
            services.from_cropscape(study, year, path, progress)


def _from_files(study: Study, year: int, place: str, path: Path, confidence: Path) -> None:
    """Cut rasters of labels and confidence, on disk or on the internet, to the areas."""
    source = study.labels.of(year)
    targets = [(study.resolve(source.confidence), confidence)] if source.confidence else []
    for file, target in (*targets, (place, path)):
        with ExitStack() as stack:
            src, text = rasters.on_metres(study, stack.enter_context(_opened(file)), file, stack)
            rasters.cut(study, [src], target, file, {"file": public(file), "text": text})


def _opened(file: str) -> rasterio.DatasetReader:
    """A raster on disk, on the internet, or in an object store; GDAL itself reads parts of files in s3."""
    if "://" in file and not file.startswith(("http://", "https://", "s3://")):
        return rasterio.open(copies.fetched(file))
    return rasterio.open(web.sign(file))


def _from_fields(study: Study, year: int, place: str, path: Path) -> None:
    """Draw fields (or points) on a grid: a pixel takes the code of the field in which its centre lies.

    Pixels of no field, and of fields of different codes, are 0, no data.
    """
    source = study.labels.of(year)
    crs, why = ground.grid_crs(source.crs, study.areas)
    files = _files_of(place)
    fields = read_fields(
        str(files[0]) if _in_store(place) else place, source.layer, source.code_column, crs, study.areas
    )
    drawing = Drawing(fields, source.side)

    def about() -> dict:
        counts = drawing.close()
        grid = f"pixels of {source.side:g} m in {ground.crs_name(crs)} ({why})"
        return counts | {"text": f"{summary_text(counts)}; {grid}"}

    rasters.write(study.areas, path, crs, source.side, (0.0, 0.0), drawing.dtype, drawing.window, about)


def _key(study: Study, place: str) -> str:
    """Changes with everything that changes the raster: areas, source, and the file of fields."""
    parts = [[a.bounds, a.crs] for a in study.areas], sorted(study.labels.facts().items()), study.min_confidence > 0
    text = repr(parts) + "".join(checksums.sha256(p) for p in _files_of(place))
    if study.labels.kind == "vector":
        text += "rules 2"  # how fields are drawn, since 2026
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _in_store(place: str) -> bool:
    """Whether the fields lie in an object store; GDAL reads those on the internet itself."""
    return "://" in place and not place.startswith(("http://", "https://"))


def _files_of(place: str) -> list[Path]:
    """The files that make up a data set on disk: a shapefile has its codes in a .dbf, a geodatabase is a folder."""
    if _in_store(place):
        shape = folders.place(place)
        endings = _together(shape.suffix)
        beside = [o for o in shape.parent.iterdir() if o.stem == shape.stem and o.suffix.lower() in endings]
        return [copies.fetched(one) for one in (shape, *(one for one in beside if one.name != shape.name))]
    path = Path(place)
    if not place or "://" in place or not path.exists():
        return []
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".lock")
    beside = [path.with_name(f"{path.name}-wal")]  # what QGIS has not yet written into a GeoPackage
    if endings := _together(path.suffix):
        files = path.parent.glob(f"{glob.escape(path.stem)}.*")
        beside = [p for p in files if p.suffix.lower() in endings and p != path]
    return [path, *(p for p in sorted(beside) if p.is_file())]


def _together(ending: str) -> tuple[str, ...]:
    """The endings of the files of a data set, of which one is given; empty where a data set is one file."""
    return next((endings for endings in TOGETHER if ending.lower() in endings), ())
