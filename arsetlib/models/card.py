"""The folder of a trained model of any kind: its parts, and a card that says what it is, with the SHA-256 of each part.

    card.json     what the model is and what fits it; put last, so that only a complete folder has it
    model.keras   or another file; what the parts are is decided by who calls: ``models.folder`` for series,
                  ``groves.segmenter``, ``fields.classifier``

A part that is missing or altered is refused. Nothing in the folder is code.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import folders, textfiles
from arsetlib.checksums import digest_json, sha256
from arsetlib.models.registry import ModelError

CARD = "card.json"
KERAS = "model.keras"
SCHEMA = 1
LARGEST = 64 << 20  # bytes of a card; it holds one number for each metric and epoch
PACKAGES = ("arsetlib", "keras", "tensorflow", "tensorflow-cpu", "scikit-learn", "skops", "numpy")


def write(folder: str | Path, card: dict, fill: Callable[[Path], None]) -> Path:
    """Write a model's folder: first all parts, then the card.

    A model that the folder holds stays until all parts of the new one are written.

    Args:
        folder: A new or empty folder, or one that holds a model, which is replaced.
        card: What the card says; schema, versions, files and checksums are added.
        fill: Writes the parts into the folder that it is given.

    Raises:
        ModelError: The folder holds something else.
    """
    folder = folders.place(folder).absolute()
    new = not folder.exists()
    if not new and not (folder.is_dir() and _is_ours(folder)):
        raise ModelError(
            f"Expected a new or empty folder or one that holds a model, received {folder}, which holds something else. "
            "Choose another folder."
        )
    folders.remove_partial(folder)  # of a process that was killed
    try:
        with folders.workspace(folder / folders.WORK) as work:
            fill(work)
            parts = sorted(work.iterdir())
            sums = {"files": {f.name: sha256(f) for f in parts}}
            card = plain({"schema": SCHEMA, **card, "versions": versions()}) | sums
            card["sha256"] = digest(card)
            for part in parts:
                folders.put(folder / part.name, part)
        folders.put_json(folder / CARD, card)
        for old in folder.iterdir():
            if old.is_file() and old.name != CARD and old.name not in card["files"]:
                old.unlink()  # a part of the model that was here before
    finally:
        if new and isinstance(folder, Path) and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return folder


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds a model, nothing, or what a killed process left of writing one."""
    names = {file.name for file in folder.iterdir() if not folders.is_temporary(file.name)}
    return CARD in names or names <= {folders.WORK, KERAS, "model.skops", "model.json", "scaler.json"}


def read(folder: str | Path, command: str = "arset train") -> dict:
    """The card of a model's folder, if it is unchanged.

    Args:
        folder: Of a model.
        command: What makes such a folder, for the message.

    Raises:
        ModelError: There is none, it has another schema version, or it was altered.
    """
    folder = folders.place(folder)
    file = folder / CARD
    if not file.is_file():
        content = sorted(f.name for f in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise ModelError(f"Expected a model's folder with {CARD} at {folder}, found {content}. Train one: `{command}`.")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it has {file.stat().st_size / 1e6:,.0f} MB")
        card = _renewed(textfiles.read_json(file))
        version, own = card["schema"], digest(card)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{file} is not a card of a model: {error!r}. Copy the whole folder again, or train again."
        ) from error
    if version != SCHEMA:
        raise ModelError(
            f"{file} has schema version {version}, this library reads version {SCHEMA}. "
            + ("Update the library." if isinstance(version, int) and version > SCHEMA else "Train the model again.")
        )
    if card.get("sha256") != own:
        raise ModelError(
            f"{file} was altered after the model was saved: its checksum differs. Copy the whole folder again; the "
            "card of a trained model cannot be changed."
        )
    files = card.get("files")
    if not isinstance(files, dict) or not all(isinstance(sum_, str) for sum_ in files.values()):
        raise ModelError(f"{file} does not name the parts of the model. Copy the whole folder again, or train again.")
    return card


def _renewed(card: dict) -> dict:
    """A card as it is written today; segmentation models of earlier versions had one of their own."""
    if not isinstance(card, dict) or "schema" in card or card.get("card") != 1:
        return card
    values = {name: value for name, value in card.items() if name not in ("card", "sha256")}
    card = {"schema": SCHEMA, "type": "segmentation", "name": "", **values, "files": {KERAS: card["sha256"]}}
    return card | {"sha256": digest(card)}


@contextlib.contextmanager
def understood(file: Path, error: type[ValueError] = ModelError) -> Any:
    """Turn the errors that a card with wrong values causes into one clear error.

    Args:
        file: The card.
        error: What is raised. Errors of this library pass as they are.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError) as problem:
        if type(problem).__module__.startswith("arsetlib"):
            raise
        raise error(
            f"{file} lacks a value, or has one of another kind ({type(problem).__name__}: {first_line(problem)}) "
            "It was not written by this library, or by another version. Copy the whole folder again, or train again."
        ) from problem


def check_parts(folder: str | Path, card: dict, models: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Stop where a part is missing, altered or unknown.

    Args:
        folder: Of a model.
        card: Its card.
        models: Names of the model; there must be exactly one of them.
        others: Names that may be there, too.
    """
    folder, files = Path(folder), card["files"]
    if len([name for name in files if name in models]) != 1 or set(files) - {*models, *others}:
        and_its = f" and its {' and '.join(others)}" if others else ""
        raise ModelError(f"{folder / CARD} names the parts {sorted(files)}, expected one model{and_its}.")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{folder} lacks its part {name}. Copy the whole folder again, or train again.")
        received = sha256(file)
        if received != expected:
            raise ModelError(
                f"{file} is altered or damaged: expected sha256 {expected[:12]}…, received {received[:12]}…. "
                "Copy the whole folder again, or train again."
            )


def history(card: dict) -> dict[str, list[float]]:
    """Metric → one value an epoch; JSON has no NaN, so None stands for it there."""
    return {name: [math.nan if v is None else v for v in values] for name, values in card["history"].items()}


def versions() -> dict[str, str]:
    """Versions that a model's file may depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def digest(card: dict) -> str:
    """Of the card without its own digest."""
    rest = {key: value for key, value in card.items() if key != "sha256"}
    return digest_json(rest)


def plain(value: Any) -> Any:
    """JSON values: NumPy numbers as numbers, None for what is not finite, keys as text."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) or value is None else str(value)


def save_keras(model: Any, folder: Path) -> None:
    """Write the network of a model as ``model.keras``, without its optimiser, which is not part of what was learned."""
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.save(folder / KERAS)


def keras_model(file: str | Path, error: type[ValueError] = ModelError) -> Any:
    """Read the model of a ``.keras`` file in safe mode: no code from the file is run.

    Layers of this library that it may hold must have been imported.

    Args:
        file: The file.
        error: What is raised.

    Raises:
        ValueError: As ``error``: no such file, or none that Keras can load safely.
    """
    import keras

    if not Path(file).is_file():
        raise error(f"There is no model file {file}.")
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as problem:  # a damaged or hostile file can raise anything
        raise error(
            f"{file} cannot be loaded in safe mode: {first_line(problem)} Expected layers of Keras and of this library "
            "and no code (no Lambda). Load models only from those you trust; train and save this one again."
        ) from problem


def first_line(error: Exception) -> str:
    """The first line of an error's message, as a sentence."""
    text = (str(error).strip() or type(error).__name__).split("\n")[0][:300]
    return text if text.endswith(".") else text + "."
