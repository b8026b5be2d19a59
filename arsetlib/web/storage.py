"""Storage that needs a token or keys, and what GDAL needs to read files over http."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from arsetlib import stores
from arsetlib.web.answers import CatalogueError, ask_json
from arsetlib.web.links import host, public

if TYPE_CHECKING:
    import rasterio

BLOB_HOST = ".blob.core.windows.net"
SAS_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
EODATA = "eodata.dataspace.copernicus.eu"  # the s3 service of the Copernicus Data Space
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

PAYER = {"AWS_REQUEST_PAYER": "requester"}
_KEY_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_tokens: dict[str, tuple[str, float]] = {}


def sign(href: str) -> str:
    """A link that can be opened now: Planetary Computer's storage needs a short-lived token, others nothing.

    Saved links contain no token, so no credential is stored and none expires on disk. Tokens are fetched when a link
    is used, and kept in memory until five minutes before they end.
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


def gdal(**settings: Any) -> rasterio.Env:
    """GDAL with these settings, for ``with``. It finds keys of S3 by itself, as they are when a file is opened.

    ``rasterio.Env`` alone makes a session of boto3 each time while keys are in the environment: 8 ms, also for a file
    on disk.
    """
    import rasterio
    from rasterio.session import DummySession

    return rasterio.Env(DummySession(), **settings)


def s3_options(href: str) -> dict[str, str]:
    """What GDAL needs in addition to ``GDAL_HTTP`` to read an ``s3://`` link; nothing for other links.

    Without keys in the environment or a file of keys, buckets are read anonymously; ``AWS_NO_SIGN_REQUEST=NO`` signs
    with the role of the machine. Signed requests say that the requester pays, which a bucket like ``sentinel-s2-l2a``
    requires. ``AWS_ENDPOINT_URL`` names another service than Amazon's.

    Raises:
        CatalogueError: The link leads to the Copernicus Data Space (``s3://eodata``) and there are no keys.
    """
    if not href.lower().startswith("s3://"):
        return {}
    own = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    file = {"CPL_AWS_CREDENTIALS_FILE": str(own)} if own.is_file() else {}  # GDAL does not know Amazon's variable
    keys = any(os.environ.get(name) for name in _KEY_VARIABLES) or bool(file)
    eodata = host(href) == "eodata"
    if eodata and not keys:
        raise CatalogueError(
            f"{public(href)} is in the Copernicus Data Space, which gives files only with keys. Make S3 keys "
            "for your account at https://eodata-s3keysmanager.dataspace.copernicus.eu, set the environment variables "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and run it again; or take Earth Search, which needs none."
        )
    if eodata:
        service = {"AWS_S3_ENDPOINT": EODATA, "AWS_VIRTUAL_HOSTING": "FALSE"}
        return {"AWS_NO_SIGN_REQUEST": "NO", **file, **{k: os.environ.get(k) or v for k, v in service.items()}}
    said = stores.unsigned(os.environ)
    unsigned = not keys if said is None else said  # "NO" without keys: the role of the machine
    signing = {"AWS_NO_SIGN_REQUEST": "YES"} if unsigned else {"AWS_NO_SIGN_REQUEST": "NO", **PAYER}
    return {**signing, **file, **_endpoint()}


def _endpoint() -> dict[str, str]:
    """Another service than Amazon's, in GDAL's words, where the environment names one in Amazon's."""
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not address or os.environ.get("AWS_S3_ENDPOINT"):
        return {}
    parts = urlsplit(address)
    return {
        "AWS_S3_ENDPOINT": parts.netloc.rpartition("@")[2],
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
