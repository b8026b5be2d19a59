"""The book's own Sphinx extension: what the theme cannot know about this course.

- a lab's page offers its paired notebook (Colab and download), never a text source that Colab cannot open;
- ``cover`` shows the course's map with a slider between scene and labels;
- ``legend`` shows a study's classes in their colours;
- ``benchmarks`` draws the figures of ``benchmarks/*.json``, so that none is typed;
- ``house`` draws the library's modules and what imports what, read from the source.
"""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
import tomllib
from pathlib import Path

import country
import house
import languages
import reference
from docutils import nodes
from languages import _
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).resolve().parent


def setup(app):
    app.add_directive("cover", Cover)
    app.add_directive("legend", Legend)
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("house", House)
    app.add_directive("country", Country)
    app.connect("config-inited", dress)
    app.connect("html-page-context", offer_notebook, priority=450)  # before the theme makes its buttons
    app.connect("html-page-context", prune, priority=900)  # after it
    app.connect("build-finished", enter)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


# -- theme ---------------------------------------------------------------------------------------------------------


def dress(app, config):
    """Add to the theme's options. Setting them in the configuration file would replace all that is generated."""
    config.html_theme_options.update(
        logo={"text": config.html_title, "alt_text": ""},
        show_toc_level=2,
        use_fullscreen_button=False,
        search_bar_text=str(_("Search the course")),
        pygments_light_style="a11y-high-contrast-light",
        pygments_dark_style="a11y-high-contrast-dark",
    )
    config.html_context["default_mode"] = "auto"
    silence(app, ("sphinx_thebe", "sphinx_comments"))


def silence(app, extensions):
    """Jupyter Book switches these extensions on for everybody; they add scripts to each page that nothing here uses."""
    for name, listeners in app.events.listeners.items():
        app.events.listeners[name] = [
            one for one in listeners if not getattr(one.handler, "__module__", "").startswith(extensions)
        ]
    # Their style sheets were asked for at once; the listeners above would have copied them into the site.
    dropped = tuple(name.replace("_", "-") for name in extensions)
    app.registry.css_files[:] = [one for one in app.registry.css_files if not one[0].startswith(dropped)]


