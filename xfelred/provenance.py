"""The history of a result: one line per operation, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import dask.array
import numpy as np
import xarray as xr
from dask.base import tokenize

from xfelred.names import HISTORY

MAX_BITS = 256  # of an integer; Python refuses to print those of 14000
Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def record(
    result: Labelled, op: str, /, *parents: object, **params: object
) -> Labelled:
    """Return `result` with the line ``op {json of params}`` added to its history.

    Parameters
    ----------
    result : DataArray or Dataset
        What the operation made; not modified.
    op : str
        Name of the operation.
    *parents : DataArray or Dataset
        Where the history starts: the lines of every parent, without repetition.
        Without parents the history of `result` itself is continued.
    **params
        Parameters of the operation. Arrays enter as 8 letters of their token.
    """
    lines: dict[str, None] = {}
    for parent in parents or (result,):
        lines |= dict.fromkeys(history_of(getattr(parent, "attrs", {})).splitlines())
    new = f"{op} {json.dumps(jsonable(params), sort_keys=True)}"
    out = result.copy(deep=False)
    out.attrs[HISTORY] = "\n".join([*lines, new])
    return out


def history_of(attrs: Mapping[Any, object]) -> str:
    """Return the history in some attributes as text.

    Files of others have a ``history`` of any type: text, bytes, a list of lines, an
    array of them, or something else, which becomes one line of JSON.
    """
    found = attrs.get(HISTORY)
    if isinstance(found, np.ndarray):
        found = found.tolist()
    if found is None:
        return ""
    if isinstance(found, str):
        return found
    if isinstance(found, bytes):
        return found.decode(errors="replace")
    if isinstance(found, (list, tuple)):
        return "\n".join(history_of({HISTORY: line}) for line in found)
    return json.dumps(jsonable(found), sort_keys=True)


def version_of(package: str, otherwise: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return otherwise


def jsonable(value: object) -> Any:
    """Return `value` as JSON types; arrays become 8 letters of their token."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, (xr.DataArray, xr.Dataset, np.ndarray, dask.array.Array)):
        return "array:" + tokenize(value)[:8]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, slice):
        return f"{value.start}:{value.stop}:{value.step}"
    return str(value)
