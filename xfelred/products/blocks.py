"""From lazy arrays to storage, block by block: never a whole array in memory."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import dask.array
import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.lazy.dask_seam import slices_from_chunks
from xfelred.lazy.in_flight import results_of
from xfelred.lazy.scheduler import client, n_threads, shares_memory
from xfelred.products.hdf5_chunks import Chunks, chunks_of, early
from xfelred.products.sink import BlockTarget, CheckedTarget, Sink

Region = tuple[slice, ...]
LazyArrays = Mapping[str, dask.array.Array]
# Blocks that come back to this process, or wait for it, hold at most this much, and at
# least one block of each thread.
BATCH_BYTES = 2**28
NO_LIMIT = 2**62
# In a batch that is to be safe on disk soon; its last blocks leave threads idle.
BLOCKS_PER_THREAD = 4
GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
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
        # tenth of the speed. Workers write into the file themselves.
        return {"chunks": chunks, **({"dcpl": early()} if client() else {})}
    # Whole numbers, above all masks and counts, shrink a lot.
    return {"chunks": chunks, **GZIP}


def is_regular(sizes: Sequence[int]) -> bool:
    """Tell whether all blocks of an axis but a smaller last one have one size."""
    return len(set(sizes[:-1])) <= 1 and (len(sizes) < 2 or sizes[-1] <= sizes[0])


def store(
    arrays: LazyArrays, targets: Mapping[str, BlockTarget], sink: Sink | None = None
) -> None:
    """Compute arrays together and write each of their blocks to its target.

    On threads this is one graph, so that what two arrays share is computed once.
    Other schedulers cannot reach an open file: where a block is computed its chunks are
    written into the file, or packed for this process, which copies them.

    Parameters
    ----------
    arrays : dict of dask arrays
        What to compute.
    targets : dict
        Under the same names: datasets of an HDF5 file, or arrays.
    sink : Sink, optional
        What the datasets are in.
    """
    if not arrays:
        return
    checked: Mapping[str, Any] = targets
    if sink is not None:
        checked = {n: CheckedTarget(t, sink.check) for n, t in targets.items()}
    if shares_memory():
        some = list(arrays.values())
        dask.array.store(some, [checked[n] for n in arrays], lock=True)
        return
    arrays = {n: with_regular_blocks(a) for n, a in arrays.items()}
    chunks = {
        n: chunks_of(t, Path(sink.name))
        for n, t in targets.items()
        if isinstance(t, h5py.Dataset) and sink is not None
    }
    blocks = block_list(arrays)
    largest = max(n_bytes for *_, n_bytes in blocks)
    at_once = min(busy_blocks(), max(2 * all_threads(), BATCH_BYTES // max(largest, 1)))
    groups = (
        [
            (name, put(arrays[name], region, taker(chunks.get(name), region)))
            for name, region in batch
        ]
        for batch in batches(blocks, BATCH_BYTES, limit_blocks=at_once)
    )
    with results_of(groups, at_once) as found:
        for name, result in (pair for some in found for pair in some):
            for where, values in (pair for left in result.flat for pair in left):
                checked[name][where] = values


class Taker(Protocol):
    """What takes a block where it is computed; it can be sent there."""

    def put(self, where: Region, values: NDArray[Any]) -> Sequence[tuple[Any, Any]]:
        """Write values; return places and values that the caller has to write."""


@dataclass(frozen=True)
class Handed:
    """What hands all values to the caller."""

    def put(self, where: Region, values: NDArray[Any]) -> Sequence[tuple[Any, Any]]:
        return [(where, values)]


def taker(chunks: Chunks | None, region: Region) -> Taker:
    fit = chunks is not None and chunks.fit(region)
    return chunks.of(region) if chunks is not None and fit else Handed()


def put(array: dask.array.Array, region: Region, to: Taker) -> dask.array.Array:
    """Return what writes a block of an array when it is computed: by its worker."""
    block = array[region]
    return dask.array.map_blocks(
        put_block,
        block,
        to,
        tuple(s.start for s in region),
        # Never the same twice: a cluster may still know what an earlier call has done.
        name=f"write-{secrets.token_hex(16)}",
        chunks=tuple((1,) * n for n in block.numblocks),
        dtype=object,
        meta=np.empty((0,) * block.ndim, object),
    )


def put_block(
    values: NDArray[Any], to: Taker, corner: tuple[int, ...], block_info: Any = None
) -> NDArray[Any]:
    inside = block_info[0]["array-location"]
    where = tuple(slice(c + a, c + b) for c, (a, b) in zip(corner, inside, strict=True))
    out = np.empty((1,) * values.ndim, object)
    out[...] = None
    out.flat[0] = to.put(where, values)
    return out


def with_regular_blocks(array: dask.array.Array) -> dask.array.Array:
    """Return an array whose blocks begin where those of one size do."""
    if all(is_regular(sizes) for sizes in array.chunks):
        return array
    return array.rechunk(tuple(max(sizes) for sizes in array.chunks))


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
    limit_bytes: int = NO_LIMIT,
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
    return max(16, BLOCKS_PER_THREAD * all_threads())


def all_threads() -> int:
    workers = client()
    return sum(workers.nthreads().values()) if workers else n_threads()
