"""How much memory the tasks of a layer hold, as far as the layer tells."""

from __future__ import annotations

from math import prod

from xfelred.lazy.dask_seam import Blockwise
from xfelred.lazy.layers import PlanBlocks, load_block
from xfelred.lazy.leaves import Leaves, StreamMaker
from xfelred.lazy.nodes import Map, sources
from xfelred.lazy.source import ReadPlan

VALUE = 8  # bytes of a sum or a count in a state
PIECES = 16 << 20  # bytes in which a task that works piece by piece holds one source


def memory_of(plan: ReadPlan) -> int:
    """Return the size in memory of all that a plan describes."""
    return prod(plan.shape) * plan.dtype.itemsize


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


def state_bytes(leaves: Leaves, n_results: int) -> int:
    """Return the size of the state of one block of a reduction.

    Besides what the results are made of it has a count and a pivot.
    """
    return prod(map(max, leaves.kept_chunks)) * VALUE * (n_results + 2)


def streamed_bytes(make: StreamMaker) -> int:
    """Return the memory in which one task reads and corrects its sub-blocks."""
    total = 0
    for node in make.nodes:
        for source in sources(node):
            lengths = zip(source.dims, source.shape, strict=True)
            part = prod(min(make.inside.get(d, n), n) for d, n in lengths)
            total += part * source.dtype.itemsize
    return 3 * total
