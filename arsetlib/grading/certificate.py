"""Certificates: learners who reach the pass mark in all assignments get a page and a small signed file.

    pages = issue("grades.csv", "certificates", key=keys.load("~/.arset-keys"), lang="es")
    verify("certificates/ada-lovelace.pdf", keys.load_public("public.json"))

Both files say the same. The JSON file has what the page says, the SHA-256 of the page and a signature over both. The
PDF file is the page, followed by the JSON in a comment. So each can be verified alone, without internet, and any
changed byte is found. A self-study certificate has no signature, and says so in large letters.

The signature is Ed25519 over canonical JSON rather than a JSON Web Token: a token would not be readable, and base64url
lets some letters change without a change of the signature.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from arsetlib import folders
from arsetlib.grading import certificate_pdf, keys
from arsetlib.grading.certificate_pdf import EDITION, PASS_MARK, SCHEMA, Certificate
from arsetlib.grading.gradebook import Course, GradebookEntry, gradebook
from arsetlib.grading.grades import Learner, best_points
from arsetlib.grading.homework import ASSIGNMENTS, normal_name
from arsetlib.grading.keys import CertificateError, canonical
from arsetlib.grading.submission import file_name
from arsetlib.translation import language, languages

__all__ = ["Certificate", "issue", "passed", "verify"]

COMMENT = b"\n%arset-certificate "  # starts the comment in the PDF


def passed(
    grades: list[str | Path],
    pass_mark: float = PASS_MARK,
    assignments: Sequence[str] = ASSIGNMENTS,
    course: Course | None = None,
) -> tuple[dict[Learner, dict[str, tuple[int, int]]], dict[Learner, str]]:
    """Learners who reached the pass mark in every assignment, and what the others lack.

    Args:
        grades: CSV files of ``arset grade``.
        pass_mark: Percent of the points of each assignment.
        assignments: Those that count; a course of three parts is a course.
        course: With it only learners of its roster count, and points are those of its gradebook, after lateness and
            rounded down. Its assignments and percent are taken in place of ``assignments`` and ``pass_mark``.

    Returns:
        Learner → assignment → (points, of) for those who passed; learner → what is missing for those who did not.

    Raises:
        CertificateError: There is no such assignment.
        GradeError: A file is not such a CSV.
    """
    if not assignments or (unknown := set(assignments) - set(ASSIGNMENTS)) or len(set(assignments)) < len(assignments):
        raise CertificateError(
            f"Expected assignments of {', '.join(ASSIGNMENTS)}, each once, received {', '.join(assignments) or 'none'}"
            f"{f': unknown is {min(unknown)}' if assignments and unknown else ''}."
        )
    points_of = best_points(grades)
    if course:
        entries = gradebook(grades, course).entries
        points_of = {
            learner: {key: (int(one.points), one.of) for key, one in of.items() if one != GradebookEntry()}
            for learner, of in entries.items()
        }
        pass_mark, assignments = course.pass_percent, tuple(course.assignments)
    done, missing = {}, {}
    for learner, every in sorted(points_of.items()):
        points = {key: every[key] for key in assignments if key in every}
        lacks = [key for key in assignments if key not in points]
        reasons = [f"not handed in: {', '.join(lacks)}"] if lacks else []
        for key, (got, of) in points.items():
            if of < 1:
                reasons.append(f"{key} could not be graded and counts as 0")
            elif 100 * got < pass_mark * of:
                reasons.append(f"{key} has {got} of {of}")
        if reasons:
            missing[learner] = "; ".join(reasons)
        else:
            done[learner] = points
    return done, missing


def issue(
    grades: str | Path | list[str | Path], out: str | Path, *, key: keys.Key | None = None, lang: str = "",
    pass_mark: float = PASS_MARK, edition: str = EDITION, day: date | None = None, learner: str = "",
    shown_as: str = "", font: str | Path | None = None, assignments: Sequence[str] = ASSIGNMENTS,
    course: Course | None = None,
) -> list[Path]:  # fmt: skip
    """Write certificates: a PDF and a JSON file for each learner who passed.

    Args:
        grades: CSV of ``arset grade``, or several.
        out: Folder to write to.
        key: The signing key; without one, self-study certificates.
        lang: "en" or "es"; by default the language in force.
        pass_mark: Percent of the points of each assignment.
        edition: Edition of the course.
        day: Day of issue; by default today.
        learner: Only this learner: a name or an ID.
        shown_as: The learner's name on the certificate, where the homework has another spelling.
        font: Font file (TTF or OTF) with letters of the names that DejaVu Sans does not have.
        assignments: Those that count; the certificate says which.
        course: As in `passed`: deadlines, roster, assignments and percent of a course file.

    Returns:
        The PDF files.

    Raises:
        CertificateError: Nobody passed, the key is not valid on that day, or the font lacks a letter of a name.
        GradeError: A file is not a CSV of ``arset grade``.
    """
    if course:
        pass_mark, assignments = course.pass_percent, tuple(course.assignments)
    if not 0 < pass_mark <= 100:
        raise CertificateError(f"Expected a pass mark over 0 and up to 100 percent, received {pass_mark:g}.")
    lang = lang or language()
    if lang not in languages():
        raise CertificateError(f"Expected a language of {', '.join(languages())}, received {lang!r}.")
    day = day or date.today()
    if key and not key.public.since <= day <= key.public.until:
        raise CertificateError(f"The key is valid from {key.public.since} to {key.public.until}, not on {day}.")
    done, missing = passed(grades if isinstance(grades, list) else [grades], pass_mark, assignments, course)
    if learner:
        wanted = normal_name(learner)
        lacks = "; ".join(f"{one}: {what}" for one, what in missing.items() if wanted in one)
        done = {one: points for one, points in done.items() if wanted in one}
        if not done:
            raise CertificateError(f"No certificate for {lacks or f'{wanted}: no such name or ID in the grades'}.")
    if shown_as and len(done) != 1:
        raise CertificateError("--shown-as is for one certificate: name the learner, too, with --learner.")
    if not done:
        lacks = "; ".join(f"{one}: {what}" for one, what in missing.items()) or "the grades have no learner"
        raise CertificateError(f"Nobody has {pass_mark:g} % in all of {', '.join(assignments)}. {lacks}.")
    issuer = key.public.issuer if key else ""
    certificates = [
        Certificate(
            normal_name(shown_as) or one.name,
            lang,
            day,
            points,
            issuer,
            pass_mark,
            edition,
            self_study=key is None,
            id=one.id,
        )
        for one, points in done.items()
    ]
    pages = [certificate_pdf.draw(one, key.public.name if key else "", font) for one in certificates]
    paths = []
    for one, page in zip(certificates, pages, strict=True):  # all pages are drawn: no font lacks a letter
        signed = _sign(one, page, key)
        path = folders.place(out) / f"{file_name(one.name) or 'certificate'}-{one.hash[:8]}.pdf"
        folders.put(path.with_suffix(".json"), signed)
        folders.put(path, page + _comment(page, signed))
        paths.append(path)
    return paths


def verify(path: str | Path, key: keys.PublicKey, today: date | None = None) -> dict:
    """Check that a PDF or JSON file is a certificate that the key signed, and that it is unchanged.

    Args:
        path: Either file.
        key: The issuer's public key, from a source you trust.
        today: By default today. A key that has expired proves nothing.

    Returns:
        What the certificate says.

    Raises:
        CertificateError: It is not; the message says why.
    """
    path, today = folders.place(path), today or date.today()
    if not path.is_file():
        raise CertificateError(f"There is no file {path}.")
    content, page = path.read_bytes(), None
    if content.startswith(b"%PDF"):
        page, content = _split(content, path)
    found = keys.parse(content, str(path))
    if page is not None and found.get("page_sha256") != hashlib.sha256(page).hexdigest():
        raise CertificateError(f"{path} was changed: its page is not the one that was issued.")
    if found.get("arset") == "self-study certificate":
        raise CertificateError(f"{path} is a self-study certificate: nobody has signed it, so it proves nothing.")
    if found.get("arset") != "certificate" or found.get("schema") != SCHEMA:
        raise CertificateError(f"Expected a certificate of this course, received {path}.")
    signature = found.pop("signature", "")
    if found.get("key") != key.public and not key.signed(canonical(found), signature):
        other = re.sub(r"[^0-9a-f]", "?", str(found.get("key")))[
            :16
        ]  # anybody may have written it: print only safe characters
        raise CertificateError(f"{path} was signed with another key ({other}…) or was changed.")
    if not key.signed(canonical(found), signature):
        raise CertificateError(f"{path} was changed: the signature does not fit what it says.")
    if not key.since.isoformat() <= found["date"] <= key.until.isoformat():
        raise CertificateError(f"The key was not valid on the day of issue, {found['date']}.")
    if today > key.until:
        raise CertificateError(
            f"The key expired on {key.until} and proves nothing since then. Ask the issuer for a new certificate."
        )
    return found


def _sign(certificate: Certificate, page: bytes, key: keys.Key | None) -> bytes:
    """The JSON file."""
    hashes = {"content_sha256": certificate.hash, "page_sha256": hashlib.sha256(page).hexdigest()}
    content = certificate.content | hashes
    if key is None:
        return canonical(content)
    content["key"] = key.public.public
    return canonical(content | {"signature": key.sign(canonical(content))})


def _comment(page: bytes, signed: bytes) -> bytes:
    """The JSON as a comment, then the end of a PDF once more, because readers look for it in the last bytes."""
    start = re.findall(rb"startxref\s+(\d+)\s+%%EOF", page)[-1]
    return COMMENT + base64.b64encode(signed) + b"\nstartxref\n" + start + b"\n%%EOF\n"


def _split(content: bytes, path: Path) -> tuple[bytes, bytes]:
    """The page and the JSON of a PDF file."""
    page, comment, rest = content.rpartition(COMMENT)
    try:
        signed = base64.b64decode(rest.partition(b"\n")[0], validate=True)
        if comment and _comment(page, signed) == comment + rest:
            return page, signed
    except (ValueError, IndexError):
        pass
    raise CertificateError(f"{path} contains no certificate, or its end was changed.")
