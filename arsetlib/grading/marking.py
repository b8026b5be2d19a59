"""Mark one notebook: run it in a sandbox, ask for its answers, hold them against the checks here.

What the sandbox says is only ever a value. Whether it is right is found in this process, which no code of a learner's
ever runs in, so a changed check, a printed verdict or a patched library gains nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from arsetlib.grading import answers, talk
from arsetlib.grading.homework import NOBODY, Homework
from arsetlib.grading.questions import Asked, Question, Wrong, assess, raised, slow
from arsetlib.grading.sandbox import TOO_LONG, Limits, Sandbox, SandboxError, View
from arsetlib.grading.submission import Notebook, clean

REFUSALS = ("function", "slow", "raised", "plain")


@dataclass
class Mark:
    """What one notebook got.

    Attributes:
        submission: File below the folder of submissions, with the name inside a zip.
        learner: Name in the notebook; empty where it has none.
        assignment: Key; empty where it could not be read.
        points: Question → points.
        of: All points of the assignment; 0 where there is none.
        reasons: Question → why it got none.
        reason: Why the whole could not be graded, or where running it went wrong.
        log: What it printed and what was found.
        again: It was stopped by the clock, which a busy machine may have done: the next run tries it again.
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

    @property
    def total(self) -> int:
        return sum(self.points.values())


def mark(
    name: str, notebook: Notebook, hw: Homework, hidden: dict[str, Callable], limits: Limits, view: View,
    scratch: Path | None = None,
) -> Mark:  # fmt: skip
    """Mark a notebook that has no problem.

    Args:
        name: Of the submission.
        notebook: What was read.
        hw: The homework that it starts, of its learner.
        hidden: Question → hidden check; a question may have none.
        limits: What it may use.
        view: What it sees.
        scratch: A folder to run in, only where it runs unprotected.

    Raises:
        SandboxError: The sandbox did not start. That says nothing of the notebook.
    """
    made = Mark(name, notebook.learner, notebook.assignment, of=sum(q.points for q in hw.questions))
    with Sandbox(limits, view, scratch) as sandbox:
        asking = _Asking(sandbox)
        asking.begin()
        asking.run(notebook.cells)
        # Plain values first: they do not end with a function that ends the process.
        for question in sorted(hw.questions, key=lambda question: question.kind == "coded"):
            wrong = _judge(asking, question, hw, hidden.get(question.key))
            made.points[question.key] = 0 if wrong else question.points
            if wrong:
                made.reasons[question.key] = wrong
    made.points = {question.key: made.points[question.key] for question in hw.questions}
    if hw.name == NOBODY:
        made.learner = ""
        asking.notes.append(f"The name in it is still {NOBODY!r}")
    made.reason = "; ".join(asking.notes)
    made.again = sandbox.why == TOO_LONG
    made.log = _log(made, asking)
    return made


def _judge(asking: _Asking, question: Question, hw: Homework, hidden: Callable | None) -> str:
    """Why an answer gets no points; empty where it is right."""
    try:
        answer = asking.function(question) if question.kind == "coded" else asking.value(question.answer)
    except Wrong as wrong:
        return str(wrong)
    for check, words in ((question.public, ""), (hidden, "With other data: ")):
        if check is None:
            continue
        found = assess(question, answer, hw, check)
        if asking.ended:
            return asking.ended
        if not found.ok:
            return clean(f"{words}{found.message}")[:1000]
    return ""


