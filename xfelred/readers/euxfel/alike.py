"""Arrays of an index, small in memory: those that are alike are one.

The modules of a detector, and thousands of slow sources, have the same trains and the
same rows. Of a run of a million trains the copies would take most of the memory.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

# By dtype, length and ends; an array that is not needed any more leaves it.
LOCK = threading.Lock()
KNOWN: WeakValueDictionary[tuple[Any, ...], NDArray[Any]] = WeakValueDictionary()


def alike(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return an equal array (n,), not to be changed: one known before, if there is."""
    ends = (array[0].item(), array[-1].item()) if len(array) else ()
    key = (array.dtype.str, len(array), *ends)
    with LOCK:  # files are read by many threads at once
        known = KNOWN.get(key)
        if known is not None and np.array_equal(known, array):
            return known
        array.flags.writeable = False
        KNOWN[key] = array
        return array


def compact(array: NDArray[np.int64]) -> NDArray[np.signedinteger[Any]]:
    """Return the same numbers as int32 where they fit; see `alike`."""
    info = np.iinfo(np.int32)
    fits = info.min <= array.min(initial=0) and array.max(initial=0) <= info.max
    return alike(array.astype(np.int32 if fits else np.int64))
