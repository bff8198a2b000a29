"""Frames as lists of the pixels that are not 0, and frames made of such lists."""

from __future__ import annotations

import numpy as np

from xfelred.errors import GeometryMismatchError
from xfelred.kernels.arrays import Array, Floats, Ints
from xfelred.kernels.per_frame import listed

DATA, ROW, COLUMN, TILE, COUNT = range(5)
N_QUANTITIES = 5


def lit_pixels(
    frames: Array, *masks: Array, n_core: int, numbers: tuple[int, ...], room: int
) -> Floats:
    """Return the pixels that are neither 0 nor NaN nor bad, and where they are.

    frames: real (..., [module,] slow_scan, fast_scan); not modified.
    *masks: bool or integer (..., [module,] slow_scan, fast_scan); non-zero is bad.
    n_core: number of pixel axes, 2 or 3.
    numbers: of the modules.
    room: for so many of each frame, in the order of the array.
    Returns float64 (..., quantity, room): value, row, column and module, NaN behind the
        last; and, first in its row, how many there are.
    """
    flat, bad, lead = listed(frames, masks, n_core)
    out = np.full((len(flat), N_QUANTITIES, room), np.nan)
    for i, frame in enumerate(flat):
        flags = bad[i if len(bad) > 1 else 0]
        found = np.nonzero((frame != 0) & (frame == frame) & ~flags)
        module, row, column = (at[:room] for at in found)
        n = len(row)
        out[i, DATA, :n] = frame[module, row, column]
        out[i, ROW, :n], out[i, COLUMN, :n] = row, column
        out[i, TILE, :n] = np.asarray(numbers)[module]
        out[i, COUNT, 0] = len(found[0])
    return out.reshape(*lead, N_QUANTITIES, room)


def first_entries(values: Array, row: Array, *, n: int, whole: bool) -> Array:
    """Return the first `n` entries of every frame, 0 where there are fewer.

    values, row: float64 (..., entry); NaN in `row`: there is no entry.
    whole: as int64, without what is behind the point.
    """
    out = np.zeros((*values.shape[:-1], n), np.int64 if whole else np.float64)
    some = np.where(np.isnan(row), 0.0, values)[..., :n]
    out[..., : some.shape[-1]] = some
    return out


def frames_of(
    values: Array,
    row: Array,
    column: Array,
    tile: Array,
    *,
    shape: tuple[int, int, int],
    numbers: tuple[int, ...],
) -> Floats:
    """Return frames with the values of entries added up in their pixels.

    values, row, column, tile: real (..., entry); not modified. Where one of the first
        three is NaN there is no entry.
    shape: (module, slow_scan, fast_scan) of a frame.
    numbers: of the modules, in their order.
    Returns float64 (..., module, slow_scan, fast_scan).
    Raises GeometryMismatchError for an entry that is more than a pixel outside.
    """
    lead = values.shape[:-1]
    there = ~(np.isnan(values) | np.isnan(row) | np.isnan(column))
    there &= values != 0  # behind the last of a fixed number
    # Photons beside the border, towards which they were moved, belong to its pixels.
    rows, columns = (
        nearest(x, there, n) for x, n in ((row, shape[1]), (column, shape[2]))
    )
    same = tile[there][:, np.newaxis] == np.asarray(numbers)
    places, strange = same.argmax(axis=1), ~same.any(axis=1)
    if strange.any():
        raise GeometryMismatchError(
            f"an entry is of module {tile[there][strange][0]:g}; the frames have"
            f" {list(numbers)}. Say modules=[...], their numbers"
        )
    frame = np.broadcast_to(
        np.arange(values[..., 0].size).reshape(*lead, 1), values.shape
    )[there]
    at = np.ravel_multi_index((places, rows, columns), shape)
    size = shape[0] * shape[1] * shape[2]
    total = np.bincount(frame * size + at, values[there], values[..., 0].size * size)
    out: Floats = total.astype(np.float64, copy=False).reshape(*lead, *shape)
    return out


def nearest(at: Array, there: Array, n: int) -> Ints:
    """Return the pixels in which positions are, those beside the border on it."""
    found = np.floor(at[there] + 0.5).astype(np.int64)
    if found.size and (found.min() < -1 or found.max() > n):
        raise GeometryMismatchError(
            f"an entry is at {found.min() if found.min() < -1 else found.max()}, the"
            f" frames have pixels 0 to {n - 1}: give the shape of a module"
        )
    inside: Ints = np.clip(found, 0, n - 1)
    return inside
