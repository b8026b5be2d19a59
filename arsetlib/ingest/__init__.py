"""Scenes and labels in, pixel table out: one task is one chunk of the label grid in one year.

A task opens the scenes that touch its chunk, reads the scene classification first, skips what it rules out, reads
only the windows that it needs of the bands, and writes the finished chunk as one Parquet file. There is no shuffle
and no Python loop over pixels; memory depends on the chunk, not on the region. A finished chunk is kept: a rerun makes
the others and gives the same table.

    run           the job: plan, chunks, manifest
    plan          which scenes, which chunks, which label pixels
    inputs        the scenes of a task, from the files that the job puts into the folder
    lattice       the grid of label pixels, and its chunks
    chunk         one task: observations of the pixels of a chunk
    reader        opens a file of a scene and reads values; the only place that does
    remote        TIFF files on the internet, read ahead: many requests at once
    disk          TIFF files on disk, whose headers are read once
    tiff          what the header of a TIFF file says; from its packed blocks to values
    reflectance   from the numbers of a file to reflectance × 10,000
    survey        a small sample of each scene, before any work
    offset        whether the values of a scene contain the processing offset

Lab: part1_build_dataset.
"""

from arsetlib.ingest.chunk import observe
from arsetlib.ingest.lattice import Chunk, Cut, Grid, IngestError
from arsetlib.ingest.reader import Reader, SceneError
from arsetlib.ingest.run import Summary, ingest

__all__ = ["Chunk", "Cut", "Grid", "IngestError", "Reader", "SceneError", "Summary", "ingest", "observe"]
