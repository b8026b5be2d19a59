"""A server that Google's client can use, for tests: moto's, with Google's numbers of versions put before it.

obstore's Google client sends requests of S3's kind (PUT, GET, lists as XML, uploads in parts). The emulators on PyPI
(gcp-storage-emulator, fake-gcs-server) refuse those: they speak Google's other protocol, of JSON. What differs from S3
is the condition of a put: the number of a version in a header of its own, 0 where there must be no file. This
translates it into S3's tags. It has no keys and no roles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import objectstore

BEFORE = """
s3 = app
def google(environ, start):
    wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
    if wanted == "0":
        environ["HTTP_IF_NONE_MATCH"] = "*"
    elif wanted:
        environ["HTTP_IF_MATCH"] = '"%032x"' % int(wanted)
    environ["HTTP_AUTHORIZATION"] = "AWS4-HMAC-SHA256 Credential=test-key/20260101/us-east-1/s3/aws4_request"
    for name in ("RAW_URI", "REQUEST_URI"):
        path, mark, query = environ[name].partition("?")
        for code, sign in (("%2F", "/"), ("%2D", "-"), ("%2E", ".")):
            path = path.replace(code, sign)
        environ[name] = path + mark + query
    def answer(status, headers, *rest):
        tag = next((value.strip('"') for name, value in headers if name.lower() == "etag"), None)
        if tag:
            headers = [*headers, ("x-goog-generation", str(int(tag.partition("-")[0], 16)))]
        return start(status, headers, *rest)
    return s3(environ, answer)
app = google
"""


def variables(url: str) -> dict[str, str]:
    """What a program needs to use the server."""
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account), "GOOGLE_ALLOW_HTTP": "true"}


@contextmanager
def serve() -> Iterator[str]:
    """Start the server; gives its URL."""
    with objectstore.s3_server(BEFORE) as url:
        yield url


def new_container(url: str) -> str:
    """Make an empty bucket; gives its address, ``gs://…``."""
    return objectstore.new_bucket(url).replace("s3:", "gs:")
