"""The layers of a graph whose results are made from lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import prod
from operator import itemgetter
from typing import Any, cast

import numpy as np
from dask.base import tokenize

from xfelred.lazy.by_bin import BinMaker, BinsFirst
from xfelred.lazy.dask_seam import GraphNode, Key, Layer, Task, TaskList, TaskRef
from xfelred.lazy.lanes import (
    Block,
    Listed,
    Summed,
    combined,
    run_lane,
    side_by_side,
    taken,
)
from xfelred.lazy.leaves import StreamMaker, between, edges_of
from xfelred.lazy.nodes import (
    Const,
    Map,
    Node,
    Origin,
    Source,
    View,
    lead_dims,
    narrow,
    sizes,
    sources,
)
from xfelred.lazy.partition import (
    FRAMES,
    LARGE_TASK,
    LONG_TASK,
    MANY_TASKS,
    MAX_SUB_BLOCK,
    MAX_TASKS,
    PIECES,
    TASK,
    evenly,
)
from xfelred.lazy.parts import Done, packed, with_leaves
from xfelred.lazy.reduce import FAN_IN, StateLayer
from xfelred.lazy.task_layer import TaskLayer

VALUE = 8  # bytes of a sum or a count in a state
LISTED = 64 << 20  # bytes of results of single frames in a lane
FEW = 4 * MAX_SUB_BLOCK  # bytes at most of frames that are taken at a time
LANES = 8  # at least, of a short run: so many threads have something to do
READ_OF_SUMS = 4  # times their bytes: less is read faster than sums are combined


@dataclass(eq=False)
class Result:
    """A layer of the graph that reads through recipes, and what it needs of a lane.

    `read` are the identities of what it reads along the run, `jobs` the numbers of its
    jobs in the lane, in the order of `recipes`.
    """

    name: str
    layer: Layer
    recipes: list[tuple[Node, ...]]
    read: set[int] = field(default_factory=set)
    jobs: list[int] = field(default_factory=list)

    @property
    def run(self) -> str:
        return next((s.dims[0] for s in sources(self.node)), "")

    @property
    def node(self) -> Node:
        return self.recipes[0][0]

    @property
    def maker(self) -> Any:
        return self.layer.leaves.make if isinstance(self.layer, StateLayer) else None

    @property
    def of_each(self) -> bool:
        """Whether frames have results of their own."""
        make = self.maker
        return not isinstance(make, StreamMaker) or self.run in make.stream.kept

    @property
    def state_axis(self) -> int | None:
        """The axis of the run among those of sums that frames have of their own."""
        make = self.maker
        kept = make.stream.kept if isinstance(make, StreamMaker) else ()
        return kept.index(self.run) if self.run in kept else None

    def inner_block(self, block: Block) -> Block:
        """Return the number of a block along the axes that the run does not have."""
        lead = lead_dims(self.node)
        pairs = zip(self.maker.stream.kept, block, strict=True)
        return tuple(i for d, i in pairs if d not in lead)

    def state_bytes(self) -> int:
        """Return the bytes of its sums: values, their count and their pivot."""
        if self.of_each:
            return 0
        return prod(map(sum, self.layer.chunks)) * VALUE * (len(self.layer.ends) + 2)

    def listed_bytes(self) -> float:
        """Return the bytes of results that one step along the run has."""
        if not self.of_each:
            return 0
        n = sizes(self.node)
        if isinstance(self.maker, StreamMaker):
            size = prod(map(sum, self.layer.chunks)) * VALUE
        else:
            size = prod(n.values()) * self.node.dtype.itemsize
        return size / max(n[self.run], 1)


class Lanes(TaskLayer):
    """The tasks that read, one for every lane."""

    def __init__(
        self,
        name: str,
        nodes: tuple[Node, ...],
        edges: tuple[int, ...],
        few: dict[str, int],
        cuts: tuple[int, ...],
    ) -> None:
        super().__init__(name)
        self.nodes, self.edges, self.few, self.cuts = nodes, edges, few, cuts
        self.run = next(iter(few))
        self.jobs: list[Summed | Listed] = []

    @classmethod
    def of(cls, results: Sequence[Result]) -> Lanes:
        """Return the lanes of some results, whose jobs they get."""
        nodes: list[Node] = []
        jobs: list[Summed | Listed] = []
        for result in results:
            for i, recipe in enumerate(result.recipes):
                at = tuple(range(len(nodes), len(nodes) + len(recipe)))
                nodes += recipe
                result.jobs.append(len(jobs))
                jobs.append(job_of(result, i, at))
        edges, few = lane_edges(results), few_frames(nodes)
        # Where results of single frames have blocks of their own.
        own = [r.maker.edges[r.run] for r in results if r.state_axis is not None]
        cuts = tuple(sorted({i for some in own for i in some}))
        name = f"lanes-{tokenize([r.name for r in results], edges, few)}"
        lanes = cls(name, tuple(nodes), edges, few, cuts)
        lanes.jobs = jobs
        return lanes

    def block_keys(self) -> set[Any]:
        lanes, jobs = range(len(self.edges) - 1), range(len(self.jobs))
        return {(self.name, *key) for key in product(lanes, jobs)}

    def get_output_keys(self) -> set[Any]:
        return self.block_keys()

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        """Return the tasks of lanes, and those that take apart what they give.

        Some of it is needed until the last lane is done, and sums are not.
        """
        tasks: dict[Key, GraphNode] = {}
        for name, lane, number in sorted(keys):
            key, whole = (name, lane, number), (f"{name}-read", lane)
            tasks[key] = Task(key, itemgetter(number), TaskRef(whole))
            if whole in tasks:
                continue
            span = between(self.edges, lane)
            done: Done = {}
            cut = [with_leaves(node, self.cut(span), done) for node in self.nodes]
            skeletons, refs, more = packed(cut, name)
            cuts = tuple(
                i - span.start for i in self.cuts if span.start < i < span.stop
            )
            what = self.jobs, self.few, cuts, skeletons
            tasks |= {**more, whole: Task(whole, run_lane, *what, *refs)}
        return tasks

    def cut(self, span: slice) -> Any:
        def leaf(node: Source | Const) -> Node:
            some = {self.run: span} if self.run in node.dims else {}
            found = narrow(node, some, named=False)[0]
            if isinstance(node, Source) and isinstance(found, Source):
                whole = Origin(node.token, (0,) * len(node.dims), whole=True)
                found = replace(found, origin=node.origin or whole)
            return found

        return leaf

    def within(self, start: int, stop: int) -> range:
        """Return the lanes that hold some steps of the run."""
        first = int(np.searchsorted(self.edges, start, side="right")) - 1
        last = int(np.searchsorted(self.edges, stop, side="left"))
        return range(first, max(last, first + 1))

    def refs(self, some: Iterable[int], number: int) -> TaskList:
        return TaskList(*(TaskRef((self.name, i, number)) for i in some))


def job_of(result: Result, i: int, nodes: tuple[int, ...]) -> Summed | Listed:
    layer, make = result.layer, result.maker
    if not isinstance(make, StreamMaker) or not isinstance(layer, StateLayer):
        return Listed(nodes)
    stream = make.stream
    front: tuple[slice, ...] = ()
    if isinstance(make, BinMaker):
        bins = cast(BinsFirst, stream.reduction).of_bins(make.widths[i])
        stream, front = replace(stream, reduction=bins), (slice(0, make.widths[i], 1),)
    lead = lead_dims(result.node)
    kept = [d for d in stream.kept if d not in lead]
    counts = (range(len(make.chunks[d])) for d in kept)
    blocks = {
        block: {d: between(make.edges[d], k) for d, k in zip(kept, block, strict=True)}
        for block in product(*counts)
    }
    needs = frozenset(end.name for end in layer.ends)
    return Summed(stream, needs, nodes, blocks, front)


def lane_edges(results: Sequence[Result]) -> tuple[int, ...]:
    """Return where lanes begin, and the end; it depends on shapes only."""
    run, n = results[0].run, sizes(results[0].node)[results[0].run]
    leaves = {id(s): s for r in results for some in r.recipes for x in some
              for s in sources(x)}  # fmt: skip
    total = sum(source_bytes(s) for s in leaves.values())
    listed = sum(r.listed_bytes() for r in results)
    sums = sum(r.state_bytes() for r in results)
    goal = max(TASK, min(total / MANY_TASKS, LARGE_TASK), total / MAX_TASKS)
    goal = max(min(goal, total / LANES), READ_OF_SUMS * sums)
    length = int(goal * n / max(total, 1))
    if listed:
        most = LONG_TASK * n / max(total, 1)
        length = int(min(length, most, max(LISTED / listed, TASK * n / max(total, 1))))
    return tuple(edges_of(evenly(n, max(1, length))))


def few_frames(nodes: Sequence[Node]) -> dict[str, int]:
    """Return how many steps along every axis of the run are taken at a time."""
    leaves = [s for n in nodes for s in sources(n)]
    largest = max(leaves, key=source_bytes)
    n, cut = sizes(largest), cut_dims(nodes)
    frame = source_bytes(largest) / max(prod(n[d] for d in cut), 1)
    together = [s.plan.chunk[0] for s in leaves if s.plan.chunk]
    wanted = max(FRAMES, PIECES * max(together, default=1))
    fits = max(1, int(MAX_SUB_BLOCK / max(frame, 1)))
    left = max(1, min(max(wanted, fits), int(FEW / max(frame, 1))))
    found: dict[str, int] = {}
    for d in reversed(cut):
        found[d] = min(n[d], left)
        left = max(1, left // max(found[d], 1))
    return {d: found[d] for d in cut}


class LaneStates(StateLayer):
    """The states of every block of a result, from what lanes give to it."""

    def __init__(self, old: StateLayer, result: Result, lanes: Lanes) -> None:
        new = (c[0] for c in old.chunks[len(old.leaves.kept_chunks) :])
        super().__init__(old.name, old.reduction, old.leaves, old.ends, tuple(new))
        self.result, self.lanes = result, lanes

    def top(
        self,
        tasks: dict[Key, GraphNode],
        block: tuple[int, ...],
        labels: list[str],
        rooms: dict[str, Key],
    ) -> Key:
        """Add the tasks for one block of the result; return the key of the last one."""
        make, run = self.result.maker, self.lanes.run
        number = self.result.jobs[0]
        rest = block
        if isinstance(make, BinMaker):
            number, rest = self.result.jobs[block[0]], block[1:]
        kept = make.stream.kept
        inner = self.result.inner_block(rest)
        if run not in kept:
            return self.added_up(tasks, block, number, inner)
        axis = kept.index(run)
        span = between(make.edges[run], rest[axis])
        some = self.lanes.within(span.start, span.stop)
        starts = tuple(self.lanes.edges[i] for i in some)
        key = (f"{self.name}-lanes", *block)
        what = inner, axis, span, starts, self.lanes.refs(some, number)
        tasks[key] = Task(key, side_by_side, *what)
        return key

    def added_up(
        self, tasks: dict[Key, GraphNode], block: Block, number: int, inner: Block
    ) -> Key:
        """Add the tasks that combine the states of lanes, as soon as there are two."""
        lanes, level = range(len(self.lanes.edges) - 1), list[Key]()
        for lane in lanes:
            key = (f"{self.name}-lane", *block, lane)
            before = TaskRef(level.pop()) if lane % FAN_IN else None
            state = TaskRef((self.lanes.name, lane, number))
            what = self.reduction, inner, before, state
            tasks[key] = Task(key, combined, *what)
            level.append(key)
        return self.combining(tasks, block, level)


class LaneBlocks(TaskLayer):
    """The blocks of a map, cut out of what lanes give."""

    def __init__(
        self,
        name: str,
        result: Result,
        lanes: Lanes,
        chunks: tuple[tuple[int, ...], ...],
    ) -> None:
        super().__init__(name)
        self.result, self.lanes, self.chunks = result, lanes, chunks

    @cached_property
    def edges(self) -> list[list[int]]:
        return [edges_of(c) for c in self.chunks]

    def block_keys(self) -> set[Any]:
        blocks = product(*(range(len(c)) for c in self.chunks))
        return {(self.name, *block) for block in blocks}

    def get_output_keys(self) -> set[Any]:
        return self.block_keys()

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        tasks: dict[Key, GraphNode] = {}
        axis = self.result.node.dims.index(self.lanes.run)
        for key in sorted(keys):
            pairs = zip(self.edges, key[1:], strict=True)
            index = tuple(between(e, i) for e, i in pairs)
            span, lanes = index[axis], self.lanes
            some = lanes.within(span.start, span.stop)
            spans = tuple(
                slice(
                    max(span.start - lanes.edges[i], 0),
                    min(span.stop, lanes.edges[i + 1]) - lanes.edges[i],
                    1,
                )
                for i in some
            )
            refs = lanes.refs(some, self.result.jobs[0])
            tasks[key] = Task(key, taken, index, axis, spans, refs)
        return tasks


def few_bytes(result: Result) -> float:
    """Return the bytes of the fewest frames that can be taken at a time."""
    return max(
        source_bytes(s) / prod(n for d, n in sizes(s).items() if d in cut_dims([s]))
        * prod(sizes(s)[d] for d in cut_dims([s]) if d in mixed(result.node))
        for s in sources(result.node)
        if result.run in s.dims
    )  # fmt: skip


def source_bytes(source: Source) -> int:
    return prod(source.shape) * source.dtype.itemsize


def mixed(node: Node) -> set[str]:
    """Return the axes that some kernel of a recipe needs whole, or drops."""
    match node:
        case View():
            return mixed(node.arg) | (set(node.arg.dims) - set(node.dims))
        case Map():
            gone = {d for arg in node.args for d in arg.dims} - set(node.frame_dims)
            return set(node.core_dims).union(gone, *map(mixed, node.args))
        case _:
            return set()


def cut_dims(nodes: Iterable[Node]) -> list[str]:
    """Return the axes of the run that all recipes can be cut along."""
    nodes = list(nodes)
    largest = max((s for n in nodes for s in sources(n)), key=source_bytes)
    plan = largest.plan
    lead = largest.dims[: len(plan.lead_shape) + plan.n_inner]
    uncut = set().union(*map(mixed, nodes))
    return [d for d in lead if d not in uncut]
