"""Fourier transforms of eight rows side by side, for sums of power spectra.

A library transforms one row after the other and writes all spectra to memory. Here the
rows lie in the lanes of vector registers, two rings in each as the real and imaginary
part, and their power goes straight into sums: twice as fast in all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numba.core.compiler import Compiler
from numpy.typing import DTypeLike, NDArray

from xfelred.errors import ArgumentError
from xfelred.kernels.correlation.sequences import inner, load

LANES = 8
LARGEST = 13  # prime factor that is worth it
PAGE = 4096  # bytes; addresses this far apart share a place in the first-level cache


class Disjoint(Compiler):  # type: ignore[misc]
    """Compile for array arguments that never overlap.

    Else a loop that reads and writes several arrays is not vectorised: four times the
    time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state.flags.noalias = True


disjoint = njit(nogil=True, cache=True, pipeline_class=Disjoint, fastmath={"contract"})


def factors(n: int) -> tuple[int, ...] | None:
    """Return radices whose product is `n`; None if a prime is too large.

    Examples
    --------
    >>> factors(360), factors(4871)
    ((4, 2, 3, 3, 5), None)
    """
    found = []
    for radix in (4, 2, 3, 5, 7, 11, LARGEST):
        while n % radix == 0 and n > 1:
            found.append(radix)
            n //= radix
    return tuple(found) if n == 1 else None


