"""The folder of a trained model: whole or not at all, with a card that says what it is and the sha256 of every part.

What the parts are is the business of who calls: ``models.folder`` for series, ``fields.classifier`` for images.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from arsetlib import textfiles
from arsetlib.models.registry import ModelError

CARD = "card.json"
SCHEMA = 1
LARGEST = 64 << 20  # bytes of a card; it holds one number for each metric and epoch
PACKAGES = ("arsetlib", "keras", "tensorflow", "tensorflow-cpu", "scikit-learn", "skops", "numpy")


def write(folder: str | Path, card: dict, fill: Callable[[Path], None]) -> Path:
    """Write a folder under another name and rename it when it is complete.

    Args:
        folder: A new or empty folder, or one that holds a model, which is replaced.
        card: What the card says; schema, versions, files and checksums are added.
        fill: Writes the parts into the folder that it is given.

    Raises:
        ModelError: The folder holds something else.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and ((folder / CARD).is_file() or not any(folder.iterdir()))):
        raise ModelError(
            f"Expected a new or empty folder or one that holds a model, received {folder}, which holds something else. "
            "Choose another folder."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".partial", dir=folder.parent))
    try:
        fill(partial)
        files = {f.name: sha256(f) for f in sorted(partial.iterdir())}
        card = plain({"schema": SCHEMA, **card, "versions": versions()}) | {"files": files}
        card["sha256"] = digest(card)
        (partial / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        _put(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def _put(partial: Path, folder: Path) -> None:
    """Rename the finished folder to its name; what stood there goes once the new one is in place."""
    old = partial.with_name(partial.name + "-old")
    if folder.exists():
        folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read(folder: str | Path, command: str = "arset train") -> dict:
    """The card of a model's folder, if it is as it was written.

    Args:
        folder: Of a model.
        command: What makes such a folder, for the message.

    Raises:
        ModelError: None there, of another schema version, or altered.
    """
    folder = Path(folder)
    file = folder / CARD
    if not file.is_file():
        found = sorted(f.name for f in folder.iterdir()) if folder.is_dir() else "no such folder"
        raise ModelError(f"Expected a model's folder with {CARD} at {folder}, found {found}. Train one: `{command}`.")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it has {file.stat().st_size / 1e6:,.0f} MB")
        card = textfiles.read_json(file)
        version, own = card["schema"], digest(card)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{file} is no card of a model: {error!r}. Take a whole copy, or train again.") from error
    if version != SCHEMA:
        raise ModelError(
            f"{file} has schema version {version}, this library reads version {SCHEMA}. "
            + ("Update the library." if isinstance(version, int) and version > SCHEMA else "Train the model again.")
        )
    if card.get("sha256") != own:
        raise ModelError(
            f"{file} was altered after the model was saved: its checksum does not fit. Take a whole copy of the "
            "folder; what a model was made with cannot be changed afterwards."
        )
    files = card.get("files")
    if not isinstance(files, dict) or not all(isinstance(sum_, str) for sum_ in files.values()):
        raise ModelError(f"{file} does not name the parts of the model. Take a whole copy, or train again.")
    return card


@contextlib.contextmanager
def understood(file: Path, error: type[ValueError] = ModelError):
    """Make what a card of the wrong kind does to code that uses it one error.

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
            "It was not written by this library, or by another version. Take a whole copy, or train again."
        ) from problem


def check_parts(folder: str | Path, card: dict, models: tuple[str, ...], others: tuple[str, ...] = ()) -> None:
    """Stop where a part is missing, altered, or none that such a folder has.

    Args:
        folder: Of a model.
        card: Its card.
        models: Names of which there must be one.
        others: Names that there may be, too.
    """
    folder, files = Path(folder), card["files"]
    if len([name for name in files if name in models]) != 1 or set(files) - {*models, *others}:
        and_its = f" and its {' and '.join(others)}" if others else ""
        raise ModelError(f"{folder / CARD} names the parts {sorted(files)}, expected one model{and_its}.")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{folder} lacks its part {name}. Take a whole copy of the folder, or train again.")
        received = sha256(file)
        if received != expected:
            raise ModelError(
                f"{file} is altered or damaged: expected sha256 {expected[:12]}…, received {received[:12]}…. "
                "Take a whole copy of the folder, or train again."
            )


def history(card: dict) -> dict[str, list[float]]:
    """Metric → one value an epoch; JSON has no NaN, so None stands for it there."""
    return {name: [math.nan if v is None else v for v in values] for name, values in card["history"].items()}


def versions() -> dict[str, str]:
    """Versions that a model's file may hang on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def digest(card: dict) -> str:
    """Of the card without its own digest."""
    rest = {key: value for key, value in card.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plain(value):
    """Only what JSON holds: NumPy numbers as numbers, what is not finite as None, keys as text."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) or value is None else str(value)


def keras_model(file: str | Path, error: type[ValueError] = ModelError):
    """The model of a ``.keras`` file, in safe mode: no code from the file is run.

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
    except Exception as problem:  # what a damaged or hostile file makes of the reader is not ours to foresee
        raise error(
            f"{file} cannot be loaded in safe mode: {first_line(problem)} Expected layers of Keras and of this library "
            "and no code (no Lambda). Load models only from those you trust; train and save this one again."
        ) from problem


def first_line(error: Exception) -> str:
    """The first line of what an error says, as a sentence."""
    text = (str(error).strip() or type(error).__name__).split("\n")[0][:300]
    return text if text.endswith(".") else text + "."
