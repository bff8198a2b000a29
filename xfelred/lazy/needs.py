"""What a graph will do, found out layer by layer without making its tasks.

A graph is followed from its results down to the files. Mostly all of a layer is needed,
and one of a million blocks costs no more than one of ten. Where some blocks are, or
where layers hold their tasks already, these are followed one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.lazy.dask_seam import (
    Blockwise,
    HighLevelGraph,
    Key,
    Layer,
    TaskRef,
    calls,
    known_keys,
    optimize_blockwise,
)
from xfelred.lazy.indexing import Selector, as_slice
from xfelred.lazy.kernel_layer import KernelCall
from xfelred.lazy.layers import PlanBlocks, load_block
from xfelred.lazy.nodes import Map, kernels
from xfelred.lazy.pairwise import PairLayer
from xfelred.lazy.parts import plans_in
from xfelred.lazy.reduce import ResultLayer, StateLayer
from xfelred.lazy.source import ReadPlan
from xfelred.lazy.state_work import visit_pairs, visit_results, visit_states
from xfelred.lazy.task_layer import TaskLayer
from xfelred.lazy.work import Block, LayerWork, Need, Visit, reads

PIECES = 16 << 20  # bytes in which a task that works piece by piece holds one source
# Layers whose tasks are not made to be counted; the first part of their keys is a name.
KNOWN = (Blockwise, StateLayer, ResultLayer, PairLayer)


def layer_work(
    graph: HighLevelGraph | Mapping[Key, object], names: Iterable[str], keys: set[Any]
) -> list[LayerWork]:
    """Return what every layer of a graph has to do for some results.

    The graph is as collections have it, not yet optimised; of the arrays `names` all
    blocks are wanted, and `keys` are other tasks that are.
    """
    if not isinstance(graph, HighLevelGraph):
        graph = HighLevelGraph.from_collections("graph", graph, dependencies=())
    names = tuple(names)
    # As dask does before it computes: chains of blocks become one task each.
    graph = optimize_blockwise(graph, keys=[*((n,) for n in names), *keys])
    owners = Owners(graph)
    needs: dict[str, Need] = {}
    for name in names:
        merge(needs, owners, {name: Need(whole=True)})
    merge(needs, owners, key_needs(keys))
    order = tuple(TopologicalSorter(graph.dependencies).static_order())
    found = []
    seen: set[Any] = set()
    for name in reversed(order):
        if name in needs:
            work, below = visit(graph, name, needs[name], seen)
            found.append(work)
            merge(needs, owners, below)
    return found


class Owners:
    """Which layer holds the tasks of a name."""

    def __init__(self, graph: HighLevelGraph) -> None:
        self.layers = graph.layers
        self.found: dict[Any, str] | None = None

    def of(self, name: Key) -> str | None:
        """Return the layer, None for what is not in the graph (finished futures)."""
        if name in self.layers:
            return str(name)
        if self.found is None:
            self.found = {
                prefix(key): str(layer_name)
                for layer_name, layer in self.layers.items()
                if not isinstance(layer, KNOWN)
                for key in layer
            }
        return self.found.get(name)


def prefix(key: Key) -> Any:
    return key[0] if isinstance(key, tuple) else key


def key_needs(keys: Iterable[Any]) -> dict[str, Need]:
    needs: dict[str, Need] = {}
    for key in keys:
        needs.setdefault(prefix(key), Need()).keys.add(key)
    return needs


def merge(needs: dict[str, Need], owners: Owners, more: dict[str, Need]) -> None:
    """Add `more` to the needs of the layers that hold these names."""
    for name, need in more.items():
        owner = owners.of(name)
        if owner is None:
            continue
        old = needs.setdefault(owner, Need())
        old.whole |= need.whole and owner == name
        old.keys |= need.keys
        old.labels |= need.labels
        if need.whole and owner != name:
            old.keys |= {k for k in owners.layers[owner] if prefix(k) == name}


def visit(graph: HighLevelGraph, name: str, need: Need, seen: set[Any]) -> Visit:
    """Return what a layer has to do, and what it needs from others.

    `seen` holds the tasks that were counted: results that dask has optimised one by one
    bring equal tasks in layers of their own.
    """
    layer = graph.layers[name]
    if isinstance(layer, Blockwise) and not any(
        d.produces_keys for d in layer.io_deps.values()
    ):
        return visit_blockwise(layer, need)
    if isinstance(layer, StateLayer):
        return visit_states(layer, need)
    if isinstance(layer, ResultLayer):
        return visit_results(layer, need)
    if isinstance(layer, PairLayer):
        return visit_pairs(layer, need)
    return visit_tasks(graph, layer, name, need, seen)


# Layers of blocks that are computed one by one.


def visit_blockwise(layer: Blockwise, need: Need) -> Visit:
    blocks: set[Block] | None = {k[1:] for k in need.keys}
    if need.whole:
        blocks = set(layer.output_blocks) if layer.output_blocks else None
    length = {i: layer.dims[i] for i in layer.output_indices}
    below: dict[str, Need] = {}
    plans: list[tuple[ReadPlan, int]] = []
    for name, index in layer.indices:
        if index is None:
            if isinstance(name, TaskRef):
                below.setdefault(prefix(name.key), Need()).keys.add(name.key)
            continue
        numblocks = dict(zip(index, layer.numblocks[name], strict=True))
        dep = layer.io_deps.get(name)
        if blocks is None and dep is None:
            below.setdefault(name, Need()).whole = True
        elif blocks is None and isinstance(dep, PlanBlocks):
            # An argument without an axis of the result goes to every block along it.
            along = {i for i, n in numblocks.items() if n > 1}
            plans.append(
                (dep.plan, prod(n for i, n in length.items() if i not in along))
            )
        elif blocks is not None:
            taken = Counter(
                block for b in blocks for block in argument_blocks(layer, numblocks, b)
            )
            if dep is None:
                below.setdefault(name, Need()).keys |= {(name, *b) for b in taken}
            elif isinstance(dep, PlanBlocks):
                plans += plans_of(dep, taken)
    tasks = prod(length.values()) if blocks is None else len(blocks)
    return LayerWork(
        tasks, tasks * reads(plans), tuple(plans), block_bytes(layer),
        calls=tuple(kernels_in(layer)),
    ), below  # fmt: skip


def kernels_in(layer: Blockwise) -> Iterator[Any]:
    """Yield the kernels of a layer of ours, as it is before dask joins it with more."""
    for name, index in layer.indices:
        if index is None and isinstance(name, Map):
            yield from kernels(name)
    call = getattr(layer.task, "func", None)
    if isinstance(call, KernelCall):
        yield call.kernel


def argument_blocks(
    layer: Blockwise, numblocks: dict[Any, int], block: Block
) -> Iterator[Block]:
    """Return the blocks of an argument that a block of the result needs."""
    at = dict(zip(layer.output_indices, block, strict=True))
    return product(
        *(
            (0,) if n == 1 else (at[i],) if i in at else range(n)
            for i, n in numblocks.items()
        )
    )


def plans_of(dep: PlanBlocks, taken: Counter[Block]) -> list[tuple[ReadPlan, int]]:
    axes = [np.unique(axis) for axis in np.array(list(taken)).reshape(len(taken), -1).T]
    often = set(taken.values())
    # A full grid of blocks is one plan: a million blocks cost as much as one.
    if len(often) == 1 and prod(map(len, axes)) == len(taken):
        return [(plan_of(dep, axes), often.pop())]
    return [(dep[block], times) for block, times in taken.items()]


def plan_of(dep: PlanBlocks, numbers: list[NDArray[np.integer[Any]]]) -> ReadPlan:
    index: list[Selector] = [slice(0, sum(c), 1) for c in dep.cut.chunks]
    for axis, some in zip(dep.cut.axes, numbers, strict=True):
        index[axis] = positions(dep.cut.chunks[axis], some)
    return dep.plan.narrow(tuple(index))


def positions(chunks: tuple[int, ...], numbers: Iterable[int]) -> Selector:
    edges = np.concatenate([[0], np.cumsum(chunks)])
    return as_slice(
        np.concatenate([np.arange(edges[i], edges[i + 1]) for i in numbers])
    )


def block_bytes(layer: Blockwise) -> int:
    """Return the memory in which one task of a layer reads; 0 if it reads nothing.

    A map over recipes works piece by piece. Other layers hold what they read, and as
    much again for the result of what is done next, where dask has joined them with it.
    """
    blocks = [d for d in layer.io_deps.values() if isinstance(d, PlanBlocks)]
    if any(isinstance(name, Map) for name, index in layer.indices if index is None):
        return (len(blocks) + 1) * PIECES
    read = sum(prod(map(max, b.cut.chunks)) * b.plan.dtype.itemsize for b in blocks)
    return read if layer.task.func is load_block else 2 * read


def is_recipe(layer: Layer) -> bool:
    """Tell whether the tasks of a layer read and compute blocks of a recipe."""
    blocks = layer.io_deps.values() if isinstance(layer, Blockwise) else ()
    return any(isinstance(b, PlanBlocks) for b in blocks)


def is_ours(layer: Layer) -> bool:
    if not isinstance(layer, Blockwise):
        return isinstance(layer, TaskLayer)
    function = getattr(layer.task, "func", None)
    return (getattr(function, "__module__", None) or "").startswith("xfelred.")


# Layers that hold their tasks.


def visit_tasks(
    graph: HighLevelGraph, layer: Layer, name: str, need: Need, seen: set[Any]
) -> Visit:
    keys = set(need.keys)
    if need.whole:
        keys |= {k for k in layer.get_output_keys() if prefix(k) == name}
    culled, dependencies = layer.cull(keys, known_keys(graph, name))
    outside = {d for deps in dependencies.values() for d in deps if d not in culled}
    tasks = [t for key, t in culled.items() if calls(t) and key not in seen]
    seen |= set(culled)
    plans, reading = [], 0
    for task in tasks:
        read = list(plans_in(task))
        plans += [(plan, 1) for plan in read]
        reading += reads((plan, 1) for plan in read)
    sizes = (prod(plan.shape) * plan.dtype.itemsize for plan, _ in plans)
    largest = max(sizes, default=0)
    return LayerWork(len(tasks), reading, tuple(plans), largest), key_needs(outside)
