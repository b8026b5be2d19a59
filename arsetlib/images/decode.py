"""From encoded bytes to the pixels a model gets, as TensorFlow operations: on all cores, without Python.

Lab: case_field_images.
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
    """(side // ratio, …, 1) uint8, 1 where all masks are above 0 in all pixels that become this one. None are empty."""

    def of(mask):
        found = sized(tf.io.decode_png(mask), side, 1, name, "the mask")
        small = side // ratio
        return tf.reduce_min(tf.reshape(tf.minimum(found, 1), [small, ratio, small, ratio, 1]), axis=[1, 3])

    small = side // ratio
    every = tf.ones([small, small, 1], tf.uint8)
    for mask in masks:
        one = tf.cond(tf.equal(mask, ""), lambda: tf.ones([small, small, 1], tf.uint8), lambda mask=mask: of(mask))
        every = every * one
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
    pixels = tf.cond(bare, lambda: pixels, lambda: pixels * seen_pixels(masks, side, ratio, name))
    return resized(pixels, size)


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
    seen = seen_pixels(masks, side, ratio, name)
    if seen.shape[0] != size:
        seen = tf.cast(tf.image.resize(seen, (size, size)) > 0.999, tf.uint8)
    whole = tf.reduce_all(seen > 0)
    valid = tf.cond(whole, lambda: tf.constant(b""), lambda: tf.io.encode_png(seen * 255))
    files = [tf.io.encode_jpeg(part, quality=quality) for part in (pixels[..., :3], pixels[..., 3:])]
    return (*files, valid)


def changed(pixels, mirror, flip, turn, factor):
    """A batch mirrored, flipped, turned and relit.

    Args:
        pixels: (B, S, S, C) uint8.
        mirror, flip: (B,) bool, left-right and up-down, before turning.
        turn: (B,) quarters, against the clock.
        factor: (B,) float32, of the light.

    Returns:
        (B, S, S, C) float32, 0 to 1.
    """
    # A quarter turn against the clock is a transposition and then a flip: so one transposition and two flips do all.
    odd = tf.equal(turn % 2, 1)
    half = turn >= 2
    mirrored, flipped = tf.where(odd, flip, mirror), tf.where(odd, mirror, flip)
    across = tf.not_equal(mirrored, half)
    down = tf.not_equal(flipped, tf.not_equal(half, odd))
    wide = [-1, 1, 1, 1]
    pixels = tf.where(tf.reshape(odd, wide), tf.transpose(pixels, [0, 2, 1, 3]), pixels)
    pixels = tf.where(tf.reshape(across, wide), tf.reverse(pixels, [2]), pixels)
    pixels = tf.where(tf.reshape(down, wide), tf.reverse(pixels, [1]), pixels)
    return tf.minimum(tf.cast(pixels, tf.float32) * tf.reshape(factor / 255, wide), 1)
