"""Values per shot where some shots have none: one rule for what stands there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 2**53  # integers up to here are float64 without loss


def with_gaps(values: NDArray[Any], here: NDArray[np.bool_]) -> NDArray[Any]:
    """Return values at the shots that have them, and what says "none" elsewhere.

    Numbers become floats with NaN where that keeps every value. Integers of 64 bits
    beyond 2**53 (times, identifiers, bit fields) stay integers with 0; only `here`
    tells a gap from a 0 then. Text is empty. `values` (n, ...) are those of the shots
    of `here` (shot,) that is True, and the result itself if there is no gap.
    """
    if here.all():
        return values
    shape = (len(here), *values.shape[1:])
    if values.dtype.kind == "O":
        out = np.full(shape, "", object)
    elif values.dtype.kind not in "SU" and fits_float(values):
        out = np.full(shape, np.nan, np.result_type(values.dtype, np.float32))
    else:
        out = np.zeros(shape, values.dtype)
    out[here] = values
    return out


def fits_float(values: NDArray[Any]) -> bool:
    """Return whether float64 holds every value exactly."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or not values.size:
        return True
    return int(values.max()) <= EXACT and int(values.min()) >= -EXACT
