"""What goes wrong with folders and stores."""

from __future__ import annotations

from arsetlib.errors import ArsetError


class FolderError(ArsetError, RuntimeError):
    """A folder cannot be made, or is not as expected; the message says what to do."""


class OccupiedError(FolderError, FileExistsError):
    """The folder contains something else."""


class PlaceError(FolderError, ValueError):
    """A path or URL cannot be used; the message says how to write it."""


class StoreError(FolderError, OSError):
    """An object store refused a request or did not answer; the message says what to do. It contains no credentials."""
