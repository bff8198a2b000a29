"""Edges: steps that are known to a part of a sample, loops, backgrounds, bad input."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

from xfelred import ops
from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    SelectionEmptyError,
)

N, SAMPLES = 12, 200
PLACES = np.linspace(60.2, 139.7, N)
SPECTRUM = 500 + 300 * np.sin(np.arange(SAMPLES) / 15)


def traces(chunks=None, noise=0.0, dark=0.0, width=3.0, seed=0):
    """Transmission that falls by a fifth at `PLACES`, times the light of a spectrum."""
    rng = np.random.default_rng(seed)
    at = (np.arange(SAMPLES) - PLACES[:, None]) / width
    values = SPECTRUM * (1 - 0.1 * (1 + erf(at))) + dark
    values = values + rng.normal(0, noise, values.shape) if noise else values
    da = xr.DataArray(values, {"train": 5 + np.arange(N)}, ("train", "sample"))
    return da.chunk(train=chunks) if chunks else da


def test_edges_are_found_to_a_part_of_a_sample(no_compute):
    with no_compute():
        made = ops.find_edge(traces(5, dark=40), background=SPECTRUM + 40,
                             dark=np.full(SAMPLES, 40.0), step=20)  # fmt: skip
    np.testing.assert_allclose(made["position"], PLACES, atol=0.01)
    # What an edge of this width loses in the means of 20 samples.
    blurred = 0.2 * (1 - 3 / (np.sqrt(np.pi) * 20))
    np.testing.assert_allclose(made["amplitude"], blurred, rtol=1e-3)
    # The answer of a sharp step is a triangle; its half width is that of one side.
    np.testing.assert_allclose(made["fwhm"], 20, rtol=0.1)
    assert (made["next_amplitude"] < 0.01).all()
    assert made["amplitude"].attrs["units"] == "1"


def by_hand(trace, step):
    r = [
        trace[i - step : i].mean() - trace[i : i + step].mean()
        for i in range(step, len(trace) - step + 1)
    ]
    k = int(np.argmax(r))
    top = np.polynomial.polynomial.polyfit([-1, 0, 1], r[k - 1 : k + 2], 2)
    shift = -top[1] / (2 * top[2])
    return step + k + shift - 0.5, top[0] + top[1] * shift + top[2] * shift**2


@pytest.mark.parametrize("chunks", [None, 1, N])
def test_position_and_amplitude_are_those_of_a_loop(chunks):
    da = traces(chunks, noise=20)
    found = ops.find_edge(da, background=SPECTRUM, step=15, roi=(20, 180))
    for i, trace in enumerate(da.values / SPECTRUM):
        position, amplitude = by_hand(trace[20:180], 15)
        assert float(found["position"][i]) == pytest.approx(position + 20, rel=1e-10)
        assert float(found["amplitude"][i]) == pytest.approx(amplitude, rel=1e-10)
    again = ops.find_edge(
        traces(4, noise=20), background=SPECTRUM, step=15, roi=(20, 180)
    )
    xr.testing.assert_equal(found.compute(), again.compute())


def test_rising_edges_and_weights_of_ones_own():
    da = traces()
    wanted = ops.find_edge(da / SPECTRUM, step=10)
    upside = ops.find_edge(2 - da / SPECTRUM, step=10, falling=False)
    np.testing.assert_allclose(upside["position"], wanted["position"], atol=1e-9)
    own = [0.1] * 10 + [-0.1] * 10
    found = ops.find_edge(da / SPECTRUM, step=own)
    xr.testing.assert_allclose(found.drop_attrs(), wanted.drop_attrs())


def test_the_next_edge_is_told():
    da = traces() / SPECTRUM
    later = (xr.DataArray(np.arange(SAMPLES), dims="sample") >= 170) * 0.08
    found = ops.find_edge(da - later, step=10)
    np.testing.assert_allclose(found["position"], PLACES, atol=0.05)
    np.testing.assert_allclose(found["next_amplitude"], 0.08, rtol=0.02)


def test_a_camera_is_averaged_over_its_region(no_compute):
    rng = np.random.default_rng(1)
    rows = xr.DataArray(rng.uniform(1, 2, 30), dims="slow_scan")
    light = xr.DataArray(SPECTRUM, dims="fast_scan") * rows
    clean = traces().rename(sample="fast_scan") / SPECTRUM
    frames = (clean * light).transpose("train", "slow_scan", "fast_scan").chunk(train=5)
    frames[:, :5] = 1e5
    light = light.transpose("slow_scan", "fast_scan")
    given = {"roi": ((5, 30), (20, 190)), "step": 12}
    with no_compute():
        made = ops.find_edge(frames, background=light, **given)
    np.testing.assert_allclose(made["position"], PLACES, atol=0.02)
    plain = ops.find_edge(frames, background=light.values, **given)
    xr.testing.assert_equal(plain.drop_attrs(), made.drop_attrs())
    turned = frames.rename(slow_scan="fast_scan", fast_scan="slow_scan")
    turned = turned.transpose("train", "slow_scan", "fast_scan")
    found = ops.find_edge(
        turned, background=light.values.T, roi=((20, 190), (5, 30)), step=12,
        along="slow_scan",
    )  # fmt: skip
    np.testing.assert_allclose(found["position"], made["position"], rtol=1e-12)


def test_shots_without_an_edge_are_nan():
    da = traces().copy()
    da[0] = np.nan
    da[1] = np.linspace(1000, 100, SAMPLES) ** 2
    found = ops.find_edge(da, step=10)
    assert found["position"].isnull().values.tolist() == [True, True] + [False] * 10
    assert found["amplitude"].isnull().values.tolist() == [True] + [False] * 11
    gone = ops.find_edge(da, step=10, background=SPECTRUM * 0)
    assert gone["position"].isnull().all()
    # A sample of the background is not above 0 outside of the region.
    light = SPECTRUM.copy()
    light[:9] = 0
    found = ops.find_edge(da[2:], step=10, background=light, roi=(10, 200))
    np.testing.assert_allclose(found["position"], PLACES[2:], atol=0.01)


def test_bad_input_is_refused():
    da = traces()
    with pytest.raises(GeometryMismatchError, match="background has the shape"):
        ops.find_edge(da, background=np.ones(3))
    with pytest.raises(ArgumentError, match="longer"):
        ops.find_edge(da, step=101)
    with pytest.raises(ArgumentError, match="step"):
        ops.find_edge(da, step=0)
    with pytest.raises(GeometryMismatchError, match="no sample"):
        ops.find_edge(da, roi=(200, 300))
    with pytest.raises(ArgumentError, match="roi"):
        ops.find_edge(da, roi="all")
    with pytest.raises(GeometryMismatchError, match="sample"):
        ops.find_edge(da.rename(sample="x"))


@pytest.mark.parametrize("chunks", [None, 1, 24])
@pytest.mark.parametrize("camera", [False, True])
def test_the_background_is_the_mean_of_the_shots_that_are_flagged(
    chunks, camera, no_compute
):
    rng = np.random.default_rng(8)
    off = SPECTRUM * rng.normal(1, 0.02, (N, 1)) + 40
    mixed = np.empty((2 * N, SAMPLES))
    mixed[::2], mixed[1::2] = traces(dark=40), off
    da = xr.DataArray(mixed, {"train": 100 + np.arange(2 * N)}, ("train", "sample"))
    if camera:
        da = da.rename(sample="fast_scan").expand_dims(slow_scan=3, axis=1)
    flags = xr.DataArray(np.arange(2 * N) % 2 == 1, da.train.coords, name="dropped")
    given = np.broadcast_to(off.mean(0), da.shape[1:])
    wanted = ops.find_edge(da, background=given, step=20)
    da = da.chunk(train=chunks) if chunks else da
    with no_compute():
        # In another order, with an ID that is not there.
        more = xr.concat([flags, flags[:1].assign_coords(train=[7])], "train")
        found = ops.find_edge(da, background=more[::-1], step=20)
    xr.testing.assert_allclose(found.drop_attrs(), wanted.drop_attrs(), rtol=1e-12)
    np.testing.assert_allclose(found["position"][::2], PLACES, atol=0.5)


def test_pulses_that_are_flagged_and_none():
    values = np.stack([traces(), np.broadcast_to(SPECTRUM, (N, SAMPLES))], 1)
    da = xr.DataArray(
        values, {"train": np.arange(N), "pulse": [0, 4]}, ("train", "pulse", "sample")
    )
    flags = xr.DataArray([[False, True]] * N, da.isel(sample=0).coords, da.dims[:2])
    found = ops.find_edge(da, background=flags, step=20)["position"]
    np.testing.assert_allclose(found.sel(pulse=0), PLACES, atol=0.01)
    by_train = ops.find_edge(da, background=flags[:, 1], step=20)
    assert by_train["position"].dims == ("train", "pulse")
    with pytest.raises(SelectionEmptyError, match="none of 24 shots"):
        ops.find_edge(da, background=flags & False)
