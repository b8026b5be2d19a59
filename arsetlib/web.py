"""The network, with patience: ask, search, download, sign.

Public services are slow, overloaded or half broken now and then. Here one place decides how long to wait, what to
try again and what to give up on, so that every failure ends as one sentence: what, where, what to do. Nothing
secret (signed links, passwords in a URL) reaches a message, a log or a file.

Lab: part1_build_dataset.
"""

import email.utils
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import requests
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from tqdm.auto import tqdm

__all__ = [
    "GDAL_HTTP",
    "CatalogueError",
    "Patience",
    "ask",
    "ask_json",
    "download",
    "public",
    "redact",
    "save",
    "search",
    "sign",
]


class CatalogueError(RuntimeError):
    """Scenes or labels could not be had; the message says what, where and what to do."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a service, seconds.

    Attributes:
        attempts: Tries before giving up.
        first: Wait after the first failure; doubles each time.
        longest: Longest single wait. A server that asks for more (Retry-After) is left alone until a rerun.
        connect: To open a connection.
        read: Between two pieces of an answer: a stalled body ends here.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 120.0
    connect: float = 10.0
    read: float = 60.0


PATIENCE = Patience()
RETRIED = {408, 425, 429, 500, 502, 503, 504}
PAGE, SMALLEST_PAGE = 100, 10  # items; Earth Search answers 500 or 502 above about 250
BLOB_HOST = ".blob.core.windows.net"
SAS_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"

# What GDAL needs to read COGs over http: range requests only, time-outs, its own retries, no directory listing.
GDAL_HTTP = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "VSI_CACHE": "TRUE",
    "AWS_NO_SIGN_REQUEST": "YES",
}

_session = requests.Session()
_tokens: dict[str, tuple[str, float]] = {}


# -- secrets ---------------------------------------------------------------------------------------------------

_SECRET = re.compile(
    r"(?i)(?:^|[?&;#])(?:sig|signature|sas|[\w-]*token|[\w-]*api[_-]?key|key|[\w-]*subscription-key|pass(?:word|wd)?|pwd"
    r"|[\w-]*secret|[\w-]*credential|x-(?:amz|goog)-[\w-]+|awsaccesskeyid|googleaccessid|key-pair-id|policy)="
)
_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s?#'\"]*@")
_QUERY = re.compile(r"[?#][^\s'\"<>]*")


def public(url: str) -> str:
    """A URL without user, password or signed query; any other URL, and a path, as it is."""
    url = _USER.sub(r"\1", url)
    if "://" not in url or not _SECRET.search(unquote("?" + url.partition("?")[2] + url.partition("#")[2])):
        return url
    return re.split(r"[?#]", url, maxsplit=1)[0]


def redact(text: object) -> str:
    """Any text (a message, an answer) with the secrets of the URLs in it left out."""
    text = _USER.sub(r"\1", str(text))
    return _QUERY.sub(lambda m: f"{m[0][0]}…" if _SECRET.search(unquote(m[0])) else m[0], text)


class _Redacting(logging.Filter):
    """urllib3 logs each request's path with its query: keep secrets out of that log, too."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_Redacting())


def sign(href: str) -> str:
    """A link that can be opened now: Planetary Computer's storage wants a short-lived token, others nothing.

    Saved links carry no token, so that no credential is stored and none expires on disk; tokens are fetched when a
    link is used and kept in memory until five minutes before they end.
    """
    parts = urlsplit(href)
    if not (parts.hostname or "").endswith(BLOB_HOST) or parts.query:
        return href
    place = f"{parts.hostname.split('.')[0]}/{parts.path.lstrip('/').split('/')[0]}"
    token, ends = _tokens.get(place, ("", 0.0))
    if time.time() > ends - 300:
        answer = ask_json(f"{SAS_URL}/{place}")
        token = str(answer.get("token", ""))
        ends = datetime.fromisoformat(str(answer.get("msft:expiry", "1970-01-01T00:00:00Z"))).timestamp()
        _tokens[place] = token, ends
    return f"{href}?{token}"


# -- one answer ------------------------------------------------------------------------------------------------


def ask(
    url: str,
    method: str = "GET",
    body: dict | None = None,
    headers: dict | None = None,
    smaller: Callable[[str, dict | None], tuple[str, dict | None]] | None = None,
) -> requests.Response:
    """One answer of a service, asked for again with growing pauses while it is overloaded or silent.

    Args:
        url: Where.
        method: ``GET`` or ``POST``.
        body: Sent as JSON.
        headers: More headers.
        smaller: Makes (url, body) ask for less; called after 500, 502 and 504, which large answers cause.

    Returns:
        A complete answer with a status below 400.

    Raises:
        CatalogueError: Refused (401, 403, 404, …), or still failing after ``PATIENCE.attempts``.
    """
    trouble = ""
    for attempt in range(PATIENCE.attempts):
        wait = None
        try:
            answer = _session.request(
                method, url, json=body, headers=headers, timeout=(PATIENCE.connect, PATIENCE.read)
            )
        except _PASSING as error:
            trouble = _silence(error)
        except requests.RequestException as error:
            raise CatalogueError(f"{public(url)} cannot be asked: {redact(error)}.") from None
        else:
            if answer.ok:
                return answer
            trouble = _status(answer, url)
            wait = _retry_after(answer)
            if smaller and answer.status_code in (500, 502, 504):
                url, body = smaller(url, body)
        if attempt + 1 < PATIENCE.attempts:
            _pause(attempt, wait, url, trouble)
    raise _gave_up(url, trouble)


