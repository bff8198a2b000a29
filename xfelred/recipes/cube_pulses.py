"""Values per pulse that have no pulse IDs, brought to the pulses of a detector."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xfelred.names import PULSE, RECORDED, TRAIN


def with_pulse_ids(values: xr.DataArray, frames: xr.DataArray) -> xr.DataArray:
    """Return values with the pulse IDs of the frames.

    Fast instruments of the European XFEL give a vector per train, one value for each
    pulse in their order, without IDs and often longer than the train. Value i is that
    of the i-th pulse of the train that the detector recorded.

    Parameters
    ----------
    values : DataArray
        Anything without an unlabelled dim ``pulse`` comes back as it is.
    frames : DataArray (train, pulse, ...)
        Frames with IDs; with ``recorded`` (train, pulse) where trains differ.
    """
    unlabelled = PULSE in values.dims and PULSE not in values.coords
    if not unlabelled or not {TRAIN, PULSE} <= set(frames.dims):
        return values
    here = frames.coords.get(RECORDED)
    shape = (frames.sizes[TRAIN], frames.sizes[PULSE])
    recorded = (
        np.ones(shape, bool)
        if here is None
        else np.asarray(here.transpose(TRAIN, PULSE).values, bool)
    )
    rank = np.cumsum(recorded, axis=1) - 1
    if TRAIN in values.dims:
        mine = values.reindex({TRAIN: frames[TRAIN]}, fill_value=missing(values.dtype))
        vectors = mine.transpose(TRAIN, PULSE).values
    else:
        vectors = np.broadcast_to(values.values, (shape[0], values.sizes[PULSE]))
    there = recorded & (rank < vectors.shape[1])
    taken = np.take_along_axis(vectors, np.where(there, rank, 0), axis=1)
    out = np.where(there, taken, missing(values.dtype))
    coords = {TRAIN: frames[TRAIN].variable, PULSE: frames[PULSE].variable}
    return xr.DataArray(out, coords, (TRAIN, PULSE), attrs=values.attrs)


def missing(dtype: np.dtype[Any]) -> Any:
    """Return what a pulse without a value has: False, else NaN."""
    return False if dtype.kind == "b" else np.nan


def labelled_pulses(ds: xr.Dataset, frames: list[xr.DataArray]) -> xr.Dataset:
    """Return scalars of which those per pulse have the pulse IDs of a detector.

    That is the first one with several pulses per train; the Dataset also gets its
    coordinate ``recorded``.
    """
    if not any(PULSE in v.dims for v in ds.data_vars.values()) or PULSE in ds.coords:
        return ds
    several = [f for f in frames if f.sizes.get(PULSE, 1) > 1 and TRAIN in f.dims]
    if not several:
        return ds
    out = xr.Dataset(
        {k: with_pulse_ids(v, several[0]) for k, v in ds.data_vars.items()}
    )
    here = several[0].coords.get(RECORDED)
    if here is not None:
        whole = here.reset_coords(drop=True).reindex(
            {TRAIN: out[TRAIN]}, fill_value=False
        )
        out = out.assign_coords({RECORDED: whole})
    return out
