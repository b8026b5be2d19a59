"""Sphinx extension: what the search of the book reads, one entry for each section of each page.

At the end of a build ``_static/sections.js`` is written: a list of sections with page, heading, address and text. A
glossary's term and a name of the API reference are sections of their own. ``static/search.js`` ranks and shows them;
it needs no server, so search also works in a site that is opened from a disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

# Kind of page → weight of its sections: what teaches a thing stands before what lists it.
WEIGHTS = {"labs": 3, "book": 1, "glossary": 0.5, "reference": 0.3}
SILENT = (nodes.raw, nodes.comment, nodes.image, nodes.math_block, nodes.substitution_definition)


def setup(app):
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def write(app, exception):
    """Write the sections of all pages."""
    if exception is not None or app.builder.format != "html":
        return
    entries = []
    for page in sorted(app.env.found_docs):
        doctree = app.env.get_doctree(page)
        title = app.env.titles[page].astext()
        kind = next((kind for kind in ("glossary", "reference") if f"/{kind}" in page), page.split("/")[0])
        for heading, address, text in sections(doctree, title):
            entries.append([app.builder.get_target_uri(page) + address, title, heading, text, WEIGHTS[kind]])
    script = f"window.courseSections = {json.dumps(entries, ensure_ascii=False, separators=(',', ':'))};\n"
    Path(app.outdir, "_static", "sections.js").write_text(script, encoding="utf-8")


def sections(doctree: nodes.document, title: str) -> Iterator[tuple[str, str, str]]:
    """Heading, address within the page and text of each section; text of a section within another stands once."""
    for node in doctree.findall(lambda n: isinstance(n, nodes.section | addnodes.desc | nodes.definition_list_item)):
        if isinstance(node, nodes.section):
            heading = next(node.findall(nodes.title)).astext()
            top = isinstance(node.parent, nodes.document)
            yield ("" if top and heading == title else heading), "" if top else f"#{node['ids'][0]}", words(node)
        elif isinstance(node, addnodes.desc):
            signature = next(node.findall(addnodes.desc_signature))
            if signature["ids"]:
                yield signature["ids"][0].removeprefix("arsetlib."), f"#{signature['ids'][0]}", words(node)
        elif ids := next(node.findall(nodes.term))["ids"]:
            yield next(node.findall(nodes.term)).astext(), f"#{ids[0]}", words(node)


def words(section: nodes.Element) -> str:
    """The text of a section, its code last, without its heading, its inner sections and the outputs of its cells."""
    prose, code = [], []

    def walk(node: nodes.Node) -> None:
        for child in node.children:
            if isinstance(child, nodes.Text):
                prose.append(child.astext())
            elif isinstance(child, nodes.literal_block):
                code.append(child.astext())
            elif not (
                isinstance(child, (nodes.section, addnodes.desc, nodes.title, nodes.term, *SILENT))
                or "cell_output" in child.get("classes", ())
            ):
                walk(child)
                prose.append(" ")

    walk(section)
    return " ".join("".join([*prose, " ", *code]).split())
