"""Dask arrays that remember their recipe, so that selecting reaches the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from math import prod
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from xfelred.errors import SchedulerError, warn
from xfelred.kernels.elementwise import cast
from xfelred.lazy.dask_seam import plans_queries, written_to
from xfelred.lazy.elementwise import KINDS, elementwise, worked_on
from xfelred.lazy.gaps import has_gaps
from xfelred.lazy.guarded import GuardedArray
from xfelred.lazy.indexing import Selector, chunks_after, merge_chunks, normalized
from xfelred.lazy.layers import Chunks, layered, pick_layer
from xfelred.lazy.nodes import (
    Node,
    all_dims,
    narrow,
    viewed,
    whole_dims,
)
from xfelred.lazy.partition import TASK, bytes_of_block

# numpy functions that a recipe takes, by name: they return a dask array, or None if
# dask should do it. `arithmetic` and `statistics`, above this file, fill it.
FUNCTIONS: dict[str, Callable[..., da.Array | None]] = {}


class PlannedArray(GuardedArray):
    """A dask array with the recipe (`node`) that made it.

    It is an ordinary dask array in every respect but three: basic and sorted integer
    indexing cut the recipe instead of the blocks, what works number by number becomes
    a node of the recipe, and reductions stream through it. Any other operation gives a
    `GuardedArray`.
    """

    __slots__ = ("node",)

    def __new__(cls, array: da.Array, node: Node | None) -> PlannedArray:
        self = super().__new__(
            cls, array.dask, array.name, array.chunks, array.dtype, array._meta
        )
        self.node = node
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        plain = da.Array(self.dask, self.name, self.chunks, self.dtype, self._meta)
        return PlannedArray, (plain, self.node)

    def copy(self) -> PlannedArray:
        """Return an equal array; nothing is shared that could change."""
        return PlannedArray(self, self.node)

    def __array_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Stream through the recipe if there is a way to; xarray works like this."""
        known = getattr(np, func.__name__, None) is func
        by_recipe = FUNCTIONS.get(func.__name__) if known else None
        found = None if by_recipe is None else by_recipe(*args, **kwargs)
        if found is None:
            found = super().__array_function__(func, types, args, kwargs)
            forget(kwargs.get("out"))
        return found

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: Any
    ) -> Any:
        """Add a node to the recipe if this is sure to give numpy's numbers."""
        out = kwargs.get("out")
        options = {k: v for k, v in kwargs.items() if k != "out"}
        found = None
        plain = ufunc.signature is None and ufunc.nout == 1 and method == "__call__"
        if plain and options.keys() <= {"dtype"}:
            found = applied(ufunc, inputs, options)
        if found is None:
            found = super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
            forget(out)
        elif out is not None:
            result = found
            found = written_to(out, result)
            if isinstance(found, PlannedArray):
                found.node = result.node
        return found

    def __getitem__(self, index: object) -> da.Array:
        """Select before reading where possible, else as dask does."""
        if self.node is None:
            return super().__getitem__(index)
        if isinstance(index, tuple) and adds_axes(index):
            return with_new_axes(self, index)
        found = selection(index, self.shape)
        if found is None:
            return super().__getitem__(index)
        selectors, dropped = found
        dims = self.node.dims
        node, rest = narrow(self.node, dict(zip(dims, selectors, strict=True)))
        if node is self.node and not any(dropped):
            return self if not rest else super().__getitem__(index)
        chunks = dict(zip(dims, self.chunks, strict=True))
        chunks |= {
            d: chunks_after(chunks[d], s)
            for d, s in zip(dims, selectors, strict=True)
            if d not in rest
        }
        kept = tuple(
            d for d, out in zip(dims, dropped, strict=True) if not out or d in rest
        )
        node = viewed(node, kept)
        out = planned(node, coarsened(self, {d: chunks[d] for d in kept}))
        if not rest:
            return out
        later = tuple(
            (s.start if out and isinstance(s, slice) else s)
            if d in rest
            else slice(None)
            for d, s, out in zip(dims, selectors, dropped, strict=True)
            if d in kept
        )
        return part_of_blocks(out, later)

    def __setitem__(self, key: object, value: object) -> None:
        """Assign as dask does; the recipe no longer describes the result."""
        super().__setitem__(key, value)
        # Else a selection would read the numbers from the files again, as they were.
        self.node = None

    def rechunk(
        self, chunks: object = "auto", *args: object, **kwargs: object
    ) -> da.Array:
        """Return the same recipe in other blocks: nothing is read twice or copied."""
        if self.node is None or args or any(v is not None for v in kwargs.values()):
            return super().rechunk(chunks, *args, **kwargs)
        if isinstance(chunks, dict):
            chunks = {axis % self.ndim: c for axis, c in chunks.items()}
            chunks = tuple(chunks.get(i, self.chunks[i]) for i in range(self.ndim))
        if isinstance(chunks, (tuple, list)):
            chunks = tuple(
                old if c is None else c
                for c, old in zip(chunks, self.chunks, strict=True)
            )
        new = da.core.normalize_chunks(
            chunks, self.shape, dtype=self.dtype, previous_chunks=self.chunks
        )
        by_dim = dict(zip(self.node.dims, new, strict=True))
        # A kernel needs these axes whole; blocks of its result can still be cut. And
        # where it leaves a few numbers of each frame, a block of those of all frames
        # is made of blocks: one task would read the run.
        old = dict(zip(self.node.dims, self.chunks, strict=True))
        cut = any(len(by_dim[d]) > 1 for d in whole_dims(self.node))
        if cut or reads_too_much(self.node, by_dim, old):
            return super().rechunk(new)
        return planned(self.node, by_dim)

    def astype(self, dtype: DTypeLike, **kwargs: object) -> da.Array:
        """Cast as dask does; of gaps, which are NaN, no integer can be made."""
        kinds = self.dtype.kind, np.dtype(dtype).kind
        loses = kinds[0] == "f" and kinds[1] in "iu"
        # Arithmetic may have filled them; what it did to NaN is not known here.
        plain = self.node is not None and not worked_on(self.node)
        if loses and self.node is not None and plain and has_gaps(self.node):
            warn(
                "some frames were not recorded and are NaN, which"
                f" {np.dtype(dtype)} does not have: fill them first, .fillna(0), or"
                " read integers with frames(fill_value=...)"
            )
        new = np.dtype(dtype)
        if new == self.dtype or kwargs.get("casting", "unsafe") != "unsafe":
            return super().astype(dtype, **kwargs)
        known = new.kind in KINDS and self.dtype.kind != "c"
        found = applied(cast, [self], trial=lambda x: x.astype(new)) if known else None
        return super().astype(dtype, **kwargs) if found is None else found

    def transpose(self, *axes: int | Sequence[int]) -> da.Array:
        given: Any = axes
        if len(axes) == 1 and not isinstance(axes[0], int):
            (given,) = axes
        order = tuple(given) if given else tuple(reversed(range(self.ndim)))
        if self.node is None or len(order) != self.ndim:
            return super().transpose(*axes)
        order = tuple(i % self.ndim for i in order)
        if order == tuple(range(self.ndim)):
            return self
        node = viewed(self.node, tuple(self.node.dims[i] for i in order))
        return PlannedArray(super().transpose(order), node)


