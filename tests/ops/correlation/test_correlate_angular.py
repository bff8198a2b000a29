"""Angular correlations of labelled polar maps."""

import dask
import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import GeometryMismatchError

N_PHI = 21


def polar(chunks=3, dtype="f4", bad=0.1, n=7, pulses=2):
    rng = np.random.default_rng(0)
    x = rng.poisson(50, (n, pulses, 4, N_PHI)).astype(dtype)
    if bad:
        x[rng.random(x.shape) < bad] = np.nan
    coords = {
        "train": 100 + np.arange(n),
        "pulse": 4 * np.arange(pulses),
        "radius": ("radius", 30.0 + np.arange(4), {"units": "pixel"}),
        "phi": 2 * np.pi * np.arange(N_PHI) / N_PHI - np.pi,
        "q": ("radius", np.linspace(1, 2, 4), {"units": "1/angstrom"}),
    }
    attrs = {"units": "photon", "history": "made {}"}
    da = xr.DataArray(x, coords, ("train", "pulse", "radius", "phi"), attrs=attrs)
    return da.chunk(train=chunks) if chunks else da


def sums_by_hand(da, lead=None):
    """Sums of products and of counts over all shots, without the means of rings."""
    x = da.values.reshape(-1, *da.shape[-2:]).astype(float)
    above = np.zeros(da.shape[-2:])
    below = np.zeros(da.shape[-2:], int)
    for shot in x - np.nanmean(x, axis=-1, keepdims=True):
        for r, lag in np.ndindex(above.shape):
            products = np.roll(shot[r if lead is None else lead], -lag) * shot[r]
            above[r, lag] += np.nansum(products)
            below[r, lag] += np.isfinite(products).sum()
    return above, below


@pytest.mark.parametrize("chunks", [1, 3, 7, None])
@pytest.mark.parametrize("with_ring", [None, 2])
def test_mean_is_sum_over_sum_whatever_the_chunks(chunks, with_ring):
    da = polar(chunks, "f8")
    out = ops.correlate_angular(da, with_ring=with_ring, reduce="mean").compute()
    above, below = sums_by_hand(da, with_ring)
    np.testing.assert_array_equal(out.n_pairs, below)
    np.testing.assert_allclose(out.correlation, above / below, rtol=1e-10, atol=1e-12)
    single = ops.correlate_angular(polar(chunks), with_ring=with_ring, reduce="mean")
    whole = ops.correlate_angular(polar(7), with_ring=with_ring, reduce="mean")
    xr.testing.assert_allclose(single.compute(), whole.compute(), rtol=1e-12)


@pytest.mark.parametrize("chunks", [1, 3, 7, None])
def test_shots_do_not_depend_on_chunks(chunks):
    out = ops.correlate_angular(polar(chunks)).compute()
    whole = ops.correlate_angular(polar(7)).compute()
    xr.testing.assert_identical(out, whole)


