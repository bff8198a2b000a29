"""What a graph will do, found out layer by layer without making its tasks.

A graph is followed from its results down to the files. Mostly all of a layer is needed,
and one of a million blocks costs no more than one of ten. Where some blocks are, or
where layers hold their tasks already, these are followed one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import product
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentTypeError
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
from xfelred.lazy.layers import PlanBlocks, load_block
from xfelred.lazy.leaves import BlockMaker, StreamMaker
from xfelred.lazy.nodes import Map, sources
from xfelred.lazy.parts import plans_in
from xfelred.lazy.reduce import FAN_IN, ResultLayer, StateLayer
from xfelred.lazy.source import ReadPlan
from xfelred.lazy.task_layer import TaskLayer

VALUE = 8  # bytes of a sum or a count in a state
PIECES = 16 << 20  # bytes in which a task that works piece by piece holds one source

Block = tuple[int, ...]


@dataclass
class Need:
    """The part of a layer that is needed: some keys, or all of it.

    Of a layer of states, `labels` are results of which all blocks are needed.
    """

    keys: set[Any] = field(default_factory=set)
    whole: bool = False
    labels: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class LayerWork:
    """What one layer does: how many tasks, and how many of them read files.

    `plans` is what is read, and how often; `task_bytes` the memory of one task, and
    `held_bytes` that of what waits for the layer above.
    """

    tasks: int
    reading: int = 0
    plans: tuple[tuple[ReadPlan, int], ...] = ()
    task_bytes: int = 0
    held_bytes: int = 0


Visit = tuple[LayerWork, dict[str, Need]]


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
                if not isinstance(layer, (Blockwise, StateLayer, ResultLayer))
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
    work = LayerWork(tasks, tasks * reads(plans), tuple(plans), block_bytes(layer))
    return work, below


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
    index: list[Selector] = [slice(0, sum(c), 1) for c in dep.chunks]
    for axis, some in zip(dep.axes, numbers, strict=True):
        index[axis] = positions(dep.chunks[axis], some)
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
    read = sum(prod(map(max, b.chunks)) * b.plan.dtype.itemsize for b in blocks)
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


# Layers of states of reductions.


def visit_results(layer: ResultLayer, need: Need) -> Visit:
    states, label = layer.states, layer.end.label
    if need.whole:
        tasks = prod(map(len, layer.chunks))
        return LayerWork(tasks), {states.name: Need(labels={label})}
    n = len(states.leaves.kept_chunks)
    blocks = {key[1 : 1 + n] for key in need.keys - {layer.room}}
    below = Need({(states.name, label, *block) for block in blocks})
    return LayerWork(len(blocks)), {states.name: below}


@dataclass(frozen=True)
class Wanted:
    """Blocks of the result of a reduction: how many, which, and the most labels of one.

    Blocks are not told apart (none in `blocks`) where all are wanted.
    """

    number: int
    labels: int
    blocks: tuple[Block, ...] = ()


def wanted_of(layer: StateLayer, need: Need) -> Wanted:
    labels = {e.label for e in layer.ends} if need.whole else need.labels
    number = prod(map(len, layer.leaves.kept_chunks))
    keys = {k for k in need.keys if k[1] not in labels}
    if labels and not layer.wanted(keys):
        return Wanted(number, len(labels))
    keys |= {(layer.name, label, *b) for label in labels for b in layer.blocks()}
    found = layer.wanted(keys)
    most = max(map(len, found.values()), default=0)
    return Wanted(len(found), most, tuple(found) if len(found) < number else ())


def visit_states(layer: StateLayer, need: Need) -> Visit:
    wanted = wanted_of(layer, need)
    if not wanted.number:
        return LayerWork(0), {}
    leaves = layer.leaves
    n_leaves = wanted.number * leaves.n_parts
    tasks = n_leaves + wanted.number * combining_tasks(leaves.n_parts)
    in_turn = layer.in_turn
    if in_turn is not None:
        # Of every block: to make it, to add it to each tile and to tell so, its end.
        some = wanted.blocks or layer.blocks()
        each = (2 * len(in_turn.tiles(b)[1]) + 2 for b in some)
        tasks = leaves.n_parts * sum(each) + wanted.number
    # Besides what the results are made of, a state has a count and a pivot.
    per_value = VALUE * (wanted.labels + 2)
    state = prod(map(max, layer.chunks)) * per_value
    held = state * (1 if in_turn else min(leaves.n_parts, FAN_IN))
    make = leaves.make
    if isinstance(make, StreamMaker):
        plans = tuple((p, 1) for p in streamed_plans(make, wanted.blocks))
        reading = n_leaves * reads(plans)
        # As `estimate` says: its sub-blocks, and its state twice, or of a block that
        # one task makes the results.
        memory = 2 * state
        if leaves.n_parts == 1:
            held = memory = prod(map(max, layer.chunks)) * VALUE * wanted.labels
        return LayerWork(tasks, reading, plans, memory + streamed_bytes(make), held), {}
    if isinstance(make, BlockMaker):
        below = {
            name: Need(block_arguments(make, i, wanted.blocks))
            if wanted.blocks
            else Need(whole=True)
            for i, name in enumerate(make.names)
        }
        return LayerWork(tasks, task_bytes=2 * state, held_bytes=held), below
    raise ArgumentTypeError(f"nothing is known about the work of {type(make).__name__}")


def streamed_bytes(make: StreamMaker) -> int:
    """Return the memory in which one task reads and corrects its sub-blocks."""
    total = 0
    for source in (s for node in make.nodes for s in sources(node)):
        lengths = zip(source.dims, source.shape, strict=True)
        part = prod(min(make.stream.inside.get(d, n), n) for d, n in lengths)
        total += part * source.dtype.itemsize
    return 3 * total


def combining_tasks(n_states: int) -> int:
    tasks = 0
    while n_states > 1:
        n_states = ceil(n_states / FAN_IN)
        tasks += n_states
    return tasks


def streamed_plans(make: StreamMaker, blocks: Iterable[Block]) -> Iterator[ReadPlan]:
    """Yield what is read for some blocks of a streamed reduction; none: for all."""
    for block in blocks or [()]:
        region = make.selection(block) if block else {}
        for source in (s for node in make.nodes for s in sources(node)):
            lengths = zip(source.dims, source.shape, strict=True)
            index = tuple(region.get(d, slice(0, n, 1)) for d, n in lengths)
            yield source.plan.narrow(index)


def block_arguments(make: BlockMaker, i: int, blocks: Iterable[Block]) -> set[Any]:
    keys = set()
    for block in blocks:
        at = dict(zip(make.kept, block, strict=True))
        dims = make.arg_dims[i]
        ranges = ((at[d],) if d in at else range(make.numblocks[d]) for d in dims)
        keys |= {(make.names[i], *b) for b in product(*ranges)}
    return keys


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


def reads(plans: Iterable[tuple[ReadPlan, int]]) -> bool:
    return any(entries(plan) for plan, _ in plans)


def entries(plan: ReadPlan) -> int:
    """Return the number of rows of datasets that a plan reads."""
    if not prod(plan.entry_shape):
        return 0
    per_shot = plan.patterns.sizes()[plan.pattern]
    modules = np.count_nonzero(plan.target >= 0, axis=1)
    return int(per_shot @ modules)
