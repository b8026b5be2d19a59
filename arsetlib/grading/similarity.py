"""Which submissions are alike: a report for an instructor who then reads both.

    report = compare("submissions")
    report.write("similarity.csv")                # and similarity.html, with both codes side by side

Code is compared after names, numbers, texts, comments and spaces are made equal, in runs of a few tokens, in any order
(the idea of winnowing: Schleimer, Wilkerson and Aiken 2003, https://doi.org/10.1145/872757.872770). Code that the
homework gives to all does not count. Further signs are named: numbers drawn for another learner, another learner's
name, and cells whose random ID two notebooks share.

Submissions are only read and split into tokens; none is run. A report is no proof: short answers to one question can be
alike by chance.
"""

from __future__ import annotations

import builtins
import html
import io
import itertools
import keyword
import math
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from arsetlib import copies, folders
from arsetlib.grading import notebooks
from arsetlib.grading.grades import GradeError, Learner, write_table
from arsetlib.grading.homework import ASSIGNMENTS, PLACEHOLDER, open_homework
from arsetlib.grading.submission import (
    Notebook,
    SubmissionError,
    display_name,
    find,
    read,
    read_notebook,
    without_magics,
)

__all__ = ["SimilarPair", "SimilarityReport", "compare", "tokens_of"]

RUN = 10  # tokens in a run that is compared
LEAST_RUNS = 60  # of the shorter notebook; fewer say nothing
ALIKE = 60  # percent of the shorter notebook's runs, from which on a pair is reported
SAME_ANSWER = 0.95  # of the runs of an answer
LEAST_ANSWER = 15  # runs of an answer that is named
MAX_CODE, MAX_TEXT = 60_000, 200_000  # characters of one notebook that are looked at
SIMULATED = 60  # learners whose numbers tell which ones are rare
RARE = 0.05  # share of learners that draw a number
CHECK = re.compile(r"""check\(\s*["'](?:\w+\.)?(q\d{1,3})["']""", re.ASCII)
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)", re.ASCII)
WORD = re.compile(r"\w{4,64}")
KEPT = frozenset(keyword.kwlist) | frozenset(dir(builtins))
SKIPPED = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING))


@dataclass(frozen=True)
class SimilarPair:
    """Two submissions of one assignment that are alike.

    Attributes:
        assignment: Its key.
        one, other: Files, with the name inside a zip.
        learners: Of both.
        percent: Share of the runs of the shorter notebook that the other has, too; 0 where there are too few runs.
        questions: Whose answers are the same but for names, numbers and texts.
        signs: What else they share, in words.
    """

    assignment: str
    one: str
    other: str
    learners: tuple[Learner, Learner]
    percent: int
    questions: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()

    def as_dict(self) -> dict:
        """All of it as plain values."""
        return asdict(self) | {"learners": list(map(str, self.learners))}


