"""From lazy arrays to storage, block by block: never a whole array in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import dask
import dask.array
import numpy as np
from numpy.typing import NDArray

from xfelred.lazy.dask_seam import slices_from_chunks
from xfelred.lazy.scheduler import client, n_threads, shares_memory

Region = tuple[slice, ...]
LazyArrays = Mapping[str, dask.array.Array]
# Blocks that are computed in one go hold at most this much, and at least one block.
BATCH_BYTES = 2**28
# In a batch that is to be safe on disk soon; its last blocks leave threads idle.
BLOCKS_PER_THREAD = 4
# Smaller arrays stay in one piece and uncompressed in HDF5 files.
SMALL_BYTES = 2**16


def store_chunks(
    shape: Sequence[int],
    blocks: Sequence[Sequence[int]] | None,
    itemsize: int,
    limit_bytes: int,
) -> tuple[int, ...]:
    """Return the shape of storage chunks of at most `limit_bytes`.

    `blocks` are the sizes of the lazy blocks along each axis. Where all of an axis but
    the last have one size, that is a multiple of the chunk: no two blocks write to the
    same chunk. Leading axes are cut first: an image stays whole as long as possible.
    """
    chunk = [max(1, *(sizes or (1,))) for sizes in blocks or [(n,) for n in shape]]
    for axis, size in enumerate(chunk):
        rest = itemsize * prod(chunk[axis + 1 :])
        fitting = min(size, max(1, limit_bytes // max(1, rest)))
        pieces = -(-size // fitting)
        if blocks is None:
            chunk[axis] = -(-size // pieces)
        else:
            # A block size without suitable divisor, say a prime, stays uncut:
            # millions of tiny chunks would be worse than large ones.
            divisor = next(d for d in range(fitting, 0, -1) if size % d == 0)
            chunk[axis] = divisor if 8 * divisor > fitting else size
    return tuple(chunk)


def hdf5_storage(array: NDArray[Any], limit_bytes: int = 2**20) -> dict[str, Any]:
    """Return how an HDF5 file stores an array: its chunks and filters."""
    if not (array.ndim and array.size) or array.nbytes <= SMALL_BYTES:
        return {}
    blocks = getattr(array, "chunks", None)
    chunks = store_chunks(array.shape, blocks, array.dtype.itemsize, limit_bytes)
    if array.dtype.kind not in "biu":
        # The last digits of measured floats are noise: gzip would take 20 % off, at a
        # tenth of the speed.
        return {"chunks": chunks}
    # Whole numbers, above all masks and counts, shrink a lot.
    gzip = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    return {"chunks": chunks, **gzip}


def is_regular(sizes: Sequence[int]) -> bool:
    """Tell whether all blocks of an axis but a smaller last one have one size."""
    return len(set(sizes[:-1])) <= 1 and (len(sizes) < 2 or sizes[-1] <= sizes[0])


def store(arrays: LazyArrays, targets: Mapping[str, Any]) -> None:
    """Compute arrays together and write each of their blocks to its target.

    On threads this is one graph, so that what two arrays share is computed once.
    Other schedulers cannot reach an open file: they compute batches of blocks,
    which this process writes.

    Parameters
    ----------
    arrays : dict of dask arrays
        What to compute.
    targets : dict
        Under the same names: datasets of an HDF5 file, or arrays.
    """
    if not arrays:
        return
    if shares_memory():
        dask.array.store(list(arrays.values()), [targets[n] for n in arrays], lock=True)
        return
    for batch in batches(block_list(arrays)):
        for (name, region), values in compute_batch(arrays, batch):
            targets[name][region] = values


def block_list(arrays: LazyArrays) -> list[tuple[str, Region, int]]:
    """Return (name, region, bytes) of every block; arrays of one shape take turns."""
    listed = []
    for place, (name, array) in enumerate(arrays.items()):
        for n, region in enumerate(slices_from_chunks(array.chunks)):
            n_bytes = prod(s.stop - s.start for s in region) * array.dtype.itemsize
            listed.append((array.chunks, n, place, (name, region, n_bytes)))
    first = {array.chunks: n for n, array in reversed([*enumerate(arrays.values())])}
    listed.sort(key=lambda item: (first[item[0]], item[1], item[2]))
    return [item[3] for item in listed]


def batches(
    blocks: Iterable[tuple[str, Region, int]],
    limit_bytes: int = BATCH_BYTES,
    *,
    limit_blocks: int | None = None,
) -> Iterator[list[tuple[str, Region]]]:
    """Yield neighbouring blocks in groups of at most so many bytes, and blocks."""
    group: list[tuple[str, Region]] = []
    total = 0
    for name, region, n_bytes in blocks:
        many = limit_blocks is not None and len(group) >= limit_blocks
        # What several arrays have in one place stays together: they share what it is
        # computed from.
        elsewhere = bool(group) and region != group[-1][1]
        if elsewhere and (many or total + n_bytes > limit_bytes):
            yield group
            group, total = [], 0
        group.append((name, region))
        total += n_bytes
    if group:
        yield group


def busy_blocks() -> int:
    """Return how many blocks keep all threads of the scheduler busy for a while."""
    workers = client()
    threads = sum(workers.nthreads().values()) if workers else n_threads()
    return max(16, BLOCKS_PER_THREAD * threads)


def compute_batch(
    arrays: LazyArrays, batch: Sequence[tuple[str, Region]]
) -> Iterator[tuple[tuple[str, Region], np.ndarray]]:
    values = dask.compute(*(arrays[name][region] for name, region in batch))
    yield from zip(batch, values, strict=True)
