"""Search hyper-parameters with Optuna: grid, random or TPE; stop poor trials early; continue after a break.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from arsetlib import folders
from arsetlib.errors import ArsetError
from arsetlib.models import registry
from arsetlib.samples import Rows, Scaler
from arsetlib.samples.loader import IN_MEMORY
from arsetlib.samples.store import series_bytes
from arsetlib.seeds import generator
from arsetlib.study import Study
from arsetlib.training.fit import fit as fit_series
from arsetlib.training.plan import Options, TrainingError, one_of

SAMPLERS = ("grid", "random", "tpe")
PRUNERS = ("median", "halving", "bandit", None)
LEAST = 2  # epochs before a trial may be stopped
SLACK = 0.1  # of the bandit: how far behind the best a trial may be


@dataclass(frozen=True, repr=False)
class Search:
    """The trials of a search and the best of them.

    Attributes:
        study: The ``optuna.Study``, for ``optuna.visualization``.
        table: One row a trial: number, state, value, epochs, seconds, parameters of the model and what was tried, best
            first.
        best: Arguments of ``fit`` of the best trial.
    """

    study: Any
    table: Any
    best: dict

    def __repr__(self) -> str:
        return f"Search({len(self.table)} trials, best {self.study.best_value:.4f})"


def search(
    space: dict,
    sides: dict | Callable[[int], dict],
    study: Study | None = None,
    *,
    fit: Callable = fit_series,
    sampler: str = "tpe",
    pruner: str | object | None = "median",
    trials: int = 20,
    storage: str | Path | None = None,
    monitor: str = "val_macro_f1",
    seed: int = 0,
    **fixed: object,
) -> Search:
    """Train with many settings and compare them on the validation; the test side is not touched.

    Each epoch's value is reported, so that a pruner can end a trial that does worse than others did by then. With a
    ``storage``, the same call continues where an earlier one stopped: finished trials count, one that was killed is
    done again. What a trial tries follows from the seed and the trials before it.

    The search of the thesis of case study A, over tiles::

        space = {"model": ["fcn8", "unet"], "encoder": ["vgg16", "resnet50", "mobilenet"], "batch": [8, 16, 32]}
        training.search(space, lambda batch: sides_of(batch), fit=groves.fit, sampler="grid", pruner="bandit",
                        monitor="val_accuracy", optimizer="adadelta", epochs=100)

    Args:
        space: Argument of ``fit`` → what to try: a list of choices, or a range ``{"low": 1e-4, "high": 1e-2, "log":
            True}`` (whole numbers where both ends are; with ``"step"`` for a grid). ``"model"`` chooses among names,
            ``"options.filters"`` is an option of the model.
        sides: ``train`` and ``validation``; or a function that makes them of a batch size.
        study: Season, channels and legend; only for series.
        fit: ``training.fit``, ``groves.fit`` or ``fields.fit``.
        sampler: ``"grid"`` tries all, ``"random"`` any, ``"tpe"`` what resembles the good ones (Bergstra et al. 2011).
        pruner: ``"median"`` ends a trial that is below the median of the others, ``"halving"`` keeps the best third
            again and again (Li et al. 2018), ``"bandit"`` ends one that is more than a tenth below the best; None lets
            all run. Or a pruner of Optuna.
        trials: In all, with those of earlier calls.
        storage: SQLite file on a local disk, made where it is absent; one search at a time may use it. None keeps
            nothing.
        monitor: What to make largest (smallest, where it ends in ``loss``); its best epoch counts.
        seed: Of the sampler. All trials train with seed 0, unless ``space`` has ``"seed"``.
        **fixed: Arguments of ``fit`` that all trials share, such as ``epochs``; ``model``, its name; ``progress``: show
            a bar of the trials.

    Returns:
        The search, its table and the best settings: ``fit(study=study, sides=sides, **search.best)``.

    Raises:
        TrainingError: An invalid space; the storage holds another search, or is in use; no trial ended well.

    Lab: part3_train_and_test.
    """
    import optuna
    from filelock import FileLock, Timeout

    fixed = dict(fixed)
    model, progress = fixed.pop("model", registry.DEFAULT), fixed.pop("progress", True)
    _check(space, sampler, pruner, fixed, fit)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if storage is not None and not folders.on_disk(storage):
        raise TrainingError(
            f"Expected storage on a disk of this machine, received {storage}: SQLite cannot write into an object store "
            "or a volume. Name a local file, and copy it when the search is done."
        )
    file = None if storage is None else folders.place(storage).absolute()
    lock = None if file is None else FileLock(f"{file}.lock", blocking=False)
    try:
        if lock:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise TrainingError(f"Another search is using {storage}. Wait for it, or name another file.") from None
    try:
        trial_study = optuna.create_study(
            storage=None if file is None else f"sqlite:///{file}", study_name="search", load_if_exists=True,
            pruner=_pruner(pruner), direction="minimize" if monitor.endswith("loss") else "maximize",
        )  # fmt: skip
        _check_same(trial_study, storage, {"space": space, "model": model, "monitor": monitor, "fixed": fixed})
        once = {}
        if fit is fit_series:
            sides = _in_memory(sides)
            once = {"scaler": fixed.get("scaler") or Scaler.fit(sides["train"], study)}

        def train(trial) -> float:
            chosen = {key: _ask(trial, key, what) for key, what in space.items()}
            return _trained(trial, fit, _arguments(chosen, model, fixed) | once, sides, study, monitor)

        _run(trial_study, train, space, sampler, trials, seed, progress)
    finally:
        if lock:
            lock.release()
    first = next(iter(inspect.signature(fit).parameters))  # "name_or_model" or "model"
    return _result(trial_study, model, fixed, monitor, first)


def _run(trial_study, train: Callable, space, sampler, trials, seed, progress) -> None:
    """Trials until there are enough."""
    import optuna
    from tqdm.auto import tqdm

    for trial in trial_study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        trial_study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # killed: the lock says that no one runs it
    hidden = None if progress else True
    with tqdm(total=trials, initial=min(_done(trial_study), trials), unit="trial", disable=hidden) as bar:
        while (before := _done(trial_study)) < trials:
            # Seeded by the trial's number, so that a search that continues draws what it would have drawn.
            trial_study.sampler = _sampler(sampler, seed + len(trial_study.get_trials(deepcopy=False)))
            if sampler == "grid":
                left = _untried(trial_study, space, seed)
                if not left:
                    break
                trial_study.enqueue_trial(left[0])
            trial_study.optimize(train, n_trials=1, catch=(ArsetError,))
            bar.update(_done(trial_study) - before)


def _trained(trial, fit: Callable, arguments: dict, sides, study, monitor: str) -> float:
    """The best value of one trial."""
    import keras

    keras.backend.clear_session()
    name, callbacks = arguments.pop("name_or_model"), [*arguments.pop("callbacks", ()), _report(trial, monitor)]
    data = sides(arguments["batch"]) if callable(sides) else sides
    place = (name, data) if study is None else (name, data, study)
    try:
        done = fit(*place, callbacks=callbacks, progress=False, **arguments)
    except ArsetError as error:
        trial.set_user_attr("error", str(error))
        raise
    trial.set_user_attr("epochs", len(done.history[monitor]))
    if hasattr(done.model, "count_params"):
        trial.set_user_attr("parameters", int(done.model.count_params()))
    return (min if monitor.endswith("loss") else max)(done.history[monitor])


def _report(trial, monitor: str):
    import keras
    import optuna

    class TrialReport(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            trial.report(float((logs or {})[monitor]), epoch)
            if trial.should_prune():
                trial.set_user_attr("epochs", epoch + 1)
                raise optuna.TrialPruned

    return TrialReport()


def _ended(trial) -> bool:
    """Whether a trial ended by itself: well, pruned, or with an error of ours."""
    return trial.state.name in ("COMPLETE", "PRUNED") or "error" in trial.user_attrs


def _done(trial_study) -> int:
    return sum(map(_ended, trial_study.get_trials(deepcopy=False)))


def _result(trial_study, model, fixed, monitor, first) -> Search:
    import pandas as pd

    rows, trials = [], trial_study.get_trials(deepcopy=False)
    for trial in trials:
        seconds = trial.duration.total_seconds() if trial.duration else None
        value = trial.value if trial.state.name == "COMPLETE" else None
        head = {"trial": trial.number, "state": trial.state.name.lower(), monitor: value}
        head |= {"epochs": trial.user_attrs.get("epochs"), "seconds": seconds}
        rows.append(head | trial.params | {name: trial.user_attrs.get(name) for name in ("parameters", "error")})
    table = pd.DataFrame(rows)
    if not any(t.state.name == "COMPLETE" for t in trials):
        errors = table["error"].dropna().unique().tolist()[:3] if len(table) else []
        raise TrainingError(f"No trial ended well. Their errors: {errors or 'none, no trial was made'}.")
    table = table.sort_values(monitor, ascending=monitor.endswith("loss"), na_position="last", ignore_index=True)
    best = _arguments(trial_study.best_trial.params, model, fixed)
    return Search(trial_study, table, {first: best.pop("name_or_model"), **best})


def _arguments(chosen: dict, model: str, fixed: dict) -> dict:
    """Arguments of ``fit`` for what a trial has chosen."""
    options = {**fixed.get("options", {})}
    options |= {k.removeprefix("options."): v for k, v in chosen.items() if k.startswith("options.")}
    plain = {k: v for k, v in chosen.items() if not k.startswith("options.") and k != "model"}
    return {"name_or_model": chosen.get("model", model)} | fixed | plain | ({"options": options} if options else {})


def _ask(trial, key: str, what):
    if isinstance(what, list | tuple):
        return trial.suggest_categorical(key, list(what))
    low, high, rest = what["low"], what["high"], {k: v for k, v in what.items() if k in ("step", "log")}
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, **rest)
    return trial.suggest_float(key, low, high, **rest)


def _sampler(name: str, seed: int):
    import optuna

    return optuna.samplers.TPESampler(seed=seed) if name == "tpe" else optuna.samplers.RandomSampler(seed)


def _untried(trial_study, space: dict, seed: int) -> list[dict]:
    """Points of the grid that no trial has ended on, in an order of the seed: the first of them already spread over it.

    Optuna's own GridSampler takes a trial that was killed for one that is done.
    """
    ended = [t.params for t in trial_study.get_trials(deepcopy=False) if _ended(t)]
    cells = [dict(zip(space, values, strict=True)) for values in itertools.product(*map(_points, space.values()))]
    shuffled = (cells[i] for i in generator(seed, "grid").permutation(len(cells)))
    return [cell for cell in shuffled if cell not in ended]


def _points(what) -> list:
    """Every value of one dimension of a grid."""
    if isinstance(what, list | tuple):
        return list(what)
    count = round((what["high"] - what["low"]) / what["step"])
    return [what["low"] + i * what["step"] for i in range(count + 1)]


def _pruner(name):
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=LEAST)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=LEAST, reduction_factor=3)
    if name is None:
        return optuna.pruners.NopPruner()
    return name if isinstance(name, optuna.pruners.BasePruner) else _bandit()


def _bandit():
    import optuna

    class Bandit(optuna.pruners.BasePruner):
        """Ends a trial whose best value is more than a tenth below the best of the others after as many epochs.

        It is the bandit policy of the platform that the thesis of case study A was made on.
        """

        def prune(self, study, trial) -> bool:
            step = trial.last_step
            if step is None or step < LEAST:
                return False
            sign = -1 if study.direction == optuna.study.StudyDirection.MINIMIZE else 1
            others = (t for t in study.get_trials(deepcopy=False) if t.number != trial.number)
            values = [sign * v for t in others for s, v in t.intermediate_values.items() if s <= step]
            mine = max(sign * v for v in trial.intermediate_values.values())
            return bool(values) and mine < max(values) - SLACK * abs(max(values)) / (1 + SLACK)

    return Bandit()


def _in_memory(sides: dict[str, Rows]) -> dict[str, Rows]:
    """Small sides are read once, not once a trial."""
    return {
        side: Rows.of(rows.read()) if isinstance(rows.source, Path) and series_bytes(rows) <= IN_MEMORY else rows
        for side, rows in sides.items()
        if side in ("train", "validation")
    }


def _check_same(trial_study, storage, asked: dict) -> None:
    asked = json.loads(json.dumps(asked, default=repr))
    stored = trial_study.user_attrs.get("asked")
    if stored is None:
        trial_study.set_user_attr("asked", asked)
    elif stored != asked:
        changes = [f"{k} was {stored.get(k)}, now {asked[k]}" for k in asked if stored.get(k) != asked[k]]
        raise TrainingError(
            f"{storage} holds another search: {'; '.join(changes)}. Name another file, or ask the same."
        )


def _check(space, sampler, pruner, fixed, fit) -> None:
    import optuna

    one_of("sampler", sampler, SAMPLERS)
    if not isinstance(pruner, optuna.pruners.BasePruner):
        one_of("pruner", pruner, PRUNERS)
    taken = {"model", *_names(fit)}
    for key, what in space.items():
        if key not in taken and not key.startswith("options."):
            raise TrainingError(f"Expected arguments of fit or 'options.…' in the space, received {key!r}.")
        if key in fixed:
            raise TrainingError(f"{key!r} is both in the space and given for all trials. Leave one.")
        listed = isinstance(what, list | tuple) and len(what) > 0
        ranged = isinstance(what, dict) and {"low", "high"} <= set(what) <= {"low", "high", "step", "log"}
        if not listed and not ranged:
            raise TrainingError(
                f"Expected a list of choices or {{'low': …, 'high': …}} for {key!r}, received {what!r}."
            )
        if ranged and not what["low"] < what["high"]:
            raise TrainingError(f"Expected low < high for {key!r}, received {what}.")
        if sampler == "grid" and ranged and "step" not in what:
            raise TrainingError(f"A grid needs a step for {key!r}, received {what}. Add 'step', or list the values.")
    if not space:
        raise TrainingError("Expected something to try, received an empty space.")
    unknown = set(fixed) - taken
    if unknown:
        raise TrainingError(f"Expected arguments of fit for all trials, received {sorted(unknown)}.")


def _names(fit: Callable) -> set[str]:
    """The arguments of a ``fit`` that may be tried: its own, and the fields of its groups of options."""
    parameters = inspect.signature(fit).parameters
    groups = [p.default for p in parameters.values() if isinstance(p.default, Options)]
    own = {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and not isinstance(p.default, Options)}
    return (own | {field.name for group in groups for field in fields(group)}) - {"folder", "progress"}
