"""Constants of a calibration: what they must hold, and at which pixels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xfelred.detectors.lcls import CSPAD_LOW_GAIN
from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    MissingConstantError,
    listing,
    warn,
)
from xfelred.names import (
    BAD_PIXELS,
    FAST,
    GAIN,
    GAIN_FACTOR,
    GAIN_RANGE,
    MODULE,
    PIXEL_DIMS,
    SLOW,
)
from xfelred.ops.companions import (
    Mask,
    checked_bad_pixels,
    matching,
    picked,
    pixel_dims,
    with_dims,
)

PEDESTAL, OFFSET = "pedestal", "offset"
LOCAL_GAIN, GAIN_MASK = "local_gain", "gain_mask"
THRESHOLDS, NOISE = "thresholds", "noise"
CONFIG, TRBIT = "config", "trbit"
TABLE = (
    PEDESTAL,
    OFFSET,
    GAIN,
    GAIN_FACTOR,
    LOCAL_GAIN,
    GAIN_MASK,
    BAD_PIXELS,
    THRESHOLDS,
)
# What constants hold beside: where pixels are, and how the constants were made.
NO_PART = ("x", "y", "z", "ix", "iy", "bad_in_mask", "n_frames")


def chosen_constants(
    constants: object, bad_pixels: xr.DataArray | None, da: xr.DataArray, n_ranges: int
) -> dict[str, xr.DataArray]:
    """Return the constants that a calibration uses, by their names.

    Bad pixels that the caller gives take the place of those of the constants.

    Raises MissingConstantError if there is no pedestal; ValueError if `constants` is no
        dataset, or what they hold contradicts itself.
    """
    if not isinstance(constants, (xr.Dataset, Mapping)):
        raise ArgumentError(
            f"constants must be a Dataset with {PEDESTAL!r}, not"
            f" {type(constants).__name__}; run.constants(detector) and"
            " ops.dark_statistics make one"
        )
    found = {str(k): v for k, v in dict(constants).items()}
    if PEDESTAL not in found:
        raise MissingConstantError(
            f"the constants hold {listing(found)}, but no {PEDESTAL!r};"
            " rename what stands for it"
        )
    if GAIN in found and GAIN_FACTOR in found:
        raise ArgumentError(
            "the constants hold gain (divides) and gain_factor (multiplies); keep one:"
            " constants.drop_vars('gain')"
        )
    say_what_is_not_used(found)
    out = {}
    for name in (*TABLE, NOISE, CONFIG, TRBIT):
        one = found.get(name)
        if name == BAD_PIXELS and bad_pixels is not None:
            one = bad_pixels
        if one is None:
            continue
        one = with_ranges(one, da, name, n_ranges)
        if name == BAD_PIXELS:
            one = checked_bad_pixels(one, da)
        # Dark frames of a detector that stores all of its gain stages have this dim.
        out[name] = one.rename({GAIN: GAIN_RANGE}) if GAIN in one.dims else one
    if GAIN_MASK in out and out[GAIN_MASK].dtype.kind in "biu":
        # psana's mask of a cspad: 0 is low gain.
        mask = out[GAIN_MASK]
        out[GAIN_MASK] = (mask == 0) * (CSPAD_LOW_GAIN - 1) + 1
    return out


def with_ranges(one: Mask, da: xr.DataArray, name: str, n_ranges: int) -> xr.DataArray:
    """Return a constant as a DataArray; a plain array may have gain ranges first."""
    shape = np.shape(one)
    ranges = len(shape) > 0 and n_ranges > 1 and shape[0] == n_ranges
    pixels = tuple(da.sizes[d] for d in pixel_dims(da))
    if isinstance(one, xr.DataArray) or not ranges or shape == pixels[-2:]:
        return with_dims(one, da, name)
    if shape == pixels:
        raise GeometryMismatchError(
            f"{name} has the shape {shape}, in which the first axis may be that of"
            f" {n_ranges} gain ranges or of as many modules; give a DataArray with dims"
        )
    if len(shape) == 1:
        return xr.DataArray(one, dims=GAIN_RANGE)
    inner = with_dims(np.asarray(one)[0], da, name)
    return xr.DataArray(one, dims=(GAIN_RANGE, *inner.dims))


def say_what_is_not_used(found: Mapping[str, Any]) -> None:
    """Warn of maps of pixels that a calibration knows nothing of."""
    known = {*TABLE, NOISE, CONFIG, TRBIT, *NO_PART}
    unused = [
        name
        for name, one in found.items()
        if name not in known and {SLOW, FAST} <= {*getattr(one, "dims", ())}
    ]
    if unused:
        warn(
            f"ops.calibrate does not use {listing(unused)} of the constants; it knows"
            f" {listing(TABLE, 20)}. Rename what stands for one of these, or leave it"
            f" out: constants.drop_vars({unused!r})"
        )


def check_detector(constants: object, da: xr.DataArray) -> None:
    theirs = getattr(constants, "attrs", {}).get("detector")
    ours = da.attrs.get("detector")
    if theirs and ours and theirs != ours:
        raise GeometryMismatchError(
            f"the constants are those of {theirs}, the frames those of {ours}; if they"
            " are meant for each other, delete constants.attrs['detector']"
        )


def check_ranges(found: dict[str, xr.DataArray], n_ranges: int, kind: str) -> None:
    for name, one in found.items():
        if name in (CONFIG, TRBIT, NOISE, THRESHOLDS):
            continue
        n = one.sizes.get(GAIN_RANGE)
        if n_ranges == 1 and n is not None:
            raise ArgumentError(
                f"{name} has {n} gain ranges, but {kind} does not switch its gain;"
                f" select one: constants.isel({GAIN_RANGE}=0)"
            )
        if n_ranges > 1 and n not in (
            {n_ranges} if name == PEDESTAL else {n_ranges, None}
        ):
            raise MissingConstantError(
                f"{name} has dims {dict(one.sizes)}; {kind} needs {n_ranges} gain"
                f" ranges along {GAIN_RANGE!r}"
            )
        labels = one.indexes.get(GAIN_RANGE)
        if n is not None and labels is not None and list(labels) != list(range(n)):
            raise MissingConstantError(
                f"the gain ranges of {name} are {listing(labels)}; wanted 0 to {n - 1},"
                " in this order"
            )


def on_pixels(one: xr.DataArray, da: xr.DataArray, name: str) -> xr.DataArray:
    """Return a constant at the modules and pixels of the frames, without labels."""
    dims = [d for d in PIXEL_DIMS if d in da.dims]
    others = [d for d in one.dims if d not in PIXEL_DIMS]
    # Frames of some pixels, which are labelled, and constants of all of them.
    for d in (SLOW, FAST):
        cut = d in da.indexes and d in one.dims and d not in one.indexes
        if cut and one.sizes[d] != da.sizes[d]:
            one = one.assign_coords({d: np.arange(one.sizes[d])})
    alone = not (MODULE in da.dims or picked(da, MODULE))
    if alone and one.sizes.get(MODULE) == 1:
        one = one.isel({MODULE: 0}, drop=True)
    sizes: dict[Hashable, int] = {
        **{d: da.sizes[d] for d in dims},
        **{d: one.sizes[d] for d in others},
    }
    shape = tuple(sizes.values())
    labels: dict[Hashable, Any] = {d: da.indexes[d] for d in dims if d in da.indexes}
    if picked(da, MODULE):
        labels[MODULE] = da[MODULE].variable
    # All that is looked at of it are its labels: one number stands for the pixels.
    like = xr.DataArray(
        np.broadcast_to(np.float32(0), shape), dims=tuple(sizes), coords=labels
    )
    own = {d: one.indexes[d] for d in others if d in one.indexes}
    return matching(one.drop_vars(others, errors="ignore"), like, name).assign_coords(
        own
    )


def bad_pixels_apart(
    constants: object, bad_pixels: Mask | None, da: xr.DataArray, n_ranges: int
) -> tuple[xr.DataArray | None, xr.DataArray | None]:
    """Return (bad pixels of the detector, bad pixels of every frame) as was given."""
    if bad_pixels is None:
        return None, None
    bad_pixels = checked_bad_pixels(
        with_ranges(bad_pixels, da, BAD_PIXELS, n_ranges), da
    )
    known = {*PIXEL_DIMS, GAIN_RANGE, GAIN}
    pedestal = constants.get(PEDESTAL) if isinstance(constants, Mapping) else None
    known |= set(getattr(pedestal, "dims", ()))
    if set(bad_pixels.dims) <= known:
        return bad_pixels, None
    # In the place of those of the constants, which do not count either.
    return xr.DataArray(False), bad_pixels


def noise_of(found: dict[str, xr.DataArray], common_mode: object) -> xr.DataArray:
    """Return the noise of every pixel in its highest gain.

    Raises MissingConstantError if there is none, or it differs from frame to frame.
    """
    noise = found.get(NOISE)
    if noise is None:
        raise MissingConstantError(
            f"common mode {common_mode} leaves out pixels above 10 times their noise,"
            f" and the constants have no {NOISE!r} (adu)"
        )
    if GAIN_RANGE in noise.dims:
        noise = noise.isel({GAIN_RANGE: 0}, drop=True)
    more = [d for d in noise.dims if d not in PIXEL_DIMS]
    if more:
        raise MissingConstantError(
            f"the noise has dims {listing(more)} beside the pixels; common mode"
            f" {common_mode} needs one for all frames, such as noise.mean({more[0]!r})"
        )
    return noise
