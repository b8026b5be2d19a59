"""The built book, seen with a real browser: nothing leaves the machine, everything is drawn, readable and reachable."""

import gzip
import http.server
import itertools
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from test_labs import silent_cells

from arsetlib import translation

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
AXE = SITE.parent / "testing" / "axe.min.js"  # by book/vendor.py
PAGES = (
    sorted(
        p.relative_to(SITE).as_posix()
        for p in SITE.rglob("*.html")
        # Roots of languages hold the forwarding page, search and index; slides are no pages to read (test_slides.py).
        if not {"_static", "slides"} & set(p.parts) and len(p.relative_to(SITE).parts) > 2
    )
    if SITE.exists()
    else []
)
LABS = [p for p in PAGES if p.startswith("labs/")]
EXECUTED = sorted(p for way in ("", "*/_build/") for p in SITE.parent.glob(f"{way}jupyter_execute/labs/*/*.ipynb"))
COMPRESSED = {".html", ".css", ".js", ".svg", ".json", ".txt"}  # what every web host compresses
MEGABYTE = 1_000_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not SITE.exists(), reason="the book is not built: run `make book` first"),
]


# -- a web host and a browser ---------------------------------------------------------------------------------------


class Host(http.server.SimpleHTTPRequestHandler):
    """Serves the site as a public host would, with compression, and counts what it sends."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, directory=str(SITE), **kwargs)

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in COMPRESSED or not path.is_file():
            if path.is_file():
                self.server.sent += path.stat().st_size
            return super().do_GET()
        body = gzip.compress(path.read_bytes(), 6)
        self.server.sent += len(body)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    sent = 0

    def handle_error(self, request, client_address):
        pass  # the browser hung up


@pytest.fixture(scope="module")
def server():
    with Server(("127.0.0.1", 0), Host) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def visit(server, browser):
    """Open a page of the site; it brings ``trouble`` (foreign requests, failures, errors) and ``weight`` (bytes)."""
    contexts = []

    def open_page(path, scheme="light", width=1280, height=900):
        context = browser.new_context(
            color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": height}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a bound, no measurement: the machine may do other things
        page.trouble = []
        host = urlsplit(server.url).netloc

        def watch(request):
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob", "about") and parts.netloc != host:
                page.trouble.append(f"request to another host: {request.url}")

        page.on("request", watch)
        page.on("response", lambda r: r.status >= 400 and page.trouble.append(f"{r.status} {urlsplit(r.url).path}"))
        page.on("console", lambda m: m.type == "error" and page.trouble.append(f"console: {m.text}"))
        page.on("pageerror", lambda e: page.trouble.append(f"error: {e}"))
        server.sent = 0
        page.goto(f"{server.url}/{path}", wait_until="load")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")  # whatever loads lazily
        page.wait_for_load_state("networkidle")
        page.evaluate("window.scrollTo(0, 0)")
        page.weight = server.sent
        return page

    yield open_page
    for context in contexts:
        context.close()  # closing twice does no harm


def settle(page):
    """Wait until the page has done what was queued, at its own pace, and Plotly its delayed hovering."""
    page.evaluate("new Promise((r) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(r)), 100))")


@pytest.fixture(scope="module", params=PAGES)
def path(request):
    return request.param


# One load of each kind serves all tests of a page.
@pytest.fixture(scope="module")
def page(visit, path):
    page = visit(path)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def dark(visit, path):
    page = visit(path, scheme="dark")
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def phone(visit, path):
    page = visit(path, width=390, height=844)
    yield page
    page.context.close()


every_lab = pytest.mark.parametrize("lab", LABS)


# -- promises of every page -----------------------------------------------------------------------------------------


def test_page_asks_no_other_host_and_reports_no_error(page):
    assert page.trouble == []


def test_page_weighs_less_than_3_mb(page):
    assert 0 < page.weight < 3 * MEGABYTE


def test_plotly_loads_only_where_a_figure_needs_it(page):
    loaded = page.evaluate("typeof window.Plotly !== 'undefined'")
    assert loaded == (page.locator(".plotly-graph-div").count() > 0)


def test_every_picture_is_drawn_and_has_a_text(page):
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_load_state("networkidle")
    pictures = page.evaluate(
        """[...document.querySelectorAll('img')].filter(i => i.offsetParent).map(i =>
             ({src: i.src.slice(0, 90), width: i.naturalWidth, alt: i.getAttribute('alt'),
               content: !!i.closest('article')}))"""
    )
    for picture in pictures:
        assert picture["width"] > 0, f"not drawn: {picture['src']}"
        assert picture["alt"] is not None, f"no alt: {picture['src']}"
        assert picture["alt"].strip() or not picture["content"], f"empty alt: {picture['src']}"
    unnamed = page.evaluate(
        """[...document.querySelectorAll('.plotly-graph-div')].filter(d =>
             !(d.closest('figure[aria-label]')?.getAttribute('aria-label') ?? '').trim()).map(d => d.id)"""
    )
    assert unnamed == []


def test_every_figure_reacts(page):
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")  # solutions, too
    for knob in page.locator(".arset-knob").all():
        check_knob(knob)
    for plot in page.locator(".plotly-graph-div").all():
        if plot.is_visible():
            check_plot(page, plot)
    for table in page.locator(".arset-table:not(.figure-numbers)").all():
        check_table(table)
    for cover in page.locator(".cover").all():
        before = cover.evaluate("c => getComputedStyle(c.querySelector('.cover-labels')).clipPath")
        cover.locator("input").press("ArrowRight")
        assert cover.evaluate("c => getComputedStyle(c.querySelector('.cover-labels')).clipPath") != before


def check_plot(page, plot):
    """Dragging moves an axis; where a figure has none, or it stands fixed, hovering shows a label."""
    plot.scroll_into_view_if_needed()
    assert plot.evaluate("d => d.classList.contains('js-plotly-plot')"), "not drawn"
    svg = plot.locator(".main-svg").first.bounding_box()
    assert svg["width"] > 100
    assert svg["height"] > 100
    view = """d => JSON.stringify(
        Object.keys(d._fullLayout).filter(k => /^[xy]axis/.test(k)).map(k => d._fullLayout[k].range))"""
    before = plot.evaluate(view)
    pads = plot.locator(".nsewdrag")
    if pads.count():
        box = pads.first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 40, y + 20, steps=4)
        page.mouse.up()
        settle(page)
        if plot.evaluate(view) != before:
            return
        page.mouse.move(x, y)
        settle(page)
        if plot.locator(".hoverlayer > *").count():
            return
    plot.evaluate("d => window.Plotly.Fx.hover(d, [{curveNumber: 0, pointNumber: 0}])")
    assert plot.locator(".hoverlayer > *").count() > 0, "neither dragging nor hovering changed anything"


def check_knob(knob):
    seen = set()
    select = knob.locator("select")
    for i in range(select.locator("option").count()):
        select.select_option(index=i)
        shown = [
            c.evaluate("e => e.innerHTML.length + e.innerText")
            for c in knob.locator(".arset-choice").all()
            if c.is_visible()
        ]
        assert len(shown) == 1
        seen.add(shown[0])
    assert len(seen) > 1
    select.select_option(index=0)


def check_table(table):
    head = table.locator("th").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    first = table.locator("tbody tr").first.inner_text()
    last = table.locator("tbody tr").last.inner_text()
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    sorted_by = table.locator("tbody tr").evaluate_all("rows => rows.map(row => row.cells[0].innerText)")
    assert len(set(sorted_by)) < 2 or first == last or table.locator("tbody tr").first.inner_text() != first


# Colours of text and of what lies under it, as the eye gets them.
CONTRAST = """
() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); if (c.startsWith('color(srgb')) { m[0]*=255; m[1]*=255; m[2]*=255; } return [m[0], m[1], m[2], m[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const ground = (e) => { const stack = []; for (let n = e; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); stack.push(c); if (c[3] === 1) break; }
    return stack.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 1]); };
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => { const [hi, lo] = [light(a), light(b)].sort((p, q) => q - p); return (hi + 0.05) / (lo + 0.05); };
  const poor = [];
  for (const e of document.querySelectorAll('article *, .bd-sidebar-primary *, .bd-sidebar-secondary *')) {
    const words = [...e.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim()).map((n) => n.textContent.trim()).join(' ');
    if (!words || !e.offsetParent || e.closest('svg, .cover, .headerlink, button.copybtn, .visually-hidden, .js-plotly-plot')) continue;
    const style = getComputedStyle(e);
    if (style.visibility === 'hidden' || +style.opacity === 0) continue;
    const under = ground(e), text = over(parse(style.color), under), r = ratio(text, under);
    const large = parseFloat(style.fontSize) >= 24;
    if (r < (large ? 3 : 4.5)) poor.push(`${r.toFixed(2)} ${e.tagName}.${e.className} ${style.color} on ${under} "${words.slice(0, 40)}"`);
  }
  return [...new Set(poor)];
}
"""  # noqa: E501


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_themes(request, path, scheme):
    page = request.getfixturevalue("page" if scheme == "light" else "dark")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate(CONTRAST) == []
    for plot in page.locator(".js-plotly-plot").all():
        ink, paper = plot.evaluate("d => [d._fullLayout.font.color, d._fullLayout.paper_bgcolor]")
        assert contrast(ink, paper) >= 4.5, f"figure text {ink} on {paper}"


def contrast(a, b):
    """Contrast of two colours as WCAG 2 defines it."""

    def luminance(colour):
        if colour.startswith("#"):
            rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        else:
            rgb = {"white": [255] * 3}.get(colour) or [
                float(v) for v in colour[colour.index("(") + 1 : -1].split(",")[:3]
            ]
        linear = [v / 255 / 12.92 if v / 255 <= 0.03928 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def serious_faults(page):
    """What axe-core finds on a page: rule, and the first element that breaks it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    return page.evaluate("""
        axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations
            .filter(({impact}) => ["serious", "critical"].includes(impact))
            .map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 200)}`))
    """)


