"""Questions, and the result of checking an answer.

A check is a function ``(answer, hw) -> None`` that raises `Wrong` at the first problem. The message is for the learner:
what was expected, what was received, which section of the lab to read. The assertions imported here write it for None,
text, NaN, a wrong type, shape or size, so a check only needs the expected value:

    def corn(answer, hw):
        close(number(answer), corn_ha(hw.table), rel=1e-3, unit="ha", hint="Lab 1, section 10: a pixel is 0.09 ha")

    def window(answer, hw):                          # answer: the learner's function, see LearnerFunction
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
from arsetlib.grading.assertions import MAX_SHOWN, Wrong, array, choice, close, equal, mapping, number, shown, table
from arsetlib.translation import _

__all__ = [
    "LearnerFunction", "Question", "Result", "Wrong", "array", "assess", "choice", "close", "equal", "mapping",
    "number", "shown", "table",
]  # fmt: skip
KINDS = ("computed", "coded", "reasoned")
MAX_MESSAGE = 900  # characters
SECONDS = 5.0  # that one call of a learner's function may take


@dataclass(frozen=True)
class Question:
    """One question of an assignment.

    Attributes:
        key: "q1", "q2", …, in the order of the notebook.
        answer: Name of the variable or function in the notebook that is the answer.
        kind: "computed" (a number or table of the learner's own run), "coded" (a function) or "reasoned" (a choice
            with its reason).
        points: For an answer that passes the public and the hidden check; otherwise 0.
        objectives: Keys of the objectives that it asks for, see `arsetlib.grading.objectives`.
        section: Heading of the section of the lab that teaches it, for instance "10. Ask the table".
        public: The check that learners have.
        seconds: Time that one call of a coded answer may take, s.
    """

    key: str
    answer: str
    kind: str
    points: int
    objectives: tuple[str, ...]
    section: str
    public: Callable[[Any, Any], None] = field(repr=False)
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Question {self.key}: expected a kind of {KINDS}, received {self.kind!r}.")
        if not self.answer.isidentifier() or self.points < 1 or not self.objectives:
            raise ValueError(f"Question {self.key}: expected a name for the answer, points and an objective.")


@dataclass(frozen=True)
class Result:
    """Whether an answer is right; where it is not, what is wrong.

    Attributes:
        question: Key of the question.
        ok: Whether the answer is right.
        message: What is wrong; empty where it is right.
        attempt: Number of different answers tried so far, where that is counted (multiple choice); else 0.
        points: Points of all questions that this session's checks found right so far.
        of: Points of the whole assignment; 0 where they are not counted.
    """

    question: str
    ok: bool
    message: str = ""
    attempt: int = 0
    points: int = 0
    of: int = 0

    def __str__(self) -> str:
        attempt = " (" + _("attempt {n}").format(n=self.attempt) + ")" if self.attempt > 1 else ""
        so_far = " " + _("{points} of {of} points so far.").format(points=self.points, of=self.of) if self.of else ""
        state = _("{question}: right") if self.ok else _("{question}: not yet")
        text = f"{state.format(question=self.question)}{attempt}.{so_far}"
        return text + f"\n  {self.message}" * (not self.ok)

    def _ipython_display_(self) -> None:
        """Show nothing: `check` has already printed it."""


class LearnerFunction:
    """A learner's function, as a check calls it.

    A call passes copies of the arguments and returns a plain value. It raises `Wrong` if the function raised an error,
    changed its arguments, returned something that is not a plain value, or took longer than ``seconds``.

    Args:
        name: Name of the function.
        call: ``(args, kwargs) -> (value, args, kwargs)``, with the arguments as they are after the call.
        seconds: Time that a call may take, s.
    """

    def __init__(self, name: str, call: Callable, seconds: float = SECONDS):
        self.name, self.seconds, self._call = name, seconds, call

    @classmethod
    def of(cls, function: Any, name: str, seconds: float = SECONDS) -> LearnerFunction:
        """A function of this process, as in the learner's own kernel.

        Raises:
            Wrong: It is not a function.
        """
        if isinstance(function, LearnerFunction):
            return function
        if not callable(function) or isinstance(function, type):
            raise not_a_function(name, shown(function))
        return cls(name, _call_here(function, name, seconds), seconds)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = answers.encode([list(args), kwargs])
        value, args_after, kwargs_after = self._call(*answers.decode(before))
        try:
            unchanged = answers.encode([list(args_after), kwargs_after]) == before
        except answers.AnswerError:
            unchanged = False
        if not unchanged:
            raise Wrong(
                _(
                    "{name} changed its arguments. Expected it to leave them as they are: copy them first, for "
                    "instance with `values.copy()`."
                ).format(name=self.name)
            )
        return value

    def __repr__(self) -> str:
        return f"<{self.name}>"


def assess(question: Question, answer: Any, hw: Any, *checks: Callable) -> Result:
    """Check an answer; a wrong one never raises an error.

    Args:
        question: Its ``public`` check is used where no others are passed.
        answer: A plain value, or for a coded question a function or a `LearnerFunction`.
        hw: The learner's `Homework`.
        checks: Used in this order.
    """
    try:
        if question.kind == "coded":
            answer = LearnerFunction.of(answer, question.answer, question.seconds)
        else:
            answer = _plain(answer, question.answer)
        for check in checks or (question.public,):
            check(answer if isinstance(answer, LearnerFunction) else copy.deepcopy(answer), hw)
    except Wrong as wrong:
        return Result(question.key, False, _one_line(str(wrong)))
    except Exception as error:  # an answer of a form that the check does not expect
        said = _("The check cannot read this answer ({kind}: {error}).").format(kind=type(error).__name__, error=error)
        return Result(question.key, False, _one_line(said))
    return Result(question.key, True)


def _one_line(message: str) -> str:
    """A message on one line, its middle left out where an answer made it long."""
    message = " ".join(message.split())
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 200]} … {message[-190:]}"


def _plain(value: Any, name: str) -> Any:
    if value is ... or value is None:
        raise Wrong(
            _("Expected a value in {name}, received nothing yet. Put your answer in place of the three dots.").format(
                name=name
            )
        )
    try:
        return answers.plain(value)
    except answers.AnswerError as problem:
        raise Wrong(f"{name}: {problem}") from None


# --- what is wrong with a learner's function, here and in the sandbox -------------------------------------------------


def not_a_function(name: str, received: str) -> Wrong:
    """The error for a name that is not a function."""
    return Wrong(
        _("Expected a function called {name}, received {received}. Define it with `def {name}`.").format(
            name=name, received=received
        )
    )


def too_slow(name: str, seconds: float) -> Wrong:
    """The error for a call that took too long."""
    return Wrong(
        _(
            "{name} took more than {seconds:g} s. Is there an endless loop, or a loop over all rows that "
            "NumPy could do?"
        ).format(name=name, seconds=seconds)
    )


def raised(name: str, error: str, arguments: Sequence = ()) -> Wrong:
    """The error for a call that raised one."""
    call = f"{name}({', '.join(shown(value) for value in arguments)})"
    return Wrong(
        _("{call} raised {error}.").format(call=call if len(call) <= 2 * MAX_SHOWN else name, error=error[:300]), error
    )


def returned_none(name: str) -> Wrong:
    """The error for a function without a result."""
    return Wrong(_("{name} returned nothing (None). Does it end in `return …`?").format(name=name))


def returned_other(name: str, problem: object) -> Wrong:
    """The error for a result that is not a plain value."""
    return Wrong(_("The result of {name}: {problem}").format(name=name, problem=problem))


class _TimeLimit(BaseException):
    """Ends a call that takes too long; a learner's `except Exception` does not catch it."""


def _call_here(function: Callable, name: str, seconds: float) -> Callable:
    def call(args: list, kwargs: dict):
        start = time.perf_counter()
        try:
            value = _call_within(seconds, lambda: function(*args, **kwargs))
        except _TimeLimit:
            raise too_slow(name, seconds) from None
        except Exception as error:
            raise raised(name, f"{type(error).__name__}: {error}", [*args, *kwargs.values()]) from None
        if time.perf_counter() - start > seconds:
            raise too_slow(name, seconds)
        if value is None:
            raise returned_none(name)
        try:
            return answers.plain(value), args, kwargs
        except answers.AnswerError as problem:
            raise returned_other(name, problem) from None

    return call


def _call_within(seconds: float, function: Callable) -> Any:
    """Call, and end the call after ``seconds``. Outside the main thread, and on Windows, nothing ends it."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return function()

    def end(number, frame):
        raise _TimeLimit

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
