"""Arrays as compiled functions take them: few dtypes, contiguous, read only.

A function is compiled once more, for seconds, for every dtype, memory order and kind of
access that it meets. Three dtypes hold what detectors record.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# An array whose dtype a function is compiled for, whatever it is.
Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

# What a dtype becomes, by kind and bytes; 64-bit integers as in a sum of float64.
USUAL = dict.fromkeys(("b1", "u1", "u2"), "u2")
USUAL |= dict.fromkeys(("i1", "i2", "f2", "f4"), "f4")


def usual_dtype(numbers: Array) -> Array:
    """Return numbers as uint16, float32 or else float64, however they lie in memory."""
    kind = USUAL.get(f"{numbers.dtype.kind}{numbers.dtype.itemsize}", "f8")
    return numbers.astype(kind, copy=False)


def usual(numbers: Array) -> Array:
    """Return numbers as uint16, float32 or else float64, to be read only."""
    return read_only(usual_dtype(numbers))


def read_only(values: Array) -> Array:
    """Return a contiguous view that is not to be written to."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view
