"""Read a translation as a strict proofreader: `python book/proofread.py es [FILE…]`.

Names words that the dictionary and the course's own list lack, phrases that ``book/<language>/proofread.toml`` forbids,
and sentences of more than ``longest_sentence`` words. It reads pages, catalogues, labs and homework: text, comments and
printed sentences. Code, addresses, and what stands *in italics* (an English term) is not
spelt.

The dictionary is Hunspell's, fetched by ``book/vendor.py``.
"""

from __future__ import annotations

import argparse
import ast
import functools
import gc
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import jupytext
import translations
from babel.messages import pofile

ROOT = Path(__file__).resolve().parents[1]
TYPED = ("arsetlib/cli", "arsetlib/pixels/rules.py", "arsetlib/samples/describe.py")  # texts on what is typed
DICTIONARIES = ROOT / "_build" / "testing"
SOLUTION = re.compile(  # what otter takes out of homework, and the code that it puts there instead
    r'^([ ]*)(?:# BEGIN SOLUTION\b.*?^[ ]*# END SOLUTION|""" # BEGIN PROMPT.*?^""" # END PROMPT)[^\n]*(?:\n|\Z)',
    re.MULTILINE | re.DOTALL,
)
NOT_TEXT = re.compile(
    r"^---\n.*?\n---\n"  # the head of a page
    r"|^:[\w-]+:[^\n]*$"  # options of directives
    r"|(?:\{[\w:-]+\})?(?<!`)`(?!`)(?:[^`\n]|\n(?!\n))*`(?!`)|\$[^$\n]*\$"  # roles, code, formulas
    r"|[\w.-]+/[\w./{}-]+"  # paths
    r"|\]\([^)]*\)|https?://\S+|<[^>\n]*>|\{[^{}\n]*\}|&\w+;",  # addresses, tags, attributes and placeholders
    re.MULTILINE | re.DOTALL,
)
CODE_WORDS = re.compile(  # code that a message quotes without backticks, in the English and in the translation
    r"\w+\([^()]*(?:\([^()]*\)[^()]*)*\)|\b\w+_\w+\b|\"[^\"]*\"|'[^']*'|--[\w-]+|\bnp\.\w+|\w+=|\w+ = \w+"
)
FENCE = re.compile(r"\s*(`{3,}|~{3,}|:{3,})(.*)$")
TITLED = re.compile(r"\{(?:admonition|grid-item-card|dropdown|card)\}")  # directives whose argument is a title
CODE = re.compile(r"(?!\{)|\{(?:code|math|raw|literal)")  # what follows a fence that holds no text
ITALICS = re.compile(r"(?<![*\w])\*(?![*\s])[^*\n]+\*(?!\*)|(?<![_\w])_[^_\n]+_(?!\w)")
WORD = re.compile(r"[^\W\d_²³]+(?:['’-][^\W\d_²³]+)*")


def rules(language: str) -> dict:
    """What a language forbids, its longest sentence, and the words of the field that its dictionary lacks."""
    return tomllib.loads((ROOT / "book" / language / "proofread.toml").read_text(encoding="utf-8"))


