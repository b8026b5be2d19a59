"""Commands and code that pages, labs, docstrings and messages write down fit the library as it is today."""

import ast
import importlib
import inspect
import re
import shlex
import textwrap
import tomllib
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

import arsetlib
from arsetlib import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*/*.md"))]
LABS = [*sorted((ROOT / "labs").glob("*/*.py")), *sorted((ROOT / "homework" / "en").glob("*.py"))]
LIBRARY = sorted((ROOT / "arsetlib").rglob("*.py"))
FILES = {"pages": PAGES, "labs": LABS, "library": LIBRARY}
PLACEHOLDER = re.compile(r"^[A-Z][A-Z_-]+$")


@cache
def text_of(file):
    return file.read_text(encoding="utf-8")


# -- the command line -----------------------------------------------------------------------------------------------


def commands_in(text):
    """Lines of ``arset …`` in code blocks and between backticks; a line that ends in a backslash goes on."""
    blocks = re.findall(r"```(?:bash|console|sh)\n(.*?)```", text, re.S)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"Example: (arset [^\\\n\"]*)", text)
    inline = [" ".join(line.split()) + " …" for line in re.findall(r"`{1,2}(arset [a-z][^`]*)`", text)]  # may be cut
    return [line for line in [*lines, *inline] if line.startswith("arset ")]


@cache
def program():
    return get_command(cli.app)


def fault_of(line):
    """Why the command line does not take a line; empty where it does, or where the reader replaces words."""
    if "{" in line:
        return ""  # a message that a program completes
    words = shlex.split(re.sub(r"\s(>|\|).*", "", line), comments=True)[1:]
    shortened = "…" in words or "..." in words
    command = program()
    words = [word for word in words if word not in ("…", "...")]
    try:
        while hasattr(command, "commands"):
            if not words:
                return ""
            if words[0].startswith("-"):
                return "" if words[0] in ("--version", "--help") else f"option {words[0]}"
            if words[0] not in command.commands:
                return f"no command {words[0]!r}"
            command, words = command.commands[words[0]], words[1:]
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if given - known - {"--help"}:
            return f"no option {sorted(given - known)}"
        if any(PLACEHOLDER.match(word) for word in words):
            return ""  # words that the reader replaces
        command.make_context(command.name, list(words)).close()
    except Exception as problem:  # typer has a click of its own
        text = problem.format_message() if hasattr(problem, "format_message") else str(problem)
        return "" if "does not exist" in text or (shortened and "Missing" in text) else text
    return ""


@pytest.mark.parametrize("kind", FILES)
def test_every_command_that_is_written_down_is_one_that_arset_takes(kind):
    lines = {(file.relative_to(ROOT).as_posix(), line) for file in FILES[kind] for line in commands_in(text_of(file))}
    assert len(lines) > 2
    assert [(*one, fault) for one in sorted(lines) if (fault := fault_of(one[1]))] == []


# -- code -----------------------------------------------------------------------------------------------------------


def python_in(file):
    """Blocks of Python of a page, and what stands between backticks as a call."""
    text = text_of(file)
    if file.suffix == ".md":
        for block in re.findall(r"```(?:python|\{code-cell\}[^\n]*)\n(.*?)```", text, re.S):
            lines = textwrap.dedent(block).splitlines()
            yield "\n".join(line for line in lines if not line.startswith((":tags:", "%")))
        text = re.sub(r"```.*?```", "", text, flags=re.S)
    for call in re.findall(r"(?<!`)`{1,2}((?:\w+\.)*\w+\([^`]*\))`", text):
        yield " ".join(call.split())


def parsed(code):
    """The tree of a piece of code, in which ``…`` stands for what the reader fills in."""
    return ast.parse(re.sub(r"(?<=[(,]) ?…", " *___", code.replace("(…", "(*___")).replace("…", "___"))


@cache
def modules():
    found = {name: getattr(arsetlib, name) for name in dir(arsetlib) if not name.startswith("_")}
    return found | {"arsetlib": arsetlib, "study": arsetlib.study.Study}  # in text, `study` is a Study


def names_of(tree):
    """Name in the code → object of arsetlib that it is imported as."""
    names = dict(modules())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "arsetlib":
            module = importlib.import_module(node.module)
            names |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
        elif isinstance(node, ast.Assign):  # a variable of the reader hides a module of the same name
            for target in node.targets:
                for one in ast.walk(target):
                    if isinstance(one, ast.Name):
                        names.pop(one.id, None)
    return names


