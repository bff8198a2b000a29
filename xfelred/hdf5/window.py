"""Parts of rows: which bytes of a chunk they are, and where they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

# Bytes between two wanted pieces that are read along: a call costs about as much.
GAP = 8 << 10
Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Column:
    """The part of a window that lies in one chunk of every row of chunks."""

    number: int  # position among the chunks of a row of chunks
    inside: Slices  # within the chunk
    outside: Slices  # within the window


@dataclass(frozen=True)
class Pieces:
    """Stretches of bytes that hold a window of one row."""

    first: tuple[int, ...]  # where each begins, from the begin of the row on
    places: tuple[tuple[int, ...], ...]  # what each fills on leading axes of the window
    length: int  # bytes of each
    shape: tuple[int, ...]  # of the wanted values within one
    strides: tuple[int, ...]
    exact: bool  # every byte is wanted


@dataclass(frozen=True)
class Window:
    whole: bool  # all of a row
    columns: tuple[Column, ...]
    pieces: tuple[Pieces, ...]  # one for each column


@lru_cache(maxsize=1024)
def window_of(
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    bounds: tuple[tuple[int, int, int], ...],
    itemsize: int,
) -> Window:
    """Return a window (start, stop, step) of rows; `shape` and `chunk` are of a row.

    It is kept, as every block of a run asks again.
    """
    window = tuple(slice(*b) for b in bounds)
    columns = columns_of(shape, chunk, window)
    pieces = tuple(pieces_of(chunk, c.inside, itemsize) for c in columns)
    whole = all(b == (0, n, 1) for b, n in zip(bounds, shape, strict=True))
    return Window(whole, columns, pieces)


def columns_of(
    shape: tuple[int, ...], chunk: tuple[int, ...], window: Slices
) -> tuple[Column, ...]:
    """Cut a window of rows of `shape` at the edges of chunks."""
    if shape == chunk:
        return (Column(0, window, (slice(None),) * len(window)),)
    grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    axes = [list(cut(w, c)) for w, c in zip(window, chunk, strict=True)]
    found = []
    for parts in product(*axes):
        number = 0
        for (i, _, _), n in zip(parts, grid, strict=True):
            number = number * n + i
        inside = tuple(p[1] for p in parts)
        found.append(Column(number, inside, tuple(p[2] for p in parts)))
    return tuple(found)


def cut(window: slice, chunk: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield (chunk number, part inside, place in the window) along one axis."""
    places = range(window.start, window.stop, window.step)
    done = 0
    while done < len(places):
        number = places[done] // chunk
        end = min(window.stop, (number + 1) * chunk)
        n = len(range(places[done], end, window.step))
        first = places[done] - number * chunk
        last = first + (n - 1) * window.step + 1
        yield number, slice(first, last, window.step), slice(done, done + n)
        done += n


def pieces_of(chunk: tuple[int, ...], window: Slices, itemsize: int) -> Pieces:
    """Return which bytes of a row of a chunk hold a window."""
    size, start = itemsize, 0
    steps: list[int] = []
    for n, w in zip(chunk[::-1], window[::-1], strict=True):
        steps.insert(0, w.step * size)
        start += w.start * size
        size *= n
    counts = [len(range(w.start, w.stop, w.step)) for w in window]
    axis, length = len(window), itemsize
    while axis and (counts[axis - 1] == 1 or steps[axis - 1] - length <= GAP):
        axis -= 1
        length += (counts[axis] - 1) * steps[axis]
    places = tuple(product(*(range(n) for n in counts[:axis])))
    first = tuple(
        start + sum(i * s for i, s in zip(place, steps, strict=False))
        for place in places
    )
    exact = length == prod(counts[axis:]) * itemsize
    return Pieces(
        first, places, length, tuple(counts[axis:]), tuple(steps[axis:]), exact
    )