def offer_notebook(app, pagename, templatename, context, doctree):
    """Put a lab's paired notebook beside its source, and tell the theme of it."""
    pair = Path(app.srcdir, pagename).with_suffix(".ipynb")
    if doctree is not None and pair.exists():
        target = Path(app.outdir, "_sources", pagename).with_suffix(".ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pair, target)
        context["ipynb_source"] = f"{pagename}.ipynb"


def prune(app, pagename, templatename, context, doctree):
    """Drop what a page does not need: a launch button that would lead to no notebook."""
    if not context.get("ipynb_source", "").startswith("labs/"):
        context["header_buttons"] = [b for b in context.get("header_buttons", []) if b.get("label") != "launch-buttons"]


def enter(app, exception):
    """Let the site's root lead to the first page of the language built last."""
    root = app.config.root_doc
    if exception is None and app.builder.format == "html" and root != "index":
        title = html.escape(app.config.html_title)
        Path(app.outdir, "index.html").write_text(
            f'<!DOCTYPE html><html lang="{app.config.language}"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="refresh" content="0; url={root}.html"></head>'
            f'<body><main><h1>{title}</h1><p><a href="{root}.html">{_("Enter")}</a></p></main></body></html>\n',
            encoding="utf-8",
        )


# -- directives ----------------------------------------------------------------------------------------------------


class Cover(SphinxDirective):
    """The course's map: a scene, and over it the labels; the page's script adds a slider between the two.

    Needs what ``book/cover.py`` writes. Without scripts the two pictures stand side by side.
    """

    def run(self):
        folder = HERE / "en" / "images"
        facts_file = folder / "cover.json"
        if not facts_file.exists():
            raise self.error("No cover yet. Make it first: python book/cover.py data/delta (`make book` does).")
        self.env.note_dependency(str(facts_file))
        facts = json.loads(facts_file.read_text(encoding="utf-8"))[self.config.language or "en"]
        box = nodes.container(classes=["cover"])
        for layer in ("scene", "labels"):
            picture = nodes.image(uri=f"/book/en/images/{facts[layer]['file']}", alt=facts[layer]["alt"])
            picture["classes"] += ["cover-layer", f"cover-{layer}"]
            box += picture
        caption = nodes.paragraph(text=facts["caption"], classes=["cover-caption"])
        return [box, caption, chips((entry["name"], entry["colour"]) for entry in facts["legend"])]


class Legend(SphinxDirective):
    """The classes of a study as chips in their colours: ``{legend} sample``."""

    required_arguments = 1

    def run(self):
        from arsetlib.study import Study

        legend = Study.load(self.arguments[0]).legend
        language = self.config.language or "en"
        return [chips(zip(legend.names(language), legend.colours, strict=True))]


def chips(entries):
    items = "".join(
        f'<li><span class="chip" style="background:{colour}"></span>{html.escape(name)}</li>'
        for name, colour in entries
    )
    return nodes.raw("", f'<ul class="class-legend" aria-label="{_("Classes")}">{items}</ul>', format="html")


class House(SphinxDirective):
    """The library's modules as a drawing, ``{house}``, or all rooms as a table, ``{house} table``."""

    optional_arguments = 1

    def page_of(self, room: str) -> str:
        """Address of a room's page in the reference, which is in English."""
        return languages.address(self.env.docname, self.config.language, f"book/en/reference/{room}", "en")

    def run(self):
        if not self.arguments:
            drawing = house.drawing(reference.rooms(), self.page_of)
            return [nodes.raw("", drawing, format="html")]
        arrows = house.arrows()
        rows = "".join(
            f"<tr><td><code>{room}</code></td><td>{code_words(house.first_line(room))}</td>"
            f"<td>{', '.join(f'<code>{other}</code>' for other in sorted(arrows[room])) or _('nothing')}</td></tr>"
            for room in house.ORDER
        )
        head = f"<tr>{heads(_('Room'), _('Holds'), _('Imports'))}</tr>"
        return [
            nodes.raw(
                "",
                f'<div class="rooms"><table class="table"><thead>{head}</thead><tbody>{rows}</tbody></table></div>',
                format="html",
            )
        ]


class Country(SphinxDirective):
    """The plan on paper of ``country.py`` as a table: ``{country}`` what it takes, ``{country} assumed`` from what."""

    optional_arguments = 1

    def run(self):
        for name in ("results", "recorded"):
            self.env.note_dependency(str(Path(self.env.srcdir, "benchmarks", f"{name}.json")))
        if missing := [name for name, value in country.rates().items() if not value]:
            return [
                nodes.paragraph(
                    text=_("Not measured in this copy: {names}. Run `make bench` first.").format(
                        names=", ".join(missing)
                    )
                )
            ]
        if self.arguments:
            assumed = [(_(name), country.shown(value), _(source)) for name, (value, source) in country.ASSUMED.items()]
            rows = assumed + [(_(name), country.shown(rate), _("measured")) for name, rate in country.rates().items()]
            head = heads(_("What"), _("Value"), _("Source"))
        else:
            rows = [(_(name), country.shown(value)) for name, value in country.estimate().items()]
            head = heads(_("What"), _("Value"))
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        table = f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        return [nodes.raw("", table, format="html")]


def heads(*texts):
    """The heads of a table's columns."""
    return "".join(f"<th scope='col'>{text}</th>" for text in texts)


def code_words(text):
    """HTML of a line in which names stand between backticks."""
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text.replace("\n", " ")))


class Benchmarks(SphinxDirective):
    """Figures of a results file: ``{benchmarks} benchmarks/results.json``; ``benchmarks/names.toml`` names them.

    Each benchmark has one chart for each group of values of one unit, and a table of its comparisons. The body says
    what to show where the file does not exist.
    """

    required_arguments = 1
    has_content = True

    def run(self):
        path = Path(self.env.srcdir, self.arguments[0])
        names = Path(self.env.srcdir, "benchmarks", "names.toml")
        for file in (path, names):
            self.env.note_dependency(str(file))
        if not path.exists():
            return [self.absent()]
        names = tomllib.loads(names.read_text(encoding="utf-8"))
        runs = json.loads(path.read_text(encoding="utf-8"))
        out = []
        for run in runs if isinstance(runs, list) else [runs]:
            title = _(names.get(run.get("benchmark"), {}).get("title", run.get("benchmark", "Benchmark")))
            section = nodes.section(ids=[nodes.make_id(f"benchmark {run.get('benchmark')}")])
            section += nodes.title(text=title)
            section += nodes.paragraph(text=machine_words(run))
            section += nodes.raw("", benchmark_html(run, names), format="html")
            out.append(section)
        return out

    def absent(self):
        note = nodes.admonition(classes=["no-benchmark"])
        note += nodes.title(text=_("Not measured here"))
        self.state.nested_parse(self.content, self.content_offset, note)
        return note


