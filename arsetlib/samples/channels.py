"""The channels of a sample, its last axis: bands, those of other sensors, indices, the calendar.

A study file adds channels to the bands with a table:

    [channels]
    sensors = { radar = ["vv", "vh"] }   # bands that `pixels.join` added to the table; they get an image of their own
    indices = ["ndvi", "ndmi"]           # of the image that stands for each step
    day_of_year = true                   # two waves of a year, at the middle of each step

Lab: part3_train_and_test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arsetlib.pixels import Ragged
from arsetlib.samples.indices import INDICES, index
from arsetlib.samples.rows import SampleError
from arsetlib.study import WAVES, Study

YEAR = 365.2425  # days


@dataclass(frozen=True)
class Channels:
    """The channels of a study.

    Attributes:
        bands: Bands of the table, in its order.
        sensors: Bands of each sensor, the study's own first; together they are ``bands``.
        indices: Keys of ``INDICES``.
        day_of_year: Whether the calendar is added.
    """

    bands: tuple[str, ...]
    sensors: tuple[tuple[str, ...], ...]
    indices: tuple[str, ...] = ()
    day_of_year: bool = False

    @classmethod
    def of(cls, study: Study) -> Channels:
        """Those that a study asks for.

        Raises:
            SampleError: An index that is unknown, or that needs a band which the study does not have.

        Lab: part3_train_and_test.
        """
        for name in study.indices:
            if name not in INDICES:
                raise SampleError(f"Expected indices out of {', '.join(INDICES)}, received {name!r}.")
            missing = [b for b in INDICES[name].bands if b not in study.bands]
            if missing:
                raise SampleError(
                    f"The index {name!r} needs the bands {list(INDICES[name].bands)}; the study lacks {missing}. Add "
                    f"them to its bands and ingest anew, or leave the index out."
                )
        return cls(study.table_bands, (study.bands, *study.sensors.values()), study.indices, study.day_of_year)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the channels that a scaler scales: bands and indices."""
        return (*self.bands, *self.indices)

    @property
    def names(self) -> tuple[str, ...]:
        """C names, as ``Study.channels``."""
        return (*self.measured, *(WAVES if self.day_of_year else ()))

    @property
    def plain(self) -> bool:
        """Whether they are the bands of one sensor and no more."""
        return len(self.sensors) == 1 and self.names == self.bands

    def by_sensor(self, series: Ragged) -> tuple[Ragged, ...]:
        """The series of each sensor: its own bands, and only the images in which it saw something."""
        if len(self.sensors) == 1:
            return (series,)
        ends = np.cumsum([len(s) for s in self.sensors])
        parts = (series.bands[:, end - len(s) : end] for s, end in zip(self.sensors, ends, strict=True))
        return tuple(_only(series, values) for values in parts)

    def with_indices(self, values: np.ndarray) -> np.ndarray:
        """Bands and then indices.

        Args:
            values: (..., bands) reflectance × 10,000, 0 is no data.

        Returns:
            (..., bands + indices) float32, indices × 10,000, 0 is no data.
        """
        out = np.empty((*values.shape[:-1], len(self.measured)), np.float32)
        out[..., : len(self.bands)] = values
        for i, name in enumerate(self.indices, len(self.bands)):
            out[..., i] = index(name, values, self.bands)
        return out


def _only(series: Ragged, values: np.ndarray) -> Ragged:
    """The images of a series in which ``values`` hold something."""
    saw = values.any(axis=1)
    offsets = np.concatenate([[0], np.cumsum(saw)])[series.offsets]
    return Ragged(offsets, series.day[saw], series.scl[saw], values[saw])


def waves(start: np.ndarray, steps: int, step_days: int) -> np.ndarray:
    """The calendar: sine and cosine of the time of the year at the middle of each step, 0 on 1 January.

    The phase counts from 1 January 1970 in years of 365.2425 days, so it moves by less than a day between years.

    Args:
        start: (B,) first day of each window, days since 1970-01-01.
        steps: T steps.
        step_days: Width of a step.

    Returns:
        (B, T, 2) float32, from -1 to 1.
    """
    middle = np.asarray(start, np.float64)[:, None] + (np.arange(steps) + 0.5) * step_days
    phase = 2 * np.pi * middle / YEAR
    return np.stack([np.sin(phase), np.cos(phase)], axis=-1).astype(np.float32)
