"""A summary of one epoch of a loader, to notice mistakes before training.

Lab: part2_load_data.
"""

from __future__ import annotations

import time

import numpy as np

from arsetlib.samples import kernels
from arsetlib.samples.loader import Loader
from arsetlib.translation import _


def describe(loader: Loader) -> dict:
    """Look at one epoch.

    Returns:
        JSON values: ``x`` and ``y`` (shapes of the first batch), ``counts`` (see ``Loader``), ``batches``,
        ``class_shares`` (class key → share of the samples), ``seen_share`` (share of steps with an image),
        ``band_means`` (channel → mean after scaling of the steps seen) and ``samples_per_second`` as NumPy arrays.

    Lab: part2_load_data.
    """
    kernels.place(loader.choose)  # loads the compiled loop, so that its loading is not timed below
    x, y = loader.batch(0, 0)[:2]
    seen = samples = 0
    total, labels = np.zeros(x.shape[2]), np.zeros(y.shape[1])
    seconds = 0.0
    for number in range(loader.steps):
        begin = time.perf_counter()
        out, classes, _, _ = loader._samples(0, number)
        seconds += time.perf_counter() - begin
        samples += len(classes)
        seen += int(out.seen.sum())
        total += out.x[out.seen].sum(axis=0, dtype=np.float64)
        labels += np.bincount(classes, minlength=len(labels))
    return {
        "x": list(x.shape),
        "y": list(y.shape),
        "counts": loader.counts,
        "batches": loader.steps,
        "class_shares": dict(zip(loader.study.legend.keys, (labels / samples).tolist(), strict=True)),
        "seen_share": seen / (samples * x.shape[1]),
        "band_means": dict(zip(loader.study.channels, (total / max(seen, 1)).tolist(), strict=True)),
        "samples_per_second": samples / seconds,
    }


def format_description(report: dict, class_names: list[str]) -> str:
    """What ``describe`` returns, as text; ``class_names`` are the legend's names, in its order."""
    counts = report["counts"]
    shapes = _("x {x} float32: samples, steps, bands    y {y} float32: samples, classes")
    words = _(
        "{samples} samples in {batches} batches an epoch, from {rows} rows: {excluded} excluded by the legend, "
        "{no_image} without an image in any window"
    )
    numbers = {name: f"{counts[name]:,}" for name in ("samples", "rows", "excluded", "no_image")}
    lines = [
        shapes.format(x=tuple(report["x"]), y=tuple(report["y"])),
        words.format(batches=f"{report['batches']:,}", **numbers),
        _("classes, after the vegetation rule:"),
    ]
    shares = zip(class_names, report["class_shares"].values(), strict=True)
    lines += [f"  {name:<20} {share:6.1%}" for name, share in shares]
    lines.append(_("steps with an image: {share}").format(share=f"{report['seen_share']:.1%}"))
    lines.append(_("band means after scaling, of steps with an image:"))
    lines += [f"  {band:<20} {mean:+.2f}" for band, mean in report["band_means"].items()]
    lines.append(_("{n} samples/s as arrays").format(n=f"{report['samples_per_second']:,.0f}"))
    return "\n".join(lines)
