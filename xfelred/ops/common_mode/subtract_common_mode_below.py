"""Common mode from the pixels without photons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xfelred.detectors import Segment
from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.kernels.per_frame import below, minus_region
from xfelred.lazy import map_frames
from xfelred.names import FAST, SLOW
from xfelred.ops.common_mode.subtract_common_mode import subtract_common_mode
from xfelred.ops.companions import Mask, checked_bad_pixels, matching
from xfelred.ops.image.roi import window
from xfelred.provenance import record

ANY_VALUE = np.inf


@entry
def subtract_common_mode_below(
    da: xr.DataArray,
    groups: str | Sequence[str] = ("row",),
    *,
    cut: float = ANY_VALUE,
    segment: Segment | str | tuple[int, int] | None = None,
    region: Sequence[Sequence[int | None]] | None = None,
    switched: xr.DataArray | None = None,
    bad_pixels: Mask | None = None,
) -> xr.DataArray:
    """Subtract the median of the pixels below a cut from all pixels of a group.

    Parameters
    ----------
    da : DataArray, real (..., slow_scan, fast_scan), adu
        Pedestal-subtracted frames. NaN pixels take no part and stay.
    groups : str or sequence of str
        Groups of `ops.subtract_common_mode`, such as "row" and "column", one after the
        other; or "region": one offset for each module, from some of its pixels.
    cut : float, adu
        Pixels that are not below it hold photons and take no part.
    segment : Segment, str or (rows, columns), optional
        How a module is divided into banks and halves: ``Segment((24, 48), banks=3,
        halves=2)`` has rows of 16 columns and columns of 12 rows. By default not at
        all.
    region : ((low, high), (low, high)), optional
        Of "region": slow_scan and fast_scan as in `ops.roi`; by default all pixels.
    switched : DataArray, optional
        Non-zero where a pixel has switched its gain: takes no part in columns (and
        in groups other than rows).
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel takes no part.

    Returns
    -------
    DataArray (...), adu
        Lazy, float32 or float64 as of `ops.subtract_common_mode`. A group without a
        pixel that takes part is unchanged.

    Raises
    ------
    ValueError, GeometryMismatchError
        If a group does not exist, or an array does not fit.

    Notes
    -----
    The common modes of the LCLS calibration suite. Each group acts on the result of the
    last, and the cut on what it finds then.
    """
    if SLOW not in da.dims or FAST not in da.dims:
        raise GeometryMismatchError(
            f"common mode needs {SLOW} and {FAST}; got {da.dims}"
        )
    kinds = (groups,) if isinstance(groups, str) else tuple(groups)
    if not kinds:
        raise ArgumentError("groups is empty; wanted one or more, such as ('row',)")
    if region is not None and "region" not in kinds:
        raise ArgumentError(f"region= is for the group 'region', not for {kinds}")
    shape = (da.sizes[SLOW], da.sizes[FAST])
    division = Segment(shape) if segment is None else segment
    out = da
    for kind in kinds:
        ignored = None if kind in ("row", "full_row") else switched
        masks = [bad_pixels, ignored]
        if kind == "region":
            out = subtract_region(out, region, cut, masks)
        else:
            bad = companions(out, masks)
            taking_part = map_frames(below, out, *bad, dtype=bool, cut=float(cut))
            out = subtract_common_mode(
                out,
                kind,
                segment=division,
                use=taking_part,
                min_pixels=0,
                apply_to="all",
            )
    # One line tells the story, not those of the steps inside.
    out.attrs = dict(da.attrs)
    return record(
        out,
        "subtract_common_mode_below",
        da,
        groups=list(kinds),
        cut=cut,
        segment=str(division),
        region=region,
        switched=switched,
        bad_pixels=bad_pixels,
    )


def companions(da: xr.DataArray, masks: Sequence[Mask | None]) -> list[xr.DataArray]:
    return [matching(checked_bad_pixels(m, da), da) for m in masks if m is not None]


def subtract_region(
    da: xr.DataArray,
    region: Sequence[Sequence[int | None]] | None,
    cut: float,
    masks: Sequence[Mask | None],
) -> xr.DataArray:
    """Subtract the median of a region of each module from the whole module."""
    at = window(da, (SLOW, FAST), region)
    wide = da.dtype == np.float64 or (da.dtype.kind in "iu" and da.dtype.itemsize > 2)
    return map_frames(
        minus_region,
        da,
        *companions(da, masks),
        core_dims=(SLOW, FAST),
        dtype=np.float64 if wide else np.float32,
        cut=float(cut),
        bounds=tuple((s.start, s.stop) for s in at.values()),
    )
