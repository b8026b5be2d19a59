"""The page of objectives, with the sections, exercises and questions of each. `make homework` writes it.

python homework/matrix.py        # writes book/en/objectives.md, and the same page in other languages
"""

from __future__ import annotations

import re
from pathlib import Path

import arsetlib
from arsetlib.grading import objectives
from arsetlib.translation import _, languages

ROOT = Path(__file__).resolve().parents[1]
LABS = {
    "part1": "part1_build_dataset",
    "part2": "part2_load_data",
    "part3": "part3_train_and_test",
    "groves": "case_groves",
    "fields": "case_fields",
}
# Language → its words for this page.
WORDS = {
    "en": {
        "labs": ("Lab 1", "Lab 2", "Lab 3", "Case study A", "Case study B"),
        "parts": {
            "S": "The whole series",
            "1": "Part 1: build the data set",
            "2": "Part 2: the data loader",
            "3": "Part 3: train, test, look",
            "A": "Case study A: olive groves",
            "B": "Case study B: farm images",
        },
        "heads": ("A learner can…", "taught in", "practised in", "asked in the homework of"),
        "exercise": "exercise",
        "predict": "Predict",
        "top": """# Objectives, and where each is taught and asked

For every objective of the course there is a section of a lab that teaches it, an exercise to practise it and a question
of the [homework](homework.md) about it. *Predict n* is the question that section n of a lab asks before you run its
cell. `make homework` writes this page from data; a test fails if one of the three is missing.
""",
    },
    "es": {
        "labs": ("Práctica 1", "Práctica 2", "Práctica 3", "Caso de estudio A", "Caso de estudio B"),
        "parts": {
            "S": "Toda la serie",
            "1": "Parte 1: construir el conjunto de datos",
            "2": "Parte 2: el cargador de datos",
            "3": "Parte 3: entrenar, probar, mirar",
            "A": "Caso de estudio A: olivares",
            "B": "Caso de estudio B: imágenes de parcelas",
        },
        "heads": ("Quien aprende puede…", "se enseña en", "se practica en", "se pregunta en la tarea de"),
        "exercise": "ejercicio",
        "predict": "Predice",
        "top": """# Objetivos, y dónde se enseña y se pregunta cada uno

Para cada objetivo del curso hay una sección de una práctica que lo enseña, un ejercicio para practicarlo y una pregunta
de la [tarea](homework.md) sobre él. *Predice n* es la pregunta que hace la sección n de una práctica antes de que
ejecutes su celda. `make homework` escribe esta página a partir de datos; una prueba falla si falta uno de los tres.
""",
    },
}


def headings(lab: str, language: str = "en") -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Number → title of a lab's sections, number of an exercise → its section, sections with a Predict."""
    words = WORDS[language]
    path = ROOT / "labs" / language / f"{LABS[lab]}.py"
    sections, exercises, predicts, section = {}, {}, set(), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if title := re.match(r"# ## (\d+)\. (.+)", line):
            section = title[1]
            sections[section] = title[2]
        elif exercise := re.match(rf"# :::\{{admonition\}} {words['exercise'].capitalize()} (\d+)", line):
            exercises[exercise[1]] = section
        elif line.startswith(f"# :::{{admonition}} {words['predict']}"):
            predicts.add(section)
    return sections, exercises, predicts


def existing_labs(language: str = "en") -> list[str]:
    """Labs that this repository has in a language."""
    return [lab for lab, stem in LABS.items() if (ROOT / "labs" / language / f"{stem}.py").is_file()]


def page(language: str = "en") -> str:
    """The page in a language, as Markdown."""
    arsetlib.language(language)
    words = WORDS[language]
    labs = {lab: headings(lab, language)[0] for lab in existing_labs(language)}
    asked = objectives.questions_by_objective()
    lines, part = [words["top"]], ""
    for key, objective in objectives.load().items():
        if key[0] != part:
            part = key[0]
            lines += [
                "",
                f"## {words['parts'][part]}",
                "",
                f"| | {' | '.join(words['heads'])} |",
                "|---|---|---|---|---|",
            ]
        practice = [(ref, f"{words['exercise']} {ref.split()[1]}") for ref in objective.exercises]
        practice += [(ref, f"{words['predict']} {ref.split()[1]}") for ref in objective.predicts]
        taught = cell([(ref, title(ref, labs)) for ref in objective.sections], language, labs)
        asks = cell([(ref.replace(".", " "), ref.split(".")[1]) for ref in asked[key]], language)
        lines.append(f"| {key} | {_(objective.can)} | {taught} | {cell(practice, language)} | {asks} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def title(reference: str, labs: dict) -> str:
    """Number and title of a section: "part1 8" → "8. …"."""
    lab, number = reference.split()
    return f"{number}. {labs[lab][number]}" if lab in labs else f"section {number}"


def cell(parts: list[tuple[str, str]], language: str, linked=()) -> str:
    """The text of one cell, each lab named once: "Lab 1: exercise 2, Predict 2; Lab 2: …"."""
    by_lab: dict[str, list[str]] = {}
    for reference, words in parts:
        by_lab.setdefault(reference.split()[0], []).append(words)
    texts = []
    for lab, words in by_lab.items():
        name = WORDS[language]["labs"][list(LABS).index(lab)]
        link = f"[{name}](../../labs/{language}/{LABS[lab]})" if lab in linked else name
        texts.append(f"{link}: {', '.join(words)}")
    return "; ".join(texts)


if __name__ == "__main__":
    for language in languages():
        if existing_labs(language) == existing_labs():
            target = ROOT / "book" / language / "objectives.md"
            target.write_text(page(language), encoding="utf-8", newline="\n")
            print(target)
