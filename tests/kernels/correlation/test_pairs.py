"""Circular correlations of rings, against sums written out."""

import numpy as np
import pytest

from xfelred.kernels.correlation import pairs as correlation
from xfelred.kernels.correlation import rows

NORMALIZATIONS = ("none", "pairs", "variance", "mean")


def by_hand(a, b, normalization):
    """Correlation and pair counts of two rows, lag by lag."""
    a, b = a.astype(float), b.astype(float)
    if normalization != "none":
        good = [r[np.isfinite(r)] for r in (a, b)]
        means = [g.mean() if g.size else np.nan for g in good]
        widths = [g.std() if g.size and g.std() else np.nan for g in good]
        a, b = a - means[0], b - means[1]
    out, counts = [], []
    for lag in range(len(a)):
        products = np.roll(a, -lag) * b  # a[n + lag] b[n]
        good = np.isfinite(products)
        value = products[good].sum() if good.any() else np.nan
        if normalization != "none" and good.any():
            value /= good.sum()
        if normalization == "variance":
            value /= widths[0] * widths[1]
        if normalization == "mean":
            value /= means[0] * means[1]
        out.append(value)
        counts.append(good.sum())
    return np.array(out), np.array(counts)


def frames(n_phi, dtype=float, bad=0.2, n=5, n_rings=3):
    rng = np.random.default_rng(n_phi)
    x = rng.poisson(40, (n, n_rings, n_phi)).astype(dtype)
    if bad:
        x[rng.random(x.shape) < bad] = np.nan
    return x


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("lead", [None, 1])
@pytest.mark.parametrize("n_phi", [1, 2, 13, 16])
def test_correlation_of_every_shot(n_phi, lead, normalization):
    x = frames(n_phi)
    x[2, 1] = np.nan
    out = correlation.correlations(x, lead=lead, normalization=normalization)
    for i, r in np.ndindex(x.shape[:2]):
        first = x[i, r if lead is None else lead]
        value, counts = by_hand(first, x[i, r], normalization)
        np.testing.assert_array_equal(out[i, 1, r], counts)
        if n_phi > 2:
            np.testing.assert_allclose(out[i, 0, r], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lead", [None, 2])
@pytest.mark.parametrize("n_phi", [7, 12])
def test_mean_divides_sums_of_products_by_sums_of_counts(n_phi, lead):
    x = frames(n_phi)
    sums = correlation.ring_sums(rows.all_items(x), lead)
    out = correlation.mean_correlation(sums, lead, "pairs")
    for r in range(x.shape[1]):
        above, below = np.zeros(n_phi), np.zeros(n_phi, int)
        for shot in x:
            value, counts = by_hand(shot[r if lead is None else lead], shot[r], "pairs")
            above += np.where(counts, value * counts, 0)
            below += counts
        np.testing.assert_array_equal(sums["pairs"][r], below)
        np.testing.assert_allclose(out[r], above / below, rtol=1e-9)


@pytest.mark.parametrize("lead", [None, 0])
def test_variance_and_mean_are_those_over_all_shots(lead):
    x = frames(16, bad=0)
    sums = correlation.ring_sums(rows.all_items(x), lead)
    pairs = correlation.mean_correlation(sums, lead, "pairs")
    width = (x - x.mean(-1, keepdims=True)).reshape(5, 3, -1)
    width = np.sqrt((width**2).mean(axis=(0, 2)))
    mean = x.mean(axis=(0, 2))
    for name, own in (("variance", width), ("mean", mean)):
        expected = pairs / (own * (own if lead is None else own[lead]))[:, None]
        found = correlation.mean_correlation(sums, lead, name)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_raw_mean_is_over_shots_of_which_the_ring_is_there():
    x = frames(8, bad=0, n=3)
    x[1, 2] = np.nan
    sums = correlation.ring_sums(rows.all_items(x), raw=True)
    out = correlation.mean_correlation(sums, None, "none")
    for r, used in ((0, [0, 1, 2]), (2, [0, 2])):
        expected = np.mean([by_hand(x[i, r], x[i, r], "none")[0] for i in used], axis=0)
        np.testing.assert_allclose(out[r], expected, rtol=1e-12)


def test_first_argument_leads():
    x = np.zeros((1, 2, 8))
    x[0, 0, 5], x[0, 1, 2] = 1, 1
    out = correlation.correlations(x, lead=0, normalization="none")
    np.testing.assert_array_equal(np.argmax(out[0, 0], axis=-1), [0, 3])


@pytest.mark.parametrize("dtype", ["f4", "u2", "i2", "u1"])
def test_single_precision_on_a_pedestal_is_exact_to_1e_6(dtype):
    # scattering.md: uncentred, 1e4 cost 3e-3; centred, 5e-8 of C[0].
    x = frames(351, bad=0)
    x = (x + (10_000 if dtype != "u1" else 100)).astype(dtype)
    sums = correlation.ring_sums(rows.all_items(x))
    out = correlation.mean_correlation(sums, None, "pairs")
    exact = correlation.ring_sums(rows.all_items(x.astype(float)))
    exact = correlation.mean_correlation(exact, None, "pairs")
    assert correlation.correlations(x, lead=None, normalization="pairs").dtype == "f4"
    np.testing.assert_allclose(out, exact, rtol=0, atol=1e-6 * exact.max())
    raw = correlation.ring_sums(rows.all_items(x), raw=True)
    raw = correlation.mean_correlation(raw, None, "none")
    both = (x.astype(float).mean(-1) ** 2).mean(0)[:, None] + exact
    np.testing.assert_allclose(raw, both * 351, rtol=1e-9)


def test_bright_ring_leaves_no_errors_in_a_faint_one():
    x = np.random.default_rng(3).standard_normal((5, 2, 64)).astype(np.float32)
    x[:, 0] *= 1e6
    single = correlation.ring_sums(rows.all_items(x))["power"]
    exact = (abs(np.fft.rfft(x.astype(float))) ** 2).sum(0)
    exact[:, 0] = 0  # the mean, which is removed
    limits = 1e-6 * exact.max(axis=1, keepdims=True)
    assert (abs(single - exact) <= limits).all()


@pytest.mark.parametrize("lead", [None, 1])
@pytest.mark.parametrize("raw", [False, True])
def test_differences_of_unsigned_counts_do_not_wrap(raw, lead):
    x = frames(9, np.uint16, bad=0, n=6)
    pairs = np.array([[0, 1], [4, 2], [5, 0]])
    items = rows.differences(x, pairs)
    out = correlation.mean_correlation(
        correlation.ring_sums(items, lead, raw=raw), lead, "none" if raw else "pairs"
    )
    d = x[pairs[:, 0]].astype(float) - x[pairs[:, 1]]
    same = correlation.mean_correlation(
        correlation.ring_sums(rows.all_items(d), lead, raw=raw),
        lead,
        "none" if raw else "pairs",
    )
    # Single precision against double: 1e-6 of the largest value.
    np.testing.assert_allclose(out, same, atol=1e-6 * same.max())


def test_a_difference_is_good_where_both_shots_are():
    x = frames(12, bad=0.3, n=4)
    pairs = np.array([[0, 1], [2, 3], [1, 3]])
    out = correlation.difference_correlations(
        x, pairs, lead=None, normalization="pairs"
    )
    for i, (s, t) in enumerate(pairs):
        for r in range(3):
            d = x[s, r] - x[t, r]
            value, counts = by_hand(d, d, "pairs")
            np.testing.assert_array_equal(out[i, 1, r], counts)
            np.testing.assert_allclose(out[i, 0, r], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lead", [None, 1])
@pytest.mark.parametrize("raw", [False, True])
def test_correlations_between_shots(raw, lead):
    x = frames(10, n=4)
    items = rows.all_items(x)
    sums = correlation.ring_sums(items, lead, raw=raw)
    sums = correlation.inter_sums(correlation.add_images(sums, items, raw=raw), lead)
    how = "none" if raw else "pairs"
    out = correlation.mean_correlation(sums, lead, how)
    for r in range(3):
        above, below = np.zeros(10), np.zeros(10, int)
        for s, t in np.ndindex(4, 4):
            if s != t:
                value, n = by_hand(x[s, r if lead is None else lead], x[t, r], how)
                above += np.where(n, value * (1 if raw else n), 0)
                below += n
        np.testing.assert_array_equal(sums["pairs"][r], below)
        np.testing.assert_allclose(out[r], above / (12 if raw else below), rtol=1e-8)


def test_counts_alone_need_no_transform_of_the_values(monkeypatch):
    x = frames(16, bad=0)
    items = rows.all_items(x)

    def refuse(*args, **kwargs):
        raise AssertionError("values were transformed")

    monkeypatch.setattr(correlation, "spectra", refuse)
    sums = correlation.ring_sums(items, values=False)
    assert (sums["pairs"] == 16 * 5).all()


def test_no_items_and_no_good_azimuth_give_nan_and_count_0():
    for x in (np.zeros((0, 2, 6)), np.full((3, 2, 6), np.nan)):
        sums = correlation.ring_sums(rows.all_items(x))
        assert (sums["pairs"] == 0).all()
        for name in NORMALIZATIONS:
            assert np.isnan(correlation.mean_correlation(sums, None, name)).all()


def test_infinite_values_are_bad():
    x = frames(16, bad=0)
    y = x.copy()
    x[1, 0, 3], y[1, 0, 3] = np.inf, np.nan
    a, b = (
        correlation.correlations(v, lead=None, normalization="pairs") for v in (x, y)
    )
    np.testing.assert_array_equal(a, b)


def test_float16_and_big_endian_frames():
    x = frames(16, "f4", bad=0)
    exact = correlation.correlations(x, lead=None, normalization="pairs")
    for kind in (">f4", "f2", ">u2"):
        out = correlation.correlations(x.astype(kind), lead=None, normalization="pairs")
        np.testing.assert_array_equal(out, exact)
