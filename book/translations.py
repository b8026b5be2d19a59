"""What is translated, and whether it still says what the English says: `make translations`.

    python book/translations.py                     # gather the words, compile them, list what is missing or stale
    python book/translations.py --check             # change nothing; code 1 if something is missing or stale (CI)
    python book/translations.py start es FILE…      # begin the translation of English labs, homework or pages
    python book/translations.py accept FILE…        # these translations fit the English text of today
    python book/translations.py compile FILE…       # compile catalogues, as `make env` does

- Words that code shows, marked by ``_("…")``, ``ngettext`` or ``N_``, are in catalogues:
  ``arsetlib/locale/<language>/LC_MESSAGES/arsetlib.po`` and, for the book's own code, ``book/locale/…/book.po``.
- Labs and homework are pairs of files, ``labs/en`` and ``labs/<language>``. Each translated cell keeps a short hash of
  the English cell that it was made from (``made_from`` in its metadata).
- Pages are pairs, ``book/en`` and ``book/<language>``; the hash is in the head of the page.

A language is there when its folder is there.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jupytext
import typer
from babel.messages import Catalog, extract, mofile, pofile

ROOT = Path(__file__).resolve().parents[1]
# How code marks words; ``book_`` is for templates, whose own ``_`` is the theme's.
KEYWORDS = {"_": None, "N_": None, "book_": None, "ngettext": (1, 2)}
ENGLISH = "en"
METHODS = [("**.jinja", "jinja2"), ("**/templates/**.html", "jinja2")]
# Catalogue → folders and files whose code shows its words.
DOMAINS = {"arsetlib": ("arsetlib", "homework/hidden", "homework/build.py"), "book": ("book", "homework/matrix.py")}
PAIRED = ("labs", "homework")  # folders of jupytext files by language
UNTRANSLATED = ("book/en/reference/", "book/en/objectives.md")  # made from docstrings and by homework/matrix.py
# What a translated page has in common with the English one; headings in the same order.
PARTS_OF_PAGES = {
    "headings": r"^#{1,6}(?= )",
    "words in code": r"(?<![`}])`[^`\n]+`(?!`)",
    "addresses": r"\]\(([^)\s]+)\)|(https?://[^\s)>`]+)",
    "directives": r"^[`:]{3,}(\{[\w-]+\})",
}
ROLE = re.compile(r"\{[\w:-]+\}`[^`]*`")
PAGE_HASH = re.compile(r"\A---\n(?:.*\n)*?made_from: (\w+)\n(?:.*\n)*?---\n")


def languages() -> list[str]:
    """Of the translations."""
    return sorted(folder.name for folder in (ROOT / "arsetlib" / "locale").iterdir() if folder.is_dir())


def short_hash(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]


# -- words -----------------------------------------------------------------------------------------------------------


def catalogue_file(domain: str, language: str) -> Path:
    return ROOT / domain / "locale" / language / "LC_MESSAGES" / f"{domain}.po"


def template(domain: str) -> Catalog:
    """All words that the code marks, without translations."""
    words = Catalog(charset="utf-8")
    for folder in DOMAINS[domain]:
        place = ROOT / folder
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if "student" not in file.parts:
                for text in marked(file.read_text(encoding="utf-8")):
                    words.add(text, locations=[(file.relative_to(ROOT).as_posix(), None)])
        for file, _line, text, _comments, context in extract.extract_from_dir(place, METHODS, keywords=KEYWORDS):
            words.add(text, locations=[(f"{folder}/{file}", None)], context=context)
    for file, text in {"arsetlib": words_of_library, "book": words_of_pages}[domain]():
        words.add(text, locations=[(file, None)])
    return words


def marked(source: str) -> Iterator[str | tuple[str, str]]:
    """Texts that Python code marks; Babel's own reader does not see those inside f-strings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if node.func.id == "ngettext":
                yield tuple(texts[:2])
            elif texts:
                yield texts[0]


def words_of_library() -> Iterator[tuple[str, str]]:
    """Texts of tables and of commands' help, which no mark surrounds: file and text."""
    yield from words_of_tables()
    yield from words_of_commands()


def words_of_commands() -> Iterator[tuple[str, str]]:
    """Help of all commands, their arguments and their options, in English."""
    from arsetlib import cli, translation

    language = translation.language()
    translation.language(ENGLISH)
    waiting = [("arset", typer.main.get_command(cli.app))]
    translation.language(language)
    while waiting:
        name, command = waiting.pop()
        waiting += [(f"{name} {key}", one) for key, one in getattr(command, "commands", {}).items() if not one.hidden]
        texts = [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]
        yield from (("arsetlib/cli", text) for text in texts if text)


