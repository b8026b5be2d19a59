"""Several workers that train one model, played through step by step in NumPy: what waiting costs, and what not waiting.

**Averaged.** Each worker computes the gradient of a batch of its own; all wait, and one step is taken with the mean
(synchronous data parallel training; McDonald et al. 2010, Distributed training strategies for the structured
perceptron, average the weights instead, now and then: ``every``). n workers with batches of b are one with n × b.

**Delayed.** The workers take turns and never wait: when one brings its gradient, the others have changed the weights
since it fetched them. With n workers in turn, a gradient is n − 1 steps old (round robin; Langford, Smola & Zinkevich
2009, Slow learners are fast, NeurIPS). Old gradients point where the slope was: with a high learning rate the steps
overshoot, and swing more and more.

The model is a logistic regression or a network with one hidden layer, on points drawn from a seed. It is small, so that
the curves take seconds; what they show holds for large ones.

Lab: case_fields.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from arsetlib.training.run import TrainingError

GONE = 1e6  # a loss at which a run ends


@dataclass(frozen=True, eq=False)
class Problem:
    """Points of two classes and a model to tell them apart.

    Attributes:
        x: (N, F) float64.
        y: (N,) 0 or 1.
        hidden: Units of the hidden layer; 0 is logistic regression.
        start: (P,) first weights.
    """

    x: np.ndarray
    y: np.ndarray
    hidden: int
    start: np.ndarray

    def loss(self, weights: np.ndarray) -> float:
        """Mean cross-entropy of all points."""
        score, _ = self._forward(weights, self.x)
        return float(np.mean(np.logaddexp(0, score) - self.y * score))

    def gradient(self, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(P,) mean gradient of the loss over some points."""
        x, y = self.x[rows], self.y[rows]
        score, hidden = self._forward(weights, x)
        error = (_sigmoid(score) - y) / len(rows)  # (B,)
        if not self.hidden:
            return np.append(x.T @ error, error.sum())
        _, _, out, _ = self._parts(weights)
        back = np.outer(error, out) * (1 - hidden**2)  # (B, H)
        return np.concatenate([(x.T @ back).ravel(), back.sum(0), hidden.T @ error, [error.sum()]])

    def _forward(self, weights, x) -> tuple[np.ndarray, np.ndarray | None]:
        if not self.hidden:
            return x @ weights[:-1] + weights[-1], None
        into, shift, out, last = self._parts(weights)
        hidden = np.tanh(x @ into + shift)
        return hidden @ out + last, hidden

    def _parts(self, weights):
        features, units = self.x.shape[1], self.hidden
        into, rest = weights[: features * units].reshape(features, units), weights[features * units :]
        return into, rest[:units], rest[units : 2 * units], rest[-1]


def problem(points: int = 2000, features: int = 20, hidden: int = 0, seed: int = 0) -> Problem:
    """Points of two classes: two sides of a plane, or within and without a ring where there is a hidden layer.

    One in twenty has the wrong label, so that no loss reaches zero.

    Args:
        points: N.
        features: F, whose scales differ tenfold, as those of bands do.
        hidden: Units of a hidden layer; 0 for logistic regression.
        seed: Of points and first weights.
    """
    if points < 2 or features < 1 or hidden < 0:
        raise TrainingError(f"Expected 2 points, 1 feature or more, received {points}, {features} and hidden {hidden}.")
    random = np.random.default_rng(seed)
    plain = random.normal(size=(points, features))
    score = (plain[:, :2] ** 2).sum(axis=1) - 1.4 if hidden else plain @ random.normal(size=features)
    y = ((score > 0) ^ (random.random(points) < 0.05)).astype(float)
    count = features * hidden + 2 * hidden + 1 if hidden else features + 1
    start = random.normal(size=count) / np.sqrt(features) if hidden else np.zeros(count)
    return Problem(plain * np.geomspace(0.3, 3, features), y, hidden, start)


@dataclass(frozen=True, eq=False)
class Run:
    """What a way of training reached.

    Attributes:
        steps: (T,) changes of the weights until then, of all workers in sequence.
        points: (T,) points that gradients were computed of until then: the work.
        loss: (T,) over all points; infinite where it is beyond all bounds, and the run ends.
        weights: (P,) in the end.
    """

    steps: np.ndarray
    points: np.ndarray
    loss: np.ndarray
    weights: np.ndarray

    @property
    def diverged(self) -> bool:
        """Whether it ended worse than it began."""
        return not self.loss[-1] < self.loss[0]


