"""What all commands of ``arset`` have in common: the lists of commands, errors in their own words, and Ctrl-C."""

from __future__ import annotations

import io
import re
import signal
import threading
from typing import Any

import typer
from typer.core import TyperGroup

from arsetlib.translation import N_, _

__all__ = ["GROUPS", "Commands", "in_options"]

# Words that typer writes into a help text or an error of usage, and where it writes them; it has no translations.
OWN_WORDS = {
    N_("Usage"): r"^Usage(?=:)",
    N_("Arguments"): r"^Arguments(?=:)",
    N_("Options"): r"^Options(?=:)",
    N_("Commands"): r"^Commands(?=:)",
    N_("OPTIONS"): r"(?<=\[)OPTIONS(?=\])",
    N_("COMMAND [ARGS]..."): r"COMMAND \[ARGS\]\.\.\.",
    N_("required"): r"(?<=\[)required(?=\])",
    N_("default"): r"(?<=\[)default(?=:)",
    N_("Show this message and exit."): r"Show\s+this\s+message\s+and\s+exit\.",
    # Of errors of usage.
    N_("Try"): r"^Try(?= ')",
    N_("for help."): r"(?<=' )for help\.$",
    N_("Missing argument"): r"(?<=^Error: )Missing argument",
    N_("Missing option"): r"(?<=^Error: )Missing option",
    N_("Missing command."): r"(?<=^Error: )Missing command\.",
    N_("No such option"): r"(?<=^Error: )No such option",
    N_("No such command"): r"(?<=^Error: )No such command",
    N_("Possible options"): r"(?<=\()Possible options(?=:)",
    N_("Did you mean"): r"Did you mean(?= .*\?\)?$)",
    N_("Got unexpected extra argument(s)"): r"(?<=^Error: )Got unexpected extra argument(?:s|\(s\))?",
    N_("Invalid value for"): r"(?<=^Error: )Invalid value for",
    N_("requires an argument."): r"requires an argument\.$",
    N_("does not take a value."): r"does not take a value\.$",
    N_("expected a whole number"): r"Input should be a valid integer.*$",
    N_("expected a number"): r"Input should be a valid number.*$",
    N_("expected at least"): r"Input should be greater than or equal to",
    N_("expected at most"): r"Input should be less than or equal to",
    N_("Option"): r"(?<=^Error: )Option(?= ')",
    N_("Error"): r"^Error(?=: )",  # the last one, since others stand behind it
}

# The commands of `arset --help`, in groups.
GROUPS = {
    N_("Data"): ("simulate", "scenes", "ingest", "describe", "check", "audit", "batches", "export"),
    N_("Models"): ("train", "pretrain", "evaluate", "compare", "report"),
    N_("Maps"): ("predict", "sample", "label", "areas", "parcels", "next"),
    N_("Case studies"): ("simulate-groves", "groves", "simulate-fields", "fields"),
    N_("Teaching"): ("homework", "grade", "similarity", "gradebook", "certificate"),
    N_("This machine"): ("doctor", "cache"),
}
# What an argument of a Python function is called among the parameters of a command that has another name for it.
CALLED = {"learning_rate": "rate", "years": "year", "missing": "allow", "head": "kind", "names": "model"}
# Commands that keep what they have finished; the others write their result at the end, all or nothing.
CONTINUED = {
    "simulate", "simulate-groves", "simulate-fields", "scenes", "ingest", "train", "pretrain", "audit", "predict",
    "convert", "grade", "issue",
}  # fmt: skip