@pytest.mark.parametrize("look", ["page", "dark", "phone"])
def test_axe_finds_no_serious_fault(request, path, look):
    assert serious_faults(request.getfixturevalue(look)) == []


# Each element that gets the focus is kept, with whether the page shows that it has it.
WATCH_FOCUS = """
() => {
  window.reached = new Map();
  const marked = (e) => { const s = getComputedStyle(e); return s.boxShadow !== 'none' || (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0); };
  document.addEventListener('focusin', ({target}) => {
    const near = [target, target.parentElement, target.nextElementSibling, target.closest('label'), target.closest('summary')];
    window.reached.set(target, near.some((e) => e && marked(e)));
  });
  document.querySelectorAll('details').forEach((fold) => { fold.open = true; });
}
"""  # noqa: E501
# What a reader can use, but the keyboard did not reach; and what it reached without a sign.
NOT_REACHED = """
() => {
  const named = (e) => `${e.tagName}.${e.className} ${(e.getAttribute('aria-label') ?? e.textContent ?? '').trim().slice(0, 50)}`;
  const group = new Set([...window.reached.keys()].map((e) => e.type === 'radio' ? e.name : null));
  const used = [...document.querySelectorAll('a[href], button, select, input, summary, textarea, [tabindex="0"]')].filter((e) =>
    e.checkVisibility({visibilityProperty: true}) && e.tabIndex >= 0 && !e.disabled && e.type !== 'hidden' && !e.closest('[inert], dialog:not([open])'));
  return used.filter((e) => !window.reached.has(e) && !(e.type === 'radio' && group.has(e.name))).map((e) => `not reached: ${named(e)}`)
    .concat([...window.reached].filter(([e, sign]) => !sign && e !== document.body).map(([e]) => `no sign of focus: ${named(e)}`));
}
"""  # noqa: E501


