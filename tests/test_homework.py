"""Homework as a learner meets it: own numbers, checks in words, notebooks in step with their masters, otter beside."""

import contextlib
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from arsetlib import translation
from arsetlib.cli import app
from arsetlib.grading import answers, hidden_checks, homework, notebooks, objectives, questions
from arsetlib.grading.homework import ASSIGNMENTS, HomeworkError
from arsetlib.grading.questions import Question, Wrong, assess

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))

import translations  # noqa: E402

SHIPPED = ROOT / "arsetlib" / "grading" / "student"


def script(name: str):
    """A script of the folder homework, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "homework" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# --- a learner's own numbers ------------------------------------------------------------------------------------------


def test_a_name_draws_the_same_numbers_on_every_machine():
    assert homework.open_homework("part1", "Ada Lovelace").rng().integers(10**9) == 611395038
    assert homework.open_homework("part2", "Ada Lovelace").rng().integers(10**9) != 611395038


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_numbers_depend_on_the_name_and_are_plain(assignment):
    ada, same, bob = (homework.open_homework(assignment, name).draw for name in ("Ada Ñ", " Ada  N\u0303 ", "Bob"))
    assert answers.same(ada, same)
    assert not answers.same(ada, bob)


def test_starting_without_a_name_or_with_another_assignment_says_what_there_is():
    with pytest.raises(HomeworkError, match="There is: part1, part2, part3, part4, groves, fields"):
        homework.open_homework("part9", "Ada")
    with pytest.raises(HomeworkError, match='name="Ada Lovelace"'):
        homework.open_homework("part1", "  ")


def test_assignments_side_by_side_share_one_sample(tmp_path, monkeypatch):
    monkeypatch.delenv("ARSET_DATA", raising=False)
    (tmp_path / "part1" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "part1")
    assert homework.open_homework("part1", "Ada").data == tmp_path / "data"
    monkeypatch.chdir(tmp_path / "part1" / "deep")
    assert homework.open_homework("part1", "Ada").data == tmp_path / "part1" / "deep" / "data"
    (tmp_path / "data" / "delta-toy").mkdir(parents=True)
    assert homework.open_homework("part1", "Ada").data == tmp_path / "data"
    monkeypatch.setenv("ARSET_DATA", "elsewhere")
    assert homework.open_homework("part1", "Ada").data == Path("elsewhere")


def test_the_homework_loads_neither_spark_nor_tensorflow():
    code = "import sys; from arsetlib import grading; grading.start; grading.check; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"pyspark", "tensorflow", "keras", "pandas", "matplotlib", "IPython"} & set(done.stdout.split())


# --- what a check says ------------------------------------------------------------------------------------------------


def coded(check, seconds=0.3):
    return Question("q1", "plus", "coded", 2, ("1.1",), "1. Here", check, seconds)


def adds_one(answer, hw):
    questions.equal(questions.array(answer([1, 2]), shape=(2,)), np.array([2, 3]), of="plus([1, 2])", hint="Lab 2")


@pytest.mark.parametrize("right", [lambda x: [i + 1 for i in x], lambda x: np.array(x) + 1, lambda x: pd.Series(x) + 1])
def test_a_right_function_of_any_style_passes(right):
    assert assess(coded(adds_one), right, None).ok


def changes(x):
    x.append(3)
    return [2, 3]


def never_ends(x):
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x: x, r"Expected plus\(\[1, 2\]\) to be \[2, 3\], received \[1, 2\]. Lab 2."),
        (lambda x: [2, 3, 4], r"shape \(2\), received \(3,\)"),
        (lambda x: [[2], [3, 4]], "rows that differ in length"),
        (lambda x: ["2", "3"], "array of numbers"),
        (changes, "plus changed its arguments"),
        (never_ends, r"plus took more than 0\.3 s"),
        (lambda x: x[9], r"plus\(\[1, 2\]\) raised IndexError: list index out of range"),
        (lambda x: None, "returned nothing"),
        (lambda x: object(), "received a value of type object"),
        (lambda: 1, "raised TypeError"),
        (3, "Expected a function called plus, received 3"),
        (..., "Expected a function called plus"),
        (dict, "Expected a function called plus"),
    ],
)
def test_a_wrong_function_is_told_what_is_wrong(wrong, says):
    found = assess(coded(adds_one), wrong, None)
    assert not found.ok
    assert re.search(says, found.message), found.message


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "nothing yet"),
        (..., "nothing yet"),
        ("12", "received '12'"),
        (math.nan, "divided by zero"),
        (math.inf, "divided by zero"),
        (True, "received True"),
        ([1, 2], "received \\[1, 2\\]"),
        (np.arange(3), "received \\[0, 1, 2\\]"),
        (7.5, "a whole number"),
        (11, "from 0 to 10"),
    ],
)
def test_what_is_no_number_is_told_so(value, says):
    with pytest.raises(Wrong, match=says):
        questions.number(value, low=0, high=10, whole=True)
    assert questions.number(np.float32(7), low=0, high=10, whole=True) == 7


def test_close_tells_the_side_and_not_the_answer():
    questions.close(100.05, 100, rel=1e-3)
    with pytest.raises(Wrong, match=r"Expected a smaller number, received 120 ha\. See there\.") as said:
        questions.close(120.0, 100.0, unit="ha", hint="See there")
    assert "100" not in str(said.value)
    with pytest.raises(Wrong, match="a larger number"):
        questions.close(1, 2)


def test_a_table_may_come_with_its_key_as_index():
    made = pd.DataFrame({"crop": ["corn", "rice"], "ha": [1.0, 2.0]})
    for answer in (made, made.set_index("crop"), made[["ha", "crop"]], made.to_dict("list"), made.to_dict("records")):
        assert questions.table(answer, ["crop", "ha"], rows=2).equals(made)
    with pytest.raises(Wrong, match="Expected a column 'ha', received columns crop, area"):
        questions.table(made.rename(columns={"ha": "area"}), ["crop", "ha"])
    with pytest.raises(Wrong, match="2 rows"):
        questions.table(made.iloc[:1], ["crop", "ha"], rows=2)
    with pytest.raises(Wrong, match="a table with columns"):
        questions.table("corn", ["crop", "ha"])


def test_a_choice_is_a_letter_and_the_number_of_its_reason():
    for answer in (("b", 2), ["B ", "2"], "b, 2"):
        assert questions.choice(answer, "abc", "123") == ("b", "2")
    assert questions.choice("C", "abc") == ("c", "")
    for answer in (None, ..., "b", ("b",), ("d", 1), ("b", 4), ("bc", 1), 3, {"b": 2}, ("", ""), ("b", 1, 2)):
        with pytest.raises(Wrong, match=r'Expected a pair such as \("a", 1\)'):
            questions.choice(answer, "abc", "123")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([1, 2.0], (1.0, 2), True),
        (np.array([1.0, np.nan]), np.array([1, np.nan]), True),
        (math.nan, math.nan, True),
        (1, True, False),
        ({"a": [1]}, {"a": [1.0]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ("1", 1, False),
        (np.array([1, 2]), [1, 2], True),
        ([[1], [2, 3]], np.array([1, 2]), False),
    ],
)
def test_equal_looks_at_values_and_not_at_containers(one, other, alike):
    if alike:
        questions.equal(one, other)
    else:
        with pytest.raises(Wrong):
            questions.equal(one, other)


def test_check_prints_and_never_raises_for_an_answer(capsys):
    homework._started.clear()
    with pytest.raises(HomeworkError, match=r'call start\("part1", …\)'):
        homework.check("q1", 3)
    homework.start("part1", name="Ada")
    capsys.readouterr()
    for answer in (None, ..., 3, object(), lambda: 3, lambda *a: object(), len, "x" * 10**6, np.zeros(3), float):
        found = homework.check("part1.q1", answer)
        assert not found.ok
        assert capsys.readouterr().out == f"q1: not yet. 0 of 24 points so far.\n  {found.message}\n"
        assert len(found.message) < 1000
    assert found._ipython_display_() is None
    with pytest.raises(HomeworkError, match="no question 'q99'"):
        homework.check("q99", 3)
    with pytest.raises(HomeworkError, match="No homework part2 was started"):
        homework.check("part2.q1", 3)


def test_check_counts_the_different_choices_that_were_tried(capsys, tmp_path):
    homework.start("part1", name="Ada", data=tmp_path)
    capsys.readouterr()
    for answer, attempt in ((("a", 1), ""), (("a", 1), ""), (("a", 2), " (attempt 2)"), (("b", 2), " (attempt 3)")):
        homework.check("q7", answer)
        assert capsys.readouterr().out.startswith((f"q7: not yet{attempt}. ", f"q7: right{attempt}. "))


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_nothing_at_all_is_no_right_answer_to_anything(assignment):
    hw = homework.open_homework(assignment, "Ada", ROOT / "no such folder")
    for question in hw.questions:
        for answer in (None, ..., object):
            found = assess(question, answer, hw)
            assert not found.ok
            assert "The check cannot read" not in found.message


# --- plain values -----------------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates(), st.datetimes(),
    st.integers(-9, 9).map(np.int16), st.just(np.datetime64("2021-07-01")),
)  # fmt: skip
arrays = st.one_of(
    st.lists(st.floats(width=32)).map(lambda values: np.array(values, "<f4")),
    st.lists(st.integers(0, 255)).map(lambda values: np.array(values, "u1").reshape(1, -1)),
    st.lists(st.text()).map(lambda values: np.array(values, "U3")),
)
values = st.recursive(
    scalars | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_a_plain_value_comes_back_through_json(value):
    coded = json.loads(json.dumps(answers.encode(value)))
    assert answers.encode(answers.decode(coded)) == coded
    assert answers.same(answers.plain(value), value)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pd.DataFrame({"a": [1.5, math.nan]}, index=pd.Index(["u", "v"], name="k")),
        pd.DataFrame({("a", 1): [1]}).T,
        pd.DataFrame({"n": [1, 2, 3]}).groupby([[0, 0, 1], ["x", "y", "x"]]).sum(),
        pd.DataFrame(),
        pd.DataFrame({"c": pd.Categorical(["a", "b"]), "d": pd.array([1, None], "Int64")}),
        pd.DataFrame([[1, 2]], columns=["twice", "twice"]),
    ],
)
def test_a_table_comes_back_with_its_columns_and_index(frame):
    back = answers.plain(frame)
    assert isinstance(back, pd.DataFrame)
    assert list(back.columns) == list(frame.columns)
    assert list(back.index) == list(frame.index)
    assert back.astype(object).where(back.notna(), None).to_numpy().tolist() == (
        frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    )


@pytest.mark.parametrize(
    "value",
    [object(), print, int, 1j, np.array([object()]), np.zeros(3, "c16"), [[[]] * 3, Path("x")], np.ma.array([1])],
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(answers.AnswerError):
        answers.encode(value)


def test_values_are_of_a_bounded_size_and_depth():
    deep = []
    for _ in range(50):
        deep = [deep]
    for value in (deep, np.zeros(answers.MAX_BYTES + 1, "u1"), "x" * (answers.MAX_BYTES + 1), [0] * 3_000_000):
        with pytest.raises(answers.AnswerError):
            answers.encode(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["!", "v", "dtype", "shape", "columns", "index", "names", "rows"]), inner)
        | st.fixed_dictionaries(
            {
                "!": st.sampled_from(
                    ["int", "float", "array", "frame", "series", "set", "dict", "date", "scalar", "bytes"]
                )
            },
            optional={"v": inner, "dtype": st.sampled_from(["O", "<f8", "V9", "x"]), "shape": inner, "index": inner},
        )
    ),
    max_leaves=6,
)


@given(json_values)
def test_what_was_not_encoded_is_decoded_or_refused_but_breaks_nothing(coded):
    with contextlib.suppress(answers.AnswerError):
        answers.decode(coded)


# --- notebooks --------------------------------------------------------------------------------------------------------


def test_masters_make_exactly_the_notebooks_that_are_shipped(tmp_path):
    command = [sys.executable, "homework/build.py", "--learners-only", "--shipped", tmp_path / "new"]
    done = subprocess.run([*command, "--out", tmp_path / "out"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "new") == files(SHIPPED), "run `make homework` and commit arsetlib/grading/student"
    for key, place in [(one, place) for one in ASSIGNMENTS for place in (one, f"es/{one}")]:
        with zipfile.ZipFile(tmp_path / "out" / "autograder" / place / f"{key}.zip") as grader:
            assert f"files/hidden/{key}.py" in grader.namelist()
            assert {entry.date_time for entry in grader.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            # otter refuses a notebook without its metadata where the assignment has a name, and platforms drop them.
            assert not json.loads(grader.read("otter_config.json")).get("assignment_name")


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.suffix in (".ipynb", ".py")
    }


LANGUAGES = translation.languages()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_each_assignment_is_there_in_every_language_with_the_same_code(assignment, language):
    english, own = (ROOT / "homework" / code / f"{assignment}.py" for code in ("en", language))
    assert own.is_file()
    assert list(translations.code_problems(english, language)) == []
    notebooks_of = [nbformat.read(file, as_version=4) for file in notebook_files(assignment, ("en", language))]
    codes = [
        [translations.masked(cell.source) for cell in one.cells if cell.cell_type == "code"] for one in notebooks_of
    ]
    assert codes[0] == codes[1]
    assert f'language("{language}")' in notebooks_of[1].cells[1].source


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_draw_is_the_same_in_every_language_but_for_its_words(assignment, language):
    hw = homework.open_homework(assignment, "Ada")

    def masked(value):
        if isinstance(value, dict):
            return {key if key != translation.words_of(language)("all else") else "all else": masked(one)
                    for key, one in value.items()}  # fmt: skip
        return "" if isinstance(value, str) and " " in value else value

    assert masked(hw.drawn(language)) == masked(hw.drawn("en"))
    if language != "en":
        choices = [(key, letter) for key, one in hw.drawn("en").items() if isinstance(one, dict) and "a" in one
                   for letter in "abcd"]  # fmt: skip
        assert choices
        assert all(hw.drawn(language)[key][letter] != hw.drawn("en")[key][letter] for key, letter in choices)


def notebook_files(assignment: str, languages=LANGUAGES) -> list[Path]:
    return [SHIPPED / ("" if code == "en" else code) / assignment / f"{assignment}.ipynb" for code in languages]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_learners_notebook_holds_no_solution_and_asks_every_question(assignment, language):
    notebook = nbformat.read(notebook_files(assignment, [language])[0], as_version=4)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert not re.search("SOLUTION|BEGIN|hidden", text)
    asked = re.findall(r'^grading\.check\("(\w+)", (\w+)\)$', text, re.M)
    hw = homework.open_homework(assignment, "Ada")
    assert asked == [(question.key, question.answer) for question in hw.questions]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            compile(cell.source, assignment, "exec")
    assert 5 <= len(hw.questions) <= 8
    assert {question.kind for question in hw.questions} == {"computed", "coded", "reasoned"}


def arset(*words):
    return CliRunner().invoke(app, ["homework", *map(str, words)])


def test_start_gives_the_notebook_in_the_readers_language(tmp_path, monkeypatch):
    for language, title in (("en", "# Homework 1"), ("es", "# Tarea 1")):
        monkeypatch.setenv(translation.VARIABLE, language)
        arset("start", "part1", "--seed", "Ada", "--out", tmp_path / language)
        written = tmp_path / language / "part1" / "part1.ipynb"
        assert notebooks.started(written) == ("part1", "Ada", "")
        assert nbformat.read(written, as_version=4).cells[0].source.startswith(title)
    assert "Tarea 1: de las escenas" in arset("list").output


def test_start_writes_the_name_and_keeps_work_that_is_there(tmp_path):
    name = 'Ada "Ñ" \\ Lovelace'
    assert arset("start", "--seed", name, "--out", tmp_path).exit_code == 0
    for key in ASSIGNMENTS:
        assert notebooks.started(tmp_path / key / f"{key}.ipynb") == (key, name, "")
        assert list((tmp_path / key / "tests").glob("q*.py"))
    place = tmp_path / "part1" / "part1.ipynb"
    place.write_text(place.read_text(encoding="utf-8").replace("Question 1", "My work"), encoding="utf-8")
    again = arset("start", "part1", "--seed", name, "--out", tmp_path)
    assert "exists already, kept as it is" in again.output
    assert "My work" in place.read_text(encoding="utf-8")
    assert "is the homework of" in str(arset("start", "part1", "--seed", "Bob", "--out", tmp_path).exception)
    assert "control character" in str(arset("start", "part1", "--seed", "A\u202eda", "--out", tmp_path).exception)
    assert "your name" in str(arset("start", "part1", "--seed", "your name", "--out", tmp_path).exception)


def test_an_id_draws_other_numbers_and_stands_in_the_notebook(tmp_path):
    made = notebooks.write(["part1"], "Ana García", tmp_path, id="s17")
    assert notebooks.started(made[0][0]) == ("part1", "Ana García", "s17")
    draws = [homework.open_homework("part3", "Ana García", tmp_path, id).rng().random() for id in ("", "s17", "s18")]
    assert len(set(draws)) == 3
    with pytest.raises(homework.HomeworkError, match="without spaces"):
        homework.open_homework("part1", "Ana", id="s 17")


def test_list_tells_questions_and_points():
    said = json.loads(arset("list", "--json").output)
    assert [row["key"] for row in said] == list(ASSIGNMENTS)
    assert all(row["points"] >= 20 for row in said)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('hw = grading.start("part1", name="Ada")', ("part1", "Ada", "")),
        ("x = 1\nhw = start(name='A', assignment='part2')", ("part2", "A", "")),
        ('start("part1", "Ada", id="s1")', ("part1", "Ada", "s1")),
        ('start("part1", "Ada", id=me)', None),
        ('start("part1", "Ada")', ("part1", "Ada", "")),
        ('start("part1", name=input())', None),
        ('start("part1"', None),
        ("%matplotlib inline", None),
        ("(" * 5000, None),
    ],
)
def test_a_name_is_read_without_running_the_notebook(source, found):
    assert homework.read_start(source) == found


def test_ours_and_otters_checks_agree_in_a_renamed_notebook(tmp_path):
    made = notebooks.write(["part1"], "Ada", tmp_path)
    made[0][0].rename(tmp_path / "part1" / "my copy (2).ipynb")
    code = """