def in_options(message: str, command: Any) -> str:
    """A message of the library with the options of a command in place of the arguments of a Python function.

    ``area=…`` becomes ``--area``, ``overwrite=True`` becomes ``--overwrite``, ``size=None`` becomes ``no --size``, and
    ``Expected epochs as …`` becomes ``Expected --epochs as …``. Keys of a study file, ``[labels] crs = …``, stay.

    Args:
        message: Of an error.
        command: A click command.
    """
    options = {p.name: max(p.opts, key=len) for p in command.params if p.param_type_name == "option"}
    options |= {old: options[new] for old, new in CALLED.items() if new in options and old not in options}

    for name in sorted(options, key=len, reverse=True):
        option, word = options[name], rf"(?<![\w\[./?&'\"-]){re.escape(name)}"
        message = re.sub(rf"{word}=({_VALUE})?", lambda found, option=option: _given(option, found[1] or ""), message)
        message = re.sub(rf"(?<!\] ){word} = (?![\"{{\[])", f"{option} ", message)
        if "_" in name:
            message = re.sub(rf"{word}(?![\w=])", option, message)
        message = re.sub(rf"(^|Expected (?:an? )?|and ){re.escape(name)}(?= (?:{_VERBS})\b)", rf"\1{option}", message)
    return message


_VALUE = r"""'[^']*'|"[^"]*"|\([^)]*\)|…|[\w.+-]*\w"""
_VERBS = "must|as|of at least|to be|from|between|above|and [a-z_-]+ must"


def _given(option: str, value: str) -> str:
    """An option and its value as they are typed."""
    if value in ("None", "False"):
        return f"no {option}"
    if value.startswith("("):
        return " ".join(f"{option} {part.strip()}" for part in value[1:-1].split(","))
    if value in ("", "…", "True") or option == "--allow-missing":
        return option
    return f"{option} {value.strip(chr(39) + chr(34))}"


class Commands(TyperGroup):
    """A group of commands whose help shows each summary whole, and the commands of ``arset`` under their headings.

    The help is in the reader's language. An error that ends a command gets this command as its attribute ``command``.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for command in (self, *self.commands.values()):
            if command is self or not isinstance(command, Commands):  # a group has done it itself
                _translate(command)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read what is typed; an error of usage speaks the reader's language."""
        try:
            return super().make_context(*args, **extra)
        except Exception as problem:
            _shows_own_words(problem)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name, and note it for ``invoke``."""
        found = super().resolve_command(ctx, args)
        ctx.meta["arset.command"] = found[1]
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is one sentence and exit code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more ends it at once
            command = ctx.meta.get("arset.command")
            if command is not None and command.name in CONTINUED:
                words = _("stopped. What was finished is kept; the same command continues.")
            else:
                words = _("stopped. Nothing was changed; the same command starts again.")
            typer.echo(f"arset: {words}", err=True)
            raise typer.Exit(130) from None
        except Exception as problem:
            _shows_own_words(problem)
            if not hasattr(problem, "command"):
                problem.command = ctx.meta.get("arset.command")  # type: ignore[attr-defined]
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands into the help text."""
        shown = {name: command for name, command in self.commands.items() if not command.hidden}
        grouped = {title: [name for name in names if name in shown] for title, names in GROUPS.items()}
        if ctx.parent is not None:  # of a group
            grouped = {"Commands": list(shown)}
        for title, names in grouped.items():
            if not names:
                continue
            with formatter.section(_(title) if ctx.parent is None else title):
                formatter.write_dl([(name, shown[name].get_short_help_str(limit=1000)) for name in names], col_max=16)


def _translate(command: Any) -> None:
    """Put the help of a command into the reader's language."""
    command.help = _(command.help or "") or None
    command.epilog = (command.epilog or "").replace("Example:", _("Example:")) or None
    help_text = command.get_help

    def get_help(context: Any) -> str:
        _translate_parameters(command)  # typer adds some after it has made the command
        return _in_own_words(help_text(context))

    command.get_help = get_help
    _translate_parameters(command)


def _translate_parameters(command: Any) -> None:
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = _(parameter.help)
        if parameter.metavar:
            parameter.metavar = _(parameter.metavar)


def _shows_own_words(problem: Any) -> None:
    """Let an error of usage, which shows itself, do so in the reader's language."""
    if show := getattr(problem, "show", None):

        def in_own_words(file: Any = None) -> None:
            text = io.StringIO()
            show(text)
            typer.echo(_in_own_words(text.getvalue()), file=file, err=True, nl=False)

        problem.show = in_own_words


def _in_own_words(text: str) -> str:
    """A text of typer with its own words in the reader's language."""
    for word, place in OWN_WORDS.items():
        text = re.sub(place, _(word), text, flags=re.MULTILINE)
    return text
