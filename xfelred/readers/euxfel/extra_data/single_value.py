"""The one value that all entries of a key share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, ArgumentTypeError, NoDataError
from xfelred.readers.missing import fits_float

REDUCERS = frozenset(
    {"mean", "median", "min", "max", "sum", "nanmean", "nanmedian", "nanmin", "nanmax"}
)


def single_value(
    data: NDArray[Any],
    name: str,
    rtol: float,
    atol: float,
    reduce_by: str | Callable[..., Any] | None,
) -> Any:
    """Return the value that all entries have; see `KeyData.as_single_value`."""
    if not len(data):
        raise NoDataError(f"{name} has no data in these trains")
    if data.dtype == object:
        return single_text(data, name, reduce_by)
    # A median of these would round, or is not defined.
    if reduce_by is None and (data.dtype.names or not fits_float(data)):
        return exact_value(data, name)
    value = reduced(data, reduce_by)
    if not np.allclose(data, value, rtol=rtol, atol=atol):
        off = float(np.max(np.abs(np.asarray(data, float) - value)))
        raise ArgumentError(
            f"{name} is not constant: it differs from {value} by up to {off}, more than"
            f" rtol={rtol}, atol={atol} allow"
        )
    return value


def exact_value(data: NDArray[Any], name: str) -> Any:
    """Return what all entries are: of fields, and of integers that no float holds."""
    odd = (data != data[0]).reshape(len(data), -1).any(axis=1)
    if odd.any():
        raise ArgumentError(
            f"{name} is not constant: among {len(data)} entries are {data[0]} and"
            f" {data[odd.argmax()]}"
        )
    return data[0]


def reduced(data: NDArray[Any], reduce_by: str | Callable[..., Any] | None) -> Any:
    if reduce_by is None:
        return np.median(data, axis=0)
    if reduce_by == "first":
        return data[0]
    if not isinstance(reduce_by, str):
        return reduce_by(data)
    if reduce_by not in REDUCERS:
        raise ArgumentError(
            f"unknown reduction {reduce_by!r}; choose from {sorted(REDUCERS)}, 'first',"
            " or pass a function"
        )
    return getattr(np, reduce_by)(data, axis=0)


def single_text(data: NDArray[Any], name: str, reduce_by: object) -> str:
    if reduce_by is not None:
        raise ArgumentTypeError("reduce_by has no meaning for text")
    found = sorted(set(data.ravel()))
    if len(found) > 1:
        raise ArgumentError(f"{name} has {len(found)} different texts: {found[:5]}")
    return str(found[0])
