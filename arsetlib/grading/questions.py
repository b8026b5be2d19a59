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

import copy
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arsetlib.grading import answers
from arsetlib.grading.expect import SHOWN, Wrong, array, choice, close, equal, mapping, number, shown, table

__all__ = [
    "Asked", "Question", "Result", "Wrong", "array", "assess", "choice", "close", "equal", "mapping", "number",
    "raised", "shown", "slow", "table",
]  # fmt: skip
KINDS = ("computed", "coded", "reasoned")
SECONDS = 5.0  # that one call of a learner's function may take


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
