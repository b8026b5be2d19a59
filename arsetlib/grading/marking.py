"""Mark one notebook: run it in a sandbox, ask for its answers, check them here.

The sandbox only ever sends values. Whether a value is right is decided in this process, where no learner's code runs.
So a changed check, a printed result or a patched library in the sandbox gains nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from arsetlib.grading import answers, protocol, questions
from arsetlib.grading.homework import PLACEHOLDER, Homework
from arsetlib.grading.limits import Limits
from arsetlib.grading.questions import LearnerFunction, Question, Wrong, assess
from arsetlib.grading.sandbox import TIMED_OUT, Sandbox, SandboxError, View
from arsetlib.grading.submission import Notebook, clean
from arsetlib.translation import N_, _, speaking

__all__ = ["Mark", "mark"]

REFUSALS = ("function", "slow", "raised", "plain")


@dataclass
class Mark:
    """The points of one notebook, and the reasons.

    Attributes:
        submission: File below the folder of submissions, with the name inside a zip.
        learner: Name in the notebook; empty where it has none.
        assignment: Key; empty where it could not be read.
        points: Question → points.
        of: Points of the whole assignment; 0 where it could not be read.
        reasons: Question → why it got no points.
        reason: Why the notebook could not be graded, or what went wrong when it ran.
        log: What it printed, and the result of each question.
        again: The clock stopped it, perhaps because the machine was busy: the next run tries it again.
        id: ID of the learner in the course, such as a student number; empty where the notebook states none.
        handed_in: When the file was last changed, UTC; empty where that is not known.
        failed: [number of a code cell, error] of each cell that raised one.
        stopped: It was stopped, or ended before all its answers were read.
        language: Of the notebook, in which its reasons are written; empty where it sets none.
        tries: Question → how many different answers the learner's own check counted, as the notebook's output says.
    """

    submission: str
    learner: str = ""
    assignment: str = ""
    points: dict[str, int] = field(default_factory=dict)
    of: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    log: str = ""
    again: bool = False
    id: str = ""
    handed_in: str = ""
    failed: list = field(default_factory=list)
    stopped: bool = False
    language: str = ""
    tries: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Points of all questions together."""
        return sum(self.points.values())


def mark(
    name: str, notebook: Notebook, hw: Homework, hidden: dict[str, Callable], limits: Limits, view: View,
    scratch: Path | None = None,
) -> Mark:  # fmt: skip
    """Mark a notebook that could be read. Reasons are in its language.

    Args:
        name: Name of the submission.
        notebook: Its code cells.
        hw: The homework that it starts, of its learner.
        hidden: Question → hidden check; a question may have none.
        limits: What it may use.
        view: What it sees of this machine.
        scratch: Folder to run in; given only where it may run without protection.

    Raises:
        SandboxError: The sandbox did not start, which is not the notebook's fault.
    """
    with speaking(notebook.language):
        return _mark(name, notebook, hw, hidden, limits, view, scratch)


def _mark(
    name: str, notebook: Notebook, hw: Homework, hidden: dict[str, Callable], limits: Limits, view: View,
    scratch: Path | None,
) -> Mark:  # fmt: skip
    tries = {question.key: notebook.tries[question.key] for question in hw.questions if question.key in notebook.tries}
    result = Mark(name, notebook.learner, notebook.assignment, of=hw.points, id=notebook.id, tries=tries,
                  language=notebook.language)  # fmt: skip
    with Sandbox(limits, view, scratch) as sandbox:
        client = _SandboxClient(sandbox)
        client.wait_until_ready()
        client.run(notebook.cells)
        # Variables first: a function of the notebook may end the process when it is called.
        for question in sorted(hw.questions, key=lambda question: question.kind == "coded"):
            wrong = _why_wrong(client, question, hw, hidden.get(question.key))
            result.points[question.key] = 0 if wrong else question.points
            if wrong:
                result.reasons[question.key] = wrong
    keys = [question.key for question in hw.questions]
    result.points = {key: result.points[key] for key in keys}
    result.reasons = {key: result.reasons[key] for key in keys if key in result.reasons}
    if hw.name == PLACEHOLDER:
        result.learner = ""
        client.notes.append(_("The name in it is still {name!r}").format(name=PLACEHOLDER))
    result.reason, result.failed, result.stopped = "; ".join(client.notes), client.failed, client.stopped
    result.again = sandbox.stop_reason == TIMED_OUT
    result.log = _log(result, client)
    return result


