"""Several processes train as one would; what happens when one dies; and SGD that waits or does not, in NumPy."""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import squares

from arsetlib.training import TrainingError, parallel_sgd, workers

HERE = Path(__file__).resolve().parent
# Plain SGD: Adam makes of a last digit that differs a step that differs.
TINY = {"epochs": 3, "batch": 32, "optimizer": "sgd", "learning_rate": 0.1, "seed": 1}

CHILD = """
import os, signal, sys
sys.path.insert(0, {here!r})
import keras, squares
from arsetlib import fields
from arsetlib.training import workers

strategy = workers.strategy()
with strategy.scope():
    model = squares.network()

class Kill(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if {dies} and workers.cluster().rank == 1 and self.model.optimizer.iterations.numpy() == 4:
            os.kill(os.getpid(), signal.SIGKILL)

fields.fit(model, squares.sides(), folder={folder!r}, strategy=strategy, callbacks=[Kill()], progress=False, **{tiny!r})
"""


def child(folder, dies: bool) -> list[str]:
    return [sys.executable, "-c", CHILD.format(here=str(HERE), folder=str(folder), dies=dies, tiny=TINY)]


# Several processes


def test_two_workers_lose_one_go_on_and_end_as_one_process_does(tmp_path):
    """Killed in the second epoch: the other ends with a clear error; started again, they have the losses of one."""
    from arsetlib import fields

    folder, logs = tmp_path / "run", tmp_path / "logs"
    with pytest.raises(workers.WorkerError, match="Worker 1 of 2 was ended by SIGKILL"):
        workers.run(child(folder, dies=True), 2, logs=logs)
    told = (logs / "worker-0.log").read_text()
    assert "Worker 0 of 2 lost another one in epoch 2" in told  # by itself; it was not ended from outside
    assert [f.name for f in (folder / "backup").iterdir()] == ["epoch-00001"]
    workers.run(child(folder, dies=False), 2)
    two = fields.load(folder)
    assert two.notes["processes"] == two.notes["devices"] == 2
    one = fields.fit(squares.network(), squares.sides(), progress=False, **TINY)
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        np.testing.assert_allclose(two.history[name], one.history[name], rtol=1e-5, err_msg=name)
    x = squares.make(20, 2)[0]
    np.testing.assert_allclose(two.predict(x), one.predict(x), atol=1e-5)


def test_a_worker_that_fails_ends_the_others_and_its_words_are_told(tmp_path):
    code = (
        "import json, os, sys, time\n"
        "rank = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "sys.exit('arset: no such shard') if rank == 2 else time.sleep(30)\n"
    )
    began = time.monotonic()
    with pytest.raises(workers.WorkerError, match=r"Worker 2 of 3 ended with code 1.*no such shard"):
        workers.run([sys.executable, "-c", code], 3, grace=0.5, logs=tmp_path)
    assert time.monotonic() - began < 20


