"""Bad pixels by their place in a segment, and their neighbours."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.detectors import Segment, find
from xfelred.detectors.catalogue import BY_NAME
from xfelred.detectors.lcls import CSPAD, UNBONDED_ROWS, UNBONDED_SHIFT
from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.masks.quality import bad_map, on_axes
from xfelred.names import BAD_PIXELS, FAST, LONG_NAME, SLOW, UNITS
from xfelred.provenance import record

Shape = Literal["cross", "square", "rhombus", "circle"]
segments = {name: d.segment for name, d in BY_NAME.items() if d.segment is not None}


@entry
def segment_of(segment: Segment | str | tuple[int, int]) -> Segment:
    """Return the segment of a name, such as "jungfrau", or of a shape.

    Parameters
    ----------
    segment : Segment, str or (rows, columns)
        A name in `masks.segments`, whatever its case, or a name of the whole detector,
        such as "jungfrau4M". A plain shape has one bank and no ASICs.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if isinstance(segment, str):
        advice = " For any other give Segment(shape, banks=, halves=)"
        found = find(segment, "segment", what="segment", advice=advice)
        segment = found.segment or found.shape[1:]
    if isinstance(segment, Segment):
        return segment
    rows, columns = segment
    return Segment((int(rows), int(columns)))


@entry
def edges(
    segment: Segment | str | tuple[int, int], width: int | tuple[int, int] = 1
) -> xr.DataArray:
    """Return the outermost rows and columns of a segment.

    Parameters
    ----------
    segment : Segment, str or (rows, columns)
        Such as "jungfrau"; see `masks.segments`.
    width : int or (rows, columns)
        How many of each, at each side.

    Returns
    -------
    DataArray, bool (slow_scan, fast_scan)
        True: bad.

    Raises
    ------
    ValueError
        If the segment is unknown or the width negative.

    Examples
    --------
    >>> int(edges("cspad2x1").sum())
    1142
    """
    found = segment_of(segment)
    rows, columns = widths(width)
    bad = np.ones(found.shape, bool)
    bad[rows : found.shape[0] - rows, columns : found.shape[1] - columns] = False
    return segment_map(bad, "edges", segment=str(segment), width=width)


@entry
def circle(
    segment: Segment | str | tuple[int, int],
    centre: tuple[float, float],
    radius: float,
) -> xr.DataArray:
    """Return all pixels outside a circle: a round region of interest is what is left.

    Parameters
    ----------
    segment : Segment, str or (rows, columns)
        Such as "jungfrau"; see `masks.segments`.
    centre : (row, column)
        Of the circle; pixel centres are at whole numbers.
    radius : float
        In pixels. A pixel whose centre is further away is bad.

    Returns
    -------
    bool DataArray (slow_scan, fast_scan)
        True is bad.

    Raises
    ------
    ArgumentError
        If no pixel is inside.

    Examples
    --------
    >>> circle((3, 4), (1, 1), 1).values.astype(int)
    array([[1, 0, 1, 1],
           [0, 0, 0, 1],
           [1, 0, 1, 1]])
    """
    shape = segment_of(segment).shape
    rows, columns = np.indices(shape)
    away = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 > radius**2
    if away.all():
        raise ArgumentError(
            f"no pixel of {shape} is within {radius} pixels of {tuple(centre)}"
        )
    return segment_map(
        away, "circle", segment=str(segment), centre=list(centre), radius=radius
    )


@entry
def central(
    segment: Segment | str | tuple[int, int], width: int | tuple[int, int] = 1
) -> xr.DataArray:
    """Return the pixels on either side of the borders between ASICs.

    Parameters
    ----------
    segment : Segment, str or (rows, columns)
        A plain shape has no such borders.
    width : int or (rows, columns)
        How many rows and columns on each side.

    Returns
    -------
    DataArray, bool (slow_scan, fast_scan)
        True: bad.

    Raises
    ------
    ValueError
        If the segment is unknown or the width negative.
    """
    found = segment_of(segment)
    rows, columns = widths(width)
    bad = np.zeros(found.shape, bool)
    for r in found.asics[0]:
        bad[max(r - rows, 0) : r + rows] = True
    for c in found.asics[1]:
        bad[:, max(c - columns, 0) : c + columns] = True
    return segment_map(bad, "central", segment=str(segment), width=width)


