"""Several processes train as one would; what happens when one dies."""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import squares

from arsetlib.training import TrainingError, workers

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
    from arsetlib import fields, models
    from arsetlib.training.callbacks import Backup
    from arsetlib.training.run import BACKUP

    folder, logs = tmp_path / "run", tmp_path / "logs"
    with pytest.raises(workers.WorkerError, match="Worker 1 of 2 was ended by SIGKILL"):
        workers.run(child(folder, dies=True), 2, logs=logs)
    told = (logs / "worker-0.log").read_text()
    assert "Worker 0 of 2 lost another one in epoch 2" in told  # by itself; it was not ended from outside
    assert Backup(folder / BACKUP, None).epochs == 1
    workers.run(child(folder, dies=False), 2)
    two = models.load(folder)
    assert two.notes["processes"] == two.notes["devices"] == 2
    one = fields.fit(squares.network(), squares.sides(), progress=False, **TINY)
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        np.testing.assert_allclose(two.history[name], one.history[name], rtol=1e-5, err_msg=name)
    x = squares.make(20, 2)[0]
    np.testing.assert_allclose(two.predict(x), one.predict(x), atol=1e-5)


def test_the_name_of_a_file_is_no_lost_worker(monkeypatch):
    import tensorflow as tf

    tasks = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(tasks))
    lost, own = tf.errors.UnavailableError, tf.errors.FailedPreconditionError
    with pytest.raises(own), workers.explained("epoch 1"):
        raise own(None, None, "/data/worker/rocket/a.txt; Is a directory")
    with pytest.raises(workers.WorkerError, match="lost another one in epoch 1"), workers.explained("epoch 1"):
        raise lost(None, None, "failed to connect to /job:worker/replica:0/task:1")
    with pytest.raises(workers.WorkerError, match="lost another one in epoch 1"), workers.explained("epoch 1"):
        raise lost(None, None, "Socket closed")


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
