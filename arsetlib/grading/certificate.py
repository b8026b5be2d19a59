"""Certificates: who reached the pass mark in all assignments gets a page and a small signed file.

    made = issue("grades.csv", "certificates", key=keys.load("~/.arset-keys"), lang="es")
    verify("certificates/ada-lovelace.pdf", keys.load_public("public.json"))

Both files say the same. The JSON holds what the page says, the SHA-256 of the page and a signature over both. The PDF
is the page, followed by the JSON in a comment. So either verifies alone, without a network, and one changed byte of
either is noticed. A self-study certificate has no signature, and says so in large letters.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import arsetlib
from arsetlib import textfiles
from arsetlib.grading import keys
from arsetlib.grading.grades import uncell
from arsetlib.grading.homework import ASSIGNMENTS, NOBODY
from arsetlib.grading.keys import CertificateError, canonical

EDITION = "2026"
COURSE = {"en": "Crop maps at scale", "es": "Mapas de cultivos a gran escala"}
PASS_MARK = 60  # percent of the points, in each assignment
SCHEMA = 1
MARK = b"\n%arset-certificate "


@dataclass(frozen=True)
class Certificate:
    """What a certificate says.

    Attributes:
        name: Of the learner.
        lang: "en" or "es".
        day: On which it was issued.
        points: Assignment → (points, of), the better one where something was handed in twice.
        issuer: Who issues it; empty where nobody is named.
        pass_mark: Percent of the points, reached in each assignment.
        edition: Of the course.
        version: Of the library that graded.
        self_study: Nobody but the learner stands for it.
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

    @property
    def total(self) -> tuple[int, int]:
        return sum(got for got, _ in self.points.values()), sum(of for _, of in self.points.values())

    @property
    def content(self) -> dict:
        """What it says, as in the JSON."""
        return {
            "arset": "self-study certificate" if self.self_study else "certificate",
            "schema": SCHEMA,
            "name": self.name,
            "course": COURSE[self.lang],
            "language": self.lang,
            "edition": self.edition,
            "version": self.version,
            "date": self.day.isoformat(),
            "points": {key: list(pair) for key, pair in self.points.items()},
            "total": list(self.total),
            "pass_mark": self.pass_mark,
            "issuer": self.issuer,
        }

    @property
    def hash(self) -> str:
        """SHA-256 of `content`, printed on the page."""
        return hashlib.sha256(canonical(self.content)).hexdigest()


def passed(grades: list[str | Path], pass_mark: float = PASS_MARK) -> tuple[dict[str, dict], dict[str, str]]:
    """Who reached the pass mark in every assignment.

    Args:
        grades: CSV files of ``arset grade``.
        pass_mark: Percent of the points of each assignment.

    Returns:
        Name → assignment → (points, of), and name → what is missing, for those who did not.

    Raises:
        CertificateError: A file is no such CSV.
    """
    best: dict[str, dict[str, tuple[int, int]]] = {}
    for path in grades:
        for row in _rows(Path(path)):
            name, assignment, got, of = row
            if not name or name == NOBODY or assignment not in ASSIGNMENTS or of < 1:  # what could not be read
                continue
            held = best.setdefault(name, {})
            held[assignment] = max(held.get(assignment, (0, of)), (got, of))
    done, missing = {}, {}
    for name in sorted(best):
        points = {key: best[name][key] for key in ASSIGNMENTS if key in best[name]}
        lacks = [f"{key} is not there" for key in ASSIGNMENTS if key not in points]
        lacks += [f"{key} has {got} of {of}" for key, (got, of) in points.items() if 100 * got < pass_mark * of]
        if lacks:
            missing[name] = ", ".join(lacks)
        else:
            done[name] = points
    return done, missing


def issue(
    grades: str | Path | list[str | Path], out: str | Path, *, key: keys.Key | None = None, lang: str = "en",
    pass_mark: float = PASS_MARK, edition: str = EDITION, day: date | None = None, learner: str = "",
    shown_as: str = "", font: str | Path | None = None,
) -> list[Path]:  # fmt: skip
    """Write certificates: a PDF and a JSON for each learner who passed.

    Args:
        grades: CSV of ``arset grade``, or several.
        out: Folder.
        key: What signs; without one, self-study certificates.
        lang: "en" or "es".
        pass_mark: Percent of the points of each assignment.
        edition: Of the course.
        day: Of issue; by default today.
        learner: Only this one.
        shown_as: The learner's name as the certificate says it, where the homework has another spelling.
        font: A font file (TTF or OTF) with the letters of the names, where DejaVu Sans lacks them.

    Returns:
        The PDFs.

    Raises:
        CertificateError: Nobody passed, the key is not good on that day, or the font lacks a letter of a name.
    """
    from arsetlib.grading import page

    if not 0 < pass_mark <= 100:
        raise CertificateError(f"Expected a pass mark over 0 and up to 100 percent, received {pass_mark:g}.")
    if lang not in COURSE:
        raise CertificateError(f"Expected a language of {', '.join(COURSE)}, received {lang!r}.")
    day = day or date.today()
    if key and not key.public.since <= day <= key.public.until:
        raise CertificateError(f"The key is good from {key.public.since} to {key.public.until}, not on {day}.")
    done, missing = passed(grades if isinstance(grades, list) else [grades], pass_mark)
    if learner:
        wanted = _spelt(learner)
        if wanted not in done:
            raise CertificateError(f"No certificate for {wanted}: {missing.get(wanted, 'no such name in the grades')}.")
        done = {wanted: done[wanted]}
    if shown_as and len(done) != 1:
        raise CertificateError("A name to show goes with one learner: name the learner, too.")
    if not done:
        lacks = "; ".join(f"{name}: {what}" for name, what in missing.items()) or "the grades hold no learner"
        raise CertificateError(f"Nobody has {pass_mark:g} % in all of {', '.join(ASSIGNMENTS)}. {lacks}.")
    issuer = key.public.issuer if key else ""
    made = [
        Certificate(_spelt(shown_as) or name, lang, day, points, issuer, pass_mark, edition, self_study=key is None)
        for name, points in done.items()
    ]
    pages = [page.draw(one, key.public.name if key else "", font) for one in made]  # all, or a font is lacking
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for one, body in zip(made, pages, strict=True):
        held = _sign(one, body, key)
        path = out / f"{_file_name(one.name)}-{one.hash[:8]}.pdf"
        path.with_suffix(".json").write_bytes(held)
        path.write_bytes(body + _tail(body, held))
        paths.append(path)
    return paths


