"""Assertions about an answer, for checks: each raises `Wrong` with a message for the learner.

None, text, NaN, a wrong type, a wrong shape and a wrong size are explained here, so a check only needs the expected
value. Checks import them from `arsetlib.grading.questions`.

    >>> number("12", hint="Lab 1, section 10")
    Traceback (most recent call last):
    arsetlib.grading.assertions.Wrong: Expected a number, received '12'. Lab 1, section 10.
"""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib.translation import N_, _

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Wrong", "array", "choice", "close", "equal", "mapping", "number", "shown", "table"]

MAX_SHOWN = 160  # characters of a value that a message quotes


class Wrong(Exception):
    """The answer is not right. The message is for the learner: expected, received, hint.

    Attributes:
        error: Of a learner's function that raised one, "ValueError: …"; else empty.
    """

    def __init__(self, message: str = "", error: str = ""):
        super().__init__(message)
        self.error = error


def number(
    answer: Any, *, low: float = -math.inf, high: float = math.inf, whole: bool = False, hint: str = ""
) -> float:
    """The answer as one number.

    Raises:
        Wrong: It is not a number, NaN, infinite, outside ``low`` to ``high``, or not whole although ``whole`` is set.
    """
    if answer is None or answer is ...:
        raise _wrong(_("a number"), _("nothing yet"), hint)
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.reshape(-1)[0]
    if isinstance(answer, bool | np.bool_) or not isinstance(answer, numbers.Real):
        raise _wrong(_("a number"), shown(answer), hint)
    if not math.isfinite(answer):
        raise _wrong(
            _("a number"),
            _("{answer}: was something divided by zero, or is a value missing?").format(answer=answer),
            hint,
        )
    if whole and answer != round(answer):
        raise _wrong(_("a whole number"), shown(answer), hint)
    if not low <= answer <= high:
        raise _wrong(_("a number from {low:g} to {high:g}").format(low=low, high=high), shown(answer), hint)
    return round(answer) if whole else float(answer)


def close(
    value: float, expected: float, *, rel: float = 1e-6, tol: float = 0.0, unit: str = "", hint: str = ""
) -> None:
    """The number is close to the expected one. The message says whether to go up or down, not what was expected.

    Raises:
        Wrong: ``|value - expected| > max(tol, rel · |expected|)``.
    """
    value = number(value, hint=hint)
    if abs(value - expected) <= max(tol, rel * abs(expected)):
        return
    unit = f" {unit}" if unit else ""
    side = _("a smaller number") if value > expected else _("a larger number")
    raise _wrong(side, f"{value:.6g}{unit}", hint)


def equal(
    value: Any, expected: Any, *, of: str = N_("the answer"), rel: float = 0.0, tol: float = 0.0, hint: str = ""
) -> None:
    """Two values are equal: numbers and arrays within ``tol`` or ``rel``; a list equals a tuple; NaN equals NaN.

    Raises:
        Wrong: They are not equal; the message names ``of``, what was expected and what was received.
    """
    if not _equal(value, expected, rel, tol):
        raise Wrong(
            _end(
                _("Expected {of} to be {expected}, received {value}").format(
                    of=_(of), expected=shown(expected), value=shown(value)
                ),
                hint,
            )
        )


def array(
    answer: Any, *, shape: Sequence[int | None] | None = None, of: str = N_("the answer"), hint: str = ""
) -> np.ndarray:
    """The answer as an array of numbers; a list is accepted.

    Args:
        answer: The learner's value.
        shape: Expected lengths; None for any length.
        of: What it is, for the message.
        hint: What to read, for the message.

    Raises:
        Wrong: It is not an array of numbers, or has another shape.
    """
    if answer is None or answer is ...:
        raise Wrong(_end(_("Expected {of} to be an array, received nothing yet").format(of=_(of)), hint))
    if type(answer).__module__.startswith("pandas"):
        answer = answer.to_numpy()
    try:
        values = np.asarray(answer)
    except ValueError:
        raise Wrong(
            _end(_("Expected {of} to be an array, received rows that differ in length").format(of=_(of)), hint)
        ) from None
    if values.dtype.kind not in "biuf":
        raise Wrong(
            _end(
                _("Expected {of} to be an array of numbers, received {answer}").format(of=_(of), answer=shown(answer)),
                hint,
            )
        )
    if shape is not None:
        fits = values.ndim == len(shape) and all(e in (None, n) for e, n in zip(shape, values.shape, strict=True))
        if not fits:
            wanted = "(" + ", ".join(_("any") if e is None else str(e) for e in shape) + ")"
            raise Wrong(
                _end(
                    _("Expected {of} to have shape {wanted}, received {shape}").format(
                        of=_(of), wanted=wanted, shape=values.shape
                    ),
                    hint,
                )
            )
    return values


def table(answer: Any, columns: Sequence[str], *, rows: int | None = None, hint: str = "") -> pd.DataFrame:
    """The answer as a DataFrame with these columns, in this order. An index with a name becomes a column.

    Raises:
        Wrong: It is not a table, a column is missing, or it has another number of rows.
    """
    import pandas as pd

    if isinstance(answer, dict | list):
        with contextlib.suppress(ValueError, TypeError):
            answer = pd.DataFrame(answer)
    if isinstance(answer, pd.Series):
        answer = answer.to_frame()
    if not isinstance(answer, pd.DataFrame):
        raise _wrong(_("a table with columns {names}").format(names=", ".join(columns)), shown(answer), hint)
    if any(name is not None and name not in answer.columns for name in answer.index.names):
        answer = answer.reset_index()
    missing = [name for name in columns if name not in answer.columns]
    if missing:
        present = ", ".join(map(str, answer.columns)) or _("none")
        raise _wrong(
            _("a column {name!r}").format(name=missing[0]), _("columns {present}").format(present=present), hint
        )
    if rows is not None and len(answer) != rows:
        raise _wrong(_("{rows} rows").format(rows=rows), f"{len(answer)}", hint)
    return answer[list(columns)].reset_index(drop=True)


