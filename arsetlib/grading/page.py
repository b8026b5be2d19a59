"""The page of a certificate: one sheet, A4 across, drawn with Matplotlib, its fonts in the file."""

from __future__ import annotations

import io
import unicodedata
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from arsetlib.grading.keys import CertificateError

if TYPE_CHECKING:
    from arsetlib.grading.certificate import Certificate

WIDE, HIGH = 297 / 25.4, 210 / 25.4  # inches
INK, SOFT, ACCENT, LINE = "#1d2b24", "#5b6b62", "#1b6b4a", "#cfd8d2"
FIELDS = ("#ffd400", "#267000", "#ff2626", "#00a8e5", "#a57000", "#93cc93", "#e8ffbf")  # a row of the label layer

WORDS = {
    "en": {
        "title": "Certificate of completion",
        "self": "Self-study certificate",
        "to": "This says that",
        "did": "has worked through the course",
        "all": "and reached at least {mark:g} % of the points in each assignment:",
        "total": "Total",
        "edition": "Edition {edition}, version {version}",
        "issuer": "Issued by {issuer}",
        "hash": "Content {hash}",
        "key": "Signed with key {key}. Check this file: arset certificate verify FILE --key public.json",
        "unsigned": "NOT SIGNED: made by the learner. Nobody else has seen the work, and this page proves nothing.",
        "part1": "From scenes to the pixel table",
        "part2": "From the table to batches",
        "part3": "From batches to a tested map",
        "groves": "Case study: olive groves",
        "fields": "Case study: farm images",
        "months": "January February March April May June July August September October November December",
        "date": "{day} {month} {year}",
    },
    "es": {
        "title": "Certificado de aprovechamiento",
        "self": "Certificado de autoestudio",
        "to": "Se hace constar que",
        "did": "ha completado el curso",
        "all": "y ha alcanzado al menos el {mark:g} % de los puntos en cada tarea:",
        "total": "Total",
        "edition": "Edición {edition}, versión {version}",
        "issuer": "Expedido por {issuer}",
        "hash": "Contenido {hash}",
        "key": "Firmado con la clave {key}. Comprobar: arset certificate verify ARCHIVO --key public.json",
        "unsigned": "SIN FIRMA: lo ha hecho quien estudió. Nadie más ha visto el trabajo, y esta hoja no prueba nada.",
        "part1": "De las escenas a la tabla de píxeles",
        "part2": "De la tabla a los lotes",
        "part3": "De los lotes a un mapa evaluado",
        "groves": "Caso práctico: olivares",
        "fields": "Caso práctico: imágenes de campos",
        "months": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "date": "{day} de {month} de {year}",
    },
}


