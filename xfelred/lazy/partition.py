"""How a streaming reduction is cut into tasks and sub-blocks.

Everything here depends on shapes and dtypes only, never on the number of workers: the
same data give the same tasks, and therefore the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from xfelred.lazy.nodes import Node, lead_dims, module_dim, sizes, sources, whole_dims

SUB_BLOCK = 4 << 20  # bytes; a sub-block and its sums stay in the cache of one core
TASK = 256 << 20  # bytes that a task reads, if there are as many
MAX_TASKS = 2048
MAX_STATE = 2 << 20  # elements of the result in one task


@dataclass(frozen=True)
class Partition:
    """Chunk lengths of every axis for the tasks, and cut lengths inside a task."""

    chunks: dict[str, tuple[int, ...]]
    inside: dict[str, int]


def evenly(n: int, length: int) -> tuple[int, ...]:
    """Return chunk lengths of `n`: `length` each, the last one shorter."""
    full, rest = divmod(n, max(length, 1))
    return (max(length, 1),) * full + ((rest,) if rest else ()) or (0,)


def block_chunks(node: Node, size: int) -> dict[str, tuple[int, ...]]:
    """Return chunks of about `size` bytes for the blocks of an ordinary dask array.

    Whole modules; the first axis that rows are spread over is cut, and the second one
    only where a single step of the first is larger than that.
    """
    length = sizes(node)
    lead = lead_dims(node)[:2]
    chunks: dict[str, tuple[int, ...]] = {d: (n,) for d, n in length.items()}
    rest = prod(n for d, n in length.items() if d not in lead) * node.dtype.itemsize
    for i, d in enumerate(lead):
        step = max(1, rest * prod(length[x] for x in lead[i + 1 :]))
        chunks[d] = evenly(length[d], max(1, min(size // step, length[d])))
        if step <= size:
            break
    return chunks


def partition(node: Node, kept: tuple[str, ...]) -> Partition:
    """Cut a reduction of `node` over all axes but `kept` into tasks.

    One task covers one module and as many shots as make up `TASK` bytes; of axes that
    stay, only as much as gives `MAX_STATE` elements of result.
    """
    n = sizes(node)
    length = dict(n)
    module, whole = module_dim(node), whole_dims(node)
    if module is not None and module not in whole:
        length[module] = min(1, n[module])
    lead = [d for d in lead_dims(node) if d not in whole]
    total = max(prod(s.shape) * s.dtype.itemsize for s in sources(node))

    def task_bytes() -> float:
        return total * prod(length[d] / n[d] for d in n if n[d] and d not in whole)

    for d in reversed(lead):
        state = prod(length[k] for k in kept)
        if d in kept and state > MAX_STATE:
            length[d] = max(1, length[d] * MAX_STATE // state)
    if lead:
        goal = max(TASK, total / MAX_TASKS)
        first = lead[0]
        if task_bytes() > goal:
            length[first] = max(1, int(length[first] * goal / task_bytes()))
    inside = dict(length)
    for d in lead:
        now = task_bytes() * prod(inside[x] / length[x] for x in lead if length[x])
        if now > SUB_BLOCK and (d not in kept or d == lead[0]):
            inside[d] = max(1, int(inside[d] * SUB_BLOCK / now))
    return Partition({d: evenly(n[d], length[d]) for d in n}, inside)


def regions(
    shape: dict[str, int], cut: dict[str, int], dims: tuple[str, ...]
) -> Iterator[dict[str, slice]]:
    """Yield the slices along `dims` that cut `shape` into pieces, row-major."""
    ranges = [
        [
            slice(i, min(i + cut[d], shape[d]), 1)
            for i in range(0, shape[d], max(cut[d], 1))
        ]
        or [slice(0, 0, 1)]
        for d in dims
    ]
    for combination in product(*ranges):
        yield dict(zip(dims, combination, strict=True))
