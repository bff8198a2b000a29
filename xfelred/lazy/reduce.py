"""Reductions over frames: partial, combine, finish.

A reduction over an array with a recipe streams: one task reads, corrects and reduces
many frames of one module in sub-blocks of a few MiB. Any other dask array is reduced
block by block. How the work is cut depends on shapes only, and states are combined in
a fixed order, so that the result has the same bits on any scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xfelred.lazy.blocks import node_of
from xfelred.lazy.dask_seam import (
    Alias,
    GraphNode,
    HighLevelGraph,
    Key,
    Layer,
    MaterializedLayer,
    Task,
    TaskList,
    TaskRef,
)
from xfelred.lazy.guarded import GuardedArray
from xfelred.lazy.leaves import (
    Leaves,
    block_leaves,
    combine,
    finish,
    stream_leaves,
)
from xfelred.lazy.nodes import Const
from xfelred.reductions.reduction import Reduction

# States that one task combines: as many wait in memory, and a tree of 4096 parts is
# four levels deep.
FAN_IN = 8


def reduce_frames(
    reduction: Reduction[Any],
    array: xr.DataArray,
    *companions: xr.DataArray,
    dims: Sequence[str],
    results: Mapping[str, DTypeLike],
    new_dims: Mapping[str, int] | None = None,
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
    new_dims : mapping of str to int, optional
        Dims, and their lengths, that every result has behind those that stay.

    Returns
    -------
    dict of str to DataArray
        One array over the other dims and `new_dims` for every result, without
        attributes.
    """
    kept = tuple(str(d) for d in array.dims if d not in dims)
    wide = prod((new_dims or {}).values())
    # What is in memory needs no recipe, whose name is made from all of its values.
    known = array.chunks is not None
    nodes = [node_of(a) for a in (array, *companions)] if known else [None]
    leaves: Leaves
    if any(n is None for n in nodes) or isinstance(nodes[0], Const):
        leaves = block_leaves(reduction, [array, *companions], kept, tuple(dims), wide)
    else:
        some = [n for n in nodes if n]
        leaves = stream_leaves(reduction, some, kept, tuple(dims), wide)
    return graph_of(reduction, leaves, array, kept, results, dict(new_dims or {}))


class StateLayer(Layer):  # type: ignore[misc]
    """The states of every block of the result, one key for each result that asks.

    The graph is cut to what is asked before any task is made (`cull`), so a mean alone
    does not pay for the variance beside it.
    """

    def __init__(
        self,
        name: str,
        reduction: Reduction[Any],
        leaves: Leaves,
        results: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.name, self.reduction = name, reduction
        self.leaves, self.results = leaves, results
        self.tasks: dict[Key, GraphNode] | None = None

    # Our tasks are dask's objects, not tuples: there is nothing to convert.
    has_legacy_tasks = False

    def is_materialized(self) -> bool:
        return self.tasks is not None

    def get_output_keys(self) -> set[Any]:
        return {(self.name, r, *b) for r in self.results for b in self.blocks()}

    def blocks(self) -> Iterator[tuple[int, ...]]:
        return product(*(range(len(c)) for c in self.leaves.kept_chunks))

    def materialized(self) -> dict[Key, GraphNode]:
        if self.tasks is None:
            self.tasks = self.make(self.get_output_keys())
        return self.tasks

    def __getitem__(self, key: Key) -> GraphNode:
        return self.materialized()[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.materialized())

    def __len__(self) -> int:
        return len(self.materialized())

    def cull(self, keys: set[Any], _: object) -> tuple[Layer, dict[Key, set[Any]]]:
        """Return the tasks for the states that `keys` ask for, and no more."""
        tasks = self.make(
            {k for k in keys if isinstance(k, tuple) and k[0] == self.name}
        )
        return MaterializedLayer(tasks), {
            k: set(t.dependencies) for k, t in tasks.items()
        }

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        """Return leaves, combining tree and aliases for output keys."""
        wanted: dict[tuple[int, ...], set[str]] = {}
        for _, result, *block in keys:
            wanted.setdefault(tuple(block), set()).add(result)
        tasks: dict[Key, GraphNode] = {}
        # Sorted: sets have another order in every process, and graphs shall be equal.
        for block, results in sorted(wanted.items()):
            top = self.tree(tasks, block, frozenset(results))
            for result in sorted(results):
                key = (self.name, result, *block)
                tasks[key] = Alias(key, top)
        return tasks

    def tree(
        self, tasks: dict[Key, GraphNode], block: tuple[int, ...], needs: frozenset[str]
    ) -> Key:
        """Add the tasks for one block of the result; return the key of its state."""
        # What is needed is part of the key: a cluster may still hold a state that was
        # made for other results.
        label = "+".join(sorted(needs))
        level: list[Key] = []
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
                tasks[key] = Task(key, combine, self.reduction, refs)
                level.append(key)
            depth += 1
        return level[0]


def graph_of(
    reduction: Reduction[Any],
    leaves: Leaves,
    array: xr.DataArray,
    kept: tuple[str, ...],
    results: Mapping[str, DTypeLike],
    new_dims: dict[str, int],
) -> dict[str, xr.DataArray]:
    states = f"{type(reduction).__name__.lower()}-{leaves.token}"
    layer = StateLayer(states, reduction, leaves, tuple(results))
    below = HighLevelGraph.from_collections(states, layer, list(leaves.dependencies))
    coords = {
        k: c.variable for k, c in array.coords.items() if set(c.dims) <= set(kept)
    }
    # The first of the new dims may be one that the leaves are cut along.
    n_cut = len(leaves.kept_chunks) - len(kept)
    uncut = list(new_dims.values())[n_cut:]
    last = (0,) * len(uncut)
    out = {}
    for result, dtype in results.items():
        name = f"{result}-{leaves.token}"
        tasks = {
            (name, *block, *last): Task(
                (name, *block, *last),
                finish,
                leaves.reductions[block[-1]] if leaves.reductions else reduction,
                TaskRef((states, result, *block)),
                result,
            )
            for block in layer.blocks()
        }
        graph = HighLevelGraph(
            {**below.layers, name: MaterializedLayer(tasks)},
            {**below.dependencies, name: {states}},
        )
        chunks = (*leaves.kept_chunks, *((n,) for n in uncut))
        data = GuardedArray(graph, name, chunks, dtype=np.dtype(dtype))
        dims = (*kept, *new_dims)
        out[result] = xr.DataArray(data, dims=dims, coords=coords, name=result)
    return out
