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
from numpy.typing import NDArray

from xfelred.errors import TooLargeError
from xfelred.kernels.room import room_of, taken_whole
from xfelred.lazy.dask_seam import as_kind, finalize
from xfelred.lazy.free_memory import free_memory
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
        refuse_too_large(size, need, self.array.shape)
        return tuple.__eq__(self, other)

    __hash__ = tuple.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a scheduler as dask's own: it was asked here."""
        return tuple, (da.Array.__dask_postcompute__(self.array),)


def gathered(blocks: Any) -> Any:
    """Return the blocks of an array as one, without a copy where they are one."""
    found: dict[tuple[int, ...], Any] = {(): blocks}
    while found and all(isinstance(b, (list, tuple)) for b in found.values()):
        found = {(*at, i): b for at, some in found.items() for i, b in enumerate(some)}
    if len(found) > 1 and all(isinstance(b, np.ndarray) for b in found.values()):
        starts = places_of(found)
        if starts is not None:
            places, shape = starts
            whole = taken_whole(list(found.values()), places, shape)
            if whole is not None:
                return whole
    return finalize(blocks)


def places_of(
    blocks: dict[tuple[int, ...], NDArray[Any]],
) -> tuple[list[tuple[int, ...]], tuple[int, ...]] | None:
    """Return where blocks of a grid begin, and the shape of all; None if unknown."""
    n_axes = len(next(iter(blocks)))
    if any(b.ndim != n_axes for b in blocks.values()):
        return None
    lengths = [
        [blocks[(0,) * axis + (i,) + (0,) * (n_axes - axis - 1)].shape[axis]
         for i in range(1 + max(at[axis] for at in blocks))]
        for axis in range(n_axes)
    ]  # fmt: skip
    begin = [np.cumsum([0, *some]).tolist() for some in lengths]
    places = [tuple(b[i] for b, i in zip(begin, at, strict=True)) for at in blocks]
    return places, tuple(b[-1] for b in begin)


def persisted(blocks: Any, rebuild: Any, *rest: Any, **options: Any) -> Any:
    """Put together what was persisted: its blocks stay its own."""
    for block in blocks.values():
        place = room_of(block)
        if place is not None:
            place.take()
    return rebuild(blocks, *rest, **options)


def memory_of(array: da.Array) -> tuple[int, int]:
    """Return the bytes of an array, and of it with its blocks while they are joined."""
    size = prod(array.shape) * array.dtype.itemsize
    if not np.isfinite(size):  # lengths that only computing tells
        return 0, 0
    return int(size), int(size) * (2 if array.npartitions > 1 else 1)


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
        joining = Joining((gathered, ()))
        joining.array = self
        return joining

    def __reduce__(self) -> tuple[Any, ...]:
        return GuardedArray, super().__reduce__()[1]

    def __dask_postpersist__(self) -> Any:
        rebuild, rest = super().__dask_postpersist__()
        return persisted, (rebuild, *rest)

    @property
    def real(self) -> Any:
        return guarded(super().real)

    @property
    def imag(self) -> Any:
        return guarded(super().imag)


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
