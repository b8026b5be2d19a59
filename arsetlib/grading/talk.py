"""Messages between the grader and the process that runs a learner's code: a length, then strict JSON.

Whoever controls the other process can write anything here, at any time. So a message has a largest size, is plain JSON
(no NaN, no number of thousands of digits, not nested without end) and is a dict; all else is a `TalkError`.
"""

from __future__ import annotations

import json
import os
import struct

from arsetlib.errors import ArsetError

MAX_BYTES = 16 << 20  # of one message
HEAD = struct.Struct(">I")


class TalkError(ArsetError, RuntimeError):
    """The other side is gone, or what it wrote is no message."""


def send(fd: int, message: dict) -> None:
    """Write one message.

    Raises:
        TalkError: It is larger than `MAX_BYTES`, or nobody reads.
    """
    body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_BYTES:
        raise TalkError(f"a message of {len(body) >> 20} MB, at most {MAX_BYTES >> 20} MB are allowed")
    data = memoryview(HEAD.pack(len(body)) + body)
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        raise TalkError("the process has ended") from None


def receive(fd: int) -> dict:
    """Read one message; waits until it is whole.

    Raises:
        TalkError: The stream ended, or this is no message.
    """
    (size,) = HEAD.unpack(_exactly(fd, HEAD.size))
    if size > MAX_BYTES:
        raise TalkError(f"a message of {size >> 20} MB, at most {MAX_BYTES >> 20} MB are allowed")
    return parse(_exactly(fd, size))


def parse(body: bytes) -> dict:
    """One message from its bytes.

    Raises:
        TalkError: It is no strict JSON, or no dict.
    """
    try:
        message = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError, MemoryError):
        raise TalkError("a message that is not strict JSON") from None
    if type(message) is not dict:
        raise TalkError("a message that is no dict")
    return message


def take_over() -> tuple[int, int]:
    """Keep standard input and output for messages; from now on input is empty, and what is printed goes to stderr.

    Returns:
        The descriptors to read messages from and to write them to; programs that this process starts do not get them.
    """
    ends = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return ends


def _exactly(fd: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = os.read(fd, min(1 << 20, size - len(parts)))
        except OSError:
            part = b""
        if not part:
            raise TalkError("the process has ended")
        parts += part
    return bytes(parts)


def _refuse(constant: str):
    raise ValueError(constant)
