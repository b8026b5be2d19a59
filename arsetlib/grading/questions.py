"""Questions, and what a check says of an answer.

A check is a function ``(answer, hw) -> None`` that raises `Wrong` at the first problem, in words for the learner: what
was expected, what came, where in the lab it stands. The helpers here say it for None, text, NaN, a wrong type, a wrong
shape and a wrong size, so that a check need only hold the expected value:

    def corn(answer, hw):
        close(number(answer), corn_ha(hw.table), rel=1e-3, unit="ha", hint="Lab 1, section 10: a pixel is 0.09 ha")

    def window(answer, hw):                                    # answer: the learner's function, see Asked
        for days in ([3, 4, 9], []):
            expected = plain_loop(days)
            equal(array(answer(days), shape=(9,)), expected, of=f"bucket({days})")
"""

from __future__ import annotations

import contextlib
import copy
import math
import numbers
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arsetlib.grading import answers

KINDS = ("computed", "coded", "reasoned")
SECONDS = 5.0  # that one call of a learner's function may take
SHOWN = 160  # characters of a value that a message quotes


class Wrong(Exception):
    """An answer is not right. The message is for the learner: expected, received, hint."""


@dataclass(frozen=True)
class Question:
    """One question of an assignment.

    Attributes:
        key: "q1", "q2", …, in the order of the notebook.
        answer: Name of the variable or function in the notebook that is the answer.
        kind: "computed" (a number or table of the learner's own run), "coded" (a function) or "reasoned" (a choice
            with its reason).
        points: For an answer that passes the public and the hidden check; there are no parts of points.
        objectives: Keys of the objectives it asks for, see `arsetlib.grading.objectives`.
        section: Heading of the lab's section that it stands on, as the lab writes it: "10. Ask the table".
        public: The check that learners have.
        seconds: That one call of a coded answer may take.
    """

    key: str
    answer: str
    kind: str
    points: int
    objectives: tuple[str, ...]
    section: str
    public: Callable[[Any, Any], None] = field(repr=False)
    seconds: float = SECONDS

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Question {self.key}: expected a kind of {KINDS}, received {self.kind!r}.")
        if not self.answer.isidentifier() or self.points < 1 or not self.objectives:
            raise ValueError(f"Question {self.key}: expected a name for the answer, points and an objective.")


@dataclass(frozen=True)
class Result:
    """What a check found: right or not, and in words what is wrong."""

    question: str
    ok: bool
    message: str = ""

    def __str__(self) -> str:
        return f"{self.question}: right." if self.ok else f"{self.question}: not yet.\n  {self.message}"

    def _ipython_display_(self) -> None:
        """Nothing: `check` has printed it."""


class Asked:
    """A function of the learner's, as a check calls it.

    A call hands over copies, gives back plain values only, and raises `Wrong` where the function raised an error,
    changed what it was given, gave back something that is no plain value, or took over ``seconds``.

    Args:
        name: Of the function.
        call: ``(args, kwargs) -> (value, args, kwargs)``, the arguments as they are after the call; may raise `Wrong`.
        seconds: That a call may take.
    """

    def __init__(self, name: str, call: Callable, seconds: float = SECONDS):
        self.name, self.seconds, self._call = name, seconds, call

    @classmethod
    def of(cls, function: Any, name: str, seconds: float = SECONDS) -> Asked:
        """A function of this very process, as in the learner's kernel.

        Raises:
            Wrong: It is no function.
        """
        if isinstance(function, Asked):
            return function
        if not callable(function) or isinstance(function, type):
            raise Wrong(f"Expected a function called {name}, received {shown(function)}. Define it with `def {name}`.")
        return cls(name, _here(function, name, seconds), seconds)

    def __call__(self, *args, **kwargs):
        before = answers.encode([list(args), kwargs])
        given = answers.decode(before)
        value, *after = self._call(*given)
        try:
            if answers.encode([list(after[0]), after[1]]) != before:
                raise answers.AnswerError
        except answers.AnswerError:
            raise Wrong(
                f"{self.name} changed what it was given. Expected it to leave its arguments as they are: "
                "copy first, for instance with `values.copy()`."
            ) from None
        return value

    def __repr__(self) -> str:
        return f"<{self.name}>"


def assess(question: Question, answer: Any, hw: Any, *checks: Callable) -> Result:
    """Hold an answer against its checks; never raises for a wrong one.

    Args:
        question: Its ``public`` check is used where no others are given.
        answer: A plain value, or for a coded question a function or an `Asked`.
        hw: The learner's `Homework`.
        checks: Used in this order.
    """
    try:
        if question.kind == "coded":
            answer = Asked.of(answer, question.answer, question.seconds)
        else:
            answer = _plain(answer, question.answer)
        for check in checks or (question.public,):
            check(answer if isinstance(answer, Asked) else copy.deepcopy(answer), hw)
    except Wrong as wrong:
        return Result(question.key, False, str(wrong))
    except Exception as problem:  # an answer of a form that the check has not thought of
        return Result(question.key, False, f"The check cannot read this answer ({type(problem).__name__}: {problem}).")
    return Result(question.key, True)


