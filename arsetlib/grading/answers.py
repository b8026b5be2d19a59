"""Plain values: what an answer may be, and how it is sent from the process of a learner's code to the grader's.

    >>> encode((1, float("inf")))
    {'!': 'tuple', 'v': [1, {'!': 'float', 'v': 'inf'}]}
    >>> decode(encode((1, float("inf"))))
    (1, inf)

Plain values are numbers, text, bytes, dates, lists, tuples, sets and dicts of them, NumPy arrays, pandas Series and
DataFrames. Encoded values contain no classes and no functions, so nothing that is decoded can run. NumPy scalars become
Python's, Arrow tables become DataFrames, and pandas' own dtypes (categories, nullable) become plain lists.
"""

from __future__ import annotations

import base64
import datetime
import math
import re
from typing import Any

import numpy as np

from arsetlib.errors import ArsetError
from arsetlib.translation import _

__all__ = ["AnswerError", "decode", "encode", "plain", "same"]

MAX_BYTES = 16 << 20  # of all numbers and text in one value
MAX_DEPTH = 12
MAX_COLUMNS = 10_000  # of a table
KINDS = "biufmMSU"
DTYPE = re.compile(r"[<>|=][biufmMSU]\d{1,7}(\[\d{0,9}[A-Za-z]{1,2}\])?", re.ASCII)


class AnswerError(ArsetError, ValueError):
    """The value is not plain or too large, or its encoding is not valid."""


def encode(value: Any) -> Any:
    """A value in a form that JSON can hold.

    Raises:
        AnswerError: It, or something in it, is not plain, or it is larger than `MAX_BYTES`.
    """
    return _Encoder().any(value, 0)


def decode(coded: Any) -> Any:
    """The value that was encoded. ``coded`` may come from anybody: every size and type is checked.

    Raises:
        AnswerError: ``coded`` is not something that `encode` returns.
    """
    try:
        return _decode(coded, 0)
    except AnswerError:
        raise
    except Exception as problem:  # pandas alone raises a dozen types
        raise AnswerError(f"Expected an encoded value, received one that does not decode: {problem}") from None


