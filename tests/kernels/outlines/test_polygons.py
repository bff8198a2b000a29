"""Pixels split by area, against the same pixels cut into many points."""

import numpy as np
import pytest

from xfelred.kernels.outlines.polygons import polygon_entries

TURN = 2 * np.pi


def shares_of(entries, n_bins):
    start, bins, shares = entries
    out = np.zeros((len(start) - 1, n_bins))
    np.add.at(out, (np.repeat(np.arange(len(start) - 1), np.diff(start)), bins), shares)
    return out


def points(corners, n=200):
    """Points spread evenly over two triangles, with equal weights."""
    u, v = (np.mgrid[:n, :n] + 0.5).reshape(2, -1) / n
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    a, b, c, d = corners
    parts = []
    for p, q, r in ((a, b, c), (a, c, d)):
        area = abs(np.linalg.det(np.stack([q - p, r - p])))
        where = p + u[:, None] * (q - p) + v[:, None] * (r - p)
        parts.append((where, np.full(len(u), area)))
    where = np.concatenate([w for w, _ in parts])
    weight = np.concatenate([w for _, w in parts])
    return where, weight / weight.sum()


QUADS = {
    "square": [(1.2, 0.1), (1.2, 0.5), (2.7, 0.5), (2.7, 0.1)],
    "trapezium": [(0.4, -0.3), (0.9, 0.6), (3.1, 0.5), (2.0, -0.6)],
    "other way round": [(2.0, -0.6), (3.1, 0.5), (0.9, 0.6), (0.4, -0.3)],
    "beyond both ends": [(-0.5, 0.0), (1.0, 1.0), (4.5, 0.4), (2.0, -0.9)],
    "across pi": [(1.0, 2.9), (1.2, 3.4), (2.2, 3.5), (1.9, 2.8)],
    "within a bin": [(1.1, 0.1), (1.2, 0.2), (1.3, 0.1), (1.2, 0.05)],
}


@pytest.mark.parametrize("name", QUADS)
@pytest.mark.parametrize("sectors", [None, 5])
def test_shares_are_those_of_many_points(name, sectors):
    corners = np.array(QUADS[name])
    edges = np.array([0.0, 1.0, 1.4, 2.0, 3.0, 4.0])
    radius, phi = corners[:, :1], corners[:, 1:]
    wrapped = np.mod(phi + np.pi, TURN) - np.pi
    angles = None if sectors is None else np.linspace(-np.pi, np.pi, sectors + 1)
    entries = polygon_entries(radius, wrapped, edges, angles, np.ones(1, bool))
    where, weight = points(corners)
    if sectors is None:
        expected = np.histogram(where[:, 0], edges, weights=weight)[0]
    else:
        at = np.mod(where[:, 1] + np.pi, TURN) - np.pi
        bins = (angles, edges)
        expected = np.histogram2d(at, where[:, 0], bins, weights=weight)[0].ravel()
    np.testing.assert_allclose(
        shares_of(entries, expected.size)[0], expected, atol=5e-3
    )


def test_sums_of_shares_are_one_inside_the_edges():
    rng = np.random.default_rng(0)
    # Squares with moved corners, none of which crosses itself.
    radius = 2 + np.array([0, 0, 1, 1])[:, None] + 0.4 * rng.random((4, 50))
    phi = np.array([0, 1, 1, 0])[:, None] + 0.4 * rng.random((4, 50))
    for sectors in (None, np.linspace(-np.pi, np.pi, 8)):
        entries = polygon_entries(
            radius, phi, np.linspace(1, 5, 9), sectors, np.ones(50, bool)
        )
        np.testing.assert_allclose(shares_of(entries, 64).sum(axis=1), 1, rtol=1e-12)


def test_pixel_that_holds_the_beam_covers_all_azimuths():
    radius = np.full((4, 1), 0.5)
    phi = np.array([-2.4, -0.8, 0.8, 2.4])[:, None]
    sectors = np.linspace(-np.pi, np.pi, 5)
    entries = polygon_entries(
        radius, phi, np.array([0.0, 0.25, 1.0]), sectors, np.ones(1, bool)
    )
    np.testing.assert_allclose(shares_of(entries, 8)[0], 1 / 8, rtol=1e-12)


def test_pixel_without_area_belongs_to_its_bin():
    radius, phi = np.full((4, 1), 1.5), np.full((4, 1), 0.3)
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    entries = polygon_entries(radius, phi, edges, None, np.ones(1, bool))
    np.testing.assert_array_equal(shares_of(entries, 3)[0], [0, 1, 0])


def test_bad_pixels_and_pixels_outside_have_no_entries():
    radius = np.array([[1.0, 1.0, 9.0], [1.5, 1.5, 9.5]])[[0, 0, 1, 1]]
    phi = np.tile(np.array([0.1, 0.2, 0.2, 0.1])[:, None], 3)
    good = np.array([True, False, True])
    start, bins, shares = polygon_entries(radius, phi, np.array([0.0, 2.0]), None, good)
    np.testing.assert_array_equal(start, [0, 1, 1, 1])
    assert bins.tolist() == [0]
    np.testing.assert_allclose(shares, [1.0])


def test_hexagons_are_split_too():
    angle = np.arange(6) * np.pi / 3
    radius = (2 + np.cos(angle))[:, None]
    phi = (0.1 * np.sin(angle))[:, None]
    edges = np.array([0.0, 2.0, 4.0])
    entries = polygon_entries(radius, phi, edges, None, np.ones(1, bool))
    np.testing.assert_allclose(shares_of(entries, 2)[0], [0.5, 0.5], rtol=1e-12)
