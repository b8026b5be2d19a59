"""From encoded bytes to the pixels that a model gets: TensorFlow operations, which run on all cores without Python.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

ACCURATE = "INTEGER_ACCURATE"  # the transform that Pillow uses too: exactly the same pixels


def ratio_for(side: int, size: int) -> int:
    """The factor by which the JPEG decoder reduces: the largest of 1, 2, 4, 8 that leaves ``size`` pixels or more."""
    return max(r for r in (1, 2, 4, 8) if r == 1 or (side % r == 0 and side // r >= size))


def checked(tensor: tf.Tensor, side: int, channels: int, name: tf.Tensor, what: str) -> tf.Tensor:
    """The tensor, if it has the size and channels of all images; else an error that names the image."""
    shape = tf.strings.reduce_join(tf.strings.as_string(tf.shape(tensor)), separator=" × ")
    expected = f" pixels (rows × columns × bands), expected {side} × {side} × {channels}>>"
    message = tf.strings.join([f"<<{what} of ", name, ": ", shape, expected])
    right = tf.reduce_all(tf.equal(tf.shape(tensor), [side, side, channels]))
    with tf.control_dependencies([tf.debugging.Assert(right, [message])]):
        return tf.ensure_shape(tf.identity(tensor), [side, side, channels])


def valid_pixels(masks: Sequence[tf.Tensor], side: int, ratio: int, name: tf.Tensor) -> tf.Tensor:
    """(side // ratio, side // ratio) bool: whether all masks are above 0 in all pixels that are reduced to this one."""
    small = side // ratio

    def reduced(mask):
        pixels = checked(tf.io.decode_png(mask), side, 1, name, "the mask")
        return tf.reduce_all(tf.reshape(pixels > 0, [small, ratio, small, ratio]), axis=[1, 3])

    valid = tf.ones([small, small], tf.bool)
    for mask in masks:
        valid = tf.cond(tf.equal(mask, ""), lambda v=valid: v, lambda v=valid, m=mask: v & reduced(m))
    return valid


def resized(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """(size, size, C) uint8."""
    if pixels.shape[0] == size:
        return pixels
    return tf.cast(tf.round(tf.image.resize(pixels, (size, size))), tf.uint8)


def bands_of(rgb: tf.Tensor, nir: tf.Tensor, side: int, ratio: int, name: tf.Tensor) -> tf.Tensor:
    """(side // ratio, side // ratio, 4) uint8 of two JPEG files."""
    parts = [
        checked(tf.io.decode_jpeg(data, ratio=ratio, dct_method=ACCURATE), side // ratio, channels, name, what)
        for data, channels, what in ((rgb, 3, "rgb"), (nir, 1, "nir"))
    ]
    return tf.concat(parts, axis=-1)


def pixels_of(
    rgb: tf.Tensor, nir: tf.Tensor, masks: Sequence[tf.Tensor], side: int, size: int, name: tf.Tensor
) -> tf.Tensor:
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
    all_valid = tf.equal(tf.strings.length(tf.strings.join(masks)), 0)

    def masked():
        valid = tf.cast(valid_pixels(masks, side, ratio, name), tf.int32)
        return tf.bitcast(tf.bitcast(pixels, tf.int32) * valid, tf.uint8)  # the four bytes of a pixel at once

    return resized(tf.cond(all_valid, lambda: pixels, masked), size)


def raw_pixels(rgb: tf.Tensor, nir: tf.Tensor, side: int, size: int) -> tf.Tensor:
    """As ``pixels_of``, from pixels that are stored without encoding, invalid ones as 0."""
    parts = [tf.reshape(tf.io.decode_raw(data, tf.uint8), [side, side, -1]) for data in (rgb, nir)]
    return resized(tf.ensure_shape(tf.concat(parts, axis=-1), [side, side, 4]), size)


def smaller_files(
    rgb: tf.Tensor, nir: tf.Tensor, masks: Sequence[tf.Tensor], side: int, size: int, quality: int, name: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """JPEG files of ``size`` × ``size`` pixels of both pictures, and a PNG of the valid pixels.

    Returns:
        rgb, nir, valid: () string; ``valid`` is empty if all pixels are valid.
    """
    ratio = ratio_for(side, size)
    pixels = resized(bands_of(rgb, nir, side, ratio, name), size)
    valid = tf.cast(valid_pixels(masks, side, ratio, name), tf.uint8)[..., None]
    if valid.shape[0] != size:
        valid = tf.cast(tf.image.resize(valid, (size, size)) > 0.999, tf.uint8)
    png = tf.cond(tf.reduce_all(valid > 0), lambda: tf.constant(b""), lambda: tf.io.encode_png(valid * 255))
    files = [tf.io.encode_jpeg(part, quality=quality) for part in (pixels[..., :3], pixels[..., 3:])]
    return (*files, png)


def changed(pixels: tf.Tensor, mirror: tf.Tensor, flip: tf.Tensor, turn: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """A batch, mirrored, flipped, turned and with other brightness.

    Args:
        pixels: (B, S, S, 4) uint8.
        mirror, flip: (B,) bool, left-right and up-down, before turning.
        turn: (B,) quarter turns, anticlockwise.
        factor: (B,) float32, of the brightness; invalid pixels stay 0.

    Returns:
        (B, S, S, 4) float32, 0 to 1.
    """

    def where(chosen, moved, other):
        return tf.where(tf.reshape(chosen, [-1, 1, 1]), moved, other)

    packed = tf.bitcast(pixels, tf.int32)  # the four bytes of a pixel are moved as one number: ten times as fast
    packed = where(mirror, tf.reverse(packed, [2]), packed)
    packed = where(flip, tf.reverse(packed, [1]), packed)
    packed = where(turn % 2 == 1, tf.reverse(tf.transpose(packed, [0, 2, 1]), [1]), packed)
    packed = where(turn >= 2, tf.reverse(packed, [1, 2]), packed)
    scale = tf.reshape(factor / 255, [-1, 1, 1, 1])
    return tf.minimum(tf.cast(tf.bitcast(packed, tf.uint8), tf.float32) * scale, 1)
