"""From encoded bytes to the pixels a model gets, as TensorFlow operations: on all cores, without Python.

Lab: case_fields.
"""

from __future__ import annotations

import tensorflow as tf

ACCURATE = "INTEGER_ACCURATE"  # the transform that Pillow uses too: the same pixels, bit by bit


def ratio_for(side: int, size: int) -> int:
    """How many times smaller JPEG decodes at once: 1, 2, 4 or 8, such that a side of ``size`` pixels is left."""
    return max(r for r in (1, 2, 4, 8) if r == 1 or (side % r == 0 and side // r >= size))


def sized(tensor, side: int, channels: int, name, what: str):
    """The tensor, if it has the size and the channels that all images have; else an error that names the image."""
    seen = tf.strings.reduce_join(tf.strings.as_string(tf.shape(tensor)), separator=" × ")
    said = tf.strings.join(
        [
            f"<<{what} of ",
            name,
            ": ",
            seen,
            f" pixels (rows × columns × bands), expected {side} × {side} × {channels}>>",
        ]
    )
    right = tf.reduce_all(tf.equal(tf.shape(tensor), [side, side, channels]))
    with tf.control_dependencies([tf.debugging.Assert(right, [said])]):
        return tf.ensure_shape(tf.identity(tensor), [side, side, channels])


def seen_pixels(masks, side: int, ratio: int, name):
    """(side // ratio, side // ratio) bool: whether all masks are above 0 in all pixels that become this one."""

    small = side // ratio
    kind = {1: tf.uint8, 2: tf.uint16, 4: tf.uint32, 8: tf.uint64}[ratio]
    ones = int.from_bytes(b"\1" * ratio, "little")

    def of(mask):
        found = sized(tf.io.decode_png(mask), side, 1, name, "the mask")
        rows = tf.reduce_min(tf.reshape(tf.cast(found > 0, tf.uint8), [small, ratio, side]), axis=1)
        # Pixels that lie side by side, looked at as one number: much faster than a minimum along the last axis.
        together = rows if ratio == 1 else tf.bitcast(tf.reshape(rows, [small, small, ratio]), kind)
        return tf.equal(together, tf.constant(ones, kind))

    every = tf.ones([small, small], tf.bool)
    for mask in masks:
        every = tf.cond(tf.equal(mask, ""), lambda e=every: e, lambda e=every, m=mask: e & of(m))
    return every


def resized(pixels, size: int):
    """(size, size, C) uint8."""
    if pixels.shape[0] == size:
        return pixels
    return tf.cast(tf.round(tf.image.resize(pixels, (size, size))), tf.uint8)


def bands_of(rgb, nir, side: int, ratio: int, name):
    """(side // ratio, side // ratio, 4) uint8 of two JPEG files."""
    parts = [
        sized(tf.io.decode_jpeg(data, ratio=ratio, dct_method=ACCURATE), side // ratio, channels, name, what)
        for data, channels, what in ((rgb, 3, "rgb"), (nir, 1, "nir"))
    ]
    return tf.concat(parts, axis=-1)


def pixels_of(rgb, nir, masks, side: int, size: int, name):
    """The pixels of an image.

    Args:
        rgb, nir: () string, JPEG files.
        masks: () strings, PNG files that are 0 where a pixel is invalid; empty where all are valid.
        side: Of the image, pixels.
        size: Side of the result.
        name: () string that an error message names.

    Returns:
        (size, size, 4) uint8: red, green, blue, near infrared; invalid pixels are 0.
    """
    ratio = ratio_for(side, size)
    pixels = bands_of(rgb, nir, side, ratio, name)
    bare = tf.equal(tf.strings.length(tf.strings.join(masks)), 0)

    def without_invalid():
        seen = tf.cast(seen_pixels(masks, side, ratio, name), tf.int32)
        return tf.bitcast(tf.bitcast(pixels, tf.int32) * seen, tf.uint8)

    return resized(tf.cond(bare, lambda: pixels, without_invalid), size)


def raw_pixels(rgb, nir, side: int, size: int):
    """As ``pixels_of``, from pixels that are stored as they are, invalid ones as 0."""
    parts = [tf.reshape(tf.io.decode_raw(data, tf.uint8), [side, side, -1]) for data in (rgb, nir)]
    return resized(tf.ensure_shape(tf.concat(parts, axis=-1), [side, side, 4]), size)


def smaller_files(rgb, nir, masks, side: int, size: int, quality: int, name):
    """JPEG of ``size`` × ``size`` pixels for both pictures, and one PNG of where all is valid.

    Returns:
        rgb, nir, valid: () string; ``valid`` is empty where all pixels are.
    """
    ratio = ratio_for(side, size)
    pixels = resized(bands_of(rgb, nir, side, ratio, name), size)
    seen = tf.cast(seen_pixels(masks, side, ratio, name), tf.uint8)[..., None]
    if seen.shape[0] != size:
        seen = tf.cast(tf.image.resize(seen, (size, size)) > 0.999, tf.uint8)
    whole = tf.reduce_all(seen > 0)
    valid = tf.cond(whole, lambda: tf.constant(b""), lambda: tf.io.encode_png(seen * 255))
    files = [tf.io.encode_jpeg(part, quality=quality) for part in (pixels[..., :3], pixels[..., 3:])]
    return (*files, valid)


def changed(pixels, mirror, flip, turn, factor):
    """A batch mirrored, flipped, turned and relit.

    Args:
        pixels: (B, S, S, 4) uint8.
        mirror, flip: (B,) bool, left-right and up-down, before turning.
        turn: (B,) quarters, against the clock.
        factor: (B,) float32, of the light; invalid pixels stay 0.

    Returns:
        (B, S, S, 4) float32, 0 to 1.
    """
    # A quarter turn against the clock is a transposition and then a flip: so one transposition and two flips do all.
    odd = tf.equal(turn % 2, 1)
    half = turn >= 2
    mirrored, flipped = tf.where(odd, flip, mirror), tf.where(odd, mirror, flip)
    across = tf.not_equal(mirrored, half)
    down = tf.not_equal(flipped, tf.not_equal(half, odd))
    wide = [-1, 1, 1]
    # The four bytes of a pixel are moved as one number: ten times as fast.
    whole = tf.bitcast(pixels, tf.int32)
    whole = tf.where(tf.reshape(odd, wide), tf.transpose(whole, [0, 2, 1]), whole)
    whole = tf.where(tf.reshape(across, wide), tf.reverse(whole, [2]), whole)
    whole = tf.where(tf.reshape(down, wide), tf.reverse(whole, [1]), whole)
    light = tf.reshape(factor / 255, [-1, 1, 1, 1])
    return tf.minimum(tf.cast(tf.bitcast(whole, tf.uint8), tf.float32) * light, 1)
