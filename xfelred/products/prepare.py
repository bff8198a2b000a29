"""Make any labelled result ready for a file: names, dtypes, attributes, provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xfelred import __version__
from xfelred.errors import ArgumentError, ArgumentTypeError
from xfelred.names import FINGERPRINT, HISTORY, UNITS, VERSION
from xfelred.provenance import history_of, jsonable, version_of

CREATED = "created"
SOFTWARE = "software"

# The packages on which the last bits of a result, or its file, can depend.
SOFTWARE_NAMES = ("numpy", "dask", "xarray", "h5py", "zarr")
# What an attribute of any of our file formats can hold: signed or unsigned 64 bits.
NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
INT_LIMITS = (-(2**63), 2**64)


def prepare(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return a copy of `obj` that every file format here can hold, lazy as it was.

    ``/`` in names is ``__``, text is fixed-width unicode, attributes are str, int,
    float, bool or lists of one of them. A DataArray without a name becomes ``data``.
    The Dataset has ``xfelred_version``, ``created``, ``software``, ``history`` and
    ``source_fingerprint``.
    """
    ds = with_plain_names(to_dataset(obj))
    refuse_multi_index(ds)
    for name, variable in ds.variables.items():
        if any(np.isnan(size) for size in variable.shape):
            raise ArgumentError(
                f"the shape {variable.shape} of {str(name)!r} is not known before it is"
                " computed; call .compute_chunk_sizes() on its dask array, or"
                " .compute()"
            )
    text = {n: plain_text(str(n), v) for n, v in ds.variables.items() if is_text(v)}
    ds = ds.assign_coords({n: v for n, v in text.items() if n in ds.coords})
    ds = ds.assign({n: v for n, v in text.items() if n in ds.data_vars})
    ds = ds.drop_encoding()
    for name, variable in ds.variables.items():
        variable.attrs = plain_attributes(str(name), variable.attrs)
        if variable.dtype.kind in "Mm":
            # The file format chooses the unit of a moment or a duration.
            variable.attrs.pop(UNITS, None)
    ds.attrs = plain_attributes("the result", with_provenance(ds))
    return ds


def to_dataset(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    if isinstance(obj, xr.Dataset):
        return obj.copy(deep=False)
    if not isinstance(obj, xr.DataArray):
        raise ArgumentTypeError(
            f"write takes an xarray Dataset or DataArray, got {type(obj).__name__};"
            " wrap plain arrays: xr.DataArray(values, dims=...)"
        )
    name = "data" if obj.name is None else obj.name
    if name in obj.coords:
        raise ArgumentError(
            f"the DataArray has the name of its own coordinate {name!r};"
            " rename it first: da.rename('intensity')"
        )
    return obj.to_dataset(name=name)


def with_plain_names(ds: xr.Dataset) -> xr.Dataset:
    names = [*ds.variables, *ds.dims]
    if bad := [n for n in names if not isinstance(n, str) or not n]:
        raise ArgumentError(
            f"names must be non-empty text, got {bad[0]!r}; use ds.rename"
        )
    # To a file, a slash is a group.
    renamed = {str(n): str(n).replace("/", "__") for n in names if "/" in str(n)}
    taken = {n for n in names if n not in renamed}
    if clash := sorted(n for n, new in renamed.items() if new in taken):
        raise ArgumentError(
            f"{clash[0]!r} is stored as {renamed[clash[0]]!r}, which is taken;"
            " rename one of them first: ds.rename(...)"
        )
    return ds.rename(renamed)


def refuse_multi_index(ds: xr.Dataset) -> None:
    for name, index in ds.xindexes.items():
        if isinstance(index.to_pandas_index(), pd.MultiIndex):
            raise ArgumentError(
                f"coordinate {name!r} is a MultiIndex, which no file can hold;"
                f" use ds.reset_index({ds[name].dims[0]!r}), or read the frames"
                " with layout='frame'"
            )


def is_text(variable: xr.Variable) -> bool:
    return variable.dtype.kind in "OT"  # objects; texts of variable length of numpy 2


def plain_text(name: str, variable: xr.Variable) -> xr.Variable:
    # Lazy text is computed: it labels axes, so it is short, and its width is not known
    # before.
    values = variable.values
    if not all(isinstance(v, str) for v in np.ravel(values)):
        raise ArgumentError(
            f"{name!r} holds Python objects (dtype {variable.dtype}), which no file"
            " can hold; convert it to numbers or text: ds[name].astype(str)"
        )
    return variable.copy(data=values.astype(object).astype("U"))


def plain_attributes(owner: str, attrs: Mapping[Any, Any]) -> dict[str, Any]:
    own = {key: value for key, value in attrs.items() if key != HISTORY}
    out = {str(key): plain_attribute(owner, key, v) for key, v in own.items()}
    if HISTORY in attrs:
        out[HISTORY] = storable(history_of(attrs))
    return {str(key): out[str(key)] for key in attrs}


def storable(text: str) -> str:
    # HDF5 ends a text at a NUL, and cannot encode halves of characters: they are shown.
    return NOT_STORABLE.sub(lambda m: ascii(m[0])[1:-1], text)


def plain_attribute(owner: str, key: object, value: object) -> Any:
    """Return `value` as str, int, float, bool or a list; structure becomes JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if (
        isinstance(value, np.ndarray)
        and value.ndim <= 1
        and value.dtype.kind in "biufU"
    ):
        value = value.tolist()
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and INT_LIMITS[0] <= value < INT_LIMITS[1]:
        return value
    if isinstance(value, (list, tuple)) and (items := plain_list(value)):
        return items
    if value is None or isinstance(value, (dict, list, tuple, int)):
        return json.dumps(jsonable(value))
    raise ArgumentError(
        f"attribute {key!r} of {owner!r} is {type(value).__name__}; attributes hold"
        " text, numbers, booleans and lists of them: make an array a coordinate,"
        " and give anything else as text"
    )


def plain_list(values: Iterable[Any]) -> list[Any]:
    """Return the items as a list if all are text or all are numbers, else nothing."""
    items = [v.item() if isinstance(v, np.generic) else v for v in values]
    for kinds in ((str,), (bool,), (int,), (int, float)):
        if all(isinstance(v, kinds) for v in items):
            mixed = kinds != (bool,) and any(isinstance(v, bool) for v in items)
            return [] if mixed else items
    return []


def with_provenance(ds: xr.Dataset) -> dict[Any, Any]:
    attrs = dict(ds.attrs)
    parts = [ds.attrs, *(v.attrs for v in ds.data_vars.values())]
    lines = [line for part in parts for line in history_of(part).split("\n")]
    if history := "\n".join(dict.fromkeys(line for line in lines if line)):
        attrs[HISTORY] = history
    prints = {str(part[FINGERPRINT]): None for part in parts if FINGERPRINT in part}
    if prints:
        attrs[FINGERPRINT] = " ".join(prints)
    attrs[VERSION] = __version__
    attrs[CREATED] = datetime.now(UTC).isoformat(timespec="seconds")
    attrs[SOFTWARE] = json.dumps(software())
    return attrs


def software() -> dict[str, str]:
    return {name: version_of(name, "unknown") for name in SOFTWARE_NAMES}
