"""The network, with patience: ask, search, download, sign.

Public services are slow, overloaded or half broken now and then. Here one place decides how long to wait, what to
try again, how much to accept and what to give up on, so that every failure ends as one sentence: what, where, what to
do. Nothing secret (signed links, passwords in a URL) reaches a message, a log or a file (``links``).

Lab: part1_build_dataset.
"""

import email.utils
import hashlib
import json
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import requests
from pystac.errors import STACError
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from tqdm.auto import tqdm
from urllib3.exceptions import LocationParseError

from arsetlib.errors import ArsetError
from arsetlib.links import host, public, redact

__all__ = [
    "GDAL_HTTP",
    "Answer",
    "CatalogueError",
    "Patience",
    "ask",
    "ask_json",
    "download",
    "parse_json",
    "public",
    "redact",
    "s3_options",
    "save",
    "search",
    "sign",
]


class CatalogueError(ArsetError, RuntimeError):
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
        whole: For a whole answer, headers included: one that drips for ever ends here. A download has no such end,
            it must bring ``SLOWEST`` bytes a second.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 120.0
    connect: float = 10.0
    read: float = 60.0
    whole: float = 300.0


PATIENCE = Patience()
RETRIED = {408, 425, 429, 500, 502, 503, 504}
PAGE, SMALLEST_PAGE = 100, 10  # items; Earth Search answers 500 or 502 above about 250
LARGEST = 128 << 20  # bytes of one answer, unpacked; a page of 100 items has about 3 MB
LARGEST_FILE = 50 << 30  # bytes of a download; the largest that is known, CDL at 10 m, has about 10 GB
SLOWEST = 1000  # bytes a second that a download must bring
REDIRECTS = 10
MOST_PAGES = 2000  # of one search
REPEATED_PAGES = 3  # pages in a row without a new item: the service goes in a circle
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


# -- storage that wants a token or keys ------------------------------------------------------------------------


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
        token, until = answer.get("token"), answer.get("msft:expiry")
        try:
            ends = datetime.fromisoformat(until).timestamp()
        except (TypeError, ValueError, OverflowError):
            ends = None
        if ends is None or not isinstance(token, str) or not re.fullmatch(r"[\w.~%&=+/:-]+", token):
            raise CatalogueError(
                f"{SAS_URL} should answer with a token and the time at which it ends; received "
                f"{', '.join(map(repr, answer)) or 'nothing'}. Run it again later, or take another catalogue."
            )
        _tokens[place] = token, ends
    return f"{href}?{token}"


EODATA = "eodata.dataspace.copernicus.eu"  # the s3 service of the Copernicus Data Space
_FINDS_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


def s3_options(href: str) -> dict[str, str]:
    """What GDAL needs beside ``GDAL_HTTP`` to read an ``s3://`` link; nothing for other links.

    Without keys in the environment, buckets are read as anybody may read them. With keys, requests are signed and
    say that the requester pays, which a bucket like ``sentinel-s2-l2a`` wants.

    Raises:
        CatalogueError: The link leads to the Copernicus Data Space (``s3://eodata``) and there are no keys.
    """
    if not href.lower().startswith("s3://"):
        return {}
    own = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    keys = any(os.environ.get(name) for name in _FINDS_KEYS) or own.is_file()
    eodata = host(href) == "eodata"
    if eodata and not keys:
        raise CatalogueError(
            f"{public(href)} lies in the Copernicus Data Space, which gives files only with keys. Make S3 keys "
            "for your account at https://eodata-s3keysmanager.dataspace.copernicus.eu, set the environment variables "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and run it again; or take Earth Search, which needs none."
        )
    if eodata:
        service = {"AWS_S3_ENDPOINT": EODATA, "AWS_VIRTUAL_HOSTING": "FALSE"}
        return {"AWS_NO_SIGN_REQUEST": "NO", **{k: os.environ.get(k) or v for k, v in service.items()}}
    unsigned = os.environ.get("AWS_NO_SIGN_REQUEST") or ("NO" if keys else "YES")
    return {"AWS_NO_SIGN_REQUEST": unsigned, **({"AWS_REQUEST_PAYER": "requester"} if keys else {})}