# --- what a check says ------------------------------------------------------------------------------------------------


def number(
    answer: Any, *, low: float = -math.inf, high: float = math.inf, whole: bool = False, hint: str = ""
) -> float:
    """The answer as one number.

    Raises:
        Wrong: It is none, or NaN, or infinite, or not from ``low`` to ``high``, or no whole number where one is asked.
    """
    if answer is None or answer is ...:
        raise _wrong("a number", "nothing yet", hint)
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.reshape(-1)[0]
    if isinstance(answer, bool | np.bool_) or not isinstance(answer, numbers.Real):
        raise _wrong("a number", shown(answer), hint)
    if not math.isfinite(answer):
        raise _wrong("a number", f"{answer}: something was divided by zero, or is missing", hint)
    if whole and answer != round(answer):
        raise _wrong("a whole number", shown(answer), hint)
    if not low <= answer <= high:
        raise _wrong(f"a number from {low:g} to {high:g}", shown(answer), hint)
    return int(answer) if whole else float(answer)


def close(
    value: float, expected: float, *, rel: float = 1e-6, tol: float = 0.0, unit: str = "", hint: str = ""
) -> None:
    """Is a number near enough to the expected one? The message says on which side it lies, not what was expected.

    Raises:
        Wrong: ``|value - expected| > max(tol, rel · |expected|)``.
    """
    value = number(value, hint=hint)
    if abs(value - expected) <= max(tol, rel * abs(expected)):
        return
    unit = f" {unit}" if unit else ""
    side = "smaller" if value > expected else "larger"
    raise _wrong(f"a {side} number", f"{value:.6g}{unit}", hint)


def equal(
    value: Any, expected: Any, *, of: str = "the answer", rel: float = 0.0, tol: float = 0.0, hint: str = ""
) -> None:
    """Are two values equal? Numbers and arrays within ``tol`` or ``rel``; lists and tuples alike; NaN equals NaN.

    Raises:
        Wrong: They are not; the message names ``of``, what was expected and what came.
    """
    if not _equal(value, expected, rel, tol):
        raise Wrong(_end(f"Expected {of} to be {shown(expected)}, received {shown(value)}", hint))


def array(
    answer: Any, *, shape: Sequence[int | None] | None = None, of: str = "the answer", hint: str = ""
) -> np.ndarray:
    """The answer as an array of numbers; lists will do.

    Args:
        answer: What came.
        shape: Expected lengths; None where any will do.
        of: What it is, for the message.
        hint: Where to read.

    Raises:
        Wrong: It is none, or of another shape.
    """
    if answer is None or answer is ...:
        raise Wrong(_end(f"Expected {of} to be an array, received nothing yet", hint))
    if type(answer).__module__.startswith("pandas"):
        answer = answer.to_numpy()
    try:
        held = np.asarray(answer)
    except ValueError:
        raise Wrong(_end(f"Expected {of} to be an array, received rows that differ in length", hint)) from None
    if held.dtype.kind not in "biuf":
        raise Wrong(_end(f"Expected {of} to be an array of numbers, received {shown(answer)}", hint))
    if shape is not None:
        fits = held.ndim == len(shape) and all(e is None or e == n for e, n in zip(shape, held.shape, strict=True))
        if not fits:
            wanted = "(" + ", ".join("any" if e is None else str(e) for e in shape) + ")"
            raise Wrong(_end(f"Expected {of} to have shape {wanted}, received {held.shape}", hint))
    return held


def table(answer: Any, columns: Sequence[str], *, rows: int | None = None, hint: str = ""):
    """The answer as a DataFrame that has these columns, in this order, its index made a column where it has a name.

    Raises:
        Wrong: It is none, or lacks a column, or has another number of rows.
    """
    import pandas as pd

    if isinstance(answer, dict | list):
        with contextlib.suppress(ValueError, TypeError):
            answer = pd.DataFrame(answer)
    if isinstance(answer, pd.Series):
        answer = answer.to_frame()
    if not isinstance(answer, pd.DataFrame):
        raise _wrong(f"a table with columns {', '.join(columns)}", shown(answer), hint)
    if any(name is not None and name not in answer.columns for name in answer.index.names):
        answer = answer.reset_index()
    missing = [name for name in columns if name not in answer.columns]
    if missing:
        held = ", ".join(map(str, answer.columns)) or "none"
        raise _wrong(f"a column {missing[0]!r}", f"columns {held}", hint)
    if rows is not None and len(answer) != rows:
        raise _wrong(f"{rows} rows", f"{len(answer)}", hint)
    return answer[list(columns)].reset_index(drop=True)


