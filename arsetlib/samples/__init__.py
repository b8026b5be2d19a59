"""From the pixel table to batches: split, window, scale, shuffle, pass on.

One ``window`` serves training (random start, a random image per step), evaluation (fixed start, fixed choice) and
maps. Everything works on whole batches of ragged columns; where Numba is installed (``arsetlib[train]``) a compiled
kernel gives the same bits sooner. Only ``batches``, ``row_by_row`` and ``sequence`` need TensorFlow or Keras, and they
import it when called.

    sides = samples.split("data/pixels", study)
    scaler = samples.Scaler.fit(sides["train"])
    train = samples.batches(sides["train"], study, scaler, start="random", seed=1)
    test = samples.batches(sides["test"], study, scaler, start=120)

Lab: part2_load_data.
"""

from arsetlib.samples.channels import Channels
from arsetlib.samples.describe import describe, format_description
from arsetlib.samples.device import Device
from arsetlib.samples.draws import draw_images, draw_starts, keys_of
from arsetlib.samples.indices import INDICES, Index, index
from arsetlib.samples.loader import EXTRAS, Loader, arrays, batches, sequence
from arsetlib.samples.rows import Rows, SampleError
from arsetlib.samples.rowwise import parser, row_by_row
from arsetlib.samples.scaler import Moments, Scaler
from arsetlib.samples.split import LeakWarning, kfold, random_split, shared, split
from arsetlib.samples.store import Streaming
from arsetlib.samples.windows import CHOICES, FILLS, Windows, apply_vegetation_rule, start_days, window

__all__ = [
    "CHOICES",
    "EXTRAS",
    "FILLS",
    "INDICES",
    "Channels",
    "Device",
    "Index",
    "LeakWarning",
    "Loader",
    "Moments",
    "Rows",
    "SampleError",
    "Scaler",
    "Streaming",
    "Windows",
    "apply_vegetation_rule",
    "arrays",
    "batches",
    "describe",
    "draw_images",
    "draw_starts",
    "format_description",
    "index",
    "keys_of",
    "kfold",
    "parser",
    "random_split",
    "row_by_row",
    "sequence",
    "shared",
    "split",
    "start_days",
    "window",
]