# -- one answer ------------------------------------------------------------------------------------------------


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
) -> Answer:
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
        CatalogueError: Refused (401, 403, 404, …), still failing after ``PATIENCE.attempts``, larger than ``LARGEST``
            or slower than ``PATIENCE.whole``.
    """
    trouble = ""
    for attempt in range(PATIENCE.attempts):
        wait = None
        try:
            answer = _within(PATIENCE.whole, _answer, method, url, body, headers)
        except TimeoutError:
            raise CatalogueError(
                f"{public(url)} did not end its answer within {PATIENCE.whole:g} s. "
                "Nothing is lost: run it again later, or take another catalogue."
            ) from None
        except _PASSING as error:
            trouble = _silence(error)
        except (requests.RequestException, LocationParseError) as error:
            raise CatalogueError(f"{public(url)} cannot be asked: {redact(error)}.") from None
        else:
            if answer.status < 400:
                return answer
            trouble = _status(answer, url)
            wait = _retry_after(answer)
            if smaller and answer.status in (500, 502, 504):
                url, body = smaller(url, body)
        if attempt + 1 < PATIENCE.attempts:
            _pause(attempt, wait, url, trouble)
    raise _gave_up(url, trouble)


def ask_json(url: str, **how) -> dict:
    """``ask`` for a JSON object."""
    answer = ask(url, **how)
    try:
        found = parse_json(answer.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        start = redact(" ".join(answer.text[:200].split()))[:80]
        raise CatalogueError(
            f"{public(url)} should answer with a JSON object; received {start!r}. "
            "Check the URL in the study file, and that no login page stands between."
        )
    return found


def parse_json(content: bytes):
    """JSON in UTF-8, with or without a byte order mark, in UTF-16 or in UTF-32.

    Raises:
        ValueError: It is not JSON, or nested too deeply to be a document of a service.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _answer(stop: threading.Event, method: str, url: str, body, headers) -> Answer:
    """Ask once. The body is read in small pieces, so that a bomb is noticed before it is unpacked."""
    with _open(method, url, body, {"Accept-Encoding": "gzip, deflate", **(headers or {})}) as answer:
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


