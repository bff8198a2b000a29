"""Traces: numpy, trace by trace, and smalldata_tools."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.signal import fftconvolve

from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.kernels.waveforms.traces import gaussian, smoothed_by

GOLDEN = Path(__file__).parents[2] / "golden/data/lcls"


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def traces(values, chunks=2):
    da = xr.DataArray(values, dims=("train", "sample"), attrs={"units": "adu"})
    da = da.assign_coords(train=np.arange(len(values)) + 10)
    return da.chunk(train=chunks) if chunks else da


def test_integrals_and_hits_are_those_of_smalldata_tools(no_compute):
    file = golden("waveform_simple")
    wf = traces(file["wf"])
    with no_compute():
        made = ops.waveform_integrate(wf, (85, 120), (0, 60))
        hits = ops.waveform_hits(wf, 60.0)
    np.testing.assert_allclose(made["integral"], file["integ_bkg"], rtol=1e-12)
    down = ops.waveform_integrate(wf[0], (85, 120), (0, 60), negative=True)
    np.testing.assert_allclose(down["integral"], file["integ_neg"], rtol=1e-12)
    np.testing.assert_array_equal(hits["hits"], file["hit_thr"])
    found = ops.waveform_hits(wf[0], 5.0, noise=True, background=(0, 60))
    np.testing.assert_array_equal(found["hits"], file["hit_rms"])


def test_pulses_are_fitted_as_by_smalldata_tools(no_compute):
    file = golden("svd_waveform")
    given = {"n_pulses": 2, "delay": file["delay"].tolist(), "mode": "both"}
    with no_compute():
        found = ops.waveform_svd(traces(file["waveforms"]), file["components"], **given)
    for name in ("intensities_max", "intensities_norm", "score", "coefficients"):
        np.testing.assert_allclose(found[name], file[name], rtol=1e-9, atol=1e-12)
    one = ops.waveform_svd(traces(file["waveforms"]), file["components"][:1])
    assert (one.score < found.score).all()
    assert one.intensities.shape == (5, 1)


@pytest.mark.parametrize("chunks", [None, 1, 5])
def test_chunks_make_no_difference(chunks):
    values = golden("svd_waveform")["waveforms"]
    for function in (
        lambda wf: ops.waveform_integrate(wf, (10, 200), (0, 9)),
        lambda wf: ops.waveform_hits(wf, 2.0, noise=True),
        lambda wf: ops.waveform_baseline(wf, (3, 90), window=(50, 200), period=4),
        lambda wf: ops.waveform_cfd(wf, threshold=1.0, max_hits=3),
        lambda wf: ops.waveform_fit(wf, values[:2]),
        lambda wf: ops.waveform_svd(wf, values[:2], n_pulses=2, delay=50),
    ):
        xr.testing.assert_identical(
            function(traces(values, chunks)).compute(),
            function(traces(values)).compute(),
        )


def test_positions_of_hits_follow_the_peaks():
    at = np.arange(1000)
    centres = [[200.25, 600], [300.75, 601], [100, 900.5]]
    peaks = [sum(np.exp(-(((at - c) / 20) ** 2)) for c in two) for two in centres]
    found = ops.waveform_cfd(traces(-5.0 * np.array(peaks) + 40), threshold=1.5)
    np.testing.assert_array_equal(found.n_hits, 2)
    # The same fraction of the same shape: one distance for all, by symmetry.
    rest = found.hit_index.values[:, :2] - np.array(centres)
    assert np.ptp(rest) < 0.02
    assert found.hit_index[:, 2:].isnull().all()
    timed = ops.waveform_cfd(
        traces(np.array(peaks)), threshold=1.5, sample_interval=0.5, max_hits=1
    )
    np.testing.assert_allclose(timed.hit_time[:, 0], found.hit_index[:, 0] / 2)
    np.testing.assert_array_equal(timed.n_hits, 2)


def test_traces_without_a_hit_or_with_gaps_have_none():
    flat = np.zeros((3, 200))
    flat[1, 50] = np.nan
    found = ops.waveform_cfd(traces(flat))
    np.testing.assert_array_equal(found.n_hits, 0)
    assert np.isnan(ops.waveform_integrate(traces(flat))["integral"][1])


def test_templates_are_fitted_by_least_squares():
    rng = np.random.default_rng(0)
    shapes, amplitudes = rng.normal(size=(3, 50)), rng.normal(size=(7, 3))
    values = amplitudes @ shapes + rng.normal(0, 0.1, (7, 50))
    found = ops.waveform_fit(traces(values), shapes)
    wanted = np.linalg.lstsq(shapes.T, values.T, rcond=None)[0].T
    np.testing.assert_allclose(found.amplitude, wanted, rtol=1e-9)
    rest = values - wanted @ shapes
    share = 1 - (rest**2).sum(1) / values.var(1) / 50
    np.testing.assert_allclose(found.score, share, rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (
            lambda wf: ops.waveform_integrate(wf, (30, 40)),
            GeometryMismatchError,
            "0 to",
        ),
        (lambda wf: ops.waveform_hits(wf, 5, threshold_max=4), ArgumentError, "above"),
        (
            lambda wf: ops.waveform_hits(wf, 5, background=(0, 4)),
            ArgumentError,
            "noise",
        ),
        (lambda wf: ops.waveform_cfd(wf, fraction=2), ArgumentError, "between"),
        (lambda wf: ops.waveform_fit(wf, np.ones(7)), GeometryMismatchError, "wanted"),
        (lambda wf: ops.waveform_fit(wf, np.zeros(24)), ArgumentError, "only 0"),
        (
            lambda wf: ops.waveform_svd(wf, np.ones(24), n_pulses=2, delay=[0]),
            ArgumentError,
            "one for each of 2",
        ),
        (
            lambda wf: ops.waveform_svd(wf, np.ones(24), n_pulses=2, delay=24),
            ArgumentError,
            "as long as the 24",
        ),
        (lambda wf: ops.waveform_cfd(wf, threshold=np.nan), ArgumentError, "no limit"),
        (
            lambda wf: ops.waveform_hits(wf.rename(sample="time"), 1),
            GeometryMismatchError,
            "rename theirs",
        ),
    ],
)
def test_what_does_not_fit_is_one_error(call, kind, words):
    with pytest.raises(kind, match=words):
        call(traces(np.ones((4, 24))))


@pytest.mark.parametrize(("n", "length"), [(2, 1), (7, 4), (500, 35), (500, 36)])
def test_traces_are_smoothed_as_by_scipy(n, length):
    trace, smooth = np.random.default_rng(n).normal(size=n), gaussian(length)
    want = fftconvolve(trace, smooth, mode="same")
    np.testing.assert_array_equal(smoothed_by(smooth, trace), want)


@pytest.mark.parametrize("dtype", ["i2", "u2", "f4"])
@pytest.mark.parametrize("period", [1, 2, 5])
def test_baselines_are_those_of_a_loop(dtype, period, no_compute):
    rng = np.random.default_rng(6)
    values = rng.integers(0, 900, (5, 64)) + 100 * (np.arange(64) % period)
    wf = traces(values.astype(dtype)).assign_coords(sample=np.arange(64) * 0.5)
    with no_compute():
        found = ops.waveform_baseline(wf, (3, 30), window=(21, -4), period=period)
    wanted = values[:, 21:60].astype(float)
    for row, trace in zip(wanted, values, strict=True):
        for i in range(21, 60):
            same = [trace[j] for j in range(3, 30) if j % period == i % period]
            row[i - 21] -= np.median(same)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found["sample"], np.arange(21, 60) * 0.5)
    # What is left has no baseline any more.
    again = ops.waveform_baseline(found, (0, 9), period=1)
    assert abs(np.median(again[:, :9], axis=1)).max() == 0


def test_a_baseline_needs_samples():
    wf = traces(np.zeros((2, 20)))
    with pytest.raises(ArgumentError, match="period=9; wanted 1 to 5"):
        ops.waveform_baseline(wf, (0, 5), period=9)
    with pytest.raises(GeometryMismatchError, match=r"window=.* has no sample"):
        ops.waveform_baseline(wf, window=(30, 40))


def test_traces_of_many_lengths_are_padded():
    lengths = np.array([3, 0, 5, 2])
    values = np.arange(10.0)
    ids = np.repeat([11, 12, 13, 14], lengths)
    listed = xr.Dataset({"wf": ("entry", values)}, {"train": ("entry", ids)})
    found = ops.from_table(listed, "sample", train=[11, 12, 13, 14])
    starts = np.cumsum(lengths) - lengths
    for trace, start, n in zip(found["wf"].values, starts, lengths, strict=True):
        np.testing.assert_array_equal(trace[:n], values[start : start + n])
        assert np.isnan(trace[n:]).all()
    np.testing.assert_array_equal(found["n_samples"], lengths)
    sums = ops.waveform_integrate(found["wf"], (0, 2))["integral"]
    np.testing.assert_array_equal(sums, [1, np.nan, 7, 17])
