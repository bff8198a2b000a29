"""What a graph will do, found out layer by layer without making its tasks.

A graph is followed from its results down to the files. What is needed of a layer is
kept as boxes of blocks (the product of block numbers along each axis), so that a layer
of a million blocks costs no more than one of ten. Only layers that hold their tasks
already are followed task by task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from math import ceil, prod
from typing import Any

import numpy as np

from xfelred.errors import ArgumentTypeError
from xfelred.lazy.boxes import (
    Box,
    as_blocks,
    blocks_in,
    boxes_of,
    full_box,
    positions,
    size,
    union,
)
from xfelred.lazy.dask_seam import (
    Blockwise,
    HighLevelGraph,
    Layer,
    TaskRef,
    calls,
    known_keys,
    optimize_blockwise,
)
from xfelred.lazy.indexing import Selector
from xfelred.lazy.layers import PlanBlocks, load_block
from xfelred.lazy.leaves import BlockMaker, StreamMaker
from xfelred.lazy.nodes import Map, sources
from xfelred.lazy.parts import plans_in
from xfelred.lazy.reduce import FAN_IN, StateLayer
from xfelred.lazy.source import ReadPlan

VALUE = 8  # bytes of a sum or a count in a state
PIECES = 16 << 20  # bytes in which a task that works piece by piece holds one source


@dataclass
class Need:
    """The part of a layer that is needed: boxes of blocks, or keys of tasks."""

    boxes: list[Box] = field(default_factory=list)
    keys: set[Any] = field(default_factory=set)
    whole: bool = False


@dataclass(frozen=True)
class LayerWork:
    """What one layer does.

    Attributes
    ----------
    tasks, reading : int
        Its tasks, and how many of them read files.
    plans : tuple of (ReadPlan, int)
        What is read, and how often.
    task_bytes, held_bytes : int
        Memory of one task, and of what waits for the layer above.
    """

    tasks: int
    reading: int = 0
    plans: tuple[tuple[ReadPlan, int], ...] = ()
    task_bytes: int = 0
    held_bytes: int = 0


Visit = tuple[LayerWork, dict[str, Need]]


def layer_work(graph: Any, names: Iterable[str], keys: set[Any]) -> list[LayerWork]:
    """Return what every layer of a graph has to do for some results.

    Parameters
    ----------
    graph : HighLevelGraph or dict
        A graph as collections have it, not yet optimised.
    names : iterable of str
        Arrays of which all blocks are wanted.
    keys : set
        Other tasks that are wanted.
    """
    if not isinstance(graph, HighLevelGraph):
        graph = HighLevelGraph.from_collections("graph", graph, dependencies=())
    names = tuple(names)
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

    def of(self, name: Any) -> str | None:
        """Return the layer, None for what is not in the graph (finished futures)."""
        if name in self.layers:
            return str(name)
        if self.found is None:
            self.found = {
                prefix(key): str(layer_name)
                for layer_name, layer in self.layers.items()
                if not isinstance(layer, (Blockwise, StateLayer))
                for key in layer
            }
        return self.found.get(name)


def prefix(key: Any) -> Any:
    """Return the name in the key of a task."""
    return key[0] if isinstance(key, tuple) else key


def key_needs(keys: Iterable[Any]) -> dict[str, Need]:
    """Return the need of some keys, by the name in them."""
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
        if owner == name and is_blocks(owners.layers[owner]):
            old.boxes += need.boxes
        else:
            old.keys |= {(name, *b) for box in need.boxes for b in blocks_in(box)}
        if need.whole and owner != name:
            old.keys |= {k for k in owners.layers[owner] if prefix(k) == name}


def is_blocks(layer: Layer) -> bool:
    """Tell whether needs of a layer are kept as boxes."""
    return isinstance(layer, Blockwise)


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
    return visit_tasks(graph, layer, name, need, seen)


# Layers of blocks that are computed one by one.


def visit_blockwise(layer: Blockwise, need: Need) -> Visit:
    everything = full_box(layer.dims[i] for i in layer.output_indices)
    if need.whole:
        boxes = [everything]
        if layer.output_blocks:
            boxes = boxes_of(as_blocks(layer.output_blocks))
    else:
        boxes = union([*need.boxes, *boxes_of(as_blocks(k[1:] for k in need.keys))])
    below: dict[str, Need] = {}
    plans = []
    for name, index in layer.indices:
        if index is None:
            if isinstance(name, TaskRef):
                below.setdefault(prefix(name.key), Need()).keys.add(name.key)
            continue
        for box in boxes:
            taken, times = argument_box(layer, box, index, layer.numblocks[name])
            dep = layer.io_deps.get(name)
            if dep is None:
                below.setdefault(name, Need()).boxes.append(taken)
            elif isinstance(dep, PlanBlocks):
                plans.append((plan_of(dep, taken), times))
    tasks = sum(map(size, boxes))
    return LayerWork(
        tasks, tasks * reads(plans), tuple(plans), block_bytes(layer)
    ), below


def block_bytes(layer: Blockwise) -> int:
    """Return the memory in which one task of a layer reads; 0 if it reads nothing.

    A map over recipes works piece by piece. Other layers hold what they read, and as
    much again for the result of what is done next, where dask has joined them with it.
    """
    blocks = [d for d in layer.io_deps.values() if isinstance(d, PlanBlocks)]
    if any(isinstance(name, Map) for name, index in layer.indices if index is None):
        return (len(blocks) + 1) * PIECES
    read = sum(prod(map(max, b.chunks)) * b.plan.dtype.itemsize for b in blocks)
    return read if layer.task.func is load_block else 2 * read


def argument_box(
    layer: Blockwise, box: Box, index: tuple[Any, ...], numblocks: tuple[int, ...]
) -> tuple[Box, int]:
    """Return the blocks of an argument that a box of blocks needs, and how often each.

    An argument without an axis of the result goes to every block along it.
    """
    axis = dict(zip(layer.output_indices, box, strict=True))
    taken = []
    along: set[Any] = set()
    for i, n in zip(index, numblocks, strict=True):
        if n == 1:
            taken.append(np.zeros(1, np.int64))
        elif i in axis:
            taken.append(axis[i])
            along.add(i)
        else:
            taken.append(np.arange(n))
    return tuple(taken), prod(len(axis[i]) for i in axis if i not in along)


def plan_of(blocks: PlanBlocks, box: Box) -> ReadPlan:
    index: list[Selector] = [slice(0, sum(c), 1) for c in blocks.chunks]
    for axis, numbers in zip(blocks.axes, box, strict=True):
        index[axis] = positions(blocks.chunks[axis], numbers)
    return blocks.plan.narrow(tuple(index))


# Layers of states of reductions.


def visit_states(layer: StateLayer, need: Need) -> Visit:
    keys = layer.get_output_keys() if need.whole else need.keys
    wanted: dict[tuple[int, ...], set[str]] = {}
    for _, result, *block in keys:
        wanted.setdefault(tuple(block), set()).add(result)
    if not wanted:
        return LayerWork(0), {}
    leaves = layer.leaves
    boxes = boxes_of(as_blocks(wanted))
    n_leaves = len(wanted) * leaves.n_parts
    tasks = n_leaves + len(wanted) * combining_tasks(leaves.n_parts)
    # Besides what the results are made of, a state has a count and a pivot.
    per_value = VALUE * (max(map(len, wanted.values())) + 2)
    state = prod(map(max, leaves.kept_chunks)) * per_value
    held = state * min(leaves.n_parts, FAN_IN)
    make = leaves.make
    if isinstance(make, StreamMaker):
        plans = tuple((p, 1) for box in boxes for p in streamed_plans(make, box))
        reading = n_leaves * reads(plans)
        memory = 2 * state + streamed_bytes(make)
        return LayerWork(tasks, reading, plans, memory, held), {}
    if isinstance(make, BlockMaker):
        below = {}
        for name, dims in zip(make.names, make.arg_dims, strict=True):
            below[name] = Need([block_argument(make, dims, box) for box in boxes])
        return LayerWork(tasks, task_bytes=2 * state, held_bytes=held), below
    raise ArgumentTypeError(f"nothing is known about the work of {type(make).__name__}")


def streamed_bytes(make: StreamMaker) -> int:
    """Return the memory in which one task reads and corrects its sub-blocks."""
    total = 0
    for source in (s for node in make.nodes for s in sources(node)):
        lengths = zip(source.dims, source.shape, strict=True)
        part = prod(min(make.inside.get(d, n), n) for d, n in lengths)
        total += part * source.dtype.itemsize
    return 3 * total


def combining_tasks(n_states: int) -> int:
    """Return how many tasks combine the states of one block of the result."""
    tasks = 0
    while n_states > 1:
        n_states = ceil(n_states / FAN_IN)
        tasks += n_states
    return tasks


def streamed_plans(make: StreamMaker, box: Box) -> Iterator[ReadPlan]:
    """Yield what is read for a box of blocks of a streamed reduction."""
    cut = {
        d: positions(make.chunks[d], numbers)
        for d, numbers in zip(make.kept, box, strict=True)
    }
    for source in (s for node in make.nodes for s in sources(node)):
        lengths = zip(source.dims, source.shape, strict=True)
        yield source.plan.narrow(tuple(cut.get(d, slice(0, n, 1)) for d, n in lengths))


def block_argument(make: BlockMaker, dims: tuple[str, ...], box: Box) -> Box:
    kept = dict(zip(make.kept, box, strict=True))
    return tuple(kept.get(d, np.arange(make.numblocks[d])) for d in dims)


# Layers that hold their tasks.


def visit_tasks(
    graph: HighLevelGraph, layer: Layer, name: str, need: Need, seen: set[Any]
) -> Visit:
    keys = set(need.keys)
    keys |= {(name, *b) for box in need.boxes for b in blocks_in(box)}
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


def reads(plans: Iterable[tuple[ReadPlan, int]]) -> bool:
    """Tell whether there is anything to read."""
    return any(entries(plan) for plan, _ in plans)


def entries(plan: ReadPlan) -> int:
    """Return the number of rows of datasets that a plan reads."""
    if not prod(plan.entry_shape):
        return 0
    per_shot = plan.patterns.sizes()[plan.pattern]
    modules = np.count_nonzero(plan.target >= 0, axis=1)
    return int(per_shot @ modules)
