"""Sums of a detector over a run, by the names of the LCLS small data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, did_you_mean, listing
from xfelred.geometry import Geometry
from xfelred.names import LONG_NAME, UNITS
from xfelred.ops.image.assemble import assemble
from xfelred.ops.reductions.statistics import Statistic, statistics
from xfelred.ops.validity import frame_pixels, numbers_of
from xfelred.ops.variables import unit_of
from xfelred.provenance import record
from xfelred.shots import at_shots, in_memory, shot_dims

THRESHOLD = re.compile(r"thresADU(-?\d+(?:\.\d+)?)")
WORDS = ("img", "nhits", "square", "max", "skip")


@entry
def detector_sum(
    da: xr.DataArray,
    name: str = "calib",
    *,
    flags: Mapping[str, xr.DataArray] | None = None,
    geometry: Geometry | None = None,
) -> xr.DataArray:
    """Add up all frames, or those of some shots, as a name says.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy; they are not changed. NaN and frames that were not
        recorded are left out.
    name : str
        What the frames are (``calib``, ``raw``, ...), then, joined by ``_``, any of:
        ``thresADU5`` (values below 5 become 0), ``nhits`` (values above 0 become 1),
        ``square``, ``max`` (the highest value instead of the sum), ``skip`` (without
        the first shot), ``img`` (assembled to an image), and names of `flags`.
    flags : mapping of str to bool DataArray (train[, pulse]), optional
        Shots that count, joined by ID, such as ``{"dropped": xray == 0}``.
    geometry : Geometry, optional
        For ``img``.

    Returns
    -------
    DataArray ([module,] slow_scan, fast_scan) or (y, x)
        Lazy: int64 of integers, else float64; a maximum as of `statistics`. A pixel
        without any value has sum 0 and maximum NaN. The attribute ``n_frames`` tells
        how many shots were asked for.

    Raises
    ------
    ArgumentError
        If a part of the name is neither of these nor a flag, or is there twice, or
        ``img`` comes without a geometry.

    Notes
    -----
    storeSum of the LCLS smalldata_tools, which for some thresholds changed the frames
    that other functions were given.

    Examples
    --------
    >>> frames = xr.DataArray([[[1, 7]], [[3, 5]]], {"train": [4, 9]},
    ...                       ("train", "slow_scan", "fast_scan"))
    >>> detector_sum(frames, "calib_thresADU4").values
    array([[ 0, 12]])
    >>> on = xr.DataArray([True, False], {"train": [9, 4]})
    >>> detector_sum(frames, "calib_laser_max", flags={"laser": on}).values
    array([[3., 5.]])
    """
    dims = frame_pixels(da, "sums")
    wanted = parsed(name, tuple(flags or ()))
    if wanted.image and geometry is None:
        raise ArgumentError(f"{name!r} is assembled to an image: give geometry=, too")
    frames = numbers_of(da)
    whole = frames.dtype.kind in "iu"
    kept = shots_of(frames, wanted, dict(flags or {}), dims)
    n_frames = int(kept.sum())
    lead = shot_dims(frames)
    if lead and not kept.all():
        # Whole rows of shots are not even read.
        rows = kept.any([d for d in kept.dims if d != lead[0]]).values
        frames = frames.isel({lead[0]: np.flatnonzero(rows)})
        kept = kept.isel({lead[0]: np.flatnonzero(rows)})
    if wanted.threshold is not None:
        frames = frames.where(frames >= wanted.threshold, 0)
    if wanted.hits:
        frames = (frames > 0).astype(np.uint8)
    if wanted.square:
        frames = frames.astype(np.float64) ** 2
    if not bool(kept.all()):
        frames = frames.where(kept)
    which: Statistic = "max" if wanted.largest else "sum"
    others = [str(d) for d in frames.dims if d not in dims]
    out = frames if not others else statistics(frames, others, which=(which,))[which]
    if whole and which == "sum" and not wanted.square:
        out = out.astype(np.int64)
    if wanted.image and geometry is not None:
        out = assemble(out, geometry)
    out.attrs = {
        **da.attrs,
        UNITS: "1" if wanted.hits else unit_of(da),
        LONG_NAME: f"{'highest' if wanted.largest else 'sum'} of frames",
        "n_frames": n_frames,
    }
    return record(out.rename(name), "detector_sum", da, name=name)


@dataclass(frozen=True)
class Sum:
    """What a name asks for."""

    flags: tuple[str, ...]
    threshold: float | None = None
    hits: bool = False
    square: bool = False
    largest: bool = False
    skip: bool = False
    image: bool = False


def parsed(name: str, flags: tuple[str, ...]) -> Sum:
    """Return what a name asks for; the longest names of flags that fit are taken."""
    rest = name.partition("_")[2]
    used: list[str] = []
    words: set[str] = set()
    threshold: float | None = None
    while rest:
        known = [f for f in flags if rest == f or rest.startswith(f + "_")]
        part = max(known, key=len) if known else rest.partition("_")[0]
        rest = rest[len(part) :].removeprefix("_")
        found = THRESHOLD.fullmatch(part)
        if part in used or part in words or (found and threshold is not None):
            raise ArgumentError(
                f"{name!r} says {'thresADU' if found else part} twice: leave one out"
            )
        if part in known:
            used.append(part)
        elif found:
            threshold = float(found[1])
        elif part in WORDS:
            words.add(part)
        else:
            choice = (*WORDS, "thresADU<number>", *flags)
            raise ArgumentError(
                f"{part!r} in {name!r} is neither a flag nor one of {listing(choice)}."
                f"{did_you_mean(part, choice)}"
            )
    return Sum(
        tuple(used),
        threshold,
        hits="nhits" in words,
        square="square" in words,
        largest="max" in words,
        skip="skip" in words,
        image="img" in words,
    )


def shots_of(
    frames: xr.DataArray,
    wanted: Sum,
    flags: dict[str, xr.DataArray],
    pixels: tuple[str, ...],
) -> xr.DataArray:
    """Return which shots count, bool on dims of shots, without coordinates."""
    lead = [str(d) for d in frames.dims if d not in pixels]
    kept = xr.DataArray(np.ones([frames.sizes[d] for d in lead], bool), dims=lead)
    if wanted.skip and kept.size:
        kept[(0,) * kept.ndim] = False
    for name in wanted.flags:
        values = in_memory(at_shots(flags[name], frames, name))
        kept = kept & (values.fillna(0) != 0)
    return kept.transpose(*lead)
