"""How many shots of every bin have data of a detector, in whatever pixel."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.names import AVAILABLE, LONG_NAME, UNITS
from xfelred.ops.validity import plain_marks
from xfelred.shots import shot_dims


def shots_with_data(
    count: xr.DataArray, frames: xr.DataArray, bins: xr.DataArray, axes: int
) -> xr.DataArray:
    """Return the number of shots of every bin that have data in any pixel.

    count: (<bins>, ...), values of every pixel, lazy or not, with `axes` dims of bins.
    frames, bins: as of `ops.reductions.bin_frames.prepared`; the bins of shots without
    any module are -1. Where modules are missing in turn, no pixel has data of all
    shots that have some.
    """
    of_bins = tuple(str(d) for d in count.dims[:axes])
    marks = frames.coords.get(AVAILABLE)
    pixels = [] if marks is None else [str(d) for d in marks.dims]
    parts = tuple(d for d in pixels if d in count.dims[axes:])
    best = count.max([d for d in count.dims[axes:] if d not in parts])
    if marks is None or not parts:
        out = best
    else:
        plain = xr.DataArray(bins.values, dims=bins.dims)
        more = {d: frames.sizes[d] for d in shot_dims(frames) if d not in bins.dims}
        # A label per train counts for each of its pulses.
        there, label = xr.broadcast(plain_marks(marks), plain.expand_dims(more))
        there = there.transpose(..., *parts)
        label = label.transpose(*there.dims).isel(dict.fromkeys(parts, 0))
        known = there.values.reshape(label.size, -1)
        out = xr.apply_ufunc(
            partial(union, there=known, label=label.values.ravel(), axes=axes),
            best if best.chunks is None else best.chunk(-1),
            input_core_dims=[[*of_bins, *parts]],
            output_core_dims=[list(of_bins)],
            dask="parallelized",
            output_dtypes=[best.dtype],
        )
    out.attrs = {UNITS: "1", LONG_NAME: f"shots with data of {frames.name}"}
    return out


def union(
    best: NDArray[Any],
    *,
    there: NDArray[np.bool_],
    label: NDArray[np.int64],
    axes: int,
) -> NDArray[Any]:
    """Return how many shots have any module that has data in their bin.

    best: (<bins>, <modules>), shots with data of the best pixel of each. there: (shot,
    module). label: (shot,), bin or -1.
    """
    shape = best.shape[:axes]
    best = best.reshape(-1, there.shape[1])
    there, label = there[label >= 0], label[label >= 0]
    alive = best > 0  # others are masked: their presence tells nothing
    n = len(best)
    seen = np.bincount(label[(there & alive[label]).any(1)], minlength=n)
    each = [np.bincount(label[module], minlength=n) for module in there.T]
    # Frames of NaN count nowhere; what no module lacks is in none of them.
    lost = np.where(alive, np.stack(each, 1) - best, np.inf).min(1)
    lost = np.where(np.isfinite(lost), lost, 0).clip(0)
    # In cubes as of smalldata_tools, where there is nothing there is no count.
    found = np.where(np.isnan(best).all(1), np.nan, seen - lost)
    return found.astype(best.dtype).reshape(shape)
