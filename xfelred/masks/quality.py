"""Bad-pixel maps from status words, from the other sense, and from each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, did_you_mean, shown
from xfelred.names import BAD_PIXELS, GAIN_RANGE, LONG_NAME, PIXEL_DIMS, UNITS
from xfelred.provenance import record

# Bits of the `mask` dataset of corrected European XFEL data.
names: dict[str, int] = {
    "OFFSET_OUT_OF_THRESHOLD": 1 << 0,
    "NOISE_OUT_OF_THRESHOLD": 1 << 1,
    "OFFSET_NOISE_EVAL_ERROR": 1 << 2,
    "NO_DARK_DATA": 1 << 3,
    "CI_GAIN_OF_OF_THRESHOLD": 1 << 4,
    "CI_LINEAR_DEVIATION": 1 << 5,
    "CI_EVAL_ERROR": 1 << 6,
    "FF_GAIN_EVAL_ERROR": 1 << 7,
    "FF_GAIN_DEVIATION": 1 << 8,
    "FF_NO_ENTRIES": 1 << 9,
    "CI2_EVAL_ERROR": 1 << 10,
    "VALUE_IS_NAN": 1 << 11,
    "VALUE_OUT_OF_RANGE": 1 << 12,
    "GAIN_THRESHOLDING_ERROR": 1 << 13,
    "DATA_STD_IS_ZERO": 1 << 14,
    "ASIC_STD_BELOW_NOISE": 1 << 15,
    "INTERPOLATED": 1 << 16,
    "NOISY_ADC": 1 << 17,
    "OVERSCAN": 1 << 18,
    "NON_SENSITIVE": 1 << 19,
    "NON_LIN_RESPONSE_REGION": 1 << 20,
    "WRONG_GAIN_VALUE": 1 << 21,
    "NON_STANDARD_SIZE": 1 << 22,
    "EXPERT_CHOICE": 1 << 23,
    "USER_1": 1 << 30,
    "USER_2": 1 << 31,
}


@entry
def bits(chosen: int | str | Iterable[int | str] | None) -> int | None:
    """Return bits, given as numbers or by their names, as one number.

    Parameters
    ----------
    chosen : int, str, iterable of these, or None
        None stands for all bits and stays None.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if chosen is None or isinstance(chosen, (int, np.integer)):
        return None if chosen is None else int(chosen)
    items = [chosen] if isinstance(chosen, str) else list(chosen)
    total = 0
    for item in items:
        if isinstance(item, str) and item not in names:
            raise ArgumentError(
                f"bits: unknown bad-pixel bit {shown(item)}; known: {', '.join(names)}."
                f"{did_you_mean(item, names)}"
            )
        total |= names[item] if isinstance(item, str) else int(item)
    return total


def on_axes(given: xr.DataArray | ArrayLike, name: str) -> xr.DataArray:
    """Return a mask with its dims; a plain array has the last ones of pixels."""
    if isinstance(given, xr.DataArray):
        return given
    # A lazy one stays lazy.
    values: Any = given if hasattr(given, "__array__") else np.asarray(given)
    if values.ndim not in (2, 3, 4):
        raise ArgumentError(
            f"{name} is a mask of shape {values.shape}; wanted 2 to 4 axes, the last"
            f" ones of {(GAIN_RANGE, *PIXEL_DIMS)}, or a DataArray"
        )
    return xr.DataArray(values, dims=(GAIN_RANGE, *PIXEL_DIMS)[-values.ndim :])


@entry
def from_good(good: xr.DataArray | ArrayLike) -> xr.DataArray:
    """Return the bad-pixel map for a mask in which non-zero means *good*.

    Parameters
    ----------
    good : DataArray or array, bool or number (...)
        Mask in the sense of psana, SACLA and loki. The axes of a plain array are the
        last ones of (gain_range, module, slow_scan, fast_scan).

    Returns
    -------
    DataArray, bool (...)
        True where a pixel is bad; NaN is no good pixel.

    Raises
    ------
    ValueError
        If a plain array has other than 2 to 4 axes.
    """
    good = on_axes(good, "good")
    return bad_map((good == 0) | good.isnull(), "from_good", good)


# `from_status` has a parameter of the same name.
as_number = bits


