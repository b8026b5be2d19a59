"""Keys that sign certificates: Ed25519, a private file for the issuer, a public one for all who verify.

Keys never enter a repository: none is written to, or read from, a folder that git looks after.
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

from arsetlib.errors import ArsetError

PRIVATE, PUBLIC = "private.pem", "public.json"


class CertificateError(ArsetError, ValueError):
    """A certificate or key that cannot be made or used; the message says why."""


def canonical(what: dict) -> bytes:
    """The one way in which a certificate or key is written as JSON. Every other byte is a change."""
    return (json.dumps(what, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def parse(held: bytes, what: str) -> dict:
    """Read what `canonical` wrote.

    Raises:
        CertificateError: It is something else, be it by one space.
    """
    try:
        found = json.loads(held.decode("utf-8"))
        if isinstance(found, dict) and canonical(found) == held:
            return found
    except (ValueError, RecursionError):
        pass
    raise CertificateError(f"{what} is damaged or was changed: it is not written as it would have been made.")


@dataclass(frozen=True)
class PublicKey:
    """What verifies.

    Attributes:
        public: The key, 64 hexadecimal digits.
        issuer: Who signs with it; may be empty.
        since: First day it is good for.
        until: Last day it is good for.
    """

    public: str
    issuer: str
    since: date
    until: date

    @property
    def name(self) -> str:
        """Short enough to be read aloud."""
        return "-".join(self.public[at : at + 4] for at in (0, 4, 8, 12))

    def signed(self, message: bytes, signature: str) -> bool:
        """Did this key sign the message?"""
        try:
            held = bytes.fromhex(signature)
            if held.hex() != signature:  # capital letters are a change, too
                return False
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public)).verify(held, message)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


@dataclass(frozen=True)
class Key:
    """What signs: a private key and its public side."""

    private: Ed25519PrivateKey
    public: PublicKey

    def sign(self, message: bytes) -> str:
        return self.private.sign(message).hex()


def make(folder: str | Path, until: date, issuer: str = "", today: date | None = None) -> Path:
    """Make a pair of keys: ``private.pem``, readable by its owner alone, and ``public.json`` to be handed out.

    Args:
        folder: A new folder, or one without keys.
        until: Last day on which certificates signed with it verify.
        issuer: Who signs, printed on certificates.
        today: The day it is good from; by default today.

    Returns:
        The public file.

    Raises:
        CertificateError: The folder is in a git work tree, has keys already, or ``until`` is past.
    """
    folder, since = Path(folder), today or date.today()
    _away_from_git(folder)
    if until < since:
        raise CertificateError(f"Expected a last day that is still to come, received {until}.")
    for name in (PRIVATE, PUBLIC):
        if (folder / name).exists():
            raise CertificateError(f"{folder / name} exists. Choose another folder: a lost key cannot be made again.")
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    body = {"arset": "public key", "public": raw.hex(), "issuer": issuer.strip()}
    body |= {"since": since.isoformat(), "until": until.isoformat()}
    body["signature"] = private.sign(canonical(body)).hex()
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / PRIVATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secret)
    (folder / PUBLIC).write_bytes(canonical(body))
    return folder / PUBLIC


def load(folder: str | Path) -> Key:
    """The pair in a folder that `make` filled.

    Raises:
        CertificateError: It is missing, does not belong together, lies in a git work tree, or others may read it.
    """
    folder = Path(folder)
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
        raise CertificateError(f"{place} is no private key: {problem}") from None
    public = load_public(folder / PUBLIC)
    if not isinstance(private, Ed25519PrivateKey) or not public.signed(b"", private.sign(b"").hex()):
        raise CertificateError(f"{place} and {folder / PUBLIC} are not of one pair.")
    return Key(private, public)


def load_public(path: str | Path) -> PublicKey:
    """The public side of a pair.

    Raises:
        CertificateError: It is missing or was changed.
    """
    path = Path(path)
    if not path.is_file():
        raise CertificateError(f"There is no public key {path}. Ask the issuer for the file {PUBLIC}.")
    found = parse(path.read_bytes(), f"The key {path}")
    signature = found.pop("signature", "")
    try:
        key = PublicKey(
            str(found["public"]), str(found["issuer"]), date.fromisoformat(found["since"]),
            date.fromisoformat(found["until"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise CertificateError(f"Expected a public key as arset certificate key makes it, received {path}.") from None
    if found.get("arset") != "public key" or not key.signed(canonical(found), signature):
        raise CertificateError(f"The key {path} was changed after it was made. Ask the issuer for the file {PUBLIC}.")
    return key


def _away_from_git(folder: Path) -> None:
    whole = folder.absolute().resolve()
    for place in (whole, *whole.parents):
        if (place / ".git").exists():
            raise CertificateError(
                f"{folder} is in {place}, which git looks after: a key there would be published one day. "
                "Choose a folder outside of it, for instance ~/.arset-keys."
            )
