"""What a certificate says, and its page: one A4 sheet in landscape, drawn with Matplotlib, its fonts embedded."""

from __future__ import annotations

import hashlib
import io
import unicodedata
import warnings
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import arsetlib
from arsetlib import copies, translation
from arsetlib.grading.homework import ASSIGNMENTS
from arsetlib.grading.keys import CertificateError, canonical
from arsetlib.translation import N_

__all__ = ["Certificate", "draw"]

EDITION = "2026"  # of the course
PASS_MARK = 60  # percent of the points, in each assignment
SCHEMA = 1
WIDE, HIGH = 297 / 25.4, 210 / 25.4  # inches
INK, SOFT, ACCENT, LINE = "#1d2b24", "#5b6b62", "#1b6b4a", "#cfd8d2"
FIELDS = ("#ffd400", "#267000", "#ff2626", "#00a8e5", "#a57000", "#93cc93", "#e8ffbf")  # colours of the label layer

# Words of the page, in English; see `words`.
WORDS = {
    "course": N_("Crop maps at scale"),
    "title": N_("Certificate of completion"),
    "self": N_("Self-study certificate"),
    "to": N_("This certificate states that"),
    "did": N_("has completed the course"),
    "some": N_("has completed {count} of the {all} assignments of the course"),
    "all": N_("and reached at least {mark:g} % of the points in each assignment:"),
    "total": N_("Total"),
    "edition": N_("Edition {edition}, version {version}"),
    "issuer": N_("Issued by {issuer}"),
    "hash": N_("Content {hash}"),
    "key": N_("Signed with key {key}. Check this file: arset certificate verify FILE --key public.json"),
    "unsigned": N_("NOT SIGNED: made by the learner. Nobody else has seen the work, and this page proves nothing."),
    "part1": N_("From scenes to the pixel table"),
    "part2": N_("From the table to batches"),
    "part3": N_("From batches to a tested map"),
    "part4": N_("A map that you can defend"),
    "groves": N_("Case study: olive groves"),
    "fields": N_("Case study: farm images"),
}


def words(lang: str) -> dict[str, str]:
    """The words of the page in a language."""
    translated = translation.words_of(lang)
    return {key: translated(text) for key, text in WORDS.items()}


@dataclass(frozen=True)
class Certificate:
    """What a certificate says.

    Attributes:
        name: Name of the learner.
        lang: A language of the library, such as "en" or "es".
        day: Day of issue.
        points: Assignment → (points, of), the better one where something was handed in twice.
        issuer: Who issues it; may be empty.
        pass_mark: Percent of the points, reached in each assignment.
        edition: Edition of the course.
        version: Version of the library that graded.
        self_study: It is not signed: only the learner says so.
        id: ID of the learner in the course; in the JSON file and the hash, not on the page.
    """

    name: str
    lang: str
    day: date
    points: dict[str, tuple[int, int]]
    issuer: str = ""
    pass_mark: float = PASS_MARK
    edition: str = EDITION
    version: str = arsetlib.__version__
    self_study: bool = False
    id: str = ""

    @property
    def total(self) -> tuple[int, int]:
        """Points of all assignments together, and of how many."""
        return sum(points for points, _ in self.points.values()), sum(of for _, of in self.points.values())

    @property
    def covers(self) -> str:
        """Whether it is for the whole course or for some of its assignments; the page lists them."""
        said, count = words(self.lang), len(self.points)
        return said["did"] if count == len(ASSIGNMENTS) else said["some"].format(count=count, all=len(ASSIGNMENTS))

    @property
    def content(self) -> dict:
        """What it says, as in the JSON file."""
        return {
            "arset": "self-study certificate" if self.self_study else "certificate",
            "schema": SCHEMA,
            "name": self.name,
            "course": words(self.lang)["course"],
            "language": self.lang,
            "edition": self.edition,
            "version": self.version,
            "date": self.day.isoformat(),
            "points": {key: list(pair) for key, pair in self.points.items()},
            "total": list(self.total),
            "pass_mark": self.pass_mark,
            "issuer": self.issuer,
            **({"id": self.id} if self.id else {}),
        }

    @property
    def hash(self) -> str:
        """SHA-256 of `content`, printed on the page."""
        return hashlib.sha256(canonical(self.content)).hexdigest()


