"""How many wrong answers the homework's checks find, and how long the submissions of a class take to grade.

Right and wrong answers are those of `tests/homework`: each is checked with the public and the hidden check of its
question, for three learners with their own numbers. A wrong answer counts as found if a check says what is wrong.

With ``--quick`` one learner, and no grading: of few submissions, what it costs to begin would be measured.

Submissions are made from the solutions: two in five are all right; in the others an answer is missing, functions return
0, or a cell raises an error. They are graded as by `arset grade`, in sandboxes; their marks must be the expected ones.
"""

import importlib
import importlib.util
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import measure
import nbformat
from nbformat.v4 import new_code_cell

from arsetlib.grading import grader, sandbox

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
run = importlib.import_module("homework.run")  # the answers of the tests

KINDS = ("right", "right", "lacks one", "returns 0", "raises")
CORES = 2


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("homework")
    checks(figures, run.NAMES[:1] if options.quick else run.NAMES)
    if options.quick:
        figures.finish()
        return
    if sandbox.find_bwrap() is None:
        print("No bubblewrap here: grading is not measured.")
    else:
        grading(figures, 200)
    figures.finish()


def checks(figures: measure.Figures, names: tuple[str, ...]) -> None:
    """Share of wrong answers that are found, of right ones that pass."""
    right, wrong = [], []
    for assignment in run.there():
        answers = run.answers(assignment)
        for name in names:
            hw = run.homework(assignment, name)
            right += run.tried(hw, answers.RIGHT)
            wrong += run.tried(hw, answers.WRONG)
    for t in (t for t in wrong if not t.by):
        print(f"  not found: {t.assignment}.{t.question}, {t.answer}")
    for t in (t for t in right if t.by):
        print(f"  right, but refused: {t.assignment}.{t.question}, {t.answer}: {t.message}")
    by = Counter(t.by for t in wrong)
    found = sum(bool(t.by and t.message) for t in wrong)
    sides = {"wrong": len(wrong), "public": by["public"], "hidden": by["hidden"], "learners": len(names)}
    figures.add("wrong_answers_found", 100 * found / len(wrong), goal=95, unit="%", sides=sides)
    for assignment in run.there():
        of = [t for t in wrong if t.assignment == assignment]
        sides = {"wrong": len(of), "public": sum(t.by == "public" for t in of)}
        figures.add(
            f"wrong_answers_found_{assignment}", 100 * sum(bool(t.by) for t in of) / len(of), unit="%", sides=sides
        )
    passed = sum(not t.by for t in right)
    figures.add("right_answers_pass", 100 * passed / len(right), goal=100, unit="%", sides={"right": len(right)})


def grading(figures: measure.Figures, count: int) -> None:
    """Time to grade ``count`` submissions of all assignments, and whether their marks are the expected ones."""
    with tempfile.TemporaryDirectory(prefix="arset-homework-") as folder:
        work = Path(folder)
        expected = make_submissions(work / "submissions", count)
        began = time.perf_counter()
        grades = grader.grade(work / "submissions", out=work / "grades.csv", data=run.DATA, jobs=CORES, progress=False)
        seconds = time.perf_counter() - began
    points = {mark.submission: mark.points for mark in grades.marks}
    for name in expected:
        if points.get(name) != expected[name]:
            print(f"  {name}: expected {expected[name]}, received {points.get(name)}")
    same = sum(points.get(name) == wanted for name, wanted in expected.items())
    sides = {"submissions": count, "seconds": seconds, "jobs": CORES, "cores": os.cpu_count() or 1}
    figures.add("submissions_graded_a_minute", 60 * count / seconds, unit="submissions/min", sides=sides)
    figures.add("marks_as_built_in", 100 * same / count, goal=100, unit="%", sides={"submissions": count})


def make_submissions(folder: Path, count: int) -> dict[str, dict[str, int]]:
    """Write notebooks; returns file → question → points that it has to get."""
    folder.mkdir()
    build = load_build()
    solutions = {}
    for key in run.there():
        files = build.assign(key, "en", ROOT / "homework" / "hidden")
        solutions[key] = files[f"solutions/{key}/{key}.ipynb"].decode()
    expected = {}
    for number in range(count):
        key, kind = run.there()[number % len(solutions)], KINDS[(number + number // len(solutions)) % len(KINDS)]
        notebook = nbformat.reads(solutions[key].replace("your name", f"Learner {number:03d}"), as_version=4)
        questions = run.homework(key).questions
        spoilt = spoil(notebook, kind, questions, number)
        name = f"learner-{number:03d}-{key}.ipynb"
        nbformat.write(notebook, folder / name)
        expected[name] = {q.key: 0 if q.key in spoilt else q.points for q in questions}
    return expected


def spoil(notebook, kind: str, questions, number: int) -> set[str]:
    """Change a solution; returns the questions that are wrong after it."""
    coded = [q for q in questions if q.kind == "coded"]
    others = [q for q in questions if q.kind != "coded"]  # no other answer calls these
    one = others[number % len(others)]
    if kind == "lacks one":
        notebook.cells.append(new_code_cell(f"{one.answer} = ...", id="spoilt"))
        return {one.key}
    if kind == "returns 0":
        lines = "\n".join(f"{q.answer} = lambda *args, **kwargs: 0" for q in coded)
        notebook.cells.append(new_code_cell(lines, id="spoilt"))
        return {q.key for q in coded}
    if kind == "raises":
        notebook.cells.append(new_code_cell("1 / 0", id="spoilt"))
    return set()


def load_build():
    """`homework/build.py` as a module."""
    spec = importlib.util.spec_from_file_location("build_homework", ROOT / "homework" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
