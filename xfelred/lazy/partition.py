"""How a streaming reduction is cut into tasks and sub-blocks.

Everything here depends on shapes and dtypes only, never on the number of workers: the
same data give the same tasks, and therefore the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from xfelred.lazy.nodes import (
    Map,
    Node,
    lead_dims,
    module_dim,
    sizes,
    sources,
    whole_dims,
)

SUB_BLOCK = 4 << 20  # bytes; a sub-block and its sums stay in the cache of one core
MAX_SUB_BLOCK = 32 << 20
PIECES = 4  # that a sub-block holds of a file that stores many rows in one
SUB_STATE = 1 << 16  # elements of the result that a sub-block adds to
TASK = 256 << 20  # bytes that a task reads, if there are as many
LARGE_TASK = 512 << 20  # and in long runs
MANY_TASKS, MAX_TASKS = 256, 8192
LONG_TASK = 4 << 30  # and at most, where every frame has a result of its own
# Elements of such results in a task that reads more than `TASK`, and in any other.
FRAME_STATE, MAX_FRAME_STATE = 1 << 18, 1 << 20
MAX_STATE = 2 << 20  # elements of the result in one task
WIDE = 8  # numbers for every pixel from which on pixels are cut and not shots
WIDE_STATE = 8 << 20  # elements of such a result in one task
WIDE_BLOCK = 32 << 20  # bytes; a few rows of many shots
FRAMES = 8  # that kernels with a result for every frame like to have side by side


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


def partition(node: Node, kept: tuple[str, ...], wide: int = 1) -> Partition:
    """Cut a reduction of `node` over all axes but `kept` into tasks.

    One task covers one module and as many shots as make up `TASK` bytes; of axes that
    stay, only as much as gives `MAX_STATE` elements of result. Where every pixel has
    many (`wide`) results, as in bins, tasks are some rows of a module and many shots.
    Where every frame has, there are as many tasks as the length of the run asks for.
    """
    n = sizes(node)
    length = dict(n)
    module, whole = module_dim(node), whole_dims(node)
    lead = [d for d in lead_dims(node) if d not in whole]
    # Where every shot has a result of its own, a task adds up all of its modules.
    one_by_one = module in kept or any(d not in kept for d in lead)
    if module is not None and module not in whole and one_by_one:
        length[module] = min(1, n[module])
    total = source_bytes(node)

    def task_bytes() -> float:
        return total * prod(length[d] / n[d] for d in n if n[d] and d not in whole)

    goal = max(TASK, min(total / MANY_TASKS, LARGE_TASK), total / MAX_TASKS)
    of_frames = run_dim(node) in kept
    for d in lead if of_frames else reversed(lead):
        state = prod(length[k] for k in kept)
        if d in kept and of_frames:
            # Trains are cut only where one of them alone is too much.
            most = goal if d == lead[0] else LONG_TASK
            one = task_bytes() / max(length[d], 1), wide * state / max(length[d], 1)
            length[d] = frames_of_task(length[d], *one, most)
        elif d in kept and state > MAX_STATE:
            length[d] = max(1, length[d] * MAX_STATE // state)
    rows = wide_rows(node, length, kept, wide)
    if rows:
        length[rows[0]] = rows[1]
    if lead and not of_frames:
        if wide >= WIDE:
            # The sums shall be small beside what is read.
            goal = max(goal, 16 * 8 * wide * prod(length[k] for k in kept))
        first = lead[0]
        length[first] = alike(length[first], task_bytes() / goal)
    inside = sub_blocks(node, length, lead, kept, task_bytes())
    if rows and lead:
        inside |= wide_blocks(length, lead[0], rows[0], task_bytes(), wide)
    return Partition({d: evenly(n[d], length[d]) for d in n}, inside)


def alike(n: int, tasks: float) -> int:
    """Return the length of tasks that cover `n` steps, at least as many as that.

    They are of one length, so that no thread waits for the longest.
    """
    return ceil(n / min(ceil(tasks), n)) if tasks > 1 else n


def run_dim(node: Node) -> str:
    """Return the axis that grows with the run, wherever in the array it stands."""
    return next((s.dims[0] for s in sources(node)), "")


def frames_of_task(n: int, read: float, state: float, goal: float) -> int:
    """Return how many of `n` steps along an axis of results per frame a task takes.

    A step reads `read` bytes and has `state` elements of result. No number here grows
    with the run, or the memory of a task would.
    """
    read, state = max(read, 1), max(state, 1)
    held = max(FRAME_STATE / state, min(TASK / read, MAX_FRAME_STATE / state))
    return alike(n, n / max(int(min(held, min(goal, LONG_TASK) / read)), 1))


def source_bytes(node: Node) -> int:
    """Return the bytes of the largest array that a recipe reads."""
    return max((prod(s.shape) * s.dtype.itemsize for s in sources(node)), default=0)


def bytes_of_block(node: Node, chunks: Mapping[str, tuple[int, ...]]) -> float:
    """Return the bytes that the task of the largest block of a map reads."""
    n = sizes(node)
    parts = (max(chunks[d], default=0) / n[d] for d in lead_dims(node) if n[d])
    return source_bytes(node) * prod(parts)


def wide_rows(
    node: Node, length: dict[str, int], kept: tuple[str, ...], wide: int
) -> tuple[str, int] | None:
    """Return the axis along which pixels are cut, and the length; None: not at all."""
    name, least = rows_together(node)
    can = name in kept and name in length and name not in whole_dims(node)
    if wide < WIDE or not can or least > 1 or not length[name]:
        return None
    state = wide * prod(length[k] for k in kept)
    n_tasks = min(ceil(state / WIDE_STATE), length[name])
    return name, ceil(length[name] / max(n_tasks, 1))


def wide_blocks(
    length: dict[str, int], first: str, rows: str, task_bytes: float, wide: int
) -> dict[str, int]:
    """Return the lengths of sub-blocks of many shots of a few rows."""
    n = min(length[first], 8 * wide)
    one = task_bytes * n / max(length[first] * length[rows], 1)
    return {first: n, rows: max(1, min(length[rows], int(WIDE_BLOCK / max(one, 1))))}


def sub_blocks(
    node: Node,
    length: dict[str, int],
    lead: list[str],
    kept: tuple[str, ...],
    task_bytes: float,
) -> dict[str, int]:
    """Return the lengths of the pieces that a task reads and reduces at a time.

    Adding many shots to the sums of a few frames is faster than a few shots to the sums
    of many, which pass through memory every time. But a file that stores rows in larger
    pieces would be read again for each of these frames.
    """
    inside = dict(length)
    module = module_dim(node)
    if module is not None and module not in whole_dims(node):
        # The sums of one module stay in the cache while its shots stream by.
        inside[module] = min(1, length[module])
    least, goal = stored_pieces(node)

    def piece_bytes() -> float:
        return task_bytes * prod(inside[x] / n for x, n in length.items() if n)

    stay = next((d for d in lead[1:] if d in kept and length[d] > 1), None)
    if stay and goal == SUB_BLOCK and lead[0] not in kept:
        state = prod(length[d] for d in kept) // length[stay]
        fitting = max(least.get(stay, 1), SUB_STATE // max(state, 1), 1)
        inside[stay] = min(length[stay], fitting)
    if lead and set(lead) <= set(kept):
        n_frames = prod(inside[d] for d in lead)
        frame = piece_bytes() / max(n_frames, 1)
        goal = frames_together(node, inside, kept, frame * min(FRAMES, n_frames), goal)
    for d in lead:
        now = piece_bytes()
        if now > goal:
            fitting = max(least.get(d, 1), int(inside[d] * goal / now), 1)
            inside[d] = min(inside[d], fitting)
    return inside


def frames_together(
    node: Node, inside: dict[str, int], kept: tuple[str, ...], wanted: float, goal: int
) -> int:
    """Return the bytes of a sub-block that holds a few frames of `wanted` bytes.

    Large frames are cut along slow_scan, unless a map or the file needs their rows
    together.
    """
    if wanted <= goal:
        return goal
    rows, least = rows_together(node)
    # A map may have put other axes in the place of the pixels.
    if rows in inside.keys() - {*kept} - whole_dims(node):
        some = min(inside[rows], max(least, int(inside[rows] * goal / wanted)))
        wanted *= some / inside[rows]
        inside[rows] = some
    return max(goal, min(int(wanted), MAX_SUB_BLOCK))


def rows_together(node: Node) -> tuple[str, int]:
    """Return the slow axis of the pixels, and how much of it is stored in one piece."""
    least, name = 1, ""
    for source in sources(node):
        name = source.dims[-2]
        if source.plan.chunk:
            least = max(least, source.plan.chunk[-2])
    return name, least


def stored_pieces(node: Node) -> tuple[dict[str, int], int]:
    """Return the least lengths to cut axes to, and the bytes of a good sub-block.

    Files that store several rows in one piece are read in sub-blocks of a few such
    pieces, so that few pieces are read twice.
    """
    least: dict[str, int] = {}
    goal = SUB_BLOCK
    for source in sources(node):
        plan = source.plan
        if not plan.chunk:
            continue
        n_lead = len(plan.lead_shape)
        inner = source.dims[n_lead : n_lead + plan.n_inner]
        for d, n in zip(inner, plan.chunk[1:], strict=False):
            least[d] = max(n, least.get(d, 1))
        if plan.chunk[0] > 1:
            piece = prod(plan.chunk) * plan.dtype.itemsize
            goal = max(goal, min(PIECES * piece, MAX_SUB_BLOCK))
    return least, goal


def block_pieces(node: Map) -> dict[str, int]:
    """Return the lengths of the pieces in which a task computes a block of a map.

    As few frames as make a sub-block; one module after the other where its kernel does
    not need them together.
    """
    length = sizes(node)
    module, frame = module_dim(node), node.frame_dims
    pieces = dict(length)
    if module in frame and module not in whole_dims(node):
        pieces[module] = min(1, length[module])
    least, goal = stored_pieces(node)
    lead = [d for d in lead_dims(node) if d not in whole_dims(node)]
    total = source_bytes(node)
    for d in lead:
        now = total * prod(pieces[x] / length[x] for x in frame if length[x])
        if now > goal:
            pieces[d] = max(least.get(d, 1), int(pieces[d] * goal / now), 1)
    return pieces


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
