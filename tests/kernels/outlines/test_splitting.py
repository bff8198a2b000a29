"""Pixels split over bins, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.kernels.outlines.splitting import (
    packed_entries,
    product_entries,
    split_entries,
    unpacked_entries,
    wrapped_entries,
)

EDGES = np.array([0.0, 0.5, 1.5, 1.75, 4.0])


def dense(entries, n_bins):
    """Shares as a matrix (pixel, bin)."""
    start, bins, shares = entries
    out = np.zeros((len(start) - 1, n_bins))
    for p in range(len(out)):
        for e in range(start[p], start[p + 1]):
            out[p, bins[e]] += shares[e]
    return out


def overlaps(low, high, edges):
    out = np.zeros((len(low), len(edges) - 1))
    for p, b in np.ndindex(out.shape):
        common = min(high[p], edges[b + 1]) - max(low[p], edges[b])
        out[p, b] = max(0.0, common) / (high[p] - low[p])
    return out


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_shares_are_relative_overlaps(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-1, 5, 40)
    high = low + rng.uniform(1e-3, 3, 40)
    entries = split_entries(low, high, EDGES, np.ones(40, bool))
    np.testing.assert_allclose(
        dense(entries, 4), overlaps(low, high, EDGES), rtol=0, atol=1e-12
    )


def test_bad_pixels_have_no_entries():
    good = np.array([True, False, True])
    start, _, _ = split_entries(np.zeros(3), np.ones(3), EDGES, good)
    assert start.tolist() == [0, 2, 2, 4]


def test_pixel_without_width_belongs_to_one_bin():
    at = np.array([0.2, 1.6, 4.0])
    entries = split_entries(at, at, EDGES, np.ones(3, bool))
    expected = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(dense(entries, 4), expected)


@pytest.mark.parametrize("first", [-np.pi, 0.0, 2.0, 100.0])
@pytest.mark.parametrize("turn", [1.0, 0.4])
def test_angles_go_round_the_circle(first, turn):
    """By counting: points spread evenly over each pixel's interval."""
    rng = np.random.default_rng(2)
    centre = rng.uniform(-np.pi, np.pi, 30)
    half = rng.uniform(0.01, np.pi, 30)
    edges = first + np.linspace(0, turn * 2 * np.pi, 8)
    shares = dense(wrapped_entries(centre, half, edges, np.ones(30, bool)), 7)
    n = 20000
    points = centre[:, None] + half[:, None] * ((np.arange(n) + 0.5) / n * 2 - 1)
    at = np.mod(points - first, 2 * np.pi)
    for p in range(30):
        expected = np.histogram(at[p], edges - first)[0] / n
        np.testing.assert_allclose(shares[p], expected, rtol=0, atol=2 / n)


def test_shares_of_a_full_circle_add_up_to_one():
    centre = np.linspace(-np.pi, np.pi, 9)
    edges = np.linspace(-np.pi, np.pi, 5)
    shares = dense(wrapped_entries(centre, centre * 0 + 9.0, edges, centre < 9), 4)
    np.testing.assert_allclose(shares, 0.25)


def test_two_axes_multiply():
    rng = np.random.default_rng(6)
    good = rng.random(20) < 0.8
    a = split_entries(low := rng.uniform(0, 3, 20), low + 0.8, EDGES, good)
    b = split_entries(low2 := rng.uniform(0, 3, 20), low2 + 1.1, EDGES, good)
    both = dense(product_entries(a, b, 4), 16).reshape(20, 4, 4)
    expected = dense(a, 4)[:, :, None] * dense(b, 4)[:, None, :]
    np.testing.assert_allclose(both, expected)


@pytest.mark.parametrize(
    "numbers", [[1, 1, 1], [0, 0, 0], [0, 7, 0], [3, 0, 2], [2] * 3]
)
def test_packed_lists_come_back(numbers):
    start = np.concatenate([[0], np.cumsum(numbers)])
    bins = np.arange(start[-1]) % 4
    shares = np.linspace(0.1, 0.9, start[-1])
    maps = packed_entries(start, bins, shares)
    assert all(m.shape == (3,) for m in maps)
    found = unpacked_entries(maps)
    np.testing.assert_array_equal(found[0], start)
    np.testing.assert_array_equal(found[1][: start[-1]], bins)
    np.testing.assert_array_equal(found[2][: start[-1]], shares)
