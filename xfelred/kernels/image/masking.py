"""Bad pixels replaced by a value."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.errors import ArgumentError
from xfelred.kernels.arrays import Array, read_only


@njit(nogil=True, cache=True)
def replace_bad(x: Array, bad: Array, bits: int, value: int, out: Array) -> None:
    """Copy `x` to `out` with `value` where ``bad & bits`` is not 0; all flat.

    Pixels are integers of their size, whatever they mean: compiled once for each size.
    """
    for i in range(x.size):
        out[i] = value if bad[i] & bits else x[i]


def masked(
    images: Array,
    bad: Array,
    *,
    bits: int | None = None,
    value: float = np.nan,
) -> Array:
    """Return pixels with a value in place of bad ones.

    images: any real dtype (...); not modified.
    bad: bool or integer (...); non-zero where a pixel is bad; broadcasts against
        `images`.
    bits: only these bits of `bad` count.
    value: what bad pixels become; it must fit the dtype of `images`.
    Returns array (...); same dtype as `images`, in native byte order.
    """
    flags = bad.view(np.uint8) if bad.dtype == bool else bad
    # As unsigned first: bit 31 is the sign of an int32.
    width = (1 << 8 * flags.itemsize) - 1
    chosen = width if bits is None else bits & width
    every = np.array(chosen, np.uint64).astype(flags.dtype)[()]
    put = images.dtype.type(value)
    if (
        images.dtype.char in "bBhHiIlLqQfd"  # what numba knows
        and images.dtype.isnative
        and flags.shape == images.shape
        and images.flags.c_contiguous
        and flags.flags.c_contiguous
    ):
        out = np.empty_like(images)
        word = np.dtype(f"u{images.itemsize}")
        words, new = read_only(images).view(word).ravel(), out.view(word).ravel()
        kind = flags.dtype.str.replace("i", "u")
        status = read_only(flags).view(kind).ravel()
        replace_bad(words, status, every.view(kind), put.view(word), new)
        return out
    return np.where(flags & every, put, images)


def any_plane(planes: Array) -> NDArray[np.uint8]:
    """Return 1 where any element along the last axis is not 0, uint8 (...)."""
    return (planes != 0).any(axis=-1).astype(np.uint8)


def as_words(images: Array, *, words: str) -> Array:
    """Return whole numbers as integers, and NaN as 0.

    images: floating (...); not modified.
    words: dtype of the integers.
    Raises ValueError if a number is not whole, or does not fit: they are no raw numbers
        then.
    """
    gap = np.isnan(images)
    numbers = np.where(gap, images.dtype.type(0), images) if gap.any() else images
    out = numbers.astype(words)
    if (out != numbers).any():
        raise ArgumentError(
            f"these frames were {words} in the files, but are no whole numbers of that"
            " kind now; pass raw frames"
        )
    return out


def not_a_number(images: Array, *bad: Array) -> Array:
    """Return pixels with NaN where any mask is not 0.

    images: real (...); not modified.
    *bad: bool or integer (...); broadcast against `images`.
    Returns floating (...); float32, or float64 where that does not hold the values of
        `images`.
    """
    out = images.astype(np.result_type(images.dtype.newbyteorder("="), np.float32))
    for mask in bad:
        np.copyto(out, np.nan, where=mask != 0)
    return out


def shifted(frames: Array, *, steps: tuple[int, ...], along_rows: bool) -> Array:
    """Shift every row, or column, towards lower positions; they wrap round.

    frames: (..., slow_scan, fast_scan). steps: of each row, or column, in pixels.
    """
    rows, columns = np.indices(frames.shape[-2:])
    by = np.asarray(steps, np.int64)
    if along_rows:
        columns = (columns + by[:, np.newaxis]) % max(frames.shape[-1], 1)
    else:
        rows = (rows + by) % max(frames.shape[-2], 1)
    out: Array = frames[..., rows, columns]
    return out