def reads_too_much(node: Node, chunks: Chunks, old: Chunks) -> bool:
    """Tell whether tasks of new blocks would read far more than they return."""
    read = bytes_of_block(node, chunks)
    size = prod(max(c, default=0) for c in chunks.values()) * node.dtype.itemsize
    return read > max(TASK, 2 * size, 2 * bytes_of_block(node, old))


def forget(out: object) -> None:
    """Drop the recipe of arrays that dask has written something else to."""
    for array in out if isinstance(out, tuple) else (out,):
        if isinstance(array, PlannedArray):
            array.node = None


def applied(
    function: Callable[..., Any],
    operands: Sequence[object],
    options: Mapping[str, Any] | None = None,
    *,
    trial: Callable[..., Any] | None = None,
) -> PlannedArray | None:
    """Return a function of planned arrays and numbers; None if dask should do it."""
    found = elementwise(function, operands, options, trial=trial)
    if found is None:
        return None
    node, like = found
    return planned(node, dict(zip(node.dims, like.chunks, strict=True)))


def part_of_blocks(array: da.Array, index: tuple[object, ...]) -> da.Array:
    """Return a selection along axes of which blocks hold all, else as dask does."""
    lengths: dict[int, int] = {}
    plain = True
    for i, (item, n) in enumerate(zip(index, array.shape, strict=True)):
        if isinstance(item, slice) and len(range(*item.indices(n))) < n:
            lengths[i] = len(range(*item.indices(n)))
        whole = isinstance(item, slice) and i not in lengths
        usual = isinstance(item, (slice, int, np.integer))
        plain &= usual and (whole or array.numblocks[i] == 1)
    if not plain:
        return GuardedArray.__getitem__(array, index)
    return pick_layer(array, index, lengths)  # type: ignore[arg-type]


