"""Frames and their peaks, handed over to programs for serial crystallography."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, listing
from xfelred.lazy import map_frames
from xfelred.names import MODULE, PEAK
from xfelred.products.cxi import Results, module_places, only_frames, write_cxi
from xfelred.products.prepare import prepare
from xfelred.products.write import write_whole

# Of Cheetah's CXI files, which CrystFEL and others read: variable, dtype.
NAMES = {
    "nPeaks": ("n_peaks", np.int32),
    "peakXPosRaw": ("col", np.float32),
    "peakYPosRaw": ("row", np.float32),
    "peakTotalIntensity": ("intensity", np.float32),
    "peakMaxIntensity": ("max_intensity", np.float32),
    "peakNPixels": ("n_pixels", np.int32),
    "peakSNR": ("snr", np.float32),
}


@entry
def write_hits(
    frames: xr.DataArray,
    peaks: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    is_hit: xr.DataArray | None = None,
    overwrite: bool = False,
) -> Path:
    """Write frames and their peaks to a CXI file for CrystFEL and others.

    Parameters
    ----------
    frames : DataArray (train[, pulse] or frame, module, slow_scan, fast_scan)
        Calibrated, in memory or lazy.
    peaks : Dataset
        Of `ops.find_peaks`, of these frames.
    path : path
        Ends in ``.cxi``.
    is_hit : DataArray, bool, optional
        Of `ops.find_hits`: only these frames are written. It is computed first.
    overwrite : bool
        Replace a file of this name once the new one is complete.

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    ArgumentError
        If `path` has another ending, or something is missing from `peaks`.
    GeometryMismatchError
        If `peaks` or `is_hit` are not of these frames.
    OutputExistsError
        If there is such a file and `overwrite` is false.

    Notes
    -----
    Beside images and IDs of trains, pulses and cells, as of `xfelred.write`:
    ``/entry_1/result_1`` with nPeaks (frame), and peakXPosRaw, peakYPosRaw,
    peakTotalIntensity and others (frame, peak), 0 behind the last peak. Positions are
    those of a panel of all modules on top of each other, integers in the middle of a
    pixel, as Cheetah writes them; ``/entry_1/data_2/data`` (frame, y, x) is that panel,
    a virtual view of the images. A geometry file for CrystFEL then has
    ``data = /entry_1/data_2/data``, ``dim0 = %``, ``dim1 = ss``, ``dim2 = fs`` and
    ``peak_list = /entry_1/result_1``.
    """
    path = Path(path).absolute()
    if path.suffix.lower() != ".cxi":
        raise ArgumentError(f"path={path.name}: a file of hits ends in .cxi")
    ds = prepare(frames.rename(frames.name or "frames"))
    da = only_frames(ds)
    numbers = module_places(da).numbers
    missing = [v for v, _ in NAMES.values() if v not in peaks]
    if missing or MODULE not in peaks:
        raise ArgumentError(
            f"peaks: no variable {listing(missing or [MODULE])}; wanted a result of"
            " ops.find_peaks"
        )
    place = map_frames(
        placed,
        peaks[MODULE],
        dtype=np.int64,
        known=tuple(da[MODULE].values.tolist()) if MODULE in da.coords else numbers,
        top=int(numbers[0]),
    )
    row = peaks["row"] + da.shape[-2] * place
    found = {}
    for name, (variable, dtype) in NAMES.items():
        value = row if variable == "row" else peaks[variable]
        value = value.fillna(0) if value.dtype.kind == "f" else value
        found[name] = flat(value.astype(dtype), da, "peaks")
    chosen = None if is_hit is None else flat(is_hit, da, "is_hit").compute() != 0
    writer = partial(write_cxi, results=Results(chosen, found))
    return write_whole(ds, path, writer, overwrite=overwrite)


def placed(
    modules: NDArray[np.int64], *, known: tuple[int, ...], top: int
) -> NDArray[np.int64]:
    """Return where modules are in the panel; those of no peak, -1, anywhere.

    known: modules of the frames. top: number of the first one in the panel.
    """
    there = np.isin(modules, known) | (modules < 0)
    if not there.all():
        raise GeometryMismatchError(
            f"peaks are in modules {listing(np.unique(modules[~there]).tolist())}, the"
            f" frames have {listing(known)}: find the peaks in these frames"
        )
    return modules - top


def flat(value: xr.DataArray, da: xr.DataArray, name: str) -> dask.array.Array:
    """Return (frame, ...) of what was found in each frame."""
    dims = da.dims[:-3]
    rest = [d for d in value.dims if d not in dims]
    there = {d: value.sizes.get(d) for d in dims}
    other = [
        d
        for d in dims
        if d in da.indexes
        and d in value.indexes
        and not da.indexes[d].equals(value.indexes[d])
    ]
    if there != {d: da.sizes[d] for d in dims} or rest not in ([], [PEAK]) or other:
        raise GeometryMismatchError(
            f"{name} has {dict(value.sizes)}, the frames {dict(da.sizes)}"
            + (f", and other labels of {listing(other)}" if other else "")
            + ": make it from these frames"
        )
    array = value.transpose(*dims, *rest).data
    lazy = (
        array if isinstance(array, dask.array.Array) else dask.array.from_array(array)
    )
    return lazy.reshape((-1, *lazy.shape[len(dims) :]))
