"""Tables for `polar.remap`: the pixels of a flat image that samples are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xfelred.kernels.arrays import Bools, Floats
from xfelred.kernels.polar.grid import cell_positions
from xfelred.kernels.polar.remap import (
    CORNERS,
    FRACTION,
    INDEX,
    START,
    WEIGHT,
    Table,
    record_of,
)

SPACING = 1 / 8  # pixels between the points that stand for the area of a cell


def nearest_index(x: Floats, y: Floats, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return the flat index of the pixel at each position, -1 outside the image.

    A position halfway between two pixels belongs to the lower one.
    """
    columns, rows = np.ceil(x - 0.5), np.ceil(y - 0.5)
    inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
    flat = np.where(inside, rows, 0) * shape[1] + np.where(inside, columns, 0)
    return np.where(inside, flat, -1).astype(np.int32)


def nearest_table(index: NDArray[np.int32], good: Bools | None) -> Table:
    """Return the table of single pixels, those of bad ones left out.

    index: int32 (radius, phi); flat index, -1: none.
    good: bool (pixel); False: never used.
    """
    if good is not None:
        index = np.where((index >= 0) & good[index], index, -1).astype(np.int32)
    return record_of(**{INDEX: index})


def linear_table(
    x: Floats, y: Floats, shape: tuple[int, int], good: Bools | None, dtype: DTypeLike
) -> Table:
    """Return the table of four pixels around each position.

    Pixels outside the image or bad are left out; those that are left share the weight.
    `dtype` is that of the fractions.
    """
    left, top = np.floor(x), np.floor(y)
    fraction = np.stack([x - left, y - top], axis=-1)
    corners = np.zeros(x.shape, dtype=np.uint8)
    for c in range(4):
        column, row = left + (c & 1), top + (c >> 1)
        used = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])
        if good is not None:
            at = np.where(used, row, 0) * shape[1] + np.where(used, column, 0)
            used &= good[at.astype(np.intp)]
        corners |= (used.astype(np.uint8) << c).astype(np.uint8)
    index = np.where(corners > 0, top * shape[1] + left, 0).astype(np.int32)
    return record_of(
        **{INDEX: index, FRACTION: fraction.astype(dtype), CORNERS: corners}
    )


def area_table(
    radii: Floats,
    n_phi: int,
    find: Callable[[Floats, Floats], NDArray[np.int32]],
    good: Bools | None,
    spacing: float = SPACING,
) -> Table:
    """Return the table of the pixels that the cell of each sample overlaps.

    radii: float64 (radius,), pixels.
    find: flat index of the pixel at positions (x, y) from the centre, -1: none.
    good: bool (pixel); False: never used.
    spacing: between points that fill a cell; the share of a pixel is that of its
        points.
    """
    cells, pixels, shares = [], [], []
    for i, radius in enumerate(radii.tolist()):
        x, y, n_points = cell_positions(radius, n_phi, spacing)
        found = find(x, y)
        cell = np.broadcast_to(np.arange(n_phi)[:, None] + i * n_phi, found.shape)
        used = found >= 0
        if good is not None:
            used &= good[found]
        # Both indices in one number, so that `unique` compares numbers, not rows.
        both = cell[used].astype(np.int64) << 32 | found[used]
        both, counts = np.unique(both, return_counts=True)
        cells.append(both >> 32)
        pixels.append((both & 0xFFFFFFFF).astype(np.int32))
        shares.append((counts / n_points).astype(np.float32))
    of_cell = np.bincount(np.concatenate(cells), minlength=len(radii) * n_phi)
    start = np.concatenate([[0], np.cumsum(of_cell)]).astype(np.int64)
    index, weight = np.concatenate(pixels), np.concatenate(shares)
    return record_of(**{START: start, INDEX: index, WEIGHT: weight})
