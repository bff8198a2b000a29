"""Sets of blocks of an array as boxes: products of block numbers along each axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.lazy.indexing import Selector, as_slice

Box = tuple[NDArray[np.integer[Any]], ...]


def blocks_in(box: Box) -> Iterator[tuple[int, ...]]:
    return product(*(axis.tolist() for axis in box))


def size(box: Box) -> int:
    """Return the number of blocks in a box."""
    return prod(len(axis) for axis in box)


def full_box(numblocks: Iterable[int]) -> Box:
    return tuple(np.arange(n) for n in numblocks)


def boxes_of(blocks: NDArray[np.integer[Any]]) -> list[Box]:
    """Return distinct blocks (n, axis) as boxes that do not overlap."""
    if not len(blocks):
        return []
    if not blocks.shape[1]:
        return [()]
    box = tuple(np.unique(column) for column in blocks.T)
    if size(box) == len(blocks):
        return [box]
    groups: dict[bytes, tuple[list[int], NDArray[np.integer[Any]]]] = {}
    blocks = blocks[np.lexsort(blocks.T[::-1])]
    starts = np.flatnonzero(np.diff(blocks[:, 0], prepend=-1))
    for rows in np.split(blocks, starts[1:]):
        rest = np.ascontiguousarray(rows[:, 1:])
        groups.setdefault(rest.tobytes(), ([], rest))[0].append(int(rows[0, 0]))
    return [
        (np.array(first), *box)
        for first, rest in groups.values()
        for box in boxes_of(rest)
    ]


def union(boxes: list[Box]) -> list[Box]:
    """Return boxes that do not overlap and hold the same blocks."""
    if len(boxes) < 2 or all(
        all(np.array_equal(a, b) for a, b in zip(box, boxes[0], strict=True))
        for box in boxes
    ):
        return boxes[:1]
    return boxes_of(as_blocks(b for box in boxes for b in blocks_in(box)))


def as_blocks(blocks: Iterable[tuple[int, ...]]) -> NDArray[np.integer[Any]]:
    """Return distinct blocks as an array (n, axis)."""
    distinct = set(blocks)
    n_axes = len(next(iter(distinct), ()))
    return np.array(list(distinct), np.int64).reshape(len(distinct), n_axes)


def positions(chunks: tuple[int, ...], numbers: NDArray[np.integer[Any]]) -> Selector:
    """Return where the elements of some chunks of an axis lie."""
    edges = np.concatenate([[0], np.cumsum(chunks)])
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers):
        return slice(int(edges[first]), int(edges[last + 1]), 1)
    return as_slice(
        np.concatenate([np.arange(edges[i], edges[i + 1]) for i in numbers])
    )
