"""Dark frames of detectors that switch their gain, range by range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    MissingConstantError,
    listing,
)
from xfelred.kernels.calibration.dark import split_by_range
from xfelred.kernels.calibration.gain_bits import signal_bits
from xfelred.kernels.calibration.rule import Rule
from xfelred.lazy import map_frames
from xfelred.names import (
    BAD_PIXELS,
    DATA_GAIN,
    FAST,
    GAIN,
    GAIN_RANGE,
    LONG_NAME,
    SLOW,
    UNITS,
)
from xfelred.ops.calibration.constants import PEDESTAL, THRESHOLDS
from xfelred.ops.calibration.gain_index import check_switching
from xfelred.ops.calibration.packing import THRESHOLD
from xfelred.ops.calibration.raw_words import has_words, raw_words, with_gaps
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.companions import matching

NO_DARK_DATA = 1 << 3  # of `masks.names`


def in_ranges(
    da: xr.DataArray,
    kind: str,
    gain_index: xr.DataArray | None,
    ranges: Sequence[int] | None = None,
) -> xr.DataArray:
    """Return the signal of raw frames in every gain range, NaN in the others.

    da: integer (..., slow_scan, fast_scan), adu.
    kind: of the detector.
    gain_index: in place of the gain bits.
    ranges: by default all that the detector has.
    Returns float32 (..., gain_range, slow_scan, fast_scan), adu; the frames themselves
        if the detector does not switch.
    """
    detector = kind_of(kind)
    gain, rule = detector.gain, detector.gain.rule
    if not gain.switches:
        return da
    check_switching(da, detector.kind)
    if GAIN in da.dims:  # all stages were stored, each in a place of its own
        return without_gain_bits(da, rule)
    companions = []
    if gain_index is not None:
        codes, _ = raw_words(gain_index)
        companions.append(matching(codes, da, "gain_index"))
        if gain.tells != "codes":
            rule = replace(rule, codes=tuple(range(rule.n_ranges)))
    elif gain.tells != "bits":
        raise MissingConstantError(
            f"which gain range a pixel of {detector.kind} is in is not told by its"
            " number: pass gain_index=, or one run for each range, {0: frames, 1:"
            " frames, ...}"
        )
    chosen = tuple(range(rule.n_ranges) if ranges is None else ranges)
    words, gaps = raw_words(da)
    out = map_frames(
        split_by_range,
        words,
        *companions,
        core_dims=(SLOW, FAST),
        dtype=np.float32,
        out_core={GAIN_RANGE: len(chosen), SLOW: da.sizes[SLOW], FAST: da.sizes[FAST]},
        rule=rule,
        ranges=chosen,
    )
    out = with_gaps(out, da, gaps)
    # New dims of the kernel have no labels.
    pixels = {d: da.coords[d] for d in (SLOW, FAST) if d in da.coords}
    return out.assign_coords({GAIN_RANGE: list(chosen), **pixels})


def of_one_range(
    da: xr.DataArray, gain_range: int, kind: str | None, gain_index: xr.DataArray | None
) -> xr.DataArray:
    """Return dark frames taken in one range; pixels that are in another are NaN."""
    if kind is None:
        return da
    gain = kind_of(kind).gain
    # Nothing in the frames tells the range: the whole run is taken for it.
    if gain.tells != "bits" and gain_index is None:
        return without_gain_bits(da, gain.rule)
    return in_ranges(da, kind, gain_index, (gain_range,)).isel(
        {GAIN_RANGE: 0}, drop=True
    )


def without_gain_bits(da: xr.DataArray, rule: Rule) -> xr.DataArray:
    if not rule.adu_bits or not has_words(da):
        return da
    words, gaps = raw_words(da)
    return with_gaps(map_frames(signal_bits, words, bits=rule.adu_bits), da, gaps)


def checked_ranges(darks: Mapping[Any, Any], kind: str | None) -> int:
    """Return how many gain ranges there are; ValueError for keys that are none."""
    n = max((int(k) for k in darks), default=-1) + 1
    if kind is not None:
        n = kind_of(kind).gain.rule.n_ranges
    wrong = [k for k in darks if not isinstance(k, (int, np.integer)) or not 0 <= k < n]
    if wrong or not darks:
        raise ArgumentError(
            f"dark frames are given for gain ranges {listing(darks)}; wanted some of"
            f" {listing(range(max(n, 1)))}"
        )
    return n


def joined(found: dict[int, xr.Dataset], n_ranges: int) -> xr.Dataset:
    """Return constants of all gain ranges; of those without dark frames all are bad.

    Raises GeometryMismatchError if the runs have different modules, cells or pixels.
    """
    first = next(iter(found.values()))
    parts = []
    for gain_range in range(n_ranges):
        one = found.get(gain_range)
        if one is None:
            one = first.map(nothing_in)
        parts.append(one.drop_attrs(deep=False))
    try:
        out = xr.concat(
            parts, GAIN_RANGE, join="exact", coords="minimal", compat="override"
        )
    except (ValueError, xr.AlignmentError) as error:
        raise GeometryMismatchError(
            "the dark runs of the gain ranges differ in modules, pixels or cells, and"
            f" cannot become one: {error}"
        ) from error
    out = out.assign_coords({GAIN_RANGE: np.arange(n_ranges)})
    for name in out:
        out[name].attrs = first[name].attrs
    out.attrs = dict(first.attrs)
    return out


def nothing_in(one: xr.DataArray) -> xr.DataArray:
    if one.name == BAD_PIXELS:
        return xr.full_like(one, NO_DARK_DATA)
    return xr.full_like(one, np.nan if one.dtype.kind == "f" else 0)


def with_thresholds(constants: xr.Dataset) -> xr.Dataset:
    """Return constants of an AGIPD: pedestals of signals, thresholds of voltages."""
    signal = constants.isel({DATA_GAIN: 0}, drop=True)
    voltage = constants[PEDESTAL].isel({DATA_GAIN: 1}, drop=True)
    n = voltage.sizes[GAIN_RANGE]
    low = voltage.isel({GAIN_RANGE: slice(0, n - 1)})
    high = voltage.isel({GAIN_RANGE: slice(1, n)})
    # Half way between the mean voltages of two neighbouring ranges in their dark runs.
    cut = (low.drop_vars(GAIN_RANGE) + high.drop_vars(GAIN_RANGE)) / 2
    cut = cut.rename({GAIN_RANGE: THRESHOLD})
    cut.attrs = {
        UNITS: "adu",
        LONG_NAME: "gain voltage between two neighbouring gain ranges",
    }
    return signal.assign({THRESHOLDS: cut})