def ask_json(url: str, **how) -> dict:
    """``ask`` for a JSON object."""
    answer = ask(url, **how)
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        start = redact(" ".join(answer.text[:200].split()))[:80]
        raise CatalogueError(
            f"{public(url)} should answer with a JSON object; received {start!r}. "
            "Check the URL in the study file, and that no login page stands between."
        )
    return found


_PASSING = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


def _silence(error: Exception) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {PATIENCE.connect:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"nothing more received for {PATIENCE.read:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer broke off before its end"
    return f"no connection ({type(error).__name__})"


def _status(answer: requests.Response, url: str) -> str:
    """Name a failure worth another try; raise one that is not."""
    code = answer.status_code
    if code in RETRIED:
        return f"HTTP {code} {answer.reason}"
    hint = {
        401: "It wants a login; use a public catalogue, or a link that needs none.",
        403: "The link has expired or is not public: delete the saved item list (items.json), search again and rerun.",
        404: "It is not there: check the address; if it came from an item list, search again.",
    }.get(code, "Check the address and what was asked for.")
    said = redact(" ".join(answer.text[:300].split()))[:160] if code == 400 else ""
    raise CatalogueError(f"{public(url)} answered HTTP {code} {answer.reason}. {hint} {said}".rstrip())


def _retry_after(answer: requests.Response) -> float | None:
    value = answer.headers.get("Retry-After", "")
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _pause(attempt: int, wait: float | None, url: str, trouble: str) -> None:
    if wait is not None and wait > PATIENCE.longest:
        raise CatalogueError(
            f"{public(url)} answered {trouble} and asks to wait {wait:.0f} s. Nothing is lost: run it again then."
        )
    time.sleep(wait if wait is not None else min(PATIENCE.first * 2**attempt, PATIENCE.longest))


def _gave_up(url: str, trouble: str) -> CatalogueError:
    return CatalogueError(
        f"{public(url)} failed {PATIENCE.attempts} times, last: {trouble}. "
        "Check the connection or wait for the service; nothing is lost: run it again to go on."
    )


# -- STAC search -----------------------------------------------------------------------------------------------


class _PatientIO(StacApiIO):
    """pystac-client's connection with our patience, and smaller pages where large ones fail."""

    def __init__(self):
        super().__init__(max_retries=None)
        self.limit = PAGE
        self.asked: set[str] = set()

    def request(self, href, method=None, headers=None, parameters=None) -> str:
        method, body = (method or "GET").upper(), dict(parameters or {})
        if method == "GET":
            href, body = requests.Request("GET", href, params=body).prepare().url, None
        href, body = self._limited(href, body)
        if method == "POST" or "?" in href:
            key = f"{method} {href} {json.dumps(body, sort_keys=True)}"
            if key in self.asked:
                raise CatalogueError(
                    f"{public(href)} leads back to a page already read: its 'next' links go in a circle. "
                    "Report it to the service, or use a static item list."
                )
            self.asked.add(key)
        return ask(href, method, body, headers, self._smaller).text

    def _smaller(self, url, body):
        self.limit = max(SMALLEST_PAGE, self.limit // 2)
        return self._limited(url, body)

    def _limited(self, url, body):
        """Ask for at most ``self.limit`` items, except where pages are numbered: there a page's size is its place."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if {"page", "offset", "startIndex", "startindex"} & (set(query) | set(body or {})):
            return url, body
        if body is not None and "limit" in body:
            body = {**body, "limit": min(int(body["limit"]), self.limit)}
        if "limit" in query:
            query["limit"] = str(min(int(query["limit"]), self.limit))
            url = urlunsplit(parts._replace(query=urlencode(query)))
        return url, body


def search(url: str, collection: str, area: dict, when: str, leave_out: tuple[str, ...] = ()) -> Iterator[dict]:
    """Items of a STAC API, page after page.

    Args:
        url: Root of the API.
        collection: Collection id.
        area: GeoJSON geometry, longitude and latitude, that items must touch.
        when: ``start/end``, RFC 3339.
        leave_out: Names of assets not needed, left out of the answer where the API can.

    Yields:
        Items as dicts. An item may come twice.

    Raises:
        CatalogueError: The API failed, or gave fewer items than it said it has.
    """
    io = _PatientIO()
    try:
        client = Client.open(url, stac_io=io)
        fields = {"exclude": [f"assets.{name}" for name in leave_out]}
        fields["include"] = ["id", "type", "collection", "geometry", "bbox", "properties", "assets"]
        found = client.search(
            collections=[collection],
            intersects=area,
            datetime=when,
            limit=PAGE,
            fields=fields if client.conforms_to(ConformanceClasses.FIELDS) else None,
        )
        given, matched = 0, 0
        for page in found.pages_as_dicts():
            counts = [page.get("numberMatched"), (page.get("context") or {}).get("matched"), matched]
            matched = matched or max(int(c) for c in counts if c is not None)
            given += len(page["features"])
            yield from page["features"]
    except (APIError, KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise CatalogueError(
            f"{public(url)} does not answer as a STAC API should ({type(error).__name__}: {redact(error)[:200]}). "
            "The URL in [scenes] must be the root of a STAC API, or end in .json for a static catalogue."
        ) from None
    if given < matched:
        raise CatalogueError(
            f"{public(url)} said it has {matched} items and gave {given}. Nothing was kept; run it again."
        )


# -- files -----------------------------------------------------------------------------------------------------


def save(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def download(url: str, target: Path, md5: str | None = None, progress: bool = True) -> Path:
    """Fetch a large file; an interrupted download goes on where it stopped.

    Args:
        url: What.
        target: Where to put it. Until it is whole it is called ``<target>.part``.
        md5: Expected checksum, hex; None checks the length only.
        progress: Show a bar.

    Returns:
        ``target``.

    Raises:
        CatalogueError: Refused, still failing after ``PATIENCE.attempts``, checksum differs, or disk full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, mark = (target.with_name(target.name + end) for end in (".part", ".part.version"))
    trouble, attempt = "", 0
    while attempt < PATIENCE.attempts:
        wait, before = None, _size(part)
        try:
            with _session.get(
                url, headers=_resume(part, mark), stream=True, timeout=(PATIENCE.connect, PATIENCE.read)
            ) as answer:
                if answer.status_code == 416:  # the file there is no longer the one begun
                    part.unlink(missing_ok=True)
                    trouble = "HTTP 416 for the rest of the file"
                elif answer.ok:
                    _receive(answer, part, mark, target, progress)
                    break
                else:
                    trouble, wait = _status(answer, url), _retry_after(answer)
        except _PASSING as error:
            trouble = _silence(error)
        except requests.RequestException as error:
            raise CatalogueError(f"{public(url)} cannot be fetched: {redact(error)}.") from None
        except OSError as error:
            raise _unwritable(part, error) from None
        attempt = 0 if _size(part) > before + (1 << 20) else attempt + 1  # much came: start counting again
        if attempt < PATIENCE.attempts:
            _pause(attempt, wait, url, trouble)
    else:
        raise _gave_up(url, trouble)
    if md5 and (received := md5_of(part)) != md5:
        part.unlink()
        mark.unlink(missing_ok=True)
        raise CatalogueError(
            f"{public(url)} should have md5 {md5}; received {received}. The damaged file is deleted: run it again. "
            f"If the publisher has issued a new version, put its md5 into {target.name}.md5 beside it."
        )
    os.replace(part, target)
    mark.unlink(missing_ok=True)
    return target


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _resume(part: Path, mark: Path) -> dict[str, str]:
    """Ask for the rest of what was begun, and only if it is still the same file."""
    headers = {"Accept-Encoding": "identity"}
    if _size(part) and mark.exists():
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": mark.read_text(encoding="utf-8")}
    return headers


def _receive(answer: requests.Response, part: Path, mark: Path, target: Path, progress: bool) -> None:
    have = _size(part) if answer.status_code == 206 else 0
    left = int(answer.headers.get("Content-Length") or 0)
    free = shutil.disk_usage(part.parent).free
    if left > free:
        raise CatalogueError(
            f"{target.name} needs {left / 1e9:.2f} GB more and {part.parent} has {free / 1e9:.2f} GB free. "
            "Make room or give another cache folder; what was fetched is kept, a rerun goes on from there."
        )
    etag = answer.headers.get("ETag", "")
    version = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
    if version:
        mark.write_text(version, encoding="utf-8")
    else:
        mark.unlink(missing_ok=True)
    with (
        part.open("ab" if have else "wb") as out,
        tqdm(
            desc=target.name,
            initial=have,
            total=have + left or None,
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        for block in answer.iter_content(1 << 18):
            out.write(block)
            bar.update(len(block))


def _unwritable(path: Path, error: OSError) -> CatalogueError:
    return CatalogueError(
        f"Cannot write {path}: {error.strerror or error}. Make room (or give another cache folder) and run it again; "
        "what is complete is kept."
    )
