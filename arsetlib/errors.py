"""The base of all errors of this library: ``except ArsetError`` catches each of them.

Labs: all.
"""

__all__ = ["ArsetError"]


class ArsetError(Exception):
    """The input, a file or a service is not as expected; the message says what was expected, what came, what to do.

    Each error of the library is also a built-in one (``ValueError``, ``RuntimeError``, …), for code that knows only
    those.
    """
