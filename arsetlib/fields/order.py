"""The order in which images come: the same for every storage format.

Images are numbered as in the source. They are read in blocks of 32 that lie next to each other in a file, so that a
disk reads large pieces. Blocks are shuffled; then the images of a *pool* of blocks are shuffled together. The order
depends only on the number of images, the seed and the epoch.

Lab: case_fields.
"""

from __future__ import annotations

import numpy as np

from arsetlib import seeds
from arsetlib.fields.classes import ImageError

BLOCK = 32  # images that are read together


class Order:
    """The order of the images of one worker.

    Args:
        rows: (N,) numbers of the images to use, ascending.
        shuffle: Another order in each epoch.
        seed: Same seed, same order.
        part: (k, n): the k-th of n workers, from 0. Each image belongs to one worker; the workers' counts differ by
            one at most. A worker keeps its images in every epoch, so it needs only its own files, or its own cache.
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
        self.shuffle, self.seed, self.blocks_per_pool = shuffle, seed, max(1, pool // BLOCK)
        if shuffle and n > 1:
            blocks = _blocks(rows)
            order = seeds.generator(seed, "part").permutation(len(blocks))
            rows = np.concatenate([blocks[b] for b in order]) if blocks else rows
        self.rows = rows[len(rows) * k // n : len(rows) * (k + 1) // n]
        if not len(self.rows):
            raise ImageError(
                f"Part {k} of {n} gets none of {len(rows)} images. Use fewer parts, or another selection of images."
            )

    def __len__(self) -> int:
        return len(self.rows)

    def pools(self, epoch: int = 0) -> list[np.ndarray]:
        """Numbers of the images of each pool, in order."""
        blocks, random = _blocks(self.rows), seeds.generator(self.seed, "order", epoch)
        if self.shuffle:
            blocks = [blocks[b] for b in random.permutation(len(blocks))]
        step = self.blocks_per_pool
        pools = [np.concatenate(blocks[k : k + step]) for k in range(0, len(blocks), step)]
        return [random.permutation(rows) for rows in pools] if self.shuffle else pools

    def epoch(self, epoch: int = 0) -> np.ndarray:
        """(N,) numbers of the images of an epoch, in order."""
        return np.concatenate(self.pools(epoch))


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    """Images that are read together, in the order of ``rows``."""
    return np.split(rows, np.flatnonzero(np.diff(rows // BLOCK)) + 1) if len(rows) else []