def _why_wrong(client: _SandboxClient, question: Question, hw: Homework, hidden: Callable | None) -> str:
    """Why an answer gets no points; empty where it is right."""
    try:
        answer = client.function(question) if question.kind == "coded" else client.value(question.answer)
    except Wrong as wrong:
        return str(wrong)
    for check, prefix in ((question.public, ""), (hidden, _("With other data: {message}"))):
        if check is None:
            continue
        result = assess(question, answer, hw, check)
        if client.ended:
            return client.ended
        if not result.ok:
            return clean(prefix.format(message=result.message) if prefix else result.message)[:1000]
    return ""


class _SandboxClient:
    """Sends requests to the process in a sandbox and reads its replies.

    Attributes:
        ended: Why it answers no more; empty while it does.
        notes: What went wrong, for the learner.
        failed: [number, error] of each cell that raised one.
        stopped: A cell or the process was stopped, or the process ended.
    """

    def __init__(self, sandbox: Sandbox):
        self.sandbox, self.ended, self.stopped = sandbox, "", False
        self.notes: list[str] = []
        self.failed: list = []

    def wait_until_ready(self) -> None:
        """Wait for the first message of the process; no code of the learner has run yet.

        Raises:
            SandboxError: It did not start.
        """
        self.sandbox.set_reply_limit(60)
        try:
            ready = protocol.receive(self.sandbox.replies) == {"id": "ready", "value": None}
        except protocol.ProtocolError:
            ready = False
        if not ready:
            output = clean(self.sandbox.output)[-300:].strip() or self.sandbox.stop_reason or "it printed nothing"
            raise SandboxError(f"The sandbox did not start: {output}")

    def run(self, cells: tuple[str, ...]) -> None:
        """Run the cells and note those that failed."""
        seconds = self.sandbox.limits.seconds
        wall = 2 * seconds + 10
        request = {"do": "run", "cells": list(cells), "seconds": seconds, "wall": wall}
        try:
            outcome = self.request(request, wall + max(2.0, seconds / 4)).get("value")
        except Wrong:
            return
        if not isinstance(outcome, dict):
            return self.stop_for(_("it sent an invalid reply"))
        stopped, failed = outcome.get("stopped"), outcome.get("failed")
        if isinstance(failed, list):
            pairs = [pair for pair in failed[:100] if isinstance(pair, list) and list(map(type, pair)) == [int, str]]
            self.failed = [[number % 10_000, clean(error)[:500]] for number, error in pairs]
        if type(stopped) is int and 0 < stopped <= len(cells):
            self.stopped = True
            self.notes.append(
                _("Cell {stopped} was stopped: the notebook took over {seconds:g} s").format(
                    stopped=stopped, seconds=seconds
                )
            )
        if self.failed:
            number, error = self.failed[0]
            more = " (" + _("and {n} more").format(n=len(self.failed) - 1) + ")" if self.failed[1:] else ""
            self.notes.append(_("Cell {number}: {error}").format(number=number, error=error) + more)

    def value(self, name: str) -> Any:
        """The value of a variable, None where there is none.

        Raises:
            Wrong: It is not a plain value, or the process has ended.
        """
        reply = self.request({"do": "get", "name": name}, 5 + self.sandbox.limits.seconds / 4)
        if "no" in reply:
            raise Wrong(f"{name}: {reply['text']}")
        return _decode(reply["value"], name)

    def function(self, question: Question) -> LearnerFunction:
        """A function of the notebook, as checks call it."""
        name, seconds = question.answer, question.seconds

        def call(args, kwargs):
            request = {"do": "call", "name": name, "args": answers.encode([args, kwargs])}
            reply = self.request(request | {"seconds": seconds, "wall": 2 * seconds}, 2 * seconds + 10)
            if "no" in reply:
                raise _refused(reply["no"], reply["text"], name, seconds, [*args, *kwargs.values()])
            if reply["value"] is None:
                raise questions.returned_none(name)
            after = _decode(reply.get("args"), name)
            if not isinstance(after, list) or list(map(type, after)) != [list, dict]:
                after = [[], {"changed": True}]
            return _decode(reply["value"], name), *after

        return LearnerFunction(name, call, seconds)

    def request(self, request: dict, seconds: float) -> dict:
        """Send a request and read its reply: ``value``, or ``no`` and ``text``.

        Raises:
            Wrong: The process has ended, did not answer in ``seconds``, or its reply is invalid.
        """
        if self.ended:
            raise Wrong(self.ended)
        number = secrets.token_hex(8)  # so that a reply cannot be written in advance
        self.sandbox.set_reply_limit(seconds)
        try:
            protocol.send(self.sandbox.requests, request | {"id": number})
            reply = protocol.receive(self.sandbox.replies)
        except protocol.ProtocolError as problem:
            self.fail("" if str(problem) == protocol.ENDED else _("it sent {problem}").format(problem=problem))
        self.sandbox.set_reply_limit(float("inf"))
        if reply.get("id") != number or not (_is_value(reply) or _is_refusal(reply)):
            self.fail(_("it sent an invalid reply"))
        if "no" in reply:
            reply["text"] = clean(reply["text"])[:500]
        return reply

    def fail(self, reason: str) -> NoReturn:
        """Stop the process and raise.

        Raises:
            Wrong: Always, with the reason.
        """
        self.stop_for(reason)
        raise Wrong(self.ended)

    def stop_for(self, reason: str) -> None:
        """Stop the process: after an invalid reply it is asked no more."""
        self.stopped = True
        self.sandbox.stop(reason and _("{reason} and was stopped").format(reason=reason))
        why = self.sandbox.stop_reason or N_("its process ended before its answers were read")
        self.ended = _("Not answered: {why}.").format(why=_(why))
        self.notes.append(self.ended)


