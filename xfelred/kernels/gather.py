"""Many reads of one file without Python between them."""

from __future__ import annotations

from numba import njit, types

from xfelred.kernels.arrays import Array

# The C library's, found by its name in the process, so that the loop can be cached.
pread = types.ExternalFunction(
    "pread", types.intp(types.intc, types.uintp, types.uintp, types.int64)
)


@njit(nogil=True, cache=True)
def read_ranges(file: int, start: Array, size: int, memory: int, at: Array) -> int:
    """Read pieces of a file to their places in memory.

    file: descriptor.
    start: int64 (piece,); where each piece begins in the file.
    size: bytes of every piece.
    memory: address that `at` counts from.
    at: int64 (piece,); where each piece goes. Neighbours on both sides are read by one
        call.
    Returns number of pieces that are complete; the next one failed or met the end of
        the file, and the caller finds out which.
    """
    i, n = 0, len(start)
    while i < n:
        end = i + 1
        while end < n and (
            start[end] == start[end - 1] + size and at[end] == at[end - 1] + size
        ):
            end += 1
        done, wanted = 0, (end - i) * size
        while done < wanted:
            got = pread(file, memory + at[i] + done, wanted - done, start[i] + done)
            if got <= 0:
                return i + done // size
            done += got
        i = end
    return n
