"""A trained model with all that is needed to use it, in memory and as a folder.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from arsetlib.models.registry import needs
from arsetlib.samples import Scaler
from arsetlib.study import Study


@dataclass
class Trained:
    """See the contract; written next."""

    model: object
    name: str
    scaler: Scaler | None
    study: Study
    choose: str = "random"
    fill: str = "zeros"
    history: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        return needs(self.model)


def load(folder: str | Path, study: Study | None = None) -> Trained:
    raise NotImplementedError