def test_the_tab_key_reaches_all_that_can_be_used_and_shows_where_it_is(visit, path):
    page = visit(path)
    page.evaluate(WATCH_FOCUS)
    for _ in range(len(page.evaluate(NOT_REACHED)) + 10):  # some boxes that scroll are reached, too
        page.keyboard.press("Tab")
    left = page.evaluate(NOT_REACHED)
    page.context.close()
    assert "\n".join(left) == ""


def test_every_control_of_a_figure_works_from_the_keyboard(page):
    for select in page.locator(".arset-knob select, .figure-menu").locator("visible=true").all():
        last = select.evaluate("s => s.options.length - 1")
        select.select_option(index=0)
        select.focus()
        page.keyboard.press("ArrowDown")
        assert select.evaluate("s => s.selectedIndex") == min(1, last)
        select.select_option(index=0)
    for slider in page.locator(".figure-slider input").locator("visible=true").all():
        told = slider.get_attribute("aria-valuetext")
        slider.press("ArrowRight")
        if slider.get_attribute("aria-valuetext") == told:  # it stood at its end
            slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") != told
    for head in page.locator(".arset-table:not(.figure-numbers) th:first-child button").locator("visible=true").all():
        head.press("Enter")
        assert head.evaluate("b => b.parentElement.getAttribute('aria-sort')")
    for tabs in page.locator(".sd-tab-set").locator("visible=true").all():
        first = tabs.locator("input").first
        first.focus()
        page.keyboard.press("ArrowRight")
        assert not first.is_checked()
    assert page.evaluate("document.querySelectorAll('.updatemenu-container .updatemenu-header').length") == 0


