"""Keys that sign certificates (Ed25519): a private file for the issuer, a public file for all who verify.

Keys never enter a repository: none is written to, or read from, a git work tree.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from arsetlib import folders
from arsetlib.errors import ArsetError

__all__ = ["CertificateError", "Key", "PublicKey", "load", "load_public", "make"]

PRIVATE, PUBLIC = "private.pem", "public.json"


class CertificateError(ArsetError, ValueError):
    """A certificate or key cannot be made, used or trusted; the message says why."""


def canonical(content: dict) -> bytes:
    """The only form in which a certificate or key is written as JSON: any other byte counts as a change."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def parse(data: bytes, name: str) -> dict:
    """Read what `canonical` wrote; ``name`` is for the message.

    Raises:
        CertificateError: It differs from what `canonical` writes, even by one space.
    """
    try:
        content = json.loads(data.decode("utf-8"))
        if isinstance(content, dict) and canonical(content) == data:
            return content
    except (ValueError, RecursionError):
        pass
    raise CertificateError(f"{name} is damaged or was changed: it is not in the form in which it was written.")


@dataclass(frozen=True)
class PublicKey:
    """The key that verifies.

    Attributes:
        public: The key, 64 hexadecimal digits.
        issuer: Who signs with it; may be empty.
        since: First day on which it is valid.
        until: Last day on which it is valid.
    """

    public: str
    issuer: str
    since: date
    until: date

    @property
    def name(self) -> str:
        """The first 16 digits, short enough to read aloud."""
        return "-".join(self.public[at : at + 4] for at in (0, 4, 8, 12))

    def signed(self, message: bytes, signature: str) -> bool:
        """Whether this key signed the message."""
        try:
            raw = bytes.fromhex(signature)
            if raw.hex() != signature:  # capital letters count as a change
                return False
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public)).verify(raw, message)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


@dataclass(frozen=True)
class Key:
    """The key that signs: a private key and its public key."""

    private: Ed25519PrivateKey
    public: PublicKey

    def sign(self, message: bytes) -> str:
        """The signature, hexadecimal."""
        return self.private.sign(message).hex()


def make(folder: str | Path, until: date, issuer: str = "", today: date | None = None) -> Path:
    """Make a pair of keys: ``private.pem``, readable only by its owner, and ``public.json`` to hand out.

    Args:
        folder: A new folder, or one without keys.
        until: Last day on which certificates signed with it verify.
        issuer: Who signs, printed on certificates.
        today: First day on which it is valid; by default today.

    Returns:
        The public file.

    Raises:
        CertificateError: The folder is in a git work tree, has keys already, or ``until`` is in the past.
    """
    folder = folders.on_this_disk(folder, "the folder of private keys", CertificateError).expanduser()
    since = today or date.today()
    _away_from_git(folder)
    if until < since:
        raise CertificateError(f"Expected a last day in the future, received {until}.")
    for name in (PRIVATE, PUBLIC):
        if (folder / name).exists():
            raise CertificateError(f"{folder / name} exists. Choose another folder: a lost key cannot be made again.")
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    content = {"arset": "public key", "public": raw.hex(), "issuer": issuer.strip()}
    content |= {"since": since.isoformat(), "until": until.isoformat()}
    content["signature"] = private.sign(canonical(content)).hex()
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / PRIVATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secret)
    (folder / PUBLIC).write_bytes(canonical(content))
    return folder / PUBLIC


def load(folder: str | Path) -> Key:
    """The pair of keys in a folder that `make` wrote.

    Raises:
        CertificateError: It is missing, is not a pair, is in a git work tree, or others may read it.
    """
    folder = folders.on_this_disk(folder, "the folder of private keys", CertificateError).expanduser()
    _away_from_git(folder)
    place = folder / PRIVATE
    if not place.is_file():
        raise CertificateError(
            f"There is no {place}. Make a pair of keys: arset certificate key {folder} --until DATE."
        )
    if os.name == "posix" and stat.S_IMODE(place.stat().st_mode) & 0o077:
        raise CertificateError(f"Others can read {place}. Run: chmod 600 {place}, or better, make a new pair.")
    try:
        private = serialization.load_pem_private_key(place.read_bytes(), None)
    except (ValueError, TypeError) as problem:
        raise CertificateError(f"{place} is not a private key: {problem}") from None
    public = load_public(folder / PUBLIC)
    if not isinstance(private, Ed25519PrivateKey) or not public.signed(b"", private.sign(b"").hex()):
        raise CertificateError(f"{place} and {folder / PUBLIC} are not a pair.")
    return Key(private, public)


def load_public(path: str | Path) -> PublicKey:
    """The public key in a file.

    Raises:
        CertificateError: It is missing or was changed.
    """
    path = folders.place(path)
    if not path.is_file():
        raise CertificateError(f"There is no public key {path}. Ask the issuer for the file {PUBLIC}.")
    content = parse(path.read_bytes(), f"The key {path}")
    signature = content.pop("signature", "")
    try:
        key = PublicKey(
            str(content["public"]), str(content["issuer"]), date.fromisoformat(content["since"]),
            date.fromisoformat(content["until"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise CertificateError(f"Expected a public key as arset certificate key makes it, received {path}.") from None
    if content.get("arset") != "public key" or not key.signed(canonical(content), signature):
        raise CertificateError(f"The key {path} was changed after it was made. Ask the issuer for the file {PUBLIC}.")
    return key


def _away_from_git(folder: Path) -> None:
    resolved = folder.absolute().resolve()
    for place in (resolved, *resolved.parents):
        if (place / ".git").exists():
            raise CertificateError(
                f"{folder} is in the git work tree {place}: a key there could be published by mistake. "
                "Choose a folder outside of it, for instance ~/.arset-keys."
            )
