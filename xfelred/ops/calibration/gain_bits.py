"""Gain flags in raw words: switched pixels, numbers, bits one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xfelred import detectors
from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.calibration import gain_bits as kernel
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, TRAIN, UNITS
from xfelred.ops.calibration.raw_words import raw_words, with_gaps
from xfelred.ops.reductions.statistics import statistics
from xfelred.provenance import record

BIT = "bit"


@entry
@dataclass(frozen=True)
class GainSwitch:
    """Where the raw words of a detector hold its gain.

    Attributes
    ----------
    shape : tuple of int
        Modules, rows and columns of the usual detector; or rows and columns.
    cut : int
        Lowest flag; words from it on are from pixels that switched their gain, the
        bits below it are the number.
    negative : bool
        Numbers count downwards.
    """

    shape: tuple[int, ...]
    cut: int
    negative: bool = False


def gain_switch(detector: str | int | GainSwitch) -> GainSwitch:
    """Return where a detector holds its gain.

    detector: a name in any spelling; or the lowest flag itself, a power of two.
    Raises ValueError if the name is unknown, or the number is no power of two.
    """
    if isinstance(detector, GainSwitch):
        return detector
    if isinstance(detector, str):
        advice = " Of any other give the lowest flag, such as 1 << 14"
        found = detectors.find(detector, "flag", what="the gain bits of", advice=advice)
        return GainSwitch(found.shape, found.flag or 0, found.gain.negative)
    cut = int(detector)
    if cut < 2 or cut & (cut - 1):
        raise ArgumentError(
            f"the lowest flag is a power of two, such as 1 << 14; got {cut}"
        )
    return GainSwitch((), cut)


@entry
def switched_pixels(
    da: xr.DataArray, *, detector: str | int | GainSwitch
) -> xr.DataArray:
    """Tell which pixels have switched their gain.

    Parameters
    ----------
    da : DataArray, integer (...)
        Raw words.
    detector : str, int or GainSwitch
        One of epixM, epixUHR, epixHR, epix100, jungfrau, epix10k; or the lowest flag,
        such as ``1 << 14``.

    Returns
    -------
    DataArray, bool (...)
        Lazy; True where ``raw >= flag``.

    Raises
    ------
    ValueError
        If the words are no integers, or too small for the flag.
    """
    cut, words, _ = checked(da, detector)
    out = map_frames(
        kernel.switched, words, name="switched_pixels", dtype=bool, cut=cut
    )
    out = out.rename("switched")
    out.attrs = {**da.attrs, UNITS: "1", LONG_NAME: "the pixel has switched its gain"}
    return record(out, "switched_pixels", da, cut=cut)


@entry
def strip_gain_bits(
    da: xr.DataArray, *, detector: str | int | GainSwitch
) -> xr.DataArray:
    """Return the numbers of raw words without gain flags.

    Parameters and errors as of `switched_pixels`.

    Returns
    -------
    DataArray, integer (...), adu
        Lazy, dtype of `da`: ``raw & (flag - 1)``.
    """
    cut, words, gaps = checked(da, detector)
    out = map_frames(kernel.signal_bits, words, name="strip_gain_bits", bits=cut - 1)
    out = with_gaps(out, da, gaps)
    out.attrs = {**da.attrs, UNITS: "adu", LONG_NAME: "raw values without gain bits"}
    return record(out, "strip_gain_bits", da, cut=cut)


@entry
def invert_negative_gain(
    da: xr.DataArray, *, detector: str | int | GainSwitch
) -> xr.DataArray:
    """Turn numbers that count downwards into ones that count upwards, flags kept.

    Parameters and errors as of `switched_pixels`. Detectors of the table whose numbers
    count upwards come back unchanged; a flag given as a number always inverts.

    Returns
    -------
    DataArray, integer (...)
        Lazy, dtype of `da`: ``flags + (mask - number)`` with the mask ``flag - 1``.
        Words 0 stay 0: pixels without data.
    """
    switch = gain_switch(detector)
    cut, words, gaps = checked(da, switch)
    # One of the catalogue, which counts upwards.
    if switch.shape and not switch.negative:
        return record(da, "invert_negative_gain", da, cut=None)
    out = map_frames(kernel.upright, words, name="invert_negative_gain", cut=cut)
    out = with_gaps(out, da, gaps)
    out.attrs = dict(da.attrs)
    return record(out, "invert_negative_gain", da, cut=cut)


@entry
def bit_slices(
    da: xr.DataArray,
    dim: str | Sequence[str] = TRAIN,
    *,
    n_bits: int = 16,
    by: str | xr.DataArray | None = None,
) -> xr.DataArray:
    """Count how often every bit of every pixel is set.

    Parameters
    ----------
    da : DataArray, integer (...)
        Raw words.
    dim : str or sequence of str
        Dims over which frames are counted.
    n_bits : int
        Number of bits, from the lowest on.
    by : str or DataArray, optional
        Count the frames of each value of this coordinate apart, such as "step".

    Returns
    -------
    DataArray, int64 ([by,] bit, ...)
        Lazy.

    Raises
    ------
    ValueError
        If the words are no integers or have fewer bits.
    """
    words, gaps = raw_words(da)
    if words.dtype.kind not in "iu" or not 1 <= n_bits <= 8 * words.dtype.itemsize:
        raise ArgumentError(
            f"{n_bits} bits of {da.dtype} data cannot be counted; wanted integers with"
            " at least so many"
        )
    if BIT in da.dims:
        raise ArgumentError(f"the array has a dim {BIT!r} already")
    single = map_frames(
        kernel.bits,
        words,
        name="bit_slices",
        out_core={BIT: n_bits},
        dtype=np.uint8,
        n_bits=n_bits,
    )
    bad = gaps[0] if gaps and da.dtype.kind == "f" else None
    sums = statistics(single, dim, which=("sum",), by=by, bad_pixels=bad)
    out = sums["sum"].rename("bit_slices")
    # Groups of frames stay in front of the bits.
    lead = [d for d in out.dims[:1] if by is not None]
    out = out.transpose(*lead, BIT, ...).assign_coords({BIT: np.arange(n_bits)})
    out.attrs = {**da.attrs, UNITS: "1", LONG_NAME: "frames in which a bit is set"}
    group = by if by is None or isinstance(by, str) else by.name
    return record(out, "bit_slices", da, n_bits=n_bits, by=group)


def checked(
    da: xr.DataArray, detector: str | int | GainSwitch
) -> tuple[int, xr.DataArray, list[xr.DataArray]]:
    """Return the lowest flag, the words and their gaps; ValueError if it cannot be."""
    cut = gain_switch(detector).cut
    words, gaps = raw_words(da)
    if words.dtype.kind not in "iu" or np.iinfo(words.dtype).max < cut:
        raise ArgumentError(
            f"{da.dtype} data hold no gain flag {cut}; wanted the raw integers"
        )
    return cut, words, gaps
