"""Histogram of the pixels of every frame, and frames with larger pixels."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, read_only
from xfelred.kernels.per_frame import listed


@njit(nogil=True, cache=True)
def count_values(
    frames: Array,
    bad: Bools,
    bad_step: int,
    edges: Floats,
    scale: float,
    closed: bool,
    out: Ints,
) -> None:
    """Count the good pixels between edges; `scale` is bins per unit, 0 if uneven."""
    n = len(edges) - 1
    first, last = edges[0], edges[n]
    for i in range(len(frames)):
        for m in range(frames.shape[1]):
            for r in range(frames.shape[2]):
                row, flags = frames[i, m, r], bad[i * bad_step, m, r]
                for c in range(row.size):
                    v = np.float64(row[c])
                    if flags[c] or not first <= v <= last:
                        continue
                    if v == last:
                        out[i, n - 1] += np.int64(closed)
                        continue
                    if scale > 0:
                        k = min(int((v - first) * scale), n - 1)
                        # Rounding may be off by one.
                        while v < edges[k]:
                            k -= 1
                        while v >= edges[k + 1]:
                            k += 1
                    else:
                        k = int(np.searchsorted(edges, v, side="right")) - 1
                    out[i, k] += 1


def spectrum(
    frames: Array, *masks: Array, n_core: int, edges: Floats, closed: bool
) -> Ints:
    """Return how many good pixels of every frame are in each bin.

    frames: real (..., [module,] slow_scan, fast_scan); not modified. NaN counts as a
        bad pixel.
    *masks: bool or integer, axes as those of `frames` or of length 1; non-zero is bad.
    n_core: number of pixel axes, 2 or 3.
    edges: float64 (bin + 1,), rising; bins are half open.
    closed: the last edge belongs to the last bin.
    Returns int64 (..., bin).
    """
    flat, bad, lead = listed(frames, masks, n_core)
    widths = np.diff(edges)
    # The guess is off by some bins at most where widths differ by roundings.
    even = np.ptp(widths) <= 1e-6 * widths[0]
    scale = float(1 / widths[0]) if even else 0.0
    out = np.zeros((len(flat), len(widths)), np.int64)
    step = int(len(bad) > 1)
    count_values(flat, bad, step, read_only(edges), scale, closed, out)
    return out.reshape(*lead, len(widths))


@njit(nogil=True, cache=True)
def add_blocks(
    frames: Array,
    bad: Bools,
    bad_step: int,
    rows: Floats,
    columns: Floats,
    total: Floats,
    weight: Floats,
) -> None:
    """Add every pixel to the one or more blocks that it lies in, by area.

    rows, columns: first block of a pixel along an axis, and its share of the next one.
    """
    n_rows, n_columns = total.shape[2], total.shape[3]
    for i in range(len(frames)):
        for m in range(frames.shape[1]):
            for r in range(frames.shape[2]):
                row, flags = frames[i, m, r], bad[i * bad_step, m, r]
                at_row, next_row = int(rows[r, 0]), rows[r, 1]
                for c in range(row.size):
                    v = np.float64(row[c])
                    if flags[c] or v != v:
                        continue
                    at, rest = int(columns[c, 0]), columns[c, 1]
                    for a in range(2):
                        y = at_row + a
                        high = next_row if a else 1.0 - next_row
                        if high == 0.0 or y >= n_rows:
                            continue
                        for b in range(2):
                            x = at + b
                            share = high * (rest if b else 1.0 - rest)
                            if share == 0.0 or x >= n_columns:
                                continue
                            total[i, m, y, x] += share * v
                            weight[i, m, y, x] += share


def shares(n: int, n_blocks: int) -> Floats:
    """Return the first block of each of `n` pixels, and its share of the next one."""
    # In units of 1 / n of a block everything is whole.
    start = np.arange(n) * n_blocks
    block = start // n
    beyond = np.maximum(start + n_blocks - (block + 1) * n, 0)
    return np.stack([block, beyond / n_blocks], axis=1).astype(np.float64)


def rebin(frames: Array, *masks: Array, n_core: int, shape: tuple[int, int]) -> Floats:
    """Return the mean of the good pixels of every block, weighted by shared area.

    frames, masks, n_core: as for `spectrum`.
    shape: (n_slow, n_fast) of the result, at most that of a module.
    Returns float64 (..., [module,] n_slow, n_fast); NaN where a block has none.
    """
    core = frames.shape[-n_core:]
    flat, bad, lead = listed(frames, masks, n_core)
    total = np.zeros((*flat.shape[:2], *shape))
    weight = np.zeros_like(total)
    rows, columns = (shares(n, k) for n, k in zip(core[-2:], shape, strict=True))
    step = int(len(bad) > 1)
    add_blocks(flat, bad, step, read_only(rows), read_only(columns), total, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        total /= weight
    return total.reshape(*lead, *core[:-2], *shape)