def draw(certificate: Certificate, key: str, font: str | Path | None = None) -> bytes:
    """The page as a PDF. The same certificate gives the same bytes.

    Args:
        certificate: What it says.
        key: Short name of the signing key; empty where there is none.
        font: Font file for letters that DejaVu Sans does not have.

    Raises:
        CertificateError: Neither font has a letter, or this Matplotlib cannot draw its script.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    font = copies.fetched(font) if font else None
    families = ["DejaVu Sans"] + ([_family(font)] if font else [])
    for text in (certificate.name, certificate.issuer, certificate.edition):
        _check_letters(text, font)
    settings = {"font.family": families, "pdf.fonttype": 42, "pdf.compression": 6, "text.usetex": False}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")  # otherwise a missing letter becomes a box
        figure = Figure(figsize=(WIDE, HIGH))
        FigureCanvasPdf(figure)
        _draw_sheet(figure, certificate, key)
        pdf = io.BytesIO()
        metadata = {"Title": certificate.content["course"], "Author": None, "CreationDate": None, "Creator": "arsetlib"}
        figure.savefig(pdf, format="pdf", metadata=metadata)
    return pdf.getvalue()


def _draw_sheet(figure, certificate: Certificate, key: str) -> None:
    said = words(certificate.lang)
    sheet = figure.add_axes((0, 0, 1, 1))
    sheet.set(xlim=(0, 297), ylim=(0, 210))
    sheet.axis("off")
    _border(sheet)

    def write(y, text, size, **options):
        options = {"ha": "center", "va": "center", "color": INK, "parse_math": False} | options
        return sheet.text(options.pop("x", 148.5), y, text, fontsize=size, **options)

    write(183, (said["self"] if certificate.self_study else said["title"]).upper(), 15, color=ACCENT, weight="bold")
    write(169, said["to"], 12, color=SOFT)
    _name(figure, write, certificate.name)
    write(136, certificate.covers, 12, color=SOFT)
    write(125, certificate.content["course"], 22, weight="bold")
    write(114, said["all"].format(mark=certificate.pass_mark), 12, color=SOFT)
    y = 103
    for assignment, (got, of) in certificate.points.items():
        write(y, said[assignment], 11, x=88, ha="left", va="baseline")
        write(y, f"{got} / {of}", 11, x=209, ha="right", va="baseline")
        sheet.plot([88, 209], [y - 2.6, y - 2.6], color=LINE, linewidth=0.6)
        y -= 7.6
    got, of = certificate.total
    write(y, said["total"], 11, x=88, ha="left", va="baseline", weight="bold")
    write(y, f"{got} / {of}", 11, x=209, ha="right", va="baseline", weight="bold")
    pattern = translation.words_of(certificate.lang)(N_("d MMMM y"))
    write(50, translation.day_text(certificate.day, pattern, certificate.lang), 11)
    edition = said["edition"].format(edition=certificate.edition, version=certificate.version)
    write(43, edition, 10, color=SOFT)
    if certificate.issuer:
        _fit(figure, write(36.5, said["issuer"].format(issuer=certificate.issuer), 11), 230)
    write(28.5, said["hash"].format(hash=certificate.hash), 7, color=SOFT)
    if certificate.self_study:
        write(23, said["unsigned"], 9.5, color="#a3180f", weight="bold")
    else:
        write(23.5, said["key"].format(key=key), 7, color=SOFT)


def _border(sheet) -> None:
    """A row of squares in the label layer's colours along the upper and the lower edge."""
    from matplotlib.patches import Rectangle

    side = 297 / 66
    for row, y in ((0, 210 - side), (1, 0)):
        for column in range(66):
            colour = FIELDS[(column * column * 7 + column * 3 + row * 5) % 11 % len(FIELDS)]
            sheet.add_patch(
                Rectangle((column * side, y), side, side, facecolor=colour, edgecolor="white", linewidth=0.5)
            )


def _name(figure, write, name: str) -> None:
    """The name as large as the sheet allows; on two lines if it would be small on one."""
    line = write(154, name, 30, weight="bold", color=INK)
    if _fit(figure, line, 250) >= 18 or " " not in name:
        return
    line.remove()
    words = name.split(" ")
    cut = min(range(1, len(words)), key=lambda at: abs(len(" ".join(words[:at])) - len(" ".join(words[at:]))))
    lines = [
        write(y, " ".join(part), 22, weight="bold", color=INK)
        for y, part in ((158.5, words[:cut]), (148.5, words[cut:]))
    ]
    size = min(_fit(figure, line, 250) for line in lines)
    for line in lines:
        line.set_fontsize(size)


def _fit(figure, text, millimetres: float) -> float:
    """Shrink a text to a width; returns its font size, points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    width = text.get_window_extent(renderer).width / figure.dpi * 25.4
    size = text.get_fontsize() * min(1.0, millimetres / width)
    if size < 5:
        raise CertificateError(f"{text.get_text()[:40]}… is too long for a line of the page. Show a shorter form.")
    text.set_fontsize(size)
    return size


def _check_letters(text: str, font: Path | None) -> None:
    import matplotlib as mpl
    from packaging.version import Version

    drawn = [letter for letter in text if not letter.isspace()]
    for letter in drawn:
        if not any(ord(letter) in _letters(file) for file in (None, font)):
            name = unicodedata.name(letter, f"U+{ord(letter):04X}")
            lacks = f"DejaVu Sans and {font.name} have" if font else "The font DejaVu Sans has"
            raise CertificateError(
                f"{lacks} no letter {letter!r} ({name}) of {text!r}. Name a font file that has it, with --font "
                "(Noto Sans CJK, for instance), or another spelling of the name, with --shown-as."
            )
    shaped = any(unicodedata.bidirectional(c) in ("R", "AL") or unicodedata.category(c)[0] == "M" for c in drawn)
    if shaped and Version(mpl.__version__) < Version("3.11"):
        raise CertificateError(
            f"{text!r} is in a script whose letters join or run from right to left. Matplotlib does that from version "
            f"3.11 on, here is {mpl.__version__}: upgrade it, or give another spelling of the name with --shown-as."
        )


@cache
def _letters(font: Path | None) -> frozenset[int]:
    """Code points that a font has; None means DejaVu Sans, normal and bold."""
    from matplotlib import font_manager, ft2font

    if font is not None:
        return frozenset(ft2font.FT2Font(str(font)).get_charmap())
    files = [
        font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight=w)) for w in ("normal", "bold")
    ]
    return frozenset.intersection(*(frozenset(ft2font.FT2Font(file).get_charmap()) for file in files))


def _family(font: Path) -> str:
    from matplotlib import font_manager

    try:
        font_manager.fontManager.addfont(font)
        return font_manager.FontProperties(fname=font).get_name()
    except (OSError, RuntimeError) as problem:
        raise CertificateError(f"Expected a font file (TTF or OTF), received {font}: {problem}.") from None
