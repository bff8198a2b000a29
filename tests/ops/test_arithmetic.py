import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops


def cube(seed, quantities=("mean", "sem", "sum", "count"), n=400):
    r = np.random.default_rng(seed)
    da = xr.DataArray(
        r.normal(10 + seed, 2, (n, 3)), dims=("train", "fast_scan"), name="img",
        coords={"train": np.arange(n), "x": ("train", r.integers(0, 2, n))},
        attrs={"units": "photon"},
    )  # fmt: skip
    i0 = xr.DataArray(r.uniform(4, 6, n), dims="train")
    ds = xr.Dataset({"img": da, "i0": i0})
    by = {"x": xf.Bins(edges=[0, 1, 2])}
    return ops.bin_frames(ds, by, quantities=quantities), ds


def test_a_difference_of_cubes_has_errors_in_quadrature():
    (a, _), (b, _) = cube(0), cube(1)
    got = ops.subtract(a, b)
    np.testing.assert_allclose(got.img_mean, a.img_mean - b.img_mean)
    np.testing.assert_allclose(got.img_sem, np.hypot(a.img_sem, b.img_sem))
    assert got.img_mean.attrs["units"] == "photon"
    assert "x_edges" in got.coords
    assert got.attrs["history"].count("subtract") == 1


def test_errors_come_from_variances_too():
    (a, _), (b, _) = cube(0), cube(1)
    (va, _), (vb, _) = (
        cube(0, ("mean", "var", "count")),
        cube(1, ("mean", "var", "count")),
    )
    np.testing.assert_allclose(ops.subtract(va, vb).img_sem, ops.subtract(a, b).img_sem)


def test_without_errors_there_are_none():
    (a, _), (b, _) = cube(0, ("mean",)), cube(1, ("mean",))
    assert list(ops.subtract(a, b).data_vars) == ["img_mean", "i0_mean"]


def test_a_ratio_and_its_error():
    (a, _), (b, _) = cube(0), cube(1)
    got = ops.ratio(a, b)
    r = a.img_mean / b.img_mean
    np.testing.assert_allclose(got.img_mean, r)
    relative = np.hypot(a.img_sem / a.img_mean, b.img_sem / b.img_mean)
    np.testing.assert_allclose(got.img_sem, abs(r) * relative)
    assert got.img_mean.attrs["units"] == "1"
    zero = ops.ratio(a.img_mean, xr.zeros_like(b.img_mean))
    assert np.isnan(zero).all()


def test_differences_of_arrays_do_not_wrap():
    a = xr.DataArray(np.array([1, 2], np.uint16), dims="x", name="a")
    got = ops.subtract(a, a + np.uint16(3))
    assert got.values.tolist() == [-3, -3]


def test_unequal_labels_and_units_are_refused():
    a = xr.DataArray([1.0, 2], {"x": [0, 1]}, "x", attrs={"units": "adu"})
    with pytest.raises(xf.InconsistentDataError, match="different labels"):
        ops.subtract(a, a.assign_coords(x=[0, 2]))
    with pytest.raises(xf.InconsistentDataError, match="subtract photon from adu"):
        ops.subtract(a, a.assign_attrs(units="photon"))
    with pytest.raises(xf.ConfigError, match="nothing to subtract"):
        ops.subtract(xr.Dataset({"a": a}), xr.Dataset({"b": a}))
    with pytest.raises(TypeError, match="two DataArrays or two Datasets"):
        ops.subtract(a, 3)


def test_curves_with_sigma():
    a = xr.Dataset({"intensity": ("q", [3.0, 4]), "sigma": ("q", [0.3, 0.4]),
                    "count": ("q", [1, 1])})  # fmt: skip
    got = ops.subtract(a, a)
    assert got.intensity.values.tolist() == [0, 0]
    np.testing.assert_allclose(got.sigma, [0.3 * 2**0.5, 0.4 * 2**0.5])
    assert "count" not in got