def mapping(answer: Any, keys: Sequence, *, hint: str = "") -> dict:
    """The answer as a dict with exactly these keys; a pandas Series is accepted.

    Raises:
        Wrong: It is not a dict, or a key is missing or unknown.
    """
    if type(answer).__module__.startswith("pandas") and hasattr(answer, "to_dict"):
        answer = answer.to_dict()
    if not isinstance(answer, dict):
        raise _wrong(_("a dict with keys {names}").format(names=", ".join(map(str, keys))), shown(answer), hint)
    for key in keys:
        if key not in answer:
            raise _wrong(
                _("a key {key!r}").format(key=key),
                _("keys {names}").format(names=", ".join(map(repr, answer)) or _("none")),
                hint,
            )
    for key in answer:
        if key not in keys:
            raise _wrong(
                _("keys {names}").format(names=", ".join(map(repr, keys))), _("also {key!r}").format(key=key), hint
            )
    return answer


def choice(answer: Any, options: str = "abcd", reasons: str = "", *, hint: str = "") -> tuple[str, str]:
    """The answer as a choice and its reason: ``("b", 2)``, or ``"b"`` alone where no ``reasons`` are asked.

    Args:
        answer: The learner's value; capital letters, and numbers as text, are accepted.
        options: One letter each.
        reasons: One character each, "1234".
        hint: What to read, for the message.

    Returns:
        The letter and the reason, both text; the reason is empty where none is asked.

    Raises:
        Wrong: It is not such a pair.
    """
    form = _("a letter of {names}").format(names=", ".join(options))
    if reasons:
        form = _('a pair such as ("{letter}", {digit}): {form}, and the number of its reason').format(
            letter=options[0], digit=reasons[0], form=form
        )
    parts = (answer,) if isinstance(answer, str) and not reasons else answer
    if isinstance(parts, str) and len(parts.split(",")) == 2:
        parts = tuple(parts.split(","))
    if not isinstance(parts, tuple | list) or len(parts) != (2 if reasons else 1):
        raise _wrong(form, _("nothing yet") if answer is None or answer is ... else shown(answer), hint)
    letter, reason, *_rest = *(str(part).strip().lower() for part in parts), ""
    if letter not in [*options] or (reasons and reason not in [*reasons]):
        raise _wrong(form, shown(answer), hint)
    return letter, reason


def shown(value: Any) -> str:
    """A value as text, short enough for a message."""
    if value is None:
        return "None"
    if value is ...:
        return _("... (nothing yet)")
    if isinstance(value, np.ndarray):
        brief = np.array2string(value, threshold=12, edgeitems=3, precision=5, separator=", ").replace("\n", "")
        text = (
            _("{brief} (shape {shape})").format(brief=brief, shape=value.shape)
            if value.ndim != 1 or value.size > 12
            else brief
        )
    elif type(value).__module__.startswith("pandas") and hasattr(value, "columns"):
        text = _("a table of {count} rows with columns {names}").format(
            count=len(value), names=", ".join(map(str, value.columns))
        )
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = (
            repr(value)
            if isinstance(value, str | int | list | tuple | dict | set | bool)
            else _("a value of type {kind}").format(kind=type(value).__name__)
        )
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _wrong(expected: str, received: str, hint: str) -> Wrong:
    return Wrong(_end(_("Expected {expected}, received {received}").format(expected=expected, received=received), hint))


def _end(sentence: str, hint: str) -> str:
    return f"{sentence}. {hint.rstrip('.')}." if hint else f"{sentence}."


def _equal(value, expected, rel, tol) -> bool:
    if isinstance(expected, np.ndarray):
        try:
            value = np.asarray(value)
        except ValueError:
            return False
        if value.shape != expected.shape:
            return False
        if expected.dtype.kind in "biuf" and value.dtype.kind in "biuf":
            one, other = value.astype(float), expected.astype(float)
            both = np.isnan(one) & np.isnan(other)
            return bool(np.all(both | (one == other) | (np.abs(one - other) <= np.maximum(tol, rel * np.abs(other)))))
        return bool(np.all(value == expected))
    if isinstance(expected, list | tuple):
        if isinstance(value, np.ndarray):
            value = value.tolist()
        alike = isinstance(value, list | tuple) and len(value) == len(expected)
        return alike and all(_equal(v, e, rel, tol) for v, e in zip(value, expected, strict=True))
    if isinstance(expected, dict):
        alike = isinstance(value, dict) and value.keys() == expected.keys()
        return alike and all(_equal(value[key], expected[key], rel, tol) for key in expected)
    if isinstance(expected, bool | np.bool_):
        return isinstance(value, bool | np.bool_) and bool(value) == bool(expected)
    if isinstance(expected, numbers.Real):
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            return False
        if math.isnan(expected):
            return math.isnan(value)
        return value == expected or abs(value - expected) <= max(tol, rel * abs(expected))
    return type(value) is type(expected) and value == expected
