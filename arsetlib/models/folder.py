"""Read trained models of every kind from their folders, and write those of series.

    model.keras   (or model.skops, model.json: baselines)
    scaler.json
    card.json     name, options, bands, channels, season, legend, study, history, notes, versions, and the sha256 of all

The card comes last, and a part that is missing or altered is refused, as are data that do not match. Nothing in the
folder is code: Keras reads with ``safe_mode``, skops with a list of types, the rest is JSON.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arsetlib import copies, folders
from arsetlib.models import card as files
from arsetlib.models.baselines import Baseline
from arsetlib.models.registry import KINDS, ModelError, build, is_baseline
from arsetlib.models.trained import Trained, shape_of
from arsetlib.samples import SampleError, Scaler
from arsetlib.samples.windows import CHOICES, FILLS
from arsetlib.study import Class, LabelSource, Legend, SceneSource, Season, Study

if TYPE_CHECKING:
    from arsetlib.fields import Classifier
    from arsetlib.groves import Segmenter

SCALER = "scaler.json"
MOST_DAYS = 1096  # largest number of days in a season; a study allows less
IN_CARD = ("key", "name", "simulated", "block_m", "drop_scl", "sensors", "indices", "day_of_year")  # of the study
MODELS = (files.KERAS, "model.skops", "model.json")
# Type of a card → the module whose ``read_model(folder, card)`` knows it, and the command that trains such a model.
# The modules of the case studies are imported when a folder of theirs is opened: they are above this one.
READERS = {
    "series": (__name__, "arset train"),
    "segmentation": ("arsetlib.groves.segmenter", "arset groves train"),
    "images": ("arsetlib.fields.classifier", "arset fields train"),
}


def load(
    folder: str | Path, study: Study | None = None, *, kind: str | None = None
) -> Trained | Segmenter | Classifier:
    """Read the folder of a trained model, or that of its training.

    Args:
        folder: What ``save`` of a trained model wrote, or the ``folder`` of a ``fit``; also in an object store
            (``s3://…``, see ``folders``).
        study: For models of series: the study whose data the model is for; it must have the same bands in the same
            order, steps and classes. Its name, places, years and first and last start may differ. Without it the
            model's own season, bands and legend make a study that is enough for loaders and predictions.
        kind: ``"series"``, ``"segmentation"`` or ``"images"`` where no other kind will do.

    Returns:
        A ``models.Trained``, ``groves.Segmenter`` or ``fields.Classifier``.

    Raises:
        ModelError: No model there; another kind; a part is missing or altered; the card is of another schema version;
            the study does not match; the network holds code, the baseline a type that is not trusted.

    Lab: part3_train_and_test.
    """
    folder = folders.place(folder)
    if not (folder / files.CARD).is_file() and (folder / "model" / files.CARD).is_file():
        folder = folder / "model"
    expected = kind or ("series" if study is not None else None)
    card = files.read(folder, READERS[expected or "series"][1])
    card_type = card.get("type", "series")
    if not isinstance(card_type, str) or card_type not in READERS:
        raise ModelError(f"{folder} holds a model of type {card_type!r}, which this library does not know. Update it.")
    if expected not in (None, card_type):
        raise ModelError(
            f"{folder} holds a model of type {card_type!r}, expected {expected!r}. Train one: `{READERS[expected][1]}`."
        )
    here = copies.fetched(folder)
    if card_type == "series":
        return read_model(here, card, study)
    return importlib.import_module(READERS[card_type][0]).read_model(here, card)


def read_model(folder: Path, card: dict, study: Study | None = None) -> Trained:
    """A model of series, of a folder whose card was read."""
    files.check_parts(folder, card, MODELS, (SCALER,))
    with files.understood(folder / files.CARD):
        return _load(folder, card, study)


def _load(folder: Path, card: dict, study: Study | None) -> Trained:
    own = _study(card, folder)
    if study is not None:
        _check_study(own, study, folder)
    (part,) = (name for name in card["files"] if name in MODELS)
    model = _read_model(folder / part, card)
    try:
        scaler = Scaler.load(folder / SCALER) if SCALER in card["files"] else None
    except SampleError as error:
        raise ModelError(f"{folder}: {error}") from error
    facts = {name: card[name] for name in ("choose", "fill", "notes", "options")}
    for name, kind in (("name", str), ("notes", dict), ("options", dict)):
        _expect(isinstance(card[name], kind), name, card[name])
    _expect(card["choose"] in CHOICES, "choose", card["choose"])
    _expect(card["fill"] in FILLS, "fill", card["fill"])
    return Trained(model, card["name"], scaler, study or own, history=files.history(card), **facts)


def write(trained: Trained, folder: str | Path) -> Path:
    """Write the folder of a model of series, see ``Trained.save``."""

    def fill(partial: Path) -> None:
        _write_model(trained, partial)
        if trained.scaler is not None:
            trained.scaler.save(partial / SCALER)

    return files.write(folder, _card(trained), fill)


# The network or the baseline


def _write_model(trained: Trained, folder: Path) -> None:
    model = trained.model
    if isinstance(model, Baseline):
        model.save(folder / ("model.json" if model.estimator is None else "model.skops"))
        return
    files.save_keras(model, folder)


def _read_model(file: Path, card: dict):
    if file.name != files.KERAS:
        if card["name"] not in KINDS or not is_baseline(card["name"]):
            raise ModelError(f"{file}: {card['name']!r} is no baseline of this library. Update it, or train again.")
        steps, bands, classes = card["shape"]
        baseline = build(card["name"], steps=steps, bands=bands, classes=classes, **card["options"])
        return baseline.read(file)
    from arsetlib.models import layers  # noqa: F401  registers the own layers

    return files.keras_model(file)


# The card


def _card(trained: Trained) -> dict:
    study = trained.study
    return {
        "type": "series",
        "name": trained.name,
        "kind": "baseline" if isinstance(trained.model, Baseline) else "keras",
        "options": trained.options,
        "shape": shape_of(trained.model),
        "bands": study.bands,
        "channels": study.channels,
        "season": asdict(study.season),
        "legend": asdict(study.legend),
        "study": {name: getattr(study, name) for name in IN_CARD},
        "choose": trained.choose,
        "fill": trained.fill,
        "history": trained.history,
        "notes": trained.notes,
    }


def _study(card: dict, folder: Path) -> Study:
    """A study from the values of the card: enough for loaders, predictions and maps."""
    classes = [_class(c) for c in card["legend"]["classes"]]
    legend = Legend(card["legend"]["name"], tuple(classes), tuple(card["legend"]["excluded"]))
    head = card["study"]
    _check_kinds(head, card["season"], legend)
    study = Study(
        key=head["key"], name=head["name"], description="", simulated=head["simulated"], areas=(), years=(), split={},
        block_m=head["block_m"], season=Season(**card["season"]), bands=tuple(card["bands"]), legend=legend,
        labels=LabelSource(), scenes=SceneSource(), drop_scl=tuple(head["drop_scl"]), min_confidence=0, seed=0,
        sensors={sensor: tuple(bands) for sensor, bands in head.get("sensors", {}).items()},
        indices=tuple(head.get("indices", ())), day_of_year=head.get("day_of_year", False),
    )  # fmt: skip
    if list(study.channels) != card["channels"]:
        raise ModelError(
            f"{folder / files.CARD} has the channels {card['channels']}, this library makes {list(study.channels)} "
            "of its study. Update the library, or give the study that the model was trained with."
        )
    return study


def _check_kinds(head: dict, season: dict, legend: Legend) -> None:
    """Stop at values with which a map or a loader would fail later, or give wrong results."""
    for name, value in season.items():
        _expect(type(value) is int and 1 <= value <= MOST_DAYS, name, value)
    _expect(isinstance(head["key"], str), "key", head["key"])
    _expect(isinstance(head["name"], dict | str), "name", head["name"])
    for name in ("simulated", "day_of_year"):
        _expect(isinstance(head.get(name, False), bool), name, head.get(name))
    metres = head["block_m"]
    _expect(isinstance(metres, int | float) and not isinstance(metres, bool) and metres > 0, "block_m", metres)
    drop = head["drop_scl"]
    _expect(isinstance(drop, list) and all(type(v) is int for v in drop), "drop_scl", drop)
    keys = [one.key for one in legend.classes]
    _expect(len(set(keys)) == len(keys), "classes", keys)


def _expect(right: bool, name: str, value) -> None:
    if not right:
        raise TypeError(f"{name} is {value!r}")


def _check_study(own: Study, study: Study, folder: Path) -> None:
    pairs: dict[str, tuple[Any, Any, str]] = {
        "bands": (list(own.bands), list(study.bands), "Bands must be the same, in the same order."),
        "channels": (list(own.channels), list(study.channels), "Channels must be the same, in the same order."),
        "season": (_length(own.season), _length(study.season), "Windows and steps must be as long as in training."),
        "legend": (_meaning(own.legend), _meaning(study.legend), "Class numbers must mean the same."),
    }
    for noun, (expected, received, why) in pairs.items():
        if expected != received:
            if isinstance(expected, dict):
                odd = [k for k in {**expected, **received} if expected.get(k) != received.get(k)]
                expected, received = ({k: side.get(k, "none") for k in odd} for side in (expected, received))
            raise ModelError(
                f"{folder}: the model was trained with {noun} {expected}, received study {study.key!r} with "
                f"{received}. {why} Take the study of the training, or train a model for this one."
            )


def _length(season: Season) -> dict:
    return {"window_days": season.window_days, "step_days": season.step_days}


def _meaning(legend: Legend) -> dict:
    """What decides the class numbers; names and colours do not."""
    classes = {f"class {i}": (c.key, c.codes, c.crop) for i, c in enumerate(legend.classes)}
    return classes | {"excluded": tuple(sorted(legend.excluded))}


def _class(values: dict) -> Class:
    one = Class(**{**values, "codes": _codes(values["codes"])})
    codes = one.codes if isinstance(one.codes, tuple) else ()
    if not (isinstance(one.key, str) and isinstance(one.name, dict) and all(type(code) is int for code in codes)):
        raise TypeError(f"class {values!r}")
    return one


def _codes(codes) -> tuple[int, ...] | str:
    return codes if isinstance(codes, str) else tuple(codes)
