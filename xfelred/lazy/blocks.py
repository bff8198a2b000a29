"""Kernels applied to blocks of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xfelred.errors import ArgumentError, did_you_mean, listing
from xfelred.lazy.array import PlannedArray, planned
from xfelred.lazy.guarded import guarded
from xfelred.lazy.kernel_layer import kernel_layer
from xfelred.lazy.layers import Chunks
from xfelred.lazy.nodes import (
    HASHED,
    Const,
    Kernel,
    Map,
    Node,
    constant,
    lead_dims,
    relabelled,
    whole_dims,
)
from xfelred.lazy.partition import TASK, bytes_of_block, evenly


def map_frames(
    kernel: Kernel,
    array: xr.DataArray,
    *companions: xr.DataArray,
    core_dims: tuple[str, ...] = (),
    out_core: Mapping[str, int] | None = None,
    dtype: DTypeLike | None = None,
    name: str | None = None,
    **params: object,
) -> xr.DataArray:
    """Apply a kernel to every block of frames.

    Parameters
    ----------
    kernel : callable
        Importable function ``kernel(block, *companion_blocks, **params)`` on numpy
        arrays, which it must not modify. `block` has all frame axes first, in the order
        of `array`, then `core_dims`, whole and in the order given. A companion comes
        with the same axes, of length 1 where it lacks one. The kernel returns the frame
        axes and then those of `out_core`.
    array : DataArray
        Array in memory or lazy.
    *companions : DataArray
        Arrays whose dims are among those of `array`.
    core_dims : tuple of str, optional
        Dims that the kernel works on; all others are frame dims. None: elementwise.
    out_core : mapping of str to int, optional
        Core dims of the result and their lengths. By default those of `array`.
    dtype : dtype, optional
        Of the result. By default that of `array`.
    name : str, optional
        Name of the dask layer. By default the kernel's.
    **params
        Small parameters of the kernel: numbers, strings, tuples.

    Returns
    -------
    DataArray
        Lazy. Coordinates whose dims survive and all attributes are kept.

    Raises
    ------
    ArgumentError
        If a companion has a dim that `array` lacks, or another length along one.
    """
    check(array, companions, core_dims)
    frame_dims = tuple(str(d) for d in array.dims if d not in core_dims)
    core = tuple((d, array.sizes[d]) for d in core_dims)
    out = core if out_core is None else tuple(out_core.items())
    arrays = [array, *companions]
    nodes = [node_of(a) for a in arrays]
    make = {
        "kernel": kernel,
        "frame_dims": frame_dims,
        "core_dims": tuple(core_dims),
        "out_core": out,
        "dtype": np.dtype(dtype or array.dtype),
        "name": name or kernel.__name__,
        "params": params,
    }
    whole = {d: (array.sizes[d],) for d in core_dims}
    chunks = {**chunks_of(array), **whole}
    if all(n is not None for n in nodes) and not isinstance(nodes[0], Const):
        node = Map(args=tuple(n for n in nodes if n is not None), **make)  # type: ignore[arg-type]
        data = planned(node, cut_results(node, {**chunks, **{d: (n,) for d, n in out}}))
    else:
        data = plain_map(arrays, chunks, make)
    dims = (*frame_dims, *(d for d, _ in out))
    result = xr.DataArray(
        data,
        dims=dims,
        coords=surviving(array, dims, out_core),
        name=array.name,
        attrs=array.attrs,
    )
    return result if out_core is not None else result.transpose(*array.dims)


def check(
    array: xr.DataArray,
    companions: tuple[xr.DataArray, ...],
    core_dims: tuple[str, ...],
) -> None:
    """Raise ArgumentError unless all dims fit together."""
    for d in core_dims:
        if d not in array.dims:
            raise ArgumentError(
                f"the array has no dim {d!r}; it has {listing(array.dims)}."
                f"{did_you_mean(str(d), map(str, array.dims))}"
            )
    for companion in companions:
        for dim, n in companion.sizes.items():
            if array.sizes.get(dim) != n:
                raise ArgumentError(
                    f"{companion.name or 'a companion'} has {dim}={n}, but the array"
                    f" has {dict(array.sizes)}; select or align it first"
                )


def node_of(array: xr.DataArray) -> Node | None:
    """Return the recipe of an array with its present dim names; None if unknown."""
    data = array.data
    dims = tuple(str(d) for d in array.dims)
    if isinstance(data, PlannedArray):
        if data.node is None:
            return None
        return relabelled(data.node, dict(zip(data.node.dims, dims, strict=True)))
    if isinstance(data, da.Array):
        return None
    return constant(data, dims)


def cut_results(node: Node, chunks: Chunks) -> Chunks:
    """Cut blocks of results of frames that are far larger than the frames."""
    size = prod(max(chunks[d], default=0) for d in node.dims) * node.dtype.itemsize
    pieces = int(size / max(TASK, 2 * bytes_of_block(node, chunks)))
    first = next(iter(lead_dims(node)), "")
    if pieces < 2 or first in whole_dims(node):
        return chunks
    lengths = (evenly(n, ceil(n / pieces)) for n in chunks[first])
    return {**chunks, first: tuple(n for some in lengths for n in some)}


def chunks_of(array: xr.DataArray) -> dict[str, tuple[int, ...]]:
    if array.chunks is None:
        return {str(d): (n,) for d, n in array.sizes.items()}
    return {str(d): c for d, c in zip(array.dims, array.chunks, strict=True)}


@dataclass(frozen=True, eq=False)
class InMemory:
    """An array that is read block by block; dask would copy all of it first."""

    data: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        return self.data[index]


def in_blocks(
    data: NDArray[Any] | da.Array, chunks: tuple[tuple[int, ...], ...]
) -> da.Array:
    """Return an array in memory, or an ordinary dask array, in certain blocks."""
    if isinstance(data, da.Array):
        return data.rechunk(chunks)
    # Equal arrays shall have equal names, but to copy and to hash gigabytes takes
    # longer than many things that are done with them.
    if getattr(data, "nbytes", 0) <= HASHED:
        return da.from_array(data, chunks=chunks)
    return unnamed(data, chunks)


def unnamed(data: NDArray[Any], chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    source = InMemory(np.asarray(data))
    return da.from_array(source, chunks=chunks, name=False, asarray=False)


def held(array: xr.DataArray) -> xr.DataArray:
    """Return frames in memory, for many maps of them, as one block.

    They are neither hashed nor copied each time, and must not be changed.
    """
    chunks = tuple((n,) for n in array.shape)
    return array.copy(data=unnamed(array.values, chunks))


def plain_map(
    arrays: list[xr.DataArray], chunks: dict[str, tuple[int, ...]], make: dict[str, Any]
) -> da.Array:
    """Return the map over ordinary dask blocks, rechunked where they do not fit."""
    lazy, dims = [], []
    for array in arrays:
        d = tuple(str(x) for x in array.dims)
        lazy.append(in_blocks(array.data, tuple(chunks[x] for x in d)))
        dims.append(d)
    # The arguments enter the layer as blocks; these only carry shapes and tokens.
    placeholders = tuple(
        Const(np.broadcast_to(np.empty((), a.dtype), a.shape), d, a.name)
        for a, d in zip(lazy, dims, strict=True)
    )
    return guarded(kernel_layer(Map(args=placeholders, **make), lazy, dims))


def surviving(
    array: xr.DataArray, dims: tuple[str, ...], out_core: Mapping[str, int] | None
) -> dict[Any, xr.DataArray]:
    """Return the coordinates that still apply to a result with `dims`."""
    new = set(out_core or ())
    return {
        k: c.variable
        for k, c in array.coords.items()
        if set(c.dims) <= set(dims) - (new if out_core is not None else set())
    }
