"""Tables for `polar.remap`: the pixels that samples are made of.

Those of a flat image are where they are; those of several modules, or of a tilted one,
are found by their projected positions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.spatial import cKDTree

from xfelred.kernels.arrays import Array, Bools, Floats, Ints
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

REACH = 0.75  # pixels between a sample and the pixel that is still the nearest
CELL = 1.6  # pixels between a sample and a corner of its cell
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


class PixelFinder:
    """Find pixels near positions in a plane.

    Parameters
    ----------
    x, y : float64 (module, row, column), pixels
        Projected centres, NaN where there is no pixel.
    near : (lowest, highest)
        Radii between which positions will be asked for.
    """

    def __init__(self, x: Floats, y: Floats, near: tuple[float, float]) -> None:
        self.x, self.y, self.shape = x.ravel(), y.ravel(), x.shape
        r = np.hypot(self.x, self.y)
        with np.errstate(invalid="ignore"):
            # A few pixels more: those that samples at the ends are made of.
            kept = (r > near[0] - 3) & (r < near[1] + 3)
        self.pixels = np.flatnonzero(kept).astype(np.int32)
        points = np.stack([self.x[kept], self.y[kept]], axis=1)
        self.tree = cKDTree(points) if len(points) else None

    def nearest(self, x: Floats, y: Floats) -> NDArray[np.int32]:
        """Return the flat index of the nearest pixel, -1 if none is within reach."""
        if self.tree is None:
            return np.full(x.shape, -1, np.int32)
        wanted = np.stack([x.ravel(), y.ravel()], axis=1)
        distance, at = self.tree.query(wanted, distance_upper_bound=REACH)
        found = np.isfinite(distance)
        out = np.full(at.shape, -1, np.int32)
        out[found] = self.pixels[at[found]]
        return out.reshape(x.shape)

    def cell(self, x: Floats, y: Floats) -> tuple[Ints, Floats]:
        """Return the first pixel of the cell around positions, and (x, y) inside it.

        The first pixel may lie outside its module, where the cell does so in part.

        Returns first: int64 (3, ...); module, row and column; module -1: there is no
            pixel in reach; inside: float64 (..., 2); along columns and rows, 0 to 1.
        """
        nearest = self.nearest(x, y)
        at = np.maximum(nearest, 0)
        module, row, column = np.unravel_index(at, self.shape)
        dx, dy = x - self.x[at], y - self.y[at]
        along_column = self.step(module, row, column, (0, 1))
        along_row = self.step(module, row, column, (1, 0))
        area = along_column[0] * along_row[1] - along_column[1] * along_row[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = (dx * along_row[1] - dy * along_row[0]) / area
            rows = (dy * along_column[0] - dx * along_column[1]) / area
        known = (nearest >= 0) & np.isfinite(columns) & np.isfinite(rows)
        columns = np.clip(np.where(known, columns, 0.0), -1, 1)
        rows = np.clip(np.where(known, rows, 0.0), -1, 1)
        left, top = np.floor(columns), np.floor(rows)
        first = np.stack([module, row + top, column + left]).astype(np.int64)
        first[0] = np.where(nearest >= 0, first[0], -1)
        return first, np.stack([columns - left, rows - top], axis=-1)

    def step(
        self, module: Array, row: Array, column: Array, way: tuple[int, int]
    ) -> tuple[Floats, Floats]:
        """Return the way (x, y) from pixels to their neighbours, on either side.

        A neighbour further away than 1.5 pixels is behind a gap and does not count.
        """
        best = np.full((2, *module.shape), np.nan)
        here = self.flat(module, row, column)
        for sign in (-1, 1):
            r, c = row + sign * way[0], column + sign * way[1]
            there = (r >= 0) & (r < self.shape[1]) & (c >= 0) & (c < self.shape[2])
            at = np.where(there, self.flat(module, r, c), 0)
            dx = sign * (self.x[at] - self.x[here])
            dy = sign * (self.y[at] - self.y[here])
            with np.errstate(invalid="ignore"):
                there &= np.hypot(dx, dy) < 1.5
            best[0][there], best[1][there] = dx[there], dy[there]
        return best[0], best[1]

    def flat(self, module: Array, row: Array, column: Array) -> Ints:
        return (module.astype(np.int64) * self.shape[1] + row) * self.shape[2] + column


def module_linear_table(
    finder: PixelFinder, x: Floats, y: Floats, good: Bools | None, dtype: DTypeLike
) -> Table:
    """Return the table of four pixels of one module around each position.

    As `linear_table`; pixels behind a gap are left out.
    """
    first, inside = finder.cell(x, y)
    corners = np.zeros(x.shape, dtype=np.uint8)
    _, n_rows, n_columns = finder.shape
    for c in range(4):
        row, column = first[1] + (c >> 1), first[2] + (c & 1)
        used = (first[0] >= 0) & (column >= 0) & (column < n_columns)
        used &= (row >= 0) & (row < n_rows)
        at = np.where(used, finder.flat(first[0], row, column), 0)
        with np.errstate(invalid="ignore"):
            used &= np.hypot(finder.x[at] - x, finder.y[at] - y) < CELL
        if good is not None:
            used &= good[at]
        corners |= (used.astype(np.uint8) << c).astype(np.uint8)
    index = np.where(corners > 0, finder.flat(*first), 0).astype(np.int32)
    return record_of(**{INDEX: index, FRACTION: inside.astype(dtype), CORNERS: corners})
