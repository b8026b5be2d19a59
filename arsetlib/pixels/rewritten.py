"""Columns of tables that another program wrote again: pandas, polars, DuckDB and Spark choose other types.

A type is accepted if each of its values has one meaning in ours: a longer integer, a dictionary of strings, a large
byte string or a view of one, a whole floating-point number. Casts are safe: a value that does not fit is an error.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.types as pt

_VIEWS = [getattr(pa, name)() for name in ("string_view", "binary_view") if hasattr(pa, name)]


def reason_against(have: pa.DataType | None, want: pa.Field) -> str | None:
    """Why a column of a type cannot be read as ``want``, or None where it can; ``have`` is None for no column."""
    if have is None:
        return f"expected a column `{want.name}` of type {want.type}, received none"
    if have == want.type or _fits(have.value_type if pt.is_dictionary(have) else have, want):
        return None
    if pt.is_float32(have):
        return f"`{want.name}` is float, too coarse for coordinates; expected {want.type}"
    return f"expected a column `{want.name}` of type {want.type}, received {have}"


def _fits(have: pa.DataType, want: pa.Field) -> bool:
    if have == want.type:
        return True
    if pt.is_null(have):
        return want.nullable
    if pt.is_string(want.type):
        return pt.is_large_string(have) or (have in _VIEWS and have != pa.binary_view())
    if pt.is_binary(want.type):
        return (
            pt.is_large_binary(have) or pt.is_fixed_size_binary(have) or (have in _VIEWS and have != pa.string_view())
        )
    if pt.is_integer(want.type):
        return pt.is_integer(have) or pt.is_floating(have) or pt.is_decimal(have)
    return pt.is_integer(have) or pt.is_decimal(have)


def cast(column: pa.Array | pa.ChunkedArray, want: pa.Field) -> pa.Array | pa.ChunkedArray:
    """The column in our type.

    Raises:
        pa.ArrowInvalid: A value does not fit.
    """
    return column if column.type == want.type else column.cast(want.type)


def in_folder_names(file: Path, names: Iterable[str]) -> dict[str, str]:
    """Columns in the names of a file's folders, as in ``year=2021/area=north/part-0.parquet``."""
    values: dict[str, str] = {}
    for folder in file.parents:
        name, equals, value = folder.name.partition("=")
        if not equals or name not in names:
            break
        values[name] = unquote(value)
    return values