def mapping(answer: Any, keys: Sequence, *, hint: str = "") -> dict:
    """The answer as a dict with exactly these keys; a Series will do.

    Raises:
        Wrong: It is none, or a key is missing or unknown.
    """
    if type(answer).__module__.startswith("pandas") and hasattr(answer, "to_dict"):
        answer = answer.to_dict()
    if not isinstance(answer, dict):
        raise _wrong(f"a dict with keys {', '.join(map(str, keys))}", shown(answer), hint)
    for key in keys:
        if key not in answer:
            raise _wrong(f"a key {key!r}", f"keys {', '.join(map(repr, answer)) or 'none'}", hint)
    for key in answer:
        if key not in keys:
            raise _wrong(f"keys {', '.join(map(repr, keys))}", f"also {key!r}", hint)
    return answer


def choice(answer: Any, options: str = "abcd", reasons: str = "", *, hint: str = "") -> tuple[str, str]:
    """The answer as a choice and its reason: ``("b", 2)``, or ``"b"`` alone where no ``reasons`` are asked.

    Args:
        answer: What came; capital letters and numbers as text will do.
        options: One letter each.
        reasons: One character each, "1234".
        hint: Where to read.

    Returns:
        The letter and the reason, both text; the reason is empty where none was asked.

    Raises:
        Wrong: It is no such pair.
    """
    form = f"a letter of {', '.join(options)}"
    if reasons:
        form = f'a pair such as ("{options[0]}", {reasons[0]}): {form}, and the number of its reason'
    parts = (answer,) if isinstance(answer, str) and not reasons else answer
    if isinstance(parts, str) and len(parts.split(",")) == 2:
        parts = tuple(parts.split(","))
    if not isinstance(parts, tuple | list) or len(parts) != (2 if reasons else 1):
        raise _wrong(form, "nothing yet" if answer is None or answer is ... else shown(answer), hint)
    found = [str(part).strip().lower() for part in parts]
    if len(found[0]) != 1 or found[0] not in options or (reasons and (len(found[1]) != 1 or found[1] not in reasons)):
        raise _wrong(form, shown(answer), hint)
    return found[0], found[1] if reasons else ""


def shown(value: Any) -> str:
    """A value in words short enough for a message."""
    if value is None:
        return "None"
    if value is ...:
        return "... (nothing yet)"
    if isinstance(value, np.ndarray):
        brief = np.array2string(value, threshold=12, edgeitems=3, precision=5, separator=", ").replace("\n", "")
        text = f"{brief} (shape {value.shape})" if value.ndim != 1 or value.size > 12 else brief
    elif type(value).__module__.startswith("pandas") and hasattr(value, "columns"):
        text = f"a table of {len(value)} rows with columns {', '.join(map(str, value.columns))}"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = (
            repr(value)
            if isinstance(value, str | int | list | tuple | dict | set | bool)
            else f"a {type(value).__name__}"
        )
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _wrong(expected: str, received: str, hint: str) -> Wrong:
    return Wrong(_end(f"Expected {expected}, received {received}", hint))


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


# --- a learner's function in this process -----------------------------------------------------------------------------


class _Slow(BaseException):
    """Ends a call that takes too long; no learner's `except Exception` catches it."""


def _plain(value: Any, name: str) -> Any:
    if value is ... or value is None:
        raise Wrong(f"Expected a value in {name}, received nothing yet. Put your answer where the three dots stand.")
    try:
        return answers.plain(value)
    except answers.AnswerError as problem:
        raise Wrong(f"{name}: {problem}") from None


def _here(function: Callable, name: str, seconds: float) -> Callable:
    def call(args: list, kwargs: dict):
        began = time.perf_counter()
        try:
            value = _within(seconds, lambda: function(*args, **kwargs))
        except _Slow:
            raise Wrong(slow(name, seconds)) from None
        except Exception as problem:
            raise Wrong(raised(name, f"{type(problem).__name__}: {problem}", [*args, *kwargs.values()])) from None
        if time.perf_counter() - began > seconds:
            raise Wrong(slow(name, seconds))
        if value is None:
            raise Wrong(f"{name} gave back nothing (None). Does it end in `return …`?")
        try:
            return answers.plain(value), args, kwargs
        except answers.AnswerError as problem:
            raise Wrong(f"What {name} gave back: {problem}") from None

    return call


def slow(name: str, seconds: float) -> str:
    """The message for a call that took too long."""
    return (
        f"{name} took more than {seconds:g} s. Is there an endless loop, or a loop over all rows that NumPy could do?"
    )


def raised(name: str, problem: str, given: Sequence = ()) -> str:
    """The message for a call that raised an error."""
    called = f"{name}({', '.join(shown(value) for value in given)})"
    return f"{called if len(called) <= 2 * SHOWN else name} raised {problem[:300]}."


def _within(seconds: float, work: Callable) -> Any:
    """Run ``work``, ended after ``seconds`` where this thread can be interrupted; else it runs as long as it takes."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return work()

    def end(number, frame):
        raise _Slow

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
