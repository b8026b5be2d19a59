"""The metadata of a pixel table: what its byte strings mean and where they come from.

They are key-value metadata of each Parquet file: keys that start with ``arset.``, values in JSON.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from pyproj import CRS
from pyproj.exceptions import CRSError

from arsetlib import extras, sentinel2
from arsetlib.pixels.listing import file_schema, files
from arsetlib.pixels.schema import DTYPES, PREFIX, SERIES, VERSION, PixelError


@dataclass(frozen=True)
class Meta:
    """What a table's byte strings mean and where they come from.

    Attributes:
        bands: Band names in the order of the ``bands`` column.
        crs: CRS of ``x`` and ``y``, such as ``EPSG:5070``.
        resolution: Side of a label pixel, m.
        study: Key of the study.
        simulated: True where no satellite saw these values.
        scale: Reflectance per unit of ``bands``.
        version: Version of the schema.
        extra: More facts, JSON values. ``block_m`` (side of a spatial block) lets ``check`` verify ``block``; ``days``
            is there where a season continues after New Year: first and last day of a row's images, counted from 1
            January (= 1) of its year.

    >>> meta = Meta(("red", "nir"), "EPSG:32636", 10.0, "points", simulated=False)
    >>> meta.to_kv()[b"arset.bands"]
    b'["red", "nir"]'
    """

    bands: tuple[str, ...]
    crs: str
    resolution: float
    study: str
    simulated: bool
    scale: float = sentinel2.SCALE
    version: int = VERSION
    extra: dict = field(default_factory=dict)

    def to_kv(self) -> dict[bytes, bytes]:
        """Parquet key-value metadata: each value as JSON, each key starting with ``arset.``."""
        values = {
            "version": self.version,
            "bands": list(self.bands),
            "dtypes": DTYPES,
            "scale": self.scale,
            "crs": self.crs,
            "resolution": self.resolution,
            "study": self.study,
            "simulated": self.simulated,
            "extra": self.extra,
        }
        return {(PREFIX + key).encode(): json.dumps(value).encode() for key, value in values.items()}

    @classmethod
    def of(cls, source: pa.Schema | pa.Table | str | Path) -> Meta:
        """Metadata of a table.

        Args:
            source: A schema, a table, or the path of a table (its first file is read).

        Raises:
            PixelError: The metadata is absent, of a newer version, or describes other byte strings.

        Lab: part1_build_dataset.
        """
        if isinstance(source, pa.Table):
            return cls.of_schema(source.schema, "The table")
        if isinstance(source, pa.Schema):
            return cls.of_schema(source, "The schema")
        file = files(source)[0]
        return cls.of_schema(file_schema(file), str(file))

    @classmethod
    def of_schema(cls, schema: pa.Schema, where: str) -> Meta:
        """Metadata of a schema; ``where`` names its file in errors."""
        values = _read_values(schema.metadata or {}, where)
        if "version" not in values:
            hint = _hint(schema, bool(values))
            raise PixelError(f"{where} is not a pixel table: expected {PREFIX}* metadata, received none. {hint}")
        version = values["version"]
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise PixelError(f"{where} states the schema version {version!r}, expected a whole number. {AGAIN}")
        if version > VERSION:
            raise PixelError(
                f"{where} has schema version {version}, this library reads up to {VERSION}. "
                f"Update it: {extras.update()}"
            )
        if values.pop("dtypes", None) != DTYPES:
            raise PixelError(f"{where} states other dtypes than {DTYPES}. {AGAIN}")
        for key, (fits, expected) in _KINDS.items():
            if key not in values:
                raise PixelError(f"{where} lacks metadata: expected {PREFIX}{key}. {AGAIN}")
            if not fits(values[key]):
                raise PixelError(
                    f"{where}: expected {PREFIX}{key} as {expected}, received {values[key]!r:.80}. {AGAIN}"
                )
        unknown = sorted(set(values) - {"version", *_KINDS})
        if unknown:
            raise PixelError(
                f"{where} states {PREFIX}{unknown[0]}, which this library does not know. Update it: {extras.update()}"
            )
        return cls(**{**values, "bands": tuple(values["bands"])})


AGAIN = "Copy the file again from an undamaged copy, or write it again with pixels.write and pixels.Meta."


def states_any(schema: pa.Schema) -> bool:
    """Whether a schema has a key of ours."""
    return any(key.startswith(PREFIX.encode()) for key in schema.metadata or {})


def _read_values(metadata: dict[bytes, bytes], where: str) -> dict:
    """Our keys, without their prefix, and their values, read from JSON."""
    values = {}
    for key, value in metadata.items():
        name = key.decode(errors="replace")
        if not name.startswith(PREFIX):
            continue
        try:
            values[name[len(PREFIX) :]] = json.loads(value)
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deep" if isinstance(error, RecursionError) else error
            raise PixelError(
                f"{where}: expected {name} as JSON, received {value[:40]!r} ({reason}). {AGAIN}"
            ) from error
    return values


def _hint(schema: pa.Schema, has_keys: bool) -> str:
    if {"CDL", "img_dates"} <= set(schema.names):
        return "It is in the ARSET layout: open it with pixels.read_arset."
    if set(SERIES) <= set(schema.names) and not has_keys:
        return (
            "Another program seems to have written it again without them. If you have the original, read it as "
            "pixels.read(path, meta=pixels.Meta.of(original)), and pixels.write the result."
        )
    return "Make one with `arset ingest`, or write yours with pixels.write."


def _positive(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value) and value > 0


@lru_cache
def _is_crs(value: str) -> bool:
    try:
        CRS(value)
    except CRSError:
        return False
    return True


_KINDS = {
    "bands": (
        lambda v: isinstance(v, list) and v and all(isinstance(b, str) and b for b in v) and len(set(v)) == len(v),
        "a list of different names",
    ),
    "scale": (_positive, "a number above 0"),
    "crs": (lambda v: isinstance(v, str) and _is_crs(v), "a CRS such as EPSG:5070"),
    "resolution": (_positive, "a number of metres above 0"),
    "study": (lambda v: isinstance(v, str), "text"),
    "simulated": (lambda v: isinstance(v, bool), "true or false"),
    "extra": (
        lambda v: isinstance(v, dict) and ("block_m" not in v or _positive(v["block_m"])),
        "a table, with block_m in metres above 0 if at all",
    ),
}
