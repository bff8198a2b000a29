"""Tables of chunks kept for the next session; see `cache_files`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xfelred.hdf5.cache_files import load_bytes, save_bytes

FOLDER = "chunks"

Ints = NDArray[np.int64]


def load_arrays(key: str, n: int) -> Ints | None:
    """Return three arrays of `n` numbers that were kept under a key, None if not."""
    body = load_bytes(FOLDER, key)
    if body is None or len(body) != 3 * 8 * n:
        return None
    return np.frombuffer(body, "<i8").astype(np.int64).reshape(3, n)


def save_arrays(key: str, arrays: Sequence[Ints]) -> None:
    """Keep three arrays under a key, if there is a place for them."""
    save_bytes(FOLDER, key, np.stack(arrays).astype("<i8").tobytes())
