"""SplitMix64 in tensors: the draws of ``draws``, bit for bit, on every backend of Keras.

Lab: part2_load_data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from arsetlib.samples.backends import backend
from arsetlib.seeds import _A, _B


def arithmetic() -> Any:
    """How 64-bit numbers are computed on this backend."""
    return HalfWords if backend() == "jax" else Words


class Words:
    """SplitMix64 in 64-bit integers, whose products wrap; for TensorFlow and PyTorch."""

    @staticmethod
    def stored(numbers: np.ndarray) -> np.ndarray:
        return numbers.view(np.int64)

    @classmethod
    def constant(cls, numbers: np.ndarray) -> Any:
        from keras import ops

        return ops.convert_to_tensor(cls.stored(numbers))

    @staticmethod
    def taken(numbers: Any, rows: Any) -> Any:
        from keras import ops

        return ops.take(numbers, rows, axis=0)

    @staticmethod
    def column(numbers: Any) -> Any:
        return numbers[:, None]

    @staticmethod
    def plus(one: Any, other: Any) -> Any:
        return one + other

    @classmethod
    def mixed(cls, z: Any) -> Any:
        z = cls._folded(z, 30) * cls.constant(_A[None])
        z = cls._folded(z, 27) * cls.constant(_B[None])
        return cls._folded(z, 31)

    @classmethod
    def share(cls, z: Any, count: Any) -> Any:
        """``draw * count >> 32`` of a draw of 32 bits, int32."""
        from keras import ops

        z = cls._shifted(cls.mixed(z), 32) * (count if isinstance(count, int) else ops.cast(count, "int64"))
        return ops.cast(cls._shifted(z, 32), "int32")

    @classmethod
    def _folded(cls, z: Any, by: int) -> Any:
        from keras import ops

        return ops.bitwise_xor(z, cls._shifted(z, by))

    @classmethod
    def _shifted(cls, z: Any, by: int) -> Any:
        """A logical shift: zeros come from the left."""
        from keras import ops

        by, mask = (cls.constant(np.array([number], np.uint64)) for number in (by, 2 ** (64 - by) - 1))
        return ops.bitwise_and(ops.right_shift(z, by), mask)


class HalfWords:
    """SplitMix64 in two 32-bit halves, the high one first along the last axis; for JAX: it has no 64-bit integers."""

    @staticmethod
    def stored(numbers: np.ndarray) -> np.ndarray:
        return np.stack([numbers >> np.uint64(32), numbers & np.uint64(2**32 - 1)], -1).astype(np.uint32)

    @classmethod
    def constant(cls, numbers: np.ndarray) -> Any:
        halves = cls.stored(numbers)
        return halves[..., 0], halves[..., 1]

    @staticmethod
    def taken(numbers: Any, rows: Any) -> tuple:
        from keras import ops

        both = ops.take(numbers, rows, axis=0)
        return both[..., 0], both[..., 1]

    @staticmethod
    def column(numbers: tuple) -> tuple:
        return numbers[0][:, None], numbers[1][:, None]

    @staticmethod
    def plus(one: tuple, other: Any) -> tuple:
        other = other if isinstance(other, tuple) else (other[..., 0], other[..., 1])
        low = one[1] + other[1]
        return one[0] + other[0] + (low < one[1]).astype("uint32"), low

    @classmethod
    def mixed(cls, z: tuple) -> tuple:
        z = cls._times(cls._folded(z, 30), int(_A))
        z = cls._times(cls._folded(z, 27), int(_B))
        return cls._folded(z, 31)

    @classmethod
    def share(cls, z: tuple, count: Any) -> Any:
        count = np.uint32(count) if isinstance(count, int) else count.astype("uint32")
        high = cls.mixed(z)[0]
        return (((high >> 16) * count + ((high & 0xFFFF) * count >> 16)) >> 16).astype("int32")

    @staticmethod
    def _folded(z: tuple, by: int) -> tuple:
        high, low = z
        return high ^ (high >> by), low ^ ((low >> by) | (high << (32 - by)))

    @staticmethod
    def _times(z: tuple, factor: int) -> tuple:
        """Product with a constant, by parts of 16 bits whose products fit into 32."""
        high, low = z
        a0, a1 = low & 0xFFFF, low >> 16
        b0, b1 = np.uint32(factor & 0xFFFF), np.uint32(factor >> 16 & 0xFFFF)
        middle = (a0 * b0 >> 16) + (a0 * b1 & 0xFFFF) + (a1 * b0 & 0xFFFF)
        over = a1 * b1 + (a0 * b1 >> 16) + (a1 * b0 >> 16) + (middle >> 16)
        by_low, by_high = np.uint32(factor & 0xFFFFFFFF), np.uint32(factor >> 32)
        return over + low * by_high + high * by_low, low * by_low