def faults_in(code):
    tree = parsed(code)
    names = names_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (target := resolved(node.func, names)) is not None:
            parameters = inspect.signature(target).parameters
            if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                continue
            for keyword in node.keywords:
                if keyword.arg and keyword.arg not in parameters:
                    yield f"{ast.unparse(node.func)} has no argument {keyword.arg!r}"


def resolved(node, names):
    """The object of arsetlib that a dotted name means; None where it is none of arsetlib's."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    owner = resolved(node.value, names)
    return getattr(owner, node.attr) if inspect.ismodule(owner) or inspect.isclass(owner) else None


@pytest.mark.parametrize("kind", FILES)
def test_code_that_is_written_down_parses_and_calls_what_exists(kind):
    found = []
    for file in FILES[kind]:
        for code in python_in(file):
            try:
                found += [(file.name, code, fault) for fault in faults_in(code)]
            except (SyntaxError, AttributeError, ImportError) as problem:
                found.append((file.name, code, str(problem)))
    assert found == []


# -- figures --------------------------------------------------------------------------------------------------------


def said():
    """Page → what it must say, made from the code."""
    from arsetlib import engine, fields, ground, java, sentinel2, training
    from arsetlib.grading import ASSIGNMENTS, certificate_pdf
    from arsetlib.ingest import reflectance, survey
    from arsetlib.labels import drawing, services
    from arsetlib.simulate import groves_scene
    from arsetlib.study import Study, settings

    season = Study.load("sample").season
    words = {3: "three", 5: "five", 6: "six", 7: "seven", 9: "nine", 10: "ten", 12: "twelve"}
    percent = {name: (survey.DIMMEST[name] // 100, survey.BRIGHTEST[name] // 100) for name in ("plants", "infrared")}
    captures = inspect.signature(arsetlib.simulate.groves).parameters["captures"].default
    counts = inspect.signature(training.learning_curve).parameters["counts"].default
    missing = {*range(2008, 2026)} - services.NASS_MD5.keys()
    return {
        "setup": [
            f"Spark needs Java {java.OLDEST} or newer; Spark {' and '.join(java.NEWEST)} do not run on Java 25, and "
            f"need {java.OLDEST} to {max(java.NEWEST.values())}",
            f"TensorFlow {locked('tensorflow')}, which this repository uses",
        ],
        "data": [
            f"below −{-reflectance.MIN_DN:,} or above {reflectance.MAX_DN:,}, and 65,535 (saturated)",
            f"over {reflectance.MAX_SHARE:.0%} of a band's values".replace("%", " %"),
            "in the near infrared: vegetation under {} % or over {} % reflectance, ".format(*percent["plants"])
            + "land under {} % or over {} %".format(*percent["infrared"]),
            f"a flight of {words[captures]} captures",
            f"overlaps the next by about {groves_scene.OVERLAP:.0%}".replace("%", " %"),
            f"None is known for the files of 10 m, for {max(missing)} and for the second release of {min(missing)}.",
            f"a mask for each of {words[len(fields.CLASSES)]} anomalies",
        ],
        "adapt": [
            f"more than {drawing.CONTRADICTED:.0%} of such pixels".replace("%", " %"),
            f"right within {ground.AREA_ERROR:.0%} and lengths within {ground.LENGTH_ERROR:.0%}".replace("%", " %"),
            f"from 1 to {settings.MAX_CODE:,}",
        ],
        "architecture": [f"in waves of {engine.WAVE:,}"],
        "faq": [
            f"Why steps of {season.step_days} days, and why a window of {season.window_days}?",
            f"only {season.steps} steps of {season.step_days} days",
            f"for {', '.join(map(str, counts))} labels per class",
        ],
        "glossary": [
            f"Level-2A has {words[len(sentinel2.BANDS)]} of them",
            f"one of the {words[len(fields.CLASSES)]} classes of case study B",
        ],
        "grade": [f"There are {words[len(ASSIGNMENTS)]} assignments", f"is {certificate_pdf.PASS_MARK} % unless"],
        "homework": [f"When all {words[len(ASSIGNMENTS)]} assignments"],
    }


def locked(package):
    """Major and minor version of a package in the lock file, the newest where there are several."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return max(p["version"] for p in lock["package"] if p["name"] == package).rpartition(".")[0]


@pytest.mark.parametrize("page", ["setup", "data", "adapt", "architecture", "faq", "glossary", "grade", "homework"])
def test_figures_of_the_pages_are_those_of_the_code(page):
    text = " ".join(text_of(ROOT / "book" / "en" / f"{page}.md").split())
    assert [one for one in said()[page] if one not in text] == []