def test_each_worker_finds_its_place(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", workers.config(["a:1", "b:2"], 1))
    found = workers.cluster()
    assert (found.size, found.rank, found.chief) == (2, 1, False)
    with pytest.raises(workers.WorkerError, match="rank from 0 to 1"):
        workers.config(["a:1", "b:2"], 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not set"),
        ("{", "Expected TF_CONFIG"),
        (json.dumps({"cluster": {"worker": ["a:1"]}}), "Expected TF_CONFIG"),
    ],
)
def test_no_place_to_be_found(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(workers.WorkerError, match=words):
        workers.cluster()


def test_a_larger_batch_takes_longer_steps_after_a_warm_up():
    assert workers.linear_rate(0.1, batch=256, base=32) == pytest.approx(0.8)
    rising = workers.linear_rate(0.1, batch=256, base=32, warm_up=10)
    assert [float(rising(step)) for step in (0, 5, 10, 99)] == pytest.approx([0.1, 0.45, 0.8, 0.8])
    with pytest.raises(TrainingError, match="rate above 0"):
        workers.linear_rate(0.1, batch=0, base=32)


# SGD that waits, and SGD that does not


@pytest.fixture(scope="module", params=[0, 6], ids=["logistic", "hidden layer"])
def given(request):
    return parallel_sgd.problem(points=300, features=5, hidden=request.param, seed=1)


def by_hand(given, steps, rate, batch, seed=0, worker=0):
    """Plain SGD, written out."""
    random, weights, rows = np.random.default_rng([seed, worker]), given.start.copy(), []
    for _ in range(steps):
        if not rows:
            order = random.permutation(len(given.x))
            rows = [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]
        weights = weights - rate * given.gradient(weights, rows.pop(0))
    return weights


def test_the_gradient_is_the_slope_of_the_loss(given):
    weights, rows = given.start + 0.1, np.arange(len(given.x))
    found, step = given.gradient(weights, rows), 1e-6
    for i in range(len(weights)):
        more, less = weights.copy(), weights.copy()
        more[i] += step
        less[i] -= step
        assert found[i] == pytest.approx((given.loss(more) - given.loss(less)) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_one_worker_and_no_staleness_are_plain_sgd_step_by_step(given, steps):
    plain = by_hand(given, steps, 0.1, 16)
    np.testing.assert_array_equal(parallel_sgd.averaged(given, steps=steps).weights, plain)
    np.testing.assert_array_equal(parallel_sgd.delayed(given, steps=steps).weights, plain)


def test_workers_that_average_each_step_are_one_with_a_larger_batch(given):
    """The mean of two gradients of 16 points is that of 32."""
    draws = [parallel_sgd._draws(given, 16, 0, worker) for worker in (0, 1)]
    weights = given.start.copy()
    for _ in range(20):
        weights = weights - 0.1 * given.gradient(weights, np.concatenate([next(d) for d in draws]))
    np.testing.assert_allclose(parallel_sgd.averaged(given, workers=2, steps=20).weights, weights, atol=1e-12)


def test_a_late_gradient_is_of_the_weights_of_before(given):
    draws, kept = parallel_sgd._draws(given, 16, 0, 0), [given.start]
    for step in range(10):
        kept.append(kept[-1] - 0.1 * given.gradient(kept[max(0, step - 3)], next(draws)))
    np.testing.assert_array_equal(parallel_sgd.delayed(given, staleness=3, steps=10).weights, kept[-1])


def test_much_staleness_at_a_large_rate_diverges_and_at_a_small_one_does_not():
    given = parallel_sgd.problem(seed=0)
    assert parallel_sgd.delayed(given, staleness=15, rate=0.5).diverged
    assert not parallel_sgd.delayed(given, staleness=0, rate=0.5).diverged
    assert not parallel_sgd.delayed(given, staleness=15, rate=0.02).diverged


def test_tables_hold_each_run_and_work_counts_all_workers(given):
    runs = {n: parallel_sgd.averaged(given, workers=n, steps=50, every=5) for n in (1, 4)}
    assert parallel_sgd.curves(runs).shape == (51, 2)
    assert runs[4].points[-1] == 4 * 16 * 50
    assert parallel_sgd.curves(runs, points=True).index.max() == 4 * 16 * 50
    assert parallel_sgd.by_staleness(given, (0, 2), (0.1, 0.2), steps=20).shape == (2, 2)
    assert parallel_sgd.by_workers(given, (1, 2), (0.1,), steps=20).loc[1, "rate 0.1"] == pytest.approx(
        parallel_sgd.delayed(given, steps=20).loss[-1]
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: parallel_sgd.delayed(p, staleness=-1), "staleness to be a whole number of at least 0, received -1"),
        (lambda p: parallel_sgd.averaged(p, workers=0), "workers to be a whole number of at least 1"),
        (lambda p: parallel_sgd.averaged(p, batch=10_000), "batch of at most 300"),
        (lambda p: parallel_sgd.delayed(p, rate=0), "rate above 0"),
        (lambda p: parallel_sgd.problem(points=0), "2 points"),
    ],
)
def test_simulations_that_cannot_be(given, call, words):
    with pytest.raises(TrainingError, match=words):
        call(given)
