"""Lazy arrays that do not become memory where there is not enough of it.

dask knows no moment "before it is computed" in which an array could object. But it
compares what would join the blocks of a collection (`__dask_postcompute__`) when that
collection is to be gathered, in the process of the user and before anything is read;
it does not when one is persisted, drawn, optimised or stored. `Joining` objects then.
Checked with dask 2025.4 and 2026.8 (`HLGFinalizeCompute._simplify_down`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from math import prod
from typing import Any

import dask.array as da
import numpy as np
from dask.utils import format_bytes

from xfelred.errors import SchedulerError, TooLargeError
from xfelred.lazy.dask_seam import HighLevelGraph, Key, TaskRef, as_kind, keeps_blocks
from xfelred.lazy.free_memory import free_memory
from xfelred.lazy.rooms import Wanted, gathered, has_room, put_in_rooms
from xfelred.lazy.scheduler import shares_memory
from xfelred.settings import setting

ALWAYS_FITS = 16 << 20  # bytes; to look costs nothing beside the reading of more
# Methods of dask's arrays that return none, and those whose blocks may be anything, or
# nothing at all, as `da.store` uses them.
LEFT_ALONE = {
    "__new__", "__array__", "__dask_graph__", "__dask_keys__", "__dask_layers__",
    "__dask_postpersist__", "__dask_tokenize__", "__len__", "__repr__", "__setitem__",
    "_repr_html_", "_reset_cache", "map_blocks", "map_overlap", "store", "to_delayed",
}  # fmt: skip


class Asked(threading.local):
    """Bytes of the arrays that are to be gathered together, and what that takes."""

    def __init__(self) -> None:
        self.sizes: dict[int, tuple[int, int]] = {}


ASKED = Asked()


class Joining(tuple[Any, ...]):
    """What joins the blocks of an array; it objects to what does not fit."""

    array: GuardedArray

    def __eq__(self, other: object) -> bool:
        # By identity: dask may compare the same object more than once.
        ASKED.sizes[id(self)] = memory_of(self.array)
        size, need = map(sum, zip(*ASKED.sizes.values(), strict=True))
        n = len(ASKED.sizes)
        what = "a result" if n == 1 else f"{n} results together, the last of them,"
        refuse_too_large(size, need, self.array.shape, what)
        return tuple.__eq__(self, other)

    __hash__ = tuple.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a scheduler as dask's own: it was asked here."""
        return tuple, (tuple(self),)


def memory_of(array: da.Array) -> tuple[int, int]:
    """Return the bytes of an array, and of it with its blocks while they are joined."""
    size = prod(array.shape) * array.dtype.itemsize
    if not np.isfinite(size):  # lengths that only computing tells
        return 0, 0
    here = has_room(array.chunks, array.dtype) and is_here()
    twice = array.npartitions > 1 and not here
    return int(size), int(size) * (2 if twice else 1)


def room_of(array: da.Array) -> Key | None:
    """Return the key of the memory into which the blocks of an array are put."""
    layer = array.dask.layers.get(array.name)
    return getattr(layer, "room", None)


def is_here() -> bool:
    """Tell whether this process will compute."""
    try:
        return shares_memory()
    except SchedulerError:  # an asynchronous client, which may still be given this
        return False


def refuse_too_large(
    size: int, need: int, shape: tuple[int, ...], what: str = "a result"
) -> None:
    """Raise TooLargeError unless there is memory for results that are gathered.

    `size` is that of the results, `need` includes their blocks while they are joined
    (both bytes); `shape` is that of the last one, for the message.
    """
    guard = setting("memory_guard")
    # What free memory is takes 0.1 ms to find out: not for every small result.
    if guard is False or (guard is True and need < ALWAYS_FITS):
        return
    limit, by = free_memory() if guard is True else (guard, "memory_guard")
    if need <= limit:
        return
    joined = f" ({format_bytes(need)} while its blocks are joined)" * (need > size)
    raise TooLargeError(
        f"{what} of {format_bytes(size)}{joined}, of shape {shape}, does not fit in"
        f" the {format_bytes(limit)} of memory that are free, by {by}. Nothing was"
        " read. Select less (frames.isel(train=slice(0, 10))), reduce it"
        " (ops.statistics(frames, 'train')), or write it block by block"
        " (xf.write(frames, 'frames.zarr')). To try it all the same: with"
        " xf.options(memory_guard=False): ..."
    )


