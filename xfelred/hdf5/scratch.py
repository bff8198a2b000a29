"""Memory that every thread keeps between reads, so that none is allocated anew."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

MAX_KEPT = 16 << 20  # bytes of each buffer; what is larger is not kept


class Buffers(threading.local):
    """The buffers of one thread, by what they are used for."""

    def __init__(self) -> None:
        self.kept: dict[str, NDArray[np.uint8]] = {}


BUFFERS = Buffers()


def scratch(use: str, n_bytes: int) -> NDArray[np.uint8]:
    """Return `n_bytes` of memory that the next call with the same `use` gets again."""
    found = BUFFERS.kept.get(use)
    if found is None or len(found) < n_bytes:
        found = np.empty(max(n_bytes, 1), np.uint8)
        if n_bytes <= MAX_KEPT:
            BUFFERS.kept[use] = found
    return found[:n_bytes]
