"""Small data of a finished HDF5 file as one Dataset, for files of other formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.names import TRAIN

ONCE = ("Sums/", "UserDataCfg/")
INTG = "intg/"
VAR, RAGGED, LENGTHS = "/var_", "/ragged_", "_len"
READOUT = "readout"  # of a slow detector
IDS = ("event_time", "timestamp", "trainId")
# Of a number of entries of each row: the dim along which they follow one another, as
# the conventions for climate and forecast (CF, 9.3.3) have it.
SAMPLES = "sample_dimension"
PIECE = 16 << 20  # bytes


@dataclass(frozen=True)
class OnDisk:
    """A dataset of a file, which is opened for every piece."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        with h5py.File(self.path) as file:
            found: NDArray[Any] = file[self.name][index]
        return found


def smalldata_dataset(path: Path) -> xr.Dataset:
    """Return all that a file holds; arrays of shots and entries are lazy.

    ``/`` in names is ``__``. Rows are on ``train``, which holds the IDs, those of slow
    detectors on ``readout``. Fields with any number of entries of each row follow one
    another along ``<name>_entry``; ``<name>_len`` tells how many each row has. Texts
    are attributes.
    """
    out: dict[str, xr.Variable] = {}
    with h5py.File(path) as file:
        attrs = {str(k): v for k, v in file.attrs.items()}
        for name in names_in(file):
            dataset = file[name]
            plain = name.replace("/", "__")
            if dataset.dtype.kind == "O" and RAGGED in f"/{name}":
                out |= ragged(name, dataset[()])
            elif h5py.check_string_dtype(dataset.dtype):
                attrs[plain] = dataset.asstr()[()]
            else:
                source = OnDisk(path, name, dataset.shape, dataset.dtype)
                out[plain] = variable(name, source)
    ids = next((n for n in IDS if n in out), None)
    ds = xr.Dataset(out, attrs=attrs)
    return ds if ids is None else ds.assign_coords({TRAIN: out[ids].compute()})


def names_in(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return [n for n in found if isinstance(file[n], h5py.Dataset)]


def rows_of(name: str) -> str:
    return READOUT if name.startswith(INTG) else TRAIN


def variable(name: str, source: OnDisk) -> xr.Variable:
    plain = name.replace("/", "__")
    above, _, _ = name.rpartition("/")
    attrs = {}
    if name.startswith(ONCE) or not source.shape:
        first = f"{plain}_dim0"
    elif VAR in f"/{above}":
        first = f"{above.replace('/', '__')}_entry"
    else:
        first = rows_of(name)
        if VAR in f"/{name}" and name.endswith(LENGTHS):
            attrs[SAMPLES] = f"{plain.removesuffix(LENGTHS)}_entry"
    rest = [f"{plain}_dim{i}" for i in range(1, source.ndim)]
    row = max(1, source.dtype.itemsize * int(np.prod(source.shape[1:])))
    chunks = (max(1, PIECE // row), *source.shape[1:]) if source.shape else ()
    data = da.from_array(source, chunks=chunks, name=False, asarray=False)
    return xr.Variable([first, *rest][: source.ndim], data, attrs)


def ragged(name: str, rows: NDArray[Any]) -> dict[str, xr.Variable]:
    """Return entries of all rows in one, and how many each row has."""
    plain = name.replace("/", "__")
    dim = f"{plain}_entry"
    lengths = np.array([len(r) for r in rows], np.int64)
    kept = [r for r in rows if len(r)]
    kind = h5py.check_vlen_dtype(rows.dtype) or np.float64
    entries = np.concatenate(kept) if kept else np.zeros(0, kind)
    counted = xr.Variable(rows_of(name), lengths, {SAMPLES: dim})
    return {plain: xr.Variable(dim, entries), f"{plain}{LENGTHS}": counted}


def once_in(ds: xr.Dataset) -> Iterator[str]:
    """Yield the names of what does not go with rows of shots."""
    entries = {v.attrs.get(SAMPLES) for v in ds.variables.values() if TRAIN in v.dims}
    for name, value in ds.data_vars.items():
        if not {TRAIN, *entries} & {*value.dims}:
            yield str(name)
