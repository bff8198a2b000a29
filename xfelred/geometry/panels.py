"""Flat pieces of sensor on a regular lattice, and how to find them in positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.kernels.arrays import Floats, Ints

Vector = tuple[float, float, float]
Shape = tuple[int, int, int]

# Corners of a pixel relative to its centre, in steps (slow, fast). A staggered lattice
# has hexagonal pixels: 2/3 of a row from centre to tip, half a column to the sides.
SQUARE = ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))
HEXAGON = (
    (-2 / 3, 0.0),
    (-1 / 3, 0.5),
    (1 / 3, 0.5),
    (2 / 3, 0.0),
    (1 / 3, -0.5),
    (-1 / 3, -0.5),
)
# A lattice found in positions may differ from them by this part of a pixel: room for
# float32 positions, far below a wide pixel or a gap.
LATTICE_TOLERANCE = 2e-3


@entry
@dataclass(frozen=True)
class Panel:
    """A rectangle of equal pixels; all lengths in metres, from the sample.

    Attributes
    ----------
    module : int
        Position along the module axis (not the hardware number).
    slow, fast : (start, stop)
        The pixels it holds, half open.
    corner : (x, y, z)
        Outer corner of its first pixel.
    slow_step, fast_step : (x, y, z)
        From one pixel to the next.
    stagger : float
        Odd rows are shifted by this many fast steps (0.5: hexagonal pixels).
    name : str
        Name in the geometry file, if it has one.
    """

    module: int
    slow: tuple[int, int]
    fast: tuple[int, int]
    corner: Vector
    slow_step: Vector
    fast_step: Vector
    stagger: float = 0.0
    name: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of pixels (slow, fast)."""
        return self.slow[1] - self.slow[0], self.fast[1] - self.fast[0]

    @property
    def region(self) -> tuple[int, slice, slice]:
        """Index of its pixels in an array (module, slow_scan, fast_scan)."""
        return self.module, slice(*self.slow), slice(*self.fast)

    @property
    def centre_offset(self) -> tuple[float, float]:
        """Corner of the first pixel to its centre, in steps (slow, fast)."""
        return (2 / 3 if self.stagger else 0.5), 0.5

    @property
    def corner_offsets(self) -> tuple[tuple[float, float], ...]:
        """Centre of a pixel to its corners, in steps (slow, fast)."""
        return HEXAGON if self.stagger else SQUARE

    @property
    def area(self) -> float:
        """Area of one pixel in square metres."""
        return float(np.linalg.norm(np.cross(self.slow_step, self.fast_step)))

    @property
    def perpendicular_distance(self) -> float:
        """Distance of its plane from the sample, in metres."""
        normal = np.cross(self.slow_step, self.fast_step)
        return float(abs(np.dot(normal, self.corner)) / np.linalg.norm(normal))

    @property
    def centre_z(self) -> float:
        """Mean z of its pixels in metres."""
        middle = sum(
            (n - 1) / 2 * step[2] + offset * step[2]
            for n, offset, step in zip(
                self.shape,
                self.centre_offset,
                (self.slow_step, self.fast_step),
                strict=True,
            )
        )
        return self.corner[2] + middle

    @entry
    def points(self, offset: tuple[float, float]) -> Floats:
        """Return one point of every pixel, float64 (3, slow, fast), metres.

        Parameters
        ----------
        offset : (slow, fast)
            Where in the pixel, counted from its first corner in steps.
        """
        n_slow, n_fast = self.shape
        i = np.arange(n_slow, dtype=np.float64)[:, None] + offset[0]
        j = np.arange(n_fast, dtype=np.float64)[None, :] + offset[1]
        j = j + self.stagger * (np.arange(n_slow)[:, None] % 2)
        steps = zip(self.corner, self.slow_step, self.fast_step, strict=True)
        return np.stack([c + i * s + j * f for c, s, f in steps])

    def centres(self) -> Floats:
        """Return the centre of every pixel, float64 (3, slow, fast), metres."""
        return self.points(self.centre_offset)

    def shared_corners(self) -> tuple[Floats, Ints]:
        """Return the corners of all pixels with few repetitions.

        Returns
        -------
        points : float64 (grid, 3, slow + any, fast + any), m
        where : int (corner, 3)
            Grid of each corner, and its distance there from the position of the pixel.
        """
        offsets = self.corner_offsets
        if self.stagger:
            where = np.zeros((len(offsets), 3), np.int64)
            where[:, 0] = np.arange(len(offsets))
            return self.corners(), where
        (slow, slow_end), (fast, fast_end) = self.slow, self.fast
        larger = replace(self, slow=(slow, slow_end + 1), fast=(fast, fast_end + 1))
        steps = [(0, int(ds > 0), int(df > 0)) for ds, df in offsets]
        return larger.points((0.0, 0.0))[np.newaxis], np.array(steps)

    def corners(self) -> Floats:
        """Return the corners of every pixel, float64 (corner, 3, slow, fast), m."""
        slow, fast = self.centre_offset
        return np.stack(
            [self.points((slow + ds, fast + df)) for ds, df in self.corner_offsets]
        )

    @entry
    def moved(self, z: float) -> Panel:
        """Return this panel shifted by `z` metres along the beam."""
        x, y, z0 = self.corner
        return replace(self, corner=(x, y, z0 + z))


