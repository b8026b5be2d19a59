"""Search hyper-parameters with Optuna: grid, random or TPE; stop poor trials early; go on after a break.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import inspect
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from arsetlib.samples import Rows, Scaler
from arsetlib.samples.loader import IN_MEMORY
from arsetlib.samples.store import series_bytes
from arsetlib.study import Study
from arsetlib.training.fit import fit
from arsetlib.training.run import TrainingError

SAMPLERS = ("grid", "random", "tpe")
PRUNERS = ("median", "halving", None)
LEAST = 2  # epochs before a trial may be stopped


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        study: The ``optuna.Study``, for ``optuna.visualization``.
        table: One row a trial: number, state, value, epochs, seconds and what was tried, best first.
        best: Arguments of ``fit`` of the best trial.
    """

    study: object
    table: object
    best: dict


def search(
    space: dict,
    sides: dict[str, Rows],
    study: Study,
    *,
    model: str = "tempcnn",
    sampler: str = "tpe",
    pruner: str | None = "median",
    trials: int = 20,
    storage: str | Path | None = None,
    name: str = "search",
    monitor: str = "val_macro_f1",
    seed: int = 0,
    timeout: float | None = None,
    progress: bool = True,
    **fixed,
) -> Search:
    """Train with many settings and tell which does best on the validation windows; the test side is not touched.

    Each epoch's value is reported, so that a pruner can end a trial that does worse than others did by then. With a
    ``storage``, the same call goes on where an earlier one stopped: finished trials count, one that was killed is
    done again. What a trial tries follows from the seed and the trials before it.

    Args:
        space: Argument of ``fit`` → what to try: a list of choices, or a range ``{"low": 1e-4, "high": 1e-2, "log":
            True}`` (whole numbers where both ends are; with ``"step"`` for a grid). ``"model"`` chooses among names,
            ``"options.filters"`` is an option of ``models.build``.
        sides: ``train`` and ``validation``.
        study: Season, channels and legend.
        model: Name of the model where the space has none.
        sampler: ``"grid"`` tries all, ``"random"`` any, ``"tpe"`` what resembles the good ones (Bergstra et al. 2011).
        pruner: ``"median"`` ends a trial that is below the median of the others, ``"halving"`` keeps the best third
            again and again (Li et al. 2018); None lets all run.
        trials: In all, with those of earlier calls.
        storage: SQLite file, made where it is absent; one search at a time may use it. None keeps nothing.
        name: Of the search within the storage.
        monitor: What to make largest (smallest, where it ends in ``loss``); its best epoch counts.
        seed: Of the sampler; training takes ``fixed["seed"]``, 0 by default, the same for all.
        timeout: Begin no trial after so many seconds.
        progress: Show a bar.
        **fixed: Arguments of ``fit`` that all trials share, such as ``epochs``.

    Returns:
        The search, its table and the best settings: ``fit(study=study, sides=sides, **found.best)``.

    Raises:
        TrainingError: A space that cannot be meant; the storage holds another search of this name, or is in use; no
            trial ended well.

    Lab: part3_train_and_test.
    """
    import optuna
    from filelock import FileLock, Timeout

    _check(space, sampler, pruner, fixed)
    fixed = {"seed": 0, **fixed}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = None if storage is None else f"sqlite:///{Path(storage).absolute()}"
    if storage is not None:
        Path(storage).absolute().parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{storage}.lock", blocking=False) if storage is not None else None
    try:
        if lock:
            lock.acquire()
    except Timeout:
        raise TrainingError(f"Another search is using {storage}. Wait for it, or name another file.") from None
    try:
        kept = optuna.create_study(
            storage=url, study_name=name, load_if_exists=True, pruner=_pruner(pruner),
            direction="minimize" if monitor.endswith("loss") else "maximize",
        )  # fmt: skip
        _same_question(kept, storage, {"space": space, "model": model, "monitor": monitor, "fixed": fixed})
        _run(kept, space, _in_memory(sides), study, model, sampler, trials, monitor, seed, timeout, progress, fixed)
    finally:
        if lock:
            lock.release()
    return _found(kept, model, fixed, monitor)


def _run(kept, space, sides, study, model, sampler, trials, monitor, seed, timeout, progress, fixed) -> None:
    import time

    import optuna
    from tqdm.auto import tqdm

    from arsetlib.models import ModelError

    for trial in kept.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        kept.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # killed: the lock says that no one runs it
    scaler = fixed.get("scaler") or Scaler.fit(sides["train"], study)

    def objective(trial):
        chosen = {key: _ask(trial, key, what) for key, what in space.items()}
        arguments = _arguments(chosen, model, fixed) | {"scaler": scaler}
        more = [*arguments.pop("callbacks", ()), _report(trial, monitor)]
        try:
            done = fit(sides=sides, study=study, callbacks=more, progress=False, **arguments)
        except (TrainingError, ModelError) as error:
            trial.set_user_attr("error", str(error))
            raise
        best = (min if monitor.endswith("loss") else max)(done.history[monitor])
        trial.set_user_attr("epochs", len(done.history[monitor]))
        return best

    began = time.monotonic()
    with tqdm(total=trials, initial=min(_done(kept), trials), unit="trial", disable=None if progress else True) as bar:
        while _done(kept) < trials and (timeout is None or time.monotonic() - began < timeout):
            before = _done(kept)
            # Seeded by the trial's number, so that a search which goes on draws what it would have drawn.
            kept.sampler = _sampler(sampler, seed + len(kept.get_trials(deepcopy=False)))
            if sampler == "grid":
                left = _untried(kept, space, seed)
                if not left:
                    break
                kept.enqueue_trial(left[0])
            kept.optimize(objective, n_trials=1, catch=(TrainingError, ModelError))
            bar.update(_done(kept) - before)


