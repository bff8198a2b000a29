"""Functions of users on frames: one by one, or several at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from xfelred.errors import ArgumentError
from xfelred.kernels.arrays import Array


def call_on_frames(
    frames: Array,
    *companions: Array,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    core: tuple[tuple[bool, ...], ...],
    out_shape: tuple[int, ...],
    out_dtype: np.dtype[Any],
    batch: int,
) -> Array:
    """Return what a function gives for every frame, (frames..., out...).

    `core` tells, for each array, which of the last axes it has; a companion has length
    1 along an axis that it lacks. With `batch` 0 the function gets one frame after the
    other, else up to so many along a first axis.
    """
    n_core = len(core[0])
    lead = frames.shape[: frames.ndim - n_core]
    flat = [
        rows(a, lead, has) for a, has in zip((frames, *companions), core, strict=True)
    ]
    out = np.empty((prod(lead), *out_shape), out_dtype)
    for first in range(0, len(out), max(batch, 1)):
        some = slice(first, first + batch) if batch else first
        # Only for reading: what was read may be somebody else's, too.
        found = np.asarray(
            function(*(read_only_part(a, some) for a in flat), **options)
        )
        if found.shape != out[some].shape:
            raise ArgumentError(
                f"{getattr(function, '__name__', 'the function')} returned an array of"
                f" shape {found.shape} where {out[some].shape} was said; give the dims"
                " of its result: ops.map_frames(..., out_dims={'bin': 100})"
            )
        out[some] = found
    return out.reshape(*lead, *out_shape)


def rows(array: Array, lead: tuple[int, ...], has: tuple[bool, ...]) -> Array:
    """Return an array as (frame, the core axes that it has)."""
    n_lead = array.ndim - len(has)
    core = array.shape[n_lead:]
    there = array[(..., *(slice(None) if h else 0 for h in has))]
    kept = tuple(n for n, h in zip(core, has, strict=True) if h)
    return np.broadcast_to(there, (*lead, *kept)).reshape(prod(lead), *kept)


def read_only_part(array: Array, some: slice | int) -> Array:
    part = array[some]
    if isinstance(part, np.ndarray):
        part = part.view()
        part.flags.writeable = False
    return part
