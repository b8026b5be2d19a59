"""The inner loop of ``window``, twice: in NumPy on whole batches, and compiled with Numba. Both give the same bits.

Lab: part2_load_data.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread, current_thread

import numpy as np

from arsetlib.pixels import Ragged
from arsetlib.samples.draws import draw
from arsetlib.seeds import _A, _B, GOLDEN
from arsetlib.study import Season

# Scene class -> how clearly the ground is visible; vegetation, bare soil and water count the same.
CLEARNESS = np.array([0, 1, 8, 6, 9, 9, 9, 7, 3, 2, 5, 4], np.int64)
RANK = np.concatenate([CLEARNESS, np.zeros(256 - len(CLEARNESS), np.int64)])
VEGETATION = 4
LOCK = Lock()
CODE = {"first": 0, "last": 1, "random": 2, "clearest": 3}


def place(choose: str, wait: bool = True) -> Callable[..., None]:
    """The function that places images: compiled if Numba is installed and the compiled loop has the choice.

    With ``wait=False`` it is the NumPy function, which gives the same bits more slowly, until Numba is loaded.
    """
    if choose == "median" or not (wait or _loading().done()):
        return place_numpy
    compiled = _compiled()
    return place_numpy if compiled is None else functools.partial(_place_compiled, compiled)


def place_numpy(
    series, rows, start, keys, season, choose, seed, mean, std, x, seen, images, vegetation
):  # fmt: skip
    """Place images of rows into steps.

    Args:
        series: ``Ragged`` of R rows.
        rows: (B,) rows to take.
        start: (B,) int32.
        keys: (B,) uint64.
        season: Window and step, days.
        choose: How several images of a step become one.
        seed: uint64 of the epoch.
        mean, std: (C,) float32 to scale with, or None.
        x, seen, images, vegetation: Filled in; shapes as in ``Windows``.
    """
    count, steps = seen.shape
    where, owner, step = _inside(series, rows, start, season)
    per_row = np.bincount(owner, minlength=count)
    images[:] = per_row
    vegetation[:] = _last_two(series.scl[where] == VEGETATION, per_row)
    group = owner * steps + step
    per_step = np.bincount(group, minlength=count * steps)
    full = np.flatnonzero(per_step)
    first = (np.cumsum(per_step) - per_step)[full]
    seen.reshape(-1)[:] = per_step > 0
    flat = x.reshape(count * steps, -1)
    flat[:] = 0
    if choose == "median":
        flat[full] = _medians(series.bands[where], first, per_step[full])
    else:
        chosen = _chosen(choose, series.scl[where], first, per_step[full], full, steps, keys, seed)
        flat[full] = series.bands[where[chosen]]
    if mean is not None:
        scale(x, mean, std)


def scale(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """(x - mean) / std in place; 0, no data, stays 0."""
    empty = x == 0
    x -= mean
    x /= std
    x[empty] = 0


def _inside(series, rows, start, season):
    """Images inside the windows: (M,) place in the flat series, (M,) number of the window, (M,) step."""
    low = series.offsets[rows]
    size = series.offsets[rows + 1] - low
    owner = np.repeat(np.arange(len(rows)), size)
    where = np.arange(len(owner)) + np.repeat(low - (np.cumsum(size) - size), size)
    since = series.day[where].astype(np.int32) - start[owner]
    inside = (since >= 0) & (since < season.window_days)
    return where[inside], owner[inside], since[inside] // season.step_days


def _last_two(green: np.ndarray, per_row: np.ndarray) -> np.ndarray:
    """(B,) whether one of the last two of each row's images is green."""
    if not len(green):
        return np.zeros(len(per_row), bool)
    end = np.cumsum(per_row)
    last = (per_row >= 1) & green[np.maximum(end - 1, 0)]
    return last | ((per_row >= 2) & green[np.maximum(end - 2, 0)])