def _refused(kind: str, text: str, name: str, seconds: float, arguments: list) -> Wrong:
    """Why a call of a function gave no value."""
    if kind == "function":
        return questions.not_a_function(
            name,
            _("nothing yet") if text in ("NoneType", "ellipsis") else _("a value of type {kind}").format(kind=text),
        )
    if kind == "slow":
        return questions.too_slow(name, seconds)
    if kind == "raised":
        return questions.raised(name, text, arguments)
    return questions.returned_other(name, text)


def _is_value(reply: dict) -> bool:
    return "value" in reply and set(reply) <= {"id", "value", "args"}


def _is_refusal(reply: dict) -> bool:
    return set(reply) == {"id", "no", "text"} and reply["no"] in REFUSALS and type(reply["text"]) is str


def _decode(coded: object, name: str) -> Any:
    try:
        return answers.decode(coded)
    except (answers.AnswerError, RecursionError, MemoryError) as problem:
        raise Wrong(f"{name}: {clean(str(problem))[:300]}") from None


def _log(result: Mark, client: _SandboxClient) -> str:
    lines = [f"{result.submission}: {result.assignment} of {result.learner}"]
    lines += [f"{result.total} of {result.of} points", ""]
    lines += [f"{key}: {result.points[key]} {result.reasons.get(key, 'right')}" for key in result.points]
    lines += ["", *(f"NOTE {note}" for note in client.notes)]
    lines += [f"Cell {number}: {error}" for number, error in client.failed]
    lines += ["", "--- printed by the notebook, also when hidden checks called its functions: not for learners ---"]
    return "\n".join([*lines, clean(client.sandbox.output, lines=True)]) + "\n"
