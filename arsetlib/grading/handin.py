"""Check a notebook before it is handed in: what the grader will read in it, what runs, what is missing.

    for report in check_file("part1.ipynb"):
        print(report)

The notebook is run as ``arset grade`` runs it, from its first cell to its last and without its stored outputs: in a
sandbox where there is one, else in a temporary folder. Only the visible checks are used. Nothing is written beside the
notebook but the sample data of the homework, where they are missing.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from arsetlib import copies, folders
from arsetlib.grading import sandbox
from arsetlib.grading.homework import ASSIGNMENTS, PLACEHOLDER, Homework, data_folder, open_homework, read_start
from arsetlib.grading.limits import Limits
from arsetlib.grading.marking import Mark
from arsetlib.grading.submission import Notebook, SubmissionError, clean, read, without_magics
from arsetlib.translation import N_, _, ngettext, speaking

__all__ = ["HandInReport", "QuestionReport", "check_file"]

CHECK = re.compile(r"""check\(\s*["'](?:\w+\.)?(q\d{1,3})["']\s*,\s*(\w+)""", re.ASCII)
MAX_MESSAGE = 240  # characters of a message, so that a report is one page
STATES = {  # as the report says them
    "right": N_("{points} of {of}  right"),
    "not yet": N_("{points} of {of}  not yet"),
    "missing": N_("{points} of {of}  missing"),
    "not run": N_("{points} of {of}  not run"),
}


@dataclass(frozen=True)
class QuestionReport:
    """One question of a notebook.

    Attributes:
        key: "q1", "q2", …
        state: "right" where the visible check finds nothing wrong, "not yet", "missing", or "not run".
        points: By the visible check; the hidden checks may find more.
        of: Points of the question.
        message: What is wrong.
    """

    key: str
    state: str
    points: int
    of: int
    message: str = ""


@dataclass(frozen=True)
class HandInReport:
    """What a notebook holds, before it is handed in.

    Attributes:
        file: Its name, with the name inside a zip.
        size: Of the file, bytes.
        assignment: Its key; empty where the notebook names none.
        name: The learner's; empty where the notebook states none.
        id: The learner's ID in the course; may be empty.
        questions: In the order of the homework.
        problems: What to correct before it is handed in.
        notes: What is good to know; it takes no points.
        language: Of the notebook, in which the report is written; empty for that of the reader.
    """

    file: str
    size: int
    assignment: str = ""
    name: str = ""
    id: str = ""
    questions: tuple[QuestionReport, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    language: str = ""

    @property
    def points(self) -> int:
        """Points that the visible checks give."""
        return sum(question.points for question in self.questions)

    @property
    def of(self) -> int:
        """Points of the assignment; 0 where it is not known."""
        return sum(question.of for question in self.questions)

    @property
    def ok(self) -> bool:
        """Whether nothing has to be corrected and each question passes its visible check."""
        return not self.problems and all(question.state == "right" for question in self.questions)

    def as_dict(self) -> dict:
        """All of it as plain values."""
        return asdict(self) | {"points": self.points, "of": self.of, "ok": self.ok}

    def __str__(self) -> str:
        with speaking(self.language):
            return self._text()

    def _text(self) -> str:
        lines = [f"{self.file}, {_size(self.size)}"]
        if self.assignment:
            lines += [
                _("{assignment} · name: {name} · ID: {id}").format(
                    assignment=self.assignment, name=self.name or _("none"), id=self.id or _("none")
                ),
                "",
            ]
        for question in self.questions:
            state = _(STATES[question.state]).format(points=question.points, of=question.of)
            state = f"{question.key:<4}{state}"
            lines += _wrapped(f"{state}: {question.message}" if question.message else state, "             ")
        if self.questions and any(question.state != "not run" for question in self.questions):
            said = _("{points} of {of} points by the visible checks. After you hand in, hidden checks use other data.")
            lines += ["", said.format(points=self.points, of=self.of)]
        for title, texts in ((_("Correct before you hand in:"), self.problems), (_("Good to know:"), self.notes)):
            if texts:
                lines += ["", title]
                for text in texts:
                    lines += _wrapped(f"- {text}", "  ")
        return "\n".join(lines)


def check_file(path: str | Path) -> list[HandInReport]:
    """Check a notebook, or each notebook in a zip, before it is handed in. A broken file has a report that says so.

    Args:
        path: The file. Its sample data are looked for where the homework itself looks.
    """
    path = folders.place(path)
    if isinstance(path, folders.StorePath) and path.is_file():
        path = copies.fetched(path)
    if path.is_dir():
        return [HandInReport(str(path), 0, problems=(_("This is a folder. Name the notebook (.ipynb) in it."),))]
    if isinstance(path, folders.StorePath) or not (path.exists() or path.is_symlink()):
        return [HandInReport(str(path), 0, problems=(_("There is no such file."),))]
    size = path.lstat().st_size
    try:
        notebooks = read(path)
    except SubmissionError as problem:
        return [HandInReport(clean(str(path)), size, problems=(str(problem),))]
    return [_checked(notebook, path, size) for notebook in notebooks]


def _checked(notebook: Notebook, path: Path, size: int) -> HandInReport:
    """The report in the language of the notebook."""
    with speaking(notebook.language):
        return replace(_check(notebook, path, size), language=notebook.language)


def _check(notebook: Notebook, path: Path, size: int) -> HandInReport:
    file = clean(f"{path}/{notebook.inside}" if notebook.inside else str(path))
    problems, notes = [], _notes(notebook, size)
    if path.suffix.lower() not in (".ipynb", ".zip"):
        problems.append(
            _("The name ends in {suffix}; only .ipynb and .zip are graded. Rename it.").format(
                suffix=path.suffix or _("nothing")
            )
        )
    if notebook.problem:
        problems.append(notebook.problem)
    if notebook.learner == PLACEHOLDER:
        problems.append(
            _("The name in it is still {name!r}: put yours into start(…), and run all cells again.").format(
                name=PLACEHOLDER
            )
        )
    problems += _other_assignment(notebook, Path(notebook.inside or path.name))
    name = "" if notebook.learner == PLACEHOLDER else notebook.learner
    if notebook.assignment not in ASSIGNMENTS:
        return HandInReport(file, size, "", name, notebook.id, (), tuple(problems), tuple(notes))
    hw = open_homework(notebook.assignment, notebook.learner or PLACEHOLDER, data_folder(path.absolute().parent),
                       notebook.id)  # fmt: skip
    mark = None
    if not notebook.problem:
        try:
            mark = _run(notebook, hw, path)
        except sandbox.SandboxError as problem:
            notes.append(_("Not run on this machine: {problem}").format(problem=problem))
    if mark:
        problems += _failed(mark, notebook)
    questions = _questions(hw, notebook, mark)
    return HandInReport(file, size, notebook.assignment, name, notebook.id, questions, tuple(problems), tuple(notes))


def _run(notebook: Notebook, hw: Homework, path: Path) -> Mark:
    """Run the notebook as the grader does, with the visible checks."""
    from arsetlib.grading.worker import Worker

    settings: dict = {
        "folder": str(path.absolute().parent), "data": str(hw.data.absolute()), "private": [], "hidden": None,
        "limits": asdict(Limits()), "trust": bool(sandbox.why_unprotected()),
    }  # fmt: skip
    hw.data.mkdir(parents=True, exist_ok=True)
    return Worker(settings, lambda message: None).mark_notebook(path.name, notebook)


def _questions(hw: Homework, notebook: Notebook, mark: Mark | None) -> tuple[QuestionReport, ...]:
    trees = [_parsed(cell) for cell in notebook.cells]
    found = []
    for question in hw.questions:
        key, of = question.key, question.points
        missing = not any(_fills(tree, question.answer) for tree in trees)
        message = (mark.reasons.get(key, "") if mark else "")[:MAX_MESSAGE]
        if missing and (message or not mark):
            found.append(
                QuestionReport(key, "missing", 0, of, _("{answer} has no answer yet.").format(answer=question.answer))
            )
        elif not mark:
            found.append(QuestionReport(key, "not run", 0, of))
        else:
            found.append(QuestionReport(key, "not yet" if message else "right", mark.points.get(key, 0), of, message))
    return tuple(found)


def _notes(notebook: Notebook, size: int) -> list[str]:
    notes = []
    if notebook.learner and not notebook.id:
        notes.append(_('There is no ID in it. If your course gives you one: start("part1", name="…", id="s1234567").'))
    starts = {start for start in map(read_start, map(without_magics, notebook.cells)) if start}
    if len(starts) > 1:
        notes.append(_("It calls start(…) in {count} ways. The last call counts.").format(count=len(starts)))
    ran = [count for count in notebook.runs if count]
    if any(later < earlier for earlier, later in pairwise(ran)):
        notes.append(_(
"Its cells were not run in their order. The grader runs them from the top: restart, run all "
"cells, and look at the checks again."
))  # fmt: skip
    keys = [int(key[1:]) for cell in notebook.cells for key, _ in CHECK.findall(cell)]
    if keys != sorted(keys):
        notes.append(_("Its questions are not in the order of the homework: cells were moved."))
    if size > 2 << 20:
        notes.append(
            _("It has {size}. Clear the outputs before you hand it in: they are not graded.").format(size=_size(size))
        )
    return notes


def _other_assignment(notebook: Notebook, file: Path) -> list[str]:
    """Whether the notebook is one of another assignment than it starts."""
    asked = Counter(pair for cell in notebook.cells for pair in CHECK.findall(cell))
    fits = {
        key: sum((q.key, q.answer) in asked for q in open_homework(key, PLACEHOLDER).questions) for key in ASSIGNMENTS
    }
    best = max(ASSIGNMENTS, key=fits.get)
    if notebook.assignment and fits[best] > fits[notebook.assignment]:
        return [
            _("Its questions are those of {best}, but its first cell starts {assignment}.").format(
                best=best, assignment=notebook.assignment
            )
        ]
    named = [key for key in ASSIGNMENTS if key in file.stem.casefold()]
    if notebook.assignment and named and notebook.assignment not in named:
        return [
            _("Its file is called {file}, but it is the homework {assignment}.").format(
                file=clean(file.name), assignment=notebook.assignment
            )
        ]
    return []


def _failed(mark: Mark, notebook: Notebook) -> list[str]:
    """The cells that raised an error, and what else went wrong when the notebook ran."""
    problems = []
    for number, error in mark.failed[:5]:
        source = notebook.cells[number - 1] if 0 < number <= len(notebook.cells) else ""
        first = next((line.strip() for line in source.splitlines() if line.strip()), "")
        later = (CHECK.search(cell) for cell in notebook.cells[number - 1 :])
        key = next((found[1] for found in later if found), "")
        where = _("Code cell {number}{question}, which begins `{first}`").format(
            number=number, question=f" ({key})" if key else "", first=clean(first)[:50]
        )
        problems.append(_("{where}, raised {error}").format(where=where, error=error[:MAX_MESSAGE]))
    if len(mark.failed) > 5:
        problems.append(
            ngettext("{n} more cell raised an error.", "{n} more cells raised an error.", len(mark.failed) - 5).format(
                n=len(mark.failed) - 5
            )
        )
    if mark.stopped:
        problems.append(mark.reason)
    return problems


def _parsed(source: str) -> ast.AST | str:
    """The tree of a cell; its text where it is not Python."""
    try:
        return ast.parse(without_magics(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source


def _fills(tree: ast.AST | str, name: str) -> bool:
    """Whether a cell gives a name a value other than three dots, or defines a function that does something."""
    if isinstance(tree, str):  # not Python: the error of its cell says more than a missing answer
        return re.search(rf"\b{name}\b", tree) is not None and "check(" not in tree
    empty = named = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            named += 1
            empty += all(isinstance(step, ast.Pass) or _is_constant(step) for step in node.body)
        elif isinstance(node, ast.Name):
            named += node.id == name and isinstance(node.ctx, ast.Store)
        elif isinstance(node, ast.alias):
            named += (node.asname or node.name) == name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is ...:
            empty += sum(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    return named > empty


def _is_constant(step: ast.stmt) -> bool:
    """Whether a statement is only three dots or a text."""
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)


def _size(size: int) -> str:
    return (
        _("{size:,} bytes").format(size=size)
        if size < 1000
        else f"{size / 1e3:,.0f} kB"
        if size < 1e6
        else f"{size / 1e6:,.1f} MB"
    )


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 100, subsequent_indent=indent, break_on_hyphens=False) or [""]
