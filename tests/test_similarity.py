"""`arset similarity`: disguised copies are found, honest answers are not, hostile files break nothing."""

import csv
import inspect
import io
import json
import re
import textwrap
import time
import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from arsetlib import cli
from arsetlib.grading import similarity
from arsetlib.grading.grades import GradeError, Learner
from arsetlib.grading.homework import ASSIGNMENTS, open_homework
from homework import hostile, run

every_assignment = pytest.mark.parametrize("assignment", ASSIGNMENTS)
START = 'from arsetlib import grading\nhw = grading.start("{}", name="{}")'


def master(assignment: str, name: str) -> list[str]:
    """The cells of the master with its solutions."""
    text = (run.ROOT / "homework" / "en" / f"{assignment}.py").read_text(encoding="utf-8")
    cells, key = [], ""
    for block in text.replace("your name", name).split("\n# %%")[1:]:
        head, _, cell = block.partition("\n")
        key = named[1] if (named := re.search(r"^# name: (q\d+)", cell, re.M)) else key
        cells += [cell] if not head.strip() else []
        cells += [f'grading.check("{key}", 0)'] if "END QUESTION" in cell else []
    return cells


def styled(assignment: str, name: str, style: int) -> list[str]:
    """A notebook of answers in another honest style: those of the tests of the checks."""
    hw, cells = open_homework(assignment, name), [START.format(assignment, name)]
    for question in hw.questions:
        answers = list(run.answers(assignment).RIGHT[question.key].values())
        answer = answers[style % len(answers)]
        answer = answer(hw) if question.kind == "coded" else answer
        cells += [textwrap.dedent(inspect.getsource(answer)), f'grading.check("{question.key}", 0)']
    return cells


def disguised(cells: list[str], name: str) -> list[str]:
    """A copy with other names, other numbers and texts, other spaces, comments, and its questions in another order."""
    copied = []
    for cell in cells[1:]:
        if "check(" in cell:
            copied.append(cell)
            continue
        tokens = []
        try:
            for token in tokenize.generate_tokens(io.StringIO(cell).readline):
                text = token.string
                if token.type == tokenize.NAME and text not in similarity.KEPT and tokens[-1:] != [(tokenize.OP, ".")]:
                    text = f"other_{text}"
                elif token.type == tokenize.NUMBER:
                    text = "7"
                elif token.type == tokenize.COMMENT:
                    text = "# mine"
                tokens.append((token.type, text))
            copied.append("# my own work\n" + tokenize.untokenize(tokens))
        except (tokenize.TokenError, IndentationError):
            copied.append(cell)
    pairs = [cells[0].replace("Ada Lovelace", name), *copied]
    half = 1 + 2 * ((len(pairs) - 1) // 4)
    return [pairs[0], *pairs[half:], *pairs[1:half]]


def notebook(cells: list[str], outputs: str = "", ids: str = "") -> bytes:
    made = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "source": cell, "id": f"{ids}{at:06d}",
         "outputs": [{"output_type": "stream", "name": "stdout", "text": outputs}] if at == 1 else []}
        for at, cell in enumerate(cells)
    ]  # fmt: skip
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def compared(folder, **files: bytes) -> similarity.SimilarityReport:
    for name, content in files.items():
        (folder / f"{name}.ipynb").write_bytes(content)
    return similarity.compare(folder)


@every_assignment
def test_a_disguised_copy_is_found_and_honest_styles_are_not(tmp_path, assignment):
    ada = styled(assignment, "Ada Lovelace", 0)
    report = compared(
        tmp_path,
        ada=notebook(ada, ids="a"),
        bob=notebook(styled(assignment, "Bob Noyce", 1), ids="b"),
        cleo=notebook(master(assignment, "Cleo Rey"), ids="c"),
        eve=notebook(disguised(ada, "Eve Moss"), ids="e"),
    )
    assert [(pair.one, pair.other) for pair in report.pairs] == [("ada.ipynb", "eve.ipynb")]
    (pair,) = report.pairs
    assert pair.percent >= 90
    assert len(pair.questions) >= 4
    assert pair.learners == (Learner("Ada Lovelace"), Learner("Eve Moss"))


@every_assignment
def test_code_that_all_get_does_not_count(tmp_path, assignment):
    given = [cell for cell in similarity._Given(assignment).cells if "start(" not in cell]
    files = {name: notebook([START.format(assignment, name * 3), *given], ids=name) for name in "ab"}
    assert compared(tmp_path, **files).pairs == ()


def test_numbers_drawn_for_another_learner_name_that_learner(tmp_path):
    draw = open_homework("part1", "Ada Lovelace").draw
    outputs = f"Your box is {draw['bounds']}\n" + "\n".join(map(str, draw["scenes"]))
    eve = notebook([START.format("part1", "Eve Moss"), "pass"], outputs, "e")
    ada = notebook([START.format("part1", "Ada Lovelace"), "pass"], outputs, "a")
    (pair,) = compared(tmp_path, ada=ada, eve=eve).pairs
    assert re.fullmatch(r"Eve Moss's notebook holds \d+ numbers that were drawn for Ada Lovelace", pair.signs[0])
    assert pair.percent == 0


