"""Bins of a per-shot quantity, in every form in which users state them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ConfigError

Floats = NDArray[np.float64]
STEP_SLACK = 1e-9  # of a step: stop is a bin edge although the steps are rounded
MOST_BINS = 10_000_000  # along an axis


@dataclass(frozen=True, eq=False)
class BinEdges:
    """Bins with numbers: ``edges[k] <= v < edges[k + 1]``.

    Attributes
    ----------
    edges : float64 (n + 1,)
    positions : float64 (n,)
        Coordinate of each bin: its centre, or the value that it was made for.
    unique : bool
        Bins stand for distinct values.
    """

    edges: Floats
    positions: Floats
    unique: bool = False

    def __len__(self) -> int:
        return len(self.positions)

    def labels(self, values: NDArray[Any], *, open_start: bool = False) -> NDArray[Any]:
        """Return the bin of every value, int64; -1 outside all bins and for NaN.

        Parameters
        ----------
        values : array
        open_start : bool, optional
            The first edge is outside, as in the cubes of smalldata_tools.
        """
        values = np.asarray(values, np.float64)
        found = np.searchsorted(self.edges, values, side="right").astype(np.int64) - 1
        inside = (values >= self.edges[0]) & (values < self.edges[-1])
        if open_start:
            inside &= values > self.edges[0]
        return np.where(inside, found, -1)

    def with_outlier_bin(self) -> BinEdges:
        """Return bins of distinct values behind one as wide as the first two differ.

        This is the first bin of every cube of smalldata_tools that has unique bins.
        """
        first = self.edges[0] - (self.edges[1] - self.edges[0])
        return BinEdges(
            np.concatenate([[first], self.edges]),
            np.concatenate([[first], self.positions]),
            self.unique,
        )


@entry(own=("values",))
@dataclass(frozen=True, eq=False)
class Bins:
    """How to bin shots by a quantity; exactly one way is given.

    Bins are half open, ``[e_k, e_k+1)``: the last edge is outside.

    Parameters
    ----------
    edges : sequence of float, optional
        Rising.
    centres : sequence of float, optional
        Rising; edges are half way between them, the outer ones mirrored.
    start, stop, step : float, optional
        Edges ``start + k * step`` up to and including `stop`.
    n, range : int and (low, high), optional
        `n` bins of one width.
    unique : bool, optional
        A bin ``[u_k, u_k+1)`` for every distinct value; its coordinate is u_k. The last
        one is as wide as the first.
    tolerance : float, optional
        With `unique`: values that differ by less from the smallest of them are one.
    quantiles : int or sequence of float, optional
        Edges at these percentiles (0 to 100) of the values; a number n stands for n
        bins with equally many shots. The largest value belongs to the last bin if 100
        is among them.
    values : DataArray (train[, pulse]), optional
        What to bin by, in place of a coordinate of the data; joined by train ID.
    made : BinEdges, optional
        The bins, where they were made from more values than those that are binned.

    Raises
    ------
    ConfigError
        If none or several ways are given, or numbers that make no bins.
    """

    edges: ArrayLike | None = None
    centres: ArrayLike | None = None
    start: float | None = None
    stop: float | None = None
    step: float | None = None
    n: int | None = None
    range: Sequence[float] | None = None
    unique: bool = False
    tolerance: float = 0.0
    quantiles: int | Sequence[float] | None = None
    values: xr.DataArray | None = None
    made: BinEdges | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check that one way is given, and its numbers."""
        ways = {
            "edges": self.edges is not None,
            "centres": self.centres is not None,
            "start, stop and step": any(
                v is not None for v in (self.start, self.stop, self.step)
            ),
            "n and range": self.n is not None or self.range is not None,
            "unique": bool(self.unique),
            "quantiles": self.quantiles is not None,
        }
        given = [name for name, there in ways.items() if there]
        if len(given) != 1:
            raise ConfigError(
                f"bins need exactly one of {'; '.join(ways)}; got"
                f" {' and '.join(given) or 'none'}"
            )
        if self.tolerance < 0 or (self.tolerance and not self.unique):
            raise ConfigError("tolerance goes with unique bins and is not negative")
        if self.quantiles is not None:
            self.percentiles()
        elif not self.unique:
            self.fixed()

    @property
    def by_data(self) -> bool:
        """Whether the values decide where the edges are."""
        return bool(self.unique) or self.quantiles is not None

    @entry
    def resolve(self, values: ArrayLike = ()) -> BinEdges:
        """Return bins with numbers.

        Parameters
        ----------
        values : array, optional
            What will be binned; counts for `unique` and `quantiles` only.

        Raises
        ------
        ConfigError
            If there are no finite values to make bins from.
        """
        if self.made is not None:
            return self.made
        if not self.by_data:
            return self.fixed()
        finite = np.asarray(values, np.float64).ravel()
        finite = np.unique(finite[np.isfinite(finite)])
        if not len(finite):
            raise ConfigError("there are no finite values to make bins from")
        if self.unique:
            return unique_bins(finite, self.tolerance)
        # With repeats: percentiles count shots.
        every = np.asarray(values, np.float64).ravel()
        return self.at_percentiles(every[np.isfinite(every)])

    def fixed(self) -> BinEdges:
        """Return the bins that do not depend on values."""
        if self.centres is not None:
            centres = rising(self.centres, "centres", 2)
            inner = (centres[1:] + centres[:-1]) / 2
            ends = 2 * centres[[0, -1]] - inner[[0, -1]]
            return BinEdges(np.concatenate([ends[:1], inner, ends[1:]]), centres)
        if self.edges is not None:
            return between(rising(self.edges, "edges", 2))
        if self.n is not None or self.range is not None:
            return between(rising(self.spaced(), "edges", 2))
        # A step below the digits of `start` leaves edges where they are.
        return between(rising(self.stepped(), "edges", 2))

    def spaced(self) -> Floats:
        """Return the edges of `n` bins over `range`."""
        if self.n is None or self.range is None or len(self.range) != 2:
            raise ConfigError("n bins need range=(low, high) too")
        low, high = (float(v) for v in self.range)
        if int(self.n) != self.n or self.n < 1 or not finite_rise(low, high):
            raise ConfigError(
                f"n={self.n} over range {low:g} to {high:g} makes no bins: n is a whole"
                " number from 1, and the range rises"
            )
        return np.linspace(low, high, counted(self.n) + 1, dtype=np.float64)

    def stepped(self) -> Floats:
        """Return the edges from `start` to `stop`."""
        if self.start is None or self.stop is None or self.step is None:
            raise ConfigError("start, stop and step go together")
        start, stop, step = float(self.start), float(self.stop), float(self.step)
        if not finite_rise(start, stop):
            raise ConfigError(f"stop {stop:g} is not after start {start:g}")
        if not (math.isfinite(step) and 0 < step <= (stop - start) * (1 + STEP_SLACK)):
            raise ConfigError(
                f"step {step:g} makes no bin between {start:g} and {stop:g}"
            )
        n = counted((stop - start) / step + STEP_SLACK)
        edges = start + step * np.arange(n + 1, dtype=np.float64)
        if abs(edges[-1] - stop) <= STEP_SLACK * step:
            edges[-1] = stop  # where k * step is rounded
        return edges

    def percentiles(self) -> Floats:
        """Return the percentiles at which edges are."""
        q: Any = self.quantiles
        if isinstance(q, (int, np.integer)):
            if q < 1:
                raise ConfigError(f"quantiles={q} makes no bins; it counts them")
            q = np.linspace(0, 100, counted(q) + 1)
        q = rising(q, "quantiles", 2)
        if q[0] < 0 or q[-1] > 100:
            raise ConfigError(f"quantiles are percentiles, 0 to 100; got {q.tolist()}")
        return q

    def at_percentiles(self, values: Floats) -> BinEdges:
        """Return bins with edges at percentiles of finite values."""
        q = self.percentiles()
        # Equal percentiles, of many equal values, make no bin between them.
        edges = np.unique(np.percentile(values, q))
        if q[-1] == 100:
            # Bins are half open: the largest value shall be in the last one.
            edges[-1] = np.nextafter(edges[-1], np.inf)
        if len(edges) < 2:
            raise ConfigError(
                f"all values are {edges[0]:g}: their percentiles make no bins"
            )
        return between(edges)


