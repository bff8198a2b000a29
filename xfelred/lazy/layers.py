"""Dask layers for recipes: one for every source and one for every chain of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, product
from typing import Any

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.memory import is_uniform, page_backed
from xfelred.lazy.cursor import load
from xfelred.lazy.dask_seam import (
    BlockwiseDep,
    DataNode,
    GraphNode,
    HighLevelGraph,
    Key,
    Layer,
    MaterializedLayer,
    Task,
    TaskRef,
    blockwise,
    slices_from_chunks,
)
from xfelred.lazy.evaluate import Memory, evaluate, with_dims
from xfelred.lazy.guarded import GuardedArray, guarded
from xfelred.lazy.nodes import Const, Map, Node, Pending, Region, Source, View, sizes
from xfelred.lazy.partition import block_pieces, regions
from xfelred.lazy.parts import Skeleton, attach, detach
from xfelred.lazy.rooms import Place, Room, blocks_of, settle
from xfelred.lazy.source import ReadPlan

Chunks = Mapping[str, tuple[int, ...]]
# What a task is given: a list of one, once for each axis that has no blocks.
Block = NDArray[Any] | ReadPlan | list["Block"]


def layered(node: Node, chunks: Chunks) -> da.Array:
    """Return one Blockwise layer for every source and every kernel of a recipe."""
    match node:
        case Source():
            found = source_layer(node, tuple(chunks[d] for d in node.dims))
        case Const():
            return const_layer(node, tuple(chunks[d] for d in node.dims))
        case View():
            found = view_layer(node, chunks)
        case Map():
            found = map_layer(node, chunks)
    found.dask.layers[found.name].recipe = Recipe(node, found.chunks)
    return found


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a layer evaluates block by block, for who makes several layers together.

    It stays in this process: plans of a whole run are large.
    """

    node: Node | None
    chunks: tuple[tuple[int, ...], ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipe, (None, ())

    def placed(self, name: str, room: Key) -> dict[Key, GraphNode] | None:
        """Return tasks that compute blocks where they will lie; `name` is theirs."""
        if self.node is None:
            return None
        leaves: list[Source | Const] = []
        skeleton = detach(self.node, leaves, (Source, Const))
        chunks = dict(zip(self.node.dims, self.chunks, strict=True))
        some = zip(leaves, cut_dims(self.node, set(cuttable(self.node))), strict=True)
        cuts = [cut_of(leaf, chunks, dims) for leaf, dims in some]
        # What is to be computed first is in the graph: the old layer needed it, too.
        given = [
            const_layer(leaf, cut.chunks) if isinstance(leaf, Pending) else leaf
            for leaf, cut in zip(leaves, cuts, strict=True)
        ]
        places = slices_from_chunks(self.chunks)
        tasks: dict[Key, GraphNode] = {}
        for block, place in zip(blocks_of(self.chunks), places, strict=True):
            at = dict(zip(self.node.dims, block, strict=True))
            own = [
                cut.part(one, tuple(at[leaf.dims[i]] for i in cut.axes))
                for one, leaf, cut in zip(given, leaves, cuts, strict=True)
            ]
            key = (name, *block)
            tasks[key] = Task(key, place_block, skeleton, TaskRef(room), place, *own)
        return tasks


def recipe_of(layer: Layer) -> Recipe | None:
    """Return the recipe of a layer; None where it has none, or dask changed it."""
    found: Recipe | None = getattr(layer, "recipe", None)
    return found if found and found.node is not None else None


@dataclass(frozen=True)
class Cut:
    """How blocks cut a leaf of a recipe.

    `axes` are those that blocks are numbered along; there is one chunk along any other.
    """

    chunks: tuple[tuple[int, ...], ...]
    axes: tuple[int, ...]

    @cached_property
    def edges(self) -> list[list[int]]:
        """First element of every block, and the end, along every axis."""
        return [[0, *accumulate(c)] for c in self.chunks]

    def region(self, block: tuple[int, ...]) -> tuple[slice, ...]:
        at = dict(zip(self.axes, block, strict=True))
        return tuple(
            slice(e[at.get(a, 0)], e[at.get(a, 0) + 1], 1)
            for a, e in enumerate(self.edges)
        )

    def plan(self, whole: ReadPlan, block: tuple[int, ...]) -> ReadPlan:
        # A task travels to its worker: it shall not name all files of the run.
        return whole.narrow(self.region(block)).compact()

    def part(
        self, leaf: Source | Const | da.Array, block: tuple[int, ...]
    ) -> ReadPlan | NDArray[Any] | TaskRef:
        """Return what a task needs of a leaf, or of an array for it, for one block."""
        if isinstance(leaf, da.Array):
            at = dict(zip(self.axes, block, strict=True))
            return TaskRef((leaf.name, *(at.get(i, 0) for i in range(leaf.ndim))))
        if isinstance(leaf, Const):
            return leaf.array[self.region(block)]
        return self.plan(leaf.plan, block)


@dataclass(frozen=True)
class PlanBlocks(BlockwiseDep):  # type: ignore[misc]
    """The plan of every block, cut out of the whole plan when a task is made."""

    plan: ReadPlan
    cut: Cut
    produces_tasks: bool = False

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return what tells this from others; tuples of many numbers are slow here."""
        cut = self.cut
        return (self.plan.token, cut.axes, *(np.asarray(c) for c in cut.chunks))

    @property
    def numblocks(self) -> tuple[int, ...]:
        return tuple(len(self.cut.chunks[a]) for a in self.cut.axes)

    def __getitem__(self, block: tuple[int, ...]) -> ReadPlan:
        return self.cut.plan(self.plan, block)


def source_layer(node: Source, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    index = tuple(range(len(chunks)))
    blocks = PlanBlocks(node.plan, Cut(chunks, index))
    name = f"read-{dask.base.tokenize(blocks)}"
    layer = blockwise(load_block, name, index, blocks, index, numblocks={})
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[])
    return GuardedArray(graph, name, chunks, dtype=node.dtype)


def load_block(plan: ReadPlan) -> NDArray[Any]:
    return load(plan)


def const_layer(node: Const, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return the layer that holds a constant, cut as the blocks that it goes to."""
    if isinstance(node, Pending):
        return node.array.rechunk(chunks)  # type: ignore[attr-defined]
    # All tasks of a name must be cut alike.
    name = f"constant-{dask.base.tokenize(node.token, chunks)}"
    if is_uniform(node.array):
        number = node.array.flat[0]
        return guarded(
            da.full(node.shape, number, node.dtype, chunks=chunks, name=name)
        )
    keys = product((name,), *(range(len(c)) for c in chunks))
    # da.from_array would copy all of it, for every function that is applied.
    tasks = {
        key: DataNode(key, node.array[part])
        for key, part in zip(keys, slices_from_chunks(chunks), strict=True)
    }
    graph = HighLevelGraph({name: MaterializedLayer(tasks)}, {name: set()})
    return GuardedArray(graph, name, chunks, dtype=node.dtype)


def view_layer(node: View, chunks: Chunks) -> da.Array:
    """Return the layer that reorders axes and drops axes of length 1."""
    arg = layered(node.arg, {d: chunks.get(d, (1,)) for d in node.arg.dims})
    return da.blockwise(
        take_axes, node.dims, arg, node.arg.dims,
        dims=node.arg.dims, target=node.dims,
        new_axes={d: 1 for d in node.dims if d not in node.arg.dims},
        dtype=node.dtype, meta=np.empty((0,) * len(node.dims), node.dtype),
        align_arrays=False, name=f"view-{dask.base.tokenize(node.token, arg.chunks)}",
    )  # fmt: skip


def take_axes(
    block: Block, *, dims: tuple[str, ...], target: tuple[str, ...]
) -> NDArray[Any]:
    """Reorder the axes of a block; a contracted axis comes as a list of one block."""
    return with_dims(only(block), dims, target)


def map_layer(node: Map, chunks: Chunks) -> da.Array:
    """Return the layer in which a task reads and computes one block of a map.

    The block is made in pieces of a few MiB: what is read, and what the kernels below
    return, never stands in memory as a whole.
    """
    leaves: list[Source | Const] = []
    skeleton = detach(node, leaves, (Source, Const))
    out_core = tuple(f"out-{d}" for d, _ in node.out_core)
    pairs: list[Any] = [skeleton, None]
    arrays, numblocks = [], {}
    for leaf, cut in zip(leaves, cut_dims(node, set(node.frame_dims)), strict=True):
        blocks = cut_of(leaf, chunks, cut)
        if isinstance(leaf, Source):
            axes = tuple(leaf.dims[i] for i in blocks.axes)
            pairs += [PlanBlocks(leaf.plan, blocks), axes]
        else:
            array = const_layer(leaf, blocks.chunks)
            arrays.append(array)
            numblocks[array.name] = array.numblocks
            pairs += [array.name, leaf.dims]
    shape = tuple(
        chunks[d] if d in node.frame_dims else (n,) for d, n in sizes(node).items()
    )
    # Views may have added axes, of length 1, which nothing below has.
    known = {d for leaf in leaves for d in leaf.dims}
    absent = [d for d in node.frame_dims if d not in known]
    name = f"{node.name}-{dask.base.tokenize(node.token, shape)}"
    layer = blockwise(
        compute_block, name, (*node.frame_dims, *out_core), *pairs,
        numblocks=numblocks, new_axes=dict.fromkeys((*out_core, *absent), 1),
    )  # fmt: skip
    graph = HighLevelGraph.from_collections(name, layer, dependencies=arrays)
    return GuardedArray(graph, name, shape, dtype=node.dtype)


def cut_of(leaf: Source | Const, chunks: Chunks, cut: set[str]) -> Cut:
    """Return how blocks cut a leaf, of which they cut some axes."""
    given = tuple(chunks[d] if d in cut else (n,) for d, n in sizes(leaf).items())
    return Cut(given, tuple(i for i, d in enumerate(leaf.dims) if d in cut))


def pick_layer(
    array: da.Array, index: tuple[int | slice, ...], lengths: Mapping[int, int]
) -> da.Array:
    """Return the layer that takes a part of each block, all of them alike.

    `lengths` are those of axes of which a slice is taken. Dask would make a task for
    each block at once.
    """
    kept = tuple(i for i, s in enumerate(index) if isinstance(s, slice))
    return guarded(
        da.blockwise(
            take_part, kept, array, range(array.ndim), index=index,
            adjust_chunks={i: (n,) for i, n in lengths.items()},
            dtype=array.dtype, meta=np.empty((0,) * len(kept), array.dtype),
            align_arrays=False,
            name=f"part-{dask.base.tokenize(array.name, index)}",
        )
    )  # fmt: skip


def take_part(block: Block, *, index: tuple[int | slice, ...]) -> NDArray[Any]:
    found: NDArray[Any] = only(block)[index]
    return found


def cut_dims(node: Node, dims: set[str]) -> list[set[str]]:
    """Return, for every leaf, which of some axes of a node it has as well.

    An axis from which one position was taken may still be there below, with length 1.
    """
    match node:
        case View():
            return cut_dims(node.arg, dims & set(node.dims))
        case Map():
            return [
                found
                for arg in node.args
                for found in cut_dims(arg, dims & set(arg.dims))
            ]
        case _:
            return [dims & set(node.dims)]


def cuttable(node: Node) -> tuple[str, ...]:
    """Return the axes along which a node may have several blocks."""
    match node:
        case View():
            below = cuttable(node.arg)
            return tuple(d for d in node.dims if d in below or d not in node.arg.dims)
        case Map():
            return node.frame_dims
        case _:
            return node.dims


def compute_block(skeleton: Skeleton, *parts: Block) -> NDArray[Any]:
    node = attach(skeleton, [only(part) for part in parts])
    todo = pieces_of(node)
    if len(todo) == 1:
        return evaluate(node, todo[0], Memory())
    # Blocks live until all are there; on the heap they would stay afterwards.
    return compute_into(node, todo, page_backed(node.shape, node.dtype))


def place_block(
    skeleton: Skeleton, room: Room, place: Place, *parts: NDArray[Any] | ReadPlan
) -> NDArray[Any]:
    """Compute a block where it will lie in the whole result."""
    node, out = attach(skeleton, parts), room.at(place)
    if out is None:  # another process
        out = page_backed(node.shape, node.dtype)
    # A view has the same numbers.
    here = out
    while isinstance(node, View):
        here = with_dims(here, node.dims, node.arg.dims)
        node = node.arg
    match node:
        case Source():
            read_into(node.plan, here)
        case Map():
            compute_into(node, pieces_of(node), here)
        case _:
            here[...] = node.array
    return out


def read_into(plan: ReadPlan, out: NDArray[Any]) -> None:
    lead = out.reshape((-1, *out.shape[len(plan.lead_shape) :]))
    if np.may_share_memory(lead, out) or not out.size:
        load(plan, out)
    else:
        out[...] = load(plan)


def pieces_of(node: Map) -> list[Region]:
    return list(regions(sizes(node), block_pieces(node), node.dims))


def compute_into(node: Map, todo: list[Region], out: NDArray[Any]) -> NDArray[Any]:
    memory = Memory()
    for region in todo:
        part = out[tuple(region[d] for d in node.dims)]
        settle(evaluate(node, region, memory, part), part)
    return out


def only(block: Block) -> Any:
    """Return the one block that an axis without blocks comes as a list of."""
    while isinstance(block, list):
        (block,) = block
    return block
