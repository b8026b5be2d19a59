"""`arset homework check`: what a learner sees before handing in, and what is said of a file that is no notebook."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_grading import data as small_sample
from test_grading import needs_sandbox, solved
from typer.testing import CliRunner

from arsetlib import cli, translation
from arsetlib.grading import file_kinds, gradebook, grades, handin, homework, marking, notebooks, submission
from arsetlib.grading.grades import Learner
from homework import hostile

sample = pytest.fixture(scope="session", name="sample")(small_sample.__wrapped__)


def cells_of(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def write(file: Path, notebook: dict) -> Path:
    file.write_text(json.dumps(notebook), encoding="utf-8")
    return file


@pytest.fixture
def ada(tmp_path, sample, monkeypatch) -> Path:
    """The notebook that `arset homework start` gives Ada, its sample data made already."""
    monkeypatch.setenv("ARSET_DATA", str(sample))
    return notebooks.write(["part1"], "Ada Lovelace", tmp_path / "mine", id="s7")[0][0]


@pytest.fixture
def not_run(monkeypatch):
    """The notebook is only read, as where there is no sandbox for it."""

    def none(*args):
        raise handin.sandbox.SandboxError("no sandbox")

    monkeypatch.setattr(handin, "_run", none)


def zipped(**files: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


WHOLE = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \r\n\t", "only spaces"),
        (bytes(500), "all are zero"),
        (WHOLE[: len(WHOLE) // 2].encode(), "ends in the middle"),
        (WHOLE.replace('"cells": []', '"cells": [,]').encode(), "not JSON at line 1, column 12"),
        (zipped(a=b"1"), "a zip archive"),
        (gzip.compress(b"x", mtime=0), "a gzip archive"),
        (b"# %%\nimport numpy as np\n", "Python code"),
        (b"%pip install x\nhw = 1\n", "Python code"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"\0\0\0\x18ftypheic", "a photo"),
        (b"%PDF-1.7", "a PDF document"),
        (WHOLE.encode("utf-16"), "UTF-16"),
        (WHOLE.encode("utf-16-le"), "UTF-16"),
        (WHOLE.encode("utf-16-be"), "UTF-16"),
        ("hello".encode("utf-16"), "UTF-16, and not a notebook"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b'{"cells": [\n<<<<<<< HEAD\n', "merge conflict"),
        ('{"a": "ñ"}'.encode("latin-1"), "byte 7 of 10 is not UTF-8"),
        (b"Dear all, here is my homework", "plain text"),
        (b"[1, 2]", "a JSON list"),
        (b'{"worksheets": [], "nbformat": 3}', "old format 3"),
        (b'{"type": "FeatureCollection"}', "no list of cells"),
        (b'{"cells": {}}', "no list of cells"),
        (b'{"cells": ' + b"[" * 100_000, "not JSON"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else ""
    ),  # an archive contains the time: not in the name of a test
)
def test_a_file_that_is_no_notebook_is_called_what_it_is(tmp_path, content, says):
    file = tmp_path / "part1.ipynb"
    file.write_bytes(content)
    with pytest.raises(submission.SubmissionError, match=says) as problem:
        submission._read_cells(content, "")
    assert submission.read(file)[0].problem == str(problem.value)
    (report,) = handin.check_file(file)
    assert (report.ok, report.problems) == (False, (str(problem.value),))
    assert "{" not in str(report)


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(str.encode)
    | st.sampled_from(file_kinds.KINDS).map(lambda k: k[0])
)
def test_any_bytes_have_a_sentence(content):
    said = file_kinds.why_no_notebook(content)
    assert said.startswith("The ")
    assert said.endswith(".")


def test_a_file_that_is_too_large_missing_or_a_folder_is_called_so(tmp_path):
    with open(tmp_path / "a.ipynb", "wb") as file:
        file.truncate(30 << 20)
    for name, says in (("a.ipynb", "at most 20 MB are read"), ("none.ipynb", "no such file"), (".", "a folder")):
        (report,) = handin.check_file(tmp_path / name)
        assert says in report.problems[0]
        assert not report.ok


def test_a_broken_file_counts_as_handed_in_with_0_and_says_what_it_is(tmp_path):
    (tmp_path / "s7_part1.ipynb").write_bytes(b"\x89PNG\r\n\x1a\n")
    (one,) = submission.read(tmp_path / "s7_part1.ipynb")
    grades.write_csv(tmp_path / "g.csv", [marking.Mark("s7_part1.ipynb", reason=one.problem)])
    (tmp_path / "learners.csv").write_text("id,name\ns7,Ada\n")
    (tmp_path / "course.toml").write_text('roster = "learners.csv"\n[assignments.part1]\n')
    book = gradebook.gradebook([tmp_path / "g.csv"], gradebook.Course.load(tmp_path / "course.toml"))
    entry = book.entries[Learner("Ada", "s7")]["part1"]
    assert (entry.points, entry.note) == (0, f"counts as handed in with 0: {one.problem}")
    assert "PNG image" in entry.note


@needs_sandbox
def test_a_solved_notebook_passes_and_nothing_is_written_beside_it(tmp_path, sample, monkeypatch):
    monkeypatch.setenv("ARSET_DATA", str(sample))
    file = tmp_path / "part1.ipynb"
    file.write_bytes(solved("Ada Lovelace"))
    before = file.stat().st_mtime_ns
    done = CliRunner().invoke(cli.app, ["homework", "check", str(file)])
    assert done.exit_code == 0, done.output
    assert "24 of 24 points by the visible checks" in done.output
    assert ([*tmp_path.iterdir()], file.stat().st_mtime_ns) == ([file], before)
    assert len(done.output.splitlines()) < 30


@needs_sandbox
def test_what_is_missing_wrong_or_fails_is_named(ada):
    notebook = cells_of(ada)
    answers = {"q1": "def hectares(codes, code, side_m):\n    return 0.09 * (codes == code).sum()", "q7": "layout = 3"}
    for at, cell in enumerate(notebook["cells"]):
        key = next(
            (key for key in answers if f'"{key}"' in "".join(cell["source"]) and "check(" in "".join(cell["source"])),
            "",
        )
        if key:
            notebook["cells"][at - 1]["source"] = answers[key]
    notebook["cells"].insert(-1, {"cell_type": "code", "source": "\n1 / 0", "outputs": [], "execution_count": None})
    write(ada, notebook)
    (report,) = handin.check_file(ada)
    states = {one.key: one.state for one in report.questions}
    assert states == dict.fromkeys(states, "missing") | {"q1": "not yet", "q7": "not yet"}
    assert "side_m" in report.questions[0].message
    assert len(report.problems) == 1
    assert "which begins `1 / 0`, raised ZeroDivisionError: division by zero" in report.problems[0]
    assert (report.points, report.of, report.name, report.id) == (0, 24, "Ada Lovelace", "s7")
    assert CliRunner().invoke(cli.app, ["homework", "check", str(ada)]).exit_code == 1


def test_notes_name_what_takes_no_points(ada, not_run):
    notebook = cells_of(ada)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, 1):
        cell["execution_count"] = count
    assert "order" not in str(handin.check_file(write(ada, notebook))[0])
    code[3]["execution_count"] = 99
    assert "not run in their order" in str(handin.check_file(write(ada, notebook))[0])
    notebook["cells"].reverse()
    assert "cells were moved" in str(handin.check_file(write(ada, notebook))[0])
    code[4]["source"] = 'grading.start("part1", name="Eve")'
    assert "start(…) in 2 ways" in str(handin.check_file(write(ada, notebook))[0])


def test_a_notebook_of_another_assignment_is_called_so(ada, not_run):
    text = ada.read_text(encoding="utf-8")
    ada.write_text(text.replace('grading.start(\\"part1\\"', 'grading.start(\\"part2\\"'), encoding="utf-8")
    assert handin.check_file(ada)[0].problems == ("Its questions are those of part1, but its first cell starts part2.",)
    other = ada.with_name("my part2 (1).ipynb")
    other.write_text(text, encoding="utf-8")
    said = "Its file is called my part2 (1).ipynb, but it is the homework part1."
    assert handin.check_file(other)[0].problems == (said,)


def test_the_placeholder_no_name_and_no_id_are_named(ada, not_run):
    text = ada.read_text(encoding="utf-8")
    ada.write_text(text.replace("Ada Lovelace", "your name"), encoding="utf-8")
    (report,) = handin.check_file(ada)
    assert "still 'your name'" in report.problems[0]
    ada.write_text(text.replace(', id=\\"s7\\"', ""), encoding="utf-8")
    (report,) = handin.check_file(ada)
    assert "There is no ID in it" in report.notes[0]
    assert not report.problems
    ada.write_text(text.replace("Ada Lovelace", " "), encoding="utf-8")
    assert "no name" in handin.check_file(ada)[0].problems[0]
    assert "only .ipynb and .zip" in handin.check_file(ada.rename(ada.with_suffix(".json")))[0].problems[0]


def test_each_notebook_of_a_zip_has_a_report(tmp_path, not_run):
    (tmp_path / "a.zip").write_bytes(zipped(**{"a.ipynb": hostile.notebook("Ada"), "b.ipynb": b"{}"}))
    ada, broken = handin.check_file(tmp_path / "a.zip")
    assert (ada.name, ada.questions[0].state, ada.questions[2].state) == ("Ada", "not run", "missing")
    assert broken.file.endswith("a.zip/b.ipynb")


@pytest.mark.parametrize(
    ("cell", "filled"),
    [
        ("land = ...", False),
        ("...\nland = ...\nprint(land)", False),
        ("land: int", True),
        ("land = 3", True),
        ("land = ...\nland = 3", True),
        ("def land(a):\n    ...", False),
        ("def land(a):\n    'text'\n    pass", False),
        ("def land(a):\n    return a", True),
        ("land, b = 1, 2", True),
        ("for land in [1]:\n    pass", True),
        ("from x import land", True),
        ("%time land = 3\nprint(land)", False),
        ("land = (", True),
        ("", False),
    ],
)
def test_whether_an_answer_is_there_is_read_without_running(cell, filled):
    assert handin._fills(handin._parsed(cell), "land") == filled


# --- points so far, tries ---------------------------------------------------------------------------------------------


def test_each_check_says_the_points_so_far(tmp_path, capsys):
    homework.start("part1", name="Ada", data=tmp_path)
    assert str(homework.check("q1", ...)).startswith("q1: not yet. 0 of 24 points so far.\n  Expected")
    right = homework.check("q1", lambda codes, code, side_m: float((codes == code).sum()) * side_m**2 / 10_000)
    assert str(right) == "q1: right. 2 of 24 points so far."
    assert homework.check("q1", 3).points == 0
    assert capsys.readouterr().out.count("of 24 points so far") == 3


def test_tries_are_counted_over_sessions_and_what_is_no_choice_is_not(tmp_path, capsys):
    homework.start("part1", name="Ada", data=tmp_path)
    for answer in (..., 3, object(), "", [1, 2, 3]):
        homework.check("q7", answer)
    assert homework.check("q7", ("a", 1)).attempt == homework.check("q7", ["A ", "1"]).attempt == 1
    homework.start("part1", name="Ada", data=tmp_path)  # as after a restart of the kernel
    assert homework.check("q7", "b, 1").attempt == 2
    assert homework.check("q8", ("b", 1)).attempt == 1
    homework.start("part1", name="Bob", data=tmp_path)
    assert homework.check("q7", ("c", 1)).attempt == 1
    (tmp_path / "no").touch()
    for letter, attempt in (("a", 1), ("b", 2)):  # where nothing can be written, the session remembers
        homework.start("part1", name="Ada", data=tmp_path / "no" / "folder")
        assert homework.check("q7", (letter, 2)).attempt == attempt


@pytest.mark.parametrize("language", translation.languages())
def test_tries_are_read_from_what_check_prints_in_any_language(tmp_path, capsys, language):
    homework.start("part1", name=f"Ada {language}", data=tmp_path)
    with translation.speaking(language):
        for answer in (("a", 1), ("a", 2), ("b", 2)):
            homework.check("q7", answer)
    printed = capsys.readouterr().out.split("q7")
    assert [submission.TRIES.findall(f"q7{text}") for text in printed[1:]] == [
        [("q7", "")], [("q7", "2")], [("q7", "3")]
    ]  # fmt: skip


def test_a_report_is_in_the_language_of_its_notebook(tmp_path, sample, monkeypatch):
    monkeypatch.setenv("ARSET_DATA", str(sample))
    made = hostile.notebook("Ada", 'import arsetlib; arsetlib.language("es")', "hectares = 3")
    (report,) = handin.check_file(write(tmp_path / "part1.ipynb", json.loads(made)))
    said = str(report)
    assert "q1  0 de 2  todavía no: Se esperaba una función llamada hectares" in " ".join(said.split("\n"))
    assert "Conviene saber:" in said
    assert [question.state for question in report.questions][:3] == ["not yet", "right", "missing"]


def test_the_csv_tells_the_tries_that_the_notebook_says(tmp_path):
    made = json.loads(
        hostile.notebook(
            "Ada", 'grading.check("q7", layout)', 'grading.check("q8", rerun)', "print('q1: right (attempt 9).')"
        )
    )
    said = [
        "q7: not yet (attempt 3). 2 of 24 points so far.\n  Expected",
        "q8: right. 5 of 24 points so far.",
        "q1: right (attempt 9).",
    ]
    for cell, text in zip(made["cells"][2:], said, strict=True):
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text.splitlines(True)}]
    (one,) = submission.read(write(tmp_path / "a.ipynb", made))
    assert one.tries == {"q7": 3, "q8": 1}
    grades.write_csv(tmp_path / "g.csv", [marking.Mark("a", tries=one.tries)])
    assert "q7: 3 | q8: 1" in (tmp_path / "g.csv").read_text()


@pytest.mark.parametrize(
    "outputs", [3, [3], [{"text": 3}], [{"data": 3}], [{"data": {"text/plain": {}}}], {"a": 1}, None]
)
def test_outputs_of_any_form_break_nothing(tmp_path, outputs):
    made = json.loads(hostile.notebook("Ada"))
    made["cells"][0] |= {"outputs": outputs, "execution_count": outputs, "id": outputs}
    (one,) = submission.read(write(tmp_path / "a.ipynb", made))
    assert (one.problem, one.runs[0], one.tries) == ("", 3 if outputs == 3 else 0, {})


# --- names in file names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "Jose\u0301 Nu\u0301n\u0303ez/part1.ipynb",  # as a Mac writes it
        "José Núñez_1234_assignsubmission_file_/part1.ipynb",  # as Moodle
        "josé_núñez-part1.ipynb",
        "x/JOSÉ NÚÑEZ (2) part1.ipynb",
        "con_s7-2_part1.ipynb",
        "S7-2 part1.ipynb",
    ],
)
def test_a_path_names_a_learner_in_any_spelling_of_a_file_system(path):
    roster = (Learner("José Núñez", "s7-2"), Learner("Ana", "s7"), Learner("=Bo<b>:?", "2"))
    course = gradebook.Course("c", {"part1": None}, roster=roster)
    row = gradebook._owned(grades.Row(Learner(""), "", 0, 0, path), course)
    assert (row.learner, row.assignment) == (roster[0], "part1")


def test_a_path_that_names_two_learners_names_none():
    course = gradebook.Course("c", {"part1": None}, roster=(Learner("Ana", "s7"), Learner("Bob", "s8")))
    for path in ("s7_s8_part1.ipynb", "s77_part1.ipynb", "Anatol/part1.ipynb"):
        assert gradebook._owned(grades.Row(Learner(""), "", 0, 0, path), course).learner == Learner("")


@given(st.text(max_size=400))
def test_a_text_is_a_file_name_everywhere(text):
    name = submission.file_name(text)
    assert len(name.encode()) <= 120
    assert not set(name) & set('<>:"/\\|?*. \0')
