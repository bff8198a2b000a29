"""Frames resampled on rings: a table of pixels, applied to one frame after the other.

A table says for every sample which pixels it is made of. It is made once and comes to
the kernel as a record without axes: one array of one element whose fields are the
arrays of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, read_only, usual
from xfelred.kernels.memory import fills, memory_for

INDEX, FRACTION, CORNERS = "index", "fraction", "corners"
START, WEIGHT = "start", "weight"
ALL_CORNERS = 15  # a bit each

Table = Array


def record_of(**fields: Array) -> Table:
    kinds = [(name, a.dtype, a.shape) for name, a in fields.items()]
    out = np.zeros((), dtype=np.dtype(kinds, align=True))
    for name, values in fields.items():
        out[name] = values
    return out


def field(table: Table, name: str) -> Array:
    """Return one array of a record, which may have got axes of length 1."""
    return np.asarray(table.reshape(-1)[name][0])


@fills
def remap_polar(
    block: Array,
    table: Table,
    *masks: Array,
    n_core: int,
    shape: tuple[int, int],
    min_weight: float,
    out: Array | None = None,
) -> NDArray[np.floating[Any]]:
    """Resample every frame of a block.

    block: number (..., core axes); frames; not modified.
    table: record (1, ...); of `nearest_table` (field index), `linear_table` (index,
        fraction, corners) or `area_table` (start, index, weight); `index` counts the
        pixels of a frame.
    *masks: bool or integer (..., core axes), each axis of length 1 or as in `block`;
        non-zero: left out, besides what the table leaves out.
    n_core: number of core axes.
    shape: (radius, phi).
    min_weight: a sample of which good pixels make up less is NaN.
    out: where to write the result.
    Returns float32 or float64 (..., radius, phi); float64 for float64 frames. NaN where
        there is no good pixel.
    """
    lead = block.shape[: block.ndim - n_core]
    frames = flat_frames(block, n_core)
    bad = joined_masks(masks, block.shape, n_core)
    flat = len(frames), shape[0] * shape[1]
    out = memory_for(out, flat, result_dtype(block.dtype))
    names = table.dtype.names or ()
    if FRACTION in names:
        fraction = field(table, FRACTION).reshape(-1, 2)
        index, corners = field(table, INDEX).ravel(), field(table, CORNERS).ravel()
        parts = (read_only(index), read_only(fraction), read_only(corners))
        take_linear(frames, block.shape[-1], parts, bad, min_weight, out)
    elif WEIGHT in names:
        start, weight = field(table, START), field(table, WEIGHT)
        take_area(frames, start, field(table, INDEX), weight, bad, min_weight, out)
    else:
        take_nearest(frames, field(table, INDEX).ravel(), bad, out)
    return out.reshape(*lead, *shape)


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of samples: float64 for float64, else float32."""
    wide = dtype.kind == "f" and dtype.itemsize > 4
    return np.dtype(np.float64 if wide else np.float32)


def flat_frames(block: Array, n_core: int) -> Array:
    pixels = int(np.prod(block.shape[block.ndim - n_core :], dtype=np.int64))
    return usual(block.reshape(-1, pixels))


def joined_masks(
    masks: tuple[Array, ...], shape: tuple[int, ...], n_core: int
) -> Bools:
    """Return one mask (1 or frame, pixel); (0, 0) if nothing is bad."""
    found: Bools | None = None
    for mask in masks:
        bad = mask != 0
        if bad.any():
            found = bad if found is None else found | bad
    if found is None:
        return read_only(np.zeros((0, 0), dtype=bool))
    lead, core = shape[: len(shape) - n_core], shape[len(shape) - n_core :]
    n_frames = int(np.prod(lead, dtype=np.int64))
    if all(n == 1 for n in found.shape[: len(lead)]):
        lead, n_frames = (1,) * len(lead), 1
    whole = np.broadcast_to(found, (*lead, *core))
    return read_only(whole.reshape(n_frames, -1))


@njit(nogil=True, cache=True)
def take_nearest(frames: Array, index: Array, bad: Array, out: Array) -> None:
    """Copy one pixel for each sample; a negative index gives NaN."""
    for i in range(len(frames)):
        frame, row = frames[i], out[i]
        for s in range(index.size):
            p = index[s]
            row[s] = frame[p] if p >= 0 else np.nan
        if len(bad):
            hidden = bad[min(i, len(bad) - 1)]
            for s in range(index.size):
                if index[s] >= 0 and hidden[index[s]]:
                    row[s] = np.nan


@njit(nogil=True, cache=True)
def take_linear(
    frames: Array,
    width: int,
    parts: tuple[Array, Array, Array],
    bad: Array,
    min_weight: float,
    out: Array,
) -> None:
    """Interpolate between four pixels: index, right of it, below it, and both."""
    index, fraction, corners = parts
    one = fraction.dtype.type(1)  # in the precision of the result
    # Unsigned: numba looks at the sign of any other index in every access.
    right, below = np.uintp(1), np.uintp(width)
    for i in range(len(frames)):
        frame, row = frames[i], out[i]
        hidden = bad[min(i, len(bad) - 1)] if len(bad) else bad.ravel()
        for s in range(index.size):
            x, y = fraction[s, 0], fraction[s, 1]
            if corners[s] == ALL_CORNERS and not hidden.size:
                p = np.uintp(index[s])
                # As floats first: differences of unsigned integers wrap.
                a, b = frame[p] * one, frame[p + right] * one
                c, d = frame[p + below] * one, frame[p + below + right] * one
                top, low = a + x * (b - a), c + x * (d - c)
                value = top + y * (low - top)
                if np.isfinite(value):
                    row[s] = value
                    continue
            row[s] = good_mean(
                frame, width, index[s], x, y, corners[s], hidden, min_weight
            )


@njit(nogil=True, cache=True)
def good_mean(
    frame: Array,
    width: int,
    p: int,
    x: float,
    y: float,
    corners: int,
    hidden: Array,
    min_weight: float,
) -> float:
    """Return the weighted mean of the good ones of four pixels, or NaN."""
    total, weights = 0.0, 0.0
    for c in range(4):
        if not (corners >> c) & 1:
            continue
        at = p + (c & 1) + (c >> 1) * width
        v = frame[at]
        if not np.isfinite(v) or (hidden.size and hidden[at]):
            continue
        w = (x if c & 1 else 1.0 - x) * (y if c >> 1 else 1.0 - y)
        total += w * v
        weights += w
    return total / weights if weights > 0 and weights >= min_weight else np.nan


@njit(nogil=True, cache=True)
def take_area(
    frames: Array,
    start: Array,
    index: Array,
    weight: Array,
    bad: Array,
    min_weight: float,
    out: Array,
) -> None:
    """Average the good pixels of every sample by their weights."""
    for i in range(len(frames)):
        frame, row = frames[i], out[i]
        hidden = bad[min(i, len(bad) - 1)] if len(bad) else bad.ravel()
        for s in range(start.size - 1):
            total, weights = 0.0, 0.0
            for e in range(start[s], start[s + 1]):
                v = frame[index[e]]
                if not np.isfinite(v) or (hidden.size and hidden[index[e]]):
                    continue
                total += weight[e] * np.float64(v)
                weights += weight[e]
            # Shares are float32, and their sum may miss the limit by its last digits.
            enough = weights > 0 and weights >= min_weight - 1e-6
            row[s] = total / weights if enough else np.nan