def test_a_menu_of_a_figure_changes_what_it_shows(visit):
    page = visit("labs/en/part1_build_dataset.html")
    shown = "d => JSON.stringify([d.layout.xaxis.range, d.data.map(t => t.visible)])"
    for menu in page.locator(".figure-menu").all():
        plot = menu.locator("xpath=following-sibling::figure[1]").locator(".js-plotly-plot")
        before = plot.evaluate(shown)
        menu.select_option(index=1)
        settle(page)
        assert plot.evaluate(shown) != before


def test_every_figure_offers_its_numbers(page):
    figures = page.locator(".arset-figure .js-plotly-plot").count()
    assert page.locator("details.figure-data").count() == figures
    empty = page.evaluate("""
        Promise.all([...document.querySelectorAll("details.figure-data")].map((box) => new Promise((done) => {
            const look = () => {
                const table = box.querySelector("table"), said = table.caption.textContent;
                const told = table.tBodies[0].rows.length > 0 || /shows pictures|Muestra imágenes/.test(said);
                done(told ? "" : said);
            };
            if (box.open) return look();  // another test of this page has opened it
            box.addEventListener("toggle", () => setTimeout(look), {once: true});
            box.open = true;
        }))).then((texts) => texts.filter(Boolean))
    """)
    assert empty == []


def test_lines_and_symbols_are_seen_in_the_dark(dark):
    pale = dark.evaluate("""
        [...document.querySelectorAll(".js-plotly-plot")].filter((plot) => plot._fullData).flatMap((plot) => {
            const light = (text) => {
                const parts = text.startsWith("#")
                    ? [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16))
                    : (text.match(/[\\d.]+/g) ?? []).map(Number);
                const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                const [r, g, b] = parts.map((v) => linear(v / 255));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const paper = light("#182225");
            const shown = plot._fullData.filter(({type, visible}) => visible === true && /^scatter/.test(type));
            return shown.flatMap((trace) => {
                const drawn = [/lines/.test(trace.mode) && trace.line.width > 0 && trace.line.color,
                               /markers/.test(trace.mode) && trace.marker.color];
                return drawn.filter((colour) => typeof colour === "string" && /^(#|rgb\\()/.test(colour))
                    .filter((colour) => (light(colour) + 0.05) / (paper + 0.05) < 2.9)
                    .map((colour) => `${trace.name}: ${colour}`);
            });
        })
    """)
    assert pale == []


def test_page_fits_a_phone(phone):
    page = phone
    wide = page.evaluate(
        """(() => { const w = document.documentElement.clientWidth;
             if (document.documentElement.scrollWidth <= w) return [];
             return [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > w + 1)
               .slice(0, 8).map(e => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`).concat('scrolls sideways'); })()"""  # noqa: E501
    )
    assert wide == []
    assert page.locator(".bd-sidebar-primary a.reference").locator("visible=true").count() == 0
    page.locator("button.primary-toggle").locator("visible=true").first.click()
    page.locator("dialog[open] a.reference").locator("visible=true").first.wait_for()
    assert page.locator("article p").first.evaluate("p => parseFloat(getComputedStyle(p).fontSize)") >= 14


def test_page_with_simulated_data_says_so(page):
    if page.locator(".arset-figure, .arset-knob, .cover").count():
        with translation.speaking(page.locator("html").get_attribute("lang")):
            word = translation._("simulated")[:7]  # of any gender and number
        assert word in page.locator("article").inner_text().lower()


def test_page_has_one_title_and_ordered_headings(page):
    levels = page.evaluate("[...document.querySelectorAll('article :is(h1,h2,h3,h4)')].map(h => +h.tagName[1])")
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


# -- promises of the site -------------------------------------------------------------------------------------------


def test_site_opens_at_its_first_page(server, browser):
    page = browser.new_page()
    page.goto(server.url)
    page.wait_for_url("**/book/en/index.html")
    page.wait_for_selector(".cover.ready")
    page.close()


