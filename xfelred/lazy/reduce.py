"""Reductions over frames: partial, combine, finish.

A reduction over an array with a recipe streams: one task reads, corrects and reduces
many frames of one module in sub-blocks of a few MiB. Any other dask array is reduced
block by block. How the work is cut depends on shapes only, and states are combined in
a fixed order, so that the result has the same bits on any scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
from dask._task_spec import List as TaskList
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from numpy.typing import NDArray

from xfelred.lazy.blocks import chunks_of, node_of
from xfelred.lazy.nodes import (
    Const,
    Node,
    aligned,
    attach,
    detach,
    evaluate,
    narrow,
    sizes,
)
from xfelred.lazy.partition import partition, regions

FAN_IN = 8  # states that one task combines

State = dict[str, NDArray[Any]]


class Reduction(Protocol):
    """The three pieces of a reduction; frozen, picklable and small.

    `needs` names the results that are wanted, so that a state holds no more than that.
    """

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[Any]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        """Return `state` with more blocks reduced along `axes`, or a first state."""

    def combine(self, states: Sequence[State]) -> State:
        """Return one state for several; the order counts; inputs stay as they are."""

    def finish(self, state: State, result: str) -> NDArray[Any]:
        """Return one result."""


def reduce_frames(
    reduction: Reduction,
    array: xr.DataArray,
    *companions: xr.DataArray,
    dims: Sequence[str],
    results: Mapping[str, Any],
) -> dict[str, xr.DataArray]:
    """Reduce an array along `dims`, lazily, in one pass over the data.

    Parameters
    ----------
    reduction : Reduction
        What to do.
    array : DataArray
        Array in memory or lazy.
    *companions : DataArray
        Arrays whose dims are among those of `array`; the reduction gets their blocks
        with the same axes, of length 1 where they lack one.
    dims : sequence of str
        Dims to reduce.
    results : mapping of str to dtype
        Names of the results and their dtypes. Computing one of them does the work
        that this one needs; computing several at once shares it.

    Returns
    -------
    dict of str to DataArray
        One array over the other dims for every result, without attributes.
    """
    kept = tuple(str(d) for d in array.dims if d not in dims)
    nodes = [node_of(a) for a in (array, *companions)]
    leaves: Leaves
    if any(n is None for n in nodes) or isinstance(nodes[0], Const):
        leaves = block_leaves(reduction, [array, *companions], kept, tuple(dims))
    else:
        leaves = stream_leaves(reduction, [n for n in nodes if n], kept, tuple(dims))
    return graph_of(reduction, leaves, array, kept, results)


@dataclass(frozen=True)
class Leaves:
    """The tasks at the bottom of a reduction.

    `kept_chunks` are the blocks of the result, `n_parts` is the number of states that
    each of them is combined from; `make` returns the tasks for one state: the key of
    its task first, then whatever else that task needs.
    """

    kept_chunks: tuple[tuple[int, ...], ...]
    n_parts: int
    token: str
    make: LeafMaker
    dependencies: tuple[da.Array, ...] = ()


class LeafMaker(Protocol):
    """Make the task of part `part` of block `block` of the result."""

    def __call__(
        self, key: Any, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Any, GraphNode]: ...


class StateLayer(Layer):  # type: ignore[misc]
    """The states of every block of the result, one key for each result that asks.

    The graph is cut to what is asked before any task is made (`cull`), so a mean alone
    does not pay for the variance beside it.
    """

    def __init__(
        self, name: str, reduction: Reduction, leaves: Leaves, results: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.name, self.reduction = name, reduction
        self.leaves, self.results = leaves, results
        self.tasks: dict[Any, GraphNode] | None = None

    has_legacy_tasks = False

    def is_materialized(self) -> bool:
        return self.tasks is not None

    def get_output_keys(self) -> set[Any]:
        return {(self.name, r, *b) for r in self.results for b in self.blocks()}

    def blocks(self) -> Iterator[tuple[int, ...]]:
        """Return the position of every block of the result."""
        return product(*(range(len(c)) for c in self.leaves.kept_chunks))

    def materialized(self) -> dict[Any, GraphNode]:
        """Return the tasks for all results."""
        if self.tasks is None:
            self.tasks = self.make(self.get_output_keys())
        return self.tasks

    def __getitem__(self, key: Any) -> GraphNode:
        return self.materialized()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.materialized())

    def __len__(self) -> int:
        return len(self.materialized())

    def cull(self, keys: set[Any], _: Any) -> tuple[Layer, dict[Any, set[Any]]]:
        """Return the tasks for the states that `keys` ask for, and no more."""
        tasks = self.make(
            {k for k in keys if isinstance(k, tuple) and k[0] == self.name}
        )
        return MaterializedLayer(tasks), {
            k: set(t.dependencies) for k, t in tasks.items()
        }

    def make(self, keys: set[Any]) -> dict[Any, GraphNode]:
        """Return leaves, combining tree and aliases for output keys."""
        wanted: dict[tuple[int, ...], set[str]] = {}
        for _, result, *block in keys:
            wanted.setdefault(tuple(block), set()).add(result)
        tasks: dict[Any, GraphNode] = {}
        for block, results in sorted(wanted.items()):
            top = self.tree(tasks, block, frozenset(results))
            for result in sorted(results):
                key = (self.name, result, *block)
                tasks[key] = Alias(key, top)
        return tasks

    def tree(
        self, tasks: dict[Any, GraphNode], block: tuple[int, ...], needs: frozenset[str]
    ) -> Any:
        """Add the tasks for one block of the result; return the key of its state."""
        # What is needed is part of the key: a cluster may still hold a state that was
        # made for other results.
        label = "+".join(sorted(needs))
        level = []
        for part in range(self.leaves.n_parts):
            key = (f"{self.name}-partial", label, *block, part)
            tasks |= self.leaves.make(key, block, part, needs)
            level.append(key)
        depth = 0
        while len(level) > 1:
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = []
            for i, group in enumerate(groups):
                key = (f"{self.name}-combine", label, *block, depth, i)
                refs = TaskList(*(TaskRef(k) for k in group))
                tasks[key] = Task(key, self.reduction.combine, refs)
                level.append(key)
            depth += 1
        return level[0]


def graph_of(
    reduction: Reduction,
    leaves: Leaves,
    array: xr.DataArray,
    kept: tuple[str, ...],
    results: Mapping[str, Any],
) -> dict[str, xr.DataArray]:
    """Return one lazy array per result on a shared layer of states."""
    states = f"{type(reduction).__name__.lower()}-{leaves.token}"
    layer = StateLayer(states, reduction, leaves, tuple(results))
    below = HighLevelGraph.from_collections(states, layer, list(leaves.dependencies))
    coords = {
        k: c.variable for k, c in array.coords.items() if set(c.dims) <= set(kept)
    }
    out = {}
    for result, dtype in results.items():
        name = f"{result}-{leaves.token}"
        tasks = {
            (name, *block): Task(
                (name, *block),
                reduction.finish,
                TaskRef((states, result, *block)),
                result,
            )
            for block in layer.blocks()
        }
        graph = HighLevelGraph(
            {**below.layers, name: MaterializedLayer(tasks)},
            {**below.dependencies, name: {states}},
        )
        data = da.Array(graph, name, leaves.kept_chunks, dtype=np.dtype(dtype))
        out[result] = xr.DataArray(data, dims=kept, coords=coords, name=result)
    return out


@dataclass(frozen=True)
class StreamMaker:
    """Make tasks that read, correct and reduce one region of a recipe."""

    reduction: Reduction
    nodes: tuple[Node, ...]
    chunks: dict[str, tuple[int, ...]]
    inside: dict[str, int]
    kept: tuple[str, ...]
    reduced: tuple[str, ...]
    name: str

    def __call__(
        self, key: Any, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Any, GraphNode]:
        """Return the task, and the constants that it shares with its neighbours."""
        counts = [len(self.chunks[d]) for d in self.reduced]
        at = dict(zip(self.reduced, np.unravel_index(part, counts), strict=True))
        at |= dict(zip(self.kept, block, strict=True))
        region = {d: chunk_slice(self.chunks[d], int(i)) for d, i in at.items()}
        constants: list[Const] = []
        skeletons = []
        for node in self.nodes:
            cut, _ = narrow(node, {d: s for d, s in region.items() if d in node.dims})
            skeletons.append(detach(cut, constants))
        tasks: dict[Any, GraphNode] = {}
        refs = []
        for constant in constants:
            name = (f"{self.name}-constant", constant.token)
            tasks[name] = DataNode(name, constant.array)
            refs.append(TaskRef(name))
        tasks[key] = Task(
            key, stream_partial, self.reduction, tuple(skeletons), self.inside,
            self.kept, self.reduced, needs, *refs,
        )  # fmt: skip
        return tasks


def chunk_slice(chunks: tuple[int, ...], i: int) -> slice:
    """Return the slice of chunk `i`."""
    start = sum(chunks[:i])
    return slice(start, start + chunks[i], 1)


def stream_partial(
    reduction: Reduction,
    nodes: tuple[Any, ...],
    inside: dict[str, int],
    kept: tuple[str, ...],
    reduced: tuple[str, ...],
    needs: frozenset[str],
    *constants: NDArray[Any],
) -> State:
    """Reduce a whole recipe sub-block by sub-block through reused buffers."""
    main, *others = (attach(node, constants) for node in nodes)
    shape, dims = sizes(main), main.dims
    axes = tuple(i for i, d in enumerate(dims) if d in reduced)
    scratch: dict[int, NDArray[Any]] = {}
    states = []
    for outer in regions(shape, inside, kept):
        state: State | None = None
        for inner in regions(shape, inside, reduced):
            region = outer | inner
            blocks = [
                aligned(
                    evaluate(node, {d: region[d] for d in node.dims}, scratch),
                    node.dims,
                    dims,
                )
                for node in (main, *others)
            ]
            state = reduction.partial(state, blocks, axes, needs)
        if state is not None:
            states.append(state)
    return joined(states, kept, shape, inside)


def joined(
    states: list[State],
    kept: tuple[str, ...],
    shape: dict[str, int],
    inside: dict[str, int],
) -> State:
    """Put the states of successive kept regions together again.

    `partition` cuts at most the first of the kept axes inside a task.
    """
    if len(states) == 1:
        return states[0]
    axis = next(i for i, d in enumerate(kept) if inside[d] < shape[d])
    return {k: np.concatenate([s[k] for s in states], axis=axis) for k in states[0]}


def stream_leaves(
    reduction: Reduction,
    nodes: list[Node],
    kept: tuple[str, ...],
    reduced: tuple[str, ...],
) -> Leaves:
    """Return leaves that stream through a recipe."""
    cut = partition(nodes[0], kept)
    # In the order of the array, so that parts follow each other as shots do.
    reduced = tuple(d for d in nodes[0].dims if d in reduced)
    token = tokenize(reduction, [n.token for n in nodes], cut.chunks, kept)
    make = StreamMaker(
        reduction,
        tuple(nodes),
        cut.chunks,
        cut.inside,
        kept,
        reduced,
        f"reduce-{token}",
    )
    n_parts = prod(len(cut.chunks[d]) for d in reduced)
    return Leaves(tuple(cut.chunks[d] for d in kept), n_parts, token, make)


@dataclass(frozen=True)
class BlockMaker:
    """Make tasks that reduce one block of ordinary dask arrays."""

    reduction: Reduction
    names: tuple[str, ...]
    arg_dims: tuple[tuple[str, ...], ...]
    numblocks: dict[str, int]
    kept: tuple[str, ...]
    reduced: tuple[str, ...]

    def __call__(
        self, key: Any, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Any, GraphNode]:
        """Return the task."""
        counts = [self.numblocks[d] for d in self.reduced]
        at = dict(zip(self.reduced, np.unravel_index(part, counts), strict=True))
        at |= dict(zip(self.kept, block, strict=True))
        refs = (
            TaskRef((name, *(int(at[d]) for d in dims)))
            for name, dims in zip(self.names, self.arg_dims, strict=True)
        )
        task = Task(
            key,
            block_partial,
            self.reduction,
            self.arg_dims,
            self.reduced,
            needs,
            *refs,
        )
        return {key: task}


def block_partial(
    reduction: Reduction,
    arg_dims: tuple[tuple[str, ...], ...],
    reduced: tuple[str, ...],
    needs: frozenset[str],
    *blocks: NDArray[Any],
) -> State:
    """Reduce one block."""
    dims = arg_dims[0]
    axes = tuple(i for i, d in enumerate(dims) if d in reduced)
    args = [aligned(b, d, dims) for b, d in zip(blocks, arg_dims, strict=True)]
    return reduction.partial(None, args, axes, needs)


def block_leaves(
    reduction: Reduction,
    arrays: list[xr.DataArray],
    kept: tuple[str, ...],
    reduced: tuple[str, ...],
) -> Leaves:
    """Return leaves that reduce the blocks of ordinary dask arrays."""
    chunks = chunks_of(arrays[0])
    reduced = tuple(str(d) for d in arrays[0].dims if d in reduced)
    lazy = [
        da.asarray(a.data).rechunk(tuple(chunks[str(d)] for d in a.dims))
        for a in arrays
    ]
    arg_dims = tuple(tuple(str(d) for d in a.dims) for a in arrays)
    numblocks = {d: len(c) for d, c in chunks.items()}
    make = BlockMaker(
        reduction, tuple(a.name for a in lazy), arg_dims, numblocks, kept, reduced
    )
    token = tokenize(reduction, make.names, kept, reduced)
    n_parts = prod(numblocks[d] for d in reduced)
    kept_chunks = tuple(chunks[d] for d in kept)
    return Leaves(kept_chunks, n_parts, token, make, tuple(lazy))
