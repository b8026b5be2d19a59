"""Services and files on the internet: ask, search, download, sign.

    answers     one answer of a service, with retries and limits
    stac        search of a STAC API
    downloads   large files, continued where they stopped
    storage     tokens, keys, and GDAL's settings for http
    links       links without their secrets

Lab: part1_build_dataset.
"""

from arsetlib.web.answers import CatalogueError, Patience, ask, ask_json, request, retry_after
from arsetlib.web.downloads import download, md5_of, unwritable
from arsetlib.web.links import host, join, public, redact, remote
from arsetlib.web.stac import search
from arsetlib.web.storage import GDAL_HTTP, gdal, s3_options, sign

__all__ = [
    "GDAL_HTTP",
    "CatalogueError",
    "Patience",
    "ask",
    "ask_json",
    "download",
    "gdal",
    "host",
    "join",
    "md5_of",
    "public",
    "redact",
    "remote",
    "request",
    "retry_after",
    "s3_options",
    "search",
    "sign",
    "unwritable",
]
