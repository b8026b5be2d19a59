"""What a file is, by its first bytes, where it cannot be read; and which files belong to the operating system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rasterio

SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}
RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".rw2", ".orf", ".raf")  # of a camera; often a TIFF by its first bytes
ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}  # first bytes
MARKS = (  # first bytes, what the file is, what to do
    (b"%PDF", "a PDF file", "Export the picture from it."),
    (b"GIF8", "a GIF image", "Export it as PNG."),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image", "Export it as TIFF or PNG."),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", "Export it as JPEG or PNG."),
    (b"\xff\x0a", "a JPEG XL image", "Export it as JPEG or PNG."),
    (b"8BPS", "a Photoshop document", "Export it as PNG."),
    (b"gimp xcf", "a GIMP document", "Export it as PNG."),
    (b"SQLite format 3", "an SQLite file", "Expected a picture."),
    (b"\x00\x05\x16\x07", "a file of macOS with attributes, not pixels", "Delete it."),
    (b"\x93NUMPY", "a NumPy array", "Save it as PNG."),
    (b"\x89HDF", "an HDF5 file", "Export the picture as PNG or TIFF."),
    (b"\x89PNG", "a damaged PNG", "Copy or export it again."),
    (b"\xff\xd8\xff", "a damaged JPEG", "Copy or export it again."),
)
HEIF = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF"}


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name belongs to the operating system: hidden, ``._a.png``, ``Thumbs.db`` …"""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def placeholder(path: str | Path, thing: str = "file") -> str:
    """Say that a file is empty, has only zero bytes, is an archive, a Git LFS pointer or a web page, and what to do.

    The text is empty if it is none of these, or if the path is not a file on this disk.

    >>> from pathlib import Path; import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.tif"; file.touch()
    >>> placeholder(file)
    'is empty (0 bytes). Copy it again.'
    """
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            head = file.read(512)
    except (OSError, ValueError, TypeError):  # the last: a place in an object store
        return ""
    if not size:
        return "is empty (0 bytes). Copy it again."
    if not head.strip(b"\0"):
        return f"holds only zero bytes at its beginning ({size:,} bytes): a copy was interrupted. Copy it again."
    if packed := next((name for mark, name in ARCHIVES.items() if head.startswith(mark)), ""):
        return f"is a {packed} archive, not the {thing} itself. Unpack it."
    if head.startswith(b"version https://git-lfs"):
        return f"is a Git LFS pointer, not the {thing} itself. Fetch the {thing}: git lfs pull."
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="ignore").lower()
    if text.lstrip().startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in text[:200]:
        return f"is a web page, not a {thing}: the server sent a message. Download the {thing} again."
    if "<error" in text[:200]:
        return f"is an XML text ({text[:60]!r} …), not a {thing}: a server's message. Download the {thing} again."
    return ""


def saved_with_losses(src: rasterio.DatasetReader) -> str:
    """The lossy compression of an open raster, which changes codes and other values; empty where there is none."""
    if not hasattr(src, "tags"):  # opened by ingest.tiff or ingest.remote, which read no such compression
        return ""
    tags = src.tags(ns="IMAGE_STRUCTURE")
    packed = tags.get("COMPRESSION", "")
    if src.driver == "JPEG" or packed.endswith("JPEG"):  # also "YCbCr JPEG"
        return "JPEG"
    if tags.get("COMPRESSION_REVERSIBILITY", "").startswith("LOSSY"):
        return f"{packed or src.driver} with losses"
    if float(tags.get("MAX_Z_ERROR", 0)) >= 0.5:  # LERC; with a smaller error whole numbers stay the same
        return f"{packed} with errors up to {tags['MAX_Z_ERROR']}"
    return ""


def what_is(path: Path) -> str:
    """Say what a file is, by its first bytes, and what to do: the end of a sentence that begins with its name.

    >>> from pathlib import Path; import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.jpg"; file.touch()
    >>> what_is(file)
    'is empty (0 bytes). Copy it again.'
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        return "does not exist. Copy it there, or leave it out."
    except IsADirectoryError:
        return "is a folder; expected a picture. Rename it."
    except OSError as problem:
        return f"cannot be opened ({problem.strerror}). Check its permissions."
    if found := placeholder(path, "picture"):
        return found
    if head[4:8] == b"ftyp":
        kind = HEIF.get(head[8:12])
        what = f"a {kind} image" if kind == "HEIC" else f"an {kind} image" if kind else "a video"
        return f"is {what}, which cannot be read here. Export it as JPEG or PNG."
    if path.suffix.lower() in RAW:
        return "is a raw file of a camera. Export it as TIFF or JPEG."
    for mark, what, remedy in MARKS:
        if head.startswith(mark):
            return f"is {what}. {remedy}"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(path)
    return _text(head)


def _tiff(path: Path) -> str:
    import warnings

    import rasterio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                kinds = ", ".join(sorted(set(source.dtypes)))
                packed = f", compressed with {source.compression.value}" if source.compression else ""
                return (
                    f"is a TIFF of {source.count} band(s) of {kinds} ({source.width} × {source.height} pixels{packed})."
                    " Export three bands of 8 bits with PHOTOMETRIC=RGB, a mask as one band of 8 bits, with DEFLATE or "
                    "without compression."
                )
    except rasterio.RasterioIOError:
        return "is a damaged TIFF image. Copy or export it again."


def _text(head: bytes) -> str:
    for encoding in ("utf-16", "utf-8-sig") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        text = head.decode(encoding, errors="ignore").lstrip()
        if text[:200].lower().startswith(("<?xml", "<svg")):
            return f"is an XML text ({text[:60]!r} …), not a picture. Export or download the picture again."
        if text and sum(c.isprintable() or c.isspace() for c in text) > 0.97 * len(text) and len(text) > len(head) // 3:
            return f"is a text ({text[:60]!r} …), not a picture. Copy or export the picture again."
    return f"is not a picture of a known kind (it begins with the bytes {head[:8].hex(' ')}). Export it as PNG or JPEG."