def words_of_tables() -> Iterator[tuple[str, str]]:
    """Names of the Cropland Data Layer's codes, and what a learner can do afterwards: file and text."""
    from arsetlib import cdl
    from arsetlib.grading import objectives

    yield from (("arsetlib/cdl.py", code.name) for code in cdl.CODES.values())
    yield from (("arsetlib/grading/objectives.toml", one.can) for one in objectives.load().values())


def words_of_pages() -> Iterator[tuple[str, str]]:
    """Names of benchmarks, and of the quantities of the plan for a country: file and text."""
    import country

    names = tomllib.loads((ROOT / "benchmarks" / "names.toml").read_text(encoding="utf-8"))
    for key, benchmark in names.items():
        parts = [benchmark] if key == "sides" else [benchmark.get("figures", {}), benchmark.get("sides", {})]
        said = [benchmark.get("title", ""), *(one for part in parts for one in part.values())]
        for one in said:
            texts = [one] if isinstance(one, str) else [one["name"], *filter(None, [one.get("chart")])]
            yield from (("benchmarks/names.toml", text) for text in texts if re.search(r"[A-Za-z]", text.strip("{}")))
    quantities = [*country.ASSUMED, *(source for _, source in country.ASSUMED.values()), *country.rates()]
    if all(country.rates().values()):
        quantities += country.estimate()
    yield from (("book/country.py", text) for text in quantities)