def hits(page):
    """Address and text of the search results that a page shows."""
    page.wait_for_selector(".search-hits li a")
    return page.evaluate(
        "[...document.querySelectorAll('.search-hits li')].map(li => [li.querySelector('a').href, li.innerText])"
    )


def test_search_finds_sections_and_shows_the_words_around(visit):
    page = visit("search.html?q=reflectance")
    found = hits(page)
    assert len(found) >= 5
    assert sum("#" in address for address, _ in found) >= 5
    assert all("reflect" in text.lower() for _, text in found)
    assert page.locator(".search-hits mark").count() >= 5
    assert page.trouble == []


def test_search_puts_the_section_that_teaches_it_first(visit):
    found = hits(visit("search.html?q=early stopping"))
    assert found[0][0].endswith("part3_train_and_test.html#train-and-stop-in-time")
    assert any("glossary.html#term" in address for address, _ in found[:5])


def test_search_says_when_nothing_is_found(visit):
    page = visit("search.html?q=xylophone")
    assert "No section has these words" in page.inner_text("#course-hits")


def test_search_works_in_a_site_opened_from_the_disk(browser):
    page = browser.new_page()
    page.goto(f"{(SITE / 'search.html').as_uri()}?q=cloud")
    assert len(hits(page)) >= 5
    page.close()


def test_theme_can_be_switched_by_hand(visit):
    page = visit("book/en/index.html")
    button = page.locator("button.theme-switch-button").locator("visible=true").first
    seen = set()
    for _ in range(3):
        button.click()
        seen.add(page.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}


@every_lab
def test_lab_offers_its_notebook(visit, server, lab):
    page = visit(lab)
    links = page.evaluate("[...document.querySelectorAll('a')].map(a => a.href)")
    name = lab.removesuffix(".html")
    colab = [link for link in links if "colab" in link]
    assert colab
    assert all(link.endswith(f"{name}.ipynb") for link in colab)
    assert f"{server.url}/_sources/{name}.ipynb" in links
    assert page.request.get(f"{server.url}/_sources/{name}.ipynb").json()["nbformat"] == 4


@pytest.mark.parametrize("lab", EXECUTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_of_three_cells_of_a_lab_two_show_something(lab):
    silent, cells = silent_cells(nbformat.read(lab, 4))
    assert len(silent) <= cells / 3, f"too many cells show nothing: {silent}"


@every_lab
def test_lab_ran_without_error(visit, lab):
    page = visit(lab)
    assert page.locator(".cell_output").count() > 0
    assert page.locator(".cell_output .traceback").count() == 0


def test_links_between_pages_lead_somewhere(visit):
    page = visit(PAGES[0])
    broken = []
    for path in PAGES:
        html = (SITE / path).read_text(encoding="utf-8")
        for href in page.evaluate(
            """h => [...new DOMParser().parseFromString(h, 'text/html').querySelectorAll('a[href]')]
                 .map(a => a.getAttribute('href'))""",
            html,
        ):
            parts = urlsplit(href)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            if not (SITE / path).parent.joinpath(parts.path).resolve().exists():
                broken.append(f"{path}: {href}")
    assert broken == []


# -- the reference --------------------------------------------------------------------------------------------------


def anchors(file):
    return set(re.findall(r'\bid="([^"]+)"', file.read_text(encoding="utf-8")))


@every_lab
def test_names_of_the_library_in_a_lab_lead_to_their_entries(lab):
    html = (SITE / lab).read_text(encoding="utf-8")
    links = re.findall(r'<a class="(?:[^"]* )?api(?: [^"]*)?" href="([^"#]+)#([^"]+)"', html)
    assert len(links) > 20
    pages = {target: anchors((SITE / lab).parent / target) for target, _ in links}
    assert [link for link in links if link[1] not in pages[link[0]]] == []
    in_code = re.findall(r'<div class="highlight[^>]*>.*?</pre>', html, re.DOTALL)
    assert any('class="api"' in block for block in in_code)


@every_lab
def test_the_reference_leads_to_the_labs(lab):
    linked = [p for p in PAGES if "/reference/" in p and Path(lab).name in (SITE / p).read_text(encoding="utf-8")]
    assert linked


def test_every_page_of_the_reference_has_entries():
    pages = [p for p in PAGES if "/reference/" in p]
    assert len(pages) >= 20
    assert [
        p for p in pages if not re.search(r'<dt class="sig[^"]*" id="arsetlib', (SITE / p).read_text("utf-8"))
    ] == []
