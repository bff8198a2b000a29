"""Frames as lists of what is in them, and frames made of such lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, listing
from xfelred.kernels.image import sparse as kernel
from xfelred.lazy import map_frames
from xfelred.names import (
    DROPLET,
    ENTRY,
    FAST,
    LONG_NAME,
    MODULE,
    PHOTON,
    PIXEL,
    QUANTITY,
    SLOW,
    UNITS,
)
from xfelred.ops.image.find_clusters import numbers
from xfelred.ops.image.to_table import COUNTS, from_table
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of, recorded_frames
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

# Fields by our names, and by those of the LCLS small data.
FIELDS = {"adu": "data", "npix": "npix", "row": "row", "col": "col", "module": "tile"}
TEXTS = {
    "data": "value of an entry",
    "row": "place of an entry along slow_scan",
    "col": "place of an entry along fast_scan",
    "tile": "module number of an entry",
}


@entry
def sparsify(found: xr.DataArray | xr.Dataset, n: int | None = None) -> xr.Dataset:
    """List the droplets, photons or lit pixels of every frame by the names of LCLS.

    Parameters
    ----------
    found : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), or Dataset
        Frames, of which the pixels that are neither 0 nor NaN are listed in their
        order; or what `find_droplets` or `droplets_to_photons` has found.
    n : int, optional
        Keep the first so many of each frame. By default as many as there is room for.

    Returns
    -------
    Dataset (..., droplet | photon | pixel)
        Lazy: ``data``, float64, the sum of a droplet, 1 for a photon, the value of a
        pixel; ``row``, ``col`` and ``tile``, the module number, and ``npix`` of
        droplets. Padded with NaN (npix and tile of droplets: -1); with `n` with 0, and
        all but ``data`` are whole numbers then, int64. ``n_droplets``, ``n_photons``
        or ``n_pixels`` (...), int64: how many there were, which may be more than `n`;
        0 for frames that were not recorded, which the coordinate ``recorded`` tells.

    Raises
    ------
    ArgumentError
        If a Dataset is neither of droplets nor of photons, or `n` is below 1.
    GeometryMismatchError
        If an array has no pixels.

    Notes
    -----
    sparsifyFunc of the LCLS smalldata_tools. `to_table` makes one list of all frames of
    it, `unsparsify` frames again.

    Examples
    --------
    >>> frame = xr.DataArray([[0, 7], [0, 3]], dims=("slow_scan", "fast_scan"))
    >>> listed = sparsify(frame, n=3)
    >>> listed["data"].values, listed["row"].values, int(listed["n_pixels"])
    (array([7., 3., 0.]), array([0, 1, 0]), 2)
    """
    if n is not None and n < 1:
        raise ArgumentError(f"n={n}: of each frame 1 entry or more is kept")
    ds = lit(found, n) if isinstance(found, xr.DataArray) else renamed(found)
    (dim,) = (d for d in COUNTS if d in ds.dims)
    if n is not None:
        kept = {
            name: map_frames(
                kernel.first_entries,
                ds[name].astype(np.float64),
                ds["row"],
                core_dims=(dim,),
                out_core={dim: n},
                dtype=np.float64 if name == "data" else np.int64,
                n=n,
                whole=name != "data",
            )
            for name in FIELDS.values()
            if name in ds
        }
        ds = ds.drop_vars(list(kept)).assign(kept)
    return record(ds, "sparsify", found, n=n)


def lit(da: xr.DataArray, n: int | None) -> xr.Dataset:
    dims = frame_pixels(da, "lists of pixels")
    most = int(np.prod([da.sizes[d] for d in dims]))
    packed = map_frames(
        kernel.lit_pixels,
        numbers_of(da),
        *masks_of(da, None, dims),
        core_dims=dims,
        out_core={QUANTITY: kernel.N_QUANTITIES, PIXEL: max(1, min(n or most, most))},
        dtype=np.float64,
        n_core=len(dims),
        numbers=tuple(numbers(da)),
        room=max(1, min(n or most, most)),
    )
    rows = {
        "data": (kernel.DATA, unit_of(da)),
        "row": (kernel.ROW, "pixel"),
        "col": (kernel.COLUMN, "pixel"),
        "tile": (kernel.TILE, "1"),
    }
    found = {
        name: (packed.isel({QUANTITY: at}), unit, TEXTS[name])
        for name, (at, unit) in rows.items()
    }
    count = packed.isel({QUANTITY: kernel.COUNT, PIXEL: 0}).astype(np.int64)
    found[COUNTS[PIXEL]] = count, "1", "number of pixels that are lit"
    return variables(da, **found).assign_coords(recorded_frames(da, dims))


def renamed(ds: xr.Dataset) -> xr.Dataset:
    """Return droplets or photons by the names of LCLS."""
    dims = [d for d in (DROPLET, PHOTON) if d in ds.dims]
    if len(dims) != 1 or not {"row", "col", "module", COUNTS[dims[0]]} <= set(ds):
        raise ArgumentError(
            "frames are listed, or what ops.find_droplets or ops.droplets_to_photons"
            f" returned; got {listing(map(str, ds)) or 'nothing'}"
        )
    kept = [f for f in FIELDS if f in ds]
    out = ds[[*kept, COUNTS[dims[0]]]].rename({f: FIELDS[f] for f in kept})
    if "data" not in out:
        ones = xr.ones_like(out["row"]).where(out["row"].notnull())
        out["data"] = ones.assign_attrs({UNITS: "1", LONG_NAME: TEXTS["data"]})
    return out


@entry
def unsparsify(
    found: xr.Dataset,
    shape: Sequence[int],
    *,
    modules: Sequence[int] | None = None,
    train: xr.DataArray | ArrayLike | None = None,
    pulse: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Make frames of droplets, photons or lit pixels that were listed.

    Parameters
    ----------
    found : Dataset (..., droplet | photon | pixel) or (entry)
        Of `sparsify`, `find_droplets` or `droplets_to_photons`; or one list of all
        frames, of `to_table` or ``run.table``, with the coordinate ``train``.
    shape : (n_slow, n_fast) or (n_module, n_slow, n_fast)
        Of a frame.
    modules : sequence of int, optional
        Numbers of the modules, by default from 0.
    train, pulse : DataArray or array of int, optional
        For one list: IDs of all trains, and of all pulses, in their order, as those
        without an entry are not in it. By default those that are.

    Returns
    -------
    DataArray (..., [module,] slow_scan, fast_scan)
        Lazy, float64: the sum of the ``data`` (``adu``; of photons their number) of the
        entries in each pixel, at their nearest one; 0 elsewhere, also for entries that
        were cut off (`n`, ``max_droplets``), which their number tells, and in frames
        that were not recorded. Entries up to a pixel
        outside, to which photons may be moved, are in the pixels at the border.

    Raises
    ------
    ArgumentError
        If `found` or `shape` is of another kind, or an entry is of none of `train`.
    GeometryMismatchError
        When computed, if an entry lies outside of the frame.

    Notes
    -----
    For frames, ``unsparsify(sparsify(frames), shape)`` is `frames`, 0 for NaN.

    Examples
    --------
    >>> frame = xr.DataArray([[0, 7], [0, 3]], dims=("slow_scan", "fast_scan"))
    >>> unsparsify(sparsify(frame), (2, 2)).values
    array([[0., 7.],
           [0., 3.]])
    """
    sizes = tuple(np.atleast_1d(np.asarray(shape)).tolist())
    if len(sizes) not in (2, 3) or not all(isinstance(s, int) and s > 0 for s in sizes):
        raise ArgumentError(
            f"shape={shape!r}: wanted (n_slow, n_fast) or (n_module, n_slow, n_fast)"
        )
    whole = (1, *sizes)[-3:]
    named = list(range(whole[0])) if modules is None else [int(m) for m in modules]
    if len(set(named)) != whole[0] or len(named) != whole[0]:
        raise ArgumentError(f"modules={named}: wanted {whole[0]} different numbers")
    ids = {"train": train, "pulse": pulse}
    padded = from_table(found, PIXEL, **ids) if ENTRY in found.dims else found
    dims = [d for d in COUNTS if d in padded.dims]
    if len(dims) != 1 or not {"row", "col"} <= set(padded):
        raise ArgumentError(
            "found: wanted entries with row and col, as ops.sparsify returns; got"
            f" {listing(map(str, found)) or 'nothing'}"
        )
    fields = [padded[f] for f in ("row", "col")]
    value = next((padded[f] for f in ("data", "adu") if f in padded), None)
    tile = next((padded[f] for f in ("tile", "module") if f in padded.data_vars), None)
    # What is not told: each is one photon, and on the first of the modules.
    value = xr.ones_like(fields[0], np.float64) if value is None else value
    tile = xr.full_like(fields[0], named[0], np.int64) if tile is None else tile
    out = map_frames(
        kernel.frames_of,
        *(a.astype(np.float64) for a in (value, *fields, tile)),
        core_dims=(dims[0],),
        out_core=dict(zip((MODULE, SLOW, FAST), whole, strict=True)),
        dtype=np.float64,
        shape=whole,
        numbers=tuple(named),
    )
    if len(sizes) == 2:
        out = out.isel({MODULE: 0})
    else:
        out = out.assign_coords({MODULE: named})
    out.attrs = {**found.attrs, UNITS: str(value.attrs.get(UNITS, "1"))}
    return record(out.rename("frames"), "unsparsify", found, shape=list(sizes))
