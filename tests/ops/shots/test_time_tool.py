"""The time tool: numpy's fit, outliers, and errors with pulls of width 1."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import ArgumentError, ConfigError, NoDataError

TRUTH = np.array([-1.2, 3e-3, 8e-7])  # ps of powers of a position
JITTER = 0.05


def scan(n=400, outliers=0.0, seed=0):
    """Positions and the delays that were set, with jitter and false edges."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(100, 800, n)
    delay = np.polynomial.polynomial.polyval(position, TRUTH)
    delay += rng.normal(0, JITTER, n)
    false = rng.random(n) < outliers
    position = np.where(false, rng.uniform(0, 1000, n), position)
    ids = {"train": 100 + np.arange(n)}
    named = {"position": position, "delay": delay}
    return {k: xr.DataArray(v, ids, ("train",)) for k, v in named.items()}


def test_coefficients_and_covariance_are_those_of_numpy():
    shots = scan()
    found = ops.calibrate_time_tool(**shots, n_sigma=99)
    wanted, covariance = np.polyfit(
        shots["position"], shots["delay"], 2, cov=True
    )  # of the highest power first
    np.testing.assert_allclose(found["coefficients"], wanted[::-1], rtol=1e-8)
    np.testing.assert_allclose(found["covariance"], covariance[::-1, ::-1], rtol=1e-8)
    assert found.attrs["n_shots"] == 400
    assert found.attrs["n_outliers"] == 0
    assert found.attrs["resolution"] == pytest.approx(JITTER, rel=0.1)


def test_false_edges_do_not_matter():
    shots = scan(600, outliers=0.3)
    found = ops.calibrate_time_tool(**shots)
    at = np.linspace(150, 750, 13)
    error = np.polynomial.polynomial.polyval(at, found["coefficients"].values)
    error -= np.polynomial.polynomial.polyval(at, TRUTH)
    assert abs(error).max() < 0.03
    assert 100 < found.attrs["n_outliers"] < 220
    assert found.attrs["resolution"] == pytest.approx(JITTER, rel=0.15)


def test_errors_are_right():
    pulls, spread = [], []
    for seed in range(100):
        shots = scan(200, seed=seed)
        known = ops.calibrate_time_tool(**shots, n_sigma=6)
        at = xr.DataArray([200.0, 700.0], {"train": [1, 2]}, ("train",))
        true = np.polynomial.polynomial.polyval(at.values, TRUTH)
        got = ops.correct_delay(xr.zeros_like(at), at, known)
        alone = np.sqrt(got["delay_error"] ** 2 - known.attrs["resolution"] ** 2)
        pulls.append((got["correction"].values - true) / alone.values)
        spread.append(known.attrs["resolution"])
    assert np.std(pulls) == pytest.approx(1, abs=0.17)
    assert abs(np.mean(pulls)) < 0.3
    assert np.mean(spread) == pytest.approx(JITTER, rel=0.02)


def test_delays_are_corrected_by_labels_and_units(no_compute):
    shots = scan()
    known = ops.calibrate_time_tool(
        shots["position"], (shots["delay"] * 1e-12).assign_attrs(units="s")
    )
    edge = shots["position"].copy()
    edge[0], edge[1] = 0, np.nan
    nominal = xr.DataArray(
        np.full(400, 5000.0), {"train": 499 - np.arange(400)}, ("train",),
        attrs={"units": "fs"},
    )  # fmt: skip
    found = ops.correct_delay(nominal, edge, known)
    mine = found["delay"].sel(train=edge.train)
    wanted = 5 + np.polynomial.polynomial.polyval(
        edge.values, known["coefficients"].values
    )
    np.testing.assert_allclose(mine[2:], wanted[2:])
    assert mine[:2].isnull().all()
    assert found["delay_error"].sel(train=100).isnull()
    assert (found["delay_error"].sel(train=edge.train[2:]) > known.resolution).all()
    far = xr.DataArray([5000.0], {"train": [499]}, ("train",))
    beyond = ops.correct_delay(nominal[:1], far, known)
    assert beyond["delay_error"][0] > 2 * found["delay_error"].max()


def test_edges_become_delays_through_the_small_data_names():
    shots = scan()
    known = ops.calibrate_time_tool(**shots)
    nominal = xr.zeros_like(shots["delay"])
    found = ops.correct_delay(nominal, shots["position"], known)
    ds = xr.Dataset({"mine": nominal, "tt/ttCorr": found["correction"]})
    np.testing.assert_allclose(ops.delay(ds, nominal=("mine", "ps")), found["delay"])


def test_a_beam_arrival_monitor_is_a_column_with_a_unit():
    arrival = scan()["delay"] * 1000
    ds = xr.Dataset({"stage": xr.zeros_like(arrival) + 2, "bam": arrival})
    found = ops.delay(ds, nominal=("stage", "ps"), correction=("bam", "fs"))
    np.testing.assert_allclose(found, 2 + arrival / 1000)
    assert found.attrs["correction"] == "bam"
    with pytest.raises(ConfigError, match="correction="):
        ops.delay(ds, nominal=("stage", "ps"), correction=("bam", "hours"))


def test_bad_input_is_refused():
    shots = scan()
    with pytest.raises(NoDataError, match="too few"):
        ops.calibrate_time_tool(shots["position"] * np.nan, shots["delay"])
    with pytest.raises(NoDataError, match="vary"):
        ops.calibrate_time_tool(shots["position"], shots["delay"] * 0)
    with pytest.raises(ArgumentError, match="degree=9"):
        ops.calibrate_time_tool(**shots, degree=9)
    with pytest.raises(ArgumentError, match="hours"):
        ops.calibrate_time_tool(
            shots["position"], shots["delay"].assign_attrs(units="hours")
        )
    with pytest.raises(ArgumentError, match="calibration"):
        ops.correct_delay(shots["delay"], shots["position"], xr.Dataset())