@entry
def unbonded(
    segment: Segment | str = "cspad2x1", neighbours: Literal[0, 4, 8] = 0
) -> xr.DataArray:
    """Return the pixels of a CsPad sensor that are bonded to no channel.

    Parameters
    ----------
    segment : Segment or str
        Only those of the CsPad have any.
    neighbours : {0, 4, 8}
        Also the pixels around them.

    Returns
    -------
    DataArray, bool (slow_scan, fast_scan)
        True: bad.

    Raises
    ------
    ValueError
        If the segment or the number is unknown.
    """
    found = segment_of(segment)
    bad = np.zeros(found.shape, bool)
    if found == CSPAD.segment:
        r = np.array(UNBONDED_ROWS)
        bad[r, r] = bad[r, r + UNBONDED_SHIFT] = True
    if neighbours:
        shape: Shape = "cross" if neighbours == 4 else "square"
        # The halves of a sensor are two ASICs: the corner of one has no neighbour in
        # the other.
        halves = (bad[:, :UNBONDED_SHIFT], bad[:, UNBONDED_SHIFT:])
        bad = np.concatenate([grown(half, 1, shape) for half in halves], axis=1)
    return segment_map(bad, "unbonded", segment=str(segment), neighbours=neighbours)


@entry
def grow(
    bad: xr.DataArray | ArrayLike, radius: int = 1, shape: Shape = "cross"
) -> xr.DataArray:
    """Add the neighbours of bad pixels.

    Parameters
    ----------
    bad : DataArray or array (..., slow_scan, fast_scan)
        Non-zero: bad. Axes of a plain array as of `from_good`.
    radius : int
        How far a bad pixel reaches.
    shape : {"cross", "square", "rhombus", "circle"}
        Along the axes only; up to `radius` in both; up to `radius` in the sum of both;
        or dr^2 + dc^2 <= radius^2.

    Returns
    -------
    DataArray, bool
        Dims and coordinates of `bad`. Modules do not reach into each other.

    Raises
    ------
    ValueError
        If shape or radius do not exist, or `bad` is lazy or has no pixel dims.

    Examples
    --------
    >>> one = np.zeros((7, 7), bool)
    >>> one[3, 3] = True
    >>> [int(grow(one, 2, s).sum()) for s in ("cross", "square", "rhombus", "circle")]
    [9, 25, 13, 13]
    """
    if radius != int(radius) or radius < 0:
        raise ArgumentError(f"radius={radius}; wanted a whole number, 0 or more")
    given = on_axes(bad, "bad")
    if {SLOW, FAST} - set(given.dims):
        raise ArgumentError(
            f"bad has dims {given.dims}; wanted {SLOW} and {FAST} in it"
        )
    if given.chunks is not None:
        raise ArgumentError("bad pixels to grow must be in memory: load them first")
    ordered = given.transpose(..., SLOW, FAST)
    values = grown(ordered.values != 0, int(radius), shape)
    out = ordered.copy(data=values).transpose(*given.dims).rename(BAD_PIXELS)
    out.attrs = {**given.attrs, UNITS: "1", LONG_NAME: "bad pixel"}
    return record(out, "grow", given, radius=int(radius), shape=shape)


def grown(bad: NDArray[np.bool_], radius: int, shape: Shape) -> NDArray[np.bool_]:
    """Return where a bad pixel is near, over the last two axes."""
    out = bad.copy()
    n_rows, n_columns = bad.shape[-2:]
    # Further than the size of the map there is no pixel to reach.
    for dr in range(-min(radius, n_rows - 1), min(radius, n_rows - 1) + 1):
        for dc in range(-min(radius, n_columns - 1), min(radius, n_columns - 1) + 1):
            if not belongs(dr, dc, radius, shape):
                continue
            # Shifted maps: what leaves at one side does not come in at the other.
            to_rows = slice(max(dr, 0), n_rows + min(dr, 0))
            of_rows = slice(max(-dr, 0), n_rows + min(-dr, 0))
            to_columns = slice(max(dc, 0), n_columns + min(dc, 0))
            of_columns = slice(max(-dc, 0), n_columns + min(-dc, 0))
            out[..., to_rows, to_columns] |= bad[..., of_rows, of_columns]
    return out


def belongs(dr: int, dc: int, radius: int, shape: Shape) -> bool:
    return {
        "cross": dr == 0 or dc == 0,
        "square": True,
        "rhombus": abs(dr) + abs(dc) <= radius,
        "circle": dr * dr + dc * dc <= radius * radius,
    }[shape]


def widths(width: int | tuple[int, int]) -> tuple[int, int]:
    """Return (rows, columns) of a width; ValueError unless they are whole numbers."""
    pair = (width, width) if isinstance(width, (int, np.integer)) else tuple(width)
    if len(pair) != 2 or any(n != int(n) or n < 0 for n in pair):
        raise ArgumentError(
            f"width={width!r}; wanted a number of pixels or (rows, columns), 0 or more"
        )
    return int(pair[0]), int(pair[1])


def segment_map(bad: NDArray[np.bool_], op: str, **params: object) -> xr.DataArray:
    return bad_map(xr.DataArray(bad, dims=(SLOW, FAST)), op, **params)