class ArrayKind(type):
    """The type of our arrays: they count as `dask.array.Array` in sets of types.

    xarray refuses to mix "chunked array types" and finds them with ``{type(a), ...}``;
    without this, a Dataset of planned and of ordinary dask arrays cannot be computed.
    """

    def __eq__(cls, other: object) -> bool:
        return other is da.Array or isinstance(other, ArrayKind)

    def __hash__(cls) -> int:
        return hash(da.Array)


class GuardedArray(da.Array, metaclass=ArrayKind):  # type: ignore[misc]
    """A dask array that is not gathered where it does not fit in memory.

    What dask makes of it by arithmetic, selection and numpy's functions is one, too.
    It adds up its chunks when it is asked for its shape: dask keeps a list of where
    every chunk starts, 40 MB for a million trains, and that for every selection.
    """

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(sum, self.chunks))

    @property
    def ndim(self) -> int:
        return len(self.chunks)

    def __dask_postcompute__(self) -> Joining:
        ASKED.sizes.clear()  # a new computation begins
        joining = Joining(self.joined_by())
        joining.array = self
        return joining

    def joined_by(self) -> tuple[Any, ...]:
        """Return the function that joins blocks, and what it is given besides."""
        function, args = super().__dask_postcompute__()
        if not has_room(self.chunks, self.dtype) or not is_here() or keeps_blocks():
            return function, args
        room = room_of(self)
        wanted = Wanted(self.name, self.chunks, self.dtype)
        return gathered, (TaskRef(room) if room else wanted, function, *args)

    @property
    def __dask_optimize__(self) -> Callable[..., Any]:
        """Return what optimizes the graph: dask's own where others compute."""
        return Optimizing() if is_here() else da.Array.__dask_optimize__

    def __reduce__(self) -> tuple[Any, ...]:
        return GuardedArray, super().__reduce__()[1]

    @property
    def real(self) -> Any:
        return guarded(super().real)

    @property
    def imag(self) -> Any:
        return guarded(super().imag)


class Optimizing:
    """Optimizes as dask does, once results are to be computed where they will lie.

    It counts as dask's own: of collections with different ones dask returns the results
    in another order than they were asked for (2026.8), and all it loses is the rooms.
    """

    def __call__(self, graph: Any, keys: Any, **kwargs: object) -> Any:
        known = isinstance(graph, HighLevelGraph)
        graph = put_in_rooms(graph) if known else graph
        return da.Array.__dask_optimize__(graph, keys, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Optimizing) or other is da.Array.__dask_optimize__

    def __hash__(self) -> int:
        return hash(da.Array.__dask_optimize__)


def guarded(found: object) -> Any:
    """Return ordinary dask arrays as guarded ones, anything else as it is."""
    if type(found) is tuple or type(found) is list:
        return type(found)(map(guarded, found))
    if type(found) is not da.Array:
        return found
    return as_kind(GuardedArray, found)


def passing_on(name: str) -> Callable[..., Any]:
    plain = getattr(da.Array, name)

    @wraps(plain)
    def method(self: da.Array, *args: object, **kwargs: object) -> Any:
        return guarded(plain(self, *args, **kwargs))

    return method


for word, found in vars(da.Array).items():
    if isfunction(found) and word not in LEFT_ALONE and word not in vars(GuardedArray):
        setattr(GuardedArray, word, passing_on(word))
