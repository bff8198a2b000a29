"""Arguments of public calls for long runs: plans alone, without files and data."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import pairs
from xfelred.lazy import ReadPlan, Source, one_each, planned

TRAIN, PULSE, MODULE, PAIR = "train", "pulse", "module", "pair"
BLOCK = 256 << 10  # bytes: a short run of small frames has several, too


def refuse(*_, **__):
    raise AssertionError("data were read")


def ids(n_trains):
    return 100 + 2 * np.arange(n_trains)


def plan_of(n_trains, pulses, n_modules, pixels, dtype):
    """Return a plan of frames, in which no array grows with the run.

    `pulses` is () or their number.
    """
    shape = (n_trains, n_modules)
    return ReadPlan(
        read_rows=refuse,
        targets=tuple((f"m{m}", "data") for m in range(n_modules)),
        target=np.broadcast_to(np.arange(n_modules), shape),
        first=np.broadcast_to(np.zeros(1, int), shape),
        pattern=np.broadcast_to(np.zeros(1, int), (n_trains,)),
        patterns=one_each(int(np.prod(pulses))),
        slot_shape=pulses,
        entry=tuple(slice(0, n, 1) for n in pixels),
        entry_shape=tuple(pixels),
        n_inner=0,
        dtype=np.dtype(dtype),
        fill_value=np.dtype(dtype).type(0),
        flat=False,
        token=f"long-{n_trains}-{pulses}-{n_modules}-{pixels}-{dtype}",
    )


def frames_like(array, n_trains, block=BLOCK):
    """Return the frames of a run with the dims, labels and dtype of some frames."""
    rest = [d for d in array.dims if d not in (TRAIN, PULSE, MODULE)]
    pixels = tuple(array.sizes[d] for d in rest)
    n_modules = array.sizes.get(MODULE, 1)
    lead = [d for d in (PULSE,) if d in array.dims]
    pulses = tuple(array.sizes[d] for d in lead)
    plan = plan_of(n_trains, pulses, n_modules, pixels, array.dtype.str)
    frame = int(np.prod(plan.shape[1:])) * array.dtype.itemsize
    step = min(max(1, block // frame), n_trains)
    last = (n_trains % step,) if n_trains % step else ()
    names = (*lead, MODULE, *rest)
    chunks = {d: (n,) for d, n in zip(names, plan.shape[1:], strict=True)}
    chunks[TRAIN] = (step,) * (n_trains // step) + last
    dims = (TRAIN, *names)
    found = xr.DataArray(planned(Source(plan, dims), chunks), dims=dims)
    if MODULE not in array.dims:
        found = found.isel({MODULE: 0})
    coords = {name: stretched(c, n_trains) for name, c in array.coords.items()}
    found = found.transpose(*array.dims).assign_coords(coords)
    return found.rename(array.name).assign_attrs(array.attrs)


def stretched(value, n_trains):
    """Return an argument of a public call as it is for a run of `n_trains`."""
    match value:
        case xr.DataArray() if PAIR in value.dims:
            train = xr.DataArray(
                ids(n_trains), dims=TRAIN, coords={TRAIN: ids(n_trains)}
            )
            return pairs.consecutive(train)
        case xr.DataArray() if TRAIN in value.dims and value.chunks:
            return frames_like(value, n_trains)
        case xr.DataArray() if TRAIN in value.dims:
            return repeated(value, n_trains)
        case xr.Dataset():
            arrays = {k: stretched(v, n_trains) for k, v in value.data_vars.items()}
            return xr.Dataset(arrays, attrs=value.attrs)
        case Mapping():
            return {k: stretched(v, n_trains) for k, v in value.items()}
        case list() | tuple() if any(isinstance(v, xr.DataArray) for v in value):
            return type(value)(stretched(v, n_trains) for v in value)
        case xf.Bins():
            return replace(value, values=stretched(value.values, n_trains))
        case _:
            return value


def repeated(value, n_trains):
    """Return values in memory again and again, under new train IDs."""
    if value.name == TRAIN:
        return xr.DataArray(ids(n_trains), dims=TRAIN)
    first = value.transpose(TRAIN, ...)
    more = np.resize(first.values, (n_trains, *first.shape[1:]))
    out = xr.DataArray(more, dims=first.dims, attrs=value.attrs).transpose(*value.dims)
    rest = {k: c for k, c in value.coords.items() if TRAIN not in c.dims}
    return out.rename(value.name).assign_coords({TRAIN: ids(n_trains), **rest})