class _Asking:
    """The grader's side of the talk with a sandbox."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox, self.ended, self.notes, self.failed = sandbox, "", [], []

    def begin(self) -> None:
        """Wait until the process is ready; no code of the learner's has run yet.

        Raises:
            SandboxError: It did not get there.
        """
        self.sandbox.limit(60)
        try:
            ready = talk.receive(self.sandbox.replies) == {"id": "ready", "value": None}
        except talk.TalkError:
            ready = False
        if not ready:
            words = clean(self.sandbox.output)[-300:].strip() or self.sandbox.why or "it said nothing"
            raise SandboxError(f"The sandbox did not start: {words}")

    def run(self, cells: tuple[str, ...]) -> None:
        """Run the cells; what failed is noted."""
        limits = self.sandbox.limits
        wall = 2 * limits.seconds + 10
        try:
            told = self.ask(
                {"do": "run", "cells": list(cells), "seconds": limits.seconds, "wall": wall},
                wall + max(2.0, limits.seconds / 4),
            )
        except Wrong:
            return
        told = told.get("value")
        if not isinstance(told, dict):
            return self.broken()
        stopped, failed = told.get("stopped"), told.get("failed")
        if isinstance(failed, list):
            pairs = [pair for pair in failed[:100] if isinstance(pair, list) and list(map(type, pair)) == [int, str]]
            self.failed = [f"Cell {number % 10_000}: {clean(text)[:500]}" for number, text in pairs]
        if type(stopped) is int and 0 < stopped <= len(cells):
            self.notes.append(f"Cell {stopped} was stopped: the notebook took over {limits.seconds:g} s")
        if self.failed:
            self.notes.append(self.failed[0] + (f" (and {len(self.failed) - 1} more)" if self.failed[1:] else ""))

    def value(self, name: str):
        """The value of a variable, None where there is none.

        Raises:
            Wrong: It is no plain value, or the process has ended.
        """
        reply = self.ask({"do": "get", "name": name}, 5 + self.sandbox.limits.seconds / 4)
        if "no" in reply:
            raise Wrong(f"{name}: {reply['text']}")
        return _decoded(reply["value"], name)

    def function(self, question: Question) -> Asked:
        """A function of the notebook, as checks call it."""
        name, seconds = question.answer, question.seconds

        def call(args, kwargs):
            request = {"do": "call", "name": name, "args": answers.encode([args, kwargs])}
            reply = self.ask(request | {"seconds": seconds, "wall": 2 * seconds}, 2 * seconds + 10)
            refusal, text = reply.get("no"), reply.get("text", "")
            if refusal == "function":
                received = "nothing yet" if text in ("NoneType", "ellipsis") else f"a {text}"
                raise Wrong(f"Expected a function called {name}, received {received}. Define it with `def {name}`.")
            if refusal == "slow":
                raise Wrong(slow(name, seconds))
            if refusal == "raised":
                raise Wrong(raised(name, text, [*args, *kwargs.values()]))
            if refusal == "plain":
                raise Wrong(f"What {name} gave back: {text}")
            if reply["value"] is None:
                raise Wrong(f"{name} gave back nothing (None). Does it end in `return …`?")
            after = _decoded(reply.get("args"), name)
            if not isinstance(after, list) or len(after) != 2 or list(map(type, after)) != [list, dict]:
                after = [[], {"changed": True}]
            return _decoded(reply["value"], name), *after

        return Asked(name, call, seconds)

    def ask(self, request: dict, wait: float) -> dict:
        """Send a request and take its reply: ``value``, or ``no`` and ``text``.

        Raises:
            Wrong: The process has ended, or did not answer in ``wait`` seconds, or what it sent is no reply.
        """
        if self.ended:
            raise Wrong(self.ended)
        mine = secrets.token_hex(8)  # nothing that was written in advance is its reply
        self.sandbox.limit(wait)
        try:
            talk.send(self.sandbox.requests, request | {"id": mine})
            reply = talk.receive(self.sandbox.replies)
        except talk.TalkError as problem:
            self.end(problem)
        self.sandbox.limit(float("inf"))
        if reply.get("id") != mine or not (_is_value(reply) or _is_refusal(reply)):
            self.broken()
            raise Wrong(self.ended)
        if "no" in reply:
            reply["text"] = clean(reply["text"])[:500]
        return reply

    def broken(self) -> None:
        """What came is no reply: whoever sends such is asked no more."""
        self.sandbox.stop("it sent what is no answer and was stopped")
        self.ended = self.end_words()

    def end(self, problem: Exception):
        """The talk is over.

        Raises:
            Wrong: Always, with the reason.
        """
        self.sandbox.stop("" if str(problem) == "the process has ended" else f"it sent {problem} and was stopped")
        self.ended = self.end_words()
        raise Wrong(self.ended)

    def end_words(self) -> str:
        words = f"Not answered: {self.sandbox.why or 'its process ended before its answers were read'}."
        self.notes.append(words)
        return words


def _is_value(reply: dict) -> bool:
    return "value" in reply and set(reply) <= {"id", "value", "args"}


def _is_refusal(reply: dict) -> bool:
    return set(reply) == {"id", "no", "text"} and reply["no"] in REFUSALS and type(reply["text"]) is str


def _decoded(coded, name: str):
    try:
        return answers.decode(coded)
    except (answers.AnswerError, RecursionError, MemoryError) as problem:
        raise Wrong(f"{name}: {clean(str(problem))[:300]}") from None


def _log(made: Mark, asking: _Asking) -> str:
    lines = [f"{made.submission}: {made.assignment} of {made.learner}", f"{made.total} of {made.of} points", ""]
    lines += [f"{key}: {made.points[key]} {made.reasons.get(key, 'right')}" for key in made.points]
    lines += ["", *(f"NOTE {note}" for note in asking.notes), *asking.failed]
    lines += [
        "",
        "--- what it printed, also when hidden checks called it: not for learners ---",
        clean(asking.sandbox.output, lines=True),
    ]
    return "\n".join(lines) + "\n"
