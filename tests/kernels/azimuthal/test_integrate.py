"""Sums over rings, against loops over frames and pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.kernels.azimuthal.integrate import (
    Integration,
    integrate_azimuthally,
    ring_sums,
)
from xfelred.kernels.outlines.splitting import packed_entries

N_BINS = 5
PIXELS = (2, 6, 7)


def make(n_frames=11, dtype=np.float64, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    frames = rng.poisson(20, (n_frames, *PIXELS)).astype(dtype)
    if missing:
        frames[rng.random(frames.shape) < missing] = np.nan
    factor = rng.uniform(0.5, 1.0, (1, *PIXELS))
    bins = rng.integers(-1, N_BINS, (1, *PIXELS)).astype(np.int32)
    return frames, factor, bins


def integrate(frames, factor, *maps, **kwargs):
    return integrate_azimuthally(
        frames, factor, *maps, n_core=3, rings=Integration((N_BINS,), **kwargs)
    )


def kept_of_spread(c, n, u):
    """Expected sum c^2 e^2 of the residuals of one bin over sum c^2 u, by projection.

    `c` are the shares of its pixels, `n` their norms, `u` their relative variances.
    """
    residual = np.eye(len(c)) - np.outer(n, c) / (c @ n)
    return (c**2 @ residual**2 @ u) / (c**2 @ u)


def looped(frames, factor, bins, *, mean=False, errors=""):
    """One frame, one bin, one pixel after the other."""
    out = np.zeros((len(frames), 4 if errors else 3, N_BINS))
    weights, places = factor.ravel(), bins.ravel()
    for i, frame in enumerate(frames):
        for b in range(N_BINS):
            inside = [
                (float(v), w)
                for v, w, place in zip(frame.ravel(), weights, places, strict=True)
                if place == b and not np.isnan(v)
            ]
            if mean:
                inside = [(v / w, 1.0, v / w**2, 1 / w) for v, w in inside]
            else:
                inside = [(v, w, v, w) for v, w in inside]
            count, norm = len(inside), sum(x[1] for x in inside)
            value = sum(x[0] for x in inside) / norm if count else np.nan
            out[i, :3, b] = value, count, norm
            if errors == "poisson":
                variance = sum(x[2] for x in inside)
                out[i, 3, b] = np.sqrt(variance) / norm if count else np.nan
            if errors == "azimuthal":
                if count < 2:
                    out[i, 3, b] = np.nan
                    continue
                v, w, _, u = np.array(inside).T
                variance = sum((v - value * w) ** 2)
                variance /= kept_of_spread(np.ones(count), w, u)
                out[i, 3, b] = np.sqrt(variance) / norm
    return out


@pytest.mark.parametrize("errors", ["", "poisson", "azimuthal"])
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_sums_equal_those_of_a_loop(errors, mean, missing):
    frames, factor, bins = make(missing=missing)
    found = integrate(frames, factor, bins, mean=mean, errors=errors)
    expected = looped(frames, factor, bins, mean=mean, errors=errors)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "dtype", ["f4", ">f4", "f2", "u2", "i2", "u1", "i4", "i8", ">i2", "bool"]
)
def test_every_type_of_pixel_is_summed_in_float64(dtype):
    frames, factor, bins = make(dtype=dtype)
    expected = looped(frames.astype(float), factor, bins)
    np.testing.assert_allclose(integrate(frames, factor, bins), expected, rtol=1e-12)


@pytest.mark.parametrize("n_frames", [0, 1, 2, 3, 4, 7, 8, 9, 16, 17])
def test_a_frame_gives_the_same_bits_in_any_block(n_frames):
    frames, factor, bins = make(17, missing=0.1)
    whole = integrate(frames, factor, bins, errors="azimuthal")
    part = integrate(frames[:n_frames], factor, bins, errors="azimuthal")
    np.testing.assert_array_equal(part, whole[:n_frames])
    last = integrate(frames[17 - n_frames :], factor, bins, errors="azimuthal")
    np.testing.assert_array_equal(last, whole[17 - n_frames :])


def test_frame_axes_and_bin_axes_keep_their_order():
    frames, factor, bins = make(12)
    stacked = integrate_azimuthally(
        frames.reshape(3, 4, *PIXELS),
        factor[None],
        bins[None],
        n_core=3,
        rings=Integration((1, N_BINS)),
    )
    flat = integrate(frames, factor, bins)
    np.testing.assert_array_equal(stacked, flat.reshape(3, 4, 3, 1, N_BINS))


def test_inputs_are_not_changed():
    given_arrays = make(missing=0.1)
    copies = [a.copy() for a in given_arrays]
    integrate(*given_arrays, mean=True, errors="azimuthal")
    for array, copy in zip(given_arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_bin_that_nan_has_emptied_is_nan_with_count_0():
    frames, factor, bins = make()
    frames[3, bins[0] == 2] = np.nan
    found = integrate(frames, factor, bins, errors="poisson")
    np.testing.assert_array_equal(found[3, :, 2], [np.nan, 0, 0, np.nan])
    assert np.isfinite(found[4]).all()


def test_frame_without_a_pixel_is_all_nan():
    frames, factor, bins = make()
    frames[:] = np.nan
    found = integrate(frames, factor, bins)
    assert np.isnan(found[:, 0]).all()
    assert (found[:, 1:] == 0).all()


def test_infinite_pixel_does_not_count_as_missing():
    frames, factor, bins = make()
    at = np.argwhere(bins[0] == 1)[:2]
    frames[2][tuple(at[0])], frames[5][tuple(at[0])] = np.inf, -np.inf
    found = integrate(frames, factor, bins)
    assert found[2, 0, 1] == np.inf
    assert found[5, 0, 1] == -np.inf
    np.testing.assert_array_equal(found[2, 1], found[0, 1])


def test_masks_leave_pixels_out_frame_by_frame():
    frames, factor, bins = make(dtype=np.int16)
    rng = np.random.default_rng(9)
    per_frame = rng.random(frames.shape) < 0.2
    per_module = np.zeros((len(frames), PIXELS[0], 1, 1), np.uint32)
    per_module[4, 1] = 8
    found = integrate(frames, factor, bins, per_frame, per_module, n_masks=2)
    values = np.where(per_frame | (per_module != 0), np.nan, frames)
    np.testing.assert_allclose(found, looped(values, factor, bins), rtol=1e-12)


def test_one_pixel_has_no_azimuthal_spread():
    frames, factor, bins = make()
    bins[bins == 2] = 1
    bins[0, 0, 0, 0] = 2
    found = integrate(frames, factor, bins, errors="azimuthal")
    assert np.isnan(found[:, 3, 2]).all()
    assert np.isfinite(found[:, 0, 2]).all()


def split_maps(shares):
    """Maps of the kernel for shares (pixel, bin)."""
    number = (shares > 0).sum(axis=1)
    start = np.concatenate([[0], np.cumsum(number)])
    pixel, bins = np.nonzero(shares)
    maps = packed_entries(start, bins, shares[pixel, bins])
    return [m.reshape(1, *PIXELS) for m in maps]


def split_sums(frames, factor, shares, mean, errors):
    """The formulas as matrix products, NaN taken out frame by frame."""
    out = []
    for frame in frames.reshape(len(frames), -1).astype(float):
        c = np.where(np.isnan(frame)[:, None], 0, shares)
        w = factor.ravel()
        s = np.nan_to_num(frame)
        gain, weight = (1 / w, np.ones_like(w)) if mean else (np.ones_like(w), w)
        norm = c.T @ weight
        value = c.T @ (s * gain) / norm
        if errors == "poisson":
            variance = (c**2).T @ (s * gain**2)
        else:
            off = (s * gain)[:, None] - value * weight[:, None]
            variance = (c**2 * off**2).sum(axis=0)
            u = gain if mean else weight
            variance /= [kept_of_spread(column, weight, u) for column in c.T]
        out.append([value, c.sum(axis=0), norm, np.sqrt(variance) / norm])
    return np.array(out)


@pytest.mark.parametrize("errors", ["poisson", "azimuthal"])
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_split_pixels_equal_matrix_products(errors, mean, missing):
    frames, factor, _ = make(missing=missing)
    rng = np.random.default_rng(4)
    shares = rng.random((frames[0].size, N_BINS))
    shares[rng.random(shares.shape) < 0.6] = 0
    found = integrate(frames, factor, *split_maps(shares), mean=mean, errors=errors)
    expected = split_sums(frames, factor, shares, mean, errors)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_pixel_with_one_whole_share_equals_no_splitting():
    frames, factor, bins = make(missing=0.1)
    shares = (bins.reshape(-1, 1) == np.arange(N_BINS)).astype(float)
    split = integrate(frames, factor, *split_maps(shares))
    np.testing.assert_allclose(split, integrate(frames, factor, bins), rtol=1e-13)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0, 1))
def test_total_signal_is_conserved(seed, n_frames, missing):
    """Law: intensity times norm, summed over bins, is the signal inside them."""
    frames, factor, bins = make(n_frames, seed=seed, missing=missing)
    found = integrate(frames, factor, bins)
    inside = np.nansum(np.where(bins >= 0, frames, 0), axis=(1, 2, 3))
    total = np.nansum(found[:, 0] * found[:, 2], axis=1)
    np.testing.assert_allclose(total, inside, rtol=1e-11, atol=1e-9)
    number = ((bins >= 0) & ~np.isnan(frames)).sum(axis=(1, 2, 3))
    np.testing.assert_array_equal(found[:, 1].sum(axis=1), number)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(9)))
def test_order_of_frames_does_not_matter(order):
    frames, factor, bins = make(9, missing=0.1)
    found = integrate(frames[list(order)], factor, bins)
    np.testing.assert_array_equal(found, integrate(frames, factor, bins)[list(order)])


@pytest.mark.parametrize("errors", ["", "poisson"])
@pytest.mark.parametrize("mean", [False, True])
def test_sums_over_modules_add_up_to_those_of_the_frame(mean, errors):
    frames, factor, bins = make(missing=0.3)
    rings = Integration((N_BINS,), mean, errors)
    parts = [
        ring_sums(frames[:, [m]], factor[:, [m]], bins[:, [m]], n_core=3, rings=rings)
        for m in range(frames.shape[1])
    ]
    whole = ring_sums(frames, factor, bins, n_core=3, rings=rings)
    assert set(whole) == {"signal", "count", "norm"} | (
        {"variance", "unit"} if errors else set()
    )
    for name, values in whole.items():
        total = sum(part[name] for part in parts)
        np.testing.assert_allclose(total, values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_given_variance_follows_the_pixels_that_count(mean, missing):
    frames, factor, bins = make(missing=missing)
    rng = np.random.default_rng(6)
    variance = rng.random((1, *frames.shape[1:]))
    masked = rng.random(frames.shape) < 0.2
    found = integrate(
        frames, factor, bins, masked, variance, mean=mean, errors="given", n_masks=1
    )
    there = ~np.isnan(frames) & ~masked
    scale = factor**-2 if mean else np.ones_like(factor)
    each = np.where(there, variance * scale, 0)
    expected = np.stack([each[:, bins[0] == b].sum(axis=1) for b in range(N_BINS)], 1)
    np.testing.assert_allclose(found[:, 3], np.sqrt(expected) / found[:, 2], rtol=1e-12)


def test_given_variance_of_split_pixels_counts_with_squared_shares():
    frames, factor, _ = make()
    rng = np.random.default_rng(4)
    shares = rng.random((frames[0].size, N_BINS))
    variance = rng.random(frames.shape)
    found = integrate(frames, factor, *split_maps(shares), variance, errors="given")
    each = variance.reshape(len(frames), -1) @ shares**2
    np.testing.assert_allclose(found[:, 3], np.sqrt(each) / found[:, 2], rtol=1e-12)


def test_unknown_variance_of_a_pixel_leaves_its_bin_without_sigma():
    frames, factor, bins = make()
    variance = np.ones((1, *frames.shape[1:]))
    variance[0][tuple(np.argwhere(bins[0] == 1)[0])] = np.nan
    found = integrate(frames, factor, bins, variance, errors="given")
    np.testing.assert_array_equal(np.isnan(found[0, 3]), np.arange(N_BINS) == 1)
    assert np.isfinite(found[:, 0]).all()


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_a_bin_has_at_least_the_error_of_one_count(mean, split):
    """One count, spread evenly: each pixel holds 1 / (sum of shares)."""
    frames, factor, bins = make(missing=0.2)
    rng = np.random.default_rng(4)
    shares = (bins.reshape(-1, 1) == np.arange(N_BINS)).astype(float)
    if split:
        shares *= rng.random(shares.shape)
    maps = split_maps(shares) if split else (bins,)
    there = ~np.isnan(frames)
    for empty in (np.where(there, 0.0, np.nan), -abs(frames) - 1):
        found = integrate(empty, factor, *maps, mean=mean, errors="poisson")
        gain2 = factor.ravel() ** -2 if mean else np.ones(factor.size)
        c = np.where(there.reshape(len(frames), -1, 1), shares, 0)
        variance = (c**2 * gain2[:, None]).sum(1) / c.sum(1)
        expected = np.sqrt(variance) / found[:, 2]
        np.testing.assert_allclose(found[:, 3], expected, rtol=1e-12)
    one = np.where(there, 0.0, np.nan)
    at = tuple(np.argwhere(there[0] & (bins[0] == 1))[0])
    one[0][at] = 3.0
    found = integrate(one, factor, bins, errors="poisson")
    assert found[0, 3, 1] == pytest.approx(np.sqrt(3) / found[0, 2, 1], rel=1e-12)
