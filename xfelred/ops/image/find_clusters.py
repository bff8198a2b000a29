"""Single photons as clusters of 3 x 3 pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image import clusters as kernel
from xfelred.lazy import map_frames
from xfelred.names import CLUSTER, MODULE, QUANTITY
from xfelred.ops.validity import frame_pixels, masks_of
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

# Row of a kernel's result, dtype, unit ("" for that of the frames), text.
Row = tuple[int, Any, str, str]
VARIABLES: dict[str, Row] = {
    "energy": (kernel.ENERGY, np.float64, "", "sum of the pixels of a cluster"),
    "row": (kernel.ROW, np.float64, "pixel", "centre of a cluster along slow_scan"),
    "col": (kernel.COLUMN, np.float64, "pixel", "centre of a cluster along fast_scan"),
    "n_pixels": (kernel.N_PIXELS, np.int64, "1", "number of pixels of a cluster"),
    "is_square": (kernel.SQUARE, np.bool_, "1", "the cluster fits into 2 x 2 pixels"),
    "module": (kernel.MODULE, np.int64, "1", "module number of a cluster"),
    "seed_row": (
        kernel.SEED_ROW, np.int64, "pixel", "position of the seed along slow_scan",
    ),
    "seed_col": (
        kernel.SEED_COLUMN, np.int64, "pixel", "position of the seed along fast_scan",
    ),
}  # fmt: skip


@entry
def find_clusters(
    da: xr.DataArray,
    *,
    seed: float,
    neighbour: float,
    max_clusters: int = 1000,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Find photons whose charge is in a pixel and its neighbours, in every frame.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), adu
        Pedestal-subtracted frames, in memory or lazy. NaN counts as a bad pixel.
    seed : float, adu
        A pixel that is not below this, and not at the border of its module, may be the
        seed of a cluster; not if one of its 8 neighbours is larger.
    neighbour : float, adu
        Neighbours above this belong to the cluster. A cluster of 6 pixels or more is
        none.
    max_clusters : int
        Room for so many in each frame; further ones are only counted.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must take no part. On pixel dims, or with frame dims as
        well.

    Returns
    -------
    Dataset (..., cluster)
        Lazy, in the order of modules, then of rows and columns of the seeds:
        ``energy``, sum of the pixels; ``row`` and ``col``, their centre weighted by
        value; NaN behind the last cluster. ``n_pixels`` and ``is_square`` (fits into 2
        x 2 pixels); ``module``, ``seed_row``, ``seed_col``: its number and positions,
        -1 behind the last cluster. ``n_clusters`` (...) that have room, and
        ``n_clusters_all`` that were found.

    Raises
    ------
    ValueError
        If a limit is not finite, or there is no room.
    GeometryMismatchError
        If `da` has no pixels, or `bad_pixels` does not fit.

    Notes
    -----
    The cluster analysis of the LCLS calibration suite. Two neighbours of exactly the
    same value are both seeds, as there.
    """
    dims = frame_pixels(da, "clusters")
    for name, value in (("seed", seed), ("neighbour", neighbour)):
        if not np.isfinite(value):
            raise ArgumentError(f"{name}={value}; wanted a number")
    if int(max_clusters) != max_clusters or max_clusters < 1:
        raise ArgumentError(f"max_clusters={max_clusters}; wanted 1 or more")
    masks = masks_of(da, bad_pixels, dims)
    packed = map_frames(
        kernel.find_clusters,
        da.astype(np.uint8) if da.dtype == bool else da,
        *masks,
        core_dims=dims,
        out_core={QUANTITY: kernel.N_QUANTITIES, CLUSTER: int(max_clusters)},
        dtype=np.float64,
        n_core=len(dims),
        seed=float(seed),
        neighbour=float(neighbour),
        numbers=numbers(da),
        max_clusters=int(max_clusters),
    )
    return record(
        listed_variables(da, packed, VARIABLES, kernel.COUNT, CLUSTER),
        "find_clusters",
        da,
        seed=seed,
        neighbour=neighbour,
        max_clusters=max_clusters,
        bad_pixels=bad_pixels,
    )


def numbers(da: xr.DataArray) -> tuple[int, ...]:
    """Return the module numbers of the frames; 0 where there are none."""
    if MODULE not in da.coords:
        return tuple(range(da.sizes.get(MODULE, 1)))
    return tuple(int(m) for m in np.atleast_1d(da[MODULE].values))


def listed_variables(
    da: xr.DataArray, packed: xr.DataArray, rows: dict[str, Row], count: int, dim: str
) -> xr.Dataset:
    """Return what a kernel lists along a dim, and how many it found, by their names."""
    # The coordinate would have the name of a variable.
    packed = packed.drop_vars(MODULE, errors="ignore")
    # All rows of the kernel are float64.
    found = {
        name: (packed.isel({QUANTITY: row}).astype(dtype), unit or unit_of(da), text)
        for name, (row, dtype, unit, text) in rows.items()
    }
    # Every row has a place for each of them; the count needs only the first.
    n = packed.isel({QUANTITY: count, dim: 0})
    # Neither is made of the other: dask.compute would lose that one of a Dataset.
    kept, every = n.clip(max=packed.sizes[dim]).astype(np.int64), n.astype(np.int64)
    found[f"n_{dim}s"] = kept, "1", f"number of {dim}s in the list"
    found[f"n_{dim}s_all"] = every, "1", f"number of {dim}s in the frame"
    return variables(da, **found)
