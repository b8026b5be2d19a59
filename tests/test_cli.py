"""The command line: the whole path in a shell, one message and an exit code where something is wrong."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from sharing import linked
from typer.main import get_command
from typer.testing import CliRunner

from arsetlib import cli, pixels
from arsetlib.cli.commands import GROUPS
from arsetlib.ingest import IngestError

ALL = get_command(cli.app).commands
COMMANDS = sorted(name for name, c in ALL.items() if not (hasattr(c, "commands") or c.hidden))


def arset(*arguments, folder=None):
    """Run ``arset`` as a shell would."""
    program = [sys.executable, "-c", "from arsetlib.cli import main; main()", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, cwd=folder, timeout=300)


def called(*arguments):
    """Run ``arset`` in this process; faster."""
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def made(delta, tmp_path_factory):
    """A table made by the command line, in this process and without Spark."""
    folder = tmp_path_factory.mktemp("cli")
    study = delta / "two_areas.toml"
    done = called("ingest", study, folder / "pixels", "--master", "none", "--every", 2, "--cache", folder, "--json")
    assert done.exit_code == 0, done.output
    return folder / "pixels", json.loads(done.stdout)


def test_the_path_from_scenes_to_a_report_is_there():
    assert {"simulate", "ingest", "describe", "batches", "train", "evaluate", "report", "predict"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    text = called(command, "--help").output
    assert f"Example: arset {command}" in text


def test_every_command_stands_in_one_group_of_the_help():
    listed = [name for names in GROUPS.values() for name in names]
    assert sorted(listed) == sorted(name for name, command in ALL.items() if not command.hidden)


@pytest.mark.parametrize(
    "group", [(), *((name,) for name, c in ALL.items() if hasattr(c, "commands") and not c.hidden)]
)
def test_no_summary_in_a_list_of_commands_is_cut(group):
    text = called(*group, "--help").output
    text = text[text.index("Options:") :]
    assert text.count(":\n") >= 2  # options and commands
    assert "..." not in text
    assert "…" not in text


def test_a_bar_in_a_log_file_is_a_few_lines(tmp_path):
    done = arset("simulate-fields", tmp_path / "fields", "--fields", 60, "--chips", 4, "--size", 64)
    assert "240/240" in done.stderr
    assert done.stderr.count("chip/s") <= 3


def test_ingest_prints_what_it_made_and_dropped(made):
    path, report = made
    assert report["rows"] == pixels.read(path).num_rows > 0
    assert report["counts"]["observations_dropped_by_scl"] > 0


def test_scenes_tells_how_many_it_found_and_dropped(delta, tmp_path):
    done = called("scenes", delta / "study.toml", "--cache", tmp_path, "--json")
    report = json.loads(done.stdout)
    assert report["scenes"] == report["per_year"]["2021"] > 50
    assert report["dropped"]["older_processing"] > 0
    assert "scenes for" in called("scenes", delta / "study.toml", "--cache", tmp_path).stdout


def test_describe_and_check_read_what_ingest_made(made):
    path, report = made
    words = called("describe", path)
    assert f"{report['rows']:,}" in words.stdout
    assert "SIMULATED" in words.stdout
    assert json.loads(called("describe", path, "--json").stdout)["rows"] == report["rows"]
    assert called("check", path).exit_code == 0


def test_check_exits_1_and_names_the_rule_where_a_row_is_broken(made, tmp_path):
    table = pixels.read(made[0])
    scl = table.column_names.index("scl")
    short = [v.as_py()[:-1] if i == 3 else v.as_py() for i, v in enumerate(table["scl"])]
    broken = table.set_column(scl, table.schema.field("scl"), [short])
    pixels.write(broken.to_batches(), tmp_path / "broken.parquet", pixels.Meta.of(table))
    done = called("check", tmp_path / "broken.parquet")
    assert done.exit_code == 1
    assert "row 3" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ingest", "misissippi_delta", "out"), "did you mean 'mississippi_delta'"),
        (("ingest", "mississippi_delta", "out", "--year", "1999"), "has no year 1999"),
        (("describe", "nowhere"), "nowhere"),
        (("check", "nowhere"), "nowhere"),
        (("simulate", "out", "--scale", "0"), "scale must lie between"),
        (("simulate", "out", "--seed", "-1"), "seed must be"),
        (("simulate", "out", "--year", "1800"), "--year must name"),
        (("report", "nowhere"), "Expected saved predictions at nowhere"),
        (("train", "nowhere", "sample", "--out", "run"), "nowhere"),
        (("train", "t", "sample", "--model", "gru", "--from", "m", "--out", "run"), "leave out --model gru"),
        (("pretrain", "nowhere", "sample", "--out", "run"), "nowhere"),
        (("evaluate", "nowhere", "nowhere", "--side", "all", "--out", "test"), "Expected a model's folder"),
        (("predict", "run", "nowhere", "--start", "120"), "no study called 'nowhere'"),
        (("predict", "run", "data/pixel", "--start", "120"), "no pixel table and no study file at data/pixel"),
    ],
)
def test_a_problem_is_one_message_and_exit_code_1_and_no_traceback(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["arset", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert says in said
    assert said.startswith("arset: ")


def test_a_spark_that_does_not_start_is_one_message(delta, tmp_path):
    done = arset("ingest", delta / "two_areas.toml", "out", "--master", "lcoal", folder=tmp_path)
    assert done.returncode == 1
    assert "\narset: Spark does not start with master 'lcoal': Java ended at once" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_call_exits_2(tmp_path):
    assert arset("ingest", folder=tmp_path).returncode == 2
    assert arset("ingest", "sample", "out", "--evry", "3", folder=tmp_path).returncode == 2


def test_simulate_makes_a_study_that_ingest_reads(tmp_path):
    done = arset("simulate", tmp_path / "d", "--scale", "0.02", "--year", "2021", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["simulated"]
    assert called("scenes", report["study"], "--cache", tmp_path).exit_code == 0


def test_an_error_of_ours_keeps_its_words_where_a_full_disk_led_to_it(monkeypatch, capsys):
    def fail():
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise IngestError("Chunk c1 cannot be written.") from None

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "arset: Chunk c1 cannot be written.\n"


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (OSError(28, "No space left on device", "/data/run/state.npz"), "/data/run/state.npz"),
        (OSError("Unable to flush file (errno = 28, error message = 'No space left on device')"), "where the command"),
        (RuntimeError("Can't write data: No space left on device"), "where the command"),
    ],
)
def test_a_full_disk_is_one_sentence_in_every_command(monkeypatch, capsys, problem, says):
    def fail():
        raise problem

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("arset: The disk is full (")
    assert says in said
    assert "Traceback" not in said


def test_a_folder_that_was_deleted_is_one_sentence(tmp_path):
    code = "import os, sys; os.rmdir(os.getcwd()); sys.argv[1:] = ['doctor']; from arsetlib.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "arset: The folder in which this command runs was deleted. Go to another: cd FOLDER.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of its own")
def test_commands_run_without_standard_streams(tmp_path):
    program = f"exec {shlex.quote(sys.executable)} -c 'from arsetlib.cli import main; main()' --version"
    for closed in ("<&-", "2>&-", "<&- >&- 2>&-"):
        assert subprocess.run(["sh", "-c", f"{program} {closed}"], cwd=tmp_path).returncode == 0, closed


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "/data/px may not be read or written. Change its permissions, or name another place."),
        (errno.EROFS, "/data/px may not be read or written. Change its permissions, or name another place."),
        (errno.ENAMETOOLONG, "The name /data/px is too long. Give a shorter one."),
        (errno.ELOOP, "The links of /data/px lead in a circle. Correct them, or name another place."),
        (errno.ENOENT, "[Errno 2] No such file or directory: '/data/px'"),
    ],
)
def test_what_the_system_refuses_says_what_to_do(monkeypatch, capsys, number, says):
    def fail():
        raise OSError(number, os.strerror(number), "/data/px")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == f"arset: {says}\n"


def test_a_study_whose_bounds_were_edited_gets_an_item_list_of_its_own(delta, tmp_path):
    delta = linked(delta, tmp_path / "delta")
    edited = (delta / "two_areas.toml").read_text(encoding="utf-8")
    (delta / "edited.toml").write_text(edited.replace("every = 1\n", "every = 2\n"), encoding="utf-8")
    first = called("scenes", delta / "two_areas.toml", "--cache", tmp_path, "--json")
    same = called("scenes", delta / "edited.toml", "--cache", tmp_path, "--json")
    bounds = re.sub(r"bounds = \[(\d+), ", lambda found: f"bounds = [{int(found[1]) + 10}, ", edited)
    assert bounds != edited
    (delta / "edited.toml").write_text(bounds, encoding="utf-8")
    moved = called("scenes", delta / "edited.toml", "--cache", tmp_path, "--json")
    folders = [json.loads(done.stdout)["saved"] for done in (first, same, moved)]
    assert folders[0] == folders[1] != folders[2]
    assert called("scenes", delta / "two_areas.toml", "--cache", tmp_path).exit_code == 0
