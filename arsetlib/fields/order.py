"""Which image comes when: one order for every form in which images are stored.

Images are numbered as in the source. They are read in blocks of 32 that lie side by side in a file, so a disk reads on
and does not jump. Blocks are shuffled; then the images of a pool of blocks are shuffled together. So an order hangs on
the number of images, the seed and the epoch alone: a TFRecord file, Parquet, a directory and a generator all follow it.

Lab: case_fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arsetlib.fields.classes import ImageError

BLOCK = 32  # images that are read together


@dataclass(frozen=True)
class Pool:
    """Images that are in memory together.

    Attributes:
        blocks: Numbers of the images of each block, ascending.
        rows: (n,) the same numbers in the order in which they are given out.
    """

    blocks: tuple[np.ndarray, ...]
    rows: np.ndarray


class Order:
    """The order of the images of one worker.

    Args:
        rows: (N,) numbers of the images that are used, ascending.
        shuffle: Another order each epoch.
        seed: Same seed, same order.
        part: (k, n): the k-th of n workers, from 0. Each image is of one worker; their counts differ by one at most.
            A worker has the same images in each epoch, so that it needs only its own files, or a cache of its own.
        pool: Images that are shuffled together.

    Raises:
        ImageError: No such part, or no image for it.
    """

    def __init__(
        self,
        rows: np.ndarray,
        shuffle: bool = False,
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
        pool: int = 512,
    ):
        k, n = part
        if not 0 <= k < n or pool < 1:
            raise ImageError(f"Expected part=(k, n) with 0 ≤ k < n and pool from 1, received {part} and {pool}.")
        self.shuffle, self.seed = shuffle, seed
        self.blocks_a_pool = max(1, pool // BLOCK)
        blocks = np.split(rows, np.flatnonzero(np.diff(rows // BLOCK)) + 1) if len(rows) else []
        if shuffle and n > 1:
            blocks = [blocks[b] for b in np.random.default_rng([seed, 11]).permutation(len(blocks))]
        low, high = (len(rows) * j // n for j in (k, k + 1))
        if low == high:
            raise ImageError(
                f"Part {k} of {n} gets none of {len(rows)} images. Use fewer parts, or another selection of images."
            )
        ends = np.cumsum([len(block) for block in blocks])
        cut = [
            block[max(0, low - end + len(block)) : max(0, high - end + len(block))]
            for block, end in zip(blocks, ends, strict=True)
        ]
        self.blocks = [block for block in cut if len(block)]
        self.rows = np.concatenate(self.blocks)

    def __len__(self) -> int:
        return len(self.rows)

    def pools(self, epoch: int = 0) -> list[Pool]:
        """The pools of an epoch, one after the other."""
        random = np.random.default_rng([self.seed, 7, epoch])
        count = len(self.blocks)
        dealt = random.permutation(count) if self.shuffle else np.arange(count)
        pools = []
        for k in range(0, count, self.blocks_a_pool):
            blocks = tuple(self.blocks[b] for b in dealt[k : k + self.blocks_a_pool])
            rows = np.concatenate(blocks)
            pools.append(Pool(blocks, random.permutation(rows) if self.shuffle else rows))
        return pools

    def epoch(self, epoch: int = 0) -> np.ndarray:
        """(N,) numbers of the images of an epoch, in order."""
        return np.concatenate([pool.rows for pool in self.pools(epoch)])
