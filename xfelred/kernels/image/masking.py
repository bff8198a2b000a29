"""Bad pixels replaced by a value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.errors import ArgumentError


@njit(nogil=True, cache=True)
def replace_bad(
    x: NDArray[Any], bad: NDArray[Any], bits: Any, value: Any, out: NDArray[Any]
) -> None:
    """Copy `x` to `out` with `value` where ``bad & bits`` is not 0; all flat."""
    for i in range(x.size):
        out[i] = value if bad[i] & bits else x[i]


def masked(
    images: NDArray[Any],
    bad: NDArray[Any],
    *,
    bits: int | None = None,
    value: Any = np.nan,
) -> NDArray[Any]:
    """Return pixels with a value in place of bad ones.

    Parameters
    ----------
    images : any real dtype (...)
        Not modified.
    bad : bool or integer (...)
        Non-zero where a pixel is bad; broadcasts against `images`.
    bits : int, optional
        Only these bits of `bad` count.
    value : scalar, optional
        What bad pixels become; it must fit the dtype of `images`.

    Returns
    -------
    array (...)
        Same dtype as `images`, in native byte order.
    """
    flags = bad.view(np.uint8) if bad.dtype == bool else bad
    # As unsigned first: bit 31 is the sign of an int32.
    width = (1 << 8 * flags.itemsize) - 1
    chosen = width if bits is None else bits & width
    every = np.array(chosen, np.uint64).astype(flags.dtype)[()]
    value = images.dtype.type(value)
    if (
        images.dtype.char in "bBhHiIlLqQfd"  # what numba knows
        and images.dtype.isnative
        and flags.shape == images.shape
        and images.flags.c_contiguous
        and flags.flags.c_contiguous
    ):
        out = np.empty_like(images)
        replace_bad(images.ravel(), flags.ravel(), every, value, out.ravel())
        return out
    return np.where(flags & every, value, images)


def any_plane(planes: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 1 where any element along the last axis is not 0, uint8 (...)."""
    return (planes != 0).any(axis=-1).astype(np.uint8)


def as_words(images: NDArray[Any], *, words: str) -> NDArray[Any]:
    """Return whole numbers as integers, and NaN as 0.

    Parameters
    ----------
    images : floating (...)
        Not modified.
    words : str
        Dtype of the integers.

    Raises
    ------
    ValueError
        If a number is not whole, or does not fit: they are no raw numbers then.
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


def not_a_number(images: NDArray[Any], *bad: NDArray[Any]) -> NDArray[Any]:
    """Return pixels with NaN where any mask is not 0.

    Parameters
    ----------
    images : real (...)
        Not modified.
    *bad : bool or integer (...)
        Broadcast against `images`.

    Returns
    -------
    floating (...)
        float32, or float64 where that does not hold the values of `images`.
    """
    out = images.astype(np.result_type(images.dtype.newbyteorder("="), np.float32))
    for mask in bad:
        np.copyto(out, np.nan, where=mask != 0)
    return out
