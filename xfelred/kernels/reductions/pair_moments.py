"""Running moments of pixels together with one value per frame."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, usual
from xfelred.kernels.reductions.statistics import TILE, add_to, has_nan

State = dict[str, Array]
Floats = NDArray[np.float64]
# Of one length while all pixels have the same values, above all without NaN: 1.
COMMON = ("n", "sx", "sxx")
OWN = ("py", "sy", "syy", "sxy")


def empty_state(n_pixels: int, pivot: float) -> State:
    """Return the state of no frames: float64 (pixel,), or (1,) where it is common.

    `pivot` is subtracted from the values of frames: the field ``px`` (1,).
    """
    state: State = {name: np.zeros(n_pixels) for name in OWN}
    state |= {"n": np.zeros(1, np.int64), "sx": np.zeros(1), "sxx": np.zeros(1)}
    return state | {"px": np.array([pivot])}


@njit(nogil=True, cache=True)
def add_complete(
    y: Array, x: Floats, own: tuple[Floats, Floats, Floats, Floats]
) -> int:
    """Add frames `y` (frame, pixel) with values `x` (frame,) to `OWN`, tile by tile.

    Returns the pixels that were added: those before the first tile with a NaN. There
    are no branches inside, so that it is vectorised; two frames at a time.
    """
    py, sy, syy, sxy = own
    s, q, c = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    n_frames, n_pixels = y.shape
    for lo in range(0, n_pixels, TILE):
        hi = min(lo + TILE, n_pixels)
        p = py[lo:hi]
        a, b, d = s[: hi - lo], q[: hi - lo], c[: hi - lo]
        a[:] = 0.0
        b[:] = 0.0
        d[:] = 0.0
        for f in range(0, n_frames - 1, 2):
            one, two, x1, x2 = y[f, lo:hi], y[f + 1, lo:hi], x[f], x[f + 1]
            for i in range(hi - lo):
                d1, d2 = np.float64(one[i]) - p[i], np.float64(two[i]) - p[i]
                a[i] += d1 + d2
                b[i] += d1 * d1 + d2 * d2
                d[i] += x1 * d1 + x2 * d2
        if n_frames % 2:
            row, last = y[n_frames - 1, lo:hi], x[n_frames - 1]
            for i in range(hi - lo):
                d1 = np.float64(row[i]) - p[i]
                a[i] += d1
                b[i] += d1 * d1
                d[i] += last * d1
        if has_nan(a):
            return lo
        add_to(a, sy[lo:hi])
        add_to(b, syy[lo:hi])
        add_to(d, sxy[lo:hi])
    return n_pixels


@njit(nogil=True, cache=True)
def add_some(
    y: Array,
    x: Floats,
    first: int,
    common: tuple[NDArray[np.int64], Floats, Floats],
    own: tuple[Floats, Floats, Floats, Floats],
) -> None:
    """Add frames without NaN to the sums of the pixels from `first` on."""
    n, sx, sxx = common
    py, sy, syy, sxy = own
    for f in range(y.shape[0]):
        row, dx = y[f], x[f]
        for p in range(first, row.size):
            v = np.float64(row[p])
            if v != v:
                continue
            if n[p] == 0:
                py[p] = v
            dy = v - py[p]
            n[p] += 1
            sx[p] += dx
            sxx[p] += dx * dx
            sy[p] += dy
            syy[p] += dy * dy
            sxy[p] += dx * dy


def accumulate(state: State | None, y: Array, x: Array) -> State:
    """Return a state with frames `y`, real (frame, pixel), added in place.

    `x`, real (frame,), is the value of each frame; pairs with NaN are left out.
    """
    y, x = known_pairs(y, x)
    if state is None:
        state = empty_state(y.shape[1], x[0] if len(x) else 0.0)
    if not len(x):
        return state
    if not state["n"].any():
        # Whatever the pivot was: nothing has been added to it.
        state["px"] = x[:1].copy()
        state["py"][:] = y[0]
    x = x - state["px"]
    done = 0
    own = state["py"], state["sy"], state["syy"], state["sxy"]
    if len(state["n"]) == 1:
        done = add_complete(y, x, own)
    whole = done == y.shape[1]
    for name, value in zip(COMMON, (len(x), x.sum(), (x * x).sum()), strict=True):
        if not whole and len(state[name]) == 1:
            state[name] = np.repeat(state[name], y.shape[1])
        state[name][: None if whole else done] += value
    if not whole:
        add_some(y, x, done, (state["n"], state["sx"], state["sxx"]), own)
    return state


def known_pairs(y: Array, x: Array) -> tuple[Array, Floats]:
    """Return the frames whose value is no NaN, in a dtype that is compiled for."""
    x = np.ascontiguousarray(x, np.float64)
    known = ~np.isnan(x)
    if not known.all():
        x, y = x[known], y[known]
    return usual(y), x


def merge(one: State, two: State) -> State:
    """Return the state of the frames of two; the second is moved to the first pivot."""
    n1, n2 = one["n"], two["n"]
    out: State = {"n": n1 + n2}
    shift = {}
    for axis in "xy":
        pivot = np.where(n1 > 0, one[f"p{axis}"], two[f"p{axis}"])
        shift[axis] = np.where(n2 > 0, two[f"p{axis}"] - pivot, 0.0)
        out[f"p{axis}"] = pivot
        out[f"s{axis}"] = one[f"s{axis}"] + (two[f"s{axis}"] + n2 * shift[axis])
    for a, b in ("xx", "yy", "xy"):
        moved = two[f"s{a}{b}"] + shift[a] * two[f"s{b}"] + shift[b] * two[f"s{a}"]
        out[f"s{a}{b}"] = one[f"s{a}{b}"] + (moved + n2 * shift[a] * shift[b])
    return out


def results(state: State, name: str) -> Array:
    """Return one result of a state; NaN where it is not defined.

    ``correlation`` is ``(E[xy] - E x E y) / (sx sy)``; ``slope``, ``intercept`` and
    ``r2`` are those of the line ``y = intercept + slope * x`` of least squares;
    ``ratio`` is ``sum y / sum x``.
    """
    n = state["n"]
    if name == "count":
        return np.broadcast_to(n, state["py"].shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        if name == "ratio":
            total = {a: state[f"p{a}"] * n + state[f"s{a}"] for a in "xy"}
            out = total["y"] / total["x"]
            return np.where((n > 0) & (total["x"] != 0), out, np.nan)
        mean = {a: state[f"s{a}"] / n for a in "xy"}
        central = {
            f"{a}{b}": state[f"s{a}{b}"] - state[f"s{a}"] * mean[b]
            for a, b in ("xx", "yy", "xy")
        }
        # A line through equal x has any slope.
        varies = spread(state, central, "x")
        if name in ("slope", "intercept"):
            slope = np.where(varies, central["xy"] / central["xx"], np.nan)
            if name == "slope":
                return slope
            centre = {a: state[f"p{a}"] + mean[a] for a in "xy"}
            return centre["y"] - slope * centre["x"]
        both = varies & spread(state, central, "y")
        value = central["xy"] / np.sqrt(central["xx"] * central["yy"])
        # Rounding may leave a little more than 1.
        value = np.where(both, np.clip(value, -1.0, 1.0), np.nan)
        return value if name == "correlation" else value * value


def spread(state: State, central: State, axis: str) -> NDArray[np.bool_]:
    """Return where values differ by more than the rounding of their sums."""
    # Some 50 times the rounding of float64: a constant must not pass for a slope.
    noise = 1e-14 * state["n"] * state[f"s{axis}{axis}"]
    found: NDArray[np.bool_] = central[f"{axis}{axis}"] > noise
    return found
