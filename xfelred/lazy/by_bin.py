"""Reductions of frames into many bins, cut by bins.

A task makes some bins whole: it reads the frames of these, wherever they are in the
run, and no others. So every frame is read by one task, as it lies in the file, and
tasks have no sums in common. Cut by shots, every task would have sums of all bins; cut
by pixels, every task would read all frames, and unpack those that are compressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any, cast

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import DTypeLike, NDArray

from xfelred.lazy.blocks import node_of
from xfelred.lazy.indexing import Selector, as_slice
from xfelred.lazy.leaves import (
    BlockMaker,
    Leaves,
    Stream,
    StreamMaker,
    block_leaves,
    chunk_slice,
)
from xfelred.lazy.nodes import (
    Const,
    Node,
    lead_dims,
    module_dim,
    pendings,
    sizes,
    sources,
    whole_dims,
)
from xfelred.lazy.partition import (
    LARGE_TASK,
    MAX_SUB_BLOCK,
    SUB_BLOCK,
    WIDE,
    WIDE_STATE,
    evenly,
    rows_together,
    source_bytes,
    sub_blocks,
)
from xfelred.lazy.reduce import graph_of, reduce_frames
from xfelred.lazy.rooms import Place
from xfelred.reductions.reduction import Axes, BinReduction, Blocks, Needs

FRAMES_OF_BIN = 16  # that are added up at a time, on average
SIDE_BY_SIDE = 4  # frames that a kernel adds up at a time
LARGEST = 4  # times `WIDE_STATE`: where bins of one axis are not to be separated
STATES = 16  # times as large as its sums is what a task reads, if there is as much
AGAIN = 1.25  # how often a piece of a file may be read, on average


def reduce_bins(
    reduction: BinReduction,
    array: xr.DataArray,
    labels: xr.DataArray,
    *,
    dims: tuple[str, ...],
    results: Mapping[str, DTypeLike],
    new_dim: tuple[str, int],
    together: int = 1,
) -> dict[str, xr.DataArray]:
    """Reduce frames into bins, lazily: as `reduce_frames`, cut by bins where it pays.

    Parameters
    ----------
    reduction : BinReduction
    array : DataArray
        Array in memory or lazy.
    labels : DataArray
        The bin of every frame, on some of `dims`.
    dims : tuple of str
        Dims to reduce.
    results : mapping of str to dtype
        See `reduce_frames`.
    new_dim : str and int
        The dim of the bins, which results have as their first or last, and their
        number.
    together : int, optional
        Neighbouring bins that one block of the result should hold, as the axes behind
        the first one of a grid of bins; it divides their number.
    """
    name, n = new_dim
    kept = tuple(str(d) for d in array.dims if d not in dims)
    leaves = None
    node = node_of(array) if array.chunks is not None else None
    if node is None or isinstance(node, Const):
        leaves = whole_bins(reduction, array, labels, (name, *kept), dims, n)
    elif labels.chunks is None and (bins := node_of(labels)) is not None:
        both = node, bins
        leaves = bin_leaves(reduction, both, label_of(labels), dims, (n, together))
    if leaves is not None:
        first = BinsFirst(reduction)
        return graph_of(first, leaves, array, (name, *kept), results, {})
    return reduce_frames(
        reduction, array, labels, dims=dims, results=results, new_dims={name: n}
    )


@dataclass(frozen=True)
class BinsFirst:
    """A reduction whose results have their bins first, as they are in memory."""

    reduction: BinReduction

    def partial(self, state: Any, blocks: Blocks, axes: Axes, needs: Needs) -> Any:
        return self.reduction.partial(state, blocks, axes, needs)

    def combine(self, states: Sequence[Any]) -> Any:
        return self.reduction.combine(states)

    def finish(self, state: Any, result: str) -> NDArray[Any]:
        return np.moveaxis(self.reduction.finish(state, result), -1, 0)

    def of_bins(self, n: int) -> BinsFirst:
        return BinsFirst(self.reduction.of_bins(n))

    def whole(self, shape: tuple[int, ...], dtype: np.dtype[Any], needs: Needs) -> Any:
        return self.reduction.whole(shape, dtype, needs)

    def partials(
        self, state: Any, several: Sequence[Blocks], axes: Axes, needs: Needs
    ) -> Any:
        return self.reduction.partials(state, several, axes, needs)


def whole_bins(
    reduction: BinReduction,
    array: xr.DataArray,
    labels: xr.DataArray,
    kept: tuple[str, ...],
    dims: tuple[str, ...],
    n: int,
) -> Leaves:
    """Return leaves that add up the blocks of ordinary arrays in all bins."""
    first, pixels = BinsFirst(reduction), kept[1:]
    leaves = block_leaves(first, [array, labels], pixels, dims, n)
    assert isinstance(leaves.make, BlockMaker)
    # Many bins of pixels are many sums: one state, to which blocks are added in turn.
    in_turn = n >= WIDE and leaves.n_parts > 1 and len(pixels) > 0
    return replace(
        leaves,
        kept_chunks=((n,), *leaves.kept_chunks),
        make=replace(leaves.make, kept=kept),
        in_turn=in_turn,
    )


@dataclass(frozen=True)
class BinMaker(StreamMaker):
    """Make tasks that read and reduce the frames of some bins.

    The first number of a block is that of its bins; `shots` are the positions of their
    frames along the axis `first`.
    """

    first: str
    shots: tuple[NDArray[np.int64], ...]
    n_parts: int
    widths: tuple[int, ...]

    def stream_of(self, block: tuple[int, ...]) -> Stream:
        width = self.widths[block[0]]
        reduction = cast(BinsFirst, self.stream.reduction).of_bins(width)
        return replace(self.stream, reduction=reduction, first=(width,))

    def place(self, block: tuple[int, ...]) -> Place:
        return chunk_slice(self.widths, block[0]), *super().place(block[1:])

    def region(self, block: tuple[int, ...], part: int) -> dict[str, Selector]:
        shots = self.shots[block[0]]
        begin, end = (len(shots) * i // self.n_parts for i in (part, part + 1))
        return self.selection(block) | {self.first: as_slice(shots[begin:end])}

    def selection(self, block: tuple[int, ...]) -> dict[str, Selector]:
        kept = dict(zip(self.stream.kept, self.place(block)[1:], strict=True))
        return kept | {self.first: as_slice(self.shots[block[0]])}


def bin_leaves(
    reduction: BinReduction,
    nodes: tuple[Node, Node],
    labels: tuple[NDArray[Any], tuple[str, ...]],
    dims: tuple[str, ...],
    bins: tuple[int, int],
) -> Leaves | None:
    """Return leaves that make a few bins each; None where others do better."""
    node, n = nodes[0], sizes(nodes[0])
    first, (label, on) = lead_dims(node)[:1], labels
    n_bins, together = bins
    kept = tuple(d for d in node.dims if d not in dims)
    if n_bins < WIDE or on != first or first[0] in {*kept, *whole_dims(node)}:
        return None
    length = {**n, **one_module(node, kept)}
    pixels = max(prod(length[d] for d in kept), 1)
    width = bins_of_a_block(n_bins, together, pixels)
    if n_bins * pixels <= WIDE_STATE or width * pixels > LARGEST * WIDE_STATE:
        return None
    widths = evenly(n_bins, width)
    block = label // width
    shots = tuple(np.flatnonzero(block == i) for i in range(len(widths)))
    if read_again(node, shots) > AGAIN:
        return None
    most = max(map(len, shots))
    frame = source_bytes(node) * prod(length[d] / n[d] for d in n if n[d])
    frame /= max(n[first[0]], 1)
    goal = max(LARGE_TASK, STATES * 8 * width * pixels)
    n_parts = max(1, ceil(most * frame / goal))
    length[first[0]] = max(1, ceil(most / n_parts))
    # Bins are counted from the first one of a block on.
    own = np.where(label >= 0, label - np.maximum(block, 0) * width, -1)
    names = Const(own, on, tokenize(nodes[1].token, width))
    first_bins = BinsFirst(reduction)
    reduced = tuple(d for d in node.dims if d in dims)
    cut = inside(node, length, kept, frame * length[first[0]], width)
    chunks = {d: evenly(n[d], length[d]) for d in kept}
    named = [(m.token, m.dims) for m in (node, names)]
    token = tokenize(reduction, named, chunks, kept, widths, n_parts)
    make = BinMaker(
        Stream(first_bins, cut, kept, reduced), (node, names), chunks,
        f"reduce-{token}", first[0], shots, n_parts, widths,
    )  # fmt: skip
    return Leaves(
        (widths, *(chunks[d] for d in kept)),
        n_parts,
        token,
        make,
        tuple(p.array for p in pendings(node)),
        reductions=tuple(first_bins.of_bins(w) for w in widths),
    )


def one_module(node: Node, kept: tuple[str, ...]) -> dict[str, int]:
    module = module_dim(node)
    alone = module in kept and module not in whole_dims(node)
    return {module: min(1, sizes(node)[module])} if module and alone else {}


def bins_of_a_block(n_bins: int, together: int, pixels: int) -> int:
    """Return how many bins a block of the result holds, all about equally many."""
    most = max(1, WIDE_STATE // pixels // together)
    n_blocks = ceil(n_bins // together / most)
    return ceil(n_bins // together / n_blocks) * together


def read_again(node: Node, shots: tuple[NDArray[np.int64], ...]) -> float:
    """Return how often a piece of a file that holds several frames is read."""
    worst = 1.0
    for source in sources(node):
        many = source.plan.chunk[0] if source.plan.chunk else 1
        if many > 1:
            # As if frames were in their order in the file, and all of them taken.
            pieces = [np.unique(some // many) for some in shots]
            found = np.concatenate(pieces)
            worst = max(worst, len(found) / max(len(np.unique(found)), 1))
    return worst


def inside(
    node: Node, length: dict[str, int], kept: tuple[str, ...], size: float, width: int
) -> dict[str, int]:
    """Return the lengths of the pieces that a task reads and adds up at a time.

    A few rows of many frames, so that the sums of these rows stay in the cache; where
    rows are stored together, or needed together, as many frames as a kernel adds up at
    a time. `size` is the number of bytes that a task reads.
    """
    first = lead_dims(node)[0]
    lead = [d for d in lead_dims(node) if d not in whole_dims(node)]
    cut = sub_blocks(node, length, lead, kept, size)
    rows, least = rows_together(node)
    one = size / max(length[first], 1)
    if least == 1 and rows in kept and rows not in whole_dims(node):
        cut |= {d: length[d] for d in lead}
        cut[first] = min(length[first], FRAMES_OF_BIN * width)
        row = one * cut[first] / max(length[rows], 1)
        cut[rows] = max(1, min(length[rows], int(SUB_BLOCK / max(row, 1))))
    elif one:
        cut[first] = max(
            cut[first], min(SIDE_BY_SIDE, int(MAX_SUB_BLOCK / one), length[first])
        )
    return cut


def label_of(labels: xr.DataArray) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return labels and their dims; without dims along which they are all the same."""
    values, dims = labels.values, tuple(str(d) for d in labels.dims)
    while len(dims) > 1:
        one = values[..., :1]
        if (values != one).any():
            break
        values, dims = one[..., 0], dims[:-1]
    return values, dims
