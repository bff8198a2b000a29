"""A function of one's own on every frame."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, DTypeLike

from xfelred import lazy
from xfelred.entries import entry
from xfelred.errors import ArgumentError, did_you_mean, listing, shown
from xfelred.kernels.own_function import call_on_frames
from xfelred.names import FRAME, PULSE, TRAIN
from xfelred.ops.companions import matching
from xfelred.provenance import record


@entry
def map_frames(
    da: xr.DataArray,
    func: Callable[..., Any],
    *companions: xr.DataArray | ArrayLike,
    dims: Sequence[Hashable] | None = None,
    out_dims: Mapping[str, int] | None = None,
    dtype: DTypeLike | None = None,
    batch: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Apply a function of your own to every frame.

    It streams as the operations of this package do: a selection of the result reads
    only the frames that are selected, and a reduction reads, maps and adds up frame by
    frame in the memory of a few of them.

    Parameters
    ----------
    da : DataArray, any real dtype (...)
        Frames, in memory or lazy.
    func : callable
        ``func(frame, *companions, **options)`` on numpy arrays, which are read only.
        `frame` has the axes `dims`; with `batch` it has one more in front, the frames.
        It is called many times, in any order and in several threads, and has to be
        importable or picklable where worker processes are used.
    *companions : DataArray or array
        Further arguments that go with the frames, such as a gain map or a value per
        train; dims among those of `da`, looked up by coordinates. `func` gets the part
        that belongs to the frame, with the axes that it has among `dims` (none: a
        number), and with `batch` one in front.
    dims : sequence of str, optional
        The axes of one frame, in this order. By default all but train, pulse and frame.
    out_dims : mapping of str to int, optional
        Axes of what `func` returns and their lengths; ``{}`` for one number per frame.
        By default `dims`.
    dtype : dtype, optional
        Of the result, to which what `func` returns is converted; by default that of
        `da`.
    batch : int, optional
        `func` takes up to so many frames at once, which is faster for small ones.
    options : mapping, optional
        Keyword arguments of `func`.

    Returns
    -------
    DataArray (frame dims..., out_dims...)
        Lazy. Coordinates whose dims survive and all attributes are kept.

    Raises
    ------
    ValueError
        If `da` lacks one of `dims`, or, when computed, if `func` returns another shape.
    GeometryMismatchError
        If a companion has dims, labels or lengths that do not fit those of `da`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xfelred import ops
    >>> frames = xr.DataArray(np.arange(24.0).reshape(3, 2, 4),
    ...                       dims=("train", "slow_scan", "fast_scan"))
    >>> def brightest(frame):
    ...     return frame.max()
    >>> ops.map_frames(frames, brightest, out_dims={}).values
    array([ 7., 15., 23.])
    """
    lead = {TRAIN, PULSE, FRAME}
    core = tuple(d for d in da.dims if d not in lead) if dims is None else tuple(dims)
    unknown = [d for d in core if d not in da.dims]
    if unknown:
        raise ArgumentError(
            f"dims={listing(core)}: the array has no dim {listing(unknown)}; it has"
            f" {listing(da.dims)}.{did_you_mean(str(unknown[0]), map(str, da.dims))}"
        )
    if batch is not None and batch < 1:
        raise ArgumentError(f"batch={batch}: a batch has at least one frame")
    names = tuple(str(d) for d in core)
    result = {d: da.sizes[d] for d in names} if out_dims is None else dict(out_dims)
    twice = [d for d in result if d in da.dims and d not in names]
    if twice:
        raise ArgumentError(
            f"out_dims={listing(result)}: {listing(twice)} is a dim of the frames that"
            " stays; give it another name"
        )
    kind = number_dtype(da.dtype if dtype is None else dtype)
    own = [matching(c, da, f"companion {i + 1}") for i, c in enumerate(companions)]
    out = lazy.map_frames(
        call_on_frames,
        da,
        *own,
        core_dims=names,
        out_core=result,
        dtype=kind,
        name=getattr(func, "__name__", "map_frames"),
        function=func,
        options=dict(options or {}),
        core=tuple(tuple(d in a.dims for d in names) for a in (da, *own)),
        out_shape=tuple(result.values()),
        out_dtype=kind,
        batch=batch or 0,
    )
    return record(out, "map_frames", da, func=getattr(func, "__name__", str(func)))


def number_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"dtype={shown(dtype)} is no dtype of numpy: {error}"
        ) from error
    if found.kind not in "biufc":
        raise ArgumentError(f"dtype={found} is no dtype of numbers")
    return found