def test_own_numbers_of_a_whole_class_raise_no_alarm(tmp_path):
    for assignment in ASSIGNMENTS:
        for number in range(25):
            name = f"Learner {number:02d}"
            draw = repr(open_homework(assignment, name).draw)
            cells = [START.format(assignment, name), f"total = {sum(map(ord, draw))}"]
            file = tmp_path / f"{assignment}-{number}.ipynb"
            file.write_bytes(notebook(cells, draw, f"{assignment}{number:02d}"))
    assert similarity.compare(tmp_path).pairs == ()


def test_another_learners_name_and_cells_of_one_file_are_named(tmp_path):
    start = START.format("part1", "{}")
    report = compared(
        tmp_path,
        ada=notebook([start.format("Ada Lovelace"), "1", "2"], ids="a"),
        eve=notebook([start.format("Eve Moss"), "print('done by Ada Lovelace')"], ids="e"),
        ida=notebook([start.format("Ida Rhodes"), "1", "2"], ids="a"),
    )
    signs = {(pair.one, pair.other): pair.signs for pair in report.pairs}
    assert signs == {
        ("ada.ipynb", "eve.ipynb"): ("Eve Moss's notebook names Ada Lovelace",),
        ("ada.ipynb", "ida.ipynb"): ("3 cells have the same random ID: one file came from the other",),
    }


def test_two_submissions_of_one_learner_are_no_pair(tmp_path):
    ada = notebook(styled("part1", "Ada Lovelace", 0))
    assert compared(tmp_path, one=ada, two=ada).pairs == ()


def test_hostile_files_are_read_only_and_cannot_get_into_the_page_or_run_in_a_spreadsheet(tmp_path):
    for key, one in hostile.hostile(secrets=(), elsewhere=(), port=1).items():
        if key not in ("zip_bomb", "large"):
            hostile.write(tmp_path, key, one)
    evil = "<script>alert(1)</script>"
    cells = styled("part1", "=cmd|A " + evil, 0)
    cells.insert(1, f"'{evil}' {'(' * 5000}")
    (tmp_path / "evil.ipynb").write_bytes(notebook(cells))
    (tmp_path / "eviltwo.ipynb").write_bytes(notebook(cells[:1] + cells[1:]).replace(b"=cmd|A", b"=cmd|B"))
    before = sorted(tmp_path.iterdir())
    report = similarity.compare(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert ("evil.ipynb", "eviltwo.ipynb") in [(pair.one, pair.other) for pair in report.pairs]
    assert "no_notebook.ipynb" in report.unread
    table, page = report.write(tmp_path / "out" / "similarity.csv")
    assert evil not in page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page.read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    assert len(rows) == len(report.pairs)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


@given(st.text(st.sampled_from("a1 \n\t():'\"\\{f#=.%"), max_size=60))
def test_any_text_has_tokens(source):
    similarity.tokens_of(source)


def test_a_class_is_compared_in_seconds(tmp_path):
    for assignment in ASSIGNMENTS:
        cells = [styled(assignment, "NAME", style) for style in (0, 1)]
        for number in range(20):
            content = notebook(cells[number % 2], ids=f"{number:03d}").replace(b"NAME", b"Learner %d" % number)
            (tmp_path / f"{assignment}-{number}.ipynb").write_bytes(content)
    began = time.process_time()
    report = similarity.compare(tmp_path)
    assert report.compared == 20 * len(ASSIGNMENTS)
    assert len(report.pairs) == len(ASSIGNMENTS) * 2 * 10 * 9 / 2
    assert time.process_time() - began < 20  # seconds; about 1 on an idle machine


def test_the_command_writes_a_table_and_a_page(tmp_path):
    ada = styled("part1", "Ada Lovelace", 0)
    (tmp_path / "in").mkdir()
    compared(tmp_path / "in", ada=notebook(ada), eve=notebook(disguised(ada, "Eve Moss")), bad=b"")
    done = CliRunner().invoke(cli.app, ["similarity", str(tmp_path / "in"), "--out", str(tmp_path / "similarity.csv")])
    assert done.exit_code == 0, done.output
    assert "2 notebooks compared, 1 pairs are alike" in done.output
    assert "Ada Lovelace and Eve Moss, the same answers to q" in done.output
    assert "not compared: bad.ipynb: The file is empty" in done.output
    assert (tmp_path / "similarity.html").is_file()
    (tmp_path / "none").mkdir()
    with pytest.raises(GradeError, match="no notebook"):
        similarity.compare(tmp_path / "none")