def _open(method: str, url: str, body, headers: dict) -> requests.Response:
    """Headers of an answer; its body is still to be read. Redirects are followed here, for requests reads their bodies
    whole."""
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

    A time-out of a socket counts from piece to piece, so a server that sends a byte now and then never meets it.
    The thread left behind ends with its next piece, at the latest with this process.
    """
    done, stop = Future(), threading.Event()
    _start(done, work, stop, *arguments)
    try:
        return done.result(timeout=seconds)
    finally:
        stop.set()


def _start(done: Future, work: Callable, *arguments) -> None:
    """Do ``work`` in a thread that does not keep the process alive; its result or error goes into ``done``."""

    def run():
        try:
            done.set_result(work(*arguments))
        except BaseException as error:  # raised again where the result is asked for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()


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


def _status(answer: Answer, url: str) -> str:
    """Name a failure worth another try; raise one that is not."""
    code = answer.status
    if code in RETRIED:
        return f"HTTP {code} {answer.reason}"
    hint = {
        401: "It wants a login; use a public catalogue, or a link that needs none.",
        403: "The link has expired or is not public: delete the saved item list (items.json), search again and rerun.",
        404: "It is not there: check the address; if it came from an item list, search again.",
    }.get(code, "Check the address and what was asked for.")
    said = redact(" ".join(answer.text[:300].split()))[:160] if code == 400 else ""
    raise CatalogueError(f"{public(url)} answered HTTP {code} {answer.reason}. {hint} {said}".rstrip())


def _retry_after(answer: Answer) -> float | None:
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
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


_NO_API = (
    APIError, ClientTypeError, STACError, PystacClientWarning, AttributeError, KeyError, TypeError, ValueError,
    NotImplementedError, RecursionError,
)  # fmt: skip  # what pystac and pystac-client raise where an answer is not what the standard says


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
    given = matched = 0
    known: set[str] = set()
    repeated = 0
    try:
        found = _search(url, collection, area, when, leave_out)
        for number, page in enumerate(found, 1):
            features = page["features"]
            if not all(isinstance(feature, dict) for feature in features):
                raise TypeError("a page holds features that are no objects")
            counts = [page.get("numberMatched"), (page.get("context") or {}).get("matched"), matched]
            matched = matched or max(int(c) for c in counts if c is not None)
            given += len(features)
            new = {str(feature.get("id")) for feature in features} - known
            known |= new
            repeated = 0 if new else repeated + 1
            if repeated >= REPEATED_PAGES or number > MOST_PAGES:
                raise CatalogueError(
                    f"{public(url)} gives pages without end: after {number} pages and {len(known)} items its 'next' "
                    "link leads on. Report it to the service, or use a static item list."
                )
            yield from features
    except _NO_API as error:
        raise _no_root(url, error) from None
    if given < matched:
        raise CatalogueError(
            f"{public(url)} said it has {matched} items and gave {given}. Nothing was kept; run it again."
        )


def _search(url: str, collection: str, area: dict, when: str, leave_out: tuple[str, ...]) -> Iterator[dict]:
    fields = {"exclude": [f"assets.{name}" for name in leave_out]}
    fields["include"] = ["id", "type", "collection", "geometry", "bbox", "properties", "assets"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PystacClientWarning)
        client = Client.open(url, stac_io=_PatientIO())
        if not client.conforms_to(ConformanceClasses.ITEM_SEARCH) and client.get_single_link("search"):
            client.add_conforms_to("ITEM_SEARCH")  # an old API, such as Earth Search v0, does not say what it can
        found = client.search(
            collections=[collection],
            intersects=area,
            datetime=when,
            limit=PAGE,
            fields=fields if client.conforms_to(ConformanceClasses.FIELDS) else None,
        )
    return found.pages_as_dicts()


def _no_root(url: str, error: Exception) -> CatalogueError:
    """What a URL is that does not answer as the root of an API, and what to write instead."""
    why = f"{type(error).__name__}: {' '.join(redact(error).split())[:200]}"
    remedy = "The URL in [scenes] must be the root of a STAC API, or end in .json for a static catalogue."
    if not isinstance(error, APIError):
        try:
            there = ask_json(url)
        except CatalogueError:
            there = {}
        kind, name = there.get("type"), there.get("id")
        root = re.split(r"/(?:collections|search)(?:/|\?|$)", url, maxsplit=1)[0]
        if kind in ("Collection", "Feature", "FeatureCollection") and root != url:
            its = f', and collection = "{name}"' if kind == "Collection" and isinstance(name, str) else ""
            what = {"Collection": "a collection", "Feature": "one item"}.get(kind, "a page of items")
            why = f"it is {what} of an API, not its root"
            remedy = f'In [scenes], write url = "{public(root)}"{its}.'
        elif kind in ("Catalog", "Collection", "FeatureCollection") and not there.get("conformsTo"):
            why = "it is a static catalogue that cannot be searched"
            remedy = "In [scenes] url, give the address of its file, which ends in .json."
    return CatalogueError(f"{public(url)} does not answer as a STAC API should ({why}). {remedy}")


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
            refused = _watched(part, url, mark, target, progress)
            if refused is None:
                break
            if refused.status == 416:  # the file there is no longer the one begun
                part.unlink(missing_ok=True)
                trouble = "HTTP 416 for the rest of the file"
            else:
                trouble, wait = _status(refused, url), _retry_after(refused)
        except TimeoutError:
            trouble = f"less than {SLOWEST} bytes a second for {PATIENCE.read:g} s"
        except _PASSING as error:
            trouble = _silence(error)
        except (requests.RequestException, LocationParseError) as error:
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


def _watched(part: Path, *arguments) -> Answer | None:
    """``_fetch`` in a thread that is left behind when it brings too little; the answer where it was refused."""
    done, stop = Future(), threading.Event()
    _start(done, _fetch, stop, part, *arguments)
    came = _size(part)
    try:
        while True:
            try:
                return done.result(timeout=PATIENCE.connect + PATIENCE.read)
            except TimeoutError:
                before, came = came, _size(part)
                if done.done() or came - before < SLOWEST * PATIENCE.read:
                    raise
    finally:
        stop.set()


def _fetch(stop: threading.Event, part: Path, url: str, mark: Path, target: Path, progress: bool) -> Answer | None:
    with _open("GET", url, None, _resume(part, mark)) as answer:
        if not answer.ok:
            start = next(answer.iter_content(1 << 10), b"")
            return Answer(answer.status_code, answer.reason or "", answer.headers, start)
        _receive(stop, answer, part, mark, target, progress)
    return None


def _resume(part: Path, mark: Path) -> dict[str, str]:
    """Ask for the rest of what was begun, and only if it is still the same file."""
    headers = {"Accept-Encoding": "identity"}
    if _size(part) and mark.exists():
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": mark.read_text(encoding="utf-8")}
    return headers


def _receive(stop, answer: requests.Response, part: Path, mark: Path, target: Path, progress: bool) -> None:
    have = _size(part) if answer.status_code == 206 else 0
    if have and not re.match(rf"bytes {have}-", answer.headers.get("Content-Range", "")):
        part.unlink()  # another piece than the one asked for
        raise requests.exceptions.ChunkedEncodingError("wrong piece")
    declared = answer.headers.get("Content-Length", "")
    left = int(declared) if declared.isdecimal() else 0
    if have + left > LARGEST_FILE:
        raise CatalogueError(
            f"{target.name} would have {(have + left) / 1e9:.0f} GB; at most {LARGEST_FILE / 1e9:.0f} GB are fetched. "
            "Check the address, or fetch the file by hand."
        )
    free = shutil.disk_usage(part.parent).free
    if left > free:
        raise CatalogueError(
            f"{target.name} needs {left / 1e9:.2f} GB more and {part.parent} has {free / 1e9:.2f} GB free. "
            "Free some space or give another cache folder; what was fetched is kept, a rerun goes on from there."
        )
    etag = answer.headers.get("ETag", "")
    version = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
    if version:
        mark.write_text(version, encoding="utf-8")
    else:
        mark.unlink(missing_ok=True)
    with (
        part.open("ab" if have else "wb", buffering=0) as out,  # its size tells how fast it comes
        tqdm(
            desc=target.name,
            initial=have,
            total=have + left or None,
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        size = have
        for block in answer.iter_content(1 << 16):
            if stop.is_set():
                return
            size += len(block)
            if size > LARGEST_FILE:
                raise CatalogueError(
                    f"{target.name} has more than {LARGEST_FILE / 1e9:.0f} GB. Check the address, or fetch it by hand."
                )
            out.write(block)
            bar.update(len(block))
    if left and "Content-Encoding" not in answer.headers and size != have + left:
        raise requests.exceptions.ChunkedEncodingError("incomplete")


def _unwritable(path: Path, error: OSError) -> CatalogueError:
    return CatalogueError(
        f"Cannot write {path}: {error.strerror or error}. Free some space (or give another cache folder) and run "
        "it again; what is complete is kept."
    )
