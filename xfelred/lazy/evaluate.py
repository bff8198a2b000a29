"""The numbers of a recipe, region by region, in this thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.elementwise import Scratch, run_steps
from xfelred.lazy.cursor import Cursor, load
from xfelred.lazy.nodes import Const, Kernel, Map, Node, Region, Source, View, sizes


@dataclass(frozen=True)
class Held:
    """The numbers of a node in some region, which several results are made of."""

    array: NDArray[Any]
    region: Region

    def part(self, dims: tuple[str, ...], region: Region) -> NDArray[Any]:
        starts = (self.region[d].start for d in dims)
        here = zip(dims, starts, strict=True)
        return self.array[
            tuple(slice(region[d].start - s, region[d].stop - s, 1) for d, s in here)
        ]


@dataclass
class Memory:
    """What nodes need from call to call of `evaluate`, by their identity.

    Of nodes in `held` nothing is read or computed.
    """

    own: dict[int, Cursor | Scratch] = field(default_factory=dict)
    held: dict[int, Held] = field(default_factory=dict)


def evaluate(
    node: Node,
    region: Region,
    memory: Memory | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the numbers of one region, read and computed in this thread.

    `memory` is what nodes need from call to call; a result may lie in memory that the
    next call with the same dict uses again, or in `out`, if the kernel can write there.
    """
    if memory is not None and id(node) in memory.held:
        return memory.held[id(node)].part(node.dims, region)
    match node:
        case Source():
            return read_source(node, region, memory)
        case Const():
            return node.array[tuple(region[d] for d in node.dims)]
        case View():
            dropped = tuple(d for d in node.arg.dims if d not in node.dims)
            block = evaluate(
                node.arg, {**region, **dict.fromkeys(dropped, slice(0, 1, 1))}, memory
            )
            return with_dims(block, node.arg.dims, node.dims)
        case Map():
            blocks = [
                aligned(
                    evaluate(arg, arg_region(node, arg, region), memory),
                    arg.dims,
                    (*node.frame_dims, *node.core_dims),
                )
                for arg in node.args
            ]
            if node.kernel is run_steps and memory is not None:
                # What was read into memory of ours is overwritten: one pass less.
                own = [
                    i
                    for i, arg in enumerate(node.args)
                    if isinstance(arg, Source) and id(arg) not in memory.held
                ]
                scratch = scratch_of(node, memory)
                return run_steps(*blocks, **node.params, scratch=scratch, owned=own)
            return run_kernel(node.kernel, blocks, node.params, out)


def run_kernel(
    kernel: Kernel,
    blocks: Sequence[NDArray[Any]],
    params: Mapping[str, Any],
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """Return what a kernel makes of blocks, in `out` if it writes there."""
    there = {"out": out} if out is not None and getattr(kernel, "fills", False) else {}
    return kernel(*blocks, **params, **there)


def read_source(node: Source, region: Region, memory: Memory | None) -> NDArray[Any]:
    """Read one region of a source, into reused memory if anything is kept."""
    index = tuple(region[d] for d in node.dims)
    if memory is None:
        return load(node.plan.narrow(index))
    return cursor_of(node, memory).read(index)


def cursor_of(node: Source, memory: Memory) -> Cursor:
    found = memory.own.get(id(node))
    if not isinstance(found, Cursor):
        found = memory.own[id(node)] = Cursor(node.plan)
    return found


def scratch_of(node: Map, memory: Memory) -> Scratch:
    found = memory.own.get(id(node))
    if not isinstance(found, Scratch):
        found = memory.own[id(node)] = Scratch()
    return found


def with_dims(
    block: NDArray[Any], dims: tuple[str, ...], target: tuple[str, ...]
) -> NDArray[Any]:
    """Return `block` with other axes, as `View` says."""
    dropped = tuple(d for d in dims if d not in target)
    order = [dims.index(d) for d in (*target, *dropped) if d in dims]
    block = block.transpose(order)[(...,) + (0,) * len(dropped)]
    return block[tuple(slice(None) if d in dims else np.newaxis for d in target)]


def arg_region(node: Map, arg: Node, region: Region) -> dict[str, slice]:
    n = sizes(arg)
    return {
        d: region[d] if d in node.frame_dims else slice(0, n[d], 1) for d in arg.dims
    }


def aligned(
    block: NDArray[Any], dims: tuple[str, ...], target: tuple[str, ...]
) -> NDArray[Any]:
    """Return `block` with its axes in the order of `target`, length 1 where absent."""
    if dims == target:
        return block
    block = block.transpose([dims.index(d) for d in target if d in dims])
    return block[tuple(slice(None) if d in dims else np.newaxis for d in target)]
