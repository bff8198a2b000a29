"""The layers of a graph whose results are made from lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np
from dask.base import tokenize

from xfelred.lazy.by_bin import BinMaker
from xfelred.lazy.dask_seam import GraphNode, Key, Task, TaskList, TaskRef
from xfelred.lazy.in_turn import sign
from xfelred.lazy.lane_plan import Result, few_frames, job_of, lane_edges
from xfelred.lazy.lanes import (
    Block,
    Listed,
    Summed,
    added,
    run_lane,
    side_by_side,
    taken,
)
from xfelred.lazy.leaves import between, edges_of
from xfelred.lazy.nodes import (
    Const,
    Node,
    Origin,
    Source,
    narrow,
)
from xfelred.lazy.parts import Done, packed, with_leaves
from xfelred.lazy.reduce import FAN_IN, StateLayer
from xfelred.lazy.task_layer import TaskLayer

WAITING = 1 << 30  # bytes of sums of lanes that may wait to be combined
MOST_TURNS = 16  # lanes
SEGMENT = 8  # times as many lanes wait for one another, so that others need not


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
        self.results: Sequence[Result] = ()
        self.turns = MOST_TURNS
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
        lanes.jobs, lanes.results = jobs, results
        sums = max(sum(r.state_bytes() for r in results), 1)
        lanes.turns = max(2, min(MOST_TURNS, WAITING // sums))
        return lanes

    def block_keys(self) -> set[Any]:
        lanes, jobs = range(len(self.edges) - 1), range(len(self.jobs))
        return {(self.name, *key) for key in product(lanes, jobs)}

    def get_output_keys(self) -> set[Any]:
        return self.block_keys()

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        """Return all tasks: what lanes give is taken apart, and sums are added up.

        Some of it is needed until the last lane is done, so that dask would read lane
        after lane before it adds up anything: each waits for an earlier one's sums.
        """
        tasks: dict[Key, GraphNode] = {}
        sums = {
            i: r.layer.reduction for r in self.results for i in r.jobs if r.has_sums
        }
        for lane in range(len(self.edges) - 1):
            whole, turn = (f"{self.name}-read", lane), f"{self.name}-turn"
            waits = sums and lane % (SEGMENT * self.turns) >= self.turns
            after = TaskRef((turn, lane - self.turns)) if waits else None
            tasks |= self.read(whole, lane, after)
            given = TaskRef(whole)
            for number in range(len(self.jobs)):
                key = (self.name, lane, number)
                if number not in sums:
                    tasks[key] = Task(key, itemgetter(number), given)
                    continue
                before = (
                    TaskRef((self.name, lane - 1, number)) if lane % FAN_IN else None
                )
                tasks[key] = Task(key, added, sums[number], number, before, given)
            refs = (TaskRef((self.name, lane, number)) for number in sums)
            tasks[turn, lane] = Task((turn, lane), sign, *refs)
        return tasks

    def read(self, key: Key, lane: int, after: TaskRef | None) -> dict[Key, GraphNode]:
        span = between(self.edges, lane)
        done: Done = {}
        cut = [with_leaves(node, self.cut(span), done) for node in self.nodes]
        skeletons, refs, tasks = packed(cut, self.name)
        cuts = tuple(i - span.start for i in self.cuts if span.start < i < span.stop)
        what = self.jobs, self.few, cuts, after, skeletons
        return {**tasks, key: Task(key, run_lane, *what, *refs)}

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
        """Add the tasks that combine the sums of several lanes each."""
        n, level = len(self.lanes.edges) - 1, list[Key]()
        for first in range(0, n, FAN_IN):
            key = (f"{self.name}-lanes", *block, first)
            sums = TaskRef((self.lanes.name, min(first + FAN_IN, n) - 1, number))
            tasks[key] = Task(key, itemgetter(inner), sums)
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
