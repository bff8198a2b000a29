"""Dask arrays that remember their recipe, so that selecting reaches the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from xfelred.lazy.indexing import Selector, chunks_after, merge_chunks, normalized
from xfelred.lazy.nodes import (
    Const,
    Map,
    Node,
    Source,
    View,
    aligned,
    narrow,
    sizes,
    whole_dims,
)
from xfelred.lazy.source import ReadPlan

Chunks = Mapping[str, tuple[int, ...]]


class ArrayKind(type):
    """The type of `PlannedArray`: it counts as `dask.array.Array` in sets of types.

    xarray refuses to mix "chunked array types" and finds them with ``{type(a), ...}``;
    without this, a Dataset of planned and of ordinary dask arrays cannot be computed.
    """

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is da.Array

    def __hash__(cls) -> int:
        return hash(da.Array)


class PlannedArray(da.Array, metaclass=ArrayKind):  # type: ignore[misc]
    """A dask array with the recipe (`node`) that made it.

    It is an ordinary dask array in every respect but two: basic and sorted integer
    indexing cut the recipe instead of the blocks, and reductions of this package stream
    through the recipe. Any other operation gives a plain dask array.
    """

    __slots__ = ("node",)

    def __new__(cls, array: da.Array, node: Node | None) -> PlannedArray:
        """Attach a recipe to the dask array that computes it."""
        self = super().__new__(
            cls, array.dask, array.name, array.chunks, array.dtype, array._meta
        )
        self.node = node
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the recipe with the array."""
        plain = da.Array(self.dask, self.name, self.chunks, self.dtype, self._meta)
        return PlannedArray, (plain, self.node)

    def copy(self) -> PlannedArray:
        """Return an equal array; nothing is shared that could change."""
        return PlannedArray(self, self.node)

    def __getitem__(self, index: Any) -> da.Array:
        """Select before reading where possible, else as dask does."""
        if self.node is None:
            return super().__getitem__(index)
        found = selection(index, self.shape)
        if found is None:
            return super().__getitem__(index)
        selectors, dropped = found
        dims = self.node.dims
        node, rest = narrow(self.node, dict(zip(dims, selectors, strict=True)))
        if node is self.node and not any(dropped):
            return self if not rest else super().__getitem__(index)
        chunks = dict(zip(dims, self.chunks, strict=True))
        chunks |= {
            d: chunks_after(chunks[d], s)
            for d, s in zip(dims, selectors, strict=True)
            if d not in rest
        }
        kept = tuple(
            d for d, out in zip(dims, dropped, strict=True) if not out or d in rest
        )
        if kept != dims:
            node = View(node, kept)
        out = planned(node, coarsened(self, {d: chunks[d] for d in kept}))
        if not rest:
            return out
        later = tuple(
            (s.start if out and isinstance(s, slice) else s)
            if d in rest
            else slice(None)
            for d, s, out in zip(dims, selectors, dropped, strict=True)
            if d in kept
        )
        return da.Array.__getitem__(out, later)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Assign as dask does; the recipe no longer describes the result."""
        super().__setitem__(key, value)
        self.node = None

    def rechunk(self, chunks: Any = "auto", *args: Any, **kwargs: Any) -> da.Array:
        """Return the same recipe in other blocks: nothing is read twice or copied."""
        if self.node is None or args or any(v is not None for v in kwargs.values()):
            return super().rechunk(chunks, *args, **kwargs)
        if isinstance(chunks, dict):
            chunks = {axis % self.ndim: c for axis, c in chunks.items()}
            chunks = tuple(chunks.get(i, self.chunks[i]) for i in range(self.ndim))
        if isinstance(chunks, (tuple, list)):
            chunks = tuple(
                old if c is None else c
                for c, old in zip(chunks, self.chunks, strict=True)
            )
        new = da.core.normalize_chunks(
            chunks, self.shape, dtype=self.dtype, previous_chunks=self.chunks
        )
        by_dim = dict(zip(self.node.dims, new, strict=True))
        if any(len(by_dim[d]) > 1 for d in whole_dims(self.node)):
            return super().rechunk(new)
        return planned(self.node, by_dim)

    def transpose(self, *axes: Any) -> da.Array:
        """Reorder the axes and keep the recipe."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = tuple(order) if order else tuple(reversed(range(self.ndim)))
        if self.node is None or len(order) != self.ndim:
            return super().transpose(*axes)
        order = tuple(i % self.ndim for i in order)
        if order == tuple(range(self.ndim)):
            return self
        node = View(self.node, tuple(self.node.dims[i] for i in order))
        return PlannedArray(super().transpose(order), node)


