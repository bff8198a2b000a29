"""Pixels snapped to an image grid: whole panels, without interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import GeometryMismatchError
from xfelred.geometry.core import Geometry
from xfelred.geometry.panels import Panel
from xfelred.kernels.arrays import Floats, Ints

# Single pixels that lie half way must all go the same way, whatever their last bits.
DECIMALS = 6


@dataclass(frozen=True)
class Grid:
    """An image that holds every pixel of a geometry."""

    shape: tuple[int, int]  # (y, x)
    pitch: tuple[float, float]  # (y, x); size of an image pixel in metres
    # (y, x); pixel whose lower corner is x = y = 0; may lie outside the image
    origin: tuple[int, int]
    # int (module, slow_scan, fast_scan); flat index in the image of every pixel, -1
    # where there is none
    target: NDArray[np.int32]
    error: float  # largest distance between a pixel and its place, in image pixels

    @property
    def y(self) -> Floats:
        """Centres of the rows in metres."""
        return centres(self.shape[0], self.origin[0], self.pitch[0])

    @property
    def x(self) -> Floats:
        """Centres of the columns in metres."""
        return centres(self.shape[1], self.origin[1], self.pitch[1])


def centres(n: int, origin: int, pitch: float) -> Floats:
    """Return the centres of `n` image pixels in metres."""
    return np.asarray((np.arange(n) - origin + 0.5) * pitch, dtype=np.float64)


def snapped(geometry: Geometry) -> Grid:
    """Return the image grid of a geometry.

    Rows grow with y and columns with x. A panel that lies along the axes up to small
    angles keeps its rows and columns, and only its first corner is rounded (halves to
    even, as in EXtra-geom); pixels of other panels go to the nearest place each, where
    the first of two wins.
    """
    pitch = image_pitch(geometry)
    shape = geometry.known_shape
    rows, columns = np.full(shape, -1), np.full(shape, -1)
    present = np.isfinite(geometry.x)
    if geometry.lattice:
        for panel in geometry.lattice:
            rows[panel.region], columns[panel.region] = panel_places(panel, pitch)
    else:
        y, x = (np.where(present, v, 0.0) for v in (geometry.y, geometry.x))
        rows, columns = nearest(y, pitch[0]), nearest(x, pitch[1])
    if not present.any():
        raise GeometryMismatchError("the geometry has no pixel with a position")
    first = int(rows[present].min()), int(columns[present].min())
    size = (
        int(rows[present].max()) - first[0] + 1,
        int(columns[present].max()) - first[1] + 1,
    )
    off = np.hypot(
        geometry.y / pitch[0] - rows - 0.5, geometry.x / pitch[1] - columns - 0.5
    )
    flat = (rows - first[0]) * size[1] + columns - first[1]
    return Grid(
        size,
        pitch,
        (-first[0], -first[1]),
        without_repeats(np.where(present, flat, -1).astype(np.int32)),
        float(np.nanmax(off)),
    )


def image_pitch(geometry: Geometry) -> tuple[float, float]:
    """Return the size (y, x) of an image pixel: that of the first panel."""
    for panel in geometry.lattice[:1]:
        steps = np.abs([panel.slow_step[:2], panel.fast_step[:2]])
        lengths = np.linalg.norm([panel.slow_step, panel.fast_step], axis=1)
        fast_along_x = steps[1, 0] >= steps[1, 1]
        slow, fast = float(lengths[0]), float(lengths[1])
        return (slow, fast) if fast_along_x else (fast, slow)
    x, y = geometry.x, geometry.y
    gaps = [np.hypot(np.diff(x, axis=a), np.diff(y, axis=a)).ravel() for a in (1, 2)]
    found = [float(np.nanmedian(g)) for g in gaps if g.size]
    if not found:
        raise GeometryMismatchError("one pixel in each module: the grid is unknown")
    return min(found), min(found)


def panel_places(panel: Panel, pitch: tuple[float, float]) -> tuple[Ints, Ints]:
    steps = [
        (round(step[1] / pitch[0]), round(step[0] / pitch[1]))
        for step in (panel.slow_step, panel.fast_step)
    ]
    if sorted(tuple(map(abs, step)) for step in steps) != [(0, 1), (1, 0)]:
        x, y, _ = panel.centres()
        return nearest(y, pitch[0]), nearest(x, pitch[1])
    slow = np.arange(panel.shape[0])[:, None]
    fast = np.arange(panel.shape[1])[None, :]
    places = []
    for axis, (corner, size) in enumerate(
        zip((panel.corner[1], panel.corner[0]), pitch, strict=True)
    ):
        # A step towards lower numbers starts below the corner.
        ds, df = steps[0][axis], steps[1][axis]
        start = round(corner / size) + min(ds + df, 0)
        places.append(start + ds * slow + df * fast)
    return places[0], places[1]


def nearest(position: NDArray[np.floating], size: float) -> Ints:
    """Return the image pixel that holds each position, halves upwards."""
    return np.floor(np.round(position / size, DECIMALS)).astype(np.int64)


def without_repeats(target: NDArray[np.int32]) -> NDArray[np.int32]:
    """Set all but the first pixel in each place to -1."""
    flat = target.ravel()
    _, first = np.unique(flat, return_index=True)
    out = np.full_like(flat, -1)
    out[first] = flat[first]
    return out.reshape(target.shape)
