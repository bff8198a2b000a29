"""Frames and their peaks, handed over to programs for serial crystallography."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import dask.array
import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, listing
from xfelred.lazy import map_frames
from xfelred.names import CELL, MODULE, PEAK, PULSE, RECORDED, TRAIN
from xfelred.products.cxi import (
    IDS,
    Results,
    add_slab,
    frame_labels,
    module_places,
    only_frames,
    write_cxi,
    write_virtual_cxi,
)
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
    detector: object = None,
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
    detector : Detector, optional
        From ``run.detector()``, of a run of the European XFEL that the frames are of:
        images are then virtual, with the values in the files of the run, instead of
        copies of `frames`.
    overwrite : bool
        Replace a file of this name once the new one is complete.

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    ArgumentError
        If `path` has another ending, something is missing from `peaks`, or `is_hit` is
        not bool.
    ArgumentTypeError
        If `detector` cannot be shown without copies.
    GeometryMismatchError
        If `peaks`, `is_hit` or `detector` are not of these frames.
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
    ``peak_list = /entry_1/result_1``: `Geometry.to_crystfel` with ``stacked=True``
    writes it. With `detector` there are images of all of its frames; the panel, the
    peaks and the IDs beside the panel (``data_2/trainId`` and others) are of those that
    were chosen.
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
    if is_hit is not None and is_hit.dtype != bool:
        raise ArgumentError(
            f"is_hit has dtype {is_hit.dtype}; wanted True and False, such as"
            " ops.find_hits(peaks['n_peaks'], 15)['is_hit']"
        )
    chosen = None if is_hit is None else flat(is_hit, da, "is_hit").compute()
    results = Results(chosen, found)
    writer = partial(write_cxi, results=results)
    if detector is not None:
        writer = partial(write_virtual, detector=detector, results=results)
    return write_whole(ds, path, writer, overwrite=overwrite)


def write_virtual(
    ds: xr.Dataset, path: Path, *, detector: object, results: Results
) -> None:
    """Write a virtual CXI file of a detector, and what was found in its frames."""
    da = only_frames(ds)
    write_virtual_cxi(detector, path)
    labels = frame_labels(da)
    keep = labels.get(RECORDED, np.ones(len(labels[TRAIN]), bool))
    keep = keep if results.chosen is None else keep & results.chosen
    with h5py.File(path, "r+") as file:
        entry = file["entry_1"]
        inner = PULSE if IDS[PULSE] in entry else CELL
        if inner not in labels:
            raise GeometryMismatchError(f"frames have no coordinate {inner!r}")
        stored = entry["instrument_1/detector_1/data"]
        if stored.ndim != 4:
            raise GeometryMismatchError(
                f"the files hold {stored.shape[2:]} for each module, signal and gain:"
                " such raw data are shown to nobody; take a run with corrected data"
            )
        names = {
            TRAIN: IDS[TRAIN],
            inner: IDS[inner] if inner == PULSE else "memoryCell",
        }
        mine, theirs = (
            pd.MultiIndex.from_arrays([np.asarray(x).astype(np.uint64) for x in ids])
            for ids in (
                [labels[n][keep] for n in names], [entry[n][()] for n in names.values()]
            )
        )  # fmt: skip
        at = theirs.get_indexer(mine)
        if (at < 0).any():
            raise GeometryMismatchError(
                f"{(at < 0).sum()} of {len(at)} frames are not in the detector's files:"
                " give the detector of the run that the frames are of"
            )
        order = np.argsort(at, kind="stable")
        shown = [n for n in ("data", "mask") if n in entry["instrument_1/detector_1"]]
        add_slab(entry, shown, at[order])
        for n in names.values():
            entry["data_2"][n] = entry[n][()][at[order]]
        for name, array in results.arrays.items():
            entry[f"result_1/{name}"] = array.compute()[keep][order]


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
