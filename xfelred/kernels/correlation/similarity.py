"""Pairs of rows that lie close together."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from xfelred.errors import NotPossibleError
from xfelred.kernels.arrays import Array, Floats

EXACT = 200  # shots up to which the smallest sum of distances is found for certain
TOLERANCE = 1e-12  # relative gain below which an exchange is not worth it


@njit(nogil=True, cache=True)
def nearest_free(table: Array, out: Array) -> int:
    """Write the greedy pairs to `out`; return how many there are."""
    n, found = table.shape[0], 0
    free = np.ones(n, np.bool_)
    for i in range(n):
        if not free[i]:
            continue
        best, at = np.inf, -1
        for j in range(i + 1, n):
            if not free[j]:
                continue
            square = 0.0
            for f in range(table.shape[1]):
                square += (table[i, f] - table[j, f]) ** 2
            if square < best:
                best, at = square, j
        if at >= 0:
            out[found, 0], out[found, 1] = i, at
            free[i] = free[at] = False
            found += 1
    return found


def greedy(table: Floats) -> NDArray[np.intp]:
    """Pair each row, in order, with the nearest that is still free.

    table: float64 (row, feature).
    Returns int (pair, 2); row numbers; an odd row is left out.
    """
    out = np.empty((len(table) // 2, 2), np.intp)
    return out[: nearest_free(np.ascontiguousarray(table), out)]


def minimum(table: Floats) -> NDArray[np.intp]:
    """Pair rows so that the sum of distances is as small as possible.

    table: float64 (row, feature).
    Returns int (pair, 2); row numbers; an odd row, the one that is best left out, is in
        no pair.

    One feature: neighbours in sorted order, which is the minimum. Several features, up
    to `EXACT` rows: integer programming (HiGHS, doi:10.1007/s12532-017-0130-5). More
    rows: greedy pairs, closest first, improved by exchanges between two pairs until
    none helps; not always the minimum.
    """
    if len(table) < 2:
        return np.empty((0, 2), np.intp)
    if table.shape[1] == 1:
        found = along_line(table[:, 0])
    elif len(table) <= EXACT:
        found = by_programming(table)
    else:
        found = by_exchange(table)
    found = np.sort(found, axis=1)
    return found[np.argsort(found[:, 0])]


def along_line(x: Floats) -> NDArray[np.intp]:
    """Return the best pairs of numbers: neighbours; an odd one out costs least."""
    order = np.argsort(x, kind="stable")
    if len(x) % 2:
        gap = np.diff(x[order])
        # Leaving out number 2 k: pairs (0, 1), ... before it, (2 k + 1, 2 k + 2) after.
        before = np.concatenate([[0.0], np.cumsum(gap[0::2])])
        after = np.concatenate([[0.0], np.cumsum(gap[1::2])])
        cost = before + after[-1] - after
        order = np.delete(order, 2 * int(np.argmin(cost)))
    return order.reshape(-1, 2)


def by_programming(table: Floats) -> NDArray[np.intp]:
    """Return the pairs with the smallest sum of distances, exactly."""
    n = len(table)
    i, j = np.triu_indices(n, 1)
    cost = np.linalg.norm(table[i] - table[j], axis=1)
    # Every row is in one pair; of an odd number, one row is in none.
    edges = np.arange(len(i))
    rows, columns = np.concatenate([i, j]), np.concatenate([edges, edges])
    used = coo_array((np.ones(2 * len(i)), (rows, columns)), shape=(n, len(i)))
    constraints = [LinearConstraint(used.tocsr(), 1 - n % 2, 1)]
    if n % 2:
        constraints.append(LinearConstraint(np.ones((1, len(i))), n // 2, n // 2))
    unit = max(float(cost.max()), np.finfo(float).tiny)
    found = milp(
        cost / unit,
        integrality=np.ones(len(i)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise NotPossibleError(f"no pairs of {n} shots were found: {found.message}")
    chosen = found.x > 0.5
    return np.stack([i[chosen], j[chosen]], axis=1)


@njit(nogil=True, cache=True)
def distance(table: Array, i: int, j: int) -> float:
    square = 0.0
    for f in range(table.shape[1]):
        square += (table[i, f] - table[j, f]) ** 2
    return np.sqrt(square)


@njit(nogil=True, cache=True)
def exchange(table: Array, pairs: Array) -> None:
    """Exchange partners between two pairs until no exchange makes them closer."""
    improved = True
    while improved:
        improved = False
        for p in range(pairs.shape[0]):
            for q in range(p + 1, pairs.shape[0]):
                a, b, c, d = pairs[p, 0], pairs[p, 1], pairs[q, 0], pairs[q, 1]
                now = distance(table, a, b) + distance(table, c, d)
                one = distance(table, a, c) + distance(table, b, d)
                two = distance(table, a, d) + distance(table, b, c)
                if min(one, two) < now * (1.0 - TOLERANCE):
                    improved = True
                    if one <= two:
                        pairs[p, 1], pairs[q, 0] = c, b
                    else:
                        pairs[p, 1], pairs[q, 0], pairs[q, 1] = d, b, c


def by_exchange(table: Floats) -> NDArray[np.intp]:
    table = np.ascontiguousarray(table)
    # Rows in the order of the widest feature start with partners nearby.
    order = np.argsort(table[:, int(np.argmax(np.ptp(table, axis=0)))], kind="stable")
    pairs = order[greedy(table[order])]
    exchange(table, pairs)
    return pairs
