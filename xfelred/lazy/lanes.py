"""Several results of the same frames in one task, which reads these once.

A lane is a stretch of the run. Its task takes the frames of all modules, a few at a
time: what several results are made of is computed once and held, each result takes
from it what it needs, and the memory is used again for the next few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.memory import page_backed
from xfelred.lazy.evaluate import Held, Memory, aligned, cursor_of, evaluate
from xfelred.lazy.leaves import Pieces, Stream, combine
from xfelred.lazy.nodes import Const, Map, Node, Region, Source, View, sizes, sources
from xfelred.lazy.partition import block_pieces, regions
from xfelred.lazy.parts import Done, Skeleton, attach
from xfelred.reductions.reduction import Reduction

Block = tuple[int, ...]


class Job(Protocol):
    """What one result takes from every few frames of a lane."""

    def add(self, nodes: Sequence[Node], few: Region, memory: Memory) -> None:
        """Take what is needed of a few frames, which lie in a region of the lane."""

    def whole(self, nodes: Sequence[Node]) -> Any:
        """Return what the lane gives to the result."""


@dataclass(frozen=True)
class Summed:
    """A reduction: the states of blocks of its result, by their numbers.

    `nodes` are the numbers of its recipes, `blocks` the places of blocks along the axes
    that stay.
    """

    stream: Stream
    needs: frozenset[str]
    nodes: tuple[int, ...]
    blocks: Mapping[Block, Mapping[str, slice]]

    def begin(self) -> Summing:
        return Summing(self, {})


@dataclass(frozen=True)
class Listed:
    """A map whose numbers are wanted themselves."""

    nodes: tuple[int, ...]

    def begin(self) -> Listing:
        return Listing(self, [])


@dataclass(frozen=True)
class Summing:
    """States by block, and by the place along the run of frames with their own."""

    job: Summed
    states: dict[Block, dict[tuple[tuple[str, int, int], ...], Any]]

    def add(self, nodes: Sequence[Node], few: Region, memory: Memory) -> None:
        stream, (first, *_) = self.job.stream, nodes
        n = sizes(first)
        axes = tuple(i for i, d in enumerate(first.dims) if d in stream.reduced)
        at = tuple((d, few[d].start, few[d].stop) for d in stream.kept if d in few)
        cut = tuple(d for d in stream.reduced if d not in few)
        for block, region in self.job.blocks.items():
            here = {d: slice(0, n[d], 1) for d in first.dims} | {**region, **few}
            mine = self.states.setdefault(block, {})
            for inner in regions(n, stream.inside, cut):
                part = here | inner
                blocks = [
                    aligned(
                        evaluate(node, {d: part[d] for d in node.dims}, memory),
                        node.dims,
                        first.dims,
                    )
                    for node in nodes
                ]
                mine[at] = stream.reduction.partial(
                    mine.get(at), blocks, axes, self.job.needs
                )

    def whole(self, nodes: Sequence[Node]) -> dict[Block, Any]:
        """Return the state of every block; in pieces where frames have their own."""
        n, stream = sizes(nodes[0]), self.job.stream
        found: dict[Block, Any] = {}
        for block, mine in self.states.items():
            if list(mine) == [()]:
                found[block] = mine[()]
                continue
            region = self.job.blocks[block]
            length = n | {d: s.stop - s.start for d, s in region.items()}
            shape = (*stream.first, *(length[d] for d in stream.kept))
            ahead = [slice(0, k, 1) for k in stream.first]
            places = []
            for at in mine:
                ends = {d: (0, length[d]) for d in stream.kept}
                ends |= {d: (start, stop) for d, start, stop in at}
                places.append((*ahead, *(slice(*ends[d]) for d in stream.kept)))
            found[block] = Pieces(tuple(mine.values()), tuple(places), shape)
        return found


@dataclass(frozen=True)
class Listing:
    job: Listed
    out: list[NDArray[Any]]

    def add(self, nodes: Sequence[Node], few: Region, memory: Memory) -> None:
        (node,) = nodes
        if not self.out:
            self.out.append(page_backed(node.shape, node.dtype))
        put(node, few, memory, self.out[0][in_region(node, few)])

    def whole(self, nodes: Sequence[Node]) -> NDArray[Any]:
        (node,) = nodes
        return self.out[0] if self.out else page_backed(node.shape, node.dtype)


def run_lane(
    jobs: Sequence[Summed | Listed],
    few: Mapping[str, int],
    cuts: Sequence[int],
    _turn: None,
    skeletons: Sequence[Skeleton],
    *constants: NDArray[Any],
) -> list[Any]:
    """Read a lane once; return what it gives to every job.

    `few` are the lengths, along axes of the run, of what is taken at a time; it does
    not reach across `cuts` along the first of these.
    """
    done: Done = {}
    nodes = [attach(s, constants, done) for s in skeletons]
    mine = [[nodes[i] for i in job.nodes] for job in jobs]
    begun: list[Job] = [job.begin() for job in jobs]
    memory = Memory()
    shape = sizes(nodes[0])
    boxes = boxes_of(nodes)
    common = of_several([*nodes, *(whole for whole, _ in boxes)])
    room: dict[int, NDArray[Any]] = {}
    for part in pieces(shape, few, cuts):
        memory.held.clear()
        for node in common:
            hold(node, part, memory, room)
        for whole, box in boxes:
            memory.held[id(box)] = held_box(memory.held[id(whole)], whole, box)
        for job, own in zip(begun, mine, strict=True):
            # What has no pulses is there once, however these are taken.
            if not any(s.start for d, s in part.items() if d not in own[0].dims):
                job.add(own, part, memory)
    return [job.whole(own) for job, own in zip(begun, mine, strict=True)]


def of_several(nodes: Sequence[Node]) -> list[Node]:
    """Return what several recipes, or several places of one, are made of, in order."""
    uses = Counter[int]()
    order: list[Node] = []

    def visit(node: Node) -> None:
        uses[id(node)] += 1
        if uses[id(node)] > 1 or isinstance(node, Const):
            return
        for arg in (node.arg,) if isinstance(node, View) else args_of(node):
            visit(arg)
        order.append(node)

    for node in nodes:
        visit(node)
    return [node for node in order if uses[id(node)] > 1]


def pieces(
    shape: Mapping[str, int], few: Mapping[str, int], cuts: Sequence[int]
) -> Iterator[dict[str, slice]]:
    """Yield the regions, along axes of the run, of the frames taken at a time."""
    first, *_ = few
    for start, stop in pairwise((0, *cuts, shape[first])):
        n = {d: shape[d] for d in few} | {first: stop - start}
        for part in regions(n, dict(few), tuple(few)):
            s = part[first]
            yield part | {first: slice(s.start + start, s.stop + start, 1)}


def boxes_of(nodes: Sequence[Node]) -> list[tuple[Source, Source]]:
    """Return (source, another one that is a box of it), which is not read again."""
    found = {id(s): s for node in nodes for s in sources(node)}
    known = [(s.origin, s) for s in found.values() if s.origin]
    wholes = {origin.token: s for origin, s in known if origin.whole}
    return [
        (wholes[origin.token], s)
        for origin, s in known
        if not origin.whole and origin.token in wholes
    ]


def held_box(held: Held, whole: Source, box: Source) -> Held:
    """Return the part of what is held of a source that is a box of it."""
    assert box.origin is not None
    n_lead = len(whole.plan.lead_shape) + whole.plan.n_inner
    region = {d: slice(0, n, 1) for d, n in sizes(box).items()}
    region |= {d: held.region[d] for d in box.dims[:n_lead]}
    inside = zip(box.origin.starts[n_lead:], box.shape[n_lead:], strict=True)
    index = (slice(None),) * n_lead + tuple(slice(i, i + n) for i, n in inside)
    return Held(held.array[index], region)


def args_of(node: Node) -> tuple[Node, ...]:
    return node.args if isinstance(node, Map) else ()


def in_region(node: Node, few: Region) -> tuple[slice, ...]:
    return tuple(few.get(d, slice(0, n, 1)) for d, n in sizes(node).items())


def hold(
    node: Node, few: Region, memory: Memory, room: dict[int, NDArray[Any]]
) -> None:
    """Compute a few frames of a node, into the memory of those before."""
    index = in_region(node, few)
    shape = tuple(s.stop - s.start for s in index)
    out = room.get(id(node))
    if out is None or out.shape != shape:
        out = room[id(node)] = page_backed(shape, node.dtype)
    put(node, few, memory, out)
    memory.held[id(node)] = Held(out, dict(zip(node.dims, index, strict=True)))


def put(node: Node, few: Region, memory: Memory, out: NDArray[Any]) -> None:
    """Put a few frames of a node into `out`, in pieces that stay in the cache."""
    index = dict(zip(node.dims, in_region(node, few), strict=True))
    if id(node) in memory.held or not isinstance(node, (Map, Source)):
        out[...] = evaluate(node, index, memory)
    elif isinstance(node, Source):
        cursor_of(node, memory).read(tuple(index.values()), out)
    else:
        n = {d: s.stop - s.start for d, s in index.items()}
        for part in regions(n, block_pieces(node), node.dims):
            own = {
                d: slice(s.start + index[d].start, s.stop + index[d].start, 1)
                for d, s in part.items()
            }
            out[tuple(part[d] for d in node.dims)] = evaluate(node, own, memory)


# What is made of lanes, in tasks of their own.


def added(
    reduction: Reduction[Any],
    number: int,
    before: Mapping[Block, Any] | None,
    lane: Sequence[Mapping[Block, Any]],
) -> Mapping[Block, Any]:
    """Return the states of a result, by block, for one more lane."""
    new = lane[number]
    if before is None:
        return new
    return {block: combine(reduction, [before[block], new[block]]) for block in new}


def side_by_side(
    block: Block,
    axis: int,
    span: slice,
    starts: Sequence[int],
    lanes: Sequence[Mapping[Block, Pieces]],
) -> Pieces:
    """Return the states of the frames in a span, which have results of their own."""
    states: list[Any] = []
    places: list[tuple[slice, ...]] = []
    for start, lane in zip(starts, lanes, strict=True):
        found = lane[block]
        for state, place in zip(found.states, found.places, strict=True):
            first = place[axis].start + start - span.start
            if 0 <= first < span.stop - span.start:
                moved = slice(first, first + place[axis].stop - place[axis].start)
                places.append((*place[:axis], moved, *place[axis + 1 :]))
                states.append(state)
    n = span.stop - span.start
    shape = (*found.shape[:axis], n, *found.shape[axis + 1 :])
    return Pieces(tuple(states), tuple(places), shape)


def taken(
    index: tuple[slice, ...],
    axis: int,
    spans: Sequence[slice],
    lanes: Sequence[NDArray[Any]],
) -> NDArray[Any]:
    """Return a block of a map whose frames several lanes have; `spans` of each."""
    parts = []
    for span, lane in zip(spans, lanes, strict=True):
        parts.append(lane[(*index[:axis], span, *index[axis + 1 :])])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)