@entry
def from_status(
    status: xr.DataArray | ArrayLike,
    bits: int | str | Iterable[int | str] | None = None,
    *,
    gain_ranges: int | Sequence[int] | None = None,
) -> xr.DataArray:
    """Return the bad pixels of status words.

    Parameters
    ----------
    status : DataArray or array, integer ([gain_range,] [module,] slow_scan, fast_scan)
        0: good. LCLS: 1 hot, 2 noisy, 4 cold, 8 too quiet. Axes of a plain array as of
        `from_good`.
    bits : int, str or iterable of these, optional
        Only these count, as numbers or by the names in `masks.names`; by default any.
    gain_ranges : int or sequence of int, optional
        A pixel is bad if it is in any of these; by default in any there is. The peers
        take 0 to 4 of epix10ka, and 0 to 2 of Jungfrau.

    Returns
    -------
    DataArray, bool
        True: bad. Without ``gain_range``.

    Raises
    ------
    ValueError
        If `status` is not integer, or `gain_ranges` has no axis to take them from.
    """
    status = on_axes(status, "status")
    if status.dtype.kind not in "biu":
        raise ArgumentError(f"status must be integer bits, not {status.dtype}")
    given = as_number(bits)
    every = (1 << 8 * status.dtype.itemsize) - 1
    chosen = every if given is None else given
    flags = status.astype(np.uint8) if status.dtype == bool else status
    # As unsigned first: the highest bit is the sign of a signed word.
    wanted = np.array(chosen & every, np.uint64).astype(flags.dtype)[()]
    bad = (flags & wanted) != 0
    if gain_ranges is not None and GAIN_RANGE not in bad.dims:
        raise ArgumentError(
            f"gain_ranges={gain_ranges}, but the status has dims {status.dims};"
            f" wanted one called {GAIN_RANGE!r}"
        )
    if GAIN_RANGE in bad.dims:
        if gain_ranges is not None:
            some = np.atleast_1d(np.asarray(gain_ranges))
            outside = [int(g) for g in some if not 0 <= g < bad.sizes[GAIN_RANGE]]
            if outside:
                raise ArgumentError(
                    f"gain_ranges={gain_ranges}: there is no {outside[0]} among"
                    f" {bad.sizes[GAIN_RANGE]}"
                )
            bad = bad.isel({GAIN_RANGE: some})
        bad = bad.any(GAIN_RANGE)
    return bad_map(bad, "from_status", status, bits=chosen, gain_ranges=gain_ranges)


@entry
def combine(*bad: xr.DataArray | ArrayLike) -> xr.DataArray:
    """Return the pixels that are bad in any of several maps.

    Parameters
    ----------
    *bad : DataArray or array, bool or integer bits
        Axes of plain arrays as of `from_good`. Broadcast against each other; those with
        labels must have the same.

    Returns
    -------
    DataArray
        bool if all are, else the bits of all; True of a bool map is bit 0 then.

    Raises
    ------
    ValueError
        If there is none, one is neither bool nor integer, or they do not fit.

    Examples
    --------
    >>> a = xr.DataArray([False, True, False], dims="fast_scan")
    >>> b = xr.DataArray([False, False, True], dims="fast_scan")
    >>> combine(a, b).values
    array([False,  True,  True])
    """
    if not bad:
        raise ArgumentError("nothing to combine; wanted one or more bad-pixel maps")
    maps = [on_axes(one, "bad") for one in bad]
    for one in maps:
        if one.dtype.kind not in "biu":
            raise ArgumentError(f"bad: wanted bool or integer bits, found {one.dtype}")
    try:
        aligned = xr.align(*maps, join="exact", copy=False)
    except xr.AlignmentError as error:
        raise ArgumentError(
            f"the bad-pixel maps have different labels or lengths: {error}"
        ) from error
    bools = all(one.dtype == bool for one in aligned)
    out = aligned[0]
    for one in aligned[1:]:
        if not bools:
            out, one = bits_of(out), bits_of(one)
        out = out | one
    return bad_map(out, "combine", *maps)


def bad_map(
    bad: xr.DataArray, op: str, *parents: xr.DataArray, **params: object
) -> xr.DataArray:
    out = bad.rename(BAD_PIXELS)
    out.attrs = {UNITS: "1", LONG_NAME: "bad pixel"}
    return record(out, op, *parents, **params)


def bits_of(bad: xr.DataArray) -> xr.DataArray:
    # Unsigned words of at least 32 bits, as the named bits need them.
    return bad.astype(np.uint64 if bad.dtype.itemsize > 4 else np.uint32)
