"""Constants packed for the calibration: what one row of pixels needs lies together.

A table is an array of records with one record for each module or, where data have no
modules, for each row. A record holds, in this order, (entry, line, plane, pixel): the
entries are memory cells, a line is as many rows of pixels as are done at once (one
where records are rows), and the planes are the pedestals of all gain ranges, their
factors, then whether they take part in a common mode, then thresholds between ranges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array

Constants = NDArray[np.float32]
LINE = 1024  # pixels that are done at once, at most; short rows are put together


def lines_of(shape: tuple[int, int]) -> tuple[int, int]:
    """Return (lines, pixels of a line) of a module."""
    rows, columns = shape
    fitting = (k for k in range(rows, 1, -1) if rows % k == 0 and k * columns <= LINE)
    together = next(fitting, 1)
    return rows // together, together * columns


def record_shape(
    entries: int, planes: int, shape: tuple[int, int], *, by_row: bool
) -> tuple[int, ...]:
    if by_row:
        return (entries, planes, shape[1])
    lines, pixels = lines_of(shape)
    return (entries, lines, planes, pixels)


def pack(
    pedestal: Array,
    *others: Array,
    names: tuple[str, ...],
    n_ranges: int,
    used_ranges: tuple[int, ...],
    per_photon: float,
    by_row: bool,
) -> Array:
    """Return constants as a table.

    pedestal: real ([module,] entry, gain_range, slow_scan, fast_scan), adu.
    *others: broadcast against `pedestal`; as `names` say: "offset", "gain" (divides; 0:
        factor 0), "gain_factor", "local_gain", "gain_mask" (multiply), "bad_pixels"
        (non-zero: bad), "use" (non-zero: may take part in a common mode) and
        "thresholds" (between ranges; the last is not used).
    used_ranges: gain ranges that take part in a common mode; () without one.
    per_photon: divides the signal.
    by_row: one record for each row.
    Returns record ([module]), or (slow_scan,) if `by_row`; a bad pixel, or one without
        finite constants, has the factor NaN.
    """
    given = dict(zip(names, others, strict=True))
    cut = n_ranges - 1 if "thresholds" in given else 0
    arrays = (pedestal, *others)
    shape = np.broadcast_shapes(*(v.shape for v in arrays), (n_ranges, 1, 1))
    modules = shape[:-4]
    entries, _, rows, columns = shape[-4:]
    n_planes = n_ranges * (3 if used_ranges else 2) + cut
    lines = (rows, columns) if by_row else lines_of((rows, columns))
    table = np.empty((*modules, entries, lines[0], n_planes, lines[1]), np.float32)

    def put(first: int, n: int, values: Array) -> None:
        whole = np.broadcast_to(values, (*modules, entries, n, rows, columns))
        # With the planes in the place of gain ranges, as constants have them.
        planes = np.moveaxis(table, -2, -3)
        planes[..., first : first + n, :, :] = whole.reshape(*whole.shape[:-2], *lines)

    offset = given.get("offset", np.zeros(1, np.float32))
    level = np.broadcast_to(pedestal + offset, shape).astype(np.float32)
    scale = np.broadcast_to(factor(given) / per_photon, shape).astype(np.float32)
    bad = ~(np.isfinite(level) & np.isfinite(scale))
    if "bad_pixels" in given:
        bad |= given["bad_pixels"] != 0
    put(0, n_ranges, np.where(np.isfinite(level), level, 0))
    put(n_ranges, n_ranges, np.where(bad, np.nan, scale))
    if used_ranges:
        used = np.isin(np.arange(n_ranges), used_ranges)[:, None, None]
        if "use" in given:
            used = given["use"] != 0
        put(2 * n_ranges, n_ranges, used & ~bad)
    if cut:
        put(n_planes - cut, cut, given["thresholds"][..., :cut, :, :])
    if by_row:
        table = np.moveaxis(table, -3, 0)
    return records(table, by_row=by_row)


def factor(given: dict[str, Array]) -> Array:
    """Return what a signal is multiplied by."""
    out: Array = np.ones((1, 1, 1, 1))
    if "gain" in given:
        gain = given["gain"].astype(np.float64)
        with np.errstate(divide="ignore"):
            out = np.where(gain == 0, 0.0, 1.0 / gain)
    if "gain_factor" in given:
        out = out * given["gain_factor"].astype(np.float64)
    for name in ("local_gain", "gain_mask"):
        if name in given:
            out = out * given[name]
    return out


def records(table: Constants, *, by_row: bool) -> Array:
    inside = table.shape[1:] if by_row else table.shape[-4:]
    lead = table.shape[: table.ndim - len(inside)]
    kind = record_type(inside)
    return np.ascontiguousarray(table).reshape(*lead, -1).view(kind).reshape(lead)


def record_type(inside: tuple[int, ...]) -> np.dtype[Any]:
    return np.dtype([("constants", np.float32, inside)])


def flat_table(
    table: Array, shape: tuple[int, int]
) -> tuple[Constants, tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return a table as the compiled function takes it.

    table: record (..., 1 or slow_scan, 1).
    shape: (rows, columns).
    Returns floats: float32 (n,); lines: (lines, pixels of a line); sizes: (planes,
        elements from line to line); steps: (elements from record to record, elements
        from entry to entry); the first is 0 if records are rows.
    """
    inside = table.dtype["constants"].shape
    floats = np.ascontiguousarray(table).reshape(-1)["constants"].reshape(-1)
    if len(inside) == 3:  # a record is a row: (entry, plane, pixel)
        entries, planes, pixels = inside
        step = planes * pixels
        return floats, shape, (planes, entries * step), (0, step)
    entries, lines, planes, pixels = inside
    step = planes * pixels
    return (
        floats,
        (lines, pixels),
        (planes, step),
        (entries * lines * step, lines * step),
    )
