"""The page of objectives, with the sections, exercises and questions of each. `make homework` writes it.

python homework/matrix.py        # writes book/en/objectives.md, and the same page in other languages
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from arsetlib.grading import objectives
from arsetlib.translation import languages, words_of

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))

import languages as book  # noqa: E402

LABS = {
    "part1": "part1_build_dataset",
    "part2": "part2_load_data",
    "part3": "part3_train_and_test",
    "part4": "part4_defend_the_map",
    "groves": "case_groves",
    "fields": "case_fields",
}


def words(language: str) -> dict:
    """The words of the page in a language."""
    _ = book.words_in(language)
    return {
        "labs": (_("Lab 1"), _("Lab 2"), _("Lab 3"), _("Lab 4"), _("Case study A"), _("Case study B")),
        "parts": {
            "S": _("The whole series"),
            "1": _("Part 1: build the data set"),
            "2": _("Part 2: the data loader"),
            "3": _("Part 3: train, test, look"),
            "4": _("Part 4: a map that you can defend"),
            "A": _("Case study A: olive groves"),
            "B": _("Case study B: farm images"),
        },
        "heads": (_("A learner can…"), _("taught in"), _("practised in"), _("asked in the homework of")),
        "exercise": _("exercise"),
        "predict": _("Predict"),
        "title": _("Objectives, and where each is taught and asked"),
        "top": _(
            "For every objective of the course there is a section of a lab that teaches it, an exercise to practise it "
            "and a question of the [homework](homework.md) about it. *Predict n* is the question that section n of a "
            "lab asks before you run its cell. `make homework` writes this page from data; a test fails if one of the "
            "three is missing."
        ),
    }


def headings(lab: str, language: str = "en") -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Number → title of a lab's sections, number of an exercise → its section, sections with a Predict."""
    said = words(language)
    path = ROOT / "labs" / language / f"{LABS[lab]}.py"
    sections, exercises, predicts, section = {}, {}, set(), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if title := re.match(r"# ## (\d+)\. (.+)", line):
            section = title[1]
            sections[section] = title[2]
        elif exercise := re.match(rf"# :::\{{admonition\}} {said['exercise'].capitalize()} (\d+)", line):
            exercises[exercise[1]] = section
        elif line.startswith(f"# :::{{admonition}} {said['predict']}"):
            predicts.add(section)
    return sections, exercises, predicts


def existing_labs(language: str = "en") -> list[str]:
    """Labs that this repository has in a language."""
    return [lab for lab, stem in LABS.items() if (ROOT / "labs" / language / f"{stem}.py").is_file()]


def page(language: str = "en") -> str:
    """The page in a language, as Markdown."""
    said, of_library = words(language), words_of(language)
    labs = {lab: headings(lab, language)[0] for lab in existing_labs(language)}
    asked = objectives.questions_by_objective()
    top = textwrap.fill(said["top"], 120, break_long_words=False, break_on_hyphens=False)
    lines, part = [f"# {said['title']}\n\n{top}\n"], ""
    for key, objective in objectives.load().items():
        if key[0] != part:
            part = key[0]
            lines += [
                "",
                f"## {said['parts'][part]}",
                "",
                f"| | {' | '.join(said['heads'])} |",
                "|---|---|---|---|---|",
            ]
        practice = [(ref, f"{said['exercise']} {ref.split()[1]}") for ref in objective.exercises]
        practice += [(ref, f"{said['predict']} {ref.split()[1]}") for ref in objective.predicts]
        taught = cell([(ref, title(ref, labs)) for ref in objective.sections], language, labs)
        asks = cell([(ref.replace(".", " "), ref.split(".")[1]) for ref in asked[key]], language)
        lines.append(f"| {key} | {of_library(objective.can)} | {taught} | {cell(practice, language)} | {asks} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def title(reference: str, labs: dict) -> str:
    """Number and title of a section: "part1 8" → "8. …"."""
    lab, number = reference.split()
    return f"{number}. {labs[lab][number]}" if lab in labs else f"section {number}"


def cell(parts: list[tuple[str, str]], language: str, linked=()) -> str:
    """The text of one cell, each lab named once: "Lab 1: exercise 2, Predict 2; Lab 2: …"."""
    by_lab: dict[str, list[str]] = {}
    for reference, text in parts:
        by_lab.setdefault(reference.split()[0], []).append(text)
    texts = []
    for lab, said in by_lab.items():
        name = words(language)["labs"][list(LABS).index(lab)]
        link = f"[{name}](../../labs/{language}/{LABS[lab]})" if lab in linked else name
        texts.append(f"{link}: {', '.join(said)}")
    return "; ".join(texts)


if __name__ == "__main__":
    for language in languages():
        if existing_labs(language) == existing_labs():
            target = ROOT / "book" / language / "objectives.md"
            target.write_text(page(language), encoding="utf-8", newline="\n")
            print(target)
