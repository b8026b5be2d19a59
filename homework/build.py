"""Make the homework from its masters: learners' notebooks, an autograder for otter, solutions.

    python homework/build.py [part1 …] [--out _build/homework] [--hidden FOLDER] [--learners-only]

Masters are notebooks as text, `homework/<language>/<key>.py`, with otter-grader's marks; the docstring of
`arsetlib.grading` explains their form. Test cells are the same for every question, so they are added here. The same
masters give the same bytes. Each solution is run and must pass all its checks.

What is made from a translation stands in a folder of its language: `student/part1`, `student/es/part1`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import sys
import tempfile
import tomllib
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from arsetlib import translation
from arsetlib.grading import hidden_checks, open_homework
from arsetlib.grading.questions import assess
from arsetlib.translation import ENGLISH, N_, words_of

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parent / "arsetlib" / "grading" / "student"  # committed; `arset homework start` copies it
PYPROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
HOME = PYPROJECT["project"]["urls"]["Homepage"]
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in a zip

CONFIG = """# ASSIGNMENT CONFIG
init_cell: false
export_cell: false
check_all_cell: false
run_tests: false
requirements: requirements.txt
autograder_files:
  - hidden/{key}.py
generate:
  pdf: false
  filtering: false
  show_stdout: true
  show_hidden: false
tests:
  files: true
  ok_format: false
"""

WITHOUT_TENSORFLOW = ("part1",)
SETUP = """from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    home = "{home}"
    if "not-set" in home:
        raise RuntimeError("No address yet: the owner of this copy runs make home URL=…")
{extras}    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[{{extras}}] @ git+{{home}}"'
    )

from arsetlib import language

language("{language}")"""
SAID_IN_SETUP = (  # the words of the first cell
    N_("a fresh Colab or Databricks notebook"),
    N_("No address yet: the owner of this copy runs make home URL=…"),
    N_("Colab has one, Databricks has none"),
)
EXTRAS = """    extras = "platform"
"""
TENSORFLOW = """    own = find_spec("tensorflow")  # Colab has one, Databricks has none
    extras = "platform" if own else "platform,platform-tensorflow"