def verify(path: str | Path, key: keys.PublicKey, today: date | None = None) -> dict:
    """Is this PDF or JSON a certificate that the key signed, and is it unchanged?

    Args:
        path: Either file.
        key: The issuer's public key, from a source you trust.
        today: By default today: a key that has expired vouches for nothing.

    Returns:
        What the certificate says.

    Raises:
        CertificateError: It is not; the message is the reason.
    """
    path, today = Path(path), today or date.today()
    if not path.is_file():
        raise CertificateError(f"There is no file {path}.")
    held = path.read_bytes()
    body = None
    if held.startswith(b"%PDF"):
        body, held = _split(held, path)
    found = keys.parse(held, str(path))
    if body is not None and found.get("page_sha256") != hashlib.sha256(body).hexdigest():
        raise CertificateError(f"{path} was changed: its page is not the one that was issued.")
    if found.get("arset") == "self-study certificate":
        raise CertificateError(f"{path} is a self-study certificate: nobody has signed it, so it proves nothing.")
    if found.get("arset") != "certificate" or found.get("schema") != SCHEMA:
        raise CertificateError(f"Expected a certificate of this course, received {path}.")
    signature = found.pop("signature", "")
    if found.get("key") != key.public and not key.signed(canonical(found), signature):
        other = re.sub(r"[^0-9a-f]", "?", str(found.get("key")))[:16]  # anybody may have written it, for a terminal
        raise CertificateError(f"{path} was signed with another key ({other}…) or was changed.")
    if not key.signed(canonical(found), signature):
        raise CertificateError(f"{path} was changed: the signature does not fit what it says.")
    if not key.since.isoformat() <= found["date"] <= key.until.isoformat():
        raise CertificateError(f"The key was not good on the day of issue, {found['date']}.")
    if today > key.until:
        raise CertificateError(
            f"The key expired on {key.until}: it vouches for nothing since. Ask the issuer for a new one."
        )
    return found


def _sign(certificate: Certificate, body: bytes, key: keys.Key | None) -> bytes:
    what = certificate.content | {"content_sha256": certificate.hash, "page_sha256": hashlib.sha256(body).hexdigest()}
    if key is None:
        return canonical(what)
    what["key"] = key.public.public
    return canonical(what | {"signature": key.sign(canonical(what))})


def _tail(body: bytes, held: bytes) -> bytes:
    """The JSON as a comment; then the end of a PDF once more, since readers look for it in the last bytes."""
    start = re.findall(rb"startxref\s+(\d+)\s+%%EOF", body)[-1]
    return MARK + base64.b64encode(held) + b"\nstartxref\n" + start + b"\n%%EOF\n"


def _split(held: bytes, path: Path) -> tuple[bytes, bytes]:
    body, mark, rest = held.rpartition(MARK)
    try:
        found = base64.b64decode(rest.partition(b"\n")[0], validate=True)
        if mark and _tail(body, found) == mark + rest:
            return body, found
    except (ValueError, IndexError):
        pass
    raise CertificateError(f"{path} carries no certificate, or its end was changed.")


def _rows(path: Path):
    try:
        text = textfiles.read_text(path)
        # A spreadsheet in Spanish or German puts semicolons, "Unicode text" has tabs.
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
            yield _spelt(uncell(row["learner"])), row["assignment"], int(row["total"] or 0), int(row["of"] or 0)
    except FileNotFoundError:
        raise CertificateError(
            f"There is no file {path}. It is made by: arset grade FOLDER --out {path.name}."
        ) from None
    except (KeyError, TypeError, ValueError, csv.Error) as problem:
        raise CertificateError(f"Expected {path} as arset grade writes it, received {problem!r}.") from None


def _spelt(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split())


def _file_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "certificate"
