"""Which results can be made from lanes, and how these cut the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from xfelred.lazy.by_bin import BinMaker
from xfelred.lazy.dask_seam import Layer
from xfelred.lazy.lanes import (
    Block,
    Listed,
    Summed,
)
from xfelred.lazy.leaves import StreamMaker, between, edges_of
from xfelred.lazy.nodes import (
    Map,
    Node,
    Source,
    View,
    lead_dims,
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
from xfelred.lazy.reduce import StateLayer

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
    def has_sums(self) -> bool:
        return isinstance(self.maker, StreamMaker) and not self.of_each

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


def job_of(result: Result, i: int, nodes: tuple[int, ...]) -> Summed | Listed:
    layer, make = result.layer, result.maker
    if not isinstance(make, StreamMaker) or not isinstance(layer, StateLayer):
        return Listed(nodes)
    stream = make.stream_of((i,)) if isinstance(make, BinMaker) else make.stream
    lead = lead_dims(result.node)
    kept = [d for d in stream.kept if d not in lead]
    counts = (range(len(make.chunks[d])) for d in kept)
    blocks = {
        block: {d: between(make.edges[d], k) for d, k in zip(kept, block, strict=True)}
        for block in product(*counts)
    }
    needs = frozenset(end.name for end in layer.ends)
    return Summed(stream, needs, nodes, blocks)


def lane_edges(results: Sequence[Result]) -> tuple[int, ...]:
    """Return where lanes begin, and the end; it depends on shapes only."""
    n = sizes(results[0].node)[results[0].run]
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


def few_bytes(result: Result) -> float:
    """Return the bytes of the fewest frames that can be taken at a time."""
    return max(
        source_bytes(s)
        / max(prod(n for d, n in sizes(s).items() if d in cut_dims([s])), 1)
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
