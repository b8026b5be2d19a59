"""Read what a training has written for TensorBoard, without its page.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import copies
from arsetlib.training.plan import TrainingError


def scalars(logs: str | Path) -> pd.DataFrame:
    """Losses and scores of each epoch, as TensorBoard's page *Scalars* plots them.

    Args:
        logs: The folder ``logs`` of a training, with a folder of event files for each side.

    Returns:
        One row an epoch, counted from 1; a column for each side and number, such as ``validation/epoch_loss``.

    Raises:
        TrainingError: The folder holds no event files.

    Lab: part3_train_and_test.
    """
    from tensorboard.util.tensor_util import make_ndarray

    columns = {}
    for side, reader in _readers(logs).items():
        for tag in sorted(reader.Tags()["tensors"]):
            if tag.startswith("epoch_"):
                events = reader.Tensors(tag)
                values = {e.step + 1: make_ndarray(e.tensor_proto).item() for e in events}
                columns[f"{side}/{tag}"] = pd.Series(values)
    return pd.DataFrame(columns).rename_axis("epoch")


def pictures(logs: str | Path, tag: str = "confusion", side: str = "validation") -> list[np.ndarray]:
    """The pictures that TensorBoard's page *Images* shows, one an epoch.

    Args:
        logs: As in ``scalars``.
        tag: Name of the pictures.
        side: Side that wrote them.

    Returns:
        (H, W, channels) float32 from 0 to 1, in the order of the epochs.

    Raises:
        TrainingError: The folder holds no event files, or no such pictures.

    Lab: part3_train_and_test.
    """
    from matplotlib.image import imread

    reader = _readers(logs).get(side)
    tags = reader.Tags()["tensors"] if reader else []
    if tag not in tags:
        raise TrainingError(f"Expected pictures {tag!r} of side {side!r} in {logs}, found {', '.join(tags) or 'none'}.")
    # A picture is stored as three byte strings: width, height, PNG.
    return [imread(io.BytesIO(e.tensor_proto.string_val[2]), format="png") for e in reader.Tensors(tag)]


def _readers(logs: str | Path) -> dict:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sides = sorted({file.parent for file in copies.fetched(logs).glob("*/events.out.tfevents.*")})
    if not sides:
        raise TrainingError(
            f"Expected TensorBoard's event files in folders of {logs}, found none. "
            "Train with folder=… and tensorboard=True; the files lie in its folder 'logs'."
        )
    everything = {"tensors": 0}  # 0 keeps all events; the default keeps a random sample
    return {side.name: EventAccumulator(str(side), everything).Reload() for side in sides}