@dataclass(frozen=True)
class SimilarityReport:
    """Pairs of submissions that are alike, the most alike first.

    Attributes:
        pairs: Those with at least `ALIKE` percent, or with a further sign.
        compared: Number of notebooks.
        unread: File → why it was not compared.
        codes: File → question → its code, of the files in ``pairs``.
    """

    pairs: tuple[SimilarPair, ...]
    compared: int
    unread: dict[str, str] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    def write(self, path: str | Path) -> tuple[Path, Path]:
        """Write the pairs as a CSV, and a page with both codes beside it. Returns both files."""
        path = folders.place(path)
        columns = ["assignment", "percent", "questions", "signs", "learner", "submission", "other_learner"]
        rows = [
            [pair.assignment, pair.percent, " ".join(pair.questions), " | ".join(pair.signs), str(pair.learners[0]),
             pair.one, str(pair.learners[1]), pair.other]
            for pair in self.pairs
        ]  # fmt: skip
        write_table(path, [*columns, "other_submission"], rows)
        page = path.with_suffix(".html")
        folders.put(page, self._page().encode("utf-8", errors="replace"))
        return path, page

    def __str__(self) -> str:
        lines = [f"{self.compared} notebooks compared, {len(self.pairs)} pairs are alike. Read both before you judge."]
        for pair in self.pairs[:20]:
            one, other = pair.learners
            lines.append(f"  {pair.assignment:<7}{pair.percent:>3} %  {one} and {other}{_list(pair.questions)}")
            lines += [f"                {sign}" for sign in pair.signs]
        if len(self.pairs) > 20:
            lines.append(f"  … and {len(self.pairs) - 20} more in the file")
        return "\n".join(lines)

    def _page(self) -> str:
        rows, details = [], []
        for number, pair in enumerate(self.pairs, 1):
            cells = (pair.assignment, f"{pair.percent} %", *map(str, pair.learners), " ".join(pair.questions),
                     "; ".join(pair.signs))  # fmt: skip
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            rows.append(f'<tr><td><a href="#p{number}">{number}</a></td>{cells}</tr>')
            if number <= 100:
                details.append(self._side_by_side(number, pair))
        head = "<th>#<th>Assignment<th>Alike<th>Learner<th>Other learner<th>Same answers<th>Further signs"
        return PAGE.format(head=head, rows="\n".join(rows), details="\n".join(details), compared=self.compared)

    def _side_by_side(self, number: int, pair: SimilarPair) -> str:
        columns = []
        for file, learner in zip((pair.one, pair.other), pair.learners, strict=True):
            code = self.codes.get(file, {})
            keys = [key for key in code if key in pair.questions] or list(code)
            text = "\n\n".join(f"# {key or 'further cells'}\n{code[key].strip()}" for key in keys)
            title = html.escape(f"{learner} · {file}")
            columns.append(f"<div><h3>{title}</h3><pre>{html.escape(text[:20_000])}</pre></div>")
        return f'<h2 id="p{number}">{number} · {pair.assignment}</h2><section>{"".join(columns)}</section>'


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Similar submissions</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
th, td {{ border-bottom: 1px solid #8888; padding: .3rem .6rem; text-align: left; vertical-align: top }}
section {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)) }}
h3 {{ font-size: 1rem; overflow-wrap: anywhere }}
pre {{ border: 1px solid #8888; overflow: auto; padding: .6rem; max-height: 40rem }}
</style></head><body>
<h1>Similar submissions</h1>
<p>{compared} notebooks were compared. A high number is no proof: read both answers, and ask both learners.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table>
{details}
</body></html>
"""


@dataclass
class _Submission:
    """What is compared of one notebook."""

    file: str
    learner: Learner
    codes: dict[str, str]  # question → code of the learner's own
    runs: dict[str, frozenset[int]]
    numbers: frozenset[float]  # in code and outputs
    words: frozenset[str]
    text: str
    ids: frozenset[str]

    @property
    def all_runs(self) -> frozenset[int]:
        return frozenset().union(*self.runs.values())


def compare(folder: str | Path) -> SimilarityReport:
    """Compare all submissions in a folder and the folders below it, each assignment by itself.

    Args:
        folder: Notebooks and zips, as for ``arset grade``. Nothing in them is run.

    Raises:
        GradeError: It is not a folder of submissions.
    """
    folder = Path(copies.fetched(folder)).absolute()
    try:
        paths = find(folder)
    except SubmissionError as problem:
        raise GradeError(str(problem)) from None
    notebooks: dict[str, list[tuple[str, Notebook]]] = defaultdict(list)
    unread = {}
    for path in paths:
        file = display_name(str(path.relative_to(folder)))
        try:
            found = read(path)
        except SubmissionError as problem:
            unread[file] = str(problem)
            continue
        for notebook in found:
            name = f"{file}/{display_name(notebook.inside)}" if notebook.inside else file
            if notebook.assignment in ASSIGNMENTS and notebook.learner and notebook.learner != PLACEHOLDER:
                notebooks[notebook.assignment].append((name, notebook))
            else:
                unread[name] = notebook.problem or "There is no name in it."
    pairs: list[SimilarPair] = []
    codes: dict[str, dict[str, str]] = {}
    for assignment in ASSIGNMENTS:
        if len(notebooks[assignment]) > 1:
            pairs += _compare(assignment, notebooks[assignment], codes)
    pairs.sort(key=lambda pair: (-pair.percent, -len(pair.signs), pair.assignment, pair.one, pair.other))
    kept = {file: codes[file] for pair in pairs for file in (pair.one, pair.other)}
    return SimilarityReport(tuple(pairs), sum(map(len, notebooks.values())), unread, kept)


def _compare(assignment: str, notebooks: list[tuple[str, Notebook]], codes: dict) -> list[SimilarPair]:
    given = _Given(assignment)
    made = [_prepared(file, notebook, given) for file, notebook in notebooks]
    codes |= {one.file: one.codes for one in made}
    signs = _signs(assignment, made)
    pairs = []
    runs = [one.all_runs for one in made]
    for i, j in itertools.combinations(range(len(made)), 2):
        one, other = made[i], made[j]
        if one.learner == other.learner:
            continue
        least = min(len(runs[i]), len(runs[j]))
        shared = len(runs[i] & runs[j]) if least >= LEAST_RUNS else 0
        percent = math.floor(100 * shared / max(least, 1))
        if percent < ALIKE and (i, j) not in signs:
            continue
        same = tuple(
            key
            for key, mine in one.runs.items()
            if key and min(len(mine), len(other.runs.get(key, ()))) >= LEAST_ANSWER
            and len(mine & other.runs[key]) >= SAME_ANSWER * max(len(mine), len(other.runs[key]))
        )  # fmt: skip
        learners = (one.learner, other.learner)
        pairs.append(SimilarPair(assignment, one.file, other.file, learners, percent, same, tuple(signs[i, j])))
    return pairs


class _Given:
    """The notebook that every learner gets, in all languages."""

    def __init__(self, assignment: str):
        given = [read_notebook(file.read_bytes()) for file in notebooks.shipped_files(assignment)]
        self.cells = tuple(cell for notebook in given for cell in notebook.cells)
        self.ids = frozenset(id for notebook in given for id in notebook.ids)
        self.tokens = frozenset(map(tokens_of, self.cells))
        self.runs = frozenset().union(*map(_runs, self.tokens))
        self.numbers = frozenset(_numbers("\n".join(self.cells)))


def _prepared(file: str, notebook: Notebook, given: _Given) -> _Submission:
    sections: dict[str, list[str]] = {}
    waiting: list[str] = []
    left = MAX_CODE
    for cell in notebook.cells:
        if found := CHECK.search(cell):
            sections.setdefault(found[1], []).extend(waiting)
            waiting = []
        elif cell.strip() and cell not in given.cells:
            cell = cell[:left]
            left -= len(cell)
            waiting.append(cell)
    if waiting:
        sections.setdefault("", []).extend(waiting)
    runs = {}
    for key, cells in sections.items():
        tokens = [token for cell in cells if (found := tokens_of(cell)) not in given.tokens for token in found]
        runs[key] = _runs(tuple(tokens)) - given.runs
    text = "\n".join((*notebook.cells, *notebook.outputs))[:MAX_TEXT]
    return _Submission(
        file,
        Learner(notebook.learner, notebook.id),
        {key: "\n\n".join(cells) for key, cells in sections.items()},
        runs,
        frozenset(_numbers(text)) - given.numbers,
        frozenset(WORD.findall(text)),
        text,
        frozenset(notebook.ids) - given.ids,
    )


def tokens_of(source: str) -> tuple[str, ...]:
    """The tokens of Python code, without what a copy changes: names, numbers, texts, comments, spaces, line ends.

    >>> tokens_of("total = hectares(codes, 24)  # cotton") == tokens_of("x=f( a,7 )")
    True
    """
    tokens: list[str] = []
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(without_magics(source)).readline):
            if token.type in SKIPPED:
                continue
            text = token.string
            if token.type == tokenize.NAME:
                text = text if text in KEPT or last == "." else "name"
            elif token.type == tokenize.NUMBER:
                text = "literal"
            elif token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
                text = ";"
            elif token.type != tokenize.OP:  # texts, and what is in f-strings from Python 3.12 on
                text = "literal"
            if text == ";" and tokens[-1:] in ([";"], []):
                continue
            if text == ";" and tokens[-2:-1] in ([";"], []) and tokens[-1] == "literal":
                tokens.pop()  # a text alone, as a docstring
                continue
            tokens.append(text)
            last = token.string
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        pass  # what comes before the error still counts
    return tuple(tokens)


def _runs(tokens: tuple[str, ...]) -> frozenset[int]:
    return frozenset(hash(tokens[at : at + RUN]) for at in range(len(tokens) - RUN + 1))


def _numbers(text: str) -> Iterable[float]:
    """Numbers of at least four digits in a text: shorter ones are alike by chance."""
    for found in NUMBER.findall(text):
        if _is_long(found):
            yield float(found)


def _is_long(number: str) -> bool:
    return len(number.partition("e")[0].replace(".", "").strip("0")) >= 4


def _signs(assignment: str, made: list[_Submission]) -> dict[tuple[int, int], list[str]]:
    """Pairs → what shows that one has something of the other."""
    signs: dict[tuple[int, int], list[str]] = defaultdict(list)
    draws = [_drawn(assignment, one.learner) for one in made]
    others = [_drawn(assignment, Learner(f"learner {number}")) for number in range(SIMULATED)]
    often = Counter(itertools.chain(*others, *draws))
    rare = {what for what, count in often.items() if count <= max(1, RARE * len(others + draws))}
    holders = defaultdict(set)
    for i, one in enumerate(made):
        for what in one.numbers | one.words:
            holders[what].add(i)
    for j, own in enumerate(draws):
        distinct = {what for what in own & rare if 1 <= len(holders[what] - {j}) <= 3}
        found = Counter(i for what in distinct for i in holders[what] - {j} if what not in draws[i])
        for i, count in found.items():
            if count >= max(2, 0.2 * len(own & rare)) and made[i].learner != made[j].learner:
                signs[min(i, j), max(i, j)].append(
                    f"{made[i].learner}'s notebook holds {count} numbers that were drawn for {made[j].learner}"
                )
    cells = defaultdict(list)
    for i, one in enumerate(made):
        for id in one.ids:
            cells[id].append(i)
    shared = Counter(pair for found in cells.values() if len(found) <= 3 for pair in itertools.combinations(found, 2))
    for (i, j), count in shared.items():
        if made[i].learner != made[j].learner:
            signs[i, j].append(f"{count} {'cells have' if count > 1 else 'cell has'} the same random ID: one file came "
                               "from the other")  # fmt: skip
    for i, j in itertools.permutations(range(len(made)), 2):
        if made[i].learner != made[j].learner and _names(made[i], made[j].learner):
            signs[min(i, j), max(i, j)].append(f"{made[i].learner}'s notebook names {made[j].learner}")
    return signs


def _names(one: _Submission, learner: Learner) -> bool:
    """Whether a notebook has the whole name (of two words or more) or the ID of another learner in it."""
    words = learner.name.split()
    long = [word for word in words if len(word) >= 4]
    by_name = len(words) > 1 and learner.name not in one.learner.name and one.learner.name not in learner.name
    if by_name and one.words.issuperset(long) and learner.name in one.text:
        return re.search(rf"\b{re.escape(learner.name)}\b", one.text) is not None
    return len(learner.id) >= 5 and learner.id != one.learner.id and learner.id in one.words


def _drawn(assignment: str, learner: Learner) -> frozenset:
    """Numbers of four digits or more, and words of letters and digits, that were drawn for a learner."""
    hw = open_homework(assignment, learner.name, Path("none"), learner.id)
    found: set = set()
    todo: list = [hw.draw]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            todo += value
        elif isinstance(value, np.ndarray):
            todo += value.tolist()
        elif isinstance(value, str):
            found |= {word for word in WORD.findall(value) if re.search(r"\d", word) and len(word) >= 6}
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool) and _is_long(repr(abs(value))):
            found.add(abs(float(value)))
    return frozenset(found)


def _list(questions: tuple[str, ...]) -> str:
    return f", the same answers to {', '.join(questions)}" if questions else ""
