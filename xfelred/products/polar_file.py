"""Polar images with what their difference correlation needs, under known names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.geometry import Geometry, radius_to_q
from xfelred.names import (
    LONG_NAME,
    MODULE,
    PHI,
    PULSE,
    RADIUS,
    TRAIN,
    UNITS,
    Q,
)
from xfelred.ops.polar.normalize_rings import normalize_rings
from xfelred.ops.reductions.statistics import statistics
from xfelred.products.nexus import write_nexus
from xfelred.products.prepare import prepare
from xfelred.products.write import write_whole
from xfelred.products.zarr_store import write_zarr

NEXUS = (".h5", ".hdf5", ".nxs")
RINGS = (RADIUS, PHI)


@entry
def write_polar(
    path: str | os.PathLike[str],
    polar: xr.DataArray,
    *,
    normalized: xr.DataArray | None = None,
    ring: Iterable[float] | None = None,
    geometry: Geometry | None = None,
    pairs: xr.DataArray | None = None,
    correlation: xr.Dataset | None = None,
    overwrite: bool = False,
) -> Path:
    """Write polar images under the names that scripts for SACLA data know.

    Parameters
    ----------
    path : path
        Ends in ``.zarr``, ``.h5``, ``.hdf5`` or ``.nxs``. HDF5 files have the names at
        their root, too.
    polar : DataArray (train, ..., radius, phi)
        As `ops.remap_polar` gives it; NaN where there is no good pixel.
    normalized : DataArray, optional
        By default rings divided by their mean: `ops.normalize_rings`.
    ring : (x, y, r), optional
        Beam centre and radius in pixels, such as the result of `ops.fit_ring`.
    geometry : Geometry, optional
        Wavelength, pixel size and distance; and q of the rings, where `polar` has none.
    pairs : DataArray (pair, member), optional
        Train IDs, as from `xfelred.pairs`.
    correlation : Dataset, optional
        Result of `ops.difference_correlation` or `ops.correlate_angular`.
    overwrite : bool
        Replace a product of this name once the new one is complete.

    Returns
    -------
    Path
        Where the product is. After an error nothing new carries this name.

    Raises
    ------
    ValueError
        If the ending is unknown, or an array has no rings.
    OutputExistsError, OutputError, WorkersLostError
        As `xfelred.write`.

    Notes
    -----
    ``polar_data`` and ``normalized_polar_data`` (train, radius, phi), ``polar_mask``
    (radius, phi; 1 = good in some shot), ``q_mapping`` (position of the ring, q),
    ``tag_map`` (JSON: name of the shot to its position), ``num_phi``, ``x_center``,
    ``y_center``, ``q_ring`` (pixels), ``wavelen`` (angstrom), ``pixsize``, ``detdist``
    (m), ``tag_pairs`` (pair, member), and the variables of `correlation`.
    """
    path = Path(path).absolute()
    suffix = path.suffix.lower()
    if suffix != ".zarr" and suffix not in NEXUS:
        raise ArgumentError(
            f"polar data go to {', '.join(('.zarr', *NEXUS))}; got {path.name}"
        )
    ds = polar_dataset(polar, normalized, geometry)
    for more in (
        {} if ring is None else of_ring(ring),
        {} if geometry is None else of_geometry(geometry),
        {} if pairs is None else {"tag_pairs": pairs},
    ):
        ds = ds.assign(more)
    if correlation is not None:
        ds = xr.merge(
            [ds, correlation.drop_vars(Q, errors="ignore")],
            compat="override",
            join="exact",
            combine_attrs="override",
        )
    names = [str(n) for n in ds.data_vars]
    writer = write_zarr if suffix == ".zarr" else partial(write_nexus, at_root=names)
    return write_whole(prepare(ds), path, writer, overwrite=overwrite)


def polar_dataset(
    polar: xr.DataArray, normalized: xr.DataArray | None, geometry: Geometry | None
) -> xr.Dataset:
    missing = [d for d in RINGS if d not in polar.dims]
    if missing:
        raise ArgumentError(
            f"polar images have dims {RADIUS} and {PHI}; got {dict(polar.sizes)}."
            " Apply ops.remap_polar first"
        )
    if normalized is None:
        normalized = normalize_rings(polar)
    polar, normalized = (one_pulse(a) for a in (polar, normalized))
    shots = [str(d) for d in polar.dims if d not in RINGS]
    good = xr.ones_like(polar[RADIUS] * polar[PHI], np.int8)
    if shots:
        counts = statistics(polar, shots, which=("count",))["count"]
        good = (counts > 0).astype(np.int8)
    good.attrs = {UNITS: "1", LONG_NAME: "1 where some shot has a good pixel"}
    q = ring_q(polar, geometry)
    ds = xr.Dataset(
        {
            "polar_data": polar,
            "normalized_polar_data": normalized,
            "polar_mask": good.drop_vars(set(good.coords) - {*RINGS, Q}),
            "q_mapping": (
                (RADIUS, "position_and_q"),
                np.stack([np.arange(len(q)), q], axis=1),
                {UNITS: "1/angstrom", LONG_NAME: "position of the ring, and its q"},
            ),
            "num_phi": scalar(polar.sizes[PHI], "1", "number of azimuths"),
        },
        attrs=polar.attrs,
    )
    if TRAIN in polar.coords:
        ds["tag_map"] = scalar(tag_map(polar), "1", "names of shots, their positions")
    return ds


def ring_q(polar: xr.DataArray, geometry: Geometry | None) -> NDArray[np.float64]:
    """Return q of every ring, from the map or from the geometry; NaN if not known."""
    if Q in polar.coords:
        return np.asarray(polar[Q].values)
    unknown = np.full(polar.sizes[RADIUS], np.nan)
    if geometry is None or geometry.pixel_size is None:
        return unknown
    if geometry.wavelength is None or geometry.distance is None:
        return unknown
    q = radius_to_q(
        polar[RADIUS].values,
        distance=geometry.distance,
        pixel_size=geometry.pixel_size[0],
        wavelength=geometry.wavelength,
    )
    return np.asarray(q)


def one_pulse(array: xr.DataArray) -> xr.DataArray:
    single = [d for d in (PULSE, MODULE) if array.sizes.get(d) == 1]
    return array.squeeze(single, drop=True)


def tag_map(polar: xr.DataArray) -> str:
    """Return JSON that tells the position of every shot from its name."""
    prefix = "tag_" if polar.attrs.get("facility") == "sacla" else ""
    shots = np.atleast_1d(polar[TRAIN].values).tolist()
    return json.dumps({f"{prefix}{t}": i for i, t in enumerate(shots)})


def scalar(value: float | str, units: str, long_name: str) -> xr.Variable:
    return xr.Variable((), value, {UNITS: units, LONG_NAME: long_name})


def of_ring(ring: Iterable[float]) -> dict[str, xr.Variable]:
    x, y, r = (float(v) for v in ring)
    return {
        "x_center": scalar(x, "pixel", "beam along fast_scan"),
        "y_center": scalar(y, "pixel", "beam along slow_scan"),
        "q_ring": scalar(r, "pixel", "radius of the ring"),
    }


def of_geometry(geometry: Geometry) -> dict[str, xr.Variable]:
    size = geometry.pixel_size
    found = {
        "wavelen": (geometry.wavelength, "angstrom", "wavelength"),
        "pixsize": (None if size is None else size[0], "m", "pixel size"),
        "detdist": (geometry.distance, "m", "distance from the sample"),
    }
    return {
        name: scalar(value, units, long_name)
        for name, (value, units, long_name) in found.items()
        if value is not None
    }