def test_reduced_shots_of_equal_masks_are_the_mean_of_shots():
    da = polar(bad=0, dtype="f8")
    bad = xr.DataArray(
        np.random.default_rng(1).random((4, N_PHI)) < 0.2, dims=da.dims[2:]
    )
    for name in ("none", "pairs"):
        each = ops.correlate_angular(da, bad_pixels=bad, normalization=name)
        mean = ops.correlate_angular(
            da, bad_pixels=bad, normalization=name, reduce="mean"
        )
        expected = each.correlation.mean(("train", "pulse"))
        np.testing.assert_allclose(mean.correlation, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(
            mean.n_pairs, each.n_pairs.sum(("train", "pulse"))
        )


def test_building_computes_nothing(no_compute):
    bad = xr.DataArray(dask.array.zeros((4, N_PHI), dtype=bool), dims=("radius", "phi"))
    with no_compute():
        for reduce in (None, "mean"):
            out = ops.correlate_angular(polar(), bad_pixels=bad, reduce=reduce)
            assert all(v.chunks is not None for v in out.data_vars.values())
        ops.inter_correlation(polar(), bad_pixels=bad)
        ops.intra_correlation(polar())


def test_result_is_labelled():
    out = ops.correlate_angular(polar(), with_ring=1, reduce="mean")
    assert out.correlation.dims == out.n_pairs.dims == ("radius", "lag")
    np.testing.assert_allclose(out.lag, 2 * np.pi * np.arange(N_PHI) / N_PHI)
    assert out.lag.attrs["units"] == "rad"
    np.testing.assert_array_equal(out.q, polar().q)
    np.testing.assert_array_equal(out.radius, polar().radius)
    assert (out.lead_radius, out.lead_q) == (31.0, pytest.approx(4 / 3))
    assert out.lead_q.attrs["units"] == "1/angstrom"
    assert out.correlation.attrs["units"] == "(photon)**2"
    assert out.n_pairs.dtype == np.int64
    assert out.correlation.dtype == np.float64
    assert all(out[n].attrs["long_name"] for n in ("correlation", "n_pairs", "lag"))
    lines = out.attrs["history"].splitlines()
    assert [line.split()[0] for line in lines] == ["made", "correlate_angular"]
    each = ops.correlate_angular(polar())
    assert each.correlation.dims == ("train", "pulse", "radius", "lag")
    assert each.correlation.dtype == np.float32
    np.testing.assert_array_equal(each.train, polar().train)
    for name in ("variance", "mean"):
        out = ops.correlate_angular(polar(), normalization=name)
        assert out.correlation.attrs["units"] == "1"


def test_variance_is_1_at_lag_0():
    for reduce in (None, "mean"):
        out = ops.correlate_angular(polar(), normalization="variance", reduce=reduce)
        np.testing.assert_allclose(out.correlation.isel(lag=0), 1, rtol=1e-6)


def test_all_layouts_give_the_same():
    da = polar(dtype="f8")
    expected = ops.correlate_angular(da).correlation.values
    flat = da.stack(frame=("train", "pulse")).reset_index("frame", drop=True)
    out = ops.correlate_angular(flat.transpose("frame", ...))
    np.testing.assert_array_equal(out.correlation, expected.reshape(14, 4, N_PHI))
    turned = ops.correlate_angular(da.transpose("phi", "radius", "pulse", "train"))
    np.testing.assert_array_equal(
        turned.correlation.transpose("train", "pulse", ...), expected
    )
    one = ops.correlate_angular(da[2, 1])
    np.testing.assert_array_equal(one.correlation, expected[2, 1])
    # Sums of power spectra are made by another transform.
    mean = ops.correlate_angular(da[2, 1], reduce="mean").correlation
    np.testing.assert_allclose(mean, expected[2, 1], rtol=1e-11, atol=1e-11)
    cut = da.chunk(radius=1, phi=5)
    np.testing.assert_array_equal(ops.correlate_angular(cut).correlation, expected)


def test_bad_pixels_are_nan_in_any_form():
    da = polar(dtype="u2", bad=0)
    bad = np.random.default_rng(2).random((4, N_PHI)) < 0.3
    nan = da.astype("f4").where(~xr.DataArray(bad, dims=("radius", "phi")))
    expected = ops.correlate_angular(nan, reduce="mean").compute()
    bits = xr.DataArray(bad * np.uint32(1 << 31), dims=("radius", "phi"))
    each = bits.expand_dims(train=da.train).chunk(train=2)
    for mask in (bad, bits, bits.astype(bool), each, bits.T):
        out = ops.correlate_angular(da, bad_pixels=mask, reduce="mean").compute()
        np.testing.assert_array_equal(out.n_pairs, expected.n_pairs)
        np.testing.assert_allclose(out.correlation, expected.correlation, rtol=1e-12)


def test_frames_that_were_not_recorded_do_not_count():
    da = polar(dtype="u2", bad=0).assign_coords(
        available=("train", [True] * 6 + [False])
    )
    out = ops.correlate_angular(da, reduce="mean")
    assert (out.n_pairs == 12 * N_PHI).all()


def test_masked_ring_is_nan_with_count_0():
    da = polar(dtype="f8")
    da = da.where(da.radius != 31)
    for reduce in (None, "mean"):
        out = ops.correlate_angular(da, reduce=reduce).compute()
        assert (out.n_pairs.sel(radius=31) == 0).all()
        assert np.isnan(out.correlation.sel(radius=31)).all()
        assert np.isfinite(out.correlation.sel(radius=32)).all()
        lead = ops.correlate_angular(da, with_ring=1, reduce=reduce).compute()
        assert (lead.n_pairs == 0).all()
        assert np.isnan(lead.correlation).all()


def test_no_shots_give_nan_and_count_0():
    out = ops.correlate_angular(polar()[:0], reduce="mean").compute()
    assert (out.n_pairs == 0).all()
    assert np.isnan(out.correlation).all()


def test_intra_minus_inter_is_half_of_all_differences():
    # The mask of all shots is the same, so that the algebra is exact.
    da = polar(dtype="f8", bad=0).isel(pulse=0, drop=True)
    da = da.where(xr.DataArray(np.arange(N_PHI) % 5 > 0, dims="phi"))
    every = [(a, b) for a in da.train.values for b in da.train.values if a < b]
    for with_ring in (None, 3):
        intra = ops.intra_correlation(da, with_ring=with_ring)
        inter = ops.inter_correlation(da, with_ring=with_ring)
        half = ops.difference_correlation(da, every, with_ring=with_ring) / 2
        difference = intra.correlation - inter.correlation
        np.testing.assert_allclose(difference, half.correlation, rtol=1e-9, atol=1e-9)
        assert (inter.n_pairs == 6 * intra.n_pairs).all()


@pytest.mark.parametrize("chunks", [1, 3, None])
def test_inter_correlation_does_not_depend_on_chunks(chunks):
    out = ops.inter_correlation(polar(chunks)).compute()
    whole = ops.inter_correlation(polar(7)).compute()
    xr.testing.assert_allclose(out, whole, rtol=1e-10)
    assert "inter_correlation" in out.attrs["history"]


def test_inter_correlation_of_one_shot_is_nan():
    out = ops.inter_correlation(polar()[0, 0]).compute()
    assert (out.n_pairs == 0).all()
    assert np.isnan(out.correlation).all()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_scheduler_does_not_change_a_bit(scheduler):
    lazy = ops.correlate_angular(polar(2), reduce="mean")
    with dask.config.set(scheduler=scheduler):
        out = lazy.compute()
    xr.testing.assert_identical(out, lazy.compute(scheduler="synchronous"))


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        (None, {"normalization": "max"}, ValueError, "normalization='max'"),
        (None, {"reduce": "sum"}, ValueError, "reduce='sum'"),
        (None, {"with_ring": 4}, ValueError, "rings 0 to 3"),
        (None, {"with_ring": 1.0}, ValueError, "integer position"),
        (None, {"bad_pixels": np.zeros((3, 3), bool)}, GeometryMismatchError, "shape"),
        (None, {"bad_pixels": np.zeros((4, N_PHI))}, ValueError, "bool or integer"),
        ("rename", {}, GeometryMismatchError, "wanted radius and phi"),
        ("arc", {}, GeometryMismatchError, "full circle"),
        ("uneven", {}, GeometryMismatchError, "evenly spaced"),
        ("complex", {}, ValueError, "complex64"),
    ],
)
def test_bad_input_is_an_error_while_building(change, options, error, text):
    da = polar()
    changed = {
        None: lambda: da,
        "rename": lambda: da.rename(radius="q_ring"),
        "arc": lambda: da.isel(phi=slice(3, 15)),
        "uneven": lambda: da.isel(phi=[0, 1, 2, 5, 9, 12, 20]),
        "complex": lambda: da.astype("c8"),
    }[change]()
    with pytest.raises(error, match=text):
        ops.correlate_angular(changed, **options)


def test_azimuths_may_start_anywhere():
    da = polar()
    for phi in (
        da.phi + 1.0,
        np.angle(np.exp(1j * (da.phi + 1.0))),  # with a jump from pi to -pi
        -da.phi,
        np.float32(da.phi),
    ):
        ops.correlate_angular(da.assign_coords(phi=("phi", np.asarray(phi))))
    ops.correlate_angular(da.drop_vars("phi"))
