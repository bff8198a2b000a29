"""Correlations of pulses: a slow loop, and simulated decays with pulls of width 1."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.synth import speckle

IDS = (0, 1, 4, 6)


def patterns(chunks=None, missing=0.0, **given):
    da = speckle.photons(shape=(2, 6, 7), n_trains=4, pulses=IDS, k_mean=3, **given)
    da = da.assign_coords(module=[3, 5])
    if missing:
        rng = np.random.default_rng(3)
        da = da.where(rng.random(da.shape) > missing)
    return da.chunk(train=chunks, pulse=chunks) if chunks else da


def rings():
    labels = np.random.default_rng(1).integers(-1, 2, (2, 6, 7))
    return xr.DataArray(labels, dims=("module", "slow_scan", "fast_scan"))


def by_hand(train, ring, symmetric):
    """C(t1, t2) of one train (pulse, module, row, column), pair by pair."""
    inside = (rings().values == ring).ravel()
    x = train.reshape(len(train), -1)[:, inside].astype(float)
    out = np.full((len(x), len(x)), np.nan)
    for i, a in enumerate(x):
        for j, b in enumerate(x):
            use = ~np.isnan(a) & ~np.isnan(b)
            by = a[use].mean() * b[use].mean() if symmetric else np.nanmean(x) ** 2
            out[i, j] = (a[use] * b[use]).mean() / by
    return out


@pytest.mark.parametrize("normalization", ["symmetric", "standard"])
@pytest.mark.parametrize("missing", [0, 0.2])
def test_two_times_are_those_of_a_loop(missing, normalization, no_compute):
    da = patterns(2, missing)
    with no_compute():
        made = ops.two_time(da, rings(), normalization=normalization)
    assert made.dims == ("train", "ring", "pulse", "other_pulse")
    for train, found in zip(da.values, made.values, strict=True):
        for ring in range(2):
            wanted = by_hand(train, ring, normalization == "symmetric")
            np.testing.assert_allclose(found[ring], wanted, rtol=1e-12)


@pytest.mark.parametrize("normalization", ["symmetric", "standard"])
def test_g2_is_the_mean_along_the_diagonals(normalization):
    da = patterns(1, 0.2)
    given = {"normalization": normalization}
    pairs = ops.two_time(da, rings(), **given).values
    each = ops.correlate_pulses(da, rings(), reduce=None, **given)
    assert each["lag"].values.tolist() == [1, 2, 3, 4, 5, 6]
    for k, lag in enumerate(each["lag"].values):
        at = [(i, j) for i in range(4) for j in range(4) if IDS[j] - IDS[i] == lag]
        wanted = np.mean([pairs[..., i, j] for i, j in at], axis=0)
        np.testing.assert_allclose(each["g2"][..., k], wanted, rtol=1e-12)
        assert (each["n_pairs"][..., k] == len(at)).all()
    mean = ops.correlate_pulses(da, rings(), max_lag=3, **given)
    wanted = each["g2"][..., :3]
    np.testing.assert_allclose(mean["g2"], wanted.mean("train"), rtol=1e-12)
    np.testing.assert_allclose(mean["sem"], wanted.std("train", ddof=1) / 2, rtol=1e-9)
    assert (mean["n_trains"] == 4).all()


def test_chunks_and_dtypes_make_no_difference():
    wanted = ops.correlate_pulses(patterns(), rings(), reduce=None)["g2"]
    for chunks in (1, 3):
        found = ops.correlate_pulses(patterns(chunks), rings(), reduce=None)["g2"]
        np.testing.assert_array_equal(found, wanted)
    for dtype in ("u1", "i4", "f8"):
        da = patterns(2).astype(dtype)
        found = ops.correlate_pulses(da, rings(), reduce=None)["g2"]
        np.testing.assert_array_equal(found, wanted)


def test_rings_of_q_are_those_of_a_map():
    q = xr.DataArray(np.linspace(0, 1, 84).reshape(2, 6, 7), dims=rings().dims)
    numbers = xr.DataArray(np.digitize(q, [0.2, 0.5, 0.81]) - 1, dims=q.dims)
    numbers = numbers.where(numbers < 2, -1)
    located = patterns(2).assign_coords(q=q)
    for op in (ops.two_time, ops.correlate_pulses):
        found, wanted = op(located, [0.2, 0.5, 0.81]), op(patterns(2), numbers)
        np.testing.assert_allclose(found["q"], [0.35, 0.655])
        found = found.rename(q="ring").drop_vars(["q_edges"], errors="ignore")
        xr.testing.assert_equal(
            found.drop_vars("ring").compute(), wanted.drop_vars("ring").compute()
        )


def test_pulses_that_were_not_recorded_are_left_out():
    da = patterns(1)
    there = xr.DataArray([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
    there = xr.DataArray(there.values == 1, dims=("train", "pulse"))
    marked = da.assign_coords(recorded=there)
    found = ops.correlate_pulses(marked, rings(), reduce=None)
    wanted = ops.correlate_pulses(da.where(there), rings(), reduce=None)
    np.testing.assert_array_equal(found["g2"], wanted["g2"])
    assert found["n_pairs"].sum(["ring", "lag"]).values.tolist() == [6, 12, 0, 0]
    mean = ops.correlate_pulses(marked, rings())
    assert mean["n_trains"][0].values.tolist() == [2, 1, 2, 2, 1, 1]
    pair = ops.two_time(marked.sel(train=10000), rings())
    assert pair[:, 3].isnull().all()
    assert pair[:, :3, :3].notnull().all()


@pytest.mark.parametrize("reduce", [None, "mean"])
def test_no_train_has_no_correlations(reduce):
    found = ops.correlate_pulses(patterns(2)[:0], rings(), reduce=reduce)
    assert found["g2"].isnull().all()
    assert found["g2"].sizes["lag"] == 6


def test_simulated_decay_is_found_with_pulls_of_width_1():
    modes, decay, n = 2, 5.0, 12
    da = speckle.photons(
        shape=(1, 40, 40 * n), n_trains=30, pulses=range(0, 16, 2), k_mean=1.5,
        modes=modes, decay=decay, jitter=0.4, seed=5,
    )  # fmt: skip
    cut = xr.DataArray(np.arange(40 * n) // 40, dims="fast_scan")
    found = ops.correlate_pulses(da, xr.zeros_like(da[0, 0], int) + cut)
    truth = 1 + np.exp(-2 * found["lag"] / decay) / modes
    pulls = ((found["g2"] - truth) / found["sem"]).values
    assert abs(pulls.mean()) < 0.35
    assert pulls.std() == pytest.approx(1, abs=0.25)
    # Energies that differ from pulse to pulse are in the standard one.
    standard = ops.correlate_pulses(
        da, xr.zeros_like(da[0, 0], int) + cut, normalization="standard"
    )
    assert (standard["sem"] > 3 * found["sem"]).all()


def test_bad_input_is_refused():
    da = patterns(2)
    with pytest.raises(GeometryMismatchError, match="train"):
        ops.correlate_pulses(da[0], rings())
    with pytest.raises(GeometryMismatchError, match="pulse"):
        ops.two_time(da[:, 0], rings())
    with pytest.raises(ArgumentError, match="max_lag=0"):
        ops.correlate_pulses(da, rings(), max_lag=0)
    with pytest.raises(ArgumentError, match="so near"):
        ops.correlate_pulses(da[:, :1], rings())