def updated(domain: str, language: str) -> Catalog:
    """The catalogue of today's words: translations are kept, words that no code shows are dropped."""
    file = catalogue_file(domain, language)
    words = template(domain)
    catalogue = Catalog(locale=language, charset="utf-8")
    if file.exists():
        with file.open("rb") as stream:
            catalogue = pofile.read_po(stream, locale=language)
    catalogue.update(words, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def written(catalogue: Catalog) -> bytes:
    """The catalogue as a file, in the order of its texts, without a date, so that it changes only with its words."""
    stream = io.BytesIO()
    pofile.write_po(stream, catalogue, width=120, omit_header=True, sort_output=True, ignore_obsolete=True)
    head = (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n'
        f'"Language: {catalogue.locale}\\n"\n"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'
    )
    return head.encode() + stream.getvalue()


def compile_catalogue(file: Path) -> None:
    with file.open("rb") as read, file.with_suffix(".mo").open("wb") as out:
        mofile.write_mo(out, pofile.read_po(read))


def word_problems(domain: str, language: str) -> Iterator[str]:
    """What is wrong with a catalogue's file as it is."""
    file = catalogue_file(domain, language)
    name = file.relative_to(ROOT).as_posix()
    if not file.exists():
        yield f"{name}: missing"
        return
    with file.open("rb") as stream:
        kept = pofile.read_po(stream, locale=language)
    wanted = template(domain)
    for message in kept:
        if message.id and wanted.get(message.id, message.context) is None:
            yield f"{name}: unused: {first_of(message.id)!r}"
    for message in wanted:
        mine = kept.get(message.id, message.context) if message.id else None
        if not message.id:
            continue
        forms = (mine.string if isinstance(mine.string, tuple) else (mine.string,)) if mine else ("",)
        if not all(forms):
            yield f"{name}: not translated: {first_of(message.id)!r}"
        elif mine.fuzzy:
            yield f"{name}: to be checked (fuzzy): {first_of(message.id)!r}"
        else:
            yield from (f"{name}: {problem}" for problem in form_problems(message.id, forms, kept.num_plurals))


def first_of(message_id) -> str:
    return message_id[0] if isinstance(message_id, tuple | list) else message_id


def form_problems(message_id, forms: tuple[str, ...], plurals: int) -> Iterator[str]:
    """Placeholders, tags and plural forms of a translation that do not fit the English text."""
    if isinstance(message_id, tuple | list) and len(forms) != plurals:
        yield f"expected {plurals} plural forms, found {len(forms)}: {message_id[0]!r}"
    wanted = {marks(text) for text in (message_id if isinstance(message_id, tuple | list) else (message_id,))}
    for form in forms:
        if marks(form) not in wanted:
            yield f"other placeholders or tags than {first_of(message_id)!r}: {form!r}"


def marks(text: str) -> tuple[str, ...]:
    """Placeholders ``{…}`` and ``%{…}`` and HTML tags of a text, sorted; each language writes a date its own way."""
    return tuple(sorted(re.sub(r"\|.*", "|…}", one) for one in re.findall(r"%?\{[^{}]*\}|%%|</?\w+[^<>]*>", text)))


# -- labs, homework and pages ----------------------------------------------------------------------------------------


def english_files() -> list[Path]:
    """All English labs, homework and pages."""
    notebooks = [file for folder in PAIRED for file in sorted((ROOT / folder / ENGLISH).glob("*.py"))]
    pages = sorted((ROOT / "book" / ENGLISH).rglob("*.md"))
    return [f for f in (*notebooks, *pages) if not f.relative_to(ROOT).as_posix().startswith(UNTRANSLATED)]


def twin(file: Path, language: str) -> Path:
    """The same lab, homework or page in another language."""
    folder, _, *rest = file.relative_to(ROOT).parts
    return ROOT.joinpath(folder, language, *rest)


def is_page(file: Path) -> bool:
    return file.suffix == ".md"


def hash_of_page(text: str) -> str:
    """The hash that a translated page keeps."""
    found = PAGE_HASH.match(text)
    return found[1] if found else ""


def with_hash(text: str, english: str) -> str:
    """A page whose head keeps the hash of its English text."""
    line = f"made_from: {short_hash(english)}"
    if PAGE_HASH.match(text):
        return re.sub(r"made_from: \w+", line, text, count=1)
    if text.startswith("---\n"):
        return text.replace("---\n", f"---\n{line}\n", 1)
    return f"---\n{line}\n---\n\n{text}"


def start(file: Path, language: str) -> Path:
    """Put the English file into the folder of a language, with the hashes: what is to be translated."""
    target = twin(file, language)
    if target.exists():
        sys.exit(f"{target.relative_to(ROOT)} exists already.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_page(file):
        text = file.read_text(encoding="utf-8")
        target.write_text(with_hash(own_paths(text, language), text), encoding="utf-8")
    else:
        notebook = jupytext.read(file)
        for cell in notebook.cells:
            cell.source = own_paths(cell.source, language)
        write_notebook(notebook, file, target)
    return target


def own_paths(text: str, language: str) -> str:
    """The text with the paths of English files turned into those of another language, where they will exist."""
    text = re.sub(r"\bgrading/student/(?=\w+/\w+\.ipynb)", f"grading/student/{language}/", text)
    known = "|".join((*PAIRED, "book"))
    return re.sub(rf"\b({known})/{ENGLISH}/(?!reference/|images/|references)", rf"\1/{language}/", text)


def accept(file: Path) -> None:
    """Write today's hashes into a translation."""
    english = twin(file, ENGLISH)
    if is_page(file):
        text = file.read_text(encoding="utf-8")
        file.write_text(with_hash(text, english.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        write_notebook(jupytext.read(file), english, file)


def write_notebook(notebook, english: Path, target: Path) -> None:
    originals = jupytext.read(english).cells
    if len(notebook.cells) != len(originals):
        sys.exit(
            f"{target.relative_to(ROOT)} has {len(notebook.cells)} cells, its English file {len(originals)}. "
            "Make them equal first."
        )
    for cell, original in zip(notebook.cells, originals, strict=True):
        cell.metadata["made_from"] = short_hash(original.source)
    text = jupytext.writes(notebook, fmt={"extension": ".py", "format_name": "percent"})
    head = re.match(r"\A(# ---\n(?:#.*\n)*?# ---\n)", english.read_text(encoding="utf-8"))[1]
    target.write_text(head + re.sub(r"\A(# ---\n(?:#.*\n)*?# ---\n)", "", text), encoding="utf-8")


def file_problems(language: str) -> Iterator[str]:
    """Translations that are missing, stale, or of a file that is gone."""
    english = english_files()
    for file in english:
        target = twin(file, language)
        name = target.relative_to(ROOT).as_posix()
        if not target.exists():
            yield f"{name}: missing"
        elif is_page(file):
            text, original = target.read_text(encoding="utf-8"), file.read_text(encoding="utf-8")
            if hash_of_page(text) != short_hash(original):
                yield f"{name}: stale: the English page has changed"
            else:
                yield from (f"{name}: {problem}" for problem in page_problems(original, text, language))
        else:
            cells, originals = jupytext.read(target).cells, jupytext.read(file).cells
            if len(cells) != len(originals):
                yield f"{name}: {len(cells)} cells, the English file has {len(originals)}"
                continue
            yield from code_problems(file, language)
            for number, (cell, original) in enumerate(zip(cells, originals, strict=True), 1):
                if cell.metadata.get("made_from") != short_hash(original.source):
                    yield f"{name}: stale: cell {number}: {original.source.strip().splitlines()[0][:70]}"
    known = {twin(file, language) for file in english}
    for folder, pattern in (*((folder, "*.py") for folder in PAIRED), ("book", "*.md")):
        for file in sorted((ROOT / folder / language).rglob(pattern)):
            if file not in known and not is_made(file):
                yield f"{file.relative_to(ROOT).as_posix()}: there is no such English file"


def is_made(file: Path) -> bool:
    """Whether a program makes a page from the English one's data."""
    folder, _, *rest = file.relative_to(ROOT).parts
    return "/".join([folder, ENGLISH, *rest]).startswith(UNTRANSLATED)


def masked(source: str) -> str:
    """Code as a tree without the text of its strings: what a translation may not change."""
    lines = [re.sub(r"^\s*[%!].*$", "pass", line) for line in source.splitlines()]
    tree = ast.parse("\n".join(lines))
    formats = {id(one) for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) and node.format_spec
               for one in ast.walk(node.format_spec)}  # how a value is written belongs to the code  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in formats:
            continue
        if isinstance(node, ast.JoinedStr):  # words between values may move; the values may not change
            node.values = sorted((v for v in node.values if not isinstance(v, ast.Constant)), key=ast.dump)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def code_problems(file: Path, language: str) -> Iterator[str]:
    """Cells of a translated lab or homework that differ in more than their strings and comments."""
    target = twin(file, language)
    name = target.relative_to(ROOT).as_posix()
    pairs = zip(jupytext.read(file).cells, jupytext.read(target).cells, strict=True)
    for number, (original, cell) in enumerate(pairs, 1):
        tags = [{k: v for k, v in one.metadata.items() if k != "made_from"} for one in (original, cell)]
        if original.cell_type != cell.cell_type or tags[0] != tags[1]:
            yield f"{name}: cell {number} is of another kind or has other tags"
        elif cell.cell_type == "code" and masked(original.source) != masked(cell.source):
            yield f"{name}: cell {number}: other code than the English cell"
        elif cell.cell_type == "raw" and original.source != cell.source:
            yield f"{name}: cell {number}: other marks than the English cell"


def page_problems(english: str, text: str, language: str) -> Iterator[str]:
    """Headings, code, addresses and sources of a translated page that are not those of the English page."""
    for what, pattern in PARTS_OF_PAGES.items():
        pages = own_paths(english, language), text
        expected, found = (re.findall(pattern, ROLE.sub("", page), re.MULTILINE) for page in pages)
        if what != "headings":
            expected, found = sorted(set(expected)), sorted(set(found))
        if expected != found:
            parts = [one for one in expected if one not in found], [one for one in found if one not in expected]
            yield f"{what} differ from the English page: missing {parts[0]}, added {parts[1]}"


def problems() -> list[str]:
    """All that is missing or stale, in all languages."""
    found = []
    for language in languages():
        for domain in DOMAINS:
            found += word_problems(domain, language)
        found += file_problems(language)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing, and end with code 1 if there is a problem"
    )
    commands = parser.add_subparsers(dest="command")
    begin = commands.add_parser("start", help="begin the translation of English files")
    begin.add_argument("language")
    begin.add_argument("files", type=Path, nargs="+")
    commands.add_parser("accept", help="these translations fit the English text of today").add_argument(
        "files", type=Path, nargs="+"
    )
    commands.add_parser("compile", help="compile these catalogues").add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "compile":
        for file in options.files:
            compile_catalogue(file.resolve())
        return 0
    if options.command == "start":
        for file in options.files:
            print(start(file.resolve(), options.language).relative_to(ROOT))
        return 0
    if options.command == "accept":
        for file in options.files:
            accept(file.resolve())
        return 0
    if not options.check:
        for language in languages():
            for domain in DOMAINS:
                file = catalogue_file(domain, language)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(written(updated(domain, language)))
                compile_catalogue(file)
    found = problems()
    print("\n".join(found) or f"All is translated and up to date: {', '.join(languages())}.")
    return 1 if found and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
