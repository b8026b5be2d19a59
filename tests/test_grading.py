"""`arset grade`: what hostile submissions gain (nothing), and that honest ones keep theirs."""

import csv
import errno
import importlib
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from few import make_table
from homework.hostile_cells import SECRET
from hypothesis import given
from hypothesis import strategies as st

from arsetlib import pixels
from arsetlib.grading import (
    answers,
    certificate,
    grader,
    grades,
    hidden_checks,
    limits,
    marking,
    protocol,
    sandbox,
    seccomp,
    submission,
)
from arsetlib.grading.homework import HomeworkError, open_homework
from arsetlib.grading.worker import Worker
from homework import hostile

simulated = importlib.import_module("arsetlib.simulate.delta")  # the package names its function so
REPOSITORY = Path(__file__).resolve().parents[1]
LIMITS = limits.Limits(seconds=5, memory_mb=700, disk_mb=64, processes=24, files=3000)
if sandbox.find_bwrap() is None and os.environ.get("CI"):  # a kernel that allows no sandbox is no fault of ours
    pytest.fail(f"Continuous integration tests the sandbox. {sandbox.why_unprotected()}", pytrace=False)
needs_sandbox = pytest.mark.skipif(bool(sandbox.why_unprotected()), reason=sandbox.why_unprotected())


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Sample data as the homework knows them, with a small table in place of the real one."""
    folder = tmp_path_factory.mktemp("sample") / "data"
    delta = folder / "delta-toy"
    delta.mkdir(parents=True)
    (delta / "study.toml").write_text(simulated.study_text(1, 0.05), encoding="utf-8")
    simulated._write_labels(delta, 1, 0.05, (2019, 2020, 2021))
    (delta / "_manifest.json").touch()
    study = open_homework("part1", "nobody", folder).study
    table = make_table(900)
    area = pa.array(np.where(np.arange(900) % 2, "box_6", "box_7"), table.schema.field("area").type)
    table = table.set_column(table.schema.get_field_index("area"), table.schema.field("area"), area)
    work = folder / f"lab1-{study.key}-{study.fingerprint()}"
    pixels.write(table, work / "pixels", pixels.Meta.of(table))
    return folder


def solved(name: str, assignment: str = "part1", language: str = "en") -> bytes:
    """A master with its solutions, as the notebook of a learner."""
    text = (REPOSITORY / "homework" / language / f"{assignment}.py").read_text(encoding="utf-8")
    blocks = text.replace("your name", name).split("\n# %%")[1:]
    cells = [] if language == "en" else [f'from arsetlib import language\n\nlanguage("{language}")']
    cells += [block.partition("\n")[2] for block in blocks if block[:2] not in (" [", "[m")]
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


@pytest.fixture(scope="module")
def batch(tmp_path_factory, data):
    """Every hostile submission with honest ones between them, graded at once."""
    place = tmp_path_factory.mktemp("batch")
    folder, private, outside = place / "submissions", place / "private", place / "outside"
    for path in (folder / "another", private, outside):
        path.mkdir(parents=True)
    (private / "own.ipynb").write_bytes(hostile.notebook("the grader's own"))
    (private / "secret.txt").write_text(SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = hostile.hostile(
            secrets=(folder, folder / "honest_first.ipynb", private, private / "secret.txt", REPOSITORY / "homework",
                     REPOSITORY / "homework" / "hidden" / "part1.py", REPOSITORY / "tests", REPOSITORY / ".git",
                     place / "grades.csv", place / "grades-logs", Path.home() / ".bashrc", Path.home() / ".ssh"),
            elsewhere=(folder, outside, place, REPOSITORY),
            port=listener.getsockname()[1],
        )  # fmt: skip
        for key, one in made.items():
            hostile.write(folder, key, one)
        for name in ("honest_first", "zz_honest_last"):
            (folder / f"{name}.ipynb").write_bytes(solved(name.replace("_", " ")))
        (folder / "another" / "homework (1).ipynb").write_bytes(solved("Ñandú 陳"))
        before = state(folder, private, outside, data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ARSET_TEST_SECRET", SECRET)
            began = time.monotonic()
            found = grader.grade(
                folder, out=place / "grades.csv", hidden=REPOSITORY / "homework" / "hidden", data=data, jobs=4,
                limits=LIMITS, progress=False,
            )  # fmt: skip
            print(f"{len(found.marks)} submissions in {time.monotonic() - began:.1f} s")
    after = state(folder, private, outside, data)
    rows = {row["submission"]: row for row in csv.DictReader(io.StringIO(found.path.read_text(encoding="utf-8")))}
    return {"rows": rows, "made": made, "grades": found, "changed": before ^ after, "left": left(data)}


def state(*folders: Path) -> set:
    """Every file: its name, size and when it was changed."""
    found = set()
    for folder in folders:
        for path in folder.rglob("*"):
            if "__pycache__" not in path.parts:
                held = path.lstat()
                found.add((str(path), held.st_size if not path.is_dir() else 0, held.st_mtime_ns))
    return found


def left(data: Path) -> str:
    """The sandboxes that still see these data, once they had the time to end."""
    for _ in range(50):
        listed = subprocess.run(["ps", "-eo", "pid,stat,args"], capture_output=True, text=True).stdout.splitlines()
        found = [line for line in listed if "bwrap" in line and str(data) in line and " Z" not in line]
        if not found:
            return ""
        time.sleep(0.1)
    return "\n".join(found)


def rows_of(batch, key: str) -> list[dict]:
    return [row for name, row in batch["rows"].items() if name.partition(".")[0] in (key, f"{key}-that says 1 kB")
            or name.partition("/")[0].partition(".")[0] == key]  # fmt: skip


ENDLESS = ("endless_loop", "endless_and_holds_on")  # ended by their seconds of the processor, if they get them in time
KEYS = tuple(hostile.hostile(secrets=(), elsewhere=(), port=1))


@needs_sandbox
@pytest.mark.parametrize("key", KEYS)
def test_a_hostile_submission_ends_with_no_points_or_those_it_earned(batch, key):
    rows, one = rows_of(batch, key), batch["made"][key]
    assert rows, f"{key} has no row"
    if key in ENDLESS and any(mark.again and mark.submission == f"{key}.ipynb" for mark in batch["grades"].marks):
        pytest.skip("this machine was so busy that the clock stopped it before its share of the processor was spent")
    for row in rows:
        points = int(row["total"])
        assert points in ((0, hostile.EARNED) if one.points is None else (one.points,)), row
        assert one.reason in row["reason"], row
        assert points == hostile.EARNED or row["reason"], row
        if row["log"]:
            log = (batch["grades"].logs / row["log"]).read_text(encoding="utf-8")
            assert "LEAK" not in log.replace('print("LEAK', ""), log
            assert SECRET not in log


@needs_sandbox
@pytest.mark.parametrize("name", ["honest_first.ipynb", "zz_honest_last.ipynb", "another/homework (1).ipynb"])
def test_honest_submissions_of_the_same_batch_get_all_their_points(batch, name):
    row = batch["rows"][name]
    assert (int(row["total"]), int(row["of"])) == (24, 24), row


@needs_sandbox
def test_nothing_outside_of_a_sandbox_was_changed_and_nothing_still_runs(batch):
    assert not batch["changed"]
    assert not [*REPOSITORY.glob("planted*"), *(REPOSITORY / "arsetlib").rglob("planted*")]
    assert not batch["left"]


@needs_sandbox
def test_only_what_the_clock_stopped_is_tried_again(batch):
    again = {mark.submission for mark in batch["grades"].marks if mark.again}
    assert again - {f"{key}.ipynb" for key in ENDLESS} == {"stops_itself.ipynb", "endless_sleep.ipynb"}


@pytest.fixture
def few(tmp_path) -> Path:
    """Three small submissions: right, half right, and one that is no notebook."""
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "ada.ipynb").write_bytes(hostile.notebook("Ada"))
    (folder / "blas.ipynb").write_bytes(hostile.notebook("Blas", "hectares = 1\nprint('blas was here')"))
    (folder / "cy.ipynb").write_bytes(b"{}")
    return folder


def graded(folder, data, out="grades.csv", **options):
    return grader.grade(folder, out=folder.parent / out, data=data, limits=LIMITS, progress=False, **options)


@needs_sandbox
def test_the_same_submissions_get_the_same_bytes_and_only_what_changed_is_run_again(few, data):
    first = graded(few, data, jobs=1)
    other = graded(few, data, "other.csv", jobs=3)
    assert first.path.read_bytes() == other.path.read_bytes()
    assert [(one.learner, one.total) for one in first.marks] == [("Ada", 6), ("Blas", 4), ("", 0)]
    assert list(first.marks[0].reasons) == ["q3", "q4", "q5", "q6", "q7", "q8"]  # in the order of the notebook
    again = graded(few, data)
    assert again.reused == 3
    assert again.path.read_bytes() == other.path.read_bytes()
    (few / "blas.ipynb").write_bytes(hostile.notebook("your name"))
    changed = graded(few, data)
    assert (changed.reused, changed.marks[1].learner, changed.marks[1].total) == (2, "", 6)
    assert "still 'your name'" in changed.marks[1].reason
    checks = few.parent / "checks.zip"
    with zipfile.ZipFile(checks, "w") as held:
        held.writestr("mine/part1.py", "def none(answer, hw):\n    raise ValueError\nHIDDEN = {'q1': none}")
    hidden = graded(few, data, hidden=checks)
    assert (hidden.reused, hidden.marks[0].total) == (0, 4)
    assert "With other data" in hidden.marks[0].reasons["q1"]


@needs_sandbox
def test_a_notebook_that_ends_the_grader_takes_no_other_of_its_zip_with_it(few, data):
    with zipfile.ZipFile(few / "class.zip", "w") as held:
        for name in ("Abel", "Bad", "Eve"):
            held.writestr(f"{name}/part1.ipynb", hostile.notebook(name))
    checks = few.parent / "checks"
    checks.mkdir()
    (checks / "part1.py").write_text(
        "import os\ndef end(answer, hw):\n    hw.name == 'Bad' and os._exit(3)\nHIDDEN = {'q1': end}"
    )
    found = graded(few, data, hidden=checks, jobs=2)
    ours = [one for one in found.marks if one.submission.startswith("class.zip")]
    assert [(one.learner, one.total, one.of) for one in ours] == [("Abel", 6, 24), ("Bad", 0, 24), ("Eve", 6, 24)]
    assert "ended the grader's own process" in ours[1].reason
    assert len(found.marks) == 6
    assert graded(few, data, hidden=checks).reused == 4


@needs_sandbox
def test_a_stopped_run_keeps_what_is_finished_and_leaves_nothing_running(few, data):
    (few / "zz_long.ipynb").write_bytes(hostile.notebook("Zoe", "import time; time.sleep(50)"))
    out = few.parent / "grades.csv"
    command = [str(Path(sys.executable).with_name("arset")), "grade", str(few), "--out", str(out), "--jobs", "1"]
    running = subprocess.Popen(
        [*command, "--seconds", "60"], env=os.environ | {"ARSET_DATA": str(data)}, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 300
    while len(list(few.parent.glob("grades-logs/*.json"))) < 3 and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    words = running.communicate(timeout=30)[1]
    assert running.returncode == 130, words
    assert "What was finished is kept" in words
    rows = out.read_text().splitlines()[1:]
    assert [row.partition(".")[0] for row in rows] == ["ada", "blas", "cy", "zz_long"]
    assert ["Not graded yet" in row for row in rows] == [False, False, False, True]
    assert not left(data)


def test_without_a_sandbox_nothing_is_run_unless_told_to_trust(few, data, monkeypatch):
    monkeypatch.setattr(sandbox, "why_unprotected", lambda: "bubblewrap is not installed.")
    with pytest.raises(sandbox.SandboxError, match=r"Refusing to run submissions unprotected.*--trust"):
        graded(few, data)
    with pytest.raises(sandbox.SandboxError, match="Refusing"):
        sandbox.Sandbox(LIMITS, sandbox.View(data))
    assert not (few.parent / "grades.csv").exists()


def test_trusted_submissions_are_graded_without_a_sandbox(few, data, monkeypatch, tmp_path):
    for place in ("bin", "empty"):
        (tmp_path / place).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))  # as on a machine without bubblewrap
    monkeypatch.setattr(sandbox, "find_bwrap", lambda: None)
    sandbox.why_unprotected.cache_clear()
    try:
        assert "NO sandbox" in sandbox.protection()
        (few / "dee.ipynb").write_bytes(hostile.notebook("Dee", "while True: pass"))
        assert [one.total for one in graded(few, data, trust=True, jobs=1).marks] == [6, 4, 0, 6]
    finally:
        sandbox.why_unprotected.cache_clear()


@needs_sandbox
@pytest.mark.parametrize(("seen_as", "named"), [("data", "data"), ("link", "data"), ("data", "link")])
def test_private_files_inside_of_what_is_seen_are_not_seen(tmp_path, seen_as, named):
    (tmp_path / "data" / "checks").mkdir(parents=True)
    (tmp_path / "data" / "checks" / "part1.py").write_text(SECRET)
    (tmp_path / "data" / "grades.csv").write_text(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    view = sandbox.View(tmp_path / seen_as, (tmp_path / named / "checks", tmp_path / named / "grades.csv"))
    command = ["/bin/sh", "-c", f"ls -R {tmp_path / seen_as}; cat {tmp_path / seen_as / 'grades.csv'} | wc -c;"
               f"grep -c '{seen_as}/checks ro,' /proc/self/mountinfo"]  # fmt: skip
    seen = subprocess.run(
        [*sandbox._bwrap_command(LIMITS, view), *command], capture_output=True, text=True, check=True
    ).stdout
    assert "part1.py" not in seen
    assert seen.split()[-2:] == ["0", "1"]  # empty, and nobody can fill it


def test_a_filter_of_system_calls_jumps_to_where_its_labels_are():
    denied, found = {number for numbers in seccomp.DENIED.values() for number in numbers[:1]}, {}
    lines = list(struct.iter_unpack("<HBBI", seccomp.filter_program("x86_64")))

    def result(number, arch=0xC000003E, first=0):
        at, held, words = 0, 0, {0: number, 4: arch, 16: first}
        while True:
            operation, yes, no, value = lines[at]
            at += 1
            if operation == seccomp.LOAD:
                held = words[value]
            elif operation == seccomp.RETURN:
                return value
            else:
                so = {seccomp.EQUAL: held == value, seccomp.ATLEAST: held >= value, seccomp.ANY: held & value}[
                    operation
                ]
                at += yes if so else no

    found = {number for number in range(470) if result(number) == seccomp.ERROR | errno.EPERM}
    assert found == denied | {seccomp.SOCKET[0]}  # a socket of family 0
    assert result(seccomp.CLONE3[0]) == seccomp.ERROR | errno.ENOSYS
    assert result(seccomp.CLONE[0], first=17) == result(seccomp.SOCKET[0], first=1) == seccomp.ALLOW
    assert result(seccomp.CLONE[0], first=0x10000011) == result(0x40000000) == seccomp.ERROR | errno.EPERM
    assert result(0, arch=0x40000003) == seccomp.KILL
    assert seccomp.filter_program("riscv64") is None


@pytest.mark.parametrize(
    "body", [b'{"a": NaN}', b"[1]", b'"a"', b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1} x', b""]
)
def test_what_is_no_strict_message_is_refused(body):
    with pytest.raises(protocol.ProtocolError):
        protocol.parse(body)


def test_messages_pass_a_pipe_and_end_with_it():
    ours, theirs = os.pipe()
    protocol.send(theirs, {"id": "é", "value": [1, None]})
    assert protocol.receive(ours) == {"id": "é", "value": [1, None]}
    os.close(theirs)
    with pytest.raises(protocol.ProtocolError, match="ended"):
        protocol.receive(ours)
    os.close(ours)


def test_submissions_are_found_by_name_without_what_programs_leave(tmp_path):
    for name in (
        "b.ipynb",
        "a/x.IPYNB",
        "a/y.zip",
        ".ipynb_checkpoints/b.ipynb",
        "__MACOSX/c.zip",
        "a/._x.ipynb",
        "n.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in submission.find(tmp_path)]
    assert found == ["a/x.IPYNB", "a/y.zip", "b.ipynb"]
    with pytest.raises(submission.SubmissionError, match="no notebook"):
        submission.find(tmp_path / "empty")


def test_the_start_of_a_notebook_is_read_beside_magics(tmp_path):
    cells = ("%pip install x\nfrom arsetlib import grading\n!ls\nhw = grading.start('part2', name=' Ada  L ')", "1 +")
    held = {"cells": [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]}
    (tmp_path / "a.ipynb").write_text("\ufeff" + json.dumps(held), encoding="utf-8")
    (one,) = submission.read(tmp_path / "a.ipynb")
    assert (one.assignment, one.learner, one.problem) == ("part2", "Ada L", "")
    assert one.cells == cells


def test_a_cell_of_the_csv_never_starts_a_formula(tmp_path):
    made = [marking.Mark("=a.ipynb", "+1", "part1", {"q1": 2, "q10": 1}, 3, {"q1": "a\nb\x1b[2J\u202e"}, "\t@x", "-l")]
    grades.write_csv(tmp_path / "g.csv", made)
    (row,) = csv.DictReader(io.StringIO((tmp_path / "g.csv").read_text(encoding="utf-8")))
    assert [row[name] for name in ("submission", "learner", "log")] == ["'=a.ipynb", "'+1", "'-l"]
    assert row["reason"] == "' @x | q1: a b [2J "
    first = ["submission", "learner", "id", "assignment", "handed_in"]
    assert list(row) == [*first, "q1", "q10", "total", "of", "tries", "reason", "log"]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("a;=1+1", "a;'=1+1"),
        ('a; "@x', "a; \"'@x"),
        ("\uff1d1+1", "'\uff1d1+1"),
        (" -1", "' -1"),
        ("right; wrong - 1", "right; wrong - 1"),
    ],
)
def test_a_cell_of_the_csv_starts_no_formula_where_cells_end_at_semicolons_or_signs_are_wide(tmp_path, text, held):
    grades.write_csv(tmp_path / "g.csv", [marking.Mark("a.ipynb", text)])
    (row,) = csv.DictReader(io.StringIO((tmp_path / "g.csv").read_text(encoding="utf-8")))
    assert row["learner"] == held


def test_a_file_that_cannot_be_graded_counts_as_handed_in_with_0_points(tmp_path):
    problem = "The call start(…) has no name in it."
    worker = object.__new__(Worker)
    one = worker.mark_notebook("a.ipynb", submission.Notebook("", (), "part1", "Ada", problem))
    assert (one.total, one.of, one.reason) == (0, 24, problem)
    grades.write_csv(tmp_path / "g.csv", [one])
    assert grades.best_points([tmp_path / "g.csv"]) == {grades.Learner("Ada"): {"part1": (0, 24)}}


def test_names_that_are_no_text_have_logs_of_their_own(tmp_path):
    batch = object.__new__(grader._Batch)
    batch.logs = tmp_path
    assert batch.path_of("a\udcff.ipynb", ".log") != batch.path_of("a\udcfe.ipynb", ".log")


@pytest.mark.parametrize(
    "coded",
    [
        {"!": "array", "dtype": ",".join(["i1"] * 1_000_000), "shape": [0], "v": ""},
        {"!": "array", "dtype": "<U0", "shape": [1 << 30], "v": ""},
        {"!": "array", "dtype": "<U999999999", "shape": [0], "v": ""},
        {"!": "frame", "index": None, "rows": 0, "columns": [[None, []]] * 500_000},
        {"!": "series", "v": [1], "name": None, "index": {  # what pandas has an error of its own for
            "names": [None], "levels": [{"!": "array", "dtype": "<f2", "shape": [1], "v": "AAA="}]}},
    ],
)  # fmt: skip
def test_a_value_that_would_take_minutes_or_gigabytes_is_refused_at_once(coded):
    began = time.process_time()
    with pytest.raises(answers.AnswerError):
        answers.decode(coded)
    assert time.process_time() - began < 1


def test_a_family_of_processes_is_found_and_measured():
    with subprocess.Popen(["sh", "-c", "sleep 5 & sleep 5"]) as parent:
        time.sleep(0.3)
        found = limits.process_tree(parent.pid)
        assert len(found) == 3
        assert limits.usage(parent.pid)[0] == 1
        for pid in reversed(found):
            os.kill(pid, signal.SIGKILL)
    assert limits.usage(parent.pid) == (0, 0.0, 0)


def below(pid: int) -> list[int]:
    """Processes that a process started, and theirs."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout.split()
    pairs = list(zip(map(int, listed[::2]), map(int, listed[1::2]), strict=True))
    found = [pid]
    for one in found:
        found += [child for child, parent in pairs if parent == one]
    return found[1:]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_sandbox
