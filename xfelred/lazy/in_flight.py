"""Many computations one after another, of which workers always have some to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import dask

from xfelred.lazy.scheduler import client

S = TypeVar("S")
T = TypeVar("T")
Groups = Iterable[Sequence[tuple[T, Any]]]
Found = Iterator[list[tuple[T, Any]]]


@contextmanager
def results_of(
    groups: Groups[T], at_once: int, *, in_order: bool = False
) -> Iterator[Found[T]]:
    """Give the results of lazy things as they come; those left over are called off.

    Parameters
    ----------
    groups : iterable of lists of (name, dask collection)
        What the things of a group have in common is computed once. A group is asked
        for when there is room for it: it may be made then.
    at_once : int
        Things that workers of a cluster have in work, or ready, at least: none waits
        until all others are done. This process computes one group after another.
    in_order : bool, optional
        Whether results come in the order of the groups; workers hold those that are
        ready before.

    Yields
    ------
    iterator of lists of (name, result)
        What is ready.
    """
    with closing(stream(groups, at_once, in_order)) as found:
        yield found


def each(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Return what a function makes of plain values, by whatever computes."""
    lazy = [dask.delayed(function, pure=False, traverse=False)(i) for i in items]
    return list(dask.compute(*lazy))


def stream(
    groups: Groups[T], at_once: int, in_order: bool
) -> Generator[list[tuple[T, Any]]]:
    workers = client()
    if workers is not None:
        yield from of_workers(workers, groups, at_once, in_order)
        return
    for group in groups:
        found = dask.compute(*(lazy for _, lazy in group))
        yield [(name, result) for (name, _), result in zip(group, found, strict=True)]


def of_workers(
    workers: Any, groups: Groups[T], at_once: int, in_order: bool
) -> Found[T]:
    rest = iter(groups)
    running: dict[int, tuple[T, Any]] = {}  # by the order in which they began
    ended: SimpleQueue[int] = SimpleQueue()
    begun = 0
    try:
        while True:
            while len(running) < at_once and (group := next(rest, None)) is not None:
                futures = workers.compute([lazy for _, lazy in group])
                for (name, _), future in zip(group, futures, strict=True):
                    running[begun] = name, future
                    future.add_done_callback(lambda _, n=begun: ended.put(n))
                    begun += 1
            if not running:
                return
            # One at a time: workers hold the others until they are asked for.
            name, future = running.pop(next(iter(running)) if in_order else ended.get())
            yield [(name, future.result())]
            del future
    finally:
        workers.cancel([future for _, future in running.values()])