def selection(
    index: Any, shape: tuple[int, ...]
) -> tuple[list[Selector], list[bool]] | None:
    """Return a selector for every axis and which axes go; None if left to dask."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    items += [slice(None)] * (len(shape) - len(items))
    if (
        len(items) != len(shape)
        or sum(isinstance(i, (list, np.ndarray)) for i in items) > 1
    ):
        return None
    found = [normalized(item, n) for item, n in zip(items, shape, strict=True)]
    if any(f is None for f in found):
        return None
    return [f[0] for f in found if f], [f[1] for f in found if f]


def coarsened(old: da.Array, chunks: Chunks) -> Chunks:
    """Join chunks along the first axis while they stay within the old block size.

    A selection of one module would otherwise leave many small blocks.
    """
    first = next(iter(chunks), None)
    if first is None or not old.ndim:
        return chunks
    largest = prod(max(c) for c in old.chunks)
    now = prod(max(c) for c in chunks.values())
    factor = largest // max(now, 1)
    return {**chunks, first: merge_chunks(chunks[first], factor)}


def planned(node: Node, chunks: Chunks) -> PlannedArray:
    """Return the dask array of a recipe.

    Parameters
    ----------
    node : Node
        The recipe.
    chunks : mapping of str to tuple of int
        Chunk lengths of every axis of `node`.

    Raises
    ------
    RuntimeError
        If dask's experimental array query planning is switched on.
    """
    if dask.config.get("array.query-planning", False):
        raise RuntimeError(
            "dask's experimental setting 'array.query-planning' is on and breaks"
            " labelled"
            " arrays; switch it off: dask.config.set({'array.query-planning': False})"
        )
    return PlannedArray(layered(node, chunks), node)


def layered(node: Node, chunks: Chunks) -> da.Array:
    """Return one Blockwise layer for every source and every kernel of a recipe."""
    match node:
        case Source():
            return source_layer(node, tuple(chunks[d] for d in node.dims))
        case Const():
            return da.from_array(
                node.array,
                chunks=tuple(chunks[d] for d in node.dims),
                name=f"constant-{node.token}",
            )
        case View():
            return view_layer(node, chunks)
        case Map():
            return map_layer(node, chunks)


@dataclass(frozen=True)
class PlanBlocks(BlockwiseDep):  # type: ignore[misc]
    """The plan of every block, cut out of the whole plan when a task is made."""

    plan: ReadPlan
    chunks: tuple[tuple[int, ...], ...]
    produces_tasks: bool = False

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return what tells this from others; tuples of many numbers are slow here."""
        return (self.plan.token, *(np.asarray(c) for c in self.chunks))

    @property
    def numblocks(self) -> tuple[int, ...]:
        """Number of blocks along every axis."""
        return tuple(len(c) for c in self.chunks)

    @cached_property
    def edges(self) -> list[list[int]]:
        """First element of every block, and the end, along every axis."""
        return [[0, *accumulate(c)] for c in self.chunks]

    def __getitem__(self, block: tuple[int, ...]) -> ReadPlan:
        """Return the compact plan of one block."""
        region = tuple(
            slice(e[i], e[i + 1], 1) for e, i in zip(self.edges, block, strict=True)
        )
        return self.plan.narrow(region).compact()


def source_layer(node: Source, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return the layer in which every task reads one block."""
    blocks = PlanBlocks(node.plan, chunks)
    name = f"read-{dask.base.tokenize(blocks)}"
    index = tuple(range(len(chunks)))
    layer = blockwise(load_block, name, index, blocks, index, numblocks={})
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[])
    return da.Array(graph, name, chunks, dtype=node.dtype)


def load_block(plan: ReadPlan) -> NDArray[Any]:
    """Read one block."""
    return plan.load()


def view_layer(node: View, chunks: Chunks) -> da.Array:
    """Return the layer that reorders axes and drops axes of length 1."""
    arg = layered(node.arg, {d: chunks.get(d, (1,)) for d in node.arg.dims})
    return da.blockwise(
        take_axes, node.dims, arg, node.arg.dims,
        dims=node.arg.dims, target=node.dims,
        dtype=node.dtype, meta=np.empty((0,) * len(node.dims), node.dtype),
        align_arrays=False, name=f"view-{dask.base.tokenize(node.token, arg.chunks)}",
    )  # fmt: skip


def take_axes(
    block: Any, *, dims: tuple[str, ...], target: tuple[str, ...]
) -> NDArray[Any]:
    """Reorder the axes of a block; a contracted axis comes as a list of one block."""
    while isinstance(block, list):
        (block,) = block
    dropped = tuple(d for d in dims if d not in target)
    order = [dims.index(d) for d in (*target, *dropped)]
    return block.transpose(order)[(...,) + (0,) * len(dropped)]


def map_layer(node: Map, chunks: Chunks) -> da.Array:
    """Return the layer that applies a kernel to every block."""
    whole = {d: (n,) for arg in node.args for d, n in sizes(arg).items()}
    given = {**whole, **{d: chunks[d] for d in node.frame_dims}}
    args = [layered(arg, {d: given[d] for d in arg.dims}) for arg in node.args]
    return kernel_layer(node, args, [arg.dims for arg in node.args])


def kernel_layer(
    node: Map, args: list[da.Array], arg_dims: list[tuple[str, ...]]
) -> da.Array:
    """Return the Blockwise layer of a map over dask arrays with aligned blocks."""
    pairs = [x for arg, dims in zip(args, arg_dims, strict=True) for x in (arg, dims)]
    # Core axes that change need labels of their own, or blockwise would align them with
    # those of the arguments; layers without new axes fuse with the one below.
    n = sizes(node.args[0])
    changed = node.out_core != tuple((d, n[d]) for d in node.core_dims)
    new_axes = {f"out-{d}": n for d, n in node.out_core} if changed else {}
    core = tuple(new_axes) if changed else node.core_dims
    return da.blockwise(
        apply_kernel, (*node.frame_dims, *core), *pairs,
        kernel=node.kernel, arg_dims=tuple(arg_dims),
        target=(*node.frame_dims, *node.core_dims), params=dict(node.params),
        new_axes=new_axes,
        dtype=node.dtype, meta=np.empty((0,) * len(node.dims), node.dtype),
        align_arrays=False,
        name=f"{node.name}-{dask.base.tokenize(node.token, *(a.name for a in args))}",
    )  # fmt: skip


def apply_kernel(
    *blocks: Any,
    kernel: Any,
    arg_dims: tuple[tuple[str, ...], ...],
    target: tuple[str, ...],
    params: dict[str, Any],
) -> NDArray[Any]:
    """Bring the axes of all blocks into the kernel's order and call it."""
    arrays = []
    for block, dims in zip(blocks, arg_dims, strict=True):
        while isinstance(block, list):  # core axes are contracted: one block each
            (block,) = block
        arrays.append(aligned(block, dims, target))
    return kernel(*arrays, **params)
