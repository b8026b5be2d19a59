"""Messages between the grader and another process: the length in four bytes, then strict JSON.

A learner's code can write any bytes into this channel at any time. So a message is limited in size, must be strict JSON
(no NaN, no endless nesting, no number with thousands of digits) and must be a dict. Anything else is a `ProtocolError`.
"""

from __future__ import annotations

import json
import os
import struct

from arsetlib.errors import ArsetError

__all__ = ["ENDED", "ProtocolError", "parse", "receive", "send", "take_over_stdio"]

MAX_BYTES = 16 << 20  # of one message
LENGTH = struct.Struct(">I")
ENDED = "the process has ended"  # text of the error that `receive` and `send` raise then


class ProtocolError(ArsetError, RuntimeError):
    """The other process has ended, or what it sent is not a message."""


def send(fd: int, message: dict) -> None:
    """Write one message.

    Raises:
        ProtocolError: It is larger than `MAX_BYTES`, or the other process has ended.
    """
    body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    _check_size(len(body))
    data = memoryview(LENGTH.pack(len(body)) + body)
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        raise ProtocolError(ENDED) from None


def receive(fd: int) -> dict:
    """Wait for one message and read it.

    Raises:
        ProtocolError: The stream ended, or this is not a message.
    """
    (size,) = LENGTH.unpack(_read_exactly(fd, LENGTH.size))
    _check_size(size)
    return parse(_read_exactly(fd, size))


def parse(body: bytes) -> dict:
    """The message in these bytes.

    Raises:
        ProtocolError: They are not strict JSON, or not a dict.
    """
    try:
        message = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError, MemoryError):
        raise ProtocolError("a message that is not strict JSON") from None
    if type(message) is not dict:
        raise ProtocolError("a message that is not a dict")
    return message


def take_over_stdio() -> tuple[int, int]:
    """Use standard input and output for messages only. Afterwards input is empty and prints go to standard error.

    Returns:
        File descriptors to read messages from and to write them to. Child processes do not inherit them.
    """
    channel = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return channel


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ProtocolError(f"a message of {size >> 20} MB, at most {MAX_BYTES >> 20} MB are allowed")


def _read_exactly(fd: int, size: int) -> bytes:
    body = bytearray()
    while len(body) < size:
        try:
            part = os.read(fd, min(1 << 20, size - len(body)))
        except OSError:
            part = b""
        if not part:
            raise ProtocolError(ENDED)
        body += part
    return bytes(body)


def _refuse_constant(constant: str) -> None:
    raise ValueError(constant)
