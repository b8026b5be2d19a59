"""One answer of a service, however slow, overloaded or broken the service is.

This module decides how long to wait, what to try again, how much to accept and when to stop, so that every failure
ends as one sentence: what, where, what to do. Nothing secret (signed links, passwords in a URL) reaches a message, a
log or a file (``web.links``).
"""

from __future__ import annotations

import email.utils
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urljoin

import requests
from urllib3.exceptions import LocationParseError

from arsetlib import textfiles
from arsetlib.errors import ArsetError
from arsetlib.web.links import public, redact


class CatalogueError(ArsetError, RuntimeError):
    """Scenes or labels are not available or not usable; the message says what, where and what to do.

    Attributes:
        status: With which a server refused; None where it did not.
    """

    status: int | None = None


@dataclass(frozen=True)
class Patience:
    """How long to wait for a service, seconds.

    Attributes:
        attempts: Tries before giving up.
        first: Wait after the first failure; doubles each time.
        longest: Longest single wait. If a server asks for more (Retry-After), the call ends.
        connect: To open a connection.
        read: Between two pieces of an answer: a stalled body ends here.
        whole: For a whole answer, headers included, so that a very slow one ends, too. A download has no such limit;
            it must bring ``downloads.SLOWEST`` bytes a second.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 120.0
    connect: float = 10.0
    read: float = 60.0
    whole: float = 300.0


PATIENCE = Patience()
RETRIED = {408, 425, 429, 500, 502, 503, 504}
LARGEST = 128 << 20  # bytes of one answer, unpacked; a page of 100 items has about 3 MB
REDIRECTS = 10

_session = requests.Session()


@dataclass(frozen=True)
class Answer:
    """A complete answer of a service."""

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """As UTF-8, UTF-16 or UTF-32 text, whichever the first bytes say; a byte order mark is left out."""
        return self.content.decode(json.detect_encoding(self.content), errors="replace")


def ask(
    url: str,
    method: str = "GET",
    body: dict | None = None,
    headers: dict | None = None,
    smaller: Callable[[str, dict | None], tuple[str, dict | None]] | None = None,
    attempts: int | None = None,
) -> Answer:
    """Ask a service, again with growing pauses while it is overloaded or does not answer.

    Args:
        url: Where.
        method: ``GET`` or ``POST``.
        body: Sent as JSON.
        headers: More headers.
        smaller: Makes (url, body) ask for less; called after 500, 502 and 504, which large answers cause.
        attempts: Tries before giving up; ``PATIENCE.attempts`` by default.

    Returns:
        A complete answer with a status below 400.

    Raises:
        CatalogueError: Refused (401, 403, 404, …), still failing after all attempts, larger than ``LARGEST``
            or slower than ``PATIENCE.whole``.
    """
    trouble, attempts = "", attempts or PATIENCE.attempts
    for attempt in range(attempts):
        wait = None
        try:
            answer = _within(PATIENCE.whole, _answer, method, url, body, headers)
        except TimeoutError:
            raise CatalogueError(
                f"{public(url)} did not finish its answer within {PATIENCE.whole:g} s. "
                "Nothing is lost: run it again later, or take another catalogue."
            ) from None
        except PASSING as error:
            trouble = failure_text(error)
        except (requests.RequestException, LocationParseError) as error:
            raise CatalogueError(f"{public(url)} cannot be asked: {redact(error)}.") from None
        else:
            if answer.status < 400:
                return answer
            trouble = status_text(answer, url)
            wait = retry_after(answer)
            if smaller and answer.status in (500, 502, 504):
                url, body = smaller(url, body)
        if attempt + 1 < attempts:
            pause(attempt, wait, url, trouble)
    raise gave_up(url, attempts, trouble)


def ask_json(url: str) -> dict:
    """``ask`` for a JSON object."""
    answer = ask(url)
    try:
        document = textfiles.parse_json(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        start = redact(" ".join(answer.text[:200].split()))[:80]
        raise CatalogueError(
            f"{public(url)} should answer with a JSON object; received {start!r}. "
            "Check the URL in the study file, and that no login page comes first."
        )
    return document


def _answer(stop: threading.Event, method: str, url: str, body, headers) -> Answer:
    """Ask once. The body is unpacked in small pieces, so that an answer that unpacks to gigabytes is stopped early."""
    with request(method, url, body, {"Accept-Encoding": "gzip, deflate", **(headers or {})}) as answer:
        packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise CatalogueError(
                f"{public(url)} packs its answer as {packed[:40]!r}, not as gzip. Take another catalogue."
            )
        content = bytearray()
        for piece in answer.iter_content(1 << 14):
            content += piece
            if len(content) > LARGEST:
                raise CatalogueError(
                    f"{public(url)} answers with more than {LARGEST >> 20} MB, more than any catalogue needs. "
                    "Check the URL in the study file; divide a large item list into several files."
                )
            if stop.is_set():
                break
        declared = answer.headers.get("Content-Length", "")
        if declared.isdecimal() and method != "HEAD" and answer.raw.tell() < int(declared):
            raise requests.exceptions.ChunkedEncodingError("incomplete")
        return Answer(answer.status_code, answer.reason or "", answer.headers, bytes(content))


def request(method: str, url: str, body: dict | None, headers: dict) -> requests.Response:
    """Send a request and read the headers of the answer, not its body.

    Redirects are followed here, because ``requests`` reads their whole bodies.
    """
    for _ in range(REDIRECTS):
        answer = _session.request(
            method,
            url,
            json=body,
            headers=headers,
            timeout=(PATIENCE.connect, PATIENCE.read),
            stream=True,
            allow_redirects=False,
        )
        if not answer.is_redirect:
            return answer
        answer.close()
        url = urljoin(url, answer.headers["Location"])
        if answer.status_code not in (307, 308):
            method, body = "GET", None
    raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects")


def _within(seconds: float, work: Callable, *arguments):
    """The result of ``work(stop, *arguments)``; where it takes longer, ``stop`` is set and TimeoutError raised.

    A time-out of a socket starts again with each piece, so it never ends an answer that sends a byte now and then.
    The thread that is left behind ends with its next piece, at the latest with this process.
    """
    done: Future = Future()
    stop = threading.Event()
    in_thread(done, work, stop, *arguments)
    try:
        return done.result(timeout=seconds)
    finally:
        stop.set()


def in_thread(done: Future, work: Callable, *arguments) -> None:
    """Do ``work`` in a daemon thread; its result or error goes into ``done``."""

    def run():
        try:
            done.set_result(work(*arguments))
        except BaseException as error:  # raised again where the result is asked for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()


PASSING = (  # errors after which another try may succeed
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


def failure_text(error: Exception) -> str:
    """What went wrong with the connection, in words."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {PATIENCE.connect:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"nothing more received for {PATIENCE.read:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer ended too early"
    return f"no connection ({type(error).__name__})"


def status_text(answer: Answer, url: str) -> str:
    """A status after which another try may succeed, in words; any other is raised.

    Raises:
        CatalogueError: The status is final.
    """
    code = answer.status
    if code in RETRIED:
        return f"HTTP {code} {answer.reason}"
    hint = {
        401: "It needs a login; use a public catalogue, or a link that needs none.",
        403: "The link has expired or is not public: delete the saved item list (items.json), search again and rerun.",
        404: "It is not there: check the address; if it came from an item list, search again.",
    }.get(code, "Check the address and what was asked for.")
    text = redact(" ".join(answer.text[:300].split()))[:160] if code == 400 else ""
    refused = CatalogueError(f"{public(url)} answered HTTP {code} {answer.reason}. {hint} {text}".rstrip())
    refused.status = code
    raise refused


def retry_after(answer: Answer) -> float | None:
    """Seconds that the service asks to wait, where it does."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def pause(attempt: int, wait: float | None, url: str, trouble: str) -> None:
    """Wait before the next attempt.

    Raises:
        CatalogueError: The service asks for a longer pause than ``PATIENCE.longest``.
    """
    if wait is not None and wait > PATIENCE.longest:
        raise CatalogueError(
            f"{public(url)} answered {trouble} and asks to wait {wait:.0f} s. Nothing is lost: run it again then."
        )
    time.sleep(wait if wait is not None else min(PATIENCE.first * 2**attempt, PATIENCE.longest))


def gave_up(url: str, attempts: int, trouble: str) -> CatalogueError:
    return CatalogueError(
        f"{public(url)} failed {attempts} times, last: {trouble}. "
        "Check the connection or wait for the service; nothing is lost: run it again to continue."
    )
