"""Messages in the words of the command line, and what Ctrl-C does."""

import os
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from arsetlib import cli
from arsetlib.cli.commands import Commands, in_options


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        elif not command.hidden:
            yield " ".join((*path, name)), command


ALL = dict(commands(typer.main.get_command(cli.app)))
OPTIONS = [
    (name, parameter.name, max(parameter.opts, key=len))
    for name, command in ALL.items()
    for parameter in command.params
    if parameter.param_type_name == "option"
]


@pytest.mark.parametrize(("command", "name", "option"), OPTIONS)
def test_every_option_is_named_as_it_is_typed(command, name, option):
    for text in (f"Name one, {name}=…: a or b.", f"Expected {name} as a number, received 3.", f"{name} must be 3."):
        said = in_options(text, ALL[command])
        assert option in said
        assert f" {name}=" not in said


@pytest.mark.parametrize(
    ("command", "python", "shell"),
    [
        ("predict", "Name one area to predict, area=…: the table has a, b.",
         "Name one area to predict, --area: the table has a, b."),
        ("ingest", "Give either every= (a regular grid) or per_class= (a number per class), not both.",
         "Give either --every (a regular grid) or --per-class (a number per class), not both."),
        ("ingest", "every and per_class must be at least 1; got every=0, per_class=None.",
         "--every and --per-class must be at least 1; got --every 0, no --per-class."),
        ("train", "Expected a learning_rate above 0, such as 0.001, received -1.",
         "Expected a --rate above 0, such as 0.001, received -1."),
        ("train", "or allow it with missing='allow'", "or allow it with --allow-missing"),
        ("simulate", "years must name one or more of 2018-2035, got [1]. Try years=(2019, 2020).",
         "--year must name one or more of 2018-2035, got [1]. Try --year 2019 --year 2020."),
        ("fields train", "No image has exactly one class. Use kind='multi'.",
         "No image has exactly one class. Use --kind multi."),
        ("predict", "Expected smooth = 'majority' or 'bayes', received 'x'.",
         "Expected --smooth 'majority' or 'bayes', received 'x'."),
        # keys of files, words and places that only look like one
        ("ingest", "Set [labels] resolution = 30.",
         "Set [labels] resolution = 30."),
        ("simulate-groves", "Set [labels] resolution = 30.", "Set [labels] resolution = 30."),
        ("ingest", "https://host/GetFile?year=2021&bbox=1", "https://host/GetFile?year=2021&bbox=1"),
        ("groves check", "state it: [classes.ground] with colour and size = \"x\"",
         "state it: [classes.ground] with colour and size = \"x\""),
    ],
)  # fmt: skip
def test_messages_of_the_library_in_the_words_of_the_command(command, python, shell):
    assert in_options(python, ALL[command]) == shell


@pytest.mark.parametrize(
    ("arguments", "says", "not_says"),
    [
        (
            ["simulate", "d", "--scale", "0"],
            "--scale must lie between",
            "scale must lie between 0.005 and 400, got 0.0. It is an area: 2",
        ),
        (
            ["ingest", "sample", "out", "--every", "2", "--per-class", "3", "--master", "none"],
            "either --every",
            "every=",
        ),
        (["simulate-groves", "g", "--captures", "0"], "--captures must lie", " captures must"),
        (["simulate-fields", "f", "--jobs", "0"], "Expected --jobs", "Expected jobs"),
    ],
)
def test_an_error_names_the_options_of_its_command(tmp_path, monkeypatch, capsys, delta, arguments, says, not_says):
    monkeypatch.chdir(tmp_path)
    arguments = [str(delta / "two_areas.toml") if word == "sample" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["arset", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert says in said
    assert not_says not in said


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_is_one_sentence_and_exit_code_130(kept):
    app = typer.Typer(cls=Commands)

    @app.callback()
    def group():
        pass

    @app.command("ingest" if kept else "describe")
    def command():
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        done = CliRunner().invoke(app, ["ingest" if kept else "describe"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130
    assert done.output == (
        "arset: stopped. What was finished is kept; the same command continues.\n" if kept
        else "arset: stopped. Nothing was changed; the same command starts again.\n"
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="no signal to a group of processes there")
def test_ctrl_c_in_a_command_with_processes_says_one_sentence_and_the_same_command_continues(tmp_path):
    command = [sys.executable, "-c", "from arsetlib.cli import main; main()", "simulate-fields", "f", "--fields", "100"]
    command += ["--chips", "1", "--size", "64", "--jobs", "2"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(tmp_path.glob("f/field_masks/*")):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "Traceback" not in said
    assert said.endswith("\narset: stopped. What was finished is kept; the same command continues.\n")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("f/field_masks/*.png"))) == 100
