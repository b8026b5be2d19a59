"""The thesis's search for hyper-parameters, as an Optuna study.

Lab: case_groves.
"""

from __future__ import annotations

from collections.abc import Callable

from arsetlib.groves.classes import GroveError
from arsetlib.groves.training import fit

ENCODERS = ("vgg16", "resnet50", "mobilenet")
ARCHITECTURES = ("fcn8", "unet")
OPTIMISERS = ("adadelta", "adam")
BATCHES = (8, 16, 32)
DELAY = 20  # epochs before a run may be stopped, as in the thesis


class Bandit:
    """Stop a run that is worse than the best so far by more than a slack: the bandit policy of the thesis's platform.

    Args:
        slack: A run must reach best / (1 + slack) at the same epoch count.
        delay: Epochs before it may be stopped.
        every: Epochs between looks.
    """

    def __init__(self, slack: float = 0.1, delay: int = DELAY, every: int = 1):
        self.slack, self.delay, self.every = slack, delay, every

    def prune(self, study, trial) -> bool:
        """Whether to stop ``trial`` now."""
        step = trial.last_step
        if step is None or step < self.delay or step % self.every:
            return False
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        reached = [max(v for s, v in t.intermediate_values.items() if s <= step) for t in others if _until(t, step)]
        return bool(reached) and max(trial.intermediate_values.values()) < max(reached) / (1 + self.slack)


def search(
    sides: Callable[[int], dict],
    *,
    kind: str = "random",
    policy: str = "median",
    trials: int | None = None,
    epochs: int = 100,
    encoders=ENCODERS,
    architectures=ARCHITECTURES,
    optimisers=OPTIMISERS,
    batches=BATCHES,
    delay: int = DELAY,
    seed: int = 0,
    quick: bool = False,
    progress: bool = True,
    **options,
):
    """Look for the model, batch size and optimiser of the highest validation accuracy.

    Args:
        sides: Batch size → sides of ``fit``, such as ``lambda batch: {"train": groves.batches(…, batch=batch), …}``.
        kind: ``"grid"``: every batch size × encoder × architecture, with the first optimiser. ``"random"``: encoder ×
            architecture × optimiser drawn, with the first batch size.
        policy: ``"median"``: after ``delay`` epochs, each epoch, stop a run whose best is below the median of the
            others at that epoch. ``"bandit"``: stop one that is more than a tenth below the best. ``"none"``.
        trials: How many runs; None: the whole grid, or 20.
        epochs: Of a run.
        encoders, architectures, optimisers, batches: What to choose from.
        delay: Epochs before a run may be stopped.
        seed: Of the draws and of each model.
        quick: Two runs of two epochs on the first encoder, to see that all works.
        progress: Show a line a run.
        options: For ``fit``: size, classes, shrink, weights, options, loss, …

    Returns:
        The optuna.Study: ``best_params``, ``best_value``, ``trials_dataframe()``. Each trial's ``user_attrs`` has its
        ``verdict``, ``parameters`` and ``seconds``.
    """
    import keras
    import optuna

    if kind not in ("grid", "random"):
        raise GroveError(f"Expected kind grid or random, received {kind!r}.")
    if policy not in ("median", "bandit", "none"):
        raise GroveError(f"Expected policy median, bandit or none, received {policy!r}.")
    if quick:
        encoders, batches, epochs, trials, delay = tuple(encoders)[-1:], tuple(batches)[:1], 2, 2, min(delay, 1)
    space = {"encoder": list(encoders), "architecture": list(architectures)}
    space |= {"batch": list(batches)} if kind == "grid" else {"optimizer": list(optimisers)}
    fixed = {"optimizer": optimisers[0]} if kind == "grid" else {"batch": batches[0]}
    sampler = optuna.samplers.GridSampler(space, seed=seed) if kind == "grid" else optuna.samplers.RandomSampler(seed)
    size = len(list(encoders)) * len(list(architectures)) * len(list(batches))
    trials = trials or (size if kind == "grid" else 20)
    pruner = {
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=delay, interval_steps=1),
        "bandit": lambda: _bandit(delay),
        "none": optuna.pruners.NopPruner,
    }[policy]()

    def objective(trial) -> float:
        chosen = fixed | {name: trial.suggest_categorical(name, values) for name, values in space.items()}
        keras.backend.clear_session()

        class Report(keras.callbacks.Callback):
            """Tell the study of each epoch; stop the run where the policy says so."""

            def on_epoch_end(self, epoch, logs=None):
                trial.report(float(logs["val_accuracy"]), epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned(f"stopped after epoch {epoch + 1} by the {policy} policy")

        found = fit(
            chosen["architecture"], sides(chosen["batch"]), encoder=chosen["encoder"], batch=chosen["batch"],
            optimizer=chosen["optimizer"], epochs=epochs, patience=epochs, monitor="val_accuracy", seed=seed,
            callbacks=[Report()], progress=False, **options,
        )  # fmt: skip
        trial.set_user_attr("verdict", found.notes["verdict"])
        trial.set_user_attr("parameters", int(found.model.count_params()))
        trial.set_user_attr("seconds", found.notes["seconds"])
        return max(found.history["val_accuracy"])

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO if progress else optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(before)
    return study


def _bandit(delay: int):
    import optuna

    class Policy(Bandit, optuna.pruners.BasePruner):
        """Bandit as Optuna wants it."""

    return Policy(delay=delay)


def _until(trial, step: int) -> bool:
    return any(s <= step for s in trial.intermediate_values)