@functools.cache
def dictionary(language: str):
    from spylls.hunspell import Dictionary

    if not (DICTIONARIES / f"{language}.dic").exists():
        sys.exit(f"There is no dictionary of {language!r} in {DICTIONARIES}. Fetch it: python book/vendor.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # spylls leaves its two files to the garbage collector
        found = Dictionary.from_files(str(DICTIONARIES / language))
        gc.collect()
    return found


def files(language: str) -> list[Path]:
    """All files of a translation."""
    found = [translations.twin(file, language) for file in translations.english_files()]
    return [file for file in found if file.exists()]


def texts(file: Path) -> Iterator[tuple[str, str]]:
    """Where, and a text for readers, of a page, a lab or a homework."""
    if file.suffix == ".md":
        yield "", file.read_text(encoding="utf-8")
        return
    for number, cell in enumerate(jupytext.read(file).cells, 1):
        if cell.cell_type == "markdown":
            yield f"cell {number}", cell.source
        elif cell.cell_type == "code":
            yield from ((f"cell {number}", text) for text in code_texts(cell.source) if not is_program(text))


def code_texts(source: str) -> Iterator[str]:
    """Sentences that code prints, and its comments."""
    source = SOLUTION.sub(r"\1pass\n", source)  # learners do not see it
    lines = [re.sub(r"^\s*[%!].*$", "pass", line) for line in source.splitlines()]
    for line in lines:
        if comment := re.match(r"\s*# (.*)$", line):
            yield comment[1]
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") > 1:
            yield node.value


def is_program(text: str) -> bool:
    """Several lines of code, as a lab gives them to another process."""
    try:
        return len(ast.parse(text).body) > 1
    except SyntaxError:
        return False


def catalogue_texts(language: str) -> Iterator[tuple[str, str]]:
    """Catalogue and text; of texts on what is typed, such as options, without the words that English has as well."""
    for domain in translations.DOMAINS:
        file = translations.catalogue_file(domain, language)
        if file.exists():
            with file.open("rb") as stream:
                for message in pofile.read_po(stream):
                    typed = any(place.startswith(TYPED) for place, _line in message.locations)
                    same = "|".join(map(re.escape, WORD.findall(str(message.id)))) if typed and message.id else ""
                    for text in message.string if isinstance(message.string, tuple) else (message.string,):
                        if same:
                            text = re.sub(rf"(?<![^\W\d_])(?:{same})(?![^\W\d_])", " ", text)
                        if message.id and text:
                            yield file.relative_to(ROOT).as_posix(), CODE_WORDS.sub(" ", text)


def prose(text: str) -> str:
    """A text without what is no prose."""
    kept, fences = [], []  # of the blocks that are open: the fence, and whether it holds code
    for line in text.split("\n"):
        if fence := FENCE.match(line):
            if fences and not fence[2].strip() and fence[1].startswith(fences[-1][0]):
                fences.pop()
            elif not any(code for _, code in fences):
                fences.append((fence[1], not fence[1].startswith(":") and bool(CODE.match(fence[2].strip()))))
                # The title of a note; of other directives it is an argument.
                kept.append(TITLED.sub("", fence[2].strip()) if TITLED.match(fence[2].strip()) else "")
        elif not any(code for _, code in fences):
            kept.append(line)
    return NOT_TEXT.sub(" ", "\n".join(kept))


def sentences(text: str) -> Iterator[str]:
    """Sentences of a Markdown text; a heading, an item of a list and a cell of a table end one."""
    for block in re.split(r"\n\s*\n|\n\s*(?:[-*>#|]|\d+\.)\s|\|", f"\n{prose(text)}"):
        yield from re.split(r"(?<=[.:;?!])\s+", " ".join(block.split()))


def problems(language: str, only: list[Path] | None = None) -> Iterator[str]:
    """What a proofreader marks."""
    rule = rules(language)
    known = {word.lower() for word in rule["words"]}
    every = [
        (file.relative_to(ROOT).as_posix(), where, text)
        for file in only or files(language)
        for where, text in texts(file)
    ]
    if not only:
        every += [(name, "", text) for name, text in catalogue_texts(language)]
    pages: dict[str, str] = {}
    for name, where, text in every:
        place = f"{name}: {where}: " if where else f"{name}: "
        plain = re.sub("|".join(map(re.escape, rule["names"])), " ", prose(text))
        pages[name] = f"{pages.get(name, '')} {plain}"
        for pattern, advice in rule["forbidden"].items():
            for found in re.finditer(pattern, plain, re.IGNORECASE):
                yield f"{place}{found[0]!r}: {advice}"
        for sentence in sentences(text):
            if (length := len(WORD.findall(sentence))) > rule["longest_sentence"]:
                yield f"{place}a sentence of {length} words: {sentence[:80]} …"
        for word in sorted(set(WORD.findall(ITALICS.sub(" ", plain)))):
            if not is_known(word, language, known):
                yield f"{place}not in the dictionary: {word}"
    for name, text in pages.items():
        for one, other in rule["never_together"]:
            if re.search(one, text, re.IGNORECASE) and re.search(other, text, re.IGNORECASE):
                yield f"{name}: both {one!r} and {other!r}: choose one"


def is_known(word: str, language: str, known: set[str]) -> bool:
    if len(word) < 3 or word.isupper() or not word[1:].islower():  # symbols, abbreviations, names such as TensorFlow
        return True
    return word.lower() in known or looked_up(word, language)


@functools.cache
def looked_up(word: str, language: str) -> bool:
    return dictionary(language).lookup(word)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("language")
    parser.add_argument("files", type=Path, nargs="*")
    options = parser.parse_args()
    found = list(problems(options.language, [file.resolve() for file in options.files]))
    print("\n".join(found) or "Nothing to correct.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
