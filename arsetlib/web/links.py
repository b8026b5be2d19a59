"""Links without their secrets: what may be saved, printed and logged.

A link can hold a password, a signature or a token, under any name. So this module does not look for names of secrets:
it keeps what is known to be harmless (``PUBLIC_KEYS``) and removes every other part of a query, every fragment and
every user name.

Lab: part1_build_dataset.
"""

import logging
import posixpath
import re
from urllib.parse import unquote, urljoin, urlsplit

__all__ = ["PUBLIC_KEYS", "join", "public", "redact", "remote"]

# Keys of a query that select data and can never open anything.
PUBLIC_KEYS = frozenset((
    "alt", "asset", "assets", "band", "bands", "bbox", "collection", "collections", "crs", "date", "datetime", "day",
    "dl", "download", "epsg", "f", "format", "height", "id", "ids", "item", "items", "lang", "layer", "layers", "limit",
    "month", "offset", "page", "raw", "request", "resolution", "service", "startindex", "time", "v", "version",
    "versionid", "width", "year",
))  # fmt: skip
_VALUE = re.compile(r"[\w.,:+*/ ()\[\]-]{0,200}")  # no separator that could hide a further key
_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]*://")
_SPECIAL = re.compile(r"[?#;&%@:\\]")  # a URL without these has only a host and a path
_VSI = re.compile(r"/vsi(?:curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(?:_streaming)?[/?]")
_URL_IN_TEXT = re.compile(r"(?i)[a-z][a-z0-9+.-]*://[^\s'\"<>]+")
_IN_PATH = re.compile(r"(?i)(?:[;&]|%3b|%26|%3f|%23)[^/;&=]*?(?:=|%3d)[^/]*")
_PATH_IN_TEXT = re.compile(r"(?<![\w.])/[^\s'\"<>?#]*[?#][^\s'\"<>]+")  # as urllib3 prints it, without a host
_PAIR_IN_TEXT = re.compile(r"(?i)([?#;&]|%3f|%23|%3b|%26)([\w.~%+-]+?)(?:=|%3d)([^\s&;#'\"<>]*)")
_SPOKEN = re.compile(
    r"(?i)(\b(?:authorization|[\w-]*secret[\w-]*|[\w-]*token|passw(?:or)?d|pwd|jwt|signature|sig|[\w-]*credential"
    r"|[\w-]*(?:api|access|private)[_-]?key(?:[_-]?id)?)\b['\"]?\s*[:=]\s*['\"]?(?:bearer\s+|basic\s+)?|\bbearer\s+)"
    r"[^\s'\",;&}]+"
)


def remote(href: str) -> bool:
    """Whether each read of a link waits for a network: any URL but ``file://``, and GDAL's names for them."""
    found = _URL.match(href)
    return found[0].lower() != "file://" if found else _VSI.match(href) is not None


def public(url: str) -> str:
    """A URL without user, password, fragment and unknown parts of its query; any other URL, and a path, as it is.

    Args:
        url: A URL, also one after a prefix such as ``/vsicurl/``; or a path, which is returned unchanged.

    Returns:
        The same text where nothing had to be removed. Compare the two to know whether the link still works.

    Lab: part1_build_dataset.
    """
    found = _URL.search(url)
    if not found or not _SPECIAL.search(url, found.end()):
        return url
    before, rest = url[: found.end()], _without_user(url[found.end() :])
    place, tail, fragment = re.match(r"([^?#]*)(?:\?([^#]*))?(#.*)?\Z", rest, re.DOTALL).groups()
    place = _IN_PATH.sub("", place)
    pairs = re.split(r"[&;]", tail) if tail else []
    kept = [pair for pair in pairs if _harmless(*pair.partition("=")[::2])]
    if len(kept) < len(pairs) or fragment or place + (f"?{tail}" if tail is not None else "") != rest:
        return before + place + ("?" + "&".join(kept) if kept else "")
    return before + rest


def _without_user(rest: str) -> str:
    """``rest`` follows ``scheme://``. A password may hold ``/``, ``?`` and ``#`` although it should not."""
    host = re.match(r"[^/?#\\]*", rest)[0]
    name, _, port = host.rpartition("@")[2].partition(":")
    numbered = re.fullmatch(r"[0-9]{0,5}", port) is not None
    full = "." in name or name.startswith("[") or name.lower() == "localhost"
    if "@" in host and (full or "@" not in rest[len(host) :]):
        return _without_user(rest[host.rfind("@") + 1 :])
    if "@" in host or ("@" in rest and port and not (numbered and full)):
        return rest[rest.rfind("@") + 1 :]
    return rest if numbered or name.startswith("[") else name + rest[len(host) :]


def _harmless(key: str, value: str) -> bool:
    return unquote(key).lower() in PUBLIC_KEYS and _VALUE.fullmatch(unquote(unquote(value))) is not None


def redact(text: object) -> str:
    """Any text (a message, an answer) with the secrets in it replaced by ``…``."""
    text = _URL_IN_TEXT.sub(_marked, str(text))
    text = _PATH_IN_TEXT.sub(_marked, text)
    text = _PAIR_IN_TEXT.sub(lambda m: m[0] if _harmless(m[2], m[3]) else f"{m[1]}…", text)
    return _SPOKEN.sub(r"\1…", text)


def _marked(found: re.Match) -> str:
    text = found[0]
    clean = public(text) if "://" in text else public(f"path://-{text}").removeprefix("path://-")
    if clean == text or not re.search("[?#]", text):
        return clean
    return f"{clean}{'&' if '?' in clean else '?'}…"


class _Redacting(logging.Filter):
    """urllib3 logs each request's path with its query: keep secrets out of that log, too."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_Redacting())


def join(base: str, href: str) -> str:
    """The address of a link that stands in another document, also in one of an object store.

    >>> join("s3://bucket/delta/collection.json", "./items/a.json")
    's3://bucket/delta/items/a.json'
    >>> join("s3://bucket/my delta/items/a.json", "./first%20scene.tif")  # a store has names, not encoded ones
    's3://bucket/my delta/items/first scene.tif'
    """
    parts = urlsplit(base)
    if parts.scheme in ("http", "https") or _URL.match(href):
        return urljoin(base, href)
    path = posixpath.normpath(posixpath.join(posixpath.dirname(parts.path), unquote(href)))
    return f"{parts.scheme}://{parts.netloc}{path}"


def host(url: str) -> str:
    """The host of a URL in small letters, or nothing."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
