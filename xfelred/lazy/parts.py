"""Recipes taken apart for travel: plans and constants go beside the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import dask.array as da
from numpy.typing import NDArray

from xfelred.kernels.memory import page_backed
from xfelred.lazy.dask_seam import (
    DataNode,
    GraphNode,
    Key,
    Task,
    TaskRef,
    slices_from_chunks,
    wraps_tasks,
)
from xfelred.lazy.indexing import Selector
from xfelred.lazy.nodes import Const, Map, Node, Pending, Source, View, part_of
from xfelred.lazy.source import ReadPlan


@dataclass(frozen=True)
class Slot:
    """The place of a source or a constant that travels beside the recipe."""

    number: int
    dims: tuple[str, ...]
    index: tuple[Selector, ...] = ()  # of what was computed


Skeleton = Node | Slot
Leaf = Source | Const | Slot


# Nodes and what became of them, by their identity: what recipes share they go on
# sharing.
Done = dict[int, tuple[Skeleton, Any]]


def with_leaves(
    node: Skeleton, change: Callable[[Any], Leaf], done: Done | None = None
) -> Any:
    """Return a recipe in which each source, constant or slot is another one.

    `done` is for several recipes that share nodes.
    """
    if done is not None and id(node) in done:
        return done[id(node)][1]
    match node:
        case View():
            found: Any = replace(node, arg=with_leaves(node.arg, change, done))
        case Map():
            args = tuple(with_leaves(arg, change, done) for arg in node.args)
            found = replace(node, args=args)
        case _:
            found = change(node)
    if done is not None:
        done[id(node)] = node, found
    return found


def detach(
    node: Node,
    parts: list[Any],
    kinds: tuple[type, ...] = (Const,),
    done: Done | None = None,
) -> Skeleton:
    """Return the recipe with leaves of some kinds taken out and appended to `parts`."""

    def slot(leaf: Source | Const) -> Leaf:
        if not isinstance(leaf, kinds):
            return leaf
        parts.append(leaf)
        index = leaf.index if isinstance(leaf, Pending) else ()
        return Slot(len(parts) - 1, leaf.dims, index)

    return with_leaves(node, slot, done)


def attach(
    node: Skeleton, parts: Sequence[NDArray[Any] | ReadPlan], done: Done | None = None
) -> Any:
    def leaf(found: Leaf) -> Source | Const:
        if not isinstance(found, Slot):
            return found
        part = parts[found.number]
        if isinstance(part, ReadPlan):
            return Source(part, found.dims)
        return Const(part_of(part, found.index), found.dims, "")

    return with_leaves(node, leaf, done)


def compacted(leaf: Source | Const) -> Source | Const:
    # A task is sent to its worker: only the files that it reads go along.
    return replace(leaf, plan=leaf.plan.compact()) if isinstance(leaf, Source) else leaf


def packed(
    nodes: Sequence[Node], name: str
) -> tuple[tuple[Skeleton, ...], list[TaskRef], dict[Key, GraphNode]]:
    """Return recipes as a task carries them, and what it needs beside them.

    Constants, such as bad-pixel maps, get tasks of their own that all tasks of a name
    share.
    """
    constants: list[Const] = []
    small: Done = {}
    done: Done = {}
    some = [
        detach(with_leaves(node, compacted, small), constants, done=done)
        for node in nodes
    ]
    keys = [(f"{name}-constant", constant.token) for constant in constants]
    tasks: dict[Key, GraphNode] = {}
    for key, constant in zip(keys, constants, strict=True):
        if isinstance(constant, Pending):
            tasks[key] = joining(key, constant.array)
        else:
            tasks[key] = DataNode(key, constant.array)
    return tuple(some), [TaskRef(key) for key in keys], tasks


def joining(key: Key, array: da.Array) -> Task:
    """Return the task that puts the blocks of an array together."""
    blocks = product((array.name,), *map(range, array.numblocks))
    return Task(key, joined, array.chunks, *map(TaskRef, blocks))


def joined(chunks: tuple[tuple[int, ...], ...], *blocks: NDArray[Any]) -> NDArray[Any]:
    if len(blocks) == 1:
        return blocks[0]
    whole = page_backed(tuple(map(sum, chunks)), blocks[0].dtype)
    for place, block in zip(slices_from_chunks(chunks), blocks, strict=True):
        whole[place] = block
    return whole


def plans_in(item: object) -> Iterator[ReadPlan]:
    """Yield the plans among the arguments of a task, also of one that was fused."""
    parts: Iterable[Any] = ()
    match item:
        case ReadPlan():
            yield item
        case Source():
            parts = (item.plan,)
        case View():
            parts = (item.arg,)
        case DataNode():
            parts = (item.value,)
        case Map() | Task():
            parts = item.args if may_read(item) else ()
        case dict():
            parts = item.values()
        case list() | tuple():
            parts = item
    for part in parts:
        yield from plans_in(part)


def may_read(item: Map | Task) -> bool:
    """Tell whether to look for plans in a map or a task; to look into all is slow."""
    if isinstance(item, Map):
        return True
    module = getattr(item.func, "__module__", None) or ""
    return module.startswith("xfelred.") or wraps_tasks(item.func)
