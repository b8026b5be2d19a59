"""The Cropland Data Layer from three services: NASS's national files, Planetary Computer, CropScape."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import rasterio
import shapely
from pyproj import CRS
from shapely.geometry import mapping

from arsetlib import folders, web
from arsetlib.labels import rasters
from arsetlib.study import CDL_10_M, Area, Study
from arsetlib.web import CatalogueError, public, redact

NASS = "https://www.nass.usda.gov/Research_and_Science/Cropland/Release/datasets"
PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
CROPSCAPE = "https://nassgeodata.gmu.edu/axis2/services/CDLService"

# Of NASS's <year>_30m_cdls.zip, as torchgeo records them. A sum in <zip>.md5 beside the file comes before these.
# None is known of 10 m files, of 2025, and of the second release of 2020 (see FIRST_2020).
NASS_MD5 = {
    2008: "0610f2f17ab60a9fbb3baeb7543993a4",
    2009: "663c8a5fdd92ebfc0d6bee008586d19a",
    2010: "98d354c5a62c9e3e40ccadce265c721c",
    2011: "517bad1a99beec45d90abb651fb1f0e3",
    2012: "286504ff0512e9fe1a1975c635a1bec2",
    2013: "7be66c650416dc7c4a945dd7fd93c5b7",
    2014: "50bdf9da84ebd0457ddd9e0bf9bbcc1f",
    2015: "2e92038ab62ba75e1687f60eecbdd055",
    2016: "fddc5dff0bccc617d70a12864c993e51",
    2017: "d173f942a70f94622f9b8290e7548684",
    2018: "4ad0d7802a9bb751685eb239b0fa8609",
    2019: "a5168a2fc93acbeaa93e24eee3d8c696",
    2021: "27606eab08fe975aa138baad3e5dfcd8",
    2022: "754cf50670cdfee511937554785de3e6",
    2023: "8c7685d6278d50c554f934b16a6076b7",
    2024: "841cd0cb8d4a9129cb1e4cfa0e40c286",
}
# NASS released 2020 again on 1 February 2022: the first release lay one pixel (30 m) too far west and north in 17
# western states. This sum was recorded when 2020 was the newest year, so it is of the first release.
FIRST_2020 = "483ee48c503aa81b684225179b402d42"
OTHER_KIND = "Set [labels] kind = 'cdl' (NASS's file) or 'planetary-computer' instead: this service often fails."


def from_nass(study: Study, year: int, path: Path, confidence: Path, progress: bool) -> None:
    """The areas' windows of NASS's national file, which has some 2 GB a year at 30 m, some 10 GB at 10 m."""
    side = f"{study.labels.side:g}m"
    if study.labels.side < rasters.CDL_SIDE and year < CDL_10_M:
        raise CatalogueError(
            f"The Cropland Data Layer of {year} has pixels of 30 m; 10 m begins with {CDL_10_M}. "
            "Set [labels] resolution = 30."
        )
    if study.min_confidence > 0:
        names = [f"{year}_{side}_{word}.zip" for word in ("confidence_layer", "Confidence_Layer")]
        _cut_zip(study, names, None, confidence, progress)
    names = [f"{year}_{side}_cdls.zip", *([f"{year}_10m_cdls.zip"] if year >= CDL_10_M and side != "10m" else [])]
    _cut_zip(study, names, year, path, progress)


def _cut_zip(study: Study, names: list[str], year: int | None, path: Path, progress: bool) -> None:
    """Cut the first of these zips that NASS has; one that is already in the cache is used and kept.

    The checksum of a zip that could be used is noted beside it, for later downloads.
    """
    with folders.lock(path.parent, CatalogueError, name=f"{names[0]}.lock"):
        file, fetched = _zip(path.parent, names, year, progress)
        known = _expected(file, year)
        md5 = web.md5_of(file)
        raw = path.parent / f"{file.stem}.tif.part"
        try:
            _extract(file, raw)
            with rasterio.open(raw) as src:
                rasters.cut(study, [src], path, file.name, _edition(file, year, md5, known))
        finally:
            raw.unlink(missing_ok=True)
        folders.put(file.with_name(f"{file.name}.md5"), f"{md5}\n")
        if fetched:
            file.unlink()


def _edition(file: Path, year: int | None, md5: str, known: str | None) -> dict:
    """Which file of NASS it is, as JSON values and in words."""
    size = file.stat().st_size
    if year == 2020 and md5 == FIRST_2020:
        release = (
            "its checksum is that of the first release of 2020, which lies one pixel (30 m) too far west and north in "
            f"17 western states; for those, delete it and fetch the release of February 2022 from {NASS}"
        )
    elif known == md5:
        release = "its checksum is the known one"
    else:
        release = "no checksum of this file is known, so only its size and content were checked"
    text = f"NASS's {file.name}, {size / 1e6:,.1f} MB, md5 {md5}: {release}"
    return {"file": file.name, "bytes": size, "md5": md5, "release": release, "text": text}


def _zip(folder: Path, names: list[str], year: int | None, progress: bool) -> tuple[Path, bool]:
    """A zip with the right checksum, where one is known, and whether it was just fetched."""
    file = next((folder / n for n in names if (folder / n).exists()), None)
    fetched = file is None
    for name in names if fetched else ():
        try:
            file = web.download(f"{NASS}/{name}", folder / name, _expected(folder / name, year), progress)
            break
        except CatalogueError as error:
            if error.status != 404 or name == names[-1]:
                raise
    expected = _expected(file, year)
    if not fetched and expected and (received := web.md5_of(file)) != expected:
        raise CatalogueError(f"{file} should have md5 {expected}; it has {received}. Delete it and run this again.")
    return file, fetched


def _expected(file: Path, year: int | None) -> str | None:
    note = file.with_name(f"{file.name}.md5")
    if note.exists():
        return note.read_text(encoding="utf-8").split()[0]
    return NASS_MD5.get(year) if file.name == f"{year}_30m_cdls.zip" else None


def _extract(file: Path, out: Path) -> None:
    """Take the one GeoTIFF out of a zip, under a name of ours: no name in the zip decides where bytes go."""
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                name = PurePosixPath(info.filename.replace("\\", "/"))
                link = stat.S_ISLNK(info.external_attr >> 16)
                if link or name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", info.filename):
                    raise CatalogueError(
                        f"{file} holds {'a link' if link else 'a name that leads out of the folder'}: "
                        f"{info.filename!r}. NASS publishes no such file; delete it and fetch it from {NASS}."
                    )
            tiffs = [i for i in archive.infolist() if i.filename.lower().endswith(".tif")]
            if len(tiffs) != 1:
                names = [i.filename for i in tiffs] or archive.namelist()[:5]
                raise CatalogueError(f"{file} should hold one GeoTIFF; it holds {names}. Delete it and run this again.")
            free = shutil.disk_usage(out.parent).free
            if tiffs[0].file_size > free:
                raise CatalogueError(
                    f"{file} unpacks to {tiffs[0].file_size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free in "
                    f"{out.parent}. Free some space and run this again."
                )
            with archive.open(tiffs[0]) as source, out.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CatalogueError(f"{file} is a damaged zip ({error}). Delete it and run this again.") from None
    except OSError as error:
        raise CatalogueError(
            f"Cannot unpack {file} into {out.parent}: {error.strerror}. Free some space and run this again."
        ) from None


def from_planetary_computer(study: Study, year: int, path: Path, confidence: Path) -> None:
    """Tiles of the collection ``usda-cdl``, with confidence; up to 2021."""
    outline = shapely.union_all([a.outline() for a in study.areas])
    when = f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59Z"
    items = {i["id"]: i for i in web.search(PLANETARY_COMPUTER, "usda-cdl", mapping(outline), when)}
    tiles = [i["assets"] for i in items.values() if "cropland" in i["assets"] and _is_of(i, year)]
    if not tiles:
        raise CatalogueError(
            f"Planetary Computer has no usda-cdl of {year} for these areas (it ends with 2021). "
            "Set [labels] kind = 'cdl' for NASS's own file."
        )
    for asset, target in (("confidence", confidence), ("cropland", path)):
        hrefs = sorted({t[asset]["href"] for t in tiles if asset in t})
        if hrefs:
            with ExitStack() as stack:
                sources = [stack.enter_context(rasterio.open(web.sign(h))) for h in hrefs]
                name = f"Planetary Computer's usda-cdl of {year}"
                rasters.cut(study, sources, target, name, {"file": name, "text": name})


def _is_of(item: dict, year: int) -> bool:
    p = item["properties"]
    return str(p.get("start_datetime") or p.get("datetime") or "").startswith(str(year))


def from_cropscape(study: Study, year: int, path: Path, progress: bool) -> None:
    """The CropScape service, which is often down: one GeoTIFF per area, each answer is checked before it is used."""
    files = []
    try:
        with ExitStack() as stack:
            for area in study.areas:
                files.append(path.with_name(f"{path.stem}_{area.key}.tif.part"))
                web.download(_cropscape_link(area, year), files[-1], progress=progress)
            sources = [stack.enter_context(rasterio.open(f)) for f in files]
            for src in sources:
                if src.crs is None or not rasters.is_albers(CRS(src.crs)):
                    raise CatalogueError(f"CropScape's file is in {src.crs}, expected EPSG:5070. {OTHER_KIND}")
            name = f"CropScape's answer for {year}"
            rasters.cut(study, sources, path, name, {"file": name, "text": name})
    except rasterio.errors.RasterioIOError:
        raise CatalogueError(f"What CropScape sent for {year} is not a GeoTIFF. {OTHER_KIND}") from None
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _cropscape_link(area: Area, year: int) -> str:
    w, s, e, n = area.outline("EPSG:5070").bounds
    bounds = ",".join(str(int(v)) for v in (w - 45, s - 45, e + 45, n + 45))  # a pixel more on each side
    answer = web.ask(f"{CROPSCAPE}/GetCDLFile?year={year}&bbox={bounds}").text
    url = re.search(r"<returnURL>\s*(.*?)\s*</returnURL>", answer, re.DOTALL)
    if not url:
        text = redact(" ".join(re.sub(r"<[^>]*>", " ", answer).split()))[:160]
        raise CatalogueError(
            f"CropScape gave no file for area {area.key!r} in {year}; it answered: {text!r}. {OTHER_KIND}"
        )
    link = urljoin(CROPSCAPE, url[1])
    if urlsplit(link).hostname != urlsplit(CROPSCAPE).hostname or urlsplit(link).scheme not in ("http", "https"):
        raise CatalogueError(f"CropScape sends to another place, {public(link)}, which is not followed. {OTHER_KIND}")
    return link