def plain(value: Any) -> Any:
    """A copy of a value, as the grader receives it.

    Raises:
        AnswerError: See `encode`.
    """
    return decode(encode(value))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in type, shape and content. NaN equals NaN."""
    return encode(one) == encode(other)


class _Encoder:
    def __init__(self):
        self.bytes_left = MAX_BYTES

    def take(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise AnswerError(_("Expected a value of at most {n} MB, received a larger one.").format(n=MAX_BYTES >> 20))

    def any(self, value, depth: int):
        if depth > MAX_DEPTH:
            raise AnswerError(
                _("Expected a value nested at most {depth} deep, received a deeper one.").format(depth=MAX_DEPTH)
            )
        self.take(8)
        if isinstance(value, np.generic):
            if value.dtype.kind not in KINDS:
                raise AnswerError(_("Expected plain values, received a NumPy {dtype}.").format(dtype=value.dtype))
            if value.dtype.kind in "mM":
                return {"!": "scalar", **self.array(np.asarray(value))}
            value = value.item()
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            value = int(value)
            if value.bit_length() > 4096:
                raise AnswerError(_("Expected a number, received one of over a thousand digits."))
            return value if abs(value) < 1 << 53 else {"!": "int", "v": hex(value)}
        if isinstance(value, float):
            value = float(value)
            return {"!": "float", "v": value.hex()} if not math.isfinite(value) else value
        if isinstance(value, str):
            self.take(len(value))
            return str(value)
        if isinstance(value, bytes | bytearray):
            self.take(len(value))
            return {"!": "bytes", "v": _text(bytes(value))}
        if isinstance(value, list):
            return [self.any(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return {"!": "tuple", "v": [self.any(item, depth + 1) for item in value]}
        if isinstance(value, set | frozenset):
            items = [self.any(item, depth + 1) for item in value]
            return {"!": "set", "v": sorted(items, key=repr)}
        if isinstance(value, dict):
            return {"!": "dict", "v": [[self.any(k, depth + 1), self.any(v, depth + 1)] for k, v in value.items()]}
        if isinstance(value, np.ma.MaskedArray):
            raise AnswerError(_("Expected a plain array, received a masked one. Use its `.filled(…)`."))
        if isinstance(value, np.ndarray):
            return {"!": "array", **self.array(value)}
        return self.other(value, depth)

    def other(self, value, depth: int):
        home = type(value).__module__.split(".")[0]
        if home == "pandas":
            return self.pandas(value, depth)
        if home == "pyarrow" and hasattr(value, "to_pandas"):
            return self.any(value.to_pandas(), depth)
        if home == "tensorflow" and hasattr(value, "numpy"):
            return self.any(value.numpy(), depth)
        if isinstance(value, datetime.datetime):
            return {"!": "time", "v": value.isoformat()}
        if isinstance(value, datetime.date):
            return {"!": "date", "v": value.isoformat()}
        raise AnswerError(
            _(
                "Expected a plain value (a number, text, list, dict, NumPy array or pandas table), received {what}."
            ).format(
                what=_("nothing yet: three dots")
                if value is ...
                else _("a value of type {kind}").format(kind=type(value).__name__)
            )
        )

    def array(self, value: np.ndarray) -> dict:
        value = np.asarray(value)
        if value.dtype.kind == "O":
            raise AnswerError(
                _(
                    "Expected an array of numbers or text, received one of dtype object: its rows differ in length "
                    "or in type. Turn it into a list, or correct the rows."
                )
            )
        if value.dtype.kind not in KINDS:
            raise AnswerError(
                _("Expected an array of numbers or text, received one of dtype {dtype}.").format(dtype=value.dtype)
            )
        self.take(value.nbytes)
        return {"dtype": value.dtype.str, "shape": list(value.shape), "v": _text(np.ascontiguousarray(value).tobytes())}

    def pandas(self, value, depth: int):
        import pandas as pd

        if value is pd.NA or value is pd.NaT:
            return None
        if isinstance(value, pd.Timestamp):
            return {"!": "time", "v": value.isoformat()}
        if isinstance(value, pd.DataFrame):
            if value.shape[1] > MAX_COLUMNS:
                raise AnswerError(
                    _("Expected a table of at most {most} columns, received {count}.").format(
                        most=MAX_COLUMNS, count=value.shape[1]
                    )
                )
            columns = [[self.any(name, depth + 1), self.column(value.iloc[:, at])] for at, name in enumerate(value)]
            return {"!": "frame", "columns": columns, "index": self.index(value.index), "rows": len(value)}
        if isinstance(value, pd.Series):
            name = self.any(value.name, depth + 1)
            return {"!": "series", "name": name, "v": self.column(value), "index": self.index(value.index)}
        if isinstance(value, pd.Index):
            return self.column(value)
        if hasattr(value, "dtype") and hasattr(value, "__array__"):
            return self.column(pd.Series(value))
        raise AnswerError(
            _("Expected a pandas Series or DataFrame, received a value of type {kind}.").format(
                kind=type(value).__name__
            )
        )

    def column(self, values):
        if isinstance(values.dtype, np.dtype) and values.dtype.kind in KINDS:
            return {"!": "array", **self.array(values.to_numpy())}
        return [self.any(item, 2) for item in values.tolist()]

    def index(self, index) -> dict | None:
        import pandas as pd

        if isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None:
            return None
        levels = [index.get_level_values(level) for level in range(index.nlevels)]
        return {"names": [self.any(name, 2) for name in index.names], "levels": [self.column(v) for v in levels]}


def _decode(coded, depth: int):
    if depth > MAX_DEPTH + 2:
        raise AnswerError(
            _("Expected a value nested at most {depth} deep, received a deeper one.").format(depth=MAX_DEPTH)
        )
    if coded is None or isinstance(coded, bool | int | float | str):
        return coded
    if isinstance(coded, list):
        return [_decode(item, depth + 1) for item in coded]
    if not isinstance(coded, dict):
        raise AnswerError(f"Expected an encoded value, received a {type(coded).__name__}.")
    kind, content = coded["!"], coded.get("v")
    if kind == "int":
        if len(content) > 1100:
            raise AnswerError(_("Expected a number, received one of over a thousand digits."))
        return int(content, 16)
    if kind == "float":
        return float.fromhex(content)
    if kind == "bytes":
        return _bytes(content)
    if kind == "tuple":
        return tuple(_decode(item, depth + 1) for item in content)
    if kind == "set":
        return {_decode(item, depth + 1) for item in content}
    if kind == "dict":
        return {_decode(key, depth + 1): _decode(item, depth + 1) for key, item in content}
    if kind == "array":
        return _array(coded)
    if kind == "scalar":
        return _array(coded)[()]
    if kind == "date":
        return datetime.date.fromisoformat(content)
    if kind == "time":
        return datetime.datetime.fromisoformat(content)
    if kind == "series":
        import pandas as pd

        return pd.Series(_column(content), index=_index(coded["index"]), name=_decode(coded["name"], depth + 1))
    if kind == "frame":
        return _frame(coded, depth)
    raise AnswerError(f"Expected an encoded value, received one of kind {kind!r}.")


def _frame(coded: dict, depth: int):
    import pandas as pd

    index = _index(coded["index"])
    rows = len(index) if index is not None else int(coded["rows"])
    if len(coded["columns"]) > MAX_COLUMNS:
        raise AnswerError(
            _("Expected a table of at most {most} columns, received {count}.").format(
                most=MAX_COLUMNS, count=len(coded["columns"])
            )
        )
    names = [_decode(name, depth + 1) for name, _ in coded["columns"]]
    columns = [_column(values) for _, values in coded["columns"]]
    if any(len(column) != rows for column in columns) or not 0 <= rows <= MAX_BYTES:
        raise AnswerError(_("Expected a table, received columns that differ in length."))
    frame = pd.DataFrame(dict(enumerate(columns)), index=index if index is not None else range(rows))
    frame.columns = pd.Index(names, tupleize_cols=False)
    return frame


def _column(coded):
    values = _decode(coded, 1)
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values
    if not isinstance(values, list):
        raise AnswerError("Expected a column of a table, received neither an array nor a list.")
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _index(coded):
    import pandas as pd

    if coded is None:
        return None
    names = [_decode(name, 1) for name in coded["names"]]
    levels = [_column(level) for level in coded["levels"]]
    if len(levels) == 1:
        return pd.Index(levels[0], name=names[0], tupleize_cols=False)
    return pd.MultiIndex.from_arrays(levels, names=names)


def _array(coded: dict) -> np.ndarray:
    if not DTYPE.fullmatch(str(coded["dtype"])):  # NumPy would read a list of millions of fields
        raise AnswerError(f"Expected an array of numbers or text, received dtype {str(coded['dtype'])[:60]}.")
    dtype = np.dtype(coded["dtype"])
    shape = tuple(int(side) for side in coded["shape"])
    if dtype.kind not in KINDS or any(side < 0 for side in shape) or len(shape) > 8:
        raise AnswerError(f"Expected an array of numbers or text, received dtype {dtype}, shape {shape}.")
    data = _bytes(coded["v"])
    if len(data) != dtype.itemsize * math.prod(shape):
        raise AnswerError(f"Expected an array of dtype {dtype}, shape {shape}, received {len(data)} bytes.")
    if not data:
        if math.prod(shape):  # text of no letters, for which NumPy would allocate one letter each
            raise AnswerError(f"Expected an array of shape {shape}, received no bytes.")
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    if not isinstance(text, str) or len(text) > 2 * MAX_BYTES:
        raise AnswerError(_("Expected a value of at most {n} MB, received a larger one.").format(n=MAX_BYTES >> 20))
    return base64.b64decode(text, validate=True)
