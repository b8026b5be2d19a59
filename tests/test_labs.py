"""The labs: pairs in step, nothing stored that a run makes, and each runs as a learner runs it, at a small scale."""

import itertools
import math
import os
import queue
import re
import statistics
import time
from importlib.util import find_spec
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupyter_client.channels import AsyncZMQSocketChannel
from sharing import learners_data

from arsetlib import extras

LABS = Path(__file__).resolve().parents[1] / "labs"
SOURCES = sorted(LABS.glob("*/*.py"))


def by_name(path):
    return f"{path.parent.name}/{path.stem}"


def cells_of(notebook):
    return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]


every_lab = pytest.mark.parametrize("source", SOURCES, ids=by_name)


def test_there_are_labs():
    assert SOURCES


@every_lab
def test_source_and_notebook_hold_the_same_cells(source):
    pair = source.with_suffix(".ipynb")
    assert pair.exists(), f"make it: jupytext --to ipynb {source}"
    same = cells_of(jupytext.read(source)) == cells_of(nbformat.read(pair, 4))
    assert same, f"out of step: jupytext --update --to ipynb {source}"


@every_lab
def test_the_stored_notebook_holds_no_outputs(source):
    for cell in nbformat.read(source.with_suffix(".ipynb"), 4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


FOLDED = {"hide-cell", "hide-input"}  # solutions; drawing and preparing


@every_lab
def test_visible_cells_are_short_half_of_them_at_most_8_lines_none_over_20(source):
    code = [c for c in jupytext.read(source).cells if c.cell_type == "code"]
    visible = [c.source for c in code if not FOLDED & set(c.metadata.get("tags", []))]
    lines = [sum(bool(line.strip()) for line in source.splitlines()) for source in visible]
    assert statistics.median(lines) <= 8
    assert max(lines) <= 20, [s for s, n in zip(visible, lines, strict=True) if n > 20]


@every_lab
def test_a_lab_has_one_title_no_skipped_heading_and_a_folded_solution_for_each_exercise(source):
    cells = jupytext.read(source).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    solutions = [c for c in cells if "hide-cell" in c.metadata.get("tags", [])]
    assert len(solutions) == text.count(":class: exercise")


@every_lab
def test_a_lab_begins_by_looking_at_the_machine_and_asserts_what_it_claims(source):
    code = [c.source for c in jupytext.read(source).cells if c.cell_type == "code"]
    assert "check_env(" in code[0]
    assert sum("assert " in c for c in code) >= len(code) / 3


@pytest.mark.parametrize("language", sorted({source.parent.name for source in SOURCES}))
def test_all_labs_of_a_language_begin_with_the_same_cell(language):
    labs = [jupytext.read(s).cells for s in SOURCES if s.parent.name == language]
    first = {next(c.source for c in cells if c.cell_type == "code") for cells in labs}
    assert len(first) == 1


@pytest.fixture
def awake(monkeypatch):
    """Look for a kernel's answer each second.

    nbclient answers ipywidgets on the very socket on which it waits for the cell's reply, and then may sleep through
    that reply until the cell's time is over (nbclient issue 312).
    """
    plain = AsyncZMQSocketChannel.get_msg

    async def get_msg(self, timeout=None):
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await plain(self, timeout=max(0, min(1, end - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= end:
                    raise

    monkeypatch.setattr(AsyncZMQSocketChannel, "get_msg", get_msg)


# What there is before a lab, of the sample that ``toy`` makes by the same calls in an empty folder; None: nothing.
BEFORE = {"part1_build_dataset": "delta-toy", "case_groves": None, "case_fields": None}


def silent_cells(notebook: nbformat.NotebookNode) -> tuple[list[str], int]:
    """First lines of the cells that show nothing, and the number of all cells of code, without solutions."""
    code = [c for c in notebook.cells if c.cell_type == "code" and "hide-cell" not in c.metadata.get("tags", [])]
    return [c.source.splitlines()[0] for c in code if not c.outputs], len(code)


@pytest.mark.labs
@pytest.mark.spark
@every_lab
def test_a_lab_runs_and_its_asserts_hold(source, tmp_path, monkeypatch, awake, request):
    from nbclient import NotebookClient

    if source.stem == "real_place" and find_spec("nrt") is None:
        pytest.skip(f"its images are in an extra. Install it: {extras.install('real')}")
    data = tmp_path / "data"
    if parts := BEFORE.get(source.stem, "*"):
        learners_data(request.getfixturevalue("toy"), data, parts)
    for name, value in {"ARSET_SCALE": "small", "ARSET_DATA": str(data), "JUPYTER_PLATFORM_DIRS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ARSET_BOOK", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(LABS.parent), os.environ.get("PYTHONPATH", "")]).rstrip(":"))
    notebook = nbformat.read(source.with_suffix(".ipynb"), 4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(source.parent)}}
    ).execute()  # raises at the first cell that fails
    silent, cells = silent_cells(notebook)
    assert len(silent) <= cells / 3, f"too many cells show nothing: {silent}"
