"""Rows read straight from the file, outside HDF5's process-wide lock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.hdf5.chunk_index import ChunkTable
from xfelred.hdf5.filters import decode
from xfelred.hdf5.layout import Layout
from xfelred.hdf5.raw import RawFile, byte_span
from xfelred.hdf5.scratch import scratch
from xfelred.hdf5.window import (
    GAP,
    Column,
    Pieces,
    Slices,
    Window,
    window_of,
)
from xfelred.lazy import Rows

COPY_BLOCK = 8 << 20  # bytes that are read at once where they are copied on
PACKED_BLOCK = 2 << 20  # the same for chunks: these should stay in the cache of a core
SMALL = 512  # bytes; shorter pieces are cheaper to copy than to scatter

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RowsInto:
    """Rows of a dataset one by one, and the array that they fill."""

    row: Ints  # (row,)
    place: Ints  # (row,)
    out: NDArray[Any]  # (place, *window)


def read_direct(
    layout: Layout, raw: RawFile, rows: Rows, window: Slices, out: NDArray[Any]
) -> bool:
    """Read windows of rows into `out` (place, *window) without HDF5.

    `window` has one slice for each axis of the dataset after the first. Return False,
    with nothing done, while h5py is cheaper.
    """
    bounds = tuple((w.start, w.stop, w.step) for w in window)
    shape, chunk = layout.shape[1:], layout.chunk[1:]
    found = window_of(shape, chunk, bounds, layout.dtype.itemsize)
    if layout.start is None:
        return read_chunks(layout, raw, rows_into(rows, out), found)
    if found.whole and layout.start >= 0 and straight(layout, out):
        read_runs(layout, raw, rows, out)
    else:
        read_contiguous(layout, raw, rows_into(rows, out), found)
    return True


def straight(layout: Layout, out: NDArray[Any]) -> bool:
    return out.flags.c_contiguous and out.dtype == layout.dtype


def read_runs(layout: Layout, raw: RawFile, rows: Rows, out: NDArray[Any]) -> None:
    """Read whole rows of a contiguous dataset into an array of the same kind."""
    memory, size = byte_span(out), layout.row_bytes
    start = layout.start or 0
    runs = rows.start.tolist(), rows.count.tolist(), rows.place.tolist()
    for row, n, place in zip(*runs, strict=True):
        part = memory[place * size : (place + n) * size]
        raw.fill(part, start + row * size, layout.name)


def rows_into(rows: Rows, out: NDArray[Any]) -> RowsInto:
    return RowsInto(
        expanded(rows.start, rows.count), expanded(rows.place, rows.count), out
    )


def expanded(start: NDArray[Any], count: NDArray[Any]) -> Ints:
    if len(start) == 1:
        first, n = int(start[0]), int(count[0])
        return np.arange(first, first + n, dtype=np.int64)
    before = np.cumsum(count) - count
    return np.repeat(start - before, count) + np.arange(int(count.sum()))


def read_contiguous(
    layout: Layout, raw: RawFile, rows: RowsInto, window: Window
) -> None:
    start = layout.start if layout.start is not None else -1
    if start < 0:
        rows.out[rows.place] = layout.fill_value
        return
    offset = start + rows.row * layout.row_bytes
    read_pieces(layout, raw, offset, window.pieces[0], rows)


def read_chunks(layout: Layout, raw: RawFile, rows: RowsInto, window: Window) -> bool:
    """Read windows of rows of a chunked dataset; False while h5py is cheaper."""
    if layout.index is None:
        return False
    height = layout.chunk[0]
    chunk_row = rows.row if height == 1 else rows.row // height
    table = layout.index.made
    if table is None:
        n_rows = 1 + int(np.count_nonzero(np.diff(chunk_row)))
        table = layout.index.table(n_rows * len(window.columns))
    if table is None:
        return False
    if layout.stages or (window.whole and len(window.columns) > 1):
        read_packed(layout, raw, table, by_chunk(rows, chunk_row), window.columns)
        return True
    for column, pieces in zip(window.columns, window.pieces, strict=True):
        offset = table.offset[chunk_row * layout.per_row + column.number]
        out = rows.out[(slice(None), *column.outside)]
        part = RowsInto(rows.row, rows.place, out)
        if not table.complete:
            there = offset >= 0
            out[rows.place[~there]] = layout.fill_value
            offset = offset[there]
            part = RowsInto(rows.row[there], rows.place[there], out)
        if height > 1:
            offset = offset + part.row % height * layout.row_bytes
        read_pieces(layout, raw, offset, pieces, part)
    return True


def by_chunk(rows: RowsInto, chunk_row: Ints) -> RowsInto:
    """Return rows in the order of their chunks, so that each is unpacked once."""
    if len(chunk_row) == 1 or (np.diff(chunk_row) >= 0).all():
        return rows
    order = np.argsort(chunk_row, kind="stable")
    return RowsInto(rows.row[order], rows.place[order], rows.out)


def read_pieces(
    layout: Layout, raw: RawFile, offset: Ints, pieces: Pieces, rows: RowsInto
) -> None:
    """Read pieces of rows that begin at `offset` in the file."""
    if not len(offset):
        return
    for first, place in zip(pieces.first, pieces.places, strict=True):
        at_place: Any = (slice(None), *place)
        out = rows.out[at_place]
        start = offset + first
        if pieces.exact and scatters(layout, start, pieces.length, out):
            at = rows.place * out.strides[0]
            raw.gather(start, pieces.length, byte_span(out), at, layout.name)
        else:
            part = RowsInto(rows.row, rows.place, out)
            copy_pieces(layout, raw, start, pieces, part)


def scatters(layout: Layout, start: Ints, length: int, out: NDArray[Any]) -> bool:
    """Tell whether pieces go from the file to their places without a copy."""
    if out.dtype != layout.dtype or not out[0].flags.c_contiguous:
        return False
    if length >= SMALL or len(start) == 1:
        return out.strides[0] >= 0
    return out.flags.c_contiguous and bool((np.diff(start) == length).all())


def copy_pieces(
    layout: Layout, raw: RawFile, start: Ints, pieces: Pieces, rows: RowsInto
) -> None:
    """Read pieces that need picking or casting through memory of this thread."""
    for begin, end, step in stretches(start, pieces.length):
        n = end - begin
        size = (n - 1) * step + pieces.length
        block = scratch("block", size)
        raw.fill(byte_span(block), int(start[begin]), layout.name)
        values: NDArray[Any] = np.ndarray(
            (n, *pieces.shape), layout.dtype, block.data, 0, (step, *pieces.strides)
        )
        rows.out[as_slice(rows.place[begin:end])] = values


def stretches(start: Ints, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, behind the last, step) of pieces that are read by one call.

    These are evenly spaced, with small gaps, and not too many.
    """
    step = np.diff(start)
    change = (np.flatnonzero(np.diff(step)) + 1).tolist()
    steps, n, begin = step, len(start), 0
    while begin < n:
        end, gap = begin + 1, length
        if end < n and length <= steps[begin] <= length + GAP:
            gap = int(steps[begin])
            behind = bisect_right(change, begin)
            end = (change[behind] if behind < len(change) else n - 1) + 1
            end = min(end, begin + max(1, COPY_BLOCK // gap))
        yield begin, end, gap
        begin = end


def as_slice(place: Ints) -> slice | Ints:
    first, n = int(place[0]), len(place)
    if n == 1 or (int(place[-1]) - first == n - 1 and (np.diff(place) == 1).all()):
        return slice(first, first + n)
    return place


class Chunk(NamedTuple):
    """A chunk that holds the rows ``begin:end`` of a request."""

    column: int  # position among the columns of the window
    begin: int
    end: int
    offset: int
    size: int
    mask: int


class Room(NamedTuple):
    """Where the rows of one column go."""

    inside: Slices  # what is wanted of a chunk
    out: NDArray[Any]  # (place, *window of the column)
    # bytes from the first row on, in which a whole row of a chunk follows `step` bytes
    # behind the one before; None where rows must be picked or cast
    memory: NDArray[np.uint8] | None
    step: int


def room_of(layout: Layout, column: Column, out: NDArray[Any]) -> Room:
    part = out[(slice(None), *column.outside)]
    step, row = part.strides[0], part[0]
    memory = None
    if row.nbytes == layout.row_bytes and straight(layout, row) and step >= 0:
        memory = np.frombuffer(byte_span(part), np.uint8)
    return Room(column.inside, part, memory, step)


def read_packed(
    layout: Layout,
    raw: RawFile,
    table: ChunkTable,
    rows: RowsInto,
    columns: tuple[Column, ...],
) -> None:
    """Read chunks in whole, neighbours at once, and copy what is wanted out of them."""
    rooms = [room_of(layout, column, rows.out) for column in columns]
    size = layout.chunk[0] * layout.row_bytes
    for batch in batches(chunks_of(layout, table, rows, columns)):
        first = batch[0].offset
        if first < 0:
            for c in batch:
                rooms[c.column].out[rows.place[c.begin : c.end]] = layout.fill_value
            continue
        end = max(c.offset + c.size for c in batch)
        packed = scratch("packed", end - first)
        raw.fill(byte_span(packed), first, layout.name)
        for chunk in batch:
            begin = chunk.offset - first
            data = packed[begin : begin + chunk.size]
            try:
                unpack(layout, rows, chunk, rooms[chunk.column], data, size)
            except ValueError as error:
                raise BrokenFileError(
                    f"a chunk of {layout.name} in {raw.path}, at byte {chunk.offset},"
                    f" cannot be decompressed: {error}"
                ) from error


def chunks_of(
    layout: Layout, table: ChunkTable, rows: RowsInto, columns: tuple[Column, ...]
) -> list[Chunk]:
    """Return the chunks that hold some rows, in the order of the file.

    Rows must be sorted by chunk: see `by_chunk`.
    """
    chunk_row = rows.row // layout.chunk[0]
    begin = np.flatnonzero(np.diff(chunk_row, prepend=-1))
    end = np.append(begin[1:], len(chunk_row))
    n = len(columns)
    number = np.array([column.number for column in columns])
    at = (chunk_row[begin, np.newaxis] * layout.per_row + number).ravel()
    offset = table.offset[at]
    order = np.argsort(offset, kind="stable")
    at = at[order]
    mask = np.zeros(len(at), int) if table.mask is None else table.mask[at]
    which, column = np.divmod(order, n)
    facts = (column, begin[which], end[which], offset[order], table.size[at], mask)
    return [Chunk(*c) for c in zip(*(f.tolist() for f in facts), strict=True)]


def batches(chunks: list[Chunk]) -> Iterator[list[Chunk]]:
    """Yield chunks that are read by one call; those never written come together."""
    batch: list[Chunk] = []
    for chunk in chunks:
        if batch:
            last = batch[-1]
            missing = chunk.offset < 0
            near = missing or (
                last.offset >= 0
                and chunk.offset - last.offset - last.size <= GAP
                and chunk.offset + chunk.size - batch[0].offset <= PACKED_BLOCK
            )
            if not near:
                yield batch
                batch = []
        batch.append(chunk)
    if batch:
        yield batch


def unpack(
    layout: Layout,
    rows: RowsInto,
    chunk: Chunk,
    room: Room,
    data: NDArray[np.uint8],
    size: int,
) -> None:
    """Decompress one chunk of `size` bytes; its rows go to their places."""
    some = slice(chunk.begin, chunk.end)
    if room.memory is not None and in_place(layout, rows, some, room.step):
        at = int(rows.place[chunk.begin]) * room.step
        decode(layout.stages, chunk.mask, data, room.memory[at : at + size])
        return
    block = scratch("block", size)
    decode(layout.stages, chunk.mask, data, block)
    values = block.view(layout.dtype).reshape(layout.chunk)
    inside = as_slice(rows.row[some] % layout.chunk[0])
    room.out[as_slice(rows.place[some])] = values[(inside, *room.inside)]


def in_place(layout: Layout, rows: RowsInto, some: slice, step: int) -> bool:
    """Tell whether rows are all of a chunk and lie in memory as they do in it."""
    height = layout.chunk[0]
    if some.stop - some.start != height:
        return False
    return height == 1 or (
        step == layout.row_bytes
        and bool((np.diff(rows.row[some]) == 1).all())
        and bool((np.diff(rows.place[some]) == 1).all())
    )