@pytest.mark.parametrize("trust", [False, True])
def test_a_grader_that_is_killed_leaves_no_process(tmp_path, data, trust):
    (tmp_path / "in").mkdir()
    code = "while True: pass" if not trust else "import time\ntime.sleep(500)"
    (tmp_path / "in" / "a.ipynb").write_bytes(hostile.notebook("Ada", code))
    command = [str(Path(sys.executable).with_name("arset")), "grade", str(tmp_path / "in"), "--jobs", "1"]
    environment = os.environ | {"ARSET_DATA": str(data)}
    if trust:  # as on a machine without bubblewrap
        (tmp_path / "bin").mkdir()
        command, environment["PATH"] = [sys.executable, *command, "--trust"], str(tmp_path / "bin")
    grader_ = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until, ours = time.monotonic() + 60, []
    while not any("notebook_runner.py" in line for line in map(command_line, ours)) and time.monotonic() < until:
        time.sleep(0.1)
        ours = below(grader_.pid)
    time.sleep(0.5)
    ours = below(grader_.pid)
    assert any("notebook_runner.py" in line for line in map(command_line, ours)), grader_.stderr.read1().decode()
    grader_.send_signal(signal.SIGKILL)
    grader_.communicate(timeout=30)
    until = time.monotonic() + 10
    while any(map(runs, ours)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [command_line(pid) for pid in ours if runs(pid)]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


@needs_sandbox
def test_grading_leaves_nothing_where_it_is_called_but_the_grades_and_their_logs(few, data, monkeypatch, tmp_path):
    monkeypatch.delenv("ARSET_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(data, Path("grades-logs") / grader.SAMPLE)  # as a run that was killed leaves it
    found = grader.grade(few, out="grades.csv", limits=LIMITS, progress=False)
    assert [one.total for one in found.marks] == [6, 4, 0]
    assert sorted(path.name for path in Path().iterdir()) == ["grades-logs", "grades.csv"]
    assert {path.suffix for path in Path("grades-logs").iterdir()} == {".json", ".log"}


TEXTS = st.text(st.sampled_from("'=+-@ ;\"ax\uff1d"), max_size=8)


@given(TEXTS, TEXTS)
def test_two_texts_never_become_one_cell_and_each_comes_back(one, other):
    assert (grades._escape(one) == grades._escape(other)) == (one == other)
    assert grades._unescape(grades._escape(one)) == one
    assert not grades.FORMULA.match(grades._escape(one)) or grades._escape(one).startswith("'")


def test_learners_called_like_each_others_cells_stay_two_in_the_csv_and_on_certificates(tmp_path):
    names = ["=1", "'=1", "''=1", "a;=1", "a;'=1", "Ada"]
    made = [marking.Mark(f"{i}.ipynb", name, key, {"q1": 1}, 1) for key in certificate.ASSIGNMENTS
            for i, name in enumerate(names)]  # fmt: skip
    grades.write_csv(tmp_path / "g.csv", made)
    done, missing = certificate.passed([tmp_path / "g.csv"])
    assert (sorted(one.name for one in done), missing) == (sorted(names), {})


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8-sig", ","), ("utf-8-sig", ";"), ("utf-16", "\t")])
def test_grades_that_a_spreadsheet_saved_again_are_read(tmp_path, encoding, delimiter):
    rows = [["submission", "learner", "assignment", "total", "of"]]
    rows += [["a.ipynb", "Íñigo", key, "1", "1"] for key in certificate.ASSIGNMENTS]
    text = "".join(delimiter.join(row) + "\r\n" for row in rows)
    (tmp_path / "g.csv").write_bytes(text.encode(encoding))
    assert list(certificate.passed([tmp_path / "g.csv"])[0]) == [grades.Learner("Íñigo")]


def test_names_of_files_that_differ_stay_different_in_the_csv():
    names = ["a b.ipynb", "a\x01b.ipynb", "a\nb.ipynb", "a\u202eb.ipynb", "A b.ipynb", "a b.ipynb ", "a\udcffb.ipynb"]
    assert len(set(map(submission.display_name, names))) == len(names)
    assert submission.display_name("a b.ipynb") == "a b.ipynb"


def test_a_damaged_zip_of_hidden_checks_is_one_clear_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "checks.zip", "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr("mine/part1.py", "HIDDEN = {}\n" + "# words\n" * 500)
        held.writestr("__MACOSX/mine/part1.py", b"\0")  # what a Mac adds
    assert hidden_checks.load(tmp_path / "checks.zip", "part1") == {}
    data = bytearray((tmp_path / "checks.zip").read_bytes())
    data[60:64] = b"\xff\xff\xff\xff"
    (tmp_path / "checks.zip").write_bytes(data)
    with pytest.raises(HomeworkError, match="checks.zip is damaged"):
        hidden_checks.load(tmp_path / "checks.zip", "part1")


@pytest.mark.parametrize("assignment", ["part1", "fields"])
def test_learners_of_two_languages_get_the_same_grade_and_each_reads_their_own(data, tmp_path, assignment):
    (tmp_path / "in").mkdir()
    hw = open_homework(assignment, "Ada", data)
    wrong = next(question for question in hw.questions if question.kind == "reasoned").answer
    for language in ("en", "es"):
        notebook = json.loads(solved("Ada", assignment, language))
        (tmp_path / "in" / f"{language}-all.ipynb").write_text(json.dumps(notebook))
        more = f"{wrong} = 3\n{hw.questions[0].answer} = None\n1 / 0"
        notebook["cells"].append({"cell_type": "code", "metadata": {}, "outputs": [], "source": more})
        (tmp_path / "in" / f"{language}-some.ipynb").write_text(json.dumps(notebook))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARSET_LANGUAGE", "")
        found = grader.grade(
            tmp_path / "in", out=tmp_path / "grades.csv", data=data, limits=limits.Limits(seconds=60), progress=False,
            trust=bool(sandbox.why_unprotected()),
        )  # fmt: skip
    marks = {mark.submission.removesuffix(".ipynb"): mark for mark in found.marks}
    for language in ("en", "es"):
        assert (marks[f"{language}-all"].total, marks[f"{language}-all"].reasons) == (hw.points, {}), language
    english, spanish = marks["en-some"], marks["es-some"]
    assert spanish.points == english.points
    assert 0 < english.total < hw.points
    assert spanish.reasons.keys() == english.reasons.keys()
    assert all(reason.startswith("Expected") for reason in english.reasons.values())
    assert all(reason.startswith("Se esperaba") for reason in spanish.reasons.values())
    assert ("Cell" in english.reason, "Celda" in spanish.reason) == (True, True)
    assert (english.reason.count("better one counts"), spanish.reason.count("cuenta la mejor")) == (1, 1)
