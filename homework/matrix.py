"""The page of objectives, with the sections, exercises and questions of each. `make homework` writes it.

python homework/matrix.py        # writes book/en/objectives.md
"""

from __future__ import annotations

import re
from pathlib import Path

from arsetlib.grading import objectives

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "book" / "en" / "objectives.md"
LABS = {
    "part1": ("Lab 1", "part1_build_dataset"),
    "part2": ("Lab 2", "part2_load_data"),
    "part3": ("Lab 3", "part3_train_and_test"),
    "groves": ("Case study A", "case_groves"),
    "fields": ("Case study B", "case_fields"),
}
PARTS = {
    "S": "The whole series",
    "1": "Part 1: build the data set",
    "2": "Part 2: the data loader",
    "3": "Part 3: train, test, look",
    "A": "Case study A: olive groves",
    "B": "Case study B: farm images",
}
TOP = """# Objectives, and where each is taught and asked

For every objective of the course there is a section of a lab that teaches it, an exercise to practise it and a question
of the [homework](homework.md) about it. *Predict n* is the question that section n of a lab asks before you run its
cell. `make homework` writes this page from data; a test fails if one of the three is missing.
"""


def headings(lab: str) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Number → title of a lab's sections, number of an exercise → its section, sections with a Predict."""
    path = ROOT / "labs" / "en" / f"{LABS[lab][1]}.py"
    sections, exercises, predicts, section = {}, {}, set(), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if title := re.match(r"# ## (\d+)\. (.+)", line):
            section = title[1]
            sections[section] = title[2]
        elif exercise := re.match(r"# :::\{admonition\} Exercise (\d+)", line):
            exercises[exercise[1]] = section
        elif line.startswith("# :::{admonition} Predict"):
            predicts.add(section)
    return sections, exercises, predicts


def existing_labs() -> list[str]:
    """Labs that this repository has."""
    return [lab for lab, (_, stem) in LABS.items() if (ROOT / "labs" / "en" / f"{stem}.py").is_file()]


def page() -> str:
    """The page, as Markdown."""
    labs = {lab: headings(lab)[0] for lab in existing_labs()}
    asked = objectives.questions_by_objective()
    lines, part = [TOP], ""
    for key, objective in objectives.load().items():
        if key[0] != part:
            part = key[0]
            lines += [
                "",
                f"## {PARTS[part]}",
                "",
                "| | A learner can… | taught in | practised in | asked in the homework of |",
            ]
            lines += ["|---|---|---|---|---|"]
        practice = [(ref, f"exercise {ref.split()[1]}") for ref in objective.exercises]
        practice += [(ref, f"Predict {ref.split()[1]}") for ref in objective.predicts]
        taught = cell([(ref, title(ref, labs)) for ref in objective.sections], labs)
        asks = cell([(ref.replace(".", " "), ref.split(".")[1]) for ref in asked[key]])
        lines.append(f"| {key} | {objective.can} | {taught} | {cell(practice)} | {asks} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def title(reference: str, labs: dict) -> str:
    """Number and title of a section: "part1 8" → "8. …"."""
    lab, number = reference.split()
    return f"{number}. {labs[lab][number]}" if lab in labs else f"section {number}"


def cell(parts: list[tuple[str, str]], linked=()) -> str:
    """The text of one cell, each lab named once: "Lab 1: exercise 2, Predict 2; Lab 2: …"."""
    by_lab: dict[str, list[str]] = {}
    for reference, words in parts:
        by_lab.setdefault(reference.split()[0], []).append(words)
    texts = []
    for lab, words in by_lab.items():
        name, stem = LABS[lab]
        texts.append(f"{f'[{name}](../../labs/en/{stem})' if lab in linked else name}: {', '.join(words)}")
    return "; ".join(texts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    print(PAGE)