def vector(values: Iterable[float]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z


def panel_positions(panels: Sequence[Panel], shape: Shape) -> Floats:
    """Return pixel centres, float64 (3, module, slow, fast), NaN outside panels."""
    out = np.full((3, *shape), np.nan)
    for panel in panels:
        module, slow, fast = panel.region
        out[:, module, slow, fast] = panel.centres()
    return out


def find_panels(positions: NDArray[np.floating]) -> tuple[Panel, ...]:
    """Find the flat regular pieces in pixel positions.

    positions: float (3, module, slow, fast), m; pixel centres.
    Returns empty if any module is not made of rectangles on a regular lattice.
    """
    panels: list[Panel] = []
    for module in range(positions.shape[1]):
        found = module_panels(positions[:, module].astype(np.float64), module)
        if not found:
            return ()
        panels += found
    return tuple(panels)


def module_panels(xyz: Floats, module: int) -> list[Panel]:
    """Return the panels of one module, or nothing if it is irregular."""
    if min(xyz.shape[1:]) < 2 or not np.isfinite(xyz).all():
        return []
    # A staggered lattice also falls into pairs of rows: the fewer pieces win.
    found = [lattice_panels(xyz, module, stagger) for stagger in (0.0, 0.5)]
    return min((panels for panels in found if panels), key=len, default=[])


def lattice_panels(xyz: Floats, module: int, stagger: float) -> list[Panel]:
    fast_step = np.median(np.diff(xyz, axis=2), axis=(1, 2))
    straight = xyz.copy()
    straight[:, 1::2] -= stagger * fast_step[:, None, None]
    panels = []
    rows, columns = breaks(straight, axis=1), breaks(straight, axis=2)
    for slow, fast in product(rows, columns):
        panel = fit_panel(straight, module, slow, fast, stagger)
        if panel is None:
            return []
        panels.append(panel)
    return panels


def breaks(xyz: Floats, axis: int) -> list[tuple[int, int]]:
    """Return the intervals along `axis` in which pixels are evenly spaced."""
    steps = np.diff(xyz, axis=axis)
    usual = np.median(steps, axis=(1, 2), keepdims=True)
    tolerance = LATTICE_TOLERANCE * float(np.linalg.norm(usual))
    other = tuple(a for a in (0, 1, 2) if a != axis)
    odd = (np.abs(steps - usual) > tolerance).any(axis=other)
    edges = [0, *(np.flatnonzero(odd) + 1).tolist(), xyz.shape[axis]]
    return list(pairwise(edges))


def fit_panel(
    xyz: Floats,
    module: int,
    slow: tuple[int, int],
    fast: tuple[int, int],
    stagger: float,
) -> Panel | None:
    """Return the lattice of one rectangle, or None where its pixels are off it."""
    n_slow, n_fast = slow[1] - slow[0], fast[1] - fast[0]
    if n_slow < 2 or n_fast < 2:
        return None
    block = xyz[:, slice(*slow), slice(*fast)]
    slow_step = (block[:, -1, 0] - block[:, 0, 0]) / (n_slow - 1)
    fast_step = (block[:, 0, -1] - block[:, 0, 0]) / (n_fast - 1)
    # Rows are counted from the first of the block; an odd start would turn the stagger.
    if stagger and slow[0] % 2:
        return None
    panel = Panel(
        module,
        slow,
        fast,
        (0.0, 0.0, 0.0),
        vector(slow_step),
        vector(fast_step),
        stagger,
    )
    di, dj = panel.centre_offset
    corner = block[:, 0, 0] - di * slow_step - dj * fast_step
    panel = replace(panel, corner=vector(corner))
    expected = replace(panel, stagger=0.0).points((di, dj))
    tolerance = LATTICE_TOLERANCE * float(
        max(np.linalg.norm(slow_step), np.linalg.norm(fast_step))
    )
    return panel if np.abs(expected - block).max() <= tolerance else None