def draw(certificate: Certificate, key: str, font: str | Path | None = None) -> bytes:
    """The page as a PDF; the same certificate gives the same bytes.

    Args:
        certificate: What to say.
        key: Short name of the key that signs, empty where none does.
        font: A font file for letters that DejaVu Sans lacks.

    Raises:
        CertificateError: A letter is in neither font, or its script has to be shaped and this Matplotlib cannot.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    families = ["DejaVu Sans"] + ([_family(Path(font))] if font else [])
    for text in (certificate.name, certificate.issuer, certificate.edition):
        _drawable(text, Path(font) if font else None)
    settings = {"font.family": families, "pdf.fonttype": 42, "pdf.compression": 6, "text.usetex": False}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")  # a letter without a glyph would be drawn as a box
        figure = Figure(figsize=(WIDE, HIGH))
        FigureCanvasPdf(figure)
        _fill(figure, certificate, key)
        held = io.BytesIO()
        about = {"Title": certificate.content["course"], "Author": None, "CreationDate": None, "Creator": "arsetlib"}
        figure.savefig(held, format="pdf", metadata=about)
    return held.getvalue()


def _fill(figure, certificate: Certificate, key: str) -> None:
    words = WORDS[certificate.lang]
    sheet = figure.add_axes((0, 0, 1, 1))
    sheet.set(xlim=(0, 297), ylim=(0, 210))
    sheet.axis("off")
    _border(sheet)

    def say(y, text, size, **how):
        how = {"ha": "center", "va": "center", "color": INK, "parse_math": False} | how
        return sheet.text(how.pop("x", 148.5), y, text, fontsize=size, **how)

    say(183, (words["self"] if certificate.self_study else words["title"]).upper(), 15, color=ACCENT, weight="bold")
    say(169, words["to"], 12, color=SOFT)
    _name(figure, say, certificate.name)
    say(136, words["did"], 12, color=SOFT)
    say(125, certificate.content["course"], 22, weight="bold")
    say(114, words["all"].format(mark=certificate.pass_mark), 12, color=SOFT)
    y = 103
    for assignment, (got, of) in certificate.points.items():
        say(y, words[assignment], 11, x=88, ha="left", va="baseline")
        say(y, f"{got} / {of}", 11, x=209, ha="right", va="baseline")
        sheet.plot([88, 209], [y - 2.6, y - 2.6], color=LINE, linewidth=0.6)
        y -= 7.6
    got, of = certificate.total
    say(y, words["total"], 11, x=88, ha="left", va="baseline", weight="bold")
    say(y, f"{got} / {of}", 11, x=209, ha="right", va="baseline", weight="bold")
    day, months = certificate.day, words["months"].split()
    say(50, words["date"].format(day=day.day, month=months[day.month - 1], year=day.year), 11)
    edition = words["edition"].format(edition=certificate.edition, version=certificate.version)
    say(43, edition, 10, color=SOFT)
    if certificate.issuer:
        _fit(figure, say(36.5, words["issuer"].format(issuer=certificate.issuer), 11), 230)
    say(28.5, words["hash"].format(hash=certificate.hash), 7, color=SOFT)
    if certificate.self_study:
        say(23, words["unsigned"], 9.5, color="#a3180f", weight="bold")
    else:
        say(23.5, words["key"].format(key=key), 7, color=SOFT)


def _border(sheet) -> None:
    """Fields from the air, in the label layer's colours, above and below."""
    from matplotlib.patches import Rectangle

    side = 297 / 66
    for row, y in ((0, 210 - side), (1, 0)):
        for column in range(66):
            colour = FIELDS[(column * column * 7 + column * 3 + row * 5) % 11 % len(FIELDS)]
            sheet.add_patch(
                Rectangle((column * side, y), side, side, facecolor=colour, edgecolor="white", linewidth=0.5)
            )


def _name(figure, say, name: str) -> None:
    """The name as large as it fits, on two lines where one would be small."""
    line = say(154, name, 30, weight="bold", color=INK)
    if _fit(figure, line, 250) >= 18 or " " not in name:
        return
    line.remove()
    words = name.split(" ")
    cut = min(range(1, len(words)), key=lambda at: abs(len(" ".join(words[:at])) - len(" ".join(words[at:]))))
    lines = [
        say(y, " ".join(part), 22, weight="bold", color=INK) for y, part in ((158.5, words[:cut]), (148.5, words[cut:]))
    ]
    size = min(_fit(figure, line, 250) for line in lines)
    for line in lines:
        line.set_fontsize(size)


def _fit(figure, text, millimetres: float) -> float:
    """Make a text small enough for a width; the size it has then, points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    width = text.get_window_extent(renderer).width / figure.dpi * 25.4
    size = text.get_fontsize() * min(1.0, millimetres / width)
    if size < 5:
        raise CertificateError(f"{text.get_text()[:40]}… is too long for a line of the page. Show a shorter form.")
    text.set_fontsize(size)
    return size


def _drawable(text: str, font: Path | None) -> None:
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
    """Code points that a font has; None is DejaVu Sans, in both weights."""
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
