"""A reader on arrays in memory, so that lazy graphs can be tested without files."""

import dask.array
import numpy as np
import xarray as xr

from xfelred.lazy import ReadPlan, Source, one_each, planned

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
DATA: dict[str, np.ndarray] = {}
READ: list[int] = []


def read_rows(path, dataset, rows, entry, out):
    data = DATA[path]
    for start, count, place in zip(rows.start, rows.count, rows.place, strict=True):
        block = data[start : start + count]
        assert len(block) == count
        for axis, e in enumerate(entry):
            block = block[(slice(None),) * (axis + 1) + (e,)]
        READ.append(block.nbytes)
        out[place : place + count] = block


def make_plan(name, trains, pulses, modules, pixels=(4, 6), dtype="f4", missing=()):
    """One file per module; values tell (module, train, pulse, pixel)."""
    rng = np.random.default_rng(7)
    target = np.tile(np.arange(modules), (trains, 1))
    first = np.tile((np.arange(trains) * pulses)[:, None], (1, modules))
    for m in range(modules):
        DATA[f"{name}{m}"] = rng.normal(100 + m, 3, (trains * pulses, *pixels)).astype(
            dtype
        )
    for t, m in missing:
        target[t, m] = -1
    return ReadPlan(
        read_rows=read_rows,
        targets=tuple((f"{name}{m}", "data") for m in range(modules)),
        target=target,
        first=first,
        pattern=np.zeros(trains, int),
        patterns=one_each(pulses),
        slot_shape=(pulses,),
        entry=tuple(slice(0, n, 1) for n in pixels),
        entry_shape=tuple(pixels),
        n_inner=0,
        dtype=np.dtype(dtype),
        fill_value=np.nan if dtype[0] == "f" else 0,
        flat=False,
        token=f"fake-{name}-{trains}-{pulses}-{modules}-{pixels}-{dtype}-{missing}",
    )


def whole(name, trains, pulses, modules, missing=(), fill=np.nan):
    full = np.stack(
        [
            DATA[f"{name}{m}"].reshape(trains, pulses, *DATA[f"{name}{m}"].shape[1:])
            for m in range(modules)
        ],
        axis=2,
    ).copy()
    for t, m in missing:
        full[t, :, m] = fill
    return full


def without_recipe(array):
    """Return the same numbers as an ordinary dask array, which knows no files."""
    return array.copy(data=array.data.map_blocks(np.positive, dtype=array.dtype))


def frames_in_memory(chunks=(3, 5, 3, 4, 6)):
    """7 trains of 5 pulses of 3 modules, as a labelled array with a recipe."""
    plan = make_plan("frames", 7, 5, 3)
    normal = dask.array.core.normalize_chunks(chunks, plan.shape)
    data = planned(Source(plan, DIMS), dict(zip(DIMS, normal, strict=True)))
    coords = {"train": np.arange(100, 107), "pulse": np.arange(5) * 2}
    return xr.DataArray(data, dims=DIMS, coords=coords)
