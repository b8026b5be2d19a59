"""Weights that others have trained: files of `keras.applications`, downloaded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arsetlib import copies, folders
from arsetlib.models.card import first_line
from arsetlib.models.registry import ModelError

HOME = "https://storage.googleapis.com/tensorflow/keras-applications"


def fetch(name: str, address: str, md5: str | None = None) -> Path:
    """The file of the ImageNet weights of a network, downloaded once into Keras' own folder.

    Args:
        name: Of the network, for the message.
        address: URL.
        md5: Of the file; None where Keras names none.

    Raises:
        ModelError: The internet cannot be reached.
    """
    import keras

    try:
        file = address.rsplit("/", 1)[1]
        return Path(keras.utils.get_file(file, address, cache_subdir="models", file_hash=md5))
    except Exception as problem:  # Keras raises a bare Exception where the internet cannot be reached
        raise ModelError(
            f"The ImageNet weights of the {name} could not be fetched ({type(problem).__name__}). Without internet: "
            f"download {address} elsewhere and put it into ~/.keras/models, or name the file with weights='PATH'; "
            "weights=None starts from random ones."
        ) from problem


def load_weights(donor: Any, name: str, path: Path) -> Any:
    """Load a file of weights without classifier ('notop') into a network of the same kind, and return the network.

    Raises:
        ModelError: The file holds something else.
    """
    try:
        donor.load_weights(path)
    except (ValueError, OSError, KeyError, TypeError) as problem:
        raise ModelError(
            f"{path} does not hold weights of a {name} without its classifier ('notop'), nor a model of Keras. Keras "
            f"says: {first_line(problem)}"
        ) from problem
    return donor


def check_file(path: str | Path) -> Path:
    """The path of a file of weights, if it is there."""
    if not folders.place(path).is_file():
        raise ModelError(f"There is no file of weights {path}. Expected None, 'imagenet' or a file.")
    return copies.fetched(path)