def _report(trial, monitor: str):
    import keras
    import optuna

    class Report(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            trial.report(float((logs or {})[monitor]), epoch)
            if trial.should_prune():
                trial.set_user_attr("epochs", epoch + 1)
                raise optuna.TrialPruned

    return Report()


def _ended(trial) -> bool:
    """Whether a trial ended by itself: well, pruned, or with an error of ours."""
    return trial.state.name in ("COMPLETE", "PRUNED") or "error" in trial.user_attrs


def _done(kept) -> int:
    return sum(map(_ended, kept.get_trials(deepcopy=False)))


def _found(kept, model, fixed, monitor) -> Search:
    import pandas as pd

    rows = []
    for trial in kept.get_trials(deepcopy=False):
        seconds = trial.duration.total_seconds() if trial.duration else None
        value = trial.value if trial.state.name == "COMPLETE" else None
        head = {"trial": trial.number, "state": trial.state.name.lower(), monitor: value}
        head |= {"epochs": trial.user_attrs.get("epochs"), "seconds": seconds}
        rows.append(head | trial.params | {"error": trial.user_attrs.get("error")})
    table = pd.DataFrame(rows)
    ended = [t for t in kept.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    if not ended:
        errors = table["error"].dropna().unique().tolist()[:3] if len(table) else []
        raise TrainingError(f"No trial ended well. What was said: {errors or 'nothing, no trial was made'}.")
    table = table.sort_values(monitor, ascending=monitor.endswith("loss"), na_position="last", ignore_index=True)
    return Search(kept, table, _arguments(kept.best_trial.params, model, fixed))


def _arguments(chosen: dict, model: str, fixed: dict) -> dict:
    """Arguments of ``fit`` for what a trial has chosen."""
    options = {**fixed.get("options", {})}
    options |= {k.removeprefix("options."): v for k, v in chosen.items() if k.startswith("options.")}
    plain = {k: v for k, v in chosen.items() if not k.startswith("options.") and k != "model"}
    return {"name_or_model": chosen.get("model", model)} | fixed | plain | {"options": options}


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


def _untried(kept, space: dict, seed: int) -> list[dict]:
    """Points of the grid that no trial has ended on, in an order of the seed: the first of them already spread over it.

    Optuna's own GridSampler takes a trial that was killed for one that is done.
    """
    import random

    ended = [t.params for t in kept.get_trials(deepcopy=False) if _ended(t)]
    cells = [dict(zip(space, values, strict=True)) for values in itertools.product(*map(_points, space.values()))]
    random.Random(seed).shuffle(cells)
    return [cell for cell in cells if cell not in ended]


def _points(what) -> list:
    """Every value of one dimension of a grid."""
    if isinstance(what, list | tuple):
        return list(what)
    count = round((what["high"] - what["low"]) / what["step"])
    return [what["low"] + i * what["step"] for i in range(count + 1)]


def _pruner(name: str | None):
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=LEAST)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=LEAST, reduction_factor=3)
    return optuna.pruners.NopPruner()


def _in_memory(sides: dict[str, Rows]) -> dict[str, Rows]:
    """Small sides are read once, not once a trial."""
    return {
        side: Rows.of(rows.read()) if isinstance(rows.source, Path) and series_bytes(rows) <= IN_MEMORY else rows
        for side, rows in sides.items()
        if side in ("train", "validation")
    }


def _same_question(kept, storage, asked: dict) -> None:
    asked = json.loads(json.dumps(asked, default=repr))
    held = kept.user_attrs.get("asked")
    if held is None:
        kept.set_user_attr("asked", asked)
    elif held != asked:
        changes = [f"{k} was {held[k]}, now {asked[k]}" for k in asked if held.get(k) != asked[k]]
        raise TrainingError(
            f"{storage} holds another search called {kept.study_name!r}: {'; '.join(changes)}. Give this one another "
            f"name, or ask for the same."
        )


def _check(space, sampler, pruner, fixed) -> None:
    for noun, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            raise TrainingError(f"Expected {noun} = {', '.join(map(repr, known))}, received {value!r}.")
    taken = {*inspect.signature(fit).parameters} - {"sides", "study", "folder", "progress", "name_or_model"} | {"model"}
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
