"""A ``tf.data.Dataset`` whose passes are epochs: each pass over it is the next one, with other draws.

Lab: part2_load_data.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["epochs"]


def epochs(
    of_epoch: Callable[[tf.Tensor], tf.data.Dataset],
    steps: int,
    epoch: int | Callable[[], int] | None = None,
    *,
    shared: bool = True,
) -> tf.data.Dataset:
    """A data set of known length whose passes are the epochs 0, 1, 2, …, two batches ahead of the model.

    Args:
        of_epoch: A () int64 tensor, the epoch → its batches.
        steps: Batches of an epoch.
        epoch: A number makes every pass that epoch; a function is asked for it as each pass begins.
        shared: Whether a distribution strategy may divide the batches among its workers.
    """
    import tensorflow as tf

    plain = tf.autograph.experimental.do_not_convert
    if epoch is None:
        epoch = functools.partial(next, itertools.count())
    if callable(epoch):
        now = plain(lambda: np.int64(epoch()))
        first = tf.data.Dataset.range(1)
        which = first.map(plain(lambda _: tf.ensure_shape(tf.numpy_function(now, [], tf.int64), [])))
        data = which.flat_map(of_epoch)
    else:
        data = of_epoch(tf.constant(epoch, tf.int64))
    options, policy = tf.data.Options(), tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policy.DATA if shared else policy.OFF
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2).with_options(options)