"""

TESTS = """def test_{question}({answer}):
    from arsetlib.grading import require

    require("{key}.{question}", {answer})"""

HIDDEN_TESTS = '''""" # BEGIN TEST CONFIG
hidden: true
""" # END TEST CONFIG
def test_{question}_hidden({answer}):
    from arsetlib.grading import require

    require("{key}.{question}", {answer}, hidden="hidden")'''

END = N_(
    "## Hand in\n\nRun the notebook once more from its top (*Restart and run all*) and save it. In a terminal, "
    "`arset homework check FILE` says whether the file is complete. Hand in this one file, the `.ipynb`.\n\n"
    'Do you use otter-grader? `import otter; otter.Notebook(tests_dir="tests").check_all()` '
    "runs the same checks, whatever this notebook is called."
)


class MasterError(ValueError):
    """A master does not match its assignment."""


def masters() -> list[str]:
    """Keys of the assignments that have a master."""
    from arsetlib.grading import ASSIGNMENTS

    return [key for key in ASSIGNMENTS if master(key, ENGLISH).is_file()]


def master(key: str, language: str) -> Path:
    return HERE / language / f"{key}.py"


def folder_of(key: str, language: str) -> str:
    """Where a notebook stands: of the English master at "part1", of a translation at "es/part1"."""
    return key if language == ENGLISH else f"{language}/{key}"


def setup(key: str, language: str) -> str:
    """The first cell: it installs the library on Colab and Databricks as that of the labs, and sets the language."""
    text = SETUP.format(home=HOME, extras=EXTRAS if key in WITHOUT_TENSORFLOW else TENSORFLOW, language=language)
    for english in SAID_IN_SETUP:
        text = text.replace(english, words_of(language)(english))
    return text


def prepare(key: str, language: str, hidden: Path) -> nbformat.NotebookNode:
    """The master in the form that otter reads: with settings, points and test cells.

    Raises:
        MasterError: Its questions are not those of the assignment.
    """
    notebook = jupytext.read(master(key, language))
    questions = {question.key: question for question in open_homework(key, "anyone").questions}
    hidden_keys = hidden_checks.load(hidden, key)
    cells, asked = [new_raw_cell(CONFIG.format(key=key))], []
    for cell in notebook.cells:
        if cell.cell_type == "raw" and cell.source.startswith("# BEGIN QUESTION"):
            name = re.search(r"^name:\s*(\w+)\s*$", cell.source, re.M)
            if not name or name[1] not in questions:
                raise MasterError(f"{key}: expected one of {', '.join(questions)}, received {cell.source!r}.")
            question = questions[name[1]]
            asked.append(question.key)
            cell.source = f"{cell.source.strip()}\npoints: {question.points}\nall_or_nothing: true\ncheck_cell: false"
        if cell.cell_type == "raw" and cell.source.startswith("# END QUESTION"):
            names = {"key": key, "question": question.key, "answer": question.answer}
            cells += [new_raw_cell("# BEGIN TESTS"), new_code_cell(TESTS.format(**names))]
            if question.key in hidden_keys:
                cells.append(new_code_cell(HIDDEN_TESTS.format(**names)))
            cells += [new_raw_cell("# END TESTS"), cell]
            cells.append(new_code_cell(f'grading.check("{question.key}", {question.answer})'))
            continue
        cells.append(cell)
        if len(cells) == 2:  # after the title
            cells.append(new_code_cell(setup(key, language), metadata={"tags": ["hide-cell"]}))
    if asked != list(questions):
        raise MasterError(f"{key}: expected questions {', '.join(questions)}, received {', '.join(asked)}.")
    cells.append(new_markdown_cell(words_of(language)(END)))
    notebook.cells = cells
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(cells):
        cell.id = f"{key}-{number}"
    return notebook


def assign(key: str, language: str, hidden: Path) -> dict[str, bytes]:
    """Run `otter assign` on a master.

    Returns:
        Path → bytes: student/…, autograder/…, solutions/….
    """
    from otter.assign import main

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "hidden").mkdir()
        if (hidden / f"{key}.py").is_file():
            shutil.copy(hidden / f"{key}.py", work / "hidden")
        else:
            (work / "hidden" / f"{key}.py").write_text("HIDDEN = {}\n", encoding="utf-8")
        (work / "requirements.txt").write_text(f"arsetlib[labs,train,homework] @ git+{HOME}\n", encoding="utf-8")
        nbformat.write(prepare(key, language, hidden), work / f"{key}.ipynb")
        main(str(work / f"{key}.ipynb"), str(work / "out"), no_pdfs=True, no_run_tests=True)
        student, grader = work / "out" / "student", work / "out" / "autograder"
        place = folder_of(key, language)
        files = {f"student/{place}/{key}.ipynb": _clean(student / f"{key}.ipynb", key, _answers(key))}
        for test in sorted((student / "tests").glob("q*.py")):
            files[f"student/{place}/tests/{test.name}"] = _text(test)
        files[f"solutions/{place}/{key}.ipynb"] = _clean(grader / f"{key}.ipynb", key)
        files[f"autograder/{place}/{key}.zip"] = _rezip(next(grader.glob("*autograder*.zip")))
    leak = re.search(r"(BEGIN|END) SOLUTION|# SOLUTION|BEGIN TESTS", files[f"student/{place}/{key}.ipynb"].decode())
    if leak:
        raise MasterError(f"{key}: {leak[0]!r} is left in the learner's notebook. Is a mark of the master misspelt?")
    return files


def solve(key: str, notebook: bytes, hidden: Path) -> list[str]:
    """Run a solution and its checks; returns one line for each problem."""
    import matplotlib as mpl
    from IPython.core.interactiveshell import InteractiveShell

    mpl.use("Agg")
    shell = InteractiveShell.instance()
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in nbformat.reads(notebook.decode(), as_version=4).cells:
            if cell.cell_type == "code":
                result = shell.run_cell(cell.source)
                if not result.success:
                    problem = result.error_in_exec or result.error_before_exec
                    return [f"{key}: the solution stops with {problem!r} in\n{cell.source}"]
    hw, checks = shell.user_ns["hw"], hidden_checks.load(hidden, key)
    wrong = []
    for question in hw.questions:
        more = [checks[question.key]] if question.key in checks else []
        result = assess(question, shell.user_ns.get(question.answer), hw, question.public, *more)
        if not result.ok:
            wrong.append(f"{key}.{result}")
    return wrong


def _answers(key: str) -> dict[str, str]:
    return {question.key: question.answer for question in open_homework(key, "anyone").questions}


def _clean(path: Path, key: str, answers: dict[str, str] | None = None) -> bytes:
    """A notebook without what differs from run to run: cell ids, outputs, otter's and the translation's metadata.

    Args:
        path: The notebook.
        key: The assignment.
        answers: Question → name of its answer. Each gets a line ``name = ...`` to fill in, so that an unfinished
            notebook runs to its end.
    """
    notebook = nbformat.read(path, as_version=4)
    before: list = []
    for cell in notebook.cells if answers else ():
        asked = re.match(r'grading\.check\("(\w+)", (\w+)\)', cell.source)
        if cell.cell_type == "code" and not asked:
            before.append(cell)
        elif asked:
            _add_placeholder(before, answers[asked[1]])
            before = []
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{key}-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": [tag for tag in tags if not tag.startswith("otter")]} if tags else {}
        cell.metadata = {name: value for name, value in cell.metadata.items() if value}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return (nbformat.writes(notebook).rstrip() + "\n").encode()


def _add_placeholder(cells: list, answer: str) -> None:
    if any(re.search(rf"^(def |){answer}\b *[=(,:]", cell.source, re.M) for cell in cells):
        return
    for cell in cells:
        if set(cell.source.split()) == {"..."}:
            cell.source = f"{answer} = ..."
            return
    raise MasterError(f"Expected a cell for the answer {answer} before its check, received none.")


def _text(path: Path) -> bytes:
    return (path.read_text(encoding="utf-8").rstrip() + "\n").encode()


def _rezip(path: Path) -> bytes:
    """The same zip with its files sorted and without times."""
    data = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, old.getinfo(name).external_attr
            new.writestr(entry, old.read(name))
    return data.getvalue()


def _one(key: str, language: str, hidden: Path, learners_only: bool) -> tuple[dict[str, bytes], list[str]]:
    files = assign(key, language, hidden)
    solution = files[f"solutions/{folder_of(key, language)}/{key}.ipynb"]
    return files, [] if learners_only else solve(key, solution, hidden)


def main(arguments: list[str] | None = None) -> int:
    """Make the homework; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*", metavar="part1", help="assignments; by default all")
    parser.add_argument("--out", type=Path, default=Path("_build/homework"))
    parser.add_argument("--hidden", type=Path, default=HERE / "hidden", help="folder of hidden checks")
    parser.add_argument("--shipped", type=Path, default=SHIPPED, help="folder of the library for learners' notebooks")
    parser.add_argument("--learners-only", action="store_true", help="do not run the solutions")
    options = parser.parse_args(arguments)
    keys = options.keys or masters()
    made = [(key, language) for key in keys for language in translation.languages() if master(key, language).is_file()]
    tasks = None if options.learners_only else 1  # each solution gets a new process
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=tasks) as pool:
        jobs = [pool.submit(_one, *one, options.hidden.resolve(), options.learners_only) for one in made]
        results = [job.result() for job in jobs]
    for one, (files, _) in zip(made, results, strict=True):
        for kind in ("student", "autograder", "solutions"):
            shutil.rmtree(options.out / kind / folder_of(*one), ignore_errors=True)
        shutil.rmtree(options.shipped / folder_of(*one), ignore_errors=True)
        for name, content in files.items():
            places = [options.out / name]
            if name.startswith("student/"):
                places.append(options.shipped / name.removeprefix("student/"))
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    wrong = [line for _, lines in results for line in lines]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"Homework {', '.join(folder_of(*one) for one in made)} in {options.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
