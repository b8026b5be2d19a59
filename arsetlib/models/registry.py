"""Models by name: which there are, what they need, how they are built.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arsetlib.errors import ArsetError

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from arsetlib.models.baselines import Baseline

EXTRAS = ("seen", "day_of_year")  # what models take beside the series, in this order
COURSE = {"steps": 24, "bands": 12, "classes": 7}  # 120 days in steps of 5, Sentinel-2 L2A, the course's legend


class ModelError(ArsetError, ValueError):
    """A model cannot be built, saved, loaded or used as asked; the message says what to change."""


@dataclass(frozen=True)
class Kind:
    """One entry of the registry.

    Attributes:
        module: Where the function of the same name stands that builds it.
        needs: Loader extras it takes beside the series, unless an option changes that.
        parameters: Trainable and other weights for the course's season; None where it depends on the data.
        summary: What it is, in a line.
        paper: Where it comes from.
    """

    module: str
    needs: tuple[str, ...]
    parameters: int | None
    summary: str
    paper: str


# What `arset train` takes where no model is named. On the simulated sample it is better than tempcnn with each seed,
# about as good as lstm and gru, and takes the least time of the four (benchmarks/accuracy.py).
DEFAULT = "ltae"
BOTH = ("seen", "day_of_year")
KINDS = {
    "toy": Kind("series", (), 390, "One convolution, to see how shapes run", "ARSET 2024, slides"),
    "original": Kind("series", (), 50_455, "Two convolutions: the course's CNN of 2024", "ARSET 2024"),
    "tempcnn": Kind("series", (), 441_607, "Three convolutions, batch normalisation", "Pelletier et al. 2019"),
    "ltae": Kind("attention", BOTH, 64_199, "Attention with one learned query a head", "Garnot & Landrieu 2020"),
    "transformer": Kind("attention", BOTH, 69_895, "Every step looks at every step", "Vaswani et al. 2017"),
    "lstm": Kind("recurrent", BOTH, 42_375, "Step after step, a gated memory", "Hochreiter & Schmidhuber 1997"),
    "gru": Kind("recurrent", BOTH, 32_391, "The LSTM with fewer gates", "Cho et al. 2014"),
    "majority": Kind("baselines", (), None, "Always the most common class", ""),
    "random_forest": Kind("baselines", BOTH, None, "Trees that vote", "Breiman 2001"),
    "gradient_boosting": Kind("baselines", BOTH, None, "Trees that correct each other", "Friedman 2001"),
}


def names() -> list[str]:
    """Names that ``build`` knows.

    Example:
        >>> names()[:4]
        ['toy', 'original', 'tempcnn', 'ltae']

    Lab: part3_train_and_test.
    """
    return list(KINDS)


def is_baseline(name: str) -> bool:
    """Whether a name stands for a scikit-learn baseline rather than a Keras model."""
    return _kind(name).module == "baselines"


def describe() -> pd.DataFrame:
    """All models as a pandas table: one row a model, parameters for 24 steps, 12 bands and 7 classes.

    Example:
        >>> int(describe().loc["tempcnn", "parameters"])
        441607

    Lab: part3_train_and_test.
    """
    import pandas as pd

    rows = [
        {
            "name": name,
            "kind": "baseline" if kind.module == "baselines" else "keras",
            "parameters": kind.parameters,
            "needs": ", ".join(("series", *kind.needs)),
            "what": kind.summary,
            "paper": kind.paper,
        }
        for name, kind in KINDS.items()
    ]
    return pd.DataFrame(rows).set_index("name").astype({"parameters": "Int64"})


def layer_table(model: keras.Model) -> pd.DataFrame:
    """The layers of a Keras model, as a pandas table: ``layer``, ``output`` (shape without the batch), ``parameters``.

    Lab: part3_train_and_test.
    """
    import pandas as pd

    rows = [(layer.name, str(tuple(layer.output.shape[1:])), layer.count_params()) for layer in model.layers]
    return pd.DataFrame(rows, columns=["layer", "output", "parameters"])


def build(
    name: str, *, steps: int, bands: int, classes: int, step_days: int = 5, seed: int = 0, **options: object
) -> Any:
    """A model with fresh weights.

    Args:
        name: See ``names()``.
        steps: T, of the season.
        bands: C, channels along the last axis: ``len(study.channels)``.
        classes: K, of the legend.
        step_days: Width of a step, days; for models that know the day of the year.
        seed: Of the first weights and of dropout: the same seed gives the same ones, on one Keras version. Python's
            random state is left as it was.
        **options: Of the model, see ``options_of(name)`` and its docstring (``help(models.series.tempcnn)``).

    Returns:
        A ``keras.Model`` that is not compiled, or a ``Baseline``. Inputs of a Keras model are named ``series``
        (B, T, C) float32 and, where it needs them, ``seen`` (B, T) bool and ``day_of_year`` (B,) int32, of the
        window's first day. The output is (B, K) float32, a softmax, under mixed precision too.

    Raises:
        ModelError: An unknown name or option, sizes below 1, a window too short for the model.

    Example:
        >>> build("majority", steps=24, bands=12, classes=7)
        Baseline('majority', not fitted)
        >>> build("tempcnn", steps=24, bands=12, classes=7).count_params()  # doctest: +SKIP
        441607

    Lab: part3_train_and_test.
    """
    kind = _kind(name)
    for noun, value in (("steps", steps), ("bands", bands), ("classes", classes), ("step_days", step_days)):
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ModelError(f"Expected {noun} to be a whole number of at least 1, received {value!r}.")
    known = options_of(name)
    for option in options:
        if option not in known:
            raise ModelError(
                f"{name} has no option {option!r}. Its options are: "
                f"{', '.join(f'{k} = {v!r}' for k, v in known.items()) or 'none'}.{near(option, known)}"
            )
    sizes = {"steps": int(steps), "bands": int(bands), "classes": int(classes), "step_days": int(step_days)}
    function = _function(name, kind)
    if kind.module == "baselines":
        return function(**sizes, seed=seed, **options)
    with seeded(seed):
        try:
            return function(**sizes, **options)
        except ModelError:
            raise
        except (ValueError, TypeError) as error:
            raise ModelError(f"{name} cannot be built for {sizes} with {options or 'its defaults'}: {error}") from error


def options_of(name: str) -> dict:
    """Option → default of a model that ``build`` knows."""
    sizes = {*COURSE, "step_days", "seed"}
    known = inspect.signature(_function(name, _kind(name))).parameters
    return {key: value.default for key, value in known.items() if key not in sizes}


def needs(model: keras.Model | Baseline | str) -> tuple[str, ...]:
    """Loader extras that a model takes beside ``series``, such as ``("seen", "day_of_year")``.

    Args:
        model: A Keras model, a ``Baseline``, or a name.
    """
    if isinstance(model, str):
        return _kind(model).needs
    if hasattr(model, "needs"):
        return tuple(model.needs)
    if len(model.inputs) == 1:
        return ()
    taken = {tensor.name for tensor in model.inputs}
    return tuple(extra for extra in EXTRAS if extra in taken) + tuple(sorted(taken - {*EXTRAS, "series"}))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialisers and dropout made within draw their seeds from ``seed``; Python's random state is given back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _kind(name: str) -> Kind:
    check_name(name, KINDS, "model")
    return KINDS[name]


def _function(name: str, kind: Kind):
    return getattr(importlib.import_module(f"arsetlib.models.{kind.module}"), name)


def check_name(name: str, names: Iterable[str], noun: str) -> None:
    """Stop at a name that is not among ``names``, with the nearest of them.

    Raises:
        ModelError: So.
    """
    if name not in names:
        raise ModelError(f"There is no {noun} {name!r}. There are: {', '.join(names)}.{near(name, names)}")


def near(word: str, words: Iterable[str]) -> str:
    """`` Did you mean 'tempcnn'?``, or nothing where no word is like it."""
    plain = str(word).lower().replace("-", "").replace("_", "")
    known = {w.replace("_", ""): w for w in words}
    close = difflib.get_close_matches(plain, known, 1, 0.5)
    return f" Did you mean {known[close[0]]!r}?" if close else ""
