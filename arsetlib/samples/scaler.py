"""Mean and standard deviation of each band, from one pass over the training rows.

Lab: part2_load_data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from arsetlib import folders, pixels, textfiles
from arsetlib.samples.channels import Channels
from arsetlib.samples.rows import Rows, SampleError
from arsetlib.study import Study

PIECE = 1 << 20  # observations summed at once: sums of squares of uint16 then stay exact in float64


@dataclass(frozen=True)
class Moments:
    """Counts and sums of the observed values of each band; whole numbers, so that adding is exact in any order.

    Attributes:
        bands: Names of bands, and of indices.
        count: Observed values (0 is no data and does not count).
        total: Sum of the values, reflectance × 10,000.
        squares: Sum of their squares.
    """

    bands: tuple[str, ...]
    count: tuple[int, ...]
    total: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, source: Rows | pa.Table | str | Path, study: Study | None = None) -> Moments:
        """Those of a table, in one pass and in memory that does not grow with it.

        Args:
            source: Rows, a table or its path.
            study: Adds its indices, of each image, to the table's bands.

        Lab: part2_load_data.
        """
        rows = Rows.of(source)
        channels = None if study is None else Channels.of(study)
        if channels is not None and channels.bands != tuple(rows.meta.bands):
            raise SampleError(f"Expected a table with {list(channels.bands)}, received {list(rows.meta.bands)}.")
        names = rows.meta.bands if channels is None else channels.measured
        none = (0,) * len(names)
        moments = cls(names, none, none, none)
        kv = rows.meta.to_kv()
        for first, batch in rows._pieces(list(pixels.SERIES)):
            low, high = np.searchsorted(rows.index, (first, first + batch.num_rows))
            if high > low:
                if high - low < batch.num_rows:
                    batch = batch.take(pa.array(rows.index[low:high] - first))
                values = pixels.ragged(batch.replace_schema_metadata(kv)).bands
                moments += cls.of_values(values if channels is None else channels.with_indices(values), names)
        return moments

    @classmethod
    def of_values(cls, values: np.ndarray, bands: tuple[str, ...]) -> Moments:
        """Those of (N, C) whole numbers of at most 16 bits; 0 is no data."""
        count, total, squares = (np.zeros(len(bands), object) for _ in range(3))
        for start in range(0, len(values), PIECE):
            piece = values[start : start + PIECE]
            exact = piece.astype(np.float64)
            count += np.count_nonzero(piece, axis=0)
            total += _whole(exact.sum(axis=0))
            squares += _whole(np.einsum("nc,nc->c", exact, exact))
        return cls(tuple(bands), *(tuple(int(v) for v in sums) for sums in (count, total, squares)))

    def __add__(self, other: Moments) -> Moments:
        if self.bands != other.bands:
            raise SampleError(f"Expected moments of the same bands, received {self.bands} and {other.bands}.")
        pairs = ((self.count, other.count), (self.total, other.total), (self.squares, other.squares))
        return Moments(self.bands, *(tuple(a + b for a, b in zip(*pair, strict=True)) for pair in pairs))

    merge = __add__

    def scaler(self) -> Scaler:
        """Mean and standard deviation (of the population) of each band.

        Raises:
            SampleError: A band has no value, or no spread.
        """
        for band, n in zip(self.bands, self.count, strict=True):
            if n == 0:
                raise SampleError(
                    f"Band {band!r} has no observed value, so it has no mean. Leave it out of the study's bands, or "
                    f"look at the training rows with `arset describe`."
                )
        sums = list(zip(self.count, self.total, self.squares, strict=True))
        mean = tuple(s / n for n, s, _ in sums)
        std = tuple(((n * q - s * s) / (n * n)) ** 0.5 for n, s, q in sums)
        return Scaler(self.bands, mean, std)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.array([int(v) for v in values], object)


@dataclass(frozen=True)
class Scaler:
    """(value − mean) / standard deviation, band by band; no data (0) stays 0, which then equals the mean.

    Attributes:
        bands: Names of the channels: bands in the table's order, and what a study adds to them.
        mean: Mean of each band, reflectance × 10,000; of each index, × 10,000.
        std: Standard deviation of each band, same unit.

    >>> scaler = Scaler(("red", "nir"), mean=(500.0, 2000.0), std=(100.0, 1000.0))
    >>> scaler.transform([[600, 3000], [0, 0]]).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """

    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for noun in ("mean", "std"):
            if len(getattr(self, noun)) != len(self.bands):
                raise SampleError(
                    f"Expected a {noun} per band ({len(self.bands)}), received {len(getattr(self, noun))}."
                )
        for band, mean, std in zip(self.bands, self.mean, self.std, strict=True):
            if not np.isfinite([mean, std]).all() or not std > 0:
                raise SampleError(
                    f"Band {band!r} cannot be scaled: expected a finite mean and a positive spread, received mean "
                    f"{mean} and standard deviation {std}. Look at its values with `arset describe`, or leave it out."
                )

    @classmethod
    def fit(cls, source: Rows | pa.Table | str | Path, study: Study | None = None) -> Scaler:
        """Mean and standard deviation of what was observed in the training rows.

        One pass, float64 from exact integer sums; fills, padding and no data do not count. For parts made on several
        machines add their ``Moments``; the sum is that of the whole to the last bit.

        Args:
            source: Training rows only, so that nothing of the test leaks into the scale.
            study: Needed where it has more channels than the table's bands: its indices are scaled by their own mean
                and spread, and waves of the calendar are left as they are (mean 0, standard deviation 1).

        Raises:
            SampleError: A band has no value or no spread.
            PixelError: The table cannot be read.

        Lab: part2_load_data.
        """
        scaler = Moments.of(source, study).scaler()
        waves = study.channels[len(scaler.bands) :] if study is not None else ()
        return cls(scaler.bands + waves, scaler.mean + (0.0,) * len(waves), scaler.std + (1.0,) * len(waves))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Scale values; 0 (no data) stays 0.

        Args:
            x: (..., C), reflectance × 10,000.

        Returns:
            (..., C) float32, without unit.
        """
        x = np.asarray(x, np.float32)
        return np.where(x == 0, np.float32(0), (x - np.float32(self.mean)) / np.float32(self.std))

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Back to reflectance × 10,000, for pictures; a step that was not seen comes back as the mean."""
        return np.asarray(x, np.float32) * np.float32(self.std) + np.float32(self.mean)

    def save(self, path: str | Path) -> None:
        """Write JSON, to keep with the model that was trained with it; also in an object store (``s3://…``)."""
        folders.put_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Scaler:
        """Read what ``save`` wrote.

        Raises:
            SampleError: The file is no scaler, or a number in it cannot scale.
        """
        try:
            raw = textfiles.read_json(folders.place(path))
            return cls(*(tuple(raw[field]) for field in ("bands", "mean", "std")))
        except SampleError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise SampleError(
                f"{path} is no scaler: expected JSON with bands, mean and std ({error!r}). Make one with Scaler.fit."
            ) from error
