"""The rooms of the library, what imports what, and the drawing of it on the book's architecture page.

A room is a module or package directly in `arsetlib`. `ORDER` names all of them from the ground up: a room imports only
rooms that stand before it. `tests/test_layers.py` holds that, and that there are no circles.
"""

from __future__ import annotations

import ast
import html
import inspect
import re
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "arsetlib"

ORDER = (
    # errors, random numbers, files and variables of the machine
    "errors", "extras", "oldnames", "quiet", "seeds", "translation", "wording", "textfiles", "filetypes",
    "variables", "java", "processes", "checksums", "stores", "doctor",
    # a place and its codes
    "study", "cdl", "sentinel2", "ground",
    # where files live, where work runs
    "web", "leases", "folders", "copies", "engine",
    # scenes and labels
    "catalogue", "labels",
    # the table and its samples
    "pixels", "samples", "embeddings",
    # models, scores, maps
    "evaluation", "models", "training", "ingest", "maps", "parcels", "active", "figures", "audit", "certainty",
    # case studies, simulated places
    "groves", "fields", "simulate",
    # labs, homework, the command
    "lab", "grading", "cli",
)  # fmt: skip


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """The library's modules, without the generated homework and the package's own ``__init__``."""
    every = PACKAGE.rglob("*.py")
    return sorted(f for f in every if f != PACKAGE / "__init__.py" and "student" not in f.parts)


def imported(file: Path) -> set[str]:
    """Dotted names that a module imports when it runs, anywhere in it; relative ones in full."""
    names = set()
    parents = ["arsetlib", *file.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    skipped = {id(node) for block in for_types for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def arrows() -> dict[str, dict[str, set[str]]]:
    """Room → rooms that it imports → the modules that do."""
    known = {room_of(file) for file in files()}
    out: dict[str, dict[str, set[str]]] = {room: {} for room in sorted(known)}
    for file in files():
        room = room_of(file)
        for name in imported(file):
            parts = name.split(".")
            if parts[0] == "arsetlib" and len(parts) > 1 and parts[1] in known - {room}:
                out[room].setdefault(parts[1], set()).add(file.relative_to(PACKAGE).as_posix())
    return out


def imported_by_name() -> dict[str, set[str]]:
    """Module → other rooms whose modules it imports by a name in a string; "any" where the room is not written out."""
    out = {}
    for file in files():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = {
            getattr(node.func, "attr", getattr(node.func, "id", ""))
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
        }
        if "import_module" not in calls:
            continue
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        rooms = {found[1] or "any" for text in texts if (found := re.fullmatch(r"arsetlib\.(\w*)[\w.]*", text))}
        if rooms - {room_of(file)}:
            out[file.relative_to(PACKAGE).as_posix()] = rooms - {room_of(file)}
    return out


def first_line(room: str) -> str:
    """The first line of a room's docstring."""
    file = PACKAGE / f"{room}.py"
    file = file if file.exists() else PACKAGE / room / "__init__.py"
    return inspect.cleandoc(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0]


# -- the drawing ---------------------------------------------------------------------------------------------------


def below(shown: list[str]) -> dict[str, set[str]]:
    """Shown room → shown rooms that it imports, also through rooms that are not shown."""
    direct = arrows()

    def reach(room: str, seen: frozenset = frozenset()) -> set[str]:
        out = set()
        for other in direct[room].keys() - seen:
            out |= {other} if other in shown else reach(other, seen | {other})
        return out

    return {room: reach(room) - {room} for room in shown}


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same graph without arrows that other arrows imply."""

    def all_below(room: str) -> set[str]:
        return graph[room].union(*(all_below(other) for other in graph[room]))

    implied = {room: set().union(*(all_below(other) for other in graph[room])) for room in graph}
    return {room: graph[room] - implied[room] for room in graph}


def drawing(shown: list[str], page_of: Callable[[str], str]) -> str:
    """An SVG: each room above all that it imports; a line leads from a room to the next ones below it.

    Args:
        shown: Rooms.
        page_of: Room → address of its page in the reference.
    """
    graph = below(shown)
    level: dict[str, int] = {}
    for room in sorted(shown, key=ORDER.index):
        level[room] = 1 + max((level[other] for other in graph[room]), default=-1)
    next_below = reduced(graph)
    width, step, wide, high = 760, 74, 104, 34  # of the drawing, a floor and a box, px
    height = step * (max(level.values()) + 1)
    place: dict[str, tuple[float, float]] = {}
    for floor in range(max(level.values()) + 1):
        row = [room for room in shown if level[room] == floor]
        row.sort(key=lambda room: sum(place[o][0] for o in next_below[room]) / max(1, len(next_below[room])))
        for i, room in enumerate(row):
            place[room] = (width * (2 * i + 1) / (2 * len(row)), height - step * (floor + 0.5))
    lines = "".join(
        curve(place[room][0], place[room][1] + high / 2, place[other][0], place[other][1] - high / 2)
        for room in shown
        for other in sorted(next_below[room])
    )
    boxes = "".join(
        f'<a href="{page_of(room)}"><title>{html.escape(first_line(room))}</title>'
        f'<rect x="{x - wide / 2:.0f}" y="{y - high / 2:.0f}" width="{wide}" height="{high}" rx="6"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}">{room}</text></a>'
        for room, (x, y) in place.items()
    )
    words = "; ".join(f"{room} imports {', '.join(sorted(graph[room])) or 'none of them'}" for room in shown)
    return (
        f'<div class="house"><svg viewBox="0 0 {width} {height}" role="group" aria-label="{html.escape(words)}">'
        f"<g>{lines}</g><g>{boxes}</g></svg></div>"
    )


def curve(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0:.0f} {y0:.0f} C{x0:.0f} {y0 + 26:.0f} {x1:.0f} {y1 - 26:.0f} {x1:.0f} {y1:.0f}"/>'