import otter
from arsetlib import grading

hw = grading.start("part1", name="Ada")
grader = otter.Notebook(tests_dir="tests")

def hectares(codes, code, side_m):
    return (codes == code).sum() * side_m**2 / 10_000

print(grading.check("q1", hectares).ok, grader.check("q1").grade)

def hectares(codes, code, side_m):
    return (codes == code).sum() * 0.09

found = grader.check("q1")
print(grading.check("q1", hectares).ok, found.grade, grading.check("q1", hectares).message in repr(found))
"""
    shutil.copy(SHIPPED / "part1" / "tests" / "q1.py", tmp_path / "part1" / "tests" / "q1.py")
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path / "part1", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "True 1\n" in done.stdout
    assert "False 0 True" in done.stdout


# --- hidden checks ----------------------------------------------------------------------------------------------------


def test_hidden_checks_come_from_a_folder_or_a_zip(tmp_path):
    (tmp_path / "part1.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n  a: int\nHIDDEN = {'q1': A}"
    )
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as packed:
        packed.write(tmp_path / "part1.py", "checks/part1.py")
    for where in (tmp_path, tmp_path / "mine.zip"):
        assert list(hidden_checks.load(where, "part1")) == ["q1"]
        assert hidden_checks.load(where, "part2") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("HIDDEN = {'q99': print}", "a check for 'q99'"),
        ("HIDDEN = {'q1': 3}", "no function for 'q1'"),
        ("1 / 0", "received ZeroDivisionError"),
        ("", "received AttributeError"),
    ],
)
def test_a_file_of_hidden_checks_that_does_not_fit_is_named(tmp_path, text, says):
    (tmp_path / "part1.py").write_text(text)
    with pytest.raises(HomeworkError, match=rf"part1\.py.* {says}"):
        hidden_checks.load(tmp_path, "part1")
    with pytest.raises(HomeworkError, match="a folder or a zip"):
        hidden_checks.load(tmp_path / "part1.py", "part1")


# --- objectives -------------------------------------------------------------------------------------------------------


def test_no_objective_without_a_section_an_exercise_and_a_question():
    matrix = script("matrix")
    labs = {lab: matrix.headings(lab) for lab in matrix.existing_labs()}
    asked = objectives.questions_by_objective()
    table = objectives.load()
    assert set(asked) == set(table), "a question names an objective that is not in the table"
    for key, objective in table.items():
        assert objective.sections, key
        assert objective.exercises or objective.predicts, key
        assert asked[key], f"no question asks for objective {key}"
        for at, references in enumerate((objective.sections, objective.exercises, objective.predicts)):
            for lab, number in (reference.split() for reference in references):
                if lab in labs:
                    assert number in labs[lab][at], f"{key}: {lab} has no such section, exercise or Predict {number}"


def test_questions_stand_on_sections_of_their_lab():
    matrix = script("matrix")
    for lab in matrix.existing_labs():
        sections = {f"{number}. {title}" for number, title in matrix.headings(lab)[0].items()}
        for question in homework.open_homework(lab, "Ada").questions:
            assert question.section in sections, f"{lab}.{question.key}"


def test_the_page_of_objectives_is_made_from_the_table(monkeypatch):
    matrix = script("matrix")
    for page in sorted((ROOT / "book").glob("*/objectives.md")):
        monkeypatch.setenv(translation.VARIABLE, "")
        assert page.read_text(encoding="utf-8") == matrix.page(page.parent.name), (
            "run `make homework` and commit the page"
        )


def test_what_learners_need_travels_with_the_library_and_masters_do_not():
    built = {path.relative_to(ROOT / "arsetlib").as_posix() for path in (ROOT / "arsetlib").rglob("*")}
    assert "grading/objectives.toml" in built
    for key in ASSIGNMENTS:
        assert {f"grading/student/{key}/{key}.ipynb", f"grading/student/es/{key}/{key}.ipynb"} <= built
    assert not [name for name in built if "hidden/" in name or "solution" in name]
