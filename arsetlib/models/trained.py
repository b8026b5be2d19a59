"""A trained model of series with all that is needed to use it: its scaler, season, bands and legend.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from arsetlib.models.baselines import Baseline
from arsetlib.models.registry import EXTRAS, ModelError, needs
from arsetlib.samples import Loader, Rows, Scaler, start_days
from arsetlib.samples.loader import IN_MEMORY
from arsetlib.samples.store import series_bytes
from arsetlib.study import Study

if TYPE_CHECKING:
    from arsetlib.evaluation import Predictions

UNLABELLED = "pretrained_without_labels"  # a note: the last layer has seen no label, so it can predict nothing
CHUNK = 8192  # samples predicted at once, so that memory does not grow with a batch


@dataclass(eq=False)
class Trained:
    """A model and what it was trained with.

    Attributes:
        model: A Keras model or a ``Baseline``.
        name: Its name in the registry.
        scaler: Of its training rows; None where it takes reflectance × 10,000.
        study: Season, bands and legend; if it was read from a folder alone, a study with only those.
        choose: Which image was used for a step in training, see ``samples.window``.
        fill: The value of a step without image, in training and therefore later.
        history: Metric → value of each epoch.
        notes: Seed, rows, counts, devices and more.
        options: Of ``models.build``, where they were not the defaults.

    Raises:
        ModelError: The model's steps, channels or classes differ from the study's; a scaler of other bands.

    Lab: part3_train_and_test.
    """

    model: Any
    name: str
    scaler: Scaler | None
    study: Study
    choose: str = "random"
    fill: str = "zeros"
    history: dict[str, list] = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        self.options = self.options or dict(getattr(self.model, "options", {}))
        study = self.study
        expected = (study.season.steps, len(study.channels), len(study.legend.classes))
        received = shape_of(self.model)
        if received != expected:
            raise ModelError(
                f"Expected a model of {_sizes(expected)}, as study {study.key!r} has them, received one of "
                f"{_sizes(received)}. Build it for this study, or take the study that it was trained with."
            )
        if self.scaler is not None and tuple(self.scaler.bands) not in (tuple(study.bands), tuple(study.channels)):
            raise ModelError(
                f"Expected a scaler of the bands {list(study.bands)}, received one of {list(self.scaler.bands)}. "
                "Fit it on the training rows of this study."
            )

    def __repr__(self) -> str:
        kind = "SIMULATED, " if self.study.simulated else ""
        return f"Trained({self.name!r}, {kind}study {self.study.key!r}, {_sizes(shape_of(self.model))})"

    @property
    def needs(self) -> tuple[str, ...]:
        """Loader extras that the model takes beside the series."""
        return needs(self.model)

    def loader(
        self,
        source: Rows | pa.Table | str | Path,
        start: int,
        *,
        choose: str | None = None,
        batch: int = 4096,
        extras: Sequence[str] = (),
        **options: object,
    ) -> Loader:
        """Windows of some rows as the model expects them, the same ones each time.

        Args:
            source: Rows, a table or its path.
            start: Day of the year on which the windows start.
            choose: Which image is used for a step. By default as in training, or the clearest one where training took
                a random one: random images make training robust, but a test must be repeatable.
            batch: Samples a batch.
            extras: More than the model needs, see ``samples.Loader``.
            **options: More of ``samples.Loader``, such as ``stream``.

        Lab: part3_train_and_test.
        """
        choose = choose or ("clearest" if self.choose == "random" else self.choose)
        options = {"fill": self.fill, "shuffle": False, **options}
        both = tuple(dict.fromkeys((*self.needs, *extras)))
        return Loader(source, self.study, self.scaler, batch=batch, start=start, choose=choose, extras=both, **options)

    def predict(self, x: Any) -> np.ndarray:
        """Probabilities of the classes.

        One compiled function takes every size of batch. It is faster than Keras's ``model.predict``, which makes a data
        set and runs callbacks in each call.

        Args:
            x: As ``loader`` gives it: (B, T, C), or a dict with ``series`` and what ``needs`` names; more is ignored.

        Returns:
            (B, K) float32.

        Raises:
            ModelError: An input is missing or has another shape; the network was pre-trained and has seen no label.

        Lab: part3_train_and_test.
        """
        if UNLABELLED in self.notes:
            raise ModelError(
                f"Expected a model that was trained on labels, received a {self.name} that was pre-trained without "
                "any: its last layer knows no class. Train it further with training.fine_tune or "
                "`arset train --from MODEL`, "
                "or take trained.vectors(x)."
            )
        return self._in_pieces(self._run, x)

    def vectors(self, x: Any) -> np.ndarray:
        """What a network's last layer receives: a vector for each window, for another model to learn from.

        Args:
            x: See ``predict``.

        Returns:
            (B, D) float32.

        Raises:
            ModelError: As ``predict``; a baseline has no vectors.

        Lab: none.
        """
        if isinstance(self.model, Baseline):
            raise ModelError(f"Expected a network, received {self.name}, a baseline. Only networks have vectors.")
        return self._in_pieces(self._vector_call, x)

    def _in_pieces(self, run: Callable[[dict], np.ndarray], x: Any) -> np.ndarray:
        parts = self._inputs(x)
        count = len(parts["series"])
        if count <= CHUNK:
            return run(parts)
        pieces = ({name: part[at : at + CHUNK] for name, part in parts.items()} for at in range(0, count, CHUNK))
        return np.concatenate([run(piece) for piece in pieces])

    def predictions(
        self,
        source: Rows | pa.Table | str | Path,
        starts: int | Sequence[int],
        *,
        progress: bool = False,
        **options: object,
    ) -> Predictions:
        """Predict rows for windows that start on one or more days of the year.

        Args:
            source: Rows, a table or its path; rows that the legend excludes are left out.
            starts: Days of the year.
            progress: Show a bar.
            **options: Of ``loader``, such as ``choose``.

        Returns:
            ``evaluation.Predictions``: rows in the order of the source, one start after another.

        Lab: part3_train_and_test.
        """
        from tqdm.auto import tqdm

        from arsetlib import evaluation

        rows = Rows.of(source)
        if not isinstance(rows.source, pa.Table) and series_bytes(rows) <= IN_MEMORY:
            rows = Rows.of(rows.read())  # once, and not once a start
        starts = [starts] if isinstance(starts, int | np.integer) else list(starts)
        if not starts:
            raise ModelError("Expected at least one start, a day of the year, received none.")
        parts = []
        for start in tqdm(starts, desc="predict", unit="date", disable=not progress):
            loader = self.loader(rows, start, **options)
            pairs = [(y.argmax(1), self.predict(x)) for x, y in loader.arrays()]
            truth, probability = (np.concatenate(column) for column in zip(*pairs, strict=True))
            year = loader.rows.column("year")
            first = start_days(year, start)
            place = {name: loader.rows.column(name) for name in ("pixel", "x", "y", "block", "area")}
            parts.append(
                evaluation.Predictions(
                    truth=truth.astype(np.int8), probability=probability, start=first,
                    last=first + np.int32(self.study.season.window_days - 1), year=year, **place,
                    legend=self.study.legend, simulated=self.study.simulated,
                )
            )  # fmt: skip
        return evaluation.Predictions.concat(parts)

    def save(self, folder: str | Path) -> Path:
        """Write the model's folder, see ``models.load``.

        Args:
            folder: A new or empty folder, or one that holds a model, which is replaced; also in an object store
                (``s3://…``).

        Returns:
            The folder.

        Raises:
            ModelError: The folder holds something else; a baseline is not fitted.

        Lab: part3_train_and_test.
        """
        from arsetlib.models.folder import write

        return write(self, folder)

    # -- inputs, and the compiled call --------------------------------------------------------------------------------

    def _inputs(self, x) -> dict[str, np.ndarray]:
        steps, bands, _ = shape_of(self.model)
        wanted = {"series": (steps, bands), "seen": (steps,), "day_of_year": ()}
        parts = x if isinstance(x, dict) else {"series": x}
        names = ("series", *self.needs)
        missing = [name for name in names if name not in parts]
        if missing:
            raise ModelError(
                f"Expected x as a dict with {list(names)}, received one without {missing}. Make it with "
                f"trained.loader(…), or with extras={self.needs!r}."
            )
        count = np.shape(parts["series"])[:1]
        for name in names:
            shape = np.shape(parts[name])
            if name in wanted and shape != (*count, *wanted[name]):
                raise ModelError(f"Expected {name} of shape (B, {_joined(wanted[name])}), received {shape}.")
        return {name: parts[name] for name in names}

    def _run(self, parts: dict) -> np.ndarray:
        return self._call(parts)

    @functools.cached_property
    def _call(self) -> Callable[[dict], np.ndarray]:
        """Inputs by name → (B, K) float32."""
        return self.model.predict if isinstance(self.model, Baseline) else _by_name(self.model)

    @functools.cached_property
    def _vector_call(self) -> Callable[[dict], np.ndarray]:
        """Inputs by name → (B, D) float32."""
        return _by_name(with_output(self.model, self.model.layers[-1].input))


def _by_name(model: Any) -> Callable[[dict], np.ndarray]:
    """The compiled call of a network, which takes its inputs by name."""
    from arsetlib.models.calls import compiled_call

    call = compiled_call(model)
    return (lambda parts: call(parts["series"])) if len(model.inputs) == 1 else call


def with_output(model: Any, output: Any) -> Any:
    """A network of the same inputs and layers with another output tensor."""
    import keras

    inputs = {tensor.name: tensor for tensor in model.inputs}
    return keras.Model(inputs if len(inputs) > 1 else model.inputs[0], output, name=model.name)


def shape_of(model: Any) -> tuple[int, int, int]:
    """(T, C, K) of a Keras model or a ``Baseline``.

    Raises:
        ModelError: It has no input ``series`` of (B, T, C), or no output of (B, K).
    """
    if isinstance(model, Baseline):
        return model.shape
    try:
        inputs = {tensor.name: tensor for tensor in model.inputs}
        series = model.inputs[0] if len(inputs) == 1 else inputs["series"]
        _, steps, bands = series.shape
        (output,) = model.outputs
        _, classes = output.shape
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ModelError(
            f"Expected a Keras model with an input named 'series' (B, T, C) and one output (B, K), received {model!r}. "
            f"Other inputs may be {' and '.join(map(repr, EXTRAS))}."
        ) from None
    return steps, bands, classes


def _sizes(shape: tuple[int, int, int]) -> str:
    return "{} steps, {} channels and {} classes".format(*shape)


def _joined(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