@pytest.mark.parametrize("lazy", [None, 1, 5])
def test_frames_divided_by_a_value_per_shot(lazy):
    da = xr.DataArray(
        np.arange(24, dtype=np.uint16).reshape(6, 1, 4),
        dims=("train", "pulse", "fast_scan"), coords={"train": np.arange(6)},
    )  # fmt: skip
    i0 = xr.DataArray([2.0, 4.0, 0.0, 8.0, np.nan], {"train": [4, 3, 2, 1, 0]}, "train")
    with pytest.warns(UserWarning, match="no value for 1 of 6 train IDs"):
        got = ops.normalize(da if lazy is None else da.chunk({"train": lazy}), i0)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.values[1], da.values[1] / 8.0)
    np.testing.assert_allclose(got.values[4], da.values[4] / 2.0)
    assert np.isnan(got.values[[0, 2, 5]]).all()


def test_a_cube_divided_by_one_of_its_variables():
    a, ds = cube(0)
    got = ops.normalize(a, by="i0")
    first = ds.x == 0
    expected = ds.img[first].sum("train") / ds.i0[first].sum()
    np.testing.assert_allclose(got.img_mean[0], expected)
    assert "i0_mean" not in got
    renamed = a.rename({n: n.replace("i0", "ipm2__sum") for n in a if "i0" in n})
    xr.testing.assert_equal(ops.normalize(renamed, by="ipm2/sum"), got)
    with pytest.raises(xf.ConfigError, match="Did you mean 'i0'"):
        ops.normalize(a, by="i00")


def test_concat_sorts_and_keeps_all_histories():
    a = xr.DataArray([1.0], {"train": [5]}, "train", attrs={"history": "one {}"})
    b = xr.DataArray([2.0], {"train": [3]}, "train", attrs={"history": "two {}"})
    got = ops.concat([a, b])
    assert got.train.values.tolist() == [3, 5]
    assert got.values.tolist() == [2, 1]
    assert got.attrs["history"].splitlines()[:2] == ["one {}", "two {}"]
    with pytest.raises(xf.InconsistentDataError, match="5 occur twice"):
        ops.concat([a, a])
    with pytest.raises(ValueError, match="empty"):
        ops.concat([])


def slowly_nearest(t, off, n):
    windows = [off[i : i + n] for i in range(len(off) - n + 1)]
    return min(windows, key=lambda w: max(abs(t - w[0]), abs(t - w[-1])))


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_off_neighbours_equal_a_search(n):
    r = np.random.default_rng(n)
    ids = np.sort(r.choice(1000, 120, replace=False)).astype(np.uint64)
    on = r.random(120) < 0.8
    got = ops.off_neighbours(xr.DataArray(on, {"train": ids}, "train"), n)
    off = ids[~on].astype(int).tolist()
    for t, row in zip(ids.astype(int).tolist(), got.values.astype(int), strict=True):
        expected = slowly_nearest(t, off, min(n, len(off)))
        far = max(abs(t - row[0]), abs(t - row[-1]))
        assert far == max(abs(t - expected[0]), abs(t - expected[-1]))
        assert row.tolist() == off[off.index(row[0]) : off.index(row[0]) + len(row)]


def test_no_shot_without_laser():
    with pytest.raises(xf.NoDataError, match="laser was on in all 2"):
        ops.off_neighbours(xr.DataArray([True, True], {"train": [1, 2]}, "train"))


def test_neighbours_are_near_in_time_where_there_is_a_time():
    # Seconds and nanoseconds, as in the IDs of LCLS: a leap at every full second.
    times = np.arange(30) * 110_000_000
    seconds, rest = np.divmod(times, 1_000_000_000)
    ids = (seconds.astype(np.uint64) << np.uint64(32)) + rest.astype(np.uint64)
    on = np.random.default_rng(2).random(30) < 0.6
    laser = xr.DataArray(on, {"train": ids}, "train")
    timed = laser.assign_coords(time=("train", times.astype("datetime64[ns]")))
    got = ops.off_neighbours(timed, 2)
    off = times[~on].tolist()
    at = dict(zip(ids.tolist(), times.tolist(), strict=True))
    for t, row in zip(times.tolist(), got.values.tolist(), strict=True):
        expected = slowly_nearest(t, off, 2)
        found = [at[i] for i in row]
        assert max(abs(t - v) for v in found) == max(abs(t - v) for v in expected)
    assert not np.array_equal(got, ops.off_neighbours(laser, 2))
