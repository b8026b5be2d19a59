"""STAC items of the simulated products, in the form of Earth Search v1 (``sentinel-2-l2a``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pyproj import Transformer

from arsetlib import checksums, folders, seeds
from arsetlib.sentinel2 import BANDS
from arsetlib.simulate import sky
from arsetlib.simulate.landscape import SEAM, UTM, Region

COLLECTION = "sentinel-2-l2a"
ABOVE = "collection", "parent", "root"  # links of an item to its collection
_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "eo/v1.1.0", "file/v2.1.0", "grid/v1.1.0", "mgrs/v1.0.0", "projection/v1.1.0", "raster/v1.1.0", "view/v1.0.0",
    )
]  # fmt: skip
_PERCENT = {  # property of an item: class of the scene classification
    "s2:dark_features_percentage": sky.DARK,
    "s2:cloud_shadow_percentage": sky.SHADOW,
    "s2:vegetation_percentage": sky.VEGETATION,
    "s2:not_vegetated_percentage": sky.BARE,
    "s2:water_percentage": sky.WATER,
    "s2:unclassified_percentage": sky.UNCLASSIFIED,
    "s2:medium_proba_clouds_percentage": sky.MEDIUM,
    "s2:high_proba_clouds_percentage": sky.HIGH,
    "s2:thin_cirrus_percentage": sky.CIRRUS,
    "s2:snow_ice_percentage": sky.SNOW,
    "s2:saturated_defective_pixel_percentage": sky.SATURATED,
}
_OLD_BASELINES = (  # last day, processing baseline
    ("2019-05-06", "02.11"), ("2019-07-08", "02.12"), ("2020-02-04", "02.13"), ("2021-03-30", "02.14"),
    ("2021-06-30", "03.00"), ("2022-01-25", "03.01"),
)  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """One of the two tiles: the part of an MGRS tile that lies in the region.

    Attributes:
        name: MGRS name, e.g. ``15SYT``.
        columns: Its columns in the region's 10 m grid.
    """

    name: str
    columns: slice

    def bounds(self, region: Region) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        west, south, _, north = region.bounds
        return west + 10 * self.columns.start, south, west + 10 * self.columns.stop, north


def tiles(region: Region) -> tuple[Tile, Tile]:
    """The western and the eastern tile; they overlap by a twelfth of the region's width."""
    seam = int((SEAM - region.west) // 10)
    overlap = max(6, round(region.shape[1] / 72) * 6)
    return Tile("15SXT", slice(0, seam + overlap)), Tile("15SYT", slice(seam, region.shape[1]))


@dataclass(frozen=True)
class Product:
    """One processing of one tile of one overpass.

    Attributes:
        overpass: The overpass.
        tile: The tile.
        sequence: Processing number, 0 first.
        baseline: Processing baseline.
        shifted: Whether 1000 is added to the stored values.
        corrected: Whether the catalogue has subtracted the 1000 again.
    """

    overpass: sky.Overpass
    tile: Tile
    sequence: int
    baseline: str
    shifted: bool
    corrected: bool

    @property
    def id(self) -> str:
        """Name of the product."""
        return f"S2{self.overpass.satellite}_{self.tile.name}_{self.overpass.when:%Y%m%d}_{self.sequence}_L2A_SIM"

    @property
    def folder(self) -> str:
        """Folder of its files, relative to the delta's."""
        return f"scenes/{self.tile.name}/{self.overpass.when:%Y}/{self.id}"


def products(seed: int, region: Region, overpass: sky.Overpass) -> list[Product]:
    """The products of an overpass: one for each tile in its swath, sometimes an older processing too."""
    seen = overpass.seen(region, 6)
    made = []
    for tile in tiles(region):
        if seen[:, tile.columns.start // 6 : tile.columns.stop // 6].mean() < 0.02:
            continue
        chance = seeds.generator(seed, "processing", overpass.name, tile.name).random(2)
        day = f"{overpass.when:%Y-%m-%d}"
        old = next((b for end, b in _OLD_BASELINES if day < end), None)
        if old is None:  # from 2022 on every product has the offset
            corrected = bool(chance[0] < 0.5)
            made.append(Product(overpass, tile, 0, "05.09" if corrected else "04.00", not corrected, corrected))
        elif chance[0] < 0.72:
            made.append(Product(overpass, tile, 0, old, False, False))
        else:
            replaced = chance[1] < 0.16
            if replaced:
                made.append(Product(overpass, tile, 0, old, False, False))
            corrected = bool(chance[0] > 0.88)
            made.append(Product(overpass, tile, int(replaced), "05.00", not corrected, corrected))
    return made


def item(product: Product, region: Region, scl: np.ndarray, folder: Path) -> dict:
    """The STAC item of a product.

    Args:
        product: The product.
        region: The region of the delta.
        scl: (h, w) uint8, its scene classification, from which the shares of the classes are counted.
        folder: Folder of its files, whose checksums the item states.
    """
    overpass, tile = product.overpass, product.tile
    west, south, east, north = tile.bounds(region)
    ring = footprint(product, region)
    lon, lat = zip(*ring, strict=True)
    seen = np.count_nonzero(scl)
    share = {k: round(100 * np.count_nonzero(scl == v) / seen, 6) for k, v in _PERCENT.items()}
    clouds = [k for k, v in _PERCENT.items() if v in (sky.MEDIUM, sky.HIGH, sky.CIRRUS)]
    azimuth, elevation = overpass.sun()
    name = f"S2{overpass.satellite}_MSIL2A_{overpass.when:%Y%m%dT%H%M%S}_N{product.baseline.replace('.', '')}"
    processed = _processing_time(product)
    properties = {
        "datetime": f"{overpass.when:%Y-%m-%dT%H:%M:%S}Z",
        "created": processed,
        "updated": processed,
        "platform": f"sentinel-2{overpass.satellite.lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "description": "SIMULATED scene, not measured",
        "eo:cloud_cover": min(round(sum(share[k] for k in clouds), 6), 100.0),
        "proj:epsg": 32615,
        "proj:code": UTM,
        "mgrs:utm_zone": 15,
        "mgrs:latitude_band": "S",
        "mgrs:grid_square": tile.name[3:],
        "grid:code": f"MGRS-{tile.name}",
        "view:sun_azimuth": round(azimuth, 6),
        "view:sun_elevation": round(elevation, 6),
        "s2:nodata_pixel_percentage": round(100 * (1 - seen / scl.size), 6),
        **share,
        "s2:degraded_msi_data_percentage": 0,
        "s2:mgrs_tile": tile.name,
        "s2:processing_baseline": product.baseline,
        "s2:product_type": "S2MSI2A",
        "s2:product_uri": f"{name}_R{overpass.orbit:03d}_T{tile.name}_SIMULATED.SAFE",
        "s2:sequence": str(product.sequence),
        "earthsearch:boa_offset_applied": product.corrected,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": _EXTENSIONS,
        "id": product.id,
        "collection": COLLECTION,
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "assets": {
            name: asset | checksums.stated(**folders.size_and_sha256(folder / f"{name}.tif"))
            for name, asset in _assets(product, (west, north), (east - west, north - south)).items()
        },
        "links": [
            {"rel": "self", "href": f"./{product.id}.json", "type": "application/geo+json"},
            *({"rel": rel, "href": "../collection.json", "type": "application/json"} for rel in ABOVE),
        ],
    }


def _processing_time(product):
    """On the day of the overpass, or in the reprocessing of the whole archive."""
    reprocessed = product.baseline.startswith("05")
    return "2023-04-18T23:10:00.000Z" if reprocessed else f"{product.overpass.when:%Y-%m-%d}T22:10:00.000Z"


def _assets(product, corner, size):
    # As in the archive: a product that is stored corrected still states its offset.
    reflectance = {"scale": 0.0001, "offset": -0.1 if product.shifted or product.corrected else 0}
    assets = {}
    for name, band in BANDS.items():
        step = int(band.resolution_m)
        wavelengths = {
            "center_wavelength": round(band.wavelength_nm / 1000, 4),
            "full_width_half_max": round(band.width_nm / 1000, 4),
        }
        values = {"nodata": 0, "data_type": "uint16", "bits_per_sample": 15, "spatial_resolution": step}
        assets[name] = _asset(product, name, step, corner, size) | {
            "eo:bands": [{"name": name, **wavelengths}], "raster:bands": [values | reflectance],
        }  # fmt: skip
    classes = {"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}
    return assets | {"scl": _asset(product, "scl", 20, corner, size) | {"raster:bands": [classes]}}


def _asset(product, name, step, corner, size):
    return {
        "href": f"../{product.folder}/{name}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "title": f"SIMULATED {name}, {step} m",
        "roles": ["data", "reflectance"],
        "gsd": step,
        "proj:shape": [round(size[1] / step), round(size[0] / step)],
        "proj:transform": [step, 0, corner[0], 0, -step, corner[1]],
    }


def footprint(product: Product, region: Region) -> list[list[float]]:
    """The outline of a product's data, as a closed ring of longitude, latitude."""
    west, south, east, north = product.tile.bounds(region)
    share, slant = product.overpass.swath(region)
    edge = [region.west + region.width * (share + slant * side) for side in (0.5, -0.5)]  # northern end, southern end
    height = north - south
    keep_right = product.overpass.orbit == 26

    def x_at(y):
        return edge[1] + (edge[0] - edge[1]) * (y - south) / height

    box = [(west, south), (east, south), (east, north), (west, north)]
    ring = []
    for (x0, y0), (x1, y1) in zip(box, box[1:] + box[:1], strict=True):
        d0, d1 = (x0 - x_at(y0), x1 - x_at(y1)) if keep_right else (x_at(y0) - x0, x_at(y1) - x1)
        if d0 >= 0:
            ring.append((x0, y0))
        if d0 * d1 < 0:
            t = d0 / (d0 - d1)
            ring.append((x0 + t * (x1 - x0), y0 + t * (y1 - y0)))
    points = [list(_to_degrees().transform(x, y)) for x, y in ring]
    points = [[round(lon, 7), round(lat, 7)] for lon, lat in points]
    return [*points, points[0]]


def collection(items: list[dict], years: Sequence[int]) -> dict:
    """The static STAC collection of all items."""
    west, south = (min(i["bbox"][k] for i in items) for k in (0, 1))
    east, north = (max(i["bbox"][k] for i in items) for k in (2, 3))
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": COLLECTION,
        "title": "SIMULATED Sentinel-2 Level-2A of a made-up delta",
        "description": "SIMULATED scenes of a made-up delta in the form of Sentinel-2 Level-2A as Earth Search "
        "serves it. Nothing here was measured: for learning and testing only.",
        "keywords": ["SIMULATED", "Sentinel-2", "course"],
        "license": "CC-BY-4.0",
        "extent": {
            "spatial": {"bbox": [[west, south, east, north]]},
            "temporal": {"interval": [[f"{min(years)}-01-01T00:00:00Z", f"{max(years)}-12-31T23:59:59Z"]]},
        },
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            {"rel": "self", "href": "./collection.json", "type": "application/json"},
            *({"rel": "item", "href": f"./items/{i['id']}.json", "type": "application/geo+json"} for i in items),
        ],
    }


@cache
def _to_degrees() -> Transformer:
    return Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)  # takes 5 ms