def counted(n: float | np.integer) -> int:
    """Return a number of bins, rounded down; ConfigError if there are too many."""
    if n > MOST_BINS:
        raise ConfigError(
            f"{min(n, 1e300):.3g} bins are too many; at most {MOST_BINS} along an axis"
        )
    return math.floor(n)


def between(edges: Floats) -> BinEdges:
    return BinEdges(edges, (edges[1:] + edges[:-1]) / 2)


def unique_bins(values: Floats, tolerance: float) -> BinEdges:
    kept = [values[0]]
    if tolerance:
        for v in values[1:].tolist():
            if v - kept[-1] >= tolerance:
                kept.append(v)
        values = np.array(kept)
    width = values[1] - values[0] if len(values) > 1 else max(tolerance, 1.0)
    return BinEdges(np.append(values, values[-1] + width), values, unique=True)


def finite_rise(low: float, high: float) -> bool:
    return math.isfinite(low) and math.isfinite(high) and low < high


def rising(values: ArrayLike, what: str, least: int) -> Floats:
    """Return values as float64; ConfigError unless enough, finite and rising."""
    try:
        out = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{what} must be numbers, not {values!r}") from None
    if out.ndim != 1 or len(out) < least or not np.isfinite(out).all():
        raise ConfigError(
            f"{what} must be at least {least} finite numbers in a row, got {values!r}"
        )
    falls = np.flatnonzero(np.diff(out) <= 0)
    if len(falls):
        at = int(falls[0])
        raise ConfigError(
            f"{what} must rise, but {out[at]:g} is followed by {out[at + 1]:g}"
        )
    return out