def _chosen(choose, scl, first, count, full, steps, keys, seed) -> np.ndarray:
    """The place, among the images inside, of the one that stands for each full step."""
    if choose == "first" or not len(full):
        return first
    if choose == "last":
        return first + count - 1
    if choose == "random":
        number = draw(seed, keys[full // steps], full % steps)
        return first + (number * count.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
    best = np.maximum.reduceat((RANK[scl] << 40) + np.arange(len(scl)), first)
    return best & ((1 << 40) - 1)


def _medians(values: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(G, C) median of the values of each group, 0 (no data) left out; 0 where nothing is left."""
    out = np.zeros((len(first), values.shape[1]), np.float32)
    for size in np.unique(count):  # few sizes, many groups of each
        mine = np.flatnonzero(count == size)
        stack = values[first[mine][:, None] + np.arange(size)].astype(np.float32)  # (G', size, C)
        there = np.count_nonzero(stack, axis=1)
        stack[stack == 0] = np.inf
        stack.sort(axis=1)
        low, high = (
            np.take_along_axis(stack, i[:, None], 1)[:, 0] for i in (np.maximum(there - 1, 0) // 2, there // 2)
        )
        middle = np.where(there % 2 == 1, low, low / 2 + high / 2 if size > 1 else low)
        out[mine] = np.where(there > 0, middle, np.float32(0))
    return out


# Compiled


def _place_compiled(
    compiled, series, rows, start, keys, season, choose, seed, mean, std, x, seen, images, vegetation
):  # fmt: skip
    scaled = mean is not None
    none = np.zeros(x.shape[2], np.float32)
    compiled(
        *(_fixed(part) for part in (series.offsets, series.day, series.scl, series.bands, rows, start, keys)),
        season.window_days, season.step_days, CODE[choose], np.uint64(seed), RANK,
        scaled, mean if scaled else none, std if scaled else none, x, seen, images, vegetation,
    )  # fmt: skip


def _fixed(array: np.ndarray) -> np.ndarray:
    """A contiguous read-only view: one type for the compiler, wherever the array comes from."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _compiled():
    """The loop, compiled, or None where Numba is not installed. Releases the GIL, so that threads help."""
    return _loading().result()


def _loading() -> Future:
    """The compiled loop, loaded in a thread of its own.

    Why a thread: importing Numba and the cached machine code takes 1.5 s. Measured in new processes (2 busy cores): the
    first batch came after 0.2-1.1 s with the thread and NumPy until then, after 2.0-2.9 s without it.
    """
    with LOCK:
        return _started()


@functools.cache
def _started() -> Future:
    future: Future = Future()
    thread = Thread(target=_load, args=(future,), name="arset-numba")
    thread.start()
    if hasattr(os, "register_at_fork"):  # in a child forked during the import the import lock would stay held
        os.register_at_fork(before=lambda: None if current_thread() is thread else thread.join())
    return future


def _load(future: Future) -> None:
    try:
        import numba

        compiled = numba.njit(nogil=True, cache=True, boundscheck=False)(_loop)
        _place_compiled(compiled, *_nothing())  # loads the machine code for the types in use, or makes it
        future.set_result(compiled)
    except ImportError:
        future.set_result(None)
    except BaseException as error:
        future.set_exception(error)


def _nothing() -> tuple:
    """Arguments of ``place_numpy`` for no rows: compiling needs their types."""
    none = np.zeros(0, np.int64)
    series = Ragged(np.zeros(1, np.int64), none.astype("<u2"), none.astype("u1"), np.zeros((0, 1), "<u2"))
    ask = (series, none, none.astype(np.int32), none.astype(np.uint64), Season(1, 1), "first", np.uint64(0), None, None)
    return (*ask, np.zeros((0, 1, 1), np.float32), np.zeros((0, 1), bool), none.astype(np.int32), none.astype(bool))


def _loop(
    offsets, day, scl, bands, rows, start, keys, window_days, step_days, choose, seed, rank,
    scaled, mean, std, x, seen, images, vegetation,
):  # fmt: skip
    """Row by row, step by step, in one pass over each row's days."""
    channels = bands.shape[1]
    for b in range(rows.shape[0]):
        low, high = offsets[rows[b]], offsets[rows[b] + 1]
        begin = start[b]
        while low < high and np.int32(day[low]) - begin < 0:
            low += 1
        i = low
        base = keys[b] + seed
        base = (base ^ (base >> np.uint64(30))) * _A
        base = (base ^ (base >> np.uint64(27))) * _B
        base = base ^ (base >> np.uint64(31))
        for t in range(seen.shape[1]):
            first = i
            end = begin + (t + 1) * step_days
            while i < high and np.int32(day[i]) < end:
                i += 1
            count = i - first
            seen[b, t] = count > 0
            if count == 0:
                for c in range(channels):
                    x[b, t, c] = np.float32(0)
                continue
            chosen = first
            if choose == 1:
                chosen = i - 1
            elif choose == 2:
                if count > 1:
                    z = base + (np.uint64(t) + np.uint64(1)) * GOLDEN
                    z = (z ^ (z >> np.uint64(30))) * _A
                    z = (z ^ (z >> np.uint64(27))) * _B
                    z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
                    chosen = first + np.int64((z * np.uint64(count)) >> np.uint64(32))
            elif choose == 3:
                for j in range(first + 1, i):
                    if rank[scl[j]] >= rank[scl[chosen]]:
                        chosen = j
            if scaled:
                for c in range(channels):
                    value = np.float32(bands[chosen, c])
                    x[b, t, c] = (value - mean[c]) / std[c] if value != 0 else np.float32(0)
            else:
                for c in range(channels):
                    x[b, t, c] = np.float32(bands[chosen, c])
        images[b] = i - low
        green = i > low and scl[i - 1] == VEGETATION
        vegetation[b] = green or (i - 1 > low and scl[i - 2] == VEGETATION)
