"""The API reference, made from the docstrings, and the links between it and the labs.

- ``.. room:: groves`` writes the page of `arsetlib.groves`: its docstring, a summary, and every public object. A new
  public object appears by itself; a new module needs a page of one line in `book/<language>/reference` and a line in
  `_toc.yml`.
- ``rooms`` lists the pages with the first line of each docstring.
- Every name of the library in prose, in a docstring or in a code cell becomes a link to its entry, and every entry
  names the labs that use it.

Sphinx's autodoc, napoleon and autosummary do the rest. Nothing is fetched.
"""

from __future__ import annotations

import ast
import functools
import html
import importlib
import inspect
import pkgutil
import posixpath
import re
import types
from pathlib import Path

import jupytext
import languages
from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.domains.python import PyObject
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inventory import InventoryFile
from sphinx.util.nodes import nested_parse_with_titles

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "arsetlib"
SECTIONS = "Args|Arguments|Attributes|Example|Examples|Note|Notes|Raises|Returns|Warns|Yields"


def setup(app):
    for extension in ("sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.autosummary"):
        app.setup_extension(extension)
    app.add_directive("room", Room)
    app.add_directive("rooms", Rooms)
    app.connect("config-inited", set_options)
    app.connect("autodoc-process-docstring", write_rst, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", keep_properties, priority=600)  # after it
    app.connect("doctree-resolved", link_prose)
    app.connect("html-page-context", link_code, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def set_options(app, config):
    config.autosummary_generate = False
    config.autodoc_default_options = {"members": True, "member-order": "bysource"}
    config.autodoc_typehints = "description"
    config.autodoc_typehints_description_target = "documented"
    config.autodoc_typehints_format = "short"
    config.autodoc_type_aliases = {name: name for name in ("ArrayLike", "npt.ArrayLike", "DTypeLike")}
    config.autodoc_preserve_defaults = True
    config.napoleon_numpy_docstring = False
    config.napoleon_use_ivar = True
    config.napoleon_use_rtype = False
    config.add_module_names = False
    config.python_use_unqualified_type_names = True
    config.suppress_warnings = [*config.suppress_warnings, "ref.python"]
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"


# -- what is public ------------------------------------------------------------------------------------------------


def rooms() -> list[str]:
    """The modules of the library that have a page."""
    package = importlib.import_module(LIBRARY)
    return [name for name in package.__all__ if importlib.util.find_spec(f"{LIBRARY}.{name}")]


def public_names(module: types.ModuleType) -> list[str]:
    """``__all__`` in the order of the alphabet, capitals and small letters alike."""
    own = [
        n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", 0) == module.__name__
    ]
    return sorted(getattr(module, "__all__", own), key=str.lower)


@functools.cache
def modules_of(room: str) -> tuple[types.ModuleType, ...]:
    """A room's module, then each module inside it that declares what is public by an ``__all__`` of its own."""
    module = importlib.import_module(f"{LIBRARY}.{room}")
    inner = []
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        file = Path(importlib.util.find_spec(info.name).origin)
        if "__all__" in assigned(file) and ".assignments" not in info.name:  # the answers to the homework
            inner.append(importlib.import_module(info.name))
    return module, *inner


@functools.cache
def assigned(file: Path) -> dict[str, str]:
    """Names that a module assigns at its top → the comment beside or above the assignment."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = {}
    for node in ast.parse("\n".join(lines)).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in getattr(target, "elts", [target]):
                if isinstance(name, ast.Name):
                    comments[name.id] = comment_of(lines, node)
    return comments


def comment_of(lines: list[str], node: ast.stmt) -> str:
    beside = lines[node.end_lineno - 1].partition("  # ")[2].strip()
    if beside and not beside.startswith(("noqa", "fmt:")):
        return beside
    above = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.startswith("# ") or line.startswith("# --"):
            break
        above.insert(0, line.removeprefix("# "))
    return " ".join(above)


def constant_comment(module: types.ModuleType, name: str) -> str:
    folder = Path(module.__file__)
    files = [folder] if folder.stem != "__init__" else [folder, *sorted(folder.parent.rglob("*.py"))]
    files += sorted((ROOT / LIBRARY).rglob("*.py"))  # what comes from another module
    return next((text for file in files if (text := assigned(file).get(name))), "")


# -- the pages -----------------------------------------------------------------------------------------------------


class Room(SphinxDirective):
    """``.. room:: groves``: the page of `arsetlib.groves`."""

    required_arguments = 1

    def run(self):
        first, *inner = modules_of(self.arguments[0])
        lines = [*heading(self.arguments[0], "="), *module_lines(first)]
        for module in inner:
            lines += [*heading(module.__name__.removeprefix(f"{LIBRARY}."), "-"), *module_lines(module)]
        for module in (first, *inner):
            self.env.note_dependency(module.__file__)
        box = nodes.section()
        box.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, self.get_source_info()[0]), box)
        return box.children


def heading(text: str, mark: str) -> list[str]:
    return ["", text, mark * len(text), ""]


@functools.cache
def owners() -> dict[int, str]:
    """Which module's page has the entry of an object that several offer: the first in the order of rooms."""
    owner: dict[int, str] = {}
    for room in rooms():
        for module in modules_of(room):
            for name in public_names(module):
                owner.setdefault(id(getattr(module, name)), module.__name__)
    return owner


def module_lines(module: types.ModuleType) -> list[str]:
    """reStructuredText of one module: docstring, summary table, then classes, functions, errors and constants."""
    lines = [f".. py:module:: {module.__name__}", ""]
    lines += [*rst_of(inspect.getdoc(module) or "", module.__name__), ""]
    groups = {"class": [], "function": [], "exception": [], "data": []}
    for name in public_names(module):
        kind = kind_of(getattr(module, name))
        if kind and (kind == "data" or owners()[id(getattr(module, name))] == module.__name__):
            groups[kind].append(name)
    listed = [f"   {n}" for kind in ("class", "function", "exception") for n in groups[kind]]
    if len(listed) > 1:
        lines += [".. autosummary::", "   :nosignatures:", "", *listed, ""]
    for kind in ("class", "function", "exception"):
        for name in groups[kind]:
            lines += [f".. auto{kind}:: {module.__name__}.{name}", ""]
    for name in groups["data"]:
        value = getattr(module, name)
        lines += [f".. py:data:: {module.__name__}.{name}", f"   :type: {type(value).__name__}"]
        if len(repr(value)) <= 60:
            lines += [f"   :value: {value!r}"]
        lines += ["", f"   {' '.join(rst_of(constant_comment(module, name), module.__name__)).strip()}", ""]
    return lines


def kind_of(found: object) -> str | None:
    if isinstance(found, types.ModuleType):
        return None  # a section of its own
    if inspect.isclass(found):
        return "exception" if issubclass(found, Exception) else "class"
    return "function" if inspect.isroutine(found) else "data"


class Rooms(SphinxDirective):
    """The pages of the reference, each with the first line of its module's docstring."""

    def run(self):
        here = Path(self.env.docname).parent.as_posix()
        listed = nodes.definition_list()
        for room in rooms():
            if self.config.language == "en":
                link = addnodes.pending_xref(
                    "", nodes.literal(text=room), refdomain="std", reftype="doc", refexplicit=True,
                    reftarget=f"/{here}/reference/{room}", refdoc=self.env.docname, refwarn=True,
                )  # fmt: skip
            else:
                page = languages.address(self.env.docname, self.config.language, f"book/en/reference/{room}", "en")
                link = nodes.reference("", "", nodes.literal(text=room), refuri=page)
            first = (inspect.getdoc(importlib.import_module(f"{LIBRARY}.{room}")) or "").split("\n\n")[0]
            words, _ = self.state.inline_text(re.sub(r"`+", "``", first.replace("\n", " ")), self.lineno)
            listed += nodes.definition_list_item(
                "", nodes.term("", "", link), nodes.definition("", nodes.paragraph("", "", *words))
            )
        return [listed]


# -- docstrings as reStructuredText --------------------------------------------------------------------------------


def write_rst(app, what, name, obj, options, lines):
    """Turn a docstring of this library into reStructuredText, in place."""
    written = [*rst_of("\n".join(lines), name), ""]
    if what in ("property", "attribute"):
        app.env.temp_data[name], written = written, []
    lines[:] = written


def keep_properties(app, what, name, obj, options, lines):
    """Napoleon would take what stands before a colon in a property's docstring for its type."""
    if what in ("property", "attribute"):
        lines[:] = app.env.temp_data.pop(name)


def rst_of(text: str, name: str) -> list[str]:
    """Indented examples become code blocks, `names` literals, and the line ``Lab:`` links to the labs.

    Args:
        text: A docstring without indentation.
        name: The dotted public name that it belongs to.
    """
    if not text:
        return lab_line("", name)
    text = re.sub(r"^( {4})(\w+(?:, \w+)+): ((?:.|\n {8})*)", one_by_one, text, flags=re.MULTILINE)
    text = re.sub(r"(?<=^Returns:\n)(?: {4}.*\n?|\n(?= {4}))+", named_values, text, flags=re.MULTILINE)
    out, prose, code = [], [], []
    in_section, labs = False, ""

    def flush():
        nonlocal prose, code
        if prose:
            out.extend(inline("\n".join(prose)).split("\n"))
        if code:
            while not code[-1].strip():
                code.pop()
            out.extend(["", f".. code-block:: {language(code)}", "", *code, ""])
        prose, code = [], []

    for line in text.split("\n"):
        indented, blank = line.startswith("    "), not line.strip()
        if code and (indented or blank):
            code.append(line)
            continue
        if code:
            flush()
        if re.fullmatch(rf"({SECTIONS}):", line):
            in_section = True
        elif not blank and not indented:
            in_section = False
            if match := re.match(r"Labs?: (.*)", line):
                labs = match[1]
                continue
        if indented and not in_section and (not prose or not prose[-1].strip()):
            prose = re.sub(r"::(\s*)$", r":\1", "\n".join(prose)).split("\n")
            flush()
            code.append(line)
        else:
            prose.append(line)
    flush()
    return [*out, *lab_line(labs, name)]


def language(code: list[str]) -> str:
    """What a block of a docstring is: an example with outputs, Python, or any text."""
    if code[0].lstrip().startswith(">>>"):
        return "pycon"
    try:
        ast.parse("\n".join(line[4:] for line in code))
    except SyntaxError:
        return "text"
    return "python"


def one_by_one(entry: re.Match) -> str:
    """``a, b: text`` among arguments or attributes, as two entries."""
    before = entry.string[: entry.start()]
    headers = re.findall(rf"^({SECTIONS}):$", before, re.MULTILINE)
    if not headers or headers[-1] not in ("Args", "Attributes"):
        return entry[0]
    return "\n".join(f"{entry[1]}{name}: {entry[3]}" for name in entry[2].split(", "))


def named_values(section: re.Match) -> str:
    """A list, where a section ``Returns`` names several values."""
    lines = section[0].split("\n")
    named = [bool(re.match(r" {4}\w+(, \w+)*: ", line)) for line in lines]
    if sum(named) < 2 or not named[0]:
        return section[0]
    marked = [re.sub(r"^ {4}(\w+(?:, \w+)*):", r"    - ``\1``:", line) if is_named else f"  {line}".rstrip()
              for line, is_named in zip(lines, named, strict=True)]  # fmt: skip
    return "\n".join(marked)


def inline(text: str) -> str:
    """Prose with literals in double backticks and nothing else that reStructuredText would read as markup."""
    parts = re.split(r"(``[^`]+``|`[^`]+`|(?<!\w)\*\*[A-Za-z][^*\n]*\*\*(?!\w))", text)
    for at, part in enumerate(parts):
        if at % 2:
            literal = f"``{part.strip('`')}``" if part.startswith("`") else part
            parts[at] = literal + ("\\ " if re.match(r"\w", parts[at + 1]) else "")  # `Area`s
        else:
            parts[at] = re.sub(r"([*|])", r"\\\1", re.sub(r"(?<=\w)_(?!\w)", r"\\_", part))
    return "".join(parts)


def lab_line(said: str, name: str) -> list[str]:
    """``Labs: …`` with a link to each lab that the docstring names or that uses the object."""
    labs = [lab for lab in lab_files() if re.search(rf"\b{lab}\b", said) or name in names_used(lab)]
    rest = re.sub(r"^[^.]*(\.|$)", "", said).strip() if labs else said
    if not labs:
        return ["", f"*{said}*"] if said and said != "all." else []
    links = ", ".join(f":doc:`/{lab_files()[lab].relative_to(ROOT).with_suffix('')}`" for lab in labs)
    return ["", f"Used in: {links}. {inline(rest)}".rstrip(), ""]


# -- what the labs use ---------------------------------------------------------------------------------------------


@functools.cache
def lab_files() -> dict[str, Path]:
    """Labs of the book's language by name."""
    return {file.stem: file for file in sorted((ROOT / "labs" / "en").glob("*.py"))}


@functools.cache
def lab_code(lab: str) -> ast.Module:
    cells = [c.source for c in jupytext.read(lab_files()[lab]).cells if c.cell_type == "code"]
    lines = "\n".join(cells).split("\n")
    return ast.parse("\n".join("pass" if re.match(r"[%!]", line) else line for line in lines))


@functools.cache
def imports_of(lab: str) -> dict[str, str]:
    """Names in a lab → what of the library they are: ``{"samples": "arsetlib.samples", …}``."""
    names = {}
    for node in ast.walk(lab_code(lab)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == LIBRARY:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


@functools.cache
def names_used(lab: str) -> frozenset[str]:
    """Dotted names of the library that a lab's code uses."""
    names = set(imports_of(lab).values())
    for node in ast.walk(lab_code(lab)):
        chain = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        if chain and isinstance(node, ast.Name) and (start := imports_of(lab).get(node.id)):
            names |= {".".join([start, *chain[: i + 1]]) for i in range(len(chain))}
    return frozenset(names)


# -- links ---------------------------------------------------------------------------------------------------------


def objects_of(app) -> dict[str, tuple[str, str]]:
    """Dotted names → page and anchor. The reference is English: other languages read the built English site's list."""
    if app.config.language == "en":
        return {name: (one.docname, one.node_id) for name, one in app.env.domaindata["py"]["objects"].items()}
    listed = ROOT / "_build" / "html" / "objects.inv"
    if not listed.exists():
        return {}
    with listed.open("rb") as file:
        kinds = InventoryFile.load(file, "", posixpath.join)
    places = {}
    for kind, named in kinds.items():
        if kind.startswith("py:"):
            for name, (_project, _version, uri, _title) in named.items():
                page, _, anchor = uri.partition("#")
                places[name] = page.removesuffix(".html"), anchor
    return places


def address(app, docname: str, place: tuple[str, str]) -> str:
    """The address of an entry, seen from a page."""
    page, anchor = place
    if app.config.language == "en":
        return f"{app.builder.get_relative_uri(docname, page)}#{anchor}"
    return f"{languages.address(docname, app.config.language, page, 'en')}#{anchor}"


def entries(app) -> dict[str, tuple[str, str]]:
    """Names as people write them (``samples.split``, ``Study.load``, ``Study``) → page and anchor in the reference."""
    known = objects_of(app)
    if getattr(app, "_arset_entries", (-1,))[0] == len(known):
        return app._arset_entries[1]
    found: dict[str, set] = {}
    for name, place in known.items():
        parts = name.split(".")
        for cut in range(len(parts)):
            short = ".".join(parts[cut:])
            if "." in short or (short[:1].isupper() and not short.isupper()):
                found.setdefault(short, set()).add(place)
    unique = {short: next(iter(places)) for short, places in found.items() if len(places) == 1}
    app._arset_entries = len(known), unique
    return unique


def link_prose(app, doctree, docname):
    """Make each literal that names something public a link to its entry."""
    known = entries(app)
    for literal in list(doctree.findall(nodes.literal)):
        if any(isinstance(up, nodes.reference | nodes.title | addnodes.desc_signature) for up in ancestors(literal)):
            continue
        name = re.match(r"[A-Za-z_][\w.]*", literal.astext())
        name = name[0].rstrip(".") if name else ""
        local = ".".join([LIBRARY, *docname.split("/reference/")[-1].split("/"), name])
        place = known.get(name) or (known.get(local) if "/reference/" in docname else None)
        if place and not is_here(literal, place, docname):
            link = nodes.reference("", "", internal=True, refuri=address(app, docname, place), classes=["api"])
            literal.replace_self(link)
            link += literal


def ancestors(node):
    while node.parent is not None:
        node = node.parent
        yield node


def is_here(literal, place, docname) -> bool:
    """Does a literal stand in the very entry that it names?"""
    if place[0] != docname:
        return False
    descs = [up for up in ancestors(literal) if isinstance(up, addnodes.desc)]
    return any(place[1] in sig["ids"] for up in descs for sig in up.findall(addnodes.desc_signature))


CHAIN = re.compile(r'<span class="n">\w+</span>(?:<span class="o">\.</span><span class="n">\w+</span>)*')


def link_code(app, pagename, templatename, context, doctree):
    """In a lab's code, make each name of the library a link to its entry."""
    lab = Path(pagename).name
    if not pagename.startswith("labs/") or "body" not in context:
        return
    known, names = entries(app), imports_of(lab)

    def link(match):
        words = re.findall(r">(\w+)</span>", match[0])
        start = names.get(words[0])
        place = start and known.get(".".join([start, *words[1:]]))
        shown = match[0]
        while start and place is None and len(words) > 1:  # the longest beginning that has an entry
            words.pop()
            place = known.get(".".join([start, *words[1:]]))
        if not place:
            return shown
        end = [m.end() for m in re.finditer("</span>", shown)][2 * len(words) - 2]
        uri = html.escape(address(app, pagename, place))
        return f'<a class="api" href="{uri}">{shown[:end]}</a>{shown[end:]}'

    context["body"] = CHAIN.sub(link, context["body"])
