"""What tells the gain range of a pixel, for every kind of detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from xfelred.detectors.description import Detector, Gain
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.kernels.calibration.gain_bits import CONTROL_WORDS, NO_RANGE
from xfelred.kernels.calibration.rule import Rule
from xfelred.names import DATA_GAIN, GAIN, GAIN_RANGE
from xfelred.ops.calibration.constants import CONFIG, NOISE, THRESHOLDS, TRBIT
from xfelred.ops.calibration.packing import USE
from xfelred.ops.calibration.raw_words import has_words, raw_words
from xfelred.ops.companions import Mask, matching, with_dims


def told_by(
    da: xr.DataArray,
    detector: Detector,
    found: dict[str, xr.DataArray],
    gain_index: xr.DataArray | None,
    gain_plane: xr.DataArray | None,
) -> tuple[Rule, dict[str, xr.DataArray]]:
    """Return how gain ranges are told, and the array that tells them.

    Constants that are not needed for it are taken out of `found`.
    """
    gain = detector.gain
    rule = gain.rule
    if gain_plane is not None and (gain.axis != DATA_GAIN or DATA_GAIN in da.dims):
        raise ArgumentError(
            f"gain_plane is for agipd data without a dim {DATA_GAIN!r}; leave it out"
        )
    stored = stages_stored(da, gain) if gain_index is None else gain_index
    if stored is not None:
        for unused in (THRESHOLDS, CONFIG, TRBIT):
            found.pop(unused, None)
        # Ranges by their numbers, not as the bits of a word would tell them.
        if gain.tells != "codes":
            rule = replace(rule, codes=tuple(range(rule.n_ranges)))
        return rule, {"gain_index": checked_index(stored, da, detector)}
    if gain.tells == "thresholds":
        return rule, voltage_of(da, found, gain_plane)
    found.pop(THRESHOLDS, None)
    if gain.tells in ("codes", "configuration"):
        return configured(detector, found), {}
    return rule, {}


def stages_stored(da: xr.DataArray, gain: Gain) -> xr.DataArray | None:
    """Return the range of frames of which all gain stages were stored, else None."""
    if gain.axis != GAIN:
        return None
    # One stage was selected, or all of them are there in their order.
    if GAIN in da.coords:
        return da[GAIN].astype(np.uint8)
    if GAIN in da.dims:
        return xr.DataArray(np.arange(da.sizes[GAIN], dtype=np.uint8), dims=GAIN)
    return None


def checked_index(
    gain_index: Mask, da: xr.DataArray, detector: Detector
) -> xr.DataArray:
    if not detector.gain.switches:
        raise ArgumentError(
            f"gain_index: {detector.kind} does not switch its gain; leave it out"
        )
    gain_index = with_dims(gain_index, da, "gain_index")
    if not has_words(gain_index):
        raise ArgumentError(f"gain_index must be integers, not {gain_index.dtype}")
    return matching(raw_words(gain_index)[0], da, "gain_index")


def voltage_of(
    da: xr.DataArray, found: dict[str, xr.DataArray], gain_plane: xr.DataArray | None
) -> dict[str, xr.DataArray]:
    """Return the gain voltage of an AGIPD, unless it is in the data."""
    if THRESHOLDS not in found:
        raise MissingConstantError(
            "the gain stage of agipd is told by thresholds, which the constants lack:"
            " thresholds (threshold: 2, [cell,] module, slow_scan, fast_scan) of the"
            " gain voltage; or pass gain_index="
        )
    if DATA_GAIN in da.dims:
        return {}
    if gain_plane is None:
        raise MissingConstantError(
            f"the frames have no {DATA_GAIN!r} any more; pass gain_plane=, the gain"
            " voltage of every pixel, or gain_index="
        )
    if not has_words(gain_plane):
        raise ArgumentError(f"gain_plane must be raw integers, not {gain_plane.dtype}")
    return {"gain_plane": matching(raw_words(gain_plane)[0], da, "gain_plane")}


def configured(detector: Detector, found: dict[str, xr.DataArray]) -> Rule:
    """Return the rule for pixels of which the gain bit chooses one of two ranges."""
    if detector.gain.tells == "codes":
        raise MissingConstantError(
            f"{detector.kind} needs the gain codes that are stored beside the numbers:"
            " gain_index=run.frames(key='data.gain')"
        )
    if CONFIG not in found:
        raise MissingConstantError(
            f"{detector.kind} needs gain_index= (ops.gain_index makes it from the"
            " configuration of the pixels), or constants with 'config' and 'trbit'"
        )
    return replace(detector.gain.rule, n_ranges=2, codes=(0, 1))


def with_configuration(
    found: dict[str, xr.DataArray], gain: Gain, factor: float
) -> dict[str, xr.DataArray]:
    """Return constants with two ranges, those that the gain bit chooses from.

    Which of the seven gain indices of an epix10ka these are, the configuration says;
    where it stands for none there is no pedestal, and `factor` in place of the gain.
    """
    rest = {k: v for k, v in found.items() if k not in (CONFIG, TRBIT)}
    # Bits 2 to 4 of the control word, and a trbit in place of bit 4; bit 5 is the gain.
    low = found[CONFIG].astype(np.int64) & 28
    if TRBIT in found:
        low = (low & 12) | (found[TRBIT] != 0).astype(np.int64) * 16
    word = xr.concat([low, low | 32], GAIN_RANGE)
    index = xr.full_like(word, NO_RANGE)
    for mask, value, number in CONTROL_WORDS:
        index = index.where((word & mask) != value, number)
    known = index < gain.rule.n_ranges
    # Without a gain, too, a pixel without a range has a factor of its own.
    rest.setdefault(GAIN, xr.ones_like(known, np.float64))
    out = {}
    for name, one in rest.items():
        if name != NOISE:
            one = chosen_ranges(one, index, gain.rule.n_ranges)
        if name == GAIN:
            one = one.where(known, factor)
        elif GAIN_RANGE in one.dims and name != NOISE:
            one = one.where(known, one.dtype.type(0))
        out[name] = one
    out[USE] = index.isin(gain.used_ranges)
    return out


def chosen_ranges(one: xr.DataArray, index: xr.DataArray, n: int) -> xr.DataArray:
    """Return one of `n` gain ranges for every pixel, at both values of the gain bit."""
    if one.sizes.get(GAIN_RANGE) != n:
        return one
    chosen = one.isel({GAIN_RANGE: 0}, drop=True)
    for i in range(1, n):
        chosen = one.isel({GAIN_RANGE: i}, drop=True).where(index == i, chosen)
    return chosen.astype(one.dtype)