def averaged(
    given: Problem,
    *,
    workers: int = 1,
    batch: int = 16,
    rate: float = 0.1,
    steps: int = 500,
    every: int = 1,
    seed: int = 0,
) -> Run:
    """Workers that wait for each other.

    Args:
        given: What is learnt.
        workers: n; one is plain SGD.
        batch: Points of each worker's gradient.
        rate: Learning rate.
        steps: Of each worker.
        every: Steps that each takes by itself before their weights are averaged. 1 is the mean of the gradients.
        seed: Of the points that are drawn; worker 0 draws what it would draw alone.

    Lab: case_fields.
    """
    _check(workers=workers, batch=batch, steps=steps, every=every, rate=rate)
    draws = [_draws(given, batch, seed, worker) for worker in range(workers)]
    weights = np.repeat(given.start[None], workers, axis=0)
    record = _Record(given, batch * workers, steps)
    for step in range(steps):
        for worker in range(workers):
            weights[worker] -= rate * given.gradient(weights[worker], next(draws[worker]))
        if (step + 1) % every == 0:
            weights[:] = weights.mean(axis=0)
        if record.add(weights.mean(axis=0)):
            break
    return record.run()


def delayed(
    given: Problem, *, staleness: int = 0, batch: int = 16, rate: float = 0.1, steps: int = 500, seed: int = 0
) -> Run:
    """Workers that take turns and do not wait: every gradient is of the weights of ``staleness`` steps before.

    Args:
        given: What is learnt.
        staleness: Steps that a gradient is late: n − 1 for n workers in turn. 0 is plain SGD.
        batch, rate, steps, seed: See ``averaged``; ``steps`` are those of all workers together.

    Lab: case_fields.
    """
    _check(staleness=staleness + 1, batch=batch, steps=steps, rate=rate)
    draws = _draws(given, batch, seed, 0)
    weights = given.start.copy()
    seen = deque([weights.copy()], maxlen=staleness + 1)
    record = _Record(given, batch, steps)
    for _ in range(steps):
        weights = weights - rate * given.gradient(seen[0], next(draws))  # seen[0]: the oldest that is kept
        seen.append(weights)
        if record.add(weights):
            break
    return record.run()


def curves(runs: dict[str, Run], points: bool = False):
    """Runs side by side as a pandas table: one column a run, one row a step, or a number of points.

    Args:
        runs: Name → Run.
        points: Let the rows be points, so that runs of different batches are compared by the work they did.
    """
    import pandas as pd

    parts = {name: pd.Series(run.loss, index=run.points if points else run.steps) for name, run in runs.items()}
    return pd.DataFrame(parts).rename_axis("points" if points else "step")


def by_staleness(
    given: Problem, staleness: Sequence[int] = (0, 1, 3, 7, 15), rates: Sequence[float] = (0.02, 0.1, 0.5), **options
):
    """The last loss for each staleness and learning rate, as a pandas table."""
    return _grid(given, delayed, "staleness", staleness, rates, options)


def by_workers(
    given: Problem, workers: Sequence[int] = (1, 2, 4, 8), rates: Sequence[float] = (0.02, 0.1, 0.5), **options
):
    """The last loss for each number of workers that average, as a pandas table; all take as many steps."""
    return _grid(given, averaged, "workers", workers, rates, options)


def _grid(given, way: Callable, name: str, values, rates, options):
    import pandas as pd

    table = {f"rate {r:g}": [float(way(given, **{name: v}, rate=r, **options).loss[-1]) for v in values] for r in rates}
    return pd.DataFrame(table, index=pd.Index(values, name=name))


class _Record:
    """Losses along the way, at most 200 of them: a loss of all points costs more than a step."""

    def __init__(self, given: Problem, points: int, steps: int):
        self.given, self.points, self.steps = given, points, steps
        self.often = max(1, steps // 200)
        self.done, self.rows, self.weights = 0, [(0, given.loss(given.start))], given.start

    def add(self, weights: np.ndarray) -> bool:
        """After a step; True where it is no use to go on."""
        self.done, self.weights = self.done + 1, weights
        if self.done % self.often and self.done < self.steps:
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            loss = self.given.loss(weights)
        gone = not loss < GONE
        self.rows.append((self.done, np.inf if gone else loss))
        return gone

    def run(self) -> Run:
        steps, loss = map(np.array, zip(*self.rows, strict=True))
        return Run(steps, steps * self.points, loss, self.weights.copy())


def _draws(given: Problem, batch: int, seed: int, worker: int):
    """Batches without end: the points in a new order each time round."""
    random = np.random.default_rng([seed, worker])
    if batch > len(given.x):
        raise TrainingError(f"Expected a batch of at most {len(given.x)} points, received {batch}.")
    while True:
        order = random.permutation(len(given.x))
        yield from (order[i : i + batch] for i in range(0, len(order) - batch + 1, batch))


def _sigmoid(score: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(score)


def _check(*, rate: float, **whole) -> None:
    for noun, value in whole.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            least, shown = (0, value - 1) if noun == "staleness" else (1, value)
            raise TrainingError(f"Expected {noun} to be a whole number of at least {least}, received {shown!r}.")
    if not rate > 0:
        raise TrainingError(f"Expected a rate above 0, received {rate}.")
