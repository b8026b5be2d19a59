"""The lists of commands in the help of ``arset`` and its groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

__all__ = ["GROUPS", "Commands"]

# The commands of `arset --help`, in groups.
GROUPS = {
    "Data": ("simulate", "scenes", "ingest", "describe", "check", "batches", "export"),
    "Models": ("train", "evaluate", "report"),
    "Maps": ("predict",),
    "Case studies": ("simulate-groves", "groves", "simulate-fields", "fields"),
    "Teaching": ("homework", "grade", "similarity", "gradebook", "certificate"),
    "This machine": ("doctor",),
}


class Commands(TyperGroup):
    """A group of commands whose help shows each summary whole, and the commands of ``arset`` under their headings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands into the help text."""
        shown = {name: command for name, command in self.commands.items() if not command.hidden}
        grouped = {title: [name for name in names if name in shown] for title, names in GROUPS.items()}
        if ctx.parent is not None:  # of a group
            grouped = {"Commands": list(shown)}
        for title, names in grouped.items():
            if not names:
                continue
            with formatter.section(title):
                formatter.write_dl([(name, shown[name].get_short_help_str(limit=1000)) for name in names], col_max=16)