def adds_axes(index: tuple[object, ...]) -> bool:
    """Tell whether an index says ``None`` and nothing that changes the axes besides."""
    plain = (type(None), type(Ellipsis), slice, int, np.integer)
    usual = all(isinstance(i, plain) and not isinstance(i, bool) for i in index)
    return usual and any(i is None for i in index)


def with_new_axes(array: PlannedArray, index: tuple[object, ...]) -> da.Array:
    """Return a selection with axes of length 1 where the index says ``None``."""
    found = array[tuple(i for i in index if i is not None)]
    # What stands in the result, in this order: numbers take their axes away.
    items = [i for i in index if i is None or not isinstance(i, (int, np.integer))]
    missing = found.ndim - sum(i is not None and i is not Ellipsis for i in items)
    at = next((k for k, i in enumerate(items) if i is Ellipsis), len(items))
    items[at : at + 1] = [slice(None)] * missing
    new = [i is None for i in items]
    if not isinstance(found, PlannedArray) or found.node is None:
        return found[tuple(None if n else slice(None) for n in new)]
    taken, old = all_dims(found.node), iter(found.node.dims)
    names = (d for d in (f"new-{i}" for i in count()) if d not in taken)
    dims = tuple(next(names) if n else next(old) for n in new)
    chunks = dict(zip(found.node.dims, found.chunks, strict=True))
    return planned(viewed(found.node, dims), {d: chunks.get(d, (1,)) for d in dims})


def selection(
    index: object, shape: tuple[int, ...]
) -> tuple[list[Selector], list[bool]] | None:
    """Return a selector for every axis and which axes go; None if left to dask."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    items += [slice(None)] * (len(shape) - len(items))
    if (
        len(items) != len(shape)
        or sum(isinstance(i, (list, np.ndarray)) for i in items) > 1
    ):
        return None
    found = [normalized(item, n) for item, n in zip(items, shape, strict=True)]
    if any(f is None for f in found):
        return None
    return [f[0] for f in found if f], [f[1] for f in found if f]


def coarsened(old: da.Array, chunks: Chunks) -> Chunks:
    """Join chunks along the first axis while they stay within the old block size.

    A selection of one module would otherwise leave many small blocks.
    """
    first = next(iter(chunks), None)
    if first is None or not old.ndim:
        return chunks
    largest = prod(max(c) for c in old.chunks)
    now = prod(max(c) for c in chunks.values())
    factor = largest // max(now, 1)
    return {**chunks, first: merge_chunks(chunks[first], factor)}


def planned(node: Node, chunks: Chunks) -> PlannedArray:
    if plans_queries():
        raise SchedulerError(
            "dask's experimental setting 'array.query-planning' was on when dask.array"
            " was imported: these are other arrays, with which xarray does not work,"
            " either. Switch it off (DASK_ARRAY__QUERY_PLANNING=False, or"
            " dask.config.set({'array.query-planning': False}) before the import) and"
            " start Python again"
        )
    return PlannedArray(layered(node, chunks), node)
