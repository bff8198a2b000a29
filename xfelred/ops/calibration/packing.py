"""Constants of a calibration, packed as the compiled kernel takes them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    MissingConstantError,
    listing,
)
from xfelred.kernels.arrays import Array
from xfelred.kernels.calibration.table import pack, record_shape, record_type
from xfelred.lazy import map_frames
from xfelred.names import FAST, GAIN_RANGE, MODULE, PIXEL_DIMS, RECORDED, SLOW
from xfelred.ops.calibration.constants import PEDESTAL, TABLE, THRESHOLDS

THRESHOLD, ENTRY, USE = "threshold", "entry", "use"
LARGEST = (1 << 31) - 1  # bytes; numpy has no larger records


@dataclass(frozen=True)
class Packed:
    """Constants as the kernel takes them."""

    table: xr.DataArray  # of records ([module]), or (slow_scan,)
    # position in the table for frames with constants of their own
    entry: xr.DataArray | None


def packed(
    found: dict[str, xr.DataArray],
    da: xr.DataArray,
    n_ranges: int,
    used_ranges: tuple[int, ...],
    per_photon: float,
) -> Packed:
    """Return constants, on the pixels of the frames, as a table."""
    dim, entry = own_dim(found), None
    if dim is not None:
        entry, used = entries(found, dim, da)
        found = {
            k: v if dim not in v.dims else of_entries(v, dim, used)
            for k, v in found.items()
        }
    by_row = MODULE not in da.dims
    core = (ENTRY, GAIN_RANGE, SLOW, FAST)
    dims = core if by_row else (MODULE, *core)
    sizes: dict[Any, int] = {d: da.sizes[d] for d in PIXEL_DIMS if d in da.dims}
    n_entries = max(v.sizes.get(ENTRY, 1) for v in found.values())
    sizes |= {ENTRY: n_entries, GAIN_RANGE: n_ranges}
    arrays = {k: found[k] for k in (*TABLE, USE) if k in found}
    n_planes = n_ranges * (3 if used_ranges else 2)
    if THRESHOLDS in arrays:
        arrays[THRESHOLDS] = padded(arrays[THRESHOLDS], n_ranges)
        n_planes += n_ranges - 1
    # A new axis costs no memory: it is the same numbers again.
    level = arrays[PEDESTAL]
    missing = {d: sizes[d] for d in dims if d not in level.dims}
    arrays[PEDESTAL] = level.expand_dims(missing)
    pixels = (sizes[SLOW], sizes[FAST])
    inside = record_shape(n_entries, n_planes, pixels, by_row=by_row)
    if 4 * np.prod(inside, dtype=np.float64) > LARGEST:
        raise ArgumentError(
            f"constants of {n_entries} {dim} and {sizes[SLOW]} x {sizes[FAST]} pixels"
            f" in {n_ranges} gain ranges take more than 2 GiB for one module; calibrate"
            f" fewer {dim} at a time"
        )
    ordered = {
        k: v.transpose(*(d for d in dims if d in v.dims)) for k, v in arrays.items()
    }
    options: dict[str, Any] = {
        "names": tuple(k for k in ordered if k != PEDESTAL),
        "n_ranges": n_ranges,
        "used_ranges": used_ranges,
        "per_photon": float(per_photon),
        "by_row": by_row,
    }
    return Packed(table_of(ordered, dims, inside, options), entry)


def table_of(
    arrays: dict[str, xr.DataArray],
    dims: tuple[str, ...],
    inside: tuple[int, ...],
    options: dict[str, Any],
) -> xr.DataArray:
    """Return the packed constants, in memory if they all are, else lazily."""
    level, *others = (arrays[PEDESTAL], *(arrays[k] for k in options["names"]))
    lead = (SLOW,) if options["by_row"] else (MODULE,)
    if all(one.chunks is None for one in arrays.values()):
        blocks = [
            one.expand_dims([d for d in dims if d not in one.dims])
            .transpose(*dims)
            .values
            for one in (level, *others)
        ]
        return xr.DataArray(pack(*blocks, **options), dims=lead)
    core = tuple(d for d in dims if d != MODULE)
    rows = {SLOW: level.sizes[SLOW]} if options["by_row"] else {}
    return map_frames(
        pack,
        level,
        *others,
        core_dims=core,
        out_core=rows,
        name="pack_constants",
        dtype=record_type(inside),
        **options,
    )


def padded(thresholds: xr.DataArray, n_ranges: int) -> xr.DataArray:
    """Return thresholds along the gain ranges, with one that nothing exceeds."""
    if thresholds.sizes.get(THRESHOLD) != n_ranges - 1:
        raise MissingConstantError(
            f"thresholds have dims {dict(thresholds.sizes)}; wanted"
            f" {n_ranges - 1} along {THRESHOLD!r}, between {n_ranges} gain ranges"
        )
    out = thresholds.drop_vars(THRESHOLD, errors="ignore").astype(np.float32)
    return out.rename({THRESHOLD: GAIN_RANGE}).pad(
        {GAIN_RANGE: (0, 1)}, constant_values=np.inf
    )


def of_entries(one: xr.DataArray, dim: Hashable, used: Array) -> xr.DataArray:
    # All in their order are no copy.
    if len(used) != one.sizes[dim] or (np.diff(used) != 1).any():
        one = one.isel({dim: used})
    return one.drop_vars([dim], errors="ignore").rename({dim: ENTRY})


def own_dim(found: dict[str, xr.DataArray]) -> Hashable | None:
    """Return the dim, such as ``cell``, along which frames have their own constants."""
    known = {*PIXEL_DIMS, GAIN_RANGE, THRESHOLD}
    dims = {
        d for name in TABLE if name in found for d in found[name].dims if d not in known
    }
    if len(dims) > 1:
        raise ArgumentError(
            f"the constants have dims {listing(sorted(map(str, dims)))}; wanted at most"
            f" one beside {listing([GAIN_RANGE, *PIXEL_DIMS])}"
        )
    return next(iter(dims), None)


def entries(
    found: dict[str, xr.DataArray], dim: Hashable, da: xr.DataArray
) -> tuple[xr.DataArray, Array]:
    """Return the number of every frame's constants, and which constants are used."""
    index = next((v.indexes[dim] for v in found.values() if dim in v.indexes), None)
    label = da.coords.get(dim)  # such as the number of the memory cell
    if index is None:
        raise MissingConstantError(
            f"the constants have {listing([dim])} of their own, but no coordinate"
            f" {dim!r} that says which; assign it"
        )
    if label is None:
        raise MissingConstantError(
            f"the constants are made for every {dim}, but the frames have no coordinate"
            f" {dim!r}; assign it, or take one of the constants: .isel({dim}=0)"
        )
    if not index.is_unique:
        raise GeometryMismatchError(f"the constants have some {dim} twice")
    at = index.get_indexer(np.atleast_1d(label.values).ravel())
    absent = at < 0
    recorded = da.coords.get(RECORDED)
    if recorded is not None and set(recorded.dims) == set(label.dims):
        absent &= recorded.transpose(*label.dims).values.ravel()
    if absent.any():
        wanted = np.unique(np.atleast_1d(label.values).ravel()[absent])
        raise GeometryMismatchError(
            f"the constants have {dim} {listing(index, 20)}, not {listing(wanted)} of"
            " the frames"
        )
    # Frames without a label were not recorded: any constants will do.
    used, position = np.unique(np.maximum(at, 0), return_inverse=True)
    number = position.reshape(label.shape).astype(np.int32)
    return xr.DataArray(number, dims=label.dims, name=ENTRY), used
