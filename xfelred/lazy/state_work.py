"""What the tasks of reductions and of pairs do, without making them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentTypeError
from xfelred.lazy.frames import BlockFrames, RecipeFrames
from xfelred.lazy.indexing import as_slice
from xfelred.lazy.leaves import BlockMaker, StreamMaker
from xfelred.lazy.nodes import kernels, narrow, sources
from xfelred.lazy.pairwise import PairLayer, PairMaker, PairParts
from xfelred.lazy.partition import SUB_BLOCK
from xfelred.lazy.reduce import FAN_IN, ResultLayer, StateLayer
from xfelred.lazy.source import ReadPlan
from xfelred.lazy.work import Block, LayerWork, Need, Visit, reads

VALUE = 8  # bytes of a sum or a count in a state


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
        tasks = sum(map(in_turn.n_tasks, wanted.blocks or layer.blocks()))
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
        below_it = (k for node in make.nodes for k in kernels(node))
        return LayerWork(
            tasks, reading, plans, memory + streamed_bytes(make), held,
            (type(layer.reduction), *below_it),
        ), {array.name: Need(whole=True) for array in leaves.dependencies}  # fmt: skip
    if isinstance(make, PairMaker):
        work, below = pair_work(make.parts)
        return replace(
            work,
            tasks=work.tasks + tasks - n_leaves,
            task_bytes=work.task_bytes + 2 * state,
            held_bytes=work.held_bytes + held,
            calls=(type(layer.reduction), *work.calls),
        ), below
    if isinstance(make, BlockMaker):
        below = {
            name: Need(block_arguments(make, i, wanted.blocks))
            if wanted.blocks
            else Need(whole=True)
            for i, name in enumerate(make.names)
        }
        return LayerWork(tasks, 0, (), 2 * state, held, (type(layer.reduction),)), below
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


def visit_pairs(layer: PairLayer, need: Need) -> Visit:
    numbers = None if need.whole else np.unique([key[1] for key in need.keys])
    work, below = pair_work(layer.parts, numbers)
    kernel, _ = layer.what
    return replace(work, calls=(kernel, *work.calls)), below


def pair_work(parts: PairParts, numbers: NDArray[np.int64] | None = None) -> Visit:
    """Return what the tasks of pairs do, or only those of some numbers."""
    part, frame = parts.uses()
    task = part // parts.per_task
    if numbers is not None:
        some = np.isin(task, numbers)
        part, task, frame = part[some], task[some], frame[some]
    tasks = parts.n_tasks if numbers is None else len(numbers)
    held, frames = parts.held_bytes(), parts.frames
    if isinstance(frames, RecipeFrames):
        plans = tuple(pair_plans(frames, part, frame))
        held += 3 * SUB_BLOCK * len(sources(frames.node))
        calls = tuple(kernels(frames.node))
        return LayerWork(tasks, tasks * reads(plans), plans, held, 0, calls), {}
    if not isinstance(frames, BlockFrames):
        raise ArgumentTypeError(f"frames of {type(frames).__name__} are not known")
    block, _ = frames.place(frame)
    n_lead, numblocks = frames.n_frame_dims, frames.array.numblocks
    at = np.unravel_index(np.unique(block), numblocks[:n_lead])
    rest = (0,) * (len(numblocks) - n_lead)
    name = frames.array.name
    keys = {(name, *map(int, lead), *rest) for lead in zip(*at, strict=True)}
    taken = len(np.unique(part * prod(numblocks) + block))
    return LayerWork(tasks + taken, task_bytes=held, held_bytes=held), {
        name: Need(keys)
    }


def pair_plans(
    frames: RecipeFrames, part: NDArray[np.int64], frame: NDArray[np.int64]
) -> Iterator[tuple[ReadPlan, int]]:
    """Yield what pairs read: shots that equally many parts need, and how many do."""
    n = dict(zip(frames.node.dims, frames.node.shape, strict=True))
    first, *others = frames.frame_dims
    shots = n[first]
    of_part = np.unique(part * shots + frame // max(prod(n[d] for d in others), 1))
    times = np.bincount(of_part % shots, minlength=shots)
    for count in np.unique(times[times > 0]).tolist():
        some = {first: as_slice(np.flatnonzero(times == count))}
        for source in sources(narrow(frames.node, some, named=False)[0]):
            yield source.plan, count