@lru_cache(maxsize=16)
def plan(
    n: int, dtype: DTypeLike
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Return radices and the factors of all passes, real and imaginary.

    Pass after pass, transforms of a length become ones of `radix` times that length.
    """
    radices = factors(n)
    if radices is None:
        raise ArgumentError(f"{n} has a prime factor above {LARGEST}")
    tables, length = [np.empty(0)], 1
    for radix in radices:
        length *= radix
        p = np.arange(length // radix)[:, None, None]
        # Radix 4 has a butterfly of its own, which needs the factors for k = 0 only.
        k = np.arange(1 if radix == 4 else radix)[:, None]
        m = np.arange(radix)
        turns = m * (p + k * (length // radix)) % length / length
        tables.append(np.exp(-2j * np.pi * turns).ravel())
    every = np.concatenate(tables)
    kind = np.dtype(dtype)
    return np.array(radices, np.int64), every.real.astype(kind), every.imag.astype(kind)


def buffers(n: int, dtype: DTypeLike) -> tuple[NDArray[Any], ...]:
    """Return four arrays (n, LANES) to work in; their dtype is that of transforms."""
    row = LANES * np.dtype(dtype).itemsize
    # Rows of the same number must not share one place in the cache, as they would at
    # distances of a power of 2: that takes half as long again.
    apart = -(-n * row // PAGE) * PAGE + PAGE // 4
    memory = np.empty(4 * apart, np.uint8)
    parts = (memory[k * apart :][: n * row] for k in range(4))
    return tuple(part.view(dtype).reshape(n, LANES) for part in parts)


@disjoint
def pass_4(
    xr: Any, xi: Any, y0r: Any, y0i: Any, y1r: Any, y1i: Any,
    y2r: Any, y2i: Any, y3r: Any, y3i: Any, wr: Any, wi: Any, s: int,
) -> None:  # fmt: skip
    """Make transforms of four times the length; `s` of them lie side by side.

    Stockham's ordering: row ``q + s (4 p + m)`` goes to ``q + s p`` of quarter k.
    """
    for p in range(wr.size // 4):
        br, bi = wr[4 * p + 1], wi[4 * p + 1]
        cr, ci = wr[4 * p + 2], wi[4 * p + 2]
        dr, di = wr[4 * p + 3], wi[4 * p + 3]
        for q in range(s):
            # Unsigned numbers are not tested for indices from the end.
            first, j = q + 4 * s * p, np.uintp(q + s * p)
            i0, i1 = np.uintp(first), np.uintp(first + s)
            i2, i3 = np.uintp(first + 2 * s), np.uintp(first + 3 * s)
            for lane in range(LANES):
                x0r, x0i = xr[i0, lane], xi[i0, lane]
                tr, ti = xr[i1, lane], xi[i1, lane]
                x1r, x1i = tr * br - ti * bi, tr * bi + ti * br
                tr, ti = xr[i2, lane], xi[i2, lane]
                x2r, x2i = tr * cr - ti * ci, tr * ci + ti * cr
                tr, ti = xr[i3, lane], xi[i3, lane]
                x3r, x3i = tr * dr - ti * di, tr * di + ti * dr
                er, ei, fr, fi = x0r + x2r, x0i + x2i, x0r - x2r, x0i - x2i
                gr, gi, hr, hi = x1r + x3r, x1i + x3i, x1r - x3r, x1i - x3i
                y0r[j, lane], y0i[j, lane] = er + gr, ei + gi
                y1r[j, lane], y1i[j, lane] = fr + hi, fi - hr
                y2r[j, lane], y2i[j, lane] = er - gr, ei - gi
                y3r[j, lane], y3i[j, lane] = fr - hi, fi + hr


@disjoint
def pass_any(
    xr: Any, xi: Any, yr: Any, yi: Any, wr: Any, wi: Any, radix: int, s: int
) -> None:
    """Make transforms of `radix` times the length, by the definition."""
    part = xr.shape[0] // radix
    for p in range(wr.size // (radix * radix)):
        for q in range(s):
            first = q + radix * s * p
            for k in range(radix):
                j, at = np.uintp(q + s * p + k * part), (p * radix + k) * radix
                for lane in range(LANES):
                    yr[j, lane], yi[j, lane] = xr[first, lane], xi[first, lane]
                for m in range(1, radix):
                    a, b = wr[at + m], wi[at + m]
                    i = np.uintp(first + m * s)
                    for lane in range(LANES):
                        tr, ti = xr[i, lane], xi[i, lane]
                        yr[j, lane] += tr * a - ti * b
                        yi[j, lane] += tr * b + ti * a


@njit(nogil=True, cache=True)
def transform(
    xr: Any, xi: Any, yr: Any, yi: Any, radices: Any, wr: Any, wi: Any
) -> Any:
    """Transform the columns of x (n, lane); return the result.

    It lies in the memory of x or of y; both are overwritten.
    """
    n = xr.shape[0]
    s, start, length = n, 0, 1
    for radix in radices:
        s //= radix
        length *= radix
        stop = start + (length if radix == 4 else length * radix)
        a, b = wr[start:stop], wi[start:stop]
        if radix == 4:
            h = n // 4
            pass_4(
                xr, xi, yr[:h], yi[:h], yr[h : 2 * h], yi[h : 2 * h],
                yr[2 * h : 3 * h], yi[2 * h : 3 * h], yr[3 * h :], yi[3 * h :],
                a, b, s,
            )  # fmt: skip
        else:
            pass_any(xr, xi, yr, yi, a, b, radix, s)
        xr, xi, yr, yi, start = yr, yi, xr, xi, stop
    return xr, xi


@disjoint
def add_lanes(zr: Any, zi: Any, even: Any, odd: Any, weight: Any) -> None:
    """Add the powers of two rings in each lane to their sums (frequency, lane).

    As ``2 A = Z[f] + conj(Z[-f])`` and ``2 i B = Z[f] - conj(Z[-f])`` for z = a + i b,
    both powers follow from ``|Z[f]|**2 + |Z[-f]|**2`` and ``2 Re(Z[f] Z[-f])``.
    """
    n = zr.shape[0]
    for f in range(even.shape[0]):
        g = np.uintp(n - f if f else 0)
        for lane in range(LANES):
            pr, pi, qr, qi = zr[f, lane], zi[f, lane], zr[g, lane], zi[g, lane]
            both = pr * pr + pi * pi + qr * qr + qi * qi
            cross = 2 * (pr * qr - pi * qi)
            even[f, lane] += weight[0, lane] * np.float64(both + cross)
            odd[f, lane] += weight[1, lane] * np.float64(both - cross)


@disjoint
def to_lanes(rows: Any, plane: Any) -> None:
    """Write rows (lane, n) to a plane (n, lane)."""
    for j in range(plane.shape[0]):
        at = np.uintp(j)
        for lane in range(LANES):
            plane[at, lane] = rows[lane, at]


@inner
def fill(line: Any, count: int, total: float, square: float, out: Any) -> Any:
    """Write a row without its mean to `out`, NaN as 0; return its weight.

    It is divided by the power of 2 nearest to its standard deviation: else a bright
    ring would leave its rounding errors in the faint one that shares its lane.
    """
    mean = total / max(count, 1)
    # Good enough for the power of 2; the differences from the mean are exact.
    variance = square / max(count, 1) - mean * mean
    factor = 1.0
    if 0.0 < variance < np.inf:
        factor = 2.0 ** -np.rint(0.5 * np.log2(variance))
    if count == line.size:
        for j in range(line.size):
            out[j] = (line[j] - mean) * factor
    else:
        for j in range(line.size):
            out[j] = 0.0 if np.isnan(line[j]) else (line[j] - mean) * factor
    return 0.25 / (factor * factor)


@njit(nogil=True, cache=True)
def add_power(
    frames: Any,
    first: Any,
    second: Any,
    marks: Any,
    plan: Any,
    work: Any,
    power: Any,
    complete_only: bool,
) -> None:
    """Add the power spectra of the rings of items, without their means.

    Parameters
    ----------
    frames, first, second
        See `xfelred.kernels.correlation.sequences.Items`.
    marks : (n_good, level, tag)
        Where the marks go, each (item, ring).
    plan : (radices, real, imaginary)
        From `plan`.
    work : tuple
        From `buffers`; overwritten.
    power : float64 (ring, frequency)
        Updated.
    complete_only : bool
        Leave out rings with a mask.
    """
    n_good, level, tag = marks
    n_items, n_rings = n_good.shape
    line = np.empty(frames.shape[2])
    rows = np.empty((LANES, line.size), work[0].dtype)
    halves = (n_rings + 1) // 2
    # So many items at a time that no lane stays empty.
    streams = 1
    while streams < min(LANES, n_items) and (streams * halves) % LANES:
        streams += 1
    sums = np.empty((2, power.shape[1], LANES))
    weight = np.empty((2, LANES))
    for start in range(0, streams * halves, LANES):
        sums[:] = 0.0
        for step in range(0, n_items, streams):
            for c in range(2):
                for lane in range(LANES):
                    stream, h = divmod(start + lane, halves)
                    i, r = step + stream, 2 * h + c
                    weight[c, lane] = 0.0
                    if stream >= streams or i >= n_items or r >= n_rings:
                        rows[lane] = 0.0
                        continue
                    count, total, square, mark = load(
                        frames, first, second, (i, r), line
                    )
                    n_good[i, r], level[i, r], tag[i, r] = count, total, mark
                    own = fill(line, count, total, square, rows[lane])
                    weight[c, lane] = 0.0 if complete_only and mark else own
                to_lanes(rows, work[c])
            done = transform(*work, *plan)
            add_lanes(done[0], done[1], sums[0], sums[1], weight)
        for lane in range(LANES):
            h = (start + lane) % halves
            if start + lane < streams * halves:
                power[2 * h] += sums[0, :, lane]
                if 2 * h + 1 < n_rings:
                    power[2 * h + 1] += sums[1, :, lane]
