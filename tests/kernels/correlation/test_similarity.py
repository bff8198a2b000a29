"""Pairs of rows that lie close together, against all pairings there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.kernels.correlation import similarity


def cost(table, pairs):
    return np.linalg.norm(table[pairs[:, 0]] - table[pairs[:, 1]], axis=1).sum()


def least(table):
    """The smallest sum of distances over all pairings (recursively)."""
    best = {}

    def of(rows):
        if len(rows) < 2:
            return 0.0
        if rows not in best:
            first, rest = rows[0], rows[1:]
            options = [
                np.linalg.norm(table[first] - table[other])
                + of(tuple(r for r in rest if r != other))
                for other in rest
            ]
            if len(rows) % 2:
                options.append(of(rest))
            best[rows] = min(options)
        return best[rows]

    return of(tuple(range(len(table))))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(1, 3), st.integers(0, 10**6))
def test_minimum_is_the_minimum(n, n_features, seed):
    table = np.random.default_rng(seed).random((n, n_features))
    pairs = similarity.minimum(table)
    assert pairs.shape == (n // 2, 2)
    assert len(np.unique(pairs)) == pairs.size
    assert cost(table, pairs) == pytest.approx(least(table), rel=1e-9)


def test_equal_rows_pair_with_each_other():
    table = np.repeat(np.random.default_rng(0).random((6, 2)), 2, axis=0)
    for pick in (similarity.minimum, similarity.greedy):
        assert cost(table, pick(table)) == 0


def test_exchange_comes_close_to_the_minimum():
    table = np.random.default_rng(1).random((60, 3))
    exact = cost(table, similarity.by_programming(table))
    better = cost(table, similarity.by_exchange(table))
    assert exact <= better < 1.15 * exact
    assert better < cost(table, similarity.greedy(table))


def test_greedy_takes_the_nearest_that_is_free():
    table = np.array([[0.0], [5.0], [1.0], [0.9], [4.0]])
    assert similarity.greedy(table).tolist() == [[0, 3], [1, 4]]


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows_make_no_pair(n):
    for pick in (similarity.minimum, similarity.greedy):
        assert pick(np.zeros((n, 2))).shape == (0, 2)