def machine_words(run):
    """``{"benchmark": "storage", "machine": {"processor": …, "cores": 2, "memory_gib": 15.6, …}}`` in a sentence."""
    machine = run.get("machine") or {}
    said = {
        "processor": "{}",
        "cores": _("{} cores"),
        "memory_gib": _("{} GiB of memory"),
        "system": "{}",
        "python": "Python {}",
        "date": "{}",
    }
    known = [text.format(machine[key]) for key, text in said.items() if key in machine]
    return _("Measured on {machine} (benchmarks/{name}.py).").format(
        machine=", ".join(known) or _("an unnamed machine"), name=run.get("benchmark")
    )


def named(figure, benchmark, names):
    """What ``names.toml`` says of a figure: name, and unit or chart."""
    for pattern, says in names.get(benchmark, {}).get("figures", {}).items():
        if found := words_of(pattern, figure["name"]):
            says = {"name": says} if isinstance(says, str) else says
            words = (side_name(word, benchmark, names) for word in found.groups())
            return says | {"name": _(says["name"]).format(*words)}
    return {"name": figure["name"].replace("_", " ")}


def side_name(side, benchmark, names):
    """What a side of a comparison is; its name as it stands where ``names.toml`` does not say."""
    sides = names.get(benchmark, {}).get("sides", {})
    for pattern, name in itertools.chain(sides.items(), names.get("sides", {}).items()):
        if found := words_of(pattern, str(side)):
            return _(name).format(*(side_name(word, benchmark, names) for word in found.groups()))
    return str(side)


def words_of(pattern, name):
    """A match of a name with a pattern, in which a star stands for a word; None where it is another name."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "(.+)"), name)


def benchmark_html(run, names):
    """Charts of values that share a unit, then the comparisons."""
    charts, rows = {}, []
    for figure in run["figures"]:
        says = named(figure, run.get("benchmark"), names)
        if "chart" in says:
            charts.setdefault(says["chart"], []).append((says["name"], figure["value"], goal_words(figure)))
        else:
            rows.append(figure_row(figure, says, run.get("benchmark"), names))
    out = [
        f'<figure class="bench-chart"><figcaption>{html.escape(_(title))}</figcaption>{bars(values)}</figure>'
        for title, values in charts.items()
    ]
    if rows:
        head = heads(_("What"), _("Measured"), _("Goal"), _("Sides of the comparison"))
        out.append(
            f'<div class="bench"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        )
    return "".join(out)


def goal_words(figure):
    goal = figure.get("goal")
    if goal is None:
        return ""
    return (_("goal {value}: met") if figure["value"] >= goal else _("goal {value}: missed")).format(value=number(goal))


def figure_row(figure, says, benchmark, names):
    unit = {"x": "×", None: ""}.get(figure.get("unit"), figure.get("unit"))
    goal = figure.get("goal")
    state = "" if goal is None else " met" if figure["value"] >= goal else " missed"
    sides = {side_name(side, benchmark, names): value for side, value in (figure.get("sides") or {}).items()}
    if "unit" in says:
        shown = bars([(name, value, says["unit"]) for name, value in sides.items()])
    else:
        shown = html.escape("; ".join(f"{name}: {number(value)}" for name, value in sides.items()))
    return (
        f'<tr class="bench-row{state}"><th scope="row">{html.escape(says["name"])}</th>'
        f'<td class="bench-value">{number(figure["value"])} <span>{html.escape(unit)}</span></td>'
        f"<td>{goal_words(figure) or _('no goal')}</td><td>{shown}</td></tr>"
    )


def bars(values):
    """Bars on one scale: (name, value, text after the value) each."""
    most = max((abs(value) for _, value, _ in values), default=0) or 1
    return "".join(
        f'<div class="bar"><span class="bar-name">{html.escape(str(name))}</span>'
        f'<span class="bar-track"><span style="width:{max(abs(value) / most, 0.005):.1%}"></span></span>'
        f'<span class="bar-value">{number(value)} <small>{html.escape(after)}</small></span></div>'
        for name, value, after in values
    )


def number(value):
    """Three significant digits, with separators where large."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
